//! Holds `UnifiedLog` to its rules, one at a time.

mod faults;

use super::testing::*;
use super::*;
use crate::common::LeaderEpoch;
use crate::config::topic::LogConfig;
use crate::disk::FilePool;
use crate::disk::fault::Op;
use crate::disk::fault::testing::inject;
use crate::record::validate::AppendOrigin;
use crate::record::{BatchOptions, batches, control};
use std::fs;
use std::sync::Arc;

fn small() -> (tempfile::TempDir, Arc<UnifiedLog>) {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), options(small_config()), 0);
    (dir, log)
}

/// Twenty batches of three records.
fn fill(log: &UnifiedLog) {
    for n in 0..20 {
        append_plain(log, 3, n * 10);
    }
}

fn idempotent(producer_id: i64, sequence: i32) -> BatchOptions {
    BatchOptions { producer_id, producer_epoch: 0, base_sequence: sequence, ..BatchOptions::default() }
}

fn transactional(producer_id: i64, sequence: i32) -> BatchOptions {
    BatchOptions { transactional: true, ..idempotent(producer_id, sequence) }
}

fn end_transaction(log: &UnifiedLog, producer_id: i64, committed: bool, now: i64) -> AppendInfo {
    let marker = control::EndTransactionMarker { committed, coordinator_epoch: 1 };
    let bytes = marker.batch(0, LeaderEpoch::NONE, now, producer_id, 0).unwrap();
    append_from(log, &bytes, 0, now, AppendOrigin::Coordinator).unwrap()
}

#[test]
fn offsets_follow_each_other_and_reads_give_back_what_was_appended() {
    let (_dir, log) = small();
    let infos: Vec<_> = (0..20).map(|n| append_plain(&log, 3, n * 10)).collect();
    assert_eq!(infos.iter().map(|i| i.first_offset).collect::<Vec<_>>(), (0..20).map(|n| n * 3).collect::<Vec<_>>());
    assert!(log.segment_count() > 2);
    let bytes = read_all(&log, 0);
    let read: Vec<_> = batches(&bytes).map(|b| b.unwrap()).collect();
    assert_eq!(read.len(), 20);
    for (n, b) in read.iter().enumerate() {
        assert_eq!((b.base_offset(), b.last_offset()), (n as i64 * 3, n as i64 * 3 + 2));
        assert_eq!(b.partition_leader_epoch(), LeaderEpoch(0));
        b.check_crc().unwrap();
    }
}

#[test]
fn a_read_begins_with_the_batch_that_holds_the_offset() {
    let (_dir, log) = small();
    fill(&log);
    for offset in 0..60 {
        let data = log.read(offset, 1, FetchIsolation::LogEnd, true).unwrap();
        let slice = data.records.unwrap();
        let mut bytes = vec![0; slice.len as usize];
        slice.read(0, &mut bytes).unwrap();
        let first = batches(&bytes).next().unwrap().unwrap();
        assert_eq!((first.base_offset(), first.size()), (offset / 3 * 3, bytes.len()), "offset {offset}");
        assert_eq!(data.start.offset, offset);
    }
}

