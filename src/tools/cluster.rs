//! `zurau cluster`: shows the id of a cluster. Kafka: `org.apache.kafka.tools.ClusterTool`, kafka-cluster.sh, whose
//! command line follows argparse4j's rules. Brokers are unregistered only in KRaft, so here that fails as Kafka's tool
//! fails on a cluster without the API.

use super::support::admin::{Admin, AdminError, Target};
use super::support::argparse::{self, Words};
use super::support::client_properties::{self, Properties};
use super::support::terminal::{self, Failure, Output};
use crate::protocol::ApiKey;
use crate::protocol::messages::{DescribeClusterRequest, DescribeClusterResponse};
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: kafka-cluster [-h] {cluster-id,unregister} ...\n";
const HELP: &str = "
The Kafka cluster tool.

positional arguments:
  {cluster-id,unregister}
    cluster-id           Get information about the ID of a cluster.
    unregister           Unregister a broker.

named arguments:
  -h, --help             show this help message and exit
";
const CLUSTER_ID_USAGE: &str = "\
usage: kafka-cluster cluster-id [-h] [--config CONFIG]
                     (--bootstrap-server BOOTSTRAP_SERVER |
                     --bootstrap-controller BOOTSTRAP_CONTROLLER)
";
const UNREGISTER_USAGE: &str = "\
usage: kafka-cluster unregister [-h] [--config CONFIG] --id ID
                     (--bootstrap-server BOOTSTRAP_SERVER |
                     --bootstrap-controller BOOTSTRAP_CONTROLLER)
";
const CONNECTION_HELP: &str = "
named arguments:
  -h, --help             show this help message and exit
  --config CONFIG, -c CONFIG
                         A property file containing configurations for the
                         Admin client.
  --bootstrap-server BOOTSTRAP_SERVER, -b BOOTSTRAP_SERVER
                         A list of host/port pairs to use for establishing the
                         connection to the Kafka cluster.
  --bootstrap-controller BOOTSTRAP_CONTROLLER, -C BOOTSTRAP_CONTROLLER
                         A list of host/port pairs to use for establishing the
                         connection to the KRaft controllers.
";

/// The key of UnregisterBroker, an API of KRaft.
const UNREGISTER_BROKER: i16 = 64;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    ClusterId,
    Unregister { broker: i32 },
}

#[derive(Debug, PartialEq)]
struct Plan {
    action: Action,
    bootstrap_server: Option<String>,
    bootstrap_controller: Option<String>,
    config: Option<String>,
}

/// The answer to `--help` or an invalid command line: usage, then argparse4j's text.
#[derive(Debug, PartialEq)]
enum Refused {
    Help(String),
    Error { usage: &'static str, reason: String },
}

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let plan = match Plan::parse(args) {
            Ok(plan) => plan,
            Err(Refused::Help(text)) => return Err(Failure::Answered(text)),
            Err(Refused::Error { usage, reason }) => {
                return Err(Failure::message(format_args!("{usage}kafka-cluster: error: {reason}")));
            }
        };
        act(&plan, out)
    })
}

impl Plan {
    fn parse(args: &[String]) -> Result<Self, Refused> {
        let error = |usage, reason: &str| Refused::Error { usage, reason: reason.to_owned() };
        let mut words = Words::new(args);
        let (usage, is_unregister) = match words.next_word().map(|word| word.whole) {
            None => return Err(error(USAGE, "too few arguments")),
            Some("-h" | "--help") => return Err(Refused::Help(format!("{USAGE}{HELP}"))),
            Some("cluster-id") => (CLUSTER_ID_USAGE, false),
            Some("unregister") => (UNREGISTER_USAGE, true),
            Some(option) if option.starts_with('-') => {
                return Err(error(USAGE, &argparse::unrecognized(option)));
            }
            Some(other) => {
                let reason = format!("invalid choice: '{other}' (choose from 'cluster-id', 'unregister')");
                return Err(error(USAGE, &reason));
            }
        };
        let refuse = |reason: String| Refused::Error { usage, reason };
        let (mut server, mut controller, mut config, mut id) = (None, None, None, None);
        while let Some(word) = words.next_word() {
            let (shown, place): (&str, &mut Option<String>) = match word.name {
                "-h" | "--help" => return Err(Refused::Help(format!("{usage}{CONNECTION_HELP}"))),
                "--bootstrap-server" | "-b" => ("--bootstrap-server/-b", &mut server),
                "--bootstrap-controller" | "-C" => ("--bootstrap-controller/-C", &mut controller),
                "--config" | "-c" => ("--config/-c", &mut config),
                "--id" | "-i" if is_unregister => ("--id/-i", &mut id),
                _ => return Err(refuse(argparse::unrecognized(word.whole))),
            };
            *place = Some(words.value(word, shown).map_err(refuse)?.to_owned());
            if server.is_some() && controller.is_some() {
                let (one, other) = match word.name {
                    "--bootstrap-server" | "-b" => ("--bootstrap-server/-b", "--bootstrap-controller/-C"),
                    _ => ("--bootstrap-controller/-C", "--bootstrap-server/-b"),
                };
                return Err(refuse(format!("argument {one}: not allowed with argument {other}")));
            }
        }
        let action = match id {
            None if is_unregister => return Err(refuse("argument --id/-i is required".to_owned())),
            None => Action::ClusterId,
            Some(text) => Action::Unregister { broker: argparse::number("--id/-i", &text, "Integer").map_err(refuse)? },
        };
        if server.is_none() && controller.is_none() {
            let reason = "one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required";
            return Err(refuse(reason.to_owned()));
        }
        Ok(Self { action, bootstrap_server: server, bootstrap_controller: controller, config })
    }
}

