//! What must hold of a leader and its followers, by example and over random histories.

use super::*;
use proptest::prelude::*;

const LAG: Millis = 30_000;

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

fn at(offset: Offset) -> OffsetMetadata {
    OffsetMetadata::offset_only(offset)
}

fn alive(_: BrokerId) -> bool {
    true
}

fn moment(now: Millis, log_end: Offset, high_watermark: Offset) -> Moment<'static> {
    Moment { now, log_end: at(log_end), high_watermark, min_insync_replicas: 1, lag_time_max_ms: LAG, is_alive: &alive }
}

fn fetch(from: Offset, leader_log_end: Offset) -> FollowerFetch {
    FollowerFetch { from: at(from), log_start: 0, leader_log_end }
}

/// Broker 1 leads in epoch 5 from offset 10 on.
fn leader(replicas: &[i32], isr: &[i32]) -> Isr {
    Isr::elected(BrokerId(1), LeaderEpoch(5), 7, &ids(replicas), &ids(isr), 10, 1_000, None)
}

fn raised(effects: Effects) -> Option<Offset> {
    assert_eq!(effects.submit, None);
    effects.high_watermark.map(|to| to.offset)
}

#[test]
fn the_high_watermark_waits_for_all_in_sync_and_for_nobody_else() {
    let mut isr = leader(&[1, 2, 3], &[1, 2]);
    let m = moment(1_001 + LAG, 20, 10);
    assert_eq!(raised(isr.on_log_end(&m)), Some(-1), "2 has not fetched yet");
    assert_eq!(raised(isr.on_follower_fetch(&m, BrokerId(2), &fetch(15, 20))), Some(15));
    assert_eq!(
        raised(isr.on_follower_fetch(&m, BrokerId(3), &fetch(3, 20))),
        Some(15),
        "3 is far behind and not in sync"
    );
    assert_eq!(raised(isr.on_follower_fetch(&m, BrokerId(9), &fetch(3, 20))), None, "a stranger");
}

#[test]
fn a_replica_that_keeps_up_is_waited_for_before_it_joins() {
    let mut isr = leader(&[1, 2], &[1]);
    let dead = |id| id != BrokerId(2);
    let m = Moment { is_alive: &dead, ..moment(1_001, 20, 10) };
    assert_eq!(
        isr.on_follower_fetch(&m, BrokerId(2), &fetch(20, 20)),
        Effects { high_watermark: Some(at(20)), submit: None }
    );
    let m = Moment { log_end: at(30), ..m };
    assert_eq!(raised(isr.on_log_end(&m)), Some(30), "a dead one is not waited for");
    let m = Moment { is_alive: &alive, ..m };
    assert_eq!(raised(isr.on_log_end(&m)), Some(20));
    let later = Moment { now: 1_002 + LAG, ..m };
    assert_eq!(raised(isr.on_log_end(&later)), Some(30), "nor one that stopped");
}

#[test]
fn nothing_is_committed_while_too_few_are_in_sync() {
    let isr = leader(&[1, 2, 3], &[1]);
    let m = Moment { min_insync_replicas: 2, ..moment(1_001, 20, 10) };
    assert_eq!(raised(isr.on_log_end(&m)), None);
    let alone = leader(&[1], &[1]);
    assert_eq!(raised(alone.on_log_end(&m)), Some(20), "never more than there are replicas");
}

