//! Owns the layout of log entries and the view over them. Kafka: `DefaultRecordBatch`, `AbstractLegacyRecordBatch`,
//! `ByteBufferLogInputStream`. A magic 2 batch, big endian:
//!
//! ```text
//!  0 base offset i64         17 crc u32                  35 max timestamp i64     57 records count i32
//!  8 length i32              21 attributes i16           43 producer id i64       61 records
//! 12 leader epoch i32        23 last offset delta i32    51 producer epoch i16
//! 16 magic i8                27 base timestamp i64       53 base sequence i32
//! ```
//!
//! `length` counts the bytes after itself. The CRC-32C covers everything from the attributes on, so offsets and leader
//! epoch can be assigned without a new checksum. Magic 0 and 1 share the first 12 bytes and the place of the magic:
//!
//! ```text
//!  0 offset i64   8 length i32   12 crc u32   16 magic i8   17 attributes i8   18 timestamp i64 (magic 1)   key, value
//! ```

use super::{Codec, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, RecordError};
use crate::common::ids::{LeaderEpoch, Millis, Offset};
use crate::util::checksum::{self, Checksum};
use std::fmt;

/// Bytes of a magic 2 batch before its records.
pub const HEADER_LEN: usize = 61;
/// Bytes before the part that `length` counts, in every magic.
pub const LOG_OVERHEAD: usize = 12;
/// Bytes to read before the size and the magic of an entry are known.
pub const PREFIX_LEN: usize = 17;

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const LEGACY_CRC_AT: usize = 12;
const CRC_AT: usize = 17;
const LEGACY_ATTRIBUTES_AT: usize = 17;
const LEGACY_TIMESTAMP_AT: usize = 18;
/// Where the checksum's cover begins.
pub(crate) const ATTRIBUTES_AT: usize = 21;

/// Smallest message of magic 0: the least that `length` may say in any magic.
const LEGACY_OVERHEAD_V0: i32 = 14;
const LEGACY_OVERHEAD_V1: i32 = 22;

