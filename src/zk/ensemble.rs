//! Owns the decisions about an ensemble, without the bytes of a session: which address is tried when and for how long,
//! when a session that no server accepts counts as lost, and whether an ensemble is that of our cluster. It reads no
//! clock: `now` is passed in. ZooKeeper: `StaticHostProvider`, the timeouts of `ClientCnxn`; the rest has no
//! counterpart there.

use rand::seq::SliceRandom;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::Instant;

/// The shortest timeout for connecting and greeting.
const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// Every address of the ensemble's names, once, in random order. Java's client picks one address of a name at a time.
pub(super) fn order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.shuffle(&mut rand::rng());
    addresses
}

/// How long one of `count` addresses may take in the `round`th round (from 0) since we were connected, so that a whole
/// round stays within `limit`. A server that is just starting may accept a connection and never answer on it: the first
/// rounds are short, to leave time for other servers. Java's client waits for `limit / count` from the first round.
pub(super) fn patience(limit: Duration, count: usize, round: u32) -> Duration {
    let share = limit / u32::try_from(count).unwrap_or(u32::MAX).max(1);
    (share / (4 >> round.min(2))).max(PATIENCE_MIN)
}

/// How an address refused us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// No connection.
    Unreachable,
    /// It accepted the connection and closed it in place of an answer to our greeting.
    Closed,
    /// Anything else, such as no answer in time.
    Other,
}

/// Detects a permanent refusal: servers close the greeting of a client that has seen a later transaction than they
/// have, for example after the ensemble was restored from an older copy. Servers without a majority close every
/// greeting, so the refusal alone proves nothing: a greeting without a last zxid shows whether the session is lost.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    since: Option<Instant>,
}

impl Refusals {
    /// Notes a round in which every address refused us.
    pub(super) fn note(&mut self, now: Instant, met: &[Met]) {
        let all_close = met.contains(&Met::Closed) && !met.contains(&Met::Other);
        self.since = if all_close { self.since.or(Some(now)) } else { None };
    }

    pub(super) fn end(&mut self) {
        self.since = None;
    }

    /// Whether servers have only refused us for longer than they keep a silent session.
    pub(super) fn outlast(&self, now: Instant, session_timeout: Duration) -> bool {
        self.since.is_some_and(|since| now - since > session_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_address_is_tried_once_a_round() {
        let addresses: Vec<SocketAddr> = (1..=9).map(|n| SocketAddr::from(([127, 0, 0, n], 2181))).collect();
        let twice = addresses.iter().chain(&addresses).copied().collect();
        let mut ordered = order(twice);
        ordered.sort_unstable();
        assert_eq!(ordered, addresses);
    }

    #[test]
    fn one_greeting_never_takes_all_the_time_and_later_rounds_are_patient() {
        let rounds = |limit, count| [0, 1, 2, 9].map(|round| patience(limit, count, round));
        let seconds = |values: [f32; 4]| values.map(Duration::from_secs_f32);
        assert_eq!(rounds(18 * SECOND, 1), seconds([4.5, 9.0, 18.0, 18.0]));
        assert_eq!(rounds(18 * SECOND, 3), seconds([1.5, 3.0, 6.0, 6.0]));
        assert_eq!(rounds(SECOND, 5), [PATIENCE_MIN; 4]);
        assert_eq!(patience(SECOND, 0, 0), PATIENCE_MIN);
    }

    #[test]
    fn refusals_count_while_every_server_that_is_there_closes() {
        let start = Instant::now();
        let mut refusals = Refusals::default();
        let all = [Met::Closed, Met::Unreachable, Met::Closed];
        refusals.note(start, &all);
        refusals.note(start + 6 * SECOND, &all);
        assert!(!refusals.outlast(start + 6 * SECOND, 6 * SECOND));
        assert!(refusals.outlast(start + 7 * SECOND, 6 * SECOND));
        for other in [&[Met::Closed, Met::Other][..], &[Met::Unreachable], &[]] {
            refusals.note(start, &all);
            refusals.note(start + 5 * SECOND, other);
            assert!(!refusals.outlast(start + 60 * SECOND, 6 * SECOND), "{other:?}");
        }
        refusals.note(start, &all);
        refusals.end();
        assert!(!refusals.outlast(start + 60 * SECOND, 6 * SECOND));
    }
}