#[test]
fn a_follower_joins_at_the_high_watermark_and_at_the_start_of_the_epoch() {
    let mut isr = leader(&[1, 2], &[1]);
    assert_eq!(
        isr.on_follower_fetch(&moment(1_001, 20, 8), BrokerId(2), &fetch(9, 20)).submit,
        None,
        "before the epoch"
    );
    assert_eq!(isr.on_follower_fetch(&moment(1_001, 20, 13), BrokerId(2), &fetch(12, 20)).submit, None);
    let dead = |id| id != BrokerId(2);
    let m = Moment { is_alive: &dead, ..moment(1_001, 20, 13) };
    assert_eq!(isr.on_follower_fetch(&m, BrokerId(2), &fetch(14, 20)).submit, None, "not alive");
    let joined = isr.on_follower_fetch(&moment(1_001, 20, 13), BrokerId(2), &fetch(14, 20));
    let change = joined.submit.expect("a change");
    assert_eq!(
        change,
        IsrChange { leader_epoch: LeaderEpoch(5), partition_epoch: 7, isr: ids(&[1, 2]), joining: Some(BrokerId(2)) }
    );
    assert_eq!((isr.maximal_len(), isr.committed().len()), (2, 1));
    // It counts from now on, before the controller has answered.
    assert_eq!(raised(isr.on_log_end(&moment(1_001 + 2 * LAG, 40, 13))), Some(14));
}

#[test]
fn one_change_is_under_way_at_a_time() {
    let mut isr = leader(&[1, 2, 3], &[1]);
    let m = moment(1_001, 20, 10);
    let change = isr.on_follower_fetch(&m, BrokerId(2), &fetch(20, 20)).submit.expect("a change");
    assert_eq!(isr.on_follower_fetch(&m, BrokerId(3), &fetch(20, 20)).submit, None);
    let altered = Altered { leader_epoch: LeaderEpoch(5), partition_epoch: 8, isr: ids(&[1, 2]) };
    assert_eq!(isr.on_answer(&m, &change, Ok(altered)).submit, None);
    assert_eq!((isr.committed(), isr.partition_epoch()), (&ids(&[1, 2])[..], 8));
    let next = isr.on_follower_fetch(&m, BrokerId(3), &fetch(20, 20)).submit.expect("the next change");
    assert_eq!((next.partition_epoch, next.isr), (8, ids(&[1, 2, 3])));
}

#[test]
fn laggards_leave_together_and_count_until_they_have_left() {
    let mut isr = leader(&[1, 2, 3, 4], &[1, 2, 3, 4]);
    for follower in [2, 3] {
        assert_eq!(isr.on_follower_fetch(&moment(1_001, 20, 10), BrokerId(follower), &fetch(15, 20)).submit, None);
    }
    assert_eq!(isr.on_follower_fetch(&moment(2_000, 20, 10), BrokerId(4), &fetch(20, 20)).submit, None);
    assert_eq!(isr.on_tick(&moment(1_000 + LAG, 20, 15)), Effects::default(), "exactly at the limit nobody leaves");
    let late = moment(1_001 + LAG, 20, 15);
    let change = isr.on_tick(&late).submit.expect("a change");
    assert_eq!((&change.isr, change.joining), (&ids(&[1, 4]), None));
    assert_eq!(raised(isr.on_log_end(&late)), Some(15), "still waited for");
    let altered = Altered { leader_epoch: LeaderEpoch(5), partition_epoch: 8, isr: ids(&[1, 4]) };
    assert_eq!(isr.on_answer(&late, &change, Ok(altered)).high_watermark, Some(at(20)));
}

#[test]
fn a_follower_of_a_busy_log_counts_as_caught_up_as_of_its_previous_fetch() {
    let mut isr = leader(&[1, 2], &[1, 2]);
    for (now, from, end) in [(5_000, 10, 20), (40_000, 20, 30), (75_000, 30, 40)] {
        let effects = isr.on_follower_fetch(&moment(now, end, from), BrokerId(2), &fetch(from, end));
        assert_eq!(effects.submit, None);
    }
    // The last fetch read to where the log had ended at 40,000.
    assert_eq!(isr.on_tick(&moment(40_000 + LAG, 40, 30)), Effects::default());
    assert!(isr.on_tick(&moment(40_001 + LAG, 40, 30)).submit.is_some());
}

