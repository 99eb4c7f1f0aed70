//! Owns one term of an active controller: moves partitions and replicas from state to state, writes what was decided, and
//! tells the brokers. Kafka: `ZkPartitionStateMachine`, `ZkReplicaStateMachine`.
//!
//! Decisions are the pure functions of `election` over the [`Context`]; here they are put between a read and a fenced
//! write, and their results are absorbed. An event of the controller is worked through before the next begins.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tracing::{debug, error, info, warn};

use super::batch::BatchBuilder;
use super::channels::BrokerChannels;
use super::context::{Context, Leadership, Replica};
use super::election;
use super::partition_state::PartitionState as Phase;
use super::replica_state::ReplicaState;
use crate::common::{BrokerId, ControllerEpoch, TopicPartition};
use crate::zk::batch::{Fence, FencedError};
use crate::zk::client::{Client, CreateMode, Error, Write, Written};
use crate::zk::data::topic::{LeaderAndIsr, PartitionState};
use crate::zk::watch::Watcher;
use crate::zk::{configs, paths, topics};

/// What the controller needs of the broker's configuration.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    pub us: BrokerId,
    /// Where brokers listen for each other.
    pub listener: String,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// `unclean.leader.election.enable`, where the topic does not say.
    pub unclean_leader_election_enable: bool,
}

/// Why an event could not be worked through.
#[derive(Debug, thiserror::Error)]
pub(super) enum Halt {
    /// Another broker is the controller, or is about to be.
    #[error("the controller moved to another broker")]
    Moved,
    /// The term ended with the session.
    #[error("{0}")]
    SessionEnd(Error),
    #[error("ZooKeeper: {0}")]
    Zk(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        if error.is_session_end() { Self::SessionEnd(error) } else { Self::Zk(error) }
    }
}

impl From<FencedError> for Halt {
    fn from(error: FencedError) -> Self {
        match error {
            FencedError::ControllerMoved => Self::Moved,
            FencedError::Zk(error) => error.into(),
        }
    }
}

pub(super) struct Term<C> {
    pub(super) settings: Arc<ControllerSettings>,
    pub(super) context: Context,
    /// Bound to the session that won the election.
    pub(super) zk: Client,
    pub(super) fence: Fence,
    pub(super) watcher: Watcher,
    pub(super) channels: C,
}

impl<C: BrokerChannels> Term<C> {
    pub(super) fn new(
        settings: Arc<ControllerSettings>,
        zk: Client,
        epoch: ControllerEpoch,
        fence: Fence,
        channels: C,
    ) -> Self {
        let watcher = zk.watcher();
        Self { settings, context: Context::new(epoch), zk, fence, watcher, channels }
    }

    pub(super) fn send(&mut self, batch: BatchBuilder) {
        for (broker, request) in batch.finish(&self.context, self.settings.us, &self.settings.listener) {
            self.channels.send(broker, request);
        }
    }

    /// Tells `brokers` who is alive and how `partitions` stand.
    pub(super) fn send_metadata(&mut self, brokers: &[BrokerId], partitions: &[TopicPartition]) {
        let mut batch = BatchBuilder::default();
        batch.update_metadata(&self.context, brokers, partitions);
        self.send(batch);
    }

    // Partitions

    /// Moves partitions to a state; those that may not move there are logged and left. Gives how many elections of a new
    /// leader succeeded.
    pub(super) async fn move_partitions(
        &mut self,
        partitions: &[TopicPartition],
        target: Phase,
    ) -> Result<usize, Halt> {
        let mut may = Vec::with_capacity(partitions.len());
        for tp in partitions {
            let from = self.context.partition_state(tp);
            if target.may_follow(from) {
                may.push((tp.clone(), from));
            } else {
                error!(%tp, ?from, ?target, "invalid partition state change");
            }
        }
        if target != Phase::Online {
            for (tp, _) in &may {
                self.context.set_partition_state(tp, target);
            }
            return Ok(0);
        }
        let (new, led): (Vec<_>, Vec<_>) = may.into_iter().partition(|(_, from)| *from == Phase::New);
        let mut batch = BatchBuilder::default();
        let moved = async {
            self.initialize(&mut batch, new.into_iter().map(|(tp, _)| tp).collect()).await?;
            self.elect(&mut batch, led.into_iter().map(|(tp, _)| tp).collect()).await
        }
        .await;
        // What was written must be told, even when something after it failed.
        self.send(batch);
        moved
    }

