//! Owns the tool's requests about groups: each goes to the coordinator, and is retried while that moves.
//! Kafka: `KafkaAdminClient`'s group calls, `CoordinatorStrategy`.

use super::Partition;
use crate::common::ErrorCode;
use crate::common::java;
use crate::protocol::consumer_protocol::{ConsumerProtocolAssignment, PROTOCOL_TYPE};
use crate::protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use crate::protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse,
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse,
};
use crate::protocol::{ApiKey, Message};
use crate::tools::support::admin::{Admin, AdminError, Node, Target};
use crate::tools::support::client_properties::Properties;
use crate::tools::support::terminal::Failure;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// A group as ListGroups shows it.
pub(super) struct Listed {
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) state: String,
}

/// A group as DescribeGroups shows it.
pub(super) struct Described {
    pub(super) coordinator: Node,
    pub(super) state: String,
    /// The assignor that the members agreed on.
    pub(super) assignor: String,
    pub(super) members: Vec<DescribedMember>,
}

pub(super) struct DescribedMember {
    pub(super) id: String,
    pub(super) instance_id: String,
    pub(super) client_id: String,
    pub(super) host: String,
    /// In the order of a Java hash set.
    pub(super) assignment: Vec<Partition>,
}

/// The groups of a cluster.
pub(super) struct Groups {
    pub(super) admin: Admin,
}

fn is_moving(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CoordinatorLoadInProgress | ErrorCode::CoordinatorNotAvailable | ErrorCode::NotCoordinator
    )
}

impl Groups {
    pub(super) fn new(servers: &str, properties: &Properties) -> Result<Self, Failure> {
        Ok(Self { admin: Admin::new(servers, properties)? })
    }

    fn coordinator(&mut self, name: &str, group: &str, deadline: Instant) -> Result<Node, AdminError> {
        loop {
            let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
            let key = ApiKey::FindCoordinator;
            let asked: Result<FindCoordinatorResponse, _> = self.admin.call(name, Target::Any, key, &request);
            let (code, message, node) = match asked {
                Ok(mut answer) => match answer.coordinators.pop() {
                    Some(c) => (c.error_code, c.error_message, (c.node_id, c.host, c.port)),
                    None => (answer.error_code, None, (-1, "".into(), -1)),
                },
                // Before version 4 a request has one key.
                Err(AdminError::Unsupported(_)) => {
                    let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
                    let answer: FindCoordinatorResponse = self.admin.call(name, Target::Any, key, &request)?;
                    (answer.error_code, answer.error_message, (answer.node_id, answer.host, answer.port))
                }
                Err(error) => return Err(error),
            };
            match AdminError::of(code, message.as_deref().filter(|text| !text.is_empty())) {
                None => {
                    let (id, host, port) = node;
                    return Ok(Node { id, host: host.to_string(), port, rack: None });
                }
                Some(error) if error.code().is_some_and(is_moving) => self.pause(name, deadline)?,
                Some(error) => return Err(error),
            }
        }
    }

    fn pause(&self, name: &str, deadline: Instant) -> Result<(), AdminError> {
        if Instant::now() + RETRY_PAUSE >= deadline {
            return Err(AdminError::Timeout(format!("Call(callName={name}) timed out.")));
        }
        std::thread::park_timeout(RETRY_PAUSE);
        Ok(())
    }

    /// Calls the coordinator of `group`, and retries while it moves or loads. `code` reads the error of the group.
    fn ask<Q: Message, A: Message>(
        &mut self,
        name: &str,
        group: &str,
        key: ApiKey,
        request: impl Fn(bool) -> Q,
        code: impl Fn(&A) -> i16,
    ) -> Result<(Node, A), AdminError> {
        let deadline = Instant::now() + self.admin.api_timeout();
        loop {
            let node = self.coordinator(name, group, deadline)?;
            let target = Target::Broker(node.id);
            let answer: A = match self.admin.call(name, target, key, &request(true)) {
                // The broker has no version with several groups.
                Err(AdminError::Unsupported(_)) => self.admin.call(name, target, key, &request(false))?,
                other => other?,
            };
            match AdminError::of(code(&answer), None) {
                None => return Ok((node, answer)),
                Some(error) if error.code().is_some_and(is_moving) => self.pause(name, deadline)?,
                Some(error) => return Err(error),
            }
        }
    }

