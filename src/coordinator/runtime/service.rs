//! Owns the shards of one coordinator as leadership comes and goes, and the way of a request into its shard. Kafka 4:
//! `CoordinatorRuntime.scheduleLoadOperation`, `scheduleUnloadOperation`, `scheduleWriteOperation`.

use super::leadership::{Election, Epochs};
use super::shard::{self, Door, ShardParts};
use super::{Machine, NotServing, Operation, Term, answer, group_of};
use crate::common::{LeaderEpoch, Now, TopicPartition};
use crate::replica::ReplicaManager;
use crate::util::task::{Group, StillRunning, shut_down_all};
use crate::util::unless_gone;
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// Requests that wait for a shard. More wait on their connections.
pub(super) const MAILBOX_CAPACITY: usize = 1_024;

/// Before a partition whose log was not read, or whose shard panicked, is loaded again. Kafka goes on with what it has
/// read, until the next election.
pub(super) const RELOAD_PAUSE: Duration = Duration::from_secs(1);

/// What the frame of one coordinator is made of.
pub(in crate::coordinator) struct RuntimeParts<M: Machine> {
    /// Its partitions are the shards' logs.
    pub topic: &'static str,
    pub machines: Arc<M::Parts>,
    /// How many bytes a shard reads at once while it loads.
    pub load_buffer_bytes: u32,
    pub replicas: Arc<ReplicaManager>,
    /// Shards are spread over these, one for each thread that reads requests.
    pub tasks: Arc<[Group]>,
    pub shards: Arc<Shards<M>>,
}

/// See the module's page.
pub(in crate::coordinator) struct Runtime<M: Machine> {
    parts: RuntimeParts<M>,
}

/// The shards that this broker has now, by partition.
pub(in crate::coordinator) struct Shards<M: Machine>(RwLock<Table<M>>);

struct Table<M: Machine> {
    epochs: Epochs,
    running: BTreeMap<i32, Arc<Handle<M>>>,
    /// Each is cancelled when the last shard of its partition has ended.
    ended: BTreeMap<i32, CancellationToken>,
    starts: u64,
}

type Operations<M> = mpsc::Receiver<Operation<M>>;

/// A way to a shard.
struct Handle<M: Machine> {
    term: Term,
    mailbox: mpsc::Sender<Operation<M>>,
    door: Arc<Door>,
    stop: CancellationToken,
}

impl<M: Machine> Default for Shards<M> {
    fn default() -> Self {
        let table = Table { epochs: Epochs::default(), running: BTreeMap::new(), ended: BTreeMap::new(), starts: 0 };
        Self(RwLock::new(table))
    }
}

impl<M: Machine> Shards<M> {
    fn get(&self, partition: i32) -> Option<Arc<Handle<M>>> {
        self.0.read().running.get(&partition).cloned()
    }

    fn all(&self) -> Vec<Arc<Handle<M>>> {
        self.0.read().running.values().cloned().collect()
    }

    /// Reports to the shard of a term what became of its work. A term that has ended needs no report: its successor reads
    /// from the log what is left to do.
    pub(in crate::coordinator) async fn report(
        &self,
        term: Term,
        operation: impl FnOnce(&mut M, Now, &mut Vec<M::Effect>) + Send + 'static,
    ) {
        if let Some(shard) = self.get(term.partition).filter(|shard| shard.term == term) {
            unless_gone(shard.mailbox.send(Box::new(operation)).await);
        }
    }
}

impl<M: Machine> Table<M> {
    /// A mailbox for a shard that is about to be started, under the next term.
    fn open(&mut self, partition: i32, epoch: LeaderEpoch, stop: CancellationToken) -> (Arc<Handle<M>>, Operations<M>) {
        self.starts += 1;
        let term = Term { partition, coordinator_epoch: epoch.0, start: self.starts };
        let (mailbox, requests) = mpsc::channel(MAILBOX_CAPACITY);
        let handle = Arc::new(Handle { term, mailbox, door: Arc::default(), stop });
        self.running.insert(partition, Arc::clone(&handle));
        (handle, requests)
    }
}

