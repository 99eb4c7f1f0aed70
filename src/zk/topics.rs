//! Owns reading topics and partition states in bulk. Kafka: `KafkaZkClient.getAllTopicsInCluster`,
//! `getReplicaAssignmentAndTopicIdForTopics`, `getTopicPartitionStates`. Malformed nodes are logged and skipped.

use super::client::{Client, Error};
use super::data::topic::{PartitionState, TopicAssignment};
use super::paths;
use super::watch::Watcher;
use crate::common::TopicPartition;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::warn;

/// Names, sorted.
pub async fn names(client: &Client, watch: Option<&Watcher>) -> Result<Vec<String>, Error> {
    match client.children_watched(paths::TOPICS, watch).await {
        Ok(mut names) => {
            names.sort_unstable();
            Ok(names)
        }
        Err(Error::NoNode) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// The assignments of those of `names` that exist, with the version of each znode.
pub async fn assignments<S: AsRef<str>>(
    client: &Client,
    names: &[S],
    watch: Option<&Watcher>,
) -> Result<BTreeMap<Arc<str>, (TopicAssignment, i32)>, Error> {
    let nodes: Vec<String> = names.iter().map(|name| paths::topic(name.as_ref())).collect();
    let mut out = BTreeMap::new();
    for (name, node) in names.iter().zip(client.get_all(&nodes, watch).await?) {
        let name = name.as_ref();
        let node = match node {
            Ok(node) => node,
            Err(Error::NoNode) => continue,
            Err(error) => return Err(error),
        };
        match TopicAssignment::decode(node.data.as_deref()) {
            Ok(topic) => {
                out.insert(Arc::from(name), (topic, node.stat.version));
            }
            Err(error) => warn!(topic = name, %error, "topic skipped"),
        }
    }
    Ok(out)
}

/// The states of those of `partitions` that have one, with the version of each znode ("partition epoch").
pub async fn states(
    client: &Client,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, (PartitionState, i32)>, Error> {
    let nodes: Vec<String> = partitions.iter().map(paths::partition_state).collect();
    let mut out = BTreeMap::new();
    for (tp, node) in partitions.iter().zip(client.get_many(&nodes).await?) {
        let node = match node {
            Ok(node) => node,
            Err(Error::NoNode) => continue,
            Err(error) => return Err(error),
        };
        match PartitionState::decode(node.data.as_deref()) {
            Ok(state) => {
                out.insert(tp.clone(), (state, node.stat.version));
            }
            Err(error) => warn!(%tp, %error, "partition state skipped"),
        }
    }
    Ok(out)
}
