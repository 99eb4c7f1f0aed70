//! Owns the decisions of one partition of the transaction coordinator, in one term of its leadership: who gets which
//! producer epoch, what is in a transaction, how it ends, which markers are due. Kafka: `TransactionCoordinator`,
//! `TransactionStateManager`, `TransactionMarkerRequestCompletionHandler`. Pure.
//!
//! ```text
//! request ---> prepare a transition ---> Effect::Append ---> on_append_done ---> complete it ---> Effect::Reply
//!                                                             | it ended a transaction
//!                                                             +---> Effect::SendMarkers ---> on_markers_written
//!                                                                   all written: one more append, CompleteX
//! ```
//!
//! Every ticket is answered once: by a reply, or by the end of the machine, which means NOT_COORDINATOR. Requests only ask
//! about ids that hash to this partition; the front sees to that. Absent on purpose: authorization and the existence of
//! topics, which the handlers check.

use super::effects::{
    Answer, CompletionId, Description, Effect, InitProducerId, ListFilter, Listing, MarkerResult, Markers, Note,
    Settings, Ticket,
};
use super::state::{Outcome, ProducerIdAndEpoch, TransactionMetadata, TransactionState, Transit};
use crate::common::ids::{Millis, TopicPartition};
use crate::common::{ErrorCode, Now};
use crate::coordinator::codes;
use crate::coordinator::runtime::{AppendId, StoreError};
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Pause before markers that a partition refused are sent again, and before a completion that the log refused is written
/// again. Kafka has none, and spins.
pub const RETRY_MS: Millis = 100;

/// Ids that one sweep buries; the next turn goes on.
const EXPIRED_AT_ONCE_MAX: usize = 1_000;

/// The metadata are the log's words, with times of the wall clock; how long ago something was is counted in ticks.
#[derive(Clone, Debug)]
struct Transaction {
    metadata: TransactionMetadata,
    completion: Option<Completion>,
    /// Ticks when the transaction began that is open or was the last one.
    began: Millis,
    /// Ticks of the last transition.
    updated: Millis,
}

impl Transaction {
    fn new(metadata: TransactionMetadata, now: Now) -> Self {
        Self { metadata, completion: None, began: now.ticks, updated: now.ticks }
    }

    /// From the log: what is left of a time-out is never more than the whole of it, however the wall clock was set.
    fn loaded(metadata: TransactionMetadata, settings: &Settings, now: Now) -> Self {
        let began = now.ticks_at(metadata.started, metadata.timeout_ms.into());
        let updated = now.ticks_at(metadata.updated, settings.id_expiration_ms);
        Self { metadata, completion: None, began, updated }
    }

    /// `prepared`: ticks when the transition was decided.
    fn complete(&mut self, transit: Transit, prepared: Millis) {
        if transit.state == TransactionState::Ongoing && !self.metadata.is_ongoing() {
            self.began = prepared;
        }
        self.updated = prepared;
        self.metadata.complete(transit);
    }
}

/// The end of a transaction, decided and in the log. Kafka: `PendingCompleteTxn`.
#[derive(Clone, Debug)]
struct Completion {
    id: CompletionId,
    outcome: Outcome,
    transit: Transit,
    /// Ticks when the end was decided.
    prepared: Millis,
    /// It is being written, or has been given up: nothing more is to be done for it here.
    is_settled: bool,
}

/// A write that is under way, and what follows it.
#[derive(Clone, Debug)]
struct Append {
    transactional_id: Arc<str>,
    /// Ticks.
    prepared: Millis,
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    TellProducer(Ticket, Transit),
    TellCode(Ticket, Transit),
    SendMarkers { reply: EndReply, outcome: Outcome, transit: Transit, is_fence: bool },
    Completed,
    Buried,
}

/// Who hears of the end of a transaction.
#[derive(Clone, Copy, Debug)]
enum EndReply {
    Client(Ticket),
    /// Another producer with the same id: it tries again once the old transaction is gone.
    NextProducer(Ticket),
    /// The clock ended it.
    Nobody,
}

/// What was put off.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Later {
    SendMarkers(Arc<str>, BTreeSet<TopicPartition>),
    WriteCompletion(Arc<str>),
}

