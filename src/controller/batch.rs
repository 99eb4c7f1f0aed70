//! Owns the requests of one step of the controller: at most one LeaderAndIsr, UpdateMetadata and StopReplica per
//! broker. Pure. Kafka: `AbstractControllerBrokerRequestBatch`.
//!
//! A partition is sent as the [`Context`] has it when it is added; the last addition wins, except that "new" and
//! "delete" stick. Whichever brokers get the leadership, every live broker gets it for its metadata too.

use super::context::Context;
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, TopicPartition};
use crate::protocol::Str;
use crate::protocol::messages::leader_and_isr_request::{
    LeaderAndIsrLiveLeader, LeaderAndIsrPartitionState, LeaderAndIsrTopicState,
};
use crate::protocol::messages::stop_replica_request::{StopReplicaPartitionState, StopReplicaTopicState};
use crate::protocol::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataEndpoint, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use crate::protocol::messages::{LeaderAndIsrRequest, StopReplicaRequest, UpdateMetadataRequest};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The leader that makes brokers forget a partition. Kafka: `LeaderAndIsr.LeaderDuringDelete`.
const LEADER_DURING_DELETE: i32 = -2;

/// One request to one broker. Their order in a broker's queue is the order of events.
#[derive(Clone, Debug, PartialEq)]
pub enum ControlRequest {
    LeaderAndIsr(LeaderAndIsrRequest),
    UpdateMetadata(UpdateMetadataRequest),
    StopReplica(StopReplicaRequest),
}

impl ControlRequest {
    /// The term that it belongs to, and the epoch of the broker that it is meant for.
    pub(super) fn epochs(&self) -> (ControllerEpoch, BrokerEpoch) {
        let (term, life) = match self {
            Self::LeaderAndIsr(request) => (request.controller_epoch, request.broker_epoch),
            Self::UpdateMetadata(request) => (request.controller_epoch, request.broker_epoch),
            Self::StopReplica(request) => (request.controller_epoch, request.broker_epoch),
        };
        (ControllerEpoch(term), BrokerEpoch(life))
    }
}

#[derive(Default)]
pub(super) struct BatchBuilder {
    leader_and_isr: BTreeMap<BrokerId, BTreeMap<TopicPartition, LeaderAndIsrPartitionState>>,
    stop_replica: BTreeMap<BrokerId, BTreeMap<TopicPartition, StopReplicaPartitionState>>,
    metadata_targets: BTreeSet<BrokerId>,
    /// Every live broker is among the targets.
    tells_everybody: bool,
    /// Shared by all targets of this batch.
    metadata: BTreeMap<TopicPartition, UpdateMetadataPartitionState>,
}

