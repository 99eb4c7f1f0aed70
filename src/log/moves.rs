//! Owns the move of replicas to other log directories of this broker: a second log, the future one, is filled beside the
//! current one and takes its place once both end at the same offset. Kafka: the future logs of `LogManager`,
//! `Partition.maybeReplaceCurrentWithFutureReplica`, `ReplicaAlterLogDirsThread`.
//!
//! ```text
//! topic-0.<id>-future   filled from topic-0 of the other directory; a restart goes on with it
//! topic-0               its new name; then the old one is renamed to topic-0.<id>-delete
//! ```
//!
//! The current log is not cleaned meanwhile. For all who append, read and wait the change is one step: see
//! [`UnifiedLog::hand_over`]. A kill between the two renames leaves the partition in two directories (the other order
//! would leave it in none): the next start serves the one that has all that the other has. Kafka's refuses.

use super::loading::{LoadError, LoadLimits};
use super::log_dir::{DirError, LogDir, reported};
use super::partition_dir::{delete_dir_name, future_dir_name};
use super::read::ReadError;
use super::unified_log::{LogOptions, UnifiedLog};
use super::{AppendError, AppendInfo, FetchIsolation, LogManager};
use crate::common::ids::{Millis, Offset, TopicPartition};
use crate::disk::DiskError;
use std::cmp::Reverse;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing::{info, warn};

/// Longest file name of the usual file systems.
const NAME_MAX: usize = 255;

/// Why a replica is not moved.
#[derive(Debug, thiserror::Error)]
pub enum MoveError {
    #[error("the name of {0}'s directory would be too long")]
    NameTooLong(TopicPartition),
    #[error("log dir {0} is not found in the config")]
    NoSuchDir(PathBuf),
    /// This broker has no such replica; when it gets one it goes to the directory that was asked for. Or its log is still
    /// recovered, and does not move.
    #[error("{0} has no replica here")]
    NoReplica(TopicPartition),
    #[error("log directories are offline")]
    DirsOffline,
    /// The future log cannot be made, or not be filled.
    #[error("{0}")]
    Damaged(String),
    #[error(transparent)]
    Dir(#[from] DirError),
}

/// What one step of a move did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MoveStep {
    /// Bytes that were copied.
    Copied(u64),
    /// Both logs ended at the same offset, and what was copied is on the disk: [`LogManager::complete_move`] may work.
    CaughtUp,
    /// One of both is gone, or cannot be read now.
    Waiting,
}

impl LogManager {
    /// Begins to move a replica into `dir`, gives up a move to elsewhere, or remembers where the replica is to be made.
    /// Kafka: `ReplicaManager.alterReplicaLogDirs`. Waits for the disk.
    pub fn alter_log_dir(&self, tp: &TopicPartition, dir: &Path, now: Millis) -> Result<(), MoveError> {
        let name = future_dir_name(tp);
        if name.len() > NAME_MAX {
            return Err(MoveError::NameTooLong(tp.clone()));
        }
        let target = self.log_dir_of(dir).ok_or_else(|| MoveError::NoSuchDir(dir.to_owned()))?;
        target.check()?;
        let _in_work = self.in_work.claim([tp]);
        if self.future_log(tp).is_some_and(|future| future.log_dir().path() != dir) {
            self.cancel_move(tp);
        }
        if self.future_log(tp).is_some() {
            return Ok(());
        }
        if self.recovering(tp).is_some() {
            return Err(MoveError::NoReplica(tp.clone()));
        }
        let Some(current) = self.log(tp) else {
            self.preferred.lock().insert(tp.clone(), dir.to_owned());
            return Err(MoveError::NoReplica(tp.clone()));
        };
        if current.log_dir().path() == dir {
            return Ok(());
        }
        if self.offline_dirs().next().is_some() {
            // One of them may hold a future log of this partition.
            return Err(MoveError::DirsOffline);
        }
        let options = LogOptions {
            config: current.config(),
            producer_config: self.producer_config(),
            log_start: 0,
            recovery_point: 0,
            had_clean_shutdown: true,
            topic_id: current.topic_id(),
            limits: LoadLimits::default(),
        };
        let path = dir.join(&name);
        let opened = UnifiedLog::open(&path, tp.clone(), Arc::clone(target), options, now);
        let future = opened.map_err(|e| match e {
            LoadError::Disk(e) => MoveError::Dir(target.judge(e)),
            other => MoveError::Damaged(other.to_string()),
        })?;
        info!("Created log for partition {tp} in {}, to which it moves", path.display());
        current.cleaning.gate.hold();
        {
            // The failure of a directory takes its logs away under this lock.
            let mut futures = self.futures.write();
            if let Err(error) = target.check() {
                current.cleaning.gate.release();
                return Err(error.into());
            }
            futures.insert(tp.clone(), future);
        }
        self.moves_changed.notify_one();
        Ok(())
    }

