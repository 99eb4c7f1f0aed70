//! Owns one group: its state, its members, what they have in common. Kafka: `GroupMetadata`. What happens to it is in
//! [`super::join`], [`super::sync`] and [`super::commit`]. Pure.
//!
//! ```text
//! Empty ──────────▶ PreparingRebalance ◀──────────┐
//!   ▲                 │ all have joined,          │ a member joins, leaves, is lost
//!   │ no one joined   │ or time is up             │
//!   └─────────────────┤                           │
//!                     ▼                           │
//!              CompletingRebalance ──────▶ Stable ┘      Dead: deleted, expired, or led elsewhere
//!                                 the leader's assignments are in the log
//! ```

use super::effects::{Effect, Effects, Note};
use super::join::JoinAnswer;
use super::member::{Member, Protocol};
use super::offsets::Offsets;
use super::sync::SyncAnswer;
use super::timers::{TimerKind, Timers};
use crate::common::{ErrorCode, Millis, Now};
use crate::config::GroupConfig;
use crate::coordinator::runtime::{Append, AppendId, Record, TxnProducer};
use crate::protocol::Str;
use crate::protocol::consumer_protocol::{ConsumerProtocolSubscription, PROTOCOL_TYPE};
use crate::record::NO_SEQUENCE;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

/// `offsets.commit.required.acks` for all replicas in sync.
pub(super) const ACKS_ALL: i32 = -1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
    Dead,
}

impl GroupState {
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Dead => "Dead",
        }
    }
}

/// The answer of DescribeGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    pub state: &'static str,
    pub protocol_type: Str,
    /// Only of a stable group, as are metadata and assignments.
    pub protocol: Str,
    pub members: Vec<MemberDescription>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    pub id: Str,
    pub instance_id: Option<Str>,
    pub client_id: Str,
    pub client_host: Str,
    pub metadata: Bytes,
    pub assignment: Bytes,
}

/// The answer of ListGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupOverview {
    pub id: Str,
    pub protocol_type: Str,
    pub state: &'static str,
}

/// The append that a group waits for, and what then happens.
#[derive(Debug)]
pub(super) enum Pending {
    Assignments {
        generation: i32,
        assignments: BTreeMap<Str, Bytes>,
    },
    /// An empty generation: lost, it is written again or times out.
    Empty,
    StaticMember(Box<super::join::Replaced>),
    Offsets(super::commit::PendingCommit),
}

/// What all groups of a shard share.
#[derive(Debug)]
pub(super) struct Env {
    pub(super) config: GroupConfig,
    pub(super) timers: Timers,
    pub(super) appends: BTreeMap<AppendId, (Str, Pending)>,
    pub(super) next_append: u64,
    /// Groups with offsets of an open transaction, by its producer. Kafka: `openGroupsForProducer`.
    pub(super) open_groups: BTreeMap<i64, BTreeSet<Str>>,
}

impl Env {
    /// Tombstones, which no one waits for, have no id.
    pub(super) fn append(
        &self,
        id: Option<AppendId>,
        records: Vec<Record>,
        producer: Option<TxnProducer>,
        base_sequence: i32,
    ) -> Append {
        let acks_all = id.is_some() && self.config.commit_required_acks == ACKS_ALL;
        let timeout_ms = self.config.commit_timeout_ms.into();
        Append { id, records, producer, base_sequence, acks_all, timeout_ms }
    }
}

/// One step of the machine.
pub(super) struct Step<'a> {
    pub(super) now: Now,
    pub(super) env: &'a mut Env,
    pub(super) out: &'a mut Effects,
}

