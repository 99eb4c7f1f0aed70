//! Owns the second phase of a rebalance, and the life of members after it: assignments, heartbeats, leaving. Kafka:
//! `handleSyncGroup`, `handleHeartbeat`, `handleLeaveGroup`, `DelayedSync`, `DelayedHeartbeat`. Pure.

use super::effects::{Effect, Note, SyncTicket};
use super::metadata::{Group, GroupState, Pending, Step};
use super::timers::TimerKind;
use crate::common::{ErrorCode, Offset};
use crate::coordinator::codes;
use crate::coordinator::runtime::StoreError;
use crate::protocol::Str;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Who asks, as its group knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupMember {
    pub group_id: Str,
    pub id: Str,
    pub instance_id: Option<Str>,
    pub generation: i32,
}

/// A SyncGroup request, its texts and bytes copied out of the frame.
#[derive(Clone, Debug)]
pub struct Sync {
    pub member: GroupMember,
    pub protocol_type: Option<Str>,
    pub protocol: Option<Str>,
    /// From the leader: what each member gets.
    pub assignments: BTreeMap<Str, Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    pub error: ErrorCode,
    pub protocol_type: Option<Str>,
    pub protocol: Option<Str>,
    pub assignment: Bytes,
}

impl SyncAnswer {
    pub(super) fn failed(error: ErrorCode) -> Self {
        Self { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// A member that leaves, or that an administrator removes by its instance id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    pub id: Str,
    pub instance_id: Option<Str>,
    pub reason: Option<Str>,
}

impl Group {
    pub(super) fn on_sync(&mut self, ticket: SyncTicket, sync: Sync, step: &mut Step<'_>) {
        if let Err(code) = self.check_sync(&sync, step) {
            step.out.push(Effect::AnswerSync(ticket, SyncAnswer::failed(code)));
            return;
        }
        let id = sync.member.id;
        match self.state {
            GroupState::Empty | GroupState::Dead => {
                step.out.push(Effect::AnswerSync(ticket, SyncAnswer::failed(ErrorCode::UnknownMemberId)));
            }
            GroupState::PreparingRebalance => {
                step.out.push(Effect::AnswerSync(ticket, SyncAnswer::failed(ErrorCode::RebalanceInProgress)));
            }
            GroupState::CompletingRebalance => {
                let earlier = self.members.get_mut(&id).and_then(|member| member.waits_for_sync.replace(ticket));
                if let Some(earlier) = earlier {
                    // Its client can only have given up on it.
                    step.out.push(Effect::AnswerSync(earlier, SyncAnswer::failed(ErrorCode::RebalanceInProgress)));
                }
                self.has_synced(&id, step);
                // What the leader says first stands: a generation has one assignment.
                if self.is_leader(&id) && !self.storing {
                    self.store_assignments(sync.assignments, step);
                }
            }
            GroupState::Stable => {
                self.has_synced(&id, step);
                step.out.push(Effect::AnswerSync(ticket, self.assigned(&id)));
                self.extend_session(&id, step);
            }
        }
    }

    fn check_sync(&self, sync: &Sync, step: &mut Step<'_>) -> Result<(), ErrorCode> {
        if self.is(GroupState::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&sync.member.id, sync.member.instance_id.as_deref(), step)?;
        if sync.member.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |said: &Option<Str>, is: &Option<Str>| said.is_some() && said != is;
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn assigned(&self, id: &str) -> SyncAnswer {
        SyncAnswer {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(id).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    fn store_assignments(&mut self, mut assignments: BTreeMap<Str, Bytes>, step: &mut Step<'_>) {
        // Assignments for members that left meanwhile are no one's.
        assignments.retain(|id, _| self.members.contains_key(id));
        for id in self.members.keys().filter(|id| !assignments.contains_key(*id)).cloned().collect::<Vec<_>>() {
            step.note(&self.id, Note::NothingAssigned { member: id.clone(), generation: self.generation });
            assignments.insert(id, Bytes::new());
        }
        let then = Pending::Assignments { generation: self.generation, assignments: assignments.clone() };
        self.store(&assignments, then, step);
        self.storing = true;
    }

    /// The assignments of a generation are in the log, or are not.
    pub(super) fn on_assignments_stored(
        &mut self,
        generation: i32,
        assignments: BTreeMap<Str, Bytes>,
        stored: Result<Offset, StoreError>,
        step: &mut Step<'_>,
    ) {
        // A member joined or left meanwhile: the next generation is on its way.
        if !self.is(GroupState::CompletingRebalance) || self.generation != generation {
            return;
        }
        self.storing = false;
        match stored {
            Ok(_) => {
                for member in self.members.values_mut() {
                    member.assignment = assignments.get(&member.id).cloned().unwrap_or_default();
                }
                self.answer_syncs(step, |assigned| assigned);
                self.enter(GroupState::Stable, step.now);
            }
            Err(refused) => {
                step.note(&self.id, Note::AssignmentsNotStored { generation, code: codes::log_code(refused) });
                for member in self.members.values_mut() {
                    member.assignment = Bytes::new();
                }
                let error = codes::group_code(refused);
                self.answer_syncs(step, |_| SyncAnswer::failed(error));
                self.maybe_prepare_rebalance("the assignments were not stored", None, step);
                self.try_complete_join(step);
            }
        }
    }

    /// Answers every member that waits for its assignment. Their sessions begin anew: what ended while they waited was
    /// passed over.
    pub(super) fn answer_syncs(&mut self, step: &mut Step<'_>, change: impl Fn(SyncAnswer) -> SyncAnswer) {
        let ids: Vec<Str> =
            self.members.values().filter(|m| m.waits_for_sync.is_some()).map(|m| m.id.clone()).collect();
        for id in &ids {
            let answer = change(self.assigned(id));
            if let Some(ticket) = self.members.get_mut(id).and_then(|member| member.waits_for_sync.take()) {
                step.out.push(Effect::AnswerSync(ticket, answer));
            }
            self.extend_session(id, step);
        }
    }

    fn has_synced(&mut self, id: &str, step: &mut Step<'_>) {
        self.pending_sync.remove(id);
        if self.pending_sync.is_empty() {
            step.env.timers.set(&mut self.sync_deadline, None, &self.id, TimerKind::Sync);
        }
    }

    pub(super) fn end_sync_phase(&mut self, step: &mut Step<'_>) {
        self.pending_sync.clear();
        step.env.timers.set(&mut self.sync_deadline, None, &self.id, TimerKind::Sync);
    }

    pub(super) fn on_sync_deadline(&mut self, step: &mut Step<'_>) {
        self.sync_deadline = None;
        let lost = std::mem::take(&mut self.pending_sync);
        if lost.is_empty() || !matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable) {
            return;
        }
        step.note(&self.id, Note::NotSynced { lost: lost.clone() });
        for id in &lost {
            self.remove(id, step);
        }
        self.prepare_rebalance("members did not sync", None, step);
        self.try_complete_join(step);
    }

    // ---- heartbeats

    pub(super) fn on_heartbeat(&mut self, member: &GroupMember, step: &mut Step<'_>) -> ErrorCode {
        if self.is(GroupState::Dead) {
            return ErrorCode::CoordinatorNotAvailable;
        }
        if let Err(code) = self.check_member(&member.id, member.instance_id.as_deref(), step) {
            return code;
        }
        if member.generation != self.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.extend_session(&member.id, step);
        match self.state {
            GroupState::CompletingRebalance | GroupState::Stable => ErrorCode::None,
            GroupState::PreparingRebalance => ErrorCode::RebalanceInProgress,
            GroupState::Empty | GroupState::Dead => ErrorCode::UnknownMemberId,
        }
    }

    pub(super) fn on_session_deadline(&mut self, id: &str, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.deadline = None;
        if member.outlives_its_deadline() {
            return;
        }
        step.note(&self.id, Note::MemberFailed { member: id.into() });
        self.remove_member(id, "a member was not heard of", None, step);
    }

    pub(super) fn on_pending_deadline(&mut self, id: &str, step: &mut Step<'_>) {
        self.pending_members.remove(id);
        step.note(&self.id, Note::NotBack { member: id.into() });
        self.try_complete_join(step);
    }

    // ---- leaving

    pub(super) fn on_leave(&mut self, leave: &Leave, step: &mut Step<'_>) -> ErrorCode {
        if leave.id.is_empty() {
            let known = leave.instance_id.as_ref().and_then(|instance| self.static_members.get(instance)).cloned();
            let Some(id) = known else { return ErrorCode::UnknownMemberId };
            self.remove_member(&id, "an administrator removed a member", leave.reason.as_deref(), step);
            return ErrorCode::None;
        }
        if self.pending_members.contains_key(&leave.id) {
            self.remove(&leave.id, step);
            self.try_complete_join(step);
            return ErrorCode::None;
        }
        if let Err(code) = self.check_member(&leave.id, leave.instance_id.as_deref(), step) {
            return code;
        }
        self.remove_member(&leave.id, "a member left", leave.reason.as_deref(), step);
        ErrorCode::None
    }

    fn remove_member(&mut self, id: &str, reason: &str, client_reason: Option<&str>, step: &mut Step<'_>) {
        self.remove(id, step);
        if matches!(self.state, GroupState::Stable | GroupState::CompletingRebalance) {
            self.prepare_rebalance(reason, client_reason, step);
        }
        self.try_complete_join(step);
    }
}
