//! Owns the sorted entry file that offset index and time index are: append, search, truncation. Kafka: `AbstractIndex`.
//!
//! An appended entry is in memory at once, and in the file some entries later: an append to the log costs no second write.
//! Whatever needs the file to be whole writes them first, a flush above all: loading trusts an index only below the
//! recovery point, and makes it anew above.

use super::IndexError;
use crate::common::ids::Offset;
use crate::disk::{self, DataFile, LazyFile};
use crate::log::segment_files::SegmentFiles;
use parking_lot::Mutex;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Entries that stay in memory: at most twice this many, then the older half goes.
const TAIL_ENTRIES: usize = 256;
/// Entries that wait in memory for their write.
const UNWRITTEN_MAX: u32 = 128;
/// Entries that one read takes once a search has narrowed down to them.
const BLOCK_ENTRIES: u32 = 128;
/// The larger of the two entry sizes.
const MAX_ENTRY_SIZE: usize = 12;

/// A fixed-size entry, big endian on disk.
pub trait Entry: Copy {
    const SIZE: usize;
    /// What an index of these is called in the directory.
    const SUFFIX: &'static str;
    fn decode(bytes: &[u8]) -> Self;
    /// Fills the first `SIZE` bytes.
    fn encode(self, out: &mut [u8; MAX_ENTRY_SIZE]);
    /// Its offset, less the base offset of the segment.
    fn relative_offset(&self) -> i32;
}

/// An index of one segment. One writer, many readers. A reader never waits for the disk work of the writer: the lock
/// covers memory only.
#[derive(Debug)]
pub struct Index<E> {
    files: Arc<SegmentFiles>,
    file: LazyFile,
    /// Entries that count: those in the file, then those that are not written yet.
    count: AtomicU32,
    tail: Mutex<Tail<E>>,
    /// One changes the file at a time: a flush, or the writer.
    writing: Mutex<()>,
}

#[derive(Debug)]
struct Tail<E> {
    /// The last entries: those with numbers `count - entries.len()` and up.
    entries: Vec<E>,
    /// Entries in the file that count. Never so few that the rest is not in `entries`.
    written: u32,
    /// Bytes of the file; more than its entries where some were cut off or are not whole.
    file_len: u64,
}

impl<E: Entry> Index<E> {
    pub const ENTRY_SIZE: usize = E::SIZE;

    /// Takes over the file that is there, or makes it. A last entry that is not whole does not count.
    pub(in crate::log) fn open(files: &Arc<SegmentFiles>) -> io::Result<Self> {
        let file = LazyFile::new(files.dir().files());
        let file_len = match files.len(E::SUFFIX)? {
            Some(len) => len,
            None => {
                drop(file.get(|| files.open_or_create(E::SUFFIX))?);
                0
            }
        };
        let count = u32::try_from(file_len / E::SIZE as u64).unwrap_or(u32::MAX);
        Ok(Self {
            files: Arc::clone(files),
            file,
            count: AtomicU32::new(count),
            tail: Mutex::new(Tail { entries: Vec::new(), written: count, file_len }),
            writing: Mutex::new(()),
        })
    }

    fn file(&self) -> io::Result<Arc<DataFile>> {
        self.file.get(|| self.files.open(E::SUFFIX))
    }

    pub fn base_offset(&self) -> Offset {
        self.files.base_offset()
    }

