//! Owns what handlers share: the broker as a request sees it. Kafka: the constructor parameters of `KafkaApis`.

use super::dynamic_config::LiveConfig;
use super::fetch_session::FetchSessionCache;
use crate::client::controller_channel::ControllerChannel;
use crate::cluster::image::MetadataImage;
use crate::common::{BrokerEpoch, BrokerId};
use crate::config::LogConfig;
use crate::controller::ControllerHandle;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::transaction::{ProducerIds, TransactionCoordinator, Verifier};
use crate::coordinator::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::network::ConnectionQuotas;
use crate::replica::{LeaderAndIsr, ReplicaManager, StateChange};
use crate::util::clock::Clock;
use crate::util::task::Group;
use crate::zk::client::{Client, Error};
use crate::zk::configs;
use crate::zk::data::config::Config;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::error;

pub struct Broker {
    pub id: BrokerId,
    pub cluster_id: String,
    pub config: LiveConfig,
    /// The latest metadata from the controller. Replaced whole.
    pub image: Arc<ArcSwap<MetadataImage>>,
    /// Woken after each change of `image`.
    pub image_changed: Notify,
    pub replicas: Arc<ReplicaManager>,
    pub fetch_sessions: FetchSessionCache,
    /// Also the clock of the fetch sessions.
    pub clock: Clock,
    pub producer_ids: Arc<ProducerIds>,
    pub transactions: Arc<TransactionCoordinator>,
    pub verifier: Arc<Verifier>,
    pub zk: Client,
    pub controller: ControllerHandle,
    /// Our own requests to the controller, which may be another broker.
    pub to_controller: ControllerChannel,
    pub groups: Arc<GroupCoordinator>,
    pub connection_quotas: Arc<ConnectionQuotas>,
    pub coordinator_partitions: CoordinatorPartitions,
    /// The version of `/feature`, -1 for unknown.
    pub(super) features_epoch: AtomicI64,
    /// Names that this broker is creating because someone asked for them.
    pub(super) topics_in_creation: Mutex<HashSet<String>>,
    /// Counts the changes of topics' settings that were applied. Held while one is applied: a read that began before a
    /// change must not undo it.
    pub(super) config_news: Mutex<u64>,
    /// Runs what changes state and must not end with its connection.
    pub(super) control: Group,
}

/// The partition counts of the coordinators' topics, as this broker found them at its start.
#[derive(Clone, Copy, Debug)]
pub struct CoordinatorPartitions {
    pub offsets: i32,
    pub transactions: i32,
}

/// Why a topic's settings are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Learned {
    /// They changed.
    Change,
    /// The topic gets its first log here.
    FirstLog,
}

/// A topic's settings as they were read.
pub(super) struct LearnedConfig {
    pub overrides: Config,
    pub is_taken_over: bool,
}

impl Broker {
    /// Whether a request of the controller was meant for an earlier registration. A newer epoch than ours is one that
    /// we have not learned of yet; -1 comes from a controller too old to send one.
    pub fn is_epoch_stale(&self, epoch: BrokerEpoch) -> bool {
        epoch.0 >= 0 && epoch < self.controller.broker_epoch()
    }

    /// Reads the settings of topics that get their first log here: a creation writes no notification. Waits for
    /// ZooKeeper without a limit: a log with the broker's defaults in place of its topic's own settings could lose
    /// records. Returns the topics with invalid settings, which get no log either.
    pub(super) async fn learn_topic_configs(&self, partitions: &[LeaderAndIsr]) -> Result<HashSet<String>, Error> {
        let mut senseless = HashSet::new();
        for topic in self.topics_without_log(partitions) {
            loop {
                match self.learn_topic_config(topic, Learned::FirstLog).await {
                    Ok(learned) if learned.is_taken_over => break,
                    Ok(_) => {
                        senseless.insert(topic.to_owned());
                        break;
                    }
                    // The next call waits for the new session.
                    Err(Error::SessionExpired) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(senseless)
    }

    fn topics_without_log<'a>(&self, partitions: &'a [LeaderAndIsr]) -> BTreeSet<&'a str> {
        let unknown = |p: &&LeaderAndIsr| self.replicas.logs().log(&p.topic_partition).is_none();
        partitions.iter().filter(unknown).map(|p| &*p.topic_partition.topic).collect()
    }

    /// Applies the settings in `/config/topics/TOPIC`, and returns them.
    pub(super) async fn learn_topic_config(&self, topic: &str, learned: Learned) -> Result<LearnedConfig, Error> {
        loop {
            let before = *self.config_news.lock();
            let overrides = configs::read(&self.zk, &format!("topics/{topic}")).await?;
            let mut news = self.config_news.lock();
            match learned {
                Learned::Change => *news += 1,
                // A change was applied since the read began, perhaps of this topic: what was read may be older.
                Learned::FirstLog if *news != before => continue,
                Learned::FirstLog => {}
            }
            let is_taken_over = self.take_over_topic_config(topic, &overrides);
            return Ok(LearnedConfig { overrides, is_taken_over });
        }
    }

    /// Reads and applies the settings of every topic: notifications may have come and expired while there was no
    /// session.
    pub(super) async fn learn_all_topic_configs(&self) -> Result<(), Error> {
        let mut all = configs::read_all(&self.zk, "topics").await?;
        for topic in self.replicas.configs().topics() {
            all.entry(topic.to_string()).or_default();
        }
        let mut news = self.config_news.lock();
        *news += 1;
        for (topic, overrides) in &all {
            self.take_over_topic_config(topic, overrides);
        }
        Ok(())
    }

    /// False for invalid settings, which can be written by hand: the previous ones stay in force.
    fn take_over_topic_config(&self, topic: &str, overrides: &Config) -> bool {
        match LogConfig::resolve(&self.config.load().log_defaults, overrides) {
            Ok(config) if !overrides.is_empty() => self.replicas.configs().set(topic, Some(Arc::new(config))),
            Ok(_) => self.replicas.configs().set(topic, None),
            Err(error) => {
                error!(topic, %error, "topic config ignored");
                return false;
            }
        }
        true
    }

    /// Tells the coordinators which of their partitions this broker leads now, and which no longer. Does not wait for what
    /// they have to load.
    pub(super) fn follow_leadership<E>(&self, change: &StateChange<E>) {
        for (tp, epoch) in &change.elected {
            match &*tp.topic {
                OFFSETS_TOPIC => self.groups.on_election(tp.partition, *epoch),
                TRANSACTIONS_TOPIC => self.transactions.on_election(tp.partition, *epoch),
                _ => {}
            }
        }
        for (tp, epoch) in &change.resigned {
            match &*tp.topic {
                OFFSETS_TOPIC => self.groups.on_resignation(tp.partition, *epoch),
                TRANSACTIONS_TOPIC => self.transactions.on_resignation(tp.partition, *epoch),
                _ => {}
            }
        }
    }

    /// Ends when the broker stops: parked requests are answered then.
    pub fn stop_token(&self) -> &CancellationToken {
        self.control.stop_token()
    }

    /// Runs disk work off the data workers. It is finished even when the connection that asked for it is gone.
    pub async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.control.spawn_blocking("request", work).await {
            Ok(done) => done,
            // The panic is resumed in the connection's task, and ends it.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}
