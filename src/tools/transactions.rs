//! `zurau transactions`: shows transactions and producers, finds and aborts hanging transactions. Kafka:
//! `org.apache.kafka.tools.TransactionsCommand`, kafka-transactions.sh, whose command line follows argparse4j's rules.

mod hanging;

use self::hanging::find_hanging;
use super::support::admin::{Admin, AdminError, Target};
use super::support::argparse::{self, Words};
use super::support::client_properties::{self, Properties};
use super::support::leaders::{self, LeaderRequest, Partition};
use super::support::terminal::{self, Failure, Output};
use crate::common::ErrorCode;
use crate::common::java;
use crate::protocol::ApiKey;
use crate::protocol::messages::describe_producers_request::TopicRequest;
use crate::protocol::messages::describe_producers_response::ProducerState;
use crate::protocol::messages::describe_transactions_response::TransactionState;
use crate::protocol::messages::write_txn_markers_request::{WritableTxnMarker, WritableTxnMarkerTopic};
use crate::protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, ListTransactionsRequest, ListTransactionsResponse,
    WriteTxnMarkersRequest, WriteTxnMarkersResponse,
};
use crate::util::clock::wall_ms;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const RETRY_PAUSE: Duration = Duration::from_millis(100);
const TRANSACTIONS: i8 = 1;

const USAGE: &str = "\
usage: kafka-transactions.sh [-h] [-v] [--command-config FILE]
                             --bootstrap-server host:port COMMAND ...
";

const DETAILS: &str = "
This tool looks into the transactions  of  a  cluster's  producers. It finds
transactions that hang, and aborts them.

optional arguments:
  -h, --help             show this help message and exit
  -v, --version          show the version and exit
  --command-config FILE  a file of admin client properties
  --bootstrap-server host:port
                         brokers to ask first, apart by commas

commands:
  COMMAND
    list                 list transactions
    describe             describe the state of an active transactional-id
    describe-producers   describe the states of  active producers for a topic
                         partition
    abort                abort a  hanging  transaction (requires administrative
                         privileges)
    find-hanging         find hanging transactions
";

/// The options of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Integer,
    Long,
    Short,
}

impl Kind {
    /// Whether the text is a valid value of the option: the error is argparse4j's text.
    fn check(self, option: &str, text: &str) -> Result<(), String> {
        match self {
            Self::Text => Ok(()),
            Self::Integer => argparse::number::<i32>(option, text, "Integer").map(drop),
            Self::Long => argparse::number::<i64>(option, text, "Long").map(drop),
            Self::Short => argparse::number::<i16>(option, text, "Short").map(drop),
        }
    }
}

/// An option with a value, and whether the command requires it.
type Flag = (&'static str, Kind, bool);

const BASE: &[Flag] = &[("--command-config", Kind::Text, false), ("--bootstrap-server", Kind::Text, true)];

/// The commands, in the order of Kafka's error message.
const COMMANDS: &[(&str, &[Flag])] = &[
    ("list", &[("--duration-filter", Kind::Long, false)]),
    ("describe", &[("--transactional-id", Kind::Text, true)]),
    (
        "describe-producers",
        &[("--broker-id", Kind::Integer, false), ("--topic", Kind::Text, true), ("--partition", Kind::Integer, true)],
    ),
    (
        "abort",
        &[
            ("--topic", Kind::Text, true),
            ("--partition", Kind::Integer, true),
            ("--start-offset", Kind::Long, false),
            ("--producer-id", Kind::Long, false),
            ("--producer-epoch", Kind::Short, false),
            ("--coordinator-epoch", Kind::Integer, false),
        ],
    ),
    (
        "find-hanging",
        &[
            ("--broker-id", Kind::Integer, false),
            ("--max-transaction-timeout", Kind::Integer, false),
            ("--topic", Kind::Text, false),
            ("--partition", Kind::Integer, false),
        ],
    ),
];

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| match CommandLine::parse(args) {
        Ok(Asked::Help) => Err(Failure::Answered(format!("{USAGE}{DETAILS}"))),
        Ok(Asked::Version) => Err(Failure::Answered(format!("{}\n", env!("CARGO_PKG_VERSION")))),
        Ok(Asked::Command(line)) => line.execute(out),
        Err(why) => Err(Failure::message(format_args!("{USAGE}kafka-transactions.sh: error: {why}"))),
    })
}

