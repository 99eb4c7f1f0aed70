//! Owns the words between the machine and its shell: who waits, what is to be done.

use super::commit::CommitAnswer;
use super::join::JoinAnswer;
use super::sync::SyncAnswer;
use crate::common::ErrorCode;
use crate::coordinator::group::TxnProducer;
use bytes::Bytes;

macro_rules! ticket {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);
    };
}

ticket!(
    /// A JoinGroup that waits for its answer. Each is answered once.
    JoinTicket
);
ticket!(
    /// A SyncGroup that waits for its answer. Each is answered once.
    SyncTicket
);
ticket!(
    /// A commit of offsets that waits for its answer. Each is answered once.
    CommitTicket
);
ticket!(
    /// Records on their way into the log. The shell tells the machine how each ended.
    AppendId
);

/// A record of the offsets topic; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// Records that go to the log as one batch, in the order of the machine's decisions.
#[derive(Clone, Debug)]
pub struct Append {
    /// `None`: nobody waits. What is lost will be written again (tombstones).
    pub id: Option<AppendId>,
    pub records: Vec<Record>,
    /// For offsets that are part of a transaction.
    pub producer: Option<TxnProducer>,
    /// Batches of offsets have 0, in transactions or not; all others none. As Kafka writes them.
    pub base_sequence: i32,
}

/// What a step of the machine asks for.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    pub joins: Vec<(JoinTicket, JoinAnswer)>,
    pub syncs: Vec<(SyncTicket, SyncAnswer)>,
    pub commits: Vec<(CommitTicket, CommitAnswer)>,
    pub appends: Vec<Append>,
}

impl Effects {
    pub fn is_empty(&self) -> bool {
        self.joins.is_empty() && self.syncs.is_empty() && self.commits.is_empty() && self.appends.is_empty()
    }
}

/// What a client is told when the record of a group could not be written. Kafka: `GroupMetadataManager.storeGroup`.
pub(super) fn store_error(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::RequestTimedOut => ErrorCode::RebalanceInProgress,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}

/// What a client is told when offsets could not be written. Kafka: `maybeConvertOffsetCommitError`.
pub fn commit_error(code: ErrorCode) -> ErrorCode {
    match code {
        // Of the verification of a transaction: old clients retry this code, and not the other.
        ErrorCode::NetworkException => ErrorCode::CoordinatorLoadInProgress,
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::InvalidCommitOffsetSize
        }
        other => other,
    }
}
