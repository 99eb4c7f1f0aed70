//! `zurau doctor`: examines a cluster, through ZooKeeper and at every advertised address, and reports what is wrong
//! with it and why. Nothing is changed. Ends with 1 when something was found. Kafka has no such tool.

mod findings;

use self::findings::{AdminNode, Picture, Reached, Severity};
use super::support::admin::Admin;
use super::support::admin::{AdminError, Target};
use super::support::client_properties::Properties;
use super::support::terminal::{self, Failure, Output};
use crate::common::{BrokerId, ErrorCode, TopicPartition};
use crate::config::endpoint::{Endpoint, SecurityProtocol};
use crate::config::{BrokerConfig, Props, parse};
use crate::disk;
use crate::log::checkpoint;
use crate::log::partition_dir::{PartitionDirKind, parse_partition_dir};
use crate::protocol::ApiKey;
use crate::protocol::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeConfigsRequest, DescribeConfigsResponse, MetadataResponse,
};
use crate::util::clock::wall_ms;
use crate::util::task::Group;
use crate::zk::client::Node;
use crate::zk::data::broker::BrokerRegistration;
use crate::zk::data::cluster::decode_cluster_id;
use crate::zk::data::controller::{ControllerNode, decode_epoch, decode_moves, decode_partitions};
use crate::zk::data::topic::{PartitionState, TopicAssignment};
use crate::zk::{Client, ConnectOptions, Error, paths};
use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

/// The timeout of ZooKeeper, and of each address.
const PATIENCE: Duration = Duration::from_secs(5);
const BROKER_RESOURCE: i8 = 4;

/// Directories in which the sizes of the nodes and of the list of children are checked.
const COLLECTIONS: &[&str] = &["/config/topics", "/config/brokers", "/config/clients", "/config/users", "/config/ips"];
const LISTS: &[&str] = &[paths::TOPICS, paths::CONFIG_CHANGES, paths::DELETE_TOPICS];

#[derive(clap::Args)]
pub(super) struct Args {
    /// The brokers' zookeeper.connect.
    #[arg(long, value_name = "HOST:PORT[/CHROOT]", required_unless_present = "config")]
    zookeeper: Option<String>,
    /// The properties file of a broker of this machine: its zookeeper.connect is used, and its log directories are
    /// examined.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> ExitCode {
    terminal::finish(|out| {
        let config = args.config.as_ref().map(read_config).transpose()?;
        let connect = match (&args.zookeeper, &config) {
            (Some(connect), _) => connect.clone(),
            (None, Some(config)) => config.zookeeper_connect.clone(),
            (None, None) => return Err(Failure::message("--zookeeper or --config says where the cluster is")),
        };
        let mut picture = picture_of(&connect)?;
        if let Some(config) = &config {
            for dir in &config.log_dirs {
                let stored = checkpoint::read_meta_properties(dir.as_ref());
                let stored = stored.map(|meta| meta.and_then(|meta| meta.cluster_id)).map_err(|e| e.to_string());
                picture.local_dirs.push((dir.into(), stored));
                let names = disk::subdirectories(dir.as_ref()).unwrap_or_default();
                let is_stray = |name: &String| matches!(parse_partition_dir(name), Some((_, PartitionDirKind::Stray)));
                picture.strays.extend(names.into_iter().filter(is_stray).map(|name| PathBuf::from(dir).join(name)));
            }
        }
        probe(&mut picture);
        report(&connect, &picture, out)
    })
}

fn read_config(path: &PathBuf) -> Result<BrokerConfig, Failure> {
    let failed = |e: &dyn std::fmt::Display| Failure::message(format_args!("{}: {e}", path.display()));
    let text = std::fs::read(path).map_err(|e| failed(&e))?;
    let props: Props = parse::properties(&text).map_err(|e| failed(&e))?;
    BrokerConfig::new(&props).map_err(|e| failed(&e))
}

fn report(connect: &str, picture: &Picture, out: &mut Output) -> Result<(), Failure> {
    let id = picture.cluster_id.as_ref().and_then(|id| id.as_ref().ok()).map_or("without an id", String::as_str);
    let brokers: Vec<String> = picture.brokers.keys().map(ToString::to_string).collect();
    let controller = match &picture.controller {
        Some(Ok(node)) => node.broker.to_string(),
        _ => "none".to_owned(),
    };
    let epoch = picture.controller_epoch.map_or_else(String::new, |epoch| format!(" (epoch {epoch})"));
    writeln!(
        out,
        "Cluster {id} at {connect}: brokers {}; controller {controller}{epoch}; {} partitions",
        brokers.join(", "),
        picture.partitions.len()
    )?;
    let found = findings::examine(picture);
    for finding in &found {
        let severity = match finding.severity {
            Severity::Error => "ERROR",
            Severity::Warn => "WARN",
        };
        writeln!(out, "{severity} {}", finding.text)?;
    }
    if found.is_empty() {
        writeln!(out, "Nothing is wrong.")?;
        return Ok(());
    }
    out.flush()?;
    Err(Failure::Exit(1))
}

