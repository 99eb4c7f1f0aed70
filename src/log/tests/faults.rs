//! Holds the log to one rule: only an error of the device fails a directory. What a file says is its partition's matter, and
//! so is a file that went because its log or its segment did.

use crate::common::{LeaderEpoch, Uuid};
use crate::config::topic::LogConfig;
use crate::disk::fault::Op;
use crate::disk::fault::testing::inject;
use crate::log::log_dir::DirError;
use crate::log::testing::*;
use crate::log::*;
use crate::record::validate::AppendOrigin;
use crate::record::{BatchOptions, HEADER_LEN, batches, control};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

type Files = BTreeMap<String, Vec<u8>>;

const NOW: i64 = 1_000_000;

/// Every question that reads a segment is asked.
fn curious() -> LogOptions {
    let config = LogConfig {
        compact: true,
        delete: true,
        retention_ms: 1_000,
        min_compaction_lag_ms: 1,
        // More than the rounds take, or each would begin a segment.
        max_compaction_lag_ms: 100,
        ..small_config()
    };
    LogOptions { topic_id: Some(Uuid::parse("AAAAAAAAAAAAAAAAAAAAKg").unwrap()), ..options(config) }
}

fn add_rounds(log: &UnifiedLog, rounds: std::ops::Range<i32>) {
    for n in rounds {
        let at = i64::from(n) * 10;
        let producer = |id, sequence, transactional| BatchOptions {
            producer_id: id,
            producer_epoch: 0,
            base_sequence: sequence,
            transactional,
            ..BatchOptions::default()
        };
        append(log, &batch(BatchOptions::default(), 2, at, 5), n / 3, at).unwrap();
        append(log, &batch(producer(7, n * 2, false), 2, at + 3, 5), n / 3, at).unwrap();
        append(log, &batch(producer(8, n, true), 1, at + 5, 5), n / 3, at).unwrap();
        let marker = control::EndTransactionMarker { committed: n % 2 == 0, coordinator_epoch: 1 };
        let marker = marker.batch(0, LeaderEpoch::NONE, at, 8, 0).unwrap();
        append_from(log, &marker, n / 3, at, AppendOrigin::Coordinator).unwrap();
    }
    commit_all(log);
}

/// Segments of plain, idempotent, committed and aborted batches, as a clean stop leaves them.
fn stopped() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), curious(), 0);
    add_rounds(&log, 0..4);
    log.roll(40).unwrap();
    add_rounds(&log, 4..5);
    assert!(log.segment_count() >= 3);
    log.flush(0).unwrap();
    log.close().unwrap();
    files_of(&dir.path().join("t-0"))
}

