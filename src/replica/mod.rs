//! Owns what this broker does with all of its replicas: append, read, wait, take and give up leadership.
//! Kafka: `ReplicaManager`.

mod manager;
mod partitions;
mod read;
mod state_change;

pub use manager::{AppendFailure, Appended, ReplicaManager};
pub use partitions::Hosted;
pub use read::{FetchLimits, FetchRead, PartitionFetch, ReadPartition, read_error};
pub use state_change::{LeaderAndIsr, StopReplica};
