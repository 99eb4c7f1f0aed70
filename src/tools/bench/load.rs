//! Owns the load: prepared requests from blocking threads, one connection each. Results are one JSON object on standard
//! output.

use super::coordinator;
use super::wire::{self, Connection};
use serde_json::json;
use std::collections::VecDeque;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

#[derive(clap::Args, Clone)]
pub(super) struct Target {
    /// host:port of the broker that leads all partitions of the topic.
    #[arg(long)]
    bootstrap: String,
    /// Connection i uses partition i.
    #[arg(long)]
    topic: String,
    #[arg(long, default_value_t = 1)]
    connections: i32,
}

#[derive(clap::Subcommand)]
pub(super) enum Kind {
    /// Write batches as fast as the broker takes them, or at a rate.
    Produce {
        #[command(flatten)]
        target: Target,
        #[arg(long, default_value_t = 1, allow_hyphen_values = true)]
        acks: i16,
        #[arg(long)]
        records_per_batch: usize,
        #[arg(long)]
        record_bytes: usize,
        /// Requests over all connections.
        #[arg(long)]
        requests: u64,
        /// The most requests in flight on a connection.
        #[arg(long, default_value_t = 5)]
        in_flight: usize,
        /// Requests a second over all connections; as many as possible when absent.
        #[arg(long)]
        rate: Option<f64>,
    },
    /// Read partitions from the start, repeatedly, until so many bytes have been received.
    Fetch {
        #[command(flatten)]
        target: Target,
        #[arg(long)]
        bytes: u64,
        #[arg(long, default_value_t = 1 << 20)]
        max_bytes: i32,
    },
    /// Follow the end of partitions until so many bytes have been received.
    Follow {
        #[command(flatten)]
        target: Target,
        #[arg(long)]
        bytes: u64,
        #[arg(long, default_value_t = 1 << 20)]
        max_bytes: i32,
    },
    /// Work for the coordinators.
    #[command(flatten)]
    Coordinator(coordinator::Kind),
    /// Open connections, report it on standard output, and hold them until standard input ends.
    Idle {
        #[arg(long)]
        bootstrap: String,
        #[arg(long)]
        connections: usize,
    },
}

pub(super) fn run(kind: Kind) -> io::Result<()> {
    match kind {
        Kind::Produce { target, acks, records_per_batch, record_bytes, requests, in_flight, rate } => {
            let batch = wire::batch(records_per_batch, record_bytes)?;
            let batch_bytes = batch.len() as u64;
            let share = requests / target.connections as u64;
            let pace = rate.map(|rate| Duration::from_secs_f64(f64::from(target.connections) / rate));
            let start = Instant::now();
            let latencies = each_connection(&target, |target, partition| {
                let frame = wire::produce(&target.topic, partition, acks, batch.clone())?;
                produce(&target.bootstrap, &frame, share, in_flight, pace, acks)
            })?;
            let mut latencies: Vec<Duration> = latencies.into_iter().flatten().collect();
            latencies.sort_unstable();
            let sent = share * target.connections as u64;
            report(json!({
                "requests": sent,
                "bytes": sent * batch_bytes,
                "seconds": start.elapsed().as_secs_f64(),
                "p50_ms": percentile(&latencies, 0.50),
                "p99_ms": percentile(&latencies, 0.99),
                "max_ms": percentile(&latencies, 1.0),
            }))
        }
        Kind::Fetch { target, bytes, max_bytes } => read(&target, bytes, max_bytes, true),
        Kind::Follow { target, bytes, max_bytes } => read(&target, bytes, max_bytes, false),
        Kind::Coordinator(kind) => report(coordinator::run(kind)?),
        Kind::Idle { bootstrap, connections } => {
            let open: Vec<Connection> =
                (0..connections).map(|_| Connection::open(&bootstrap)).collect::<io::Result<_>>()?;
            report(json!({ "connections": open.len() }))?;
            io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
        }
    }
}

fn report(result: serde_json::Value) -> io::Result<()> {
    println!("{result}");
    Ok(())
}

/// Milliseconds.
fn percentile(sorted: &[Duration], q: f64) -> f64 {
    let at = ((sorted.len() as f64 * q) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
}

fn each_connection<T: Send>(
    target: &Target,
    work: impl Fn(&Target, i32) -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..target.connections).map(|i| scope.spawn(move || work(target, i))).collect();
        let joined =
            threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
        joined.collect()
    })
}

/// Latency from the moment a request is due to the moment its answer arrives.
fn produce(
    bootstrap: &str,
    frame: &[u8],
    requests: u64,
    in_flight: usize,
    pace: Option<Duration>,
    acks: i16,
) -> io::Result<Vec<Duration>> {
    let mut connection = Connection::open(bootstrap)?;
    let mut latencies = Vec::with_capacity(requests as usize);
    let mut sent: VecDeque<Instant> = VecDeque::new();
    let start = Instant::now();
    let mut receive = |connection: &mut Connection, sent: &mut VecDeque<Instant>| -> io::Result<()> {
        connection.receive_produced()?;
        latencies.extend(sent.pop_front().map(|due| due.elapsed()));
        Ok(())
    };
    for i in 0..requests {
        while sent.len() >= in_flight {
            receive(&mut connection, &mut sent)?;
        }
        let due = match pace {
            Some(pace) => {
                let due = start + pace.mul_f64(i as f64);
                while !sent.is_empty() && Instant::now() < due {
                    receive(&mut connection, &mut sent)?;
                }
                wait_until(due);
                due
            }
            None => Instant::now(),
        };
        connection.send(frame)?;
        if acks != 0 {
            sent.push_back(due);
        }
    }
    while !sent.is_empty() {
        receive(&mut connection, &mut sent)?;
    }
    Ok(latencies)
}

#[allow(clippy::disallowed_methods, reason = "a load generator's pace is a time")]
fn wait_until(due: Instant) {
    thread::sleep(due.saturating_duration_since(Instant::now()));
}

fn read(target: &Target, bytes: u64, max_bytes: i32, again: bool) -> io::Result<()> {
    let share = bytes / target.connections as u64;
    let start = Instant::now();
    let received = each_connection(target, |target, partition| {
        let mut connection = Connection::open(&target.bootstrap)?;
        let (mut received, mut requests, mut offset) = (0, 0, 0);
        while received < share {
            connection.send(&wire::fetch(&target.topic, partition, offset, max_bytes, 500)?)?;
            let (bytes, next) = connection.receive_fetched(offset)?;
            offset = if bytes == 0 && again { 0 } else { next };
            received += bytes as u64;
            requests += 1;
        }
        Ok((received, requests))
    })?;
    report(json!({
        "bytes": received.iter().map(|(bytes, _)| bytes).sum::<u64>(),
        "requests": received.iter().map(|(_, requests)| requests).sum::<u64>(),
        "seconds": start.elapsed().as_secs_f64(),
    }))
}
