//! `zurau leader-election`: makes the controller elect leaders. Kafka: `org.apache.kafka.tools.LeaderElectionCommand`,
//! kafka-leader-election.sh.

use super::reassign_partitions::{Thrown, array, field, integer, string};
use super::support::admin::{Admin, AdminError};
use super::support::client_properties::{self, Properties};
use super::support::leaders::Partition;
use super::support::options::{Opt, OptionError, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use crate::common::ErrorCode;
use crate::common::java;
use crate::protocol::ApiKey;
use crate::protocol::messages::elect_leaders_request::TopicPartitions;
use crate::protocol::messages::{ElectLeadersRequest, ElectLeadersResponse};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

const BOOTSTRAP_SERVER: Opt =
    Opt::with("bootstrap-server", "String: host:port", "REQUIRED: brokers to ask first, apart by commas.");
const ADMIN_CONFIG: Opt = Opt::with("admin.config", "String: config file", "A file of client properties.");
const PATH_TO_JSON_FILE: Opt = Opt::with(
    "path-to-json-file",
    "String: Path to JSON file",
    "A file that names partitions, in the form\n\
     {\"partitions\":\n[{\"topic\": \"foo\", \"partition\": 1},\n{\"topic\": \"foobar\", \"partition\": 2}]\n}",
);
const TOPIC: Opt = Opt::with("topic", "String: topic name", "The topic of the partition.");
const PARTITION: Opt = Opt::with("partition", "Integer: partition id", "The partition of --topic.");
const ALL_TOPIC_PARTITIONS: Opt = Opt::flag("all-topic-partitions", "All partitions that such an election helps.");
const ELECTION_TYPE: Opt = Opt::with(
    "election-type",
    "[PREFERRED|UNCLEAN]: election type",
    "REQUIRED: preferred: the first replica leads, if it is in sync. unclean: any replica that is left leads, where there is \
     no leader; records may be lost.",
);

const TOOL: Tool = Tool {
    about: "This tool attempts to elect a new leader for a set of topic partitions. The type of elections supported are \
            preferred replicas and unclean replicas.",
    options: &[
        &BOOTSTRAP_SERVER,
        &ADMIN_CONFIG,
        &PATH_TO_JSON_FILE,
        &TOPIC,
        &PARTITION,
        &ALL_TOPIC_PARTITIONS,
        &ELECTION_TYPE,
    ],
};

const API_TIMEOUT_MS: &str = "30000";
const REQUEST_TIMEOUT_MS: &str = "15000";

#[derive(Clone, Copy)]
enum ElectionType {
    Preferred = 0,
    Unclean = 1,
}

impl ElectionType {
    fn parse(text: &str) -> Result<Self, OptionError> {
        match text.to_ascii_uppercase().as_str() {
            "PREFERRED" => Ok(Self::Preferred),
            "UNCLEAN" => Ok(Self::Unclean),
            _ => Err(OptionError::CannotParse { argument: text.to_owned(), option: ELECTION_TYPE.name() }),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Preferred => "PREFERRED",
            Self::Unclean => "UNCLEAN",
        }
    }
}

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let options = TOOL.parse(args).map_err(Failure::message)?;
        TOOL.help_or_version(args, &options)?;
        check(&options)?;
        let kind = ElectionType::parse(options.required(&ELECTION_TYPE)?)?;
        let named = match options.value(&PATH_TO_JSON_FILE)? {
            Some(path) => Some(read(path)?),
            None => match (options.value(&TOPIC)?, options.number::<i32>(&PARTITION)?) {
                (Some(topic), Some(partition)) => Some([(topic.to_owned(), partition)].into()),
                _ => None,
            },
        };
        let mut properties = match options.value(&ADMIN_CONFIG)? {
            Some(path) => client_properties::load(path)?,
            None => Properties::new(),
        };
        for (key, value) in [("default.api.timeout.ms", API_TIMEOUT_MS), ("request.timeout.ms", REQUEST_TIMEOUT_MS)] {
            properties.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
        let mut admin = Admin::new(options.required(&BOOTSTRAP_SERVER)?, &properties)?;
        let results = match elect(&mut admin, kind, named.as_ref()) {
            Ok(results) => results,
            Err(e) => return Err(failed(&e, out)?),
        };
        report(kind, results, out)
    })
}

