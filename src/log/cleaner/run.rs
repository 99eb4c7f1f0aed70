//! Owns the cleaning of one log: the walk that notes the last offset of every key, then the one that writes what survives.
//! Kafka: `Cleaner`. Waits for the disk, and asks often whether it is to stop.
//!
//! Stricter than Kafka: checksums are looked at before anything is decided or rewritten, or a flipped bit would get a
//! valid checksum here.

use super::filter::{BatchFacts, Rules, Survivor};
use super::gate::Turn;
use super::offset_map::OffsetMap;
use super::plan::{self, Candidate};
use super::segments::{LastRecord, facts_of};
use super::stop::Stop;
use super::throttle::Throttle;
use super::transactions::{CleanedTransactions, Marker, MarkerFate};
use crate::common::ids::{Millis, Offset};
use crate::config::topic::LogConfig;
use crate::disk::{DataFile, DiskError};
use crate::log::UnifiedLog;
use crate::log::log_dir::DirError;
use crate::log::producer_state::BatchKind;
use crate::log::read::ReadError;
use crate::log::scan::control_kind;
use crate::log::segment::{AppendedBatch, Segment, SegmentError};
use crate::log::segment_files::LOG_SUFFIX;
use crate::record::batch::{PREFIX_LEN, entry_size};
use crate::record::{Batch, RecordError, records};
use std::collections::HashMap;
use std::hash::RandomState;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Instant;
use tracing::{debug, info};

/// The least that a buffer for reading or writing holds, whatever `log.cleaner.io.buffer.size` says.
const BUFFER_MIN: usize = 4 * 1024;

/// Why a log was not cleaned.
#[derive(Debug, thiserror::Error)]
pub(super) enum CleanError {
    /// Another needs the log, or the broker stops. It is cleaned another time.
    #[error("aborted")]
    Aborted,
    /// The directory has logged why.
    #[error(transparent)]
    Dir(DirError),
    /// There is none for the table of keys now.
    #[error("map memory for the cleaner's keys: {0}")]
    NoMemory(io::Error),
    /// The log is left alone from now on.
    #[error("{0}")]
    Uncleanable(String),
}

impl From<DirError> for CleanError {
    fn from(error: DirError) -> Self {
        match error {
            DirError::Damaged(why) => Self::Uncleanable(why),
            DirError::Gone(_) => Self::Aborted,
            other => Self::Dir(other),
        }
    }
}

/// What one thread may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    pub map_bytes: usize,
    pub load_factor: f64,
    pub buffer_bytes: usize,
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stats {
    pub map_bytes_read: u64,
    pub bytes_read: u64,
    pub bytes_written: u64,
    pub records_read: u64,
    pub records_written: u64,
    pub invalid_records: u64,
    pub map_utilization: f64,
}

/// One cleaning.
pub(super) struct Cleaning<'a> {
    log: &'a UnifiedLog,
    config: Arc<LogConfig>,
    turn: &'a Turn<'a>,
    stop: &'a Stop,
    throttle: &'a Throttle,
    share: Share,
    candidate: &'a Candidate,
    map: OffsetMap,
    buffer: Vec<u8>,
    now: Millis,
    stats: Stats,
}

impl<'a> Cleaning<'a> {
    pub(super) fn new(
        log: &'a UnifiedLog,
        turn: &'a Turn<'a>,
        stop: &'a Stop,
        throttle: &'a Throttle,
        share: Share,
        candidate: &'a Candidate,
        now: Millis,
    ) -> Result<Self, CleanError> {
        // A key for each offset of the dirty part at most.
        let keys_max = u64::try_from(candidate.first_uncleanable - candidate.first_dirty).unwrap_or(0);
        let map = OffsetMap::new(share.map_bytes, keys_max, [RandomState::new(), RandomState::new()])
            .map_err(CleanError::NoMemory)?;
        let share = Share { buffer_bytes: share.buffer_bytes.max(BUFFER_MIN), ..share };
        let buffer = vec![0; share.buffer_bytes];
        let config = log.config();
        Ok(Self { log, config, turn, stop, throttle, share, candidate, map, buffer, now, stats: Stats::default() })
    }

