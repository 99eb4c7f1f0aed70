//! LeaderAndIsr: the controller says which partitions this broker leads and follows. Kafka:
//! `KafkaApis.handleLeaderAndIsrRequest`.

use crate::cluster::partition::LeadershipState;
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, ErrorCode, LeaderEpoch, TopicPartition, Uuid};
use crate::network::Reply;
use crate::protocol::messages::leader_and_isr_request::LeaderAndIsrPartitionState;
use crate::protocol::messages::leader_and_isr_response::{LeaderAndIsrPartitionError, LeaderAndIsrTopicError};
use crate::protocol::messages::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use crate::replica::LeaderAndIsr;
use crate::server::codes::code_of;
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::util::clock::wall_ms;
use std::collections::HashMap;
use std::sync::Arc;
use tracing::error;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: LeaderAndIsrRequest) -> Reply {
    let partitions = to_partitions(&request);
    // Waits as long as ZooKeeper is unreachable.
    let learned = broker.learn_topic_configs(&partitions).await;
    let refuse = |code: ErrorCode| {
        call.reply(&LeaderAndIsrResponse { error_code: code.wire(), ..response(call.version(), &partitions, |_| code) })
    };
    if broker.is_epoch_stale(BrokerEpoch(request.broker_epoch)) {
        return refuse(ErrorCode::StaleBrokerEpoch);
    }
    let senseless = match learned {
        Ok(senseless) => senseless,
        Err(error) => {
            error!(%error, "topic configs not read");
            return refuse(ErrorCode::UnknownServerError);
        }
    };
    // Kafka refuses the whole request with this code for one topic with invalid settings.
    let is_possible = |p: &LeaderAndIsr| {
        let tp = &p.topic_partition;
        !senseless.contains(&*tp.topic) || broker.replicas.logs().log(tp).is_some()
    };
    let (places, wanted): (Vec<usize>, Vec<LeaderAndIsr>) =
        partitions.iter().cloned().enumerate().filter(|(_, p)| is_possible(p)).unzip();
    let (controller, epoch) = (BrokerId(request.controller_id), ControllerEpoch(request.controller_epoch));
    let replicas = Arc::clone(&broker.replicas);
    let outcome = broker
        .blocking(move || replicas.states().become_leader_or_follower(controller, epoch, &wanted, wall_ms()))
        .await;
    match outcome {
        Ok(change) => {
            let mut codes = vec![ErrorCode::UnknownServerError; partitions.len()];
            places.iter().zip(&change.outcomes).for_each(|(place, outcome)| codes[*place] = code_of(*outcome));
            let reply = call.reply(&response(call.version(), &partitions, |i| codes[i]));
            broker.follow_leadership(&change);
            reply
        }
        Err(stale) => refuse(stale.into()),
    }
}

fn to_partitions(request: &LeaderAndIsrRequest) -> Vec<LeaderAndIsr> {
    let mut partitions = Vec::new();
    for topic in &request.topic_states {
        let name: Arc<str> = Arc::from(&*topic.topic_name);
        let states = topic.partition_states.iter();
        partitions.extend(states.map(|state| to_partition(Arc::clone(&name), topic.topic_id, state)));
    }
    let ungrouped = request.ungrouped_partition_states.iter();
    partitions.extend(ungrouped.map(|state| to_partition(Arc::from(&*state.topic_name), Uuid::ZERO, state)));
    partitions
}

fn to_partition(topic: Arc<str>, topic_id: Uuid, state: &LeaderAndIsrPartitionState) -> LeaderAndIsr {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    LeaderAndIsr {
        topic_partition: TopicPartition { topic, partition: state.partition_index },
        topic_id,
        state: LeadershipState {
            leader: BrokerId(state.leader),
            leader_epoch: LeaderEpoch(state.leader_epoch),
            isr: ids(&state.isr),
            replicas: ids(&state.replicas),
            partition_epoch: state.partition_epoch,
            controller_epoch: ControllerEpoch(state.controller_epoch),
        },
        is_new: state.is_new,
    }
}

/// Codes by topic id from version 5 on, by topic name before.
fn response(version: i16, partitions: &[LeaderAndIsr], code: impl Fn(usize) -> ErrorCode) -> LeaderAndIsrResponse {
    let mut answer = LeaderAndIsrResponse::default();
    let mut places: HashMap<Uuid, usize> = HashMap::new();
    for (i, partition) in partitions.iter().enumerate() {
        let mut error = LeaderAndIsrPartitionError {
            partition_index: partition.topic_partition.partition,
            error_code: code(i).wire(),
            ..Default::default()
        };
        if version < 5 {
            error.topic_name = (&*partition.topic_partition.topic).into();
            answer.partition_errors.push(error);
            continue;
        }
        let place = *places.entry(partition.topic_id).or_insert(answer.topics.len());
        if place == answer.topics.len() {
            answer.topics.push(LeaderAndIsrTopicError { topic_id: partition.topic_id, ..Default::default() });
        }
        answer.topics[place].partition_errors.push(error);
    }
    answer
}
