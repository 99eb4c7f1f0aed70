//! Holds the log manager to its rules, and to directories that an Apache broker left behind: `testdata/clean` after a clean
//! stop, `testdata/killed` after kill -9 with a transaction open, `testdata/recovered` after an Apache broker recovered
//! that one and stopped cleanly.

use super::*;
use crate::common::LeaderEpoch;
use crate::disk::fault::testing::inject;
use crate::log::checkpoint::{CLEANER_FILE, LOG_START_FILE, RECOVERY_POINT_FILE};
use crate::log::testing::{append_plain, files_of, read_all, small_config};
use crate::log::{FetchIsolation, OffsetQuery};
use crate::record::batches;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// When the golden directories were made: producers that were idle a day before it are forgotten.
const NOW: Millis = 1_795_271_700_000;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/log/testdata").join(name)
}

fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&golden(name), dir.path());
    dir
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn options(dirs: &[&Path]) -> LogManagerOptions {
    LogManagerOptions {
        log_dirs: dirs.iter().map(|d| d.to_path_buf()).collect(),
        recovery_threads_per_dir: 2,
        producer_config: ProducerStateConfig { expiration_ms: 86_400_000, verify_transactions: true },
        default_config: Arc::new(LogConfig {
            segment_bytes: 2_000,
            index_interval_bytes: 300,
            segment_index_bytes: 480,
            ..LogConfig::default()
        }),
        max_open_files: 8,
        disk_reserve_bytes: 0,
    }
}

fn load(dirs: &[&Path]) -> LogManager {
    let (manager, _failures) = LogManager::open(options(dirs)).unwrap();
    let large: Arc<LogConfig> = Arc::new(LogConfig { segment_index_bytes: 480, ..LogConfig::default() });
    let configs = [("__transaction_state", &large), ("empty", &large)];
    manager.load_logs(&configs.map(|(topic, config)| (Arc::from(topic), Arc::clone(config))).into(), NOW).unwrap();
    manager
}

fn partition(topic: &str) -> TopicPartition {
    TopicPartition::new(topic, 0)
}

const TOPICS: [&str; 6] = ["codecs", "idem", "txn", "empty", "deleted-records", "__transaction_state"];

fn partition_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for topic in TOPICS {
        let files = files_of(&dir.join(format!("{topic}-0")));
        all.extend(files.into_iter().map(|(name, bytes)| (format!("{topic}-0/{name}"), bytes)));
    }
    all
}

fn assert_same_files(found: &Path, expected: &Path) {
    let (mut found, mut expected) = (partition_files(found), partition_files(expected));
    // An empty log knows no epoch until it has a leader, who then writes it again.
    for files in [&mut found, &mut expected] {
        files.remove("empty-0/leader-epoch-checkpoint");
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, bytes) in &expected {
        assert_eq!(found[name], *bytes, "{name}");
    }
}

#[test]
fn a_directory_that_apache_stopped_cleanly_opens_without_a_change_and_says_the_same() {
    let dir = copy_of("clean");
    let manager = load(&[dir.path()]);
    assert_same_files(dir.path(), &golden("clean"));
    assert!(!checkpoint::has_clean_shutdown_marker(dir.path()));
    let high_watermarks = checkpoint::read_offsets(&golden("clean").join(HIGH_WATERMARK_FILE)).unwrap();
    for (tp, high_watermark) in high_watermarks {
        let log = manager.log(&tp).unwrap();
        let offsets = log.offsets();
        assert_eq!((offsets.log_end.offset, offsets.high_watermark.offset), (high_watermark, high_watermark), "{tp}");
        assert_eq!(offsets.last_stable.offset, high_watermark, "{tp}");
        assert_eq!(log.recovery_point(), high_watermark);
        let epoch = log.epoch_entries().first().map(|e| (e.epoch.0, e.start_offset));
        assert_eq!(epoch, (high_watermark > 0).then(|| (0, log.log_start_offset())), "{tp}");
        assert!(log.topic_id().is_some());
    }
    assert_eq!(manager.log(&partition("deleted-records")).unwrap().log_start_offset(), 33);
    manager.shutdown(NOW);
    assert_same_files(dir.path(), &golden("clean"));
    assert!(checkpoint::has_clean_shutdown_marker(dir.path()));
    for name in [RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE] {
        let read = |dir: &Path| checkpoint::read_offsets(&dir.join(name)).unwrap();
        assert_eq!(read(dir.path()), read(&golden("clean")), "{name}");
    }
}

