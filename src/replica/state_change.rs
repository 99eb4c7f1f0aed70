//! Owns the obedience to the controller: taking up and giving up leadership, removing replicas. Kafka:
//! `ReplicaManager.becomeLeaderOrFollower`, `stopReplicas`. These calls touch the disk: they run on the blocking pool.

use super::fetcher::manager::{FetchFrom, FetcherManager};
use super::host::Host;
use super::partitions::Hosted;
use crate::cluster::partition::{LeadershipState, Partition};
use crate::common::{BrokerId, ControllerEpoch, LeaderEpoch, Millis, TopicPartition, Uuid};
use crate::config::endpoint::Endpoint;
use crate::log::log_dir::{DirError, LogDir};
use crate::log::{CreateLogError, Recovered, UnifiedLog};
use crate::util::claims::{Claim, Claims};
use crate::util::clock::wall_ms;
use crate::util::lock::{self, Rank};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

/// `LeaderAndIsr.EpochDuringDelete`: no check, the topic goes.
const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

/// Requests for more partitions than this are logged as a whole: a line each would take longer than the work.
const TOLD_ONE_BY_ONE: usize = 100;

/// One partition of a LeaderAndIsr request.
#[derive(Clone, Debug)]
pub struct LeaderAndIsr {
    pub topic_partition: TopicPartition,
    /// Zero when the controller knows none.
    pub topic_id: Uuid,
    pub state: LeadershipState,
    pub is_new: bool,
}

/// One partition of a StopReplica request.
#[derive(Clone, Debug)]
pub struct StopReplica {
    pub topic_partition: TopicPartition,
    pub leader_epoch: LeaderEpoch,
    pub delete: bool,
}

/// What a request of the controller has changed here. `E` says why a partition did not obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange<E> {
    /// One a partition, in the order of the request.
    pub outcomes: Vec<Result<(), E>>,
    /// Partitions that this broker leads and did not lead before.
    pub elected: Vec<(TopicPartition, LeaderEpoch)>,
    /// Partitions that it now follows; without an epoch those that are deleted.
    pub resigned: Vec<(TopicPartition, Option<LeaderEpoch>)>,
}

impl<E: Clone> StateChange<E> {
    fn of(partitions: usize) -> Self {
        Self { outcomes: vec![Ok(()); partitions], elected: Vec::new(), resigned: Vec::new() }
    }
}

/// Why a partition does not take the state that the controller has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaderAndIsrError {
    /// Nor will any, until this broker is started again.
    #[error("there is no log that could be used")]
    Offline,
    /// The partition stays what it is; the controller is to ask again.
    #[error("there is no room for the log")]
    NoRoom,
    #[error("the log is of another topic of that name")]
    OtherTopic,
    /// It was overtaken.
    #[error("the leader epoch is not newer")]
    StaleEpoch,
    #[error("this broker is not one of the replicas")]
    NotAssigned,
}

/// Why a replica is not stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StopReplicaError {
    #[error("the log directory is offline")]
    Offline,
    /// It was overtaken.
    #[error("the leader epoch is older")]
    Fenced,
    /// It is served no more, and its log is still there.
    #[error("the log could not be deleted")]
    NotDeleted,
}

/// What one partition is to become.
enum Role {
    Leader,
    Follower {
        leader: Endpoint,
    },
    /// The leader is not in the metadata. As in Kafka the partition stays what it is, and the next LeaderAndIsr decides.
    Unreachable,
}

/// A partition whose new state was found in order.
struct Accepted<'a> {
    wanted: &'a LeaderAndIsr,
    index: usize,
    partition: Arc<Partition>,
    role: Role,
}

/// A request is of a controller that is not the controller any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the controller's epoch is older than {latest}")]
pub struct StaleController {
    pub latest: ControllerEpoch,
}

