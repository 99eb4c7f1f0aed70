//! Owns the log: segments, indexes, recovery. Kafka: `kafka.log`, `storage.internals.log`.

pub mod checkpoint;
pub mod epoch_cache;
pub mod index;
pub mod producer_state;
