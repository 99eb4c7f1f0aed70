//! Owns listeners and connections: bytes in, bytes out, and the bounds on both. Kafka: `kafka.network` (`SocketServer`,
//! `RequestChannel`), `org.apache.kafka.common.network`.
//!
//! A connection is one task that handles its requests in order, one at a time (Kafka mutes the channel meanwhile). What a
//! request means is the business of the [`ApiHandler`]; this room knows frames only.
//!
//! **A request that waits holds nothing of what requests share.** There is no queue between reading a request and working
//! on it: the thread that read the frame polls its handler. So `queued.max.requests`, the length of that queue in Kafka,
//! has nothing to bound, and requests under way are as many as connections. The bytes of a frame count against
//! `queued.max.request.bytes` until its handler has been polled once: then it has answered, or it waits for other requests,
//! replicas, brokers or the disk. A handler that waits for the blocking pool gives its bytes back too, where Kafka's
//! handler thread is busy: the jobs in the pool's queue are bounded by the connections, one for each.

mod connection;
mod frame_pool;
mod frame_reader;
mod limits;
mod reply;
mod server;
#[cfg(test)]
mod tests;

pub use connection::{Connection, ListenerInfo};
pub use limits::{ConnectionLimits, ConnectionQuotas};
pub use reply::{Piece, Reply, Response};
pub use server::{Listener, NetworkConfig, SocketServer};

use bytes::Bytes;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

/// One request as it came from the socket.
pub struct Request {
    /// Header and body, without the four bytes of the size.
    pub frame: Bytes,
    pub connection: Arc<Connection>,
    pub received: Instant,
}

/// Answers requests. Kafka: `ApiRequestHandler`.
pub trait ApiHandler: Send + Sync + 'static {
    /// Runs on the connection's task, which reads nothing until the reply is sent. It is never cancelled half-way.
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send;
}
