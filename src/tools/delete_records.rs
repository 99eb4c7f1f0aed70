//! `zurau delete-records`: deletes records up to an offset. Kafka: `org.apache.kafka.tools.DeleteRecordsCommand`,
//! kafka-delete-records.sh.

use super::support::admin::Admin;
use super::support::client_properties::{self, Properties};
use super::support::leaders::{self, LeaderRequest, Partition};
use super::support::options::{Opt, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use crate::common::java;
use crate::protocol::ApiKey;
use crate::protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use crate::protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

const BOOTSTRAP_SERVER: Opt =
    Opt::with("bootstrap-server", "String: server(s) to use for bootstrapping", "REQUIRED: brokers to ask first.");
const OFFSET_JSON_FILE: Opt = Opt::with(
    "offset-json-file",
    "String: Offset json file path",
    "REQUIRED: A file that names an offset for each partition; records before it go. -1 is the high watermark.\n\
     {\"partitions\":\n[{\"topic\": \"foo\", \"partition\": 1, \"offset\": 1}],\n\"version\":1\n}",
);
const COMMAND_CONFIG: Opt =
    Opt::with("command-config", "String: command config property file path", "A file of client properties.");

const TOOL: Tool = Tool {
    about: "This tool helps to delete records of the given partitions down to the specified offset.",
    options: &[&BOOTSTRAP_SERVER, &OFFSET_JSON_FILE, &COMMAND_CONFIG],
};

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let options = TOOL.parse(args).map_err(Failure::message)?;
        TOOL.help_or_version(args, &options)?;
        TOOL.require(&options, &[&BOOTSTRAP_SERVER, &OFFSET_JSON_FILE])?;
        delete_records(&options, out)
    })
}

fn delete_records(options: &Options, out: &mut Output) -> Result<(), Failure> {
    let properties = match options.value(&COMMAND_CONFIG)? {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    let mut admin = Admin::new(options.required(&BOOTSTRAP_SERVER)?, &properties)?;
    let path = options.required(&OFFSET_JSON_FILE)?;
    let text =
        std::fs::read_to_string(path).map_err(|_| Failure::message(format_args!("Unable to read file {path}")))?;
    let offsets = parse(&text).map_err(Failure::Message)?;
    let mut order: Vec<Partition> = offsets.keys().cloned().collect();

    writeln!(out, "Executing records delete operation")?;
    out.flush()?;
    let before = Before { offsets, timeout_ms: admin.api_timeout_ms() };
    let mut told = leaders::ask(&mut admin, &before, order.clone());
    writeln!(out, "Records delete operation completed:")?;
    let count = order.len();
    java::partition_order(&mut order, count, |(topic, partition)| (topic, *partition));
    for partition in order {
        let (topic, id) = &partition;
        match told.remove(&partition) {
            Some(Ok(low_watermark)) => writeln!(out, "partition: {topic}-{id}\tlow_watermark: {low_watermark}")?,
            Some(Err(e)) => writeln!(out, "partition: {topic}-{id}\terror: {}", e.exception())?,
            None => {}
        }
    }
    Ok(())
}

/// The offset of each partition. The error is the message of Kafka's tool.
fn parse(text: &str) -> Result<BTreeMap<Partition, i64>, String> {
    let json: Value = serde_json::from_str(text).map_err(|_| "The input string is not a valid JSON".to_owned())?;
    let object = json.as_object().ok_or_else(|| format!("Expected JSON object, received {json}"))?;
    match object.get("version").map(|version| (version, version.as_i64())) {
        None | Some((_, Some(1))) => {}
        Some((version, None)) => return Err(format!("Expected `Integer` value, received {version}")),
        Some((_, Some(version))) => return Err(format!("Not supported version field value {version}")),
    }
    let partitions = object.get("partitions").ok_or("Missing partitions field")?;
    let partitions = partitions.as_array().ok_or_else(|| format!("Expected JSON array, received {partitions}"))?;
    let mut offsets = BTreeMap::new();
    let mut twice: Vec<String> = Vec::new();
    for entry in partitions {
        let field = |name: &str| entry.get(name).ok_or_else(|| format!("No such field exists: `{name}`"));
        let topic = field("topic")?;
        let topic = topic.as_str().ok_or_else(|| format!("Expected `String` value, received {topic}"))?;
        let partition = field("partition")?;
        let partition = partition.as_i64().and_then(|p| i32::try_from(p).ok());
        let partition =
            partition.ok_or_else(|| format!("Expected `Integer` value, received {}", entry["partition"]))?;
        let offset = field("offset")?;
        let offset = offset.as_i64().ok_or_else(|| format!("Expected `Long` value, received {offset}"))?;
        let name = format!("{topic}-{partition}");
        if offsets.insert((topic.to_owned(), partition), offset).is_some() && !twice.contains(&name) {
            twice.push(name);
        }
    }
    if twice.is_empty() {
        return Ok(offsets);
    }
    Err(format!("Offset json file contains duplicate topic partitions: {}", twice.join(",")))
}

/// DeleteRecords up to these offsets.
struct Before {
    offsets: BTreeMap<Partition, i64>,
    timeout_ms: i32,
}

impl LeaderRequest for Before {
    const NAME: &'static str = "deleteRecords";
    const KEY: ApiKey = ApiKey::DeleteRecords;
    type Request = DeleteRecordsRequest;
    type Response = DeleteRecordsResponse;
    type Answer = i64;

    fn request(&self, partitions: &[Partition]) -> DeleteRecordsRequest {
        let mut topics: Vec<DeleteRecordsTopic> = Vec::new();
        for partition in partitions {
            let (topic, id) = partition;
            if topics.last().is_none_or(|last| *last.name != **topic) {
                topics.push(DeleteRecordsTopic { name: topic.as_str().into(), ..Default::default() });
            }
            let asked =
                DeleteRecordsPartition { partition_index: *id, offset: self.offsets[partition], ..Default::default() };
            if let Some(last) = topics.last_mut() {
                last.partitions.push(asked);
            }
        }
        DeleteRecordsRequest { topics, timeout_ms: self.timeout_ms, ..Default::default() }
    }

    fn answers(&self, response: DeleteRecordsResponse) -> Vec<(Partition, i16, i64)> {
        let mut answers = Vec::new();
        for topic in response.topics {
            let name = topic.name.to_string();
            let told = topic.partitions.iter();
            answers.extend(told.map(|p| ((name.clone(), p.partition_index), p.error_code, p.low_watermark)));
        }
        answers
    }
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn file_names_each_partition_once() {
        let one = r#"{"topic":"t","partition":1,"offset":5}"#;
        let offsets = parse(&format!(r#"{{"partitions":[{one}],"version":1}}"#)).unwrap();
        assert_eq!(offsets[&("t".to_owned(), 1)], 5);
        let said = |text: &str| parse(text).unwrap_err();
        let twice = format!(r#"{{"partitions":[{one},{one}]}}"#);
        assert_eq!(said(&twice), "Offset json file contains duplicate topic partitions: t-1");
        assert_eq!(said(r#"{"partitions":[{"topic":"t"}]}"#), "No such field exists: `partition`");
        assert_eq!(said(r#"{"version":2}"#), "Not supported version field value 2");
        assert_eq!(said("{}"), "Missing partitions field");
        assert_eq!(said("x"), "The input string is not a valid JSON");
    }
}
