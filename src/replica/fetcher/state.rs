//! Owns what one fetcher fetches from one leader: where each partition stands, and what the next request says. Kafka:
//! `AbstractFetcherThread`, `PartitionFetchState`, `RemoteLeaderEndPoint.buildFetch`. Pure.
//!
//! ```text
//! truncating   the log has no epochs to compare: it is cut to its high watermark first
//! fetching     every request says where to go on, and in which epoch the last record was written
//! delayed      after an error: left out of requests until its time
//! ```
//!
//! What the session already knows is not sent again, and nothing is looked at that did not change.

use super::session::Session;
use crate::cluster::partition::FollowError;
use crate::common::{ErrorCode, LeaderEpoch, Millis, Offset, TopicPartition, Uuid};
use crate::log::AppendError;
use crate::log::epoch_cache::EpochEndOffset;
use crate::log::log_dir::DirError;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use tracing::{debug, error, info};

/// Before the first retry of a partition that its leader does not know of yet.
const BEHIND_WAIT_MS: Millis = 2;

/// How long a partition waits whose leader has not heard of its leadership yet, after so many refusals in a row.
///
/// The controller informs both at the same time, and the first to hear waits for the other: for milliseconds, as a rule.
/// Kafka waits `replica.fetch.backoff.ms` at once, and producers with acks=all wait along. Here that is what it grows to.
fn behind_wait_ms(refusals: u32, backoff_ms: Millis) -> Millis {
    BEHIND_WAIT_MS.checked_shl(refusals).filter(|wait| *wait > 0).map_or(backoff_ms, |wait| wait.min(backoff_ms))
}

/// Names of topics that are kept beyond those in use, so that they are not looked through at every change.
const NAMES_SPARE: usize = 64;

/// Where a partition begins to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// Zero when the controller knows none.
    pub topic_id: Uuid,
    pub leader_epoch: LeaderEpoch,
    /// The log's end; its high watermark where there are no epochs.
    pub offset: Offset,
    /// Of the log's last record.
    pub last_epoch: Option<LeaderEpoch>,
}

/// One partition as a request asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub topic_id: Uuid,
    pub fetch_offset: Offset,
    pub log_start: Offset,
    pub leader_epoch: LeaderEpoch,
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Truncating,
    Fetching,
}

#[derive(Clone, Debug)]
struct Fetched {
    topic_id: Uuid,
    leader_epoch: LeaderEpoch,
    offset: Offset,
    last_epoch: Option<LeaderEpoch>,
    phase: Phase,
    /// Offsets behind the leader's high watermark; None before the first answer.
    lag: Option<Offset>,
    delayed_until: Option<Millis>,
    /// In a row, by a leader that does not lead in our epoch yet.
    refusals: u32,
    /// What the session believes.
    in_session: Option<Asked>,
}

impl Fetched {
    fn start(start: Start) -> Self {
        Self {
            topic_id: start.topic_id,
            leader_epoch: start.leader_epoch,
            offset: start.offset,
            last_epoch: start.last_epoch,
            phase: if start.last_epoch.is_some() { Phase::Fetching } else { Phase::Truncating },
            lag: None,
            delayed_until: None,
            refusals: 0,
            in_session: None,
        }
    }

    fn is_fetching(&self) -> bool {
        self.phase == Phase::Fetching && self.delayed_until.is_none()
    }

    fn is_in_sync(&self) -> bool {
        self.lag.is_some_and(|lag| lag <= 0)
    }
}

/// What a request carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub session: Session,
    /// Every partition of the session has a topic id: without that the request names topics.
    pub uses_topic_ids: bool,
    pub asked: Vec<(TopicPartition, Asked)>,
    pub forgotten: Vec<(TopicPartition, Uuid)>,
}

/// What the planner has to know of a partition's log, and of throttling.
pub(super) trait ReplicaView {
    /// None when the partition is not served any more: it is left out for a while.
    fn log_start(&self, tp: &TopicPartition) -> Option<Offset>;
    /// Asked for replicas that are not in sync only.
    fn is_throttled(&self, tp: &TopicPartition) -> bool;
    /// Whether any answer of [`Self::is_throttled`] may change without an event.
    fn may_throttle(&self) -> bool;
}

/// What a leader's answer says of one partition, but for its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub error: ErrorCode,
    /// The follower's log is another one from here on.
    pub diverging: Option<EpochEndOffset>,
}

