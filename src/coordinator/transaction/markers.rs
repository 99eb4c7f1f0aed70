//! Owns the queues of markers on their way to partition leaders: which broker gets which, several transactions in one
//! request, and what its answer says of each. Kafka: `TxnMarkerQueue`, the queues of `TransactionMarkerChannelManager`.
//! Pure. Bounded by the transactions that have ended: each is here once for each of its partitions at most.

use super::effects::{CompletionId, MarkerResult, Markers};
use super::state::{Outcome, ProducerIdAndEpoch};
use crate::common::ErrorCode;
use crate::common::ids::{BrokerId, TopicPartition};
use crate::coordinator::runtime::Term;
use crate::protocol::Str;
use crate::protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use crate::protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

/// Partitions of one request; what is over waits for the next.
const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// Where a marker has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leader {
    Broker(BrokerId),
    /// The partition has no leader now, or it cannot be reached.
    Unavailable,
    /// There is no such partition.
    Gone,
}

/// Markers of one transaction for one broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub term: Term,
    pub completion: CompletionId,
    pub transactional_id: Arc<str>,
    pub producer: ProducerIdAndEpoch,
    pub outcome: Outcome,
    pub partitions: Vec<TopicPartition>,
}

/// What became of the markers of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    pub term: Term,
    pub completion: CompletionId,
    pub transactional_id: Arc<str>,
    pub results: Vec<(TopicPartition, MarkerResult)>,
}

impl Entry {
    /// The same outcome for every partition.
    pub(super) fn report(self, result: MarkerResult) -> Report {
        let results = self.partitions.into_iter().map(|tp| (tp, result)).collect();
        Report { term: self.term, completion: self.completion, transactional_id: self.transactional_id, results }
    }
}

#[derive(Debug, Default)]
pub(super) struct MarkerQueues {
    brokers: BTreeMap<BrokerId, VecDeque<Entry>>,
}

impl MarkerQueues {
    /// Queues markers by the leaders of their partitions. The brokers that have something now, and what needs no broker.
    pub(super) fn add(
        &mut self,
        term: Term,
        markers: Markers,
        leader_of: impl Fn(&TopicPartition) -> Leader,
    ) -> (Vec<BrokerId>, Option<Report>) {
        let mut by_broker: BTreeMap<BrokerId, Vec<TopicPartition>> = BTreeMap::new();
        let mut results = Vec::new();
        for tp in markers.partitions {
            match leader_of(&tp) {
                Leader::Broker(broker) => by_broker.entry(broker).or_default().push(tp),
                Leader::Unavailable => results.push((tp, MarkerResult::Failed(ErrorCode::NotLeaderOrFollower))),
                Leader::Gone => results.push((tp, MarkerResult::Gone)),
            }
        }
        let Markers { completion, transactional_id, producer, outcome, .. } = markers;
        let brokers = by_broker.keys().copied().collect();
        for (broker, partitions) in by_broker {
            let transactional_id = Arc::clone(&transactional_id);
            let entry = Entry { term, completion, transactional_id, producer, outcome, partitions };
            self.brokers.entry(broker).or_default().push_back(entry);
        }
        let report = (!results.is_empty()).then_some(Report { term, completion, transactional_id, results });
        (brokers, report)
    }

    /// What the next request to a broker carries.
    pub(super) fn take(&mut self, broker: BrokerId) -> Vec<Entry> {
        let Some(queue) = self.brokers.get_mut(&broker) else { return Vec::new() };
        let mut partitions = 0;
        let mut taken = Vec::new();
        while let Some(entry) = queue.front() {
            partitions += entry.partitions.len();
            if partitions > PARTITIONS_PER_REQUEST_MAX && !taken.is_empty() {
                break;
            }
            taken.extend(queue.pop_front());
        }
        taken
    }

    /// A partition of the coordinator has a new term, or is not ours any more.
    pub(super) fn forget(&mut self, partition: i32) {
        for queue in self.brokers.values_mut() {
            queue.retain(|entry| entry.term.partition != partition);
        }
    }
}

pub(super) fn request(entries: &[Entry]) -> WriteTxnMarkersRequest {
    let marker = |entry: &Entry| {
        let mut topics: Vec<WritableTxnMarkerTopic> = Vec::new();
        for tp in &entry.partitions {
            match topics.last_mut() {
                Some(last) if *last.name == *tp.topic => last.partition_indexes.push(tp.partition),
                _ => topics.push(WritableTxnMarkerTopic {
                    name: Str::from(&*tp.topic),
                    partition_indexes: vec![tp.partition],
                    ..Default::default()
                }),
            }
        }
        WritableTxnMarker {
            producer_id: entry.producer.producer_id,
            producer_epoch: entry.producer.epoch,
            transaction_result: entry.outcome.is_commit(),
            topics,
            coordinator_epoch: entry.term.coordinator_epoch,
            ..Default::default()
        }
    };
    WriteTxnMarkersRequest { markers: entries.iter().map(marker).collect(), ..Default::default() }
}

