//! Owns the typed keys of the coordinators and of their state topics. Kafka:
//! `GroupCoordinatorConfig`, `TransactionLogConfig`.

use super::def::{ConfigError, Props, Values};
use super::keys::{CoordinatorForms, GroupTimes};
use crate::common::Millis;

pub use super::keys::{GroupConfig, TransactionConfig};

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
    pub(super) fn new(values: &Values, topics: &CoordinatorForms) -> Result<Self, ConfigError> {
        let offsets_retention_ms = Millis::from(topics.offsets_retention_minutes) * 60_000;
        Self::read(|key| values.of(key), GroupTimes { offsets_retention_ms })
    }
}

impl InternalTopic {
    /// `__consumer_offsets`. Kafka: `GroupCoordinator.offsetsTopicConfigs`.
    pub(super) fn offsets(keys: &CoordinatorForms) -> Self {
        Self {
            partitions: keys.offsets_topic_num_partitions,
            replication_factor: keys.offsets_topic_replication_factor.into(),
            overrides: overrides([
                ("cleanup.policy", "compact".to_owned()),
                ("segment.bytes", keys.offsets_topic_segment_bytes.to_string()),
                ("compression.type", "producer".to_owned()),
            ]),
        }
    }

    /// `__transaction_state`. Kafka: `TransactionStateManager.transactionTopicConfigs`.
    pub(super) fn transactions(keys: &CoordinatorForms) -> Self {
        Self {
            partitions: keys.transaction_state_log_num_partitions,
            replication_factor: keys.transaction_state_log_replication_factor.into(),
            overrides: overrides([
                ("unclean.leader.election.enable", "false".to_owned()),
                ("compression.type", "uncompressed".to_owned()),
                ("cleanup.policy", "compact".to_owned()),
                ("min.insync.replicas", keys.transaction_state_log_min_isr.to_string()),
                ("segment.bytes", keys.transaction_state_log_segment_bytes.to_string()),
            ]),
        }
    }
}
