//! Owns partitions and the metadata image. Kafka: `kafka.cluster`, `MetadataCache`.
