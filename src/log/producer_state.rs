//! Owns what a log knows about its producers: sequences for idempotence, open transactions, the last stable offset.
//! Kafka: `ProducerStateManager`, `ProducerAppendInfo`, `ProducerStateEntry`. Pure: times come in, files are elsewhere.
//!
//! A snapshot is the state before an offset, big endian:
//!
//! ```text
//! 0 version i16 = 1   2 crc-32c of all that follows u32   6 number of producers i32, then 46 bytes for each:
//!  0 producer id i64    10 last sequence i32   22 offset delta i32   34 coordinator epoch i32
//!  8 producer epoch i16 14 last offset i64     26 timestamp i64      38 first offset of the open transaction i64
//! ```
//!
//! It keeps only the last batch of each producer; memory keeps five.

use crate::common::ids::{Millis, Offset};
use crate::common::java;
use crate::record::batch::increment_sequence;
use crate::record::{NO_PRODUCER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP};
use crate::util::checksum;
use std::collections::BTreeMap;

/// Batches of a producer that are recognised when they come again: as many as a client has in flight.
pub const BATCHES_TO_RETAIN: usize = 5;

const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEADER: usize = 10;
const SNAPSHOT_ENTRY: usize = 46;

/// Who appends: decides which rules a batch must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A produce request.
    Client,
    /// A coordinator of this broker.
    Coordinator,
    /// A leader's log, or our own when it is read again: it has been accepted once and is only noted.
    Replication,
}

/// A batch that was appended, as much of it as shows whether it is sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchMetadata {
    pub last_sequence: i32,
    pub last_offset: Offset,
    pub offset_delta: i32,
    pub timestamp: Millis,
}

impl BatchMetadata {
    pub fn first_sequence(&self) -> i32 {
        // Sequences wrap from 2^31-1 to 0.
        if self.last_sequence < self.offset_delta {
            i32::MAX - (self.offset_delta - self.last_sequence) + 1
        } else {
            self.last_sequence - self.offset_delta
        }
    }

    pub fn first_offset(&self) -> Offset {
        self.last_offset - i64::from(self.offset_delta)
    }
}

/// One producer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerEntry {
    pub producer_epoch: i16,
    /// Of the last transaction marker, -1 without one.
    pub coordinator_epoch: i32,
    pub last_timestamp: Millis,
    pub current_txn_first_offset: Option<Offset>,
    batches: [BatchMetadata; BATCHES_TO_RETAIN],
    batch_count: u8,
}

impl ProducerEntry {
    const EMPTY: Self = Self {
        producer_epoch: NO_PRODUCER_EPOCH,
        coordinator_epoch: -1,
        last_timestamp: NO_TIMESTAMP,
        current_txn_first_offset: None,
        batches: [BatchMetadata { last_sequence: 0, last_offset: 0, offset_delta: 0, timestamp: 0 }; BATCHES_TO_RETAIN],
        batch_count: 0,
    };

    /// Oldest first.
    pub fn batches(&self) -> &[BatchMetadata] {
        &self.batches[..usize::from(self.batch_count)]
    }

    pub fn last_batch(&self) -> Option<&BatchMetadata> {
        self.batches().last()
    }

    /// -1 without batches.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    fn push(&mut self, batch: BatchMetadata) {
        if usize::from(self.batch_count) == BATCHES_TO_RETAIN {
            self.batches.rotate_left(1);
        } else {
            self.batch_count += 1;
        }
        self.batches[usize::from(self.batch_count) - 1] = batch;
    }

    fn set_epoch(&mut self, epoch: i16) {
        if self.producer_epoch != epoch {
            self.producer_epoch = epoch;
            self.batch_count = 0;
        }
    }

    fn absorb(&mut self, next: &Self) {
        self.set_epoch(next.producer_epoch);
        for batch in next.batches() {
            self.push(*batch);
        }
        self.coordinator_epoch = next.coordinator_epoch;
        self.current_txn_first_offset = next.current_txn_first_offset;
        self.last_timestamp = next.last_timestamp;
    }

    fn is_expired(&self, now: Millis, expiration_ms: Millis) -> bool {
        self.current_txn_first_offset.is_none() && now.saturating_sub(self.last_timestamp) >= expiration_ms
    }
}

