//! Owns the front of the transaction coordinator: requests on their way to the shard of their transactional id. Kafka:
//! `TransactionCoordinator`.

use super::effects::{Answer, Description, Effect, InitProducerId, ListFilter, Listing, Settings, Ticket};
use super::producer_ids::ProducerIds;
use super::sender::MarkerSender;
use super::shard::{ShardParts, Transactions, Verified};
use super::state::{Outcome, ProducerIdAndEpoch};
use super::write_markers::MarkerWriter;
use crate::cluster::image::MetadataImage;
use crate::common::ids::{BrokerId, LeaderEpoch, TopicPartition};
use crate::common::{ErrorCode, Now};
use crate::coordinator::runtime::{Asked, NotServing, Runtime, RuntimeParts, Shards, answer};
use crate::coordinator::{TRANSACTIONS_TOPIC, codes, partition_for};
use crate::replica::ReplicaManager;
use crate::util::task::{Group, StillRunning};
use arc_swap::ArcSwap;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the coordinator is made of.
pub struct CoordinatorParts {
    pub us: BrokerId,
    /// Of `__transaction_state`; it does not change while we run.
    pub partitions: i32,
    pub settings: Settings,
    /// `transaction.state.log.load.buffer.size`.
    pub load_buffer_bytes: u32,
    /// `inter.broker.listener.name`.
    pub listener: String,
    /// `request.timeout.ms`.
    pub request_timeout: Duration,
    pub replicas: Arc<ReplicaManager>,
    pub image: Arc<ArcSwap<MetadataImage>>,
    pub producer_ids: Arc<ProducerIds>,
    pub writer: Arc<MarkerWriter>,
    /// Shards and senders of markers are spread over these; there is one at least.
    pub groups: Arc<[Group]>,
}

/// See the module's page.
pub struct TransactionCoordinator {
    partitions: i32,
    settings: Settings,
    writer: Arc<MarkerWriter>,
    runtime: Arc<Runtime<Transactions>>,
}

impl TransactionCoordinator {
    pub fn new(parts: CoordinatorParts) -> Self {
        let shards = Arc::<Shards<Transactions>>::default();
        let markers = MarkerSender::new(
            parts.us,
            parts.listener,
            parts.request_timeout,
            parts.image,
            Arc::clone(&shards),
            Arc::clone(&parts.writer),
            Arc::clone(&parts.groups),
        );
        let machines =
            ShardParts { settings: parts.settings, producer_ids: parts.producer_ids, markers: Arc::new(markers) };
        let runtime = Runtime::new(RuntimeParts {
            topic: TRANSACTIONS_TOPIC,
            machines: Arc::new(machines),
            load_buffer_bytes: parts.load_buffer_bytes,
            replicas: parts.replicas,
            tasks: parts.groups,
            shards,
        });
        Self { partitions: parts.partitions, settings: parts.settings, writer: parts.writer, runtime }
    }

    /// The partition of `__transaction_state` that an id belongs to.
    pub fn partition_for(&self, transactional_id: &str) -> i32 {
        partition_for(transactional_id, self.partitions)
    }

    /// Writes markers into partitions that this broker leads.
    pub fn writer(&self) -> &MarkerWriter {
        &self.writer
    }

    // ---- leadership

    /// Kafka: `onElection`.
    pub fn on_election(&self, partition: i32, epoch: LeaderEpoch) {
        self.runtime.on_election(partition, epoch);
    }

    /// Without an epoch the partition is deleted. Kafka: `onResignation`.
    pub fn on_resignation(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        self.runtime.on_resignation(partition, epoch);
    }

    /// Waits for the shards and for the markers on their way, up to `within`.
    pub async fn shut_down(&self, within: Duration) -> Result<(), StillRunning> {
        self.runtime.shut_down(within).await
    }

    // ---- requests