#[test]
fn a_read_is_bounded_by_high_watermark_and_last_stable_offset() {
    let (_dir, log) = small();
    for n in 0..4 {
        append_plain(&log, 2, n);
    }
    let len = |from, isolation| log.read(from, 1 << 20, isolation, true).unwrap().len();
    assert_eq!(len(0, FetchIsolation::HighWatermark), 0);
    log.maybe_increment_high_watermark(OffsetMetadata::offset_only(4));
    let two = len(0, FetchIsolation::HighWatermark);
    assert_eq!(two * 2, len(0, FetchIsolation::LogEnd));
    assert_eq!(len(4, FetchIsolation::HighWatermark), 0);
    assert_eq!(
        len(6, FetchIsolation::HighWatermark),
        0,
        "between the bound and the end there is nothing, but no error"
    );
    assert!(matches!(log.read(9, 1, FetchIsolation::LogEnd, true), Err(ReadError::OffsetOutOfRange { .. })));
    assert!(matches!(log.read(-1, 1, FetchIsolation::LogEnd, true), Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!(log.read(0, 0, FetchIsolation::LogEnd, false).unwrap().len(), 0);
    let cut = log.read(0, 10, FetchIsolation::LogEnd, false).unwrap();
    assert_eq!((cut.len(), cut.first_entry_incomplete), (10, true));
}

#[test]
fn a_duplicate_is_answered_with_its_first_offsets_and_not_written() {
    let (_dir, log) = small();
    let first = batch(idempotent(7, 0), 2, 5, 10);
    let info = append(&log, &first, 0, 5).unwrap();
    append(&log, &batch(idempotent(7, 2), 1, 6, 10), 0, 6).unwrap();
    let again = append(&log, &first, 0, 9).unwrap();
    assert!(again.is_duplicate);
    assert_eq!((again.first_offset, again.last_offset), (info.first_offset, info.last_offset));
    assert_eq!(log.log_end_offset(), 3);
    assert!(matches!(append(&log, &batch(idempotent(7, 9), 1, 6, 10), 0, 6), Err(AppendError::Producer(_))));
    assert_eq!(log.log_end_offset(), 3);
}

#[test]
fn a_leader_that_was_deposed_on_the_way_appends_nothing() {
    let (_dir, log) = small();
    let records = crate::record::validate::ValidatedBatches {
        batches: Vec::new(),
        max_timestamp: -1,
        log_append_time: -1,
        source_bytes: 0,
        conversion: Default::default(),
    };
    let refused = log.append_as_leader(&records, LeaderEpoch(0), AppendOrigin::Client, None, 0, || false);
    assert!(matches!(refused, Err(AppendError::NotLeader)));
    let nothing = log.append_as_leader(&records, LeaderEpoch(0), AppendOrigin::Client, None, 0, || true).unwrap();
    assert_eq!((nothing.first_offset, nothing.last_offset), (-1, -1));
}

#[test]
fn an_append_larger_than_a_segment_is_refused() {
    let (_dir, log) = small();
    let large = batch(BatchOptions::default(), 1, 0, 2_000);
    assert!(matches!(append(&log, &large, 0, 0), Err(AppendError::TooLarge { segment_bytes: 1_000, .. })));
}

#[test]
fn a_segment_is_closed_by_time_of_its_records() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { segment_ms: 100, ..LogConfig::default() };
    let log = open_in(dir.path(), options(config), 0);
    append_plain(&log, 1, 1_000);
    append_plain(&log, 1, 1_100);
    assert_eq!(log.segment_count(), 1);
    append_plain(&log, 1, 1_101);
    assert_eq!((log.segment_count(), log.active_segment_base()), (2, 2));
}

/// The clock of producers and broker jumps by an hour and is set right again.
#[test]
fn a_clock_that_jumps_deletes_nothing_early_and_holds_up_no_roll_for_longer() {
    const HOUR: i64 = 3_600_000;
    let noon = 100 * HOUR;
    let config = LogConfig { segment_ms: HOUR, retention_ms: 2 * HOUR, ..LogConfig::default() };
    for jump in [HOUR, -HOUR] {
        let dir = tempfile::tempdir().unwrap();
        let log = open_in(dir.path(), options(config.clone()), noon);
        append_plain(&log, 1, noon);
        append_plain(&log, 1, noon + 1 + jump);
        append_plain(&log, 1, noon + 2);
        commit_all(&log);
        for now in [noon + 2 + jump, noon + 2, noon + 2 * HOUR] {
            assert_eq!(log.delete_old_segments(now).unwrap(), 0, "{jump}: no record is older than two hours");
        }
        // Later than it should by the jump at most.
        let segments = log.segment_count();
        append_plain(&log, 1, noon + 3 + HOUR + jump.abs());
        assert_eq!(log.segment_count(), segments + 1, "{jump}");
        commit_all(&log);
        assert!(log.delete_old_segments(noon + 3 + 2 * HOUR + jump.abs()).unwrap() > 0, "{jump}");
        assert_eq!(log.log_start_offset(), 3, "{jump}: the last record is young");
    }
}

#[test]
fn a_roll_leaves_a_snapshot_and_moves_the_recovery_point_later() {
    let (dir, log) = small();
    append_plain(&log, 2, 0);
    log.roll(7).unwrap();
    assert!(dir.path().join("t-0/00000000000000000002.snapshot").exists());
    assert_eq!(log.recovery_point(), 0);
    log.flush(8).unwrap();
    assert_eq!(log.recovery_point(), 2);
    log.roll(9).unwrap();
    assert_eq!(log.segment_count(), 2, "an empty segment is as good as a new one");
}

#[test]
fn flush_messages_asks_for_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), options(LogConfig { flush_messages: 3, ..LogConfig::default() }), 0);
    assert!(!append_plain(&log, 2, 0).flush_due);
    assert!(append_plain(&log, 1, 0).flush_due);
    log.flush(1).unwrap();
    assert!(!append_plain(&log, 1, 0).flush_due);
}

