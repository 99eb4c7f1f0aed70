//! Owns appends over many partitions, and the waits of producers and fetchers. Kafka: `ReplicaManager`, `DelayedProduce`,
//! `DelayedFetch`.

use super::fetcher::manager::{FetcherManager, FetcherSettings};
use super::isr_sync::IsrSync;
use super::partitions::{Hosted, Partitions};
use super::quota::ReplicationQuota;
use super::state_change::LeaderAndIsr;
use crate::cluster::image::MetadataImage;
use crate::cluster::partition::{
    AppendTerms, CommitError, LeaderAppend, NotLeader, Partition, PartitionAppendError, Progress, Surroundings,
};
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, Millis, Offset, TopicPartition};
use crate::config::topic::{self, BrokerCompression, LogConfig};
use crate::config::{BrokerConfig, Props};
use crate::log::{AppendInfo, LogManager, UnifiedLog, VerificationGuard};
use crate::record::validate::{self, AppendOrigin, ValidateError, ValidationContext};
use crate::record::{Compression, TimestampType};
use crate::util::clock::Clock;
use crate::util::purgatory::Purgatory;
use crate::util::task::Group;
use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tracing::warn;

/// What replicas do by, as the properties file says it.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    pub local: BrokerId,
    /// Where other brokers listen for this one.
    pub inter_broker_listener: String,
    /// `replica.lag.time.max.ms`
    pub lag_time_max_ms: Millis,
    /// `replica.selector.class` is Kafka's rack-aware one.
    pub is_rack_aware: bool,
    /// `replication.quota.window.num`
    pub quota_samples: usize,
    /// `replication.quota.window.size.seconds`, in milliseconds.
    pub quota_window_ms: Millis,
    /// `num.replica.fetchers`
    pub fetchers_per_leader: usize,
    pub fetchers: FetcherSettings,
}

/// Kafka's default of `replica.socket.receive.buffer.bytes`. Setting one switches Linux's own tuning off, which starts above
/// it and grows with the flow: only another value than this one is set, as for `socket.receive.buffer.bytes`.
const DEFAULT_RECEIVE_BUFFER_BYTES: i32 = 64 << 10;

impl ReplicaSettings {
    pub fn new(config: &BrokerConfig, local: BrokerId) -> Self {
        let duration = |ms: i32| Duration::from_millis(ms.max(0) as u64);
        Self {
            local,
            inter_broker_listener: config.inter_broker_listener_name.to_string(),
            lag_time_max_ms: config.replica_lag_time_max_ms,
            is_rack_aware: config.replica_selector_class.as_ref().is_some_and(|class| !class.is_empty()),
            quota_samples: config.replication_quota_window_num.max(1) as usize,
            quota_window_ms: Millis::from(config.replication_quota_window_size_seconds) * 1_000,
            fetchers_per_leader: config.num_replica_fetchers.max(1) as usize,
            fetchers: FetcherSettings {
                local,
                wait_max_ms: config.replica_fetch_wait_max_ms,
                min_bytes: config.replica_fetch_min_bytes,
                response_max_bytes: config.replica_fetch_response_max_bytes,
                partition_max_bytes: config.replica_fetch_max_bytes,
                backoff_ms: config.replica_fetch_backoff_ms.into(),
                connect_timeout: duration(config.replica_socket_timeout_ms),
                receive_buffer_bytes: match config.replica_socket_receive_buffer_bytes {
                    DEFAULT_RECEIVE_BUFFER_BYTES => None,
                    // -1 is the system's own.
                    chosen => u32::try_from(chosen).ok(),
                },
                request_timeout: duration(config.request_timeout_ms),
            },
        }
    }
}

