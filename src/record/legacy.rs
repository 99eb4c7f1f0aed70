//! Owns message sets, the entries of magic 0 and 1. Kafka: `LegacyRecord`, `AbstractLegacyRecordBatch`.
//!
//! ```text
//! offset i64 | size i32 | crc u32 | magic i8 | attributes i8 | timestamp i64 (magic 1)
//!            | key length i32, key | value length i32, value          lengths of -1 stand for null
//! ```
//!
//! The CRC-32 covers everything from the magic on. Compressed entries have no key, and a message set for a value. Inner
//! offsets are absolute in magic 0; in magic 1 they count from 0 and the entry's offset is the last message's.

use super::batch::{LOG_OVERHEAD, TimestampType};
use super::compression::{Compression, Compressor, Decompressor, unreadable};
use super::reader::{RECORD_BYTES_MAX, codec_of};
use super::{Batch, Codec, Headers, NO_SEQUENCE, NO_TIMESTAMP, RecordError, RecordView};
use crate::common::ids::{Millis, Offset};
use crate::util::checksum;
use std::fmt;
use std::io::Read;

const MAGIC_AT: usize = 4;
const ATTRIBUTES_AT: usize = 5;
const TIMESTAMP_AT: usize = 6;
const CODEC_MASK: u8 = 0x07;
const LOG_APPEND_TIME: u8 = 0x08;

/// Bytes of a message with neither key nor value.
pub(crate) fn message_overhead(magic: i8) -> usize {
    if magic == 0 { 14 } else { 22 }
}

/// One message: a whole uncompressed entry, or one inside a compressed entry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// Absolute.
    pub offset: Offset,
    /// The wrapper's, where the wrapper has log append time.
    pub timestamp: Millis,
    pub magic: i8,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    log_append_time: bool,
    /// From the checksum on.
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Fields that do not fit into a message whose checksum is good are [`RecordError::Unclassified`]: Kafka runs out of
    /// its buffer then and has no code for it.
    fn parse(offset: Offset, bytes: &'a [u8]) -> Result<Self, RecordError> {
        Self::read(offset, bytes).ok_or_else(|| match check_crc(bytes) {
            Ok(()) => RecordError::Unclassified("Found invalid record structure".to_owned()),
            Err(corrupt) => corrupt,
        })
    }

    fn read(offset: Offset, bytes: &'a [u8]) -> Option<Self> {
        let magic = *bytes.get(MAGIC_AT)? as i8;
        let mut rest = bytes.get(TIMESTAMP_AT..)?;
        let timestamp = if magic == 0 {
            NO_TIMESTAMP
        } else {
            let (timestamp, after) = rest.split_first_chunk()?;
            rest = after;
            i64::from_be_bytes(*timestamp)
        };
        let key = read_bytes(&mut rest)?;
        let value = read_bytes(&mut rest)?;
        let log_append_time = magic > 0 && bytes[ATTRIBUTES_AT] & LOG_APPEND_TIME != 0;
        Some(Self { offset, timestamp, magic, key, value, log_append_time, bytes })
    }

    fn is_compressed(&self) -> bool {
        self.bytes[ATTRIBUTES_AT] & CODEC_MASK != 0
    }

    pub(crate) fn view(&self) -> RecordView<'a> {
        RecordView {
            offset: self.offset,
            timestamp: self.timestamp,
            sequence: NO_SEQUENCE,
            key: self.key,
            value: self.value,
            headers: Headers::NONE,
        }
    }

    /// Bytes that the message and its offset take in a set.
    pub(crate) fn size(&self) -> usize {
        LOG_OVERHEAD + self.bytes.len()
    }

    pub(crate) fn crc(&self) -> u32 {
        stored_crc(self.bytes)
    }

    pub(crate) fn check_crc(&self) -> Result<(), RecordError> {
        check_crc(self.bytes)
    }
}

fn stored_crc(message: &[u8]) -> u32 {
    message.first_chunk().map_or(0, |crc| u32::from_be_bytes(*crc))
}

