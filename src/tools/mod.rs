//! Owns the command line: each sub-command is one of the tools behind `bin/kafka-*.sh`, with Kafka's flags, output and exit
//! codes, in a file of its name. Kafka: `kafka.Kafka`, `kafka.tools`, `kafka.admin`, `org.apache.kafka.tools`. Code
//! that several tools share is in `support`.
//!
//! A tool calls a cluster through `support::admin`, on the brokers' own connections; those that produce or consume
//! use librdkafka, as the clients do that they stand in for. Tools block: they have nothing else to do. Absent on
//! purpose: tools of KRaft, and clap's own texts in a Kafka tool, which scripts compare with Kafka's.
#![allow(clippy::print_stdout, reason = "a tool's output is its standard output")]

use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod bench;
mod broker;
mod broker_api_versions;
mod cluster;
mod configs;
mod console_consumer;
mod console_producer;
mod consumer_groups;
mod consumer_perf;
mod delete_records;
mod dev;
mod doctor;
mod dump_log;
mod get_offsets;
mod leader_election;
mod log_dirs;
mod producer_perf;
mod reassign_partitions;
mod replica_verification;
mod support;
mod topics;
mod transactions;
mod verifiable_consumer;
mod verifiable_producer;
mod zookeeper;
mod zookeeper_shell;

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
    /// Run a broker with its own ZooKeeper, ready to try.
    Dev(dev::Args),
    /// Examine a cluster: what is wrong with it, and why.
    Doctor(doctor::Args),
    /// Create, list, describe, change and delete topics.
    Topics(ToolArgs),
    /// Send lines of standard input to a topic.
    ConsoleProducer(ToolArgs),
    /// Print the records of a topic.
    ConsoleConsumer(ToolArgs),
    /// List, describe and delete consumer groups, reset their offsets.
    ConsumerGroups(ToolArgs),
    /// Show and change settings of topics and brokers.
    Configs(ToolArgs),
    /// Show offsets of partitions by time.
    GetOffsets(ToolArgs),
    /// Delete records up to an offset.
    DeleteRecords(ToolArgs),
    /// Print the contents of a partition's files.
    DumpLog(ToolArgs),
    /// Show the contents of the log directories.
    LogDirs(ToolArgs),
    /// Show transactions, find and abort hanging ones.
    Transactions(ToolArgs),
    /// Show which APIs and versions each broker has.
    BrokerApiVersions(ToolArgs),
    /// Send numbers and print the result of each as JSON.
    VerifiableProducer(ToolArgs),
    /// Read in a group and print what happens as JSON.
    VerifiableConsumer(ToolArgs),
    /// Move replicas to other brokers and log directories.
    ReassignPartitions(ToolArgs),
    /// Elect leaders: the preferred ones, or any that are left.
    LeaderElection(ToolArgs),
    /// Compare the replicas of partitions, continuously.
    ReplicaVerification(ToolArgs),
    /// Show the id of a cluster.
    Cluster(ToolArgs),
    /// Measure how fast a client writes or reads.
    #[command(subcommand)]
    Perf(Perf),
    /// Run a standalone ZooKeeper for development on a properties file.
    Zookeeper(zookeeper::Args),
    /// Show and edit the znodes of a ZooKeeper ensemble.
    ZookeeperShell(ToolArgs),
}

#[derive(Subcommand)]
enum Perf {
    /// Write records and report rates and latencies.
    Producer(ToolArgs),
    /// Read records and report rates.
    Consumer(ToolArgs),
    /// The load of the broker benchmark.
    Load(bench::LoadArgs),
    /// The floor of the broker benchmark: the least that a broker can do.
    Floor(bench::FloorArgs),
}

/// The command line of a Kafka tool, which is read by Kafka's rules: see `support`.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
struct ToolArgs {
    /// The tool's own options; --help lists them.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTIONS")]
    args: Vec<String>,
}

/// Parses the command line and runs the sub-command. The exit code is the one that Kafka's tool of that name gives.
pub fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Broker(args) => broker::run(args),
        Command::Zookeeper(args) => zookeeper::run(&args),
        Command::Dev(args) => dev::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Topics(tool) => topics::run(&tool.args),
        Command::ConsoleProducer(tool) => console_producer::run(&tool.args),
        Command::ConsoleConsumer(tool) => console_consumer::run(&tool.args),
        Command::ConsumerGroups(tool) => consumer_groups::run(&tool.args),
        Command::Configs(tool) => configs::run(&tool.args),
        Command::GetOffsets(tool) => get_offsets::run(&tool.args),
        Command::DeleteRecords(tool) => delete_records::run(&tool.args),
        Command::DumpLog(tool) => dump_log::run(&tool.args),
        Command::ZookeeperShell(tool) => zookeeper_shell::run(&tool.args),
        Command::Transactions(tool) => transactions::run(&tool.args),
        Command::LogDirs(tool) => log_dirs::run(&tool.args),
        Command::BrokerApiVersions(tool) => broker_api_versions::run(&tool.args),
        Command::VerifiableProducer(tool) => verifiable_producer::run(&tool.args),
        Command::VerifiableConsumer(tool) => verifiable_consumer::run(&tool.args),
        Command::ReassignPartitions(tool) => reassign_partitions::run(&tool.args),
        Command::LeaderElection(tool) => leader_election::run(&tool.args),
        Command::ReplicaVerification(tool) => replica_verification::run(&tool.args),
        Command::Cluster(tool) => cluster::run(&tool.args),
        Command::Perf(Perf::Producer(tool)) => producer_perf::run(&tool.args),
        Command::Perf(Perf::Consumer(tool)) => consumer_perf::run(&tool.args),
        Command::Perf(Perf::Load(args)) => bench::run_load(args),
        Command::Perf(Perf::Floor(args)) => bench::run_floor(args),
    }
}