    /// The groups of consumers, in the order of a Java hash map.
    pub(super) fn list(&mut self, states: &[String], types: &[String]) -> Result<Vec<Listed>, AdminError> {
        const NAME: &str = "listConsumerGroups";
        let deadline = Instant::now() + self.admin.api_timeout();
        let mut listed: BTreeMap<String, Listed> = BTreeMap::new();
        for node in self.admin.nodes(NAME)? {
            loop {
                let request = ListGroupsRequest {
                    states_filter: states.iter().map(|state| state.as_str().into()).collect(),
                    types_filter: types.iter().map(|kind| kind.as_str().into()).collect(),
                    ..Default::default()
                };
                let answer: ListGroupsResponse =
                    self.admin.call(NAME, Target::Broker(node.id), ApiKey::ListGroups, &request)?;
                match AdminError::of(answer.error_code, None) {
                    Some(error) if error.code().is_some_and(is_moving) => {
                        self.pause(NAME, deadline)?;
                        continue;
                    }
                    Some(error) => return Err(error),
                    None => {}
                }
                for group in answer.groups {
                    if !group.protocol_type.is_empty() && group.protocol_type != PROTOCOL_TYPE {
                        continue;
                    }
                    let kind = match &*group.group_type {
                        "" => "Unknown",
                        "consumer" => "Consumer",
                        _ => "Classic",
                    };
                    let state = if group.group_state.is_empty() { "Unknown" } else { &group.group_state };
                    let id = group.group_id.to_string();
                    let group = Listed { id: id.clone(), kind: kind.to_owned(), state: state.to_owned() };
                    listed.insert(id, group);
                }
                break;
            }
        }
        let mut listed: Vec<Listed> = listed.into_values().collect();
        java::hash_order(&mut listed, 0, |group| &group.id);
        Ok(listed)
    }

    pub(super) fn describe(&mut self, group: &str) -> Result<Described, AdminError> {
        let request = |_| DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
        let code = |answer: &DescribeGroupsResponse| answer.groups.first().map_or(0, |group| group.error_code);
        let (coordinator, answer) = self.ask("describeConsumerGroups", group, ApiKey::DescribeGroups, request, code)?;
        let Some(described) = answer.groups.into_iter().next() else {
            return Err(AdminError::Api { code: ErrorCode::UnknownServerError, message: None });
        };
        if !described.protocol_type.is_empty() && described.protocol_type != PROTOCOL_TYPE {
            let kind = &described.protocol_type;
            let message = Some(format!("GroupId {group} is not a consumer group ({kind})."));
            return Err(AdminError::Api { code: ErrorCode::UnknownServerError, message });
        }
        let members = described.members.iter().map(|member| {
            let assigned = ConsumerProtocolAssignment::decode_versioned(&member.member_assignment).unwrap_or_default();
            let mut assignment: Vec<Partition> = Vec::new();
            for topic in assigned.assigned_partitions {
                assignment.extend(topic.partitions.iter().map(|partition| (topic.topic.to_string(), *partition)));
            }
            DescribedMember {
                id: member.member_id.to_string(),
                instance_id: member.group_instance_id.as_ref().map(ToString::to_string).unwrap_or_default(),
                client_id: member.client_id.to_string(),
                host: member.client_host.to_string(),
                assignment,
            }
        });
        Ok(Described {
            members: members.collect(),
            coordinator,
            state: described.group_state.to_string(),
            assignor: described.protocol_data.to_string(),
        })
    }

