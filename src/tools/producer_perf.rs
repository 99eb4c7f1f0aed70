//! `zurau perf producer`: sends records at a given rate and reports rates and latencies. Kafka:
//! `org.apache.kafka.tools.ProducerPerformance`, kafka-producer-perf-test.sh, whose command line follows argparse4j's rules.
//! Random payloads are the same bytes that Kafka's tool sends. With `--print-metrics` the figures are librdkafka's,
//! under its names.

use super::support::argparse::{self, Words, number};
use super::support::client_properties::{self, Logged, Properties};
use super::support::sender::{self, Sender};
use super::support::terminal::{self, Failure, Output};
use parking_lot::{Condvar, Mutex};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The most latencies kept for the percentiles; of more records every n-th is kept.
const MAX_SAMPLES: u64 = 500_000;
const REPORTING_INTERVAL: Duration = Duration::from_secs(5);
const METRICS_INTERVAL: Duration = Duration::from_millis(200);
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);

const HELP: &str = "\
usage: producer-performance [-h] --topic TOPIC --num-records NUM-RECORDS
                            [--payload-delimiter PAYLOAD-DELIMITER]
                            --throughput THROUGHPUT
                            [--producer-props PROP-NAME=PROP-VALUE [PROP-NAME=PROP-VALUE ...]]
                            [--producer.config CONFIG-FILE]
                            [--print-metrics]
                            [--transactional-id TRANSACTIONAL-ID]
                            [--transaction-duration-ms TRANSACTION-DURATION]
                            (--record-size RECORD-SIZE |
                            --payload-file PAYLOAD-FILE |
                            --payload-monotonic)
";

const DETAILS: &str = "
This tool measures how fast a producer writes to a cluster.

optional arguments:
  -h, --help             show this help message and exit
  --topic TOPIC          the topic to write to
  --num-records NUM-RECORDS
                         how many records to write
  --payload-delimiter PAYLOAD-DELIMITER
                         what stands between the payloads of --payload-file
                         (default: \\n)
  --throughput THROUGHPUT
                         about how many records to write in a second; -1 is
                         as many as possible
  --producer-props PROP-NAME=PROP-VALUE [PROP-NAME=PROP-VALUE ...]
                         producer properties such as bootstrap.servers; they
                         win over those of --producer.config
  --producer.config CONFIG-FILE
                         a file of producer properties
  --print-metrics        print the client's metrics at the end
                         (default: false)
  --transactional-id TRANSACTIONAL-ID
                         the transactional id, when --transaction-duration-ms
                         is above 0
                         (default: performance-producer-default-transactional-id)
  --transaction-duration-ms TRANSACTION-DURATION
                         commit a transaction when it is this old; 0 is no
                         transactions (default: 0)

  either --record-size or --payload-file must be specified but not both.

  --record-size RECORD-SIZE
                         bytes of a record, filled with random letters
  --payload-file PAYLOAD-FILE
                         a UTF-8 file of payloads, of which each record gets a
                         random one
  --payload-monotonic    each record holds the next number (default: false)
";

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        if args.is_empty() {
            return Err(Failure::Answered(format!("{HELP}{DETAILS}")));
        }
        let plan = match Plan::parse(args) {
            Ok(Some(plan)) => plan,
            // Kafka's tool ends with 1 after the help.
            Ok(None) => {
                out.write_all(HELP.as_bytes())?;
                out.write_all(DETAILS.as_bytes())?;
                return Err(Failure::Exit(1));
            }
            Err(reason) => return Err(Failure::message(format_args!("{HELP}producer-performance: error: {reason}"))),
        };
        measure(&plan, out)
    })
}

/// The parsed command line.
#[derive(Debug, Default, PartialEq)]
struct Plan {
    topic: String,
    num_records: u64,
    /// Records a second; below zero: no limit.
    throughput: f64,
    payload: PayloadSource,
    payload_delimiter: String,
    producer_props: Vec<String>,
    producer_config: Option<String>,
    print_metrics: bool,
    transactional_id: String,
    transaction_duration: Duration,
}

