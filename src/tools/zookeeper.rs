//! `zurau zookeeper FILE`: a standalone ZooKeeper for development, configured by a zoo.cfg. Counterpart:
//! `QuorumPeerMain`, zookeeper-server-start.sh.

use crate::util::logging;
use crate::util::task::Group;
use crate::zookeeper::server::{Config, Server};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tracing::info;

#[derive(clap::Args)]
pub(super) struct Args {
    /// The server's properties file.
    file: PathBuf,
}

/// How long connections may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(5);

pub(super) fn run(args: &Args) -> ExitCode {
    logging::start();
    match serve(args) {
        Ok(code) => code,
        Err(reason) => {
            eprintln!("zookeeper: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let text = std::fs::read_to_string(&args.file).map_err(|e| format!("read {}: {e}", args.file.display()))?;
    let config = Config::parse(&text)?;
    // One task owns the state; a second thread serves the sockets.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let tasks = Group::new(runtime.handle().clone());
    let _server = Server::start(config, &tasks)?;
    let code = runtime.block_on(async {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        let code = tokio::select! {
            biased;
            () = tasks.fatal_token().cancelled() => ExitCode::FAILURE,
            _ = terminate.recv() => ExitCode::SUCCESS,
            interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| ExitCode::SUCCESS)?,
        };
        info!("stopping");
        tasks.shut_down(STOP_WITHIN).await.map_err(std::io::Error::other)?;
        Ok::<_, std::io::Error>(code)
    })?;
    Ok(code)
}
