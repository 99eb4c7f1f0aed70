//! Owns how the console consumer prints records of `__consumer_offsets` and `__transaction_state`. Kafka:
//! `OffsetsMessageFormatter`, `GroupMetadataMessageFormatter`, `TransactionLogMessageFormatter`; and the deprecated ones of
//! `GroupMetadataManager` and `TransactionLog`, which print what Scala prints of the coordinators' own objects.

use super::formatter::FormatError;
use crate::common::java;
use crate::coordinator::transaction::state::TransactionState;
use crate::protocol::Str;
use crate::protocol::codec::{DecodeError, Message, Reader};
use crate::protocol::internal::group::{GroupMetadataKey, GroupMetadataValue};
use crate::protocol::internal::offset::{OffsetCommitKey, OffsetCommitValue};
use crate::protocol::internal::read_versioned;
use crate::protocol::internal::txn::{TransactionLogKey, TransactionLogValue};
use crate::tools::support::admin::scala_partition_set;
use crate::tools::support::coordinator_json::{offset_value, plain_group_value};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Clone, Copy, Debug)]
enum Records {
    Offsets,
    Groups,
    Transactions,
}

/// Which records to print, and how.
#[derive(Debug)]
pub(super) struct Coordinator {
    records: Records,
    as_scala: bool,
}

/// What a key of one of these topics names.
enum Key {
    Offset(i16, OffsetCommitKey),
    Group(i16, GroupMetadataKey),
    Transaction(i16, TransactionLogKey),
    Unknown(i16),
}

impl Coordinator {
    /// By the name of the class, without its package; None for any other class.
    pub(super) fn of_class(name: &str, as_scala: bool) -> Option<Self> {
        let records = match name {
            "OffsetsMessageFormatter" => Records::Offsets,
            "GroupMetadataMessageFormatter" => Records::Groups,
            "TransactionLogMessageFormatter" => Records::Transactions,
            _ => return None,
        };
        Some(Self { records, as_scala })
    }

    pub(super) fn write(
        &self,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        out: &mut impl Write,
    ) -> Result<(), FormatError> {
        let key = key.map(|key| self.key(key)).transpose()?;
        let value = value.map(Bytes::copy_from_slice);
        let line = if self.as_scala { as_scala(self.records, key, value)? } else { as_json(self.records, key, value)? };
        // Kafka writes the objects without a line break between them.
        out.write_all(line.unwrap_or_default().as_bytes())?;
        Ok(())
    }

    fn key(&self, bytes: &[u8]) -> Result<Key, DecodeError> {
        let mut r = Reader::new(Bytes::copy_from_slice(bytes));
        let version = r.i16()?;
        Ok(match (self.records, version) {
            (Records::Transactions, 0) => Key::Transaction(version, TransactionLogKey::decode(&mut r, version)?),
            (Records::Offsets | Records::Groups, 0 | 1) => {
                Key::Offset(version, OffsetCommitKey::decode(&mut r, version)?)
            }
            (Records::Offsets | Records::Groups, 2) => Key::Group(version, GroupMetadataKey::decode(&mut r, version)?),
            _ => Key::Unknown(version),
        })
    }
}

// ---- JSON

/// None for a record of the other kind in the same topic.
fn as_json(records: Records, key: Option<Key>, value: Option<Bytes>) -> Result<Option<String>, DecodeError> {
    let key = match (records, key) {
        (_, None) => Value::Null,
        (Records::Offsets, Some(Key::Group(..))) | (Records::Groups, Some(Key::Offset(..))) => return Ok(None),
        (_, Some(Key::Offset(version, key))) => {
            with_version(version, json!({"group": &*key.group, "topic": &*key.topic, "partition": key.partition}))
        }
        (_, Some(Key::Group(version, key))) => with_version(version, json!({"group": &*key.group})),
        (_, Some(Key::Transaction(version, key))) => {
            with_version(version, json!({"transactionalId": &*key.transactional_id}))
        }
        (_, Some(Key::Unknown(version))) => with_version(version, json!("unknown")),
    };
    let value = match value {
        None => Value::Null,
        Some(bytes) => match records {
            Records::Offsets => value_json(bytes, |version, value| offset_value(&value, version))?,
            Records::Groups => value_json(bytes, |version, value| plain_group_value(&value, version))?,
            Records::Transactions => value_json(bytes, transaction_json)?,
        },
    };
    Ok(Some(json!({"key": key, "value": value}).to_string()))
}

fn with_version(version: i16, data: Value) -> Value {
    json!({"version": version, "data": data})
}

fn value_json<M: Message>(bytes: Bytes, data: impl Fn(i16, M) -> Value) -> Result<Value, DecodeError> {
    Ok(match read_versioned::<M>(bytes) {
        Ok((version, message)) => with_version(version, data(version, message)),
        Err(DecodeError::UnsupportedVersion { version, .. }) => with_version(version, json!("unknown")),
        Err(error) => return Err(error),
    })
}

