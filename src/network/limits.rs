//! Owns the bounds of the front door: connections in all and per address, bytes of requests that no one works on yet.
//! Kafka: `ConnectionQuotas`, `SimpleMemoryPool`. Absent so far: rates of new connections.

use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use tokio::sync::Notify;

/// `max.connections`, `max.connections.per.ip` and their overrides.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    pub max: usize,
    /// `listener.name.X.max.connections`, by upper-case name. A listener without one may have `max`.
    pub max_of_listener: HashMap<String, usize>,
    pub max_per_ip: usize,
    pub max_per_ip_overrides: HashMap<IpAddr, usize>,
}

/// Counts open connections against limits that may change. Kafka: `ConnectionQuotas`.
pub struct ConnectionQuotas {
    /// The inter-broker listener, unless it is the only one: its connections are let in beyond `max.connections`, and those
    /// of other listeners make room.
    protected: Option<String>,
    state: Mutex<Quotas>,
    /// A connection ended, or the limits are others.
    changed: Notify,
    /// There are more connections than `max.connections`.
    exceeded: Notify,
}

struct Quotas {
    limits: ConnectionLimits,
    total: usize,
    of_listener: HashMap<String, usize>,
    per_ip: HashMap<IpAddr, usize>,
}

impl Quotas {
    fn has_room(&self, listener: &str, is_protected: bool) -> bool {
        let here = self.of_listener.get(listener).copied().unwrap_or_default();
        let max_here = self.limits.max_of_listener.get(listener).copied().unwrap_or(self.limits.max);
        here < max_here && (is_protected || self.total < self.limits.max)
    }

    fn max_of(&self, ip: IpAddr) -> usize {
        self.limits.max_per_ip_overrides.get(&ip).copied().unwrap_or(self.limits.max_per_ip)
    }
}

impl ConnectionQuotas {
    pub(super) fn new(limits: ConnectionLimits, protected: Option<String>) -> Arc<Self> {
        let state = Quotas { limits, total: 0, of_listener: HashMap::new(), per_ip: HashMap::new() };
        Arc::new(Self { protected, state: Mutex::new(state), changed: Notify::new(), exceeded: Notify::new() })
    }

    /// Takes over other limits. Connections that are beyond them make room as Kafka's do: those beyond `max.connections`
    /// are closed, longest unused first; those beyond another limit stay until they end.
    pub fn set_limits(&self, limits: ConnectionLimits) {
        self.state.lock().limits = limits;
        self.changed.notify_waiters();
        self.exceeded.notify_one();
    }

    /// Waits until the limits leave room on `listener` and counts a connection of `ip`; None when that has as many as it
    /// may. Kafka accepts a connection and then waits with it: a listener that no one comes to takes no place. Cancel safe.
    pub(super) async fn admit(self: &Arc<Self>, listener: &str, ip: IpAddr) -> Option<ConnectionCount> {
        // A dual-stack socket reports IPv4 peers as mapped addresses; the overrides name them as IPv4.
        let ip = ip.to_canonical();
        loop {
            let changed = self.changed.notified();
            if let Some(admitted) = self.try_admit(listener, ip) {
                return admitted.then(|| ConnectionCount {
                    listener: listener.to_owned(),
                    ip,
                    quotas: Arc::clone(self),
                });
            }
            changed.await;
        }
    }

    /// None while there is no room; false when the address has too many.
    fn try_admit(&self, listener: &str, ip: IpAddr) -> Option<bool> {
        let mut state = self.state.lock();
        if !state.has_room(listener, self.is_protected(listener)) {
            return None;
        }
        if state.per_ip.get(&ip).copied().unwrap_or_default() >= state.max_of(ip) {
            return Some(false);
        }
        state.total += 1;
        *state.of_listener.entry(listener.to_owned()).or_default() += 1;
        *state.per_ip.entry(ip).or_default() += 1;
        if state.total > state.limits.max {
            self.exceeded.notify_one();
        }
        Some(true)
    }

    pub(super) fn is_protected(&self, listener: &str) -> bool {
        self.protected.as_deref() == Some(listener)
    }

    /// Ends when there may be more connections than `max.connections`. Cancel safe.
    pub(super) async fn exceeded(&self) {
        self.exceeded.notified().await;
    }

    /// How many connections there are beyond `max.connections`.
    pub(super) fn excess(&self) -> usize {
        let state = self.state.lock();
        state.total.saturating_sub(state.limits.max)
    }
}

/// One counted connection, until dropped.
pub(super) struct ConnectionCount {
    listener: String,
    ip: IpAddr,
    quotas: Arc<ConnectionQuotas>,
}

