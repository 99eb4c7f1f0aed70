//! Owns the walk over the records of an entry. Kafka: the iterators of `DefaultRecordBatch` and
//! `AbstractLegacyRecordBatch`.
//!
//! Two walks: [`RecordReader`] hands out whole records, one at a time; `Skim` only passes over them and holds
//! nothing, whatever their size. Both read compressed data as a stream, so neither is harmed by a batch that unpacks
//! to gigabytes.

use super::batch::increment_sequence;
use super::compression::{Decompressor, unreadable};
use super::record::{
    self, RawRecord, Skimmed, check_header_count, endless_length, null_header_key, premature_end, records_remain,
};
use super::{Batch, Codec, NO_SEQUENCE, RecordError, RecordView, TimestampType, legacy, varint};
use std::io::BufRead;

/// Largest record that is unpacked as a whole. An uncompressed record is bounded by the request that brought it (100
/// MiB by default); this bounds what a few compressed kilobytes may claim.
pub const RECORD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Reads the records of a batch one by one. A view is good until the next call.
pub struct RecordReader<'a> {
    batch: Batch<'a>,
    source: Source<'a>,
}

enum Source<'a> {
    Plain { rest: &'a [u8], left: i32 },
    Packed { stream: Decompressor<'a>, left: i32, record: Vec<u8>, in_stream: usize },
    Legacy(legacy::Messages<'a>),
}

/// The records of `batch`, with their offsets and timestamps. The checksum is not looked at.
pub fn records<'a>(batch: &Batch<'a>) -> Result<RecordReader<'a>, RecordError> {
    let source = match batch.records_count() {
        None => Source::Legacy(legacy::messages(batch)?),
        Some(left) if left < 0 => return Err(bad_count(left)),
        // A batch that was compacted to nothing has no stream either.
        Some(left) if left == 0 || codec_of(batch)? == Codec::None => Source::Plain { rest: batch.body(), left },
        Some(left) => Source::Packed { stream: open(batch)?, left, record: Vec::new(), in_stream: 0 },
    };
    Ok(RecordReader { batch: *batch, source })
}

impl RecordReader<'_> {
    /// The next record, or `None` after the last. Errors end the walk: [`RecordError::Invalid`] for a malformed
    /// record, [`RecordError::Unclassified`] for a stream that cannot be unpacked.
    pub fn next_record(&mut self) -> Result<Option<RecordView<'_>>, RecordError> {
        let raw = match &mut self.source {
            Source::Legacy(messages) => return Ok(messages.next_message()?.map(|message| message.view())),
            Source::Plain { left: 0, .. } | Source::Packed { left: 0, .. } => return Ok(None),
            Source::Plain { rest, left } => {
                let raw = record::read(rest)?;
                *left -= 1;
                if *left == 0 && !rest.is_empty() {
                    return Err(records_remain());
                }
                raw
            }
            Source::Packed { stream, left, record, in_stream } => {
                *left -= 1;
                read_packed(stream, record, in_stream, *left == 0)?
            }
        };
        Ok(Some(view(&self.batch, raw)))
    }
}

fn view<'r>(batch: &Batch<'_>, raw: RawRecord<'r>) -> RecordView<'r> {
    let base_sequence = batch.base_sequence();
    RecordView {
        offset: batch.base_offset().wrapping_add(i64::from(raw.offset_delta)),
        timestamp: match batch.timestamp_type() {
            TimestampType::CreateTime => batch.base_timestamp().wrapping_add(raw.timestamp_delta),
            TimestampType::LogAppendTime => batch.max_timestamp(),
        },
        sequence: if base_sequence >= 0 { increment_sequence(base_sequence, raw.offset_delta) } else { NO_SEQUENCE },
        key: raw.key,
        value: raw.value,
        headers: raw.headers,
    }
}

/// A record out of the stream's own buffer where it lies there as a whole, else gathered in `record`.
fn read_packed<'r>(
    stream: &'r mut Decompressor<'_>,
    record: &'r mut Vec<u8>,
    in_stream: &mut usize,
    is_last: bool,
) -> Result<RawRecord<'r>, RecordError> {
    stream.consume(std::mem::take(in_stream));
    let whole = whole_record(fill(stream)?);
    // The end of the stream can only be seen behind a record that has left the stream's buffer.
    if let Some(len) = whole.filter(|_| !is_last) {
        *in_stream = len;
        return record::read(&mut fill(stream)?);
    }
    let size = read_size(stream)?;
    if size > RECORD_BYTES_MAX {
        return Err(RecordError::Invalid(format!("Record of {size} bytes exceeds the limit of {RECORD_BYTES_MAX}")));
    }
    record.clear();
    while record.len() < size {
        let ready = fill(stream)?;
        if ready.is_empty() {
            return Err(RecordError::Invalid(format!(
                "Invalid record size: expected {size} bytes in record payload, but the record payload reached EOF."
            )));
        }
        let len = ready.len().min(size - record.len());
        record.extend_from_slice(&ready[..len]);
        stream.consume(len);
    }
    if is_last {
        expect_end(stream)?;
    }
    record::read_body(record)
}

/// Passes over the records of a compressed magic 2 batch. Kafka: `skipKeyValueIterator`, which does not hold the
/// length of a record against its fields; this does, or no consumer could read what was accepted.
pub(crate) struct Skim<'a> {
    stream: Decompressor<'a>,
    left: i32,
}

impl<'a> Skim<'a> {
    pub(crate) fn new(batch: &Batch<'a>) -> Result<Self, RecordError> {
        let left = batch.records_count().unwrap_or(0);
        if left < 0 {
            return Err(bad_count(left));
        }
        Ok(Self { stream: open(batch)?, left })
    }

