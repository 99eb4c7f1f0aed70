//! Owns ZooKeeper: paths, JSON, client, model. Kafka: `kafka.zk`, `kafka.zookeeper`.

pub mod batch;
pub mod client;
pub mod configs;
#[cfg(test)]
mod conformance;
pub mod consumers;
pub mod data;
mod ensemble;
pub mod jute;
pub mod login;
pub mod model;
pub mod paths;
pub mod server;
pub mod session;
pub mod startup;
pub mod store;
pub mod topics;
pub mod watch;
pub mod wire;

pub use client::{Client, ConnectOptions, Error};

#[cfg(test)]
pub(crate) mod tests;
