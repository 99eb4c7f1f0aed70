//! Owns one table of watches: who is notified of what happens to a path, once or until removed. Counterpart: `WatchManager`,
//! `WatcherModeManager`, `PathParentIterator` as of ZooKeeper 3.8. A watch belongs to the connection of a session and goes
//! with it: clients arm theirs again by setWatches.

use super::SessionId;
use super::tree::parent_of;
use crate::zookeeper::wire::EventKind;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Once,
    Persistent,
    /// Also notified of every node below, but not of changes of a node's children: the children's own events say so.
    PersistentRecursive,
}

#[derive(Debug, Default)]
pub(super) struct Watches {
    by_path: HashMap<Arc<str>, BTreeMap<SessionId, Mode>>,
    by_session: HashMap<SessionId, HashSet<Arc<str>>>,
    /// While there are none, a change looks at its own path only.
    recursive: usize,
}

impl Watches {
    /// One mode a path and session: the last one counts, as in 3.8 (3.9 keeps a one-shot watch beside a persistent one).
    pub(super) fn add(&mut self, path: &str, session: SessionId, mode: Mode) {
        let path: Arc<str> = path.into();
        let old = self.by_path.entry(Arc::clone(&path)).or_default().insert(session, mode);
        self.by_session.entry(session).or_default().insert(path);
        self.recursive += usize::from(mode == Mode::PersistentRecursive);
        self.recursive -= usize::from(old == Some(Mode::PersistentRecursive));
    }

    /// False if the session did not watch the path.
    pub(super) fn remove(&mut self, path: &str, session: SessionId) -> bool {
        let Some(watchers) = self.by_path.get_mut(path) else { return false };
        let Some(mode) = watchers.remove(&session) else { return false };
        if watchers.is_empty() {
            self.by_path.remove(path);
        }
        self.recursive -= usize::from(mode == Mode::PersistentRecursive);
        self.forget(path, session);
        true
    }

    pub(super) fn remove_session(&mut self, session: SessionId) {
        for path in self.by_session.get(&session).cloned().unwrap_or_default() {
            self.remove(&path, session);
        }
    }

    /// What checkWatches asks. Of the path itself 3.8 only asks whether anyone watches it.
    pub(super) fn covers(&self, path: &str) -> bool {
        self.by_path.contains_key(path)
    }

    pub(super) fn len(&self) -> usize {
        self.by_path.values().map(BTreeMap::len).sum()
    }

    /// The sessions to notify; one-shot watches of the path are gone afterwards.
    pub(super) fn trigger(&mut self, path: &str, kind: EventKind) -> BTreeSet<SessionId> {
        let mut told = BTreeSet::new();
        if let Some(watchers) = self.by_path.get_mut(path) {
            let recursive_hears = kind != EventKind::NodeChildrenChanged;
            told.extend(
                watchers.iter().filter(|(_, m)| **m != Mode::PersistentRecursive || recursive_hears).map(|(s, _)| *s),
            );
            watchers.retain(|_, mode| *mode != Mode::Once);
            let all_gone = watchers.is_empty();
            let once: Vec<SessionId> = told.iter().copied().filter(|s| !watchers.contains_key(s)).collect();
            if all_gone {
                self.by_path.remove(path);
            }
            for session in once {
                self.forget(path, session);
            }
        }
        if self.recursive > 0 && kind != EventKind::NodeChildrenChanged {
            self.ancestors_told(path, &mut told);
        }
        told
    }

    fn ancestors_told(&self, path: &str, told: &mut BTreeSet<SessionId>) {
        let mut at = path;
        while at != "/" {
            at = parent_of(at);
            let watchers = self.by_path.get(at).into_iter().flatten();
            told.extend(watchers.filter(|(_, mode)| **mode == Mode::PersistentRecursive).map(|(session, _)| *session));
        }
    }

    fn forget(&mut self, path: &str, session: SessionId) {
        if let Some(paths) = self.by_session.get_mut(&session) {
            paths.remove(path);
            if paths.is_empty() {
                self.by_session.remove(&session);
            }
        }
    }
}
