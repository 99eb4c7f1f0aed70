//! Owns the life of one transactional id: its states, which may follow which, and what a transition carries over. Kafka:
//! `TransactionMetadata`, `TransactionState`. Pure.
//!
//! ```text
//!            add partitions           end (commit)               all markers written
//! Empty ----------------> Ongoing ----------------> PrepareCommit ----------------> CompleteCommit
//!   ^                      ^   |       end (abort), timeout, another producer              |
//!   | new epoch            |   +------------------> PrepareAbort  ----------------> CompleteAbort
//!   +----------------------+--- add partitions, new epoch ---------------------------------+
//! ```
//!
//! A transition is prepared, written to the log, then completed: in between it is pending, and there is one at most.

use crate::common::ids::{Millis, TopicPartition};
use crate::record::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID};
use std::collections::BTreeSet;

/// A transaction that has not begun, where a time stands.
pub const NO_START: Millis = -1;

/// Where a transactional id stands. The discriminant is the byte in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(i8)]
pub enum TransactionState {
    Empty = 0,
    Ongoing = 1,
    PrepareCommit = 2,
    PrepareAbort = 3,
    CompleteCommit = 4,
    CompleteAbort = 5,
    /// On its way out: a tombstone is being written. Never in the log.
    Dead = 6,
    /// Kafka's name for the step that raises the epoch before an abort. Never in the log, and never seen from outside.
    PrepareEpochFence = 7,
}

impl TransactionState {
    const ALL: [Self; 8] = [
        Self::Empty,
        Self::Ongoing,
        Self::PrepareCommit,
        Self::PrepareAbort,
        Self::CompleteCommit,
        Self::CompleteAbort,
        Self::Dead,
        Self::PrepareEpochFence,
    ];

    /// As DescribeTransactions and ListTransactions say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::Ongoing => "Ongoing",
            Self::PrepareCommit => "PrepareCommit",
            Self::PrepareAbort => "PrepareAbort",
            Self::CompleteCommit => "CompleteCommit",
            Self::CompleteAbort => "CompleteAbort",
            Self::Dead => "Dead",
            Self::PrepareEpochFence => "PrepareEpochFence",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// The state of a log record; None for bytes that no record has.
    pub const fn from_log(id: i8) -> Option<Self> {
        Some(match id {
            0 => Self::Empty,
            1 => Self::Ongoing,
            2 => Self::PrepareCommit,
            3 => Self::PrepareAbort,
            4 => Self::CompleteCommit,
            5 => Self::CompleteAbort,
            _ => return None,
        })
    }

    /// Kafka: `validPreviousStates`.
    pub const fn may_follow(self, previous: Self) -> bool {
        match self {
            Self::Empty => matches!(previous, Self::Empty | Self::CompleteCommit | Self::CompleteAbort),
            Self::Ongoing => {
                matches!(previous, Self::Ongoing | Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
            }
            Self::PrepareCommit | Self::PrepareEpochFence => matches!(previous, Self::Ongoing),
            Self::PrepareAbort => matches!(previous, Self::Ongoing | Self::PrepareEpochFence),
            Self::CompleteCommit => matches!(previous, Self::PrepareCommit),
            Self::CompleteAbort => matches!(previous, Self::PrepareAbort),
            Self::Dead => matches!(previous, Self::Empty | Self::CompleteCommit | Self::CompleteAbort),
        }
    }

    /// Nothing is under way: the id may be forgotten once it is old.
    pub const fn may_expire(self) -> bool {
        matches!(self, Self::Empty | Self::CompleteCommit | Self::CompleteAbort)
    }

    /// Whether markers are due, and then which.
    pub const fn markers(self) -> Option<Outcome> {
        match self {
            Self::PrepareCommit => Some(Outcome::Commit),
            Self::PrepareAbort => Some(Outcome::Abort),
            _ => None,
        }
    }
}

/// How a transaction ends. Kafka: `TransactionResult`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    Commit,
    Abort,
}

