//! Owns the listening sockets and the set of open connections. Kafka: `SocketServer`, `Acceptor`.

use super::ApiHandler;
use super::connection::{Connection, ConnectionContext, ListenerInfo, run};
use super::frame_pool::FramePool;
use super::limits::{ByteBudget, ConnectionLimits, ConnectionQuotas};
use crate::util::rate_limit::RateLimit;
use crate::util::task::{self, Group, StillRunning};
use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// One entry of `listeners`.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Upper-case name.
    pub name: String,
    /// Empty or `0.0.0.0` for every address.
    pub host: String,
    /// 0 for a port that the system chooses.
    pub port: u16,
}

#[derive(Clone, Debug)]
pub struct NetworkConfig {
    pub listeners: Vec<Listener>,
    /// `socket.listen.backlog.size`.
    pub backlog: i32,
    /// `socket.send.buffer.bytes` and `socket.receive.buffer.bytes`; -1 leaves the system's.
    pub send_buffer_bytes: i32,
    pub receive_buffer_bytes: i32,
    /// `socket.request.max.bytes`.
    pub request_bytes_max: usize,
    /// `queued.max.request.bytes`; -1 for no bound.
    pub queued_max_request_bytes: i64,
    /// `connections.max.idle.ms`.
    pub connections_max_idle: Duration,
    pub limits: ConnectionLimits,
    /// `inter.broker.listener.name`, upper case.
    pub inter_broker_listener: String,
}

/// Bound listeners, and once started the connections on them.
pub struct SocketServer {
    config: NetworkConfig,
    bound: Vec<(Arc<ListenerInfo>, std::net::TcpListener)>,
    ports: HashMap<String, u16>,
    /// Runs acceptors and the watch over idle connections.
    group: Group,
    /// One for each runtime of connections. A connection stays on the one that it is given.
    processors: Arc<[Group]>,
    stop_reading: CancellationToken,
    connections: Arc<Connections>,
    quotas: Arc<ConnectionQuotas>,
}

/// Open connections, so that idle ones can be closed and a stop can end them all.
#[derive(Default)]
struct Connections {
    open: Mutex<(u64, HashMap<u64, Arc<Connection>>)>,
}

impl Connections {
    fn add(&self, connection: Arc<Connection>) -> u64 {
        let mut open = self.open.lock();
        open.0 += 1;
        let key = open.0;
        open.1.insert(key, connection);
        key
    }

    fn remove(&self, key: u64) {
        self.open.lock().1.remove(&key);
    }

    fn close_where(&self, condition: impl Fn(&Connection) -> bool) {
        for connection in self.open.lock().1.values().filter(|c| condition(c)) {
            connection.close();
        }
    }

    /// Closes connections that are not protected until those that are closing are `excess`, longest unused first.
    fn make_room(&self, excess: usize, quotas: &ConnectionQuotas) {
        let open = self.open.lock();
        let unprotected = || open.1.values().filter(|c| !quotas.is_protected(&c.listener.name));
        let wanted = excess.saturating_sub(unprotected().filter(|c| c.is_closing()).count());
        let mut candidates: Vec<_> = unprotected().filter(|c| !c.is_closing()).collect();
        candidates.sort_by_key(|c| std::cmp::Reverse(c.idle_for()));
        for connection in candidates.into_iter().take(wanted) {
            info!(?connection, "closed to make room: more than max.connections are open");
            connection.close();
        }
    }
}

