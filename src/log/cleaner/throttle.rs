//! Owns the pace at which all cleaner threads together read and write: `log.cleaner.io.max.bytes.per.second`. Kafka:
//! `Throttler`.

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// How often the rate is looked at.
const CHECK_EVERY: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Throttle {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    bytes_per_second: f64,
    since: Instant,
    bytes: u64,
}

impl Throttle {
    pub(super) fn new(bytes_per_second: f64) -> Self {
        Self { state: Mutex::new(State { bytes_per_second, since: Instant::now(), bytes: 0 }) }
    }

    pub(super) fn set_rate(&self, bytes_per_second: f64) {
        self.state.lock().bytes_per_second = bytes_per_second;
    }

    /// Notes bytes that were read or written, and says how long to wait before the next.
    pub(super) fn note(&self, bytes: u64, now: Instant) -> Option<Duration> {
        let mut state = self.state.lock();
        state.bytes += bytes;
        let elapsed = now.saturating_duration_since(state.since);
        if elapsed < CHECK_EVERY || state.bytes == 0 {
            return None;
        }
        let due = Duration::try_from_secs_f64(state.bytes as f64 / state.bytes_per_second.max(1.0));
        let wait = due.unwrap_or(Duration::MAX).checked_sub(elapsed).filter(|wait| !wait.is_zero());
        state.bytes = 0;
        state.since = now + wait.unwrap_or_default();
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_above_the_rate_waits_until_the_rate_is_kept() {
        let throttle = Throttle::new(1_000.0);
        let start = throttle.state.lock().since;
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(throttle.note(500, at(100)), None, "too early to tell");
        assert_eq!(throttle.note(500, at(400)), Some(Duration::from_millis(600)));
        // The next look counts from the end of the wait.
        assert_eq!(throttle.note(200, at(1_200)), None);
        assert_eq!(throttle.note(100, at(1_300)), None);
        throttle.set_rate(f64::MAX);
        assert_eq!(throttle.note(u64::from(u32::MAX), at(5_000)), None);
    }
}
