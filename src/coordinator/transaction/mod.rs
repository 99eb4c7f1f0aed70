//! Owns transactions: which producer has which epoch, what is in a transaction, and that it ends in one way everywhere.
//! Kafka: `kafka.coordinator.transaction`.
//!
//! | file | open it for |
//! |---|---|
//! | `service` | the front: which shard, is it here, is it loaded |
//! | `shard` | the actor of one partition of `__transaction_state` |
//! | [`machine`], [`state`], [`effects`] | the decisions, what goes in and what comes out, pure |
//! | `records` | what the log holds, pure |
//! | `producer_ids` | ids for producers, in blocks of the controller |
//! | `markers`, `sender` | markers on their way to partition leaders |
//! | `write_markers` | markers written here |
//! | `verifier` | asking whether a partition is in a transaction before it is written to (KIP-890) |

pub mod effects;
pub mod machine;
mod markers;
mod producer_ids;
mod records;
mod sender;
mod service;
mod shard;
pub mod state;
mod verifier;
mod write_markers;

pub use self::effects::{Answer, Settings};
pub use self::producer_ids::ProducerIds;
pub use self::service::{Asked, CoordinatorParts, TransactionCoordinator};
pub use self::shard::Verified;
pub use self::state::{Outcome, ProducerIdAndEpoch};
pub use self::verifier::{Refused, Verifier};
pub use self::write_markers::MarkerWriter;

use crate::util::task::Group;

/// Where the tasks of a partition or of a broker run. Several threads have them, so that one that is stuck in a write to
/// its disk does not hold up the markers and verifications of all.
fn group_of(groups: &[Group], number: i32) -> &Group {
    &groups[number.unsigned_abs() as usize % groups.len()]
}