impl SocketServer {
    /// Binds all listeners and accepts nothing yet: the kernel queues what arrives until [`Self::start`]. Connections are
    /// spread over `processors` in turn; there is at least one.
    pub fn bind(config: NetworkConfig, group: Group, processors: Arc<[Group]>) -> io::Result<Self> {
        let mut bound = Vec::new();
        let mut ports = HashMap::new();
        for listener in &config.listeners {
            let socket = listen(listener, &config).map_err(|e| {
                let at = format!("Socket server failed to bind to {}:{}: {e}.", listener.host, listener.port);
                io::Error::new(e.kind(), at)
            })?;
            ports.insert(listener.name.clone(), socket.local_addr()?.port());
            info!(listener = listener.name, address = ?socket.local_addr(), "awaiting socket connections");
            bound.push((Arc::new(ListenerInfo { name: listener.name.clone() }), socket));
        }
        let stop_reading = group.stop_token().child_token();
        // As in Kafka, the only listener is not protected from its own clients.
        let protected = (config.listeners.len() > 1).then(|| config.inter_broker_listener.clone());
        let quotas = ConnectionQuotas::new(config.limits.clone(), protected);
        Ok(Self { config, bound, ports, group, processors, stop_reading, connections: Arc::default(), quotas })
    }

    /// What bounds the connections, for limits that change.
    pub fn quotas(&self) -> Arc<ConnectionQuotas> {
        Arc::clone(&self.quotas)
    }

    /// The port that a listener is bound to, for listeners configured with port 0.
    pub fn port(&self, listener: &str) -> Option<u16> {
        self.ports.get(listener).copied()
    }

    /// Starts to accept on all listeners.
    pub fn start<H: ApiHandler>(&mut self, handler: Arc<H>) -> io::Result<()> {
        let context = Arc::new(ConnectionContext {
            handler,
            pool: Arc::new(FramePool::default()),
            budget: ByteBudget::new(self.config.queued_max_request_bytes),
            request_bytes_max: self.config.request_bytes_max,
            stop_reading: self.stop_reading.clone(),
        });
        for (info, socket) in self.bound.drain(..) {
            let _runtime = self.group.handle().enter();
            let acceptor = Acceptor {
                info,
                socket: TcpListener::from_std(socket)?,
                quotas: Arc::clone(&self.quotas),
                context: Arc::clone(&context),
                connections: Arc::clone(&self.connections),
                processors: Arc::clone(&self.processors),
                send_buffer_bytes: self.config.send_buffer_bytes,
            };
            self.group.spawn("acceptor", acceptor.run());
        }
        let idle = close_idle(
            Arc::clone(&self.connections),
            self.config.connections_max_idle,
            Arc::clone(&self.processors),
            self.stop_reading.clone(),
        );
        self.group.spawn("idle-connections", idle);
        let room = make_room(Arc::clone(&self.connections), Arc::clone(&self.quotas), self.stop_reading.clone());
        self.group.spawn("connection-limit", room);
        Ok(())
    }

    /// Accepts and reads nothing more; requests under way are finished and answered.
    pub fn stop_reading(&self) {
        self.stop_reading.cancel();
    }

    /// Waits for requests under way up to `within`, then closes what is left.
    pub async fn shut_down(&self, within: Duration) -> Result<(), StillRunning> {
        self.stop_reading();
        let drained = task::shut_down_all(std::iter::once(&self.group).chain(&*self.processors), within).await;
        self.connections.close_where(|_| true);
        drained
    }
}

