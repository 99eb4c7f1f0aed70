//! Owns jute, the record encoding of ZooKeeper's wire and of our own ZooKeeper files. Big endian throughout:
//!
//! ```text
//! int, long    4 or 8 bytes              boolean    1 byte, 0 is false
//! buffer       | length i32 | bytes |    ustring    a buffer of UTF-8        vector    | count i32 | items |
//! ```
//! A length or count of -1 is null, which ZooKeeper keeps distinct from empty. Counterpart: `BinaryInputArchive`,
//! `BinaryOutputArchive`. No length is believed before the bytes are there. Pure.

use bytes::Bytes;

/// Bytes that are not the record they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed record: {0}")]
pub struct Malformed(pub &'static str);

/// Reads a record from the front of a slice.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(Malformed("ends early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed("ends early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.byte()? != 0)
    }

    pub fn int(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    pub fn long(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// Null is None. The slice borrows from the input.
    pub fn slice(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        match self.int()? {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).map_err(|_| Malformed("negative length"))?;
                self.take(length).map(Some)
            }
        }
    }

    /// Null is None. Copied, so that a small value does not keep the frame it came in.
    pub fn buffer(&mut self) -> Result<Option<Bytes>, Malformed> {
        Ok(self.slice()?.map(Bytes::copy_from_slice))
    }

    pub fn nullable_string(&mut self) -> Result<Option<String>, Malformed> {
        let Some(bytes) = self.slice()? else { return Ok(None) };
        let text = std::str::from_utf8(bytes).map_err(|_| Malformed("not UTF-8"))?;
        Ok(Some(text.to_owned()))
    }

    /// A string that ZooKeeper's server cannot work without.
    pub fn string(&mut self) -> Result<String, Malformed> {
        self.nullable_string()?.ok_or(Malformed("null string"))
    }

    /// Null is empty. An item takes at least four bytes on the wire, which bounds the count before anything is reserved.
    pub fn vector<T>(&mut self, mut item: impl FnMut(&mut Self) -> Result<T, Malformed>) -> Result<Vec<T>, Malformed> {
        let count = match self.int()? {
            -1 => 0,
            count => usize::try_from(count).map_err(|_| Malformed("negative count"))?,
        };
        if count > self.rest.len() / 4 {
            return Err(Malformed("more items than bytes"));
        }
        (0..count).map(|_| item(self)).collect()
    }
}

/// Appends records to a vector of bytes.
#[derive(Debug, Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
}

impl Writer {
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    pub fn int(&mut self, value: i32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    pub fn long(&mut self, value: i64) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// # Panics
    /// On more than 2 GiB: every value came in by a frame of at most `jute.maxbuffer` bytes.
    fn length(&mut self, length: usize) {
        self.int(i32::try_from(length).expect("values are bounded by the frame they came in"));
    }

    pub fn buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                self.length(bytes.len());
                self.bytes.extend_from_slice(bytes);
            }
        }
    }

    pub fn string(&mut self, value: &str) {
        self.buffer(Some(value.as_bytes()));
    }

    pub fn vector<T>(&mut self, items: impl ExactSizeIterator<Item = T>, mut item: impl FnMut(&mut Self, T)) {
        self.length(items.len());
        for it in items {
            item(self, it);
        }
    }

    /// Writes a length i32 and then what `body` writes, as frames on the wire are written.
    pub fn frame(&mut self, body: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.int(0);
        body(self);
        let length = i32::try_from(self.bytes.len() - at - 4).expect("a frame is below 2 GiB");
        self.bytes[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_distinct() {
        let mut w = Writer::default();
        w.buffer(None);
        w.buffer(Some(b""));
        let mut r = Reader::new(&w.bytes);
        assert_eq!((r.buffer(), r.buffer()), (Ok(None), Ok(Some(Bytes::new()))));
        assert!(r.is_empty());
    }

    #[test]
    fn claimed_lengths_are_checked_before_use() {
        let huge = i32::MAX.to_be_bytes();
        assert_eq!(Reader::new(&huge).buffer(), Err(Malformed("ends early")));
        assert_eq!(Reader::new(&huge).vector(Reader::int), Err(Malformed("more items than bytes")));
        assert_eq!(Reader::new(&(-2i32).to_be_bytes()).buffer(), Err(Malformed("negative length")));
    }

    #[test]
    fn frame_writes_the_length_of_its_body() {
        let mut w = Writer::default();
        w.bool(true);
        w.frame(|w| w.long(7));
        assert_eq!(w.bytes, [1, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 7]);
    }
}
