//! Owns the small files of partitions, `leader-epoch-checkpoint` and `partition.metadata`, on their way to the disk, and the
//! names of new directories. Kafka: `PartitionMetadataFile.record` and `maybeFlush`, `LeaderEpochFileCache.writeToFile`.
//!
//! One request of the controller changes thousands of them, and does not wait for the disk: the scheduler writes them
//! right after, many at a time, so that they share the waits. Where something depends on one sooner, that waits:
//! * the first record of a log, for the topic id, as in Kafka;
//! * the recovery point, for everything. Records above it say their epochs themselves, and loading reads those; of an
//!   epoch without records no one asks anything that the epochs around it do not answer.

use super::checkpoint::{self, LEADER_EPOCH_FILE, PARTITION_METADATA_FILE};
use super::epoch_cache::EpochCache;
use super::partition_dir::PartitionDir;
use crate::common::Uuid;
use crate::disk::{self, DiskError, During};
use parking_lot::{Mutex, MutexGuard, RwLock};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// Logs whose files are written together. A caller that needs one of these now waits for all of them.
const LOGS_AT_ONCE: usize = 64;

/// What the small files of one log say, and what of that the disk does not have yet.
#[derive(Debug)]
pub(super) struct SmallFiles {
    dir: Arc<PartitionDir>,
    pub(super) topic_id: Mutex<Option<Uuid>>,
    pub(super) epochs: RwLock<EpochCache>,
    topic_id_is_late: AtomicBool,
    epochs_are_late: AtomicBool,
    /// The directory is new.
    name_is_late: AtomicBool,
    is_queued: AtomicBool,
    /// Held while files are written and while the directory gets another name. True: nothing is written any more.
    is_gone: Mutex<bool>,
}

impl SmallFiles {
    /// Of a log whose directory is there, or was just made.
    pub(super) fn new(dir: &Arc<PartitionDir>, topic_id: Option<Uuid>, epochs: EpochCache, is_new: bool) -> Self {
        Self {
            dir: Arc::clone(dir),
            topic_id: Mutex::new(topic_id),
            epochs: RwLock::new(epochs),
            topic_id_is_late: AtomicBool::new(false),
            epochs_are_late: AtomicBool::new(false),
            name_is_late: AtomicBool::new(is_new),
            is_queued: AtomicBool::new(false),
            is_gone: Mutex::new(false),
        }
    }

    fn flags(&self) -> [&AtomicBool; 3] {
        [&self.topic_id_is_late, &self.epochs_are_late, &self.name_is_late]
    }

    pub(super) fn are_late(&self) -> bool {
        self.flags().into_iter().any(|flag| flag.load(Ordering::Acquire))
    }

    pub(super) fn is_topic_id_late(&self) -> bool {
        self.topic_id_is_late.load(Ordering::Acquire)
    }

    /// The topic id is known now.
    pub(super) fn topic_id_changed(&self) {
        self.topic_id_is_late.store(true, Ordering::Release);
    }

    pub(super) fn epochs_changed(&self) {
        self.epochs_are_late.store(true, Ordering::Release);
    }

    /// The log is about to be deleted: no one will want them.
    pub(super) fn abandon(&self) {
        self.flags().into_iter().for_each(|flag| flag.store(false, Ordering::Release));
    }

    /// Nothing is written while this is held.
    pub(super) fn hold(&self) -> MutexGuard<'_, bool> {
        self.is_gone.lock()
    }
}

/// Logs of one directory that wait for their small files to be written.
#[derive(Debug, Default)]
pub(super) struct LateFiles {
    queue: Mutex<Vec<Weak<SmallFiles>>>,
    /// Several logs are held by one writer at a time.
    pub(super) writer: Mutex<()>,
}

impl LateFiles {
    /// True for the first that waits.
    pub(super) fn push(&self, files: &Arc<SmallFiles>) -> bool {
        if files.is_queued.swap(true, Ordering::AcqRel) {
            return false;
        }
        let mut queue = self.queue.lock();
        queue.push(Arc::downgrade(files));
        queue.len() == 1
    }

    /// The next to be written together; `None` when none waits.
    pub(super) fn take(&self) -> Option<Vec<Arc<SmallFiles>>> {
        let mut queue = self.queue.lock();
        let count = queue.len().min(LOGS_AT_ONCE);
        let batch: Vec<_> = queue.drain(..count).filter_map(|files| files.upgrade()).collect();
        if batch.is_empty() && queue.is_empty() { None } else { Some(batch) }
    }

    /// Writes for all of a batch; they wait again where that fails.
    pub(super) fn write(&self, log_dir: &Path, batch: &[Arc<SmallFiles>]) -> Result<(), DiskError> {
        let mut here = Vec::with_capacity(batch.len());
        let mut held = Vec::with_capacity(batch.len());
        for files in batch {
            files.is_queued.store(false, Ordering::Release);
            let is_gone = files.hold();
            if !*is_gone {
                here.push(&**files);
                held.push((files, is_gone));
            }
        }
        let written = write(log_dir, &here);
        if written.is_err() {
            let mut queue = self.queue.lock();
            for (files, _) in held {
                if !files.is_queued.swap(true, Ordering::AcqRel) {
                    queue.push(Arc::downgrade(files));
                }
            }
        }
        written
    }
}

/// Writes what is late of logs that are held, all of one directory.
pub(super) fn write(log_dir: &Path, logs: &[&SmallFiles]) -> Result<(), DiskError> {
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
        has_new_names |= take(&log.name_is_late);
        if take(&log.topic_id_is_late)
            && let Some(id) = *log.topic_id.lock()
        {
            files.push((log.dir.file(PARTITION_METADATA_FILE), checkpoint::partition_metadata(id).into_bytes()));
        }
        if take(&log.epochs_are_late) {
            let text = checkpoint::epochs(log.epochs.read().entries());
            files.push((log.dir.file(LEADER_EPOCH_FILE), text.into_bytes()));
        }
    }
    let names = if has_new_names { disk::sync_dir(log_dir).during("sync", log_dir) } else { Ok(()) };
    let written =
        names.and_then(|()| disk::replace_files(&files).map_err(|(path, error)| DiskError::new("write", &path, error)));
    if written.is_err() {
        taken.into_iter().for_each(|flag| flag.store(true, Ordering::Release));
    }
    written
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::log_dir::FULL_RETRY_MS;
    use super::super::testing::{append, batch, open_in, options, small_config};
    use super::*;
    use crate::common::LeaderEpoch;
    use crate::disk::fault::testing::inject;
    use crate::log::UnifiedLog;
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