#[test]
fn a_directory_that_apache_left_by_kill_9_recovers_to_the_bytes_that_apache_recovers() {
    let dir = copy_of("killed");
    let manager = load(&[dir.path()]);
    let txn = manager.log(&partition("txn")).unwrap();
    assert_eq!((txn.log_end_offset(), txn.high_watermark()), (68, 54));
    txn.update_high_watermark(68);
    assert_eq!(txn.last_stable_offset(), 62, "a transaction is open");
    manager.shutdown(NOW);
    assert_same_files(dir.path(), &golden("recovered"));
}

#[test]
fn records_of_apache_are_found_by_offset_and_time_whatever_their_codec() {
    let dir = copy_of("recovered");
    let manager = load(&[dir.path()]);
    let log = manager.log(&partition("codecs")).unwrap();
    let mut expected = BTreeMap::new();
    let mut next = 0;
    while next < log.log_end_offset() {
        let data = log.read(next, 1, FetchIsolation::HighWatermark, true).unwrap();
        let slice = data.records.unwrap();
        let mut bytes = vec![0; slice.len as usize];
        slice.read(0, &mut bytes).unwrap();
        let batch = batches(&bytes).next().unwrap().unwrap();
        batch.check_crc().unwrap();
        let mut records = crate::record::records(&batch).unwrap();
        while let Some(record) = records.next_record().unwrap() {
            expected.insert(record.offset, record.timestamp);
        }
        next = batch.next_offset();
    }
    assert_eq!(expected.keys().copied().collect::<Vec<_>>(), (0..113).collect::<Vec<_>>());
    for timestamp in expected.values() {
        // The first record of that age in the first segment that has one: timestamps go up and down a little.
        let found = log.fetch_offset(OffsetQuery::At(*timestamp)).unwrap().unwrap();
        let first = expected.iter().find(|(_, t)| **t >= *timestamp).unwrap();
        assert_eq!((found.offset, found.timestamp), (*first.0, *first.1));
        assert_eq!(found.leader_epoch, Some(LeaderEpoch(0)));
    }
    let max = log.fetch_offset(OffsetQuery::MaxTimestamp).unwrap().unwrap();
    assert_eq!(Some(&max.timestamp), expected.values().max());
}

#[test]
fn aborted_transactions_of_apache_are_told_to_readers_of_committed_data() {
    let dir = copy_of("recovered");
    let manager = load(&[dir.path()]);
    let log = manager.log(&partition("txn")).unwrap();
    let aborted = log.aborted_transactions(0, log.log_end_offset()).unwrap();
    assert_eq!(aborted.len(), 4);
    for txn in &aborted {
        let data = log.read(txn.last_offset, 1, FetchIsolation::LogEnd, true).unwrap().records.unwrap();
        let mut bytes = vec![0; data.len as usize];
        data.read(0, &mut bytes).unwrap();
        let marker = batches(&bytes).next().unwrap().unwrap();
        assert!(marker.is_control());
        assert_eq!((marker.base_offset(), marker.producer_id()), (txn.last_offset, txn.producer_id));
    }
}

fn empty_manager(dirs: &[&Path]) -> LogManager {
    let (manager, _failures) = LogManager::open(options(dirs)).unwrap();
    manager.load_logs(&HashMap::new(), 0).unwrap();
    manager
}

fn create(manager: &LogManager, topic: &str) -> Arc<UnifiedLog> {
    manager.get_or_create(&partition(topic), true, None, &Arc::new(small_config()), 0).unwrap()
}

