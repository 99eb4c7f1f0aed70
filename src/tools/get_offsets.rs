//! `zurau get-offsets`: offsets of partitions by time. Kafka: `org.apache.kafka.tools.GetOffsetShell`,
//! kafka-get-offsets.sh.

use super::support::admin::{Admin, AdminError};
use super::support::client_properties::{self, Properties};
use super::support::feed::INTERNAL_TOPICS;
use super::support::leaders::{self, LeaderRequest, Partition};
use super::support::options::{Opt, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use super::topics::topic_filter;
use crate::protocol::ApiKey;
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};
use regex::Regex;
use std::collections::BTreeSet;
use std::io::Write;
use std::ops::Range;
use std::process::ExitCode;

const BROKER_LIST: Opt = Opt::with(
    "broker-list",
    "String: HOST1:PORT1,...,HOST3:PORT3",
    "DEPRECATED: --bootstrap-server says the same and wins over it.",
);
const BOOTSTRAP_SERVER: Opt = Opt::with(
    "bootstrap-server",
    "String: HOST1:PORT1,...,HOST3:PORT3",
    "REQUIRED unless --broker-list is given: brokers to ask first.",
);
const TOPIC_PARTITIONS: Opt = Opt::with(
    "topic-partitions",
    "String: topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
    "Patterns apart by commas: a pattern for topics (any, when it is left out), and behind a colon a partition, or a range \
     of them whose end is not part of it.",
);
const TOPIC: Opt = Opt::with("topic", "String: topic", "A pattern for topics; all without it.");
const PARTITIONS: Opt =
    Opt::with("partitions", "String: partition ids", "Partitions, apart by commas; all without it.");
const TIME: Opt = Opt::with(
    "time",
    "String: <timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or latest-tiered",
    "Which offset: that of the first record at or after this time, or one of these marks.",
)
.default("latest");
const COMMAND_CONFIG: Opt = Opt::with("command-config", "String: config file", "A file of client properties.");
const EXCLUDE_INTERNAL_TOPICS: Opt = Opt::flag("exclude-internal-topics", "Leave internal topics out.");

const TOOL: Tool = Tool {
    about: "An interactive shell for getting topic-partition offsets.",
    options: &[
        &BROKER_LIST,
        &BOOTSTRAP_SERVER,
        &TOPIC_PARTITIONS,
        &TOPIC,
        &PARTITIONS,
        &TIME,
        &COMMAND_CONFIG,
        &EXCLUDE_INTERNAL_TOPICS,
    ],
};

/// Marks that take the place of a timestamp.
const MARKS: &[(&str, i64)] =
    &[("latest", -1), ("earliest", -2), ("max-timestamp", -3), ("earliest-local", -4), ("latest-tiered", -5)];
/// A broker's answer when no record is at or after the time.
const UNKNOWN_OFFSET: i64 = -1;
/// Marks a ListOffsets as a client's, not a replica's.
const CONSUMER_REPLICA_ID: i32 = -1;

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        if args.is_empty() {
            return Err(TOOL.usage(TOOL.about));
        }
        let options = TOOL.parse(args).map_err(occurred)?;
        if !options.has(&BOOTSTRAP_SERVER) && !options.has(&BROKER_LIST) {
            TOOL.help_or_version(args, &options)?;
            return Err(occurred("Missing required option(s) [bootstrap-server]"));
        }
        TOOL.help_or_version(args, &options)?;
        get_offsets(&options, out)
    })
}

fn occurred(text: impl std::fmt::Display) -> Failure {
    Failure::message(format_args!("Error occurred: {text}"))
}

