//! Owns record batches: their bytes, their checks, their compression and their older forms. Kafka:
//! `org.apache.kafka.common.record` and `org.apache.kafka.storage.internals.log.LogValidator`. Pure, every file of it.
//!
//! [`batch`] is the view that every reader uses, over any magic.
//!
//! Absent on purpose: clocks, files, offsets of a log. The caller passes `now`; the log assigns offsets.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod convert;
pub mod error;
pub mod legacy;
pub mod reader;
#[allow(clippy::module_inception, reason = "Kafka's word for it")]
pub mod record;
pub mod validate;
pub mod varint;

pub use batch::{Attributes, Batch, BatchHeader, HEADER_LEN, TimestampType, batches};
pub use builder::{BatchBuilder, BatchOptions};
pub use compression::{Codec, Compression};
pub use error::RecordError;
pub use reader::{RecordReader, records};
pub use record::{Headers, RecordView};

/// "No timestamp": what magic 0 records and empty batches report.
pub const NO_TIMESTAMP: i64 = -1;
/// "No producer": batches of producers without idempotence.
pub const NO_PRODUCER_ID: i64 = -1;
pub const NO_PRODUCER_EPOCH: i16 = -1;
pub const NO_SEQUENCE: i32 = -1;

#[cfg(test)]
mod golden;
#[cfg(test)]
mod tests;
