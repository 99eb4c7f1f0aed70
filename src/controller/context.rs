//! Owns the state of a term's controller: brokers, topics, leaderships, deletions. Pure.
//! Kafka: `ControllerContext`.
//!
//! ZooKeeper is authoritative; this is what was read from it and written to it in this term. The states of partitions
//! and replicas exist only here, and are rebuilt by the next controller.

use super::partition_state::PartitionState;
use super::replica_state::ReplicaState;
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, TopicPartition, Uuid};
use crate::zk::data::broker::BrokerRegistration;
use crate::zk::data::topic::{LeaderAndIsr, ReplicaAssignment};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The leader epoch in requests for a topic that is being deleted: brokers accept it whatever epoch they have.
pub(super) const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// The leadership of a partition, and the write that set it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Leadership {
    pub(super) leader_and_isr: LeaderAndIsr,
    /// The version of the state znode.
    pub(super) partition_epoch: i32,
    /// The term that decided it.
    pub(super) controller_epoch: ControllerEpoch,
}

#[derive(Clone, Debug)]
pub struct LiveBroker {
    pub registration: BrokerRegistration,
    pub epoch: BrokerEpoch,
}

#[derive(Debug)]
pub(super) struct Partition {
    pub(super) assignment: ReplicaAssignment,
    pub(super) leadership: Option<Leadership>,
    pub(super) state: PartitionState,
    pub(super) replicas: BTreeMap<BrokerId, ReplicaState>,
}

#[derive(Debug, Default)]
pub(super) struct Topic {
    /// None only for a topic whose id could not be written yet.
    pub(super) id: Option<Uuid>,
    pub(super) partitions: BTreeMap<i32, Partition>,
}

/// A replica: a partition on a broker.
pub(super) type Replica = (TopicPartition, BrokerId);

#[derive(Debug)]
pub(super) struct Context {
    pub(super) epoch: ControllerEpoch,
    /// All registered brokers.
    brokers: BTreeMap<BrokerId, LiveBroker>,
    /// Those of them in controlled shutdown: they lead nothing new and join no ISR, but still get every update.
    shutting_down: BTreeSet<BrokerId>,
    topics: BTreeMap<Arc<str>, Topic>,
    topic_names: BTreeMap<Uuid, Arc<str>>,
    /// Partitions in failed log directories, according to their brokers' answers.
    offline_dirs: BTreeMap<BrokerId, BTreeSet<TopicPartition>>,
    /// Partitions being reassigned, until the completion is written. Kafka: `partitionsBeingReassigned`.
    pub(super) reassigning: BTreeSet<TopicPartition>,
    /// The czxid of the last processed `/admin/reassign_partitions`.
    pub(super) admin_moves_seen: Option<i64>,
    /// Topics to delete.
    pub(super) to_delete: BTreeSet<Arc<str>>,
    pub(super) deletion_started: BTreeSet<Arc<str>>,
    pub(super) deletion_ineligible: BTreeSet<Arc<str>>,
}

impl Context {
    pub(super) fn new(epoch: ControllerEpoch) -> Self {
        Self {
            epoch,
            brokers: BTreeMap::new(),
            shutting_down: BTreeSet::new(),
            topics: BTreeMap::new(),
            topic_names: BTreeMap::new(),
            offline_dirs: BTreeMap::new(),
            reassigning: BTreeSet::new(),
            admin_moves_seen: None,
            to_delete: BTreeSet::new(),
            deletion_started: BTreeSet::new(),
            deletion_ineligible: BTreeSet::new(),
        }
    }

    // Brokers

    pub(super) fn add_broker(&mut self, registration: BrokerRegistration, epoch: BrokerEpoch) {
        self.brokers.insert(registration.id, LiveBroker { registration, epoch });
    }

    pub(super) fn remove_broker(&mut self, id: BrokerId) {
        self.brokers.remove(&id);
        self.shutting_down.remove(&id);
    }

