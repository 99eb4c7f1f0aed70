//! Owns the task that owns the [`Model`] and its [`Store`]: sessions and their expiry, the order of requests, one sync of
//! the log for all that wait, and then their replies. Counterpart: `ZooKeeperServer`, `SyncRequestProcessor`.

use super::connection::{Connection, ConnectionId, Message, OUTGOING_PAUSE};
use super::zoo_cfg::Config;
use crate::common::{Millis, Now};
use crate::util::clock::Clock;
use crate::util::task;
use crate::zookeeper::jute::Writer;
use crate::zookeeper::model::{Effects, Model, SessionId};
use crate::zookeeper::store::{self, Store, StoreError};
use crate::zookeeper::wire::{self, Code, ConnectRequest, Request};
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// Requests that share one sync of the log.
const BATCH_MAX: usize = 1024;

pub(super) struct Owner {
    pub(super) config: Arc<Config>,
    pub(super) clock: Clock,
    pub(super) model: Model,
    store: Option<Store>,
    pub(super) connections: HashMap<ConnectionId, (Arc<Connection>, SessionId)>,
    by_session: HashMap<SessionId, ConnectionId>,
    batch: Batch,
    pub(super) stats: Stats,
    expiry: Expiry,
}

/// When sessions may expire. After a pause of the process or a stall of the disk, what clients sent meanwhile lies in the
/// sockets: the owner, coming late, gives them a turn of a tick before it holds their silence against them.
#[derive(Debug)]
pub(super) struct Expiry {
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
pub(super) struct Stats {
    pub(super) received: u64,
    pub(super) sent: u64,
    pub(super) latency_min: u64,
    pub(super) latency_max: u64,
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

    pub(super) fn latency_avg(&self) -> f64 {
        if self.answered == 0 { 0.0 } else { self.latency_sum as f64 / self.answered as f64 }
    }
}

impl Owner {
    pub(super) fn new(config: Arc<Config>, clock: Clock, model: Model, store: Option<Store>) -> Self {
        let turn = config.timing().tick;
        Self {
            config,
            clock,
            model,
            store,
            connections: HashMap::new(),
            by_session: HashMap::new(),
            batch: Batch::default(),
            stats: Stats::default(),
            expiry: Expiry { turn, not_before: 0 },
        }
    }

    /// Ends with the group, or by a panic (fatal for the group) when the log cannot be written.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Message>, stop: CancellationToken) {
        loop {
            let planned = self.expiry.wake_at(self.model.next_deadline());
            let wait = async {
                match planned {
                    Some(at) => tokio::time::sleep_until(self.clock.at(at)).await,
                    None => std::future::pending().await,
                }
            };
            let first = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                message = messages.recv() => match message {
                    Some(message) => Some(message),
                    None => return,
                },
                () = wait => None,
            };
            let now = self.clock.now();
            if let Some(message) = first {
                self.take(message, now);
                for _ in 1..BATCH_MAX {
                    let Ok(message) = messages.try_recv() else { break };
                    self.take(message, now);
                }
            }
            if self.expiry.is_due(planned, now.ticks) {
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

    fn take(&mut self, message: Message, now: Now) {
        match message {
            Message::Connect { connection, request } => self.connect(connection, &request, now),
            Message::Request { connection, xid, request, received } => {
                self.request(connection, xid, request, received, now);
            }
            Message::Word { connection, word } => {
                let text = self.four_letter_word(&word);
                self.batch.send(&connection, true, |w| w.bytes.extend_from_slice(text.as_bytes()));
            }
            Message::Closed { connection } => {
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
            let done = task::spawn_blocking("commit", move || {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_owner_hears_clients_before_their_sessions_expire() {
        let mut expiry = Expiry { turn: 100, not_before: 0 };
        assert_eq!(expiry.wake_at(None), None);
        assert_eq!(expiry.wake_at(Some(1_000)), Some(1_000));
        assert!(!expiry.is_due(Some(1_000), 999));
        assert!(expiry.is_due(Some(1_000), 1_000) && expiry.is_due(Some(1_000), 1_100));
        // A pause of ten seconds: sockets and mailbox have a turn, then those that stayed silent go.
        assert!(!expiry.is_due(Some(1_000), 11_000));
        assert_eq!(expiry.wake_at(Some(1_000)), Some(11_100));
        assert!(!expiry.is_due(expiry.wake_at(Some(1_000)), 11_050));
        assert!(expiry.is_due(Some(11_100), 11_100));
        // Another pause in that turn begins it anew.
        assert!(!expiry.is_due(Some(11_100), 30_000));
        assert_eq!(expiry.wake_at(Some(1_000)), Some(30_100));
    }
}
