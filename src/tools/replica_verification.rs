//! `zurau replica-verification`: reads all replicas of partitions side by side, up to the high watermark, and reports
//! where they differ, until it is stopped. Kafka: `org.apache.kafka.tools.ReplicaVerificationTool`,
//! kafka-replica-verification.sh.
//! An offline broker stalls its partitions until it is back. The replicas are those assigned at the start.

use super::get_offsets::AtTime;
use super::support::admin::{Admin, Target};
use super::support::client_properties::Properties;
use super::support::leaders::{self, Partition};
use super::support::options::{Opt, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use super::topics::topic_filter;
use crate::common::{Offset, Uuid};
use crate::protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use crate::protocol::messages::{FetchRequest, FetchResponse};
use crate::protocol::{ApiKey, Records};
use crate::record::batch::{Batches, batches};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

const BROKER_LIST: Opt =
    Opt::with("broker-list", "String: hostname:port,...,hostname:port", "REQUIRED: brokers to ask first.");
const FETCH_SIZE: Opt =
    Opt::with("fetch-size", "Integer: bytes", "How much of a partition is read at once.").default("1048576");
const MAX_WAIT_MS: Opt =
    Opt::with("max-wait-ms", "Integer: ms", "How long a broker may wait for more records.").default("1000");
const TOPIC_WHITE_LIST: Opt = Opt::with(
    "topic-white-list",
    "String: Java regex (String)",
    "DEPRECATED: the older name of --topics-include, which wins.",
)
.default(".*");
const TOPICS_INCLUDE: Opt =
    Opt::with("topics-include", "String: Java regex (String)", "The topics to compare.").default(".*");
const TIME: Opt = Opt::with(
    "time",
    "Long: timestamp/-1(latest)/-2(earliest)",
    "Where to start: a time in milliseconds, -1 for the end, -2 for the beginning.",
)
.default("-1");
const REPORT_INTERVAL_MS: Opt =
    Opt::with("report-interval-ms", "Long: ms", "How often the largest lag is told.").default("30000");

const TOOL: Tool = Tool {
    about: "Validate that all replicas for a set of topics have the same data.",
    options: &[&BROKER_LIST, &FETCH_SIZE, &MAX_WAIT_MS, &TOPIC_WHITE_LIST, &TOPICS_INCLUDE, &TIME, &REPORT_INTERVAL_MS],
};

const CLASS: &str = "org.apache.kafka.tools.ReplicaVerificationTool";
const LATEST: i64 = -1;
/// A reader with this id may read from any replica, also above the high watermark. Kafka: `DEBUGGING_CONSUMER_ID`.
const DEBUGGING_CONSUMER: i32 = -2;
/// The first version of Fetch that names the reader in `replica_state`.
const REPLICA_STATE_FROM: i16 = 15;
/// The largest answer that a tool accepts.
const FETCH_MAX_BYTES: i32 = 50 << 20;
/// How long an offline broker is waited for in one round.
const ROUND_TIMEOUT_MS: &str = "30000";

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        terminal::warn(CLASS, "This tool is deprecated and may be removed in a future major release.");
        let options = TOOL.start(args)?;
        TOOL.require(&options, &[&BROKER_LIST])?;
        TOOL.refuse_beside(&options, &TOPICS_INCLUDE, &[&TOPIC_WHITE_LIST])?;
        verify(&options, out)
    })
}

