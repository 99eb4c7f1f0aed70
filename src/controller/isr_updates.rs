//! Owns the decision whether a leader may change its ISR as requested. Pure. Kafka:
//! `KafkaController.tryProcessAlterPartition`.
//!
//! Beyond Kafka: the order of the ISR does not matter, only the leader itself may request it, and no broker joins that
//! has no replica. Leaving is always allowed.

use super::context::{Context, Leadership};
use crate::common::{BrokerEpoch, BrokerId, ErrorCode, LeaderEpoch, TopicPartition, Uuid};
use crate::protocol::Str;
use crate::protocol::messages::alter_partition_response::{PartitionData, TopicData};
use crate::protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use crate::zk::data::topic::{LeaderAndIsr, LeaderRecoveryState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first version that names topics by id and knows INELIGIBLE_REPLICA.
const TOPIC_IDS_SINCE: i16 = 2;
/// The first version that names the members' broker epochs.
const BROKER_EPOCHS_SINCE: i16 = 3;

/// A leader's proposal for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Proposal {
    pub(super) leader: BrokerId,
    pub(super) leader_epoch: LeaderEpoch,
    /// The version of the state znode that the leader knows.
    pub(super) partition_epoch: i32,
    /// With broker epochs, -1 where the leader knows none: brokers of ZooKeeper clusters never do.
    pub(super) isr: Vec<(BrokerId, BrokerEpoch)>,
    /// None for an invalid number.
    pub(super) recovery: Option<LeaderRecoveryState>,
}

/// A request, by partition. Where one names a partition twice, the later entry wins.
#[derive(Debug, Default)]
pub(super) struct Proposals {
    pub(super) known: BTreeMap<TopicPartition, Proposal>,
    /// Partitions of topics that are unknown by these ids.
    unknown: Vec<(Uuid, Vec<i32>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// To be written, conditional on the version.
    Write(LeaderAndIsr, i32),
    /// Already so: the leader missed the answer.
    Stands,
    /// The leader knows a later state than we do: it was written by another, most likely by the next controller.
    Newer,
    Refused(ErrorCode),
}

/// The result of each partition.
pub(super) type Outcomes = BTreeMap<TopicPartition, Result<Leadership, ErrorCode>>;

impl Proposals {
    pub(super) fn read(context: &Context, request: &AlterPartitionRequest, version: i16) -> Self {
        let mut out = Self::default();
        for topic in &request.topics {
            let name = if version >= TOPIC_IDS_SINCE {
                match context.topic_name(topic.topic_id) {
                    Some(name) => Arc::clone(name),
                    None => {
                        let partitions = topic.partitions.iter().map(|p| p.partition_index).collect();
                        out.unknown.push((topic.topic_id, partitions));
                        continue;
                    }
                }
            } else {
                (&*topic.topic_name).into()
            };
            for partition in &topic.partitions {
                let isr = if version >= BROKER_EPOCHS_SINCE {
                    let members = partition.new_isr_with_epochs.iter();
                    members.map(|m| (BrokerId(m.broker_id), BrokerEpoch(m.broker_epoch))).collect()
                } else {
                    partition.new_isr.iter().map(|id| (BrokerId(*id), BrokerEpoch(-1))).collect()
                };
                let proposal = Proposal {
                    leader: BrokerId(request.broker_id),
                    leader_epoch: LeaderEpoch(partition.leader_epoch),
                    partition_epoch: partition.partition_epoch,
                    isr,
                    recovery: match partition.leader_recovery_state {
                        0 => Some(LeaderRecoveryState::Recovered),
                        1 => Some(LeaderRecoveryState::Recovering),
                        _ => None,
                    },
                };
                out.known.insert(TopicPartition::new(Arc::clone(&name), partition.partition_index), proposal);
            }
        }
        out
    }

