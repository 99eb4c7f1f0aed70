//! Owns the controller. Kafka: `kafka.controller`.