/// One partition of the transaction coordinator; see the module's page.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    transactions: BTreeMap<Arc<str>, Transaction>,
    appends: BTreeMap<AppendId, Append>,
    next_append: u64,
    next_completion: u64,
    later: BTreeSet<(Millis, Later)>,
    next_abort_sweep: Millis,
    next_expiry_sweep: Millis,
}

impl Machine {
    /// Takes over what the log says. Transactions whose end is in the log get their markers.
    pub fn new(
        settings: Settings,
        loaded: BTreeMap<Arc<str>, TransactionMetadata>,
        now: Now,
        out: &mut Vec<Effect>,
    ) -> Self {
        let transactions =
            loaded.into_iter().map(|(id, metadata)| (id, Transaction::loaded(metadata, &settings, now))).collect();
        let mut machine = Self {
            settings,
            transactions,
            appends: BTreeMap::new(),
            next_append: 0,
            next_completion: 0,
            later: BTreeSet::new(),
            next_abort_sweep: now.ticks + settings.abort_interval_ms,
            next_expiry_sweep: now.ticks + settings.expiry_interval_ms,
        };
        let ended: Vec<(Arc<str>, Outcome)> = machine
            .transactions
            .iter()
            .filter_map(|(id, txn)| Some((Arc::clone(id), txn.metadata.state.markers()?)))
            .collect();
        for (id, outcome) in ended {
            machine.begin_completion(now, &id, outcome, out);
        }
        machine
    }

    /// When [`Self::on_tick`] is due, in ticks.
    pub fn next_deadline(&self) -> Millis {
        let later = self.later.first().map_or(Millis::MAX, |(at, _)| *at);
        later.min(self.next_abort_sweep).min(self.next_expiry_sweep)
    }

    pub fn len(&self) -> usize {
        self.transactions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.transactions.is_empty()
    }

    // ---- requests

