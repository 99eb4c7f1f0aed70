//! `zurau broker FILE [--override key=value]…`: the broker process. Kafka: `kafka.Kafka`, kafka-server-start.sh.

use crate::config::{BrokerConfig, Props, parse};
use crate::server::broker::{BrokerError, BrokerServer};
use crate::server::runtimes::Runtimes;
use crate::util::logging;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::task::{Context, Poll};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
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
    let code = runtimes.control.block_on(async { Signals::new().run(config, &runtimes, || {}).await });
    runtimes.end();
    code
}

fn refuse(error: &BrokerError) -> ExitCode {
    error!("Exiting Kafka due to fatal exception during startup: {error}");
    ExitCode::FAILURE
}

fn read_config(args: &Args) -> Result<BrokerConfig, String> {
    let text = std::fs::read(&args.file).map_err(|error| format!("{}: {error}", args.file.display()))?;
    let mut props: Props = parse::properties(&text).map_err(|error| format!("{}: {error}", args.file.display()))?;
    props.extend(args.overrides.iter().map(|entry| parse::override_property(entry)));
    BrokerConfig::new(&props).map_err(|error| error.to_string())
}

/// The signals that end a broker. The handlers are installed before the broker starts, so that none is missed.
pub(super) struct Signals {
    taken: Vec<(SignalKind, Signal)>,
}

impl Signals {
    /// As a JVM does, keeps ignoring signals that the process was started to ignore: `nohup` and `kafka-server-start.sh
    /// -daemon` do that to SIGHUP.
    pub(super) fn new() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ending = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()];
        let taken = ending.into_iter().filter(|kind| !is_ignored(&status, *kind));
        Self { taken: taken.filter_map(|kind| Some((kind, signal(kind).ok()?))).collect() }
    }

    /// Waits for the next signal and returns it.
    async fn next(&mut self) -> SignalKind {
        let next = |cx: &mut Context<'_>| {
            let mut came = self.taken.iter_mut().filter_map(|(k, s)| s.poll_recv(cx).is_ready().then_some(*k));
            came.next().map_or(Poll::Pending, Poll::Ready)
        };
        std::future::poll_fn(next).await
    }

    /// Runs a broker from its start until a signal or a fatal error has ended it. `started` is called once it serves.
    pub(super) async fn run(mut self, config: BrokerConfig, runtimes: &Runtimes, started: impl FnOnce()) -> ExitCode {
        let stop = CancellationToken::new();
        let mut starting = pin!(BrokerServer::start(config, runtimes, stop.clone()));
        let mut signalled = None;
        let outcome = tokio::select! {
            biased;
            outcome = &mut starting => outcome,
            signal = self.next() => {
                log_signal();
                signalled = Some(signal);
                stop.cancel();
                starting.await
            }
        };
        match (outcome, signalled) {
            (Ok(server), None) => {
                started();
                self.run_until_stopped(server).await
            }
            // The signal arrived after the start had completed.
            (Ok(server), Some(signal)) => {
                self.stop(server).await;
                exit_code_after(signal)
            }
            (Err(_), Some(signal)) => exit_code_after(signal),
            (Err(error), None) => refuse(&error),
        }
    }

    async fn run_until_stopped(&mut self, server: BrokerServer) -> ExitCode {
        let code = tokio::select! {
            biased;
            reason = server.failed() => {
                error!("Halting: {reason}");
                ExitCode::FAILURE
            }
            signal = self.next() => {
                log_signal();
                exit_code_after(signal)
            }
        };
        self.stop(server).await;
        code
    }

    /// Stops the broker. A second signal skips the waits for others.
    async fn stop(&mut self, server: BrokerServer) {
        let hurry = CancellationToken::new();
        let mut stopping = pin!(server.shut_down(hurry.clone()));
        loop {
            tokio::select! {
                biased;
                () = &mut stopping => return,
                _ = self.next(), if !hurry.is_cancelled() => {
                    info!("second signal: not waiting any longer");
                    hurry.cancel();
                }
            }
        }
    }
}

fn log_signal() {
    info!(target: "org.apache.kafka.common.utils.LoggingSignalHandler", "Terminating process due to signal");
}

/// Whether `/proc/PID/status` says that the process ignores the signal.
fn is_ignored(status: &str, kind: SignalKind) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (kind.as_raw_value() - 1)) != 0
}

/// 128 plus the signal's number, as a JVM exits: service managers are configured for Kafka's 143.
fn exit_code_after(signal: SignalKind) -> ExitCode {
    u8::try_from(128 + signal.as_raw_value()).map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_is_ignored_stays_so() {
        let status = "Name:\tzurau\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000440\n";
        assert!(is_ignored(status, SignalKind::hangup()));
        assert!(!is_ignored(status, SignalKind::terminate()));
        assert!(!is_ignored("", SignalKind::hangup()));
    }
}
