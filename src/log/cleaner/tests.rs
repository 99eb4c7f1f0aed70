//! Holds compaction to a model of what readers may rely on, and to its protocol when it is killed in the middle.

use super::*;
use crate::common::LeaderEpoch;
use crate::common::ids::{Offset, TopicPartition};
use crate::config::topic::LogConfig;
use crate::disk::fault::testing::{crash_after, inject};
use crate::log::index::AbortedTxn;
use crate::log::testing::*;
use crate::log::{FetchIsolation, LogOptions, UnifiedLog};
use crate::record::validate::AppendOrigin;
use crate::record::{BatchBuilder, BatchOptions, Compression, batches, control, records};
use proptest::prelude::*;
use run::{CleanError, Cleaning, Stats};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

fn config() -> LogConfig {
    LogConfig {
        compact: true,
        delete: false,
        delete_retention_ms: 1_000,
        min_cleanable_dirty_ratio: 0.0,
        ..small_config()
    }
}

fn share(keys: usize) -> Share {
    Share { map_bytes: keys * offset_map::BYTES_PER_ENTRY, load_factor: 1.0, buffer_bytes: 100 }
}

/// Cleans what can be cleaned, with a table of so many keys.
fn clean_with(log: &UnifiedLog, keys: usize, now: Millis) -> Result<(Offset, Stats), CleanError> {
    let candidate = log.cleaning_candidate(now).unwrap();
    if !candidate.is_due(log.config().min_cleanable_dirty_ratio) {
        return Ok((candidate.first_dirty, Stats::default()));
    }
    let turn = log.cleaning.gate.try_begin().unwrap();
    let (stop, throttle) = (Stop::default(), Throttle::new(f64::MAX));
    let done = Cleaning::new(log, &turn, &stop, &throttle, share(keys), &candidate, now)?.run()?;
    log.set_cleaner_checkpoint(Some(done.0));
    Ok(done)
}

fn clean(log: &UnifiedLog, now: Millis) -> Offset {
    clean_with(log, 1_000, now).unwrap().0
}

#[derive(Clone, Debug, PartialEq)]
struct Record {
    offset: Offset,
    timestamp: i64,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// Of the batch.
    epoch: i32,
    producer_id: i64,
    transactional: bool,
}

/// All records in a log's bytes, markers left out.
fn records_in(bytes: &[u8]) -> Vec<Record> {
    let mut out = Vec::new();
    for batch in batches(bytes) {
        let batch = batch.unwrap();
        batch.check_crc().unwrap();
        if batch.is_control() {
            continue;
        }
        let mut reader = records(&batch).unwrap();
        while let Some(record) = reader.next_record().unwrap() {
            out.push(Record {
                offset: record.offset,
                timestamp: record.timestamp,
                key: record.key.unwrap().to_vec(),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.iter().map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec))).collect(),
                epoch: batch.partition_leader_epoch().0,
                producer_id: batch.producer_id(),
                transactional: batch.is_transactional(),
            });
        }
    }
    out
}

fn survivors(log: &UnifiedLog) -> Vec<Record> {
    records_in(&read_all(log, log.log_start_offset()))
}

fn keys_of(log: &UnifiedLog) -> Vec<(Offset, String)> {
    survivors(log).into_iter().map(|r| (r.offset, String::from_utf8(r.key).unwrap())).collect()
}

fn put(log: &UnifiedLog, options: BatchOptions, pairs: &[(&str, Option<&str>)], at: Millis) {
    let mut builder = BatchBuilder::new(options).unwrap();
    for (key, value) in pairs {
        builder
            .append(at, Some(key.as_bytes()), value.map(str::as_bytes), &[(b"h".as_slice(), Some(b"v".as_slice()))])
            .unwrap();
    }
    append(log, &builder.finish().unwrap(), epoch_of(log), at).unwrap();
    commit_all(log);
}

fn epoch_of(log: &UnifiedLog) -> i32 {
    log.latest_epoch().map_or(0, |epoch| epoch.0)
}

fn plain(log: &UnifiedLog, pairs: &[(&str, Option<&str>)], at: Millis) {
    put(log, BatchOptions::default(), pairs, at);
}

