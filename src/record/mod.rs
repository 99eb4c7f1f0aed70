//! Owns record batches. Kafka: `org.apache.kafka.common.record`.
