//! Owns the changes of in-sync replicas that the controller has not answered.
//!
//! A partition has one here at most, so there are no more than partitions.

use crate::cluster::isr::IsrChange;
use crate::cluster::partition::Partition;
use crate::common::{TopicPartition, Uuid};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use tokio::sync::Notify;

/// See the module's page.
#[derive(Default)]
pub(super) struct IsrQueue {
    unanswered: Mutex<BTreeMap<TopicPartition, IsrItem>>,
    arrived: Notify,
}

#[derive(Clone)]
pub(super) struct IsrItem {
    pub partition: Arc<Partition>,
    /// Zero when none is known.
    pub topic_id: Uuid,
    pub change: IsrChange,
}

impl IsrQueue {
    /// Gives the change back when another one of the partition is here.
    pub(super) fn push(&self, partition: &Arc<Partition>, change: IsrChange) -> Result<(), IsrChange> {
        let topic_id = partition.topic_id().unwrap_or(Uuid::ZERO);
        match self.unanswered.lock().entry(partition.topic_partition.clone()) {
            Entry::Occupied(_) => return Err(change),
            Entry::Vacant(vacant) => {
                vacant.insert(IsrItem { partition: Arc::clone(partition), topic_id, change });
            }
        }
        self.arrived.notify_one();
        Ok(())
    }

    /// All of them, which stay here.
    pub(super) fn all(&self) -> BTreeMap<TopicPartition, IsrItem> {
        self.unanswered.lock().clone()
    }

    /// The partition's change has its answer.
    pub(super) fn remove(&self, tp: &TopicPartition) {
        self.unanswered.lock().remove(tp);
    }

    /// Completes when a change has come since the last call. Cancel safe.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