    fn log_dir_of(&self, dir: &Path) -> Option<&Arc<LogDir>> {
        self.live_dirs().chain(self.offline_dirs()).find(|known| known.path() == dir)
    }

    /// The log that a replica is moving to.
    pub fn future_log(&self, tp: &TopicPartition) -> Option<Arc<UnifiedLog>> {
        self.futures.read().get(tp).cloned()
    }

    /// Replicas on the move.
    pub fn moves(&self) -> Vec<TopicPartition> {
        self.futures.read().keys().cloned().collect()
    }

    /// Completes when a move began since the last call. Cancel safe.
    pub async fn moves_changed(&self) {
        self.moves_changed.notified().await;
    }

    /// Goes on with the moves that an earlier run of the broker began, once all logs are loaded.
    pub(super) fn take_up_moves(&self) {
        for tp in self.moves() {
            if let Some(current) = self.log(&tp) {
                current.cleaning.gate.hold();
            }
            self.moves_changed.notify_one();
        }
    }

    /// Forgets moves into a directory that failed.
    pub(super) fn forget_moves_to(&self, dir: &Arc<LogDir>) {
        self.futures.write().retain(|tp, future| {
            let stays = !Arc::ptr_eq(future.log_dir(), dir);
            if !stays && let Some(current) = self.log(tp) {
                current.cleaning.gate.release();
            }
            stays
        });
    }

    /// Forgets a move; what was copied is deleted. The partition is claimed.
    pub(super) fn cancel_move(&self, tp: &TopicPartition) {
        let Some(future) = self.futures.write().remove(tp) else { return };
        if let Some(current) = self.log(tp) {
            current.cleaning.gate.release();
        }
        let name = delete_dir_name(tp);
        // A failure is logged by the directory, and leaves a directory that the next start finds.
        if future.rename_for_deletion(&name).and_then(|()| future.log_dir().sync_names()).is_ok() {
            self.remove_later(future.log_dir(), &future.log_dir().path().join(&name));
        }
        info!(%tp, "move to another log directory was given up");
    }

    /// Copies at most about `max_bytes` of a move. Waits for the disk.
    pub fn advance_move(&self, tp: &TopicPartition, max_bytes: u32, now: Millis) -> Result<MoveStep, MoveError> {
        let (Some(current), Some(future)) = (self.log(tp), self.future_log(tp)) else { return Ok(MoveStep::Waiting) };
        if let (Some(_), Some(other)) = (current.topic_id(), future.topic_id())
            && current.topic_id() != Some(other)
        {
            warn!(%tp, %other, "what moves here is of an earlier topic of that name");
            let _in_work = self.in_work.claim([tp]);
            self.cancel_move(tp);
            return Ok(MoveStep::Waiting);
        }
        follow_truncation(&current, &future, now)?;
        match copy(&current, &future, max_bytes, now)? {
            MoveStep::CaughtUp => {
                // Most of it before anyone waits for the rest: see `complete_move`.
                future.flush(now)?;
                Ok(MoveStep::CaughtUp)
            }
            step => Ok(step),
        }
    }

