//! Owns the command line tools. Kafka: `kafka.tools`, `kafka.admin`.

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "zurau", version, about = "A broker that speaks Kafka and is coordinated by ZooKeeper")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {}

/// Parses the command line and runs the sub-command. The exit code is the one that Kafka's tool of that name gives.
pub fn main() -> ExitCode {
    match Cli::parse().command {}
}
