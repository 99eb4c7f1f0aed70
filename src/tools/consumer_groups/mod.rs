//! `zurau consumer-groups`: lists, describes and deletes groups, resets and deletes their offsets. Kafka:
//! `org.apache.kafka.tools.consumer.group.ConsumerGroupCommand`, kafka-consumer-groups.sh.

mod cluster;
mod describe;
mod reset;

use super::support::admin::AdminError;
use super::support::client_properties::{self, Properties};
use super::support::options::{Opt, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use crate::common::ErrorCode;
use crate::common::java;
use cluster::Groups;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

const BOOTSTRAP_SERVER: Opt =
    Opt::with("bootstrap-server", "String: server to connect to", "REQUIRED: brokers to ask first.");
const GROUP: Opt = Opt::with("group", "String: consumer group", "The group to act on; may come several times.");
const TOPIC: Opt = Opt::with(
    "topic",
    "String: topic",
    "The topic whose offsets are reset or deleted; may come several times. Partitions of it stand behind a colon: \
     topic1:0,1,2.",
);
const ALL_TOPICS: Opt = Opt::flag("all-topics", "Reset the offsets of all topics that the group has offsets of.");
const LIST: Opt = Opt::flag("list", "List all groups of consumers.");
const DESCRIBE: Opt = Opt::flag("describe", "Describe groups, and how far they lag behind.");
const ALL_GROUPS: Opt = Opt::flag("all-groups", "Act on all groups.");
const DELETE: Opt = Opt::flag("delete", "Delete groups and all of their offsets.");
const TIMEOUT: Opt =
    Opt::with("timeout", "Long: timeout (ms)", "How long to wait for an answer, in milliseconds.").default("5000");
const COMMAND_CONFIG: Opt =
    Opt::with("command-config", "String: command config property file", "A file of client properties.");
const RESET_OFFSETS: Opt = Opt::flag(
    "reset-offsets",
    "Reset the offsets of groups without members. Say what to: --to-datetime, --by-duration, --to-earliest, \
     --to-latest, --shift-by, --from-file, --to-current or --to-offset; and of what: --all-topics, --topic or \
     --from-file. Nothing is changed without --execute.",
);
const DELETE_OFFSETS: Opt = Opt::flag("delete-offsets", "Delete offsets of a group.");
const DRY_RUN: Opt = Opt::flag("dry-run", "Only show what --reset-offsets would change.");
const EXECUTE: Opt = Opt::flag("execute", "Change what --reset-offsets shows.");
const EXPORT: Opt = Opt::flag("export", "Print what --reset-offsets changes as CSV.");
const TO_OFFSET: Opt = Opt::with("to-offset", "Long: offset", "Reset to this offset.");
const FROM_FILE: Opt = Opt::with("from-file", "String: path to CSV file", "Reset to the offsets of a CSV file.");
const TO_DATETIME: Opt = Opt::with("to-datetime", "String: datetime", "Reset to a time, as 'YYYY-MM-DDThh:mm:ss.sss'.");
const BY_DURATION: Opt = Opt::with("by-duration", "String: duration", "Reset to a time before now, as 'PnDTnHnMnS'.");
const TO_EARLIEST: Opt = Opt::flag("to-earliest", "Reset to the earliest offset.");
const TO_LATEST: Opt = Opt::flag("to-latest", "Reset to the latest offset.");
const TO_CURRENT: Opt = Opt::flag("to-current", "Reset to the current offset.");
const SHIFT_BY: Opt =
    Opt::with("shift-by", "Long: number-of-offsets", "Move the current offset by so many, forth or back.");
const MEMBERS: Opt = Opt::flag("members", "Describe the members of the groups.");
const VERBOSE: Opt = Opt::flag("verbose", "Say more of what is described.");
const OFFSETS: Opt = Opt::flag("offsets", "Describe the offsets of the groups: the default.");
const STATE: Opt = Opt::with_optional(
    "state",
    "String",
    "With --describe, the state of the groups. With --list, show states, of groups in these states only if some are \
     given: stable,empty.",
);
const TYPE: Opt = Opt::with_optional(
    "type",
    "String",
    "With --list, show types, of groups of these types only if some are given: classic,consumer.",
);

const TOOL: Tool = Tool {
    about: "This tool helps to list all consumer groups, describe a consumer group, delete consumer group info, or reset \
            consumer group offsets.",
    options: &[
        &BOOTSTRAP_SERVER,
        &GROUP,
        &TOPIC,
        &ALL_TOPICS,
        &LIST,
        &DESCRIBE,
        &ALL_GROUPS,
        &DELETE,
        &TIMEOUT,
        &COMMAND_CONFIG,
        &RESET_OFFSETS,
        &DELETE_OFFSETS,
        &DRY_RUN,
        &EXECUTE,
        &EXPORT,
        &TO_OFFSET,
        &FROM_FILE,
        &TO_DATETIME,
        &BY_DURATION,
        &TO_EARLIEST,
        &TO_LATEST,
        &TO_CURRENT,
        &SHIFT_BY,
        &MEMBERS,
        &VERBOSE,
        &OFFSETS,
        &STATE,
        &TYPE,
    ],
};

const SCENARIOS: &[&Opt] =
    &[&TO_OFFSET, &SHIFT_BY, &TO_DATETIME, &BY_DURATION, &TO_EARLIEST, &TO_LATEST, &TO_CURRENT, &FROM_FILE];

/// The states that a filter may name. Kafka: `ConsumerGroupState`.
const STATES: &[&str] =
    &["PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Empty", "Assigning", "Reconciling"];
/// The types that a filter may name. Kafka: `GroupType`.
const TYPES: &[&str] = &["Consumer", "Classic"];

/// A partition of a topic, in the order in which the tool processes them.
pub(super) type Partition = (String, i32);

/// Why a command ends before its work is done. Kafka's tool prints the second and third on standard output, and ends
/// with 0.
pub(super) enum Ended {
    Failed(Failure),
    /// An answer that is an error, thrown as `ExecutionException`.
    Admin(AdminError),
    /// The same inside a `RuntimeException`.
    Wrapped(AdminError),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<std::io::Error> for Ended {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.into())
    }
}

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let options = TOOL.parse(args).map_err(thrown)?;
        check_available(&options)?;
        TOOL.help_or_version(args, &options)?;
        check(&options)?;
        let (ended, exception) = match act(&options, out) {
            Ok(()) => return Ok(()),
            Err(Ended::Failed(failure)) => return Err(failure),
            Err(Ended::Admin(error)) => (error.exception(), "java.util.concurrent.ExecutionException"),
            Err(Ended::Wrapped(error)) => (
                format!("java.util.concurrent.ExecutionException: {}", error.exception()),
                "java.lang.RuntimeException",
            ),
        };
        writeln!(out, "\nError: Executing consumer group command failed due to {ended}")?;
        out.flush()?;
        terminal::say(format_args!("{exception}: {ended}"));
        Ok(())
    })
}

