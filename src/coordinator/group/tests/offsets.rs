//! Commits, transactions and expiry of offsets.

use super::super::*;
use super::rig::*;
use crate::common::{ErrorCode, TopicPartition};
use crate::coordinator::runtime::StoreError;

const PRODUCER: TxnProducer = TxnProducer { id: 7, epoch: 0, guard: None };

#[test]
fn a_commit_is_seen_once_it_is_stored_and_is_unstable_before() {
    let mut rig = Rig::new();
    let first = rig.commit(0, 10);
    assert!(rig.commits.is_empty());
    let stable = |rig: &Rig| rig.machine.fetch_offsets("g", Some(&[tp(0)]), true)[0].1.error;
    assert_eq!((rig.committed(0), stable(&rig)), (-1, ErrorCode::UnstableOffsetCommit));
    rig.settle();
    assert_eq!((rig.committed(0), stable(&rig)), (10, ErrorCode::None));
    assert_eq!(rig.commits[&first], [ErrorCode::None]);
}

#[test]
fn a_commit_that_fails_leaves_what_was() {
    let mut rig = Rig::new();
    rig.commit(0, 10);
    rig.settle();
    let lost = rig.commit(0, 20);
    rig.end_append(Err(StoreError::NotLeader));
    assert_eq!(rig.commits[&lost], [ErrorCode::NotCoordinator]);
    assert_eq!(rig.committed(0), 10);
    let too_large = rig.commit(0, 30);
    rig.end_append(Err(StoreError::LargerThanSegment));
    assert_eq!(rig.commits[&too_large], [ErrorCode::InvalidCommitOffsetSize]);
}

#[test]
fn long_metadata_is_refused_for_its_partition_alone() {
    let mut rig = Rig::new();
    let long = CommittedOffset { metadata: "x".repeat(17).into(), ..rig.offset(1) };
    let fits = CommittedOffset { metadata: "ü".repeat(16).into(), ..rig.offset(2) };
    let offsets = vec![(tp(0), long.clone()), (tp(1), fits)];
    let both = rig.commit_as(rig.member("", -1), None, offsets);
    rig.settle();
    assert_eq!(rig.commits[&both], [ErrorCode::OffsetMetadataTooLarge, ErrorCode::None]);
    let none = rig.commit_as(rig.member("", -1), None, vec![(tp(0), long)]);
    assert_eq!(rig.commits[&none], [ErrorCode::OffsetMetadataTooLarge]);
    assert_eq!((rig.committed(0), rig.committed(1)), (-1, 2));
}

#[test]
fn offsets_of_a_transaction_count_from_its_commit_on() {
    let mut rig = Rig::new();
    rig.commit(0, 1);
    rig.settle();
    let within = |rig: &mut Rig, offset| {
        let offsets = vec![(tp(0), rig.offset(offset))];
        rig.commit_as(rig.member("", -1), Some(PRODUCER), offsets);
        rig.settle();
    };
    within(&mut rig, 2);
    assert_eq!(rig.committed(0), 1);
    rig.end_transaction(PRODUCER.id, false);
    assert_eq!(rig.committed(0), 1);
    within(&mut rig, 3);
    rig.reload();
    let fetched = rig.machine.fetch_offsets("g", Some(&[tp(0)]), true);
    assert_eq!(fetched[0].1.error, ErrorCode::UnstableOffsetCommit);
    rig.end_transaction(PRODUCER.id, true);
    assert_eq!(rig.committed(0), 3);
    rig.reload();
    assert_eq!(rig.committed(0), 3);
}

#[test]
fn a_marker_that_is_reported_late_decides_nothing_of_the_next_transaction() {
    let mut rig = Rig::new();
    let within = |rig: &mut Rig, offset| {
        let offsets = vec![(tp(0), rig.offset(offset))];
        rig.commit_as(rig.member("", -1), Some(PRODUCER), offsets);
    };
    within(&mut rig, 41);
    rig.settle();
    // The coordinator of transactions had no answer for the first marker in time, and had another one written.
    let late = rig.write_marker(PRODUCER.id, true);
    rig.end_transaction(PRODUCER.id, true);
    assert_eq!(rig.committed(0), 41);
    within(&mut rig, 42);
    rig.step(|m, _, _| m.on_transaction_marker(PRODUCER.id, true, late));
    rig.settle();
    rig.step(|m, _, _| m.on_transaction_marker(PRODUCER.id, true, late));
    assert_eq!(rig.committed(0), 41, "42 is not decided");
    let fetched = rig.machine.fetch_offsets("g", Some(&[tp(0)]), true);
    assert_eq!(fetched[0].1.error, ErrorCode::UnstableOffsetCommit);
    rig.end_transaction(PRODUCER.id, false);
    assert_eq!(rig.committed(0), 41);
    rig.reload();
    assert_eq!(rig.committed(0), 41);
}

#[test]
fn what_was_written_later_counts_whichever_was_decided_later() {
    let mut rig = Rig::new();
    let offsets = vec![(tp(0), rig.offset(5))];
    rig.commit_as(rig.member("", -1), Some(PRODUCER), offsets);
    rig.commit(0, 6);
    rig.settle();
    rig.end_transaction(PRODUCER.id, true);
    assert_eq!(rig.committed(0), 6);
    rig.reload();
    assert_eq!(rig.committed(0), 6);
}