pub struct ReplicaManager {
    me: Weak<Self>,
    pub(super) local: BrokerId,
    pub(super) settings: ReplicaSettings,
    pub(super) logs: Arc<LogManager>,
    pub(super) partitions: Partitions,
    pub(super) image: Arc<ArcSwap<MetadataImage>>,
    broker_epoch: Box<dyn Fn() -> BrokerEpoch + Send + Sync>,
    default_config: ArcSwap<LogConfig>,
    /// Its ticks are those of followers' lags.
    pub(super) clock: Clock,
    /// Topics with settings of their own.
    topic_configs: Mutex<HashMap<Arc<str>, Arc<LogConfig>>>,
    /// Consumers: woken when a partition's high watermark rises, or its role changes.
    pub(super) fetches: Arc<Purgatory<TopicPartition>>,
    /// Followers: woken when a partition's log grows, or its role changes.
    pub(super) follower_fetches: Arc<Purgatory<TopicPartition>>,
    /// Woken when a partition's high watermark rises, or its role changes.
    pub(super) produces: Arc<Purgatory<TopicPartition>>,
    /// DeleteRecords: woken when the log start of a follower moves, or a role changes.
    pub(super) deletes: Arc<Purgatory<TopicPartition>>,
    pub(super) fetchers: FetcherManager,
    pub(super) isr_sync: IsrSync,
    pub(super) leader_quota: ReplicationQuota,
    pub(super) follower_quota: ReplicationQuota,
    /// Told when a replica finds no room for its log.
    pub(super) room_wanted: Notify,
    /// Held for the whole of what changes roles, or which logs there are: a request of the controller, the failure of a
    /// directory, the end of a move. First come, first served. Kafka: `replicaStateChangeLock`.
    pub(super) state_change: Mutex<()>,
    /// The epoch of the last controller obeyed, whatever it said. Held for a comparison only: what the cluster looks like is
    /// not to wait for disks.
    controller_epoch: Mutex<ControllerEpoch>,
    /// What the controller has decided of partitions whose logs are still recovered. Changed under `state_change`.
    pub(super) awaited: Mutex<HashMap<TopicPartition, LeaderAndIsr>>,
}

/// Records that are in the log.
#[derive(Debug)]
pub struct Appended {
    pub partition: Arc<Partition>,
    pub info: AppendInfo,
    led_since: LeaderEpoch,
}

impl Appended {
    /// Whether the replicas have it.
    pub fn is_committed(&self) -> Result<bool, CommitError> {
        self.partition.is_committed(self.info.last_offset + 1, self.led_since)
    }
}

/// Why a partition is not served here. Kafka: `getPartitionOrError`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHosted {
    #[error("the log directory of the replica is offline")]
    Offline,
    /// The topic exists, but not here: the client's metadata is old.
    #[error("this broker has no replica of the partition")]
    Elsewhere,
    #[error("the partition is unknown")]
    Unknown,
}

/// Why a leader did not take records.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    NotHosted(#[from] NotHosted),
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    #[error(transparent)]
    Partition(#[from] PartitionAppendError),
    /// `flush.messages` is reached, and they are in the log, but not on the disk.
    #[error("the log was not flushed")]
    NotFlushed,
}

impl From<NotLeader> for AppendError {
    fn from(error: NotLeader) -> Self {
        Self::Partition(error.into())
    }
}

/// [`AppendError`], with what else a producer may learn of the log.
#[derive(Debug)]
pub struct AppendFailure {
    pub error: AppendError,
    /// Of the log that refused; None when none was asked.
    pub log_start_offset: Option<Offset>,
}

impl<E: Into<AppendError>> From<E> for AppendFailure {
    fn from(error: E) -> Self {
        Self { error: error.into(), log_start_offset: None }
    }
}

/// The error of an append that `log` refused.
fn refused_by(log: &UnifiedLog, error: impl Into<AppendError>) -> AppendFailure {
    AppendFailure { error: error.into(), log_start_offset: Some(log.log_start_offset()) }
}

/// Why a producer that waits for its records to be committed waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    #[error(transparent)]
    Lost(#[from] CommitError),
    /// They may still be.
    #[error("the replicas did not have them in time")]
    TimedOut,
}

/// Why DeleteRecords waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitDeletedError {
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    #[error("the followers had not deleted them in time")]
    TimedOut,
}

/// A request is of a controller that is not the controller any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the controller's epoch is older than {latest}")]
pub struct StaleController {
    pub latest: ControllerEpoch,
}

