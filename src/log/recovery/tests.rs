//! Damages directories in every way that one file can be damaged, and says what must be left.

use crate::common::LeaderEpoch;
use crate::common::ids::Offset;
use crate::log::epoch_cache::EpochEntry;
use crate::log::testing::*;
use crate::log::{LoadError, LogOptions, UnifiedLog};
use crate::record::validate::AppendOrigin;
use crate::record::{BatchOptions, batches, control};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

type Files = BTreeMap<String, Vec<u8>>;

const NOW: i64 = 1_000;

fn write_files(dir: &Path, files: &Files) {
    drop(fs::remove_dir_all(dir));
    fs::create_dir_all(dir).unwrap();
    for (name, bytes) in files {
        fs::write(dir.join(name), bytes).unwrap();
    }
}

fn after_crash() -> LogOptions {
    LogOptions { had_clean_shutdown: false, ..options(small_config()) }
}

/// Several segments of plain, idempotent and transactional batches over three epochs, as a crash leaves them.
fn crashed_log() -> Files {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), options(small_config()), 0);
    let producer = |id, sequence, transactional| BatchOptions {
        producer_id: id,
        producer_epoch: 0,
        base_sequence: sequence,
        transactional,
        ..BatchOptions::default()
    };
    for n in 0..12 {
        let at = i64::from(n) * 10;
        append(&log, &batch(BatchOptions::default(), 2, at, 5), n / 5, at).unwrap();
        append(&log, &batch(producer(7, n * 2, false), 2, at + 3, 5), n / 5, at).unwrap();
        append(&log, &batch(producer(8, n, true), 1, at + 5, 5), n / 5, at).unwrap();
        if n % 3 == 2 {
            let marker = control::EndTransactionMarker { committed: n % 2 == 0, coordinator_epoch: 1 };
            let marker: Bytes = marker.batch(0, LeaderEpoch::NONE, at, 8, 0).unwrap();
            append_from(&log, &marker, n / 5, at, AppendOrigin::Coordinator).unwrap();
        }
        commit_all(&log);
    }
    assert!(log.segment_count() >= 4);
    files_of(&dir.path().join("t-0"))
}

/// The bytes of all batches, one by one.
fn batches_of(log: &UnifiedLog) -> Vec<Vec<u8>> {
    batches(&read_all(log, log.log_start_offset())).map(|b| b.unwrap().bytes().to_vec()).collect()
}

/// What a crash recovery makes of these files.
fn recover(files: &Files) -> Result<(Arc<UnifiedLog>, Files, tempfile::TempDir), LoadError> {
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("t-0"), files);
    let log = try_open_in(dir.path(), after_crash(), NOW)?;
    let found = files_of(&dir.path().join("t-0"));
    Ok((log, found, dir))
}

/// The files and epochs of a log that has only its first `count` batches, rebuilt from nothing but the log files.
fn rebuilt(files: &Files, count: usize) -> (Files, Vec<EpochEntry>) {
    let mut logs: Files =
        files.iter().filter(|(name, _)| name.ends_with(".log")).map(|(n, b)| (n.clone(), b.clone())).collect();
    let mut left = count;
    let mut is_over = false;
    logs.retain(|_, bytes| {
        if is_over {
            return false;
        }
        let sizes: Vec<usize> = batches(bytes).map(|b| b.unwrap().size()).collect();
        let keep = sizes.len().min(left);
        left -= keep;
        is_over = keep < sizes.len();
        bytes.truncate(sizes[..keep].iter().sum());
        true
    });
    let (log, files, _dir) = recover(&logs).unwrap();
    (files, log.epoch_entries())
}

/// Names of segment files come with their base offset; the batches in front of that segment.
fn batches_before(files: &Files, log_name: &str) -> usize {
    let earlier = files.iter().filter(|(name, _)| name.ends_with(".log") && name.as_str() < log_name);
    earlier.map(|(_, bytes)| batches(bytes).count()).sum()
}

/// How many batches must survive when byte `at` of a log file is the first that is not as it was.
fn valid_before(files: &Files, name: &str, at: usize) -> usize {
    let mut end = 0;
    let whole = batches(&files[name]).take_while(|b| {
        end += b.as_ref().unwrap().size();
        end <= at
    });
    batches_before(files, name) + whole.count()
}

