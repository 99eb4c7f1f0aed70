//! Owns every configuration key. Kafka: `ConfigDef`, `KafkaConfig`.
