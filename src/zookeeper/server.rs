//! Owns the development ZooKeeper: a listener, connections, and the one task that owns the [`Model`]
//! and its [`Store`]. Counterpart: `ZooKeeperServerMain`, `NIOServerCnxnFactory`, `NIOServerCnxn`, `SyncRequestProcessor`,
//! the four-letter commands.
//!
//! Each connection is a task that reads frames, decodes requests and writes what it is handed. The owner takes all
//! requests that wait, applies them in order, syncs the log once for all of them, and then hands out replies and events.
//! A connection that does not read is paused at `OUTGOING_PAUSE` bytes and closed at `OUTGOING_MAX`.
//! Absent on purpose: an ensemble, TLS, SASL, the admin server.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Buf, BytesMut};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::jute::{Reader, Writer};
use super::model::{Effects, Model, Now, SessionId, Timing};
use super::store::{self, Store, StoreError};
use super::wire::{self, Code, ConnectRequest, Request};
use crate::common::ids::Millis;
use crate::util::task::Group;

/// Requests of all connections that wait for the owner.
const MAILBOX_CAPACITY: usize = 1024;

/// Requests that share one sync of the log.
const BATCH_MAX: usize = 1024;

/// Bytes of replies that wait for a client before its next request is read.
const OUTGOING_PAUSE: usize = 4 << 20;

/// Bytes of replies and events that wait for a client before it is given up.
const OUTGOING_MAX: usize = 64 << 20;

/// How long a client may take to ask for a session.
const SESSIONLESS_TIMEOUT: Duration = Duration::from_secs(10);

/// The version that `srvr` and its kin report: clients choose features by it.
const VERSION: &str = concat!("3.8.4-zurau-", env!("CARGO_PKG_VERSION"));

/// What a zoo.cfg can say to a standalone server.
#[derive(Debug, Clone)]
pub struct Config {
    /// None keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// `clientPortAddress` and `clientPort`; port 0 takes a free one.
    pub client_address: SocketAddr,
    /// `tickTime`, ms.
    pub tick_ms: i32,
    /// `minSessionTimeout`, ms; 2 ticks if absent.
    pub min_session_timeout_ms: Option<i32>,
    /// `maxSessionTimeout`, ms; 20 ticks if absent.
    pub max_session_timeout_ms: Option<i32>,
    /// `maxClientCnxns`: connections of one address; 0 is no limit.
    pub max_client_cnxns: usize,
    /// `jute.maxbuffer`: bytes of one request.
    pub max_frame: usize,
    /// `4lw.commands.whitelist`; `*` is all.
    pub four_letter_words: Vec<String>,
    /// `forceSync`: whether a reply waits until its write is on disk.
    pub force_sync: bool,
}

/// A zoo.cfg that cannot be served.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{key}={value}: not a value of this key")]
    Value { key: String, value: String },
    #[error("{0} is not set")]
    Missing(&'static str),
    #[error("{0}: this server does not form an ensemble")]
    Ensemble(String),
}

impl Config {
    /// ZooKeeper's defaults, in memory.
    pub fn new(client_address: SocketAddr) -> Self {
        Self {
            data_dir: None,
            client_address,
            tick_ms: 3000,
            min_session_timeout_ms: None,
            max_session_timeout_ms: None,
            max_client_cnxns: 60,
            max_frame: 0xf_ffff,
            four_letter_words: vec!["srvr".to_owned()],
            force_sync: true,
        }
    }

