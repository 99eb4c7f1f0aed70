//! OffsetForLeaderEpoch: where an epoch ends, so that a reader finds out whether it has diverged. Kafka:
//! `KafkaApis.handleOffsetForLeaderEpochRequest`, KIP-101, KIP-320.

use crate::common::{ErrorCode, LeaderEpoch};
use crate::network::Reply;
use crate::protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use crate::protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use crate::protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: OffsetForLeaderEpochRequest) -> Reply {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|asked| {
            let mut answer = EpochEndOffset { partition: asked.partition, ..Default::default() };
            match end_offset(broker, &topic.topic, asked) {
                Ok(Some((epoch, end_offset))) => {
                    answer.leader_epoch = epoch.0;
                    answer.end_offset = end_offset;
                }
                Ok(None) => {}
                Err(error) => answer.error_code = error.wire(),
            }
            answer
        });
        OffsetForLeaderTopicResult {
            topic: topic.topic.clone(),
            partitions: partitions.collect(),
            ..Default::default()
        }
    });
    call.reply(&OffsetForLeaderEpochResponse { topics: topics.collect(), ..Default::default() })
}

fn end_offset(
    broker: &Broker,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, i64)>, ErrorCode> {
    let partition = broker.replicas.partition(topic, asked.partition)?;
    let log = partition.log_for(LeaderEpoch(asked.current_leader_epoch), true)?;
    Ok(log.end_offset_for_epoch(LeaderEpoch(asked.leader_epoch)).map(|end| (end.epoch, end.end_offset)))
}
