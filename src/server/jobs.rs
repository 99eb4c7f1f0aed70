//! Owns the broker's periodic work: checkpoints, retention, flushes, expiry; and what it does when a log directory
//! fails. Kafka: the scheduled tasks of `LogManager` and `ReplicaManager`, `LogDirFailureHandler`.

use super::context::Broker;
use super::{dynamic_config, features};
use crate::disk::DiskError;
use crate::log::log_dir::LogDir;
use crate::log::{LogManager, Recovered};
use crate::replica::MoveRound;
use crate::util::clock::wall_ms;
use crate::util::task::{self, Group};
use crate::zk::client::CreateMode;
use crate::zk::data::controller::encode_log_dir_event;
use crate::zk::paths;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The pause when there is nothing to copy.
const MOVE_BACKOFF: Duration = Duration::from_millis(50);

/// The period of the check for hanging disk calls.
const WATCH_DISKS_EVERY: Duration = Duration::from_secs(1);

/// The period of the check for free space beside the reserve.
const LOOK_AT_ROOM_EVERY: Duration = Duration::from_secs(1);

/// The period of the check of a full disk while a replica waits for space.
const ROOM_CHECK_PERIOD: Duration = Duration::from_secs(2);

/// The pause before ZooKeeper is called again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

pub(super) fn start(broker: &Arc<Broker>, group: &Group, dir_failures: mpsc::Receiver<PathBuf>) {
    let config = broker.config.load();
    let logs = broker.replicas.logs();
    let lines: Vec<Line> = logs.live_dirs().map(|dir| Line::of(logs, dir, group.stop_token())).collect();
    let after = |name, first: Duration, period: Duration, job: fn(&LogManager, &Arc<LogDir>)| {
        for line in &lines {
            group.spawn(name, line.clone().periodic(first, period, job));
        }
    };
    let every = |name, ms: i64, job| {
        let first = Duration::from_millis(config.log_initial_task_delay_ms.max(0) as u64);
        after(name, first, Duration::from_millis(ms.max(1) as u64), job);
    };
    if config.disk_reserve_bytes > 0 {
        for line in &lines {
            let look = line.clone().periodic(LOOK_AT_ROOM_EVERY, LOOK_AT_ROOM_EVERY, |_, dir| dir.look_at_room());
            group.spawn("disk-reserve", look);
        }
    }
    every("log-retention", config.log_retention_check_interval_ms, |logs, dir| {
        logs.cleanup_logs(dir, wall_ms());
    });
    every("log-flusher", config.log_flush_scheduler_interval_ms, |logs, dir| logs.flush_dirty_logs(dir, wall_ms()));
    every(
        "recovery-point-checkpoint",
        config.log_flush_offset_checkpoint_interval_ms.into(),
        LogManager::checkpoint_recovery_points_in,
    );
    every(
        "log-start-checkpoint",
        config.log_flush_start_offset_checkpoint_interval_ms.into(),
        LogManager::checkpoint_log_starts_in,
    );
    every(
        "high-watermark-checkpoint",
        config.replica_high_watermark_checkpoint_interval_ms,
        LogManager::checkpoint_high_watermarks_in,
    );
    // Kafka's initial delay is the whole period here.
    let expiration = Duration::from_millis(config.producer_id_expiration_check_interval_ms.max(1) as u64);
    after("producer-expiration", expiration, expiration, |logs, dir| {
        logs.remove_expired_producers(dir, wall_ms());
    });
    let half_lag = Duration::from_millis((config.replica_lag_time_max_ms / 2).max(1) as u64);
    group.spawn("isr-expiration", expire_isrs(Arc::clone(broker), half_lag, group.stop_token().clone()));
    let (replicas, channel) = (Arc::clone(&broker.replicas), broker.to_controller.clone());
    group.spawn("isr-submitter", replicas.sync_isrs(channel, group.stop_token().clone()));
    group.spawn("alter-log-dirs", move_replicas(Arc::clone(broker), group.stop_token().clone()));
    group.spawn("disk-watchdog", watch_disks(Arc::clone(logs), group.stop_token().clone()));
    for line in &lines {
        group.spawn("log-scheduler", line.clone().run_scheduler());
    }
    for dir in logs.live_dirs() {
        for _ in 0..config.num_recovery_threads_per_data_dir.max(1) {
            let (broker, dir, stop) = (Arc::clone(broker), Arc::clone(dir), group.stop_token().clone());
            group.spawn("log-recovery", recover_logs(broker, dir, stop));
        }
    }
    group.spawn("log-room", await_room(Arc::clone(broker), group.stop_token().clone()));
    group.spawn("config-changes", dynamic_config::follow(Arc::clone(broker), group.stop_token().clone()));
    group.spawn("features", features::follow(Arc::clone(broker), group.stop_token().clone()));
    group.spawn("log-dir-failures", handle_dir_failures(Arc::clone(broker), group.clone(), dir_failures));
}