    /// Elects a leader for everything that waits for one.
    pub(super) async fn elect_waiting(&mut self) -> Result<usize, Halt> {
        let waiting = self.context.waiting_for_leader();
        self.move_partitions(&waiting, Phase::Online).await
    }

    /// Writes the first state of new partitions.
    async fn initialize(&mut self, batch: &mut BatchBuilder, partitions: Vec<TopicPartition>) -> Result<(), Halt> {
        let mut decided: Vec<(TopicPartition, LeaderAndIsr)> = Vec::new();
        for tp in partitions {
            match election::initial(&self.context, &tp) {
                Some(leadership) => decided.push((tp, leadership)),
                None => {
                    let replicas = self.context.replicas(&tp);
                    error!(%tp, ?replicas, "no replica of the new partition is alive");
                }
            }
        }
        let mut writes = Vec::new();
        let mut at = Vec::new();
        let mut topics_begun: BTreeSet<&Arc<str>> = BTreeSet::new();
        let create = |path, data| Write::Create { path, data, mode: CreateMode::Persistent };
        for (tp, leadership) in &decided {
            // A topic that grows has the directory, and a write that must fail would send all of its multi one by one.
            let has_directory =
                || self.context.partitions_of(&tp.topic).iter().any(|p| self.context.leadership(p).is_some());
            if topics_begun.insert(&tp.topic) && !has_directory() {
                writes.push(create(paths::partitions(&tp.topic), None));
            }
            writes.push(create(paths::partition(tp), None));
            at.push(writes.len());
            let data = self.state_of(leadership.clone()).encode();
            writes.push(create(paths::partition_state(tp), Some(data)));
        }
        let results = self.fence.write_all(&self.zk, writes).await?;
        let mut known = Vec::new();
        for ((tp, leadership), at) in decided.into_iter().zip(at) {
            match results.get(at) {
                Some(Ok(_)) => self.begin(batch, &tp, leadership, 0),
                Some(Err(Error::NodeExists)) => known.push((tp, leadership)),
                other => error!(%tp, result = ?other, "cannot write the first state of the partition"),
            }
        }
        // Our own write, whose answer was lost, is found there now.
        let names: Vec<TopicPartition> = known.iter().map(|(tp, _)| tp.clone()).collect();
        let found = topics::states(&self.zk, &names).await?;
        for (tp, leadership) in known {
            match found.get(&tp) {
                Some((state, version)) if *state == self.state_of(leadership.clone()) => {
                    self.begin(batch, &tp, leadership, *version);
                }
                other => error!(%tp, found = ?other, "the new partition has a state already"),
            }
        }
        Ok(())
    }

    fn state_of(&self, leader_and_isr: LeaderAndIsr) -> PartitionState {
        PartitionState { leader_and_isr, controller_epoch: self.context.epoch }
    }

    fn begin(&mut self, batch: &mut BatchBuilder, tp: &TopicPartition, decided: LeaderAndIsr, version: i32) {
        info!(%tp, leader = decided.leader.0, isr = ?decided.isr, "partition online");
        let isr = decided.isr.clone();
        self.absorb(tp, decided, version);
        self.context.set_partition_state(tp, Phase::Online);
        batch.leader_and_isr(&self.context, &isr, tp, true);
    }

    /// Takes over what stands in ZooKeeper by a write of ours.
    fn absorb(&mut self, tp: &TopicPartition, leader_and_isr: LeaderAndIsr, partition_epoch: i32) {
        let controller_epoch = self.context.epoch;
        self.context.set_leadership(tp, Leadership { leader_and_isr, partition_epoch, controller_epoch });
    }

