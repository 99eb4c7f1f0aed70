//! Owns the reading of the clocks.

use crate::common::{Millis, Now};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Both clocks; its ticks count from its making.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    pub fn now(&self) -> Now {
        Now { ticks: self.ticks(), wall: wall_ms() }
    }

    /// Milliseconds by the clock that no one sets.
    pub fn ticks(&self) -> Millis {
        self.start.elapsed().as_millis() as Millis
    }

    /// When a deadline is. One that is far away, or never, is a day ahead.
    pub fn at(&self, ticks: Millis) -> Instant {
        const FAR: Duration = Duration::from_secs(60 * 60 * 24);
        let at = Duration::from_millis(ticks.max(0).unsigned_abs());
        self.start + at.min(self.start.elapsed() + FAR)
    }
}

/// Milliseconds since the epoch.
#[expect(clippy::disallowed_methods, reason = "the one reader of the wall clock")]
pub fn wall_ms() -> Millis {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as Millis)
}
