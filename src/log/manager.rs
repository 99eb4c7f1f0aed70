//! Owns all logs of a broker and the directories that they are in: loading, creation, deletion, periodic work, shutdown.
//! Kafka: `LogManager`. Absent on purpose: threads of its own but for loading and closing, and timers; the owner of a
//! clock calls the periodic functions, off the data workers, because they wait for the disk.

mod checkpoints;
mod startup;

use super::checkpoint::{self, HIGH_WATERMARK_FILE, LOCK_FILE};
use super::cleaner::LogCleaner;
use super::loading::{LoadError, LoadLimits};
use super::log_dir::{DirError, LogDir, reported};
use super::partition_dir::{delete_dir_name, stray_dir_name};
use super::producer_state::ProducerStateConfig;
use super::recovering::{Recovering, RecoveringLogs};
use super::unified_log::{InconsistentTopicId, LogOptions, UnifiedLog};
use crate::common::Uuid;
use crate::common::ids::{Millis, Offset, TopicPartition};
use crate::config::topic::LogConfig;
use crate::disk::{self, DirLock, DiskError, During, FilePool};
use crate::util::claims::Claims;
use crate::util::lock::{self, Rank, RwLock};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tracing::{debug, error, info, warn};

/// How long a call to the disk may take before it is told.
const HANGING_AFTER: Duration = Duration::from_secs(10);

/// Bytes that must be free before a log is made that found no room.
const ROOM_FOR_A_LOG: usize = 64 << 10;

/// What a broker says about its logs.
#[derive(Clone, Debug)]
pub struct LogManagerOptions {
    pub log_dirs: Vec<PathBuf>,
    /// `num.recovery.threads.per.data.dir`.
    pub recovery_threads_per_dir: usize,
    pub producer_config: ProducerStateConfig,
    /// For topics without settings of their own, and for the delay before a deleted log's files go.
    pub default_config: Arc<LogConfig>,
    /// Files of segments that are open at once, about.
    pub max_open_files: usize,
    /// `zurau.disk.reserve.bytes`: see [`LogDir::keeping_free`].
    pub disk_reserve_bytes: u64,
}

/// Why a broker cannot use its log directories.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(
        "Failed to acquire lock on file .lock in {0}. A Kafka instance in another process or thread is using this \
         directory."
    )]
    Locked(PathBuf),
    #[error("duplicate log directory found: {0}")]
    DuplicateDir(PathBuf),
    #[error("none of the specified log dirs can be created or validated")]
    NoDirs,
    #[error(
        "found directory {0}, which is not in the form of topic-partition or topic-partition.uniqueId-delete (if marked \
         for deletion). Kafka's log directories (and children) should only contain Kafka topic data."
    )]
    NotAPartition(PathBuf),
    #[error(
        "duplicate log directories for {tp} are found in both {first} and {second}. Recover the broker from this failure \
         by manually deleting one of the two directories for this partition."
    )]
    DuplicateLog { tp: TopicPartition, first: PathBuf, second: PathBuf },
}

