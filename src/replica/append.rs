//! Owns appends over many partitions, and the waits for what comes of them. Kafka: `ReplicaManager.appendRecords`,
//! `DelayedProduce`, `DelayedDeleteRecords`.

use super::host::NotHosted;
use super::manager::ReplicaManager;
use crate::cluster::partition::{AppendTerms, CommitError, LeaderAppend, NotLeader, Partition, PartitionAppendError};
use crate::common::{LeaderEpoch, Millis, Offset};
use crate::config::topic::{self, BrokerCompression, LogConfig};
use crate::log::{AppendInfo, UnifiedLog, VerificationGuard};
use crate::record::validate::{self, AppendOrigin, ValidateError, ValidationContext};
use crate::record::{Compression, TimestampType};
use crate::util::task;
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// Records that are in the log.
#[derive(Debug)]
pub struct Appended {
    pub partition: Arc<Partition>,
    pub info: AppendInfo,
    led_since: LeaderEpoch,
}

impl Appended {
    /// Whether the replicas have it.
    pub fn is_committed(&self) -> Result<bool, CommitError> {
        self.partition.is_committed(self.info.last_offset + 1, self.led_since)
    }
}

/// Why a leader did not take records.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    NotHosted(#[from] NotHosted),
    #[error(transparent)]
    Invalid(#[from] ValidateError),
    #[error(transparent)]
    Partition(#[from] PartitionAppendError),
    /// `flush.messages` is reached, and they are in the log, but not on the disk.
    #[error("the log was not flushed")]
    NotFlushed,
}

impl From<NotLeader> for AppendError {
    fn from(error: NotLeader) -> Self {
        Self::Partition(error.into())
    }
}

/// [`AppendError`], with what else a producer may learn of the log.
#[derive(Debug)]
pub struct AppendFailure {
    pub error: AppendError,
    /// Of the log that refused; None when none was asked.
    pub log_start_offset: Option<Offset>,
}

impl<E: Into<AppendError>> From<E> for AppendFailure {
    fn from(error: E) -> Self {
        Self { error: error.into(), log_start_offset: None }
    }
}

/// The error of an append that `log` refused.
fn refused_by(log: &UnifiedLog, error: impl Into<AppendError>) -> AppendFailure {
    AppendFailure { error: error.into(), log_start_offset: Some(log.log_start_offset()) }
}

/// Why a producer that waits for its records to be committed waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    #[error(transparent)]
    Lost(#[from] CommitError),
    /// They may still be.
    #[error("the replicas did not have them in time")]
    TimedOut,
}

/// Why DeleteRecords waits no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitDeletedError {
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    #[error("the followers had not deleted them in time")]
    TimedOut,
}

impl ReplicaManager {
    /// Validates and appends what a client produced to one partition, and wakes those who wait to read it.
    pub async fn append(
        &self,
        topic: &str,
        partition: i32,
        records: &Bytes,
        acks_all: bool,
        guard: Option<VerificationGuard>,
        now: Millis,
    ) -> Result<Appended, AppendFailure> {
        let terms = AppendTerms { origin: AppendOrigin::Client, guard, acks_all, led_since: None };
        self.append_on(topic, partition, records, terms, now).await
    }

    /// As [`Self::append`], for any origin.
    pub(super) async fn append_on(
        &self,
        topic: &str,
        partition: i32,
        records: &Bytes,
        terms: AppendTerms,
        now: Millis,
    ) -> Result<Appended, AppendFailure> {
        let partition = self.host.partition(topic, partition)?;
        let log = partition.log().filter(|_| partition.is_leader()).ok_or(NotLeader)?;
        let config = log.config();
        let context = ValidationContext {
            topic_partition: &partition.topic_partition,
            now,
            origin: terms.origin,
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
        let batches = validate::validate(records, &context).map_err(|error| refused_by(&log, error))?;
        let LeaderAppend { info, log, led_since } =
            partition.append_as_leader(&batches, &terms, now).map_err(|error| refused_by(&log, error))?;
        if info.flush_due {
            flush(&log, now).await?;
        }
        let progress = self.host.around(|around| partition.on_log_end(&log, info.log_end, around));
        if !partition.is_alone() {
            self.host.waits.follower_fetches.wake(&partition.topic_partition);
        }
        self.host.run(&partition, progress);
        Ok(Appended { partition, info, led_since })
    }

    /// Waits until all of it is committed, at most until `timeout`. One outcome an append, in their order.
    pub async fn wait_committed(&self, appended: &[&Appended], timeout: Duration) -> Vec<Result<(), WaitError>> {
        let mut outcomes: Vec<Option<Result<(), WaitError>>> = vec![None; appended.len()];
        let advance = |outcomes: &mut Vec<Option<Result<(), WaitError>>>| {
            for (outcome, appended) in outcomes.iter_mut().zip(appended).filter(|(o, _)| o.is_none()) {
                *outcome = match appended.is_committed() {
                    Ok(true) => Some(Ok(())),
                    Ok(false) => None,
                    Err(error) => Some(Err(error.into())),
                };
            }
            outcomes.iter().all(Option::is_some)
        };
        if !advance(&mut outcomes) {
            let keys = appended.iter().map(|appended| appended.partition.topic_partition.clone()).collect();
            let waiter = self.host.waits.produces.watch(keys);
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
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(Err(WaitError::TimedOut))).collect()
    }

    /// Waits until no live replica has anything before these offsets any more (DeleteRecords), at most until `timeout`.
    /// For each partition: the low watermark, or why there is none.
    pub async fn wait_deleted(
        &self,
        deleted: &[(Arc<Partition>, Offset)],
        timeout: Duration,
    ) -> Vec<Result<Offset, WaitDeletedError>> {
        let is_alive = |id| self.host.is_alive(id);
        let look = || -> (bool, Vec<Result<Offset, WaitDeletedError>>) {
            let mut all = true;
            let outcomes = deleted.iter().map(|(partition, offset)| match partition.low_watermark(&is_alive) {
                Some(low) if low >= *offset => Ok(low),
                Some(_) => {
                    all = false;
                    Err(WaitDeletedError::TimedOut)
                }
                None => Err(NotLeader.into()),
            });
            let outcomes = outcomes.collect();
            (all, outcomes)
        };
        let (all, outcomes) = look();
        if all {
            return outcomes;
        }
        let keys = deleted.iter().map(|(partition, _)| partition.topic_partition.clone()).collect();
        let waiter = self.host.waits.deletes.watch(keys);
        let deadline = tokio::time::sleep(timeout);
        tokio::pin!(deadline);
        loop {
            let (all, outcomes) = look();
            if all {
                return outcomes;
            }
            tokio::select! {
                biased;
                () = waiter.woken() => {}
                () = &mut deadline => return outcomes,
            }
        }
    }
}

/// `flush.messages` is reached: what was appended counts for nothing before it is on the disk.
async fn flush(log: &Arc<UnifiedLog>, now: Millis) -> Result<(), AppendError> {
    let log = Arc::clone(log);
    match task::spawn_blocking("flush", move || log.flush(now)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(AppendError::NotFlushed),
    }
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
