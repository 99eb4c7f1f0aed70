//! Owns transactions: which producer has which epoch, what is in a transaction, and that it ends in one way everywhere.
//! Kafka: `kafka.coordinator.transaction`.
//!
//! | file | open it for |
//! |---|---|
//! | `service` | the front: which shard, is it here, is it loaded |
//! | `shard` | the actor of one partition of `__transaction_state` |
//! | [`machine`], [`state`], [`effects`] | the decisions, what goes in and what comes out, pure |
//! | `records` | what the log holds, pure |
//! | `markers`, `sender` | markers on their way to partition leaders |
//! | `write_markers` | markers written here |
//! | `verifier` | asking whether a partition is in a transaction before it is written to (KIP-890) |

pub mod effects;
pub mod machine;
mod markers;
mod records;
mod sender;
mod service;
mod shard;
pub mod state;
mod verifier;
mod write_markers;

use std::future::Future;
use std::pin::Pin;

pub use self::effects::Settings;
pub use self::service::{CoordinatorParts, TransactionCoordinator};
pub use self::state::{Outcome, ProducerIdAndEpoch};
pub use self::verifier::{Refused, Verifier};
pub use self::write_markers::MarkerWriter;

use crate::common::ErrorCode;

/// Where producer ids come from: blocks that the controller gives out.
pub trait ProducerIdSource: Send + Sync {
    /// An id that nobody else gets.
    fn next(&self) -> Pin<Box<dyn Future<Output = Result<i64, ErrorCode>> + Send + '_>>;
}
