//! Owns the command line: each sub-command is one of the tools behind `bin/kafka-*.sh`, with Kafka's flags, output and exit
//! codes. Kafka: `kafka.Kafka`, `kafka.tools`, `kafka.admin`, `org.apache.kafka.tools`.
#![allow(clippy::print_stdout, reason = "a tool's output is its standard output")]

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod broker;

#[derive(Parser)]
#[command(name = "zurau", version, about = "A broker that speaks Kafka and is coordinated by ZooKeeper")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a broker on a properties file.
    Broker(broker::Args),
}

/// Parses the command line and runs the sub-command. The exit code is the one that Kafka's tool of that name gives.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Broker(args) => broker::run(args),
    }
}
