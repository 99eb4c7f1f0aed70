//! `zurau broker FILE [--override key=value]…`: the broker process. Kafka: `kafka.Kafka`, kafka-server-start.sh.

use crate::config::{BrokerConfig, Props, parse};
use crate::server::broker::{BrokerError, BrokerServer};
use crate::server::runtimes::Runtimes;
use crate::util::logging;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The broker's properties file.
    file: PathBuf,
    /// Overrides a key of the file.
    #[arg(long = "override", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

pub(super) fn run(args: Args) -> ExitCode {
    logging::start();
    let config = match read_config(&args) {
        Ok(config) => config,
        Err(reason) => {
            error!("Exiting Kafka due to fatal exception: {reason}");
            return ExitCode::FAILURE;
        }
    };
    let runtimes = match Runtimes::for_config(&config) {
        Ok(runtimes) => runtimes,
        Err(error) => {
            error!(%error, "start threads");
            return ExitCode::FAILURE;
        }
    };
    runtimes.control.block_on(async {
        let signals = Signals::new();
        match BrokerServer::start(config, &runtimes).await {
            Ok(server) => signals.run_until_stopped(server).await,
            Err(error) => refuse(&error),
        }
    })
}

pub(super) fn refuse(error: &BrokerError) -> ExitCode {
    error!("Exiting Kafka due to fatal exception during startup: {error}");
    ExitCode::FAILURE
}

fn read_config(args: &Args) -> Result<BrokerConfig, String> {
    let text = std::fs::read(&args.file).map_err(|error| format!("{}: {error}", args.file.display()))?;
    let mut props: Props = parse::properties(&text).map_err(|error| format!("{}: {error}", args.file.display()))?;
    props.extend(args.overrides.iter().map(|entry| parse::override_property(entry)));
    BrokerConfig::new(&props).map_err(|error| error.to_string())
}

/// SIGTERM and SIGINT. They are taken over before the broker starts, so that none is missed.
pub(super) struct Signals {
    terminate: std::io::Result<Signal>,
    interrupt: std::io::Result<Signal>,
}

/// A bound for the whole of a clean stop. What is left then is what a crash would leave.
const STOP_WITHIN: Duration = Duration::from_secs(60);

impl Signals {
    pub(super) fn new() -> Self {
        Self { terminate: signal(SignalKind::terminate()), interrupt: signal(SignalKind::interrupt()) }
    }

    /// Waits for the next signal and says which it was.
    async fn next(&mut self) -> SignalKind {
        async fn one(signal: &mut std::io::Result<Signal>) {
            match signal {
                Ok(signal) => drop(signal.recv().await),
                Err(_) => std::future::pending().await,
            }
        }
        tokio::select! {
            () = one(&mut self.terminate) => SignalKind::terminate(),
            () = one(&mut self.interrupt) => SignalKind::interrupt(),
        }
    }

    /// Runs the broker until a signal or a fatal error, and stops it. A second signal skips the waits.
    pub(super) async fn run_until_stopped(mut self, server: BrokerServer) -> ExitCode {
        let code = tokio::select! {
            biased;
            reason = server.failed() => {
                error!("Halting: {reason}");
                ExitCode::FAILURE
            }
            signal = self.next() => {
                info!(target: "org.apache.kafka.common.utils.LoggingSignalHandler", "Terminating process due to signal");
                exit_code_after(signal)
            }
        };
        tokio::select! {
            biased;
            () = server.shut_down() => {}
            _ = self.next() => info!("second signal: not waiting any longer"),
            () = tokio::time::sleep(STOP_WITHIN) => error!("not stopped after {STOP_WITHIN:?}"),
        }
        code
    }
}

/// 128 and the signal's number, as a JVM ends: service managers are configured for Kafka's 143.
fn exit_code_after(signal: SignalKind) -> ExitCode {
    u8::try_from(128 + signal.as_raw_value()).map_or(ExitCode::FAILURE, ExitCode::from)
}
