//! OffsetDelete: an administrator removes offsets of a group. Kafka: `KafkaApis.handleOffsetDeleteRequest`.

use super::offsets::Asked;
use super::owned;
use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use crate::protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: OffsetDeleteRequest) -> Reply {
    let image = broker.image.load_full();
    let named = request.topics.iter().map(|topic| (&topic.name, topic.partitions.iter()));
    let asked = Asked::of(&image, named, |partition| partition.partition_index);
    let known = asked.known().keys().cloned().collect();
    // The group is asked even when nothing is left: it may not exist.
    let deleted = broker.groups.delete_offsets(owned(&request.group_id), known).await;
    let codes = match deleted {
        Ok(codes) => codes,
        Err(code) => return call.reply(&OffsetDeleteResponse { error_code: code.wire(), ..Default::default() }),
    };
    let partition = |(partition_index, code): (i32, ErrorCode)| OffsetDeleteResponsePartition {
        partition_index,
        error_code: code.wire(),
        ..Default::default()
    };
    let topics = asked.answer(codes).into_iter().map(|(name, partitions)| OffsetDeleteResponseTopic {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
        ..Default::default()
    });
    call.reply(&OffsetDeleteResponse { topics: topics.collect(), ..Default::default() })
}
