//! What a fetcher asks for, by example and over random histories.

use super::*;
use crate::disk::DiskError;
use crate::record::RecordError;
use proptest::prelude::*;
use std::io;
use std::path::Path;

const BACKOFF: Millis = 1_000;

struct Logs {
    throttled: Vec<TopicPartition>,
}

impl ReplicaView for Logs {
    fn log_start(&self, tp: &TopicPartition) -> Option<Offset> {
        (&*tp.topic != "gone").then_some(0)
    }

    fn is_throttled(&self, tp: &TopicPartition) -> bool {
        self.throttled.contains(tp)
    }

    fn may_throttle(&self) -> bool {
        !self.throttled.is_empty()
    }
}

const FREE: Logs = Logs { throttled: Vec::new() };

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

const ID: Uuid = Uuid([7; 16]);

fn start(epoch: i32, offset: Offset) -> Start {
    Start { topic_id: ID, leader_epoch: LeaderEpoch(epoch), offset, last_epoch: Some(LeaderEpoch(epoch - 1)) }
}

fn shown(plan: Option<Plan>) -> (i32, Vec<(i32, Offset)>, Vec<i32>) {
    let plan = plan.expect("a request");
    (
        plan.session.epoch,
        plan.asked.iter().map(|(tp, asked)| (tp.partition, asked.fetch_offset)).collect(),
        plan.forgotten.iter().map(|(tp, _)| tp.partition).collect(),
    )
}

fn answer(state: &mut FetcherState, plan: &Plan, partitions: &[i32]) -> bool {
    let answered = partitions.iter().map(|p| tp(*p)).collect();
    state.on_answer(0, plan, ErrorCode::None, 77, &answered, BACKOFF)
}

fn said(error: ErrorCode) -> Said {
    Said { error, diverging: None }
}

/// What follows of an answer without an error.
fn judge(state: &mut FetcherState, tp: &TopicPartition) -> Verdict {
    state.judge(tp, &said(ErrorCode::None), 0, BACKOFF)
}

fn due_at(fetch_offset: Offset) -> Verdict {
    Verdict::Append(Due { leader_epoch: LeaderEpoch(3), fetch_offset })
}

/// A state in its session, with these partitions at offset 10 of epoch 3.
fn in_session(partitions: &[i32]) -> FetcherState {
    let mut state = FetcherState::default();
    for p in partitions {
        state.add(tp(*p), start(3, 10));
    }
    let plan = state.plan(0, &FREE, BACKOFF).expect("a request");
    assert!(plan.uses_topic_ids && plan.session == Session::INITIAL);
    assert!(answer(&mut state, &plan, partitions));
    state
}

#[test]
fn an_answer_for_an_earlier_topic_is_not_for_the_one_of_its_name() {
    let mut state = in_session(&[0]);
    assert_eq!(judge(&mut state, &tp(0)), due_at(10));
    state.remove(&tp(0));
    state.add(tp(0), Start { topic_id: Uuid([8; 16]), ..start(3, 10) });
    assert_eq!(judge(&mut state, &tp(0)), Verdict::Pass, "the same offset and epoch");
    // It is asked for under its own id, and then the answer is for it.
    state.plan(0, &FREE, BACKOFF).expect("a request");
    assert_eq!(judge(&mut state, &tp(0)), due_at(10));
}

#[test]
fn each_answer_is_taken_followed_up_waited_for_or_reported() {
    let epoch = LeaderEpoch(3);
    let end = EpochEndOffset { epoch: LeaderEpoch(2), end_offset: 7 };
    // Where a partition stands afterwards: fetched, delayed until then, or not fetched any more.
    let follow = |said: Said| {
        let mut state = in_session(&[0]);
        let verdict = state.judge(&tp(0), &said, 100, BACKOFF);
        state.check();
        (verdict, state.len(), state.next_deadline())
    };
    let fetched = |verdict| (verdict, 1, None);
    assert_eq!(follow(said(ErrorCode::None)), fetched(due_at(10)));
    let diverging = Said { diverging: Some(end), ..said(ErrorCode::None) };
    assert_eq!(follow(diverging), fetched(Verdict::Cut(epoch, end)));
    assert_eq!(follow(said(ErrorCode::OffsetOutOfRange)), fetched(Verdict::FindRange(epoch)));
    assert_eq!(follow(said(ErrorCode::FencedLeaderEpoch)), (Verdict::Pass, 0, None));
    let soon = (Verdict::Pass, 1, Some(100 + BEHIND_WAIT_MS));
    for code in [
        ErrorCode::UnknownLeaderEpoch,
        ErrorCode::NotLeaderOrFollower,
        ErrorCode::UnknownTopicOrPartition,
        ErrorCode::UnknownTopicId,
    ] {
        assert_eq!(follow(said(code)), soon, "{code}");
    }
    for code in [ErrorCode::KafkaStorageError, ErrorCode::CorruptMessage, ErrorCode::UnknownServerError] {
        assert_eq!(follow(said(code)), (Verdict::Report, 1, Some(100 + BACKOFF)), "{code}");
    }
}

