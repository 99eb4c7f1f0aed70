//! Owns the states of a partition and their valid transitions. Pure. Kafka: `PartitionState` of
//! `PartitionStateMachine`.
//!
//! ```text
//! NonExistent → New → Online ⇄ Offline → NonExistent
//! ```

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartitionState {
    /// Has replicas, and no leader yet.
    New,
    Online,
    /// Its leader is offline.
    Offline,
    NonExistent,
}

impl PartitionState {
    pub(super) fn may_follow(self, previous: Self) -> bool {
        match self {
            Self::New => matches!(previous, Self::NonExistent),
            Self::Online | Self::Offline => !matches!(previous, Self::NonExistent),
            Self::NonExistent => matches!(previous, Self::Offline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::PartitionState::*;

    #[test]
    fn a_partition_ends_only_by_way_of_offline() {
        assert!(Online.may_follow(New) && Online.may_follow(Online) && Offline.may_follow(Online));
        assert!(!Online.may_follow(NonExistent) && !NonExistent.may_follow(Online) && !New.may_follow(Offline));
    }
}