/// A reference log, with what is left of it when it has only its first batches.
struct Reference {
    files: Files,
    batches: Vec<Vec<u8>>,
    rebuilt: Vec<(Files, Vec<EpochEntry>)>,
}

impl Reference {
    fn new() -> Self {
        let files = crashed_log();
        let batches = batches_of(&recover(&files).unwrap().0);
        let rebuilt = (0..=batches.len()).map(|count| rebuilt(&files, count)).collect();
        Self { files, batches, rebuilt }
    }
}

fn expect_recovered(damaged: &Files, expected_batches: &[Vec<u8>], reference: &Reference, what: &str) {
    let (log, found, _dir) = recover(damaged).unwrap_or_else(|e| panic!("{what}: {e}"));
    assert_eq!(batches_of(&log), expected_batches, "{what}");
    let (expected, epochs) = &reference.rebuilt[expected_batches.len()];
    assert_eq!(log.epoch_entries(), *epochs, "{what}");
    for suffix in [".log", ".index", ".timeindex", ".txnindex"] {
        let only = |files: &Files| -> Files {
            let chosen = files.iter().filter(|(n, b)| n.ends_with(suffix) && !b.is_empty());
            chosen.map(|(n, b)| (n.clone(), b.clone())).collect()
        };
        assert_eq!(only(&found), only(expected), "{what}: files {suffix}");
    }
    // Older snapshots may be missing where they were damaged; those that are there are right.
    let end = format!("{:020}.snapshot", log.log_end_offset());
    assert!(log.log_end_offset() == 0 || found.contains_key(&end), "{what}: no {end}");
    for (name, bytes) in found.iter().filter(|(name, _)| name.ends_with(".snapshot")) {
        if let Some(right) = expected.get(name) {
            assert_eq!(bytes, right, "{what}: {name}");
        }
    }
}

#[test]
fn recovery_of_an_undamaged_log_loses_nothing_and_repeats_itself() {
    let reference = Reference::new();
    assert_eq!(reference.batches.len(), 40);
    expect_recovered(&reference.files, &reference.batches, &reference, "undamaged");
    let (_, found, _dir) = recover(&reference.files).unwrap();
    let (again, found_again, _dir) = recover(&found).unwrap();
    assert_eq!((batches_of(&again), found_again), (reference.batches, found));
}

#[test]
fn a_cut_log_file_ends_the_log_at_its_last_whole_batch() {
    let reference = Reference::new();
    let (files, all) = (&reference.files, &reference.batches);
    for name in files.keys().filter(|name| name.ends_with(".log")) {
        let len = files[name].len();
        for keep in (0..len).step_by(17).chain([len - 1]) {
            let mut damaged = files.clone();
            damaged.insert(name.clone(), files[name][..keep].to_vec());
            // A cut between two batches is not to be seen in the file. The gap to the next segment is none of ours.
            let valid = valid_before(files, name, keep);
            let is_clean_cut = valid_before(files, name, keep + 1) == valid && {
                let mut end = 0;
                batches(&files[name]).any(|b| {
                    end += b.unwrap().size();
                    end == keep
                }) || keep == 0
            };
            if is_clean_cut && files.keys().any(|n| n.ends_with(".log") && n > name) {
                continue;
            }
            expect_recovered(&damaged, &all[..valid], &reference, &format!("{name} cut at {keep}"));
        }
    }
}

#[test]
fn a_flipped_byte_in_a_log_file_ends_the_log_before_its_batch() {
    let reference = Reference::new();
    let (files, all) = (&reference.files, &reference.batches);
    for name in files.keys().filter(|name| name.ends_with(".log")) {
        let starts: Vec<usize> = batches(&files[name])
            .scan(0, |at, b| {
                let start = *at;
                *at += b.unwrap().size();
                Some(start)
            })
            .collect();
        for at in (0..files[name].len()).step_by(7) {
            let start = starts[starts.partition_point(|s| *s <= at) - 1];
            // Neither offset nor leader epoch is under the checksum.
            if matches!(at - start, 0..8 | 12..16) {
                continue;
            }
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 0x41;
            let valid = valid_before(files, name, at);
            expect_recovered(&damaged, &all[..valid], &reference, &format!("{name} flipped at {at}"));
        }
    }
}

