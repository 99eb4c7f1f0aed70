//! Owns reads over many partitions within the limits of one fetch. Kafka: `ReplicaManager.readFromLog`, `DelayedFetch`.

use super::manager::ReplicaManager;
use crate::common::{ErrorCode, LeaderEpoch, Offset, TopicPartition, Uuid};
use crate::disk::FileSlice;
use crate::log::index::AbortedTxn;
use crate::log::{FetchIsolation, ReadError};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How much one fetch may return, and what it may see.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Of all partitions together; soft by one batch unless `hard`.
    pub max_bytes: u32,
    pub min_bytes: u32,
    /// Versions 0 to 2: a batch may be cut rather than exceed a limit.
    pub hard: bool,
    pub read_committed: bool,
    /// Fetches of followers, and of consumers that know no other replicas.
    pub leader_only: bool,
    /// Followers and debuggers read beyond the high watermark.
    pub up_to_log_end: bool,
}

/// One partition to read.
#[derive(Clone, Debug)]
pub struct PartitionFetch {
    /// None: the request named an id that nobody knows.
    pub topic: Option<Arc<str>>,
    /// Zero: not checked.
    pub topic_id: Uuid,
    pub partition: i32,
    pub fetch_offset: Offset,
    pub max_bytes: u32,
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record that the fetcher has; none: it does not say.
    pub last_fetched_epoch: LeaderEpoch,
}

/// What a partition gave.
#[derive(Clone, Debug)]
pub struct ReadPartition {
    pub error: ErrorCode,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    pub records: Option<FileSlice>,
    /// For read_committed: aborted transactions in the range.
    pub aborted: Option<Vec<AbortedTxn>>,
    /// The fetcher's log has diverged: the leader's epoch and its end (KIP-595).
    pub diverging: Option<(LeaderEpoch, Offset)>,
}

impl ReadPartition {
    fn failed(error: ErrorCode) -> Self {
        Self {
            error,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            records: None,
            aborted: None,
            diverging: None,
        }
    }

    pub fn bytes(&self) -> u32 {
        self.records.as_ref().map_or(0, |slice| slice.len)
    }
}

/// The answers of one fetch, in the order of its partitions.
#[derive(Debug)]
pub struct FetchRead {
    pub partitions: Vec<ReadPartition>,
    /// Enough bytes, an error, or something that a fetcher must hear of at once.
    complete: bool,
}

impl ReplicaManager {
    /// Reads, and waits up to `max_wait` for `min_bytes`. `parked` is called when the wait begins.
    pub async fn fetch(
        &self,
        partitions: &[PartitionFetch],
        limits: FetchLimits,
        max_wait: Duration,
        stop: &CancellationToken,
        parked: impl FnOnce(),
    ) -> FetchRead {
        let first = self.read(partitions, limits);
        if first.complete || max_wait.is_zero() || partitions.is_empty() {
            return first;
        }
        let keys = partitions
            .iter()
            .filter_map(|p| Some(TopicPartition { topic: Arc::clone(p.topic.as_ref()?), partition: p.partition }))
            .collect();
        let waiter = self.fetches.watch(keys);
        parked();
        let deadline = tokio::time::sleep(max_wait);
        tokio::pin!(deadline);
        loop {
            let read = self.read(partitions, limits);
            if read.complete {
                return read;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return read,
                () = waiter.woken() => {}
                () = &mut deadline => return self.read(partitions, limits),
            }
        }
    }

    /// One pass over the partitions, in their order. Once a partition gave something, limits are hard for those after it.
    fn read(&self, partitions: &[PartitionFetch], limits: FetchLimits) -> FetchRead {
        let mut left = limits.max_bytes;
        let mut min_one_batch = !limits.hard;
        let mut total: u64 = 0;
        let mut complete = false;
        let mut answers = Vec::with_capacity(partitions.len());
        for fetch in partitions {
            let answer = self.read_partition(fetch, limits, fetch.max_bytes.min(left), min_one_batch);
            let bytes = answer.bytes();
            if bytes > 0 {
                min_one_batch = false;
            }
            left = left.saturating_sub(bytes);
            total += u64::from(bytes);
            complete |= answer.error.is_error() || answer.diverging.is_some();
            answers.push(answer);
        }
        complete |= total >= u64::from(limits.min_bytes);
        FetchRead { partitions: answers, complete }
    }

    fn read_partition(
        &self,
        fetch: &PartitionFetch,
        limits: FetchLimits,
        max_bytes: u32,
        min_one_batch: bool,
    ) -> ReadPartition {
        let Some(topic) = &fetch.topic else { return ReadPartition::failed(ErrorCode::UnknownTopicId) };
        let partition = match self.partition(topic, fetch.partition) {
            Ok(partition) => partition,
            Err(error) => return ReadPartition::failed(error),
        };
        if !fetch.topic_id.is_zero() && partition.topic_id().is_some_and(|id| id != fetch.topic_id) {
            return ReadPartition::failed(ErrorCode::InconsistentTopicId);
        }
        let log = match partition.log_for(fetch.current_leader_epoch, limits.leader_only) {
            Ok(log) => log,
            Err(error) => return ReadPartition::failed(error.code()),
        };
        // The high watermark before the end offset: the other way round it could seem to pass it.
        let (high_watermark, last_stable_offset) = (log.high_watermark(), log.last_stable_offset());
        let mut answer = ReadPartition {
            error: ErrorCode::None,
            high_watermark,
            last_stable_offset,
            log_start_offset: log.log_start_offset(),
            records: None,
            aborted: None,
            diverging: None,
        };
        if fetch.last_fetched_epoch != LeaderEpoch::NONE {
            match log.end_offset_for_epoch(fetch.last_fetched_epoch) {
                None => return ReadPartition::failed(ErrorCode::OffsetOutOfRange),
                Some(end) if end.epoch < fetch.last_fetched_epoch || end.end_offset < fetch.fetch_offset => {
                    answer.diverging = Some((end.epoch, end.end_offset));
                    return answer;
                }
                Some(_) => {}
            }
        }
        let isolation = if limits.up_to_log_end {
            FetchIsolation::LogEnd
        } else if limits.read_committed {
            FetchIsolation::TxnCommitted
        } else {
            FetchIsolation::HighWatermark
        };
        match log.read(fetch.fetch_offset, max_bytes, isolation, min_one_batch) {
            Ok(read) => {
                // Consumers from version 3 on make progress without half a batch, and would not expect one.
                answer.records = read.records.filter(|_| limits.hard || !read.first_entry_incomplete);
                answer.aborted = read.aborted;
                answer
            }
            Err(error) => ReadPartition::failed(read_error(&error)),
        }
    }
}

/// Kafka: `KafkaApis`' mapping of what a read throws.
pub fn read_error(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Corrupt(_) => ErrorCode::CorruptMessage,
        ReadError::Dir(_) => ErrorCode::KafkaStorageError,
    }
}
