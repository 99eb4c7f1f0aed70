//! Owns the rules of a partition's reassignment: what is refused, the resulting assignment, when it is complete. Pure.
//! Kafka: `validateReplicas`, `maybeBuildReassignment` and `isReassignmentComplete` of `KafkaController`; KIP-455.
//!
//! Texts are Kafka's: clients print them.

use super::context::Context;
use super::topics::Refusal;
use crate::common::{BrokerId, ErrorCode, TopicPartition};
use crate::zk::data::topic::ReplicaAssignment;

/// The assignment during a move that a client of the API requested: to `target`, or back to the origin of the ongoing
/// move.
pub(super) fn asked(
    context: &Context,
    tp: &TopicPartition,
    target: Option<&[BrokerId]>,
) -> Result<ReplicaAssignment, Refusal> {
    let current = context.assignment(tp).cloned().unwrap_or_default();
    let Some(target) = target else {
        if current.is_being_reassigned() {
            return movable(context, tp).map(|()| current.reassigned_to(&current.origin()));
        }
        let code = ErrorCode::NoReassignmentInProgress;
        return Err(Refusal { code, message: code.message().to_owned() });
    };
    check_list(target)?;
    let moving = current.reassigned_to(target);
    if !moving.adding.iter().all(|id| context.is_live(*id)) {
        let live: Vec<BrokerId> = context.broker_ids().into_iter().filter(|id| context.is_live(*id)).collect();
        return Err(invalid(format!(
            "Replica assignment has brokers that are not alive. Replica list: {}, live broker list: {}",
            shown("ArrayBuffer", &moving.adding),
            shown("Set", &live)
        )));
    }
    movable(context, tp).map(|()| moving)
}

/// As [`asked`], for `/admin/reassign_partitions`. There a move waits for brokers that are offline, as in Kafka. A list
/// that is empty or names no broker is refused, where Kafka would delete every replica, or wait forever.
pub(super) fn written(
    context: &Context,
    tp: &TopicPartition,
    target: &[BrokerId],
) -> Result<ReplicaAssignment, Refusal> {
    let mut distinct: Vec<BrokerId> = Vec::new();
    for id in target {
        if !distinct.contains(id) {
            distinct.push(*id);
        }
    }
    check_list(&distinct)?;
    movable(context, tp)?;
    Ok(context.assignment(tp).cloned().unwrap_or_default().reassigned_to(&distinct))
}

fn check_list(replicas: &[BrokerId]) -> Result<(), Refusal> {
    let is_twice = |at: usize, id: &BrokerId| replicas.iter().take(at).any(|other| other == id);
    if replicas.is_empty() {
        Err(invalid("Empty replica list specified in partition reassignment.".to_owned()))
    } else if replicas.iter().enumerate().any(|(at, id)| is_twice(at, id)) {
        let list = shown("ArrayBuffer", replicas);
        Err(invalid(format!("Duplicate replica ids in partition reassignment replica list: {list}")))
    } else if replicas.iter().any(|id| id.0 < 0) {
        Err(invalid(format!("Invalid broker id in replica list: {}", shown("ArrayBuffer", replicas))))
    } else {
        Ok(())
    }
}

fn movable(context: &Context, tp: &TopicPartition) -> Result<(), Refusal> {
    if context.to_delete.contains(&tp.topic) || context.replicas(tp).is_empty() {
        let message = "The partition does not exist.".to_owned();
        return Err(Refusal { code: ErrorCode::UnknownTopicOrPartition, message });
    }
    Ok(())
}

fn invalid(message: String) -> Refusal {
    Refusal { code: ErrorCode::InvalidReplicaAssignment, message }
}

/// A list as Kafka's messages show it, with Scala's name of its class.
fn shown(class: &str, ids: &[BrokerId]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("{class}({})", ids.join(", "))
}