#[derive(Debug)]
enum Asked {
    Help,
    Version,
    Command(CommandLine),
}

#[derive(Debug, Default)]
struct CommandLine {
    command: &'static str,
    values: BTreeMap<&'static str, String>,
}

impl CommandLine {
    /// An error is argparse4j's text.
    fn parse(args: &[String]) -> Result<Asked, String> {
        let mut line = Self::default();
        let mut flags = BASE;
        let mut words = Words::new(args);
        while let Some(word) = words.next_word() {
            let name = word.name;
            match name {
                "-h" | "--help" => return Ok(Asked::Help),
                "-v" | "--version" if line.command.is_empty() => return Ok(Asked::Version),
                _ => {}
            }
            if let Some((name, kind, _)) = flags.iter().find(|(known, ..)| *known == name) {
                let value = words.value(word, name)?;
                kind.check(name, value)?;
                line.values.insert(name, value.to_owned());
            } else if name.starts_with('-') || !line.command.is_empty() {
                return Err(argparse::unrecognized(word.whole));
            } else {
                let known = COMMANDS.iter().find(|(command, _)| *command == name);
                let Some((command, more)) = known else {
                    let names: Vec<String> = COMMANDS.iter().map(|(command, _)| format!("'{command}'")).collect();
                    return Err(format!("invalid choice: '{name}' (choose from {})", names.join(", ")));
                };
                line.command = command;
                flags = more;
            }
        }
        if line.command.is_empty() {
            return Err("too few arguments".to_owned());
        }
        for (name, _, required) in flags.iter().chain(BASE) {
            if *required && !line.values.contains_key(name) {
                return Err(format!("argument {name} is required"));
            }
        }
        Ok(Asked::Command(line))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn partition(&self) -> Partition {
        (self.text("--topic").unwrap_or_default().to_owned(), self.number("--partition").unwrap_or_default())
    }

    fn execute(&self, out: &mut Output) -> Result<(), Failure> {
        let properties = match self.text("--command-config") {
            Some(path) => client_properties::load(path)?,
            None => Properties::new(),
        };
        let mut admin = Admin::new(self.text("--bootstrap-server").unwrap_or_default(), &properties)?;
        match self.command {
            "list" => list(self, &mut admin, out),
            "describe" => describe(self, &mut admin, out),
            "describe-producers" => describe_producers(self, &mut admin, out),
            "abort" => abort(self, &mut admin),
            _ => find_hanging(self, &mut admin, out),
        }
    }
}

fn failed(what: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
    Failure::message(format_args!("{what}: {error}. Enable debug logging for additional detail."))
}

// ---- list

fn list(line: &CommandLine, admin: &mut Admin, out: &mut Output) -> Result<(), Failure> {
    let request = ListTransactionsRequest {
        duration_filter: line.number("--duration-filter").unwrap_or(-1),
        ..Default::default()
    };
    let listed = list_all(admin, &request).map_err(|e| failed("Failed to list transactions", e))?;
    let mut rows = Vec::new();
    for (broker, answer) in listed {
        for listing in answer.transaction_states {
            rows.push(vec![
                listing.transactional_id.to_string(),
                broker.to_string(),
                listing.producer_id.to_string(),
                state_name(&listing.transaction_state),
            ]);
        }
    }
    table(&["TransactionalId", "Coordinator", "ProducerId", "TransactionState"], &rows, out)
}

/// Every broker's list; a broker that is loading is retried. The error is Kafka's message.
fn list_all(
    admin: &mut Admin,
    request: &ListTransactionsRequest,
) -> Result<Vec<(i32, ListTransactionsResponse)>, String> {
    let name = "listTransactions";
    let deadline = Instant::now() + admin.api_timeout();
    let brokers = admin.nodes(name).map_err(|e| e.to_string())?;
    let mut answers = Vec::new();
    for broker in brokers.iter().map(|node| node.id) {
        let answer = loop {
            let answer: ListTransactionsResponse = admin
                .call(name, Target::Broker(broker), ApiKey::ListTransactions, request)
                .map_err(|e| e.to_string())?;
            match ErrorCode::from_wire(answer.error_code) {
                ErrorCode::None => break answer,
                ErrorCode::CoordinatorLoadInProgress if Instant::now() < deadline => {
                    std::thread::park_timeout(RETRY_PAUSE);
                }
                ErrorCode::CoordinatorNotAvailable => {
                    return Err(format!(
                        "ListTransactions request sent to broker {broker} failed because the coordinator is shutting down"
                    ));
                }
                _ => {
                    return Err(format!(
                        "ListTransactions request sent to broker {broker} failed with an unexpected exception"
                    ));
                }
            }
        };
        answers.push((broker, answer));
    }
    Ok(answers)
}

// ---- describe

fn describe(line: &CommandLine, admin: &mut Admin, out: &mut Output) -> Result<(), Failure> {
    let id = line.text("--transactional-id").unwrap_or_default();
    let (coordinator, state) = describe_one(admin, id)
        .map_err(|e| failed(format_args!("Failed to describe transaction state of transactional-id `{id}`"), e.text))?;
    let started = state.transaction_start_time_ms;
    let (start, duration) = match started {
        ..0 => ("None".to_owned(), "None".to_owned()),
        started => (started.to_string(), (wall_ms() - started).to_string()),
    };
    let row = vec![
        coordinator.to_string(),
        id.to_owned(),
        state.producer_id.to_string(),
        state.producer_epoch.to_string(),
        state_name(&state.transaction_state),
        state.transaction_timeout_ms.to_string(),
        start,
        duration,
        partitions_of(&state).iter().map(|(topic, p)| format!("{topic}-{p}")).collect::<Vec<_>>().join(","),
    ];
    let headers = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    table(&headers, &[row], out)
}

/// In the order of Kafka's hash set.
fn partitions_of(state: &TransactionState) -> Vec<Partition> {
    let topics = state.topics.iter();
    let mut partitions: Vec<Partition> =
        topics.flat_map(|topic| topic.partitions.iter().map(|p| (topic.topic.to_string(), *p))).collect();
    java::partition_order(&mut partitions, 0, |(topic, partition)| (topic, *partition));
    partitions
}

/// Why a transactional id is not described.
struct NotDescribed {
    code: Option<ErrorCode>,
    /// Kafka's message.
    text: String,
}

impl From<AdminError> for NotDescribed {
    fn from(e: AdminError) -> Self {
        Self { code: e.code(), text: e.to_string() }
    }
}

/// The coordinator, and its description.
fn describe_one(admin: &mut Admin, id: &str) -> Result<(i32, TransactionState), NotDescribed> {
    let name = "describeTransactions";
    let deadline = Instant::now() + admin.api_timeout();
    let mut attempts = 0;
    loop {
        attempts += 1;
        if let Some(coordinator) = find_coordinator(admin, id)? {
            let request = DescribeTransactionsRequest { transactional_ids: vec![id.into()], ..Default::default() };
            let answer: DescribeTransactionsResponse =
                admin.call(name, Target::Broker(coordinator), ApiKey::DescribeTransactions, &request)?;
            let state = answer.transaction_states.into_iter().next().unwrap_or_default();
            let code = ErrorCode::from_wire(state.error_code);
            let why = match code {
                ErrorCode::None => return Ok((coordinator, state)),
                ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::NotCoordinator
                | ErrorCode::CoordinatorNotAvailable => None,
                ErrorCode::TransactionalIdNotFound => Some("failed because the ID could not be found"),
                ErrorCode::TransactionalIdAuthorizationFailed => Some("failed due to authorization failure"),
                _ => Some("failed due to unexpected error"),
            };
            if let Some(why) = why {
                let text = format!("DescribeTransactions request for transactionalId `{id}` {why}");
                return Err(NotDescribed { code: Some(code), text });
            }
        }
        if Instant::now() + RETRY_PAUSE >= deadline {
            let text = format!("Call(callName={name}(api=FIND_COORDINATOR)) timed out after {attempts} attempt(s)");
            return Err(AdminError::Timeout(text).into());
        }
        std::thread::park_timeout(RETRY_PAUSE);
    }
}

/// None when there is none right now.
fn find_coordinator(admin: &mut Admin, id: &str) -> Result<Option<i32>, NotDescribed> {
    let request =
        FindCoordinatorRequest { key_type: TRANSACTIONS, coordinator_keys: vec![id.into()], ..Default::default() };
    let answer: FindCoordinatorResponse =
        admin.call("describeTransactions", Target::Any, ApiKey::FindCoordinator, &request)?;
    let Some(found) = answer.coordinators.first() else { return Ok(None) };
    let code = ErrorCode::from_wire(found.error_code);
    let why = match code {
        ErrorCode::None => return Ok(Some(found.node_id)),
        ErrorCode::CoordinatorNotAvailable | ErrorCode::CoordinatorLoadInProgress => return Ok(None),
        ErrorCode::TransactionalIdAuthorizationFailed => {
            format!("FindCoordinator request for transactionalId `{id}` failed due to authorization failure")
        }
        _ => format!("FindCoordinator request for key `{id}` failed due to an unexpected error"),
    };
    Err(NotDescribed { code: Some(code), text: why })
}

/// A state that this version does not know is `Unknown`, as in Kafka's client.
fn state_name(name: &str) -> String {
    const KNOWN: &[&str] =
        &["Ongoing", "PrepareAbort", "PrepareCommit", "CompleteAbort", "CompleteCommit", "Empty", "PrepareEpochFence"];
    if KNOWN.contains(&name) { name } else { "Unknown" }.to_owned()
}

// ---- describe-producers

fn describe_producers(line: &CommandLine, admin: &mut Admin, out: &mut Output) -> Result<(), Failure> {
    let broker = line.number("--broker-id");
    let partition = line.partition();
    let (topic, id) = &partition;
    let told = producers(admin, broker, vec![partition.clone()]).remove(&partition);
    let producers = match told {
        Some(Ok(producers)) => producers,
        Some(Err(text)) => {
            let of = broker.map_or_else(|| "leader".to_owned(), |broker: i32| format!("broker {broker}"));
            return Err(failed(format_args!("Failed to describe producers for partition {topic}-{id} on {of}"), text));
        }
        None => Vec::new(),
    };
    let row = |producer: &ProducerState| {
        vec![
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.max(-1).to_string(),
            producer.last_sequence.to_string(),
            producer.last_timestamp.to_string(),
            match producer.current_txn_start_offset {
                ..0 => "None".to_owned(),
                offset => offset.to_string(),
            },
        ]
    };
    let rows: Vec<_> = producers.iter().map(row).collect();
    let headers = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    table(&headers, &rows, out)
}

/// The producers of partitions, from their leaders or from one broker. Errors are Kafka's messages.
fn producers(
    admin: &mut Admin,
    broker: Option<i32>,
    partitions: Vec<Partition>,
) -> BTreeMap<Partition, Result<Vec<ProducerState>, String>> {
    let told = match broker {
        None => leaders::ask(admin, &Producers, partitions),
        Some(broker) => {
            let request = Producers.request(&partitions);
            match admin.call(Producers::NAME, Target::Broker(broker), Producers::KEY, &request) {
                Ok(answer) => {
                    let answers = Producers.answers(answer).into_iter();
                    let result = |code, answer| AdminError::of(code, None).map_or(Ok(answer), Err);
                    answers.map(|(partition, code, answer)| (partition, result(code, answer))).collect()
                }
                Err(e) => partitions.into_iter().map(|partition| (partition, Err(e.clone()))).collect(),
            }
        }
    };
    told.into_iter()
        .map(|(partition, result)| {
            let result = result.map_err(|e| producers_error(&partition, broker, &e));
            (partition, result)
        })
        .collect()
}

fn producers_error((topic, id): &Partition, broker: Option<i32>, error: &AdminError) -> String {
    match (error, broker) {
        (AdminError::Api { code: ErrorCode::NotLeaderOrFollower, .. }, Some(broker)) => {
            format!("Failed to describe active producers for partition {topic}-{id} on brokerId {broker}")
        }
        (AdminError::Api { code: ErrorCode::InvalidTopicException, .. }, _) => {
            format!("Failed to fetch metadata for partition {topic}-{id} due to invalid topic error: {error}")
        }
        (AdminError::Api { code: ErrorCode::TopicAuthorizationFailed, .. }, _) => format!(
            "Failed to describe active producers for partition {topic}-{id} due to authorization failure on topic `{topic}`"
        ),
        (AdminError::Api { .. }, _) => {
            format!("Failed to describe active producers for partition {topic}-{id} due to unexpected error")
        }
        (other, _) => other.to_string(),
    }
}

/// DescribeProducers.
struct Producers;

impl LeaderRequest for Producers {
    const NAME: &'static str = "describeProducers";
    const KEY: ApiKey = ApiKey::DescribeProducers;
    type Request = DescribeProducersRequest;
    type Response = DescribeProducersResponse;
    type Answer = Vec<ProducerState>;

