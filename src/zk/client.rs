//! Owns the operations on znodes: encoding, chroot, ACLs, windows of many requests, and what can go wrong.
//! Kafka: the request side of `kafka.zookeeper.ZooKeeperClient`, `KafkaZkClient.retryRequestsUntilConnected`.
//!
//! Every call waits until the ensemble answers, over any number of reconnections; it ends early only when the session
//! expires or the client is closed. Callers with a deadline put a timeout around it. Many calls may be under way at once:
//! they go out in order, at most `max_in_flight` unanswered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::paths;
use super::session::sasl::Credentials;
use super::session::wire::code;
use super::session::{Arming, Driver, Phase, Request, Session, Settings};
use super::watch::{WatchKind, Watcher};
use crate::util::task::Group;
use crate::zookeeper::jute::{Malformed, Reader, Writer};
pub use crate::zookeeper::wire::{Acl, Stat};
use crate::zookeeper::wire::{Code, op, perms};

/// The server refuses packets from 1 MiB on (`jute.maxbuffer`) by dropping the connection.
pub const MAX_REQUEST_BYTES: usize = (1 << 20) - 1_024;

/// Requests that wait for their turn; senders beyond wait for room.
const QUEUE_CAPACITY: usize = 1_024;

/// Nodes that one multiRead asks for. States of partitions are about 100 bytes each.
const READS_PER_REQUEST: usize = 100;

/// What can be done about a failed request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("the node does not exist")]
    NoNode,
    #[error("the node exists")]
    NodeExists,
    #[error("the node has another version")]
    BadVersion,
    #[error("the node has children")]
    NotEmpty,
    #[error("not authorized")]
    NoAuth,
    #[error("invalid ACL: no authenticated identity")]
    InvalidAcl,
    /// Ephemeral nodes and watches are gone. A new session follows by itself.
    #[error("the session has expired")]
    SessionExpired,
    #[error("the credentials are refused")]
    AuthFailed,
    #[error("the client is closed")]
    Closed,
    #[error("{bytes} bytes are more than the limit of {limit}")]
    TooLarge { bytes: usize, limit: usize },
    #[error("no connection to {servers} within {waited_ms} ms")]
    ConnectTimeout { servers: String, waited_ms: u128 },
    #[error("{0}")]
    BadConnectString(String),
    #[error("error code {0}")]
    Code(i32),
    #[error("unreadable answer")]
    Unreadable,
}

impl Error {
    pub(super) fn from_code(error: i32) -> Self {
        match error {
            code::NO_NODE => Self::NoNode,
            code::NODE_EXISTS => Self::NodeExists,
            code::BAD_VERSION => Self::BadVersion,
            code::NOT_EMPTY => Self::NotEmpty,
            code::NO_AUTH => Self::NoAuth,
            code::INVALID_ACL => Self::InvalidAcl,
            code::SESSION_EXPIRED => Self::SessionExpired,
            code::AUTH_FAILED => Self::AuthFailed,
            other => Self::Code(other),
        }
    }

    /// The session ended under the request: what depends on it starts over.
    pub fn is_session_end(&self) -> bool {
        matches!(self, Self::SessionExpired | Self::Closed | Self::AuthFailed)
    }
}

impl From<Malformed> for Error {
    fn from(_: Malformed) -> Self {
        Self::Unreadable
    }
}

/// How a node lives. The values are ZooKeeper's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum CreateMode {
    Persistent = 0,
    Ephemeral = 1,
    PersistentSequential = 2,
    EphemeralSequential = 3,
}

/// A node's data (null and empty differ) and what ZooKeeper keeps beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub data: Option<Vec<u8>>,
    pub stat: Stat,
}

/// One operation of a [`Client::multi`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    Create {
        path: String,
        data: Option<Vec<u8>>,
        mode: CreateMode,
    },
    /// Version -1 is any.
    Set {
        path: String,
        data: Vec<u8>,
        version: i32,
    },
    /// Version -1 is any.
    Delete {
        path: String,
        version: i32,
    },
    Check {
        path: String,
        version: i32,
    },
}

impl Write {
    fn path(&self) -> &str {
        match self {
            Self::Create { path, .. }
            | Self::Set { path, .. }
            | Self::Delete { path, .. }
            | Self::Check { path, .. } => path,
        }
    }

