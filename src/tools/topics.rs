//! `zurau topics`: creates, lists, describes, alters and deletes topics. Kafka: `org.apache.kafka.tools.TopicCommand`,
//! kafka-topics.sh.

use super::support::admin::{Admin, AdminError, Target};
use super::support::client_properties::{self, Properties};
use super::support::feed::INTERNAL_TOPICS;
use super::support::options::{Opt, OptionError, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use crate::common::java;
use crate::common::{ErrorCode, Uuid};
use crate::config::{self, ConfigError, Props};
use crate::protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic};
use crate::protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use crate::protocol::messages::delete_topics_request::DeleteTopicState;
use crate::protocol::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use crate::protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use crate::protocol::messages::list_partition_reassignments_response::OngoingPartitionReassignment;
use crate::protocol::messages::metadata_request::MetadataRequestTopic;
use crate::protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use crate::protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse, DeleteTopicsRequest,
    DeleteTopicsResponse, DescribeConfigsRequest, DescribeConfigsResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse,
};
use crate::protocol::{ApiKey, Str};
use regex::Regex;
use std::collections::{BTreeSet, HashMap};
use std::io::{self, Write};
use std::process::ExitCode;

const BOOTSTRAP_SERVER: Opt =
    Opt::with("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to ask first.");
const COMMAND_CONFIG: Opt =
    Opt::with("command-config", "String: command config property file", "A file of client properties.");
const LIST: Opt = Opt::flag("list", "List topics.");
const CREATE: Opt = Opt::flag("create", "Create a topic.");
const DELETE: Opt = Opt::flag("delete", "Delete topics.");
const ALTER: Opt = Opt::flag("alter", "Give a topic more partitions. Its settings are changed by kafka-configs.sh.");
const DESCRIBE: Opt = Opt::flag("describe", "Show settings and partitions of topics.");
const TOPIC: Opt = Opt::with(
    "topic",
    "String: topic",
    "The topic to create, or a pattern of those to alter, describe or delete; a period of a name is written \\. in a pattern.",
);
const TOPIC_ID: Opt = Opt::with("topic-id", "String: topic-id", "The id of the topic to describe.");
const CONFIG: Opt = Opt::with("config", "String: name=value", "A setting of the topic to create.");
const DELETE_CONFIG: Opt = Opt::with(
    "delete-config",
    "String: name",
    "Not possible through a broker: kafka-configs.sh removes a topic's settings.",
);
const PARTITIONS: Opt = Opt::with(
    "partitions",
    "Integer: # of partitions",
    "How many partitions the topic gets. Records with a key may go to other partitions when there are more.",
);
const REPLICATION_FACTOR: Opt =
    Opt::with("replication-factor", "Integer: replication factor", "How many replicas each partition gets.");
const REPLICA_ASSIGNMENT: Opt = Opt::with(
    "replica-assignment",
    "String: broker_id_for_part1_replica1 : broker_id_for_part1_replica2 , broker_id_for_part2_replica1 : \
     broker_id_for_part2_replica2 , ...",
    "Which brokers get the replicas.",
);
const UNDER_REPLICATED_PARTITIONS: Opt =
    Opt::flag("under-replicated-partitions", "Describe only partitions with a replica that is not in sync.");
const UNAVAILABLE_PARTITIONS: Opt =
    Opt::flag("unavailable-partitions", "Describe only partitions without a living leader.");
const UNDER_MIN_ISR_PARTITIONS: Opt = Opt::flag(
    "under-min-isr-partitions",
    "Describe only partitions with fewer replicas in sync than min.insync.replicas.",
);
const AT_MIN_ISR_PARTITIONS: Opt = Opt::flag(
    "at-min-isr-partitions",
    "Describe only partitions with as many replicas in sync as min.insync.replicas.",
);
const TOPICS_WITH_OVERRIDES: Opt =
    Opt::flag("topics-with-overrides", "Describe only topics with settings of their own.");