/// See the module's page.
pub struct StateChanges {
    host: Arc<Host>,
    fetchers: Arc<FetcherManager>,
    /// Partitions whose role or log is being changed, one change at a time: a request of the controller, the end of a move.
    /// Kafka has one lock for all partitions, `replicaStateChangeLock`, and waits for the disk while it holds it.
    in_change: Claims<TopicPartition>,
    /// Held where partitions are put into service or taken out of it, so that none is served from a directory whose failure
    /// was seen. Nothing waits for a disk under it.
    lock: lock::Mutex<()>,
    /// The epoch of the last controller obeyed, whatever it said. Held for a comparison only: what the cluster looks like is
    /// not to wait for disks.
    controller_epoch: Mutex<ControllerEpoch>,
    /// What the controller has decided of partitions whose logs are still recovered.
    awaited: Mutex<HashMap<TopicPartition, LeaderAndIsr>>,
    /// Notified when a replica finds no room for its log.
    room_wanted: Notify,
}

impl StateChanges {
    pub(super) fn new(host: Arc<Host>, fetchers: Arc<FetcherManager>) -> Self {
        Self {
            host,
            fetchers,
            in_change: Claims::default(),
            lock: lock::Mutex::new(Rank::ReplicaState, ()),
            controller_epoch: Mutex::new(ControllerEpoch(0)),
            awaited: Mutex::default(),
            room_wanted: Notify::new(),
        }
    }

    /// Until the claim is dropped, the partition keeps its role and its log. May wait for a disk.
    pub(super) fn claim<'a>(&'a self, tp: &'a TopicPartition) -> Claim<'a, TopicPartition> {
        self.in_change.claim([tp])
    }

    /// Notes the epoch of a controller that speaks here, with whichever request; the error refuses one that is not the
    /// controller any more. Kafka: `ReplicaManager.controllerEpoch`.
    pub fn hear_controller(
        &self,
        controller: BrokerId,
        epoch: ControllerEpoch,
        request: &'static str,
    ) -> Result<(), StaleController> {
        let mut latest = self.controller_epoch.lock();
        if epoch < *latest {
            warn!(%controller, %epoch, latest = %latest, request, "an old controller is refused");
            return Err(StaleController { latest: *latest });
        }
        *latest = epoch;
        Ok(())
    }

    /// Takes over what the controller decided. The error refuses the whole request.
    pub fn become_leader_or_follower(
        &self,
        controller: BrokerId,
        epoch: ControllerEpoch,
        partitions: &[LeaderAndIsr],
        now: Millis,
    ) -> Result<StateChange<LeaderAndIsrError>, StaleController> {
        let _in_change = self.in_change.claim(partitions.iter().map(|wanted| &wanted.topic_partition));
        self.hear_controller(controller, epoch, "LeaderAndIsr")?;
        let mut done = StateChange::of(partitions.len());
        let mut accepted = Vec::with_capacity(partitions.len());
        for (index, wanted) in partitions.iter().enumerate() {
            match self.accept(wanted) {
                Ok(Some((partition, role))) => accepted.push(Accepted { wanted, index, partition, role }),
                Ok(None) => {}
                Err(error) => done.outcomes[index] = Err(error),
            }
        }
        // Before a role changes nothing is copied any more.
        let moving = accepted.iter().filter(|a| !matches!(a.role, Role::Unreachable));
        self.fetchers.remove(&moving.map(|a| a.wanted.topic_partition.clone()).collect::<Vec<_>>());
        self.take_roles(accepted, now, &mut done);
        for wanted in partitions {
            self.host.waits.wake_all(&wanted.topic_partition);
        }
        self.fetchers.stop_idle();
        if partitions.len() > TOLD_ONE_BY_ONE {
            let refused = done.outcomes.iter().filter(|outcome| outcome.is_err()).count();
            let (elected, following) = (done.elected.len(), done.resigned.len());
            info!(partitions = partitions.len(), %controller, %epoch, elected, following, refused, "states changed");
        }
        Ok(done)
    }

