//! Owns the keys of a topic, each with the broker keys that set its default, highest precedence first.

use super::{COMPRESSION_TYPES, TIERED, keys};
use crate::config::def::Props;
use crate::config::topic::{BrokerCompression, ThrottledReplicas, TimestampType};

keys! {
    /// Settings of one topic's logs. Fields are the topic keys; times are ms, sizes bytes.
    #[derive(Clone, Debug, PartialEq)]
    pub struct LogConfig with LogForms {
        /// `cleanup.policy` includes `compact`.
        compact: bool,
        /// `cleanup.policy` includes `delete`.
        delete: bool,
        compression: BrokerCompression,
        /// How far a record's CreateTime may be behind the broker's clock.
        message_timestamp_before_max_ms: i64,
        /// How far it may be ahead.
        message_timestamp_after_max_ms: i64,
        /// The topic's own settings, as text: enough to resolve it again over other defaults.
        overridden: Props,
    }

    "delete.retention.ms" Long = "86400000", AtLeast(0.0), Medium, Topic,
        from(&["log.cleaner.delete.retention.ms"]) => delete_retention_ms:
        "Grace period for tombstones and empty-transaction markers after first cleaning.";
    "file.delete.delay.ms" Long = "60000", AtLeast(0.0), Medium, Topic,
        from(&["log.segment.delete.delay.ms"]) => file_delete_delay_ms: "Wait between .deleted rename and unlink.";
    "flush.messages" Long = "9223372036854775807", AtLeast(1.0), Medium, Topic,
        from(&["log.flush.interval.messages"]) => flush_messages:
        "Unflushed messages that force fsync; the largest number: never.";
    "flush.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, Topic,
        from(&["log.flush.interval.ms", "log.flush.scheduler.interval.ms"]) => flush_ms:
        "Age of unflushed data that forces fsync; the largest number: never.";
    "follower.replication.throttled.replicas" List = "", ThrottledReplicas, Medium, Topic
        => follower_replication_throttled_replicas as ThrottledReplicas:
        "partition:broker list throttled on followers; * means all.";
    "index.interval.bytes" Int = "4096", AtLeast(0.0), Medium, Topic,
        from(&["log.index.interval.bytes"]) => index_interval_bytes: "Bytes between offset/time index entries.";
    "leader.replication.throttled.replicas" List = "", ThrottledReplicas, Medium, Topic
        => leader_replication_throttled_replicas as ThrottledReplicas:
        "partition:broker list throttled on leaders; * means all.";
    "local.retention.bytes" Long = "-2", AtLeast(-2.0), Medium, Topic, from(&["log.local.retention.bytes"]),
        no_effect(TIERED): "Tiered storage local size limit; -2 follows retention.bytes.";
    "local.retention.ms" Long = "-2", AtLeast(-2.0), Medium, Topic, from(&["log.local.retention.ms"]),
        no_effect(TIERED): "Tiered storage local time limit; -2 follows retention.ms.";
    "max.compaction.lag.ms" Long = "9223372036854775807", AtLeast(1.0), Medium, Topic,
        from(&["log.cleaner.max.compaction.lag.ms"]) => max_compaction_lag_ms:
        "Oldest dirty record age that forces compaction.";
    "max.message.bytes" Int = "1048588", AtLeast(0.0), Medium, Topic, from(&["message.max.bytes"]) => max_message_bytes:
        "Largest record batch accepted, checked before and after recompression.";
    "message.downconversion.enable" Boolean = "true", Any, Low, Topic,
        from(&["log.message.downconversion.enable"]) => message_downconversion_enable:
        "False refuses conversion for old fetch versions with UNSUPPORTED_VERSION.";
    "message.format.version" String = "3.0-IV1", MetadataVersion, Medium, Topic, from(&["log.message.format.version"]),
        no_effect("with inter.broker.protocol.version 3.0 or newer the format is v2"):
        "Deprecated; ignored with inter.broker.protocol.version 3.0 or newer (format v2 always).";
    "message.timestamp.type" String = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), Medium, Topic,
        from(&["log.message.timestamp.type"]) => message_timestamp_type as TimestampType:
        "CreateTime keeps client timestamps; LogAppendTime stamps each batch on the broker.";
    "min.cleanable.dirty.ratio" Double = "0.5", Between(0.0, 1.0), Medium, Topic,
        from(&["log.cleaner.min.cleanable.ratio"]) => min_cleanable_dirty_ratio:
        "Dirty/total ratio that makes the log eligible for cleaning.";
    "min.compaction.lag.ms" Long = "0", AtLeast(0.0), Medium, Topic,
        from(&["log.cleaner.min.compaction.lag.ms"]) => min_compaction_lag_ms:
        "Minimum record age before compaction may touch it.";
    "min.insync.replicas" Int = "1", AtLeast(1.0), Medium, Topic, from(&["min.insync.replicas"]) => min_insync_replicas:
        "ISR needed for acks=all and for high watermark advance (capped at replication factor).";
    "preallocate" Boolean = "false", Any, Medium, Topic, from(&["log.preallocate"]) => preallocate:
        "Preallocate segment files.";
    "retention.bytes" Long = "-1", Any, Medium, Topic, from(&["log.retention.bytes"]) => retention_bytes:
        "Bytes kept per partition; -1 unlimited.";
    "retention.ms" Long = "604800000", AtLeast(-1.0), Medium, Topic,
        from(&["log.retention.ms", "log.retention.minutes", "log.retention.hours"]) => retention_ms:
        "Age by largest record timestamp before segment deletion; -1 unlimited.";
    "segment.bytes" Int = "1073741824", AtLeast(14.0), Medium, Topic, from(&["log.segment.bytes"]) => segment_bytes:
        "Segment roll size and largest append.";
    "segment.index.bytes" Int = "10485760", AtLeast(4.0), Medium, Topic,
        from(&["log.index.size.max.bytes"]) => segment_index_bytes: "Preallocated index file size.";
    "segment.jitter.ms" Long = "0", AtLeast(0.0), Medium, Topic,
        from(&["log.roll.jitter.ms", "log.roll.jitter.hours"]) => segment_jitter_ms:
        "Random reduction of segment.ms, fixed per segment at creation.";
    "segment.ms" Long = "604800000", AtLeast(1.0), Medium, Topic,
        from(&["log.roll.ms", "log.roll.hours"]) => segment_ms: "Segment roll age, measured by record timestamps.";
    "unclean.leader.election.enable" Boolean = "false", Any, Medium, Topic,
        from(&["unclean.leader.election.enable"]) => unclean_leader_election_enable:
        "Allow out-of-sync replica to become leader for this topic.";
}

