//! Owns what the znodes hold: JSON with exactly Apache's top-level key order, and readers that answer anything strange
//! with [`Malformed`] instead of a panic. Kafka: the encode and decode parts of `kafka.zk.ZkData`.
//! Pure, every file of it.
//!
//! The key order comes from Scala's hash maps, so it looks arbitrary and is written out in each encoder; what Apache
//! 3.9.1 stored for the same facts is in the tests. Readers ignore unknown keys and key order, numbers are strict.

pub mod broker;
pub mod cluster;
pub mod config;
pub mod controller;
mod json;
pub mod topic;

pub use json::Malformed;
