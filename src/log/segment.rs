//! Owns one segment: a piece of the log, its indexes, and what the log must know of it without reading. Kafka:
//! `LogSegment`. One thread at a time appends, under the log's lock; readers take no lock that covers disk work.

use super::checked::Checked;
use super::index::{
    AbortedTxn, AbortedTxnSearch, IndexError, OffsetIndex, OffsetPosition, TimeIndex, TimestampOffset, TxnIndex,
    TxnIndexError,
};
use super::partition_dir::PartitionDir;
use super::scan::{CheckScan, EntryHead, HeadScan, ScanError};
use super::segment_files::{LOG_SUFFIX, OFFSET_INDEX_SUFFIX, SegmentFiles, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX};
use crate::common::ids::{Millis, Offset};
use crate::config::topic::LogConfig;
use crate::disk::{DataFile, DiskError, During, LazyFile};
use crate::record::{Batch, NO_TIMESTAMP, RecordError};
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Largest batch that a lookup by timestamp reads as a whole: the broker accepts none that is larger by default, and
/// what is larger is answered by its last offset.
const SEARCHED_BATCH_MAX: u32 = 128 * 1024 * 1024;

/// Why a segment cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SegmentError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The bytes are not batches.
    #[error("{path}: {source}")]
    Corrupt { path: PathBuf, source: RecordError },
    #[error("{path}: {why}")]
    CorruptTxnIndex { path: PathBuf, why: String },
    /// An index cannot be rebuilt from these bytes: offsets go backwards.
    #[error("{path}: offsets go backwards at {offset}")]
    OffsetsGoBack { path: PathBuf, offset: Offset },
    /// An offset is more than 2^31 above the base.
    #[error("{path}: offset {offset} is too far from the base offset")]
    OffsetOverflow { path: PathBuf, offset: Offset },
    /// The segment was deleted, and its files are gone.
    #[error("{path} was deleted")]
    Gone { path: PathBuf },
}

/// Where the batches of a segment end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentEnd {
    pub next_offset: Offset,
    /// The size of the segment, unless something lies behind that is no whole batch.
    pub position: u32,
}

/// A batch that holds an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchPosition {
    pub last_offset: Offset,
    pub position: u32,
    pub size: u32,
}

/// A record that was found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundTimestamp {
    pub timestamp: Millis,
    pub offset: Offset,
    /// -1 where the batch has none.
    pub leader_epoch: crate::common::LeaderEpoch,
}

/// A batch of an append, as much of it as the indexes ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct AppendedBatch {
    pub size: u32,
    pub last_offset: Offset,
    pub max_timestamp: Millis,
}

#[derive(Debug)]
struct Stamps {
    /// Log bytes since the last index entry; counts from 0 after a restart.
    bytes_since_last_index_entry: u32,
    /// Largest timestamp, with the last offset of its batch. `None` until someone asks: then the time index knows.
    max_timestamp: Option<TimestampOffset>,
    /// Largest timestamp of the first batch: the segment's age counts from it. `None` until someone asks.
    first_batch_timestamp: Option<Millis>,
    created: Millis,
}

/// What an append brings, for the decision whether it needs a new segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct RollParams {
    pub now: Millis,
    pub bytes: u32,
    pub max_timestamp: Millis,
    pub last_offset: Offset,
}

#[derive(Debug)]
pub(super) struct Segment {
    files: Arc<SegmentFiles>,
    log: LazyFile,
    offset_index: OffsetIndex,
    time_index: TimeIndex,
    txn_index: TxnIndex,
    /// Bytes that count.
    size: AtomicU32,
    /// The file is longer than what counts.
    is_preallocated: AtomicBool,
    stamps: Mutex<Stamps>,
    roll_jitter_ms: Millis,
    pub(super) checked: Checked,
}

