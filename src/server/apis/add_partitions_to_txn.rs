//! AddPartitionsToTxn: adds partitions to a transaction; up to version 3 a client names one transaction; from 4 on
//! brokers name many, mostly to verify that partitions are in them (KIP-890). Kafka:
//! `KafkaApis.handleAddPartitionsToTxnRequest`.

use crate::common::{ErrorCode, TopicPartition};
use crate::coordinator::transaction::{Answer, Asked, ProducerIdAndEpoch, Verified};
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use crate::protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResult, AddPartitionsToTxnTopicResult,
};
use crate::protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first version that knows PRODUCER_FENCED.
const FENCED_VERSION: i16 = 2;
/// The first version with many transactions.
const BATCHED_VERSION: i16 = 4;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: AddPartitionsToTxnRequest) -> Reply {
    let version = call.version();
    if version < BATCHED_VERSION {
        let transaction = AddPartitionsToTxnTransaction {
            transactional_id: request.v3_and_below_transactional_id,
            producer_id: request.v3_and_below_producer_id,
            producer_epoch: request.v3_and_below_producer_epoch,
            topics: request.v3_and_below_topics,
            ..Default::default()
        };
        let results = to_topics(Question::put(broker, &transaction).await.codes(version).await);
        return call
            .reply(&AddPartitionsToTxnResponse { results_by_topic_v3_and_below: results, ..Default::default() });
    }
    // All requests are sent before the first answer is awaited: a slow coordinator does not hold up other transactions.
    let mut questions = Vec::with_capacity(request.transactions.len());
    for transaction in &request.transactions {
        questions.push(Question::put(broker, transaction).await);
    }
    let mut results = Vec::with_capacity(questions.len());
    for (transaction, question) in request.transactions.iter().zip(questions) {
        results.push(AddPartitionsToTxnResult {
            transactional_id: transaction.transactional_id.clone(),
            topic_results: to_topics(question.codes(version).await),
            ..Default::default()
        });
    }
    call.reply(&AddPartitionsToTxnResponse { results_by_transaction: results, ..Default::default() })
}

/// The pending request to the coordinator of one transaction.
enum Question {
    Refused(BTreeMap<TopicPartition, ErrorCode>),
    Add(BTreeSet<TopicPartition>, Asked<Answer>),
    Verify(BTreeSet<TopicPartition>, Asked<Verified>),
}

impl Question {
    async fn put(broker: &Broker, transaction: &AddPartitionsToTxnTransaction) -> Self {
        let partitions = partitions(&transaction.topics);
        if let Some(refused) = refuse_unknown(broker, &partitions) {
            return Self::Refused(refused);
        }
        let id = &*transaction.transactional_id;
        let producer = ProducerIdAndEpoch { producer_id: transaction.producer_id, epoch: transaction.producer_epoch };
        if transaction.verify_only {
            let asked = broker.transactions.verify(id, producer, partitions.clone()).await;
            Self::Verify(partitions, asked)
        } else {
            let asked = broker.transactions.add_partitions(id, producer, partitions.clone()).await;
            Self::Add(partitions, asked)
        }
    }

    /// The code of each partition.
    async fn codes(self, version: i16) -> BTreeMap<TopicPartition, ErrorCode> {
        let all = |partitions: BTreeSet<TopicPartition>, code| partitions.into_iter().map(|tp| (tp, code)).collect();
        match self {
            Self::Refused(codes) => codes,
            Self::Add(partitions, asked) => {
                all(partitions, super::without_fenced(asked.code().await, version >= FENCED_VERSION))
            }
            Self::Verify(partitions, asked) => match asked.verified().await {
                Ok(codes) => codes.into_iter().collect(),
                Err(code) => all(partitions, code),
            },
        }
    }
}

/// One partition that does not exist fails the whole transaction: the others are not tried.
fn refuse_unknown(
    broker: &Broker,
    partitions: &BTreeSet<TopicPartition>,
) -> Option<BTreeMap<TopicPartition, ErrorCode>> {
    let image = broker.image.load();
    let is_known = |tp: &TopicPartition| image.partition(&tp.topic, tp.partition).is_some();
    if partitions.iter().all(is_known) {
        return None;
    }
    let code = |tp| if is_known(tp) { ErrorCode::OperationNotAttempted } else { ErrorCode::UnknownTopicOrPartition };
    Some(partitions.iter().map(|tp| (tp.clone(), code(tp))).collect())
}

fn partitions(topics: &[AddPartitionsToTxnTopic]) -> BTreeSet<TopicPartition> {
    let mut partitions = BTreeSet::new();
    for topic in topics {
        let name: Arc<str> = Arc::from(&*topic.name);
        partitions.extend(
            topic.partitions.iter().map(|partition| TopicPartition { topic: Arc::clone(&name), partition: *partition }),
        );
    }
    partitions
}

fn to_topics(codes: BTreeMap<TopicPartition, ErrorCode>) -> Vec<AddPartitionsToTxnTopicResult> {
    let mut topics: Vec<AddPartitionsToTxnTopicResult> = Vec::new();
    for (tp, code) in codes {
        let result = AddPartitionsToTxnPartitionResult {
            partition_index: tp.partition,
            partition_error_code: code.wire(),
            ..Default::default()
        };
        match topics.last_mut() {
            Some(last) if *last.name == *tp.topic => last.results_by_partition.push(result),
            _ => topics.push(AddPartitionsToTxnTopicResult {
                name: Str::from(&*tp.topic),
                results_by_partition: vec![result],
                ..Default::default()
            }),
        }
    }
    topics
}