fn check_crc(message: &[u8]) -> Result<(), RecordError> {
    let stored = stored_crc(message);
    let computed = checksum::crc32(message.get(MAGIC_AT..).unwrap_or_default());
    if stored == computed {
        return Ok(());
    }
    Err(RecordError::Corrupt(format!("Record is corrupt (stored crc = {stored}, computed crc = {computed})")))
}

/// As Kafka shows it in its texts.
impl fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let attributes = self.bytes[ATTRIBUTES_AT];
        let codec = Codec::from_id(attributes & CODEC_MASK).map_or("unknown", Codec::name);
        write!(
            f,
            "LegacyRecordBatch(offset={}, Record(magic={}, attributes={}, compression={codec}, crc={}, ",
            self.offset,
            self.magic,
            attributes as i8,
            stored_crc(self.bytes)
        )?;
        if self.magic > 0 {
            let kind = if self.log_append_time { "LogAppendTime" } else { "CreateTime" };
            write!(f, "{kind}={}, ", self.timestamp)?;
        }
        let len = |bytes: Option<&[u8]>| bytes.map_or(0, <[u8]>::len);
        write!(f, "key={} bytes, value={} bytes))", len(self.key), len(self.value))
    }
}

fn read_bytes<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let (size, after) = rest.split_first_chunk()?;
    *rest = after;
    let size = i32::from_be_bytes(*size);
    if size < 0 {
        return Some(None);
    }
    let (bytes, after) = rest.split_at_checked(size as usize)?;
    *rest = after;
    Some(Some(bytes))
}

/// The messages of an entry: itself, or what its value holds.
pub(crate) struct Messages<'a> {
    source: Source<'a>,
}

enum Source<'a> {
    /// Until it was handed out.
    Single(Option<Message<'a>>),
    Set {
        set: Stream<'a>,
        wrapper: Wrapper,
    },
}

/// What an entry decides for the messages inside it.
#[derive(Clone, Copy)]
struct Wrapper {
    /// What is added to inner offsets: 0 where they are absolute.
    base: Offset,
    log_append_time: Option<Millis>,
}

/// Opens an entry of magic 0 or 1. Kafka: `DeepRecordsIterator`, which holds all messages at once; this reads them as a
/// stream, and reads a compressed magic 1 entry twice, because its first offset follows from the last.
pub(crate) fn messages<'a>(batch: &Batch<'a>) -> Result<Messages<'a>, RecordError> {
    let outer = Message::parse(batch.base_offset(), &batch.bytes()[LOG_OVERHEAD..])?;
    let codec = codec_of(batch)?;
    if codec == Codec::None {
        return Ok(Messages { source: Source::Single(Some(outer)) });
    }
    if codec == Codec::Zstd {
        let magic = batch.magic();
        return Err(RecordError::Invalid(format!(
            "Invalid wrapper compressionType found in legacy deep record iterator {magic}"
        )));
    }
    let Some(value) = outer.value else {
        let magic = batch.magic();
        return Err(RecordError::Invalid(format!(
            "Found invalid compressed record set with null value (magic = {magic})"
        )));
    };
    let stream = || Stream::new(codec, batch.magic(), value);
    let last_inner = last_offset(stream()?)?;
    let base = match batch.magic() {
        0 => 0,
        // Some versions of librdkafka produce with an outer offset of 0.
        _ if outer.offset == 0 => 0,
        _ if outer.offset < last_inner => {
            return Err(RecordError::Invalid(format!(
                "Found invalid wrapper offset in compressed v1 message set, wrapper offset '{}' is less than the last \
                 inner message offset '{last_inner}' and it is not zero.",
                outer.offset
            )));
        }
        _ => outer.offset.wrapping_sub(last_inner),
    };
    let log_append_time = (batch.timestamp_type() == TimestampType::LogAppendTime).then_some(outer.timestamp);
    Ok(Messages { source: Source::Set { set: stream()?, wrapper: Wrapper { base, log_append_time } } })
}

/// Offset of the first record of an entry of magic 0 or 1, which a compressed entry does not say.
pub fn first_offset(batch: &Batch<'_>) -> Result<Offset, RecordError> {
    match messages(batch)?.next_message()? {
        Some(message) => Ok(message.offset),
        None => Err(no_messages()),
    }
}

