//! Owns the task of one partition of the offsets topic: it loads the partition, then drives its machine. Kafka: the
//! scheduler and the purgatories of `GroupMetadataManager`.
//!
//! One loop waits: for the end, a deadline, the replicas, requests; and then decides and acts. Before anything expires the
//! sockets have a turn, and what came with it is worked through: after a pause, the heartbeats lie there. Appends go
//! to the log in the order of the machine's decisions; what their replicas have is confirmed in the same order.

use super::commit::{Commit, CommitAnswer, FetchedOffset};
use super::effects::{Append, AppendId, CommitTicket, Effects, JoinTicket, SyncTicket};
use super::join::{Join, JoinAnswer};
use super::loading::{Loaded, Loader};
use super::machine::GroupMachine;
use super::metadata::{GroupDescription, GroupOverview};
use super::sync::{GroupMember, Leave, Sync, SyncAnswer};
use crate::common::{ErrorCode, Millis, Now, Offset, TopicPartition};
use crate::config::GroupConfig;
use crate::coordinator::RELOAD_PAUSE;
use crate::protocol::Str;
use crate::record::{BatchBuilder, BatchOptions, Codec, Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, RecordError};
use crate::replica::{Appended, ReplicaManager};
use crate::util::clock::Clock;
use crate::util::task::{self, Group};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

/// Requests that wait for a shard. More wait on their connections.
pub(super) const MAILBOX_CAPACITY: usize = 1_024;
/// `offsets.commit.required.acks` for all replicas in sync.
const ACKS_ALL: i32 = -1;
/// Requests taken at once, before timers and replicas are looked at again.
const MAILBOX_BATCH: usize = 64;

/// Debug builds look through all groups after each turn, unless there are more.
#[cfg(debug_assertions)]
const CHECKED_GROUPS_MAX: usize = 64;

/// What is asked of a shard. A reply that is dropped means: not here any more.
pub(super) enum Request {
    Join(Box<Join>, oneshot::Sender<JoinAnswer>),
    Sync(Box<Sync>, oneshot::Sender<SyncAnswer>),
    Heartbeat(GroupMember, oneshot::Sender<ErrorCode>),
    Leave {
        group: Str,
        leaving: Vec<Leave>,
        reply: oneshot::Sender<Vec<ErrorCode>>,
    },
    Commit(Box<Commit>, oneshot::Sender<CommitAnswer>),
    FetchOffsets {
        group: Str,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
        reply: oneshot::Sender<Vec<(TopicPartition, FetchedOffset)>>,
    },
    DeleteOffsets {
        group: Str,
        partitions: Vec<TopicPartition>,
        reply: oneshot::Sender<Result<Vec<ErrorCode>, ErrorCode>>,
    },
    MakeGroup(Str),
    DeleteGroup(Str, oneshot::Sender<ErrorCode>),
    Describe(Str, oneshot::Sender<Option<GroupDescription>>),
    List(oneshot::Sender<Vec<GroupOverview>>),
    TransactionMarker {
        producer: i64,
        committed: bool,
        /// Where the marker lies.
        at: Offset,
    },
    PartitionsDeleted(Arc<[TopicPartition]>),
}

/// What a shard is made of.
pub(super) struct ShardParts {
    pub(super) topic_partition: TopicPartition,
    pub(super) replicas: Arc<ReplicaManager>,
    pub(super) config: GroupConfig,
    pub(super) mailbox: mpsc::Receiver<Request>,
    /// True until the groups are there.
    pub(super) loading: Arc<AtomicBool>,
    /// On each thread that reads requests.
    pub(super) tasks: Arc<[Group]>,
    pub(super) stop: CancellationToken,
    /// Ends with the shard that had the partition before: two must not append.
    pub(super) previous: Option<CancellationToken>,
}

/// An append that waits for its replicas.
struct Unconfirmed {
    id: AppendId,
    appended: Appended,
    deadline: Millis,
}

