//! Owns the frame: a size, a header, a message. Kafka: `NetworkReceive`, `RequestUtils.serialize`, `SendBuilder`.
//!
//! ```text
//! | size i32, of what follows | header | request or response |
//! ```

use crate::protocol::api::ApiKey;
use crate::protocol::codec::{Cut, EncodeError, Message, Writer};
use crate::protocol::header::{RequestHeader, ResponseHeader};
use bytes::Bytes;

/// Bytes of the size before a frame.
pub const SIZE_LEN: usize = 4;

/// Why a size is not the start of a frame. Kafka: `InvalidReceiveException`; the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("invalid receive (size = {0})")]
    Negative(i32),
    #[error("invalid receive (size = {size} larger than {max})")]
    TooLarge { size: usize, max: usize },
}

/// The bytes that follow this size. `max`: socket.request.max.bytes, or what a client takes from a broker.
pub fn frame_len(size: [u8; SIZE_LEN], max: usize) -> Result<usize, FrameError> {
    let size = i32::from_be_bytes(size);
    let len = usize::try_from(size).map_err(|_| FrameError::Negative(size))?;
    if len > max { Err(FrameError::TooLarge { size: len, max }) } else { Ok(len) }
}

/// A frame ready to send: `bytes`, with what each cut's token stands for put in at its position.
#[derive(Clone, Debug)]
pub struct Frame {
    pub bytes: Bytes,
    pub cuts: Vec<Cut>,
}

impl Frame {
    pub fn request<M: Message>(key: ApiKey, header: &RequestHeader, request: &M) -> Result<Self, EncodeError> {
        Self::of(|w| {
            header.encode(w, key.request_header_version(header.api_version))?;
            request.encode(w, header.api_version)
        })
    }

    pub fn response<M: Message>(
        key: ApiKey,
        version: i16,
        correlation_id: i32,
        response: &M,
    ) -> Result<Self, EncodeError> {
        Self::of(|w| {
            ResponseHeader::new(correlation_id).encode(w, key.response_header_version(version))?;
            response.encode(w, version)
        })
    }

    fn of(write: impl FnOnce(&mut Writer) -> Result<(), EncodeError>) -> Result<Self, EncodeError> {
        let mut w = Writer::default();
        w.i32(0);
        write(&mut w)?;
        let len = w.wire_len() - SIZE_LEN;
        w.patch_i32(0, i32::try_from(len).map_err(|_| EncodeError::TooLong(len))?);
        let (bytes, cuts) = w.into_parts();
        Ok(Self { bytes, cuts })
    }
}