    /// The answer in the version of the request.
    pub(super) fn answer(&self, context: &Context, outcomes: &Outcomes, version: i16) -> AlterPartitionResponse {
        let mut topics: BTreeMap<&str, TopicData> = BTreeMap::new();
        for (tp, outcome) in outcomes {
            let topic = topics.entry(&*tp.topic).or_insert_with(|| {
                if version >= TOPIC_IDS_SINCE {
                    TopicData { topic_id: context.topic_id(&tp.topic).unwrap_or_default(), ..Default::default() }
                } else {
                    TopicData { topic_name: Str::from(&*tp.topic), ..Default::default() }
                }
            });
            topic.partitions.push(match outcome {
                Err(code) => refused(tp.partition, *code),
                Ok(Leadership { leader_and_isr: state, partition_epoch, .. }) => PartitionData {
                    partition_index: tp.partition,
                    leader_id: state.leader.0,
                    leader_epoch: state.leader_epoch.0,
                    isr: state.isr.iter().map(|id| id.0).collect(),
                    leader_recovery_state: state.recovery as i8,
                    partition_epoch: *partition_epoch,
                    ..Default::default()
                },
            });
        }
        let unknown = self.unknown.iter().map(|(topic_id, partitions)| TopicData {
            topic_id: *topic_id,
            partitions: partitions.iter().map(|index| refused(*index, ErrorCode::UnknownTopicId)).collect(),
            ..Default::default()
        });
        AlterPartitionResponse { topics: unknown.chain(topics.into_values()).collect(), ..Default::default() }
    }
}

fn refused(partition_index: i32, code: ErrorCode) -> PartitionData {
    PartitionData { partition_index, error_code: code.wire(), ..Default::default() }
}

/// Judges a proposal from a request of `version` by the controller's state.
pub(super) fn judge(context: &Context, tp: &TopicPartition, proposal: &Proposal, version: i16) -> Verdict {
    let Some(known) = context.leadership(tp) else { return Verdict::Refused(ErrorCode::UnknownTopicOrPartition) };
    let current = &known.leader_and_isr;
    if proposal.partition_epoch > known.partition_epoch || proposal.leader_epoch > current.leader_epoch {
        return Verdict::Newer;
    }
    if proposal.leader_epoch < current.leader_epoch {
        return Verdict::Refused(ErrorCode::FencedLeaderEpoch);
    }
    let Some(recovery) = proposal.recovery.filter(|_| proposal.leader == current.leader) else {
        return Verdict::Refused(ErrorCode::InvalidRequest);
    };
    let isr: Vec<BrokerId> = proposal.isr.iter().map(|(id, _)| *id).collect();
    let members: BTreeSet<BrokerId> = isr.iter().copied().collect();
    // Before the check of the version: a leader that missed an answer retries with the old version.
    if recovery == current.recovery && isr.len() == members.len() && members == current.isr.iter().copied().collect() {
        return Verdict::Stands;
    }
    if proposal.partition_epoch < known.partition_epoch {
        return Verdict::Refused(ErrorCode::InvalidUpdateVersion);
    }
    let recovers_backwards =
        recovery == LeaderRecoveryState::Recovering && (isr.len() > 1 || current.recovery != recovery);
    if recovers_backwards || isr.len() != members.len() || !members.contains(&current.leader) {
        return Verdict::Refused(ErrorCode::InvalidRequest);
    }
    let is_eligible = |(id, epoch): &(BrokerId, BrokerEpoch)| {
        let is_known = epoch.0 < 0 || context.broker(*id).is_some_and(|broker| broker.epoch == *epoch);
        let has_replica = current.isr.contains(id) || context.replicas(tp).contains(id);
        context.is_live(*id) && is_known && has_replica
    };
    if !proposal.isr.iter().all(is_eligible) {
        let is_new = version >= TOPIC_IDS_SINCE;
        return Verdict::Refused(if is_new { ErrorCode::IneligibleReplica } else { ErrorCode::OperationNotAttempted });
    }
    let next = LeaderAndIsr { leader: current.leader, leader_epoch: current.leader_epoch, isr, recovery };
    Verdict::Write(next, known.partition_epoch)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, ids, topic_id, tp};
    use super::*;
    use crate::common::ControllerEpoch;
    use crate::protocol::messages::alter_partition_request::{self as wire, BrokerState};

