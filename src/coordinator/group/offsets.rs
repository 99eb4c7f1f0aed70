//! Owns the offsets of one group: committed, on their way into the log, and part of open transactions. Kafka: the offset
//! maps of `GroupMetadata`. Pure.

use crate::common::{LeaderEpoch, Millis, Offset, TopicPartition};
use crate::coordinator::runtime::AppendId;
use crate::protocol::Str;
use std::collections::{BTreeMap, BTreeSet};

/// What a group committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    pub offset: Offset,
    /// Of the record before it; -1 where the client did not say.
    pub leader_epoch: LeaderEpoch,
    pub metadata: Str,
    pub commit_timestamp: Millis,
    /// `None`: by the broker's retention. Versions 2 to 4 may ask for a retention of their own.
    pub expire_timestamp: Option<Millis>,
}

/// A committed offset, and where its batch lies in the log: the later one counts, however the replies come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StoredOffset {
    pub committed: CommittedOffset,
    pub at: Offset,
}

#[derive(Debug)]
struct TxnOffset {
    committed: CommittedOffset,
    append: AppendId,
    /// Where its batch lies; `None` while it is on its way.
    at: Option<Offset>,
}

/// Which offsets of a group may expire, and by what time. Kafka: `removeExpiredOffsets`.
#[derive(Debug)]
pub(super) enum Expiry<'a> {
    /// None: the group is in use in a way that says nothing of single offsets.
    Never,
    /// All, by the time the group became empty where that is known.
    SinceEmpty(Option<Millis>),
    /// Those of topics that no one subscribes to, by their own time.
    Unsubscribed(&'a BTreeSet<Str>),
    /// All, by their own time.
    SinceCommit,
}

