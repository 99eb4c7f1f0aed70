//! Owns what everything in this room works on: the partitions with their logs, the metadata, who waits for what, and how
//! much replication may send. Decides nothing for itself: what a partition says has to follow of its progress is run here.

use super::configs::TopicConfigs;
use super::isr_queue::IsrQueue;
use super::partitions::{Hosted, Partitions};
use super::quota::ReplicationQuota;
use super::settings::ReplicaSettings;
use crate::cluster::image::MetadataImage;
use crate::cluster::isr::{IsrChange, IsrRefusal};
use crate::cluster::partition::{ClusterView, Partition, Progress};
use crate::common::{BrokerEpoch, BrokerId, Millis, TopicPartition};
use crate::log::{LogManager, UnifiedLog};
use crate::util::clock::Clock;
use crate::util::purgatory::Purgatory;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tracing::debug;

/// See the module's page.
pub(super) struct Host {
    pub settings: ReplicaSettings,
    pub logs: Arc<LogManager>,
    pub configs: TopicConfigs,
    pub partitions: Partitions,
    pub image: Arc<ArcSwap<MetadataImage>>,
    /// Of the registration of now.
    pub broker_epoch: Box<dyn Fn() -> BrokerEpoch + Send + Sync>,
    /// Its ticks are those of followers' lags.
    pub clock: Clock,
    pub waits: Waits,
    /// Changes of in-sync replicas that the controller is to be asked for.
    pub isr_changes: IsrQueue,
    pub leader_quota: ReplicationQuota,
    pub follower_quota: ReplicationQuota,
}

/// Who waits, by partition. All are woken when its role changes.
#[derive(Default)]
pub(super) struct Waits {
    /// Consumers: woken when the high watermark rises.
    pub fetches: Arc<Purgatory<TopicPartition>>,
    /// Followers: woken when the log grows.
    pub follower_fetches: Arc<Purgatory<TopicPartition>>,
    /// Producers: woken when the high watermark rises.
    pub produces: Arc<Purgatory<TopicPartition>>,
    /// DeleteRecords: woken when the log start of a follower moves.
    pub deletes: Arc<Purgatory<TopicPartition>>,
}

impl Waits {
    pub(super) fn wake_all(&self, tp: &TopicPartition) {
        for purgatory in [&self.fetches, &self.follower_fetches, &self.produces, &self.deletes] {
            purgatory.wake(tp);
        }
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

impl Host {
    pub(super) fn local(&self) -> BrokerId {
        self.settings.local
    }

    // ---- partitions

    /// A partition that is served here.
    pub(super) fn partition(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, NotHosted> {
        match self.partitions.get(topic, partition) {
            Some(Hosted::Online(partition)) => Ok(partition),
            Some(Hosted::Offline) => Err(NotHosted::Offline),
            None if self.image.load().partition(topic, partition).is_some() => Err(NotHosted::Elsewhere),
            None => Err(NotHosted::Unknown),
        }
    }

    /// As [`Self::partition`], for those who do not ask why there is none.
    pub(super) fn online(&self, tp: &TopicPartition) -> Option<Arc<Partition>> {
        match self.partitions.get(&tp.topic, tp.partition)? {
            Hosted::Online(partition) => Some(partition),
            Hosted::Offline => None,
        }
    }

    pub(super) fn online_log(&self, tp: &TopicPartition) -> Option<Arc<UnifiedLog>> {
        self.online(tp)?.log()
    }

    // ---- what follows of a leader's progress

    /// What partitions need to know of this moment.
    pub(super) fn around<T>(&self, work: impl FnOnce(&ClusterView<'_>) -> T) -> T {
        let is_alive = |id| self.is_alive(id);
        let now = self.clock.ticks();
        work(&ClusterView { now, lag_time_max_ms: self.settings.lag_time_max_ms, is_alive: &is_alive })
    }

    pub(super) fn is_alive(&self, id: BrokerId) -> bool {
        self.image.load().brokers.contains_key(&id)
    }

    /// Wakes those who waited for it, and has the controller asked. No lock of the partition is held.
    pub(super) fn run(&self, partition: &Arc<Partition>, progress: Progress) {
        if progress.is_committed_more {
            self.waits.fetches.wake(&partition.topic_partition);
            self.waits.produces.wake(&partition.topic_partition);
        }
        if progress.has_moved_log_start {
            self.waits.deletes.wake(&partition.topic_partition);
        }
        if let Some(change) = progress.submit {
            self.submit_isr(partition, change);
        }
    }

    /// Has the controller asked. When a former change of the partition still waits for its answer, this one is dropped:
    /// it comes again with the follower's next fetch.
    fn submit_isr(&self, partition: &Arc<Partition>, change: IsrChange) {
        let Err(change) = self.isr_changes.push(partition, change) else { return };
        let tp = &partition.topic_partition;
        debug!(%tp, isr = ?change.isr, "a former change of the in-sync replicas waits for its answer");
        let refused = Err(IsrRefusal::NotNow);
        let progress = self.around(|around| partition.on_isr_answer(&change, refused, around));
        self.run(partition, progress);
    }

    // ---- throttling

    /// Whether a replica that we follow has to wait. `now` in ticks.
    pub(super) fn throttles_as_follower(&self, tp: &TopicPartition, now: Millis) -> bool {
        self.follower_quota.is_exceeded(now) && self.online_log(tp).is_some_and(|log| self.is_throttled_follower(&log))
    }

    fn is_throttled_follower(&self, log: &UnifiedLog) -> bool {
        let partition = log.topic_partition().partition;
        log.config().follower_replication_throttled_replicas.contains(partition, self.local().0)
    }

    /// Counts what was copied. `now` in ticks.
    pub(super) fn record_followed(&self, log: &UnifiedLog, bytes: u64, now: Millis) {
        if self.follower_quota.is_set() && bytes > 0 && self.is_throttled_follower(log) {
            self.follower_quota.record(now, bytes);
        }
    }
}
