//! Owns the decision which segments a log may forget. Kafka: `UnifiedLog.deletableSegments` and its three reasons. Pure.

use crate::common::ids::{Millis, Offset};

/// What a segment is to retention. Listed oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    pub base_offset: Offset,
    pub size: u64,
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
///
/// `largest_timestamp` is that of a segment's records, or of its file where they have none. It may read the disk: no
/// segment behind the first that stays is asked for it.
pub fn deletable<E>(
    segments: &[SegmentFacts],
    log_end: Offset,
    high_watermark: Offset,
    reason: Reason,
    largest_timestamp: impl Fn(usize) -> Result<Millis, E>,
) -> Result<usize, E> {
    let total: u64 = segments.iter().map(|s| s.size).sum();
    let mut spare = match reason {
        Reason::Size { retention_bytes } => total.saturating_sub(retention_bytes),
        Reason::Time { .. } | Reason::LogStart { .. } => 0,
    };
    let mut may_go = |at: usize| {
        let segment = &segments[at];
        let next = segments.get(at + 1);
        let end = next.map_or(log_end, |next| next.base_offset);
        if high_watermark < end || (next.is_none() && segment.size == 0) {
            return Ok(false);
        }
        Ok(match reason {
            Reason::Time { now, retention_ms } => now.saturating_sub(largest_timestamp(at)?) > retention_ms,
            Reason::Size { retention_bytes } => {
                let fits = total >= retention_bytes && spare >= segment.size;
                spare = spare.saturating_sub(segment.size);
                fits
            }
            Reason::LogStart { log_start } => next.is_some_and(|next| next.base_offset <= log_start),
        })
    };
    let mut count = 0;
    while count < segments.len() && may_go(count)? {
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(sizes: &[u64]) -> Vec<SegmentFacts> {
        let facts = |(n, size): (usize, &u64)| SegmentFacts { base_offset: n as i64 * 10, size: *size };
        sizes.iter().enumerate().map(facts).collect()
    }

    /// Segments whose timestamps are 0, 100, 200 and so on.
    fn deletable(segments: &[SegmentFacts], log_end: Offset, high_watermark: Offset, reason: Reason) -> usize {
        let found = super::deletable(segments, log_end, high_watermark, reason, |at| Ok::<_, ()>(at as i64 * 100));
        found.unwrap()
    }

    #[test]
    fn old_segments_go_until_the_first_young_one() {
        let list = segments(&[5, 5, 5]);
        let time = |now| deletable(&list, 30, 30, Reason::Time { now, retention_ms: 50 });
        assert_eq!((time(50), time(51), time(150), time(151), time(1_000)), (0, 1, 1, 2, 3));
    }

    #[test]
    fn a_segment_with_a_timestamp_in_the_future_keeps_those_behind_it() {
        let list = segments(&[5, 5, 5]);
        let reason = Reason::Time { now: 1_000, retention_ms: 50 };
        let asked = std::cell::Cell::new(0);
        let in_the_future = |_| {
            asked.set(asked.get() + 1);
            Ok::<_, ()>(10_000)
        };
        assert_eq!(super::deletable(&list, 30, 30, reason, in_the_future), Ok(0));
        assert_eq!(asked.get(), 1, "no one asks for those behind it");
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
