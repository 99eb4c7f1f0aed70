//! Runs a partition and its log through thousands of thread schedules: producers, a follower that fetches, a consumer that
//! reads and a controller that changes the leader. Whatever the order, what is acknowledged is on the next leader, and no
//! reader sees what is not committed. The rooms up to `cluster` are compiled in here with shuttle's locks in place of the
//! real ones, which also finds locks that are taken in circles. ZURAU_SCHEDULES sets how many schedules there are.

#![allow(clippy::print_stdout, reason = "the count of a test runner")]
#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    unused_macros,
    clippy::duplicate_mod,
    reason = "the rooms are a part of this program here, and not all of them is called; their unit tests are not run"
)]

extern crate self as arc_swap;
extern crate self as parking_lot;
extern crate shuttle_tokio as tokio;

#[path = "../util/checksum.rs"]
mod checksum;
#[path = "../util/claims.rs"]
mod claims;
#[path = "mod.rs"]
mod cluster;
#[path = "../common/mod.rs"]
mod common;
#[path = "../config/mod.rs"]
mod config;
#[path = "../disk/mod.rs"]
mod disk;
#[path = "../util/fuzzing.rs"]
mod fuzzing;
#[path = "../log/mod.rs"]
mod log;
#[path = "../util/rate_limit.rs"]
mod rate_limit;
#[path = "../record/mod.rs"]
mod record;
// Ranks are held by a thread, and shuttle's threads are not those of the system.
macro_rules! thread_local {
    (static $name:ident: $type:ty = const $init:block;) => {
        shuttle::thread_local! { static $name: $type = $init; }
    };
}
#[path = "../util/lock.rs"]
mod lock;
mod util {
    pub(crate) use crate::{checksum, claims, fuzzing, lock, rate_limit};
}

use cluster::isr::FollowerFetch;
use cluster::partition::{
    AppendTerms, ClusterView, LeaderAppend, LeaderRecords, LeadershipState, Partition, PartitionAppendError,
};
use common::{BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicPartition};
use config::LogConfig;
use disk::FilePool;
use log::log_dir::LogDir;
use log::producer_state::ProducerStateConfig;
use log::{FetchData, FetchIsolation, LoadLimits, LogManager, LogManagerOptions, LogOptions, MoveStep, UnifiedLog};
use record::validate::{AppendOrigin, ValidatedBatches, ValidationContext, validate};
use record::{BatchBuilder, BatchOptions, TimestampType, batches};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
pub use shuttle_parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

// ---- what shuttle has not

/// As `arc_swap`'s: each load and store is a point where another thread may go on.
#[derive(Debug, Default)]
pub struct ArcSwapAny<T>(Mutex<T>);
pub type ArcSwap<T> = ArcSwapAny<Arc<T>>;
pub type ArcSwapOption<T> = ArcSwapAny<Option<Arc<T>>>;

impl<T: Clone> ArcSwapAny<T> {
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub fn load(&self) -> T {
        self.0.lock().clone()
    }

    pub fn load_full(&self) -> T {
        self.load()
    }

    pub fn store(&self, value: T) {
        drop(self.swap(value));
    }

    pub fn swap(&self, value: T) -> T {
        std::mem::replace(&mut *self.0.lock(), value)
    }
}

impl<T> ArcSwapAny<Arc<T>> {
    pub fn from_pointee(value: T) -> Self {
        Self::new(Arc::new(value))
    }
}

impl<T> ArcSwapAny<Option<Arc<T>>> {
    pub fn empty() -> Self {
        Self::new(None)
    }
}

/// As `parking_lot`'s, but a waiter may look for nothing.
#[derive(Debug, Default)]
pub struct Condvar;

impl Condvar {
    pub fn new() -> Self {
        Self
    }

    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        MutexGuard::unlocked(guard, thread::yield_now);
    }

    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, _: Duration) {
        self.wait(guard);
    }

    pub fn notify_all(&self) {}

    pub fn notify_one(&self) {}
}

/// Changes of threads that the second scheduler makes in one schedule.
const CHANGES: usize = 3;

