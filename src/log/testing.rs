//! Owns what the log's tests share: logs in temporary directories, batches, directories as bytes.

use super::loading::LoadLimits;
use super::log_dir::LogDir;
use super::producer_state::ProducerStateConfig;
use super::{AppendError, AppendInfo, LogOptions, UnifiedLog};
use crate::common::LeaderEpoch;
use crate::common::ids::{Millis, Offset, TopicPartition};
use crate::config::topic::LogConfig;
use crate::disk::FilePool;
use crate::record::validate::{AppendOrigin, ValidationContext, validate};
use crate::record::{BatchBuilder, BatchOptions, TimestampType};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

pub(super) const PRODUCERS: ProducerStateConfig =
    ProducerStateConfig { expiration_ms: 86_400_000, verify_transactions: false };

pub(super) fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

/// Small segments, an index entry for each append but the first.
pub(super) fn small_config() -> LogConfig {
    LogConfig { segment_bytes: 1_000, index_interval_bytes: 60, segment_index_bytes: 480, ..LogConfig::default() }
}

pub(super) fn options(config: LogConfig) -> LogOptions {
    LogOptions {
        config: Arc::new(config),
        producer_config: PRODUCERS,
        log_start: 0,
        recovery_point: 0,
        had_clean_shutdown: true,
        topic_id: None,
        limits: LoadLimits::default(),
    }
}

pub(super) fn open_in(dir: &Path, options: LogOptions, now: Millis) -> Arc<UnifiedLog> {
    try_open_in(dir, options, now).expect("a test that fails here says so")
}

pub(super) fn try_open_in(dir: &Path, options: LogOptions, now: Millis) -> Result<Arc<UnifiedLog>, super::LoadError> {
    let (failures, _) = tokio::sync::mpsc::channel(1);
    let log_dir = Arc::new(LogDir::new(dir.to_owned(), failures, Arc::new(FilePool::new(4))));
    UnifiedLog::open(&dir.join("t-0"), tp(), log_dir, options, now)
}

/// A batch of `count` records from `timestamp` on, one ms apart, with values of `size` bytes.
pub(super) fn batch(options: BatchOptions, count: usize, timestamp: Millis, size: usize) -> Bytes {
    let mut builder = BatchBuilder::new(options).expect("a test that fails here says so");
    for n in 0..count {
        builder
            .append(timestamp + n as i64, Some(b"key"), Some(&vec![b'v'; size]), &[])
            .expect("a test that fails here says so");
    }
    builder.finish().expect("a test that fails here says so")
}

pub(super) fn append(log: &UnifiedLog, bytes: &Bytes, epoch: i32, now: Millis) -> Result<AppendInfo, AppendError> {
    append_from(log, bytes, epoch, now, AppendOrigin::Client)
}

pub(super) fn append_from(
    log: &UnifiedLog,
    bytes: &Bytes,
    epoch: i32,
    now: Millis,
    origin: AppendOrigin,
) -> Result<AppendInfo, AppendError> {
    let context = ValidationContext {
        topic_partition: log.topic_partition(),
        now,
        origin,
        compression: None,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compacted: false,
        max_message_bytes: 1 << 20,
    };
    let validated = validate(bytes, &context).expect("a test that fails here says so");
    log.append_as_leader(&validated, LeaderEpoch(epoch), origin, None, now, || true)
}

pub(super) fn append_plain(log: &UnifiedLog, count: usize, timestamp: Millis) -> AppendInfo {
    append(log, &batch(BatchOptions::default(), count, timestamp, 10), 0, timestamp)
        .expect("a test that fails here says so")
}

/// Makes everything visible to consumers.
pub(super) fn commit_all(log: &UnifiedLog) {
    log.maybe_increment_high_watermark(log.log_end());
}

/// All bytes of a log from an offset to its end.
pub(super) fn read_all(log: &UnifiedLog, from: Offset) -> Vec<u8> {
    let mut out = Vec::new();
    let mut next = from;
    while next < log.log_end_offset() {
        let data =
            log.read(next, 1 << 20, super::FetchIsolation::LogEnd, true).expect("a test that fails here says so");
        let Some(slice) = data.records else { break };
        let mut bytes = vec![0; slice.len as usize];
        assert_eq!(slice.read(0, &mut bytes).expect("a test that fails here says so"), bytes.len());
        let last = crate::record::batches(&bytes)
            .last()
            .expect("a test that fails here says so")
            .expect("a test that fails here says so");
        next = last.next_offset();
        out.extend(bytes);
    }
    out
}

/// Names and contents of the files in a directory.
pub(super) fn files_of(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let names = crate::disk::file_names(dir).expect("a test that fails here says so");
    names
        .into_iter()
        .map(|name| (name.clone(), fs::read(dir.join(&name)).expect("a test that fails here says so")))
        .collect()
}
