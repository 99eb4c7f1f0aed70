//! Owns the keys of groups, committed offsets and transactions.

use super::{KRAFT, keys};
use crate::common::Millis;

keys! {
    /// The keys of the group coordinator. Times are ms.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct GroupConfig with GroupTimes {
        offsets_retention_ms: Millis,
    }

    "group.initial.rebalance.delay.ms" Int = "3000", Any, Medium, ReadOnly => initial_rebalance_delay_ms:
        "Extra wait for more members before an empty group's first rebalance.";
    "group.max.session.timeout.ms" Int = "1800000", Any, Medium, ReadOnly => max_session_timeout_ms:
        "Largest session timeout a classic member may request.";
    "group.max.size" Int = "2147483647", AtLeast(1.0), Medium, ReadOnly => max_size as usize:
        "Most members a classic group accepts; beyond it GROUP_MAX_SIZE_REACHED.";
    "group.min.session.timeout.ms" Int = "6000", Any, Medium, ReadOnly => min_session_timeout_ms:
        "Smallest session timeout a classic member may request.";
    "offset.metadata.max.bytes" Int = "4096", Any, High, ReadOnly => offset_metadata_max as usize:
        "Longest commit metadata string (characters); beyond OFFSET_METADATA_TOO_LARGE.";
    "offsets.commit.required.acks" Short = "-1", Any, High, ReadOnly => commit_required_acks as i32:
        "Deprecated; acks for offset commit writes; keep -1.";
    "offsets.commit.timeout.ms" Int = "5000", AtLeast(1.0), High, ReadOnly => commit_timeout_ms:
        "Wait for offset/group records to replicate.";
    "offsets.load.buffer.size" Int = "5242880", AtLeast(1.0), High, ReadOnly => load_buffer_bytes as u32:
        "Read size when loading __consumer_offsets.";
    "offsets.retention.check.interval.ms" Long = "600000", AtLeast(1.0), High, ReadOnly
        => offsets_retention_check_interval_ms: "Period of the expired-offset sweep.";
    "offsets.topic.compression.codec" Int = "0", Any, High, ReadOnly => compression_codec:
        "Codec id for offset records: 0 none,1 gzip,2 snappy,3 lz4,4 zstd.";
}

keys! {
    /// The keys of the transaction coordinator. Times are ms.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct TransactionConfig {}

    "transaction.abort.timed.out.transaction.cleanup.interval.ms" Int = "10000", AtLeast(1.0), Low, ReadOnly
        => abort_interval_ms as Millis: "Period of aborting transactions past their timeout.";
    "transaction.max.timeout.ms" Int = "900000", AtLeast(1.0), High, ReadOnly => timeout_max_ms:
        "Largest transaction timeout InitProducerId accepts.";
    "transaction.remove.expired.transaction.cleanup.interval.ms" Int = "3600000", AtLeast(1.0), Low, ReadOnly
        => expiry_interval_ms as Millis: "Period of removing expired transactional ids.";
    "transaction.state.log.load.buffer.size" Int = "5242880", AtLeast(1.0), High, ReadOnly => load_buffer_bytes as u32:
        "Read size when loading __transaction_state.";
    "transactional.id.expiration.ms" Int = "604800000", AtLeast(1.0), High, ReadOnly => id_expiration_ms as Millis:
        "Idle time after which a transactional id is forgotten.";
}

