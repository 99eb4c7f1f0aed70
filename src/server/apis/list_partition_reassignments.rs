//! ListPartitionReassignments, on the controller. Kafka: `KafkaApis.handleListPartitionReassignmentsRequest`.

use crate::common::{BrokerId, ErrorCode, TopicPartition};
use crate::network::Reply;
use crate::protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use crate::protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::sync::Arc;

pub(in crate::server) async fn handle(
    broker: &Broker,
    call: &mut Call,
    request: ListPartitionReassignmentsRequest,
) -> Reply {
    let asked = request.topics.map(|topics| {
        let mut asked = Vec::new();
        for topic in topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            asked.extend(topic.partition_indexes.iter().map(|id| TopicPartition::new(Arc::clone(&name), *id)));
        }
        asked
    });
    let mut response = ListPartitionReassignmentsResponse::default();
    let Some(moving) = broker.controller.list_reassignments(asked).await else {
        response.error_code = ErrorCode::NotController.wire();
        response.error_message = Some(ErrorCode::NotController.message().into());
        return call.reply(&response);
    };
    let wire = |ids: &[BrokerId]| ids.iter().map(|id| id.0).collect();
    for (tp, assignment) in moving {
        if response.topics.last().is_none_or(|topic| *topic.name != *tp.topic) {
            response.topics.push(OngoingTopicReassignment { name: (&*tp.topic).into(), ..Default::default() });
        }
        if let Some(topic) = response.topics.last_mut() {
            topic.partitions.push(OngoingPartitionReassignment {
                partition_index: tp.partition,
                replicas: wire(&assignment.replicas),
                adding_replicas: wire(&assignment.adding),
                removing_replicas: wire(&assignment.removing),
                ..Default::default()
            });
        }
    }
    call.reply(&response)
}