const IF_EXISTS: Opt = Opt::flag("if-exists", "Do nothing when the topic does not exist.");
const IF_NOT_EXISTS: Opt = Opt::flag("if-not-exists", "Do nothing when the topic exists.");
const EXCLUDE_INTERNAL: Opt = Opt::flag("exclude-internal", "Leave internal topics out of a list or description.");
const PARTITION_SIZE_LIMIT: Opt = Opt::with(
    "partition-size-limit-per-response",
    "Integer: maximum number of partitions in one response.",
    "How many partitions one answer of DescribeTopicPartitions may hold; brokers in ZooKeeper mode do not have that API.",
);

const TOOL: Tool = Tool {
    about: "This tool helps to create, delete, describe, or change a topic.",
    options: &[
        &BOOTSTRAP_SERVER,
        &COMMAND_CONFIG,
        &LIST,
        &CREATE,
        &DELETE,
        &ALTER,
        &DESCRIBE,
        &TOPIC,
        &TOPIC_ID,
        &CONFIG,
        &DELETE_CONFIG,
        &PARTITIONS,
        &REPLICATION_FACTOR,
        &REPLICA_ASSIGNMENT,
        &UNDER_REPLICATED_PARTITIONS,
        &UNAVAILABLE_PARTITIONS,
        &UNDER_MIN_ISR_PARTITIONS,
        &AT_MIN_ISR_PARTITIONS,
        &TOPICS_WITH_OVERRIDES,
        &IF_EXISTS,
        &IF_NOT_EXISTS,
        &EXCLUDE_INTERNAL,
        &PARTITION_SIZE_LIMIT,
    ],
};

const ACTIONS: &[&Opt] = &[&CREATE, &LIST, &ALTER, &DESCRIBE, &DELETE];
const REPORTS: &[&Opt] =
    &[&UNDER_REPLICATED_PARTITIONS, &UNDER_MIN_ISR_PARTITIONS, &AT_MIN_ISR_PARTITIONS, &UNAVAILABLE_PARTITIONS];

const TOPIC_COMMAND: &str = "org.apache.kafka.tools.TopicCommand";
/// Resource type of a topic in DescribeConfigs. Kafka: `ConfigResource.Type.TOPIC`.
const TOPIC_RESOURCE: i8 = 2;
/// The source of a setting. Kafka: `DescribeConfigsResponse.ConfigSource`.
const DEFAULT_CONFIG: i8 = 5;

/// Why an action ends; `exception` is the class of Kafka's exception, which goes to standard error.
enum CommandError {
    Said { exception: &'static str, message: String },
    Admin(AdminError),
    Output(io::Error),
}

impl From<AdminError> for CommandError {
    fn from(e: AdminError) -> Self {
        Self::Admin(e)
    }
}

impl From<io::Error> for CommandError {
    fn from(e: io::Error) -> Self {
        Self::Output(e)
    }
}

impl From<OptionError> for CommandError {
    fn from(e: OptionError) -> Self {
        let exception = match e {
            OptionError::MultipleArguments(_) => "joptsimple.MultipleArgumentsForOptionException",
            _ => "joptsimple.OptionArgumentConversionException",
        };
        Self::Said { exception, message: e.to_string() }
    }
}

fn illegal_argument(message: impl Into<String>) -> CommandError {
    CommandError::Said { exception: "java.lang.IllegalArgumentException", message: message.into() }
}

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        if args.is_empty() {
            return Err(TOOL.usage("Create, delete, describe, or change a topic."));
        }
        let options = TOOL.parse(args).map_err(Failure::message)?;
        TOOL.help_or_version(args, &options)?;
        check(&options, out)?;
        let properties = match options.value(&COMMAND_CONFIG)? {
            Some(path) => client_properties::load(path)?,
            None => Properties::new(),
        };
        let admin = Admin::new(options.required(&BOOTSTRAP_SERVER)?, &properties)?;
        let mut command = Command { admin, options: &options };
        let done = if options.has(&CREATE) {
            command.create(out)
        } else if options.has(&ALTER) {
            command.alter()
        } else if options.has(&LIST) {
            command.list(out)
        } else if options.has(&DESCRIBE) {
            command.describe(out)
        } else {
            command.delete()
        };
        let (message, exception) = match done {
            Ok(()) => return Ok(()),
            Err(CommandError::Output(e)) => return Err(e.into()),
            Err(CommandError::Said { exception, message }) => (message.clone(), format!("{exception}: {message}")),
            Err(CommandError::Admin(e)) => (e.to_string(), e.exception()),
        };
        writeln!(out, "Error while executing topic command : {message}")?;
        out.flush()?;
        terminal::error(TOPIC_COMMAND, format_args!("{exception}\n"));
        Err(Failure::Exit(1))
    })
}

