//! Joining, syncing, heartbeats and leaving.

use super::super::*;
use super::rig::*;
use crate::common::ErrorCode;
use crate::coordinator::runtime::StoreError;

#[test]
fn the_first_members_gather_for_the_initial_delay_and_the_leader_learns_of_all() {
    let mut rig = Rig::new();
    let (a, b) = (rig.new_member(), rig.new_member());
    let a = rig.join(a);
    rig.pass(DELAY_MS - 1);
    let b = rig.join(b);
    rig.pass(DELAY_MS);
    assert_eq!(rig.joins.len(), 0, "a second member prolongs the wait");
    rig.pass(1);
    let (leader, follower) = (rig.joined(a).clone(), rig.joined(b).clone());
    assert_eq!((leader.generation, follower.generation), (1, 1));
    assert_eq!((leader.members.len(), follower.members.len()), (2, 0));
    assert_eq!((&leader.leader, &follower.leader), (&leader.member_id, &leader.member_id));
    assert_eq!(rig.state(), "CompletingRebalance");

    let early = rig.sync(&follower.member_id, 1, &[]);
    assert!(!rig.syncs.contains_key(&early));
    let sync = rig.sync(&leader.member_id, 1, &[(&leader.member_id, "A"), (&follower.member_id, "B")]);
    assert!(!rig.syncs.contains_key(&sync), "nobody is told before it is in the log");
    rig.settle();
    assert_eq!((&rig.syncs[&sync].assignment[..], &rig.syncs[&early].assignment[..]), (&b"A"[..], &b"B"[..]));
    assert_eq!(rig.state(), "Stable");
}

#[test]
fn the_initial_delay_ends_at_the_rebalance_timeout_however_many_come() {
    let mut rig = Rig::new();
    let first = Join { rebalance_timeout_ms: 10_000, ..rig.new_member() };
    let first = rig.join(first);
    for _ in 0..9 {
        rig.pass(1_000);
        let next = Join { rebalance_timeout_ms: 10_000, ..rig.new_member() };
        rig.join(next);
    }
    rig.pass(2_000);
    assert!(rig.joins.contains_key(&first));
}

#[test]
fn a_dynamic_member_comes_back_with_the_id_that_it_is_given() {
    let mut rig = Rig::new();
    let join = Join { requires_known_member_id: true, ..rig.new_member() };
    let ticket = rig.join(join);
    let (error, id) = (rig.joined(ticket).error, rig.joined(ticket).member_id.clone());
    assert_eq!((error, id.starts_with("c-")), (ErrorCode::MemberIdRequired, true));
    let ticket = rig.rejoin(&id);
    rig.pass(2 * DELAY_MS);
    assert_eq!((rig.joined(ticket).error, &rig.joined(ticket).member_id), (ErrorCode::None, &id));
}

#[test]
fn an_id_that_nobody_comes_back_with_is_forgotten_and_holds_no_rebalance_up() {
    let mut rig = Rig::new();
    let (a, _) = rig.stable_pair();
    let join = Join { requires_known_member_id: true, ..rig.new_member() };
    let lost = rig.join(join);
    let lost = rig.joined(lost).member_id.clone();
    rig.heartbeat(&a, 1);
    rig.pass(SESSION_MS.into());
    let late = rig.rejoin(&lost);
    assert_eq!(rig.joined(late).error, ErrorCode::UnknownMemberId);
}

#[test]
fn a_member_that_is_not_heard_of_is_out_and_the_others_rebalance() {
    let mut rig = Rig::new();
    let (a, b) = rig.stable_pair();
    rig.pass(6_000);
    assert_eq!(rig.heartbeat(&a, 1), ErrorCode::None);
    rig.pass(5_000);
    assert_eq!(rig.state(), "PreparingRebalance");
    assert_eq!(rig.heartbeat(&a, 1), ErrorCode::RebalanceInProgress);
    assert_eq!(rig.heartbeat(&b, 1), ErrorCode::UnknownMemberId);
    let again = rig.rejoin(&a);
    assert_eq!((rig.joined(again).generation, rig.joined(again).members.len()), (2, 1));
}