/// What a batch is besides data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    Data,
    /// The end of a transaction, with the timestamp of its record.
    Marker {
        commit: bool,
        coordinator_epoch: i32,
        timestamp: Millis,
    },
    /// A control batch that says nothing about producers: emptied by compaction, or of another type.
    OtherControl,
}

/// The part of a batch with a producer id that counts here.
#[derive(Clone, Copy, Debug)]
pub struct ProducerBatch {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub base_offset: Offset,
    pub last_offset: Offset,
    pub max_timestamp: Millis,
    pub is_transactional: bool,
    pub kind: BatchKind,
}

impl ProducerBatch {
    fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.offset_delta())
        }
    }

    fn offset_delta(&self) -> i32 {
        self.last_offset.wrapping_sub(self.base_offset) as i32
    }
}

/// A transaction whose marker was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompletedTxn {
    pub producer_id: i64,
    pub first_offset: Offset,
    /// Offset of the marker.
    pub last_offset: Offset,
    pub is_aborted: bool,
}

/// Why a batch must not be appended. The texts are for the broker's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    #[error(
        "epoch of producer {producer_id} at offset {offset} is {epoch}, which is smaller than the last seen epoch {current}"
    )]
    InvalidEpoch { producer_id: i64, offset: Offset, epoch: i16, current: i16 },
    #[error(
        "out of order sequence number for producer {producer_id} at offset {offset}: {sequence} (incoming seq. number), \
         {current} (current end sequence number)"
    )]
    OutOfOrderSequence { producer_id: i64, offset: Offset, sequence: i32, current: i32 },
    #[error("record of producer {producer_id} was not part of an ongoing transaction")]
    NotInTransaction { producer_id: i64 },
    #[error("expected transactional write from producer {producer_id} at offset {offset}")]
    TransactionOpen { producer_id: i64, offset: Offset },
    #[error(
        "invalid coordinator epoch for producer {producer_id} at offset {offset}: {epoch} (zombie), {current} (current)"
    )]
    CoordinatorFenced { producer_id: i64, offset: Offset, epoch: i32, current: i32 },
}

/// A snapshot that is not one. The file is deleted and the next older one tried.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CorruptSnapshot(String);

/// Proof that a transaction was verified with its coordinator after this partition asked for it. Kafka:
/// `VerificationGuard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerificationGuard(u64);

#[derive(Clone, Debug)]
struct Verification {
    guard: VerificationGuard,
    since: Millis,
    lowest_sequence: i32,
    epoch: i16,
}

/// What one append does to one producer; kept aside until its bytes are written.
#[derive(Clone, Debug)]
struct Update {
    producer_id: i64,
    /// As it was, for the sequence check.
    current_epoch: i16,
    current_last_sequence: i32,
    entry: ProducerEntry,
}

/// The last transaction that is known to have begun, by the offset of its first record.
#[derive(Clone, Copy, Debug)]
struct Started {
    producer_id: i64,
    first_offset: Offset,
}

/// Knobs of the broker that every log shares.
#[derive(Clone, Copy, Debug)]
pub struct ProducerStateConfig {
    /// `producer.id.expiration.ms`.
    pub expiration_ms: Millis,
    /// `transaction.partition.verification.enable`.
    pub verify_transactions: bool,
}

/// All producers of one log.
#[derive(Clone, Debug)]
pub struct ProducerState {
    config: ProducerStateConfig,
    producers: BTreeMap<i64, ProducerEntry>,
    verifications: BTreeMap<i64, Verification>,
    next_guard: u64,
    /// Open transactions: first offset to producer.
    ongoing: BTreeMap<Offset, i64>,
    /// Completed transactions whose marker is not below the high watermark yet: first offset to marker.
    unreplicated: BTreeMap<Offset, Offset>,
    /// The state is that before this offset.
    map_end_offset: Offset,
    // What the append under way would change; cleared and filled again by each `prepare`.
    updates: Vec<Update>,
    started: Vec<Started>,
    completed: Vec<CompletedTxn>,
}

impl ProducerState {
    pub fn new(config: ProducerStateConfig) -> Self {
        Self {
            config,
            producers: BTreeMap::new(),
            verifications: BTreeMap::new(),
            next_guard: 1,
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            map_end_offset: 0,
            updates: Vec::new(),
            started: Vec::new(),
            completed: Vec::new(),
        }
    }

