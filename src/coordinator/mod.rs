//! Owns the coordinators: who shares work with whom, what was consumed. Kafka: `kafka.coordinator`.
//!
//! Each keeps its state in an internal topic, and serves the keys of those partitions of it that this broker leads. What
//! they have in common is in `runtime`; [`group`] and [`transaction`] are what runs on it.
//!
//! Errors of the log and of the frame are enums, whose codes are chosen in `codes`. What a machine decides about a member,
//! an offset or a producer is an answer of Kafka's protocol and is kept as its code: an enum would copy the table name by
//! name (UNKNOWN_MEMBER_ID, ILLEGAL_GENERATION, PRODUCER_FENCED), and `server` would copy it back.

mod codes;
pub mod group;
mod runtime;
pub mod transaction;

use crate::common::java;
use crate::zk::client::{Client, Error};
use crate::zk::topics;

/// `Topic.GROUP_METADATA_TOPIC_NAME`.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// `Topic.TRANSACTION_STATE_TOPIC_NAME`.
pub const TRANSACTIONS_TOPIC: &str = "__transaction_state";

/// The partition of an internal topic that a group id or a transactional id belongs to. Kafka: `partitionFor`, by Java's
/// `String.hashCode`, which counts UTF-16 units.
pub fn partition_for(key: &str, partitions: i32) -> i32 {
    let hash = java::hash_code(key).cast_signed();
    // `Utils.abs` makes a zero of the one number that has no counterpart.
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

/// How many partitions an internal topic has: those of ZooKeeper, or `planned` while it does not exist. Asked once, at
/// the start, as in Kafka: a key must not move to another partition while coordinators run.
pub async fn partition_count(zk: &Client, topic: &str, planned: i32) -> Result<i32, Error> {
    let topics = topics::assignments(zk, &[topic], None).await?;
    Ok(topics.get(topic).map_or(planned, |(assignment, _)| assignment.partitions.len() as i32))
}

#[cfg(test)]
mod tests {
    use super::partition_for;

    #[test]
    fn partitions_are_those_of_the_java_hash() {
        let keys = ["g1", "my-group", "console-consumer-1", "tx1", "polygenelubricants", "grüße", ""];
        assert_eq!(keys.map(|key| partition_for(key, 50)), [42, 12, 24, 45, 0, 23, 0]);
    }
}
