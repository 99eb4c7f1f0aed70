//! Owns the time index: which offset held the largest timestamp so far. Kafka: `TimeIndex`. An entry, big endian:
//!
//! ```text
//! 0 timestamp i64   8 offset - base offset i32
//! ```
//!
//! Timestamps strictly increase, offsets never decrease. The offset is the last one of the batch with the timestamp.

use std::io;
use std::path::Path;

use super::IndexError;
use super::entries::{Entry, EntryFile};
use crate::common::ids::{Millis, Offset};
use crate::record::NO_TIMESTAMP;

/// A timestamp and an offset that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    pub timestamp: Millis,
    pub offset: Offset,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    timestamp: Millis,
    relative: i32,
}

impl Entry for Slot {
    const SIZE: usize = TimeIndex::ENTRY_SIZE;

    fn decode(bytes: &[u8]) -> Self {
        let (mut timestamp, mut relative) = ([0; 8], [0; 4]);
        timestamp.copy_from_slice(&bytes[..8]);
        relative.copy_from_slice(&bytes[8..12]);
        Self { timestamp: i64::from_be_bytes(timestamp), relative: i32::from_be_bytes(relative) }
    }

    fn encode(self, out: &mut [u8; 12]) {
        out[..8].copy_from_slice(&self.timestamp.to_be_bytes());
        out[8..].copy_from_slice(&self.relative.to_be_bytes());
    }
}

#[derive(Debug)]
pub struct TimeIndex {
    base_offset: Offset,
    entries: EntryFile<Slot>,
}

impl TimeIndex {
    pub const ENTRY_SIZE: usize = 12;

    pub fn open(path: &Path, base_offset: Offset) -> io::Result<Self> {
        Ok(Self { base_offset, entries: EntryFile::open(path)? })
    }

    pub fn entries(&self) -> u32 {
        self.entries.count()
    }

    /// The last entry, or (-1, base offset).
    pub fn last_entry(&self) -> io::Result<TimestampOffset> {
        Ok(self.entries.last()?.map_or_else(|| self.none(), |slot| self.entry(slot)))
    }

    /// The greatest entry with a timestamp at or below `target`, or (-1, base offset).
    pub fn lookup(&self, target: Millis) -> io::Result<TimestampOffset> {
        let above = self.entries.partition_point(|slot| slot.timestamp > target)?;
        let found = match above.checked_sub(1) {
            Some(n) => self.entries.get(n)?,
            None => None,
        };
        Ok(found.map_or_else(|| self.none(), |slot| self.entry(slot)))
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
        match i32::try_from(offset - self.base_offset) {
            Ok(relative) if relative >= 0 => Ok(self.entries.append(Slot { timestamp, relative })?),
            _ => Err(IndexError::NotIncreasing { offset, last: last.offset }),
        }
    }

    /// Keeps entries whose offset is below `offset`.
    pub fn truncate_to(&self, offset: Offset) -> io::Result<()> {
        let relative = offset.saturating_sub(self.base_offset);
        self.entries.truncate(self.entries.partition_point(|slot| i64::from(slot.relative) >= relative)?)
    }

    pub fn reset(&self) -> io::Result<()> {
        self.entries.truncate(0)
    }

    /// Cuts what is behind the last entry and gives its memory back: nothing will be appended any more.
    pub fn seal(&self) -> io::Result<()> {
        self.entries.seal();
        self.entries.trim()
    }

    pub fn sync(&self) -> io::Result<()> {
        self.entries.sync()
    }

    fn none(&self) -> TimestampOffset {
        TimestampOffset { timestamp: NO_TIMESTAMP, offset: self.base_offset }
    }

    fn entry(&self, slot: Slot) -> TimestampOffset {
        TimestampOffset { timestamp: slot.timestamp, offset: self.base_offset + i64::from(slot.relative) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> (tempfile::TempDir, TimeIndex) {
        let dir = tempfile::tempdir().unwrap();
        let index = TimeIndex::open(&dir.path().join("i"), 100).unwrap();
        (dir, index)
    }

    #[test]
    fn bytes_are_those_of_kafka() {
        let (dir, index) = index();
        index.maybe_append(1_700_000_000_005, 150).unwrap();
        let bytes = std::fs::read(dir.path().join("i")).unwrap();
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
