//! Owns the records of `__transaction_state`: a transactional id's state under its id, or a tombstone. Kafka:
//! `TransactionLog`. Pure.

use super::state::{ProducerIdAndEpoch, TransactionMetadata, TransactionState, Transit};
use crate::common::ids::{Offset, TopicPartition};
use crate::coordinator::runtime::Record;
use crate::protocol::internal::txn::{PartitionsSchema, TransactionLogKey, TransactionLogValue};
use crate::protocol::internal::{read_versioned, versioned};
use crate::protocol::{EncodeError, Str};
use crate::record::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, RecordError, RecordView, batches, records};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The versions that a 3.9 broker in ZooKeeper mode writes. Newer values need a feature level that only KRaft has.
const KEY_VERSION: i16 = 0;
const VALUE_VERSION: i16 = 0;

/// The record of a transactional id. No state is a tombstone.
pub(super) fn record(transactional_id: &str, state: Option<&Transit>) -> Result<Record, EncodeError> {
    let key = TransactionLogKey { transactional_id: transactional_id.into(), ..Default::default() };
    let value = state.map(|state| versioned(&value_of(state), VALUE_VERSION)).transpose()?;
    Ok(Record { key: versioned(&key, KEY_VERSION)?, value })
}

fn value_of(state: &Transit) -> TransactionLogValue {
    let partitions = (state.state != TransactionState::Empty).then(|| {
        let mut topics: Vec<PartitionsSchema> = Vec::new();
        for tp in &state.partitions {
            match topics.last_mut() {
                Some(last) if *last.topic == *tp.topic => last.partition_ids.push(tp.partition),
                _ => topics.push(PartitionsSchema {
                    topic: Str::from(&*tp.topic),
                    partition_ids: vec![tp.partition],
                    ..Default::default()
                }),
            }
        }
        topics
    });
    TransactionLogValue {
        producer_id: state.producer.producer_id,
        producer_epoch: state.producer.epoch,
        transaction_timeout_ms: state.timeout_ms,
        transaction_status: state.state as i8,
        transaction_partitions: partitions,
        transaction_last_update_timestamp_ms: state.updated,
        transaction_start_timestamp_ms: state.started,
        ..Default::default()
    }
}

/// What the log says, as far as it has been read.
#[derive(Debug, Default)]
pub(super) struct Loader {
    transactions: BTreeMap<Arc<str>, TransactionMetadata>,
}

/// A record, or a batch, that says nothing a coordinator can use.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub offset: Offset,
    pub why: String,
}

impl Loader {
    /// Takes over the batches of a part of the log, in order. Returns the offset behind the last whole batch, None when
    /// there is none. What cannot be read is handed to `complain` and passed over: Kafka stops loading there, and serves
    /// without all that follows.
    pub(super) fn read(&mut self, log: &[u8], mut complain: impl FnMut(Unreadable)) -> Option<Offset> {
        let mut next = None;
        for entry in batches(log) {
            let batch = match entry {
                Ok(batch) => batch,
                Err(error) => {
                    complain(Unreadable { offset: next.unwrap_or(-1), why: error.to_string() });
                    break;
                }
            };
            next = Some(batch.next_offset());
            if batch.is_control() {
                continue;
            }
            let unreadable = |error: &RecordError| Unreadable { offset: batch.base_offset(), why: error.to_string() };
            let mut reader = match records(&batch) {
                Ok(reader) => reader,
                Err(error) => {
                    complain(unreadable(&error));
                    continue;
                }
            };
            loop {
                match reader.next_record() {
                    Ok(Some(record)) => {
                        if let Err(why) = self.take(&record) {
                            complain(Unreadable { offset: record.offset, why });
                        }
                    }
                    Ok(None) => break,
                    Err(error) => {
                        complain(unreadable(&error));
                        break;
                    }
                }
            }
        }
        next
    }

    pub(super) fn finish(self) -> BTreeMap<Arc<str>, TransactionMetadata> {
        self.transactions
    }

    fn take(&mut self, record: &RecordView<'_>) -> Result<(), String> {
        let key = record.key.ok_or("no key")?;
        let (_, key) = read_versioned::<TransactionLogKey>(Bytes::copy_from_slice(key)).map_err(|e| e.to_string())?;
        let Some(value) = record.value else {
            self.transactions.remove(&*key.transactional_id);
            return Ok(());
        };
        let (_, value) =
            read_versioned::<TransactionLogValue>(Bytes::copy_from_slice(value)).map_err(|e| e.to_string())?;
        self.transactions.insert(Arc::from(&*key.transactional_id), metadata_of(value)?);
        Ok(())
    }
}

