//! Owns the decision whether produced bytes may enter a log, and in which form. Kafka: `LogValidator`, the checks of
//! `UnifiedLog.analyzeAndValidateRecords` and `ProduceRequest.validateRecords`.
//!
//! Everything is decided here except offsets and the leader epoch, so no partition lock is held: `base_offset` counts
//! from 0 over the append, and the log adds its end offset. Neither field is under the checksum.

use super::legacy;
use super::reader::{Skim, codec_of};
use super::record::{self, Skimmed};
use super::{
    Batch, BatchBuilder, BatchHeader, BatchOptions, Codec, Compression, HEADER_LEN, NO_TIMESTAMP, RecordError,
    TimestampType, batches, records,
};
use crate::common::ErrorCode;
use crate::common::ids::{Millis, Offset, TopicPartition};
use bytes::Bytes;

/// Most refused records that an answer lists. Kafka has no limit; here a few compressed kilobytes may hold millions of
/// records to refuse.
pub const RECORD_ERRORS_MAX: usize = 10_000;
/// Refused records that the message itself shows.
const RECORD_ERRORS_SHOWN: usize = 3;
/// The first Produce version that carries nothing but magic 2.
const PRODUCE_V2_BATCHES: i16 = 3;
/// The first Produce version that may carry zstd.
const PRODUCE_ZSTD: i16 = 7;

/// Who appends. Kafka: `AppendOrigin`, of which replication takes bytes as they are and never comes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A produce request: batches are numbered from 0, and control records are refused.
    Client,
    /// A coordinator of this broker: offsets, group metadata, transaction state and markers.
    Coordinator,
}

/// What the validation of one append depends on: the topic's configuration and the time.
#[derive(Clone, Copy, Debug)]
pub struct ValidationContext<'a> {
    /// Named in the texts.
    pub topic_partition: &'a TopicPartition,
    pub now: Millis,
    pub origin: AppendOrigin,
    /// `compression.type` with its level; `None` is `producer`, which keeps the codec of the batch.
    pub compression: Option<Compression>,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: Millis,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: Millis,
    /// Whether `cleanup.policy` has `compact`: every record needs a key.
    pub compacted: bool,
    /// `max.message.bytes`, of a whole batch.
    pub max_message_bytes: usize,
}

/// Batches that may be written once their offsets and leader epoch are filled in.
#[derive(Clone, Debug)]
pub struct ValidatedBatches {
    /// In the order of their offsets. At most one in this version: magic 2 allows one batch an append, and older
    /// messages are put together into one. Empty when the bytes held no whole batch, which is no error.
    pub batches: Vec<ValidatedBatch>,
    /// Largest timestamp of the append: `now` under log append time, -1 when no record has one.
    pub max_timestamp: Millis,
    /// What the answer reports as log append time: `now` under log append time, else -1.
    pub log_append_time: Millis,
    /// Bytes of the whole batches that came in.
    pub source_bytes: usize,
    pub conversion: ConversionStats,
}

/// One batch of magic 2.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    /// To be written in place of the first 61 bytes. `base_offset` counts from 0 over the append.
    pub header: BatchHeader,
    /// The whole batch. The first 61 bytes may be stale; what follows is to be written as it is. A slice of what came
    /// in, unless the records had to be rewritten.
    pub bytes: Bytes,
    /// Where the largest timestamp is, for the time index: the batch's last offset, counted like `base_offset`. -1
    /// without timestamps.
    pub offset_of_max_timestamp: Offset,
}

/// Kafka: `RecordValidationStats`, without the time, which the caller measures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConversionStats {
    /// Bytes before compression that were held or skimmed in a rewrite or a check of compressed data.
    pub temporary_memory_bytes: u64,
    /// Records that were written anew.
    pub records_converted: u32,
}

/// Why an append was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The whole batch. Clients get the code, not the text.
    #[error(transparent)]
    Batch(#[from] RecordError),
    /// A batch above `max.message.bytes`, as it came or as it was rewritten.
    #[error("{0}")]
    TooLarge(String),
    /// Single records. Clients of Produce 8 and later also get the text and the errors.
    #[error("{message}")]
    Records { code: ErrorCode, message: String, errors: Vec<RecordRefusal> },
}

/// Why one record was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordRefusal {
    /// Its place in the batch, from 0.
    pub batch_index: i32,
    pub message: String,
}

impl ValidateError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Batch(error) => error.code(),
            Self::TooLarge(_) => ErrorCode::MessageTooLarge,
            Self::Records { code, .. } => *code,
        }
    }

    /// The text that a produce response carries, if this error has one for clients.
    pub fn client_message(&self) -> Option<&str> {
        match self {
            Self::Records { message, .. } => Some(message),
            Self::Batch(_) | Self::TooLarge(_) => None,
        }
    }

    pub fn record_errors(&self) -> &[RecordRefusal] {
        match self {
            Self::Records { errors, .. } => errors,
            Self::Batch(_) | Self::TooLarge(_) => &[],
        }
    }
}

