//! Owns the checkpoints of log directories: which offsets of their logs go to which file, and when. Kafka:
//! `LogManager.checkpointRecoveryOffsetsInDir` and its like.

use super::LogManager;
use crate::common::ids::Offset;
use crate::log::checkpoint::{self, CLEANER_FILE, HIGH_WATERMARK_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use crate::log::log_dir::{DirError, LogDir, reported};
use crate::log::unified_log::UnifiedLog;
use std::collections::BTreeMap;
use std::sync::Arc;

impl LogManager {
    /// Writes down how far logs are clean, where that has changed.
    pub(in crate::log) fn checkpoint_cleaned(&self) {
        self.live_dirs().for_each(|dir| self.checkpoint_cleaned_in(dir));
    }

    fn checkpoint_cleaned_in(&self, dir: &Arc<LogDir>) {
        if dir.take_cleaner_checkpoint_stale()
            && self.checkpoint(dir, CLEANER_FILE, UnifiedLog::cleaner_checkpoint).is_err()
        {
            dir.set_cleaner_checkpoint_stale(true);
        }
    }

    /// After a truncation, and every `log.flush.offset.checkpoint.interval.ms`. A failure is reported by the directory, here and below.
    pub fn checkpoint_recovery_points_in(&self, dir: &Arc<LogDir>) {
        self.checkpoint_cleaned_in(dir);
        reported(self.checkpoint(dir, RECOVERY_POINT_FILE, |log| Some(log.recovery_point())));
    }

    /// Every `log.flush.start.offset.checkpoint.interval.ms`.
    pub fn checkpoint_log_starts_in(&self, dir: &Arc<LogDir>) {
        reported(self.checkpoint(dir, LOG_START_FILE, log_start_entry));
    }

    /// Every `replica.high.watermark.checkpoint.interval.ms`.
    pub fn checkpoint_high_watermarks_in(&self, dir: &Arc<LogDir>) {
        reported(self.checkpoint(dir, HIGH_WATERMARK_FILE, |log| Some(log.high_watermark())));
    }

    pub(in crate::log) fn checkpoint_dir(&self, dir: &Arc<LogDir>) -> Result<(), DirError> {
        self.checkpoint(dir, RECOVERY_POINT_FILE, |log| Some(log.recovery_point()))?;
        self.checkpoint(dir, LOG_START_FILE, log_start_entry)
    }

    pub(super) fn checkpoint(
        &self,
        dir: &Arc<LogDir>,
        name: &str,
        offset: impl Fn(&UnifiedLog) -> Option<Offset>,
    ) -> Result<(), DirError> {
        dir.check()?;
        let _one_writer = dir.checkpoints.lock();
        // First what is not ready: whatever becomes a log meanwhile is found then.
        let mut offsets = BTreeMap::new();
        for log in self.recovering.in_dir(dir) {
            let entry = match name {
                RECOVERY_POINT_FILE => log.recovery_point,
                LOG_START_FILE => log.log_start,
                HIGH_WATERMARK_FILE => log.high_watermark,
                _ => log.clean_end,
            };
            offsets.extend(entry.map(|offset| (log.topic_partition.clone(), offset)));
        }
        for log in self.all_logs().iter().filter(|log| Arc::ptr_eq(log.log_dir(), dir)) {
            match offset(log) {
                Some(offset) => offsets.insert(log.topic_partition().clone(), offset),
                None => offsets.remove(log.topic_partition()),
            };
        }
        dir.guard(checkpoint::write_offsets(&dir.path().join(name), &offsets))
    }
}

/// Only starts that lie inside a segment are worth an entry.
fn log_start_entry(log: &UnifiedLog) -> Option<Offset> {
    let start = log.log_start_offset();
    (start > log.first_segment_base()).then_some(start)
}
