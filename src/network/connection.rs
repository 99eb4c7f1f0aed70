//! Owns one connection: reads a request, has it handled, sends the reply, in order, one at a time. Kafka: `KafkaChannel`,
//! `Processor`.

use super::frame_pool::FramePool;
use super::frame_reader::{FrameError, FrameReader};
use super::limits::{ByteBudget, ByteHold, ConnectionCount};
use super::reply::{Piece, Reply, Response};
use super::{ApiHandler, Request};
use crate::disk::FileSlice;
use crate::util::rate_limit::RateLimit;
use crate::util::task;
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// The listener that a connection came in on.
#[derive(Debug, PartialEq, Eq)]
pub struct ListenerInfo {
    /// Upper-case name, the key of `listener.security.protocol.map`.
    pub name: String,
}

/// What a handler may know of a connection, and the hold that the server has on it.
pub struct Connection {
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub listener: Arc<ListenerInfo>,
    pub(super) socket: TcpStream,
    /// Milliseconds after `opened` at which bytes last moved, either way.
    last_active_ms: AtomicU64,
    /// Ended from outside its task.
    is_closing: AtomicBool,
    opened: Instant,
    _count: ConnectionCount,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.local, self.peer)
    }
}

impl Connection {
    pub(super) fn new(
        socket: TcpStream,
        peer: SocketAddr,
        listener: Arc<ListenerInfo>,
        count: ConnectionCount,
    ) -> io::Result<Arc<Self>> {
        // Kafka sets both on every accepted socket.
        socket.set_nodelay(true)?;
        SockRef::from(&socket).set_keepalive(true)?;
        let local = socket.local_addr()?;
        Ok(Arc::new(Self {
            peer,
            local,
            listener,
            socket,
            last_active_ms: AtomicU64::new(0),
            is_closing: AtomicBool::new(false),
            opened: Instant::now(),
            _count: count,
        }))
    }

    /// Bytes have moved.
    pub(super) fn touch(&self) {
        self.last_active_ms.store(self.opened.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.opened.elapsed().saturating_sub(Duration::from_millis(self.last_active_ms.load(Ordering::Relaxed)))
    }

    pub(super) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Ends the connection from outside its task, which then reads an end of file.
    pub(super) fn close(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
        if let Err(error) = SockRef::from(&self.socket).shutdown(Shutdown::Both) {
            debug!(connection = ?self, %error, "already closed");
        }
    }
}

/// What all connections of a server share.
pub(super) struct ConnectionContext<H> {
    pub(super) handler: Arc<H>,
    pub(super) pool: Arc<FramePool>,
    pub(super) budget: Arc<ByteBudget>,
    /// `socket.request.max.bytes`.
    pub(super) request_bytes_max: usize,
    /// Cancelled when no further request is to be read.
    pub(super) stop_reading: CancellationToken,
}

static BAD_FRAMES: RateLimit = RateLimit::every(Duration::from_secs(1));

/// The life of one connection.
pub(super) async fn run<H: ApiHandler>(connection: Arc<Connection>, context: Arc<ConnectionContext<H>>) {
    let mut reader =
        FrameReader::new(Arc::clone(&context.pool), Arc::clone(&context.budget), context.request_bytes_max);
    loop {
        let frame = tokio::select! {
            biased;
            () = context.stop_reading.cancelled() => return part(&connection).await,
            frame = reader.next(&connection) => frame,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return,
            Err(FrameError::Io(error)) => {
                debug!(?connection, %error, "connection lost");
                return;
            }
            Err(error) => {
                if let Some(left_out) = BAD_FRAMES.permit() {
                    info!(?connection, %error, left_out, "closing the connection");
                }
                return;
            }
        };
        let received = Instant::now();
        // A peer that pipelines without a pause gives the connections of its thread their turns.
        tokio::task::coop::consume_budget().await;
        let request = Request { frame: frame.bytes, connection: Arc::clone(&connection), received };
        match until_it_waits(frame.hold, context.handler.handle(request)).await {
            Reply::Nothing => {}
            Reply::Close => return,
            Reply::Send(response) => {
                let writer = Writer { connection: &connection, stop: &context.stop_reading };
                if let Err(error) = writer.write_response(response).await {
                    debug!(?connection, %error, "reply not sent");
                    return;
                }
            }
        }
    }
}

/// Runs a handler, which holds nothing of what requests share once it waits: who ends the wait may be a request that has
/// still to be read.
async fn until_it_waits(hold: ByteHold, handling: impl Future<Output = Reply>) -> Reply {
    let mut handling = pin!(handling);
    let mut hold = Some(hold);
    poll_fn(|context| {
        let polled = handling.as_mut().poll(context);
        hold = None;
        polled
    })
    .await
}

/// Ends a connection when the broker stops, so that the peer can read what it was answered.
///
/// Kafka closes it at once. Over requests that are not read any more that is a reset, and a Java client whose next write
/// fails drops the answers that it has not read. A producer sends those batches again, and as a snapshot keeps one batch of
/// a producer, the restarted broker stores the others twice.
async fn part(connection: &Connection) {
    let socket = &connection.socket;
    if SockRef::from(socket).shutdown(Shutdown::Write).is_err() {
        return; // gone already
    }
    let until_it_closes = async {
        while socket.readable().await.is_ok() {
            let mut scratch = [0; 8 << 10];
            match socket.try_read(&mut scratch) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => {}
            }
        }
    };
    let patience = STALLED_AT_STOP.saturating_sub(connection.idle_for());
    if tokio::time::timeout(patience, until_it_closes).await.is_err() {
        debug!(?connection, "closed before its peer has closed it");
    }
}

