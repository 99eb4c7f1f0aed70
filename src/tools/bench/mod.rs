//! Owns the benchmark of brokers: a load that costs its sender almost nothing, so that the broker is measured, and the
//! floor, the least that a broker can do. `zk-tests/bench` runs both beside Apache Kafka.

mod coordinator;
mod floor;
mod load;
mod wire;

use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct LoadArgs {
    #[command(subcommand)]
    kind: load::Kind,
}

#[derive(clap::Args)]
pub(super) struct FloorArgs {
    /// Port to listen on at 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// Directory of the files that everything is written to.
    #[arg(long)]
    dir: std::path::PathBuf,
}

pub(super) fn run_load(args: LoadArgs) -> ExitCode {
    finish(load::run(args.kind))
}

pub(super) fn run_floor(args: FloorArgs) -> ExitCode {
    finish(floor::run(args.port, &args.dir))
}

fn finish(outcome: std::io::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