#[test]
fn a_topic_that_stays_unknown_is_reported_and_a_leader_that_stays_away_is_not() {
    for (code, last) in [(ErrorCode::UnknownTopicId, Verdict::Report), (ErrorCode::NotLeaderOrFollower, Verdict::Pass)]
    {
        let mut state = in_session(&[0]);
        let mut now = 0;
        let mut verdict = Verdict::Pass;
        for _ in 0..32 {
            state.plan(now, &FREE, BACKOFF).expect("a request");
            verdict = state.judge(&tp(0), &said(code), now, BACKOFF);
            now = state.next_deadline().expect("it waits");
        }
        assert_eq!(verdict, last, "{code}");
    }
}

#[test]
fn what_a_failed_append_means_for_its_partition() {
    let follow = |error: FollowError| {
        let mut state = in_session(&[0]);
        state.on_append_failed(&tp(0), &error, 100, BACKOFF);
        state.check();
        (state.len(), state.next_deadline())
    };
    let waits = (1, Some(100 + BACKOFF));
    let damaged = RecordError::Corrupt("a checksum".to_owned());
    assert_eq!(follow(AppendError::Record(damaged).into()), waits, "they may come whole the next time");
    assert_eq!(follow(FollowError::OffsetMismatch { fetch_offset: 10, log_end: 9 }), (0, None));
    assert_eq!(follow(FollowError::NoLog), (0, None));
    assert_eq!(follow(AppendError::OffsetsOutOfOrder.into()), (0, None));
}

#[test]
fn a_range_that_is_not_known_is_asked_for_again_unless_another_leads() {
    let follow = |refusal| {
        let mut state = in_session(&[0]);
        state.on_range_unknown(&tp(0), refusal, 100, BACKOFF);
        (state.len(), state.next_deadline())
    };
    assert_eq!(follow(Some(ErrorCode::FencedLeaderEpoch)), (0, None));
    assert_eq!(follow(Some(ErrorCode::NotLeaderOrFollower)), (1, Some(100 + BACKOFF)));
    assert_eq!(follow(None), (1, Some(100 + BACKOFF)));
}

#[test]
fn a_session_is_told_only_what_changed() {
    let mut state = in_session(&[0, 1]);
    assert_eq!(shown(state.plan(0, &FREE, BACKOFF)), (1, vec![], vec![]), "the session knows all");
    assert_eq!(judge(&mut state, &tp(1)), due_at(10));
    state.on_appended(&tp(1), 15, Some(LeaderEpoch(3)), 15);
    assert_eq!(shown(state.plan(0, &FREE, BACKOFF)), (1, vec![(1, 15)], vec![]));
    state.remove(&tp(0));
    assert_eq!(shown(state.plan(0, &FREE, BACKOFF)), (1, vec![], vec![0]));
    state.check();
}

#[test]
fn a_partition_that_comes_back_is_not_forgotten() {
    let mut state = in_session(&[0]);
    state.remove(&tp(0));
    state.add(tp(0), start(4, 12));
    // The leader forgets after it adds: both in one request would lose the partition.
    assert_eq!(shown(state.plan(0, &FREE, BACKOFF)), (1, vec![(0, 12)], vec![]));
    state.check();
}

#[test]
fn a_topic_made_again_replaces_its_former_id() {
    let mut state = in_session(&[0]);
    state.remove(&tp(0));
    state.add(tp(0), Start { topic_id: Uuid([9; 16]), ..start(4, 0) });
    let plan = state.plan(0, &FREE, BACKOFF).expect("a request");
    assert_eq!(plan.forgotten, [(tp(0), ID)]);
    assert_eq!(plan.asked[0].1.topic_id, Uuid([9; 16]));
}