fn listen(listener: &Listener, config: &NetworkConfig) -> io::Result<std::net::TcpListener> {
    let bind = |address: SocketAddr| -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        // Accepted sockets inherit it, and the window scale is settled before accept.
        if config.receive_buffer_bytes != -1 {
            socket.set_recv_buffer_size(config.receive_buffer_bytes as usize)?;
        }
        socket.bind(&address.into())?;
        Ok(socket)
    };
    let socket = if listener.host.is_empty() || listener.host == "0.0.0.0" {
        // As Java's wildcard address: both families where the host has IPv6.
        bind((Ipv6Addr::UNSPECIFIED, listener.port).into())
            .or_else(|_| bind((Ipv4Addr::UNSPECIFIED, listener.port).into()))?
    } else {
        let addresses = (listener.host.as_str(), listener.port).to_socket_addrs()?;
        let mut outcome = Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "the host name has no address"));
        for address in addresses {
            outcome = bind(address);
            if outcome.is_ok() {
                break;
            }
        }
        outcome?
    };
    socket.listen(config.backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

struct Acceptor<H> {
    info: Arc<ListenerInfo>,
    socket: TcpListener,
    quotas: Arc<ConnectionQuotas>,
    context: Arc<ConnectionContext<H>>,
    connections: Arc<Connections>,
    processors: Arc<[Group]>,
    send_buffer_bytes: i32,
}

static ACCEPT_ERRORS: RateLimit = RateLimit::every(Duration::from_secs(1));
static REFUSED: RateLimit = RateLimit::every(Duration::from_secs(1));
/// Pause after a failed accept, which at the limit of open files would fail again at once.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

impl<H: ApiHandler> Acceptor<H> {
    async fn run(self) {
        for processor in self.processors.iter().cycle() {
            let accept = async {
                let (socket, peer) = self.socket.accept().await?;
                let count = self.quotas.admit(&self.info.name, peer.ip()).await;
                io::Result::Ok((socket, peer, count))
            };
            let accepted = tokio::select! {
                biased;
                () = self.context.stop_reading.cancelled() => return,
                accepted = accept => accepted,
            };
            let (socket, peer, count) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(left_out) = ACCEPT_ERRORS.permit() {
                        warn!(listener = self.info.name, %error, left_out, "accept");
                    }
                    tokio::time::sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Some(count) = count else {
                if let Some(left_out) = REFUSED.permit() {
                    info!(%peer, left_out, "rejected connection, address already has the configured maximum of connections");
                }
                continue;
            };
            if self.send_buffer_bytes != -1 {
                let wanted = self.send_buffer_bytes as usize;
                if let Err(error) = socket2::SockRef::from(&socket).set_send_buffer_size(wanted) {
                    warn!(%error, "set send buffer size");
                }
            }
            let moved = move_to(processor, socket);
            let Ok(connection) = moved.and_then(|socket| Connection::new(socket, peer, Arc::clone(&self.info), count))
            else {
                continue; // gone before it was served
            };
            let key = self.connections.add(Arc::clone(&connection));
            let forget = ForgetOnDrop { connections: Arc::clone(&self.connections), key };
            let context = Arc::clone(&self.context);
            processor.spawn_isolated("connection", async move {
                let _forget = forget;
                run(connection, context).await;
            });
        }
    }
}

/// Registers a socket with another runtime than the one that accepted it.
fn move_to(processor: &Group, socket: TcpStream) -> io::Result<TcpStream> {
    let socket = socket.into_std()?;
    let _runtime = processor.handle().enter();
    TcpStream::from_std(socket)
}

/// Also when the connection's task panics.
struct ForgetOnDrop {
    connections: Arc<Connections>,
    key: u64,
}

impl Drop for ForgetOnDrop {
    fn drop(&mut self) {
        self.connections.remove(self.key);
    }
}

/// Closes connections that were idle for `connections.max.idle.ms`, to within a tenth of it.
async fn close_idle(
    connections: Arc<Connections>,
    max_idle: Duration,
    processors: Arc<[Group]>,
    stop: CancellationToken,
) {
    let period = (max_idle / 10).clamp(Duration::from_millis(10), Duration::from_secs(30));
    let round = async || {
        tokio::time::sleep(period).await;
        // After a pause of this process there are bytes in the sockets of connections that look idle.
        task::turn(&processors).await;
        connections.close_where(|c| c.idle_for() >= max_idle);
    };
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = round() => {}
        }
    }
}

/// Closes connections of clients where brokers came in beyond `max.connections`, or where that was lowered.
async fn make_room(connections: Arc<Connections>, quotas: Arc<ConnectionQuotas>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = quotas.exceeded() => connections.make_room(quotas.excess(), &quotas),
        }
    }
}
