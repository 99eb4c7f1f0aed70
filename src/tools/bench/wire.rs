//! Owns the few requests that the load sends, encoded once and sent again and again, over blocking sockets.

use crate::common::ErrorCode;
use crate::protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, fetch_request::FetchPartition,
    fetch_request::FetchTopic,
};
use crate::protocol::{ApiKey, Frame, Message, Reader, Records, RequestHeader, ResponseHeader};
use crate::record::{BatchBuilder, BatchOptions};
use crate::util::clock::wall_ms;
use bytes::Bytes;
use rand::Rng;
use std::io::{self, Read, Write};
use std::net::TcpStream;

pub(super) const PRODUCE_VERSION: i16 = 9;
pub(super) const FETCH_VERSION: i16 = 11;

fn invalid(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

pub(super) fn request<M: Message>(api: ApiKey, version: i16, message: &M) -> io::Result<Bytes> {
    let header = RequestHeader::new(api, version, 7, "load".into());
    Ok(Frame::request(api, &header, message).map_err(invalid)?.bytes)
}

/// A batch of `records` values of `record_bytes` random bytes each.
pub(super) fn batch(records: usize, record_bytes: usize) -> io::Result<Bytes> {
    batch_of(BatchOptions::default(), records, record_bytes)
}

pub(super) fn batch_of(options: BatchOptions, records: usize, record_bytes: usize) -> io::Result<Bytes> {
    let now = wall_ms();
    let mut builder = BatchBuilder::new(options).map_err(invalid)?;
    let (mut rng, mut value) = (rand::rng(), vec![0; record_bytes]);
    for _ in 0..records {
        rng.fill_bytes(&mut value);
        builder.append(now, None, Some(&value), &[]).map_err(invalid)?;
    }
    builder.finish().map_err(invalid)
}

pub(super) fn produce(topic: &str, partition: i32, acks: i16, batch: Bytes) -> io::Result<Bytes> {
    produce_in(None, topic, partition, acks, batch)
}

/// In the transaction of this id.
pub(super) fn produce_in(
    transactional_id: Option<&str>,
    topic: &str,
    partition: i32,
    acks: i16,
    batch: Bytes,
) -> io::Result<Bytes> {
    let data = PartitionProduceData { index: partition, records: Some(Records::Bytes(batch)), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    let message = ProduceRequest {
        transactional_id: transactional_id.map(Into::into),
        acks,
        timeout_ms: 30_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    request(ApiKey::Produce, PRODUCE_VERSION, &message)
}

pub(super) fn fetch(topic: &str, partition: i32, offset: i64, max_bytes: i32, max_wait_ms: i32) -> io::Result<Bytes> {
    let partition =
        FetchPartition { partition, fetch_offset: offset, partition_max_bytes: max_bytes, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    let message = FetchRequest { max_wait_ms, min_bytes: 1, max_bytes, topics: vec![topic], ..Default::default() };
    request(ApiKey::Fetch, FETCH_VERSION, &message)
}

pub(super) struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(super) fn open(bootstrap: &str) -> io::Result<Self> {
        let socket = TcpStream::connect(bootstrap)?;
        socket.set_nodelay(true)?;
        Ok(Self { socket, buffer: Vec::new() })
    }

    pub(super) fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        self.socket.write_all(frame)
    }

    fn receive(&mut self) -> io::Result<&[u8]> {
        let mut size = [0; 4];
        self.socket.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).map_err(invalid)?;
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        self.socket.read_exact(&mut self.buffer[..size])?;
        Ok(&self.buffer[..size])
    }

    /// Sends a request and waits for its answer.
    pub(super) fn ask<M: Message>(&mut self, frame: &[u8], api: ApiKey, version: i16) -> io::Result<M> {
        self.send(frame)?;
        self.answer(api, version)
    }

    pub(super) fn answer<M: Message>(&mut self, api: ApiKey, version: i16) -> io::Result<M> {
        let frame = Bytes::copy_from_slice(self.receive()?);
        decode(api, version, frame)
    }

    pub(super) fn receive_produced(&mut self) -> io::Result<()> {
        let answer: ProduceResponse = self.answer(ApiKey::Produce, PRODUCE_VERSION)?;
        let errors = answer.responses.iter().flat_map(|t| &t.partition_responses).map(|p| p.error_code);
        refuse_errors(errors)
    }

    /// The bytes of records received, and the offset after them.
    pub(super) fn receive_fetched(&mut self, offset: i64) -> io::Result<(usize, i64)> {
        let answer: FetchResponse = self.answer(ApiKey::Fetch, FETCH_VERSION)?;
        let partitions = || answer.responses.iter().flat_map(|t| &t.partitions);
        refuse_errors(partitions().map(|p| p.error_code))?;
        let (mut received, mut next) = (0, offset);
        for partition in partitions() {
            let Some(Records::Bytes(records)) = &partition.records else { continue };
            received += records.len();
            for batch in crate::record::batches(records) {
                // The floor sends the contents of its file as they are.
                let Ok(batch) = batch else { break };
                next = batch.next_offset();
            }
        }
        Ok((received, next))
    }
}

pub(super) fn refuse_errors(mut codes: impl Iterator<Item = i16>) -> io::Result<()> {
    match codes.find(|code| *code != 0) {
        Some(code) => Err(io::Error::other(format!("the broker answers {}", ErrorCode::from_wire(code)))),
        None => Ok(()),
    }
}

fn decode<M: Message>(api: ApiKey, version: i16, frame: Bytes) -> io::Result<M> {
    let mut reader = Reader::new(frame);
    ResponseHeader::decode(&mut reader, api.response_header_version(version)).map_err(invalid)?;
    M::decode(&mut reader, version).map_err(invalid)
}