impl Step<'_> {
    /// Sends records to the log and notes what is to happen once they are there.
    pub(super) fn append(
        &mut self,
        group: &Str,
        records: Vec<Record>,
        producer: Option<TxnProducer>,
        then: Pending,
    ) -> AppendId {
        let id = AppendId(self.env.next_append);
        self.env.next_append += 1;
        let base_sequence = if matches!(then, Pending::Offsets(_)) { 0 } else { NO_SEQUENCE };
        self.env.appends.insert(id, (group.clone(), then));
        let append = self.env.append(Some(id), records, producer, base_sequence);
        self.out.push(Effect::Append(append));
        id
    }

    pub(super) fn note(&mut self, group: &Str, note: Note) {
        self.out.push(Effect::Note(group.clone(), note));
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) id: Str,
    pub(super) state: GroupState,
    /// When the state was entered; unknown in records of old brokers.
    pub(super) state_since: Option<Millis>,
    pub(super) protocol_type: Option<Str>,
    pub(super) protocol: Option<Str>,
    pub(super) generation: i32,
    pub(super) leader: Option<Str>,
    pub(super) members: BTreeMap<Str, Member>,
    /// Member ids by instance id.
    pub(super) static_members: BTreeMap<Str, Str>,
    /// Ids given out whose members have not come back, with their deadlines.
    pub(super) pending_members: BTreeMap<Str, Option<Millis>>,
    /// Members of this generation that have not synced.
    pub(super) pending_sync: BTreeSet<Str>,
    /// How many members know a protocol.
    supported: BTreeMap<Str, usize>,
    waits_for_join: usize,
    /// Topics that members of type `consumer` subscribe to; `None` where that is not known.
    pub(super) subscribed: Option<BTreeSet<Str>>,
    pub(super) join_deadline: Option<Millis>,
    /// While the first members of an empty group gather.
    pub(super) initial_delay: Option<super::join::InitialDelay>,
    pub(super) sync_deadline: Option<Millis>,
    /// The leader's assignments of this generation are on their way into the log.
    pub(super) storing: bool,
    pub(super) offsets: Offsets,
}