    /// Elects leaders for partitions that had one. Again and again for those whose state somebody else changed meanwhile.
    async fn elect(&mut self, batch: &mut BatchBuilder, partitions: Vec<TopicPartition>) -> Result<usize, Halt> {
        let mut elected = 0;
        let mut left = partitions;
        while !left.is_empty() {
            let states = self.read_states(&left).await?;
            let open: Vec<TopicPartition> = states
                .iter()
                .filter(|(tp, (state, _))| election::needs_unclean(&self.context, tp, &state.leader_and_isr))
                .map(|(tp, _)| tp.clone())
                .collect();
            let unclean = self.unclean_allowed(&open).await?;
            let mut decided = Vec::new();
            for (tp, (state, version)) in states {
                let allowed = unclean.contains(&tp.topic);
                match election::offline(&self.context, &tp, &state.leader_and_isr, allowed) {
                    Some(next) => decided.push((tp, next, version)),
                    None => warn!(%tp, isr = ?state.leader_and_isr.isr, "no replica can become leader"),
                }
            }
            left = Vec::new();
            for (tp, outcome) in self.write_states(decided).await? {
                match outcome {
                    Outcome::Written(next, version) => {
                        info!(%tp, leader = next.leader.0, epoch = next.leader_epoch.0, isr = ?next.isr, "leader elected");
                        self.absorb(&tp, next, version);
                        self.context.set_partition_state(&tp, Phase::Online);
                        let recipients = self.context.online_replicas(&tp);
                        batch.leader_and_isr(&self.context, &recipients, &tp, false);
                        elected += 1;
                    }
                    Outcome::Changed => left.push(tp),
                    Outcome::Failed(error) => error!(%tp, %error, "cannot write the elected leader"),
                }
            }
        }
        Ok(elected)
    }

    /// Of `partitions`, those whose topics allow a leader that was not in sync.
    async fn unclean_allowed(&self, partitions: &[TopicPartition]) -> Result<BTreeSet<Arc<str>>, Halt> {
        let topics: BTreeSet<Arc<str>> = partitions.iter().map(|tp| Arc::clone(&tp.topic)).collect();
        let mut allowed = BTreeSet::new();
        for topic in topics {
            let config = configs::read(&self.zk, &format!("topics/{topic}")).await?;
            let says = config.get("unclean.leader.election.enable").map(|value| value.eq_ignore_ascii_case("true"));
            if says.unwrap_or(self.settings.unclean_leader_election_enable) {
                allowed.insert(topic);
            }
        }
        Ok(allowed)
    }