    fn request(&self, partitions: &[Partition]) -> DescribeProducersRequest {
        let mut topics: Vec<TopicRequest> = Vec::new();
        for (topic, partition) in partitions {
            match topics.last_mut() {
                Some(last) if *last.name == **topic => last.partition_indexes.push(*partition),
                _ => topics.push(TopicRequest {
                    name: topic.as_str().into(),
                    partition_indexes: vec![*partition],
                    ..Default::default()
                }),
            }
        }
        DescribeProducersRequest { topics, ..Default::default() }
    }

    fn answers(&self, response: DescribeProducersResponse) -> Vec<(Partition, i16, Vec<ProducerState>)> {
        let topics = response.topics.into_iter();
        topics
            .flat_map(|topic| {
                let name = topic.name.to_string();
                let partitions = topic.partitions.into_iter();
                partitions.map(move |p| ((name.clone(), p.partition_index), p.error_code, p.active_producers))
            })
            .collect()
    }
}

// ---- abort

/// The fields of a transaction that its marker needs. Kafka: `AbortTransactionSpec`.
struct Abort {
    partition: Partition,
    producer_id: i64,
    producer_epoch: i16,
    coordinator_epoch: i32,
}

impl std::fmt::Display for Abort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (topic, partition) = &self.partition;
        write!(
            f,
            "AbortTransactionSpec(topicPartition={topic}-{partition}, producerId={}, producerEpoch={}, \
             coordinatorEpoch={})",
            self.producer_id, self.producer_epoch, self.coordinator_epoch
        )
    }
}

