//! Owns what is reported to whom when a watched node changes. Kafka: `ZNodeChangeHandler`, `ZNodeChildChangeHandler`;
//! ZooKeeper: `ZKWatchManager`.
//!
//! Watches are one-shot: a read arms, the first change disarms, and the listener reads again. Changes in between
//! coalesce. A [`Watcher`] holds at most one event of a kind for a path, so its queue is bounded by the number of its
//! watches.

use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Weak};
use tokio::sync::Notify;

/// The change of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    Created,
    Deleted,
    Data,
    Children,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WatchEvent {
    pub change: Change,
    /// Relative to the chroot.
    pub path: String,
}

/// Receives the events of the watches that were armed for it. Dropping it forgets them.
pub struct Watcher {
    inbox: Arc<Inbox>,
}

struct Inbox {
    chroot: String,
    events: Mutex<Events>,
    arrived: Notify,
}

#[derive(Default)]
struct Events {
    order: VecDeque<WatchEvent>,
    /// The same events, to look up in constant time whether one is queued.
    known: HashSet<WatchEvent>,
}

impl Watcher {
    pub(super) fn new(chroot: &str) -> Self {
        let inbox = Inbox { chroot: chroot.to_owned(), events: Mutex::default(), arrived: Notify::new() };
        Self { inbox: Arc::new(inbox) }
    }

    /// Waits for the oldest event. Cancel safe. One task at a time.
    pub async fn next(&self) -> WatchEvent {
        loop {
            if let Some(event) = self.try_next() {
                return event;
            }
            self.inbox.arrived.notified().await;
        }
    }

    pub fn try_next(&self) -> Option<WatchEvent> {
        let mut events = self.inbox.events.lock();
        let event = events.order.pop_front()?;
        events.known.remove(&event);
        Some(event)
    }

    /// Where the watch that a read arms reports to.
    pub(super) fn address(&self) -> Address {
        Address(Arc::downgrade(&self.inbox))
    }
}

/// Where an armed watch reports to; empty once its [`Watcher`] is gone.
#[derive(Clone)]
pub(super) struct Address(Weak<Inbox>);

impl Address {
    pub(super) fn deliver(&self, change: Change, path: &str) {
        let Some(inbox) = self.0.upgrade() else { return };
        let Some(path) = path.strip_prefix(inbox.chroot.as_str()) else { return };
        let event = WatchEvent { change, path: if path.is_empty() { "/".to_owned() } else { path.to_owned() } };
        let mut events = inbox.events.lock();
        if events.known.insert(event.clone()) {
            events.order.push_back(event);
        }
        drop(events);
        inbox.arrived.notify_one();
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }

    pub(super) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The kinds of watches that a read arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum WatchKind {
    /// Changes and the deletion of a node.
    Data,
    /// The creation of a missing node.
    Exists,
    /// The creation and deletion of children, and the deletion of the node.
    Children,
}

impl WatchKind {
    /// The change that an event of ZooKeeper reports.
    pub(super) fn change(self) -> Change {
        match self {
            Self::Data => Change::Data,
            Self::Exists => Change::Created,
            Self::Children => Change::Children,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(change: Change, path: &str) -> WatchEvent {
        WatchEvent { change, path: path.to_owned() }
    }

    #[test]
    fn an_event_comes_once_and_under_the_chroot_name() {
        let watcher = Watcher::new("/k");
        let address = watcher.address();
        address.deliver(Change::Children, "/k/brokers/ids");
        address.deliver(Change::Children, "/k/brokers/ids");
        address.deliver(Change::Deleted, "/k");
        address.deliver(Change::Data, "/other");
        assert_eq!(watcher.try_next(), Some(event(Change::Children, "/brokers/ids")));
        assert_eq!(watcher.try_next(), Some(event(Change::Deleted, "/")));
        assert_eq!(watcher.try_next(), None);
    }

    #[test]
    fn a_dropped_watcher_is_gone() {
        let (one, other) = (Watcher::new(""), Watcher::new(""));
        let address = one.address();
        assert!(address.is_same(&one.address()) && !address.is_same(&other.address()) && !address.is_gone());
        drop(one);
        assert!(address.is_gone());
        address.deliver(Change::Data, "/t");
    }
}