#[test]
fn refusals_revert_wait_or_repeat_as_in_kafka() {
    let m = moment(1_001, 20, 10);
    let changed = || {
        let mut isr = leader(&[1, 2], &[1]);
        let change = isr.on_follower_fetch(&m, BrokerId(2), &fetch(20, 20)).submit.expect("a change");
        (isr, change)
    };
    let (mut isr, change) = changed();
    assert_eq!(isr.on_answer(&m, &change, Err(IsrRefusal::NotNow)), Effects::default());
    assert_eq!((isr.pending.clone(), isr.maximal_len()), (None, 1));
    let (mut isr, change) = changed();
    assert_eq!(isr.on_answer(&m, &change, Err(IsrRefusal::Superseded)), Effects::default());
    assert_eq!(isr.pending, Some(change));
    let (mut isr, change) = changed();
    assert_eq!(isr.on_answer(&m, &change, Err(IsrRefusal::Failed)).submit, Some(change.clone()));
    assert_eq!(isr.pending, Some(change));
}

#[test]
fn answers_to_what_is_not_under_way_or_of_other_epochs_change_nothing() {
    let m = moment(1_001, 20, 10);
    let mut isr = leader(&[1, 2], &[1]);
    let change = isr.on_follower_fetch(&m, BrokerId(2), &fetch(20, 20)).submit.expect("a change");
    let altered = |leader_epoch, partition_epoch| Altered {
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch,
        isr: ids(&[1, 2]),
    };
    let other = IsrChange { partition_epoch: 6, ..change.clone() };
    assert_eq!(isr.on_answer(&m, &other, Ok(altered(5, 9))), Effects::default());
    assert_eq!(isr.on_answer(&m, &change, Ok(altered(4, 9))), Effects::default());
    assert_eq!(isr.on_answer(&m, &change, Ok(altered(5, 6))), Effects::default());
    assert_eq!((isr.committed().len(), isr.partition_epoch()), (1, 7));
}

#[test]
fn a_leader_that_is_elected_again_remembers_and_a_new_one_knows_nothing() {
    let mut isr = leader(&[1, 2, 3], &[1, 2, 3]);
    let effects = isr.on_follower_fetch(&moment(1_001, 20, 10), BrokerId(2), &fetch(18, 20));
    assert_eq!(effects.submit, None);
    let again = Isr::elected(BrokerId(1), LeaderEpoch(6), 8, &ids(&[1, 2, 4]), &ids(&[1, 2]), 20, 2_000, Some(&isr));
    let known: Vec<_> = again.followers().iter().map(|f| (f.id.0, f.log_end.offset, f.last_caught_up)).collect();
    assert_eq!(known, [(2, 18, 2_000), (4, -1, NEVER)]);
}

#[test]
fn the_low_watermark_is_that_of_live_replicas() {
    let mut isr = leader(&[1, 2, 3], &[1, 2, 3]);
    for (id, log_start) in [(2, 3), (3, 1)] {
        let fetch = FollowerFetch { log_start, ..fetch(20, 20) };
        assert_eq!(isr.on_follower_fetch(&moment(1_001, 20, 10), BrokerId(id), &fetch).submit, None);
    }
    assert_eq!(isr.low_watermark(5, &alive), 1);
    assert_eq!(isr.low_watermark(5, &|id| id != BrokerId(3)), 3);
    assert_eq!(isr.low_watermark(2, &|id| id != BrokerId(3)), 2);
}

/// What may happen to a leader.
#[derive(Clone, Debug)]
enum Input {
    Append(Offset),
    /// A follower reads this far before our log's end.
    Fetch(usize, Offset),
    Wait(Millis),
    Tick,
    /// The controller answers what is under way, or refuses it.
    Answer(Option<IsrRefusal>),
    /// A follower's broker comes or goes.
    Toggle(usize),
}

