//! Owns which leader epoch starts at which offset. Kafka: `LeaderEpochFileCache`. Epochs and start offsets both increase.
//! Pure: the caller that changes it writes the checkpoint.

use crate::common::ids::{LeaderEpoch, Offset};

/// First offset that was written in an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEntry {
    pub epoch: LeaderEpoch,
    pub start_offset: Offset,
}

/// Where an epoch ends: the offset after its last record, in the largest known epoch that is not above the one asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEndOffset {
    pub epoch: LeaderEpoch,
    pub end_offset: Offset,
}

/// All known epochs of one log, ascending. Few: one for each change of leader that the log still remembers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochCache {
    entries: Vec<EpochEntry>,
}

impl EpochCache {
    /// From a checkpoint's lines, in their order: a line that contradicts earlier ones replaces them.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochEntry>) -> Self {
        let mut cache = Self::default();
        for entry in entries {
            cache.assign(entry.epoch, entry.start_offset);
        }
        cache
    }

    pub fn entries(&self) -> &[EpochEntry] {
        &self.entries
    }

    pub fn latest(&self) -> Option<EpochEntry> {
        self.entries.last().copied()
    }

    pub fn earliest(&self) -> Option<EpochEntry> {
        self.entries.first().copied()
    }

    /// Notes that `epoch` starts at `start_offset`, and forgets entries that this contradicts. True when something
    /// changed, so that the checkpoint is due. Negative values change nothing.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        let known = self.latest().is_some_and(|last| epoch == last.epoch && start_offset >= last.start_offset);
        if known || epoch.0 < 0 || start_offset < 0 {
            return false;
        }
        let keep =
            self.entries.iter().rposition(|e| e.epoch < epoch && e.start_offset < start_offset).map_or(0, |at| at + 1);
        self.entries.truncate(keep);
        self.entries.push(EpochEntry { epoch, start_offset });
        true
    }

    /// Rules of `OffsetForLeaderEpoch`; `None` is the wire's (-1, -1).
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> Option<EpochEndOffset> {
        if requested == LeaderEpoch::NONE {
            return None;
        }
        if self.latest().is_some_and(|last| last.epoch == requested) {
            return Some(EpochEndOffset { epoch: requested, end_offset: log_end });
        }
        let higher = self.entries.partition_point(|e| e.epoch <= requested);
        let end_offset = self.entries.get(higher)?.start_offset;
        // Below the first known epoch the data is gone: the follower goes on from the start of what is left.
        let epoch = if higher == 0 { requested } else { self.entries[higher - 1].epoch };
        Some(EpochEndOffset { epoch, end_offset })
    }

    /// The epoch that `offset` was written in.
    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|e| e.start_offset <= offset);
        Some(self.entries[after.checked_sub(1)?].epoch)
    }

    /// Forgets epochs that start at or above `end_offset`. True when something changed.
    pub fn truncate_from_end(&mut self, end_offset: Offset) -> bool {
        let before = self.entries.len();
        if end_offset >= 0 {
            self.entries.retain(|e| e.start_offset < end_offset);
        }
        before != self.entries.len()
    }

    /// Forgets epochs that end at or below `start_offset`; the one that holds it now starts there. True when something
    /// changed.
    pub fn truncate_from_start(&mut self, start_offset: Offset) -> bool {
        let passed = self.entries.partition_point(|e| e.start_offset <= start_offset);
        let Some(holds) = passed.checked_sub(1) else { return false };
        let changed = holds > 0 || self.entries[0].start_offset != start_offset;
        self.entries.drain(..holds);
        self.entries[0].start_offset = start_offset;
        changed
    }

    pub fn clear(&mut self) -> bool {
        let changed = !self.entries.is_empty();
        self.entries.clear();
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(entries: &[(i32, Offset)]) -> EpochCache {
        EpochCache::from_entries(entries.iter().map(|(e, o)| EpochEntry { epoch: LeaderEpoch(*e), start_offset: *o }))
    }

    fn shown(cache: &EpochCache) -> Vec<(i32, Offset)> {
        cache.entries().iter().map(|e| (e.epoch.0, e.start_offset)).collect()
    }

    #[test]
    fn assigning_the_same_epoch_again_changes_nothing() {
        let mut c = cache(&[(1, 0), (2, 10)]);
        assert!(!c.assign(LeaderEpoch(2), 10));
        assert!(!c.assign(LeaderEpoch(2), 15));
        assert!(!c.assign(LeaderEpoch(-1), 20));
        assert!(c.assign(LeaderEpoch(3), 15));
        assert_eq!(shown(&c), [(1, 0), (2, 10), (3, 15)]);
    }

    #[test]
    fn an_entry_that_contradicts_later_ones_replaces_them() {
        let mut c = cache(&[(1, 0), (2, 10), (4, 20)]);
        assert!(c.assign(LeaderEpoch(3), 10));
        assert_eq!(shown(&c), [(1, 0), (3, 10)]);
        assert!(c.assign(LeaderEpoch(3), 5));
        assert_eq!(shown(&c), [(1, 0), (3, 5)]);
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next_known_one() {
        let c = cache(&[(2, 10), (4, 20), (7, 30)]);
        let end = |e| c.end_offset_for(LeaderEpoch(e), 42).map(|x| (x.epoch.0, x.end_offset));
        assert_eq!(end(-1), None);
        assert_eq!(end(8), None);
        assert_eq!(end(7), Some((7, 42)));
        assert_eq!(end(5), Some((4, 30)));
        assert_eq!(end(4), Some((4, 30)));
        assert_eq!(end(1), Some((1, 10)));
        assert_eq!(cache(&[]).end_offset_for(LeaderEpoch(0), 0), None);
    }

    #[test]
    fn offsets_belong_to_the_last_epoch_that_started_at_or_before_them() {
        let c = cache(&[(2, 10), (4, 20)]);
        let epoch = |o| c.epoch_for_offset(o).map(|e| e.0);
        assert_eq!((epoch(9), epoch(10), epoch(19), epoch(20), epoch(99)), (None, Some(2), Some(2), Some(4), Some(4)));
    }

    #[test]
    fn truncation_from_the_end_drops_epochs_that_start_at_it() {
        let mut c = cache(&[(2, 10), (4, 20)]);
        assert!(!c.truncate_from_end(21));
        assert!(c.truncate_from_end(20));
        assert_eq!(shown(&c), [(2, 10)]);
    }

    #[test]
    fn truncation_from_the_start_rebases_the_epoch_that_holds_the_offset() {
        let mut c = cache(&[(2, 10), (4, 20), (5, 30)]);
        assert!(!c.truncate_from_start(5));
        assert!(!c.truncate_from_start(10));
        assert!(c.truncate_from_start(25));
        assert_eq!(shown(&c), [(4, 25), (5, 30)]);
    }
}
