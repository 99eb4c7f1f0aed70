//! Owns the making of magic 2 batches, with any codec. Kafka: `MemoryRecordsBuilder`.

use super::batch::LOG_OVERHEAD;
use super::compression::{Compressor, unreadable};
use super::{
    Attributes, BatchHeader, Compression, HEADER_LEN, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP,
    RecordError, RecordView, TimestampType, record,
};
use crate::common::ids::{LeaderEpoch, Millis, Offset};
use bytes::Bytes;

/// A header key and its value, which may be null.
pub type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// What a batch is, apart from its records. The default is a plain batch at offset 0.
#[derive(Clone, Copy, Debug)]
pub struct BatchOptions {
    pub base_offset: Offset,
    pub partition_leader_epoch: LeaderEpoch,
    pub compression: Compression,
    /// `Some` makes the batch's timestamp type log append time.
    pub log_append_time: Option<Millis>,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub transactional: bool,
    pub control: bool,
    /// Set by the cleaner only; takes the place of the base timestamp.
    pub delete_horizon: Option<Millis>,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            base_offset: 0,
            partition_leader_epoch: LeaderEpoch::NONE,
            compression: Compression::None,
            log_append_time: None,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            transactional: false,
            control: false,
            delete_horizon: None,
        }
    }
}

/// Builds one batch. Records are compressed as they come.
pub struct BatchBuilder {
    options: BatchOptions,
    out: Compressor,
    /// One record before compression.
    scratch: Vec<u8>,
    base_timestamp: Option<Millis>,
    max_timestamp: Millis,
    last_offset: Option<Offset>,
    records_count: i32,
    uncompressed_bytes: u64,
}

impl BatchBuilder {
    pub fn new(options: BatchOptions) -> Result<Self, RecordError> {
        let out = Compressor::new(options.compression, 2, vec![0; HEADER_LEN]).map_err(|error| unreadable(&error))?;
        Ok(Self {
            options,
            out,
            scratch: Vec::new(),
            base_timestamp: options.delete_horizon,
            max_timestamp: NO_TIMESTAMP,
            last_offset: None,
            records_count: 0,
            uncompressed_bytes: HEADER_LEN as u64,
        })
    }

    /// Appends at the offset after the last. Errors as [`Self::append_at`].
    pub fn append(
        &mut self,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), RecordError> {
        let offset = self.last_offset.map_or(self.options.base_offset, |last| last.wrapping_add(1));
        self.append_at(offset, timestamp, key, value, headers)
    }

    /// Offsets must grow, and timestamps be -1 or more: else [`RecordError::Unclassified`], for which Kafka has no code
    /// either.
    pub fn append_at(
        &mut self,
        offset: Offset,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header<'_>],
    ) -> Result<(), RecordError> {
        self.push(offset, timestamp, key, value, headers.iter().copied())
    }

    /// Appends a record that was read somewhere else, under a new offset.
    pub fn append_view(&mut self, offset: Offset, record: &RecordView<'_>) -> Result<(), RecordError> {
        let headers: Vec<_> = record.headers.iter().collect();
        self.push(offset, record.timestamp, record.key, record.value, headers.iter().copied())
    }