    /// Bytes of path and data.
    pub(super) fn size(&self) -> usize {
        let data = match self {
            Self::Create { data, .. } => data.as_deref().map_or(0, <[u8]>::len),
            Self::Set { data, .. } => data.len(),
            Self::Delete { .. } | Self::Check { .. } => 0,
        };
        self.path().len() + data
    }
}

/// What one operation of a multi that succeeded has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The path, with its number if it is sequential.
    Created(String),
    Set(Stat),
    Deleted,
    Checked,
}

/// A multi of which nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MultiError {
    #[error("operation {index}: {error}")]
    Operation { index: usize, error: Error },
    #[error(transparent)]
    Request(#[from] Error),
}

impl From<MultiError> for Error {
    fn from(error: MultiError) -> Self {
        match error {
            MultiError::Operation { error, .. } | MultiError::Request(error) => error,
        }
    }
}

/// How to reach an ensemble. Kafka: the `zookeeper.*` keys.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// `host:port,host:port/chroot`
    pub connect: String,
    pub session_timeout: Duration,
    /// Limits the first connection only.
    pub connection_timeout: Duration,
    /// `zookeeper.max.in.flight.requests`
    pub max_in_flight: usize,
    /// `zookeeper.set.acl`: nodes are created for the authenticated identity, world-readable where not secret.
    pub set_acl: bool,
    /// Scheme and credentials, `("digest", b"user:password")`.
    pub auth: Vec<(String, Vec<u8>)>,
    /// Whom SASL is to prove that we are; [`super::login`] finds it.
    pub sasl: Option<Credentials>,
}

impl ConnectOptions {
    /// Kafka's defaults.
    pub fn new(connect: impl Into<String>) -> Self {
        Self {
            connect: connect.into(),
            session_timeout: Duration::from_millis(18_000),
            connection_timeout: Duration::from_millis(18_000),
            max_in_flight: 10,
            set_acl: false,
            auth: Vec::new(),
            sasl: None,
        }
    }
}

/// Splits `host:port,host:port/chroot` into servers and chroot (empty for none). A host without a port gets 2181.
fn parse_connect(text: &str) -> Result<(Vec<String>, String), Error> {
    let (hosts, chroot) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let chroot = chroot.trim_end_matches('/');
    if chroot.contains("//") {
        return Err(Error::BadConnectString(format!("the chroot {chroot} has an empty part")));
    }
    let mut servers = Vec::new();
    for host in hosts.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        let has_port = match host.rsplit_once(':') {
            // A bare IPv6 address in brackets ends with a bracket, not with a port.
            Some((_, port)) => !port.ends_with(']'),
            None => false,
        };
        if has_port && host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(Error::BadConnectString(format!("{host} has no valid port")));
        }
        servers.push(if has_port { host.to_owned() } else { format!("{host}:2181") });
    }
    if servers.is_empty() {
        return Err(Error::BadConnectString(format!("no server in {text:?}")));
    }
    Ok((servers, chroot.to_owned()))
}

/// A connection to one ensemble under one chroot. Cloning gives another handle on the same session.
#[derive(Clone)]
pub struct Client {
    queue: mpsc::Sender<Request>,
    state: watch::Receiver<Session>,
    stop: CancellationToken,
    chroot: String,
    set_acl: bool,
    session_timeout: Duration,
    /// The generation that this handle is bound to.
    generation: Option<u64>,
    cluster_id: Arc<OnceLock<String>>,
    /// A server said that it does not know multiRead.
    lacks_multi_read: Arc<AtomicBool>,
}