struct Shard {
    topic_partition: TopicPartition,
    replicas: Arc<ReplicaManager>,
    machine: GroupMachine,
    compression: Compression,
    commit_timeout_ms: Millis,
    commit_required_acks: i32,
    clock: Clock,
    next_ticket: u64,
    joins: HashMap<JoinTicket, oneshot::Sender<JoinAnswer>>,
    syncs: HashMap<SyncTicket, oneshot::Sender<SyncAnswer>>,
    commits: HashMap<CommitTicket, oneshot::Sender<CommitAnswer>>,
    /// In the order of the log.
    unconfirmed: VecDeque<Unconfirmed>,
}

pub(super) async fn run(mut parts: ShardParts) {
    if let Some(previous) = &parts.previous {
        previous.cancelled().await;
    }
    let tp = parts.topic_partition.clone();
    let clock = Clock::start();
    let loading = async {
        loop {
            match load(&parts, &clock).await {
                Ok(loaded) => return loaded,
                Err(code) => warn!(partition = %tp, %code, "groups and offsets are not loaded, trying again"),
            }
            tokio::time::sleep(RELOAD_PAUSE).await;
        }
    };
    let loaded = tokio::select! {
        biased;
        () = parts.stop.cancelled() => return,
        loaded = loading => loaded,
    };
    info!(
        partition = %tp, groups = loaded.groups(), offsets = loaded.offsets(), ms = clock.now().ticks,
        "loaded groups and offsets"
    );
    let mut out = Effects::default();
    let machine = GroupMachine::load(parts.config, loaded, clock.now(), &mut out);
    let mut shard = Shard {
        topic_partition: tp,
        replicas: parts.replicas,
        machine,
        // The key has no check of its own in Kafka either: an id that is none fails there at the start.
        compression: Codec::from_id(parts.config.compression_codec as u8).map_or(Compression::None, Compression::of),
        commit_timeout_ms: parts.config.commit_timeout_ms.into(),
        commit_required_acks: parts.config.commit_required_acks,
        clock,
        next_ticket: 0,
        joins: HashMap::new(),
        syncs: HashMap::new(),
        commits: HashMap::new(),
        unconfirmed: VecDeque::new(),
    };
    parts.loading.store(false, Ordering::Release);
    shard.run_effects(out).await;
    shard.serve(&mut parts.mailbox, &parts.tasks, &parts.stop).await;
    shard.end();
}

/// Reads the partition up to its end, a buffer at a time.
async fn load(parts: &ShardParts, clock: &Clock) -> Result<Loaded, ErrorCode> {
    let tp = &parts.topic_partition;
    let (start, _) = parts.replicas.internal_bounds(tp)?;
    let mut loader = Loader::new(tp.clone(), start);
    loop {
        let (_, end) = parts.replicas.internal_bounds(tp)?;
        if loader.next_offset() >= end {
            break;
        }
        let bytes = parts.replicas.read_internal(tp, loader.next_offset(), parts.config.load_buffer_bytes).await?;
        let taking = tokio::task::spawn_blocking(move || {
            let went_on = loader.take(&bytes);
            (loader, went_on)
        });
        let (taken, went_on) = taking.await.map_err(|_| ErrorCode::UnknownServerError)?;
        loader = taken;
        if !went_on {
            break;
        }
    }
    Ok(loader.finish(clock.now()))
}

