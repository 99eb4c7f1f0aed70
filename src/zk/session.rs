//! Owns the session with the ensemble: one task that dials, resumes the session after a lost connection, and delivers
//! watch events. The protocol is the zookeeper-client package's. Kafka: `kafka.zookeeper.ZooKeeperClient`.
//!
//! * Only a server ends a session. While no server answers, the task keeps dialling with the old session, forever. The
//!   package would give up by its own clock, and dial only the addresses that it began with: so its connection is ended
//!   when it is lost (`Link`), and the session is attached to a new one, at freshly resolved addresses. A session
//!   expiry that the package reports on a connection counts as the loss of that connection.
//! * A request whose connection broke is sent again on the next one (`client`), as Kafka's
//!   `retryRequestsUntilConnected` does with every request. So a write may be applied twice, and its second answer is
//!   NODEEXISTS, NONODE or BADVERSION: a writer reads back before it trusts such an answer.
//! * A session that the server declares expired fails the requests in flight, increments [`Session::generation`], and a
//!   new one is opened at once. Owners of ephemeral nodes or watches see the new generation and start over.
//! * A server that is behind what we have seen is not attached to (`probe`). When every server has been behind for
//!   longer than it keeps a session, the ensemble was restored from an older copy: the session is given up.
//! * When the session is resumed, every watch is re-armed, by a read that shows what changed in between.
//! * An ensemble that is not that of our cluster, because it came back empty or the name now resolves to another, is
//!   not joined: callers see an unreachable ZooKeeper.
//!
//! Absent on purpose: TLS, SASL by Kerberos (both need the host name of an address), read-only servers.

use super::armed::{Armed, Arming};
use super::data::cluster::decode_cluster_id;
use super::ensemble::{self, Met, Refusals};
use super::login::Credentials;
use super::probe;
use crate::util::rate_limit::RateLimit;
use crate::util::task::Group;
use futures_util::StreamExt;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::lookup_host;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};
use zookeeper_client as package;
use zookeeper_client::{SaslOptions, SessionInfo, SessionState, StateWatcher};

/// The longest pause between two rounds over the servers.
const REDIAL_PAUSE_MS_MAX: u64 = 1_000;

const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Limits the log lines about an ensemble that is not joined.
static NOT_JOINED: RateLimit = RateLimit::every(Duration::from_secs(10));

/// The state of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No session yet, or the last one expired: a new one is being opened.
    Connecting,
    Connected,
    /// The connection broke; the session may still exist.
    Disconnected,
    /// The servers refuse our credentials. Dialling continues: the operator may repair them.
    AuthFailed,
    /// Ended by us.
    Closed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Counts the sessions of this client from 0. When it changes, the ephemeral nodes and watches of the old session
    /// are lost.
    pub generation: u64,
    /// The value of `ephemeralOwner`. 0 before there is a session.
    pub id: i64,
    pub phase: Phase,
}

/// The session on one connection, for requests.
pub(super) struct Link {
    pub(super) zk: package::Client,
    pub(super) generation: u64,
    /// The connection is lost: pending requests get no answer.
    pub(super) lost: CancellationToken,
}

/// The settings of the task.
pub(super) struct Settings {
    /// `host:port` of every server.
    pub(super) servers: Vec<String>,
    pub(super) session_timeout: Duration,
    /// How long the first connection may take.
    pub(super) connection_timeout: Duration,
    /// Where `/cluster/id` is, under the chroot.
    pub(super) cluster_id_path: String,
    /// The id of our cluster, once it is known: from then on no session of another ensemble is accepted.
    pub(super) cluster_id: Arc<OnceLock<String>>,
    /// The latest transaction that any answer has shown.
    pub(super) seen: Arc<AtomicI64>,
    /// Scheme and credentials, sent first on every connection.
    pub(super) auth: Vec<(String, Vec<u8>)>,
    /// The credentials for SASL.
    pub(super) sasl: Option<Credentials>,
}

pub(super) struct Driver {
    settings: Settings,
    group: Group,
    state: watch::Sender<Session>,
    links: watch::Sender<Option<Arc<Link>>>,
    armings: mpsc::Receiver<Arming>,
    stop: CancellationToken,
    /// The session at the servers.
    known: Option<SessionInfo>,
    /// The granted timeout; the requested one before that.
    granted: Duration,
    /// Rounds over the servers since we were connected.
    rounds: u32,
    refusals: Refusals,
    armed: Armed,
}

