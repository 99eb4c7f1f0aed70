//! Owns one partition of the offsets topic as the frame of all coordinators drives it: what is asked of the
//! [`GroupMachine`], who waits for its answers, and where its notes go. Kafka: the purgatories of `GroupCoordinator`.

use super::commit::{Commit, CommitAnswer, FetchedOffset};
use super::effects::{CommitTicket, Effect, JoinTicket, Note, SyncTicket};
use super::join::{Join, JoinAnswer};
use super::loading::Loader;
use super::machine::GroupMachine;
use super::metadata::{ACKS_ALL, GroupDescription, GroupOverview};
use super::sync::{GroupMember, Leave, Sync, SyncAnswer};
use crate::common::{ErrorCode, Millis, Now, Offset, TopicPartition};
use crate::config::GroupConfig;
use crate::coordinator::runtime::{Append, AppendId, Machine, Term, Tickets, answer};
use crate::protocol::Str;
use crate::record::{Codec, Compression};
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::{info, warn};

/// Debug builds look through all groups after each turn, unless there are more.
const CHECKED_GROUPS_MAX: usize = 64;

/// What is asked of a shard. A reply that is dropped means: not here any more.
pub(super) enum Request {
    Join(Box<Join>, oneshot::Sender<JoinAnswer>),
    Sync(Box<Sync>, oneshot::Sender<SyncAnswer>),
    Heartbeat(GroupMember, oneshot::Sender<ErrorCode>),
    Leave {
        group: Str,
        leaving: Vec<Leave>,
        reply: oneshot::Sender<Vec<ErrorCode>>,
    },
    Commit(Box<Commit>, oneshot::Sender<CommitAnswer>),
    FetchOffsets {
        group: Str,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
        reply: oneshot::Sender<Vec<(TopicPartition, FetchedOffset)>>,
    },
    DeleteOffsets {
        group: Str,
        partitions: Vec<TopicPartition>,
        reply: oneshot::Sender<Result<Vec<ErrorCode>, ErrorCode>>,
    },
    MakeGroup(Str),
    DeleteGroup(Str, oneshot::Sender<ErrorCode>),
    Describe(Str, oneshot::Sender<Option<GroupDescription>>),
    List(oneshot::Sender<Vec<GroupOverview>>),
    TransactionMarker {
        producer: i64,
        committed: bool,
        /// Where the marker lies.
        at: Offset,
    },
    PartitionsDeleted(Arc<[TopicPartition]>),
}

/// The groups of one partition.
pub(super) struct Groups {
    partition: i32,
    config: GroupConfig,
    machine: GroupMachine,
    joins: Tickets<JoinAnswer>,
    syncs: Tickets<SyncAnswer>,
    commits: Tickets<CommitAnswer>,
}

impl Machine for Groups {
    const NAME: &'static str = "group-coordinator";
    /// As Kafka writes them: a commit that its log refuses takes no other along.
    const BATCH_BYTES_MAX: usize = 0;

    type Parts = GroupConfig;
    type Request = Request;
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

    fn apply(&mut self, now: Now, request: Request, out: &mut Vec<Effect>) {
        let machine = &mut self.machine;
        match request {
            Request::Join(join, reply) => {
                machine.on_join(now, JoinTicket(self.joins.issue(reply)), *join, out);
            }
            Request::Sync(sync, reply) => {
                machine.on_sync(now, SyncTicket(self.syncs.issue(reply)), *sync, out);
            }
            Request::Commit(commit, reply) => {
                machine.on_commit(now, CommitTicket(self.commits.issue(reply)), *commit, out);
            }
            Request::Heartbeat(member, reply) => answer(reply, machine.on_heartbeat(now, &member, out)),
            Request::Leave { group, leaving, reply } => answer(reply, machine.on_leave(now, &group, &leaving, out)),
            Request::FetchOffsets { group, partitions, require_stable, reply } => {
                answer(reply, machine.fetch_offsets(&group, partitions.as_deref(), require_stable));
            }
            Request::DeleteOffsets { group, partitions, reply } => {
                answer(reply, machine.delete_offsets(now, &group, &partitions, out));
            }
            Request::MakeGroup(group) => machine.make_group(&group, now),
            Request::DeleteGroup(group, reply) => answer(reply, machine.delete_group(now, &group, out)),
            Request::Describe(group, reply) => answer(reply, machine.describe(&group)),
            Request::List(reply) => answer(reply, machine.list()),
            Request::TransactionMarker { producer, committed, at } => {
                machine.on_transaction_marker(producer, committed, at);
            }
            Request::PartitionsDeleted(partitions) => machine.on_partitions_deleted(now, &partitions, out),
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
                        self.machine.on_appended(now, id, Err(ErrorCode::InvalidRequiredAcks), out);
                    }
                    _ => return Some(append),
                }
            }
            Effect::Note(group, note) => tell_operator(&group, &note),
            Effect::OffsetsExpired(expired) => info!(expired, "offsets expired"),
        }
        None
    }

    fn on_appended(&mut self, now: Now, id: AppendId, stored: Result<Offset, ErrorCode>, out: &mut Vec<Effect>) {
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
        Note::StrangeJoin { member, state } => warn!(group, %member, state, "a member joins that cannot be"),
        Note::Fenced { member, instance, current } => {
            info!(group, %member, %instance, %current, "a static member is fenced");
        }
        Note::StaticMemberBack { old_id, new_id, state } => {
            info!(group, %old_id, %new_id, state, "a static member comes back");
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