impl Outcome {
    pub const fn of(committed: bool) -> Self {
        if committed { Self::Commit } else { Self::Abort }
    }

    pub const fn is_commit(self) -> bool {
        matches!(self, Self::Commit)
    }

    const fn prepare(self) -> TransactionState {
        match self {
            Self::Commit => TransactionState::PrepareCommit,
            Self::Abort => TransactionState::PrepareAbort,
        }
    }

    const fn complete(self) -> TransactionState {
        match self {
            Self::Commit => TransactionState::CompleteCommit,
            Self::Abort => TransactionState::CompleteAbort,
        }
    }
}

/// A producer and its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProducerIdAndEpoch {
    pub producer_id: i64,
    pub epoch: i16,
}

/// A transition that the state does not allow. It is a mistake of ours, or of the broker that wrote the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IllegalTransition {
    #[error("from {from:?} to {to:?}")]
    State { from: TransactionState, to: TransactionState },
    #[error("to {to:?} while {pending:?} is pending")]
    Pending { to: TransactionState, pending: TransactionState },
    #[error("producer epoch {0} cannot be raised")]
    Epoch(i16),
}

/// What a transition makes of a transactional id, and what the log says of it. Kafka: `TxnTransitMetadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transit {
    pub state: TransactionState,
    pub producer: ProducerIdAndEpoch,
    pub last_producer: ProducerIdAndEpoch,
    pub timeout_ms: i32,
    pub partitions: BTreeSet<TopicPartition>,
    /// [`NO_START`] before the first partition is added.
    pub started: Millis,
    pub updated: Millis,
}

/// One transactional id. The previous producer is not in the log: a coordinator that has just loaded does not know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionMetadata {
    pub state: TransactionState,
    /// The epoch is -1 before the first InitProducerId is written.
    pub producer: ProducerIdAndEpoch,
    pub last_producer: ProducerIdAndEpoch,
    pub timeout_ms: i32,
    /// Those that still need a marker, once the transaction has ended.
    pub partitions: BTreeSet<TopicPartition>,
    pub started: Millis,
    pub updated: Millis,
    /// The state that is on its way to the log.
    pub pending: Option<TransactionState>,
    /// A raised epoch may not have reached the log. No one has been given it, so the next abort need not raise it again.
    pub failed_epoch_fence: bool,
}

impl TransactionMetadata {
    /// A transactional id that no one has used. The first transition gives it its epoch.
    pub fn new(producer_id: i64, timeout_ms: i32, now: Millis) -> Self {
        Self {
            state: TransactionState::Empty,
            producer: ProducerIdAndEpoch { producer_id, epoch: NO_PRODUCER_EPOCH },
            last_producer: ProducerIdAndEpoch { producer_id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH },
            timeout_ms,
            partitions: BTreeSet::new(),
            started: NO_START,
            updated: now,
            pending: None,
            failed_epoch_fence: false,
        }
    }

    /// The largest epoch is kept for fencing, so a producer never gets it. Kafka: `isEpochExhausted`.
    pub const fn is_exhausted(epoch: i16) -> bool {
        epoch >= i16::MAX - 1
    }

    /// Whether `expected` may be the producer that asks for a new epoch (KIP-360): the metadata is new, the id is the
    /// current one, or it is the one before and its epochs were used up, so that this is a retry.
    pub fn knows(&self, expected: ProducerIdAndEpoch) -> bool {
        self.producer.epoch == NO_PRODUCER_EPOCH
            || expected.producer_id == self.producer.producer_id
            || (expected.producer_id == self.last_producer.producer_id && Self::is_exhausted(expected.epoch))
    }

