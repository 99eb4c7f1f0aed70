//! Owns the set of partitions that this broker hosts. Kafka: `ReplicaManager.allPartitions`, `HostedPartition`.

use crate::cluster::partition::Partition;
use crate::common::TopicPartition;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A partition that has a replica here.
#[derive(Clone)]
pub(super) enum Hosted {
    Online(Arc<Partition>),
    /// Its log directory has failed.
    Offline,
}

type Topics = HashMap<Arc<str>, Arc<BTreeMap<i32, Hosted>>>;

/// Read on every request without a lock, replaced as a whole by changes of the controller, which are rare and come in
/// batches: a change copies one pointer a topic.
#[derive(Default)]
pub(super) struct Partitions {
    topics: ArcSwap<Topics>,
    change: Mutex<()>,
}

impl Partitions {
    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<Hosted> {
        self.topics.load().get(topic)?.get(&partition).cloned()
    }

    /// Every partition that is served.
    pub(super) fn online(&self) -> Vec<Arc<Partition>> {
        let topics = self.topics.load();
        let hosted = topics.values().flat_map(|partitions| partitions.values());
        let online = |hosted: &Hosted| match hosted {
            Hosted::Online(partition) => Some(Arc::clone(partition)),
            Hosted::Offline => None,
        };
        hosted.filter_map(online).collect()
    }

    /// Sets (Some) or removes (None) partitions in one step.
    pub(super) fn apply(&self, changes: impl IntoIterator<Item = (TopicPartition, Option<Hosted>)>) {
        let _change = self.change.lock();
        let mut topics = Topics::clone(&self.topics.load());
        for (tp, hosted) in changes {
            let partitions = topics.entry(Arc::clone(&tp.topic)).or_default();
            let partitions = Arc::make_mut(partitions);
            match hosted {
                Some(hosted) => {
                    partitions.insert(tp.partition, hosted);
                }
                None => {
                    partitions.remove(&tp.partition);
                    if partitions.is_empty() {
                        topics.remove(&tp.topic);
                    }
                }
            }
        }
        self.topics.store(Arc::new(topics));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_seen_and_the_last_partition_takes_its_topic_along() {
        let partitions = Partitions::default();
        let tp = |p| TopicPartition::new("t", p);
        partitions.apply([(tp(0), Some(Hosted::Offline)), (tp(1), Some(Hosted::Offline))]);
        assert!(partitions.get("t", 1).is_some());
        partitions.apply([(tp(0), None), (tp(1), None)]);
        assert!(partitions.get("t", 1).is_none());
        assert!(partitions.topics.load().is_empty());
    }
}
