//! Owns what a leader knows of its followers: how far each has come, who is in sync, and the one change of that which is
//! under way. Kafka: the leader's half of `Partition`, `PartitionState`, `Replica`, `ReplicaState`. Pure.
//!
//! ```text
//! committed   what the controller has written; the producers' min.insync.replicas is held against it
//! maximal     committed, and who is about to join: the high watermark waits for all of these
//! ```
//!
//! A replica that leaves counts until the controller says that it has left, one that joins counts from the request on. So
//! whichever of the two the controller then elects from, the high watermark is in the new leader's log.

use crate::common::ids::{Millis, Offset};
use crate::common::{BrokerId, LeaderEpoch};
use crate::log::OffsetMetadata;

/// Longer ago than any `replica.lag.time.max.ms`, from the first tick of a clock on.
const NEVER: Millis = i64::MIN / 2;

/// Kafka's `UnifiedLog.UnknownOffset`.
const UNKNOWN: Offset = -1;

/// A change of the in-sync replicas that the controller is asked for (AlterPartition).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsrChange {
    pub leader_epoch: LeaderEpoch,
    /// The version of the state that it changes.
    pub partition_epoch: i32,
    pub isr: Vec<BrokerId>,
    /// Who joins; none when replicas leave.
    pub joining: Option<BrokerId>,
}

/// What the controller made of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Altered {
    pub leader_epoch: LeaderEpoch,
    pub partition_epoch: i32,
    pub isr: Vec<BrokerId>,
}

/// Why a change was not made, by what follows of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IsrRefusal {
    /// Another one of the partition is under way, or who would join may not: nothing has changed, and a later fetch or
    /// tick asks anew.
    #[error("not now")]
    NotNow,
    /// The controller knows better: its next LeaderAndIsr ends this epoch, and the change with it.
    #[error("the controller knows better")]
    Superseded,
    /// It is asked again.
    #[error("not answered")]
    Failed,
}

/// What a follower's fetch says of it.
#[derive(Clone, Copy, Debug)]
pub struct FollowerFetch {
    /// Where it reads on: it has everything before.
    pub from: OffsetMetadata,
    pub log_start: Offset,
    /// Our log's end when the fetch was read.
    pub leader_log_end: Offset,
}

/// What the machine has to know of the moment.
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    /// Ticks: see [`crate::util::clock::Clock`].
    pub now: Millis,
    pub log_end: OffsetMetadata,
    pub high_watermark: Offset,
    /// `min.insync.replicas`, as the topic says it.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`
    pub lag_time_max_ms: Millis,
    /// Whether the metadata shows a broker.
    pub is_alive: &'a dyn Fn(BrokerId) -> bool,
}

/// What follows of an input.
#[must_use]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Everything before this is on every replica that counts. It may be below what was reached before.
    pub high_watermark: Option<OffsetMetadata>,
    pub submit: Option<IsrChange>,
}

/// One follower. Kafka: `ReplicaState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Follower {
    pub id: BrokerId,
    /// -1 until its first fetch.
    pub log_end: OffsetMetadata,
    pub log_start: Offset,
    last_fetch_leader_log_end: Offset,
    last_fetch: Millis,
    pub last_caught_up: Millis,
}

impl Follower {
    fn new(id: BrokerId) -> Self {
        Self {
            id,
            log_end: OffsetMetadata::offset_only(UNKNOWN),
            log_start: UNKNOWN,
            last_fetch_leader_log_end: 0,
            last_fetch: NEVER,
            last_caught_up: NEVER,
        }
    }

    /// For a new leader's start of its epoch at `log_end`. One that led before goes on with what it knew.
    fn reset(&mut self, now: Millis, log_end: Offset, is_new_leader: bool, is_in_sync: bool) {
        self.last_caught_up = if is_in_sync { now } else { NEVER };
        if is_new_leader {
            *self = Self { last_caught_up: self.last_caught_up, ..Self::new(self.id) };
            self.last_fetch_leader_log_end = UNKNOWN;
        } else {
            self.last_fetch_leader_log_end = log_end;
            self.last_fetch = if is_in_sync { now } else { NEVER };
        }
    }

