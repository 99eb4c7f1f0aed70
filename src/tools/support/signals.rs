//! Owns the stop flag: SIGINT and SIGTERM set it, and a consuming loop checks it, so that a tool can still print what
//! it has counted. Kafka: the shutdown hooks of `ConsoleConsumer`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use tokio::signal::unix::{SignalKind, signal};

/// 0 until a signal arrives, then the exit code that a shell expects: 128 plus the signal's number.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicU8>);

impl Stop {
    /// Listens on its own thread, which ends with the process. Where signals are unavailable the flag stays unset.
    pub(crate) fn on_signals() -> Self {
        let stop = Self::default();
        let told = stop.clone();
        let listener = std::thread::Builder::new().name("signals".to_owned());
        let started = listener.spawn(move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() else { return };
            let signalled = runtime.block_on(async {
                let (mut interrupt, mut terminate) =
                    (signal(SignalKind::interrupt()).ok()?, signal(SignalKind::terminate()).ok()?);
                tokio::select! {
                    biased;
                    _ = interrupt.recv() => Some(SignalKind::interrupt()),
                    _ = terminate.recv() => Some(SignalKind::terminate()),
                }
            });
            if let Some(signalled) = signalled {
                let number = u8::try_from(signalled.as_raw_value()).unwrap_or_default();
                told.0.store(128 + number, Ordering::Relaxed);
            }
        });
        drop(started);
        stop
    }

    /// The exit code once a signal has arrived.
    pub(crate) fn asked(&self) -> Option<u8> {
        Some(self.0.load(Ordering::Relaxed)).filter(|code| *code != 0)
    }
}
