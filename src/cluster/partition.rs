//! Owns one partition on this broker: its role, and what a leader or follower may do with its log. Kafka: `Partition`.
//!
//! ```text
//! role     an immutable value behind an atomic swap: append and read take no lock of this room
//! change   held while the role changes; then `leader`, then the log's own locks
//! leader   what a leader knows of its followers; a leader without followers never takes it
//! ```
//!
//! A high watermark is computed and set under `leader`, so that none of an epoch that is over reaches the log.

use super::isr::{Altered, Effects, FollowerFetch, Isr, IsrChange, IsrRefusal, Moment};
use crate::common::ids::Millis;
use crate::common::{BrokerId, ControllerEpoch, LeaderEpoch, Offset, TopicPartition, Uuid};
use crate::log::{AppendError, AppendInfo, LogStartError, OffsetMetadata, UnifiedLog, VerificationGuard};
use crate::record::batches;
use crate::record::validate::{AppendOrigin, ValidatedBatches};
use crate::util::lock::{Mutex, Rank};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::sync::Arc;
use tracing::info;

/// What the controller last said of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeadershipState {
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    /// As committed; on a follower as of the last LeaderAndIsr.
    pub isr: Vec<BrokerId>,
    pub replicas: Vec<BrokerId>,
    /// dataVersion of the state znode.
    pub partition_epoch: i32,
    pub controller_epoch: ControllerEpoch,
}

#[derive(Clone, Debug)]
struct Role {
    state: LeadershipState,
    /// Where this leader's epoch began; None on a follower.
    epoch_start: Option<Offset>,
    /// In sync or about to be, on a leader.
    maximal_isr: usize,
    /// The only replica, and its leader.
    is_alone: bool,
    /// The first epoch of a leadership that has not been interrupted since; none on a follower.
    led_since: LeaderEpoch,
}

impl Role {
    fn follower(state: LeadershipState) -> Self {
        Self { state, epoch_start: None, maximal_isr: 0, is_alone: false, led_since: LeaderEpoch::NONE }
    }
}

pub struct Partition {
    pub topic_partition: TopicPartition,
    local: BrokerId,
    role: ArcSwap<Role>,
    log: ArcSwapOption<UnifiedLog>,
    /// Held while the role changes.
    change: Mutex<()>,
    /// None unless this broker leads.
    leader: Mutex<Option<Isr>>,
}

/// What leadership needs to know of the broker and the cluster around it.
#[derive(Clone, Copy)]
pub struct ClusterView<'a> {
    /// Ticks: who lags is not for the wall clock to say.
    pub now: Millis,
    /// `replica.lag.time.max.ms`
    pub lag_time_max_ms: Millis,
    /// Whether the metadata shows a broker.
    pub is_alive: &'a dyn Fn(BrokerId) -> bool,
}

/// What has to be done once no lock of the partition is held.
#[must_use]
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The high watermark rose: consumers have more to read, producers may be answered.
    pub is_committed_more: bool,
    /// The log of a follower starts at another offset: DeleteRecords may be done.
    pub has_moved_log_start: bool,
    /// The controller is to be asked.
    pub submit: Option<IsrChange>,
}

/// A replica as a consumer may read from it (KIP-392).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadableReplica {
    pub id: BrokerId,
    pub log_end: Offset,
    /// Milliseconds.
    pub since_caught_up: Millis,
}

/// Who appends to a partition, and what is asked of it.
#[derive(Clone, Copy, Debug)]
pub struct AppendTerms {
    pub origin: AppendOrigin,
    /// Proof that a transaction was verified, for its first append to the partition.
    pub guard: Option<VerificationGuard>,
    /// Refuse when too few replicas are in sync.
    pub acks_all: bool,
    /// Refuse unless this broker has led without interruption since this epoch.
    pub led_since: Option<LeaderEpoch>,
}

/// What a leader appended.
#[derive(Clone, Debug)]
pub struct LeaderAppend {
    pub info: AppendInfo,
    /// What it was appended to.
    pub log: Arc<UnifiedLog>,
    /// For [`Partition::is_committed`].
    pub led_since: LeaderEpoch,
}

