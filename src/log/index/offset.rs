//! Owns the offset index: which batch starts where in the segment file. Kafka: `OffsetIndex`. An entry, big endian:
//!
//! ```text
//! 0 offset - base offset i32   4 file position i32
//! ```
//!
//! Offsets strictly increase. An entry says: the append whose last offset this is starts at this position.

use super::IndexError;
use super::entries::{Entry, Index};
use crate::common::ids::Offset;
use crate::log::segment_files::OFFSET_INDEX_SUFFIX;
use std::io;

/// A position in a segment file from which a search for `offset` may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetPosition {
    pub offset: Offset,
    pub position: u32,
}

#[derive(Clone, Copy, Debug)]
pub struct OffsetEntry {
    relative: i32,
    position: u32,
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;
    const SUFFIX: &'static str = OFFSET_INDEX_SUFFIX;

    fn decode(bytes: &[u8]) -> Self {
        let word = |at: usize| [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
        Self { relative: i32::from_be_bytes(word(0)), position: u32::from_be_bytes(word(4)) }
    }

    fn encode(self, out: &mut [u8; 12]) {
        out[..4].copy_from_slice(&self.relative.to_be_bytes());
        out[4..8].copy_from_slice(&self.position.to_be_bytes());
    }

    fn relative_offset(&self) -> i32 {
        self.relative
    }
}

pub type OffsetIndex = Index<OffsetEntry>;

impl OffsetIndex {
    /// Offset of the last entry, or the base offset.
    pub fn last_offset(&self) -> io::Result<Offset> {
        Ok(self.last()?.map_or_else(|| self.base_offset(), |entry| self.base_offset() + i64::from(entry.relative)))
    }

    /// The greatest entry at or below `target`, or the start of the segment.
    pub fn lookup(&self, target: Offset) -> io::Result<OffsetPosition> {
        let relative = target.saturating_sub(self.base_offset());
        let above = self.partition_point(|entry| i64::from(entry.relative) > relative)?;
        let found = match above.checked_sub(1) {
            Some(n) => self.get(n)?,
            None => None,
        };
        Ok(found.map_or_else(|| OffsetPosition { offset: self.base_offset(), position: 0 }, |e| self.position(e)))
    }

    /// The first entry whose position is at or behind `position`: an offset above all that lies before it.
    pub fn first_from_position(&self, position: u64) -> io::Result<Option<OffsetPosition>> {
        let at = self.partition_point(|entry| u64::from(entry.position) >= position)?;
        Ok(self.get(at)?.map(|entry| self.position(entry)))
    }

    /// The caller has checked that `offset` is within 2^31 of the base.
    pub fn append(&self, offset: Offset, position: u32) -> Result<(), IndexError> {
        let last = self.last_offset()?;
        match self.relative(offset) {
            Some(relative) if self.entries() == 0 || offset > last => self.push(OffsetEntry { relative, position }),
            _ => Err(IndexError::NotIncreasing { offset, last }),
        }
    }

    fn position(&self, entry: OffsetEntry) -> OffsetPosition {
        OffsetPosition { offset: self.base_offset() + i64::from(entry.relative), position: entry.position }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::index::testing;

    fn index() -> (tempfile::TempDir, OffsetIndex) {
        let dir = tempfile::tempdir().unwrap();
        let index = OffsetIndex::open(&testing::files(&dir, 100)).unwrap();
        index.append(150, 4_200).unwrap();
        index.append(220, 9_000).unwrap();
        (dir, index)
    }

    #[test]
    fn bytes_are_those_of_kafka() {
        let (dir, index) = index();
        index.write().unwrap();
        let bytes = std::fs::read(testing::files(&dir, 100).path(OFFSET_INDEX_SUFFIX)).unwrap();
        assert_eq!(bytes, [0, 0, 0, 0x32, 0, 0, 0x10, 0x68, 0, 0, 0, 0x78, 0, 0, 0x23, 0x28]);
    }

    #[test]
    fn lookup_gives_the_greatest_entry_not_above_the_target() {
        let (_dir, index) = index();
        let at = |offset| index.lookup(offset).unwrap().position;
        assert_eq!((at(99), at(149), at(150), at(219), at(220), at(1 << 50)), (0, 0, 4_200, 4_200, 9_000, 9_000));
        assert_eq!(index.first_from_position(4_201).unwrap().map(|p| p.offset), Some(220));
        assert_eq!(index.first_from_position(9_001).unwrap(), None);
    }

    #[test]
    fn offsets_must_increase() {
        let (_dir, index) = index();
        assert!(matches!(index.append(220, 9_500), Err(IndexError::NotIncreasing { offset: 220, last: 220 })));
        assert!(index.append(99, 9_500).is_err());
        assert!(index.append(100 + (1 << 31), 9_500).is_err());
    }

    #[test]
    fn truncation_keeps_entries_below_the_offset() {
        for (to, left) in [(221, 2), (220, 1), (151, 1), (150, 0), (0, 0)] {
            let (_dir, index) = index();
            index.truncate_to(to).unwrap();
            assert_eq!(index.entries(), left, "{to}");
        }
    }
}