/// How long a peer may do nothing about its answers once the broker stops. Kafka closes all connections at that point.
const STALLED_AT_STOP: Duration = Duration::from_secs(1);

/// Bytes read by the blocking pool at a time where a slice is not in the page cache.
const COLD_READ: u32 = 256 << 10;

/// Sends replies on one connection.
struct Writer<'a> {
    connection: &'a Connection,
    /// Cancelled when the broker stops.
    stop: &'a CancellationToken,
}

impl Writer<'_> {
    async fn write_response(&self, response: Response) -> io::Result<()> {
        let mut pieces = response.pieces.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Bytes(bytes) => self.write_bytes(&bytes, pieces.peek().is_some()).await?,
                Piece::File(slice) => self.write_file(slice).await?,
            }
        }
        Ok(())
    }

    async fn write_bytes(&self, mut bytes: &[u8], more: bool) -> io::Result<()> {
        let flags = if more { SendFlags::MORE | SendFlags::NOSIGNAL } else { SendFlags::NOSIGNAL };
        let socket = &self.connection.socket;
        while !bytes.is_empty() {
            let n = self.write_some(|| Ok(send(socket, bytes, flags)?)).await?;
            bytes = &bytes[n..];
        }
        Ok(())
    }

    /// Sends the slice from the page cache by `sendfile`. Cold ranges are read by the blocking pool first: a `sendfile` that
    /// waits for the disk would block its data worker. Fewer bytes than announced end the connection: the file was
    /// truncated.
    async fn write_file(&self, slice: FileSlice) -> io::Result<()> {
        let mut sent = 0;
        let mut warm = if slice.is_resident(0) { slice.len } else { 0 };
        while sent < slice.len {
            if warm <= sent {
                let cold = slice.clone();
                let read = task::spawn_blocking("read-cold-records", move || {
                    let mut scratch = vec![0; COLD_READ as usize];
                    cold.read(sent, &mut scratch)
                });
                warm = sent + read.await.map_err(io::Error::other)?? as u32;
                if warm == sent {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            let part = FileSlice { len: warm, ..slice.clone() };
            match self.write_some(|| part.send(sent, self.connection.socket.as_fd())).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => sent += n as u32,
            }
        }
        Ok(())
    }

    /// Writes as much as the socket takes, once it takes something.
    async fn write_some(&self, mut write: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
        loop {
            match self.connection.socket.try_io(Interest::WRITABLE, &mut write) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Ok(n) => {
                    // A reader that is slow is not idle.
                    self.connection.touch();
                    return Ok(n);
                }
                Err(e) => return Err(e),
            }
        }
    }

    async fn writable(&self) -> io::Result<()> {
        let stalled = async {
            self.stop.cancelled().await;
            tokio::time::sleep(STALLED_AT_STOP).await;
        };
        tokio::select! {
            biased;
            ready = self.connection.socket.writable() => ready,
            () = stalled => Err(io::Error::new(io::ErrorKind::TimedOut, "the broker stops, and the reader does not read")),
        }
    }
}
