//! Owns the typed keys of the coordinators and of the topics that they keep their state in. Kafka:
//! `GroupCoordinatorConfig`, `TransactionLogConfig`.

use super::def::{Props, Values};
use crate::common::Millis;

/// What the group coordinator is told. Times are ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    /// Most members of one group.
    pub max_size: usize,
    pub initial_rebalance_delay_ms: i32,
    /// UTF-16 units, as Java counts them.
    pub offset_metadata_max: usize,
    /// How many bytes a coordinator reads at once while it loads.
    pub load_buffer_bytes: u32,
    pub offsets_retention_ms: Millis,
    pub offsets_retention_check_interval_ms: Millis,
    /// How long a commit or a group's record may wait for its replicas.
    pub commit_timeout_ms: i32,
    /// What a commit or a group's record waits for: all replicas (-1), or its own log (0 and 1).
    pub commit_required_acks: i32,
    /// Codec id of what the coordinator writes.
    pub compression_codec: i32,
}

/// What the transaction coordinator is told. Times are ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransactionConfig {
    /// The longest timeout that a producer may ask for.
    pub timeout_max_ms: i32,
    /// How long an id that nobody uses is kept.
    pub id_expiration_ms: Millis,
    /// Between looks for transactions that are open for too long.
    pub abort_interval_ms: Millis,
    /// Between looks for ids that nobody uses.
    pub expiry_interval_ms: Millis,
    /// How many bytes a coordinator reads at once while it loads.
    pub load_buffer_bytes: u32,
}

/// How a coordinator's topic is created when it is first needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InternalTopic {
    pub partitions: i32,
    pub replication_factor: i32,
    pub overrides: Props,
}

fn overrides<const N: usize>(pairs: [(&str, String); N]) -> Props {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

impl GroupConfig {
    pub(super) fn new(v: &Values) -> Self {
        let count = |key| usize::try_from(v.int(key)).unwrap_or(0);
        Self {
            min_session_timeout_ms: v.int("group.min.session.timeout.ms"),
            max_session_timeout_ms: v.int("group.max.session.timeout.ms"),
            max_size: count("group.max.size"),
            initial_rebalance_delay_ms: v.int("group.initial.rebalance.delay.ms"),
            offset_metadata_max: count("offset.metadata.max.bytes"),
            load_buffer_bytes: v.int("offsets.load.buffer.size").max(1).unsigned_abs(),
            offsets_retention_ms: Millis::from(v.int("offsets.retention.minutes")) * 60_000,
            offsets_retention_check_interval_ms: v.long("offsets.retention.check.interval.ms"),
            commit_timeout_ms: v.int("offsets.commit.timeout.ms"),
            commit_required_acks: v.int("offsets.commit.required.acks"),
            compression_codec: v.int("offsets.topic.compression.codec"),
        }
    }
}

impl TransactionConfig {
    pub(super) fn new(v: &Values) -> Self {
        Self {
            timeout_max_ms: v.int("transaction.max.timeout.ms"),
            id_expiration_ms: v.int("transactional.id.expiration.ms").into(),
            abort_interval_ms: v.int("transaction.abort.timed.out.transaction.cleanup.interval.ms").into(),
            expiry_interval_ms: v.int("transaction.remove.expired.transaction.cleanup.interval.ms").into(),
            load_buffer_bytes: v.int("transaction.state.log.load.buffer.size").max(1).unsigned_abs(),
        }
    }
}

impl InternalTopic {
    /// `__consumer_offsets`. Kafka: `GroupCoordinator.offsetsTopicConfigs`.
    pub(super) fn offsets(v: &Values) -> Self {
        Self {
            partitions: v.int("offsets.topic.num.partitions"),
            replication_factor: v.int("offsets.topic.replication.factor"),
            overrides: overrides([
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", v.int("offsets.topic.segment.bytes").to_string()),
                ("compression.type", "producer".to_owned()),
            ]),
        }
    }

    /// `__transaction_state`. Kafka: `TransactionStateManager.transactionTopicConfigs`.
    pub(super) fn transactions(v: &Values) -> Self {
        Self {
            partitions: v.int("transaction.state.log.num.partitions"),
            replication_factor: v.int("transaction.state.log.replication.factor"),
            overrides: overrides([
                ("unclean.leader.election.enable", "false".to_owned()),
                ("compression.type", "uncompressed".to_owned()),
                ("cleanup.policy", "compact".to_owned()),
                ("min.insync.replicas", v.int("transaction.state.log.min.isr").to_string()),
                ("segment.bytes", v.int("transaction.state.log.segment.bytes").to_string()),
            ]),
        }
    }
}