    /// Reads the text of a zoo.cfg. Keys that a standalone server of ours has no use for are ignored, as `admin.*`.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut config = Self::new(SocketAddr::new(ANY_ADDRESS, 0));
        let (mut port, mut address) = (None, None);
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])) {
            let (key, value) = line.split_once('=').unwrap_or((line, ""));
            let (key, value) = (key.trim(), value.trim());
            let refused = || ConfigError::Value { key: key.to_owned(), value: value.to_owned() };
            match key {
                "dataDir" if !value.is_empty() => config.data_dir = Some(PathBuf::from(value)),
                "clientPort" => port = Some(value.parse().map_err(|_| refused())?),
                "clientPortAddress" if value == "localhost" => address = Some(IpAddr::from([127, 0, 0, 1])),
                "clientPortAddress" => address = Some(value.parse().map_err(|_| refused())?),
                "tickTime" => config.tick_ms = positive(value).ok_or_else(refused)?,
                "minSessionTimeout" => config.min_session_timeout_ms = Some(positive(value).ok_or_else(refused)?),
                "maxSessionTimeout" => config.max_session_timeout_ms = Some(positive(value).ok_or_else(refused)?),
                "maxClientCnxns" => config.max_client_cnxns = value.parse().map_err(|_| refused())?,
                "jute.maxbuffer" => config.max_frame = positive(value).ok_or_else(refused)? as usize,
                "4lw.commands.whitelist" => {
                    config.four_letter_words = value.split(',').map(|word| word.trim().to_owned()).collect();
                }
                "forceSync" => config.force_sync = value != "no",
                _ if key.starts_with("server.") => return Err(ConfigError::Ensemble(key.to_owned())),
                _ => debug!(key, "ignored"),
            }
        }
        if config.data_dir.is_none() {
            return Err(ConfigError::Missing("dataDir"));
        }
        let port = port.ok_or(ConfigError::Missing("clientPort"))?;
        config.client_address = SocketAddr::new(address.unwrap_or(ANY_ADDRESS), port);
        Ok(config)
    }

    fn timing(&self) -> Timing {
        let min_timeout = self.min_session_timeout_ms.unwrap_or_else(|| self.tick_ms.saturating_mul(2));
        let max_timeout = self.max_session_timeout_ms.unwrap_or_else(|| self.tick_ms.saturating_mul(20));
        Timing { tick: Millis::from(self.tick_ms), min_timeout, max_timeout: max_timeout.max(min_timeout) }
    }

    fn allows(&self, word: &str) -> bool {
        self.four_letter_words.iter().any(|allowed| allowed == "*" || allowed == word)
    }
}

const ANY_ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED);

fn positive(value: &str) -> Option<i32> {
    value.parse().ok().filter(|n| *n > 0)
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A running server. It ends with the group it was started in.
pub struct Server {
    local_addr: SocketAddr,
}

impl Server {
    /// Recovers the state, listens, and starts the tasks. A write that cannot be logged is fatal for the group.
    pub fn start(config: Config, tasks: &Group) -> Result<Self, StartError> {
        let clock = Clock::start();
        let timing = config.timing();
        let (store, model) = match &config.data_dir {
            None => (None, Model::new(timing, clock.now())),
            Some(dir) => {
                let (store, model) = Store::open(dir, config.force_sync, timing, clock.now())?;
                (Some(store), model)
            }
        };
        let listen_failed = |source| StartError::Listen { address: config.client_address, source };
        let listener = listen(config.client_address, tasks).map_err(listen_failed)?;
        let local_addr = listener.local_addr().map_err(listen_failed)?;
        info!(%local_addr, data_dir = ?config.data_dir, tick_ms = config.tick_ms, "ZooKeeper is listening");

        let (mailbox, letters) = mpsc::channel(MAILBOX_CAPACITY);
        let config = Arc::new(Config { client_address: local_addr, ..config });
        let owner = Owner {
            config: Arc::clone(&config),
            clock,
            model,
            store,
            connections: HashMap::new(),
            by_session: HashMap::new(),
            batch: Batch::default(),
            stats: Stats::default(),
            expiry: Expiry { turn: timing.tick, not_before: 0 },
        };
        tasks.spawn("zookeeper-owner", owner.run(letters, tasks.stop_token().clone()));
        tasks.spawn("zookeeper-acceptor", accept(listener, config, mailbox, tasks.clone()));
        Ok(Self { local_addr })
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }
}

fn listen(address: SocketAddr, tasks: &Group) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    // A restart must not wait for the connections of the previous process to be forgotten.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(128)?;
    socket.set_nonblocking(true)?;
    let _runtime = tasks.handle().enter();
    TcpListener::from_std(socket.into())
}