#[derive(Debug, Default)]
pub(super) struct Offsets {
    stored: BTreeMap<TopicPartition, StoredOffset>,
    /// The latest commit of a partition that is on its way.
    pending: BTreeMap<TopicPartition, AppendId>,
    /// By producer.
    transactional: BTreeMap<i64, BTreeMap<TopicPartition, TxnOffset>>,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.stored.is_empty() && self.pending.is_empty() && self.transactional.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.stored.len()
    }

    pub(super) fn get(&self, tp: &TopicPartition) -> Option<&CommittedOffset> {
        self.stored.get(tp).map(|stored| &stored.committed)
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.stored.keys()
    }

    /// Whether a commit of the partition is not decided yet.
    pub(super) fn is_unstable(&self, tp: &TopicPartition) -> bool {
        self.pending.contains_key(tp) || self.transactional.values().any(|offsets| offsets.contains_key(tp))
    }

    pub(super) fn load(&mut self, tp: TopicPartition, stored: StoredOffset) {
        self.stored.insert(tp, stored);
    }

    pub(super) fn load_transactional(&mut self, producer: i64, tp: TopicPartition, stored: StoredOffset) {
        let loaded = TxnOffset { committed: stored.committed, append: AppendId(u64::MAX), at: Some(stored.at) };
        self.transactional.entry(producer).or_default().insert(tp, loaded);
    }

    pub(super) fn producers(&self) -> impl Iterator<Item = i64> {
        self.transactional.keys().copied()
    }

    // ---- commits

    pub(super) fn begin(&mut self, append: AppendId, partitions: impl Iterator<Item = TopicPartition>) {
        self.pending.extend(partitions.map(|tp| (tp, append)));
    }

    pub(super) fn stored(&mut self, append: AppendId, tp: TopicPartition, committed: CommittedOffset, at: Offset) {
        // Without a pending commit the partition was deleted meanwhile.
        let Some(latest) = self.pending.get(&tp).copied() else { return };
        if latest == append {
            self.pending.remove(&tp);
        }
        self.keep_later(tp, StoredOffset { committed, at });
    }

    pub(super) fn failed(&mut self, append: AppendId, tp: &TopicPartition) {
        if self.pending.get(tp) == Some(&append) {
            self.pending.remove(tp);
        }
    }

    fn keep_later(&mut self, tp: TopicPartition, stored: StoredOffset) {
        if self.stored.get(&tp).is_none_or(|current| current.at < stored.at) {
            self.stored.insert(tp, stored);
        }
    }

    // ---- transactions

    pub(super) fn begin_transactional(
        &mut self,
        producer: i64,
        append: AppendId,
        offsets: impl Iterator<Item = (TopicPartition, CommittedOffset)>,
    ) {
        let of_producer = self.transactional.entry(producer).or_default();
        of_producer.extend(offsets.map(|(tp, committed)| (tp, TxnOffset { committed, append, at: None })));
    }

    pub(super) fn stored_transactional(&mut self, producer: i64, append: AppendId, tp: &TopicPartition, at: Offset) {
        let offset = self.transactional.get_mut(&producer).and_then(|offsets| offsets.get_mut(tp));
        if let Some(offset) = offset.filter(|offset| offset.append == append) {
            offset.at = Some(at);
        }
    }

    /// True when the producer has nothing left here.
    pub(super) fn failed_transactional(&mut self, producer: i64, append: AppendId, tp: &TopicPartition) -> bool {
        let Some(offsets) = self.transactional.get_mut(&producer) else { return true };
        if offsets.get(tp).is_some_and(|offset| offset.append == append) {
            offsets.remove(tp);
        }
        let is_done = offsets.is_empty();
        if is_done {
            self.transactional.remove(&producer);
        }
        is_done
    }

    /// The marker of a transaction decides what lies before it in the log. What is still on its way lies behind it: the
    /// replicas have the marker, so they have all that is before it. True when the producer has nothing left here.
    pub(super) fn end_transaction(&mut self, producer: i64, committed: bool, marker: Offset) -> bool {
        let Some(offsets) = self.transactional.get_mut(&producer) else { return true };
        let (decided, open): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(offsets).into_iter().partition(|(_, offset)| offset.at.is_some_and(|at| at < marker));
        let is_done = open.is_empty();
        if is_done {
            self.transactional.remove(&producer);
        } else {
            *offsets = open;
        }
        for (tp, TxnOffset { committed: offset, at, .. }) in decided {
            if let Some(at) = at.filter(|_| committed) {
                self.keep_later(tp, StoredOffset { committed: offset, at });
            }
        }
        is_done
    }

    // ---- removal

    /// Forgets the partitions, also what is on its way. Returns those that had an offset.
    pub(super) fn remove(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        for tp in partitions {
            self.pending.remove(tp);
        }
        for offsets in self.transactional.values_mut() {
            for tp in partitions {
                offsets.remove(tp);
            }
        }
        partitions.iter().filter_map(|tp| self.stored.remove_entry(tp)).map(|(tp, _)| tp).collect()
    }

    pub(super) fn remove_all(&mut self) -> Vec<TopicPartition> {
        let partitions: Vec<TopicPartition> = self.stored.keys().cloned().collect();
        self.remove(&partitions)
    }

    pub(super) fn remove_expired(
        &mut self,
        now: Millis,
        retention_ms: Millis,
        expiry: &Expiry<'_>,
    ) -> Vec<TopicPartition> {
        let is_expired = |tp: &TopicPartition, committed: &CommittedOffset| {
            let since = match expiry {
                Expiry::Never => return false,
                Expiry::Unsubscribed(topics) if topics.contains(&*tp.topic) => return false,
                Expiry::Unsubscribed(_) | Expiry::SinceCommit => committed.commit_timestamp,
                Expiry::SinceEmpty(since) => since.unwrap_or(committed.commit_timestamp),
            };
            match committed.expire_timestamp {
                Some(at) => now >= at,
                None => now.saturating_sub(since) >= retention_ms,
            }
        };
        let expired = self
            .stored
            .iter()
            .filter(|(tp, stored)| !self.pending.contains_key(*tp) && is_expired(tp, &stored.committed))
            .map(|(tp, _)| tp.clone());
        let expired: Vec<TopicPartition> = expired.collect();
        for tp in &expired {
            self.stored.remove(tp);
        }
        expired
    }
}