impl Segment {
    /// Takes over the files that are there, and makes those that are missing. Opens none that is there.
    pub(super) fn open(
        dir: &Arc<PartitionDir>,
        base_offset: Offset,
        config: &LogConfig,
        now: Millis,
    ) -> Result<Self, DiskError> {
        Self::of_files(Arc::new(SegmentFiles::new(dir, base_offset)), config, now)
    }

    /// A segment that compaction writes. Files of an earlier attempt must be gone.
    pub(super) fn create_cleaned(
        dir: &Arc<PartitionDir>,
        base_offset: Offset,
        config: &LogConfig,
        now: Millis,
    ) -> Result<Self, DiskError> {
        let files = Arc::new(SegmentFiles::cleaned(dir, base_offset));
        files.delete()?;
        Self::of_files(Arc::clone(&files), config, now).inspect_err(|_| drop(files.delete()))
    }

    fn of_files(files: Arc<SegmentFiles>, config: &LogConfig, now: Millis) -> Result<Self, DiskError> {
        let log = LazyFile::new(files.dir().files());
        let path = || files.path(LOG_SUFFIX);
        let (len, is_preallocated) = match files.len(LOG_SUFFIX).during_lazily("stat", path)? {
            Some(len) => (len, false),
            None => {
                let made = log.get(|| files.open_or_create(LOG_SUFFIX)).during_lazily("create segment", path)?;
                let preallocated = config.initial_file_size();
                if preallocated > 0 {
                    made.truncate(preallocated as u64).during_lazily("preallocate", path)?;
                }
                (0, preallocated > 0)
            }
        };
        let offset_index =
            OffsetIndex::open(&files).during_lazily("open offset index", || files.path(OFFSET_INDEX_SUFFIX))?;
        let time_index = TimeIndex::open(&files).during_lazily("open time index", || files.path(TIME_INDEX_SUFFIX))?;
        let txn_index =
            TxnIndex::open(&files).during_lazily("open transaction index", || files.path(TXN_INDEX_SUFFIX))?;
        let roll_jitter_ms = match config.segment_jitter_ms.min(config.segment_ms) {
            0 => 0,
            max => rand::random_range(0..max.max(1)),
        };
        Ok(Self {
            files,
            log,
            offset_index,
            time_index,
            txn_index,
            // A segment is below 2^31; what a file has beyond that is no data of any broker.
            size: AtomicU32::new(len.min(i32::MAX as u64) as u32),
            checked: Checked::of_found(len.min(i32::MAX as u64) as u32),
            is_preallocated: AtomicBool::new(is_preallocated),
            stamps: Mutex::new(Stamps {
                bytes_since_last_index_entry: 0,
                max_timestamp: None,
                first_batch_timestamp: None,
                created: now,
            }),
            roll_jitter_ms,
        })
    }

    pub(super) fn base_offset(&self) -> Offset {
        self.files.base_offset()
    }

    pub(super) fn size(&self) -> u32 {
        self.size.load(Ordering::Acquire)
    }

    /// Bytes of the entries of offset index and time index.
    pub(super) fn index_sizes(&self) -> (u64, u64) {
        (self.offset_index.size(), self.time_index.size())
    }

    /// Names and endings of the files.
    pub(super) fn files(&self) -> &SegmentFiles {
        &self.files
    }

    pub(super) fn file(&self) -> Result<Arc<DataFile>, SegmentError> {
        self.on("open", LOG_SUFFIX, self.log.get(|| self.files.open(LOG_SUFFIX)))
    }

    /// Says what was being done to which file. That the files of a deleted segment are gone is no fault of the disk.
    fn on<T>(&self, action: &'static str, suffix: &str, result: io::Result<T>) -> Result<T, SegmentError> {
        result.map_err(|e| self.disk_error(action, suffix, e))
    }

    fn disk_error(&self, action: &'static str, suffix: &str, error: io::Error) -> SegmentError {
        let path = self.path(suffix);
        match error.kind() {
            io::ErrorKind::NotFound if self.files.is_deleted() => SegmentError::Gone { path },
            _ => DiskError::new(action, &path, error).into(),
        }
    }

