//! Owns the obedience to the controller: taking up and giving up leadership, removing replicas. Kafka:
//! `ReplicaManager.becomeLeaderOrFollower`, `stopReplicas`. These calls touch the disk: they run on the blocking pool.

use super::manager::ReplicaManager;
use super::partitions::Hosted;
use crate::cluster::partition::{LeadershipState, Partition};
use crate::common::{BrokerId, ControllerEpoch, ErrorCode, LeaderEpoch, Millis, TopicPartition, Uuid};
use crate::log::CreateLogError;
use std::sync::Arc;
use tracing::{debug, error, info, warn};

/// `LeaderAndIsr.EpochDuringDelete`: no check, the topic goes.
const EPOCH_DURING_DELETE: LeaderEpoch = LeaderEpoch(-2);

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

impl ReplicaManager {
    /// Takes over what the controller decided. The outer error refuses the whole request; inside, one code a partition.
    pub fn become_leader_or_follower(
        &self,
        controller: BrokerId,
        epoch: ControllerEpoch,
        partitions: &[LeaderAndIsr],
        now: Millis,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let mut known_epoch = self.controller_epoch.lock();
        if epoch < *known_epoch {
            warn!(%controller, %epoch, latest = %known_epoch, "LeaderAndIsr of an old controller");
            return Err(ErrorCode::StaleControllerEpoch);
        }
        *known_epoch = epoch;
        let mut changes = Vec::new();
        let codes = partitions
            .iter()
            .map(|wanted| self.obey(wanted, now, &mut changes).err().unwrap_or(ErrorCode::None))
            .collect();
        self.partitions.apply(changes);
        for wanted in partitions {
            self.wake_all(&wanted.topic_partition);
        }
        Ok(codes)
    }

    fn obey(
        &self,
        wanted: &LeaderAndIsr,
        now: Millis,
        changes: &mut Vec<(TopicPartition, Option<Hosted>)>,
    ) -> Result<(), ErrorCode> {
        let tp = &wanted.topic_partition;
        let partition = match self.partitions.get(&tp.topic, tp.partition) {
            Some(Hosted::Online(partition)) => partition,
            Some(Hosted::Offline) => return Err(ErrorCode::KafkaStorageError),
            None => Arc::new(Partition::new(tp.clone(), self.local)),
        };
        let stored_id = partition.topic_id();
        if stored_id.is_some_and(|id| !wanted.topic_id.is_zero() && id != wanted.topic_id) {
            error!(%tp, stored = ?stored_id, asked = %wanted.topic_id, "topic id does not match");
            return Err(ErrorCode::InconsistentTopicId);
        }
        let current = partition.leader_epoch();
        let asked = wanted.state.leader_epoch;
        if asked <= current {
            // A controller that fails over sends what everybody knows; only a missing topic id is taken from it.
            if asked == current
                && stored_id.is_none()
                && !wanted.topic_id.is_zero()
                && let Some(log) = partition.log()
            {
                return match log.assign_topic_id(wanted.topic_id) {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(ErrorCode::InconsistentTopicId),
                    Err(_) => Err(ErrorCode::KafkaStorageError),
                };
            }
            debug!(%tp, %asked, %current, "leader epoch is not newer");
            return Err(ErrorCode::StaleControllerEpoch);
        }
        if !wanted.state.replicas.contains(&self.local) {
            warn!(%tp, replicas = ?wanted.state.replicas, "this broker is not assigned");
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let topic_id = (!wanted.topic_id.is_zero()).then_some(wanted.topic_id);
        let config = self.topic_config(&tp.topic);
        let log = match self.logs.get_or_create(tp, wanted.is_new, topic_id, &config, now) {
            Ok(log) => log,
            Err(CreateLogError::TopicId(error)) => {
                error!(%tp, %error, "topic id does not match");
                return Err(ErrorCode::InconsistentTopicId);
            }
            Err(error) => {
                error!(%tp, %error, "log not available");
                changes.push((tp.clone(), Some(Hosted::Offline)));
                return Err(ErrorCode::KafkaStorageError);
            }
        };
        let leads = wanted.state.leader == self.local;
        if leads {
            if let Err(error) = partition.become_leader(log, wanted.state.clone()) {
                error!(%tp, %error, "start to lead");
                changes.push((tp.clone(), Some(Hosted::Offline)));
                return Err(ErrorCode::KafkaStorageError);
            }
        } else {
            partition.become_follower(log, wanted.state.clone());
        }
        info!(%tp, leads, leader = %wanted.state.leader, epoch = %asked, isr = ?wanted.state.isr, "state changed");
        changes.push((tp.clone(), Some(Hosted::Online(partition))));
        Ok(())
    }

    /// Stops serving replicas, and deletes those that the controller wants gone.
    pub fn stop_replicas(
        &self,
        controller: BrokerId,
        epoch: ControllerEpoch,
        partitions: &[StopReplica],
        now: Millis,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let mut known_epoch = self.controller_epoch.lock();
        if epoch < *known_epoch {
            warn!(%controller, %epoch, latest = %known_epoch, "StopReplica of an old controller");
            return Err(ErrorCode::StaleControllerEpoch);
        }
        *known_epoch = epoch;
        let codes = partitions.iter().map(|wanted| self.stop(wanted, now).err().unwrap_or(ErrorCode::None)).collect();
        for wanted in partitions {
            self.wake_all(&wanted.topic_partition);
        }
        Ok(codes)
    }

    fn stop(&self, wanted: &StopReplica, now: Millis) -> Result<(), ErrorCode> {
        let tp = &wanted.topic_partition;
        match self.partitions.get(&tp.topic, tp.partition) {
            Some(Hosted::Offline) => return Err(ErrorCode::KafkaStorageError),
            Some(Hosted::Online(partition)) => {
                let checked = !matches!(wanted.leader_epoch, EPOCH_DURING_DELETE | LeaderEpoch::NONE);
                if checked && wanted.leader_epoch < partition.leader_epoch() {
                    return Err(ErrorCode::FencedLeaderEpoch);
                }
                if wanted.delete {
                    self.partitions.apply([(tp.clone(), None)]);
                }
            }
            // The topic may have been deleted while this broker was away: its log is still there.
            None => {}
        }
        if wanted.delete {
            if let Some((_, error)) = self.logs.delete(std::slice::from_ref(tp), now).pop() {
                error!(%tp, %error, "delete");
                return Err(ErrorCode::KafkaStorageError);
            }
            info!(%tp, "replica deleted");
        }
        Ok(())
    }

    fn wake_all(&self, tp: &TopicPartition) {
        self.fetches.wake(tp);
        self.produces.wake(tp);
    }
}
