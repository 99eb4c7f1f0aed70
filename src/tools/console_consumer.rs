//! `zurau console-consumer`: prints records of a topic. Kafka: `org.apache.kafka.tools.consumer.ConsoleConsumer` and
//! `ConsoleConsumerOptions`, kafka-console-consumer.sh.

mod coordinator_formatter;
mod formatter;

use super::support::client_properties::{self, Properties};
use super::support::feed::{Feed, Source, topic_pattern};
use super::support::options::{Opt, Options, Tool};
use super::support::signals::Stop;
use super::support::terminal::{self, Failure, Output};
use formatter::{FormatError, Formatter};
use rdkafka::Offset;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

const TOPIC: Opt = Opt::with("topic", "String: topic", "The topic to read.");
const WHITELIST: Opt =
    Opt::with("whitelist", "String: Java regex (String)", "DEPRECATED: --include says the same and wins over it.");
const INCLUDE: Opt =
    Opt::with("include", "String: Java regex (String)", "Read all topics whose whole name matches this pattern.");
const PARTITION: Opt = Opt::with(
    "partition",
    "Integer: partition",
    "Read only this partition, from its end unless --offset says otherwise.",
);
const OFFSET: Opt = Opt::with(
    "offset",
    "String: consume offset",
    "Where to begin in the partition: an offset, or 'earliest' or 'latest'.",
)
.default("latest");
const CONSUMER_PROPERTY: Opt = Opt::with("consumer-property", "String: consumer_prop", "A key=value of the consumer.");
const CONSUMER_CONFIG: Opt = Opt::with(
    "consumer.config",
    "String: config file",
    "A file of consumer properties; --consumer-property wins over it.",
);
const FORMATTER: Opt = Opt::with("formatter", "String: class", "How records are printed.")
    .default("org.apache.kafka.tools.consumer.DefaultMessageFormatter");
const PROPERTY: Opt = Opt::with(
    "property",
    "String: prop",
    "A key=value of the formatter:\n\
     print.timestamp=true|false\n\
     print.key=true|false\n\
     print.offset=true|false\n\
     print.partition=true|false\n\
     print.headers=true|false\n\
     print.value=true|false\n\
     key.separator=<key.separator>\n\
     line.separator=<line.separator>\n\
     headers.separator=<line.separator>\n\
     null.literal=<null.literal>\n\
     key.deserializer=<key.deserializer>\n\
     value.deserializer=<value.deserializer>\n\
     headers.deserializer=<header.deserializer>",
);
const FORMATTER_CONFIG: Opt =
    Opt::with("formatter-config", "String: config file", "A file of formatter properties; --property wins over it.");
const FROM_BEGINNING: Opt =
    Opt::flag("from-beginning", "Begin with the earliest record, unless the group has an offset already.");
const MAX_MESSAGES: Opt = Opt::with("max-messages", "Integer: num_messages", "Stop after this many records.");
const TIMEOUT_MS: Opt = Opt::with("timeout-ms", "Long: timeout_ms", "Stop when no record came for this long.");
const SKIP_MESSAGE_ON_ERROR: Opt =
    Opt::flag("skip-message-on-error", "Skip a record that cannot be printed instead of stopping.");
const BOOTSTRAP_SERVER: Opt =
    Opt::with("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to ask first.");
const KEY_DESERIALIZER: Opt =
    Opt::with("key-deserializer", "String: deserializer for key", "The class that reads keys.");
const VALUE_DESERIALIZER: Opt =
    Opt::with("value-deserializer", "String: deserializer for values", "The class that reads values.");
const ENABLE_SYSTEST_EVENTS: Opt =
    Opt::flag("enable-systest-events", "Print the consumer's own events too, for system tests.");
const ISOLATION_LEVEL: Opt = Opt::with(
    "isolation-level",
    "String",
    "read_committed leaves out records of open and aborted transactions; read_uncommitted gives all.",
)
.default("read_uncommitted");
const GROUP: Opt = Opt::with("group", "String: consumer group id", "The consumer group to join.");

const TOOL: Tool = Tool {
    about: "This tool reads records from Kafka topics and prints them to standard output.",
    options: &[
        &TOPIC,
        &WHITELIST,
        &INCLUDE,
        &PARTITION,
        &OFFSET,
        &CONSUMER_PROPERTY,
        &CONSUMER_CONFIG,
        &FORMATTER,
        &PROPERTY,
        &FORMATTER_CONFIG,
        &FROM_BEGINNING,
        &MAX_MESSAGES,
        &TIMEOUT_MS,
        &SKIP_MESSAGE_ON_ERROR,
        &BOOTSTRAP_SERVER,
        &KEY_DESERIALIZER,
        &VALUE_DESERIALIZER,
        &ENABLE_SYSTEST_EVENTS,
        &ISOLATION_LEVEL,
        &GROUP,
    ],
};

