//! Owns the small files of partitions, `leader-epoch-checkpoint` and `partition.metadata`, on their way to the disk, and the
//! names of new directories. Kafka: `PartitionMetadataFile.record` and `maybeFlush`, `LeaderEpochFileCache.writeToFile`.
//!
//! One request of the controller changes thousands of them, and does not wait for the disk: the scheduler writes them
//! right after, many at a time, so that they share the waits. Where something depends on one sooner, that waits:
//! * the first record of a log, for the topic id, as in Kafka;
//! * the recovery point, for everything. Records above it say their epochs themselves, and loading reads those; of an
//!   epoch without records nobody asks anything that the epochs around it do not answer.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard};

use super::checkpoint::{self, LEADER_EPOCH_FILE, PARTITION_METADATA_FILE};
use super::log_dir::{DirError, LogDir};
use super::scheduler::Scheduler;
use super::unified_log::UnifiedLog;
use crate::common::ids::Millis;
use crate::disk::{self, DiskError, During};

/// Logs whose files are written together. Whoever needs one of these now waits for all of them.
const LOGS_AT_ONCE: usize = 64;

/// Until a full directory is tried again.
const FULL_RETRY_MS: Millis = 5_000;

/// What the disk does not have as memory has it, of one log.
#[derive(Debug, Default)]
pub(super) struct SmallFiles {
    topic_id: AtomicBool,
    epochs: AtomicBool,
    /// The directory is new.
    name: AtomicBool,
    is_queued: AtomicBool,
    /// Held while files are written and while the directory gets another name. True: nothing is written any more.
    is_gone: Mutex<bool>,
}

impl SmallFiles {
    /// Of a log whose directory is there, or was just made.
    pub(super) fn of(is_new: bool) -> Self {
        Self { name: AtomicBool::new(is_new), ..Self::default() }
    }

    fn flags(&self) -> [&AtomicBool; 3] {
        [&self.topic_id, &self.epochs, &self.name]
    }

    fn are_late(&self) -> bool {
        self.flags().into_iter().any(|flag| flag.load(Ordering::Acquire))
    }

    /// The log is about to be deleted: nobody will want them.
    pub(super) fn abandon(&self) {
        self.flags().into_iter().for_each(|flag| flag.store(false, Ordering::Release));
    }

    /// Nothing is written while this is held.
    pub(super) fn hold(&self) -> MutexGuard<'_, bool> {
        self.is_gone.lock()
    }
}

/// Logs of one directory that wait for the scheduler.
#[derive(Debug, Default)]
pub(super) struct LateLogs {
    queue: Mutex<Vec<Weak<UnifiedLog>>>,
    /// Several logs are held by one writer at a time.
    writer: Mutex<()>,
}

impl UnifiedLog {
    /// The epochs have changed.
    pub(super) fn epochs_changed(&self) {
        self.small_files.epochs.store(true, Ordering::Release);
        self.write_later();
    }

    /// The topic id is known now.
    pub(super) fn topic_id_changed(&self) {
        self.small_files.topic_id.store(true, Ordering::Release);
        self.write_later();
    }

    fn write_later(&self) {
        if self.small_files.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut queue = self.log_dir().late.queue.lock();
        queue.push(self.weak());
        if queue.len() == 1 {
            self.scheduler().schedule_in(0, job(self.log_dir(), self.scheduler()));
        }
    }

    /// Before a record: the topic id is on the disk. Hardly ever waits.
    pub(super) fn settle_topic_id(&self) -> Result<(), DirError> {
        if self.small_files.topic_id.load(Ordering::Acquire) { self.write_small_files() } else { Ok(()) }
    }

    /// Writes what is late, and waits for the disk.
    pub(super) fn write_small_files(&self) -> Result<(), DirError> {
        if !self.small_files.are_late() {
            return Ok(());
        }
        let is_gone = self.small_files.hold();
        if *is_gone { Ok(()) } else { write(self.log_dir(), &[self]) }
    }
}

/// Writes for all logs that wait; again later while there is no room.
fn job(log_dir: &Arc<LogDir>, scheduler: &Arc<Scheduler>) -> Box<dyn FnOnce() + Send> {
    let (dir, scheduler) = (Arc::clone(log_dir), Arc::downgrade(scheduler));
    Box::new(move || {
        if let Err(DirError::Full { .. }) = write_queued(&dir)
            && let Some(scheduler) = scheduler.upgrade()
        {
            scheduler.schedule_in(FULL_RETRY_MS, job(&dir, &scheduler));
        }
    })
}

/// Writes for all logs that wait. What finds no room waits on.
fn write_queued(log_dir: &Arc<LogDir>) -> Result<(), DirError> {
    let _one_writer = log_dir.late.writer.lock();
    loop {
        let batch: Vec<Arc<UnifiedLog>> = {
            let mut queue = log_dir.late.queue.lock();
            let count = queue.len().min(LOGS_AT_ONCE);
            queue.drain(..count).filter_map(|log| log.upgrade()).collect()
        };
        if batch.is_empty() && log_dir.late.queue.lock().is_empty() {
            return Ok(());
        }
        log_dir.check()?;
        let mut logs = Vec::with_capacity(batch.len());
        let mut held = Vec::with_capacity(batch.len());
        for log in &batch {
            log.small_files.is_queued.store(false, Ordering::Release);
            let is_gone = log.small_files.hold();
            if !*is_gone {
                logs.push(&**log);
                held.push(is_gone);
            }
        }
        if let Err(error) = write(log_dir, &logs) {
            let mut queue = log_dir.late.queue.lock();
            for log in logs {
                if !log.small_files.is_queued.swap(true, Ordering::AcqRel) {
                    queue.push(log.weak());
                }
            }
            return Err(error);
        }
    }
}