#[test]
fn read_committed_waits_for_transactions_and_gets_the_aborted_ones() {
    let (_dir, log) = small();
    append(&log, &batch(transactional(1, 0), 2, 0, 10), 0, 0).unwrap();
    append(&log, &batch(transactional(2, 0), 2, 0, 10), 0, 0).unwrap();
    commit_all(&log);
    assert_eq!((log.last_stable_offset(), log.high_watermark()), (0, 4));
    end_transaction(&log, 1, false, 1);
    assert_eq!(log.last_stable_offset(), 0, "the marker is not replicated yet");
    commit_all(&log);
    assert_eq!(log.last_stable_offset(), 2);
    end_transaction(&log, 2, true, 1);
    commit_all(&log);
    assert_eq!(log.last_stable_offset(), 6);
    let data = log.read(0, 1 << 20, FetchIsolation::TxnCommitted, true).unwrap();
    let aborted: Vec<_> =
        data.aborted.unwrap().iter().map(|t| (t.producer_id, t.first_offset, t.last_offset)).collect();
    assert_eq!(aborted, [(1, 0, 4)]);
    assert_eq!(log.read(0, 1 << 20, FetchIsolation::HighWatermark, true).unwrap().aborted, None);
}

#[test]
fn offsets_are_found_by_time() {
    let (_dir, log) = small();
    for (n, timestamp) in [100, 50, 300, 200, 400, 390, 380, 420, 410, 500].iter().enumerate() {
        append_plain(&log, 2, *timestamp);
        assert_eq!(log.log_end_offset(), n as i64 * 2 + 2);
    }
    let at = |t| log.fetch_offset(OffsetQuery::At(t)).unwrap().map(|f| (f.offset, f.timestamp));
    assert_eq!(at(0), Some((0, 100)));
    assert_eq!(at(101), Some((1, 101)));
    assert_eq!(at(102), Some((4, 300)));
    assert_eq!(at(400), Some((8, 400)));
    assert_eq!(at(402), Some((14, 420)));
    assert_eq!(at(501), Some((19, 501)));
    assert_eq!(at(502), None);
    let max = log.fetch_offset(OffsetQuery::MaxTimestamp).unwrap().unwrap();
    assert_eq!((max.offset, max.timestamp, max.leader_epoch), (19, 501, Some(LeaderEpoch(0))));
    let earliest = log.fetch_offset(OffsetQuery::Earliest).unwrap().unwrap();
    assert_eq!((earliest.offset, earliest.timestamp, earliest.leader_epoch), (0, -1, Some(LeaderEpoch(0))));
    assert_eq!(log.fetch_offset(OffsetQuery::Latest).unwrap().unwrap().offset, 20);
}

#[test]
fn an_empty_log_has_no_offset_for_a_time() {
    let (_dir, log) = small();
    assert_eq!(log.fetch_offset(OffsetQuery::At(0)).unwrap(), None);
    assert_eq!(log.fetch_offset(OffsetQuery::MaxTimestamp).unwrap(), None);
    assert_eq!(log.read(0, 100, FetchIsolation::HighWatermark, true).unwrap().len(), 0);
    assert_eq!(log.legacy_offsets_before(-1, 5, 0).unwrap(), [0]);
}

#[test]
fn deleted_records_move_the_log_start_and_then_the_segments_go() {
    let (dir, log) = small();
    fill(&log);
    assert!(matches!(log.maybe_increment_log_start(1), Err(LogStartError::AboveHighWatermark { .. })));
    commit_all(&log);
    let second_base = log.segments.load().as_slice()[1].base_offset();
    assert!(log.maybe_increment_log_start(second_base + 1).unwrap());
    assert!(!log.maybe_increment_log_start(3).unwrap());
    assert!(matches!(log.read(second_base, 1, FetchIsolation::LogEnd, true), Err(ReadError::OffsetOutOfRange { .. })));
    assert_eq!(log.epoch_entries()[0].start_offset, second_base + 1);
    let before = log.segment_count();
    assert_eq!(log.delete_old_segments(1_000).unwrap(), 1);
    assert_eq!(log.segment_count(), before - 1);
    let names = crate::disk::file_names(&dir.path().join("t-0")).unwrap();
    assert!(names.contains(&"00000000000000000000.log.deleted".to_owned()));
}