/// Refuses conflicting options, in Kafka's order.
fn check(options: &Options, out: &mut Output) -> Result<(), Failure> {
    if ACTIONS.iter().filter(|action| options.has(action)).count() != 1 {
        return Err(
            TOOL.usage("Command must include exactly one action: --list, --describe, --create, --alter or --delete")
        );
    }
    if !options.has(&BOOTSTRAP_SERVER) {
        return Err(Failure::message("--bootstrap-server must be specified"));
    }
    if options.has(&DESCRIBE) && options.has(&IF_EXISTS) {
        if !options.has(&TOPIC) && !options.has(&TOPIC_ID) {
            return Err(TOOL.usage("--topic or --topic-id is required to describe a topic"));
        }
        if options.has(&TOPIC) && options.has(&TOPIC_ID) {
            writeln!(
                out,
                "Only topic id will be used when both --topic and --topic-id are specified and topicId is not Uuid.ZERO_UUID"
            )?;
        }
    }
    if !options.has(&LIST) && !options.has(&DESCRIBE) {
        TOOL.require(options, &[&TOPIC])?;
    }
    if options.has(&ALTER) {
        if options.has(&CONFIG) {
            return Err(TOOL.usage(
                "Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\" (the \
                 kafka-configs CLI supports altering topic configs with a --bootstrap-server option)",
            ));
        }
        TOOL.require(options, &[&PARTITIONS])?;
    }
    // An option is valid with these actions, and conflicts with those other options.
    let only = |opt: &Opt, beside: &[&Opt], never: &[&Opt]| {
        let other_actions = ACTIONS.iter().copied().filter(|action| !beside.iter().any(|b| b.same(action)));
        let refused: Vec<&Opt> = other_actions.chain(never.iter().copied()).collect();
        TOOL.refuse_beside(options, opt, &refused)
    };
    only(&CONFIG, &[&ALTER, &CREATE], &[])?;
    only(&DELETE_CONFIG, &[&ALTER], &[&BOOTSTRAP_SERVER])?;
    only(&PARTITIONS, &[&ALTER, &CREATE], &[])?;
    only(&REPLICATION_FACTOR, &[&CREATE], &[])?;
    only(&REPLICA_ASSIGNMENT, &[&ALTER, &CREATE], &[])?;
    if options.has(&CREATE) {
        TOOL.refuse_beside(options, &REPLICA_ASSIGNMENT, &[&PARTITIONS, &REPLICATION_FACTOR])?;
    }
    for report in REPORTS {
        only(report, &[&DESCRIBE], &[&TOPICS_WITH_OVERRIDES])?;
    }
    only(&TOPICS_WITH_OVERRIDES, &[&DESCRIBE], REPORTS)?;
    only(&IF_EXISTS, &[&ALTER, &DELETE, &DESCRIBE], &[])?;
    only(&IF_NOT_EXISTS, &[&CREATE], &[])?;
    only(&EXCLUDE_INTERNAL, &[&LIST, &DESCRIBE], &[])
}

struct Command<'a> {
    admin: Admin,
    options: &'a Options,
}