fn write_files(dir: &Path, files: &Files) {
    fs::create_dir_all(dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

/// Base offset and position of the batches of a file.
fn places(bytes: &[u8]) -> Vec<(i64, usize)> {
    let mut at = 0;
    let place = |b: crate::record::Batch<'_>| {
        at += b.size();
        (b.base_offset(), at - b.size())
    };
    batches(bytes).map(Result::unwrap).map(place).collect()
}

fn base_of(name: &str) -> i64 {
    name[..20].parse().unwrap()
}

/// Bits of every byte but those of records, of which there are some; in the first and last batch of a segment more.
fn bits(files: &Files) -> Vec<(String, usize, u8)> {
    let mut all = Vec::new();
    for (name, bytes) in files {
        let starts: Vec<usize> =
            if name.ends_with(".log") { places(bytes).iter().map(|p| p.1).collect() } else { vec![] };
        for at in 0..bytes.len() {
            let batch = starts.partition_point(|start| *start <= at).checked_sub(1);
            let within = batch.map(|batch| at - starts[batch]);
            let is_edge = batch == Some(0) || batch == starts.len().checked_sub(1);
            let chosen: &[u8] = match within {
                // Length and magic lead to whatever follows.
                Some(8..12 | 16) if is_edge => &[0, 1, 7],
                Some(0..HEADER_LEN) => &[(at % 8) as u8, (at % 7) as u8],
                Some(_) if at % 16 > 0 => &[],
                _ => &[(at % 8) as u8],
            };
            all.extend(chosen.iter().map(|bit| (name.clone(), at, *bit)));
        }
    }
    all
}

/// Whatever a broker does with a log. Nothing of it may fail the directory.
fn use_it(log: &UnifiedLog, also_slow: bool) {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    // A flipped offset, which no checksum covers, may be the end.
    for offset in (start..=end.min(start + 60)).step_by(4) {
        for isolation in [FetchIsolation::LogEnd, FetchIsolation::TxnCommitted] {
            if let Ok(data) = log.read(offset, 300, isolation, true)
                && let (Some(doubtful), Some(records)) = (data.doubtful, data.records)
            {
                drop(doubtful.check(&records));
            }
        }
        drop(log.fetch_offset(OffsetQuery::At(offset)));
    }
    drop(log.fetch_offset(OffsetQuery::MaxTimestamp));
    drop(log.legacy_offsets_before(5, 10, NOW));
    drop(log.cleaning_candidate(NOW));
    append(log, &batch(BatchOptions::default(), 1, NOW, 5), 2, NOW).expect("appends go on");
    commit_all(log);
    if also_slow {
        drop(log.flush(NOW));
        drop(log.delete_old_segments(NOW));
        drop(log.truncate_to(end - 1, NOW));
        drop(log.roll(NOW));
        drop(log.truncate_to((start + end) / 2, NOW));
        drop(log.close());
    }
}

#[test]
fn a_flipped_bit_after_a_clean_stop_fails_no_directory_and_cuts_nothing() {
    let files = stopped();
    let last = files.keys().rfind(|name| name.ends_with(".log")).unwrap();
    let all: Vec<(&String, i64, usize)> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".log"))
        .flat_map(|(name, bytes)| places(bytes).into_iter().map(move |(offset, at)| (name, offset, at)))
        .collect();
    let whole_end = {
        let dir = tempfile::tempdir().unwrap();
        write_files(&dir.path().join("t-0"), &files);
        open_in(dir.path(), curious(), NOW).log_end_offset()
    };
    for (n, (name, at, bit)) in bits(&files).into_iter().enumerate() {
        let what = format!("bit {bit} of byte {at} of {name}");
        let mut damaged = files.clone();
        damaged.get_mut(&name).unwrap()[at] ^= 1 << bit;
        let dir = tempfile::tempdir().unwrap();
        write_files(&dir.path().join("t-0"), &damaged);
        let opened = try_open_in(dir.path(), curious(), NOW);
        for (log_name, bytes) in damaged.iter().filter(|(name, _)| name.ends_with(".log")) {
            assert_eq!(&fs::read(dir.path().join("t-0").join(log_name)).unwrap(), bytes, "{what}: {log_name}");
        }
        let hit = all.iter().rfind(|(log_name, _, start)| **log_name == name && *start <= at);
        let is_length = hit.is_some_and(|(_, _, start)| (8..12).contains(&(at - start)));
        let log = match opened {
            Ok(log) => log,
            // Apache does not start with such lengths, and gives the directory up for the topic id.
            Err(LoadError::Damaged(_)) if name == "partition.metadata" || (name == *last && is_length) => continue,
            Err(e) => panic!("{what}: {e}"),
        };
        // All that lies before the damage in its segment, and all other segments, can be read.
        for (log_name, offset, start) in &all {
            let is_behind = **log_name == name && *start + HEADER_LEN > at.min(*start + 8);
            let by_wrong_index = name.ends_with(".index") && base_of(&name) == base_of(log_name);
            let is_behind = is_behind && hit.is_some_and(|(_, _, hit)| start >= hit);
            if is_behind || by_wrong_index || *offset >= log.log_end_offset() {
                continue;
            }
            let data = log.read(*offset, 1, FetchIsolation::LogEnd, true).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(data.records.map(|slice| slice.position), Some(*start as u64), "{what}: offset {offset}");
        }
        if hit.is_none() {
            assert_eq!(log.log_end_offset(), whole_end, "{what}");
        }
        use_it(&log, n % 20 == 0);
        assert!(!log.log_dir().is_offline(), "{what}");
    }
}

#[test]
fn nothing_is_appended_behind_a_batch_that_cannot_be_read() {
    let mut files = stopped();
    let last = files.keys().rfind(|name| name.ends_with(".log")).unwrap().clone();
    assert!(places(&files[&last]).len() > 3, "the index knows a later batch");
    // The sign of the first length.
    files.get_mut(&last).unwrap()[8] ^= 0x80;
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("t-0"), &files);
    let log = open_in(dir.path(), curious(), NOW);
    let (end, segments) = (log.log_end_offset(), log.segment_count());
    assert_eq!(append_plain(&log, 2, NOW).first_offset, end);
    assert_eq!(log.segment_count(), segments + 1);
    log.flush(NOW).unwrap();
    let recovery_point = log.recovery_point();
    drop(log);
    let log = open_in(dir.path(), LogOptions { had_clean_shutdown: false, recovery_point, ..curious() }, NOW);
    assert_eq!(log.log_end_offset(), end + 2, "a crash costs nothing of it");
    assert_eq!(fs::read(dir.path().join("t-0").join(&last)).unwrap(), files[&last]);
}

