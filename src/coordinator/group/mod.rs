//! Owns consumer groups: who is a member, who consumes what, how far each got. Kafka: `kafka.coordinator.group`
//! (`GroupCoordinator`, `GroupMetadataManager`, `GroupMetadata`), the classic protocol.
//!
//! ```text
//! handler → GroupCoordinator → shard (one task a led partition) → GroupMachine → effects → replies, records to append
//!                                        ↑ appended, committed, failed                             │
//!                                        └──────────────────── the partition's log ────────────────┘
//! ```
//!
//! The shard is that of all coordinators (`runtime`); `shard` here is what it drives.
//!
//! [`GroupMachine`] is pure: requests, ends of appends and the clock go in, replies and records come out. Absent on
//! purpose: the consumer protocol of KIP-848, which 3.9 refuses on ZooKeeper. Its groups would be a second kind of
//! `metadata::Group` behind the same machine.

mod commit;
mod effects;
mod join;
mod loading;
mod machine;
mod member;
mod metadata;
mod offsets;
mod records;
mod service;
mod shard;
mod sync;
#[cfg(test)]
mod tests;
mod timers;

pub use super::runtime::{Append, AppendId, Record, TxnProducer};
pub use commit::{Commit, CommitAnswer, FetchedOffset};
pub use effects::{CommitTicket, Effect, Effects, JoinTicket, Note, SyncTicket};
pub use join::{Join, JoinAnswer, JoinedMember};
pub use loading::{Loaded, Loader};
pub use machine::GroupMachine;
pub use member::Protocol;
pub use metadata::{GroupDescription, GroupOverview, GroupState, MemberDescription};
pub use offsets::CommittedOffset;
pub use service::{GroupCoordinator, GroupCoordinatorParts};
pub use sync::{GroupMember, Leave, Sync, SyncAnswer};
