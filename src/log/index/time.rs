//! Owns the time index: which offset held the largest timestamp so far. Kafka: `TimeIndex`. An entry, big endian:
//!
//! ```text
//! 0 timestamp i64   8 offset - base offset i32
//! ```
//!
//! Timestamps strictly increase, offsets never decrease. The offset is the last one of the batch with the timestamp.

use super::IndexError;
use super::entries::{Entry, Index};
use crate::common::ids::{Millis, Offset};
use crate::log::segment_files::TIME_INDEX_SUFFIX;
use crate::record::NO_TIMESTAMP;
use std::io;

/// A timestamp and an offset that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: Millis,
    pub offset: Offset,
}

#[derive(Clone, Copy, Debug)]
pub struct TimeEntry {
    timestamp: Millis,
    relative: i32,
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;
    const SUFFIX: &'static str = TIME_INDEX_SUFFIX;

    fn decode(bytes: &[u8]) -> Self {
        let mut timestamp = [0; 8];
        timestamp.copy_from_slice(&bytes[..8]);
        let relative = i32::from_be_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]);
        Self { timestamp: i64::from_be_bytes(timestamp), relative }
    }

    fn encode(self, out: &mut [u8; 12]) {
        out[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..].copy_from_slice(&self.relative.to_be_bytes());
    }

    fn relative_offset(&self) -> i32 {
        self.relative
    }
}

pub type TimeIndex = Index<TimeEntry>;

impl TimeIndex {
    /// The last entry, or (-1, base offset).
    pub fn last_entry(&self) -> io::Result<TimestampOffset> {
        Ok(self.timestamp_offset(self.last()?))
    }

    /// The greatest entry with a timestamp at or below `target`, or (-1, base offset).
    pub fn lookup(&self, target: Millis) -> io::Result<TimestampOffset> {
        let above = self.partition_point(|entry| entry.timestamp > target)?;
        let found = match above.checked_sub(1) {
            Some(n) => self.get(n)?,
            None => None,
        };
        Ok(self.timestamp_offset(found))
    }

    /// Adds an entry if its timestamp is larger than the last one.
    pub fn maybe_append(&self, timestamp: Millis, offset: Offset) -> Result<(), IndexError> {
        let last = self.last_entry()?;
        if self.entries() != 0 && offset < last.offset {
            return Err(IndexError::NotIncreasing { offset, last: last.offset });
        }
        if timestamp <= last.timestamp {
            return Ok(());
        }
        match self.relative(offset) {
            Some(relative) => self.push(TimeEntry { timestamp, relative }),
            None => Err(IndexError::NotIncreasing { offset, last: last.offset }),
        }
    }

    fn timestamp_offset(&self, entry: Option<TimeEntry>) -> TimestampOffset {
        match entry {
            Some(TimeEntry { timestamp, relative }) => {
                TimestampOffset { timestamp, offset: self.base_offset() + i64::from(relative) }
            }
            None => TimestampOffset { timestamp: NO_TIMESTAMP, offset: self.base_offset() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::index::testing;

    fn index() -> (tempfile::TempDir, TimeIndex) {
        let dir = tempfile::tempdir().unwrap();
        let index = TimeIndex::open(&testing::files(&dir, 100)).unwrap();
        (dir, index)
    }

    #[test]
    fn bytes_are_those_of_kafka() {
        let (dir, index) = index();
        index.maybe_append(1_700_000_000_005, 150).unwrap();
        index.write().unwrap();
        let bytes = std::fs::read(testing::files(&dir, 100).path(TIME_INDEX_SUFFIX)).unwrap();
        assert_eq!(bytes, [0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 5, 0, 0, 0, 0x32]);
    }

    #[test]
    fn only_larger_timestamps_make_entries_and_offsets_never_go_back() {
        let (_dir, index) = index();
        index.maybe_append(-1, 100).unwrap();
        assert_eq!(index.entries(), 0);
        index.maybe_append(50, 110).unwrap();
        index.maybe_append(50, 120).unwrap();
        index.maybe_append(40, 130).unwrap();
        assert_eq!(index.entries(), 1);
        assert!(matches!(index.maybe_append(60, 105), Err(IndexError::NotIncreasing { .. })));
        index.maybe_append(60, 110).unwrap();
        assert_eq!(index.last_entry().unwrap(), TimestampOffset { timestamp: 60, offset: 110 });
    }

    #[test]
    fn lookup_gives_the_greatest_entry_not_above_the_target() {
        let (_dir, index) = index();
        index.maybe_append(50, 110).unwrap();
        index.maybe_append(60, 120).unwrap();
        let at = |t| index.lookup(t).unwrap().offset;
        assert_eq!((at(49), at(50), at(59), at(60), at(i64::MAX)), (100, 110, 110, 120, 120));
        index.truncate_to(120).unwrap();
        assert_eq!(at(i64::MAX), 110);
    }
}