/// The two clocks of [`Now`].
struct Clock {
    started: Instant,
}

impl Clock {
    fn start() -> Self {
        Self { started: Instant::now() }
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis);
        Now { wall, elapsed: self.started.elapsed().as_millis() as Millis }
    }

    fn instant_of(&self, elapsed: Millis) -> Instant {
        self.started + Duration::from_millis(elapsed.max(0) as u64)
    }
}

// ---- the owner ----

type ConnectionId = u64;

/// What connections send to the owner.
enum Letter {
    Connect { connection: Arc<Connection>, request: ConnectRequest },
    Request { connection: ConnectionId, xid: i32, request: Request, received: Instant },
    Word { connection: Arc<Connection>, word: [u8; 4] },
    Closed { connection: ConnectionId },
}

struct Owner {
    config: Arc<Config>,
    clock: Clock,
    model: Model,
    store: Option<Store>,
    connections: HashMap<ConnectionId, (Arc<Connection>, SessionId)>,
    by_session: HashMap<SessionId, ConnectionId>,
    batch: Batch,
    stats: Stats,
    expiry: Expiry,
}

/// When sessions may expire. After a pause of the process or a stall of the disk, what clients sent meanwhile lies in the
/// sockets: the owner, coming late, gives them a turn of a tick before it holds their silence against them.
#[derive(Debug)]
struct Expiry {
    turn: Millis,
    not_before: Millis,
}

impl Expiry {
    /// When to look at the deadlines of sessions, of which `next` is the first.
    fn wake_at(&self, next: Option<Millis>) -> Option<Millis> {
        next.map(|next| next.max(self.not_before))
    }

    /// Whether to expire now what is due; the owner was to look at `planned`.
    fn is_due(&mut self, planned: Option<Millis>, now: Millis) -> bool {
        let Some(planned) = planned.filter(|planned| *planned <= now) else { return false };
        let is_late = now - planned > self.turn;
        if is_late {
            self.not_before = now + self.turn;
        }
        !is_late
    }
}

/// What leaves once the log is on disk.
#[derive(Default)]
struct Batch {
    bytes: Writer,
    out: Vec<Outgoing>,
    /// When the requests of this batch came in.
    received: Vec<Instant>,
}

struct Outgoing {
    to: Arc<Connection>,
    bytes: Range<usize>,
    /// Nothing more follows: the connection closes once this is written.
    last: bool,
}

impl Batch {
    fn send(&mut self, to: &Arc<Connection>, last: bool, write: impl FnOnce(&mut Writer)) {
        let start = self.bytes.bytes.len();
        write(&mut self.bytes);
        self.out.push(Outgoing { to: Arc::clone(to), bytes: start..self.bytes.bytes.len(), last });
    }

    fn release(&mut self) {
        for Outgoing { to, bytes, last } in self.out.drain(..) {
            to.push(&self.bytes.bytes[bytes], last);
        }
        self.bytes.bytes.clear();
        // One large answer must not be remembered forever.
        self.bytes.bytes.shrink_to(OUTGOING_PAUSE);
    }
}

#[derive(Default)]
struct Stats {
    received: u64,
    sent: u64,
    latency_min: u64,
    latency_max: u64,
    latency_sum: u64,
    answered: u64,
}

impl Stats {
    fn answered(&mut self, latency: Duration) {
        let ms = latency.as_millis() as u64;
        self.latency_min = if self.answered == 0 { ms } else { self.latency_min.min(ms) };
        self.latency_max = self.latency_max.max(ms);
        self.latency_sum += ms;
        self.answered += 1;
    }

    fn latency_avg(&self) -> f64 {
        if self.answered == 0 { 0.0 } else { self.latency_sum as f64 / self.answered as f64 }
    }
}