#[test]
fn dynamic_members_that_do_not_join_in_time_are_out_and_another_leads() {
    let mut rig = Rig::new();
    let (a, b) = rig.stable_pair();
    let other = Join { member_id: b.clone(), protocols: vec![named("range", &["t", "u"])], ..rig.new_member() };
    let again = rig.join(other);
    for _ in 0..7 {
        // The leader stays alive, and never joins.
        rig.heartbeat(&a, 1);
        rig.pass(i64::from(REBALANCE_MS) / 7 + 1);
    }
    assert_eq!((rig.joined(again).generation, &rig.joined(again).leader), (2, &b));
    assert_eq!(rig.heartbeat(&a, 1), ErrorCode::UnknownMemberId);
}

fn named(name: &str, topics: &[&str]) -> Protocol {
    Protocol { name: name.into(), metadata: subscription(topics) }
}

#[test]
fn the_protocol_that_all_know_and_most_prefer_is_chosen() {
    let mut rig = Rig::new();
    let orders = [["range", "sticky"], ["sticky", "range"], ["sticky", "range"]];
    let tickets = orders.map(|order| {
        let join = Join { protocols: order.map(|name| named(name, &["t"])).to_vec(), ..rig.new_member() };
        rig.join(join)
    });
    rig.pass(3 * DELAY_MS);
    assert_eq!(rig.joined(tickets[0]).protocol.as_deref(), Some("sticky"));
    let stranger = Join { protocols: vec![named("cooperative", &["t"])], ..rig.new_member() };
    let stranger = rig.join(stranger);
    assert_eq!(rig.joined(stranger).error, ErrorCode::InconsistentGroupProtocol);
}

#[test]
fn a_follower_that_joins_unchanged_keeps_its_generation_and_the_leader_starts_the_next() {
    let mut rig = Rig::new();
    let (a, b) = rig.stable_pair();
    let same = rig.rejoin(&b);
    assert_eq!((rig.joined(same).generation, rig.joined(same).members.len()), (1, 0));
    let leader = rig.rejoin(&a);
    assert!(!rig.joins.contains_key(&leader));
    let follower = rig.rejoin(&b);
    assert_eq!((rig.joined(leader).generation, rig.joined(follower).generation), (2, 2));
}

#[test]
fn members_that_do_not_sync_in_time_are_out() {
    let mut rig = Rig::new();
    let (a, b) = (rig.new_member(), rig.new_member());
    let (a, b) = (rig.join(a), rig.join(b));
    rig.pass(2 * DELAY_MS);
    let (a, b) = (rig.joined(a).member_id.clone(), rig.joined(b).member_id.clone());
    rig.sync(&a, 1, &[]);
    rig.settle();
    assert_eq!(rig.state(), "Stable");
    for _ in 0..7 {
        rig.heartbeat(&a, 1);
        rig.heartbeat(&b, 1);
        rig.pass(9_000);
    }
    assert_eq!(rig.heartbeat(&b, 1), ErrorCode::UnknownMemberId);
    assert_eq!(rig.state(), "PreparingRebalance");
}

#[test]
fn assignments_that_are_not_stored_are_nobodys_and_the_next_generation_begins() {
    let mut rig = Rig::new();
    let a = rig.new_member();
    let a = rig.join(a);
    rig.pass(2 * DELAY_MS);
    let id = rig.joined(a).member_id.clone();
    let sync = rig.sync(&id, 1, &[(&id, "A")]);
    rig.end_append(Err(StoreError::NotEnoughReplicas));
    assert_eq!(rig.syncs[&sync].error, ErrorCode::CoordinatorNotAvailable);
    let again = rig.rejoin(&id);
    assert_eq!(rig.joined(again).generation, 2);
}

