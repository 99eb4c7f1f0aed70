//! `zurau console-producer`: sends each line of standard input as a record. Kafka: `kafka.tools.ConsoleProducer` and its
//! `LineMessageReader`, kafka-console-producer.sh. Absent on purpose: readers other than the line reader, which are Java
//! classes.

use super::support::client_properties::{self, Logged, Properties};
use super::support::options::{Opt, Options, Tool};
use super::support::sender::{self, Sender};
use super::support::terminal::{self, Failure};
use parking_lot::{Condvar, Mutex};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext};
use regex::Regex;
use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;

const TOPIC: Opt = Opt::with("topic", "String: topic", "REQUIRED: The topic to send records to.");
const BROKER_LIST: Opt =
    Opt::with("broker-list", "String: broker-list", "DEPRECATED: --bootstrap-server says the same and wins over it.");
const BOOTSTRAP_SERVER: Opt = Opt::with(
    "bootstrap-server",
    "String: server to connect to",
    "REQUIRED unless --broker-list is given: brokers to ask first, as HOST1:PORT1,HOST2:PORT2.",
);
const SYNC: Opt = Opt::flag("sync", "Wait for the answer to each record before the next is read.");
const COMPRESSION_CODEC: Opt = Opt::with_optional(
    "compression-codec",
    "String: compression-codec",
    "none, gzip, snappy, lz4 or zstd; gzip when the option stands alone.",
);
const BATCH_SIZE: Opt =
    Opt::with("batch-size", "Integer: size", "`batch.size`, unless --max-partition-memory-bytes is given too.")
        .default("16384");
const RETRIES: Opt = Opt::with(
    "message-send-max-retries",
    "Integer",
    "`retries`: how often a record is sent again before it is dropped.",
)
.default("3");
const RETRY_BACKOFF_MS: Opt =
    Opt::with("retry-backoff-ms", "Long", "`retry.backoff.ms`: how long to wait before sending again.").default("100");
const TIMEOUT: Opt =
    Opt::with("timeout", "Long: timeout_ms", "`linger.ms`: how long a record may wait for its batch to fill.")
        .default("1000");
const ACKS: Opt =
    Opt::with("request-required-acks", "String: request required acks", "`acks` of the produce requests.")
        .default("-1");
const REQUEST_TIMEOUT_MS: Opt =
    Opt::with("request-timeout-ms", "Integer: request timeout ms", "How long to wait for acknowledgements.")
        .default("1500");
const METADATA_EXPIRY_MS: Opt = Opt::with(
    "metadata-expiry-ms",
    "Long: metadata expiration interval",
    "`metadata.max.age.ms`: how old the knowledge of the cluster may get.",
)
.default("300000");
const MAX_BLOCK_MS: Opt =
    Opt::with("max-block-ms", "Long: max block on send", "How long a send may wait for the topic to be known.")
        .default("60000");
const MAX_MEMORY_BYTES: Opt =
    Opt::with("max-memory-bytes", "Long: total memory in bytes", "`buffer.memory`: records waiting to be sent.")
        .default("33554432");
const MAX_PARTITION_MEMORY_BYTES: Opt = Opt::with(
    "max-partition-memory-bytes",
    "Integer: memory in bytes per partition",
    "`batch.size`: how much of a partition's records to gather.",
)
.default("16384");
const LINE_READER: Opt =
    Opt::with("line-reader", "String: reader_class", "How lines become records.").default(DEFAULT_READER);
const SOCKET_BUFFER_SIZE: Opt =
    Opt::with("socket-buffer-size", "Integer: size", "`send.buffer.bytes` of the connections.").default("102400");
const PROPERTY: Opt = Opt::with(
    "property",
    "String: prop",
    "A key=value of the line reader:\n\
     parse.key=false\n\
     parse.headers=false\n\
     ignore.error=false\n\
     key.separator=\\t\n\
     headers.delimiter=\\t\n\
     headers.separator=,\n\
     headers.key.separator=:\n\
     null.marker=  a field that equals it is sent as null\n\
     With headers and key a line is \"h1:v1,h2:v2...\\tkey\\tvalue\".",
);
const READER_CONFIG: Opt =
    Opt::with("reader-config", "String: config file", "A file of line reader properties; --property wins over it.");