fn verify(options: &Options, out: &mut Output) -> Result<(), Failure> {
    let servers = options.required(&BROKER_LIST)?;
    TOOL.check_host_ports(servers)?;
    let include = if options.has(&TOPICS_INCLUDE) { &TOPICS_INCLUDE } else { &TOPIC_WHITE_LIST };
    let topics = topic_filter(options.required(include)?).map_err(Failure::message)?;
    let fetch_size = options.required_number::<i32>(&FETCH_SIZE)?;
    let max_wait_ms = options.required_number::<i32>(&MAX_WAIT_MS)?;
    let time = options.required_number::<i64>(&TIME)?;
    let interval = options.required_number::<i64>(&REPORT_INTERVAL_MS)?;
    let interval = Duration::from_millis(u64::try_from(interval).unwrap_or(0));

    let failed = |e: super::support::admin::AdminError| Failure::Message(e.exception());
    let mut properties = Properties::new();
    let mut admin = Admin::new(servers, &properties)?;
    let mut replicas: BTreeMap<Partition, BTreeSet<i32>> = BTreeMap::new();
    let mut ids = BTreeMap::new();
    for topic in admin.metadata("listTopics", None).map_err(failed)?.topics {
        let Some(name) = topic.name.as_deref().filter(|name| topics.is_match(name)) else { continue };
        ids.insert(name.to_owned(), topic.topic_id);
        for p in &topic.partitions {
            replicas.insert((name.to_owned(), p.partition_index), p.replica_nodes.iter().copied().collect());
        }
    }
    if replicas.is_empty() {
        let option = "[topics-include]";
        let text =
            format!("No topics found. {option} if specified, is either filtering out all topics or there is no topic.");
        terminal::error(CLASS, text);
        return Err(Failure::Exit(1));
    }
    let mut offsets = starting_offsets(&mut admin, &replicas, time)?;
    properties.insert("default.api.timeout.ms".to_owned(), ROUND_TIMEOUT_MS.to_owned());
    let brokers: BTreeSet<i32> = replicas.values().flatten().copied().collect();
    let mut readers = Vec::new();
    for broker in brokers {
        let admin = Admin::new(servers, &properties)?;
        let partitions = replicas.iter().filter(|(_, on)| on.contains(&broker)).map(|(p, _)| p.clone()).collect();
        readers.push(Reader { broker, admin, partitions, topic_ids: &ids, fetch_size, max_wait_ms });
    }
    writeln!(out, "{}: verification process is started", now())?;
    out.flush()?;

    let mut reported = Instant::now();
    loop {
        let mut round: BTreeMap<Partition, BTreeMap<i32, Held>> =
            replicas.iter().map(|(p, on)| (p.clone(), on.iter().map(|id| (*id, Held::default())).collect())).collect();
        let known = &offsets;
        let read: Vec<(i32, Vec<(Partition, Held)>)> = thread::scope(|scope| {
            let under_way: Vec<_> =
                readers.iter_mut().map(|reader| scope.spawn(move || (reader.broker, reader.read(known)))).collect();
            under_way.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        for (broker, copies) in read {
            for (partition, copy) in copies {
                if let Some(place) = round.get_mut(&partition).and_then(|copies| copies.get_mut(&broker)) {
                    *place = copy;
                }
            }
        }
        let mut lag = Lag::default();
        for (partition, copies) in &round {
            let Some(offset) = offsets.get_mut(partition) else { continue };
            let found = compare(copies, *offset);
            for difference in &found.differences {
                let name = format!("{}-{}", partition.0, partition.1);
                writeln!(out, "{}: {}", now(), difference.shown(&name))?;
            }
            out.flush()?;
            if found.differences.iter().any(|d| matches!(d, Difference::Offset { .. } | Difference::Broken { .. })) {
                return Err(Failure::Exit(1));
            }
            *offset = found.next;
            lag.take(partition, copies, *offset);
        }
        if reported.elapsed() > interval {
            let name = lag.partition.map_or_else(String::new, |(topic, id)| format!("{topic}-{id}"));
            writeln!(
                out,
                "{}: max lag is {} for partition {name} at offset {} among {} partitions",
                now(),
                lag.max,
                lag.offset,
                round.len()
            )?;
            out.flush()?;
            reported = Instant::now();
        }
    }
}

fn now() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S,%3f").to_string()
}

/// The start offset of each partition. One without records after `time` is read from its end.
fn starting_offsets(
    admin: &mut Admin,
    replicas: &BTreeMap<Partition, BTreeSet<i32>>,
    time: i64,
) -> Result<BTreeMap<Partition, Offset>, Failure> {
    let mut offsets = BTreeMap::new();
    let mut left: Vec<Partition> = replicas.keys().cloned().collect();
    for time in [time, LATEST] {
        let told = leaders::ask(admin, &AtTime(time), std::mem::take(&mut left));
        for (partition, offset) in told {
            match offset.map_err(|e| Failure::Message(e.exception()))? {
                offset if offset >= 0 => {
                    offsets.insert(partition, offset);
                }
                _ => left.push(partition),
            }
        }
        if left.is_empty() {
            break;
        }
    }
    Ok(offsets)
}

/// A replica's records from the requested offset on. Empty when its broker did not answer.
#[derive(Clone, Debug)]
struct Held {
    high_watermark: Offset,
    records: Bytes,
}

impl Default for Held {
    fn default() -> Self {
        Self { high_watermark: -1, records: Bytes::new() }
    }
}

/// Reads the replicas of one broker.
struct Reader<'a> {
    broker: i32,
    admin: Admin,
    partitions: Vec<Partition>,
    topic_ids: &'a BTreeMap<String, Uuid>,
    fetch_size: i32,
    max_wait_ms: i32,
}

