//! Owns the consumer behind the console and perf tools: which partitions it reads and from where. Kafka: `ConsumerWrapper` of
//! `ConsoleConsumer`. Without a group id from the operator, all partitions of the topics are assigned manually, so that
//! nothing waits for a group coordinator; with one, the consumer joins that group.

use super::client_properties::{self, Logged, Properties};
use super::errors;
use super::terminal::{self, Failure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::{Offset, TopicPartitionList};
use regex::Regex;
use std::collections::HashSet;
use std::time::{Duration, Instant};

const NETWORK_CLIENT: &str = "org.apache.kafka.clients.NetworkClient";
/// How long one metadata request may take before other work continues.
const METADATA_WAIT: Duration = Duration::from_secs(1);
/// Pauses between requests while a topic does not exist: the Java client's back-off.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Kafka's internal topics, which a pattern does not match.
pub(crate) const INTERNAL_TOPICS: &[&str] = &["__consumer_offsets", "__transaction_state"];

/// What to read.
pub(crate) enum Source {
    Partition {
        topic: String,
        partition: i32,
    },
    Topic(String),
    /// All topics whose whole name matches.
    Pattern(Regex),
}

pub(crate) struct Feed {
    consumer: BaseConsumer<Logged>,
    who: String,
    source: Source,
    start: Offset,
    /// True when a group assigns the partitions.
    in_group: bool,
    assigned: HashSet<(String, i32)>,
    metadata_max_age: Duration,
    next_discovery: Instant,
    retry: Duration,
    questions: u32,
}

impl Feed {
    /// `start` is where a partition begins; a group's committed offset takes precedence.
    pub(crate) fn new(properties: &Properties, source: Source, start: Offset, in_group: bool) -> Result<Self, Failure> {
        let of = |key: &str| properties.get(key).map_or("", String::as_str);
        let who = format!("Consumer clientId={}, groupId={}", of("client.id"), of("group.id"));
        let config = client_properties::consumer(properties)?;
        let consumer: BaseConsumer<Logged> = client_properties::create(&config, Logged { who: who.clone() })?;
        let metadata_max_age = Duration::from_millis(of("metadata.max.age.ms").parse().unwrap_or(300_000));
        let mut feed = Self {
            consumer,
            who,
            source,
            start,
            in_group,
            assigned: HashSet::new(),
            metadata_max_age,
            next_discovery: Instant::now(),
            retry: RETRY_FIRST,
            questions: 0,
        };
        feed.begin().map_err(|e| Failure::message(format_args!("org.apache.kafka.common.KafkaException: {e}")))?;
        Ok(feed)
    }

    fn begin(&mut self) -> Result<(), KafkaError> {
        match &self.source {
            Source::Partition { topic, partition } => {
                // With the leader known beforehand, librdkafka begins at once instead of at its next metadata refresh.
                self.consumer.fetch_metadata(Some(topic), METADATA_WAIT).ok();
                let mut list = TopicPartitionList::new();
                list.add_partition_offset(topic, *partition, self.start)?;
                self.consumer.assign(&list)
            }
            Source::Topic(topic) if self.in_group => self.consumer.subscribe(&[topic]),
            Source::Pattern(pattern) if self.in_group => self.consumer.subscribe(&[&format!("^({pattern})$")]),
            Source::Topic(_) | Source::Pattern(_) => Ok(()),
        }
    }

    /// The next record, if one arrives within `wait`. An error ends the reading.
    pub(crate) fn poll(&mut self, wait: Duration) -> Option<Result<BorrowedMessage<'_>, String>> {
        if !self.in_group && !matches!(self.source, Source::Partition { .. }) && Instant::now() >= self.next_discovery {
            self.discover(wait);
        }
        let (consumer, retry) = (&self.consumer, self.next_discovery.saturating_duration_since(Instant::now()));
        match consumer.poll(wait.min(retry.max(Duration::from_millis(1))))? {
            Ok(message) => Some(Ok(message)),
            Err(e) => match e.rdkafka_error_code() {
                Some(code) if ends_reading(code) => Some(Err(errors::client_exception(code))),
                _ => None,
            },
        }
    }

    /// True once there is something to read from.
    pub(crate) fn has_partitions(&self) -> bool {
        !self.assigned.is_empty() || self.consumer.assignment().is_ok_and(|assigned| assigned.count() > 0)
    }

    /// Requests the partitions and assigns the new ones.
    fn discover(&mut self, wait: Duration) {
        let asked = match &self.source {
            Source::Topic(topic) => Some(topic.as_str()),
            _ => None,
        };
        self.questions += 1;
        let wait = wait.clamp(RETRY_FIRST, METADATA_WAIT);
        let mut list = TopicPartitionList::new();
        if let Ok(metadata) = self.consumer.fetch_metadata(asked, wait) {
            for topic in metadata.topics() {
                if let (Some(error), Some(name)) = (topic.error(), asked) {
                    let error = errors::error_code(error.into());
                    terminal::warn(
                        NETWORK_CLIENT,
                        format_args!(
                            "[{}] The metadata response from the cluster reported a recoverable issue with correlation id {} : \
                             {{{name}={error}}}",
                            self.who, self.questions
                        ),
                    );
                }
                if !self.wants(topic.name()) {
                    continue;
                }
                for partition in topic.partitions() {
                    if self.assigned.insert((topic.name().to_owned(), partition.id())) {
                        // Refused only for an invalid offset, which `start` is not.
                        list.add_partition_offset(topic.name(), partition.id(), self.start).ok();
                    }
                }
            }
        }
        if list.count() > 0
            && let Err(e) = self.consumer.incremental_assign(&list)
        {
            terminal::error(NETWORK_CLIENT, format_args!("[{}] {e}", self.who));
        }
        if self.assigned.is_empty() {
            self.next_discovery = Instant::now() + self.retry;
            self.retry = (self.retry * 2).min(RETRY_MAX);
        } else {
            self.next_discovery = Instant::now() + self.metadata_max_age;
        }
    }

    fn wants(&self, topic: &str) -> bool {
        match &self.source {
            Source::Topic(name) | Source::Partition { topic: name, .. } => name == topic,
            Source::Pattern(pattern) => !INTERNAL_TOPICS.contains(&topic) && pattern.is_match(topic),
        }
    }

    /// Ends the reading. A group member leaves and commits; a consumer without a group has nothing to send, and the end
    /// of the process closes its connections faster than an orderly stop of its threads.
    pub(crate) fn close(self) {
        if !self.in_group {
            std::mem::forget(self.consumer);
        }
    }
}

/// Errors that the Java consumer throws from `poll`. All others are transient, or recur with the next answer.
pub(crate) fn ends_reading(code: RDKafkaErrorCode) -> bool {
    matches!(
        code,
        RDKafkaErrorCode::AutoOffsetReset
            | RDKafkaErrorCode::Fatal
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::GroupAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidGroupId
            | RDKafkaErrorCode::BadMessage
    )
}

/// A Java pattern that must match a topic's whole name.
pub(crate) fn topic_pattern(text: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{text})$"))
}
