//! ElectLeaders, on the controller. Kafka: `KafkaApis.handleElectLeaders`, `ReplicaManager.electLeaders`,
//! `DelayedElectLeader`.

use crate::common::{BrokerId, ErrorCode, TopicPartition};
use crate::controller::events::ElectionKind;
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use crate::protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::topic_admin;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

type Results = BTreeMap<TopicPartition, (ErrorCode, Option<String>)>;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: ElectLeadersRequest) -> Reply {
    let deadline = Instant::now() + Duration::from_millis(request.timeout_ms.max(0) as u64);
    let asks_for_all = request.topic_partitions.is_none();
    let partitions: BTreeSet<TopicPartition> = match &request.topic_partitions {
        Some(topics) => topics
            .iter()
            .flat_map(|t| {
                let name: Arc<str> = Arc::from(&*t.topic);
                t.partitions.iter().map(move |p| TopicPartition::new(Arc::clone(&name), *p))
            })
            .collect(),
        None => {
            let image = broker.image.load();
            let of = |name: &Arc<str>, ids: Vec<i32>| {
                ids.into_iter().map(|id| TopicPartition::new(Arc::clone(name), id)).collect::<Vec<_>>()
            };
            image.topics.iter().flat_map(|(name, t)| of(name, t.partitions.keys().copied().collect())).collect()
        }
    };
    let kind = match request.election_type {
        0 => ElectionKind::Preferred,
        1 => ElectionKind::Unclean,
        // An exception that Kafka has no code for.
        _ => {
            let code = ErrorCode::UnknownServerError;
            let partitions = if asks_for_all { BTreeSet::new() } else { partitions };
            let refused = partitions.into_iter().map(|tp| (tp, (code, None)));
            return call.reply(&response(code, &refused.collect()));
        }
    };
    let mut results = Results::new();
    let mut elected: BTreeMap<TopicPartition, BrokerId> = BTreeMap::new();
    for (tp, outcome) in broker.controller.elect_leaders(partitions.into_iter().collect(), kind).await {
        match outcome {
            Ok(leader) => {
                elected.insert(tp, leader);
            }
            Err((ErrorCode::ElectionNotNeeded, _)) if asks_for_all => {}
            Err(refusal) => {
                results.insert(tp, refusal);
            }
        }
    }
    // A following Metadata request to this broker finds the new leaders.
    let late = topic_admin::wait_elected(broker, &elected, deadline.saturating_duration_since(Instant::now())).await;
    for tp in elected.into_keys() {
        let code = if late.contains(&tp) { ErrorCode::RequestTimedOut } else { ErrorCode::None };
        results.insert(tp, (code, None));
    }
    call.reply(&response(ErrorCode::None, &results))
}

fn response(code: ErrorCode, results: &Results) -> ElectLeadersResponse {
    let mut topics: BTreeMap<&str, Vec<PartitionResult>> = BTreeMap::new();
    for (tp, (code, message)) in results {
        topics.entry(&*tp.topic).or_default().push(PartitionResult {
            partition_id: tp.partition,
            error_code: code.wire(),
            error_message: message.as_deref().map(Str::from),
            ..Default::default()
        });
    }
    let topics = topics.into_iter().map(|(topic, partition_result)| ReplicaElectionResult {
        topic: Str::from(topic),
        partition_result,
        ..Default::default()
    });
    ElectLeadersResponse { error_code: code.wire(), replica_election_results: topics.collect(), ..Default::default() }
}