#[test]
fn files_of_deleted_segments_go_after_their_delay() {
    let dir = tempfile::tempdir().unwrap();
    let (failures, _) = tokio::sync::mpsc::channel(1);
    let log_dir = Arc::new(log_dir::LogDir::new(dir.path().to_owned(), failures, Arc::new(FilePool::new(4))));
    const HOUR: i64 = 3_600_000;
    let config = LogConfig { retention_ms: 1, file_delete_delay_ms: HOUR + 1, ..small_config() };
    let log = UnifiedLog::open(&dir.path().join("t-0"), tp(), Arc::clone(&log_dir), options(config), 0).unwrap();
    let scheduler = log_dir.scheduler();
    fill(&log);
    commit_all(&log);
    assert!(log.delete_old_segments(10_000).unwrap() > 1);
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.segment_count(), log.size()), (60, 60, 1, 0));
    let deleted =
        || crate::disk::file_names(&dir.path().join("t-0")).unwrap().iter().filter(|n| n.ends_with(".deleted")).count();
    // The delay is one of the scheduler's own clock, whatever that of the machine says.
    assert!(scheduler.run_due(HOUR).is_some_and(|due| (HOUR + 1..2 * HOUR).contains(&due)));
    assert!(deleted() > 3);
    scheduler.run_due(2 * HOUR);
    assert_eq!(deleted(), 0);
    append_plain(&log, 1, 10_060);
    assert_eq!(log.log_end_offset(), 61);
}

#[test]
fn truncation_takes_whole_batches_and_appends_go_on_there() {
    let (_dir, log) = small();
    fill(&log);
    commit_all(&log);
    assert!(!log.truncate_to(60, 0).unwrap());
    assert!(log.truncate_to(31, 0).unwrap());
    assert_eq!((log.log_end_offset(), log.high_watermark()), (31, 31));
    let bytes = read_all(&log, 0);
    assert_eq!(batches(&bytes).last().unwrap().unwrap().last_offset(), 29);
    assert_eq!(append_plain(&log, 1, 1_000).first_offset, 31);
    assert!(log.truncate_to(0, 0).unwrap());
    assert_eq!((log.log_end_offset(), log.size(), log.segment_count()), (0, 0, 1));
}

#[test]
fn truncation_brings_producers_and_epochs_back_to_what_they_were() {
    let (_dir, log) = small();
    for n in 0..20 {
        append(&log, &batch(idempotent(7, n), 1, i64::from(n), 100), n / 5, i64::from(n)).unwrap();
    }
    log.truncate_to(11, 0).unwrap();
    assert_eq!(log.active_producers()[&7].last_sequence(), 10);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(2)));
    append(&log, &batch(idempotent(7, 11), 1, 99, 10), 2, 99).unwrap();
    assert!(append(&log, &batch(idempotent(7, 13), 1, 99, 10), 2, 99).is_err());
}

#[test]
fn a_log_can_begin_anew_elsewhere() {
    let (_dir, log) = small();
    fill(&log);
    log.truncate_fully_and_start_at(500, None, 0).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.high_watermark()), (500, 500, 500));
    assert_eq!(log.epoch_entries(), []);
    assert_eq!(append_plain(&log, 1, 0).first_offset, 500);
}

#[test]
fn a_follower_takes_its_leaders_bytes_as_they_are() {
    let (_dir, leader) = small();
    append(&leader, &batch(transactional(1, 0), 2, 0, 10), 0, 0).unwrap();
    end_transaction(&leader, 1, false, 1);
    for n in 0..5 {
        append_plain(&leader, 3, n * 10);
    }
    let bytes = read_all(&leader, 0);
    let (_dir, follower) = small();
    let partial = &bytes[..bytes.len() - 1];
    let info = follower.append_as_follower(partial, 0).unwrap();
    assert_eq!((info.first_offset, info.last_offset), (0, 14));
    let rest = read_all(&leader, 15);
    follower.append_as_follower(&rest, 0).unwrap();
    assert_eq!(read_all(&follower, 0), bytes);
    assert_eq!(follower.epoch_entries(), leader.epoch_entries());
    assert_eq!(follower.aborted_transactions(0, 18).unwrap(), leader.aborted_transactions(0, 18).unwrap());
    assert!(matches!(
        follower.append_as_follower(&bytes, 0),
        Err(AppendError::UnexpectedOffset { first: 0, log_end: 18, .. })
    ));
    let mut damaged = batch(BatchOptions { base_offset: 18, ..BatchOptions::default() }, 1, 0, 10).to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(follower.append_as_follower(&damaged, 0), Err(AppendError::Record(_))));
}

