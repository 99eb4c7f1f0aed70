//! `zurau verifiable-producer`: sends increasing numbers and prints the result of each as JSON, for system tests.
//! Kafka: `org.apache.kafka.tools.VerifiableProducer`, kafka-verifiable-producer.sh.

use super::support::argparse::{Arg, Parser, Values};
use super::support::client_properties::{self, Logged, Properties};
use super::support::errors;
use super::support::sender::Sender;
use super::support::signals::Stop;
use super::support::terminal::{self, Failure};
use crate::util::clock::wall_ms;
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext};
use serde_json::{Map, Value, json};
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

const TOPIC: Arg = Arg::with("--topic", "TOPIC", "the topic to write to").required();
const BOOTSTRAP_SERVER: Arg =
    Arg::with("--bootstrap-server", "HOST1:PORT1[,HOST2:PORT2[...]]", "REQUIRED: brokers to ask first");
const BROKER_LIST: Arg = Arg::with(
    "--broker-list",
    "HOST1:PORT1[,HOST2:PORT2[...]]",
    "DEPRECATED: --bootstrap-server says the same and wins over it",
);
const MAX_MESSAGES: Arg =
    Arg::with("--max-messages", "MAX-MESSAGES", "how many records to write; -1 is until it is stopped").default("-1");
const THROUGHPUT: Arg =
    Arg::with("--throughput", "THROUGHPUT", "about how many records to write in a second").default("-1");
const ACKS: Arg = Arg::with("--acks", "ACKS", "the acks of each record: 0, 1 or -1").default("-1");
const PRODUCER_CONFIG: Arg = Arg::with("--producer.config", "CONFIG_FILE", "a file of producer properties");
const CREATE_TIME: Arg =
    Arg::with("--message-create-time", "CREATETIME", "the time of the first record, in milliseconds since the epoch")
        .default("-1");
const VALUE_PREFIX: Arg = Arg::with("--value-prefix", "VALUE-PREFIX", "a number and a dot before each value");
const REPEATING_KEYS: Arg =
    Arg::with("--repeating-keys", "REPEATING-KEYS", "keys count from 0 up to this number, and begin again");

const PARSER: Parser = Parser {
    program: "verifiable-producer",
    about: "This tool produces increasing integers to the specified topic and prints JSON metadata to stdout on each \
            \"send\" request, making externally visible which messages have been acked and which have not.",
    args: &[
        &TOPIC,
        &BOOTSTRAP_SERVER,
        &BROKER_LIST,
        &MAX_MESSAGES,
        &THROUGHPUT,
        &ACKS,
        &PRODUCER_CONFIG,
        &CREATE_TIME,
        &VALUE_PREFIX,
        &REPEATING_KEYS,
    ],
};

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|_| {
        let values = PARSER.parse(args)?;
        produce(&values)
    })
}

/// One line of JSON: time and name first, as Kafka's tools order them. It is flushed at once: the reader waits for it.
pub(super) fn event(name: &str, fields: Value) -> io::Result<()> {
    let mut event = Map::new();
    event.insert("timestamp".to_owned(), json!(wall_ms()));
    event.insert("name".to_owned(), json!(name));
    if let Value::Object(fields) = fields {
        event.extend(fields);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "{}", Value::Object(event))?;
    out.flush()
}

/// A record in flight.
struct Sent {
    key: Option<String>,
    value: String,
}

/// The results of the records.
struct Verified {
    logged: Logged,
    topic: String,
    acked: Arc<Mutex<u64>>,
}

impl ClientContext for Verified {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.logged.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.logged.error(error, reason);
    }
}

impl ProducerContext for Verified {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        let told = match result {
            Ok(message) => {
                *self.acked.lock() += 1;
                event(
                    "producer_send_success",
                    json!({
                        "key": sent.key, "value": sent.value, "topic": message.topic(),
                        "offset": message.offset(), "partition": message.partition(),
                    }),
                )
            }
            Err((error, _)) => {
                let exception = error.rdkafka_error_code().map_or_else(|| error.to_string(), errors::client_exception);
                failed(&self.topic, &sent, &exception)
            }
        };
        // Standard output is closed: the loop ends.
        drop(told);
    }
}