#[test]
fn a_creation_that_finds_no_room_removes_only_what_it_has_made() {
    let dir = tempfile::tempdir().unwrap();
    let manager = empty_manager(&[dir.path()]);
    let kept = dir.path().join("left-0").join("kept");
    fs::create_dir(kept.parent().unwrap()).unwrap();
    fs::write(&kept, "records").unwrap();
    let full = inject(|op| op.takes_room().then_some(libc::ENOSPC));
    for topic in ["left", "new"] {
        let refused = manager.get_or_create(&partition(topic), true, None, &Arc::new(small_config()), 0);
        assert!(matches!(refused, Err(CreateLogError::Dir(DirError::Full { .. }))), "{topic}: {refused:?}");
    }
    drop(full);
    assert!(kept.exists());
    assert!(!dir.path().join("new-0").exists());
}

#[test]
fn a_directory_is_used_by_one_manager_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let manager = empty_manager(&[dir.path()]);
    assert!(matches!(LogManager::open(options(&[dir.path()])), Err(StartError::Locked(_))));
    manager.shutdown(0);
    assert!(LogManager::open(options(&[dir.path()])).is_ok());
}

#[test]
fn a_directory_named_twice_or_with_strange_names_in_it_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let again = dir.path().join(".");
    assert!(matches!(LogManager::open(options(&[dir.path(), &again])), Err(StartError::DuplicateDir(_))));
    fs::create_dir(dir.path().join("strange")).unwrap();
    let (manager, _failures) = LogManager::open(options(&[dir.path()])).unwrap();
    assert!(matches!(manager.load_logs(&HashMap::new(), 0), Err(StartError::NotAPartition(_))));
}

#[test]
fn one_partition_in_two_directories_stops_the_start() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for dir in [&a, &b] {
        fs::create_dir(dir.path().join("t-0")).unwrap();
    }
    let (manager, _failures) = LogManager::open(options(&[a.path(), b.path()])).unwrap();
    assert!(matches!(manager.load_logs(&HashMap::new(), 0), Err(StartError::DuplicateLog { .. })));
}

#[test]
fn a_new_log_goes_where_the_fewest_are() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = empty_manager(&[a.path(), b.path()]);
    for n in 0..6 {
        create(&manager, &format!("t{n}"));
    }
    let counts: Vec<usize> = manager.describe().iter().map(|d| d.logs.len()).collect();
    assert_eq!(counts, [3, 3]);
    let same = create(&manager, "t0");
    assert!(Arc::ptr_eq(&same, &manager.log(&partition("t0")).unwrap()));
}

#[test]
fn a_deleted_partition_can_be_made_anew_at_once_and_its_files_go_later_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let manager = empty_manager(&[dir.path()]);
    append_plain(&create(&manager, "a"), 2, 0);
    append_plain(&create(&manager, "b"), 2, 0);
    assert!(manager.delete(&[partition("a"), partition("b"), partition("never-there")]).is_empty());
    assert!(manager.log(&partition("a")).is_none());
    let names = disk::subdirectories(dir.path()).unwrap();
    assert!(names.len() == 2 && names.iter().all(|n| n.ends_with("-delete")));
    assert_eq!(create(&manager, "a").log_end_offset(), 0);
    let delay = manager.options.default_config.file_delete_delay_ms;
    manager.live_dirs().for_each(|dir| {
        dir.scheduler().run_due(delay - 1);
    });
    assert_eq!(disk::subdirectories(dir.path()).unwrap().len(), 3);
    manager.shutdown(1);
    let manager = empty_manager(&[dir.path()]);
    assert!(manager.log(&partition("b")).is_none());
    manager.live_dirs().for_each(|dir| {
        dir.scheduler().run_due(2 * delay);
    });
    assert_eq!(disk::subdirectories(dir.path()).unwrap(), ["a-0"]);
}