fn end_transaction(log: &UnifiedLog, producer_id: i64, committed: bool, now: Millis) {
    let marker = control::EndTransactionMarker { committed, coordinator_epoch: 1 };
    let bytes = marker.batch(0, LeaderEpoch::NONE, now, producer_id, 0).unwrap();
    append_from(log, &bytes, epoch_of(log), now, AppendOrigin::Coordinator).unwrap();
    commit_all(log);
}

fn new_log(config: LogConfig) -> (tempfile::TempDir, Arc<UnifiedLog>) {
    let dir = tempfile::tempdir().unwrap();
    let log = open_in(dir.path(), options(config), 0);
    (dir, log)
}

fn producer(id: i64, sequence: i32, transactional: bool) -> BatchOptions {
    BatchOptions {
        producer_id: id,
        producer_epoch: 0,
        base_sequence: sequence,
        transactional,
        ..BatchOptions::default()
    }
}

#[test]
fn the_last_record_of_every_key_stays_at_its_offset() {
    let (_dir, log) = new_log(config());
    plain(&log, &[("a", Some("1")), ("b", Some("1")), ("a", Some("2"))], 10);
    plain(&log, &[("c", Some("1")), ("b", Some("2"))], 20);
    log.roll(20).unwrap();
    plain(&log, &[("a", Some("active"))], 30);
    assert_eq!(clean(&log, 100), 5);
    let left: Vec<_> = keys_of(&log);
    let expected = [(2, "a"), (3, "c"), (4, "b"), (5, "a")];
    assert_eq!(left, expected.map(|(o, k)| (o, k.to_owned())));
    assert_eq!(log.cleaner_checkpoint(), Some(5));
    // A read of an offset that is gone begins with what follows.
    let data = log.read(0, 1 << 20, FetchIsolation::LogEnd, true).unwrap();
    assert!(!data.is_empty());
}

#[test]
fn a_tombstone_stays_until_its_horizon_has_passed() {
    let (dir, log) = new_log(config());
    plain(&log, &[("a", Some("1")), ("a", None), ("b", Some("1"))], 10);
    log.roll(10).unwrap();
    plain(&log, &[("x", Some("1"))], 20);
    clean(&log, 100);
    assert_eq!(keys_of(&log).len(), 3);
    let horizon = || {
        let bytes = read_all(&log, 0);
        batches(&bytes).next().unwrap().unwrap().delete_horizon()
    };
    assert_eq!(horizon(), Some(1_100));
    // Something new makes it dirty again.
    let again = |now| {
        log.roll(now).unwrap();
        plain(&log, &[("x", Some("2"))], now);
        clean(&log, now);
    };
    again(1_099);
    assert_eq!((keys_of(&log)[0].clone(), horizon()), ((1, "a".to_owned()), Some(1_100)));
    again(1_100);
    assert_eq!(keys_of(&log)[0], (2, "b".to_owned()));
    drop(dir);
}

#[test]
fn aborted_records_go_and_markers_stay_until_their_horizon() {
    let (_dir, log) = new_log(config());
    put(&log, producer(7, 0, true), &[("a", Some("kept"))], 10);
    end_transaction(&log, 7, true, 11);
    put(&log, producer(7, 1, true), &[("a", Some("aborted")), ("b", Some("aborted"))], 12);
    end_transaction(&log, 7, false, 13);
    plain(&log, &[("c", Some("1"))], 14);
    log.roll(14).unwrap();
    // The producer's last batch is another one now.
    put(&log, producer(7, 3, true), &[("x", Some("1"))], 20);
    end_transaction(&log, 7, true, 21);
    clean(&log, 100);
    assert_eq!(keys_of(&log), [(0, "a".to_owned()), (5, "c".to_owned()), (6, "x".to_owned())]);
    let controls = || {
        let bytes = read_all(&log, 0);
        let found = batches(&bytes).map(|b| b.unwrap()).filter(|b| b.is_control() && b.base_offset() < 6);
        found.map(|b| (b.base_offset(), b.delete_horizon())).collect::<Vec<_>>()
    };
    // The abort had batches in this walk, so it is only marked by the next one.
    assert_eq!(controls(), [(1, None), (4, None)]);
    assert_eq!(log.aborted_transactions(0, 100).unwrap().len(), 1);
    let again = |now| {
        log.roll(now).unwrap();
        plain(&log, &[("x", Some("2"))], now);
        clean(&log, now);
    };
    again(200);
    assert_eq!(controls(), [(1, None), (4, Some(1_200))]);
    assert_eq!(log.aborted_transactions(0, 100).unwrap().len(), 0);
    again(1_200);
    assert_eq!(controls(), [(1, None)]);
}

