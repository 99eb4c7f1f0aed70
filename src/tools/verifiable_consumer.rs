//! `zurau verifiable-consumer`: reads a topic in a group and prints assignments, records and commits as JSON, for system
//! tests. Kafka: `org.apache.kafka.tools.VerifiableConsumer`, kafka-verifiable-consumer.sh.

use super::support::argparse::{Arg, Parser, Values};
use super::support::client_properties::{self, Logged, Properties};
use super::support::errors;
use super::support::signals::Stop;
use super::support::terminal::{self, Failure};
use super::verifiable_producer::event;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const BOOTSTRAP_SERVER: Arg =
    Arg::with("--bootstrap-server", "HOST1:PORT1[,HOST2:PORT2[...]]", "REQUIRED: brokers to ask first");
const BROKER_LIST: Arg = Arg::with(
    "--broker-list",
    "HOST1:PORT1[,HOST2:PORT2[...]]",
    "DEPRECATED: --bootstrap-server says the same and wins over it",
);
const TOPIC: Arg = Arg::with("--topic", "TOPIC", "the topic to read").required();
const GROUP_PROTOCOL: Arg =
    Arg::with("--group-protocol", "GROUP_PROTOCOL", "the group protocol: classic").default("classic");
const GROUP_REMOTE_ASSIGNOR: Arg =
    Arg::with("--group-remote-assignor", "GROUP_REMOTE_ASSIGNOR", "only for another group protocol than classic");
const GROUP_ID: Arg = Arg::with("--group-id", "GROUP_ID", "the group to join").required();
const GROUP_INSTANCE_ID: Arg =
    Arg::with("--group-instance-id", "GROUP_INSTANCE_ID", "makes the consumer a static member");
const MAX_MESSAGES: Arg =
    Arg::with("--max-messages", "MAX-MESSAGES", "how many records to read; -1 is until it is stopped").default("-1");
const SESSION_TIMEOUT: Arg =
    Arg::with("--session-timeout", "TIMEOUT_MS", "the consumer's session timeout").default("30000");
const VERBOSE: Arg = Arg::flag("--verbose", "print every record");
const ENABLE_AUTOCOMMIT: Arg = Arg::flag("--enable-autocommit", "leave commits to the consumer");
const RESET_POLICY: Arg =
    Arg::with("--reset-policy", "RESET_POLICY", "where to begin: earliest, latest or none").default("earliest");
const ASSIGNMENT_STRATEGY: Arg = Arg::with("--assignment-strategy", "ASSIGNMENT_STRATEGY", "how partitions are shared")
    .default("org.apache.kafka.clients.consumer.RangeAssignor");
const CONSUMER_CONFIG: Arg = Arg::with("--consumer.config", "CONFIG_FILE", "a file of consumer properties");

const PARSER: Parser = Parser {
    program: "verifiable-consumer",
    about: "This tool consumes messages from a specific topic and emits consumer events (e.g. group rebalances, received \
            messages, and offsets committed) as JSON objects to STDOUT.",
    args: &[
        &BOOTSTRAP_SERVER,
        &BROKER_LIST,
        &TOPIC,
        &GROUP_PROTOCOL,
        &GROUP_REMOTE_ASSIGNOR,
        &GROUP_ID,
        &GROUP_INSTANCE_ID,
        &MAX_MESSAGES,
        &SESSION_TIMEOUT,
        &VERBOSE,
        &ENABLE_AUTOCOMMIT,
        &RESET_POLICY,
        &ASSIGNMENT_STRATEGY,
        &CONSUMER_CONFIG,
    ],
};

/// How long to wait for a record before checking the flag that a signal sets.
const POLL: Duration = Duration::from_millis(100);
/// Kafka: `ConsumerUtils.DEFAULT_CLOSE_TIMEOUT_MS`.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(30);
/// The most records in one event and one commit: as many as one poll of the Java consumer returns.
const BATCH: usize = 500;

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|_| {
        let values = PARSER.parse(args)?;
        consume(&values)
    })
}

/// Prints assignments as they change.
struct Verified {
    logged: Logged,
}

impl ClientContext for Verified {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.logged.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.logged.error(error, reason);
    }
}

fn partitions(list: &TopicPartitionList) -> Value {
    list.elements().iter().map(|tp| json!({ "topic": tp.topic(), "partition": tp.partition() })).collect()
}

impl ConsumerContext for Verified {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            // Standard output is closed: the loop ends.
            drop(event("partitions_revoked", json!({ "partitions": partitions(list) })));
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            drop(event("partitions_assigned", json!({ "partitions": partitions(list) })));
        }
    }
}

