//! Owns what comes before transactional records are appended: the request must name its transaction, and each partition
//! that the transaction has not written to yet must be in it, which only its coordinator knows (KIP-890). Kafka:
//! `ReplicaManager.maybeStartTransactionVerificationForPartitions`.

use super::context::Broker;
use crate::common::{ErrorCode, TopicPartition};
use crate::coordinator::transaction::ProducerIdAndEpoch;
use crate::log::producer_state::VerificationGuard;
use crate::protocol::Str;
use crate::record;
use crate::replica::AppendFailure;
use crate::util::clock::wall_ms;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first Produce that knows TRANSACTION_ABORTABLE.
const ABORTABLE_VERSION: i16 = 11;

/// What each partition of a request needs for its append. Partitions without transactional records are not in it.
#[derive(Debug, Default)]
pub(super) struct Verified(BTreeMap<TopicPartition, Result<VerificationGuard, ErrorCode>>);

impl Verified {
    /// The proof for an append, if it needs one, or why it must not happen.
    pub(super) fn guard(&self, topic: &str, partition: i32) -> Result<Option<VerificationGuard>, AppendFailure> {
        if self.0.is_empty() {
            return Ok(None);
        }
        match self.0.get(&TopicPartition::new(topic, partition)) {
            None => Ok(None),
            Some(Ok(guard)) => Ok(Some(*guard)),
            Some(Err(code)) => Err(failure(*code)),
        }
    }
}

/// The first transactional batch of a partition, as much of it as verification asks for.
struct Begun {
    partition: TopicPartition,
    base_sequence: i32,
}

/// Refuses a request as a whole: transactional records without the name of their transaction, which no one can be allowed
/// to use; or a first batch that is none, if Kafka comes across it while it looks for those. Every entry counts, also one
/// that a later one of the same partition replaces.
pub(super) fn check<'a>(
    transactional_id: Option<&Str>,
    entries: impl IntoIterator<Item = &'a Bytes>,
) -> Result<(), AppendFailure> {
    for records in entries {
        match record::batches(records).next().transpose() {
            Ok(first) if first.is_none_or(|batch| !batch.is_transactional()) => {}
            Ok(_) if transactional_id.is_some() => return Ok(()),
            Ok(_) => return Err(ErrorCode::TransactionalIdAuthorizationFailed.into()),
            Err(error) => {
                return Err(AppendFailure { message: Some(error.to_string()), ..error.code().into() });
            }
        }
    }
    Ok(())
}

/// Verifies what is about to be appended. The error is that of every partition of the request.
pub(super) async fn verify(
    broker: &Broker,
    version: i16,
    transactional_id: Option<&Str>,
    sound: &BTreeMap<(Str, i32), Bytes>,
) -> Result<Verified, AppendFailure> {
    let mut producers = BTreeSet::new();
    let mut begun = Vec::new();
    for ((topic, index), records) in sound {
        // What is no batch is refused when it is appended.
        let batches = record::batches(records).map_while(Result::ok);
        let mut first = None;
        for batch in batches.filter(|batch| batch.is_transactional() && batch.has_producer_id()) {
            first = first.or_else(|| Some(batch.base_sequence()));
            producers.insert((batch.producer_id(), batch.producer_epoch()));
        }
        if let Some(base_sequence) = first {
            begun.push(Begun { partition: TopicPartition::new(&**topic, *index), base_sequence });
        }
    }
    let mut producers = producers.into_iter();
    let Some((producer_id, epoch)) = producers.next() else { return Ok(Verified::default()) };
    if producers.next().is_some() {
        let message = "Transactional records contained more than one producer ID".to_owned();
        return Err(AppendFailure { message: Some(message), ..ErrorCode::InvalidProducerIdMapping.into() });
    }
    let transactional_id = transactional_id.ok_or(ErrorCode::TransactionalIdAuthorizationFailed)?;
    if !broker.config.load().transaction_partition_verification_enable {
        return Ok(Verified::default());
    }
    let producer = ProducerIdAndEpoch { producer_id, epoch };
    let knows_abortable = version >= ABORTABLE_VERSION;
    Ok(ask(broker, transactional_id, producer, begun, knows_abortable).await)
}

async fn ask(
    broker: &Broker,
    transactional_id: &Str,
    producer: ProducerIdAndEpoch,
    begun: Vec<Begun>,
    knows_abortable: bool,
) -> Verified {
    let mut verified = BTreeMap::new();
    for Begun { partition: tp, base_sequence } in begun {
        let started = broker.replicas.partition(&tp.topic, tp.partition).and_then(|partition| {
            partition.start_transaction_verification(producer.producer_id, base_sequence, producer.epoch, wall_ms())
        });
        match started {
            // The transaction has written here before.
            Ok(None) => {}
            Ok(Some(guard)) => drop(verified.insert(tp, Ok(guard))),
            Err(code) => drop(verified.insert(tp, Err(code))),
        }
    }
    let open: BTreeSet<TopicPartition> =
        verified.iter().filter(|(_, started)| started.is_ok()).map(|(tp, _)| tp.clone()).collect();
    if !open.is_empty() {
        let refused = Arc::clone(&broker.verifier).verify(transactional_id, producer, open, knows_abortable).await;
        verified.extend(refused.into_iter().map(|(tp, code)| (tp, Err(code))));
    }
    Verified(verified)
}

/// What the producer hears. Errors that time heals are said in a way that makes every client try again: this one does
/// not even make it look for another leader.
fn failure(code: ErrorCode) -> AppendFailure {
    let (code, message) = match code {
        ErrorCode::InvalidTxnState => (code, Some("Partition was not added to the transaction".to_owned())),
        ErrorCode::ConcurrentTransactions
        | ErrorCode::NetworkException
        | ErrorCode::CoordinatorLoadInProgress
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::NotCoordinator => {
            let message =
                format!("Unable to verify the partition has been added to the transaction. Underlying error: {code}");
            (ErrorCode::NotEnoughReplicas, Some(message))
        }
        other => (other, None),
    };
    AppendFailure { message, ..code.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_time_heals_are_those_that_every_client_retries() {
        let told = failure(ErrorCode::ConcurrentTransactions);
        assert_eq!(told.code, ErrorCode::NotEnoughReplicas);
        assert!(told.message.unwrap().ends_with("Underlying error: CONCURRENT_TRANSACTIONS"));
        assert_eq!(failure(ErrorCode::InvalidProducerEpoch), ErrorCode::InvalidProducerEpoch.into());
        assert_eq!(
            failure(ErrorCode::InvalidTxnState).message.as_deref(),
            Some("Partition was not added to the transaction")
        );
    }
}