#[test]
fn a_flipped_byte_in_an_offset_never_leaves_offsets_that_go_back() {
    let reference = Reference::new();
    let (files, all) = (&reference.files, &reference.batches);
    for name in files.keys().filter(|name| name.ends_with(".log")) {
        let mut start = 0;
        let sizes: Vec<usize> = batches(&files[name]).map(|b| b.unwrap().size()).collect();
        for (n, size) in sizes.iter().enumerate() {
            for at in start..start + 8 {
                let mut damaged = files.clone();
                damaged.get_mut(name).unwrap()[at] ^= 0x01;
                let (log, _files, _dir) = recover(&damaged).unwrap_or_else(|e| panic!("{name} at {at}: {e}"));
                let left = batches_of(&log);
                let before = batches_before(files, name) + n;
                assert_eq!(left[..before], all[..before], "{name} at {at}");
                let is_last_of_segment = n + 1 == sizes.len();
                assert!(left.len() == before || is_last_of_segment, "{name} at {at}: {} of {before}", left.len());
                let mut next = 0;
                for bytes in &left {
                    let batch = batches(bytes).next().unwrap().unwrap();
                    assert!(batch.base_offset() >= next);
                    next = batch.next_offset();
                }
            }
            start += size;
        }
    }
}

#[test]
fn damage_to_any_other_file_loses_no_record_and_is_repaired() {
    let reference = Reference::new();
    let (files, all) = (&reference.files, &reference.batches);
    for name in files.keys().filter(|name| !name.ends_with(".log") && *name != "partition.metadata") {
        let len = files[name].len();
        for keep in (0..len).step_by(11) {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap().truncate(keep);
            let (log, _files, _dir) = recover(&damaged).unwrap_or_else(|e| panic!("{name} cut at {keep}: {e}"));
            assert_eq!(batches_of(&log), *all, "{name} cut at {keep}");
        }
        for at in (0..len).step_by(5) {
            let mut damaged = files.clone();
            damaged.get_mut(name).unwrap()[at] ^= 0x41;
            if name.ends_with("index") {
                expect_recovered(&damaged, all, &reference, &format!("{name} flipped at {at}"));
            }
            let (log, _files, _dir) = recover(&damaged).unwrap_or_else(|e| panic!("{name} flipped at {at}: {e}"));
            assert_eq!(batches_of(&log), *all, "{name} flipped at {at}");
            assert_eq!(log.active_producers()[&7].last_sequence(), 23, "{name} flipped at {at}");
        }
        let mut damaged = files.clone();
        damaged.remove(name);
        let (log, _files, _dir) = recover(&damaged).unwrap_or_else(|e| panic!("{name} gone: {e}"));
        assert_eq!(batches_of(&log), *all, "{name} gone");
    }
}

#[test]
fn a_preallocated_index_of_a_killed_apache_broker_is_rebuilt() {
    let reference = Reference::new();
    let (files, all) = (&reference.files, &reference.batches);
    let mut damaged = files.clone();
    for (_, bytes) in damaged.iter_mut().filter(|(name, _)| name.ends_with("index")) {
        bytes.resize(480, 0);
    }
    expect_recovered(&damaged, all, &reference, "preallocated");
}

#[test]
fn all_batches_that_a_producer_may_write_again_are_known_after_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), options(small_config()), 0);
    for sequence in 0..6 {
        if sequence == 4 {
            log.roll(0).unwrap();
        }
        let idempotent =
            BatchOptions { producer_id: 5, producer_epoch: 0, base_sequence: sequence, ..BatchOptions::default() };
        append(&log, &batch(idempotent, 1, 0, 10), 0, 0).unwrap();
    }
    drop(log);
    let recovered = open_in(dir.path(), after_crash(), 0);
    let known = recovered.active_producers();
    assert_eq!(known[&5].batches().iter().map(|b| b.last_sequence).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

#[test]
fn only_segments_from_the_recovery_point_on_are_read() {
    let mut files = crashed_log();
    let names: Vec<String> = files.keys().filter(|n| n.ends_with(".log")).cloned().collect();
    let (second, third) = (&names[1], &names[2]);
    // Damage in a segment that is known to be on the disk is found by whoever reads it, not by loading.
    *files.get_mut(second).unwrap().last_mut().unwrap() ^= 1;
    let base: Offset = third[..20].parse().unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("t-0"), &files);
    let log = try_open_in(dir.path(), LogOptions { recovery_point: base + 1, ..after_crash() }, NOW).unwrap();
    assert_eq!(log.segment_count(), names.len());
    assert_eq!(log.recovery_point(), base + 1);
    let log = try_open_in(dir.path(), LogOptions { recovery_point: base - 1, ..after_crash() }, NOW).unwrap();
    assert_eq!(log.segment_count(), 2);
}

