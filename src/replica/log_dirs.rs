//! Owns the moves of replicas between log directories of this broker, as partitions see them. Kafka:
//! `ReplicaManager.alterReplicaLogDirs`, `ReplicaAlterLogDirsManager`. These calls touch the disk: they run on the blocking
//! pool.

use super::host::NotHosted;
use super::manager::ReplicaManager;
use super::partitions::Hosted;
use crate::common::{Millis, TopicPartition};
use crate::log::{MoveError, MoveStep, UnifiedLog};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::{error, warn};

/// Why a replica is not moved to another log directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterLogDirError {
    #[error("the name of its directory would be too long")]
    NameTooLong,
    #[error("the log directory is not one of this broker's")]
    NoSuchDir,
    /// When this broker gets one it goes to the directory that was asked for, but for one that is offline.
    #[error(transparent)]
    NotHosted(#[from] NotHosted),
    /// It is served, but not from a log that could move.
    #[error("the log is still recovered")]
    NotReady,
    #[error("a log directory has failed")]
    Dir,
}

/// Bytes that one step of a move copies.
const STEP_BYTES: u32 = 1 << 20;

/// What one round over all moves did.
#[derive(Clone, Copy, Debug, Default)]
pub struct MoveRound {
    pub copied: u64,
    /// Moves that are not complete.
    pub left: usize,
}

impl ReplicaManager {
    /// Begins to move a replica into `dir`.
    pub fn alter_log_dir(&self, tp: &TopicPartition, dir: &Path, now: Millis) -> Result<(), AlterLogDirError> {
        let _in_change = self.states().claim(tp);
        if matches!(self.host.partitions.get(&tp.topic, tp.partition), Some(Hosted::Offline)) {
            return Err(NotHosted::Offline.into());
        }
        self.host.logs.alter_log_dir(tp, dir, now).map_err(|error| match error {
            MoveError::NameTooLong(_) => AlterLogDirError::NameTooLong,
            MoveError::NoSuchDir(_) => AlterLogDirError::NoSuchDir,
            MoveError::NoReplica(_) => match self.host.partition(&tp.topic, tp.partition) {
                Ok(_) => AlterLogDirError::NotReady,
                Err(error) => error.into(),
            },
            MoveError::DirsOffline | MoveError::Damaged(_) | MoveError::Dir(_) => {
                warn!(%tp, dir = %dir.display(), %error, "replica is not moved");
                AlterLogDirError::Dir
            }
        })
    }

    /// Copies a step of every move, and completes those that have caught up. As many at a time as there are `threads`:
    /// `num.replica.alter.log.dirs.threads`, which moves between fast disks need to keep them busy.
    pub fn advance_moves(&self, threads: usize, now: Millis) -> MoveRound {
        let moves = self.host.logs.moves();
        let next = AtomicUsize::new(0);
        let work = || {
            let mut round = MoveRound::default();
            while let Some(tp) = moves.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.advance_move(tp, now, &mut round);
            }
            round
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(moves.len())).map(|_| scope.spawn(work)).collect();
            let mut total = work();
            for other in others {
                match other.join() {
                    Ok(round) => {
                        total.copied += round.copied;
                        total.left += round.left;
                    }
                    Err(panic) => std::panic::resume_unwind(panic),
                }
            }
            total
        })
    }

    fn advance_move(&self, tp: &TopicPartition, now: Millis, round: &mut MoveRound) {
        round.left += 1;
        match self.host.logs.advance_move(tp, STEP_BYTES, now) {
            Ok(MoveStep::Copied(bytes)) => round.copied += bytes,
            Ok(MoveStep::Waiting) => {}
            Ok(MoveStep::CaughtUp) => round.left -= usize::from(self.complete_move(tp, now)),
            Err(error) => error!(%tp, %error, "replica does not move on"),
        }
    }

    /// True when the partition is served from its new directory.
    fn complete_move(&self, tp: &TopicPartition, now: Millis) -> bool {
        // A role change takes its log before it installs it: the two must not cross.
        let _in_change = self.states().claim(tp);
        let mut moved = None;
        let mut complete = |install: &mut dyn FnMut(&Arc<UnifiedLog>)| {
            self.host.logs.complete_move(tp, STEP_BYTES, now, &mut |log| {
                install(log);
                moved = Some(Arc::clone(log));
            })
        };
        let outcome = match self.host.partitions.get(&tp.topic, tp.partition) {
            Some(Hosted::Online(partition)) => partition.replace_log(complete),
            Some(Hosted::Offline) | None => complete(&mut |_| {}),
        };
        let old = match outcome {
            Ok(Some(old)) => old,
            Ok(None) => return false,
            Err(error) => {
                warn!(%tp, %error, "move not completed");
                return false;
            }
        };
        self.host.waits.wake_all(tp);
        if let Some(moved) = moved {
            self.host.logs.retire(&old, &moved);
            let dir = moved.log_dir();
            if dir.is_offline() {
                // It has failed, perhaps before the partition was there. The broker's end is decided by the failure itself.
                self.states().on_dir_failure(dir.path());
            }
        }
        true
    }
}