const CONSOLE_CONSUMER: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
/// How long to wait for a record before checking the flag that a signal sets.
const POLL: Duration = Duration::from_millis(100);

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let options = TOOL.start(args)?;
        let plan = Plan::new(&options)?;
        consume(plan, out)
    })
}

/// The parsed command line.
struct Plan {
    properties: Properties,
    source: Source,
    start: Offset,
    in_group: bool,
    formatter: Formatter,
    /// None: no end.
    max_messages: Option<u64>,
    timeout: Option<Duration>,
    skip_message_on_error: bool,
    systest_events: bool,
}

impl Plan {
    fn new(options: &Options) -> Result<Self, Failure> {
        let pattern = if options.has(&INCLUDE) { &INCLUDE } else { &WHITELIST };
        if options.has(&TOPIC) == options.has(pattern) {
            let hint = "--whitelist is DEPRECATED use --include instead; ignored if --include specified.";
            let hint = if options.has(&WHITELIST) { hint } else { "" };
            return Err(TOOL.usage(format!("Exactly one of --include/--topic is required. {hint}")));
        }
        if options.has(&PARTITION) {
            if !options.has(&TOPIC) {
                return Err(TOOL.usage("The topic is required when partition is specified."));
            }
            if options.has(&FROM_BEGINNING) && options.has(&OFFSET) {
                return Err(TOOL.usage("Options from-beginning and offset cannot be specified together."));
            }
        } else if options.has(&OFFSET) {
            return Err(TOOL.usage("The partition is required when offset is specified."));
        }
        TOOL.require(options, &[&BOOTSTRAP_SERVER])?;

        let mut properties = match options.value(&CONSUMER_CONFIG)? {
            Some(path) => client_properties::load(path)?,
            None => Properties::new(),
        };
        let extra: Properties = options.key_values(&CONSUMER_PROPERTY).into_iter().collect();
        let group = group_id(options, &properties, &extra)?;
        properties.extend(extra);
        let start = start_offset(options, &mut properties)?;
        complete(options, &mut properties, group.as_deref())?;

        let max_messages = options.number::<i32>(&MAX_MESSAGES)?.unwrap_or(-1);
        let timeout = options.number::<i64>(&TIMEOUT_MS)?.and_then(|ms| u64::try_from(ms).ok());
        let source = match (options.value(&TOPIC)?, options.number::<i32>(&PARTITION)?) {
            (Some(topic), Some(partition)) => Source::Partition { topic: topic.to_owned(), partition },
            (Some(topic), None) => Source::Topic(topic.to_owned()),
            (None, _) => Source::Pattern(
                topic_pattern(options.required(pattern)?)
                    .map_err(|e| Failure::message(format_args!("java.util.regex.PatternSyntaxException: {e}")))?,
            ),
        };
        Ok(Self {
            properties,
            source,
            start,
            in_group: group.is_some(),
            formatter: formatter(options)?,
            // Kafka counts up to the limit and treats only -1 as none, so a lower limit is reached at once.
            max_messages: (max_messages != -1).then(|| u64::try_from(max_messages).unwrap_or(0)),
            timeout: timeout.map(Duration::from_millis),
            skip_message_on_error: options.has(&SKIP_MESSAGE_ON_ERROR),
            systest_events: options.has(&ENABLE_SYSTEST_EVENTS),
        })
    }
}

/// The operator's group, which may be given in three places that must agree.
fn group_id(options: &Options, file: &Properties, extra: &Properties) -> Result<Option<String>, Failure> {
    let given =
        [options.value(&GROUP)?, file.get("group.id").map(String::as_str), extra.get("group.id").map(String::as_str)];
    let given: BTreeSet<&str> = given.into_iter().flatten().collect();
    if given.len() > 1 {
        let ids: Vec<String> = given.iter().map(|id| format!("'{id}'")).collect();
        return Err(TOOL.usage(format!(
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
             '--consumer.config') do not match. Detected group ids: {}",
            ids.join(", ")
        )));
    }
    if !given.is_empty() && options.has(&PARTITION) {
        return Err(TOOL.usage("Options group and partition cannot be specified together."));
    }
    Ok(given.first().map(|id| (*id).to_owned()))
}

/// The start of partitions; completes `auto.offset.reset`.
fn start_offset(options: &Options, properties: &mut Properties) -> Result<Offset, Failure> {
    let from_beginning = options.has(&FROM_BEGINNING);
    match properties.get("auto.offset.reset") {
        Some(reset) if from_beginning && reset != "earliest" => {
            return Err(Failure::message(format_args!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
            )));
        }
        Some(_) => {}
        None => {
            let reset = if from_beginning { "earliest" } else { "latest" };
            properties.insert("auto.offset.reset".to_owned(), reset.to_owned());
        }
    }
    if options.has(&OFFSET) {
        let text = options.required(&OFFSET)?;
        return match text.to_lowercase().as_str() {
            "earliest" => Ok(Offset::Beginning),
            "latest" => Ok(Offset::End),
            _ => text.parse().ok().filter(|offset| *offset >= 0).map(Offset::Offset).ok_or_else(|| {
                TOOL.usage(format!(
                    "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a \
                     non-negative long."
                ))
            }),
        };
    }
    let earliest = properties.get("auto.offset.reset").is_some_and(|reset| reset == "earliest");
    let by_reset = !options.has(&PARTITION) && earliest;
    Ok(if from_beginning || by_reset { Offset::Beginning } else { Offset::End })
}

