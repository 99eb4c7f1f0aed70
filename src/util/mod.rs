//! Owns what several layers need and is no business of Kafka's: tasks, waiting, dials, rate-limited log lines. Kafka: `kafka.utils`.

pub mod checksum;
pub mod claims;
pub mod clock;
pub mod dial;
#[cfg(test)]
#[allow(clippy::print_stdout, reason = "the seed, for the person who runs the test")]
pub(crate) mod fuzzing;
pub mod lock;
pub mod logging;
pub mod purgatory;
pub mod rate_limit;
pub mod task;

/// Ends with a value whose receiver is gone, which needs it no more.
pub fn unless_gone<E>(_: Result<(), E>) {}