impl Owner {
    /// Ends with the group, or by a panic (fatal for the group) when the log cannot be written.
    async fn run(mut self, mut letters: mpsc::Receiver<Letter>, stop: CancellationToken) {
        loop {
            let planned = self.expiry.wake_at(self.model.next_deadline());
            let wait = async {
                match planned {
                    Some(at) => tokio::time::sleep_until(self.clock.instant_of(at)).await,
                    None => std::future::pending().await,
                }
            };
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                letter = letters.recv() => match letter {
                    Some(letter) => Some(letter),
                    None => return,
                },
                () = wait => None,
            };
            let now = self.clock.now();
            if let Some(letter) = first {
                self.take(letter, now);
                for _ in 1..BATCH_MAX {
                    let Ok(letter) = letters.try_recv() else { break };
                    self.take(letter, now);
                }
            }
            if self.expiry.is_due(planned, now.elapsed) {
                let mut effects = Effects::default();
                self.model.expire(now, &mut effects);
                self.carry_out(effects);
            }
            if let Err(e) = self.commit().await {
                error!(error = %e, "log of the development ZooKeeper");
                panic!("a write that was not logged must not be answered");
            }
            self.release();
        }
    }

    fn take(&mut self, letter: Letter, now: Now) {
        match letter {
            Letter::Connect { connection, request } => self.connect(connection, &request, now),
            Letter::Request { connection, xid, request, received } => {
                self.request(connection, xid, request, received, now);
            }
            Letter::Word { connection, word } => {
                let text = self.four_letter_word(&word);
                self.batch.send(&connection, true, |w| w.bytes.extend_from_slice(text.as_bytes()));
            }
            Letter::Closed { connection } => {
                if let Some((_, session)) = self.connections.remove(&connection) {
                    self.by_session.remove(&session);
                    self.model.detach_session(session);
                }
            }
        }
    }

    fn connect(&mut self, connection: Arc<Connection>, request: &ConnectRequest, now: Now) {
        self.stats.received += 1;
        if request.last_zxid_seen > self.model.last_zxid() {
            // The client has seen a later state than ours: it must not read an older one from us.
            warn!(client = %connection.address, seen = request.last_zxid_seen, ours = self.model.last_zxid(), "refused");
            return connection.push(&[], true);
        }
        let mut effects = Effects::default();
        let session = if request.session == 0 {
            let password = rand::random();
            let address = connection.address.to_string();
            let (id, timeout) = self.model.open_session(now, &address, request.timeout_ms, password, &mut effects);
            Some((id, timeout, password))
        } else {
            self.drop_connection_of(request.session);
            let address = connection.address.to_string();
            let id = request.session;
            self.model.attach_session(now, &address, id, request.timeout_ms, &request.password).and_then(|timeout| {
                let password = request.password[..].try_into().ok()?;
                Some((id, timeout, password))
            })
        };
        self.carry_out(effects);
        debug!(client = %connection.address, asked = request.session, got = ?session.map(|(id, ..)| id), "session");
        if let Some((id, ..)) = session {
            self.by_session.insert(id, connection.id);
            self.connections.insert(connection.id, (Arc::clone(&connection), id));
        }
        self.batch.send(&connection, session.is_none(), |w| {
            wire::write_connect_reply(w, session, request.read_only.is_some());
        });
    }

    /// A session that moved leaves its old connection; what that connection still sends is not heard.
    fn drop_connection_of(&mut self, session: SessionId) {
        let Some(id) = self.by_session.remove(&session) else { return };
        if let Some((connection, _)) = self.connections.remove(&id) {
            self.batch.send(&connection, true, |_| {});
        }
    }

    fn request(&mut self, connection: ConnectionId, xid: i32, request: Request, received: Instant, now: Now) {
        let Some((connection, session)) = self.connections.get(&connection) else { return };
        let (connection, session) = (Arc::clone(connection), *session);
        self.stats.received += 1;
        self.batch.received.push(received);
        let mut effects = Effects::default();
        let reply = self.model.request(now, session, request, &mut effects);
        let ended = std::mem::take(&mut effects.ended);
        self.carry_out(effects);
        let refused = reply.result == Err(Code::AuthFailed);
        self.batch.send(&connection, refused, |w| wire::write_reply(w, xid, reply.zxid, &reply.result));
        self.carry_out(Effects { ended, ..Effects::default() });
    }

    fn carry_out(&mut self, effects: Effects) {
        if let Some(store) = &mut self.store {
            for transaction in &effects.log {
                store.append(transaction);
            }
        }
        for (session, event) in effects.events {
            let connection = self.by_session.get(&session).and_then(|id| self.connections.get(id));
            if let Some((connection, _)) = connection {
                self.batch.send(connection, false, |w| wire::write_event(w, &event));
            }
        }
        for session in effects.ended {
            debug!(session = %format_args!("{session:#x}"), "session ended");
            self.drop_connection_of(session);
        }
    }

    async fn commit(&mut self) -> Result<(), StoreError> {
        let Some(mut store) = self.store.take() else { return Ok(()) };
        if store.has_pending() {
            // An entry of the log is in the model already, so a snapshot of now covers the log up to here.
            let snapshot = store.snapshot_due().then(|| (self.model.last_zxid(), store::write_snapshot(&self.model)));
            let done = tokio::task::spawn_blocking(move || {
                let result = store.commit().and_then(|()| match snapshot {
                    Some((zxid, bytes)) => store.install_snapshot(zxid, &bytes),
                    None => Ok(()),
                });
                (store, result)
            });
            let result;
            (store, result) = done.await.expect("the store does not panic");
            result?;
        }
        self.store = Some(store);
        Ok(())
    }

    fn release(&mut self) {
        self.stats.sent += self.batch.out.len() as u64;
        self.batch.release();
        let now = Instant::now();
        for received in self.batch.received.drain(..) {
            self.stats.answered(now - received);
        }
    }

    // ---- four-letter words ----

    fn four_letter_word(&self, word: &[u8; 4]) -> String {
        let word = String::from_utf8_lossy(word);
        if !self.config.allows(&word) {
            return format!("{word} is not executed because it is not in the whitelist.\n");
        }
        match &*word {
            "ruok" => "imok".to_owned(),
            "isro" => "rw".to_owned(),
            "srvr" => format!("Zookeeper version: {VERSION}\n{}", self.summary()),
            "stat" => format!("Zookeeper version: {VERSION}\nClients:\n{}\n{}", self.clients(), self.summary()),
            "cons" => format!("{}\n", self.clients()),
            "conf" => self.configuration(),
            "mntr" => self.monitor(),
            _ => format!(
                "Environment:\nzookeeper.version={VERSION}\nos.name={}\nos.arch={}\n",
                std::env::consts::OS,
                std::env::consts::ARCH
            ),
        }
    }

    fn summary(&self) -> String {
        let Stats { received, sent, latency_min, latency_max, .. } = self.stats;
        format!(
            "Latency min/avg/max: {latency_min}/{:.4}/{latency_max}\nReceived: {received}\nSent: {sent}\n\
             Connections: {}\nOutstanding: 0\nZxid: {:#x}\nMode: standalone\nNode count: {}\n",
            self.stats.latency_avg(),
            self.connections.len(),
            self.model.last_zxid(),
            self.znode_count(),
        )
    }

    /// ZooKeeper counts the root twice.
    fn znode_count(&self) -> usize {
        self.model.tree().count() + 1
    }

    fn clients(&self) -> String {
        let line = |(connection, session): &(Arc<Connection>, SessionId)| {
            format!(" /{}:{}[1](sid={session:#x})\n", connection.address, connection.port)
        };
        self.connections.values().map(line).collect()
    }

    fn configuration(&self) -> String {
        let (config, timing) = (&self.config, self.config.timing());
        let data_dir = config.data_dir.as_ref().map_or_else(String::new, |dir| dir.display().to_string());
        format!(
            "clientPort={}\ndataDir={data_dir}\ntickTime={}\nmaxClientCnxns={}\nminSessionTimeout={}\n\
             maxSessionTimeout={}\nserverId=0\n",
            config.client_address.port(),
            config.tick_ms,
            config.max_client_cnxns,
            timing.min_timeout,
            timing.max_timeout,
        )
    }

    fn monitor(&self) -> String {
        let tree = self.model.tree();
        let data_size: usize =
            tree.nodes().map(|(path, node)| path.len() + node.data.as_ref().map_or(0, |d| d.len())).sum();
        let values = [
            ("version", VERSION.to_owned()),
            ("server_state", "standalone".to_owned()),
            ("avg_latency", format!("{:.4}", self.stats.latency_avg())),
            ("max_latency", self.stats.latency_max.to_string()),
            ("min_latency", self.stats.latency_min.to_string()),
            ("packets_received", self.stats.received.to_string()),
            ("packets_sent", self.stats.sent.to_string()),
            ("num_alive_connections", self.connections.len().to_string()),
            ("outstanding_requests", "0".to_owned()),
            ("znode_count", self.znode_count().to_string()),
            ("watch_count", self.model.watch_count().to_string()),
            ("ephemerals_count", tree.ephemerals_count().to_string()),
            ("approximate_data_size", data_size.to_string()),
            ("global_sessions", self.model.sessions().len().to_string()),
            ("uptime", self.clock.started.elapsed().as_millis().to_string()),
        ];
        values.iter().map(|(name, value)| format!("zk_{name}\t{value}\n")).collect()
    }
}

