//! Owns the conversion of batches to older formats, for consumers that cannot read newer ones. Kafka: `RecordsUtil`.
//!
//! Up-conversion of produced messages is a rewrite that [`super::validate`] does. Absent on purpose: which part of a
//! fetch is converted when; that is the fetch's.

use super::legacy::SetBuilder;
use super::reader::codec_of;
use super::validate::ConversionStats;
use super::{Batch, Codec, Compression, RecordError, TimestampType, batches, records};
use crate::common::ids::Offset;
use bytes::Bytes;

/// What [`down_convert`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Converted {
    pub bytes: Bytes,
    pub stats: ConversionStats,
}

/// The whole entries of `source` in magic 0 or 1; entries that are old enough are copied. Headers are lost, control
/// batches are left out, codecs stay. zstd, which the old formats do not know, is an
/// [`RecordError::UnsupportedCodec`].
///
/// Records below `first_offset` are left out where they have no compressed entry around them: a client that fetches
/// from the middle of a batch must not see what lies before, and old entries hold one record each.
pub fn down_convert(source: &[u8], to_magic: i8, first_offset: Offset) -> Result<Converted, RecordError> {
    let mut out = Vec::with_capacity(source.len());
    let mut stats = ConversionStats::default();
    for batch in batches(source) {
        let batch = batch?;
        if batch.is_control() {
            continue;
        }
        if batch.codec() == Some(Codec::Zstd) {
            return Err(RecordError::UnsupportedCodec(
                "Down-conversion of zstandard-compressed batches is not supported".to_owned(),
            ));
        }
        if batch.magic() <= to_magic {
            stats.temporary_memory_bytes += batch.size() as u64;
            out.extend_from_slice(batch.bytes());
        } else {
            out = convert(&batch, to_magic, first_offset, out, &mut stats)?;
        }
    }
    Ok(Converted { bytes: out.into(), stats })
}

fn convert(
    batch: &Batch<'_>,
    to_magic: i8,
    first_offset: Offset,
    mut out: Vec<u8>,
    stats: &mut ConversionStats,
) -> Result<Vec<u8>, RecordError> {
    let codec = codec_of(batch)?;
    let log_append_time = (batch.timestamp_type() == TimestampType::LogAppendTime).then(|| batch.max_timestamp());
    let mut reader = records(batch)?;
    let mut builder: Option<SetBuilder> = None;
    while let Some(record) = reader.next_record()? {
        if codec == Codec::None && record.offset < first_offset {
            continue;
        }
        // Inner offsets count from the first record, which compaction may have moved.
        let set = match &mut builder {
            Some(set) => set,
            None => {
                let out = std::mem::take(&mut out);
                let compression = Compression::of(codec);
                builder.insert(SetBuilder::new(to_magic, compression, log_append_time, record.offset, out)?)
            }
        };
        set.append(record.offset, record.timestamp, record.key, record.value)?;
    }
    let Some(set) = builder else {
        return Ok(out);
    };
    stats.temporary_memory_bytes += (batch.size() + set.uncompressed_bytes) as u64;
    stats.records_converted += set.records;
    set.finish()
}
