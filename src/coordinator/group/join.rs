//! Owns the first phase of a rebalance: members join until all are there or time is up. Kafka: `handleJoinGroup`,
//! `prepareRebalance`, `onCompleteJoin`, `InitialDelayedJoin`. Pure.

use super::effects::{Effect, JoinTicket, Note};
use super::member::{Member, Protocol};
use super::metadata::{Group, GroupState, Pending, Step};
use super::records;
use super::sync::SyncAnswer;
use super::timers::TimerKind;
use crate::common::{ErrorCode, Millis, Offset};
use crate::coordinator::codes;
use crate::coordinator::runtime::StoreError;
use crate::protocol::Str;
use crate::protocol::codec::MAX_STRING_BYTES;
use bytes::Bytes;
use std::collections::BTreeSet;

/// A new member whose client is gone is found out by this, since it has no heartbeat yet.
const NEW_MEMBER_JOIN_TIMEOUT_MS: Millis = 5 * 60 * 1_000;

/// When no member came back in time, the wait begins anew: at least this long, or a timeout of 0 would be a busy loop.
const NOBODY_JOINED_RETRY_MS_MIN: Millis = 1_000;

/// A JoinGroup request, its texts and bytes copied out of the frame: a group keeps them for long.
#[derive(Clone, Debug)]
pub struct Join {
    pub group_id: Str,
    /// Empty: a new member.
    pub member_id: Str,
    pub instance_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    pub protocol_type: Str,
    pub protocols: Vec<Protocol>,
    pub reason: Option<Str>,
    /// KIP-394: a dynamic member has to come back with the id that it is given (version 4 on).
    pub requires_known_member_id: bool,
    /// A static leader may be asked to keep the assignment (version 9 on).
    pub supports_skipping_assignment: bool,
    /// Makes the id of a new member unique.
    pub unique: uuid::Uuid,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    pub error: ErrorCode,
    pub generation: i32,
    pub protocol_type: Option<Str>,
    pub protocol: Option<Str>,
    pub leader: Str,
    pub skip_assignment: bool,
    pub member_id: Str,
    /// For the leader: all members.
    pub members: Vec<JoinedMember>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    pub id: Str,
    pub instance_id: Option<Str>,
    pub metadata: Bytes,
}

