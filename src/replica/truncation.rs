//! Owns the decision where a follower cuts its log, from what the leader says of an epoch's end. Kafka:
//! `AbstractFetcherThread.getOffsetTruncationState`, KIP-101, KIP-279, KIP-595. Pure.
//!
//! A fetch carries the epoch of the last record that the follower has. A leader whose log has no such end answers with the
//! largest epoch that it knows up to that one, and where it ends. The follower cuts to the end of that epoch on either
//! side, whichever is lower, and asks again: epoch by epoch both come to the last one that they share.

use crate::common::{LeaderEpoch, Offset};
use crate::log::epoch_cache::EpochEndOffset;

/// Where to cut, so that both logs are the same up to there or the next fetch shows more.
///
/// `leader` is its answer; `log_end` and `own` are the follower's, `own` for the leader's epoch. `fallback` is where the
/// follower is known to be right: its high watermark, or where it fetches.
pub(super) fn truncation_offset(
    leader: EpochEndOffset,
    own: Option<EpochEndOffset>,
    log_end: Offset,
    fallback: Offset,
) -> Offset {
    if leader.end_offset < 0 {
        return fallback;
    }
    if leader.epoch == LeaderEpoch::NONE {
        return leader.end_offset.min(log_end);
    }
    match own {
        // The leader knows an epoch that we have nothing of: all that we wrote after the one before it is ours alone.
        Some(own) if own.epoch != leader.epoch => own.end_offset.min(log_end),
        Some(own) => own.end_offset.min(leader.end_offset).min(log_end),
        None => leader.end_offset.min(log_end),
    }
}

/// How a follower gets into its leader's range, where the leader has nothing at the end of the follower's log. Kafka:
/// `AbstractFetcherThread.fetchOffsetAndTruncate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IntoRange {
    /// The leader lost what we have: our log is cut to where its ends.
    CutToEnd,
    /// The leader has deleted what we lack: our log begins anew at its start.
    BeginAnew,
    /// Meanwhile it has what comes next.
    GoOn,
}

pub(super) fn into_range(leader_start: Offset, leader_end: Offset, log_end: Offset) -> IntoRange {
    if leader_end < log_end {
        IntoRange::CutToEnd
    } else if leader_start > log_end {
        IntoRange::BeginAnew
    } else {
        IntoRange::GoOn
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::epoch_cache::EpochCache;
    use proptest::prelude::*;

    fn end(epoch: i32, end_offset: Offset) -> EpochEndOffset {
        EpochEndOffset { epoch: LeaderEpoch(epoch), end_offset }
    }

    #[test]
    fn a_follower_out_of_range_is_cut_begins_anew_or_goes_on() {
        assert_eq!(into_range(0, 9, 10), IntoRange::CutToEnd);
        assert_eq!(into_range(11, 20, 10), IntoRange::BeginAnew);
        assert_eq!(into_range(10, 20, 10), IntoRange::GoOn);
        assert_eq!(into_range(0, 10, 10), IntoRange::GoOn);
    }

    #[test]
    fn the_lower_end_of_the_shared_epoch_wins() {
        assert_eq!(truncation_offset(end(3, 50), Some(end(3, 70)), 80, 10), 50);
        assert_eq!(truncation_offset(end(3, 50), Some(end(3, 40)), 80, 10), 40);
        assert_eq!(truncation_offset(end(3, 50), Some(end(3, 70)), 45, 10), 45);
    }

    #[test]
    fn an_epoch_that_the_follower_lacks_sends_it_back_to_the_one_before() {
        assert_eq!(truncation_offset(end(3, 50), Some(end(2, 30)), 80, 10), 30);
        assert_eq!(truncation_offset(end(3, 50), None, 80, 10), 50, "it knows none so low");
    }

    #[test]
    fn a_leader_that_does_not_know_sends_the_follower_to_its_high_watermark() {
        assert_eq!(truncation_offset(end(-1, -1), Some(end(2, 30)), 80, 10), 10);
        assert_eq!(truncation_offset(end(-1, 60), Some(end(2, 30)), 80, 10), 60);
    }

    /// A log as the epoch of each of its offsets.
    type Epochs = Vec<i32>;

    fn cache(log: &Epochs) -> EpochCache {
        let mut cache = EpochCache::default();
        for (offset, epoch) in log.iter().enumerate() {
            cache.assign(LeaderEpoch(*epoch), offset as Offset);
        }
        cache
    }

    /// Two logs of leaders that were elected uncleanly or not: in each epoch one of the two has led, and the other has
    /// taken over a part of what that one wrote.
    fn histories() -> impl Strategy<Value = (Epochs, Epochs)> {
        proptest::collection::vec((any::<bool>(), 0..4_usize, 0..6_usize), 0..12).prop_map(|terms| {
            let (mut a, mut b) = (Epochs::new(), Epochs::new());
            for (epoch, (a_leads, written, copied)) in terms.into_iter().enumerate() {
                let (leader, follower) = if a_leads { (&mut a, &mut b) } else { (&mut b, &mut a) };
                leader.extend(std::iter::repeat_n(epoch as i32, written));
                if copied < 4 {
                    // The follower cuts to what is the same and takes over some of the rest.
                    let same = leader.iter().zip(follower.iter()).take_while(|(x, y)| x == y).count();
                    follower.truncate(same);
                    follower.extend(leader.iter().skip(same).take(copied));
                }
            }
            (a, b)
        })
    }

    proptest! {
        /// Whatever two replicas have lived through: step by step the follower comes to a common prefix, and it never
        /// throws away what the leader has too.
        #[test]
        fn truncation_ends_at_the_common_prefix((leader, follower) in histories()) {
            let mut log = follower;
            let same = leader.iter().zip(&log).take_while(|(x, y)| x == y).count();
            for _ in 0..20 {
                let own = cache(&log);
                let Some(last) = own.latest() else { break };
                let log_end = log.len() as Offset;
                let theirs = cache(&leader).end_offset_for(last.epoch, leader.len() as Offset);
                let Some(answer) = theirs else {
                    // The leader has nothing up to that epoch: the fetch is out of range.
                    break;
                };
                if answer.epoch == last.epoch && answer.end_offset >= log_end {
                    prop_assert_eq!(&leader[..log.len()], &log[..], "the leader sees no divergence");
                    return Ok(());
                }
                let to = truncation_offset(answer, own.end_offset_for(answer.epoch, log_end), log_end, 0);
                prop_assert!(to as usize >= same.min(log.len()), "cut to {} though {} are the same", to, same);
                log.truncate(to as usize);
            }
        }
    }
}
