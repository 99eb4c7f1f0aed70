//! Owns the decision what of a batch survives compaction, and the batch that is left. Kafka: `Cleaner.cleanInto`'s
//! `RecordFilter`, `MemoryRecords.filterTo`. Pure.
//!
//! A tombstone, and a marker without a transaction, first make their batch get a delete horizon (KIP-534): the time from
//! which on they may go, so that everyone who reads the log from its start within `delete.retention.ms` sees them.

use super::offset_map::OffsetMap;
use crate::common::ids::Millis;
use crate::record::builder::emptied;
use crate::record::legacy::SetBuilder;
use crate::record::{Batch, BatchBuilder, BatchOptions, Compression, RecordError, RecordView, TimestampType, records};
use bytes::Bytes;

/// What is known of a batch before its records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BatchFacts {
    /// Its transaction was aborted, or it is a marker that no one needs any more.
    pub discardable: bool,
    /// The last batch of a producer that the broker still knows: its header keeps epoch and sequence.
    pub is_last_of_producer: bool,
}

/// The rules of one cleaning.
pub(super) struct Rules<'a> {
    pub map: &'a OffsetMap,
    pub now: Millis,
    pub delete_retention_ms: Millis,
    /// Whether tombstones of magic 0 and 1 stay, which have no horizon of their own.
    pub retains_legacy_tombstones: bool,
}

/// What is left of a batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Survivor {
    Nothing,
    /// The batch as it is.
    Whole,
    Rewritten(Bytes),
}

/// What became of a batch, with its records counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filtered {
    pub survivor: Survivor,
    pub read: u64,
    pub retained: u64,
    /// Records without a key: nothing a compacted log can keep.
    pub invalid: u64,
}

impl Rules<'_> {
    /// Decides about a batch whose checksum has been looked at.
    pub(super) fn filter(&self, batch: &Batch<'_>, facts: BatchFacts) -> Result<Filtered, RecordError> {
        let horizon = batch.delete_horizon();
        let discards_records =
            facts.discardable && (!batch.is_control() || horizon.is_some_and(|horizon| horizon <= self.now));
        let keeps_header = batch.has_producer_id() && facts.is_last_of_producer;
        let mut filtered = Filtered { survivor: Survivor::Nothing, read: 0, retained: 0, invalid: 0 };
        if discards_records && !keeps_header {
            return Ok(filtered);
        }
        let mut has_tombstone = false;
        if !discards_records {
            let mut reader = records(batch)?;
            while let Some(record) = reader.next_record()? {
                filtered.read += 1;
                if batch.is_control() || self.retains(batch, &record, &mut filtered.invalid) {
                    filtered.retained += 1;
                    has_tombstone |= record.value.is_none();
                }
            }
        }
        filtered.survivor = if filtered.retained > 0 {
            let is_idle_marker = facts.discardable && batch.is_control();
            let needs_horizon = batch.magic() >= 2 && horizon.is_none() && (has_tombstone || is_idle_marker);
            if filtered.retained == filtered.read && !needs_horizon {
                Survivor::Whole
            } else {
                let due = self.now.saturating_add(self.delete_retention_ms);
                Survivor::Rewritten(self.rewrite(batch, if needs_horizon { Some(due) } else { horizon })?)
            }
        } else if keeps_header {
            match batch.header() {
                Some(header) => Survivor::Rewritten(Bytes::copy_from_slice(&emptied(&header).encode())),
                None => Survivor::Nothing,
            }
        } else {
            Survivor::Nothing
        };
        Ok(filtered)
    }

    fn retains(&self, batch: &Batch<'_>, record: &RecordView<'_>, invalid: &mut u64) -> bool {
        if record.offset > self.map.latest_offset() {
            return true;
        }
        let Some(key) = record.key else {
            *invalid += 1;
            return false;
        };
        if self.map.get(key).is_some_and(|latest| record.offset < latest) {
            return false;
        }
        let keeps_tombstones = match batch.magic() {
            0 | 1 => self.retains_legacy_tombstones,
            _ => batch.delete_horizon().is_none_or(|horizon| self.now < horizon),
        };
        record.value.is_some() || keeps_tombstones
    }

    /// The batch with the records that stay: under its offsets, sequences and timestamps.
    fn rewrite(&self, batch: &Batch<'_>, delete_horizon: Option<Millis>) -> Result<Bytes, RecordError> {
        let compression = Compression::of(batch.codec().unwrap_or(crate::record::Codec::None));
        let log_append_time = (batch.timestamp_type() == TimestampType::LogAppendTime).then(|| batch.max_timestamp());
        let stays = |record: &RecordView<'_>| batch.is_control() || self.retains(batch, record, &mut 0);
        let mut reader = records(batch)?;
        let Some(header) = batch.header() else {
            let mut set: Option<SetBuilder> = None;
            while let Some(record) = reader.next_record()? {
                if !stays(&record) {
                    continue;
                }
                let set = match &mut set {
                    Some(set) => set,
                    None => {
                        let new =
                            SetBuilder::new(batch.magic(), compression, log_append_time, record.offset, Vec::new())?;
                        set.insert(new)
                    }
                };
                set.append(record.offset, record.timestamp, record.key, record.value)?;
            }
            return set.map_or(Ok(Bytes::new()), |set| set.finish().map(Bytes::from));
        };
        let mut builder = BatchBuilder::new(BatchOptions {
            base_offset: header.base_offset,
            partition_leader_epoch: header.partition_leader_epoch,
            compression,
            log_append_time,
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            transactional: header.attributes.is_transactional(),
            control: header.attributes.is_control(),
            delete_horizon,
        })?;
        while let Some(record) = reader.next_record()? {
            if stays(&record) {
                builder.append_view(record.offset, &record)?;
            }
        }
        // The sequence of the producer's next batch follows from it.
        builder.override_last_offset(header.last_offset());
        builder.finish()
    }
}
