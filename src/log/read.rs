//! Owns reading from a log: slices for fetches, lookups by offset and by time. Kafka: `UnifiedLog.read`,
//! `fetchOffsetByTimestamp`, `legacyFetchOffsetsBefore`. Takes no lock that covers disk work: reads index entries and
//! batch headers, never records but for a lookup by time.

use super::index::AbortedTxn;
use super::log_dir::DirError;
use super::marks::{LogOffsets, OffsetMetadata};
use super::segment::{FoundTimestamp, Segment, SegmentError};
use super::segments::Segments;
use super::unified_log::UnifiedLog;
use crate::common::LeaderEpoch;
use crate::common::ids::{Millis, Offset};
use crate::disk::FileSlice;
use crate::record::NO_TIMESTAMP;
use std::sync::Arc;
use tracing::error;

/// How far a reader may look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchIsolation {
    /// Followers: to the end.
    LogEnd,
    /// Consumers: to the high watermark.
    HighWatermark,
    /// Consumers of committed data: to the last stable offset, with the transactions to skip.
    TxnCommitted,
}

/// What a fetch gets.
#[derive(Clone, Debug)]
pub struct FetchData {
    /// Where the first batch lies, or where the next one will.
    pub start: OffsetMetadata,
    /// `None` for nothing. Begins with the batch that holds the offset asked for, and may end inside a batch.
    pub records: Option<FileSlice>,
    /// The first batch is larger than what was allowed and its rest is missing.
    pub first_entry_incomplete: bool,
    /// Only for committed data.
    pub aborted: Option<Vec<AbortedTxn>>,
    /// No one has checked all of these records since they came from the disk: the sender does.
    pub doubtful: Option<Doubtful>,
}

/// Records whose checksums no one has looked at.
#[derive(Clone, Debug)]
pub struct Doubtful {
    log: Arc<UnifiedLog>,
    segment: Arc<Segment>,
    from: u32,
    to: u32,
}

impl Doubtful {
    /// How many bytes of `records`, which came with it, are in order. Reads them all: on the blocking pool.
    pub fn check(&self, records: &FileSlice) -> Result<u32, ReadError> {
        let (valid, why) = self.log.readable(self.segment.check(self.from, self.to))?;
        let Some(why) = why else { return Ok(records.len) };
        let valid = valid.saturating_sub(records.position as u32).min(records.len);
        if valid == 0 {
            let path = self.segment.path(super::segment_files::LOG_SUFFIX);
            error!(path = %path.display(), position = self.from, %why, "records are damaged and not sent");
            return Err(ReadError::Corrupt(why.to_string()));
        }
        Ok(valid)
    }
}

impl FetchData {
    pub fn len(&self) -> u32 {
        self.records.as_ref().map_or(0, |slice| slice.len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(
        "received request for offset {requested}, but we only have log segments in the range {log_start} to {log_end}"
    )]
    OffsetOutOfRange { requested: Offset, log_start: Offset, log_end: Offset },
    /// The bytes of the log are damaged there.
    #[error("{0}")]
    Corrupt(String),
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// An offset that was found by its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampedOffset {
    /// -1 where the question was not about a time.
    pub timestamp: Millis,
    pub offset: Offset,
    pub leader_epoch: Option<LeaderEpoch>,
}

impl From<FoundTimestamp> for TimestampedOffset {
    fn from(found: FoundTimestamp) -> Self {
        let leader_epoch = (found.leader_epoch != LeaderEpoch::NONE).then_some(found.leader_epoch);
        Self { timestamp: found.timestamp, offset: found.offset, leader_epoch }
    }
}

/// What ListOffsets asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The log start offset; without tiered storage also the earliest local one.
    Earliest,
    /// The log's end. What the asker may see of it is decided above.
    Latest,
    /// The first record with the largest timestamp.
    MaxTimestamp,
    /// The first record at or after a time.
    At(Millis),
}

