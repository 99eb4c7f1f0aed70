//! CreatePartitions, on the controller. Kafka: `KafkaApis.handleCreatePartitionsRequest`, `ZkAdminManager.createPartitions`.

use crate::common::{BrokerId, ErrorCode};
use crate::controller::topics::{self, Assignment, TopicError};
use crate::network::Reply;
use crate::protocol::messages::create_partitions_request::CreatePartitionsTopic;
use crate::protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::topic_admin;
use std::time::Duration;
use tracing::error;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: CreatePartitionsRequest) -> Reply {
    let mut results = Vec::with_capacity(request.topics.len());
    let mut waiting = Vec::new();
    for topic in &request.topics {
        let outcome = add(broker, &request, topic).await;
        let (code, message) = match outcome {
            Ok(added) => {
                waiting.push((topic.name.to_string(), added.keys().copied().collect()));
                (ErrorCode::None, None)
            }
            Err((code, message)) => (code, message),
        };
        results.push(CreatePartitionsTopicResult {
            name: topic.name.clone(),
            error_code: code.wire(),
            error_message: message.map(Into::into),
            ..Default::default()
        });
    }
    if !request.validate_only && !waiting.is_empty() {
        call.permit = None;
        let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
        let late = topic_admin::wait_led(broker, &waiting, timeout).await;
        for result in results.iter_mut().filter(|r| r.error_code == 0 && late.contains(&*r.name)) {
            result.error_code = ErrorCode::RequestTimedOut.wire();
        }
    }
    call.reply(&CreatePartitionsResponse { results, ..Default::default() })
}

async fn add(
    broker: &Broker,
    request: &CreatePartitionsRequest,
    topic: &CreatePartitionsTopic,
) -> Result<Assignment, (ErrorCode, Option<String>)> {
    if !broker.controller.is_active() {
        return Err((ErrorCode::NotController, None));
    }
    if request.topics.iter().filter(|other| other.name == topic.name).count() > 1 {
        return Err((ErrorCode::InvalidRequest, Some("Duplicate topic in request.".to_owned())));
    }
    let given: Option<Vec<Vec<BrokerId>>> = topic
        .assignments
        .as_ref()
        .map(|assignments| assignments.iter().map(|a| a.broker_ids.iter().copied().map(BrokerId).collect()).collect());
    let added =
        topics::add_partitions(&broker.zk, &topic.name, topic.count, given.as_deref(), request.validate_only).await;
    added.map_err(|failure| match failure {
        TopicError::Refused(refusal) => (refusal.code, Some(refusal.message)),
        TopicError::Zk(failure) => {
            error!(topic = &*topic.name, error = %failure, "create partitions");
            (ErrorCode::UnknownServerError, Some(failure.to_string()))
        }
    })
}