/// Why a partition does not serve a request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartitionError {
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("the request's leader epoch is older than {current}")]
    Fenced { current: LeaderEpoch },
    #[error("the request's leader epoch is newer than {current}")]
    UnknownEpoch { current: LeaderEpoch },
    /// A fetcher that is no replica here: a reassignment is not known to both sides yet.
    #[error("broker {0} is not one of the replicas")]
    UnknownReplica(BrokerId),
}

/// This broker does not lead the partition: its leader is to be found anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this broker does not lead the partition")]
pub struct NotLeader;

/// Why records were not appended.
#[derive(Debug, thiserror::Error)]
pub enum PartitionAppendError {
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    #[error("{have} replicas in sync, {need} needed")]
    NotEnoughReplicas { have: usize, need: usize },
    #[error(transparent)]
    Log(#[from] AppendError),
}

/// Why records that were appended will not be committed, as far as this broker can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Nor has it since they were appended: what became of them is for the new leader to say.
    #[error(transparent)]
    NotLeader(#[from] NotLeader),
    /// Those in sync have them, and are fewer than `min.insync.replicas`.
    #[error("too few replicas are in sync")]
    NotEnoughReplicas,
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?}", self.topic_partition, self.role.load())
    }
}

impl Partition {
    pub fn new(topic_partition: TopicPartition, local: BrokerId) -> Self {
        let state = LeadershipState {
            leader: BrokerId::NONE,
            leader_epoch: LeaderEpoch::NONE,
            isr: Vec::new(),
            replicas: Vec::new(),
            partition_epoch: 0,
            controller_epoch: ControllerEpoch(0),
        };
        Self {
            topic_partition,
            local,
            role: ArcSwap::from_pointee(Role::follower(state)),
            log: ArcSwapOption::empty(),
            change: Mutex::new(Rank::PartitionRole, ()),
            leader: Mutex::new(Rank::Followers, None),
        }
    }

    pub fn log(&self) -> Option<Arc<UnifiedLog>> {
        self.log.load_full()
    }

    /// Lets another log take this one's place in one step. `swap` hands over what the former has
    /// (`UnifiedLog::hand_over`) and then calls what it is given. No role changes and no follower's fetch counts
    /// meanwhile.
    pub fn replace_log<T>(&self, swap: impl FnOnce(&mut dyn FnMut(&Arc<UnifiedLog>)) -> T) -> T {
        let _change = self.change.lock();
        let mut leader = self.leader.lock();
        swap(&mut |log| {
            self.log.store(Some(Arc::clone(log)));
            if let Some(isr) = leader.as_mut() {
                isr.forget_places();
            }
        })
    }

    /// Runs `work` on the log. When that refuses because another log has taken its place meanwhile, the work is for that
    /// one: nothing of it has happened.
    pub fn on_log<T, E>(&self, mut work: impl FnMut(&Arc<UnifiedLog>) -> Result<T, E>) -> Option<Result<T, E>> {
        let mut log = self.log()?;
        loop {
            let outcome = work(&log);
            if outcome.is_ok() || !log.is_replaced() {
                return Some(outcome);
            }
            // The tail is free when the other log is there.
            log.settled_end();
            let successor = self.log()?;
            if Arc::ptr_eq(&successor, &log) {
                return Some(outcome);
            }
            log = successor;
        }
    }

    /// On a leader, before a transaction's first append is verified: see [`UnifiedLog::start_transaction_verification`].
    pub fn start_transaction_verification(
        &self,
        producer_id: i64,
        sequence: i32,
        epoch: i16,
        now: Millis,
    ) -> Result<Option<VerificationGuard>, NotLeader> {
        let started = self.on_log(|log| {
            let guard = log.start_transaction_verification(producer_id, sequence, epoch, now);
            // One that was not handed over is for nothing.
            if log.is_replaced() { Err(NotLeader) } else { Ok(guard) }
        });
        started.filter(|_| self.is_leader()).unwrap_or(Err(NotLeader))
    }

    pub fn topic_id(&self) -> Option<Uuid> {
        self.log.load().as_ref().and_then(|log| log.topic_id())
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.role.load().state.leader_epoch
    }

    pub fn is_leader(&self) -> bool {
        self.role.load().state.leader == self.local
    }

    /// This broker leads and no one follows.
    pub fn is_alone(&self) -> bool {
        self.role.load().is_alone
    }

    pub fn is_in_sync(&self, id: BrokerId) -> bool {
        self.role.load().state.isr.contains(&id)
    }

