//! Owns the indexes of a segment. Offset index and time index are sorted files of fixed-size entries, appended by one
//! thread and searched by many.
//!
//! Such a file grows by `pwrite` and is not preallocated; its last entries are also kept in memory, where readers of the
//! log's tail look. Older entries are found by positioned reads: a few of 8 or 12 bytes, then one block.

mod entries;
mod offset;
mod time;
mod txn;

pub use entries::Index;
pub use offset::{OffsetIndex, OffsetPosition};
pub use time::{TimeIndex, TimestampOffset};
pub use txn::{AbortedTxn, AbortedTxnSearch, TxnIndex, TxnIndexError, read_aborted};

use std::io;

/// An entry that an index cannot take.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Offsets of an index only grow. Met in damaged logs, when an index is rebuilt.
    #[error("offset {offset} is not larger than the last offset {last} of the index")]
    NotIncreasing { offset: i64, last: i64 },
}

#[cfg(test)]
mod testing {
    use crate::common::ids::Offset;
    use crate::disk::FilePool;
    use crate::log::partition_dir::PartitionDir;
    use crate::log::segment_files::SegmentFiles;
    use std::sync::Arc;

    /// The files of a segment in a directory of its own.
    pub(super) fn files(dir: &tempfile::TempDir, base_offset: Offset) -> Arc<SegmentFiles> {
        let dir = Arc::new(PartitionDir::new(dir.path(), &Arc::new(FilePool::new(4))));
        Arc::new(SegmentFiles::new(&dir, base_offset))
    }
}