#[test]
fn a_producers_last_batch_keeps_its_header() {
    let (dir, log) = new_log(config());
    put(&log, producer(7, 0, false), &[("a", Some("1")), ("b", Some("1"))], 10);
    put(&log, producer(7, 2, false), &[("a", Some("2"))], 11);
    plain(&log, &[("a", Some("3")), ("b", Some("3"))], 12);
    log.roll(12).unwrap();
    plain(&log, &[("x", Some("1"))], 20);
    clean(&log, 100);
    let bytes = read_all(&log, 0);
    let kept: Vec<_> =
        batches(&bytes).map(|b| b.unwrap()).map(|b| (b.base_offset(), b.records_count(), b.last_sequence())).collect();
    assert_eq!(kept, [(2, Some(0), 2), (3, Some(2), -1), (5, Some(1), -1)]);
    drop(log);
    let reloaded = reload(dir.path());
    assert_eq!(reloaded.active_producers()[&7].last_sequence(), 2);
}

/// Recovers a directory with nothing but its logs.
fn reload(dir: &Path) -> Arc<UnifiedLog> {
    for entry in fs::read_dir(dir.join("t-0")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "log") {
            fs::remove_file(path).unwrap();
        }
    }
    open_in(dir, LogOptions { had_clean_shutdown: false, ..options(config()) }, 1_000)
}

#[test]
fn segments_that_became_small_become_one() {
    let (dir, log) = new_log(config());
    for n in 0..40 {
        plain(&log, &[("a", Some("some value")), ("b", Some(&n.to_string()))], n);
    }
    log.roll(40).unwrap();
    plain(&log, &[("x", Some("1"))], 50);
    let before = log.segment_count();
    clean(&log, 100);
    assert!(before > 4 && log.segment_count() == before, "they were large before: {before} {}", log.segment_count());
    clean_log_again(&log, 200);
    assert_eq!(log.segment_count(), 2);
    drop(dir);
}

fn clean_log_again(log: &UnifiedLog, now: Millis) {
    log.roll(now).unwrap();
    plain(log, &[("x", Some("2"))], now);
    clean(log, now);
}

#[test]
fn what_does_not_fit_the_table_is_cleaned_the_next_time() {
    let (_dir, log) = new_log(config());
    for n in 0..10 {
        plain(&log, &[(&format!("k{n}"), Some("1")), (&format!("k{n}"), Some("2"))], n);
    }
    log.roll(10).unwrap();
    plain(&log, &[("x", Some("1"))], 20);
    let (end, _) = clean_with(&log, 4, 100).unwrap();
    assert_eq!(end, 7, "the table was full when the fourth key came again");
    assert_eq!(keys_of(&log).len(), 3 + 2 + 12 + 1);
    while log.cleaner_checkpoint().is_some_and(|end| end < 20) {
        clean_with(&log, 4, 100).unwrap();
    }
    assert_eq!(keys_of(&log).len(), 10 + 1);
}

#[test]
fn a_record_of_a_flipped_bit_is_not_rewritten() {
    let (dir, log) = new_log(config());
    plain(&log, &[("a", Some("1")), ("a", Some("2"))], 10);
    log.roll(10).unwrap();
    plain(&log, &[("x", Some("1"))], 20);
    let path = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(clean_with(&log, 10, 100), Err(CleanError::Uncleanable(_))));
    assert_eq!(fs::read(&path).unwrap(), bytes);
    assert!(!files_of(&dir.path().join("t-0")).keys().any(|name| name.contains("cleaned")));
}

