//! Owns the primitive forms of the wire: how a number, a string, an array, a tagged field lies in a frame, and the bounds
//! that hold while strangers' bytes become values. Kafka: `Readable`, `Writable`, `ByteUtils`, `RawTaggedField`.
//!
//! ```text
//! form            classic                       compact (flexible versions, KIP-482)
//! string          | length i16 | UTF-8 |        | length+1 unsigned varint | UTF-8 |
//! bytes, records  | length i32 | bytes |        | length+1 unsigned varint | bytes |
//! array           | count i32  | elements |     | count+1  unsigned varint | elements |
//! null            a negative length             0
//! nullable struct | i8: -1 null, else 1 | fields |
//! tagged fields   none                          | count varint | (tag varint | size varint | bytes)* |
//! ```
//!
//! Absent on purpose: clocks, sockets, a second copy of the frame (strings, bytes and records are slices of it), and the
//! zigzag varints of records, which live with the records.

use crate::common::Uuid;
use bytes::Bytes;

/// UTF-8 text that shares the frame it was read from: cloning is one reference count.
pub use bytestring::ByteString as Str;

/// The longest string of either form (Kafka's `Short.MAX_VALUE`).
pub const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// Bytes of decoded structures that each byte of a frame may become. Real messages stay under 8; a Metadata request for
/// hundreds of thousands of names of one letter needs 24, about what its objects take in Kafka. More is only a frame made
/// to hurt, such as one of empty names.
pub const DECODE_BUDGET_PER_FRAME_BYTE: usize = 32;

/// Bytes of decoded structures that every frame may become, however short it is.
pub const DECODE_BUDGET_BASE: usize = 64 * 1024;

/// Bytes of decoded structures that no frame may exceed, however long it is: a frame of that size is records, not names.
/// The state of a million partitions takes a third of it.
pub const DECODE_BUDGET_MAX: usize = 512 * 1024 * 1024;

/// Why bytes are not a message. The sender is at fault: Kafka closes the connection on each of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{need} bytes announced, {have} left")]
    Truncated { need: usize, have: usize },
    #[error("null where a value is required")]
    Null,
    #[error("string of {0} bytes is too long")]
    StringTooLong(usize),
    #[error("varint does not end after five bytes")]
    VarintTooLong,
    #[error("tagged field {tag} leaves {left} of its bytes unread")]
    TaggedFieldSize { tag: u32, left: usize },
    #[error("message needs more than {0} bytes of memory")]
    Budget(usize),
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
}

/// Why a value cannot be written in a version. Kafka: `UnsupportedVersionException` and `SchemaException` on write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("{message} has no version {version}")]
    UnsupportedVersion { message: &'static str, version: i16 },
    #[error("{field} is set, and version {version} does not have it")]
    FieldNotInVersion { field: &'static str, version: i16 },
    #[error("{field} is null, and version {version} does not allow that")]
    NullNotInVersion { field: &'static str, version: i16 },
    #[error("tagged fields are set, and version {version} has none")]
    TaggedFieldsNotInVersion { version: i16 },
    #[error("raw tagged field {0} is out of order or one that the message declares")]
    TagOrder(u32),
    #[error("{0} bytes or elements are more than the length field can say")]
    TooLong(usize),
}

/// The version that a message is read or written in.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub number: i16,
    /// Whether strings, arrays and bytes are compact and structures end in tagged fields.
    pub flexible: bool,
}

/// A tagged field that the schema does not name, kept so that it survives decode and encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawTaggedField {
    pub tag: u32,
    pub data: Bytes,
}

/// The records of a partition in Produce and Fetch: in memory, or a slice of a file that the connection sends itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Records {
    Bytes(Bytes),
    /// `len` bytes that the owner of `token` supplies. The encoder writes the length and notes a [`Cut`].
    External {
        token: u32,
        len: u32,
    },
}

impl Records {
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::External { len, .. } => *len as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A place in the encoded bytes where `len` bytes known by `token` belong: they go before the byte at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    pub position: usize,
    pub token: u32,
    pub len: u32,
}

