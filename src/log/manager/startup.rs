//! Owns how the logs of all directories are opened at the start, and those that the start has left, after it. Kafka:
//! `LogManager.loadLogs`, `LogManager.loadLog`.

use super::{Damaged, Dir, LogManager, StartError};
use crate::common::ids::{Millis, Offset, TopicPartition};
use crate::config::topic::LogConfig;
use crate::disk::{self, DiskError, During};
use crate::log::checkpoint::{self, CLEANER_FILE, HIGH_WATERMARK_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use crate::log::loading::{LoadError, LoadLimits};
use crate::log::log_dir::LogDir;
use crate::log::moves;
use crate::log::partition_dir::{PartitionDirKind, parse_partition_dir, stray_dir_name};
use crate::log::recovering::{Recovered, Recovering};
use crate::log::unified_log::{LogOptions, UnifiedLog};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tracing::{debug, error, info, warn};

/// Directories inside a log directory that are no partitions of this broker.
const IGNORED_DIRS: [&str; 2] = ["remote-log-index-cache", "__cluster_metadata-0"];

/// Of a log with more to read again after a crash than this the start does not wait: see [`crate::log::recovering`]. Less is
/// read in the time that it takes to open the files.
const RECOVERED_AT_START_MAX: u64 = 1 << 20;

impl LogManager {
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
                info!(dir = %path.join(&name).display(), "ignored: it belongs to the file system");
                continue;
            }
            let Some((tp, kind)) = parse_partition_dir(&name) else {
                return Err(PlanError::Start(StartError::NotAPartition(path.join(&name))));
            };
            match kind {
                PartitionDirKind::Current | PartitionDirKind::Future => partitions.push((tp, name)),
                PartitionDirKind::Deleted => self.remove_later(&dir.log_dir, &path.join(name)),
                PartitionDirKind::Stray => {
                    warn!(dir = %path.join(name).display(), "ignored: not a replica that is served here");
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
                // No one stops a start.
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
    fn take_over(&self, log: &UnifiedLog, high_watermark: Offset, clean_end: Option<Offset>) {
        log.update_high_watermark(high_watermark.max(0));
        log.cleaning.set_checkpoint(clean_end);
    }

    fn tell_loaded(log: &UnifiedLog, took: Duration, progress: &str) {
        info!(
            "Completed load of {} with {} segments, local-log-start-offset {} and log-end-offset {} in {}ms ({progress})",
            log.dir().display(),
            log.segment_count(),
            log.log_start_offset(),
            log.log_end_offset(),
            took.as_millis()
        );
    }

    /// Recovers the next log of a directory that the start has left; `None` when there are none. Waits for the disk.
    pub fn recover_next(&self, dir: &Arc<LogDir>, now: Millis) -> Option<Recovered> {
        let next = self.recovering.begin(dir)?;
        let started = Instant::now();
        let tp = &next.topic_partition;
        let opened = UnifiedLog::open(&next.dir, tp.clone(), Arc::clone(&next.log_dir), next.options.clone(), now);
        if let Err(LoadError::Disk(e)) = opened {
            next.stop();
            next.log_dir.fail(e);
            return Some(self.recovering.end(&next, Err(LoadError::Stopped), |_| Recovered::Left));
        }
        Some(self.recovering.end(&next, opened, |opened| match opened {
            Ok(log) => {
                self.take_over(&log, next.high_watermark.unwrap_or(0), next.clean_end);
                Self::tell_loaded(&log, started.elapsed(), "recovered while others were served");
                self.logs.write().insert(tp.clone(), log);
                Recovered::Ready(tp.clone())
            }
            Err(error) => {
                let (dir, why) = (next.dir.clone(), error.to_string());
                error!(%tp, dir = %dir.display(), %why, "log is damaged, the partition is offline");
                self.damaged.lock().insert(tp.clone(), Damaged { log_dir: Arc::clone(&next.log_dir), dir, why });
                Recovered::Damaged(tp.clone())
            }
        }))
    }

    /// Nothing is recovered any more. Does not wait for what is under way, which ends soon.
    pub fn stop_recovery(&self) {
        self.recovering.stop();
    }
}

/// Whether a directory inside a log directory was put there by the file system or a desktop, where the log directory is
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
