//! Owns the decision which segments a log may forget. Kafka: `UnifiedLog.deletableSegments` and its three reasons. Pure.

use crate::common::ids::{Millis, Offset};

/// What a segment is to retention. Listed oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    pub base_offset: Offset,
    pub size: u64,
    /// The largest timestamp of its records, or of its file where they have none.
    pub largest_timestamp: Millis,
}

/// Why segments go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// `retention.ms`, and how far the youngest record of a segment must be in the past.
    Time { now: Millis, retention_ms: Millis },
    /// `retention.bytes`.
    Size { retention_bytes: u64 },
    /// All of a segment lies below the log start offset.
    LogStart { log_start: Offset },
}

/// How many of the oldest segments may go for a reason. Never one with records at or above the high watermark, and never
/// the last one while it is empty. When it is all of them the caller first begins a new one.
pub fn deletable(segments: &[SegmentFacts], log_end: Offset, high_watermark: Offset, reason: Reason) -> usize {
    let total: u64 = segments.iter().map(|s| s.size).sum();
    let mut spare = match reason {
        Reason::Size { retention_bytes } => total.saturating_sub(retention_bytes),
        Reason::Time { .. } | Reason::LogStart { .. } => 0,
    };
    let may_go = |at: usize| {
        let segment = &segments[at];
        let next = segments.get(at + 1);
        let end = next.map_or(log_end, |next| next.base_offset);
        if high_watermark < end || (next.is_none() && segment.size == 0) {
            return false;
        }
        match reason {
            Reason::Time { now, retention_ms } => now.saturating_sub(segment.largest_timestamp) > retention_ms,
            Reason::Size { retention_bytes } => {
                let fits = total >= retention_bytes && spare >= segment.size;
                spare = spare.saturating_sub(segment.size);
                fits
            }
            Reason::LogStart { log_start } => next.is_some_and(|next| next.base_offset <= log_start),
        }
    };
    (0..segments.len()).map(may_go).take_while(|goes| *goes).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes: &[u64]) -> Vec<SegmentFacts> {
        let facts = |(n, size): (usize, &u64)| SegmentFacts {
            base_offset: n as i64 * 10,
            size: *size,
            largest_timestamp: n as i64 * 100,
        };
        sizes.iter().enumerate().map(facts).collect()
    }

    #[test]
    fn old_segments_go_until_the_first_young_one() {
        let list = segments(&[5, 5, 5]);
        let time = |now| deletable(&list, 30, 30, Reason::Time { now, retention_ms: 50 });
        assert_eq!((time(50), time(51), time(150), time(151), time(1_000)), (0, 1, 1, 2, 3));
    }

    #[test]
    fn a_segment_with_a_timestamp_in_the_future_keeps_those_behind_it() {
        let mut list = segments(&[5, 5, 5]);
        list[0].largest_timestamp = 10_000;
        assert_eq!(deletable(&list, 30, 30, Reason::Time { now: 1_000, retention_ms: 50 }), 0);
    }

    #[test]
    fn size_keeps_at_least_what_retention_asks_for() {
        let list = segments(&[5, 5, 5]);
        let size = |retention_bytes| deletable(&list, 30, 30, Reason::Size { retention_bytes });
        assert_eq!((size(15), size(11), size(10), size(9), size(5), size(0)), (0, 0, 1, 1, 2, 3));
        assert_eq!(size(100), 0);
    }

    #[test]
    fn segments_below_the_log_start_go_but_never_the_last() {
        let list = segments(&[5, 5, 5]);
        let start = |log_start| deletable(&list, 30, 30, Reason::LogStart { log_start });
        assert_eq!((start(9), start(10), start(25), start(30)), (0, 1, 2, 2));
    }

    #[test]
    fn nothing_at_or_above_the_high_watermark_goes_and_no_empty_last_segment() {
        let always = Reason::Time { now: 1_000_000, retention_ms: 0 };
        assert_eq!(deletable(&segments(&[5, 5, 5]), 30, 19, always), 1);
        assert_eq!(deletable(&segments(&[5, 5, 5]), 30, 20, always), 2);
        assert_eq!(deletable(&segments(&[5, 5, 0]), 20, 20, always), 2);
        assert_eq!(deletable(&segments(&[0]), 0, 0, always), 0);
    }
}