    /// The partitions are claimed.
    fn take_roles(&self, accepted: Vec<Accepted<'_>>, now: Millis, done: &mut StateChange<LeaderAndIsrError>) {
        let (mut changes, mut to_fetch) = (Vec::new(), Vec::new());
        for accepted in accepted {
            let tp = accepted.wanted.topic_partition.clone();
            match self.obey(&accepted, now, done, &mut to_fetch) {
                Ok(()) => changes.push((accepted.index, tp, Hosted::Online(accepted.partition))),
                Err(why) => {
                    done.outcomes[accepted.index] = Err(why);
                    match why {
                        LeaderAndIsrError::Offline => {
                            accepted.partition.resign();
                            changes.push((accepted.index, tp, Hosted::Offline));
                        }
                        LeaderAndIsrError::NoRoom => self.room_wanted.notify_one(),
                        LeaderAndIsrError::OtherTopic
                        | LeaderAndIsrError::StaleEpoch
                        | LeaderAndIsrError::NotAssigned => {}
                    }
                }
            }
        }
        self.serve(changes, &mut to_fetch, done);
        self.fetchers.add(to_fetch);
    }

    /// Puts partitions into service, but for those whose directory has failed meanwhile.
    fn serve(
        &self,
        mut changes: Vec<(usize, TopicPartition, Hosted)>,
        to_fetch: &mut Vec<FetchFrom>,
        done: &mut StateChange<LeaderAndIsrError>,
    ) {
        let _lock = self.lock.lock();
        let logs = &self.host.logs;
        for (index, tp, hosted) in &mut changes {
            if let Hosted::Online(partition) = hosted
                && logs.log(tp).is_none()
                && logs.recovering(tp).is_none()
            {
                partition.resign();
                done.outcomes[*index] = Err(LeaderAndIsrError::Offline);
                done.elected.retain(|(elected, _)| elected != tp);
                to_fetch.retain(|from| from.topic_partition != *tp);
                *hosted = Hosted::Offline;
            }
        }
        self.host.partitions.apply(changes.into_iter().map(|(_, tp, hosted)| (tp, Some(hosted))));
    }

    /// Whether a partition's new state is in order, and what it makes of the partition; None when nothing changes.
    fn accept(&self, wanted: &LeaderAndIsr) -> Result<Option<(Arc<Partition>, Role)>, LeaderAndIsrError> {
        let tp = &wanted.topic_partition;
        let partition = match self.host.partitions.get(&tp.topic, tp.partition) {
            Some(Hosted::Online(partition)) => partition,
            Some(Hosted::Offline) => return Err(LeaderAndIsrError::Offline),
            None => Arc::new(Partition::new(tp.clone(), self.host.local())),
        };
        let stored_id = partition.topic_id();
        if stored_id.is_some_and(|id| !wanted.topic_id.is_zero() && id != wanted.topic_id) {
            error!(%tp, stored = ?stored_id, asked = %wanted.topic_id, "topic id does not match");
            return Err(LeaderAndIsrError::OtherTopic);
        }
        let current = partition.leader_epoch();
        let asked = wanted.state.leader_epoch;
        if asked <= current {
            // A controller that fails over sends what everyone knows; only a missing topic id is taken from it.
            if asked == current
                && stored_id.is_none()
                && !wanted.topic_id.is_zero()
                && let Some(log) = partition.log()
            {
                return match log.assign_topic_id(wanted.topic_id) {
                    Ok(()) => {
                        self.fetchers.set_topic_id(tp, wanted.topic_id);
                        Ok(None)
                    }
                    Err(_) => Err(LeaderAndIsrError::OtherTopic),
                };
            }
            debug!(%tp, %asked, %current, "leader epoch is not newer");
            return Err(LeaderAndIsrError::StaleEpoch);
        }
        if !wanted.state.replicas.contains(&self.host.local()) {
            warn!(%tp, replicas = ?wanted.state.replicas, "this broker is not assigned");
            return Err(LeaderAndIsrError::NotAssigned);
        }
        Ok(Some((partition, self.role_of(wanted))))
    }