/// Why there is no log for a partition.
#[derive(Debug, thiserror::Error)]
pub enum CreateLogError {
    /// The partition may be in a directory that is offline.
    #[error("can not create log for {0} because log directories are offline")]
    DirsOffline(TopicPartition),
    /// Its directory is there and did not become a log.
    #[error("log of {tp} is damaged: {why}")]
    Damaged { tp: TopicPartition, why: String },
    /// It is there, and not ready yet.
    #[error("log of {0} is still recovered")]
    Recovering(TopicPartition),
    #[error(transparent)]
    TopicId(#[from] InconsistentTopicId),
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// One replica in a directory, for DescribeLogDirs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogDescription {
    pub topic_partition: TopicPartition,
    pub size: u64,
    /// How far the log's end is behind the high watermark.
    pub offset_lag: i64,
    /// A replica that is on its way here. It lags behind the end of the one that it will take the place of.
    pub is_future: bool,
}

/// A log directory, for DescribeLogDirs.
#[derive(Clone, Debug)]
pub struct LogDirDescription {
    pub path: PathBuf,
    pub is_offline: bool,
    pub logs: Vec<LogDescription>,
    /// `None` when the file system does not say.
    pub total_bytes: Option<u64>,
    pub usable_bytes: Option<u64>,
}

#[derive(Debug)]
struct Dir {
    log_dir: Arc<LogDir>,
    lock: Mutex<Option<DirLock>>,
    had_clean_shutdown: AtomicBool,
    /// Every log was opened, or is recovered: without this and a clean start before, a stop is not called clean.
    is_loaded: AtomicBool,
}

impl Dir {
    fn file(&self, name: &str) -> PathBuf {
        self.log_dir.path().join(name)
    }
}

#[derive(Debug)]
pub(super) struct Damaged {
    pub log_dir: Arc<LogDir>,
    pub dir: PathBuf,
    pub why: String,
}

/// See the module's page.
#[derive(Debug)]
pub struct LogManager {
    options: LogManagerOptions,
    dirs: Vec<Dir>,
    pub(super) logs: RwLock<HashMap<TopicPartition, Arc<UnifiedLog>>>,
    /// Logs that replicas are moving to: see [`super::moves`].
    pub(super) futures: RwLock<HashMap<TopicPartition, Arc<UnifiedLog>>>,
    pub(super) moves_changed: Notify,
    /// Where replicas are to be made that are not here yet.
    pub(super) preferred: Mutex<HashMap<TopicPartition, PathBuf>>,
    /// Partitions whose directory is there but did not become a log.
    pub(super) damaged: Mutex<HashMap<TopicPartition, Damaged>>,
    /// Logs that the start has left to be recovered while others are served: see [`super::recovering`].
    pub(super) recovering: RecoveringLogs,
    /// One creation, deletion or step of a move of a partition at a time: these wait for the disk, which of one directory may
    /// hang. Kafka: `logCreationOrDeletionLock`.
    pub(super) in_work: Claims<TopicPartition>,
    /// One change of logs' settings at a time.
    configs: lock::Mutex<()>,
    pub(super) cleaner: Mutex<Option<LogCleaner>>,
}

impl LogManager {
    /// Makes missing directories and locks all. The receiver gets the path of each directory that fails, once: see
    /// [`Self::handle_dir_failure`]. A directory that cannot be used from the start is among them.
    pub fn open(options: LogManagerOptions) -> Result<(Self, mpsc::Receiver<PathBuf>), StartError> {
        let (failures, events) = mpsc::channel(options.log_dirs.len().max(1));
        let files = Arc::new(FilePool::new(options.max_open_files));
        let mut canonical = Vec::new();
        let mut dirs = Vec::new();
        for path in &options.log_dirs {
            let log_dir = LogDir::new(path.clone(), failures.clone(), Arc::clone(&files));
            let log_dir = Arc::new(log_dir.keeping_free(options.disk_reserve_bytes));
            let lock = match prepare_dir(path) {
                Ok(real) if canonical.contains(&real) => return Err(StartError::DuplicateDir(path.clone())),
                Ok(real) => {
                    canonical.push(real);
                    let lock_path = path.join(LOCK_FILE);
                    match DirLock::try_lock(&lock_path).during("lock", &lock_path) {
                        Ok(Some(lock)) => {
                            log_dir.ask_residency(&lock_path);
                            Some(lock)
                        }
                        Ok(None) => return Err(StartError::Locked(path.clone())),
                        Err(e) => {
                            log_dir.fail(e);
                            None
                        }
                    }
                }
                Err(e) => {
                    log_dir.fail(e);
                    None
                }
            };
            dirs.push(Dir {
                log_dir,
                lock: Mutex::new(lock),
                had_clean_shutdown: AtomicBool::new(false),
                is_loaded: AtomicBool::new(false),
            });
        }
        if dirs.iter().all(|dir| dir.log_dir.is_offline()) {
            return Err(StartError::NoDirs);
        }
        let manager = Self {
            options,
            dirs,
            logs: RwLock::new(Rank::Logs, HashMap::new()),
            futures: RwLock::new(Rank::FutureLogs, HashMap::new()),
            moves_changed: Notify::new(),
            preferred: Mutex::default(),
            damaged: Mutex::default(),
            recovering: RecoveringLogs::default(),
            in_work: Claims::default(),
            configs: lock::Mutex::new(Rank::LogConfigs, ()),
            cleaner: Mutex::default(),
        };
        Ok((manager, events))
    }

