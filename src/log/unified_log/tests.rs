//! Holds a log to a model: a plain list of batches, over random work and reopenings.

use crate::common::ids::Offset;
use crate::config::topic::LogConfig;
use crate::log::testing::*;
use crate::log::{FetchIsolation, LogOptions, OffsetQuery, ReadError, UnifiedLog};
use crate::record::{BatchOptions, batches};
use proptest::prelude::*;
use std::sync::Arc;

#[derive(Clone, Debug)]
enum Work {
    Append { records: usize, size: usize, age: i64, idempotent: bool },
    Roll,
    Flush,
    RaiseHighWatermark(u8),
    DeleteRecords(u8),
    Retain { by_size: bool },
    Truncate(u8),
    StartAnew(u8),
    ReopenClean,
    ReopenAfterCrash,
}

fn work() -> impl Strategy<Value = Work> {
    prop_oneof![
        12 => (1usize..5, 0usize..200, -20i64..40, any::<bool>())
            .prop_map(|(records, size, age, idempotent)| Work::Append { records, size, age, idempotent }),
        1 => Just(Work::Roll),
        1 => Just(Work::Flush),
        3 => any::<u8>().prop_map(Work::RaiseHighWatermark),
        1 => any::<u8>().prop_map(Work::DeleteRecords),
        1 => any::<bool>().prop_map(|by_size| Work::Retain { by_size }),
        1 => any::<u8>().prop_map(Work::Truncate),
        1 => any::<u8>().prop_map(Work::StartAnew),
        1 => Just(Work::ReopenClean),
        1 => Just(Work::ReopenAfterCrash),
    ]
}

#[derive(Clone, Debug, PartialEq)]
struct ModelBatch {
    first: Offset,
    last: Offset,
    first_timestamp: i64,
    /// The sequence that its producer writes next; `None` for a batch without a producer.
    next_sequence: Option<i32>,
}

#[derive(Debug, Default)]
struct Model {
    batches: Vec<ModelBatch>,
    log_start: Offset,
    log_end: Offset,
    high_watermark: Offset,
}