    fn role_of(&self, wanted: &LeaderAndIsr) -> Role {
        let LeadershipState { leader, leader_epoch, .. } = &wanted.state;
        if *leader == self.host.local() {
            return Role::Leader;
        }
        let image = self.host.image.load();
        let broker = image.brokers.get(leader);
        match broker.and_then(|broker| broker.endpoint(&self.host.settings.inter_broker_listener)) {
            Some(endpoint) => Role::Follower { leader: endpoint.clone() },
            None => {
                let tp = &wanted.topic_partition;
                error!(%tp, %leader, epoch = %leader_epoch, "can't follow: the leader is not available");
                Role::Unreachable
            }
        }
    }

    fn obey(
        &self,
        accepted: &Accepted<'_>,
        now: Millis,
        done: &mut StateChange<LeaderAndIsrError>,
        to_fetch: &mut Vec<FetchFrom>,
    ) -> Result<(), LeaderAndIsrError> {
        let Accepted { wanted, partition, role, .. } = accepted;
        let (tp, state) = (&wanted.topic_partition, &wanted.state);
        if partition.log().is_none() {
            self.make_way(wanted)?;
        }
        if self.host.logs.recovering(tp).is_some() {
            self.await_log(accepted);
            return Ok(());
        }
        // Whatever was decided before is over.
        self.awaited.lock().remove(tp);
        let log = self.log_of(wanted, now)?;
        let (leads, epoch) = (matches!(role, Role::Leader), state.leader_epoch);
        match role {
            Role::Leader => {
                let (is_new, progress) = self.host.around(|around| partition.become_leader(log, state.clone(), around));
                // Everyone is woken below.
                debug_assert_eq!(progress.submit, None);
                if is_new {
                    done.elected.push((tp.clone(), epoch));
                }
            }
            Role::Follower { leader } => {
                partition.become_follower(Arc::clone(&log), state.clone());
                let last_epoch = log.latest_epoch();
                to_fetch.push(FetchFrom {
                    topic_partition: tp.clone(),
                    topic_id: wanted.topic_id,
                    leader: state.leader,
                    endpoint: leader.clone(),
                    leader_epoch: epoch,
                    // Without epochs there is nothing to compare: only what is committed is known to be the leader's.
                    offset: if last_epoch.is_some() { log.log_end_offset() } else { log.high_watermark() },
                    last_epoch,
                });
                done.resigned.push((tp.clone(), Some(epoch)));
            }
            Role::Unreachable => return Ok(()),
        }
        if done.outcomes.len() <= TOLD_ONE_BY_ONE {
            info!(%tp, leads, leader = %state.leader, %epoch, isr = ?state.isr, version = state.partition_epoch, "state changed");
        } else {
            debug!(%tp, leads, leader = %state.leader, %epoch, isr = ?state.isr, version = state.partition_epoch, "state changed");
        }
        Ok(())
    }

    /// Sets aside what an earlier topic of that name has left here. Only a replica that is not counted on gives way: one of a
    /// topic that is just made, or one that is not in sync and copies everything from its leader. What is in sync is the
    /// topic, whatever id an Apache controller has given it (one does when a tool has written the znode without its id).
    fn make_way(&self, wanted: &LeaderAndIsr) -> Result<(), LeaderAndIsrError> {
        let tp = &wanted.topic_partition;
        let stored = match self.host.logs.recovering(tp) {
            Some(log) => log.topic_id(),
            None => self.host.logs.log(tp).and_then(|log| log.topic_id()),
        };
        let asked = wanted.topic_id;
        let Some(stored) = stored.filter(|stored| !asked.is_zero() && asked != *stored) else { return Ok(()) };
        if !wanted.is_new && wanted.state.isr.contains(&self.host.local()) {
            error!(%tp, %stored, %asked, "the log is of another topic of that name, and in sync");
            return Err(LeaderAndIsrError::OtherTopic);
        }
        self.host.logs.set_aside(tp).map_err(|error| {
            error!(%tp, %error, "log of an earlier topic not set aside");
            LeaderAndIsrError::Offline
        })
    }