/// Reads a frame from front to back. Every length is checked against the bytes that remain before it is believed, and
/// every element of an array is charged to a budget before memory for it is taken.
#[derive(Clone, Debug)]
pub struct Reader {
    frame: Bytes,
    at: usize,
    end: usize,
    budget: usize,
    budget_at_start: usize,
}

impl Reader {
    /// A reader with the default budget for a frame of this length.
    pub fn new(frame: Bytes) -> Self {
        let budget = frame.len().saturating_mul(DECODE_BUDGET_PER_FRAME_BYTE).saturating_add(DECODE_BUDGET_BASE);
        Self::with_budget(frame, budget.min(DECODE_BUDGET_MAX))
    }

    /// `budget`: bytes of memory that decoded structures may take; slices of the frame cost nothing.
    pub fn with_budget(frame: Bytes, budget: usize) -> Self {
        let end = frame.len();
        Self { frame, at: 0, end, budget, budget_at_start: budget }
    }

    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Bytes of memory that decoded structures may still take.
    pub fn budget(&self) -> usize {
        self.budget
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.frame[self.at..self.end].first_chunk::<N>().copied();
        let Some(bytes) = bytes else {
            return Err(DecodeError::Truncated { need: N, have: self.remaining() });
        };
        self.at += N;
        Ok(bytes)
    }

    /// The next `len` bytes, shared with the frame.
    pub fn slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.remaining() {
            return Err(DecodeError::Truncated { need: len, have: self.remaining() });
        }
        let slice = self.frame.slice(self.at..self.at + len);
        self.at += len;
        Ok(slice)
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.take().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.take().map(i16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.take().map(i32::from_be_bytes)
    }

    /// Seven bits a byte, low ones first. As in Kafka, what the fifth byte has above 32 bits is dropped.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.take()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::VarintTooLong)
    }

    /// The length or count before a compact form (`flexible`) or one with an i32 before it. None is null.
    fn length(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            Ok((self.unsigned_varint()? as usize).checked_sub(1))
        } else {
            // Kafka reads any negative length as null, not only -1.
            Ok(usize::try_from(self.i32()?).ok())
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), DecodeError> {
        self.budget = self.budget.checked_sub(bytes).ok_or(DecodeError::Budget(self.budget_at_start))?;
        Ok(())
    }

    fn nullable_string(&mut self, v: Version) -> Result<Option<Str>, DecodeError> {
        let len = if v.flexible {
            (self.unsigned_varint()? as usize).checked_sub(1)
        } else {
            usize::try_from(self.i16()?).ok()
        };
        let Some(len) = len else { return Ok(None) };
        if len > MAX_STRING_BYTES {
            return Err(DecodeError::StringTooLong(len));
        }
        let bytes = self.slice(len)?;
        match Str::try_from(bytes.clone()) {
            Ok(text) => Ok(Some(text)),
            Err(_) => {
                // Java reads what is no UTF-8 as replacement characters: a name that does not exist, not a broken frame.
                let text = String::from_utf8_lossy(&bytes).into_owned();
                self.charge(text.len())?;
                Ok(Some(text.into()))
            }
        }
    }

    fn nullable_array<T: Wire>(&mut self, v: Version) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(v.flexible)? else { return Ok(None) };
        // Every element takes at least a byte, so a count above what remains is a lie (as in Kafka's own check).
        if count > self.remaining() {
            return Err(DecodeError::Truncated { need: count, have: self.remaining() });
        }
        self.charge(count.saturating_mul(size_of::<T>()))?;
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(T::read(self, v)?);
        }
        Ok(Some(elements))
    }

    /// Reads the tagged fields that end a structure. `known` reads the tags of the schema and says whether it did;
    /// the others are returned as they lie.
    pub(crate) fn tagged_fields(
        &mut self,
        v: Version,
        known: &mut dyn FnMut(&mut Self, u32) -> Result<bool, DecodeError>,
    ) -> Result<Vec<RawTaggedField>, DecodeError> {
        let mut unknown = Vec::new();
        if !v.flexible {
            return Ok(unknown);
        }
        for _ in 0..self.unsigned_varint()? {
            let tag = self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            if size > self.remaining() {
                return Err(DecodeError::Truncated { need: size, have: self.remaining() });
            }
            let field_end = self.at + size;
            let outer_end = std::mem::replace(&mut self.end, field_end);
            if known(self, tag)? {
                if self.at != field_end {
                    return Err(DecodeError::TaggedFieldSize { tag, left: field_end - self.at });
                }
            } else {
                if unknown.len() == unknown.capacity() {
                    let room = unknown.len().max(2);
                    self.charge(room * size_of::<RawTaggedField>())?;
                    unknown.reserve_exact(room);
                }
                unknown.push(RawTaggedField { tag, data: self.slice(size)? });
            }
            self.end = outer_end;
        }
        Ok(unknown)
    }
}

