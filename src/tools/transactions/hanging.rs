//! `find-hanging`: transactions that are open for longer than any timeout, and that no coordinator will end. Kafka:
//! `TransactionsCommand.FindHangingTransactionsCommand`.

use super::{CommandLine, NotDescribed, describe_one, failed, list_all, partitions_of, producers, table};
use crate::common::ErrorCode;
use crate::protocol::messages::ListTransactionsRequest;
use crate::protocol::messages::describe_producers_response::ProducerState;
use crate::protocol::messages::metadata_request::MetadataRequestTopic;
use crate::tools::support::admin::{Admin, AdminError};
use crate::tools::support::leaders::Partition;
use crate::tools::support::terminal::{Failure, Output};
use crate::util::clock::wall_ms;
use std::collections::{BTreeMap, BTreeSet};

/// The most partitions in one DescribeProducers.
const BATCH_MAX: usize = 500;
const MINUTE_MS: i64 = 60_000;

/// A transaction that is open for longer than any timeout.
type Candidate = (Partition, ProducerState);

pub(super) fn find_hanging(line: &CommandLine, admin: &mut Admin, out: &mut Output) -> Result<(), Failure> {
    let broker: Option<i32> = line.number("--broker-id");
    let (topic, partition) = (line.text("--topic"), line.number::<i32>("--partition"));
    if topic.is_none() && broker.is_none() {
        return Err(Failure::message(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search",
        ));
    }
    if partition.is_some() && topic.is_none() {
        return Err(Failure::message("The --partition argument requires --topic to be provided"));
    }
    let older_than_ms = i64::from(line.number("--max-transaction-timeout").unwrap_or(15)) * MINUTE_MS;
    let partitions = match (topic, partition) {
        (Some(topic), Some(partition)) => vec![(topic.to_owned(), partition)],
        _ => partitions_to_search(admin, topic, broker)?,
    };
    let candidates = candidates(admin, broker, older_than_ms, &partitions)?;
    let hanging = if candidates.is_empty() { candidates } else { only_hanging(admin, candidates)? };
    let now = wall_ms();
    let row = |((topic, partition), producer): &Candidate| {
        vec![
            topic.clone(),
            partition.to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.max(-1).to_string(),
            producer.current_txn_start_offset.to_string(),
            producer.last_timestamp.to_string(),
            ((now - producer.last_timestamp) / MINUTE_MS).to_string(),
        ]
    };
    let rows: Vec<_> = hanging.iter().map(row).collect();
    let headers = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    table(&headers, &rows, out)
}

fn partitions_to_search(
    admin: &mut Admin,
    topic: Option<&str>,
    broker: Option<i32>,
) -> Result<Vec<Partition>, Failure> {
    let named = topic.map(|topic| vec![MetadataRequestTopic { name: Some(topic.into()), ..Default::default() }]);
    let found = admin.metadata("describeTopics", named);
    let found = found.map_err(|e| failed("Failed to list topics", e))?;
    let mut partitions = Vec::new();
    for topic in found.topics {
        if let Some(e) = AdminError::of(topic.error_code, None) {
            return Err(failed("Failed to describe 1 topics", e));
        }
        let name = topic.name.as_deref().unwrap_or_default();
        let wanted = topic.partitions.iter().filter(|p| broker.is_none_or(|id| p.replica_nodes.contains(&id)));
        partitions.extend(wanted.map(|p| (name.to_owned(), p.partition_index)));
    }
    Ok(partitions)
}

fn candidates(
    admin: &mut Admin,
    broker: Option<i32>,
    older_than_ms: i64,
    partitions: &[Partition],
) -> Result<Vec<Candidate>, Failure> {
    let mut found = Vec::new();
    for batch in partitions.chunks(BATCH_MAX) {
        let told = producers(admin, broker, batch.to_vec());
        let now = wall_ms();
        for (partition, producers) in told {
            let of = broker.map_or_else(|| "Optional.empty".to_owned(), |broker| format!("Optional[{broker}]"));
            let what = format!("Failed to describe producers for {} partitions on broker {of}", batch.len());
            let producers = producers.map_err(|e| failed(what, e))?;
            let old = producers
                .into_iter()
                .filter(|p| p.current_txn_start_offset >= 0 && now - p.last_timestamp > older_than_ms);
            found.extend(old.map(|producer| (partition.clone(), producer)));
        }
    }
    Ok(found)
}

/// Keeps those that no coordinator will end.
fn only_hanging(admin: &mut Admin, candidates: Vec<Candidate>) -> Result<Vec<Candidate>, Failure> {
    let ids: BTreeSet<i64> = candidates.iter().map(|(_, producer)| producer.producer_id).collect();
    let request = ListTransactionsRequest { producer_id_filters: ids.iter().copied().collect(), ..Default::default() };
    let what = format!("Failed to list transactions for {} producers", ids.len());
    let listed = list_all(admin, &request).map_err(|e| failed(what, e))?;
    let listings = listed.into_iter().flat_map(|(_, answer)| answer.transaction_states);
    let transactional_ids: BTreeMap<i64, String> =
        listings.map(|listing| (listing.producer_id, listing.transactional_id.to_string())).collect();
    let mut expected: BTreeSet<(i64, Partition)> = BTreeSet::new();
    for (producer_id, transactional_id) in &transactional_ids {
        match describe_one(admin, transactional_id) {
            Ok((_, state)) => {
                expected.extend(partitions_of(&state).into_iter().map(|partition| (*producer_id, partition)));
            }
            Err(NotDescribed { code: Some(ErrorCode::TransactionalIdNotFound), .. }) => {}
            Err(e) => {
                let what = format!("Failed to describe {} transactions", transactional_ids.len());
                return Err(failed(what, e.text));
            }
        }
    }
    Ok(candidates
        .into_iter()
        .filter(|(partition, producer)| !expected.contains(&(producer.producer_id, partition.clone())))
        .collect())
}
