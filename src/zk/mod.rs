//! Owns ZooKeeper: paths, JSON, client, model. Kafka: `kafka.zk`, `kafka.zookeeper`.

pub mod client;
pub mod configs;
pub mod data;
pub mod paths;
pub mod session;
pub mod startup;
pub mod topics;
pub mod watch;

pub use client::{Client, ConnectOptions, Error};
