//! Owns all logs of a broker and the directories that they are in: loading, creation, deletion, periodic work, shutdown.
//! Kafka: `LogManager`. Absent on purpose: threads of its own but for loading and closing, and timers; whoever has a
//! clock calls the periodic functions, off the data workers, because they wait for the disk.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc};
use tracing::{debug, error, info, warn};

use crate::common::Uuid;
use crate::common::ids::{Millis, Offset, TopicPartition};
use crate::config::topic::LogConfig;
use crate::disk::{self, DirLock, DiskError, During, FilePool};

use super::checkpoint::{self, CLEANER_FILE, HIGH_WATERMARK_FILE, LOCK_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use super::cleaner::LogCleaner;
use super::loading::{LoadError, LoadLimits};
use super::log_dir::{DirError, LogDir};
use super::moves;
use super::partition_dir::{PartitionDirKind, delete_dir_name, parse_partition_dir, stray_dir_name};
use super::producer_state::ProducerStateConfig;
use super::recovering::{Recovering, RecoveringLogs};
use super::unified_log::{InconsistentTopicId, LogOptions, UnifiedLog};

/// How long a call to the disk may take before it is told.
const HANGING_AFTER: Duration = Duration::from_secs(10);

/// Directories inside of a log directory that are no partitions of this broker.
const IGNORED_DIRS: [&str; 2] = ["remote-log-index-cache", "__cluster_metadata-0"];

/// Bytes that must be free before a log is made that found no room.
const ROOM_FOR_A_LOG: usize = 64 << 10;

/// Of a log with more to read again after a crash than this the start does not wait: see [`super::recovering`]. Less is
/// read in the time that it takes to open the files.
const RECOVERED_AT_START_MAX: u64 = 1 << 20;

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
    /// One creation, deletion or move at a time.
    pub(super) creation: Mutex<()>,
    /// One change of logs' settings at a time.
    configs: Mutex<()>,
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
            logs: RwLock::default(),
            futures: RwLock::default(),
            moves_changed: Notify::new(),
            preferred: Mutex::default(),
            damaged: Mutex::default(),
            recovering: RecoveringLogs::default(),
            creation: Mutex::default(),
            configs: Mutex::default(),
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
            // Another failure than having no room is told by the directory.
            dir.guard(checked.during("write", dir.path())).is_ok()
        })
    }

    // ---- loading

    /// Opens every log of every directory, several at a time. `topic_configs` has the topics with settings of their own.
    /// High watermarks are those of the checkpoint.
    pub fn load_logs(&self, topic_configs: &HashMap<Arc<str>, Arc<LogConfig>>, now: Millis) -> Result<(), StartError> {
        let started = Instant::now();
        let shown: Vec<_> = self.live_dirs().map(|dir| dir.path().display().to_string()).collect();
        info!("Loading logs from log dirs {}", shown.join(","));
        let mut unclean = Vec::new();
        let mut jobs = Vec::new();
        for dir in self.dirs.iter().filter(|dir| !dir.log_dir.is_offline()) {
            match self.plan_loading(dir) {
                Ok(job) => {
                    if !job.had_clean_shutdown && !job.partitions.is_empty() {
                        unclean.push(dir.log_dir.path().display().to_string());
                    }
                    jobs.push(job);
                }
                Err(PlanError::Start(e)) => return Err(e),
                Err(PlanError::Disk(e)) => drop(dir.log_dir.fail(e)),
            }
        }
        // Replicas on the move are whole before the move goes on, and those whose move was cut off before it is judged.
        let mut moving: HashSet<TopicPartition> = jobs.iter().flat_map(LoadJob::moving).collect();
        let mut seen = HashSet::new();
        moving.extend(jobs.iter().flat_map(LoadJob::current).filter(|tp| !seen.insert(tp.clone())));
        let failed: Mutex<Option<StartError>> = Mutex::new(None);
        let second: Mutex<Vec<Arc<UnifiedLog>>> = Mutex::default();
        std::thread::scope(|scope| {
            for job in &jobs {
                for _ in 0..self.options.recovery_threads_per_dir.clamp(1, job.partitions.len().max(1)) {
                    scope.spawn(|| self.run_loading(job, topic_configs, &moving, now, &second, &failed));
                }
            }
        });
        if let Some(e) = failed.into_inner() {
            return Err(e);
        }
        for log in second.into_inner() {
            self.settle_second(&log)?;
        }
        self.take_up_moves();
        let left: Vec<_> = jobs.iter().flat_map(|job| self.recovering.in_dir(&job.dir.log_dir)).collect();
        for job in &jobs {
            job.dir.is_loaded.store(!job.dir.log_dir.is_offline(), Ordering::Release);
        }
        let total: usize = jobs.iter().map(|job| job.partitions.len()).sum();
        let unclean =
            if unclean.is_empty() { String::new() } else { format!(" (unclean log dirs = {})", unclean.join(",")) };
        info!("Loaded {} logs in {}ms{unclean}", total - left.len(), started.elapsed().as_millis());
        if !left.is_empty() {
            let bytes: u64 = left.iter().map(|log| log.bytes).sum();
            info!(logs = left.len(), bytes, "the other logs are recovered while these are served");
        }
        Ok(())
    }

    fn plan_loading<'d>(&self, dir: &'d Dir) -> Result<LoadJob<'d>, PlanError> {
        let path = dir.log_dir.path();
        let had_clean_shutdown = checkpoint::take_clean_shutdown_marker(path)?;
        dir.had_clean_shutdown.store(had_clean_shutdown, Ordering::Release);
        // Kafka makes them at once too, and does not start where it cannot: on a directory that has become read-only.
        for name in [RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE, CLEANER_FILE] {
            checkpoint::make_sure(&dir.file(name))?;
        }
        // A checkpoint that cannot be read only costs time: everything is read again, or starts at a segment's base.
        let read = |name: &str| {
            checkpoint::read_offsets(&dir.file(name)).unwrap_or_else(|e| {
                warn!(error = %e, "checkpoint is unreadable, resetting it");
                BTreeMap::new()
            })
        };
        let mut partitions = Vec::new();
        for name in disk::subdirectories(path).during("list", path)? {
            if IGNORED_DIRS.contains(&name.as_str()) {
                continue;
            }
            if is_of_file_system(path, &name) {
                info!(dir = %path.join(&name).display(), "left alone: it belongs to the file system");
                continue;
            }
            let Some((tp, kind)) = parse_partition_dir(&name) else {
                return Err(PlanError::Start(StartError::NotAPartition(path.join(&name))));
            };
            match kind {
                PartitionDirKind::Current | PartitionDirKind::Future => partitions.push((tp, name)),
                PartitionDirKind::Deleted => self.remove_later(&dir.log_dir, &path.join(name)),
                PartitionDirKind::Stray => {
                    warn!(dir = %path.join(name).display(), "left alone: not a replica that is served here");
                }
            }
        }
        let shown = path.display();
        if partitions.is_empty() {
            info!("No logs found to be loaded in {shown}");
        } else if had_clean_shutdown {
            info!("Skipping recovery of {} logs from {shown} since clean shutdown file was found", partitions.len());
        } else {
            info!("Recovering {} logs from {shown} since no clean shutdown file was found", partitions.len());
        }
        Ok(LoadJob {
            dir,
            had_clean_shutdown,
            partitions,
            next: AtomicUsize::new(0),
            loaded: AtomicUsize::new(0),
            recovery_points: read(RECOVERY_POINT_FILE),
            log_starts: read(LOG_START_FILE),
            high_watermarks: read(HIGH_WATERMARK_FILE),
            clean_ends: read(CLEANER_FILE),
        })
    }

    /// One thread's part of a directory.
    fn run_loading(
        &self,
        job: &LoadJob<'_>,
        topic_configs: &HashMap<Arc<str>, Arc<LogConfig>>,
        moving: &HashSet<TopicPartition>,
        now: Millis,
        second: &Mutex<Vec<Arc<UnifiedLog>>>,
        failed: &Mutex<Option<StartError>>,
    ) {
        while let Some((tp, name)) = job.partitions.get(job.next.fetch_add(1, Ordering::Relaxed)) {
            if job.dir.log_dir.is_offline() || failed.lock().is_some() {
                return;
            }
            let started = Instant::now();
            let dir = job.dir.log_dir.path().join(name);
            let known = |offsets: &BTreeMap<TopicPartition, Offset>| offsets.get(tp).copied().unwrap_or(0).max(0);
            let options = LogOptions {
                config: Arc::clone(topic_configs.get(&tp.topic).unwrap_or(&self.options.default_config)),
                producer_config: self.options.producer_config,
                log_start: known(&job.log_starts),
                recovery_point: known(&job.recovery_points),
                had_clean_shutdown: job.had_clean_shutdown,
                topic_id: None,
                limits: LoadLimits {
                    recovered_bytes_max: if moving.contains(tp) { u64::MAX } else { RECOVERED_AT_START_MAX },
                    ..LoadLimits::default()
                },
            };
            debug!(dir = %dir.display(), "loading log");
            let opened = UnifiedLog::open(&dir, tp.clone(), Arc::clone(&job.dir.log_dir), options.clone(), now);
            let total = job.partitions.len();
            let loaded = job.loaded.fetch_add(1, Ordering::Relaxed) + 1;
            match opened {
                Ok(log) => {
                    self.take_over(&log, known(&job.high_watermarks), job.clean_ends.get(tp).copied());
                    let path = job.dir.log_dir.path().display();
                    Self::tell_loaded(&log, started.elapsed(), &format!("{loaded}/{total} completed in {path}"));
                    let is_future = matches!(parse_partition_dir(name), Some((_, PartitionDirKind::Future)));
                    let logs = if is_future { &self.futures } else { &self.logs };
                    let replaced = logs.write().insert(tp.clone(), log);
                    let other = match replaced {
                        Some(other) if !is_future => {
                            second.lock().push(other);
                            continue;
                        }
                        Some(other) => Some(other.dir().to_path_buf()),
                        None => self.recovering(tp).map(|other| other.dir.clone()),
                    };
                    if let Some(first) = other {
                        *failed.lock() = Some(StartError::DuplicateLog { tp: tp.clone(), first, second: dir });
                        return;
                    }
                }
                Err(LoadError::Long { bytes }) => {
                    let limits = LoadLimits::default();
                    let left = Recovering {
                        topic_partition: tp.clone(),
                        log_dir: Arc::clone(&job.dir.log_dir),
                        topic_id: checkpoint::read_partition_metadata(&dir).unwrap_or_default(),
                        dir: dir.clone(),
                        options: LogOptions { limits, ..options },
                        bytes,
                        recovery_point: job.recovery_points.get(tp).copied(),
                        log_start: job.log_starts.get(tp).copied(),
                        high_watermark: job.high_watermarks.get(tp).copied(),
                        clean_end: job.clean_ends.get(tp).copied(),
                    };
                    let other = self.recovering.add(left).map(|other| other.dir.clone());
                    let other = other.or_else(|| self.log(tp).map(|other| other.dir().to_path_buf()));
                    if let Some(first) = other {
                        *failed.lock() = Some(StartError::DuplicateLog { tp: tp.clone(), first, second: dir });
                        return;
                    }
                }
                // Nobody stops a start.
                Err(LoadError::Stopped) => return,
                Err(LoadError::Disk(e)) => drop(job.dir.log_dir.fail(e)),
                Err(LoadError::Damaged(why)) => {
                    error!(%tp, dir = %dir.display(), %why, "log is damaged, the partition is offline");
                    let log_dir = Arc::clone(&job.dir.log_dir);
                    self.damaged.lock().insert(tp.clone(), Damaged { log_dir, dir, why });
                }
            }
        }
    }

    /// A partition has this log beside the one that is served. Where a move was cut off between its two renames, the one
    /// that has all is served and the other set aside; Kafka refuses to start then.
    fn settle_second(&self, log: &Arc<UnifiedLog>) -> Result<(), StartError> {
        let tp = log.topic_partition();
        let Some(served) = self.log(tp) else { return Ok(()) };
        let Some((whole, part)) = moves::whole_and_part(&served, log) else {
            let (first, second) = (served.dir().to_path_buf(), log.dir().to_path_buf());
            return Err(StartError::DuplicateLog { tp: tp.clone(), first, second });
        };
        whole.update_high_watermark(whole.high_watermark().max(part.high_watermark()));
        // Never refused: it is below the end, and what is above the high watermark was not deleted.
        drop(whole.maybe_increment_log_start(part.log_start_offset()));
        self.logs.write().insert(tp.clone(), Arc::clone(whole));
        let (kept, name) = (whole.dir().display().to_string(), stray_dir_name(tp));
        // A failure is reported by the directory.
        if part.rename_for_deletion(&name).and_then(|()| part.log_dir().sync_names()).is_ok() {
            let aside = part.log_dir().path().join(&name);
            warn!(%tp, kept, aside = %aside.display(), "a move between these directories was cut off; one has all that the other has");
        }
        Ok(())
    }

    /// What the checkpoints know beside what loading was told.
    pub(super) fn take_over(&self, log: &UnifiedLog, high_watermark: Offset, clean_end: Option<Offset>) {
        log.update_high_watermark(high_watermark.max(0));
        log.cleaning.set_checkpoint(clean_end);
    }

    pub(super) fn tell_loaded(log: &UnifiedLog, took: Duration, progress: &str) {
        info!(
            "Completed load of {} with {} segments, local-log-start-offset {} and log-end-offset {} in {}ms ({progress})",
            log.dir().display(),
            log.segment_count(),
            log.log_start_offset(),
            log.log_end_offset(),
            took.as_millis()
        );
    }

    // ---- logs

    pub fn log(&self, tp: &TopicPartition) -> Option<Arc<UnifiedLog>> {
        self.logs.read().get(tp).cloned()
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
        let _creation = self.creation.lock();
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
                    self.logs.write().insert(tp.clone(), Arc::clone(&log));
                    self.preferred.lock().remove(tp);
                    return Ok(log);
                }
                Err(LoadError::Disk(e)) => {
                    last = log_dir.judge(e).into();
                    if !was_there && !log_dir.is_offline() {
                        // No room. What is there of it would be a second log of the partition at the next start.
                        drop(log_dir.guard(disk::remove_dir_all(&dir).during("delete", &dir)));
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
        // Before the lock: whoever works on one may wait for it.
        for log in partitions.iter().filter_map(|tp| self.recovering.take(tp)) {
            let (log_dir, dir) = (Arc::clone(&log.log_dir), log.dir.clone());
            let why = "its recovery was given up".to_owned();
            self.damaged.lock().insert(log.topic_partition.clone(), Damaged { log_dir, dir, why });
        }
        {
            let _creation = self.creation.lock();
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
            drop(self.checkpoint_dir(log_dir));
        }
        self.checkpoint_cleaned();
        failed
    }

    /// Takes the log of an earlier topic out of the way of a new one of that name. Nothing of it is deleted: its directory
    /// gets the name of one that is left alone. Waits for the disk.
    pub fn set_aside(&self, tp: &TopicPartition) -> Result<(), DirError> {
        // Before the lock: the task that works on it may be waiting for the lock.
        let recovering = self.recovering.take(tp);
        let _creation = self.creation.lock();
        self.cancel_move(tp);
        let name = stray_dir_name(tp);
        let log_dir = if let Some(log) = self.logs.write().remove(tp) {
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
        drop(self.checkpoint_dir(&log_dir));
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
            // A flush to come: somebody has set the clock back.
            if since < 0 || since >= log.config().flush_ms {
                // The directory reports a failure.
                drop(log.flush(now));
            }
        }
    }

    /// Every `producer.id.expiration.check.interval.ms`.
    pub fn remove_expired_producers(&self, dir: &Arc<LogDir>, now: Millis) {
        for log in self.logs_in(dir) {
            log.remove_expired_producers(now);
        }
    }

    /// Writes down how far logs are clean, where that has changed.
    pub(super) fn checkpoint_cleaned(&self) {
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
        drop(self.checkpoint(dir, RECOVERY_POINT_FILE, |log| Some(log.recovery_point())));
    }

    /// Every `log.flush.start.offset.checkpoint.interval.ms`.
    pub fn checkpoint_log_starts_in(&self, dir: &Arc<LogDir>) {
        drop(self.checkpoint(dir, LOG_START_FILE, log_start_entry));
    }

    /// Every `replica.high.watermark.checkpoint.interval.ms`.
    pub fn checkpoint_high_watermarks_in(&self, dir: &Arc<LogDir>) {
        drop(self.checkpoint(dir, HIGH_WATERMARK_FILE, |log| Some(log.high_watermark())));
    }

    pub(super) fn checkpoint_dir(&self, dir: &Arc<LogDir>) -> Result<(), DirError> {
        self.checkpoint(dir, RECOVERY_POINT_FILE, |log| Some(log.recovery_point()))?;
        self.checkpoint(dir, LOG_START_FILE, log_start_entry)
    }

    fn checkpoint(
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
    /// the broker stops.
    pub fn handle_dir_failure(&self, path: &Path) -> Result<Vec<TopicPartition>, Vec<TopicPartition>> {
        let Some(dir) = self.dirs.iter().find(|dir| dir.log_dir.path() == path) else { return Ok(Vec::new()) };
        let mut gone = Vec::new();
        {
            let _creation = self.creation.lock();
            self.forget_moves_to(&dir.log_dir);
            gone.extend(self.recovering.forget(&dir.log_dir));
            self.logs.write().retain(|tp, log| {
                let stays = !Arc::ptr_eq(log.log_dir(), &dir.log_dir);
                if !stays {
                    gone.push(tp.clone());
                }
                stays
            });
        }
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
            // A failure is told by the directory, and makes the next start one after a crash.
            drop(dir.log_dir.guard(checkpoint::write_clean_shutdown_marker(dir.log_dir.path())));
        }
        *dir.lock.lock() = None;
    }
}

