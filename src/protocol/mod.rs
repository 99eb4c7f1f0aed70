//! Owns the wire: frames, headers, messages. Kafka: `org.apache.kafka.common.protocol`.
