//! Owns the choice of the replica that a consumer should read from (KIP-392). Kafka: `RackAwareReplicaSelector`. Pure.

use crate::cluster::partition::ReadableReplica;
use crate::common::BrokerId;

/// The replica in the consumer's rack, or None for the leader. `replicas` has the leader first; `rack_of` knows the
/// brokers that the consumer can reach.
pub(super) fn rack_aware<'a>(
    rack: &str,
    replicas: &[ReadableReplica],
    rack_of: impl Fn(BrokerId) -> Option<&'a str>,
) -> Option<BrokerId> {
    if rack.is_empty() {
        return None;
    }
    let is_near = |replica: &&ReadableReplica| rack_of(replica.id) == Some(rack);
    let (leader, followers) = replicas.split_first()?;
    if is_near(&leader) {
        return None;
    }
    // Who has the most, then who caught up last.
    let best = followers.iter().filter(is_near).max_by_key(|r| (r.log_end, -r.since_caught_up, r.id));
    best.map(|replica| replica.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(id: i32, log_end: i64, since_caught_up: i64) -> ReadableReplica {
        ReadableReplica { id: BrokerId(id), log_end, since_caught_up }
    }

    #[test]
    fn the_nearest_replica_that_has_the_most_is_chosen_and_the_leader_before_all() {
        let racks = |id: BrokerId| [None, Some("a"), Some("b"), Some("b"), Some("c")][id.0 as usize];
        let choose = |rack, replicas: &[ReadableReplica]| rack_aware(rack, replicas, racks).map(|id| id.0);
        let leader = replica(1, 100, 0);
        assert_eq!(choose("b", &[leader, replica(2, 90, 0), replica(3, 95, 50)]), Some(3));
        assert_eq!(choose("b", &[leader, replica(2, 90, 10), replica(3, 90, 50)]), Some(2));
        assert_eq!(choose("a", &[leader, replica(2, 90, 0)]), None, "the leader is as near");
        assert_eq!(choose("z", &[leader, replica(2, 90, 0)]), None, "nobody is there");
        assert_eq!(choose("", &[leader, replica(0, 100, 0)]), None, "the consumer does not say where it is");
        assert_eq!(choose("b", &[]), None);
    }
}
