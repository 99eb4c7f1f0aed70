//! Owns walking over the entries of a segment file: their headers, or all of their bytes with checksums. Kafka:
//! `FileLogInputStream`, `FileChannelRecordBatch`. Memory is bounded by the buffers here, whatever an entry claims.

use super::producer_state::{BatchKind, ProducerBatch};
use crate::common::LeaderEpoch;
use crate::common::ids::{Millis, Offset};
use crate::disk::DataFile;
use crate::record::batch::{PREFIX_LEN, entry_size};
use crate::record::control::EndTransactionMarker;
use crate::record::{Batch, BatchHeader, HEADER_LEN, NO_TIMESTAMP, RecordError};
use crate::util::checksum::Checksum;
use std::io;
use std::sync::Arc;

/// Headers that lie close together come with one read.
const HEAD_BUFFER: usize = 4 * 1024;
/// What recovery reads at once.
const CHECK_BUFFER: usize = 256 * 1024;
/// Control batches hold one record of a few bytes. A larger one is not parsed.
const CONTROL_BATCH_MAX: u32 = 16 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum ScanError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Corrupt(#[from] RecordError),
}

const MAGIC_AT: usize = PREFIX_LEN - 1;

const fn is_known(magic: i8) -> bool {
    matches!(magic, 0..=2)
}

/// What the first bytes of an entry of any magic say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHead {
    /// In the file.
    pub position: u32,
    /// Of the whole entry.
    pub size: u32,
    pub magic: i8,
    /// Magic 0 and 1: the entry's offset, which is its last record's.
    pub base_offset: Offset,
    pub last_offset: Offset,
    /// -1 for none.
    pub max_timestamp: Millis,
    /// -1 for magic 0 and 1.
    pub partition_leader_epoch: LeaderEpoch,
    /// Not for magic 0 and 1.
    pub header: Option<BatchHeader>,
}

impl EntryHead {
    /// `bytes` begin with the entry, and hold its first [`HEADER_LEN`] bytes or all of it. `None` when the entry does
    /// not end at `end` or before. As in Kafka the length alone leads to the next entry: one whose magic is unknown is
    /// taken for a batch of the newest, so that a flipped bit there does not hide what follows.
    fn parse(bytes: &[u8], position: u32, end: u32) -> Result<Option<Self>, RecordError> {
        if let Some(unknown) = bytes.get(MAGIC_AT).map(|magic| *magic as i8).filter(|magic| !is_known(*magic)) {
            let mut as_newest = [0; HEADER_LEN];
            let len = bytes.len().min(HEADER_LEN);
            as_newest[..len].copy_from_slice(&bytes[..len]);
            as_newest[MAGIC_AT] = 2;
            let head = Self::parse(&as_newest[..len], position, end)?;
            return Ok(head.map(|head| Self { magic: unknown, ..head }));
        }
        let Some(size) = entry_size(bytes)? else { return Ok(None) };
        let Some(size) = u32::try_from(size).ok().filter(|size| *size <= end - position) else { return Ok(None) };
        let mut offset = [0; 8];
        offset.copy_from_slice(&bytes[..8]);
        let offset = i64::from_be_bytes(offset);
        let magic = bytes[MAGIC_AT] as i8;
        if magic >= 2 {
            let header = BatchHeader::parse(bytes)?;
            return Ok(Some(Self {
                position,
                size,
                magic,
                base_offset: offset,
                last_offset: header.last_offset(),
                max_timestamp: header.max_timestamp,
                partition_leader_epoch: header.partition_leader_epoch,
                header: Some(header),
            }));
        }
        let max_timestamp = match bytes.get(PREFIX_LEN + 1..PREFIX_LEN + 9) {
            Some(raw) if magic == 1 => {
                let mut timestamp = [0; 8];
                timestamp.copy_from_slice(raw);
                i64::from_be_bytes(timestamp)
            }
            _ => NO_TIMESTAMP,
        };
        Ok(Some(Self {
            position,
            size,
            magic,
            base_offset: offset,
            last_offset: offset,
            max_timestamp,
            partition_leader_epoch: LeaderEpoch::NONE,
            header: None,
        }))
    }

    pub(super) fn next_position(&self) -> u32 {
        self.position + self.size
    }
}

/// Walks over headers from a position that is known to start an entry.
pub(super) struct HeadScan {
    file: Arc<DataFile>,
    position: u32,
    end: u32,
    buffer: [u8; HEAD_BUFFER],
    /// Where in the file the buffer's bytes are from, and how many there are.
    buffered_at: u32,
    buffered: usize,
}

impl HeadScan {
    /// Entries that do not end at `end` or before are not there.
    pub(super) fn new(file: Arc<DataFile>, position: u32, end: u32) -> Self {
        Self { file, position, end, buffer: [0; HEAD_BUFFER], buffered_at: 0, buffered: 0 }
    }

    /// Where the next entry begins.
    pub(super) fn position(&self) -> u32 {
        self.position
    }

