//! Owns the task of one partition in one term: it loads the log, then waits in one place and takes turns. Kafka 4:
//! `CoordinatorContext`.
//!
//! A turn is synchronous: what has ended is reported and what came is run, and the effects are run. Its appends go to the log in
//! the order of the machine's decisions, and are confirmed in the same order.

use super::service::RELOAD_PAUSE;
use super::{Append, AppendId, Machine, Operation, StoreError, Term};
use crate::common::{LeaderEpoch, Millis, Now, Offset, TopicPartition};
use crate::record::{BatchBuilder, BatchOptions, Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, RecordError};
use crate::replica::{AppendError, Appended, InternalReadError, ReplicaManager};
use crate::util::clock::Clock;
use crate::util::task::{self, Group};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Operations of one turn, so that a full mailbox never starves timers.
const MAILBOX_BATCH: usize = 64;

/// What a shard lets in.
#[derive(Debug, Default)]
pub(super) struct Door {
    is_loaded: AtomicBool,
    listens: Mutex<bool>,
}

impl Door {
    pub(super) fn is_loaded(&self) -> bool {
        self.is_loaded.load(Ordering::Acquire)
    }

    /// Whether the shard wants to hear of what is written to its log from now on. If not, it has still to look where the
    /// log ends: the lock puts that look behind every write that is reported before.
    pub(super) fn listens(&self) -> bool {
        *self.listens.lock()
    }
}

pub(super) struct ShardParts<M: Machine> {
    pub term: Term,
    pub log: TopicPartition,
    pub machines: Arc<M::Parts>,
    pub load_buffer_bytes: u32,
    pub replicas: Arc<ReplicaManager>,
    pub tasks: Arc<[Group]>,
    pub mailbox: mpsc::Receiver<Operation<M>>,
    pub door: Arc<Door>,
    /// Ends the shard.
    pub stop: CancellationToken,
}

struct Shard<M: Machine> {
    machine: M,
    log: TopicPartition,
    epoch: LeaderEpoch,
    replicas: Arc<ReplicaManager>,
    clock: Clock,
    /// In the order of the log.
    writes: VecDeque<Write>,
}

type Appending = Pin<Box<dyn Future<Output = Result<Appended, AppendError>> + Send>>;

/// A batch that is on its way.
struct Write {
    /// Who hears how it ends, each with the place of its first record in the batch.
    ids: Vec<(AppendId, Offset)>,
    progress: Progress,
    acks_all: bool,
    /// Ticks.
    deadline: Millis,
}

enum Progress {
    /// In the log, and not yet on a disk where `flush.messages` asks for that.
    Flushing(Appending),
    /// The replicas may not have it.
    InLog(Appended),
}

pub(super) async fn run<M: Machine>(mut parts: ShardParts<M>) {
    let clock = Clock::start();
    let stop = parts.stop.clone();
    let (log, epoch) = (parts.log.clone(), parts.term.epoch());
    info!(coordinator = M::NAME, %log, %epoch, "loading");
    let Some(loader) = stop.run_until_cancelled(load(&parts)).await else { return };
    info!(coordinator = M::NAME, %log, %epoch, ms = clock.ticks(), "loaded");
    let mut effects = Vec::new();
    let machine = M::load(&parts.machines, parts.term, loader, clock.now(), &mut effects);
    let replicas = Arc::clone(&parts.replicas);
    let mut shard = Shard { machine, log, epoch, replicas, clock, writes: VecDeque::new() };
    // Only now: work that a machine begins with comes back to a shard that listens.
    parts.door.is_loaded.store(true, Ordering::Release);
    shard.run_effects(effects);
    shard.serve(&mut parts).await;
    shard.end().await;
}

/// Reads the whole partition, however often that takes.
async fn load<M: Machine>(parts: &ShardParts<M>) -> M::Loader {
    loop {
        match read(parts).await {
            Ok(loader) => return loader,
            Err(error) => warn!(coordinator = M::NAME, log = %parts.log, %error, "not loaded, trying again"),
        }
        tokio::time::sleep(RELOAD_PAUSE).await;
    }
}

async fn read<M: Machine>(parts: &ShardParts<M>) -> Result<M::Loader, InternalReadError> {
    *parts.door.listens.lock() = false;
    let (start, _) = parts.replicas.internal_bounds(&parts.log)?;
    let loader = M::loader(&parts.log, start);
    let (loader, next) = read_to_end(parts, loader, start).await?;
    *parts.door.listens.lock() = true;
    // What was written while the shard did not listen.
    let (loader, _) = read_to_end(parts, loader, next).await?;
    Ok(loader)
}