const PRODUCER_PROPERTY: Opt = Opt::with("producer-property", "String: producer_prop", "A key=value of the producer.");
const PRODUCER_CONFIG: Opt = Opt::with(
    "producer.config",
    "String: config file",
    "A file of producer properties; --producer-property wins over it.",
);

/// The default of `linger.ms`: short, so that typed lines arrive at once, but enough to fill batches
/// from a pipe. Kafka's tool waits a second.
const LINGER_MS: &str = "5";

const DEFAULT_READER: &str = "kafka.tools.ConsoleProducer$LineMessageReader";
const ERROR_LOGGING_CALLBACK: &str = "org.apache.kafka.clients.producer.internals.ErrorLoggingCallback";

const TOOL: Tool = Tool {
    about: "This tool reads lines from standard input and sends them to a Kafka topic.",
    options: &[
        &TOPIC,
        &BROKER_LIST,
        &BOOTSTRAP_SERVER,
        &SYNC,
        &COMPRESSION_CODEC,
        &BATCH_SIZE,
        &RETRIES,
        &RETRY_BACKOFF_MS,
        &TIMEOUT,
        &ACKS,
        &REQUEST_TIMEOUT_MS,
        &METADATA_EXPIRY_MS,
        &MAX_BLOCK_MS,
        &MAX_MEMORY_BYTES,
        &MAX_PARTITION_MEMORY_BYTES,
        &LINE_READER,
        &SOCKET_BUFFER_SIZE,
        &PROPERTY,
        &READER_CONFIG,
        &PRODUCER_PROPERTY,
        &PRODUCER_CONFIG,
    ],
};

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|_| {
        let options = TOOL.parse(args).map_err(|e| TOOL.usage(e))?;
        TOOL.require_either(&options, &BOOTSTRAP_SERVER, &BROKER_LIST)?;
        TOOL.help_or_version(args, &options)?;
        TOOL.require(&options, &[&TOPIC])?;
        produce(&options)
    })
}

