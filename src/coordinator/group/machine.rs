//! Owns the groups of one partition of the offsets topic. Kafka: `GroupCoordinator`, `GroupMetadataManager`.
//!
//! Pure. Requests come in with a ticket and are answered through [`Effect`]s; each ticket is answered once, the latest by
//! [`GroupMachine::unload`]. The caller appends what the effects say in their order, reports how each append ended
//! ([`GroupMachine::on_appended`]), and calls [`GroupMachine::on_tick`] at [`GroupMachine::next_deadline`].

use super::commit::{Commit, FetchedOffset};
use super::effects::{CommitTicket, Effect, Effects, JoinTicket, Note, SyncTicket};
use super::join::{Join, JoinAnswer};
use super::loading::Loaded;
use super::metadata::{Env, Group, GroupDescription, GroupOverview, GroupState, Pending, Step};
use super::records;
use super::sync::{GroupMember, Leave, Sync, SyncAnswer};
use super::timers::{TimerKind, Timers};
use crate::common::{ErrorCode, Millis, Now, Offset, TopicPartition};
use crate::config::GroupConfig;
use crate::coordinator::codes;
use crate::coordinator::runtime::{AppendId, Record, StoreError};
use crate::protocol::Str;
use crate::record::NO_SEQUENCE;
use std::collections::BTreeMap;

/// Tombstones of one batch. More offsets than these go in several: a batch has a largest size.
const TOMBSTONE_BATCH_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub struct GroupMachine {
    groups: BTreeMap<Str, Group>,
    env: Env,
    /// When offsets are next looked through for those that expired.
    next_expiry: Millis,
}

impl GroupMachine {
    /// Takes the groups of a partition over: every member has a whole session to be heard of.
    pub fn load(config: GroupConfig, loaded: Loaded, now: Now, out: &mut Effects) -> Self {
        let env = Env {
            config,
            timers: Timers::default(),
            appends: BTreeMap::new(),
            next_append: 0,
            open_groups: BTreeMap::new(),
        };
        let mut machine = Self { groups: BTreeMap::new(), env, next_expiry: now.ticks };
        out.extend(loaded.notes.into_iter().map(|(group, note)| Effect::Note(group, note)));
        for mut group in loaded.groups {
            let mut step = Step { now, env: &mut machine.env, out: &mut *out };
            for producer in group.offsets.producers() {
                step.env.open_groups.entry(producer).or_default().insert(group.id.clone());
            }
            let members: Vec<Str> = group.members.keys().cloned().collect();
            for id in &members {
                group.extend_session(id, &mut step);
            }
            if members.len() > step.env.config.max_size {
                group.prepare_rebalance("more members than group.max.size allows", None, &mut step);
            }
            machine.groups.insert(group.id.clone(), group);
        }
        machine
    }

