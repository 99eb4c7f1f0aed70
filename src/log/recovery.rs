//! Owns how a partition's directory becomes a log again: leftovers of interrupted work, recovery after a crash, producer
//! state. Kafka: `LogLoader`, `LogSegment.recover`, `UnifiedLog.rebuildProducerState`.
//!
//! After a clean stop no record is read but those behind the last index entry, and nothing is cut: what a file says then
//! is the readers' matter. After a crash every segment from the recovery point on is read and checked; the first batch that
//! is not what was written ends the log.
//!
//! What cannot become a log is [`LoadError::Damaged`]: its partition is offline, and its files stay as they are. Of errors
//! that no directory survives there are only those of the device.
//!
//! Stricter than Kafka: offsets that go backwards end the log too. Neither offset nor leader epoch is under a batch's
//! checksum, and Kafka goes on with whatever it finds there.

use super::checkpoint::{self, CheckpointError, LEADER_EPOCH_FILE};
use super::epoch_cache::EpochCache;
use super::index::AbortedTxn;
use super::loading::{LoadError, LoadLimits};
use super::overflow;
use super::partition_dir::PartitionDir;
use super::producer_snapshots::ProducerSnapshots;
use super::producer_state::{
    AppendOrigin, CompletedTxn, ProducerBatch, ProducerError, ProducerState, ProducerStateConfig,
};
use super::scan::{EntryHead, ScanError};
use super::segment::{Segment, SegmentError};
use super::segment_files::{
    CLEANED_SUFFIX, DELETED_SUFFIX, LOG_SUFFIX, OFFSET_INDEX_SUFFIX, SWAP_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX,
    file_name, offset_of,
};
use super::segments::Segments;
use crate::common::ids::{Millis, Offset, TopicPartition};
use crate::config::topic::LogConfig;
use crate::disk::{self, DiskError, During};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use tracing::{debug, info, warn};

/// What the loader is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoadParams<'a> {
    pub topic_partition: &'a TopicPartition,
    pub dir: &'a Arc<PartitionDir>,
    /// The directory was just made: nothing is in it.
    pub is_new: bool,
    pub config: &'a LogConfig,
    pub had_clean_shutdown: bool,
    /// From the checkpoint, 0 without an entry.
    pub log_start: Offset,
    /// From the checkpoint, 0 without an entry.
    pub recovery_point: Offset,
    pub producer_config: ProducerStateConfig,
    pub limits: &'a LoadLimits,
    pub now: Millis,
}

/// A loaded log's parts.
#[derive(Debug)]
pub(super) struct Loaded {
    pub segments: Segments,
    pub log_start: Offset,
    pub log_end: Offset,
    pub recovery_point: Offset,
    pub epochs: EpochCache,
    /// Some entries of the checkpoint are over: it is to be written again, some time.
    pub epochs_are_stale: bool,
    pub producers: ProducerSnapshots,
}

pub(super) fn load(params: &LoadParams<'_>) -> Result<Loaded, LoadError> {
    let epochs = if params.is_new { EpochCache::default() } else { read_epochs(&params.dir.path())? };
    let producers = ProducerSnapshots::new(params.dir, ProducerState::new(params.producer_config));
    Loader { params, epochs, log_start: params.log_start, segments: Vec::new(), producers }.load()
}

fn read_epochs(dir: &Path) -> Result<EpochCache, LoadError> {
    match checkpoint::read_epochs(&dir.join(LEADER_EPOCH_FILE)) {
        Ok(entries) => Ok(EpochCache::from_entries(entries)),
        Err(CheckpointError::Disk(e)) => Err(e.into()),
        // Kafka takes the whole directory offline for it. The batches know their epochs: recovery notes them again, and
        // an unknown epoch only makes a follower truncate by high watermark.
        Err(damaged) => {
            warn!(%damaged, "leader epochs unreadable, reset");
            Ok(EpochCache::default())
        }
    }
}