    pub(super) fn path(&self, suffix: &str) -> PathBuf {
        self.files.path(suffix)
    }

    pub(super) fn modified_ms(&self) -> Result<Millis, SegmentError> {
        self.on("stat", LOG_SUFFIX, self.files.modified_ms(LOG_SUFFIX))
    }

    fn fits(&self, offset: Offset) -> bool {
        (0..=i64::from(i32::MAX)).contains(&offset.saturating_sub(self.base_offset()))
    }

    pub(super) fn should_roll(&self, config: &LogConfig, append: &RollParams) -> Result<bool, SegmentError> {
        let size = self.size();
        if u64::from(size) + u64::from(append.bytes) > config.segment_bytes as u64 || !self.fits(append.last_offset) {
            return Ok(true);
        }
        let offset_slots = config.segment_index_bytes as u32 / OffsetIndex::ENTRY_SIZE as u32;
        let time_slots = config.segment_index_bytes as u32 / TimeIndex::ENTRY_SIZE as u32;
        // One slot of the time index is kept for the entry that closes the segment.
        if self.offset_index.entries() >= offset_slots || self.time_index.entries() + 1 >= time_slots {
            return Ok(true);
        }
        let waited = self.waited_for_roll(append.now, append.max_timestamp)?;
        Ok(size > 0 && waited > config.max_segment_ms() - self.roll_jitter_ms)
    }

    /// The age that `segment.ms` is compared with: by the records' own time when they have one.
    fn waited_for_roll(&self, now: Millis, timestamp: Millis) -> Result<Millis, SegmentError> {
        match self.first_batch_timestamp()? {
            Some(first) if first >= 0 => Ok(timestamp.saturating_sub(first)),
            _ => Ok(now.saturating_sub(self.stamps.lock().created)),
        }
    }

    /// Largest timestamp of the first batch; `None` for an empty segment.
    pub(super) fn first_batch_timestamp(&self) -> Result<Option<Millis>, SegmentError> {
        if let Some(known) = self.stamps.lock().first_batch_timestamp {
            return Ok(Some(known));
        }
        let first = self.scan(self.heads(0)?.next_head())?;
        let mut stamps = self.stamps.lock();
        stamps.first_batch_timestamp = first.map(|head| head.max_timestamp);
        Ok(stamps.first_batch_timestamp)
    }

