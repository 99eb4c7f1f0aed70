//! Owns the decision which log is cleaned next, from where to where, and which segments become one. Kafka:
//! `LogCleanerManager.cleanableOffsets`, `LogToClean`, `Cleaner.groupSegmentsBySize`. Pure.

use crate::common::ids::{Millis, Offset};
use std::ops::Range;

/// A segment, as much as counts here. Listed ascending; the last one is the active one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentFacts {
    pub base_offset: Offset,
    pub size: u64,
    pub offset_index_size: u64,
    pub time_index_size: u64,
}

/// A log, as much as counts for where it may be cleaned.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogFacts<'a> {
    pub segments: &'a [SegmentFacts],
    pub log_start: Offset,
    pub last_stable: Offset,
    pub log_end: Offset,
    /// First offset that is not clean, as it was remembered.
    pub checkpoint: Option<Offset>,
}

/// The part of a log that can be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dirty {
    pub first_dirty: Offset,
    /// The first offset that must stay as it is.
    pub first_uncleanable: Offset,
    /// The checkpoint was outside the log, and is to be written anew.
    pub is_reset: bool,
}

/// A log that may be worth cleaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::log) struct Candidate {
    pub first_dirty: Offset,
    /// Base of the first segment that must stay as it is.
    pub first_uncleanable: Offset,
    pub clean_bytes: u64,
    pub cleanable_bytes: u64,
    /// `max.compaction.lag.ms` has passed by this much; 0 when it has not.
    pub delay_ms: Millis,
}

impl Candidate {
    pub(super) fn ratio(&self) -> f64 {
        self.cleanable_bytes as f64 / (self.clean_bytes + self.cleanable_bytes) as f64
    }

    /// Whether cleaning is due.
    pub(super) fn is_due(&self, min_ratio: f64) -> bool {
        let is_overdue = self.delay_ms > 0 && self.cleanable_bytes > 0;
        self.clean_bytes + self.cleanable_bytes > 0 && (is_overdue || self.ratio() > min_ratio)
    }
}

/// Segments from the one that holds `from` up to those that start below `to`.
pub(super) fn between(bases: &[SegmentFacts], from: Offset, to: Offset) -> Range<usize> {
    if from >= to {
        return 0..0;
    }
    let start = bases.partition_point(|s| s.base_offset <= from).saturating_sub(1);
    let end = bases.partition_point(|s| s.base_offset < to);
    start..end.max(start)
}

impl LogFacts<'_> {
    fn active_base(&self) -> Offset {
        self.segments.last().map_or(self.log_start, |s| s.base_offset)
    }

    /// Segments without the active one, from the one that holds `from` on.
    pub(super) fn closed_from(&self, from: Offset) -> Range<usize> {
        between(self.segments, from, self.active_base())
    }

    /// The first offset that is not clean, and whether the checkpoint did not know it.
    pub(super) fn first_dirty(&self) -> (Offset, bool) {
        match self.checkpoint {
            Some(known) if (self.log_start..=self.log_end).contains(&known) => (known, false),
            // What was truncated or deleted meanwhile may have been any of it: everything counts as dirty.
            Some(_) => (self.log_start, true),
            None => (self.log_start, false),
        }
    }

    /// `too_young` is the first closed dirty segment with a record younger than `min.compaction.lag.ms`.
    pub(super) fn dirty(&self, too_young: Option<Offset>) -> Dirty {
        let (first_dirty, is_reset) = self.first_dirty();
        let first_uncleanable =
            self.last_stable.min(self.active_base()).min(too_young.unwrap_or(Offset::MAX)).max(first_dirty);
        Dirty { first_dirty, first_uncleanable, is_reset }
    }

    /// Cleaning ends at a segment's start.
    pub(super) fn candidate(&self, dirty: Dirty, delay_ms: Millis) -> Candidate {
        let closed = self.closed_from(dirty.first_uncleanable);
        let first_uncleanable =
            self.segments[closed].first().map_or_else(|| self.active_base(), |segment| segment.base_offset);
        let bytes = |range: Range<usize>| self.segments[range].iter().map(|s| s.size).sum();
        Candidate {
            first_dirty: dirty.first_dirty,
            first_uncleanable,
            clean_bytes: bytes(0..self.segments.partition_point(|s| s.base_offset < dirty.first_dirty)),
            cleanable_bytes: bytes(between(self.segments, dirty.first_dirty.min(first_uncleanable), first_uncleanable)),
            delay_ms,
        }
    }
}

/// How late compaction is by `max.compaction.lag.ms`. `first_timestamps` are those of the first batches of closed dirty
/// segments.
pub(super) fn delay(first_timestamps: impl IntoIterator<Item = Millis>, max_lag_ms: Millis, now: Millis) -> Millis {
    let clean_until = now.saturating_sub(max_lag_ms.max(0));
    let earliest = first_timestamps.into_iter().filter(|timestamp| *timestamp > 0).min().unwrap_or(Millis::MAX);
    clean_until.saturating_sub(earliest).max(0)
}