fn transaction_json(_: i16, value: TransactionLogValue) -> Value {
    let partitions = value.transaction_partitions.map(|topics| {
        let topics = topics.iter().map(|t| json!({"topic": &*t.topic, "partitionIds": t.partition_ids}));
        topics.collect::<Vec<Value>>()
    });
    json!({
        "producerId": value.producer_id,
        "producerEpoch": value.producer_epoch,
        "transactionTimeoutMs": value.transaction_timeout_ms,
        "transactionStatus": value.transaction_status,
        "transactionPartitions": partitions,
        "transactionLastUpdateTimestampMs": value.transaction_last_update_timestamp_ms,
        "transactionStartTimestampMs": value.transaction_start_timestamp_ms,
    })
}

// ---- the output of the deprecated classes

/// None for a record that the class skips.
fn as_scala(records: Records, key: Option<Key>, value: Option<Bytes>) -> Result<Option<String>, FormatError> {
    Ok(match (records, key) {
        (Records::Offsets, Some(Key::Offset(_, key))) => {
            let value = scala_value(value, "Unknown offset message version: ", offset_text)?;
            Some(format!("[{},{},{}]::{value}\n", key.group, key.topic, key.partition))
        }
        (Records::Groups, Some(Key::Group(_, key))) => {
            let value = scala_value(value, "Unknown group metadata message version: ", |version, value| {
                Ok(group_text(&key.group, version, value))
            })?;
            Some(format!("{}::{value}\n", key.group))
        }
        (Records::Transactions, Some(Key::Transaction(_, key))) => {
            let value = scala_value(value, "Unknown version from the transaction log message value: ", |_, value| {
                transaction_text(&key.transactional_id, value)
            })?;
            Some(format!("{}::{value}\n", key.transactional_id))
        }
        (Records::Transactions, Some(Key::Unknown(version))) => Some(format!("unknown::version={version}\n")),
        _ => None,
    })
}

fn scala_value<M: Message>(
    value: Option<Bytes>,
    unknown: &str,
    text: impl Fn(i16, M) -> Result<String, FormatError>,
) -> Result<String, FormatError> {
    let Some(bytes) = value else { return Ok("NULL".to_owned()) };
    match read_versioned::<M>(bytes) {
        Ok((version, message)) => text(version, message),
        Err(DecodeError::UnsupportedVersion { version, .. }) => {
            Err(FormatError::UnknownValue(format!("{unknown}{version}")))
        }
        Err(error) => Err(error.into()),
    }
}

fn offset_text(_: i16, value: OffsetCommitValue) -> Result<String, FormatError> {
    let epoch = match value.leader_epoch {
        -1 => "Optional.empty".to_owned(),
        epoch => format!("Optional[{epoch}]"),
    };
    let expire = match value.expire_timestamp {
        -1 => "None".to_owned(),
        at => format!("Some({at})"),
    };
    Ok(format!(
        "OffsetAndMetadata(offset={}, leaderEpoch={epoch}, metadata={}, commitTimestamp={}, expireTimestamp={expire})",
        value.offset, value.metadata, value.commit_timestamp
    ))
}

fn option(text: Option<&str>) -> String {
    text.map_or_else(|| "None".to_owned(), |text| format!("Some({text})"))
}

/// How Java prints a null reference.
fn nullable(text: Option<&Str>) -> &str {
    text.map_or("null", |text| text)
}

fn group_text(group: &str, version: i16, mut value: GroupMetadataValue) -> String {
    java::scala_order(&mut value.members, |member| java::hash_code(&member.member_id));
    let members = value.members.iter().map(|member| {
        let rebalance_timeout = if version == 0 { member.session_timeout } else { member.rebalance_timeout };
        format!(
            "{id} -> MemberMetadata(memberId={id}, groupInstanceId={}, clientId={}, clientHost={}, sessionTimeoutMs={}, \
             rebalanceTimeoutMs={rebalance_timeout}, supportedProtocols=List({}))",
            option(member.group_instance_id.as_deref()),
            member.client_id,
            member.client_host,
            member.session_timeout,
            nullable(value.protocol.as_ref()),
            id = member.member_id,
        )
    });
    format!(
        "GroupMetadata(groupId={group}, generation={}, protocolType={}, currentState={}, members=HashMap({}))",
        value.generation,
        option(Some(&*value.protocol_type).filter(|kind| !kind.is_empty())),
        if value.members.is_empty() { "Empty" } else { "Stable" },
        members.collect::<Vec<_>>().join(", "),
    )
}

fn transaction_text(id: &str, value: TransactionLogValue) -> Result<String, FormatError> {
    let status = value.transaction_status;
    let state = TransactionState::from_log(status)
        .ok_or_else(|| FormatError::UnknownValue(format!("Unknown transaction state id {status}")))?;
    let partitions = match &value.transaction_partitions {
        Some(topics) if state != TransactionState::Empty => scala_partition_set(topics),
        _ => Vec::new(),
    };
    Ok(format!(
        "TransactionMetadata(transactionalId={id}, producerId={}, producerEpoch={}, txnTimeoutMs={}, state={}, \
         pendingState=None, topicPartitions=HashSet({}), txnStartTimestamp={}, txnLastUpdateTimestamp={})",
        value.producer_id,
        value.producer_epoch,
        value.transaction_timeout_ms,
        state.name(),
        partitions.join(", "),
        value.transaction_start_timestamp_ms,
        value.transaction_last_update_timestamp_ms,
    ))
}