#[test]
fn a_log_that_cannot_be_cleaned_is_left_alone_until_it_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, worker) = worker_on(dir.path());
    let log = manager.get_or_create(&tp(), true, None, &Arc::new(config()), 0).unwrap();
    let fill = || {
        plain(&log, &[("a", Some("1")), ("a", Some("2"))], 10);
        log.roll(10).unwrap();
        plain(&log, &[("x", Some("1"))], 20);
    };
    fill();
    let path = dir.path().join("t-0/00000000000000000000.log");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(!worker.clean_dirtiest());
    assert!(log.cleaning.is_uncleanable());
    assert!(!worker.clean_dirtiest(), "it is not tried again");
    // A follower that fetches everything again.
    log.truncate_fully_and_start_at(0, None, 30).unwrap();
    assert!(!log.cleaning.is_uncleanable());
    fill();
    assert!(worker.clean_dirtiest());
    assert_eq!(keys_of(&log), [(1, "a".to_owned()), (2, "x".to_owned())]);
}

#[test]
fn a_pause_ends_a_cleaning_without_a_trace() {
    let (dir, log) = new_log(config());
    plain(&log, &[("a", Some("1")), ("a", Some("2"))], 10);
    log.roll(10).unwrap();
    plain(&log, &[("x", Some("1"))], 20);
    let files = files_of(&dir.path().join("t-0"));
    let candidate = log.cleaning_candidate(100).unwrap();
    let stop = Stop::default();
    stop.set();
    let turn = log.cleaning.gate.try_begin().unwrap();
    let throttle = Throttle::new(f64::MAX);
    let ended = Cleaning::new(&log, &turn, &stop, &throttle, share(10), &candidate, 100).and_then(Cleaning::run);
    assert!(matches!(ended, Err(CleanError::Aborted)));
    assert_eq!(files_of(&dir.path().join("t-0")), files);
}

#[test]
fn truncation_makes_what_is_written_again_dirty() {
    let (_dir, log) = new_log(config());
    for n in 0..30 {
        plain(&log, &[("a", Some("1"))], n);
    }
    log.roll(30).unwrap();
    plain(&log, &[("x", Some("1"))], 40);
    assert_eq!(clean(&log, 100), 30);
    log.truncate_to(10, 100).unwrap();
    assert!(log.cleaner_checkpoint().unwrap() <= 10);
}

#[test]
fn a_full_disk_leaves_the_log_as_it_is_and_the_next_cleaning_works() {
    let (dir, log) = new_log(config());
    plain(&log, &[("a", Some("1")), ("b", None), ("a", Some("2"))], 10);
    log.roll(10).unwrap();
    plain(&log, &[("x", Some("1"))], 20);
    let before = survivors(&log);
    let mut room = 0;
    loop {
        let mut left = room;
        let full = inject(move |op| {
            if !op.takes_room() {
                return None;
            }
            left -= 1;
            (left < 0).then_some(libc::ENOSPC)
        });
        let done = clean_with(&log, 10, 100);
        drop(full);
        match done {
            Err(CleanError::Dir(e)) => assert!(e.to_string().contains("full"), "{e}"),
            Err(other) => panic!("{other}"),
            Ok(_) => break,
        }
        assert!(!log.log_dir().is_offline());
        assert_eq!(survivors(&log), before, "room for {room}");
        assert!(!files_of(&dir.path().join("t-0")).keys().any(|name| name.contains("cleaned")));
        room += 1;
    }
    assert!(room > 3, "{room}");
    assert_eq!(survivors(&log).len(), before.len() - 1);
}

/// A log with everything in it, the same every time.
fn varied(dir: &Path) -> Arc<UnifiedLog> {
    let log = open_in(dir, options(config()), 0);
    for n in 0..12 {
        let key = |k: i64| format!("k{}", (n * 3 + k) % 5);
        let options = BatchOptions { compression: codec(n as u8 % 5), ..BatchOptions::default() };
        put(&log, options, &[(&key(0), Some("v")), (&key(1), None), (&key(2), Some("w"))], n);
        if n % 4 == 3 {
            log.assign_epoch_start(LeaderEpoch(n as i32), log.log_end_offset());
        }
        put(&log, producer(8, n as i32, true), &[(&key(3), Some("t"))], n);
        if n % 3 == 2 {
            end_transaction(&log, 8, n % 2 == 0, n);
        }
    }
    log.roll(20).unwrap();
    plain(&log, &[("x", Some("1"))], 20);
    log
}

