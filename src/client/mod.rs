//! Owns connections to other brokers. Kafka: `NetworkClient`.