/// What a produce request of `version` may carry for one partition, before anything else is looked at. Versions below 3
/// are not held to a magic: Kafka never did.
pub fn check_request(version: i16, records: &[u8]) -> Result<(), RecordError> {
    if version < PRODUCE_V2_BATCHES {
        return Ok(());
    }
    let mut entries = batches(records);
    let what = match entries.next().transpose()? {
        None => "must have at least one record batch per partition",
        Some(first) if first.magic() != 2 => "are only allowed to contain record batches with magic version 2",
        Some(first) if version < PRODUCE_ZSTD && first.codec() == Some(Codec::Zstd) => {
            return Err(RecordError::UnsupportedCodec(format!(
                "Produce requests with version {version} are not allowed to use ZStandard compression"
            )));
        }
        Some(_) if entries.next().transpose()?.is_some() => {
            "are only allowed to contain exactly one record batch per partition"
        }
        Some(_) => return Ok(()),
    };
    Err(RecordError::Invalid(format!("Produce requests with version {version} {what}")))
}

/// Decides over the records of one partition: the bytes of a produce request, or what a coordinator appends. A partial
/// batch at the end is ignored.
///
/// The order of the checks is Kafka's, since it decides which error a client sees: size and checksum of every batch,
/// then the batch's own fields, then its records.
pub fn validate(records: &Bytes, ctx: &ValidationContext<'_>) -> Result<ValidatedBatches, ValidateError> {
    let Some(source) = Source::analyze(records, ctx)? else {
        return Ok(ValidatedBatches {
            batches: Vec::new(),
            max_timestamp: NO_TIMESTAMP,
            log_append_time: log_append_time(ctx).unwrap_or(NO_TIMESTAMP),
            source_bytes: 0,
            conversion: ConversionStats::default(),
        });
    };
    if source.count > 1 && (source.first.magic() >= 2 || source.codec != Codec::None) {
        return Err(RecordError::Invalid("Compressed outer record has more than one batch".to_owned()).into());
    }
    let target = ctx.compression.unwrap_or_else(|| Compression::of(source.codec));
    // Control records are only compressed if they came compressed.
    let is_plain_control = source.codec == Codec::None && source.first.is_control();
    let header = source.first.header().filter(|_| source.codec == target.codec() || is_plain_control);

    let mut check = Check::new(ctx, header.is_some());
    for batch in batches(&records[..source.bytes]) {
        let batch = batch?;
        check_batch(&source.first, &batch, ctx)?;
        check.batch(&batch)?;
    }
    match header {
        // Some clients number their records wrongly. Kafka renumbers what it can and so do we, but Kafka overlooks
        // wrong numbers in plain batches and cannot renumber compressed ones of magic 2.
        Some(header) if check.consecutive || is_plain_control => Ok(in_place(records, &source, header, &check, ctx)),
        _ => rebuild(records, &source, target, &check, ctx),
    }
}

/// What the first pass over the entries finds.
struct Source<'a> {
    first: Batch<'a>,
    count: usize,
    /// The last codec that is one. More than one compressed entry is refused later.
    codec: Codec,
    /// Bytes of the whole entries.
    bytes: usize,
}

impl<'a> Source<'a> {
    /// Kafka: `UnifiedLog.analyzeAndValidateRecords`. This is the pass over the payload, for its checksum.
    fn analyze(records: &'a [u8], ctx: &ValidationContext<'_>) -> Result<Option<Self>, ValidateError> {
        let tp = ctx.topic_partition;
        let mut source: Option<Self> = None;
        for batch in batches(records) {
            let batch = batch?;
            if batch.magic() >= 2 && ctx.origin == AppendOrigin::Client && batch.base_offset() != 0 {
                let base = batch.base_offset();
                return Err(RecordError::Invalid(format!(
                    "The baseOffset of the record batch in the append to {tp} should be 0, but it is {base}"
                ))
                .into());
            }
            if batch.size() > ctx.max_message_bytes {
                return Err(ValidateError::TooLarge(format!(
                    "The record batch size in the append to {tp} is {} bytes which exceeds the maximum configured \
                     value of {}.",
                    batch.size(),
                    ctx.max_message_bytes
                )));
            }
            if batch.crc() != batch.compute_crc() {
                let stored = batch.crc();
                return Err(RecordError::Corrupt(format!(
                    "Record is corrupt (stored crc = {stored}) in topic partition {tp}."
                ))
                .into());
            }
            let codec = codec_of(&batch)?;
            let source = source.get_or_insert(Self { first: batch, count: 0, codec, bytes: 0 });
            source.count += 1;
            source.bytes += batch.size();
            if codec != Codec::None {
                source.codec = codec;
            }
        }
        Ok(source)
    }
}

/// Kafka: `LogValidator.validateBatch`.
fn check_batch(first: &Batch<'_>, batch: &Batch<'_>, ctx: &ValidationContext<'_>) -> Result<(), RecordError> {
    let tp = ctx.topic_partition;
    let invalid = |what: String| Err(RecordError::Invalid(format!("{what} in topic partition {tp}")));
    if batch.magic() != first.magic() {
        let (magic, first) = (batch.magic(), first.magic());
        return invalid(format!("Batch magic {magic} is not the same as the first batch's magic byte {first}"));
    }
    if ctx.origin != AppendOrigin::Client {
        return Ok(());
    }
    if let Some(count) = batch.records_count() {
        let (base, last) = (batch.base_offset(), batch.last_offset());
        let offsets = last.wrapping_sub(base).wrapping_add(1);
        if offsets <= 0 {
            return invalid(format!("Batch has an invalid offset range: [{base}, {last}]"));
        }
        if count <= 0 {
            return invalid(format!("Invalid reported count for record batch: {count}"));
        }
        if offsets != i64::from(count) {
            return invalid(format!("Inconsistent batch offset range [{base}, {last}] and count of records {count}"));
        }
    }
    if batch.is_control() {
        return invalid("Clients are not allowed to write control records".to_owned());
    }
    if batch.has_producer_id() && batch.base_sequence() < 0 {
        let (sequence, id) = (batch.base_sequence(), batch.producer_id());
        return invalid(format!("Invalid sequence number {sequence} in record batch with producerId {id}"));
    }
    Ok(())
}