impl LeaderRequest for Abort {
    const NAME: &'static str = "abortTransaction";
    const KEY: ApiKey = ApiKey::WriteTxnMarkers;
    type Request = WriteTxnMarkersRequest;
    type Response = WriteTxnMarkersResponse;
    type Answer = ();

    fn request(&self, _: &[Partition]) -> WriteTxnMarkersRequest {
        let (topic, partition) = &self.partition;
        let marker = WritableTxnMarker {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            transaction_result: false,
            topics: vec![WritableTxnMarkerTopic {
                name: topic.as_str().into(),
                partition_indexes: vec![*partition],
                ..Default::default()
            }],
            coordinator_epoch: self.coordinator_epoch,
            ..Default::default()
        };
        WriteTxnMarkersRequest { markers: vec![marker], ..Default::default() }
    }

    fn answers(&self, response: WriteTxnMarkersResponse) -> Vec<(Partition, i16, ())> {
        let topics = response.markers.into_iter().flat_map(|marker| marker.topics);
        topics
            .flat_map(|topic| {
                let name = topic.name.to_string();
                topic.partitions.into_iter().map(move |p| ((name.clone(), p.partition_index), p.error_code, ()))
            })
            .collect()
    }
}

impl Abort {
    fn error(&self, error: &AdminError) -> String {
        let AdminError::Api { code, .. } = error else { return error.to_string() };
        let request = format!("WriteTxnMarkers request with {self}");
        match code {
            ErrorCode::ClusterAuthorizationFailed => format!("{request} failed due to cluster authorization error"),
            ErrorCode::InvalidProducerEpoch => format!("{request} failed due an invalid producer epoch"),
            ErrorCode::TransactionCoordinatorFenced => format!(
                "{request} failed since the provided coordinator epoch {} has been fenced by the active coordinator",
                self.coordinator_epoch
            ),
            code => format!("{request} failed due to unexpected error: {}", code.message()),
        }
    }
}