#[test]
fn a_closed_log_takes_no_append_and_opens_as_it_was() {
    let (dir, log) = small();
    for n in 0..20 {
        append(&log, &batch(idempotent(7, n), 1, i64::from(n), 30), n / 5, i64::from(n)).unwrap();
    }
    commit_all(&log);
    log.flush(0).unwrap();
    log.close().unwrap();
    assert!(matches!(append(&log, &batch(idempotent(7, 20), 1, 0, 1), 4, 0), Err(AppendError::Dir(_))));
    let files = files_of(&dir.path().join("t-0"));
    let again = open_in(dir.path(), options(small_config()), 100);
    assert_eq!(files_of(&dir.path().join("t-0")), files, "opening after a clean stop changes no file");
    assert_eq!(again.log_end_offset(), 20);
    assert_eq!(again.recovery_point(), 20);
    assert_eq!(again.epoch_entries(), log.epoch_entries());
    assert_eq!(again.active_producers()[&7].last_sequence(), 19);
    assert_eq!(read_all(&again, 0), read_all(&log, 0));
    append(&again, &batch(idempotent(7, 20), 1, 30, 30), 4, 30).unwrap();
}

#[test]
fn the_topic_id_is_kept_and_must_not_change() {
    let (dir, log) = small();
    let (a, b) = (crate::common::Uuid::random(), crate::common::Uuid::random());
    assert_eq!(log.topic_id(), None);
    log.assign_topic_id(a).unwrap();
    log.assign_topic_id(a).unwrap();
    assert_eq!(log.assign_topic_id(b), Err(InconsistentTopicId { current: a, requested: b }));
    let metadata = dir.path().join("t-0/partition.metadata");
    assert!(!metadata.exists(), "the scheduler has its turn later");
    append(&log, &batch(BatchOptions::default(), 1, 0, 10), 4, 0).unwrap();
    assert!(metadata.exists(), "no record before it");
    assert_eq!(open_in(dir.path(), options(small_config()), 0).topic_id(), Some(a));
}

#[test]
fn a_failing_disk_takes_the_directory_offline() {
    let (dir, log) = small();
    append_plain(&log, 1, 0);
    fs::remove_dir_all(dir.path().join("t-0")).unwrap();
    assert!(log.roll(0).is_err());
    assert!(log.log_dir().is_offline());
    assert!(matches!(log.read(0, 1, FetchIsolation::LogEnd, true), Err(ReadError::Dir(log_dir::DirError::Offline(_)))));
    let refused = append(&log, &batch(BatchOptions::default(), 1, 0, 1), 0, 0);
    assert!(matches!(refused, Err(AppendError::Dir(log_dir::DirError::Offline(_)))));
}

#[test]
fn only_what_clients_produce_is_kept_off_the_reserve() {
    let dir = tempfile::tempdir().unwrap();
    let (failures, _) = tokio::sync::mpsc::channel(1);
    let log_dir = log_dir::LogDir::new(dir.path().to_owned(), failures, Arc::new(FilePool::new(4)));
    let log_dir = Arc::new(log_dir.keeping_free(u64::MAX));
    let options = options(small_config());
    let log = UnifiedLog::open(&dir.path().join("t-0"), tp(), log_dir, options, 0).unwrap();
    let refused = append(&log, &batch(idempotent(5, 0), 1, 0, 1), 0, 0);
    assert!(matches!(refused, Err(AppendError::Dir(log_dir::DirError::Reserved(_)))));
    append_from(&log, &batch(BatchOptions::default(), 1, 0, 1), 0, 0, AppendOrigin::Coordinator).unwrap();
    let mut copied = batch(BatchOptions::default(), 1, 0, 1).to_vec();
    copied[..8].copy_from_slice(&1i64.to_be_bytes());
    log.append_as_follower(&copied, 0).unwrap();
    assert_eq!(log.log_end_offset(), 2);
    // What was refused left no trace in the state of its producer.
    assert!(log.active_producers().is_empty() && !log.log_dir().is_offline());
}

