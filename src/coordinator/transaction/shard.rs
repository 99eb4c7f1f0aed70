//! Owns the actor of one partition of the transaction coordinator in one term: loads what the log says, then applies
//! requests to the [`Machine`] and runs its effects. Kafka: `TransactionStateManager`, around its cache.
//!
//! It waits in one place and decides in another; whoever it answers has a oneshot, and an actor that ends drops them,
//! which means NOT_COORDINATOR. Writes of one turn share a batch.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::effects::{
    Answer, AppendId, Description, Effect, InitProducerId, ListFilter, Listing, Note, Settings, Ticket,
};
use super::machine::Machine;
use super::markers::{Report, Term};
use super::producer_ids::ProducerIds;
use super::records::{self, LogRecord};
use super::sender::MarkerSender;
use super::state::{Outcome, ProducerIdAndEpoch, TransactionMetadata, Transit};
use crate::common::ErrorCode;
use crate::common::ids::{LeaderEpoch, TopicPartition};
use crate::coordinator::RELOAD_PAUSE;
use crate::replica::ReplicaManager;
use crate::util::clock::Clock;
use crate::util::task::{self, Group};

/// Requests that wait for a shard; senders beyond wait for room.
pub(super) const MAILBOX_CAPACITY: usize = 256;

/// Requests that are applied in one turn, so that a full mailbox never starves timers.
const MAILBOX_BATCH: usize = 64;

/// Writes that have ended and wait for their turn.
const DONE_CAPACITY: usize = 64;

/// A batch of the log is not made longer than this by one more record, in bytes. Kafka writes batches of one.
const BATCH_BYTES_MAX: usize = 16 << 10;

/// One request to a shard.
#[derive(Debug)]
pub(super) enum Message {
    InitProducerId(InitProducerId, oneshot::Sender<Answer>),
    AddPartitions {
        transactional_id: Arc<str>,
        producer: ProducerIdAndEpoch,
        partitions: BTreeSet<TopicPartition>,
        reply: oneshot::Sender<Answer>,
    },
    EndTxn {
        transactional_id: Arc<str>,
        producer: ProducerIdAndEpoch,
        outcome: Outcome,
        reply: oneshot::Sender<Answer>,
    },
    Verify {
        transactional_id: Arc<str>,
        producer: ProducerIdAndEpoch,
        partitions: BTreeSet<TopicPartition>,
        reply: oneshot::Sender<Verified>,
    },
    Describe(Arc<str>, oneshot::Sender<Result<Description, ErrorCode>>),
    List(Arc<ListFilter>, oneshot::Sender<Vec<Listing>>),
    MarkersWritten(Report),
}

/// For each partition whether it is in the transaction, or why none is.
pub type Verified = Result<Vec<(TopicPartition, ErrorCode)>, ErrorCode>;

/// How a batch of writes ended.
struct Done {
    writes: Vec<AppendId>,
    code: ErrorCode,
}

/// A way to a shard.
#[derive(Clone, Debug)]
pub(super) struct ShardHandle {
    pub term: Term,
    pub mailbox: mpsc::Sender<Message>,
    pub is_loaded: Arc<AtomicBool>,
    /// Ends the shard.
    pub stop: CancellationToken,
}

/// What a shard works with.
pub(super) struct Parts {
    pub term: Term,
    /// Of `__transaction_state`.
    pub log: TopicPartition,
    pub settings: Settings,
    /// `transaction.state.log.load.buffer.size`.
    pub load_buffer_bytes: u32,
    pub replicas: Arc<ReplicaManager>,
    pub producer_ids: Arc<ProducerIds>,
    pub markers: Arc<MarkerSender>,
    pub group: Group,
    /// On each thread that reads requests.
    pub groups: Arc<[Group]>,
}

struct Shard {
    parts: Parts,
    machine: Machine,
    clock: Clock,
    tickets: BTreeMap<Ticket, oneshot::Sender<Answer>>,
    next_ticket: u64,
    done: mpsc::Sender<Done>,
}

/// Starts the actor of a term. It loads first.
pub(super) fn start(parts: Parts) -> (ShardHandle, JoinHandle<Option<()>>) {
    let (sender, mailbox) = mpsc::channel(MAILBOX_CAPACITY);
    let group = parts.group.clone();
    let handle = ShardHandle {
        term: parts.term,
        mailbox: sender,
        is_loaded: Arc::default(),
        stop: group.stop_token().child_token(),
    };
    let running = run(parts, handle.stop.clone(), Arc::clone(&handle.is_loaded), mailbox);
    (handle, group.spawn_isolated("transaction-shard", running))
}