#[test]
fn a_generation_has_one_assignment_whatever_its_leader_says_next() {
    let mut rig = Rig::new();
    let a = rig.new_member();
    let a = rig.join(a);
    rig.pass(2 * DELAY_MS);
    let id = rig.joined(a).member_id.clone();
    let first = rig.sync(&id, 1, &[(&id, "first")]);
    let second = rig.sync(&id, 1, &[(&id, "second")]);
    assert_eq!(rig.syncs[&first].error, ErrorCode::RebalanceInProgress);
    rig.settle();
    assert_eq!(rig.syncs[&second].assignment, "first");
    rig.reload();
    let loaded = rig.sync(&id, 1, &[]);
    assert_eq!(rig.syncs[&loaded].assignment, "first");
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    for supports_skipping_assignment in [true, false] {
        let mut rig = Rig::new();
        let fixed =
            |rig: &mut Rig| Join { instance_id: Some("i".into()), supports_skipping_assignment, ..rig.new_member() };
        let first = fixed(&mut rig);
        let first = rig.join(first);
        rig.pass(2 * DELAY_MS);
        let old = rig.joined(first).member_id.clone();
        assert!(old.starts_with("i-"));
        rig.sync(&old, 1, &[(&old, "A")]);
        rig.settle();

        let back = fixed(&mut rig);
        let back = rig.join(back);
        assert!(!rig.joins.contains_key(&back), "the new id has to be in the log first");
        rig.settle();
        let answer = rig.joined(back).clone();
        assert_eq!((answer.generation, rig.state()), (1, "Stable"));
        assert_eq!(answer.skip_assignment, supports_skipping_assignment);
        let leader = if supports_skipping_assignment { &answer.member_id } else { &old };
        assert_eq!(&answer.leader, leader);
        let sync = rig.sync(&answer.member_id, 1, &[]);
        assert_eq!(rig.syncs[&sync].assignment, "A");

        let zombie = GroupMember { instance_id: Some("i".into()), ..rig.member(&old, 1) };
        let fenced = rig.step(|m, now, out| m.on_heartbeat(now, &zombie, out));
        assert_eq!(fenced, ErrorCode::FencedInstanceId);
        rig.reload();
        assert_eq!(rig.heartbeat(&answer.member_id, 1), ErrorCode::None);
    }
}

#[test]
fn a_static_member_whose_new_id_is_not_stored_keeps_the_old_one() {
    let mut rig = Rig::new();
    let first = Join { instance_id: Some("i".into()), ..rig.new_member() };
    let first = rig.join(first);
    rig.pass(2 * DELAY_MS);
    let old = rig.joined(first).member_id.clone();
    rig.sync(&old, 1, &[(&old, "A")]);
    rig.settle();
    let back = Join { instance_id: Some("i".into()), ..rig.new_member() };
    let back = rig.join(back);
    rig.end_append(Err(StoreError::TimedOut));
    assert_eq!(rig.joined(back).error, ErrorCode::RebalanceInProgress);
    assert_eq!(rig.heartbeat(&old, 1), ErrorCode::None);
}

#[test]
fn administrators_remove_static_members_by_their_instance() {
    let mut rig = Rig::new();
    let member = Join { instance_id: Some("i".into()), ..rig.new_member() };
    rig.join(member);
    rig.pass(2 * DELAY_MS);
    let leave = |id: &str| Leave { id: "".into(), instance_id: Some(id.into()), reason: None };
    let codes = rig.step(|m, now, out| m.on_leave(now, "g", &[leave("other"), leave("i")], out));
    assert_eq!(codes, [ErrorCode::UnknownMemberId, ErrorCode::None]);
    assert_eq!(rig.state(), "Empty");
}

#[test]
fn a_full_group_takes_nobody_in() {
    let mut rig = Rig::with(crate::config::GroupConfig { max_size: 2, ..config() });
    rig.stable_pair();
    let third = rig.new_member();
    let third = rig.join(third);
    assert_eq!(rig.joined(third).error, ErrorCode::GroupMaxSizeReached);
}

#[test]
fn the_last_member_that_leaves_leaves_an_empty_generation_in_the_log() {
    let mut rig = Rig::new();
    let (a, b) = rig.stable_pair();
    assert_eq!((rig.leave(&a), rig.leave(&b)), (ErrorCode::None, ErrorCode::None));
    rig.settle();
    assert_eq!(rig.state(), "Empty");
    rig.reload();
    assert_eq!(rig.state(), "Empty");
    let next = rig.new_member();
    let next = rig.join(next);
    rig.pass(2 * DELAY_MS);
    assert_eq!(rig.joined(next).generation, 3);
}

#[test]
fn everybody_who_waits_is_sent_away_when_the_partition_goes() {
    let mut rig = Rig::new();
    let (a, b) = rig.stable_pair();
    let join = rig.rejoin(&a);
    let commit = rig.commit_as(rig.member(&b, 1), None, vec![(tp(0), rig.offset(1))]);
    rig.step(|m, _, out| m.unload(out));
    assert_eq!(rig.joined(join).error, ErrorCode::NotCoordinator);
    assert_eq!(rig.commits[&commit], [ErrorCode::NotCoordinator]);
    assert!(rig.waiting.is_empty());
}
