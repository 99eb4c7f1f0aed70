//! Owns random values of every wire type, for the tests: any value that a message may carry in a version.

use crate::common::Uuid;
use crate::protocol::codec::{RawTaggedField, Records, Str, Version, Wire};
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

pub(crate) trait Random: Sized {
    fn random(rng: &mut StdRng, v: Version) -> Self;
}

/// A value of a field: null only where `null` allows it.
pub(crate) fn field<T: Random + Wire>(rng: &mut StdRng, v: Version, null: bool) -> T {
    loop {
        let value = T::random(rng, v);
        if null || !value.is_null() {
            return value;
        }
    }
}

/// Fields with tags far above those of any schema, ascending.
pub(crate) fn unknown_tagged_fields(rng: &mut StdRng, v: Version) -> Vec<RawTaggedField> {
    if !v.flexible || rng.random_range(0..4) > 0 {
        return Vec::new();
    }
    (0..rng.random_range(1..3)).map(|n| RawTaggedField { tag: 100 + 20_000 * n, data: Bytes::random(rng, v) }).collect()
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Random for $number {
            fn random(rng: &mut StdRng, _: Version) -> Self {
                match rng.random_range(0..4) {
                    0 => [0, 1, <$number>::MIN, <$number>::MAX][rng.random_range(0..4)],
                    _ => rng.random(),
                }
            }
        })*
    };
}

numbers!(i8, i16, i32, i64, u16);

impl Random for bool {
    fn random(rng: &mut StdRng, _: Version) -> Self {
        rng.random()
    }
}

impl Random for f64 {
    /// Finite: a NaN is not equal to itself.
    fn random(rng: &mut StdRng, _: Version) -> Self {
        Self::from(rng.random_range(-1_000..1_000)) / 7.0
    }
}

impl Random for Uuid {
    fn random(rng: &mut StdRng, _: Version) -> Self {
        Self(rng.random())
    }
}

impl Random for Str {
    fn random(rng: &mut StdRng, _: Version) -> Self {
        let alphabet = ["a", "B", ".", "-", "0", "é", "漢", "🦀"];
        // Now and then long enough for a length varint of two bytes.
        let len = if rng.random_range(0..16) == 0 { 140 } else { rng.random_range(0..6) };
        (0..len).map(|_| alphabet[rng.random_range(0..alphabet.len())]).collect::<String>().into()
    }
}

impl Random for Bytes {
    fn random(rng: &mut StdRng, _: Version) -> Self {
        let len = if rng.random_range(0..16) == 0 { 140 } else { rng.random_range(0..6) };
        let mut bytes = vec![0; len];
        rng.fill_bytes(&mut bytes);
        bytes.into()
    }
}

impl Random for Records {
    fn random(rng: &mut StdRng, v: Version) -> Self {
        Self::Bytes(Bytes::random(rng, v))
    }
}

impl<T: Random> Random for Vec<T> {
    fn random(rng: &mut StdRng, v: Version) -> Self {
        (0..rng.random_range(0..4)).map(|_| T::random(rng, v)).collect()
    }
}

impl<T: Random> Random for Option<T> {
    fn random(rng: &mut StdRng, v: Version) -> Self {
        (rng.random_range(0..4) > 0).then(|| T::random(rng, v))
    }
}