fn act(plan: &Plan, out: &mut Output) -> Result<(), Failure> {
    let properties = match &plan.config {
        Some(path) => client_properties::load(path)?,
        None => Properties::new(),
    };
    let Some(servers) = &plan.bootstrap_server else {
        let servers = plan.bootstrap_controller.as_deref().unwrap_or_default();
        return Err(Failure::message(format_args!(
            "--bootstrap-controller {servers}: KRaft controllers are not possible here, use --bootstrap-server"
        )));
    };
    let mut admin = Admin::new(servers, &properties)?;
    let failed =
        |e: AdminError| Failure::message(format_args!("java.util.concurrent.ExecutionException: {}", e.exception()));
    match plan.action {
        Action::ClusterId => {
            let request = DescribeClusterRequest::default();
            let answer: DescribeClusterResponse = admin
                .call("listNodes", Target::Any, ApiKey::DescribeCluster, &request)
                .map_err(|e| Failure::message(e.exception()))?;
            match AdminError::of(answer.error_code, answer.error_message.as_deref()) {
                Some(e) => return Err(Failure::message(e.exception())),
                None => writeln!(out, "Cluster ID: {}", answer.cluster_id)?,
            }
        }
        Action::Unregister { broker } => {
            let nodes = admin.nodes("unregisterBroker").map_err(failed)?;
            let Some(node) = nodes.first() else { return Err(Failure::message("no broker is known")) };
            if admin.api_versions(node.id).map_err(failed)?.contains_key(&UNREGISTER_BROKER) {
                return Err(Failure::message(format_args!(
                    "broker {broker} is not unregistered: that is possible in a KRaft cluster alone, with Kafka's own tool"
                )));
            }
            writeln!(out, "The target cluster does not support the broker unregistration API.")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Plan, Refused> {
        Plan::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_and_where_to_ask_are_needed() {
        let plan = parse("cluster-id -b h:1 --config=f").unwrap();
        assert_eq!((plan.action, plan.bootstrap_server.as_deref()), (Action::ClusterId, Some("h:1")));
        assert_eq!(plan.config.as_deref(), Some("f"));
        assert_eq!(parse("unregister --bootstrap-server h:1 -i 7").unwrap().action, Action::Unregister { broker: 7 });
        let reason = |line: &str| match parse(line).unwrap_err() {
            Refused::Error { reason, .. } => reason,
            Refused::Help(text) => text,
        };
        assert_eq!(reason(""), "too few arguments");
        assert_eq!(
            reason("cluster-id"),
            "one of the arguments --bootstrap-server/-b --bootstrap-controller/-C is required"
        );
        assert_eq!(reason("unregister -b h:1"), "argument --id/-i is required");
        assert_eq!(reason("cluster-id -b -C h:1"), "argument --bootstrap-server/-b: expected one argument");
        assert_eq!(reason("cluster-id --foo=3"), "unrecognized arguments: '--foo=3'");
        assert_eq!(
            reason("unregister -b h:1 -i=x"),
            "argument --id/-i: could not convert 'x' to Integer (For input string: \"x\")"
        );
        assert_eq!(
            reason("cluster-id -b h:1 -C h:2"),
            "argument --bootstrap-controller/-C: not allowed with argument --bootstrap-server/-b"
        );
    }
}