impl<M: Machine> Runtime<M> {
    pub(in crate::coordinator) fn new(parts: RuntimeParts<M>) -> Arc<Self> {
        Arc::new(Self { parts })
    }

    // ---- leadership

    /// This broker leads a partition now. Its shard loads in the background.
    pub(in crate::coordinator) fn on_election(self: &Arc<Self>, partition: i32, epoch: LeaderEpoch) {
        let mut table = self.parts.shards.0.write();
        let running = table.running.get(&partition).map(|shard| shard.term.epoch());
        match table.epochs.on_election(partition, epoch, running) {
            Election::Late => info!(coordinator = M::NAME, partition, %epoch, "stale election ignored"),
            Election::Known => {}
            Election::Start => {
                info!(coordinator = M::NAME, partition, %epoch, "elected");
                if let Some(before) = table.running.remove(&partition) {
                    before.stop.cancel();
                }
                self.start(&mut table, partition, epoch);
            }
        }
    }

    /// Another broker leads a partition now; without an epoch, the partition is deleted.
    pub(in crate::coordinator) fn on_resignation(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        let mut table = self.parts.shards.0.write();
        if !table.epochs.on_resignation(partition, epoch) {
            info!(coordinator = M::NAME, partition, ?epoch, "stale resignation ignored");
            return;
        }
        if let Some(shard) = table.running.remove(&partition) {
            info!(coordinator = M::NAME, partition, "resigned");
            shard.stop.cancel();
        }
    }

    fn start(self: &Arc<Self>, table: &mut Table<M>, partition: i32, epoch: LeaderEpoch) {
        let group = group_of(&self.parts.tasks, partition).clone();
        let (shard, requests) = table.open(partition, epoch, group.stop_token().child_token());
        let ended = CancellationToken::new();
        let previous = table.ended.insert(partition, ended.clone());
        let me = Arc::clone(self);
        group.clone().spawn("coordinator-supervisor", async move {
            let _ended = ended.drop_guard();
            // Also by a shard that is stopped before it has begun: who comes next waits for this one only.
            if let Some(previous) = previous {
                previous.cancelled().await;
            }
            me.supervise(group, shard, requests).await;
        });
    }

    /// Waits for a shard. Its panic costs its own state, until it is loaded again.
    async fn supervise(&self, group: Group, mut shard: Arc<Handle<M>>, mut requests: Operations<M>) {
        loop {
            let running = shard::run::<M>(ShardParts {
                term: shard.term,
                log: TopicPartition::new(self.parts.topic, shard.term.partition),
                machines: Arc::clone(&self.parts.machines),
                load_buffer_bytes: self.parts.load_buffer_bytes,
                replicas: Arc::clone(&self.parts.replicas),
                tasks: Arc::clone(&self.parts.tasks),
                mailbox: requests,
                door: Arc::clone(&shard.door),
                stop: shard.stop.clone(),
            });
            let Ok(None) = group.spawn_isolated(M::NAME, running).await else { return };
            let Some(next) = self.reopen(&shard) else { return };
            (shard, requests) = next;
            tokio::select! {
                biased;
                () = shard.stop.cancelled() => return,
                () = tokio::time::sleep(RELOAD_PAUSE) => {}
            }
        }
    }

    /// The place of a shard that panicked, for the next one; `None` when it is not ours any more.
    fn reopen(&self, dead: &Handle<M>) -> Option<(Arc<Handle<M>>, Operations<M>)> {
        let mut table = self.parts.shards.0.write();
        let partition = dead.term.partition;
        table.running.get(&partition).filter(|shard| shard.term == dead.term)?;
        Some(table.open(partition, dead.term.epoch(), dead.stop.clone()))
    }

    /// Waits for every shard to end, up to `within`: all who waited have their answers then.
    pub(in crate::coordinator) async fn shut_down(&self, within: Duration) -> Result<(), StillRunning> {
        shut_down_all(&*self.parts.tasks, within).await
    }

    // ---- requests

