//! Owns who is told what when a watched node changes. Kafka: `ZNodeChangeHandler`, `ZNodeChildChangeHandler`;
//! ZooKeeper: `ZKWatchManager`.
//!
//! Watches are one-shot: a read arms, the first change disarms, and the listener reads again. Changes in between
//! coalesce. A [`Watcher`] holds at most one event of a kind for a path, so its queue is bounded by what it armed.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What happened to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Change {
    Created,
    Deleted,
    Data,
    Children,
}

impl Change {
    pub(super) fn from_wire(kind: i32) -> Option<Self> {
        match kind {
            1 => Some(Self::Created),
            2 => Some(Self::Deleted),
            3 => Some(Self::Data),
            4 => Some(Self::Children),
            _ => None,
        }
    }
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
    /// The same events, to find out in one step that one is there already.
    known: HashSet<WatchEvent>,
}

impl Watcher {
    pub(super) fn new(chroot: &str) -> Self {
        let inbox = Inbox { chroot: chroot.to_owned(), events: Mutex::default(), arrived: Notify::new() };
        Self { inbox: Arc::new(inbox) }
    }

    /// The oldest event, waited for. Cancel safe. One task at a time.
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

    /// Tells the client whom a read arms for.
    pub(super) fn address(&self) -> Address {
        Address(Arc::downgrade(&self.inbox))
    }
}

/// Where an armed watch reports to; empty once its [`Watcher`] is gone.
#[derive(Clone)]
pub(super) struct Address(Weak<Inbox>);

impl Address {
    fn deliver(&self, change: Change, path: &str) {
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

    fn is_same(&self, other: &Self) -> bool {
        self.0.ptr_eq(&other.0)
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The server's three lists of watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchKind {
    Data = 0,
    Exists = 1,
    Children = 2,
}

/// Everything that is armed on the server for this session, by full path.
#[derive(Default)]
pub(super) struct Armed {
    lists: [HashMap<String, Vec<Address>>; 3],
}

impl Armed {
    pub(super) fn arm(&mut self, kind: WatchKind, path: &str, address: Address) {
        let waiting = self.lists[kind as usize].entry(path.to_owned()).or_default();
        waiting.retain(|other| !other.is_gone());
        if !waiting.iter().any(|other| other.is_same(&address)) {
            waiting.push(address);
        }
    }

    /// Takes what `change` of `path` disarms, and tells each listener once.
    pub(super) fn fire(&mut self, change: Change, path: &str) {
        let kinds: &[WatchKind] = match change {
            Change::Created | Change::Data => &[WatchKind::Data, WatchKind::Exists],
            Change::Children => &[WatchKind::Children],
            Change::Deleted => &[WatchKind::Data, WatchKind::Exists, WatchKind::Children],
        };
        for kind in kinds {
            for address in self.lists[*kind as usize].remove(path).unwrap_or_default() {
                address.deliver(change, path);
            }
        }
    }

    /// A session that ended took its watches with it.
    pub(super) fn clear(&mut self) {
        self.lists.iter_mut().for_each(HashMap::clear);
    }

    /// Paths of the three lists (data, exists, children), for a reconnection in the same session.
    pub(super) fn paths(&mut self) -> [Vec<String>; 3] {
        for list in &mut self.lists {
            list.retain(|_, waiting| waiting.iter().any(|address| !address.is_gone()));
        }
        [0, 1, 2].map(|kind| self.lists[kind].keys().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(change: Change, path: &str) -> WatchEvent {
        WatchEvent { change, path: path.to_owned() }
    }

    #[test]
    fn a_watch_fires_once_and_under_the_chroot_name() {
        let watcher = Watcher::new("/k");
        let mut armed = Armed::default();
        armed.arm(WatchKind::Children, "/k/brokers/ids", watcher.address());
        armed.fire(Change::Children, "/k/brokers/ids");
        armed.fire(Change::Children, "/k/brokers/ids");
        assert_eq!(watcher.try_next(), Some(event(Change::Children, "/brokers/ids")));
        assert_eq!(watcher.try_next(), None);
    }

    #[test]
    fn deletion_fires_data_and_child_watches_once_per_listener() {
        let (one, other) = (Watcher::new(""), Watcher::new(""));
        let mut armed = Armed::default();
        armed.arm(WatchKind::Data, "/t", one.address());
        armed.arm(WatchKind::Children, "/t", one.address());
        armed.arm(WatchKind::Data, "/t", other.address());
        armed.fire(Change::Deleted, "/t");
        assert_eq!(one.try_next(), Some(event(Change::Deleted, "/t")));
        assert_eq!(one.try_next(), None);
        assert_eq!(other.try_next(), Some(event(Change::Deleted, "/t")));
    }

    #[test]
    fn data_changes_leave_child_watches_armed() {
        let watcher = Watcher::new("");
        let mut armed = Armed::default();
        armed.arm(WatchKind::Children, "/t", watcher.address());
        armed.fire(Change::Data, "/t");
        assert_eq!(watcher.try_next(), None);
        assert_eq!(armed.paths(), [vec![], vec![], vec!["/t".to_owned()]]);
    }

    #[test]
    fn a_dropped_watcher_is_not_armed_again_after_a_reconnection() {
        let watcher = Watcher::new("");
        let mut armed = Armed::default();
        armed.arm(WatchKind::Exists, "/controller", watcher.address());
        drop(watcher);
        assert_eq!(armed.paths(), [vec![], vec![], Vec::<String>::new()]);
    }
}
