//! Owns a log directory's life and death, and the room in it. Kafka: `LogDirFailureChannel`. What is in it is in
//! [`super::partition_dir`].

use super::scheduler::Scheduler;
use super::small_files::{self, LateFiles, SmallFiles};
use crate::common::ids::Millis;
use crate::disk::{self, DiskError, During, FilePool};
use crate::util::rate_limit::RateLimit;
use parking_lot::Mutex;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::{error, info};

/// How often a full directory is worth a line.
const FULL_TOLD_EVERY: Duration = Duration::from_secs(10);

/// Until small files are tried again that found no room.
pub(super) const FULL_RETRY_MS: Millis = 5_000;

/// Why a log cannot be used. The wire says KAFKA_STORAGE_ERROR, and CORRUPT_MESSAGE for damage.
#[derive(Debug, thiserror::Error)]
pub enum DirError {
    /// This call met the failure. The directory is offline from now on.
    #[error("log directory {dir} failed: {source}")]
    Failed { dir: PathBuf, source: DiskError },
    /// It failed before.
    #[error("log directory {0} is offline")]
    Offline(PathBuf),
    /// No room for this call. Nothing of it has happened, reads go on, and so do writes once there is room. Apache
    /// takes such a directory offline.
    #[error("log directory {dir} is full: {source}")]
    Full { dir: PathBuf, source: DiskError },
    /// The files of one log say what cannot be. The directory and its other logs are as good as before.
    #[error("log is damaged: {0}")]
    Damaged(String),
    /// The log or the segment was deleted meanwhile.
    #[error("{0} was deleted")]
    Gone(PathBuf),
    /// What is left is kept for the broker's own work: see [`LogDir::keeping_free`].
    #[error("log directory {0} has no room beyond its reserve")]
    Reserved(PathBuf),
}

/// Lets operations that can do without go on where there is no room for them.
pub(super) fn unless_full(result: Result<(), DirError>) -> Result<(), DirError> {
    match result {
        Err(DirError::Full { .. }) => Ok(()),
        other => other,
    }
}

/// One of `log.dirs`: an independent failure domain. The first error of the device takes it offline, for good; having no
/// room is none, and neither is what a file says.
#[derive(Debug)]
pub struct LogDir {
    path: PathBuf,
    is_offline: AtomicBool,
    failures: mpsc::Sender<PathBuf>,
    files: Arc<FilePool>,
    scheduler: Arc<Scheduler>,
    tells_residency: AtomicBool,
    full: RateLimit,
    reserve_bytes: u64,
    /// What clients may still write until the next look at the file system.
    room: AtomicI64,
    /// A log here has another first dirty offset than the checkpoint says.
    cleaner_checkpoint_is_stale: AtomicBool,
    /// One writer of each checkpoint at a time.
    pub(super) checkpoints: Mutex<()>,
    late: LateFiles,
}

impl LogDir {
    /// `failures` gets the path once, when the directory fails; it has room for each directory. `files` bounds what all
    /// directories have open.
    pub fn new(path: PathBuf, failures: mpsc::Sender<PathBuf>, files: Arc<FilePool>) -> Self {
        Self {
            path,
            is_offline: AtomicBool::new(false),
            failures,
            files,
            scheduler: Arc::default(),
            tells_residency: AtomicBool::new(true),
            checkpoints: Mutex::default(),
            full: RateLimit::every(FULL_TOLD_EVERY),
            reserve_bytes: 0,
            room: AtomicI64::new(i64::MAX),
            cleaner_checkpoint_is_stale: AtomicBool::new(false),
            late: LateFiles::default(),
        }
    }

    /// Keeps the last `bytes` of the file system from what clients produce: `zurau.disk.reserve.bytes`. Compaction,
    /// checkpoints, deletions, replicas and the coordinators' records may use them.
    pub fn keeping_free(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self.look_at_room();
        self
    }

