//! Owns one partition's log. Kafka: `UnifiedLog`, `LocalLog`. Appending is in [`super::append`], reading in [`super::read`].
//!
//! ```text
//! tail lock      one at a time: append, roll, truncate, delete, close. Held while bytes go to the page cache.
//! marks lock     the offsets and where they lie. Held for a copy, never during disk work: what readers take.
//! segment list   an Arc that is swapped; a reader goes on with the list it has.
//! ```
//!
//! The tail lock is taken first, the others inside it and never together. Absent on purpose: clocks, threads,
//! replication. The caller passes `now`, later work goes to the [`Scheduler`], and replication moves the high watermark.

use super::checkpoint;
use super::cleaner::gate::LogCleaning;
use super::epoch_cache::{EpochEndOffset, EpochEntry};
use super::loading::{LoadError, LoadLimits};
use super::log_dir::{DirError, LogDir, reported, unless_full};
use super::marks::{LogOffsets, Marks, OffsetMetadata};
use super::partition_dir::PartitionDir;
use super::producer_snapshots::ProducerSnapshots;
use super::producer_state::{ProducerEntry, ProducerStateConfig, VerificationGuard};
use super::recovery::{self, LoadParams, Rebuild};
use super::retention::{self, Reason, SegmentFacts};
use super::scheduler::Scheduler;
use super::segment::{RollParams, Segment, SegmentError};
use super::segment_files::{DELETED_SUFFIX, LOG_SUFFIX, SegmentFiles};
use super::segments::Segments;
use super::small_files::SmallFiles;
use crate::common::Uuid;
use crate::common::ids::{LeaderEpoch, Millis, Offset, TopicPartition};
use crate::config::topic::LogConfig;
use crate::disk::{self, DiskError, During};
use crate::util::lock::{self, Rank};
use crate::util::rate_limit::RateLimit;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tracing::{debug, error, info, warn};

/// Clients that ask for what is damaged ask again and again.
static DAMAGE_TOLD: RateLimit = RateLimit::every(Duration::from_secs(10));

/// Why the log start offset cannot move.
#[derive(Debug, thiserror::Error)]
pub enum LogStartError {
    #[error(
        "cannot increment the log start offset to {requested}, it is larger than the high watermark {high_watermark}"
    )]
    AboveHighWatermark { requested: Offset, high_watermark: Offset },
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// A topic id that is not the one in the partition's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tried to assign topic id {requested} but the log already contains topic id {current}")]
pub struct InconsistentTopicId {
    pub current: Uuid,
    pub requested: Uuid,
}

/// What a log is opened with.
#[derive(Clone, Debug)]
pub struct LogOptions {
    pub config: Arc<LogConfig>,
    pub producer_config: ProducerStateConfig,
    /// From the directory's checkpoint, 0 without an entry.
    pub log_start: Offset,
    /// From the directory's checkpoint, 0 without an entry.
    pub recovery_point: Offset,
    pub had_clean_shutdown: bool,
    pub topic_id: Option<Uuid>,
    pub limits: LoadLimits,
}

/// State behind the tail lock.
#[derive(Debug)]
pub(super) struct Tail {
    pub producers: ProducerSnapshots,
    /// Records since the last flush, for `flush.messages`.
    pub unflushed: i64,
    /// No more appends: the log is closed or on its way to be deleted.
    is_closed: bool,
    /// A truncation has met a full disk half-way: it is completed before anything is appended.
    is_half_cut: bool,
}

/// See the module's page.
#[derive(Debug)]
pub struct UnifiedLog {
    me: Weak<Self>,
    topic_partition: TopicPartition,
    log_dir: Arc<LogDir>,
    pub(super) dir: Arc<PartitionDir>,
    config: ArcSwap<LogConfig>,
    pub(super) segments: ArcSwap<Segments>,
    pub(super) marks: Mutex<Marks>,
    /// With the leader epochs and the topic id.
    pub(super) small_files: Arc<SmallFiles>,
    tail: lock::Mutex<Tail>,
    recovery_point: AtomicI64,
    last_flush_ms: AtomicI64,
    pub(super) cleaning: LogCleaning,
}