#[derive(Debug, Default, PartialEq)]
enum PayloadSource {
    #[default]
    Monotonic,
    Size(usize),
    File(String),
}

impl Plan {
    /// None when help is requested; an error is argparse4j's text.
    fn parse(args: &[String]) -> Result<Option<Self>, String> {
        let mut plan = Self {
            payload_delimiter: "\n".to_owned(),
            transactional_id: "performance-producer-default-transactional-id".to_owned(),
            ..Self::default()
        };
        let (mut topic, mut num_records, mut throughput, mut payload) = (None, None, None, None);
        let mut words = Words::new(args);
        while let Some(word) = words.next_word() {
            let name = word.name;
            let mut value = || words.value(word, name).map(str::to_owned);
            let mut only_payload = |source, name: &'static str| match payload.replace((source, name)) {
                Some((_, other)) if other != name => Err(format!("argument {name}: not allowed with argument {other}")),
                _ => Ok(()),
            };
            match name {
                "-h" | "--help" => return Ok(None),
                "--topic" => topic = Some(value()?),
                "--num-records" => num_records = Some(number::<i64>(name, &value()?, "Long")?),
                "--throughput" => throughput = Some(number::<f64>(name, &value()?, "Double")?),
                "--record-size" => {
                    let size = number::<u32>(name, &value()?, "Integer")?;
                    only_payload(PayloadSource::Size(size as usize), "--record-size")?;
                }
                "--payload-file" => only_payload(PayloadSource::File(value()?), "--payload-file")?,
                "--payload-monotonic" => only_payload(PayloadSource::Monotonic, "--payload-monotonic")?,
                "--payload-delimiter" => {
                    let delimiter = value()?;
                    plan.payload_delimiter = if delimiter == "\\n" { "\n".to_owned() } else { delimiter };
                }
                "--producer-props" => {
                    plan.producer_props
                        .push(value().map_err(|_| format!("argument {name}: expected at least one argument"))?);
                    plan.producer_props.extend(std::iter::from_fn(|| words.next_plain().map(str::to_owned)));
                }
                "--producer.config" => plan.producer_config = Some(value()?),
                "--print-metrics" => plan.print_metrics = true,
                "--transactional-id" => plan.transactional_id = value()?,
                "--transaction-duration-ms" => {
                    let ms = number::<i64>(name, &value()?, "Long")?;
                    plan.transaction_duration = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
                }
                unknown if unknown.starts_with('-') => return Err(argparse::unrecognized(word.whole)),
                _ => {
                    let rest = std::iter::once(word).chain(std::iter::from_fn(|| words.next_word()));
                    let rest: Vec<&str> = rest.map(|word| word.whole).collect();
                    return Err(argparse::unrecognized(&rest.join(" ")));
                }
            }
        }
        let required = |name: &str| format!("argument {name} is required");
        plan.throughput = throughput.ok_or_else(|| required("--throughput"))?;
        plan.topic = topic.ok_or_else(|| required("--topic"))?;
        let num_records = num_records.ok_or_else(|| required("--num-records"))?;
        plan.num_records = u64::try_from(num_records).unwrap_or(0);
        let none = || "one of the arguments --record-size --payload-file --payload-monotonic is required".to_owned();
        plan.payload = payload.ok_or_else(none)?.0;
        if plan.producer_props.is_empty() && plan.producer_config.is_none() {
            return Err("Either --producer-props or --producer.config must be specified.".to_owned());
        }
        Ok(Some(plan))
    }

    fn properties(&self) -> Result<Properties, Failure> {
        let mut properties = match &self.producer_config {
            Some(path) => client_properties::load(path)?,
            None => Properties::new(),
        };
        for pair in &self.producer_props {
            match pair.split('=').collect::<Vec<_>>()[..] {
                [key, value] if !value.is_empty() => properties.insert(key.to_owned(), value.to_owned()),
                _ => return Err(thrown(format_args!("Invalid property: {pair}"))),
            };
        }
        if self.transactional() {
            properties.insert("transactional.id".to_owned(), self.transactional_id.clone());
        }
        properties.entry("client.id".to_owned()).or_insert_with(|| "perf-producer-client".to_owned());
        Ok(properties)
    }

    fn transactional(&self) -> bool {
        !self.transaction_duration.is_zero()
    }
}

