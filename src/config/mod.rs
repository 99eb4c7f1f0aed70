//! Owns every configuration key and every view of them. Kafka: `ConfigDef`, `KafkaConfig`, `LogConfig`,
//! `DynamicBrokerConfig`.
//!
//! Text comes in as [`def::Props`], from a properties file ([`parse`]) or a znode. A key is one row of the tables in `keys`:
//! its type, default and check, how it may change, and the field that holds its value. The rows make the structs that the
//! rest of the broker reads ([`BrokerConfig`], [`LogConfig`], [`GroupConfig`], …), so that no value is looked up by its
//! name; `broker` and `topic` add what several keys say together. [`dynamic`] lays what is set while the broker runs over
//! the file, [`describe`] and [`alter`] decide what clients see and may change, which they ask for by name.
//!
//! Pure, every file of it: functions of their arguments, no locks, no threads, no clocks. Absent on purpose: reading files and
//! znodes and carrying out a change (`server::dynamic_config`), values from config providers, encrypted passwords, and
//! classes of Java other than those that stand for something built in.

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
