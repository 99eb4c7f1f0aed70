//! Owns who becomes leader, and with which ISR. Pure. Kafka: `Election`, `PartitionLeaderElectionAlgorithms`.
//!
//! Every change that the controller makes adds one to the leader epoch: brokers ignore an epoch that they know.
//! Absent so far: the preferred, reassignment and controlled-shutdown strategies.

use super::context::Context;
use crate::common::{BrokerId, LeaderEpoch, TopicPartition};
use crate::zk::data::topic::{LeaderAndIsr, LeaderRecoveryState};

/// The first leadership of a partition: the first of its replicas that is online, all those in sync. None when none is.
pub(super) fn initial(context: &Context, tp: &TopicPartition) -> Option<LeaderAndIsr> {
    let isr = context.online_replicas(tp);
    let leader = *isr.first()?;
    Some(LeaderAndIsr { leader, leader_epoch: LeaderEpoch(0), isr, recovery: LeaderRecoveryState::Recovered })
}

/// A leader for a partition that has none: the first of its replicas that is online and in sync. Else, if an `unclean`
/// election is allowed, the first that is online, which then is the whole ISR and has to recover. None when none is.
pub(super) fn offline(
    context: &Context,
    tp: &TopicPartition,
    current: &LeaderAndIsr,
    unclean: bool,
) -> Option<LeaderAndIsr> {
    let online = context.online_replicas(tp);
    if let Some(leader) = online.iter().copied().find(|id| current.isr.contains(id)) {
        let isr = current.isr.iter().copied().filter(|id| context.is_online(*id, tp)).collect();
        return Some(next(current, leader, isr, current.recovery));
    }
    let leader = *online.first().filter(|_| unclean)?;
    Some(next(current, leader, vec![leader], LeaderRecoveryState::Recovering))
}

/// Whether [`offline`] depends on what the topic says about unclean elections.
pub(super) fn needs_unclean(context: &Context, tp: &TopicPartition, current: &LeaderAndIsr) -> bool {
    !current.isr.iter().any(|id| context.is_online(*id, tp))
}

/// The leadership without `gone`. None when it was not in sync. The last member stays, alive or not: who comes back with
/// all records must be known.
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

fn next(current: &LeaderAndIsr, leader: BrokerId, isr: Vec<BrokerId>, recovery: LeaderRecoveryState) -> LeaderAndIsr {
    LeaderAndIsr { leader, leader_epoch: LeaderEpoch(current.leader_epoch.0 + 1), isr, recovery }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, ids, tp};
    use super::*;

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
    fn the_last_in_sync_replica_stays_in_the_isr() {
        assert_eq!(without(&state(1, 4, &[1, 2]), BrokerId(1)), Some(state(-1, 5, &[2])));
        assert_eq!(without(&state(2, 4, &[1, 2]), BrokerId(1)), Some(state(2, 5, &[2])));
        assert_eq!(without(&state(1, 4, &[1]), BrokerId(1)), Some(state(-1, 5, &[1])));
        assert_eq!(without(&state(2, 4, &[2]), BrokerId(1)), None);
    }
}