#[test]
fn killed_at_any_step_the_log_is_the_old_one_or_the_cleaned_one() {
    let reference = tempfile::tempdir().unwrap();
    let log = varied(reference.path());
    let old = survivors(&log);
    clean(&log, 100);
    let new = survivors(&log);
    assert!(new.len() < old.len());
    // Segment groups are swapped one after another: after a kill some may be new and some old.
    let (mut steps, mut seen_old, mut seen_new) = (0, false, false);
    loop {
        let dir = tempfile::tempdir().unwrap();
        let log = varied(dir.path());
        let (start, end, epochs) = (log.log_start_offset(), log.log_end_offset(), log.epoch_entries());
        let producers = log.active_producers();
        log.flush(50).unwrap();
        let recovery_point = log.recovery_point();
        let crash = crash_after(steps);
        let is_done = clean_with(&log, 1_000, 100).is_ok();
        drop(log);
        drop(crash);
        let reopened =
            open_in(dir.path(), LogOptions { had_clean_shutdown: false, recovery_point, ..options(config()) }, 200);
        let left = survivors(&reopened);
        assert!(left.iter().all(|r| old.contains(r)), "step {steps}");
        assert!(new.iter().all(|r| left.contains(r)), "step {steps}: a newest value is gone");
        let offsets: Vec<_> = left.iter().map(|r| r.offset).collect();
        assert!(offsets.is_sorted_by(|a, b| a < b), "step {steps}");
        assert_eq!((reopened.log_start_offset(), reopened.log_end_offset()), (start, end), "step {steps}");
        assert_eq!(reopened.epoch_entries(), epochs, "step {steps}");
        let known = |producers: BTreeMap<i64, crate::log::producer_state::ProducerEntry>| {
            producers.into_iter().map(|(id, p)| (id, p.producer_epoch, p.last_sequence())).collect::<Vec<_>>()
        };
        assert_eq!(known(reopened.active_producers()), known(producers), "step {steps}");
        for name in files_of(&dir.path().join("t-0")).keys() {
            assert!(!name.ends_with(".swap") && !name.ends_with(".cleaned"), "step {steps}: {name}");
        }
        seen_old |= left == old;
        seen_new |= left == new;
        // What is left can be cleaned.
        clean(&reopened, 300);
        assert!(new.iter().filter(|r| r.value.is_some()).all(|r| survivors(&reopened).contains(r)), "step {steps}");
        if is_done {
            break;
        }
        steps += 1;
    }
    assert!(seen_old && seen_new && steps > 20, "{steps}");
}

/// A loader that is killed has not begun to serve: the next one finds what the first one left.
#[test]
fn killed_at_any_step_of_loading_what_a_killed_cleaning_left_nothing_is_lost() {
    let reference = tempfile::tempdir().unwrap();
    let log = varied(reference.path());
    let old = survivors(&log);
    clean(&log, 100);
    let new = survivors(&log);
    drop(log);
    let mut kills = 0;
    for steps in (0..).step_by(5) {
        let mut is_done = false;
        for load_steps in (0..).step_by(3) {
            let dir = tempfile::tempdir().unwrap();
            let log = varied(dir.path());
            log.flush(50).unwrap();
            let recovery_point = log.recovery_point();
            let end = log.log_end_offset();
            let crash = crash_after(steps);
            is_done = clean_with(&log, 1_000, 100).is_ok();
            drop(log);
            drop(crash);
            let options = || LogOptions { had_clean_shutdown: false, recovery_point, ..options(config()) };
            let crash = crash_after(load_steps);
            let is_loaded = try_open_in(dir.path(), options(), 200).is_ok();
            drop(crash);
            let left = survivors(&open_in(dir.path(), options(), 300));
            assert!(left.iter().all(|r| old.contains(r)), "steps {steps}, then {load_steps}");
            assert!(new.iter().all(|r| left.contains(r)), "steps {steps}, then {load_steps}: a newest value is gone");
            assert_eq!(left.last().map(|r| r.offset + 1), Some(end));
            if is_loaded {
                break;
            }
            kills += 1;
        }
        if is_done {
            break;
        }
    }
    assert!(kills > 20, "{kills}");
}

