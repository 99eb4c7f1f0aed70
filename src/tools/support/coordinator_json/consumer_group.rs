//! Owns the JSON of the records of KIP-848, as Kafka's generated `ConsumerGroup*JsonConverter` classes print it. All of
//! their values have one version.

use super::{base64, nullable};
use crate::common::Uuid;
use crate::protocol::Str;
use crate::protocol::internal::consumer_group::{
    ClassicMemberMetadata, ConsumerGroupCurrentMemberAssignmentKey, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataKey, ConsumerGroupMemberMetadataValue, ConsumerGroupMetadataKey,
    ConsumerGroupMetadataValue, ConsumerGroupPartitionMetadataKey, ConsumerGroupPartitionMetadataValue,
    ConsumerGroupTargetAssignmentMemberKey, ConsumerGroupTargetAssignmentMemberValue,
    ConsumerGroupTargetAssignmentMetadataKey, ConsumerGroupTargetAssignmentMetadataValue, TopicMetadata,
};
use serde_json::{Value, json};

pub(super) fn metadata_key(key: &ConsumerGroupMetadataKey, _version: i16) -> Value {
    json!({"groupId": &*key.group_id})
}

pub(super) fn metadata_value(value: &ConsumerGroupMetadataValue, _version: i16) -> Value {
    json!({"epoch": value.epoch})
}

pub(super) fn partition_metadata_key(key: &ConsumerGroupPartitionMetadataKey, _version: i16) -> Value {
    json!({"groupId": &*key.group_id})
}

pub(super) fn partition_metadata_value(value: &ConsumerGroupPartitionMetadataValue, _version: i16) -> Value {
    json!({"topics": value.topics.iter().map(topic_metadata).collect::<Vec<_>>()})
}

fn topic_metadata(topic: &TopicMetadata) -> Value {
    let partitions = topic.partition_metadata.iter();
    let partitions = partitions.map(|of| json!({"partition": of.partition, "racks": texts(&of.racks)}));
    json!({
        "topicId": topic.topic_id.to_string(),
        "topicName": &*topic.topic_name,
        "numPartitions": topic.num_partitions,
        "partitionMetadata": partitions.collect::<Vec<_>>(),
    })
}

pub(super) fn member_metadata_key(key: &ConsumerGroupMemberMetadataKey, _version: i16) -> Value {
    json!({"groupId": &*key.group_id, "memberId": &*key.member_id})
}

pub(super) fn member_metadata_value(value: &ConsumerGroupMemberMetadataValue, _version: i16) -> Value {
    let mut fields = json!({
        "instanceId": nullable(value.instance_id.as_ref()),
        "rackId": nullable(value.rack_id.as_ref()),
        "clientId": &*value.client_id,
        "clientHost": &*value.client_host,
        "subscribedTopicNames": texts(&value.subscribed_topic_names),
        "subscribedTopicRegex": nullable(value.subscribed_topic_regex.as_ref()),
        "rebalanceTimeoutMs": value.rebalance_timeout_ms,
        "serverAssignor": nullable(value.server_assignor.as_ref()),
    });
    // A tagged field with its default value is omitted.
    if let Some(classic) = &value.classic_member_metadata {
        fields["classicMemberMetadata"] = classic_member(classic);
    }
    fields
}

fn classic_member(member: &ClassicMemberMetadata) -> Value {
    let protocols = member.supported_protocols.iter();
    let protocols = protocols.map(|of| json!({"name": &*of.name, "metadata": base64(&of.metadata)}));
    json!({
        "sessionTimeoutMs": member.session_timeout_ms,
        "supportedProtocols": protocols.collect::<Vec<_>>(),
    })
}

pub(super) fn target_metadata_key(key: &ConsumerGroupTargetAssignmentMetadataKey, _version: i16) -> Value {
    json!({"groupId": &*key.group_id})
}

pub(super) fn target_metadata_value(value: &ConsumerGroupTargetAssignmentMetadataValue, _version: i16) -> Value {
    json!({"assignmentEpoch": value.assignment_epoch})
}

pub(super) fn target_member_key(key: &ConsumerGroupTargetAssignmentMemberKey, _version: i16) -> Value {
    json!({"groupId": &*key.group_id, "memberId": &*key.member_id})
}

pub(super) fn target_member_value(value: &ConsumerGroupTargetAssignmentMemberValue, _version: i16) -> Value {
    let topics = value.topic_partitions.iter().map(|topic| partitions(topic.topic_id, &topic.partitions));
    json!({"topicPartitions": topics.collect::<Vec<_>>()})
}

pub(super) fn current_member_key(key: &ConsumerGroupCurrentMemberAssignmentKey, _version: i16) -> Value {
    json!({"groupId": &*key.group_id, "memberId": &*key.member_id})
}

pub(super) fn current_member_value(value: &ConsumerGroupCurrentMemberAssignmentValue, _version: i16) -> Value {
    let assigned = value.assigned_partitions.iter().map(|topic| partitions(topic.topic_id, &topic.partitions));
    let pending = value.partitions_pending_revocation.iter().map(|topic| partitions(topic.topic_id, &topic.partitions));
    json!({
        "memberEpoch": value.member_epoch,
        "previousMemberEpoch": value.previous_member_epoch,
        "state": value.state,
        "assignedPartitions": assigned.collect::<Vec<_>>(),
        "partitionsPendingRevocation": pending.collect::<Vec<_>>(),
    })
}

fn partitions(topic_id: Uuid, partitions: &[i32]) -> Value {
    json!({"topicId": topic_id.to_string(), "partitions": partitions})
}

fn texts(texts: &[Str]) -> Vec<&str> {
    texts.iter().map(|text| &**text).collect()
}