async fn run(parts: Parts, stop: CancellationToken, is_loaded: Arc<AtomicBool>, mut mailbox: mpsc::Receiver<Message>) {
    let loading = load(&parts, &stop);
    let Some(loaded) = loading.await else { return };
    let mut effects = Vec::new();
    let clock = Clock::start();
    let machine = Machine::new(parts.settings, loaded, clock.now(), &mut effects);
    let (done, mut finished) = mpsc::channel(DONE_CAPACITY);
    let mut shard = Shard { parts, machine, clock, tickets: BTreeMap::new(), next_ticket: 0, done };
    // Only now, so that markers of loaded transactions find a coordinator that listens.
    is_loaded.store(true, Ordering::Release);
    shard.run_effects(effects).await;
    // Under way from a deadline on until the sockets have had their turn.
    let mut turn = None;
    loop {
        let mut effects = Vec::new();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep_until(clock.at(shard.machine.next_deadline())), if turn.is_none() => {
                let groups = Arc::clone(&shard.parts.groups);
                turn = Some(Box::pin(async move { task::turn(&groups).await }));
                continue;
            }
            () = task::end_of(&mut turn) => {
                turn = None;
                // All that came by now is heard before anything times out; what comes later came too late.
                for _ in 0..mailbox.len() {
                    let Ok(message) = mailbox.try_recv() else { break };
                    shard.apply(message, &mut effects);
                }
                shard.machine.on_tick(clock.now(), &mut effects);
            }
            Some(done) = finished.recv() => {
                shard.on_done(done, &mut effects);
                while let Ok(done) = finished.try_recv() {
                    shard.on_done(done, &mut effects);
                }
            }
            message = mailbox.recv() => {
                let Some(message) = message else { break };
                shard.apply(message, &mut effects);
                for _ in 1..MAILBOX_BATCH {
                    let Ok(message) = mailbox.try_recv() else { break };
                    shard.apply(message, &mut effects);
                }
            }
        }
        shard.run_effects(effects).await;
    }
    let mut effects = Vec::new();
    shard.machine.on_resignation(&mut effects);
    for effect in effects {
        shard.tell(effect);
    }
    info!(log = %shard.parts.log, epoch = shard.parts.term.coordinator_epoch, "transactions unloaded");
}

impl Shard {
    fn ticket(&mut self, reply: oneshot::Sender<Answer>) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.tickets.insert(ticket, reply);
        ticket
    }

    fn apply(&mut self, message: Message, out: &mut Vec<Effect>) {
        let now = self.clock.now();
        match message {
            Message::InitProducerId(asked, reply) => {
                let ticket = self.ticket(reply);
                let ids = &self.parts.producer_ids;
                self.machine.on_init_producer_id(now, ticket, asked, || ids.next(), out);
            }
            Message::AddPartitions { transactional_id, producer, partitions, reply } => {
                let ticket = self.ticket(reply);
                self.machine.on_add_partitions(now, ticket, &transactional_id, producer, partitions, out);
            }
            Message::EndTxn { transactional_id, producer, outcome, reply } => {
                let ticket = self.ticket(reply);
                self.machine.on_end_txn(now, ticket, &transactional_id, producer, outcome, out);
            }
            // Whoever asked may have gone in the meantime.
            Message::Verify { transactional_id, producer, partitions, reply } => {
                drop(reply.send(self.machine.verify(&transactional_id, producer, &partitions)));
            }
            Message::Describe(transactional_id, reply) => {
                drop(reply.send(self.machine.describe(&transactional_id)));
            }
            Message::List(filter, reply) => drop(reply.send(self.machine.list(now, &filter))),
            Message::MarkersWritten(report) => {
                if report.term == self.parts.term {
                    let Report { completion, transactional_id, results, .. } = report;
                    self.machine.on_markers_written(now, &transactional_id, completion, results, out);
                }
            }
        }
    }

    fn on_done(&mut self, done: Done, out: &mut Vec<Effect>) {
        let now = self.clock.now();
        for id in done.writes {
            self.machine.on_append_done(now, id, done.code, out);
        }
    }

    /// Runs effects, and those that they lead to at once.
    async fn run_effects(&mut self, mut effects: Vec<Effect>) {
        while !effects.is_empty() {
            let (mut writes, mut reports) = (Vec::new(), Vec::new());
            for effect in effects {
                match effect {
                    Effect::Append { id, transactional_id, state, timeout_ms } => {
                        writes.push((id, transactional_id, state, timeout_ms));
                    }
                    Effect::SendMarkers(markers) => {
                        reports.extend(self.parts.markers.send(self.parts.term, markers));
                    }
                    other => self.tell(other),
                }
            }
            effects = Vec::new();
            for report in reports {
                self.apply(Message::MarkersWritten(report), &mut effects);
            }
            self.write(writes, &mut effects).await;
        }
    }

    fn tell(&mut self, effect: Effect) {
        match effect {
            Effect::Reply(ticket, answer) => {
                if let Some(reply) = self.tickets.remove(&ticket) {
                    // The client may have hung up.
                    drop(reply.send(answer));
                }
            }
            Effect::Note(note) => tell_operator(&note),
            Effect::Append { .. } | Effect::SendMarkers(_) => {}
        }
    }

    /// Writes records, several in one batch. What is committed at once is told at once; the rest comes as [`Done`].
    async fn write(&mut self, writes: Vec<(AppendId, Arc<str>, Option<Transit>, i32)>, out: &mut Vec<Effect>) {
        let now = self.clock.now();
        let mut waiting = writes.into_iter().peekable();
        while waiting.peek().is_some() {
            let (mut ids, mut entries) = (Vec::new(), Vec::new());
            let (mut bytes, mut timeout_ms) = (0, 0);
            while let Some((_, transactional_id, state, _)) = waiting.peek() {
                let entry = match LogRecord::new(transactional_id, state.as_ref()) {
                    Ok(entry) => entry,
                    Err(why) => {
                        error!(%transactional_id, %why, "a transaction that no record can hold");
                        if let Some((id, ..)) = waiting.next() {
                            self.machine.on_append_done(now, id, ErrorCode::UnknownServerError, out);
                        }
                        continue;
                    }
                };
                if !ids.is_empty() && bytes + entry.size() > BATCH_BYTES_MAX {
                    break;
                }
                bytes += entry.size();
                entries.push(entry);
                if let Some((id, _, _, wait)) = waiting.next() {
                    ids.push(id);
                    timeout_ms = timeout_ms.max(wait);
                }
            }
            let batch = match records::batch(&entries, now.wall) {
                Ok(batch) => batch,
                Err(why) => {
                    error!(log = %self.parts.log, %why, "a batch of transactions that cannot be built");
                    for id in ids {
                        self.machine.on_append_done(now, id, ErrorCode::UnknownServerError, out);
                    }
                    continue;
                }
            };
            let (replicas, log) = (Arc::clone(&self.parts.replicas), self.parts.log.clone());
            let epoch = LeaderEpoch(self.parts.term.coordinator_epoch);
            let timeout = Duration::from_millis(timeout_ms.max(0).unsigned_abs().into());
            let mut appending = Box::pin(async move {
                let appended = match replicas.append_internal_since(&log, &batch, epoch, now.wall).await {
                    Ok(appended) => appended,
                    Err(code) => return code,
                };
                let codes = replicas.wait_committed(&[&appended], timeout).await;
                codes.first().copied().unwrap_or(ErrorCode::None)
            });
            match poll_fn(|context| Poll::Ready(appending.as_mut().poll(context))).await {
                Poll::Ready(code) => self.on_done(Done { writes: ids, code }, out),
                Poll::Pending => {
                    let done = self.done.clone();
                    self.parts.group.spawn_isolated("transaction-append", async move {
                        let code = appending.await;
                        // A shard that has ended has answered everyone.
                        drop(done.send(Done { writes: ids, code }).await);
                    });
                }
            }
        }
    }
}

