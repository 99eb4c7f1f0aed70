//! Owns what goes back to a socket: encoded bytes, and ranges of files that never pass through this process.

use crate::disk::FileSlice;
use bytes::Bytes;

/// What a handler decides about its connection.
#[derive(Debug)]
pub enum Reply {
    /// Nothing is sent (Produce with acks=0); the next request is read.
    Nothing,
    Send(Response),
    /// The connection ends without an answer, as Kafka does with what it can't parse or doesn't serve.
    Close,
}

/// A response: header and body without the four bytes of the size, in order.
#[derive(Debug, Default)]
pub struct Response {
    pub pieces: Vec<Piece>,
}

#[derive(Debug)]
pub enum Piece {
    Bytes(Bytes),
    File(FileSlice),
}

impl Piece {
    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::File(slice) => slice.len as usize,
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Response {
    /// Bytes on the wire after the size.
    pub fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Bytes> for Response {
    fn from(bytes: Bytes) -> Self {
        Self { pieces: vec![Piece::Bytes(bytes)] }
    }
}
