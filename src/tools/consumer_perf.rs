//! `zurau perf consumer`: reads a number of records and reports the rates. Kafka:
//! `org.apache.kafka.tools.ConsumerPerformance`, kafka-consumer-perf-test.sh. `rebalance.time.ms` is the time until
//! partitions were assigned.

use super::support::client_properties::{self, Properties};
use super::support::feed::{Feed, Source};
use super::support::options::{Opt, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use jiff::Zoned;
use rdkafka::Offset;
use rdkafka::message::Message;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const BROKER_LIST: Opt =
    Opt::with("broker-list", "String: broker-list", "DEPRECATED: --bootstrap-server says the same and wins over it.");
const BOOTSTRAP_SERVER: Opt = Opt::with(
    "bootstrap-server",
    "String: server to connect to",
    "REQUIRED unless --broker-list is given: brokers to ask first.",
);
const TOPIC: Opt = Opt::with("topic", "String: topic", "REQUIRED: The topic to read.");
const GROUP: Opt = Opt::with("group", "String: gid", "The consumer group to join.");
const FETCH_SIZE: Opt =
    Opt::with("fetch-size", "Integer: size", "How many bytes of a partition to ask for at once.").default("1048576");
const FROM_LATEST: Opt =
    Opt::flag("from-latest", "Begin with the end of the log, unless the group has an offset already.");
const SOCKET_BUFFER_SIZE: Opt =
    Opt::with("socket-buffer-size", "Integer: size", "`receive.buffer.bytes` of the connections.").default("2097152");
const THREADS: Opt = Opt::with("threads", "Integer: count", "DEPRECATED: changes nothing.").default("10");
const NUM_FETCH_THREADS: Opt =
    Opt::with("num-fetch-threads", "Integer: count", "DEPRECATED: changes nothing.").default("1");
const CONSUMER_CONFIG: Opt = Opt::with("consumer.config", "String: config file", "A file of consumer properties.");
const PRINT_METRICS: Opt = Opt::flag("print-metrics", "Print the client's metrics at the end.");
const SHOW_DETAILED_STATS: Opt = Opt::flag("show-detailed-stats", "Report every interval, instead of once at the end.");
const TIMEOUT: Opt =
    Opt::with_optional("timeout", "Long: milliseconds", "How long to wait for the next record.").default("10000");
const MESSAGES: Opt = Opt::with("messages", "Long: count", "REQUIRED: How many records to read.");
const REPORTING_INTERVAL: Opt =
    Opt::with("reporting-interval", "Long: interval_ms", "Milliseconds between reports.").default("5000");
const DATE_FORMAT: Opt = Opt::with("date-format", "String: date format", "A pattern of java.text.SimpleDateFormat.")
    .default("yyyy-MM-dd HH:mm:ss:SSS");
const HIDE_HEADER: Opt = Opt::flag("hide-header", "Leave out the line that names the columns.");

const TOOL: Tool = Tool {
    about: "This tool measures how fast a consumer reads a topic.",
    options: &[
        &BROKER_LIST,
        &BOOTSTRAP_SERVER,
        &TOPIC,
        &GROUP,
        &FETCH_SIZE,
        &FROM_LATEST,
        &SOCKET_BUFFER_SIZE,
        &THREADS,
        &NUM_FETCH_THREADS,
        &CONSUMER_CONFIG,
        &PRINT_METRICS,
        &SHOW_DETAILED_STATS,
        &TIMEOUT,
        &MESSAGES,
        &REPORTING_INTERVAL,
        &DATE_FORMAT,
        &HIDE_HEADER,
    ],
};

const POLL: Duration = Duration::from_millis(100);
const MEBIBYTE: f64 = 1024.0 * 1024.0;

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let options = TOOL.parse(args).map_err(|e| TOOL.usage(e))?;
        TOOL.require_either(&options, &BOOTSTRAP_SERVER, &BROKER_LIST)?;
        if options.has(&THREADS) || options.has(&NUM_FETCH_THREADS) {
            writeln!(
                out,
                "WARNING: option [threads] and [num-fetch-threads] have been deprecated and will be ignored by the test"
            )?;
        }
        TOOL.help_or_version(args, &options)?;
        TOOL.require(&options, &[&TOPIC, &MESSAGES])?;
        measure(&options, out)
    })
}

