//! Holds moves between directories to their rules.

use super::*;
use crate::common::{LeaderEpoch, Uuid};
use crate::config::topic::LogConfig;
use crate::log::manager::StartError;
use crate::log::testing::*;
use crate::log::{LogManagerOptions, LogOffsets, checkpoint};
use crate::record::BatchOptions;
use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

struct Host {
    dirs: [tempfile::TempDir; 2],
    manager: LogManager,
}

fn open(dirs: &[tempfile::TempDir; 2]) -> LogManager {
    start(dirs).unwrap()
}

fn t(n: i32) -> TopicPartition {
    TopicPartition::new("t", n)
}

impl Host {
    fn new() -> Self {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let manager = open(&dirs);
        Self { dirs, manager }
    }

    fn create(&self, tp: &TopicPartition) -> Arc<UnifiedLog> {
        let config: Arc<LogConfig> = Arc::new(small_config());
        self.manager.get_or_create(tp, true, None, &config, 0).unwrap()
    }

    fn other_dir(&self, log: &UnifiedLog) -> &Path {
        self.dirs.iter().map(|d| d.path()).find(|dir| *dir != log.log_dir().path()).unwrap()
    }

    /// The log that is current then, unless the other goes on.
    fn complete(&self, tp: &TopicPartition) -> Option<Arc<UnifiedLog>> {
        let mut moved = None;
        let old = self.manager.complete_move(tp, 300, 100, &mut |log| moved = Some(Arc::clone(log))).unwrap()?;
        let moved = moved.expect("installed");
        self.manager.retire(&old, &moved);
        Some(moved)
    }

    fn advance_to_end(&self, tp: &TopicPartition) {
        let steps = (0..1_000).map(|_| self.manager.advance_move(tp, 300, 100).unwrap());
        assert!(steps.into_iter().any(|step| step == MoveStep::CaughtUp), "no end");
    }
}

fn names(dir: &Path) -> Vec<String> {
    crate::disk::subdirectories(dir).unwrap()
}

#[test]
fn a_replica_moves_while_it_is_written_and_keeps_all_that_it_had() {
    let host = Host::new();
    let log = host.create(&t(0));
    for n in 0..30 {
        append_plain(&log, 2, n * 10);
    }
    commit_all(&log);
    log.maybe_increment_log_start(7).unwrap();
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    assert!(names(&target)[0].ends_with("-future"));
    assert!(log.cleaning.gate.is_busy(), "not cleaned meanwhile");
    for n in 0..5 {
        host.manager.advance_move(&t(0), 300, 100).unwrap();
        append_plain(&log, 1, 1_000 + n);
    }
    host.advance_to_end(&t(0));
    for n in 0..20 {
        append_plain(&log, 1, 2_000 + n);
    }
    assert!(host.complete(&t(0)).is_none(), "the log went far on");
    host.advance_to_end(&t(0));
    append_plain(&log, 1, 3_000);
    let bytes = read_all(&log, 8);
    let moved = host.complete(&t(0)).unwrap();
    assert_eq!(read_all(&moved, 8), bytes);
    assert_eq!((moved.log_start_offset(), moved.log_end_offset()), (7, log.log_end_offset()));
    assert_eq!(moved.high_watermark(), log.high_watermark());
    assert_eq!(moved.latest_epoch(), log.latest_epoch());
    assert_eq!((moved.dir().to_path_buf(), names(&target)), (target.join("t-0"), vec!["t-0".to_owned()]));
    let old = names(log.log_dir().path());
    assert!(old.len() == 1 && old[0].ends_with("-delete"), "{old:?}");
    assert!(append(&log, &batch(Default::default(), 1, 0, 1), 0, 0).is_err(), "the old log takes nothing any more");
    append_plain(&moved, 1, 3_000);
    host.manager.live_dirs().for_each(|dir| {
        dir.scheduler().run_due(i64::MAX);
    });
    assert!(names(log.log_dir().path()).is_empty());
}