/// The walk over the records, and what it finds.
struct Check<'c> {
    ctx: &'c ValidationContext<'c>,
    rules: Rules,
    /// Whether the records will stay as they are; Kafka then shows them differently in its texts.
    in_place: bool,
    refused: Refused,
    max_timestamp: Millis,
    consecutive: bool,
    records: u32,
    /// Of compressed entries only, with a header for each.
    uncompressed_bytes: u64,
}

impl<'c> Check<'c> {
    fn new(ctx: &'c ValidationContext<'c>, in_place: bool) -> Self {
        Self {
            ctx,
            rules: Rules::of(ctx),
            in_place,
            refused: Refused::default(),
            max_timestamp: NO_TIMESTAMP,
            consecutive: true,
            records: 0,
            uncompressed_bytes: 0,
        }
    }

    fn batch(&mut self, batch: &Batch<'_>) -> Result<(), ValidateError> {
        let first = self.records;
        match batch.header() {
            None => self.legacy(batch, first)?,
            Some(header) if header.attributes.codec() == Some(Codec::None) => self.plain(batch.body(), &header)?,
            Some(header) => self.packed(batch, &header)?,
        }
        self.refused.outcome()
    }

    /// The hot path: lengths are walked, payload is not touched, nothing is allocated.
    fn plain(&mut self, mut rest: &[u8], header: &BatchHeader) -> Result<(), RecordError> {
        let times = Times::of(header);
        let rules = self.rules;
        let (mut max_timestamp, mut consecutive) = (self.max_timestamp, true);
        for index in 0..header.records_count {
            let seen = match record::skim(rest) {
                Some(seen) => seen,
                None => {
                    let mut after = rest;
                    let raw = record::read(&mut after)?;
                    raw.skimmed(rest.len() - after.len())
                }
            };
            rest = &rest[seen.size..];
            let timestamp = times.timestamp(&seen);
            if !rules.allow(seen.key_size >= 0, timestamp, times.kind) {
                self.refuse_v2(index, &seen, header);
            }
            max_timestamp = max_timestamp.max(timestamp);
            consecutive &= seen.offset_delta == index;
        }
        self.max_timestamp = max_timestamp;
        self.consecutive &= consecutive;
        self.records += header.records_count.max(0) as u32;
        if rest.is_empty() { Ok(()) } else { Err(record::records_remain()) }
    }

    fn packed(&mut self, batch: &Batch<'_>, header: &BatchHeader) -> Result<(), RecordError> {
        let times = Times::of(header);
        let mut skim = Skim::new(batch)?;
        let mut index = 0;
        self.uncompressed_bytes += HEADER_LEN as u64;
        while let Some(seen) = skim.next_record()? {
            self.uncompressed_bytes += seen.size as u64;
            let timestamp = times.timestamp(&seen);
            if !self.rules.allow(seen.key_size >= 0, timestamp, times.kind) {
                self.refuse_v2(index, &seen, header);
            }
            self.max_timestamp = self.max_timestamp.max(timestamp);
            self.consecutive &= seen.offset_delta == index;
            self.records += 1;
            index += 1;
        }
        Ok(())
    }

    #[cold]
    fn refuse_v2(&mut self, index: i32, seen: &Skimmed, header: &BatchHeader) {
        let offset = header.base_offset.wrapping_add(i64::from(seen.offset_delta));
        let times = Times::of(header);
        let timestamp = times.timestamp(seen);
        let (name, least) = match header.attributes.codec() {
            Some(Codec::None) => ("DefaultRecord", 0),
            _ if self.in_place => ("PartialDefaultRecord", i32::MIN),
            _ => ("DefaultRecord", 0),
        };
        let (key, value) = (seen.key_size.max(least), seen.value_size.max(least));
        self.refuse(index, offset, seen.key_size >= 0, timestamp, || {
            format!("{name}(offset={offset}, timestamp={timestamp}, key={key} bytes, value={value} bytes)")
        });
    }

    fn legacy(&mut self, batch: &Batch<'_>, first: u32) -> Result<(), RecordError> {
        let compressed = batch.is_compressed();
        let mut messages = legacy::messages(batch)?;
        if compressed {
            self.uncompressed_bytes += HEADER_LEN as u64;
        }
        while let Some(message) = messages.next_message()? {
            let index = (self.records - first) as i32;
            self.records += 1;
            if compressed {
                self.uncompressed_bytes += message.size() as u64;
            }
            if message.magic != batch.magic() {
                let (magic, tp) = (batch.magic(), self.ctx.topic_partition);
                self.refused.push(ErrorCode::InvalidRecord, index, || {
                    format!("Record {message}'s magic does not match outer magic {magic} in topic partition {tp}")
                });
                continue;
            }
            if compressed {
                message.check_crc()?;
            }
            let (has_key, timestamp) = (message.key.is_some(), message.timestamp);
            if !self.rules.allow(has_key, timestamp, batch.timestamp_type()) {
                self.refuse(index, message.offset, has_key, timestamp, || message.to_string());
            }
        }
        Ok(())
    }