/// The form of an unsigned varint, and how many of the bytes it takes.
fn unsigned_varint_bytes(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut len = 0;
    while value >= 0x80 {
        bytes[len] = value as u8 | 0x80;
        value >>= 7;
        len += 1;
    }
    bytes[len] = value as u8;
    (bytes, len + 1)
}

/// Writes a frame from front to back, and notes where external records belong.
#[derive(Debug, Default)]
pub struct Writer {
    buf: Vec<u8>,
    cuts: Vec<Cut>,
    external_len: usize,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buf: Vec::with_capacity(bytes), ..Self::default() }
    }

    /// Bytes written, without the external ones.
    pub fn len(&self) -> usize {
        self.buf.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buf.is_empty()
    }

    /// Bytes that will be on the wire: written and external.
    pub fn wire_len(&self) -> usize {
        self.buf.len() + self.external_len
    }

    pub fn into_parts(self) -> (Bytes, Vec<Cut>) {
        (Bytes::from(self.buf), self.cuts)
    }

    pub fn i16(&mut self, value: i16) {
        self.buf.extend_from_slice(&value.to_be_bytes());
    }

    pub fn i32(&mut self, value: i32) {
        self.buf.extend_from_slice(&value.to_be_bytes());
    }

    /// Overwrites four bytes written earlier: the size before a frame is known last.
    pub(crate) fn patch_i32(&mut self, position: usize, value: i32) {
        self.buf[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub fn unsigned_varint(&mut self, value: u32) {
        let (bytes, len) = unsigned_varint_bytes(value);
        self.buf.extend_from_slice(&bytes[..len]);
    }

    /// The counterpart of [`Reader::length`].
    fn length(&mut self, len: Option<usize>, flexible: bool) -> Result<(), EncodeError> {
        let len = match len {
            Some(len) => i32::try_from(len).map_err(|_| EncodeError::TooLong(len))?,
            None => -1,
        };
        if flexible {
            self.unsigned_varint(len.wrapping_add(1) as u32);
        } else {
            self.i32(len);
        }
        Ok(())
    }

    /// Starts the tagged fields of a structure: their count.
    pub(crate) fn tag_count(&mut self, known: usize, unknown: &[RawTaggedField]) -> Result<(), EncodeError> {
        let count = known + unknown.len();
        self.unsigned_varint(u32::try_from(count).map_err(|_| EncodeError::TooLong(count))?);
        Ok(())
    }

    /// Writes the raw fields whose tag is below `tag` and returns the others: tags ascend on the wire.
    pub(crate) fn raw_tags_below<'a>(
        &mut self,
        tag: u32,
        unknown: &'a [RawTaggedField],
    ) -> Result<&'a [RawTaggedField], EncodeError> {
        let (below, rest) = unknown.split_at(unknown.partition_point(|field| field.tag < tag));
        self.raw_tags(below)?;
        match rest.first() {
            Some(clash) if clash.tag == tag => Err(EncodeError::TagOrder(tag)),
            _ => Ok(rest),
        }
    }

    pub(crate) fn raw_tags(&mut self, fields: &[RawTaggedField]) -> Result<(), EncodeError> {
        for field in fields {
            self.unsigned_varint(field.tag);
            self.unsigned_varint(u32::try_from(field.data.len()).map_err(|_| EncodeError::TooLong(field.data.len()))?);
            self.buf.extend_from_slice(&field.data);
        }
        Ok(())
    }

    /// Writes a tagged field of the schema. The size before it is known only after it, so the value moves up behind it:
    /// tagged values are small, and no schema has records in one (a cut would have to move too).
    pub(crate) fn tagged_field<T: Wire>(&mut self, tag: u32, value: &T, v: Version) -> Result<(), EncodeError> {
        self.unsigned_varint(tag);
        let start = self.buf.len();
        value.write(self, v)?;
        let len = self.buf.len() - start;
        let size = u32::try_from(len).map_err(|_| EncodeError::TooLong(len))?;
        let (size, size_len) = unsigned_varint_bytes(size);
        self.buf.resize(start + len + size_len, 0);
        self.buf.copy_within(start..start + len, start + size_len);
        self.buf[start..start + size_len].copy_from_slice(&size[..size_len]);
        Ok(())
    }
}

