//! How long a fuzz test runs and from which seed it starts: both set by the environment.

use std::time::{Duration, Instant};

/// When to stop: `ZURAU_FUZZ_SECONDS` from now, or the two seconds that every build can spare.
pub(crate) fn deadline() -> Instant {
    let seconds = std::env::var("ZURAU_FUZZ_SECONDS").map_or(2, |text| text.parse().expect("ZURAU_FUZZ_SECONDS"));
    Instant::now() + Duration::from_secs(seconds)
}

/// `ZURAU_FUZZ_SEED`, or a new one; printed, so that a failure can be run again.
pub(crate) fn seed() -> u64 {
    let seed =
        std::env::var("ZURAU_FUZZ_SEED").map_or_else(|_| rand::random(), |t| t.parse().expect("ZURAU_FUZZ_SEED"));
    println!("ZURAU_FUZZ_SEED={seed}");
    seed
}
