//! Owns which address of an ensemble is tried when, and for how long. Pure. ZooKeeper: `StaticHostProvider`, the timeouts
//! of `ClientCnxn`.

use std::net::SocketAddr;
use std::time::Duration;

use rand::seq::SliceRandom;

/// The least that connecting and greeting may take.
const PATIENCE_MIN: Duration = Duration::from_millis(500);

/// Every address of the ensemble's names, once, in random order. Java's client picks one address of a name at a time.
pub(super) fn order(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses.shuffle(&mut rand::rng());
    addresses
}

/// How long one of `count` addresses may take in the `round`th round (from 0) since we were connected, so that a whole round
/// stays within `limit`. A server that is just starting may take a connection and never answer on it: the first rounds are
/// short, and leave time for others. Java's client waits for `limit / count` from the first.
pub(super) fn patience(limit: Duration, count: usize, round: u32) -> Duration {
    let share = limit / u32::try_from(count).unwrap_or(u32::MAX).max(1);
    (share / (4 >> round.min(2))).max(PATIENCE_MIN)
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
}
