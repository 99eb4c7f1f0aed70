//! Owns the files of the development ZooKeeper: a log of transactions and snapshots of the whole state, under
//! `dataDir/zurau-1`. Counterpart: `FileTxnLog`, `FileSnap`, `FileTxnSnapLog`; the bytes are our own, in [jute](super::jute).
//!
//! ```text
//! log.ZXID        | "ZURAULG1" | entry* |       ZXID: hex of a zxid below all entries
//! entry           | length u32 | crc32c u32 of the body | body |
//! body            | zxid i64 | time ms i64 | session i64 | kind u8 | ... |
//!   kind 0        | changes vector |            change: | kind i32 | path ustring | ... |
//!     0 create    | data buffer | acl vector | owner i64 |          2 set data  | data buffer |
//!     1 delete                                                      3 set ACL   | acl vector |
//!   kind 1        | timeout ms i32 | password buffer |    a session opened
//!   kind 2                                                a session closed or expired
//! snapshot.ZXID   | "ZURAUSN1" | body | crc32c u32 of the body |    ZXID: hex of the last zxid it holds
//! body            | zxid i64 | sessions vector | nodes vector |
//!   session       | id i64 | timeout ms i32 | password buffer |
//!   node          | path ustring | data buffer | acl vector | czxid mzxid ctime mtime i64 |
//!                 | version creations aversion i32 | owner pzxid i64 |
//! ```
//! An entry is on disk before its reply leaves. The last log may end in the middle of an entry; it is cut there, for no one
//! was answered yet. Any other damage ends the start: what is behind it was acknowledged. The two newest snapshots and the logs since the older one are kept.

use super::jute::{Malformed, Reader, Writer};
use super::model::tree::{Change, Misfit, Node, Tree};
use super::model::{Action, Model, Password, SessionId, Timing, Transaction};
use super::wire::Acl;
use crate::common::Now;
use crate::util::checksum;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{info, warn};

const LOG_MAGIC: &[u8; 8] = b"ZURAULG1";
const SNAPSHOT_MAGIC: &[u8; 8] = b"ZURAUSN1";

/// Entries after which a snapshot is due. ZooKeeper's `snapCount`.
const SNAPSHOT_ENTRIES: usize = 100_000;

/// Log size after which a snapshot is due, bytes.
const SNAPSHOT_BYTES: usize = 64 << 20;

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{doing} {}: {source}", path.display())]
    Io { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{} is in use by another process", path.display())]
    InUse { path: PathBuf },
    /// Damage that is not a torn tail. Recovery would lose what clients were told.
    #[error("{}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("{}: damaged at byte {position}: {reason}", path.display())]
    DamagedEntry { path: PathBuf, position: usize, reason: String },
}

trait During<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T, StoreError>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Io { doing, path: path.to_owned(), source })
    }
}

pub struct Store {
    dir: PathBuf,
    log: File,
    log_path: PathBuf,
    /// Entries that are not written yet.
    pending: Writer,
    entries: usize,
    bytes: usize,
    /// False: leaves it to the kernel when entries reach the disk (`forceSync=no`).
    sync: bool,
    /// Locked as long as the store is open.
    _lock: File,
}

impl Store {
    /// Opens `data_dir`, makes it if it is missing, and recovers the model that its files hold.
    pub fn open(data_dir: &Path, sync: bool, timing: Timing, now: Now) -> Result<(Self, Model), StoreError> {
        let dir = data_dir.join("zurau-1");
        fs::create_dir_all(&dir).during("create", &dir)?;
        let lock_path = dir.join("lock");
        let lock = File::create(&lock_path).during("create", &lock_path)?;
        lock.try_lock().map_err(|_| StoreError::InUse { path: dir.clone() })?;

        let mut model = newest_snapshot(&dir, timing, now)?.unwrap_or_else(|| Model::new(timing, now));
        let mut replayed = Replayed::default();
        let logs = files(&dir, "log.")?;
        for (n, (_, path)) in logs.iter().enumerate() {
            match logs.get(n + 1) {
                // All that this log holds is in the snapshot.
                Some((next, _)) if *next <= model.last_zxid() => {}
                next => replay(path, next.is_none(), now, &mut model, &mut replayed)?,
            }
        }
        let log_path = match logs.last() {
            Some((_, path)) => path.clone(),
            None => dir.join(format!("log.{:016x}", model.last_zxid())),
        };
        let log = open_log(&log_path, &dir)?;
        info!(zxid = model.last_zxid(), znodes = model.tree().count(), entries = replayed.entries, "state recovered");
        let Replayed { entries, bytes } = replayed;
        Ok((Self { dir, log, log_path, pending: Writer::default(), entries, bytes, sync, _lock: lock }, model))
    }