    /// Cleans, and returns the first offset that is not clean now.
    pub(super) fn run(mut self) -> Result<(Offset, Stats), CleanError> {
        let tp = self.log.topic_partition();
        info!("Beginning cleaning of log {tp}");
        let segments = self.log.segments.load_full();
        let facts = facts_of(&segments);
        let legacy_horizon = match segments.as_slice()[plan::between(&facts, 0, self.candidate.first_dirty)].last() {
            Some(clean) => self.dir(clean.modified_ms())? - self.config.delete_retention_ms,
            None => 0,
        };
        self.build_map()?;
        let end = self.map.latest_offset() + 1;
        self.stats.map_utilization = self.map.utilization();

        let to_clean = plan::between(&facts, 0, end);
        debug!(%tp, end, keys = self.map.len(), "offset map is complete");
        let mut transactions = CleanedTransactions::default();
        let groups = plan::groups(
            &facts[to_clean.clone()],
            self.config.segment_bytes as u64,
            self.config.segment_index_bytes as u64,
            self.candidate.first_uncleanable,
        );
        let segments = &segments.as_slice()[to_clean];
        for group in groups {
            self.clean_group(&segments[group], &mut transactions, legacy_horizon)?;
        }
        Ok((end, self.stats))
    }

    fn check(&self) -> Result<(), CleanError> {
        if self.stop.is_set() || self.turn.check().is_err() { Err(CleanError::Aborted) } else { Ok(()) }
    }

    fn throttle(&self, bytes: u64) -> Result<(), CleanError> {
        if let Some(wait) = self.throttle.note(bytes, Instant::now()) {
            self.stop.wait_while(wait, || self.turn.check().is_ok());
        }
        self.check()
    }

    /// Disk errors are the directory's, all else is this log's.
    fn dir<T>(&self, result: Result<T, SegmentError>) -> Result<T, CleanError> {
        Ok(self.log.guard(result)?)
    }

    fn aborted_transactions(&self, from: Offset, to: Offset) -> Result<Vec<crate::log::index::AbortedTxn>, CleanError> {
        self.log.aborted_transactions(from, to).map_err(|e| match e {
            ReadError::Dir(e) => e.into(),
            damaged => CleanError::Uncleanable(damaged.to_string()),
        })
    }

    // ---- the first walk

    fn build_map(&mut self) -> Result<(), CleanError> {
        let (start, end) = (self.candidate.first_dirty, self.candidate.first_uncleanable);
        let segments = self.log.segments.load_full();
        let dirty = &segments.as_slice()[plan::between(&facts_of(&segments), start, end)];
        let mut transactions = CleanedTransactions::default();
        transactions.add(self.aborted_transactions(start, end)?);
        for (n, segment) in dirty.iter().enumerate() {
            let next_start = dirty.get(n + 1).map_or(end, |next| next.base_offset());
            if !self.note_keys(segment, start, &mut transactions)? {
                debug!(tp = %self.log.topic_partition(), segments = n, "offset map is full");
                return Ok(());
            }
            // Offsets that an earlier cleaning removed are clean.
            self.map.update_latest_offset(next_start - 1);
        }
        Ok(())
    }