    pub async fn init_producer_id(
        &self,
        transactional_id: &str,
        timeout_ms: i32,
        expected: Option<ProducerIdAndEpoch>,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        self.settings.check_new_producer(transactional_id, timeout_ms)?;
        let asked = InitProducerId { transactional_id: transactional_id.into(), timeout_ms, expected };
        let question = |to: &mut Transactions, now, reply, out: &mut Vec<Effect>| {
            let (ticket, ids) = (Ticket(to.tickets.issue(reply)), &to.parts.producer_ids);
            to.machine.on_init_producer_id(now, ticket, asked, || ids.next(), out);
        };
        match self.put(transactional_id, question).await.answer().await.map_err(code)? {
            Answer::Producer(told) => told,
            Answer::Code(code) => Err(code),
        }
    }

    /// Adds partitions to a transaction. The code is NONE when they are in it.
    pub async fn add_partitions(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partitions: BTreeSet<TopicPartition>,
    ) -> Asked<Answer> {
        let id: Arc<str> = transactional_id.into();
        let question = move |to: &mut Transactions, now, reply, out: &mut Vec<Effect>| {
            let ticket = Ticket(to.tickets.issue(reply));
            to.machine.on_add_partitions(now, ticket, &id, producer, partitions, out);
        };
        self.put(transactional_id, question).await
    }

    /// NONE when the end is decided: the markers follow.
    pub async fn end(&self, transactional_id: &str, producer: ProducerIdAndEpoch, outcome: Outcome) -> ErrorCode {
        let id: Arc<str> = transactional_id.into();
        let question = move |to: &mut Transactions, now, reply, out: &mut Vec<Effect>| {
            let ticket = Ticket(to.tickets.issue(reply));
            to.machine.on_end_txn(now, ticket, &id, producer, outcome, out);
        };
        self.put(transactional_id, question).await.code().await
    }

    /// Whether partitions are in a transaction, for brokers that are about to append.
    pub async fn verify(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partitions: BTreeSet<TopicPartition>,
    ) -> Asked<Verified> {
        let id: Arc<str> = transactional_id.into();
        let question = move |to: &mut Transactions, _, reply, _: &mut Vec<Effect>| {
            answer(reply, to.machine.verify(&id, producer, &partitions));
        };
        self.put(transactional_id, question).await
    }

    pub async fn describe(&self, transactional_id: &str) -> Result<Description, ErrorCode> {
        let id: Arc<str> = transactional_id.into();
        let question = move |to: &mut Transactions, _, reply, _: &mut Vec<Effect>| {
            answer(reply, to.machine.describe(&id));
        };
        self.put(transactional_id, question).await.answer().await.map_err(code)?
    }

    /// The transactions of every shard that this broker has.
    pub async fn list(&self, filter: ListFilter) -> Result<Vec<Listing>, ErrorCode> {
        let filter = Arc::new(filter);
        let (listed, is_loading) = self.runtime.ask_all(move |to, now, _| to.machine.list(now, &filter)).await;
        if is_loading { Err(ErrorCode::CoordinatorLoadInProgress) } else { Ok(listed.into_iter().flatten().collect()) }
    }

    async fn put<T: Send + 'static>(
        &self,
        transactional_id: &str,
        question: impl FnOnce(&mut Transactions, Now, oneshot::Sender<T>, &mut Vec<Effect>) + Send + 'static,
    ) -> Asked<T> {
        if transactional_id.is_empty() {
            return Asked::refused(NotServing::InvalidKey);
        }
        self.runtime.put(self.partition_for(transactional_id), question).await
    }
}

impl Asked<Answer> {
    pub async fn code(self) -> ErrorCode {
        match self.answer().await {
            Ok(Answer::Code(code)) | Ok(Answer::Producer(Err(code))) => code,
            Err(error) => code(error),
            Ok(Answer::Producer(Ok(_))) => ErrorCode::UnknownServerError,
        }
    }
}

impl Asked<Verified> {
    /// For each partition whether it is in the transaction, or why none is.
    pub async fn verified(self) -> Verified {
        self.answer().await.map_err(code)?
    }
}

fn code(error: NotServing) -> ErrorCode {
    codes::not_serving_code(error, ErrorCode::InvalidRequest)
}
