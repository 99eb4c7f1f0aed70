//! Owns what the cleaner asks of a log, and the swap of cleaned segments for the old ones. Kafka: `LocalLog.replaceSegments`,
//! `UnifiedLog.lastRecordsOfActiveProducers`.
//!
//! ```text
//! write and sync  BASE.log.cleaned   a crash here leaves the old segments: loading removes what is cleaned
//! rename to       BASE.log.swap      from here on loading completes the swap
//! old ones to     *.log.deleted
//! rename to       BASE.log           sync the directory
//! ```

use super::plan::{Candidate, LogFacts, SegmentFacts, delay};
use crate::common::ids::{Millis, Offset};
use crate::log::UnifiedLog;
use crate::log::log_dir::DirError;
use crate::log::segment::Segment;
use crate::log::segments::Segments;
use crate::record::Batch;
use std::collections::HashMap;
use std::sync::Arc;

/// Where a producer that the broker knows was last seen.
#[derive(Clone, Copy, Debug)]
pub(super) struct LastRecord {
    /// `None` when all that is left of it are markers.
    data_offset: Option<Offset>,
    epoch: i16,
}

impl LastRecord {
    /// Whether this is the batch that its state is read from when the log is loaded.
    pub(super) fn is_in(&self, batch: &Batch<'_>) -> bool {
        match self.data_offset {
            Some(offset) => batch.last_offset() == offset,
            None => batch.is_control() && batch.producer_epoch() == self.epoch,
        }
    }
}

pub(super) fn facts_of(segments: &Segments) -> Vec<SegmentFacts> {
    let facts = |segment: &Arc<Segment>| {
        let (offset_index_size, time_index_size) = segment.index_sizes();
        let (base_offset, size) = (segment.base_offset(), u64::from(segment.size()));
        SegmentFacts { base_offset, size, offset_index_size, time_index_size }
    };
    segments.as_slice().iter().map(facts).collect()
}

impl UnifiedLog {
    /// What could be cleaned now. Writes down a checkpoint that cannot be.
    pub(in crate::log) fn cleaning_candidate(&self, now: Millis) -> Result<Candidate, DirError> {
        let config = self.config();
        let segments = self.segments.load_full();
        let facts = facts_of(&segments);
        let offsets = self.offsets();
        let log = LogFacts {
            segments: &facts,
            log_start: offsets.log_start,
            last_stable: offsets.last_stable.offset,
            log_end: offsets.log_end.offset,
            checkpoint: self.cleaning.checkpoint(),
        };
        let closed_dirty = &segments.as_slice()[log.closed_from(log.first_dirty().0)];
        let mut too_young = None;
        if config.min_compaction_lag_ms > 0 {
            let limit = now.saturating_sub(config.min_compaction_lag_ms);
            for segment in closed_dirty {
                if self.guard(segment.largest_timestamp())? > limit {
                    too_young = Some(segment.base_offset());
                    break;
                }
            }
        }
        let mut delay_ms = 0;
        // The default is never, and then no batch need be read.
        if config.max_compaction_lag_ms < Millis::MAX {
            let mut first_timestamps = Vec::new();
            for segment in closed_dirty {
                first_timestamps.extend(self.guard(segment.first_batch_timestamp())?);
            }
            delay_ms = delay(first_timestamps, config.max_compaction_lag_ms, now);
        }
        let dirty = log.dirty(too_young);
        if dirty.is_reset {
            self.set_cleaner_checkpoint(Some(dirty.first_dirty));
        }
        Ok(log.candidate(dirty, delay_ms))
    }

    pub(super) fn last_records_of_producers(&self) -> HashMap<i64, LastRecord> {
        let producers = self.active_producers();
        let last = |entry: &crate::log::producer_state::ProducerEntry| LastRecord {
            data_offset: entry.last_batch().map(|batch| batch.last_offset).filter(|offset| *offset >= 0),
            epoch: entry.producer_epoch,
        };
        producers.iter().map(|(id, entry)| (*id, last(entry))).collect()
    }

    /// Puts a cleaned segment in the place of those that it was made from. `new` is on the disk.
    pub(super) fn replace_segments(&self, new: &Arc<Segment>, old: &[Arc<Segment>]) -> Result<(), DirError> {
        let mut tail = self.lock_tail()?;
        self.guard_disk(new.files().mark_swap())?;
        let is_old = |segment: &Arc<Segment>| old.iter().any(|o| Arc::ptr_eq(o, segment));
        let mut list: Vec<Arc<Segment>> =
            self.segments.load().as_slice().iter().filter(|segment| !is_old(segment)).cloned().collect();
        let at = list.partition_point(|segment| segment.base_offset() < new.base_offset());
        list.insert(at, Arc::clone(new));
        // Readers of the old ones go on with them: their files stay for `file.delete.delay.ms`.
        self.segments.store(Arc::new(Segments::new(list)));
        self.delete_files(&mut tail, old, Some(new.base_offset()))?;
        self.guard_disk(new.files().mark_in_use())?;
        self.guard_disk(self.dir.sync())
    }
}
