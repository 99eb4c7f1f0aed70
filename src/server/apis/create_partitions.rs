//! CreatePartitions, on the controller. Kafka: `KafkaApis.handleCreatePartitionsRequest`, `ZkAdminManager.createPartitions`.

use super::repeated;
use crate::common::{BrokerId, ErrorCode};
use crate::controller::topics::{self, Assignment, TopicError};
use crate::network::Reply;
use crate::protocol::messages::create_partitions_request::CreatePartitionsTopic;
use crate::protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use crate::protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::topic_admin;
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::error;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: CreatePartitionsRequest) -> Reply {
    let mut results = Vec::with_capacity(request.topics.len());
    let mut waiting = Vec::new();
    let repeated = repeated(request.topics.iter().map(|topic| &topic.name));
    // A topic that is named twice is answered once.
    let topics: BTreeMap<_, _> = request.topics.iter().map(|topic| (&topic.name, topic)).collect();
    for topic in topics.into_values() {
        let outcome = if !broker.controller.is_active() {
            Err((ErrorCode::NotController, None))
        } else if repeated.contains(&topic.name) {
            Err((ErrorCode::InvalidRequest, Some("Duplicate topic in request.".to_owned())))
        } else {
            add(broker, &request, topic).await
        };
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
        let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
        let late = topic_admin::wait_led(broker, &waiting, timeout).await;
        // Without any time to wait, Kafka does not look at all.
        let is_late = |name: &str| timeout.is_zero() || late.contains(name);
        for result in results.iter_mut().filter(|r| r.error_code == 0 && is_late(&r.name)) {
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
