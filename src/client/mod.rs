//! Owns connections to other brokers. Kafka: `NetworkClient`, `NodeToControllerChannelManager`.

pub mod broker_client;
pub mod controller_channel;
