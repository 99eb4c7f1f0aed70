//! Owns the development ZooKeeper: the pure model of its tree, sessions and watches, the store on disk, and the server.
//! Counterpart: `org.apache.zookeeper.server`.

#[cfg(test)]
mod conformance;
pub mod jute;
pub mod model;
pub mod server;
pub mod store;
pub mod wire;