#[test]
fn an_append_to_a_full_disk_happens_or_leaves_everything_as_it_was() {
    for room in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let log = open_in(dir.path(), options(small_config()), 0);
        fill(&log);
        append(&log, &batch(transactional(9, 0), 2, 300, 10), 0, 300).unwrap();
        commit_all(&log);
        let (end, bytes) = (log.log_end_offset(), read_all(&log, 0));
        let mut left = room;
        let full = inject(move |op| {
            if !op.takes_room() {
                return None;
            }
            left -= 1;
            (left < 0).then_some(libc::ENOSPC)
        });
        // An abort, a new epoch and a new segment: every file of a partition is written.
        let marker = control::EndTransactionMarker { committed: false, coordinator_epoch: 1 };
        let marker = marker.batch(0, LeaderEpoch::NONE, 310, 9, 0).unwrap();
        let outcomes = [
            append_from(&log, &marker, 1, 310, AppendOrigin::Coordinator),
            append(&log, &batch(idempotent(5, 0), 3, 320, 200), 1, 320),
        ];
        drop(full);
        let mut expected = end;
        for (outcome, offsets) in outcomes.iter().zip([1, 3]) {
            match outcome {
                Ok(info) => {
                    assert_eq!(info.first_offset, expected, "room for {room}");
                    expected += offsets;
                }
                Err(AppendError::Dir(log_dir::DirError::Full { .. })) => {}
                Err(other) => panic!("room for {room}: {other}"),
            }
        }
        assert!(!log.log_dir().is_offline());
        assert_eq!(log.log_end_offset(), expected, "room for {room}");
        assert!(read_all(&log, 0).starts_with(&bytes));
        // With room it goes on, and nothing that was acknowledged is lost by a crash or a clean stop.
        if outcomes[0].is_err() {
            append_from(&log, &marker, 1, 310, AppendOrigin::Coordinator).unwrap();
        }
        if outcomes[1].is_err() {
            append(&log, &batch(idempotent(5, 0), 3, 320, 200), 1, 320).unwrap();
        }
        append(&log, &batch(BatchOptions::default(), 1, 400, 10), 1, 400).unwrap();
        commit_all(&log);
        let all = read_all(&log, 0);
        let aborted = log.aborted_transactions(0, i64::MAX).unwrap();
        assert_eq!(aborted.len(), 1, "room for {room}");
        let epochs = log.epoch_entries();
        let is_done = outcomes.iter().all(Result::is_ok);
        if room % 2 == 0 {
            log.flush(500).unwrap();
            log.close().unwrap();
        }
        drop(log);
        let again =
            open_in(dir.path(), LogOptions { had_clean_shutdown: room % 2 == 0, ..options(small_config()) }, 600);
        assert_eq!(read_all(&again, 0), all, "room for {room}");
        assert_eq!(again.aborted_transactions(0, i64::MAX).unwrap(), aborted, "room for {room}");
        assert_eq!(again.epoch_entries(), epochs, "room for {room}");
        if is_done {
            assert!(room > 4, "{room}");
            return;
        }
    }
}

/// Shrinking and renaming take no room on most file systems; on those that copy what they change they do.
#[test]
fn a_truncation_on_a_full_disk_is_completed_when_there_is_room() {
    for room in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let log = open_in(dir.path(), options(small_config()), 0);
        fill(&log);
        append(&log, &batch(idempotent(5, 0), 1, 300, 10), 0, 300).unwrap();
        let whole = read_all(&log, 0);
        let mut left = room;
        let full = inject(move |op| {
            let takes_room = op.takes_room() || matches!(op, Op::Truncate | Op::Rename);
            left -= i32::from(takes_room);
            (takes_room && left < 0).then_some(libc::ENOSPC)
        });
        let outcome = log.truncate_to(31, 400);
        drop(full);
        let is_done = match outcome {
            Ok(cut) => cut,
            Err(log_dir::DirError::Full { .. }) => false,
            Err(other) => panic!("room for {room}: {other}"),
        };
        assert!(!log.log_dir().is_offline(), "room for {room}");
        if !is_done && room % 2 == 0 {
            assert!(!log.truncate_to(31, 400).unwrap());
        }
        assert_eq!(append_plain(&log, 1, 500).first_offset, 31, "room for {room}");
        assert!(!log.active_producers().contains_key(&5));
        let bytes = read_all(&log, 0);
        drop(log);
        let again = open_in(dir.path(), LogOptions { had_clean_shutdown: false, ..options(small_config()) }, 600);
        assert_eq!((again.log_end_offset(), read_all(&again, 0)), (32, bytes.clone()), "room for {room}");
        let kept = batches(&bytes).filter(|b| b.as_ref().unwrap().last_offset() < 31).map(|b| b.unwrap().size()).sum();
        assert!(whole.starts_with(&bytes[..kept]));
        if is_done && room > 12 {
            return;
        }
    }
}

