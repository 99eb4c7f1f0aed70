//! Owns listeners and connections: bytes in, bytes out, and the bounds on both. Kafka: `kafka.network` (`SocketServer`,
//! `RequestChannel`), `org.apache.kafka.common.network`.
//!
//! A connection is one task that handles its requests in order, one at a time (Kafka mutes the channel meanwhile). What a
//! request means is the business of the [`ApiHandler`]; this room knows frames only.

mod connection;
mod frame_pool;
mod frame_reader;
mod limits;
mod reply;
mod server;
#[cfg(test)]
mod tests;

pub use connection::{Connection, ListenerInfo};
pub use limits::{ConnectionLimits, RequestPermit};
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
    /// Counts against `queued.max.requests`. A handler drops it when it parks, so that long polls hold none.
    pub permit: RequestPermit,
    pub received: Instant,
}

/// Answers requests. Kafka: `ApiRequestHandler`.
pub trait ApiHandler: Send + Sync + 'static {
    /// Runs on the connection's task, which reads nothing until the reply is sent. It is never cancelled half-way.
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send;
}
