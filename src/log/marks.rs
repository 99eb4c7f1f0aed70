//! Owns the offsets of a log at one moment, and what of them goes together. Kafka: `LogOffsetMetadata`, `LogOffsetSnapshot`.

use crate::common::ids::Offset;

/// An offset with the place where its batch begins, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetMetadata {
    pub offset: Offset,
    /// Base offset of the segment, and position in its file.
    pub place: Option<(Offset, u32)>,
}

impl OffsetMetadata {
    pub const fn offset_only(offset: Offset) -> Self {
        Self { offset, place: None }
    }

    /// Bytes from `earlier` to here when both lie in one segment. `None` also where a place is unknown: then no one can
    /// say whether enough has come to answer a waiting fetch, and it is better to answer.
    pub fn bytes_since(&self, earlier: &Self) -> Option<u64> {
        match (self.place, earlier.place) {
            (Some((segment, to)), Some((other, from))) if segment == other => Some(u64::from(to.saturating_sub(from))),
            _ => None,
        }
    }
}

/// The offsets of a log at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOffsets {
    pub log_start: Offset,
    /// What followers of the leader have, and so what consumers may read.
    pub high_watermark: OffsetMetadata,
    /// What consumers of committed data may read.
    pub last_stable: OffsetMetadata,
    /// The next offset to be given.
    pub log_end: OffsetMetadata,
}

/// What readers need of the tail. `first_unstable` is the start of the first transaction that is not decided, or whose
/// marker is not below the high watermark.
///
/// One lock for all of them, and what belongs together is set in one hold: a reader never sees an end without the open
/// transaction that it came with. Beside the marks there are the segments and the epochs, and for these the order counts.
///
/// ```text
/// readers   take the marks first, then the segments or the epochs
/// growing   a segment is in the list, an epoch in the cache, before the marks reach into it
/// cutting   marks go back (truncation) or forward (log start) before segments and epochs go
/// leaders   load the high watermark before the role: in another epoch the same offsets may be other records
/// ```
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    pub log_start: Offset,
    pub high_watermark: OffsetMetadata,
    pub first_unstable: Option<OffsetMetadata>,
    pub log_end: OffsetMetadata,
    /// Another log has taken over these marks, and goes on with them: see [`super::UnifiedLog::hand_over`].
    pub is_replaced: bool,
}

impl Marks {
    pub(super) fn offsets(&self) -> LogOffsets {
        let last_stable = match self.first_unstable {
            // The log's start has just moved into the transaction.
            Some(unstable) if unstable.offset < self.log_start => OffsetMetadata::offset_only(self.log_start),
            Some(unstable) if unstable.offset < self.high_watermark.offset => unstable,
            _ => self.high_watermark,
        };
        LogOffsets {
            log_start: self.log_start,
            high_watermark: self.high_watermark,
            last_stable,
            log_end: self.log_end,
        }
    }

    pub(super) fn set_first_unstable(&mut self, offset: Option<Offset>) {
        let offset = offset.map(|offset| offset.max(self.log_start));
        if self.first_unstable.map(|mark| mark.offset) != offset {
            self.first_unstable = offset.map(OffsetMetadata::offset_only);
        }
    }
}
