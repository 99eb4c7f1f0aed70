//! Owns appends over many partitions, and the waits of producers and fetchers. Kafka: `ReplicaManager`, `DelayedProduce`,
//! `DelayedFetch`.

use super::partitions::{Hosted, Partitions};
use crate::cluster::image::MetadataImage;
use crate::cluster::partition::{Partition, PartitionAppendError};
use crate::common::{BrokerId, ControllerEpoch, ErrorCode, Millis, Offset, TopicPartition};
use crate::config::Props;
use crate::config::topic::{self, BrokerCompression, LogConfig};
use crate::log::producer_state::ProducerError;
use crate::log::{AppendError, AppendInfo, LogManager, UnifiedLog};
use crate::record::validate::{self, AppendOrigin, RecordRefusal, ValidateError, ValidationContext};
use crate::record::{Compression, TimestampType};
use crate::util::purgatory::Purgatory;
use arc_swap::ArcSwap;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tracing::warn;

pub struct ReplicaManager {
    pub(super) local: BrokerId,
    pub(super) logs: Arc<LogManager>,
    pub(super) partitions: Partitions,
    image: Arc<ArcSwap<MetadataImage>>,
    default_config: ArcSwap<LogConfig>,
    /// Topics with settings of their own.
    topic_configs: Mutex<HashMap<Arc<str>, Arc<LogConfig>>>,
    /// Woken when a partition has more to read, or its role changes.
    pub(super) fetches: Arc<Purgatory<TopicPartition>>,
    /// Woken when a partition's high watermark rises, or its role changes.
    pub(super) produces: Arc<Purgatory<TopicPartition>>,
    /// The epoch of the last controller obeyed. Held for the whole of a state change: first come, first served.
    pub(super) controller_epoch: Mutex<ControllerEpoch>,
}

/// Records that are in the log.
#[derive(Debug)]
pub struct Appended {
    pub partition: Arc<Partition>,
    pub info: AppendInfo,
}

/// Why records were refused, as a Produce response says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendFailure {
    pub code: ErrorCode,
    pub message: Option<String>,
    pub record_errors: Vec<RecordRefusal>,
    /// -1 unless the failure is known to be of a log with a start.
    pub log_start_offset: Offset,
}

impl From<ErrorCode> for AppendFailure {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, record_errors: Vec::new(), log_start_offset: -1 }
    }
}

impl ReplicaManager {
    /// `topic_configs` has the topics with settings of their own.
    pub fn new(
        local: BrokerId,
        logs: Arc<LogManager>,
        image: Arc<ArcSwap<MetadataImage>>,
        default_config: Arc<LogConfig>,
        topic_configs: HashMap<Arc<str>, Arc<LogConfig>>,
    ) -> Self {
        Self {
            local,
            logs,
            partitions: Partitions::default(),
            image,
            default_config: ArcSwap::new(default_config),
            topic_configs: Mutex::new(topic_configs),
            fetches: Arc::default(),
            produces: Arc::default(),
            controller_epoch: Mutex::new(ControllerEpoch(0)),
        }
    }

    /// The settings of a topic, its own over the broker's.
    pub fn topic_config(&self, topic: &str) -> Arc<LogConfig> {
        let own = self.topic_configs.lock().get(topic).cloned();
        own.unwrap_or_else(|| self.default_config.load_full())
    }

    /// Takes over new settings of a topic, also for its logs that are open. None: it has none of its own any more.
    pub fn set_topic_config(&self, topic: &str, config: Option<Arc<LogConfig>>) {
        let effective = config.clone().unwrap_or_else(|| self.default_config.load_full());
        {
            let mut configs = self.topic_configs.lock();
            match config {
                Some(config) => configs.insert(Arc::from(topic), config),
                None => configs.remove(topic),
            };
        }
        self.logs.update_topic_config(topic, &effective);
    }

    /// Takes over new defaults of the broker, as `config` and as the `defaults` that it came from. Topics with settings of
    /// their own keep those.
    pub fn set_default_config(&self, config: Arc<LogConfig>, defaults: &Props) {
        let topics = {
            let mut topics = self.topic_configs.lock();
            for (topic, own) in topics.iter_mut() {
                match LogConfig::resolve(defaults, &own.overridden) {
                    Ok(resolved) => *own = Arc::new(resolved),
                    Err(error) => warn!(%topic, %error, "topic config ignored"),
                }
            }
            self.default_config.store(Arc::clone(&config));
            topics.clone()
        };
        self.logs.update_configs(|topic| topics.get(topic).unwrap_or(&config));
    }

    pub fn logs(&self) -> &Arc<LogManager> {
        &self.logs
    }

