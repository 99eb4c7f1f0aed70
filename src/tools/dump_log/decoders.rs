//! Owns the decoding of keys and values of a log into text. Kafka: `DumpLogSegments.MessageParser` and its kinds,
//! `TransactionLog.formatRecordKeyAndValue`. Custom decoders are Java classes, and those of KRaft and tiered storage
//! read records that no log here contains: both are refused.

use super::{
    CLUSTER_METADATA_DECODER, KEY_DECODER_CLASS, OFFSETS_DECODER, REMOTE_LOG_METADATA_DECODER, TRANSACTION_LOG_DECODER,
    VALUE_DECODER_CLASS, uncaught,
};
use crate::coordinator::transaction::state::TransactionState;
use crate::protocol::DecodeError;
use crate::protocol::codec::Message;
use crate::protocol::internal::read_versioned;
use crate::protocol::internal::txn::{TransactionLogKey, TransactionLogValue};
use crate::record::RecordView;
use crate::tools::support::admin::scala_partition_set;
use crate::tools::support::coordinator_json::{CoordinatorRecord, JsonError};
use crate::tools::support::options::{Opt, Options};
use crate::tools::support::terminal::{Failure, Output};
use bytes::Bytes;
use serde_json::{Value, json};
use std::io::Write;

/// Options that turn the printing of keys and values on.
pub(super) const DECODER_OPTIONS: [&Opt; 6] = [
    &OFFSETS_DECODER,
    &TRANSACTION_LOG_DECODER,
    &CLUSTER_METADATA_DECODER,
    &REMOTE_LOG_METADATA_DECODER,
    &VALUE_DECODER_CLASS,
    &KEY_DECODER_CLASS,
];

/// The kind of records in the dumped logs.
pub(super) enum Kind {
    Plain { value_class: String, key_class: String },
    Offsets,
    Transactions,
}

impl Kind {
    pub(super) fn of(options: &Options) -> Result<Self, Failure> {
        if options.has(&OFFSETS_DECODER) {
            return Ok(Self::Offsets);
        }
        if options.has(&TRANSACTION_LOG_DECODER) {
            return Ok(Self::Transactions);
        }
        if options.has(&CLUSTER_METADATA_DECODER) || options.has(&REMOTE_LOG_METADATA_DECODER) {
            return Err(Failure::message("Logs of KRaft and of tiered storage are not supported"));
        }
        Ok(Self::Plain {
            value_class: options.required(&VALUE_DECODER_CLASS)?.to_owned(),
            key_class: options.required(&KEY_DECODER_CLASS)?.to_owned(),
        })
    }
}

/// The decoders of one log.
pub(super) enum Decoders {
    Plain { value: Decoder, key: Decoder },
    Offsets,
    Transactions,
}

impl Decoders {
    /// Kafka's tool creates them, and prints their deprecation warnings, once per log.
    pub(super) fn new(kind: &Kind, out: &mut Output) -> Result<Self, Failure> {
        Ok(match kind {
            Kind::Plain { value_class, key_class } => {
                let value = Decoder::of_class(value_class, out)?;
                Self::Plain { value, key: Decoder::of_class(key_class, out)? }
            }
            Kind::Offsets => Self::Offsets,
            Kind::Transactions => Self::Transactions,
        })
    }

    /// Key and value, where there is something to print.
    pub(super) fn texts(&self, record: &RecordView<'_>) -> Result<(Option<String>, Option<String>), Failure> {
        match self {
            Self::Plain { value, key } => {
                let key = record.key.map(|bytes| key.text(bytes)).transpose()?;
                Ok((key, record.value.map(|bytes| value.text(bytes)).transpose()?))
            }
            Self::Offsets => offsets_record(record),
            Self::Transactions => transactions_record(record),
        }
    }
}

/// How plain keys and values become text.
pub(super) enum Decoder {
    String,
    Integer,
    Long,
}

