//! Owns the way from a host name to one open connection. Kafka: `ClientUtils.resolve`, `ClusterConnectionStates`.
//!
//! A name is all the addresses that it has at that moment. They are tried one after another in random order, round after
//! round, each for a share of the time: one that drops what is sent to it costs its share and not the whole dial.

use rand::seq::SliceRandom;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::timeout;

/// The share of each address in the first round, which doubles from round to round. Kafka waits for ten seconds
/// (`socket.connection.setup.timeout.ms`) before it takes the next address.
const FIRST_SHARE: Duration = Duration::from_secs(1);

/// Opens a connection with `connect` to one of the addresses of `host`, which is resolved now. The error is that of the
/// last address which refused, or `TimedOut`.
pub async fn dial<T, F>(host: &str, port: u16, within: Duration, connect: impl Fn(SocketAddr) -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let dialing = async {
        let mut addresses: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
        addresses.shuffle(&mut rand::rng());
        dial_one_of(addresses, within, connect).await
    };
    timeout(within, dialing).await.unwrap_or_else(|_| {
        let text = format!("no connection to {host}:{port} within {within:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, text))
    })
}

/// As [`dial`], to addresses in the order in which they are to be tried. The caller bounds the time.
async fn dial_one_of<T, F>(
    addresses: Vec<SocketAddr>,
    within: Duration,
    connect: impl Fn(SocketAddr) -> F,
) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let mut attempts = Attempts::new(addresses, within);
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    while let Some((address, share)) = attempts.next() {
        match timeout(share, connect(address)).await {
            Ok(Ok(open)) => return Ok(open),
            Ok(Err(error)) => {
                attempts.refused();
                last = error;
            }
            // Mute: it has another turn in the next round, since a packet may have been lost.
            Err(_) => {}
        }
    }
    Err(last)
}

/// Which address is tried next, and for how long.
struct Attempts {
    addresses: Vec<SocketAddr>,
    next: usize,
    share: Duration,
}

impl Attempts {
    fn new(addresses: Vec<SocketAddr>, within: Duration) -> Self {
        let even = within / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
        Self { addresses, next: 0, share: even.min(FIRST_SHARE) }
    }

    /// None once every address has refused.
    fn next(&mut self) -> Option<(SocketAddr, Duration)> {
        if self.next == self.addresses.len() {
            self.next = 0;
            self.share = self.share.saturating_mul(2);
        }
        let address = *self.addresses.get(self.next)?;
        self.next += 1;
        // Nothing is left to go to instead.
        let share = if self.addresses.len() == 1 { Duration::MAX } else { self.share };
        Some((address, share))
    }

    /// The address that was given last is not tried again.
    fn refused(&mut self) {
        self.next -= 1;
        self.addresses.remove(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(30);

    fn address(n: u8) -> SocketAddr {
        ([127, 0, 0, n], 9092).into()
    }

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn mute_addresses_take_turns_and_rounds_become_longer() {
        let mut attempts = Attempts::new(vec![address(1), address(2)], WITHIN);
        let turns: Vec<_> = (0..5).filter_map(|_| attempts.next()).collect();
        let expected = [(1, 1), (2, 1), (1, 2), (2, 2), (1, 4)].map(|(n, share)| (address(n), seconds(share)));
        assert_eq!(turns, expected);
    }

    #[test]
    fn every_address_has_its_turn_in_a_short_time_too() {
        let mut attempts = Attempts::new((1..=4).map(address).collect(), seconds(2));
        assert_eq!(attempts.next(), Some((address(1), Duration::from_millis(500))));
    }

    #[test]
    fn what_refuses_is_not_asked_again_and_the_last_one_has_all_the_time() {
        let mut attempts = Attempts::new(vec![address(1), address(2)], WITHIN);
        assert_eq!(attempts.next(), Some((address(1), seconds(1))));
        attempts.refused();
        assert_eq!(attempts.next(), Some((address(2), Duration::MAX)));
        attempts.refused();
        assert_eq!(attempts.next(), None);
        assert_eq!(Attempts::new(vec![], WITHIN).next(), None);
    }

    #[tokio::test]
    async fn a_mute_address_costs_its_share_and_not_the_dial() {
        let (mute, refusing, open) = (address(1), address(2), address(3));
        let connect = async |to: SocketAddr| match to {
            to if to == mute => std::future::pending().await,
            to if to == refusing => Err(io::ErrorKind::ConnectionRefused.into()),
            to => Ok(to),
        };
        let dialed = dial_one_of(vec![mute, refusing, open], Duration::from_millis(60), connect).await;
        assert_eq!(dialed.expect("the third answers"), open);
        let refused = dial_one_of(vec![refusing, refusing], WITHIN, connect).await;
        assert_eq!(refused.expect_err("no one listens").kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_dial_ends_with_its_time() {
        let mute = async |_: SocketAddr| std::future::pending::<io::Result<()>>().await;
        let dialed = dial("127.0.0.1", 9092, Duration::from_millis(20), mute).await;
        assert_eq!(dialed.expect_err("mute").kind(), io::ErrorKind::TimedOut);
    }
}