/// Why a connection ended.
enum End {
    Lost,
    AuthFailed,
    Stopped,
}

/// A connection with the session attached.
struct Attached {
    address: SocketAddr,
    zk: package::Client,
    changes: StateWatcher,
    /// Drops the connection without closing the session.
    cut: CancellationToken,
}

impl Driver {
    pub(super) fn new(
        settings: Settings,
        group: Group,
        state: watch::Sender<Session>,
        links: watch::Sender<Option<Arc<Link>>>,
        armings: mpsc::Receiver<Arming>,
        stop: CancellationToken,
    ) -> Self {
        let granted = settings.session_timeout;
        let armed = Armed::default();
        let refusals = Refusals::default();
        Self { settings, group, state, links, armings, stop, known: None, granted, rounds: 0, refusals, armed }
    }

    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        while !stop.is_cancelled() {
            let attached = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                attached = self.dial() => attached,
            };
            let Some(attached) = attached else { continue };
            let (address, since) = (attached.address, Instant::now());
            match self.serve(attached).await {
                End::Stopped => break,
                End::AuthFailed => {
                    warn!(%address, "ZooKeeper refuses our credentials");
                    self.enter(Phase::AuthFailed);
                }
                End::Lost => {
                    warn!(%address, "connection to ZooKeeper lost");
                    self.enter(Phase::Disconnected);
                }
            }
            // A server that accepts the handshake and then drops us must not be dialled in a tight loop.
            let earliest = since + Duration::from_millis(REDIAL_PAUSE_MS_MAX);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = sleep_until(earliest) => {}
            }
        }
        self.close().await;
        self.enter(Phase::Closed);
    }

    fn enter(&self, phase: Phase) {
        self.state.send_modify(|session| session.phase = phase);
    }

    fn expire(&mut self) {
        let Session { id, .. } = *self.state.borrow();
        warn!(session = format!("0x{id:x}"), "ZooKeeper session expired");
        self.known = None;
        self.armed = Armed::default();
        self.state.send_modify(|session| {
            *session = Session { generation: session.generation + 1, id: 0, phase: Phase::Connecting };
        });
    }

    /// Ends a session that has no connection, so that its ephemeral nodes are deleted at once.
    async fn close(&mut self) {
        let Some(known) = self.known.take() else { return };
        let Ok(addresses) = timeout(CLOSE_WITHIN, self.resolve(CLOSE_WITHIN)).await else { return };
        let ended = async {
            for address in addresses {
                if let Ok(attached) = self.connect(address, CLOSE_WITHIN, Some(known.clone())).await {
                    return attached.end().await;
                }
            }
        };
        if timeout(CLOSE_WITHIN, ended).await.is_err() {
            debug!("ZooKeeper did not confirm the end of the session");
        }
    }

    // Dialling

    /// One round over the servers in random order. None when all of them refused us; it has then paused.
    async fn dial(&mut self) -> Option<Attached> {
        let Session { generation, id, .. } = *self.state.borrow();
        let is_first = generation == 0 && id == 0;
        let limit = if is_first { self.granted.min(self.settings.connection_timeout) } else { self.granted };
        let names = self.settings.servers.len();
        let addresses = self.resolve(ensemble::patience(limit, names, self.rounds)).await;
        let patience = ensemble::patience(limit, addresses.len(), self.rounds);
        let mut met = Vec::with_capacity(addresses.len());
        for address in &addresses {
            match self.attach(*address, patience, false).await {
                Ok(attached) => return Some(attached),
                Err(Refused::SessionGone) => {
                    self.expire();
                    return None;
                }
                Err(refused) => met.push(self.refused(*address, refused)),
            }
        }
        let now = Instant::now();
        self.refusals.note(now, &met);
        if self.refusals.outlast(now, self.granted) {
            for address in &addresses {
                match self.attach(*address, patience, true).await {
                    Ok(attached) => return Some(attached),
                    Err(refused) => drop(self.refused(*address, refused)),
                }
            }
        }
        self.rounds = self.rounds.saturating_add(1);
        let pause = rand::random_range(REDIAL_PAUSE_MS_MAX / 10..=REDIAL_PAUSE_MS_MAX);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        None
    }

    /// Logs why an address refused us.
    fn refused(&self, address: SocketAddr, refused: Refused) -> Met {
        match refused {
            Refused::Behind(met) => {
                debug!(%address, ?met, "ZooKeeper does not greet us");
                return met;
            }
            Refused::Error(package::Error::AuthFailed) => {
                warn!(%address, "ZooKeeper does not take our credentials");
                self.enter(Phase::AuthFailed);
            }
            Refused::Error(error) => debug!(%address, %error, "ZooKeeper does not take us"),
            Refused::Silent => debug!(%address, "no answer from ZooKeeper in time"),
            Refused::Reaches | Refused::SessionGone => {}
            Refused::Foreign { found } => {
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
        }
        Met::Other
    }

    /// Every address of the ensemble. A name that cannot be resolved within `patience` is skipped.
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

    /// Opens the session at an address, or resumes it there. As a stranger, we send no last zxid and no session, to
    /// find out whether a server that is behind us accepts any client. A server that is behind and accepts the stranger
    /// has lost our session.
    async fn attach(
        &mut self,
        address: SocketAddr,
        patience: Duration,
        as_stranger: bool,
    ) -> Result<Attached, Refused> {
        let seen = self.settings.seen.load(Ordering::Relaxed);
        if seen > 0 && !as_stranger {
            let reached = timeout(patience, probe::reaches(address, seen)).await.unwrap_or(Err(Met::Other));
            reached.map_err(Refused::Behind)?;
        }
        let known = if as_stranger { None } else { self.known.clone() };
        let was = known.as_ref().map(SessionInfo::id);
        let attached = self.connect(address, patience, known).await?;
        if as_stranger && timeout(patience, probe::reaches(address, seen)).await != Ok(Err(Met::Closed)) {
            // Since it refused us, the majority came back: our session may exist, with its full timeout.
            attached.end().await;
            return Err(Refused::Reaches);
        }
        let id = attached.zk.session_id();
        let session = format!("0x{:x}", id.0);
        if was == Some(id) {
            let armed = self.armed.arm_again(&attached.zk, &self.settings.seen, self.granted).await;
            if let Err(error) = armed {
                attached.cut.cancel();
                return Err(Refused::Error(error));
            }
            info!(%address, session, "ZooKeeper session resumed");
        } else {
            let checked = timeout(patience, self.check_cluster(&attached.zk)).await;
            if let Err(refused) = checked.unwrap_or(Err(Refused::Silent)) {
                // So that it does not linger until it expires.
                attached.end().await;
                return Err(refused);
            }
            if as_stranger {
                warn!(
                    last_zxid = format!("0x{seen:x}"),
                    "ZooKeeper refuses our session and takes a new one: it is older than what we have seen, perhaps restored"
                );
                if self.known.is_some() {
                    self.expire();
                }
                self.settings.seen.store(0, Ordering::Relaxed);
            }
            let timeout_ms = attached.zk.session_timeout().as_millis();
            info!(%address, session, timeout_ms, "ZooKeeper session established");
        }
        self.granted = attached.zk.session_timeout();
        self.known = Some(attached.zk.session().clone());
        self.state.send_modify(|session| session.id = id.0);
        self.rounds = 0;
        self.refusals.end();
        Ok(attached)
    }

    async fn connect(
        &self,
        address: SocketAddr,
        patience: Duration,
        known: Option<SessionInfo>,
    ) -> Result<Attached, Refused> {
        let has_session = known.is_some();
        // The longest silence on a connection for which the package can be set; its default is shorter.
        let silence = self.settings.session_timeout * 3 / 5;
        let mut connector = package::Client::connector()
            .with_fail_eagerly()
            .with_session_timeout(self.settings.session_timeout)
            .with_connection_timeout(silence);
        for (scheme, credentials) in &self.settings.auth {
            connector = connector.with_auth(scheme, credentials);
        }
        if let Some(who) = &self.settings.sasl {
            connector = connector.with_sasl(SaslOptions::digest_md5(who.username.clone(), who.password.clone()));
        }
        if let Some(known) = known {
            connector = connector.with_session(known);
        }
        let cut = CancellationToken::new();
        let spawner = Spawner { group: self.group.clone(), cut: cut.clone() };
        let address_text = address.to_string();
        let connecting = in_scope(&spawner, connector.connect(&address_text));
        match timeout(patience, connecting).await {
            Ok(Ok(zk)) => Ok(Attached { address, changes: zk.state_watcher(), zk, cut }),
            Ok(Err(package::Error::SessionExpired)) if has_session => Err(Refused::SessionGone),
            Ok(Err(error)) => Err(Refused::Error(error)),
            Err(_) => Err(Refused::Silent),
        }
    }

    /// A new session is accepted only where `/cluster/id` shows that the ensemble is ours: in an empty one we would
    /// register and elect, and treat everything as deleted.
    async fn check_cluster(&self, zk: &package::Client) -> Result<(), Refused> {
        let Some(ours) = self.settings.cluster_id.get() else { return Ok(()) };
        let found = match zk.get_data(&self.settings.cluster_id_path).await {
            Ok((data, _)) => decode_cluster_id(Some(&data)).ok(),
            Err(package::Error::NoNode) => None,
            Err(error) => return Err(Refused::Error(error)),
        };
        if found.as_ref() == Some(ours) { Ok(()) } else { Err(Refused::Foreign { found }) }
    }

    // Serving

    /// Serves requests on a connection until it ends.
    async fn serve(&mut self, attached: Attached) -> End {
        let Attached { zk, mut changes, cut, .. } = attached;
        let generation = self.state.borrow().generation;
        let lost = CancellationToken::new();
        self.links.send_replace(Some(Arc::new(Link { zk, generation, lost: lost.clone() })));
        self.enter(Phase::Connected);
        let end = loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break End::Stopped,
                () = lost.cancelled() => break End::Lost,
                state = changes.changed() => match state {
                    SessionState::SyncConnected | SessionState::ConnectedReadOnly => {}
                    // The package's own clock reports Expired too, and at once when the process was paused. A server
                    // that has expired the session reports it again when it is dialled.
                    SessionState::Disconnected | SessionState::Closed | SessionState::Expired => break End::Lost,
                    SessionState::AuthFailed => break End::AuthFailed,
                },
                Some((id, event)) = self.armed.fires.next(), if !self.armed.fires.is_empty() => self.armed.fire(id, &event),
                Some(arming) = self.armings.recv() => self.take(arming, generation),
            }
        };
        // In this order: a request that fails by the cut must find the connection marked as lost, and when its last
        // client is dropped the package would end the session.
        lost.cancel();
        if !matches!(end, End::Stopped) {
            cut.cancel();
        }
        self.links.send_replace(None);
        self.armed.disarm();
        if matches!(end, End::Stopped) {
            self.known = None;
            // The last client was dropped with the last request: the package ends the session then.
            if timeout(CLOSE_WITHIN, closed(changes)).await.is_err() {
                debug!("ZooKeeper did not confirm the end of the session");
            }
        }
        end
    }

    fn take(&mut self, arming: Arming, generation: u64) {
        if arming.generation != generation {
            return;
        }
        if arming.lost.is_cancelled() {
            // It was armed on a lost connection, after the watches of that one were carried over.
            arming.address.deliver(arming.kind.change(), &arming.path);
            return;
        }
        self.armed.arm(arming);
    }
}