    /// Lets the future log take the current one's place. Nothing is appended meanwhile: what has come since the last step
    /// is copied when it is at most about `max_bytes`, for a log that is always written never is the same at two moments.
    /// `install` is called with the log in the same step, and makes it the one that is found from then on. Gives the log
    /// that it has replaced, which is for [`Self::retire`]; or `None`. Waits for the disk.
    pub fn complete_move(
        &self,
        tp: &TopicPartition,
        max_bytes: u32,
        now: Millis,
        install: &mut dyn FnMut(&Arc<UnifiedLog>),
    ) -> Result<Option<Arc<UnifiedLog>>, DirError> {
        let _in_work = self.in_work.claim([tp]);
        let (Some(current), Some(future)) = (self.log(tp), self.future_log(tp)) else { return Ok(None) };
        let mut tail = current.lock_former_tail()?;
        // Cut since the last step, perhaps it has other records: the next step compares them.
        if common_end(&current, &future) < future.log_end_offset() {
            return Ok(None);
        }
        if current.log_end_offset() != future.log_end_offset() {
            match copy(&current, &future, max_bytes, now) {
                Ok(_) => {}
                Err(MoveError::Dir(error)) => return Err(error),
                // The next step meets it again, and reports it.
                Err(_) => return Ok(None),
            }
        }
        if current.log_end_offset() != future.log_end_offset() {
            return Ok(None);
        }
        // What was reported as flushed stays flushed.
        if current.config().flush_messages < i64::MAX || current.recovery_point() > future.recovery_point() {
            future.flush(now)?;
        }
        future.rename(&future.log_dir().path().join(tp.to_string()))?;
        // From here on nothing fails.
        current.hand_over(&mut tail, &future);
        self.adopt(&current, &future);
        install(&future);
        drop(tail);
        current.log_dir().set_cleaner_checkpoint_stale(true);
        info!("Successfully replaced current log for {tp} with the one in {}", future.log_dir().path().display());
        Ok(Some(current))
    }

    /// Takes a log that was replaced by `moved` off its directory.
    pub fn retire(&self, old: &UnifiedLog, moved: &UnifiedLog) {
        let tp = old.topic_partition();
        let name = delete_dir_name(tp);
        let renamed = {
            let _in_work = self.in_work.claim([tp]);
            old.rename_replaced(&name).and_then(|()| old.log_dir().sync_names())
        };
        old.cleaning.gate.release();
        match renamed {
            Ok(()) => self.remove_later(old.log_dir(), &old.log_dir().path().join(&name)),
            Err(error) => warn!(%tp, %error, "the old log is still where it was"),
        }
        for dir in [moved.log_dir(), old.log_dir()] {
            // The directory reports a failure.
            reported(self.checkpoint_dir(dir));
            self.checkpoint_high_watermarks_in(dir);
        }
        self.checkpoint_cleaned();
    }
}

/// Copies what comes next, at most about `max_bytes`.
fn copy(current: &UnifiedLog, future: &UnifiedLog, max_bytes: u32, now: Millis) -> Result<MoveStep, MoveError> {
    let log_start = current.log_start_offset();
    let from = future.log_end_offset();
    if from < log_start {
        future.truncate_fully_and_start_at(log_start, None, now)?;
        return Ok(MoveStep::Copied(0));
    }
    let data = match current.read(from, max_bytes, FetchIsolation::LogEnd, true) {
        Ok(data) => data,
        // Truncated or deleted just now: the next step sees it.
        Err(ReadError::OffsetOutOfRange { .. }) => return Ok(MoveStep::Waiting),
        Err(ReadError::Corrupt(why)) => return Err(MoveError::Damaged(why)),
        Err(ReadError::Dir(e)) => return Err(e.into()),
    };
    let copied = match data.records {
        Some(slice) => {
            let mut bytes = vec![0; slice.len as usize];
            let got = slice.read(0, &mut bytes).map_err(|e| {
                let error = DiskError::new("read", &current.dir(), e);
                current.log_dir().judge(error)
            })?;
            bytes.truncate(got);
            match append_to(future, &bytes, log_start, now) {
                Ok(_) => {}
                Err(AppendError::Dir(e)) => return Err(e.into()),
                // A truncation came in between; what the current log has now is compared by the next step.
                Err(AppendError::UnexpectedOffset { .. }) => return Ok(MoveStep::Waiting),
                Err(other) => return Err(MoveError::Damaged(other.to_string())),
            }
            got as u64
        }
        None => 0,
    };
    future.update_high_watermark(current.high_watermark());
    if future.high_watermark() >= log_start {
        // Below its own high watermark this cannot be refused.
        drop(future.maybe_increment_log_start(log_start));
    }
    if copied > 0 || future.log_end_offset() != current.log_end_offset() {
        return Ok(MoveStep::Copied(copied));
    }
    Ok(MoveStep::CaughtUp)
}