    fn push<'h>(
        &mut self,
        offset: Offset,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl Iterator<Item = Header<'h>> + Clone,
    ) -> Result<(), RecordError> {
        if self.last_offset.is_some_and(|last| offset <= last) {
            return Err(RecordError::Unclassified(format!(
                "Illegal offset {offset} following a larger one (Offsets must increase monotonically)."
            )));
        }
        if timestamp < NO_TIMESTAMP {
            return Err(RecordError::Unclassified(format!("Invalid negative timestamp {timestamp}")));
        }
        let base = self.options.base_offset;
        let offset_delta = i32::try_from(offset.wrapping_sub(base)).map_err(|_| {
            RecordError::Unclassified(format!(
                "Maximum offset delta exceeded, base offset: {base}, last offset: {offset}"
            ))
        })?;
        let base_timestamp = *self.base_timestamp.get_or_insert(timestamp);
        self.scratch.clear();
        let timestamp_delta = timestamp.wrapping_sub(base_timestamp);
        record::write(&mut self.scratch, timestamp_delta, offset_delta, key, value, headers)?;
        self.out.write(&self.scratch).map_err(|error| unreadable(&error))?;
        self.uncompressed_bytes += self.scratch.len() as u64;
        self.records_count = self.records_count.wrapping_add(1);
        self.last_offset = Some(offset);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        Ok(())
    }

    /// Keeps the last offset of a batch whose last records were compacted away.
    pub fn override_last_offset(&mut self, offset: Offset) {
        self.last_offset = Some(offset);
    }

    pub fn records_count(&self) -> i32 {
        self.records_count
    }

    /// Bytes of the batch so far, less what the codec still holds back.
    pub fn size(&self) -> usize {
        self.out.len()
    }

    /// Bytes that the batch would have without compression.
    pub fn uncompressed_bytes(&self) -> u64 {
        self.uncompressed_bytes
    }

    /// The batch, checksum and all; no bytes at all if nothing was appended. A producer's batch without an epoch or a
    /// sequence is [`RecordError::Unclassified`], for which Kafka has no code either.
    pub fn finish(self) -> Result<Bytes, RecordError> {
        self.check_producer()?;
        let mut out = self.out.finish().map_err(|error| unreadable(&error))?;
        let Some(last_offset) = self.last_offset.filter(|_| self.records_count > 0) else {
            return Ok(Bytes::new());
        };
        let options = self.options;
        let delta = last_offset.wrapping_sub(options.base_offset);
        let mut header = BatchHeader {
            base_offset: options.base_offset,
            length: length(out.len())?,
            partition_leader_epoch: options.partition_leader_epoch,
            crc: 0,
            attributes: attributes(&options),
            last_offset_delta: i32::try_from(delta).map_err(|_| {
                RecordError::Unclassified(format!("Maximum offset delta exceeded, last offset: {last_offset}"))
            })?,
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: options.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: options.producer_id,
            producer_epoch: options.producer_epoch,
            base_sequence: options.base_sequence,
            records_count: self.records_count,
        };
        header.crc = header.compute_crc(&out[HEADER_LEN..]);
        out[..HEADER_LEN].copy_from_slice(&header.encode());
        Ok(out.into())
    }

    /// Kafka: `validateProducerState`.
    fn check_producer(&self) -> Result<(), RecordError> {
        let options = &self.options;
        let what = if options.producer_id == NO_PRODUCER_ID {
            options.transactional.then_some("Cannot write transactional messages without a valid producer ID")
        } else if options.producer_epoch == NO_PRODUCER_EPOCH {
            Some("Invalid negative producer epoch")
        } else {
            (options.base_sequence < 0 && !options.control).then_some("Invalid negative sequence number used")
        };
        what.map_or(Ok(()), |what| Err(RecordError::Unclassified(what.to_owned())))
    }
}

fn length(size: usize) -> Result<i32, RecordError> {
    i32::try_from(size - LOG_OVERHEAD)
        .map_err(|_| RecordError::Invalid(format!("A batch of {size} bytes has no length field")))
}

fn attributes(options: &BatchOptions) -> Attributes {
    let timestamp_type =
        if options.log_append_time.is_some() { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
    Attributes::default()
        .with_codec(options.compression.codec())
        .with_timestamp_type(timestamp_type)
        .with_transactional(options.transactional)
        .with_control(options.control)
        .with_delete_horizon(options.delete_horizon.is_some())
}

/// The header that is all that remains of a batch after compaction, kept for its producer's sequence. Kafka:
/// `DefaultRecordBatch.writeEmptyHeader`.
pub fn emptied(header: &BatchHeader) -> BatchHeader {
    let mut empty = BatchHeader {
        length: (HEADER_LEN - LOG_OVERHEAD) as i32,
        attributes: header.attributes.with_codec(super::Codec::None).with_delete_horizon(false),
        base_timestamp: NO_TIMESTAMP,
        records_count: 0,
        ..*header
    };
    empty.crc = empty.compute_crc(&[]);
    empty
}
