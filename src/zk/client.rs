//! Owns the operations on znodes: encoding, chroot, ACLs, windows of many requests, and their errors.
//! Kafka: the request side of `kafka.zookeeper.ZooKeeperClient`, `KafkaZkClient.retryRequestsUntilConnected`.
//!
//! Every call waits until the ensemble answers, over any number of reconnections; it ends early only when the session
//! expires or the client is closed. Callers with a deadline put a timeout around it. Many calls may run at once: they
//! are sent in order, at most `max_in_flight` unanswered.

use super::armed::Arming;
use super::login::Credentials;
use super::paths;
use super::session::{Driver, Link, Phase, Session, Settings};
use super::watch::{WatchKind, Watcher};
use crate::util::task::Group;
use futures_util::StreamExt;
use futures_util::stream::iter;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use zookeeper_client as package;
pub use zookeeper_client::{Acl, CreateMode, Permission, Stat};
use zookeeper_client::{Acls, AuthId, MultiReadResult, MultiWriteError, MultiWriteResult, OneshotWatcher};

/// The server refuses packets from 1 MiB on (`jute.maxbuffer`) by dropping the connection.
pub const MAX_REQUEST_BYTES: usize = (1 << 20) - 1_024;

/// An upper bound of the bytes of a request, or of an operation of a multi, beside its path and data.
const REQUEST_OVERHEAD: usize = 128;

/// The queue of armed watches that the session has not received yet.
const ARMINGS: usize = 1_024;

/// The code of a request that a server does not know.
const UNIMPLEMENTED: i32 = -6;

/// The code of an invalid path.
const BAD_ARGUMENTS: i32 = -8;

/// The most nodes in one multiRead. Partition states are about 100 bytes each.
const READS_PER_REQUEST: usize = 100;

/// Errors of a request, by what the caller can do.
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
    /// Ephemeral nodes and watches are lost. A new session is opened automatically.
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
    /// The package refuses an invalid path; a server does so only at creation, and there is no such node.
    fn of_no_path(self) -> Self {
        if self == Self::Code(BAD_ARGUMENTS) { Self::NoNode } else { self }
    }

    /// The session ended during the request: work that depends on it starts over.
    pub fn is_session_end(&self) -> bool {
        matches!(self, Self::SessionExpired | Self::Closed | Self::AuthFailed)
    }
}

impl From<package::Error> for Error {
    fn from(error: package::Error) -> Self {
        match error {
            package::Error::NoNode => Self::NoNode,
            package::Error::NodeExists => Self::NodeExists,
            package::Error::BadVersion => Self::BadVersion,
            package::Error::NotEmpty => Self::NotEmpty,
            package::Error::NoAuth => Self::NoAuth,
            package::Error::InvalidAcl => Self::InvalidAcl,
            package::Error::SessionExpired => Self::SessionExpired,
            package::Error::AuthFailed => Self::AuthFailed,
            package::Error::ClientClosed => Self::Closed,
            package::Error::UnexpectedErrorCode(code) => Self::Code(code),
            package::Error::Unimplemented => Self::Code(UNIMPLEMENTED),
            package::Error::BadArguments(_) => Self::Code(BAD_ARGUMENTS),
            package::Error::NoChildrenForEphemerals => Self::Code(-108),
            package::Error::NotReadOnly => Self::Code(-119),
            package::Error::QuotaExceeded => Self::Code(-125),
            package::Error::Throttled => Self::Code(-127),
            _ => Self::Unreadable,
        }
    }
}

/// A node's data, `None` where it is null or empty, and its stat.
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
    /// Version -1 matches any.
    Set {
        path: String,
        data: Vec<u8>,
        version: i32,
    },
    /// Version -1 matches any.
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

/// The result of one operation of a successful multi.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// The path, with its number if it is sequential.
    Created(String),
    Set(Stat),
    Deleted,
    Checked,
}

/// A failed multi: none of its operations was applied.
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
    /// The credentials for SASL; [`super::login`] finds them.
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

type Asking<'a, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send + 'a>>;

