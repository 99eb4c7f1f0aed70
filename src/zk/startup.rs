//! Owns a broker's use of ZooKeeper at its start: chroot, paths, cluster id, broker id, registration.
//! Kafka: the ZooKeeper parts of `KafkaServer.startup`, `KafkaZkClient.CheckedEphemeral`.

use super::client::{Client, ConnectOptions, CreateMode, Error, MultiError, Write, Written};
use super::data::broker::BrokerRegistration;
use super::data::{Malformed, cluster};
use super::paths;
use super::watch::Watcher;
use crate::common::{BrokerEpoch, BrokerId, Uuid};
use crate::config::endpoint::Endpoint;
use crate::util::dial::dial;
use crate::util::task::Group;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

/// Sessions end at a tick of the server's clock, a little after their timeout.
const EXPIRY_MARGIN: Duration = Duration::from_secs(3);

/// How long a broker that is registered under our id has to accept a connection to count as alive.
const LIVENESS_PROBE: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
pub enum StartupError {
    #[error("ZooKeeper: {0}")]
    Zk(#[from] Error),
    #[error("{path}: {error}")]
    Malformed { path: String, error: Malformed },
    /// Another live process, not an earlier one of ours, has our broker id.
    #[error(
        "broker id {id} is taken: {there} is registered and alive (session 0x{session:x}); this broker listens at {here}"
    )]
    IdTaken { id: BrokerId, there: String, session: i64, here: String },
    /// The text is Kafka's.
    #[error("Configured end points {endpoints} in advertised listeners are already registered by broker {broker}")]
    EndpointTaken { endpoints: String, broker: BrokerId },
}

/// Creates the chroot if it is missing, on a separate session: permission to create is needed only then.
pub async fn create_chroot(options: &ConnectOptions, group: &Group) -> Result<(), Error> {
    let Some(at) = options.connect.find('/') else { return Ok(()) };
    let (servers, chroot) = options.connect.split_at(at);
    let chroot = chroot.trim_end_matches('/');
    if chroot.is_empty() {
        return Ok(());
    }
    let client = Client::connect(&ConnectOptions { connect: servers.to_owned(), ..options.clone() }, group).await?;
    let created = match client.exists(chroot).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) => client.create_recursive(chroot, None).await.or_else(fine_if_there),
        Err(error) => Err(error),
    };
    client.close().await;
    created
}

fn fine_if_there(error: Error) -> Result<(), Error> {
    if error == Error::NodeExists { Ok(()) } else { Err(error) }
}

/// Creates the paths that every broker creates.
pub async fn create_paths(client: &Client) -> Result<(), Error> {
    for path in paths::PERSISTENT {
        client.create_recursive(path, None).await.or_else(fine_if_there)?;
    }
    Ok(())
}

