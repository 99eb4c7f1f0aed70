//! Produce: appends to partitions. Kafka: `KafkaApis.handleProduceRequest`, `ReplicaManager.appendRecords`.

use crate::cluster::image::MetadataImage;
use crate::common::{ErrorCode, Millis, Offset};
use crate::network::Reply;
use crate::protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use crate::protocol::messages::{ProduceRequest, ProduceResponse};
use crate::protocol::{Records, Str};
use crate::record::validate;
use crate::replica::{AppendFailure, Appended};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::now_ms;
use crate::server::transactional::{self, Verified};
use std::collections::BTreeMap;
use std::time::Duration;

/// Clients of this name may write into internal topics. Kafka: `AdminUtils.ADMIN_CLIENT_ID`.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// What the producer hears of a partition so far: its records are in the log, with what became of the replicas, or they
/// are not.
type Outcome = Result<(Appended, ErrorCode), AppendFailure>;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: ProduceRequest) -> Reply {
    let now = now_ms();
    let acks = request.acks;
    let topic_data = each_once(request.topic_data);
    let mut topics: Vec<(Str, Vec<(i32, Outcome)>)> = Vec::with_capacity(topic_data.len());
    let version = call.version();
    let verified = transactional::verify(broker, version, request.transactional_id.as_ref(), &topic_data).await;
    for topic in topic_data {
        let mut outcomes = Vec::with_capacity(topic.partition_data.len());
        for data in &topic.partition_data {
            let outcome = match &verified {
                Ok(verified) => append_one(broker, call, acks, verified, &topic.name, data, now).await,
                Err(code) => Err((*code).into()),
            };
            outcomes.push((data.index, outcome));
        }
        topics.push((topic.name, outcomes));
    }
    if acks == 0 {
        // The producer reads no answer: a closed connection is how it hears of an error.
        let failed = topics.iter().flat_map(|(_, outcomes)| outcomes).any(|(_, outcome)| outcome.is_err());
        return if failed { Reply::Close } else { Reply::Nothing };
    }
    if acks == -1 {
        wait_committed(broker, &mut topics, request.timeout_ms).await;
    }
    let image = broker.image.load();
    let answer = ProduceResponse {
        node_endpoints: current_leaders(&image, call, &topics),
        responses: topics.into_iter().map(|topic| to_topic(&image, call, topic)).collect(),
        ..Default::default()
    };
    call.reply(&answer)
}

/// Of a partition that is named twice the last records are appended, as Kafka does by its map.
fn each_once(topics: Vec<TopicProduceData>) -> Vec<TopicProduceData> {
    if let [topic] = &*topics
        && topic.partition_data.len() == 1
    {
        return topics;
    }
    let mut by_topic: BTreeMap<Str, BTreeMap<i32, PartitionProduceData>> = BTreeMap::new();
    for topic in topics.into_iter().filter(|topic| !topic.partition_data.is_empty()) {
        let partitions = topic.partition_data.into_iter().map(|data| (data.index, data));
        by_topic.entry(topic.name).or_default().extend(partitions);
    }
    let topics = by_topic.into_iter().map(|(name, partitions)| TopicProduceData {
        name,
        partition_data: partitions.into_values().collect(),
        ..Default::default()
    });
    topics.collect()
}

