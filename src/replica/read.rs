//! Owns reads over many partitions within the limits of one fetch. Kafka: `ReplicaManager.readFromLog`, `DelayedFetch`.

use super::host::NotHosted;
use super::manager::ReplicaManager;
use super::selector;
use crate::cluster::isr::FollowerFetch;
use crate::cluster::partition::{Partition, PartitionError};
use crate::common::{BrokerId, LeaderEpoch, Offset, TopicPartition, Uuid};
use crate::disk::FileSlice;
use crate::log::index::AbortedTxn;
use crate::log::{Doubtful, FetchIsolation, ReadError, UnifiedLog};
use crate::util::task;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How much one fetch may return, and what it may see.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits<'a> {
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
    /// A replica that reads: the offset that it asks for says what it has.
    pub follower: Option<BrokerId>,
    /// A consumer that may be sent to another replica.
    pub consumer: Option<Consumer<'a>>,
}

/// Where a consumer is (KIP-392).
#[derive(Clone, Copy, Debug)]
pub struct Consumer<'a> {
    /// Empty when it does not say.
    pub rack: &'a str,
    /// The listener that it came in on, and could reach another replica by.
    pub listener: &'a str,
}

/// One partition to read.
#[derive(Clone, Debug)]
pub struct PartitionFetch {
    /// None: the request named an id that no one knows.
    pub topic: Option<Arc<str>>,
    /// Zero: not checked.
    pub topic_id: Uuid,
    pub partition: i32,
    pub fetch_offset: Offset,
    pub max_bytes: u32,
    pub current_leader_epoch: LeaderEpoch,
    /// The epoch of the last record that the fetcher has; none: it does not say.
    pub last_fetched_epoch: LeaderEpoch,
    /// Where a follower's log starts; -1 from consumers.
    pub log_start_offset: Offset,
}

/// Why a partition gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("no topic of that id is known")]
    UnknownTopicId,
    #[error("the partition is of a topic with another id")]
    OtherTopicId,
    #[error(transparent)]
    NotHosted(#[from] NotHosted),
    #[error(transparent)]
    Role(#[from] PartitionError),
    #[error("the offset is out of range")]
    OffsetOutOfRange,
    /// The bytes of the log are damaged there.
    #[error("the log is damaged")]
    Corrupt,
    #[error("the log directory has failed")]
    Dir,
}

impl From<ReadError> for FetchError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::OffsetOutOfRange { .. } => Self::OffsetOutOfRange,
            ReadError::Corrupt(_) => Self::Corrupt,
            ReadError::Dir(_) => Self::Dir,
        }
    }
}

/// What a partition gave.
#[derive(Clone, Debug)]
pub struct ReadPartition {
    /// Then all offsets are -1, and there is nothing else.
    pub error: Option<FetchError>,
    pub high_watermark: Offset,
    pub last_stable_offset: Offset,
    pub log_start_offset: Offset,
    pub records: Option<FileSlice>,
    /// `records` are to be checked first.
    doubtful: Option<Doubtful>,
    /// For read_committed: aborted transactions in the range.
    pub aborted: Option<Vec<AbortedTxn>>,
    /// The fetcher's log has diverged: the leader's epoch and its end (KIP-595).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// The consumer should read from this replica.
    pub preferred: Option<BrokerId>,
}