    pub fn producers(&self) -> &BTreeMap<i64, ProducerEntry> {
        &self.producers
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty() && self.unreplicated.is_empty()
    }

    pub fn map_end_offset(&self) -> Offset {
        self.map_end_offset
    }

    pub fn set_map_end_offset(&mut self, offset: Offset) {
        self.map_end_offset = offset;
    }

    pub fn has_ongoing_transaction(&self, producer_id: i64) -> bool {
        self.producers.get(&producer_id).is_some_and(|p| p.current_txn_first_offset.is_some())
    }

    /// The first offset that consumers of committed data may not see yet, whatever the high watermark.
    pub fn first_unstable_offset(&self) -> Option<Offset> {
        let ongoing = self.ongoing.first_key_value().map(|(first, _)| *first);
        let unreplicated = self.unreplicated.first_key_value().map(|(first, _)| *first);
        ongoing.into_iter().chain(unreplicated).min()
    }

    /// Whether a raised high watermark can move the first unstable offset.
    pub fn has_unreplicated(&self) -> bool {
        !self.unreplicated.is_empty()
    }

    pub fn on_high_watermark(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= high_watermark);
    }

    pub fn on_log_start(&mut self, log_start: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= log_start);
        self.map_end_offset = self.map_end_offset.max(log_start);
    }

    /// The batch that this one repeats, if it is one of the last five of its producer.
    pub fn duplicate_of(&self, batch: &ProducerBatch) -> Option<BatchMetadata> {
        let entry = self.producers.get(&batch.producer_id)?;
        let (first, last) = (batch.base_sequence, batch.last_sequence());
        entry
            .batches()
            .iter()
            .find(|b| {
                entry.producer_epoch == batch.producer_epoch && b.first_sequence() == first && b.last_sequence == last
            })
            .copied()
    }

    /// Starts the verification of a transaction's first append; `None` when the transaction is open already.
    pub fn start_verification(
        &mut self,
        producer_id: i64,
        sequence: i32,
        epoch: i16,
        now: Millis,
    ) -> Option<VerificationGuard> {
        if self.has_ongoing_transaction(producer_id) {
            return None;
        }
        let next_guard = &mut self.next_guard;
        let state = self.verifications.entry(producer_id).or_insert_with(|| {
            *next_guard += 1;
            Verification { guard: VerificationGuard(*next_guard), since: now, lowest_sequence: sequence, epoch }
        });
        if epoch == state.epoch {
            state.lowest_sequence = state.lowest_sequence.min(sequence);
        } else if epoch > state.epoch {
            state.epoch = epoch;
            state.lowest_sequence = sequence;
        }
        Some(state.guard)
    }

    /// Forgets the append that was prepared before.
    pub fn begin(&mut self) {
        self.updates.clear();
        self.started.clear();
        self.completed.clear();
    }

    /// Checks one batch of an append and keeps aside what it changes; [`Self::commit`] makes it true. The batches of one
    /// append come one after another, after [`Self::begin`].
    pub fn prepare(
        &mut self,
        batch: &ProducerBatch,
        origin: AppendOrigin,
        guard: Option<VerificationGuard>,
    ) -> Result<(), ProducerError> {
        let producer_id = batch.producer_id;
        if origin != AppendOrigin::Replication {
            let is_verified = || guard.is_some() && self.verifications.get(&producer_id).map(|v| v.guard) == guard;
            let must_be_verified = self.config.verify_transactions && batch.kind == BatchKind::Data;
            if batch.is_transactional
                && !self.has_ongoing_transaction(producer_id)
                && must_be_verified
                && !is_verified()
            {
                return Err(ProducerError::NotInTransaction { producer_id });
            }
        }
        if !self.updates.iter().any(|u| u.producer_id == producer_id) {
            let current = self.producers.get(&producer_id).unwrap_or(&ProducerEntry::EMPTY);
            let update = Update {
                producer_id,
                current_epoch: current.producer_epoch,
                current_last_sequence: current.last_sequence(),
                entry: ProducerEntry { batch_count: 0, ..current.clone() },
            };
            self.updates.push(update);
        }
        let lowest_verified = self.verifications.get(&producer_id).map(|v| v.lowest_sequence);
        let Some(update) = self.updates.iter_mut().find(|u| u.producer_id == producer_id) else { return Ok(()) };
        match batch.kind {
            BatchKind::Data => {
                if let Some(first_offset) = update.note_data(batch, origin, lowest_verified)? {
                    self.started.push(Started { producer_id, first_offset });
                }
            }
            BatchKind::Marker { commit, coordinator_epoch, timestamp } => {
                let ended = update.note_marker(batch, origin, coordinator_epoch, timestamp)?;
                self.completed.extend(ended.map(|first_offset| CompletedTxn {
                    producer_id,
                    first_offset,
                    last_offset: batch.base_offset,
                    is_aborted: !commit,
                }));
            }
            BatchKind::OtherControl => {}
        }
        // The first record or the marker is there: what was verified has happened.
        if batch.is_transactional {
            self.verifications.remove(&producer_id);
        }
        Ok(())
    }

    /// Makes the prepared append true. The transactions that it completes are handed to `on_completed` with the last
    /// stable offset for the transaction index, and are then no longer open.
    pub fn commit<E>(
        &mut self,
        end_offset: Offset,
        mut on_completed: impl FnMut(&CompletedTxn, Offset) -> Result<(), E>,
    ) -> Result<(), E> {
        for update in self.updates.drain(..) {
            self.producers.entry(update.producer_id).or_insert(ProducerEntry::EMPTY).absorb(&update.entry);
        }
        for started in self.started.drain(..) {
            self.ongoing.insert(started.first_offset, started.producer_id);
        }
        for txn in std::mem::take(&mut self.completed) {
            on_completed(&txn, self.last_stable_offset(&txn))?;
            self.ongoing.remove(&txn.first_offset);
            self.unreplicated.insert(txn.first_offset, txn.last_offset);
        }
        self.map_end_offset = end_offset;
        Ok(())
    }

    /// The last stable offset once `completed` has ended: the start of another open transaction, or what follows the
    /// marker.
    fn last_stable_offset(&self, completed: &CompletedTxn) -> Offset {
        self.ongoing
            .iter()
            .find(|(_, producer)| **producer != completed.producer_id)
            .map_or(completed.last_offset + 1, |(first, _)| *first)
    }

    pub fn remove_expired(&mut self, now: Millis) {
        let expiration_ms = self.config.expiration_ms;
        self.producers.retain(|_, entry| !entry.is_expired(now, expiration_ms));
        self.verifications.retain(|_, v| now.saturating_sub(v.since) < expiration_ms);
    }

    /// Forgets every producer; the state is then that of a log that begins at `offset`.
    pub fn reset(&mut self, offset: Offset) {
        self.producers.clear();
        self.ongoing.clear();
        self.unreplicated.clear();
        self.map_end_offset = offset;
    }

    /// Takes over a snapshot's producers, except expired ones. Call [`Self::reset`] first.
    pub fn load(&mut self, offset: Offset, entries: Vec<(i64, ProducerEntry)>, now: Millis) {
        for (producer_id, entry) in entries {
            if entry.is_expired(now, self.config.expiration_ms) {
                continue;
            }
            if let Some(first) = entry.current_txn_first_offset {
                self.ongoing.insert(first, producer_id);
            }
            self.producers.insert(producer_id, entry);
        }
        self.map_end_offset = offset;
    }

    pub fn encode_snapshot(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(SNAPSHOT_HEADER + self.producers.len() * SNAPSHOT_ENTRY);
        out.extend(SNAPSHOT_VERSION.to_be_bytes());
        out.extend([0; 4]);
        out.extend((self.producers.len() as i32).to_be_bytes());
        let mut ids: Vec<i64> = self.producers.keys().copied().collect();
        java::long_order(&mut ids);
        for id in ids {
            let p = &self.producers[&id];
            let last = p.last_batch();
            out.extend(id.to_be_bytes());
            out.extend(p.producer_epoch.to_be_bytes());
            out.extend(p.last_sequence().to_be_bytes());
            out.extend(last.map_or(-1, |b| b.last_offset).to_be_bytes());
            out.extend(last.map_or(0, |b| b.offset_delta).to_be_bytes());
            out.extend(p.last_timestamp.to_be_bytes());
            out.extend(p.coordinator_epoch.to_be_bytes());
            out.extend(p.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
        }
        let crc = checksum::crc32c(&out[6..]);
        out[2..6].copy_from_slice(&crc.to_be_bytes());
        out
    }

    pub fn decode_snapshot(bytes: &[u8]) -> Result<Vec<(i64, ProducerEntry)>, CorruptSnapshot> {
        let Some((header, body)) = bytes.split_first_chunk::<SNAPSHOT_HEADER>() else {
            return Err(CorruptSnapshot(format!("snapshot of {} bytes is too short", bytes.len())));
        };
        let version = i16::from_be_bytes([header[0], header[1]]);
        if version != SNAPSHOT_VERSION {
            return Err(CorruptSnapshot(format!("snapshot contained an unknown file version {version}")));
        }
        let stored = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let computed = checksum::crc32c(&bytes[6..]);
        if stored != computed {
            return Err(CorruptSnapshot(format!(
                "snapshot is corrupt (CRC is no longer valid). Stored crc: {stored}. Computed crc: {computed}"
            )));
        }
        let count = i32::from_be_bytes([header[6], header[7], header[8], header[9]]);
        if usize::try_from(count).ok().and_then(|n| n.checked_mul(SNAPSHOT_ENTRY)).is_none_or(|len| len > body.len()) {
            return Err(CorruptSnapshot(format!("snapshot of {} bytes claims {count} producers", bytes.len())));
        }
        Ok(body.chunks_exact(SNAPSHOT_ENTRY).take(count as usize).map(decode_entry).collect())
    }
}

