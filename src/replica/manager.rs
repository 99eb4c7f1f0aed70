//! Owns what replicas are made of, and hands each request to the part that it is for. Kafka: `ReplicaManager`.

use super::configs::TopicConfigs;
use super::fetcher::manager::FetcherManager;
use super::host::{Host, NotHosted, Waits};
use super::isr_queue::IsrQueue;
use super::isr_sync;
use super::partitions::Partitions;
use super::quota::ReplicationQuota;
use super::settings::ReplicaSettings;
use super::state_change::StateChanges;
use crate::client::controller_channel::ControllerChannel;
use crate::cluster::image::MetadataImage;
use crate::cluster::partition::Partition;
use crate::common::BrokerEpoch;
use crate::config::topic::LogConfig;
use crate::log::LogManager;
use crate::util::clock::Clock;
use crate::util::task::Group;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// See the room's page.
pub struct ReplicaManager {
    pub(super) host: Arc<Host>,
    fetchers: Arc<FetcherManager>,
    states: StateChanges,
}

impl ReplicaManager {
    /// `topic_configs` has the topics with settings of their own; `broker_epoch` gives the current registration; fetchers
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
        let quota = || ReplicationQuota::new(settings.quota_samples, settings.quota_window_ms);
        let host = Arc::new(Host {
            configs: TopicConfigs::new(Arc::clone(&logs), default_config, topic_configs),
            logs,
            partitions: Partitions::default(),
            image,
            broker_epoch: Box::new(broker_epoch),
            clock: Clock::start(),
            waits: Waits::default(),
            isr_changes: IsrQueue::default(),
            leader_quota: quota(),
            follower_quota: quota(),
            settings,
        });
        let fetchers = Arc::new(FetcherManager::new(Arc::clone(&host), groups));
        let states = StateChanges::new(Arc::clone(&host), Arc::clone(&fetchers));
        Arc::new(Self { host, fetchers, states })
    }

    /// A partition that is served here.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, NotHosted> {
        self.host.partition(topic, partition)
    }

    pub fn logs(&self) -> &Arc<LogManager> {
        &self.host.logs
    }

    pub fn configs(&self) -> &TopicConfigs {
        &self.host.configs
    }

    /// What changes roles, and which logs there are.
    pub fn states(&self) -> &StateChanges {
        &self.states
    }

    // ---- replication

    /// Asks the controller to change in-sync replicas, until the broker stops.
    pub async fn sync_isrs(self: Arc<Self>, controller: ControllerChannel, stop: CancellationToken) {
        isr_sync::run(&self.host, &controller, &stop).await;
    }

    /// Every half of `replica.lag.time.max.ms`: followers that have not caught up for that long leave.
    pub fn shrink_isrs(&self) {
        for partition in self.host.partitions.online() {
            let progress = self.host.around(|around| partition.shrink_isr(around));
            self.host.run(&partition, progress);
        }
    }

    /// Goes over to another `num.replica.fetchers`.
    pub fn resize_fetchers(&self, per_leader: i32) {
        self.fetchers.resize(per_leader.max(1) as usize);
    }

    /// Nothing is copied from other brokers any more.
    pub fn stop_fetchers(&self) {
        self.fetchers.stop_all();
    }

    /// Takes over `leader.replication.throttled.rate` and `follower.replication.throttled.rate`, in bytes a second.
    pub fn set_throttled_rates(&self, leader: i64, follower: i64) {
        self.host.leader_quota.set_rate(leader);
        self.host.follower_quota.set_rate(follower);
    }
}
