//! Owns what this broker knows of the cluster: brokers alive, topics, leaders. Pure; replaced whole by each UpdateMetadata.
//! Kafka: `ZkMetadataCache`, `MetadataSnapshot`.

use crate::common::{BrokerId, ControllerEpoch, LeaderEpoch, Uuid};
use crate::config::endpoint::Endpoint;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Leader id by which the controller says that a partition is being deleted (`LeaderAndIsr.LEADER_DURING_DELETE`).
pub const LEADER_DURING_DELETE: BrokerId = BrokerId(-2);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerImage {
    pub id: BrokerId,
    pub rack: Option<Arc<str>>,
    pub endpoints: Vec<Endpoint>,
}

impl BrokerImage {
    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.listener.as_str() == listener)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionImage {
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub isr: Vec<BrokerId>,
    pub replicas: Vec<BrokerId>,
    /// Replicas in failed log directories.
    pub offline_replicas: Vec<BrokerId>,
    /// dataVersion of the partition's state znode.
    pub partition_epoch: i32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicImage {
    pub name: Arc<str>,
    /// Zero when the topic has none.
    pub id: Uuid,
    pub partitions: BTreeMap<i32, Arc<PartitionImage>>,
}

/// An immutable picture: readers hold an `Arc` of it. Cloning copies pointers only.
#[derive(Clone, Debug, Default)]
pub struct MetadataImage {
    pub controller: Option<BrokerId>,
    pub controller_epoch: Option<ControllerEpoch>,
    pub brokers: BTreeMap<BrokerId, Arc<BrokerImage>>,
    pub topics: BTreeMap<Arc<str>, Arc<TopicImage>>,
    pub topic_names: HashMap<Uuid, Arc<str>>,
}

/// What one UpdateMetadata says.
#[derive(Clone, Debug)]
pub struct MetadataUpdate {
    pub controller: BrokerId,
    pub controller_epoch: ControllerEpoch,
    pub brokers: Vec<BrokerImage>,
    /// Only the partitions that changed. [`LEADER_DURING_DELETE`] removes one.
    pub topics: Vec<TopicImage>,
}

impl MetadataImage {
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(name)
    }

    pub fn partition(&self, topic: &str, partition: i32) -> Option<&Arc<PartitionImage>> {
        self.topics.get(topic)?.partitions.get(&partition)
    }

    pub fn topic_name(&self, id: Uuid) -> Option<Arc<str>> {
        self.topic_names.get(&id).cloned()
    }

    pub fn topic_id(&self, name: &str) -> Option<Uuid> {
        self.topics.get(name).map(|t| t.id).filter(|id| !id.is_zero())
    }

    /// The picture after `update`. Brokers are replaced as a whole, topics by partition.
    pub fn updated(&self, update: &MetadataUpdate) -> Self {
        let mut next = Self {
            controller: (update.controller.0 >= 0).then_some(update.controller),
            controller_epoch: Some(update.controller_epoch),
            brokers: update.brokers.iter().map(|b| (b.id, Arc::new(b.clone()))).collect(),
            topics: self.topics.clone(),
            topic_names: self.topic_names.clone(),
        };
        for changed in &update.topics {
            let known = next.topics.get(&changed.name);
            // A topic that was deleted and made again under its name starts empty.
            let mut partitions = match known {
                Some(topic) if topic.id == changed.id || changed.id.is_zero() || topic.id.is_zero() => {
                    topic.partitions.clone()
                }
                _ => BTreeMap::new(),
            };
            let id = if changed.id.is_zero() { known.map_or(Uuid::ZERO, |t| t.id) } else { changed.id };
            if let Some(stale) = known.map(|t| t.id).filter(|old| *old != id) {
                next.topic_names.remove(&stale);
            }
            for (number, partition) in &changed.partitions {
                if partition.leader == LEADER_DURING_DELETE {
                    partitions.remove(number);
                } else {
                    partitions.insert(*number, Arc::clone(partition));
                }
            }
            if partitions.is_empty() {
                next.topics.remove(&changed.name);
                next.topic_names.remove(&id);
                continue;
            }
            if !id.is_zero() {
                next.topic_names.insert(id, Arc::clone(&changed.name));
            }
            let name = Arc::clone(&changed.name);
            next.topics.insert(Arc::clone(&name), Arc::new(TopicImage { name, id, partitions }));
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(leader: i32) -> PartitionImage {
        PartitionImage {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(0),
            isr: vec![BrokerId(1)],
            replicas: vec![BrokerId(1)],
            offline_replicas: vec![],
            partition_epoch: 0,
        }
    }

    /// Name, id byte, and the leader of each partition.
    type Topic<'a> = (&'a str, u8, Vec<(i32, i32)>);

    fn update<const N: usize>(topics: [Topic<'_>; N]) -> MetadataUpdate {
        let topics = topics
            .into_iter()
            .map(|(name, id, partitions)| TopicImage {
                name: name.into(),
                id: Uuid([id; 16]),
                partitions: partitions.into_iter().map(|(p, leader)| (p, Arc::new(partition(leader)))).collect(),
            })
            .collect();
        MetadataUpdate { controller: BrokerId(1), controller_epoch: ControllerEpoch(1), brokers: vec![], topics }
    }

    #[test]
    fn partitions_are_merged_and_a_deleted_topic_leaves_nothing() {
        let image = MetadataImage::default().updated(&update([("a", 1, vec![(0, 1)]), ("b", 2, vec![(0, 1)])]));
        let image = image.updated(&update([("a", 1, vec![(1, 2)])]));
        assert_eq!(image.topics["a"].partitions.keys().collect::<Vec<_>>(), [&0, &1]);
        assert_eq!(image.topic_name(Uuid([1; 16])).as_deref(), Some("a"));

        let image = image.updated(&update([("a", 1, vec![(0, -2), (1, -2)])]));
        assert!(image.topic("a").is_none());
        assert_eq!(image.topic_name(Uuid([1; 16])), None);
        assert!(image.topic("b").is_some());
    }

    #[test]
    fn a_topic_made_again_forgets_the_partitions_of_its_former_id() {
        let image = MetadataImage::default().updated(&update([("a", 1, vec![(0, 1), (1, 1)])]));
        let image = image.updated(&update([("a", 9, vec![(0, 1)])]));
        assert_eq!(image.topics["a"].partitions.len(), 1);
        assert_eq!(image.topic_name(Uuid([1; 16])), None);
        assert_eq!(image.topic_name(Uuid([9; 16])).as_deref(), Some("a"));
    }
}