impl Update {
    /// The first offset of the transaction that this batch begins.
    fn note_data(
        &mut self,
        batch: &ProducerBatch,
        origin: AppendOrigin,
        lowest_verified: Option<i32>,
    ) -> Result<Option<Offset>, ProducerError> {
        self.check_epoch(batch, origin)?;
        if origin == AppendOrigin::Client {
            self.check_sequence(batch, lowest_verified)?;
        }
        self.entry.set_epoch(batch.producer_epoch);
        self.entry.push(BatchMetadata {
            last_sequence: batch.last_sequence(),
            last_offset: batch.last_offset,
            offset_delta: batch.offset_delta(),
            timestamp: batch.max_timestamp,
        });
        self.entry.last_timestamp = batch.max_timestamp;
        match self.entry.current_txn_first_offset {
            Some(_) if !batch.is_transactional => {
                Err(ProducerError::TransactionOpen { producer_id: self.producer_id, offset: batch.base_offset })
            }
            None if batch.is_transactional => {
                self.entry.current_txn_first_offset = Some(batch.base_offset);
                Ok(Some(batch.base_offset))
            }
            _ => Ok(None),
        }
    }

    /// The first offset of the transaction that the marker ends. A transaction without records leaves no trace.
    fn note_marker(
        &mut self,
        batch: &ProducerBatch,
        origin: AppendOrigin,
        coordinator_epoch: i32,
        timestamp: Millis,
    ) -> Result<Option<Offset>, ProducerError> {
        self.check_epoch(batch, origin)?;
        if self.entry.coordinator_epoch > coordinator_epoch && origin != AppendOrigin::Replication {
            return Err(ProducerError::CoordinatorFenced {
                producer_id: self.producer_id,
                offset: batch.base_offset,
                epoch: coordinator_epoch,
                current: self.entry.coordinator_epoch,
            });
        }
        self.entry.set_epoch(batch.producer_epoch);
        self.entry.coordinator_epoch = coordinator_epoch;
        self.entry.last_timestamp = timestamp;
        Ok(self.entry.current_txn_first_offset.take())
    }

