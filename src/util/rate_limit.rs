//! Owns the pace of log lines that strangers can cause: one line a period, with a count of those left out.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Lets one line through per period.
#[derive(Debug)]
pub struct RateLimit {
    period: Duration,
    last: Mutex<Option<Instant>>,
    suppressed: AtomicU64,
}

impl RateLimit {
    pub const fn every(period: Duration) -> Self {
        Self { period, last: Mutex::new(None), suppressed: AtomicU64::new(0) }
    }

    /// Some(number of lines left out since the last one) when a line may be written now.
    pub fn permit(&self) -> Option<u64> {
        let mut last = self.last.lock();
        let now = Instant::now();
        if last.is_some_and(|at| now.duration_since(at) < self.period) {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        *last = Some(now);
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_a_period_and_the_next_tells_how_many_were_left_out() {
        let slow = RateLimit::every(Duration::from_secs(3_600));
        assert_eq!((slow.permit(), slow.permit(), slow.permit()), (Some(0), None, None));
        let fast = RateLimit::every(Duration::ZERO);
        assert_eq!((fast.permit(), fast.permit()), (Some(0), Some(0)));
    }
}