/// Whether a directory inside of a log directory was put there by the file system or a desktop, where the log directory is
/// a mount point. Kafka refuses to start over some and takes others for partitions.
fn is_of_file_system(log_dir: &Path, name: &str) -> bool {
    if let Some(user) = name.strip_prefix(".Trash-") {
        // It could also be a partition of a topic ".Trash"; those have segments. One of another user need not be readable.
        let is_number = !user.is_empty() && user.bytes().all(|byte| byte.is_ascii_digit());
        let files = disk::file_names(&log_dir.join(name)).unwrap_or_default();
        return is_number && !files.iter().any(|file| file.ends_with(".log"));
    }
    matches!(name, "lost+found" | ".snapshot")
}

/// Only starts that lie inside of a segment are worth an entry.
fn log_start_entry(log: &UnifiedLog) -> Option<Offset> {
    let start = log.log_start_offset();
    (start > log.first_segment_base()).then_some(start)
}

fn prepare_dir(path: &Path) -> Result<PathBuf, DiskError> {
    if disk::create_dir_all_synced(path).during("create log directory", path)? {
        info!("Log directory {} not found, creating it.", path.display());
    }
    disk::subdirectories(path).during("list log directory", path)?;
    path.canonicalize().during("resolve", path)
}

#[derive(Debug)]
enum PlanError {
    Start(StartError),
    Disk(DiskError),
}

impl From<DiskError> for PlanError {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

/// The logs of one directory, taken one by one by its threads.
struct LoadJob<'d> {
    dir: &'d Dir,
    had_clean_shutdown: bool,
    partitions: Vec<(TopicPartition, String)>,
    next: AtomicUsize,
    loaded: AtomicUsize,
    recovery_points: BTreeMap<TopicPartition, Offset>,
    log_starts: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    clean_ends: BTreeMap<TopicPartition, Offset>,
}

impl LoadJob<'_> {
    /// Partitions that are served from this directory.
    fn current(&self) -> impl Iterator<Item = TopicPartition> {
        let is_current = |name: &str| matches!(parse_partition_dir(name), Some((_, PartitionDirKind::Current)));
        self.partitions.iter().filter(move |(_, name)| is_current(name)).map(|(tp, _)| tp.clone())
    }

    /// Partitions that move into this directory.
    fn moving(&self) -> impl Iterator<Item = TopicPartition> {
        let is_future = |name: &str| matches!(parse_partition_dir(name), Some((_, PartitionDirKind::Future)));
        self.partitions.iter().filter(move |(_, name)| is_future(name)).map(|(tp, _)| tp.clone())
    }
}

#[cfg(test)]
mod tests;