#[test]
fn a_restart_in_the_middle_goes_on_with_the_move() {
    let host = Host::new();
    let log = host.create(&t(0));
    for n in 0..30 {
        append_plain(&log, 2, n * 10);
    }
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    for _ in 0..4 {
        host.manager.advance_move(&t(0), 300, 100).unwrap();
    }
    let bytes = read_all(&log, 0);
    let dirs = host.dirs;
    host.manager.shutdown(100);
    let host = Host { manager: open(&dirs), dirs };
    assert_eq!(host.manager.moves(), [t(0)]);
    let future = host.manager.future_log(&t(0)).unwrap();
    assert!(future.log_end_offset() > 0, "what was copied is still there");
    host.advance_to_end(&t(0));
    let moved = host.complete(&t(0)).unwrap();
    assert_eq!(read_all(&moved, 0), bytes);
}

#[test]
fn what_records_do_not_say_goes_over_with_the_last_step() {
    let host = Host::new();
    let log = host.create(&t(0));
    let txn = |producer_id| BatchOptions {
        producer_id,
        producer_epoch: 0,
        base_sequence: 0,
        transactional: true,
        ..Default::default()
    };
    for n in 0..20 {
        append_plain(&log, 2, n * 10);
    }
    append(&log, &batch(txn(7), 1, 0, 10), 0, 0).unwrap();
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.advance_to_end(&t(0));
    // All of it after the last step, and nothing of it appends.
    commit_all(&log);
    log.maybe_increment_log_start(9).unwrap();
    log.assign_epoch_start(LeaderEpoch(6), 41);
    // Guards are numbered in each log: the second is not one that the other log would give first.
    log.start_transaction_verification(9, 0, 0, 100);
    let guard = log.start_transaction_verification(8, 0, 0, 100);
    assert!(guard.is_some());
    let id = Uuid::random();
    log.assign_topic_id(id).unwrap();
    let before = log.offsets();
    assert_eq!((before.log_start, before.last_stable.offset, before.high_watermark.offset), (9, 40, 41));
    let moved = host.complete(&t(0)).unwrap();
    let plain = |offsets: LogOffsets| {
        [offsets.log_start, offsets.last_stable.offset, offsets.high_watermark.offset, offsets.log_end.offset]
    };
    assert_eq!(plain(moved.offsets()), plain(before));
    assert_eq!(moved.epoch_entries(), log.epoch_entries());
    assert_eq!((moved.topic_id(), moved.active_producers()), (Some(id), log.active_producers()));
    assert_eq!(moved.start_transaction_verification(8, 0, 0, 100), guard, "the guard that was given out counts");
    assert!(moved.recovery_point() == 41, "as safe as it was");
    // Who still has the old log changes nothing.
    assert!(log.is_replaced() && log.maybe_increment_log_start(10).is_err());
    assert_eq!((log.maybe_increment_high_watermark(log.log_end()), log.update_high_watermark(3)), (None, 41));
}

#[test]
fn a_future_log_of_an_earlier_topic_is_no_move() {
    let host = Host::new();
    let log = host.create(&t(0));
    append_plain(&log, 2, 0);
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.manager.future_log(&t(0)).unwrap().assign_topic_id(Uuid::random()).unwrap();
    log.assign_topic_id(Uuid::random()).unwrap();
    assert_eq!(host.manager.advance_move(&t(0), 300, 100).unwrap(), MoveStep::Waiting);
    assert!(host.manager.moves().is_empty() && !log.cleaning.gate.is_busy());
    assert!(names(&target).iter().all(|name| name.ends_with("-delete")));
}

#[test]
fn settings_that_change_beside_a_move_are_those_of_the_log_that_is_there() {
    let host = Host::new();
    let log = host.create(&t(0));
    append_plain(&log, 2, 0);
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.advance_to_end(&t(0));
    let changed = Arc::new(LogConfig { retention_ms: 77, ..small_config() });
    host.manager.take_configs(|_| true, |_| Arc::clone(&changed));
    assert_eq!(host.complete(&t(0)).unwrap().config().retention_ms, 77);
}