fn thrown(text: std::fmt::Arguments<'_>) -> Failure {
    Failure::message(format_args!("Exception in thread \"main\" java.lang.IllegalArgumentException: {text}"))
}

fn measure(plan: &Plan, out: &mut Output) -> Result<(), Failure> {
    let payload_list = match &plan.payload {
        PayloadSource::File(path) => read_payloads(path, &plan.payload_delimiter, out)?,
        _ => Vec::new(),
    };
    out.flush()?;
    let mut payloads =
        Payloads { source: &plan.payload, list: payload_list, random: SplittableRandom::new(0), record: Vec::new() };
    let properties = plan.properties()?;
    let who = format!("Producer clientId={}", properties["client.id"]);
    let state = Arc::new(State::new(plan.num_records));
    let context = Measured { logged: Logged { who: who.clone() }, state: state.clone() };
    let metrics_interval = plan.print_metrics.then_some(METRICS_INTERVAL);
    let mut sender = Sender::new(&properties, &plan.topic, who, context, metrics_interval)?;
    let in_transaction =
        |e: KafkaError| Failure::message(format_args!("Exception in thread \"main\" {}", sender::exception(&e)));
    if plan.transactional() {
        sender.producer().init_transactions(TRANSACTION_TIMEOUT).map_err(in_transaction)?;
    }

    let mut transaction_start: Option<Instant> = None;
    let started = state.started;
    let mut throttle = Throttle::new(plan.throughput, started);
    for n in 0..plan.num_records {
        let payload = payloads.next(n);
        if plan.transactional() && transaction_start.is_none() {
            sender.producer().begin_transaction().map_err(in_transaction)?;
            transaction_start = Some(Instant::now());
        }
        let sent_at = Instant::now();
        let since_start = u64::try_from((sent_at - started).as_millis()).unwrap_or(u64::MAX);
        let opaque = Box::new(Sent { at: sent_at, bytes: payload.len() });
        let record: BaseRecord<'_, (), [u8], Box<Sent>> =
            BaseRecord::with_opaque_to(&plan.topic, opaque).payload(payload);
        if let Err(exception) = sender.send(record, payload.len()) {
            terminal::say(exception);
        }
        if transaction_start.is_some_and(|start| sent_at - start >= plan.transaction_duration) {
            sender.producer().commit_transaction(TRANSACTION_TIMEOUT).map_err(in_transaction)?;
            transaction_start = None;
        }
        throttle.after(n, since_start);
    }
    if transaction_start.is_some() {
        sender.producer().commit_transaction(TRANSACTION_TIMEOUT).map_err(in_transaction)?;
    }
    sender.flush();
    out.write_all(state.stats.lock().total().as_bytes())?;
    if plan.print_metrics {
        print_metrics(&state, &properties["client.id"], out)?;
    }
    out.flush()?;
    sender.close();
    Ok(())
}

