//! Owns the paths in ZooKeeper, relative to the chroot. Kafka: the path parts of `kafka.zk.ZkData`. Pure.

use crate::common::{BrokerId, TopicPartition};

pub const CLUSTER_ID: &str = "/cluster/id";
pub const CONTROLLER: &str = "/controller";
pub const CONTROLLER_EPOCH: &str = "/controller_epoch";
pub const FEATURE: &str = "/feature";
pub const BROKER_IDS: &str = "/brokers/ids";
pub const BROKER_SEQUENCE_ID: &str = "/brokers/seqid";
pub const TOPICS: &str = "/brokers/topics";
pub const DELETE_TOPICS: &str = "/admin/delete_topics";
pub const REASSIGN_PARTITIONS: &str = "/admin/reassign_partitions";
pub const PREFERRED_REPLICA_ELECTION: &str = "/admin/preferred_replica_election";
pub const ISR_CHANGE_NOTIFICATION: &str = "/isr_change_notification";
pub const LOG_DIR_EVENT_NOTIFICATION: &str = "/log_dir_event_notification";
pub const LATEST_PRODUCER_ID_BLOCK: &str = "/latest_producer_id_block";
pub const CONFIG_CHANGES: &str = "/config/changes";
pub const CONFIG_CHANGE_PREFIX: &str = "config_change_";
pub const CONSUMERS: &str = "/consumers";

/// Every broker creates these at its start, in this order, without data. Kafka: `ZkData.PersistentZkPaths`, which has
/// [`LATEST_PRODUCER_ID_BLOCK`] too: its null data cannot be written here, and Kafka treats empty data as damage.
pub const PERSISTENT: [&str; 13] = [
    CONSUMERS,
    BROKER_IDS,
    TOPICS,
    CONFIG_CHANGES,
    DELETE_TOPICS,
    BROKER_SEQUENCE_ID,
    ISR_CHANGE_NOTIFICATION,
    LOG_DIR_EVENT_NOTIFICATION,
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
];

/// Not world-readable under `zookeeper.set.acl=true`; matched as a prefix, as in Kafka's `ZkData.sensitivePath`.
const SENSITIVE: [&str; 3] = ["/config/users", "/config/brokers", "/delegation_token/tokens"];

pub fn is_sensitive(path: &str) -> bool {
    SENSITIVE.iter().any(|prefix| path.starts_with(prefix))
}

pub fn broker(id: BrokerId) -> String {
    format!("{BROKER_IDS}/{id}")
}

pub fn topic(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

pub fn partitions(topic: &str) -> String {
    format!("{TOPICS}/{topic}/partitions")
}

pub fn partition(partition: &TopicPartition) -> String {
    format!("{TOPICS}/{}/partitions/{}", partition.topic, partition.partition)
}

pub fn partition_state(partition: &TopicPartition) -> String {
    format!("{TOPICS}/{}/partitions/{}/state", partition.topic, partition.partition)
}

pub fn delete_topic(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}

/// The offset of a consumer that keeps its offsets in ZooKeeper.
pub fn consumer_offset(group: &str, tp: &TopicPartition) -> String {
    format!("{CONSUMERS}/{group}/offsets/{}/{}", tp.topic, tp.partition)
}

/// `entity_path` is `topics/T`, `brokers/1`, `users/U/clients/C` …, its names already sanitised.
pub fn config(entity_path: &str) -> String {
    format!("/config/{entity_path}")
}

pub fn topic_config(topic: &str) -> String {
    format!("/config/topics/{topic}")
}

/// The node name after the last slash.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The parent path, None for a node directly below the root.
pub fn parent(path: &str) -> Option<&str> {
    path.rsplit_once('/').map(|(parent, _)| parent).filter(|parent| !parent.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_end_below_the_root() {
        assert_eq!(parent("/a/b/c"), Some("/a/b"));
        assert_eq!(parent("/a"), None);
        assert_eq!(name("/brokers/ids/7"), "7");
    }

    #[test]
    fn secrets_are_sensitive_and_topics_are_not() {
        assert!(is_sensitive("/config/users/alice"));
        assert!(is_sensitive("/config/brokers/<default>"));
        assert!(!is_sensitive(&topic_config("users")));
    }
}
