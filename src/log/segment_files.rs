//! Owns the names of a segment's files and what they go through: an ending says what a file is for, and the files of a
//! segment change it together. Kafka: `LogFileUtils`, the renaming half of `LogSegment`.
//!
//! ```text
//! 00000000000000000042.log            records; also .index .timeindex .txnindex, and .snapshot of the producers before
//! 00000000000000000042.log.cleaned    output of compaction, not complete
//! 00000000000000000042.log.swap       output of compaction that is complete and takes the place of other segments
//! 00000000000000000042.log.deleted    waits for its removal
//! ```

use super::partition_dir::PartitionDir;
use crate::common::ids::Offset;
use crate::disk::{self, DataFile, DiskError, During};
use parking_lot::RwLock;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) const LOG_SUFFIX: &str = ".log";
pub(super) const OFFSET_INDEX_SUFFIX: &str = ".index";
pub(super) const TIME_INDEX_SUFFIX: &str = ".timeindex";
pub(super) const TXN_INDEX_SUFFIX: &str = ".txnindex";
pub(super) const SNAPSHOT_SUFFIX: &str = ".snapshot";
/// Waits for its removal.
pub(super) const DELETED_SUFFIX: &str = ".deleted";
/// Output of compaction that is not complete.
pub(super) const CLEANED_SUFFIX: &str = ".cleaned";
/// Output of compaction that is complete and takes the place of other segments.
pub(super) const SWAP_SUFFIX: &str = ".swap";

/// The files of a segment that is there for readers.
const IN_USE: &str = "";
const SEGMENT_SUFFIXES: [&str; 4] = [LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TXN_INDEX_SUFFIX];

/// The name of a segment's file.
pub(super) fn file_name(base_offset: Offset, suffix: &str) -> String {
    format!("{base_offset:020}{suffix}")
}

/// The offset in front of a file name's first dot.
pub(super) fn offset_of(name: &str) -> Option<Offset> {
    name.split_once('.')?.0.parse().ok().filter(|offset| *offset >= 0)
}

/// Where the files of one segment are.
#[derive(Debug)]
pub(super) struct SegmentFiles {
    dir: Arc<PartitionDir>,
    base_offset: Offset,
    /// Held for reading while a file is opened: after a rename the old name may be another segment's.
    ending: RwLock<&'static str>,
}

impl SegmentFiles {
    pub(super) fn new(dir: &Arc<PartitionDir>, base_offset: Offset) -> Self {
        Self::with_ending(dir, base_offset, IN_USE)
    }

    /// Those of a segment that compaction writes.
    pub(super) fn cleaned(dir: &Arc<PartitionDir>, base_offset: Offset) -> Self {
        Self::with_ending(dir, base_offset, CLEANED_SUFFIX)
    }

    fn with_ending(dir: &Arc<PartitionDir>, base_offset: Offset, ending: &'static str) -> Self {
        Self { dir: Arc::clone(dir), base_offset, ending: RwLock::new(ending) }
    }

    pub(super) fn base_offset(&self) -> Offset {
        self.base_offset
    }

    pub(super) fn dir(&self) -> &Arc<PartitionDir> {
        &self.dir
    }

    fn name(&self, suffix: &str, ending: &str) -> String {
        let mut name = file_name(self.base_offset, suffix);
        name.push_str(ending);
        name
    }

    pub(super) fn path(&self, suffix: &str) -> PathBuf {
        self.dir.file(&self.name(suffix, *self.ending.read()))
    }

    /// Whether the files, or the whole log, wait for their removal or are gone: a reader that still has them came too late.
    pub(super) fn is_deleted(&self) -> bool {
        *self.ending.read() == DELETED_SUFFIX || self.dir.is_deleted()
    }

    /// Runs `work` with the path of a file, which means this segment's file for so long.
    fn with_path<T>(&self, suffix: &str, work: impl FnOnce(&Path) -> T) -> T {
        let ending = self.ending.read();
        self.dir.with_file(&self.name(suffix, *ending), work)
    }

    /// Opens a file that is there.
    pub(super) fn open(&self, suffix: &str) -> io::Result<DataFile> {
        self.with_path(suffix, DataFile::open)
    }

    pub(super) fn open_or_create(&self, suffix: &str) -> io::Result<DataFile> {
        self.with_path(suffix, DataFile::open_or_create)
    }

