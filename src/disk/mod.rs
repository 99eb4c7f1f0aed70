//! Owns files, directories, their locks, and every `unsafe` block. Kafka: `FileRecords`, `FileLock`, `Utils.flushDir`,
//! `Utils.atomicMoveWithFallback`.
//! Whatever changes the disk, or may find it broken, asks [`fault`] first, so that tests can break it, and is noted in
//! [`calls`] while it lasts, so that a call that hangs can be told.
//! A broker reads and writes its files by position, and never through maps: a store into a map on a full file system, or a
//! load from one that another program cut, is a SIGBUS and ends the process, where a positioned call ends as an error of one
//! log directory. [`FileMap`] is for tools, which only read.

pub mod calls;
mod dir;
pub mod fault;
mod file;
mod map;
mod pool;

pub use dir::{
    DirLock, OpenDir, check_room, create_dir, create_dir_all_synced, file_names, modified_ms, raise_file_limit,
    remove_dir_all, remove_if_exists, rename, rename_unsynced, replace_file, replace_files, set_modified_ms, space,
    subdirectories, sync_dir,
};
pub use file::{DataFile, FileSlice, tells_residency};
pub use map::FileMap;
pub use pool::{FilePool, LazyFile};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// An input or output error with what was being done, and to which file.
#[derive(Debug, thiserror::Error)]
pub struct DiskError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl DiskError {
    pub fn new(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self { action, path: path.to_owned(), source }
    }

    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file says less, or other things, than it must: no device gives such an error.
    pub fn is_content(&self) -> bool {
        matches!(self.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
    }

    /// See [`is_full`].
    pub fn is_full(&self) -> bool {
        is_full(&self.source)
    }
}

impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.action, self.path.display(), self.source)
    }
}

/// Says what an operation was for: `open(path).during("open segment", path)?`.
pub trait During<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, DiskError>;

    /// The same where the path is only put together for the error.
    fn during_lazily(self, action: &'static str, path: impl FnOnce() -> PathBuf) -> Result<T, DiskError>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, DiskError> {
        self.map_err(|source| DiskError::new(action, path, source))
    }

    fn during_lazily(self, action: &'static str, path: impl FnOnce() -> PathBuf) -> Result<T, DiskError> {
        self.map_err(|source| DiskError::new(action, &path(), source))
    }
}

/// No room, or none left to this user: not the disk is broken, and when others make room the same call works.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
