//! Owns the automatic return of leaderships to their preferred replicas. Pure. Kafka:
//! `KafkaController.checkAndTriggerAutoLeaderRebalance`.

use super::context::Context;
use super::election;
use crate::common::{BrokerId, TopicPartition};
use std::collections::BTreeMap;

/// The leaderships to move back: for each broker where others lead more than `percentage` of the partitions that prefer
/// it, all of those that it can lead.
pub(super) fn candidates(context: &Context, percentage: i32) -> Vec<TopicPartition> {
    /// The partitions that prefer a broker.
    #[derive(Default)]
    struct Load {
        count: usize,
        led_by_others: Vec<TopicPartition>,
    }
    let mut loads: BTreeMap<BrokerId, Load> = BTreeMap::new();
    for tp in context.partitions().into_iter().filter(|tp| !context.to_delete.contains(&tp.topic)) {
        let Some(first) = context.replicas(&tp).first().copied() else { continue };
        let load = loads.entry(first).or_default();
        load.count += 1;
        if context.leadership(&tp).is_some_and(|known| known.leader_and_isr.leader != first) {
            load.led_by_others.push(tp);
        }
    }
    let is_unbalanced =
        |load: &Load| load.led_by_others.len() as f64 / load.count as f64 > f64::from(percentage) / 100.0;
    let can_lead = |tp: &TopicPartition| {
        context
            .leadership(tp)
            .is_some_and(|known| election::preferred(context, tp, &known.leader_and_isr.isr).is_some())
    };
    loads.into_values().filter(is_unbalanced).flat_map(|load| load.led_by_others).filter(can_lead).collect()
}

#[cfg(test)]
mod tests {
    use super::super::context::Leadership;
    use super::super::testing::{context, ids, tp};
    use super::*;
    use crate::common::{ControllerEpoch, LeaderEpoch};
    use crate::zk::data::topic::LeaderAndIsr;

    /// Ten partitions that name 1 first and two that name 2; `elsewhere` of the ten are led by 2, the others as named.
    fn cluster(elsewhere: i32, isr: &[i32]) -> Context {
        let replicas: Vec<(&str, i32, &[i32])> =
            (0..12).map(|p| ("t", p, if p < 10 { &[1, 2][..] } else { &[2, 1] })).collect();
        let mut context = context(&[1, 2], &replicas);
        for p in 0..12 {
            let leader = if p < elsewhere || p >= 10 { 2 } else { 1 };
            let leader_and_isr = LeaderAndIsr {
                leader: BrokerId(leader),
                leader_epoch: LeaderEpoch(0),
                isr: ids(isr),
                recovery: Default::default(),
            };
            let leadership = Leadership { leader_and_isr, partition_epoch: 0, controller_epoch: ControllerEpoch(7) };
            context.set_leadership(&tp("t", p), leadership);
        }
        context
    }

    #[test]
    fn a_broker_gets_its_leaderships_back_beyond_the_percentage() {
        assert!(candidates(&cluster(1, &[1, 2]), 10).is_empty(), "not more than 10 percent");
        assert_eq!(candidates(&cluster(2, &[1, 2]), 10), [tp("t", 0), tp("t", 1)]);
        assert_eq!(candidates(&cluster(1, &[1, 2]), 0), [tp("t", 0)]);
    }

    #[test]
    fn what_the_preferred_replica_cannot_lead_stays() {
        assert!(candidates(&cluster(5, &[2]), 10).is_empty(), "out of sync");
        let mut leaving = cluster(5, &[1, 2]);
        leaving.begin_shutdown(BrokerId(1));
        assert!(candidates(&leaving, 10).is_empty());
        let mut deleted = cluster(5, &[1, 2]);
        deleted.to_delete.insert("t".into());
        assert!(candidates(&deleted, 10).is_empty());
    }
}