/// A value that has a form on the wire in each version.
pub trait Wire: Sized {
    fn read(r: &mut Reader, v: Version) -> Result<Self, DecodeError>;
    fn write(&self, w: &mut Writer, v: Version) -> Result<(), EncodeError>;

    fn is_null(&self) -> bool {
        false
    }
}

/// A value whose form has room for null. `Option` of it is the nullable field, the bare type the required one.
pub trait Nullable: Sized {
    fn read_nullable(r: &mut Reader, v: Version) -> Result<Option<Self>, DecodeError>;
    fn write_nullable(value: Option<&Self>, w: &mut Writer, v: Version) -> Result<(), EncodeError>;
}

/// A structure of a schema. An `Option` of it has a byte before it.
pub trait Structure: Wire {}

/// A whole request or response.
pub trait Message: Wire + Default + Clone + PartialEq + std::fmt::Debug {
    const NAME: &'static str;
    const VERSIONS: std::ops::RangeInclusive<i16>;
    /// The first version with compact forms and tagged fields.
    const FLEXIBLE_FROM: Option<i16>;

    fn version(number: i16) -> Version {
        Version { number, flexible: Self::FLEXIBLE_FROM.is_some_and(|from| number >= from) }
    }

    /// Reads the message that is next in `r`; bytes after it are left there, as Kafka leaves them.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(DecodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        Self::read(r, Self::version(version))
    }

    /// A field that the version does not have is left out when the schema calls it ignorable or it has its default;
    /// else the message cannot be said in this version, and that is the error. What was written before it stays in `w`.
    fn encode(&self, w: &mut Writer, version: i16) -> Result<(), EncodeError> {
        if !Self::VERSIONS.contains(&version) {
            return Err(EncodeError::UnsupportedVersion { message: Self::NAME, version });
        }
        self.write(w, Self::version(version))
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Wire for $number {
            #[inline]
            fn read(r: &mut Reader, _: Version) -> Result<Self, DecodeError> {
                r.take().map(Self::from_be_bytes)
            }
            #[inline]
            fn write(&self, w: &mut Writer, _: Version) -> Result<(), EncodeError> {
                w.buf.extend_from_slice(&self.to_be_bytes());
                Ok(())
            }
        })*
    };
}

numbers!(i8, i16, i32, i64, u16, f64);

impl Wire for bool {
    fn read(r: &mut Reader, _: Version) -> Result<Self, DecodeError> {
        Ok(r.i8()? != 0)
    }
    fn write(&self, w: &mut Writer, _: Version) -> Result<(), EncodeError> {
        w.buf.push(u8::from(*self));
        Ok(())
    }
}

impl Wire for Uuid {
    fn read(r: &mut Reader, _: Version) -> Result<Self, DecodeError> {
        r.take().map(Self)
    }
    fn write(&self, w: &mut Writer, _: Version) -> Result<(), EncodeError> {
        w.buf.extend_from_slice(&self.0);
        Ok(())
    }
}

