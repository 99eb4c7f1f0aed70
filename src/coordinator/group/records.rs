//! Owns the records of groups and offsets, as every version of Kafka wrote them. Kafka: `GroupMetadataManager`'s
//! `groupMetadataValue`, `offsetCommitValue`, `readMessageKey` and their counterparts. Pure.

use super::metadata::Group;
use super::offsets::CommittedOffset;
use crate::common::{LeaderEpoch, TopicPartition};
use crate::coordinator::runtime::Record;
use crate::protocol::codec::{DecodeError, EncodeError, Message};
use crate::protocol::internal::group::{GroupMetadataKey, GroupMetadataValue, MemberMetadata};
use crate::protocol::internal::offset::{OffsetCommitKey, OffsetCommitValue};
use crate::protocol::internal::{read_versioned, versioned};
use crate::protocol::{Reader, Str};
use bytes::Bytes;
use std::collections::BTreeMap;

/// Versions that 3.9 writes at its own inter-broker protocol version. The flexible ones above are only read.
const OFFSET_KEY: i16 = 1;
const OFFSET_VALUE: i16 = 3;
/// The only version that can say when an offset expires.
const OFFSET_VALUE_WITH_EXPIRY: i16 = 1;
const GROUP_KEY: i16 = 2;
const GROUP_VALUE: i16 = 3;

/// "None" for the timestamps of both values.
const NO_TIMESTAMP: i64 = -1;

/// What a record of the offsets topic is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Offset {
        group: Str,
        topic: Str,
        partition: i32,
    },
    Group(Str),
    /// Of a coordinator to come, and left over from a downgrade.
    Unknown(i16),
}

pub(super) fn read_key(key: &[u8]) -> Result<Key, DecodeError> {
    let mut r = Reader::new(Bytes::copy_from_slice(key));
    Ok(match r.i16()? {
        version @ 0..=1 => {
            let key = OffsetCommitKey::decode(&mut r, version)?;
            Key::Offset { group: key.group, topic: key.topic, partition: key.partition }
        }
        GROUP_KEY => Key::Group(GroupMetadataKey::decode(&mut r, GROUP_KEY)?.group),
        other => Key::Unknown(other),
    })
}

pub(super) fn read_offset(value: &[u8]) -> Result<CommittedOffset, DecodeError> {
    let (_, value): (_, OffsetCommitValue) = read_versioned(Bytes::copy_from_slice(value))?;
    Ok(CommittedOffset {
        offset: value.offset,
        leader_epoch: LeaderEpoch(value.leader_epoch),
        metadata: value.metadata,
        commit_timestamp: value.commit_timestamp,
        expire_timestamp: Some(value.expire_timestamp).filter(|at| *at != NO_TIMESTAMP),
    })
}

/// A version 0 has no rebalance timeout: the session timeout is it.
pub(super) fn read_group(value: &[u8]) -> Result<GroupMetadataValue, DecodeError> {
    let (version, mut value): (_, GroupMetadataValue) = read_versioned(Bytes::copy_from_slice(value))?;
    if version == 0 {
        for member in &mut value.members {
            member.rebalance_timeout = member.session_timeout;
        }
    }
    Ok(value)
}

pub(super) fn offset_record(group: &Str, tp: &TopicPartition, committed: &CommittedOffset) -> Record {
    let version = if committed.expire_timestamp.is_some() { OFFSET_VALUE_WITH_EXPIRY } else { OFFSET_VALUE };
    let value = OffsetCommitValue {
        offset: committed.offset,
        leader_epoch: committed.leader_epoch.0,
        metadata: committed.metadata.clone(),
        commit_timestamp: committed.commit_timestamp,
        expire_timestamp: committed.expire_timestamp.unwrap_or(NO_TIMESTAMP),
        ..Default::default()
    };
    Record { key: offset_key(group, tp), value: Some(written(versioned(&value, version))) }
}

pub(super) fn offset_tombstone(group: &Str, tp: &TopicPartition) -> Record {
    Record { key: offset_key(group, tp), value: None }
}

fn offset_key(group: &Str, tp: &TopicPartition) -> Bytes {
    let key = OffsetCommitKey {
        group: group.clone(),
        topic: (&*tp.topic).into(),
        partition: tp.partition,
        ..Default::default()
    };
    written(versioned(&key, OFFSET_KEY))
}

pub(super) fn group_tombstone(group: &Str) -> Record {
    Record { key: group_key(group), value: None }
}

fn group_key(group: &Str) -> Bytes {
    written(versioned(&GroupMetadataKey { group: group.clone(), ..Default::default() }, GROUP_KEY))
}

/// The group as it is, with these assignments.
pub(super) fn group_record(group: &Group, assignments: &BTreeMap<Str, Bytes>) -> Record {
    let protocol = group.protocol.as_deref().unwrap_or_default();
    let members = group.members.values().map(|member| MemberMetadata {
        member_id: member.id.clone(),
        group_instance_id: member.instance_id.clone(),
        client_id: member.client_id.clone(),
        client_host: member.client_host.clone(),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.metadata(protocol),
        assignment: assignments.get(&member.id).cloned().unwrap_or_default(),
        ..Default::default()
    });
    let value = GroupMetadataValue {
        protocol_type: group.protocol_type.clone().unwrap_or_default(),
        generation: group.generation,
        protocol: group.protocol.clone(),
        leader: group.leader.clone(),
        current_state_timestamp: group.state_since.unwrap_or(NO_TIMESTAMP),
        members: members.collect(),
        ..Default::default()
    };
    Record { key: group_key(&group.id), value: Some(written(versioned(&value, GROUP_VALUE))) }
}

/// Every text came in a request or a record, and fits the same length field again (a new member's id is checked).
fn written(encoded: Result<Bytes, EncodeError>) -> Bytes {
    encoded.unwrap_or_default()
}