struct Loader<'a> {
    params: &'a LoadParams<'a>,
    epochs: EpochCache,
    /// Of the checkpoint, as long as that can be right.
    log_start: Offset,
    segments: Vec<Arc<Segment>>,
    /// As of the end of what has been recovered. Kafka reads it again from the snapshot there, which knows only the last
    /// batch of each producer: one that had several in flight at the crash would be refused as out of order, and a
    /// Java producer then writes them again.
    producers: ProducerSnapshots,
}

impl Loader<'_> {
    fn load(mut self) -> Result<Loaded, LoadError> {
        let dir = self.params.dir.path();
        let epochs_on_disk = self.epochs.clone();
        if !self.params.is_new {
            // One listing serves all where there is nothing to repair: a broker may have tens of thousands of directories,
            // and a directory thousands of segments.
            let names = self.finish_interrupted_work(&dir)?;
            let names = self.split_overflowed(&dir, names)?;
            self.producers.find(&names);
            self.open_segments(&dir, &names)?;
        }
        let (recovery_point, log_end) = self.recover()?;

        // Epochs that only the batches knew must be known before the recovery point passes them.
        let mut unwritten = false;
        if self.epochs != epochs_on_disk {
            match checkpoint::write_epochs(&dir.join(LEADER_EPOCH_FILE), self.epochs.entries()) {
                Err(e) if e.is_full() => unwritten = true,
                written => written?,
            }
        }
        let from_end = self.epochs.truncate_from_end(log_end);
        let from_start = self.epochs.truncate_from_start(self.log_start);
        let segments = Segments::new(self.segments);
        let first_base = segments.first().map_or(0, |s| s.base_offset());
        let log_start = self.log_start.max(first_base);
        let mut producers = self.producers;
        producers.remove_strays(&segments.as_slice().iter().map(|s| s.base_offset()).collect())?;
        let rebuild = Rebuild {
            log_start,
            last_offset: log_end,
            from_clean_shutdown: self.params.had_clean_shutdown,
            now: self.params.now,
        };
        rebuild_producer_state(&mut producers, &segments, &rebuild)?;
        Ok(Loaded {
            segments,
            log_start,
            log_end,
            recovery_point,
            epochs: self.epochs,
            epochs_are_stale: unwritten || from_end || from_start,
            producers,
        })
    }

    /// Removes what was to be removed, and completes the swap of compacted segments. The names that are there then.
    fn finish_interrupted_work(&self, dir: &Path) -> Result<Vec<String>, LoadError> {
        let names = list(dir)?;
        if !names.iter().any(|name| [DELETED_SUFFIX, CLEANED_SUFFIX, SWAP_SUFFIX].iter().any(|end| name.ends_with(end)))
        {
            return Ok(names);
        }
        let ends_with = |suffix: &'static str| names.iter().filter(move |name| name.ends_with(suffix));
        let remove = |name: &str| {
            let path = dir.join(name);
            debug!(path = %path.display(), "deleting stray temporary file");
            disk::remove_if_exists(&path).during("delete", &path).map(drop)
        };
        for name in ends_with(DELETED_SUFFIX) {
            remove(name)?;
        }
        let first_cleaned = ends_with(CLEANED_SUFFIX).filter_map(|name| offset_of(name)).min().unwrap_or(Offset::MAX);
        let (swaps, invalid): (Vec<&String>, Vec<&String>) =
            ends_with(SWAP_SUFFIX).partition(|name| offset_of(name).is_some_and(|offset| offset < first_cleaned));
        for name in invalid.into_iter().chain(ends_with(CLEANED_SUFFIX)) {
            remove(name)?;
        }
        if swaps.is_empty() {
            return Ok(list(dir)?);
        }
        // The range that the complete replacements cover: whatever else lies there has been replaced.
        let (mut from, mut to) = (Offset::MAX, Offset::MIN);
        for name in &swaps {
            let Some(base) = name.strip_suffix(SWAP_SUFFIX).filter(|n| n.ends_with(LOG_SUFFIX)).and_then(offset_of)
            else {
                continue;
            };
            info!(file = %name, "found a log file of an interrupted swap");
            from = from.min(base);
            to = to.max(next_offset_of_file(&dir.join(name), base)?);
        }
        for name in list(dir)?.iter().filter(|name| !name.ends_with(SWAP_SUFFIX)) {
            if offset_of(name).is_some_and(|offset| offset >= from && offset < to) {
                info!(file = %name, "deleting a file that is compacted but has not been deleted yet");
                remove(name)?;
            }
        }
        for name in swaps {
            let Some(target) = name.strip_suffix(SWAP_SUFFIX) else { continue };
            let path = dir.join(name);
            disk::rename(&path, &dir.join(target)).during("rename", &path)?;
        }
        Ok(list(dir)?)
    }

    fn split_overflowed(&self, dir: &Path, mut names: Vec<String>) -> Result<Vec<String>, LoadError> {
        let bases: Vec<Offset> =
            names.iter().filter(|n| n.ends_with(LOG_SUFFIX)).filter_map(|n| offset_of(n)).collect();
        for pair in bases.windows(2) {
            if overflow::is_suspect(pair[0], pair[1]) && overflow::split(dir, pair[0])? {
                names = self.finish_interrupted_work(dir)?;
            }
        }
        Ok(names)
    }

    fn open_segments(&mut self, dir: &Path, names: &[String]) -> Result<(), LoadError> {
        let exists = |base, suffix| names.binary_search(&file_name(base, suffix)).is_ok();
        // Names are in the order of their offsets.
        let mut bases = names.iter().filter(|n| n.ends_with(LOG_SUFFIX)).filter_map(|n| offset_of(n)).peekable();
        for name in names {
            let Some(base) = offset_of(name) else { continue };
            let is_index =
                [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX].iter().any(|suffix| name.ends_with(suffix));
            if is_index && !exists(base, LOG_SUFFIX) {
                let path = dir.join(name);
                warn!(path = %path.display(), "found an orphaned index file with no corresponding log file");
                disk::remove_if_exists(&path).during("delete", &path)?;
            }
            if *name != file_name(base, LOG_SUFFIX) {
                continue;
            }
            let had_index = exists(base, OFFSET_INDEX_SUFFIX);
            while bases.next_if(|next| *next <= base).is_some() {}
            let next_base = bases.peek().copied();
            let segment = Arc::new(Segment::open(self.params.dir, base, self.params.config, self.params.now)?);
            // Epochs are learned in the order of the segments: what recovery comes to anyway is left to it.
            let is_unflushed = !self.params.had_clean_shutdown
                && next_base.is_none_or(|next_base| next_base > self.params.recovery_point);
            if is_unflushed {
                self.segments.push(segment);
                continue;
            }
            if !had_index {
                warn!(file = %name, "found no offset index file, recovering segment and rebuilding index files");
                self.recover_segment(&segment, next_base)?;
            } else if let Err(e) = segment.check_txn_index(next_base.unwrap_or(Offset::MAX)) {
                match e {
                    SegmentError::CorruptTxnIndex { .. } => {
                        warn!(file = %name, error = %e, "found a corrupt index, recovering segment and rebuilding index files");
                        self.recover_segment(&segment, next_base)?;
                    }
                    other => return Err(other.into()),
                }
            }
            self.segments.push(segment);
        }
        Ok(())
    }

    /// New recovery point and log end.
    fn recover(&mut self) -> Result<(Offset, Offset), LoadError> {
        let tp = self.params.topic_partition;
        if !self.params.had_clean_shutdown {
            let from =
                self.segments.partition_point(|s| s.base_offset() <= self.params.recovery_point).saturating_sub(1);
            let unflushed = self.segments.len() - from;
            self.params.limits.check(self.segments[from..].iter().map(|segment| u64::from(segment.size())).sum())?;
            for at in from..self.segments.len() {
                let segment = Arc::clone(&self.segments[at]);
                let done = at - from;
                info!("Recovering unflushed segment {}. {done}/{unflushed} recovered for {tp}.", segment.base_offset());
                let next_base = self.segments.get(at + 1).map(|next| next.base_offset());
                if self.recover_segment(&segment, next_base)? > 0 {
                    warn!(
                        %tp, segment = segment.base_offset(), offset = segment.read_next_offset()?,
                        "corruption found in segment, truncating"
                    );
                    let dropped = self.segments.split_off(at + 1);
                    self.delete(&dropped)?;
                    break;
                }
            }
        }
        let log_end = match self.segments.last().cloned() {
            Some(last) if self.params.had_clean_shutdown => Some(self.end_after_clean_stop(&last)?),
            Some(last) => Some(last.read_next_offset()?),
            None => None,
        };
        if let Some(end) = log_end
            && end < self.log_start
            && self.params.had_clean_shutdown
        {
            // No stop leaves such a log. Kafka deletes all of it.
            warn!(%tp, log_end = end, log_start = self.log_start, "the log start offset cannot be right, leaving it");
            self.log_start = 0;
        }
        if let Some(end) = log_end
            && end >= self.log_start
        {
            let recovery_point =
                if self.params.had_clean_shutdown { end } else { self.params.recovery_point.clamp(0, end) };
            return Ok((recovery_point, end));
        }
        let start = self.log_start;
        if let Some(end) = log_end {
            warn!(
                %tp, log_end = end, log_start = start,
                "deleting all segments because the log end offset is smaller than the log start offset"
            );
            let all = std::mem::take(&mut self.segments);
            self.delete(&all)?;
            self.epochs.clear();
            self.producers.truncate_fully(start)?;
        }
        let segment = Segment::open(self.params.dir, start, self.params.config, self.params.now)?;
        self.segments.push(Arc::new(segment));
        Ok((self.params.recovery_point.clamp(0, start), start))
    }

    /// Kafka believes the last index entry, and whatever batches it finds from there on. One flipped bit in the index, or
    /// in a length, would end the log too early or nowhere.
    fn end_after_clean_stop(&mut self, last: &Arc<Segment>) -> Result<Offset, LoadError> {
        let indexed = last.last_indexed()?;
        let by_index = match last.end_from(indexed.position) {
            Err(SegmentError::Disk(e)) => return Err(e.into()),
            Ok(end) if end.position == last.size() && last.indexes_end_below(end.next_offset)? => {
                return self.end_with_txn_index(last, end.next_offset);
            }
            other => other.ok().filter(|end| end.next_offset > indexed.offset),
        };
        let end = last.end_from(0)?;
        let path = last.path(LOG_SUFFIX);
        if end.position == last.size() {
            warn!(path = %path.display(), "found corrupt index files, rebuilding them");
            self.reindex_offsets(last)?;
            return self.end_with_txn_index(last, end.next_offset);
        }
        let end = by_index.unwrap_or(end);
        if end.position == 0 {
            return Err(LoadError::Damaged(format!("{}: no batch is whole", path.display())));
        }
        // Kafka appends behind what it cannot read, where no reader comes.
        warn!(
            path = %path.display(), position = end.position, log_end = end.next_offset,
            "segment ends with bytes that are no batch; they are left, and appends go to a new segment"
        );
        let next = Segment::open(self.params.dir, end.next_offset, self.params.config, self.params.now)?;
        self.segments.push(Arc::new(next));
        Ok(end.next_offset)
    }

    fn end_with_txn_index(&mut self, last: &Arc<Segment>, log_end: Offset) -> Result<Offset, LoadError> {
        match last.check_txn_index(log_end) {
            Err(e @ SegmentError::CorruptTxnIndex { .. }) => {
                warn!(error = %e, "found a corrupt index, recovering segment and rebuilding index files");
                // Producers as of the segment's start, not of its end.
                let last = self.segments.pop().unwrap_or_else(|| Arc::clone(last));
                self.recover_segment(&last, None)?;
                self.segments.push(last);
                Ok(log_end)
            }
            checked => Ok(checked.map(|()| log_end)?),
        }
    }

    /// Makes the indexes by offset and time anew, of a log that need not be in order.
    fn reindex_offsets(&self, segment: &Segment) -> Result<(), LoadError> {
        segment.reset_position_indexes()?;
        let mut scan = segment.heads(0)?;
        let mut due = IndexInterval::of(self.params.config);
        while let Some(head) = scan.next_head().map_err(|e| segment.scan_error(e))? {
            segment.reindex(&head, due.is_due(&head))?;
        }
        Ok(segment.seal()?)
    }

    /// Removes segments with their snapshots. No one reads them yet, so they go at once.
    fn delete(&mut self, segments: &[Arc<Segment>]) -> Result<(), LoadError> {
        for segment in segments {
            info!(base_offset = segment.base_offset(), "deleting a segment as part of log recovery");
            segment.files().delete()?;
            if let Some(marked) = self.producers.mark_deleted(segment.base_offset())? {
                disk::remove_if_exists(&marked).during("delete", &marked)?;
            }
        }
        Ok(())
    }

    /// Reads and checks a whole segment, rebuilds its indexes, cuts what is not valid unless the stop was clean, and leaves
    /// a snapshot of the producers behind it. Returns the bytes that are not valid.
    fn recover_segment(&mut self, segment: &Arc<Segment>, next_base: Option<Offset>) -> Result<u32, LoadError> {
        self.params.limits.check(segment.size().into())?;
        let rebuild = Rebuild {
            log_start: self.params.log_start,
            last_offset: segment.base_offset(),
            from_clean_shutdown: false,
            now: self.params.now,
        };
        // Where the segment before was read too, the state goes on from there.
        let is_known = self.producers.state.map_end_offset() == segment.base_offset();
        let read_again = if is_known { Vec::new() } else { self.segments.clone() };
        rebuild_producer_state(&mut self.producers, &Segments::new(read_again), &rebuild)?;

        let valid = valid_bytes(segment, next_base, self.params.limits)?;
        let cut = segment.size() - valid;
        if !self.params.had_clean_shutdown {
            segment.cut(valid)?;
        }
        if segment.size() == valid {
            segment.checked.all();
        }
        self.reindex(segment, valid)?;
        without_room(segment.seal())?;
        without_room(self.producers.take().map_err(Into::into))?;
        Ok(cut)
    }

    fn reindex(&mut self, segment: &Segment, end: u32) -> Result<(), LoadError> {
        segment.reset_indexes()?;
        let mut due = IndexInterval::of(self.params.config);
        let mut scan = segment.heads_until(0, end)?;
        while let Some(head) = scan.next_head().map_err(|e| segment.scan_error(e))? {
            segment.reindex(&head, due.is_due(&head))?;
            let Some(header) = &head.header else { continue };
            let epoch = head.partition_leader_epoch;
            if epoch.0 >= 0 && self.epochs.latest().is_none_or(|latest| epoch > latest.epoch) {
                self.epochs.assign(epoch, head.base_offset);
            }
            let batch = if header.has_producer_id() {
                let batch = super::scan::producer_batch(&*segment.file()?, &head, header);
                Some(batch.map_err(|e| segment.scan_error(e))?)
            } else {
                None
            };
            replay(&mut self.producers, batch.as_ref(), head.last_offset + 1, |txn, last_stable_offset| {
                if txn.is_aborted { segment.append_aborted(&aborted(txn, last_stable_offset)) } else { Ok(()) }
            })?;
        }
        Ok(())
    }
}