    /// The committed offsets of a group, without those of partitions with an error.
    pub(super) fn offsets(&mut self, group: &str) -> Result<BTreeMap<Partition, i64>, AdminError> {
        let request = |batched| {
            if batched {
                let group = OffsetFetchRequestGroup { group_id: group.into(), topics: None, ..Default::default() };
                OffsetFetchRequest { groups: vec![group], ..Default::default() }
            } else {
                OffsetFetchRequest { group_id: group.into(), topics: None, ..Default::default() }
            }
        };
        let code = |answer: &OffsetFetchResponse| answer.groups.first().map_or(answer.error_code, |g| g.error_code);
        let (_, answer) = self.ask("listConsumerGroupOffsets", group, ApiKey::OffsetFetch, request, code)?;
        let mut offsets = BTreeMap::new();
        let mut take = |topic: &str, partition, offset, code: i16| {
            if code == 0 && offset >= 0 {
                offsets.insert((topic.to_owned(), partition), offset);
            }
        };
        for topic in answer.groups.iter().flat_map(|group| &group.topics) {
            for p in &topic.partitions {
                take(&topic.name, p.partition_index, p.committed_offset, p.error_code);
            }
        }
        for topic in &answer.topics {
            for p in &topic.partitions {
                take(&topic.name, p.partition_index, p.committed_offset, p.error_code);
            }
        }
        Ok(offsets)
    }

    pub(super) fn commit(&mut self, group: &str, offsets: &[(Partition, i64)]) -> Result<(), AdminError> {
        let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
        for ((topic, partition), offset) in offsets {
            topics.entry(topic).or_default().push(OffsetCommitRequestPartition {
                partition_index: *partition,
                committed_offset: *offset,
                ..Default::default()
            });
        }
        let topics: Vec<_> = topics
            .into_iter()
            .map(|(name, partitions)| OffsetCommitRequestTopic { name: name.into(), partitions, ..Default::default() })
            .collect();
        let request = |_| OffsetCommitRequest { group_id: group.into(), topics: topics.clone(), ..Default::default() };
        let code = |answer: &OffsetCommitResponse| {
            let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
            codes.find(|code| *code != 0).unwrap_or(0)
        };
        self.ask("alterConsumerGroupOffsets", group, ApiKey::OffsetCommit, request, code).map(drop)
    }

    pub(super) fn delete(&mut self, group: &str) -> Result<(), AdminError> {
        let request = |_| DeleteGroupsRequest { groups_names: vec![group.into()], ..Default::default() };
        let code = |answer: &DeleteGroupsResponse| answer.results.first().map_or(0, |result| result.error_code);
        self.ask("deleteConsumerGroups", group, ApiKey::DeleteGroups, request, code).map(drop)
    }

    /// The result of each partition, in their order.
    pub(super) fn delete_offsets(
        &mut self,
        group: &str,
        partitions: &[Partition],
    ) -> Result<Vec<Result<(), AdminError>>, AdminError> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for (topic, partition) in partitions {
            let asked = OffsetDeleteRequestPartition { partition_index: *partition, ..Default::default() };
            topics.entry(topic).or_default().push(asked);
        }
        let topics: Vec<_> = topics
            .into_iter()
            .map(|(name, partitions)| OffsetDeleteRequestTopic { name: name.into(), partitions, ..Default::default() })
            .collect();
        let request = |_| OffsetDeleteRequest { group_id: group.into(), topics: topics.clone(), ..Default::default() };
        let code = |answer: &OffsetDeleteResponse| answer.error_code;
        let (_, answer) = self.ask("deleteConsumerGroupOffsets", group, ApiKey::OffsetDelete, request, code)?;
        let mut codes = BTreeMap::new();
        for topic in &answer.topics {
            codes.extend(topic.partitions.iter().map(|p| ((topic.name.to_string(), p.partition_index), p.error_code)));
        }
        let result = |partition: &Partition| AdminError::of(codes.get(partition).copied().unwrap_or(0), None);
        Ok(partitions.iter().map(|partition| result(partition).map_or(Ok(()), Err)).collect())
    }

    /// The partitions of a topic.
    pub(super) fn partitions(&mut self, topic: &str) -> Result<Vec<Partition>, AdminError> {
        let found = self.admin.topics("describeTopics", &[topic])?;
        let Some(found) = found.into_iter().next() else { return Ok(Vec::new()) };
        if let Some(error) = AdminError::of(found.error_code, None) {
            return Err(error);
        }
        let mut partitions: Vec<i32> = found.partitions.iter().map(|p| p.partition_index).collect();
        partitions.sort_unstable();
        Ok(partitions.into_iter().map(|partition| (topic.to_owned(), partition)).collect())
    }
}
