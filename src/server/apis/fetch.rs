//! Fetch: reads for consumers and followers, in sessions. Kafka: `KafkaApis.handleFetchRequest`, KIP-227, KIP-516.

use crate::common::{BrokerId, ErrorCode, LeaderEpoch, Uuid};
use crate::config::topic::BrokerCompression;
use crate::disk::FileSlice;
use crate::network::Reply;
use crate::protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint, PartitionData,
};
use crate::protocol::messages::{FetchRequest, FetchResponse};
use crate::protocol::{Records, Str};
use crate::record::convert;
use crate::replica::{Consumer, FetchError, FetchLimits, NotHosted, PartitionFetch, ReadPartition};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::fetch_session::{Answer, FetchMetadata, FetchPartition, PartitionKey};
use crate::util::task;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// `FetchRequest.CONSUMER_REPLICA_ID`; debugging consumers have ids below it.
const CONSUMER: i32 = -1;
const READ_COMMITTED: i8 = 1;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: FetchRequest) -> Reply {
    let version = call.version();
    let connection = Arc::clone(&call.connection);
    let replica_id = if version >= 15 { request.replica_state.replica_id } else { request.replica_id };
    let metadata = FetchMetadata {
        session_id: request.session_id,
        // Below version 7 there are no sessions; the default of the field means none.
        epoch: request.session_epoch,
        is_follower: replica_id >= 0,
        uses_topic_ids: version >= 13,
    };
    let asked = asked_partitions(broker, &request, version);
    let forgotten = forgotten_partitions(&request, version);
    let names = |id| broker.image.load().topic_name(id);
    let context = match broker.fetch_sessions.begin(broker.clock.now().ticks, metadata, asked, &forgotten, names) {
        Ok(context) => context,
        Err(error) => {
            return call.reply(&FetchResponse { error_code: error.wire(), ..Default::default() });
        }
    };
    let max_bytes = request.max_bytes.min(broker.config.load().fetch_max_bytes).max(0) as u32;
    let limits = FetchLimits {
        max_bytes,
        min_bytes: (request.min_bytes.max(0) as u32).min(max_bytes),
        hard: version <= 2,
        read_committed: request.isolation_level == READ_COMMITTED && replica_id < 0,
        // Older consumers can only read from the leader (KIP-392).
        leader_only: replica_id >= 0 || (replica_id == CONSUMER && version < 11),
        up_to_log_end: replica_id != CONSUMER,
        follower: (replica_id >= 0).then_some(BrokerId(replica_id)),
        consumer: (replica_id < 0 && version >= 11)
            .then(|| Consumer { rack: &request.rack_id, listener: &connection.listener.name }),
    };
    let fetches: Vec<PartitionFetch> = context.partitions.iter().map(to_fetch).collect();
    let max_wait = Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let read = broker.replicas.fetch(&fetches, limits, max_wait, broker.stop_token()).await;
    let answers: Vec<Answer> = read.partitions.iter().map(to_answer).collect();
    let partitions = context.partitions.clone();
    let concluded = broker.fetch_sessions.conclude(broker.clock.now().ticks, context, &answers);

    let mut reply = FetchReply::new(broker, call, replica_id >= 0);
    let told = partitions.iter().zip(read.partitions).zip(&concluded.tell).filter(|(_, tell)| **tell);
    let mut told: Vec<_> = told.map(|(one, _)| one).collect();
    // Kafka's order: what it read, then, of consumers, ids without a topic, then partitions that do not exist. It decides
    // which partitions of a topic share an entry of the answer.
    told.sort_by_key(|(_, read)| match read.error {
        Some(FetchError::UnknownTopicId) => 1,
        Some(FetchError::NotHosted(NotHosted::Unknown)) if replica_id >= 0 => 1,
        Some(FetchError::NotHosted(NotHosted::Unknown)) => 2,
        _ => 0,
    });
    for (asked, answer) in told {
        reply.add(asked, answer).await;
    }
    reply.send(concluded.error, concluded.session_id)
}