    pub(super) fn next_head(&mut self) -> Result<Option<EntryHead>, ScanError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let wanted = HEADER_LEN.min((self.end - self.position) as usize);
        let skip = (self.position.wrapping_sub(self.buffered_at)) as usize;
        if self.position < self.buffered_at || skip + wanted > self.buffered {
            let fill = HEAD_BUFFER.min((self.end - self.position) as usize);
            self.buffered = self.file.read_at(&mut self.buffer[..fill], u64::from(self.position))?;
            self.buffered_at = self.position;
        }
        let skip = (self.position - self.buffered_at) as usize;
        let head = EntryHead::parse(&self.buffer[skip..self.buffered.max(skip)], self.position, self.end)?;
        if let Some(head) = &head {
            self.position = head.next_position();
        }
        Ok(head)
    }
}

/// Walks over whole entries and checks their checksums, a buffer at a time.
pub(super) struct CheckScan {
    file: Arc<DataFile>,
    position: u32,
    end: u32,
    buffer: Vec<u8>,
    buffered_at: u32,
    buffered: usize,
}

impl CheckScan {
    pub(super) fn new(file: Arc<DataFile>, position: u32, end: u32) -> Self {
        let buffer = vec![0; CHECK_BUFFER.min(end.saturating_sub(position) as usize)];
        Self { file, position, end, buffer, buffered_at: position, buffered: 0 }
    }

    /// Where the entries end that were handed out.
    pub(super) fn valid_bytes(&self) -> u32 {
        self.position
    }

    /// `None` at the end and at an entry that is not whole.
    pub(super) fn next_entry(&mut self) -> Result<Option<EntryHead>, ScanError> {
        let wanted = HEADER_LEN.min((self.end - self.position) as usize);
        self.fill(self.position, wanted)?;
        let Some(head) = EntryHead::parse(self.buffered_from(self.position), self.position, self.end)? else {
            return Ok(None);
        };
        // No checksum covers the magic.
        if !is_known(head.magic) || !self.check_crc(&head)? {
            return Err(RecordError::Corrupt(format!("Record is corrupt at position {}", head.position)).into());
        }
        self.position = head.next_position();
        Ok(Some(head))
    }

    fn check_crc(&mut self, head: &EntryHead) -> io::Result<bool> {
        // Magic 2 covers all from the attributes on, older messages all from the magic on.
        let (stored_at, covered_from) = if head.magic >= 2 { (PREFIX_LEN, 21) } else { (12, PREFIX_LEN - 1) };
        let mut stored = [0; 4];
        stored.copy_from_slice(&self.buffered_from(head.position)[stored_at..stored_at + 4]);
        let mut crc = if head.magic >= 2 { Checksum::crc32c() } else { Checksum::crc32() };
        let (mut at, end) = (head.position + covered_from as u32, head.next_position());
        while at < end {
            self.fill(at, 1)?;
            let bytes = self.buffered_from(at);
            let bytes = &bytes[..bytes.len().min((end - at) as usize)];
            if bytes.is_empty() {
                return Ok(false);
            }
            crc.update(bytes);
            at += bytes.len() as u32;
        }
        Ok(u32::from_be_bytes(stored) == crc.value())
    }

    /// Makes sure that `wanted` bytes from `at` on are in the buffer, unless the file is shorter.
    fn fill(&mut self, at: u32, wanted: usize) -> io::Result<()> {
        if at >= self.buffered_at && (at - self.buffered_at) as usize + wanted <= self.buffered {
            return Ok(());
        }
        let len = self.buffer.len().min((self.end - at) as usize);
        self.buffered = self.file.read_at(&mut self.buffer[..len], u64::from(at))?;
        self.buffered_at = at;
        Ok(())
    }

    fn buffered_from(&self, at: u32) -> &[u8] {
        self.buffer[..self.buffered].get((at - self.buffered_at) as usize..).unwrap_or_default()
    }
}

/// What a batch with a producer id says; a control batch's record is read for it.
pub(super) fn producer_batch(
    file: &DataFile,
    head: &EntryHead,
    header: &BatchHeader,
) -> Result<ProducerBatch, ScanError> {
    let kind = if !header.attributes.is_control() {
        BatchKind::Data
    } else if head.size > CONTROL_BATCH_MAX {
        BatchKind::OtherControl
    } else {
        let mut bytes = vec![0; head.size as usize];
        file.read_exact_at(&mut bytes, u64::from(head.position))?;
        match Batch::first(&bytes)? {
            Some(batch) => control_kind(&batch)?,
            None => BatchKind::OtherControl,
        }
    };
    Ok(ProducerBatch {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        max_timestamp: header.max_timestamp,
        is_transactional: header.attributes.is_transactional(),
        kind,
    })
}

/// Reads the record of a control batch.
pub(super) fn control_kind(batch: &Batch<'_>) -> Result<BatchKind, RecordError> {
    let mut records = crate::record::records(batch)?;
    let Some(record) = records.next_record()? else { return Ok(BatchKind::OtherControl) };
    let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
    Ok(EndTransactionMarker::parse(key, value)?.map_or(BatchKind::OtherControl, |marker| BatchKind::Marker {
        commit: marker.committed,
        coordinator_epoch: marker.coordinator_epoch,
        timestamp: record.timestamp,
    }))
}