    /// `fresh_id` is asked where a new producer id is needed. Kafka: `handleInitProducerId`.
    pub fn on_init_producer_id(
        &mut self,
        now: Now,
        ticket: Ticket,
        asked: InitProducerId,
        fresh_id: impl Fn() -> Option<i64>,
        out: &mut Vec<Effect>,
    ) {
        let refuse = |code| Effect::Reply(ticket, Answer::Producer(Err(code)));
        if let Err(code) = self.settings.check_new_producer(&asked.transactional_id, asked.timeout_ms) {
            return out.push(refuse(code));
        }
        let id = Arc::clone(&asked.transactional_id);
        let Transaction { metadata, .. } = match self.transactions.entry(Arc::clone(&id)) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => match fresh_id() {
                None => return out.push(refuse(ErrorCode::CoordinatorLoadInProgress)),
                Some(producer_id) => {
                    let metadata = TransactionMetadata::new(producer_id, asked.timeout_ms, now.wall);
                    vacant.insert(Transaction::new(metadata, now))
                }
            },
        };
        if metadata.pending.is_some() || metadata.state.markers().is_some() {
            return out.push(refuse(ErrorCode::ConcurrentTransactions));
        }
        if asked.expected.is_some_and(|expected| !metadata.knows(expected)) {
            return out.push(refuse(ErrorCode::ProducerFenced));
        }
        if metadata.is_ongoing() {
            // The caller tries again; by then the old transaction is aborted, and the epoch is raised once more.
            return self.end(now, EndReply::NextProducer(ticket), &id, Outcome::Abort, true, out);
        }
        let is_exhausted = TransactionMetadata::is_exhausted(metadata.producer.epoch);
        let is_current = asked.expected.is_none_or(|expected| expected.epoch == metadata.producer.epoch);
        let prepared = if is_exhausted && is_current {
            match fresh_id() {
                None => return out.push(refuse(ErrorCode::CoordinatorLoadInProgress)),
                Some(fresh) => metadata
                    .prepare_new_producer_id(fresh, asked.timeout_ms, asked.expected.is_some(), now.wall)
                    .map(Some),
            }
        } else {
            metadata.prepare_new_epoch(asked.timeout_ms, asked.expected.map(|expected| expected.epoch), now.wall)
        };
        match prepared {
            Ok(Some(transit)) => self.append(now, id, Then::TellProducer(ticket, transit), out),
            Ok(None) => out.push(refuse(ErrorCode::ProducerFenced)),
            Err(why) => {
                out.push(Effect::Note(Note::Broken { transactional_id: id, why }));
                out.push(refuse(ErrorCode::UnknownServerError));
            }
        }
    }

    /// Kafka: `handleAddPartitionsToTransaction`, for AddPartitionsToTxn and AddOffsetsToTxn.
    pub fn on_add_partitions(
        &mut self,
        now: Now,
        ticket: Ticket,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partitions: BTreeSet<TopicPartition>,
        out: &mut Vec<Effect>,
    ) {
        let mut reply = |code| out.push(Effect::Reply(ticket, Answer::Code(code)));
        let (id, metadata) = match self.owned(transactional_id, producer) {
            Ok(found) => found,
            Err(code) => return reply(code),
        };
        if metadata.pending.is_some() || metadata.state.markers().is_some() {
            return reply(ErrorCode::ConcurrentTransactions);
        }
        if metadata.is_ongoing() && partitions.is_subset(&metadata.partitions) {
            return reply(ErrorCode::None);
        }
        match metadata.prepare_add_partitions(partitions, now.wall) {
            Ok(transit) => self.append(now, id, Then::TellCode(ticket, transit), out),
            Err(why) => {
                reply(ErrorCode::UnknownServerError);
                out.push(Effect::Note(Note::Broken { transactional_id: id, why }));
            }
        }
    }

    /// Kafka: `handleEndTransaction`.
    pub fn on_end_txn(
        &mut self,
        now: Now,
        ticket: Ticket,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        outcome: Outcome,
        out: &mut Vec<Effect>,
    ) {
        let mut reply = |code| out.push(Effect::Reply(ticket, Answer::Code(code)));
        let (id, metadata) = match self.owned(transactional_id, producer) {
            Ok(found) => found,
            Err(code) => return reply(code),
        };
        if metadata.pending.is_some() {
            return reply(ErrorCode::ConcurrentTransactions);
        }
        let same = |ended| outcome == ended;
        match metadata.state {
            TransactionState::Ongoing => self.end(now, EndReply::Client(ticket), &id, outcome, false, out),
            // The answer was lost.
            TransactionState::CompleteCommit if same(Outcome::Commit) => reply(ErrorCode::None),
            TransactionState::CompleteAbort if same(Outcome::Abort) => reply(ErrorCode::None),
            TransactionState::PrepareCommit if same(Outcome::Commit) => reply(ErrorCode::ConcurrentTransactions),
            TransactionState::PrepareAbort if same(Outcome::Abort) => reply(ErrorCode::ConcurrentTransactions),
            _ => reply(ErrorCode::InvalidTxnState),
        }
    }

    /// Whether partitions are in the producer's transaction: for each, NONE or TRANSACTION_ABORTABLE. What is pending does
    /// not count, since the partition checks once more when it appends. Kafka: `handleVerifyPartitionsInTransaction`.
    pub fn verify(
        &self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<Vec<(TopicPartition, ErrorCode)>, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let Some(Transaction { metadata, .. }) = self.transactions.get(transactional_id) else {
            return Err(ErrorCode::InvalidProducerIdMapping);
        };
        check_producer(metadata, producer)?;
        if metadata.state.markers().is_some() {
            return Err(ErrorCode::ConcurrentTransactions);
        }
        let found = |partition: &TopicPartition| {
            if metadata.partitions.contains(partition) { ErrorCode::None } else { ErrorCode::TransactionAbortable }
        };
        Ok(partitions.iter().map(|partition| (partition.clone(), found(partition))).collect())
    }

    /// Kafka: `handleDescribeTransactions`.
    pub fn describe(&self, transactional_id: &str) -> Result<Description, ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let txn = self.transactions.get(transactional_id).ok_or(ErrorCode::TransactionalIdNotFound)?;
        let metadata = &txn.metadata;
        Ok(Description {
            state: metadata.state,
            producer: metadata.producer,
            timeout_ms: metadata.timeout_ms,
            started: metadata.started,
            partitions: metadata.partitions.clone(),
        })
    }

    /// Kafka: `listTransactionStates`.
    pub fn list(&self, now: Now, filter: &ListFilter) -> Vec<Listing> {
        let wanted = |metadata: &TransactionMetadata| {
            let of_producer =
                filter.producer_ids.is_empty() || filter.producer_ids.contains(&metadata.producer.producer_id);
            let of_state = filter.states.as_ref().is_none_or(|states| states.contains(&metadata.state));
            let old_enough = filter.duration_ms < 0 || now.wall.saturating_sub(metadata.started) > filter.duration_ms;
            of_producer && of_state && old_enough
        };
        let found = self.transactions.iter().filter(|(_, txn)| wanted(&txn.metadata));
        found
            .map(|(id, txn)| Listing {
                transactional_id: Arc::clone(id),
                producer_id: txn.metadata.producer.producer_id,
                state: txn.metadata.state,
            })
            .collect()
    }

    // ---- what became of effects

    /// Kafka: `appendTransactionToLog`'s callback, and those of its callers.
    pub fn on_append_done(&mut self, now: Now, id: AppendId, stored: Result<(), StoreError>, out: &mut Vec<Effect>) {
        let Some(append) = self.appends.remove(&id) else { return };
        let error = stored.map_or_else(codes::transaction_code, |()| ErrorCode::None);
        let Some(txn) = self.transactions.get_mut(&append.transactional_id) else { return };
        let Append { transactional_id, prepared, .. } = append;
        let is_written = !error.is_error();
        match append.then {
            Then::TellProducer(ticket, transit) => {
                let told = if is_written {
                    let producer = transit.producer;
                    txn.complete(transit, prepared);
                    out.push(Effect::Note(Note::Initialized { transactional_id, producer }));
                    Ok(producer)
                } else {
                    txn.metadata.give_up_pending();
                    Err(error)
                };
                out.push(Effect::Reply(ticket, Answer::Producer(told)));
            }
            Then::TellCode(ticket, transit) => {
                if is_written {
                    txn.complete(transit, prepared);
                } else {
                    txn.metadata.give_up_pending();
                }
                out.push(Effect::Reply(ticket, Answer::Code(error)));
            }
            Then::SendMarkers { reply, outcome, transit, is_fence } => {
                if is_written {
                    txn.complete(transit, prepared);
                    // The end is in the log: whatever happens now, it stands. The client need not wait for the markers.
                    end_reply(reply, &transactional_id, error, out);
                    return self.begin_completion(now, &transactional_id, outcome, out);
                }
                txn.metadata.give_up_pending();
                if is_fence {
                    txn.metadata.failed_epoch_fence = true;
                    let epoch = transit.producer.epoch;
                    let transactional_id = Arc::clone(&transactional_id);
                    out.push(Effect::Note(Note::FenceNotWritten { transactional_id, epoch, error }));
                }
                end_reply(reply, &transactional_id, error, out);
            }
            Then::Completed => {
                let Some(completion) = txn.completion.as_mut() else { return };
                if is_written {
                    if let Some(completion) = txn.completion.take() {
                        txn.complete(completion.transit, completion.prepared);
                    }
                } else {
                    // Also when another broker leads: then this term is about to end, and else no one would go on.
                    completion.is_settled = false;
                    out.push(Effect::Note(Note::CompletionNotWritten {
                        transactional_id: Arc::clone(&transactional_id),
                        error,
                    }));
                    self.later.insert((now.ticks + RETRY_MS, Later::WriteCompletion(transactional_id)));
                }
            }
            Then::Buried => {
                if is_written {
                    self.transactions.remove(&transactional_id);
                } else {
                    txn.metadata.give_up_pending();
                    out.push(Effect::Note(Note::NotBuried { transactional_id, error }));
                }
            }
        }
    }

    /// Reports what became of markers. `completion` is what they were sent for: an answer that comes late, for a transaction
    /// that has ended since, changes nothing of the next one. Kafka: `TransactionMarkerRequestCompletionHandler`.
    pub fn on_markers_written(
        &mut self,
        now: Now,
        transactional_id: &str,
        completion: CompletionId,
        results: impl IntoIterator<Item = (TopicPartition, MarkerResult)>,
        out: &mut Vec<Effect>,
    ) {
        let Some((id, txn)) = self.transactions.get_key_value(transactional_id) else { return };
        if txn.completion.as_ref().is_none_or(|c| c.is_settled || c.id != completion) {
            return;
        }
        let id = Arc::clone(id);
        let Some(Transaction { metadata, completion: Some(completion), .. }) = self.transactions.get_mut(&id) else {
            return;
        };
        let mut again = BTreeSet::new();
        for (partition, result) in results {
            match result {
                MarkerResult::Written
                | MarkerResult::Gone
                // The producer could not have written there.
                | MarkerResult::Failed(ErrorCode::UnsupportedForMessageFormat | ErrorCode::UnsupportedVersion) => {
                    metadata.partitions.remove(&partition);
                }
                // Another coordinator or a later producer went on from here: this end is not ours to write any more.
                MarkerResult::Failed(
                    error @ (ErrorCode::InvalidProducerEpoch | ErrorCode::TransactionCoordinatorFenced),
                ) => {
                    completion.is_settled = true;
                    let transactional_id = Arc::clone(&id);
                    out.push(Effect::Note(Note::MarkerRefused { transactional_id, partition, error }));
                }
                MarkerResult::Failed(error) => {
                    if !is_passing(error) {
                        let (transactional_id, partition) = (Arc::clone(&id), partition.clone());
                        out.push(Effect::Note(Note::MarkerRefused { transactional_id, partition, error }));
                    }
                    if metadata.partitions.contains(&partition) {
                        again.insert(partition);
                    }
                }
            }
        }
        if completion.is_settled {
            return;
        }
        if !again.is_empty() {
            self.later.insert((now.ticks + RETRY_MS, Later::SendMarkers(Arc::clone(&id), again)));
        }
        self.complete_if_done(now, &id, out);
    }

    /// Does what is due by the clock.
    pub fn on_tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        while let Some((at, _)) = self.later.first() {
            if *at > now.ticks {
                break;
            }
            match self.later.pop_first() {
                Some((_, Later::SendMarkers(id, partitions))) => self.send_markers(&id, Some(&partitions), out),
                Some((_, Later::WriteCompletion(id))) => self.complete_if_done(now, &id, out),
                None => break,
            }
        }
        if self.next_abort_sweep <= now.ticks {
            self.next_abort_sweep = now.ticks + self.settings.abort_interval_ms;
            self.abort_timed_out(now, out);
        }
        if self.next_expiry_sweep <= now.ticks {
            let is_complete = self.bury_expired(now, out);
            let pause = if is_complete { self.settings.expiry_interval_ms } else { RETRY_MS };
            self.next_expiry_sweep = now.ticks + pause;
        }
    }

    /// The partition has another leader: requests that wait are answered so.
    pub fn on_resignation(&mut self, out: &mut Vec<Effect>) {
        for (_, append) in std::mem::take(&mut self.appends) {
            let code = ErrorCode::NotCoordinator;
            match append.then {
                Then::TellProducer(ticket, _) => out.push(Effect::Reply(ticket, Answer::Producer(Err(code)))),
                Then::TellCode(ticket, _) => out.push(Effect::Reply(ticket, Answer::Code(code))),
                Then::SendMarkers { reply, .. } => end_reply(reply, &append.transactional_id, code, out),
                Then::Completed | Then::Buried => {}
            }
        }
        self.transactions.clear();
        self.later.clear();
    }

    // ---- steps

    /// The transactional id, if it is this producer's.
    fn owned(
        &mut self,
        transactional_id: &str,
        producer: ProducerIdAndEpoch,
    ) -> Result<(Arc<str>, &mut TransactionMetadata), ErrorCode> {
        if transactional_id.is_empty() {
            return Err(ErrorCode::InvalidRequest);
        }
        let Some((id, _)) = self.transactions.get_key_value(transactional_id) else {
            return Err(ErrorCode::InvalidProducerIdMapping);
        };
        let id = Arc::clone(id);
        let txn = self.transactions.get_mut(&id).ok_or(ErrorCode::InvalidProducerIdMapping)?;
        check_producer(&txn.metadata, producer)?;
        Ok((id, &mut txn.metadata))
    }

    fn append(&mut self, now: Now, transactional_id: Arc<str>, then: Then, out: &mut Vec<Effect>) {
        let state = match &then {
            Then::TellProducer(_, transit) | Then::TellCode(_, transit) | Then::SendMarkers { transit, .. } => {
                Some(transit.clone())
            }
            Then::Completed => {
                let completion = self.transactions.get(&transactional_id).and_then(|txn| txn.completion.as_ref());
                completion.map(|completion| completion.transit.clone())
            }
            Then::Buried => None,
        };
        let id = AppendId(self.next_append);
        self.next_append += 1;
        let timeout_ms = state.as_ref().map_or(self.settings.request_timeout_ms, |state| state.timeout_ms);
        let prepared = now.ticks;
        self.appends.insert(id, Append { transactional_id: Arc::clone(&transactional_id), prepared, then });
        out.push(Effect::Append { id, transactional_id, state, timeout_ms });
    }

    /// Ends an ongoing transaction. `is_fence` raises the epoch first.
    fn end(
        &mut self,
        now: Now,
        reply: EndReply,
        id: &Arc<str>,
        outcome: Outcome,
        is_fence: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(Transaction { metadata, .. }) = self.transactions.get_mut(id) else { return };
        let prepared =
            if is_fence { metadata.prepare_fence(now.wall) } else { metadata.prepare_end(outcome, now.wall) };
        match prepared {
            Ok(transit) => {
                let then = Then::SendMarkers { reply, outcome, transit, is_fence };
                self.append(now, Arc::clone(id), then, out);
            }
            Err(why) => {
                out.push(Effect::Note(Note::Broken { transactional_id: Arc::clone(id), why }));
                end_reply(reply, id, ErrorCode::UnknownServerError, out);
            }
        }
    }

    /// The end of a transaction is in the log: its markers are due.
    fn begin_completion(&mut self, now: Now, id: &Arc<str>, outcome: Outcome, out: &mut Vec<Effect>) {
        let Some(txn) = self.transactions.get_mut(id) else { return };
        match txn.metadata.prepare_complete(outcome, now.wall) {
            Ok(transit) => {
                let number = CompletionId(self.next_completion);
                self.next_completion += 1;
                let prepared = now.ticks;
                txn.completion = Some(Completion { id: number, outcome, transit, prepared, is_settled: false });
                self.send_markers(id, None, out);
                self.complete_if_done(now, id, out);
            }
            Err(why) => out.push(Effect::Note(Note::Broken { transactional_id: Arc::clone(id), why })),
        }
    }

    /// Sends the markers that are missing, of `only` these partitions.
    fn send_markers(&self, id: &Arc<str>, only: Option<&BTreeSet<TopicPartition>>, out: &mut Vec<Effect>) {
        let Some(Transaction { metadata, completion: Some(completion), .. }) = self.transactions.get(id) else {
            return;
        };
        if completion.is_settled {
            return;
        }
        let missing = metadata.partitions.iter().filter(|tp| only.is_none_or(|only| only.contains(*tp)));
        let partitions: BTreeSet<TopicPartition> = missing.cloned().collect();
        if !partitions.is_empty() {
            out.push(Effect::SendMarkers(Markers {
                completion: completion.id,
                transactional_id: Arc::clone(id),
                producer: metadata.producer,
                outcome: completion.outcome,
                partitions,
            }));
        }
    }

    /// Kafka: `maybeWriteTxnCompletion`.
    fn complete_if_done(&mut self, now: Now, id: &Arc<str>, out: &mut Vec<Effect>) {
        let Some(Transaction { metadata, completion: Some(completion), .. }) = self.transactions.get_mut(id) else {
            return;
        };
        if metadata.partitions.is_empty() && !completion.is_settled {
            completion.is_settled = true;
            self.append(now, Arc::clone(id), Then::Completed, out);
        }
    }

    /// Kafka: `abortTimedOutTransactions`.
    fn abort_timed_out(&mut self, now: Now, out: &mut Vec<Effect>) {
        let is_late = |txn: &Transaction| {
            let m = &txn.metadata;
            m.pending.is_none() && m.is_ongoing() && txn.began.saturating_add(m.timeout_ms.into()) < now.ticks
        };
        let late = self.transactions.iter().filter(|(_, txn)| is_late(txn));
        let late: Vec<Arc<str>> = late.map(|(id, _)| Arc::clone(id)).collect();
        for id in late {
            self.end(now, EndReply::Nobody, &id, Outcome::Abort, true, out);
        }
    }

    /// Kafka: `removeExpiredTransactionalIds`. False when there is more to do.
    fn bury_expired(&mut self, now: Now, out: &mut Vec<Effect>) -> bool {
        let oldest = now.ticks.saturating_sub(self.settings.id_expiration_ms);
        let is_old = |txn: &Transaction| {
            txn.metadata.pending.is_none() && txn.metadata.state.may_expire() && txn.updated <= oldest
        };
        let old = self.transactions.iter().filter(|(_, txn)| is_old(txn)).take(EXPIRED_AT_ONCE_MAX);
        let old: Vec<Arc<str>> = old.map(|(id, _)| Arc::clone(id)).collect();
        let is_complete = old.len() < EXPIRED_AT_ONCE_MAX;
        for id in old {
            let Some(txn) = self.transactions.get_mut(&id) else { continue };
            match txn.metadata.prepare_dead() {
                Ok(()) => self.append(now, id, Then::Buried, out),
                Err(why) => out.push(Effect::Note(Note::Broken { transactional_id: id, why })),
            }
        }
        is_complete
    }

    /// Asserts what must hold between inputs: a pending transition is exactly one write that is under way, or an end whose
    /// markers are.
    #[cfg(test)]
    fn check(&self) {
        let mut writes: BTreeMap<&str, usize> = BTreeMap::new();
        for append in self.appends.values() {
            *writes.entry(&append.transactional_id).or_default() += 1;
        }
        for (id, txn) in &self.transactions {
            let m = &txn.metadata;
            let under_way = writes.get(&**id).copied().unwrap_or(0);
            assert!(under_way <= 1, "{id}: {under_way} writes");
            assert_eq!(m.pending.is_some(), under_way == 1 || txn.completion.is_some(), "{id}: {m:?}");
            assert!(m.pending.is_none_or(|to| to.may_follow(m.state)), "{id}: {m:?}");
            assert_eq!(txn.completion.is_some(), m.state.markers().is_some(), "{id}: {m:?}");
            assert!(m.state.markers().is_some() || m.is_ongoing() || m.partitions.is_empty(), "{id}: {m:?}");
            assert!(m.producer.epoch >= 0 || m.state == TransactionState::Empty, "{id}: {m:?}");
        }
        assert!(writes.keys().all(|id| self.transactions.contains_key(*id)));
    }
}