impl Command<'_> {
    fn create(&mut self, out: &mut Output) -> Result<(), CommandError> {
        let name = self.options.required(&TOPIC)?;
        let partitions = self.options.number::<i32>(&PARTITIONS)?;
        let replication_factor = self.options.number::<i32>(&REPLICATION_FACTOR)?;
        let assignment = self.assignment()?;
        let configs = self.configs()?;
        if name.contains(['.', '_']) {
            writeln!(
                out,
                "WARNING: Due to limitations in metric names, topics with a period ('.') or underscore ('_') could collide. \
                 To avoid issues it is best to use either, but not both."
            )?;
            out.flush()?;
        }
        if replication_factor.is_some_and(|rf| i16::try_from(rf).is_err() || rf < 1) {
            return Err(illegal_argument("The replication factor must be between 1 and 32767 inclusive"));
        }
        if partitions.is_some_and(|p| p < 1) {
            return Err(illegal_argument("The partitions must be greater than 0"));
        }
        let placed = |(n, brokers): (usize, Vec<i32>)| CreatableReplicaAssignment {
            partition_index: n as i32,
            broker_ids: brokers,
            ..Default::default()
        };
        let setting = |(key, value): (String, String)| CreatableTopicConfig {
            name: key.into(),
            value: Some(value.into()),
            ..Default::default()
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions.unwrap_or(-1),
            replication_factor: replication_factor.and_then(|rf| i16::try_from(rf).ok()).unwrap_or(-1),
            assignments: assignment.into_iter().enumerate().map(placed).collect(),
            configs: configs.into_iter().map(setting).collect(),
            ..Default::default()
        };
        let request =
            CreateTopicsRequest { topics: vec![topic], timeout_ms: self.admin.api_timeout_ms(), ..Default::default() };
        let answer: CreateTopicsResponse =
            self.admin.call("createTopics", Target::Controller, ApiKey::CreateTopics, &request)?;
        let failed = answer.topics.iter().find_map(|t| AdminError::of(t.error_code, t.error_message.as_deref()));
        match failed {
            None => writeln!(out, "Created topic {name}.")?,
            Some(e) if e.code() == Some(ErrorCode::TopicAlreadyExists) && self.options.has(&IF_NOT_EXISTS) => {}
            Some(e) => return Err(e.into()),
        }
        Ok(())
    }

    /// `--config`, checked as the broker will check it.
    fn configs(&self) -> Result<Props, CommandError> {
        let mut configs = Props::new();
        for pair in self.options.values(&CONFIG) {
            match pair.split('=').map(str::trim).collect::<Vec<_>>()[..] {
                [key, value] if !value.is_empty() => configs.insert(key.to_owned(), value.to_owned()),
                _ => {
                    return Err(illegal_argument(
                        "requirement failed: Invalid topic config: all configs to be added must be in the format \"key=val\".",
                    ));
                }
            };
        }
        config::topic::validate(&configs, &Props::new()).map_err(|e| {
            let exception = match e {
                ConfigError::Rule(_) | ConfigError::Unfit(_) => {
                    "org.apache.kafka.common.errors.InvalidConfigurationException"
                }
                ConfigError::Value { .. } => "org.apache.kafka.common.config.ConfigException",
            };
            CommandError::Said { exception, message: e.to_string() }
        })?;
        Ok(configs)
    }

    /// `--replica-assignment`: the brokers of each partition.
    fn assignment(&self) -> Result<Vec<Vec<i32>>, CommandError> {
        let Some(text) = self.options.value(&REPLICA_ASSIGNMENT)?.filter(|text| !text.is_empty()) else {
            return Ok(Vec::new());
        };
        parse_assignment(text)
    }

    fn list(&mut self, out: &mut Output) -> Result<(), CommandError> {
        let names = self.matching_names()?;
        writeln!(out, "{}", names.join("\n"))?;
        Ok(())
    }

    fn alter(&mut self) -> Result<(), CommandError> {
        let count = self.options.required_number::<i32>(&PARTITIONS)?;
        let assignment = self.assignment()?;
        let names = self.existing_names()?;
        if names.is_empty() {
            return Ok(());
        }
        let mut topics = Vec::new();
        for topic in self.described_topics(&names)? {
            let placed =
                |brokers: &Vec<i32>| CreatePartitionsAssignment { broker_ids: brokers.clone(), ..Default::default() };
            let added = assignment.get(topic.partitions.len()..).unwrap_or_default();
            topics.push(CreatePartitionsTopic {
                name: topic.name.unwrap_or_default(),
                count,
                assignments: (!assignment.is_empty()).then(|| added.iter().map(placed).collect()),
                ..Default::default()
            });
        }
        let request = CreatePartitionsRequest { topics, timeout_ms: self.admin.api_timeout_ms(), ..Default::default() };
        let answer: CreatePartitionsResponse =
            self.admin.call("createPartitions", Target::Controller, ApiKey::CreatePartitions, &request)?;
        match answer.results.iter().find_map(|r| AdminError::of(r.error_code, r.error_message.as_deref())) {
            Some(e) => Err(e.into()),
            None => Ok(()),
        }
    }

    fn delete(&mut self) -> Result<(), CommandError> {
        let names = self.existing_names()?;
        if names.is_empty() {
            return Ok(());
        }
        let named = |name: &String| DeleteTopicState { name: Some(name.as_str().into()), ..Default::default() };
        let request = DeleteTopicsRequest {
            topics: names.iter().map(named).collect(),
            topic_names: names.iter().map(|name| name.as_str().into()).collect(),
            timeout_ms: self.admin.api_timeout_ms(),
            ..Default::default()
        };
        let answer: DeleteTopicsResponse =
            self.admin.call("deleteTopics", Target::Controller, ApiKey::DeleteTopics, &request)?;
        match answer.responses.iter().find_map(|r| AdminError::of(r.error_code, r.error_message.as_deref())) {
            Some(e) => Err(e.into()),
            None => Ok(()),
        }
    }

    /// Names that match `--topic`, sorted; all by default.
    fn matching_names(&mut self) -> Result<Vec<String>, CommandError> {
        let exclude_internal = self.options.has(&EXCLUDE_INTERNAL);
        let pattern = self.options.value(&TOPIC)?.map(topic_filter).transpose()?;
        let all = self.admin.metadata("listTopics", None)?.topics;
        let mut names: Vec<String> = all
            .iter()
            .filter(|topic| !(exclude_internal && topic.is_internal))
            .filter_map(|topic| topic.name.as_deref())
            .filter(|name| pattern.as_ref().is_none_or(|p| p.is_match(name)))
            .filter(|name| !(exclude_internal && INTERNAL_TOPICS.contains(name)))
            .map(str::to_owned)
            .collect();
        names.sort();
        Ok(names)
    }

    fn existing_names(&mut self) -> Result<Vec<String>, CommandError> {
        let names = self.matching_names()?;
        match self.options.value(&TOPIC)? {
            // Kafka's message shows the Java wrapper of the name.
            Some(topic) if names.is_empty() && !topic.is_empty() && !self.options.has(&IF_EXISTS) => {
                Err(illegal_argument(format!("Topic 'Optional[{topic}]' does not exist as expected")))
            }
            _ => Ok(names),
        }
    }

    fn described_topics(&mut self, names: &[String]) -> Result<Vec<MetadataResponseTopic>, CommandError> {
        let asked: Vec<&str> = names.iter().map(String::as_str).collect();
        let topics = self.admin.topics("describeTopics", &asked)?;
        match topics.iter().find_map(|t| AdminError::of(t.error_code, None)) {
            Some(e) => Err(e.into()),
            None => Ok(topics),
        }
    }

    fn describe(&mut self, out: &mut Output) -> Result<(), CommandError> {
        let id = match self.options.value(&TOPIC_ID)? {
            Some(text) => Some(parse_uuid(text)?).filter(|id| !id.is_zero()),
            None => None,
        };
        let mut topics = match id {
            Some(id) => self.topic_by_id(id)?,
            None => {
                let names = self.existing_names()?;
                let mut topics = if names.is_empty() { Vec::new() } else { self.described_topics(&names)? };
                topics.sort_by(|a, b| a.name.cmp(&b.name));
                let count = topics.len();
                java::hash_order(&mut topics, count, topic_name);
                topics
            }
        };
        let mut configs = self.topic_configs(&topics)?;
        let living: BTreeSet<i32> = self.admin.nodes("describeCluster")?.iter().map(|node| node.id).collect();
        let reassignments = self.reassignments(&topics)?;
        for topic in &mut topics {
            topic.partitions.sort_by_key(|p| p.partition_index);
            let name = topic_name(topic).to_owned();
            let configs = match configs.remove(&name) {
                Some(Ok(configs)) => configs,
                Some(Err(e)) => return Err(e.into()),
                None => Vec::new(),
            };
            let description = Description { topic, configs, living: &living, reassignments: &reassignments };
            description.print(self.options, out)?;
        }
        Ok(())
    }

    fn topic_by_id(&mut self, id: Uuid) -> Result<Vec<MetadataResponseTopic>, CommandError> {
        let known = self.admin.metadata("listTopics", None)?.topics;
        if !known.iter().any(|t| t.topic_id == id && !(t.is_internal && self.options.has(&EXCLUDE_INTERNAL))) {
            if self.options.has(&IF_EXISTS) {
                return Ok(Vec::new());
            }
            return Err(illegal_argument(format!("TopicId '{id}' does not exist as expected")));
        }
        let asked = MetadataRequestTopic { topic_id: id, name: None, ..Default::default() };
        let topics = self.admin.metadata("describeTopicsWithIds", Some(vec![asked]))?.topics;
        match topics.iter().find_map(|t| AdminError::of(t.error_code, None)) {
            Some(e) => Err(e.into()),
            None => Ok(topics),
        }
    }

    fn topic_configs(
        &mut self,
        topics: &[MetadataResponseTopic],
    ) -> Result<HashMap<String, Result<Vec<DescribeConfigsResourceResult>, AdminError>>, CommandError> {
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        let resource = |topic: &MetadataResponseTopic| DescribeConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: topic.name.clone().unwrap_or_default(),
            configuration_keys: None,
            ..Default::default()
        };
        let request = DescribeConfigsRequest { resources: topics.iter().map(resource).collect(), ..Default::default() };
        let answer: DescribeConfigsResponse =
            self.admin.call("describeConfigs", Target::Any, ApiKey::DescribeConfigs, &request)?;
        let result = |r: DescribeConfigsResult| {
            let outcome = match AdminError::of(r.error_code, r.error_message.as_deref()) {
                Some(e) => Err(e),
                None => Ok(r.configs),
            };
            (r.resource_name.to_string(), outcome)
        };
        Ok(answer.results.into_iter().map(result).collect())
    }

    /// The ongoing reassignments, by topic and partition. A broker that cannot list them counts as having none, as in
    /// Kafka.
    fn reassignments(
        &mut self,
        topics: &[MetadataResponseTopic],
    ) -> Result<HashMap<(Str, i32), OngoingPartitionReassignment>, CommandError> {
        if topics.is_empty() {
            return Ok(HashMap::new());
        }
        let asked = |topic: &MetadataResponseTopic| ListPartitionReassignmentsTopics {
            name: topic.name.clone().unwrap_or_default(),
            partition_indexes: topic.partitions.iter().map(|p| p.partition_index).collect(),
            ..Default::default()
        };
        let request = ListPartitionReassignmentsRequest {
            topics: Some(topics.iter().map(asked).collect()),
            timeout_ms: self.admin.api_timeout_ms(),
            ..Default::default()
        };
        let answer: Result<ListPartitionReassignmentsResponse, _> = self.admin.call(
            "listPartitionReassignments",
            Target::Controller,
            ApiKey::ListPartitionReassignments,
            &request,
        );
        let answer = match answer {
            Ok(answer) => answer,
            Err(AdminError::Unsupported(_)) => return Ok(HashMap::new()),
            Err(e) => return Err(e.into()),
        };
        match AdminError::of(answer.error_code, answer.error_message.as_deref()) {
            Some(e) if e.code() == Some(ErrorCode::ClusterAuthorizationFailed) => return Ok(HashMap::new()),
            Some(e) => return Err(e.into()),
            None => {}
        }
        let mut moving = HashMap::new();
        for topic in answer.topics {
            for partition in topic.partitions {
                moving.insert((topic.name.clone(), partition.partition_index), partition);
            }
        }
        Ok(moving)
    }
}

