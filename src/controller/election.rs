//! Owns the choice of a leader and its ISR. Pure. Kafka: `Election`, `PartitionLeaderElectionAlgorithms`.
//!
//! Every change that the controller makes adds one to the leader epoch: brokers ignore an epoch that they already have.

use super::context::Context;
use crate::common::{BrokerId, LeaderEpoch, TopicPartition};
use crate::zk::data::topic::{LeaderAndIsr, LeaderRecoveryState};
use std::fmt;

/// The reason for an election. Kafka: `PartitionLeaderElectionStrategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strategy {
    /// There is no leader. An out-of-sync replica is elected where no in-sync replica is left and `allow_unclean` or
    /// the topic allows it.
    Offline { allow_unclean: bool },
    /// The leader is not among the target replicas of a reassignment.
    Reassign,
    /// The preferred replica is to lead.
    Preferred,
    /// The leader is shutting down.
    ControlledShutdown,
}

/// As Kafka prints it in answers.
impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offline { allow_unclean } => write!(f, "OfflinePartitionLeaderElectionStrategy({allow_unclean})"),
            Self::Reassign => f.write_str("ReassignPartitionLeaderElectionStrategy"),
            Self::Preferred => f.write_str("PreferredReplicaPartitionLeaderElectionStrategy"),
            Self::ControlledShutdown => f.write_str("ControlledShutdownPartitionLeaderElectionStrategy"),
        }
    }
}

/// Elects by a strategy. `unclean` is the topic's setting, for [`Strategy::Offline`]. None when no replica can lead.
pub(super) fn elect(
    strategy: Strategy,
    context: &Context,
    tp: &TopicPartition,
    current: &LeaderAndIsr,
    unclean: bool,
) -> Option<LeaderAndIsr> {
    match strategy {
        Strategy::Offline { allow_unclean } => offline(context, tp, current, unclean || allow_unclean),
        Strategy::Reassign => {
            let target = context.assignment(tp)?.target();
            let leader = target.into_iter().find(|id| current.isr.contains(id) && context.is_online(*id, tp))?;
            Some(next(current, leader, current.isr.clone(), current.recovery))
        }
        Strategy::Preferred => {
            let leader = preferred(context, tp, &current.isr)?;
            Some(next(current, leader, current.isr.clone(), current.recovery))
        }
        Strategy::ControlledShutdown => {
            let stays = |id: &BrokerId| !context.is_shutting_down(*id);
            let leader =
                context.online_or_leaving_replicas(tp).into_iter().find(|id| current.isr.contains(id) && stays(id))?;
            let isr = current.isr.iter().copied().filter(stays).collect();
            Some(next(current, leader, isr, current.recovery))
        }
    }
}

/// The brokers that are sent the outcome.
pub(super) fn recipients(strategy: Strategy, context: &Context, tp: &TopicPartition) -> Vec<BrokerId> {
    match strategy {
        Strategy::Offline { .. } => context.online_replicas(tp),
        Strategy::Reassign => context.assignment(tp).map(|a| a.target()).unwrap_or_default(),
        Strategy::Preferred => context.replicas(tp).to_vec(),
        // The broker that is shutting down is still connected, and becomes a follower.
        Strategy::ControlledShutdown => context.online_or_leaving_replicas(tp),
    }
}

/// The first replica, if it can lead.
pub(super) fn preferred(context: &Context, tp: &TopicPartition, isr: &[BrokerId]) -> Option<BrokerId> {
    context.replicas(tp).first().copied().filter(|id| isr.contains(id) && context.is_online(*id, tp))
}

/// The first leadership of a partition: led by the first online replica, with all online ones in sync. None when none
/// is online.
pub(super) fn initial(context: &Context, tp: &TopicPartition) -> Option<LeaderAndIsr> {
    let isr = context.online_replicas(tp);
    let leader = *isr.first()?;
    Some(LeaderAndIsr { leader, leader_epoch: LeaderEpoch(0), isr, recovery: LeaderRecoveryState::Recovered })
}

/// A leader for a partition that has none: the first of its replicas that is online and in sync. Else, if an `unclean`
/// election is allowed, the first online one, which then is the whole ISR and has to recover. None when there is none.
fn offline(context: &Context, tp: &TopicPartition, current: &LeaderAndIsr, unclean: bool) -> Option<LeaderAndIsr> {
    let online = context.online_replicas(tp);
    if let Some(leader) = online.iter().copied().find(|id| current.isr.contains(id)) {
        let isr = current.isr.iter().copied().filter(|id| context.is_online(*id, tp)).collect();
        return Some(next(current, leader, isr, current.recovery));
    }
    let leader = *online.first().filter(|_| unclean)?;
    Some(next(current, leader, vec![leader], LeaderRecoveryState::Recovering))
}

/// Whether an election for a partition without a leader depends on the topic's setting of unclean elections.
pub(super) fn needs_unclean(context: &Context, tp: &TopicPartition, current: &LeaderAndIsr) -> bool {
    !current.isr.iter().any(|id| context.is_online(*id, tp))
}

/// The leadership without `gone`. None when it was not in sync. The last member stays, alive or not: it must be known
/// which broker has all records.
pub(super) fn without(current: &LeaderAndIsr, gone: BrokerId) -> Option<LeaderAndIsr> {
    if !current.isr.contains(&gone) {
        return None;
    }
    let leader = if current.leader == gone { BrokerId::NONE } else { current.leader };
    let mut isr = current.isr.clone();
    if isr.len() > 1 {
        isr.retain(|id| *id != gone);
    }
    Some(next(current, leader, isr, current.recovery))
}

