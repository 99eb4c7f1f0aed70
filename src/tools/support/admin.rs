//! Owns the calls of an admin tool to a cluster: finds brokers, sends one request at a time and waits for its answer.
//! Kafka: `KafkaAdminClient`. Connections are those of brokers ([`BrokerConnection`]), where TLS and SASL will be added
//! for both. Blocking on purpose: a tool has nothing else to do while it waits, so a single-threaded runtime drives the
//! connection of the call.

use super::client_properties::{Properties, number};
use super::errors;
use super::terminal::{self, Failure};
use crate::client::broker_client::{ApiVersions, BrokerConnection, CallError};
use crate::common::ErrorCode;
use crate::common::java;
use crate::protocol::internal::txn::PartitionsSchema;
use crate::protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
use crate::protocol::messages::{MetadataRequest, MetadataResponse, metadata_request::MetadataRequestTopic};
use crate::protocol::{ApiKey, Message};
use std::collections::{BTreeMap, HashMap};
use std::net::ToSocketAddrs;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

const NETWORK_CLIENT: &str = "org.apache.kafka.clients.NetworkClient";
const API_TIMEOUT_MS: u64 = 60_000;
const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// Pauses between attempts to reach a broker.
const BACKOFF_FIRST: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Why a call has no answer, or an answer that is an error. The text is the message of Kafka's exception.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum AdminError {
    /// No broker could be reached, or none answered in time.
    #[error("{0}")]
    Timeout(String),
    /// The broker does not have the API, or not in a version that we support.
    #[error("{0}")]
    Unsupported(String),
    #[error("{}", message.as_deref().unwrap_or_else(|| code.message()))]
    Api { code: ErrorCode, message: Option<String> },
}

impl AdminError {
    /// The error code of an answer; None for other failures.
    pub(crate) fn of(code: i16, message: Option<&str>) -> Option<Self> {
        let code = ErrorCode::from_wire(code);
        code.is_error().then(|| Self::Api { code, message: message.map(str::to_owned) })
    }

    pub(crate) fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Timeout(_) => None,
            Self::Unsupported(_) => Some(ErrorCode::UnsupportedVersion),
            Self::Api { code, .. } => Some(*code),
        }
    }

    /// The Java exception with its package and message.
    pub(crate) fn exception(&self) -> String {
        let name = match self {
            Self::Timeout(_) => "TimeoutException".to_owned(),
            Self::Unsupported(_) => "UnsupportedVersionException".to_owned(),
            Self::Api { code, .. } => errors::exception_name(*code),
        };
        format!("org.apache.kafka.common.errors.{name}: {self}")
    }
}

/// Which broker answers a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Any,
    Controller,
    Broker(i32),
}

/// A broker as Metadata names it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) id: i32,
    pub(crate) host: String,
    pub(crate) port: i32,
    pub(crate) rack: Option<String>,
}

pub(crate) struct Admin {
    runtime: Runtime,
    client_id: String,
    bootstrap: Vec<String>,
    nodes: BTreeMap<i32, Node>,
    controller: Option<i32>,
    /// By broker id; bootstrap addresses have the ids -1, -2 and so on, as in Kafka.
    connections: HashMap<i32, Connection>,
    api_timeout: Duration,
    request_timeout: Duration,
}

/// Why an exchange with a broker failed.
enum ExchangeError {
    /// The connection is unusable.
    Io,
    Refused(AdminError),
}

/// A broker that sends malformed answers is treated as disconnected.
impl From<CallError> for ExchangeError {
    fn from(e: CallError) -> Self {
        match e {
            CallError::Encode(e) => Self::Refused(AdminError::Unsupported(e.to_string())),
            _ => Self::Io,
        }
    }
}