impl Decoder {
    fn of_class(class: &str, out: &mut Output) -> Result<Self, Failure> {
        let name = match class.strip_prefix("kafka.serializer.") {
            Some(name) => {
                writeln!(out, "{class} is deprecated. Please use org.apache.kafka.tools.api.{name} instead")?;
                Some(name)
            }
            None => class.strip_prefix("org.apache.kafka.tools.api."),
        };
        match name {
            Some("StringDecoder") => Ok(Self::String),
            Some("IntegerDecoder") => Ok(Self::Integer),
            Some("LongDecoder") => Ok(Self::Long),
            // Kafka prints the address of the bytes, not the bytes.
            Some("DefaultDecoder") => Err(Failure::message("DefaultDecoder is not supported: it yields no text")),
            _ => Err(uncaught(format_args!("java.lang.ClassNotFoundException: {class}"))),
        }
    }

    fn text(&self, bytes: &[u8]) -> Result<String, Failure> {
        let too_short = || uncaught("java.nio.BufferUnderflowException");
        Ok(match self {
            Self::String => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer => i32::from_be_bytes(*bytes.first_chunk().ok_or_else(too_short)?).to_string(),
            Self::Long => i64::from_be_bytes(*bytes.first_chunk().ok_or_else(too_short)?).to_string(),
        })
    }
}

/// A record that cannot be read is reported in its place, and the next one follows.
fn offsets_record(record: &RecordView<'_>) -> Result<(Option<String>, Option<String>), Failure> {
    let offset = record.offset;
    let Some(key) = record.key else {
        return Err(uncaught(format_args!(
            "java.lang.RuntimeException: Failed to decode message at offset {offset} using offset topic decoder (message had \
             a missing key)"
        )));
    };
    let text = |name: &str, (version, data): (i16, Value)| json!({name: version.to_string(), "data": data}).to_string();
    Ok(match CoordinatorRecord::read(key, record.value) {
        Ok(read) => {
            let value = read.value.map_or_else(|| "<DELETE>".to_owned(), |value| text("version", value));
            (Some(text("type", read.key)), Some(value))
        }
        Err(JsonError::UnknownType(kind)) => {
            (Some(format!("Unknown record type {kind} at offset {offset}, skipping.")), None)
        }
        Err(e) => (Some(format!("Error at offset {offset}, skipping. {e}")), None),
    })
}

fn transactions_record(record: &RecordView<'_>) -> Result<(Option<String>, Option<String>), Failure> {
    let unreadable = |e: DecodeError| uncaught(format_args!("java.lang.RuntimeException: {e}"));
    let key = record.key.ok_or_else(|| uncaught("java.lang.NullPointerException"))?;
    let version = key.first_chunk().map(|first| i16::from_be_bytes(*first));
    if let Some(version) = version.filter(|version| !TransactionLogKey::VERSIONS.contains(version)) {
        return Ok((Some(format!("unknown::version={version}")), None));
    }
    let (_, key): (_, TransactionLogKey) = read_versioned(Bytes::copy_from_slice(key)).map_err(unreadable)?;
    let key = format!("transaction_metadata::transactionalId={}", &*key.transactional_id);
    let Some(value) = record.value else { return Ok((Some(key), Some("<DELETE>".to_owned()))) };
    let (_, value): (_, TransactionLogValue) = read_versioned(Bytes::copy_from_slice(value)).map_err(unreadable)?;
    let status = value.transaction_status;
    let state = TransactionState::from_log(status).ok_or_else(|| {
        uncaught(format_args!(
            "java.lang.IllegalStateException: Unknown transaction state id {status} from the transaction status message"
        ))
    })?;
    let partitions = match value.transaction_partitions {
        Some(topics) if state != TransactionState::Empty => scala_partition_set(&topics),
        _ => Vec::new(),
    };
    let text = format!(
        "producerId:{},producerEpoch:{},state={},partitions=[{}],txnLastUpdateTimestamp={},txnTimeoutMs={}",
        value.producer_id,
        value.producer_epoch,
        state.name(),
        partitions.join(","),
        value.transaction_last_update_timestamp_ms,
        value.transaction_timeout_ms
    );
    Ok((Some(key), Some(text)))
}