    /// Queues an entry for the next [`Self::commit`].
    pub fn append(&mut self, transaction: &Transaction) {
        let start = self.pending.bytes.len();
        self.pending.bytes.extend_from_slice(&[0; 8]);
        write_transaction(&mut self.pending, transaction);
        let body = &self.pending.bytes[start + 8..];
        let (length, crc) = (body.len() as u32, checksum::crc32c(body));
        self.pending.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
        self.pending.bytes[start + 4..start + 8].copy_from_slice(&crc.to_be_bytes());
        self.entries += 1;
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.bytes.is_empty()
    }

    /// Puts the queued entries on disk: one write and one sync for all of them. After an error the store is of no use.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        self.log.write_all(&self.pending.bytes).during("write", &self.log_path)?;
        self.bytes += self.pending.bytes.len();
        self.pending.bytes.clear();
        if self.sync { self.log.sync_data().during("sync", &self.log_path) } else { Ok(()) }
    }

    pub fn snapshot_due(&self) -> bool {
        self.entries >= SNAPSHOT_ENTRIES || self.bytes >= SNAPSHOT_BYTES
    }

    /// Writes a snapshot of all that was committed, starts a new log, and removes what is no longer needed.
    pub fn install_snapshot(&mut self, zxid: i64, snapshot: &[u8]) -> Result<(), StoreError> {
        let path = self.dir.join(format!("snapshot.{zxid:016x}"));
        let unfinished = self.dir.join("unfinished");
        let mut file = File::create(&unfinished).during("create", &unfinished)?;
        file.write_all(snapshot).during("write", &unfinished)?;
        file.sync_all().during("sync", &unfinished)?;
        fs::rename(&unfinished, &path).during("install", &path)?;
        self.log_path = self.dir.join(format!("log.{zxid:016x}"));
        self.log = open_log(&self.log_path, &self.dir)?;
        (self.entries, self.bytes) = (0, 0);

        let snapshots = files(&self.dir, "snapshot.")?;
        if let [.., (oldest_kept, _), _newest] = &snapshots[..] {
            for (zxid, path) in snapshots.iter().chain(&files(&self.dir, "log.")?) {
                if zxid < oldest_kept {
                    fs::remove_file(path).during("remove", path)?;
                }
            }
        }
        Ok(())
    }
}

/// The bytes of a snapshot file.
pub fn write_snapshot(model: &Model) -> Vec<u8> {
    let mut w = Writer::default();
    w.bytes.extend_from_slice(SNAPSHOT_MAGIC);
    w.long(model.last_zxid());
    w.vector(model.sessions(), |w, (id, timeout, password)| {
        w.long(id);
        w.int(timeout);
        w.buffer(Some(password));
    });
    let mut nodes: Vec<_> = model.tree().nodes().collect();
    nodes.sort_unstable_by_key(|(path, _)| Arc::clone(path));
    w.vector(nodes.into_iter(), |w, (path, node)| write_node(w, path, node));
    let crc = checksum::crc32c(&w.bytes[8..]);
    w.bytes.extend_from_slice(&crc.to_be_bytes());
    w.bytes
}

fn write_node(w: &mut Writer, path: &str, node: &Node) {
    w.string(path);
    w.buffer(node.data.as_deref());
    w.vector(node.acl.iter(), |w, acl| acl.write(w));
    for long in [node.czxid, node.mzxid, node.ctime, node.mtime] {
        w.long(long);
    }
    for int in [node.version, node.creations, node.aversion] {
        w.int(int);
    }
    w.long(node.owner);
    w.long(node.pzxid);
}

fn read_node(r: &mut Reader<'_>) -> Result<(Arc<str>, Node), Malformed> {
    let path = r.string()?.into();
    let node = Node {
        data: r.buffer()?,
        acl: r.vector(Acl::read)?.into(),
        czxid: r.long()?,
        mzxid: r.long()?,
        ctime: r.long()?,
        mtime: r.long()?,
        version: r.int()?,
        creations: r.int()?,
        aversion: r.int()?,
        owner: r.long()?,
        pzxid: r.long()?,
        children: std::collections::BTreeSet::new(),
    };
    Ok((path, node))
}