impl Admin {
    /// Reads the client's properties; connects with the first call.
    pub(crate) fn new(servers: &str, properties: &Properties) -> Result<Self, Failure> {
        if let Some(protocol) = properties.get("security.protocol").filter(|p| !p.eq_ignore_ascii_case("PLAINTEXT")) {
            return Err(Failure::message(format_args!("security.protocol={protocol} is not supported yet")));
        }
        let bootstrap: Vec<String> =
            servers.split(',').map(|s| s.trim().to_owned()).filter(|s| !s.is_empty()).collect();
        for server in &bootstrap {
            if server.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
                return Err(Failure::message(format_args!(
                    "org.apache.kafka.common.KafkaException: Failed to create new KafkaAdminClient\n\
                     Caused by: org.apache.kafka.common.config.ConfigException: Invalid url in bootstrap.servers: {server}"
                )));
            }
        }
        let runtime = Builder::new_current_thread().enable_all().build().map_err(Failure::message)?;
        Ok(Self {
            runtime,
            client_id: properties.get("client.id").cloned().unwrap_or_else(|| "adminclient-1".to_owned()),
            bootstrap,
            nodes: BTreeMap::new(),
            controller: None,
            connections: HashMap::new(),
            api_timeout: Duration::from_millis(number(properties, "default.api.timeout.ms", API_TIMEOUT_MS)?),
            request_timeout: Duration::from_millis(number(properties, "request.timeout.ms", REQUEST_TIMEOUT_MS)?),
        })
    }

    pub(crate) fn api_timeout(&self) -> Duration {
        self.api_timeout
    }

    /// The timeout in milliseconds for requests that carry one.
    pub(crate) fn api_timeout_ms(&self) -> i32 {
        i32::try_from(self.api_timeout.as_millis()).unwrap_or(i32::MAX)
    }

    /// For one call that must end within this time, whatever the API timeout is.
    pub(crate) fn within(&mut self, limit: Duration) -> Limited<'_> {
        Limited { timeout: self.api_timeout.min(limit), admin: self }
    }

    /// Retries until there is an answer or the API timeout has passed. `name` is Kafka's name of the call in its
    /// messages.
    pub(crate) fn call<Q: Message, A: Message>(
        &mut self,
        name: &str,
        target: Target,
        key: ApiKey,
        request: &Q,
    ) -> Result<A, AdminError> {
        self.call_until(Instant::now() + self.api_timeout, name, target, key, request)
    }

    fn call_until<Q: Message, A: Message>(
        &mut self,
        deadline: Instant,
        name: &str,
        target: Target,
        key: ApiKey,
        request: &Q,
    ) -> Result<A, AdminError> {
        let mut backoff = BACKOFF_FIRST;
        let mut attempts = 0;
        loop {
            if let Some(node) = self.reach(target, deadline) {
                attempts += 1;
                let timeout = self.request_timeout.min(deadline.saturating_duration_since(Instant::now()));
                match self.exchange(node, key, request, timeout) {
                    Ok(answer) => return Ok(answer),
                    Err(ExchangeError::Refused(e)) => return Err(e),
                    Err(ExchangeError::Io) => {
                        self.connections.remove(&node);
                    }
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(AdminError::Timeout(if attempts == 0 {
                    format!("Timed out waiting for a node assignment. Call: {name}")
                } else {
                    format!("Call(callName={name}) timed out after {attempts} attempt(s)")
                }));
            }
            std::thread::park_timeout(backoff.min(left));
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Calls the controller, and retries when it has moved: `code_of` reads the error code of an answer.
    pub(crate) fn call_controller<Q: Message, A: Message>(
        &mut self,
        name: &str,
        key: ApiKey,
        request: &Q,
        code_of: impl Fn(&A) -> i16,
    ) -> Result<A, AdminError> {
        let deadline = Instant::now() + self.api_timeout;
        let mut backoff = BACKOFF_FIRST;
        loop {
            let answer: A = self.call_until(deadline, name, Target::Controller, key, request)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if ErrorCode::from_wire(code_of(&answer)) != ErrorCode::NotController || left.is_zero() {
                return Ok(answer);
            }
            self.controller = None;
            std::thread::park_timeout(backoff.min(left));
            backoff = (backoff * 2).min(BACKOFF_MAX);
        }
    }

    /// Metadata of a topic, or of every topic. Does not create topics.
    pub(crate) fn metadata(
        &mut self,
        name: &str,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> Result<MetadataResponse, AdminError> {
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        let answer: MetadataResponse = self.call(name, Target::Any, ApiKey::Metadata, &request)?;
        self.learn(&answer.brokers, answer.controller_id);
        Ok(answer)
    }

    /// The topics by name, with the errors of each.
    pub(crate) fn topics(&mut self, name: &str, topics: &[&str]) -> Result<Vec<MetadataResponseTopic>, AdminError> {
        let named = |t: &&str| MetadataRequestTopic { name: Some((*t).into()), ..Default::default() };
        Ok(self.metadata(name, Some(topics.iter().map(named).collect()))?.topics)
    }

    /// The brokers, ascending.
    pub(crate) fn nodes(&mut self, name: &str) -> Result<Vec<Node>, AdminError> {
        self.metadata(name, Some(Vec::new()))?;
        Ok(self.nodes.values().cloned().collect())
    }

    /// The APIs and versions of a broker.
    pub(crate) fn api_versions(&mut self, node: i32) -> Result<ApiVersions, AdminError> {
        let deadline = Instant::now() + self.api_timeout;
        match self.reach(Target::Broker(node), deadline) {
            Some(node) => Ok(self.connections[&node].versions.clone()),
            None => Err(AdminError::Api {
                code: ErrorCode::NetworkException,
                message: Some("Timed out waiting for a node assignment. Call: apiVersions".to_owned()),
            }),
        }
    }

    fn learn(&mut self, brokers: &[MetadataResponseBroker], controller: i32) {
        self.nodes = brokers
            .iter()
            .map(|b| {
                let rack = b.rack.as_ref().map(ToString::to_string);
                (b.node_id, Node { id: b.node_id, host: b.host.to_string(), port: b.port, rack })
            })
            .collect();
        self.controller = Some(controller).filter(|id| *id >= 0);
    }

    /// A node that the target allows, with an open connection. None when there is none right now.
    fn reach(&mut self, target: Target, deadline: Instant) -> Option<i32> {
        let wanted = match target {
            Target::Any => {
                if let Some(open) = self.connections.keys().max() {
                    return Some(*open);
                }
                let known: Vec<i32> =
                    self.nodes.keys().copied().chain((1..=self.bootstrap.len() as i32).map(|n| -n)).collect();
                return known.into_iter().find(|node| self.open(*node, deadline));
            }
            Target::Broker(id) => id,
            Target::Controller => match self.controller {
                Some(id) => id,
                None => {
                    self.refresh(deadline)?;
                    self.controller?
                }
            },
        };
        if !self.nodes.contains_key(&wanted) {
            self.refresh(deadline)?;
        }
        (self.nodes.contains_key(&wanted) && self.open(wanted, deadline)).then_some(wanted)
    }

    /// One request for brokers and controller.
    fn refresh(&mut self, deadline: Instant) -> Option<()> {
        let node = self.reach(Target::Any, deadline)?;
        let request =
            MetadataRequest { topics: Some(Vec::new()), allow_auto_topic_creation: false, ..Default::default() };
        let answer: Result<MetadataResponse, _> = self.exchange(node, ApiKey::Metadata, &request, self.request_timeout);
        match answer {
            Ok(answer) => {
                self.learn(&answer.brokers, answer.controller_id);
                Some(())
            }
            Err(_) => {
                self.connections.remove(&node);
                None
            }
        }
    }

    fn open(&mut self, node: i32, deadline: Instant) -> bool {
        if self.connections.contains_key(&node) {
            return true;
        }
        let (host, port) = match usize::try_from(-node).ok().and_then(|n| self.bootstrap.get(n.checked_sub(1)?)) {
            Some(server) => {
                let (host, port) = server.rsplit_once(':').unwrap_or((server, ""));
                (host.rsplit_once("//").map_or(host, |(_, host)| host).to_owned(), port.to_owned())
            }
            None => match self.nodes.get(&node) {
                Some(known) => (known.host.clone(), known.port.to_string()),
                None => return false,
            },
        };
        let host = host.trim_matches(['[', ']']);
        let timeout = self.request_timeout.min(deadline.saturating_duration_since(Instant::now()));
        if let Some(connection) = self.runtime.block_on(Connection::open(host, &port, timeout, &self.client_id)) {
            self.connections.insert(node, connection);
            return true;
        }
        let addresses = format!("{host}:{port}").to_socket_addrs();
        let address = addresses.ok().and_then(Iterator::last).map(|address| address.ip().to_string());
        terminal::warn(
            NETWORK_CLIENT,
            format_args!(
                "[AdminClient clientId={}] Connection to node {node} ({host}/{}:{port}) could not be established. \
                 Node may not be available.",
                self.client_id,
                address.as_deref().unwrap_or("<unresolved>"),
            ),
        );
        false
    }

    fn exchange<Q: Message, A: Message>(
        &mut self,
        node: i32,
        key: ApiKey,
        request: &Q,
        timeout: Duration,
    ) -> Result<A, ExchangeError> {
        let Some(connection) = self.connections.get_mut(&node) else { return Err(ExchangeError::Io) };
        let version = connection.version::<Q>(key).map_err(ExchangeError::Refused)?;
        Ok(self.runtime.block_on(connection.broker.call(key, version, request, timeout))?)
    }
}

/// An [`Admin`] whose next call ends before the API timeout.
pub(crate) struct Limited<'a> {
    admin: &'a mut Admin,
    timeout: Duration,
}

impl Limited<'_> {
    /// As [`Admin::call`].
    pub(crate) fn call<Q: Message, A: Message>(
        self,
        name: &str,
        target: Target,
        key: ApiKey,
        request: &Q,
    ) -> Result<A, AdminError> {
        self.admin.call_until(Instant::now() + self.timeout, name, target, key, request)
    }
}

struct Connection {
    broker: BrokerConnection,
    versions: ApiVersions,
}

impl Connection {
    async fn open(host: &str, port: &str, timeout: Duration, client_id: &str) -> Option<Self> {
        let mut broker = BrokerConnection::connect(host, port.parse().ok()?, client_id.into(), timeout).await.ok()?;
        let versions = broker.api_versions(timeout).await.ok()?;
        Some(Self { broker, versions })
    }

    /// The newest version that both sides support.
    fn version<Q: Message>(&self, key: ApiKey) -> Result<i16, AdminError> {
        let name = upper_snake(key.name());
        let Some(theirs) = self.versions.get(&key.wire()) else {
            return Err(AdminError::Unsupported(format!("The node does not support {name}")));
        };
        let version = *theirs.end().min(Q::VERSIONS.end());
        if version < *theirs.start().max(Q::VERSIONS.start()) {
            return Err(AdminError::Unsupported(format!(
                "The node does not support {name} with version in range [{},{}]. The supported range is [{},{}].",
                Q::VERSIONS.start(),
                Q::VERSIONS.end(),
                theirs.start(),
                theirs.end()
            )));
        }
        Ok(version)
    }
}

/// `ListOffsets` as Kafka's `ApiKeys` spells it: `LIST_OFFSETS`.
pub(crate) fn upper_snake(name: &str) -> String {
    let mut upper = String::new();
    for (n, c) in name.chars().enumerate() {
        if n > 0 && c.is_ascii_uppercase() {
            upper.push('_');
        }
        upper.push(c.to_ascii_uppercase());
    }
    upper
}

/// A transaction's partitions in the order in which Kafka prints them: it collects them topic by topic in a mutable set of
/// Scala, whose table is as large as the largest topic needs.
pub(crate) fn scala_partition_set(topics: &[PartitionsSchema]) -> Vec<String> {
    let size_for = |capacity: usize| 2 * (1 << (capacity.saturating_sub(1).max(4)).ilog2());
    let mut table = 16;
    let mut entries: Vec<(usize, i32, String)> = Vec::new();
    for topic in topics {
        table = table.max(size_for((topic.partition_ids.len() + 1) * 4 / 3));
        for partition in &topic.partition_ids {
            let hash = java::partition_hash(&topic.topic, *partition);
            // Only sets of up to four are added one by one, and only then does the table check whether to grow.
            if topic.partition_ids.len() <= 4 && entries.len() + 1 >= table * 3 / 4 {
                table *= 2;
            }
            entries.push((0, (hash ^ (hash >> 16)).cast_signed(), format!("{}-{partition}", &*topic.topic)));
        }
    }
    for (bucket, hash, _) in &mut entries {
        *bucket = hash.cast_unsigned() as usize & (table - 1);
    }
    entries.sort_by_key(|(bucket, hash, _)| (*bucket, *hash));
    entries.into_iter().map(|(_, _, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use super::upper_snake;

    #[test]
    fn api_names_read_as_in_kafka() {
        assert_eq!(upper_snake("OffsetForLeaderEpoch"), "OFFSET_FOR_LEADER_EPOCH");
    }
}