impl Nullable for Str {
    fn read_nullable(r: &mut Reader, v: Version) -> Result<Option<Self>, DecodeError> {
        r.nullable_string(v)
    }
    fn write_nullable(value: Option<&Self>, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        let len = value.map(|text| text.len());
        if let Some(len) = len.filter(|len| *len > MAX_STRING_BYTES) {
            return Err(EncodeError::TooLong(len));
        }
        if v.flexible {
            w.length(len, true)?;
        } else {
            w.i16(len.map_or(-1, |len| len as i16));
        }
        w.buf.extend_from_slice(value.map_or(&[], |text| text.as_bytes()));
        Ok(())
    }
}

impl Nullable for Bytes {
    fn read_nullable(r: &mut Reader, v: Version) -> Result<Option<Self>, DecodeError> {
        r.length(v.flexible)?.map(|len| r.slice(len)).transpose()
    }
    fn write_nullable(value: Option<&Self>, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        w.length(value.map(Self::len), v.flexible)?;
        w.buf.extend_from_slice(value.map_or(&[], |bytes| bytes));
        Ok(())
    }
}

impl Nullable for Records {
    fn read_nullable(r: &mut Reader, v: Version) -> Result<Option<Self>, DecodeError> {
        Ok(Bytes::read_nullable(r, v)?.map(Self::Bytes))
    }
    fn write_nullable(value: Option<&Self>, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        w.length(value.map(Self::len), v.flexible)?;
        match value {
            None => {}
            Some(Self::Bytes(bytes)) => w.buf.extend_from_slice(bytes),
            Some(Self::External { token, len }) => {
                w.cuts.push(Cut { position: w.buf.len(), token: *token, len: *len });
                w.external_len += *len as usize;
            }
        }
        Ok(())
    }
}

impl<T: Wire> Nullable for Vec<T> {
    fn read_nullable(r: &mut Reader, v: Version) -> Result<Option<Self>, DecodeError> {
        r.nullable_array(v)
    }
    fn write_nullable(value: Option<&Self>, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        w.length(value.map(Self::len), v.flexible)?;
        value.into_iter().flatten().try_for_each(|element| element.write(w, v))
    }
}

impl<T: Structure> Nullable for T {
    fn read_nullable(r: &mut Reader, v: Version) -> Result<Option<Self>, DecodeError> {
        if r.i8()? < 0 { Ok(None) } else { T::read(r, v).map(Some) }
    }
    fn write_nullable(value: Option<&Self>, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        let Some(value) = value else { return (-1i8).write(w, v) };
        1i8.write(w, v)?;
        value.write(w, v)
    }
}

macro_rules! required {
    ($($nullable:ty $(where $element:ident)?),*) => {
        $(impl$(<$element: Wire>)? Wire for $nullable {
            fn read(r: &mut Reader, v: Version) -> Result<Self, DecodeError> {
                Self::read_nullable(r, v)?.ok_or(DecodeError::Null)
            }
            fn write(&self, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
                Self::write_nullable(Some(self), w, v)
            }
        })*
    };
}

required!(Str, Bytes, Records, Vec<T> where T);