#[test]
fn without_a_topic_id_topics_go_by_name() {
    let mut state = in_session(&[0]);
    state.add(tp(1), Start { topic_id: Uuid::ZERO, ..start(3, 0) });
    assert!(!state.plan(0, &FREE, BACKOFF).expect("a request").uses_topic_ids);
    state.set_topic_id(&tp(1), ID);
    let plan = state.plan(0, &FREE, BACKOFF).expect("a request");
    assert!(plan.uses_topic_ids && plan.forgotten.is_empty());
    state.check();
}

#[test]
fn a_full_disk_lets_appends_and_truncations_wait_and_a_failed_one_ends_them() {
    let full = || DirError::Full {
        dir: "/d".into(),
        source: DiskError::new("write", Path::new("/d/f"), io::ErrorKind::StorageFull.into()),
    };
    let mut state = in_session(&[0, 1]);
    // One whose log is still to be cut, and one that is appended to.
    state.add(tp(2), Start { last_epoch: None, ..start(3, 10) });
    for p in [0, 2] {
        state.on_disk_error(&tp(p), &full(), 100, BACKOFF);
    }
    state.on_disk_error(&tp(1), &DirError::Offline("/d".into()), 100, BACKOFF);
    state.check();
    assert_eq!(state.to_truncate(), []);
    assert_eq!(shown(state.plan(99 + BACKOFF, &FREE, BACKOFF)), (1, vec![], vec![1, 0]));
    drop(state.plan(100 + BACKOFF, &FREE, BACKOFF));
    assert_eq!(state.to_truncate(), [(tp(2), 10)], "it is cut before it is fetched");
    let offset = |p| state.fetch_offset_in(&tp(p), LeaderEpoch(3));
    assert_eq!((offset(0), offset(1)), (Some(10), None));
    state.check();
}

#[test]
fn an_error_leaves_a_partition_out_for_a_while() {
    let mut state = in_session(&[0, 1]);
    state.delay(&tp(0), 100, BACKOFF);
    assert_eq!(judge(&mut state, &tp(0)), Verdict::Pass);
    assert_eq!(state.next_deadline(), Some(1_100));
    assert_eq!(shown(state.plan(200, &FREE, BACKOFF)), (1, vec![], vec![0]));
    state.delay(&tp(0), 600, BACKOFF);
    assert_eq!(shown(state.plan(1_100, &FREE, BACKOFF)), (1, vec![(0, 10)], vec![]), "its time was not put off");
}

#[test]
fn a_leader_that_does_not_lead_yet_is_asked_again_soon_and_then_less_and_less() {
    let waits: Vec<Millis> = (0..12).map(|refusals| behind_wait_ms(refusals, 1_000)).collect();
    assert_eq!(waits, [2, 4, 8, 16, 32, 64, 128, 256, 512, 1_000, 1_000, 1_000]);
    assert_eq!((behind_wait_ms(62, 1_000), behind_wait_ms(u32::MAX, 1_000)), (1_000, 1_000));
    assert_eq!(behind_wait_ms(0, 1), 1, "never longer than what is configured");

    let mut state = in_session(&[0]);
    assert!(state.delay_until_led(&tp(0), 100, BACKOFF));
    assert_eq!(state.next_deadline(), Some(102));
    assert_eq!(shown(state.plan(101, &FREE, BACKOFF)), (1, vec![], vec![0]), "left out");
    assert_eq!(shown(state.plan(102, &FREE, BACKOFF)), (1, vec![(0, 10)], vec![]), "asked again");
    assert!(state.delay_until_led(&tp(0), 102, BACKOFF));
    assert_eq!(state.next_deadline(), Some(106));
    drop(state.plan(106, &FREE, BACKOFF));
    state.on_appended(&tp(0), 12, Some(LeaderEpoch(3)), 12);
    assert!(state.delay_until_led(&tp(0), 200, BACKOFF));
    assert_eq!(state.next_deadline(), Some(202), "an answer ends the row");
    drop(state.plan(202, &FREE, BACKOFF));
    state.remove(&tp(0));
    state.add(tp(0), start(4, 12));
    state.delay_until_led(&tp(0), 300, BACKOFF);
    assert_eq!(state.next_deadline(), Some(302), "and so does another epoch");
    state.check();
}