fn properties(values: &Values) -> Result<Properties, Failure> {
    let mut properties = match values.get(&CONSUMER_CONFIG) {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    let servers = values.get(&BOOTSTRAP_SERVER).or_else(|| values.get(&BROKER_LIST));
    let Some(servers) = servers else {
        return Err(PARSER.error("one of the arguments --bootstrap-server --broker-list is required"));
    };
    if let Some(other) = values.get(&GROUP_PROTOCOL).filter(|name| !name.eq_ignore_ascii_case("classic")) {
        return Err(PARSER.error(&format!("group protocol {other} is not served on ZooKeeper")));
    }
    let timeout: i32 = values.number(&SESSION_TIMEOUT, "Integer")?.unwrap_or(30_000);
    let mut set = |key: &str, value: &str| drop(properties.insert(key.to_owned(), value.to_owned()));
    set("bootstrap.servers", servers);
    set("group.id", values.get(&GROUP_ID).unwrap_or_default());
    if let Some(instance) = values.get(&GROUP_INSTANCE_ID) {
        set("group.instance.id", instance);
    }
    set("enable.auto.commit", if values.has(&ENABLE_AUTOCOMMIT) { "true" } else { "false" });
    set("auto.offset.reset", values.get(&RESET_POLICY).unwrap_or_default());
    set("session.timeout.ms", &timeout.to_string());
    set("partition.assignment.strategy", values.get(&ASSIGNMENT_STRATEGY).unwrap_or_default());
    Ok(properties)
}

fn consume(values: &Values) -> Result<(), Failure> {
    let properties = properties(values)?;
    let topic = values.get(&TOPIC).unwrap_or_default();
    let max: i64 = values.number(&MAX_MESSAGES, "Integer")?.unwrap_or(-1);
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let who = format!("Consumer groupId={}", properties["group.id"]);
    let config = client_properties::consumer(&properties)?;
    let consumer: BaseConsumer<Verified> = client_properties::create(&config, Verified { logged: Logged { who } })?;
    let stop = Stop::on_signals();
    event("startup_complete", json!({}))?;
    let exception = |error: KafkaError| {
        let text = error.rdkafka_error_code().map_or_else(|| error.to_string(), errors::client_exception);
        Failure::message(format_args!("Error during processing, terminating consumer process: {text}"))
    };
    consumer.subscribe(&[topic]).map_err(exception)?;
    let mut consumed = 0;
    let end = loop {
        if consumed >= max || stop.asked().is_some() {
            break Ok(());
        }
        let batch = match read(&consumer, BATCH.min(max - consumed)) {
            Ok(batch) => batch,
            Err(error) => break Err(exception(error)),
        };
        if batch.is_empty() {
            continue;
        }
        consumed += batch.len();
        let offsets = tell(&batch, values.has(&VERBOSE))?;
        if !values.has(&ENABLE_AUTOCOMMIT) {
            commit(&consumer, &offsets)?;
        }
    };
    leave(consumer, &properties);
    event("shutdown_complete", json!({}))?;
    match (end, stop.asked()) {
        (Ok(()), Some(code)) => Err(Failure::Exit(code)),
        (end, _) => end,
    }
}

/// Gives up all partitions before the end: a close in the middle of a cooperative rebalance may hang for good
/// (librdkafka issue 4527). A static member stays in its group, and so is only closed.
fn leave(consumer: BaseConsumer<Verified>, properties: &Properties) {
    if !properties.contains_key("group.instance.id") {
        consumer.unsubscribe();
        let end = Instant::now() + CLOSE_TIMEOUT;
        while Instant::now() < end && consumer.assignment().is_ok_and(|assigned| assigned.count() > 0) {
            // Records read from here on are discarded: they are not committed.
            drop(consumer.poll(POLL));
        }
    }
    drop(consumer);
}

/// The available records, after a wait for the first.
fn read(consumer: &BaseConsumer<Verified>, max: usize) -> KafkaResult<Vec<BorrowedMessage<'_>>> {
    let mut batch = Vec::new();
    let mut wait = POLL;
    while batch.len() < max {
        match consumer.poll(wait) {
            None => break,
            Some(Ok(message)) => batch.push(message),
            Some(Err(error)) if error.rdkafka_error_code().is_some_and(super::support::feed::ends_reading) => {
                return Err(error);
            }
            // All other errors are transient, or recur with the next answer.
            Some(Err(_)) => {}
        }
        wait = Duration::ZERO;
    }
    Ok(batch)
}

/// Prints the records, and returns the offsets to commit.
fn tell(batch: &[BorrowedMessage<'_>], verbose: bool) -> Result<BTreeMap<(String, i32), i64>, Failure> {
    let mut ranges: BTreeMap<(String, i32), (i64, i64, u64)> = BTreeMap::new();
    for message in batch {
        let range = ranges
            .entry((message.topic().to_owned(), message.partition()))
            .or_insert_with(|| (message.offset(), message.offset(), 0));
        *range = (range.0, message.offset(), range.2 + 1);
        if verbose {
            let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            event(
                "record_data",
                json!({
                    "key": text(message.key()), "value": text(message.payload()), "topic": message.topic(),
                    "partition": message.partition(), "offset": message.offset(),
                }),
            )?;
        }
    }
    let summaries: Value = ranges
        .iter()
        .map(|((topic, partition), (first, last, count))| {
            json!({
                "topic": topic, "partition": partition, "count": count, "minOffset": first, "maxOffset": last,
            })
        })
        .collect();
    event("records_consumed", json!({ "count": batch.len(), "partitions": summaries }))?;
    Ok(ranges.into_iter().map(|(partition, (_, last, _))| (partition, last + 1)).collect())
}

fn commit(consumer: &BaseConsumer<Verified>, offsets: &BTreeMap<(String, i32), i64>) -> Result<(), Failure> {
    let mut list = TopicPartitionList::new();
    let mut shown = Vec::new();
    for ((topic, partition), offset) in offsets {
        // Refused only for an invalid offset.
        list.add_partition_offset(topic, *partition, Offset::Offset(*offset)).ok();
        shown.push(json!({ "topic": topic, "partition": partition, "offset": offset }));
    }
    let committed = consumer.commit(&list, CommitMode::Sync);
    let mut fields = json!({ "offsets": shown });
    if let Err(error) = &committed {
        let text = error.rdkafka_error_code().map_or_else(|| error.to_string(), errors::client_exception);
        fields["error"] = json!(text.split_once(": ").map_or(text.as_str(), |(_, message)| message));
    }
    fields["success"] = json!(committed.is_ok());
    Ok(event("offsets_committed", fields)?)
}
