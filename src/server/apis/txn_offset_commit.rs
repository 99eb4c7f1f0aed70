//! TxnOffsetCommit: offsets of a group that count once their transaction is committed. Kafka:
//! `KafkaApis.handleTxnOffsetCommitRequest`, `GroupCoordinator.handleTxnCommitOffsets`.

use super::offsets::Asked;
use super::{group_member, owned};
use crate::common::{ErrorCode, LeaderEpoch, TopicPartition};
use crate::coordinator::OFFSETS_TOPIC;
use crate::coordinator::group::{Commit, CommittedOffset, TxnProducer};
use crate::coordinator::transaction::ProducerIdAndEpoch;
use crate::log::VerificationGuard;
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::txn_offset_commit_request::TxnOffsetCommitRequestPartition;
use crate::protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use crate::protocol::messages::{TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use crate::record::NO_SEQUENCE;
use crate::server::codes::{Unverified, unverified_commit};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::transactional;
use crate::util::clock::wall_ms;
use std::sync::Arc;

/// The first version whose clients know TRANSACTION_ABORTABLE.
const ABORTABLE_VERSION: i16 = 4;
/// Clients before it may crash on COORDINATOR_LOAD_IN_PROGRESS.
const LOADING_VERSION: i16 = 2;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: TxnOffsetCommitRequest) -> Reply {
    let image = broker.image.load_full();
    let named = request.topics.iter().map(|topic| (&topic.name, topic.partitions.iter()));
    let asked = Asked::of(&image, named, |partition| partition.partition_index);
    let now = wall_ms();
    let offset = |partition: &TxnOffsetCommitRequestPartition| CommittedOffset {
        offset: partition.committed_offset,
        leader_epoch: LeaderEpoch(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.as_ref().map(owned).unwrap_or_default(),
        commit_timestamp: now,
        expire_timestamp: None,
    };
    let chosen: Vec<_> = asked.known().iter().map(|(tp, partition)| (tp.clone(), offset(partition))).collect();
    let mut codes = Vec::new();
    if !chosen.is_empty() {
        codes = commit(broker, call.version(), &request, chosen).await;
    }
    let known_code = |code| match code {
        ErrorCode::CoordinatorLoadInProgress if call.version() < LOADING_VERSION => ErrorCode::CoordinatorNotAvailable,
        code => code,
    };
    let partition = |(partition_index, code)| TxnOffsetCommitResponsePartition {
        partition_index,
        error_code: known_code(code).wire(),
        ..Default::default()
    };
    let topics = asked.answer(codes).into_iter().map(|(name, partitions)| TxnOffsetCommitResponseTopic {
        name,
        partitions: partitions.into_iter().map(partition).collect(),
        ..Default::default()
    });
    call.reply(&TxnOffsetCommitResponse { topics: topics.collect(), ..Default::default() })
}

async fn commit(
    broker: &Broker,
    version: i16,
    request: &TxnOffsetCommitRequest,
    chosen: Vec<(TopicPartition, CommittedOffset)>,
) -> Vec<ErrorCode> {
    let all = |code| vec![code; chosen.len()];
    if let Err(code) = broker.groups.check_transactional(&request.group_id) {
        return all(code);
    }
    let producer = ProducerIdAndEpoch { producer_id: request.producer_id, epoch: request.producer_epoch };
    let partition = TopicPartition::new(OFFSETS_TOPIC, broker.groups.partition_for(&request.group_id));
    let knows_abortable = version >= ABORTABLE_VERSION;
    let guard = match verify(broker, &request.transactional_id, producer, partition, knows_abortable).await {
        Ok(guard) => guard,
        Err(error) => {
            broker.groups.make_group(owned(&request.group_id)).await;
            return all(unverified_commit(error));
        }
    };
    let instance = request.group_instance_id.as_ref();
    let member = group_member(&request.group_id, &request.member_id, instance, request.generation_id);
    let producer = TxnProducer { id: producer.producer_id, epoch: producer.epoch, guard };
    broker.groups.commit(Commit { member, offsets: chosen, producer: Some(producer) }).await
}

/// Verifies a transaction with its coordinator before the first append to the group's partition (KIP-890).
async fn verify(
    broker: &Broker,
    transactional_id: &Str,
    producer: ProducerIdAndEpoch,
    tp: TopicPartition,
    knows_abortable: bool,
) -> Result<Option<VerificationGuard>, Unverified> {
    if !broker.config.load().transaction_partition_verification_enable {
        return Ok(None);
    }
    let started = transactional::start(broker, &tp, producer, NO_SEQUENCE)?;
    let Some(guard) = started else { return Ok(None) };
    let asked = [tp.clone()].into();
    let refused = Arc::clone(&broker.verifier).verify(&owned(transactional_id), producer, asked, knows_abortable).await;
    match refused.get(&tp) {
        Some(error) => Err((*error).into()),
        None => Ok(Some(guard)),
    }
}