fn read_session(r: &mut Reader<'_>) -> Result<(SessionId, i32, Password), Malformed> {
    Ok((r.long()?, r.int()?, read_password(r)?))
}

fn read_password(r: &mut Reader<'_>) -> Result<Password, Malformed> {
    r.slice()?.and_then(|bytes| bytes.try_into().ok()).ok_or(Malformed("password"))
}

fn read_snapshot(bytes: &[u8], timing: Timing, now: Now) -> Result<Model, String> {
    let body = bytes.strip_prefix(SNAPSHOT_MAGIC).ok_or("not a snapshot")?;
    let (body, crc) = body.split_last_chunk::<4>().ok_or("ends early")?;
    if checksum::crc32c(body).to_be_bytes() != *crc {
        return Err("checksum does not match".to_owned());
    }
    let mut r = Reader::new(body);
    let mut read = || Ok((r.long()?, r.vector(read_session)?, r.vector(read_node)?));
    let (zxid, sessions, nodes) = read().map_err(|e: Malformed| e.to_string())?;
    let tree = Tree::from_nodes(nodes).map_err(|e| e.to_string())?;
    Ok(Model::restore(timing, now, zxid, tree, sessions))
}

fn newest_snapshot(dir: &Path, timing: Timing, now: Now) -> Result<Option<Model>, StoreError> {
    let snapshots = files(dir, "snapshot.")?;
    for (_, path) in snapshots.iter().rev() {
        let bytes = fs::read(path).during("read", path)?;
        match read_snapshot(&bytes, timing, now) {
            Ok(model) => return Ok(Some(model)),
            Err(reason) => warn!(path = %path.display(), reason, "snapshot is damaged; an older one is tried"),
        }
    }
    match snapshots.last() {
        None => Ok(None),
        Some((_, path)) => {
            Err(StoreError::Damaged { path: path.clone(), reason: "no snapshot is readable".to_owned() })
        }
    }
}

#[derive(Default)]
struct Replayed {
    entries: usize,
    bytes: usize,
}

/// Applies what the model has not seen of one log. The last log may end in the middle of an entry; it is cut there.
fn replay(path: &Path, last: bool, now: Now, model: &mut Model, replayed: &mut Replayed) -> Result<(), StoreError> {
    let bytes = fs::read(path).during("read", path)?;
    let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
    let Some(mut rest) = bytes.strip_prefix(LOG_MAGIC) else {
        // A log that was being made when the process ended.
        if last && bytes.len() < LOG_MAGIC.len() {
            return cut(path, 0);
        }
        return Err(damaged("not a log".to_owned()));
    };
    let at = |rest: &[u8], reason: String| {
        let position = bytes.len() - rest.len();
        StoreError::DamagedEntry { path: path.to_owned(), position, reason }
    };
    while let Some((body, after)) = next_entry(rest) {
        let transaction = read_transaction(body).map_err(|e| at(rest, e.to_string()))?;
        let entry = std::mem::replace(&mut rest, after);
        if transaction.zxid <= model.last_zxid() {
            continue;
        }
        if transaction.zxid != model.last_zxid() + 1 {
            return Err(at(entry, format!("zxid {:#x} follows {:#x}", transaction.zxid, model.last_zxid())));
        }
        model.replay(now, &transaction).map_err(|e: Misfit| at(entry, e.to_string()))?;
        replayed.entries += 1;
        replayed.bytes += body.len() + 8;
    }
    if rest.is_empty() {
        return Ok(());
    }
    if !last || !is_torn(rest, model.last_zxid()) {
        return Err(at(rest, "not an entry".to_owned()));
    }
    warn!(path = %path.display(), bytes = rest.len(), "log ends in the middle of an entry and is cut there");
    cut(path, bytes.len() - rest.len())
}

fn next_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
    (!body.is_empty() && checksum::crc32c(body) == u32::from_be_bytes(*crc)).then_some((body, rest))
}

/// Whether `rest`, behind the entry of `last_zxid`, is the beginning of an entry that was being written when the process or
/// the machine stopped: it ends early, or has zeros where nothing arrived, and no later entry stands behind it.
fn is_torn(rest: &[u8], last_zxid: i64) -> bool {
    let ends_early = match rest.split_first_chunk::<4>() {
        Some((length, _)) => rest.len() - 4 < 4 + u32::from_be_bytes(*length) as usize,
        None => true,
    };
    let is_zero = rest.iter().all(|byte| *byte == 0);
    is_zero || (ends_early && !(1..rest.len()).any(|n| is_later_entry(&rest[n..], last_zxid)))
}

