//! DeleteTopics, on the controller, by name or by id. Kafka: `KafkaApis.handleDeleteTopicsRequest`,
//! `ZkAdminManager.deleteTopics`.

use crate::common::{ErrorCode, Uuid};
use crate::controller::topics::{self, TopicError};
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::delete_topics_request::DeleteTopicState;
use crate::protocol::messages::delete_topics_response::DeletableTopicResult;
use crate::protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::topic_admin::{self, Deletion};
use std::collections::BTreeMap;
use std::time::Duration;
use tracing::error;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DeleteTopicsRequest) -> Reply {
    // Versions below 6 list names only.
    let mut asked = request.topics;
    asked.extend(
        request.topic_names.into_iter().map(|name| DeleteTopicState { name: Some(name), ..Default::default() }),
    );
    if let Some(code) = refusal(broker, call.version(), &asked) {
        let refused = |topic: DeleteTopicState| result(topic.name, topic.topic_id, code);
        let responses = asked.into_iter().map(refused).collect();
        return call.reply(&DeleteTopicsResponse { responses, ..Default::default() });
    }
    let mut results = Vec::with_capacity(asked.len());
    let mut waiting = Vec::new();
    // Deleted once, however often it is named.
    let mut outcomes: BTreeMap<Str, ErrorCode> = BTreeMap::new();
    for topic in asked {
        let name = match topic.name {
            None => broker.image.load().topic_name(topic.topic_id).map(|name| Str::from(&*name)),
            name => name,
        };
        let code = match &name {
            None if topic.topic_id.is_zero() => ErrorCode::TopicAuthorizationFailed,
            None => ErrorCode::UnknownTopicId,
            Some(name) => match outcomes.get(name) {
                Some(code) => *code,
                None => {
                    let (deletion, code) = match delete(broker, name).await {
                        Ok(deletion) => (Some(deletion), ErrorCode::None),
                        Err(code) => (None, code),
                    };
                    waiting.extend(deletion);
                    outcomes.insert(name.clone(), code);
                    code
                }
            },
        };
        results.push(result(name, topic.topic_id, code));
    }
    if !waiting.is_empty() {
        let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
        let late = topic_admin::wait_gone(broker, &waiting, timeout).await;
        // Without any time to wait, Kafka does not look at all.
        let is_late = |r: &&mut DeletableTopicResult| {
            r.error_code == 0 && (timeout.is_zero() || r.name.as_deref().is_some_and(|name| late.contains(name)))
        };
        for result in results.iter_mut().filter(is_late) {
            result.error_code = ErrorCode::RequestTimedOut.wire();
        }
    }
    call.reply(&DeleteTopicsResponse { responses: results, ..Default::default() })
}

fn result(name: Option<Str>, topic_id: Uuid, code: ErrorCode) -> DeletableTopicResult {
    DeletableTopicResult { name, topic_id, error_code: code.wire(), ..Default::default() }
}

/// An error that prevents the deletion of every topic of the request.
fn refusal(broker: &Broker, version: i16, asked: &[DeleteTopicState]) -> Option<ErrorCode> {
    let is_both = |topic: &DeleteTopicState| topic.name.is_some() && !topic.topic_id.is_zero();
    if !broker.controller.is_active() {
        Some(ErrorCode::NotController)
    } else if !broker.config.load().delete_topic_enable {
        Some(if version < 3 { ErrorCode::InvalidRequest } else { ErrorCode::TopicDeletionDisabled })
    } else if asked.iter().any(is_both) {
        Some(ErrorCode::InvalidRequest)
    } else {
        None
    }
}

async fn delete(broker: &Broker, name: &str) -> Result<Deletion, ErrorCode> {
    let deletion = Deletion::of(&broker.image.load(), name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    match topics::request_deletion(&broker.zk, name).await {
        Ok(()) => Ok(deletion),
        Err(TopicError::Refused(refusal)) => Err(refusal.code),
        Err(TopicError::Zk(failure)) => {
            error!(topic = name, error = %failure, "delete topic");
            Err(ErrorCode::UnknownServerError)
        }
    }
}
