//! Owns the index of aborted transactions of one segment. Kafka: `TransactionIndex`, `AbortedTxn`. An entry, big endian:
//!
//! ```text
//!  0 version i16 = 0   2 producer id i64   10 first offset i64   18 last offset i64   26 last stable offset i64
//! ```
//!
//! Entries are in the order of their ABORT markers, whose offset is `last offset`. The file is made with its first entry.

use crate::common::ids::Offset;
use crate::disk::{self, DataFile, LazyFile};
use crate::log::segment_files::{SegmentFiles, TXN_INDEX_SUFFIX};
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Entries that one read takes.
const BLOCK_ENTRIES: usize = 128;

/// A transaction whose records consumers that read committed data must skip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTxn {
    pub producer_id: i64,
    pub first_offset: Offset,
    /// Offset of the ABORT marker.
    pub last_offset: Offset,
    /// First offset of another transaction that was still open then, else the one after the marker.
    pub last_stable_offset: Offset,
}

impl AbortedTxn {
    pub const SIZE: usize = 34;

    fn encode(&self) -> [u8; Self::SIZE] {
        let mut out = [0; Self::SIZE];
        for (at, value) in
            [(2, self.producer_id), (10, self.first_offset), (18, self.last_offset), (26, self.last_stable_offset)]
        {
            out[at..at + 8].copy_from_slice(&value.to_be_bytes());
        }
        out
    }

    /// `None` for a version that is not ours. As in 3.9 only the first byte of the version counts.
    fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes[0] as i8 > 0 {
            return None;
        }
        let word = |at: usize| {
            let mut raw = [0; 8];
            raw.copy_from_slice(&bytes[at..at + 8]);
            i64::from_be_bytes(raw)
        };
        Some(Self { producer_id: word(2), first_offset: word(10), last_offset: word(18), last_stable_offset: word(26) })
    }
}

/// What a segment knows about the aborted transactions of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbortedTxnSearch {
    pub aborted: Vec<AbortedTxn>,
    /// No later segment can hold more for this range.
    pub is_complete: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum TxnIndexError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("{0}")]
    Corrupt(String),
}

/// One writer, many readers, as the other indexes.
#[derive(Debug)]
pub struct TxnIndex {
    files: Arc<SegmentFiles>,
    file: LazyFile,
    is_there: AtomicBool,
    /// Bytes of whole entries.
    len: AtomicU64,
    /// Entries behind them that there was no room for: as many as transactions were aborted since.
    unwritten: Mutex<Vec<AbortedTxn>>,
}

impl TxnIndex {
    /// Takes over what is there.
    pub(in crate::log) fn open(files: &Arc<SegmentFiles>) -> io::Result<Self> {
        let len = files.len(TXN_INDEX_SUFFIX)?;
        Ok(Self {
            files: Arc::clone(files),
            file: LazyFile::new(files.dir().files()),
            is_there: AtomicBool::new(len.is_some()),
            len: AtomicU64::new(len.map_or(0, |len| len - len % AbortedTxn::SIZE as u64)),
            unwritten: Mutex::default(),
        })
    }

    /// The file, if there is one.
    fn file(&self) -> io::Result<Option<Arc<DataFile>>> {
        if !self.is_there.load(Ordering::Acquire) {
            return Ok(None);
        }
        self.file.get(|| self.files.open(TXN_INDEX_SUFFIX)).map(Some)
    }

    pub fn append(&self, txn: &AbortedTxn) -> Result<(), TxnIndexError> {
        if let Some(last) = self.last()?
            && last.last_offset >= txn.last_offset
        {
            return Err(TxnIndexError::Corrupt(format!(
                "last offset {} of an aborted transaction is not greater than the current last offset {}",
                txn.last_offset, last.last_offset
            )));
        }
        self.unwritten.lock().push(*txn);
        match self.write() {
            // The marker is in the log already: the entry counts, and is written when there is room.
            Err(TxnIndexError::Io(e)) if disk::is_full(&e) => Ok(()),
            written => written,
        }
    }