    pub fn leadership(&self) -> LeadershipState {
        self.role.load().state.clone()
    }

    // ---- roles

    /// Starts to lead, or goes on in a new epoch. The epoch begins at the log's end, even before anything is written.
    /// False when this broker led before.
    pub fn become_leader(
        &self,
        log: Arc<UnifiedLog>,
        state: LeadershipState,
        around: &ClusterView<'_>,
    ) -> (bool, Progress) {
        let _change = self.change.lock();
        let mut leader = self.leader.lock();
        self.log.store(Some(Arc::clone(&log)));
        // From here on nothing is appended in the epoch before. Offsets are not available until the start is known.
        let is_alone = state.replicas == [self.local] && state.isr == [self.local];
        let led_since = if leader.is_some() { self.role.load().led_since } else { state.leader_epoch };
        let role = Role { maximal_isr: state.isr.len(), state, epoch_start: Some(Offset::MAX), is_alone, led_since };
        self.role.store(Arc::new(role.clone()));
        let start = log.settled_end().offset;
        let state = &role.state;
        log.assign_epoch_start(state.leader_epoch, start);
        let isr = Isr::elected(
            self.local,
            state.leader_epoch,
            state.partition_epoch,
            &state.replicas,
            &state.isr,
            start,
            around.now,
            leader.as_ref(),
        );
        let is_new = leader.is_none();
        self.role.store(Arc::new(Role { epoch_start: Some(start), ..role }));
        let effects = isr.on_log_end(&moment(&log, around));
        *leader = Some(isr);
        (is_new, self.run(&log, effects))
    }

    /// Starts to follow. When it returns, no append of a former leadership is under way.
    pub fn become_follower(&self, log: Arc<UnifiedLog>, state: LeadershipState) {
        let _change = self.change.lock();
        let mut leader = self.leader.lock();
        *leader = None;
        self.role.store(Arc::new(Role::follower(state)));
        // An append that has seen the old role holds the tail until it is done.
        log.settled_end();
        self.log.store(Some(log));
    }

    /// The controller has decided, and the log is not there yet: the partition has the new epoch, and serves no one.
    pub fn await_log(&self, state: LeadershipState) {
        let _change = self.change.lock();
        self.role.store(Arc::new(Role::follower(LeadershipState { leader: BrokerId::NONE, ..state })));
    }

    /// The replica goes, or its directory has failed: nothing is appended or acknowledged any more.
    pub fn resign(&self) {
        let _change = self.change.lock();
        let mut leader = self.leader.lock();
        *leader = None;
        let state = LeadershipState { leader: BrokerId::NONE, ..self.role.load().state.clone() };
        self.role.store(Arc::new(Role::follower(state)));
    }

    /// The log for a request that carries `current_leader_epoch` (-1: it does not say). Kafka: `localLogWithEpochOrThrow`.
    pub fn log_for(
        &self,
        current_leader_epoch: LeaderEpoch,
        leader_only: bool,
    ) -> Result<Arc<UnifiedLog>, PartitionError> {
        let role = self.role.load();
        let current = role.state.leader_epoch;
        if current_leader_epoch != LeaderEpoch::NONE && current_leader_epoch != current {
            let fenced = current_leader_epoch < current;
            return Err(if fenced {
                PartitionError::Fenced { current }
            } else {
                PartitionError::UnknownEpoch { current }
            });
        }
        if leader_only && role.state.leader != self.local {
            return Err(PartitionError::NotLeader);
        }
        self.log().ok_or(PartitionError::NotLeader)
    }

    /// True while a new leader has not yet committed everything up to the start of its epoch: offsets are not available.
    pub fn lags_after_election(&self, log: &UnifiedLog) -> bool {
        self.role.load().epoch_start.is_some_and(|start| start > log.high_watermark())
    }

    // ---- a leader's appends

