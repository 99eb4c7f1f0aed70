//! Owns the floor: one bare loop per connection that receives, computes CRC-32C, writes to the page cache and answers,
//! and sends files by sendfile. It keeps no offsets, no index, no metadata: those are the difference in cost to a
//! broker.

use super::wire::{FETCH_VERSION, PRODUCE_VERSION};
use crate::disk::{DataFile, FileSlice};
use crate::protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use crate::protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use crate::protocol::messages::{FetchRequest, FetchResponse, ProduceRequest, ProduceResponse};
use crate::protocol::{ApiKey, Frame, Message, Reader, Records, RequestHeader};
use crate::util::checksum;
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Bytes of a fetch answer's records.
const PIECE: u32 = 1 << 20;

pub(super) fn run(port: u16, dir: &Path) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let store = Arc::new(Store { dir: dir.to_owned(), partitions: Mutex::default() });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("listening");
    for socket in listener.incoming() {
        let (socket, store) = (socket?, Arc::clone(&store));
        socket.set_nodelay(true)?;
        thread::spawn(move || serve(socket, &store));
    }
    Ok(())
}

/// One file per partition, as a broker has it: writers of one file would wait for each other.
struct Store {
    dir: PathBuf,
    partitions: Mutex<BTreeMap<i32, Arc<Partition>>>,
}

struct Partition {
    file: Arc<DataFile>,
    end: AtomicU64,
}

impl Store {
    fn partition(&self, index: i32) -> io::Result<Arc<Partition>> {
        let mut partitions = self.partitions.lock();
        if let Some(open) = partitions.get(&index) {
            return Ok(Arc::clone(open));
        }
        let file = DataFile::open_or_create(&self.dir.join(format!("floor-{index}.log")))?;
        let end = AtomicU64::new(file.len()?);
        let opened = Arc::new(Partition { file: Arc::new(file), end });
        partitions.insert(index, Arc::clone(&opened));
        Ok(opened)
    }
}

fn invalid(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}

/// A connection uses one partition, always with the same request: it is decoded once.
fn serve(mut socket: TcpStream, store: &Store) -> io::Result<()> {
    let mut buffer = Vec::new();
    let mut known: Option<(Arc<Partition>, Bytes)> = None;
    let mut position = 0;
    loop {
        let mut size = [0; 4];
        socket.read_exact(&mut size)?;
        let size = i32::from_be_bytes(size) as usize;
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        socket.read_exact(&mut buffer[..size])?;
        if buffer[..2] == ApiKey::Produce.wire().to_be_bytes() {
            std::hint::black_box(checksum::crc32c(&buffer[..size]));
            if known.is_none() {
                let (index, answer) = produce_answer(&buffer[..size])?;
                known = Some((store.partition(index)?, answer));
            }
            let Some((partition, answer)) = &known else { continue };
            let at = partition.end.fetch_add(size as u64, Ordering::Relaxed);
            partition.file.write_all_at(&mut [IoSlice::new(&buffer[..size])], at)?;
            socket.write_all(answer)?;
        } else {
            let (index, frame) = fetch_answer(&buffer[..size])?;
            let partition = store.partition(index)?;
            if position + u64::from(PIECE) > partition.end.load(Ordering::Relaxed) {
                position = 0;
            }
            let slice = FileSlice { file: Arc::clone(&partition.file), position, len: PIECE, tells_residency: true };
            position += u64::from(PIECE);
            send_fetched(&mut socket, &frame, &slice)?;
        }
    }
}

fn decode<M: Message>(request: &[u8], version: i16) -> io::Result<(RequestHeader, M)> {
    let mut reader = Reader::new(Bytes::copy_from_slice(request));
    let header = RequestHeader::decode(&mut reader).map_err(invalid)?;
    let message = M::decode(&mut reader, version).map_err(invalid)?;
    Ok((header, message))
}

/// The requested partition, and the answer.
fn produce_answer(request: &[u8]) -> io::Result<(i32, Bytes)> {
    let (header, request) = decode::<ProduceRequest>(request, PRODUCE_VERSION)?;
    let mut asked = request.topic_data.iter().flat_map(|topic| &topic.partition_data);
    let index = asked.next().map_or(0, |data| data.index);
    let topics = request.topic_data.iter().map(|topic| TopicProduceResponse {
        name: topic.name.clone(),
        partition_responses: topic
            .partition_data
            .iter()
            .map(|data| PartitionProduceResponse { index: data.index, ..Default::default() })
            .collect(),
        ..Default::default()
    });
    let answer = ProduceResponse { responses: topics.collect(), ..Default::default() };
    let frame = Frame::response(ApiKey::Produce, PRODUCE_VERSION, header.correlation_id, &answer).map_err(invalid)?;
    Ok((index, frame.bytes))
}

/// The requested partition, and the answer around [`PIECE`] bytes of records.
fn fetch_answer(request: &[u8]) -> io::Result<(i32, Frame)> {
    let (header, request) = decode::<FetchRequest>(request, FETCH_VERSION)?;
    let index = request.topics.iter().flat_map(|topic| &topic.partitions).next().map_or(0, |asked| asked.partition);
    let topics = request.topics.iter().map(|topic| FetchableTopicResponse {
        topic: topic.topic.clone(),
        partitions: vec![PartitionData {
            records: Some(Records::External { token: 0, len: PIECE }),
            aborted_transactions: None,
            ..Default::default()
        }],
        ..Default::default()
    });
    let answer = FetchResponse { responses: topics.collect(), ..Default::default() };
    let frame = Frame::response(ApiKey::Fetch, FETCH_VERSION, header.correlation_id, &answer).map_err(invalid)?;
    Ok((index, frame))
}

fn send_fetched(socket: &mut TcpStream, frame: &Frame, slice: &FileSlice) -> io::Result<()> {
    let cut = frame.cuts.first().map_or(frame.bytes.len(), |cut| cut.position);
    socket.write_all(&frame.bytes[..cut])?;
    let mut sent = 0;
    while sent < slice.len {
        match slice.send(sent, socket.as_fd())? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => sent += n as u32,
        }
    }
    socket.write_all(&frame.bytes[cut..])
}
