//! Owns every configuration key and every view of them. Kafka: `ConfigDef`, `KafkaConfig`, `LogConfig`,
//! `DynamicBrokerConfig`.
//!
//! The input is text, as [`def::Props`], from a properties file ([`parse`]) or a znode. A key is one row of the tables
//! in `keys`: its type, default and check, how it may change, and the field that holds its value. The rows generate the
//! structs that the rest of the broker reads ([`BrokerConfig`], [`LogConfig`], [`GroupConfig`], …), so that no value is
//! looked up by its name; `broker` and `topic` add the rules between keys. [`dynamic`] lays run-time settings over the
//! file, [`describe`] and [`alter`] decide what clients see and may change by name.
//!
//! All of it is pure: functions of their arguments, no locks, no threads, no clocks. Absent on purpose: reading files
//! and znodes and applying a change (`server::dynamic_config`), values from config providers, encrypted passwords, and
//! Java classes other than those with a built-in equivalent.

pub mod alter;
pub mod broker;
pub mod coordinator;
pub mod def;
pub mod describe;
pub mod dynamic;
pub mod endpoint;
pub mod jaas;
mod keys;
pub mod parse;
pub mod topic;

pub use broker::BrokerConfig;
pub use coordinator::{GroupConfig, InternalTopic, TransactionConfig};
pub use def::{ConfigError, Props};
pub use dynamic::DynamicConfig;
pub use keys::{BROKER, ListenerConfig, ReplicationRates, TOPIC};
pub use topic::LogConfig;

#[cfg(test)]
mod tests;