    pub(super) fn producer_config(&self) -> ProducerStateConfig {
        self.options.producer_config
    }

    /// Directories that work.
    pub fn live_dirs(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().map(|dir| &dir.log_dir).filter(|dir| !dir.is_offline())
    }

    /// Says which disk calls do not come back. Waits for nothing.
    pub fn tell_hanging_calls(&self) {
        for hanging in disk::calls::hanging(HANGING_AFTER) {
            let Some(dir) = self.dirs.iter().find(|dir| hanging.path.starts_with(dir.log_dir.path())) else { continue };
            error!(
                dir = %dir.log_dir.path().display(),
                call = hanging.call,
                file = %hanging.path.display(),
                seconds = hanging.elapsed.as_secs(),
                "log directory hangs: a call to the disk has not come back"
            );
        }
    }

    pub fn offline_dirs(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().map(|dir| &dir.log_dir).filter(|dir| dir.is_offline())
    }

    /// Whether a log could be made. Waits for the disk.
    pub fn has_room(&self) -> bool {
        self.live_dirs().any(|dir| {
            let checked = disk::check_room(dir.path(), ROOM_FOR_A_LOG);
            // Another failure than having no room is logged by the directory.
            dir.guard(checked.during("write", dir.path())).is_ok()
        })
    }

    // ---- logs

    pub fn log(&self, tp: &TopicPartition) -> Option<Arc<UnifiedLog>> {
        self.logs.read().get(tp).cloned()
    }

    /// A log that is still recovered: there will be one.
    pub fn recovering(&self, tp: &TopicPartition) -> Option<Arc<Recovering>> {
        self.recovering.get(tp)
    }

    /// The partition's directory is there, and is no log.
    pub fn is_damaged(&self, tp: &TopicPartition) -> bool {
        self.damaged.lock().contains_key(tp)
    }

    pub fn logs(&self) -> Vec<Arc<UnifiedLog>> {
        self.logs.read().values().cloned().collect()
    }

    /// Those that are served, and those that replicas are moving to.
    fn all_logs(&self) -> Vec<Arc<UnifiedLog>> {
        let mut all = self.logs();
        all.extend(self.futures.read().values().cloned());
        all
    }

    /// The partition's log; made in the live directory with the fewest logs when it is not there. `is_new` is the
    /// controller's word that no directory can hold it yet: without it nothing is made while a directory is offline.
    pub fn get_or_create(
        &self,
        tp: &TopicPartition,
        is_new: bool,
        topic_id: Option<Uuid>,
        config: &Arc<LogConfig>,
        now: Millis,
    ) -> Result<Arc<UnifiedLog>, CreateLogError> {
        let _in_work = self.in_work.claim([tp]);
        if let Some(log) = self.log(tp) {
            // It has failed, and this is not known everywhere yet.
            log.log_dir().check()?;
            if let Some(id) = topic_id {
                log.assign_topic_id(id)?;
            }
            return Ok(log);
        }
        if self.recovering(tp).is_some() {
            return Err(CreateLogError::Recovering(tp.clone()));
        }
        if let Some(damaged) = self.damaged.lock().get(tp) {
            return Err(CreateLogError::Damaged { tp: tp.clone(), why: damaged.why.clone() });
        }
        if !is_new && self.offline_dirs().next().is_some() {
            return Err(CreateLogError::DirsOffline(tp.clone()));
        }
        let mut last = CreateLogError::DirsOffline(tp.clone());
        for log_dir in self.dirs_for(tp) {
            let dir = log_dir.path().join(tp.to_string());
            let options = LogOptions {
                config: Arc::clone(config),
                producer_config: self.options.producer_config,
                log_start: 0,
                recovery_point: 0,
                had_clean_shutdown: true,
                topic_id,
                limits: LoadLimits::default(),
            };
            // What a deletion could not rename is not ours to remove.
            let was_there = dir.exists();
            match UnifiedLog::open(&dir, tp.clone(), Arc::clone(&log_dir), options, now) {
                Ok(log) => {
                    info!(
                        "Created log for partition {tp} in {} with properties {:?}",
                        dir.display(),
                        config.overridden
                    );
                    {
                        // The failure of a directory takes its logs away under this lock.
                        let mut logs = self.logs.write();
                        log_dir.check()?;
                        logs.insert(tp.clone(), Arc::clone(&log));
                    }
                    self.preferred.lock().remove(tp);
                    return Ok(log);
                }
                Err(LoadError::Disk(e)) => {
                    last = log_dir.judge(e).into();
                    if !was_there && !log_dir.is_offline() {
                        // No room. What is there of it would be a second log of the partition at the next start.
                        reported(log_dir.guard(disk::remove_dir_all(&dir).during("delete", &dir)));
                    }
                }
                Err(other) => return Err(CreateLogError::Damaged { tp: tp.clone(), why: other.to_string() }),
            }
        }
        Err(last)
    }