    /// The role begins when the log is ready: see [`Self::recover_next`].
    fn await_log(&self, accepted: &Accepted<'_>) {
        let Accepted { wanted, partition, role, .. } = accepted;
        let tp = &wanted.topic_partition;
        if !matches!(role, Role::Unreachable) {
            info!(%tp, leader = %wanted.state.leader, epoch = %wanted.state.leader_epoch, "its role waits for its log, which is recovered");
            partition.await_log(wanted.state.clone());
            self.awaited.lock().insert(tp.clone(), (*wanted).clone());
        }
    }

    /// Recovers the next log of a directory that the start has left, and lets its partition take the role that the
    /// controller has given it meanwhile. `None` when there are none. On the blocking pool: takes long.
    pub fn recover_next(&self, dir: &Arc<LogDir>, now: Millis) -> Option<(Recovered, StateChange<LeaderAndIsrError>)> {
        let recovered = self.host.logs.recover_next(dir, now)?;
        let change = match &recovered {
            Recovered::Ready(tp) => self.serve_recovered(tp),
            Recovered::Damaged(tp) => {
                let _in_change = self.claim(tp);
                let _lock = self.lock.lock();
                // Unless it was deleted, and made again, since.
                if self.host.logs.is_damaged(tp) {
                    self.take_offline(vec![tp.clone()]);
                }
                StateChange::of(0)
            }
            Recovered::Left => StateChange::of(0),
        };
        Some((recovered, change))
    }

    fn serve_recovered(&self, tp: &TopicPartition) -> StateChange<LeaderAndIsrError> {
        let _in_change = self.claim(tp);
        let mut done = StateChange::of(1);
        // It has changed since the start, perhaps.
        self.host.configs.refresh(&tp.topic);
        let Some(wanted) = self.awaited.lock().remove(tp) else { return done };
        let Some(Hosted::Online(partition)) = self.host.partitions.get(&tp.topic, tp.partition) else { return done };
        let role = self.role_of(&wanted);
        self.take_roles(vec![Accepted { wanted: &wanted, index: 0, partition, role }], wall_ms(), &mut done);
        self.host.waits.wake_all(tp);
        done
    }

    /// Completes when a replica has found no room for its log since the last call. The controller counts it as lost, until
    /// it is asked to ask again. Cancel safe.
    pub async fn room_wanted(&self) {
        self.room_wanted.notified().await;
    }

    /// A log directory has failed: its partitions are offline until the broker is started again. False when it was the
    /// last one. The controller is to ask about them then: whatever it was answered before, it was too early.
    pub fn on_dir_failure(&self, dir: &Path) -> bool {
        let _lock = self.lock.lock();
        match self.host.logs.handle_dir_failure(dir) {
            Ok(partitions) => {
                self.take_offline(partitions);
                true
            }
            Err(_) => false,
        }
    }

    /// `lock` is held.
    fn take_offline(&self, partitions: Vec<TopicPartition>) {
        self.fetchers.remove(&partitions);
        for tp in &partitions {
            self.awaited.lock().remove(tp);
            if let Some(partition) = self.host.online(tp) {
                partition.resign();
            }
        }
        self.host.partitions.apply(partitions.iter().map(|tp| (tp.clone(), Some(Hosted::Offline))));
        partitions.iter().for_each(|tp| self.host.waits.wake_all(tp));
    }

    fn log_of(&self, wanted: &LeaderAndIsr, now: Millis) -> Result<Arc<UnifiedLog>, LeaderAndIsrError> {
        let tp = &wanted.topic_partition;
        let topic_id = (!wanted.topic_id.is_zero()).then_some(wanted.topic_id);
        let is_there = self.host.logs.log(tp).is_some();
        let config = self.host.configs.of(&tp.topic);
        let log = self.host.logs.get_or_create(tp, wanted.is_new, topic_id, &config, now).map_err(|error| {
            error!(%tp, %error, "log not available");
            match error {
                CreateLogError::TopicId(_) => LeaderAndIsrError::OtherTopic,
                CreateLogError::Dir(DirError::Full { .. }) => LeaderAndIsrError::NoRoom,
                CreateLogError::Dir(_)
                | CreateLogError::DirsOffline(_)
                | CreateLogError::Damaged { .. }
                | CreateLogError::Recovering(_) => LeaderAndIsrError::Offline,
            }
        })?;
        if !is_there {
            // The settings may have changed while it was made (Kafka: `LogManager.initializingLog`).
            self.host.configs.refresh(&tp.topic);
        }
        Ok(log)
    }

