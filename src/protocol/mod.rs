//! Owns the wire: frames, headers, messages. Kafka: `org.apache.kafka.common.protocol`. Pure, every file of it.
//!
//! Bytes come from strangers, so every decoder is bounded: a length is checked against the bytes that remain before it is
//! believed, decoded structures have a memory budget, and strings, bytes and records are slices of the frame.
//!
//! ```
//! use zurau::protocol::messages::{MetadataRequest, MetadataResponse};
//! use zurau::protocol::{ApiKey, Frame, Message, Reader, RequestHeader, frame};
//!
//! // A client asks ...
//! let header = RequestHeader::new(ApiKey::Metadata, 12, 7, "me".into());
//! let asked = Frame::request(ApiKey::Metadata, &header, &MetadataRequest::default())?;
//!
//! // ... a broker reads the size, then the frame, and answers.
//! let (size, body) = asked.bytes.split_at(frame::SIZE_LEN);
//! assert_eq!(frame::frame_len(size.try_into()?, 100 * 1024 * 1024)?, body.len());
//! let mut r = Reader::new(asked.bytes.slice(frame::SIZE_LEN..));
//! let header = RequestHeader::decode(&mut r)?;
//! assert_eq!(header.api_key, ApiKey::Metadata);
//! let request = MetadataRequest::decode(&mut r, header.api_version)?;
//! assert_eq!(request.topics, Some(vec![]));
//! let answer = MetadataResponse { controller_id: 1, ..Default::default() };
//! let frame = Frame::response(header.api_key, header.api_version, header.correlation_id, &answer)?;
//! assert!(frame.cuts.is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod api;
pub mod codec;
pub mod consumer_protocol;
#[cfg(test)]
mod corpus;
pub mod frame;
pub mod header;
pub mod internal;
pub mod messages;
#[cfg(test)]
mod random;
pub(crate) mod schema;
#[cfg(test)]
mod tests;

pub use api::ApiKey;
pub use codec::{Cut, DecodeError, EncodeError, Message, RawTaggedField, Reader, Records, Str, Writer};
pub use frame::{Frame, FrameError};
pub use header::{HeaderError, RequestHeader, ResponseHeader};
