//! `zurau broker FILE [--override key=value]…`: the broker process. Kafka: `kafka.Kafka`, kafka-server-start.sh.

use std::path::PathBuf;
use std::process::ExitCode;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The broker's properties file.
    file: PathBuf,
    /// Overrides a key of the file.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

pub(super) fn run(args: Args) -> ExitCode {
    eprintln!("the broker is not built yet: {} {:?}", args.file.display(), args.overrides);
    ExitCode::FAILURE
}