    /// Notes that a broker is shutting down, until its registration is deleted.
    pub(super) fn begin_shutdown(&mut self, id: BrokerId) {
        self.shutting_down.insert(id);
    }

    pub(super) fn is_shutting_down(&self, id: BrokerId) -> bool {
        self.shutting_down.contains(&id)
    }

    pub(super) fn broker(&self, id: BrokerId) -> Option<&LiveBroker> {
        self.brokers.get(&id)
    }

    pub(super) fn brokers(&self) -> impl Iterator<Item = &LiveBroker> {
        self.brokers.values()
    }

    /// All brokers that get updates, those that are shutting down included. Kafka: `liveOrShuttingDownBrokerIds`.
    pub(super) fn broker_ids(&self) -> Vec<BrokerId> {
        self.brokers.keys().copied().collect()
    }

    /// Registered and not shutting down. Kafka: `isLiveBroker`.
    pub(super) fn is_live(&self, id: BrokerId) -> bool {
        self.brokers.contains_key(&id) && !self.shutting_down.contains(&id)
    }

    /// May lead and be in sync.
    pub(super) fn is_online(&self, id: BrokerId, tp: &TopicPartition) -> bool {
        self.is_live(id) && self.has_dir(id, tp)
    }

    /// As [`Self::is_online`], brokers that are shutting down included.
    pub(super) fn is_online_or_leaving(&self, id: BrokerId, tp: &TopicPartition) -> bool {
        self.brokers.contains_key(&id) && self.has_dir(id, tp)
    }

    fn has_dir(&self, id: BrokerId, tp: &TopicPartition) -> bool {
        !self.offline_dirs.get(&id).is_some_and(|lost| lost.contains(tp))
    }

    /// A broker that starts or stops has no known failed directories.
    pub(super) fn forget_offline_dirs(&mut self, id: BrokerId) {
        self.offline_dirs.remove(&id);
    }

    /// Records a broker's answer about its replicas; returns those that are available again, and those newly lost.
    pub(super) fn absorb_dir_states(
        &mut self,
        id: BrokerId,
        online: &[TopicPartition],
        offline: Vec<TopicPartition>,
    ) -> (Vec<TopicPartition>, Vec<TopicPartition>) {
        let lost = self.offline_dirs.entry(id).or_default();
        let found = online.iter().filter(|tp| lost.remove(tp)).cloned().collect();
        (found, offline.into_iter().filter(|tp| lost.insert(tp.clone())).collect())
    }

    // Topics

    pub(super) fn topic_names(&self) -> Vec<Arc<str>> {
        self.topics.keys().cloned().collect()
    }

    pub(super) fn has_topic(&self, topic: &str) -> bool {
        self.topics.contains_key(topic)
    }

    pub(super) fn topic_id(&self, topic: &str) -> Option<Uuid> {
        self.topics.get(topic)?.id
    }

