//! `zurau dump-log`: prints the contents of a partition's files, and where indexes and log disagree. Kafka:
//! `kafka.tools.DumpLogSegments`, kafka-dump-log.sh. Files are only read.
//!
//! Logs are mapped. A running broker only appends to them, except for a follower's truncation: a log that is truncated
//! while it is dumped is an error, see [`FileMap`], or, in the moment that no check covers, kills the tool. Indexes are
//! read whole: they are small, and an Apache broker cuts its active one from 10 MB to its entries at every roll.

mod decoders;

use super::support::options::{Opt, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use crate::disk::FileMap;
use crate::log::index::{TxnIndexError, read_aborted};
use crate::log::producer_state::ProducerState;
use crate::record::batch::{LOG_OVERHEAD, PREFIX_LEN};
use crate::record::control::{ControlType, EndTransactionMarker};
use crate::record::{Batch, NO_TIMESTAMP, RecordError, RecordView, TimestampType, legacy, records};
use decoders::{DECODER_OPTIONS, Decoders, Kind};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const PRINT_DATA_LOG: Opt = Opt::flag("print-data-log", "Print keys and values; so does each decoder option.");
const VERIFY_INDEX_ONLY: Opt = Opt::flag("verify-index-only", "Check an index against its log without printing it.");
const INDEX_SANITY_CHECK: Opt = Opt::flag(
    "index-sanity-check",
    "Check an index as a broker does at its start, which then rebuilds it or not, without printing it.",
);
const FILES: Opt = Opt::with("files", "String: file1, file2, ...", "REQUIRED: Files to dump, apart by commas.");
const MAX_MESSAGE_SIZE: Opt =
    Opt::with("max-message-size", "Integer: size", "The largest batch that an index may point to.").default("5242880");
const MAX_BYTES: Opt = Opt::with("max-bytes", "Integer: size", "How much of a log to read.").default("2147483647");
const DEEP_ITERATION: Opt =
    Opt::flag("deep-iteration", "Print the records of each batch too; --print-data-log does as well.");
const VALUE_DECODER_CLASS: Opt =
    Opt::with_optional("value-decoder-class", "String", "How values are read.").default(STRING_DECODER);
const KEY_DECODER_CLASS: Opt =
    Opt::with_optional("key-decoder-class", "String", "How keys are read.").default(STRING_DECODER);
const OFFSETS_DECODER: Opt = Opt::flag("offsets-decoder", "Read records as those of __consumer_offsets.");
const TRANSACTION_LOG_DECODER: Opt =
    Opt::flag("transaction-log-decoder", "Read records as those of __transaction_state.");
const CLUSTER_METADATA_DECODER: Opt = Opt::flag("cluster-metadata-decoder", "Read records as those of a KRaft log.");
const REMOTE_LOG_METADATA_DECODER: Opt =
    Opt::flag("remote-log-metadata-decoder", "Read records as those of tiered storage.");
const SKIP_RECORD_METADATA: Opt = Opt::flag("skip-record-metadata", "Print only keys and values of records.");

const TOOL: Tool = Tool {
    about: "This tool helps to parse a log file and dump its contents to the console, useful for debugging a seemingly corrupt \
            log segment.",
    options: &[
        &PRINT_DATA_LOG,
        &VERIFY_INDEX_ONLY,
        &INDEX_SANITY_CHECK,
        &FILES,
        &MAX_MESSAGE_SIZE,
        &MAX_BYTES,
        &DEEP_ITERATION,
        &VALUE_DECODER_CLASS,
        &KEY_DECODER_CLASS,
        &OFFSETS_DECODER,
        &TRANSACTION_LOG_DECODER,
        &CLUSTER_METADATA_DECODER,
        &REMOTE_LOG_METADATA_DECODER,
        &SKIP_RECORD_METADATA,
    ],
};

const STRING_DECODER: &str = "org.apache.kafka.tools.api.StringDecoder";
const OFFSET_INDEX_ENTRY: usize = 8;
const TIME_INDEX_ENTRY: usize = 12;
/// The smallest valid length of a batch.
const RECORD_OVERHEAD_V0: i32 = 14;

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let options = TOOL.parse(args).map_err(|e| uncaught(format_args!("joptsimple.OptionException: {e}")))?;
        TOOL.help_or_version(args, &options)?;
        TOOL.require(&options, &[&FILES])?;
        let plan = Plan::new(&options)?;
        let mut found = Found::default();
        for path in options.required(&FILES)?.split(',') {
            writeln!(out, "Dumping {path}")?;
            let path = Path::new(path);
            match path.extension().and_then(|e| e.to_str()) {
                Some("log") => dump_log(path, &plan, &mut found, out)?,
                Some("index") => dump_index(path, &plan, &mut found, out)?,
                Some("timeindex") => dump_time_index(path, &plan, &mut found, out)?,
                Some("snapshot") => dump_producer_snapshot(path, out)?,
                Some("txnindex") => dump_txn_index(path, out)?,
                _ => {
                    out.flush()?;
                    terminal::say(format_args!("Ignoring unknown file {}", path.display()));
                }
            }
        }
        out.flush()?;
        found.say();
        Ok(())
    })
}