fn produce(options: &Options) -> Result<(), Failure> {
    let topic = options.required(&TOPIC)?;
    let servers = options.required(if options.has(&BOOTSTRAP_SERVER) { &BOOTSTRAP_SERVER } else { &BROKER_LIST })?;
    TOOL.check_host_ports(servers)?;
    let reader_class = options.required(&LINE_READER)?;
    if reader_class != DEFAULT_READER {
        return Err(Failure::message(format_args!("java.lang.ClassNotFoundException: {reader_class}")));
    }
    let mut reader_properties = match options.value(&READER_CONFIG)? {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    reader_properties.extend(options.key_values(&PROPERTY));
    let mut reader = LineReader::new(&reader_properties)?;

    let properties = producer_properties(options, servers)?;
    let client_id = properties.get("client.id").cloned().unwrap_or_default();
    let who = format!("Producer clientId={client_id}");
    let sync = options.has(&SYNC).then(|| Arc::new(Delivered::default()));
    let context = Reports { logged: Logged { who: who.clone() }, sync: sync.clone() };
    let mut sender = Sender::new(&properties, topic, who, context, None)?;

    let mut input = std::io::stdin().lock();
    let prompt = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    loop {
        if prompt {
            let mut out = std::io::stdout();
            out.write_all(b">")?;
            out.flush()?;
        }
        let Some(line) = read_line(&mut input)? else { break };
        let LineRecord { key, value, headers } = reader.record(&line)?;
        let size = key.map_or(0, str::len) + value.map_or(0, str::len);
        let record: BaseRecord<'_, str, str> = BaseRecord { key, payload: value, headers, ..BaseRecord::to(topic) };
        let sent = sender.send(record, size);
        match (&sync, sent) {
            (None, Ok(())) => {}
            (None, Err(reason)) => log_lost_record(topic, key.map(str::len), value.map(str::len), &reason),
            (Some(delivered), sent) => sent.and_then(|()| delivered.wait()).map_err(|reason| {
                Failure::message(format_args!("java.util.concurrent.ExecutionException: {reason}"))
            })?,
        }
    }
    sender.close();
    Ok(())
}

/// The producer's properties: named options override properties, properties override the defaults of options.
fn producer_properties(options: &Options, servers: &str) -> Result<Properties, Failure> {
    let mut properties = match options.value(&PRODUCER_CONFIG)? {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    properties.extend(options.key_values(&PRODUCER_PROPERTY));
    properties.insert("bootstrap.servers".to_owned(), servers.to_owned());
    let codec = match options.value(&COMPRESSION_CODEC)? {
        Some(codec) => codec,
        None if options.has(&COMPRESSION_CODEC) => "gzip",
        None => "none",
    };
    properties.insert("compression.type".to_owned(), codec.to_owned());
    properties.entry("client.id".to_owned()).or_insert_with(|| "console-producer".to_owned());
    for (key, opt) in [
        ("linger.ms", &TIMEOUT),
        ("acks", &ACKS),
        ("request.timeout.ms", &REQUEST_TIMEOUT_MS),
        ("retries", &RETRIES),
        ("retry.backoff.ms", &RETRY_BACKOFF_MS),
        ("send.buffer.bytes", &SOCKET_BUFFER_SIZE),
        ("buffer.memory", &MAX_MEMORY_BYTES),
        ("batch.size", &BATCH_SIZE),
        ("batch.size", &MAX_PARTITION_MEMORY_BYTES),
        ("metadata.max.age.ms", &METADATA_EXPIRY_MS),
        ("max.block.ms", &MAX_BLOCK_MS),
    ] {
        if options.has(opt) || !properties.contains_key(key) {
            let value = match key {
                "linger.ms" if !options.has(opt) => LINGER_MS,
                _ => options.required(opt)?,
            };
            properties.insert(key.to_owned(), value.to_owned());
        }
    }
    Ok(properties)
}

fn log_lost_record(topic: &str, key_len: Option<usize>, value_len: Option<usize>, reason: &str) {
    let shown = |len: Option<usize>| len.map_or_else(|| "null".to_owned(), |n| format!("{n} bytes"));
    terminal::error(
        ERROR_LOGGING_CALLBACK,
        format_args!(
            "Error when sending message to topic {topic} with key: {}, value: {} with error:",
            shown(key_len),
            shown(value_len)
        ),
    );
    terminal::say(reason);
}

/// The result of a sent record: logged, or passed to the sender that waits for it.
struct Reports {
    logged: Logged,
    sync: Option<Arc<Delivered>>,
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.logged.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.logged.error(error, reason);
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match (&self.sync, result) {
            (Some(delivered), result) => {
                delivered.tell(result.as_ref().map(drop).map_err(|(e, _)| sender::exception(e)));
            }
            (None, Ok(_)) => {}
            (None, Err((e, message))) => log_lost_record(
                message.topic(),
                message.key().map(<[u8]>::len),
                message.payload().map(<[u8]>::len),
                &sender::exception(e),
            ),
        }
    }
}

/// The result of the one record in flight with `--sync`.
#[derive(Default)]
struct Delivered {
    end: Mutex<Option<Result<(), String>>>,
    told: Condvar,
}

impl Delivered {
    fn tell(&self, end: Result<(), String>) {
        *self.end.lock() = Some(end);
        self.told.notify_one();
    }

    fn wait(&self) -> Result<(), String> {
        let mut end = self.end.lock();
        loop {
            match end.take() {
                Some(end) => return end,
                None => self.told.wait(&mut end),
            }
        }
    }
}

/// The next line without its end, which is `\n`, `\r` or `\r\n` as for Java's reader; bytes that are not UTF-8 become
/// U+FFFD. None at the end of the input.
fn read_line(input: &mut impl BufRead) -> std::io::Result<Option<String>> {
    let mut line = Vec::new();
    let mut started = false;
    loop {
        let buffered = input.fill_buf()?;
        if buffered.is_empty() {
            return Ok(started.then(|| String::from_utf8_lossy(&line).into_owned()));
        }
        started = true;
        let Some(end) = buffered.iter().position(|b| matches!(b, b'\n' | b'\r')) else {
            line.extend_from_slice(buffered);
            let taken = buffered.len();
            input.consume(taken);
            continue;
        };
        line.extend_from_slice(&buffered[..end]);
        let carriage_return = buffered[end] == b'\r';
        input.consume(end + 1);
        // A terminal sends no `\r`, so a lookahead of one byte cannot delay a typed line.
        if carriage_return && input.fill_buf()?.first() == Some(&b'\n') {
            input.consume(1);
        }
        return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
    }
}

/// Splits lines into records.
struct LineReader {
    parse_key: bool,
    parse_headers: bool,
    ignore_error: bool,
    key_separator: String,
    headers_delimiter: String,
    headers_separator: Regex,
    headers_key_separator: String,
    null_marker: Option<String>,
    line_number: usize,
}

/// A record as parsed from its line.
#[derive(Debug)]
struct LineRecord<'a> {
    key: Option<&'a str>,
    value: Option<&'a str>,
    headers: Option<OwnedHeaders>,
}