impl<T: Nullable> Wire for Option<T> {
    fn read(r: &mut Reader, v: Version) -> Result<Self, DecodeError> {
        T::read_nullable(r, v)
    }
    fn write(&self, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        T::write_nullable(self.as_ref(), w, v)
    }
    fn is_null(&self) -> bool {
        self.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::fetch_response::{FetchableTopicResponse, LeaderIdAndEpoch, PartitionData};
    use crate::protocol::messages::metadata_request::MetadataRequestTopic;
    use crate::protocol::messages::{
        DeleteTopicsRequest, FetchRequest, FetchResponse, HeartbeatRequest, MetadataRequest, ProduceRequest,
    };
    use bytes::{BufMut, BytesMut};

    const CLASSIC: Version = Version { number: 0, flexible: false };
    const COMPACT: Version = Version { number: 0, flexible: true };

    fn read<T: Wire>(bytes: &[u8], v: Version) -> Result<T, DecodeError> {
        T::read(&mut Reader::new(Bytes::copy_from_slice(bytes)), v)
    }

    fn written<T: Wire>(value: &T, v: Version) -> Result<Vec<u8>, EncodeError> {
        let mut w = Writer::default();
        value.write(&mut w, v)?;
        Ok(w.into_parts().0.to_vec())
    }

    #[test]
    fn a_length_above_what_remains_is_truncation() {
        assert_eq!(read::<Str>(&[0, 3, b'a', b'b'], CLASSIC), Err(DecodeError::Truncated { need: 3, have: 2 }));
        assert_eq!(read::<Str>(&[4, b'a', b'b'], COMPACT), Err(DecodeError::Truncated { need: 3, have: 2 }));
        assert_eq!(read::<Bytes>(&[0x7f, 0xff, 0xff, 0xff, 1], CLASSIC).unwrap_err(), truncated(0x7fff_ffff, 1));
        assert_eq!(
            read::<Option<Records>>(&[0xff, 0xff, 0xff, 0xff, 0x0f, 1], COMPACT).unwrap_err(),
            truncated(0xffff_fffe, 1)
        );
        assert_eq!(read::<i64>(&[0; 7], CLASSIC), Err(truncated(8, 7)));
        assert_eq!(read::<Uuid>(&[0; 15], CLASSIC), Err(truncated(16, 15)));
    }

    fn truncated(need: usize, have: usize) -> DecodeError {
        DecodeError::Truncated { need, have }
    }

    #[test]
    fn an_array_that_claims_more_elements_than_bytes_remain_takes_no_memory() {
        // The twelve bytes that make a decoder that believes them reserve 2^31 topics.
        let claim = [0x7f, 0xff, 0xff, 0xff, 0, 1, b'a', 0, 1, b'b', 0, 0];
        let mut r = Reader::new(Bytes::copy_from_slice(&claim));
        assert_eq!(MetadataRequest::decode(&mut r, 0), Err(truncated(0x7fff_ffff, 8)));
        assert_eq!(r.budget(), 12 * DECODE_BUDGET_PER_FRAME_BYTE + DECODE_BUDGET_BASE);
        assert_eq!(read::<Vec<i32>>(&[0xff, 0xff, 0xff, 0xff, 0x0f], COMPACT), Err(truncated(0xffff_fffe, 0)));
    }

    #[test]
    fn a_negative_length_is_null_and_null_is_refused_where_a_value_is_required() {
        for length in [-1i32, -2, i32::MIN] {
            assert_eq!(read::<Option<Bytes>>(&length.to_be_bytes(), CLASSIC), Ok(None));
            assert_eq!(read::<Bytes>(&length.to_be_bytes(), CLASSIC), Err(DecodeError::Null));
            assert_eq!(read::<Vec<i8>>(&length.to_be_bytes(), CLASSIC), Err(DecodeError::Null));
        }
        assert_eq!(read::<Str>(&[0xff, 0xff], CLASSIC), Err(DecodeError::Null));
        assert_eq!(read::<Str>(&[0], COMPACT), Err(DecodeError::Null));
    }

    #[test]
    fn null_is_allowed_in_the_versions_that_allow_it() {
        let null_topics = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(MetadataRequest::decode(&mut Reader::new(null_topics.clone()), 0), Err(DecodeError::Null));
        assert_eq!(MetadataRequest::decode(&mut Reader::new(null_topics), 1).unwrap().topics, None);
        let all = MetadataRequest { topics: None, ..Default::default() };
        let refused = EncodeError::NullNotInVersion { field: "topics", version: 0 };
        assert_eq!(all.encode(&mut Writer::default(), 0), Err(refused));
        assert_eq!(all.encode(&mut Writer::default(), 1), Ok(()));
    }

    #[test]
    fn text_that_is_not_utf8_or_too_long_is_refused() {
        assert_eq!(read::<Str>(&[0, 2, 0xc3, 0x28], CLASSIC), Ok("\u{fffd}(".into()));
        assert_eq!(read::<Option<Str>>(&[2, 0xff], COMPACT), Ok(Some("\u{fffd}".into())));
        let mut long = vec![0x81, 0x80, 0x02];
        long.resize(40_000, b'a');
        assert_eq!(read::<Str>(&long, COMPACT), Err(DecodeError::StringTooLong(32_768)));
        let long = Str::from("a".repeat(32_768));
        assert_eq!(written(&long, COMPACT), Err(EncodeError::TooLong(32_768)));
        assert_eq!(written(&long, CLASSIC), Err(EncodeError::TooLong(32_768)));
    }

    #[test]
    fn a_varint_ends_after_five_bytes() {
        assert_eq!(read::<Bytes>(&[0x80; 64], COMPACT), Err(DecodeError::VarintTooLong));
        assert_eq!(read::<Bytes>(&[0x80, 0x80], COMPACT), Err(truncated(1, 0)));
        for value in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, 268_435_455, 268_435_456, u32::MAX] {
            let (bytes, len) = unsigned_varint_bytes(value);
            let mut r = Reader::new(Bytes::copy_from_slice(&bytes[..len]));
            assert_eq!((r.unsigned_varint(), r.remaining()), (Ok(value), 0));
        }
    }