    /// Writes entries that are only in memory.
    pub(in crate::log) fn write(&self) -> Result<(), TxnIndexError> {
        let mut unwritten = self.unwritten.lock();
        if unwritten.is_empty() {
            return Ok(());
        }
        let file = match self.file()? {
            Some(file) => file,
            None => {
                let made = self.file.get(|| self.files.open_or_create(TXN_INDEX_SUFFIX))?;
                self.is_there.store(true, Ordering::Release);
                made
            }
        };
        let bytes: Vec<u8> = unwritten.iter().flat_map(AbortedTxn::encode).collect();
        let len = self.len.load(Ordering::Acquire);
        file.write_all_at(&mut [IoSlice::new(&bytes)], len)?;
        self.len.store(len + bytes.len() as u64, Ordering::Release);
        unwritten.clear();
        Ok(())
    }

    fn last(&self) -> Result<Option<AbortedTxn>, TxnIndexError> {
        let mut last = None;
        let end = self.len.load(Ordering::Acquire);
        self.visit(end.saturating_sub(AbortedTxn::SIZE as u64), |_, txn| {
            last = Some(txn);
            true
        })?;
        Ok(last)
    }

    /// Transactions that end at or after `fetch_offset` and start before `upper_bound`.
    pub fn collect(&self, fetch_offset: Offset, upper_bound: Offset) -> Result<AbortedTxnSearch, TxnIndexError> {
        let mut search = AbortedTxnSearch::default();
        self.visit(0, |_, txn| {
            if txn.last_offset >= fetch_offset && txn.first_offset < upper_bound {
                search.aborted.push(txn);
            }
            search.is_complete = txn.last_stable_offset >= upper_bound;
            !search.is_complete
        })?;
        Ok(search)
    }

    /// Every transaction must end inside the segment, whose offsets these are, and after the one before it. Kafka only
    /// looks at the start.
    pub fn sanity_check(&self, offsets: Range<Offset>) -> Result<(), TxnIndexError> {
        let mut possible = offsets.clone();
        let mut stray = None;
        self.visit(0, |_, txn| {
            if !possible.contains(&txn.last_offset) {
                stray = Some(txn.last_offset);
            }
            possible.start = txn.last_offset.saturating_add(1);
            stray.is_none()
        })?;
        match stray {
            Some(offset) => Err(TxnIndexError::Corrupt(format!(
                "last offset {offset} of an aborted transaction cannot be here, in a segment of {offsets:?}"
            ))),
            None => Ok(()),
        }
    }

    /// Keeps entries whose last offset is below `offset`.
    pub fn truncate_to(&self, offset: Offset) -> Result<(), TxnIndexError> {
        self.unwritten.lock().retain(|txn| txn.last_offset < offset);
        let mut keep = self.len.load(Ordering::Acquire);
        self.visit(0, |position, txn| {
            if txn.last_offset >= offset {
                keep = position;
            }
            txn.last_offset < offset
        })?;
        Ok(self.cut(keep)?)
    }

    pub fn reset(&self) -> io::Result<()> {
        self.unwritten.lock().clear();
        self.cut(0)
    }

    fn cut(&self, len: u64) -> io::Result<()> {
        let file = self.file()?;
        self.len.store(len, Ordering::Release);
        match file {
            Some(file) if file.len()? != len => file.truncate(len),
            _ => Ok(()),
        }
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file()?.map_or(Ok(()), |file| file.sync())
    }

    /// Hands out entries from a position on until `go_on` is false.
    fn visit(&self, position: u64, mut go_on: impl FnMut(u64, AbortedTxn) -> bool) -> Result<(), TxnIndexError> {
        // Entries move from memory to the file, never the other way: taken in this order none is missed. One that is just
        // moving may come twice, and only its first time counts.
        let unwritten = self.unwritten.lock().clone();
        let mut last_seen = Offset::MIN;
        let mut goes_on = true;
        if let Some(file) = self.file()? {
            visit(&file, position, self.len.load(Ordering::Acquire), |at, txn| {
                last_seen = txn.last_offset;
                goes_on = go_on(at, txn);
                goes_on
            })?;
        }
        let mut at = self.len.load(Ordering::Acquire);
        for txn in unwritten.into_iter().filter(|txn| txn.last_offset > last_seen) {
            if !goes_on {
                break;
            }
            goes_on = go_on(at, txn);
            at += AbortedTxn::SIZE as u64;
        }
        Ok(())
    }
}

/// All entries of a file, which may be being written: what tools show.
pub fn read_aborted(path: &Path) -> Result<Vec<AbortedTxn>, TxnIndexError> {
    let file = DataFile::open_read_only(path)?;
    let mut all = Vec::new();
    visit(&file, 0, file.len()?, |_, txn| {
        all.push(txn);
        true
    })?;
    Ok(all)
}