/// Whether record timestamps are the producer's or the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// The attribute bits of a batch: codec 0-2, timestamp type 3, transactional 4, control 5, delete horizon 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// `None` for a codec id that no version has used.
    pub fn codec(self) -> Option<Codec> {
        Codec::from_id((self.0 & Self::CODEC) as u8)
    }

    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Self::LOG_APPEND_TIME == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    pub fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    pub fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is the cleaner's delete horizon.
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }

    /// Without the bits that mean nothing yet.
    pub(crate) fn known(self) -> Self {
        Self(self.0 & 0x7f)
    }

    pub fn with_codec(self, codec: Codec) -> Self {
        Self(self.0 & !Self::CODEC | codec as i16)
    }

    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(Self::LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    pub fn with_transactional(self, on: bool) -> Self {
        self.with(Self::TRANSACTIONAL, on)
    }

    pub fn with_control(self, on: bool) -> Self {
        self.with(Self::CONTROL, on)
    }

    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(Self::DELETE_HORIZON, on)
    }

    fn with(self, bit: i16, on: bool) -> Self {
        Self(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// The header of a magic 2 batch, all 61 bytes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record when the batch was made; compaction keeps it.
    pub base_offset: Offset,
    /// Bytes after this field: the whole batch is 12 more.
    pub length: i32,
    pub partition_leader_epoch: LeaderEpoch,
    pub crc: u32,
    pub attributes: Attributes,
    /// Compaction keeps it too, so it can be more than the last remaining record's.
    pub last_offset_delta: i32,
    /// Timestamp of the first record, or the delete horizon where the attributes say so.
    pub base_timestamp: Millis,
    pub max_timestamp: Millis,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    /// 0 only in compacted logs: a batch that is kept for its producer's sequence.
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads the first 61 bytes of a magic 2 batch. The length is checked to be possible, the checksum is not checked:
    /// see [`Batch::check_crc`].
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let Some((head, _)) = bytes.split_first_chunk::<HEADER_LEN>() else {
            return Err(too_small(bytes.len()));
        };
        if head[MAGIC_AT] != 2 {
            return Err(bad_magic(head[MAGIC_AT] as i8));
        }
        let header = Self {
            base_offset: i64_at(head, 0),
            length: i32_at(head, LENGTH_AT),
            partition_leader_epoch: LeaderEpoch(i32_at(head, 12)),
            crc: i32_at(head, CRC_AT) as u32,
            attributes: Attributes(i16_at(head, ATTRIBUTES_AT)),
            last_offset_delta: i32_at(head, 23),
            base_timestamp: i64_at(head, 27),
            max_timestamp: i64_at(head, 35),
            producer_id: i64_at(head, 43),
            producer_epoch: i16_at(head, 51),
            base_sequence: i32_at(head, 53),
            records_count: i32_at(head, 57),
        };
        if header.length < (HEADER_LEN - LOG_OVERHEAD) as i32 {
            return Err(too_small(header.length.saturating_add(LOG_OVERHEAD as i32).max(0) as usize));
        }
        Ok(header)
    }

    /// The bytes that [`Self::parse`] reads.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut put = |at: usize, bytes: &[u8]| out[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &self.base_offset.to_be_bytes());
        put(LENGTH_AT, &self.length.to_be_bytes());
        put(12, &self.partition_leader_epoch.0.to_be_bytes());
        put(MAGIC_AT, &[2]);
        put(CRC_AT, &self.crc.to_be_bytes());
        put(ATTRIBUTES_AT, &self.attributes.0.to_be_bytes());
        put(23, &self.last_offset_delta.to_be_bytes());
        put(27, &self.base_timestamp.to_be_bytes());
        put(35, &self.max_timestamp.to_be_bytes());
        put(43, &self.producer_id.to_be_bytes());
        put(51, &self.producer_epoch.to_be_bytes());
        put(53, &self.base_sequence.to_be_bytes());
        put(57, &self.records_count.to_be_bytes());
        out
    }

    /// Bytes of the whole batch.
    pub fn size(&self) -> usize {
        self.length as usize + LOG_OVERHEAD
    }

    /// Wraps at the end of i64 on hostile input, as Kafka's does.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.wrapping_add(i64::from(self.last_offset_delta))
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }

    /// Sequence of the last record, -1 without sequences.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }

    pub fn delete_horizon(&self) -> Option<Millis> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// The checksum that belongs into `crc` for this header over `records`, the bytes after the header.
    pub fn compute_crc(&self, records: &[u8]) -> u32 {
        let mut sum = Checksum::crc32c();
        sum.update(&self.encode()[ATTRIBUTES_AT..]);
        sum.update(records);
        sum.value()
    }
}

/// Sequence numbers wrap from 2^31-1 to 0.
pub fn increment_sequence(sequence: i32, by: i32) -> i32 {
    if sequence > i32::MAX.wrapping_sub(by) {
        by.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1)
    } else {
        sequence.wrapping_add(by)
    }
}