/// An empty log begins with the batch that the log start lies inside. Kafka:
/// `Partition.appendRecordsToFollowerOrFutureReplica`.
fn append_to(future: &UnifiedLog, bytes: &[u8], log_start: Offset, now: Millis) -> Result<AppendInfo, AppendError> {
    match future.append_as_follower(bytes, now) {
        Err(AppendError::UnexpectedOffset { first, last, log_end })
            if log_end == log_start && first < log_start && last >= log_start =>
        {
            future.truncate_fully_and_start_at(first, Some(log_start), now)?;
            future.append_as_follower(bytes, now)
        }
        appended => appended,
    }
}

/// Cuts from the future log what the current one does not have.
fn follow_truncation(current: &UnifiedLog, future: &UnifiedLog, now: Millis) -> Result<(), DirError> {
    let keep = common_end(current, future);
    if keep < future.log_end_offset() {
        future.truncate_to(keep.max(0), now)?;
    }
    Ok(())
}

/// Up to where the future log has what the current one has, by leader epochs as a follower finds it.
fn common_end(current: &UnifiedLog, future: &UnifiedLog) -> Offset {
    match future.latest_epoch() {
        None => current.log_end_offset(),
        Some(epoch) => match current.end_offset_for_epoch(epoch) {
            Some(there) if there.epoch == epoch => there.end_offset,
            Some(there) => future
                .end_offset_for_epoch(there.epoch)
                .map_or(there.end_offset, |here| here.end_offset.min(there.end_offset)),
            // The current log knows none of its epochs: only the committed part is known to be the same.
            None => current.log_end_offset().min(future.high_watermark()),
        },
    }
}

/// Two logs of one partition: first the one that has every record of the other. None where that is not certain, as of
/// copies that an operator has made: they are of one topic, and the longer one begins no later and knows the last epoch of the
/// other up to the other's end. Records of one topic with the same epoch and offset are the same, and so are all before them.
/// Of two that are the same the one in the directory of the lesser name comes first.
pub(super) fn whole_and_part<'a>(
    a: &'a Arc<UnifiedLog>,
    b: &'a Arc<UnifiedLog>,
) -> Option<(&'a Arc<UnifiedLog>, &'a Arc<UnifiedLog>)> {
    let rank = |log: &UnifiedLog| (log.log_end_offset(), Reverse(log.dir().to_path_buf()));
    let (whole, part) = if rank(a) > rank(b) { (a, b) } else { (b, a) };
    let is_one_topic = whole.topic_id().is_some() && whole.topic_id() == part.topic_id();
    let begins_in_time = whole.log_start_offset() <= part.log_start_offset();
    let is_empty = part.log_start_offset() == part.log_end_offset();
    let is_known = part.latest_epoch().is_some_and(|epoch| whole.end_offset_for_epoch(epoch).is_some());
    let is_same = is_known && common_end(whole, part) >= part.log_end_offset();
    (is_one_topic && begins_in_time && (is_empty || is_same)).then_some((whole, part))
}

#[cfg(test)]
mod tests;