fn read_payloads(path: &str, delimiter: &str, out: &mut Output) -> Result<Vec<Vec<u8>>, Failure> {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.into());
    writeln!(out, "Reading payloads from: {}", absolute.display())?;
    let content = std::fs::read(path).unwrap_or_default();
    if content.is_empty() {
        return Err(thrown(format_args!("File does not exist or empty file provided.")));
    }
    let content = String::from_utf8_lossy(&content);
    let delimiter = regex::Regex::new(delimiter).map_err(|e| thrown(format_args!("{e}")))?;
    let mut payloads: Vec<Vec<u8>> = delimiter.split(&content).map(|p| p.as_bytes().to_vec()).collect();
    // Java's split drops empty pieces at the end.
    while payloads.len() > 1 && payloads.last().is_some_and(Vec::is_empty) {
        payloads.pop();
    }
    writeln!(out, "Number of messages read: {}", payloads.len())?;
    Ok(payloads)
}

/// Gives each record its payload.
struct Payloads<'a> {
    source: &'a PayloadSource,
    list: Vec<Vec<u8>>,
    random: SplittableRandom,
    record: Vec<u8>,
}

impl Payloads<'_> {
    fn next(&mut self, n: u64) -> &[u8] {
        match self.source {
            PayloadSource::File(_) => {
                let bound = u32::try_from(self.list.len()).unwrap_or(u32::MAX);
                return &self.list[self.random.below(bound) as usize];
            }
            PayloadSource::Size(size) => {
                self.record.clear();
                let random = &mut self.random;
                self.record.extend(std::iter::repeat_with(|| random.below(26) as u8 + b'A').take(*size));
            }
            PayloadSource::Monotonic => self.record = n.to_string().into_bytes(),
        }
        &self.record
    }
}

/// `java.util.SplittableRandom`, so that a payload file or size gives the same records as Kafka's tool.
struct SplittableRandom {
    seed: u64,
}

impl SplittableRandom {
    const GOLDEN_GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

    fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn next_u32(&mut self) -> u32 {
        self.seed = self.seed.wrapping_add(Self::GOLDEN_GAMMA);
        let mut z = self.seed;
        z = (z ^ (z >> 33)).wrapping_mul(0x62a9_d9ed_7997_05f5);
        (((z ^ (z >> 28)).wrapping_mul(0xcb24_d0a5_c88c_35b3)) >> 32) as u32
    }

    /// A number from 0 up to `bound`, exclusive.
    fn below(&mut self, bound: u32) -> u32 {
        if bound.is_power_of_two() {
            return self.next_u32() & (bound - 1);
        }
        loop {
            let candidate = self.next_u32() >> 1;
            let result = candidate % bound;
            // Rejects the last, shorter run of candidates, so that all results are equally likely.
            if (candidate + (bound - 1) - result).cast_signed() >= 0 {
                return result;
            }
        }
    }
}

/// Sleeps from time to time to keep the average rate. Kafka: `ThroughputThrottler`.
struct Throttle {
    target: f64,
    started: Instant,
    pause: Duration,
    deficit: Duration,
}

impl Throttle {
    const MIN_SLEEP: Duration = Duration::from_millis(2);

    fn new(target: f64, started: Instant) -> Self {
        let pause = if target > 0.0 { Duration::from_secs_f64(1.0 / target) } else { Duration::ZERO };
        Self { target, started, pause, deficit: Duration::ZERO }
    }

    fn after(&mut self, sent: u64, since_start_ms: u64) {
        if self.target < 0.0 || since_start_ms == 0 || sent as f64 / (since_start_ms as f64 / 1000.0) <= self.target {
            return;
        }
        if self.target == 0.0 {
            // Kafka's tool waits forever.
            loop {
                std::thread::park();
            }
        }
        self.deficit += self.pause;
        if self.deficit >= Self::MIN_SLEEP {
            let until = self.started.elapsed() + self.deficit;
            while let Some(left) = until.checked_sub(self.started.elapsed()).filter(|left| !left.is_zero()) {
                std::thread::park_timeout(left);
            }
            self.deficit = Duration::ZERO;
        }
    }
}

/// The state of a record until it is answered.
struct Sent {
    at: Instant,
    bytes: usize,
}

struct State {
    started: Instant,
    stats: Mutex<Stats>,
    metrics: Mutex<Option<serde_json::Value>>,
    metrics_came: Condvar,
}

