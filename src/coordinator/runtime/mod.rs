//! Owns what all coordinators have in common: a shard for each partition of their topic that this broker leads, from its
//! election to its resignation. Kafka 4: `CoordinatorRuntime`. What a coordinator decides is a [`Machine`]; the frame
//! knows neither groups nor transactions. What a machine is asked is an operation, a closure that runs in its turn.
//!
//! ```text
//! request ─▶ Runtime ─▶ mailbox ─▶ an operation ─────────▶ effects ─▶ Machine::perform ─▶ answers, work elsewhere
//!                                  Machine::on_tick ─────▶                  │ appends
//!                                  Machine::on_appended ─▶                  ▼
//!                                        ▲                       batches ─▶ log ─▶ replicas
//!                                        └── in the order of the log ───────┘
//! ```
//!
//! | file | open it for |
//! |---|---|
//! | `leadership` | which elections and resignations count, pure |
//! | `service` | [`Runtime`]: shards as leadership comes and goes, and the way of a request into them |
//! | `shard` | the task of one partition: it loads the log, then waits in one place and takes turns |
//!
//! Who waits for what: a caller waits for room in the mailbox, then for its answer; a shard that ends drops the answers
//! that it owes, which means NOT_COORDINATOR. A shard waits for the one before it to end, since two must not write to one
//! log, then for its loader, then for the first of: its end, its next deadline, its replicas, its mailbox. A supervisor
//! waits for the shard and starts the next one when it panics. [`Runtime::shut_down`] waits for all of them.
//!
//! A write belongs to the shard that made it and dies with it: what ends late reaches no other shard. Work that a machine
//! starts elsewhere comes back under the [`Term`] that it was started in.
//!
//! After a pause of the process deadlines are over while what would have met them lies unread in sockets. So the sockets
//! have a turn first, then the mailbox is emptied, and only then anything expires.
//!
//! Locks: the table of shards, for look-ups and starts; a shard's door, below it. Neither is held over an await, and
//! nothing is called under them. Machines have none: a shard owns its own.
//!
//! Absent on purpose: snapshots of state that is not committed yet, which Kafka 4 keeps and rolls back (a machine changes
//! its state when the replicas have the record); retries and time-outs of requests, which are the machine's decisions.

mod leadership;
mod service;
mod shard;
#[cfg(test)]
mod tests;

pub use self::service::Asked;
pub(super) use self::service::{Runtime, RuntimeParts, Shards};

use crate::cluster::partition::{CommitError, PartitionAppendError};
use crate::common::{ErrorCode, LeaderEpoch, Millis, Now, Offset, TopicPartition};
use crate::log::log_dir::DirError;
use crate::log::producer_state::ProducerError;
use crate::log::{AppendError as LogError, VerificationGuard};
use crate::record::Compression;
use crate::record::validate::ValidateError;
use crate::replica::{AppendError, NotHosted, WaitError};
use crate::util::task::Group;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::debug;

/// One partition of a coordinator in one term: what it decides, and what comes of that. The decisions are those of a pure
/// machine inside; this is its shell.
pub(super) trait Machine: Sized + Send + 'static {
    /// Names its tasks, and itself in log lines.
    const NAME: &'static str;
    /// Appends of one turn share a batch up to this many bytes of keys and values. With 0 each has a batch of its own.
    const BATCH_BYTES_MAX: usize;

    /// What the machines of all partitions share.
    type Parts: Send + Sync + 'static;
    type Effect: Send + 'static;
    /// What has been read of the log.
    type Loader: Send + 'static;

    fn loader(log: &TopicPartition, start: Offset) -> Self::Loader;

    /// Takes whole batches of the log, in order. Returns the offset to read on from; `None`: there is none.
    fn read(loader: &mut Self::Loader, log: &TopicPartition, batches: &[u8]) -> Option<Offset>;

    /// Begins with what the log says.
    fn load(parts: &Arc<Self::Parts>, term: Term, loader: Self::Loader, now: Now, out: &mut Vec<Self::Effect>) -> Self;

    /// Does what an effect says. What it says to write is returned; several of one turn are written together.
    fn perform(&mut self, now: Now, effect: Self::Effect, out: &mut Vec<Self::Effect>) -> Option<Append>;

    /// An append has ended: its first record is at this offset, in the log and, if that was wanted, on the replicas; or it
    /// failed.
    fn on_appended(&mut self, now: Now, id: AppendId, stored: Result<Offset, StoreError>, out: &mut Vec<Self::Effect>);

    /// When [`Self::on_tick`] is due, in ticks.
    fn next_deadline(&self) -> Millis;

    fn on_tick(&mut self, now: Now, out: &mut Vec<Self::Effect>);

    /// The partition is led elsewhere: who still waits is answered. Nothing is written any more.
    fn unload(&mut self, out: &mut Vec<Self::Effect>);

    fn compression(&self) -> Compression {
        Compression::None
    }

    /// Asserts what must hold between two turns. Called in debug builds.
    fn check(&self) {}
}

/// Why records of a coordinator are not in its log, or not on enough replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("the partition is not known here")]
    UnknownPartition,
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("the log directory has failed")]
    Offline,
    #[error("too few replicas are in sync")]
    NotEnoughReplicas,
    #[error("they are on too few replicas")]
    NotEnoughReplicasAfterAppend,
    #[error("the replicas did not have them in time")]
    TimedOut,
    #[error("the batch is larger than max.message.bytes")]
    BatchTooLarge,
    #[error("the batch is larger than segment.bytes")]
    LargerThanSegment,
    /// Of the producer whose transaction they are part of.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    #[error("the log is damaged")]
    Damaged,
    /// With the code that `record` gives to what it finds.
    #[error("the batch is not valid: {0}")]
    Invalid(ErrorCode),
    /// `offsets.commit.required.acks` is a number that means nothing.
    #[error("acks that mean nothing")]
    InvalidAcks,
    /// A batch that could not be built, or is no batch of a coordinator.
    #[error("internal error")]
    Internal,
}