fn codec(number: u8) -> Compression {
    match number {
        0 => Compression::None,
        1 => Compression::Gzip(6),
        2 => Compression::Snappy,
        3 => Compression::Lz4(9),
        _ => Compression::Zstd(3),
    }
}

#[derive(Clone, Debug)]
enum Work {
    Put { keys: Vec<(u8, bool)>, codec: u8, producer: Option<u8>, epoch_step: bool },
    Transaction { keys: Vec<(u8, bool)>, producer: u8, codec: u8 },
    End { producer: u8, commit: bool },
    Roll,
    Wait(u16),
    Clean { keys: u8 },
    Reopen { clean: bool },
}

fn work() -> impl Strategy<Value = Work> {
    let keys = || proptest::collection::vec((0u8..6, proptest::bool::weighted(0.2)), 1..5);
    prop_oneof![
        6 => (keys(), 0u8..5, proptest::option::of(0u8..2), proptest::bool::weighted(0.1))
            .prop_map(|(keys, codec, producer, epoch_step)| Work::Put { keys, codec, producer, epoch_step }),
        4 => (keys(), 0u8..3, 0u8..5).prop_map(|(keys, producer, codec)| Work::Transaction { keys, producer, codec }),
        3 => (0u8..3, any::<bool>()).prop_map(|(producer, commit)| Work::End { producer, commit }),
        2 => Just(Work::Roll),
        2 => (0u16..1_500).prop_map(Work::Wait),
        2 => (2u8..20).prop_map(|keys| Work::Clean { keys }),
        1 => any::<bool>().prop_map(|clean| Work::Reopen { clean }),
    ]
}

/// A log and what was ever written to it.
struct Host {
    dir: tempfile::TempDir,
    log: Arc<UnifiedLog>,
    written: Vec<Record>,
    /// Open transactions: producer to the records of it.
    open: BTreeMap<u8, Vec<Offset>>,
    aborted: BTreeSet<Offset>,
    sequences: BTreeMap<i64, i32>,
    epoch: i32,
    now: Millis,
}

impl Host {
    fn new() -> Self {
        let (dir, log) = new_log(config());
        Self {
            dir,
            log,
            written: Vec::new(),
            open: BTreeMap::new(),
            aborted: BTreeSet::new(),
            sequences: BTreeMap::new(),
            epoch: 0,
            now: 10,
        }
    }

    fn put(&mut self, keys: &[(u8, bool)], codec: u8, producer_id: Option<i64>, transactional: bool) -> Vec<Offset> {
        let compression = self::codec(codec);
        let options = match producer_id {
            Some(id) => {
                let sequence = self.sequences.entry(id).or_insert(0);
                let options = producer(id, *sequence, transactional);
                *sequence += keys.len() as i32;
                options
            }
            None => BatchOptions::default(),
        };
        let mut builder = BatchBuilder::new(BatchOptions { compression, ..options }).unwrap();
        for (n, (key, is_tombstone)) in keys.iter().enumerate() {
            let value = (!is_tombstone).then(|| format!("{}-{n}", self.written.len()));
            let headers = [(b"n".as_slice(), None)];
            builder
                .append(
                    self.now + n as i64,
                    Some(&[b'k', *key]),
                    value.as_deref().map(str::as_bytes),
                    &headers[..n % 2],
                )
                .unwrap();
        }
        let bytes = builder.finish().unwrap();
        let info = append(&self.log, &bytes, self.epoch, self.now).unwrap();
        commit_all(&self.log);
        let mut stored = records_in(&bytes);
        for record in &mut stored {
            record.offset += info.first_offset;
            record.epoch = self.epoch;
        }
        let offsets = stored.iter().map(|r| r.offset).collect();
        self.written.extend(stored);
        offsets
    }

