//! Owns every configuration key and every view of them. Kafka: `ConfigDef`, `KafkaConfig`, `LogConfig`,
//! `DynamicBrokerConfig`. Text comes in as [`def::Props`], from a properties file ([`parse`]) or a znode; the tables in
//! `keys` check it; [`broker::BrokerConfig`] and [`topic::LogConfig`] are what the rest of the broker reads.
//! [`dynamic`] lays what is set while running over the file, [`describe`] and [`alter`] decide what clients are told and
//! what they may change. Pure, every file of it.

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
pub use keys::{BROKER, TOPIC};
pub use topic::LogConfig;

#[cfg(test)]
mod tests;
