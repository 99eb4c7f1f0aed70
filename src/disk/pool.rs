//! Owns how many data files are open at once: a file is opened when it is needed, and those that were unused for longest
//! are closed beyond a bound. Kafka keeps every file of every segment open and mapped.

use super::DataFile;
use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

/// The bound, and the files that are open under it, the one that was opened first in front.
#[derive(Debug)]
pub struct FilePool {
    max_open: usize,
    open: Mutex<VecDeque<Weak<Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    file: ArcSwapOption<DataFile>,
    /// Since the pool last looked.
    is_used: AtomicBool,
    is_listed: AtomicBool,
}

impl FilePool {
    /// A pool that closes files beyond `max_open`. A reader keeps its file open until it is done.
    pub fn new(max_open: usize) -> Self {
        Self { max_open: max_open.max(1), open: Mutex::default() }
    }

    /// Files that are open, as far as the pool knows.
    pub fn open_files(&self) -> usize {
        self.open.lock().iter().filter(|slot| slot.strong_count() > 0).count()
    }

    fn admit(&self, slot: &Arc<Slot>) {
        if slot.is_listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut closed = Vec::new();
        {
            let mut open = self.open.lock();
            // One round: every file that was used since the last one gets a second chance.
            let mut chances = open.len();
            while open.len() >= self.max_open {
                let Some(oldest) = open.pop_front() else { break };
                let Some(slot) = oldest.upgrade() else { continue };
                if chances > 0 && slot.is_used.swap(false, Ordering::AcqRel) {
                    chances -= 1;
                    open.push_back(oldest);
                } else {
                    slot.is_listed.store(false, Ordering::Release);
                    closed.push(slot.file.swap(None));
                }
            }
            open.push_back(Arc::downgrade(slot));
        }
        // Outside of the lock: closing is a system call.
        drop(closed);
    }
}

/// A file that is open while it is used. One writer, many readers, as [`DataFile`].
#[derive(Debug)]
pub struct LazyFile {
    slot: Arc<Slot>,
    pool: Arc<FilePool>,
}

impl LazyFile {
    pub fn new(pool: &Arc<FilePool>) -> Self {
        Self { slot: Arc::default(), pool: Arc::clone(pool) }
    }

    /// The open file; `open` is called where it is not.
    pub fn get(&self, open: impl FnOnce() -> io::Result<DataFile>) -> io::Result<Arc<DataFile>> {
        if let Some(file) = self.slot.file.load_full() {
            // Written only when it changes: readers on many cores share the line.
            if !self.slot.is_used.load(Ordering::Relaxed) {
                self.slot.is_used.store(true, Ordering::Relaxed);
            }
            return Ok(file);
        }
        let file = Arc::new(open()?);
        self.slot.file.store(Some(Arc::clone(&file)));
        self.pool.admit(&self.slot);
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn files(dir: &Path, pool: &Arc<FilePool>, n: usize) -> Vec<(LazyFile, std::path::PathBuf)> {
        (0..n)
            .map(|i| {
                let path = dir.join(i.to_string());
                std::fs::write(&path, [i as u8]).unwrap();
                (LazyFile::new(pool), path)
            })
            .collect()
    }

    fn byte(file: &(LazyFile, std::path::PathBuf), opened: &mut usize) -> u8 {
        let open = || {
            *opened += 1;
            DataFile::open(&file.1)
        };
        let mut byte = [0];
        file.0.get(open).unwrap().read_exact_at(&mut byte, 0).unwrap();
        byte[0]
    }

    #[test]
    fn files_beyond_the_bound_are_closed_and_opened_again_when_they_are_needed() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Arc::new(FilePool::new(3));
        let files = files(dir.path(), &pool, 10);
        let mut opened = 0;
        for round in 0..3 {
            for (n, file) in files.iter().enumerate() {
                assert_eq!(byte(file, &mut opened), n as u8, "round {round}");
                assert!(pool.open_files() <= 3);
            }
        }
        assert_eq!(opened, 30);
    }

    #[test]
    fn a_file_in_use_stays_open_while_others_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Arc::new(FilePool::new(3));
        let files = files(dir.path(), &pool, 10);
        let mut opened_first = 0;
        let mut opened = 0;
        byte(&files[0], &mut opened_first);
        for file in &files[1..] {
            byte(file, &mut opened);
            byte(&files[0], &mut opened_first);
        }
        assert_eq!((opened_first, opened), (1, 9));
    }

    #[test]
    fn dropped_files_make_room() {
        let dir = tempfile::tempdir().unwrap();
        let pool = Arc::new(FilePool::new(2));
        let mut files = files(dir.path(), &pool, 4);
        let mut opened = 0;
        byte(&files[0], &mut opened);
        byte(&files[1], &mut opened);
        files.drain(..1);
        assert_eq!(pool.open_files(), 1);
        byte(&files[1], &mut opened);
        byte(&files[0], &mut opened);
        assert_eq!(opened, 3);
    }
}