impl Drop for ConnectionCount {
    fn drop(&mut self) {
        {
            let mut state = self.quotas.state.lock();
            state.total -= 1;
            if let Some(count) = state.of_listener.get_mut(&self.listener) {
                *count -= 1;
            }
            if let Some(count) = state.per_ip.get_mut(&self.ip) {
                *count -= 1;
                if *count == 0 {
                    state.per_ip.remove(&self.ip);
                }
            }
        }
        self.quotas.changed.notify_waiters();
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
    use std::future::Future;
    use std::net::Ipv4Addr;
    use std::task::{Context, Poll, Waker};

    const OPEN: &str = "OPEN";
    const BROKERS: &str = "BROKERS";
    const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn limits(max: usize, max_per_ip: usize) -> ConnectionLimits {
        let overridden = (IpAddr::from([127, 0, 0, 9]), 0);
        ConnectionLimits {
            max,
            max_of_listener: HashMap::new(),
            max_per_ip,
            max_per_ip_overrides: HashMap::from([overridden]),
        }
    }

    fn quotas(limits: ConnectionLimits) -> Arc<ConnectionQuotas> {
        ConnectionQuotas::new(limits, Some(BROKERS.to_owned()))
    }

    /// None when it would have to wait.
    fn admit(quotas: &Arc<ConnectionQuotas>, listener: &str) -> Option<ConnectionCount> {
        let admitted = std::pin::pin!(quotas.admit(listener, LOCALHOST));
        match admitted.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(admitted) => admitted,
            Poll::Pending => None,
        }
    }

    #[tokio::test]
    async fn an_address_gets_its_share_and_a_mapped_address_is_the_same_address() {
        let quotas = quotas(limits(100, 1));
        let ip = Ipv4Addr::LOCALHOST;
        let first = quotas.admit(OPEN, ip.into()).await;
        assert!(first.is_some());
        assert!(quotas.admit(OPEN, ip.to_ipv6_mapped().into()).await.is_none());
        drop(first);
        assert!(quotas.admit(OPEN, ip.into()).await.is_some());
        assert!(quotas.admit(OPEN, IpAddr::from([127, 0, 0, 9])).await.is_none());
        assert!(quotas.state.lock().per_ip.is_empty());
        quotas.set_limits(ConnectionLimits { max_per_ip_overrides: HashMap::new(), ..limits(100, 1) });
        assert!(quotas.admit(OPEN, IpAddr::from([127, 0, 0, 9])).await.is_some(), "the limits are others now");
    }

    #[tokio::test]
    async fn a_new_connection_waits_for_one_that_ends_or_for_another_limit() {
        let quotas = quotas(limits(1, 10));
        let only = admit(&quotas, OPEN);
        assert!(only.is_some() && admit(&quotas, OPEN).is_none());
        let (second, ()) = tokio::join!(quotas.admit(OPEN, LOCALHOST), async { drop(only) });
        assert!(second.is_some());
        let raise = async { quotas.set_limits(limits(2, 10)) };
        let (third, ()) = tokio::join!(quotas.admit(OPEN, LOCALHOST), raise);
        assert!(third.is_some());
    }

    #[test]
    fn brokers_are_let_in_beyond_the_limit_and_the_others_are_not() {
        let quotas = quotas(limits(2, 10));
        let open = [admit(&quotas, OPEN), admit(&quotas, OPEN)];
        assert!(open.iter().all(Option::is_some) && admit(&quotas, OPEN).is_none());
        let brokers = [admit(&quotas, BROKERS), admit(&quotas, BROKERS)];
        assert!(brokers.iter().all(Option::is_some));
        assert_eq!(quotas.excess(), 2);
        // The same key bounds each listener by itself.
        assert!(admit(&quotas, BROKERS).is_none());
    }

    #[test]
    fn the_only_listener_is_not_protected_from_its_own_clients() {
        let quotas = ConnectionQuotas::new(limits(1, 10), None);
        let first = admit(&quotas, BROKERS);
        assert!(first.is_some() && admit(&quotas, BROKERS).is_none());
    }

    #[test]
    fn a_listener_may_have_a_limit_of_its_own() {
        let of_listener = HashMap::from([(OPEN.to_owned(), 1)]);
        let quotas = quotas(ConnectionLimits { max_of_listener: of_listener, ..limits(10, 10) });
        let open = admit(&quotas, OPEN);
        assert!(open.is_some() && admit(&quotas, OPEN).is_none());
        assert!(admit(&quotas, "OTHER").is_some());
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
