//! Owns one partition on this broker: its role, and what a leader or follower may do with its log. Kafka: `Partition`.
//!
//! A role is an immutable value behind an atomic swap, so that append and read take no lock of this room; a change of role
//! takes `change`, then the log's own lock. Absent on purpose: followers of this leader, the ISR and its changes.

use crate::common::ids::Millis;
use crate::common::{BrokerId, ControllerEpoch, ErrorCode, LeaderEpoch, Offset, TopicPartition, Uuid};
use crate::log::log_dir::DirError;
use crate::log::{AppendError, AppendInfo, OffsetMetadata, UnifiedLog};
use crate::record::validate::{AppendOrigin, ValidatedBatches};
use arc_swap::{ArcSwap, ArcSwapOption};
use parking_lot::Mutex;
use std::sync::Arc;

/// What the controller last said of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadershipState {
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub isr: Vec<BrokerId>,
    pub replicas: Vec<BrokerId>,
    /// dataVersion of the state znode.
    pub partition_epoch: i32,
    pub controller_epoch: ControllerEpoch,
}

#[derive(Clone, Debug)]
struct Role {
    state: LeadershipState,
    /// Where this leader's epoch began; None on a follower.
    epoch_start: Option<Offset>,
}

pub struct Partition {
    pub topic_partition: TopicPartition,
    local: BrokerId,
    role: ArcSwap<Role>,
    log: ArcSwapOption<UnifiedLog>,
    /// Held while the role changes.
    change: Mutex<()>,
}

/// Why a partition does not serve a request. Each is one wire code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("the request's leader epoch is older than {current}")]
    Fenced { current: LeaderEpoch },
    #[error("the request's leader epoch is newer than {current}")]
    UnknownEpoch { current: LeaderEpoch },
}

impl PartitionError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::Fenced { .. } => ErrorCode::FencedLeaderEpoch,
            Self::UnknownEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        }
    }
}

/// Why records were not appended.
#[derive(Debug, thiserror::Error)]
pub enum PartitionAppendError {
    #[error(transparent)]
    Role(#[from] PartitionError),
    #[error("{have} replicas in sync, {need} needed")]
    NotEnoughReplicas { have: usize, need: usize },
    #[error(transparent)]
    Log(#[from] AppendError),
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.topic_partition, self.role.load())
    }
}

impl Partition {
    pub fn new(topic_partition: TopicPartition, local: BrokerId) -> Self {
        let state = LeadershipState {
            leader: BrokerId::NONE,
            leader_epoch: LeaderEpoch::NONE,
            isr: Vec::new(),
            replicas: Vec::new(),
            partition_epoch: 0,
            controller_epoch: ControllerEpoch(0),
        };
        Self {
            topic_partition,
            local,
            role: ArcSwap::from_pointee(Role { state, epoch_start: None }),
            log: ArcSwapOption::empty(),
            change: Mutex::new(()),
        }
    }

    pub fn log(&self) -> Option<Arc<UnifiedLog>> {
        self.log.load_full()
    }

    pub fn topic_id(&self) -> Option<Uuid> {
        self.log.load().as_ref().and_then(|log| log.topic_id())
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.role.load().state.leader_epoch
    }

    pub fn is_leader(&self) -> bool {
        self.role.load().state.leader == self.local
    }

    pub fn leadership(&self) -> LeadershipState {
        self.role.load().state.clone()
    }

    /// Starts to lead. The new epoch begins at the log's end, even before anything is written.
    pub fn become_leader(&self, log: Arc<UnifiedLog>, state: LeadershipState) -> Result<(), DirError> {
        let _change = self.change.lock();
        let log_end = log.log_end();
        log.assign_epoch_start(state.leader_epoch, log_end.offset)?;
        self.log.store(Some(Arc::clone(&log)));
        self.role.store(Arc::new(Role { state, epoch_start: Some(log_end.offset) }));
        self.on_log_end(&log, log_end);
        Ok(())
    }

    /// Starts to follow.
    pub fn become_follower(&self, log: Arc<UnifiedLog>, state: LeadershipState) {
        let _change = self.change.lock();
        self.log.store(Some(log));
        self.role.store(Arc::new(Role { state, epoch_start: None }));
    }

    /// The log for a request that carries `current_leader_epoch` (-1: it does not say). Kafka: `localLogWithEpochOrThrow`.
    pub fn log_for(
        &self,
        current_leader_epoch: LeaderEpoch,
        leader_only: bool,
    ) -> Result<Arc<UnifiedLog>, PartitionError> {
        let role = self.role.load();
        let current = role.state.leader_epoch;
        if current_leader_epoch != LeaderEpoch::NONE && current_leader_epoch != current {
            let fenced = current_leader_epoch < current;
            return Err(if fenced {
                PartitionError::Fenced { current }
            } else {
                PartitionError::UnknownEpoch { current }
            });
        }
        if leader_only && role.state.leader != self.local {
            return Err(PartitionError::NotLeader);
        }
        self.log().ok_or(PartitionError::NotLeader)
    }

    /// True while a new leader has not yet committed everything up to the start of its epoch: offsets are not available.
    pub fn lags_after_election(&self, log: &UnifiedLog) -> bool {
        self.role.load().epoch_start.is_some_and(|start| start > log.high_watermark())
    }

    /// Appends to the local log as its leader. `acks_all`: refuse when too few replicas are in sync. Once what is due for
    /// the new end has happened (a flush), [`Self::on_log_end`] makes it count.
    pub fn append_as_leader(
        &self,
        batches: &ValidatedBatches,
        acks_all: bool,
        now: Millis,
    ) -> Result<AppendInfo, PartitionAppendError> {
        let role = self.role.load();
        if role.state.leader != self.local {
            return Err(PartitionError::NotLeader.into());
        }
        let log = self.log().ok_or(PartitionError::NotLeader)?;
        if acks_all {
            let need = self.effective_min_isr(&log, &role.state);
            let have = role.state.isr.len();
            if have < need {
                return Err(PartitionAppendError::NotEnoughReplicas { have, need });
            }
        }
        let epoch = role.state.leader_epoch;
        // Asked under the log's lock: a role change that came first is seen.
        let still_leader = || self.role.load().state.leader_epoch == epoch;
        Ok(log.append_as_leader(batches, epoch, AppendOrigin::Client, None, now, still_leader)?)
    }

    /// `min.insync.replicas`, but never more than there are replicas.
    fn effective_min_isr(&self, log: &UnifiedLog, state: &LeadershipState) -> usize {
        (log.config().min_insync_replicas as usize).min(state.replicas.len())
    }

    /// Whether everything below `end` is committed; the error is what a producer that waits for it is told.
    pub fn is_committed(&self, end: Offset) -> Result<bool, ErrorCode> {
        let role = self.role.load();
        let log = self.log().filter(|_| role.state.leader == self.local).ok_or(ErrorCode::NotLeaderOrFollower)?;
        if log.high_watermark() < end {
            return Ok(false);
        }
        let enough = role.state.isr.len() >= self.effective_min_isr(&log, &role.state);
        if enough { Ok(true) } else { Err(ErrorCode::NotEnoughReplicasAfterAppend) }
    }

    /// A leader that is alone in sync commits what it has, up to `log_end`.
    pub fn on_log_end(&self, log: &UnifiedLog, log_end: OffsetMetadata) {
        if self.role.load().state.isr == [self.local] {
            log.maybe_increment_high_watermark(log_end);
        }
    }
}
