//! Owns what members of type `consumer` tell each other through the coordinator: subscriptions and assignments.
//! Kafka: ConsumerProtocolSubscription.json, ConsumerProtocolAssignment.json, `ConsumerProtocol`.
//!
//! Each is an i16 version and a message. Later versions only add at the end, so an unknown one is read as the newest
//! that is known.

use super::codec::{DecodeError, EncodeError, Message, Reader, Writer};
use crate::protocol::schema::message;
use bytes::Bytes;

pub use consumer_protocol_assignment::TopicPartitions;

/// `ConsumerProtocol.PROTOCOL_TYPE`.
pub const PROTOCOL_TYPE: &str = "consumer";

message! {
    consumer_protocol_subscription::ConsumerProtocolSubscription, 0..=3;

    ConsumerProtocolSubscription {
        topics: Vec<Str>, 0..;
        user_data: Option<Bytes>, 0..;
        owned_partitions: Vec<TopicPartition>, 1.., [ignorable];
        generation_id: i32 = -1, 2.., [ignorable];
        rack_id: Option<Str>, 3.., [ignorable];
    }

    TopicPartition {
        topic: Str, 1..;
        partitions: Vec<i32>, 1..;
    }
}

message! {
    consumer_protocol_assignment::ConsumerProtocolAssignment, 0..=3;

    ConsumerProtocolAssignment {
        assigned_partitions: Vec<TopicPartitions>, 0..;
        user_data: Option<Bytes>, 0..;
    }

    TopicPartitions {
        topic: Str, 0..;
        partitions: Vec<i32>, 0..;
    }
}

impl ConsumerProtocolSubscription {
    /// The topics alone, which every version begins with: a coordinator depends on no more than that.
    pub fn topics_of(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes.clone());
        check_version(r.i16()?, Self::NAME)?;
        Self::decode(&mut r, 0)
    }

    pub fn encode_versioned(&self, version: i16) -> Result<Bytes, EncodeError> {
        encode(self, version)
    }
}

impl ConsumerProtocolAssignment {
    pub fn decode_versioned(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes.clone());
        let version = r.i16()?;
        check_version(version, Self::NAME)?;
        Self::decode(&mut r, version.min(*Self::VERSIONS.end()))
    }

    pub fn encode_versioned(&self, version: i16) -> Result<Bytes, EncodeError> {
        encode(self, version)
    }
}

fn encode<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut w = Writer::with_capacity(64);
    w.i16(version);
    message.encode(&mut w, version)?;
    Ok(w.into_parts().0)
}

fn check_version(version: i16, message: &'static str) -> Result<(), DecodeError> {
    if version < 0 { Err(DecodeError::UnsupportedVersion { message, version }) } else { Ok(()) }
}