    fn check_epoch(&self, batch: &ProducerBatch, origin: AppendOrigin) -> Result<(), ProducerError> {
        if batch.producer_epoch < self.entry.producer_epoch && origin != AppendOrigin::Replication {
            return Err(ProducerError::InvalidEpoch {
                producer_id: self.producer_id,
                offset: batch.base_offset,
                epoch: batch.producer_epoch,
                current: self.entry.producer_epoch,
            });
        }
        Ok(())
    }

    fn check_sequence(&self, batch: &ProducerBatch, lowest_verified: Option<i32>) -> Result<(), ProducerError> {
        let sequence = batch.base_sequence;
        let out_of_order = |current| {
            Err(ProducerError::OutOfOrderSequence {
                producer_id: self.producer_id,
                offset: batch.base_offset,
                sequence,
                current,
            })
        };
        if let Some(lowest) = lowest_verified
            && sequence > lowest
        {
            return out_of_order(lowest);
        }
        if batch.producer_epoch != self.entry.producer_epoch {
            // A new epoch starts at 0, unless nothing is known of the producer any more.
            let is_known = self.entry.producer_epoch != NO_PRODUCER_EPOCH;
            return if sequence != 0 && is_known { out_of_order(self.entry.last_sequence()) } else { Ok(()) };
        }
        let last = if self.entry.last_batch().is_some() {
            self.entry.last_sequence()
        } else if batch.producer_epoch == self.current_epoch {
            self.current_last_sequence
        } else {
            NO_SEQUENCE
        };
        let follows = i64::from(sequence) == i64::from(last) + 1 || (sequence == 0 && last == i32::MAX);
        if self.current_epoch == NO_PRODUCER_EPOCH || follows { Ok(()) } else { out_of_order(last) }
    }
}