    /// Appends to the local log as its leader. Once what is due for the new end has happened (a flush),
    /// [`Self::on_log_end`] makes it count.
    pub fn append_as_leader(
        &self,
        batches: &ValidatedBatches,
        terms: &AppendTerms,
        now: Millis,
    ) -> Result<LeaderAppend, PartitionAppendError> {
        let role = self.role.load();
        if role.state.leader != self.local {
            return Err(NotLeader.into());
        }
        if terms.led_since.is_some_and(|since| since != role.led_since) {
            return Err(NotLeader.into());
        }
        if terms.acks_all {
            let log = self.log().ok_or(NotLeader)?;
            let need = self.effective_min_isr(&log, &role.state);
            let have = role.state.isr.len();
            if have < need {
                return Err(PartitionAppendError::NotEnoughReplicas { have, need });
            }
        }
        let epoch = role.state.leader_epoch;
        // Asked under the log's lock: a role change that came first is seen.
        let still_leader = || {
            let role = self.role.load();
            role.state.leader_epoch == epoch && role.state.leader == self.local
        };
        let appended = self.on_log(|log| {
            let info = log.append_as_leader(batches, epoch, terms.origin, terms.guard, now, still_leader)?;
            Ok(LeaderAppend { info, log: Arc::clone(log), led_since: role.led_since })
        });
        appended.unwrap_or(Err(NotLeader.into()))
    }

    /// `min.insync.replicas`, but never more than there are replicas.
    fn effective_min_isr(&self, log: &UnifiedLog, state: &LeadershipState) -> usize {
        (log.config().min_insync_replicas as usize).min(state.replicas.len())
    }

    /// Whether everything below `end` is committed, which was appended in the leadership since `led_since`.
    pub fn is_committed(&self, end: Offset, led_since: LeaderEpoch) -> Result<bool, CommitError> {
        let log = self.log().ok_or(NotLeader)?;
        // Before the role: in another leadership the same offsets may be other records.
        let high_watermark = log.high_watermark();
        let role = self.role.load();
        if role.state.leader != self.local || role.led_since != led_since {
            return Err(NotLeader.into());
        }
        if high_watermark < end {
            return Ok(false);
        }
        let enough = role.maximal_isr >= self.effective_min_isr(&log, &role.state);
        if enough { Ok(true) } else { Err(CommitError::NotEnoughReplicas) }
    }

    /// `log` has grown to `log_end`, on disk as far as that is due. A leader that is alone commits it at once.
    pub fn on_log_end(&self, log: &Arc<UnifiedLog>, log_end: OffsetMetadata, around: &ClusterView<'_>) -> Progress {
        if self.is_alone() {
            return Progress { is_committed_more: self.raise_high_watermark(log, log_end), ..Progress::default() };
        }
        let leader = self.leader.lock();
        let (Some(isr), Some(current)) = (&*leader, self.log()) else { return Progress::default() };
        let log_end = place_in(&current, log, log_end);
        let effects = isr.on_log_end(&Moment { log_end, ..moment(&current, around) });
        self.run(&current, effects)
    }

    /// True when it rose. The place of `to` is in `of`.
    fn raise_high_watermark(&self, of: &Arc<UnifiedLog>, to: OffsetMetadata) -> bool {
        let raised = self.on_log(|log| log.maybe_increment_high_watermark(place_in(log, of, to)).ok_or(()).map(drop));
        raised.is_some_and(|raised| raised.is_ok())
    }

    // ---- followers of this leader

    /// Whether `id` may read as a follower. Kafka: `followerReplicaOrThrow`.
    pub fn check_follower(&self, id: BrokerId, current_leader_epoch: LeaderEpoch) -> Result<(), PartitionError> {
        if self.role.load().state.replicas.contains(&id) {
            return Ok(());
        }
        Err(if current_leader_epoch == LeaderEpoch::NONE {
            PartitionError::NotLeader
        } else {
            PartitionError::UnknownReplica(id)
        })
    }

    /// A follower has read `of` in `epoch`. Dropped when that epoch is over.
    pub fn on_follower_fetch(
        &self,
        epoch: LeaderEpoch,
        id: BrokerId,
        of: &Arc<UnifiedLog>,
        fetch: &FollowerFetch,
        around: &ClusterView<'_>,
    ) -> Progress {
        let mut leader = self.leader.lock();
        let Some(isr) = leader.as_mut().filter(|isr| isr.leader_epoch() == epoch) else { return Progress::default() };
        let Some(log) = self.log() else { return Progress::default() };
        let log_start = isr.log_start_of(id);
        let fetch = FollowerFetch { from: place_in(&log, of, fetch.from), ..*fetch };
        let effects = isr.on_follower_fetch(&moment(&log, around), id, &fetch);
        if let Some(change) = &effects.submit {
            self.publish(isr);
            info!(tp = %self.topic_partition, isr = ?change.isr, follower = %id, "expanding the in-sync replicas");
        }
        Progress { has_moved_log_start: isr.log_start_of(id) != log_start, ..self.run(&log, effects) }
    }

