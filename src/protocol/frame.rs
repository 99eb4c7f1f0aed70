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

/// Bytes reserved for a frame that is being written: most answers fit.
const CAPACITY: usize = 512;

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
        let mut w = Writer::with_capacity(CAPACITY);
        w.i32(0);
        write(&mut w)?;
        let len = w.wire_len() - SIZE_LEN;
        w.patch_i32(0, i32::try_from(len).map_err(|_| EncodeError::TooLong(len))?);
        let (bytes, cuts) = w.into_parts();
        Ok(Self { bytes, cuts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::codec::{Reader, Records};
    use crate::protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use crate::protocol::messages::{FetchResponse, HeartbeatRequest};

    #[test]
    fn a_size_is_neither_negative_nor_above_the_limit() {
        assert_eq!(frame_len([0, 0, 0, 10], 10), Ok(10));
        assert_eq!(frame_len([0, 0, 0, 11], 10), Err(FrameError::TooLarge { size: 11, max: 10 }));
        assert_eq!(frame_len([0xff; 4], 10), Err(FrameError::Negative(-1)));
        assert_eq!(frame_len(i32::MIN.to_be_bytes(), usize::MAX), Err(FrameError::Negative(i32::MIN)));
    }

    #[test]
    fn a_request_frame_is_size_header_and_message() {
        let header = RequestHeader::new(ApiKey::Heartbeat, 4, 9, "c".into());
        let request = HeartbeatRequest { group_id: "g".into(), member_id: "m".into(), ..Default::default() };
        let frame = Frame::request(ApiKey::Heartbeat, &header, &request).unwrap();
        let (size, rest) = frame.bytes.split_first_chunk().unwrap();
        assert_eq!(frame_len(*size, 1_000), Ok(rest.len()));
        let mut r = Reader::new(frame.bytes.slice(SIZE_LEN..));
        assert_eq!(RequestHeader::decode(&mut r), Ok(header));
        assert_eq!(HeartbeatRequest::decode(&mut r, 4), Ok(request));
        assert_eq!(r.remaining(), 0);
    }

    #[test]
    fn the_size_counts_external_records() {
        let partition = |len| PartitionData {
            records: Some(Records::External { token: 0, len }),
            aborted_transactions: None,
            ..Default::default()
        };
        let response = |lens: &[u32]| FetchResponse {
            responses: vec![FetchableTopicResponse {
                partitions: lens.iter().copied().map(partition).collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let frame = Frame::response(ApiKey::Fetch, 11, 1, &response(&[1_000_000])).unwrap();
        let (size, rest) = frame.bytes.split_first_chunk().unwrap();
        assert_eq!(frame_len(*size, usize::MAX), Ok(rest.len() + 1_000_000));
        assert_eq!(frame.cuts, [Cut { position: frame.bytes.len(), token: 0, len: 1_000_000 }]);

        let too_much = Frame::response(ApiKey::Fetch, 11, 1, &response(&[i32::MAX as u32, 1]));
        assert!(matches!(too_much, Err(EncodeError::TooLong(_))), "{too_much:?}");
    }
}