impl Attached {
    /// Ends the session at the server.
    async fn end(self) {
        let Self { zk, changes, cut, .. } = self;
        drop(zk);
        if timeout(CLOSE_WITHIN, closed(changes)).await.is_err() {
            debug!("ZooKeeper did not confirm the end of the session");
        }
        cut.cancel();
    }
}

async fn closed(mut changes: StateWatcher) {
    while !changes.state().is_terminated() {
        changes.changed().await;
    }
}

/// Why a server refused us.
enum Refused {
    /// The probe of its history failed.
    Behind(Met),
    /// It is no longer behind, or did not answer the probe.
    Reaches,
    Error(package::Error),
    Silent,
    /// It does not know our session.
    SessionGone,
    /// Its ensemble is not that of our cluster: its cluster id, if any.
    Foreign {
        found: Option<String>,
    },
}

/// Starts the package's task for a connection, so that it can be ended: otherwise it would keep dialling.
struct Spawner {
    group: Group,
    cut: CancellationToken,
}

impl spawns::Spawn for Spawner {
    fn spawn(&self, task: spawns::Task) {
        let (cut, connection) = (self.cut.clone(), Box::into_pin(task.future));
        self.group.spawn("zookeeper-connection", async move {
            // A cut connection stays idle: it would end the session once no client holds it.
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                () = connection => {}
            }
        });
    }
}

/// Polls a future that spawns. The package takes the spawner from the thread.
async fn in_scope<F: Future>(spawner: &Spawner, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _scope = spawns::enter(spawner);
        future.as_mut().poll(context)
    })
    .await
}