fn visit(
    file: &DataFile,
    mut position: u64,
    end: u64,
    mut go_on: impl FnMut(u64, AbortedTxn) -> bool,
) -> Result<(), TxnIndexError> {
    let mut block = [0; BLOCK_ENTRIES * AbortedTxn::SIZE];
    while position < end {
        let wanted = block.len().min((end - position) as usize);
        let got = file.read_at(&mut block[..wanted], position)?;
        for bytes in block[..got].chunks_exact(AbortedTxn::SIZE) {
            let txn = AbortedTxn::decode(bytes).ok_or_else(|| {
                TxnIndexError::Corrupt("unexpected version of an aborted transaction, current version is 0".to_owned())
            })?;
            if !go_on(position, txn) {
                return Ok(());
            }
            position += AbortedTxn::SIZE as u64;
        }
        // The end of the file, or part of an entry.
        if got < wanted || got < AbortedTxn::SIZE {
            return Ok(());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::index::testing;
    use std::path::PathBuf;

    fn txn(producer_id: i64, first: Offset, last: Offset, stable: Offset) -> AbortedTxn {
        AbortedTxn { producer_id, first_offset: first, last_offset: last, last_stable_offset: stable }
    }

    fn index(entries: &[AbortedTxn]) -> (tempfile::TempDir, PathBuf, TxnIndex) {
        let dir = tempfile::tempdir().unwrap();
        let files = testing::files(&dir, 0);
        let index = TxnIndex::open(&files).unwrap();
        for entry in entries {
            index.append(entry).unwrap();
        }
        (dir, files.path(TXN_INDEX_SUFFIX), index)
    }

    #[test]
    fn the_file_is_made_with_its_first_entry_in_kafkas_bytes() {
        let (_dir, path, empty) = index(&[]);
        assert!(!path.exists());
        empty.append(&txn(4_000, 100, 140, 135)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let mut expected = vec![0, 0];
        for word in [4_000u64, 100, 140, 135] {
            expected.extend(word.to_be_bytes());
        }
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_range_gets_the_transactions_that_overlap_it_and_knows_when_to_stop() {
        let (dir, _path, index) = index(&[txn(1, 0, 10, 11), txn(2, 5, 20, 15), txn(3, 15, 30, 31)]);
        let found = |from, to| {
            let search = index.collect(from, to).unwrap();
            (search.aborted.iter().map(|t| t.producer_id).collect::<Vec<_>>(), search.is_complete)
        };
        assert_eq!(found(0, 5), (vec![1], true));
        assert_eq!(found(12, 16), (vec![2, 3], true));
        assert_eq!(found(25, 100), (vec![3], false));
        assert!(index.append(&txn(4, 0, 30, 31)).is_err());
        let reopened = TxnIndex::open(&testing::files(&dir, 0)).unwrap();
        assert_eq!(reopened.collect(0, 100).unwrap().aborted.len(), 3);
    }

    #[test]
    fn truncation_keeps_transactions_that_ended_before() {
        let (_dir, path, index) = index(&[txn(1, 0, 10, 11), txn(2, 5, 20, 15)]);
        index.truncate_to(21).unwrap();
        assert_eq!(index.collect(0, 100).unwrap().aborted.len(), 2);
        index.truncate_to(20).unwrap();
        assert_eq!(index.collect(0, 100).unwrap().aborted.len(), 1);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 34);
        index.append(&txn(3, 5, 12, 13)).unwrap();
        index.reset().unwrap();
        assert_eq!(index.collect(0, 100).unwrap().aborted, []);
    }

    #[test]
    fn entries_before_the_segment_or_of_another_version_are_corrupt() {
        let (dir, path, index) = index(&[txn(1, 0, 10, 11)]);
        assert!(index.sanity_check(10..11).is_ok());
        assert!(matches!(index.sanity_check(11..20), Err(TxnIndexError::Corrupt(_))));
        assert!(matches!(index.sanity_check(0..10), Err(TxnIndexError::Corrupt(_))), "the log ends before it");
        std::fs::write(&path, [1; 34]).unwrap();
        assert!(TxnIndex::open(&testing::files(&dir, 0)).unwrap().sanity_check(0..Offset::MAX).is_err());
    }
}