/// When the next index entry is due while a segment is read.
struct IndexInterval {
    bytes: u32,
    last_indexed: u32,
}

impl IndexInterval {
    fn of(config: &LogConfig) -> Self {
        Self { bytes: config.index_interval_bytes as u32, last_indexed: 0 }
    }

    fn is_due(&mut self, head: &EntryHead) -> bool {
        let is_due = head.position - self.last_indexed > self.bytes;
        if is_due {
            self.last_indexed = head.position;
        }
        is_due
    }
}

/// The entry that an aborted transaction gets in the transaction index.
pub(super) fn aborted(txn: &CompletedTxn, last_stable_offset: Offset) -> AbortedTxn {
    AbortedTxn {
        producer_id: txn.producer_id,
        first_offset: txn.first_offset,
        last_offset: txn.last_offset,
        last_stable_offset,
    }
}

/// Bytes of a segment up to its last valid batch: whole, of good checksum, with offsets that go on from those before
/// and stay below the next segment.
/// Where offsets go backwards the batch before the step may be the wrong one; when it had left a gap, it is.
fn valid_bytes(segment: &Segment, next_base: Option<Offset>, limits: &LoadLimits) -> Result<u32, LoadError> {
    let mut scan = segment.check_scan()?;
    let mut next_offset = segment.base_offset();
    let mut gap: Option<Gap> = None;
    loop {
        // Here, where all the time goes and nothing has been changed yet.
        if limits.is_stopped() {
            return Err(LoadError::Stopped);
        }
        let head = match scan.next_entry() {
            Ok(Some(head)) => head,
            Ok(None) => return Ok(scan.valid_bytes()),
            Err(ScanError::Io(e)) => return Err(segment.scan_error(ScanError::Io(e)).into()),
            Err(ScanError::Corrupt(why)) => {
                warn!(
                    path = %segment.path(LOG_SUFFIX).display(), position = scan.valid_bytes(), %why,
                    "found invalid messages in log segment"
                );
                return Ok(scan.valid_bytes());
            }
        };
        // Magic 0 and 1 carry only the last offset.
        let first = if head.magic >= 2 { head.base_offset } else { head.last_offset };
        let limit = next_base.unwrap_or_else(|| segment.base_offset().saturating_add(i64::from(i32::MAX) + 1));
        let spans_too_far = head.last_offset >= limit;
        if first < next_offset || head.last_offset < first || spans_too_far {
            let valid = match gap {
                Some(gap) if first < next_offset && gap.is_to_blame(first, next_offset) => gap.position,
                _ => head.position,
            };
            warn!(
                path = %segment.path(LOG_SUFFIX).display(), position = valid, offset = first, expected = next_offset,
                "found offsets that cannot be in log segment"
            );
            return Ok(valid);
        }
        let follows = head.last_offset + 1;
        if first > next_offset {
            gap = Some(Gap { expected: next_offset, first, follows, position: head.position });
        }
        next_offset = follows;
    }
}

