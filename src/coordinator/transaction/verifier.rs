//! Owns asking the coordinator whether partitions are in a transaction before anything is written to them (KIP-890):
//! requests for one coordinator wait together while one is under way. Kafka: `AddPartitionsToTxnManager`.
//!
//! Bounded: one question a transactional id waits at most, and as many as there are connections.

use super::service::TransactionCoordinator;
use super::state::ProducerIdAndEpoch;
use crate::client::broker_client::{BrokerConnection, CallError};
use crate::cluster::image::MetadataImage;
use crate::common::ErrorCode;
use crate::common::ids::{BrokerId, TopicPartition};
use crate::coordinator::TRANSACTIONS_TOPIC;
use crate::coordinator::runtime::group_of;
use crate::protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use crate::protocol::messages::{AddPartitionsToTxnRequest, AddPartitionsToTxnResponse};
use crate::protocol::{ApiKey, Str};
use crate::util::task::Group;
use crate::util::unless_gone;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// The first version with which brokers may ask.
const BATCHED_VERSION: i16 = 4;

/// Why nothing may be written to a partition for a transaction, by what its producer can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Ask again, as for the next three.
    #[error("the coordinator was not reached")]
    Unreachable,
    #[error("no coordinator is known")]
    NoCoordinator,
    #[error("the broker that was asked is not the coordinator")]
    NotCoordinator,
    #[error("the coordinator is still loading")]
    Loading,
    #[error("the transaction before is still ending")]
    Concurrent,
    #[error("the partition is not in the transaction")]
    NotInTransaction,
    /// As before, to a client that knows to abort then.
    #[error("the transaction has to be aborted")]
    Abortable,
    /// There is a later producer with this transactional id.
    #[error("the producer is fenced")]
    Fenced,
    /// To the coordinator's broker.
    #[error("the partition is unknown")]
    UnknownPartition,
    /// Whatever else the coordinator says, for the producer as it is.
    #[error("{0}")]
    Refused(ErrorCode),
}

/// Partitions that must not be written to, each with its reason. Empty: go on.
pub type Refused = BTreeMap<TopicPartition, VerifyError>;

/// See the module's page.
pub struct Verifier {
    us: BrokerId,
    /// `inter.broker.listener.name`.
    listener: String,
    request_timeout: Duration,
    image: Arc<ArcSwap<MetadataImage>>,
    coordinator: Arc<TransactionCoordinator>,
    groups: Arc<[Group]>,
    nodes: Mutex<HashMap<BrokerId, Arc<Node>>>,
}

/// What waits for one coordinator.
#[derive(Default)]
struct Node {
    waiting: Mutex<BTreeMap<Str, Question>>,
    wake: Notify,
}

struct Question {
    producer: ProducerIdAndEpoch,
    partitions: BTreeSet<TopicPartition>,
    reply: oneshot::Sender<Refused>,
}

impl Question {
    fn refuse(self, error: VerifyError) {
        let refused = all(self.partitions, error);
        // The producer may have gone.
        unless_gone(self.reply.send(refused));
    }
}

impl Verifier {
    pub fn new(
        us: BrokerId,
        listener: String,
        request_timeout: Duration,
        image: Arc<ArcSwap<MetadataImage>>,
        coordinator: Arc<TransactionCoordinator>,
        groups: Arc<[Group]>,
    ) -> Self {
        Self { us, listener, request_timeout, image, coordinator, groups, nodes: Mutex::default() }
    }

    /// Asks the coordinator of a transactional id. `knows_abortable`: the client's version has TRANSACTION_ABORTABLE;
    /// others hear INVALID_TXN_STATE.
    pub async fn verify(
        self: &Arc<Self>,
        transactional_id: &Str,
        producer: ProducerIdAndEpoch,
        partitions: BTreeSet<TopicPartition>,
        knows_abortable: bool,
    ) -> Refused {
        let mut refused = match self.coordinator_of(transactional_id) {
            None => all(partitions, VerifyError::NoCoordinator),
            Some(broker) if broker == self.us => {
                let asked = self.coordinator.verify(transactional_id, producer, partitions.clone()).await;
                match asked.verified().await {
                    Ok(told) => {
                        let refused = told.into_iter().filter(|(_, code)| code.is_error());
                        refused.map(|(tp, code)| (tp, refusal(code))).collect()
                    }
                    Err(code) => all(partitions, refusal(code)),
                }
            }
            Some(broker) => self.ask(broker, transactional_id, producer, partitions).await,
        };
        if !knows_abortable {
            for error in refused.values_mut().filter(|error| **error == VerifyError::Abortable) {
                *error = VerifyError::NotInTransaction;
            }
        }
        refused
    }

