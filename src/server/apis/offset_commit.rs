//! OffsetCommit: stores the offsets of a group. Kafka: `KafkaApis.handleOffsetCommitRequest`. Version 0 goes to ZooKeeper,
//! where the consumers of that time read it.

use super::offsets::Asked;
use super::{group_member, owned};
use crate::common::{ErrorCode, LeaderEpoch, TopicPartition};
use crate::coordinator::group::{Commit, CommittedOffset};
use crate::network::Reply;
use crate::protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use crate::protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use crate::protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::util::clock::wall_ms;
use crate::zk::consumers;
use std::collections::BTreeMap;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: OffsetCommitRequest) -> Reply {
    let image = broker.image.load_full();
    let named = request.topics.iter().map(|topic| (&topic.name, topic.partitions.iter()));
    let asked = Asked::of(&image, named, |partition| partition.partition_index);
    let codes = if call.version() == 0 {
        commit_to_zookeeper(broker, &request.group_id, asked.known()).await
    } else {
        commit(broker, &request, asked.known()).await
    };
    let topics = asked.answer(codes).into_iter().map(|(name, partitions)| OffsetCommitResponseTopic {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
        ..Default::default()
    });
    call.reply(&OffsetCommitResponse { topics: topics.collect(), ..Default::default() })
}

fn partition((partition_index, code): (i32, ErrorCode)) -> OffsetCommitResponsePartition {
    OffsetCommitResponsePartition { partition_index, error_code: code.wire(), ..Default::default() }
}

async fn commit(
    broker: &Broker,
    request: &OffsetCommitRequest,
    known: &BTreeMap<TopicPartition, &OffsetCommitRequestPartition>,
) -> Vec<ErrorCode> {
    if known.is_empty() {
        return Vec::new();
    }
    let now = wall_ms();
    let expire_timestamp = (request.retention_time_ms != -1).then(|| now.saturating_add(request.retention_time_ms));
    let (group, member, instance) = (&request.group_id, &request.member_id, request.group_instance_id.as_ref());
    let member = group_member(group, member, instance, request.generation_id_or_member_epoch);
    let offset = |partition: &OffsetCommitRequestPartition| CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.as_ref().map(owned).unwrap_or_default(),
        commit_timestamp: if partition.commit_timestamp == -1 { now } else { partition.commit_timestamp },
        expire_timestamp,
    };
    let offsets = known.iter().map(|(tp, partition)| (tp.clone(), offset(partition))).collect();
    broker.groups.commit(Commit { member, offsets, producer: None }).await
}

async fn commit_to_zookeeper(
    broker: &Broker,
    group: &str,
    known: &BTreeMap<TopicPartition, &OffsetCommitRequestPartition>,
) -> Vec<ErrorCode> {
    let max = broker.config.load().group.offset_metadata_max;
    let mut codes = Vec::with_capacity(known.len());
    for (tp, partition) in known {
        let metadata = partition.committed_metadata.as_deref().unwrap_or_default();
        codes.push(if metadata.encode_utf16().count() > max {
            ErrorCode::OffsetMetadataTooLarge
        } else {
            match consumers::set_offset(&broker.zk, group, tp, partition.committed_offset).await {
                Ok(()) => ErrorCode::None,
                Err(_) => ErrorCode::UnknownServerError,
            }
        });
    }
    codes
}