/// Whether every replica of the target is in sync, so that the others can be removed.
pub(super) fn is_complete(assignment: &ReplicaAssignment, isr: &[BrokerId]) -> bool {
    !assignment.is_being_reassigned() || assignment.target().iter().all(|id| isr.contains(id))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, ids, tp};
    use super::*;

    fn refused(context: &Context, partition: i32, target: Option<&[i32]>) -> (ErrorCode, String) {
        let target = target.map(ids);
        let refusal = asked(context, &tp("t", partition), target.as_deref()).unwrap_err();
        (refusal.code, refusal.message)
    }

    #[test]
    fn what_clients_may_not_ask_is_refused_in_kafkas_words() {
        let mut context = context(&[1, 2, 3], &[("t", 0, &[1, 2])]);
        let invalid = |message: &str| (ErrorCode::InvalidReplicaAssignment, message.to_owned());
        let empty = "Empty replica list specified in partition reassignment.";
        assert_eq!(refused(&context, 0, Some(&[])), invalid(empty));
        let twice = "Duplicate replica ids in partition reassignment replica list: ArrayBuffer(1, 1)";
        assert_eq!(refused(&context, 0, Some(&[1, 1])), invalid(twice));
        let negative = "Invalid broker id in replica list: ArrayBuffer(1, -2)";
        assert_eq!(refused(&context, 0, Some(&[1, -2])), invalid(negative));
        let dead = "Replica assignment has brokers that are not alive. Replica list: ArrayBuffer(9), live broker list: \
                    Set(1, 2, 3)";
        assert_eq!(refused(&context, 0, Some(&[1, 9])), invalid(dead));
        let unknown = (ErrorCode::UnknownTopicOrPartition, "The partition does not exist.".to_owned());
        assert_eq!(refused(&context, 7, Some(&[1])), unknown);
        let nothing = (ErrorCode::NoReassignmentInProgress, "No partition reassignment is in progress.".to_owned());
        assert_eq!(refused(&context, 0, None), nothing);
        assert_eq!(refused(&context, 7, None), nothing);
        context.to_delete.insert("t".into());
        assert_eq!(refused(&context, 0, Some(&[3])), unknown);
    }

    #[test]
    fn a_dead_replica_may_stay_and_a_cancellation_goes_back() {
        let mut context = context(&[1, 3], &[("t", 0, &[1, 2])]);
        let moving = asked(&context, &tp("t", 0), Some(&ids(&[2, 3]))).unwrap();
        let expected = ReplicaAssignment { replicas: ids(&[2, 3, 1]), adding: ids(&[3]), removing: ids(&[1]) };
        assert_eq!(moving, expected);
        context.set_assignment(&tp("t", 0), moving.clone());
        assert_eq!(asked(&context, &tp("t", 0), None), Ok(ReplicaAssignment::of(ids(&[2, 1]))));
        assert!(!is_complete(&moving, &ids(&[1, 2])));
        assert!(is_complete(&moving, &ids(&[1, 3, 2])));
        assert!(is_complete(&ReplicaAssignment::of(ids(&[2, 1])), &[]));
    }

    #[test]
    fn the_old_znode_waits_for_dead_brokers_and_never_empties_a_partition() {
        let context = context(&[1], &[("t", 0, &[1])]);
        let moving = written(&context, &tp("t", 0), &ids(&[9, 9, 1])).unwrap();
        assert_eq!(moving, ReplicaAssignment { replicas: ids(&[9, 1]), adding: ids(&[9]), removing: ids(&[]) });
        let code = |partition, target: &[i32]| written(&context, &tp("t", partition), &ids(target)).unwrap_err().code;
        assert_eq!(code(0, &[]), ErrorCode::InvalidReplicaAssignment);
        assert_eq!(code(0, &[-1]), ErrorCode::InvalidReplicaAssignment);
        assert_eq!(code(1, &[1]), ErrorCode::UnknownTopicOrPartition);
    }
}