impl Reader<'_> {
    fn read(&mut self, offsets: &BTreeMap<Partition, Offset>) -> Vec<(Partition, Held)> {
        let mut topics: Vec<FetchTopic> = Vec::new();
        for (topic, id) in &self.partitions {
            if topics.last().is_none_or(|last| *last.topic != **topic) {
                topics.push(FetchTopic {
                    topic: topic.as_str().into(),
                    topic_id: self.topic_ids.get(topic).copied().unwrap_or_default(),
                    ..Default::default()
                });
            }
            let partition = FetchPartition {
                partition: *id,
                fetch_offset: offsets.get(&(topic.clone(), *id)).copied().unwrap_or_default(),
                log_start_offset: 0,
                partition_max_bytes: self.fetch_size,
                ..Default::default()
            };
            if let Some(last) = topics.last_mut() {
                last.partitions.push(partition);
            }
        }
        let Ok(versions) = self.admin.api_versions(self.broker) else { return Vec::new() };
        let newest = versions.get(&ApiKey::Fetch.wire()).map_or(0, |range| *range.end());
        let mut request = FetchRequest {
            max_wait_ms: self.max_wait_ms,
            min_bytes: 1,
            max_bytes: FETCH_MAX_BYTES,
            topics,
            ..Default::default()
        };
        if newest >= REPLICA_STATE_FROM {
            request.replica_state = ReplicaState { replica_id: DEBUGGING_CONSUMER, ..Default::default() };
        } else {
            request.replica_id = DEBUGGING_CONSUMER;
        }
        let answer: Result<FetchResponse, _> =
            self.admin.call("fetch", Target::Broker(self.broker), ApiKey::Fetch, &request);
        let Ok(answer) = answer else { return Vec::new() };
        let mut copies = Vec::new();
        for topic in answer.responses {
            let name = match self.topic_ids.iter().find(|(_, id)| !id.is_zero() && **id == topic.topic_id) {
                Some((name, _)) => name.clone(),
                None => topic.topic.to_string(),
            };
            for p in topic.partitions {
                let records = match p.records {
                    Some(Records::Bytes(bytes)) => bytes,
                    _ => Bytes::new(),
                };
                copies.push(((name.clone(), p.partition_index), Held { high_watermark: p.high_watermark, records }));
            }
        }
        copies
    }
}

/// Where replicas differ.
#[derive(Debug, PartialEq)]
enum Difference {
    Offset { one: (i32, Offset), other: (i32, Offset) },
    Checksum { at: Offset, one: (i32, u32), other: (i32, u32) },
    Broken { replica: i32, at: Offset, why: String },
}

impl Difference {
    fn shown(&self, partition: &str) -> String {
        match self {
            Self::Offset { one, other } => format!(
                "partition {partition}: replica {}'s offset {} doesn't match replica {}'s offset {}",
                one.0, one.1, other.0, other.1
            ),
            Self::Checksum { at, one, other } => format!(
                "partition {partition} has unmatched checksum at offset {at}; replica {}'s checksum {}; replica {}'s \
                 checksum {}",
                one.0, one.1, other.0, other.1
            ),
            Self::Broken { replica, at, why } => {
                format!("Error in processing replica {replica} in partition {partition} at offset {at}: {why}")
            }
        }
    }
}

struct Compared {
    /// The start of the next round.
    next: Offset,
    differences: Vec<Difference>,
}