fn asked_partitions(broker: &Broker, request: &FetchRequest, version: i16) -> Vec<FetchPartition> {
    let image = broker.image.load();
    let mut asked: Vec<FetchPartition> = Vec::with_capacity(request.topics.iter().map(|t| t.partitions.len()).sum());
    // A partition that is named twice is read once, as it was named last.
    let mut places: HashMap<(Uuid, &Str, i32), usize> = HashMap::with_capacity(asked.capacity());
    for topic in &request.topics {
        let name = if version >= 13 { image.topic_name(topic.topic_id) } else { Some(Arc::from(&*topic.topic)) };
        for partition in &topic.partitions {
            let place = *places.entry((topic.topic_id, &topic.topic, partition.partition)).or_insert(asked.len());
            let wanted = FetchPartition {
                topic: name.clone(),
                topic_id: topic.topic_id,
                partition: partition.partition,
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.partition_max_bytes,
                current_leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
                log_start_offset: partition.log_start_offset,
            };
            match asked.get_mut(place) {
                Some(earlier) => *earlier = wanted,
                None => asked.push(wanted),
            }
        }
    }
    asked
}

fn forgotten_partitions(request: &FetchRequest, version: i16) -> Vec<PartitionKey> {
    let mut forgotten = Vec::new();
    for topic in &request.forgotten_topics_data {
        let name: Arc<str> = Arc::from(&*topic.topic);
        forgotten.extend(topic.partitions.iter().map(|partition| {
            if version >= 13 {
                PartitionKey::Id(topic.topic_id, *partition)
            } else {
                PartitionKey::Name(Arc::clone(&name), *partition)
            }
        }));
    }
    forgotten
}

fn to_fetch(asked: &FetchPartition) -> PartitionFetch {
    PartitionFetch {
        topic: asked.topic.clone(),
        topic_id: asked.topic_id,
        partition: asked.partition,
        fetch_offset: asked.fetch_offset,
        max_bytes: asked.max_bytes.max(0) as u32,
        current_leader_epoch: LeaderEpoch(asked.current_leader_epoch),
        last_fetched_epoch: LeaderEpoch(asked.last_fetched_epoch),
        log_start_offset: asked.log_start_offset,
    }
}

const fn is_missing(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::UnknownTopicId | ErrorCode::UnknownTopicOrPartition)
}

fn code_of_read(read: &ReadPartition) -> ErrorCode {
    read.error.as_ref().map_or(ErrorCode::None, ErrorCode::from)
}

fn to_answer(read: &ReadPartition) -> Answer {
    Answer {
        has_records: read.bytes() > 0,
        error: code_of_read(read),
        high_watermark: read.high_watermark,
        log_start_offset: read.log_start_offset,
        must_tell: read.diverging.is_some() || read.preferred.is_some(),
    }
}

/// The answer as it grows: partitions, and the file slices that their records are.
struct FetchReply<'a> {
    broker: &'a Broker,
    call: &'a Call,
    is_follower: bool,
    answer: FetchResponse,
    slices: Vec<FileSlice>,
}

impl<'a> FetchReply<'a> {
    fn new(broker: &'a Broker, call: &'a Call, is_follower: bool) -> Self {
        Self { broker, call, is_follower, answer: FetchResponse::default(), slices: Vec::new() }
    }

