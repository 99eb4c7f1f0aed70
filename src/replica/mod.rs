//! Owns what this broker does with all of its replicas: append, read, wait, copy what others lead, take and give up
//! leadership. Kafka: `ReplicaManager`, `ReplicaFetcherManager`, `AlterPartitionManager`.
//!
//! ```text
//! manager       composes: what requests call
//!   append, read, log_port, log_dirs   what requests do; on the manager, over the host
//!   state_change                       the controller's word, failed directories; over host and fetchers
//!   isr_sync                           asks the controller for other in-sync replicas; over the host
//!   fetcher                            copies what others lead; over the host
//! host          partitions, metadata, waits, quotas: what all of them work on
//!   partitions, configs, isr_queue, quota, settings, selector, truncation
//! ```
//!
//! A file imports those below it only.
//!
//! Threads: appends and reads run on the caller's data worker, as do the appends of fetchers. What waits for a disk
//! (flushes, truncation, moves, all of `state_change` but the controller's epoch) runs on the blocking pool.
//!
//! Locks, in their order; a lower one may be taken under a higher:
//!
//! | lock | held for |
//! |---|---|
//! | claims of `StateChanges::in_change` | a partition's change of role or log: a request of the controller, the end of a move; may wait for a disk |
//! | claims of `LogManager::in_work` | making, deleting or moving a partition's log; waits for its disk |
//! | `StateChanges::lock` | partitions come into service or leave it; waits for no disk |
//! | `FetcherManager::fetchers` | which fetcher has which partition |
//! | `Fetcher::state` | one answer's appends, one truncation: when it is released, nothing happens to a partition taken away |
//! | those of [`Partition`](crate::cluster::partition::Partition), then of its log | see there |
//! | `awaited`, `controller_epoch`, `TopicConfigs::own`, `IsrQueue`, samples of a quota, purgatories | one look or change; nothing is called under them, but that new defaults are resolved under `own` |
//!
//! Produce and Fetch take none of the first three. None is held over an await.
//!
//! Refusals are enums, one an operation, by what the caller can do. Kafka's codes are chosen by the callers; here they are
//! read only where another broker has answered: `isr_sync` and `fetcher`.
//!
//! Absent on purpose: a lock around the table of partitions (it is replaced as a whole); a thread that expires waits (each
//! has its own timer); retries of anything but a fetch and a change of in-sync replicas.

mod append;
mod configs;
mod fetcher;
mod host;
mod isr_queue;
mod isr_sync;
mod log_dirs;
mod log_port;
mod manager;
mod partitions;
mod quota;
mod read;
mod selector;
mod settings;
mod state_change;
mod truncation;

pub use append::{AppendError, AppendFailure, Appended, WaitDeletedError, WaitError};
pub use configs::TopicConfigs;
pub use host::NotHosted;
pub use log_dirs::{AlterLogDirError, MoveRound};
pub use log_port::InternalReadError;
pub use manager::ReplicaManager;
pub use quota::UNLIMITED;
pub use read::{Consumer, FetchError, FetchLimits, FetchRead, PartitionFetch, ReadPartition};
pub use settings::{FetcherSettings, ReplicaSettings};
pub use state_change::{
    LeaderAndIsr, LeaderAndIsrError, StaleController, StateChange, StateChanges, StopReplica, StopReplicaError,
};