/// The background work of one log directory, one piece at a time, first come first served: a disk that hangs holds up
/// only its own work, and occupies one thread of the blocking pool.
#[derive(Clone)]
struct Line {
    logs: Arc<LogManager>,
    dir: Arc<LogDir>,
    turn: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Line {
    fn of(logs: &Arc<LogManager>, dir: &Arc<LogDir>, stop: &CancellationToken) -> Self {
        let (logs, dir) = (Arc::clone(logs), Arc::clone(dir));
        Self { logs, dir, turn: Arc::new(Semaphore::new(1)), stop: stop.clone() }
    }

    /// Runs a piece in its turn; `None` when the broker stops first. One that panics is logged by the panic hook.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LogManager, &Arc<LogDir>) -> T + Send + 'static,
    ) -> Option<Result<T, JoinError>> {
        let turn = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            turn = Arc::clone(&self.turn).acquire_owned() => turn.ok()?,
        };
        let (logs, dir) = (Arc::clone(&self.logs), Arc::clone(&self.dir));
        let done = task::spawn_blocking("log-dir-work", move || {
            let _turn = turn;
            work(&logs, &dir)
        });
        Some(done.await)
    }

    /// Runs `job` over and over. After a panic it runs again at its next time.
    async fn periodic(self, first: Duration, period: Duration, job: fn(&LogManager, &Arc<LogDir>)) {
        let mut wait = first;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = period;
            match self.run(job).await {
                None => return,
                Some(Err(_)) => error!("a periodic job panicked"),
                Some(Ok(())) => {}
            }
        }
    }

    /// Runs the work that logs deferred: flushes of closed segments, removals after their delay.
    async fn run_scheduler(self) {
        let scheduler = Arc::clone(self.dir.scheduler());
        loop {
            let next = match self.run(|_, dir| dir.scheduler().run_due(dir.scheduler().now())).await {
                None => return,
                Some(Ok(next)) => next,
                Some(Err(_)) => {
                    error!("a delayed job panicked");
                    continue;
                }
            };
            let due = async {
                match next {
                    Some(at) => tokio::time::sleep(Duration::from_millis((at - scheduler.now()).max(0) as u64)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = scheduler.changed() => {}
                () = due => {}
            }
        }
    }
}

/// Never on the blocking pool: calls that hang may have taken all of it.
async fn watch_disks(logs: Arc<LogManager>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(WATCH_DISKS_EVERY) => logs.tell_hanging_calls(),
        }
    }
}

/// A follower may lag for half as long again as `replica.lag.time.max.ms` before it leaves the in-sync replicas.
async fn expire_isrs(broker: Arc<Broker>, period: Duration, stop: CancellationToken) {
    loop {
        broker.replicas.shrink_isrs();
        loop {
            let asleep = Instant::now();
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = tokio::time::sleep(period) => {}
            }
            // After a pause of this process the delay is ours, not the followers': they get one more period to fetch.
            if asleep.elapsed() < period * 2 {
                break;
            }
        }
    }
}