/// One entry of a log, of any magic: a batch, or for magic 0 and 1 a message with its offset. The view checks nothing
/// but that the entry is whole; see [`Self::check_crc`].
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Batch<'a> {
    bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// The first entry of `bytes`, or `None` if it is not there as a whole.
    pub fn first(bytes: &'a [u8]) -> Result<Option<Self>, RecordError> {
        Ok(entry_size(bytes)?.and_then(|size| bytes.get(..size)).map(|bytes| Self { bytes }))
    }

    /// The whole entry.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the whole entry.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    pub fn magic(&self) -> i8 {
        self.bytes[MAGIC_AT] as i8
    }

    fn is_v2(&self) -> bool {
        self.magic() >= 2
    }

    /// The parsed header; `None` for magic 0 and 1.
    pub fn header(&self) -> Option<BatchHeader> {
        BatchHeader::parse(self.bytes).ok()
    }

    /// Magic 2: offset of the first record. Magic 0 and 1: the entry's offset, which in a compressed entry is the
    /// *last* record's: the first is only known after decompression (`legacy::first_offset`).
    pub fn base_offset(&self) -> Offset {
        i64_at(self.bytes, 0)
    }

    pub fn last_offset(&self) -> Offset {
        self.base_offset().wrapping_add(i64::from(self.last_offset_delta()))
    }

    /// The offset that follows this entry.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().wrapping_add(1)
    }

    pub fn last_offset_delta(&self) -> i32 {
        if self.is_v2() { i32_at(self.bytes, 23) } else { 0 }
    }

    /// -1 for magic 0 and 1.
    pub fn partition_leader_epoch(&self) -> LeaderEpoch {
        if self.is_v2() { LeaderEpoch(i32_at(self.bytes, 12)) } else { LeaderEpoch::NONE }
    }

    pub fn attributes(&self) -> Attributes {
        if self.is_v2() {
            Attributes(i16_at(self.bytes, ATTRIBUTES_AT))
        } else {
            // The bits above the timestamp type mean nothing in the old formats.
            Attributes(i16::from(self.bytes[LEGACY_ATTRIBUTES_AT]) & 0x0f)
        }
    }

    /// `None` for a codec id that no version has used.
    pub fn codec(&self) -> Option<Codec> {
        self.attributes().codec()
    }

    pub fn is_compressed(&self) -> bool {
        self.codec() != Some(Codec::None)
    }

    /// Magic 0 has no timestamps; it is reported as create time.
    pub fn timestamp_type(&self) -> TimestampType {
        if self.magic() == 0 { TimestampType::CreateTime } else { self.attributes().timestamp_type() }
    }

    pub fn is_transactional(&self) -> bool {
        self.is_v2() && self.attributes().is_transactional()
    }

    pub fn is_control(&self) -> bool {
        self.is_v2() && self.attributes().is_control()
    }

    /// -1 for magic 0 and where no record has a timestamp.
    pub fn max_timestamp(&self) -> Millis {
        match self.magic() {
            0 => NO_TIMESTAMP,
            1 => i64_at(self.bytes, LEGACY_TIMESTAMP_AT),
            _ => i64_at(self.bytes, 35),
        }
    }

    /// Magic 2 only; the first record's timestamp or the delete horizon.
    pub fn base_timestamp(&self) -> Millis {
        if self.is_v2() { i64_at(self.bytes, 27) } else { self.max_timestamp() }
    }

    pub fn delete_horizon(&self) -> Option<Millis> {
        (self.is_v2() && self.attributes().has_delete_horizon()).then(|| self.base_timestamp())
    }

    pub fn producer_id(&self) -> i64 {
        if self.is_v2() { i64_at(self.bytes, 43) } else { NO_PRODUCER_ID }
    }

    pub fn has_producer_id(&self) -> bool {
        self.producer_id() > NO_PRODUCER_ID
    }

    pub fn producer_epoch(&self) -> i16 {
        if self.is_v2() { i16_at(self.bytes, 51) } else { NO_PRODUCER_EPOCH }
    }

    pub fn base_sequence(&self) -> i32 {
        if self.is_v2() { i32_at(self.bytes, 53) } else { NO_SEQUENCE }
    }

    /// -1 without sequences.
    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence() {
            NO_SEQUENCE => NO_SEQUENCE,
            base => increment_sequence(base, self.last_offset_delta()),
        }
    }

    /// What the header claims; `None` for magic 0 and 1, which do not say.
    pub fn records_count(&self) -> Option<i32> {
        self.is_v2().then(|| i32_at(self.bytes, 57))
    }

    /// The bytes after the header of a magic 2 batch, compressed if the codec says so. Magic 0 and 1: the bytes after
    /// magic, attributes and timestamp, which are key and value with their lengths.
    pub fn body(&self) -> &'a [u8] {
        match self.magic() {
            0 => &self.bytes[LEGACY_TIMESTAMP_AT..],
            1 => &self.bytes[LEGACY_TIMESTAMP_AT + 8..],
            _ => &self.bytes[HEADER_LEN..],
        }
    }

    /// The stored checksum: CRC-32C in magic 2, CRC-32 before.
    pub fn crc(&self) -> u32 {
        i32_at(self.bytes, if self.is_v2() { CRC_AT } else { LEGACY_CRC_AT }) as u32
    }

    /// The checksum of the bytes as they are.
    pub fn compute_crc(&self) -> u32 {
        if self.is_v2() {
            checksum::crc32c(&self.bytes[ATTRIBUTES_AT..])
        } else {
            checksum::crc32(&self.bytes[MAGIC_AT..])
        }
    }

    /// One pass over the entry. Kafka: `RecordBatch.ensureValid`.
    pub fn check_crc(&self) -> Result<(), RecordError> {
        let (stored, computed) = (self.crc(), self.compute_crc());
        if stored == computed {
            return Ok(());
        }
        Err(RecordError::Corrupt(format!("Record is corrupt (stored crc = {stored}, computed crc = {computed})")))
    }
}

