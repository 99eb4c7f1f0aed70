//! Owns the end of cleaner threads, and their waits, which it ends.

use parking_lot::{Condvar, Mutex};
use std::time::{Duration, Instant};

/// How often a wait looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The end of a thread.
#[derive(Debug, Default)]
pub(super) struct Stop {
    is_set: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn set(&self) {
        *self.is_set.lock() = true;
        self.changed.notify_all();
    }

    pub(super) fn is_set(&self) -> bool {
        *self.is_set.lock()
    }

    /// Waits, at most until the stop or until `goes_on` is false.
    pub(super) fn wait_while(&self, time: Duration, goes_on: impl Fn() -> bool) {
        let deadline = Instant::now().checked_add(time);
        let mut is_set = self.is_set.lock();
        while !*is_set && goes_on() {
            let left = deadline.map_or(LOOK_EVERY, |at| at.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return;
            }
            self.changed.wait_for(&mut is_set, left.min(LOOK_EVERY));
        }
    }
}
