//! Owns every configuration key and every view of them. Kafka: `ConfigDef`, `KafkaConfig`, `LogConfig`,
//! `DynamicBrokerConfig`. Text comes in as [`def::Props`], from a properties file ([`parse`]) or a znode; the tables in
//! `keys` check it; [`broker::BrokerConfig`] and [`topic::LogConfig`] are what the rest of the broker reads.

pub mod broker;
pub mod def;
pub mod endpoint;
mod keys;
pub mod parse;
pub mod topic;

pub use broker::BrokerConfig;
pub use def::{ConfigError, Props};
pub use keys::{BROKER, TOPIC};
pub use topic::LogConfig;
