//! Owns append and read over many partitions. Kafka: `ReplicaManager`.