fn get_offsets(options: &Options, out: &mut Output) -> Result<(), Failure> {
    let servers = options.required(if options.has(&BOOTSTRAP_SERVER) { &BOOTSTRAP_SERVER } else { &BROKER_LIST });
    let servers = servers.map_err(occurred)?;
    TOOL.check_host_ports(servers)?;
    let value = |opt| options.value(opt).map_err(occurred);
    if options.has(&TOPIC_PARTITIONS) && (options.has(&TOPIC) || options.has(&PARTITIONS)) {
        return Err(occurred("--topic-partitions cannot be used with --topic or --partitions"));
    }
    let timestamp = timestamp(options.required(&TIME).map_err(occurred)?)?;
    let rules = match value(&TOPIC_PARTITIONS)? {
        Some(rules) => rules.split(',').map(Rule::parse).collect::<Result<_, _>>()?,
        None => vec![Rule::new(value(&TOPIC)?.unwrap_or(".*"), partition_set(value(&PARTITIONS)?.unwrap_or(""))?)?],
    };
    let mut properties = match value(&COMMAND_CONFIG)? {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    properties.insert("client.id".to_owned(), "GetOffsetShell".to_owned());
    let mut admin = Admin::new(servers, &properties)?;

    let failed = |e: AdminError| occurred(e.exception());
    let exclude_internal = options.has(&EXCLUDE_INTERNAL_TOPICS);
    let topics = admin.metadata("listTopics", None).map_err(failed)?.topics;
    let mut partitions: Vec<Partition> = Vec::new();
    for topic in &topics {
        let name = topic.name.as_deref().unwrap_or_default();
        if exclude_internal && (topic.is_internal || INTERNAL_TOPICS.contains(&name)) {
            continue;
        }
        let ids = topic.partitions.iter().map(|p| p.partition_index);
        let wanted = ids.filter(|id| rules.iter().any(|rule| rule.allows(name, *id)));
        partitions.extend(wanted.map(|id| (name.to_owned(), id)));
    }
    if partitions.is_empty() {
        return Err(occurred("Could not match any topic-partitions with the specified filters"));
    }
    let told = leaders::ask(&mut admin, &AtTime(timestamp), partitions);
    let mut lines = Vec::new();
    for ((topic, partition), offset) in told {
        match offset {
            Ok(UNKNOWN_OFFSET) => {}
            Ok(offset) => lines.push((format!("{topic}-{partition}"), format!("{topic}:{partition}:{offset}"))),
            Err(e) => terminal::say(format_args!(
                "Skip getting offsets for topic-partition {topic}-{partition} due to error: {}",
                e.exception()
            )),
        }
    }
    // Sorted by the text of the partition, so 10 comes before 2.
    lines.sort();
    for (_, line) in lines {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn timestamp(text: &str) -> Result<i64, Failure> {
    if let Some((_, mark)) = MARKS.iter().find(|(name, _)| *name == text) {
        return Ok(*mark);
    }
    text.parse().map_err(|_| {
        occurred(format_args!(
            "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or \
             earliest-local / -5 or latest-tiered, or a specified long format timestamp"
        ))
    })
}

/// Which partitions of which topics.
#[derive(Debug)]
struct Rule {
    topics: Regex,
    partitions: PartitionRule,
}

#[derive(Debug, PartialEq)]
enum PartitionRule {
    Set(BTreeSet<i32>),
    Range(Range<i32>),
}

impl Rule {
    fn new(topics: &str, partitions: PartitionRule) -> Result<Self, Failure> {
        Ok(Self { topics: topic_filter(topics).map_err(occurred)?, partitions })
    }

    /// `topic`, `topic:1`, `topic:1-3`, `topic:1-`, `topic:-3` or the same without a topic.
    fn parse(spec: &str) -> Result<Self, Failure> {
        let invalid =
            || occurred(format_args!("org.apache.kafka.tools.TerseException: Invalid rule specification: {spec}"));
        let number = |text: &str, absent: i32| match text {
            "" => Ok(absent),
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| invalid()),
            _ => Err(invalid()),
        };
        let (topics, partitions) = spec.split_once(':').unwrap_or((spec, ""));
        let partitions = match partitions.split_once('-') {
            Some((from, to)) => PartitionRule::Range(number(from, 0)?..number(to, i32::MAX)?),
            None if partitions.is_empty() => PartitionRule::Range(0..i32::MAX),
            None => PartitionRule::Set([number(partitions, 0)?].into()),
        };
        Self::new(if topics.is_empty() { ".*" } else { topics }, partitions)
    }

    fn allows(&self, topic: &str, partition: i32) -> bool {
        let wanted = match &self.partitions {
            PartitionRule::Set(ids) => ids.is_empty() || ids.contains(&partition),
            PartitionRule::Range(range) => range.contains(&partition),
        };
        wanted && self.topics.is_match(topic)
    }
}

fn partition_set(text: &str) -> Result<PartitionRule, Failure> {
    let ids = text.split(',').filter(|_| !text.is_empty()).map(str::parse).collect::<Result<_, _>>();
    ids.map(PartitionRule::Set).map_err(|_| {
        occurred(format_args!(
            "--partitions expects a comma separated list of numeric partition ids, but received: {text}"
        ))
    })
}

/// ListOffsets for one time.
pub(super) struct AtTime(pub(super) i64);

impl LeaderRequest for AtTime {
    const NAME: &'static str = "listOffsets";
    const KEY: ApiKey = ApiKey::ListOffsets;
    type Request = ListOffsetsRequest;
    type Response = ListOffsetsResponse;
    type Answer = i64;

    fn request(&self, partitions: &[Partition]) -> ListOffsetsRequest {
        let mut topics: Vec<ListOffsetsTopic> = Vec::new();
        for (topic, partition) in partitions {
            if topics.last().is_none_or(|last| *last.name != **topic) {
                topics.push(ListOffsetsTopic { name: topic.as_str().into(), ..Default::default() });
            }
            let asked = ListOffsetsPartition { partition_index: *partition, timestamp: self.0, ..Default::default() };
            if let Some(last) = topics.last_mut() {
                last.partitions.push(asked);
            }
        }
        ListOffsetsRequest { replica_id: CONSUMER_REPLICA_ID, topics, ..Default::default() }
    }

    fn answers(&self, response: ListOffsetsResponse) -> Vec<(Partition, i16, i64)> {
        let mut answers = Vec::new();
        for topic in response.topics {
            let name = topic.name.to_string();
            answers
                .extend(topic.partitions.iter().map(|p| ((name.clone(), p.partition_index), p.error_code, p.offset)));
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::Rule;

    #[test]
    fn rules_take_one_partition_or_a_range_without_its_end() {
        let allowed = |spec: &str| {
            let rule = Rule::parse(spec).unwrap();
            (0..5).filter(|p| rule.allows("t", *p)).collect::<Vec<_>>()
        };
        assert_eq!(allowed("t"), [0, 1, 2, 3, 4]);
        assert_eq!(allowed(":3"), [3]);
        assert_eq!(allowed("t:1-3"), [1, 2]);
        assert_eq!(allowed("t:-2"), [0, 1]);
        assert_eq!(allowed(".*:3-"), [3, 4]);
        assert!(allowed("other").is_empty());
        assert!(Rule::parse("t:x").is_err());
    }
}