/// Moves replicas between log directories, at `replica.alter.log.dirs.io.max.bytes.per.second`.
async fn move_replicas(broker: Arc<Broker>, stop: CancellationToken) {
    let logs = Arc::clone(broker.replicas.logs());
    let threads = usize::try_from(broker.config.load().num_replica_alter_log_dirs_threads).unwrap_or(1);
    loop {
        let replicas = Arc::clone(&broker.replicas);
        let round = task::spawn_blocking("move-replicas", move || replicas.advance_moves(threads, wall_ms()))
            .await
            .unwrap_or_else(|_| {
                error!("a step of moving replicas panicked");
                MoveRound { copied: 0, left: 1 }
            });
        let rate = broker.config.load().replication_rates.replica_alter_log_dirs_io_max_bytes_per_second;
        let wait = match round.copied {
            0 => MOVE_BACKOFF,
            copied => Duration::try_from_secs_f64(copied as f64 / rate.max(1) as f64).unwrap_or(Duration::MAX),
        };
        let next = async { if round.left == 0 { logs.moves_changed().await } else { tokio::time::sleep(wait).await } };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = next => {}
        }
    }
}

/// Recovers the logs that the start left unrecovered; each is served as soon as it is ready.
async fn recover_logs(broker: Arc<Broker>, dir: Arc<LogDir>, stop: CancellationToken) {
    loop {
        let (replicas, log_dir) = (Arc::clone(&broker.replicas), Arc::clone(&dir));
        let mut step = task::spawn_blocking("recover-log", move || replicas.states().recover_next(&log_dir, wall_ms()));
        let done = tokio::select! {
            biased;
            () = stop.cancelled() => {
                broker.replicas.logs().stop_recovery();
                step.await
            }
            done = &mut step => done,
        };
        match done {
            Ok(Some((recovered, change))) => {
                broker.follow_leadership(&change);
                if matches!(recovered, Recovered::Damaged(_)) || change.outcomes.iter().any(Result::is_err) {
                    tell_controller(Arc::clone(&broker), stop.clone()).await;
                }
            }
            Ok(None) => return,
            Err(panic) => {
                // The state of the log is unknown now.
                dir.fail(DiskError::new("recover logs of", dir.path(), std::io::Error::other(panic)));
                return;
            }
        }
    }
}

/// A failed directory takes its partitions offline; when the last one fails, the broker stops.
async fn handle_dir_failures(broker: Arc<Broker>, group: Group, mut failures: mpsc::Receiver<PathBuf>) {
    loop {
        let path = tokio::select! {
            biased;
            () = group.stop_token().cancelled() => return,
            path = failures.recv() => match path {
                Some(path) => path,
                None => return,
            },
        };
        let replicas = Arc::clone(&broker.replicas);
        match task::spawn_blocking("log-dir-failure", move || replicas.states().on_dir_failure(&path)).await {
            Ok(true) => {
                group.spawn("log-dir-event", tell_controller(Arc::clone(&broker), group.stop_token().clone()));
            }
            Ok(false) => {
                error!("Shutdown broker because all log dirs have failed");
                group.fatal_token().cancel();
                return;
            }
            Err(ended) => match ended.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        }
    }
}

/// A replica whose log found no space is requested again once there is some: a full disk is not a failed one. Apache
/// has no such recovery, and takes the whole directory offline.
async fn await_room(broker: Arc<Broker>, stop: CancellationToken) {
    let waiting = async {
        loop {
            broker.replicas.states().room_wanted().await;
            loop {
                tokio::time::sleep(ROOM_CHECK_PERIOD).await;
                let logs = Arc::clone(broker.replicas.logs());
                if task::spawn_blocking("look-for-room", move || logs.has_room()).await.unwrap_or(false) {
                    break;
                }
            }
            info!("there is room again for replicas that found none");
            tell_controller(Arc::clone(&broker), stop.clone()).await;
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = waiting => {}
    }
}

/// Makes the controller request the state of all replicas here, so that it learns which are offline. Retries until
/// ZooKeeper accepts the notification. Kafka: `KafkaZkClient.propagateLogDirEvent`.
async fn tell_controller(broker: Arc<Broker>, stop: CancellationToken) {
    let node = format!("{}/log_dir_event_", paths::LOG_DIR_EVENT_NOTIFICATION);
    let event = encode_log_dir_event(broker.id);
    while let Err(error) = broker.zk.create(&node, Some(&event), CreateMode::PersistentSequential).await {
        warn!(%error, "the controller does not know the log directories yet");
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RETRY_AFTER) => {}
        }
    }
}