    /// Says what [`Rules::allow`] has against a record.
    #[cold]
    fn refuse(&mut self, index: i32, offset: Offset, has_key: bool, timestamp: Millis, show: impl FnOnce() -> String) {
        let (rules, tp) = (self.rules, self.ctx.topic_partition);
        if rules.compacted && !has_key {
            self.refused.push(ErrorCode::InvalidRecord, index, || {
                format!("Compacted topic cannot accept message without key in topic partition {tp}")
            });
        } else if rules.create_time && timestamp != NO_TIMESTAMP {
            let (oldest, newest) = (rules.now.wrapping_sub(rules.before_max), rules.now.wrapping_add(rules.after_max));
            self.refused.push(ErrorCode::InvalidTimestamp, index, || {
                format!(
                    "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be \
                     within [{oldest}, {newest}]"
                )
            });
        } else {
            self.refused.push(ErrorCode::InvalidTimestamp, index, || {
                let shown = show();
                format!(
                    "Invalid timestamp type in message {shown}. Producer should not set timestamp type to \
                     LogAppendTime."
                )
            });
        }
    }
}

/// Where the timestamps of a magic 2 batch come from.
#[derive(Clone, Copy)]
struct Times {
    kind: TimestampType,
    base: Millis,
    max: Millis,
}

impl Times {
    fn of(header: &BatchHeader) -> Self {
        let kind = header.attributes.timestamp_type();
        Self { kind, base: header.base_timestamp, max: header.max_timestamp }
    }

    #[inline]
    fn timestamp(self, seen: &Skimmed) -> Millis {
        match self.kind {
            TimestampType::CreateTime => self.base.wrapping_add(seen.timestamp_delta),
            TimestampType::LogAppendTime => self.max,
        }
    }
}

/// What a topic demands of each record. Kafka: `validateKey` and `validateTimestamp`; one error a record, the key's
/// first.
#[derive(Clone, Copy)]
struct Rules {
    compacted: bool,
    /// Whether the topic, not the batch, has create times.
    create_time: bool,
    now: Millis,
    before_max: Millis,
    after_max: Millis,
}

impl Rules {
    fn of(ctx: &ValidationContext<'_>) -> Self {
        Self {
            compacted: ctx.compacted,
            create_time: ctx.timestamp_type == TimestampType::CreateTime,
            now: ctx.now,
            before_max: ctx.timestamp_before_max_ms,
            after_max: ctx.timestamp_after_max_ms,
        }
    }

    #[inline]
    fn allow(self, has_key: bool, timestamp: Millis, batch: TimestampType) -> bool {
        if self.compacted && !has_key {
            return false;
        }
        if self.create_time && timestamp != NO_TIMESTAMP {
            let age = self.now.wrapping_sub(timestamp);
            return age <= self.before_max && age.wrapping_neg() <= self.after_max;
        }
        batch != TimestampType::LogAppendTime
    }
}

/// The refused records of one batch.
#[derive(Default)]
struct Refused {
    errors: Vec<RecordRefusal>,
    count: usize,
    any_timestamp: bool,
}

impl Refused {
    #[cold]
    fn push(&mut self, code: ErrorCode, batch_index: i32, message: impl FnOnce() -> String) {
        self.count += 1;
        self.any_timestamp |= code == ErrorCode::InvalidTimestamp;
        if self.errors.len() < RECORD_ERRORS_MAX {
            self.errors.push(RecordRefusal { batch_index, message: message() });
        }
    }

    /// Kafka: `processRecordErrors`.
    fn outcome(&mut self) -> Result<(), ValidateError> {
        if self.count == 0 {
            return Ok(());
        }
        let errors = std::mem::take(&mut self.errors);
        let (code, message) = if self.any_timestamp {
            let message = "One or more records have been rejected due to invalid timestamp".to_owned();
            (ErrorCode::InvalidTimestamp, message)
        } else {
            let shown: Vec<_> = errors.iter().take(RECORD_ERRORS_SHOWN).map(ToString::to_string).collect();
            let message = format!(
                "One or more records have been rejected due to {} record errors in total, and only showing the first \
                 three errors at most: [{}]",
                self.count,
                shown.join(", ")
            );
            (ErrorCode::InvalidRecord, message)
        };
        Err(ValidateError::Records { code, message, errors })
    }
}

impl std::fmt::Display for RecordRefusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RecordError(batchIndex={}, message='{}')", self.batch_index, self.message)
    }
}

fn log_append_time(ctx: &ValidationContext<'_>) -> Option<Millis> {
    (ctx.timestamp_type == TimestampType::LogAppendTime).then_some(ctx.now)
}

/// The records stay as they are; the header may get another maxTimestamp and timestamp type, and then a new checksum.
fn in_place(
    records: &Bytes,
    source: &Source<'_>,
    mut header: BatchHeader,
    check: &Check<'_>,
    ctx: &ValidationContext<'_>,
) -> ValidatedBatches {
    let max_timestamp = log_append_time(ctx).unwrap_or(check.max_timestamp);
    if header.attributes.timestamp_type() != ctx.timestamp_type || header.max_timestamp != max_timestamp {
        header.attributes = header.attributes.known().with_timestamp_type(ctx.timestamp_type);
        header.max_timestamp = max_timestamp;
        header.crc = header.compute_crc(&source.first.bytes()[HEADER_LEN..]);
    }
    let last_offset = i64::from(check.records) - 1;
    header.base_offset = last_offset.wrapping_sub(i64::from(header.last_offset_delta));
    let offset_of_max_timestamp = if max_timestamp == NO_TIMESTAMP { NO_OFFSET } else { last_offset };
    ValidatedBatches {
        batches: vec![ValidatedBatch { header, bytes: records.slice(..source.bytes), offset_of_max_timestamp }],
        max_timestamp,
        log_append_time: log_append_time(ctx).unwrap_or(NO_TIMESTAMP),
        source_bytes: source.bytes,
        conversion: ConversionStats { temporary_memory_bytes: check.uncompressed_bytes, records_converted: 0 },
    }
}