impl JoinAnswer {
    pub(super) fn failed(member_id: Str, error: ErrorCode) -> Self {
        Self {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: Str::new(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// The wait for the first members of an empty group: it is prolonged while new ones come, up to a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct InitialDelay {
    /// Length of the wait that runs.
    delay_ms: Millis,
    remaining_ms: Millis,
    new_member_added: bool,
}

/// A static member that came back under a new id while its group was stable.
#[derive(Debug)]
pub(super) struct Replaced {
    ticket: JoinTicket,
    instance_id: Str,
    new_id: Str,
    old_id: Str,
    old_protocols: Vec<Protocol>,
    old_timeouts: (i32, i32),
    old_leader: Str,
    supports_skipping_assignment: bool,
}

impl Group {
    pub(super) fn on_join(&mut self, ticket: JoinTicket, join: Join, step: &mut Step<'_>) {
        if !self.has_room_for(&join.member_id, step.env.config.max_size) {
            self.remove(&join.member_id, step);
            step.out.push(Effect::AnswerJoin(ticket, JoinAnswer::failed(Str::new(), ErrorCode::GroupMaxSizeReached)));
        } else if join.member_id.is_empty() {
            self.join_as_new(ticket, join, step);
        } else {
            self.join_as_known(ticket, join, step);
        }
        self.try_complete_join(step);
    }

    fn has_room_for(&self, member: &str, max: usize) -> bool {
        let known = self.members.get(member);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                known.is_some_and(|m| m.waits_for_join.is_some()) || self.waits_for_join() < max
            }
            GroupState::CompletingRebalance | GroupState::Stable => known.is_some() || self.members.len() < max,
        }
    }

    fn join_as_new(&mut self, ticket: JoinTicket, join: Join, step: &mut Step<'_>) {
        let refuse = |code| JoinAnswer::failed(Str::new(), code);
        if self.is(GroupState::Dead) {
            step.out.push(Effect::AnswerJoin(ticket, refuse(ErrorCode::CoordinatorNotAvailable)));
            return;
        }
        if !self.supports(&join.protocol_type, &join.protocols) {
            step.out.push(Effect::AnswerJoin(ticket, refuse(ErrorCode::InconsistentGroupProtocol)));
            return;
        }
        let prefix = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let new_id = Str::from(format!("{prefix}-{}", join.unique));
        if new_id.len() > MAX_STRING_BYTES {
            // No response could carry it: Kafka fails while it writes one.
            step.out.push(Effect::AnswerJoin(ticket, refuse(ErrorCode::UnknownServerError)));
            return;
        }
        let known = join.instance_id.as_ref().and_then(|instance| self.static_members.get(instance)).cloned();
        match known {
            Some(old_id) => self.replace_static_member(ticket, old_id, new_id, join, step),
            None if join.instance_id.is_none() && join.requires_known_member_id => {
                let at = step.now.ticks.saturating_add(Millis::from(join.session_timeout_ms));
                let mut deadline = None;
                step.env.timers.set(&mut deadline, Some(at), &self.id, TimerKind::Pending(new_id.clone()));
                self.pending_members.insert(new_id.clone(), deadline);
                step.out.push(Effect::AnswerJoin(ticket, JoinAnswer::failed(new_id, ErrorCode::MemberIdRequired)));
            }
            None => self.add_member(ticket, new_id, join, step),
        }
    }

    fn join_as_known(&mut self, ticket: JoinTicket, join: Join, step: &mut Step<'_>) {
        let id = join.member_id.clone();
        let refuse = |code| JoinAnswer::failed(id.clone(), code);
        if self.is(GroupState::Dead) {
            step.out.push(Effect::AnswerJoin(ticket, refuse(ErrorCode::CoordinatorNotAvailable)));
            return;
        }
        if !self.supports(&join.protocol_type, &join.protocols) {
            step.out.push(Effect::AnswerJoin(ticket, refuse(ErrorCode::InconsistentGroupProtocol)));
            return;
        }
        // An id that was given to a dynamic member; a static one never had to wait for its id.
        if join.instance_id.is_none() && self.pending_members.contains_key(&id) {
            self.add_member(ticket, id, join, step);
            return;
        }
        if let Err(code) = self.check_member(&id, join.instance_id.as_deref(), step) {
            step.out.push(Effect::AnswerJoin(ticket, refuse(code)));
            return;
        }
        let is_unchanged = self.members.get(&id).is_some_and(|member| member.protocols == join.protocols);
        let keeps_generation = match self.state {
            GroupState::CompletingRebalance => is_unchanged,
            GroupState::Stable => is_unchanged && !self.is_leader(&id),
            GroupState::PreparingRebalance => false,
            GroupState::Empty | GroupState::Dead => {
                step.note(&self.id, Note::StrangeJoin { member: id.clone(), state: self.state.name() });
                step.out.push(Effect::AnswerJoin(ticket, refuse(ErrorCode::UnknownMemberId)));
                return;
            }
        };
        if keeps_generation {
            let is_leader = self.is(GroupState::CompletingRebalance) && self.is_leader(&id);
            step.out.push(Effect::AnswerJoin(ticket, self.joined(&id, is_leader)));
            return;
        }
        let reason = format!("member {id} joins again in {}", self.state.name());
        self.update_member(ticket, &id, join.protocols, (join.rebalance_timeout_ms, join.session_timeout_ms), step);
        self.maybe_prepare_rebalance(&reason, join.reason.as_deref(), step);
    }

    /// Kafka: `validateCurrentMember`.
    pub(super) fn check_member(
        &self,
        id: &str,
        instance_id: Option<&str>,
        step: &mut Step<'_>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            match self.static_members.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if *current != *id => {
                    let (member, instance, current) = (id.into(), instance.into(), current.clone());
                    step.note(&self.id, Note::Fenced { member, instance, current });
                    return Err(ErrorCode::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// What a member hears of the generation that is.
    fn joined(&self, id: &Str, with_members: bool) -> JoinAnswer {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let members = self.members.values().filter(|_| with_members).map(|member| JoinedMember {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        JoinAnswer {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            member_id: id.clone(),
            members: members.collect(),
        }
    }

    fn add_member(&mut self, ticket: JoinTicket, id: Str, join: Join, step: &mut Step<'_>) {
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type);
        }
        if let Some(initial) = self.initial_delay.as_mut().filter(|_| self.generation == 0) {
            initial.new_member_added = true;
        }
        let reason = format!("adding new member {id}");
        let member = Member {
            id: id.clone(),
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            waits_for_join: Some(ticket),
            waits_for_sync: None,
            is_new: true,
            deadline: None,
        };
        self.add(member, &mut step.env.timers);
        self.expect_within(&id, NEW_MEMBER_JOIN_TIMEOUT_MS, step);
        self.maybe_prepare_rebalance(&reason, join.reason.as_deref(), step);
    }

    fn update_member(
        &mut self,
        ticket: JoinTicket,
        id: &str,
        protocols: Vec<Protocol>,
        (rebalance_timeout_ms, session_timeout_ms): (i32, i32),
        step: &mut Step<'_>,
    ) {
        self.set_protocols(id, protocols);
        if let Some(member) = self.members.get_mut(id) {
            member.rebalance_timeout_ms = rebalance_timeout_ms;
            member.session_timeout_ms = session_timeout_ms;
        }
        self.begin_wait_for_join(id, ticket, step.out);
    }

    /// A static member starts again: it takes over what it had under a new id. Kafka: `updateStaticMemberAndRebalance`.
    fn replace_static_member(&mut self, ticket: JoinTicket, old_id: Str, new_id: Str, join: Join, step: &mut Step<'_>) {
        let (old, new) = (old_id.clone(), new_id.clone());
        step.note(&self.id, Note::StaticMemberBack { old_id: old, new_id: new, state: self.state.name() });
        let old_leader = self.leader.clone().unwrap_or_default();
        self.rename(&old_id, new_id.clone(), step);
        let Some(member) = self.members.get(&new_id) else { return };
        let old_timeouts = (member.rebalance_timeout_ms, member.session_timeout_ms);
        let old_protocols = member.protocols.clone();
        let instance_id = member.instance_id.clone().unwrap_or_default();
        self.extend_session(&new_id, step);
        let timeouts = (join.rebalance_timeout_ms, join.session_timeout_ms);
        self.update_member(ticket, &new_id, join.protocols, timeouts, step);
        match self.state {
            GroupState::Stable if self.select_protocol() == self.protocol => {
                // No rebalance: the others go on. The new id has to be in the log before anyone relies on it.
                let assignments = self.members.values().map(|m| (m.id.clone(), m.assignment.clone())).collect();
                let then = Pending::StaticMember(Box::new(Replaced {
                    ticket,
                    instance_id,
                    new_id,
                    old_id,
                    old_protocols,
                    old_timeouts,
                    old_leader,
                    supports_skipping_assignment: join.supports_skipping_assignment,
                }));
                self.store(&assignments, then, step);
            }
            GroupState::Stable => {
                self.maybe_prepare_rebalance("a static member changed the protocol", join.reason.as_deref(), step);
            }
            // The leader may know the old id: what it assigns to that would reach no one.
            GroupState::CompletingRebalance => {
                self.prepare_rebalance("a static member came back", join.reason.as_deref(), step);
            }
            GroupState::PreparingRebalance | GroupState::Empty | GroupState::Dead => {}
        }
    }

    /// The new id of a static member is in the log, or is not.
    pub(super) fn on_static_member_stored(
        &mut self,
        replaced: Replaced,
        stored: Result<Offset, StoreError>,
        step: &mut Step<'_>,
    ) {
        let waits = self.members.get(&replaced.new_id).is_some_and(|m| m.waits_for_join == Some(replaced.ticket));
        // A rebalance has begun meanwhile: its end answers, and writes the group again.
        if !waits || !self.is(GroupState::Stable) {
            return;
        }
        if let Err(refused) = stored {
            let error = codes::group_code(refused);
            let code = codes::log_code(refused);
            step.note(&self.id, Note::StaticMemberNotStored { member: replaced.new_id.clone(), code });
            self.answer_join(&replaced.new_id, step.out, |group| JoinAnswer {
                error,
                member_id: Str::new(),
                leader: replaced.old_leader.clone(),
                ..group.joined(&replaced.new_id, false)
            });
            self.set_protocols(&replaced.new_id, replaced.old_protocols);
            if let Some(member) = self.members.get_mut(&replaced.new_id) {
                (member.rebalance_timeout_ms, member.session_timeout_ms) = replaced.old_timeouts;
            }
            self.rename(&replaced.new_id, replaced.old_id.clone(), step);
            self.extend_session(&replaced.old_id, step);
            return;
        }
        self.answer_join(&replaced.new_id, step.out, |group| {
            if replaced.supports_skipping_assignment {
                let is_leader = group.is_leader(&replaced.new_id);
                JoinAnswer { skip_assignment: is_leader, ..group.joined(&replaced.new_id, is_leader) }
            } else {
                // By the old leader's id it does not take itself for the leader, whose assignments no one would get now.
                JoinAnswer { leader: replaced.old_leader.clone(), ..group.joined(&replaced.new_id, false) }
            }
        });
        self.extend_session(&replaced.new_id, step);
        step.note(&self.id, Note::StaticMemberWentOn { instance: replaced.instance_id });
    }

    // ---- the join phase

    pub(super) fn maybe_prepare_rebalance(&mut self, reason: &str, client_reason: Option<&str>, step: &mut Step<'_>) {
        if matches!(self.state, GroupState::Stable | GroupState::CompletingRebalance | GroupState::Empty) {
            self.prepare_rebalance(reason, client_reason, step);
        }
    }

    pub(super) fn prepare_rebalance(&mut self, reason: &str, client_reason: Option<&str>, step: &mut Step<'_>) {
        if self.is(GroupState::CompletingRebalance) {
            self.answer_syncs(step, |_| SyncAnswer::failed(ErrorCode::RebalanceInProgress));
        }
        self.end_sync_phase(step);
        let timeout = self.rebalance_timeout_ms();
        let wait = if self.is(GroupState::Empty) {
            let delay_ms = Millis::from(step.env.config.initial_rebalance_delay_ms).max(0);
            let remaining_ms = (timeout - delay_ms).max(0);
            self.initial_delay = Some(InitialDelay { delay_ms, remaining_ms, new_member_added: false });
            delay_ms
        } else {
            timeout
        };
        let (reason, client_reason) = (reason.to_owned(), client_reason.map(str::to_owned));
        let (old_generation, state) = (self.generation, self.state.name());
        step.note(&self.id, Note::PreparingRebalance { old_generation, state, reason, client_reason });
        self.enter(GroupState::PreparingRebalance, step.now);
        self.wait_for_joins(wait, step);
    }

    fn wait_for_joins(&mut self, wait: Millis, step: &mut Step<'_>) {
        let at = step.now.ticks.saturating_add(wait);
        step.env.timers.set(&mut self.join_deadline, Some(at), &self.id, TimerKind::Join);
    }

    /// Ends the join phase early once everyone is there; the initial delay runs its time.
    pub(super) fn try_complete_join(&mut self, step: &mut Step<'_>) {
        if self.is(GroupState::PreparingRebalance) && self.initial_delay.is_none() && self.has_all_joined() {
            self.complete_join(step);
        }
    }

    pub(super) fn on_join_deadline(&mut self, step: &mut Step<'_>) {
        self.join_deadline = None;
        match self.initial_delay.take() {
            Some(initial) if initial.new_member_added && initial.remaining_ms > 0 => {
                let configured = Millis::from(step.env.config.initial_rebalance_delay_ms).max(0);
                let delay_ms = configured.min(initial.remaining_ms);
                self.initial_delay = Some(InitialDelay {
                    delay_ms,
                    remaining_ms: (initial.remaining_ms - initial.delay_ms).max(0),
                    new_member_added: false,
                });
                self.wait_for_joins(delay_ms, step);
            }
            _ => self.complete_join(step),
        }
    }

    /// Kafka: `onCompleteJoin`.
    fn complete_join(&mut self, step: &mut Step<'_>) {
        step.env.timers.set(&mut self.join_deadline, None, &self.id, TimerKind::Join);
        self.initial_delay = None;
        let is_lost = |m: &&Member| m.waits_for_join.is_none() && m.instance_id.is_none();
        let lost: BTreeSet<Str> = self.members.values().filter(is_lost).map(|m| m.id.clone()).collect();
        if !lost.is_empty() {
            step.note(&self.id, Note::NotJoined { lost: lost.clone() });
        }
        for id in &lost {
            self.remove(id, step);
        }
        if !self.members.is_empty() && !self.elect_joined_leader(step) {
            step.note(&self.id, Note::NoneJoined);
            let wait = self.rebalance_timeout_ms().max(NOBODY_JOINED_RETRY_MS_MIN);
            self.wait_for_joins(wait, step);
            return;
        }
        self.generation = self.generation.wrapping_add(1);
        self.pending_sync.clear();
        if self.members.is_empty() {
            self.begin_empty_generation(step);
        } else {
            self.begin_generation(step);
        }
    }

    /// A leader that did not come back is replaced by a member that did. False: no one came.
    fn elect_joined_leader(&mut self, step: &mut Step<'_>) -> bool {
        let has_joined = |m: &&Member| m.waits_for_join.is_some();
        if self.leader.as_ref().and_then(|id| self.members.get(id)).is_some_and(|m| has_joined(&m)) {
            return true;
        }
        let Some(next) = self.members.values().find(has_joined).map(|m| m.id.clone()) else { return false };
        let old = self.leader.replace(next.clone());
        step.note(&self.id, Note::LeaderNotJoined { old, new: next });
        true
    }

    fn begin_empty_generation(&mut self, step: &mut Step<'_>) {
        self.protocol = None;
        self.note_subscribed_topics(step);
        self.enter(GroupState::Empty, step.now);
        step.note(&self.id, Note::Empty { generation: self.generation });
        self.store(&Default::default(), Pending::Empty, step);
    }

    fn begin_generation(&mut self, step: &mut Step<'_>) {
        self.protocol = self.select_protocol();
        self.note_subscribed_topics(step);
        self.enter(GroupState::CompletingRebalance, step.now);
        step.note(&self.id, Note::Stabilized { generation: self.generation, members: self.members.len() });
        let ids: Vec<Str> = self.members.keys().cloned().collect();
        for id in &ids {
            self.answer_join(id, step.out, |group| group.joined(id, group.is_leader(id)));
            self.extend_session(id, step);
            if let Some(member) = self.members.get_mut(id) {
                member.is_new = false;
            }
        }
        self.pending_sync.extend(ids);
        let at = step.now.ticks.saturating_add(self.rebalance_timeout_ms());
        step.env.timers.set(&mut self.sync_deadline, Some(at), &self.id, TimerKind::Sync);
    }

    /// Writes the generation with these assignments. Kafka: `GroupMetadataManager.storeGroup`.
    pub(super) fn store(
        &self,
        assignments: &std::collections::BTreeMap<Str, Bytes>,
        then: Pending,
        step: &mut Step<'_>,
    ) {
        let record = records::group_record(self, assignments);
        step.append(&self.id, vec![record], None, then);
    }
}
