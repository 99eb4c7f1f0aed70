//! Produce: appends to partitions. Kafka: `KafkaApis.handleProduceRequest`, `ReplicaManager.appendRecords`.

use crate::cluster::image::MetadataImage;
use crate::common::{ErrorCode, Millis, Offset};
use crate::network::Reply;
use crate::protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use crate::protocol::messages::{ProduceRequest, ProduceResponse};
use crate::protocol::{Records, Str};
use crate::record::validate;
use crate::replica::Appended;
use crate::server::codes::{ProduceRefusal, code_of};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::transactional::{self, Verified};
use crate::util::clock::wall_ms;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// Clients of this name may write into internal topics. Kafka: `AdminUtils.ADMIN_CLIENT_ID`.
const ADMIN_CLIENT_ID: &str = "__admin_client";

/// The result of a partition so far: its records are in the log, with the state of their replication, or they are not.
type Outcome = Result<(Appended, ErrorCode), ProduceRefusal>;

/// By topic and partition.
type Each<T> = BTreeMap<(Str, i32), T>;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: ProduceRequest) -> Reply {
    let mut outcomes = match append(broker, call, &request).await {
        Ok(outcomes) => outcomes,
        Err(failure) => named(&request).map(|(partition, _)| (partition, Err(failure.clone()))).collect(),
    };
    if request.acks == 0 {
        // The producer reads no answer: a closed connection is how it learns of an error.
        return if outcomes.values().any(Result::is_err) { Reply::Close } else { Reply::Nothing };
    }
    if request.acks == -1 {
        wait_committed(broker, &mut outcomes, request.timeout_ms).await;
    }
    let image = broker.image.load();
    let mut answer = ProduceResponse { node_endpoints: current_leaders(&image, call, &outcomes), ..Default::default() };
    for ((name, index), outcome) in outcomes {
        let partition = to_partition(&image, call, &name, index, outcome);
        match answer.responses.last_mut().filter(|topic| topic.name == name) {
            Some(topic) => topic.partition_responses.push(partition),
            None => answer.responses.push(TopicProduceResponse {
                name,
                partition_responses: vec![partition],
                ..Default::default()
            }),
        }
    }
    call.reply(&answer)
}

fn named(request: &ProduceRequest) -> impl Iterator<Item = ((Str, i32), &Bytes)> {
    static NONE: Bytes = Bytes::new();
    request.topic_data.iter().flat_map(|topic| {
        topic.partition_data.iter().map(|data| {
            let records = match &data.records {
                Some(Records::Bytes(records)) => records,
                _ => &NONE,
            };
            ((topic.name.clone(), data.index), records)
        })
    })
}

/// The error applies to every partition, and nothing is appended.
async fn append(broker: &Broker, call: &Call, request: &ProduceRequest) -> Result<Each<Outcome>, ProduceRefusal> {
    let transactional_id = request.transactional_id.as_ref();
    transactional::check(transactional_id, named(request).map(|(_, records)| records))?;
    let (sound, refused) = sort(&broker.image.load(), call.version(), request);
    let verified = transactional::verify(broker, call.version(), transactional_id, &sound).await?;
    // Not before: the verification may have waited for another broker.
    let now = wall_ms();
    let mut outcomes = Each::new();
    for ((topic, index), records) in sound {
        let outcome = append_one(broker, call, request.acks, &verified, (&topic, index), &records, now).await;
        outcomes.insert((topic, index), outcome);
    }
    outcomes.extend(refused.into_iter().map(|(partition, code)| (partition, Err(code.into()))));
    Ok(outcomes)
}

/// What can be appended, and what is refused before that. A partition that is named several times is in each of both once,
/// as in Kafka's maps: the last of its valid records are appended, and the last error is what the producer gets.
fn sort(image: &MetadataImage, version: i16, request: &ProduceRequest) -> (Each<Bytes>, Each<ErrorCode>) {
    let mut sound = Each::new();
    let mut refused = Each::new();
    for (partition, records) in named(request) {
        if image.partition(&partition.0, partition.1).is_none() {
            refused.insert(partition, ErrorCode::UnknownTopicOrPartition);
        } else if let Err(error) = validate::check_request(version, records) {
            refused.insert(partition, error.code());
        } else {
            sound.insert(partition, records.clone());
        }
    }
    (sound, refused)
}

async fn append_one(
    broker: &Broker,
    call: &Call,
    acks: i16,
    verified: &Verified,
    (topic, index): (&str, i32),
    records: &Bytes,
    now: Millis,
) -> Outcome {
    let guard = verified.guard(topic, index)?;
    if !matches!(acks, -1..=1) {
        return Err(ErrorCode::InvalidRequiredAcks.into());
    }
    if super::is_internal(topic) && call.header.client_id != ADMIN_CLIENT_ID {
        return Err(ErrorCode::InvalidTopicException.into());
    }
    let appended = broker.replicas.append(topic, index, records, acks == -1, guard, now).await?;
    Ok((appended, ErrorCode::None))
}

async fn wait_committed(broker: &Broker, outcomes: &mut Each<Outcome>, timeout_ms: i32) {
    let appended: Vec<_> = outcomes.values().filter_map(|o| o.as_ref().ok()).map(|(appended, _)| appended).collect();
    let timeout = Duration::from_millis(timeout_ms.max(0) as u64);
    let replicated = broker.replicas.wait_committed(&appended, timeout).await;
    let in_log = outcomes.values_mut().filter_map(|outcome| outcome.as_mut().ok());
    for ((_, of_replicas), outcome) in in_log.zip(replicated) {
        *of_replicas = code_of(outcome);
    }
}

fn to_partition(
    image: &MetadataImage,
    call: &Call,
    topic: &str,
    index: i32,
    outcome: Outcome,
) -> PartitionProduceResponse {
    let mut answer = PartitionProduceResponse { index, base_offset: -1, ..Default::default() };
    if call.version() >= 10
        && is_not_leader(&outcome)
        && let Some(known) = image.partition(topic, index)
    {
        answer.current_leader =
            LeaderIdAndEpoch { leader_id: known.leader.0, leader_epoch: known.leader_epoch.0, ..Default::default() };
    }
    match outcome {
        // Records that are not replicated in time are answered with their offsets, too.
        Ok((appended, code)) => {
            answer.error_code = code.wire();
            answer.base_offset = appended.info.first_offset;
            answer.log_append_time_ms = appended.info.log_append_time;
            answer.log_start_offset = appended.info.log_start_offset;
        }
        Err(failure) => refuse(&mut answer, failure),
    }
    answer
}

fn refuse(answer: &mut PartitionProduceResponse, failure: ProduceRefusal) {
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

/// The endpoints of other brokers that lead partitions of the answer (KIP-951).
fn current_leaders(image: &MetadataImage, call: &Call, outcomes: &Each<Outcome>) -> Vec<NodeEndpoint> {
    let mut nodes: Vec<NodeEndpoint> = Vec::new();
    if call.version() < 10 {
        return nodes;
    }
    for ((name, index), _) in outcomes.iter().filter(|(_, outcome)| is_not_leader(outcome)) {
        let Some(leader) = image.partition(name, *index).and_then(|p| image.brokers.get(&p.leader)) else { continue };
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
    nodes
}

fn is_not_leader(outcome: &Outcome) -> bool {
    let code = match outcome {
        Ok((_, of_replicas)) => *of_replicas,
        Err(failure) => failure.code,
    };
    code == ErrorCode::NotLeaderOrFollower
}