/// One topic, ready to be printed.
struct Description<'a> {
    topic: &'a MetadataResponseTopic,
    configs: Vec<DescribeConfigsResourceResult>,
    living: &'a BTreeSet<i32>,
    reassignments: &'a HashMap<(Str, i32), OngoingPartitionReassignment>,
}

impl Description<'_> {
    fn print(mut self, options: &Options, out: &mut Output) -> Result<(), CommandError> {
        let reports = REPORTS.iter().any(|report| options.has(report));
        java::hash_order(&mut self.configs, 0, |c| &*c.name);
        if !reports {
            // Before version 1 the answer only says whether a setting is a default.
            let own = |c: &&DescribeConfigsResourceResult| match c.config_source {
                -1 => !c.is_default,
                source => source != DEFAULT_CONFIG,
            };
            let overrides: Vec<String> = self
                .configs
                .iter()
                .filter(own)
                .map(|c| format!("{}={}", c.name, c.value.as_deref().unwrap_or("null")))
                .collect();
            if !options.has(&TOPICS_WITH_OVERRIDES) || !overrides.is_empty() {
                self.print_topic(&overrides, out)?;
            }
        }
        if options.has(&TOPICS_WITH_OVERRIDES) {
            return Ok(());
        }
        for partition in &self.topic.partitions {
            if !reports || self.is_reported(partition, options) {
                self.print_partition(partition, out)?;
            }
        }
        Ok(())
    }

    fn is_reported(&self, partition: &MetadataResponsePartition, options: &Options) -> bool {
        let in_sync = partition.isr_nodes.len();
        let led = partition.leader_id >= 0;
        let min_isr = self.configs.iter().find(|c| &*c.name == "min.insync.replicas");
        let min_isr = min_isr.and_then(|c| c.value.as_deref()?.parse::<usize>().ok()).unwrap_or(1);
        (options.has(&UNDER_REPLICATED_PARTITIONS) && self.replication_factor(partition) > in_sync)
            || (options.has(&UNAVAILABLE_PARTITIONS) && !(led && self.living.contains(&partition.leader_id)))
            || (options.has(&UNDER_MIN_ISR_PARTITIONS) && (!led || in_sync < min_isr))
            || (options.has(&AT_MIN_ISR_PARTITIONS) && in_sync == min_isr)
    }

    fn reassignment(&self, partition: &MetadataResponsePartition) -> Option<&OngoingPartitionReassignment> {
        self.reassignments.get(&(self.topic.name.clone()?, partition.partition_index))
    }

    /// Replicas that are still being added do not count.
    fn replication_factor(&self, partition: &MetadataResponsePartition) -> usize {
        let changing = self.reassignment(partition).filter(|r| {
            partition.replica_nodes.iter().any(|id| r.adding_replicas.contains(id) || r.removing_replicas.contains(id))
        });
        match changing {
            Some(r) => r.replicas.len() - r.adding_replicas.len(),
            None => partition.replica_nodes.len(),
        }
    }

    fn print_topic(&self, overrides: &[String], out: &mut Output) -> Result<(), CommandError> {
        write!(out, "Topic: {}", topic_name(self.topic))?;
        if !self.topic.topic_id.is_zero() {
            write!(out, "\tTopicId: {}", self.topic.topic_id)?;
        }
        let replication_factor = self.topic.partitions.first().map_or(0, |p| self.replication_factor(p));
        writeln!(
            out,
            "\tPartitionCount: {}\tReplicationFactor: {replication_factor}\tConfigs: {}",
            self.topic.partitions.len(),
            overrides.join(",")
        )?;
        Ok(())
    }

    fn print_partition(&self, partition: &MetadataResponsePartition, out: &mut Output) -> Result<(), CommandError> {
        let leader = if partition.leader_id >= 0 { partition.leader_id.to_string() } else { "none".to_owned() };
        write!(
            out,
            "\tTopic: {}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}",
            topic_name(self.topic),
            partition.partition_index,
            joined(&partition.replica_nodes),
            joined(&partition.isr_nodes)
        )?;
        if let Some(moving) = self.reassignment(partition) {
            write!(
                out,
                "\tAdding Replicas: {}\tRemoving Replicas: {}",
                joined(&moving.adding_replicas),
                joined(&moving.removing_replicas)
            )?;
        }
        // Eligible leader replicas exist only in KRaft.
        writeln!(out, "\tElr: N/A\tLastKnownElr: N/A")?;
        Ok(())
    }
}

