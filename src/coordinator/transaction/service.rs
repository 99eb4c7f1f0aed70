//! Owns the front of the transaction coordinator: which shard a transactional id belongs to, whether it is here and
//! ready, and shards as leadership of `__transaction_state` comes and goes. Kafka: `TransactionCoordinator`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::info;

use super::effects::{Answer, Description, InitProducerId, ListFilter, Listing, Settings};
use super::group_of;
use super::markers::Term;
use super::producer_ids::ProducerIds;
use super::sender::MarkerSender;
use super::shard::{self, Message, Parts, ShardHandle, Verified};
use super::state::{Outcome, ProducerIdAndEpoch};
use super::write_markers::MarkerWriter;
use crate::cluster::image::MetadataImage;
use crate::common::ErrorCode;
use crate::common::ids::{BrokerId, LeaderEpoch, TopicPartition};
use crate::coordinator::{RELOAD_PAUSE, TRANSACTIONS_TOPIC, partition_for};
use crate::replica::ReplicaManager;
use crate::util::task::Group;

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

/// The shards of this broker, by partition.
#[derive(Debug, Default)]
pub(super) struct Shards {
    shards: Mutex<BTreeMap<i32, ShardHandle>>,
    /// The latest leader epoch that was heard of. What comes late changes nothing. Taken first, then `shards`.
    epochs: Mutex<BTreeMap<i32, LeaderEpoch>>,
}

impl Shards {
    fn get(&self, partition: i32) -> Option<ShardHandle> {
        self.shards.lock().get(&partition).cloned()
    }

    pub(super) fn of_term(&self, term: Term) -> Option<ShardHandle> {
        self.get(term.partition).filter(|shard| shard.term == term)
    }
}

/// See the module's page.
pub struct TransactionCoordinator {
    parts: CoordinatorParts,
    shards: Arc<Shards>,
    markers: Arc<MarkerSender>,
    starts: AtomicU64,
}

impl TransactionCoordinator {
    pub fn new(parts: CoordinatorParts) -> Self {
        let shards = Arc::<Shards>::default();
        let markers = MarkerSender::new(
            parts.us,
            parts.listener.clone(),
            parts.request_timeout,
            Arc::clone(&parts.image),
            Arc::clone(&shards),
            Arc::clone(&parts.writer),
            Arc::clone(&parts.groups),
        );
        Self { parts, shards, markers: Arc::new(markers), starts: AtomicU64::new(0) }
    }

    /// The partition of `__transaction_state` that an id belongs to.
    pub fn partition_for(&self, transactional_id: &str) -> i32 {
        partition_for(transactional_id, self.parts.partitions)
    }

    /// Writes markers into partitions that this broker leads.
    pub fn writer(&self) -> &MarkerWriter {
        &self.parts.writer
    }

    // ---- leadership

    /// This broker leads a partition now: its transactions are loaded in the background. Kafka: `onElection`.
    pub fn on_election(self: &Arc<Self>, partition: i32, epoch: LeaderEpoch) {
        let mut epochs = self.shards.epochs.lock();
        if epochs.get(&partition).is_some_and(|known| *known >= epoch) {
            return;
        }
        epochs.insert(partition, epoch);
        let mut shards = self.shards.shards.lock();
        info!(partition, %epoch, "elected as the transaction coordinator");
        if let Some(before) = shards.remove(&partition) {
            before.stop.cancel();
        }
        self.start(&mut shards, partition, epoch);
    }