impl ReadPartition {
    fn failed(error: FetchError) -> Self {
        Self {
            error: Some(error),
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            records: None,
            doubtful: None,
            aborted: None,
            diverging: None,
            preferred: None,
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
    /// Reads, and waits up to `max_wait` for `min_bytes`.
    pub async fn fetch(
        &self,
        partitions: &[PartitionFetch],
        limits: FetchLimits<'_>,
        max_wait: Duration,
        stop: &CancellationToken,
    ) -> FetchRead {
        let read = check(self.fetch_or_wait(partitions, limits, max_wait, stop).await).await;
        if limits.follower.is_some() && self.host.leader_quota.is_set() {
            self.record_sent(partitions, &read);
        }
        read
    }

    async fn fetch_or_wait(
        &self,
        partitions: &[PartitionFetch],
        limits: FetchLimits<'_>,
        max_wait: Duration,
        stop: &CancellationToken,
    ) -> FetchRead {
        // Only now does a follower's fetch count for what it has: when it is looked at again, the answer would count as read.
        let first = self.read(partitions, limits, true);
        if first.complete || max_wait.is_zero() || partitions.is_empty() {
            return first;
        }
        let keys = partitions
            .iter()
            .filter_map(|p| Some(TopicPartition { topic: Arc::clone(p.topic.as_ref()?), partition: p.partition }))
            .collect();
        let waiter = if limits.follower.is_some() {
            self.host.waits.follower_fetches.watch(keys)
        } else {
            self.host.waits.fetches.watch(keys)
        };
        let deadline = tokio::time::sleep(max_wait);
        tokio::pin!(deadline);
        loop {
            let read = self.read(partitions, limits, false);
            if read.complete {
                return read;
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => return read,
                () = waiter.woken() => {}
                () = &mut deadline => return self.read(partitions, limits, false),
            }
        }
    }

    /// One pass over the partitions, in their order. Once a partition gave something, limits are hard for those after it.
    fn read(&self, partitions: &[PartitionFetch], limits: FetchLimits<'_>, is_first: bool) -> FetchRead {
        let mut left = limits.max_bytes;
        let mut min_one_batch = !limits.hard;
        let mut total: u64 = 0;
        let mut complete = false;
        let mut answers = Vec::with_capacity(partitions.len());
        for fetch in partitions {
            let max_bytes = fetch.max_bytes.min(left);
            let answer = self
                .read_partition(fetch, limits, max_bytes, min_one_batch, is_first)
                .unwrap_or_else(ReadPartition::failed);
            let bytes = answer.bytes();
            if bytes > 0 {
                min_one_batch = false;
            }
            left = left.saturating_sub(bytes);
            total += u64::from(bytes);
            complete |= answer.error.is_some() || answer.diverging.is_some() || answer.preferred.is_some();
            answers.push(answer);
        }
        complete |= total >= u64::from(limits.min_bytes);
        FetchRead { partitions: answers, complete }
    }

    fn read_partition(
        &self,
        fetch: &PartitionFetch,
        limits: FetchLimits<'_>,
        max_bytes: u32,
        min_one_batch: bool,
        is_first: bool,
    ) -> Result<ReadPartition, FetchError> {
        let topic = fetch.topic.as_ref().ok_or(FetchError::UnknownTopicId)?;
        let partition = self.host.partition(topic, fetch.partition)?;
        if !fetch.topic_id.is_zero() && partition.topic_id().is_some_and(|id| id != fetch.topic_id) {
            return Err(FetchError::OtherTopicId);
        }
        let preferred = limits.consumer.and_then(|consumer| self.preferred_replica(&partition, fetch, consumer));
        let leader_only = limits.leader_only && preferred.is_none();
        let epoch = partition.leader_epoch();
        let log = partition.log_for(fetch.current_leader_epoch, leader_only)?;
        if let Some(follower) = limits.follower {
            partition.check_follower(follower, fetch.current_leader_epoch)?;
        }
        let offsets = log.offsets();
        let (high_watermark, last_stable_offset) = (offsets.high_watermark.offset, offsets.last_stable.offset);
        let (log_start_offset, log_end) = (offsets.log_start, offsets.log_end.offset);
        let mut answer = ReadPartition {
            error: None,
            high_watermark,
            last_stable_offset,
            log_start_offset,
            records: None,
            doubtful: None,
            aborted: None,
            diverging: None,
            preferred,
        };
        if preferred.is_some() {
            return Ok(answer);
        }
        if fetch.last_fetched_epoch != LeaderEpoch::NONE {
            let end = log.end_offset_for_epoch(fetch.last_fetched_epoch).ok_or(FetchError::OffsetOutOfRange)?;
            if fetch.fetch_offset < log_start_offset {
                return Err(FetchError::OffsetOutOfRange);
            }
            if end.epoch < fetch.last_fetched_epoch || end.end_offset < fetch.fetch_offset {
                answer.diverging = Some((end.epoch, end.end_offset));
                return Ok(answer);
            }
        }
        let isolation = if limits.up_to_log_end {
            FetchIsolation::LogEnd
        } else if limits.read_committed {
            FetchIsolation::TxnCommitted
        } else {
            FetchIsolation::HighWatermark
        };
        let read = log.read(fetch.fetch_offset, max_bytes, isolation, min_one_batch)?;
        // Consumers from version 3 on make progress without half a batch, and would not expect one.
        answer.records = read.records.filter(|_| limits.hard || !read.first_entry_incomplete);
        answer.aborted = read.aborted;
        answer.doubtful = read.doubtful.filter(|_| answer.records.is_some());
        if let Some(follower) = limits.follower {
            // Read as a leader, or it may be another leader's records.
            partition.log_for(epoch, leader_only)?;
            if is_first {
                let fetch =
                    FollowerFetch { from: read.start, log_start: fetch.log_start_offset, leader_log_end: log_end };
                let progress =
                    self.host.around(|around| partition.on_follower_fetch(epoch, follower, &log, &fetch, around));
                self.host.run(&partition, progress);
            }
            if self.throttles_as_leader(&partition, &log, follower) {
                answer.records = None;
            }
        }
        Ok(answer)
    }

    /// The replica that a consumer should turn to, when this broker leads and knows a nearer one.
    fn preferred_replica(
        &self,
        partition: &Partition,
        fetch: &PartitionFetch,
        consumer: Consumer<'_>,
    ) -> Option<BrokerId> {
        if !self.host.settings.is_rack_aware || consumer.rack.is_empty() || !partition.is_leader() {
            return None;
        }
        let image = self.host.image.load();
        let rack_of = |id: BrokerId| {
            let broker = image.brokers.get(&id)?;
            broker.endpoint(consumer.listener)?;
            broker.rack.as_deref()
        };
        let replicas = partition.readable_replicas(fetch.fetch_offset, self.host.clock.ticks());
        selector::rack_aware(consumer.rack, &replicas, rack_of)
    }

    /// Whether a follower has to wait: it is throttled, and not in sync, which throttling must not break.
    fn throttles_as_leader(&self, partition: &Partition, log: &UnifiedLog, follower: BrokerId) -> bool {
        self.host.leader_quota.is_set()
            && !partition.is_in_sync(follower)
            && self.is_throttled_leader(log)
            && self.host.leader_quota.is_exceeded(self.host.clock.ticks())
    }

    fn is_throttled_leader(&self, log: &UnifiedLog) -> bool {
        let partition = log.topic_partition().partition;
        log.config().leader_replication_throttled_replicas.contains(partition, self.host.local().0)
    }

    /// Counts what followers are sent of throttled replicas.
    fn record_sent(&self, partitions: &[PartitionFetch], read: &FetchRead) {
        let mut bytes = 0;
        for (fetch, read) in partitions.iter().zip(&read.partitions).filter(|(_, read)| read.bytes() > 0) {
            let Some(topic) = fetch.topic.clone() else { continue };
            let log = self.host.online_log(&TopicPartition { topic, partition: fetch.partition });
            if log.is_some_and(|log| self.is_throttled_leader(&log)) {
                bytes += u64::from(read.bytes());
            }
        }
        self.host.leader_quota.record(self.host.clock.ticks(), bytes);
    }
}

/// Checks what came from the disk and no one has looked at. What lies before damage is sent, and the next read finds it.
async fn check(mut read: FetchRead) -> FetchRead {
    if read.partitions.iter().all(|partition| partition.doubtful.is_none()) {
        return read;
    }
    let checking = task::spawn_blocking("check-cold-records", move || {
        for partition in &mut read.partitions {
            if let (Some(doubtful), Some(records)) = (partition.doubtful.take(), &mut partition.records) {
                match doubtful.check(records) {
                    Ok(valid) => records.len = valid,
                    Err(error) => *partition = ReadPartition::failed(error.into()),
                }
            }
        }
        read
    });
    checking.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
