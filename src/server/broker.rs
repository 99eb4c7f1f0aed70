//! Owns the order in which the broker's parts start, and stop in reverse. Kafka: `KafkaServer`.

use super::context::{Broker, CoordinatorPartitions};
use super::controlled_shutdown;
use super::dynamic_config::{self, LiveConfig, connection_limits};
use super::features;
use super::fetch_session::FetchSessionCache;
use super::identity::{self, DirMeta, IdentityError};
use super::jobs;
use super::runtimes::Runtimes;
use crate::client::controller_channel::{ControllerChannel, ControllerChannelSettings, ControllerNode};
use crate::cluster::image::MetadataImage;
use crate::common::{BrokerEpoch, BrokerId};
use crate::config::endpoint::{Endpoint, SecurityProtocol};
use crate::config::{BrokerConfig, ConfigError, LogConfig};
use crate::controller::{self, ChannelSettings, ControllerHandle, ControllerSettings};
use crate::coordinator::group::{GroupCoordinator, GroupCoordinatorParts};
use crate::coordinator::transaction::{
    CoordinatorParts, MarkerWriter, ProducerIds, Settings, TransactionCoordinator, Verifier,
};
use crate::coordinator::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, partition_count};
use crate::disk::{self, DiskError};
use crate::log::checkpoint::{self, MetaProperties};
use crate::log::log_dir::reported;
use crate::log::producer_state::ProducerStateConfig;
use crate::log::{CleanerSettings, LogManager, LogManagerOptions, StartError};
use crate::network::{Listener, NetworkConfig, SocketServer};
use crate::replica::{ReplicaManager, ReplicaSettings};
use crate::util::clock::{Clock, wall_ms};
use crate::util::task::{self, Group};
use crate::zk::client::{Client, ConnectOptions, Error as ZkError};
use crate::zk::configs;
use crate::zk::data::broker::BrokerRegistration;
use crate::zk::login::{self, LoginError};
use crate::zk::paths;
use crate::zk::startup::{self, Registrar, StartupError};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

/// How long pending requests and the broker's own tasks may take once the broker stops: all of them concurrently.
const DRAIN_WITHIN: Duration = Duration::from_secs(10);

/// Kafka's default of `socket.receive.buffer.bytes`. Setting it, as every stock server.properties does, switches Linux's own
/// tuning off, which starts above it and grows with the flow: a produced gigabyte in 64 KiB batches then costs 0.94 s of
/// CPU instead of 0.70 s. So only another value than this one is set.
const DEFAULT_RECEIVE_BUFFER_BYTES: i32 = 102_400;
/// The usual soft limit of open files.
const USUAL_FILE_LIMIT: u64 = 1_024;
/// The most segment files that stay open, however many the system allows.
const OPEN_SEGMENT_FILES_MAX: u64 = 16_384;

