//! DeleteTopics, on the controller, by name or by id. Kafka: `KafkaApis.handleDeleteTopicsRequest`,
//! `ZkAdminManager.deleteTopics`.

use crate::common::ErrorCode;
use crate::controller::topics::{self, TopicError};
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::delete_topics_request::DeleteTopicState;
use crate::protocol::messages::delete_topics_response::DeletableTopicResult;
use crate::protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::topic_admin;
use std::time::Duration;
use tracing::error;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DeleteTopicsRequest) -> Reply {
    // Versions below 6 list names only.
    let mut asked = request.topics;
    asked.extend(
        request.topic_names.into_iter().map(|name| DeleteTopicState { name: Some(name), ..Default::default() }),
    );
    let mut results = Vec::with_capacity(asked.len());
    let mut waiting = Vec::new();
    for topic in asked {
        let name = match &topic.name {
            Some(name) => Some(name.clone()),
            None => broker.image.load().topic_name(topic.topic_id).map(|name| Str::from(&*name)),
        };
        let outcome = delete(broker, call.version(), &topic, name.as_deref()).await;
        let (code, message) = outcome.err().unwrap_or((ErrorCode::None, None));
        if let Some(name) = name.as_deref().filter(|_| !code.is_error()) {
            waiting.push(name.to_owned());
        }
        results.push(DeletableTopicResult {
            name,
            topic_id: topic.topic_id,
            error_code: code.wire(),
            error_message: message.map(Into::into),
            ..Default::default()
        });
    }
    if !waiting.is_empty() {
        call.permit = None;
        let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
        let late = topic_admin::wait_gone(broker, &waiting, timeout).await;
        let is_late = |r: &&mut DeletableTopicResult| {
            r.error_code == 0 && r.name.as_deref().is_some_and(|name| late.contains(name))
        };
        for result in results.iter_mut().filter(is_late) {
            result.error_code = ErrorCode::RequestTimedOut.wire();
        }
    }
    call.reply(&DeleteTopicsResponse { responses: results, ..Default::default() })
}

async fn delete(
    broker: &Broker,
    version: i16,
    asked: &DeleteTopicState,
    name: Option<&str>,
) -> Result<(), (ErrorCode, Option<String>)> {
    if !broker.controller.is_active() {
        return Err((ErrorCode::NotController, None));
    }
    if !broker.config.load().delete_topic_enable {
        return Err((if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled }, None));
    }
    if asked.name.is_some() && !asked.topic_id.is_zero() {
        let message = "Topic name and topic ID can not both be specified.";
        return Err((ErrorCode::InvalidRequest, Some(message.to_owned())));
    }
    let Some(name) = name else { return Err((ErrorCode::UnknownTopicId, None)) };
    if broker.image.load().topic(name).is_none() {
        return Err((ErrorCode::UnknownTopicOrPartition, None));
    }
    topics::request_deletion(&broker.zk, name).await.map_err(|failure| match failure {
        TopicError::Refused(refusal) => (refusal.code, None),
        TopicError::Zk(failure) => {
            error!(topic = name, error = %failure, "delete topic");
            (ErrorCode::UnknownServerError, None)
        }
    })
}