#[test]
fn a_failed_step_of_the_change_leaves_one_log_that_goes_on() {
    // The future log gets its new name, then the old one; each may fail.
    for failing in 0..2 {
        let host = Host::new();
        let log = host.create(&t(0));
        append_plain(&log, 2, 0);
        let target = host.other_dir(&log).to_owned();
        host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
        host.advance_to_end(&t(0));
        if failing == 0 {
            // Something is in the way of the new name.
            fs::create_dir(target.join("t-0")).unwrap();
            fs::write(target.join("t-0").join("x"), b"x").unwrap();
            assert!(host.manager.complete_move(&t(0), 300, 100, &mut |_| panic!("nothing is installed")).is_err());
            assert!(!log.is_replaced() && !log.log_dir().is_offline());
            append_plain(&log, 1, 10);
            assert_eq!(host.manager.log(&t(0)).unwrap().log_end_offset(), 3);
        } else {
            log.log_dir().fail(DiskError::new("test", log.log_dir().path(), std::io::Error::other("x")));
            assert!(host.manager.complete_move(&t(0), 300, 100, &mut |_| panic!("nothing is installed")).is_err());
            let gone = host.manager.handle_dir_failure(log.log_dir().path()).unwrap();
            assert_eq!(gone, [t(0)], "the copy is not known to be whole");
        }
    }
}

#[test]
fn a_truncation_of_the_current_log_reaches_the_future_one() {
    let host = Host::new();
    let log = host.create(&t(0));
    for epoch in 0..3 {
        for n in 0..5 {
            append(&log, &batch(Default::default(), 2, i64::from(n), 5), epoch, 0).unwrap();
        }
    }
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.advance_to_end(&t(0));
    log.truncate_to(14, 100).unwrap();
    for n in 0..9 {
        append(&log, &batch(Default::default(), 2, 500 + n, 5), 7, 0).unwrap();
    }
    host.advance_to_end(&t(0));
    let bytes = read_all(&log, 0);
    let moved = host.complete(&t(0)).unwrap();
    assert_eq!(read_all(&moved, 0), bytes);
    assert_eq!(moved.epoch_entries(), log.epoch_entries());
}

#[test]
fn a_log_that_was_cut_and_has_grown_to_the_same_end_is_not_taken_for_the_same() {
    let host = Host::new();
    let log = host.create(&t(0));
    for n in 0..5 {
        append(&log, &batch(Default::default(), 2, n, 5), 3, 0).unwrap();
    }
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.advance_to_end(&t(0));
    // Between the last step and the end of the move the follower has found another leader.
    log.truncate_to(8, 100).unwrap();
    append(&log, &batch(Default::default(), 2, 500, 5), 4, 0).unwrap();
    assert_eq!(log.log_end_offset(), host.manager.future_log(&t(0)).unwrap().log_end_offset());
    assert!(host.complete(&t(0)).is_none());
    host.advance_to_end(&t(0));
    let bytes = read_all(&log, 0);
    assert_eq!(read_all(&host.complete(&t(0)).unwrap(), 0), bytes);
}

#[test]
fn a_move_is_given_up_by_naming_the_current_directory_or_by_deletion() {
    let host = Host::new();
    let log = host.create(&t(0));
    append_plain(&log, 2, 0);
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.manager.alter_log_dir(&t(0), log.log_dir().path(), 100).unwrap();
    assert!(host.manager.moves().is_empty() && !log.cleaning.gate.is_busy());
    assert!(names(&target).iter().all(|name| name.ends_with("-delete")));
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.manager.delete(&[t(0)]);
    assert!(host.manager.moves().is_empty());
    host.manager.live_dirs().for_each(|dir| {
        dir.scheduler().run_due(i64::MAX);
    });
    assert!(host.dirs.iter().all(|dir| names(dir.path()).is_empty()));
}

