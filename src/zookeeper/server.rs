//! Owns the development ZooKeeper's server: its start, and what its rooms share.
//! Counterpart: `ZooKeeperServerMain`.
//!
//! Each connection is a task that reads frames, decodes requests and writes what it is handed. The owner takes all
//! requests that wait, applies them in order, syncs the log once for all of them, and then hands out replies and events.
//! A connection that does not read is paused at `OUTGOING_PAUSE` bytes and closed at `OUTGOING_MAX`.
//! Absent on purpose: an ensemble, TLS, SASL, the admin server.

mod connection;
mod four_letter_words;
mod frames;
mod owner;
mod zoo_cfg;

use self::connection::accept;
use self::owner::Owner;
pub use self::zoo_cfg::{Config, ConfigError};
use super::model::Model;
use super::store::{Store, StoreError};
use crate::util::clock::Clock;
use crate::util::task::Group;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tracing::info;

/// Requests of all connections that wait for the owner.
const MAILBOX_CAPACITY: usize = 1024;

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

        let (mailbox, messages) = mpsc::channel(MAILBOX_CAPACITY);
        let config = Arc::new(Config { client_address: local_addr, ..config });
        let owner = Owner::new(Arc::clone(&config), clock, model, store);
        tasks.spawn("zookeeper-owner", owner.run(messages, tasks.stop_token().clone()));
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

#[cfg(test)]
mod tests;