#[test]
fn a_transaction_says_which_member_it_works_for_and_is_fenced_by_it() {
    let mut rig = Rig::new();
    let (a, _) = rig.stable_pair();
    let mut code = |member: GroupMember| {
        let offsets = vec![(tp(0), rig.offset(1))];
        let ticket = rig.commit_as(member, Some(PRODUCER), offsets);
        rig.settle();
        rig.commits[&ticket][0]
    };
    let member =
        |id: &str, generation| GroupMember { group_id: "g".into(), id: id.into(), instance_id: None, generation };
    assert_eq!(code(member(&a, 1)), ErrorCode::None);
    assert_eq!(code(member(&a, 0)), ErrorCode::IllegalGeneration);
    assert_eq!(code(member("other", 1)), ErrorCode::UnknownMemberId);
    assert_eq!(code(member("", -1)), ErrorCode::None, "before KIP-447 nothing was said");
    let instance = GroupMember { instance_id: Some("i".into()), ..member(&a, 1) };
    assert_eq!(code(instance), ErrorCode::UnknownMemberId);
}

#[test]
fn offsets_of_a_group_without_members_expire_and_the_group_with_them() {
    let mut rig = Rig::new();
    let (a, b) = rig.stable_pair();
    rig.commit_as(rig.member(&a, 1), None, vec![(tp(0), rig.offset(9))]);
    rig.settle();
    rig.leave(&a);
    rig.leave(&b);
    rig.settle();
    rig.pass(RETENTION_MS - 1_000_000);
    assert_eq!((rig.committed(0), rig.state()), (9, "Empty"));
    rig.pass(2_000_000);
    assert_eq!((rig.committed(0), rig.state()), (-1, "Dead"));
    assert_eq!(rig.machine.groups(), 0);
    rig.reload();
    assert_eq!(rig.machine.groups(), 0, "the tombstones say so too");
}

#[test]
fn offsets_of_topics_that_a_consumer_still_reads_do_not_expire() {
    let mut rig = Rig::new();
    let (a, b) = rig.stable_pair();
    let other = TopicPartition::new("other", 0);
    rig.commit_as(rig.member(&a, 1), None, vec![(tp(0), rig.offset(9)), (other.clone(), rig.offset(9))]);
    rig.settle();
    let until = rig.now.ticks + RETENTION_MS + 1_000_000;
    let step = i64::from(SESSION_MS) - 1;
    rig.machine.check();
    // Heartbeats of eleven days, without the days.
    let long = Join { session_timeout_ms: 1_800_000, member_id: a.clone(), ..rig.new_member() };
    rig.join(long);
    let long = Join { session_timeout_ms: 1_800_000, member_id: b.clone(), ..rig.new_member() };
    rig.join(long);
    rig.sync(&a, 2, &[]);
    rig.settle();
    rig.sync(&b, 2, &[]);
    while rig.now.ticks < until {
        assert_eq!((rig.heartbeat(&a, 2), rig.heartbeat(&b, 2)), (ErrorCode::None, ErrorCode::None));
        rig.pass(step.max(1_700_000));
    }
    assert_eq!(rig.committed(0), 9);
    assert_eq!(rig.machine.fetch_offsets("g", Some(&[other]), false)[0].1.offset, -1);
}

#[test]
fn an_old_commit_brings_its_own_retention() {
    let mut rig = Rig::new();
    let own = CommittedOffset { expire_timestamp: Some(rig.now.wall + 700_000), ..rig.offset(1) };
    rig.commit_as(rig.member("", -1), None, vec![(tp(0), own)]);
    rig.settle();
    rig.reload();
    rig.pass(600_000);
    assert_eq!(rig.committed(0), 1);
    rig.pass(600_000);
    assert_eq!(rig.committed(0), -1);
}

#[test]
fn administrators_delete_what_nobody_reads() {
    let mut rig = Rig::new();
    let (a, _) = rig.stable_pair();
    let other = TopicPartition::new("other", 0);
    rig.commit_as(rig.member(&a, 1), None, vec![(tp(0), rig.offset(9)), (other.clone(), rig.offset(9))]);
    rig.settle();
    let codes = rig.step(|m, now, out| m.delete_offsets(now, "g", &[tp(0), other], out));
    assert_eq!(codes, Ok(vec![ErrorCode::GroupSubscribedToTopic, ErrorCode::None]));
    let refused = rig.step(|m, now, out| m.delete_group(now, "g", out));
    assert_eq!(refused, ErrorCode::NonEmptyGroup);
    let unknown = rig.step(|m, now, out| m.delete_offsets(now, "none", &[tp(0)], out));
    assert_eq!(unknown, Err(ErrorCode::GroupIdNotFound));
    assert_eq!(rig.step(|m, now, out| m.delete_group(now, "none", out)), ErrorCode::GroupIdNotFound);
}

#[test]
fn a_deleted_group_and_deleted_topics_leave_nothing_in_the_log() {
    let mut rig = Rig::new();
    rig.commit(0, 1);
    rig.commit(1, 1);
    rig.settle();
    rig.step(|m, now, out| m.on_partitions_deleted(now, &[tp(0)], out));
    assert_eq!((rig.committed(0), rig.committed(1)), (-1, 1));
    rig.reload();
    assert_eq!((rig.committed(0), rig.committed(1)), (-1, 1));
    assert_eq!(rig.step(|m, now, out| m.delete_group(now, "g", out)), ErrorCode::None);
    rig.reload();
    assert_eq!(rig.machine.groups(), 0);
}