impl UnifiedLog {
    /// Plans a read of at most `max_bytes` from `start` on; `min_one` allows for one whole batch that is larger.
    pub fn read(
        &self,
        start: Offset,
        max_bytes: u32,
        isolation: FetchIsolation,
        min_one: bool,
    ) -> Result<FetchData, ReadError> {
        self.log_dir().check()?;
        let offsets = self.offsets();
        let bound = match isolation {
            FetchIsolation::LogEnd => offsets.log_end,
            FetchIsolation::HighWatermark => offsets.high_watermark,
            FetchIsolation::TxnCommitted => offsets.last_stable,
        };
        let with_aborted = isolation == FetchIsolation::TxnCommitted;
        let segments = self.segments.load_full();
        let candidates = segments.at_and_after(start);
        if start < offsets.log_start || start > offsets.log_end.offset || candidates.is_empty() {
            return Err(ReadError::OffsetOutOfRange {
                requested: start,
                log_start: offsets.log_start,
                log_end: offsets.log_end.offset,
            });
        }
        let nothing = |start| FetchData {
            start,
            records: None,
            first_entry_incomplete: false,
            aborted: with_aborted.then(Vec::new),
            doubtful: None,
        };
        let bound = self.with_place(bound, &segments, &offsets)?;
        if start == bound.offset {
            return Ok(nothing(bound));
        }
        if start > bound.offset {
            return Ok(nothing(self.with_place(OffsetMetadata::offset_only(start), &segments, &offsets)?));
        }
        for segment in candidates {
            let Some(first) = self.readable(segment.translate(start))? else { continue };
            let place = OffsetMetadata { offset: start, place: Some((segment.base_offset(), first.position)) };
            let end = match bound.place {
                Some((base, _)) if segment.base_offset() < base => segment.size(),
                Some((base, position)) if segment.base_offset() == base => position,
                _ => return Ok(nothing(place)),
            };
            let wanted = if min_one { max_bytes.max(first.size) } else { max_bytes };
            let len = wanted.min(end.saturating_sub(first.position));
            if len == 0 {
                return Ok(nothing(place));
            }
            let aborted = match with_aborted {
                true => Some(self.aborted_in(&segments, segment, start, first.position, len)?),
                false => None,
            };
            let file = self.readable(segment.file())?;
            let doubtful = segment.checked.doubtful(first.position, first.position + len);
            let doubtful = doubtful.and_then(|(from, to)| {
                Some(Doubtful { log: self.weak().upgrade()?, segment: Arc::clone(segment), from, to })
            });
            return Ok(FetchData {
                start: place,
                records: Some(FileSlice {
                    file,
                    position: u64::from(first.position),
                    len,
                    tells_residency: self.log_dir().tells_residency(),
                }),
                first_entry_incomplete: wanted < first.size,
                aborted,
                doubtful,
            });
        }
        // Compaction may leave nothing between an offset and the end.
        Ok(nothing(offsets.log_end))
    }

    /// Offsets with their places: what a leader remembers of a follower's fetch, and what a waiting fetch counts bytes by.
    pub fn offsets_with_places(&self) -> Result<LogOffsets, ReadError> {
        let offsets = self.offsets();
        let segments = self.segments.load_full();
        Ok(LogOffsets {
            high_watermark: self.with_place(offsets.high_watermark, &segments, &offsets)?,
            last_stable: self.with_place(offsets.last_stable, &segments, &offsets)?,
            ..offsets
        })
    }

    /// Looks up where an offset lies, and remembers it for the marks.
    fn with_place(
        &self,
        mark: OffsetMetadata,
        segments: &Segments,
        offsets: &LogOffsets,
    ) -> Result<OffsetMetadata, ReadError> {
        if mark.place.is_some() {
            return Ok(mark);
        }
        if mark.offset >= offsets.log_end.offset {
            return Ok(offsets.log_end);
        }
        let mut found = mark;
        for segment in segments.at_and_after(mark.offset) {
            if let Some(batch) = self.readable(segment.translate(mark.offset))? {
                found.place = Some((segment.base_offset(), batch.position));
                break;
            }
        }
        let mut marks = self.marks.lock();
        if marks.high_watermark == mark {
            marks.high_watermark = found;
        }
        if marks.first_unstable == Some(mark) {
            marks.first_unstable = Some(found);
        }
        Ok(found)
    }

