//! Holds logs that are recovered beside those that are served to their rules.

use super::*;
use crate::common::LeaderEpoch;
use crate::config::topic::LogConfig;
use crate::disk::fault::testing::inject;
use crate::log::checkpoint::{self, HIGH_WATERMARK_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use crate::log::producer_state::ProducerStateConfig;
use crate::log::testing::{append, batch};
use crate::log::{CreateLogError, LogManager, LogManagerOptions};
use crate::record::BatchOptions;
use std::path::Path;

fn manager(dir: &Path) -> LogManager {
    let options = LogManagerOptions {
        log_dirs: vec![dir.to_owned()],
        recovery_threads_per_dir: 1,
        producer_config: ProducerStateConfig { expiration_ms: 86_400_000, verify_transactions: false },
        default_config: Arc::default(),
        max_open_files: 8,
        disk_reserve_bytes: 0,
    };
    let (manager, _failures) = LogManager::open(options).unwrap();
    manager.load_logs(&HashMap::new(), 0).unwrap();
    manager
}

fn tp(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

fn make(manager: &LogManager, topic: &str, mib: usize) -> Arc<UnifiedLog> {
    let config = Arc::new(LogConfig { segment_bytes: 1 << 20, ..LogConfig::default() });
    let log = manager.get_or_create(&tp(topic), true, None, &config, 0).unwrap();
    log.assign_epoch_start(LeaderEpoch(0), 0);
    for n in 0..(mib * 4).max(1) {
        append(&log, &batch(BatchOptions::default(), 10, n as i64, 25_000), 0, 0).unwrap();
    }
    log.maybe_increment_high_watermark(log.log_end());
    log.maybe_increment_log_start(7).unwrap();
    log
}

/// A directory as kill -9 leaves it, with a log of 2 MiB, one of 3 MiB and a small one; each starts at 7.
fn crashed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let manager = manager(dir.path());
    for (topic, mib) in [("two", 2), ("three", 3), ("small", 0)] {
        make(&manager, topic, mib);
    }
    manager.live_dirs().for_each(|dir| manager.checkpoint_recovery_points_in(dir));
    for dir in manager.live_dirs() {
        manager.checkpoint_log_starts_in(dir);
        manager.checkpoint_high_watermarks_in(dir);
    }
    dir
}

fn dir_of(manager: &LogManager) -> Arc<LogDir> {
    Arc::clone(manager.live_dirs().next().unwrap())
}

/// Of the logs that are not ready at once.
fn checkpoints(dir: &Path) -> Vec<std::collections::BTreeMap<TopicPartition, Offset>> {
    let files = [RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE];
    let read = files.map(|name| checkpoint::read_offsets(&dir.join(name)).unwrap());
    read.into_iter().map(|offsets| offsets.into_iter().filter(|(known, _)| *known != tp("small")).collect()).collect()
}

#[test]
fn the_start_waits_for_short_logs_only_and_the_shortest_of_the_others_is_next() {
    let dir = crashed();
    let manager = manager(dir.path());
    assert!(manager.log(&tp("small")).is_some());
    for topic in ["two", "three"] {
        assert!(manager.log(&tp(topic)).is_none() && manager.recovering(&tp(topic)).is_some());
        let created = manager.get_or_create(&tp(topic), true, None, &Arc::default(), 0);
        assert!(matches!(created, Err(CreateLogError::Recovering(_))), "nothing is made in its place");
    }
    let next = || manager.recover_next(&dir_of(&manager), 0);
    assert_eq!(next(), Some(Recovered::Ready(tp("two"))));
    assert_eq!(next(), Some(Recovered::Ready(tp("three"))));
    assert_eq!(next(), None);
    let log = manager.log(&tp("three")).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.high_watermark()), (7, 120, 120));
    manager.shutdown(0);
    assert!(checkpoint::has_clean_shutdown_marker(dir.path()));
}

#[test]
fn a_stop_or_a_crash_before_the_end_leaves_everything_to_the_next_start() {
    let dir = crashed();
    let before = checkpoints(dir.path());
    for is_stop in [true, false] {
        let manager = manager(dir.path());
        manager.live_dirs().for_each(|dir| manager.checkpoint_recovery_points_in(dir));
        for dir in manager.live_dirs() {
            manager.checkpoint_log_starts_in(dir);
            manager.checkpoint_high_watermarks_in(dir);
        }
        assert_eq!(checkpoints(dir.path()), before, "entries of what is not ready are kept");
        if is_stop {
            manager.shutdown(0);
        }
        assert!(!checkpoint::has_clean_shutdown_marker(dir.path()));
    }
    let manager = manager(dir.path());
    assert_eq!(manager.recover_next(&dir_of(&manager), 0), Some(Recovered::Ready(tp("two"))));
    assert_eq!(manager.log(&tp("two")).unwrap().log_start_offset(), 7);
    manager.stop_recovery();
    assert_eq!(manager.recover_next(&dir_of(&manager), 0), None, "the broker stops");
}

#[test]
fn one_that_is_deleted_goes_with_its_directory_and_may_come_again() {
    let dir = crashed();
    let manager = manager(dir.path());
    assert!(manager.delete(&[tp("two")]).is_empty());
    assert!(manager.recovering(&tp("two")).is_none() && !dir.path().join("two-0").exists());
    assert_eq!(make(&manager, "two", 0).log_end_offset(), 10);
    assert_eq!(manager.recover_next(&dir_of(&manager), 0), Some(Recovered::Ready(tp("three"))));
    assert_eq!(manager.recover_next(&dir_of(&manager), 0), None);
}

#[test]
fn a_deletion_stops_the_work_and_waits_for_its_end() {
    let dir = crashed();
    let manager = manager(dir.path());
    let running = manager.recovering.begin(&dir_of(&manager)).unwrap();
    std::thread::scope(|scope| {
        let deleting = scope.spawn(|| manager.delete(&[tp("two")]));
        while !running.options.limits.is_stopped() {
            std::thread::yield_now();
        }
        assert!(!deleting.is_finished() && dir.path().join("two-0").exists());
        let opened = UnifiedLog::open(&running.dir, tp("two"), dir_of(&manager), running.options.clone(), 0);
        assert!(matches!(opened, Err(LoadError::Stopped)));
        let left = manager.recovering.end(&running, opened, |_| unreachable!("nobody wants it any more"));
        assert_eq!(left, Recovered::Left);
        assert!(deleting.join().unwrap().is_empty());
    });
    assert!(!dir.path().join("two-0").exists());
}

#[test]
fn a_failing_disk_takes_those_along_that_wait() {
    let dir = crashed();
    let manager = manager(dir.path());
    let faults = inject(|op| (op == crate::disk::fault::Op::Read).then_some(libc::EIO));
    assert_eq!(manager.recover_next(&dir_of(&manager), 0), Some(Recovered::Left));
    drop(faults);
    let mut gone = manager.handle_dir_failure(dir.path()).unwrap_err();
    gone.sort();
    assert_eq!(gone, ["small", "three", "two"].map(tp));
    assert!(manager.recovering(&tp("three")).is_none());
}

#[test]
fn a_replica_on_the_move_is_whole_before_the_move_goes_on() {
    let dir = crashed();
    std::fs::create_dir(dir.path().join("two-0.00000000000000000000000000000001-future")).unwrap();
    let manager = manager(dir.path());
    assert!(manager.log(&tp("two")).is_some() && manager.future_log(&tp("two")).is_some());
    assert!(manager.recovering(&tp("three")).is_some());
}
