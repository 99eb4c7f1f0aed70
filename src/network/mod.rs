//! Owns listeners and connections. Kafka: `kafka.network`.