    fn coordinator_of(&self, transactional_id: &str) -> Option<BrokerId> {
        let image = self.image.load();
        let leader = image.partition(TRANSACTIONS_TOPIC, self.coordinator.partition_for(transactional_id))?.leader;
        image.brokers.get(&leader).and_then(|known| known.endpoint(&self.listener)).map(|_| leader)
    }

    async fn ask(
        self: &Arc<Self>,
        broker: BrokerId,
        transactional_id: &Str,
        producer: ProducerIdAndEpoch,
        partitions: BTreeSet<TopicPartition>,
    ) -> Refused {
        let node = Arc::clone(self.nodes.lock().entry(broker).or_insert_with(|| {
            let node = Arc::<Node>::default();
            let group = group_of(&self.groups, broker.0);
            let stop = group.stop_token().clone();
            group.spawn("transaction-verifier", Arc::clone(self).run(broker, Arc::clone(&node), stop));
            node
        }));
        let (reply, told) = oneshot::channel();
        let question = Question { producer, partitions: partitions.clone(), reply };
        let overtaken = {
            let mut waiting = node.waiting.lock();
            match waiting.get(transactional_id) {
                // The one that waits is of a later producer.
                Some(before) if before.producer.epoch > producer.epoch => Some((question, VerifyError::Fenced)),
                Some(before) => {
                    // Of an earlier producer, or the same asks again because it gave up waiting.
                    let is_fenced = before.producer.epoch < producer.epoch;
                    let error = if is_fenced { VerifyError::Fenced } else { VerifyError::Unreachable };
                    waiting.insert(transactional_id.clone(), question).map(|before| (before, error))
                }
                None => {
                    waiting.insert(transactional_id.clone(), question);
                    None
                }
            }
        };
        if let Some((question, error)) = overtaken {
            question.refuse(error);
        }
        node.wake.notify_one();
        // The task ends with the broker only.
        told.await.unwrap_or_else(|_| all(partitions, VerifyError::Unreachable))
    }

