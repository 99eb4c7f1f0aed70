//! Owns the producer behind the console and perf tools: it waits for the topic, blocks the caller while its buffer is
//! full, and reports errors as the Java producer does. Kafka: `KafkaProducer.send`, `close`.

use super::client_properties::{self, Properties};
use super::errors;
use super::terminal::{self, Failure};
use crate::common::ErrorCode;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::ToBytes;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::time::{Duration, Instant};

/// How long a send of the Java producer waits for the topic.
const MAX_BLOCK_MS: u64 = 60_000;
/// Pause between requests for a topic that does not exist.
const TOPIC_RETRY: Duration = Duration::from_millis(100);
/// How long one metadata request may take.
const METADATA_WAIT: Duration = Duration::from_secs(1);
/// Pause while the buffer is full, or the last answers are awaited.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) struct Sender<C: ProducerContext + 'static> {
    producer: ThreadedProducer<C>,
    who: String,
    topic: String,
    topic_known: bool,
    max_block: Duration,
    max_request_size: String,
}

impl<C: ProducerContext + 'static> Sender<C> {
    /// With `metrics_interval` the context receives librdkafka's figures at that interval.
    pub(crate) fn new(
        properties: &Properties,
        topic: &str,
        who: String,
        context: C,
        metrics_interval: Option<Duration>,
    ) -> Result<Self, Failure> {
        let mut config = client_properties::producer(properties)?;
        if let Some(interval) = metrics_interval {
            config.set("statistics.interval.ms", interval.as_millis().to_string());
        }
        Ok(Self {
            producer: client_properties::create(&config, context)?,
            who,
            topic: topic.to_owned(),
            topic_known: false,
            max_block: Duration::from_millis(client_properties::number(properties, "max.block.ms", MAX_BLOCK_MS)?),
            max_request_size: config.get("message.max.bytes").unwrap_or_default().to_owned(),
        })
    }

    /// Queues a record. The error is the Java producer's exception, without its stack; `size` is the size that it names
    /// for a record that is too large.
    pub(crate) fn send<K: ToBytes + ?Sized, V: ToBytes + ?Sized>(
        &mut self,
        mut record: BaseRecord<'_, K, V, C::DeliveryOpaque>,
        size: usize,
    ) -> Result<(), String> {
        if !self.topic_known {
            self.wait_for_topic()?;
            self.topic_known = true;
        }
        loop {
            record = match self.producer.send(record) {
                Ok(()) => return Ok(()),
                // As in Java, a full buffer blocks the sender.
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => back,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                    return Err(format!(
                        "org.apache.kafka.common.errors.RecordTooLargeException: The message is {size} bytes when serialized \
                         which is larger than {}, which is the value of the max.request.size configuration.",
                        self.max_request_size
                    ));
                }
                Err((e, _)) => return Err(exception(&e)),
            };
            std::thread::park_timeout(PAUSE);
        }
    }

    fn wait_for_topic(&self) -> Result<(), String> {
        let (client, topic) = (self.producer.client(), self.topic.as_str());
        let deadline = Instant::now() + self.max_block;
        for question in 1.. {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            // Not connected yet, or the answer is late: retried until the timeout.
            let answer = client.fetch_metadata(Some(topic), left.min(METADATA_WAIT));
            if let Some(found) = answer.as_ref().ok().and_then(|metadata| metadata.topics().first()) {
                if found.error().is_none() && !found.partitions().is_empty() {
                    // Librdkafka requests a producer id when metadata arrives over a permanent connection; the first
                    // arrived over the bootstrap connection, and the next attempt would be half a second later.
                    client.fetch_metadata(Some(topic), left.min(METADATA_WAIT)).ok();
                    return Ok(());
                }
                let error = errors::error_code(found.error().map_or(RDKafkaErrorCode::LeaderNotAvailable, Into::into));
                terminal::warn(
                    "org.apache.kafka.clients.NetworkClient",
                    format_args!(
                        "[{}] The metadata response from the cluster reported a recoverable issue with correlation id \
                         {question} : {{{topic}={error}}}",
                        self.who
                    ),
                );
                if error == ErrorCode::InvalidTopicException {
                    return Err(format!(
                        "org.apache.kafka.common.errors.InvalidTopicException: Invalid topics: [{topic}]"
                    ));
                }
            }
            std::thread::park_timeout(TOPIC_RETRY.min(deadline.saturating_duration_since(Instant::now())));
        }
        Err(format!(
            "org.apache.kafka.common.errors.TimeoutException: Topic {topic} not present in metadata after {} ms.",
            self.max_block.as_millis()
        ))
    }

    pub(crate) fn producer(&self) -> &ThreadedProducer<C> {
        &self.producer
    }

    /// Waits until every record has been answered or given up. The end of the process then closes the connections,
    /// which is faster than an orderly stop of librdkafka's threads.
    pub(crate) fn close(self) {
        self.flush();
        std::mem::forget(self.producer);
    }

    /// Waits until every record has been answered or given up.
    pub(crate) fn flush(&self) {
        // Each call ends lingering; a longer one would sleep in steps of a tenth of a second.
        while self.producer.flush(Duration::ZERO).is_err() && self.producer.in_flight_count() > 0 {
            self.producer.poll(PAUSE);
        }
    }
}

/// The Java client's exception for librdkafka's error.
pub(crate) fn exception(e: &KafkaError) -> String {
    match e.rdkafka_error_code() {
        Some(code) => errors::client_exception(code),
        None => format!("org.apache.kafka.common.KafkaException: {e}"),
    }
}
