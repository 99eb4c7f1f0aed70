//! Owns what the cleaner knows of transactions while it walks over a log: which batches belong to an aborted one, and which
//! markers no one needs any more. Kafka: `CleanedTransactionMetadata`. Pure.

use crate::common::ids::Offset;
use crate::log::index::AbortedTxn;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// A control batch, as much as counts here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Commit,
    Abort,
    /// Emptied by an earlier cleaning.
    Empty,
    /// Of a type that is no end of a transaction.
    Other,
}

/// What is done with a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkerFate {
    /// Nothing of its transaction is left: it may go once consumers had time to see it.
    Discard,
    Retain,
    /// Retained, and so is the entry of the transaction index that belongs to it.
    RetainAborted(AbortedTxn),
}

#[derive(Clone, Copy, Debug)]
struct Aborted {
    txn: AbortedTxn,
    has_batches: bool,
}

/// Ordered by first offset only, for the heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ByFirstOffset(AbortedTxn);

impl Ord for ByFirstOffset {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let key = |txn: &AbortedTxn| (txn.first_offset, txn.last_offset, txn.producer_id);
        key(&self.0).cmp(&key(&other.0))
    }
}

impl PartialOrd for ByFirstOffset {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// See the module's page. Batches come in the order of their offsets.
#[derive(Debug, Default)]
pub(super) struct CleanedTransactions {
    /// Producers whose open transaction has batches that are left, and no abort is known.
    committed: HashSet<i64>,
    aborted: HashMap<i64, Aborted>,
    ahead: BinaryHeap<Reverse<ByFirstOffset>>,
}

impl CleanedTransactions {
    /// Aborted transactions of what comes next.
    pub(super) fn add(&mut self, aborted: impl IntoIterator<Item = AbortedTxn>) {
        self.ahead.extend(aborted.into_iter().map(|txn| Reverse(ByFirstOffset(txn))));
    }

    fn advance(&mut self, offset: Offset) {
        while let Some(Reverse(ByFirstOffset(txn))) =
            self.ahead.peek().copied().filter(|t| t.0.0.first_offset <= offset)
        {
            self.ahead.pop();
            self.aborted.entry(txn.producer_id).or_insert(Aborted { txn, has_batches: false });
        }
    }

    /// True when the batch belongs to an aborted transaction: its records may go.
    pub(super) fn on_batch(&mut self, last_offset: Offset, producer_id: i64, is_transactional: bool) -> bool {
        self.advance(last_offset);
        if !is_transactional {
            return false;
        }
        match self.aborted.get_mut(&producer_id) {
            Some(aborted) => {
                aborted.has_batches = true;
                true
            }
            None => {
                self.committed.insert(producer_id);
                false
            }
        }
    }

    pub(super) fn on_marker(&mut self, last_offset: Offset, producer_id: i64, marker: Marker) -> MarkerFate {
        self.advance(last_offset);
        match marker {
            Marker::Empty => MarkerFate::Discard,
            Marker::Other => MarkerFate::Retain,
            Marker::Abort => match self.aborted.remove(&producer_id) {
                Some(aborted) if aborted.has_batches => MarkerFate::RetainAborted(aborted.txn),
                _ => MarkerFate::Discard,
            },
            Marker::Commit if self.committed.remove(&producer_id) => MarkerFate::Retain,
            Marker::Commit => MarkerFate::Discard,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn txn(producer_id: i64, first_offset: Offset, last_offset: Offset) -> AbortedTxn {
        AbortedTxn { producer_id, first_offset, last_offset, last_stable_offset: last_offset + 1 }
    }

    #[test]
    fn batches_of_aborted_transactions_go_and_their_marker_stays_while_there_were_any() {
        let mut seen = CleanedTransactions::default();
        seen.add([txn(1, 10, 20)]);
        assert!(!seen.on_batch(5, 1, true), "a transaction before that one");
        assert_eq!(seen.on_marker(6, 1, Marker::Commit), MarkerFate::Retain);
        assert!(seen.on_batch(12, 1, true));
        assert!(!seen.on_batch(13, 2, true));
        assert!(!seen.on_batch(14, -1, false));
        assert_eq!(seen.on_marker(20, 1, Marker::Abort), MarkerFate::RetainAborted(txn(1, 10, 20)));
        assert_eq!(seen.on_marker(21, 2, Marker::Commit), MarkerFate::Retain);
    }

    #[test]
    fn markers_of_transactions_without_batches_may_go() {
        let mut seen = CleanedTransactions::default();
        seen.add([txn(1, 10, 20)]);
        assert_eq!(seen.on_marker(20, 1, Marker::Abort), MarkerFate::Discard);
        assert_eq!(seen.on_marker(21, 2, Marker::Commit), MarkerFate::Discard);
        assert_eq!(seen.on_marker(22, 3, Marker::Empty), MarkerFate::Discard);
        assert_eq!(seen.on_marker(23, 3, Marker::Other), MarkerFate::Retain);
    }

    #[test]
    fn a_transaction_that_two_segments_tell_of_is_one() {
        let mut seen = CleanedTransactions::default();
        seen.add([txn(1, 10, 30)]);
        assert!(seen.on_batch(12, 1, true));
        seen.add([txn(1, 10, 30), txn(1, 40, 50)]);
        assert!(seen.on_batch(25, 1, true));
        assert_eq!(seen.on_marker(30, 1, Marker::Abort), MarkerFate::RetainAborted(txn(1, 10, 30)));
        assert!(seen.on_batch(45, 1, true));
        assert_eq!(seen.on_marker(50, 1, Marker::Abort), MarkerFate::RetainAborted(txn(1, 40, 50)));
    }
}
