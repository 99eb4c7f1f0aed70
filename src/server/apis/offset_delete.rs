//! OffsetDelete: an administrator removes offsets of a group. Kafka: `KafkaApis.handleOffsetDeleteRequest`.

use super::offsets::{self, Slot};
use super::owned;
use crate::common::TopicPartition;
use crate::network::Reply;
use crate::protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use crate::protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: OffsetDeleteRequest) -> Reply {
    let image = broker.image.load_full();
    let named = request.topics.iter().map(|topic| (&topic.name, topic.partitions.iter()));
    let mut slots = offsets::slots(&image, named, |partition| partition.partition_index);
    let known: BTreeSet<TopicPartition> = slots
        .iter()
        .filter_map(|slot| match slot {
            Slot::Known { tp, .. } => Some(tp.clone()),
            Slot::Unknown => None,
        })
        .collect();
    // The group is asked even when nothing is left: it may not exist.
    let deleted = broker.groups.delete_offsets(owned(&request.group_id), known.into_iter().collect()).await;
    match deleted {
        Ok(codes) => offsets::settle(&mut slots, codes),
        Err(code) => return call.reply(&OffsetDeleteResponse { error_code: code.wire(), ..Default::default() }),
    }
    let mut codes = slots.iter().map(Slot::code);
    let topics = request.topics.iter().map(|topic| OffsetDeleteResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .zip(codes.by_ref())
            .map(|(partition, code)| OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code: code.wire(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    call.reply(&OffsetDeleteResponse { topics: topics.collect(), ..Default::default() })
}
