//! Owns which partition states in ZooKeeper are older than what controllers reported to this broker, and the states
//! that replace them: the ensemble was restored from an older copy. Pure. Kafka has no counterpart: there the brokers
//! refuse such a controller until they are restarted.
//!
//! A controller reports to brokers what it has written, never what it is about to write. So what was reported before
//! the states were read may be older than ZooKeeper, as at any failover, but is newer only where ZooKeeper has lost
//! writes. States of one topic id are ordered by their leader epoch, and within one epoch by their version.

use super::context::{Context, Leadership};
use crate::cluster::image::{MetadataImage, PartitionImage};
use crate::common::{BrokerId, LeaderEpoch, TopicPartition};
use crate::zk::data::topic::{LeaderAndIsr, LeaderRecoveryState};

/// The partitions whose state is older than reported, with their new state and the version on which its write is
/// conditional.
pub(super) fn overtaken(context: &Context, received: &MetadataImage) -> Vec<(TopicPartition, LeaderAndIsr, i32)> {
    let mut out = Vec::new();
    for (name, topic) in &received.topics {
        if topic.id.is_zero() || context.topic_id(name) != Some(topic.id) {
            continue;
        }
        for (partition, latest) in &topic.partitions {
            let tp = TopicPartition::new(name.clone(), *partition);
            let Some(found) = context.leadership(&tp).filter(|found| is_before(found, latest)) else { continue };
            out.push((tp.clone(), renewed(latest, context.replicas(&tp)), found.partition_epoch));
        }
    }
    out
}

fn is_before(found: &Leadership, latest: &PartitionImage) -> bool {
    (found.leader_and_isr.leader_epoch, found.partition_epoch) < (latest.leader_epoch, latest.partition_epoch)
}

/// The latest leadership in the next epoch. Of the in-sync replicas only assigned ones are kept. Where that leaves
/// none, the unassigned ones are kept all the same, and the partition stays without a leader: any other leader could
/// lack acknowledged records.
fn renewed(latest: &PartitionImage, replicas: &[BrokerId]) -> LeaderAndIsr {
    let assigned: Vec<BrokerId> = latest.isr.iter().copied().filter(|id| replicas.contains(id)).collect();
    let leader = if assigned.contains(&latest.leader) { latest.leader } else { BrokerId::NONE };
    LeaderAndIsr {
        leader,
        leader_epoch: LeaderEpoch(latest.leader_epoch.0 + 1),
        isr: if assigned.is_empty() { latest.isr.clone() } else { assigned },
        recovery: LeaderRecoveryState::Recovered,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{context, ids, topic_id, tp};
    use super::*;
    use crate::cluster::image::{MetadataUpdate, TopicImage};
    use crate::common::{ControllerEpoch, Uuid};

    fn led(leader: i32, epoch: i32, isr: &[i32]) -> LeaderAndIsr {
        LeaderAndIsr {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(epoch),
            isr: ids(isr),
            recovery: LeaderRecoveryState::Recovered,
        }
    }

    /// `t-0` on brokers 1 and 2, led by 1 in epoch 5, and written 9 times.
    fn found() -> Context {
        let mut context = context(&[1, 2, 3], &[("t", 0, &[1, 2])]);
        let leadership =
            Leadership { leader_and_isr: led(1, 5, &[1, 2]), partition_epoch: 9, controller_epoch: ControllerEpoch(6) };
        context.set_leadership(&tp("t", 0), leadership);
        context
    }

    fn received(id: Uuid, state: &LeaderAndIsr, partition_epoch: i32) -> MetadataImage {
        let partition = PartitionImage {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr.clone(),
            replicas: state.isr.clone(),
            offline_replicas: vec![],
            partition_epoch,
        };
        let topic = TopicImage { name: "t".into(), id, partitions: [(0, Arc::new(partition))].into() };
        let update = MetadataUpdate {
            controller: BrokerId(1),
            controller_epoch: ControllerEpoch(6),
            brokers: vec![],
            topics: vec![topic],
        };
        MetadataImage::default().updated(&update)
    }

    fn overtaken_by(state: LeaderAndIsr, partition_epoch: i32) -> Vec<(TopicPartition, LeaderAndIsr, i32)> {
        overtaken(&found(), &received(topic_id("t"), &state, partition_epoch))
    }

    #[test]
    fn what_was_told_as_it_stands_or_earlier_changes_nothing() {
        assert_eq!(overtaken(&found(), &MetadataImage::default()), []);
        for (epoch, partition_epoch) in [(5, 9), (5, 8), (4, 9), (4, 8), (0, 0)] {
            assert_eq!(overtaken_by(led(2, epoch, &[2]), partition_epoch), [], "{epoch} {partition_epoch}");
        }
        // The ensemble was restored before, and the count of versions began lower.
        assert_eq!(overtaken_by(led(2, 4, &[2]), 50), []);
    }

    #[test]
    fn a_later_leader_or_isr_that_was_told_is_written_again_in_the_next_epoch() {
        assert_eq!(overtaken_by(led(2, 8, &[2]), 12), [(tp("t", 0), led(2, 9, &[2]), 9)]);
        assert_eq!(overtaken_by(led(-1, 8, &[2]), 12), [(tp("t", 0), led(-1, 9, &[2]), 9)]);
        // The ISR that ZooKeeper has, of both, would let broker 2 lead without the records that only 1 acknowledged.
        assert_eq!(overtaken_by(led(1, 5, &[1]), 10), [(tp("t", 0), led(1, 6, &[1]), 9)]);
        // After an earlier restoration the versions began lower.
        assert_eq!(overtaken_by(led(2, 6, &[1, 2]), 3), [(tp("t", 0), led(2, 7, &[1, 2]), 9)]);
    }

    #[test]
    fn a_topic_of_another_id_and_an_unknown_partition_prove_nothing() {
        let state = led(2, 8, &[2]);
        assert_eq!(overtaken(&found(), &received(topic_id("other"), &state, 12)), []);
        assert_eq!(overtaken(&found(), &received(Uuid::ZERO, &state, 12)), []);
        let without_state = context(&[1, 2], &[("t", 0, &[1, 2])]);
        assert_eq!(overtaken(&without_state, &received(topic_id("t"), &state, 12)), []);
    }

    #[test]
    fn only_assigned_replicas_lead_and_without_any_in_sync_nobody_does() {
        assert_eq!(overtaken_by(led(3, 8, &[2, 3]), 12), [(tp("t", 0), led(-1, 9, &[2]), 9)]);
        assert_eq!(overtaken_by(led(3, 8, &[3]), 12), [(tp("t", 0), led(-1, 9, &[3]), 9)]);
    }
}
