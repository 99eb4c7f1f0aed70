//! Owns the watches of a session that are armed at the server, and re-arms them on each new connection. A watch belongs
//! to one connection: on a new one every node is read again, which shows what changed in between and arms the watch.
//! ZooKeeper: `ZKWatchManager`, and the servers' handling of SetWatches.

use super::watch::{Address, Change, WatchKind};
use futures_util::StreamExt;
use futures_util::stream::{FuturesUnordered, iter};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use zookeeper_client as package;
use zookeeper_client::{EventType, OneshotWatcher, WatchedEvent};

/// The most concurrent reads while watches are re-armed.
const ARMED_AT_ONCE: usize = 100;

/// A watch that a read has armed.
pub(super) struct Arming {
    pub(super) kind: WatchKind,
    pub(super) path: String,
    /// The zxid of the latest change that the read has seen; 0: there is no node.
    pub(super) zxid: i64,
    pub(super) address: Address,
    pub(super) fires: OneshotWatcher,
    /// The token of the link on which it was armed.
    pub(super) lost: CancellationToken,
    pub(super) generation: u64,
}

type Fires = Pin<Box<dyn Future<Output = (u64, WatchedEvent)> + Send + Sync>>;

type Look<'a> = Pin<Box<dyn Future<Output = (u64, Result<Seen, package::Error>)> + Send + Sync + 'a>>;

/// Everything that is armed at the server for this session.
#[derive(Default)]
pub(super) struct Armed {
    next: u64,
    waiting: HashMap<u64, Waiting>,
    numbers: HashMap<(WatchKind, String), u64>,
    /// The watches of the connection. Not to be polled once it is lost.
    pub(super) fires: FuturesUnordered<Fires>,
}

struct Waiting {
    kind: WatchKind,
    path: String,
    zxid: i64,
    addresses: Vec<Address>,
}

impl Armed {
    pub(super) fn arm(&mut self, arming: Arming) {
        let Arming { kind, path, zxid, address, fires, .. } = arming;
        let key = (kind, path);
        if let Some(waiting) = self.numbers.get(&key).and_then(|number| self.waiting.get_mut(number)) {
            // One watch at the server is enough: either the node has not changed in between, or an event is in flight.
            waiting.zxid = waiting.zxid.min(zxid);
            waiting.addresses.retain(|other| !other.is_gone());
            if !waiting.addresses.iter().any(|other| other.is_same(&address)) {
                waiting.addresses.push(address);
            }
            return;
        }
        let number = self.wait_for(fires);
        self.waiting.insert(number, Waiting { kind, path: key.1.clone(), zxid, addresses: vec![address] });
        self.numbers.insert(key, number);
    }

    fn wait_for(&mut self, fires: OneshotWatcher) -> u64 {
        self.next += 1;
        let number = self.next;
        self.fires.push(Box::pin(async move { (number, fires.changed().await) }));
        number
    }

    /// A watch has fired. A deletion fires both the data and the child watch, which are separate here.
    pub(super) fn fire(&mut self, number: u64, event: &WatchedEvent) {
        let change = match event.event_type {
            EventType::NodeCreated => Change::Created,
            EventType::NodeDeleted => Change::Deleted,
            EventType::NodeDataChanged => Change::Data,
            EventType::NodeChildrenChanged => Change::Children,
            // The connection ends, which is handled elsewhere.
            EventType::Session => return,
        };
        let Some(waiting) = self.waiting.remove(&number) else { return };
        waiting.deliver(change);
        self.numbers.remove(&(waiting.kind, waiting.path));
    }

    /// The connection is lost, and with it the watches at the server.
    pub(super) fn disarm(&mut self) {
        self.fires = FuturesUnordered::new();
    }

    /// Arms all watches on a new connection of the session, and delivers the changes since the last one. Nothing is
    /// lost when this is interrupted: watches not armed yet are armed the next time. `patience` limits the wait for
    /// each next answer, not for all of them.
    pub(super) async fn arm_again(
        &mut self,
        zk: &package::Client,
        latest: &AtomicI64,
        patience: Duration,
    ) -> Result<(), package::Error> {
        self.disarm();
        // The server then has everything that we have read elsewhere, too.
        timeout(patience, zk.sync("/")).await.map_err(|_| package::Error::Timeout)??;
        self.waiting.retain(|_, waiting| waiting.addresses.iter().any(|address| !address.is_gone()));
        let mut reads: Vec<Look<'_>> = Vec::with_capacity(self.waiting.len());
        for (number, waiting) in &self.waiting {
            let (number, kind, path) = (*number, waiting.kind, waiting.path.clone());
            reads.push(Box::pin(async move { (number, look(zk, kind, &path).await) }));
        }
        let mut reads = iter(reads).buffer_unordered(ARMED_AT_ONCE);
        let mut found = Vec::new();
        while let Some((number, seen)) = timeout(patience, reads.next()).await.map_err(|_| package::Error::Timeout)? {
            let seen = seen?;
            latest.fetch_max(seen.zxid, Ordering::Relaxed);
            found.push((number, seen));
        }
        drop(reads);
        let mut waiting = std::mem::take(&mut self.waiting);
        self.numbers.clear();
        for (number, Seen { zxid, fires }) in found {
            let Some(old) = waiting.remove(&number) else { continue };
            let change = match (old.zxid, zxid) {
                (before, now) if before == now => None,
                (0, _) => Some(Change::Created),
                (_, 0) => Some(Change::Deleted),
                _ => Some(old.kind.change()),
            };
            match (change, fires) {
                (None, Some(fires)) => {
                    let number = self.wait_for(fires);
                    self.numbers.insert((old.kind, old.path.clone()), number);
                    self.waiting.insert(number, old);
                }
                (change, _) => old.deliver(change.unwrap_or_else(|| old.kind.change())),
            }
        }
        Ok(())
    }
}

impl Waiting {
    fn deliver(&self, change: Change) {
        for address in &self.addresses {
            address.deliver(change, &self.path);
        }
    }
}

/// A node could not be read.
const UNKNOWN: i64 = -1;

/// The current state of a watched node; the zxid is 0 where it does not exist.
struct Seen {
    zxid: i64,
    fires: Option<OneshotWatcher>,
}

async fn look(zk: &package::Client, kind: WatchKind, path: &str) -> Result<Seen, package::Error> {
    let seen = match kind {
        WatchKind::Children => {
            zk.get_and_watch_children(path).await.map(|(_, stat, fires)| Seen { zxid: stat.pzxid, fires: Some(fires) })
        }
        WatchKind::Data => zk.check_and_watch_stat(path).await.map(|(stat, fires)| match stat {
            Some(stat) => Seen { zxid: stat.mzxid, fires: Some(fires) },
            None => Seen { zxid: 0, fires: None },
        }),
        WatchKind::Exists => zk
            .check_and_watch_stat(path)
            .await
            .map(|(stat, fires)| Seen { zxid: stat.map_or(0, |stat| stat.mzxid), fires: Some(fires) }),
    };
    match seen {
        Err(package::Error::NoNode) => Ok(Seen { zxid: 0, fires: None }),
        // An error of one node is left to its reader.
        Err(package::Error::NoAuth | package::Error::Throttled | package::Error::UnexpectedErrorCode(_)) => {
            Ok(Seen { zxid: UNKNOWN, fires: None })
        }
        other => other,
    }
}
