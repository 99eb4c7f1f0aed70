//! Owns the properties that operators give to producers and consumers, under the Java client's names, and their
//! counterparts in librdkafka. Kafka: `ProducerConfig`, `ConsumerConfig`. A key without a counterpart in librdkafka is
//! omitted, as the Java client ignores a key that it does not know.

use super::terminal::{self, Failure};
use crate::config::parse;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use std::io;

pub(crate) use crate::config::Props as Properties;

/// Keys with the same name and meaning.
const SAME: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.servers",
    "check.crcs",
    "client.id",
    "client.rack",
    "compression.type",
    "connections.max.idle.ms",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.min.bytes",
    "group.id",
    "group.instance.id",
    "heartbeat.interval.ms",
    "isolation.level",
    "linger.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.poll.interval.ms",
    "metadata.max.age.ms",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "session.timeout.ms",
    "socket.connection.setup.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

const RENAMED: &[(&str, &str)] = &[
    ("fetch.max.wait.ms", "fetch.wait.max.ms"),
    ("max.request.size", "message.max.bytes"),
    ("receive.buffer.bytes", "socket.receive.buffer.bytes"),
    ("send.buffer.bytes", "socket.send.buffer.bytes"),
];

/// Reads a properties file that an option names.
pub(crate) fn load(path: &str) -> Result<Properties, Failure> {
    let bytes = std::fs::read(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Failure::message(format_args!("java.nio.file.NoSuchFileException: {path}")),
        _ => Failure::message(format_args!("{path}: {e}")),
    })?;
    parse::properties(&bytes).map_err(|e| Failure::message(format_args!("{path}: {e}")))
}

/// A producer's configuration, with the Java producer's defaults where librdkafka's differ.
pub(crate) fn producer(properties: &Properties) -> Result<ClientConfig, Failure> {
    let mut config = translated(properties)?;
    let mut default = |key: &str, value: &str| {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    };
    default("linger.ms", "0");
    default("batch.size", "16384");
    default("max.in.flight.requests.per.connection", "5");
    default("message.max.bytes", "1048576");
    default("queue.buffering.max.kbytes", "32768");
    // The Java producer limits its memory only by bytes.
    default("queue.buffering.max.messages", "0");
    // Records with a key go to the partition that the Java producer would choose.
    default("partitioner", "murmur2_random");
    let acks = config.get("acks").unwrap_or("all");
    if matches!(acks, "all" | "-1") && config.get("retries") != Some("0") && config.get("enable.idempotence").is_none()
    {
        config.set("enable.idempotence", "true");
    }
    Ok(config)
}

/// A consumer's configuration, with the Java consumer's defaults where librdkafka's differ.
pub(crate) fn consumer(properties: &Properties) -> Result<ClientConfig, Failure> {
    let mut config = translated(properties)?;
    if let Some(timeout) = properties.get("request.timeout.ms") {
        config.set("socket.timeout.ms", timeout);
    }
    config.remove("request.timeout.ms");
    if let Some(classes) = properties.get("partition.assignment.strategy") {
        config.set("partition.assignment.strategy", assignors(classes)?);
    }
    for (key, value) in [("isolation.level", "read_uncommitted"), ("allow.auto.create.topics", "true")] {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    Ok(config)
}

/// librdkafka's names of Java's assignors. A member with an unknown assignor would not share its group's protocol.
fn assignors(classes: &str) -> Result<String, Failure> {
    let names: Option<Vec<&str>> = classes
        .split(',')
        .map(|class| match class.trim().rsplit('.').next()? {
            "RangeAssignor" | "range" => Some("range"),
            "RoundRobinAssignor" | "roundrobin" => Some("roundrobin"),
            "CooperativeStickyAssignor" | "cooperative-sticky" => Some("cooperative-sticky"),
            _ => None,
        })
        .collect();
    names
        .map(|names| names.join(","))
        .ok_or_else(|| Failure::message(format_args!("partition.assignment.strategy={classes} is not supported")))
}

fn translated(properties: &Properties) -> Result<ClientConfig, Failure> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Warning);
    // librdkafka also waits for this pause before it connects to a newly discovered broker.
    config.set("reconnect.backoff.ms", "5");
    for (key, value) in properties {
        if SAME.contains(&key.as_str()) {
            config.set(key, value);
        } else if let Some((_, name)) = RENAMED.iter().find(|(java, _)| java == key) {
            // The Java client's -1 leaves a socket buffer to the system, which is 0 here.
            config.set(*name, if value == "-1" { "0" } else { value });
        }
    }
    if properties.contains_key("buffer.memory") {
        let bytes = number(properties, "buffer.memory", 0)?;
        config.set("queue.buffering.max.kbytes", (bytes / 1024).max(1).to_string());
    }
    match properties.get("security.protocol").map(|p| p.to_ascii_uppercase()) {
        Some(protocol) if protocol != "PLAINTEXT" => {
            Err(Failure::message(format_args!("security.protocol={protocol} is not supported yet")))
        }
        _ => Ok(config),
    }
}