    /// A new epoch for any caller, or for the producer that says it has `expected`; None fences it. The epoch before
    /// stays where it is on a retry. Not for an exhausted epoch. Kafka: `prepareIncrementProducerEpoch`.
    pub fn prepare_new_epoch(
        &mut self,
        timeout_ms: i32,
        expected: Option<i16>,
        now: Millis,
    ) -> Result<Option<Transit>, IllegalTransition> {
        let current = self.producer.epoch;
        let raised = || current.checked_add(1).ok_or(IllegalTransition::Epoch(current));
        let (epoch, last_epoch) = match expected {
            None => (raised()?, NO_PRODUCER_EPOCH),
            Some(expected) if current == NO_PRODUCER_EPOCH || expected == current => (raised()?, current),
            // A retry of a call whose answer was lost. No one else came in between, or the last epoch would be -1.
            Some(expected) if expected == self.last_producer.epoch => (current, self.last_producer.epoch),
            Some(_) => return Ok(None),
        };
        let producer = ProducerIdAndEpoch { epoch, ..self.producer };
        self.begin_anew(producer, last_epoch, timeout_ms, now).map(Some)
    }

    /// A new producer id, since the epochs of this one are used up. Kafka: `prepareProducerIdRotation`.
    pub fn prepare_new_producer_id(
        &mut self,
        producer_id: i64,
        timeout_ms: i32,
        remember_epoch: bool,
        now: Millis,
    ) -> Result<Transit, IllegalTransition> {
        let last_epoch = if remember_epoch { self.producer.epoch } else { NO_PRODUCER_EPOCH };
        self.begin_anew(ProducerIdAndEpoch { producer_id, epoch: 0 }, last_epoch, timeout_ms, now)
    }

    fn begin_anew(
        &mut self,
        producer: ProducerIdAndEpoch,
        last_epoch: i16,
        timeout_ms: i32,
        now: Millis,
    ) -> Result<Transit, IllegalTransition> {
        self.prepare(Transit {
            state: TransactionState::Empty,
            producer,
            last_producer: ProducerIdAndEpoch { producer_id: self.producer.producer_id, epoch: last_epoch },
            timeout_ms,
            partitions: BTreeSet::new(),
            started: NO_START,
            updated: now,
        })
    }

    /// Kafka: `prepareAddPartitions`.
    pub fn prepare_add_partitions(
        &mut self,
        partitions: BTreeSet<TopicPartition>,
        now: Millis,
    ) -> Result<Transit, IllegalTransition> {
        let started = if self.state.may_expire() { now } else { self.started };
        let mut all = self.partitions.clone();
        all.extend(partitions);
        self.prepare(Transit { partitions: all, started, ..self.same(TransactionState::Ongoing, now) })
    }

    /// Kafka: `prepareAbortOrCommit`.
    pub fn prepare_end(&mut self, outcome: Outcome, now: Millis) -> Result<Transit, IllegalTransition> {
        self.prepare(self.same(outcome.prepare(), now))
    }

    /// Raises the epoch, which fences the producer, and ends what it has begun. The epoch is raised at once: it was told
    /// to no one, and may be used again if the log does not take it. Kafka: `prepareFenceProducerEpoch`, then
    /// `endTransaction`.
    pub fn prepare_fence(&mut self, now: Millis) -> Result<Transit, IllegalTransition> {
        let current = self.producer.epoch;
        let epoch = if self.failed_epoch_fence {
            current
        } else {
            current.checked_add(1).ok_or(IllegalTransition::Epoch(current))?
        };
        let state = TransactionState::PrepareAbort;
        let last_producer = ProducerIdAndEpoch { producer_id: self.producer.producer_id, epoch: NO_PRODUCER_EPOCH };
        let producer = ProducerIdAndEpoch { epoch, ..self.producer };
        let transit = self.prepare(Transit { producer, last_producer, ..self.same(state, now) })?;
        self.producer = producer;
        self.last_producer = last_producer;
        Ok(transit)
    }

    /// What the end of the last marker will make true. Prepared as soon as the end is decided: nothing may come between.
    /// Kafka: `prepareComplete`.
    pub fn prepare_complete(&mut self, outcome: Outcome, now: Millis) -> Result<Transit, IllegalTransition> {
        let transit = Transit { partitions: BTreeSet::new(), ..self.same(outcome.complete(), now) };
        let transit = self.prepare(transit)?;
        self.failed_epoch_fence = false;
        Ok(transit)
    }