/// Why the broker did not start. The process ends with the text.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("listener {listener} has security protocol {protocol}, which this version does not serve")]
    Security { listener: String, protocol: SecurityProtocol },
    #[error("settings of topic {topic} in ZooKeeper: {error}")]
    TopicConfig { topic: String, error: ConfigError },
    #[error("zookeeper.set.acl is true, but KAFKA_OPTS names no JAAS file with credentials for ZooKeeper")]
    NoZooKeeperLogin,
    #[error("zookeeper.ssl.client.enable=true: this version does not speak TLS to ZooKeeper")]
    ZooKeeperTls,
    #[error(transparent)]
    Login(#[from] LoginError),
    #[error(transparent)]
    ZooKeeper(#[from] StartupError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("broker.id is not set and broker.id.generation.enable is false")]
    NoBrokerId,
    #[error(transparent)]
    Logs(#[from] StartError),
    #[error("this machine's name, which a listener without a host is registered with: {0}")]
    HostName(#[source] io::Error),
    #[error("asked to stop before it had started")]
    Stopped,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<ZkError> for BrokerError {
    fn from(error: ZkError) -> Self {
        Self::ZooKeeper(error.into())
    }
}

/// A running broker.
pub struct BrokerServer {
    broker: Arc<Broker>,
    sockets: SocketServer,
    control: Group,
}

impl BrokerServer {
    /// Starts a broker. When it returns, clients can connect. Fails at once when `stop` is cancelled first, as Kafka's
    /// shutdown hook halts a broker that is still starting.
    pub async fn start(
        config: BrokerConfig,
        runtimes: &Runtimes,
        stop: CancellationToken,
    ) -> Result<Self, BrokerError> {
        refuse_unserved_security(&config)?;
        for key in config.unknown_keys() {
            warn!(key, "the configuration is not known");
        }
        for warning in config.warnings() {
            warn!("{warning}");
        }
        let config = Arc::new(config);
        let control = Group::new(runtimes.control.handle().clone());
        // The session ends last: until the logs are closed, no other broker may take this id.
        let session = control.beside_on(runtimes.session.handle().clone());
        let zk = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(BrokerError::Stopped),
            connected = connect(&config, &session) => connected?,
        };
        let started = tokio::select! {
            biased;
            () = stop.cancelled() => Err(BrokerError::Stopped),
            started = Self::start_in(zk.clone(), config, control, runtimes) => started,
        };
        if started.is_err() {
            // Removes the registration at once.
            zk.close().await;
        }
        started
    }

    /// Starts the parts that need ZooKeeper.
    async fn start_in(
        zk: Client,
        config: Arc<BrokerConfig>,
        control: Group,
        runtimes: &Runtimes,
    ) -> Result<Self, BrokerError> {
        let (metas, unreadable) = read_metas(&config);
        identity::check_not_lost(startup::cluster_id(&zk).await?.as_deref(), &metas)?;
        let cluster_id = startup::get_or_create_cluster_id(&zk).await?;
        info!("Cluster ID = {cluster_id}");

        let id = match identity::verify(
            config.broker_id,
            &cluster_id,
            &metas,
            unreadable.first().map(|(dir, _)| dir.as_path()),
        )? {
            Some(id) => id,
            None if config.broker_id_generation_enable => {
                startup::generate_broker_id(&zk, config.reserved_broker_max_id).await?
            }
            None => return Err(BrokerError::NoBrokerId),
        };
        zk.expect_cluster(&cluster_id);
        let layers = dynamic_config::load(&zk, config, id).await?;
        let config = Arc::clone(layers.current());
        // Connections and segments: the usual soft limit of 1,024 is soon reached. Java raises it too.
        let file_limit = disk::raise_file_limit().unwrap_or_else(|error| {
            warn!(%error, "the limit of open files stays");
            USUAL_FILE_LIMIT
        });
        // The other half is for connections.
        let max_open_files = (file_limit / 2).min(OPEN_SEGMENT_FILES_MAX) as usize;
        let (logs, dir_failures) = open_logs(&config, &metas, unreadable, id, &cluster_id, max_open_files)?;
        let topic_configs = read_topic_configs(&zk, &config).await?;
        let loading = {
            let (logs, topic_configs) = (Arc::clone(&logs), topic_configs.clone());
            control.spawn_blocking("load-logs", move || logs.load_logs(&topic_configs, wall_ms()))
        };
        loading.await.map_err(io::Error::other)??;

        let acceptors = control.child_on(runtimes.control.handle().clone());
        let mut sockets = SocketServer::bind(network_config(&config), acceptors, runtimes.data_groups(&control))?;
        let registration = BrokerRegistration {
            id,
            endpoints: advertised_endpoints(&config, &sockets, &control).await?,
            rack: config.broker_rack.clone(),
            jmx_port: -1,
            features: BTreeMap::new(),
        };
        startup::check_endpoints(&zk, &registration).await?;
        let mut registrar = Registrar::new(zk.clone(), registration);
        let generation = zk.session().borrow().generation;
        let epoch = registrar.register(wall_ms()).await?;
        let image = Arc::new(ArcSwap::from_pointee(MetadataImage::default()));
        let controller = start_controller(&config, id, &control, &zk, registrar, generation, epoch, Arc::clone(&image));

        let default_config = Arc::new(config.log.clone());
        let status = controller.clone();
        let replicas = ReplicaManager::new(
            ReplicaSettings::new(&config, id),
            Arc::clone(&logs),
            Arc::clone(&image),
            default_config,
            topic_configs,
            move || status.broker_epoch(),
            runtimes.data_groups(&control).to_vec(),
        );
        let to_controller = controller_channel(&config, id, &image);
        let coordinator_partitions = CoordinatorPartitions {
            offsets: partition_count(&zk, OFFSETS_TOPIC, config.offsets_topic.partitions).await?,
            transactions: partition_count(&zk, TRANSACTIONS_TOPIC, config.transactions_topic.partitions).await?,
        };
        let groups = GroupCoordinator::new(GroupCoordinatorParts {
            config: config.group,
            partitions: coordinator_partitions.offsets,
            replicas: Arc::clone(&replicas),
            tasks: runtimes.data_groups(&control),
        });
        let groups = Arc::new(groups);
        let status = controller.clone();
        let producer_ids = ProducerIds::start(to_controller.clone(), id, move || status.broker_epoch(), &control);
        let data = runtimes.data_groups(&control);
        let listener = config.inter_broker_listener_name.to_string();
        let request_timeout = Duration::from_millis(config.request_timeout_ms.max(0).unsigned_abs().into());
        let transactions = Arc::new(TransactionCoordinator::new(CoordinatorParts {
            us: id,
            partitions: coordinator_partitions.transactions,
            settings: transaction_settings(&config),
            load_buffer_bytes: config.transaction.load_buffer_bytes,
            listener: listener.clone(),
            request_timeout,
            replicas: Arc::clone(&replicas),
            image: Arc::clone(&image),
            producer_ids: Arc::clone(&producer_ids),
            writer: Arc::new(MarkerWriter::new(Arc::clone(&replicas), Arc::clone(&groups), Arc::clone(&data))),
            groups: Arc::clone(&data),
        }));
        let (image_of, asked) = (Arc::clone(&image), Arc::clone(&transactions));
        let verifier = Verifier::new(id, listener, request_timeout, image_of, asked, data);
        let features_epoch = features::read_epoch(&zk, None).await?;
        let broker = Arc::new(Broker {
            id,
            transactions,
            verifier: Arc::new(verifier),
            cluster_id,
            producer_ids,
            to_controller,
            connection_quotas: sockets.quotas(),
            replicas,
            groups,
            coordinator_partitions,
            clock: Clock::start(),
            fetch_sessions: FetchSessionCache::new(config.max_incremental_fetch_session_cache_slots.max(0) as usize),
            image,
            image_changed: Notify::new(),
            controller,
            topics_in_creation: Mutex::default(),
            config_news: Mutex::default(),
            features_epoch: AtomicI64::new(features_epoch),
            zk,
            control: control.clone(),
            config: LiveConfig::new(layers),
        });
        broker.take_over_throttles();
        if broker.config.load().log_cleaner_enable {
            logs.run_cleaner(CleanerSettings::of(&broker.config.load()), wall_ms)?;
        }
        jobs::start(&broker, &control, dir_failures);
        sockets.start(Arc::clone(&broker))?;
        info!(target: "kafka.server.KafkaServer", "[KafkaServer id={id}] started");
        Ok(Self { broker, sockets, control })
    }

    /// The port that a listener is bound to, for listeners configured with port 0.
    pub fn port(&self, listener: &str) -> Option<u16> {
        self.sockets.port(listener)
    }

    #[cfg(test)]
    pub(super) fn broker(&self) -> &Broker {
        &self.broker
    }

    /// Ends with the reason when the broker cannot go on.
    pub async fn failed(&self) -> String {
        self.control.fatal_token().cancelled().await;
        "a task ended that the broker cannot live without".to_owned()
    }

    /// Stops in the order of Kafka's `KafkaServer.shutdown`: pending requests are answered, logs are flushed and marked
    /// as cleanly closed, and the registration is removed. `hurry` ends the waits for others; closing the logs has no
    /// time limit, as in Kafka.
    pub async fn shut_down(self, hurry: CancellationToken) {
        let id = self.broker.id;
        info!(target: "kafka.server.KafkaServer", "[KafkaServer id={id}] shutting down");
        // While everything still runs: new leaders catch up with us.
        hurry.run_until_cancelled(controlled_shutdown::run(&self.broker)).await;
        self.sockets.stop_reading();
        self.broker.to_controller.close_idle();
        self.broker.replicas.stop_fetchers();
        // Parked requests end with the control group: what they wait for will not happen any more.
        self.control.stop_token().cancel();
        let drain = async {
            let (control, sockets) =
                tokio::join!(self.control.shut_down(DRAIN_WITHIN), self.sockets.shut_down(DRAIN_WITHIN));
            let (transactions, groups) = tokio::join!(
                self.broker.transactions.shut_down(DRAIN_WITHIN),
                self.broker.groups.shut_down(DRAIN_WITHIN)
            );
            for drained in [control, sockets, transactions, groups] {
                if let Err(still_running) = drained {
                    warn!(%still_running, blocking = ?task::blocking_under_way(), "not stopped in time");
                }
            }
        };
        hurry.run_until_cancelled(drain).await;
        let logs = Arc::clone(self.broker.replicas.logs());
        let closing = task::spawn_blocking("close-logs", move || logs.shutdown(wall_ms()));
        if closing.await.is_err() {
            error!("closing the logs panicked: the next start recovers them");
        }
        self.broker.zk.close().await;
        info!(target: "kafka.server.KafkaServer", "[KafkaServer id={id}] shut down completed");
    }
}

/// Locks the log directories, and writes this broker's identity into the new ones.
fn open_logs(
    config: &BrokerConfig,
    metas: &[DirMeta],
    unreadable: Unreadable,
    id: BrokerId,
    cluster_id: &str,
    max_open_files: usize,
) -> Result<(Arc<LogManager>, mpsc::Receiver<PathBuf>), BrokerError> {
    let options = LogManagerOptions {
        log_dirs: config.log_dirs.iter().map(PathBuf::from).collect(),
        recovery_threads_per_dir: config.num_recovery_threads_per_data_dir.max(1) as usize,
        producer_config: ProducerStateConfig {
            verify_transactions: config.transaction_partition_verification_enable,
            expiration_ms: config.producer_id_expiration_ms.into(),
        },
        default_config: Arc::new(config.log.clone()),
        max_open_files,
        disk_reserve_bytes: config.disk_reserve_bytes,
    };
    let (logs, failures) = LogManager::open(options)?;
    for (path, error) in unreadable {
        if let Some(dir) = logs.live_dirs().find(|dir| *dir.path() == path) {
            dir.fail(error);
        }
    }
    if logs.live_dirs().next().is_none() {
        return Err(StartError::NoDirs.into());
    }
    for dir in logs.live_dirs() {
        let stored = metas.iter().find(|(path, _)| path == dir.path()).and_then(|(_, meta)| meta.as_ref());
        // A torn file may lack one of them.
        if stored.is_some_and(|meta| meta.broker_id.is_some() && meta.cluster_id.is_some()) {
            continue;
        }
        let meta = MetaProperties {
            version: 0,
            broker_id: Some(id),
            cluster_id: Some(cluster_id.to_owned()),
            directory_id: stored.and_then(|meta| meta.directory_id.clone()),
        };
        // The date line of java.util.Properties.
        let written_at = jiff::Zoned::now().strftime("%a %b %d %H:%M:%S %Z %Y").to_string();
        // The directory has logged a failure.
        reported(dir.guard(checkpoint::write_meta_properties(dir.path(), &meta, &written_at)));
    }
    Ok((Arc::new(logs), failures))
}

/// The topics with settings of their own. As in Kafka a topic with invalid settings stops the start: with the
/// broker's defaults in their place its logs could lose records.
async fn read_topic_configs(
    zk: &Client,
    config: &BrokerConfig,
) -> Result<HashMap<Arc<str>, Arc<LogConfig>>, BrokerError> {
    let mut topics = HashMap::new();
    for (name, overrides) in configs::read_all(zk, "topics").await? {
        match LogConfig::resolve(&config.log_defaults, &overrides) {
            Ok(_) if overrides.is_empty() => {}
            Ok(resolved) => {
                topics.insert(Arc::from(name), Arc::new(resolved));
            }
            Err(error) if zk.exists(&paths::topic(&name)).await?.is_some() => {
                return Err(BrokerError::TopicConfig { topic: name, error });
            }
            // Left by a deletion.
            Err(error) => warn!(topic = name, %error, "topic config ignored"),
        }
    }
    Ok(topics)
}

fn transaction_settings(config: &BrokerConfig) -> Settings {
    Settings {
        timeout_max_ms: config.transaction.timeout_max_ms,
        id_expiration_ms: config.transaction.id_expiration_ms,
        abort_interval_ms: config.transaction.abort_interval_ms,
        expiry_interval_ms: config.transaction.expiry_interval_ms,
        request_timeout_ms: config.request_timeout_ms,
    }
}

#[allow(clippy::too_many_arguments, reason = "each is a part that the controller is made of, given once")]
fn start_controller(
    config: &BrokerConfig,
    id: BrokerId,
    group: &Group,
    zk: &Client,
    registrar: Registrar,
    generation: u64,
    epoch: BrokerEpoch,
    image: Arc<ArcSwap<MetadataImage>>,
) -> ControllerHandle {
    let listener = config.inter_broker_listener_name.to_string();
    let settings = ControllerSettings {
        us: id,
        listener: listener.clone(),
        delete_topic_enable: config.delete_topic_enable,
        unclean_leader_election_enable: config.unclean_leader_election_enable,
        auto_leader_rebalance_enable: config.auto_leader_rebalance_enable,
        leader_imbalance_check_interval: Duration::from_secs(
            config.leader_imbalance_check_interval_seconds.max(1) as u64
        ),
        leader_imbalance_per_broker_percentage: config.leader_imbalance_per_broker_percentage,
    };
    let control_plane = config.control_plane_listener_name.as_ref();
    let channels = ChannelSettings {
        us: id,
        listener: control_plane.map_or(listener, ToString::to_string),
        connect_timeout: Duration::from_millis(config.controller_socket_timeout_ms.max(0) as u64),
        request_timeout: Duration::from_millis(config.request_timeout_ms.max(0) as u64),
    };
    controller::start(group, zk.clone(), registrar, generation, epoch, settings, channels, image)
}

/// Sends our own requests to the controller of the current metadata.
fn controller_channel(config: &BrokerConfig, us: BrokerId, image: &Arc<ArcSwap<MetadataImage>>) -> ControllerChannel {
    let settings = ControllerChannelSettings {
        us,
        connect_timeout: Duration::from_millis(config.controller_socket_timeout_ms.max(0) as u64),
        request_timeout: Duration::from_millis(config.request_timeout_ms.max(0) as u64),
    };
    let (image, listener) = (Arc::clone(image), config.inter_broker_listener_name.to_string());
    ControllerChannel::new(settings, move || {
        let image = image.load();
        let id = image.controller?;
        let endpoint = image.brokers.get(&id)?.endpoint(&listener)?.clone();
        Some(ControllerNode { id, endpoint })
    })
}

/// Kafka: `KafkaServer.initZkClient`.
async fn connect(config: &BrokerConfig, group: &Group) -> Result<Client, BrokerError> {
    let options = ConnectOptions {
        connect: config.zookeeper_connect.clone(),
        session_timeout: Duration::from_millis(config.zookeeper_session_timeout_ms.max(0) as u64),
        connection_timeout: Duration::from_millis(config.zookeeper_connection_timeout_ms.max(0) as u64),
        max_in_flight: config.zookeeper_max_in_flight_requests.max(1) as usize,
        set_acl: config.zookeeper_set_acl,
        sasl: login::from_environment()?,
        ..ConnectOptions::new("")
    };
    // Nodes without the ACLs that were asked for would be worse than no start.
    if options.set_acl && options.sasl.is_none() {
        return Err(BrokerError::NoZooKeeperLogin);
    }
    info!("Connecting to zookeeper on {}", options.connect);
    startup::create_chroot(&options, group).await?;
    let zk = Client::connect(&options, group).await?;
    startup::create_paths(&zk).await?;
    Ok(zk)
}

fn refuse_unserved_security(config: &BrokerConfig) -> Result<(), BrokerError> {
    if config.zookeeper_ssl_client_enable {
        return Err(BrokerError::ZooKeeperTls);
    }
    match config.listeners.iter().find(|e| e.protocol != SecurityProtocol::Plaintext) {
        Some(e) => Err(BrokerError::Security { listener: e.listener.to_string(), protocol: e.protocol }),
        None => Ok(()),
    }
}

/// Directories whose `meta.properties` the disk does not return: offline from the start.
type Unreadable = Vec<(PathBuf, DiskError)>;

/// The `meta.properties` of the directories. Where it is damaged the directory is offline, as in Kafka.
fn read_metas(config: &BrokerConfig) -> (Vec<DirMeta>, Unreadable) {
    let (mut metas, mut unreadable) = (Vec::new(), Vec::new());
    for path in config.log_dirs.iter().map(PathBuf::from) {
        match checkpoint::read_meta_properties(&path) {
            Ok(meta) => metas.push((path, meta)),
            Err(error) => {
                let error = error.into_disk_error(&path);
                unreadable.push((path, error));
            }
        }
    }
    (metas, unreadable)
}

fn network_config(config: &BrokerConfig) -> NetworkConfig {
    let bound = |value: i32| usize::try_from(value).unwrap_or(0);
    NetworkConfig {
        listeners: config
            .listeners
            .iter()
            .map(|e| Listener { name: e.listener.to_string(), host: e.host.clone().unwrap_or_default(), port: e.port })
            .collect(),
        backlog: config.socket_listen_backlog_size,
        send_buffer_bytes: config.socket_send_buffer_bytes,
        receive_buffer_bytes: match config.socket_receive_buffer_bytes {
            DEFAULT_RECEIVE_BUFFER_BYTES => -1,
            chosen => chosen,
        },
        request_bytes_max: bound(config.socket_request_max_bytes),
        queued_max_request_bytes: config.queued_max_request_bytes,
        connections_max_idle: match u64::try_from(config.connections_max_idle_ms) {
            Ok(ms) => Duration::from_millis(ms),
            Err(_) => Duration::MAX,
        },
        limits: connection_limits(config),
        inter_broker_listener: config.inter_broker_listener_name.to_string(),
    }
}

/// The endpoints to register: with the ports that the system chose, and this machine's name where no host is
/// configured.
async fn advertised_endpoints(
    config: &BrokerConfig,
    sockets: &SocketServer,
    tasks: &Group,
) -> Result<Vec<Endpoint>, BrokerError> {
    let mut endpoints = config.advertised_listeners.clone();
    for endpoint in &mut endpoints {
        if endpoint.port == 0 {
            endpoint.port = sockets.port(endpoint.listener.as_str()).unwrap_or(0);
        }
        if endpoint.host.as_ref().is_none_or(String::is_empty) {
            let named = tasks.spawn_blocking("host-name", canonical_host_name).await.map_err(io::Error::other)?;
            endpoint.host = Some(named.map_err(BrokerError::HostName)?);
        }
    }
    Ok(endpoints)
}

/// This machine's name, as Java's `InetAddress.getLocalHost().getCanonicalHostName()` finds it: the name that the address
/// of the host name has, or the address itself where that name does not lead back to it. Blocks.
fn canonical_host_name() -> io::Result<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let addresses_of = |name: &str| (name, 0).to_socket_addrs().map(|found| found.map(|a| a.ip()).collect::<Vec<_>>());
    // Java prefers IPv4.
    let address = addresses_of(&name)?.into_iter().min_by_key(IpAddr::is_ipv6);
    let address = address.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{name} has no address")))?;
    let canonical = dns_lookup::lookup_addr(&address).unwrap_or_default();
    let leads_back = addresses_of(&canonical).is_ok_and(|addresses| addresses.contains(&address));
    Ok(if leads_back { canonical } else { address.to_string() })
}