/// Whether an entry begins here whose zxid could follow. The checksum is computed only where the zxid fits.
fn is_later_entry(bytes: &[u8], last_zxid: i64) -> bool {
    let zxid = bytes.get(8..16).and_then(|z| z.try_into().ok()).map(i64::from_be_bytes);
    let fits = zxid.is_some_and(|zxid| zxid > last_zxid && zxid - last_zxid <= SNAPSHOT_BYTES as i64);
    fits && next_entry(bytes).is_some()
}

fn cut(path: &Path, length: usize) -> Result<(), StoreError> {
    let file = OpenOptions::new().write(true).open(path).during("open", path)?;
    file.set_len(length as u64).during("cut", path)?;
    file.sync_all().during("sync", path)
}

fn open_log(path: &Path, dir: &Path) -> Result<File, StoreError> {
    let mut log = OpenOptions::new().create(true).append(true).open(path).during("open", path)?;
    if log.metadata().during("look at", path)?.len() == 0 {
        log.write_all(LOG_MAGIC).during("write", path)?;
        log.sync_all().during("sync", path)?;
        File::open(dir).and_then(|dir| dir.sync_all()).during("sync", dir)?;
    }
    Ok(log)
}

/// Files whose name is `prefix` and a zxid, oldest first.
fn files(dir: &Path, prefix: &str) -> Result<Vec<(i64, PathBuf)>, StoreError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).during("list", dir)? {
        let entry = entry.during("list", dir)?;
        let name = entry.file_name();
        let zxid = name.to_str().and_then(|n| n.strip_prefix(prefix)).and_then(|n| i64::from_str_radix(n, 16).ok());
        if let Some(zxid) = zxid {
            found.push((zxid, entry.path()));
        }
    }
    found.sort_unstable();
    Ok(found)
}

fn write_transaction(w: &mut Writer, transaction: &Transaction) {
    w.long(transaction.zxid);
    w.long(transaction.time);
    w.long(transaction.session);
    match &transaction.action {
        Action::Changes(changes) => {
            w.bytes.push(0);
            w.vector(changes.iter(), write_change);
        }
        Action::OpenSession { timeout, password } => {
            w.bytes.push(1);
            w.int(*timeout);
            w.buffer(Some(password));
        }
        Action::CloseSession => w.bytes.push(2),
    }
}

fn read_transaction(body: &[u8]) -> Result<Transaction, Malformed> {
    let mut r = Reader::new(body);
    let (zxid, time, session) = (r.long()?, r.long()?, r.long()?);
    let action = match r.byte()? {
        0 => Action::Changes(r.vector(read_change)?),
        1 => Action::OpenSession { timeout: r.int()?, password: read_password(&mut r)? },
        2 => Action::CloseSession,
        _ => return Err(Malformed("unknown kind of entry")),
    };
    Ok(Transaction { zxid, time, session, action })
}

fn write_change(w: &mut Writer, change: &Change) {
    match change {
        Change::Create { path, data, acl, owner } => {
            w.int(0);
            w.string(path);
            w.buffer(data.as_deref());
            w.vector(acl.iter(), |w, acl| acl.write(w));
            w.long(*owner);
        }
        Change::Delete { path } => {
            w.int(1);
            w.string(path);
        }
        Change::SetData { path, data } => {
            w.int(2);
            w.string(path);
            w.buffer(data.as_deref());
        }
        Change::SetAcl { path, acl } => {
            w.int(3);
            w.string(path);
            w.vector(acl.iter(), |w, acl| acl.write(w));
        }
    }
}

fn read_change(r: &mut Reader<'_>) -> Result<Change, Malformed> {
    let (kind, path) = (r.int()?, Arc::from(r.string()?));
    Ok(match kind {
        0 => Change::Create { path, data: r.buffer()?, acl: r.vector(Acl::read)?.into(), owner: r.long()? },
        1 => Change::Delete { path },
        2 => Change::SetData { path, data: r.buffer()? },
        3 => Change::SetAcl { path, acl: r.vector(Acl::read)?.into() },
        _ => return Err(Malformed("unknown kind of change")),
    })
}

#[cfg(test)]
mod tests;