impl Client {
    /// Opens a session, whose task runs in `group` until [`Self::close`] or the group's stop. The chroot must exist
    /// ([`super::startup::create_chroot`]) before anything is asked under it.
    pub async fn connect(options: &ConnectOptions, group: &Group) -> Result<Self, Error> {
        let (servers, chroot) = parse_connect(&options.connect)?;
        let (queue, requests) = mpsc::channel(QUEUE_CAPACITY);
        let (state_sender, state) = watch::channel(Session { generation: 0, id: 0, phase: Phase::Connecting });
        let stop = group.stop_token().child_token();
        let cluster_id = Arc::default();
        let settings = Settings {
            servers: servers.clone(),
            session_timeout: options.session_timeout,
            connection_timeout: options.connection_timeout,
            cluster_id_path: format!("{chroot}{}", paths::CLUSTER_ID),
            cluster_id: Arc::clone(&cluster_id),
            max_in_flight: options.max_in_flight.max(1),
            auth: options.auth.clone(),
            sasl: options.sasl.clone(),
        };
        group.spawn("zookeeper-session", Driver::new(settings, requests, state_sender, stop.clone()).run());
        let client = Self {
            queue,
            state,
            stop,
            chroot,
            set_acl: options.set_acl,
            session_timeout: options.session_timeout,
            generation: None,
            cluster_id,
            lacks_multi_read: Arc::default(),
        };
        let mut state = client.state.clone();
        let settled = state.wait_for(|s| matches!(s.phase, Phase::Connected | Phase::AuthFailed | Phase::Closed));
        let phase = match tokio::time::timeout(options.connection_timeout, settled).await {
            Ok(Ok(session)) => session.phase,
            Ok(Err(_)) => Phase::Closed,
            Err(_) => Phase::Connecting,
        };
        match phase {
            Phase::Connected => Ok(client),
            Phase::AuthFailed => {
                client.stop.cancel();
                Err(Error::AuthFailed)
            }
            Phase::Closed => Err(Error::Closed),
            Phase::Connecting | Phase::Disconnected => {
                client.stop.cancel();
                let waited_ms = options.connection_timeout.as_millis();
                Err(Error::ConnectTimeout { servers: servers.join(","), waited_ms })
            }
        }
    }

    /// The session as it changes.
    pub fn session(&self) -> watch::Receiver<Session> {
        self.state.clone()
    }

    /// From now on, sessions are opened only with the ensemble whose `/cluster/id` this is. While none other answers, no one
    /// does: requests wait. The first id stays.
    pub fn expect_cluster(&self, id: &str) {
        self.cluster_id.get_or_init(|| id.to_owned());
    }

    /// What was asked for; the server may have granted less or more.
    pub fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    /// A handle that works only while the session of now lives: afterwards everything is [`Error::SessionExpired`].
    pub fn bound(&self) -> Self {
        let generation = Some(self.state.borrow().generation);
        Self { generation, ..self.clone() }
    }

    /// Ends the session at the server, so that ephemeral nodes go at once, and waits for that (about a second at most).
    pub async fn close(&self) {
        self.stop.cancel();
        // The sender of the state is gone when the task has ended, which is just as well.
        drop(self.state.clone().wait_for(|s| s.phase == Phase::Closed).await);
    }

    pub fn watcher(&self) -> Watcher {
        Watcher::new(&self.chroot)
    }

    pub fn chroot(&self) -> &str {
        &self.chroot
    }

    fn full(&self, path: &str) -> String {
        if path == "/" && !self.chroot.is_empty() { self.chroot.clone() } else { format!("{}{path}", self.chroot) }
    }

    /// What a node at `path` is created with. Kafka: `ZkData.defaultAcls`.
    fn acls(&self, path: &str) -> Vec<Acl> {
        if !self.set_acl || path == paths::CONSUMERS {
            return vec![Acl::open()];
        }
        let mut acls = vec![Acl::new(perms::ALL, "auth", "")];
        if !paths::is_sensitive(path) {
            acls.push(Acl::new(perms::READ, "world", "anyone"));
        }
        acls
    }

    /// Puts a request on its way; its answer comes on the channel.
    async fn submit(
        &self,
        op: i32,
        body: Vec<u8>,
        arming: Option<Arming>,
    ) -> Result<oneshot::Receiver<Result<Bytes, Error>>, Error> {
        if body.len() > MAX_REQUEST_BYTES {
            return Err(Error::TooLarge { bytes: body.len(), limit: MAX_REQUEST_BYTES });
        }
        let (reply, answer) = oneshot::channel();
        let request = Request { op, body: body.into(), arming, generation: self.generation, reply };
        self.queue.send(request).await.map_err(|_| Error::Closed)?;
        Ok(answer)
    }

    async fn call(&self, op: i32, body: Vec<u8>, arming: Option<Arming>) -> Result<Bytes, Error> {
        self.submit(op, body, arming).await?.await.unwrap_or(Err(Error::Closed))
    }

    fn read_request(&self, path: &str, watch: Option<&Watcher>, kind: WatchKind) -> (Vec<u8>, Option<Arming>) {
        let full = self.full(path);
        let mut body = Writer::default();
        body.string(&full);
        body.bool(watch.is_some());
        let arming = watch.map(|watcher| Arming { kind, path: full, address: watcher.address() });
        (body.bytes, arming)
    }