#[test]
fn a_failed_request_closes_the_session_and_delays_all() {
    let mut state = in_session(&[0, 1]);
    state.on_failure(0, BACKOFF);
    assert_eq!(state.plan(10, &FREE, BACKOFF), None);
    let plan = state.plan(BACKOFF, &FREE, BACKOFF).expect("a request");
    assert_eq!((plan.session, plan.asked.len()), (Session { id: 77, epoch: 0 }, 2));
}

#[test]
fn a_partition_that_is_not_served_any_more_is_delayed() {
    let mut state = FetcherState::default();
    let gone = TopicPartition::new("gone", 0);
    state.add(gone, start(3, 10));
    state.add(tp(0), start(3, 10));
    assert_eq!(shown(state.plan(0, &FREE, BACKOFF)), (0, vec![(0, 10)], vec![]));
    assert_eq!(state.next_deadline(), Some(BACKOFF));
    state.check();
}

#[test]
fn answers_that_were_overtaken_are_ignored() {
    let mut state = in_session(&[0, 1]);
    state.remove(&tp(0));
    state.add(tp(0), start(4, 10));
    assert_eq!(judge(&mut state, &tp(0)), Verdict::Pass, "of the epoch before, at the same offset");
    state.on_truncated(&tp(1), 5, Some(LeaderEpoch(1)), None);
    assert_eq!(judge(&mut state, &tp(1)), Verdict::Pass);
    assert_eq!(judge(&mut state, &tp(2)), Verdict::Pass);
}

#[test]
fn answers_that_do_not_fit_the_session_end_it() {
    let mut state = FetcherState::default();
    state.add(tp(0), start(3, 10));
    let plan = state.plan(0, &FREE, BACKOFF).expect("a request");
    assert!(!answer(&mut state, &plan, &[]), "a full answer has everything");
    assert!(!answer(&mut state, &plan, &[0, 1]), "and nothing else");
    assert!(answer(&mut state, &plan, &[0]));
    let plan = state.plan(0, &FREE, BACKOFF).expect("a request");
    assert!(answer(&mut state, &plan, &[]));
    let plan = state.plan(0, &FREE, BACKOFF).expect("a request");
    assert!(!answer(&mut state, &plan, &[5]));
    assert_eq!(state.plan(0, &FREE, BACKOFF).expect("a request").session, Session { id: 77, epoch: 0 });
}

#[test]
fn refused_sessions_are_opened_again_at_once() {
    for (error, session, is_delayed) in [
        (ErrorCode::FetchSessionIdNotFound, Session::INITIAL, false),
        (ErrorCode::InvalidFetchSessionEpoch, Session { id: 77, epoch: 0 }, false),
        (ErrorCode::FetchSessionTopicIdError, Session { id: 77, epoch: 0 }, true),
    ] {
        let mut state = in_session(&[0]);
        let plan = state.plan(0, &FREE, BACKOFF).expect("a request");
        assert!(!state.on_answer(0, &plan, error, 0, &BTreeSet::new(), BACKOFF));
        let next = state.plan(0, &FREE, BACKOFF);
        assert_eq!(next.is_none(), is_delayed, "{error}");
        let next = next.or_else(|| state.plan(BACKOFF, &FREE, BACKOFF)).expect("a request");
        assert_eq!((next.session, next.asked.len()), (session, 1), "{error}");
    }
}

#[test]
fn throttled_replicas_are_left_out_unless_they_are_in_sync() {
    let mut state = in_session(&[0, 1]);
    state.on_appended(&tp(0), 15, None, 15);
    state.on_appended(&tp(1), 15, None, 90);
    let busy = Logs { throttled: vec![tp(0), tp(1)] };
    assert_eq!(shown(state.plan(0, &busy, BACKOFF)), (1, vec![(0, 15)], vec![1]));
    let less = Logs { throttled: vec![tp(5)] };
    assert_eq!(shown(state.plan(0, &less, BACKOFF)), (1, vec![(1, 15)], vec![]), "nothing changed but the rate");
}