    #[test]
    fn many_empty_names_end_at_the_budget() {
        let names = 4 * 1024 * 1024;
        let mut frame = BytesMut::new();
        frame.put_i32(names);
        frame.put_bytes(0, 2 * names as usize);
        let frame = frame.freeze();
        let budget = frame.len() * DECODE_BUDGET_PER_FRAME_BYTE + DECODE_BUDGET_BASE;
        let mut r = Reader::new(frame);
        assert_eq!(MetadataRequest::decode(&mut r, 0), Err(DecodeError::Budget(budget)));
        assert_eq!(r.budget(), budget, "refused before the first element");
    }

    #[test]
    fn many_unknown_tags_end_at_the_budget() {
        let mut w = Writer::default();
        for field in [&Str::from("g"), &Str::from("m")] {
            field.write(&mut w, COMPACT).unwrap();
            if field == "g" {
                w.i32(1);
            }
        }
        w.unsigned_varint(0);
        let tags = 1_000_000;
        w.unsigned_varint(tags);
        for _ in 0..tags {
            w.unsigned_varint(0);
            w.unsigned_varint(0);
        }
        let frame = w.into_parts().0;
        let budget = 10 * frame.len();
        let err = HeartbeatRequest::decode(&mut Reader::with_budget(frame, budget), 4).unwrap_err();
        assert_eq!(err, DecodeError::Budget(budget));
    }

    #[test]
    fn hundreds_of_thousands_of_the_shortest_names_fit_the_budget() {
        let topics = (0..200_000u32)
            .map(|n| MetadataRequestTopic {
                name: Some(char::from(b'a' + (n % 26) as u8).to_string().into()),
                ..Default::default()
            })
            .collect();
        let request = MetadataRequest { topics: Some(topics), ..Default::default() };
        for version in MetadataRequest::VERSIONS {
            let mut w = Writer::default();
            request.encode(&mut w, version).unwrap();
            assert_eq!(MetadataRequest::decode(&mut Reader::new(w.into_parts().0), version).as_ref(), Ok(&request));
        }
    }

    #[test]
    fn a_tagged_field_takes_exactly_its_bytes() {
        // FetchRequest v12 with tag 0 (cluster id "c", 2 bytes) in a field of 3.
        let fixed = [&[0xff; 4][..], &[0; 21], &[1, 1, 1]].concat();
        let with_tags = |tags: &[u8]| {
            FetchRequest::decode(&mut Reader::new([&fixed, tags].concat().into()), 12).map(|fetch| fetch.cluster_id)
        };
        assert_eq!(with_tags(&[1, 0, 2, 2, b'c']), Ok(Some("c".into())));
        assert_eq!(with_tags(&[1, 0, 3, 2, b'c', 0]), Err(DecodeError::TaggedFieldSize { tag: 0, left: 1 }));
        assert_eq!(with_tags(&[1, 0, 1, 2, b'c']), Err(truncated(1, 0)));
        assert_eq!(with_tags(&[1, 0, 9, 2, b'c']), Err(truncated(9, 2)));
        // Tag 1 comes with version 15: in 12 it is an unknown one.
        assert_eq!(with_tags(&[2, 0, 2, 2, b'c', 1, 1, 7]), Ok(Some("c".into())));
    }