    /// The partition is led elsewhere: everyone who waits is sent there.
    pub fn unload(&mut self, out: &mut Effects) {
        for (id, member) in std::mem::take(&mut self.groups).values_mut().flat_map(|group| &mut group.members) {
            if let Some(ticket) = member.waits_for_join.take() {
                out.push(Effect::AnswerJoin(ticket, JoinAnswer::failed(id.clone(), ErrorCode::NotCoordinator)));
            }
            if let Some(ticket) = member.waits_for_sync.take() {
                out.push(Effect::AnswerSync(ticket, SyncAnswer::failed(ErrorCode::NotCoordinator)));
            }
        }
        for (_, pending) in std::mem::take(&mut self.env.appends).into_values() {
            if let Pending::Offsets(commit) = pending {
                out.push(Effect::AnswerCommit(commit.ticket, commit.answer(ErrorCode::NotCoordinator)));
            }
        }
        self.env.timers = Timers::default();
        self.env.open_groups.clear();
    }

    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// Runs one step on a group that exists.
    fn with_group<T>(
        &mut self,
        id: &str,
        now: Now,
        out: &mut Effects,
        run: impl FnOnce(&mut Group, &mut Step<'_>) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(id)?;
        Some(run(group, &mut Step { now, env: &mut self.env, out }))
    }

    /// Makes a group if there is none. One that no one then joins or commits to goes with the next look for expired offsets.
    pub fn make_group(&mut self, id: &Str, now: Now) {
        if !self.groups.contains_key(id) {
            self.groups.insert(id.clone(), Group::new(id.clone(), now));
        }
    }

    // ---- members

    pub fn on_join(&mut self, now: Now, ticket: JoinTicket, join: Join, out: &mut Effects) {
        let config = &self.env.config;
        if !(config.min_session_timeout_ms..=config.max_session_timeout_ms).contains(&join.session_timeout_ms) {
            out.push(Effect::AnswerJoin(ticket, JoinAnswer::failed(join.member_id, ErrorCode::InvalidSessionTimeout)));
            return;
        }
        let id = join.group_id.clone();
        if join.member_id.is_empty() {
            self.make_group(&id, now);
        }
        let member_id = join.member_id.clone();
        let done = self.with_group(&id, now, out, |group, step| group.on_join(ticket, join, step));
        if done.is_none() {
            out.push(Effect::AnswerJoin(ticket, JoinAnswer::failed(member_id, ErrorCode::UnknownMemberId)));
        }
    }

    pub fn on_sync(&mut self, now: Now, ticket: SyncTicket, sync: Sync, out: &mut Effects) {
        let id = sync.member.group_id.clone();
        if self.with_group(&id, now, out, |group, step| group.on_sync(ticket, sync, step)).is_none() {
            out.push(Effect::AnswerSync(ticket, SyncAnswer::failed(ErrorCode::UnknownMemberId)));
        }
    }

    pub fn on_heartbeat(&mut self, now: Now, member: &GroupMember, out: &mut Effects) -> ErrorCode {
        self.with_group(&member.group_id, now, out, |group, step| group.on_heartbeat(member, step))
            .unwrap_or(ErrorCode::UnknownMemberId)
    }

    /// One code for each member that leaves.
    pub fn on_leave(&mut self, now: Now, group: &str, leaving: &[Leave], out: &mut Effects) -> Vec<ErrorCode> {
        let codes = self.with_group(group, now, out, |group, step| {
            leaving.iter().map(|leave| group.on_leave(leave, step)).collect()
        });
        codes.unwrap_or_else(|| vec![ErrorCode::UnknownMemberId; leaving.len()])
    }

    // ---- offsets

    pub fn on_commit(&mut self, now: Now, ticket: CommitTicket, commit: Commit, out: &mut Effects) {
        let id = commit.member.group_id.clone();
        if commit.member.generation < 0 || commit.producer.is_some() {
            self.make_group(&id, now);
        }
        let offsets = commit.offsets.len();
        if self.with_group(&id, now, out, |group, step| group.on_commit(ticket, commit, step)).is_none() {
            out.push(Effect::AnswerCommit(ticket, vec![ErrorCode::IllegalGeneration; offsets]));
        }
    }

    /// The offsets of these partitions, or of all that the group has.
    pub fn fetch_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        require_stable: bool,
    ) -> Vec<(TopicPartition, FetchedOffset)> {
        let group = self.groups.get(group);
        let fetch = |tp: &TopicPartition| match group {
            Some(group) => (tp.clone(), group.fetch_offset(tp, require_stable)),
            None => (tp.clone(), FetchedOffset::none(ErrorCode::None)),
        };
        match (partitions, group) {
            (Some(partitions), _) => partitions.iter().map(fetch).collect(),
            (None, Some(group)) => group.offsets.partitions().map(fetch).collect(),
            (None, None) => Vec::new(),
        }
    }

