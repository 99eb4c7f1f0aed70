//! Owns connections to other brokers. Kafka: `NetworkClient`.

pub mod broker_client;
