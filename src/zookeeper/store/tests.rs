//! Damage and restarts of the files of the development ZooKeeper.

use super::*;
use crate::zookeeper::model::Effects;
use crate::zookeeper::wire::{Create, CreateAnswer, Request, Write};
use bytes::Bytes;

const TIMING: Timing = Timing { tick: 100, min_timeout: 200, max_timeout: 2000 };
const NOW: Now = Now { wall: 1_000, ticks: 0 };

struct Zoo {
    store: Store,
    model: Model,
    session: SessionId,
}

fn open(dir: &Path) -> Result<(Store, Model), StoreError> {
    Store::open(dir, true, TIMING, NOW)
}

fn start(dir: &Path) -> Zoo {
    let (mut store, mut model) = open(dir).expect("open");
    let mut effects = Effects::default();
    let (session, _) = model.open_session(NOW, "127.0.0.1", 1000, [9; 16], &mut effects);
    store.append(&effects.log[0]);
    store.commit().expect("commit");
    Zoo { store, model, session }
}

impl Zoo {
    /// Makes a node and puts it on disk.
    fn create(&mut self, path: &str, flags: i32) {
        let data = Some(Bytes::copy_from_slice(path.as_bytes()));
        let create = Create { path: path.to_owned(), data, acl: vec![Acl::open()], flags, answer: CreateAnswer::Path };
        self.request(Request::Write(Write::Create(create)));
    }

    fn request(&mut self, request: Request) {
        let mut effects = Effects::default();
        let reply = self.model.request(NOW, self.session, request, &mut effects);
        assert!(reply.result.is_ok(), "{reply:?}");
        effects.log.iter().for_each(|transaction| self.store.append(transaction));
        self.store.commit().expect("commit");
    }

    fn snapshot(&mut self) {
        let bytes = write_snapshot(&self.model);
        self.store.install_snapshot(self.model.last_zxid(), &bytes).expect("snapshot");
    }
}

/// A history with one of each kind of entry.
fn history(zoo: &mut Zoo) {
    zoo.create("/a", 0);
    zoo.create("/a/seq-", 2);
    zoo.create("/eph", 1);
    zoo.request(Request::Write(Write::SetData { path: "/a".to_owned(), data: None, version: 0 }));
    zoo.request(Request::SetAcl { path: "/a".to_owned(), acl: vec![Acl::new(31, "ip", "127.0.0.1")], version: -1 });
    zoo.create("/b", 0);
    zoo.request(Request::Write(Write::Delete { path: "/b".to_owned(), version: -1 }));
    zoo.request(Request::Multi(vec![Write::Check { path: "/nothing".to_owned(), version: 1 }]));
}

/// What must be the same before and after a restart.
fn assert_same(before: &Model, after: &Model) {
    assert_eq!(after.last_zxid(), before.last_zxid());
    assert_eq!(after.tree(), before.tree());
    assert_eq!(after.sessions().collect::<Vec<_>>(), before.sessions().collect::<Vec<_>>());
}

fn newest(dir: &Path, prefix: &str) -> PathBuf {
    let (_, path) = files(&dir.join("zurau-1"), prefix).expect("list").pop().expect("a file");
    path
}

#[test]
fn a_restart_keeps_everything() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut zoo = start(dir.path());
    history(&mut zoo);
    let Zoo { store, model, session } = zoo;
    drop(store);
    let (store, mut again) = open(dir.path()).expect("open");
    assert_same(&model, &again);
    drop(store);
    // And the session is there to be attached.
    assert_eq!(again.attach_session(NOW, "127.0.0.1", session, 1000, &[9; 16]), Some(1000));
}

#[test]
fn a_snapshot_and_the_log_after_it_keep_everything() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut zoo = start(dir.path());
    history(&mut zoo);
    zoo.snapshot();
    zoo.create("/after", 0);
    let Zoo { store, model, .. } = zoo;
    drop(store);
    assert_same(&model, &open(dir.path()).expect("open").1);
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_one_before() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut zoo = start(dir.path());
    for n in 0..3 {
        zoo.create(&format!("/{n}"), 0);
        zoo.snapshot();
    }
    zoo.create("/last", 0);
    let Zoo { store, model, .. } = zoo;
    drop(store);
    assert_eq!(files(&dir.path().join("zurau-1"), "snapshot.").expect("list").len(), 2);
    let path = newest(dir.path(), "snapshot.");
    let mut bytes = fs::read(&path).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).expect("write");
    assert_same(&model, &open(dir.path()).expect("open").1);
}

