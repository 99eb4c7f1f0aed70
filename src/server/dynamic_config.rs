//! Owns the broker's current configuration, and applies changes in ZooKeeper to the running parts. Kafka:
//! `ZkConfigManager`, `TopicConfigHandler`, `BrokerConfigHandler`, `DynamicLogConfig`.
//!
//! A change takes effect at once for: all settings of topics and their logs, the log cleaner, the number of replica
//! fetchers, the limits of connections and the rates of throttled replication. Other dynamic keys are only applied to
//! the configuration that DescribeConfigs shows, and take effect at the next start.
//! Absent so far: quotas of users, clients and addresses.

use super::context::{Broker, Learned, LearnedConfig};
use crate::common::BrokerId;
use crate::config::dynamic::{Applied, Layer};
use crate::config::{BrokerConfig, ConfigError, DynamicConfig, Props, topic};
use crate::log::CleanerSettings;
use crate::network::ConnectionLimits;
use crate::util::clock::wall_ms;
use crate::zk::client::{Client, Error};
use crate::zk::configs::{self, ConfigChanges};
use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use std::collections::HashSet;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// The name that stands for every broker below `/config/brokers`.
const CLUSTER_DEFAULT: &str = "<default>";

/// The pause before ZooKeeper is read again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The path of a layer's settings below `/config`.
pub(super) fn entity_path(layer: Layer, id: BrokerId) -> String {
    match layer {
        Layer::ClusterDefault => format!("brokers/{CLUSTER_DEFAULT}"),
        Layer::Broker => format!("brokers/{id}"),
    }
}

/// Lays this broker's settings in ZooKeeper over its properties file.
pub(super) async fn load(zk: &Client, config: Arc<BrokerConfig>, id: BrokerId) -> Result<DynamicConfig, Error> {
    let cluster_default = configs::read(zk, &entity_path(Layer::ClusterDefault, id)).await?;
    let own = configs::read(zk, &entity_path(Layer::Broker, id)).await?;
    let mut layers = DynamicConfig::new(config);
    for reason in layers.load(&cluster_default, &own) {
        error!(reason, "dynamic config passed over");
    }
    Ok(layers)
}

/// The configuration that handlers read: always the current one.
pub struct LiveConfig {
    layers: Mutex<DynamicConfig>,
    current: ArcSwap<BrokerConfig>,
}

impl LiveConfig {
    pub fn new(layers: DynamicConfig) -> Self {
        let current = ArcSwap::new(Arc::clone(layers.current()));
        Self { layers: Mutex::new(layers), current }
    }

    pub fn load(&self) -> Guard<Arc<BrokerConfig>> {
        self.current.load()
    }

    /// As [`Self::load`], for callers that hold it for longer.
    pub fn load_full(&self) -> Arc<BrokerConfig> {
        self.current.load_full()
    }

    /// The current layers, for the APIs that describe and alter them.
    pub fn layers(&self) -> DynamicConfig {
        self.layers.lock().clone()
    }

    fn apply(&self, layer: Layer, stored: &Props) -> (Applied, Result<(), ConfigError>) {
        let mut layers = self.layers.lock();
        let outcome = layers.apply(layer, stored);
        self.current.store(Arc::clone(layers.current()));
        outcome
    }
}