    /// Kafka: `prepareDead`. A tombstone is what the log gets.
    pub fn prepare_dead(&mut self) -> Result<(), IllegalTransition> {
        let updated = self.updated;
        self.prepare(self.same(TransactionState::Dead, updated)).map(drop)
    }

    fn same(&self, state: TransactionState, now: Millis) -> Transit {
        Transit {
            state,
            producer: self.producer,
            last_producer: ProducerIdAndEpoch {
                producer_id: self.producer.producer_id,
                epoch: self.last_producer.epoch,
            },
            timeout_ms: self.timeout_ms,
            partitions: self.partitions.clone(),
            started: self.started,
            updated: now,
        }
    }

    fn prepare(&mut self, transit: Transit) -> Result<Transit, IllegalTransition> {
        let to = transit.state;
        if let Some(pending) = self.pending {
            return Err(IllegalTransition::Pending { to, pending });
        }
        if !to.may_follow(self.state) {
            return Err(IllegalTransition::State { from: self.state, to });
        }
        self.pending = Some(to);
        Ok(transit)
    }

    /// The log has it. Kafka: `completeTransitionTo`.
    pub fn complete(&mut self, transit: Transit) {
        debug_assert_eq!(self.pending, Some(transit.state));
        self.state = transit.state;
        self.producer = transit.producer;
        self.last_producer = transit.last_producer;
        self.timeout_ms = transit.timeout_ms;
        self.partitions = transit.partitions;
        // Kept until the coordinator moves, as in Kafka: DescribeTransactions shows when the transaction before began.
        if transit.state != TransactionState::Empty {
            self.started = transit.started;
        }
        self.updated = transit.updated;
        self.pending = None;
    }

    /// The log does not have it, or no one knows: the client gets that answer, and may try again.
    pub fn give_up_pending(&mut self) {
        self.pending = None;
    }