    /// Asks for the removal of followers that have not caught up for `replica.lag.time.max.ms`.
    pub fn shrink_isr(&self, around: &ClusterView<'_>) -> Progress {
        if self.is_alone() {
            return Progress::default();
        }
        let mut leader = self.leader.lock();
        let (Some(isr), Some(log)) = (leader.as_mut(), self.log()) else { return Progress::default() };
        let effects = isr.on_tick(&moment(&log, around));
        if let Some(change) = &effects.submit {
            info!(
                tp = %self.topic_partition,
                from = ?isr.committed(),
                to = ?change.isr,
                high_watermark = log.high_watermark(),
                log_end = log.log_end_offset(),
                followers = ?isr.followers(),
                "shrinking the in-sync replicas"
            );
        }
        self.run(&log, effects)
    }

    /// The controller has answered what was submitted.
    pub fn on_isr_answer(
        &self,
        sent: &IsrChange,
        answer: Result<Altered, IsrRefusal>,
        around: &ClusterView<'_>,
    ) -> Progress {
        let mut leader = self.leader.lock();
        let (Some(isr), Some(log)) = (leader.as_mut(), self.log()) else { return Progress::default() };
        let before = isr.partition_epoch();
        let effects = isr.on_answer(&moment(&log, around), sent, answer);
        self.publish(isr);
        if isr.partition_epoch() != before {
            let tp = &self.topic_partition;
            info!(%tp, isr = ?isr.committed(), version = isr.partition_epoch(), "in-sync replicas changed");
        }
        self.run(&log, effects)
    }

    /// Makes the machine's state the role that others read.
    fn publish(&self, isr: &Isr) {
        let role = self.role.load();
        let state = LeadershipState {
            isr: isr.committed().to_vec(),
            partition_epoch: isr.partition_epoch(),
            ..role.state.clone()
        };
        self.role.store(Arc::new(Role { state, maximal_isr: isr.maximal_len(), ..Role::clone(&role) }));
    }

    fn run(&self, log: &Arc<UnifiedLog>, effects: Effects) -> Progress {
        let is_committed_more = effects.high_watermark.is_some_and(|to| self.raise_high_watermark(log, to));
        Progress { is_committed_more, submit: effects.submit, ..Progress::default() }
    }

    /// What DeleteRecords waits for: the least log start of the live replicas. None unless this broker leads.
    pub fn low_watermark(&self, is_alive: &dyn Fn(BrokerId) -> bool) -> Option<Offset> {
        let leader = self.leader.lock();
        let log_start = self.log()?.log_start_offset();
        Some(leader.as_ref()?.low_watermark(log_start, is_alive))
    }

    /// The replicas in sync that have `offset`, this leader first; none unless this broker leads.
    pub fn readable_replicas(&self, offset: Offset, now: Millis) -> Vec<ReadableReplica> {
        let leader = self.leader.lock();
        let (Some(isr), Some(log)) = (leader.as_ref(), self.log()) else { return Vec::new() };
        let followers = isr.followers().iter().filter(|follower| {
            isr.committed().contains(&follower.id) && follower.log_end.offset >= offset && follower.log_start <= offset
        });
        let own = ReadableReplica { id: self.local, log_end: log.log_end_offset(), since_caught_up: 0 };
        let followers = followers.map(|follower| ReadableReplica {
            id: follower.id,
            log_end: follower.log_end.offset,
            since_caught_up: now - follower.last_caught_up,
        });
        std::iter::once(own).chain(followers).collect()
    }

    // ---- as a follower

