//! Owns what this broker does with all of its replicas: append, read, wait, copy what others lead, take and give up
//! leadership. Kafka: `ReplicaManager`, `ReplicaFetcherManager`, `AlterPartitionManager`.

mod fetcher;
mod isr_sync;
mod log_dirs;
mod log_port;
mod manager;
mod partitions;
mod quota;
mod read;
mod selector;
mod state_change;
mod truncation;

pub use fetcher::manager::FetcherSettings;
pub use log_dirs::{AlterLogDirError, MoveRound};
pub use log_port::InternalReadError;
pub use manager::{
    AppendError, AppendFailure, Appended, NotHosted, ReplicaManager, ReplicaSettings, StaleController,
    WaitDeletedError, WaitError,
};
pub use partitions::Hosted;
pub use quota::UNLIMITED;
pub use read::{Consumer, FetchError, FetchLimits, FetchRead, PartitionFetch, ReadPartition};
pub use state_change::{LeaderAndIsr, LeaderAndIsrError, StateChange, StopReplica, StopReplicaError};