fn last_offset(mut set: Stream<'_>) -> Result<Offset, RecordError> {
    let mut last = None;
    while let Some((offset, _)) = set.next_entry()? {
        last = Some(offset);
    }
    last.ok_or_else(no_messages)
}

#[cold]
fn no_messages() -> RecordError {
    RecordError::Invalid("Found invalid compressed record set with no inner records".to_owned())
}

impl Messages<'_> {
    pub(crate) fn next_message(&mut self) -> Result<Option<Message<'_>>, RecordError> {
        let (set, wrapper) = match &mut self.source {
            Source::Single(message) => return Ok(message.take()),
            Source::Set { set, wrapper } => (set, *wrapper),
        };
        let Some((offset, bytes)) = set.next_entry()? else {
            return Ok(None);
        };
        let mut message = Message::parse(offset.wrapping_add(wrapper.base), bytes)?;
        if message.is_compressed() {
            return Err(RecordError::Invalid("Inner messages must not be compressed".to_owned()));
        }
        if message.magic > 0 {
            message.timestamp = wrapper.log_append_time.unwrap_or(message.timestamp);
            message.log_append_time = wrapper.log_append_time.is_some();
        }
        Ok(Some(message))
    }
}

/// The entries of a compressed set, raw.
struct Stream<'a> {
    stream: Decompressor<'a>,
    entry: Vec<u8>,
}

impl<'a> Stream<'a> {
    fn new(codec: Codec, magic: i8, value: &'a [u8]) -> Result<Self, RecordError> {
        let stream = Decompressor::new(codec, magic, value).map_err(|error| unreadable(&error))?;
        Ok(Self { stream, entry: Vec::new() })
    }

    /// Offset and bytes of the next entry. A partial entry at the end is passed over.
    fn next_entry(&mut self) -> Result<Option<(Offset, &[u8])>, RecordError> {
        if !self.take(LOG_OVERHEAD)? {
            return Ok(None);
        }
        let Some(([offset @ .., _, _, _, _], _)) = self.entry.split_first_chunk::<LOG_OVERHEAD>() else {
            return Ok(None);
        };
        let offset = Offset::from_be_bytes(*offset);
        let size = self.entry.last_chunk().map_or(0, |size| i32::from_be_bytes(*size));
        let least = message_overhead(0);
        let size = usize::try_from(size).ok().filter(|size| *size >= least).ok_or_else(|| {
            RecordError::Corrupt(format!("Record size is less than the minimum record overhead ({least})"))
        })?;
        if size > RECORD_BYTES_MAX {
            return Err(RecordError::Corrupt(format!(
                "Record size exceeds the largest allowable message size ({RECORD_BYTES_MAX})."
            )));
        }
        Ok(if self.take(size)? { Some((offset, &self.entry)) } else { None })
    }

    /// Fills `entry` with `len` bytes as they come, or says that there are not as many.
    fn take(&mut self, len: usize) -> Result<bool, RecordError> {
        self.entry.clear();
        let taken = (&mut self.stream).take(len as u64).read_to_end(&mut self.entry);
        Ok(taken.map_err(|error| unreadable(&error))? == len)
    }
}

/// Builds the entries of one batch in magic 0 or 1: plain entries, or one compressed entry around them all. Kafka:
/// `MemoryRecordsBuilder` for those.
pub(crate) struct SetBuilder {
    magic: i8,
    compression: Compression,
    /// `Some` is log append time, and replaces the timestamps.
    log_append_time: Option<Millis>,
    base_offset: Offset,
    out: Compressor,
    start: usize,
    last_offset: Option<Offset>,
    max_timestamp: Millis,
    /// Kafka: `uncompressedBytesWritten`.
    pub uncompressed_bytes: usize,
    pub records: u32,
}

impl SetBuilder {
    /// Appends to `out`. zstd has no place in these formats.
    pub(crate) fn new(
        magic: i8,
        compression: Compression,
        log_append_time: Option<Millis>,
        base_offset: Offset,
        mut out: Vec<u8>,
    ) -> Result<Self, RecordError> {
        let start = out.len();
        let header = if compression == Compression::None { 0 } else { LOG_OVERHEAD + message_overhead(magic) };
        out.resize(start + header, 0);
        Ok(Self {
            magic,
            compression,
            log_append_time,
            base_offset,
            out: Compressor::new(compression, magic, out).map_err(|error| unreadable(&error))?,
            start,
            last_offset: None,
            max_timestamp: NO_TIMESTAMP,
            uncompressed_bytes: header,
            records: 0,
        })
    }

