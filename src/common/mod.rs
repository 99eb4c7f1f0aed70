//! Owns the words that every layer shares: ids, error codes, limits. Kafka: `org.apache.kafka.common`.
//! Imports nothing of this crate. Pure, every file of it.

pub mod error_code;
pub mod ids;
pub mod java;
pub mod time;
pub mod uuid;

pub use error_code::ErrorCode;
pub use ids::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Millis, Offset, TopicPartition};
pub use time::Now;
pub use uuid::Uuid;
