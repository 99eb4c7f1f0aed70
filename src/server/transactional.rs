//! Owns the checks before transactional records are appended: the request must name its transaction, and each partition
//! that the transaction has not written to yet must be in it, which only its coordinator knows (KIP-890). Kafka:
//! `ReplicaManager.maybeStartTransactionVerificationForPartitions`.

use super::codes::{ProduceRefusal, Unverified};
use super::context::Broker;
use crate::common::{ErrorCode, TopicPartition};
use crate::coordinator::transaction::ProducerIdAndEpoch;
use crate::log::producer_state::VerificationGuard;
use crate::protocol::Str;
use crate::record;
use crate::util::clock::wall_ms;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first Produce that knows TRANSACTION_ABORTABLE.
const ABORTABLE_VERSION: i16 = 11;

/// What each partition of a request needs for its append. Partitions without transactional records are not in it.
#[derive(Debug, Default)]
pub(super) struct Verified(BTreeMap<TopicPartition, Result<VerificationGuard, Unverified>>);

impl Verified {
    /// The proof for an append, if it needs one, or why it must not happen.
    pub(super) fn guard(&self, topic: &str, partition: i32) -> Result<Option<VerificationGuard>, ProduceRefusal> {
        if self.0.is_empty() {
            return Ok(None);
        }
        match self.0.get(&TopicPartition::new(topic, partition)) {
            None => Ok(None),
            Some(Ok(guard)) => Ok(Some(*guard)),
            Some(Err(error)) => Err((*error).into()),
        }
    }
}

/// What verification needs of the first transactional batch of a partition.
struct Begun {
    partition: TopicPartition,
    base_sequence: i32,
}

/// Refuses a request as a whole: transactional records without a transactional id, which no one can be authorized to
/// use; or a first batch that does not parse, if Kafka finds it while it looks for those. Every entry counts, even one
/// that a later entry of the same partition replaces.
pub(super) fn check<'a>(
    transactional_id: Option<&Str>,
    entries: impl IntoIterator<Item = &'a Bytes>,
) -> Result<(), ProduceRefusal> {
    for records in entries {
        match record::batches(records).next().transpose() {
            Ok(first) if first.is_none_or(|batch| !batch.is_transactional()) => {}
            Ok(_) if transactional_id.is_some() => return Ok(()),
            Ok(_) => return Err(ErrorCode::TransactionalIdAuthorizationFailed.into()),
            Err(error) => {
                return Err(ProduceRefusal { message: Some(error.to_string()), ..error.code().into() });
            }
        }
    }
    Ok(())
}

/// Verifies records before their append. The error applies to every partition of the request.
pub(super) async fn verify(
    broker: &Broker,
    version: i16,
    transactional_id: Option<&Str>,
    sound: &BTreeMap<(Str, i32), Bytes>,
) -> Result<Verified, ProduceRefusal> {
    let mut producers = BTreeSet::new();
    let mut begun = Vec::new();
    for ((topic, index), records) in sound {
        // Records that do not parse are refused at the append.
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
        return Err(ProduceRefusal { message: Some(message), ..ErrorCode::InvalidProducerIdMapping.into() });
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
        let started = start(broker, &tp, producer, base_sequence);
        match started {
            // The transaction has written here before.
            Ok(None) => {}
            Ok(Some(guard)) => {
                verified.insert(tp, Ok(guard));
            }
            Err(error) => {
                verified.insert(tp, Err(error));
            }
        }
    }
    let open: BTreeSet<TopicPartition> =
        verified.iter().filter(|(_, started)| started.is_ok()).map(|(tp, _)| tp.clone()).collect();
    if !open.is_empty() {
        let refused = Arc::clone(&broker.verifier).verify(transactional_id, producer, open, knows_abortable).await;
        verified.extend(refused.into_iter().map(|(tp, error)| (tp, Err(error.into()))));
    }
    Verified(verified)
}

/// Begins the verification of a transaction in one partition; None where it has written before, and needs none.
pub(super) fn start(
    broker: &Broker,
    tp: &TopicPartition,
    producer: ProducerIdAndEpoch,
    base_sequence: i32,
) -> Result<Option<VerificationGuard>, Unverified> {
    let partition = broker.replicas.partition(&tp.topic, tp.partition)?;
    let (producer_id, epoch) = (producer.producer_id, producer.epoch);
    Ok(partition.start_transaction_verification(producer_id, base_sequence, epoch, wall_ms())?)
}