struct Host {
    dir: tempfile::TempDir,
    log: Arc<UnifiedLog>,
    model: Model,
    now: i64,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = open_in(dir.path(), options(config()), 0);
        Self { dir, log, model: Model::default(), now: 1_000 }
    }

    fn apply(&mut self, work: &Work) {
        self.now += 10;
        let (log, model) = (Arc::clone(&self.log), &mut self.model);
        let between = |from: Offset, to: Offset, part: u8| from + (to - from) * i64::from(part) / 255;
        match *work {
            Work::Append { records, size, age, idempotent } => {
                let mut options = BatchOptions::default();
                let mut next_sequence = None;
                if idempotent {
                    // A log that has forgotten its producer takes it in as new.
                    let sequence = log.active_producers().get(&5).map_or(0, |p| p.last_sequence() + 1);
                    options = BatchOptions { producer_id: 5, producer_epoch: 0, base_sequence: sequence, ..options };
                    next_sequence = Some(sequence + records as i32);
                }
                let timestamp = self.now - age;
                let info = append(&log, &batch(options, records, timestamp, size), 0, self.now).unwrap();
                let (first, last) = (model.log_end, model.log_end + records as i64 - 1);
                assert_eq!((info.first_offset, info.last_offset), (first, last));
                model.batches.push(ModelBatch { first, last, first_timestamp: timestamp, next_sequence });
                model.log_end = last + 1;
            }
            Work::Roll => log.roll(self.now).unwrap(),
            Work::Flush => {
                log.flush(self.now).unwrap();
                assert_eq!(log.recovery_point(), model.log_end);
            }
            Work::RaiseHighWatermark(part) => {
                let to = between(model.high_watermark, model.log_end, part);
                log.maybe_increment_high_watermark(crate::log::OffsetMetadata::offset_only(to));
                model.high_watermark = to;
            }
            Work::DeleteRecords(part) => {
                let to = between(model.log_start, model.high_watermark, part);
                log.maybe_increment_log_start(to).unwrap();
                model.log_start = model.log_start.max(to);
            }
            Work::Retain { by_size } => {
                let limits = if by_size { (600, -1) } else { (-1, 100) };
                log.swap_config(Arc::new(LogConfig { retention_bytes: limits.0, retention_ms: limits.1, ..config() }));
                log.delete_old_segments(self.now).unwrap();
                // Which segments go is the plan's business, and tested there; here, that it is a prefix below the HW.
                let start = log.log_start_offset();
                assert!(start >= model.log_start && start <= model.high_watermark);
                model.log_start = start;
                if by_size && log.segment_count() > 1 {
                    let first_size = log.segments.load().first().map_or(0, |s| u64::from(s.size()));
                    let next_base = log.segments.load().as_slice()[1].base_offset();
                    assert!(log.size() - first_size < 600 || next_base > model.high_watermark);
                }
            }
            Work::Truncate(part) => {
                // Leaders and followers agree on the ends of batches.
                let starts = model.batches.iter().map(|b| b.first).filter(|first| *first >= model.log_start);
                let ends: Vec<Offset> = starts.chain([model.log_end]).collect();
                let to = ends[usize::from(part) * (ends.len() - 1) / 255];
                let cut = log.truncate_to(to, self.now).unwrap();
                assert_eq!(cut, to < model.log_end);
                model.batches.retain(|b| b.last < to);
                model.log_end = to;
                model.high_watermark = model.high_watermark.min(to);
            }
            Work::StartAnew(part) => {
                let to = model.log_end + i64::from(part);
                log.truncate_fully_and_start_at(to, None, self.now).unwrap();
                self.model = Model { log_start: to, log_end: to, high_watermark: to, ..Model::default() };
            }
            Work::ReopenClean => {
                log.flush(self.now).unwrap();
                log.close().unwrap();
                self.reopen(true);
            }
            Work::ReopenAfterCrash => self.reopen(false),
        }
        self.check();
    }

    fn reopen(&mut self, had_clean_shutdown: bool) {
        let recovery_point = self.log.recovery_point();
        let opened =
            LogOptions { had_clean_shutdown, recovery_point, log_start: self.model.log_start, ..options(config()) };
        self.log = open_in(self.dir.path(), opened, self.now);
        self.log.update_high_watermark(self.model.high_watermark);
    }

    /// The producer is known by its last batch, and may be forgotten only when that lies below the log start: a
    /// truncation forgets it then, and a recovery that reads the segment again brings it back, as in Kafka
    /// (`ProducerStateManager.truncateAndReload`, `LogSegment.recover`).
    fn check_producer(&self) {
        let last = self.model.batches.iter().rev().find(|b| b.next_sequence.is_some());
        let known = self.log.active_producers().get(&5).map(|p| p.last_sequence() + 1);
        if known.is_some() || last.is_some_and(|b| b.first >= self.model.log_start) {
            assert_eq!(known, last.and_then(|b| b.next_sequence), "the producer is known by its last batch");
        }
    }

    fn check(&self) {
        let (log, model) = (&self.log, &self.model);
        let offsets = log.offsets();
        assert_eq!(
            (offsets.log_start, offsets.high_watermark.offset, offsets.log_end.offset),
            (model.log_start, model.high_watermark, model.log_end)
        );
        self.check_producer();
        let visible: Vec<&ModelBatch> = model.batches.iter().filter(|b| b.last >= model.log_start).collect();
        let bytes = read_all(log, model.log_start);
        let found: Vec<(Offset, Offset, i64)> = batches(&bytes)
            .map(|b| b.unwrap())
            .map(|b| (b.base_offset(), b.last_offset(), b.base_timestamp()))
            .collect();
        let expected: Vec<_> = visible.iter().map(|b| (b.first, b.last, b.first_timestamp)).collect();
        assert_eq!(found, expected);
        for offset in [model.log_start - 1, model.log_end + 1] {
            let read = log.read(offset, 1, FetchIsolation::LogEnd, true);
            assert!(matches!(read, Err(ReadError::OffsetOutOfRange { .. })));
        }
        let committed = log.read(model.log_start, u32::MAX >> 1, FetchIsolation::HighWatermark, true).unwrap();
        if let Some(slice) = committed.records {
            let mut bytes = vec![0; slice.len as usize];
            slice.read(0, &mut bytes).unwrap();
            assert!(batches(&bytes).all(|b| b.unwrap().base_offset() < model.high_watermark));
        }
        if let Some(youngest) = visible.iter().map(|b| b.first_timestamp + b.last - b.first).max() {
            let max = log.fetch_offset(OffsetQuery::MaxTimestamp).unwrap().unwrap();
            assert!(max.timestamp >= youngest, "segments may still hold batches below the log start");
        }
    }
}

fn config() -> LogConfig {
    LogConfig { retention_ms: -1, ..small_config() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_log_does_what_a_list_of_batches_does(works in prop::collection::vec(work(), 1..60)) {
        let mut host = Host::new();
        for work in &works {
            host.apply(work);
        }
    }
}
