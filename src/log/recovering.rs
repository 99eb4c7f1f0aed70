//! Owns the logs that are recovered while the broker serves others: after a crash those of which much is to be read again.
//! Kafka reads all of them before it serves any.
//!
//! ```text
//! waiting    left by the start; its entries of the checkpoints are kept as they were, so another crash loses nothing
//! running    read by one of num.recovery.threads.per.data.dir; the shortest of a directory go first
//! gone       its log is there, or it is damaged, or its directory has failed, or it was deleted
//! ```
//!
//! Until then there is no such log for anyone, and nothing else is made in its place.

use super::loading::LoadError;
use super::log_dir::LogDir;
use super::unified_log::{LogOptions, UnifiedLog};
use crate::common::Uuid;
use crate::common::ids::{Offset, TopicPartition};
use parking_lot::{Condvar, Mutex};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A log that the start has left.
#[derive(Debug)]
pub struct Recovering {
    pub(super) topic_partition: TopicPartition,
    pub(super) log_dir: Arc<LogDir>,
    pub(super) dir: PathBuf,
    pub(super) options: LogOptions,
    pub(super) bytes: u64,
    /// As the directory says it.
    pub(super) topic_id: Option<Uuid>,
    /// What the checkpoints say; none without an entry.
    pub(super) recovery_point: Option<Offset>,
    pub(super) log_start: Option<Offset>,
    pub(super) high_watermark: Option<Offset>,
    pub(super) clean_end: Option<Offset>,
}

impl Recovering {
    pub fn topic_id(&self) -> Option<Uuid> {
        self.topic_id
    }

    pub(super) fn stop(&self) {
        self.options.limits.stop.store(true, Ordering::Relaxed);
    }
}

/// What became of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recovered {
    Ready(TopicPartition),
    /// It is no log: the partition is offline.
    Damaged(TopicPartition),
    /// Its directory has failed, it was deleted, or the broker stops.
    Left,
}

#[derive(Debug, Default)]
pub(super) struct RecoveringLogs {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    logs: HashMap<TopicPartition, Entry>,
    is_stopping: bool,
}

#[derive(Debug)]
struct Entry {
    log: Arc<Recovering>,
    is_running: bool,
}

impl RecoveringLogs {
    /// The one that was there before, of another directory.
    pub(super) fn add(&self, log: Recovering) -> Option<Arc<Recovering>> {
        let (tp, entry) = (log.topic_partition.clone(), Entry { log: Arc::new(log), is_running: false });
        self.state.lock().logs.insert(tp, entry).map(|former| former.log)
    }

    pub(super) fn get(&self, tp: &TopicPartition) -> Option<Arc<Recovering>> {
        self.state.lock().logs.get(tp).map(|entry| Arc::clone(&entry.log))
    }

    pub(super) fn in_dir(&self, dir: &Arc<LogDir>) -> Vec<Arc<Recovering>> {
        let state = self.state.lock();
        let all = state.logs.values().filter(|entry| Arc::ptr_eq(&entry.log.log_dir, dir));
        all.map(|entry| Arc::clone(&entry.log)).collect()
    }

    /// Takes one away that is to be deleted, once no one works on it any more.
    pub(super) fn take(&self, tp: &TopicPartition) -> Option<Arc<Recovering>> {
        let mut state = self.state.lock();
        loop {
            let entry = state.logs.get(tp)?;
            if !entry.is_running {
                return state.logs.remove(tp).map(|entry| entry.log);
            }
            entry.log.stop();
            self.changed.wait(&mut state);
        }
    }

    /// Forgets those of a directory that failed.
    pub(super) fn forget(&self, dir: &Arc<LogDir>) -> Vec<TopicPartition> {
        let mut state = self.state.lock();
        let mut gone = Vec::new();
        state.logs.retain(|tp, entry| {
            let stays = !Arc::ptr_eq(&entry.log.log_dir, dir);
            if !stays {
                entry.log.stop();
                gone.push(tp.clone());
            }
            stays
        });
        self.changed.notify_all();
        gone
    }

    /// Lets go of all work. Does not wait for it.
    pub(super) fn stop(&self) {
        let mut state = self.state.lock();
        state.is_stopping = true;
        state.logs.values().for_each(|entry| entry.log.stop());
    }

    /// Waits until no one works on any.
    pub(super) fn stop_and_wait(&self) {
        self.stop();
        let mut state = self.state.lock();
        while state.logs.values().any(|entry| entry.is_running) {
            self.changed.wait(&mut state);
        }
    }

    /// The shortest of a directory that no one works on.
    pub(super) fn begin(&self, dir: &Arc<LogDir>) -> Option<Arc<Recovering>> {
        let mut state = self.state.lock();
        if state.is_stopping || dir.is_offline() {
            return None;
        }
        let is_waiting = |entry: &&mut Entry| {
            !entry.is_running && !entry.log.options.limits.is_stopped() && Arc::ptr_eq(&entry.log.log_dir, dir)
        };
        let next = state.logs.values_mut().filter(is_waiting).min_by_key(|entry| entry.log.bytes)?;
        next.is_running = true;
        Some(Arc::clone(&next.log))
    }

    /// The end of the work on one. `done` is called unless it is not wanted any more; then it stays as it was.
    pub(super) fn end(
        &self,
        log: &Recovering,
        opened: Result<Arc<UnifiedLog>, LoadError>,
        done: impl FnOnce(Result<Arc<UnifiedLog>, LoadError>) -> Recovered,
    ) -> Recovered {
        let mut state = self.state.lock();
        let outcome = if log.options.limits.is_stopped() {
            if let Ok(log) = opened {
                // The scheduler may have it, and the directory may get another name.
                *log.small_files.hold() = true;
            }
            if let Some(entry) = state.logs.get_mut(&log.topic_partition) {
                entry.is_running = false;
            }
            Recovered::Left
        } else {
            // In this order: at no moment it is neither here nor there.
            let outcome = done(opened);
            state.logs.remove(&log.topic_partition);
            outcome
        };
        self.changed.notify_all();
        outcome
    }
}

#[cfg(test)]
mod tests;