    fn on_fetch(&mut self, now: Millis, fetch: &FollowerFetch) {
        // A follower of a busy log never reads at its very end: it has caught up as of its previous fetch when this one
        // reads where the log ended then.
        if fetch.from.offset >= fetch.leader_log_end {
            self.last_caught_up = self.last_caught_up.max(now);
        } else if fetch.from.offset >= self.last_fetch_leader_log_end {
            self.last_caught_up = self.last_caught_up.max(self.last_fetch);
        }
        self.log_end = fetch.from;
        self.log_start = fetch.log_start;
        self.last_fetch_leader_log_end = self.last_fetch_leader_log_end.max(fetch.leader_log_end);
        self.last_fetch = now;
    }

    fn is_caught_up(&self, moment: &Moment<'_>) -> bool {
        self.log_end.offset == moment.log_end.offset || moment.now - self.last_caught_up <= moment.lag_time_max_ms
    }
}

/// The machine of one leader in one epoch.
#[derive(Clone, Debug)]
pub struct Isr {
    local: BrokerId,
    leader_epoch: LeaderEpoch,
    /// Where the epoch began in our log.
    epoch_start: Offset,
    partition_epoch: i32,
    committed: Vec<BrokerId>,
    pending: Option<IsrChange>,
    followers: Vec<Follower>,
}

