//! Owns one partition of the offsets topic as the frame of all coordinators drives it: who waits for the answers of
//! the [`GroupMachine`], what it writes, and where its notes go. Kafka: the purgatories of `GroupCoordinator`.

use super::commit::CommitAnswer;
use super::effects::{Effect, Note};
use super::join::JoinAnswer;
use super::loading::Loader;
use super::machine::GroupMachine;
use super::metadata::ACKS_ALL;
use super::sync::SyncAnswer;
use crate::common::{Millis, Now, Offset, TopicPartition};
use crate::config::GroupConfig;
use crate::coordinator::runtime::{Append, AppendId, Machine, StoreError, Term, Tickets};
use crate::record::{Codec, Compression};
use std::sync::Arc;
use tracing::{info, warn};

/// Debug builds look through all groups after each turn, unless there are more.
const CHECKED_GROUPS_MAX: usize = 64;

/// The groups of one partition.
pub(super) struct Groups {
    partition: i32,
    config: GroupConfig,
    pub machine: GroupMachine,
    pub joins: Tickets<JoinAnswer>,
    pub syncs: Tickets<SyncAnswer>,
    pub commits: Tickets<CommitAnswer>,
}

impl Machine for Groups {
    const NAME: &'static str = "group-coordinator";
    /// As Kafka writes them: a commit that its log refuses takes no other along.
    const BATCH_BYTES_MAX: usize = 0;

    type Parts = GroupConfig;
    type Effect = Effect;
    type Loader = Loader;

    fn loader(_: &TopicPartition, start: Offset) -> Loader {
        Loader::new(start)
    }

    fn read(loader: &mut Loader, log: &TopicPartition, batches: &[u8]) -> Option<Offset> {
        let went_on = loader.take(batches);
        for unreadable in loader.take_unreadable() {
            warn!(partition = %log, offset = unreadable.offset, why = unreadable.why, "{}", unreadable.what);
        }
        went_on.then(|| loader.next_offset())
    }

    fn load(config: &Arc<GroupConfig>, term: Term, loader: Loader, now: Now, out: &mut Vec<Effect>) -> Self {
        let (partition, loaded) = (term.partition, loader.finish(now));
        info!(partition, groups = loaded.groups(), offsets = loaded.offsets(), "loaded groups and offsets");
        Self {
            partition,
            config: **config,
            machine: GroupMachine::load(**config, loaded, now, out),
            joins: Tickets::default(),
            syncs: Tickets::default(),
            commits: Tickets::default(),
        }
    }

    fn perform(&mut self, now: Now, effect: Effect, out: &mut Vec<Effect>) -> Option<Append> {
        match effect {
            Effect::AnswerJoin(ticket, said) => self.joins.answer(ticket.0, said),
            Effect::AnswerSync(ticket, said) => self.syncs.answer(ticket.0, said),
            Effect::AnswerCommit(ticket, said) => self.commits.answer(ticket.0, said),
            Effect::Append(append) => {
                let acks = self.config.commit_required_acks;
                match append.id {
                    // Kafka takes them at its start and refuses every commit.
                    Some(id) if !(ACKS_ALL..=1).contains(&acks) => {
                        self.machine.on_appended(now, id, Err(StoreError::InvalidAcks), out);
                    }
                    _ => return Some(append),
                }
            }
            Effect::Note(group, note) => tell_operator(&group, &note),
            Effect::OffsetsExpired(expired) => info!(expired, "offsets expired"),
        }
        None
    }

    fn on_appended(&mut self, now: Now, id: AppendId, stored: Result<Offset, StoreError>, out: &mut Vec<Effect>) {
        self.machine.on_appended(now, id, stored, out);
    }

    fn next_deadline(&self) -> Millis {
        self.machine.next_deadline()
    }

    fn on_tick(&mut self, now: Now, out: &mut Vec<Effect>) {
        self.machine.on_tick(now, out);
    }

    fn unload(&mut self, out: &mut Vec<Effect>) {
        info!(partition = self.partition, groups = self.machine.groups(), "unloaded groups and offsets");
        self.machine.unload(out);
    }

    /// The key has no check of its own in Kafka either: an id that is none fails there at the start.
    fn compression(&self) -> Compression {
        Codec::from_id(self.config.compression_codec as u8).map_or(Compression::None, Compression::of)
    }

    fn check(&self) {
        #[cfg(debug_assertions)]
        if self.machine.groups() < CHECKED_GROUPS_MAX {
            self.machine.check();
        }
    }
}

fn tell_operator(group: &str, note: &Note) {
    match note {
        Note::StrangeJoin { member, state } => warn!(group, %member, state, "unexpected join"),
        Note::Fenced { member, instance, current } => {
            info!(group, %member, %instance, %current, "a static member is fenced");
        }
        Note::StaticMemberBack { old_id, new_id, state } => {
            info!(group, %old_id, %new_id, state, "static member rejoined");
        }
        Note::StaticMemberNotStored { member, code } => {
            warn!(group, %member, %code, "a static member's new id is not stored");
        }
        Note::StaticMemberWentOn { instance } => {
            info!(group, %instance, "a static member went on without a rebalance");
        }
        Note::PreparingRebalance { old_generation, state, reason, client_reason } => {
            let client_reason = client_reason.as_deref().unwrap_or("not provided");
            info!(group, old_generation, state, reason, client_reason, "preparing to rebalance");
        }
        Note::NotJoined { lost } => info!(group, ?lost, "dynamic members are removed that did not join"),
        Note::NoneJoined => warn!(group, "no member joined again: waiting until sessions end"),
        Note::LeaderNotJoined { old, new } => info!(group, ?old, %new, "the leader did not join in time"),
        Note::Empty { generation } => info!(group, generation, "the group is now empty"),
        Note::EmptyNotStored { code } => warn!(group, %code, "an empty generation is not stored"),
        Note::Stabilized { generation, members } => info!(group, generation, members, "stabilized"),
        Note::SubscriptionUnreadable { member, error } => {
            warn!(group, %member, error, "subscription is not readable");
        }
        Note::NothingAssigned { member, generation } => {
            warn!(group, %member, generation, "the leader assigned nothing");
        }
        Note::AssignmentsNotStored { generation, code } => {
            warn!(group, generation, %code, "assignments are not stored");
        }
        Note::NotSynced { lost } => info!(group, ?lost, "members are removed that did not sync"),
        Note::MemberFailed { member } => {
            info!(group, %member, "a member has failed, removing it from the group");
        }
        Note::NotBack { member } => info!(group, %member, "a member did not come back with its id"),
        Note::Dead { generation } => info!(group, generation, "the group is dead"),
    }
}
