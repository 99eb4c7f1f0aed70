//! Owns the layout of one record of magic 2. Kafka: `DefaultRecord`. All integers but the attributes are
//! [varints](super::varint):
//!
//! ```text
//! length | attributes i8 | timestamp delta | offset delta | key length, key | value length, value
//!        | header count | per header: key length, key, value length, value
//! ```
//!
//! Lengths of -1 stand for null. `length` counts what follows it, and the fields must fill it exactly.

use super::{RecordError, varint};
use crate::common::ids::{Millis, Offset};

/// A record of any magic, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordView<'a> {
    pub offset: Offset,
    /// -1 in magic 0; the batch's time where that is log append time.
    pub timestamp: Millis,
    /// -1 without sequences.
    pub sequence: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// The headers of a record: already checked, read on demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Headers<'a> {
    count: i32,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// For the formats without headers.
    pub const NONE: Headers<'static> = Headers { count: 0, bytes: &[] };

    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Key and value; keys are UTF-8 by agreement only.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = self.bytes;
        (0..self.count).map_while(move |_| read_header(&mut rest).ok())
    }
}

/// A record of magic 2 as it lies in its batch: deltas, not offsets and timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawRecord<'a> {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

/// Takes one record off the front of `bytes`. Keys, values and headers are passed over, never looked into.
#[inline]
pub(crate) fn read<'a>(bytes: &mut &'a [u8]) -> Result<RawRecord<'a>, RecordError> {
    let Ok(size) = varint::read_i32(bytes) else {
        return Err(premature_end());
    };
    let Some((body, rest)) = usize::try_from(size).ok().and_then(|size| bytes.split_at_checked(size)) else {
        return Err(too_long(size, bytes.len()));
    };
    *bytes = rest;
    read_body(body)
}

/// Reads the bytes that a record's length counts.
#[inline]
pub(crate) fn read_body(mut body: &[u8]) -> Result<RawRecord<'_>, RecordError> {
    // No bit of the attributes has a meaning yet.
    let Some((_attributes, rest)) = body.split_first() else {
        return Err(varint::bad_varint());
    };
    body = rest;
    let timestamp_delta = varint::read_i64(&mut body)?;
    let offset_delta = varint::read_i32(&mut body)?;
    let key = read_bytes(&mut body)?;
    let value = read_bytes(&mut body)?;
    let count = varint::read_i32(&mut body)?;
    let headers = Headers { count, bytes: body };
    if count != 0 || !body.is_empty() {
        check_headers(count, body)?;
    }
    Ok(RawRecord { timestamp_delta, offset_delta, key, value, headers })
}

fn check_headers(count: i32, mut rest: &[u8]) -> Result<(), RecordError> {
    check_header_count(count, rest.len())?;
    for _ in 0..count {
        read_header(&mut rest)?;
    }
    if rest.is_empty() { Ok(()) } else { Err(not_filled(rest.len())) }
}

pub(crate) fn check_header_count(count: i32, remaining: usize) -> Result<(), RecordError> {
    if count < 0 {
        return Err(RecordError::Invalid(format!("Found invalid number of record headers {count}")));
    }
    if count as usize > remaining {
        return Err(RecordError::Invalid(format!(
            "Found invalid number of record headers. {count} is larger than the remaining size of the buffer"
        )));
    }
    Ok(())
}

#[inline]
fn read_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), RecordError> {
    let Some(key) = read_bytes(bytes)? else {
        return Err(null_header_key());
    };
    Ok((key, read_bytes(bytes)?))
}

#[inline]
fn read_bytes<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    let size = varint::read_i32(bytes)?;
    if size < 0 {
        return Ok(None);
    }
    let Some((taken, rest)) = bytes.split_at_checked(size as usize) else {
        return Err(varint::bad_varint());
    };
    *bytes = rest;
    Ok(Some(taken))
}

/// Appends a record to `out`.
pub(crate) fn write<'h>(
    out: &mut Vec<u8>,
    timestamp_delta: i64,
    offset_delta: i32,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
    headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)> + Clone,
) -> Result<(), RecordError> {
    let mut size = 1 + varint::len_i64(timestamp_delta) + varint::len_i32(offset_delta);
    size += written_len(key)? + written_len(value)?;
    let mut count = 0;
    for (key, value) in headers.clone() {
        size += written_len(Some(key))? + written_len(value)?;
        count += 1;
    }
    size += varint::len_i32(count);
    varint::write_i32(out, length(size)?);
    out.push(0);
    varint::write_i64(out, timestamp_delta);
    varint::write_i32(out, offset_delta);
    write_bytes(out, key);
    write_bytes(out, value);
    varint::write_i32(out, count);
    for (key, value) in headers {
        write_bytes(out, Some(key));
        write_bytes(out, value);
    }
    Ok(())
}

fn length(len: usize) -> Result<i32, RecordError> {
    i32::try_from(len).map_err(|_| RecordError::Invalid(format!("A record of {len} bytes has no length field")))
}

fn written_len(bytes: Option<&[u8]>) -> Result<usize, RecordError> {
    Ok(match bytes {
        None => varint::len_i32(-1),
        Some(bytes) => varint::len_i32(length(bytes.len())?) + bytes.len(),
    })
}

fn write_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write_i32(out, -1),
        Some(bytes) => {
            varint::write_i32(out, bytes.len() as i32);
            out.extend_from_slice(bytes);
        }
    }
}

#[cold]
pub(crate) fn premature_end() -> RecordError {
    RecordError::Invalid("Incorrect declared batch size, premature EOF reached".to_owned())
}

#[cold]
pub(crate) fn records_remain() -> RecordError {
    RecordError::Invalid("Incorrect declared batch size, records still remaining in file".to_owned())
}

#[cold]
fn too_long(size: i32, remaining: usize) -> RecordError {
    RecordError::Invalid(format!(
        "Invalid record size: expected {size} bytes in record payload, but instead the buffer has only {remaining} \
         remaining bytes."
    ))
}

#[cold]
pub(crate) fn not_filled(left: usize) -> RecordError {
    RecordError::Invalid(format!("Invalid record size: {left} bytes of the record payload were not read"))
}

#[cold]
pub(crate) fn null_header_key() -> RecordError {
    RecordError::Invalid("Invalid negative header key size -1".to_owned())
}