const NO_OFFSET: Offset = -1;

/// The records are written anew as one batch: another codec, an older magic, or wrong inner offsets. They were checked
/// before and are read as a stream once more, so that no batch is ever held unpacked.
fn rebuild(
    records: &Bytes,
    source: &Source<'_>,
    target: Compression,
    check: &Check<'_>,
    ctx: &ValidationContext<'_>,
) -> Result<ValidatedBatches, ValidateError> {
    let mut builder = BatchBuilder::new(BatchOptions {
        compression: target,
        log_append_time: log_append_time(ctx),
        producer_id: source.first.producer_id(),
        producer_epoch: source.first.producer_epoch(),
        base_sequence: source.first.base_sequence(),
        transactional: source.first.is_transactional(),
        ..BatchOptions::default()
    })?;
    let mut offset = 0;
    for batch in batches(&records[..source.bytes]) {
        let mut reader = self::records(&batch?)?;
        while let Some(record) = reader.next_record()? {
            builder.append_view(offset, &record)?;
            offset += 1;
            too_large(builder.size(), ctx)?;
        }
    }
    let uncompressed = builder.uncompressed_bytes();
    let bytes = builder.finish()?;
    too_large(bytes.len(), ctx)?;
    let header = BatchHeader::parse(&bytes)?;
    let offset_of_max_timestamp = if header.max_timestamp == NO_TIMESTAMP { NO_OFFSET } else { header.last_offset() };
    Ok(ValidatedBatches {
        max_timestamp: header.max_timestamp,
        log_append_time: log_append_time(ctx).unwrap_or(NO_TIMESTAMP),
        source_bytes: source.bytes,
        conversion: ConversionStats {
            temporary_memory_bytes: check.uncompressed_bytes + uncompressed,
            records_converted: check.records,
        },
        batches: vec![ValidatedBatch { header, bytes, offset_of_max_timestamp }],
    })
}