/// A whole number among the properties; `default` when the key is not there.
pub(crate) fn number(properties: &Properties, key: &str, default: u64) -> Result<u64, Failure> {
    let Some(value) = properties.get(key) else { return Ok(default) };
    value.parse().map_err(|_| not_a_number(key, value))
}

fn not_a_number(key: &str, value: &str) -> Failure {
    Failure::message(format_args!(
        "org.apache.kafka.common.config.ConfigException: Invalid value {value} for configuration {key}: Not a number of type LONG"
    ))
}

/// Builds a client; an invalid value is reported as the Java client reports it.
pub(crate) fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
    config: &ClientConfig,
    context: C,
) -> Result<T, Failure> {
    config.create_with_context(context).map_err(|e| match e {
        KafkaError::ClientConfig(_, reason, key, value) => Failure::message(format_args!(
            "org.apache.kafka.common.config.ConfigException: Invalid value {value} for configuration {key}: {reason}"
        )),
        e => Failure::message(format_args!("org.apache.kafka.common.KafkaException: {e}")),
    })
}

/// Logs librdkafka's warnings as the Java client does: one line each on standard error.
pub(crate) struct Logged {
    /// The prefix of the Java client's lines, such as `Producer clientId=console-producer`.
    pub(crate) who: String,
}

impl ClientContext for Logged {
    fn log(&self, _level: RDKafkaLogLevel, _facility: &str, message: &str) {
        // librdkafka's lines start with its thread's name in brackets.
        let message = message.split_once("]: ").map_or(message, |(_, rest)| rest);
        terminal::warn("org.apache.kafka.clients.NetworkClient", format_args!("[{}] {message}", self.who));
    }

    // Errors come with a log line, or with the delivery report of their message.
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ConsumerContext for Logged {}

#[cfg(test)]
mod tests {
    use super::{Properties, consumer, producer};

    fn properties(pairs: &[(&str, &str)]) -> Properties {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn java_words_become_librdkafka_words() {
        let config = producer(&properties(&[
            ("buffer.memory", "1048576"),
            ("send.buffer.bytes", "-1"),
            ("max.request.size", "2000000"),
            ("key.serializer", "org.apache.kafka.common.serialization.ByteArraySerializer"),
        ]))
        .unwrap();
        assert_eq!(config.get("queue.buffering.max.kbytes"), Some("1024"));
        assert_eq!(config.get("socket.send.buffer.bytes"), Some("0"));
        assert_eq!(config.get("message.max.bytes"), Some("2000000"));
        assert_eq!(config.get("key.serializer"), None);
    }

    #[test]
    fn producer_is_idempotent_unless_its_acks_or_retries_forbid_it() {
        let idempotence = |pairs| producer(&properties(pairs)).unwrap().get("enable.idempotence").map(str::to_owned);
        assert_eq!(idempotence(&[]).as_deref(), Some("true"));
        assert_eq!(idempotence(&[("acks", "1")]), None);
        assert_eq!(idempotence(&[("retries", "0")]), None);
        assert_eq!(idempotence(&[("enable.idempotence", "false")]).as_deref(), Some("false"));
    }

    #[test]
    fn consumer_reads_uncommitted_by_default() {
        assert_eq!(consumer(&Properties::new()).unwrap().get("isolation.level"), Some("read_uncommitted"));
    }
}