async fn read_to_end<M: Machine>(
    parts: &ShardParts<M>,
    mut loader: M::Loader,
    mut next: Offset,
) -> Result<(M::Loader, Offset), InternalReadError> {
    while next < parts.replicas.internal_bounds(&parts.log)?.1 {
        let batches = parts.replicas.read_internal(&parts.log, next, parts.load_buffer_bytes).await?;
        let log = parts.log.clone();
        let taking = task::spawn_blocking("read-coordinator-records", move || {
            let behind = M::read(&mut loader, &log, &batches);
            (loader, behind)
        });
        let (taken, behind) = taking.await.map_err(io::Error::from)?;
        loader = taken;
        match behind {
            Some(behind) if behind > next => next = behind,
            _ => break,
        }
    }
    Ok((loader, next))
}

impl<M: Machine> Shard<M> {
    async fn serve(&mut self, parts: &mut ShardParts<M>) {
        let ShardParts { mailbox, tasks, stop, .. } = parts;
        let confirmed = self.replicas.watch_internal(&self.log);
        let mut operations = Vec::with_capacity(MAILBOX_BATCH);
        let timer = tokio::time::sleep_until(self.clock.at(0));
        tokio::pin!(timer);
        // Under way from a deadline on until the sockets have had their turn.
        let mut turn = None;
        loop {
            let at = self.clock.at(self.next_deadline());
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
                        mailbox.recv_many(&mut operations, waiting).await;
                    }
                }
                flushed = first_flushed(&mut self.writes) => self.on_flushed(flushed),
                () = confirmed.woken(), if !self.writes.is_empty() => {}
                taken = mailbox.recv_many(&mut operations, MAILBOX_BATCH) => if taken == 0 { return },
            }
            self.take_turn(&mut operations, is_expiry);
        }
    }

    fn next_deadline(&self) -> Millis {
        let writes = self.writes.iter().map(|write| write.deadline);
        writes.fold(self.machine.next_deadline(), Millis::min)
    }

    fn take_turn(&mut self, operations: &mut Vec<Operation<M>>, is_expiry: bool) {
        let now = self.clock.now();
        let mut out = Vec::new();
        self.confirm(now, is_expiry, &mut out);
        for operation in operations.drain(..) {
            operation(&mut self.machine, now, &mut out);
        }
        if is_expiry {
            self.machine.on_tick(now, &mut out);
        }
        self.run_effects(out);
        if cfg!(debug_assertions) {
            self.machine.check();
        }
    }

    /// Runs effects, and those that they lead to at once. What came together is written together, and then answered
    /// together: callers on another thread are woken once.
    fn run_effects(&mut self, mut effects: Vec<M::Effect>) {
        while !effects.is_empty() {
            let now = self.clock.now();
            let (mut appends, mut next) = (Vec::new(), Vec::new());
            for effect in effects {
                appends.extend(self.machine.perform(now, effect, &mut next));
            }
            self.write(now, appends, &mut next);
            effects = next;
        }
    }

    // ---- writes

    fn write(&mut self, now: Now, appends: Vec<Append>, out: &mut Vec<M::Effect>) {
        let mut waiting = appends.into_iter().peekable();
        while let Some(first) = waiting.next() {
            let mut bytes = first.bytes();
            let mut rest = Vec::new();
            while let Some(next) =
                waiting.next_if(|next| next.may_share_with(&first) && bytes + next.bytes() <= M::BATCH_BYTES_MAX)
            {
                bytes += next.bytes();
                rest.push(next);
            }
            self.append(now, &first, &rest, out);
        }
        self.confirm(now, false, out);
    }

    /// Appends a batch.
    fn append(&mut self, now: Now, first: &Append, rest: &[Append], out: &mut Vec<M::Effect>) {
        let (mut ids, mut place) = (Vec::with_capacity(1 + rest.len()), 0);
        for append in std::iter::once(first).chain(rest) {
            ids.extend(append.id.map(|id| (id, place)));
            place += append.records.len() as Offset;
        }
        let batch = match batch(first, rest, self.machine.compression(), now.wall) {
            Ok(batch) => batch,
            Err(error) => {
                warn!(coordinator = M::NAME, log = %self.log, %error, "batch cannot be built");
                return self.on_ended(now, ids, Err(StoreError::Internal), out);
            }
        };
        let (acks_all, guard) = (first.acks_all, first.producer.and_then(|producer| producer.guard));
        let (replicas, log, epoch) = (Arc::clone(&self.replicas), self.log.clone(), self.epoch);
        let mut appending: Appending =
            Box::pin(
                async move { replicas.append_internal(&log, &batch, guard, acks_all, Some(epoch), now.wall).await },
            );
        // The first look appends; only a flush that is due then takes longer, and goes on by itself.
        let progress = match appending.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(appended)) => Progress::InLog(appended),
            Poll::Ready(Err(error)) => return self.on_ended(now, ids, Err(error.into()), out),
            Poll::Pending => Progress::Flushing(appending),
        };
        let deadline = now.ticks.saturating_add(first.timeout_ms);
        self.writes.push_back(Write { ids, progress, acks_all, deadline });
    }

    /// The oldest write is flushed.
    fn on_flushed(&mut self, flushed: Result<Appended, AppendError>) {
        match flushed {
            Ok(appended) => {
                if let Some(first) = self.writes.front_mut() {
                    first.progress = Progress::InLog(appended);
                }
            }
            Err(error) => {
                let ids = self.writes.pop_front().map_or_else(Vec::new, |first| first.ids);
                let mut out = Vec::new();
                self.on_ended(self.clock.now(), ids, Err(error.into()), &mut out);
                self.run_effects(out);
            }
        }
    }

    /// Reports to the machine the writes that their replicas have, or, at an expiry, that took too long.
    fn confirm(&mut self, now: Now, is_expiry: bool, out: &mut Vec<M::Effect>) {
        while let Some(Write { progress: Progress::InLog(appended), acks_all, .. }) = self.writes.front() {
            let stored = match appended.is_committed() {
                Ok(false) if *acks_all => break,
                Err(error) if *acks_all => Err(error.into()),
                _ => Ok(appended.info.first_offset),
            };
            let ids = self.writes.pop_front().map_or_else(Vec::new, |first| first.ids);
            self.on_ended(now, ids, stored, out);
        }
        if !is_expiry {
            return;
        }
        let mut late = Vec::new();
        self.writes.retain_mut(|write| {
            if write.deadline > now.ticks {
                return true;
            }
            late.append(&mut write.ids);
            write.deadline = Millis::MAX;
            // Its flush has to come to its end.
            matches!(write.progress, Progress::Flushing(_))
        });
        if !late.is_empty() {
            self.on_ended(now, late, Err(StoreError::TimedOut), out);
        }
    }

    fn on_ended(
        &mut self,
        now: Now,
        ids: Vec<(AppendId, Offset)>,
        stored: Result<Offset, StoreError>,
        out: &mut Vec<M::Effect>,
    ) {
        if let (true, Err(error)) = (ids.is_empty(), stored) {
            warn!(coordinator = M::NAME, log = %self.log, %error, "records are not written");
        }
        for (id, place) in ids {
            self.machine.on_appended(now, id, stored.map(|base| base + place), out);
        }
    }

    async fn end(mut self) {
        let mut out = Vec::new();
        self.machine.unload(&mut out);
        while !out.is_empty() {
            let now = self.clock.now();
            for effect in std::mem::take(&mut out) {
                // What is to be written is left to the next coordinator.
                drop(self.machine.perform(now, effect, &mut out));
            }
        }
        // The next shard begins behind them.
        for write in self.writes {
            if let Progress::Flushing(appending) = write.progress {
                drop(appending.await);
            }
        }
        info!(coordinator = M::NAME, log = %self.log, epoch = %self.epoch, "unloaded");
    }
}

/// Ends when the oldest write is flushed; never while none is to be. Cancel safe.
async fn first_flushed(writes: &mut VecDeque<Write>) -> Result<Appended, AppendError> {
    match writes.front_mut().map(|write| &mut write.progress) {
        Some(Progress::Flushing(appending)) => appending.await,
        _ => pending().await,
    }
}

fn batch(first: &Append, rest: &[Append], compression: Compression, now: Millis) -> Result<Bytes, RecordError> {
    let producer = first.producer;
    let mut builder = BatchBuilder::new(BatchOptions {
        compression,
        producer_id: producer.map_or(NO_PRODUCER_ID, |producer| producer.id),
        producer_epoch: producer.map_or(NO_PRODUCER_EPOCH, |producer| producer.epoch),
        base_sequence: first.base_sequence,
        transactional: producer.is_some(),
        ..BatchOptions::default()
    })?;
    for record in std::iter::once(first).chain(rest).flat_map(|append| &append.records) {
        builder.append(now, Some(&record.key), record.value.as_deref(), &[])?;
    }
    builder.finish()
}