    /// The path of the new node, which differs from `path` for sequential ones.
    pub async fn create(&self, path: &str, data: Option<&[u8]>, mode: CreateMode) -> Result<String, Error> {
        let answer = self.call(op::CREATE, self.create_body(path, data, mode), None).await?;
        self.relative(&Reader::new(&answer).string()?)
    }

    fn create_body(&self, path: &str, data: Option<&[u8]>, mode: CreateMode) -> Vec<u8> {
        let mut body = Writer::default();
        self.put_create(&mut body, path, data, mode);
        body.bytes
    }

    fn put_create(&self, body: &mut Writer, path: &str, data: Option<&[u8]>, mode: CreateMode) {
        body.string(&self.full(path));
        body.buffer(data);
        body.vector(self.acls(path).iter(), |w, acl| acl.write(w));
        body.int(mode as i32);
    }

    fn relative(&self, full: &str) -> Result<String, Error> {
        full.strip_prefix(self.chroot.as_str()).map(str::to_owned).ok_or(Error::Unreadable)
    }

    /// Creates a persistent node and, where missing, its parents, which get no data.
    pub async fn create_recursive(&self, path: &str, data: Option<&[u8]>) -> Result<(), Error> {
        let mut missing = match self.create(path, data, CreateMode::Persistent).await {
            Err(Error::NoNode) => vec![path],
            other => return other.map(drop),
        };
        while let Some(parent) = missing.last().and_then(|path| paths::parent(path)) {
            match self.create(parent, None, CreateMode::Persistent).await {
                Ok(_) | Err(Error::NodeExists) => break,
                Err(Error::NoNode) => missing.push(parent),
                Err(other) => return Err(other),
            }
        }
        while let Some(path_of_missing) = missing.pop() {
            let data = if missing.is_empty() { data } else { None };
            match self.create(path_of_missing, data, CreateMode::Persistent).await {
                Err(Error::NodeExists) if !missing.is_empty() => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    pub async fn get(&self, path: &str) -> Result<Node, Error> {
        self.get_watched(path, None).await
    }

    /// Arms `watch`, if given, for changes and deletion of the node. A missing node arms nothing.
    pub async fn get_watched(&self, path: &str, watch: Option<&Watcher>) -> Result<Node, Error> {
        let (body, arming) = self.read_request(path, watch, WatchKind::Data);
        read_node(&self.call(op::GET_DATA, body, arming).await?)
    }

    /// Reads many nodes in one window. Answers are in the order of `paths`; the call fails as a whole only when the
    /// session ends.
    pub async fn get_all(&self, paths: &[String], watch: Option<&Watcher>) -> Result<Vec<Result<Node, Error>>, Error> {
        let mut waiting = Vec::with_capacity(paths.len());
        for path in paths {
            let (body, arming) = self.read_request(path, watch, WatchKind::Data);
            waiting.push(self.submit(op::GET_DATA, body, arming).await?);
        }
        let mut out = Vec::with_capacity(waiting.len());
        for answer in waiting {
            match answer.await.unwrap_or(Err(Error::Closed)) {
                Ok(body) => out.push(read_node(&body)),
                Err(error) if error.is_session_end() => return Err(error),
                Err(error) => out.push(Err(error)),
            }
        }
        Ok(out)
    }

    /// Reads many small nodes, `READS_PER_REQUEST` at a time where the servers know multiRead (3.6 on), else as
    /// [`Self::get_all`]. Arms nothing: multiRead cannot.
    pub async fn get_many(&self, paths: &[String]) -> Result<Vec<Result<Node, Error>>, Error> {
        if self.lacks_multi_read.load(Ordering::Relaxed) {
            return self.get_all(paths, None).await;
        }
        let mut waiting = Vec::with_capacity(paths.len().div_ceil(READS_PER_REQUEST));
        for chunk in paths.chunks(READS_PER_REQUEST) {
            waiting.push(self.submit(op::MULTI_READ, self.multi_read_body(chunk), None).await?);
        }
        let mut out = Vec::with_capacity(paths.len());
        for (chunk, answer) in paths.chunks(READS_PER_REQUEST).zip(waiting) {
            match answer.await.unwrap_or(Err(Error::Closed)) {
                Ok(body) => out.extend(read_multi_read(chunk.len(), &body)?),
                Err(Error::Code(code)) if code == Code::Unimplemented as i32 => {
                    self.lacks_multi_read.store(true, Ordering::Relaxed);
                    return self.get_all(paths, None).await;
                }
                Err(error) if error.is_session_end() => return Err(error),
                // Together they were too much, perhaps.
                Err(_) => out.extend(self.get_all(chunk, None).await?),
            }
        }
        Ok(out)
    }

    /// As a multi, of reads: | op i32 | done bool | -1 i32 | path | watch bool | …
    fn multi_read_body(&self, paths: &[String]) -> Vec<u8> {
        let mut body = Writer::default();
        for path in paths {
            put_multi_header(&mut body, op::GET_DATA, false);
            body.string(&self.full(path));
            body.bool(false);
        }
        put_multi_header(&mut body, op::ERROR, true);
        body.bytes
    }

    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        self.exists_watched(path, None).await
    }

    /// Arms `watch`, if given, for creation, changes and deletion.
    pub async fn exists_watched(&self, path: &str, watch: Option<&Watcher>) -> Result<Option<Stat>, Error> {
        let (body, arming) = self.read_request(path, watch, WatchKind::Exists);
        match self.call(op::EXISTS, body, arming).await {
            Ok(answer) => Ok(Some(Stat::read(&mut Reader::new(&answer))?)),
            Err(Error::NoNode) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Names, in no order.
    pub async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.children_watched(path, None).await
    }

    /// Arms `watch`, if given, for children that come or go. A missing node arms nothing.
    pub async fn children_watched(&self, path: &str, watch: Option<&Watcher>) -> Result<Vec<String>, Error> {
        let (body, arming) = self.read_request(path, watch, WatchKind::Children);
        let answer = self.call(op::GET_CHILDREN, body, arming).await?;
        Ok(Reader::new(&answer).vector(Reader::string)?)
    }

    /// Version -1 is any.
    pub async fn set(&self, path: &str, data: &[u8], version: i32) -> Result<Stat, Error> {
        let mut body = Writer::default();
        body.string(&self.full(path));
        body.buffer(Some(data));
        body.int(version);
        let answer = self.call(op::SET_DATA, body.bytes, None).await?;
        Ok(Stat::read(&mut Reader::new(&answer))?)
    }

    /// Version -1 is any.
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        let mut body = Writer::default();
        body.string(&self.full(path));
        body.int(version);
        self.call(op::DELETE, body.bytes, None).await.map(drop)
    }

    pub async fn get_acl(&self, path: &str) -> Result<Vec<Acl>, Error> {
        let mut body = Writer::default();
        body.string(&self.full(path));
        let answer = self.call(op::GET_ACL, body.bytes, None).await?;
        Ok(Reader::new(&answer).vector(Acl::read)?)
    }

    /// All of `writes` or none.
    pub async fn multi(&self, writes: &[Write]) -> Result<Vec<Written>, MultiError> {
        let answer = self.call(op::MULTI, self.multi_body(writes), None).await?;
        self.read_multi(writes.len(), &answer)
    }

    /// Sends many multis in one window. Answers are in order; the call fails as a whole only when the session ends.
    pub async fn multi_all(&self, batches: &[Vec<Write>]) -> Result<Vec<Result<Vec<Written>, MultiError>>, Error> {
        let mut waiting = Vec::with_capacity(batches.len());
        for writes in batches {
            waiting.push(match self.submit(op::MULTI, self.multi_body(writes), None).await {
                Err(error @ Error::TooLarge { .. }) => Err(error),
                other => Ok(other?),
            });
        }
        let mut out = Vec::with_capacity(waiting.len());
        for (writes, answer) in batches.iter().zip(waiting) {
            let body = match answer {
                Ok(answer) => answer.await.unwrap_or(Err(Error::Closed)),
                Err(error) => Err(error),
            };
            match body {
                Ok(body) => out.push(self.read_multi(writes.len(), &body)),
                Err(error) if error.is_session_end() => return Err(error),
                Err(error) => out.push(Err(error.into())),
            }
        }
        Ok(out)
    }

    /// multi: | op i32 | done bool | -1 i32 | operation | … | -1 i32 | true | -1 i32 |
    fn multi_body(&self, writes: &[Write]) -> Vec<u8> {
        let mut body = Writer::default();
        for write in writes {
            match write {
                Write::Create { path, data, mode } => {
                    put_multi_header(&mut body, op::CREATE, false);
                    self.put_create(&mut body, path, data.as_deref(), *mode);
                }
                Write::Set { data, version, .. } => {
                    put_multi_header(&mut body, op::SET_DATA, false);
                    body.string(&self.full(write.path()));
                    body.buffer(Some(data));
                    body.int(*version);
                }
                Write::Delete { version, .. } | Write::Check { version, .. } => {
                    let is_check = matches!(write, Write::Check { .. });
                    put_multi_header(&mut body, if is_check { op::CHECK } else { op::DELETE }, false);
                    body.string(&self.full(write.path()));
                    body.int(*version);
                }
            }
        }
        put_multi_header(&mut body, op::ERROR, true);
        body.bytes
    }

    fn read_multi(&self, count: usize, answer: &[u8]) -> Result<Vec<Written>, MultiError> {
        let mut written = Vec::with_capacity(count);
        let mut failed: Option<MultiError> = None;
        let (mut reader, mut index) = (Reader::new(answer), 0);
        loop {
            let (op, done, _) = read_multi_header(&mut reader)?;
            if done {
                break;
            }
            match op {
                op::CREATE => written.push(Written::Created(self.relative(&reader.string().map_err(Error::from)?)?)),
                op::SET_DATA => written.push(Written::Set(Stat::read(&mut reader).map_err(Error::from)?)),
                op::DELETE => written.push(Written::Deleted),
                op::CHECK => written.push(Written::Checked),
                op::ERROR => {
                    // The operations around the one that failed answer "fine so far" or "not tried".
                    match reader.int().map_err(Error::from)? {
                        0 | code::RUNTIME_INCONSISTENCY => {}
                        error if failed.is_none() => {
                            failed = Some(MultiError::Operation { index, error: Error::from_code(error) });
                        }
                        _ => {}
                    }
                }
                _ => return Err(Error::Unreadable.into()),
            }
            index += 1;
        }
        match failed {
            Some(error) => Err(error),
            None if written.len() == count => Ok(written),
            None => Err(Error::Unreadable.into()),
        }
    }
}

fn put_multi_header(body: &mut Writer, op: i32, done: bool) {
    body.int(op);
    body.bool(done);
    body.int(-1);
}

/// Each node or why there is none, `count` of them.
fn read_multi_read(count: usize, answer: &[u8]) -> Result<Vec<Result<Node, Error>>, Error> {
    let mut reader = Reader::new(answer);
    let mut nodes = Vec::with_capacity(count);
    loop {
        match read_multi_header(&mut reader)? {
            (_, true, _) => break,
            (op::GET_DATA, ..) => {
                let data = reader.slice()?.map(<[u8]>::to_vec);
                nodes.push(Ok(Node { data, stat: Stat::read(&mut reader)? }));
            }
            (op::ERROR, ..) => nodes.push(Err(Error::from_code(reader.int()?))),
            _ => return Err(Error::Unreadable),
        }
    }
    if nodes.len() == count { Ok(nodes) } else { Err(Error::Unreadable) }
}

fn read_multi_header(reader: &mut Reader<'_>) -> Result<(i32, bool, i32), Error> {
    Ok((reader.int()?, reader.bool()?, reader.int()?))
}

fn read_node(answer: &[u8]) -> Result<Node, Error> {
    let mut reader = Reader::new(answer);
    Ok(Node { data: reader.slice()?.map(<[u8]>::to_vec), stat: Stat::read(&mut reader)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connect_strings_split_into_servers_and_chroot() {
        let split = |text: &str| parse_connect(text).unwrap();
        assert_eq!(split("zk1:2181,zk2:2182/kafka/a"), (vec!["zk1:2181".into(), "zk2:2182".into()], "/kafka/a".into()));
        assert_eq!(split("zk1 , [::1]:7"), (vec!["zk1:2181".into(), "[::1]:7".into()], String::new()));
        assert_eq!(split("[::1]/"), (vec!["[::1]:2181".into()], String::new()));
        for text in ["", "/kafka", "zk:port", "zk:70000", "zk:1/a//b"] {
            assert!(matches!(parse_connect(text), Err(Error::BadConnectString(_))), "{text}");
        }
    }
}