impl Shard {
    async fn serve(&mut self, mailbox: &mut mpsc::Receiver<Request>, tasks: &[Group], stop: &CancellationToken) {
        let confirmed = self.replicas.watch_internal(&self.topic_partition);
        let mut requests = Vec::with_capacity(MAILBOX_BATCH);
        let timer = tokio::time::sleep_until(self.clock.at(0));
        tokio::pin!(timer);
        // Under way from a deadline on until the sockets have had their turn.
        let mut turn = None;
        loop {
            let next = self.next_deadline();
            let at = self.clock.at(next);
            if timer.deadline() != at {
                timer.as_mut().reset(at);
            }
            let mut is_expiry = false;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = &mut timer, if turn.is_none() => {
                    turn = Some(Box::pin(task::turn(tasks)));
                    continue;
                }
                () = task::end_of(&mut turn) => {
                    turn = None;
                    is_expiry = true;
                    // All that came by now is heard before anything expires; what comes later came too late.
                    let waiting = mailbox.len();
                    if waiting > 0 {
                        mailbox.recv_many(&mut requests, waiting).await;
                    }
                }
                () = confirmed.woken(), if !self.unconfirmed.is_empty() => {}
                taken = mailbox.recv_many(&mut requests, MAILBOX_BATCH) => if taken == 0 { return },
            }
            let mut out = Effects::default();
            self.confirm(self.clock.now(), is_expiry, &mut out);
            self.run_effects(out).await;
            let mut out = Effects::default();
            for request in requests.drain(..) {
                // Commits that came together are answered together: whoever waits on another thread is woken once.
                if !matches!(request, Request::Commit(..)) {
                    self.run_effects(std::mem::take(&mut out)).await;
                }
                self.apply(request, &mut out);
            }
            let now = self.clock.now();
            if is_expiry && now.ticks >= self.machine.next_deadline() {
                self.machine.on_tick(now, &mut out);
            }
            self.run_effects(out).await;
            #[cfg(debug_assertions)]
            if self.machine.groups() < CHECKED_GROUPS_MAX {
                self.machine.check();
            }
        }
    }

    fn next_deadline(&self) -> Millis {
        let timers = self.machine.next_deadline();
        self.unconfirmed.front().map_or(timers, |first| first.deadline.min(timers))
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn apply(&mut self, request: Request, out: &mut Effects) {
        let now = self.clock.now();
        match request {
            Request::Join(join, reply) => {
                let ticket = JoinTicket(self.ticket());
                self.joins.insert(ticket, reply);
                self.machine.on_join(now, ticket, *join, out);
            }
            Request::Sync(sync, reply) => {
                let ticket = SyncTicket(self.ticket());
                self.syncs.insert(ticket, reply);
                self.machine.on_sync(now, ticket, *sync, out);
            }
            Request::Commit(commit, reply) => {
                let ticket = CommitTicket(self.ticket());
                self.commits.insert(ticket, reply);
                self.machine.on_commit(now, ticket, *commit, out);
            }
            Request::Heartbeat(member, reply) => answer(reply, self.machine.on_heartbeat(now, &member, out)),
            Request::Leave { group, leaving, reply } => {
                answer(reply, self.machine.on_leave(now, &group, &leaving, out));
            }
            Request::FetchOffsets { group, partitions, require_stable, reply } => {
                answer(reply, self.machine.fetch_offsets(&group, partitions.as_deref(), require_stable));
            }
            Request::DeleteOffsets { group, partitions, reply } => {
                answer(reply, self.machine.delete_offsets(now, &group, &partitions, out));
            }
            Request::MakeGroup(group) => self.machine.make_group(&group, now),
            Request::DeleteGroup(group, reply) => answer(reply, self.machine.delete_group(now, &group, out)),
            Request::Describe(group, reply) => answer(reply, self.machine.describe(&group)),
            Request::List(reply) => answer(reply, self.machine.list()),
            Request::TransactionMarker { producer, committed, at } => {
                self.machine.on_transaction_marker(producer, committed, at);
            }
            Request::PartitionsDeleted(partitions) => self.machine.on_partitions_deleted(now, &partitions, out),
        }
    }

    /// Does what the machine asks for, and what comes of that.
    async fn run_effects(&mut self, mut out: Effects) {
        while !out.is_empty() {
            let effects = std::mem::take(&mut out);
            for append in effects.appends {
                self.append(append, &mut out).await;
            }
            self.answer(effects.joins, effects.syncs, effects.commits);
        }
    }

    fn answer(
        &mut self,
        joins: Vec<(JoinTicket, JoinAnswer)>,
        syncs: Vec<(SyncTicket, SyncAnswer)>,
        commits: Vec<(CommitTicket, CommitAnswer)>,
    ) {
        for (ticket, said) in joins {
            if let Some(reply) = self.joins.remove(&ticket) {
                answer(reply, said);
            }
        }
        for (ticket, said) in syncs {
            if let Some(reply) = self.syncs.remove(&ticket) {
                answer(reply, said);
            }
        }
        for (ticket, said) in commits {
            if let Some(reply) = self.commits.remove(&ticket) {
                answer(reply, said);
            }
        }
    }

    async fn append(&mut self, append: Append, out: &mut Effects) {
        let now = self.clock.now();
        let guard = append.producer.and_then(|producer| producer.guard);
        let acks_all = append.id.is_some() && self.commit_required_acks == ACKS_ALL;
        let appended = match self.batch(&append, now.wall) {
            // Kafka takes them at its start and refuses every commit.
            Ok(_) if append.id.is_some() && !(ACKS_ALL..=1).contains(&self.commit_required_acks) => {
                Err(ErrorCode::InvalidRequiredAcks)
            }
            Ok(batch) => {
                let replicas = Arc::clone(&self.replicas);
                replicas.append_internal(&self.topic_partition, &batch, guard, acks_all, None, now.wall).await
            }
            Err(error) => {
                warn!(partition = %self.topic_partition, %error, "a batch of groups and offsets");
                Err(ErrorCode::UnknownServerError)
            }
        };
        match (append.id, appended) {
            (Some(id), Ok(appended)) if !acks_all => {
                self.machine.on_appended(now, id, Ok(appended.info.first_offset), out);
            }
            (Some(id), Ok(appended)) => match appended.is_committed() {
                Ok(true) => self.machine.on_appended(now, id, Ok(appended.info.first_offset), out),
                Ok(false) => {
                    let deadline = now.ticks + self.commit_timeout_ms;
                    self.unconfirmed.push_back(Unconfirmed { id, appended, deadline });
                }
                Err(code) => self.machine.on_appended(now, id, Err(code), out),
            },
            (Some(id), Err(code)) => self.machine.on_appended(now, id, Err(code), out),
            // Tombstones: what is lost here is written again at the next look.
            (None, Err(code)) => warn!(partition = %self.topic_partition, %code, "tombstones are not written"),
            (None, Ok(_)) => {}
        }
    }

    fn batch(&self, append: &Append, now: Millis) -> Result<Bytes, RecordError> {
        let producer = append.producer;
        let mut builder = BatchBuilder::new(BatchOptions {
            compression: self.compression,
            producer_id: producer.map_or(NO_PRODUCER_ID, |producer| producer.id),
            producer_epoch: producer.map_or(NO_PRODUCER_EPOCH, |producer| producer.epoch),
            base_sequence: append.base_sequence,
            transactional: producer.is_some(),
            ..BatchOptions::default()
        })?;
        for record in &append.records {
            builder.append(now, Some(&record.key), record.value.as_deref(), &[])?;
        }
        builder.finish()
    }

    /// Reports to the machine the appends that their replicas have, or at an expiry that took too long.
    fn confirm(&mut self, now: Now, is_expiry: bool, out: &mut Effects) {
        while let Some(first) = self.unconfirmed.front() {
            let outcome = match first.appended.is_committed() {
                Ok(true) => Ok(first.appended.info.first_offset),
                Err(code) => Err(code),
                Ok(false) if is_expiry && now.ticks >= first.deadline => Err(ErrorCode::RequestTimedOut),
                Ok(false) => return,
            };
            let id = first.id;
            self.unconfirmed.pop_front();
            self.machine.on_appended(now, id, outcome, out);
        }
    }

    fn end(mut self) {
        let groups = self.machine.groups();
        let mut out = Effects::default();
        self.machine.unload(&mut out);
        self.answer(out.joins, out.syncs, out.commits);
        info!(partition = %self.topic_partition, groups, "unloaded groups and offsets");
    }
}

/// The connection may be gone: nobody is left to tell.
fn answer<T>(reply: oneshot::Sender<T>, said: T) {
    if reply.send(said).is_err() {
        debug!("nobody waits for the answer");
    }
}
