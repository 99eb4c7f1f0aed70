//! Owns one partition of `__transaction_state` as the frame of all coordinators drives it: who waits for the answers of
//! the [`machine::Machine`], what it writes, and where its markers and notes go. Kafka: `TransactionStateManager`, around
//! its cache.

use super::effects::{Answer, Effect, Note, Settings};
use super::machine;
use super::markers::Report;
use super::producer_ids::ProducerIds;
use super::records::{self, Loader};
use super::sender::MarkerSender;
use crate::common::ids::{Millis, Offset, TopicPartition};
use crate::common::{ErrorCode, Now};
use crate::coordinator::runtime::{Append, AppendId, Machine, StoreError, Term, Tickets};
use crate::record::NO_SEQUENCE;
use std::sync::Arc;
use tracing::{debug, error, info, warn};

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
    pub parts: Arc<ShardParts>,
    pub machine: machine::Machine,
    pub tickets: Tickets<Answer>,
}

impl Machine for Transactions {
    const NAME: &'static str = "transaction-coordinator";
    /// Kafka writes batches of one.
    const BATCH_BYTES_MAX: usize = 16 << 10;

    type Parts = ShardParts;
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
                        self.machine.on_append_done(now, id, Err(StoreError::Internal), out);
                    }
                }
            }
        }
        None
    }

    fn on_appended(&mut self, now: Now, id: AppendId, stored: Result<Offset, StoreError>, out: &mut Vec<Effect>) {
        self.machine.on_append_done(now, id, stored.map(drop), out);
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
    /// What became of markers of this term.
    pub(super) fn on_report(&mut self, now: Now, report: Report, out: &mut Vec<Effect>) {
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