    /// The number of entries.
    pub fn entries(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// Bytes that the entries take. Kafka: `sizeInBytes`.
    pub fn size(&self) -> u64 {
        u64::from(self.entries()) * E::SIZE as u64
    }

    /// `None` beyond the end, also when a truncation is just cutting it off.
    pub(super) fn get(&self, n: u32) -> io::Result<Option<E>> {
        {
            let tail = self.tail.lock();
            let count = self.entries();
            if n >= count {
                return Ok(None);
            }
            let first_in_tail = count - tail.entries.len() as u32;
            if n >= first_in_tail {
                return Ok(Some(tail.entries[(n - first_in_tail) as usize]));
            }
        }
        self.read(n)
    }

    fn read(&self, n: u32) -> io::Result<Option<E>> {
        let mut bytes = [0; MAX_ENTRY_SIZE];
        let bytes = &mut bytes[..E::SIZE];
        let whole = self.file()?.read_at(bytes, u64::from(n) * E::SIZE as u64)? == E::SIZE;
        Ok(whole.then(|| E::decode(bytes)))
    }

    pub(super) fn last(&self) -> io::Result<Option<E>> {
        match self.entries().checked_sub(1) {
            Some(n) => self.get(n),
            None => Ok(None),
        }
    }

    /// Number of the first entry for which `reached` holds; the number of entries when there is none. `reached` must be
    /// false up to some entry and true from there on. Entries that a truncation cuts off meanwhile count as reached.
    pub(super) fn partition_point(&self, reached: impl Fn(&E) -> bool) -> io::Result<u32> {
        let (mut low, mut high) = {
            let tail = self.tail.lock();
            let first_in_tail = self.entries() - tail.entries.len() as u32;
            match tail.entries.first() {
                Some(first) if !reached(first) => {
                    return Ok(first_in_tail + tail.entries.partition_point(|e| !reached(e)) as u32);
                }
                _ => (0, first_in_tail),
            }
        };
        if high == 0 {
            return Ok(0);
        }
        let file = self.file()?;
        while high - low > BLOCK_ENTRIES {
            let middle = low + (high - low) / 2;
            match self.read(middle)? {
                Some(entry) if !reached(&entry) => low = middle + 1,
                _ => high = middle,
            }
        }
        let mut block = [0; BLOCK_ENTRIES as usize * MAX_ENTRY_SIZE];
        let wanted = (high - low) as usize * E::SIZE;
        let got = file.read_at(&mut block[..wanted], u64::from(low) * E::SIZE as u64)?;
        let before = block[..got].chunks_exact(E::SIZE).position(|entry| reached(&E::decode(entry)));
        Ok(low + before.unwrap_or(got / E::SIZE) as u32)
    }

    /// `offset` less the base offset, where an entry can say it.
    pub(super) fn relative(&self, offset: Offset) -> Option<i32> {
        i32::try_from(offset.saturating_sub(self.base_offset())).ok().filter(|relative| *relative >= 0)
    }

    pub(super) fn push(&self, entry: E) -> Result<(), IndexError> {
        let is_due = {
            let mut tail = self.tail.lock();
            let spare = tail.entries.len().saturating_sub(TAIL_ENTRIES);
            let count = self.entries();
            if spare >= TAIL_ENTRIES && tail.written + TAIL_ENTRIES as u32 >= count {
                tail.entries.drain(..spare);
            }
            tail.entries.push(entry);
            self.count.store(count + 1, Ordering::Release);
            count + 1 - tail.written >= UNWRITTEN_MAX
        };
        match if is_due { self.write() } else { Ok(()) } {
            // The entry counts, and is written when there is room.
            Err(e) if !disk::is_full(&e) => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// Writes what is only in memory. After an error it still is, and can be written later.
    pub(in crate::log) fn write(&self) -> io::Result<()> {
        let _writing = self.writing.lock();
        self.write_all()
    }

    fn write_all(&self) -> io::Result<()> {
        let (bytes, from) = {
            let tail = self.tail.lock();
            let unwritten = (self.entries() - tail.written) as usize;
            if unwritten == 0 {
                return Ok(());
            }
            let mut bytes = Vec::with_capacity(unwritten * E::SIZE);
            let mut one = [0; MAX_ENTRY_SIZE];
            for entry in &tail.entries[tail.entries.len() - unwritten..] {
                entry.encode(&mut one);
                bytes.extend_from_slice(&one[..E::SIZE]);
            }
            (bytes, u64::from(tail.written) * E::SIZE as u64)
        };
        self.file()?.write_all_at(&mut [IoSlice::new(&bytes)], from)?;
        let end = from + bytes.len() as u64;
        let mut tail = self.tail.lock();
        tail.written = (end / E::SIZE as u64) as u32;
        tail.file_len = tail.file_len.max(end);
        Ok(())
    }

    fn truncate(&self, count: u32) -> io::Result<()> {
        let _writing = self.writing.lock();
        {
            let mut tail = self.tail.lock();
            let dropped = self.entries().saturating_sub(count) as usize;
            let keep = tail.entries.len().saturating_sub(dropped);
            tail.entries.truncate(keep);
            let count = count.min(self.entries());
            tail.written = tail.written.min(count);
            self.count.store(count, Ordering::Release);
        }
        // What is left in memory only can also be written when there is room.
        self.trim_all().or_else(|e| if disk::is_full(&e) { Ok(()) } else { Err(e) })
    }

    /// Keeps entries whose offset is below `offset`.
    pub fn truncate_to(&self, offset: Offset) -> io::Result<()> {
        let relative = offset.saturating_sub(self.base_offset());
        self.truncate(self.partition_point(|entry| i64::from(entry.relative_offset()) >= relative)?)
    }

    pub fn reset(&self) -> io::Result<()> {
        self.truncate(0)
    }

    /// Writes all entries and cuts the bytes behind the last.
    fn trim(&self) -> io::Result<()> {
        let _writing = self.writing.lock();
        self.trim_all()
    }

    fn trim_all(&self) -> io::Result<()> {
        self.write_all()?;
        let mut tail = self.tail.lock();
        let len = self.size();
        if tail.file_len != len {
            self.file()?.truncate(len)?;
            tail.file_len = len;
        }
        Ok(())
    }

    /// Writes all entries, cuts what is behind them and gives their memory back: nothing will be appended any more.
    pub fn seal(&self) -> io::Result<()> {
        self.trim()?;
        self.tail.lock().entries = Vec::new();
        Ok(())
    }

    /// Waits until what was written is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.file()?.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FilePool;
    use crate::log::partition_dir::PartitionDir;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Number(i32);

    impl Entry for Number {
        const SIZE: usize = 8;
        const SUFFIX: &'static str = ".numbers";
        fn decode(bytes: &[u8]) -> Self {
            Self(i64::from_be_bytes(bytes.try_into().unwrap()) as i32)
        }
        fn encode(self, out: &mut [u8; MAX_ENTRY_SIZE]) {
            out[..8].copy_from_slice(&i64::from(self.0).to_be_bytes());
        }
        fn relative_offset(&self) -> i32 {
            self.0
        }
    }

    fn files(dir: &tempfile::TempDir) -> Arc<SegmentFiles> {
        let dir = Arc::new(PartitionDir::new(dir.path(), &Arc::new(FilePool::new(2))));
        Arc::new(SegmentFiles::new(&dir, 0))
    }

    fn file_len(files: &SegmentFiles) -> u64 {
        files.len(Number::SUFFIX).unwrap().unwrap()
    }

    #[test]
    fn searches_find_the_same_in_memory_and_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        let fresh = Index::<Number>::open(&files).unwrap();
        for n in 0..2_000 {
            fresh.push(Number(n * 10)).unwrap();
        }
        fresh.write().unwrap();
        let reopened = Index::<Number>::open(&files).unwrap();
        for target in [0, 1, 9, 10, 5_000, 12_345, 17_000, 19_980, 19_990, 19_991, 99_999] {
            let expected = (0..2_000).filter(|n| n * 10 < target).count() as u32;
            assert_eq!(fresh.partition_point(|e| e.0 >= target).unwrap(), expected, "{target}");
            assert_eq!(reopened.partition_point(|e| e.0 >= target).unwrap(), expected, "{target} reopened");
        }
        for n in [0, 1_300, 1_999] {
            assert_eq!(fresh.get(n).unwrap(), Some(Number(n as i32 * 10)));
        }
        assert_eq!(fresh.get(2_000).unwrap(), None);
    }

    #[test]
    fn entries_reach_the_file_many_at_a_time_and_all_of_them_by_a_seal() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        let index = Index::<Number>::open(&files).unwrap();
        for n in 0..127 {
            index.push(Number(n)).unwrap();
        }
        assert_eq!((file_len(&files), index.get(126).unwrap()), (0, Some(Number(126))));
        index.push(Number(127)).unwrap();
        assert_eq!(file_len(&files), 128 * 8);
        index.push(Number(128)).unwrap();
        index.seal().unwrap();
        assert_eq!((file_len(&files), index.get(128).unwrap()), (129 * 8, Some(Number(128))));
    }

    #[test]
    fn entries_stay_when_the_file_cannot_be_written() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        let index = Index::<Number>::open(&files).unwrap();
        let path = files.path(Number::SUFFIX);
        // The pool lets go of the file, and its name is gone.
        let others: Vec<_> = (0..2).map(|_| LazyFile::new(files.dir().files())).collect();
        for other in &others {
            other.get(|| DataFile::open_or_create(&dir.path().join("other"))).unwrap();
        }
        std::fs::rename(&path, dir.path().join("away")).unwrap();
        for n in 0..127 {
            index.push(Number(n)).unwrap();
        }
        for n in 127..2_000 {
            index.push(Number(n)).unwrap_err();
        }
        std::fs::rename(dir.path().join("away"), &path).unwrap();
        assert_eq!(index.partition_point(|e| e.0 >= 7).unwrap(), 7);
        index.seal().unwrap();
        assert_eq!((file_len(&files), index.get(1_999).unwrap()), (2_000 * 8, Some(Number(1_999))));
    }

    #[test]
    fn truncation_cuts_file_and_memory_and_appends_go_on_from_there() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        let index = Index::<Number>::open(&files).unwrap();
        for n in 0..700 {
            index.push(Number(n)).unwrap();
        }
        for keep in [690, 100] {
            index.truncate(keep).unwrap();
            assert_eq!(index.last().unwrap(), Some(Number(keep as i32 - 1)));
            assert_eq!(file_len(&files), u64::from(keep) * 8);
        }
        index.push(Number(500)).unwrap();
        assert_eq!(
            (index.entries(), index.get(99).unwrap(), index.get(100).unwrap()),
            (101, Some(Number(99)), Some(Number(500)))
        );
        index.truncate_to(400).unwrap();
        assert_eq!(index.entries(), 100);
        index.truncate(0).unwrap();
        assert_eq!(index.last().unwrap(), None);
    }

    #[test]
    fn half_an_entry_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let files = files(&dir);
        std::fs::write(files.path(Number::SUFFIX), [0; 13]).unwrap();
        let index = Index::<Number>::open(&files).unwrap();
        assert_eq!(index.entries(), 1);
        index.trim().unwrap();
        assert_eq!(file_len(&files), 8);
    }
}
