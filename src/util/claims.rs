//! Owns who works on what: of those who claim the same key one goes on and the others wait; other keys are not concerned.
//! Kafka has one lock for all of them.

use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::hash::Hash;

#[derive(Debug)]
pub struct Claims<K> {
    claimed: Mutex<HashSet<K>>,
    freed: Condvar,
}

impl<K> Default for Claims<K> {
    fn default() -> Self {
        Self { claimed: Mutex::default(), freed: Condvar::new() }
    }
}

impl<K: Clone + Eq + Hash> Claims<K> {
    /// Waits until no one else works on any of these. All are taken in one step, so that claims cannot wait for each other,
    /// as long as a thread that has one does not ask for another.
    pub fn claim<'a>(&'a self, keys: impl IntoIterator<Item = &'a K>) -> Claim<'a, K> {
        let keys: HashSet<K> = keys.into_iter().cloned().collect();
        let mut claimed = self.claimed.lock();
        while keys.iter().any(|key| claimed.contains(key)) {
            self.freed.wait(&mut claimed);
        }
        claimed.extend(keys.iter().cloned());
        Claim { claims: self, keys }
    }
}

/// The keys are free again when it is dropped.
#[must_use]
#[derive(Debug)]
pub struct Claim<'a, K: Eq + Hash> {
    claims: &'a Claims<K>,
    keys: HashSet<K>,
}

impl<K: Eq + Hash> Drop for Claim<'_, K> {
    fn drop(&mut self) {
        let mut claimed = self.claims.claimed.lock();
        for key in &self.keys {
            claimed.remove(key);
        }
        self.claims.freed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    #[test]
    fn of_one_key_one_at_a_time_and_no_key_waits_for_another() {
        let claims = Claims::default();
        let held = claims.claim([&1, &2, &2]);
        drop(claims.claim([&3]));
        let is_free = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _second = claims.claim([&2, &3]);
                assert!(is_free.load(Ordering::SeqCst));
            });
            drop(claims.claim([&4]));
            is_free.store(true, Ordering::SeqCst);
            drop(held);
        });
    }

    #[test]
    fn claims_that_overlap_do_not_wait_for_each_other_for_ever() {
        let claims = Claims::default();
        let inside = [const { AtomicUsize::new(0) }; 3];
        std::thread::scope(|scope| {
            for keys in [[0, 1], [1, 2], [2, 0]] {
                let (claims, inside) = (&claims, &inside);
                scope.spawn(move || {
                    for _ in 0..500 {
                        let _claim = claims.claim(&keys);
                        for key in keys {
                            assert_eq!(inside[key].fetch_add(1, Ordering::SeqCst), 0);
                        }
                        for key in keys {
                            inside[key].fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
    }
}