/// Follows `/config/changes` until the broker stops.
pub(super) async fn follow(broker: Arc<Broker>, stop: CancellationToken) {
    let mut changes = ConfigChanges::new(broker.zk.clone());
    let mut session = broker.zk.session();
    let mut learned_in = None;
    loop {
        let generation = session.borrow_and_update().generation;
        let retry = match take_over(&broker, &mut changes, learned_in != Some(generation)).await {
            Ok(()) => {
                learned_in = Some(generation);
                Duration::MAX
            }
            Err(error) => {
                warn!(%error, "config changes not read");
                RETRY_AFTER
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = changes.changed() => {}
            // Watches end with their session.
            ended = session.changed() => if ended.is_err() { return },
            () = tokio::time::sleep(retry) => {}
        }
    }
}

/// Applies the changes since the last time. Applies everything at first and in each new session: notifications exist
/// for a quarter of an hour only, and loading the logs or a lost session may have taken longer.
async fn take_over(broker: &Broker, changes: &mut ConfigChanges, everything: bool) -> Result<(), Error> {
    if everything {
        changes.forget();
    }
    let found = changes.scan().await?;
    if everything {
        broker.learn_broker_config(Layer::ClusterDefault).await?;
        broker.learn_broker_config(Layer::Broker).await?;
        broker.learn_all_topic_configs().await?;
    }
    let mut read = HashSet::new();
    for change in &found {
        // A change listed later was written before this read, which includes it.
        if let Some(path) = change.entity_path.as_deref().filter(|path| read.insert(*path)) {
            take_over_entity(broker, path).await?;
        }
        changes.note(change);
    }
    changes.purge(wall_ms()).await
}

async fn take_over_entity(broker: &Broker, path: &str) -> Result<(), Error> {
    match path.split_once('/') {
        Some(("topics", topic)) => {
            let LearnedConfig { overrides, .. } = broker.learn_topic_config(topic, Learned::Change).await?;
            if topic::allows_unclean_election(&overrides) == Some(true) {
                broker.controller.unclean_election_allowed(topic).await;
            }
        }
        Some(("brokers", CLUSTER_DEFAULT)) => broker.learn_broker_config(Layer::ClusterDefault).await?,
        Some(("brokers", id)) if *id == broker.id.to_string() => broker.learn_broker_config(Layer::Broker).await?,
        // Other brokers' settings, and those of users, clients and addresses.
        _ => {}
    }
    Ok(())
}

impl Broker {
    /// Applies the rates of throttled replication; they are stored in ZooKeeper only.
    pub(super) fn take_over_throttles(&self) {
        let rates = self.config.load().replication_rates;
        self.replicas
            .set_throttled_rates(rates.leader_replication_throttled_rate, rates.follower_replication_throttled_rate);
    }

    /// Applies the current settings of a layer's znode.
    async fn learn_broker_config(&self, layer: Layer) -> Result<(), Error> {
        let path = entity_path(layer, self.id);
        let stored = configs::read(&self.zk, &path).await?;
        let (applied, result) = self.config.apply(layer, &stored);
        for reason in applied.ignored {
            error!(path, reason, "dynamic config passed over");
        }
        if let Err(error) = result {
            error!(path, %error, "dynamic config could not be applied");
        }
        if !applied.changed.is_empty() {
            info!(path, changed = ?applied.changed, "configuration changed");
            let config = Arc::clone(&self.config.load());
            {
                // Not while a topic's settings are resolved over the defaults before these.
                let _news = self.config_news.lock();
                self.replicas.configs().set_default(Arc::new(config.log.clone()), &config.log_defaults);
            }
            self.replicas.resize_fetchers(config.num_replica_fetchers);
            self.take_over_throttles();
            let limits_of = Arc::clone(&config);
            let limits = self.blocking(move || connection_limits(&limits_of)).await;
            self.connection_quotas.set_limits(limits);
            self.controller.set_unclean_election_default(config.unclean_leader_election_enable).await;
            if self.replicas.logs().has_cleaner() {
                let (logs, settings) = (Arc::clone(self.replicas.logs()), CleanerSettings::of(&config));
                // Waits for the cleaner's threads.
                if let Err(error) = self.blocking(move || logs.run_cleaner(settings, wall_ms)).await {
                    error!(%error, "log cleaner did not start again");
                }
            }
        }
        Ok(())
    }
}

/// Blocks: the hosts of `max.connections.per.ip.overrides` are resolved.
pub(super) fn connection_limits(config: &BrokerConfig) -> ConnectionLimits {
    let bound = |value: i32| usize::try_from(value).unwrap_or(0);
    let overrides = config.max_connections_per_ip_overrides.iter().flat_map(|(host, max)| {
        let addresses = (host.as_str(), 0).to_socket_addrs().into_iter().flatten();
        addresses.map(|address| (address.ip().to_canonical(), bound(*max))).collect::<Vec<_>>()
    });
    let of_listener = config.listeners.iter().filter_map(|e| {
        let max = config.at_listener(&e.listener).ok()?.max_connections;
        Some((e.listener.to_string(), bound(max)))
    });
    ConnectionLimits {
        max: bound(config.max_connections),
        max_of_listener: of_listener.collect(),
        max_per_ip: bound(config.max_connections_per_ip),
        max_per_ip_overrides: overrides.collect(),
    }
}
