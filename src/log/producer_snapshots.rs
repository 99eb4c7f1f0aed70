//! Owns the producer state of one log together with its snapshot files. Kafka: the file half of `ProducerStateManager`.
//! A snapshot is never waited for on the disk: its checksum shows when a power cut took it, and then an older one and
//! the log itself say the same.

use super::partition_dir::PartitionDir;
use super::producer_state::ProducerState;
use super::segment_files::{SNAPSHOT_SUFFIX, file_name, mark_deleted, offset_of};
use crate::common::ids::{Millis, Offset};
use crate::disk::{self, DataFile, DiskError, During};
use std::collections::BTreeSet;
use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;
use tracing::{info, warn};

#[derive(Debug)]
pub(super) struct ProducerSnapshots {
    dir: Arc<PartitionDir>,
    pub state: ProducerState,
    /// Offsets of the snapshot files.
    files: BTreeSet<Offset>,
    last_snapshot: Offset,
}

impl ProducerSnapshots {
    /// Those of a directory in which there are none yet.
    pub(super) fn new(dir: &Arc<PartitionDir>, state: ProducerState) -> Self {
        Self { dir: Arc::clone(dir), state, files: BTreeSet::new(), last_snapshot: 0 }
    }

    /// Takes over what is there. `file_names` are those in the directory.
    pub(super) fn find(&mut self, file_names: &[String]) {
        let files = file_names.iter().filter(|name| name.ends_with(SNAPSHOT_SUFFIX)).filter_map(|name| offset_of(name));
        self.files = files.collect();
    }

    fn path(&self, offset: Offset) -> PathBuf {
        self.dir.file(&file_name(offset, SNAPSHOT_SUFFIX))
    }

    pub(super) fn latest(&self) -> Option<Offset> {
        self.files.last().copied()
    }

    /// Writes a snapshot unless there is one of this state.
    pub(super) fn take(&mut self) -> Result<(), DiskError> {
        let offset = self.state.map_end_offset();
        if offset <= self.last_snapshot {
            return Ok(());
        }
        let path = self.path(offset);
        let bytes = self.state.encode_snapshot();
        let write = || {
            let file = DataFile::open_or_create(&path)?;
            file.truncate(0)?;
            file.write_all_at(&mut [IoSlice::new(&bytes)], 0)
        };
        if let Err(e) = write() {
            // Half a snapshot is none: its checksum shows that, but it takes room.
            drop(disk::remove_if_exists(&path));
            return Err(DiskError::new("write producer snapshot", &path, e));
        }
        self.files.insert(offset);
        self.last_snapshot = offset;
        Ok(())
    }

    fn delete(&mut self, offset: Offset) -> Result<(), DiskError> {
        self.files.remove(&offset);
        let path = self.path(offset);
        disk::remove_if_exists(&path).during("delete producer snapshot", &path).map(drop)
    }

    /// Renames the snapshot of a segment that is going to be removed.
    pub(super) fn mark_deleted(&mut self, offset: Offset) -> Result<Option<PathBuf>, DiskError> {
        if self.files.remove(&offset) { mark_deleted(&self.path(offset)) } else { Ok(None) }
    }

    /// Keeps snapshots at segment starts, and the newest of the others if it is behind the last segment's start.
    pub(super) fn remove_strays(&mut self, segment_bases: &BTreeSet<Offset>) -> Result<(), DiskError> {
        let mut strays: Vec<Offset> = self.files.difference(segment_bases).copied().collect();
        if let (Some(newest), Some(last_base)) = (strays.last(), segment_bases.last())
            && newest >= last_base
        {
            strays.pop();
        }
        strays.into_iter().try_for_each(|offset| self.delete(offset))
    }

    /// Goes back to the newest usable snapshot at or before `log_end`; the caller replays the log from
    /// [`ProducerState::map_end_offset`] on.
    pub(super) fn truncate_and_reload(
        &mut self,
        log_start: Offset,
        log_end: Offset,
        now: Millis,
    ) -> Result<(), DiskError> {
        let below = self.files.range(..=log_start);
        let above = self.files.range(log_start.max(log_end).saturating_add(1)..);
        let out_of_range: Vec<Offset> = below.chain(above).copied().collect();
        for offset in out_of_range {
            self.delete(offset)?;
        }
        if log_end == self.state.map_end_offset() {
            self.on_log_start(log_start);
            return Ok(());
        }
        while let Some(offset) = self.latest() {
            let path = self.path(offset);
            let bytes = std::fs::read(&path).during("read producer snapshot", &path)?;
            match ProducerState::decode_snapshot(&bytes) {
                Ok(entries) => {
                    self.state.reset(offset);
                    self.state.load(offset, entries, now);
                    self.last_snapshot = offset;
                    return Ok(());
                }
                Err(why) => {
                    warn!(path = %path.display(), %why, "producer snapshot is unusable, trying an older one");
                    self.delete(offset)?;
                }
            }
        }
        self.state.reset(log_start);
        self.last_snapshot = log_start;
        Ok(())
    }

    pub(super) fn on_log_start(&mut self, log_start: Offset) {
        self.state.on_log_start(log_start);
        self.last_snapshot = self.latest().unwrap_or(log_start);
    }

    /// Forgets everything; the log begins anew at `offset`.
    pub(super) fn truncate_fully(&mut self, offset: Offset) -> Result<(), DiskError> {
        for file in std::mem::take(&mut self.files) {
            self.delete(file)?;
        }
        self.state.reset(offset);
        self.last_snapshot = 0;
        info!(dir = %self.dir.path().display(), offset, "producer state reset");
        Ok(())
    }
}
