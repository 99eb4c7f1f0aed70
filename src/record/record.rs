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
        return Err(if bytes.len() < varint::MAX_LEN_I32 { premature_end() } else { endless_length() });
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

/// What a check needs to know of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Skimmed {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    /// -1 for null.
    pub key_size: i32,
    pub value_size: i32,
    /// Bytes of the whole record.
    pub size: usize,
}

impl RawRecord<'_> {
    pub(crate) fn skimmed(&self, size: usize) -> Skimmed {
        Skimmed {
            timestamp_delta: self.timestamp_delta,
            offset_delta: self.offset_delta,
            key_size: self.key.map_or(-1, |key| key.len() as i32),
            value_size: self.value.map_or(-1, |value| value.len() as i32),
            size,
        }
    }
}

/// Passes over the record at the front of `bytes` if it is whole and well-formed. [`read`] says what is wrong with any
/// other; this one only has to be fast, since every produced record goes through it.
#[inline(always)]
pub(crate) fn skim(bytes: &[u8]) -> Option<Skimmed> {
    let mut at = 0;
    let body = skim_varint(bytes, &mut at)?;
    let size = at.checked_add(usize::try_from(body).ok()?)?;
    let bytes = bytes.get(..size)?;
    at += 1;
    let timestamp_delta = skim_varlong(bytes, &mut at)?;
    let offset_delta = skim_varint(bytes, &mut at)?;
    let key_size = skim_bytes(bytes, &mut at)?;
    let value_size = skim_bytes(bytes, &mut at)?;
    let headers = skim_varint(bytes, &mut at)?;
    if headers != 0 {
        skim_headers(bytes, at, headers)?;
    } else if at != size {
        return None;
    }
    Some(Skimmed { timestamp_delta, offset_delta, key_size, value_size, size })
}

fn skim_headers(bytes: &[u8], mut at: usize, count: i32) -> Option<()> {
    if usize::try_from(count).ok()? > bytes.len() - at {
        return None;
    }
    for _ in 0..count {
        if skim_bytes(bytes, &mut at)? < 0 {
            return None;
        }
        skim_bytes(bytes, &mut at)?;
    }
    (at == bytes.len()).then_some(())
}

/// Passes over a length and that many bytes; `at` stays within `bytes`.
#[inline(always)]
fn skim_bytes(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let size = skim_varint(bytes, at)?;
    if size >= 0 {
        *at += size as usize;
        if *at > bytes.len() {
            return None;
        }
        return Some(size);
    }
    Some(-1)
}

/// One and two bytes without a loop: nearly all there are.
#[inline(always)]
fn skim_varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(varint::unzigzag_i32(u32::from(first)));
    }
    let second = *bytes.get(*at + 1)?;
    if second < 0x80 {
        *at += 2;
        return Some(varint::unzigzag_i32(u32::from(first & 0x7f) | u32::from(second) << 7));
    }
    skim_long_varint(bytes, at)
}

#[cold]
#[inline(never)]
fn skim_long_varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let mut rest = &bytes[*at..];
    let value = varint::read_i32(&mut rest).ok()?;
    *at = bytes.len() - rest.len();
    Some(value)
}

#[cold]
#[inline(never)]
fn skim_long_varlong(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let mut rest = &bytes[*at..];
    let value = varint::read_i64(&mut rest).ok()?;
    *at = bytes.len() - rest.len();
    Some(value)
}

#[inline(always)]
fn skim_varlong(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = *bytes.get(*at)?;
    if first < 0x80 {
        *at += 1;
        return Some(varint::unzigzag_i64(u64::from(first)));
    }
    let second = *bytes.get(*at + 1)?;
    if second < 0x80 {
        *at += 2;
        return Some(varint::unzigzag_i64(u64::from(first & 0x7f) | u64::from(second) << 7));
    }
    skim_long_varlong(bytes, at)
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

/// Kafka has no code for a length that does not end: its `ByteUtils.readVarint` throws an exception that nothing catches.
#[cold]
pub(crate) fn endless_length() -> RecordError {
    RecordError::Unclassified("Varint is too long, the most significant bit in the 5th byte is set".to_owned())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
        prop::option::of(prop::collection::vec(any::<u8>(), 0..300))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_more(
            timestamp_delta: i64,
            offset_delta: i32,
            key in bytes(),
            value in bytes(),
            headers in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..20), bytes()), 0..5),
        ) {
            let headers: Vec<_> = headers.iter().map(|(k, v)| (&k[..], v.as_deref())).collect();
            let mut out = Vec::new();
            write(&mut out, timestamp_delta, offset_delta, key.as_deref(), value.as_deref(), headers.iter().copied())
                .unwrap();
            let len = out.len();
            out.push(7);
            let mut rest = &out[..];
            let raw = read(&mut rest).unwrap();
            prop_assert_eq!(rest, &[7][..]);
            prop_assert_eq!((raw.timestamp_delta, raw.offset_delta), (timestamp_delta, offset_delta));
            prop_assert_eq!((raw.key, raw.value), (key.as_deref(), value.as_deref()));
            prop_assert_eq!(raw.headers.len(), headers.len());
            prop_assert_eq!(raw.headers.iter().collect::<Vec<_>>(), headers);
            prop_assert_eq!(skim(&out), Some(raw.skimmed(len)));
        }

        /// Bytes that look like records: small, with plausible lengths.
        #[test]
        fn the_fast_walk_and_the_explaining_one_agree_on_any_bytes(
            head in prop::collection::vec(prop_oneof![0u8..40, any::<u8>()], 0..40),
        ) {
            let mut rest = &head[..];
            let read = read(&mut rest).map(|raw| raw.skimmed(head.len() - rest.len()));
            prop_assert_eq!(skim(&head), read.ok());
        }
    }

    #[test]
    fn a_record_must_be_filled_exactly() {
        let mut out = Vec::new();
        write(&mut out, 5, 1, Some(b"k"), None, [(&b"h"[..], None)].into_iter()).unwrap();
        for (change, by) in [(0, 2i8), (0, -2), (4, 2), (4, -2)] {
            let mut bytes = [&out[..], &[0]].concat();
            bytes[change] = bytes[change].wrapping_add_signed(by);
            assert!(read(&mut &bytes[..]).is_err(), "byte {change} by {by}");
            assert_eq!(skim(&bytes), None);
        }
    }
}
