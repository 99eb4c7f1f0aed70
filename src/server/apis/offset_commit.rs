//! OffsetCommit: stores the offsets of a group. Kafka: `KafkaApis.handleOffsetCommitRequest`. Version 0 goes to ZooKeeper,
//! as the consumers of its time read it there.

use super::offsets::{self, Slot};
use super::{group_member, owned};
use crate::common::{ErrorCode, LeaderEpoch};
use crate::coordinator::group::{Commit, CommittedOffset};
use crate::network::Reply;
use crate::protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use crate::protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use crate::server::context::{Broker, now_ms};
use crate::server::dispatch::Call;
use crate::zk::consumers;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: OffsetCommitRequest) -> Reply {
    let image = broker.image.load_full();
    let named = request.topics.iter().map(|topic| (&topic.name, topic.partitions.iter()));
    let mut slots = offsets::slots(&image, named, |partition| partition.partition_index);
    if call.version() == 0 {
        commit_to_zookeeper(broker, &request.group_id, &mut slots).await;
    } else {
        commit(broker, call, &request, &mut slots).await;
    }
    call.reply(&OffsetCommitResponse { topics: response(&request.topics, &slots), ..Default::default() })
}

async fn commit(
    broker: &Broker,
    call: &mut Call,
    request: &OffsetCommitRequest,
    slots: &mut [Slot<&OffsetCommitRequestPartition>],
) {
    let now = now_ms();
    let expire_timestamp = (request.retention_time_ms != -1).then(|| now.saturating_add(request.retention_time_ms));
    let (group, member, instance) = (&request.group_id, &request.member_id, request.group_instance_id.as_ref());
    let member = group_member(group, member, instance, request.generation_id_or_member_epoch);
    let chosen = offsets::chosen(slots, |partition| CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.as_ref().map(owned).unwrap_or_default(),
        commit_timestamp: if partition.commit_timestamp == -1 { now } else { partition.commit_timestamp },
        expire_timestamp,
    });
    if chosen.is_empty() {
        return;
    }
    call.permit = None;
    let codes = broker.groups.commit(Commit { member, offsets: chosen, producer: None }).await;
    offsets::settle(slots, codes);
}

async fn commit_to_zookeeper(broker: &Broker, group: &str, slots: &mut [Slot<&OffsetCommitRequestPartition>]) {
    let max = broker.config.load().group.offset_metadata_max;
    for slot in slots.iter_mut() {
        let Slot::Known { tp, partition, code } = slot else { continue };
        let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
        *code = if metadata.encode_utf16().count() > max {
            ErrorCode::OffsetMetadataTooLarge
        } else {
            match consumers::set_offset(&broker.zk, group, tp, partition.committed_offset).await {
                Ok(()) => ErrorCode::None,
                Err(_) => ErrorCode::UnknownServerError,
            }
        };
    }
}

fn response(
    topics: &[OffsetCommitRequestTopic],
    slots: &[Slot<&OffsetCommitRequestPartition>],
) -> Vec<OffsetCommitResponseTopic> {
    let mut codes = slots.iter().map(Slot::code);
    let partition = |index, code: ErrorCode| OffsetCommitResponsePartition {
        partition_index: index,
        error_code: code.wire(),
        ..Default::default()
    };
    let topics = topics.iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .zip(codes.by_ref())
            .map(|(p, code)| partition(p.partition_index, code))
            .collect(),
        ..Default::default()
    });
    topics.collect()
}