    /// Live directories: the one that AlterReplicaLogDirs asked for, then the one with the fewest logs.
    fn dirs_for(&self, tp: &TopicPartition) -> Vec<Arc<LogDir>> {
        let mut dirs = self.dirs_by_load();
        if let Some(preferred) = self.preferred.lock().get(tp) {
            dirs.sort_by_key(|dir| dir.path() != preferred);
        }
        dirs
    }

    fn dirs_by_load(&self) -> Vec<Arc<LogDir>> {
        let mut dirs: Vec<(usize, Arc<LogDir>)> = self.live_dirs().map(|dir| (0, Arc::clone(dir))).collect();
        // With one there is nothing to choose, and thousands of logs to count for each new one.
        if dirs.len() > 1 {
            for logs in [&self.logs, &self.futures] {
                for log in logs.read().values() {
                    if let Some((count, _)) = dirs.iter_mut().find(|(_, dir)| Arc::ptr_eq(dir, log.log_dir())) {
                        *count += 1;
                    }
                }
            }
            dirs.iter_mut().for_each(|(count, dir)| *count += self.recovering.in_dir(dir).len());
        }
        dirs.sort_by_key(|(count, _)| *count);
        dirs.into_iter().map(|(_, dir)| dir).collect()
    }

    /// Settings may have changed: those logs that `concerns` names take over what `config_of` says of their topics now.
    pub fn take_configs(&self, concerns: impl Fn(&str) -> bool, config_of: impl Fn(&str) -> Arc<LogConfig>) {
        let mut left_by_cleaner = Vec::new();
        {
            // What is read under this lock is not older than what another caller has set.
            let _one_at_a_time = self.configs.lock();
            for (tp, log) in self.logs.read().iter().filter(|(tp, _)| concerns(&tp.topic)) {
                if log.swap_config(config_of(&tp.topic)) {
                    left_by_cleaner.push(Arc::clone(log));
                }
            }
        }
        // A log that is not compacted any more is left by the cleaner before this returns.
        left_by_cleaner.iter().for_each(|log| drop(log.cleaning.gate.pause()));
    }

    /// `future` is the partition's log from now on, with the settings that the former has.
    pub(super) fn adopt(&self, current: &UnifiedLog, future: &Arc<UnifiedLog>) {
        let _one_at_a_time = self.configs.lock();
        let tp = future.topic_partition();
        future.swap_config(current.config());
        self.logs.write().insert(tp.clone(), Arc::clone(future));
        self.futures.write().remove(tp);
    }