// ---- connections ----

/// What the owner knows of a connection, and how it hands it bytes.
struct Connection {
    id: ConnectionId,
    address: IpAddr,
    port: u16,
    waiting: Mutex<Waiting>,
    /// Something was handed over.
    filled: Notify,
    /// Something was taken for the socket.
    drained: Notify,
}

/// Bytes for the client.
#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    last: bool,
    /// The client left too much unread.
    overrun: bool,
}

impl Connection {
    /// Never waits: a client that does not read costs itself, not the others.
    fn push(&self, bytes: &[u8], last: bool) {
        {
            let mut waiting = self.waiting.lock();
            if waiting.last {
                return;
            }
            waiting.last = last;
            if waiting.bytes.len() + bytes.len() > OUTGOING_MAX {
                waiting.overrun = true;
                waiting.bytes = Vec::new();
            } else if !waiting.overrun {
                waiting.bytes.extend_from_slice(bytes);
            }
        }
        self.filled.notify_one();
    }

    /// Writes what is handed over until it was the last or the client is given up.
    async fn write_to(&self, mut socket: OwnedWriteHalf) -> io::Result<()> {
        loop {
            let (bytes, last) = {
                let mut waiting = self.waiting.lock();
                if waiting.overrun {
                    warn!(client = %self.address, "client does not read; closed");
                    return Ok(());
                }
                (std::mem::take(&mut waiting.bytes), waiting.last)
            };
            if !bytes.is_empty() {
                self.drained.notify_one();
                socket.write_all(&bytes).await?;
                continue;
            }
            if last {
                return socket.shutdown().await;
            }
            self.filled.notified().await;
        }
    }