    async fn add(&mut self, asked: &FetchPartition, read: ReadPartition) {
        let version = self.call.version();
        let name = asked.topic.as_deref().unwrap_or_default();
        let mut error = code_of_read(&read);
        if let Some(code) = self.unreadable(name, asked.partition) {
            return self.refuse(asked, name, code);
        }
        let records = match read.records {
            Some(slice) if version < 4 => match down_convert(version, asked, slice).await {
                Ok(converted) => Records::Bytes(converted),
                Err(code) => return self.refuse(asked, name, code),
            },
            Some(slice) => {
                let token = self.slices.len() as u32;
                let len = slice.len;
                self.slices.push(slice);
                Records::External { token, len }
            }
            None => Records::Bytes(Bytes::new()),
        };
        if error == ErrorCode::KafkaStorageError && version <= 5 {
            // Clients that do not know the code look for another leader.
            error = ErrorCode::NotLeaderOrFollower;
        }
        // For a missing partition Kafka does not look up aborted transactions: the list is empty, and not null.
        let aborted = read.aborted.or_else(|| is_missing(error).then(Vec::new));
        let mut data = PartitionData {
            partition_index: asked.partition,
            error_code: error.wire(),
            high_watermark: read.high_watermark,
            last_stable_offset: read.last_stable_offset,
            log_start_offset: read.log_start_offset,
            aborted_transactions: aborted.map(|aborted| {
                let transactions = aborted.into_iter().map(|txn| AbortedTransaction {
                    producer_id: txn.producer_id,
                    first_offset: txn.first_offset,
                    ..Default::default()
                });
                transactions.collect()
            }),
            records: Some(records),
            ..Default::default()
        };
        if let Some(preferred) = read.preferred {
            data.preferred_read_replica = preferred.0;
        }
        if let Some((epoch, end_offset)) = read.diverging {
            data.diverging_epoch = EpochEndOffset { epoch: epoch.0, end_offset, ..Default::default() };
        }
        if version >= 16 && matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch) {
            data.current_leader = self.current_leader(name, asked.partition);
        }
        self.topic(asked, name).partitions.push(data);
    }

    /// The error for a client whose version is too old to read a log, whatever the log contains.
    fn unreadable(&self, topic: &str, partition: i32) -> Option<ErrorCode> {
        let version = self.call.version();
        if version >= 10 {
            return None;
        }
        let log = self.broker.replicas.partition(topic, partition).ok()?.log()?;
        let config = log.config();
        if matches!(config.compression, BrokerCompression::Zstd(_)) {
            Some(ErrorCode::UnsupportedCompressionType)
        } else if version < 4 && !self.is_follower && !config.message_downconversion_enable {
            Some(ErrorCode::UnsupportedVersion)
        } else {
            None
        }
    }

    /// Kafka: `FetchResponse.partitionResponse`, which has null records where others have empty ones.
    fn refuse(&mut self, asked: &FetchPartition, name: &str, code: ErrorCode) {
        let refused = PartitionData {
            partition_index: asked.partition,
            error_code: code.wire(),
            high_watermark: -1,
            aborted_transactions: Some(Vec::new()),
            ..Default::default()
        };
        self.topic(asked, name).partitions.push(refused);
    }

    /// The entry of a topic: adjacent partitions of one topic share an entry.
    fn topic(&mut self, asked: &FetchPartition, name: &str) -> &mut FetchableTopicResponse {
        let responses = &mut self.answer.responses;
        let same = responses.last().is_some_and(|last| last.topic_id == asked.topic_id && *last.topic == *name);
        if !same {
            responses.push(FetchableTopicResponse {
                topic: Str::from(name),
                topic_id: asked.topic_id,
                ..Default::default()
            });
        }
        let last = responses.len() - 1;
        &mut responses[last]
    }

    /// Who leads, as far as this broker knows, and where it is (KIP-951).
    fn current_leader(&mut self, topic: &str, partition: i32) -> LeaderIdAndEpoch {
        let image = self.broker.image.load();
        let Some(known) = image.partition(topic, partition) else { return LeaderIdAndEpoch::default() };
        let nodes = &mut self.answer.node_endpoints;
        if let Some(leader) = image.brokers.get(&known.leader)
            && let Some(endpoint) = leader.endpoint(self.call.listener())
            && nodes.iter().all(|node| node.node_id != leader.id.0)
        {
            nodes.push(NodeEndpoint {
                node_id: leader.id.0,
                host: endpoint.host.as_deref().unwrap_or_default().into(),
                port: endpoint.port.into(),
                rack: leader.rack.as_deref().map(Into::into),
                ..Default::default()
            });
        }
        LeaderIdAndEpoch { leader_id: known.leader.0, leader_epoch: known.leader_epoch.0, ..Default::default() }
    }

    fn send(mut self, error: ErrorCode, session_id: i32) -> Reply {
        self.answer.error_code = error.wire();
        self.answer.session_id = session_id;
        self.call.reply_with_slices(&self.answer, &self.slices)
    }
}

/// Old clients get the message format that they read: magic 0 below version 2, magic 1 below 4. Records that are not in
/// memory are read on a blocking thread.
async fn down_convert(version: i16, asked: &FetchPartition, slice: FileSlice) -> Result<Bytes, ErrorCode> {
    let is_resident = slice.is_resident(0);
    let read = move || {
        let mut stored = vec![0; slice.len as usize];
        let read = slice.read(0, &mut stored).map_err(|_| ErrorCode::KafkaStorageError)?;
        stored.truncate(read);
        Ok::<_, ErrorCode>(stored)
    };
    let stored = if is_resident {
        read()?
    } else {
        let reading = task::spawn_blocking("read-cold-records", read);
        reading.await.map_err(|_| ErrorCode::UnknownServerError)??
    };
    let magic = if version < 2 { 0 } else { 1 };
    let converted = convert::down_convert(&stored, magic, asked.fetch_offset).map_err(|error| error.code())?;
    Ok(converted.bytes)
}
