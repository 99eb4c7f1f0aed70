//! Owns the log: segments, indexes, recovery. Kafka: `kafka.log`, `storage.internals.log`.
