//! Owns the records of the internal topics. Each key and value is an i16 version and a message in that version.
//! Kafka: the JSON files of `group-coordinator`, `MessageUtil.toVersionPrefixedBytes`.

pub mod consumer_group;
pub mod group;
pub mod offset;
pub mod txn;

use super::codec::{DecodeError, EncodeError, Message, Reader, Writer};
use bytes::Bytes;

/// The version, and the message in it.
pub fn versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::with_capacity(64);
    w.i16(version);
    message.encode(&mut w, version)?;
    Ok(w.into_parts().0)
}

/// Reads the version and the message in it.
pub fn read_versioned<M: Message>(bytes: Bytes) -> Result<(i16, M), DecodeError> {
    let mut r = Reader::new(bytes);
    let version = r.i16()?;
    Ok((version, M::decode(&mut r, version)?))
}