/// The cluster's id; None where no broker has generated it yet.
pub async fn cluster_id(client: &Client) -> Result<Option<String>, StartupError> {
    let data = match client.get(paths::CLUSTER_ID).await {
        Ok(node) => node.data,
        Err(Error::NoNode) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    cluster::decode_cluster_id(data.as_deref())
        .map(Some)
        .map_err(|error| StartupError::Malformed { path: paths::CLUSTER_ID.to_owned(), error })
}

/// Reads the cluster's id; the first broker of the cluster generates it.
pub async fn get_or_create_cluster_id(client: &Client) -> Result<String, StartupError> {
    loop {
        if let Some(id) = cluster_id(client).await? {
            return Ok(id);
        }
        let proposed = Uuid::random().to_string();
        match client.create_recursive(paths::CLUSTER_ID, Some(&cluster::encode_cluster_id(&proposed))).await {
            Ok(()) => return Ok(proposed),
            // Another broker was faster, or our own first attempt lost its answer.
            Err(Error::NodeExists) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The next id of `broker.id.generation.enable`: above `reserved.broker.max.id`, counted by a node's version.
pub async fn generate_broker_id(client: &Client, reserved_max: i32) -> Result<BrokerId, Error> {
    loop {
        match client.set(paths::BROKER_SEQUENCE_ID, b"", -1).await {
            Ok(stat) => return Ok(BrokerId(reserved_max.saturating_add(stat.version))),
            Err(Error::NoNode) => {
                client.create_recursive(paths::BROKER_SEQUENCE_ID, None).await.or_else(fine_if_there)?;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Every broker that is registered, with its epoch, in the order of ids. Malformed registrations are logged and
/// skipped.
pub async fn registered_brokers(client: &Client) -> Result<Vec<(BrokerRegistration, BrokerEpoch)>, Error> {
    brokers_of(client, client.children(paths::BROKER_IDS).await?, None).await
}

/// The same for the children `names` of `/brokers/ids`; arms `watch`, if given, for changes of each.
pub(crate) async fn brokers_of(
    client: &Client,
    names: Vec<String>,
    watch: Option<&Watcher>,
) -> Result<Vec<(BrokerRegistration, BrokerEpoch)>, Error> {
    let mut ids: Vec<BrokerId> = names.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
    ids.sort_unstable();
    let nodes: Vec<String> = ids.iter().map(|id| paths::broker(*id)).collect();
    let mut brokers = Vec::with_capacity(ids.len());
    for (id, node) in ids.into_iter().zip(client.get_all(&nodes, watch).await?) {
        let node = match node {
            Ok(node) => node,
            Err(Error::NoNode) => continue,
            Err(error) => return Err(error),
        };
        match BrokerRegistration::decode(id, node.data.as_deref()) {
            Ok(broker) => brokers.push((broker, BrokerEpoch(node.stat.czxid))),
            Err(error) => warn!(broker = id.0, %error, "registration skipped"),
        }
    }
    Ok(brokers)
}

/// Fails when another broker advertises one of our addresses. Kafka: `KafkaServer.createBrokerInfo`.
pub async fn check_endpoints(client: &Client, registration: &BrokerRegistration) -> Result<(), StartupError> {
    for (other, _) in registered_brokers(client).await? {
        let clashes = clashing(&registration.endpoints, &other.endpoints);
        if other.id != registration.id && !clashes.is_empty() {
            return Err(StartupError::EndpointTaken { endpoints: clashes.join(","), broker: other.id });
        }
    }
    Ok(())
}

fn clashing(ours: &[Endpoint], theirs: &[Endpoint]) -> Vec<String> {
    ours.iter()
        .filter(|e| theirs.iter().any(|t| t.host == e.host && t.port == e.port))
        .map(|e| format!("{}:{}", e.host.as_deref().unwrap_or_default(), e.port))
        .collect()
}

/// Keeps one broker registered: at its start, and again in every new session.
pub struct Registrar {
    client: Client,
    registration: BrokerRegistration,
    /// The sessions of this process that registered, or may have registered and lost the answer.
    our_sessions: Vec<i64>,
}

impl Registrar {
    pub fn new(client: Client, registration: BrokerRegistration) -> Self {
        Self { client, registration, our_sessions: Vec::new() }
    }

    pub fn id(&self) -> BrokerId {
        self.registration.id
    }

    /// Registers, and returns the broker epoch. `now` is milliseconds since the epoch.
    ///
    /// A node that an earlier session of this process left is deleted. The end of an unknown session is awaited for up
    /// to a session timeout, since it is most likely that of the previous process; Kafka's broker fails here. Where the
    /// registered endpoint differs from ours and accepts connections, it is a live broker with our id, and the start
    /// fails.
    pub async fn register(&mut self, now: i64) -> Result<BrokerEpoch, StartupError> {
        let path = paths::broker(self.registration.id);
        let data = self.registration.encode(now);
        let deadline = Instant::now() + self.client.session_timeout() + EXPIRY_MARGIN;
        loop {
            self.note_session();
            // Two operations as in Kafka: the second one's stat has the creating transaction on every server version.
            let writes = [
                Write::Create { path: path.clone(), data: None, mode: CreateMode::Ephemeral },
                Write::Set { path: path.clone(), data: data.clone(), version: 0 },
            ];
            match self.client.multi(&writes).await {
                Ok(written) => match written.last() {
                    Some(Written::Set(stat)) => return Ok(self.registered(stat.czxid)),
                    _ => return Err(Error::Unreadable.into()),
                },
                Err(MultiError::Operation { error: Error::NodeExists, .. }) => {}
                Err(error) => return Err(Error::from(error).into()),
            }
            let node = match self.client.get(&path).await {
                Ok(node) => node,
                Err(Error::NoNode) => continue,
                Err(error) => return Err(error.into()),
            };
            let owner = node.stat.ephemeral_owner;
            if owner == self.note_session() {
                return Ok(self.registered(node.stat.czxid));
            }
            if self.our_sessions.contains(&owner) {
                info!(session = format!("0x{owner:x}"), "deleting the registration of our earlier session");
                match self.client.delete(&path, -1).await {
                    Ok(()) | Err(Error::NoNode) => continue,
                    Err(error) => return Err(error.into()),
                }
            }
            self.wait_for_departure(&path, node.data.as_deref(), owner, deadline).await?;
        }
    }

    /// The current session, from here on known as one that may have registered.
    fn note_session(&mut self) -> i64 {
        let session = self.client.session().borrow().id;
        // 0 is no session, and the owner of persistent nodes.
        if session != 0 && !self.our_sessions.contains(&session) {
            self.our_sessions.push(session);
        }
        session
    }

    fn registered(&mut self, czxid: i64) -> BrokerEpoch {
        // Only the sessions since the last success can have left a node.
        let session = self.client.session().borrow().id;
        self.our_sessions.retain(|known| *known == session);
        info!(broker = self.registration.id.0, epoch = czxid, "registered in ZooKeeper");
        BrokerEpoch(czxid)
    }

    async fn wait_for_departure(
        &self,
        path: &str,
        data: Option<&[u8]>,
        owner: i64,
        deadline: Instant,
    ) -> Result<(), StartupError> {
        let shown = |endpoints: &[Endpoint]| endpoints.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let there = BrokerRegistration::decode(self.registration.id, data).map(|b| b.endpoints).unwrap_or_default();
        let taken = || StartupError::IdTaken {
            id: self.registration.id,
            there: shown(&there),
            session: owner,
            here: shown(&self.registration.endpoints),
        };
        // Our own address proves nothing: we are listening there already.
        for endpoint in
            there.iter().filter(|e| clashing(std::slice::from_ref(e), &self.registration.endpoints).is_empty())
        {
            let host = endpoint.host.as_deref().unwrap_or("localhost");
            if dial(host, endpoint.port, LIVENESS_PROBE, TcpStream::connect).await.is_ok() {
                return Err(taken());
            }
        }
        let watcher = self.client.watcher();
        if self.client.exists_watched(path, Some(&watcher)).await?.is_some() {
            info!(
                broker = self.registration.id.0,
                session = format!("0x{owner:x}"),
                "waiting for the earlier registration to expire"
            );
            timeout_at(deadline, watcher.next()).await.map_err(|_| taken())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::endpoint::{ListenerName, SecurityProtocol};

    fn endpoint(host: &str, port: u16) -> Endpoint {
        let listener = ListenerName::new("L").unwrap();
        Endpoint { listener, protocol: SecurityProtocol::Plaintext, host: Some(host.into()), port }
    }

    #[test]
    fn endpoints_clash_by_host_and_port_together() {
        let ours = [endpoint("a", 1), endpoint("a", 2)];
        assert_eq!(clashing(&ours, &[endpoint("a", 2), endpoint("b", 1)]), ["a:2"]);
        assert!(clashing(&ours, &[endpoint("b", 2)]).is_empty());
    }
}
