//! Owns what the offset index and the time index have in common: a sorted file of fixed-size entries, appended by one
//! thread and searched by many. Kafka: `AbstractIndex`.
//!
//! The file grows by `pwrite` and is not preallocated; its last entries are also kept in memory, where readers of the
//! log's tail look. Older entries are found by positioned reads: a few of 8 or 12 bytes, then one block.

mod entries;
mod offset;
mod time;
mod txn;

pub use offset::{OffsetIndex, OffsetPosition};
pub use time::{TimeIndex, TimestampOffset};
pub use txn::{AbortedTxn, AbortedTxnSearch, TxnIndex, TxnIndexError};

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