impl UnifiedLog {
    /// Opens the log in `dir`, which is made if it is not there. Brings it to what a clean stop would have left; reads
    /// records only after a crash.
    pub fn open(
        dir: &Path,
        topic_partition: TopicPartition,
        log_dir: Arc<LogDir>,
        options: LogOptions,
        now: Millis,
    ) -> Result<Arc<Self>, LoadError> {
        let is_new = disk::create_dir(dir).during("create", dir)?;
        let partition_dir = Arc::new(PartitionDir::new(dir, log_dir.files()));
        let loaded = recovery::load(&LoadParams {
            topic_partition: &topic_partition,
            dir: &partition_dir,
            is_new,
            config: &options.config,
            had_clean_shutdown: options.had_clean_shutdown,
            log_start: options.log_start,
            recovery_point: options.recovery_point,
            producer_config: options.producer_config,
            limits: &options.limits,
            now,
        })?;
        let on_disk = if is_new { None } else { checkpoint::read_partition_metadata(dir)? };
        if let (Some(current), Some(requested)) = (on_disk, options.topic_id)
            && current != requested
        {
            return Err(LoadError::Damaged(InconsistentTopicId { current, requested }.to_string()));
        }
        let log_end = end_of(&loaded.segments, loaded.log_end);
        let marks = Marks {
            log_start: loaded.log_start,
            high_watermark: OffsetMetadata::offset_only(loaded.log_start),
            first_unstable: None,
            log_end,
            is_replaced: false,
        };
        let topic_id = on_disk.or(options.topic_id);
        let small_files = SmallFiles::new(&partition_dir, topic_id, loaded.epochs, is_new);
        let log = Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            topic_partition,
            log_dir,
            dir: partition_dir,
            config: ArcSwap::new(options.config),
            segments: ArcSwap::from_pointee(loaded.segments),
            marks: Mutex::new(marks),
            small_files: Arc::new(small_files),
            tail: lock::Mutex::new(
                Rank::LogTail,
                Tail { producers: loaded.producers, unflushed: 0, is_closed: false, is_half_cut: false },
            ),
            recovery_point: AtomicI64::new(loaded.recovery_point.max(loaded.log_start)),
            last_flush_ms: AtomicI64::new(now),
            cleaning: LogCleaning::default(),
        });
        log.update_first_unstable(&log.tail.lock());
        if loaded.epochs_are_stale {
            log.epochs_changed();
        }
        if on_disk.is_none() && options.topic_id.is_some() {
            log.topic_id_changed();
        }
        Ok(log)
    }

    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub fn log_dir(&self) -> &Arc<LogDir> {
        &self.log_dir
    }

    /// The partition's own directory; it changes when the log is deleted.
    pub fn dir(&self) -> Arc<Path> {
        self.dir.path()
    }

    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Takes over other settings. True when the log is not compacted any more: the cleaner may still be at it.
    pub(super) fn swap_config(&self, config: Arc<LogConfig>) -> bool {
        let is_compacted = config.compact;
        self.config.swap(config).compact && !is_compacted
    }

    pub fn topic_id(&self) -> Option<Uuid> {
        *self.small_files.topic_id.lock()
    }

    /// Gives the log its topic id; it must be the one it has.
    pub fn assign_topic_id(&self, id: Uuid) -> Result<(), InconsistentTopicId> {
        match *self.small_files.topic_id.lock() {
            Some(current) if current != id => return Err(InconsistentTopicId { current, requested: id }),
            Some(_) => return Ok(()),
            ref mut unknown => *unknown = Some(id),
        }
        self.topic_id_changed();
        Ok(())
    }

    /// All offsets at one moment. Places may be unknown; [`Self::offsets_with_places`] looks them up.
    pub fn offsets(&self) -> LogOffsets {
        self.marks.lock().offsets()
    }

    pub fn log_start_offset(&self) -> Offset {
        self.marks.lock().log_start
    }

    pub fn log_end_offset(&self) -> Offset {
        self.marks.lock().log_end.offset
    }

    pub fn log_end(&self) -> OffsetMetadata {
        self.marks.lock().log_end
    }

    /// The log's end once every append that is under way is done.
    pub fn settled_end(&self) -> OffsetMetadata {
        let _tail = self.tail.lock();
        self.log_end()
    }

    pub fn high_watermark(&self) -> Offset {
        self.marks.lock().high_watermark.offset
    }

    pub fn last_stable_offset(&self) -> Offset {
        self.offsets().last_stable.offset
    }

    pub fn recovery_point(&self) -> Offset {
        self.recovery_point.load(Ordering::Acquire)
    }

    pub fn last_flush_ms(&self) -> Millis {
        self.last_flush_ms.load(Ordering::Relaxed)
    }

    /// Bytes of all segments' `.log` files.
    pub fn size(&self) -> u64 {
        self.segments.load().size_in_bytes()
    }

    pub fn segment_count(&self) -> usize {
        self.segments.load().as_slice().len()
    }

    /// Base offset of the segment that is appended to.
    pub fn active_segment_base(&self) -> Offset {
        self.segments.load().active().map_or(0, |s| s.base_offset())
    }

    /// The first offset that compaction has not seen, for the directory's checkpoint.
    pub fn cleaner_checkpoint(&self) -> Option<Offset> {
        self.cleaning.checkpoint()
    }

    pub(super) fn set_cleaner_checkpoint(&self, offset: Option<Offset>) {
        if self.cleaning.set_checkpoint(offset) {
            self.log_dir.set_cleaner_checkpoint_stale(true);
        }
    }

    /// Base offset of the first segment: log start offsets above it are worth a checkpoint.
    pub fn first_segment_base(&self) -> Offset {
        self.segments.load().first().map_or(0, |s| s.base_offset())
    }

    // ---- high watermark

    /// Sets the high watermark, clamped to what the log has: when the log is loaded, and on a follower. Returns it.
    pub fn update_high_watermark(&self, high_watermark: Offset) -> Offset {
        let tail = self.tail.lock();
        let set = {
            let mut marks = self.marks.lock();
            if marks.is_replaced {
                return marks.high_watermark.offset;
            }
            marks.high_watermark = if high_watermark < marks.log_start {
                OffsetMetadata::offset_only(marks.log_start)
            } else if high_watermark >= marks.log_end.offset {
                marks.log_end
            } else if high_watermark == marks.high_watermark.offset {
                marks.high_watermark
            } else {
                OffsetMetadata::offset_only(high_watermark)
            };
            marks.high_watermark.offset
        };
        self.after_high_watermark(tail, set);
        set
    }

    /// Raises the high watermark on a leader; never beyond the log's end. `Some(old)` when it rose, or when the same offset
    /// now lies in a newer segment.
    pub fn maybe_increment_high_watermark(&self, to: OffsetMetadata) -> Option<OffsetMetadata> {
        let (old, new) = {
            let mut marks = self.marks.lock();
            if marks.is_replaced {
                drop(marks);
                // Who comes back from here finds the log that has taken this one's place.
                drop(self.tail.lock());
                return None;
            }
            let old = marks.high_watermark;
            let to = if to.offset >= marks.log_end.offset { marks.log_end } else { to };
            let is_on_newer_segment =
                matches!((old.place, to.place), (Some((a, _)), Some((b, _))) if a < b) && old.offset == to.offset;
            if to.offset <= old.offset && !is_on_newer_segment {
                return None;
            }
            marks.high_watermark = to;
            (old, to.offset)
        };
        // Without transactions nothing else depends on it, and the tail may be busy with a slow disk.
        let is_stable = self.marks.lock().first_unstable.is_none();
        if !is_stable {
            self.after_high_watermark(self.tail.lock(), new);
        }
        Some(old)
    }

    fn after_high_watermark(&self, mut tail: lock::MutexGuard<'_, Tail>, high_watermark: Offset) {
        if tail.producers.state.has_unreplicated() {
            tail.producers.state.on_high_watermark(high_watermark);
            self.update_first_unstable(&tail);
        }
    }

    pub(super) fn update_first_unstable(&self, tail: &Tail) {
        let unstable = tail.producers.state.first_unstable_offset();
        self.marks.lock().set_first_unstable(unstable);
    }

    // ---- leader epochs

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.small_files.epochs.read().latest().map(|entry| entry.epoch)
    }

    pub fn epoch_entries(&self) -> Vec<EpochEntry> {
        self.small_files.epochs.read().entries().to_vec()
    }

    pub fn earliest_epoch(&self) -> Option<EpochEntry> {
        self.small_files.epochs.read().earliest()
    }

    pub fn epoch_for_offset(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.small_files.epochs.read().epoch_for_offset(offset)
    }

    /// `None` is the wire's (-1, -1).
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<EpochEndOffset> {
        let log_end = self.log_end_offset();
        self.small_files.epochs.read().end_offset_for(epoch, log_end)
    }

    /// Notes that an epoch starts here: a new leader does this before it appends.
    pub fn assign_epoch_start(&self, epoch: LeaderEpoch, start: Offset) {
        let _tail = self.tail.lock();
        self.assign_epoch(epoch, start);
    }

    /// The tail lock is held.
    pub(super) fn assign_epoch(&self, epoch: LeaderEpoch, start: Offset) {
        if self.small_files.epochs.read().latest().is_some_and(|last| last.epoch == epoch && start >= last.start_offset)
        {
            return;
        }
        let changed = self.small_files.epochs.write().assign(epoch, start);
        if changed {
            self.epochs_changed();
        }
    }

    // ---- producers

    /// Producers with their state: what DescribeProducers shows.
    pub fn active_producers(&self) -> BTreeMap<i64, ProducerEntry> {
        self.tail.lock().producers.state.producers().clone()
    }

    /// Before a transaction's first append is verified with its coordinator. `None` when it is open already.
    pub fn start_transaction_verification(
        &self,
        producer_id: i64,
        sequence: i32,
        epoch: i16,
        now: Millis,
    ) -> Option<VerificationGuard> {
        self.tail.lock().producers.state.start_verification(producer_id, sequence, epoch, now)
    }

    pub fn has_ongoing_transaction(&self, producer_id: i64) -> bool {
        self.tail.lock().producers.state.has_ongoing_transaction(producer_id)
    }

    /// Forgets producers that were idle for `producer.id.expiration.ms`. Kafka looks every
    /// `producer.id.expiration.check.interval.ms`.
    pub fn remove_expired_producers(&self, now: Millis) {
        self.tail.lock().producers.state.remove_expired(now);
    }

    // ---- segments

    pub(super) fn lock_tail(&self) -> Result<lock::MutexGuard<'_, Tail>, DirError> {
        self.open_tail(lock::Mutex::lock)
    }

    /// As [`Self::lock_tail`], and the tail of the log that takes this one's place may be locked meanwhile.
    pub(super) fn lock_former_tail(&self) -> Result<lock::MutexGuard<'_, Tail>, DirError> {
        self.open_tail(|tail| tail.lock_as(Rank::FormerLogTail))
    }

    fn open_tail<'a>(
        &'a self,
        lock: impl FnOnce(&'a lock::Mutex<Tail>) -> lock::MutexGuard<'a, Tail>,
    ) -> Result<lock::MutexGuard<'a, Tail>, DirError> {
        self.log_dir.check()?;
        let tail = lock(&self.tail);
        if tail.is_closed { Err(DirError::Offline(self.log_dir.path().to_owned())) } else { Ok(tail) }
    }

    /// Passes a result on. An error of the device takes the directory offline; what the files of this log say, or that it
    /// was deleted meanwhile, does not.
    pub(super) fn guard<T>(&self, result: Result<T, SegmentError>) -> Result<T, DirError> {
        result.map_err(|e| match e {
            SegmentError::Disk(e) => self.judge(e),
            SegmentError::Gone { path } => DirError::Gone(path),
            damage => self.damaged(damage.to_string()),
        })
    }

    /// As [`Self::guard`] for files that belong to no segment.
    pub(super) fn guard_disk<T>(&self, result: Result<T, DiskError>) -> Result<T, DirError> {
        result.map_err(|e| self.judge(e))
    }

    /// What an error of a file of this log means.
    pub(super) fn judge(&self, error: DiskError) -> DirError {
        if error.kind() == std::io::ErrorKind::NotFound && self.dir.is_deleted() {
            return DirError::Gone(error.path().to_owned());
        }
        match self.log_dir.judge(error) {
            DirError::Damaged(why) => self.damaged(why),
            other => other,
        }
    }

    fn damaged(&self, why: String) -> DirError {
        if let Some(left_out) = DAMAGE_TOLD.permit() {
            error!(tp = %self.topic_partition, dir = %self.dir().display(), why, left_out, "log is damaged");
        }
        DirError::Damaged(why)
    }

    /// As [`Self::guard`] for what waits for the disk: when it has no room then, what was written may be lost. Segments
    /// that were deleted meanwhile need not be there.
    fn guard_sync(&self, result: Result<(), SegmentError>) -> Result<(), DirError> {
        match result {
            Err(SegmentError::Disk(e)) => Err(self.log_dir.fail(e)),
            Err(SegmentError::Gone { .. }) => Ok(()),
            other => self.guard(other),
        }
    }

    /// The segment for an append; a new one when it does not fit the active one.
    pub(super) fn segment_for(
        &self,
        tail: &mut Tail,
        first_offset: Option<Offset>,
        append: &RollParams,
    ) -> Result<Arc<Segment>, DirError> {
        let active = self.active();
        let config = self.config.load();
        let is_due = match active.should_roll(&config, append) {
            // Its first batch cannot be read. Kafka refuses every append from then on; behind damage the next recovery
            // would cut them.
            Err(SegmentError::Corrupt { path, source }) => {
                warn!(tp = %self.topic_partition, path = %path.display(), %source, "segment is damaged, appends go to a new one");
                true
            }
            known => self.guard(known)?,
        };
        if !is_due {
            return Ok(active);
        }
        debug!(tp = %self.topic_partition, size = active.size(), "rolling new log segment");
        // Old formats do not carry the first offset; it is at most 2^31 below the last one.
        let base = first_offset.unwrap_or_else(|| append.last_offset - i64::from(i32::MAX));
        self.roll_to(tail, base, append.now)
    }

    fn active(&self) -> Arc<Segment> {
        let segments = self.segments.load();
        Arc::clone(segments.active().expect("a loaded log has a segment, and every change leaves one"))
    }

    /// Begins a new segment at the log's end.
    pub fn roll(&self, now: Millis) -> Result<(), DirError> {
        let mut tail = self.lock_tail()?;
        self.roll_to(&mut tail, 0, now).map(drop)
    }

    fn roll_to(&self, tail: &mut Tail, wanted_base: Offset, now: Millis) -> Result<Arc<Segment>, DirError> {
        let log_end = self.log_end_offset();
        let base = wanted_base.max(log_end);
        let active = self.active();
        if active.base_offset() == base {
            // An empty segment whose index was full, or whose time is over: it can be used as it is.
            return Ok(active);
        }
        // The new one first: without room for it everything stays as it is.
        let segment = Arc::new(self.guard_disk(self.create_segment(base, now))?);
        unless_full(self.guard(active.seal()))?;
        self.segments.store(Arc::new(self.segments.load().with(Arc::clone(&segment))));
        {
            let mut marks = self.marks.lock();
            marks.log_end = OffsetMetadata { offset: log_end, place: Some((base, 0)) };
            if marks.high_watermark.offset >= log_end {
                marks.high_watermark = marks.log_end;
            }
        }
        tail.producers.state.set_map_end_offset(base);
        unless_full(self.guard_disk(tail.producers.take()))?;
        info!("[UnifiedLog partition={}] Rolled new log segment at offset {base}", self.topic_partition);
        let me = Weak::clone(&self.me);
        self.scheduler().schedule_in(0, move || {
            if let Some(log) = me.upgrade() {
                // The directory reports a failure.
                reported(log.flush_until(base, now));
            }
        });
        Ok(segment)
    }

    /// Files of that name are leftovers.
    fn create_segment(&self, base: Offset, now: Millis) -> Result<Segment, DiskError> {
        let leftovers = SegmentFiles::new(&self.dir, base);
        if leftovers.len(LOG_SUFFIX).during_lazily("stat", || leftovers.path(LOG_SUFFIX))?.is_some() {
            warn!(path = %leftovers.path(LOG_SUFFIX).display(), "newly rolled segment file already existed; deleted it first");
        }
        leftovers.delete()?;
        Segment::open(&self.dir, base, &self.config.load(), now).inspect_err(|_| drop(leftovers.delete()))
    }

    // ---- flush

    /// Waits until everything that was appended is on the disk, and moves the recovery point. On the blocking pool.
    pub fn flush(&self, now: Millis) -> Result<(), DirError> {
        self.flush_until(self.log_end_offset(), now)
    }

    /// As [`Self::flush`] for what lies before `offset`.
    fn flush_until(&self, offset: Offset, now: Millis) -> Result<(), DirError> {
        self.log_dir.check()?;
        let from = self.recovery_point();
        if offset <= from {
            return Ok(());
        }
        let segments = self.segments.load_full();
        let to_flush = segments.range(from, offset);
        for segment in to_flush {
            // An append that waits for its flush has its records safe without their index entries: a crash makes those
            // anew, as long as the recovery point says so.
            let indexed = match segment.write_indexes() {
                Err(SegmentError::Gone { .. }) => Ok(()),
                written => self.guard(written),
            };
            self.guard_sync(segment.sync())?;
            indexed?;
        }
        if to_flush.iter().any(|s| s.base_offset() >= from) {
            self.guard_sync(self.dir.sync().map_err(|e| match e.kind() {
                std::io::ErrorKind::NotFound if self.dir.is_deleted() => {
                    SegmentError::Gone { path: e.path().to_owned() }
                }
                _ => e.into(),
            }))?;
        }
        self.write_small_files()?;
        let mut tail = self.tail.lock();
        // A truncation in between has lowered the log's end, and with it what may be called flushed.
        let reached = offset.min(self.log_end_offset());
        if reached > self.recovery_point() {
            self.recovery_point.store(reached, Ordering::Release);
            self.last_flush_ms.store(now, Ordering::Relaxed);
            tail.unflushed = 0;
        }
        Ok(())
    }

    // ---- log start, retention

    /// Raises the log start offset: DeleteRecords on a leader, the leader's word on a follower. False when it is there
    /// already. Segments below it go at the next retention check.
    pub fn maybe_increment_log_start(&self, to: Offset) -> Result<bool, LogStartError> {
        let mut tail = self.lock_tail()?;
        self.increment_log_start(&mut tail, to)
    }

    fn increment_log_start(&self, tail: &mut Tail, to: Offset) -> Result<bool, LogStartError> {
        {
            let mut marks = self.marks.lock();
            let high_watermark = marks.high_watermark.offset;
            if to > high_watermark {
                return Err(LogStartError::AboveHighWatermark { requested: to, high_watermark });
            }
            if to <= marks.log_start {
                return Ok(false);
            }
            marks.log_start = to;
        }
        info!("[UnifiedLog partition={}] Incremented log start offset to {to}", self.topic_partition);
        self.recovery_point.fetch_max(to, Ordering::AcqRel);
        if self.small_files.epochs.write().truncate_from_start(to) {
            self.epochs_changed();
        }
        tail.producers.on_log_start(to);
        self.update_first_unstable(tail);
        Ok(true)
    }

    /// Removes what time, size and log start offset no longer allow. Returns the number of segments that went.
    pub fn delete_old_segments(&self, now: Millis) -> Result<usize, DirError> {
        let config = self.config();
        let mut reasons = vec![];
        let log_start = self.log_start_offset();
        reasons.push(Reason::LogStart { log_start });
        if config.delete {
            if let Ok(retention_bytes) = u64::try_from(config.retention_bytes) {
                reasons.push(Reason::Size { retention_bytes });
            }
            if config.retention_ms >= 0 {
                reasons.push(Reason::Time { now, retention_ms: config.retention_ms });
            }
        }
        let mut deleted = 0;
        for reason in reasons {
            deleted += self.delete_for(reason, now)?;
        }
        Ok(deleted)
    }

    fn deletable(&self, segments: &Segments, reason: Reason) -> Result<usize, DirError> {
        let list = segments.as_slice();
        let facts = |s: &Arc<Segment>| SegmentFacts { base_offset: s.base_offset(), size: u64::from(s.size()) };
        let facts: Vec<SegmentFacts> = list.iter().map(facts).collect();
        let offsets = self.offsets();
        retention::deletable(&facts, offsets.log_end.offset, offsets.high_watermark.offset, reason, |at| {
            self.guard(list[at].largest_timestamp())
        })
    }

    fn delete_for(&self, reason: Reason, now: Millis) -> Result<usize, DirError> {
        // Without the lock first: it may open the time index of every segment that goes, and appends would wait.
        let planned = self.deletable(&self.segments.load_full(), reason)?;
        if planned == 0 {
            return Ok(0);
        }
        let tail = &mut *self.lock_tail()?;
        // Again, of what is there now. The segments that stay the same know their timestamps.
        let segments = self.segments.load_full();
        let count = self.deletable(&segments, reason)?.min(planned);
        if count == 0 {
            return Ok(0);
        }
        if count == segments.as_slice().len() {
            self.roll_to(tail, 0, now)?;
        }
        let segments = self.segments.load_full();
        let (gone, left) = segments.as_slice().split_at(count);
        let Some(first_left) = left.first() else { return Ok(0) };
        match self.increment_log_start(tail, first_left.base_offset()) {
            Ok(_) => {}
            Err(LogStartError::Dir(e)) => return Err(e),
            // The plan keeps everything at and above the high watermark.
            Err(LogStartError::AboveHighWatermark { .. }) => return Ok(0),
        }
        for segment in gone {
            info!(
                "[UnifiedLog partition={}] Deleting segment {} of {} bytes due to {reason:?}",
                self.topic_partition,
                segment.base_offset(),
                segment.size()
            );
        }
        self.segments.store(Arc::new(segments.without_first(count)));
        self.delete_files(tail, gone, None)?;
        Ok(count)
    }

    /// Segments that readers no longer find: their files get another name, and go after `file.delete.delay.ms`. Their
    /// snapshots of producers go along, but for that of a segment that is still there in another form.
    pub(super) fn delete_files(
        &self,
        tail: &mut Tail,
        segments: &[Arc<Segment>],
        replaced: Option<Offset>,
    ) -> Result<(), DirError> {
        let mut files: Vec<PathBuf> = Vec::new();
        for segment in segments {
            files.extend(self.guard_disk(segment.files().mark_deleted())?);
            if replaced != Some(segment.base_offset()) {
                files.extend(self.guard_disk(tail.producers.mark_deleted(segment.base_offset()))?);
            }
        }
        if files.is_empty() {
            return Ok(());
        }
        let delay = self.config.load().file_delete_delay_ms;
        let log_dir = Arc::clone(&self.log_dir);
        self.scheduler().schedule_in(delay, move || {
            for path in files {
                if log_dir.is_offline() {
                    return;
                }
                // A whole log that was deleted meanwhile took its files along. A failure is logged by the directory.
                reported(log_dir.guard(disk::remove_if_exists(&path).during("delete", &path)));
            }
        });
        Ok(())
    }

    // ---- truncation

    /// Removes all batches that end at or after `offset`. False when there are none. Readers that planned a slice of
    /// what goes find the file shorter than they were told.
    pub fn truncate_to(&self, offset: Offset, now: Millis) -> Result<bool, DirError> {
        let _no_cleaning = self.cleaning.gate.pause();
        let mut tail = self.lock_tail()?;
        let log_end = self.log_end_offset();
        if offset >= log_end {
            self.complete_cut(&mut tail, now)?;
            info!(tp = %self.topic_partition, offset, log_end, "truncating has no effect");
            // A leader that never appended in its epoch leaves an epoch entry at the end.
            if self.small_files.epochs.write().truncate_from_end(log_end) {
                self.epochs_changed();
            }
            return Ok(false);
        }
        info!("[UnifiedLog partition={}] Truncating to offset {offset}", self.topic_partition);
        let segments = self.segments.load_full();
        if segments.first().is_some_and(|first| first.base_offset() > offset) {
            self.truncate_fully(&mut tail, offset, offset, now)?;
            return Ok(true);
        }
        let keep = segments.as_slice().partition_point(|s| s.base_offset() <= offset);
        let (left, gone) = segments.as_slice().split_at(keep);
        // First out of the readers' sight, then off the disk.
        {
            let mut marks = self.marks.lock();
            marks.log_end = OffsetMetadata::offset_only(offset);
            marks.log_start = marks.log_start.min(offset);
            if marks.high_watermark.offset >= offset {
                marks.high_watermark = marks.log_end;
            }
        }
        self.segments.store(Arc::new(Segments::new(left.to_vec())));
        tail.is_half_cut = true;
        self.delete_files(&mut tail, gone, None)?;
        self.complete_cut(&mut tail, now)?;
        Ok(true)
    }

    /// Takes what lies behind the log's end off the disk, if a truncation has left it there.
    pub(super) fn complete_cut(&self, tail: &mut Tail, now: Millis) -> Result<(), DirError> {
        if !tail.is_half_cut {
            return Ok(());
        }
        let log_end = self.log_end_offset();
        if let Some(active) = self.segments.load_full().as_slice().last() {
            self.guard(active.truncate_to(log_end, now))?;
        }
        self.after_truncation(tail, log_end, now)?;
        tail.is_half_cut = false;
        Ok(())
    }

    /// Forgets everything; the log begins anew at `offset`, and its log start offset is `log_start` if given.
    pub fn truncate_fully_and_start_at(
        &self,
        offset: Offset,
        log_start: Option<Offset>,
        now: Millis,
    ) -> Result<(), DirError> {
        let _no_cleaning = self.cleaning.gate.pause();
        let mut tail = self.lock_tail()?;
        self.truncate_fully(&mut tail, offset, log_start.unwrap_or(offset), now)
    }

    fn truncate_fully(&self, tail: &mut Tail, offset: Offset, log_start: Offset, now: Millis) -> Result<(), DirError> {
        let segments = self.segments.load_full();
        {
            let mut marks = self.marks.lock();
            marks.log_start = log_start;
            marks.log_end = OffsetMetadata::offset_only(offset);
            marks.first_unstable = None;
            marks.high_watermark =
                OffsetMetadata::offset_only(marks.high_watermark.offset.clamp(log_start, offset.max(log_start)));
        }
        self.delete_files(tail, segments.as_slice(), None)?;
        let segment = match self.create_segment(offset, now) {
            Err(e) if e.is_full() => self.remove_deleted().and_then(|()| self.create_segment(offset, now)),
            other => other,
        };
        // There is no way back, and no log without a segment.
        let segment = segment.map_err(|e| self.log_dir.fail(e))?;
        self.segments.store(Arc::new(Segments::new(vec![Arc::new(segment)])));
        self.guard_disk(tail.producers.truncate_fully(offset))?;
        self.small_files.epochs.write().clear();
        self.epochs_changed();
        unless_full(self.write_small_files())?;
        self.cleaning.begin_anew();
        tail.is_half_cut = false;
        self.after_truncation(tail, offset, now)
    }

    /// Makes room by removing files before their delay is over.
    fn remove_deleted(&self) -> Result<(), DiskError> {
        let dir = self.dir();
        let names = disk::file_names(&dir).during("list", &dir)?;
        names
            .iter()
            .filter(|name| name.ends_with(DELETED_SUFFIX))
            .map(|name| dir.join(name))
            .try_for_each(|path| disk::remove_if_exists(&path).during("delete", &path).map(drop))
    }

    fn after_truncation(&self, tail: &mut Tail, log_end: Offset, now: Millis) -> Result<(), DirError> {
        let segments = self.segments.load_full();
        {
            let mut marks = self.marks.lock();
            marks.log_end = end_of(&segments, log_end);
            if marks.high_watermark.offset >= log_end {
                marks.high_watermark = marks.log_end;
            }
        }
        self.recovery_point.fetch_min(log_end, Ordering::AcqRel);
        // What is written again there is dirty.
        let active_base = self.active_segment_base();
        if self.cleaner_checkpoint().is_some_and(|clean| clean > active_base) {
            self.set_cleaner_checkpoint(Some(active_base));
        }
        if self.small_files.epochs.write().truncate_from_end(log_end) {
            self.epochs_changed();
        }
        let rebuild =
            Rebuild { log_start: self.log_start_offset(), last_offset: log_end, from_clean_shutdown: false, now };
        self.guard(recovery::rebuild_producer_state(&mut tail.producers, &segments, &rebuild))?;
        self.update_first_unstable(tail);
        Ok(())
    }

    // ---- the end

    /// After a flush: leaves a snapshot of the producers and exact file lengths. No append comes after it.
    pub fn close(&self) -> Result<(), DirError> {
        let mut tail = self.lock_tail()?;
        tail.is_closed = true;
        self.write_small_files()?;
        self.guard_disk(tail.producers.take())?;
        for segment in self.segments.load().as_slice() {
            self.guard(segment.seal())?;
        }
        Ok(())
    }

    /// Gives the directory the name of one that will be deleted. No append comes after it, readers go on. A crash of the
    /// machine may undo it until the log directory is synced.
    pub(super) fn rename_for_deletion(&self, name: &str) -> Result<(), DirError> {
        let cleaning = self.cleaning.gate.pause();
        self.rename_and_close(&mut *self.lock_tail()?, name)?;
        // It is not cleaned any more, even by a cleaner that still has it.
        std::mem::forget(cleaning);
        Ok(())
    }

    fn rename_and_close(&self, tail: &mut Tail, name: &str) -> Result<(), DirError> {
        tail.is_closed = true;
        self.rename_replaced(name)
    }

    /// As [`Self::rename_for_deletion`] for a log that takes nothing any more.
    pub(super) fn rename_replaced(&self, name: &str) -> Result<(), DirError> {
        let mut is_gone = self.small_files.hold();
        self.log_dir.guard(self.dir.rename_deleted(&self.log_dir.path().join(name)))?;
        *is_gone = true;
        Ok(())
    }

    /// Lets `successor`, which has the same records, go on where this log is: with its marks, and with what records do not
    /// say, as producers whose batches retention has removed, transactions that are just verified, and epochs without
    /// records. From then on nothing changes here: appends are refused and high watermarks are not taken, so a caller that
    /// is refused looks which log the partition has.
    pub(super) fn hand_over(&self, tail: &mut Tail, successor: &Self) {
        tail.is_closed = true;
        if let Some(Err(error)) = self.topic_id().map(|id| successor.assign_topic_id(id)) {
            warn!(tp = %self.topic_partition, %error, "the log that moved keeps its topic id");
        }
        let mut its_tail = successor.tail.lock();
        for entry in self.epoch_entries() {
            if successor.latest_epoch().is_none_or(|latest| entry.epoch > latest) {
                successor.assign_epoch(entry.epoch, entry.start_offset);
            }
        }
        its_tail.producers.state = tail.producers.state.clone();
        its_tail.unflushed = tail.unflushed;
        let (log_start, high_watermark) = {
            let mut marks = self.marks.lock();
            marks.is_replaced = true;
            (marks.log_start, marks.high_watermark.offset)
        };
        {
            let mut marks = successor.marks.lock();
            let is_at_end = high_watermark >= marks.log_end.offset;
            marks.high_watermark = if is_at_end { marks.log_end } else { OffsetMetadata::offset_only(high_watermark) };
        }
        // Never above the high watermark of the same moment.
        drop(successor.increment_log_start(&mut its_tail, log_start));
        successor.update_first_unstable(&its_tail);
        successor.set_cleaner_checkpoint(self.cleaner_checkpoint());
    }

    /// Another log has taken this one's place in its partition.
    pub fn is_replaced(&self) -> bool {
        self.marks.lock().is_replaced
    }

    /// Gives the directory another name, and waits until the disk has it.
    pub(super) fn rename(&self, to: &Path) -> Result<(), DirError> {
        let _nothing_is_written = self.small_files.hold();
        self.log_dir.guard(self.dir.rename(to))?;
        let log_dir = self.log_dir.path();
        self.log_dir.guard(disk::sync_dir(log_dir).during("sync", log_dir))
    }

    fn epochs_changed(&self) {
        self.small_files.epochs_changed();
        self.log_dir.write_later(&self.small_files);
    }

    fn topic_id_changed(&self) {
        self.small_files.topic_id_changed();
        self.log_dir.write_later(&self.small_files);
    }

    /// Before a record: the topic id is on the disk. Hardly ever waits.
    pub(super) fn settle_topic_id(&self) -> Result<(), DirError> {
        if self.small_files.is_topic_id_late() { self.write_small_files() } else { Ok(()) }
    }

    pub(super) fn write_small_files(&self) -> Result<(), DirError> {
        self.log_dir.write_now(&self.small_files)
    }

    pub(super) fn weak(&self) -> Weak<Self> {
        Weak::clone(&self.me)
    }

    pub(super) fn scheduler(&self) -> &Arc<Scheduler> {
        self.log_dir.scheduler()
    }
}

/// The log's end with its place: behind the last byte of the last segment.
fn end_of(segments: &Segments, log_end: Offset) -> OffsetMetadata {
    OffsetMetadata { offset: log_end, place: segments.active().map(|s| (s.base_offset(), s.size())) }
}

#[cfg(test)]
mod tests;