#[test]
fn a_log_without_epochs_is_cut_before_it_is_fetched() {
    let mut state = FetcherState::default();
    state.add(tp(0), Start { last_epoch: None, ..start(3, 4) });
    assert_eq!(state.plan(0, &FREE, BACKOFF), None);
    assert_eq!(state.to_truncate(), [(tp(0), 4)]);
    state.on_truncated(&tp(0), 4, None, None);
    assert_eq!(shown(state.plan(0, &FREE, BACKOFF)), (0, vec![(0, 4)], vec![]));
    assert!(state.to_truncate().is_empty());
}

#[test]
fn names_of_topics_that_are_gone_are_dropped() {
    let mut state = FetcherState::default();
    for n in 0..1_000_u16 {
        let mut id = [1; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let tp = TopicPartition::new(format!("t{n}"), 0);
        state.add(tp.clone(), Start { topic_id: Uuid(id), ..start(3, 0) });
        assert!(state.topic_name(Uuid(id)).is_some());
        state.remove(&tp);
    }
    assert!(state.names.len() <= NAMES_SPARE + 3, "{}", state.names.len());
}

#[derive(Clone, Debug)]
enum Step {
    Add(i32, i32, bool),
    Remove(i32),
    Delay(i32),
    Fail,
    /// Plans a request; the leader answers with these.
    Fetch(Vec<i32>),
    Truncated(i32),
    Wait(Millis),
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..4, 1..5, any::<bool>()).prop_map(|(p, epoch, has_epochs)| Step::Add(p, epoch, has_epochs)),
        (0..4).prop_map(Step::Remove),
        (0..4).prop_map(Step::Delay),
        Just(Step::Fail),
        proptest::collection::vec(0..4, 0..4).prop_map(Step::Fetch),
        (0..4).prop_map(Step::Truncated),
        (1..2_000_i64).prop_map(Step::Wait),
    ]
}

proptest! {
    /// What the leader believes of the session, told only differences, is what the follower wants at every request; and
    /// no partition is fetched while it is cut or delayed.
    #[test]
    fn the_leaders_session_is_always_what_is_wanted(history in proptest::collection::vec(steps(), 1..100)) {
        let mut state = FetcherState::default();
        let mut leader: BTreeMap<TopicPartition, Asked> = BTreeMap::new();
        let mut now = 0;
        for step in history {
            match step {
                Step::Add(p, epoch, has_epochs) => {
                    let last_epoch = has_epochs.then_some(LeaderEpoch(epoch - 1));
                    state.add(tp(p), Start { last_epoch, ..start(epoch, Offset::from(epoch) * 10) });
                }
                Step::Remove(p) => {
                    state.remove(&tp(p));
                }
                Step::Delay(p) => state.delay(&tp(p), now, BACKOFF),
                Step::Fail => state.on_failure(now, BACKOFF),
                Step::Truncated(p) => state.on_truncated(&tp(p), 1, Some(LeaderEpoch(0)), None),
                Step::Wait(ms) => now += ms,
                Step::Fetch(answered) => {
                    let Some(plan) = state.plan(now, &FREE, BACKOFF) else { continue };
                    if plan.session.is_full() {
                        leader.clear();
                    }
                    leader.extend(plan.asked.iter().cloned());
                    for (tp, _) in &plan.forgotten {
                        leader.remove(tp);
                    }
                    let wanted: BTreeSet<_> = state.partitions.iter().filter(|(_, f)| f.is_fetching()).map(|(tp, _)| tp.clone()).collect();
                    prop_assert_eq!(leader.keys().cloned().collect::<BTreeSet<_>>(), wanted.clone());
                    for (tp, asked) in &leader {
                        let fetched = &state.partitions[tp];
                        prop_assert_eq!((asked.fetch_offset, asked.leader_epoch), (fetched.offset, fetched.leader_epoch));
                    }
                    let answered = if plan.session.is_full() { wanted } else { answered.into_iter().map(tp).filter(|tp| leader.contains_key(tp)).collect() };
                    prop_assert!(state.on_answer(now, &plan, ErrorCode::None, 77, &answered, BACKOFF));
                    for tp in &answered {
                        if let Verdict::Append(Due { fetch_offset, .. }) = judge(&mut state, tp) {
                            state.on_appended(tp, fetch_offset + 1, None, fetch_offset + 1);
                        }
                    }
                }
            }
            state.check();
        }
    }
}