fn measure(options: &Options, out: &mut Output) -> Result<(), Failure> {
    let detailed = options.has(&SHOW_DETAILED_STATS);
    if !options.has(&HIDE_HEADER) {
        let times = if detailed { "time, threadId" } else { "start.time, end.time" };
        writeln!(
            out,
            "{times}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, \
             fetch.MB.sec, fetch.nMsg.sec"
        )?;
    }
    out.flush()?;
    let wanted = options.required_number::<i64>(&MESSAGES)?;
    let timeout_ms = options.required_number::<i64>(&TIMEOUT)?;
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let interval = match options.required_number::<i64>(&REPORTING_INTERVAL)? {
        ms if ms > 0 => Duration::from_millis(ms.unsigned_abs()),
        _ => return Err(Failure::message("Reporting interval must be greater than 0.")),
    };
    let dates = DateFormat::new(options.required(&DATE_FORMAT)?).map_err(Failure::Message)?;
    let topic = Source::Topic(options.required(&TOPIC)?.to_owned());
    let start_at = if options.has(&FROM_LATEST) { Offset::End } else { Offset::Beginning };
    if options.has(&PRINT_METRICS) {
        terminal::warn("org.apache.kafka.tools.ConsumerPerformance", "The client has no metrics to print.");
    }

    let start_time = Zoned::now();
    let start = Instant::now();
    let mut feed = Feed::new(&properties(options)?, topic, start_at, options.has(&GROUP))?;
    let mut total = Progress::default();
    let mut reported = Progress::default();
    let mut reported_at = start;
    let mut joined: Option<Duration> = None;
    let mut join_of_round = Duration::ZERO;
    let mut last_record = start;
    while total.messages < wanted && last_record.elapsed() <= timeout {
        let message = match feed.poll(POLL) {
            Some(Ok(message)) => message,
            Some(Err(exception)) => return Err(Failure::Message(exception)),
            None => {
                if joined.is_none() && feed.has_partitions() {
                    join_of_round = *joined.insert(start.elapsed());
                }
                continue;
            }
        };
        total.messages += 1;
        total.bytes += (message.key().map_or(0, <[u8]>::len) + message.payload().map_or(0, <[u8]>::len)) as u64;
        let now = Instant::now();
        last_record = now;
        if joined.is_none() {
            join_of_round = *joined.insert(now - start);
        }
        if now - reported_at >= interval {
            if detailed {
                let time = dates.format(&Zoned::now());
                writeln!(out, "{time}, 0, {}", row(total, reported, now - reported_at, join_of_round))?;
                out.flush()?;
            }
            (reported, reported_at, join_of_round) = (total, now, Duration::ZERO);
        }
    }
    let (end, end_time) = (Instant::now(), Zoned::now());
    if total.messages < wanted {
        writeln!(
            out,
            "WARNING: Exiting before consuming the expected number of messages: timeout ({timeout_ms} ms) exceeded. You can \
             use the --timeout option to increase the timeout."
        )?;
    }
    if !detailed {
        let (from, to) = (dates.format(&start_time), dates.format(&end_time));
        let join = joined.unwrap_or_default();
        writeln!(out, "{from}, {to}, {}", row(total, Progress::default(), end - start, join))?;
    }
    out.flush()?;
    feed.close();
    Ok(())
}

