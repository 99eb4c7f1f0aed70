//! What strangers send, and the code that each hears.

use super::super::*;
use super::rig::*;
use crate::common::ErrorCode;
use crate::protocol::Str;
use bytes::Bytes;

#[test]
fn joins_that_make_no_sense_are_refused_and_what_group_they_leave_is_gone_with_the_next_expiry() {
    let mut rig = Rig::new();
    let base = rig.new_member();
    let cases = [
        (Join { session_timeout_ms: 5_999, ..base.clone() }, ErrorCode::InvalidSessionTimeout),
        (Join { session_timeout_ms: i32::MIN, ..base.clone() }, ErrorCode::InvalidSessionTimeout),
        (Join { session_timeout_ms: i32::MAX, ..base.clone() }, ErrorCode::InvalidSessionTimeout),
        (Join { member_id: "nobody".into(), ..base.clone() }, ErrorCode::UnknownMemberId),
        (Join { protocol_type: "".into(), ..base.clone() }, ErrorCode::InconsistentGroupProtocol),
        (Join { protocols: vec![], ..base.clone() }, ErrorCode::InconsistentGroupProtocol),
        (Join { client_id: "c".repeat(32_767).into(), ..base.clone() }, ErrorCode::UnknownServerError),
    ];
    for (join, code) in cases {
        let ticket = rig.join(join);
        assert_eq!(rig.joined(ticket).error, code);
        let is_new = base.group_id.clone();
        let made = !matches!(code, ErrorCode::InvalidSessionTimeout | ErrorCode::UnknownMemberId);
        let state = rig.machine.describe(&is_new).map(|group| group.state);
        assert_eq!(state, made.then_some("Empty"), "{code}");
    }
    rig.pass(config().offsets_retention_check_interval_ms);
    assert_eq!(rig.machine.groups(), 0);
}

#[test]
fn a_member_of_another_kind_of_group_is_refused() {
    let mut rig = Rig::new();
    rig.stable_pair();
    let connect = Join { protocol_type: "connect".into(), ..rig.new_member() };
    let connect = rig.join(connect);
    assert_eq!(rig.joined(connect).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn syncs_and_heartbeats_of_others_are_refused() {
    let mut rig = Rig::new();
    let (a, _) = rig.stable_pair();
    assert_eq!(rig.heartbeat(&a, 0), ErrorCode::IllegalGeneration);
    assert_eq!(rig.heartbeat(&a, i32::MAX), ErrorCode::IllegalGeneration);
    assert_eq!(rig.heartbeat("nobody", 1), ErrorCode::UnknownMemberId);
    let base = Sync { member: rig.member(&a, 1), protocol_type: None, protocol: None, assignments: Default::default() };
    let other_group = GroupMember { group_id: "other".into(), ..rig.member(&a, 1) };
    let other_instance = GroupMember { instance_id: Some("i".into()), ..rig.member(&a, 1) };
    let cases = [
        (Sync { member: rig.member("nobody", 1), ..base.clone() }, ErrorCode::UnknownMemberId),
        (Sync { member: rig.member(&a, 2), ..base.clone() }, ErrorCode::IllegalGeneration),
        (Sync { member: other_group, ..base.clone() }, ErrorCode::UnknownMemberId),
        (Sync { member: other_instance, ..base.clone() }, ErrorCode::UnknownMemberId),
        (Sync { protocol_type: Some("connect".into()), ..base.clone() }, ErrorCode::InconsistentGroupProtocol),
        (Sync { protocol: Some("sticky".into()), ..base.clone() }, ErrorCode::InconsistentGroupProtocol),
        (base, ErrorCode::None),
    ];
    for (sync, code) in cases {
        let ticket = rig.sync_as(sync);
        assert_eq!(rig.syncs[&ticket].error, code);
    }
}

#[test]
fn an_assignment_for_a_member_that_left_is_dropped_and_a_missing_one_is_empty() {
    let mut rig = Rig::new();
    let a = rig.new_member();
    let a = rig.join(a);
    rig.pass(2 * DELAY_MS);
    let id = rig.joined(a).member_id.clone();
    let sync = rig.sync(&id, 1, &[("gone", "X")]);
    rig.settle();
    assert_eq!((rig.syncs[&sync].error, rig.syncs[&sync].assignment.len()), (ErrorCode::None, 0));
    rig.reload();
    assert_eq!(rig.machine.describe("g").unwrap().members.len(), 1);
}

#[test]
fn commits_of_the_dead_the_old_and_the_unknown_are_refused() {
    let mut rig = Rig::new();
    let gone = rig.commit_as(rig.member("a", 3), None, vec![(tp(0), rig.offset(1))]);
    assert_eq!(rig.commits[&gone], [ErrorCode::IllegalGeneration]);
    let (a, _) = rig.stable_pair();
    let instance = GroupMember { instance_id: Some("i".into()), ..rig.member(&a, 1) };
    let cases = [
        (rig.member("", -1), ErrorCode::UnknownMemberId),
        (rig.member("nobody", 1), ErrorCode::UnknownMemberId),
        (rig.member(&a, 0), ErrorCode::IllegalGeneration),
        (rig.member(&a, -1), ErrorCode::IllegalGeneration),
        (instance, ErrorCode::UnknownMemberId),
    ];
    for (member, code) in cases {
        let ticket = rig.commit_as(member, None, vec![(tp(0), rig.offset(1))]);
        assert_eq!(rig.commits[&ticket], [code]);
    }
    // The leader has joined and not yet assigned.
    let b = rig.machine.describe("g").unwrap().members[1].id.clone();
    rig.rejoin(&a);
    rig.rejoin(&b);
    assert_eq!(rig.state(), "CompletingRebalance");
    let early = rig.commit_as(rig.member(&a, 2), None, vec![(tp(0), rig.offset(1))]);
    assert_eq!(rig.commits[&early], [ErrorCode::RebalanceInProgress]);
}

#[test]
fn names_of_32_kib_and_subscriptions_that_are_none_do_no_harm() {
    let mut rig = Rig::new();
    let long: Str = "g".repeat(32_767).into();
    let junk = Protocol { name: "range".into(), metadata: Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff]) };
    let join = Join { group_id: long.clone(), protocols: vec![junk], ..rig.new_member() };
    let ticket = rig.join(join);
    rig.pass(2 * DELAY_MS);
    let id = rig.joined(ticket).member_id.clone();
    let member = GroupMember { group_id: long.clone(), id: id.clone(), instance_id: None, generation: 1 };
    let assignments = [(id, Bytes::from(vec![0xff; 100_000]))].into();
    let sync = Sync { member, protocol_type: None, protocol: None, assignments };
    let sync = rig.sync_as(sync);
    rig.settle();
    assert_eq!(rig.syncs[&sync].assignment.len(), 100_000);
    rig.reload();
    assert_eq!(rig.machine.describe(&long).unwrap().state, "Stable");
}

#[test]
fn timeouts_of_zero_and_below_end_in_no_busy_loop() {
    let mut rig = Rig::new();
    let member = Join { rebalance_timeout_ms: -1, instance_id: Some("i".into()), ..rig.new_member() };
    let ticket = rig.join(member);
    rig.pass(2 * DELAY_MS);
    let id = rig.joined(ticket).member_id.clone();
    rig.sync(&id, 1, &[]);
    rig.settle();
    let other = Join { rebalance_timeout_ms: i32::MIN, ..rig.new_member() };
    rig.join(other);
    // The static member never joins again, the new one's client is gone: sessions end it.
    rig.pass(500_000);
    assert_eq!(rig.state(), "Empty");
}
