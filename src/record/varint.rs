//! Owns the variable-length integers of magic 2 records: little endian groups of seven bits, zig-zag. Kafka: `ByteUtils`.

use super::RecordError;

/// Most bytes of an `i32`.
pub const MAX_LEN_I32: usize = 5;
/// Most bytes of an `i64`.
pub const MAX_LEN_I64: usize = 10;

/// Takes an integer off the front of `bytes`. Bits beyond the 32nd are dropped, as Kafka drops them.
#[inline]
pub fn read_i32(bytes: &mut &[u8]) -> Result<i32, RecordError> {
    match bytes {
        [first, rest @ ..] if *first < 0x80 => {
            *bytes = rest;
            Ok(unzigzag_i32(u32::from(*first)))
        }
        _ => read_long(bytes, MAX_LEN_I32).map(|raw| unzigzag_i32(raw as u32)),
    }
}

/// Takes an integer off the front of `bytes`.
#[inline]
pub fn read_i64(bytes: &mut &[u8]) -> Result<i64, RecordError> {
    match bytes {
        [first, rest @ ..] if *first < 0x80 => {
            *bytes = rest;
            Ok(unzigzag_i64(u64::from(*first)))
        }
        _ => read_long(bytes, MAX_LEN_I64).map(unzigzag_i64),
    }
}

fn read_long(bytes: &mut &[u8], max_len: usize) -> Result<u64, RecordError> {
    let mut value = 0u64;
    for (n, byte) in bytes.iter().take(max_len).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if *byte < 0x80 {
            *bytes = &bytes[n + 1..];
            return Ok(value);
        }
    }
    Err(bad_varint())
}

#[cold]
pub(crate) fn bad_varint() -> RecordError {
    RecordError::Invalid("Found invalid record structure".to_owned())
}

pub(crate) fn unzigzag_i32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

pub(crate) fn unzigzag_i64(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

pub fn write_i32(out: &mut Vec<u8>, value: i32) {
    write_raw(out, u64::from(zigzag_i32(value)));
}

pub fn write_i64(out: &mut Vec<u8>, value: i64) {
    write_raw(out, zigzag_i64(value));
}

fn write_raw(out: &mut Vec<u8>, mut raw: u64) {
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// Bytes that [`write_i32`] writes.
pub fn len_i32(value: i32) -> usize {
    len_raw(u64::from(zigzag_i32(value)))
}

/// Bytes that [`write_i64`] writes.
pub fn len_i64(value: i64) -> usize {
    len_raw(zigzag_i64(value))
}

fn len_raw(raw: u64) -> usize {
    (64 - (raw | 1).leading_zeros() as usize).div_ceil(7)
}

fn zigzag_i32(value: i32) -> u32 {
    (value << 1) as u32 ^ (value >> 31) as u32
}

fn zigzag_i64(value: i64) -> u64 {
    (value << 1) as u64 ^ (value >> 63) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_more(a: i32, b: i64) {
            let mut bytes = Vec::new();
            write_i32(&mut bytes, a);
            prop_assert_eq!(bytes.len(), len_i32(a));
            write_i64(&mut bytes, b);
            prop_assert_eq!(bytes.len(), len_i32(a) + len_i64(b));
            bytes.push(0x55);
            let mut rest = &bytes[..];
            prop_assert_eq!((read_i32(&mut rest), read_i64(&mut rest)), (Ok(a), Ok(b)));
            prop_assert_eq!(rest, &[0x55][..]);
        }
    }

    #[test]
    fn the_known_encodings() {
        for (value, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (63, &[0x7e]),
            (-64, &[0x7f]),
            (64, &[0x80, 0x01]),
            (i32::MAX, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (i32::MIN, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut out = Vec::new();
            write_i32(&mut out, value);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn an_integer_that_does_not_end_is_refused() {
        for len in 0..MAX_LEN_I64 + 2 {
            let bytes = vec![0x80; len];
            assert!(read_i32(&mut &bytes[..]).is_err());
            assert!(read_i64(&mut &bytes[..]).is_err());
        }
        let mut six = &[0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..];
        assert!(read_i32(&mut six).is_err());
    }
}