fn properties(options: &Options) -> Result<Properties, Failure> {
    let mut properties = match options.value(&CONSUMER_CONFIG)? {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    let servers = options.required(if options.has(&BOOTSTRAP_SERVER) { &BOOTSTRAP_SERVER } else { &BROKER_LIST })?;
    let group = match options.value(&GROUP)? {
        Some(group) => group.to_owned(),
        None => format!("perf-consumer-{}", rand::random_range(0..100_000)),
    };
    let reset = if options.has(&FROM_LATEST) { "latest" } else { "earliest" };
    for (key, value) in [
        ("bootstrap.servers", servers),
        ("group.id", &group),
        ("receive.buffer.bytes", options.required(&SOCKET_BUFFER_SIZE)?),
        ("max.partition.fetch.bytes", options.required(&FETCH_SIZE)?),
        ("auto.offset.reset", reset),
        ("check.crcs", "false"),
    ] {
        properties.insert(key.to_owned(), value.to_owned());
    }
    properties.entry("client.id".to_owned()).or_insert_with(|| "perf-consumer-client".to_owned());
    Ok(properties)
}

#[derive(Clone, Copy, Default)]
struct Progress {
    messages: i64,
    bytes: u64,
}

/// The columns after the times: the totals so far, and the rates since `before`, over the whole time and over the
/// time not spent on joining.
fn row(total: Progress, before: Progress, elapsed: Duration, join: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let fetch = elapsed.saturating_sub(join);
    let per = |amount: f64, seconds: f64| if seconds > 0.0 { amount / seconds } else { 0.0 };
    let mebibytes = (total.bytes - before.bytes) as f64 / MEBIBYTE;
    let messages = (total.messages - before.messages) as f64;
    format!(
        "{:.4}, {:.4}, {}, {:.4}, {}, {}, {:.4}, {:.4}",
        total.bytes as f64 / MEBIBYTE,
        per(mebibytes, seconds),
        total.messages,
        per(messages, seconds),
        join.as_millis(),
        fetch.as_millis(),
        per(mebibytes, fetch.as_secs_f64()),
        per(messages, fetch.as_secs_f64()),
    )
}

/// The part of `java.text.SimpleDateFormat` that writes numbers: letters repeat for width, quoted text is literal.
struct DateFormat(Vec<Field>);

enum Field {
    Text(String),
    Number { letter: char, width: usize },
}

impl DateFormat {
    /// The error is Java's.
    fn new(pattern: &str) -> Result<Self, String> {
        let mut fields = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(c) = chars.next() {
            if c == '\'' {
                let mut text = String::new();
                // Two quotes are a literal quote, inside quoted text and outside.
                if chars.next_if_eq(&'\'').is_some() {
                    text.push('\'');
                } else {
                    while let Some(c) = chars.next() {
                        if c == '\'' && chars.next_if_eq(&'\'').is_none() {
                            break;
                        }
                        text.push(c);
                    }
                }
                fields.push(Field::Text(text));
            } else if c.is_ascii_alphabetic() {
                let mut width = 1;
                while chars.next_if_eq(&c).is_some() {
                    width += 1;
                }
                if !"yuMdHkKhmsSDaEzZX".contains(c) {
                    return Err(format!("Illegal pattern character '{c}'"));
                }
                fields.push(Field::Number { letter: c, width });
            } else {
                fields.push(Field::Text(c.to_string()));
            }
        }
        Ok(Self(fields))
    }

    fn format(&self, at: &Zoned) -> String {
        let mut text = String::new();
        for field in &self.0 {
            let (letter, width) = match field {
                Field::Text(literal) => {
                    text.push_str(literal);
                    continue;
                }
                Field::Number { letter, width } => (*letter, *width),
            };
            let hour = i32::from(at.hour());
            let number = match letter {
                'y' | 'u' if width == 2 => i32::from(at.year()) % 100,
                'y' | 'u' => i32::from(at.year()),
                'M' if width >= 4 => {
                    text.push_str(&at.strftime("%B").to_string());
                    continue;
                }
                'M' if width == 3 => {
                    text.push_str(&at.strftime("%b").to_string());
                    continue;
                }
                'M' => i32::from(at.month()),
                'd' => i32::from(at.day()),
                'D' => i32::from(at.day_of_year()),
                'H' => hour,
                'k' => (hour + 23) % 24 + 1,
                'K' => hour % 12,
                'h' => (hour + 11) % 12 + 1,
                'm' => i32::from(at.minute()),
                's' => i32::from(at.second()),
                'S' => i32::from(at.millisecond()),
                _ => {
                    let pattern = match letter {
                        'a' => "%p",
                        'E' if width >= 4 => "%A",
                        'E' => "%a",
                        'z' => "%Z",
                        'X' if width == 3 => "%:z",
                        _ => "%z",
                    };
                    text.push_str(&at.strftime(pattern).to_string());
                    continue;
                }
            };
            text.push_str(&format!("{number:0width$}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{DateFormat, Progress, row};
    use std::time::Duration;

    #[test]
    fn dates_follow_the_java_pattern() {
        let at: jiff::Zoned = "2026-03-04T15:06:07.008+00:00[UTC]".parse().unwrap();
        let format = |pattern| DateFormat::new(pattern).unwrap().format(&at);
        assert_eq!(format("yyyy-MM-dd HH:mm:ss:SSS"), "2026-03-04 15:06:07:008");
        assert_eq!(format("d/M/yy h 'o''clock' a"), "4/3/26 3 o'clock PM");
        assert_eq!(DateFormat::new("qq").err().as_deref(), Some("Illegal pattern character 'q'"));
    }

    #[test]
    fn rates_leave_the_time_of_joining_out_of_the_fetch_columns() {
        let total = Progress { messages: 300, bytes: 3 << 20 };
        let before = Progress { messages: 100, bytes: 1 << 20 };
        let expected = "3.0000, 1.0000, 300, 100.0000, 1000, 1000, 2.0000, 200.0000";
        assert_eq!(row(total, before, Duration::from_secs(2), Duration::from_secs(1)), expected);
    }
}
