//! Owns the broker. Kafka: `KafkaServer`, `KafkaApis`.