#[test]
fn where_a_replica_is_made_can_be_asked_for_before() {
    let host = Host::new();
    let log = host.create(&t(0));
    let full = log.log_dir().path().to_owned();
    assert!(matches!(host.manager.alter_log_dir(&t(1), &full, 0), Err(MoveError::NoReplica(_))));
    assert_eq!(host.create(&t(1)).log_dir().path(), full, "although it has more logs");
    assert_ne!(host.create(&t(2)).log_dir().path(), full);
    let nowhere = Path::new("/nowhere");
    assert!(matches!(host.manager.alter_log_dir(&t(0), nowhere, 0), Err(MoveError::NoSuchDir(_))));
    let long = TopicPartition::new("t".repeat(249).as_str(), 0);
    assert!(matches!(host.manager.alter_log_dir(&long, &full, 0), Err(MoveError::NameTooLong(_))));
}

#[test]
fn a_failed_target_ends_the_move_and_the_replica_stays() {
    let host = Host::new();
    let log = host.create(&t(0));
    append_plain(&log, 2, 0);
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    let future = host.manager.future_log(&t(0)).unwrap();
    future.log_dir().fail(DiskError::new("test", &target, std::io::Error::other("x")));
    assert!(host.manager.handle_dir_failure(&target).unwrap().is_empty(), "no partition was served from it");
    assert!(host.manager.moves().is_empty() && !log.cleaning.gate.is_busy());
    append_plain(&log, 2, 10);
    assert!(matches!(host.manager.alter_log_dir(&t(0), &target, 100), Err(MoveError::Dir(_))));
    assert!(fs::exists(log.dir()).unwrap());
}

/// `t-0` with a topic id and 60 records in two epochs, moved as far as to the first rename, with 3 records after it. Gives
/// the directory that it left and the one that it is in, as a kill leaves them.
fn killed_between_the_renames(topic_id: Option<Uuid>) -> ([tempfile::TempDir; 2], PathBuf, PathBuf) {
    let host = Host::new();
    let config: Arc<LogConfig> = Arc::new(small_config());
    let log = host.manager.get_or_create(&t(0), true, topic_id, &config, 0).unwrap();
    for n in 0..30 {
        append(&log, &batch(BatchOptions::default(), 2, n * 10, 10), i32::from(n >= 20), n * 10).unwrap();
    }
    commit_all(&log);
    log.write_small_files().unwrap();
    let target = host.other_dir(&log).to_owned();
    host.manager.alter_log_dir(&t(0), &target, 100).unwrap();
    host.advance_to_end(&t(0));
    let mut moved = None;
    host.manager.complete_move(&t(0), 300, 100, &mut |log| moved = Some(Arc::clone(log))).unwrap().unwrap();
    append(&moved.unwrap(), &batch(BatchOptions::default(), 3, 400, 10), 1, 400).unwrap();
    let old = log.log_dir().path().to_owned();
    assert_eq!((names(&old), names(&target)), (vec!["t-0".to_owned()], vec!["t-0".to_owned()]));
    (host.dirs, old, target)
}

fn start(dirs: &[tempfile::TempDir; 2]) -> Result<LogManager, StartError> {
    let (manager, _failures) = LogManager::open(LogManagerOptions {
        log_dirs: dirs.iter().map(|d| d.path().to_owned()).collect(),
        recovery_threads_per_dir: 1,
        producer_config: PRODUCERS,
        default_config: Arc::new(small_config()),
        max_open_files: 16,
        disk_reserve_bytes: 0,
    })
    .unwrap();
    manager.load_logs(&HashMap::new(), 0).map(|()| manager)
}

#[test]
fn a_kill_between_the_renames_leaves_the_log_that_has_all_and_sets_the_other_aside() {
    let (dirs, old, target) = killed_between_the_renames(Some(Uuid([7; 16])));
    let manager = start(&dirs).unwrap();
    let log = manager.log(&t(0)).unwrap();
    assert_eq!((log.log_dir().path(), log.log_end_offset()), (&*target, 63));
    let aside = names(&old);
    assert!(aside.len() == 1 && aside[0].ends_with("-stray"), "{aside:?}");
    let files = fs::read_dir(old.join(&aside[0])).unwrap().map(|file| file.unwrap().path());
    let logs = files.filter(|file| file.extension().is_some_and(|e| e == "log"));
    assert!(logs.map(|file| file.metadata().unwrap().len()).sum::<u64>() > 1_000, "it keeps its records");
    assert!(manager.logs().len() == 1 && manager.moves().is_empty());
    append(&log, &batch(BatchOptions::default(), 1, 500, 10), 1, 500).unwrap();
    // And so it stays.
    drop((log, manager));
    let manager = start(&dirs).unwrap();
    assert_eq!(manager.log(&t(0)).unwrap().log_end_offset(), 64);
}