    fn aborted_in(
        &self,
        segments: &Segments,
        segment: &Segment,
        start: Offset,
        position: u32,
        len: u32,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        let behind = self.readable(segment.first_offset_from(u64::from(position) + u64::from(len)))?;
        let from_here = segments.at_and_after(segment.base_offset());
        let upper =
            behind.or_else(|| from_here.get(1).map(|next| next.base_offset())).unwrap_or_else(|| self.log_end_offset());
        self.collect_aborted(from_here, start, upper)
    }

    fn collect_aborted(
        &self,
        segments: &[Arc<Segment>],
        start: Offset,
        upper: Offset,
    ) -> Result<Vec<AbortedTxn>, ReadError> {
        let mut aborted = Vec::new();
        for segment in segments {
            let search = self.readable(segment.collect_aborted(start, upper))?;
            aborted.extend(search.aborted);
            if search.is_complete {
                break;
            }
        }
        Ok(aborted)
    }

    /// Aborted transactions that overlap `start..upper`.
    pub fn aborted_transactions(&self, start: Offset, upper: Offset) -> Result<Vec<AbortedTxn>, ReadError> {
        let segments = self.segments.load_full();
        self.collect_aborted(segments.at_and_after(start), start, upper)
    }

    /// `None` when no record is that young, or none has a timestamp. May read records from the disk.
    pub fn fetch_offset(&self, query: OffsetQuery) -> Result<Option<TimestampedOffset>, ReadError> {
        self.log_dir().check()?;
        let offsets = self.offsets();
        let segments = self.segments.load_full();
        Ok(match query {
            OffsetQuery::Earliest => {
                let epoch = self.earliest_epoch().filter(|e| e.start_offset <= offsets.log_start).map(|e| e.epoch);
                Some(TimestampedOffset { timestamp: NO_TIMESTAMP, offset: offsets.log_start, leader_epoch: epoch })
            }
            OffsetQuery::Latest => Some(TimestampedOffset {
                timestamp: NO_TIMESTAMP,
                offset: offsets.log_end.offset,
                leader_epoch: self.latest_epoch(),
            }),
            OffsetQuery::MaxTimestamp => {
                let mut youngest: Option<(Millis, &Arc<Segment>)> = None;
                for segment in segments.as_slice() {
                    let timestamp = self.readable(segment.max_timestamp())?.timestamp;
                    if youngest.is_none_or(|(known, _)| timestamp > known) {
                        youngest = Some((timestamp, segment));
                    }
                }
                match youngest {
                    Some((_, segment)) => self.readable(segment.find_max_timestamp())?.map(Into::into),
                    None => None,
                }
            }
            OffsetQuery::At(target) => {
                for segment in segments.as_slice() {
                    if self.readable(segment.largest_timestamp())? >= target {
                        return Ok(self
                            .readable(segment.find_by_timestamp(target, offsets.log_start))?
                            .map(Into::into));
                    }
                }
                None
            }
        })
    }

    /// Base offsets of segments by the time of their files, newest first: ListOffsets version 0. -1 is latest, -2 earliest.
    pub fn legacy_offsets_before(
        &self,
        timestamp: Millis,
        max_offsets: usize,
        now: Millis,
    ) -> Result<Vec<Offset>, ReadError> {
        let offsets = self.offsets();
        let segments = self.segments.load_full();
        let mut known = Vec::new();
        for segment in segments.as_slice() {
            let modified = self.readable(segment.modified_ms())?;
            known.push((segment.base_offset().max(offsets.log_start), modified));
        }
        if segments.active().is_some_and(|active| active.size() > 0) {
            known.push((offsets.log_end.offset, now));
        }
        let usable = match timestamp {
            -1 => known.len(),
            -2 => 1.min(known.len()),
            _ => known.iter().rposition(|(_, modified)| *modified <= timestamp).map_or(0, |at| at + 1),
        };
        let mut found: Vec<Offset> =
            known[..usable].iter().rev().take(max_offsets).map(|(offset, _)| *offset).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    fn readable<T>(&self, result: Result<T, SegmentError>) -> Result<T, ReadError> {
        self.guard(result).map_err(|e| match e {
            DirError::Damaged(why) => ReadError::Corrupt(why),
            other => ReadError::Dir(other),
        })
    }
}