    /// Writes entries at the end, `batches` one by one, then the index entries that are due: one after each
    /// `index_interval_bytes` or more. The caller has checked that everything fits.
    pub(super) fn append(
        &self,
        pieces: &mut [IoSlice<'_>],
        batches: &[AppendedBatch],
        index_interval_bytes: u32,
    ) -> Result<(), SegmentError> {
        let start = self.size();
        if let Some(last) = batches.last().filter(|last| !self.fits(last.last_offset)) {
            return Err(SegmentError::OffsetOverflow { path: self.path(LOG_SUFFIX), offset: last.last_offset });
        }
        let mut largest = self.max_timestamp()?;
        let log = self.file()?;
        if let Err(e) = log.write_all_at(pieces, u64::from(start)) {
            // Part of it may be there: no one may take that for a batch. If even this fails recovery cuts it.
            if !self.is_preallocated.load(Ordering::Relaxed) {
                drop(log.truncate(u64::from(start)));
            }
            return Err(DiskError::new("append to", &self.path(LOG_SUFFIX), e).into());
        }
        let mut position = start;
        let mut since_last_entry = self.stamps.lock().bytes_since_last_index_entry;
        for batch in batches {
            if batch.max_timestamp > largest.timestamp {
                largest = TimestampOffset { timestamp: batch.max_timestamp, offset: batch.last_offset };
            }
            if since_last_entry > index_interval_bytes {
                self.index(self.offset_index.append(batch.last_offset, position), OFFSET_INDEX_SUFFIX)?;
                self.index(self.time_index.maybe_append(largest.timestamp, largest.offset), TIME_INDEX_SUFFIX)?;
                since_last_entry = 0;
            }
            since_last_entry = since_last_entry.saturating_add(batch.size);
            position += batch.size;
        }
        let mut stamps = self.stamps.lock();
        if start == 0 {
            stamps.first_batch_timestamp = batches.first().map(|first| first.max_timestamp);
        }
        stamps.max_timestamp = Some(largest);
        stamps.bytes_since_last_index_entry = since_last_entry;
        drop(stamps);
        self.size.store(position, Ordering::Release);
        Ok(())
    }

    pub(super) fn append_aborted(&self, txn: &AbortedTxn) -> Result<(), SegmentError> {
        self.txn(self.txn_index.append(txn))
    }

    /// Largest timestamp with the last offset of its batch; (-1, base offset) without timestamps.
    pub(super) fn max_timestamp(&self) -> Result<TimestampOffset, SegmentError> {
        if let Some(known) = self.stamps.lock().max_timestamp {
            return Ok(known);
        }
        let indexed = self.on("read", TIME_INDEX_SUFFIX, self.time_index.last_entry())?;
        Ok(*self.stamps.lock().max_timestamp.get_or_insert(indexed))
    }

    /// The time that retention counts from: the largest timestamp, else the file's last change.
    pub(super) fn largest_timestamp(&self) -> Result<Millis, SegmentError> {
        match self.max_timestamp()?.timestamp {
            timestamp if timestamp >= 0 => Ok(timestamp),
            _ => self.modified_ms(),
        }
    }

    /// The first batch that ends at or after `offset`, and where it lies.
    pub(super) fn translate(&self, offset: Offset) -> Result<Option<BatchPosition>, SegmentError> {
        let from = self.lookup(offset)?.position;
        let mut scan = self.heads(from)?;
        while let Some(head) = self.scan(scan.next_head())? {
            if head.last_offset >= offset {
                let EntryHead { last_offset, position, size, .. } = head;
                return Ok(Some(BatchPosition { last_offset, position, size }));
            }
        }
        // Not where someone has cut it meanwhile.
        if scan.position() < self.size() {
            let source = RecordError::Corrupt(format!("No entry begins at position {}", scan.position()));
            return Err(SegmentError::Corrupt { path: self.path(LOG_SUFFIX), source });
        }
        Ok(None)
    }

    fn lookup(&self, offset: Offset) -> Result<OffsetPosition, SegmentError> {
        self.on("read", OFFSET_INDEX_SUFFIX, self.offset_index.lookup(offset))
    }

    /// Where a batch begins that is not behind the one with `offset`.
    pub(super) fn position_before(&self, offset: Offset) -> Result<u32, SegmentError> {
        Ok(self.lookup(offset)?.position)
    }

    /// The first indexed offset that lies behind `position`.
    pub(super) fn first_offset_from(&self, position: u64) -> Result<Option<Offset>, SegmentError> {
        let found = self.offset_index.first_from_position(position);
        Ok(self.on("read", OFFSET_INDEX_SUFFIX, found)?.map(|entry| entry.offset))
    }

    /// Headers from the start of a batch on.
    pub(super) fn heads(&self, position: u32) -> Result<HeadScan, SegmentError> {
        Ok(HeadScan::new(self.file()?, position, self.size()))
    }

    /// Headers up to a position.
    pub(super) fn heads_until(&self, position: u32, end: u32) -> Result<HeadScan, SegmentError> {
        Ok(HeadScan::new(self.file()?, position, end.min(self.size())))
    }

    pub(super) fn check_scan(&self) -> Result<CheckScan, SegmentError> {
        Ok(CheckScan::new(self.file()?, 0, self.size()))
    }

    /// Checks the whole entries of a range that begins with one, and remembers them. Where those end that are in order, and
    /// why the next is not. Reads all of it.
    pub(super) fn check(&self, from: u32, to: u32) -> Result<(u32, Option<RecordError>), SegmentError> {
        let mut scan = CheckScan::new(self.file()?, from, to.min(self.size()));
        let (mut valid, mut last) = (from, self.base_offset() - 1);
        let why = loop {
            match scan.next_entry() {
                // No checksum covers an entry's offset.
                Ok(Some(head)) if head.base_offset <= last || !self.fits(head.last_offset) => {
                    break Some(RecordError::Corrupt(format!("Offset {} cannot be here", head.base_offset)));
                }
                Ok(Some(head)) => (valid, last) = (scan.valid_bytes(), head.last_offset),
                Ok(None) => break None,
                Err(ScanError::Corrupt(why)) => break Some(why),
                Err(error @ ScanError::Io(_)) => return Err(self.scan_error(error)),
            }
        };
        self.checked.add(from, valid);
        Ok((valid, why))
    }

    /// The offset after the last batch. Reads the log from the last index entry on.
    pub(super) fn read_next_offset(&self) -> Result<Offset, SegmentError> {
        Ok(self.end_from(self.last_indexed()?.position)?.next_offset)
    }

    /// The last entry of the offset index, or the start of the segment.
    pub(super) fn last_indexed(&self) -> Result<OffsetPosition, SegmentError> {
        self.lookup(self.on("read", OFFSET_INDEX_SUFFIX, self.offset_index.last_offset())?)
    }

    /// Where the batches end that follow from a position on.
    pub(super) fn end_from(&self, position: u32) -> Result<SegmentEnd, SegmentError> {
        let mut scan = self.heads(position)?;
        let mut next_offset = self.base_offset();
        while let Some(head) = self.scan(scan.next_head())? {
            next_offset = head.last_offset.saturating_add(1);
        }
        Ok(SegmentEnd { next_offset, position: scan.position() })
    }

    /// Whether the last entries of offset index and time index can be of a log that ends at `next_offset`.
    pub(super) fn indexes_end_below(&self, next_offset: Offset) -> Result<bool, SegmentError> {
        let by_offset = self.on("read", OFFSET_INDEX_SUFFIX, self.offset_index.last_offset())?;
        let by_time = self.on("read", TIME_INDEX_SUFFIX, self.time_index.last_entry())?.offset;
        let possible = self.base_offset()..next_offset.max(self.base_offset() + 1);
        Ok(possible.contains(&by_offset) && possible.contains(&by_time))
    }

    /// The first record at or after `target`, and at or after `from`.
    pub(super) fn find_by_timestamp(
        &self,
        target: Millis,
        from: Offset,
    ) -> Result<Option<FoundTimestamp>, SegmentError> {
        let indexed = self.on("read", TIME_INDEX_SUFFIX, self.time_index.lookup(target))?;
        let mut scan = self.heads(self.lookup(indexed.offset.max(from))?.position)?;
        while let Some(head) = self.scan(scan.next_head())? {
            if head.max_timestamp >= target
                && let Some(found) =
                    self.find_in_batch(&head, |timestamp, offset| timestamp >= target && offset >= from)?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The first record with the segment's largest timestamp.
    pub(super) fn find_max_timestamp(&self) -> Result<Option<FoundTimestamp>, SegmentError> {
        let max = self.max_timestamp()?;
        let mut scan = self.heads(self.lookup(max.offset)?.position)?;
        while let Some(head) = self.scan(scan.next_head())? {
            if head.max_timestamp == max.timestamp {
                return self.find_in_batch(&head, |timestamp, _| timestamp == max.timestamp);
            }
        }
        Ok(None)
    }

    fn find_in_batch(
        &self,
        head: &EntryHead,
        wanted: impl Fn(Millis, Offset) -> bool,
    ) -> Result<Option<FoundTimestamp>, SegmentError> {
        let found = |timestamp, offset| FoundTimestamp { timestamp, offset, leader_epoch: head.partition_leader_epoch };
        if head.size > SEARCHED_BATCH_MAX {
            return Ok(Some(found(head.max_timestamp, head.last_offset)));
        }
        let mut bytes = vec![0; head.size as usize];
        let got = self.on("read", LOG_SUFFIX, self.file()?.read_at(&mut bytes, u64::from(head.position)))?;
        let corrupt = |source| SegmentError::Corrupt { path: self.path(LOG_SUFFIX), source };
        let Some(batch) = Batch::first(&bytes[..got]).map_err(corrupt)? else { return Ok(None) };
        let mut records = crate::record::records(&batch).map_err(corrupt)?;
        while let Some(record) = records.next_record().map_err(corrupt)? {
            if wanted(record.timestamp, record.offset) {
                return Ok(Some(found(record.timestamp, record.offset)));
            }
        }
        Ok(None)
    }

    pub(super) fn collect_aborted(&self, from: Offset, upper: Offset) -> Result<AbortedTxnSearch, SegmentError> {
        self.txn(self.txn_index.collect(from, upper))
    }

    /// A transaction index that cannot be right means that the segment must be recovered. `next_base`: where the segment
    /// ends at the latest.
    pub(super) fn check_txn_index(&self, next_base: Offset) -> Result<(), SegmentError> {
        self.txn(self.txn_index.sanity_check(self.base_offset()..next_base))
    }

    pub(super) fn reset_indexes(&self) -> Result<(), SegmentError> {
        self.on("reset", TXN_INDEX_SUFFIX, self.txn_index.reset())?;
        self.reset_position_indexes()
    }

    /// Empties the indexes by offset and time.
    pub(super) fn reset_position_indexes(&self) -> Result<(), SegmentError> {
        self.on("reset", OFFSET_INDEX_SUFFIX, self.offset_index.reset())?;
        self.on("reset", TIME_INDEX_SUFFIX, self.time_index.reset())?;
        self.stamps.lock().max_timestamp =
            Some(TimestampOffset { timestamp: NO_TIMESTAMP, offset: self.base_offset() });
        Ok(())
    }

    /// Notes a batch that recovery has read, and indexes it when `is_due`.
    pub(super) fn reindex(&self, head: &EntryHead, is_due: bool) -> Result<(), SegmentError> {
        if !self.fits(head.last_offset) {
            return Err(SegmentError::OffsetOverflow { path: self.path(LOG_SUFFIX), offset: head.last_offset });
        }
        let mut largest = self.max_timestamp()?;
        if head.max_timestamp > largest.timestamp {
            largest = TimestampOffset { timestamp: head.max_timestamp, offset: head.last_offset };
            self.stamps.lock().max_timestamp = Some(largest);
        }
        if is_due {
            self.index(self.offset_index.append(head.last_offset, head.position), OFFSET_INDEX_SUFFIX)?;
            self.index(self.time_index.maybe_append(largest.timestamp, largest.offset), TIME_INDEX_SUFFIX)?;
        }
        Ok(())
    }

    /// Cuts the log, and nothing of the indexes.
    pub(super) fn cut(&self, len: u32) -> Result<(), SegmentError> {
        self.size.store(len, Ordering::Release);
        self.is_preallocated.store(false, Ordering::Relaxed);
        if self.on("stat", LOG_SUFFIX, self.files.len(LOG_SUFFIX))? != Some(u64::from(len)) {
            self.on("truncate", LOG_SUFFIX, self.file()?.truncate(u64::from(len)))?;
        }
        Ok(())
    }

    /// Removes all batches that end at or after `offset`. Returns the bytes that are gone.
    pub(super) fn truncate_to(&self, offset: Offset, now: Millis) -> Result<u32, SegmentError> {
        let found = self.translate(offset)?;
        self.on("truncate", OFFSET_INDEX_SUFFIX, self.offset_index.truncate_to(offset))?;
        self.on("truncate", TIME_INDEX_SUFFIX, self.time_index.truncate_to(offset))?;
        self.txn(self.txn_index.truncate_to(offset))?;
        let size = self.size();
        let keep = found.map_or(size, |batch| batch.position);
        self.cut(keep)?;
        {
            let mut stamps = self.stamps.lock();
            if keep == 0 {
                stamps.created = now;
                stamps.first_batch_timestamp = None;
            }
            stamps.bytes_since_last_index_entry = 0;
        }
        if self.max_timestamp()?.timestamp >= 0 {
            let largest = self.read_max_timestamp()?;
            self.stamps.lock().max_timestamp = Some(largest);
        }
        Ok(size - keep)
    }

    /// The time index's last entry, or something larger behind it.
    fn read_max_timestamp(&self) -> Result<TimestampOffset, SegmentError> {
        let mut largest = self.on("read", TIME_INDEX_SUFFIX, self.time_index.last_entry())?;
        let mut scan = self.heads(self.lookup(largest.offset)?.position)?;
        while let Some(head) = self.scan(scan.next_head())? {
            if head.max_timestamp > largest.timestamp {
                largest = TimestampOffset { timestamp: head.max_timestamp, offset: head.last_offset };
            }
        }
        Ok(largest)
    }

    /// Closes the books when the next segment begins or the log stops: the last time index entry, exact file lengths.
    pub(super) fn seal(&self) -> Result<(), SegmentError> {
        let known = self.stamps.lock().max_timestamp;
        if let Some(largest) = known {
            self.index(self.time_index.maybe_append(largest.timestamp, largest.offset), TIME_INDEX_SUFFIX)?;
        }
        if self.is_preallocated.load(Ordering::Relaxed) {
            self.cut(self.size())?;
        }
        self.on("trim", OFFSET_INDEX_SUFFIX, self.offset_index.seal())?;
        self.on("trim", TIME_INDEX_SUFFIX, self.time_index.seal())
    }

    /// Writes index entries that are only in memory.
    pub(super) fn write_indexes(&self) -> Result<(), SegmentError> {
        self.on("write", OFFSET_INDEX_SUFFIX, self.offset_index.write())?;
        self.on("write", TIME_INDEX_SUFFIX, self.time_index.write())?;
        self.txn(self.txn_index.write())
    }

    /// Waits until all that is in the files of log and indexes is on the disk.
    pub(super) fn sync(&self) -> Result<(), SegmentError> {
        self.on("sync", LOG_SUFFIX, self.file()?.sync())?;
        self.on("sync", OFFSET_INDEX_SUFFIX, self.offset_index.sync())?;
        self.on("sync", TIME_INDEX_SUFFIX, self.time_index.sync())?;
        self.on("sync", TXN_INDEX_SUFFIX, self.txn_index.sync())
    }

    fn scan<T>(&self, result: Result<T, ScanError>) -> Result<T, SegmentError> {
        result.map_err(|e| self.scan_error(e))
    }

    pub(super) fn scan_error(&self, error: ScanError) -> SegmentError {
        match error {
            ScanError::Io(e) => self.disk_error("read", LOG_SUFFIX, e),
            ScanError::Corrupt(source) => SegmentError::Corrupt { path: self.path(LOG_SUFFIX), source },
        }
    }

    fn index(&self, result: Result<(), IndexError>, suffix: &str) -> Result<(), SegmentError> {
        result.map_err(|e| match e {
            IndexError::Io(e) => self.disk_error("append to", suffix, e),
            IndexError::NotIncreasing { offset, .. } => SegmentError::OffsetsGoBack { path: self.path(suffix), offset },
        })
    }

    fn txn<T>(&self, result: Result<T, TxnIndexError>) -> Result<T, SegmentError> {
        result.map_err(|e| match e {
            TxnIndexError::Io(e) => self.disk_error("use", TXN_INDEX_SUFFIX, e),
            TxnIndexError::Corrupt(why) => SegmentError::CorruptTxnIndex { path: self.path(TXN_INDEX_SUFFIX), why },
        })
    }
}
