//! Owns the bounds of the front door: connections in all and per address, bytes of requests that nobody works on yet.
//! Kafka: `ConnectionQuotas`, `SimpleMemoryPool`.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// `max.connections`, `max.connections.per.ip` and its overrides.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    pub max: usize,
    pub max_per_ip: usize,
    pub max_per_ip_overrides: HashMap<IpAddr, usize>,
}

/// Counts open connections. Kafka: `ConnectionQuotas`.
pub(super) struct ConnectionCounts {
    limits: ConnectionLimits,
    slots: Arc<Semaphore>,
    per_ip: Mutex<HashMap<IpAddr, usize>>,
}

impl ConnectionCounts {
    pub(super) fn new(limits: ConnectionLimits) -> Arc<Self> {
        let slots = Arc::new(Semaphore::new(limits.max.min(Semaphore::MAX_PERMITS)));
        Arc::new(Self { limits, slots, per_ip: Mutex::default() })
    }

    /// Waits until `max.connections` leaves room: Kafka stops accepting meanwhile. Cancel safe.
    pub(super) async fn slot(&self) -> OwnedSemaphorePermit {
        let Ok(slot) = Arc::clone(&self.slots).acquire_owned().await else {
            unreachable!("the semaphore is never closed")
        };
        slot
    }

    /// Counts a connection of `ip`; None when it has as many as it may.
    pub(super) fn admit(self: &Arc<Self>, ip: IpAddr, slot: OwnedSemaphorePermit) -> Option<ConnectionCount> {
        // A dual-stack socket reports IPv4 peers as mapped addresses; the overrides name them as IPv4.
        let ip = ip.to_canonical();
        let max = self.limits.max_per_ip_overrides.get(&ip).copied().unwrap_or(self.limits.max_per_ip);
        let mut per_ip = self.per_ip.lock();
        let count = per_ip.entry(ip).or_default();
        if *count >= max {
            if *count == 0 {
                per_ip.remove(&ip);
            }
            return None;
        }
        *count += 1;
        Some(ConnectionCount { ip, counts: Arc::clone(self), _slot: slot })
    }
}

/// One counted connection, until dropped.
pub(super) struct ConnectionCount {
    ip: IpAddr,
    counts: Arc<ConnectionCounts>,
    _slot: OwnedSemaphorePermit,
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        let mut per_ip = self.counts.per_ip.lock();
        if let Some(count) = per_ip.get_mut(&self.ip) {
            *count -= 1;
            if *count == 0 {
                per_ip.remove(&self.ip);
            }
        }
    }
}

/// `queued.max.request.bytes`: bytes of requests received that no handler has worked on yet. As in Kafka's memory pool the
/// bound is soft by the requests that were let in while there was room; unlike there, a request counts what has arrived of
/// it, not its claim.
pub(super) struct ByteBudget {
    max: Option<i64>,
    used: AtomicI64,
    freed: Notify,
}

impl ByteBudget {
    /// Zero or less is no bound, as in Kafka.
    pub(super) fn new(queued_max_request_bytes: i64) -> Arc<Self> {
        let max = (queued_max_request_bytes > 0).then_some(queued_max_request_bytes);
        Arc::new(Self { max, used: AtomicI64::new(0), freed: Notify::new() })
    }

    /// Waits until there is room for another request. Cancel safe.
    pub(super) async fn admit(&self) {
        let Some(max) = self.max else { return };
        loop {
            let freed = self.freed.notified();
            if self.used.load(Ordering::Acquire) < max {
                return;
            }
            freed.await;
        }
    }

    pub(super) fn charge(&self, bytes: usize) {
        if self.max.is_some() {
            self.used.fetch_add(bytes as i64, Ordering::AcqRel);
        }
    }

    /// Takes over `bytes` that were charged before; dropping the hold gives them back.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize) -> ByteHold {
        ByteHold { charged: self.max.is_some().then(|| (Arc::clone(self), bytes)) }
    }
}

pub(super) struct ByteHold {
    charged: Option<(Arc<ByteBudget>, usize)>,
}

impl std::fmt::Debug for ByteHold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ByteHold({})", self.charged.as_ref().map_or(0, |(_, bytes)| *bytes))
    }
}

impl Drop for ByteHold {
    fn drop(&mut self) {
        if let Some((budget, bytes)) = &self.charged {
            budget.used.fetch_sub(*bytes as i64, Ordering::AcqRel);
            budget.freed.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn counts(max: usize, max_per_ip: usize) -> Arc<ConnectionCounts> {
        let overridden = (IpAddr::from([127, 0, 0, 9]), 0);
        ConnectionCounts::new(ConnectionLimits { max, max_per_ip, max_per_ip_overrides: HashMap::from([overridden]) })
    }

    #[tokio::test]
    async fn an_address_gets_its_share_and_a_mapped_address_is_the_same_address() {
        let counts = counts(100, 1);
        let ip = Ipv4Addr::LOCALHOST;
        let first = counts.admit(ip.into(), counts.slot().await);
        assert!(first.is_some());
        assert!(counts.admit(ip.to_ipv6_mapped().into(), counts.slot().await).is_none());
        drop(first);
        assert!(counts.admit(ip.into(), counts.slot().await).is_some());
        assert!(counts.admit(IpAddr::from([127, 0, 0, 9]), counts.slot().await).is_none());
        assert!(counts.per_ip.lock().is_empty());
    }

    #[tokio::test]
    async fn accepting_waits_for_max_connections() {
        let counts = counts(1, 10);
        let only = counts.admit(Ipv4Addr::LOCALHOST.into(), counts.slot().await);
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, counts.slot()).await;
        assert!(waiting.is_err());
        drop(only);
        drop(counts.slot().await);
    }

    #[tokio::test]
    async fn the_byte_bound_lets_requests_in_while_there_is_room() {
        let budget = ByteBudget::new(100);
        budget.admit().await;
        budget.charge(150);
        let hold = budget.hold(150);
        assert!(tokio::time::timeout(std::time::Duration::ZERO, budget.admit()).await.is_err());
        drop(hold);
        budget.admit().await;
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }
}