    /// Takes partitions away: their directories get another name at once, their files go after `file.delete.delay.ms`,
    /// also after a restart. A partition that is not here is fine unless a directory is offline, which may have it.
    pub fn delete(&self, partitions: &[TopicPartition]) -> Vec<(TopicPartition, DirError)> {
        let mut failed = Vec::new();
        let mut renamed: Vec<(&TopicPartition, Arc<LogDir>, PathBuf)> = Vec::new();
        // Before the claim: the task that works on one may wait for it.
        for log in partitions.iter().filter_map(|tp| self.recovering.take(tp)) {
            let (log_dir, dir) = (Arc::clone(&log.log_dir), log.dir.clone());
            let why = "its recovery was given up".to_owned();
            self.damaged.lock().insert(log.topic_partition.clone(), Damaged { log_dir, dir, why });
        }
        {
            let _in_work = self.in_work.claim(partitions);
            // Those of a topic that was just made may still be on their way to the disk.
            partitions.iter().filter_map(|tp| self.log(tp)).for_each(|log| log.small_files.abandon());
            for tp in partitions {
                self.cancel_move(tp);
                self.preferred.lock().remove(tp);
                let log = self.logs.write().remove(tp);
                let damaged = self.damaged.lock().remove(tp);
                let name = delete_dir_name(tp);
                let outcome = match (&log, damaged) {
                    (Some(log), _) => {
                        if log.cleaner_checkpoint().is_some() {
                            log.log_dir().set_cleaner_checkpoint_stale(true);
                        }
                        log.rename_for_deletion(&name).map(|()| Arc::clone(log.log_dir()))
                    }
                    (None, Some(damaged)) => {
                        let target = damaged.log_dir.path().join(&name);
                        let renamed = disk::rename_unsynced(&damaged.dir, &target).during("rename", &damaged.dir);
                        damaged.log_dir.guard(renamed).map(|()| damaged.log_dir)
                    }
                    (None, None) => match self.offline_dirs().next() {
                        Some(dir) => Err(DirError::Offline(dir.path().to_owned())),
                        None => continue,
                    },
                };
                match outcome {
                    Ok(log_dir) => {
                        let dir = log_dir.path().join(&name);
                        renamed.push((tp, log_dir, dir));
                    }
                    Err(e) => failed.push((tp.clone(), e)),
                }
            }
        }
        for log_dir in self.dirs.iter().map(|dir| &dir.log_dir) {
            let mut gone = renamed.iter().filter(|(_, known, _)| Arc::ptr_eq(known, log_dir)).peekable();
            if gone.peek().is_none() {
                continue;
            }
            if log_dir.sync_names().is_err() {
                let offline = || DirError::Offline(log_dir.path().to_owned());
                failed.extend(gone.map(|(tp, ..)| ((*tp).clone(), offline())));
                continue;
            }
            for (tp, _, dir) in gone {
                info!("Log for partition {tp} is renamed to {} and is scheduled for deletion", dir.display());
                self.remove_later(log_dir, dir);
            }
            // The directory reports a failure.
            reported(self.checkpoint_dir(log_dir));
        }
        self.checkpoint_cleaned();
        failed
    }

    /// Takes the log of an earlier topic out of the way of a new one of that name. Nothing of it is deleted: its directory
    /// gets the name of one that is left alone. Waits for the disk.
    pub fn set_aside(&self, tp: &TopicPartition) -> Result<(), DirError> {
        // Before the lock: the task that works on it may be waiting for the lock.
        let recovering = self.recovering.take(tp);
        let _in_work = self.in_work.claim([tp]);
        self.cancel_move(tp);
        let name = stray_dir_name(tp);
        let removed = self.logs.write().remove(tp);
        let log_dir = if let Some(log) = removed {
            if log.cleaner_checkpoint().is_some() {
                log.log_dir().set_cleaner_checkpoint_stale(true);
            }
            log.rename_for_deletion(&name)?;
            Arc::clone(log.log_dir())
        } else if let Some(left) = recovering {
            let renamed = disk::rename_unsynced(&left.dir, &left.log_dir.path().join(&name));
            left.log_dir.guard(renamed.during("rename", &left.dir))?;
            Arc::clone(&left.log_dir)
        } else {
            return Ok(());
        };
        log_dir.sync_names()?;
        let dir = log_dir.path().join(&name);
        warn!(%tp, dir = %dir.display(), "the log of an earlier topic of that name is set aside");
        // The directory reports a failure.
        reported(self.checkpoint_dir(&log_dir));
        self.checkpoint_cleaned();
        Ok(())
    }