#[test]
fn damage_at_the_end_of_a_log_that_was_stopped_cleanly_is_left_to_readers() {
    let files = crashed_log();
    let (whole, mut clean, _dir) = recover(&files).unwrap();
    let whole_end = whole.log_end_offset();
    let last = clean.keys().rfind(|n| n.ends_with(".log")).unwrap().clone();
    let at = clean[&last].len() - batches(&clean[&last]).last().unwrap().unwrap().size();
    // The magic of the last batch.
    clean.get_mut(&last).unwrap()[at + 16] = 9;
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("t-0"), &clean);
    let log = open_in(dir.path(), LogOptions { had_clean_shutdown: true, ..after_crash() }, NOW);
    assert_eq!(log.log_end_offset(), whole_end);
    assert_eq!(files_of(&dir.path().join("t-0"))[&last], clean[&last]);
}

#[test]
fn interrupted_deletions_and_swaps_are_finished() {
    let mut files = crashed_log();
    let all = batches_of(&recover(&files).unwrap().0);
    let names: Vec<String> = files.keys().filter(|n| n.ends_with(".log")).cloned().collect();
    let bytes_of = |files: &Files, name: &str| files[name].clone();
    // The second segment was compacted to itself: the replacement is complete, the old one still there.
    let swap = bytes_of(&files, &names[1]);
    files.insert(format!("{}.swap", names[1]), swap);
    files.insert("00000000000000009999.log.deleted".to_owned(), vec![1, 2, 3]);
    files.insert("00000000000000009998.log.cleaned".to_owned(), vec![1, 2, 3]);
    files.insert("00000000000000009999.log.swap".to_owned(), vec![1, 2, 3]);
    files.insert("00000000000000009997.index".to_owned(), vec![0; 8]);
    let (log, found, _dir) = recover(&files).unwrap();
    assert_eq!(batches_of(&log), all);
    assert!(found.keys().all(|n| !n.contains("999") && !n.ends_with(".swap")), "{:?}", found.keys());
}

#[test]
fn a_log_that_ends_below_its_log_start_begins_anew_there() {
    let dir = tempfile::tempdir().unwrap();
    write_files(&dir.path().join("t-0"), &crashed_log());
    let log = try_open_in(dir.path(), LogOptions { log_start: 5_000, ..after_crash() }, NOW).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.segment_count()), (5_000, 5_000, 1));
    assert_eq!(log.epoch_entries(), []);
    assert_eq!(append_plain(&log, 1, NOW).first_offset, 5_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the bytes are: loading ends, with a log or a reason, and what it gives can be read to its end.
    #[test]
    fn no_directory_makes_loading_panic(
        file in 0usize..40, at in any::<prop::sample::Index>(), garbage in prop::collection::vec(any::<u8>(), 1..200),
        clean in any::<bool>(),
    ) {
        let mut files = crashed_log();
        let name = files.keys().nth(file % files.len()).unwrap().clone();
        let bytes = files.get_mut(&name).unwrap();
        let at = at.index(bytes.len() + 1);
        bytes.splice(at..(at + garbage.len()).min(bytes.len()), garbage);
        let dir = tempfile::tempdir().unwrap();
        write_files(&dir.path().join("t-0"), &files);
        if let Ok(log) = try_open_in(dir.path(), LogOptions { had_clean_shutdown: clean, ..after_crash() }, NOW) {
            for offset in log.log_start_offset()..log.log_end_offset().min(100) {
                drop(log.read(offset, 100, crate::log::FetchIsolation::TxnCommitted, true));
                drop(log.fetch_offset(crate::log::OffsetQuery::At(offset)));
            }
        }
    }
}