    /// The states that stand in ZooKeeper. A missing or strange one, and one of a later term, is logged and left out.
    async fn read_states(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, (PartitionState, i32)>, Halt> {
        let mut states = topics::states(&self.zk, partitions).await?;
        states.retain(|tp, (state, _)| {
            let is_ours = state.controller_epoch <= self.context.epoch;
            if !is_ours {
                error!(%tp, theirs = state.controller_epoch.0, ours = self.context.epoch.0, "state of a later controller");
            }
            is_ours
        });
        for tp in partitions.iter().filter(|tp| !states.contains_key(*tp)) {
            debug!(%tp, "no usable state");
        }
        Ok(states)
    }

    /// Writes states over the versions that they were decided on.
    async fn write_states(
        &self,
        decided: Vec<(TopicPartition, LeaderAndIsr, i32)>,
    ) -> Result<Vec<(TopicPartition, Outcome)>, Halt> {
        let writes = decided
            .iter()
            .map(|(tp, next, version)| Write::Set {
                path: paths::partition_state(tp),
                data: self.state_of(next.clone()).encode(),
                version: *version,
            })
            .collect();
        let results = self.fence.write_all(&self.zk, writes).await?;
        let outcome = |result, next| match result {
            Ok(Written::Set(stat)) => Outcome::Written(next, stat.version),
            Ok(_) => Outcome::Failed(Error::Unreadable),
            Err(Error::BadVersion) => Outcome::Changed,
            Err(error) => Outcome::Failed(error),
        };
        Ok(decided.into_iter().zip(results).map(|((tp, next, _), result)| (tp, outcome(result, next))).collect())
    }

    // Replicas

    /// Moves replicas to a state; those that may not move there are logged and left.
    pub(super) async fn move_replicas(&mut self, replicas: &[Replica], target: ReplicaState) -> Result<(), Halt> {
        let mut may = Vec::with_capacity(replicas.len());
        for replica in replicas {
            let from = self.context.replica_state(replica);
            if target.may_follow(from) {
                may.push((replica.clone(), from));
            } else {
                error!(tp = %replica.0, broker = replica.1.0, ?from, ?target, "invalid replica state change");
            }
        }
        let mut batch = BatchBuilder::default();
        let mut moved = Ok(());
        match target {
            ReplicaState::New => may.iter().for_each(|(replica, _)| self.replica_new(&mut batch, replica)),
            ReplicaState::Online => {
                may.iter().for_each(|(replica, from)| self.replica_online(&mut batch, replica, *from));
            }
            ReplicaState::Offline => {
                let mut by_broker: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
                for ((tp, broker), _) in may {
                    by_broker.entry(broker).or_default().push(tp);
                }
                for (broker, partitions) in by_broker {
                    moved = self.replicas_offline(&mut batch, broker, partitions).await;
                    if moved.is_err() {
                        break;
                    }
                }
            }
            ReplicaState::DeletionStarted => {
                for (replica, _) in &may {
                    self.context.set_replica_state(replica, target);
                    batch.stop_replica(&self.context, replica.1, &replica.0, true);
                }
            }
            ReplicaState::DeletionSuccessful | ReplicaState::DeletionIneligible | ReplicaState::NonExistent => {
                may.iter().for_each(|(replica, _)| self.context.set_replica_state(replica, target));
            }
        }
        self.send(batch);
        moved
    }

    fn replica_new(&mut self, batch: &mut BatchBuilder, replica: &Replica) {
        let (tp, broker) = replica;
        let leader = self.context.leadership(tp).map(|l| l.leader_and_isr.leader);
        if leader == Some(*broker) {
            error!(%tp, broker = broker.0, "a new replica cannot be the leader");
            return;
        }
        self.context.set_replica_state(replica, ReplicaState::New);
        // Without a leadership nothing is told yet.
        batch.leader_and_isr(&self.context, &[*broker], tp, true);
    }

    fn replica_online(&mut self, batch: &mut BatchBuilder, replica: &Replica, from: ReplicaState) {
        let (tp, broker) = replica;
        self.context.set_replica_state(replica, ReplicaState::Online);
        // A new replica was told with the election of its leader.
        if from != ReplicaState::New {
            batch.leader_and_isr(&self.context, &[*broker], tp, false);
        }
    }

    /// Stops replicas of one broker and takes them out of their ISRs.
    async fn replicas_offline(
        &mut self,
        batch: &mut BatchBuilder,
        broker: BrokerId,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), Halt> {
        for tp in &partitions {
            batch.stop_replica(&self.context, broker, tp, false);
        }
        let (mut left, unled): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|tp| self.context.leadership(tp).is_some());
        for tp in unled {
            let everybody = self.context.broker_ids();
            batch.update_metadata(&self.context, &everybody, std::slice::from_ref(&tp));
            self.context.set_replica_state(&(tp, broker), ReplicaState::Offline);
        }
        while !left.is_empty() {
            let states = self.read_states(&left).await?;
            for tp in left.iter().filter(|tp| !states.contains_key(*tp) && !self.context.to_delete.contains(&tp.topic))
            {
                error!(%tp, broker = broker.0, "cannot take the replica offline without a state of its partition");
            }
            let mut decided = Vec::new();
            let mut settled = Vec::new();
            for (tp, (state, version)) in states {
                match election::without(&state.leader_and_isr, broker) {
                    Some(next) => decided.push((tp, next, version)),
                    None => settled.push((tp, Outcome::Written(state.leader_and_isr, version))),
                }
            }
            left = Vec::new();
            for (tp, outcome) in self.write_states(decided).await?.into_iter().chain(settled) {
                match outcome {
                    Outcome::Written(next, version) => {
                        debug!(%tp, broker = broker.0, leader = next.leader.0, isr = ?next.isr, "replica offline");
                        self.absorb(&tp, next, version);
                        if !self.context.to_delete.contains(&tp.topic) {
                            let others: Vec<BrokerId> =
                                self.context.replicas(&tp).iter().copied().filter(|id| *id != broker).collect();
                            // Where there are no others, everybody's metadata still learns that the leader is gone.
                            batch.leader_and_isr(&self.context, &others, &tp, false);
                        }
                        self.context.set_replica_state(&(tp, broker), ReplicaState::Offline);
                    }
                    Outcome::Changed => left.push(tp),
                    Outcome::Failed(error) => error!(%tp, %error, "cannot take the replica out of the ISR"),
                }
            }
        }
        Ok(())
    }
}

/// How the write of a decided state ended.
enum Outcome {
    /// With the version that it has now.
    Written(LeaderAndIsr, i32),
    /// Somebody else wrote since it was read.
    Changed,
    Failed(Error),
}