    /// Waits until the client has taken enough of its replies.
    async fn has_room(&self) {
        while self.waiting.lock().bytes.len() > OUTGOING_PAUSE {
            self.drained.notified().await;
        }
    }
}

async fn accept(listener: TcpListener, config: Arc<Config>, mailbox: mpsc::Sender<Letter>, tasks: Group) {
    let stop = tasks.stop_token().clone();
    let per_address: Arc<Mutex<HashMap<IpAddr, usize>>> = Arc::default();
    let mut next_id = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, mostly: it passes, and must not be retried at full speed.
                warn!(error = %e, "accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Some(place) = Place::take(&per_address, peer.ip(), config.max_client_cnxns) else {
            warn!(client = %peer.ip(), max = config.max_client_cnxns, "too many connections from one address");
            continue;
        };
        next_id += 1;
        let connection = Arc::new(Connection {
            id: next_id,
            address: peer.ip(),
            port: peer.port(),
            waiting: Mutex::default(),
            filled: Notify::new(),
            drained: Notify::new(),
        });
        let served = serve(socket, connection, Arc::clone(&config), mailbox.clone(), stop.clone());
        tasks.spawn_isolated("zookeeper-connection", async move {
            served.await;
            drop(place);
        });
    }
}

/// One of the connections that an address may have.
struct Place {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Place {
    fn take(counts: &Arc<Mutex<HashMap<IpAddr, usize>>>, address: IpAddr, max: usize) -> Option<Self> {
        let mut locked = counts.lock();
        let count = locked.entry(address).or_default();
        if max > 0 && *count >= max {
            return None;
        }
        *count += 1;
        Some(Self { counts: Arc::clone(counts), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.counts.lock();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

async fn serve(
    socket: TcpStream,
    connection: Arc<Connection>,
    config: Arc<Config>,
    mailbox: mpsc::Sender<Letter>,
    stop: CancellationToken,
) {
    if let Err(e) = socket.set_nodelay(true) {
        debug!(error = %e, "nodelay");
    }
    let (read_half, write_half) = socket.into_split();
    let frames = Frames { socket: read_half, buffer: BytesMut::new(), max: config.max_frame };
    let ended = tokio::select! {
        biased;
        () = stop.cancelled() => Ok(()),
        written = connection.write_to(write_half) => written,
        read = read_requests(frames, &connection, &mailbox) => read,
    };
    if let Err(e) = ended {
        debug!(client = %connection.address, error = %e, "connection");
    }
    // The owner is gone only when the server stops.
    if mailbox.send(Letter::Closed { connection: connection.id }).await.is_err() {
        debug!("closed after the server");
    }
}

async fn read_requests(
    mut frames: Frames,
    connection: &Arc<Connection>,
    mailbox: &mpsc::Sender<Letter>,
) -> io::Result<()> {
    let first = tokio::time::timeout(SESSIONLESS_TIMEOUT, frames.first()).await;
    let letter = match first.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
        None => return Ok(()),
        Some(First::Word(word)) => Letter::Word { connection: Arc::clone(connection), word },
        Some(First::Frame(body)) => {
            let request = ConnectRequest::read(&body).map_err(io::Error::other)?;
            Letter::Connect { connection: Arc::clone(connection), request }
        }
    };
    let is_word = matches!(letter, Letter::Word { .. });
    mailbox.send(letter).await.map_err(io::Error::other)?;
    if is_word {
        // A netcat closes its side at once and still wants the answer, which ends the connection.
        return std::future::pending().await;
    }
    while let Some(body) = frames.next().await? {
        let received = Instant::now();
        let mut r = Reader::new(&body);
        let (xid, op) = wire::read_header(&mut r).map_err(io::Error::other)?;
        let request = Request::read(op, &mut r).unwrap_or(Request::Malformed);
        let letter = Letter::Request { connection: connection.id, xid, request, received };
        mailbox.send(letter).await.map_err(io::Error::other)?;
        connection.has_room().await;
    }
    Ok(())
}

/// Frames from a socket.
struct Frames {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    /// Bytes of the largest frame.
    max: usize,
}

enum First {
    Word([u8; 4]),
    Frame(BytesMut),
}

/// Bytes asked of the socket at a time. A frame is never given room by the length that it claims.
const READ_BYTES: usize = 8 << 10;

impl Frames {
    /// None: the client closed the connection.
    async fn first(&mut self) -> io::Result<Option<First>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let word = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        if FOUR_LETTER_WORDS.contains(&&word) {
            return Ok(Some(First::Word(word)));
        }
        Ok(self.next().await?.map(First::Frame))
    }

    /// Cancel safe: bytes of a frame that is not whole stay in the buffer. None: the client closed the connection.
    async fn next(&mut self) -> io::Result<Option<BytesMut>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let claimed = (&self.buffer[..4]).get_i32();
        let length = usize::try_from(claimed).ok().filter(|length| *length <= self.max);
        let length = length.ok_or_else(|| io::Error::other(format!("frame of {claimed} bytes")))?;
        if !self.fill(4 + length).await? {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length)))
    }

    /// Reads until `wanted` bytes are there; false if the client closes before.
    async fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.buffer.len() < wanted {
            self.buffer.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

const FOUR_LETTER_WORDS: [&[u8; 4]; 8] = [b"ruok", b"srvr", b"stat", b"mntr", b"conf", b"cons", b"envi", b"isro"];

#[cfg(test)]
mod tests;