fn complete(options: &Options, properties: &mut Properties, group: Option<&str>) -> Result<(), Failure> {
    properties.insert("bootstrap.servers".to_owned(), options.required(&BOOTSTRAP_SERVER)?.to_owned());
    properties.entry("client.id".to_owned()).or_insert_with(|| "console-consumer".to_owned());
    if options.has(&ISOLATION_LEVEL) || !properties.contains_key("isolation.level") {
        properties.insert("isolation.level".to_owned(), options.required(&ISOLATION_LEVEL)?.to_owned());
    }
    let isolation_level = &properties["isolation.level"];
    if !["read_committed", "read_uncommitted"].contains(&isolation_level.as_str()) {
        terminal::error(CONSOLE_CONSUMER, "Unknown error when running consumer: ");
        return Err(Failure::message(format_args!(
            "org.apache.kafka.common.config.ConfigException: Invalid value {isolation_level} for configuration \
             isolation.level: String must be one of: read_committed, read_uncommitted"
        )));
    }
    match group {
        Some(group) => {
            properties.insert("group.id".to_owned(), group.to_owned());
        }
        None => {
            let group = format!("console-consumer-{}", rand::random_range(0..100_000));
            properties.insert("group.id".to_owned(), group);
            properties.entry("enable.auto.commit".to_owned()).or_insert_with(|| "false".to_owned());
        }
    }
    Ok(())
}

fn formatter(options: &Options) -> Result<Formatter, Failure> {
    let mut properties = match options.value(&FORMATTER_CONFIG)? {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    for (opt, key) in [(&KEY_DESERIALIZER, "key.deserializer"), (&VALUE_DESERIALIZER, "value.deserializer")] {
        if let Some(class) = options.value(opt)?.filter(|class| !class.is_empty()) {
            properties.insert(key.to_owned(), class.to_owned());
        }
    }
    properties.extend(options.key_values(&PROPERTY));
    let class = options.required(&FORMATTER)?;
    Formatter::of_class(class, &properties).ok_or_else(|| TOOL.usage(class))
}

fn consume(plan: Plan, out: &mut Output) -> Result<(), Failure> {
    let stop = Stop::on_signals();
    let mut feed = Feed::new(&plan.properties, plan.source, plan.start, plan.in_group)?;
    let mut count = 0_u64;
    let mut last_record = Instant::now();
    let end = loop {
        if plan.max_messages.is_some_and(|max| count >= max) {
            break Ok(());
        }
        if let Some(code) = stop.asked() {
            break Err(Failure::Exit(code));
        }
        let left = plan.timeout.map_or(POLL, |timeout| timeout.saturating_sub(last_record.elapsed()));
        // Available records are written together; the output is flushed before a wait for more.
        let next = match feed.poll(Duration::ZERO) {
            None => match out.flush() {
                Ok(()) => feed.poll(POLL.min(left)),
                Err(e) => break unwritable(e),
            },
            some => some,
        };
        let message = match next {
            Some(Ok(message)) => message,
            Some(Err(exception)) => {
                terminating(&exception);
                break Ok(());
            }
            None if left.is_zero() => {
                terminating("org.apache.kafka.common.errors.TimeoutException");
                break Ok(());
            }
            None => continue,
        };
        last_record = Instant::now();
        count += 1;
        match plan.formatter.write(&message, out) {
            Ok(()) => {}
            Err(FormatError::Output(e)) => break unwritable(e),
            Err(e) if plan.skip_message_on_error => {
                terminal::error(CONSOLE_CONSUMER, "Error processing message, skipping this message: ");
                terminal::say(e);
            }
            Err(e) => {
                terminal::error(CONSOLE_CONSUMER, "Unknown error when running consumer: ");
                terminal::say(e);
                break Err(Failure::Exit(1));
            }
        }
    };
    let end = match (out.flush(), end) {
        (Err(e), Ok(())) => unwritable(e),
        (_, end) => end,
    };
    feed.close();
    terminal::say(format_args!("Processed a total of {count} messages"));
    if plan.systest_events {
        writeln!(out, "shutdown_complete")?;
    }
    end
}

fn terminating(exception: &str) {
    terminal::error(CONSOLE_CONSUMER, "Error processing message, terminating consumer process: ");
    terminal::say(exception);
}

/// Standard output is closed: no error, the work is done.
fn unwritable(_: io::Error) -> Result<(), Failure> {
    terminal::say("Unable to write to standard out, closing consumer.");
    Ok(())
}