#[test]
fn a_log_that_begins_anew_on_a_full_disk_uses_the_room_of_what_it_removes() {
    let (dir, log) = small();
    fill(&log);
    let mut refused = false;
    let full = inject(move |op| (op == Op::Create && !std::mem::replace(&mut refused, true)).then_some(libc::ENOSPC));
    log.truncate_fully_and_start_at(500, None, 0).unwrap();
    drop(full);
    assert!(!log.log_dir().is_offline());
    let names = crate::disk::file_names(&dir.path().join("t-0")).unwrap();
    assert!(!names.iter().any(|name| name.ends_with(".deleted")), "{names:?}");
    assert_eq!(append_plain(&log, 1, 0).first_offset, 500);
}

#[test]
fn a_failing_disk_takes_the_directory_offline_wherever_it_fails() {
    for failing in [Op::Write, Op::Create, Op::Sync] {
        let (_dir, log) = small();
        fill(&log);
        let broken = inject(move |op| (op == failing).then_some(libc::EIO));
        let appended =
            (0..20).map(|n| append(&log, &batch(BatchOptions::default(), 3, n, 10), 0, n)).find(Result::is_err);
        let flushed = log.flush(100);
        drop(broken);
        assert!(appended.is_some() || flushed.is_err(), "{failing:?}");
        assert!(log.log_dir().is_offline(), "{failing:?}");
    }
}

#[test]
fn a_flush_without_room_is_a_failure_and_no_full_disk() {
    let (_dir, log) = small();
    fill(&log);
    let full = inject(|op| (op == Op::Sync).then_some(libc::ENOSPC));
    assert!(log.flush(100).is_err());
    drop(full);
    assert!(log.log_dir().is_offline(), "what the kernel dropped is not there the next time either");
}

#[test]
fn a_preallocated_segment_has_its_size_at_once_and_is_cut_when_it_is_closed() {
    let dir = tempfile::tempdir().unwrap();
    let config = LogConfig { preallocate: true, ..small_config() };
    let log = open_in(dir.path(), options(config.clone()), 0);
    let len = |base: i64| fs::metadata(dir.path().join(format!("t-0/{base:020}.log"))).unwrap().len();
    append_plain(&log, 3, 0);
    assert_eq!(len(0), 1_000);
    let bytes = read_all(&log, 0);
    log.roll(10).unwrap();
    assert_eq!((len(0), len(3)), (bytes.len() as u64, 1_000));
    append_plain(&log, 3, 10);
    let bytes = read_all(&log, 0);
    drop(log);
    let log = open_in(dir.path(), LogOptions { had_clean_shutdown: false, ..options(config.clone()) }, 0);
    assert_eq!(read_all(&log, 0), bytes, "after a crash");
    append_plain(&log, 3, 20);
    log.flush(30).unwrap();
    log.close().unwrap();
    let bytes = read_all(&log, 0);
    drop(log);
    assert_eq!(read_all(&open_in(dir.path(), options(config), 0), 0), bytes, "after a clean stop");
}

#[test]
fn each_batch_of_a_leaders_bytes_is_indexed_by_itself() {
    let (_dir, leader) = small();
    let copy = tempfile::tempdir().unwrap();
    let follower = open_in(copy.path(), options(small_config()), 0);
    for n in 0..8 {
        append_plain(&leader, 3, n * 10);
    }
    let bytes = read_all(&leader, 0);
    follower.append_as_follower(&bytes, 100).unwrap();
    let index = |log: &UnifiedLog| {
        log.flush(100).unwrap();
        let name = |suffix: &str| log.dir().join(format!("00000000000000000000.{suffix}"));
        (fs::read(name("index")).unwrap(), fs::read(name("timeindex")).unwrap())
    };
    let (theirs, ours) = (index(&leader), index(&follower));
    assert!(theirs.0.len() >= 5 * 8);
    assert_eq!(theirs, ours);
}