fn inputs() -> impl Strategy<Value = Input> {
    let refusal = proptest::sample::select(vec![IsrRefusal::NotNow, IsrRefusal::Superseded, IsrRefusal::Failed]);
    prop_oneof![
        3 => (1..20_i64).prop_map(Input::Append),
        6 => (0..3_usize, 0..30_i64).prop_map(|(who, behind)| Input::Fetch(who, behind)),
        2 => (1..LAG).prop_map(Input::Wait),
        2 => Just(Input::Tick),
        3 => Just(Input::Answer(None)),
        1 => refusal.prop_map(|refusal| Input::Answer(Some(refusal))),
        1 => (0..3_usize).prop_map(Input::Toggle),
    ]
}

proptest! {
    /// Over any history: the high watermark is in the log of every replica from which the controller may elect, it never
    /// falls, one change is under way at a time, and whoever joins is alive and has what is committed.
    #[test]
    fn the_high_watermark_is_on_every_replica_that_may_lead(
        history in proptest::collection::vec(inputs(), 1..200),
        in_sync in proptest::sample::subsequence(vec![2, 3, 4], 0..=3),
        min_insync_replicas in 1..4_usize,
    ) {
        let replicas = [1, 2, 3, 4];
        let first: Vec<i32> = std::iter::once(1).chain(in_sync).collect();
        let mut isr = leader(&replicas, &first);
        let (mut now, mut log_end, mut high_watermark) = (1_000, 10, 5);
        // What each follower truly has: those in sync have the high watermark.
        let mut has: [Offset; 3] = [2, 3, 4].map(|id| if first.contains(&id) { 5 } else { 0 });
        let mut up = [true; 3];
        let mut under_way: Option<IsrChange> = None;
        for input in history {
            let is_up = |id: BrokerId| up[id.0 as usize - 2];
            let m = Moment { now, log_end: at(log_end), high_watermark, min_insync_replicas, lag_time_max_ms: LAG, is_alive: &is_up };
            let effects = match input {
                Input::Append(records) => {
                    log_end += records;
                    isr.on_log_end(&Moment { log_end: at(log_end), ..m })
                }
                Input::Fetch(who, behind) => {
                    // A follower in sync does not lose what it has.
                    has[who] = has[who].max(log_end - behind);
                    isr.on_follower_fetch(&m, BrokerId(who as i32 + 2), &fetch(has[who], log_end))
                }
                Input::Wait(ms) => {
                    now += ms;
                    Effects::default()
                }
                Input::Tick => isr.on_tick(&m),
                Input::Toggle(who) => {
                    up[who] = !up[who];
                    Effects::default()
                }
                Input::Answer(refusal) => match under_way.take() {
                    None => Effects::default(),
                    Some(change) => {
                        let altered = Altered { leader_epoch: LeaderEpoch(5), partition_epoch: change.partition_epoch + 1, isr: change.isr.clone() };
                        let effects = isr.on_answer(&m, &change, refusal.map_or(Ok(altered), Err));
                        // Waits for the controller's next word, which does not come here.
                        if refusal == Some(IsrRefusal::Superseded) {
                            break;
                        }
                        effects
                    }
                },
            };
            isr.check();
            if let Some(change) = effects.submit {
                prop_assert!(under_way.is_none(), "two changes under way");
                prop_assert!(change.isr.contains(&BrokerId(1)), "the leader left");
                if let Some(id) = change.joining && !isr.committed().contains(&id) {
                    let who = id.0 as usize - 2;
                    prop_assert!(has[who] >= high_watermark, "{id} joined without what is committed");
                }
                under_way = Some(change);
            }
            if let Some(to) = effects.high_watermark {
                high_watermark = high_watermark.max(to.offset.min(log_end));
            }
            // The controller may have written either of the two.
            let committed = isr.committed().iter();
            let may_lead = committed.chain(under_way.iter().flat_map(|change| &change.isr));
            for id in may_lead.filter(|id| id.0 != 1) {
                prop_assert!(has[id.0 as usize - 2] >= high_watermark, "{id} has {} of {high_watermark}", has[id.0 as usize - 2]);
            }
        }
    }
}