fn abort(line: &CommandLine, admin: &mut Admin) -> Result<(), Failure> {
    let partition = line.partition();
    let spec = match (line.number("--start-offset"), line.number("--producer-id")) {
        (Some(start), _) => open_transaction(admin, partition, start)?,
        (None, Some(producer_id)) => {
            let missing = |name: &str| Failure::message(format_args!("Missing required argument {name}"));
            let producer_epoch = line.number("--producer-epoch").ok_or_else(|| missing("--producer-epoch"))?;
            let epoch: i32 = line.number("--coordinator-epoch").ok_or_else(|| missing("--coordinator-epoch"))?;
            // A partition without any marker reports -1: 0 fences no one either.
            Abort { partition, producer_id, producer_epoch, coordinator_epoch: epoch.max(0) }
        }
        (None, None) => {
            return Err(Failure::message(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) \
                 or with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)",
            ));
        }
    };
    match leaders::ask(admin, &spec, [spec.partition.clone()]).remove(&spec.partition) {
        Some(Err(error)) => Err(failed(format_args!("Failed to abort transaction {spec}"), spec.error(&error))),
        Some(Ok(())) | None => Ok(()),
    }
}

fn open_transaction(admin: &mut Admin, partition: Partition, start: i64) -> Result<Abort, Failure> {
    let (topic, id) = &partition;
    let told = producers(admin, None, vec![partition.clone()]).remove(&partition).unwrap_or_else(|| Ok(Vec::new()));
    let validating = format!("Failed to validate producer state for partition {topic}-{id}");
    let found = told.map_err(|e| failed(validating, e))?;
    let Some(open) = found.iter().find(|p| p.current_txn_start_offset == start && start >= 0) else {
        return Err(Failure::message(format_args!(
            "Could not find any open transactions starting at offset {start} on partition {topic}-{id}"
        )));
    };
    Ok(Abort {
        producer_id: open.producer_id,
        producer_epoch: open.producer_epoch as i16,
        coordinator_epoch: open.coordinator_epoch.max(0),
        partition,
    })
}