    pub(super) fn topic_name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.topic_names.get(&id)
    }

    pub(super) fn add_topic(&mut self, name: &Arc<str>, id: Option<Uuid>) {
        self.topics.entry(Arc::clone(name)).or_default().id = id;
        if let Some(id) = id {
            self.topic_names.insert(id, Arc::clone(name));
        }
    }

    /// Forgets a topic and its deletion.
    pub(super) fn remove_topic(&mut self, name: &str) {
        if let Some(id) = self.topics.remove(name).and_then(|topic| topic.id) {
            self.topic_names.remove(&id);
        }
        self.reassigning.retain(|tp| &*tp.topic != name);
        self.to_delete.remove(name);
        self.deletion_started.remove(name);
        self.deletion_ineligible.remove(name);
        for lost in self.offline_dirs.values_mut() {
            lost.retain(|tp| &*tp.topic != name);
        }
    }

    // Partitions

    /// Adds a partition that the state machines do not know yet.
    pub(super) fn add_partition(&mut self, tp: &TopicPartition, assignment: ReplicaAssignment) {
        if assignment.is_being_reassigned() {
            self.reassigning.insert(tp.clone());
        }
        let partition =
            Partition { assignment, leadership: None, state: PartitionState::NonExistent, replicas: BTreeMap::new() };
        self.topics.entry(Arc::clone(&tp.topic)).or_default().partitions.entry(tp.partition).or_insert(partition);
    }

    pub(super) fn has_partition(&self, tp: &TopicPartition) -> bool {
        self.partition(tp).is_some()
    }

    pub(super) fn partition(&self, tp: &TopicPartition) -> Option<&Partition> {
        self.topics.get(&tp.topic)?.partitions.get(&tp.partition)
    }

    fn partition_mut(&mut self, tp: &TopicPartition) -> Option<&mut Partition> {
        self.topics.get_mut(&tp.topic)?.partitions.get_mut(&tp.partition)
    }

    pub(super) fn partitions(&self) -> Vec<TopicPartition> {
        self.topics.keys().flat_map(|name| self.partitions_of(name)).collect()
    }

    pub(super) fn partitions_of(&self, topic: &str) -> Vec<TopicPartition> {
        let Some((name, topic)) = self.topics.get_key_value(topic) else { return Vec::new() };
        topic.partitions.keys().map(|id| TopicPartition::new(Arc::clone(name), *id)).collect()
    }

    pub(super) fn assignment(&self, tp: &TopicPartition) -> Option<&ReplicaAssignment> {
        Some(&self.partition(tp)?.assignment)
    }

    /// The brokers of a partition, none for an unknown one.
    pub(super) fn replicas(&self, tp: &TopicPartition) -> &[BrokerId] {
        self.partition(tp).map_or(&[], |partition| &partition.assignment.replicas)
    }

    pub(super) fn online_replicas(&self, tp: &TopicPartition) -> Vec<BrokerId> {
        self.replicas(tp).iter().copied().filter(|id| self.is_online(*id, tp)).collect()
    }

    pub(super) fn online_or_leaving_replicas(&self, tp: &TopicPartition) -> Vec<BrokerId> {
        self.replicas(tp).iter().copied().filter(|id| self.is_online_or_leaving(*id, tp)).collect()
    }

    pub(super) fn set_assignment(&mut self, tp: &TopicPartition, assignment: ReplicaAssignment) {
        if let Some(partition) = self.partition_mut(tp) {
            partition.assignment = assignment;
        }
    }

    pub(super) fn leadership(&self, tp: &TopicPartition) -> Option<&Leadership> {
        self.partition(tp)?.leadership.as_ref()
    }

    pub(super) fn set_leadership(&mut self, tp: &TopicPartition, leadership: Leadership) {
        if let Some(partition) = self.partition_mut(tp) {
            partition.leadership = Some(leadership);
        }
    }

    pub(super) fn partition_state(&self, tp: &TopicPartition) -> PartitionState {
        self.partition(tp).map_or(PartitionState::NonExistent, |partition| partition.state)
    }

    pub(super) fn set_partition_state(&mut self, tp: &TopicPartition, state: PartitionState) {
        if let Some(partition) = self.partition_mut(tp) {
            partition.state = state;
        }
    }

    /// The state of every partition at the start of a term.
    pub(super) fn start_partition_states(&mut self) {
        for tp in self.partitions() {
            let state = match self.leadership(&tp).map(|l| l.leader_and_isr.leader) {
                None => PartitionState::New,
                Some(leader) if self.is_online(leader, &tp) => PartitionState::Online,
                Some(_) => PartitionState::Offline,
            };
            self.set_partition_state(&tp, state);
        }
    }

    /// Partitions that wait for a leader, without those of topics to delete.
    pub(super) fn waiting_for_leader(&self) -> Vec<TopicPartition> {
        let is_waiting = |tp: &TopicPartition| {
            matches!(self.partition_state(tp), PartitionState::New | PartitionState::Offline)
                && !self.to_delete.contains(&tp.topic)
        };
        self.partitions().into_iter().filter(is_waiting).collect()
    }

    pub(super) fn with_offline_leader(&self) -> Vec<TopicPartition> {
        let is_offline = |tp: &TopicPartition| {
            self.leadership(tp).is_some_and(|l| !self.is_online(l.leader_and_isr.leader, tp))
                && !self.to_delete.contains(&tp.topic)
        };
        self.partitions().into_iter().filter(is_offline).collect()
    }

    /// The partitions that a broker leads and that others could lead. Kafka: `partitionLeadersOnBroker`.
    pub(super) fn led_by(&self, id: BrokerId) -> Vec<TopicPartition> {
        let leads = |tp: &TopicPartition| {
            self.leadership(tp).is_some_and(|l| l.leader_and_isr.leader == id)
                && self.replicas(tp).len() > 1
                && !self.to_delete.contains(&tp.topic)
        };
        self.partitions().into_iter().filter(leads).collect()
    }

    pub(super) fn with_leadership(&self) -> Vec<TopicPartition> {
        let has = |tp: &TopicPartition| self.leadership(tp).is_some() && !self.to_delete.contains(&tp.topic);
        self.partitions().into_iter().filter(has).collect()
    }

    // Replicas

    pub(super) fn replicas_on(&self, broker: BrokerId) -> Vec<Replica> {
        let on_it = self.partitions().into_iter().filter(|tp| self.replicas(tp).contains(&broker));
        on_it.map(|tp| (tp, broker)).collect()
    }

    pub(super) fn replicas_of_topic(&self, topic: &str) -> Vec<Replica> {
        self.replicas_of(&self.partitions_of(topic))
    }

    pub(super) fn replicas_of(&self, partitions: &[TopicPartition]) -> Vec<Replica> {
        partitions.iter().flat_map(|tp| self.replicas(tp).iter().map(|id| (tp.clone(), *id))).collect()
    }

    pub(super) fn replica_state(&self, (tp, broker): &Replica) -> ReplicaState {
        self.partition(tp).and_then(|p| p.replicas.get(broker).copied()).unwrap_or(ReplicaState::NonExistent)
    }

    pub(super) fn set_replica_state(&mut self, (tp, broker): &Replica, state: ReplicaState) {
        let Some(partition) = self.partition_mut(tp) else { return };
        if state == ReplicaState::NonExistent {
            partition.replicas.remove(broker);
            for list in [
                &mut partition.assignment.replicas,
                &mut partition.assignment.adding,
                &mut partition.assignment.removing,
            ] {
                list.retain(|id| id != broker);
            }
        } else {
            partition.replicas.insert(*broker, state);
        }
    }

    /// The state of every replica at the start of a term. Those on dead brokers count as failed deletions: if their
    /// topic is to be deleted, it has to wait for them.
    pub(super) fn start_replica_states(&mut self) {
        for replica in self.replicas_of(&self.partitions()) {
            let is_online = self.is_online(replica.1, &replica.0);
            let state = if is_online { ReplicaState::Online } else { ReplicaState::DeletionIneligible };
            self.set_replica_state(&replica, state);
        }
    }

    pub(super) fn replicas_in_state(&self, topic: &str, state: ReplicaState) -> Vec<Replica> {
        self.replicas_of_topic(topic).into_iter().filter(|r| self.replica_state(r) == state).collect()
    }

    /// The leader epoch that a StopReplica carries.
    pub(super) fn stop_replica_epoch(&self, tp: &TopicPartition) -> LeaderEpoch {
        if self.to_delete.contains(&tp.topic) {
            return EPOCH_DURING_DELETE;
        }
        self.leadership(tp).map_or(LeaderEpoch::NONE, |l| l.leader_and_isr.leader_epoch)
    }
}