/// The same leadership in another epoch: brokers apply no change without it. Kafka: `LeaderAndIsr.newEpoch`.
pub(super) fn renewed(current: &LeaderAndIsr) -> LeaderAndIsr {
    next(current, current.leader, current.isr.clone(), current.recovery)
}

fn next(current: &LeaderAndIsr, leader: BrokerId, isr: Vec<BrokerId>, recovery: LeaderRecoveryState) -> LeaderAndIsr {
    LeaderAndIsr { leader, leader_epoch: LeaderEpoch(current.leader_epoch.0 + 1), isr, recovery }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, ids, tp};
    use super::*;
    use crate::zk::data::topic::ReplicaAssignment;

    fn state(leader: i32, epoch: i32, isr: &[i32]) -> LeaderAndIsr {
        LeaderAndIsr {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(epoch),
            isr: ids(isr),
            recovery: LeaderRecoveryState::Recovered,
        }
    }

    #[test]
    fn a_new_partition_is_led_by_its_first_replica_that_is_alive() {
        let context = context(&[1, 3], &[("t", 0, &[2, 3, 1]), ("t", 1, &[2])]);
        assert_eq!(initial(&context, &tp("t", 0)), Some(state(3, 0, &[3, 1])));
        assert_eq!(initial(&context, &tp("t", 1)), None);
    }

    #[test]
    fn a_leader_comes_from_the_isr_in_the_order_of_the_assignment() {
        let context = context(&[1, 2], &[("t", 0, &[3, 2, 1])]);
        let elected = offline(&context, &tp("t", 0), &state(3, 4, &[3, 1, 2]), false);
        assert_eq!(elected, Some(state(2, 5, &[1, 2])));
    }

    #[test]
    fn out_of_sync_replicas_lead_only_where_that_is_allowed() {
        let context = context(&[2], &[("t", 0, &[1, 2])]);
        let current = state(-1, 4, &[1]);
        assert!(needs_unclean(&context, &tp("t", 0), &current));
        assert_eq!(offline(&context, &tp("t", 0), &current, false), None);
        let recovering = LeaderAndIsr { recovery: LeaderRecoveryState::Recovering, ..state(2, 5, &[2]) };
        assert_eq!(offline(&context, &tp("t", 0), &current, true), Some(recovering));
    }

    #[test]
    fn the_preferred_replica_leads_only_in_sync_and_alive() {
        let context = context(&[1, 2], &[("t", 0, &[1, 2]), ("t", 1, &[3, 1])]);
        let elected =
            |partition, isr| elect(Strategy::Preferred, &context, &tp("t", partition), &state(2, 4, isr), true);
        assert_eq!(elected(0, &[2, 1]), Some(state(1, 5, &[2, 1])));
        assert_eq!(elected(0, &[2]), None);
        assert_eq!(elected(1, &[3, 1]), None, "it is dead");
    }

    #[test]
    fn a_reassigned_partition_is_led_by_the_first_target_in_sync() {
        let mut context = context(&[1, 2, 3], &[("t", 0, &[3, 2, 1])]);
        let assignment = ReplicaAssignment { replicas: ids(&[3, 2, 1]), adding: ids(&[3]), removing: ids(&[1]) };
        context.set_assignment(&tp("t", 0), assignment);
        let elected = elect(Strategy::Reassign, &context, &tp("t", 0), &state(1, 4, &[1, 2]), false);
        assert_eq!(elected, Some(state(2, 5, &[1, 2])));
        assert_eq!(recipients(Strategy::Reassign, &context, &tp("t", 0)), ids(&[3, 2]));
    }

    #[test]
    fn who_shuts_down_hands_over_and_hears_of_it() {
        let mut context = context(&[1, 2, 3], &[("t", 0, &[1, 2, 3])]);
        context.begin_shutdown(BrokerId(1));
        context.begin_shutdown(BrokerId(2));
        let elected = elect(Strategy::ControlledShutdown, &context, &tp("t", 0), &state(1, 4, &[1, 2, 3]), false);
        assert_eq!(elected, Some(state(3, 5, &[3])));
        assert_eq!(recipients(Strategy::ControlledShutdown, &context, &tp("t", 0)), ids(&[1, 2, 3]));
        let alone = elect(Strategy::ControlledShutdown, &context, &tp("t", 0), &state(1, 4, &[1, 2]), false);
        assert_eq!(alone, None, "the one that leaves keeps what no other can take");
        let offline =
            elect(Strategy::Offline { allow_unclean: false }, &context, &tp("t", 0), &state(-1, 4, &[2]), false);
        assert_eq!(offline, None, "a broker that leaves is not elected");
    }

    #[test]
    fn the_last_in_sync_replica_stays_in_the_isr() {
        assert_eq!(without(&state(1, 4, &[1, 2]), BrokerId(1)), Some(state(-1, 5, &[2])));
        assert_eq!(without(&state(2, 4, &[1, 2]), BrokerId(1)), Some(state(2, 5, &[2])));
        assert_eq!(without(&state(1, 4, &[1]), BrokerId(1)), Some(state(-1, 5, &[1])));
        assert_eq!(without(&state(2, 4, &[2]), BrokerId(1)), None);
    }
}
