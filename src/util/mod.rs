//! Owns what several layers need and is no business of Kafka's: tasks, waiting, rate-limited log lines. Kafka: `kafka.utils`.

pub mod checksum;
pub mod logging;
pub mod purgatory;
pub mod rate_limit;
pub mod task;
