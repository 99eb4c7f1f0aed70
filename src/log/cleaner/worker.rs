//! Owns a cleaner thread: it takes the dirtiest log there is, cleans it, lets retention work on compacted logs, and waits
//! when there was nothing to do. Kafka: `LogCleaner.CleanerThread`, `LogCleanerManager.grabFilthiestCompactedLog`.

use super::plan::Candidate;
use super::run::{CleanError, Cleaning, Share, Stats};
use super::stop::Stop;
use super::throttle::Throttle;
use crate::common::ids::{Millis, Offset};
use crate::log::log_dir::DirError;
use crate::log::{LogManager, UnifiedLog};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{debug, error, info, warn};

/// One thread's view of the cleaner.
pub(super) struct Worker {
    pub number: usize,
    pub logs: Arc<LogManager>,
    pub share: Share,
    pub backoff: Duration,
    pub throttle: Arc<Throttle>,
    /// Deciding which log is next is one thread's work at a time.
    pub choice: Arc<Mutex<()>>,
    pub stop: Arc<Stop>,
    pub clock: fn() -> Millis,
}

impl Worker {
    pub(super) fn run(&self) {
        while !self.stop.is_set() {
            let has_cleaned = self.clean_dirtiest();
            self.logs.retain_compacted((self.clock)());
            self.logs.checkpoint_cleaned();
            if !has_cleaned {
                self.stop.wait_while(self.backoff, || true);
            }
        }
    }

    /// False when there was nothing to clean, or it could not be cleaned.
    pub(super) fn clean_dirtiest(&self) -> bool {
        let now = (self.clock)();
        let choice = self.choice.lock();
        let Some((log, candidate)) = self.dirtiest(now) else { return false };
        let Some(turn) = log.cleaning.gate.try_begin() else { return false };
        drop(choice);
        let started = Instant::now();
        let cleaning = || {
            Cleaning::new(&log, &turn, &self.stop, &self.throttle, self.share, &candidate, now).and_then(Cleaning::run)
        };
        // A bug met here costs the cleaning of one log, not that of all.
        let outcome = catch_unwind(AssertUnwindSafe(cleaning))
            .unwrap_or_else(|_| Err(CleanError::Uncleanable("the cleaner panicked".to_owned())));
        match outcome {
            Ok((end, stats)) => {
                if turn.check().is_ok() {
                    log.set_cleaner_checkpoint(Some(end));
                }
                self.tell(&log, &candidate, end, &stats, started.elapsed());
                true
            }
            Err(CleanError::Aborted) => {
                debug!(tp = %log.topic_partition(), "cleaning was aborted");
                false
            }
            Err(CleanError::Dir(e)) => {
                debug!(tp = %log.topic_partition(), error = %e, "cleaning ended with its directory");
                false
            }
            Err(e @ CleanError::NoMemory(_)) => {
                warn!(tp = %log.topic_partition(), error = %e, "cleaning skipped");
                false
            }
            Err(CleanError::Uncleanable(why)) => {
                Self::leave_alone(&log, &why);
                false
            }
        }
    }

    fn leave_alone(log: &UnifiedLog, why: &str) {
        error!(tp = %log.topic_partition(), why, "log cannot be cleaned: skipped until restart");
        log.cleaning.mark_uncleanable();
    }

    /// The log with the highest share of bytes that can be cleaned, if one is worth it.
    fn dirtiest(&self, now: Millis) -> Option<(Arc<UnifiedLog>, Candidate)> {
        let mut dirtiest: Option<(Arc<UnifiedLog>, Candidate)> = None;
        for log in self.logs.logs() {
            let config = log.config();
            if !config.compact
                || log.cleaning.is_uncleanable()
                || log.cleaning.gate.is_busy()
                || log.log_dir().is_offline()
            {
                continue;
            }
            let candidate = match log.cleaning_candidate(now) {
                Ok(candidate) => candidate,
                Err(DirError::Damaged(why)) => {
                    Self::leave_alone(&log, &why);
                    continue;
                }
                Err(e) => {
                    debug!(tp = %log.topic_partition(), error = %e, "skipped");
                    continue;
                }
            };
            let is_dirtier = dirtiest.as_ref().is_none_or(|(_, known)| candidate.ratio() > known.ratio());
            if candidate.is_due(config.min_cleanable_dirty_ratio) && is_dirtier {
                dirtiest = Some((log, candidate));
            }
        }
        dirtiest
    }

    fn tell(&self, log: &UnifiedLog, candidate: &Candidate, end: Offset, stats: &Stats, elapsed: Duration) {
        const MB: f64 = 1_048_576.0;
        info!(
            "Log cleaner thread {} cleaned log {} (dirty section = [{}, {end}]): {:.1} MB of log processed in {:.1} seconds, \
             indexed {:.1} MB, buffer utilization {:.1}%, end size {:.1} MB, {} of {} messages left",
            self.number,
            log.topic_partition(),
            candidate.first_dirty,
            stats.bytes_read as f64 / MB,
            elapsed.as_secs_f64(),
            stats.map_bytes_read as f64 / MB,
            stats.map_utilization * 100.0,
            stats.bytes_written as f64 / MB,
            stats.records_written,
            stats.records_read
        );
        if stats.invalid_records > 0 {
            warn!(tp = %log.topic_partition(), "Found {} invalid messages during compaction.", stats.invalid_records);
        }
    }
}
