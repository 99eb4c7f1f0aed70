//! Owns what comes before each request and response. Kafka: `RequestHeader`, `ResponseHeader` and their JSON files.
//!
//! ```text
//! request v0   | api key i16 | api version i16 | correlation id i32 |           ControlledShutdown v0 only
//! request v1   … | client id, nullable string |
//! request v2   … | tagged fields |                                              the client id stays in its classic form
//! response v0  | correlation id i32 |
//! response v1  … | tagged fields |
//! ```

use crate::protocol::api::ApiKey;
use crate::protocol::codec::{DecodeError, EncodeError, Nullable, RawTaggedField, Reader, Str, Version, Writer};

/// The client id is written as in version 1 in every version: an old broker must be able to read the header of a newer
/// client's ApiVersions request.
const CLASSIC: Version = Version { number: 1, flexible: false };
const FLEXIBLE: Version = Version { number: 2, flexible: true };

/// Why a frame does not start with a request header. Kafka: `InvalidRequestException`; the connection is closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("unknown API key {0}")]
    UnknownApiKey(i16),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

#[derive(Clone, Debug, PartialEq)]
pub struct RequestHeader {
    pub api_key: ApiKey,
    /// As the client sent it: it may be one that we do not know.
    pub api_version: i16,
    pub correlation_id: i32,
    /// Empty when the client sent null, as in Kafka.
    pub client_id: Str,
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl RequestHeader {
    pub fn new(api_key: ApiKey, api_version: i16, correlation_id: i32, client_id: Str) -> Self {
        Self { api_key, api_version, correlation_id, client_id, unknown_tagged_fields: Vec::new() }
    }

    pub fn decode(r: &mut Reader) -> Result<Self, HeaderError> {
        let key = r.i16()?;
        let api_version = r.i16()?;
        let api_key = ApiKey::from_wire(key).ok_or(HeaderError::UnknownApiKey(key))?;
        let header_version = api_key.request_header_version(api_version);
        let correlation_id = r.i32()?;
        let mut header = Self::new(api_key, api_version, correlation_id, Str::new());
        if header_version >= 1 {
            header.client_id = Str::read_nullable(r, CLASSIC)?.unwrap_or_default();
        }
        if header_version >= 2 {
            header.unknown_tagged_fields = r.tagged_fields(FLEXIBLE, &mut |_, _| Ok(false))?;
        }
        Ok(header)
    }

    /// `header_version`: [`ApiKey::request_header_version`].
    pub fn encode(&self, w: &mut Writer, header_version: i16) -> Result<(), EncodeError> {
        w.i16(self.api_key.wire());
        w.i16(self.api_version);
        w.i32(self.correlation_id);
        if header_version >= 1 {
            Str::write_nullable(Some(&self.client_id), w, CLASSIC)?;
        }
        if header_version >= 2 {
            w.tag_count(0, &self.unknown_tagged_fields)?;
            w.raw_tags(&self.unknown_tagged_fields)?;
        }
        Ok(())
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct ResponseHeader {
    pub correlation_id: i32,
    pub unknown_tagged_fields: Vec<RawTaggedField>,
}

impl ResponseHeader {
    pub fn new(correlation_id: i32) -> Self {
        Self { correlation_id, unknown_tagged_fields: Vec::new() }
    }

    /// `header_version`: [`ApiKey::response_header_version`] of the request that it answers.
    pub fn decode(r: &mut Reader, header_version: i16) -> Result<Self, DecodeError> {
        let mut header = Self::new(r.i32()?);
        if header_version >= 1 {
            header.unknown_tagged_fields = r.tagged_fields(FLEXIBLE, &mut |_, _| Ok(false))?;
        }
        Ok(header)
    }

    pub fn encode(&self, w: &mut Writer, header_version: i16) -> Result<(), EncodeError> {
        w.i32(self.correlation_id);
        if header_version >= 1 {
            w.tag_count(0, &self.unknown_tagged_fields)?;
            w.raw_tags(&self.unknown_tagged_fields)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn decode(bytes: &[u8]) -> Result<RequestHeader, HeaderError> {
        RequestHeader::decode(&mut Reader::new(Bytes::copy_from_slice(bytes)))
    }

    #[test]
    fn an_unknown_key_is_told_apart_from_a_broken_header() {
        assert_eq!(decode(&[0, 99, 0, 0, 0, 0, 0, 1, 0xff, 0xff]), Err(HeaderError::UnknownApiKey(99)));
        assert!(matches!(decode(&[0, 3, 0, 0, 0]), Err(HeaderError::Decode(DecodeError::Truncated { .. }))));
        assert!(matches!(decode(&[]), Err(HeaderError::Decode(DecodeError::Truncated { .. }))));
    }

    #[test]
    fn a_null_client_id_reads_as_empty() {
        assert_eq!(decode(&[0, 3, 0, 1, 0, 0, 0, 1, 0xff, 0xff]).unwrap().client_id, "");
    }

    #[test]
    fn a_version_that_we_do_not_know_still_has_a_header() {
        let header = decode(&[0, 18, 0, 99, 0, 0, 0, 7, 0, 1, b'c', 0]).unwrap();
        assert_eq!((header.api_version, header.correlation_id), (99, 7));
    }
}