    fn start(self: &Arc<Self>, shards: &mut BTreeMap<i32, ShardHandle>, partition: i32, epoch: LeaderEpoch) {
        self.markers.forget(partition);
        let group = group_of(&self.parts.groups, partition);
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let (shard, task) = shard::start(Parts {
            term: Term { partition, coordinator_epoch: epoch.0, start },
            log: TopicPartition::new(TRANSACTIONS_TOPIC, partition),
            settings: self.parts.settings,
            load_buffer_bytes: self.parts.load_buffer_bytes,
            replicas: Arc::clone(&self.parts.replicas),
            producer_ids: Arc::clone(&self.parts.producer_ids),
            markers: Arc::clone(&self.markers),
            group: group.clone(),
            groups: Arc::clone(&self.parts.groups),
        });
        let (me, stop) = (Arc::clone(self), shard.stop.clone());
        shards.insert(partition, shard);
        group.spawn("transaction-shard-watch", async move {
            // Its panic costs its own transactions, until they are loaded again.
            let Ok(None) = task.await else { return };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(RELOAD_PAUSE) => me.on_death(partition, epoch),
            }
        });
    }

    fn on_death(self: &Arc<Self>, partition: i32, epoch: LeaderEpoch) {
        let epochs = self.shards.epochs.lock();
        let mut shards = self.shards.shards.lock();
        let is_led = epochs.get(&partition) == Some(&epoch);
        if is_led && shards.get(&partition).is_some_and(|shard| shard.mailbox.is_closed()) {
            self.start(&mut shards, partition, epoch);
        }
    }

    /// Another broker leads a partition now; without an epoch, the partition is deleted. Kafka: `onResignation`.
    pub fn on_resignation(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        let mut epochs = self.shards.epochs.lock();
        match epoch {
            Some(epoch) if epochs.get(&partition).is_some_and(|known| *known > epoch) => return,
            Some(epoch) => drop(epochs.insert(partition, epoch)),
            // A topic that is made again begins with the first epoch.
            None => drop(epochs.remove(&partition)),
        }
        if let Some(shard) = self.shards.shards.lock().remove(&partition) {
            info!(partition, "resigned as the transaction coordinator");
            shard.stop.cancel();
        }
        self.markers.forget(partition);
    }

    // ---- requests

    pub async fn init_producer_id(
        &self,
        transactional_id: &str,
        timeout_ms: i32,
        expected: Option<ProducerIdAndEpoch>,
    ) -> Result<ProducerIdAndEpoch, ErrorCode> {
        self.parts.settings.check_new_producer(transactional_id, timeout_ms)?;
        let asked = InitProducerId { transactional_id: transactional_id.into(), timeout_ms, expected };
        let message = |reply| Message::InitProducerId(asked, reply);
        match put(self.shard_of(transactional_id), message).await.answer().await? {
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
        let id = transactional_id.into();
        let message = |reply| Message::AddPartitions { transactional_id: id, producer, partitions, reply };
        put(self.shard_of(transactional_id), message).await
    }

    /// NONE when the end is decided: the markers follow.
    pub async fn end(&self, transactional_id: &str, producer: ProducerIdAndEpoch, outcome: Outcome) -> ErrorCode {
        let id = transactional_id.into();
        let message = |reply| Message::EndTxn { transactional_id: id, producer, outcome, reply };
        put(self.shard_of(transactional_id), message).await.code().await
    }

    /// Whether partitions are in a transaction, for brokers that are about to append.
    pub async fn verify(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partitions: BTreeSet<TopicPartition>,
    ) -> Asked<Verified> {
        let id = transactional_id.into();
        let message = |reply| Message::Verify { transactional_id: id, producer, partitions, reply };
        put(self.shard_of(transactional_id), message).await
    }

    pub async fn describe(&self, transactional_id: &str) -> Result<Description, ErrorCode> {
        let message = |reply| Message::Describe(transactional_id.into(), reply);
        put(self.shard_of(transactional_id), message).await.answer().await?
    }

    /// The transactions of every shard that this broker has.
    pub async fn list(&self, filter: ListFilter) -> Result<Vec<Listing>, ErrorCode> {
        let shards: Vec<ShardHandle> = self.shards.shards.lock().values().cloned().collect();
        if shards.iter().any(|shard| !shard.is_loaded.load(Ordering::Acquire)) {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        let filter = Arc::new(filter);
        let mut all = Vec::new();
        for shard in shards {
            // One that has moved on since is listed by its new coordinator.
            let asked = put(Ok(shard), |reply| Message::List(Arc::clone(&filter), reply)).await;
            if let Ok(listed) = asked.answer().await {
                all.extend(listed);
            }
        }
        Ok(all)
    }

    fn shard_of(&self, transactional_id: &str) -> Result<ShardHandle, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let shard = self.shards.get(self.partition_for(transactional_id)).ok_or(ErrorCode::NotCoordinator)?;
        if shard.is_loaded.load(Ordering::Acquire) { Ok(shard) } else { Err(ErrorCode::CoordinatorLoadInProgress) }
    }
}

/// A question that a shard has got. Several may be put before the first answer is waited for.
#[must_use]
pub struct Asked<T>(Result<oneshot::Receiver<T>, ErrorCode>);

impl<T> Asked<T> {
    async fn answer(self) -> Result<T, ErrorCode> {
        // A shard that ends answers no one: by then it is not the coordinator any more.
        self.0?.await.map_err(|_| ErrorCode::NotCoordinator)
    }
}

impl Asked<Answer> {
    pub async fn code(self) -> ErrorCode {
        match self.answer().await {
            Ok(Answer::Code(code)) | Ok(Answer::Producer(Err(code))) | Err(code) => code,
            Ok(Answer::Producer(Ok(_))) => ErrorCode::UnknownServerError,
        }
    }
}

impl Asked<Verified> {
    /// For each partition whether it is in the transaction, or why none is.
    pub async fn verified(self) -> Verified {
        self.answer().await?
    }
}

/// Hands a question to a shard, once there is room in its mailbox.
async fn put<T>(
    shard: Result<ShardHandle, ErrorCode>,
    message: impl FnOnce(oneshot::Sender<T>) -> Message,
) -> Asked<T> {
    let (reply, answer) = oneshot::channel();
    Asked(match shard {
        Ok(shard) => shard.mailbox.send(message(reply)).await.map(|()| answer).map_err(|_| ErrorCode::NotCoordinator),
        Err(code) => Err(code),
    })
}
