//! Owns the keys of the log: directories, segments, flushing, retention, cleaning, compression.

use super::rows;

rows! {
    "compression.gzip.level" Int = "-1", GzipLevel, Medium, ClusterWide:
        "Level used when the broker itself recompresses to gzip.";
    "compression.lz4.level" Int = "9", Between(1.0, 17.0), Medium, ClusterWide:
        "Level used when the broker recompresses to lz4; 9 actually selects the fast compressor.";
    "compression.type" String = "producer", OneOf(COMPRESSION_TYPES), High, ClusterWide:
        "Final codec stored; producer keeps what the client sent.";
    "compression.zstd.level" Int = "3", Between(-131072.0, 22.0), Medium, ClusterWide:
        "Level used when the broker recompresses to zstd.";
    "log.cleaner.backoff.ms" Long = "15000", AtLeast(0.0), Medium, ClusterWide:
        "Sleep of a cleaner thread that found nothing to clean.";
    "log.cleaner.dedupe.buffer.size" Long = "134217728", Any, Medium, ClusterWide:
        "Total key-map memory across cleaner threads; at least 1 MiB per thread.";
    "log.cleaner.delete.retention.ms" Long = "86400000", AtLeast(0.0), Medium, ClusterWide:
        "How long tombstones and txn markers survive after first cleaning.";
    "log.cleaner.enable" Boolean = "true", Any, Medium, ReadOnly:
        "Runs the compaction threads; off leaves compacted topics uncleaned.";
    "log.cleaner.io.buffer.load.factor" Double = "0.9", Any, Medium, ClusterWide:
        "Fill ratio of the dedupe map; higher cleans more, collides more.";
    "log.cleaner.io.buffer.size" Int = "524288", AtLeast(0.0), Medium, ClusterWide:
        "Total read/write buffer bytes across cleaner threads.";
    "log.cleaner.io.max.bytes.per.second" Double = "1.7976931348623157E308", Any, Medium, ClusterWide:
        "Throttle on combined cleaner read and write rate.";
    "log.cleaner.max.compaction.lag.ms" Long = "9223372036854775807", AtLeast(1.0), Medium, ClusterWide:
        "Dirty records older than this force compaction regardless of ratio.";
    "log.cleaner.min.cleanable.ratio" Double = "0.5", Between(0.0, 1.0), Medium, ClusterWide:
        "Dirty/total byte ratio needed before a log is cleaned.";
    "log.cleaner.min.compaction.lag.ms" Long = "0", AtLeast(0.0), Medium, ClusterWide:
        "Records younger than this stay uncompacted.";
    "log.cleaner.threads" Int = "1", AtLeast(0.0), Medium, ClusterWide:
        "Number of compaction threads; dynamic changes limited to half/double.";
    "log.cleanup.policy" List = "delete", ListOf(&["compact", "delete"]), Medium, ClusterWide:
        "delete, compact or both for topics without override.";
    "log.dir" String = "/tmp/kafka-logs", Any, High, ReadOnly: "Single data directory, used when log.dirs is unset.";
    "log.dirs" String = null, Any, High, ReadOnly:
        "Comma list of data directories; new replicas go to the one with fewest.";
    "log.flush.interval.messages" Long = "9223372036854775807", AtLeast(1.0), High, ClusterWide:
        "Unflushed messages per log that force fsync.";
    "log.flush.interval.ms" Long = null, Any, High, ClusterWide:
        "Age of unflushed data that forces fsync; null uses the scheduler interval.";
    "log.flush.offset.checkpoint.interval.ms" Int = "60000", AtLeast(0.0), High, ReadOnly:
        "Period of writing recovery-point-offset-checkpoint.";
    "log.flush.scheduler.interval.ms" Long = "9223372036854775807", Any, High, ReadOnly:
        "How often the flusher looks for logs to fsync.";
    "log.flush.start.offset.checkpoint.interval.ms" Int = "60000", AtLeast(0.0), High, ReadOnly:
        "Period of writing log-start-offset-checkpoint.";
    "log.index.interval.bytes" Int = "4096", AtLeast(0.0), Medium, ClusterWide: "Bytes appended between index entries.";
    "log.index.size.max.bytes" Int = "10485760", AtLeast(4.0), Medium, ClusterWide:
        "Preallocated size of offset and time index; full index rolls the segment.";
    "log.initial.task.delay.ms" Long = "30000", AtLeast(0.0), Low, ReadOnly, internal:
        "Wait after start before the first round of retention, flush and checkpoint tasks, in ms.";
    "log.message.downconversion.enable" Boolean = "true", Any, Low, ClusterWide:
        "When false old fetch versions get UNSUPPORTED_VERSION instead of converted data.";
    "log.message.format.version" String = "3.0-IV1", MetadataVersion, Medium, ReadOnly:
        "Deprecated; ignored when inter.broker.protocol.version is 3.0 or newer.";
    "log.message.timestamp.after.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide:
        "How far ahead of the broker clock CreateTime may be.";
    "log.message.timestamp.before.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide:
        "How far behind the broker clock CreateTime may be.";
    "log.message.timestamp.difference.max.ms" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide:
        "Deprecated single bound; feeds before/after when those keep defaults.";
    "log.message.timestamp.type" String = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide:
        "Whether stored timestamps are CreateTime or LogAppendTime.";
    "log.preallocate" Boolean = "false", Any, Medium, ClusterWide:
        "Preallocate segment files to full size on creation.";
    "log.retention.bytes" Long = "-1", Any, High, ClusterWide:
        "Bytes kept per partition before old segments are deleted; -1 unlimited.";
    "log.retention.check.interval.ms" Long = "300000", AtLeast(1.0), Medium, ReadOnly: "Period of the retention task.";
    "log.retention.hours" Int = "168", Any, High, ReadOnly: "Retention in hours; lowest priority of the three units.";
    "log.retention.minutes" Int = null, Any, High, ReadOnly: "Retention in minutes; overrides hours.";
    "log.retention.ms" Long = null, Any, High, ClusterWide:
        "Retention in milliseconds; overrides minutes and hours; -1 unlimited.";
    "log.roll.hours" Int = "168", AtLeast(1.0), High, ReadOnly: "Maximum age of an active segment in hours.";
    "log.roll.jitter.hours" Int = "0", AtLeast(0.0), High, ReadOnly: "Random amount subtracted from roll time, hours.";
    "log.roll.jitter.ms" Long = null, Any, High, ClusterWide:
        "Random amount subtracted from roll time, ms; overrides hours.";
    "log.roll.ms" Long = null, Any, High, ClusterWide: "Maximum age of an active segment, ms; overrides hours.";
    "log.segment.bytes" Int = "1073741824", AtLeast(14.0), High, ClusterWide:
        "Size at which a segment rolls; also the largest single append.";
    "log.segment.delete.delay.ms" Long = "60000", AtLeast(0.0), High, ClusterWide:
        "Wait between renaming to .deleted and unlinking.";
    "message.max.bytes" Int = "1048588", AtLeast(0.0), High, ClusterWide:
        "Largest record batch accepted (after broker recompression).";
    "min.insync.replicas" Int = "1", AtLeast(1.0), High, ClusterWide:
        "ISR size needed for acks=all and for high watermark advance.";
    "num.recovery.threads.per.data.dir" Int = "1", AtLeast(1.0), High, ClusterWide:
        "Threads per dir for log load at start and flush at stop.";
}