/// Kafka's tool lets exceptions end its main thread.
fn uncaught(exception: impl std::fmt::Display) -> Failure {
    Failure::message(format_args!("Exception in thread \"main\" {exception}"))
}

fn unreadable(path: &Path, e: &io::Error) -> Failure {
    match e.kind() {
        io::ErrorKind::NotFound => uncaught(format_args!("java.nio.file.NoSuchFileException: {}", path.display())),
        _ => uncaught(format_args!("java.io.IOException: {}: {e}", path.display())),
    }
}

fn corrupt(e: &RecordError) -> Failure {
    uncaught(format_args!("org.apache.kafka.common.errors.CorruptRecordException: {e}"))
}

struct Plan {
    print_data: bool,
    deep: bool,
    metadata: bool,
    verify_only: bool,
    sanity_only: bool,
    max_message_size: u64,
    /// None: to the end.
    max_bytes: Option<u64>,
    kind: Kind,
}

impl Plan {
    fn new(options: &Options) -> Result<Self, Failure> {
        let max_bytes: i32 = options.required_number(&MAX_BYTES)?;
        let max_message_size: i32 = options.required_number(&MAX_MESSAGE_SIZE)?;
        let print_data = options.has(&PRINT_DATA_LOG) || DECODER_OPTIONS.iter().any(|option| options.has(option));
        Ok(Self {
            print_data,
            deep: print_data || options.has(&DEEP_ITERATION),
            metadata: !options.has(&SKIP_RECORD_METADATA),
            verify_only: options.has(&VERIFY_INDEX_ONLY),
            sanity_only: options.has(&INDEX_SANITY_CHECK),
            max_message_size: u64::from(max_message_size.max(0).unsigned_abs()),
            max_bytes: (max_bytes != i32::MAX).then(|| u64::from(max_bytes.max(0).unsigned_abs())),
            kind: Kind::of(options)?,
        })
    }
}

/// Mismatches, to be printed at the end. Pairs are the value of one side, then of the other.
#[derive(Default)]
struct Found {
    index_mismatches: Vec<(PathBuf, Vec<(i64, i64)>)>,
    timestamp_mismatches: Vec<(PathBuf, Vec<(i64, i64)>)>,
    out_of_order: Vec<(PathBuf, Vec<(i64, i64)>)>,
    not_found: Vec<(PathBuf, Vec<(i64, i64)>)>,
    gaps: Vec<(PathBuf, Vec<(i64, i64)>)>,
}

impl Found {
    fn add(list: &mut Vec<(PathBuf, Vec<(i64, i64)>)>, path: &Path, pair: (i64, i64)) {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        match list.iter_mut().find(|(known, _)| *known == path) {
            Some((_, pairs)) => pairs.push(pair),
            None => list.push((path, vec![pair])),
        }
    }

