//! Owns the words between the machine and its shell: who waits, what is to be done. Pure.

use super::commit::CommitAnswer;
use super::join::JoinAnswer;
use super::sync::SyncAnswer;
use crate::common::ErrorCode;
use crate::coordinator::runtime::Append;
use crate::protocol::Str;
use std::collections::BTreeSet;

macro_rules! ticket {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u64);
    };
}

ticket!(
    /// A JoinGroup that waits for its answer. Each is answered once.
    JoinTicket
);
ticket!(
    /// A SyncGroup that waits for its answer. Each is answered once.
    SyncTicket
);
ticket!(
    /// A commit of offsets that waits for its answer. Each is answered once.
    CommitTicket
);
/// What a step of the machine asks for, in this order.
#[must_use]
#[derive(Debug)]
pub enum Effect {
    AnswerJoin(JoinTicket, JoinAnswer),
    AnswerSync(SyncTicket, SyncAnswer),
    AnswerCommit(CommitTicket, CommitAnswer),
    Append(Append),
    /// Say so in the broker's log, of this group.
    Note(Str, Note),
    /// So many offsets of all groups.
    OffsetsExpired(usize),
}

pub type Effects = Vec<Effect>;

/// What an operator should hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    StrangeJoin { member: Str, state: &'static str },
    Fenced { member: Str, instance: Str, current: Str },
    StaticMemberBack { old_id: Str, new_id: Str, state: &'static str },
    StaticMemberNotStored { member: Str, code: ErrorCode },
    StaticMemberWentOn { instance: Str },
    PreparingRebalance { old_generation: i32, state: &'static str, reason: String, client_reason: Option<String> },
    NotJoined { lost: BTreeSet<Str> },
    NoneJoined,
    LeaderNotJoined { old: Option<Str>, new: Str },
    Empty { generation: i32 },
    EmptyNotStored { code: ErrorCode },
    Stabilized { generation: i32, members: usize },
    SubscriptionUnreadable { member: Str, error: String },
    NothingAssigned { member: Str, generation: i32 },
    AssignmentsNotStored { generation: i32, code: ErrorCode },
    NotSynced { lost: BTreeSet<Str> },
    MemberFailed { member: Str },
    NotBack { member: Str },
    Dead { generation: i32 },
}
