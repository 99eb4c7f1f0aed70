//! Owns the keys of groups, committed offsets, transactions and producer ids.

use super::rows;

rows! {
    "group.coordinator.rebalance.protocols" List = "classic", ListOf(&["consumer", "classic", "share", "unknown"]),
        Medium, ReadOnly: "Enabled protocols; must include classic; consumer is refused at start-up in ZK mode.";
    "group.initial.rebalance.delay.ms" Int = "3000", Any, Medium, ReadOnly:
        "Extra wait for more members before an empty group's first rebalance.";
    "group.max.session.timeout.ms" Int = "1800000", Any, Medium, ReadOnly:
        "Largest session timeout a classic member may request.";
    "group.max.size" Int = "2147483647", AtLeast(1.0), Medium, ReadOnly:
        "Most members a classic group accepts; beyond it GROUP_MAX_SIZE_REACHED.";
    "group.min.session.timeout.ms" Int = "6000", Any, Medium, ReadOnly:
        "Smallest session timeout a classic member may request.";
    "offset.metadata.max.bytes" Int = "4096", Any, High, ReadOnly:
        "Longest commit metadata string (characters); beyond OFFSET_METADATA_TOO_LARGE.";
    "offsets.commit.required.acks" Short = "-1", Any, High, ReadOnly:
        "Deprecated; acks for offset commit writes; keep -1.";
    "offsets.commit.timeout.ms" Int = "5000", AtLeast(1.0), High, ReadOnly:
        "Wait for offset/group records to replicate.";
    "offsets.load.buffer.size" Int = "5242880", AtLeast(1.0), High, ReadOnly:
        "Read size when loading __consumer_offsets.";
    "offsets.retention.check.interval.ms" Long = "600000", AtLeast(1.0), High, ReadOnly:
        "Period of the expired-offset sweep.";
    "offsets.retention.minutes" Int = "10080", AtLeast(1.0), High, ReadOnly:
        "Offset lifetime after group becomes empty or commit of simple consumers.";
    "offsets.topic.compression.codec" Int = "0", Any, High, ReadOnly:
        "Codec id for offset records: 0 none,1 gzip,2 snappy,3 lz4,4 zstd.";
    "offsets.topic.num.partitions" Int = "50", AtLeast(1.0), High, ReadOnly:
        "Partitions of __consumer_offsets at creation; do not change later.";
    "offsets.topic.replication.factor" Short = "3", AtLeast(1.0), High, ReadOnly:
        "Replicas of __consumer_offsets; creation waits for enough brokers.";
    "offsets.topic.segment.bytes" Int = "104857600", AtLeast(1.0), High, ReadOnly:
        "Segment size of __consumer_offsets.";
    "producer.id.expiration.check.interval.ms" Int = "600000", AtLeast(1.0), Low, ReadOnly, internal:
        "Period of the task that forgets idle producer ids, in ms.";
    "producer.id.expiration.ms" Int = "86400000", AtLeast(1.0), Low, ClusterWide:
        "Idle time after which producer state is dropped from partitions.";
    "transaction.abort.timed.out.transaction.cleanup.interval.ms" Int = "10000", AtLeast(1.0), Low, ReadOnly:
        "Period of aborting transactions past their timeout.";
    "transaction.max.timeout.ms" Int = "900000", AtLeast(1.0), High, ReadOnly:
        "Largest transaction timeout InitProducerId accepts.";
    "transaction.partition.verification.enable" Boolean = "true", Any, Low, ClusterWide:
        "Check with the coordinator that a partition is in the transaction before appending.";
    "transaction.remove.expired.transaction.cleanup.interval.ms" Int = "3600000", AtLeast(1.0), Low, ReadOnly:
        "Period of removing expired transactional ids.";
    "transaction.state.log.load.buffer.size" Int = "5242880", AtLeast(1.0), High, ReadOnly:
        "Read size when loading __transaction_state.";
    "transaction.state.log.min.isr" Int = "2", AtLeast(1.0), High, ReadOnly:
        "Min.insync.replicas of __transaction_state at creation.";
    "transaction.state.log.num.partitions" Int = "50", AtLeast(1.0), High, ReadOnly:
        "Partitions of __transaction_state at creation; do not change later.";
    "transaction.state.log.replication.factor" Short = "3", AtLeast(1.0), High, ReadOnly:
        "Replicas of __transaction_state; creation waits for enough brokers.";
    "transaction.state.log.segment.bytes" Int = "104857600", AtLeast(1.0), High, ReadOnly:
        "Segment size of __transaction_state.";
    "transactional.id.expiration.ms" Int = "604800000", AtLeast(1.0), High, ReadOnly:
        "Idle time after which a transactional id is forgotten.";
}