fn failed(topic: &str, sent: &Sent, exception: &str) -> io::Result<()> {
    let (class, message) = exception.split_once(": ").unwrap_or((exception, ""));
    event(
        "producer_send_error",
        json!({
            "key": sent.key, "value": sent.value, "topic": topic,
            "exception": format!("class {class}"), "message": message,
        }),
    )
}

fn produce(values: &Values) -> Result<(), Failure> {
    let topic = values.get(&TOPIC).unwrap_or_default().to_owned();
    let servers = values.get(&BOOTSTRAP_SERVER).or_else(|| values.get(&BROKER_LIST));
    let Some(servers) = servers else {
        return Err(PARSER.error("one of the arguments --bootstrap-server --broker-list is required"));
    };
    let acks: i32 = values.number(&ACKS, "Integer")?.unwrap_or(-1);
    if !matches!(acks, -1..=1) {
        return Err(PARSER.error(&format!("argument --acks: invalid choice: '{acks}' (choose from {{0,1,-1}})")));
    }
    let mut properties = Properties::new();
    properties.insert("bootstrap.servers".to_owned(), servers.to_owned());
    properties.insert("acks".to_owned(), acks.to_string());
    properties.insert("retries".to_owned(), "0".to_owned());
    if let Some(path) = values.get(&PRODUCER_CONFIG) {
        properties.extend(client_properties::load(path)?);
    }
    properties.entry("client.id".to_owned()).or_insert_with(|| "producer-1".to_owned());
    let max: i64 = values.number(&MAX_MESSAGES, "Integer")?.unwrap_or(-1);
    let max = u64::try_from(max).unwrap_or(u64::MAX);
    let throughput: i64 = values.number(&THROUGHPUT, "Integer")?.unwrap_or(-1);
    let prefix: Option<i64> = values.number(&VALUE_PREFIX, "Integer")?;
    let keys: Option<u64> = values.number(&REPEATING_KEYS, "Integer")?;
    let mut create_time = values.number::<i64>(&CREATE_TIME, "Long")?.filter(|at| *at != -1);

    let who = format!("Producer clientId={}", properties["client.id"]);
    let acked = Arc::new(Mutex::new(0));
    let context = Verified { logged: Logged { who: who.clone() }, topic: topic.clone(), acked: Arc::clone(&acked) };
    let mut sender = Sender::new(&properties, &topic, who, context, None)?;
    let stop = Stop::on_signals();
    let (started, started_ms) = (Instant::now(), wall_ms());
    event("startup_complete", json!({}))?;
    let mut sent = 0;
    while sent < max && stop.asked().is_none() {
        let key = keys.map(|keys| (sent % keys.max(1)).to_string());
        let value = prefix.map_or_else(|| sent.to_string(), |prefix| format!("{prefix}.{sent}"));
        sent += 1;
        let note = Box::new(Sent { key: key.clone(), value: value.clone() });
        let mut record: BaseRecord<'_, str, str, Box<Sent>> =
            BaseRecord::with_opaque_to(&topic, note).payload(value.as_str());
        if let Some(key) = &key {
            record = record.key(key.as_str());
        }
        if let Some(at) = &mut create_time {
            record = record.timestamp(*at);
            *at += wall_ms() - started_ms;
        }
        if let Err(exception) = sender.send(record, value.len()) {
            failed(&topic, &Sent { key: key.clone(), value: value.clone() }, &exception)?;
        }
        pause(throughput, sent, started, &stop);
    }
    sender.flush();
    event("shutdown_complete", json!({}))?;
    let acked = *acked.lock();
    let seconds = started.elapsed().as_secs_f64();
    event(
        "tool_data",
        json!({
            "sent": sent, "acked": acked, "target_throughput": throughput,
            "avg_throughput": acked as f64 / seconds.max(f64::MIN_POSITIVE),
        }),
    )?;
    sender.close();
    match stop.asked() {
        Some(code) => Err(Failure::Exit(code)),
        None => Ok(()),
    }
}

/// Waits until the next record is due.
fn pause(throughput: i64, sent: u64, started: Instant, stop: &Stop) {
    if throughput < 0 {
        return;
    }
    loop {
        let due = match throughput {
            // Not one more record.
            0 => Duration::MAX,
            _ => Duration::from_secs_f64(sent as f64 / throughput as f64),
        };
        let left = due.saturating_sub(started.elapsed());
        if left.is_zero() || stop.asked().is_some() {
            return;
        }
        std::thread::park_timeout(left.min(Duration::from_millis(100)));
    }
}