    /// Asks the file system how much clients may produce beside the reserve. Waits for it.
    pub fn look_at_room(&self) {
        if self.reserve_bytes == 0 || self.is_offline() {
            return;
        }
        // A file system that does not say is met by the next write.
        if let Ok((_, usable)) = disk::space(&self.path) {
            let room = i128::from(usable) - i128::from(self.reserve_bytes);
            self.room.store(room.clamp(i64::MIN.into(), i64::MAX.into()) as i64, Ordering::Relaxed);
        }
    }

    /// Counts what was appended since the last look.
    pub(super) fn note_appended(&self, bytes: u32) {
        if self.reserve_bytes > 0 {
            self.room.fetch_sub(bytes.into(), Ordering::Relaxed);
        }
    }

    /// Refuses what a client produces where only the reserve is left.
    pub(super) fn check_reserve(&self, bytes: u32) -> Result<(), DirError> {
        if self.reserve_bytes == 0 || self.room.load(Ordering::Relaxed) >= bytes.into() {
            return Ok(());
        }
        if let Some(left_out) = self.full.permit() {
            error!(
                dir = %self.path.display(),
                reserve_bytes = self.reserve_bytes,
                left_out,
                "log directory has no room beyond its reserve, nothing is produced until there is"
            );
        }
        Err(DirError::Reserved(self.path.clone()))
    }

    pub(super) fn files(&self) -> &Arc<FilePool> {
        &self.files
    }

    /// Whether the file system says what is in the page cache: see [`disk::tells_residency`].
    pub(super) fn tells_residency(&self) -> bool {
        self.tells_residency.load(Ordering::Relaxed)
    }

    /// Asks the file system whether it does. An answer that it cannot give leaves the careful way.
    pub(super) fn ask_residency(&self, any_file: &Path) {
        let tells = disk::tells_residency(any_file).unwrap_or(true);
        self.tells_residency.store(tells, Ordering::Relaxed);
        if !tells {
            info!(dir = %self.path.display(), "the file system does not say what is in memory, records are sent as they come");
        }
    }

    /// Runs what this directory's logs have left for later; see [`Scheduler::run_due`]. A disk that hangs holds up its own
    /// only.
    pub fn scheduler(&self) -> &Arc<Scheduler> {
        &self.scheduler
    }

    /// Writes what is late of a log's small files, soon, together with those of others.
    pub(super) fn write_later(self: &Arc<Self>, files: &Arc<SmallFiles>) {
        if self.late.push(files) {
            self.scheduler.schedule_in(0, self.late_job());
        }
    }

    /// Writes for all logs that wait; again later while there is no room.
    fn late_job(self: &Arc<Self>) -> Box<dyn FnOnce() + Send> {
        let (dir, scheduler) = (Arc::clone(self), Arc::downgrade(&self.scheduler));
        Box::new(move || {
            if let Err(DirError::Full { .. }) = dir.write_late()
                && let Some(scheduler) = scheduler.upgrade()
            {
                scheduler.schedule_in(FULL_RETRY_MS, dir.late_job());
            }
        })
    }

    /// Writes for all logs that wait. What finds no room waits on.
    fn write_late(&self) -> Result<(), DirError> {
        let _one_writer = self.late.writer.lock();
        while let Some(batch) = self.late.take() {
            self.check()?;
            self.guard(self.late.write(&self.path, &batch))?;
        }
        Ok(())
    }

    /// Writes what is late of a log's small files, and waits for the disk.
    pub(super) fn write_now(&self, files: &SmallFiles) -> Result<(), DirError> {
        if !files.are_late() {
            return Ok(());
        }
        let is_gone = files.hold();
        if *is_gone { Ok(()) } else { self.guard(small_files::write(&self.path, &[files])) }
    }

    pub(super) fn set_cleaner_checkpoint_stale(&self, is_stale: bool) {
        self.cleaner_checkpoint_is_stale.store(is_stale, Ordering::Release);
    }

    /// Whether the cleaner's checkpoint is to be written, asked by who does.
    pub(super) fn take_cleaner_checkpoint_stale(&self) -> bool {
        self.cleaner_checkpoint_is_stale.swap(false, Ordering::AcqRel)
    }