// ---- a partition of broker 1, followed by broker 2

const LEADER: BrokerId = BrokerId(1);
const FOLLOWER: BrokerId = BrokerId(2);

fn around<T>(work: impl FnOnce(&ClusterView<'_>) -> T) -> T {
    work(&ClusterView { now: 0, lag_time_max_ms: 30_000, is_alive: &|_| true })
}

fn tp() -> TopicPartition {
    TopicPartition::new("t", 0)
}

fn state(leader: BrokerId, epoch: i32) -> LeadershipState {
    LeadershipState {
        leader,
        leader_epoch: LeaderEpoch(epoch),
        isr: vec![LEADER, FOLLOWER],
        replicas: vec![LEADER, FOLLOWER],
        partition_epoch: epoch,
        controller_epoch: ControllerEpoch(1),
    }
}

const PRODUCERS: ProducerStateConfig = ProducerStateConfig { expiration_ms: 86_400_000, verify_transactions: false };

/// A segment for each batch or two: logs roll meanwhile.
fn log_config() -> Arc<LogConfig> {
    Arc::new(LogConfig { min_insync_replicas: 2, segment_bytes: 200, ..LogConfig::default() })
}

fn open(dir: &Path) -> Arc<UnifiedLog> {
    let (failures, _) = tokio::sync::mpsc::channel(1);
    let log_dir = Arc::new(LogDir::new(dir.to_owned(), failures, Arc::new(FilePool::new(8))));
    let options = LogOptions {
        config: log_config(),
        producer_config: PRODUCERS,
        log_start: 0,
        recovery_point: 0,
        had_clean_shutdown: true,
        topic_id: None,
        limits: LoadLimits::default(),
    };
    UnifiedLog::open(&dir.join("t-0"), tp(), log_dir, options, 0).expect("a log")
}

/// One record, made for an offset and an epoch; a leader gives it its own.
fn batch(offset: Offset, epoch: i32) -> Vec<u8> {
    batch_with(BatchOptions { base_offset: offset, partition_leader_epoch: LeaderEpoch(epoch), ..Default::default() })
}

fn batch_with(options: BatchOptions) -> Vec<u8> {
    let mut builder = BatchBuilder::new(options).expect("builder");
    builder.append(0, None, Some(b"value"), &[]).expect("append");
    builder.finish().expect("finish").to_vec()
}

fn valid() -> ValidatedBatches {
    validated(batch(0, 0))
}

fn validated(batch: Vec<u8>) -> ValidatedBatches {
    let context = ValidationContext {
        topic_partition: &tp(),
        now: 0,
        origin: AppendOrigin::Client,
        compression: None,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compacted: false,
        max_message_bytes: 1 << 20,
    };
    validate(&batch.into(), &context).expect("valid")
}

/// The offsets and epochs of what one read from an offset on gives: no more than a segment.
fn read(log: &UnifiedLog, from: Offset, isolation: FetchIsolation) -> Vec<(Offset, i32)> {
    log.read(from, 1 << 20, isolation, true).map_or_else(|_| Vec::new(), |read| records_of(read, from))
}

fn records_of(read: FetchData, from: Offset) -> Vec<(Offset, i32)> {
    let Some(slice) = read.records else { return Vec::new() };
    let mut bytes = vec![0; slice.len as usize];
    // A file that was cut meanwhile is shorter than was planned.
    let len = slice.read(0, &mut bytes).unwrap_or(0);
    batches(&bytes[..len])
        .map_while(Result::ok)
        .filter(|batch| batch.base_offset() >= from)
        .map(|batch| (batch.base_offset(), batch.partition_leader_epoch().0))
        .collect()
}

fn read_all(log: &UnifiedLog) -> Vec<(Offset, i32)> {
    let mut all: Vec<(Offset, i32)> = Vec::new();
    loop {
        let more = read(log, all.last().map_or(0, |(offset, _)| offset + 1), FetchIsolation::LogEnd);
        if more.is_empty() {
            return all;
        }
        all.extend(more);
    }
}

/// What broker 2 has, until it is elected.
#[derive(Debug, Default)]
struct Copied {
    records: Vec<(Offset, i32)>,
    is_elected: bool,
}

struct Pair {
    partition: Partition,
    copied: Mutex<Copied>,
    /// Offsets that are acknowledged to the producer.
    acknowledged: Mutex<Vec<Offset>>,
}

const TERMS: AppendTerms = AppendTerms { origin: AppendOrigin::Client, guard: None, acks_all: true, led_since: None };

impl Pair {
    /// Broker 1 leads in epoch 1.
    fn led(log: Arc<UnifiedLog>) -> Arc<Self> {
        let partition = Partition::new(tp(), LEADER);
        let became = around(|around| partition.become_leader(log, state(LEADER, 1), around));
        assert!(became.0);
        Arc::new(Self { partition, copied: Mutex::default(), acknowledged: Mutex::default() })
    }

    fn run(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) -> thread::JoinHandle<()> {
        let pair = Arc::clone(self);
        thread::spawn(move || work(&pair))
    }

    fn log(&self) -> Arc<UnifiedLog> {
        self.partition.log().expect("a log")
    }

    fn append(&self, batches: &ValidatedBatches) -> Result<LeaderAppend, PartitionAppendError> {
        let appended = self.partition.append_as_leader(batches, &TERMS, 0)?;
        drop(around(|around| self.partition.on_log_end(&appended.log, appended.info.log_end, around)));
        Ok(appended)
    }

    fn produce(&self) {
        let Ok(appended) = self.append(&valid()) else { return };
        // As often as it is woken; a request times out.
        for _ in 0..6 {
            match self.partition.is_committed(appended.info.last_offset + 1, appended.led_since) {
                Ok(true) => return self.acknowledged.lock().push(appended.info.last_offset),
                Ok(false) => thread::yield_now(),
                Err(_) => return,
            }
        }
    }

    /// What broker 2 does in an epoch: it asks for what follows on what it has.
    fn follow(&self, epoch: i32) {
        for _ in 0..3 {
            let from = self.copied.lock().records.len() as Offset;
            if self.partition.log_for(LeaderEpoch(epoch), true).is_err() {
                return;
            }
            let log = self.log();
            let leader_log_end = log.log_end_offset();
            let Ok(data) = log.read(from, 1 << 20, FetchIsolation::LogEnd, true) else { continue };
            let start = data.start;
            let records = records_of(data, from);
            if self.partition.log_for(LeaderEpoch(epoch), true).is_err() {
                return;
            }
            let fetch = FollowerFetch { from: start, log_start: 0, leader_log_end };
            let progress =
                around(|around| self.partition.on_follower_fetch(LeaderEpoch(epoch), FOLLOWER, &log, &fetch, around));
            drop(progress);
            let mut copied = self.copied.lock();
            if copied.is_elected {
                return;
            }
            copied.records.extend(records);
        }
    }

    fn consume(&self) {
        let (mut high_watermark, mut seen) = (0, Vec::new());
        for _ in 0..4 {
            let log = self.log();
            let offsets = log.offsets();
            assert!(offsets.log_start <= offsets.high_watermark.offset, "{offsets:?}");
            assert!(offsets.high_watermark.offset <= offsets.log_end.offset, "{offsets:?}");
            assert!(offsets.high_watermark.offset >= high_watermark, "the high watermark went back: {offsets:?}");
            high_watermark = offsets.high_watermark.offset;
            let next = seen.len() as Offset;
            let records = read(&log, next, FetchIsolation::HighWatermark);
            let visible = log.high_watermark();
            assert!(records.iter().all(|(offset, _)| *offset < visible), "{records:?} beyond {visible}");
            seen.extend(records);
        }
        // No one sees at an offset what is not there in the end.
        let left = read_all(&self.log());
        assert!(left.starts_with(&seen), "{seen:?} was read of {left:?}");
    }

    /// Broker 2 is elected with what it has, broker 1 follows it, and is elected again.
    fn change_leaders(&self) {
        let records = {
            let mut copied = self.copied.lock();
            copied.is_elected = true;
            copied.records.clone()
        };
        let end = records.len() as Offset;
        let log = self.log();
        self.partition.become_follower(Arc::clone(&log), state(FOLLOWER, 2));
        let before = log.log_end_offset();
        log.truncate_to(end, 0).expect("truncated");
        assert!(log.high_watermark() <= end && log.log_end_offset() == end.min(before));
        // Broker 2 writes more than broker 1 ever had, and commits it.
        let from = log.log_end_offset();
        for offset in from..from + 4 {
            let sent = batch(offset, 2);
            let followed = self.partition.append_as_follower(&LeaderRecords {
                records: &sent,
                leader_epoch: LeaderEpoch(2),
                fetch_offset: offset,
                high_watermark: offset + 1,
                log_start: 0,
                now: 0,
            });
            assert_eq!(followed.expect("followed").next_offset, offset + 1);
        }
        let (is_new, _) = around(|around| self.partition.become_leader(log, state(LEADER, 3), around));
        assert!(is_new);
    }
}

fn leaders_change_under_load() {
    let dir = tempfile::tempdir().expect("directory");
    let pair = Pair::led(open(dir.path()));
    let threads = [
        pair.run(Pair::produce),
        pair.run(|pair| (0..2).for_each(|_| pair.produce())),
        pair.run(|pair| pair.follow(1)),
        pair.run(Pair::consume),
        pair.run(Pair::change_leaders),
    ];
    for thread in threads {
        thread.join().expect("nobody fails");
    }
    let copied = pair.copied.lock();
    let left = read_all(&pair.log());
    assert!(left.starts_with(&copied.records), "{left:?} is not after {:?}", copied.records);
    // In epoch 3 no one fetches: what was acknowledged was so in epoch 1, and broker 2 had it when it was elected.
    for offset in pair.acknowledged.lock().iter() {
        assert!((*offset as usize) < copied.records.len(), "{offset} was acknowledged, the new leader had {copied:?}");
    }
}

/// One that reads committed data never sees a transaction that is still undecided.
fn open_transactions_are_not_seen() {
    let dir = tempfile::tempdir().expect("directory");
    let log = open(dir.path());
    let options =
        BatchOptions { producer_id: 1, producer_epoch: 0, base_sequence: 0, transactional: true, ..Default::default() };
    let begin = validated(batch_with(options));
    let producing = {
        let log = Arc::clone(&log);
        thread::spawn(move || {
            log.append_as_leader(&begin, LeaderEpoch(0), AppendOrigin::Client, None, 0, || true).expect("appended");
        })
    };
    // As a follower's fetches raise it: everything that is in the log is on all replicas.
    for _ in 0..3 {
        log.maybe_increment_high_watermark(log.log_end());
        assert_eq!(log.last_stable_offset(), 0, "the open transaction begins at 0: {:?}", log.offsets());
        assert_eq!(read(&log, 0, FetchIsolation::TxnCommitted), []);
    }
    producing.join().expect("nobody fails");
}

/// A replica moves to another directory while it is written, copied and read: no client notices.
fn a_leader_moves_under_load() {
    let dirs = [tempfile::tempdir().expect("directory"), tempfile::tempdir().expect("directory")];
    let (logs, _failures) = LogManager::open(LogManagerOptions {
        log_dirs: dirs.iter().map(|dir| dir.path().to_owned()).collect(),
        recovery_threads_per_dir: 1,
        producer_config: PRODUCERS,
        default_config: log_config(),
        max_open_files: 16,
        disk_reserve_bytes: 0,
    })
    .expect("directories");
    let old = logs.get_or_create(&tp(), true, None, &log_config(), 0).expect("a log");
    let target = dirs.iter().map(|dir| dir.path()).find(|dir| *dir != old.log_dir().path()).expect("two").to_owned();
    let pair = Pair::led(Arc::clone(&old));
    pair.append(&valid()).expect("appended");
    logs.alter_log_dir(&tp(), &target, 0).expect("begun");
    let logs = Arc::new(logs);
    let advance = |pair: &Pair, logs: &LogManager| {
        if logs.advance_move(&tp(), 1 << 20, 0).expect("copied") == MoveStep::CaughtUp {
            let replaced = pair.partition.replace_log(|install| logs.complete_move(&tp(), 1 << 20, 0, install));
            if let Some(old) = replaced.expect("no failure") {
                logs.retire(&old, &pair.log());
            }
        }
    };
    let threads = [
        pair.run(|pair| {
            for _ in 0..2 {
                pair.append(&valid()).expect("a move refuses nobody");
            }
        }),
        pair.run(|pair| pair.follow(1)),
        pair.run(Pair::consume),
        {
            let logs = Arc::clone(&logs);
            pair.run(move |pair| (0..4).for_each(|_| advance(pair, &logs)))
        },
    ];
    for thread in threads {
        thread.join().expect("nobody fails");
    }
    while !logs.moves().is_empty() {
        advance(&pair, &logs);
    }
    let log = pair.log();
    assert_eq!(log.log_dir().path(), target);
    assert_eq!(read_all(&log), [(0, 1), (1, 1), (2, 1)]);
    let copied = pair.copied.lock().records.len();
    assert!(read_all(&log).len() >= copied);
    assert!(read(&log, 0, FetchIsolation::HighWatermark).iter().all(|(offset, _)| *offset < log.high_watermark()));
}

fn log_start_and_retention_move_under_readers() {
    let dir = tempfile::tempdir().expect("directory");
    let log = open(dir.path());
    let run = |work: fn(&UnifiedLog)| {
        let log = Arc::clone(&log);
        thread::spawn(move || work(&log))
    };
    let threads = [
        run(|log| {
            for _ in 0..4 {
                let appended = log
                    .append_as_leader(&valid(), LeaderEpoch(0), AppendOrigin::Client, None, 0, || true)
                    .expect("appended");
                log.maybe_increment_high_watermark(appended.log_end);
            }
        }),
        run(|log| {
            for _ in 0..3 {
                let to = log.high_watermark();
                log.maybe_increment_log_start(to).expect("committed");
                log.delete_old_segments(0).expect("deleted");
            }
        }),
        run(|log| log.flush(0).expect("flushed")),
        run(|log| {
            for _ in 0..4 {
                let before = log.offsets();
                assert!(before.log_start <= before.high_watermark.offset, "{before:?}");
                let records = read(log, before.log_start, FetchIsolation::HighWatermark);
                let offsets: Vec<Offset> = records.iter().map(|(offset, _)| *offset).collect();
                let expected: Vec<Offset> = (before.log_start..).take(offsets.len()).collect();
                assert_eq!(offsets, expected, "no gap, from where reading began");
                assert!(offsets.iter().all(|offset| *offset < log.high_watermark()));
            }
        }),
    ];
    for thread in threads {
        thread.join().expect("nobody fails");
    }
    let offsets = log.offsets();
    assert_eq!((offsets.high_watermark.offset, offsets.log_end.offset), (4, 4));
}

fn main() {
    let schedules = std::env::var("ZURAU_SCHEDULES").map_or(300, |text| text.parse().expect("ZURAU_SCHEDULES"));
    let scenarios: [fn(); 4] = [
        leaders_change_under_load,
        log_start_and_retention_move_under_readers,
        open_transactions_are_not_seen,
        a_leader_moves_under_load,
    ];
    for scenario in scenarios {
        let config = || {
            let mut config = shuttle::Config::new();
            // Debug builds use more than its threads are given.
            config.stack_size = 1 << 20;
            config
        };
        shuttle::Runner::new(RandomScheduler::new(schedules), config()).run(scenario);
        // Changes threads a few times only, at any place: it finds what the other one hits too rarely.
        shuttle::Runner::new(PctScheduler::new(CHANGES, schedules), config()).run(scenario);
    }
    println!("test result: ok. {} passed; 0 failed; {schedules} schedules each", 2 * scenarios.len());
}
