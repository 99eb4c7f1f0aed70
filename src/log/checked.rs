//! Owns what is known of the checksums in a segment that an earlier run of the broker has left: nothing, until someone reads
//! it. What this process has written or recovered was checked then. Kafka sends whatever the disk gives, and leaves it to the
//! readers, of whom not all look.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Ranges that are remembered; beyond that the shortest is forgotten, and checked again.
const RANGES_MAX: usize = 32;

/// Positions in the file, from and to.
type Range = (u32, u32);

#[derive(Debug)]
pub(super) struct Checked {
    /// Bytes before it may be anything.
    doubtful_until: AtomicU32,
    /// Sorted, and with gaps between them.
    ranges: Mutex<Vec<Range>>,
}

impl Checked {
    /// Of a file that was found with so many bytes.
    pub(super) fn of_found(bytes: u32) -> Self {
        Self { doubtful_until: AtomicU32::new(bytes), ranges: Mutex::default() }
    }

    pub(super) fn all(&self) {
        self.doubtful_until.store(0, Ordering::Release);
    }

    /// What of a range is to be checked.
    pub(super) fn doubtful(&self, from: u32, to: u32) -> Option<Range> {
        let to = to.min(self.doubtful_until.load(Ordering::Acquire));
        if from >= to {
            return None;
        }
        let ranges = self.ranges.lock();
        let holds_from = ranges.iter().find(|(start, end)| *start <= from && from < *end);
        let from = holds_from.map_or(from, |(_, end)| *end);
        (from < to).then_some((from, to))
    }

    /// Whole entries were found in order.
    pub(super) fn add(&self, from: u32, to: u32) {
        if from >= to {
            return;
        }
        let mut ranges = self.ranges.lock();
        let (mut from, mut to) = (from, to);
        ranges.retain(|(start, end)| {
            let touches = *start <= to && from <= *end;
            if touches {
                (from, to) = (from.min(*start), to.max(*end));
            }
            !touches
        });
        if ranges.len() >= RANGES_MAX
            && let Some(shortest) = (0..ranges.len()).min_by_key(|at| ranges[*at].1 - ranges[*at].0)
        {
            ranges.remove(shortest);
        }
        let at = ranges.partition_point(|(start, _)| *start < from);
        ranges.insert(at, (from, to));
        let until = self.doubtful_until.load(Ordering::Acquire);
        if ranges.first().is_some_and(|(start, end)| *start == 0 && *end >= until) {
            self.all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{append_plain, open_in, options, read_all, small_config};
    use super::super::{FetchData, FetchIsolation, ReadError, UnifiedLog};
    use super::*;

    fn read(log: &UnifiedLog, from: i64) -> FetchData {
        log.read(from, 1 << 20, FetchIsolation::LogEnd, true).unwrap()
    }

    #[test]
    fn damage_in_a_closed_segment_is_found_once_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let log = open_in(dir.path(), options(small_config()), 0);
        for n in 0..30 {
            append_plain(&log, 1, n);
        }
        assert!(read(&log, 0).doubtful.is_none(), "this process has written it");
        assert!(log.segment_count() > 2);
        let batch_len = crate::record::batches(&read_all(&log, 0)).next().unwrap().unwrap().size();
        log.flush(0).unwrap();
        log.close().unwrap();
        drop(log);
        let path = dir.path().join("t-0/00000000000000000000.log");
        let whole = fs::read(&path).unwrap();
        // In an offset, which no checksum covers, and in a value.
        for at in [0, 70].map(|within| batch_len * 6 + within) {
            let mut bytes = whole.clone();
            bytes[at] ^= 4;
            fs::write(&path, &bytes).unwrap();
            let log = open_in(dir.path(), options(small_config()), 0);
            let data = read(&log, 0);
            let valid = data.doubtful.unwrap().check(&data.records.unwrap()).unwrap();
            assert_eq!(valid as usize, batch_len * 6, "what lies before it is sent");
            let refused = log
                .read(6, 1 << 20, FetchIsolation::LogEnd, true)
                .and_then(|data| data.doubtful.unwrap().check(&data.records.unwrap()));
            assert!(matches!(refused, Err(ReadError::Corrupt(_))), "{refused:?}");
            if at > batch_len * 6 {
                let data = read(&log, 7);
                let records = data.records.unwrap();
                assert_eq!(data.doubtful.unwrap().check(&records).unwrap(), records.len);
                assert!(read(&log, 7).doubtful.is_none(), "it is read once");
            }
        }
    }

    #[test]
    fn an_entry_that_claims_too_much_is_damage_and_no_gap() {
        let dir = tempfile::tempdir().unwrap();
        let log = open_in(dir.path(), options(small_config()), 0);
        for n in 0..30 {
            append_plain(&log, 1, n);
        }
        log.flush(0).unwrap();
        log.close().unwrap();
        drop(log);
        let path = dir.path().join("t-0/00000000000000000000.log");
        let mut bytes = fs::read(&path).unwrap();
        bytes[9] ^= 0x40;
        fs::write(&path, &bytes).unwrap();
        let log = open_in(dir.path(), options(small_config()), 0);
        let refused = log.read(0, 1 << 20, FetchIsolation::LogEnd, true);
        assert!(matches!(refused, Err(ReadError::Corrupt(_))), "{refused:?}");
    }

    #[test]
    fn what_was_checked_is_not_checked_again() {
        let checked = Checked::of_found(100);
        assert_eq!(checked.doubtful(0, 40), Some((0, 40)));
        checked.add(0, 30);
        assert_eq!((checked.doubtful(10, 20), checked.doubtful(0, 40)), (None, Some((30, 40))));
        checked.add(60, 80);
        checked.add(30, 60);
        assert_eq!((checked.doubtful(0, 80), checked.doubtful(50, 200)), (None, Some((80, 100))));
        checked.add(80, 100);
        assert_eq!(checked.doubtful(0, u32::MAX), None);
    }

    #[test]
    fn what_this_process_has_written_is_in_order() {
        assert_eq!(Checked::of_found(0).doubtful(0, 1_000), None);
        assert_eq!(Checked::of_found(100).doubtful(100, 1_000), None);
    }

    #[test]
    fn readers_all_over_a_segment_are_not_remembered_without_bound() {
        let checked = Checked::of_found(1_000_000);
        (0..1_000).for_each(|n| checked.add(n * 100, n * 100 + 10 + n % 7));
        assert!(checked.ranges.lock().len() <= RANGES_MAX);
        checked.add(0, 1_000_000);
        assert_eq!(checked.doubtful(0, 1_000_000), None);
    }
}