impl ReplicaManager {
    /// `topic_configs` has the topics with settings of their own; `broker_epoch` tells the registration of now; fetchers
    /// run in `groups`.
    pub fn new(
        settings: ReplicaSettings,
        logs: Arc<LogManager>,
        image: Arc<ArcSwap<MetadataImage>>,
        default_config: Arc<LogConfig>,
        topic_configs: HashMap<Arc<str>, Arc<LogConfig>>,
        broker_epoch: impl Fn() -> BrokerEpoch + Send + Sync + 'static,
        groups: Vec<Group>,
    ) -> Arc<Self> {
        let (samples, window_ms) = (settings.quota_samples, settings.quota_window_ms);
        let quota = || ReplicationQuota::new(samples, window_ms);
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            local: settings.local,
            logs,
            partitions: Partitions::default(),
            image,
            broker_epoch: Box::new(broker_epoch),
            default_config: ArcSwap::new(default_config),
            clock: Clock::start(),
            topic_configs: Mutex::new(topic_configs),
            fetches: Arc::default(),
            follower_fetches: Arc::default(),
            produces: Arc::default(),
            deletes: Arc::default(),
            fetchers: FetcherManager::new(settings.fetchers.clone(), settings.fetchers_per_leader, groups),
            isr_sync: IsrSync::default(),
            leader_quota: quota(),
            follower_quota: quota(),
            room_wanted: Notify::new(),
            state_change: Mutex::default(),
            controller_epoch: Mutex::new(ControllerEpoch(0)),
            awaited: Mutex::default(),
            settings,
        })
    }

    /// The settings of a topic, its own over the broker's.
    pub fn topic_config(&self, topic: &str) -> Arc<LogConfig> {
        let own = self.topic_configs.lock().get(topic).cloned();
        own.unwrap_or_else(|| self.default_config.load_full())
    }

    /// The topics with settings of their own.
    pub fn configured_topics(&self) -> Vec<Arc<str>> {
        self.topic_configs.lock().keys().cloned().collect()
    }

    /// Takes over new settings of a topic, also for its logs that are open. None: it has none of its own any more.
    pub fn set_topic_config(&self, topic: &str, config: Option<Arc<LogConfig>>) {
        {
            let mut configs = self.topic_configs.lock();
            match config {
                Some(config) => configs.insert(Arc::from(topic), config),
                None => configs.remove(topic),
            };
        }
        self.logs.take_configs(|other| other == topic, |topic| self.topic_config(topic));
    }

    /// Takes over new defaults of the broker, as `config` and as the `defaults` that it came from. Topics with settings of
    /// their own keep those.
    pub fn set_default_config(&self, config: Arc<LogConfig>, defaults: &Props) {
        {
            let mut topics = self.topic_configs.lock();
            for (topic, own) in topics.iter_mut() {
                match LogConfig::resolve(defaults, &own.overridden) {
                    Ok(resolved) => *own = Arc::new(resolved),
                    Err(error) => warn!(%topic, %error, "topic config ignored"),
                }
            }
            self.default_config.store(config);
        }
        self.logs.take_configs(|_| true, |topic| self.topic_config(topic));
    }

    pub fn logs(&self) -> &Arc<LogManager> {
        &self.logs
    }

    /// A partition that is served here.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, NotHosted> {
        match self.partitions.get(topic, partition) {
            Some(Hosted::Online(partition)) => Ok(partition),
            Some(Hosted::Offline) => Err(NotHosted::Offline),
            None if self.image.load().partition(topic, partition).is_some() => Err(NotHosted::Elsewhere),
            None => Err(NotHosted::Unknown),
        }
    }

    /// Validates and appends what a client produced to one partition, and wakes those who wait to read it.
    pub async fn append(
        &self,
        topic: &str,
        partition: i32,
        records: &Bytes,
        acks_all: bool,
        guard: Option<VerificationGuard>,
        now: Millis,
    ) -> Result<Appended, AppendFailure> {
        let terms = AppendTerms { origin: AppendOrigin::Client, guard, acks_all, led_since: None };
        self.append_on(topic, partition, records, terms, now).await
    }

    /// As [`Self::append`], for whoever it is.
    pub(super) async fn append_on(
        &self,
        topic: &str,
        partition: i32,
        records: &Bytes,
        terms: AppendTerms,
        now: Millis,
    ) -> Result<Appended, AppendFailure> {
        let partition = self.partition(topic, partition)?;
        let log = partition.log().filter(|_| partition.is_leader()).ok_or(NotLeader)?;
        let config = log.config();
        let context = ValidationContext {
            topic_partition: &partition.topic_partition,
            now,
            origin: terms.origin,
            compression: target_compression(&config),
            timestamp_type: match config.message_timestamp_type {
                topic::TimestampType::CreateTime => TimestampType::CreateTime,
                topic::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            compacted: config.compact,
            max_message_bytes: config.max_message_bytes as usize,
        };
        let batches = validate::validate(records, &context).map_err(|error| refused_by(&log, error))?;
        let LeaderAppend { info, log, led_since } =
            partition.append_as_leader(&batches, &terms, now).map_err(|error| refused_by(&log, error))?;
        if info.flush_due {
            flush(&log, now).await?;
        }
        let progress = self.around(|around| partition.on_log_end(&log, info.log_end, around));
        if !partition.is_alone() {
            self.follower_fetches.wake(&partition.topic_partition);
        }
        self.run(&partition, progress);
        Ok(Appended { partition, info, led_since })
    }

    // ---- what follows of a leader's progress

    /// What partitions need to know of this moment.
    pub(super) fn around<T>(&self, work: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        let is_alive = |id| self.is_alive(id);
        let now = self.clock.ticks();
        work(&Surroundings { now, lag_time_max_ms: self.settings.lag_time_max_ms, is_alive: &is_alive })
    }

    fn is_alive(&self, id: BrokerId) -> bool {
        self.image.load().brokers.contains_key(&id)
    }

    /// Wakes those who waited for it, and has the controller asked. No lock of the partition is held.
    pub(super) fn run(&self, partition: &Arc<Partition>, progress: Progress) {
        if progress.is_committed_more {
            self.fetches.wake(&partition.topic_partition);
            self.produces.wake(&partition.topic_partition);
        }
        if progress.has_moved_log_start {
            self.deletes.wake(&partition.topic_partition);
        }
        if let Some(change) = progress.submit {
            self.submit_isr(partition, change);
        }
    }

    /// Consumers may read more from these followers.
    pub(super) fn wake_readers(&self, partitions: &[TopicPartition]) {
        partitions.iter().for_each(|tp| self.fetches.wake(tp));
    }

    pub(super) fn wake_all(&self, tp: &TopicPartition) {
        for purgatory in [&self.fetches, &self.follower_fetches, &self.produces, &self.deletes] {
            purgatory.wake(tp);
        }
    }

    /// Every half of `replica.lag.time.max.ms`: followers that have not caught up for that long leave.
    pub fn shrink_isrs(&self) {
        for partition in self.partitions.online() {
            let progress = self.around(|around| partition.shrink_isr(around));
            self.run(&partition, progress);
        }
    }

    // ---- followers

    pub(super) fn broker_epoch(&self) -> BrokerEpoch {
        (self.broker_epoch)()
    }

    pub(super) fn me(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// A partition that is served here.
    pub(super) fn online(&self, tp: &TopicPartition) -> Option<Arc<Partition>> {
        match self.partitions.get(&tp.topic, tp.partition)? {
            Hosted::Online(partition) => Some(partition),
            Hosted::Offline => None,
        }
    }

    pub(super) fn online_log(&self, tp: &TopicPartition) -> Option<Arc<UnifiedLog>> {
        self.online(tp)?.log()
    }

    /// Goes over to another `num.replica.fetchers`.
    pub fn resize_fetchers(&self, per_leader: i32) {
        if let Some(me) = self.me() {
            self.fetchers.resize(&me, per_leader.max(1) as usize);
        }
    }

    /// Nothing is copied from other brokers any more.
    pub fn stop_fetchers(&self) {
        self.fetchers.stop_all();
    }

    // ---- throttling

    /// Takes over `leader.replication.throttled.rate` and `follower.replication.throttled.rate`, in bytes a second.
    pub fn set_throttled_rates(&self, leader: i64, follower: i64) {
        self.leader_quota.set_rate(leader);
        self.follower_quota.set_rate(follower);
    }

    /// Whether a replica that we follow has to wait.
    pub(super) fn throttles_as_follower(&self, tp: &TopicPartition, now: Millis) -> bool {
        self.follower_quota.is_exceeded(now) && self.online_log(tp).is_some_and(|log| self.is_throttled_follower(&log))
    }

    fn is_throttled_follower(&self, log: &UnifiedLog) -> bool {
        let partition = log.topic_partition().partition;
        log.config().follower_replication_throttled_replicas.contains(partition, self.local.0)
    }

    /// Counts what was copied.
    pub(super) fn record_followed(&self, log: &UnifiedLog, bytes: u64, now: Millis) {
        if self.follower_quota.is_set() && bytes > 0 && self.is_throttled_follower(log) {
            self.follower_quota.record(now, bytes);
        }
    }

    /// Waits until all of it is committed, at most until `timeout`. One outcome an append, in their order.
    pub async fn wait_committed(&self, appended: &[&Appended], timeout: Duration) -> Vec<Result<(), WaitError>> {
        let mut outcomes: Vec<Option<Result<(), WaitError>>> = vec![None; appended.len()];
        let advance = |outcomes: &mut Vec<Option<Result<(), WaitError>>>| {
            for (outcome, appended) in outcomes.iter_mut().zip(appended).filter(|(o, _)| o.is_none()) {
                *outcome = match appended.is_committed() {
                    Ok(true) => Some(Ok(())),
                    Ok(false) => None,
                    Err(error) => Some(Err(error.into())),
                };
            }
            outcomes.iter().all(Option::is_some)
        };
        if !advance(&mut outcomes) {
            let keys = appended.iter().map(|appended| appended.partition.topic_partition.clone()).collect();
            let waiter = self.produces.watch(keys);
            let deadline = tokio::time::sleep(timeout);
            tokio::pin!(deadline);
            while !advance(&mut outcomes) {
                tokio::select! {
                    biased;
                    () = waiter.woken() => {}
                    () = &mut deadline => break,
                }
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(WaitError::TimedOut))).collect()
    }

    /// Waits until no live replica has anything before these offsets any more (DeleteRecords), at most until `timeout`.
    /// For each partition: the low watermark, or why there is none.
    pub async fn wait_deleted(
        &self,
        deleted: &[(Arc<Partition>, Offset)],
        timeout: Duration,
    ) -> Vec<Result<Offset, WaitDeletedError>> {
        let is_alive = |id| self.is_alive(id);
        let look = || -> (bool, Vec<Result<Offset, WaitDeletedError>>) {
            let mut all = true;
            let outcomes = deleted.iter().map(|(partition, offset)| match partition.low_watermark(&is_alive) {
                Some(low) if low >= *offset => Ok(low),
                Some(_) => {
                    all = false;
                    Err(WaitDeletedError::TimedOut)
                }
                None => Err(NotLeader.into()),
            });
            let outcomes = outcomes.collect();
            (all, outcomes)
        };
        let (all, outcomes) = look();
        if all {
            return outcomes;
        }
        let keys = deleted.iter().map(|(partition, _)| partition.topic_partition.clone()).collect();
        let waiter = self.deletes.watch(keys);
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        loop {
            let (all, outcomes) = look();
            if all {
                return outcomes;
            }
            tokio::select! {
                biased;
                () = waiter.woken() => {}
                () = &mut deadline => return outcomes,
            }
        }
    }

    /// Completes when a replica has found no room for its log since the last call. The controller counts it as lost, until
    /// it is asked to ask again. Cancel safe.
    pub async fn room_wanted(&self) {
        self.room_wanted.notified().await;
    }

    /// A log directory has failed: its partitions are offline until the broker is started again. False when it was the
    /// last one. The controller is to ask about them then: whatever it was answered before, it was too early. Waits for
    /// state changes that are under way.
    pub fn on_dir_failure(&self, dir: &Path) -> bool {
        let _state_change = self.state_change.lock();
        match self.logs.handle_dir_failure(dir) {
            Ok(partitions) => {
                self.take_offline(partitions);
                true
            }
            Err(_) => false,
        }
    }

    /// `state_change` is held.
    pub(super) fn take_offline(&self, partitions: Vec<TopicPartition>) {
        self.fetchers.remove(&partitions);
        for tp in &partitions {
            self.awaited.lock().remove(tp);
            if let Some(partition) = self.online(tp) {
                partition.resign();
            }
        }
        self.partitions.apply(partitions.iter().map(|tp| (tp.clone(), Some(Hosted::Offline))));
        partitions.iter().for_each(|tp| self.wake_all(tp));
    }

    /// Notes the epoch of a controller that speaks here, with whichever request; the error refuses one that is not the
    /// controller any more. Kafka: `ReplicaManager.controllerEpoch`.
    pub fn hear_controller(
        &self,
        controller: BrokerId,
        epoch: ControllerEpoch,
        request: &'static str,
    ) -> Result<(), StaleController> {
        let mut latest = self.controller_epoch.lock();
        if epoch < *latest {
            warn!(%controller, %epoch, latest = %latest, request, "an old controller is refused");
            return Err(StaleController { latest: *latest });
        }
        *latest = epoch;
        Ok(())
    }
}

/// `flush.messages` is reached: what was appended counts for nothing before it is on the disk.
async fn flush(log: &Arc<UnifiedLog>, now: Millis) -> Result<(), AppendError> {
    let log = Arc::clone(log);
    match tokio::task::spawn_blocking(move || log.flush(now)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(AppendError::NotFlushed),
    }
}

/// `compression.type`; None keeps what the producer chose.
fn target_compression(config: &LogConfig) -> Option<Compression> {
    Some(match config.compression {
        BrokerCompression::Producer => return None,
        BrokerCompression::Uncompressed => Compression::None,
        BrokerCompression::Gzip(level) => Compression::Gzip(level),
        BrokerCompression::Snappy => Compression::Snappy,
        BrokerCompression::Lz4(level) => Compression::Lz4(level),
        BrokerCompression::Zstd(level) => Compression::Zstd(level),
    })
}