/// Runs of segments that become one each: as many as fit `segment.bytes` and `segment.index.bytes`, so that segments do not
/// get ever smaller, and whose offsets one segment can hold.
pub(super) fn groups(
    segments: &[SegmentFacts],
    max_size: u64,
    max_index_size: u64,
    first_uncleanable: Offset,
) -> Vec<Range<usize>> {
    let mut groups = Vec::new();
    let mut start = 0;
    while start < segments.len() {
        let first = &segments[start];
        let (mut size, mut offset_index, mut time_index) = (first.size, first.offset_index_size, first.time_index_size);
        let mut end = start + 1;
        while let Some(next) = segments.get(end) {
            // The next segment's base is the cheapest bound of a segment's last offset.
            let last_offset = segments.get(end + 1).map_or(first_uncleanable, |after| after.base_offset) - 1;
            let fits = size + next.size <= max_size
                && offset_index + next.offset_index_size <= max_index_size
                && time_index + next.time_index_size <= max_index_size
                && (next.size == 0 || last_offset - first.base_offset <= i64::from(i32::MAX));
            if !fits {
                break;
            }
            size += next.size;
            offset_index += next.offset_index_size;
            time_index += next.time_index_size;
            end += 1;
        }
        groups.push(start..end);
        start = end;
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes: &[u64]) -> Vec<SegmentFacts> {
        let facts = |(n, size): (usize, &u64)| SegmentFacts {
            base_offset: n as i64 * 100,
            size: *size,
            offset_index_size: 8,
            time_index_size: 12,
        };
        sizes.iter().enumerate().map(facts).collect()
    }

    fn log(segments: &[SegmentFacts], checkpoint: Option<Offset>) -> LogFacts<'_> {
        LogFacts { segments, log_start: 0, last_stable: 1_000, log_end: 1_000, checkpoint }
    }

    #[test]
    fn a_log_is_dirty_from_its_checkpoint_to_its_active_segment() {
        let list = segments(&[10, 20, 30, 40]);
        let facts = log(&list, Some(100));
        let dirty = facts.dirty(None);
        assert_eq!(dirty, Dirty { first_dirty: 100, first_uncleanable: 300, is_reset: false });
        let candidate = facts.candidate(dirty, 0);
        assert_eq!((candidate.first_uncleanable, candidate.clean_bytes, candidate.cleanable_bytes), (300, 10, 50));
        assert!(candidate.is_due(0.8) && !candidate.is_due(0.84));
    }

    #[test]
    fn nothing_above_the_last_stable_offset_or_below_the_lag_is_cleaned() {
        let list = segments(&[10, 20, 30, 40]);
        let facts = LogFacts { last_stable: 250, ..log(&list, Some(0)) };
        let candidate = facts.candidate(facts.dirty(None), 0);
        assert_eq!((candidate.first_uncleanable, candidate.cleanable_bytes), (200, 30));
        let candidate = facts.candidate(facts.dirty(Some(100)), 0);
        assert_eq!((candidate.first_uncleanable, candidate.cleanable_bytes), (100, 10));
        let candidate = facts.candidate(facts.dirty(Some(0)), 1);
        assert_eq!((candidate.first_uncleanable, candidate.cleanable_bytes), (0, 0));
        assert!(!candidate.is_due(0.0), "nothing can be cleaned, however late it is");
    }

    #[test]
    fn a_checkpoint_outside_of_the_log_starts_anew() {
        let list = segments(&[10, 20]);
        let facts = LogFacts { log_start: 50, ..log(&list, Some(20)) };
        assert_eq!(facts.first_dirty(), (50, true));
        assert_eq!(log(&list, Some(1_001)).first_dirty(), (0, true));
        assert_eq!(log(&list, Some(1_000)).first_dirty(), (1_000, false));
        assert_eq!(log(&list, None).first_dirty(), (0, false));
    }

    #[test]
    fn a_log_is_late_by_its_oldest_dirty_segment() {
        assert_eq!(delay([500, 300, -1, 0], 100, 1_000), 600);
        assert_eq!(delay([500], 500, 1_000), 0);
        assert_eq!(delay([], 0, 1_000), 0);
        assert_eq!(delay([5], Millis::MAX, 1_000), 0);
    }

    #[test]
    fn an_overdue_log_is_cleaned_whatever_its_ratio() {
        let list = segments(&[1_000, 1, 40]);
        let facts = log(&list, Some(100));
        assert!(!facts.candidate(facts.dirty(None), 0).is_due(0.5));
        assert!(facts.candidate(facts.dirty(None), 1).is_due(0.5));
    }

    #[test]
    fn an_empty_log_is_never_due() {
        let list = segments(&[0, 0]);
        let facts = log(&list, None);
        assert!(!facts.candidate(facts.dirty(None), 1).is_due(0.0));
    }

    #[test]
    fn segments_are_put_together_while_log_and_indexes_fit() {
        let list = segments(&[10, 20, 30, 40, 100, 0, 5]);
        assert_eq!(groups(&list, 60, 1_000, 700), [0..3, 3..4, 4..5, 5..7]);
        assert_eq!(groups(&list, 1_000, 16, 700), [0..1, 1..2, 2..3, 3..4, 4..5, 5..6, 6..7], "time index");
        assert_eq!(groups(&list, 1_000, 24, 700), [0..2, 2..4, 4..6, 6..7]);
        assert!(groups(&[], 1, 1, 0).is_empty());
    }

    #[test]
    fn offsets_of_a_group_stay_within_what_an_index_can_tell() {
        let mut list = segments(&[1, 1, 1]);
        list[1].base_offset = 1 << 31;
        list[2].base_offset = (1 << 31) + 5;
        assert_eq!(groups(&list, 100, 100, 1 << 32), [0..1, 1..3]);
        // The last offset of the first two is below the third's base.
        list[1].base_offset = (1 << 31) - 10;
        list[2].base_offset = 1 << 31;
        assert_eq!(groups(&list, 100, 100, 1 << 32), [0..2, 2..3]);
    }
}