fn topic_name(topic: &MetadataResponseTopic) -> &str {
    topic.name.as_deref().unwrap_or_default()
}

fn joined(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// A Java pattern, where commas mean "or". Kafka: `TopicFilter.IncludeList`.
pub(super) fn topic_filter(text: &str) -> Result<Regex, InvalidPattern> {
    let pattern = text.trim().replace(',', "|").replace(' ', "");
    let pattern = pattern.trim_matches(['"', '\'']);
    Regex::new(&format!("^(?:{pattern})$")).map_err(|_| InvalidPattern(pattern.to_owned()))
}

/// An invalid pattern.
#[derive(Debug, thiserror::Error)]
#[error("{0} is an invalid regex.")]
pub(super) struct InvalidPattern(String);

impl From<InvalidPattern> for CommandError {
    fn from(e: InvalidPattern) -> Self {
        Self::Said { exception: "java.lang.RuntimeException", message: e.to_string() }
    }
}

fn parse_uuid(text: &str) -> Result<Uuid, CommandError> {
    if text.len() > 24 {
        return Err(illegal_argument(format!(
            "Input string with prefix `{}` is too long to be decoded as a base64 UUID",
            text.chars().take(24).collect::<String>()
        )));
    }
    let digits = text.trim_end_matches('=');
    if let Some(other) = digits.bytes().find(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'-' | b'_')) {
        return Err(illegal_argument(format!("Illegal base64 character {other:x}")));
    }
    if digits.len() % 4 == 1 {
        return Err(illegal_argument("Last unit does not have enough valid bits"));
    }
    Uuid::parse(digits).ok_or_else(|| {
        let bytes = digits.len() * 3 / 4;
        illegal_argument(format!(
            "Input string `{text}` decoded as {bytes} bytes, which is not equal to the expected 16 bytes of a base64-encoded UUID"
        ))
    })
}

