//! Owns the way of the coordinators into the logs of their topics: appends that are committed before anyone gets an answer, and
//! reading a partition from its start to its end. Kafka: `ReplicaManager.appendRecords` with `AppendOrigin.COORDINATOR`,
//! `CoordinatorPartitionWriter`.

use super::append::{AppendError, Appended};
use super::host::NotHosted;
use super::manager::ReplicaManager;
use crate::cluster::partition::{AppendTerms, PartitionError};
use crate::common::{LeaderEpoch, Millis, Offset, TopicPartition};
use crate::disk::FileSlice;
use crate::log::{FetchIsolation, ReadError, UnifiedLog, VerificationGuard};
use crate::record::validate::AppendOrigin;
use crate::util::purgatory::Waiter;
use crate::util::task;
use bytes::Bytes;
use std::io;
use std::sync::Arc;

/// Why the log of a coordinator can't be read here.
#[derive(Debug, thiserror::Error)]
pub enum InternalReadError {
    #[error(transparent)]
    NotHosted(#[from] NotHosted),
    #[error(transparent)]
    Role(#[from] PartitionError),
    #[error(transparent)]
    Log(#[from] ReadError),
    #[error(transparent)]
    File(#[from] io::Error),
}

impl ReplicaManager {
    /// Appends one batch to a partition that this broker leads: [`Appended::is_committed`] says when the replicas have it,
    /// and [`Self::watch_internal`] when to ask again. The errors are those of a Produce response. `acks_all`: refuse when
    /// too few replicas are in sync. `led_since`: refuse when this broker has not led since that epoch; after an
    /// interruption the state that a coordinator writes is not that of the log any more.
    pub async fn append_internal(
        &self,
        tp: &TopicPartition,
        records: &Bytes,
        guard: Option<VerificationGuard>,
        acks_all: bool,
        led_since: Option<LeaderEpoch>,
        now: Millis,
    ) -> Result<Appended, AppendError> {
        let terms = AppendTerms { origin: AppendOrigin::Coordinator, guard, acks_all, led_since };
        self.append_on(&tp.topic, tp.partition, records, terms, now).await.map_err(|failure| failure.error)
    }

    /// Woken whenever more of the partition may be committed, or its role changes.
    pub fn watch_internal(&self, tp: &TopicPartition) -> Waiter<TopicPartition> {
        self.host.waits.produces.watch(vec![tp.clone()])
    }

    /// Where the log of a partition that this broker leads begins and ends.
    pub fn internal_bounds(&self, tp: &TopicPartition) -> Result<(Offset, Offset), InternalReadError> {
        let log = self.led_log(tp)?;
        Ok((log.log_start_offset(), log.log_end_offset()))
    }

    /// Reads whole batches from the one that holds `from` on, up to the log's end: about `max_bytes`, and one batch at least.
    /// Empty at the end of the log. The disk work is done on the blocking pool.
    pub async fn read_internal(
        &self,
        tp: &TopicPartition,
        from: Offset,
        max_bytes: u32,
    ) -> Result<Bytes, InternalReadError> {
        let log = self.led_log(tp)?;
        let reading = task::spawn_blocking("read-coordinator-log", move || {
            let read = log.read(from, max_bytes, FetchIsolation::LogEnd, true)?;
            let Some(slice) = read.records else { return Ok(Bytes::new()) };
            Ok(read_whole(&slice).map(Bytes::from)?)
        });
        reading.await.map_err(io::Error::from)?
    }

    fn led_log(&self, tp: &TopicPartition) -> Result<Arc<UnifiedLog>, InternalReadError> {
        let partition = self.host.partition(&tp.topic, tp.partition)?;
        Ok(partition.log_for(LeaderEpoch::NONE, true)?)
    }
}

/// All bytes of a slice. A file that became shorter was truncated meanwhile: what is left of it is still batches.
fn read_whole(slice: &FileSlice) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; slice.len as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match slice.read(filled as u32, &mut bytes[filled..])? {
            0 => break,
            n => filled += n,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
