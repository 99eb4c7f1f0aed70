//! Owns transactions: which producer has which epoch, what is in a transaction, and that it ends in one way everywhere.
//! Kafka: `kafka.coordinator.transaction`.
//!
//! | file | open it for |
//! |---|---|
//! | `service` | the front: requests on their way to the shard of a transactional id |
//! | `shard` | one partition of `__transaction_state`, as the frame of all coordinators drives it |
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
pub use self::service::{CoordinatorParts, TransactionCoordinator};
pub use self::shard::Verified;
pub use self::state::{Outcome, ProducerIdAndEpoch};
pub use self::verifier::{Refused, Verifier, VerifyError};
pub use self::write_markers::MarkerWriter;
pub use super::runtime::Asked;