    pub(crate) fn append(
        &mut self,
        offset: Offset,
        timestamp: Millis,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) -> Result<(), RecordError> {
        let timestamp = self.log_append_time.unwrap_or(timestamp);
        if timestamp < NO_TIMESTAMP {
            return Err(RecordError::Unclassified(format!("Invalid negative timestamp {timestamp}")));
        }
        let relative = self.magic > 0 && self.compression != Compression::None;
        let inner_offset = if relative { offset.wrapping_sub(self.base_offset) } else { offset };
        let mut entry = Vec::with_capacity(64 + key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len));
        entry.extend_from_slice(&inner_offset.to_be_bytes());
        entry.extend_from_slice(&[0; 4]);
        let attributes = if self.magic > 0 && self.log_append_time.is_some() { LOG_APPEND_TIME } else { 0 };
        write_message_head(&mut entry, self.magic, attributes, timestamp);
        write_bytes(&mut entry, key)?;
        write_bytes(&mut entry, value)?;
        seal(&mut entry)?;
        self.out.write(&entry).map_err(|error| unreadable(&error))?;
        self.records += 1;
        self.uncompressed_bytes += entry.len();
        self.last_offset = Some(offset);
        if self.magic > 0 {
            self.max_timestamp = self.max_timestamp.max(timestamp);
        }
        Ok(())
    }

    /// The buffer with the finished entries at its end.
    pub(crate) fn finish(self) -> Result<Vec<u8>, RecordError> {
        let mut out = self.out.finish().map_err(|error| unreadable(&error))?;
        let Some(last_offset) = self.last_offset else {
            out.truncate(self.start);
            return Ok(out);
        };
        if self.compression != Compression::None {
            let value_at = self.start + LOG_OVERHEAD + message_overhead(self.magic);
            let mut head = Vec::with_capacity(value_at - self.start);
            head.extend_from_slice(&last_offset.to_be_bytes());
            head.extend_from_slice(&[0; 4]);
            let mut attributes = self.compression.codec() as u8;
            if self.magic > 0 && self.log_append_time.is_some() {
                attributes |= LOG_APPEND_TIME;
            }
            write_message_head(&mut head, self.magic, attributes, self.max_timestamp);
            write_bytes(&mut head, None)?;
            head.extend_from_slice(&length(out.len() - value_at)?.to_be_bytes());
            out[self.start..value_at].copy_from_slice(&head);
            seal(&mut out[self.start..])?;
        }
        Ok(out)
    }
}

/// Checksum (to be filled in), magic, attributes and timestamp.
fn write_message_head(out: &mut Vec<u8>, magic: i8, attributes: u8, timestamp: Millis) {
    out.extend_from_slice(&[0, 0, 0, 0, magic as u8, attributes]);
    if magic > 0 {
        out.extend_from_slice(&timestamp.to_be_bytes());
    }
}

fn length(len: usize) -> Result<i32, RecordError> {
    i32::try_from(len).map_err(|_| RecordError::Invalid(format!("A message of {len} bytes has no length field")))
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) -> Result<(), RecordError> {
    match bytes {
        None => out.extend_from_slice(&(-1i32).to_be_bytes()),
        Some(bytes) => {
            out.extend_from_slice(&length(bytes.len())?.to_be_bytes());
            out.extend_from_slice(bytes);
        }
    }
    Ok(())
}

/// Fills in size and checksum of the entry that `entry` holds.
fn seal(entry: &mut [u8]) -> Result<(), RecordError> {
    let size = length(entry.len() - LOG_OVERHEAD)?;
    entry[8..LOG_OVERHEAD].copy_from_slice(&size.to_be_bytes());
    let crc = checksum::crc32(&entry[LOG_OVERHEAD + MAGIC_AT..]);
    entry[LOG_OVERHEAD..LOG_OVERHEAD + MAGIC_AT].copy_from_slice(&crc.to_be_bytes());
    Ok(())
}