impl fmt::Debug for Batch<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("magic", &self.magic())
            .field("base_offset", &self.base_offset())
            .field("last_offset", &self.last_offset())
            .field("size", &self.size())
            .finish_non_exhaustive()
    }
}

/// Size in bytes of the entry that starts `bytes`, or `None` if the first [`PREFIX_LEN`] bytes are not there. The rest
/// of the entry need not be in `bytes`, so this is also how a file is walked. Errors are
/// [`RecordError::Corrupt`]: an impossible size or an unknown magic.
pub fn entry_size(bytes: &[u8]) -> Result<Option<usize>, RecordError> {
    if bytes.len() < LOG_OVERHEAD {
        return Ok(None);
    }
    let length = i32_at(bytes, LENGTH_AT);
    if length < LEGACY_OVERHEAD_V0 {
        return Err(RecordError::Corrupt(format!(
            "Record size {length} is less than the minimum record overhead ({LEGACY_OVERHEAD_V0})"
        )));
    }
    if bytes.len() < PREFIX_LEN {
        return Ok(None);
    }
    let size = length as usize + LOG_OVERHEAD;
    match bytes[MAGIC_AT] as i8 {
        0 => Ok(Some(size)),
        1 if length < LEGACY_OVERHEAD_V1 => Err(RecordError::Corrupt(format!(
            "Record size {length} is less than the minimum record overhead ({LEGACY_OVERHEAD_V1})"
        ))),
        1 => Ok(Some(size)),
        2 if size < HEADER_LEN => Err(too_small(size)),
        2 => Ok(Some(size)),
        magic => Err(bad_magic(magic)),
    }
}

/// The entries of `bytes`, in order. Ends at a partial tail, which is what fetched data has, and after an error.
pub fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { bytes, at: 0 }
}

/// See [`batches`].
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Batches<'_> {
    /// Bytes of the whole entries that were handed out so far: after the end, what precedes the partial tail or damage.
    pub fn consumed(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<Batch<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        match Batch::first(&self.bytes[self.at..]) {
            Ok(batch) => {
                let batch = batch?;
                self.at += batch.size();
                Some(Ok(batch))
            }
            Err(error) => {
                self.bytes = &self.bytes[..self.at];
                Some(Err(error))
            }
        }
    }
}

fn too_small(size: usize) -> RecordError {
    RecordError::Corrupt(format!(
        "Record batch is corrupt (the size {size} is smaller than the minimum allowed overhead {HEADER_LEN})"
    ))
}

fn bad_magic(magic: i8) -> RecordError {
    RecordError::Corrupt(format!("Invalid magic found in record: {magic}"))
}

// The callers have checked that the bytes are there: a view holds a whole entry.
fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut raw = [0; 8];
    raw.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(raw)
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let mut raw = [0; 4];
    raw.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(raw)
}

