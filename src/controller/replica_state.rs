//! Owns the states of a replica and their valid transitions. Pure. Kafka: `ReplicaState` of `ReplicaStateMachine`.
//!
//! ```text
//! NonExistent → New → Online ⇄ Offline → DeletionStarted → DeletionSuccessful → NonExistent
//!                                ↑  ↓       ↓
//!                                DeletionIneligible
//! ```

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplicaState {
    /// Created by this controller; no LeaderAndIsr has been sent to its broker yet.
    New,
    Online,
    /// Its broker is gone, or its log directory failed; or it is about to be deleted.
    Offline,
    DeletionStarted,
    DeletionSuccessful,
    /// Deletion failed or is not possible; it is retried when its broker is back.
    DeletionIneligible,
    NonExistent,
}

impl ReplicaState {
    pub(super) fn may_follow(self, previous: Self) -> bool {
        match self {
            Self::New => matches!(previous, Self::NonExistent),
            Self::Online | Self::Offline => {
                matches!(previous, Self::New | Self::Online | Self::Offline | Self::DeletionIneligible)
            }
            Self::DeletionStarted => matches!(previous, Self::Offline),
            Self::DeletionSuccessful => matches!(previous, Self::DeletionStarted),
            Self::DeletionIneligible => matches!(previous, Self::Offline | Self::DeletionStarted),
            Self::NonExistent => matches!(previous, Self::DeletionSuccessful),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ReplicaState::*;

    #[test]
    fn a_replica_is_deleted_only_by_way_of_offline() {
        assert!(Offline.may_follow(Online) && DeletionStarted.may_follow(Offline));
        assert!(!DeletionStarted.may_follow(Online));
        assert!(!DeletionSuccessful.may_follow(Offline));
        assert!(DeletionIneligible.may_follow(DeletionStarted) && Offline.may_follow(DeletionIneligible));
        assert!(!Online.may_follow(DeletionStarted) && !Online.may_follow(NonExistent));
    }
}