/// Goes through the replicas batch by batch, as far as all have one below their high watermark.
fn compare(copies: &BTreeMap<i32, Held>, from: Offset) -> Compared {
    let mut compared = Compared { next: from, differences: Vec::new() };
    let mut readers: Vec<(i32, Offset, Batches<'_>)> =
        copies.iter().map(|(id, copy)| (*id, copy.high_watermark, batches(&copy.records))).collect();
    loop {
        let mut first: Option<(i32, Offset, Offset, u32)> = None;
        let mut in_all = !readers.is_empty();
        for (replica, high_watermark, batches) in &mut readers {
            let batch = match batches.next() {
                Some(Ok(batch)) => batch,
                Some(Err(error)) => {
                    let (replica, at, why) = (*replica, compared.next, error.to_string());
                    compared.differences.push(Difference::Broken { replica, at, why });
                    return compared;
                }
                None => {
                    in_all = false;
                    continue;
                }
            };
            let (last, crc) = (batch.last_offset(), batch.crc());
            if last >= *high_watermark {
                in_all = false;
                continue;
            }
            match first {
                None => first = Some((*replica, last, batch.next_offset(), crc)),
                Some((one, offset, ..)) if offset != last => {
                    compared.differences.push(Difference::Offset { one: (one, offset), other: (*replica, last) });
                    return compared;
                }
                Some((one, _, _, checksum)) if checksum != crc => compared.differences.push(Difference::Checksum {
                    at: last,
                    one: (one, checksum),
                    other: (*replica, crc),
                }),
                Some(_) => {}
            }
        }
        match first {
            Some((_, _, next, _)) if in_all => compared.next = next,
            _ => return compared,
        }
    }
}

/// The partition of which most is still to be compared.
struct Lag {
    max: i64,
    offset: Offset,
    partition: Option<Partition>,
}

impl Default for Lag {
    fn default() -> Self {
        Self { max: -1, offset: -1, partition: None }
    }
}

impl Lag {
    fn take(&mut self, partition: &Partition, copies: &BTreeMap<i32, Held>, offset: Offset) {
        let high_watermark = copies.values().map(|copy| copy.high_watermark).max().unwrap_or(-1);
        if high_watermark - offset > self.max {
            *self = Self { max: high_watermark - offset, offset, partition: Some(partition.clone()) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::batch::Batch;
    use crate::record::builder::{BatchBuilder, BatchOptions};

    /// Batches of one record each, from offset 0 on.
    fn held(high_watermark: Offset, values: &[&str]) -> Held {
        let mut records = Vec::new();
        for (at, value) in (0..).zip(values) {
            let options = BatchOptions { base_offset: at, ..Default::default() };
            let mut builder = BatchBuilder::new(options).expect("builder");
            builder.append(1, None, Some(value.as_bytes()), &[]).expect("append");
            records.extend_from_slice(&builder.finish().expect("batch"));
        }
        Held { high_watermark, records: records.into() }
    }

    fn compared(copies: [Held; 2]) -> (Offset, Vec<Difference>) {
        let compared = compare(&(1..).zip(copies).collect(), 0);
        (compared.next, compared.differences)
    }

    #[test]
    fn replicas_are_compared_up_to_the_lowest_high_watermark() {
        assert_eq!(compared([held(3, &["a", "b", "c"]), held(2, &["a", "b", "c"])]), (2, vec![]));
        assert_eq!(compared([held(3, &["a", "b", "c"]), held(3, &["a"])]), (1, vec![]));
        // A broker that did not answer stalls everything.
        assert_eq!(compared([held(3, &["a"]), Held::default()]), (0, vec![]));
    }

    #[test]
    fn another_checksum_and_another_offset_are_told() {
        let (next, found) = compared([held(2, &["a", "b"]), held(2, &["a", "x"])]);
        let crc = |value: &str| {
            let held = held(1, &["", value]);
            batches(&held.records).nth(1).and_then(Result::ok).map(|batch: Batch<'_>| batch.crc()).expect("a batch")
        };
        let difference = Difference::Checksum { at: 1, one: (1, crc("b")), other: (2, crc("x")) };
        assert_eq!((next, &found[..]), (2, &[difference][..]));
        assert!(
            found[0]
                .shown("t-0")
                .starts_with("partition t-0 has unmatched checksum at offset 1; replica 1's checksum ")
        );

        let mut shifted = held(9, &["a", "b"]);
        shifted.records = shifted.records.slice(shifted.records.len() / 2..);
        let (next, found) = compared([held(9, &["a"]), shifted]);
        assert_eq!((next, found), (0, vec![Difference::Offset { one: (1, 0), other: (2, 1) }]));
    }
}