impl Isr {
    /// A leader's start. `previous` is its own former epoch, when it led before.
    #[expect(clippy::too_many_arguments, reason = "each is a fact of its own")]
    pub fn elected(
        local: BrokerId,
        leader_epoch: LeaderEpoch,
        partition_epoch: i32,
        replicas: &[BrokerId],
        isr: &[BrokerId],
        epoch_start: Offset,
        now: Millis,
        previous: Option<&Self>,
    ) -> Self {
        let follower = |id: &BrokerId| {
            let known = previous.and_then(|previous| previous.follower(*id)).copied();
            let mut follower = known.unwrap_or_else(|| Follower::new(*id));
            follower.reset(now, epoch_start, previous.is_none(), isr.contains(id));
            follower
        };
        Self {
            local,
            leader_epoch,
            epoch_start,
            partition_epoch,
            committed: isr.to_vec(),
            pending: None,
            followers: replicas.iter().filter(|id| **id != local).map(follower).collect(),
        }
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    /// In the controller's order.
    pub fn committed(&self) -> &[BrokerId] {
        &self.committed
    }

    pub fn maximal_len(&self) -> usize {
        self.committed.len() + usize::from(self.joining().is_some())
    }

    pub fn followers(&self) -> &[Follower] {
        &self.followers
    }

    /// Where a follower's log starts; None before its first fetch.
    pub fn log_start_of(&self, id: BrokerId) -> Option<Offset> {
        self.follower(id).map(|follower| follower.log_start).filter(|start| *start != UNKNOWN)
    }

    /// The leader's log lies in other files now, where what followers have begins at other places.
    pub fn forget_places(&mut self) {
        for follower in &mut self.followers {
            follower.log_end.place = None;
        }
    }

    fn follower(&self, id: BrokerId) -> Option<&Follower> {
        self.followers.iter().find(|follower| follower.id == id)
    }

    fn joining(&self) -> Option<BrokerId> {
        self.pending.as_ref().and_then(|change| change.joining)
    }

    fn counts(&self, id: BrokerId) -> bool {
        self.committed.contains(&id) || self.joining() == Some(id)
    }

    /// A follower has read, which says what it has. Not for reads that failed or diverged, nor for a second look after a
    /// wait: what was true then would be counted now. Nothing happens for a stranger.
    pub fn on_follower_fetch(&mut self, moment: &Moment<'_>, id: BrokerId, fetch: &FollowerFetch) -> Effects {
        let Some(follower) = self.followers.iter_mut().find(|follower| follower.id == id) else {
            return Effects::default();
        };
        let before = follower.log_end.offset;
        follower.on_fetch(moment.now, fetch);
        let has_moved = follower.log_end.offset != before;
        let submit = self.expand(moment, id);
        let high_watermark = if has_moved { self.high_watermark(moment) } else { None };
        Effects { high_watermark, submit }
    }

    /// The log has grown.
    pub fn on_log_end(&self, moment: &Moment<'_>) -> Effects {
        Effects { high_watermark: self.high_watermark(moment), submit: None }
    }

    /// Every half of `replica.lag.time.max.ms`: who has not caught up for that long leaves.
    pub fn on_tick(&mut self, moment: &Moment<'_>) -> Effects {
        let out = self.out_of_sync(moment);
        if out.is_empty() {
            return Effects::default();
        }
        let isr = self.committed.iter().copied().filter(|id| !out.contains(id)).collect();
        Effects { high_watermark: None, submit: Some(self.prepare(isr, None)) }
    }

    /// The controller's answer to `sent`. Kafka: `handleAlterPartitionUpdate`, `handleAlterPartitionError`.
    pub fn on_answer(&mut self, moment: &Moment<'_>, sent: &IsrChange, answer: Result<Altered, IsrRefusal>) -> Effects {
        if self.pending.as_ref() != Some(sent) {
            return Effects::default();
        }
        match answer {
            Ok(altered) => {
                if altered.leader_epoch != self.leader_epoch || altered.partition_epoch < self.partition_epoch {
                    return Effects::default();
                }
                self.pending = None;
                self.committed = altered.isr;
                self.partition_epoch = altered.partition_epoch;
                Effects { high_watermark: self.high_watermark(moment), submit: None }
            }
            Err(IsrRefusal::NotNow) => {
                self.pending = None;
                Effects::default()
            }
            Err(IsrRefusal::Superseded) => Effects::default(),
            Err(IsrRefusal::Failed) => Effects { high_watermark: None, submit: Some(sent.clone()) },
        }
    }

    /// The followers that have not caught up for too long. No one leaves while a change is under way.
    pub fn out_of_sync(&self, moment: &Moment<'_>) -> Vec<BrokerId> {
        if self.pending.is_some() {
            return Vec::new();
        }
        let is_out = |id: &BrokerId| {
            *id != self.local && self.follower(*id).is_none_or(|follower| !follower.is_caught_up(moment))
        };
        self.committed.iter().copied().filter(is_out).collect()
    }

    fn expand(&mut self, moment: &Moment<'_>, id: BrokerId) -> Option<IsrChange> {
        if self.pending.is_some() || self.committed.contains(&id) {
            return None;
        }
        let log_end = self.follower(id)?.log_end.offset;
        // What it has of the epochs before is only known to be ours once it has reached this one.
        let is_in_sync = log_end >= moment.high_watermark && log_end >= self.epoch_start;
        if !is_in_sync || !(moment.is_alive)(id) {
            return None;
        }
        let mut isr = self.committed.clone();
        isr.push(id);
        Some(self.prepare(isr, Some(id)))
    }

    fn prepare(&mut self, isr: Vec<BrokerId>, joining: Option<BrokerId>) -> IsrChange {
        let (leader_epoch, partition_epoch) = (self.leader_epoch, self.partition_epoch);
        self.pending.insert(IsrChange { leader_epoch, partition_epoch, isr, joining }).clone()
    }

    /// The least that those who count have. None while too few are in sync (KIP-966): what is shown then could be lost.
    fn high_watermark(&self, moment: &Moment<'_>) -> Option<OffsetMetadata> {
        let needed = moment.min_insync_replicas.min(self.followers.len() + 1);
        if self.committed.len() < needed {
            return None;
        }
        let mut least = moment.log_end;
        for follower in &self.followers {
            // One that keeps up will join: a high watermark beyond it would keep it out forever.
            let will_join = || follower.is_caught_up(moment) && (moment.is_alive)(follower.id);
            if follower.log_end.offset < least.offset && (self.counts(follower.id) || will_join()) {
                least = follower.log_end;
            }
        }
        Some(least)
    }

    /// The least start of the logs of live replicas, ours included.
    pub fn low_watermark(&self, log_start: Offset, is_alive: &dyn Fn(BrokerId) -> bool) -> Offset {
        let alive = self.followers.iter().filter(|follower| is_alive(follower.id));
        alive.map(|follower| follower.log_start).fold(log_start, Offset::min)
    }

    /// Whether a high watermark is one that all who count have reached: what must hold after each transition.
    #[cfg(test)]
    fn check(&self) {
        assert!(!self.followers.iter().any(|follower| follower.id == self.local), "the leader follows itself");
        let Some(change) = &self.pending else { return };
        assert_eq!((change.leader_epoch, change.partition_epoch), (self.leader_epoch, self.partition_epoch));
        match change.joining {
            Some(id) => assert!(!self.committed.contains(&id) && change.isr.len() == self.committed.len() + 1),
            None => assert!(change.isr.iter().all(|id| self.committed.contains(id)), "a shrink adds nobody"),
        }
    }
}

#[cfg(test)]
mod tests;