keys! {
    pub(in crate::config) struct CoordinatorForms {}

    "offsets.retention.minutes" Int = "10080", AtLeast(1.0), High, ReadOnly => offsets_retention_minutes:
        "Offset lifetime after group becomes empty or commit of simple consumers.";
    "offsets.topic.num.partitions" Int = "50", AtLeast(1.0), High, ReadOnly => offsets_topic_num_partitions:
        "Partitions of __consumer_offsets at creation; do not change later.";
    "offsets.topic.replication.factor" Short = "3", AtLeast(1.0), High, ReadOnly => offsets_topic_replication_factor:
        "Replicas of __consumer_offsets; creation waits for enough brokers.";
    "offsets.topic.segment.bytes" Int = "104857600", AtLeast(1.0), High, ReadOnly => offsets_topic_segment_bytes:
        "Segment size of __consumer_offsets.";
    "transaction.state.log.min.isr" Int = "2", AtLeast(1.0), High, ReadOnly => transaction_state_log_min_isr:
        "Min.insync.replicas of __transaction_state at creation.";
    "transaction.state.log.num.partitions" Int = "50", AtLeast(1.0), High, ReadOnly
        => transaction_state_log_num_partitions: "Partitions of __transaction_state at creation; do not change later.";
    "transaction.state.log.replication.factor" Short = "3", AtLeast(1.0), High, ReadOnly
        => transaction_state_log_replication_factor:
        "Replicas of __transaction_state; creation waits for enough brokers.";
    "transaction.state.log.segment.bytes" Int = "104857600", AtLeast(1.0), High, ReadOnly
        => transaction_state_log_segment_bytes: "Segment size of __transaction_state.";
}

keys! {
    /// Group protocols that a broker with ZooKeeper does not support; their keys are checked all the same.
    pub(in crate::config) struct GroupProtocolKeys {}

    "group.consumer.heartbeat.interval.ms" Int = "5000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_consumer_heartbeat_interval_ms:
        "Heartbeat interval of the new consumer protocol. Without effect on a ZooKeeper broker.";
    "group.consumer.max.heartbeat.interval.ms" Int = "15000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_consumer_max_heartbeat_interval_ms:
        "Upper bound of group heartbeat interval. Without effect on a ZooKeeper broker.";
    "group.consumer.max.session.timeout.ms" Int = "60000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_consumer_max_session_timeout_ms:
        "Upper bound of group session timeout. Without effect on a ZooKeeper broker.";
    "group.consumer.min.heartbeat.interval.ms" Int = "5000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_consumer_min_heartbeat_interval_ms:
        "Lower bound of group heartbeat interval. Without effect on a ZooKeeper broker.";
    "group.consumer.min.session.timeout.ms" Int = "45000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_consumer_min_session_timeout_ms:
        "Lower bound of group session timeout. Without effect on a ZooKeeper broker.";
    "group.consumer.session.timeout.ms" Int = "45000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_consumer_session_timeout_ms:
        "Session timeout of the new consumer protocol. Without effect on a ZooKeeper broker.";
    "group.coordinator.rebalance.protocols" List =
        "classic", ListOf(&["consumer", "classic", "share", "unknown"]), Medium, ReadOnly
        => group_coordinator_rebalance_protocols:
        "Enabled protocols; must include classic; consumer is refused at start-up in ZK mode.";
    "group.share.heartbeat.interval.ms" Int = "5000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_heartbeat_interval_ms:
        "Share group heartbeat interval (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.heartbeat.interval.ms" Int = "15000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_max_heartbeat_interval_ms:
        "Share heartbeat upper bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.record.lock.duration.ms" Int = "60000", Between(30000.0, 3600000.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_max_record_lock_duration_ms:
        "Share lock upper bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.max.session.timeout.ms" Int = "60000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_max_session_timeout_ms:
        "Share session upper bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.min.heartbeat.interval.ms" Int = "5000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_min_heartbeat_interval_ms:
        "Share heartbeat lower bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.min.record.lock.duration.ms" Int = "15000", Between(1000.0, 30000.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_min_record_lock_duration_ms:
        "Share lock lower bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.min.session.timeout.ms" Int = "45000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_min_session_timeout_ms:
        "Share session lower bound (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.record.lock.duration.ms" Int = "30000", Between(1000.0, 60000.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_record_lock_duration_ms:
        "Share acquisition lock time (not available in ZK mode). Without effect on a ZooKeeper broker.";
    "group.share.session.timeout.ms" Int = "45000", AtLeast(1.0), Medium, ReadOnly,
        no_effect(KRAFT) => group_share_session_timeout_ms:
        "Share session timeout (not available in ZK mode). Without effect on a ZooKeeper broker.";
}
