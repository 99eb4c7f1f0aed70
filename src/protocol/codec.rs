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
use bytes::{BufMut, Bytes, BytesMut};

/// UTF-8 text that shares the frame it was read from: cloning is one reference count.
pub use bytestring::ByteString as Str;

/// The longest string of either form (Kafka's `Short.MAX_VALUE`).
pub const MAX_STRING_BYTES: usize = i16::MAX as usize;

/// Bytes of decoded structures that each byte of a frame may become. Kafka's own messages stay under 6 (an offset fetch
/// of many partitions); only a frame made to hurt is more.
pub const DECODE_BUDGET_PER_FRAME_BYTE: usize = 8;

/// Bytes of decoded structures that every frame may become, however short it is: short names make small frames dense.
pub const DECODE_BUDGET_BASE: usize = 64 * 1024;

/// Why bytes are not a message. The sender is at fault: Kafka closes the connection on each of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{need} bytes announced, {have} left")]
    Truncated { need: usize, have: usize },
    #[error("null where a value is required")]
    Null,
    #[error("string of {0} bytes is too long")]
    StringTooLong(usize),
    #[error("string is not UTF-8")]
    NotUtf8,
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
    /// `len` bytes that whoever knows `token` supplies. The encoder writes the length and notes a [`Cut`].
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
#[derive(Debug)]
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
        Self::with_budget(frame, budget)
    }

    /// `budget`: bytes of memory that decoded structures may take; slices of the frame cost nothing.
    pub fn with_budget(frame: Bytes, budget: usize) -> Self {
        let end = frame.len();
        Self { frame, at: 0, end, budget, budget_at_start: budget }
    }

    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// Bytes of memory charged so far.
    pub fn charged(&self) -> usize {
        self.budget_at_start - self.budget
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
        let text = Str::try_from(self.slice(len)?).map_err(|_| DecodeError::NotUtf8)?;
        Ok(Some(text))
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
                self.charge(size_of::<RawTaggedField>())?;
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
    buf: BytesMut,
    cuts: Vec<Cut>,
    external_len: usize,
}

impl Writer {
    pub fn with_capacity(bytes: usize) -> Self {
        Self { buf: BytesMut::with_capacity(bytes), ..Self::default() }
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
        (self.buf.freeze(), self.cuts)
    }

    pub fn i16(&mut self, value: i16) {
        self.buf.put_i16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.buf.put_i32(value);
    }

    /// Overwrites four bytes written earlier: the size before a frame is known last.
    pub(crate) fn patch_i32(&mut self, position: usize, value: i32) {
        self.buf[position..position + 4].copy_from_slice(&value.to_be_bytes());
    }

    pub fn unsigned_varint(&mut self, value: u32) {
        let (bytes, len) = unsigned_varint_bytes(value);
        self.buf.put_slice(&bytes[..len]);
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
            self.buf.put_slice(&field.data);
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
        self.buf.put_bytes(0, size_len);
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
                w.buf.put_slice(&self.to_be_bytes());
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
        w.buf.put_u8(u8::from(*self));
        Ok(())
    }
}

impl Wire for Uuid {
    fn read(r: &mut Reader, _: Version) -> Result<Self, DecodeError> {
        r.take().map(Self)
    }
    fn write(&self, w: &mut Writer, _: Version) -> Result<(), EncodeError> {
        w.buf.put_slice(&self.0);
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
        w.buf.put_slice(value.map_or(&[], |text| text.as_bytes()));
        Ok(())
    }
}

impl Nullable for Bytes {
    fn read_nullable(r: &mut Reader, v: Version) -> Result<Option<Self>, DecodeError> {
        r.length(v.flexible)?.map(|len| r.slice(len)).transpose()
    }
    fn write_nullable(value: Option<&Self>, w: &mut Writer, v: Version) -> Result<(), EncodeError> {
        w.length(value.map(Self::len), v.flexible)?;
        w.buf.put_slice(value.map_or(&[], |bytes| bytes));
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
            Some(Self::Bytes(bytes)) => w.buf.put_slice(bytes),
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