    /// False when the map became full.
    fn note_keys(
        &mut self,
        segment: &Segment,
        start: Offset,
        transactions: &mut CleanedTransactions,
    ) -> Result<bool, CleanError> {
        let keys_max = (self.map.slots() as f64 * self.share.load_factor) as usize;
        let from = self.dir(segment.position_before(start))?;
        let mut batches = BatchReader::new(self.dir(segment.file())?, from, segment.size(), self.take_buffer());
        let is_complete = loop {
            self.throttle(batches.take_read())?;
            let batch = match batches.next() {
                Ok(Some(batch)) => batch,
                Ok(None) => break true,
                Err(e) => return Err(unreadable(self.log, segment, e)),
            };
            let log = self.log;
            let corrupt = |e| unreadable(log, segment, BatchError::Corrupt(e));
            batch.check_crc().map_err(corrupt)?;
            self.stats.map_bytes_read += batch.size() as u64;
            if batch.is_control() {
                transactions.on_marker(batch.last_offset(), batch.producer_id(), marker_of(&batch).map_err(corrupt)?);
            } else if !transactions.on_batch(batch.last_offset(), batch.producer_id(), batch.is_transactional()) {
                let mut reader = records(&batch).map_err(corrupt)?;
                let mut is_full = false;
                while let Some(record) = reader.next_record().map_err(corrupt)? {
                    let Some(key) = record.key.filter(|_| record.offset >= start) else { continue };
                    is_full = self.map.len() >= keys_max || !self.map.put(key, record.offset);
                    if is_full {
                        break;
                    }
                }
                if is_full {
                    break false;
                }
            }
            if batch.last_offset() >= start {
                self.map.update_latest_offset(batch.last_offset());
            }
        };
        self.give_back(batches.buffer);
        Ok(is_complete)
    }

    // ---- the second walk

    fn clean_group(
        &mut self,
        group: &[Arc<Segment>],
        transactions: &mut CleanedTransactions,
        legacy_horizon: Millis,
    ) -> Result<(), CleanError> {
        let (Some(first), Some(last)) = (group.first(), group.last()) else { return Ok(()) };
        self.check()?;
        let created = Segment::create_cleaned(&self.log.dir, first.base_offset(), &self.config, self.now);
        let cleaned = Arc::new(self.dir(created.map_err(Into::into))?);
        let written = self.write_group(group, &cleaned, transactions, legacy_horizon).and_then(|()| {
            self.dir(cleaned.seal())?;
            // The directory cannot be trusted when this fails, whatever the reason.
            cleaned.sync().map_err(|e| match e {
                SegmentError::Disk(e) => CleanError::Dir(self.log.log_dir().fail(e)),
                other => self.log.guard(Err::<(), _>(other)).map_or_else(CleanError::from, |()| CleanError::Aborted),
            })?;
            // Retention of records without timestamps goes by it.
            let modified = self.dir(last.modified_ms())?;
            self.dir(cleaned.files().set_modified_ms(modified).map_err(Into::into))
        });
        if let Err(e) = written {
            drop(cleaned.files().delete());
            return Err(e);
        }
        debug!(tp = %self.log.topic_partition(), base_offset = first.base_offset(), segments = group.len(), "swapping in cleaned segment");
        Ok(self.log.replace_segments(&cleaned, group)?)
    }

    fn write_group(
        &mut self,
        group: &[Arc<Segment>],
        cleaned: &Segment,
        transactions: &mut CleanedTransactions,
        legacy_horizon: Millis,
    ) -> Result<(), CleanError> {
        let producers = self.log.last_records_of_producers();
        let mut out = Output::new(cleaned, self.config.index_interval_bytes as u32, self.share.buffer_bytes);
        for (n, segment) in group.iter().enumerate() {
            let upper = match group.get(n + 1) {
                Some(next) => next.base_offset(),
                None => self.dir(segment.read_next_offset())?,
            };
            transactions.add(self.aborted_transactions(segment.base_offset(), upper)?);
            let modified = self.dir(segment.modified_ms())?;
            self.clean_segment(segment, &mut out, transactions, &producers, modified > legacy_horizon)?;
        }
        self.dir(out.flush())?;
        self.stats.bytes_written += out.written;
        self.throttle(out.take_unthrottled())
    }