impl LineReader {
    fn new(properties: &Properties) -> Result<Self, Failure> {
        let is_true = |key: &str| properties.get(key).is_some_and(|v| v.trim().eq_ignore_ascii_case("true"));
        let text = |key: &str, default: &str| properties.get(key).map_or(default, String::as_str).to_owned();
        let headers_separator = text("headers.separator", ",");
        let reader = Self {
            parse_key: is_true("parse.key"),
            parse_headers: is_true("parse.headers"),
            ignore_error: is_true("ignore.error"),
            key_separator: text("key.separator", "\t"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: Regex::new(&headers_separator)
                .map_err(|e| Failure::message(format_args!("java.util.regex.PatternSyntaxException: {e}")))?,
            headers_key_separator: text("headers.key.separator", ":"),
            null_marker: properties.get("null.marker").cloned(),
            line_number: 0,
        };
        let marker = reader.null_marker.as_ref();
        let clashes = [
            (reader.headers_delimiter == headers_separator, "headers.delimiter and headers.separator"),
            (reader.headers_delimiter == reader.headers_key_separator, "headers.delimiter and headers.key.separator"),
            (headers_separator == reader.headers_key_separator, "headers.separator and headers.key.separator"),
            (marker == Some(&reader.key_separator), "null.marker and key.separator"),
            (marker == Some(&headers_separator), "null.marker and headers.separator"),
            (marker == Some(&reader.headers_delimiter), "null.marker and headers.delimiter"),
            (marker == Some(&reader.headers_key_separator), "null.marker and headers.key.separator"),
        ];
        match clashes.iter().find(|(clash, _)| *clash) {
            Some((_, which)) => Err(kafka_exception(format_args!("{which} may not be equal"))),
            None => Ok(reader),
        }
    }

    fn record<'a>(&mut self, line: &'a str) -> Result<LineRecord<'a>, Failure> {
        self.line_number += 1;
        let mut rest = line;
        let mut headers = None;
        if self.parse_headers {
            headers = self.cut(line, &mut rest, &self.headers_delimiter, "headers delimiter")?;
        }
        let mut key = None;
        if self.parse_key {
            key = self.cut(line, &mut rest, &self.key_separator, "key separator")?;
        }
        let headers = headers.filter(|h| !self.is_null(h)).map(|h| self.headers(h)).transpose()?;
        Ok(LineRecord {
            key: key.filter(|k| !self.is_null(k)),
            value: Some(rest).filter(|v| !self.is_null(v)),
            headers,
        })
    }

    fn is_null(&self, field: &str) -> bool {
        self.null_marker.as_deref() == Some(field)
    }

    /// Splits the field before the separator off `rest`. None when it is missing and errors are ignored.
    fn cut<'a>(&self, line: &str, rest: &mut &'a str, separator: &str, name: &str) -> Result<Option<&'a str>, Failure> {
        match rest.split_once(separator) {
            Some((field, after)) => {
                *rest = after;
                Ok(Some(field))
            }
            None if self.ignore_error => Ok(None),
            None => Err(kafka_exception(format_args!("No {name} found on line number {}: '{line}'", self.line_number))),
        }
    }

    fn headers(&self, text: &str) -> Result<OwnedHeaders, Failure> {
        let mut pairs: Vec<&str> = self.headers_separator.split(text).collect();
        // Java's split drops empty pieces at the end, but not the only one.
        while pairs.len() > 1 && pairs.last().is_some_and(|p| p.is_empty()) {
            pairs.pop();
        }
        let mut headers = OwnedHeaders::new();
        for pair in pairs {
            let (key, value) = match pair.split_once(self.headers_key_separator.as_str()) {
                Some((key, _)) if self.is_null(key) => {
                    return Err(kafka_exception(format_args!(
                        "Header keys should not be equal to the null marker '{key}' as they can't be null"
                    )));
                }
                Some((key, value)) => (key, Some(value).filter(|v| !self.is_null(v))),
                None if self.ignore_error => (pair, None),
                None => {
                    return Err(kafka_exception(format_args!(
                        "No header key separator found in pair '{pair}' on line number {}",
                        self.line_number
                    )));
                }
            };
            headers = headers.insert(Header { key, value });
        }
        Ok(headers)
    }
}