    pub(super) fn remove_later(&self, log_dir: &Arc<LogDir>, dir: &Path) {
        let scheduler = Arc::clone(log_dir.scheduler());
        let (log_dir, dir) = (Arc::clone(log_dir), dir.to_owned());
        scheduler.schedule_in(self.options.default_config.file_delete_delay_ms, move || {
            if log_dir.is_offline() {
                return;
            }
            match log_dir.guard(disk::remove_dir_all(&dir).during("delete", &dir)) {
                Ok(_) => info!("Deleted log in {}.", dir.display()),
                Err(e) => debug!(error = %e, "deletion was left"),
            }
        });
    }

    // ---- periodic work

    fn logs_in(&self, dir: &Arc<LogDir>) -> Vec<Arc<UnifiedLog>> {
        let mut logs = self.logs();
        logs.retain(|log| Arc::ptr_eq(log.log_dir(), dir));
        logs
    }

    /// Removes what retention no longer allows, in all logs of a directory that are not compacted. Every
    /// `log.retention.check.interval.ms`.
    pub fn cleanup_logs(&self, dir: &Arc<LogDir>, now: Millis) -> usize {
        let mut deleted = 0;
        for log in self.logs_in(dir).iter().filter(|log| !log.config().compact) {
            deleted += Self::retain(log, now);
        }
        debug!(segments = deleted, "log cleanup completed");
        deleted
    }

    /// The same for logs that are compacted; the cleaner's threads do this between two cleanings.
    pub(super) fn retain_compacted(&self, now: Millis) {
        for log in self.logs().iter().filter(|log| log.config().compact && !log.cleaning.is_uncleanable()) {
            Self::retain(log, now);
        }
    }

    /// A log that is just being cleaned, or truncated, has its turn the next time.
    fn retain(log: &UnifiedLog, now: Millis) -> usize {
        let Some(_turn) = log.cleaning.gate.try_begin() else { return 0 };
        // The directory reports a failure.
        log.delete_old_segments(now).unwrap_or(0)
    }

    /// Flushes logs of a directory whose last flush is `flush.ms` ago. Every `log.flush.scheduler.interval.ms`.
    pub fn flush_dirty_logs(&self, dir: &Arc<LogDir>, now: Millis) {
        for log in self.all_logs().iter().filter(|log| Arc::ptr_eq(log.log_dir(), dir)) {
            let since = now.saturating_sub(log.last_flush_ms());
            // A flush to come: someone has set the clock back.
            if since < 0 || since >= log.config().flush_ms {
                // The directory reports a failure.
                reported(log.flush(now));
            }
        }
    }

    /// Every `producer.id.expiration.check.interval.ms`.
    pub fn remove_expired_producers(&self, dir: &Arc<LogDir>, now: Millis) {
        for log in self.logs_in(dir) {
            log.remove_expired_producers(now);
        }
    }

    /// What DescribeLogDirs shows.
    pub fn describe(&self) -> Vec<LogDirDescription> {
        let logs = self.logs();
        let futures: Vec<_> = self.futures.read().values().cloned().collect();
        let describe = |dir: &Dir| {
            let is_here = |log: &&Arc<UnifiedLog>| Arc::ptr_eq(log.log_dir(), &dir.log_dir);
            let description = |log: &Arc<UnifiedLog>, is_future, target: Offset| LogDescription {
                topic_partition: log.topic_partition().clone(),
                size: log.size(),
                offset_lag: (target - log.log_end_offset()).max(0),
                is_future,
            };
            let current = logs.iter().filter(is_here).map(|log| description(log, false, log.high_watermark()));
            let future = futures.iter().filter(is_here).map(|log| {
                let target = self.log(log.topic_partition()).map_or(0, |current| current.log_end_offset());
                description(log, true, target)
            });
            let space = disk::space(dir.log_dir.path()).ok();
            LogDirDescription {
                path: dir.log_dir.path().to_owned(),
                is_offline: dir.log_dir.is_offline(),
                logs: current.chain(future).collect(),
                total_bytes: space.map(|(total, _)| total),
                usable_bytes: space.map(|(_, usable)| usable),
            }
        };
        self.dirs.iter().map(describe).collect()
    }