/// Refuses conflicting options, in Kafka's order.
fn check(options: &Options) -> Result<(), Failure> {
    let listed = |opts: &[&Opt]| opts.iter().map(|opt| opt.name()).collect::<Vec<_>>().join(", ");
    let missing: Vec<&Opt> = [&BOOTSTRAP_SERVER, &ELECTION_TYPE].into_iter().filter(|opt| !options.has(opt)).collect();
    if !missing.is_empty() {
        return Err(Failure::message(format_args!("Missing required option(s): {}", listed(&missing))));
    }
    let which = [&TOPIC, &ALL_TOPIC_PARTITIONS, &PATH_TO_JSON_FILE];
    if which.iter().filter(|opt| options.has(opt)).count() != 1 {
        let which = listed(&which);
        return Err(Failure::message(format_args!("One and only one of the following options is required: {which}")));
    }
    match (options.has(&TOPIC), options.has(&PARTITION)) {
        (true, false) => Err(Failure::message(format_args!("Missing required option(s): {}", PARTITION.name()))),
        (false, true) => Err(Failure::message(format_args!(
            "Option {} is only allowed if {} is used",
            PARTITION.name(),
            TOPIC.name()
        ))),
        _ => Ok(()),
    }
}

fn read(path: &str) -> Result<BTreeSet<Partition>, Failure> {
    let text = std::fs::read_to_string(path)
        .map_err(|_| Failure::message(format_args!("java.io.IOException: Unable to read file {path}")))?;
    parse(&text).map_err(|thrown| match thrown {
        Thrown { exception: "", message } => Failure::Message(message),
        // Kafka's tool wraps these.
        Thrown { exception, message } => Failure::message(format_args!("{exception}: {message}")),
    })
}

fn parse(text: &str) -> Result<BTreeSet<Partition>, Thrown> {
    let plain = |message: &str| Thrown { exception: "", message: message.to_owned() };
    let json: Value = serde_json::from_str(text).map_err(|_| plain("Replica election data is empty"))?;
    let partitions = match field(&json, "partitions") {
        Ok(partitions) => partitions,
        Err(_) if json.is_object() => return Err(plain("Replica election data is missing \"partitions\" field")),
        Err(e) => return Err(e),
    };
    let mut named = BTreeSet::new();
    let mut twice = BTreeSet::new();
    for entry in array(partitions)? {
        let key = (string(field(entry, "topic")?)?.to_owned(), integer(field(entry, "partition")?)?);
        if !named.insert(key.clone()) {
            twice.insert(key);
        }
    }
    if twice.is_empty() {
        return Ok(named);
    }
    let mut twice: Vec<Partition> = twice.into_iter().collect();
    java::partition_order(&mut twice, 0, |(topic, partition)| (topic, *partition));
    Err(plain(&format!("Replica election data contains duplicate partitions: [{}]", listed(&twice))))
}

fn listed(partitions: &[Partition]) -> String {
    partitions.iter().map(|(topic, id)| format!("{topic}-{id}")).collect::<Vec<_>>().join(", ")
}