fn kafka_exception(text: std::fmt::Arguments<'_>) -> Failure {
    Failure::message(format_args!("org.apache.kafka.common.KafkaException: {text}"))
}

#[cfg(test)]
mod tests {
    use super::{Failure, LineReader, Properties, read_line};
    use rdkafka::message::Headers;

    fn reader(properties: &[(&str, &str)]) -> Result<LineReader, Failure> {
        let properties: Properties = properties.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        LineReader::new(&properties)
    }

    fn said(failure: Failure) -> String {
        match failure {
            Failure::Message(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn lines_end_as_for_a_java_reader_and_the_last_needs_no_end() {
        let mut input = &b"a\r\nb\rc\n\n\xffd"[..];
        let mut lines = Vec::new();
        while let Some(line) = read_line(&mut input).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["a", "b", "c", "", "\u{fffd}d"]);
    }

    #[test]
    fn headers_key_and_value_are_cut_in_this_order() {
        let mut reader = reader(&[("parse.key", "TRUE"), ("parse.headers", "true"), ("null.marker", "N")]).unwrap();
        let record = reader.record("h1:v1,h2:N\tk\tv\tw").unwrap();
        assert_eq!((record.key, record.value), (Some("k"), Some("v\tw")));
        let headers = record.headers.unwrap();
        assert_eq!((headers.get(0).key, headers.get(0).value), ("h1", Some(&b"v1"[..])));
        assert_eq!((headers.get(1).key, headers.get(1).value), ("h2", None));
        let nulls = reader.record("N\tN\tN").unwrap();
        assert!(nulls.key.is_none() && nulls.value.is_none() && nulls.headers.is_none());
    }

    #[test]
    fn missing_separator_names_the_line_unless_errors_are_ignored() {
        let mut strict = reader(&[("parse.key", "true")]).unwrap();
        strict.record("a\tb").unwrap();
        let expected = "org.apache.kafka.common.KafkaException: No key separator found on line number 2: 'nokey'";
        assert_eq!(said(strict.record("nokey").unwrap_err()), expected);
        let mut lenient = reader(&[("parse.key", "true"), ("ignore.error", "true")]).unwrap();
        assert_eq!(lenient.record("nokey").unwrap().value, Some("nokey"));
    }

    #[test]
    fn separators_that_cannot_be_told_apart_are_refused() {
        let clash = reader(&[("headers.separator", "\t")]).err().map(said);
        let expected =
            "org.apache.kafka.common.KafkaException: headers.delimiter and headers.separator may not be equal";
        assert_eq!(clash.as_deref(), Some(expected));
    }
}