    /// Stops serving replicas, and deletes those that the controller wants gone.
    pub fn stop_replicas(
        &self,
        controller: BrokerId,
        epoch: ControllerEpoch,
        partitions: &[StopReplica],
    ) -> Result<StateChange<StopReplicaError>, StaleController> {
        let _in_change = self.in_change.claim(partitions.iter().map(|wanted| &wanted.topic_partition));
        self.hear_controller(controller, epoch, "StopReplica")?;
        let checks: Vec<_> = partitions.iter().map(|wanted| self.check_stop(wanted)).collect();
        let stopping = partitions.iter().zip(&checks).filter(|(_, check)| check.is_ok());
        let stopping: Vec<_> = stopping.map(|(wanted, _)| wanted.topic_partition.clone()).collect();
        self.fetchers.remove(&stopping);
        {
            let mut awaited = self.awaited.lock();
            stopping.iter().for_each(|tp| drop(awaited.remove(tp)));
        }
        let leaving = partitions.iter().zip(&checks).filter(|(wanted, check)| wanted.delete && check.is_ok());
        let failed = self.delete(leaving.map(|(wanted, _)| wanted.topic_partition.clone()).collect());
        let mut done = StateChange::of(0);
        for (wanted, check) in partitions.iter().zip(checks) {
            let is_left = failed.contains(&wanted.topic_partition);
            let outcome = check.and(if is_left { Err(StopReplicaError::NotDeleted) } else { Ok(()) });
            if outcome.is_ok() && wanted.delete {
                let epoch = Some(wanted.leader_epoch).filter(|epoch| epoch.0 >= 0);
                done.resigned.push((wanted.topic_partition.clone(), epoch));
            }
            done.outcomes.push(outcome);
        }
        for wanted in partitions {
            self.host.waits.wake_all(&wanted.topic_partition);
        }
        self.fetchers.stop_idle();
        Ok(done)
    }

    fn check_stop(&self, wanted: &StopReplica) -> Result<(), StopReplicaError> {
        let tp = &wanted.topic_partition;
        match self.host.partitions.get(&tp.topic, tp.partition) {
            Some(Hosted::Offline) => Err(StopReplicaError::Offline),
            Some(Hosted::Online(partition)) => {
                let checked = !matches!(wanted.leader_epoch, EPOCH_DURING_DELETE | LeaderEpoch::NONE);
                if checked && wanted.leader_epoch < partition.leader_epoch() {
                    return Err(StopReplicaError::Fenced);
                }
                Ok(())
            }
            // The topic may have been deleted while this broker was away: its log is still there.
            None => Ok(()),
        }
    }

    /// Deletes replicas. Gives those whose logs could not be deleted.
    fn delete(&self, partitions: Vec<TopicPartition>) -> BTreeSet<TopicPartition> {
        if partitions.is_empty() {
            return BTreeSet::new();
        }
        for tp in &partitions {
            if let Some(Hosted::Online(partition)) = self.host.partitions.get(&tp.topic, tp.partition) {
                partition.resign();
            }
        }
        self.host.partitions.apply(partitions.iter().map(|tp| (tp.clone(), None)));
        let failed = self.host.logs.delete(&partitions);
        info!(replicas = partitions.len() - failed.len(), first = %partitions[0], "replicas deleted");
        let told = failed.into_iter().inspect(|(tp, error)| error!(%tp, %error, "delete"));
        told.map(|(tp, _)| tp).collect()
    }
}

#[cfg(test)]
mod tests;
