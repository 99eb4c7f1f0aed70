//! Owns the measure of replication traffic that is throttled (KIP-73). Kafka: `ReplicationQuotaManager`, `SimpleRate`.
//! Pure: `now` comes in, in ticks. Which replicas are throttled is a topic's setting, not this room's.

use crate::common::Millis;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};

/// `leader.replication.throttled.rate` or `follower.…` is not set.
pub const UNLIMITED: i64 = i64::MAX;

/// One direction of one broker.
pub(super) struct ReplicationQuota {
    /// Bytes a second.
    rate: AtomicI64,
    /// `replication.quota.window.num`
    samples_max: usize,
    /// `replication.quota.window.size.seconds`, in milliseconds.
    window_ms: Millis,
    samples: Mutex<VecDeque<Sample>>,
}

#[derive(Clone, Copy)]
struct Sample {
    started: Millis,
    bytes: u64,
}

impl ReplicationQuota {
    pub(super) fn new(samples_max: usize, window_ms: Millis) -> Self {
        Self {
            rate: AtomicI64::new(UNLIMITED),
            samples_max: samples_max.max(1),
            window_ms: window_ms.max(1),
            samples: Mutex::default(),
        }
    }

    pub(super) fn set_rate(&self, bytes_per_second: i64) {
        self.rate.store(bytes_per_second, Ordering::Relaxed);
    }

    /// False costs one atomic read: no one needs to look whether a replica is throttled.
    pub(super) fn is_set(&self) -> bool {
        self.rate.load(Ordering::Relaxed) != UNLIMITED
    }

    /// Counts bytes of throttled replicas.
    pub(super) fn record(&self, now: Millis, bytes: u64) {
        if !self.is_set() {
            return;
        }
        let mut samples = self.samples.lock();
        match samples.back_mut() {
            Some(last) if now - last.started < self.window_ms => last.bytes += bytes,
            _ => samples.push_back(Sample { started: now, bytes }),
        }
        self.purge(&mut samples, now);
    }

    /// Whether more has been counted in a second than the rate allows, over the samples that there are and at least one
    /// whole window.
    pub(super) fn is_exceeded(&self, now: Millis) -> bool {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == UNLIMITED {
            return false;
        }
        let mut samples = self.samples.lock();
        self.purge(&mut samples, now);
        let Some(oldest) = samples.front() else { return false };
        let elapsed = (now - oldest.started).max(self.window_ms);
        let bytes: u64 = samples.iter().map(|sample| sample.bytes).sum();
        u128::from(bytes) * 1_000 > u128::from(rate.max(0) as u64) * elapsed as u128
    }

    fn purge(&self, samples: &mut VecDeque<Sample>, now: Millis) {
        let age_max = self.window_ms * self.samples_max as Millis;
        while samples.front().is_some_and(|oldest| now - oldest.started >= age_max) || samples.len() > self.samples_max
        {
            samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_exceeded_until_its_bytes_are_old_enough() {
        let quota = ReplicationQuota::new(11, 1_000);
        quota.set_rate(1_000);
        assert!(!quota.is_exceeded(0));
        quota.record(0, 1_000);
        assert!(!quota.is_exceeded(500), "a burst counts as a whole second");
        quota.record(600, 1);
        assert!(quota.is_exceeded(999));
        assert!(!quota.is_exceeded(1_100), "over more time it is less a second");
        quota.record(1_100, 20_000);
        assert!(quota.is_exceeded(10_999));
        assert!(!quota.is_exceeded(12_200), "samples are forgotten");
    }

    #[test]
    fn without_a_rate_nothing_is_counted() {
        let quota = ReplicationQuota::new(11, 1_000);
        quota.record(0, u64::MAX);
        assert!(!quota.is_set() && !quota.is_exceeded(1) && quota.samples.lock().is_empty());
        quota.set_rate(0);
        quota.record(5, 1);
        assert!(quota.is_exceeded(6));
    }
}
