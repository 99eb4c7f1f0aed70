//! Owns requests that wait until something happens to one of several keys. Kafka: `DelayedOperationPurgatory`.
//!
//! Protocol, as in Kafka: try, register on all keys, **try again**, then wait. The second try is what keeps an event between
//! the first try and the registration from being lost. Timeouts are the caller's (`tokio::time::timeout` around [`Waiter::woken`]).

use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use tokio::sync::Notify;

/// Number of independently locked parts: a power of two, above the number of data workers.
const SHARDS: usize = 64;

/// Waits keyed by `K`. A registration ends when its [`Waiter`] is dropped, so idle keys hold nothing.
pub struct Purgatory<K> {
    hasher: RandomState,
    shards: Box<[Mutex<Shard<K>>]>,
}

type Shard<K> = HashMap<K, Vec<Arc<Notify>>>;

impl<K: Clone + Eq + Hash> Default for Purgatory<K> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: (0..SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl<K: Clone + Eq + Hash> Purgatory<K> {
    fn shard(&self, key: &K) -> &Mutex<Shard<K>> {
        &self.shards[self.hasher.hash_one(key) as usize % SHARDS]
    }

    /// Registers on all keys. The caller then tries once more before it waits.
    pub fn watch(self: &Arc<Self>, keys: Vec<K>) -> Waiter<K> {
        let notify = Arc::new(Notify::new());
        for key in &keys {
            self.shard(key).lock().entry(key.clone()).or_default().push(Arc::clone(&notify));
        }
        Waiter { purgatory: Arc::clone(self), keys, notify }
    }

    /// Wakes everyone who waits for `key`: each then tries again. Called after the locks of the event are released.
    pub fn wake(&self, key: &K) {
        if let Some(waiting) = self.shard(key).lock().get(key) {
            for notify in waiting {
                notify.notify_one();
            }
        }
    }

    /// Registrations, for metrics and leak tests.
    pub fn registrations(&self) -> usize {
        self.shards.iter().map(|s| s.lock().values().map(Vec::len).sum::<usize>()).sum()
    }
}

/// One waiting request. Dropping it removes its registrations.
pub struct Waiter<K: Clone + Eq + Hash> {
    purgatory: Arc<Purgatory<K>>,
    keys: Vec<K>,
    notify: Arc<Notify>,
}

impl<K: Clone + Eq + Hash> Waiter<K> {
    /// Ends when one of the keys was woken since the registration or since the last call. Cancel safe.
    pub async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl<K: Clone + Eq + Hash> Drop for Waiter<K> {
    fn drop(&mut self) {
        for key in &self.keys {
            let mut shard = self.purgatory.shard(key).lock();
            if let Some(waiting) = shard.get_mut(key) {
                waiting.retain(|n| !Arc::ptr_eq(n, &self.notify));
                if waiting.is_empty() {
                    shard.remove(key);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_wake_between_registration_and_wait_is_not_lost() {
        let purgatory = Arc::new(Purgatory::<u32>::default());
        let waiter = purgatory.watch(vec![1, 2]);
        purgatory.wake(&2);
        waiter.woken().await;
    }

    #[test]
    fn dropping_a_waiter_leaves_nothing_behind() {
        let purgatory = Arc::new(Purgatory::<u32>::default());
        let waiters: Vec<_> = (0..100).map(|i| purgatory.watch(vec![i, i + 1])).collect();
        assert_eq!(purgatory.registrations(), 200);
        drop(waiters);
        assert_eq!(purgatory.registrations(), 0);
        assert!(purgatory.shards.iter().all(|s| s.lock().is_empty()));
    }
}
