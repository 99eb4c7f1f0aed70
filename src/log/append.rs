//! Owns appending to a log. Kafka: `UnifiedLog.append`. Everything that needs no offset was decided before: see
//! [`crate::record::validate`]. What is left happens under the tail lock: producer state, offsets, one write.

use super::log_dir::DirError;
use super::marks::OffsetMetadata;
use super::producer_state::{AppendOrigin, BatchKind, BatchMetadata, ProducerBatch, ProducerError, VerificationGuard};
use super::recovery::aborted;
use super::scan::control_kind;
use super::segment::{AppendedBatch, RollParams, Segment};
use super::unified_log::{Tail, UnifiedLog};
use crate::common::LeaderEpoch;
use crate::common::ids::{Millis, Offset};
use crate::record::validate::{self, ValidatedBatches};
use crate::record::{Batch, BatchHeader, HEADER_LEN, NO_TIMESTAMP, RecordError, batches};
use std::io::IoSlice;
use std::sync::Arc;

/// What an append did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendInfo {
    /// -1 when there was nothing to append.
    pub first_offset: Offset,
    pub last_offset: Offset,
    /// -1 unless the topic's timestamps are the broker's. A duplicate has the timestamp of the batch that it repeats.
    pub log_append_time: Millis,
    pub log_start_offset: Offset,
    /// The log's end after it.
    pub log_end: OffsetMetadata,
    /// The producer sent this before: nothing was written, and the offsets are those of then.
    pub is_duplicate: bool,
    /// `flush.messages` is reached: [`UnifiedLog::flush`] is due before the new end counts for anything.
    pub flush_due: bool,
}

/// Why nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The leader epoch changed on the way here.
    #[error("no longer the leader")]
    NotLeader,
    /// More than `segment.bytes`.
    #[error(
        "message batch size is {bytes} bytes, which exceeds the maximum configured segment size of {segment_bytes}"
    )]
    TooLarge { bytes: usize, segment_bytes: i32 },
    /// The batch breaks the rules of its producer.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// Bytes of a leader that are not batches.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// Batches of a leader that are below this log's end. An empty log may begin anew at `first`.
    #[error("unexpected offset in append: first offset {first} is less than the next offset {log_end}")]
    UnexpectedOffset { first: Offset, last: Offset, log_end: Offset },
    /// Offsets of a leader's batches that do not increase.
    #[error("out of order offsets found in append")]
    OffsetsOutOfOrder,
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// The parts of an append that go to the segment.
struct Write<'a, 'b> {
    pieces: &'a mut [IoSlice<'b>],
    bytes: u32,
    /// In the order of `pieces`, not empty.
    batches: &'a [AppendedBatch],
    first_offset: Option<Offset>,
    last_offset: Offset,
    max_timestamp: Millis,
    records: i64,
    now: Millis,
}