    /// Deletes offsets for an administrator. One code for each partition, or one for all.
    pub fn delete_offsets(
        &mut self,
        now: Now,
        id: &str,
        partitions: &[TopicPartition],
        out: &mut Effects,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let Some(group) = self.groups.get_mut(id) else { return Err(ErrorCode::GroupIdNotFound) };
        let may_delete: Vec<bool> = match group.state {
            GroupState::Dead => return Err(ErrorCode::GroupIdNotFound),
            GroupState::Empty => vec![true; partitions.len()],
            _ if group.is_consumer_group() => partitions.iter().map(|tp| !group.is_subscribed_to(&tp.topic)).collect(),
            _ => return Err(ErrorCode::NonEmptyGroup),
        };
        let chosen = partitions.iter().zip(&may_delete).filter(|(_, may)| **may).map(|(tp, _)| tp.clone());
        let chosen: Vec<TopicPartition> = chosen.collect();
        let removed = group.offsets.remove(&chosen);
        if !chosen.is_empty() {
            self.clean_up(id, &removed, now, out);
        }
        let code = |may: bool| if may { ErrorCode::None } else { ErrorCode::GroupSubscribedToTopic };
        Ok(may_delete.into_iter().map(code).collect())
    }

    /// A transaction of `producer` is decided: its marker lies at `marker` in the partition, and on its replicas. What the
    /// producer has written behind it is of a later transaction. Kafka: `handleTxnCompletion`, which takes the offsets of
    /// the later one along.
    pub fn on_transaction_marker(&mut self, producer: i64, committed: bool, marker: Offset) {
        let Some(open) = self.env.open_groups.get_mut(&producer) else { return };
        open.retain(|id| match self.groups.get_mut(id) {
            Some(group) => !group.offsets.end_transaction(producer, committed, marker),
            None => false,
        });
        if open.is_empty() {
            self.env.open_groups.remove(&producer);
        }
    }

    /// Topics are gone: no one will ask for their offsets.
    pub fn on_partitions_deleted(&mut self, now: Now, partitions: &[TopicPartition], out: &mut Effects) {
        self.remove_offsets(now, out, |group, _| group.offsets.remove(partitions));
    }