impl From<AppendError> for StoreError {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::NotHosted(NotHosted::Offline) | AppendError::NotFlushed => Self::Offline,
            AppendError::NotHosted(NotHosted::Elsewhere) => Self::NotLeader,
            AppendError::NotHosted(NotHosted::Unknown) => Self::UnknownPartition,
            AppendError::Invalid(ValidateError::TooLarge(_)) => Self::BatchTooLarge,
            AppendError::Invalid(error @ (ValidateError::Batch(_) | ValidateError::Records { .. })) => {
                Self::Invalid(error.code())
            }
            AppendError::Partition(PartitionAppendError::NotLeader(_)) => Self::NotLeader,
            AppendError::Partition(PartitionAppendError::NotEnoughReplicas { .. }) => Self::NotEnoughReplicas,
            AppendError::Partition(PartitionAppendError::Log(error)) => match error {
                LogError::NotLeader => Self::NotLeader,
                LogError::TooLarge { .. } => Self::LargerThanSegment,
                LogError::Producer(error) => Self::Producer(error),
                LogError::Record(error) => Self::Invalid(error.code()),
                LogError::UnexpectedOffset { .. } | LogError::OffsetsOutOfOrder => Self::Internal,
                LogError::Dir(DirError::Damaged(_)) => Self::Damaged,
                LogError::Dir(
                    DirError::Failed { .. }
                    | DirError::Offline(_)
                    | DirError::Full { .. }
                    | DirError::Gone(_)
                    | DirError::Reserved(_),
                ) => Self::Offline,
            },
        }
    }
}

impl From<CommitError> for StoreError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::NotLeader(_) => Self::NotLeader,
            CommitError::NotEnoughReplicas => Self::NotEnoughReplicasAfterAppend,
        }
    }
}

impl From<WaitError> for StoreError {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Lost(error) => error.into(),
            WaitError::TimedOut => Self::TimedOut,
        }
    }
}

/// Why a request is not taken to a shard, or has no answer of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotServing {
    /// The front of a coordinator has found the key to be none.
    #[error("no coordinator has such a key")]
    InvalidKey,
    #[error("another broker coordinates it")]
    Elsewhere,
    /// A client asks again.
    #[error("the shard is still loading")]
    Loading,
}

/// What is asked of a machine: it is run in one of its turns, and dropped with its way back when the shard ends before.
/// Kafka 4: `CoordinatorWriteOperation`, `CoordinatorReadOperation`.
type Operation<M> = Box<dyn FnOnce(&mut M, Now, &mut Vec<<M as Machine>::Effect>) + Send>;

/// One partition of a coordinator from its loading to its end. What is started under one comes back to it or to no one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term {
    pub partition: i32,
    pub coordinator_epoch: i32,
    /// Counts the shards that were started: one that panicked is followed by another in the same leader epoch.
    pub start: u64,
}

/// Records on their way into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendId(pub u64);

/// A record of a coordinator's topic; without a value it is a tombstone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// A producer whose transaction the records are part of, verified with its coordinator (KIP-890).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnProducer {
    pub id: i64,
    pub epoch: i16,
    /// `None`: the transaction has written to the partition before.
    pub guard: Option<VerificationGuard>,
}

/// Records that a machine wants in the log, in the order of its decisions.
#[derive(Clone, Debug)]
pub struct Append {
    /// `None`: the machine does not hear how it ended. What is lost will be written again (tombstones).
    pub id: Option<AppendId>,
    pub records: Vec<Record>,
    pub producer: Option<TxnProducer>,
    /// -1: none.
    pub base_sequence: i32,
    /// Ends when all replicas in sync have it, and not begun while they are too few; else with the write to the own log.
    pub acks_all: bool,
    /// How long the replicas may take.
    pub timeout_ms: Millis,
}

impl Append {
    fn bytes(&self) -> usize {
        let size = |record: &Record| record.key.len() + record.value.as_ref().map_or(0, Bytes::len);
        self.records.iter().map(size).sum()
    }

    fn may_share_with(&self, other: &Self) -> bool {
        let terms = |append: &Self| (append.base_sequence, append.acks_all, append.timeout_ms);
        self.producer.is_none() && other.producer.is_none() && terms(self) == terms(other)
    }
}

/// Who waits for an answer of a machine, by number.
#[derive(Debug)]
pub(super) struct Tickets<T> {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<T>>,
}

impl<T> Default for Tickets<T> {
    fn default() -> Self {
        Self { next: 0, waiting: HashMap::new() }
    }
}

impl<T> Tickets<T> {
    pub(super) fn issue(&mut self, reply: oneshot::Sender<T>) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, reply);
        self.next
    }

    pub(super) fn answer(&mut self, ticket: u64, said: T) {
        if let Some(reply) = self.waiting.remove(&ticket) {
            answer(reply, said);
        }
    }
}

/// Answers a caller, whose connection may be gone.
pub(super) fn answer<T>(reply: oneshot::Sender<T>, said: T) {
    if reply.send(said).is_err() {
        debug!("no one waits for the answer");
    }
}

/// Where the tasks of a partition or of a broker run. Several threads have them, so that one that is stuck in a write to
/// its disk does not hold up all the others.
pub(super) fn group_of(groups: &[Group], number: i32) -> &Group {
    &groups[number.unsigned_abs() as usize % groups.len()]
}

impl Term {
    fn epoch(self) -> LeaderEpoch {
        LeaderEpoch(self.coordinator_epoch)
    }
}
