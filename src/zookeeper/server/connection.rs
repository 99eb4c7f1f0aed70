//! Owns connections: how many an address has, the task that reads requests and writes what the owner hands over.
//! Counterpart: `NIOServerCnxnFactory`, `NIOServerCnxn`.

use super::frames::{First, Frames};
use super::zoo_cfg::Config;
use crate::util::task::Group;
use crate::zookeeper::jute::Reader;
use crate::zookeeper::wire::{self, ConnectRequest, Request};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Bytes of replies that wait for a client before its next request is read.
pub(super) const OUTGOING_PAUSE: usize = 4 << 20;

/// Bytes of replies and events that wait for a client before it is given up.
const OUTGOING_MAX: usize = 64 << 20;

/// How long a client may take to ask for a session.
const SESSIONLESS_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) type ConnectionId = u64;

/// What connections send to the owner.
pub(super) enum Message {
    Connect { connection: Arc<Connection>, request: ConnectRequest },
    Request { connection: ConnectionId, xid: i32, request: Request, received: Instant },
    Word { connection: Arc<Connection>, word: [u8; 4] },
    Closed { connection: ConnectionId },
}

/// What the owner knows of a connection, and how it hands it bytes.
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) address: IpAddr,
    pub(super) port: u16,
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
    pub(super) fn push(&self, bytes: &[u8], last: bool) {
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

pub(super) async fn accept(listener: TcpListener, config: Arc<Config>, mailbox: mpsc::Sender<Message>, tasks: Group) {
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
    mailbox: mpsc::Sender<Message>,
    stop: CancellationToken,
) {
    if let Err(e) = socket.set_nodelay(true) {
        debug!(error = %e, "nodelay");
    }
    let (read_half, write_half) = socket.into_split();
    let frames = Frames::new(read_half, config.max_frame);
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
    if mailbox.send(Message::Closed { connection: connection.id }).await.is_err() {
        debug!("closed after the server");
    }
}

async fn read_requests(
    mut frames: Frames,
    connection: &Arc<Connection>,
    mailbox: &mpsc::Sender<Message>,
) -> io::Result<()> {
    let first = tokio::time::timeout(SESSIONLESS_TIMEOUT, frames.first()).await;
    let message = match first.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?? {
        None => return Ok(()),
        Some(First::Word(word)) => Message::Word { connection: Arc::clone(connection), word },
        Some(First::Frame(body)) => {
            let request = ConnectRequest::read(&body).map_err(io::Error::other)?;
            Message::Connect { connection: Arc::clone(connection), request }
        }
    };
    let is_word = matches!(message, Message::Word { .. });
    mailbox.send(message).await.map_err(io::Error::other)?;
    if is_word {
        // A netcat closes its side at once and still wants the answer, which ends the connection.
        return std::future::pending().await;
    }
    while let Some(body) = frames.next().await? {
        let received = Instant::now();
        let mut r = Reader::new(&body);
        let (xid, op) = wire::read_header(&mut r).map_err(io::Error::other)?;
        let request = Request::read(op, &mut r).unwrap_or(Request::Malformed);
        let message = Message::Request { connection: connection.id, xid, request, received };
        mailbox.send(message).await.map_err(io::Error::other)?;
        connection.has_room().await;
    }
    Ok(())
}
