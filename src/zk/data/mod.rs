//! Owns the contents of znodes: JSON with exactly Apache's top-level key order, and readers that return [`Malformed`]
//! for unexpected content instead of panicking. Kafka: the encode and decode parts of `kafka.zk.ZkData`.
//! All of it is pure.
//!
//! The key order comes from Scala's hash maps, so it looks arbitrary and is written out in each encoder; the tests
//! contain what Apache 3.9.1 stored for the same values. Readers ignore unknown keys and key order, numbers are strict.

pub mod broker;
pub mod cluster;
pub mod config;
pub mod controller;
mod json;
pub mod topic;

pub use json::Malformed;
