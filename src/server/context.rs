//! Owns what handlers share: the broker as a request sees it. Kafka: the constructor parameters of `KafkaApis`.

use super::dynamic_config::LiveConfig;
use super::fetch_session::FetchSessionCache;
use super::producer_ids::ProducerIds;
use crate::client::controller_channel::ControllerChannel;
use crate::cluster::image::MetadataImage;
use crate::common::{BrokerEpoch, BrokerId, Millis};
use crate::config::LogConfig;
use crate::controller::ControllerHandle;
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::transaction::{TransactionCoordinator, Verifier};
use crate::coordinator::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC};
use crate::replica::{LeaderAndIsr, ReplicaManager, StateChange};
use crate::util::task::Group;
use crate::zk::client::Client;
use crate::zk::configs;
use crate::zk::data::config::Config;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

pub struct Broker {
    pub id: BrokerId,
    pub cluster_id: String,
    pub config: LiveConfig,
    /// What the controller last told. Replaced whole.
    pub image: Arc<ArcSwap<MetadataImage>>,
    /// Woken after each change of `image`.
    pub image_changed: Notify,
    pub replicas: Arc<ReplicaManager>,
    pub fetch_sessions: FetchSessionCache,
    pub producer_ids: Arc<ProducerIds>,
    pub transactions: Arc<TransactionCoordinator>,
    pub verifier: Arc<Verifier>,
    pub zk: Client,
    pub controller: ControllerHandle,
    /// Our own requests to the controller, which may be another broker.
    pub to_controller: ControllerChannel,
    pub groups: Arc<GroupCoordinator>,
    pub coordinator_partitions: CoordinatorPartitions,
    /// Names that this broker is creating because somebody asked for them.
    pub(super) topics_in_creation: Mutex<HashSet<String>>,
    /// Runs what changes state and must not end with its connection.
    pub(super) control: Group,
}

/// How many partitions the coordinators' topics have, as this broker found them at its start.
#[derive(Clone, Copy, Debug)]
pub struct CoordinatorPartitions {
    pub offsets: i32,
    pub transactions: i32,
}

impl Broker {
    /// Whether a request of the controller was meant for an earlier registration. A newer epoch than ours is one that we
    /// have not heard of yet; -1 is a controller too old to say.
    pub fn is_epoch_stale(&self, epoch: BrokerEpoch) -> bool {
        epoch.0 >= 0 && epoch < self.controller.broker_epoch()
    }

    /// Reads the settings of topics that get their first log here: a creation writes no notification.
    pub(super) async fn learn_topic_configs(&self, partitions: &[LeaderAndIsr]) {
        let unknown = |p: &&LeaderAndIsr| self.replicas.logs().log(&p.topic_partition).is_none();
        let topics: BTreeSet<&str> = partitions.iter().filter(unknown).map(|p| &*p.topic_partition.topic).collect();
        for topic in topics {
            self.learn_topic_config(topic).await;
        }
    }

    /// Takes over what `/config/topics/TOPIC` says, and gives it; nothing when it cannot be read.
    pub(super) async fn learn_topic_config(&self, topic: &str) -> Config {
        let overrides = match configs::read(&self.zk, &format!("topics/{topic}")).await {
            Ok(overrides) => overrides,
            Err(error) => {
                warn!(topic, %error, "topic config not read");
                return Config::new();
            }
        };
        match LogConfig::resolve(&self.config.load().log_defaults, &overrides) {
            Ok(config) if !overrides.is_empty() => self.replicas.set_topic_config(topic, Some(Arc::new(config))),
            Ok(_) => self.replicas.set_topic_config(topic, None),
            Err(error) => warn!(topic, %error, "topic config ignored"),
        }
        overrides
    }

    /// Tells the coordinators which of their partitions this broker leads now, and which no longer. Does not wait for what
    /// they have to load.
    pub(super) fn follow_leadership(&self, change: &StateChange) {
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
        match self.control.handle().spawn_blocking(work).await {
            Ok(done) => done,
            // The connection's task takes over the panic, and ends.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}

/// Milliseconds since the epoch.
pub fn now_ms() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}