impl Group {
    pub(super) fn new(id: Str, now: Now) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            state_since: Some(now.wall),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            static_members: BTreeMap::new(),
            pending_members: BTreeMap::new(),
            pending_sync: BTreeSet::new(),
            supported: BTreeMap::new(),
            waits_for_join: 0,
            subscribed: None,
            join_deadline: None,
            initial_delay: None,
            sync_deadline: None,
            storing: false,
            offsets: Offsets::default(),
        }
    }

    pub(super) fn is(&self, state: GroupState) -> bool {
        self.state == state
    }

    pub(super) fn enter(&mut self, state: GroupState, now: Now) {
        self.state = state;
        self.state_since = Some(now.wall);
        self.storing = false;
    }

    pub(super) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    pub(super) fn is_consumer_group(&self) -> bool {
        self.protocol_type.as_deref() == Some(PROTOCOL_TYPE)
    }

    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    /// The longest rebalance timeout of the members.
    pub(super) fn rebalance_timeout_ms(&self) -> Millis {
        self.members.values().map(|m| m.rebalance_timeout_ms).max().unwrap_or(0).max(0).into()
    }

    // ---- members

    pub(super) fn add(&mut self, member: Member, timers: &mut Timers) {
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.remove_pending(&member.id, timers);
        self.count_protocols(&member.protocols, true);
        self.waits_for_join += usize::from(member.waits_for_join.is_some());
        self.members.insert(member.id.clone(), member);
    }

    /// Removes a member, or an id that was given out. A request that still waits for it is answered that it is unknown.
    pub(super) fn remove(&mut self, id: &str, step: &mut Step<'_>) {
        if let Some(mut member) = self.members.remove(id) {
            self.count_protocols(&member.protocols, false);
            step.env.timers.set(&mut member.deadline, None, &self.id, TimerKind::Session(member.id.clone()));
            if let Some(ticket) = member.waits_for_join.take() {
                self.waits_for_join -= 1;
                step.out.push(Effect::AnswerJoin(ticket, JoinAnswer::failed(Str::new(), ErrorCode::UnknownMemberId)));
            }
            if let Some(ticket) = member.waits_for_sync.take() {
                step.out.push(Effect::AnswerSync(ticket, SyncAnswer::failed(ErrorCode::UnknownMemberId)));
            }
            if let Some(instance) = &member.instance_id {
                self.static_members.remove(instance);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.remove_pending(id, &mut step.env.timers);
        self.pending_sync.remove(id);
    }

    fn remove_pending(&mut self, id: &str, timers: &mut Timers) {
        if let Some((id, mut deadline)) = self.pending_members.remove_entry(id) {
            timers.set(&mut deadline, None, &self.id, TimerKind::Pending(id));
        }
    }

    pub(super) fn has_all_joined(&self) -> bool {
        self.members.len() == self.waits_for_join && self.pending_members.is_empty()
    }

    pub(super) fn waits_for_join(&self) -> usize {
        self.waits_for_join
    }

    /// A member begins to wait for the end of the join phase. An earlier request of the same member can only be one whose
    /// client gave up on it.
    pub(super) fn begin_wait_for_join(&mut self, id: &str, ticket: super::JoinTicket, out: &mut Effects) {
        let Some(member) = self.members.get_mut(id) else { return };
        match member.waits_for_join.replace(ticket) {
            None => self.waits_for_join += 1,
            Some(earlier) => {
                out.push(Effect::AnswerJoin(
                    earlier,
                    JoinAnswer::failed(member.id.clone(), ErrorCode::RebalanceInProgress),
                ));
            }
        }
    }

    /// Ends the wait of a member. False when it does not wait.
    pub(super) fn answer_join(
        &mut self,
        id: &str,
        out: &mut Effects,
        answer: impl FnOnce(&Self) -> JoinAnswer,
    ) -> bool {
        let Some(ticket) = self.members.get_mut(id).and_then(|member| member.waits_for_join.take()) else {
            return false;
        };
        self.waits_for_join -= 1;
        out.push(Effect::AnswerJoin(ticket, answer(self)));
        true
    }

    /// The next heartbeat is due within the member's session timeout.
    pub(super) fn extend_session(&mut self, id: &str, step: &mut Step<'_>) {
        let session = self.members.get(id).map_or(0, |member| member.session_timeout_ms);
        self.expect_within(id, session.into(), step);
    }

    pub(super) fn expect_within(&mut self, id: &str, within: Millis, step: &mut Step<'_>) {
        let Some(member) = self.members.get_mut(id) else { return };
        let at = step.now.ticks.saturating_add(within.max(0));
        step.env.timers.set(&mut member.deadline, Some(at), &self.id, TimerKind::Session(member.id.clone()));
    }

    pub(super) fn set_protocols(&mut self, id: &str, protocols: Vec<Protocol>) -> Vec<Protocol> {
        let Some(member) = self.members.get_mut(id) else { return Vec::new() };
        let old = std::mem::replace(&mut member.protocols, protocols.clone());
        self.count_protocols(&old, false);
        self.count_protocols(&protocols, true);
        old
    }

    /// A member renames itself: a static member comes back under a new id. A request that waited under the old one is fenced.
    pub(super) fn rename(&mut self, old: &str, new: Str, step: &mut Step<'_>) {
        let Some(mut member) = self.members.remove(old) else { return };
        step.env.timers.set(&mut member.deadline, None, &self.id, TimerKind::Session(member.id.clone()));
        if let Some(ticket) = member.waits_for_join.take() {
            self.waits_for_join -= 1;
            step.out
                .push(Effect::AnswerJoin(ticket, JoinAnswer::failed(member.id.clone(), ErrorCode::FencedInstanceId)));
        }
        if let Some(ticket) = member.waits_for_sync.take() {
            step.out.push(Effect::AnswerSync(ticket, SyncAnswer::failed(ErrorCode::FencedInstanceId)));
        }
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        if self.pending_sync.remove(old) {
            self.pending_sync.insert(new.clone());
        }
        if let Some(instance) = &member.instance_id {
            self.static_members.insert(instance.clone(), new.clone());
        }
        member.id = new.clone();
        self.members.insert(new, member);
    }

    // ---- protocols

    fn count_protocols(&mut self, protocols: &[Protocol], add: bool) {
        let names: BTreeSet<&Str> = protocols.iter().map(|p| &p.name).collect();
        for name in names {
            let count = self.supported.entry(name.clone()).or_default();
            *count = if add { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.supported.remove(name);
            }
        }
    }

    fn is_supported_by_all(&self, protocol: &str) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is(GroupState::Empty) {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|p| self.is_supported_by_all(&p.name))
    }

    /// Every member votes for the first of its protocols that all know; most votes win, then the leader's order.
    pub(super) fn select_protocol(&self) -> Option<Str> {
        let candidate = |p: &&Protocol| self.is_supported_by_all(&p.name);
        let mut votes: BTreeMap<&Str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(choice) = member.protocols.iter().find(candidate) {
                *votes.entry(&choice.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        let by_leader = leader.into_iter().flat_map(|leader| &leader.protocols).map(|p| &p.name);
        by_leader.chain(votes.keys().copied()).find(|name| votes.get(*name) == Some(&most)).cloned()
    }

    /// Kafka: `computeSubscribedTopics`. The error is what a member has said that cannot be read.
    pub(super) fn subscribed_topics(&self) -> Result<Option<BTreeSet<Str>>, Note> {
        if !self.is_consumer_group() {
            return Ok(None);
        }
        if self.members.is_empty() {
            return Ok(Some(BTreeSet::new()));
        }
        let Some(protocol) = self.protocol.as_deref() else { return Ok(None) };
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            match ConsumerProtocolSubscription::topics_of(&member.metadata(protocol)) {
                Ok(subscription) => topics.extend(subscription.topics),
                Err(error) => {
                    let (member, error) = (member.id.clone(), error.to_string());
                    return Err(Note::SubscriptionUnreadable { member, error });
                }
            }
        }
        Ok(Some(topics))
    }

    pub(super) fn note_subscribed_topics(&mut self, step: &mut Step<'_>) {
        self.subscribed = self.subscribed_topics().unwrap_or_else(|note| {
            step.note(&self.id, note);
            None
        });
    }

    // ---- for administrators

    pub(super) fn describe(&self) -> GroupDescription {
        let protocol = self.protocol.as_ref().filter(|_| self.is(GroupState::Stable));
        let members = self.members.values().map(|member| MemberDescription {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.map(|protocol| member.metadata(protocol)).unwrap_or_default(),
            assignment: protocol.map(|_| member.assignment.clone()).unwrap_or_default(),
        });
        GroupDescription {
            state: self.state.name(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: protocol.cloned().unwrap_or_default(),
            members: members.collect(),
        }
    }

    pub(super) fn overview(&self) -> GroupOverview {
        GroupOverview {
            id: self.id.clone(),
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            state: self.state.name(),
        }
    }

    // ---- invariants

    /// What must hold between two steps. Panics: for tests and debug builds.
    #[cfg(any(test, debug_assertions))]
    pub(super) fn check(&self, timers: &Timers) -> usize {
        let id = &self.id;
        let waiting = self.members.values().filter(|m| m.waits_for_join.is_some()).count();
        assert_eq!(waiting, self.waits_for_join, "{id}: members that wait are counted");
        assert_eq!(self.members.is_empty(), self.leader.is_none(), "{id}: a group with members has a leader");
        assert!(self.leader.as_ref().is_none_or(|l| self.members.contains_key(l)), "{id}: the leader is a member");
        assert!(self.pending_sync.iter().all(|m| self.members.contains_key(m)), "{id}: only members sync");
        for (instance, member) in &self.static_members {
            let owner = self.members.get(member).and_then(|m| m.instance_id.as_ref());
            assert_eq!(owner, Some(instance), "{id}: instance ids belong to members");
        }
        let mut armed = 0;
        let mut has = |at: Millis, what| {
            assert!(timers.has(at, id, what), "{id}: every deadline is in the timers");
            armed += 1;
        };
        for member in self.members.values() {
            match member.deadline {
                Some(at) => has(at, TimerKind::Session(member.id.clone())),
                None => assert!(member.outlives_its_deadline(), "{id}: {} is never expired", member.id),
            }
        }
        for (member, deadline) in &self.pending_members {
            has(
                deadline.unwrap_or_else(|| panic!("{id}: {member} is pending for ever")),
                TimerKind::Pending(member.clone()),
            );
        }
        if let Some(at) = self.join_deadline {
            has(at, TimerKind::Join);
        }
        if let Some(at) = self.sync_deadline {
            has(at, TimerKind::Sync);
        }
        let is_joining = self.is(GroupState::PreparingRebalance);
        assert_eq!(self.join_deadline.is_some(), is_joining, "{id}: a join phase ends by itself, {:?}", self.state);
        let has_generation = matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable);
        assert!(!has_generation || !self.members.is_empty(), "{id}: a generation has members");
        assert!(!has_generation || self.protocol.is_some(), "{id}: a generation has a protocol");
        let is_syncing = self.is(GroupState::CompletingRebalance);
        assert!(!is_syncing || self.storing || self.sync_deadline.is_some(), "{id}: a sync phase ends by itself");
        let waits_for_sync = self.members.values().any(|m| m.waits_for_sync.is_some());
        assert!(!waits_for_sync || is_syncing, "{id}: nobody waits for assignments in {:?}", self.state);
        armed
    }
}