    fn run(&mut self, work: &Work) {
        match work {
            Work::Put { keys, codec, producer, epoch_step } => {
                self.epoch += i32::from(*epoch_step);
                self.put(keys, *codec, producer.map(|p| 100 + i64::from(p)), false);
            }
            Work::Transaction { keys, producer, codec } => {
                let offsets = self.put(keys, *codec, Some(i64::from(*producer)), true);
                self.open.entry(*producer).or_default().extend(offsets);
            }
            Work::End { producer, commit } => {
                let Some(offsets) = self.open.remove(producer) else { return };
                let marker = control::EndTransactionMarker { committed: *commit, coordinator_epoch: 1 };
                let bytes = marker.batch(0, LeaderEpoch::NONE, self.now, i64::from(*producer), 0).unwrap();
                append_from(&self.log, &bytes, self.epoch, self.now, AppendOrigin::Coordinator).unwrap();
                commit_all(&self.log);
                if !commit {
                    self.aborted.extend(offsets);
                }
            }
            Work::Roll => self.log.roll(self.now).unwrap(),
            Work::Wait(ms) => self.now += i64::from(*ms),
            Work::Clean { keys } => {
                let lso = self.log.last_stable_offset();
                let (end, _) = clean_with(&self.log, usize::from(*keys), self.now).unwrap();
                assert!(end <= lso.max(self.log.cleaner_checkpoint().unwrap_or(0)));
                self.check();
            }
            Work::Reopen { clean } => self.reopen(*clean),
        }
        self.now += 1;
    }

    fn reopen(&mut self, clean: bool) {
        let before =
            (survivors(&self.log), self.log.log_end_offset(), self.log.aborted_transactions(0, i64::MAX).unwrap());
        let producers: Vec<_> =
            self.log.active_producers().iter().map(|(id, p)| (*id, p.producer_epoch, p.last_sequence())).collect();
        let checkpoint = self.log.cleaner_checkpoint();
        if clean {
            self.log.flush(self.now).unwrap();
            self.log.close().unwrap();
        }
        let from_nothing = LogOptions { had_clean_shutdown: clean, ..options(config()) };
        if !clean {
            for name in files_of(&self.dir.path().join("t-0")).keys().filter(|name| name.ends_with(".snapshot")) {
                fs::remove_file(self.dir.path().join("t-0").join(name)).unwrap();
            }
        }
        self.log = open_in(self.dir.path(), from_nothing, self.now);
        self.log.set_cleaner_checkpoint(checkpoint);
        commit_all(&self.log);
        let after =
            (survivors(&self.log), self.log.log_end_offset(), self.log.aborted_transactions(0, i64::MAX).unwrap());
        assert_eq!(after.0, before.0);
        assert_eq!(after.1, before.1);
        // A marker whose records are gone tells recovery of no transaction, and no one needs its entry; one whose first
        // records are gone begins later.
        let known = |txn: &AbortedTxn| {
            let same = |t: &&AbortedTxn| (t.producer_id, t.last_offset) == (txn.producer_id, txn.last_offset);
            before.2.iter().find(same).is_some_and(|t| t.first_offset <= txn.first_offset)
        };
        assert!(after.2.iter().all(known), "aborted transactions {:?} were {:?}", after.2, before.2);
        assert!(!clean || after.2 == before.2, "aborted transactions");
        let reloaded: Vec<_> =
            self.log.active_producers().iter().map(|(id, p)| (*id, p.producer_epoch, p.last_sequence())).collect();
        assert_eq!(reloaded, producers, "producers, clean {clean}");
    }