    pub fn is_ongoing(&self) -> bool {
        self.state == TransactionState::Ongoing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Millis = 1_000;

    fn fresh() -> TransactionMetadata {
        TransactionMetadata::new(7, 60_000, NOW)
    }

    fn with_epoch(epoch: i16) -> TransactionMetadata {
        TransactionMetadata { producer: ProducerIdAndEpoch { producer_id: 7, epoch }, ..fresh() }
    }

    fn one() -> BTreeSet<TopicPartition> {
        [TopicPartition::new("t", 0)].into()
    }

    /// Kafka's table, said once more: `validPreviousStates` of every state.
    #[test]
    fn only_these_states_follow_each_other() {
        use TransactionState::*;
        let allowed = [
            (Empty, vec![Empty, CompleteCommit, CompleteAbort]),
            (Ongoing, vec![Empty, Ongoing, CompleteCommit, CompleteAbort]),
            (PrepareCommit, vec![Ongoing]),
            (PrepareAbort, vec![Ongoing, PrepareEpochFence]),
            (CompleteCommit, vec![PrepareCommit]),
            (CompleteAbort, vec![PrepareAbort]),
            (Dead, vec![Empty, CompleteCommit, CompleteAbort]),
            (PrepareEpochFence, vec![Ongoing]),
        ];
        for (to, from) in allowed {
            let found: Vec<_> = TransactionState::ALL.into_iter().filter(|state| to.may_follow(*state)).collect();
            assert_eq!(found, from, "before {to:?}");
            assert_eq!(TransactionState::from_name(to.name()), Some(to));
        }
        assert_eq!(TransactionState::from_log(6), None, "Dead is never in the log");
        assert_eq!(TransactionState::from_name("empty"), None);
    }

    #[test]
    fn a_whole_transaction_keeps_its_start_and_forgets_its_partitions() {
        let mut txn = fresh();
        let transit = txn.prepare_new_epoch(60_000, None, NOW).unwrap().unwrap();
        txn.complete(transit);
        assert_eq!((txn.producer.epoch, txn.last_producer.epoch), (0, -1));
        let transit = txn.prepare_add_partitions(one(), NOW + 1).unwrap();
        txn.complete(transit);
        let transit = txn.prepare_add_partitions([TopicPartition::new("t", 1)].into(), NOW + 2).unwrap();
        assert_eq!((transit.started, transit.partitions.len()), (NOW + 1, 2));
        txn.complete(transit);
        let transit = txn.prepare_end(Outcome::Commit, NOW + 3).unwrap();
        txn.complete(transit);
        let transit = txn.prepare_complete(Outcome::Commit, NOW + 4).unwrap();
        assert_eq!((transit.state, transit.started), (TransactionState::CompleteCommit, NOW + 1));
        txn.complete(transit);
        assert!(txn.partitions.is_empty());
        let transit = txn.prepare_add_partitions(one(), NOW + 9).unwrap();
        assert_eq!(transit.started, NOW + 9, "the next transaction has a start of its own");
    }

    #[test]
    fn one_transition_is_pending_at_most() {
        let mut txn = with_epoch(0);
        assert!(txn.prepare_add_partitions(one(), NOW).is_ok());
        assert_eq!(
            txn.prepare_dead(),
            Err(IllegalTransition::Pending { to: TransactionState::Dead, pending: TransactionState::Ongoing })
        );
        txn.give_up_pending();
        assert_eq!(txn.prepare_dead(), Ok(()));
    }

    #[test]
    fn an_epoch_is_raised_for_its_owner_and_given_again_to_its_retry() {
        let mut txn = with_epoch(3);
        let bump = |txn: &mut TransactionMetadata, expected| {
            let transit = txn.prepare_new_epoch(1, expected, NOW).unwrap()?;
            txn.complete(transit);
            Some((txn.producer.epoch, txn.last_producer.epoch))
        };
        assert_eq!(bump(&mut txn, Some(3)), Some((4, 3)));
        assert_eq!(bump(&mut txn, Some(3)), Some((4, 3)), "its answer was lost");
        assert_eq!(bump(&mut txn, Some(2)), None, "fenced");
        assert_eq!(bump(&mut txn, None), Some((5, -1)), "somebody else came");
        assert_eq!(bump(&mut txn, Some(3)), None, "now the first one is fenced");
        assert_eq!(txn.pending, None);
    }

    #[test]
    fn a_failed_fence_is_not_raised_again() {
        let mut txn = TransactionMetadata { state: TransactionState::Ongoing, partitions: one(), ..with_epoch(3) };
        let transit = txn.prepare_fence(NOW).unwrap();
        assert_eq!((transit.state, transit.producer.epoch, txn.producer.epoch), (TransactionState::PrepareAbort, 4, 4));
        txn.give_up_pending();
        txn.failed_epoch_fence = true;
        assert_eq!(txn.prepare_fence(NOW).unwrap().producer.epoch, 4);
    }

    #[test]
    fn epochs_end_before_the_largest_and_never_overflow() {
        assert!(!TransactionMetadata::is_exhausted(i16::MAX - 2));
        assert!(TransactionMetadata::is_exhausted(i16::MAX - 1));
        let mut txn = TransactionMetadata { state: TransactionState::Ongoing, ..with_epoch(i16::MAX) };
        assert_eq!(txn.prepare_fence(NOW), Err(IllegalTransition::Epoch(i16::MAX)));
        let mut txn = with_epoch(i16::MAX - 1);
        let transit = txn.prepare_new_producer_id(8, 1, true, NOW).unwrap();
        txn.complete(transit);
        assert_eq!(txn.producer, ProducerIdAndEpoch { producer_id: 8, epoch: 0 });
        assert!(txn.knows(ProducerIdAndEpoch { producer_id: 7, epoch: i16::MAX - 1 }), "a retry");
        assert!(!txn.knows(ProducerIdAndEpoch { producer_id: 7, epoch: 3 }));
    }
}
