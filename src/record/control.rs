//! Owns control records, which end transactions and which no consumer's application sees. Kafka: `ControlRecordType`,
//! `EndTransactionMarker`.
//!
//! ```text
//! key:   version i16 | type i16               value of commit and abort:   version i16 | coordinator epoch i32
//! ```

use super::{BatchBuilder, BatchOptions, RecordError};
use crate::common::ids::{LeaderEpoch, Millis, Offset};
use bytes::Bytes;

/// The version of keys and values that we write.
const VERSION: i16 = 0;

/// What a control record says. The types of KRaft logs and those to come are [`Self::Other`]: they are skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlType {
    Abort,
    Commit,
    Other(i16),
}

impl ControlType {
    fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::Other(id) => id,
        }
    }

    /// Reads the key of a control record. Versions to come keep the type where it is.
    pub fn parse_key(key: &[u8]) -> Result<Self, RecordError> {
        let Some(([v0, v1, t0, t1], _)) = key.split_first_chunk() else {
            return Err(RecordError::Invalid(format!(
                "Invalid value size found for control record key. Must have at least 4 bytes, but found only {}",
                key.len()
            )));
        };
        let version = i16::from_be_bytes([*v0, *v1]);
        if version < 0 {
            return Err(RecordError::Invalid(format!(
                "Invalid version found for control record: {version}. May indicate data corruption"
            )));
        }
        Ok(match i16::from_be_bytes([*t0, *t1]) {
            0 => Self::Abort,
            1 => Self::Commit,
            other => Self::Other(other),
        })
    }
}

/// The end of a producer's transaction in one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndTransactionMarker {
    pub committed: bool,
    /// Fences coordinators of before.
    pub coordinator_epoch: i32,
}

impl EndTransactionMarker {
    /// Reads the one record of a marker; `None` if it ends no transaction.
    pub fn parse(key: &[u8], value: &[u8]) -> Result<Option<Self>, RecordError> {
        let committed = match ControlType::parse_key(key)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            ControlType::Other(_) => return Ok(None),
        };
        let Some(([v0, v1, epoch @ ..], _)) = value.split_first_chunk::<6>() else {
            return Err(RecordError::Invalid(format!(
                "Invalid value size found for end transaction marker. Must have at least 6 bytes, but found only {}",
                value.len()
            )));
        };
        let version = i16::from_be_bytes([*v0, *v1]);
        if version < 0 {
            return Err(RecordError::Invalid(format!(
                "Invalid version found for end transaction marker: {version}. May indicate data corruption"
            )));
        }
        Ok(Some(Self { committed, coordinator_epoch: i32::from_be_bytes(*epoch) }))
    }

    /// The control batch of this marker, at `base_offset`. Kafka: `MemoryRecords.withEndTransactionMarker`.
    pub fn batch(
        &self,
        base_offset: Offset,
        partition_leader_epoch: LeaderEpoch,
        timestamp: Millis,
        producer_id: i64,
        producer_epoch: i16,
    ) -> Result<Bytes, RecordError> {
        let kind = if self.committed { ControlType::Commit } else { ControlType::Abort };
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset,
            partition_leader_epoch,
            producer_id,
            producer_epoch,
            transactional: true,
            control: true,
            ..BatchOptions::default()
        })?;
        let key = [VERSION.to_be_bytes(), kind.id().to_be_bytes()].concat();
        let value = [&VERSION.to_be_bytes()[..], &self.coordinator_epoch.to_be_bytes()].concat();
        builder.append(timestamp, Some(&key), Some(&value), &[])?;
        builder.finish()
    }
}
