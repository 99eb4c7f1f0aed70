//! Owns which elections and resignations count: requests of the controller are obeyed in order, and reported here in any.
//! Pure.
//!
//! The rule is that of Kafka 3.9 (`GroupMetadataManager.maybeUpdateCoordinatorEpoch`): only what is older than the epoch
//! that is known comes late. An equal epoch counts, since a replica is stopped in the epoch in which it led, and since an
//! election may find that its shard is gone; Kafka 4 passes over equal ones and goes on without a shard that failed to
//! load. What 3.9 does with an election of a partition that it has already, nothing, is right for an equal epoch only: a
//! broker is elected in a later epoch when it did not lead in between, so that another may have written to the log, and
//! its resignation is what comes late.

use crate::common::LeaderEpoch;
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// A shard is to be started, in place of one that runs.
    Start,
    /// The shard of this election runs.
    Known,
    Late,
}

/// The latest leader epoch that was heard of, by partition.
#[derive(Debug, Default)]
pub(super) struct Epochs(BTreeMap<i32, LeaderEpoch>);

impl Epochs {
    /// `running`: the epoch of the shard that runs.
    pub(super) fn on_election(&mut self, partition: i32, epoch: LeaderEpoch, running: Option<LeaderEpoch>) -> Election {
        if self.is_late(partition, epoch) {
            return Election::Late;
        }
        self.0.insert(partition, epoch);
        if running == Some(epoch) { Election::Known } else { Election::Start }
    }

    /// Without an epoch the partition is deleted. False: this comes late.
    pub(super) fn on_resignation(&mut self, partition: i32, epoch: Option<LeaderEpoch>) -> bool {
        match epoch {
            Some(epoch) if self.is_late(partition, epoch) => return false,
            Some(epoch) => {
                self.0.insert(partition, epoch);
            }
            // A topic that is made again begins with the first epoch. Kafka passes that over until a restart.
            None => {
                self.0.remove(&partition);
            }
        }
        true
    }

    fn is_late(&self, partition: i32, epoch: LeaderEpoch) -> bool {
        self.0.get(&partition).is_some_and(|known| *known > epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: i32 = 3;

    #[test]
    fn what_is_older_than_the_latest_epoch_comes_late() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.on_election(P, LeaderEpoch(5), None), Election::Start);
        assert!(!epochs.on_resignation(P, Some(LeaderEpoch(4))));
        assert_eq!(epochs.on_election(P, LeaderEpoch(4), Some(LeaderEpoch(5))), Election::Late);
        assert!(epochs.on_resignation(P, Some(LeaderEpoch(7))));
        assert_eq!(epochs.on_election(P, LeaderEpoch(6), None), Election::Late);
        assert_eq!(epochs.on_election(P + 1, LeaderEpoch(0), None), Election::Start, "another partition");
    }

    #[test]
    fn an_election_starts_a_shard_where_none_of_its_epoch_runs() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.on_election(P, LeaderEpoch(5), None), Election::Start);
        assert_eq!(epochs.on_election(P, LeaderEpoch(5), Some(LeaderEpoch(5))), Election::Known, "reported twice");
        // The resignation in epoch 6 is on its way: what is loaded is not what the log says any more.
        assert_eq!(epochs.on_election(P, LeaderEpoch(7), Some(LeaderEpoch(5))), Election::Start);
        assert!(!epochs.on_resignation(P, Some(LeaderEpoch(6))));
    }

    #[test]
    fn a_replica_is_stopped_in_the_epoch_in_which_it_led() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.on_election(P, LeaderEpoch(5), None), Election::Start);
        assert!(epochs.on_resignation(P, Some(LeaderEpoch(5))));
        assert_eq!(epochs.on_election(P, LeaderEpoch(5), None), Election::Start);
    }

    #[test]
    fn a_partition_that_was_deleted_begins_anew() {
        let mut epochs = Epochs::default();
        assert_eq!(epochs.on_election(P, LeaderEpoch(5), None), Election::Start);
        assert!(epochs.on_resignation(P, None));
        assert_eq!(epochs.on_election(P, LeaderEpoch(0), None), Election::Start);
    }
}