fn too_large(size: usize, ctx: &ValidationContext<'_>) -> Result<(), ValidateError> {
    if size <= ctx.max_message_bytes {
        return Ok(());
    }
    Err(ValidateError::TooLarge(format!(
        "Message batch size is {size} bytes in append to partition {} which exceeds the maximum configured size of {}.",
        ctx.topic_partition, ctx.max_message_bytes
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::golden::{self, hex};
    use crate::record::{Attributes, control::EndTransactionMarker};

    const NOW: Millis = 1_700_000_000_100;

    struct Topic {
        tp: TopicPartition,
        origin: AppendOrigin,
        compression: Option<Compression>,
        timestamp_type: TimestampType,
        before_max: Millis,
        after_max: Millis,
        compacted: bool,
        max_message_bytes: usize,
    }

    impl Topic {
        fn new() -> Self {
            Self {
                tp: TopicPartition::new("t", 0),
                origin: AppendOrigin::Client,
                compression: None,
                timestamp_type: TimestampType::CreateTime,
                before_max: i64::MAX,
                after_max: 3_600_000,
                compacted: false,
                max_message_bytes: 1_048_588,
            }
        }

        fn validate(&self, records: &[u8]) -> Result<ValidatedBatches, ValidateError> {
            self.validate_bytes(&Bytes::copy_from_slice(records))
        }

        fn validate_bytes(&self, records: &Bytes) -> Result<ValidatedBatches, ValidateError> {
            let ctx = ValidationContext {
                topic_partition: &self.tp,
                now: NOW,
                origin: self.origin,
                compression: self.compression,
                timestamp_type: self.timestamp_type,
                timestamp_before_max_ms: self.before_max,
                timestamp_after_max_ms: self.after_max,
                compacted: self.compacted,
                max_message_bytes: self.max_message_bytes,
            };
            let validated = validate(records, &ctx)?;
            for batch in &validated.batches {
                let mut bytes = batch.bytes.to_vec();
                bytes[..HEADER_LEN].copy_from_slice(&batch.header.encode());
                let whole = Batch::first(&bytes).unwrap().unwrap();
                assert_eq!(whole.size(), bytes.len());
                whole.check_crc().expect("what is written has a good checksum");
            }
            Ok(validated)
        }

        fn error(&self, records: &[u8]) -> ValidateError {
            self.validate(records).expect_err("refused")
        }
    }

    /// A batch of `records` (key, value, timestamp) as a producer sends it.
    fn batch(options: BatchOptions, records: &[(Option<&str>, &str, Millis)]) -> Bytes {
        let mut builder = BatchBuilder::new(options).unwrap();
        for (key, value, timestamp) in records {
            builder.append(*timestamp, key.map(str::as_bytes), Some(value.as_bytes()), &[]).unwrap();
        }
        builder.finish().unwrap()
    }

    fn produced(compression: Compression) -> Bytes {
        let options = BatchOptions { compression, ..BatchOptions::default() };
        batch(options, &[(Some("a"), "1", NOW - 3), (Some("b"), "2", NOW - 1), (Some("c"), "3", NOW - 2)])
    }

    /// `bytes` with its header changed and a good checksum.
    fn reheaded(bytes: &[u8], change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
        let mut header = BatchHeader::parse(bytes).unwrap();
        change(&mut header);
        header.crc = header.compute_crc(&bytes[HEADER_LEN..]);
        [&header.encode()[..], &bytes[HEADER_LEN..]].concat()
    }

    /// Offset, timestamp, key, value.
    type Seen = (Offset, Millis, Option<Vec<u8>>, Option<Vec<u8>>);

    fn read_all(batch: &ValidatedBatch) -> Vec<Seen> {
        let bytes = [&batch.header.encode()[..], &batch.bytes[HEADER_LEN..]].concat();
        let whole = Batch::first(&bytes).unwrap().unwrap();
        let mut reader = records(&whole).unwrap();
        let mut out = Vec::new();
        while let Some(r) = reader.next_record().unwrap() {
            out.push((r.offset, r.timestamp, r.key.map(<[u8]>::to_vec), r.value.map(<[u8]>::to_vec)));
        }
        out
    }

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip(-1), Compression::Snappy, Compression::Lz4(9), Compression::Zstd(3)];

    #[test]
    fn a_good_batch_of_any_codec_is_taken_as_it_is_without_a_copy() {
        for codec in CODECS {
            let bytes = produced(codec);
            let validated = Topic::new().validate_bytes(&bytes).unwrap();
            let [one] = &validated.batches[..] else { panic!("one batch") };
            assert_eq!(one.bytes.as_ptr(), bytes.as_ptr());
            assert_eq!(one.header, BatchHeader::parse(&bytes).unwrap());
            assert_eq!((validated.max_timestamp, one.offset_of_max_timestamp), (NOW - 1, 2));
            assert_eq!(validated.log_append_time, NO_TIMESTAMP);
            assert_eq!(validated.source_bytes, bytes.len());
            assert_eq!(validated.conversion.records_converted, 0);
        }
    }

    #[test]
    fn a_partial_batch_at_the_end_is_ignored() {
        let bytes = produced(Compression::None);
        let torn = [&bytes[..], &bytes[..50]].concat();
        let validated = Topic::new().validate(&torn).unwrap();
        assert_eq!((validated.source_bytes, validated.batches[0].bytes.len()), (bytes.len(), bytes.len()));
        assert!(Topic::new().validate(&bytes[..60]).unwrap().batches.is_empty());
        assert!(Topic::new().validate(&[]).unwrap().batches.is_empty());
    }

    #[test]
    fn a_flipped_bit_is_corrupt_before_anything_else_is_said() {
        let mut bytes = produced(Compression::None).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        let topic = Topic { compacted: true, ..Topic::new() };
        assert_eq!(topic.error(&bytes).code(), ErrorCode::CorruptMessage);
        assert_eq!(topic.error(&bytes).client_message(), None);
    }

    #[test]
    fn max_message_bytes_counts_the_whole_batch() {
        let bytes = produced(Compression::None);
        let fits = Topic { max_message_bytes: bytes.len(), ..Topic::new() };
        assert!(fits.validate(&bytes).is_ok());
        let tight = Topic { max_message_bytes: bytes.len() - 1, ..Topic::new() };
        assert_eq!(tight.error(&bytes).code(), ErrorCode::MessageTooLarge);
    }

    #[test]
    fn a_rewritten_batch_is_measured_again() {
        let options = BatchOptions { compression: Compression::Zstd(3), ..BatchOptions::default() };
        let value = "v".repeat(10_000);
        let bytes = batch(options, &[(None, &value, NOW)]);
        let topic = Topic { compression: Some(Compression::None), max_message_bytes: 1_000, ..Topic::new() };
        assert_eq!(topic.error(&bytes).code(), ErrorCode::MessageTooLarge);
    }

    #[test]
    fn batch_fields_that_clients_may_not_send_are_invalid_records() {
        let good = produced(Compression::None);
        type Change = fn(&mut BatchHeader);
        let changes: [(&str, Change); 8] = [
            ("base offset", |h| h.base_offset = 1),
            ("count too large", |h| h.records_count = 4),
            ("count zero", |h| h.records_count = 0),
            ("count negative", |h| h.records_count = -1),
            ("offset range", |h| h.last_offset_delta = -1),
            ("range and count differ", |h| h.last_offset_delta = 7),
            ("control", |h| h.attributes = h.attributes.with_control(true)),
            ("sequence", |h| (h.producer_id, h.producer_epoch) = (1, 0)),
        ];
        for (what, change) in changes {
            let error = Topic::new().error(&reheaded(&good, change));
            assert_eq!((error.code(), error.client_message()), (ErrorCode::InvalidRecord, None), "{what}");
        }
    }

    #[test]
    fn a_coordinator_may_write_control_records_and_they_are_never_compressed() {
        let marker = EndTransactionMarker { committed: true, coordinator_epoch: 12 };
        let bytes = marker.batch(0, crate::common::ids::LeaderEpoch::NONE, NOW, 4000, 3).unwrap();
        let topic = Topic {
            origin: AppendOrigin::Coordinator,
            compression: Some(Compression::Lz4(9)),
            compacted: true,
            ..Topic::new()
        };
        let validated = topic.validate(&bytes).unwrap();
        assert_eq!(validated.batches[0].header, BatchHeader::parse(&bytes).unwrap());
        assert_eq!(Topic::new().error(&bytes).code(), ErrorCode::InvalidRecord);
    }

    #[test]
    fn one_request_is_one_batch() {
        let bytes = produced(Compression::None);
        let error = Topic::new().error(&[&bytes[..], &bytes[..]].concat());
        assert_eq!(error.code(), ErrorCode::InvalidRecord);
    }

    #[test]
    fn a_record_count_that_the_records_do_not_bear_out_is_invalid() {
        for codec in CODECS {
            for count in [2, 4] {
                let bytes = reheaded(&produced(codec), |h| {
                    h.records_count = count;
                    h.last_offset_delta = count - 1;
                });
                assert_eq!(Topic::new().error(&bytes).code(), ErrorCode::InvalidRecord, "{codec:?} {count}");
            }
        }
    }

    #[test]
    fn an_unknown_codec_has_no_error_code_of_its_own() {
        let bytes = reheaded(&produced(Compression::None), |h| h.attributes = Attributes(5));
        assert_eq!(Topic::new().error(&bytes).code(), ErrorCode::UnknownServerError);
    }

    #[test]
    fn a_damaged_stream_under_a_good_checksum_has_no_error_code_of_its_own() {
        for codec in &CODECS[1..] {
            let mut bytes = produced(*codec).to_vec();
            let end = bytes.len();
            bytes[HEADER_LEN] ^= 0xff;
            bytes[end - 3] ^= 0xff;
            let error = Topic::new().error(&reheaded(&bytes, |_| ()));
            assert!(matches!(error.code(), ErrorCode::UnknownServerError), "{codec:?} {error}");
        }
    }

    #[test]
    fn compacted_topics_want_keys_and_name_the_records_without() {
        for codec in CODECS {
            let options = BatchOptions { compression: codec, ..BatchOptions::default() };
            let bytes = batch(options, &[(None, "1", NOW), (Some("k"), "2", NOW), (None, "3", NOW)]);
            let error = Topic { compacted: true, ..Topic::new() }.error(&bytes);
            assert_eq!(error.code(), ErrorCode::InvalidRecord);
            let refused = |batch_index| RecordRefusal {
                batch_index,
                message: "Compacted topic cannot accept message without key in topic partition t-0".to_owned(),
            };
            assert_eq!(error.record_errors(), [refused(0), refused(2)]);
            assert_eq!(
                error.client_message(),
                Some(
                    "One or more records have been rejected due to 2 record errors in total, and only showing the \
                     first three errors at most: [RecordError(batchIndex=0, message='Compacted topic cannot accept \
                     message without key in topic partition t-0'), RecordError(batchIndex=2, message='Compacted topic \
                     cannot accept message without key in topic partition t-0')]"
                )
            );
        }
    }

    #[test]
    fn create_times_must_lie_in_the_window_and_win_over_missing_keys() {
        let topic = Topic { before_max: 10, after_max: 5, compacted: true, ..Topic::new() };
        let key = Some("k");
        let edges = [(key, "", NOW - 10), (key, "", NOW + 5), (key, "", NO_TIMESTAMP)];
        assert!(topic.validate(&batch(BatchOptions::default(), &edges)).is_ok());
        let bytes = batch(BatchOptions::default(), &[(None, "", NOW), (key, "", NOW - 11), (key, "", NOW + 6)]);
        let error = topic.error(&bytes);
        assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
        assert_eq!(error.client_message(), Some("One or more records have been rejected due to invalid timestamp"));
        let indexes: Vec<_> = error.record_errors().iter().map(|e| e.batch_index).collect();
        assert_eq!(indexes, [0, 1, 2]);
        assert_eq!(
            error.record_errors()[1].message,
            "Timestamp 1700000000089 of message with offset 1 is out of range. The timestamp should be within \
             [1700000000090, 1700000000105]"
        );
    }

    #[test]
    fn log_append_time_replaces_the_timestamp_and_keeps_the_records() {
        let topic = Topic { timestamp_type: TimestampType::LogAppendTime, before_max: 0, after_max: 0, ..Topic::new() };
        for codec in CODECS {
            let bytes = produced(codec);
            let validated = topic.validate_bytes(&bytes).unwrap();
            let one = &validated.batches[0];
            assert_eq!(one.bytes.as_ptr(), bytes.as_ptr());
            assert_eq!(one.header.attributes.timestamp_type(), TimestampType::LogAppendTime);
            assert_eq!((one.header.max_timestamp, one.offset_of_max_timestamp), (NOW, 2));
            assert_eq!((validated.max_timestamp, validated.log_append_time), (NOW, NOW));
            assert!(read_all(one).iter().all(|record| record.1 == NOW));
        }
    }

    #[test]
    fn a_client_may_not_claim_log_append_time_unless_a_create_time_topic_clears_it() {
        let claimed = BatchOptions { log_append_time: Some(NOW - 7), ..BatchOptions::default() };
        let bytes = batch(claimed, &[(Some("k"), "v", NOW)]);
        let validated = Topic::new().validate(&bytes).unwrap();
        let header = validated.batches[0].header;
        assert_eq!(header.attributes.timestamp_type(), TimestampType::CreateTime);
        assert_eq!(header.max_timestamp, NOW - 7);

        let error = Topic { timestamp_type: TimestampType::LogAppendTime, ..Topic::new() }.error(&bytes);
        assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
        assert_eq!(
            error.record_errors()[0].message,
            "Invalid timestamp type in message DefaultRecord(offset=0, timestamp=1700000000093, key=1 bytes, value=1 \
             bytes). Producer should not set timestamp type to LogAppendTime."
        );
        let none = BatchOptions { log_append_time: Some(NO_TIMESTAMP), ..BatchOptions::default() };
        let error = Topic::new().error(&batch(none, &[(Some("k"), "v", NOW)]));
        assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
    }

    #[test]
    fn a_wrong_max_timestamp_is_repaired() {
        for codec in CODECS {
            let bytes = reheaded(&produced(codec), |h| h.max_timestamp = NOW + 1_000_000_000);
            let validated = Topic::new().validate(&bytes).unwrap();
            assert_eq!(validated.batches[0].header.max_timestamp, NOW - 1);
        }
    }

    #[test]
    fn the_topic_codec_wins_and_the_producer_state_stays() {
        for from in CODECS {
            for to in CODECS {
                let options = BatchOptions {
                    compression: from,
                    producer_id: 4000,
                    producer_epoch: 3,
                    base_sequence: 9,
                    transactional: true,
                    ..BatchOptions::default()
                };
                let bytes = batch(options, &[(Some("a"), "1", NOW), (None, "2", NOW + 5)]);
                let validated = Topic { compression: Some(to), ..Topic::new() }.validate(&bytes).unwrap();
                let one = &validated.batches[0];
                assert_eq!(one.header.attributes.codec(), Some(to.codec()));
                let header = one.header;
                assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4000, 3, 9));
                assert!(header.attributes.is_transactional());
                assert_eq!((header.base_offset, header.records_count), (0, 2));
                assert_eq!((validated.max_timestamp, one.offset_of_max_timestamp), (NOW + 5, 1));
                let rewritten = if from == to { 0 } else { 2 };
                assert_eq!(validated.conversion.records_converted, rewritten, "{from:?} to {to:?}");
                let expected =
                    [(0, NOW, Some(b"a".to_vec()), Some(b"1".to_vec())), (1, NOW + 5, None, Some(b"2".to_vec()))];
                assert_eq!(read_all(one), expected);
            }
        }
    }

    #[test]
    fn wrong_inner_offsets_are_renumbered() {
        for codec in CODECS {
            let mut builder =
                BatchBuilder::new(BatchOptions { compression: codec, ..BatchOptions::default() }).unwrap();
            builder.append_at(1, NOW, None, Some(b"x"), &[]).unwrap();
            builder.append_at(5, NOW, None, Some(b"y"), &[]).unwrap();
            let bytes = reheaded(&builder.finish().unwrap(), |h| h.last_offset_delta = 1);
            let validated = Topic::new().validate(&bytes).unwrap();
            let offsets: Vec<_> = read_all(&validated.batches[0]).iter().map(|r| r.0).collect();
            assert_eq!(offsets, [0, 1], "{codec:?}");
        }
    }

    #[test]
    fn old_messages_become_one_new_batch() {
        for text in [golden::V0_PLAIN, golden::V1_PLAIN, golden::V1_LZ4] {
            let bytes = hex(text);
            let magic = Batch::first(&bytes).unwrap().unwrap().magic();
            for codec in [None, Some(Compression::Gzip(-1))] {
                let validated = Topic { compression: codec, ..Topic::new() }.validate(&bytes).unwrap();
                let [one] = &validated.batches[..] else { panic!("one batch") };
                let times = if magic == 0 { [-1, -1] } else { [1_700_000_000_000, 1_700_000_000_005] };
                let expected = [
                    (0, times[0], Some(b"k1".to_vec()), Some(b"v1".to_vec())),
                    (1, times[1], Some(b"k2".to_vec()), Some(b"v2".to_vec())),
                ];
                assert_eq!(read_all(one), expected);
                assert_eq!(validated.conversion.records_converted, 2);
                assert_eq!(validated.max_timestamp, times[1]);
            }
        }
    }

    #[test]
    fn mixed_magics_are_invalid() {
        let bytes = [hex(golden::V1_PLAIN), hex(golden::V0_PLAIN)].concat();
        assert_eq!(Topic::new().error(&bytes).code(), ErrorCode::InvalidRecord);
    }

    #[test]
    fn errors_in_the_millions_are_counted_but_not_kept() {
        let mut builder =
            BatchBuilder::new(BatchOptions { compression: Compression::Zstd(3), ..BatchOptions::default() }).unwrap();
        for _ in 0..200_000 {
            builder.append(NOW, None, None, &[]).unwrap();
        }
        let error = Topic { compacted: true, ..Topic::new() }.error(&builder.finish().unwrap());
        assert_eq!(error.record_errors().len(), RECORD_ERRORS_MAX);
        assert!(error.client_message().unwrap().contains("due to 200000 record errors"));
    }

    #[test]
    fn a_request_version_decides_what_it_may_carry() {
        let plain = produced(Compression::None);
        let zstd = produced(Compression::Zstd(3));
        let code = |version, bytes: &[u8]| check_request(version, bytes).map_err(|e| e.code());
        assert_eq!(code(3, &plain), Ok(()));
        assert_eq!(code(2, &hex(golden::V0_PLAIN)), Ok(()));
        assert_eq!(code(3, &hex(golden::V1_PLAIN)), Err(ErrorCode::InvalidRecord));
        assert_eq!(code(3, &[]), Err(ErrorCode::InvalidRecord));
        assert_eq!(code(9, &[&plain[..], &plain[..]].concat()), Err(ErrorCode::InvalidRecord));
        assert_eq!(code(6, &zstd), Err(ErrorCode::UnsupportedCompressionType));
        assert_eq!(code(7, &zstd), Ok(()));
    }
}