    fn clean_segment(
        &mut self,
        segment: &Segment,
        out: &mut Output<'_>,
        transactions: &mut CleanedTransactions,
        producers: &HashMap<i64, LastRecord>,
        retains_legacy_tombstones: bool,
    ) -> Result<(), CleanError> {
        let mut batches = BatchReader::new(self.dir(segment.file())?, 0, segment.size(), self.take_buffer());
        loop {
            self.throttle(batches.take_read() + out.take_unthrottled())?;
            let batch = match batches.next() {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                Err(e) => return Err(unreadable(self.log, segment, e)),
            };
            let log = self.log;
            let corrupt = |e| unreadable(log, segment, BatchError::Corrupt(e));
            batch.check_crc().map_err(corrupt)?;
            let discardable = if batch.is_control() {
                let marker = marker_of(&batch).map_err(corrupt)?;
                match transactions.on_marker(batch.last_offset(), batch.producer_id(), marker) {
                    MarkerFate::Discard => true,
                    MarkerFate::Retain => false,
                    MarkerFate::RetainAborted(txn) => {
                        self.dir(out.cleaned.append_aborted(&txn))?;
                        false
                    }
                }
            } else {
                transactions.on_batch(batch.last_offset(), batch.producer_id(), batch.is_transactional())
            };
            let is_last_of_producer =
                batch.has_producer_id() && producers.get(&batch.producer_id()).is_some_and(|last| last.is_in(&batch));
            let rules = Rules {
                map: &self.map,
                now: self.now,
                delete_retention_ms: self.config.delete_retention_ms,
                retains_legacy_tombstones,
            };
            let filtered = rules.filter(&batch, BatchFacts { discardable, is_last_of_producer }).map_err(corrupt)?;
            self.stats.bytes_read += batch.size() as u64;
            self.stats.records_read += filtered.read;
            self.stats.records_written += filtered.retained;
            self.stats.invalid_records += filtered.invalid;
            let survivor = match &filtered.survivor {
                Survivor::Nothing => continue,
                Survivor::Whole => batch.bytes(),
                Survivor::Rewritten(bytes) => bytes,
            };
            self.dir(out.push(survivor, batch.last_offset()))?;
        }
        self.give_back(batches.buffer);
        Ok(())
    }

    fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.resize(self.share.buffer_bytes, 0);
        buffer
    }

    /// A buffer that a large batch let grow does not stay large.
    fn give_back(&mut self, mut buffer: Vec<u8>) {
        buffer.truncate(self.share.buffer_bytes);
        buffer.shrink_to(self.share.buffer_bytes);
        self.buffer = buffer;
    }
}

fn unreadable(log: &UnifiedLog, segment: &Segment, error: BatchError) -> CleanError {
    let path = segment.path(LOG_SUFFIX);
    match error {
        BatchError::Io(e) => log.judge(DiskError::new("read", &path, e)).into(),
        BatchError::Corrupt(e) => CleanError::Uncleanable(format!("{}: {e}", path.display())),
    }
}

fn marker_of(batch: &Batch<'_>) -> Result<Marker, RecordError> {
    if batch.records_count() == Some(0) {
        return Ok(Marker::Empty);
    }
    Ok(match control_kind(batch)? {
        BatchKind::Marker { commit: true, .. } => Marker::Commit,
        BatchKind::Marker { commit: false, .. } => Marker::Abort,
        BatchKind::OtherControl | BatchKind::Data => Marker::Other,
    })
}

enum BatchError {
    Io(io::Error),
    Corrupt(RecordError),
}

/// Reads the whole batches of a file, one after another, through one buffer.
struct BatchReader {
    file: Arc<DataFile>,
    /// Of what is not in the buffer yet.
    position: u32,
    end: u32,
    buffer: Vec<u8>,
    /// The part of the buffer that is filled and was not handed out.
    ready: std::ops::Range<usize>,
    /// Bytes read since someone asked.
    read: u64,
}