/// A batch that begins later than expected: compaction leaves gaps, and so does damage.
#[derive(Clone, Copy)]
struct Gap {
    expected: Offset,
    first: Offset,
    follows: Offset,
    position: u32,
}

impl Gap {
    /// Whether without this batch, and those after it, a batch that begins at `first` would be in order.
    fn is_to_blame(&self, first: Offset, next_offset: Offset) -> bool {
        let is_last = self.follows == next_offset;
        first >= self.expected && (is_last || first < self.first)
    }
}

/// Notes one batch that has been accepted before.
fn replay<E>(
    producers: &mut ProducerSnapshots,
    batch: Option<&ProducerBatch>,
    end_offset: Offset,
    on_completed: impl FnMut(&CompletedTxn, Offset) -> Result<(), E>,
) -> Result<(), E> {
    producers.state.begin();
    if let Some(batch) = batch
        && let Err(ProducerError::TransactionOpen { producer_id, offset }) =
            producers.state.prepare(batch, AppendOrigin::Replication, None)
    {
        // Kafka refuses to load such a log. It cannot come from a leader, and skipping it loses nothing but itself.
        warn!(producer_id, offset, "found a record outside of its producer's open transaction");
        producers.state.begin();
    }
    producers.state.commit(end_offset, on_completed)
}