fn check_producer(metadata: &TransactionMetadata, producer: ProducerIdAndEpoch) -> Result<(), ErrorCode> {
    if metadata.producer.producer_id != producer.producer_id {
        return Err(ErrorCode::InvalidProducerIdMapping);
    }
    if metadata.producer.epoch != producer.epoch {
        return Err(ErrorCode::ProducerFenced);
    }
    Ok(())
}

fn end_reply(reply: EndReply, transactional_id: &Arc<str>, code: ErrorCode, out: &mut Vec<Effect>) {
    out.push(match reply {
        EndReply::Client(ticket) => Effect::Reply(ticket, Answer::Code(code)),
        EndReply::NextProducer(ticket) => {
            let code = if code.is_error() { code } else { ErrorCode::ConcurrentTransactions };
            Effect::Reply(ticket, Answer::Producer(Err(code)))
        }
        EndReply::Nobody => {
            Effect::Note(Note::TimedOut { transactional_id: Arc::clone(transactional_id), error: code })
        }
    });
}

/// Errors of markers that time heals, and that need no line in the log.
fn is_passing(error: ErrorCode) -> bool {
    matches!(
        error,
        ErrorCode::UnknownTopicOrPartition
            | ErrorCode::NotLeaderOrFollower
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::RequestTimedOut
            | ErrorCode::KafkaStorageError
            | ErrorCode::NetworkException
            | ErrorCode::CoordinatorLoadInProgress
    )
}
