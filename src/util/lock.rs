//! Owns the order in which locks are taken where some are taken while others are held. A debug build, and with it every
//! test, panics when a thread breaks the order, whether another thread is there to meet it or not; a release build looks at
//! nothing.
//!
//! Locks of `parking_lot` itself have no rank. They are leaves, but for four that are held, unchecked, after `Followers`
//! and before `FormerLogTail`: `LogDir::checkpoints`, `RecoveringLogs`, the cleaner's choice, the server's `config_news`.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// While a lock is held only later ones may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// `StateChanges`: partitions come into service or leave it.
    ReplicaState,
    /// `Partition`: who leads.
    PartitionRole,
    /// `Partition`: how far the followers are.
    Followers,
    /// `UnifiedLog`: nothing happens to a log while its successor takes its place.
    FormerLogTail,
    /// `UnifiedLog`: one append, roll or truncation at a time.
    LogTail,
    /// `LogManager`: one change of settings at a time.
    LogConfigs,
    /// `LogManager`: the logs that are to take the place of others.
    FutureLogs,
    /// `LogManager`: the logs.
    Logs,
}

#[derive(Debug)]
pub struct Mutex<T> {
    rank: Rank,
    inner: parking_lot::Mutex<T>,
}

pub type MutexGuard<'a, T> = Guard<parking_lot::MutexGuard<'a, T>>;

impl<T> Mutex<T> {
    pub fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: parking_lot::Mutex::new(value) }
    }

    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = Held::later_than_all(self.rank);
        Guard { inner: self.inner.lock(), _held: held }
    }

    /// Takes it in the place of an earlier rank, so that another lock of its own rank can follow.
    pub fn lock_as(&self, earlier: Rank) -> MutexGuard<'_, T> {
        let held = Held::later_than_all(earlier);
        Guard { inner: self.inner.lock(), _held: held }
    }
}

#[derive(Debug)]
pub struct RwLock<T> {
    rank: Rank,
    inner: parking_lot::RwLock<T>,
}

impl<T> RwLock<T> {
    pub fn new(rank: Rank, value: T) -> Self {
        Self { rank, inner: parking_lot::RwLock::new(value) }
    }

    pub fn read(&self) -> Guard<parking_lot::RwLockReadGuard<'_, T>> {
        let held = Held::later_than_all(self.rank);
        Guard { inner: self.inner.read(), _held: held }
    }

    pub fn write(&self) -> Guard<parking_lot::RwLockWriteGuard<'_, T>> {
        let held = Held::later_than_all(self.rank);
        Guard { inner: self.inner.write(), _held: held }
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct Guard<G> {
    // Let go of before its rank is.
    inner: G,
    _held: Held,
}

impl<G: Deref> Deref for Guard<G> {
    type Target = G::Target;

    fn deref(&self) -> &G::Target {
        &self.inner
    }
}

impl<G: DerefMut> DerefMut for Guard<G> {
    fn deref_mut(&mut self) -> &mut G::Target {
        &mut self.inner
    }
}

thread_local! {
    static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
}

/// A rank that this thread holds.
#[derive(Debug)]
struct Held(Rank);

impl Held {
    fn later_than_all(rank: Rank) -> Self {
        if cfg!(debug_assertions) {
            HELD.with(|held| {
                let mut held = held.borrow_mut();
                let in_the_way = held.iter().find(|held| **held >= rank);
                assert!(in_the_way.is_none(), "{rank:?} is locked while {in_the_way:?} is held");
                held.push(rank);
            });
        }
        Self(rank)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.with(|held| {
                let mut held = held.borrow_mut();
                if let Some(at) = held.iter().rposition(|rank| *rank == self.0) {
                    held.remove(at);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_taken_in_the_order_of_their_ranks() {
        let (first, last) = (Mutex::new(Rank::ReplicaState, 1), RwLock::new(Rank::Logs, 2));
        let held = first.lock();
        assert_eq!(*held + *last.read(), 3);
        // Which of two is let go of first does not matter.
        let other = last.write();
        drop(held);
        drop(other);
        assert_eq!(*first.lock(), 1);
    }

    #[test]
    #[should_panic(expected = "LogTail is locked while Some(Logs) is held")]
    fn an_earlier_lock_is_not_taken_while_a_later_one_is_held() {
        let (tail, logs) = (Mutex::new(Rank::LogTail, ()), RwLock::new(Rank::Logs, ()));
        let _logs = logs.read();
        let _tail = tail.lock();
    }

    #[test]
    #[should_panic(expected = "LogTail is locked while Some(LogTail) is held")]
    fn two_of_a_rank_are_held_only_on_purpose() {
        let (one, other) = (Mutex::new(Rank::LogTail, ()), Mutex::new(Rank::LogTail, ()));
        let former = one.lock_as(Rank::FormerLogTail);
        drop(other.lock());
        drop(former);
        let _one = one.lock();
        let _other = other.lock();
    }
}