/// Up to where, and from what, producer state is rebuilt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rebuild {
    pub log_start: Offset,
    pub last_offset: Offset,
    pub from_clean_shutdown: bool,
    pub now: Millis,
}

/// Brings producer state to `last_offset`: from the newest snapshot, by replaying the log behind it.
pub(super) fn rebuild_producer_state(
    producers: &mut ProducerSnapshots,
    segments: &Segments,
    rebuild: &Rebuild,
) -> Result<(), SegmentError> {
    let list = segments.as_slice();
    let last_bases: BTreeSet<Offset> = list.iter().rev().take(2).map(|s| s.base_offset()).collect();
    if producers.latest().is_none() && rebuild.from_clean_shutdown {
        // A clean stop without snapshots: there were no producers. Empty snapshots save the next loader the question.
        for offset in last_bases.into_iter().chain([rebuild.last_offset]) {
            producers.state.set_map_end_offset(offset);
            without_room(producers.take().map_err(Into::into))?;
        }
        return Ok(());
    }
    let was_empty = producers.state.is_empty() && producers.state.map_end_offset() >= rebuild.last_offset;
    producers.truncate_and_reload(rebuild.log_start, rebuild.last_offset, rebuild.now)?;
    let from = producers.state.map_end_offset();
    if rebuild.last_offset > from && !was_empty {
        let holds_end = segments.at_and_after(rebuild.last_offset).first().map(|s| s.base_offset());
        for segment in segments.range(from, rebuild.last_offset) {
            let start = segment.base_offset().max(producers.state.map_end_offset()).max(rebuild.log_start);
            producers.state.set_map_end_offset(start);
            if last_bases.contains(&segment.base_offset()) {
                without_room(producers.take().map_err(Into::into))?;
            }
            let end = match holds_end {
                Some(base) if base == segment.base_offset() => {
                    segment.translate(rebuild.last_offset)?.map(|b| b.position)
                }
                _ => None,
            };
            let Some(first) = segment.translate(start)? else { continue };
            let mut scan = segment.heads_until(first.position, end.unwrap_or_else(|| segment.size()))?;
            while let Some(head) = scan.next_head().map_err(|e| segment.scan_error(e))? {
                let Some(header) = head.header.filter(|h| h.has_producer_id()) else { continue };
                let batch = super::scan::producer_batch(&*segment.file()?, &head, &header);
                let batch = batch.map_err(|e| segment.scan_error(e))?;
                replay(producers, Some(&batch), head.last_offset + 1, |_, _| Ok::<(), SegmentError>(()))?;
            }
        }
    }
    producers.state.set_map_end_offset(rebuild.last_offset);
    without_room(producers.take().map_err(Into::into))
}

/// A log on a full disk is read and served without the files that only save time at the next start.
fn without_room(result: Result<(), SegmentError>) -> Result<(), SegmentError> {
    match result {
        Err(SegmentError::Disk(e)) if e.is_full() => {
            warn!(error = %e, "left out for want of room");
            Ok(())
        }
        other => other,
    }
}

/// The offset after the last batch of a file whose indexes are not opened.
fn next_offset_of_file(path: &Path, base: Offset) -> Result<Offset, LoadError> {
    let file = disk::DataFile::open(path).during("open", path)?;
    let end = file.len().during("stat", path)?.min(i32::MAX as u64) as u32;
    let mut scan = super::scan::HeadScan::new(Arc::new(file), 0, end);
    let mut next = base;
    loop {
        match scan.next_head() {
            Ok(Some(head)) => next = head.last_offset.saturating_add(1),
            Ok(None) | Err(ScanError::Corrupt(_)) => return Ok(next),
            Err(ScanError::Io(e)) => return Err(DiskError::new("read", path, e).into()),
        }
    }
}

fn list(dir: &Path) -> Result<Vec<String>, DiskError> {
    disk::file_names(dir).during("list", dir)
}

#[cfg(test)]
mod tests;
