//! `zurau log-dirs`: the partitions in the log directories, and their sizes. Kafka:
//! `org.apache.kafka.tools.LogDirsCommand`, kafka-log-dirs.sh.

use super::support::admin::{Admin, AdminError, Target};
use super::support::client_properties::{self, Properties};
use super::support::errors;
use super::support::options::{Opt, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use crate::common::ErrorCode;
use crate::common::java;
use crate::protocol::ApiKey;
use crate::protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, describe_log_dirs_response::DescribeLogDirsResult,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

const BOOTSTRAP_SERVER: Opt =
    Opt::with("bootstrap-server", "String: The server(s) to use for bootstrapping", "REQUIRED: brokers to ask first.");
const COMMAND_CONFIG: Opt =
    Opt::with("command-config", "String: Admin client property file", "A file of client properties.");
const DESCRIBE: Opt = Opt::flag("describe", "REQUIRED: Show the log directories.");
const TOPIC_LIST: Opt =
    Opt::with("topic-list", "String: Topic list", "Topics to show, as topic1,topic2; all without it.").default("");
const BROKER_LIST: Opt =
    Opt::with("broker-list", "String: Broker list", "Brokers to ask, as 0,1,2; all without it.").default("");

const TOOL: Tool = Tool {
    about: "This tool helps to query log directory usage on the specified brokers.",
    options: &[&BOOTSTRAP_SERVER, &COMMAND_CONFIG, &DESCRIBE, &TOPIC_LIST, &BROKER_LIST],
};

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let options = TOOL.parse(args).map_err(Failure::message)?;
        TOOL.help_or_version(args, &options)?;
        TOOL.require(&options, &[&BOOTSTRAP_SERVER, &DESCRIBE])?;
        describe(&options, out)
    })
}

fn describe(options: &Options, out: &mut Output) -> Result<(), Failure> {
    let mut properties = match options.value(&COMMAND_CONFIG)? {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    properties.entry("client.id".to_owned()).or_insert_with(|| "log-dirs-tool".to_owned());
    let mut admin = Admin::new(options.required(&BOOTSTRAP_SERVER)?, &properties)?;
    let topics: BTreeSet<&str> = options.required(&TOPIC_LIST)?.split(',').filter(|t| !t.is_empty()).collect();
    let failed = |e: AdminError| Failure::Message(e.exception());
    let existing: BTreeSet<i32> = admin.nodes("listNodes").map_err(failed)?.iter().map(|node| node.id).collect();
    let mut asked = BTreeSet::new();
    for id in options.required(&BROKER_LIST)?.split(',').filter(|id| !id.is_empty()) {
        asked.insert(id.parse().map_err(|_| Failure::message(format_args!("For input string: \"{id}\"")))?);
    }
    let unknown: BTreeSet<i32> = asked.difference(&existing).copied().collect();
    if !unknown.is_empty() {
        return Err(Failure::message(format_args!(
            "ERROR: The given brokers do not exist from --broker-list: {}. Current existent brokers: {}",
            joined(&unknown),
            joined(&existing)
        )));
    }
    let asked = if asked.is_empty() { existing } else { asked };
    writeln!(out, "Querying brokers for log directories information")?;
    out.flush()?;
    let mut brokers = Vec::new();
    for id in &asked {
        let request = DescribeLogDirsRequest { topics: None, ..Default::default() };
        let answer: DescribeLogDirsResponse =
            admin.call("describeLogDirs", Target::Broker(*id), ApiKey::DescribeLogDirs, &request).map_err(failed)?;
        if answer.results.is_empty()
            && let Some(e) = AdminError::of(answer.error_code, None)
        {
            return Err(failed(e));
        }
        let mut dirs = answer.results;
        java::hash_order(&mut dirs, 0, |dir| &*dir.log_dir);
        let dirs: Vec<Value> = dirs.iter().map(|dir| shown(dir, &topics)).collect();
        brokers.push(json!({ "broker": id, "logDirs": dirs }));
    }
    writeln!(out, "Received log directory information from brokers {}", joined(&asked))?;
    // The keys are in the order in which Kafka's tool writes them.
    writeln!(out, "{}", json!({ "brokers": brokers, "version": 1 }))?;
    Ok(())
}

fn shown(dir: &DescribeLogDirsResult, topics: &BTreeSet<&str>) -> Value {
    let mut replicas = Vec::new();
    for topic in &dir.topics {
        replicas.extend(topic.partitions.iter().map(|p| (&*topic.name, p)));
    }
    // Kafka's tool uses two maps: one of all replicas, then one of those that were requested.
    java::partition_order(&mut replicas, 0, |(topic, p)| (topic, p.partition_index));
    replicas.retain(|(topic, _)| topics.is_empty() || topics.contains(topic));
    java::partition_order(&mut replicas, 0, |(topic, p)| (topic, p.partition_index));
    let partitions: Vec<Value> = replicas
        .iter()
        .map(|(topic, p)| {
            json!({
                "partition": format!("{topic}-{}", p.partition_index),
                "size": p.partition_size,
                "offsetLag": p.offset_lag,
                "isFuture": p.is_future_key,
            })
        })
        .collect();
    let error = match ErrorCode::from_wire(dir.error_code) {
        ErrorCode::None => Value::Null,
        code => json!(format!("org.apache.kafka.common.errors.{}", errors::exception_name(code))),
    };
    json!({ "partitions": partitions, "error": error, "logDir": dir.log_dir.to_string() })
}

fn joined(ids: &BTreeSet<i32>) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
