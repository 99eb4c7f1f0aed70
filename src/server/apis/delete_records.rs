//! DeleteRecords: moves the start of logs up. Kafka: `ReplicaManager.deleteRecords`.

use crate::common::{ErrorCode, LeaderEpoch, Offset};
use crate::log::LogStartError;
use crate::network::Reply;
use crate::protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use crate::protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use crate::replica::ReplicaManager;
use crate::server::context::{Broker, now_ms};
use crate::server::dispatch::Call;
use std::sync::Arc;

/// `DeleteRecordsResponse.INVALID_LOW_WATERMARK`.
const NO_LOW_WATERMARK: Offset = -1;
/// `DeleteRecordsRequest.HIGH_WATERMARK`: everything that is committed.
const TO_HIGH_WATERMARK: Offset = -1;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DeleteRecordsRequest) -> Reply {
    let replicas = Arc::clone(&broker.replicas);
    // The new start is written to a checkpoint: off the data workers.
    let topics = broker.blocking(move || {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let outcome = delete_before(&replicas, &topic.name, asked.partition_index, asked.offset);
                DeleteRecordsPartitionResult {
                    partition_index: asked.partition_index,
                    low_watermark: outcome.unwrap_or(NO_LOW_WATERMARK),
                    error_code: outcome.err().unwrap_or(ErrorCode::None).wire(),
                    ..Default::default()
                }
            });
            DeleteRecordsTopicResult {
                name: topic.name.clone(),
                partitions: partitions.collect(),
                ..Default::default()
            }
        });
        topics.collect()
    });
    call.reply(&DeleteRecordsResponse { topics: topics.await, ..Default::default() })
}

/// The new start of the log: with one replica it is the low watermark.
fn delete_before(replicas: &ReplicaManager, topic: &str, number: i32, offset: Offset) -> Result<Offset, ErrorCode> {
    if super::is_internal(topic) {
        return Err(ErrorCode::InvalidTopicException);
    }
    let partition = replicas.partition(topic, number)?;
    let log = partition.log_for(LeaderEpoch::NONE, true).map_err(|error| error.code())?;
    if !log.config().delete {
        return Err(ErrorCode::PolicyViolation);
    }
    let to = if offset == TO_HIGH_WATERMARK { log.high_watermark() } else { offset };
    if to < 0 {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    match log.maybe_increment_log_start(to, now_ms()) {
        Ok(_) => Ok(log.log_start_offset()),
        Err(LogStartError::AboveHighWatermark { .. }) => Err(ErrorCode::OffsetOutOfRange),
        Err(LogStartError::Dir(_)) => Err(ErrorCode::KafkaStorageError),
    }
}
