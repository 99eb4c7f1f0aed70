//! Owns the way from a socket to whole frames: | size i32 | header and body, size bytes |.
//!
//! An idle connection holds no buffer. A frame's buffer grows with the bytes received, never by the size claimed, and is
//! contiguous, so that the batches in it go to the page cache as they came. Kafka: `NetworkReceive`.

use super::connection::Connection;
use super::frame_pool::{FrameBuffer, FramePool};
use super::limits::{ByteBudget, ByteHold};
use crate::protocol::frame::{self, SIZE_LEN};
use bytes::Bytes;
use std::io;
use std::sync::Arc;
use tokio::io::Interest;

/// A connection of small requests reads this much at once: several pipelined requests in one system call.
const READ_AHEAD: usize = 16 << 10;
/// Largest frame of earlier requests that a connection may ask the pool for.
const HINT_MAX: usize = 4 << 20;

#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error(transparent)]
    Size(#[from] frame::FrameError),
    #[error("the peer closed in the middle of a request")]
    Truncated,
    #[error(transparent)]
    Io(#[from] io::Error),
}

pub(super) struct FrameReader {
    pool: Arc<FramePool>,
    budget: Arc<ByteBudget>,
    size_max: usize,
    buffer: Option<FrameBuffer>,
    /// Bytes of the largest recent frame, size field included: what the next read asks for.
    expected: usize,
    /// Bytes of `budget` held by the unfinished frame.
    charged: usize,
}

/// A whole frame, and the hold it has on `queued.max.request.bytes` until it is dropped.
pub(super) struct Frame {
    pub(super) bytes: Bytes,
    pub(super) hold: ByteHold,
}

impl FrameReader {
    pub(super) fn new(pool: Arc<FramePool>, budget: Arc<ByteBudget>, size_max: usize) -> Self {
        Self { pool, budget, size_max, buffer: None, expected: 0, charged: 0 }
    }

    /// The next frame; None when the peer closed between two frames. Cancel safe: what was read stays buffered.
    pub(super) async fn next(&mut self, connection: &Connection) -> Result<Option<Frame>, FrameError> {
        loop {
            let have = self.buffer.as_ref().map_or(0, |b| b.filled().len());
            let need = self.frame_len()?;
            if let Some(need) = need.filter(|need| have >= *need) {
                return Ok(Some(self.split_frame(need)));
            }
            if have == 0 {
                self.buffer = None;
                connection.socket.readable().await?;
                self.budget.admit().await;
            }
            if self.read(connection, have, need).await? == 0 {
                return if have == 0 { Ok(None) } else { Err(FrameError::Truncated) };
            }
        }
    }

    /// Length of the frame at the front of the buffer, size field included, once its size field is there.
    fn frame_len(&self) -> Result<Option<usize>, FrameError> {
        let Some(size) = self.buffer.as_ref().and_then(|b| b.filled().first_chunk::<SIZE_LEN>()) else {
            return Ok(None);
        };
        Ok(Some(SIZE_LEN + frame::frame_len(*size, self.size_max)?))
    }

    async fn read(&mut self, connection: &Connection, have: usize, need: Option<usize>) -> Result<usize, FrameError> {
        let socket = &connection.socket;
        // Once the size is known a read ends with the frame, so that the next frame starts at the front of a buffer of its
        // own and nothing is copied; before, it asks for as much as the connection sent the last time.
        let wanted = match need {
            Some(need) => need - have,
            None => self.expected.max(READ_AHEAD),
        };
        let buffer = self.buffer.get_or_insert_with(|| self.pool.take(self.expected.max(READ_AHEAD)));
        loop {
            let room = buffer.room(wanted);
            let room_len = room.len();
            let mut got = 0;
            let outcome = socket.try_io(Interest::READABLE, || {
                got = rustix::io::read(socket, &mut *room)?;
                // A short read has emptied the socket: "would block" makes tokio forget that it was readable, which saves
                // the read that would find that out.
                if got > 0 && got < room_len { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match outcome {
                _ if got > 0 => {
                    // A sender that is slow is not idle.
                    connection.touch();
                    buffer.advance(got);
                    self.budget.charge(got);
                    self.charged += got;
                    return Ok(got);
                }
                Ok(()) => return Ok(0),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => socket.readable().await?,
                Err(e) => return Err(e.into()),
            }
        }
    }

    fn split_frame(&mut self, need: usize) -> Frame {
        let Some(buffer) = self.buffer.take() else { unreachable!("a frame is complete only in a buffer") };
        self.expected = if need >= self.expected { need.min(HINT_MAX) } else { (self.expected + need) / 2 };
        let tail = &buffer.filled()[need..];
        let tail_len = tail.len();
        if tail_len > 0 {
            let mut next = self.pool.take(self.expected.max(READ_AHEAD));
            next.extend(tail);
            self.buffer = Some(next);
        }
        let hold = self.budget.hold(self.charged - tail_len);
        self.charged = tail_len;
        Frame { bytes: Bytes::from_owner(buffer).slice(SIZE_LEN..need), hold }
    }
}

impl Drop for FrameReader {
    fn drop(&mut self) {
        drop(self.budget.hold(self.charged));
    }
}
