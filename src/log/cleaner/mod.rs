//! Owns compaction: the newest record of every key stays, older ones go. Kafka: `LogCleaner`, `LogCleanerManager`.
//!
//! ```text
//! 0          first dirty           first uncleanable      log end
//! | clean, once | dirty, cleanable  | active, young, or not stable |
//!              \_ pass 1: key -> last offset _/
//! \________ pass 2: written anew ____________/
//! ```
//!
//! Threads of its own do the work, because it waits for the disk for minutes. What they decide is in [`plan`], [`filter`],
//! [`transactions`] and [`offset_map`], which are pure. Where the first dirty offset is, each log remembers, and its
//! directory's `cleaner-offset-checkpoint`.

mod filter;
pub(super) mod gate;
mod offset_map;
mod plan;
mod run;
mod segments;
mod stop;
#[cfg(test)]
mod tests;
mod throttle;
mod transactions;
mod worker;

use super::LogManager;
use crate::common::ids::Millis;
use crate::config::BrokerConfig;
use parking_lot::Mutex;
use run::Share;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use stop::Stop;
use throttle::Throttle;
use tracing::{error, info};
use worker::Worker;

/// `log.cleaner.*` of the broker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CleanerSettings {
    pub threads: usize,
    /// Memory for keys, of all threads together.
    pub dedupe_buffer_bytes: u64,
    /// How full a table of keys may become.
    pub load_factor: f64,
    /// Buffers for reading and writing, of all threads together.
    pub io_buffer_bytes: usize,
    pub io_bytes_per_second: f64,
    /// How long a thread waits when there was nothing to clean.
    pub backoff: Duration,
}

impl CleanerSettings {
    pub fn of(config: &BrokerConfig) -> Self {
        Self {
            threads: usize::try_from(config.log_cleaner_threads).unwrap_or(1).max(1),
            dedupe_buffer_bytes: u64::try_from(config.log_cleaner_dedupe_buffer_size).unwrap_or(0),
            load_factor: config.log_cleaner_io_buffer_load_factor,
            io_buffer_bytes: usize::try_from(config.log_cleaner_io_buffer_size).unwrap_or(0),
            io_bytes_per_second: config.log_cleaner_io_max_bytes_per_second,
            backoff: Duration::from_millis(u64::try_from(config.log_cleaner_backoff_ms).unwrap_or(0)),
        }
    }

    fn share(&self) -> Share {
        // As in Kafka a thread uses no more than 2 GB.
        let map_bytes = (self.dedupe_buffer_bytes / self.threads as u64).min(i32::MAX as u64) as usize;
        Share { map_bytes, load_factor: self.load_factor, buffer_bytes: self.io_buffer_bytes / self.threads / 2 }
    }
}

/// The cleaner's threads.
pub(super) struct LogCleaner {
    settings: CleanerSettings,
    throttle: Arc<Throttle>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

impl std::fmt::Debug for LogCleaner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogCleaner").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl LogCleaner {
    fn start(logs: &Arc<LogManager>, settings: CleanerSettings, clock: fn() -> Millis) -> io::Result<Self> {
        info!("Starting the log cleaner");
        let mut cleaner = Self {
            settings,
            throttle: Arc::new(Throttle::new(settings.io_bytes_per_second)),
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let choice = Arc::new(Mutex::new(()));
        for number in 0..settings.threads {
            let worker = Worker {
                number,
                logs: Arc::clone(logs),
                share: settings.share(),
                backoff: settings.backoff,
                choice: Arc::clone(&choice),
                throttle: Arc::clone(&cleaner.throttle),
                stop: Arc::clone(&cleaner.stop),
                clock,
            };
            let name = format!("kafka-log-cleaner-thread-{number}");
            match std::thread::Builder::new().name(name).spawn(move || worker.run()) {
                Ok(thread) => cleaner.threads.push(thread),
                Err(e) => {
                    cleaner.stop();
                    return Err(e);
                }
            }
        }
        Ok(cleaner)
    }

    /// Ends the threads, and what they are at; waits for them.
    fn stop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                error!("a cleaner thread had panicked");
            }
        }
    }
}

impl LogManager {
    /// Starts compaction, or goes on with it under new settings. Waits for what is under way to stop.
    pub fn run_cleaner(self: &Arc<Self>, settings: CleanerSettings, clock: fn() -> Millis) -> io::Result<()> {
        let mut running = self.cleaner.lock();
        if let Some(cleaner) = running.as_mut() {
            if cleaner.settings == settings {
                return Ok(());
            }
            let only_rate = CleanerSettings { io_bytes_per_second: settings.io_bytes_per_second, ..cleaner.settings };
            if only_rate == settings {
                info!("Updating logCleanerIoMaxBytesPerSecond: {}", settings.io_bytes_per_second);
                cleaner.throttle.set_rate(settings.io_bytes_per_second);
                cleaner.settings = settings;
                return Ok(());
            }
            cleaner.stop();
        }
        *running = Some(LogCleaner::start(self, settings, clock)?);
        Ok(())
    }

    /// Whether compaction runs.
    pub fn has_cleaner(&self) -> bool {
        self.cleaner.lock().is_some()
    }

    pub(super) fn stop_cleaner(&self) {
        let cleaner = self.cleaner.lock().take();
        if let Some(mut cleaner) = cleaner {
            info!("Shutting down the log cleaner.");
            cleaner.stop();
        }
    }
}
