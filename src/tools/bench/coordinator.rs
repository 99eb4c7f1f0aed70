//! Owns the load on the coordinators: commits, transactions, and a group whose members join at once. A transaction
//! waits for each of its answers, so many run at a time.

use super::wire::{self, Connection};
use crate::common::ErrorCode;
use crate::protocol::ApiKey;
use crate::protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use crate::protocol::messages::join_group_request::JoinGroupRequestProtocol;
use crate::protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use crate::protocol::messages::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse, InitProducerIdRequest,
    InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest, OffsetCommitResponse,
    ProduceResponse, SyncGroupRequest, SyncGroupResponse,
};
use crate::record::BatchOptions;
use bytes::Bytes;
use serde_json::{Value, json};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

const COMMIT_VERSION: i16 = 7;
const JOIN_VERSION: i16 = 7;
const SYNC_VERSION: i16 = 5;
const INIT_VERSION: i16 = 4;
const ADD_VERSION: i16 = 3;
const END_VERSION: i16 = 3;
/// A Java client's pause before it retries while the markers of its last transaction are still being written: shorter
/// here, so that the pause is not measured.
const AGAIN: Duration = Duration::from_millis(1);

#[derive(clap::Subcommand)]
pub(super) enum Kind {
    /// Commit offsets of groups without members, over and over.
    Commits {
        #[arg(long)]
        bootstrap: String,
        #[arg(long)]
        topic: String,
        #[arg(long)]
        connections: usize,
        /// Groups over all connections, in turn.
        #[arg(long)]
        groups: usize,
        /// Partitions in each commit.
        #[arg(long, default_value_t = 1)]
        partitions: i32,
        /// Requests over all connections.
        #[arg(long)]
        requests: usize,
        /// The most requests in flight on a connection.
        #[arg(long, default_value_t = 5)]
        in_flight: usize,
    },
    /// Run transactions of one batch, one after the other on each connection.
    Transactions {
        #[arg(long)]
        bootstrap: String,
        #[arg(long)]
        topic: String,
        /// Connection i writes to partition i, as a transactional id of its own.
        #[arg(long)]
        connections: usize,
        #[arg(long)]
        records: usize,
        #[arg(long, default_value_t = 100)]
        record_bytes: usize,
        /// Transactions over all connections.
        #[arg(long)]
        transactions: usize,
    },
    /// Let members join a new group at once, until each has its assignment.
    Join {
        #[arg(long)]
        bootstrap: String,
        #[arg(long)]
        group: String,
        #[arg(long)]
        members: usize,
    },
}

/// The result, as an object.
pub(super) fn run(kind: Kind) -> io::Result<Value> {
    let mut start = Instant::now();
    let done = match kind {
        Kind::Commits { bootstrap, topic, connections, groups, partitions, requests, in_flight } => {
            let share = requests / connections;
            each(connections, |i| {
                let mine = (i..groups.max(connections)).step_by(connections);
                let frames: Vec<Bytes> = mine
                    .map(|group| commit(&format!("load-{group}"), &topic, partitions))
                    .collect::<io::Result<_>>()?;
                let mut connection = Connection::open(&bootstrap)?;
                let mut to_send = frames.iter().cycle().take(share);
                for frame in to_send.by_ref().take(in_flight) {
                    connection.send(frame)?;
                }
                for _ in 0..share {
                    let answer: OffsetCommitResponse = connection.answer(ApiKey::OffsetCommit, COMMIT_VERSION)?;
                    wire::refuse_errors(answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code))?;
                    if let Some(frame) = to_send.next() {
                        connection.send(frame)?;
                    }
                }
                Ok(share)
            })?
        }
        Kind::Transactions { bootstrap, topic, connections, records, record_bytes, transactions } => {
            each(connections, |i| {
                let mut client = Transactional::open(&bootstrap, &topic, i as i32)?;
                for _ in 0..transactions / connections {
                    client.transact(records, record_bytes)?;
                }
                Ok(transactions / connections)
            })?
        }
        Kind::Join { bootstrap, group, members } => {
            let open: io::Result<Vec<_>> = (0..members).map(|_| Connection::open(&bootstrap)).collect();
            let mut connections = open?;
            start = Instant::now();
            join(&mut connections, &group)?
        }
    };
    Ok(json!({ "done": done, "seconds": start.elapsed().as_secs_f64() }))
}

fn each(connections: usize, work: impl Fn(usize) -> io::Result<usize> + Sync) -> io::Result<usize> {
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..connections).map(|i| scope.spawn(move || work(i))).collect();
        let joined =
            threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked"))));
        joined.sum()
    })
}

fn commit(group: &str, topic: &str, partitions: i32) -> io::Result<Bytes> {
    let partitions = (0..partitions).map(|partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 42,
        ..Default::default()
    });
    let topic = OffsetCommitRequestTopic { name: topic.into(), partitions: partitions.collect(), ..Default::default() };
    let message = OffsetCommitRequest { group_id: group.into(), topics: vec![topic], ..Default::default() };
    wire::request(ApiKey::OffsetCommit, COMMIT_VERSION, &message)
}

/// One transactional producer.
struct Transactional<'a> {
    connection: Connection,
    id: String,
    topic: &'a str,
    partition: i32,
    producer_id: i64,
    producer_epoch: i16,
    sequence: i32,
}