fn decode_entry(bytes: &[u8]) -> (i64, ProducerEntry) {
    let i64_at = |at: usize| {
        let mut raw = [0; 8];
        raw.copy_from_slice(&bytes[at..at + 8]);
        i64::from_be_bytes(raw)
    };
    let i32_at = |at: usize| {
        let mut raw = [0; 4];
        raw.copy_from_slice(&bytes[at..at + 4]);
        i32::from_be_bytes(raw)
    };
    let timestamp = i64_at(26);
    let txn = i64_at(38);
    let mut entry = ProducerEntry {
        producer_epoch: i16::from_be_bytes([bytes[8], bytes[9]]),
        coordinator_epoch: i32_at(34),
        last_timestamp: timestamp,
        current_txn_first_offset: (txn >= 0).then_some(txn),
        ..ProducerEntry::EMPTY
    };
    let last_offset = i64_at(14);
    if last_offset >= 0 {
        entry.push(BatchMetadata { last_sequence: i32_at(10), last_offset, offset_delta: i32_at(22), timestamp });
    }
    (i64_at(0), entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PID: i64 = 4_000;

    fn state() -> ProducerState {
        ProducerState::new(ProducerStateConfig { expiration_ms: 1_000, verify_transactions: true })
    }

    fn batch(epoch: i16, sequence: i32, base_offset: Offset, records: i64) -> ProducerBatch {
        ProducerBatch {
            producer_id: PID,
            producer_epoch: epoch,
            base_sequence: sequence,
            base_offset,
            last_offset: base_offset + records - 1,
            max_timestamp: 10,
            is_transactional: false,
            kind: BatchKind::Data,
        }
    }

    fn transactional(batch: ProducerBatch) -> ProducerBatch {
        ProducerBatch { is_transactional: true, ..batch }
    }

    fn marker(epoch: i16, offset: Offset, commit: bool, coordinator_epoch: i32) -> ProducerBatch {
        ProducerBatch {
            base_sequence: -1,
            is_transactional: true,
            kind: BatchKind::Marker { commit, coordinator_epoch, timestamp: 20 },
            ..batch(epoch, -1, offset, 1)
        }
    }

    fn append(
        s: &mut ProducerState,
        origin: AppendOrigin,
        batch: &ProducerBatch,
    ) -> Result<Vec<(CompletedTxn, Offset)>, ProducerError> {
        s.begin();
        s.prepare(batch, origin, None)?;
        let mut completed = Vec::new();
        s.commit(batch.last_offset + 1, |txn, stable| {
            completed.push((*txn, stable));
            Ok::<(), ProducerError>(())
        })?;
        Ok(completed)
    }

    fn client(s: &mut ProducerState, batch: ProducerBatch) -> Result<(), ProducerError> {
        append(s, AppendOrigin::Client, &batch).map(|_| ())
    }

    fn replicated(s: &mut ProducerState, batch: ProducerBatch) -> Vec<(CompletedTxn, Offset)> {
        append(s, AppendOrigin::Replication, &batch).unwrap()
    }

    #[test]
    fn sequences_must_follow_each_other_and_wrap() {
        let mut s = state();
        client(&mut s, batch(0, i32::MAX - 1, 0, 2)).expect("an unknown producer may start anywhere");
        client(&mut s, batch(0, 0, 2, 3)).expect("sequences wrap to 0");
        assert!(matches!(
            client(&mut s, batch(0, 4, 5, 1)),
            Err(ProducerError::OutOfOrderSequence { sequence: 4, current: 2, .. })
        ));
        client(&mut s, batch(0, 3, 5, 1)).unwrap();
        assert_eq!(s.map_end_offset(), 6);
    }

    #[test]
    fn a_new_epoch_starts_at_sequence_0_and_an_old_one_is_refused() {
        let mut s = state();
        client(&mut s, batch(1, 5, 0, 1)).unwrap();
        assert!(matches!(client(&mut s, batch(2, 6, 1, 1)), Err(ProducerError::OutOfOrderSequence { .. })));
        client(&mut s, batch(2, 0, 1, 1)).unwrap();
        assert!(matches!(client(&mut s, batch(1, 6, 2, 1)), Err(ProducerError::InvalidEpoch { current: 2, .. })));
        assert_eq!(s.producers()[&PID].batches().len(), 1, "history of the old epoch is gone");
        replicated(&mut s, batch(1, 9, 2, 1));
    }

    #[test]
    fn the_last_five_batches_are_recognised_when_they_come_again() {
        let mut s = state();
        for n in 0..6 {
            client(&mut s, batch(0, n * 2, i64::from(n) * 2, 2)).unwrap();
        }
        assert_eq!(s.duplicate_of(&batch(0, 0, 99, 2)), None);
        assert_eq!(s.duplicate_of(&batch(0, 2, 99, 2)).map(|b| b.first_offset()), Some(2));
        assert_eq!(s.duplicate_of(&batch(0, 10, 99, 2)).map(|b| b.last_offset), Some(11));
        assert_eq!(s.duplicate_of(&batch(0, 10, 99, 1)), None, "another range");
        assert_eq!(s.duplicate_of(&batch(1, 10, 99, 2)), None, "another epoch");
    }

    #[test]
    fn a_refused_batch_changes_nothing() {
        let mut s = state();
        client(&mut s, batch(0, 0, 0, 1)).unwrap();
        let before = s.encode_snapshot();
        assert!(client(&mut s, batch(0, 7, 1, 1)).is_err());
        client(&mut s, batch(0, 1, 1, 1)).unwrap();
        assert_ne!(s.encode_snapshot(), before);
        assert_eq!(s.producers()[&PID].batches().len(), 2);
    }

    #[test]
    fn transactional_records_need_an_open_transaction_or_a_guard() {
        let mut s = state();
        let first = transactional(batch(0, 0, 10, 2));
        assert_eq!(client(&mut s, first), Err(ProducerError::NotInTransaction { producer_id: PID }));
        let guard = s.start_verification(PID, 0, 0, 0);
        assert!(guard.is_some());
        s.begin();
        s.prepare(&first, AppendOrigin::Client, guard).unwrap();
        s.commit(12, |_, _| Ok::<(), ()>(())).unwrap();
        assert_eq!((s.first_unstable_offset(), s.start_verification(PID, 2, 0, 0)), (Some(10), None));
        client(&mut s, transactional(batch(0, 2, 12, 1))).expect("the transaction is open now");
        assert_eq!(
            client(&mut s, batch(0, 3, 13, 1)),
            Err(ProducerError::TransactionOpen { producer_id: PID, offset: 13 })
        );
    }

    #[test]
    fn a_retried_first_batch_is_protected_while_its_verification_runs() {
        let mut s = state();
        let guard = s.start_verification(PID, 0, 0, 0);
        assert_eq!(s.start_verification(PID, 5, 0, 0), guard);
        s.begin();
        let late = s.prepare(&transactional(batch(0, 5, 0, 1)), AppendOrigin::Client, guard);
        assert!(matches!(late, Err(ProducerError::OutOfOrderSequence { current: 0, .. })));
    }

    #[test]
    fn the_last_stable_offset_waits_for_the_marker_to_be_replicated() {
        let mut s = state();
        replicated(&mut s, transactional(batch(0, 0, 10, 2)));
        let other = ProducerBatch { producer_id: PID + 1, ..transactional(batch(0, 0, 12, 2)) };
        replicated(&mut s, other);
        let ended = replicated(&mut s, marker(0, 14, false, 3));
        let aborted = CompletedTxn { producer_id: PID, first_offset: 10, last_offset: 14, is_aborted: true };
        assert_eq!(ended, [(aborted, 12)]);
        assert_eq!(s.first_unstable_offset(), Some(10), "the marker is not below the high watermark");
        s.on_high_watermark(14);
        assert_eq!(s.first_unstable_offset(), Some(10));
        s.on_high_watermark(15);
        assert_eq!(s.first_unstable_offset(), Some(12));
        let ended = replicated(&mut s, ProducerBatch { producer_id: PID + 1, ..marker(0, 15, true, 3) });
        assert_eq!(ended.iter().map(|(txn, stable)| (txn.is_aborted, *stable)).collect::<Vec<_>>(), [(false, 16)]);
        s.on_high_watermark(16);
        assert_eq!(s.first_unstable_offset(), None);
    }

    #[test]
    fn markers_of_an_old_coordinator_are_fenced_and_empty_transactions_leave_no_trace() {
        let mut s = state();
        assert_eq!(append(&mut s, AppendOrigin::Coordinator, &marker(3, 0, false, 7)).unwrap(), []);
        assert_eq!(s.producers()[&PID].producer_epoch, 3, "a marker can raise the epoch");
        assert!(matches!(
            append(&mut s, AppendOrigin::Coordinator, &marker(3, 1, false, 6)),
            Err(ProducerError::CoordinatorFenced { epoch: 6, current: 7, .. })
        ));
        assert_eq!(replicated(&mut s, marker(3, 1, false, 6)), []);
    }

    #[test]
    fn a_transaction_may_begin_end_and_begin_inside_of_one_append() {
        let mut s = state();
        s.begin();
        for b in [transactional(batch(0, 0, 0, 2)), marker(0, 2, true, 1), transactional(batch(0, 2, 3, 1))] {
            s.prepare(&b, AppendOrigin::Replication, None).unwrap();
        }
        s.commit(4, |_, _| Ok::<(), ()>(())).unwrap();
        s.on_high_watermark(4);
        assert_eq!(s.first_unstable_offset(), Some(3));
        assert_eq!(s.producers()[&PID].batches().len(), 2);
    }

    #[test]
    fn idle_producers_expire_unless_a_transaction_is_open() {
        let mut s = state();
        client(&mut s, batch(0, 0, 0, 1)).unwrap();
        replicated(&mut s, ProducerBatch { producer_id: 1, ..transactional(batch(0, 0, 1, 1)) });
        s.remove_expired(1_009);
        assert_eq!(s.producers().len(), 2);
        s.remove_expired(1_010);
        assert_eq!(s.producers().keys().collect::<Vec<_>>(), [&1]);
    }

    #[test]
    fn a_snapshot_is_the_bytes_of_kafka_and_reads_back() {
        let golden = "0001b6526b0d000000010000000000000fa000030000000a0000000000000065000000010000018bcfe568050000000c0000000000000064";
        let golden: Vec<u8> =
            (0..golden.len()).step_by(2).map(|i| u8::from_str_radix(&golden[i..i + 2], 16).unwrap()).collect();
        let mut s = state();
        s.load(102, ProducerState::decode_snapshot(&golden).unwrap(), 0);
        let p = &s.producers()[&PID];
        assert_eq!((p.producer_epoch, p.coordinator_epoch, p.last_timestamp), (3, 12, 1_700_000_000_005));
        assert_eq!((p.last_batch().unwrap().first_sequence(), p.last_batch().unwrap().first_offset()), (9, 100));
        assert_eq!(s.first_unstable_offset(), Some(100));
        assert_eq!(s.encode_snapshot(), golden);
    }

    #[test]
    fn a_damaged_snapshot_is_refused_whichever_byte_it_is() {
        let mut s = state();
        client(&mut s, batch(0, 0, 0, 1)).unwrap();
        let good = s.encode_snapshot();
        assert!(ProducerState::decode_snapshot(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(ProducerState::decode_snapshot(&bad).is_err(), "byte {at}");
            assert!(ProducerState::decode_snapshot(&good[..at]).is_err(), "cut at {at}");
        }
    }
}
