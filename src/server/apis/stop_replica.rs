//! StopReplica: the controller takes replicas away. Kafka: `KafkaApis.handleStopReplicaRequest`.

use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, ErrorCode, LeaderEpoch, TopicPartition};
use crate::network::Reply;
use crate::protocol::messages::stop_replica_response::StopReplicaPartitionError;
use crate::protocol::messages::{StopReplicaRequest, StopReplicaResponse};
use crate::replica::StopReplica;
use crate::server::codes::code_of;
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::sync::Arc;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: StopReplicaRequest) -> Reply {
    let refuse = |code: ErrorCode| call.reply(&StopReplicaResponse { error_code: code.wire(), ..Default::default() });
    if broker.is_epoch_stale(BrokerEpoch(request.broker_epoch)) {
        return refuse(ErrorCode::StaleBrokerEpoch);
    }
    let partitions = to_partitions(&request);
    let (controller, epoch) = (BrokerId(request.controller_id), ControllerEpoch(request.controller_epoch));
    let replicas = Arc::clone(&broker.replicas);
    let wanted = partitions.clone();
    let change = match broker.blocking(move || replicas.states().stop_replicas(controller, epoch, &wanted)).await {
        Ok(change) => change,
        Err(stale) => return refuse(stale.into()),
    };
    broker.follow_leadership(&change);
    let errors = partitions.iter().zip(change.outcomes).map(|(partition, outcome)| StopReplicaPartitionError {
        topic_name: (&*partition.topic_partition.topic).into(),
        partition_index: partition.topic_partition.partition,
        error_code: code_of(outcome).wire(),
        ..Default::default()
    });
    call.reply(&StopReplicaResponse { partition_errors: errors.collect(), ..Default::default() })
}

/// The three forms of the request, over its versions.
fn to_partitions(request: &StopReplicaRequest) -> Vec<StopReplica> {
    let stop = |topic: &str, partition, leader_epoch, delete| StopReplica {
        topic_partition: TopicPartition::new(topic, partition),
        leader_epoch: LeaderEpoch(leader_epoch),
        delete,
    };
    let mut partitions = Vec::new();
    for topic in &request.topic_states {
        let states = topic.partition_states.iter();
        partitions
            .extend(states.map(|s| stop(&topic.topic_name, s.partition_index, s.leader_epoch, s.delete_partition)));
    }
    let (unchecked, delete) = (LeaderEpoch::NONE.0, request.delete_partitions);
    for topic in &request.topics {
        partitions.extend(topic.partition_indexes.iter().map(|p| stop(&topic.name, *p, unchecked, delete)));
    }
    partitions
        .extend(request.ungrouped_partitions.iter().map(|p| stop(&p.topic_name, p.partition_index, unchecked, delete)));
    partitions
}