impl State {
    fn new(num_records: u64) -> Self {
        let started = Instant::now();
        Self {
            started,
            stats: Mutex::new(Stats::new(num_records, started)),
            metrics: Mutex::new(None),
            metrics_came: Condvar::new(),
        }
    }
}

struct Measured {
    logged: Logged,
    state: Arc<State>,
}

impl ClientContext for Measured {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.logged.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.logged.error(error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        *self.state.metrics.lock() = serde_json::from_slice(statistics).ok();
        self.state.metrics_came.notify_one();
    }
}

impl ProducerContext for Measured {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        match result {
            Ok(_) => {
                let now = Instant::now();
                if let Some(window) = self.state.stats.lock().record(now - sent.at, sent.bytes, now) {
                    // A closed standard output is reported at the end of the run.
                    std::io::stdout().write_all(window.as_bytes()).ok();
                }
            }
            Err((e, _)) => terminal::say(sender::exception(e)),
        }
    }
}

/// Counts and latencies, in milliseconds, of the whole run and of the window since the last report.
struct Stats {
    started: Instant,
    window_started: Instant,
    latencies: Vec<u32>,
    sampling: u64,
    count: u64,
    bytes: u64,
    max_latency: u32,
    total_latency: u64,
    window: Window,
}

#[derive(Default)]
struct Window {
    count: u64,
    bytes: u64,
    max_latency: u32,
    total_latency: u64,
}

impl Stats {
    fn new(num_records: u64, now: Instant) -> Self {
        Self {
            started: now,
            window_started: now,
            latencies: Vec::new(),
            sampling: (num_records / num_records.clamp(1, MAX_SAMPLES)).max(1),
            count: 0,
            bytes: 0,
            max_latency: 0,
            total_latency: 0,
            window: Window::default(),
        }
    }

    /// Counts an answered record; returns the report of a window that has ended.
    fn record(&mut self, latency: Duration, bytes: usize, now: Instant) -> Option<String> {
        let latency = u32::try_from(latency.as_millis()).unwrap_or(u32::MAX);
        if self.count.is_multiple_of(self.sampling) {
            self.latencies.push(latency);
        }
        self.count += 1;
        self.bytes += bytes as u64;
        self.total_latency += u64::from(latency);
        self.max_latency = self.max_latency.max(latency);
        let window = &mut self.window;
        window.count += 1;
        window.bytes += bytes as u64;
        window.total_latency += u64::from(latency);
        window.max_latency = window.max_latency.max(latency);
        let elapsed = now - self.window_started;
        if elapsed < REPORTING_INTERVAL {
            return None;
        }
        let report = format!(
            "{} records sent, {:.1} records/sec ({:.2} MB/sec), {:.1} ms avg latency, {:.1} ms max latency.\n",
            window.count,
            rate(window.count, elapsed),
            rate(window.bytes, elapsed) / (1024.0 * 1024.0),
            window.total_latency as f64 / window.count as f64,
            f64::from(window.max_latency),
        );
        self.window = Window::default();
        self.window_started = now;
        Some(report)
    }

    fn total(&mut self) -> String {
        self.latencies.sort_unstable();
        let size = self.latencies.len() as f64;
        let percentile = |p: f64| self.latencies.get((p * size) as usize).copied().unwrap_or(0);
        let elapsed = self.started.elapsed();
        format!(
            "{} records sent, {:.6} records/sec ({:.2} MB/sec), {:.2} ms avg latency, {:.2} ms max latency, {} ms 50th, \
             {} ms 95th, {} ms 99th, {} ms 99.9th.\n",
            self.count,
            rate(self.count, elapsed),
            rate(self.bytes, elapsed) / (1024.0 * 1024.0),
            self.total_latency as f64 / self.count as f64,
            f64::from(self.max_latency),
            percentile(0.5),
            percentile(0.95),
            percentile(0.99),
            percentile(0.999),
        )
    }
}

