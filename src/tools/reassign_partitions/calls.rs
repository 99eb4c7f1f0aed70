//! Owns the requests of kafka-reassign-partitions.sh to brokers. Kafka: the calls of `ReassignPartitionsCommand` into
//! `Admin`.

use super::plan::{Assignments, DirMove, Ongoing, Replica, command_failed, partition_name, replica_name};
use super::{Command, Stop};
use crate::common::ErrorCode;
use crate::common::java;
use crate::protocol::ApiKey;
use crate::protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use crate::protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use crate::protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;
use crate::protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use crate::protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use crate::protocol::messages::metadata_response::MetadataResponseTopic;
use crate::protocol::messages::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse, DescribeLogDirsRequest, DescribeLogDirsResponse, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse, ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};
use crate::tools::support::admin::{AdminError, Target};
use crate::tools::support::leaders::Partition;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Settings to set, or to remove where there is no value.
pub(super) type Settings = [(&'static str, Option<String>)];

impl Command<'_> {
    pub(super) fn alter_topics(&mut self, settings: Vec<(&str, Box<Settings>)>) -> Result<(), Stop> {
        if settings.is_empty() {
            return Ok(());
        }
        let resources = settings.iter().map(|(topic, settings)| resource(TOPIC_RESOURCE, topic, settings)).collect();
        self.alter_configs(Target::Any, resources)
    }

    pub(super) fn alter_brokers(&mut self, brokers: &BTreeSet<i32>, settings: &Settings) -> Result<(), Stop> {
        for id in brokers {
            self.alter_configs(Target::Broker(*id), vec![resource(BROKER_RESOURCE, &id.to_string(), settings)])?;
        }
        Ok(())
    }

    fn alter_configs(&mut self, target: Target, resources: Vec<AlterConfigsResource>) -> Result<(), Stop> {
        self.out.flush()?;
        let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
        let answer: IncrementalAlterConfigsResponse =
            self.admin.call("incrementalAlterConfigs", target, ApiKey::IncrementalAlterConfigs, &request)?;
        match answer.responses.iter().find_map(|r| AdminError::of(r.error_code, r.error_message.as_deref())) {
            Some(e) => Err(e.into()),
            None => Ok(()),
        }
    }

    pub(super) fn ongoing(
        &mut self,
        among: Option<&BTreeSet<Partition>>,
    ) -> Result<BTreeMap<Partition, Ongoing>, Stop> {
        self.out.flush()?;
        let topics = among.map(|partitions| {
            let mut topics: Vec<ListPartitionReassignmentsTopics> = Vec::new();
            for (topic, partition) in partitions {
                if topics.last().is_none_or(|last| *last.name != **topic) {
                    let name = topic.as_str().into();
                    topics.push(ListPartitionReassignmentsTopics { name, ..Default::default() });
                }
                if let Some(last) = topics.last_mut() {
                    last.partition_indexes.push(*partition);
                }
            }
            topics
        });
        let request =
            ListPartitionReassignmentsRequest { topics, timeout_ms: self.admin.api_timeout_ms(), ..Default::default() };
        let answer: ListPartitionReassignmentsResponse = self.admin.call_controller(
            "listPartitionReassignments",
            ApiKey::ListPartitionReassignments,
            &request,
            |answer: &ListPartitionReassignmentsResponse| answer.error_code,
        )?;
        if let Some(e) = AdminError::of(answer.error_code, answer.error_message.as_deref()) {
            return Err(e.into());
        }
        let mut ongoing = BTreeMap::new();
        for topic in answer.topics {
            let name = topic.name.to_string();
            ongoing.extend(topic.partitions.into_iter().map(|p| {
                let moving = Ongoing { replicas: p.replicas, adding: p.adding_replicas, removing: p.removing_replicas };
                ((name.clone(), p.partition_index), moving)
            }));
        }
        Ok(ongoing)
    }

    /// The topics by name; an unknown one is an error.
    pub(super) fn described(&mut self, names: &[String]) -> Result<Vec<MetadataResponseTopic>, Stop> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
        java::hash_order(&mut names, 0, |name| name);
        let mut topics = self.admin.topics("describeTopics", &names)?;
        for name in names {
            let topic = topics.iter().find(|topic| topic.name.as_deref() == Some(name));
            match topic.and_then(|topic| AdminError::of(topic.error_code, None)) {
                Some(e) if e.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                    let (code, message) = (ErrorCode::UnknownTopicOrPartition, format!("Topic {name} not found."));
                    return Err(AdminError::Api { code, message: Some(message) }.into());
                }
                Some(e) => return Err(e.into()),
                None => {}
            }
        }
        topics.iter_mut().for_each(|topic| topic.partitions.sort_by_key(|p| p.partition_index));
        Ok(topics)
    }

    /// The replicas that the partitions have now.
    pub(super) fn current(&mut self, proposed: &Assignments) -> Result<Assignments, Stop> {
        let names: BTreeSet<String> = proposed.keys().map(|(topic, _)| topic.clone()).collect();
        let mut current = Assignments::new();
        for topic in self.described(&names.into_iter().collect::<Vec<_>>())? {
            let name = topic.name.as_deref().unwrap_or_default();
            let partitions = topic.partitions.iter().map(|p| ((name.to_owned(), p.partition_index), p));
            let wanted = partitions.filter(|(key, _)| proposed.contains_key(key));
            current.extend(wanted.map(|(key, p)| (key, p.replica_nodes.clone())));
        }
        let mut missing: Vec<&Partition> = proposed.keys().filter(|key| !current.contains_key(*key)).collect();
        if missing.is_empty() {
            return Ok(current);
        }
        java::partition_order(&mut missing, 0, |(topic, partition)| (topic, *partition));
        let names: Vec<String> = missing.into_iter().map(partition_name).collect();
        let message = Some(format!("Unable to find partition: {}", names.join(", ")));
        Err(AdminError::Api { code: ErrorCode::UnknownTopicOrPartition, message }.into())
    }

    /// Starts moves of partitions, or cancels those without a target. Returns the refused ones.
    pub(super) fn alter_reassignments(
        &mut self,
        targets: &BTreeMap<Partition, Option<Vec<i32>>>,
    ) -> Result<BTreeMap<Partition, AdminError>, Stop> {
        let mut topics: Vec<ReassignableTopic> = Vec::new();
        for ((topic, partition), replicas) in targets {
            if topics.last().is_none_or(|last| *last.name != **topic) {
                topics.push(ReassignableTopic { name: topic.as_str().into(), ..Default::default() });
            }
            if let Some(last) = topics.last_mut() {
                last.partitions.push(ReassignablePartition {
                    partition_index: *partition,
                    replicas: replicas.clone(),
                    ..Default::default()
                });
            }
        }
        let request = AlterPartitionReassignmentsRequest {
            topics,
            timeout_ms: self.admin.api_timeout_ms(),
            ..Default::default()
        };
        let answer = self.admin.call_controller(
            "alterPartitionReassignments",
            ApiKey::AlterPartitionReassignments,
            &request,
            |answer: &AlterPartitionReassignmentsResponse| answer.error_code,
        );
        let for_all = |e: AdminError| targets.keys().map(|key| (key.clone(), e.clone())).collect();
        let answer = match answer {
            Ok(answer) => answer,
            Err(e) => return Ok(for_all(e)),
        };
        if let Some(e) = AdminError::of(answer.error_code, answer.error_message.as_deref()) {
            return Ok(for_all(e));
        }
        let mut errors = BTreeMap::new();
        for topic in &answer.responses {
            for p in &topic.partitions {
                if let Some(e) = AdminError::of(p.error_code, p.error_message.as_deref()) {
                    errors.insert((topic.name.to_string(), p.partition_index), e);
                }
            }
        }
        Ok(errors)
    }

    /// Starts moves of replicas to other directories. Returns those that the brokers accepted.
    pub(super) fn alter_dirs(&mut self, targets: &BTreeMap<Replica, String>) -> Result<Vec<Replica>, Stop> {
        let mut by_broker: BTreeMap<i32, BTreeMap<&str, Vec<_>>> = BTreeMap::new();
        for ((broker, topic, partition), dir) in targets {
            by_broker.entry(*broker).or_default().entry(dir).or_default().push((topic.as_str(), *partition));
        }
        let failed = |replica: &Replica| command_failed(format!("Failed to alter dir for {}", replica_name(replica)));
        let mut moving = Vec::new();
        for (broker, dirs) in by_broker {
            let topic = |(topic, partition): &(&str, i32)| AlterReplicaLogDirTopic {
                name: (*topic).into(),
                partitions: vec![*partition],
                ..Default::default()
            };
            let dir = |(path, replicas): (&str, Vec<(&str, i32)>)| AlterReplicaLogDir {
                path: path.into(),
                topics: replicas.iter().map(topic).collect(),
                ..Default::default()
            };
            let request =
                AlterReplicaLogDirsRequest { dirs: dirs.into_iter().map(dir).collect(), ..Default::default() };
            let answer: Result<AlterReplicaLogDirsResponse, _> =
                self.admin.call("alterReplicaLogDirs", Target::Broker(broker), ApiKey::AlterReplicaLogDirs, &request);
            let Ok(answer) = answer else {
                let first = targets.keys().find(|(id, ..)| *id == broker);
                return Err(first.map_or_else(|| command_failed("Failed to alter dir"), failed).into());
            };
            for topic in answer.results {
                for p in topic.partitions {
                    let replica = (broker, topic.topic_name.to_string(), p.partition_index);
                    match ErrorCode::from_wire(p.error_code) {
                        ErrorCode::None => moving.push(replica),
                        ErrorCode::ReplicaNotAvailable => {}
                        _ => return Err(failed(&replica).into()),
                    }
                }
            }
        }
        moving.sort();
        Ok(moving)
    }

    /// The current directories of the replicas to be moved to these directories.
    pub(super) fn dir_moves(
        &mut self,
        targets: &BTreeMap<Replica, String>,
    ) -> Result<BTreeMap<Replica, DirMove>, Stop> {
        let mut states: BTreeMap<Replica, DirMove> =
            targets.keys().map(|replica| (replica.clone(), DirMove::MissingLogDir)).collect();
        let brokers: BTreeSet<i32> = targets.keys().map(|(broker, ..)| *broker).collect();
        for broker in brokers {
            let of_broker = targets.keys().filter(|(id, ..)| *id == broker);
            let topic = |(_, topic, partition): &Replica| DescribableLogDirTopic {
                topic: topic.as_str().into(),
                partitions: vec![*partition],
                ..Default::default()
            };
            let request = DescribeLogDirsRequest { topics: Some(of_broker.map(topic).collect()), ..Default::default() };
            let answer: DescribeLogDirsResponse =
                self.admin.call("describeReplicaLogDirs", Target::Broker(broker), ApiKey::DescribeLogDirs, &request)?;
            if answer.results.is_empty()
                && let Some(e) = AdminError::of(answer.error_code, None)
            {
                return Err(e.into());
            }
            let mut places: BTreeMap<Replica, (Option<String>, Option<String>)> = BTreeMap::new();
            for dir in answer.results.iter().filter(|dir| dir.error_code == 0) {
                for topic in &dir.topics {
                    for p in &topic.partitions {
                        let place = places.entry((broker, topic.name.to_string(), p.partition_index)).or_default();
                        let at = if p.is_future_key { &mut place.1 } else { &mut place.0 };
                        *at = Some(dir.log_dir.to_string());
                    }
                }
            }
            for (replica, (current, future)) in places {
                if let (Some(state), Some(target)) = (states.get_mut(&replica), targets.get(&replica)) {
                    *state = DirMove::of(current, future, target);
                }
            }
        }
        Ok(states)
    }
}

fn resource(kind: i8, name: &str, settings: &Settings) -> AlterConfigsResource {
    let setting = |(key, value): &(&'static str, Option<String>)| AlterableConfig {
        name: (*key).into(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.as_deref().map(Into::into),
        ..Default::default()
    };
    let configs = settings.iter().map(setting).collect();
    AlterConfigsResource { resource_type: kind, resource_name: name.into(), configs, ..Default::default() }
}