/// `0:1,1:2`: partitions separated by commas, the brokers of one by colons.
fn parse_assignment(text: &str) -> Result<Vec<Vec<i32>>, CommandError> {
    let mut assignment: Vec<Vec<i32>> = Vec::new();
    for (n, list) in text.split(',').enumerate() {
        let mut brokers = Vec::new();
        for id in list.split(':').map(str::trim) {
            let id = id.parse().map_err(|_| CommandError::Said {
                exception: "java.lang.NumberFormatException",
                message: format!("For input string: \"{id}\""),
            })?;
            brokers.push(id);
        }
        let mut twice: Vec<i32> =
            brokers.iter().copied().filter(|id| brokers.iter().filter(|b| *b == id).count() > 1).collect();
        twice.sort_unstable();
        twice.dedup();
        if !twice.is_empty() {
            return Err(CommandError::Said {
                exception: "org.apache.kafka.server.common.AdminCommandFailedException",
                message: format!("Partition replica lists may not contain duplicate entries: {}", joined(&twice)),
            });
        }
        if assignment.first().is_some_and(|first| first.len() != brokers.len()) {
            let shown: Vec<String> = brokers.iter().map(ToString::to_string).collect();
            return Err(CommandError::Said {
                exception: "org.apache.kafka.server.common.AdminOperationException",
                message: format!("Partition {n} has different replication factor: [{}]", shown.join(", ")),
            });
        }
        assignment.push(brokers);
    }
    Ok(assignment)
}

#[cfg(test)]
mod tests {
    use super::{CommandError, parse_assignment, topic_filter};

    #[test]
    fn pattern_matches_whole_names_and_commas_mean_or() {
        let filter = topic_filter("a.*, b").unwrap();
        assert!(filter.is_match("abc") && filter.is_match("b"));
        assert!(!filter.is_match("bb") && !filter.is_match("xa"));
    }

    #[test]
    fn assignment_has_the_same_number_of_distinct_brokers_for_each_partition() {
        let said = |text| match parse_assignment(text) {
            Err(CommandError::Said { message, .. }) => message,
            _ => panic!("accepted"),
        };
        assert_eq!(parse_assignment("0:1, 1:2").ok(), Some(vec![vec![0, 1], vec![1, 2]]));
        assert_eq!(said("0:0"), "Partition replica lists may not contain duplicate entries: 0");
        assert_eq!(said("0:1,2"), "Partition 1 has different replication factor: [2]");
    }
}