impl BatchReader {
    fn new(file: Arc<DataFile>, position: u32, end: u32, buffer: Vec<u8>) -> Self {
        Self { file, position, end, buffer, ready: 0..0, read: 0 }
    }

    fn take_read(&mut self) -> u64 {
        std::mem::take(&mut self.read)
    }

    /// `None` at the end. A batch that is not whole is corrupt: closed segments end with one.
    fn next(&mut self) -> Result<Option<Batch<'_>>, BatchError> {
        loop {
            let ready = &self.buffer[self.ready.clone()];
            if ready.is_empty() && self.position >= self.end {
                return Ok(None);
            }
            let left = ready.len() + (self.end - self.position) as usize;
            let wanted = match entry_size(ready).map_err(BatchError::Corrupt)? {
                Some(size) if size <= ready.len() => {
                    let start = self.ready.start;
                    self.ready.start += size;
                    return Batch::first(&self.buffer[start..start + size]).map_err(BatchError::Corrupt);
                }
                Some(size) => size,
                None => PREFIX_LEN,
            };
            if wanted > left {
                return Err(BatchError::Corrupt(RecordError::Corrupt(format!(
                    "Log segment may be corrupt, batch size {wanted} > {left} bytes left in segment"
                ))));
            }
            self.fill(wanted).map_err(BatchError::Io)?;
        }
    }

    /// Moves what is ready to the buffer's start and reads as much as fits behind it, `wanted` bytes in all at least.
    fn fill(&mut self, wanted: usize) -> io::Result<()> {
        self.buffer.copy_within(self.ready.clone(), 0);
        let kept = self.ready.len();
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        let room = (self.buffer.len() - kept).min((self.end - self.position) as usize);
        self.file.read_exact_at(&mut self.buffer[kept..kept + room], u64::from(self.position))?;
        self.position += room as u32;
        self.read += room as u64;
        self.ready = 0..kept + room;
        Ok(())
    }
}

/// Collects batches for the cleaned segment.
struct Output<'s> {
    cleaned: &'s Segment,
    index_interval_bytes: u32,
    bytes: Vec<u8>,
    batches: Vec<AppendedBatch>,
    flush_at: usize,
    written: u64,
    unthrottled: u64,
}

impl<'s> Output<'s> {
    fn new(cleaned: &'s Segment, index_interval_bytes: u32, flush_at: usize) -> Self {
        let (bytes, batches) = (Vec::with_capacity(flush_at), Vec::new());
        Self { cleaned, index_interval_bytes, bytes, batches, flush_at, written: 0, unthrottled: 0 }
    }

    fn take_unthrottled(&mut self) -> u64 {
        std::mem::take(&mut self.unthrottled)
    }

    /// A compressed set of magic 0 or 1 that lost its last record ends before `last_offset`, which was its end.
    fn push(&mut self, batch: &[u8], last_offset: Offset) -> Result<(), SegmentError> {
        if !self.bytes.is_empty() && self.bytes.len() + batch.len() > self.flush_at {
            self.flush()?;
        }
        let parsed = Batch::first(batch).ok().flatten();
        let (last_offset, max_timestamp) = parsed
            .map_or((last_offset, crate::record::NO_TIMESTAMP), |batch| (batch.last_offset(), batch.max_timestamp()));
        self.batches.push(AppendedBatch { size: batch.len() as u32, last_offset, max_timestamp });
        self.bytes.extend_from_slice(batch);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SegmentError> {
        if self.batches.is_empty() {
            return Ok(());
        }
        self.cleaned.append(&mut [IoSlice::new(&self.bytes)], &self.batches, self.index_interval_bytes)?;
        self.written += self.bytes.len() as u64;
        self.unthrottled += self.bytes.len() as u64;
        self.bytes.clear();
        self.bytes.shrink_to(self.flush_at);
        self.batches.clear();
        Ok(())
    }
}
