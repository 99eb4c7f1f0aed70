//! Owns where a partition's files are, and the names of such directories. Kafka: the name rules of `LocalLog`.
//!
//! ```text
//! topic-0                                   a partition
//! topic-0.<32 hex digits>-future            a replica on its way into this directory
//! topic-0.<32 hex digits>-delete            a replica that waits for its removal
//! topic-0.<32 hex digits>-stray             a replica that the controller does not assign here
//! ```

use crate::common::ids::TopicPartition;
use crate::disk::{self, DiskError, During, FilePool};
use parking_lot::RwLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub const DELETE_SUFFIX: &str = "-delete";
pub const FUTURE_SUFFIX: &str = "-future";
pub const STRAY_SUFFIX: &str = "-stray";

/// Longest file name of the usual file systems.
const NAME_MAX: usize = 255;

/// Where a partition's files are. Shared by its segments, because the directory is renamed before it is deleted.
#[derive(Debug)]
pub(super) struct PartitionDir {
    /// Held for reading while a file is opened by its path, so that the path cannot come to mean another one.
    path: RwLock<Arc<Path>>,
    /// It waits for its removal, or is gone.
    is_deleted: AtomicBool,
    files: Arc<FilePool>,
}

impl PartitionDir {
    pub(super) fn new(path: &Path, files: &Arc<FilePool>) -> Self {
        Self { path: RwLock::new(Arc::from(path)), is_deleted: AtomicBool::new(false), files: Arc::clone(files) }
    }

    pub(super) fn path(&self) -> Arc<Path> {
        Arc::clone(&self.path.read())
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(super) fn files(&self) -> &Arc<FilePool> {
        &self.files
    }

    /// Runs `work` with a file's path, which stays the same for so long.
    pub(super) fn with_file<T>(&self, name: &str, work: impl FnOnce(&Path) -> T) -> T {
        self.with_path(|dir| work(&dir.join(name)))
    }

    fn with_path<T>(&self, work: impl FnOnce(&Path) -> T) -> T {
        work(&self.path.read())
    }

    pub(super) fn is_deleted(&self) -> bool {
        self.is_deleted.load(Ordering::Acquire)
    }

    /// Gives the directory a name that says so. See [`Self::rename`].
    pub(super) fn rename_deleted(&self, to: &Path) -> Result<(), DiskError> {
        self.rename(to)?;
        self.is_deleted.store(true, Ordering::Release);
        Ok(())
    }

    /// Waits until the names in the directory are on the disk. It may get another name meanwhile.
    pub(super) fn sync(&self) -> Result<(), DiskError> {
        // Open it first: no one waits for a rename that waits for the disk.
        let opened = self.with_path(disk::OpenDir::open);
        opened.and_then(|dir| dir.sync()).during_lazily("sync", || self.path().to_path_buf())
    }

    /// Gives the directory another name. A crash of the machine may undo it.
    pub(super) fn rename(&self, to: &Path) -> Result<(), DiskError> {
        let mut path = self.path.write();
        disk::rename_unsynced(&path, to).during("rename", &path)?;
        *path = Arc::from(to);
        Ok(())
    }
}

/// What a directory inside a log directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionDirKind {
    Current,
    Future,
    Deleted,
    Stray,
}

/// Reads the name of a directory inside a log directory; `None` for a name that no broker gives.
pub fn parse_partition_dir(name: &str) -> Option<(TopicPartition, PartitionDirKind)> {
    let kind = if name.ends_with(DELETE_SUFFIX) {
        PartitionDirKind::Deleted
    } else if name.ends_with(FUTURE_SUFFIX) {
        PartitionDirKind::Future
    } else if name.ends_with(STRAY_SUFFIX) {
        PartitionDirKind::Stray
    } else {
        PartitionDirKind::Current
    };
    let (plain, is_suffixed) = match kind {
        PartitionDirKind::Current => (name, false),
        _ => (name.rsplit_once('.')?.0, true),
    };
    let parse = |plain: &str| {
        let (topic, partition) = plain.rsplit_once('-')?;
        let partition: i32 = partition.parse().ok()?;
        (!topic.is_empty() && partition >= 0).then(|| TopicPartition::new(topic, partition))
    };
    match parse(plain) {
        Some(tp) => Some((tp, kind)),
        // A topic may itself end in "-delete" before its partition's number; only the whole form has a dot and an id.
        None if is_suffixed => parse(name).map(|tp| (tp, PartitionDirKind::Current)),
        None => None,
    }
}

/// The name of the directory that a replica is copied to before it moves there.
pub fn future_dir_name(tp: &TopicPartition) -> String {
    let id = uuid::Uuid::from_bytes(crate::common::Uuid::random().0).simple().to_string();
    format!("{}-{}.{id}{FUTURE_SUFFIX}", tp.topic, tp.partition)
}

/// The name that a partition's directory gets when it is to be deleted.
pub fn delete_dir_name(tp: &TopicPartition) -> String {
    unique_dir_name(tp, DELETE_SUFFIX)
}

/// The name that a partition's directory gets when it is of an earlier topic: Kafka, too, leaves it alone.
pub fn stray_dir_name(tp: &TopicPartition) -> String {
    unique_dir_name(tp, STRAY_SUFFIX)
}

/// A long topic name is cut, as Kafka cuts it.
fn unique_dir_name(tp: &TopicPartition, suffix: &str) -> String {
    let id = uuid::Uuid::from_bytes(crate::common::Uuid::random().0).simple().to_string();
    let suffix = format!("-{}.{id}{suffix}", tp.partition);
    let mut topic_len = tp.topic.len().min(NAME_MAX - suffix.len());
    while !tp.topic.is_char_boundary(topic_len) {
        topic_len -= 1;
    }
    format!("{}{suffix}", &tp.topic[..topic_len])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directory_names_are_read_as_kafka_reads_them() {
        let read = |name: &str| parse_partition_dir(name).map(|(tp, kind)| (tp.to_string(), kind));
        let id = "0123456789abcdef0123456789abcdef";
        assert_eq!(read("t-0"), Some(("t-0".to_owned(), PartitionDirKind::Current)));
        assert_eq!(read("a.b-c-12"), Some(("a.b-c-12".to_owned(), PartitionDirKind::Current)));
        for (suffix, kind) in [
            ("-delete", PartitionDirKind::Deleted),
            ("-future", PartitionDirKind::Future),
            ("-stray", PartitionDirKind::Stray),
        ] {
            assert_eq!(read(&format!("a.b-3.{id}{suffix}")), Some(("a.b-3".to_owned(), kind)));
        }
        for name in ["lost+found", "t", "-1", "t-x", "t-", "t-delete"] {
            assert_eq!(read(name), None, "{name}");
        }
    }

    #[test]
    fn names_of_deleted_directories_fit_a_file_system() {
        let name = delete_dir_name(&TopicPartition::new("t".repeat(249).as_str(), 7));
        assert_eq!(name.len(), 255);
        assert_eq!(
            parse_partition_dir(&name).map(|(tp, kind)| (tp.partition, kind)),
            Some((7, PartitionDirKind::Deleted))
        );
    }
}