fn metadata_of(value: TransactionLogValue) -> Result<TransactionMetadata, String> {
    let status = value.transaction_status;
    let state = TransactionState::from_log(status).ok_or_else(|| format!("unknown transaction status {status}"))?;
    let (producer_id, epoch) = (value.producer_id, value.producer_epoch);
    if producer_id < 0 || epoch < 0 {
        return Err(format!("producer {producer_id} with epoch {epoch}"));
    }
    let topics = value.transaction_partitions.unwrap_or_default();
    let partitions = topics.into_iter().flat_map(|topic| {
        let name: Arc<str> = Arc::from(&*topic.topic);
        topic.partition_ids.into_iter().map(move |partition| TopicPartition { topic: Arc::clone(&name), partition })
    });
    let has_partitions = state.markers().is_some() || state == TransactionState::Ongoing;
    Ok(TransactionMetadata {
        state,
        producer: ProducerIdAndEpoch { producer_id, epoch },
        last_producer: ProducerIdAndEpoch { producer_id: NO_PRODUCER_ID, epoch: NO_PRODUCER_EPOCH },
        timeout_ms: value.transaction_timeout_ms,
        partitions: partitions.filter(|_| has_partitions).collect(),
        started: value.transaction_start_timestamp_ms,
        updated: value.transaction_last_update_timestamp_ms,
        pending: None,
        failed_epoch_fence: false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::state::NO_START;
    use super::*;
    use crate::common::ids::Millis;
    use crate::record::{BatchBuilder, BatchOptions};

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    fn ongoing() -> Transit {
        Transit {
            state: TransactionState::Ongoing,
            producer: ProducerIdAndEpoch { producer_id: 4_000, epoch: 3 },
            last_producer: ProducerIdAndEpoch { producer_id: 4_000, epoch: -1 },
            timeout_ms: 60_000,
            partitions: [TopicPartition::new("t1", 0), TopicPartition::new("t1", 5)].into(),
            started: 1_700_000_000_000,
            updated: 1_700_000_000_005,
        }
    }

    fn batch(records: &[Record], now: Millis) -> Option<Bytes> {
        let mut builder = BatchBuilder::new(BatchOptions::default()).ok()?;
        for record in records {
            builder.append(now, Some(&record.key), record.value.as_deref(), &[]).ok()?;
        }
        builder.finish().ok()
    }

    fn load(log: &[u8]) -> (BTreeMap<Arc<str>, TransactionMetadata>, Vec<Unreadable>, Option<Offset>) {
        let (mut loader, mut complaints) = (Loader::default(), Vec::new());
        let next = loader.read(log, |complaint| complaints.push(complaint));
        (loader.finish(), complaints, next)
    }

    /// The bytes that Kafka 3.9.0 printed.
    #[test]
    fn records_are_the_bytes_of_kafka() {
        let written = record("tx1", Some(&ongoing())).unwrap();
        assert_eq!(written.key, hex("00000003747831"));
        assert_eq!(
            written.value.unwrap(),
            hex(
                "00000000000000000fa000030000ea600100000001000274310000000200000000000000050000018bcfe568050000018bcfe56800"
            )
        );
        let empty = Transit {
            state: TransactionState::Empty,
            producer: ProducerIdAndEpoch { producer_id: 4_000, epoch: 0 },
            partitions: Default::default(),
            started: NO_START,
            ..ongoing()
        };
        assert_eq!(
            record("tx1", Some(&empty)).unwrap().value.unwrap(),
            hex("00000000000000000fa000000000ea6000ffffffff0000018bcfe56805ffffffffffffffff")
        );
    }

    #[test]
    fn what_was_written_is_loaded_and_tombstones_bury_it() {
        let records = [
            record("a", Some(&ongoing())).unwrap(),
            record("b", Some(&ongoing())).unwrap(),
            record("a", None).unwrap(),
        ];
        let (loaded, complaints, next) = load(&batch(&records, 5).unwrap());
        assert_eq!((complaints, next), (vec![], Some(3)));
        assert_eq!(loaded.keys().map(|id| &**id).collect::<Vec<_>>(), ["b"]);
        let b = &loaded["b"];
        assert_eq!((b.state, b.partitions.len(), b.started), (TransactionState::Ongoing, 2, 1_700_000_000_000));
        assert_eq!(b.last_producer.producer_id, -1, "the log does not say who was before");
    }

    #[test]
    fn a_record_that_says_nothing_is_passed_over_and_named() {
        let good = record("good", Some(&ongoing())).unwrap();
        let with = |at: usize, byte: u8| {
            let mut value = good.value.clone().unwrap().to_vec();
            value[at] = byte;
            Record { value: Some(value.into()), ..record("bad", None).unwrap() }
        };
        let bad = [
            with(1, 9),
            with(2, 0xff),
            with(10, 0xff),
            with(16, 6),
            with(20, 0xff),
            Record { key: Bytes::from_static(&[0, 1, 0, 0]), value: None },
            Record { key: Bytes::new(), value: None },
        ];
        for bad in bad {
            let (loaded, complaints, next) = load(&batch(&[bad, good.clone()], 5).unwrap());
            assert_eq!(loaded.keys().map(|id| &**id).collect::<Vec<_>>(), ["good"]);
            assert_eq!(complaints.iter().map(|c| c.offset).collect::<Vec<_>>(), [0], "{complaints:?}");
            assert_eq!(next, Some(2));
        }
    }

    #[test]
    fn values_of_a_version_to_come_that_3_9_reads_are_read() {
        let value = versioned(&value_of(&ongoing()), 1).unwrap();
        let newer = Record { value: Some(value), ..record("t", None).unwrap() };
        let (loaded, complaints, _) = load(&batch(&[newer], 5).unwrap());
        assert_eq!((complaints, loaded["t"].partitions.len()), (vec![], 2));
    }

    #[test]
    fn no_byte_of_a_batch_can_stop_a_load() {
        let good = batch(&[record("t", Some(&ongoing())).unwrap()], 5).unwrap();
        for at in 0..good.len() {
            for flip in [1, 0x80, 0xff] {
                let mut bad = good.to_vec();
                bad[at] ^= flip;
                load(&bad);
            }
            load(&good[..at]);
        }
    }
}