fn i16_at(bytes: &[u8], at: usize) -> i16 {
    i16::from_be_bytes([bytes[at], bytes[at + 1]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::golden::{self, hex};

    #[test]
    fn a_header_reads_and_writes_as_kafka_writes_it() {
        let bytes = hex(golden::V2_TXN);
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!(
            header,
            BatchHeader {
                base_offset: 100,
                length: 71,
                partition_leader_epoch: LeaderEpoch(7),
                crc: 0x2dd2_eb66,
                attributes: Attributes(0x10),
                last_offset_delta: 1,
                base_timestamp: 1_700_000_000_000,
                max_timestamp: 1_700_000_000_005,
                producer_id: 4000,
                producer_epoch: 3,
                base_sequence: 9,
                records_count: 2,
            }
        );
        assert_eq!(header.encode(), bytes[..HEADER_LEN]);
        assert_eq!(header.compute_crc(&bytes[HEADER_LEN..]), header.crc);
        assert_eq!((header.last_offset(), header.last_sequence(), header.size()), (101, 10, 83));
    }

    #[test]
    fn every_golden_batch_is_whole_and_passes_its_checksum() {
        for (name, text) in golden::ALL {
            let bytes = hex(text);
            let mut found = batches(&bytes);
            for batch in found.by_ref() {
                batch.unwrap().check_crc().unwrap_or_else(|e| panic!("{name}: {e}"));
            }
            assert_eq!(found.consumed(), bytes.len(), "{name}");
        }
    }

    #[test]
    fn one_flipped_bit_under_the_checksum_is_found() {
        for (name, text) in golden::ALL {
            let mut bytes = hex(text);
            *bytes.last_mut().unwrap() ^= 0x10;
            let last = batches(&bytes).last().unwrap().unwrap();
            assert!(matches!(last.check_crc(), Err(RecordError::Corrupt(_))), "{name}");
        }
    }

    #[test]
    fn the_old_formats_report_what_they_have() {
        let bytes = hex(golden::V1_PLAIN);
        let found: Vec<_> = batches(&bytes).map(Result::unwrap).collect();
        let seen: Vec<_> =
            found.iter().map(|b| (b.magic(), b.base_offset(), b.last_offset(), b.max_timestamp())).collect();
        assert_eq!(seen, [(1, 100, 100, 1_700_000_000_000), (1, 101, 101, 1_700_000_000_005)]);
        assert_eq!((found[0].producer_id(), found[0].records_count()), (-1, None));
        let bytes = hex(golden::V0_PLAIN);
        assert_eq!(batches(&bytes).next().unwrap().unwrap().max_timestamp(), NO_TIMESTAMP);
    }

    #[test]
    fn a_partial_tail_ends_the_iteration() {
        let whole = hex(golden::V2_PLAIN);
        for cut in 0..whole.len() {
            let bytes = [&whole[..], &whole[..cut]].concat();
            let mut found = batches(&bytes);
            assert!(found.next().unwrap().is_ok());
            assert!(found.next().is_none(), "cut at {cut}");
            assert_eq!(found.consumed(), whole.len());
        }
    }

    #[test]
    fn an_impossible_size_or_magic_ends_the_iteration_with_an_error() {
        let whole = hex(golden::V2_PLAIN);
        for (at, value) in [(LENGTH_AT, 0x80), (LENGTH_AT + 3, 13), (MAGIC_AT, 3), (MAGIC_AT, 0xff)] {
            let mut second = whole.clone();
            second[at] = value;
            let bytes = [whole.clone(), second].concat();
            let mut found = batches(&bytes);
            assert!(found.next().unwrap().is_ok());
            assert!(matches!(found.next(), Some(Err(RecordError::Corrupt(_)))));
            assert!(found.next().is_none());
        }
    }

    #[test]
    fn sequences_wrap_to_zero() {
        assert_eq!(increment_sequence(i32::MAX, 1), 0);
        assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
        assert_eq!(increment_sequence(5, 3), 8);
    }
}