/// What to do with the answer for one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is for what was asked, and was not overtaken: its records go to the log.
    Append(Due),
    /// The log is to be cut, by where this epoch ends at the leader.
    Cut(LeaderEpoch, EpochEndOffset),
    /// The leader is to be asked where its log begins and ends.
    FindRange(LeaderEpoch),
    /// The partition waits, or is not fetched any more, as it should now and then.
    Pass,
    /// The partition waits, and someone should hear of it.
    Report,
}

/// Where the records of an answer belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub leader_epoch: LeaderEpoch,
    pub fetch_offset: Offset,
}

/// See the module's page.
#[derive(Debug)]
pub(super) struct FetcherState {
    partitions: HashMap<TopicPartition, Fetched>,
    session: Session,
    /// Changed since the last plan.
    dirty: BTreeSet<TopicPartition>,
    truncating: BTreeSet<TopicPartition>,
    delayed: BTreeSet<(Millis, TopicPartition)>,
    /// In the session, but not fetched any more.
    left: BTreeMap<TopicPartition, Asked>,
    /// Partitions that the session knows, and how many of those have no topic id.
    in_session: usize,
    without_id: usize,
    /// Names of the topics that are fetched, for answers that name ids.
    names: HashMap<Uuid, Arc<str>>,
}

impl Default for FetcherState {
    fn default() -> Self {
        Self {
            partitions: HashMap::new(),
            session: Session::INITIAL,
            dirty: BTreeSet::new(),
            truncating: BTreeSet::new(),
            delayed: BTreeSet::new(),
            left: BTreeMap::new(),
            in_session: 0,
            without_id: 0,
            names: HashMap::new(),
        }
    }
}