/// The errors that Kafka's tool does not catch either.
fn thrown(text: impl std::fmt::Display) -> Failure {
    Failure::message(format_args!("Exception in thread \"main\" joptsimple.OptionException: {text}"))
}

/// Options that are valid only with others.
fn check_available(options: &Options) -> Result<(), Failure> {
    for (opt, needs, name) in [
        (&MEMBERS, &[&DESCRIBE][..], "members"),
        (&VERBOSE, &[&DESCRIBE], "verbose"),
        (&OFFSETS, &[&DESCRIBE], "offsets"),
        (&STATE, &[&DESCRIBE, &LIST], "state"),
        (&TYPE, &[&LIST], "type"),
    ] {
        if options.has(opt) && !needs.iter().any(|need| options.has(need)) {
            return Err(thrown(format_args!(
                "Option(s) [{name}] are unavailable given other options on the command line"
            )));
        }
    }
    Ok(())
}

/// Kafka: `ConsumerGroupCommandOptions.checkArgs`.
fn check(options: &Options) -> Result<(), Failure> {
    TOOL.require(options, &[&BOOTSTRAP_SERVER])?;
    let chosen = options.has(&GROUP) || options.has(&ALL_GROUPS);
    if options.has(&DESCRIBE) {
        if !chosen {
            return Err(TOOL
                .usage("Option [describe] takes one of these options: [reset-offsets], [describe], [delete], [list]"));
        }
        if [&MEMBERS, &OFFSETS, &STATE].iter().filter(|opt| options.has(opt)).count() > 1 {
            return Err(
                TOOL.usage("Option [describe] takes at most one of these options: [members], [offsets], [state]")
            );
        }
        if !options.values(&STATE).is_empty() {
            return Err(TOOL.usage("Option [describe] does not take a value for [state]"));
        }
    }
    const SCOPES: &str = "[all-groups], [group]";
    if options.has(&DELETE) {
        if !chosen {
            return Err(TOOL.usage(format!("Option [delete] takes one of these options: {SCOPES}")));
        }
        if options.has(&TOPIC) {
            return Err(
                TOOL.usage("The consumer does not support topic-specific offset deletion from a consumer group.")
            );
        }
    }
    if options.has(&DELETE_OFFSETS) && !(options.has(&GROUP) && options.has(&TOPIC)) {
        return Err(TOOL.usage(format!("Option [delete-offsets] takes the following options: {SCOPES}")));
    }
    if options.has(&RESET_OFFSETS) {
        if options.has(&DRY_RUN) && options.has(&EXECUTE) {
            return Err(TOOL.usage("Option [reset-offsets] only accepts one of [execute] and [dry-run]"));
        }
        if !options.has(&DRY_RUN) && !options.has(&EXECUTE) {
            terminal::say(
                "WARN: No action will be performed as the --execute option is missing.\
                 In a future major release, the default behavior of this command will be to prompt the user before \
                 executing the reset rather than doing a dry run. You should add the --dry-run option explicitly \
                 if you are scripting this command and want to keep the current default behavior without prompting.",
            );
        }
        if !chosen {
            return Err(TOOL.usage(format!("Option [reset-offsets] takes one of these options: {SCOPES}")));
        }
        for scenario in SCENARIOS {
            let others: Vec<&Opt> = SCENARIOS.iter().copied().filter(|other| !other.same(scenario)).collect();
            TOOL.refuse_beside(options, scenario, &others)?;
        }
    }
    TOOL.refuse_beside(options, &GROUP, &[&ALL_GROUPS])?;
    TOOL.refuse_beside(options, &GROUP, &[&LIST])?;
    TOOL.refuse_beside(options, &TOPIC, &[&LIST, &DESCRIBE])?;
    let actions = [&LIST, &DESCRIBE, &DELETE, &RESET_OFFSETS, &DELETE_OFFSETS];
    if actions.iter().filter(|action| options.has(action)).count() != 1 {
        return Err(TOOL.usage(
            "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets",
        ));
    }
    Ok(())
}

