//! Owns writing markers into partitions that this broker leads, for WriteTxnMarkers and for our own coordinator. Kafka:
//! `KafkaApis.handleWriteTxnMarkersRequest`.

use crate::common::ErrorCode;
use crate::common::ids::{LeaderEpoch, TopicPartition};
use crate::coordinator::group::GroupCoordinator;
use crate::coordinator::runtime::{StoreError, group_of};
use crate::coordinator::{OFFSETS_TOPIC, codes};
use crate::protocol::Str;
use crate::protocol::messages::write_txn_markers_response::{
    WritableTxnMarkerPartitionResult, WritableTxnMarkerResult, WritableTxnMarkerTopicResult,
};
use crate::protocol::messages::{WriteTxnMarkersRequest, WriteTxnMarkersResponse};
use crate::record::control::EndTransactionMarker;
use crate::replica::{Appended, ReplicaManager};
use crate::util::clock::wall_ms;
use crate::util::task::Group;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// See the module's page.
pub struct MarkerWriter {
    replicas: Arc<ReplicaManager>,
    /// Hears of markers in `__consumer_offsets`: offsets that were pending become true or are dropped.
    groups: Arc<GroupCoordinator>,
    /// Waits for the replicas of markers in `__consumer_offsets` run on these.
    tasks: Arc<[Group]>,
}

impl MarkerWriter {
    pub fn new(replicas: Arc<ReplicaManager>, groups: Arc<GroupCoordinator>, tasks: Arc<[Group]>) -> Self {
        Self { replicas, groups, tasks }
    }

    /// Appends every marker, then waits until all are committed, at most for `timeout`. Groups do not wait for that: the
    /// offsets of each are decided as soon as the replicas have its own marker, and before the coordinator of transactions
    /// has the answer with which the producer may begin its next transaction.
    pub async fn write(&self, request: &WriteTxnMarkersRequest, timeout: Duration) -> WriteTxnMarkersResponse {
        let mut results: BTreeMap<i64, BTreeMap<TopicPartition, ErrorCode>> = BTreeMap::new();
        let (mut appended, mut of_groups) = (Vec::new(), Vec::new());
        for marker in &request.markers {
            let end = EndTransactionMarker {
                committed: marker.transaction_result,
                coordinator_epoch: marker.coordinator_epoch,
            };
            let (producer_id, epoch) = (marker.producer_id, marker.producer_epoch);
            // A partition that is named twice gets one marker.
            let mut partitions = BTreeSet::new();
            for topic in &marker.topics {
                let name: Arc<str> = Arc::from(&*topic.name);
                let of_topic = topic.partition_indexes.iter();
                partitions.extend(of_topic.map(|p| TopicPartition { topic: Arc::clone(&name), partition: *p }));
            }
            for tp in partitions {
                match self.append(&tp, end, producer_id, epoch).await {
                    Ok(done) if &*tp.topic == OFFSETS_TOPIC => {
                        let completing = self.complete(tp.partition, producer_id, end.committed, done, timeout);
                        of_groups.push((producer_id, tp, completing));
                    }
                    Ok(done) => appended.push((producer_id, tp, done)),
                    Err(error) => {
                        results.entry(producer_id).or_default().insert(tp, codes::log_code(error));
                    }
                }
            }
        }
        let waits: Vec<_> = appended.iter().map(|(.., done)| done).collect();
        let replicated = self.replicas.wait_committed(&waits, timeout).await;
        for ((producer_id, tp, _), outcome) in appended.into_iter().zip(replicated) {
            let code = outcome.map_or_else(|error| codes::log_code(error.into()), |()| ErrorCode::None);
            results.entry(producer_id).or_default().insert(tp, code);
        }
        for (producer_id, tp, completing) in of_groups {
            let outcome = completing.await.ok().flatten().unwrap_or(Err(StoreError::Internal));
            let code = outcome.map_or_else(codes::log_code, |()| ErrorCode::None);
            results.entry(producer_id).or_default().insert(tp, code);
        }
        answer(results)
    }

    /// Waits for the replicas of one marker, and then reports it to the groups of its partition.
    fn complete(
        &self,
        partition: i32,
        producer_id: i64,
        committed: bool,
        appended: Appended,
        timeout: Duration,
    ) -> JoinHandle<Option<Result<(), StoreError>>> {
        let (replicas, groups) = (Arc::clone(&self.replicas), Arc::clone(&self.groups));
        let group = group_of(&self.tasks, partition);
        let stop = group.stop_token().clone();
        group.spawn_isolated("transaction-completion", async move {
            let waiting = [&appended];
            let outcomes =
                stop.run_until_cancelled(replicas.wait_committed(&waiting, timeout)).await.unwrap_or_default();
            let outcome = outcomes.first().map_or(Err(StoreError::NotLeader), |outcome| Ok((*outcome)?));
            if outcome.is_ok() {
                groups.on_transaction_marker(partition, producer_id, committed, appended.info.first_offset).await;
            }
            outcome
        })
    }

    async fn append(
        &self,
        tp: &TopicPartition,
        end: EndTransactionMarker,
        producer_id: i64,
        epoch: i16,
    ) -> Result<Appended, StoreError> {
        // As Kafka looks for the format of the log first: no log, no such partition.
        let hosted = self.replicas.partition(&tp.topic, tp.partition).ok().and_then(|partition| partition.log());
        if hosted.is_none() {
            return Err(StoreError::UnknownPartition);
        }
        let now = wall_ms();
        let batch = end
            .batch(0, LeaderEpoch::NONE, now, producer_id, epoch)
            .map_err(|error| StoreError::Invalid(error.code()))?;
        Ok(self.replicas.append_internal(tp, &batch, None, true, None, now).await?)
    }
}

fn answer(results: BTreeMap<i64, BTreeMap<TopicPartition, ErrorCode>>) -> WriteTxnMarkersResponse {
    let of_producer = |(producer_id, partitions): (i64, BTreeMap<TopicPartition, ErrorCode>)| {
        let mut topics: Vec<WritableTxnMarkerTopicResult> = Vec::new();
        for (tp, code) in partitions {
            let result = WritableTxnMarkerPartitionResult {
                partition_index: tp.partition,
                error_code: code.wire(),
                ..Default::default()
            };
            match topics.last_mut() {
                Some(last) if *last.name == *tp.topic => last.partitions.push(result),
                _ => topics.push(WritableTxnMarkerTopicResult {
                    name: Str::from(&*tp.topic),
                    partitions: vec![result],
                    ..Default::default()
                }),
            }
        }
        WritableTxnMarkerResult { producer_id, topics, ..Default::default() }
    };
    WriteTxnMarkersResponse { markers: results.into_iter().map(of_producer).collect(), ..Default::default() }
}