#[test]
fn a_log_cut_anywhere_keeps_its_whole_entries() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut zoo = start(dir.path());
    let mut ends = vec![(LOG_MAGIC.len(), 0)];
    for n in 0..4 {
        ends.push((LOG_MAGIC.len() + zoo.store.bytes, zoo.model.last_zxid()));
        zoo.create(&format!("/{n}"), 0);
    }
    drop(zoo);
    let path = newest(dir.path(), "log.");
    let whole = fs::read(&path).expect("read");
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).expect("write");
        let (mut store, model) = open(dir.path()).expect("a torn log opens");
        let (_, last) = ends.iter().rev().find(|(end, _)| *end <= length).copied().unwrap_or_default();
        if length < ends[ends.len() - 1].0 + 8 {
            assert_eq!(model.last_zxid(), last, "cut at {length}");
        }
        // What is written after the cut is found again.
        let mut effects = Effects::default();
        let mut model = model;
        let (session, _) = model.open_session(NOW, "127.0.0.1", 1000, [1; 16], &mut effects);
        store.append(&effects.log[0]);
        store.commit().expect("commit");
        drop(store);
        let (_store, again) = open(dir.path()).expect("open");
        assert!(again.sessions().any(|(id, ..)| id == session));
    }
}

#[test]
fn damage_that_is_no_torn_tail_is_refused() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut zoo = start(dir.path());
    zoo.create("/a", 0);
    zoo.snapshot();
    zoo.create("/b", 0);
    drop(zoo);
    let logs = files(&dir.path().join("zurau-1"), "log.").expect("list");
    assert_eq!(logs.len(), 2);
    let older = &logs[0].1;
    let length = fs::metadata(older).expect("metadata").len();
    OpenOptions::new().write(true).open(older).and_then(|f| f.set_len(length - 1)).expect("cut");
    // The snapshot holds all of this log, which is not looked at.
    open(dir.path()).expect("open");
    fs::remove_file(newest(dir.path(), "snapshot.")).expect("remove");
    assert!(matches!(open(dir.path()), Err(StoreError::DamagedEntry { .. })));
}

#[test]
fn a_flipped_bit_before_the_last_entry_is_refused_with_its_place() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut zoo = start(dir.path());
    let mut begins = vec![LOG_MAGIC.len()];
    for n in 0..4 {
        begins.push(LOG_MAGIC.len() + zoo.store.bytes);
        zoo.create(&format!("/{n}"), 0);
    }
    drop(zoo);
    let path = newest(dir.path(), "log.");
    let whole = fs::read(&path).expect("read");
    let last = begins[begins.len() - 1];
    for byte in LOG_MAGIC.len()..last {
        let mut bytes = whole.clone();
        bytes[byte] ^= 1 << (byte % 8);
        fs::write(&path, &bytes).expect("write");
        let begin = begins.iter().rev().find(|begin| **begin <= byte).expect("an entry");
        match open(dir.path()).err() {
            Some(StoreError::DamagedEntry { path: named, position, .. }) => {
                assert_eq!((&named, position), (&path, *begin), "byte {byte}");
            }
            other => panic!("byte {byte}: {other:?}"),
        }
        assert_eq!(fs::read(&path).expect("read"), bytes, "the file is left as it is");
    }
    // A whole entry at the very end whose checksum is wrong was acknowledged, too.
    let mut bytes = whole.clone();
    bytes[last + 20] ^= 1;
    fs::write(&path, &bytes).expect("write");
    assert!(matches!(open(dir.path()), Err(StoreError::DamagedEntry { position, .. }) if position == last));
    // Room that was never filled is a torn tail.
    fs::write(&path, [&whole[..], &[0; 100]].concat()).expect("write");
    open(dir.path()).expect("a torn log opens");
    assert_eq!(fs::read(&path).expect("read"), whole);
}

#[test]
fn a_directory_serves_one_process() {
    let dir = tempfile::tempdir().expect("tempdir");
    let _first = open(dir.path()).expect("open");
    assert!(matches!(open(dir.path()), Err(StoreError::InUse { .. })));
}

#[test]
fn snapshots_are_equal_bytes_for_equal_states() {
    let dir = tempfile::tempdir().expect("tempdir");
    let mut zoo = start(dir.path());
    history(&mut zoo);
    let bytes = write_snapshot(&zoo.model);
    let again = read_snapshot(&bytes, TIMING, NOW).expect("read");
    assert_eq!(write_snapshot(&again), bytes);
}
