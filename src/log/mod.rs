//! Owns the log: segments, indexes, recovery. Kafka: `kafka.log`, `storage.internals.log`.

pub mod checkpoint;
pub mod epoch_cache;
pub mod index;
pub mod log_dir;
pub mod partition_dir;
pub mod producer_state;
pub mod retention;
pub mod scheduler;

mod append;
mod checked;
mod cleaner;
mod loading;
mod manager;
mod marks;
mod moves;
mod overflow;
mod producer_snapshots;
mod read;
mod recovering;
mod recovery;
mod scan;
mod segment;
mod segment_files;
mod segments;
mod small_files;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod unified_log;

pub use append::{AppendError, AppendInfo};
pub use cleaner::CleanerSettings;
pub use loading::{LoadError, LoadLimits};
pub use manager::{CreateLogError, LogDescription, LogDirDescription, LogManager, LogManagerOptions, StartError};
pub use marks::{LogOffsets, OffsetMetadata};
pub use moves::{MoveError, MoveStep};
pub use producer_state::VerificationGuard;
pub use read::{Doubtful, FetchData, FetchIsolation, OffsetQuery, ReadError, TimestampedOffset};
pub use recovering::{Recovered, Recovering};
pub use unified_log::{InconsistentTopicId, LogOptions, LogStartError, UnifiedLog};
