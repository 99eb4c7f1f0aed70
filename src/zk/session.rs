//! Owns the session with the ensemble: one task that dials, keeps the session alive, sends requests in order and resends
//! those whose answer was lost. Kafka: `kafka.zookeeper.ZooKeeperClient`; ZooKeeper: `ClientCnxn`.
//!
//! * Only a server ends a session. While no server answers, the task goes on dialling with the old session, for ever.
//! * A request whose connection broke is sent again on the next one, as Kafka's `retryRequestsUntilConnected` does with
//!   every request. So a write may be applied twice, and its second answer is NODEEXISTS, NONODE or BADVERSION: who
//!   writes reads back before it believes such an answer.
//! * A session that the server declares expired fails what was in flight, counts up [`Session::generation`], and a new one
//!   is opened at once. What held ephemeral nodes or watches sees the new generation and starts over.
//! * Host names are resolved at every dial, and all their addresses tried (`ensemble` says in which order).
//! * An ensemble that turns out not to be that of our cluster, because it came back empty or the name leads elsewhere, is not
//!   joined: for those above, ZooKeeper is away.
//!
//! Who has SASL credentials proves them first on every connection, as ZooKeeper's own client does.
//!
//! Absent on purpose: TLS (a connection is plain TCP), SASL by Kerberos, read-only servers.

pub mod sasl;
pub(crate) mod wire;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use self::sasl::{Credentials, Exchange};
use self::wire::{ReplyHeader, Welcome, code, xid};
use super::client::Error;
use super::data::cluster::decode_cluster_id;
use super::ensemble::{self, Met, Refusals};
use super::watch::{Address, Armed, Change, WatchKind};
use crate::util::rate_limit::RateLimit;
use crate::zookeeper::jute::{Malformed, Reader, Writer};
use crate::zookeeper::wire::op;

/// What Kafka sets as its client's `jute.maxbuffer`. A larger answer fails its request.
const MAX_REPLY_BYTES: usize = 4 << 20;

/// Requests stop being taken from the queue while this much waits to be written to the socket.
const MAX_UNWRITTEN_BYTES: usize = 1 << 20;

/// The most that one SetWatches carries, as in ZooKeeper's own client: its server refuses packets near a megabyte.
const SET_WATCHES_BYTES: usize = 128 << 10;

/// The longest pause between two rounds over the servers.
const REDIAL_PAUSE_MS_MAX: u64 = 1_000;

/// Room that a read from the socket should find.
const READ_ROOM_BYTES: usize = 4 << 10;

/// The longest answer of a handshake or of SASL.
const MAX_GREETING_BYTES: usize = 64 << 10;

const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Paces what is said of an ensemble that is not joined.
static NOT_JOINED: RateLimit = RateLimit::every(Duration::from_secs(10));

/// What a client without a session sends in place of one.
const NO_PASSWORD: [u8; 16] = [0; 16];

/// How the session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No session yet, or the last one expired: a new one is being opened.
    Connecting,
    Connected,
    /// The connection broke; the session may still live.
    Disconnected,
    /// The servers refuse our credentials. Dialling goes on: the operator may repair them.
    AuthFailed,
    /// Ended by us.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Counts the sessions of this client from 0. A new number: the ephemeral nodes and watches of the old are gone.
    pub generation: u64,
    /// What `ephemeralOwner` shows. 0 before there is one.
    pub id: i64,
    pub phase: Phase,
}

/// Asks a read to arm a watch.
pub(super) struct Arming {
    pub(super) kind: WatchKind,
    pub(super) path: String,
    pub(super) address: Address,
}

/// One request on its way.
pub(super) struct Request {
    pub(super) op: i32,
    pub(super) body: Bytes,
    pub(super) arming: Option<Arming>,
    /// The only generation that may send it; None: any.
    pub(super) generation: Option<u64>,
    pub(super) reply: oneshot::Sender<Result<Bytes, Error>>,
}

/// How the task is to behave.
pub(super) struct Settings {
    /// `host:port` of every server.
    pub(super) servers: Vec<String>,
    pub(super) session_timeout: Duration,
    /// How long the first connection may take.
    pub(super) connection_timeout: Duration,
    /// Where `/cluster/id` is, under the chroot.
    pub(super) cluster_id_path: String,
    /// The id of our cluster, once it is known: from then on no session of another ensemble is taken.
    pub(super) cluster_id: Arc<OnceLock<String>>,
    /// `zookeeper.max.in.flight.requests`
    pub(super) max_in_flight: usize,
    /// Scheme and credentials, sent first on every connection.
    pub(super) auth: Vec<(String, Vec<u8>)>,
    /// Whom SASL is to prove that we are.
    pub(super) sasl: Option<Credentials>,
}