impl FetcherState {
    pub(super) fn len(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn topic_name(&self, id: Uuid) -> Option<&Arc<str>> {
        self.names.get(&id)
    }

    // ---- what is fetched

    /// Fetches a partition, unless it is fetched in this epoch already.
    pub(super) fn add(&mut self, tp: TopicPartition, start: Start) {
        if self.partitions.get(&tp).is_some_and(|known| known.leader_epoch == start.leader_epoch) {
            return;
        }
        self.remove(&tp);
        let mut fetched = Fetched::start(start);
        // It never left the session: what the request says of it is a change.
        fetched.in_session = self.left.remove(&tp);
        if let Some(asked) = fetched.in_session {
            self.count_in_session(&asked, true);
        }
        if !start.topic_id.is_zero() {
            self.forget_names();
            self.names.insert(start.topic_id, Arc::clone(&tp.topic));
        }
        if fetched.phase == Phase::Truncating {
            self.truncating.insert(tp.clone());
        }
        self.dirty.insert(tp.clone());
        self.partitions.insert(tp, fetched);
    }

    /// Drops names of topics that are gone, once there are many.
    fn forget_names(&mut self) {
        if self.names.len() <= 2 * (self.partitions.len() + self.left.len()) + NAMES_SPARE {
            return;
        }
        let fetched = self.partitions.values().map(|fetched| fetched.topic_id);
        let used: BTreeSet<Uuid> = fetched.chain(self.left.values().map(|asked| asked.topic_id)).collect();
        self.names.retain(|id, _| used.contains(id));
    }

    /// Where the partition stood, when it was fetched.
    pub(super) fn remove(&mut self, tp: &TopicPartition) -> Option<Start> {
        let gone = self.partitions.remove(tp)?;
        self.dirty.remove(tp);
        self.truncating.remove(tp);
        if let Some(until) = gone.delayed_until {
            self.delayed.remove(&(until, tp.clone()));
        }
        if let Some(asked) = gone.in_session {
            self.count_in_session(&asked, false);
            self.left.insert(tp.clone(), asked);
        }
        Some(Start {
            topic_id: gone.topic_id,
            leader_epoch: gone.leader_epoch,
            offset: gone.offset,
            last_epoch: gone.last_epoch,
        })
    }

    /// Takes everything away, for another fetcher.
    pub(super) fn drain(&mut self) -> Vec<(TopicPartition, Start)> {
        let all: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        all.into_iter().filter_map(|tp| self.remove(&tp).map(|start| (tp, start))).collect()
    }

    /// The controller has given a topic an id while its partition was fetched without one.
    pub(super) fn set_topic_id(&mut self, tp: &TopicPartition, topic_id: Uuid) {
        let Some(fetched) = self.partitions.get_mut(tp) else { return };
        fetched.topic_id = topic_id;
        self.names.insert(topic_id, Arc::clone(&tp.topic));
        self.dirty.insert(tp.clone());
    }

    // ---- requests

    /// The next request; None when there is nothing to ask, for now.
    pub(super) fn plan(&mut self, now: Millis, around: &impl ReplicaView, backoff_ms: Millis) -> Option<Plan> {
        self.wake_delayed(now);
        let is_full = self.session.is_full();
        let candidates: Vec<TopicPartition> = if is_full || around.may_throttle() {
            let mut all: Vec<_> = self.partitions.keys().cloned().collect();
            all.sort_unstable();
            all
        } else {
            self.dirty.iter().cloned().collect()
        };
        self.dirty.clear();
        let mut forgotten = Vec::new();
        if is_full {
            self.left.clear();
            for fetched in self.partitions.values_mut() {
                fetched.in_session = None;
            }
            (self.in_session, self.without_id) = (0, 0);
        }
        forgotten.extend(std::mem::take(&mut self.left).into_iter().map(|(tp, asked)| (tp, asked.topic_id)));
        let mut asked = Vec::new();
        for tp in candidates {
            let Some(fetched) = self.partitions.get(&tp) else { continue };
            let before = fetched.in_session;
            let is_wanted = fetched.is_fetching() && (fetched.is_in_sync() || !around.is_throttled(&tp));
            let log_start = if is_wanted { around.log_start(&tp) } else { None };
            if is_wanted && log_start.is_none() {
                self.delay(&tp, now, backoff_ms);
            }
            let Some(fetched) = self.partitions.get_mut(&tp) else { continue };
            let wanted = log_start.map(|log_start| Asked {
                topic_id: fetched.topic_id,
                fetch_offset: fetched.offset,
                log_start,
                leader_epoch: fetched.leader_epoch,
                last_fetched_epoch: fetched.last_epoch,
            });
            if wanted == before {
                continue;
            }
            fetched.in_session = wanted;
            if let Some(before) = before {
                self.count_in_session(&before, false);
                let is_replaced = wanted.is_some_and(|w| w.topic_id != before.topic_id && !before.topic_id.is_zero());
                if wanted.is_none() || is_replaced {
                    forgotten.push((tp.clone(), before.topic_id));
                }
            }
            if let Some(wanted) = wanted {
                self.count_in_session(&wanted, true);
                asked.push((tp, wanted));
            }
        }
        if self.in_session == 0 && forgotten.is_empty() {
            return None;
        }
        let uses_topic_ids = self.without_id == 0 && forgotten.iter().all(|(_, id)| !id.is_zero());
        Some(Plan { session: self.session, uses_topic_ids, asked, forgotten })
    }

    fn count_in_session(&mut self, asked: &Asked, is_there: bool) {
        let count = |n: &mut usize| *n = if is_there { *n + 1 } else { n.saturating_sub(1) };
        count(&mut self.in_session);
        if asked.topic_id.is_zero() {
            count(&mut self.without_id);
        }
    }

    /// When a partition may be fetched again that is delayed now.
    pub(super) fn next_deadline(&self) -> Option<Millis> {
        self.delayed.first().map(|(until, _)| *until)
    }

    fn wake_delayed(&mut self, now: Millis) {
        while let Some((until, _)) = self.delayed.first()
            && *until <= now
            && let Some((_, tp)) = self.delayed.pop_first()
        {
            if let Some(fetched) = self.partitions.get_mut(&tp) {
                fetched.delayed_until = None;
                if fetched.phase == Phase::Truncating {
                    self.truncating.insert(tp.clone());
                }
                self.dirty.insert(tp);
            }
        }
    }

    // ---- answers

    /// The whole request failed: no answer, or none that can be read. Everything waits.
    pub(super) fn on_failure(&mut self, now: Millis, backoff_ms: Millis) {
        self.session = self.session.renewed();
        self.delay_all(now, backoff_ms);
    }

    /// The request was given up before its answer: the next one starts a session of its own, at once.
    pub(super) fn on_interrupted(&mut self) {
        self.session = self.session.renewed();
    }

    fn delay_all(&mut self, now: Millis, backoff_ms: Millis) {
        let all: Vec<TopicPartition> = self.partitions.keys().cloned().collect();
        for tp in all {
            self.delay(&tp, now, backoff_ms);
        }
    }

    /// An answer to `plan` has come, for `answered` of its partitions. False when nothing of it may be used.
    pub(super) fn on_answer(
        &mut self,
        now: Millis,
        plan: &Plan,
        error: ErrorCode,
        session_id: i32,
        answered: &BTreeSet<TopicPartition>,
        backoff_ms: Millis,
    ) -> bool {
        if error.is_error() {
            self.session = self.session.after_refusal(error);
            if error == ErrorCode::FetchSessionTopicIdError {
                self.delay_all(now, backoff_ms);
            }
            return false;
        }
        let is_known = |tp: &TopicPartition| {
            self.partitions.get(tp).is_some_and(|fetched| fetched.in_session.is_some()) || self.left.contains_key(tp)
        };
        let is_sound = if plan.session.is_full() {
            answered.len() == plan.asked.len() && plan.asked.iter().all(|(tp, _)| answered.contains(tp))
        } else {
            answered.iter().all(is_known)
        };
        if !is_sound {
            self.session = if plan.session.is_full() { Session::INITIAL } else { self.session.renewed() };
            return false;
        }
        self.session = self.session.after_answer(session_id);
        true
    }

    /// What follows of the answer for a partition. Kafka: `AbstractFetcherThread.processFetchRequest`.
    pub(super) fn judge(&mut self, tp: &TopicPartition, said: &Said, now: Millis, backoff_ms: Millis) -> Verdict {
        let Some(due) = self.due(tp) else { return Verdict::Pass };
        let epoch = due.leader_epoch;
        match (said.error, said.diverging) {
            (ErrorCode::None, Some(end)) => Verdict::Cut(epoch, end),
            (ErrorCode::None, None) => Verdict::Append(due),
            (ErrorCode::OffsetOutOfRange, _) => Verdict::FindRange(epoch),
            (ErrorCode::FencedLeaderEpoch, _) => {
                info!(%tp, %epoch, "the leader has a newer epoch: waiting for the controller");
                self.remove(tp);
                Verdict::Pass
            }
            (code @ (ErrorCode::UnknownLeaderEpoch | ErrorCode::NotLeaderOrFollower), _) => {
                debug!(%tp, %code, "the leader is not there yet, or not any more");
                self.delay_until_led(tp, now, backoff_ms);
                Verdict::Pass
            }
            (ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId, _) => {
                if self.delay_until_led(tp, now, backoff_ms) { Verdict::Pass } else { Verdict::Report }
            }
            (_, _) => {
                self.delay(tp, now, backoff_ms);
                Verdict::Report
            }
        }
    }

    /// None when the answer is not what the partition waits for: it was moved, cut or given away meanwhile.
    fn due(&self, tp: &TopicPartition) -> Option<Due> {
        let fetched = self.partitions.get(tp)?;
        let asked = fetched.in_session?;
        // Epochs and offsets of a topic that is made again begin as those of the earlier one.
        let is_due = fetched.is_fetching()
            && asked.topic_id == fetched.topic_id
            && asked.fetch_offset == fetched.offset
            && asked.leader_epoch == fetched.leader_epoch;
        is_due.then_some(Due { leader_epoch: fetched.leader_epoch, fetch_offset: fetched.offset })
    }

    /// Records of the leader were taken over, or there were none: `next` is where to go on.
    pub(super) fn on_appended(
        &mut self,
        tp: &TopicPartition,
        next: Offset,
        last_epoch: Option<LeaderEpoch>,
        leader_high_watermark: Offset,
    ) {
        let Some(fetched) = self.partitions.get_mut(tp) else { return };
        fetched.lag = Some((leader_high_watermark - next).max(0));
        fetched.refusals = 0;
        fetched.offset = next;
        if last_epoch.is_some() {
            fetched.last_epoch = last_epoch;
        }
        // Also without records: the log's start may have moved.
        self.dirty.insert(tp.clone());
    }

    /// The log was cut, or begun anew: fetching goes on at `offset`.
    pub(super) fn on_truncated(
        &mut self,
        tp: &TopicPartition,
        offset: Offset,
        last_epoch: Option<LeaderEpoch>,
        lag: Option<Offset>,
    ) {
        let Some(fetched) = self.partitions.get_mut(tp) else { return };
        fetched.offset = offset;
        fetched.last_epoch = last_epoch;
        fetched.phase = Phase::Fetching;
        if lag.is_some() {
            fetched.lag = lag;
        }
        self.truncating.remove(tp);
        self.dirty.insert(tp.clone());
    }

    /// Leaves a partition out for a while. One that is delayed already keeps its time.
    pub(super) fn delay(&mut self, tp: &TopicPartition, now: Millis, backoff_ms: Millis) {
        let Some(fetched) = self.partitions.get_mut(tp).filter(|fetched| fetched.delayed_until.is_none()) else {
            return;
        };
        let until = now.saturating_add(backoff_ms);
        fetched.delayed_until = Some(until);
        self.truncating.remove(tp);
        self.delayed.insert((until, tp.clone()));
        self.dirty.insert(tp.clone());
    }

    /// Leaves a partition out until its leader may have heard of its leadership. False: it should have by now.
    fn delay_until_led(&mut self, tp: &TopicPartition, now: Millis, backoff_ms: Millis) -> bool {
        let Some(fetched) = self.partitions.get_mut(tp) else { return true };
        let wait = behind_wait_ms(fetched.refusals, backoff_ms);
        fetched.refusals = fetched.refusals.saturating_add(1);
        self.delay(tp, now, wait);
        wait < backoff_ms
    }

    /// Records of the leader were not taken over. Damaged ones may come whole the next time; from a log that is elsewhere
    /// than was thought there is no way on but the controller's.
    pub(super) fn on_append_failed(
        &mut self,
        tp: &TopicPartition,
        error: &FollowError,
        now: Millis,
        backoff_ms: Millis,
    ) {
        let fetch_offset = self.partitions.get(tp).map(|fetched| fetched.offset);
        match error {
            FollowError::Append(AppendError::Dir(error)) => self.on_disk_error(tp, error, now, backoff_ms),
            FollowError::Append(error @ AppendError::Record(_)) => {
                error!(%tp, fetch_offset, %error, "the leader has sent damaged records");
                self.delay(tp, now, backoff_ms);
            }
            FollowError::NoLog
            | FollowError::OffsetMismatch { .. }
            | FollowError::Append(
                AppendError::NotLeader
                | AppendError::TooLarge { .. }
                | AppendError::Producer(_)
                | AppendError::UnexpectedOffset { .. }
                | AppendError::OffsetsOutOfOrder,
            ) => {
                error!(%tp, fetch_offset, %error, "records of the leader can't be appended: the partition is not fetched any more");
                self.remove(tp);
            }
        }
    }

    /// The leader's range is not known. `refusal` is its answer, if there was one.
    pub(super) fn on_range_unknown(
        &mut self,
        tp: &TopicPartition,
        refusal: Option<ErrorCode>,
        now: Millis,
        backoff_ms: Millis,
    ) {
        if refusal == Some(ErrorCode::FencedLeaderEpoch) {
            // Its epoch is newer: the controller has the next word.
            self.remove(tp);
        } else {
            self.delay(tp, now, backoff_ms);
        }
    }

    /// An append or a truncation has failed. There may be room again on a full disk, and the directory has logged it; from
    /// other failures the log does not come back.
    pub(super) fn on_disk_error(&mut self, tp: &TopicPartition, error: &DirError, now: Millis, backoff_ms: Millis) {
        if matches!(error, DirError::Full { .. }) {
            self.delay(tp, now, backoff_ms);
        } else {
            error!(%tp, %error, "the log can't be written: the partition is not fetched any more");
            self.remove(tp);
        }
    }

    /// Where a partition is fetched, if it still is in this epoch.
    pub(super) fn fetch_offset_in(&self, tp: &TopicPartition, epoch: LeaderEpoch) -> Option<Offset> {
        self.partitions.get(tp).filter(|fetched| fetched.leader_epoch == epoch).map(|fetched| fetched.offset)
    }

    /// Partitions whose logs are to be cut before they are fetched, each to the offset that it begins at.
    pub(super) fn to_truncate(&self) -> Vec<(TopicPartition, Offset)> {
        let at = |tp: &TopicPartition| self.partitions.get(tp).map(|fetched| (tp.clone(), fetched.offset));
        self.truncating.iter().filter_map(at).collect()
    }

    /// What must hold after each step.
    #[cfg(test)]
    fn check(&self) {
        let in_session: Vec<_> = self.partitions.values().filter_map(|fetched| fetched.in_session).collect();
        assert_eq!(self.in_session, in_session.len());
        assert_eq!(self.without_id, in_session.iter().filter(|asked| asked.topic_id.is_zero()).count());
        for (tp, fetched) in &self.partitions {
            let is_delayed = fetched.delayed_until.is_some_and(|until| self.delayed.contains(&(until, tp.clone())));
            assert_eq!(is_delayed, fetched.delayed_until.is_some(), "{tp}");
            let truncates = fetched.phase == Phase::Truncating && fetched.delayed_until.is_none();
            assert_eq!(self.truncating.contains(tp), truncates, "{tp}");
            assert!(!self.left.contains_key(tp), "{tp} is fetched and left");
        }
        assert!(self.delayed.iter().all(|(_, tp)| self.partitions.contains_key(tp)));
    }
}

#[cfg(test)]
mod tests;
