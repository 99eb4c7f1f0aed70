//! `zurau broker-api-versions`: which APIs and versions each broker has. Kafka: `kafka.admin.BrokerApiVersionsCommand`,
//! `NodeApiVersions`, kafka-broker-api-versions.sh.

use super::support::admin::{Admin, Node};
use super::support::client_properties::{self, Properties};
use super::support::options::{Opt, Tool};
use super::support::terminal::{self, Failure};
use crate::protocol::ApiKey;
use std::collections::BTreeMap;
use std::io::Write;
use std::ops::RangeInclusive;
use std::process::ExitCode;

const COMMAND_CONFIG: Opt =
    Opt::with("command-config", "String: command config property file", "A file of client properties.");
const BOOTSTRAP_SERVER: Opt =
    Opt::with("bootstrap-server", "String: server(s) to use for bootstrapping", "REQUIRED: brokers to ask first.");

const TOOL: Tool = Tool {
    about: "This tool helps to retrieve broker version information.",
    options: &[&COMMAND_CONFIG, &BOOTSTRAP_SERVER],
};

/// APIs that Kafka's client knows but no broker in ZooKeeper mode has.
const KRAFT_ONLY: &[(i16, &str)] = &[
    (55, "DescribeQuorum"),
    (64, "UnregisterBroker"),
    (71, "GetTelemetrySubscriptions"),
    (72, "PushTelemetry"),
    (74, "ListClientMetricsResources"),
    (75, "DescribeTopicPartitions"),
    (76, "ShareGroupHeartbeat"),
    (77, "ShareGroupDescribe"),
    (78, "ShareFetch"),
    (79, "ShareAcknowledge"),
    (80, "AddRaftVoter"),
    (81, "RemoveRaftVoter"),
    (83, "InitializeShareGroupState"),
    (84, "ReadShareGroupState"),
    (85, "WriteShareGroupState"),
    (86, "DeleteShareGroupState"),
    (87, "ReadShareGroupStateSummary"),
];

/// APIs between brokers in ZooKeeper mode, which Kafka's client does not list as unsupported where they are not
/// advertised.
const BETWEEN_BROKERS: &[ApiKey] = &[
    ApiKey::LeaderAndIsr,
    ApiKey::StopReplica,
    ApiKey::UpdateMetadata,
    ApiKey::ControlledShutdown,
    ApiKey::AlterPartition,
    ApiKey::Envelope,
    ApiKey::AllocateProducerIds,
];

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let uncaught = |e| Failure::message(format_args!("Exception in thread \"main\" {e}"));
        let options = TOOL.parse(args).map_err(uncaught)?;
        TOOL.help_or_version(args, &options)?;
        TOOL.require(&options, &[&BOOTSTRAP_SERVER])?;
        let properties = match options.value(&COMMAND_CONFIG)? {
            Some(path) => client_properties::load(path)?,
            None => Properties::new(),
        };
        let mut admin = Admin::new(options.required(&BOOTSTRAP_SERVER)?, &properties)?;
        let nodes = admin.nodes("metadata").map_err(|e| Failure::Message(e.exception()))?;
        for Node { id, host, port, rack } in nodes {
            let rack = rack.as_deref().unwrap_or("null").to_owned();
            write!(out, "{host}:{port} (id: {id} rack: {rack}) -> ")?;
            match admin.api_versions(id) {
                Ok(versions) => writeln!(out, "(\n\t{}\n)", describe(&versions).join(",\n\t"))?,
                Err(e) => writeln!(out, "ERROR: {}", e.exception())?,
            }
        }
        Ok(())
    })
}

/// A line for each API, ascending by key.
fn describe(versions: &BTreeMap<i16, RangeInclusive<i16>>) -> Vec<String> {
    let mut lines: BTreeMap<i16, String> =
        KRAFT_ONLY.iter().map(|(key, name)| (*key, unsupported(name, *key))).collect();
    for key in ApiKey::ALL.iter().filter(|key| !BETWEEN_BROKERS.contains(key)) {
        lines.insert(key.wire(), unsupported(key.name(), key.wire()));
    }
    for (key, theirs) in versions {
        let (min, max) = (*theirs.start(), *theirs.end());
        let range = if min == max { min.to_string() } else { format!("{min} to {max}") };
        let line = match ApiKey::from_wire(*key) {
            Some(api) => {
                let (oldest, newest) = api.versions().into_inner();
                let usable = if max < oldest {
                    "unusable: node too old".to_owned()
                } else if newest < min {
                    "unusable: node too new".to_owned()
                } else {
                    format!("usable: {}", max.min(newest))
                };
                format!("{}({key}): {range} [{usable}]", api.name())
            }
            None => format!("UNKNOWN({key}): {range}"),
        };
        lines.insert(*key, line);
    }
    lines.into_values().collect()
}

fn unsupported(name: &str, key: i16) -> String {
    format!("{name}({key}): UNSUPPORTED")
}

#[cfg(test)]
mod tests {
    use super::describe;
    use std::collections::BTreeMap;

    #[test]
    fn versions_are_shown_with_the_newest_that_both_sides_speak() {
        let lines = describe(&BTreeMap::from([(3, 0..=99), (45, 0..=0), (999, 1..=2), (2, 50..=60)]));
        let line = |start: &str| lines.iter().find(|l| l.starts_with(start)).map(String::as_str);
        assert_eq!(line("Metadata"), Some("Metadata(3): 0 to 99 [usable: 12]"));
        assert_eq!(line("AlterPartitionReassignments"), Some("AlterPartitionReassignments(45): 0 [usable: 0]"));
        assert_eq!(line("UNKNOWN"), Some("UNKNOWN(999): 1 to 2"));
        assert_eq!(line("ListOffsets"), Some("ListOffsets(2): 50 to 60 [unusable: node too new]"));
        assert_eq!(line("Fetch"), Some("Fetch(1): UNSUPPORTED"));
        assert_eq!(line("LeaderAndIsr"), None);
    }
}
