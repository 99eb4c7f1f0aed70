//! Owns what several layers need and is no business of Kafka's. Kafka: `kafka.utils`.