/// Reads the whole partition, however often that takes. None when the term ends before.
async fn load(parts: &Parts, stop: &CancellationToken) -> Option<BTreeMap<Arc<str>, TransactionMetadata>> {
    let (log, epoch) = (&parts.log, parts.term.coordinator_epoch);
    info!(%log, epoch, "loading transactions");
    let reading = async {
        loop {
            match read(parts).await {
                Ok(loaded) => return loaded,
                Err(code) => warn!(%log, epoch, %code, "transactions are not loaded, trying again"),
            }
            tokio::time::sleep(RELOAD_PAUSE).await;
        }
    };
    let loaded = tokio::select! {
        biased;
        () = stop.cancelled() => return None,
        loaded = reading => loaded,
    };
    info!(%log, epoch, transactional_ids = loaded.len(), "transactions loaded");
    Some(loaded)
}

async fn read(parts: &Parts) -> Result<BTreeMap<Arc<str>, TransactionMetadata>, ErrorCode> {
    let log = &parts.log;
    let mut loader = records::Loader::default();
    let (mut next, end) = parts.replicas.internal_bounds(log)?;
    while next < end {
        let part = parts.replicas.read_internal(log, next, parts.load_buffer_bytes).await?;
        let complain = |unreadable: records::Unreadable| {
            warn!(%log, offset = unreadable.offset, why = unreadable.why, "record of a transaction left out");
        };
        match loader.read(&part, complain) {
            Some(behind) => next = behind,
            None => break,
        }
        tokio::task::yield_now().await;
    }
    Ok(loader.finish())
}

fn tell_operator(note: &Note) {
    match note {
        Note::Initialized { transactional_id, producer } => {
            debug!(%transactional_id, producer_id = producer.producer_id, epoch = producer.epoch, "initialized");
        }
        Note::TimedOut { transactional_id, error } => {
            info!(%transactional_id, %error, "transaction aborted: it was open for too long");
        }
        Note::FenceNotWritten { transactional_id, epoch, error } => {
            warn!(%transactional_id, epoch, %error, "raised epoch not written");
        }
        Note::MarkerRefused { transactional_id, partition, error } => {
            warn!(%transactional_id, %partition, %error, "marker refused");
        }
        Note::CompletionNotWritten { transactional_id, error } => {
            info!(%transactional_id, %error, "end of a transaction not written, trying again");
        }
        Note::NotBuried { transactional_id, error } => {
            warn!(%transactional_id, %error, "old transactional id not removed");
        }
        Note::Broken { transactional_id, why } => {
            error!(%transactional_id, %why, "transition refused: this should not happen");
        }
    }
}