    /// Kafka: `getPartitionOrError`.
    pub fn partition(&self, topic: &str, partition: i32) -> Result<Arc<Partition>, ErrorCode> {
        match self.partitions.get(topic, partition) {
            Some(Hosted::Online(partition)) => Ok(partition),
            Some(Hosted::Offline) => Err(ErrorCode::KafkaStorageError),
            // The topic exists, but not here: the client has to refresh its metadata.
            None if self.image.load().partition(topic, partition).is_some() => Err(ErrorCode::NotLeaderOrFollower),
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// Validates and appends what a client produced to one partition, and wakes those who wait to read it.
    pub async fn append(
        &self,
        topic: &str,
        partition: i32,
        records: &Bytes,
        acks_all: bool,
        now: Millis,
    ) -> Result<Appended, AppendFailure> {
        let partition = self.partition(topic, partition)?;
        let log = partition.log().filter(|_| partition.is_leader()).ok_or(ErrorCode::NotLeaderOrFollower)?;
        let config = log.config();
        let context = ValidationContext {
            topic_partition: &partition.topic_partition,
            now,
            origin: AppendOrigin::Client,
            compression: target_compression(&config),
            timestamp_type: match config.message_timestamp_type {
                topic::TimestampType::CreateTime => TimestampType::CreateTime,
                topic::TimestampType::LogAppendTime => TimestampType::LogAppendTime,
            },
            timestamp_before_max_ms: config.message_timestamp_before_max_ms,
            timestamp_after_max_ms: config.message_timestamp_after_max_ms,
            compacted: config.compact,
            max_message_bytes: config.max_message_bytes as usize,
        };
        let batches = validate::validate(records, &context).map_err(refused)?;
        let info = partition.append_as_leader(&batches, acks_all, now).map_err(append_failed)?;
        if info.flush_due {
            flush(&log, now).await?;
        }
        partition.on_log_end(&log, info.log_end);
        self.fetches.wake(&partition.topic_partition);
        self.produces.wake(&partition.topic_partition);
        Ok(Appended { partition, info })
    }

    /// Waits until everything below the given ends is committed, at most until `timeout`. For each partition: what its
    /// producer is told.
    pub async fn wait_committed(
        &self,
        appended: &[(Arc<Partition>, Offset)],
        timeout: std::time::Duration,
    ) -> Vec<ErrorCode> {
        let mut outcomes: Vec<Option<ErrorCode>> = vec![None; appended.len()];
        let advance = |outcomes: &mut Vec<Option<ErrorCode>>| {
            for (outcome, (partition, end)) in outcomes.iter_mut().zip(appended).filter(|(o, _)| o.is_none()) {
                *outcome = match partition.is_committed(*end) {
                    Ok(true) => Some(ErrorCode::None),
                    Ok(false) => None,
                    Err(code) => Some(code),
                };
            }
            outcomes.iter().all(Option::is_some)
        };
        if !advance(&mut outcomes) {
            let keys = appended.iter().map(|(partition, _)| partition.topic_partition.clone()).collect();
            let waiter = self.produces.watch(keys);
            let deadline = tokio::time::sleep(timeout);
            tokio::pin!(deadline);
            while !advance(&mut outcomes) {
                tokio::select! {
                    biased;
                    () = waiter.woken() => {}
                    () = &mut deadline => break,
                }
            }
        }
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(ErrorCode::RequestTimedOut)).collect()
    }

    /// Partitions of a failed log directory are offline until the broker is started again.
    pub fn take_offline(&self, partitions: Vec<TopicPartition>) {
        self.partitions.apply(partitions.iter().map(|tp| (tp.clone(), Some(Hosted::Offline))));
        for tp in &partitions {
            self.fetches.wake(tp);
            self.produces.wake(tp);
        }
    }
}

/// `flush.messages` is reached: what was appended counts for nothing before it is on the disk.
async fn flush(log: &Arc<UnifiedLog>, now: Millis) -> Result<(), ErrorCode> {
    let log = Arc::clone(log);
    match tokio::task::spawn_blocking(move || log.flush(now)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(ErrorCode::KafkaStorageError),
    }
}

fn append_failed(error: PartitionAppendError) -> AppendFailure {
    let code = match error {
        PartitionAppendError::Role(error) => error.code(),
        PartitionAppendError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        PartitionAppendError::Log(error) => match error {
            AppendError::NotLeader => ErrorCode::NotLeaderOrFollower,
            AppendError::TooLarge { .. } => ErrorCode::RecordListTooLarge,
            AppendError::Producer(error) => match error {
                ProducerError::InvalidEpoch { .. } => ErrorCode::InvalidProducerEpoch,
                ProducerError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
                ProducerError::NotInTransaction { .. } | ProducerError::TransactionOpen { .. } => {
                    ErrorCode::InvalidTxnState
                }
                ProducerError::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
            },
            AppendError::Record(error) => error.code(),
            AppendError::UnexpectedOffset { .. } | AppendError::OffsetsOutOfOrder => ErrorCode::UnknownServerError,
            // The directory has told why, once.
            AppendError::Dir(_) => ErrorCode::KafkaStorageError,
        },
    };
    code.into()
}

/// `compression.type`; None keeps what the producer chose.
fn target_compression(config: &LogConfig) -> Option<Compression> {
    Some(match config.compression {
        BrokerCompression::Producer => return None,
        BrokerCompression::Uncompressed => Compression::None,
        BrokerCompression::Gzip(level) => Compression::Gzip(level),
        BrokerCompression::Snappy => Compression::Snappy,
        BrokerCompression::Lz4(level) => Compression::Lz4(level),
        BrokerCompression::Zstd(level) => Compression::Zstd(level),
    })
}

fn refused(error: ValidateError) -> AppendFailure {
    AppendFailure {
        code: error.code(),
        message: error.client_message().map(str::to_owned),
        record_errors: error.record_errors().to_vec(),
        log_start_offset: -1,
    }
}