    #[test]
    fn unknown_tagged_fields_survive_between_known_ones_and_may_not_clash_with_them() {
        let raw = |tag| RawTaggedField { tag, data: Bytes::from_static(b"x") };
        let leader = LeaderIdAndEpoch { leader_id: 4, leader_epoch: 5, ..Default::default() };
        let mut partition = PartitionData {
            aborted_transactions: None,
            current_leader: leader,
            unknown_tagged_fields: vec![raw(3), raw(900)],
            ..Default::default()
        };
        let v = FetchResponse::version(12);
        let bytes = written(&partition, v).unwrap();
        assert_eq!(read::<PartitionData>(&bytes, v).as_ref(), Ok(&partition));
        partition.unknown_tagged_fields = vec![raw(1)];
        assert_eq!(written(&partition, v), Err(EncodeError::TagOrder(1)));
        assert_eq!(
            written(&partition, FetchResponse::version(11)).unwrap_err(),
            EncodeError::FieldNotInVersion { field: "current_leader", version: 11 }
        );
        partition.current_leader = LeaderIdAndEpoch::default();
        let err = written(&partition, FetchResponse::version(11)).unwrap_err();
        assert_eq!(err, EncodeError::TaggedFieldsNotInVersion { version: 11 });
    }

    #[test]
    fn a_set_field_that_the_version_lacks_is_refused_unless_ignorable() {
        let by_id = DeleteTopicsRequest { topics: vec![Default::default()], ..Default::default() };
        let refused = EncodeError::FieldNotInVersion { field: "topics", version: 5 };
        assert_eq!(by_id.encode(&mut Writer::default(), 5), Err(refused));
        let with_rack = FetchRequest { rack_id: "r".into(), ..Default::default() };
        assert_eq!(with_rack.encode(&mut Writer::default(), 10), Ok(()));
    }

    #[test]
    fn a_version_that_does_not_exist_is_refused() {
        let decoded = ProduceRequest::decode(&mut Reader::new(Bytes::new()), 12);
        assert_eq!(decoded, Err(DecodeError::UnsupportedVersion { message: "ProduceRequest", version: 12 }));
        let encoded = ProduceRequest::default().encode(&mut Writer::default(), -1);
        assert_eq!(encoded, Err(EncodeError::UnsupportedVersion { message: "ProduceRequest", version: -1 }));
    }

    #[test]
    fn external_records_leave_a_cut_where_their_bytes_belong() {
        let response = |first, second| FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic: "t".into(),
                partitions: vec![
                    PartitionData { records: Some(first), ..Default::default() },
                    PartitionData { records: Some(second), partition_index: 1, ..Default::default() },
                ],
                ..Default::default()
            }],
            ..Default::default()
        };
        let (first, second) = (Bytes::from_static(b"first"), Bytes::from(vec![b'2'; 300]));
        for version in [4, 12] {
            let mut whole = Writer::default();
            response(Records::Bytes(first.clone()), Records::Bytes(second.clone()))
                .encode(&mut whole, version)
                .unwrap();
            let mut cut = Writer::default();
            let external = |token, bytes: &Bytes| Records::External { token, len: bytes.len() as u32 };
            response(external(7, &first), external(8, &second)).encode(&mut cut, version).unwrap();
            assert_eq!(cut.wire_len(), whole.wire_len());

            let (bytes, cuts) = cut.into_parts();
            assert_eq!(cuts.iter().map(|cut| (cut.token, cut.len)).collect::<Vec<_>>(), [(7, 5), (8, 300)]);
            let mut joined = bytes[..cuts[0].position].to_vec();
            joined.extend_from_slice(&first);
            joined.extend_from_slice(&bytes[cuts[0].position..cuts[1].position]);
            joined.extend_from_slice(&second);
            joined.extend_from_slice(&bytes[cuts[1].position..]);
            assert_eq!(joined, whole.into_parts().0);
        }
    }
}