    /// Bytes of a file; `None` when it is not there.
    pub(super) fn len(&self, suffix: &str) -> io::Result<Option<u64>> {
        match self.with_path(suffix, |path| std::fs::metadata(path)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Last change of a file, milliseconds since the epoch.
    pub(super) fn modified_ms(&self, suffix: &str) -> io::Result<i64> {
        self.with_path(suffix, disk::modified_ms)
    }

    /// Lets the files look as if they were last changed then.
    pub(super) fn set_modified_ms(&self, modified: i64) -> Result<(), DiskError> {
        for suffix in [LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX] {
            let set = self.with_path(suffix, |path| disk::set_modified_ms(path, modified));
            set.during_lazily("set time of", || self.path(suffix))?;
        }
        Ok(())
    }

    /// Gives all files another ending, and returns their new paths. Readers go on with the files they have open.
    fn rename(&self, to: &'static str) -> Result<Vec<PathBuf>, DiskError> {
        let mut ending = self.ending.write();
        let mut renamed = Vec::new();
        for suffix in SEGMENT_SUFFIXES {
            let from = self.dir.file(&self.name(suffix, *ending));
            let target = self.dir.file(&self.name(suffix, to));
            match disk::rename_unsynced(&from, &target) {
                Ok(()) => renamed.push(target),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(DiskError::new("rename", &from, e)),
            }
        }
        *ending = to;
        Ok(renamed)
    }

    /// `.cleaned` to `.swap`: from here on loading completes what is begun.
    pub(super) fn mark_swap(&self) -> Result<(), DiskError> {
        self.rename(SWAP_SUFFIX).map(drop)
    }

    /// `.swap` to the names that readers know.
    pub(super) fn mark_in_use(&self) -> Result<(), DiskError> {
        self.rename(IN_USE).map(drop)
    }

    /// Names that loading removes. Returns the paths. Where a full disk has no room for names the files go at once.
    pub(super) fn mark_deleted(&self) -> Result<Vec<PathBuf>, DiskError> {
        match self.rename(DELETED_SUFFIX) {
            Err(e) if e.is_full() => self.delete().map(|()| Vec::new()),
            other => other,
        }
    }

    /// Removes the files.
    pub(super) fn delete(&self) -> Result<(), DiskError> {
        for suffix in SEGMENT_SUFFIXES {
            let path = self.path(suffix);
            disk::remove_if_exists(&path).during("delete", &path)?;
        }
        Ok(())
    }
}

/// Appends `.deleted` to a file's name; `None` when it is not there.
pub(super) fn mark_deleted(path: &Path) -> Result<Option<PathBuf>, DiskError> {
    let mut marked = path.as_os_str().to_owned();
    marked.push(DELETED_SUFFIX);
    let marked = PathBuf::from(marked);
    match disk::rename_unsynced(path, &marked) {
        Ok(()) => Ok(Some(marked)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) if disk::is_full(&e) => disk::remove_if_exists(path).during("delete", path).map(|_| None),
        Err(e) => Err(DiskError::new("rename", path, e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FilePool;
    use std::io::IoSlice;

    #[test]
    fn a_file_is_never_opened_under_a_name_that_became_another_segments() {
        let dir = tempfile::tempdir().unwrap();
        let partition = Arc::new(PartitionDir::new(dir.path(), &Arc::new(FilePool::new(4))));
        let (old, new) = (SegmentFiles::new(&partition, 7), SegmentFiles::cleaned(&partition, 7));
        for (files, byte) in [(&old, b"o"), (&new, b"n")] {
            files.open_or_create(LOG_SUFFIX).unwrap().write_all_at(&mut [IoSlice::new(byte)], 0).unwrap();
        }
        let byte = |files: &SegmentFiles| {
            let mut byte = [0];
            files.open(LOG_SUFFIX).unwrap().read_exact_at(&mut byte, 0).unwrap();
            byte[0]
        };
        new.mark_swap().unwrap();
        assert_eq!((byte(&old), byte(&new)), (b'o', b'n'));
        let gone = old.mark_deleted().unwrap();
        new.mark_in_use().unwrap();
        assert_eq!((byte(&old), byte(&new)), (b'o', b'n'));
        assert_eq!(gone, [dir.path().join("00000000000000000007.log.deleted")]);
        assert!(old.is_deleted() && !new.is_deleted());
    }
}
