//! Owns one term of an active controller: moves partitions and replicas from state to state, writes the decisions, and
//! sends them to the brokers. Kafka: `ZkPartitionStateMachine`, `ZkReplicaStateMachine`.
//!
//! Decisions are the pure functions of `election` over the [`Context`]; here they run between a read and a fenced
//! write, and their results are applied. An event of the controller is completed before the next begins.

use super::batch::BatchBuilder;
use super::channels::BrokerChannels;
use super::context::{Context, Leadership, Replica};
use super::diagnosis::{self, News};
use super::election::{self, Strategy};
use super::partition_state::PartitionState as Phase;
use super::replica_state::ReplicaState;
use crate::common::{BrokerId, ControllerEpoch, TopicPartition};
use crate::config::topic::allows_unclean_election;
use crate::zk::batch::{Fence, FencedError};
use crate::zk::client::{Client, CreateMode, Error, Write, Written};
use crate::zk::data::config;
use crate::zk::data::topic::{LeaderAndIsr, PartitionState};
use crate::zk::watch::Watcher;
use crate::zk::{paths, topics};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

/// The part of the broker's configuration that the controller needs.
#[derive(Clone, Debug)]
pub struct ControllerSettings {
    pub us: BrokerId,
    /// The inter-broker listener.
    pub listener: String,
    /// `delete.topic.enable`
    pub delete_topic_enable: bool,
    /// `unclean.leader.election.enable` at the start, for topics without their own setting.
    pub unclean_leader_election_enable: bool,
    /// `auto.leader.rebalance.enable`
    pub auto_leader_rebalance_enable: bool,
    /// `leader.imbalance.check.interval.seconds`
    pub leader_imbalance_check_interval: Duration,
    /// `leader.imbalance.per.broker.percentage`
    pub leader_imbalance_per_broker_percentage: i32,
}

/// The results of the elections of a step, by partition.
pub(super) type Elections = BTreeMap<TopicPartition, Result<LeaderAndIsr, ElectError>>;

/// Why a partition got no leader.
#[derive(Debug, thiserror::Error)]
pub(super) enum ElectError {
    /// It is unchanged. The text is Kafka's. Kafka: `StateChangeFailedException`.
    #[error("{0}")]
    StateChange(String),
    #[error("ZooKeeper: {0}")]
    Zk(Error),
}

/// Why an event failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum TermError {
    /// Another broker is the controller, or is about to be.
    #[error("the controller moved to another broker")]
    Moved,
    /// The term ended with the session.
    #[error("{0}")]
    SessionEnd(Error),
    #[error("ZooKeeper: {0}")]
    Zk(Error),
}

impl From<Error> for TermError {
    fn from(error: Error) -> Self {
        if error.is_session_end() { Self::SessionEnd(error) } else { Self::Zk(error) }
    }
}

impl From<FencedError> for TermError {
    fn from(error: FencedError) -> Self {
        match error {
            FencedError::ControllerMoved => Self::Moved,
            FencedError::Zk(error) => error.into(),
        }
    }
}

/// Elections of more partitions than this are logged in one line: a line each would take longer than the elections.
const LOGGED_ONE_BY_ONE: usize = 100;

/// The period of the diagnosis. Conditions that pass sooner are not reported.
const DIAGNOSIS_INTERVAL: Duration = Duration::from_secs(30);