fn wire_ids(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

impl BatchBuilder {
    /// Sends the partition's leadership to `brokers`, and to every live broker for its metadata.
    pub(super) fn leader_and_isr(
        &mut self,
        context: &Context,
        brokers: &[BrokerId],
        tp: &TopicPartition,
        is_new: bool,
    ) {
        let (Some(leadership), Some(assignment)) = (context.leadership(tp), context.assignment(tp)) else { return };
        let decided = &leadership.leader_and_isr;
        for broker in brokers.iter().filter(|id| id.0 >= 0) {
            let states = self.leader_and_isr.entry(*broker).or_default();
            let was_new = states.get(tp).is_some_and(|state| state.is_new);
            states.insert(
                tp.clone(),
                LeaderAndIsrPartitionState {
                    partition_index: tp.partition,
                    controller_epoch: leadership.controller_epoch.0,
                    leader: decided.leader.0,
                    leader_epoch: decided.leader_epoch.0,
                    isr: wire_ids(&decided.isr),
                    partition_epoch: leadership.partition_epoch,
                    replicas: wire_ids(&assignment.replicas),
                    adding_replicas: wire_ids(&assignment.adding),
                    removing_replicas: wire_ids(&assignment.removing),
                    is_new: is_new || was_new,
                    leader_recovery_state: decided.recovery as i8,
                    ..Default::default()
                },
            );
        }
        if !self.tells_everybody {
            self.metadata_targets.extend(context.broker_ids());
            self.tells_everybody = true;
        }
        self.put_metadata(context, tp);
    }

    /// Sends `brokers` the live brokers, and all targets of the batch the state of `partitions`. Those without
    /// leadership are omitted.
    pub(super) fn update_metadata(&mut self, context: &Context, brokers: &[BrokerId], partitions: &[TopicPartition]) {
        self.metadata_targets.extend(brokers.iter().filter(|id| id.0 >= 0));
        partitions.iter().for_each(|tp| self.put_metadata(context, tp));
    }

    fn put_metadata(&mut self, context: &Context, tp: &TopicPartition) {
        let Some(leadership) = context.leadership(tp) else { return };
        let decided = &leadership.leader_and_isr;
        let is_leaving = context.to_delete.contains(&tp.topic);
        let (leader, leader_epoch, zk_version) = if is_leaving {
            (LEADER_DURING_DELETE, 0, 0)
        } else {
            (decided.leader.0, decided.leader_epoch.0, leadership.partition_epoch)
        };
        let replicas = context.replicas(tp);
        let offline = replicas.iter().filter(|id| !context.is_online(**id, tp)).map(|id| id.0).collect();
        self.metadata.insert(
            tp.clone(),
            UpdateMetadataPartitionState {
                partition_index: tp.partition,
                controller_epoch: leadership.controller_epoch.0,
                leader,
                leader_epoch,
                isr: wire_ids(&decided.isr),
                zk_version,
                replicas: wire_ids(replicas),
                offline_replicas: offline,
                ..Default::default()
            },
        );
    }

    pub(super) fn stop_replica(&mut self, context: &Context, broker: BrokerId, tp: &TopicPartition, delete: bool) {
        if broker.0 < 0 {
            return;
        }
        let states = self.stop_replica.entry(broker).or_default();
        let was_delete = states.get(tp).is_some_and(|state| state.delete_partition);
        states.insert(
            tp.clone(),
            StopReplicaPartitionState {
                partition_index: tp.partition,
                leader_epoch: context.stop_replica_epoch(tp).0,
                delete_partition: delete || was_delete,
                ..Default::default()
            },
        );
    }

    /// The requests in the order of sending: leadership first, then metadata, then stops. Brokers that are gone get none.
    /// `listener` is the inter-broker listener.
    pub(super) fn finish(self, context: &Context, us: BrokerId, listener: &str) -> Vec<(BrokerId, ControlRequest)> {
        let mut out = Vec::new();
        let epoch_of = |id: BrokerId| context.broker(id).map(|broker| broker.epoch);
        for (broker, states) in self.leader_and_isr {
            let Some(BrokerEpoch(broker_epoch)) = epoch_of(broker) else { continue };
            let leaders: BTreeSet<i32> = states.values().map(|state| state.leader).collect();
            let live_leaders = context
                .brokers()
                .filter(|b| leaders.contains(&b.registration.id.0))
                .filter_map(|b| {
                    let endpoint = b.registration.endpoint(listener)?;
                    Some(LeaderAndIsrLiveLeader {
                        broker_id: b.registration.id.0,
                        host_name: endpoint.host.as_deref().unwrap_or_default().into(),
                        port: endpoint.port.into(),
                        ..Default::default()
                    })
                })
                .collect();
            let topic_states = by_topic(states)
                .into_iter()
                .map(|(topic, partition_states)| LeaderAndIsrTopicState {
                    topic_id: context.topic_id(&topic).unwrap_or_default(),
                    topic_name: text(&topic),
                    partition_states,
                    ..Default::default()
                })
                .collect();
            out.push((
                broker,
                ControlRequest::LeaderAndIsr(LeaderAndIsrRequest {
                    controller_id: us.0,
                    controller_epoch: context.epoch.0,
                    broker_epoch,
                    topic_states,
                    live_leaders,
                    ..Default::default()
                }),
            ));
        }
        if !self.metadata_targets.is_empty() {
            let metadata = UpdateMetadataRequest {
                controller_id: us.0,
                controller_epoch: context.epoch.0,
                topic_states: by_topic(self.metadata)
                    .into_iter()
                    .map(|(topic, partition_states)| UpdateMetadataTopicState {
                        topic_id: context.topic_id(&topic).unwrap_or_default(),
                        topic_name: text(&topic),
                        partition_states,
                        ..Default::default()
                    })
                    .collect(),
                live_brokers: live_brokers(context),
                ..Default::default()
            };
            for broker in self.metadata_targets {
                let Some(BrokerEpoch(broker_epoch)) = epoch_of(broker) else { continue };
                let request = UpdateMetadataRequest { broker_epoch, ..metadata.clone() };
                out.push((broker, ControlRequest::UpdateMetadata(request)));
            }
        }
        for (broker, states) in self.stop_replica {
            let Some(BrokerEpoch(broker_epoch)) = epoch_of(broker) else { continue };
            let topic_states = by_topic(states)
                .into_iter()
                .map(|(topic, partition_states)| StopReplicaTopicState {
                    topic_name: text(&topic),
                    partition_states,
                    ..Default::default()
                })
                .collect();
            out.push((
                broker,
                ControlRequest::StopReplica(StopReplicaRequest {
                    controller_id: us.0,
                    controller_epoch: context.epoch.0,
                    broker_epoch,
                    topic_states,
                    ..Default::default()
                }),
            ));
        }
        out
    }
}

fn text(topic: &Arc<str>) -> Str {
    Str::from(&**topic)
}

fn by_topic<S>(states: BTreeMap<TopicPartition, S>) -> BTreeMap<Arc<str>, Vec<S>> {
    let mut out: BTreeMap<Arc<str>, Vec<S>> = BTreeMap::new();
    for (tp, state) in states {
        out.entry(tp.topic).or_default().push(state);
    }
    out
}

fn live_brokers(context: &Context) -> Vec<UpdateMetadataBroker> {
    let endpoints = |broker: &crate::zk::data::broker::BrokerRegistration| {
        let endpoint = |e: &crate::config::endpoint::Endpoint| UpdateMetadataEndpoint {
            port: e.port.into(),
            host: e.host.as_deref().unwrap_or_default().into(),
            listener: e.listener.as_str().into(),
            security_protocol: e.protocol.id(),
            ..Default::default()
        };
        broker.endpoints.iter().map(endpoint).collect()
    };
    context
        .brokers()
        .map(|broker| UpdateMetadataBroker {
            id: broker.registration.id.0,
            endpoints: endpoints(&broker.registration),
            rack: broker.registration.rack.as_deref().map(Str::from),
            ..Default::default()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::context::Leadership;
    use super::super::testing::{context, ids, topic_id, tp};
    use super::*;
    use crate::common::LeaderEpoch;
    use crate::zk::data::topic::LeaderAndIsr;

    fn led(brokers: &[i32], partitions: &[(&str, i32, &[i32])]) -> Context {
        let mut context = context(brokers, partitions);
        for (topic, partition, replicas) in partitions {
            context.set_leadership(
                &tp(topic, *partition),
                Leadership {
                    leader_and_isr: LeaderAndIsr {
                        leader: BrokerId(replicas[0]),
                        leader_epoch: LeaderEpoch(3),
                        isr: ids(replicas),
                        recovery: Default::default(),
                    },
                    partition_epoch: 5,
                    controller_epoch: ControllerEpoch(6),
                },
            );
        }
        context
    }

    fn finish(batch: BatchBuilder, context: &Context) -> Vec<(i32, ControlRequest)> {
        batch.finish(context, BrokerId(1), "PLAINTEXT").into_iter().map(|(id, request)| (id.0, request)).collect()
    }

    #[test]
    fn leadership_goes_to_the_replicas_and_metadata_to_everybody() {
        let context = led(&[1, 2, 3], &[("t", 0, &[2, 4])]);
        let mut batch = BatchBuilder::default();
        batch.leader_and_isr(&context, &ids(&[2, 4, -1]), &tp("t", 0), true);
        batch.leader_and_isr(&context, &ids(&[2]), &tp("t", 0), false);
        let sent = finish(batch, &context);
        let kinds: Vec<(i32, bool)> =
            sent.iter().map(|(id, r)| (*id, matches!(r, ControlRequest::LeaderAndIsr(_)))).collect();
        assert_eq!(kinds, [(2, true), (1, false), (2, false), (3, false)]);
        let ControlRequest::LeaderAndIsr(request) = &sent[0].1 else { unreachable!() };
        assert_eq!((request.controller_id, request.controller_epoch, request.broker_epoch), (1, 7, 102));
        assert_eq!(request.topic_states[0].topic_id, topic_id("t"));
        let state = &request.topic_states[0].partition_states[0];
        assert_eq!((state.leader, state.leader_epoch, state.partition_epoch, state.controller_epoch), (2, 3, 5, 6));
        assert!(state.is_new, "new sticks");
        assert_eq!(request.live_leaders.iter().map(|l| l.broker_id).collect::<Vec<_>>(), [2]);
        let ControlRequest::UpdateMetadata(request) = &sent[1].1 else { unreachable!() };
        assert_eq!(request.live_brokers.len(), 3);
        assert_eq!(request.topic_states[0].partition_states[0].offline_replicas, [4]);
    }

    #[test]
    fn partitions_of_a_leaving_topic_are_led_by_nobody_and_stopped_in_any_epoch() {
        let mut context = led(&[1], &[("t", 0, &[1])]);
        context.to_delete.insert("t".into());
        let mut batch = BatchBuilder::default();
        batch.update_metadata(&context, &ids(&[1]), &[tp("t", 0), tp("unknown", 0)]);
        batch.stop_replica(&context, BrokerId(1), &tp("t", 0), true);
        batch.stop_replica(&context, BrokerId(1), &tp("t", 0), false);
        let sent = finish(batch, &context);
        let ControlRequest::UpdateMetadata(request) = &sent[0].1 else { unreachable!() };
        assert_eq!(request.topic_states.len(), 1);
        assert_eq!(request.topic_states[0].partition_states[0].leader, -2);
        let ControlRequest::StopReplica(request) = &sent[1].1 else { unreachable!() };
        let state = &request.topic_states[0].partition_states[0];
        assert_eq!((state.leader_epoch, state.delete_partition), (-2, true));
    }

    #[test]
    fn an_empty_batch_says_nothing() {
        assert!(finish(BatchBuilder::default(), &context(&[1], &[])).is_empty());
    }
}