    /// What every reader may rely on.
    fn check(&self) {
        let left = survivors(&self.log);
        let clean_end = self.log.cleaner_checkpoint().unwrap_or(0);
        for record in &left {
            assert!(self.written.contains(record), "{record:?} was never written");
        }
        let open: BTreeSet<Offset> = self.open.values().flatten().copied().collect();
        let counts = |r: &&Record| !self.aborted.contains(&r.offset) && !open.contains(&r.offset);
        let mut newest: BTreeMap<&[u8], &Record> = BTreeMap::new();
        for record in self.written.iter().filter(counts) {
            newest.insert(&record.key, record);
        }
        for record in newest.values().filter(|r| r.value.is_some()) {
            assert!(left.contains(record), "the newest value of a key is gone: {record:?}");
        }
        // Whatever was ever deleted does not come back: the last of a key's records that are left is its newest.
        for (key, newest) in &newest {
            let last = left.iter().filter(counts).rfind(|r| r.key == *key);
            assert!(last.is_none_or(|last| last.offset == newest.offset), "{last:?} came back, {newest:?} is newer");
        }
        let mut clean_keys = BTreeSet::new();
        for record in left.iter().filter(|r| r.offset < clean_end) {
            assert!(!self.aborted.contains(&record.offset), "an aborted record is left: {record:?}");
            assert!(clean_keys.insert(&record.key), "two records of a key below {clean_end}: {record:?}");
        }
        for record in self.written.iter().filter(|r| r.offset >= clean_end && !self.aborted.contains(&r.offset)) {
            assert!(left.contains(record), "not even looked at, and gone: {record:?}");
        }
        // A reader of committed data who skips what the transaction index tells sees nothing aborted.
        let aborted = self.log.aborted_transactions(0, i64::MAX).unwrap();
        for record in left.iter().filter(|r| self.aborted.contains(&r.offset)) {
            let told = aborted.iter().any(|t| {
                t.producer_id == record.producer_id && (t.first_offset..=t.last_offset).contains(&record.offset)
            });
            assert!(told, "aborted, and nobody says so: {record:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]
    #[test]
    fn readers_can_rely_on_a_compacted_log(work in proptest::collection::vec(work(), 1..70)) {
        let mut host = Host::new();
        for one in &work {
            host.run(one);
        }
        host.run(&Work::Roll);
        for _ in 0..20 {
            host.run(&Work::Clean { keys: 3 });
        }
        host.run(&Work::Reopen { clean: false });
        host.check();
    }
}

/// A thread of the cleaner over a directory.
fn worker_on(dir: &Path) -> (Arc<LogManager>, Worker) {
    let (manager, _failures) = LogManager::open(crate::log::LogManagerOptions {
        log_dirs: vec![dir.to_owned()],
        recovery_threads_per_dir: 1,
        producer_config: PRODUCERS,
        default_config: Arc::new(config()),
        max_open_files: 16,
        disk_reserve_bytes: 0,
    })
    .unwrap();
    let manager = Arc::new(manager);
    manager.load_logs(&std::collections::HashMap::new(), 0).unwrap();
    let worker = Worker {
        number: 0,
        logs: Arc::clone(&manager),
        share: share(100),
        backoff: Duration::ZERO,
        throttle: Arc::new(Throttle::new(f64::MAX)),
        choice: Arc::default(),
        stop: Arc::default(),
        clock: || 100,
    };
    (manager, worker)
}

#[test]
fn the_dirtiest_log_comes_first_and_checkpoints_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let (manager, worker) = worker_on(dir.path());
    let log = |n| {
        let config = Arc::new(LogConfig { min_cleanable_dirty_ratio: 0.4, ..config() });
        manager.get_or_create(&TopicPartition::new("c", n), true, None, &config, 0).unwrap()
    };
    let (little, much) = (log(0), log(1));
    for (log, batches) in [(&little, 3), (&much, 9)] {
        for n in 0..batches {
            plain(log, &[("a", Some("1"))], n);
        }
        log.roll(10).unwrap();
        plain(log, &[("x", Some("1"))], 10);
    }
    little.set_cleaner_checkpoint(Some(2));
    assert!(worker.clean_dirtiest());
    assert_eq!((little.cleaner_checkpoint(), much.cleaner_checkpoint()), (Some(2), Some(9)));
    assert!(worker.clean_dirtiest(), "all of one segment is dirty");
    assert!(!worker.clean_dirtiest());
    manager.checkpoint_cleaned();
    let text = fs::read_to_string(dir.path().join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n2\nc 0 3\nc 1 9\n");
    manager.delete(&[TopicPartition::new("c", 0)]);
    let text = fs::read_to_string(dir.path().join("cleaner-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\nc 1 9\n");
}