impl UnifiedLog {
    /// Appends validated batches at the end. `still_leader` is asked under the lock, so that a role change that took it
    /// before is seen. `guard` is the proof of [`Self::start_transaction_verification`] for a transaction's first append.
    pub fn append_as_leader(
        &self,
        records: &ValidatedBatches,
        leader_epoch: LeaderEpoch,
        origin: validate::AppendOrigin,
        guard: Option<VerificationGuard>,
        now: Millis,
        still_leader: impl FnOnce() -> bool,
    ) -> Result<AppendInfo, AppendError> {
        let bytes = records.batches.iter().map(|batch| batch.header.size()).sum();
        let bytes = self.checked_size(bytes)?;
        self.settle_topic_id()?;
        let mut tail = self.lock_tail()?;
        if !still_leader() {
            return Err(AppendError::NotLeader);
        }
        self.complete_cut(&mut tail, now)?;
        let (log_start, log_end) = {
            let marks = self.marks.lock();
            (marks.log_start, marks.log_end)
        };
        let nothing = AppendInfo {
            first_offset: -1,
            last_offset: -1,
            log_append_time: records.log_append_time,
            log_start_offset: log_start,
            log_end,
            is_duplicate: false,
            flush_due: false,
        };
        let [batch] = records.batches.as_slice() else {
            // Validation makes one batch of whatever comes in, or none of nothing.
            return Ok(nothing);
        };
        let header = BatchHeader {
            base_offset: batch.header.base_offset + log_end.offset,
            partition_leader_epoch: leader_epoch,
            ..batch.header
        };
        let (first_offset, last_offset) = (header.base_offset, header.last_offset());
        if let Some(duplicate) = self.check_producer(&mut tail, &header, &batch.bytes, origin, guard)? {
            return Ok(AppendInfo {
                first_offset: duplicate.first_offset(),
                last_offset: duplicate.last_offset,
                log_append_time: duplicate.timestamp,
                is_duplicate: true,
                ..nothing
            });
        }
        if origin == validate::AppendOrigin::Client {
            self.log_dir().check_reserve(bytes)?;
        }
        self.assign_epoch(leader_epoch, first_offset);
        let head = header.encode();
        let appended = AppendedBatch { size: bytes, last_offset, max_timestamp: header.max_timestamp };
        let flush_due = self.write(
            &mut tail,
            Write {
                pieces: &mut [IoSlice::new(&head), IoSlice::new(&batch.bytes[HEADER_LEN..])],
                bytes,
                batches: &[appended],
                first_offset: Some(first_offset),
                last_offset,
                max_timestamp: header.max_timestamp,
                records: i64::from(header.last_offset_delta) + 1,
                now,
            },
        )?;
        Ok(AppendInfo { first_offset, last_offset, log_end: self.log_end(), flush_due, ..nothing })
    }

    /// Appends a leader's batches as they are. A partial batch at the end is left out.
    pub fn append_as_follower(&self, records: &[u8], now: Millis) -> Result<AppendInfo, AppendError> {
        let mut entries = batches(records);
        let mut first: Option<Batch<'_>> = None;
        let mut last_offset = -1;
        let mut appended = Vec::new();
        for entry in entries.by_ref() {
            let entry = entry?;
            entry.check_crc()?;
            if entry.last_offset() <= last_offset {
                return Err(AppendError::OffsetsOutOfOrder);
            }
            last_offset = entry.last_offset();
            appended.push(AppendedBatch {
                size: entry.size() as u32,
                last_offset,
                max_timestamp: entry.max_timestamp(),
            });
            first.get_or_insert(entry);
        }
        let records = &records[..entries.consumed()];
        let bytes = self.checked_size(records.len())?;
        self.settle_topic_id()?;
        let mut tail = self.lock_tail()?;
        self.complete_cut(&mut tail, now)?;
        let (log_start_offset, log_end) = {
            let marks = self.marks.lock();
            (marks.log_start, marks.log_end)
        };
        let nothing = AppendInfo {
            first_offset: -1,
            last_offset: -1,
            log_append_time: NO_TIMESTAMP,
            log_start_offset,
            log_end,
            is_duplicate: false,
            flush_due: false,
        };
        let Some(first) = first else { return Ok(nothing) };
        // Old formats carry only their last offset.
        let first_offset = (first.magic() >= 2).then(|| first.base_offset());
        if first_offset.unwrap_or_else(|| first.last_offset()) < log_end.offset {
            return Err(AppendError::UnexpectedOffset {
                first: first.base_offset(),
                last: last_offset,
                log_end: log_end.offset,
            });
        }
        tail.producers.state.begin();
        for entry in batches(records) {
            let entry = entry?;
            if entry.magic() >= 2 {
                self.assign_epoch(entry.partition_leader_epoch(), entry.base_offset());
            }
            if entry.has_producer_id() {
                let kind = if entry.is_control() { control_kind(&entry)? } else { BatchKind::Data };
                tail.producers.state.prepare(&facts_of(&entry, kind), AppendOrigin::Replication, None)?;
            }
        }
        let flush_due = self.write(
            &mut tail,
            Write {
                pieces: &mut [IoSlice::new(records)],
                bytes,
                batches: &appended,
                first_offset,
                last_offset,
                max_timestamp: appended.iter().map(|batch| batch.max_timestamp).max().unwrap_or(NO_TIMESTAMP),
                records: last_offset - first.base_offset() + 1,
                now,
            },
        )?;
        let first_offset = first_offset.unwrap_or(-1);
        Ok(AppendInfo { first_offset, last_offset, log_end: self.log_end(), flush_due, ..nothing })
    }

