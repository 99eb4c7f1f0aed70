//! Owns the JSON that Kafka's tools print of the records of `__consumer_offsets`. Kafka: the generated
//! `*JsonConverter` classes, `CoordinatorRecordSerde`, and the decoding of members' subscriptions in `DumpLogSegments`.

mod consumer_group;

use crate::protocol::codec::Message;
use crate::protocol::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, PROTOCOL_TYPE};
use crate::protocol::internal::group::{GroupMetadataKey, GroupMetadataValue, MemberMetadata};
use crate::protocol::internal::offset::{OffsetCommitKey, OffsetCommitValue};
use crate::protocol::{Reader, Str};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// Why a record has no JSON.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// Written by a newer Kafka.
    #[error("Found an unknown record type {0}")]
    UnknownType(i16),
    #[error("Could not read version from {0}'s buffer.")]
    NoVersion(&'static str),
    #[error("Could not read record with version {version} from {part}'s buffer due to: {why}.")]
    Unreadable { version: i16, part: &'static str, why: String },
}

/// A record of the offsets topic, each part with the version that it was written in.
#[derive(Debug, PartialEq)]
pub(crate) struct CoordinatorRecord {
    pub key: (i16, Value),
    /// None is a tombstone.
    pub value: Option<(i16, Value)>,
}

impl CoordinatorRecord {
    pub(crate) fn read(key: &[u8], value: Option<&[u8]>) -> Result<Self, JsonError> {
        use consumer_group as of;
        let key_type = version_of(key, "key")?;
        match key_type {
            0 | 1 => Self::of(key, value, offset_key, offset_value),
            2 => Self::of(key, value, group_key, group_value),
            3 => Self::of(key, value, of::metadata_key, of::metadata_value),
            4 => Self::of(key, value, of::partition_metadata_key, of::partition_metadata_value),
            5 => Self::of(key, value, of::member_metadata_key, of::member_metadata_value),
            6 => Self::of(key, value, of::target_metadata_key, of::target_metadata_value),
            7 => Self::of(key, value, of::target_member_key, of::target_member_value),
            8 => Self::of(key, value, of::current_member_key, of::current_member_value),
            other => Err(JsonError::UnknownType(other)),
        }
    }

    fn of<K: Message, V: Message>(
        key: &[u8],
        value: Option<&[u8]>,
        key_json: fn(&K, i16) -> Value,
        value_json: fn(&V, i16) -> Value,
    ) -> Result<Self, JsonError> {
        let key = part(key, "key", key_json)?;
        Ok(Self { key, value: value.map(|value| part(value, "value", value_json)).transpose()? })
    }
}

fn version_of(bytes: &[u8], part: &'static str) -> Result<i16, JsonError> {
    bytes.first_chunk().map(|first| i16::from_be_bytes(*first)).ok_or(JsonError::NoVersion(part))
}

fn part<M: Message>(bytes: &[u8], part: &'static str, json: fn(&M, i16) -> Value) -> Result<(i16, Value), JsonError> {
    let version = version_of(bytes, part)?;
    let mut rest = Reader::new(Bytes::copy_from_slice(&bytes[2..]));
    match M::decode(&mut rest, version) {
        Ok(message) => Ok((version, json(&message, version))),
        Err(e) => Err(JsonError::Unreadable { version, part, why: e.to_string() }),
    }
}

fn offset_key(key: &OffsetCommitKey, _version: i16) -> Value {
    json!({"group": &*key.group, "topic": &*key.topic, "partition": key.partition})
}

pub(crate) fn offset_value(value: &OffsetCommitValue, version: i16) -> Value {
    let mut fields = Map::new();
    fields.insert("offset".into(), value.offset.into());
    if version >= 3 {
        fields.insert("leaderEpoch".into(), value.leader_epoch.into());
    }
    fields.insert("metadata".into(), (*value.metadata).into());
    fields.insert("commitTimestamp".into(), value.commit_timestamp.into());
    if version == 1 {
        fields.insert("expireTimestamp".into(), value.expire_timestamp.into());
    }
    fields.into()
}

fn group_key(key: &GroupMetadataKey, _version: i16) -> Value {
    json!({"group": &*key.group})
}

/// Subscriptions and assignments of consumers are decoded, those of other protocols are shown as bytes.
fn group_value(value: &GroupMetadataValue, version: i16) -> Value {
    group_of(value, version, &*value.protocol_type == PROTOCOL_TYPE)
}

/// As the generated class prints it: subscriptions and assignments are bytes.
pub(crate) fn plain_group_value(value: &GroupMetadataValue, version: i16) -> Value {
    group_of(value, version, false)
}

fn group_of(value: &GroupMetadataValue, version: i16, are_consumers: bool) -> Value {
    let mut fields = Map::new();
    fields.insert("protocolType".into(), (*value.protocol_type).into());
    fields.insert("generation".into(), value.generation.into());
    fields.insert("protocol".into(), nullable(value.protocol.as_ref()));
    fields.insert("leader".into(), nullable(value.leader.as_ref()));
    if version >= 2 {
        fields.insert("currentStateTimestamp".into(), value.current_state_timestamp.into());
    }
    let members = value.members.iter().map(|member| group_member(member, version, are_consumers));
    fields.insert("members".into(), members.collect());
    fields.into()
}

fn group_member(member: &MemberMetadata, version: i16, is_consumer: bool) -> Value {
    let mut fields = Map::new();
    fields.insert("memberId".into(), (*member.member_id).into());
    if version >= 3 {
        fields.insert("groupInstanceId".into(), nullable(member.group_instance_id.as_ref()));
    }
    fields.insert("clientId".into(), (*member.client_id).into());
    fields.insert("clientHost".into(), (*member.client_host).into());
    if version >= 1 {
        fields.insert("rebalanceTimeout".into(), member.rebalance_timeout.into());
    }
    fields.insert("sessionTimeout".into(), member.session_timeout.into());
    let (mut says, mut has) = (None, None);
    if is_consumer {
        says = part(&member.subscription, "", subscription).ok();
        has = part(&member.assignment, "", assignment).ok();
    }
    fields.insert("subscription".into(), says.map_or_else(|| base64(&member.subscription), |(_, json)| json));
    fields.insert("assignment".into(), has.map_or_else(|| base64(&member.assignment), |(_, json)| json));
    fields.into()
}

fn subscription(subscription: &ConsumerProtocolSubscription, version: i16) -> Value {
    let mut fields = Map::new();
    fields.insert("topics".into(), subscription.topics.iter().map(|topic| &**topic).collect());
    fields.insert("userData".into(), subscription.user_data.as_ref().map_or(Value::Null, base64));
    if version >= 1 {
        let owned = subscription.owned_partitions.iter();
        let owned = owned.map(|owned| json!({"topic": &*owned.topic, "partitions": owned.partitions}));
        fields.insert("ownedPartitions".into(), owned.collect());
    }
    if version >= 2 {
        fields.insert("generationId".into(), subscription.generation_id.into());
    }
    if version >= 3 {
        fields.insert("rackId".into(), nullable(subscription.rack_id.as_ref()));
    }
    fields.into()
}

fn assignment(assignment: &ConsumerProtocolAssignment, _version: i16) -> Value {
    let partitions = assignment.assigned_partitions.iter();
    let partitions: Vec<_> =
        partitions.map(|assigned| json!({"topic": &*assigned.topic, "partitions": assigned.partitions})).collect();
    json!({
        "assignedPartitions": partitions,
        "userData": assignment.user_data.as_ref().map_or(Value::Null, base64),
    })
}

fn nullable(text: Option<&Str>) -> Value {
    text.map_or(Value::Null, |text| (**text).into())
}

fn base64(bytes: &Bytes) -> Value {
    STANDARD.encode(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::internal::versioned;

    #[test]
    fn fields_are_those_of_the_version_that_was_written() {
        let key = OffsetCommitKey { group: "g".into(), topic: "t".into(), partition: 3, ..Default::default() };
        let value = OffsetCommitValue { offset: 7, leader_epoch: 2, commit_timestamp: 9, ..Default::default() };
        let key = versioned(&key, 1).unwrap();
        let shown = |version| {
            let value = versioned(&value, version).unwrap();
            let record = CoordinatorRecord::read(&key, Some(&value)).unwrap();
            (record.key.1.to_string(), record.value.unwrap().1.to_string())
        };
        assert_eq!(shown(3).0, r#"{"group":"g","topic":"t","partition":3}"#);
        assert_eq!(shown(3).1, r#"{"offset":7,"leaderEpoch":2,"metadata":"","commitTimestamp":9}"#);
        assert_eq!(shown(1).1, r#"{"offset":7,"metadata":"","commitTimestamp":9,"expireTimestamp":-1}"#);
        assert_eq!(shown(0).1, r#"{"offset":7,"metadata":"","commitTimestamp":9}"#);
        assert_eq!(CoordinatorRecord::read(&key, None).unwrap().value, None);
    }

    #[test]
    fn members_that_are_no_consumers_keep_their_bytes() {
        let member = MemberMetadata {
            subscription: Bytes::from_static(&[0, 1, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]),
            assignment: Bytes::from_static(b"junk"),
            ..Default::default()
        };
        let mut group = GroupMetadataValue { members: vec![member], ..Default::default() };
        let shown = |group: &GroupMetadataValue| {
            let member = group_value(group, 3)["members"][0].clone();
            (member["subscription"].to_string(), member["assignment"].to_string())
        };
        assert_eq!(shown(&group), (r#""AAEAAAAA/////wAAAAA=""#.to_owned(), r#""anVuaw==""#.to_owned()));
        group.protocol_type = PROTOCOL_TYPE.into();
        let says = r#"{"topics":[],"userData":null,"ownedPartitions":[]}"#.to_owned();
        assert_eq!(shown(&group), (says, r#""anVuaw==""#.to_owned()));
    }

    #[test]
    fn what_is_no_record_is_an_error() {
        use JsonError::{NoVersion, UnknownType, Unreadable};
        assert_eq!(CoordinatorRecord::read(&[0], None), Err(NoVersion("key")));
        assert_eq!(CoordinatorRecord::read(&[0, 9], None), Err(UnknownType(9)));
        assert!(matches!(CoordinatorRecord::read(&[0, 2], None), Err(Unreadable { version: 2, part: "key", .. })));
        assert_eq!(CoordinatorRecord::read(&[0, 2, 0, 0], Some(&[])), Err(NoVersion("value")));
        assert!(matches!(CoordinatorRecord::read(&[0, 2, 0, 0], Some(&[0, 3, 1])), Err(Unreadable { .. })));
    }
}
