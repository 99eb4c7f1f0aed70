//! DeleteRecords: moves the start of logs up. Kafka: `ReplicaManager.deleteRecords`, `DelayedDeleteRecords`.

use crate::cluster::partition::Partition;
use crate::common::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use crate::network::Reply;
use crate::protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use crate::protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use crate::replica::ReplicaManager;
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// `DeleteRecordsResponse.INVALID_LOW_WATERMARK`.
const NO_LOW_WATERMARK: Offset = -1;
/// `DeleteRecordsRequest.HIGH_WATERMARK`: everything that is committed.
const TO_HIGH_WATERMARK: Offset = -1;

/// A partition whose log starts at an offset from now on.
type Deleted = (Arc<Partition>, Offset);

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DeleteRecordsRequest) -> Reply {
    let timeout = Duration::from_millis(request.timeout_ms.max(0) as u64);
    // Of a partition that is named twice the last offset counts.
    let mut offsets: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    for topic in &request.topics {
        let name: Arc<str> = Arc::from(&*topic.name);
        let of_topic = topic.partitions.iter();
        offsets.extend(of_topic.map(|p| (TopicPartition::new(Arc::clone(&name), p.partition_index), p.offset)));
    }
    let asked = offsets.clone();
    let replicas = Arc::clone(&broker.replicas);
    // The new start is written to a checkpoint: off the data workers.
    let deleting = broker.blocking(move || -> Vec<Result<Deleted, ErrorCode>> {
        asked.iter().map(|(tp, offset)| delete_before(&replicas, &tp.topic, tp.partition, *offset)).collect()
    });
    let deleted = deleting.await;
    let waiting: Vec<Deleted> = deleted.iter().filter_map(|outcome| outcome.clone().ok()).collect();
    let mut reached = broker.replicas.wait_deleted(&waiting, timeout).await.into_iter();
    let outcomes = deleted.into_iter().map(|outcome| match outcome {
        Ok(_) => reached.next().map_or(Err(ErrorCode::UnknownServerError), |low| low.map_err(ErrorCode::from)),
        Err(code) => Err(code),
    });
    let mut topics: Vec<DeleteRecordsTopicResult> = Vec::new();
    for (tp, outcome) in offsets.keys().zip(outcomes) {
        if topics.last().is_none_or(|topic| *topic.name != *tp.topic) {
            topics.push(DeleteRecordsTopicResult { name: (&*tp.topic).into(), ..Default::default() });
        }
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(DeleteRecordsPartitionResult {
                partition_index: tp.partition,
                low_watermark: outcome.unwrap_or(NO_LOW_WATERMARK),
                error_code: outcome.err().unwrap_or(ErrorCode::None).wire(),
                ..Default::default()
            });
        }
    }
    call.reply(&DeleteRecordsResponse { topics, ..Default::default() })
}

/// Moves the start of the leader's log; followers take it over with their next fetch.
fn delete_before(replicas: &ReplicaManager, topic: &str, number: i32, offset: Offset) -> Result<Deleted, ErrorCode> {
    if super::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = replicas.partition(topic, number)?;
    let log = partition.log_for(LeaderEpoch::NONE, true)?;
    if !log.config().delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let to = if offset == TO_HIGH_WATERMARK { log.high_watermark() } else { offset };
    if to < 0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    match partition.on_log(|log| log.maybe_increment_log_start(to)) {
        Some(Ok(_)) => Ok((partition, to)),
        Some(Err(error)) => Err(error.into()),
        None => Err(ErrorCode::NotLeaderOrFollower),
    }
}