// ZooKeeper

fn picture_of(connect: &str) -> Result<Picture, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let tasks = Group::new(runtime.handle().clone());
    let options = ConnectOptions { connection_timeout: PATIENCE, ..ConnectOptions::new(connect) };
    let failed = |e: Error| Failure::message(format_args!("ZooKeeper at {connect}: {e}"));
    let zk = runtime.block_on(Client::connect(&options, &tasks)).map_err(failed)?;
    let looked = runtime.block_on(look(&zk));
    runtime.block_on(async { tokio::time::timeout(PATIENCE, zk.close()).await }).ok();
    looked.map_err(failed)
}

async fn get(zk: &Client, path: &str) -> Result<Option<Node>, Error> {
    match zk.get(path).await {
        Ok(node) => Ok(Some(node)),
        Err(Error::NoNode) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn children(zk: &Client, path: &str) -> Result<Vec<String>, Error> {
    match zk.children(path).await {
        Err(Error::NoNode) => Ok(Vec::new()),
        other => other,
    }
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn look(zk: &Client) -> Result<Picture, Error> {
    let mut picture = Picture { now: wall_ms(), ..Picture::default() };
    let data = |node: Option<Node>| node.map(|node| node.data);
    picture.cluster_id =
        data(get(zk, paths::CLUSTER_ID).await?).map(|data| decode_cluster_id(data.as_deref()).map_err(text));
    picture.controller =
        data(get(zk, paths::CONTROLLER).await?).map(|data| ControllerNode::decode(data.as_deref()).map_err(text));
    picture.controller_epoch =
        data(get(zk, paths::CONTROLLER_EPOCH).await?).and_then(|data| decode_epoch(data.as_deref()).ok());
    for name in children(zk, paths::BROKER_IDS).await? {
        let Ok(id) = name.parse().map(BrokerId) else { continue };
        if let Some(node) = get(zk, &paths::broker(id)).await? {
            picture.brokers.insert(id, BrokerRegistration::decode(id, node.data.as_deref()).map_err(text));
        }
    }
    topics(zk, &mut picture).await?;
    admin_nodes(zk, &mut picture).await?;
    for directory in COLLECTIONS {
        let nodes: Vec<String> =
            children(zk, directory).await?.into_iter().map(|name| format!("{directory}/{name}")).collect();
        for (path, node) in nodes.iter().zip(zk.get_all(&nodes, None).await?) {
            if let Ok(node) = node {
                picture.data_sizes.insert(path.clone(), node.data.map_or(0, |data| data.len()));
            }
        }
    }
    for directory in COLLECTIONS.iter().chain(LISTS) {
        let names = children(zk, directory).await?;
        // Each name is preceded by its length.
        picture.children_sizes.insert((*directory).to_owned(), names.iter().map(|name| name.len() + 4).sum());
    }
    Ok(picture)
}

async fn topics(zk: &Client, picture: &mut Picture) -> Result<(), Error> {
    let names = children(zk, paths::TOPICS).await?;
    let nodes: Vec<String> = names.iter().map(|name| paths::topic(name)).collect();
    for (name, node) in names.iter().zip(zk.get_all(&nodes, None).await?) {
        let Ok(node) = node else { continue };
        picture.data_sizes.insert(paths::topic(name), node.data.as_ref().map_or(0, Vec::len));
        match TopicAssignment::decode(node.data.as_deref()) {
            Err(error) => {
                picture.unreadable_topics.insert(name.clone(), error.to_string());
            }
            Ok(topic) => {
                let name: Arc<str> = name.as_str().into();
                for (id, assignment) in topic.partitions {
                    picture.partitions.insert(TopicPartition::new(Arc::clone(&name), id), (assignment, None));
                }
            }
        }
    }
    let states: Vec<String> = picture.partitions.keys().map(paths::partition_state).collect();
    let read = zk.get_all(&states, None).await?;
    for ((_, state), node) in picture.partitions.values_mut().zip(read) {
        *state = node.ok().map(|node| PartitionState::decode(node.data.as_deref()).map_err(text));
    }
    Ok(())
}

async fn admin_nodes(zk: &Client, picture: &mut Picture) -> Result<(), Error> {
    if let Some(node) = get(zk, paths::REASSIGN_PARTITIONS).await? {
        picture.data_sizes.insert(paths::REASSIGN_PARTITIONS.to_owned(), node.data.as_ref().map_or(0, Vec::len));
        let content = decode_moves(node.data.as_deref()).map_err(text);
        picture.reassignment = Some(AdminNode { created: node.stat.ctime, content });
    }
    if let Some(node) = get(zk, paths::PREFERRED_REPLICA_ELECTION).await? {
        let content = decode_partitions(node.data.as_deref()).map(drop).map_err(text);
        picture.election = Some(AdminNode { created: node.stat.ctime, content });
    }
    for topic in children(zk, paths::DELETE_TOPICS).await? {
        if let Some(stat) = zk.exists(&paths::delete_topic(&topic)).await? {
            picture.deletions.insert(topic, stat.ctime);
        }
    }
    for directory in [paths::ISR_CHANGE_NOTIFICATION, paths::LOG_DIR_EVENT_NOTIFICATION] {
        let mut names = children(zk, directory).await?;
        names.sort();
        let Some(oldest) = names.first() else { continue };
        if let Some(stat) = zk.exists(&format!("{directory}/{oldest}")).await? {
            picture.notifications.insert(directory, (names.len(), stat.ctime));
        }
    }
    Ok(())
}

// Brokers

/// Connects to every advertised address, all at once.
fn probe(picture: &mut Picture) {
    let id = picture.cluster_id.as_ref().and_then(|id| id.as_ref().ok().cloned());
    let addresses: Vec<(BrokerId, Endpoint)> = picture
        .brokers
        .iter()
        .filter_map(|(id, broker)| Some((*id, broker.as_ref().ok()?.endpoints.clone())))
        .flat_map(|(id, endpoints)| endpoints.into_iter().map(move |endpoint| (id, endpoint)))
        .collect();
    let cluster_id = id.as_deref();
    let reached: Vec<(Reached, Option<MetadataResponse>)> = thread::scope(|scope| {
        let probes: Vec<_> =
            addresses.iter().map(|(id, endpoint)| scope.spawn(move || visit(*id, endpoint, cluster_id))).collect();
        let gave_up = || (Reached::No("the probe failed".to_owned()), None);
        probes.into_iter().map(|probe| probe.join().unwrap_or_else(|_| gave_up())).collect()
    });
    for ((id, endpoint), (reached, metadata)) in addresses.into_iter().zip(reached) {
        picture.reached.insert((id, endpoint.listener.to_string()), reached);
        for topic in metadata.into_iter().flat_map(|metadata| metadata.topics) {
            let name: Arc<str> = Arc::from(topic.name.as_deref().unwrap_or_default());
            for p in &topic.partitions {
                let tp = TopicPartition::new(Arc::clone(&name), p.partition_index);
                picture.offline.extend(p.offline_replicas.iter().map(|id| (tp.clone(), BrokerId(*id))));
            }
        }
    }
}

fn visit(id: BrokerId, endpoint: &Endpoint, cluster_id: Option<&str>) -> (Reached, Option<MetadataResponse>) {
    let host = endpoint.host.as_deref().unwrap_or_default();
    if let Err(error) = connect(host, endpoint.port) {
        return (Reached::No(error.to_string()), None);
    }
    if endpoint.protocol != SecurityProtocol::Plaintext {
        return (Reached::Connected, None);
    }
    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
    let server = format!("{open}{host}{close}:{}", endpoint.port);
    match ask(&server, id, cluster_id) {
        Ok((reached, metadata)) => (reached, metadata),
        Err(reason) => (Reached::No(reason), None),
    }
}

fn connect(host: &str, port: u16) -> io::Result<()> {
    let mut failed = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(_) => return Ok(()),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// Whether the broker that answers there is the one that registered, and its metadata of topics.
fn ask(server: &str, id: BrokerId, cluster_id: Option<&str>) -> Result<(Reached, Option<MetadataResponse>), String> {
    let mut properties = Properties::new();
    for key in ["default.api.timeout.ms", "request.timeout.ms"] {
        properties.insert(key.to_owned(), PATIENCE.as_millis().to_string());
    }
    let mut admin = Admin::new(server, &properties).map_err(|_| format!("{server} is no address"))?;
    let answer: DescribeClusterResponse = admin
        .call("describeCluster", Target::Any, ApiKey::DescribeCluster, &DescribeClusterRequest::default())
        .map_err(|e: AdminError| e.to_string())?;
    if answer.error_code == 0 && cluster_id.is_some_and(|ours| *answer.cluster_id != *ours) {
        return Ok((Reached::OtherCluster(answer.cluster_id.to_string()), None));
    }
    let resource = DescribeConfigsResource {
        resource_type: BROKER_RESOURCE,
        resource_name: id.to_string().as_str().into(),
        configuration_keys: Some(vec!["broker.id".into()]),
        ..Default::default()
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer: DescribeConfigsResponse = admin
        .call("describeConfigs", Target::Any, ApiKey::DescribeConfigs, &request)
        .map_err(|e: AdminError| e.to_string())?;
    // A broker describes only its own settings.
    for result in &answer.results {
        if ErrorCode::from_wire(result.error_code) == ErrorCode::InvalidRequest {
            let why = result.error_message.as_deref().unwrap_or("it has another id");
            return Ok((Reached::OtherBroker(why.to_owned()), None));
        }
    }
    let metadata = admin.metadata("describeTopics", None).map_err(|e| e.to_string())?;
    Ok((Reached::Yes, Some(metadata)))
}