    fn say(&self) {
        // Kafka's tool prints these two with the last first.
        for (path, pairs) in &self.index_mismatches {
            terminal::say(format_args!("Mismatches in :{}", path.display()));
            for (index, log) in pairs.iter().rev() {
                terminal::say(format_args!("  Index offset: {index}, log offset: {log}"));
            }
        }
        for (path, pairs) in &self.timestamp_mismatches {
            terminal::say(format_args!("Found timestamp mismatch in :{}", path.display()));
            for (index, log) in pairs {
                terminal::say(format_args!("  Index timestamp: {index}, log timestamp: {log}"));
            }
        }
        for (path, pairs) in &self.out_of_order {
            terminal::say(format_args!("Found out of order timestamp in :{}", path.display()));
            for (index, before) in pairs {
                terminal::say(format_args!("  Index timestamp: {index}, Previously indexed timestamp: {before}"));
            }
        }
        for (_, pairs) in &self.not_found {
            terminal::say("The following indexed offsets are not found in the log.");
            for (index, log) in pairs {
                terminal::say(format_args!("Indexed offset: {index}, found log offset: {log}"));
            }
        }
        for (path, pairs) in &self.gaps {
            terminal::say(format_args!("Non-consecutive offsets in {}", path.display()));
            for (first, second) in pairs.iter().rev() {
                terminal::say(format_args!("  {first} is followed by {second}"));
            }
        }
    }
}

/// The log of a segment, read one batch at a time.
struct LogFile<'a> {
    path: &'a Path,
    map: FileMap,
}

impl<'a> LogFile<'a> {
    fn open(path: &'a Path) -> Result<Self, Failure> {
        Ok(Self { path, map: FileMap::open(path).map_err(|e| unreadable(path, &e))? })
    }

    /// The bytes of the batch at `position`; None where no whole batch ends before `end`.
    fn batch_at(&self, position: u64, end: u64) -> Result<Option<&[u8]>, Failure> {
        let end = end.min(self.map.len());
        if position + PREFIX_LEN as u64 >= end {
            return Ok(None);
        }
        let prefix = self.read(position, PREFIX_LEN)?;
        let length = i32::from_be_bytes([prefix[8], prefix[9], prefix[10], prefix[11]]);
        if length < RECORD_OVERHEAD_V0 {
            return Err(uncaught(format_args!(
                "org.apache.kafka.common.errors.CorruptRecordException: Found record size {length} smaller than minimum \
                 record overhead ({RECORD_OVERHEAD_V0}) in file {}.",
                self.path.display()
            )));
        }
        let size = LOG_OVERHEAD + length.unsigned_abs() as usize;
        if position + size as u64 > end {
            return Ok(None);
        }
        self.read(position, size).map(Some)
    }

    fn read(&self, position: u64, len: usize) -> Result<&[u8], Failure> {
        self.map.read(position, len).map_err(|e| unreadable(self.path, &e))
    }
}

fn batch_of(bytes: &[u8]) -> Result<Batch<'_>, Failure> {
    let truncated = || uncaught("org.apache.kafka.common.errors.CorruptRecordException: truncated batch");
    Batch::first(bytes).map_err(|e| corrupt(&e))?.ok_or_else(truncated)
}

/// The offset that a segment's files are named after.
fn base_offset(path: &Path) -> Result<i64, Failure> {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let digits = name.split('.').next().unwrap_or_default();
    digits
        .parse()
        .map_err(|_| uncaught(format_args!("java.lang.NumberFormatException: For input string: \"{digits}\"")))
}

fn sibling(path: &Path, extension: &str) -> PathBuf {
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    path.with_file_name(format!("{}.{extension}", name.split('.').next().unwrap_or_default()))
}

fn dump_log(path: &Path, plan: &Plan, found: &mut Found, out: &mut Output) -> Result<(), Failure> {
    let decoders = Decoders::new(&plan.kind, out)?;
    writeln!(out, "Log starting offset: {}", base_offset(path)?)?;
    let log = LogFile::open(path)?;
    let end = plan.max_bytes.unwrap_or(u64::MAX).min(log.map.len());
    let mut position = 0;
    let mut last_offset = None;
    while let Some(bytes) = log.batch_at(position, end)? {
        let batch = batch_of(bytes)?;
        print_batch(&batch, position, out)?;
        if plan.deep {
            print_records(&batch, plan, &decoders, out, |offset| {
                if let Some(last) = last_offset.replace(offset).filter(|last| offset != last + 1) {
                    Found::add(&mut found.gaps, path, (last, offset));
                }
            })?;
        }
        position += bytes.len() as u64;
    }
    if position < log.map.len() && plan.max_bytes.is_none() {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        writeln!(out, "Found {} invalid bytes at the end of {name}", log.map.len() - position)?;
    }
    Ok(())
}