impl<'a> Transactional<'a> {
    fn open(bootstrap: &str, topic: &'a str, partition: i32) -> io::Result<Self> {
        let mut connection = Connection::open(bootstrap)?;
        let id = format!("load-{partition}");
        let message = InitProducerIdRequest {
            transactional_id: Some(id.as_str().into()),
            transaction_timeout_ms: 60_000,
            ..Default::default()
        };
        let frame = wire::request(ApiKey::InitProducerId, INIT_VERSION, &message)?;
        let answer = again(|| {
            let answer: InitProducerIdResponse = connection.ask(&frame, ApiKey::InitProducerId, INIT_VERSION)?;
            Ok((answer.error_code, answer))
        })?;
        let (producer_id, producer_epoch) = (answer.producer_id, answer.producer_epoch);
        Ok(Self { connection, id, topic, partition, producer_id, producer_epoch, sequence: 0 })
    }

    fn transact(&mut self, records: usize, record_bytes: usize) -> io::Result<()> {
        let (producer_id, producer_epoch) = (self.producer_id, self.producer_epoch);
        let topic =
            AddPartitionsToTxnTopic { name: self.topic.into(), partitions: vec![self.partition], ..Default::default() };
        let message = AddPartitionsToTxnRequest {
            v3_and_below_transactional_id: self.id.as_str().into(),
            v3_and_below_producer_id: producer_id,
            v3_and_below_producer_epoch: producer_epoch,
            v3_and_below_topics: vec![topic],
            ..Default::default()
        };
        let frame = wire::request(ApiKey::AddPartitionsToTxn, ADD_VERSION, &message)?;
        again(|| {
            let answer: AddPartitionsToTxnResponse =
                self.connection.ask(&frame, ApiKey::AddPartitionsToTxn, ADD_VERSION)?;
            let mut partitions =
                answer.results_by_topic_v3_and_below.iter().flat_map(|topic| &topic.results_by_partition);
            Ok((partitions.next().map_or(0, |partition| partition.partition_error_code), ()))
        })?;

        let base_sequence = self.sequence;
        let options =
            BatchOptions { producer_id, producer_epoch, base_sequence, transactional: true, ..Default::default() };
        let batch = wire::batch_of(options, records, record_bytes)?;
        let frame = wire::produce_in(Some(&self.id), self.topic, self.partition, -1, batch)?;
        let answer: ProduceResponse = self.connection.ask(&frame, ApiKey::Produce, wire::PRODUCE_VERSION)?;
        wire::refuse_errors(answer.responses.iter().flat_map(|t| &t.partition_responses).map(|p| p.error_code))?;
        self.sequence += records as i32;

        let message = EndTxnRequest {
            transactional_id: self.id.as_str().into(),
            producer_id,
            producer_epoch,
            committed: true,
            ..Default::default()
        };
        let frame = wire::request(ApiKey::EndTxn, END_VERSION, &message)?;
        again(|| {
            let answer: EndTxnResponse = self.connection.ask(&frame, ApiKey::EndTxn, END_VERSION)?;
            Ok((answer.error_code, ()))
        })
    }
}

/// Retries until the markers of the last transaction are written, and its coordinator is available.
fn again<T>(mut ask: impl FnMut() -> io::Result<(i16, T)>) -> io::Result<T> {
    loop {
        let (code, answer) = ask()?;
        match ErrorCode::from_wire(code) {
            ErrorCode::ConcurrentTransactions
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorLoadInProgress => pause(),
            _ => {
                wire::refuse_errors([code].into_iter())?;
                return Ok(answer);
            }
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "a load generator's pause is a time")]
fn pause() {
    thread::sleep(AGAIN);
}

/// On one thread: every step is sent for all members before the first answer is awaited.
fn join(connections: &mut [Connection], group: &str) -> io::Result<usize> {
    let asked = |member_id: &str| {
        let protocol = JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(&[0; 40]),
            ..Default::default()
        };
        let message = JoinGroupRequest {
            group_id: group.into(),
            session_timeout_ms: 60_000,
            rebalance_timeout_ms: 60_000,
            member_id: member_id.into(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        wire::request(ApiKey::JoinGroup, JOIN_VERSION, &message)
    };
    for connection in &mut *connections {
        connection.send(&asked("")?)?;
    }
    for connection in &mut *connections {
        // The member joins again with the id that it gets here.
        let answer: JoinGroupResponse = connection.answer(ApiKey::JoinGroup, JOIN_VERSION)?;
        connection.send(&asked(&answer.member_id)?)?;
    }
    let mut joined = Vec::new();
    for connection in &mut *connections {
        let answer: JoinGroupResponse = connection.answer(ApiKey::JoinGroup, JOIN_VERSION)?;
        wire::refuse_errors([answer.error_code].into_iter())?;
        joined.push(answer);
    }
    for (connection, joined) in connections.iter_mut().zip(&joined) {
        // Only the leader's answer names the members.
        let assignments = joined.members.iter().map(|member| SyncGroupRequestAssignment {
            member_id: member.member_id.clone(),
            assignment: Bytes::from_static(&[0; 40]),
            ..Default::default()
        });
        let message = SyncGroupRequest {
            group_id: group.into(),
            generation_id: joined.generation_id,
            member_id: joined.member_id.clone(),
            protocol_type: joined.protocol_type.clone(),
            protocol_name: joined.protocol_name.clone(),
            assignments: assignments.collect(),
            ..Default::default()
        };
        connection.send(&wire::request(ApiKey::SyncGroup, SYNC_VERSION, &message)?)?;
    }
    for connection in &mut *connections {
        let answer: SyncGroupResponse = connection.answer(ApiKey::SyncGroup, SYNC_VERSION)?;
        wire::refuse_errors([answer.error_code].into_iter())?;
    }
    Ok(joined.len())
}