    // ---- the end

    /// Lets go of a directory that failed, and returns the partitions that were in it. `Err` with them when none is left:
    /// the broker stops. Waits for no disk.
    pub fn handle_dir_failure(&self, path: &Path) -> Result<Vec<TopicPartition>, Vec<TopicPartition>> {
        let Some(dir) = self.dirs.iter().find(|dir| dir.log_dir.path() == path) else { return Ok(Vec::new()) };
        self.forget_moves_to(&dir.log_dir);
        let mut gone = self.recovering.forget(&dir.log_dir);
        self.logs.write().retain(|tp, log| {
            let stays = !Arc::ptr_eq(log.log_dir(), &dir.log_dir);
            if !stays {
                gone.push(tp.clone());
            }
            stays
        });
        *dir.lock.lock() = None;
        warn!(dir = %path.display(), partitions = gone.len(), "stopped serving logs in log directory");
        if self.live_dirs().next().is_some() { Ok(gone) } else { Err(gone) }
    }

    /// Flushes and closes all logs, several at a time, writes the checkpoints, marks the stop as clean and lets go of
    /// the locks. Nothing may be appended any more.
    pub fn shutdown(&self, now: Millis) {
        info!("Shutting down.");
        self.recovering.stop_and_wait();
        self.stop_cleaner();
        self.checkpoint_cleaned();
        let logs = self.all_logs();
        std::thread::scope(|scope| {
            for dir in self.dirs.iter().filter(|dir| !dir.log_dir.is_offline()) {
                let logs = &logs;
                scope.spawn(move || self.close_dir(dir, logs, now));
            }
        });
        info!("Shutdown complete.");
    }

    fn close_dir(&self, dir: &Dir, logs: &[Arc<UnifiedLog>], now: Millis) {
        let here: Vec<&Arc<UnifiedLog>> = logs.iter().filter(|log| Arc::ptr_eq(log.log_dir(), &dir.log_dir)).collect();
        let next = AtomicUsize::new(0);
        let is_good = AtomicBool::new(true);
        std::thread::scope(|scope| {
            for _ in 0..self.options.recovery_threads_per_dir.clamp(1, here.len().max(1)) {
                scope.spawn(|| {
                    while let Some(log) = here.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if log.flush(now).and_then(|()| log.close()).is_err() {
                            is_good.store(false, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        let checkpointed = self
            .checkpoint_dir(&dir.log_dir)
            .and_then(|()| self.checkpoint(&dir.log_dir, HIGH_WATERMARK_FILE, |log| Some(log.high_watermark())));
        let is_loaded = dir.is_loaded.load(Ordering::Acquire) && self.recovering.in_dir(&dir.log_dir).is_empty();
        let may_be_clean = dir.had_clean_shutdown.load(Ordering::Acquire) || is_loaded;
        if is_good.into_inner() && checkpointed.is_ok() && may_be_clean {
            // A failure is logged by the directory, and makes the next start one after a crash.
            reported(dir.log_dir.guard(checkpoint::write_clean_shutdown_marker(dir.log_dir.path())));
        }
        *dir.lock.lock() = None;
    }
}

fn prepare_dir(path: &Path) -> Result<PathBuf, DiskError> {
    if disk::create_dir_all_synced(path).during("create log directory", path)? {
        info!("Log directory {} not found, creating it.", path.display());
    }
    disk::subdirectories(path).during("list log directory", path)?;
    path.canonicalize().during("resolve", path)
}

#[cfg(test)]
mod tests;