    /// `t-0` on brokers 1, 2, 3 (4 is alive too, 5 is not), led by 1 in epoch 5 with version 8 and this ISR.
    fn with_isr(isr: &[i32]) -> Context {
        let mut context = context(&[1, 2, 3, 4], &[("t", 0, &[1, 2, 3])]);
        let leader_and_isr = LeaderAndIsr {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(5),
            isr: ids(isr),
            recovery: LeaderRecoveryState::Recovered,
        };
        let leadership = Leadership { leader_and_isr, partition_epoch: 8, controller_epoch: ControllerEpoch(7) };
        context.set_leadership(&tp("t", 0), leadership);
        context
    }

    fn proposal(leader_epoch: i32, partition_epoch: i32, isr: &[i32]) -> Proposal {
        Proposal {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(leader_epoch),
            partition_epoch,
            isr: ids(isr).into_iter().map(|id| (id, BrokerEpoch(-1))).collect(),
            recovery: Some(LeaderRecoveryState::Recovered),
        }
    }

    fn refusal(context: &Context, proposal: &Proposal) -> ErrorCode {
        match judge(context, &tp("t", 0), proposal, 3) {
            Verdict::Refused(code) => code,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_leader_shrinks_and_expands_in_its_epoch() {
        let context = with_isr(&[1, 2]);
        for isr in [&[1][..], &[1, 2, 3], &[3, 1]] {
            let Verdict::Write(next, version) = judge(&context, &tp("t", 0), &proposal(5, 8, isr), 3) else { panic!() };
            assert_eq!((next.leader, next.leader_epoch, next.isr, version), (BrokerId(1), LeaderEpoch(5), ids(isr), 8));
        }
    }

    #[test]
    fn old_epochs_are_fenced_and_new_ones_are_news() {
        let context = with_isr(&[1, 2]);
        assert_eq!(refusal(&context, &proposal(4, 8, &[1])), ErrorCode::FencedLeaderEpoch);
        assert_eq!(refusal(&context, &proposal(5, 7, &[1])), ErrorCode::InvalidUpdateVersion);
        assert_eq!(judge(&context, &tp("t", 0), &proposal(6, 8, &[1]), 3), Verdict::Newer);
        assert_eq!(judge(&context, &tp("t", 0), &proposal(5, 9, &[1]), 3), Verdict::Newer);
        assert_eq!(
            judge(&context, &tp("t", 0), &proposal(4, 9, &[1]), 3),
            Verdict::Newer,
            "as in Kafka, before fencing"
        );
        let unknown = judge(&context, &tp("t", 1), &proposal(5, 8, &[1]), 3);
        assert_eq!(unknown, Verdict::Refused(ErrorCode::UnknownTopicOrPartition));
    }

    #[test]
    fn a_repeated_request_is_answered_with_what_stands() {
        let context = with_isr(&[1, 2, 3]);
        assert_eq!(judge(&context, &tp("t", 0), &proposal(5, 7, &[1, 2, 3]), 3), Verdict::Stands);
        assert_eq!(judge(&context, &tp("t", 0), &proposal(5, 2, &[3, 2, 1]), 3), Verdict::Stands, "in any order");
    }

    #[test]
    fn dead_leaving_and_restarted_brokers_and_strangers_do_not_join() {
        let mut context = with_isr(&[1, 2]);
        assert_eq!(refusal(&context, &proposal(5, 8, &[1, 5])), ErrorCode::IneligibleReplica, "dead");
        assert_eq!(refusal(&context, &proposal(5, 8, &[1, 4])), ErrorCode::IneligibleReplica, "not assigned");
        let old = judge(&context, &tp("t", 0), &proposal(5, 8, &[1, 5]), 1);
        assert_eq!(old, Verdict::Refused(ErrorCode::OperationNotAttempted));
        let mut restarted = proposal(5, 8, &[1, 2, 3]);
        restarted.isr[2].1 = BrokerEpoch(102);
        assert_eq!(refusal(&context, &restarted), ErrorCode::IneligibleReplica, "its epoch is 103");
        restarted.isr[2].1 = BrokerEpoch(103);
        assert!(matches!(judge(&context, &tp("t", 0), &restarted, 3), Verdict::Write(..)));
        context.begin_shutdown(BrokerId(3));
        assert_eq!(refusal(&context, &proposal(5, 8, &[1, 2, 3])), ErrorCode::IneligibleReplica, "leaving");
    }

    #[test]
    fn nonsense_is_refused() {
        let context = with_isr(&[1, 2]);
        for isr in [&[][..], &[2], &[1, 1], &[1, 2, 3, 3]] {
            assert_eq!(refusal(&context, &proposal(5, 8, isr)), ErrorCode::InvalidRequest, "{isr:?}");
        }
        let stranger = Proposal { leader: BrokerId(2), ..proposal(5, 8, &[2]) };
        assert_eq!(refusal(&context, &stranger), ErrorCode::InvalidRequest);
        let backwards = Proposal { recovery: Some(LeaderRecoveryState::Recovering), ..proposal(5, 8, &[1]) };
        assert_eq!(refusal(&context, &backwards), ErrorCode::InvalidRequest);
        assert_eq!(refusal(&context, &Proposal { recovery: None, ..proposal(5, 8, &[1]) }), ErrorCode::InvalidRequest);
    }

    #[test]
    fn requests_name_topics_by_id_or_by_name() {
        let context = with_isr(&[1, 2]);
        let partition = |index| wire::PartitionData {
            partition_index: index,
            leader_epoch: 5,
            partition_epoch: 8,
            new_isr: vec![1],
            new_isr_with_epochs: vec![BrokerState { broker_id: 1, ..Default::default() }],
            ..Default::default()
        };
        let request = AlterPartitionRequest {
            broker_id: 1,
            topics: vec![
                wire::TopicData {
                    topic_name: "t".into(),
                    topic_id: topic_id("t"),
                    partitions: vec![partition(0)],
                    ..Default::default()
                },
                wire::TopicData {
                    topic_name: "u".into(),
                    topic_id: topic_id("u"),
                    partitions: vec![partition(4)],
                    ..Default::default()
                },
            ],
            ..Default::default()
        };
        let by_id = Proposals::read(&context, &request, 3);
        assert_eq!(by_id.known, [(tp("t", 0), proposal(5, 8, &[1]))].into());
        let leadership = context.leadership(&tp("t", 0)).unwrap().clone();
        let answer = by_id.answer(&context, &[(tp("t", 0), Ok(leadership))].into(), 3);
        let codes: Vec<(Uuid, i32, i16)> = answer
            .topics
            .iter()
            .map(|t| (t.topic_id, t.partitions[0].partition_index, t.partitions[0].error_code))
            .collect();
        assert_eq!(codes, [(topic_id("u"), 4, 100), (topic_id("t"), 0, 0)]);
        assert_eq!(
            (&answer.topics[1].partitions[0].isr, answer.topics[1].partitions[0].partition_epoch),
            (&vec![1, 2], 8)
        );
        let by_name = Proposals::read(&context, &request, 1);
        assert_eq!(by_name.known.keys().cloned().collect::<Vec<_>>(), [tp("t", 0), tp("u", 4)]);
        let answer = by_name.answer(&context, &[(tp("u", 4), Err(ErrorCode::UnknownTopicOrPartition))].into(), 1);
        assert_eq!((&*answer.topics[0].topic_name, answer.topics[0].partitions[0].error_code), ("u", 3));
    }
}