#[test]
fn a_clock_that_is_set_back_by_an_hour_holds_no_flush_up() {
    let dir = tempfile::tempdir().unwrap();
    let manager = empty_manager(&[dir.path()]);
    let config = Arc::new(LogConfig { flush_ms: 1_000, ..small_config() });
    const HOUR: i64 = 3_600_000;
    let log = manager.get_or_create(&partition("a"), true, None, &config, 10 * HOUR).unwrap();
    append_plain(&log, 2, 10 * HOUR);
    manager.flush_dirty_logs(&log.log_dir().clone(), 10 * HOUR + 999);
    assert_eq!(log.recovery_point(), 0);
    manager.flush_dirty_logs(&log.log_dir().clone(), 9 * HOUR);
    assert_eq!(log.recovery_point(), 2);
    append_plain(&log, 2, 9 * HOUR);
    manager.flush_dirty_logs(&log.log_dir().clone(), 9 * HOUR + 999);
    assert_eq!(log.recovery_point(), 2);
    manager.flush_dirty_logs(&log.log_dir().clone(), 9 * HOUR + 1_000);
    assert_eq!(log.recovery_point(), 4);
}

#[test]
fn checkpoints_bring_recovery_point_log_start_and_high_watermark_back_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let manager = empty_manager(&[dir.path()]);
    let log = create(&manager, "a");
    for n in 0..5 {
        append_plain(&log, 2, n);
    }
    log.flush(0).unwrap();
    append_plain(&log, 2, 9);
    log.update_high_watermark(7);
    log.maybe_increment_log_start(3).unwrap();
    manager.live_dirs().for_each(|dir| manager.checkpoint_recovery_points_in(dir));
    for dir in manager.live_dirs() {
        manager.checkpoint_log_starts_in(dir);
        manager.checkpoint_high_watermarks_in(dir);
    }
    drop((manager, log));
    let manager = empty_manager(&[dir.path()]);
    let log = manager.log(&partition("a")).unwrap();
    let offsets = log.offsets();
    assert_eq!((offsets.log_start, offsets.high_watermark.offset, offsets.log_end.offset), (3, 7, 12));
    assert_eq!(log.recovery_point(), 10);
}

/// Kafka's checkpoints have no checksum: a number that a flip makes another number is believed. Only the log start is
/// more than a hint then, so it is left out.
#[test]
fn a_torn_or_flipped_checkpoint_costs_time_and_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let manager = empty_manager(&[dir.path()]);
    let log = create(&manager, "a");
    for n in 0..5 {
        append_plain(&log, 2, n);
    }
    log.flush(0).unwrap();
    log.update_high_watermark(10);
    log.maybe_increment_log_start(3).unwrap();
    log.set_cleaner_checkpoint(Some(4));
    manager.live_dirs().for_each(|dir| manager.checkpoint_recovery_points_in(dir));
    for dir in manager.live_dirs() {
        manager.checkpoint_log_starts_in(dir);
        manager.checkpoint_high_watermarks_in(dir);
    }
    manager.checkpoint_cleaned();
    let expected = read_all(&log, 4);
    drop((manager, log));
    for name in [RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE, CLEANER_FILE] {
        let whole = fs::read(dir.path().join(name)).unwrap();
        assert!(whole.len() > 5, "{name}");
        let mut damaged: Vec<Vec<u8>> = (0..whole.len()).map(|len| whole[..len].to_vec()).collect();
        if name != LOG_START_FILE {
            for at in 0..whole.len() {
                for flip in [1, 0x80] {
                    let mut flipped = whole.clone();
                    flipped[at] ^= flip;
                    damaged.push(flipped);
                }
            }
        }
        for bytes in damaged {
            let copied = tempfile::tempdir().unwrap();
            copy(dir.path(), copied.path());
            fs::write(copied.path().join(name), &bytes).unwrap();
            let manager = empty_manager(&[copied.path()]);
            let log = manager.log(&partition("a")).unwrap_or_else(|| panic!("{name} {bytes:?}"));
            assert_eq!(read_all(&log, 4), expected, "{name} {bytes:?}");
        }
    }
}