// ---- printing

/// Kafka: `ToolsUtils.prettyPrintTable`.
fn table(headers: &[&str], rows: &[Vec<String>], out: &mut Output) -> Result<(), Failure> {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0).max(headers[column].len());
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let mut line = |cells: Vec<&str>| -> Result<(), Failure> {
        for (cell, width) in cells.iter().zip(&widths) {
            write!(out, "{cell:width$}\t")?;
        }
        Ok(writeln!(out)?)
    };
    line(headers.to_vec())?;
    rows.iter().try_for_each(|row| line(row.iter().map(String::as_str).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Asked, String> {
        CommandLine::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_those_of_their_command() {
        let Ok(Asked::Command(line)) = parse("--bootstrap-server a:1 describe-producers --topic t --partition=3")
        else {
            panic!("a command")
        };
        assert_eq!((line.command, line.partition()), ("describe-producers", ("t".to_owned(), 3)));
        let wrong = |line| parse(line).expect_err("refused");
        assert_eq!(wrong("--bootstrap-server a:1"), "too few arguments");
        assert_eq!(wrong("list"), "argument --bootstrap-server is required");
        assert_eq!(wrong("--bootstrap-server a:1 describe"), "argument --transactional-id is required");
        assert_eq!(
            wrong("--bootstrap-server a:1 abort --topic t --partition x"),
            "argument --partition: could not convert 'x' to Integer (For input string: \"x\")"
        );
        assert!(wrong("--bootstrap-server a:1 forget").starts_with("invalid choice: 'forget'"));
        assert_eq!(wrong("--bootstrap-server a:1 list --topic t"), "unrecognized arguments: '--topic'");
        let no_value = "argument --bootstrap-server: expected one argument";
        assert_eq!(wrong("--bootstrap-server -v list"), no_value);
        assert!(matches!(parse("-h"), Ok(Asked::Help)));
    }
}
