//! Owns what goes into the [`Machine`](super::machine::Machine) and what comes out of it. Pure.

use super::state::{IllegalTransition, Outcome, ProducerIdAndEpoch, TransactionState, Transit};
use crate::common::ErrorCode;
use crate::common::ids::{Millis, TopicPartition};
use crate::coordinator::runtime::AppendId;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The broker's settings, as Kafka's `TransactionConfig`. Milliseconds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// `transaction.max.timeout.ms`.
    pub timeout_max_ms: i32,
    /// `transactional.id.expiration.ms`.
    pub id_expiration_ms: Millis,
    /// `transaction.abort.timed.out.transaction.cleanup.interval.ms`.
    pub abort_interval_ms: Millis,
    /// `transaction.remove.expired.transaction.cleanup.interval.ms`.
    pub expiry_interval_ms: Millis,
    /// `request.timeout.ms`, for tombstones.
    pub request_timeout_ms: i32,
}

impl Settings {
    /// What is wrong with a request for a producer epoch, on any coordinator.
    pub fn check_new_producer(&self, transactional_id: &str, timeout_ms: i32) -> Result<(), ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let is_valid = timeout_ms > 0 && timeout_ms <= self.timeout_max_ms;
        if is_valid { Ok(()) } else { Err(ErrorCode::InvalidTransactionTimeout) }
    }
}

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The end of one transaction in one term of its coordinator. A producer keeps its epoch from one transaction to the next,
/// so that its name says nothing of which of them a marker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CompletionId(pub u64);

/// A producer with a transactional id wants an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InitProducerId {
    pub transactional_id: Arc<str>,
    pub timeout_ms: i32,
    /// What the producer says it has (KIP-360).
    pub expected: Option<ProducerIdAndEpoch>,
}

/// What a request is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Producer(Result<ProducerIdAndEpoch, ErrorCode>),
    Code(ErrorCode),
}

/// What is to be done, in this order.
#[must_use]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Reply(Ticket, Answer),
    /// Write a record, acks=all, and report the outcome. No state is a tombstone.
    Append {
        id: AppendId,
        transactional_id: Arc<str>,
        state: Option<Transit>,
        timeout_ms: i32,
    },
    /// Send markers to the leaders of these partitions, and report the outcome for each.
    SendMarkers(Markers),
    /// Say so in the broker's log.
    Note(Note),
}

/// Markers of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markers {
    pub completion: CompletionId,
    pub transactional_id: Arc<str>,
    pub producer: ProducerIdAndEpoch,
    pub outcome: Outcome,
    pub partitions: BTreeSet<TopicPartition>,
}

/// What an operator should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    Initialized { transactional_id: Arc<str>, producer: ProducerIdAndEpoch },
    TimedOut { transactional_id: Arc<str>, error: ErrorCode },
    FenceNotWritten { transactional_id: Arc<str>, epoch: i16, error: ErrorCode },
    MarkerRefused { transactional_id: Arc<str>, partition: TopicPartition, error: ErrorCode },
    CompletionNotWritten { transactional_id: Arc<str>, error: ErrorCode },
    NotBuried { transactional_id: Arc<str>, error: ErrorCode },
    Broken { transactional_id: Arc<str>, why: IllegalTransition },
}

/// How a marker fared at its partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkerResult {
    Written,
    /// There is no such partition any more.
    Gone,
    Failed(ErrorCode),
}

/// The answer of DescribeTransactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    pub state: TransactionState,
    pub producer: ProducerIdAndEpoch,
    pub timeout_ms: i32,
    pub started: Millis,
    pub partitions: BTreeSet<TopicPartition>,
}

/// Which transactions ListTransactions answers with. Empty filters let everything through.
#[derive(Clone, Debug, Default)]
pub struct ListFilter {
    pub producer_ids: BTreeSet<i64>,
    /// None: any state. States of which none is known leave nothing.
    pub states: Option<BTreeSet<TransactionState>>,
    /// Only what is older than this; negative: everything.
    pub duration_ms: Millis,
}

/// One line of ListTransactions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    pub transactional_id: Arc<str>,
    pub producer_id: i64,
    pub state: TransactionState,
}