#[test]
fn a_failed_directory_takes_its_logs_along_and_the_others_go_on() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (manager, mut failures) = LogManager::open(options(&[a.path(), b.path()])).unwrap();
    manager.load_logs(&HashMap::new(), 0).unwrap();
    let first = create(&manager, "t0");
    create(&manager, "t1");
    let failed_dir = first.log_dir().path().to_owned();
    append_plain(&first, 1, 0);
    fs::remove_dir_all(first.dir()).unwrap();
    assert!(first.roll(0).is_err());
    assert_eq!(failures.try_recv().unwrap(), failed_dir);
    assert_eq!(manager.handle_dir_failure(&failed_dir).unwrap(), [partition("t0")]);
    assert!(manager.log(&partition("t0")).is_none());
    assert!(manager.log(&partition("t1")).is_some());
    let config = Arc::new(small_config());
    let known = manager.get_or_create(&partition("t2"), false, None, &config, 0);
    assert!(matches!(known, Err(CreateLogError::DirsOffline(_))));
    create(&manager, "t3");
    let other = manager.live_dirs().next().unwrap().path().to_owned();
    manager.dirs.iter().for_each(|d| drop(d.log_dir.fail(DiskError::new("test", &other, std::io::Error::other("x")))));
    assert!(manager.handle_dir_failure(&other).is_err(), "none is left");
}

#[test]
fn a_damaged_partition_is_offline_and_the_others_are_not() {
    let dir = copy_of("clean");
    fs::write(dir.path().join("idem-0/partition.metadata"), "version: 0\ntopic_id: nonsense").unwrap();
    let manager = load(&[dir.path()]);
    assert!(manager.log(&partition("idem")).is_none());
    assert!(manager.log(&partition("codecs")).is_some());
    let config = Arc::new(small_config());
    let refused = manager.get_or_create(&partition("idem"), false, None, &config, 0);
    assert!(matches!(refused, Err(CreateLogError::Damaged { .. })));
    assert!(manager.delete(&[partition("idem")]).is_empty());
    assert_eq!(create(&manager, "idem").log_end_offset(), 0);
}

#[test]
fn what_a_file_system_keeps_in_a_mount_point_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["lost+found", ".snapshot", ".Trash-1000/files"] {
        fs::create_dir_all(dir.path().join(name)).unwrap();
    }
    let manager = empty_manager(&[dir.path()]);
    assert!(manager.logs().is_empty());
    // A topic may be called that.
    append_plain(
        &manager.get_or_create(&TopicPartition::new(".Trash", 7), true, None, &Arc::default(), 0).unwrap(),
        1,
        0,
    );
    manager.shutdown(0);
    assert_eq!(empty_manager(&[dir.path()]).logs().len(), 1);
    fs::create_dir(dir.path().join("data")).unwrap();
    let (manager, _failures) = LogManager::open(options(&[dir.path()])).unwrap();
    assert!(matches!(manager.load_logs(&HashMap::new(), NOW), Err(StartError::NotAPartition(_))));
}

#[test]
fn every_checkpoint_stands_from_the_start_on() {
    let dir = tempfile::tempdir().unwrap();
    let _manager = empty_manager(&[dir.path()]);
    for name in [RECOVERY_POINT_FILE, LOG_START_FILE, HIGH_WATERMARK_FILE, CLEANER_FILE] {
        assert!(dir.path().join(name).exists(), "{name}");
    }
}

#[test]
fn a_directory_that_hangs_holds_up_no_delayed_work_of_another() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let manager = empty_manager(&[first.path(), second.path()]);
    let logs: Vec<_> = ["a", "b"].map(|topic| create(&manager, topic)).into();
    assert!(!Arc::ptr_eq(logs[0].log_dir(), logs[1].log_dir()), "one in each");
    for log in &logs {
        append_plain(log, 2, 0);
        log.roll(0).unwrap();
    }
    let dir = logs[1].log_dir();
    dir.scheduler().run_due(dir.scheduler().now());
    assert_eq!((logs[0].recovery_point(), logs[1].recovery_point()), (0, 2));
    // Its checkpoint is being written, forever.
    let _hangs = logs[0].log_dir().checkpoints.lock();
    manager.checkpoint_recovery_points_in(dir);
    assert_eq!(checkpoint::read_offsets(&dir.path().join(RECOVERY_POINT_FILE)).unwrap()[&partition("b")], 2);
}