#[test]
fn appends_after_a_torn_tail_go_to_a_new_segment_and_can_be_read() {
    let mut files = stopped();
    let last = files.keys().rfind(|name| name.ends_with(".log")).unwrap().clone();
    let (offset, _) = *places(&files[&last]).last().unwrap();
    let torn = files[&last].len() - 3;
    files.get_mut(&last).unwrap().truncate(torn);
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("t-0"), &files);
    let log = open_in(dir.path(), curious(), NOW);
    assert_eq!(append_plain(&log, 2, NOW).first_offset, offset);
    let data = log.read(offset, 1_000, FetchIsolation::LogEnd, true).unwrap();
    assert_eq!(data.records.map(|slice| slice.position), Some(0));
    assert_eq!(fs::read(dir.path().join("t-0").join(&last)).unwrap(), files[&last], "nothing is cut");
}

#[test]
fn a_log_start_above_the_end_deletes_nothing_after_a_clean_stop() {
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("t-0"), &stopped());
    let log = open_in(dir.path(), LogOptions { log_start: 5_000, ..curious() }, NOW);
    assert_eq!((log.log_start_offset(), log.segment_count() >= 3), (0, true));
}

/// Runs `deed` on another thread before the `nth` wait for the disk of this one.
fn at_sync(nth: usize, deed: impl Fn() + Send + Sync + 'static) -> crate::disk::fault::testing::Faults {
    let mut left = nth;
    inject(move |op| {
        if op == Op::Sync {
            if left == 0 {
                std::thread::scope(|scope| scope.spawn(&deed).join().unwrap());
            }
            left = left.wrapping_sub(1);
        }
        None
    })
}

#[test]
fn a_log_that_is_deleted_while_it_is_flushed_takes_no_directory_along() {
    for nth in 0..16 {
        let dir = tempfile::tempdir().unwrap();
        let log = open_in(dir.path(), curious(), 0);
        add_rounds(&log, 0..6);
        // A deletion waits for these: only segments and their directory are left.
        log.write_small_files().unwrap();
        let (deleted, gone) = (Arc::clone(&log), dir.path().join("t-0.0-delete"));
        let faults = at_sync(nth, move || {
            deleted.rename_for_deletion("t-0.0-delete").unwrap();
            fs::remove_dir_all(&gone).unwrap();
        });
        let flushed = log.flush(0);
        drop(faults);
        assert!(matches!(flushed, Ok(()) | Err(DirError::Gone(_))), "{nth}: {flushed:?}");
        assert!(!log.log_dir().is_offline(), "{nth}");
    }
}

#[test]
fn segments_that_go_while_they_are_flushed_are_no_failure() {
    for nth in 0..16 {
        let dir = tempfile::tempdir().unwrap();
        let mut options = curious();
        Arc::make_mut(&mut options.config).file_delete_delay_ms = 0;
        let log = open_in(dir.path(), options, 0);
        add_rounds(&log, 0..6);
        let end = log.log_end_offset();
        log.write_small_files().unwrap();
        let retained = Arc::clone(&log);
        let faults = at_sync(nth, move || {
            assert!(retained.delete_old_segments(NOW).unwrap() > 0);
            retained.log_dir().scheduler().run_due(i64::MAX);
        });
        log.flush(0).unwrap();
        drop(faults);
        assert!(!log.log_dir().is_offline(), "{nth}");
        assert_eq!((log.recovery_point(), log.log_end_offset()), (end, end));
    }
}

#[test]
fn whoever_still_has_a_deleted_log_finds_it_gone() {
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("t-0"), &stopped());
    let log = open_in(dir.path(), curious(), NOW);
    log.rename_for_deletion("t-0.0-delete").unwrap();
    fs::remove_dir_all(dir.path().join("t-0.0-delete")).unwrap();
    assert!(log.cleaning.gate.try_begin().is_none(), "it is not cleaned any more");
    assert!(matches!(log.cleaning_candidate(NOW), Err(DirError::Gone(_))));
    assert!(matches!(log.read(0, 1, FetchIsolation::LogEnd, true), Err(ReadError::Dir(DirError::Gone(_)))));
    assert!(matches!(log.legacy_offsets_before(5, 1, NOW), Err(ReadError::Dir(DirError::Gone(_)))));
    assert!(log.flush(NOW).is_ok());
    assert!(!log.log_dir().is_offline());
}

#[test]
fn a_directory_is_listed_once_however_many_segments_are_recovered() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), curious(), 0);
    for n in 0..40 {
        append_plain(&log, 1, n);
        log.roll(n).unwrap();
    }
    drop(log);
    let listed = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = Arc::clone(&listed);
    let faults = inject(move |op| {
        if op == Op::List {
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        None
    });
    let log = open_in(dir.path(), LogOptions { had_clean_shutdown: false, ..curious() }, NOW);
    drop(faults);
    assert_eq!((log.segment_count(), log.log_end_offset()), (41, 40));
    assert_eq!(listed.load(std::sync::atomic::Ordering::Relaxed), 1);
}