    fn shard(&self, partition: i32) -> Result<Arc<Handle<M>>, NotServing> {
        let shard = self.parts.shards.get(partition).ok_or(NotServing::Elsewhere)?;
        if shard.door.is_loaded() { Ok(shard) } else { Err(NotServing::Loading) }
    }

    /// Whether the shard of a partition is here, and loaded.
    pub(in crate::coordinator) fn check(&self, partition: i32) -> Result<(), NotServing> {
        self.shard(partition).map(drop)
    }

    /// Asks a shard, once there is room in its mailbox, what it answers in time. Several may be asked before the first
    /// answer is waited for.
    pub(in crate::coordinator) async fn put<T: Send + 'static>(
        &self,
        partition: i32,
        question: impl FnOnce(&mut M, Now, oneshot::Sender<T>, &mut Vec<M::Effect>) + Send + 'static,
    ) -> Asked<T> {
        let shard = match self.shard(partition) {
            Ok(shard) => shard,
            Err(error) => return Asked(Err(error)),
        };
        let (reply, answer) = oneshot::channel();
        let sent = shard.mailbox.send(Box::new(move |machine, now, out| question(machine, now, reply, out))).await;
        Asked(sent.map(|()| answer).map_err(|_| NotServing::Elsewhere))
    }

    /// Asks a shard what it answers at once.
    pub(in crate::coordinator) async fn ask<T: Send + 'static>(
        &self,
        partition: i32,
        question: impl FnOnce(&mut M, Now, &mut Vec<M::Effect>) -> T + Send + 'static,
    ) -> Asked<T> {
        self.put(partition, |machine, now, reply, out| answer(reply, question(machine, now, out))).await
    }

    /// Reports something that stands in the log of a partition. A shard that loads reads it there: its mailbox does not
    /// fill, however long that takes.
    pub(in crate::coordinator) async fn tell_written(
        &self,
        partition: i32,
        operation: impl FnOnce(&mut M, Now, &mut Vec<M::Effect>) + Send + 'static,
    ) {
        if let Some(shard) = self.parts.shards.get(partition).filter(|shard| shard.door.listens()) {
            unless_gone(shard.mailbox.send(Box::new(operation)).await);
        }
    }

    /// Reports something to every shard, also to those that load, as far as their mailboxes have room: how long a log is
    /// read, or read again, is not for the caller to wait for. Kafka reports nothing to what loads.
    pub(in crate::coordinator) async fn tell_all(
        &self,
        operation: impl FnOnce(&mut M, Now, &mut Vec<M::Effect>) + Clone + Send + 'static,
    ) {
        for shard in self.parts.shards.all() {
            let operation = Box::new(operation.clone());
            if shard.door.is_loaded() {
                // One that has ended has nothing left to change.
                unless_gone(shard.mailbox.send(operation).await);
            } else if shard.mailbox.try_send(operation).is_err() {
                debug!(coordinator = M::NAME, partition = shard.term.partition, "not reported to a shard that loads");
            }
        }
    }

    /// Asks every shard that is loaded. True when there are others.
    pub(in crate::coordinator) async fn ask_all<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut M, Now, &mut Vec<M::Effect>) -> T + Clone + Send + 'static,
    ) -> (Vec<T>, bool) {
        let (mut answers, mut is_loading) = (Vec::new(), false);
        for shard in self.parts.shards.all() {
            match self.ask(shard.term.partition, question.clone()).await.answer().await {
                Ok(said) => answers.push(said),
                // One that has moved on since answers at its new place.
                Err(error) => is_loading |= error == NotServing::Loading,
            }
        }
        (answers, is_loading)
    }
}

/// A question that a shard has.
#[must_use]
pub struct Asked<T>(Result<oneshot::Receiver<T>, NotServing>);

impl<T> Asked<T> {
    pub(in crate::coordinator) fn refused(error: NotServing) -> Self {
        Self(Err(error))
    }

    pub(in crate::coordinator) async fn answer(self) -> Result<T, NotServing> {
        // A shard that ends answers no one: by then it is not the coordinator any more.
        self.0?.await.map_err(|_| NotServing::Elsewhere)
    }
}