/// A connection to one ensemble under one chroot. A clone is another handle on the same session.
#[derive(Clone)]
pub struct Client {
    /// `zookeeper.max.in.flight.requests`: the package itself has no limit.
    window: Arc<Semaphore>,
    max_in_flight: usize,
    links: watch::Receiver<Option<Arc<Link>>>,
    /// The latest transaction that any answer has shown.
    seen: Arc<AtomicI64>,
    armings: mpsc::Sender<Arming>,
    state: watch::Receiver<Session>,
    stop: CancellationToken,
    chroot: String,
    set_acl: bool,
    session_timeout: Duration,
    /// The generation that this handle is bound to.
    generation: Option<u64>,
    cluster_id: Arc<OnceLock<String>>,
    /// A server does not know multiRead.
    lacks_multi_read: Arc<AtomicBool>,
}

impl Client {
    /// Opens a session, whose task runs in `group` until [`Self::close`] or the group's stop. The chroot must exist
    /// ([`super::startup::create_chroot`]) before any request under it.
    pub async fn connect(options: &ConnectOptions, group: &Group) -> Result<Self, Error> {
        let (servers, chroot) = parse_connect(&options.connect)?;
        let (armings, armed) = mpsc::channel(ARMINGS);
        let (link_sender, links) = watch::channel(None);
        let (state_sender, state) = watch::channel(Session { generation: 0, id: 0, phase: Phase::Connecting });
        let stop = group.stop_token().child_token();
        let (cluster_id, seen) = (Arc::default(), Arc::<AtomicI64>::default());
        let settings = Settings {
            servers: servers.clone(),
            session_timeout: options.session_timeout,
            connection_timeout: options.connection_timeout,
            cluster_id_path: format!("{chroot}{}", paths::CLUSTER_ID),
            cluster_id: Arc::clone(&cluster_id),
            seen: Arc::clone(&seen),
            auth: options.auth.clone(),
            sasl: options.sasl.clone(),
        };
        let driver = Driver::new(settings, group.clone(), state_sender, link_sender, armed, stop.clone());
        group.spawn("zookeeper-session", driver.run());
        let max_in_flight = options.max_in_flight.max(1);
        let client = Self {
            window: Arc::new(Semaphore::new(max_in_flight)),
            max_in_flight,
            links,
            seen,
            armings,
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

    /// The state of the session, and its changes.
    pub fn session(&self) -> watch::Receiver<Session> {
        self.state.clone()
    }

    /// From now on, sessions are opened only with the ensemble that has this `/cluster/id`. While only other ensembles
    /// answer, requests wait. The first id is kept.
    pub fn expect_cluster(&self, id: &str) {
        self.cluster_id.get_or_init(|| id.to_owned());
    }

    /// The requested timeout; the server may have granted less or more.
    pub fn session_timeout(&self) -> Duration {
        self.session_timeout
    }

    /// A handle for the current session only: after its end every call is [`Error::SessionExpired`].
    pub fn bound(&self) -> Self {
        let generation = Some(self.state.borrow().generation);
        Self { generation, ..self.clone() }
    }

    /// Ends the session at the server, so that ephemeral nodes are deleted at once, and waits for that (about a second
    /// at most).
    pub async fn close(&self) {
        self.stop.cancel();
        // An error means that the task has ended, which is the aim.
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

    /// The ACLs of a new node at `path`. Kafka: `ZkData.defaultAcls`.
    fn acls(&self, path: &str) -> Vec<Acl> {
        if !self.set_acl || path == paths::CONSUMERS {
            return vec![Acl::new(Permission::ALL, AuthId::anyone())];
        }
        let mut acls = vec![Acl::new(Permission::ALL, AuthId::authed())];
        if !paths::is_sensitive(path) {
            acls.push(Acl::new(Permission::READ, AuthId::anyone()));
        }
        acls
    }

    /// Retries until there is an answer, over any number of connections of one session.
    async fn ask<T, F, A>(&self, bytes: usize, request: F) -> Result<T, Error>
    where
        F: Fn(Arc<Link>) -> A,
        A: Future<Output = Result<T, package::Error>>,
    {
        if bytes > MAX_REQUEST_BYTES {
            return Err(Error::TooLarge { bytes, limit: MAX_REQUEST_BYTES });
        }
        let _place = self.window.acquire().await.map_err(|_| Error::Closed)?;
        let (mut generation, mut is_sent) = (self.generation, false);
        loop {
            let link = self.link(generation, is_sent).await?;
            // A request fails when its session ends.
            (generation, is_sent) = (Some(link.generation), true);
            let answered = tokio::select! {
                biased;
                () = link.lost.cancelled() => Err(package::Error::ConnectionLoss),
                answer = request(Arc::clone(&link)) => answer,
            };
            match answered {
                // Unanswered requests get the connection's own error, such as a reset.
                Err(
                    package::Error::ConnectionLoss
                    | package::Error::SessionMoved
                    | package::Error::Timeout
                    | package::Error::Custom(_),
                ) => link.lost.cancel(),
                Err(_) if link.lost.is_cancelled() => {}
                Err(package::Error::SessionExpired | package::Error::ClientClosed) => link.lost.cancelled().await,
                Err(error) => return Err(error.into()),
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// Waits for a connection; of this generation only, if it is given. Refused credentials fail the requests that were
    /// sent.
    async fn link(&self, generation: Option<u64>, is_sent: bool) -> Result<Arc<Link>, Error> {
        let (mut links, mut state) = (self.links.clone(), self.state.clone());
        loop {
            let session = *state.borrow_and_update();
            match session.phase {
                Phase::Closed => return Err(Error::Closed),
                _ if generation.is_some_and(|wanted| wanted != session.generation) => {
                    return Err(Error::SessionExpired);
                }
                Phase::AuthFailed if is_sent => return Err(Error::AuthFailed),
                _ => {}
            }
            let link = links.borrow_and_update().clone();
            if let Some(link) = link.filter(|link| link.generation == session.generation && !link.lost.is_cancelled()) {
                return Ok(link);
            }
            tokio::select! {
                changed = links.changed() => changed.map_err(|_| Error::Closed)?,
                changed = state.changed() => changed.map_err(|_| Error::Closed)?,
            }
        }
    }

    fn node(&self, data: Vec<u8>, stat: Stat) -> Node {
        self.note(&stat);
        Node { data: (!data.is_empty()).then_some(data), stat }
    }

    fn note(&self, stat: &Stat) {
        self.seen.fetch_max(stat.mzxid.max(stat.pzxid), Ordering::Relaxed);
    }

    /// Passes the watch that a read has armed to the session.
    async fn arm(
        &self,
        link: &Link,
        kind: WatchKind,
        path: String,
        zxid: i64,
        watcher: &Watcher,
        fires: OneshotWatcher,
    ) {
        let (lost, generation) = (link.lost.clone(), link.generation);
        let arming = Arming { kind, path, zxid, address: watcher.address(), fires, lost, generation };
        if self.armings.send(arming).await.is_err() {
            debug!("a watch is armed on a client that is closed");
        }
    }

    /// The path of the new node, which differs from `path` for sequential ones. Null data is written as empty: the
    /// package cannot write null.
    pub async fn create(&self, path: &str, data: Option<&[u8]>, mode: CreateMode) -> Result<String, Error> {
        let (full, acls, data) = (self.full(path), self.acls(path), data.unwrap_or_default());
        let (full, acls) = (full.as_str(), acls.as_slice());
        let created = self.ask(full.len() + data.len() + REQUEST_OVERHEAD, |link| async move {
            link.zk.create(full, data, &mode.with_acls(Acls::new(acls))).await
        });
        let (stat, sequence) = created.await?;
        self.note(&stat);
        let is_sequential = matches!(mode, CreateMode::PersistentSequential | CreateMode::EphemeralSequential);
        Ok(if is_sequential { format!("{path}{sequence}") } else { path.to_owned() })
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
        let full = self.full(path);
        let full = full.as_str();
        let read = self.ask(full.len(), |link| async move {
            match watch {
                None => link.zk.get_data(full).await,
                Some(watcher) => {
                    let (data, stat, fires) = link.zk.get_and_watch_data(full).await?;
                    self.arm(&link, WatchKind::Data, full.to_owned(), stat.mzxid, watcher, fires).await;
                    Ok((data, stat))
                }
            }
        });
        read.await.map(|(data, stat)| self.node(data, stat)).map_err(Error::of_no_path)
    }

    /// Reads many nodes in one window. Answers are in the order of `paths`; the call fails as a whole only when the
    /// session ends.
    pub async fn get_all(&self, paths: &[String], watch: Option<&Watcher>) -> Result<Vec<Result<Node, Error>>, Error> {
        let mut reads: Vec<Asking<'_, Node, Error>> = Vec::with_capacity(paths.len());
        for path in paths {
            reads.push(Box::pin(self.get_watched(path, watch)));
        }
        self.in_window(reads, Error::is_session_end).await
    }

    /// Waits for many requests, as many at a time as the window allows. Answers are in order.
    async fn in_window<T, E>(
        &self,
        requests: Vec<Asking<'_, T, E>>,
        ends: impl Fn(&E) -> bool,
    ) -> Result<Vec<Result<T, E>>, E> {
        let mut out = Vec::with_capacity(requests.len());
        let mut answers = iter(requests).buffered(self.max_in_flight);
        while let Some(answer) = answers.next().await {
            match answer {
                Err(error) if ends(&error) => return Err(error),
                other => out.push(other),
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
        let mut reads: Vec<Asking<'_, Vec<Result<Node, Error>>, Error>> = Vec::new();
        for chunk in paths.chunks(READS_PER_REQUEST) {
            reads.push(Box::pin(self.multi_read(chunk)));
        }
        let answers = self.in_window(reads, Error::is_session_end).await?;
        let mut out = Vec::with_capacity(paths.len());
        for (chunk, answer) in paths.chunks(READS_PER_REQUEST).zip(answers) {
            match answer {
                Ok(read) => out.extend(read),
                Err(Error::Code(UNIMPLEMENTED)) => {
                    self.lacks_multi_read.store(true, Ordering::Relaxed);
                    return self.get_all(paths, None).await;
                }
                // Perhaps the combined answer was too large.
                Err(_) => out.extend(self.get_all(chunk, None).await?),
            }
        }
        Ok(out)
    }

    async fn multi_read(&self, paths: &[String]) -> Result<Vec<Result<Node, Error>>, Error> {
        let full: Vec<String> = paths.iter().map(|path| self.full(path)).collect();
        let bytes = full.iter().map(|path| path.len() + REQUEST_OVERHEAD).sum();
        let full = full.as_slice();
        let read = self.ask(bytes, |link| async move {
            let mut reader = link.zk.new_multi_reader();
            for path in full {
                reader.add_get_data(path)?;
            }
            reader.commit().await
        });
        let read: Vec<Result<Node, Error>> = read
            .await?
            .into_iter()
            .map(|result| match result {
                MultiReadResult::Data { data, stat } => Ok(self.node(data, stat)),
                MultiReadResult::Error { err } => Err(err.into()),
                _ => Err(Error::Unreadable),
            })
            .collect();
        if read.len() == paths.len() { Ok(read) } else { Err(Error::Unreadable) }
    }

    pub async fn exists(&self, path: &str) -> Result<Option<Stat>, Error> {
        self.exists_watched(path, None).await
    }

    /// Arms `watch`, if given, for creation, changes and deletion.
    pub async fn exists_watched(&self, path: &str, watch: Option<&Watcher>) -> Result<Option<Stat>, Error> {
        let full = self.full(path);
        let full = full.as_str();
        let read = self.ask(full.len(), |link| async move {
            let Some(watcher) = watch else { return link.zk.check_stat(full).await };
            let (stat, fires) = link.zk.check_and_watch_stat(full).await?;
            let kind = if stat.is_some() { WatchKind::Data } else { WatchKind::Exists };
            self.arm(&link, kind, full.to_owned(), stat.map_or(0, |stat| stat.mzxid), watcher, fires).await;
            Ok(stat)
        });
        let stat = match read.await.map_err(Error::of_no_path) {
            Err(Error::NoNode) => None,
            read => read?,
        };
        stat.iter().for_each(|stat| self.note(stat));
        Ok(stat)
    }

    /// The names, in no particular order.
    pub async fn children(&self, path: &str) -> Result<Vec<String>, Error> {
        self.children_watched(path, None).await
    }

    /// Arms `watch`, if given, for the creation and deletion of children. A missing node arms nothing.
    pub async fn children_watched(&self, path: &str, watch: Option<&Watcher>) -> Result<Vec<String>, Error> {
        let full = self.full(path);
        let full = full.as_str();
        let read = self.ask(full.len(), |link| async move {
            let Some(watcher) = watch else { return link.zk.list_children(full).await };
            let (children, stat, fires) = link.zk.get_and_watch_children(full).await?;
            self.note(&stat);
            self.arm(&link, WatchKind::Children, full.to_owned(), stat.pzxid, watcher, fires).await;
            Ok(children)
        });
        read.await.map_err(Error::of_no_path)
    }

    /// Version -1 matches any.
    pub async fn set(&self, path: &str, data: &[u8], version: i32) -> Result<Stat, Error> {
        let full = self.full(path);
        let full = full.as_str();
        let set = self.ask(full.len() + data.len() + REQUEST_OVERHEAD, |link| async move {
            link.zk.set_data(full, data, Some(version)).await
        });
        let stat = set.await.map_err(Error::of_no_path)?;
        self.note(&stat);
        Ok(stat)
    }

    /// Version -1 matches any.
    pub async fn delete(&self, path: &str, version: i32) -> Result<(), Error> {
        let full = self.full(path);
        let full = full.as_str();
        let deleted = self.ask(full.len(), |link| async move { link.zk.delete(full, Some(version)).await });
        deleted.await.map_err(Error::of_no_path)
    }

    pub async fn get_acl(&self, path: &str) -> Result<Vec<Acl>, Error> {
        let full = self.full(path);
        let full = full.as_str();
        self.ask(full.len(), |link| async move { link.zk.get_acl(full).await.map(|(acls, _)| acls) }).await
    }

    /// All of `writes` or none.
    pub async fn multi(&self, writes: &[Write]) -> Result<Vec<Written>, MultiError> {
        let named: Vec<(String, Vec<Acl>)> =
            writes.iter().map(|write| (self.full(write.path()), self.acls(write.path()))).collect();
        let bytes =
            named.iter().zip(writes).map(|((full, _), write)| full.len() + write.size() + REQUEST_OVERHEAD).sum();
        let named = named.as_slice();
        let done = self.ask(bytes, |link| async move {
            let mut writer = link.zk.new_multi_writer();
            for (write, (full, acls)) in writes.iter().zip(named) {
                match write {
                    Write::Create { data, mode, .. } => {
                        let data = data.as_deref().unwrap_or_default();
                        writer.add_create(full, data, &mode.with_acls(Acls::new(acls)))?;
                    }
                    Write::Set { data, version, .. } => writer.add_set_data(full, data, Some(*version))?,
                    Write::Delete { version, .. } => writer.add_delete(full, Some(*version))?,
                    Write::Check { version, .. } => writer.add_check_version(full, *version)?,
                }
            }
            match writer.commit().await {
                Ok(done) => Ok(Ok(done)),
                Err(MultiWriteError::RequestFailed { source }) => Err(source),
                Err(MultiWriteError::OperationFailed { index, source }) => Ok(Err((index, source))),
            }
        });
        let done = match done.await? {
            Ok(done) => done,
            Err((index, error)) => return Err(MultiError::Operation { index, error: error.into() }),
        };
        if done.len() != writes.len() {
            return Err(Error::Unreadable.into());
        }
        done.into_iter().map(|done| self.written(done).map_err(MultiError::from)).collect()
    }

    fn written(&self, done: MultiWriteResult) -> Result<Written, Error> {
        Ok(match done {
            MultiWriteResult::Create { path, .. } => {
                Written::Created(path.strip_prefix(self.chroot.as_str()).ok_or(Error::Unreadable)?.to_owned())
            }
            MultiWriteResult::SetData { stat } => {
                self.note(&stat);
                Written::Set(stat)
            }
            MultiWriteResult::Delete => Written::Deleted,
            MultiWriteResult::Check => Written::Checked,
            _ => return Err(Error::Unreadable),
        })
    }

    /// Sends many multis in one window. Answers are in order; the call fails as a whole only when the session ends.
    pub async fn multi_all(&self, batches: &[Vec<Write>]) -> Result<Vec<Result<Vec<Written>, MultiError>>, Error> {
        let ends = |error: &MultiError| matches!(error, MultiError::Request(error) if error.is_session_end());
        let mut requests: Vec<Asking<'_, Vec<Written>, MultiError>> = Vec::with_capacity(batches.len());
        for writes in batches {
            requests.push(Box::pin(self.multi(writes)));
        }
        self.in_window(requests, ends).await.map_err(Error::from)
    }
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
