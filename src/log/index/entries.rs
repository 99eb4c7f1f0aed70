//! Owns the sorted entry file under the offset and the time index: append, search, truncation.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::disk::DataFile;

/// Entries that stay in memory: at most twice this many, then the older half goes.
const TAIL_ENTRIES: usize = 256;
/// Entries that one read takes once a search has narrowed down to them.
const BLOCK_ENTRIES: u32 = 128;
/// The larger of the two entry sizes.
const MAX_ENTRY_SIZE: usize = 12;

/// A fixed-size entry, big endian on disk.
pub(super) trait Entry: Copy {
    const SIZE: usize;
    fn decode(bytes: &[u8]) -> Self;
    /// Fills the first `SIZE` bytes.
    fn encode(self, out: &mut [u8; MAX_ENTRY_SIZE]);
}

/// One writer, many readers. A reader never waits for the disk work of the writer: the lock covers memory only.
#[derive(Debug)]
pub(super) struct EntryFile<E> {
    file: DataFile,
    /// Entries that are whole in the file. Bytes behind them do not count.
    count: AtomicU32,
    /// The last entries: those with numbers `count - tail.len()` and up.
    tail: Mutex<Vec<E>>,
}

impl<E: Entry> EntryFile<E> {
    /// Opens or creates. A last entry that is not whole does not count.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = DataFile::open_or_create(path)?;
        let count = u32::try_from(file.len()? / E::SIZE as u64).unwrap_or(u32::MAX);
        Ok(Self { file, count: AtomicU32::new(count), tail: Mutex::new(Vec::new()) })
    }

    pub(super) fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// `None` beyond the end, also when a truncation is just cutting it off.
    pub(super) fn get(&self, n: u32) -> io::Result<Option<E>> {
        {
            let tail = self.tail.lock();
            let count = self.count();
            if n >= count {
                return Ok(None);
            }
            let first_in_tail = count - tail.len() as u32;
            if n >= first_in_tail {
                return Ok(Some(tail[(n - first_in_tail) as usize]));
            }
        }
        self.read(n)
    }

    fn read(&self, n: u32) -> io::Result<Option<E>> {
        let mut bytes = [0; MAX_ENTRY_SIZE];
        let bytes = &mut bytes[..E::SIZE];
        let whole = self.file.read_at(bytes, u64::from(n) * E::SIZE as u64)? == E::SIZE;
        Ok(whole.then(|| E::decode(bytes)))
    }

    pub(super) fn last(&self) -> io::Result<Option<E>> {
        match self.count().checked_sub(1) {
            Some(n) => self.get(n),
            None => Ok(None),
        }
    }

    /// Number of the first entry for which `reached` holds; `count()` when there is none. `reached` must be false up to
    /// some entry and true from there on. Entries that a truncation cuts off meanwhile count as reached.
    pub(super) fn partition_point(&self, reached: impl Fn(&E) -> bool) -> io::Result<u32> {
        let (mut low, mut high) = {
            let tail = self.tail.lock();
            let count = self.count();
            let first_in_tail = count - tail.len() as u32;
            match tail.first() {
                Some(first) if !reached(first) => {
                    return Ok(first_in_tail + tail.partition_point(|e| !reached(e)) as u32);
                }
                _ => (0, first_in_tail),
            }
        };
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            match self.read(middle)? {
                Some(entry) if !reached(&entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        let mut block = [0; BLOCK_ENTRIES as usize * MAX_ENTRY_SIZE];
        let wanted = (high - low) as usize * E::SIZE;
        let got = self.file.read_at(&mut block[..wanted], u64::from(low) * E::SIZE as u64)?;
        let before = block[..got].chunks_exact(E::SIZE).position(|entry| reached(&E::decode(entry)));
        Ok(low + before.unwrap_or(got / E::SIZE) as u32)
    }

    pub(super) fn append(&self, entry: E) -> io::Result<()> {
        let count = self.count();
        let mut bytes = [0; MAX_ENTRY_SIZE];
        entry.encode(&mut bytes);
        self.file.write_all_at(&mut [IoSlice::new(&bytes[..E::SIZE])], u64::from(count) * E::SIZE as u64)?;
        let mut tail = self.tail.lock();
        if tail.len() == 2 * TAIL_ENTRIES {
            tail.drain(..TAIL_ENTRIES);
        }
        tail.push(entry);
        self.count.store(count + 1, Ordering::Release);
        Ok(())
    }

    /// Keeps the first `count` entries and cuts the file behind them.
    pub(super) fn truncate(&self, count: u32) -> io::Result<()> {
        {
            let mut tail = self.tail.lock();
            let dropped = self.count().saturating_sub(count) as usize;
            let keep = tail.len().saturating_sub(dropped);
            tail.truncate(keep);
            self.count.store(count.min(self.count()), Ordering::Release);
        }
        self.trim()
    }

    /// Cuts bytes behind the last whole entry.
    pub(super) fn trim(&self) -> io::Result<()> {
        let len = u64::from(self.count()) * E::SIZE as u64;
        if self.file.len()? != len { self.file.truncate(len) } else { Ok(()) }
    }

    /// A sealed index keeps nothing in memory.
    pub(super) fn seal(&self) {
        *self.tail.lock() = Vec::new();
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Number(u64);

    impl Entry for Number {
        const SIZE: usize = 8;
        fn decode(bytes: &[u8]) -> Self {
            Self(u64::from_be_bytes(bytes.try_into().unwrap()))
        }
        fn encode(self, out: &mut [u8; MAX_ENTRY_SIZE]) {
            out[..8].copy_from_slice(&self.0.to_be_bytes());
        }
    }

    #[test]
    fn searches_find_the_same_in_memory_and_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let fresh = EntryFile::<Number>::open(&path).unwrap();
        for n in 0..2_000 {
            fresh.append(Number(n * 10)).unwrap();
        }
        let reopened = EntryFile::<Number>::open(&path).unwrap();
        for target in [0, 1, 9, 10, 5_000, 12_345, 17_000, 19_980, 19_990, 19_991, 99_999] {
            let expected = (0..2_000).filter(|n| n * 10 < target).count() as u32;
            assert_eq!(fresh.partition_point(|e| e.0 >= target).unwrap(), expected, "{target}");
            assert_eq!(reopened.partition_point(|e| e.0 >= target).unwrap(), expected, "{target} reopened");
        }
        for n in [0, 1_300, 1_999] {
            assert_eq!(fresh.get(n).unwrap(), Some(Number(u64::from(n) * 10)));
        }
        assert_eq!(fresh.get(2_000).unwrap(), None);
    }

    #[test]
    fn truncation_cuts_file_and_memory_and_appends_go_on_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let index = EntryFile::<Number>::open(&path).unwrap();
        for n in 0..700 {
            index.append(Number(n)).unwrap();
        }
        for keep in [690, 100] {
            index.truncate(keep).unwrap();
            assert_eq!(index.last().unwrap(), Some(Number(u64::from(keep) - 1)));
            assert_eq!(std::fs::metadata(&path).unwrap().len(), u64::from(keep) * 8);
        }
        index.append(Number(500)).unwrap();
        assert_eq!(
            (index.count(), index.get(99).unwrap(), index.get(100).unwrap()),
            (101, Some(Number(99)), Some(Number(500)))
        );
        index.truncate(0).unwrap();
        assert_eq!(index.last().unwrap(), None);
    }

    #[test]
    fn half_an_entry_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, [0; 13]).unwrap();
        let index = EntryFile::<Number>::open(&path).unwrap();
        assert_eq!(index.count(), 1);
        index.trim().unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 8);
    }
}