fn rate(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

/// The table that Kafka's tool prints, of librdkafka's own figures.
fn print_metrics(state: &State, client_id: &str, out: &mut Output) -> Result<(), Failure> {
    let mut metrics = state.metrics.lock();
    // The latest figures may be older than the last records.
    *metrics = None;
    state.metrics_came.wait_for(&mut metrics, 2 * METRICS_INTERVAL);
    let Some(serde_json::Value::Object(figures)) = metrics.take() else { return Ok(()) };
    let mut rows: Vec<(String, f64)> = figures
        .iter()
        .filter_map(|(name, value)| {
            Some((format!("producer-metrics:{name}:{{client-id={client_id}}}"), value.as_f64()?))
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    writeln!(out, "\n{:width$}   Value", "Metric Name")?;
    for (name, value) in rows {
        writeln!(out, "{name:width$} : {value:.3}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{PayloadSource, Payloads, Plan, REPORTING_INTERVAL, SplittableRandom, Stats};
    use std::time::{Duration, Instant};

    fn parse(line: &str) -> Result<Option<Plan>, String> {
        Plan::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    const ENOUGH: &str = "--topic t --num-records 3 --throughput -1 --record-size 5 --producer-props a=b c=d";

    #[test]
    fn producer_props_take_all_words_up_to_the_next_option() {
        let plan = parse(&format!("{ENOUGH} --print-metrics")).unwrap().unwrap();
        assert_eq!(plan.producer_props, ["a=b", "c=d"]);
        assert_eq!((plan.topic.as_str(), plan.num_records, plan.throughput), ("t", 3, -1.0));
        assert_eq!((plan.payload, plan.print_metrics), (PayloadSource::Size(5), true));
    }

    #[test]
    fn errors_read_as_argparse_writes_them() {
        let said = |line: &str| parse(line).unwrap_err();
        assert_eq!(said("--topic"), "argument --topic: expected one argument");
        assert_eq!(said("--topic t"), "argument --throughput is required");
        assert_eq!(said("--foo"), "unrecognized arguments: '--foo'");
        let both = "argument --payload-file: not allowed with argument --record-size";
        assert_eq!(said(&format!("{ENOUGH} --payload-file x")), both);
        let word = "argument --num-records: could not convert 'x' to Long (For input string: \"x\")";
        assert_eq!(said("--num-records x"), word);
    }

    #[test]
    fn random_payload_is_the_one_of_kafkas_tool() {
        let source = PayloadSource::Size(10);
        let mut payloads =
            Payloads { source: &source, list: Vec::new(), random: SplittableRandom::new(0), record: Vec::new() };
        assert_eq!(payloads.next(0), b"YQHHNEBSEP");
    }

    #[test]
    fn percentiles_are_taken_from_the_sorted_sample() {
        let start = Instant::now();
        let mut stats = Stats::new(1_000, start);
        for ms in (1..=1_000).rev() {
            assert_eq!(stats.record(Duration::from_millis(ms), 1, start), None);
        }
        let total = stats.total();
        let expected =
            "500.50 ms avg latency, 1000.00 ms max latency, 501 ms 50th, 951 ms 95th, 991 ms 99th, 1000 ms 99.9th.";
        assert!(total.trim_end().ends_with(expected), "{total}");
    }

    #[test]
    fn window_is_reported_when_it_is_over_and_then_starts_anew() {
        let start = Instant::now();
        let mut stats = Stats::new(2, start);
        let later = start + REPORTING_INTERVAL;
        let report = stats.record(Duration::from_millis(7), 1_048_576, later).unwrap();
        let expected = "1 records sent, 0.2 records/sec (0.20 MB/sec), 7.0 ms avg latency, 7.0 ms max latency.\n";
        assert_eq!(report, expected);
        assert_eq!(stats.record(Duration::from_millis(7), 1, later), None);
    }
}
