//! Owns the runtimes: connections must not wait for the controller's work, nor a ZooKeeper ping for either.
//!
//! Connections run on runtimes of one thread each, as on Kafka's network threads. On one runtime of many threads every
//! wake-up of a connection is handed between threads: with requests of 100 bytes that cost 21-23 us of CPU each where a
//! bare loop takes 9.5 us; with one thread per runtime they cost 11 us.

use crate::config::BrokerConfig;
use crate::util::task::Group;
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;

pub struct Runtimes {
    /// Controller, metadata, configuration, periodic jobs; its blocking pool does the disk work of all.
    pub control: Runtime,
    /// Only the ZooKeeper session.
    pub session: Runtime,
    data: Vec<DataThread>,
}

/// One thread of connections: it runs until it is dropped.
struct DataThread {
    handle: Handle,
    stop: CancellationToken,
}

impl Drop for DataThread {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

const CONTROL_THREADS: usize = 2;

impl Runtimes {
    pub fn for_config(config: &BrokerConfig) -> io::Result<Self> {
        let threads = |n: i32| usize::try_from(n).unwrap_or(1).max(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let recovery = threads(config.num_recovery_threads_per_data_dir) * config.log_dirs.len();
        // `background.threads` serve requests that wait for a disk; beside them each directory has its own for recovery, and
        // one for its background work.
        let blocking = threads(config.background_threads) + recovery + config.log_dirs.len();
        let shared = |name: &str, workers: usize| {
            Builder::new_multi_thread()
                .thread_name(name)
                .worker_threads(workers)
                .max_blocking_threads(blocking)
                .enable_all()
                .build()
        };
        // As many as Kafka has threads that append and read: one blocked by the kernel's throttling of dirty pages does
        // not stop the rest.
        let data_threads = cores.max(threads(config.num_io_threads));
        Ok(Self {
            control: shared("control", CONTROL_THREADS)?,
            session: shared("session", 1)?,
            data: (0..data_threads).map(|i| DataThread::start(i, blocking)).collect::<io::Result<_>>()?,
        })
    }

    /// Ends the runtimes without waiting: work still on a blocking thread can be abandoned safely.
    pub fn end(self) {
        self.control.shutdown_background();
        self.session.shutdown_background();
    }

    /// A group of tasks for each thread of connections, whose stop follows that of `parent`.
    pub fn data_groups(&self, parent: &Group) -> Arc<[Group]> {
        self.data.iter().map(|thread| parent.child_on(thread.handle.clone())).collect()
    }
}

impl DataThread {
    fn start(number: usize, blocking: usize) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().max_blocking_threads(blocking).enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let until = stop.clone();
        std::thread::Builder::new()
            .name(format!("data-{number}"))
            .spawn(move || runtime.block_on(until.cancelled()))?;
        Ok(Self { handle, stop })
    }
}