fn print_batch(batch: &Batch<'_>, position: u64, out: &mut Output) -> Result<(), Failure> {
    match batch.records_count() {
        Some(count) => write!(
            out,
            "baseOffset: {} lastOffset: {} count: {count} baseSequence: {} lastSequence: {} producerId: {} producerEpoch: {} \
             partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {}",
            batch.base_offset(),
            batch.last_offset(),
            batch.base_sequence(),
            batch.last_sequence(),
            batch.producer_id(),
            batch.producer_epoch(),
            batch.partition_leader_epoch(),
            batch.is_transactional(),
            batch.is_control(),
            optional_long(batch.delete_horizon()),
        )?,
        None => write!(out, "offset: {}", batch.last_offset())?,
    }
    writeln!(
        out,
        " position: {position} {}: {} size: {} magic: {} compresscodec: {} crc: {} isvalid: {}",
        timestamp_type(batch),
        batch.max_timestamp(),
        batch.size(),
        batch.magic(),
        batch.codec().map_or("unknown", |codec| codec.name()),
        batch.crc(),
        batch.check_crc().is_ok()
    )?;
    Ok(())
}

fn timestamp_type(batch: &Batch<'_>) -> &'static str {
    match batch.timestamp_type() {
        _ if batch.magic() == 0 => "NoTimestampType",
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

fn optional_long(value: Option<i64>) -> String {
    value.map_or_else(|| "OptionalLong.empty".to_owned(), |value| format!("OptionalLong[{value}]"))
}

fn print_records(
    batch: &Batch<'_>,
    plan: &Plan,
    decoders: &Decoders,
    out: &mut Output,
    mut pass: impl FnMut(i64),
) -> Result<(), Failure> {
    if batch.magic() < 2 {
        let mut messages = legacy::messages(batch).map_err(|e| corrupt(&e))?;
        while let Some(message) = messages.next_message().map_err(|e| corrupt(&e))? {
            pass(message.offset);
            // Kafka's text has this brace.
            let checks = format!(" isValid: {} crc: {}}}", message.check_crc().is_ok(), message.crc());
            print_record(batch, &message.view(), &checks, plan, decoders, out)?;
        }
        return Ok(());
    }
    let mut reader = records(batch).map_err(|e| corrupt(&e))?;
    while let Some(record) = reader.next_record().map_err(|e| corrupt(&e))? {
        pass(record.offset);
        let keys: Vec<_> = record.headers.iter().map(|(key, _)| String::from_utf8_lossy(key).into_owned()).collect();
        let mut more = format!(" sequence: {} headerKeys: [{}]", record.sequence, keys.join(","));
        if batch.is_control() {
            more.push_str(&control(&record)?);
        }
        print_record(batch, &record, &more, plan, decoders, out)?;
    }
    Ok(())
}

fn control(record: &RecordView<'_>) -> Result<String, Failure> {
    let key = record.key.unwrap_or_default();
    let invalid = |e: RecordError| uncaught(format_args!("org.apache.kafka.common.InvalidRecordException: {e}"));
    let kind = ControlType::parse_key(key).map_err(invalid)?;
    let marker = EndTransactionMarker::parse(key, record.value.unwrap_or_default()).map_err(invalid)?;
    Ok(match (kind, marker) {
        (ControlType::Other(id), _) => format!(" controlType: UNKNOWN({id})"),
        (_, Some(marker)) => {
            let kind = if marker.committed { "COMMIT" } else { "ABORT" };
            format!(" endTxnMarker: {kind} coordinatorEpoch: {}", marker.coordinator_epoch)
        }
        (_, None) => String::new(),
    })
}

fn print_record(
    batch: &Batch<'_>,
    record: &RecordView<'_>,
    more: &str,
    plan: &Plan,
    decoders: &Decoders,
    out: &mut Output,
) -> Result<(), Failure> {
    let mut prefix = "| ";
    if plan.metadata {
        let size = |bytes: Option<&[u8]>| bytes.map_or(-1, |b| b.len() as i64);
        write!(
            out,
            "{prefix}offset: {} {}: {} keySize: {} valueSize: {}{more}",
            record.offset,
            timestamp_type(batch),
            record.timestamp,
            size(record.key),
            size(record.value)
        )?;
        prefix = " ";
    }
    if plan.print_data && !batch.is_control() {
        let (key, value) = decoders.texts(record)?;
        if let Some(key) = key {
            write!(out, "{prefix}key: {key}")?;
        }
        if let Some(value) = value {
            write!(out, " payload: {value}")?;
        }
    }
    writeln!(out)?;
    Ok(())
}

/// The entries of an offset index: offset and position. Zeros left by a crash are included.
fn offset_entries(path: &Path, base: i64) -> Result<(u64, Vec<(i64, u64)>), Failure> {
    let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
    let entry = |e: &[u8; OFFSET_INDEX_ENTRY]| {
        let [o0, o1, o2, o3, p0, p1, p2, p3] = *e;
        let offset = base + i64::from(u32::from_be_bytes([o0, o1, o2, o3]));
        (offset, u64::from(u32::from_be_bytes([p0, p1, p2, p3])))
    };
    Ok((bytes.len() as u64, bytes.as_chunks().0.iter().map(entry).collect()))
}

fn corrupt_index(text: std::fmt::Arguments<'_>) -> Failure {
    uncaught(format_args!("org.apache.kafka.storage.internals.log.CorruptIndexException: {text}"))
}

fn dump_index(path: &Path, plan: &Plan, found: &mut Found, out: &mut Output) -> Result<(), Failure> {
    let base = base_offset(path)?;
    let log_path = sibling(path, "log");
    let log = LogFile::open(&log_path)?;
    let (len, entries) = offset_entries(path, base)?;
    let Some(last) = entries.last() else {
        writeln!(out, "{} is empty.", path.display())?;
        return Ok(());
    };
    if plan.sanity_only {
        let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        if last.0 < base {
            return Err(corrupt_index(format_args!(
                "Corrupt index found, index file ({}) has non-zero size but the last offset is {} which is less than the base \
                 offset {base}",
                shown.display(),
                last.0
            )));
        }
        check_entry_size(&shown, len, OFFSET_INDEX_ENTRY, "Index file")?;
        writeln!(out, "{} passed sanity check.", path.display())?;
        return Ok(());
    }
    for (n, (offset, position)) in entries.into_iter().enumerate() {
        // A preallocated index is zero after its last entry.
        if offset == base && n > 0 {
            break;
        }
        if position > log.map.len() {
            return Err(uncaught(format_args!(
                "java.lang.IllegalArgumentException: Slice from position {position} exceeds end position of {}",
                log_path.display()
            )));
        }
        let Some(bytes) = log.batch_at(position, position + plan.max_message_size)? else {
            return Err(uncaught("java.util.NoSuchElementException"));
        };
        let last_offset = batch_of(bytes)?.last_offset();
        if last_offset != offset {
            Found::add(&mut found.index_mismatches, path, (offset, last_offset));
        }
        if !plan.verify_only {
            writeln!(out, "offset: {offset} position: {position}")?;
        }
    }
    Ok(())
}

fn check_entry_size(path: &Path, len: u64, entry: usize, what: &str) -> Result<(), Failure> {
    if len.is_multiple_of(entry as u64) {
        return Ok(());
    }
    Err(corrupt_index(format_args!(
        "{what} {} is corrupt, found {len} bytes which is neither positive nor a multiple of {entry}.",
        path.display()
    )))
}

fn dump_time_index(path: &Path, plan: &Plan, found: &mut Found, out: &mut Output) -> Result<(), Failure> {
    let base = base_offset(path)?;
    let log_path = sibling(path, "log");
    let log = LogFile::open(&log_path)?;
    let (_, offsets) = offset_entries(&sibling(path, "index"), base)?;
    let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
    let entry = |e: &[u8; TIME_INDEX_ENTRY]| {
        let [t0, t1, t2, t3, t4, t5, t6, t7, o0, o1, o2, o3] = *e;
        let timestamp = i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]);
        (timestamp, base + i64::from(u32::from_be_bytes([o0, o1, o2, o3])))
    };
    let entries: Vec<(i64, i64)> = bytes.as_chunks().0.iter().map(entry).collect();
    if plan.sanity_only {
        let shown = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        check_time_index(&shown, base, &entries)?;
        check_entry_size(&shown, bytes.len() as u64, TIME_INDEX_ENTRY, "Time index file")?;
        writeln!(out, "{} passed sanity check.", path.display())?;
        return Ok(());
    }
    let mut previous = NO_TIMESTAMP;
    for (n, (timestamp, offset)) in entries.into_iter().enumerate() {
        if offset == base && n > 0 {
            break;
        }
        let before = offsets.iter().enumerate().take_while(|(n, (o, _))| *n == 0 || *o > base);
        let start = before.map(|(_, entry)| entry).take_while(|(o, _)| *o <= offset).last().map_or(0, |(_, at)| *at);
        match batch_with(&log, start, offset)? {
            None => Found::add(&mut found.not_found, path, (offset, -1)),
            Some(bytes) => {
                let batch = batch_of(bytes)?;
                if batch.last_offset() == offset {
                    let newest = newest_timestamp(&batch)?;
                    if newest != timestamp {
                        Found::add(&mut found.timestamp_mismatches, path, (timestamp, newest));
                    }
                    if previous >= timestamp {
                        Found::add(&mut found.out_of_order, path, (timestamp, previous));
                    }
                } else {
                    Found::add(&mut found.not_found, path, (offset, batch.last_offset()));
                }
            }
        }
        if !plan.verify_only {
            writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
        }
        previous = timestamp;
    }
    Ok(())
}

/// Kafka: `TimeIndex.sanityCheck`.
fn check_time_index(path: &Path, base: i64, entries: &[(i64, i64)]) -> Result<(), Failure> {
    let (Some((first, _)), Some((last, offset))) = (entries.first(), entries.last()) else { return Ok(()) };
    if last < first {
        return Err(corrupt_index(format_args!(
            "Corrupt time index found, time index file ({}) has non-zero size but the last timestamp is {last} which is less \
             than the first timestamp {first}",
            path.display()
        )));
    }
    if *offset < base {
        return Err(corrupt_index(format_args!(
            "Corrupt time index found, time index file ({}) has non-zero size but the last offset is {offset} which is less \
             than the first offset {base}",
            path.display()
        )));
    }
    Ok(())
}

/// The first batch from `position` on that reaches to `offset`.
fn batch_with<'a>(log: &'a LogFile<'_>, mut position: u64, offset: i64) -> Result<Option<&'a [u8]>, Failure> {
    while let Some(bytes) = log.batch_at(position, u64::MAX)? {
        if batch_of(bytes)?.last_offset() >= offset {
            return Ok(Some(bytes));
        }
        position += bytes.len() as u64;
    }
    Ok(None)
}

fn newest_timestamp(batch: &Batch<'_>) -> Result<i64, Failure> {
    let mut newest = NO_TIMESTAMP;
    let mut reader = records(batch).map_err(|e| corrupt(&e))?;
    while let Some(record) = reader.next_record().map_err(|e| corrupt(&e))? {
        newest = newest.max(record.timestamp);
    }
    Ok(newest)
}

fn dump_producer_snapshot(path: &Path, out: &mut Output) -> Result<(), Failure> {
    let bytes = std::fs::read(path).map_err(|e| unreadable(path, &e))?;
    let entries = match ProducerState::decode_snapshot(&bytes) {
        Ok(entries) => entries,
        Err(e) => {
            out.flush()?;
            let text = e.to_string();
            let (first, rest) = text.split_at(text.len().min(1));
            terminal::say(format_args!("{}{rest}", first.to_uppercase()));
            return Ok(());
        }
    };
    for (producer_id, entry) in entries {
        write!(
            out,
            "producerId: {producer_id} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {} lastTimestamp: {} ",
            entry.producer_epoch,
            entry.coordinator_epoch,
            optional_long(entry.current_txn_first_offset),
            entry.last_timestamp
        )?;
        if let Some(batch) = entry.batches().first() {
            write!(
                out,
                "firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                batch.first_sequence(),
                batch.last_sequence,
                batch.last_offset,
                batch.offset_delta,
                batch.timestamp
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn dump_txn_index(path: &Path, out: &mut Output) -> Result<(), Failure> {
    let all = read_aborted(path).map_err(|e| match e {
        TxnIndexError::Io(e) => unreadable(path, &e),
        TxnIndexError::Corrupt(why) => corrupt_index(format_args!("{why}")),
    })?;
    for txn in all {
        writeln!(
            out,
            "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            txn.producer_id, txn.first_offset, txn.last_offset, txn.last_stable_offset
        )?;
    }
    Ok(())
}
