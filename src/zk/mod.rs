//! Owns ZooKeeper: paths, JSON, client. Kafka: `kafka.zk`, `kafka.zookeeper`.

mod armed;
pub mod batch;
pub mod client;
pub mod configs;
pub mod consumers;
pub mod data;
mod ensemble;
pub mod login;
pub mod paths;
mod probe;
pub mod session;
pub mod startup;
pub mod topics;
pub mod watch;

pub use client::{Client, ConnectOptions, Error};

#[cfg(test)]
pub(crate) mod tests;
