//! Owns the broker keys that only set the defaults of topic keys.

use super::{COMPRESSION_TYPES, TIERED, keys};

keys! {
    pub(in crate::config) struct LogKeys {}

    "compression.gzip.level" Int = "-1", GzipLevel, Medium, ClusterWide:
        "Level used when the broker itself recompresses to gzip.";
    "compression.lz4.level" Int = "9", Between(1.0, 17.0), Medium, ClusterWide:
        "Level used when the broker recompresses to lz4; 9 actually selects the fast compressor.";
    "compression.type" String = "producer", OneOf(COMPRESSION_TYPES), High, ClusterWide:
        "Final codec stored; producer keeps what the client sent.";
    "compression.zstd.level" Int = "3", Between(-131072.0, 22.0), Medium, ClusterWide:
        "Level used when the broker recompresses to zstd.";
    "log.cleaner.delete.retention.ms" Long = "86400000", AtLeast(0.0), Medium, ClusterWide:
        "How long tombstones and txn markers survive after first cleaning.";
    "log.cleaner.max.compaction.lag.ms" Long = "9223372036854775807", AtLeast(1.0), Medium, ClusterWide:
        "Dirty records older than this force compaction regardless of ratio.";
    "log.cleaner.min.cleanable.ratio" Double = "0.5", Between(0.0, 1.0), Medium, ClusterWide:
        "Dirty/total byte ratio needed before a log is cleaned.";
    "log.cleaner.min.compaction.lag.ms" Long = "0", AtLeast(0.0), Medium, ClusterWide:
        "Records younger than this stay uncompacted.";
    "log.cleanup.policy" List = "delete", ListOf(&["compact", "delete"]), Medium, ClusterWide:
        "delete, compact or both for topics without override.";
    "log.flush.interval.messages" Long = "9223372036854775807", AtLeast(1.0), High, ClusterWide:
        "Unflushed messages per log that force fsync.";
    "log.flush.interval.ms" Long = null, Any, High, ClusterWide:
        "Age of unflushed data that forces fsync; null uses the scheduler interval.";
    "log.index.interval.bytes" Int = "4096", AtLeast(0.0), Medium, ClusterWide: "Bytes appended between index entries.";
    "log.index.size.max.bytes" Int = "10485760", AtLeast(4.0), Medium, ClusterWide:
        "Preallocated size of offset and time index; full index rolls the segment.";
    "log.local.retention.bytes" Long = "-2", AtLeast(-2.0), Medium, ClusterWide,
        no_effect(TIERED) => log_local_retention_bytes:
        "Tiered storage: local bytes kept; -2 follows log.retention.bytes. Tiered storage only.";
    "log.local.retention.ms" Long = "-2", AtLeast(-2.0), Medium, ClusterWide,
        no_effect(TIERED) => log_local_retention_ms:
        "Tiered storage: local time kept; -2 follows log.retention.ms. Tiered storage only.";
    "log.message.downconversion.enable" Boolean = "true", Any, Low, ClusterWide:
        "When false old fetch versions get UNSUPPORTED_VERSION instead of converted data.";
    "log.message.format.version" String = "3.0-IV1", MetadataVersion, Medium, ReadOnly,
        no_effect("with inter.broker.protocol.version 3.0 or newer the format is v2"):
        "Deprecated; ignored when inter.broker.protocol.version is 3.0 or newer.";
    "log.message.timestamp.after.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide
        => log_message_timestamp_after_max_ms: "How far ahead of the broker clock CreateTime may be.";
    "log.message.timestamp.before.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide
        => log_message_timestamp_before_max_ms: "How far behind the broker clock CreateTime may be.";
    "log.message.timestamp.difference.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide
        => log_message_timestamp_difference_max_ms:
        "Deprecated single bound; feeds before/after when those keep defaults.";
    "log.message.timestamp.type" String = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide:
        "Whether stored timestamps are CreateTime or LogAppendTime.";
    "log.preallocate" Boolean = "false", Any, Medium, ClusterWide:
        "Preallocate segment files to full size on creation.";
    "log.retention.bytes" Long = "-1", Any, High, ClusterWide => log_retention_bytes:
        "Bytes kept per partition before old segments are deleted; -1 unlimited.";
    "log.retention.hours" Int = "168", Any, High, ReadOnly => log_retention_hours:
        "Retention in hours; lowest priority of the three units.";
    "log.retention.minutes" Int = null, Any, High, ReadOnly => log_retention_minutes:
        "Retention in minutes; overrides hours.";
    "log.retention.ms" Long = null, Any, High, ClusterWide => log_retention_ms:
        "Retention in milliseconds; overrides minutes and hours; -1 unlimited.";
    "log.roll.hours" Int = "168", AtLeast(1.0), High, ReadOnly => log_roll_hours:
        "Maximum age of an active segment in hours.";
    "log.roll.jitter.hours" Int = "0", AtLeast(0.0), High, ReadOnly => log_roll_jitter_hours:
        "Random amount subtracted from roll time, hours.";
    "log.roll.jitter.ms" Long = null, Any, High, ClusterWide => log_roll_jitter_ms:
        "Random amount subtracted from roll time, ms; overrides hours.";
    "log.roll.ms" Long = null, Any, High, ClusterWide => log_roll_ms:
        "Maximum age of an active segment, ms; overrides hours.";
    "log.segment.bytes" Int = "1073741824", AtLeast(14.0), High, ClusterWide:
        "Size at which a segment rolls; also the largest single append.";
    "log.segment.delete.delay.ms" Long = "60000", AtLeast(0.0), High, ClusterWide:
        "Wait between renaming to .deleted and unlinking.";
}