/// Writes what is late of logs that are held, all of one directory.
fn write(log_dir: &LogDir, logs: &[&UnifiedLog]) -> Result<(), DirError> {
    let mut taken = Vec::new();
    let mut take = |flag| {
        let is_late = AtomicBool::swap(flag, false, Ordering::AcqRel);
        if is_late {
            taken.push(flag);
        }
        is_late
    };
    let mut has_new_names = false;
    let mut files: Vec<(PathBuf, Vec<u8>)> = Vec::new();
    for log in logs {
        let (late, dir) = (&log.small_files, log.dir());
        has_new_names |= take(&late.name);
        if take(&late.topic_id)
            && let Some(id) = log.topic_id()
        {
            files.push((dir.join(PARTITION_METADATA_FILE), checkpoint::partition_metadata(id).into_bytes()));
        }
        if take(&late.epochs) {
            files.push((dir.join(LEADER_EPOCH_FILE), checkpoint::epochs(&log.epoch_entries()).into_bytes()));
        }
    }
    let names = if has_new_names { disk::sync_dir(log_dir.path()).during("sync", log_dir.path()) } else { Ok(()) };
    let replaced =
        names.and_then(|()| disk::replace_files(&files).map_err(|(path, error)| DiskError::new("write", &path, error)));
    let written = log_dir.guard(replaced);
    if written.is_err() {
        taken.into_iter().for_each(|flag| flag.store(true, Ordering::Release));
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::testing::{append, batch, open_in, options, small_config};
    use super::*;
    use crate::common::{LeaderEpoch, Uuid};
    use crate::disk::fault::testing::inject;
    use crate::record::BatchOptions;

    struct Host {
        root: tempfile::TempDir,
        log: Arc<UnifiedLog>,
    }

    impl Host {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let log = open_in(root.path(), options(small_config()), 0);
            log.assign_topic_id(Uuid::random()).unwrap();
            log.assign_epoch_start(LeaderEpoch(3), 0);
            Self { root, log }
        }

        fn run_due(&self) {
            self.log.scheduler().run_due(self.log.scheduler().now());
        }

        fn exist(&self) -> (bool, bool) {
            let exists = |name| self.root.path().join("t-0").join(name).exists();
            (exists(PARTITION_METADATA_FILE), exists(LEADER_EPOCH_FILE))
        }
    }

    #[test]
    fn the_scheduler_writes_what_a_role_change_leaves() {
        let host = Host::new();
        assert_eq!(host.exist(), (false, false));
        host.run_due();
        assert_eq!(host.exist(), (true, true));
        let text = fs::read_to_string(host.log.dir().join(LEADER_EPOCH_FILE)).unwrap();
        assert_eq!(text, "0\n1\n3 0\n");
        assert!(host.log.scheduler().is_empty());
        host.log.assign_epoch_start(LeaderEpoch(4), 0);
        host.run_due();
        assert_eq!(fs::read_to_string(host.log.dir().join(LEADER_EPOCH_FILE)).unwrap(), "0\n1\n4 0\n");
    }

    #[test]
    fn records_wait_for_the_topic_id_and_the_recovery_point_for_everything() {
        let host = Host::new();
        append(&host.log, &batch(BatchOptions::default(), 1, 0, 10), 3, 0).unwrap();
        assert!(host.exist().0);
        host.log.assign_epoch_start(LeaderEpoch(4), 1);
        append(&host.log, &batch(BatchOptions::default(), 1, 0, 10), 4, 0).unwrap();
        host.log.flush(0).unwrap();
        assert_eq!(host.log.recovery_point(), 2);
        let text = fs::read_to_string(host.log.dir().join(LEADER_EPOCH_FILE)).unwrap();
        assert_eq!(text, "0\n2\n3 0\n4 1\n");
    }

    #[test]
    fn a_log_that_is_deleted_before_its_turn_is_left_alone() {
        let host = Host::new();
        host.log.rename_for_deletion("t-0.0-delete").unwrap();
        host.run_due();
        assert!(!host.log.log_dir().is_offline());
        assert_eq!(fs::read_dir(host.root.path().join("t-0.0-delete")).unwrap().count(), 3);
    }

    #[test]
    fn a_full_disk_is_tried_again() {
        let host = Host::new();
        let faults = inject(|op| op.takes_room().then_some(libc::ENOSPC));
        let now = host.log.scheduler().now();
        assert!(host.log.scheduler().run_due(now).is_some_and(|next| next > now));
        drop(faults);
        assert_eq!((host.exist(), host.log.log_dir().is_offline()), ((false, false), false));
        host.log.scheduler().run_due(host.log.scheduler().now() + FULL_RETRY_MS);
        assert_eq!(host.exist(), (true, true));
    }
}
