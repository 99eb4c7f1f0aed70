//! Owns the buffers that requests are read into, so that a megabyte of produce does not fault in a megabyte of fresh pages.
//! Absent on purpose: allocation by claim. A pooled buffer has been filled by real bytes before.

use parking_lot::Mutex;
use std::sync::Arc;

/// Bytes of idle buffers kept for the next request.
const POOL_BYTES_MAX: usize = 32 << 20;
/// Larger buffers go back to the allocator: a single 100 MiB request must not fill the pool.
const POOLED_BUFFER_MAX: usize = 4 << 20;
/// What a request starts with when no pooled buffer fits. Growth beyond follows the bytes received.
pub(super) const FIRST_BUFFER: usize = 64 << 10;

#[derive(Default)]
pub(super) struct FramePool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl FramePool {
    /// An empty buffer. It has room for `hint` bytes if the pool has such a one, else for the lesser of `hint` and
    /// [`FIRST_BUFFER`]. `hint` is what the connection sent before, never what it claims.
    pub(super) fn take(self: &Arc<Self>, hint: usize) -> FrameBuffer {
        let bytes = self.pooled(hint).unwrap_or_else(|| vec![0; hint.min(FIRST_BUFFER)]);
        FrameBuffer { bytes, filled: 0, pool: Arc::clone(self) }
    }

    fn pooled(&self, hint: usize) -> Option<Vec<u8>> {
        let mut idle = self.idle.lock();
        // The last one returned is the warmest; a small request does not take a buffer that a large one can use.
        let at = idle.buffers.iter().rposition(|b| b.len() >= hint && b.len() / 8 <= hint.max(FIRST_BUFFER))?;
        let buffer = idle.buffers.swap_remove(at);
        idle.bytes -= buffer.len();
        Some(buffer)
    }

    fn give_back(&self, buffer: Vec<u8>) {
        if buffer.is_empty() || buffer.len() > POOLED_BUFFER_MAX {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.bytes + buffer.len() <= POOL_BYTES_MAX {
            idle.bytes += buffer.len();
            idle.buffers.push(buffer);
        }
    }
}

/// A buffer on loan: it goes back to its pool when the last slice of the frame is dropped (`Bytes::from_owner`).
pub(super) struct FrameBuffer {
    /// Initialised once, when the buffer is made or grows, and not again for each frame.
    bytes: Vec<u8>,
    filled: usize,
    pool: Arc<FramePool>,
}

impl FrameBuffer {
    pub(super) fn filled(&self) -> &[u8] {
        &self.bytes[..self.filled]
    }

    /// Room for the next read: at most `wanted` bytes, at least one. A full buffer doubles first, so that the memory is at
    /// most twice what has arrived.
    pub(super) fn room(&mut self, wanted: usize) -> &mut [u8] {
        if self.filled == self.bytes.len() {
            let more = wanted.min(self.filled.max(FIRST_BUFFER));
            self.bytes.reserve_exact(more);
            self.bytes.resize(self.filled + more, 0);
        }
        let end = self.bytes.len().min(self.filled + wanted);
        &mut self.bytes[self.filled..end]
    }

    /// Counts `n` bytes of [`Self::room`] as received.
    pub(super) fn advance(&mut self, n: usize) {
        self.filled += n;
    }

    pub(super) fn extend(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room(bytes.len());
            let n = room.len();
            room.copy_from_slice(&bytes[..n]);
            self.advance(n);
            bytes = &bytes[n..];
        }
    }
}

impl AsRef<[u8]> for FrameBuffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for FrameBuffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    #[test]
    fn a_buffer_returns_with_the_last_slice_of_its_frame() {
        let pool = Arc::new(FramePool::default());
        let mut buffer = pool.take(100_000);
        assert_eq!(buffer.bytes.len(), FIRST_BUFFER);
        buffer.extend(&[7; 100_000]);
        let at = buffer.bytes.as_ptr();
        let slice = Bytes::from_owner(buffer).slice(99_990..100_000);
        assert_eq!(slice, [7; 10].as_slice());
        assert_eq!(pool.take(100_000).bytes.len(), FIRST_BUFFER, "still on loan");
        drop(slice);
        assert_eq!(pool.take(100_000).bytes.as_ptr(), at);
    }

    #[test]
    fn the_pool_keeps_no_more_than_its_bound() {
        let pool = Arc::new(FramePool::default());
        let filled = |n: usize| {
            let mut buffer = pool.take(0);
            buffer.extend(&vec![0; n]);
            buffer
        };
        let buffers: Vec<_> = (0..40).map(|_| filled(1 << 20)).collect();
        drop(buffers);
        assert!(pool.idle.lock().bytes <= POOL_BYTES_MAX);
        let before = pool.idle.lock().bytes;
        drop(filled(POOLED_BUFFER_MAX + 1));
        assert_eq!(pool.idle.lock().bytes, before);
    }

    #[test]
    fn memory_follows_what_arrives_and_not_what_is_wanted() {
        let pool = Arc::new(FramePool::default());
        let mut buffer = pool.take(16 << 10);
        for _ in 0..1_000 {
            let room = buffer.room(100 << 20).len().min(1_000);
            buffer.advance(room);
            assert!(buffer.bytes.len() <= FIRST_BUFFER + 2 * buffer.filled);
        }
    }
}
