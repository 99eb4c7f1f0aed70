//! Owns what goes back to a socket: encoded bytes, and ranges of files that never pass through this process.

use crate::disk::FileSlice;
use crate::protocol::Frame;
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

/// A response as it goes on the wire: size, header and body, in order.
#[derive(Debug, Default)]
pub struct Response {
    pub pieces: Vec<Piece>,
}

#[derive(Debug)]
pub enum Piece {
    Bytes(Bytes),
    File(FileSlice),
}

impl From<Bytes> for Response {
    fn from(bytes: Bytes) -> Self {
        Self { pieces: vec![Piece::Bytes(bytes)] }
    }
}

impl Response {
    /// Puts the slice that a cut's token numbers at its place.
    pub fn with_slices(frame: Frame, slices: &[FileSlice]) -> Self {
        let mut pieces = Vec::with_capacity(2 * frame.cuts.len() + 1);
        let mut at = 0;
        for cut in frame.cuts {
            if cut.position > at {
                pieces.push(Piece::Bytes(frame.bytes.slice(at..cut.position)));
                at = cut.position;
            }
            pieces.push(Piece::File(slices[cut.token as usize].clone()));
        }
        if at < frame.bytes.len() {
            pieces.push(Piece::Bytes(frame.bytes.slice(at..)));
        }
        Self { pieces }
    }
}
