//! CreateTopics, on the controller. Kafka: `KafkaApis.handleCreateTopicsRequest`, `ZkAdminManager.createTopics`.

use super::repeated;
use crate::common::{BrokerId, ErrorCode};
use crate::config::Props;
use crate::config::describe::{self, Asked};
use crate::controller::topics::TopicError;
use crate::network::Reply;
use crate::protocol::messages::create_topics_request::CreatableTopic;
use crate::protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use crate::protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::topic_admin::{self, Created, NewTopic};
use std::collections::BTreeSet;
use std::time::Duration;
use tracing::error;

const METADATA_TOPIC: &str = "__cluster_metadata";

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: CreateTopicsRequest) -> Reply {
    let mut results = Vec::with_capacity(request.topics.len());
    let mut waiting: Vec<(String, BTreeSet<i32>)> = Vec::new();
    let repeated = repeated(request.topics.iter().map(|topic| &topic.name));
    for topic in &request.topics {
        let result = if !broker.controller.is_active() {
            // With the default of the field, which is empty and not null.
            Err((ErrorCode::NotController, String::new()))
        } else if repeated.contains(&topic.name) && &*topic.name != METADATA_TOPIC {
            Err((ErrorCode::InvalidRequest, "Found multiple entries for this topic.".to_owned()))
        } else {
            create(broker, &request, topic).await
        };
        results.push(match result {
            Ok(created) => {
                waiting.push((topic.name.to_string(), created.assignment.keys().copied().collect()));
                CreatableTopicResult {
                    error_message: None,
                    num_partitions: created.assignment.len() as i32,
                    replication_factor: NewTopic::replication_factor(&created.assignment) as i16,
                    topic_id: created.id.unwrap_or_default(),
                    configs: Some(configs_of(broker, topic)),
                    ..named(topic)
                }
            }
            Err((code, message)) => {
                CreatableTopicResult { error_code: code.wire(), error_message: Some(message.into()), ..named(topic) }
            }
        });
    }
    if !request.validate_only && !waiting.is_empty() {
        let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
        let late = topic_admin::wait_led(broker, &waiting, timeout).await;
        // Without any time to wait, Kafka does not look at all.
        let is_late = |result: &&mut CreatableTopicResult| timeout.is_zero() || late.contains(&*result.name);
        for result in results.iter_mut().filter(|r| r.error_code == 0).filter(is_late) {
            *result = CreatableTopicResult {
                error_code: ErrorCode::RequestTimedOut.wire(),
                error_message: None,
                name: result.name.clone(),
                topic_id: result.topic_id,
                num_partitions: -1,
                replication_factor: -1,
                ..Default::default()
            };
        }
    }
    call.reply(&CreateTopicsResponse { topics: results, ..Default::default() })
}

fn named(topic: &CreatableTopic) -> CreatableTopicResult {
    CreatableTopicResult { name: topic.name.clone(), num_partitions: -1, replication_factor: -1, ..Default::default() }
}

fn overrides(topic: &CreatableTopic) -> Props {
    topic.configs.iter().filter_map(|c| Some((c.name.to_string(), c.value.as_ref()?.to_string()))).collect()
}

/// Every setting of the new topic, its own and the broker's.
fn configs_of(broker: &Broker, topic: &CreatableTopic) -> Vec<CreatableTopicConfigs> {
    let entries = describe::topic(&broker.config.layers(), &overrides(topic), Asked(&[])).unwrap_or_default();
    let told = entries.into_iter().map(|entry| CreatableTopicConfigs {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source.wire(),
        is_sensitive: entry.is_sensitive,
        ..Default::default()
    });
    told.collect()
}

async fn create(
    broker: &Broker,
    request: &CreateTopicsRequest,
    topic: &CreatableTopic,
) -> Result<Created, (ErrorCode, String)> {
    let refuse = |code: ErrorCode, message: String| Err((code, message));
    if &*topic.name == METADATA_TOPIC {
        let message = format!("Creation of internal topic {METADATA_TOPIC} is prohibited.");
        return refuse(ErrorCode::InvalidRequest, message);
    }
    if broker.image.load().topic(&topic.name).is_some() {
        return refuse(ErrorCode::TopicAlreadyExists, format!("Topic '{}' already exists.", topic.name));
    }
    let without_value: Vec<&str> = topic.configs.iter().filter(|c| c.value.is_none()).map(|c| &*c.name).collect();
    if !without_value.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", without_value.join(","));
        return refuse(ErrorCode::InvalidConfig, message);
    }
    let assignment = topic
        .assignments
        .iter()
        .map(|a| (a.partition_index, a.broker_ids.iter().copied().map(BrokerId).collect()))
        .collect();
    let new = NewTopic {
        name: &topic.name,
        partitions: topic.num_partitions,
        replication_factor: i32::from(topic.replication_factor),
        assignment,
        config: overrides(topic),
    };
    topic_admin::create(broker, &new, request.validate_only).await.map_err(|error| match error {
        TopicError::Refused(refusal) => (refusal.code, refusal.message),
        TopicError::Zk(error) => {
            error!(topic = &*topic.name, %error, "create topic");
            (ErrorCode::UnknownServerError, error.to_string())
        }
    })
}