    fn checked_size(&self, bytes: usize) -> Result<u32, AppendError> {
        let segment_bytes = self.config().segment_bytes;
        match u32::try_from(bytes) {
            Ok(checked) if checked <= segment_bytes as u32 => Ok(checked),
            _ => Err(AppendError::TooLarge { bytes, segment_bytes }),
        }
    }

    /// Prepares the batch's change of producer state; `Some` when it repeats one that is there.
    fn check_producer(
        &self,
        tail: &mut Tail,
        header: &BatchHeader,
        bytes: &[u8],
        origin: validate::AppendOrigin,
        guard: Option<VerificationGuard>,
    ) -> Result<Option<BatchMetadata>, AppendError> {
        let state = &mut tail.producers.state;
        state.begin();
        if !header.has_producer_id() {
            return Ok(None);
        }
        let kind = match Batch::first(bytes)? {
            Some(batch) if header.attributes.is_control() => control_kind(&batch)?,
            _ => BatchKind::Data,
        };
        let facts = ProducerBatch {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            max_timestamp: header.max_timestamp,
            is_transactional: header.attributes.is_transactional(),
            kind,
        };
        let origin = match origin {
            validate::AppendOrigin::Client => AppendOrigin::Client,
            validate::AppendOrigin::Coordinator => AppendOrigin::Coordinator,
        };
        if origin == AppendOrigin::Client
            && let Some(duplicate) = state.duplicate_of(&facts)
        {
            return Ok(Some(duplicate));
        }
        state.prepare(&facts, origin, guard)?;
        Ok(None)
    }

    /// Writes, notes what it means for producers, and makes both visible at once. True when a flush is due.
    fn write(&self, tail: &mut Tail, write: Write<'_, '_>) -> Result<bool, DirError> {
        let params = RollParams {
            now: write.now,
            bytes: write.bytes,
            max_timestamp: write.max_timestamp,
            last_offset: write.last_offset,
        };
        let segment = self.segment_for(tail, write.first_offset, &params)?;
        let config = self.config();
        let interval = config.index_interval_bytes as u32;
        self.guard(segment.append(write.pieces, write.batches, interval))?;
        self.log_dir().note_appended(write.bytes);
        let log_end =
            OffsetMetadata { offset: write.last_offset + 1, place: Some((segment.base_offset(), segment.size())) };
        let committed = self.commit_producers(tail, &segment, log_end.offset);
        {
            let mut marks = self.marks.lock();
            // The records are there, whatever became of the transaction index: offsets go on behind them.
            marks.log_end = log_end;
            marks.set_first_unstable(tail.producers.state.first_unstable_offset());
        }
        committed?;
        tail.unflushed = tail.unflushed.saturating_add(write.records);
        Ok(tail.unflushed >= config.flush_messages)
    }

    fn commit_producers(&self, tail: &mut Tail, segment: &Arc<Segment>, log_end: Offset) -> Result<(), DirError> {
        let committed = tail.producers.state.commit(log_end, |txn, last_stable_offset| {
            if txn.is_aborted { segment.append_aborted(&aborted(txn, last_stable_offset)) } else { Ok(()) }
        });
        self.guard(committed)
    }
}

fn facts_of(entry: &Batch<'_>, kind: BatchKind) -> ProducerBatch {
    ProducerBatch {
        producer_id: entry.producer_id(),
        producer_epoch: entry.producer_epoch(),
        base_sequence: entry.base_sequence(),
        base_offset: entry.base_offset(),
        last_offset: entry.last_offset(),
        max_timestamp: entry.max_timestamp(),
        is_transactional: entry.is_transactional(),
        kind,
    }
}