/// The result of each partition; when all partitions are named, the controller omits those that need no election.
fn elect(
    admin: &mut Admin,
    kind: ElectionType,
    partitions: Option<&BTreeSet<Partition>>,
) -> Result<BTreeMap<Partition, Option<AdminError>>, AdminError> {
    let topic_partitions = partitions.map(|partitions| {
        let mut topics: Vec<TopicPartitions> = Vec::new();
        for (topic, partition) in partitions {
            if topics.last().is_none_or(|last| *last.topic != **topic) {
                topics.push(TopicPartitions { topic: topic.as_str().into(), ..Default::default() });
            }
            if let Some(last) = topics.last_mut() {
                last.partitions.push(*partition);
            }
        }
        topics
    });
    let request = ElectLeadersRequest {
        election_type: kind as i8,
        topic_partitions,
        timeout_ms: admin.api_timeout_ms(),
        ..Default::default()
    };
    let worst = |answer: &ElectLeadersResponse| {
        let moved = ErrorCode::NotController.wire();
        let mut codes = answer.replica_election_results.iter().flat_map(|t| &t.partition_result).map(|p| p.error_code);
        if codes.any(|code| code == moved) { moved } else { answer.error_code }
    };
    let answer: ElectLeadersResponse = admin.call_controller("electLeaders", ApiKey::ElectLeaders, &request, worst)?;
    if let Some(e) = AdminError::of(answer.error_code, None) {
        return Err(e);
    }
    let mut results = BTreeMap::new();
    for topic in &answer.replica_election_results {
        for p in &topic.partition_result {
            let key = (topic.topic.to_string(), p.partition_id);
            results.insert(key, AdminError::of(p.error_code, p.error_message.as_deref()));
        }
    }
    Ok(results)
}

fn failed(e: &AdminError, out: &mut Output) -> Result<Failure, Failure> {
    let message = match e {
        AdminError::Timeout(_) => "Timeout waiting for election results",
        e if e.code() == Some(ErrorCode::ClusterAuthorizationFailed) => "Not authorized to perform leader election",
        e => return Ok(Failure::message(format_args!("java.util.concurrent.ExecutionException: {}", e.exception()))),
    };
    writeln!(out, "{message}")?;
    Ok(Failure::message(message))
}

fn report(
    kind: ElectionType,
    results: BTreeMap<Partition, Option<AdminError>>,
    out: &mut Output,
) -> Result<(), Failure> {
    let (mut elected, mut unneeded, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for (partition, error) in results {
        match error {
            None => elected.push(partition),
            Some(e) if e.code() == Some(ErrorCode::ElectionNotNeeded) => unneeded.push(partition),
            Some(e) => failed.push((partition, e)),
        }
    }
    java::partition_order(&mut elected, 0, |(topic, partition)| (topic, *partition));
    java::partition_order(&mut unneeded, 0, |(topic, partition)| (topic, *partition));
    java::partition_order(&mut failed, 0, |((topic, partition), _)| (topic, *partition));
    let kind = kind.name();
    if !elected.is_empty() {
        writeln!(out, "Successfully completed leader election ({kind}) for partitions {}", listed(&elected))?;
    }
    if !unneeded.is_empty() {
        writeln!(out, "Valid replica already elected for partitions {}", listed(&unneeded))?;
    }
    for ((topic, partition), e) in &failed {
        let e = e.exception();
        writeln!(out, "Error completing leader election ({kind}) for partition: {topic}-{partition}: {e}")?;
    }
    if failed.is_empty() {
        return Ok(());
    }
    Err(Failure::message(format_args!("{} replica(s) could not be elected", failed.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_names_each_partition_once() {
        let named = parse(r#"{"partitions":[{"topic":"a","partition":1},{"topic":"b","partition":0}]}"#).unwrap();
        assert_eq!(named, [("a".to_owned(), 1), ("b".to_owned(), 0)].into());
        let said = |text: &str| parse(text).unwrap_err().message;
        assert_eq!(said("x"), "Replica election data is empty");
        assert_eq!(said("{}"), "Replica election data is missing \"partitions\" field");
        assert_eq!(said("[]"), "Expected JSON object, received []");
        assert_eq!(said(r#"{"partitions":[{"topic":"a"}]}"#), "No such field exists: `partition`");
        let twice = r#"{"partitions":[{"topic":"a","partition":1},{"topic":"a","partition":1}]}"#;
        assert_eq!(said(twice), "Replica election data contains duplicate partitions: [a-1]");
    }
}