/// What an answer says of each entry. A partition that it does not name has not been written.
pub(super) fn reports(entries: Vec<Entry>, response: &WriteTxnMarkersResponse) -> Vec<Report> {
    let mut told: HashMap<(i64, &str, i32), i16> = HashMap::new();
    for marker in &response.markers {
        for topic in &marker.topics {
            for partition in &topic.partitions {
                told.insert((marker.producer_id, &topic.name, partition.partition_index), partition.error_code);
            }
        }
    }
    let result = |producer_id: i64, tp: &TopicPartition| match told.get(&(producer_id, &*tp.topic, tp.partition)) {
        Some(0) => MarkerResult::Written,
        Some(code) => MarkerResult::Failed(ErrorCode::from_wire(*code)),
        None => MarkerResult::Failed(ErrorCode::UnknownServerError),
    };
    let report = |entry: Entry| {
        let producer_id = entry.producer.producer_id;
        let results = entry.partitions.into_iter().map(|tp| {
            let result = result(producer_id, &tp);
            (tp, result)
        });
        Report {
            term: entry.term,
            completion: entry.completion,
            transactional_id: entry.transactional_id,
            results: results.collect(),
        }
    };
    entries.into_iter().map(report).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::write_txn_markers_response::{
        WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
    };

    const TERM: Term = Term { partition: 3, coordinator_epoch: 9, start: 1 };

    fn markers(producer_id: i64, partitions: &[i32]) -> Markers {
        Markers {
            completion: CompletionId(1),
            transactional_id: "tx".into(),
            producer: ProducerIdAndEpoch { producer_id, epoch: 2 },
            outcome: Outcome::Commit,
            partitions: partitions.iter().map(|p| TopicPartition::new("t", *p)).collect(),
        }
    }

    /// Even partitions on broker 0, odd ones on 1; 7 has no leader, and there are 8 in all.
    fn leader_of(tp: &TopicPartition) -> Leader {
        match tp.partition {
            7 => Leader::Unavailable,
            8.. => Leader::Gone,
            p => Leader::Broker(BrokerId(p % 2)),
        }
    }

    #[test]
    fn markers_go_to_the_leaders_and_the_rest_is_reported_at_once() {
        let mut queues = MarkerQueues::default();
        let (brokers, report) = queues.add(TERM, markers(1, &[0, 1, 2, 7, 8]), leader_of);
        assert_eq!(brokers, [BrokerId(0), BrokerId(1)]);
        let results: Vec<_> = report.unwrap().results.into_iter().map(|(tp, result)| (tp.partition, result)).collect();
        assert_eq!(results, [(7, MarkerResult::Failed(ErrorCode::NotLeaderOrFollower)), (8, MarkerResult::Gone)]);
        queues.add(TERM, markers(2, &[4]), leader_of).1.is_none().then_some(()).unwrap();
        let taken = queues.take(BrokerId(0));
        assert_eq!(
            taken.iter().map(|e| (e.producer.producer_id, e.partitions.len())).collect::<Vec<_>>(),
            [(1, 2), (2, 1)]
        );
        assert!(queues.take(BrokerId(0)).is_empty());
        queues.forget(TERM.partition);
        assert!(queues.take(BrokerId(1)).is_empty());
    }

    #[test]
    fn an_answer_is_read_by_producer_and_partition() {
        let mut queues = MarkerQueues::default();
        drop(queues.add(TERM, markers(1, &[0, 2]), leader_of));
        drop(queues.add(TERM, markers(2, &[0]), leader_of));
        let entries = queues.take(BrokerId(0));
        let asked = request(&entries);
        assert_eq!((asked.markers.len(), asked.markers[0].coordinator_epoch), (2, 9));
        assert_eq!(asked.markers[0].topics[0].partition_indexes, [0, 2]);
        let answer = |producer_id, partition_index, error_code| WritableTxnMarkerResult {
            producer_id,
            topics: vec![WritableTxnMarkerTopicResult {
                name: "t".into(),
                partitions: vec![WritableTxnMarkerPartitionResult {
                    partition_index,
                    error_code,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response =
            WriteTxnMarkersResponse { markers: vec![answer(1, 0, 0), answer(2, 0, 6)], ..Default::default() };
        let results: Vec<_> = reports(entries, &response).into_iter().map(|r| r.results).collect();
        let tp = |p| TopicPartition::new("t", p);
        assert_eq!(
            results,
            [
                vec![(tp(0), MarkerResult::Written), (tp(2), MarkerResult::Failed(ErrorCode::UnknownServerError))],
                vec![(tp(0), MarkerResult::Failed(ErrorCode::NotLeaderOrFollower))],
            ]
        );
    }
}