    fn remove_offsets(
        &mut self,
        now: Now,
        out: &mut Effects,
        choose: impl Fn(&mut Group, &Step<'_>) -> Vec<TopicPartition>,
    ) -> usize {
        let ids: Vec<Str> = self.groups.keys().cloned().collect();
        let mut count = 0;
        for id in ids {
            let removed = self.with_group(&id, now, out, |group, step| choose(group, step)).unwrap_or_default();
            count += removed.len();
            self.clean_up(&id, &removed, now, out);
        }
        count
    }

    /// Writes tombstones for offsets that were removed, and for the group when nothing is left of it. Kafka:
    /// `cleanupGroupMetadata`.
    fn clean_up(&mut self, id: &str, removed: &[TopicPartition], now: Now, out: &mut Effects) {
        let Some(group) = self.groups.get_mut(id) else { return };
        if group.is(GroupState::Empty) && group.offsets.is_empty() {
            out.push(Effect::Note(group.id.clone(), Note::Dead { generation: group.generation }));
            group.enter(GroupState::Dead, now);
        }
        let mut tombstones: Vec<Record> = removed.iter().map(|tp| records::offset_tombstone(&group.id, tp)).collect();
        if group.is(GroupState::Dead) {
            let mut step = Step { now, env: &mut self.env, out: &mut *out };
            let ids: Vec<Str> = group.pending_members.keys().cloned().collect();
            for member in &ids {
                group.remove(member, &mut step);
            }
            // A group that never had a generation has no record either.
            if group.generation > 0 {
                tombstones.push(records::group_tombstone(&group.id));
            }
            for producer in group.offsets.producers() {
                if let Some(groups) = self.env.open_groups.get_mut(&producer) {
                    groups.remove(id);
                    if groups.is_empty() {
                        self.env.open_groups.remove(&producer);
                    }
                }
            }
            self.groups.remove(id);
        }
        let mut append = |records| {
            out.push(Effect::Append(self.env.append(None, records, None, NO_SEQUENCE)));
        };
        let mut batch = Vec::new();
        let mut bytes = 0;
        for record in tombstones {
            bytes += record.key.len();
            batch.push(record);
            if bytes >= TOMBSTONE_BATCH_BYTES {
                append(std::mem::take(&mut batch));
                bytes = 0;
            }
        }
        if !batch.is_empty() {
            append(batch);
        }
    }

    // ---- for administrators

    /// Deletes a group without members, and its offsets.
    pub fn delete_group(&mut self, now: Now, id: &str, out: &mut Effects) -> ErrorCode {
        let Some(group) = self.groups.get_mut(id) else { return ErrorCode::GroupIdNotFound };
        match group.state {
            GroupState::Dead => ErrorCode::GroupIdNotFound,
            GroupState::Empty => {
                let removed = group.offsets.remove_all();
                group.enter(GroupState::Dead, now);
                self.clean_up(id, &removed, now, out);
                ErrorCode::None
            }
            _ => ErrorCode::NonEmptyGroup,
        }
    }

    /// `None`: there is no such group, which DescribeGroups calls dead.
    pub fn describe(&self, id: &str) -> Option<GroupDescription> {
        self.groups.get(id).map(Group::describe)
    }

    pub fn list(&self) -> Vec<GroupOverview> {
        self.groups.values().map(Group::overview).collect()
    }

    // ---- time and log

    pub fn next_deadline(&self) -> Millis {
        self.env.timers.next().map_or(self.next_expiry, |at| at.min(self.next_expiry))
    }

    pub fn on_tick(&mut self, now: Now, out: &mut Effects) {
        while let Some((id, what)) = self.env.timers.pop_due(now.ticks) {
            self.with_group(&id, now, out, |group, step| match what {
                TimerKind::Join => group.on_join_deadline(step),
                TimerKind::Sync => group.on_sync_deadline(step),
                TimerKind::Session(member) => group.on_session_deadline(&member, step),
                TimerKind::Pending(member) => group.on_pending_deadline(&member, step),
            });
        }
        if now.ticks >= self.next_expiry {
            self.next_expiry = now.ticks.saturating_add(self.env.config.offsets_retention_check_interval_ms);
            let expired = self.remove_offsets(now, out, Group::remove_expired_offsets);
            if expired > 0 {
                out.push(Effect::OffsetsExpired(expired));
            }
        }
    }

    /// Records are in the log and on all replicas, at this base offset; or they are not.
    pub fn on_appended(&mut self, now: Now, id: AppendId, stored: Result<Offset, StoreError>, out: &mut Effects) {
        let Some((group, pending)) = self.env.appends.remove(&id) else { return };
        if let Pending::Offsets(commit) = &pending {
            let code = stored.map_or_else(codes::commit_code, |_| ErrorCode::None);
            out.push(Effect::AnswerCommit(commit.ticket, commit.answer(code)));
        }
        self.with_group(&group, now, out, |group, step| match pending {
            Pending::Offsets(commit) => group.on_offsets_stored(id, &commit, stored, step),
            Pending::Assignments { generation, assignments } => {
                group.on_assignments_stored(generation, assignments, stored, step);
            }
            Pending::StaticMember(replaced) => group.on_static_member_stored(*replaced, stored, step),
            // The generation before may come back after a failover; it has no members either, and times out.
            Pending::Empty => {
                if let Err(error) = stored {
                    step.note(&group.id, Note::EmptyNotStored { code: codes::log_code(error) });
                }
            }
        });
    }

    /// What must hold between two steps. Panics: for tests and debug builds.
    #[cfg(any(test, debug_assertions))]
    pub fn check(&self) {
        let armed: usize = self.groups.values().map(|group| group.check(&self.env.timers)).sum();
        assert_eq!(armed, self.env.timers.len(), "no deadline without its owner");
        for (producer, groups) in &self.env.open_groups {
            assert!(!groups.is_empty(), "producer {producer} has no group");
        }
    }
}
