//! Owns one partition of `__transaction_state` as the frame of all coordinators drives it: what is asked of the
//! [`machine::Machine`], who waits for its answers, and where its markers and notes go. Kafka: `TransactionStateManager`,
//! around its cache.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use super::effects::{Answer, Description, Effect, InitProducerId, ListFilter, Listing, Note, Settings, Ticket};
use super::machine;
use super::markers::Report;
use super::producer_ids::ProducerIds;
use super::records::{self, Loader};
use super::sender::MarkerSender;
use super::state::{Outcome, ProducerIdAndEpoch};
use crate::common::ids::{Millis, Offset, TopicPartition};
use crate::common::{ErrorCode, Now};
use crate::coordinator::runtime::{Append, AppendId, Machine, Term, Tickets, answer};
use crate::record::NO_SEQUENCE;

/// One request to a shard.
#[derive(Debug)]
pub(super) enum Request {
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

/// What the shards of all partitions share.
pub(super) struct ShardParts {
    pub settings: Settings,
    pub producer_ids: Arc<ProducerIds>,
    pub markers: Arc<MarkerSender>,
}

/// The transactions of one partition.
pub(super) struct Transactions {
    term: Term,
    parts: Arc<ShardParts>,
    machine: machine::Machine,
    tickets: Tickets<Answer>,
}

impl Machine for Transactions {
    const NAME: &'static str = "transaction-coordinator";
    /// Kafka writes batches of one.
    const BATCH_BYTES_MAX: usize = 16 << 10;

    type Parts = ShardParts;
    type Request = Request;
    type Effect = Effect;
    type Loader = Loader;

    fn loader(_: &TopicPartition, _: Offset) -> Loader {
        Loader::default()
    }

    fn read(loader: &mut Loader, log: &TopicPartition, batches: &[u8]) -> Option<Offset> {
        loader.read(batches, |unreadable| {
            warn!(%log, offset = unreadable.offset, why = unreadable.why, "record of a transaction left out");
        })
    }

    fn load(parts: &Arc<ShardParts>, term: Term, loader: Loader, now: Now, out: &mut Vec<Effect>) -> Self {
        let loaded = loader.finish();
        info!(partition = term.partition, transactional_ids = loaded.len(), "transactions loaded");
        // Of a shard that panicked: what it had on its way is sent again.
        parts.markers.forget(term.partition);
        let machine = machine::Machine::new(parts.settings, loaded, now, out);
        Self { term, parts: Arc::clone(parts), machine, tickets: Tickets::default() }
    }

    fn apply(&mut self, now: Now, request: Request, out: &mut Vec<Effect>) {
        let machine = &mut self.machine;
        match request {
            Request::InitProducerId(asked, reply) => {
                let ticket = Ticket(self.tickets.issue(reply));
                machine.on_init_producer_id(now, ticket, asked, || self.parts.producer_ids.next(), out);
            }
            Request::AddPartitions { transactional_id, producer, partitions, reply } => {
                let ticket = Ticket(self.tickets.issue(reply));
                machine.on_add_partitions(now, ticket, &transactional_id, producer, partitions, out);
            }
            Request::EndTxn { transactional_id, producer, outcome, reply } => {
                let ticket = Ticket(self.tickets.issue(reply));
                machine.on_end_txn(now, ticket, &transactional_id, producer, outcome, out);
            }
            Request::Verify { transactional_id, producer, partitions, reply } => {
                answer(reply, machine.verify(&transactional_id, producer, &partitions));
            }
            Request::Describe(transactional_id, reply) => answer(reply, machine.describe(&transactional_id)),
            Request::List(filter, reply) => answer(reply, machine.list(now, &filter)),
            Request::MarkersWritten(report) => self.on_report(now, report, out),
        }
    }

    fn perform(&mut self, now: Now, effect: Effect, out: &mut Vec<Effect>) -> Option<Append> {
        match effect {
            Effect::Reply(ticket, said) => self.tickets.answer(ticket.0, said),
            Effect::Note(note) => tell_operator(&note),
            Effect::SendMarkers(markers) => {
                if let Some(report) = self.parts.markers.send(self.term, markers) {
                    self.on_report(now, report, out);
                }
            }
            Effect::Append { id, transactional_id, state, timeout_ms } => {
                match records::record(&transactional_id, state.as_ref()) {
                    Ok(record) => {
                        return Some(Append {
                            id: Some(id),
                            records: vec![record],
                            producer: None,
                            base_sequence: NO_SEQUENCE,
                            acks_all: true,
                            timeout_ms: timeout_ms.into(),
                        });
                    }
                    // Does not happen to what came over the wire: names there are as short as here.
                    Err(why) => {
                        error!(%transactional_id, %why, "a transaction that no record can hold");
                        self.machine.on_append_done(now, id, ErrorCode::UnknownServerError, out);
                    }
                }
            }
        }
        None
    }

    fn on_appended(&mut self, now: Now, id: AppendId, stored: Result<Offset, ErrorCode>, out: &mut Vec<Effect>) {
        self.machine.on_append_done(now, id, stored.err().unwrap_or(ErrorCode::None), out);
    }

    fn next_deadline(&self) -> Millis {
        self.machine.next_deadline()
    }

    fn on_tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.machine.on_tick(now, out);
    }

    fn unload(&mut self, out: &mut Vec<Effect>) {
        self.machine.on_resignation(out);
        self.parts.markers.forget(self.term.partition);
    }
}

impl Transactions {
    fn on_report(&mut self, now: Now, report: Report, out: &mut Vec<Effect>) {
        let Report { completion, transactional_id, results, .. } = report;
        self.machine.on_markers_written(now, &transactional_id, completion, results, out);
    }
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