fn act(options: &Options, out: &mut Output) -> Result<(), Ended> {
    let mut properties = match options.value(&COMMAND_CONFIG).map_err(Failure::from)? {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    let timeout: i64 = options.required_number(&TIMEOUT).map_err(|e| TOOL.usage(e))?;
    properties.insert("default.api.timeout.ms".to_owned(), timeout.max(0).to_string());
    let servers = options.required(&BOOTSTRAP_SERVER).map_err(|e| TOOL.usage(e))?;
    let mut groups = Groups::new(servers, &properties)?;
    if options.has(&LIST) {
        list(options, &mut groups, out)
    } else if options.has(&DESCRIBE) {
        describe::run(options, &mut groups, out)
    } else if options.has(&DELETE) {
        delete(options, &mut groups, out)
    } else if options.has(&RESET_OFFSETS) {
        reset::run(options, &mut groups, out)
    } else {
        delete_offsets(options, &mut groups, out)
    }
}

/// The groups that the command line names, or all.
fn chosen(options: &Options, groups: &mut Groups) -> Result<Vec<String>, Ended> {
    if !options.has(&ALL_GROUPS) {
        return Ok(options.values(&GROUP).to_vec());
    }
    let listed = groups.list(&[], &[]).map_err(Ended::Wrapped)?;
    Ok(listed.into_iter().map(|group| group.id).collect())
}

// ---- list

fn list(options: &Options, groups: &mut Groups, out: &mut Output) -> Result<(), Ended> {
    let (with_type, with_state) = (options.has(&TYPE), options.has(&STATE));
    if !with_type && !with_state {
        for group in groups.list(&[], &[]).map_err(Ended::Wrapped)? {
            writeln!(out, "{}", group.id)?;
        }
        return Ok(());
    }
    let types = filter(options, &TYPE, TYPES, |text, valid| {
        format!("Invalid types list '{}'. Valid types are: {valid}", text.to_lowercase())
    })?;
    let states = filter(options, &STATE, STATES, |text, valid| {
        format!("Invalid state list '{text}'. Valid states are: {valid}")
    })?;
    let listed = groups.list(&states, &types).map_err(Ended::Admin)?;
    let width = listed.iter().map(|group| group.id.chars().count()).max().unwrap_or(0).max(15) + 10;
    let mut row = |id: &str, kind: &str, state: &str| {
        write!(out, "{id:width$}")?;
        if with_type {
            write!(out, " {kind:20}")?;
        }
        if with_state {
            write!(out, " {state:20}")?;
        }
        writeln!(out)
    };
    row("GROUP", "TYPE", "STATE")?;
    for group in &listed {
        row(&group.id, &group.kind, &group.state)?;
    }
    Ok(())
}

/// The names in an option's list, as the broker spells them.
fn filter(
    options: &Options,
    opt: &Opt,
    known: &[&str],
    invalid: fn(&str, &str) -> String,
) -> Result<Vec<String>, Failure> {
    let text = options.value(opt).map_err(|e| TOOL.usage(e))?.unwrap_or_default();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let spelled = |name: &str| known.iter().copied().find(|known| known.eq_ignore_ascii_case(name.trim()));
    let named: Option<BTreeSet<&str>> = text.split(',').map(spelled).collect();
    match named {
        Some(names) => Ok(names.into_iter().map(str::to_owned).collect()),
        None => Err(TOOL.usage(invalid(text, &known.join(", ")))),
    }
}

// ---- delete

fn delete(options: &Options, groups: &mut Groups, out: &mut Output) -> Result<(), Ended> {
    let chosen: BTreeSet<String> = chosen(options, groups)?.into_iter().collect();
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for group in chosen {
        match groups.delete(&group) {
            Ok(()) => deleted.push(group),
            Err(error) => failed.push((group, error)),
        }
    }
    java::hash_order(&mut deleted, 0, |group| group);
    java::hash_order(&mut failed, 0, |(group, _)| group);
    if failed.is_empty() {
        let deleted = deleted.join(", ");
        writeln!(out, "Deletion of requested consumer groups ('{deleted}') was successful.")?;
        return Ok(());
    }
    writeln!(out, "\nError: Deletion of some consumer groups failed:")?;
    for (group, error) in failed {
        let exception = error.exception();
        writeln!(
            out,
            "* Group '{group}' could not be deleted due to: java.util.concurrent.ExecutionException: {exception}"
        )?;
    }
    if !deleted.is_empty() {
        // The quotes are Kafka's.
        writeln!(out, "\nThese consumer groups were deleted successfully: '{}', '", deleted.join("'"))?;
    }
    Ok(())
}

// ---- delete-offsets

fn delete_offsets(options: &Options, groups: &mut Groups, out: &mut Output) -> Result<(), Ended> {
    let group = options.required(&GROUP).map_err(|e| TOOL.usage(e))?;
    let topics = options.values(&TOPIC);
    let (mut partitions, mut results) = (BTreeSet::new(), BTreeMap::new());
    for topic in topics {
        if topic.contains(':') {
            partitions.extend(parse_partitions(topic)?);
            continue;
        }
        match groups.partitions(topic) {
            Ok(of_topic) => partitions.extend(of_topic),
            Err(error) => {
                results.insert((topic.clone(), -1), Err(error));
            }
        }
    }
    let partitions: Vec<Partition> = partitions.into_iter().collect();
    let overall = match groups.delete_offsets(group, &partitions) {
        Ok(codes) => {
            let first = codes.iter().find_map(|code| code.as_ref().err().and_then(AdminError::code));
            results.extend(partitions.into_iter().zip(codes));
            first
        }
        Err(error) => {
            results.extend(partitions.into_iter().map(|partition| (partition, Err(error.clone()))));
            Some(error.code().unwrap_or(ErrorCode::RequestTimedOut))
        }
    };
    let said = match overall {
        None => {
            let topics = topics.join(", ");
            format!("Request succeed for deleting offsets with topic {topics} group {group}")
        }
        Some(ErrorCode::InvalidGroupId) => format!("\nError: '{group}' is not valid."),
        Some(ErrorCode::GroupIdNotFound) => format!("\nError: '{group}' does not exist."),
        Some(ErrorCode::GroupAuthorizationFailed) => format!("\nError: Access to '{group}' is not authorized."),
        Some(ErrorCode::NonEmptyGroup) => {
            format!("\nError: Deleting offsets of a consumer group '{group}' is forbidden if the group is not empty.")
        }
        Some(
            ErrorCode::GroupSubscribedToTopic
            | ErrorCode::TopicAuthorizationFailed
            | ErrorCode::UnknownTopicOrPartition,
        ) => "\nError: Encounter some partition level error, see the follow-up details:".to_owned(),
        Some(other) => format!("\nError: Encounter some unknown error: {other}"),
    };
    writeln!(out, "{said}")?;
    write!(out, "\n{:30} {:15} {:15}", "TOPIC", "PARTITION", "STATUS")?;
    let mut rows: Vec<_> = results.into_iter().collect();
    rows.sort_by_key(|((topic, partition), _)| format!("{topic}{partition}"));
    for ((topic, partition), result) in rows {
        let partition = if partition >= 0 { partition.to_string() } else { "Not Provided".to_owned() };
        let status = match result {
            Ok(()) => "Successful".to_owned(),
            Err(error) => format!("Error: :{}", error.exception()),
        };
        write!(out, "{topic:30} {partition:15} {status:15}")?;
    }
    Ok(())
}

/// `topic:0,1,2`.
fn parse_partitions(text: &str) -> Result<Vec<Partition>, Failure> {
    let invalid = || TOOL.usage(format!("Invalid topic arg '{text}', expected topic name and partitions"));
    let (topic, partitions) = text.split_once(':').ok_or_else(invalid)?;
    if topic.is_empty() || partitions.is_empty() || partitions.contains(':') {
        return Err(invalid());
    }
    let number = |partition: &str| {
        partition
            .parse()
            .map(|number| (topic.to_owned(), number))
            .map_err(|_| TOOL.usage(format!("Invalid partition '{partition}' specified in topic arg '{text}''")))
    };
    partitions.split(',').map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::parse_partitions;

    #[test]
    fn partitions_stand_behind_a_colon() {
        assert_eq!(parse_partitions("t:0,12").unwrap(), [("t".to_owned(), 0), ("t".to_owned(), 12)]);
        for wrong in ["t:", ":1", "t:x", "t:1:2", "t:1,"] {
            assert!(parse_partitions(wrong).is_err(), "{wrong}");
        }
    }
}