    pub(crate) fn next_record(&mut self) -> Result<Option<Skimmed>, RecordError> {
        if self.left == 0 {
            return Ok(None);
        }
        let skimmed = self.skim()?;
        self.left -= 1;
        if self.left == 0 {
            expect_end(&mut self.stream)?;
        }
        Ok(Some(skimmed))
    }

    fn skim(&mut self) -> Result<Skimmed, RecordError> {
        let ready = fill(&mut self.stream)?;
        if let Some(skimmed) = record::skim(ready) {
            self.stream.consume(skimmed.size);
            return Ok(skimmed);
        }
        let body = read_size(&mut self.stream)?;
        let mut fields = Fields { stream: &mut self.stream, left: body };
        fields.byte()?;
        let timestamp_delta = fields.varlong()?;
        let offset_delta = fields.varint()?;
        let key_size = fields.skip_bytes()?;
        let value_size = fields.skip_bytes()?;
        let headers = fields.varint()?;
        check_header_count(headers, fields.left)?;
        for _ in 0..headers {
            if fields.skip_bytes()? < 0 {
                return Err(null_header_key());
            }
            fields.skip_bytes()?;
        }
        if fields.left > 0 {
            return Err(record::not_filled(fields.left));
        }
        Ok(Skimmed { timestamp_delta, offset_delta, key_size, value_size, size: body + varint::len_i32(body as i32) })
    }
}

/// The fields of one record that does not lie in the stream's buffer as a whole.
struct Fields<'s, 'a> {
    stream: &'s mut Decompressor<'a>,
    /// Bytes of the record that were not read yet.
    left: usize,
}

impl Fields<'_, '_> {
    fn byte(&mut self) -> Result<u8, RecordError> {
        if self.left == 0 {
            return Err(varint::bad_varint());
        }
        self.left -= 1;
        read_byte(self.stream)
    }

    fn varint(&mut self) -> Result<i32, RecordError> {
        self.raw(varint::MAX_LEN_I32).map(|raw| varint::unzigzag_i32(raw as u32))
    }

    fn varlong(&mut self) -> Result<i64, RecordError> {
        self.raw(varint::MAX_LEN_I64).map(varint::unzigzag_i64)
    }

    fn raw(&mut self, max_len: usize) -> Result<u64, RecordError> {
        read_raw(max_len, || self.byte())
    }

    /// Passes over a length and that many bytes; gives the length.
    fn skip_bytes(&mut self) -> Result<i32, RecordError> {
        let size = self.varint()?;
        let mut skip = size.max(0) as usize;
        if skip > self.left {
            return Err(varint::bad_varint());
        }
        self.left -= skip;
        while skip > 0 {
            let ready = fill(self.stream)?.len();
            if ready == 0 {
                return Err(RecordError::Invalid(format!(
                    "Reached end of input stream before skipping all bytes. Remaining bytes:{skip}"
                )));
            }
            let len = ready.min(skip);
            self.stream.consume(len);
            skip -= len;
        }
        Ok(size)
    }
}

/// Size of the record that starts `ready`, length field included, if it ends there too.
fn whole_record(ready: &[u8]) -> Option<usize> {
    let mut rest = ready;
    let body = usize::try_from(varint::read_i32(&mut rest).ok()?).ok()?;
    (body <= rest.len()).then(|| ready.len() - rest.len() + body)
}

/// The length field of a record; it may lie across the blocks of the stream.
fn read_size(stream: &mut Decompressor<'_>) -> Result<usize, RecordError> {
    let mut available = 0;
    let next = || read_byte(stream).inspect(|_| available += 1);
    let raw = read_raw(varint::MAX_LEN_I32, next).map_err(|error| match error {
        RecordError::Invalid(_) if available == varint::MAX_LEN_I32 => endless_length(),
        RecordError::Invalid(_) => premature_end(),
        other => other,
    })?;
    let size = varint::unzigzag_i32(raw as u32);
    usize::try_from(size).map_err(|_| RecordError::Invalid(format!("Invalid record size: {size}")))
}

fn read_raw(max_len: usize, mut byte: impl FnMut() -> Result<u8, RecordError>) -> Result<u64, RecordError> {
    let mut raw = 0;
    for n in 0..max_len {
        let byte = byte()?;
        raw |= u64::from(byte & 0x7f) << (7 * n);
        if byte < 0x80 {
            return Ok(raw);
        }
    }
    Err(varint::bad_varint())
}

fn read_byte(stream: &mut Decompressor<'_>) -> Result<u8, RecordError> {
    let byte = *fill(stream)?.first().ok_or_else(varint::bad_varint)?;
    stream.consume(1);
    Ok(byte)
}

fn fill<'s>(stream: &'s mut Decompressor<'_>) -> Result<&'s [u8], RecordError> {
    stream.fill_buf().map_err(|error| unreadable(&error))
}

fn expect_end(stream: &mut Decompressor<'_>) -> Result<(), RecordError> {
    if fill(stream)?.is_empty() { Ok(()) } else { Err(records_remain()) }
}

fn open<'a>(batch: &Batch<'a>) -> Result<Decompressor<'a>, RecordError> {
    Decompressor::new(codec_of(batch)?, batch.magic(), batch.body()).map_err(|error| unreadable(&error))
}

/// The codec of an entry. The ids that no version has used are [`RecordError::Unclassified`], as Kafka has it.
pub(crate) fn codec_of(batch: &Batch<'_>) -> Result<Codec, RecordError> {
    batch.codec().ok_or_else(|| {
        RecordError::Unclassified(format!("Unknown compression type id: {}", batch.attributes().0 & 0x07))
    })
}

#[cold]
fn bad_count(count: i32) -> RecordError {
    RecordError::Invalid(format!("Found invalid record count {count} in magic v2 batch"))
}