    /// Takes over what a leader has sent. Kafka: `ReplicaFetcherThread.processPartitionData`.
    pub fn append_as_follower(&self, sent: &LeaderRecords<'_>) -> Result<Followed, FollowError> {
        let LeaderRecords { fetch_offset, high_watermark, log_start, now, .. } = *sent;
        let records = until_newer_epoch(sent.records, sent.leader_epoch);
        let info = self.on_log(|log| {
            let log_end = log.log_end_offset();
            if fetch_offset != log_end {
                return Err(FollowError::OffsetMismatch { fetch_offset, log_end });
            }
            if records.is_empty() { Ok(None) } else { Ok(Some(self.append_from_leader(log, records, now)?)) }
        });
        let info = info.unwrap_or(Err(FollowError::NoLog))?;
        let has_new_high_watermark = high_watermark >= 0
            && self
                .on_log(|log| {
                    let before = log.high_watermark();
                    let set = if high_watermark == before { before } else { log.update_high_watermark(high_watermark) };
                    if log.is_replaced() { Err(()) } else { Ok(set != before) }
                })
                .is_some_and(|outcome| outcome == Ok(true));
        match self.on_log(|log| log.maybe_increment_log_start(log_start)) {
            // It follows once the high watermark has.
            None | Some(Ok(_) | Err(LogStartError::AboveHighWatermark { .. })) => {}
            Some(Err(LogStartError::Dir(error))) => return Err(AppendError::Dir(error).into()),
        }
        Ok(Followed {
            next_offset: info.as_ref().filter(|info| info.last_offset >= 0).map_or(fetch_offset, |i| i.last_offset + 1),
            has_new_high_watermark,
            flush_due: info.is_some_and(|info| info.flush_due),
        })
    }

    fn append_from_leader(&self, log: &UnifiedLog, records: &[u8], now: Millis) -> Result<AppendInfo, AppendError> {
        match log.append_as_follower(records, now) {
            // The leader's batch that holds our log start begins before it.
            Err(AppendError::UnexpectedOffset { first, last, log_end })
                if log_end == log.log_start_offset() && first < log_end && last >= log_end =>
            {
                info!(tp = %self.topic_partition, first, log_end, "log restarted at the first offset of the leader's batch");
                log.truncate_fully_and_start_at(first, None, now)?;
                log.append_as_follower(records, now)
            }
            outcome => outcome,
        }
    }
}

/// What a leader has sent to a follower.
#[derive(Clone, Copy, Debug)]
pub struct LeaderRecords<'a> {
    /// Whole batches, or none.
    pub records: &'a [u8],
    /// In which it was asked.
    pub leader_epoch: LeaderEpoch,
    /// Where the follower's log ended when it asked.
    pub fetch_offset: Offset,
    /// The leader's; -1: it does not say.
    pub high_watermark: Offset,
    /// The leader's.
    pub log_start: Offset,
    /// Wall clock.
    pub now: Millis,
}

/// What an append of a leader's records did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Followed {
    /// Where to fetch next.
    pub next_offset: Offset,
    pub has_new_high_watermark: bool,
    /// `flush.messages` is reached: the next fetch, which tells the leader what we have, waits for the disk.
    pub flush_due: bool,
}

/// Why a leader's records were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    #[error("the partition has no log")]
    NoLog,
    #[error("fetched offset {fetch_offset}, but the log ends at {log_end}")]
    OffsetMismatch { fetch_offset: Offset, log_end: Offset },
    #[error(transparent)]
    Append(#[from] AppendError),
}

/// The batches before the first that is of a newer epoch than they were asked for in: that leader leads no more, follows,
/// and may have cut its log while it sent what it had (KAFKA-18723).
fn until_newer_epoch(records: &[u8], epoch: LeaderEpoch) -> &[u8] {
    let mut rest = batches(records);
    loop {
        let before = rest.consumed();
        match rest.next() {
            Some(Ok(batch)) if batch.partition_leader_epoch() <= epoch => {}
            Some(Ok(_)) => return &records[..before],
            // Damage is found by the next append.
            Some(Err(_)) | None => return records,
        }
    }
}

/// A mark of the log `of` as one of `log`: the two may have different files.
fn place_in(log: &Arc<UnifiedLog>, of: &Arc<UnifiedLog>, mark: OffsetMetadata) -> OffsetMetadata {
    if Arc::ptr_eq(log, of) { mark } else { OffsetMetadata::offset_only(mark.offset) }
}

fn moment<'a>(log: &UnifiedLog, around: &ClusterView<'a>) -> Moment<'a> {
    let offsets = log.offsets();
    Moment {
        now: around.now,
        log_end: offsets.log_end,
        high_watermark: offsets.high_watermark.offset,
        min_insync_replicas: log.config().min_insync_replicas.max(1) as usize,
        lag_time_max_ms: around.lag_time_max_ms,
        is_alive: around.is_alive,
    }
}

#[cfg(test)]
mod tests;
