//! Owns partitions and the picture of the cluster. Kafka: `kafka.cluster`, `ZkMetadataCache`.

pub mod image;
pub mod isr;
pub mod partition;