    async fn run(self: Arc<Self>, broker: BrokerId, node: Arc<Node>, stop: CancellationToken) {
        let mut connection = None;
        loop {
            let questions = std::mem::take(&mut *node.waiting.lock());
            let work = async {
                if questions.is_empty() {
                    node.wake.notified().await;
                } else {
                    self.put(broker, &mut connection, questions).await;
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    /// Puts questions to a coordinator, and answers the callers.
    async fn put(
        &self,
        broker: BrokerId,
        connection: &mut Option<(BrokerConnection, Option<i16>)>,
        questions: BTreeMap<Str, Question>,
    ) {
        let calling = async {
            let (open, version) = match connection.take().filter(|(open, _)| open.is_alive()) {
                Some(open) => open,
                None => self.connect(broker).await?,
            };
            let (open, version) = connection.insert((open, version));
            let Some(version) = *version else { return Ok(None) };
            let request = request(&questions);
            let answer = open.call(ApiKey::AddPartitionsToTxn, version, &request, self.request_timeout).await;
            answer.map(Some).map_err(|error| error.to_string())
        };
        let answer: Result<Option<AddPartitionsToTxnResponse>, String> = calling.await;
        match answer {
            // Too old to be asked: as in Kafka, the partition is trusted to be in the transaction.
            Ok(None) => {
                debug!(%broker, "this coordinator cannot verify transactions");
                for question in questions.into_values() {
                    unless_gone(question.reply.send(Refused::new()));
                }
            }
            Ok(Some(answer)) => tell(questions, &answer),
            Err(error) => {
                *connection = None;
                warn!(%broker, error, "transactions not verified");
                for question in questions.into_values() {
                    question.refuse(VerifyError::Unreachable);
                }
            }
        }
    }

    /// A connection, with the version in which the broker may be asked.
    async fn connect(&self, broker: BrokerId) -> Result<(BrokerConnection, Option<i16>), String> {
        let image = self.image.load_full();
        let endpoint = image.brokers.get(&broker).and_then(|known| known.endpoint(&self.listener));
        let endpoint = endpoint.ok_or("the broker is gone")?;
        let host = endpoint.host.as_deref().unwrap_or_default();
        let client_id = format!("broker-{}-add-partitions-to-txn", self.us).into();
        let text = |error: CallError| error.to_string();
        let mut open =
            BrokerConnection::connect(host, endpoint.port, client_id, self.request_timeout).await.map_err(text)?;
        let theirs = open.api_versions(self.request_timeout).await.map_err(text)?;
        let key = ApiKey::AddPartitionsToTxn;
        let newest = theirs.get(&key.wire()).map_or(-1, |versions| *versions.end()).min(*key.versions().end());
        Ok((open, (newest >= BATCHED_VERSION).then_some(newest)))
    }
}

fn all(partitions: BTreeSet<TopicPartition>, error: VerifyError) -> Refused {
    partitions.into_iter().map(|tp| (tp, error)).collect()
}

/// What a coordinator's code means here. Kafka: `AddPartitionsToTxnHandler.onComplete`.
fn refusal(code: ErrorCode) -> VerifyError {
    match code {
        ErrorCode::NetworkException => VerifyError::Unreachable,
        ErrorCode::CoordinatorNotAvailable => VerifyError::NoCoordinator,
        ErrorCode::NotCoordinator => VerifyError::NotCoordinator,
        ErrorCode::CoordinatorLoadInProgress => VerifyError::Loading,
        ErrorCode::ConcurrentTransactions => VerifyError::Concurrent,
        ErrorCode::InvalidTxnState => VerifyError::NotInTransaction,
        ErrorCode::TransactionAbortable => VerifyError::Abortable,
        ErrorCode::ProducerFenced | ErrorCode::InvalidProducerEpoch => VerifyError::Fenced,
        ErrorCode::UnknownTopicOrPartition => VerifyError::UnknownPartition,
        // Of another broker, which may be a newer one.
        code => VerifyError::Refused(code),
    }
}

fn request(questions: &BTreeMap<Str, Question>) -> AddPartitionsToTxnRequest {
    let transaction = |(transactional_id, question): (&Str, &Question)| {
        let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
        for tp in &question.partitions {
            match topics.last_mut() {
                Some(last) if *last.name == *tp.topic => last.partitions.push(tp.partition),
                _ => topics.push(AddPartitionsToTxnTopic {
                    name: Str::from(&*tp.topic),
                    partitions: vec![tp.partition],
                    ..Default::default()
                }),
            }
        }
        AddPartitionsToTxnTransaction {
            transactional_id: transactional_id.clone(),
            producer_id: question.producer.producer_id,
            producer_epoch: question.producer.epoch,
            verify_only: true,
            topics,
            ..Default::default()
        }
    };
    AddPartitionsToTxnRequest { transactions: questions.iter().map(transaction).collect(), ..Default::default() }
}

/// A transaction that the answer leaves out was not verified.
fn tell(mut questions: BTreeMap<Str, Question>, answer: &AddPartitionsToTxnResponse) {
    if answer.error_code != ErrorCode::None.wire() {
        let error = match ErrorCode::from_wire(answer.error_code) {
            // Not the producer's fault, and no code that it would understand.
            ErrorCode::ClusterAuthorizationFailed => VerifyError::NotInTransaction,
            code => refusal(code),
        };
        for question in questions.into_values() {
            question.refuse(error);
        }
        return;
    }
    for result in &answer.results_by_transaction {
        let Some(question) = questions.remove(&result.transactional_id) else { continue };
        let mut refused = Refused::new();
        for topic in &result.topic_results {
            let name: Arc<str> = Arc::from(&*topic.name);
            for partition in &topic.results_by_partition {
                let code = ErrorCode::from_wire(partition.partition_error_code);
                if code.is_error() {
                    let tp = TopicPartition { topic: Arc::clone(&name), partition: partition.partition_index };
                    refused.insert(tp, refusal(code));
                }
            }
        }
        unless_gone(question.reply.send(refused));
    }
    for question in questions.into_values() {
        question.refuse(VerifyError::Unreachable);
    }
}
