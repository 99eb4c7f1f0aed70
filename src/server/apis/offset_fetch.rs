//! OffsetFetch: what a group committed. Kafka: `KafkaApis.handleOffsetFetchRequest`, `OffsetFetchResponse`. Version 0 reads
//! ZooKeeper.

use super::owned;
use crate::common::{ErrorCode, TopicPartition};
use crate::coordinator::group::FetchedOffset;
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use crate::protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use crate::protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::zk::consumers;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The first version with several groups.
const BATCHED: i16 = 8;
/// The first version with a group-level error.
const GROUP_ERROR: i16 = 2;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: OffsetFetchRequest) -> Reply {
    let version = call.version();
    if version == 0 {
        return call.reply(&from_zookeeper(broker, &request).await);
    }
    let require_stable = request.require_stable;
    if version >= BATCHED {
        let mut groups = Vec::with_capacity(request.groups.len());
        // All offsets of a group are answered once, however often it is named.
        let mut told_whole = BTreeSet::new();
        for group in request.groups {
            if group.topics.is_none() && !told_whole.insert(group.group_id.clone()) {
                continue;
            }
            groups.push(fetch(broker, group, require_stable).await);
        }
        return call.reply(&OffsetFetchResponse { groups, ..Default::default() });
    }
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        topics.collect::<Vec<_>>()
    });
    let asked: BTreeSet<(Str, i32)> =
        topics.iter().flatten().flat_map(|t| named(&t.name, &t.partition_indexes)).collect();
    let group = OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() };
    let mut fetched = fetch(broker, group, require_stable).await;
    let code = fetched.error_code;
    if version < GROUP_ERROR && code != ErrorCode::None.wire() {
        // The error goes into the field that this version has for it.
        let failed = FetchedOffset { error: ErrorCode::from_wire(code), ..none() };
        fetched.topics = grouped(asked.into_iter().map(|(topic, partition)| (topic, partition, failed.clone())));
    }
    call.reply(&OffsetFetchResponse {
        topics: fetched.topics.into_iter().map(old_topic).collect(),
        error_code: code,
        ..Default::default()
    })
}

fn named<'a>(topic: &'a Str, partitions: &'a [i32]) -> impl Iterator<Item = (Str, i32)> + 'a {
    partitions.iter().map(|partition| (topic.clone(), *partition))
}

fn none() -> FetchedOffset {
    FetchedOffset::none(ErrorCode::None)
}

async fn fetch(broker: &Broker, group: OffsetFetchRequestGroup, require_stable: bool) -> OffsetFetchResponseGroup {
    let partitions = group.topics.map(|topics| {
        let mut partitions = BTreeSet::new();
        for topic in &topics {
            let name: Arc<str> = Arc::from(&*topic.name);
            let of_topic = topic.partition_indexes.iter();
            partitions.extend(of_topic.map(|p| TopicPartition { topic: Arc::clone(&name), partition: *p }));
        }
        partitions.into_iter().collect()
    });
    let fetched = broker.groups.fetch_offsets(owned(&group.group_id), partitions, require_stable).await;
    let (topics, code) = match fetched {
        Ok(offsets) => {
            let offsets = offsets.into_iter().map(|(tp, offset)| (Str::from(&*tp.topic), tp.partition, offset));
            (grouped(offsets), ErrorCode::None)
        }
        Err(code) => (Vec::new(), code),
    };
    OffsetFetchResponseGroup { group_id: group.group_id, topics, error_code: code.wire(), ..Default::default() }
}

fn grouped(offsets: impl Iterator<Item = (Str, i32, FetchedOffset)>) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (name, partition_index, offset) in offsets {
        let partition = OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: offset.offset,
            committed_leader_epoch: offset.leader_epoch.0,
            metadata: Some(offset.metadata),
            error_code: offset.error.wire(),
            ..Default::default()
        };
        // The entries of a topic are adjacent.
        match topics.last_mut().filter(|topic| topic.name == name) {
            Some(topic) => topic.partitions.push(partition),
            None => topics.push(OffsetFetchResponseTopics { name, partitions: vec![partition], ..Default::default() }),
        }
    }
    topics
}

fn old_topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    let partitions = topic.partitions.into_iter().map(|partition| OffsetFetchResponsePartition {
        partition_index: partition.partition_index,
        committed_offset: partition.committed_offset,
        committed_leader_epoch: partition.committed_leader_epoch,
        metadata: partition.metadata,
        error_code: partition.error_code,
        ..Default::default()
    });
    OffsetFetchResponseTopic { name: topic.name, partitions: partitions.collect(), ..Default::default() }
}

async fn from_zookeeper(broker: &Broker, request: &OffsetFetchRequest) -> OffsetFetchResponse {
    let image = broker.image.load_full();
    let mut offsets = Vec::new();
    let topics = request.topics.iter().flatten();
    let asked: BTreeSet<(Str, i32)> = topics.flat_map(|topic| named(&topic.name, &topic.partition_indexes)).collect();
    for (topic, partition) in asked {
        let fetched = if image.partition(&topic, partition).is_none() {
            FetchedOffset::none(ErrorCode::UnknownTopicOrPartition)
        } else {
            let tp = TopicPartition::new(&*topic, partition);
            match consumers::offset(&broker.zk, &request.group_id, &tp).await {
                Ok(Some(offset)) => FetchedOffset { offset, ..none() },
                // Version 0 has no other code for a missing offset.
                Ok(None) => FetchedOffset::none(ErrorCode::UnknownTopicOrPartition),
                Err(_) => FetchedOffset::none(ErrorCode::UnknownServerError),
            }
        };
        offsets.push((topic, partition, fetched));
    }
    let topics = grouped(offsets.into_iter()).into_iter().map(old_topic).collect();
    OffsetFetchResponse { topics, ..Default::default() }
}