pub(super) struct Term<C> {
    pub(super) settings: Arc<ControllerSettings>,
    pub(super) context: Context,
    /// The client of the session that won the election.
    pub(super) zk: Client,
    pub(super) fence: Fence,
    pub(super) watcher: Watcher,
    pub(super) channels: C,
    /// The brokers' current `unclean.leader.election.enable`.
    pub(super) unclean_default: bool,
    /// When the balance of leaderships is checked next.
    pub(super) rebalance_at: Option<Instant>,
    /// When the reasons for unhealthy partitions are logged next, and which of them have been.
    pub(super) diagnosis_at: Instant,
    pub(super) reported: diagnosis::Reported,
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
        let unclean_default = settings.unclean_leader_election_enable;
        let context = Context::new(epoch);
        Self {
            settings,
            context,
            zk,
            fence,
            watcher,
            channels,
            unclean_default,
            rebalance_at: None,
            diagnosis_at: Instant::now() + DIAGNOSIS_INTERVAL,
            reported: diagnosis::Reported::default(),
        }
    }

    /// Logs why partitions are unhealthy, once they have been for an interval, and when they have recovered.
    pub(super) fn log_what_is_wrong(&mut self) {
        self.diagnosis_at = Instant::now() + DIAGNOSIS_INTERVAL;
        for news in self.reported.news(diagnosis::report(&self.context)) {
            match news {
                News::Lasts(finding, partitions) => {
                    let examples = diagnosis::named(&partitions);
                    warn!(partitions = partitions.len(), examples, "{finding}");
                }
                News::Over(finding) => info!("no longer {finding}"),
            }
        }
    }

    /// Schedules the check of the balance of leaderships, where it is enabled.
    pub(super) fn schedule_rebalance(&mut self, after: Duration) {
        if self.settings.auto_leader_rebalance_enable {
            self.rebalance_at = Some(Instant::now() + after);
        }
    }

    pub(super) fn send(&mut self, batch: BatchBuilder) {
        for (broker, request) in batch.finish(&self.context, self.settings.us, &self.settings.listener) {
            self.channels.send(broker, request);
        }
    }

    /// Sends `brokers` the live brokers and the state of `partitions`.
    pub(super) fn send_metadata(&mut self, brokers: &[BrokerId], partitions: &[TopicPartition]) {
        let mut batch = BatchBuilder::default();
        batch.update_metadata(&self.context, brokers, partitions);
        self.send(batch);
    }

    // Partitions

    /// Those of `partitions` that may move to a state, with the state that they are in. The others are logged.
    fn movable(&self, partitions: &[TopicPartition], target: Phase) -> Vec<(TopicPartition, Phase)> {
        let mut may = Vec::with_capacity(partitions.len());
        for tp in partitions {
            let from = self.context.partition_state(tp);
            if target.may_follow(from) {
                may.push((tp.clone(), from));
            } else {
                error!(%tp, ?from, ?target, "invalid partition state change");
            }
        }
        may
    }

    /// Moves partitions to a state that needs no write: any except Online.
    pub(super) fn move_partitions(&mut self, partitions: &[TopicPartition], target: Phase) {
        for (tp, _) in self.movable(partitions, target) {
            self.context.set_partition_state(&tp, target);
        }
    }

    /// Moves partitions to Online: gives new ones their first leader, and elects one by `strategy` for the others.
    /// Those that may not move there are logged and skipped.
    pub(super) async fn bring_online(
        &mut self,
        partitions: &[TopicPartition],
        strategy: Strategy,
    ) -> Result<Elections, TermError> {
        let may = self.movable(partitions, Phase::Online);
        let (new, led): (Vec<_>, Vec<_>) = may.into_iter().partition(|(_, from)| *from == Phase::New);
        let mut batch = BatchBuilder::default();
        let mut elections = Elections::new();
        let moved = async {
            self.initialize(&mut batch, new.into_iter().map(|(tp, _)| tp).collect(), &mut elections).await?;
            self.elect(&mut batch, led.into_iter().map(|(tp, _)| tp).collect(), strategy, &mut elections).await
        }
        .await;
        // States that were written must be sent, even when a later step failed.
        self.send(batch);
        moved.map(|()| elections)
    }

    /// Elects a leader for every partition that waits for one. Returns how many succeeded.
    pub(super) async fn elect_waiting(&mut self) -> Result<usize, TermError> {
        let waiting = self.context.waiting_for_leader();
        self.elect_offline(&waiting).await
    }

    pub(super) async fn elect_offline(&mut self, partitions: &[TopicPartition]) -> Result<usize, TermError> {
        let elections = self.bring_online(partitions, Strategy::Offline { allow_unclean: false }).await?;
        Ok(elections.values().filter(|outcome| outcome.is_ok()).count())
    }

    /// Writes the first state of new partitions.
    async fn initialize(
        &mut self,
        batch: &mut BatchBuilder,
        partitions: Vec<TopicPartition>,
        elections: &mut Elections,
    ) -> Result<(), TermError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let mut decided: Vec<(TopicPartition, LeaderAndIsr)> = Vec::new();
        for tp in partitions {
            match election::initial(&self.context, &tp) {
                Some(leadership) => decided.push((tp, leadership)),
                None => {
                    let replicas = self.context.replicas(&tp);
                    error!(%tp, ?replicas, "no replica of the new partition is alive");
                    let text = format!("No assigned replica of {tp} is alive.");
                    elections.insert(tp, Err(ElectError::StateChange(text)));
                }
            }
        }
        let mut writes = Vec::new();
        let mut at = Vec::new();
        let mut topics_begun: BTreeSet<&Arc<str>> = BTreeSet::new();
        let create = |path, data| Write::Create { path, data, mode: CreateMode::Persistent };
        for (tp, leadership) in &decided {
            // A topic that grows already has the directory, and a write that fails would make its whole multi be
            // retried one by one.
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
        let log_each = decided.len() <= LOGGED_ONE_BY_ONE;
        if !log_each {
            info!(partitions = decided.len(), "first leaders of new partitions");
        }
        let mut known = Vec::new();
        for ((tp, leadership), at) in decided.into_iter().zip(at) {
            match results.get(at) {
                Some(Ok(_)) => {
                    if log_each {
                        info!(%tp, leader = leadership.leader.0, isr = ?leadership.isr, "partition online");
                    }
                    self.begin(batch, &tp, leadership.clone(), 0);
                    elections.insert(tp, Ok(leadership));
                }
                Some(Err(Error::NodeExists)) => known.push((tp, leadership)),
                other => {
                    error!(%tp, result = ?other, "cannot write the first state of the partition");
                    let error = other.and_then(|result| result.as_ref().err()).cloned().unwrap_or(Error::Unreadable);
                    elections.insert(tp, Err(ElectError::Zk(error)));
                }
            }
        }
        // Found now: our own write, whose answer was lost.
        let names: Vec<TopicPartition> = known.iter().map(|(tp, _)| tp.clone()).collect();
        let found = topics::states(&self.zk, &names).await?;
        for (tp, leadership) in known {
            match found.get(&tp) {
                Some((state, version)) if *state == self.state_of(leadership.clone()) => {
                    self.begin(batch, &tp, leadership.clone(), *version);
                    elections.insert(tp, Ok(leadership));
                }
                other => {
                    error!(%tp, found = ?other, "the new partition has a state already");
                    elections.insert(tp, Err(ElectError::Zk(Error::NodeExists)));
                }
            }
        }
        Ok(())
    }

    fn state_of(&self, leader_and_isr: LeaderAndIsr) -> PartitionState {
        PartitionState { leader_and_isr, controller_epoch: self.context.epoch }
    }

    fn begin(&mut self, batch: &mut BatchBuilder, tp: &TopicPartition, decided: LeaderAndIsr, version: i32) {
        debug!(%tp, leader = decided.leader.0, isr = ?decided.isr, "partition online");
        let isr = decided.isr.clone();
        self.absorb(tp, decided, version);
        self.context.set_partition_state(tp, Phase::Online);
        batch.leader_and_isr(&self.context, &isr, tp, true);
    }

    /// Adopts a state that a write of ours has set in ZooKeeper.
    pub(super) fn absorb(&mut self, tp: &TopicPartition, leader_and_isr: LeaderAndIsr, partition_epoch: i32) {
        let controller_epoch = self.context.epoch;
        self.context.set_leadership(tp, Leadership { leader_and_isr, partition_epoch, controller_epoch });
    }

    /// Elects leaders for partitions that had one. Retries those whose state another has changed in between.
    async fn elect(
        &mut self,
        batch: &mut BatchBuilder,
        partitions: Vec<TopicPartition>,
        strategy: Strategy,
        elections: &mut Elections,
    ) -> Result<(), TermError> {
        let log_each = partitions.len() <= LOGGED_ONE_BY_ONE;
        let mut open = Unsettled::by_context(partitions);
        let mut elected = 0;
        while let Some(Round { source, states, missing }) = self.next_round(&mut open).await? {
            for tp in missing {
                let text = format!("LeaderAndIsr information doesn't exist for partition {tp}");
                elections.insert(tp, Err(ElectError::StateChange(text)));
            }
            let unclean = match strategy {
                Strategy::Offline { allow_unclean: false } if source == Source::ZooKeeper => {
                    let needs = |tp: &TopicPartition, state: &PartitionState| {
                        election::needs_unclean(&self.context, tp, &state.leader_and_isr)
                    };
                    let open = states.iter().filter(|(tp, (state, _))| needs(tp, state));
                    self.unclean_allowed(open.map(|(tp, _)| Arc::clone(&tp.topic)).collect()).await?
                }
                _ => BTreeSet::new(),
            };
            let mut decided = Vec::new();
            for (tp, (state, version)) in states {
                let allowed = unclean.contains(&tp.topic);
                match election::elect(strategy, &self.context, &tp, &state.leader_and_isr, allowed) {
                    Some(next) => decided.push((tp, next, version)),
                    None if source == Source::Context => open.again(tp),
                    None => {
                        warn!(%tp, isr = ?state.leader_and_isr.isr, %strategy, "no replica can become leader");
                        let text = format!("Failed to elect leader for partition {tp} under strategy {strategy}");
                        elections.insert(tp, Err(ElectError::StateChange(text)));
                    }
                }
            }
            for (tp, outcome) in self.settle(&mut open, source, decided).await? {
                match outcome {
                    Ok((next, version)) => {
                        let (leader, epoch) = (next.leader.0, next.leader_epoch.0);
                        if log_each {
                            info!(%tp, leader, epoch, isr = ?next.isr, "leader elected");
                        } else {
                            debug!(%tp, leader, epoch, isr = ?next.isr, "leader elected");
                        }
                        elected += 1;
                        self.absorb(&tp, next.clone(), version);
                        self.context.set_partition_state(&tp, Phase::Online);
                        let recipients = election::recipients(strategy, &self.context, &tp);
                        batch.leader_and_isr(&self.context, &recipients, &tp, false);
                        elections.insert(tp, Ok(next));
                    }
                    Err(error) => {
                        error!(%tp, %error, "cannot write the elected leader");
                        elections.insert(tp, Err(ElectError::Zk(error)));
                    }
                }
            }
        }
        if !log_each {
            info!(elected, %strategy, "leaders elected");
        }
        Ok(())
    }

    /// Those of `topics` that allow a leader that was not in sync. A topic with an unreadable config does not.
    async fn unclean_allowed(&self, topics: BTreeSet<Arc<str>>) -> Result<BTreeSet<Arc<str>>, TermError> {
        if topics.is_empty() {
            return Ok(topics);
        }
        let names: Vec<Arc<str>> = topics.into_iter().collect();
        let nodes: Vec<String> = names.iter().map(|topic| paths::topic_config(topic)).collect();
        let mut allowed = BTreeSet::new();
        for (topic, node) in names.into_iter().zip(self.zk.get_all(&nodes, None).await?) {
            let config = match node.map(|found| config::decode(found.data.as_deref())) {
                Ok(Ok(config)) => config,
                Err(Error::NoNode) => config::Config::new(),
                Ok(Err(error)) => {
                    warn!(%topic, %error, "config skipped: no unclean election");
                    continue;
                }
                Err(error) => {
                    warn!(%topic, %error, "config not read: no unclean election");
                    continue;
                }
            };
            if allows_unclean_election(&config).unwrap_or(self.unclean_default) {
                allowed.insert(topic);
            }
        }
        Ok(allowed)
    }

    /// The current states in ZooKeeper. A missing or malformed one, and one of a later term, is logged and skipped. One
    /// that is older than this term's ends the term: ZooKeeper was restored from an older copy that has our session.
    /// The next term starts from the brokers' metadata ([`super::restored`]).
    pub(super) async fn read_states(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, (PartitionState, i32)>, TermError> {
        let mut states = topics::states(&self.zk, partitions).await?;
        let is_earlier = |tp: &TopicPartition, state: &PartitionState, version: i32| {
            let known = self.context.leadership(tp);
            known.is_some_and(|known| {
                let before = (known.leader_and_isr.leader_epoch, known.partition_epoch);
                (state.leader_and_isr.leader_epoch, version) < before
            })
        };
        if let Some((tp, (state, version))) =
            states.iter().find(|(tp, (state, version))| is_earlier(tp, state, *version))
        {
            error!(%tp, ?state, version, "ZooKeeper's partition state is older than what this term knows");
            return Err(Error::BadVersion.into());
        }
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

    /// The states of partitions, from the context or from ZooKeeper.
    async fn states(
        &self,
        partitions: &[TopicPartition],
        source: Source,
    ) -> Result<BTreeMap<TopicPartition, (PartitionState, i32)>, TermError> {
        if source == Source::ZooKeeper {
            return self.read_states(partitions).await;
        }
        let known = partitions.iter().filter_map(|tp| {
            let known = self.context.leadership(tp).filter(|known| known.controller_epoch <= self.context.epoch)?;
            let state = PartitionState {
                leader_and_isr: known.leader_and_isr.clone(),
                controller_epoch: known.controller_epoch,
            };
            Some((tp.clone(), (state, known.partition_epoch)))
        });
        Ok(known.collect())
    }

    /// Writes states, conditional on the versions that they were decided on.
    pub(super) async fn write_states(
        &self,
        decided: Vec<(TopicPartition, LeaderAndIsr, i32)>,
    ) -> Result<Vec<(TopicPartition, Outcome)>, TermError> {
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

    /// The states to decide on next, until all partitions are settled.
    pub(super) async fn next_round(&self, open: &mut Unsettled) -> Result<Option<Round>, TermError> {
        if open.left.is_empty() {
            return Ok(None);
        }
        let source = std::mem::replace(&mut open.source, Source::ZooKeeper);
        let mut missing = std::mem::take(&mut open.left);
        let states = self.states(&missing, source).await?;
        missing.retain(|tp| !states.contains_key(tp));
        if source == Source::Context {
            open.left = std::mem::take(&mut missing);
        }
        Ok(Some(Round { source, states, missing }))
    }

    /// Writes the decisions of a round, conditional on the versions that they were decided on. A partition whose state
    /// another has changed in between stays open; for the others, in their order, returns the new state, with its
    /// version, or why there is none.
    pub(super) async fn settle(
        &self,
        open: &mut Unsettled,
        source: Source,
        decided: Vec<(TopicPartition, LeaderAndIsr, i32)>,
    ) -> Result<Vec<(TopicPartition, Result<(LeaderAndIsr, i32), Error>)>, TermError> {
        let mut settled = Vec::with_capacity(decided.len());
        for (tp, outcome) in self.write_states(decided).await? {
            match outcome {
                Outcome::Written(next, version) => settled.push((tp, Ok((next, version)))),
                Outcome::Changed => open.again(tp),
                Outcome::Failed(Error::NoNode) if source == Source::Context => open.again(tp),
                Outcome::Failed(error) => settled.push((tp, Err(error))),
            }
        }
        Ok(settled)
    }

    // Replicas

    /// Moves replicas to a state; those that may not move there are logged and skipped.
    pub(super) async fn move_replicas(&mut self, replicas: &[Replica], target: ReplicaState) -> Result<(), TermError> {
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
        // Without a leadership nothing is sent yet.
        batch.leader_and_isr(&self.context, &[*broker], tp, true);
    }

    fn replica_online(&mut self, batch: &mut BatchBuilder, replica: &Replica, from: ReplicaState) {
        let (tp, broker) = replica;
        self.context.set_replica_state(replica, ReplicaState::Online);
        // A new replica got its LeaderAndIsr with the election of its leader.
        if from != ReplicaState::New {
            batch.leader_and_isr(&self.context, &[*broker], tp, false);
        }
    }

    /// Stops replicas of one broker and removes them from their ISRs.
    async fn replicas_offline(
        &mut self,
        batch: &mut BatchBuilder,
        broker: BrokerId,
        partitions: Vec<TopicPartition>,
    ) -> Result<(), TermError> {
        for tp in &partitions {
            batch.stop_replica(&self.context, broker, tp, false);
        }
        let (led, unled): (Vec<_>, Vec<_>) =
            partitions.into_iter().partition(|tp| self.context.leadership(tp).is_some());
        for tp in unled {
            let all_brokers = self.context.broker_ids();
            batch.update_metadata(&self.context, &all_brokers, std::slice::from_ref(&tp));
            self.context.set_replica_state(&(tp, broker), ReplicaState::Offline);
        }
        let mut open = Unsettled::by_context(led);
        while let Some(Round { source, states, missing }) = self.next_round(&mut open).await? {
            for tp in missing.into_iter().filter(|tp| !self.context.to_delete.contains(&tp.topic)) {
                error!(%tp, broker = broker.0, "cannot take the replica offline without a state of its partition");
            }
            let mut decided = Vec::new();
            let mut settled = Vec::new();
            for (tp, (state, version)) in states {
                match election::without(&state.leader_and_isr, broker) {
                    Some(next) => decided.push((tp, next, version)),
                    None if source == Source::Context => open.again(tp),
                    None => settled.push((tp, Ok((state.leader_and_isr, version)))),
                }
            }
            for (tp, outcome) in self.settle(&mut open, source, decided).await?.into_iter().chain(settled) {
                match outcome {
                    Ok((next, version)) => {
                        debug!(%tp, broker = broker.0, leader = next.leader.0, isr = ?next.isr, "replica offline");
                        self.absorb(&tp, next, version);
                        if !self.context.to_delete.contains(&tp.topic) {
                            let others: Vec<BrokerId> =
                                self.context.replicas(&tp).iter().copied().filter(|id| *id != broker).collect();
                            // Where there are no others, all brokers' metadata is still updated: the leader is gone.
                            batch.leader_and_isr(&self.context, &others, &tp, false);
                        }
                        self.context.set_replica_state(&(tp, broker), ReplicaState::Offline);
                    }
                    Err(error) => error!(%tp, %error, "cannot take the replica out of the ISR"),
                }
            }
        }
        Ok(())
    }
}

/// The basis of a decision. Kafka reads each state before it writes it. Here the write is based on the known state,
/// conditional on its version; the state is read only where that write conflicts, or nothing would be written: this
/// halves the requests to ZooKeeper at a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Context,
    ZooKeeper,
}

/// Partitions whose next state is to be decided and written.
pub(super) struct Unsettled {
    left: Vec<TopicPartition>,
    /// The states of the next round.
    source: Source,
}

impl Unsettled {
    /// The first decision is based on the known states.
    fn by_context(left: Vec<TopicPartition>) -> Self {
        Self { left, source: Source::Context }
    }

    pub(super) fn by_zookeeper(left: Vec<TopicPartition>) -> Self {
        Self { left, source: Source::ZooKeeper }
    }

    /// It is decided again, on the state in ZooKeeper.
    fn again(&mut self, tp: TopicPartition) {
        self.left.push(tp);
    }
}

/// States to decide on, with their versions.
pub(super) struct Round {
    pub(super) source: Source,
    pub(super) states: BTreeMap<TopicPartition, (PartitionState, i32)>,
    /// Partitions without a usable state in ZooKeeper.
    pub(super) missing: Vec<TopicPartition>,
}

/// The result of writing a decided state.
pub(super) enum Outcome {
    /// With its new version.
    Written(LeaderAndIsr, i32),
    /// Another wrote since it was read.
    Changed,
    Failed(Error),
}
