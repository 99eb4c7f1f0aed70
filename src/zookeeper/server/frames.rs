//! Owns the way from a socket to frames: | length i32 | body |, or a four-letter word in place of the first.

use bytes::{Buf, BytesMut};
use std::io;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

/// Frames from a socket.
pub(super) struct Frames {
    socket: OwnedReadHalf,
    buffer: BytesMut,
    /// Bytes of the largest frame.
    max: usize,
}

pub(super) enum First {
    Word([u8; 4]),
    Frame(BytesMut),
}

/// Bytes asked of the socket at a time. A frame is never given room by the length that it claims.
const READ_BYTES: usize = 8 << 10;

impl Frames {
    pub(super) fn new(socket: OwnedReadHalf, max: usize) -> Self {
        Self { socket, buffer: BytesMut::new(), max }
    }

    /// None: the client closed the connection.
    pub(super) async fn first(&mut self) -> io::Result<Option<First>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let word = [self.buffer[0], self.buffer[1], self.buffer[2], self.buffer[3]];
        if FOUR_LETTER_WORDS.contains(&&word) {
            return Ok(Some(First::Word(word)));
        }
        Ok(self.next().await?.map(First::Frame))
    }

    /// Cancel safe: bytes of a frame that is not whole stay in the buffer. None: the client closed the connection.
    pub(super) async fn next(&mut self) -> io::Result<Option<BytesMut>> {
        if !self.fill(4).await? {
            return Ok(None);
        }
        let claimed = (&self.buffer[..4]).get_i32();
        let length = usize::try_from(claimed).ok().filter(|length| *length <= self.max);
        let length = length.ok_or_else(|| io::Error::other(format!("frame of {claimed} bytes")))?;
        if !self.fill(4 + length).await? {
            return Ok(None);
        }
        self.buffer.advance(4);
        Ok(Some(self.buffer.split_to(length)))
    }

    /// Reads until `wanted` bytes are there; false if the client closes before.
    async fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        while self.buffer.len() < wanted {
            self.buffer.reserve(READ_BYTES);
            if self.socket.read_buf(&mut self.buffer).await? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

const FOUR_LETTER_WORDS: [&[u8; 4]; 8] = [b"ruok", b"srvr", b"stat", b"mntr", b"conf", b"cons", b"envi", b"isro"];