    /// Waits until the names in it are on the disk.
    pub(super) fn sync_names(&self) -> Result<(), DirError> {
        self.guard(disk::sync_dir(&self.path).during("sync", &self.path))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Acquire)
    }

    pub fn check(&self) -> Result<(), DirError> {
        if self.is_offline() { Err(DirError::Offline(self.path.clone())) } else { Ok(()) }
    }

    /// Passes a result on; an error takes the directory offline, unless it only says that there is no room.
    pub fn guard<T>(&self, result: Result<T, DiskError>) -> Result<T, DirError> {
        result.map_err(|source| self.judge(source))
    }

    /// What an error means. See [`Self::guard`].
    pub fn judge(&self, source: DiskError) -> DirError {
        if source.is_content() {
            return DirError::Damaged(source.to_string());
        }
        if !source.is_full() {
            return self.fail(source);
        }
        if let Some(left_out) = self.full.permit() {
            error!(dir = %self.path.display(), error = %source, left_out, "log directory is full, nothing is written until there is room");
        }
        DirError::Full { dir: self.path.clone(), source }
    }

    /// Takes the directory offline. Later errors, which are usually its consequences, are not logged again.
    pub fn fail(&self, source: DiskError) -> DirError {
        if !self.is_offline.swap(true, Ordering::AcqRel) {
            error!(dir = %self.path.display(), error = %source, "log directory failed, stopping to serve its logs");
            // Full or closed only when no one serves logs any more.
            drop(self.failures.try_send(self.path.clone()));
        }
        DirError::Failed { dir: self.path.clone(), source }
    }
}

/// Ends with a failure that needs nothing more here: the directory has logged it, and is offline where the device failed.
pub fn reported<T>(_: Result<T, DirError>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_directory_stays_in_service() {
        let (tx, mut rx) = mpsc::channel(1);
        let dir = LogDir::new(PathBuf::from("/d"), tx, Arc::new(FilePool::new(1)));
        for code in [libc::ENOSPC, libc::EDQUOT] {
            let full = Err::<(), _>(std::io::Error::from_raw_os_error(code)).during("write", Path::new("/d/f"));
            assert!(matches!(dir.guard(full), Err(DirError::Full { .. })));
        }
        assert!(dir.check().is_ok() && rx.try_recv().is_err());
    }

    #[test]
    fn what_is_reserved_is_kept_from_clients_until_there_is_more_room() {
        let place = tempfile::tempdir().unwrap();
        let new = |reserve| {
            let (tx, _) = mpsc::channel(1);
            LogDir::new(place.path().to_owned(), tx, Arc::new(FilePool::new(1))).keeping_free(reserve)
        };
        let off = new(0);
        off.note_appended(u32::MAX);
        assert!(off.check_reserve(u32::MAX).is_ok());
        assert!(matches!(new(u64::MAX).check_reserve(1), Err(DirError::Reserved(_))));
        let dir = new(1);
        assert!(dir.check_reserve(1).is_ok());
        // What was appended counts before the file system is asked again.
        dir.room.store(100, Ordering::Relaxed);
        dir.note_appended(60);
        assert!(dir.check_reserve(40).is_ok() && dir.check_reserve(41).is_err());
        dir.look_at_room();
        assert!(dir.check_reserve(41).is_ok() && !dir.is_offline());
    }

    #[test]
    fn the_first_failure_is_told_once() {
        let (tx, mut rx) = mpsc::channel(1);
        let dir = LogDir::new(PathBuf::from("/d"), tx, Arc::new(FilePool::new(1)));
        assert!(dir.check().is_ok());
        for _ in 0..2 {
            let failed = Err::<(), _>(std::io::Error::other("x")).during("write", Path::new("/d/f"));
            assert!(matches!(dir.guard(failed), Err(DirError::Failed { .. })));
        }
        assert!(matches!(dir.check(), Err(DirError::Offline(_))));
        assert_eq!(rx.try_recv().unwrap(), PathBuf::from("/d"));
        assert!(rx.try_recv().is_err());
    }
}