#[test]
fn a_power_cut_that_took_the_end_of_the_new_log_leaves_the_old_one() {
    let (dirs, old, target) = killed_between_the_renames(Some(Uuid([7; 16])));
    let mut segments: Vec<PathBuf> = fs::read_dir(target.join("t-0")).unwrap().map(|e| e.unwrap().path()).collect();
    segments.retain(|file| file.extension().is_some_and(|e| e == "log"));
    segments.sort();
    let last = fs::OpenOptions::new().write(true).open(segments.last().unwrap()).unwrap();
    last.set_len(0).unwrap();
    for file in &segments[segments.len() - 2..segments.len() - 1] {
        fs::OpenOptions::new().write(true).open(file).unwrap().set_len(0).unwrap();
    }
    let manager = start(&dirs).unwrap();
    let log = manager.log(&t(0)).unwrap();
    assert_eq!((log.log_dir().path(), log.log_end_offset()), (&*old, 60));
    assert!(names(&target)[0].ends_with("-stray"));
}

#[test]
fn a_kill_after_both_renames_leaves_one_log() {
    let (dirs, old, target) = killed_between_the_renames(Some(Uuid([7; 16])));
    fs::rename(old.join("t-0"), old.join(delete_dir_name(&t(0)))).unwrap();
    let manager = start(&dirs).unwrap();
    assert_eq!(manager.log(&t(0)).unwrap().dir().to_path_buf(), target.join("t-0"));
}

#[test]
fn two_logs_of_which_neither_surely_has_all_of_the_other_stop_the_start() {
    let refused = |dirs: &[tempfile::TempDir; 2], old: &Path, target: &Path| {
        assert!(matches!(start(dirs), Err(StartError::DuplicateLog { .. })));
        assert_eq!((names(old), names(target)), (vec!["t-0".to_owned()], vec!["t-0".to_owned()]));
    };
    // Nothing says that they are of one topic.
    let (dirs, old, target) = killed_between_the_renames(None);
    refused(&dirs, &old, &target);
    // They are of two.
    let (dirs, old, target) = killed_between_the_renames(Some(Uuid([7; 16])));
    fs::write(old.join("t-0/partition.metadata"), checkpoint::partition_metadata(Uuid([8; 16]))).unwrap();
    refused(&dirs, &old, &target);
    // The shorter one begins sooner.
    let (dirs, old, target) = killed_between_the_renames(Some(Uuid([7; 16])));
    let mut files: Vec<PathBuf> = fs::read_dir(target.join("t-0")).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.file_name().unwrap().to_str().unwrap().starts_with("00000000000000000000."));
    files.iter().for_each(|file| fs::remove_file(file).unwrap());
    refused(&dirs, &old, &target);
    // They parted: the shorter one has records of an epoch that the longer one does not know.
    let (dirs, old, target) = killed_between_the_renames(Some(Uuid([7; 16])));
    let kept = tempfile::tempdir().unwrap();
    fs::rename(target.join("t-0"), kept.path().join("t-0")).unwrap();
    let manager = start(&dirs).unwrap();
    let log = manager.log(&t(0)).unwrap();
    append(&log, &batch(BatchOptions::default(), 1, 500, 10), 2, 500).unwrap();
    log.write_small_files().unwrap();
    drop((log, manager));
    fs::rename(kept.path().join("t-0"), target.join("t-0")).unwrap();
    refused(&dirs, &old, &target);
}
