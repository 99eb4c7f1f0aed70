//! AlterPartitionReassignments, on the controller. Kafka: `KafkaApis.handleAlterPartitionReassignmentsRequest`.

use crate::common::{BrokerId, ErrorCode, TopicPartition};
use crate::controller::ReassignmentTargets;
use crate::network::Reply;
use crate::protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use crate::protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::sync::Arc;

pub(in crate::server) async fn handle(
    broker: &Broker,
    call: &mut Call,
    request: AlterPartitionReassignmentsRequest,
) -> Reply {
    let mut targets = ReassignmentTargets::new();
    for topic in &request.topics {
        let name: Arc<str> = Arc::from(&*topic.name);
        for partition in &topic.partitions {
            let target =
                partition.replicas.as_ref().map(|replicas| replicas.iter().copied().map(BrokerId).collect::<Vec<_>>());
            targets.insert(TopicPartition::new(Arc::clone(&name), partition.partition_index), target);
        }
    }
    let mut response = AlterPartitionReassignmentsResponse::default();
    let Some(results) = broker.controller.alter_reassignments(targets).await else {
        response.error_code = ErrorCode::NotController.wire();
        response.error_message = Some(ErrorCode::NotController.message().into());
        return call.reply(&response);
    };
    for (tp, result) in results {
        let (code, message) = match result {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.code, Some(refusal.message.into())),
        };
        if response.responses.last().is_none_or(|topic| *topic.name != *tp.topic) {
            let topic = ReassignableTopicResponse { name: (&*tp.topic).into(), ..Default::default() };
            response.responses.push(topic);
        }
        if let Some(topic) = response.responses.last_mut() {
            topic.partitions.push(ReassignablePartitionResponse {
                partition_index: tp.partition,
                error_code: code.wire(),
                error_message: message,
                ..Default::default()
            });
        }
    }
    call.reply(&response)
}