pub(super) struct Driver {
    settings: Settings,
    queue: mpsc::Receiver<Request>,
    state: watch::Sender<Session>,
    stop: CancellationToken,
    password: Vec<u8>,
    /// What the server granted; ours before it did.
    granted: Duration,
    last_zxid: i64,
    next_xid: i32,
    /// Rounds over the servers since we were connected.
    rounds: u32,
    refusals: Refusals,
    /// Sent and not answered, oldest first; after a break, to be sent again.
    in_flight: VecDeque<(i32, Request)>,
    armed: Armed,
}

/// Why a connection ended.
enum End {
    Lost(String),
    Expired,
    AuthFailed,
    Stopped,
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

impl From<Malformed> for End {
    fn from(error: Malformed) -> Self {
        Self::Lost(error.to_string())
    }
}

impl Driver {
    pub(super) fn new(
        settings: Settings,
        queue: mpsc::Receiver<Request>,
        state: watch::Sender<Session>,
        stop: CancellationToken,
    ) -> Self {
        let granted = settings.session_timeout;
        Self {
            settings,
            queue,
            state,
            stop,
            password: NO_PASSWORD.to_vec(),
            granted,
            last_zxid: 0,
            next_xid: 1,
            rounds: 0,
            refusals: Refusals::default(),
            in_flight: VecDeque::new(),
            armed: Armed::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            let connection = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                connection = self.dial() => connection,
            };
            let Some((server, stream)) = connection else { continue };
            let since = Instant::now();
            match self.serve(stream).await {
                End::Stopped => break,
                End::Expired => self.expire(),
                End::AuthFailed => {
                    warn!(%server, "ZooKeeper refuses our credentials");
                    self.enter(Phase::AuthFailed);
                    self.fail_in_flight(&Error::AuthFailed);
                }
                End::Lost(why) => {
                    warn!(%server, why, "connection to ZooKeeper lost");
                    self.enter(Phase::Disconnected);
                }
            }
            // Who takes the handshake and then drops us again must not be dialled in a tight loop.
            let earliest = since + Duration::from_millis(REDIAL_PAUSE_MS_MAX);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(earliest) => {}
            }
        }
        self.enter(Phase::Closed);
        self.fail_in_flight(&Error::Closed);
        self.queue.close();
        while let Ok(request) = self.queue.try_recv() {
            answer(request, Err(Error::Closed));
        }
    }

    fn enter(&self, phase: Phase) {
        self.state.send_modify(|session| session.phase = phase);
    }

    fn fail_in_flight(&mut self, error: &Error) {
        for (_, request) in self.in_flight.drain(..) {
            answer(request, Err(error.clone()));
        }
    }

    fn expire(&mut self) {
        let Session { id, .. } = *self.state.borrow();
        warn!(session = format!("0x{id:x}"), "ZooKeeper session expired");
        self.armed.clear();
        self.password = NO_PASSWORD.to_vec();
        self.state.send_modify(|session| {
            *session = Session { generation: session.generation + 1, id: 0, phase: Phase::Connecting };
        });
        self.fail_in_flight(&Error::SessionExpired);
    }

    /// One round over the servers in random order. None when none of them took us; it has then paused.
    async fn dial(&mut self) -> Option<(SocketAddr, TcpStream)> {
        let Session { generation, id, .. } = *self.state.borrow();
        let is_first = generation == 0 && id == 0;
        let limit = if is_first { self.granted.min(self.settings.connection_timeout) } else { self.granted };
        let names = self.settings.servers.len();
        let addresses = self.resolve(ensemble::patience(limit, names, self.rounds)).await;
        let patience = ensemble::patience(limit, addresses.len(), self.rounds);
        let mut met = Vec::with_capacity(addresses.len());
        for address in &addresses {
            match self.try_greeting(*address, patience, false).await {
                Ok(stream) => return Some((*address, stream)),
                Err(Refused::SessionGone) => {
                    self.expire();
                    return None;
                }
                Err(refused) => met.push(refused.met()),
            }
        }
        let now = Instant::now();
        self.rounds = self.rounds.saturating_add(1);
        self.refusals.note(now, &met);
        // Where nothing was seen yet, the greeting was that of a stranger already.
        if self.last_zxid > 0 && self.refusals.outlast(now, self.granted) {
            for address in &addresses {
                if let Ok(stream) = self.try_greeting(*address, patience, true).await {
                    return Some((*address, stream));
                }
            }
        }
        let pause = rand::random_range(REDIAL_PAUSE_MS_MAX / 10..=REDIAL_PAUSE_MS_MAX);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        None
    }

    /// Every address of the ensemble. A name that cannot be resolved, or not within `patience`, is left out.
    async fn resolve(&self, patience: Duration) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for name in &self.settings.servers {
            match timeout(patience, lookup_host(name)).await {
                Ok(Ok(found)) => addresses.extend(found),
                Ok(Err(error)) => debug!(name, %error, "cannot resolve a name of ZooKeeper"),
                Err(_) => debug!(name, "a name of ZooKeeper is not resolved in time"),
            }
        }
        ensemble::order(addresses)
    }

    async fn try_greeting(
        &mut self,
        address: SocketAddr,
        patience: Duration,
        as_stranger: bool,
    ) -> Result<TcpStream, Refused> {
        let greeted = timeout(patience, self.greet(address, as_stranger)).await.unwrap_or(Err(Refused::Silent));
        match &greeted {
            Err(Refused::Connect(error)) => debug!(%address, %error, "cannot connect to ZooKeeper"),
            Err(Refused::Io(error)) => debug!(%address, %error, "ZooKeeper does not greet us"),
            Err(Refused::Closed) => debug!(%address, "ZooKeeper closes the connection in place of an answer"),
            Err(Refused::Silent) => debug!(%address, "no answer from ZooKeeper in time"),
            Err(Refused::Sasl(reason)) => {
                warn!(%address, reason, "ZooKeeper does not take our SASL credentials");
                self.enter(Phase::AuthFailed);
            }
            Err(Refused::Foreign { found }) => {
                if let Some(left_out) = NOT_JOINED.permit() {
                    let ours = self.settings.cluster_id.get();
                    error!(
                        %address,
                        ?found,
                        ?ours,
                        left_out,
                        "/cluster/id is not ours: not joining. Restore ZooKeeper's data or correct zookeeper.connect"
                    );
                }
            }
            Ok(_) | Err(Refused::SessionGone) => {}
        }
        greeted
    }

    /// Connects and opens or resumes the session. As a stranger, we have seen nothing and have no session: whether a server
    /// that closes our greeting takes anyone. One that takes the stranger has given our session up.
    async fn greet(&mut self, address: SocketAddr, as_stranger: bool) -> Result<TcpStream, Refused> {
        let mut stream = TcpStream::connect(address).await.map_err(Refused::Connect)?;
        stream.set_nodelay(true)?;
        let known = self.state.borrow().id;
        let wished = i32::try_from(self.settings.session_timeout.as_millis()).unwrap_or(i32::MAX);
        let greeting = if as_stranger {
            wire::handshake(0, wished, 0, &NO_PASSWORD)
        } else {
            wire::handshake(self.last_zxid, wished, known, &self.password)
        };
        let greeted = async {
            stream.write_all(&greeting).await?;
            read_packet(&mut stream).await
        };
        let body = greeted.await.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                Refused::Closed
            }
            _ => Refused::Io(error),
        })?;
        let welcome = Welcome::decode(&body).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        if welcome.timeout_ms <= 0 {
            if known == 0 || as_stranger {
                return Err(io::Error::other("refused to open a session").into());
            }
            return Err(Refused::SessionGone);
        }
        if let Some(who) = &self.settings.sasl {
            Self::authenticate(&mut stream, who).await?;
        }
        let is_resumed = known == welcome.session;
        if !is_resumed {
            self.check_cluster(&mut stream).await?;
        }
        let session = format!("0x{:x}", welcome.session);
        if as_stranger {
            warn!(
                last_zxid = format!("0x{:x}", self.last_zxid),
                "ZooKeeper refuses our session and takes a new one: it is older than what we have seen, perhaps restored"
            );
            if known != 0 {
                self.expire();
            }
            self.last_zxid = 0;
        }
        self.granted = Duration::from_millis(welcome.timeout_ms.unsigned_abs().into());
        self.password = welcome.password;
        if is_resumed {
            info!(%address, session, "ZooKeeper session resumed");
        } else {
            info!(%address, session, timeout_ms = welcome.timeout_ms, "ZooKeeper session established");
        }
        self.state.send_modify(|session| session.id = welcome.session);
        self.rounds = 0;
        self.refusals.end();
        Ok(stream)
    }

    /// A new session is taken only where `/cluster/id` says that the ensemble is ours: an empty one would have us register
    /// and elect, and take everything for deleted.
    async fn check_cluster(&self, stream: &mut TcpStream) -> Result<(), Refused> {
        let Some(ours) = self.settings.cluster_id.get() else { return Ok(()) };
        let mut body = Writer::default();
        body.string(&self.settings.cluster_id_path);
        body.bool(false);
        let mut out = BytesMut::new();
        wire::put_request(&mut out, xid::FIRST, op::GET_DATA, &body.bytes);
        stream.write_all(&out).await?;
        let packet = read_packet(stream).await?;
        let malformed = |e: Malformed| io::Error::new(io::ErrorKind::InvalidData, e);
        let mut reader = Reader::new(&packet);
        let found = match ReplyHeader::read(&mut reader).map_err(malformed)?.error {
            0 => decode_cluster_id(reader.slice().map_err(malformed)?).ok(),
            code::NO_NODE => None,
            other => return Err(io::Error::other(Error::from_code(other)).into()),
        };
        if found.as_ref() == Some(ours) {
            return Ok(());
        }
        // So that it does not linger until it expires. Not waited for: the connection ends anyway.
        let mut out = BytesMut::new();
        wire::put_request(&mut out, xid::FIRST, op::CLOSE_SESSION, &[]);
        stream.write_all(&out).await?;
        Err(Refused::Foreign { found })
    }

    /// Proves who we are. A server that does not know SASL answers without a token: it is refused, as Java does.
    async fn authenticate(stream: &mut TcpStream, who: &Credentials) -> Result<(), Refused> {
        let challenge = sasl_step(stream, &[]).await?;
        let cnonce = format!("{:032x}", rand::random::<u128>());
        let exchange = Exchange::answer(who, &challenge, &cnonce).map_err(|e| Refused::Sasl(e.to_string()))?;
        let proof = sasl_step(stream, &exchange.response).await?;
        exchange.check(&proof).map_err(|e| Refused::Sasl(e.to_string()))
    }

    /// Works on one connection until it ends.
    async fn serve(&mut self, mut stream: TcpStream) -> End {
        match self.exchange(&mut stream).await {
            Ok(never) => match never {},
            Err(End::Stopped) => {
                let goodbye = async {
                    let mut out = BytesMut::new();
                    wire::put_request(&mut out, self.next_xid, op::CLOSE_SESSION, &[]);
                    stream.write_all(&out).await?;
                    // The server answers and closes; reading to the end makes sure that it has seen the request.
                    tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
                };
                if !matches!(timeout(CLOSE_WITHIN, goodbye).await, Ok(Ok(_))) {
                    debug!("ZooKeeper did not confirm the end of the session");
                }
                End::Stopped
            }
            Err(end) => end,
        }
    }

    async fn exchange(&mut self, stream: &mut TcpStream) -> Result<std::convert::Infallible, End> {
        let (mut from_server, mut to_server) = stream.split();
        let mut unwritten = BytesMut::new();
        let mut input = BytesMut::with_capacity(64 << 10);
        // Bytes of an answer that is too long and is thrown away as it comes.
        let mut skip = 0_usize;
        self.start_over(&mut unwritten);
        let mut last_sent = Instant::now();
        let mut last_heard = Instant::now();
        self.enter(Phase::Connected);
        loop {
            if input.capacity() - input.len() < READ_ROOM_BYTES {
                input.reserve(16 * READ_ROOM_BYTES);
            }
            let ping_at = last_sent + self.granted / 3;
            let dead_at = last_heard + self.granted * 2 / 3;
            let has_room = self.in_flight.len() < self.settings.max_in_flight && unwritten.len() < MAX_UNWRITTEN_BYTES;
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                written = to_server.write_buf(&mut unwritten), if !unwritten.is_empty() => {
                    if written? == 0 {
                        return Err(End::Lost("connection closed".to_owned()));
                    }
                    last_sent = Instant::now();
                }
                read = from_server.read_buf(&mut input) => {
                    if read? == 0 {
                        return Err(End::Lost("closed by the server".to_owned()));
                    }
                    last_heard = Instant::now();
                    self.take_packets(&mut input, &mut skip)?;
                }
                () = sleep_until(ping_at.min(dead_at)) => {
                    if Instant::now() >= dead_at {
                        return Err(End::Lost("no sign of the server".to_owned()));
                    }
                    wire::put_request(&mut unwritten, xid::PING, op::PING, &[]);
                    last_sent = Instant::now();
                }
                request = self.queue.recv(), if has_room => {
                    // The queue ends with the last client; nobody can be told anything any more.
                    let request = request.ok_or(End::Stopped)?;
                    self.send(request, &mut unwritten);
                }
            }
        }
    }

    /// What goes first on a new connection: credentials, the watches of the session, requests without an answer.
    fn start_over(&mut self, out: &mut BytesMut) {
        for (scheme, credentials) in &self.settings.auth {
            let mut w = Writer::default();
            w.int(0);
            w.string(scheme);
            w.buffer(Some(credentials));
            wire::put_request(out, xid::AUTH, op::AUTH, &w.bytes);
        }
        for body in set_watches(self.last_zxid, self.armed.paths()) {
            wire::put_request(out, xid::SET_WATCHES, op::SET_WATCHES, &body);
        }
        for (xid, request) in &self.in_flight {
            wire::put_request(out, *xid, request.op, &request.body);
        }
    }

    fn send(&mut self, request: Request, out: &mut BytesMut) {
        let current = self.state.borrow().generation;
        if request.generation.is_some_and(|wanted| wanted != current) {
            answer(request, Err(Error::SessionExpired));
            return;
        }
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        wire::put_request(out, xid, request.op, &request.body);
        self.in_flight.push_back((xid, request));
    }

    fn take_packets(&mut self, input: &mut BytesMut, skip: &mut usize) -> Result<(), End> {
        loop {
            let skipped = input.len().min(*skip);
            input.advance(skipped);
            *skip -= skipped;
            let Some(length) = input.first_chunk::<4>() else { return Ok(()) };
            let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| Malformed("negative length"))?;
            let needed = length.min(MAX_REPLY_BYTES);
            if length > MAX_REPLY_BYTES {
                if input.len() < 4 + ReplyHeader::LEN {
                    return Ok(());
                }
                input.advance(4);
                let header = ReplyHeader::read(&mut Reader::new(input))?;
                input.advance(ReplyHeader::LEN);
                *skip = length - ReplyHeader::LEN;
                if let Some((xid, request)) = self.in_flight.pop_front() {
                    if xid != header.xid {
                        return Err(End::Lost(format!("answer {} where {xid} was due", header.xid)));
                    }
                    answer(request, Err(Error::TooLarge { bytes: length, limit: MAX_REPLY_BYTES }));
                }
                continue;
            }
            if input.len() < 4 + needed {
                input.reserve(4 + needed - input.len());
                return Ok(());
            }
            input.advance(4);
            let packet = input.split_to(needed).freeze();
            self.take_packet(&packet)?;
        }
    }

    fn take_packet(&mut self, packet: &Bytes) -> Result<(), End> {
        let mut reader = Reader::new(packet);
        let header = ReplyHeader::read(&mut reader)?;
        match header.xid {
            xid::PING => return Ok(()),
            xid::SET_WATCHES if header.error == 0 => return Ok(()),
            xid::AUTH if header.error == 0 => return Ok(()),
            xid::AUTH => return Err(End::AuthFailed),
            xid::EVENT => {
                let kind = reader.int()?;
                let _state = reader.int()?;
                let path = reader.string()?;
                if let Some(change) = Change::from_wire(kind) {
                    self.armed.fire(change, &path);
                }
                return Ok(());
            }
            _ => {}
        }
        match header.error {
            code::SESSION_EXPIRED => return Err(End::Expired),
            code::AUTH_FAILED => return Err(End::AuthFailed),
            // The request stays in flight and goes out again on the next connection.
            code::CONNECTION_LOSS | code::SESSION_MOVED => return Err(End::Lost("the server gave up".to_owned())),
            _ => {}
        }
        if header.zxid > 0 {
            self.last_zxid = header.zxid;
        }
        let Some((xid, request)) = self.in_flight.pop_front() else {
            return Err(End::Lost(format!("answer {} to no request", header.xid)));
        };
        if xid != header.xid {
            let why = format!("answer {} where {xid} was due", header.xid);
            self.in_flight.push_front((xid, request));
            return Err(End::Lost(why));
        }
        if let Some(Arming { kind, path, address }) = &request.arming {
            match header.error {
                // Asking whether a missing node exists waits for its creation, in a list of its own.
                code::NO_NODE if *kind == WatchKind::Exists => self.armed.arm(*kind, path, address.clone()),
                0 if *kind == WatchKind::Exists => self.armed.arm(WatchKind::Data, path, address.clone()),
                0 => self.armed.arm(*kind, path, address.clone()),
                _ => {}
            }
        }
        let body = packet.slice(ReplyHeader::LEN..);
        // The answer to a multi is told apart by its operations, whatever the header says.
        let is_good = header.error == 0 || (request.op == op::MULTI && !body.is_empty());
        answer(request, if is_good { Ok(body) } else { Err(Error::from_code(header.error)) });
        Ok(())
    }
}