keys! {
    /// Topic keys that [`LogForms`] is made of, and those that only tiered storage uses.
    pub(in crate::config) struct TopicForms {}

    "cleanup.policy" List = "delete", ListOf(&["compact", "delete"]), Medium, Topic,
        from(&["log.cleanup.policy"]) => cleanup_policy:
        "delete, compact or both; compact requires keyed records; empty list keeps everything.";
    "compression.gzip.level" Int = "-1", GzipLevel, Medium, Topic,
        from(&["compression.gzip.level"]) => compression_gzip_level:
        "Level used when the broker recompresses to gzip for this topic.";
    "compression.lz4.level" Int = "9", Between(1.0, 17.0), Medium, Topic,
        from(&["compression.lz4.level"]) => compression_lz4_level:
        "Level used when the broker recompresses to lz4; 9 selects the fast compressor.";
    "compression.type" String = "producer", OneOf(COMPRESSION_TYPES), Medium, Topic,
        from(&["compression.type"]) => compression_type:
        "Stored codec; producer keeps the client's codec, others force recompression.";
    "compression.zstd.level" Int = "3", Between(-131072.0, 22.0), Medium, Topic,
        from(&["compression.zstd.level"]) => compression_zstd_level:
        "Level used when the broker recompresses to zstd for this topic.";
    "message.timestamp.after.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, Topic,
        from(&["log.message.timestamp.after.max.ms"]) => message_timestamp_after_max_ms:
        "Allowed CreateTime lead over broker clock; INVALID_TIMESTAMP beyond.";
    "message.timestamp.before.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, Topic,
        from(&["log.message.timestamp.before.max.ms"]) => message_timestamp_before_max_ms:
        "Allowed CreateTime lag behind broker clock; INVALID_TIMESTAMP beyond.";
    "message.timestamp.difference.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, Topic,
        from(&["log.message.timestamp.difference.max.ms"]) => message_timestamp_difference_max_ms:
        "Deprecated bound used when before/after keep their defaults.";
    "remote.log.copy.disable" Boolean = "false", Any, Medium, Topic => remote_log_copy_disable:
        "Tiered storage read-only switch; KRaft only, rejected in ZK mode.";
    "remote.log.delete.on.disable" Boolean = "false", Any, Medium, Topic => remote_log_delete_on_disable:
        "Delete remote data when tiering is turned off; KRaft only, rejected in ZK mode.";
    "remote.storage.enable" Boolean = "false", Any, Medium, Topic => remote_storage_enable:
        "Tiered storage for the topic; needs broker switch; not for compacted topics.";
}