async fn append_one(
    broker: &Broker,
    call: &Call,
    acks: i16,
    verified: &Verified,
    topic: &str,
    data: &PartitionProduceData,
    now: Millis,
) -> Outcome {
    if broker.image.load().partition(topic, data.index).is_none() {
        return Err(ErrorCode::UnknownTopicOrPartition.into());
    }
    let records = match &data.records {
        Some(Records::Bytes(records)) => records,
        _ => &bytes::Bytes::new(),
    };
    validate::check_request(call.version(), records).map_err(|error| AppendFailure::from(error.code()))?;
    if !matches!(acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    let guard = verified.guard(topic, data.index)?;
    if super::is_internal(topic) && call.header.client_id != ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let appended = broker.replicas.append(topic, data.index, records, acks == -1, guard, now).await?;
    Ok((appended, ErrorCode::None))
}

async fn wait_committed(broker: &Broker, topics: &mut [(Str, Vec<(i32, Outcome)>)], timeout_ms: i32) {
    let in_log = topics.iter().flat_map(|(_, outcomes)| outcomes).filter_map(|(_, outcome)| outcome.as_ref().ok());
    let appended: Vec<_> = in_log.map(|(appended, _)| appended).collect();
    let timeout = Duration::from_millis(timeout_ms.max(0) as u64);
    let codes = broker.replicas.wait_committed(&appended, timeout).await;
    let in_log = topics.iter_mut().flat_map(|(_, outcomes)| outcomes).filter_map(|(_, outcome)| outcome.as_mut().ok());
    for ((_, of_replicas), code) in in_log.zip(codes) {
        *of_replicas = code;
    }
}

fn to_topic(image: &MetadataImage, call: &Call, (name, outcomes): (Str, Vec<(i32, Outcome)>)) -> TopicProduceResponse {
    let partition_responses = outcomes.into_iter().map(|(index, outcome)| {
        let mut answer = PartitionProduceResponse { index, base_offset: -1, ..Default::default() };
        if call.version() >= 10
            && is_not_leader(&outcome)
            && let Some(known) = image.partition(&name, index)
        {
            answer.current_leader = LeaderIdAndEpoch {
                leader_id: known.leader.0,
                leader_epoch: known.leader_epoch.0,
                ..Default::default()
            };
        }
        match outcome {
            // Where they lie is said of records that their replicas do not have in time, too.
            Ok((appended, code)) => {
                answer.error_code = code.wire();
                answer.base_offset = appended.info.first_offset;
                answer.log_append_time_ms = appended.info.log_append_time;
                answer.log_start_offset = appended.info.log_start_offset;
            }
            Err(failure) => refuse(&mut answer, failure),
        }
        answer
    });
    TopicProduceResponse { partition_responses: partition_responses.collect(), name, ..Default::default() }
}

fn refuse(answer: &mut PartitionProduceResponse, failure: AppendFailure) {
    const NO_OFFSET: Offset = -1;
    answer.error_code = failure.code.wire();
    answer.base_offset = NO_OFFSET;
    answer.log_start_offset = failure.log_start_offset;
    answer.error_message = failure.message.map(Str::from);
    answer.record_errors = failure
        .record_errors
        .into_iter()
        .map(|error| BatchIndexAndErrorMessage {
            batch_index: error.batch_index,
            batch_index_error_message: Some(error.message.into()),
            ..Default::default()
        })
        .collect();
}

/// Where the leaders are that this broker is not (KIP-951).
fn current_leaders(image: &MetadataImage, call: &Call, topics: &[(Str, Vec<(i32, Outcome)>)]) -> Vec<NodeEndpoint> {
    let mut nodes: Vec<NodeEndpoint> = Vec::new();
    if call.version() < 10 {
        return nodes;
    }
    for (name, outcomes) in topics {
        for (index, _) in outcomes.iter().filter(|(_, o)| is_not_leader(o)) {
            let Some(leader) = image.partition(name, *index).and_then(|p| image.brokers.get(&p.leader)) else {
                continue;
            };
            let Some(endpoint) = leader.endpoint(call.listener()) else { continue };
            if nodes.iter().all(|n| n.node_id != leader.id.0) {
                nodes.push(NodeEndpoint {
                    node_id: leader.id.0,
                    host: endpoint.host.as_deref().unwrap_or_default().into(),
                    port: endpoint.port.into(),
                    rack: leader.rack.as_deref().map(Into::into),
                    ..Default::default()
                });
            }
        }
    }
    nodes
}

fn is_not_leader(outcome: &Outcome) -> bool {
    let code = match outcome {
        Ok((_, of_replicas)) => *of_replicas,
        Err(failure) => failure.code,
    };
    code == ErrorCode::NotLeaderOrFollower
}