/// Why a server did not take us.
enum Refused {
    Connect(io::Error),
    Io(io::Error),
    /// It closed the connection in place of an answer to the greeting.
    Closed,
    Silent,
    Sasl(String),
    /// It does not know our session.
    SessionGone,
    /// Its ensemble is not that of our cluster: the id that it has, if any.
    Foreign {
        found: Option<String>,
    },
}

impl Refused {
    fn met(&self) -> Met {
        match self {
            Self::Connect(_) => Met::Unreachable,
            Self::Closed => Met::Closed,
            Self::Io(_) | Self::Silent | Self::Sasl(_) | Self::SessionGone | Self::Foreign { .. } => Met::Other,
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// One token to the server, and its answer. Nothing else is under way on the connection.
async fn sasl_step(stream: &mut TcpStream, token: &[u8]) -> Result<Vec<u8>, Refused> {
    let mut body = Writer::default();
    body.buffer(Some(token));
    let mut out = BytesMut::new();
    wire::put_request(&mut out, xid::FIRST, op::SASL, &body.bytes);
    stream.write_all(&out).await?;
    let packet = read_packet(stream).await?;
    let mut reader = Reader::new(&packet);
    let malformed = |e: Malformed| Refused::Sasl(e.to_string());
    let header = ReplyHeader::read(&mut reader).map_err(malformed)?;
    if header.error != 0 {
        return Err(Refused::Sasl(Error::from_code(header.error).to_string()));
    }
    Ok(reader.slice().map_err(malformed)?.unwrap_or_default().to_vec())
}

/// A packet before the session's own traffic begins.
async fn read_packet(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = usize::try_from(stream.read_i32().await?).unwrap_or(usize::MAX);
    if length > MAX_GREETING_BYTES {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the server's greeting is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn answer(request: Request, result: Result<Bytes, Error>) {
    // Nobody listens when the caller was dropped: a timed-out handler, a task that stopped.
    drop(request.reply.send(result));
}

/// SetWatches bodies: | last zxid i64 | data paths | exists paths | child paths |, split below the packet limit.
fn set_watches(last_zxid: i64, paths: [Vec<String>; 3]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut page: [Vec<&str>; 3] = Default::default();
    let mut size = 0;
    let flush = |page: &mut [Vec<&str>; 3]| {
        let mut w = Writer::default();
        w.long(last_zxid);
        for list in page.iter_mut() {
            w.vector(list.drain(..), Writer::string);
        }
        w.bytes
    };
    for (kind, list) in paths.iter().enumerate() {
        for path in list {
            size += 4 + path.len();
            page[kind].push(path);
            if size >= SET_WATCHES_BYTES {
                out.push(flush(&mut page));
                size = 0;
            }
        }
    }
    if size > 0 {
        out.push(flush(&mut page));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_watches_are_split_below_the_packet_limit() {
        let paths: Vec<String> = (0..10_000).map(|n| format!("/brokers/topics/a-topic-with-a-long-name-{n}")).collect();
        let bodies = set_watches(7, [paths, Vec::new(), vec!["/brokers/ids".to_owned()]]);
        assert!(bodies.len() > 3);
        assert!(bodies.iter().all(|body| body.len() < SET_WATCHES_BYTES + 1_024));
        let mut seen = 0;
        for body in bodies {
            let mut reader = Reader::new(&body);
            assert_eq!(reader.long(), Ok(7));
            seen += (0..3).map(|_| reader.vector(Reader::string).unwrap().len()).sum::<usize>();
        }
        assert_eq!(seen, 10_001);
    }

    #[test]
    fn without_watches_nothing_is_sent() {
        assert!(set_watches(7, Default::default()).is_empty());
    }
}
