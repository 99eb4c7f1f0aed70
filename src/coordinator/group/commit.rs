//! Owns commits of offsets, plain and as part of a transaction, and the answers to who asks for them. Kafka:
//! `handleCommitOffsets`, `handleTxnCommitOffsets`, `handleFetchOffsets`, `storeOffsets`. Pure.

use super::effects::{CommitTicket, Effect};
use super::metadata::{Group, GroupState, Pending, Step};
use super::offsets::{CommittedOffset, Expiry};
use super::records;
use super::sync::GroupMember;
use crate::common::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use crate::coordinator::runtime::{AppendId, StoreError, TxnProducer};
use crate::protocol::Str;

/// Offsets to store. The partitions exist, each once.
#[derive(Clone, Debug)]
pub struct Commit {
    /// A negative generation, no id and no instance: someone outside the group.
    pub member: GroupMember,
    pub offsets: Vec<(TopicPartition, CommittedOffset)>,
    pub producer: Option<TxnProducer>,
}

/// One code for each offset of the commit, in its order.
pub type CommitAnswer = Vec<ErrorCode>;

/// A commit on its way into the log.
#[derive(Debug)]
pub(super) struct PendingCommit {
    pub(super) ticket: CommitTicket,
    pub(super) producer: Option<i64>,
    /// Those that are written.
    pub(super) offsets: Vec<(TopicPartition, CommittedOffset)>,
    /// For each offset of the request: whether it was refused for its metadata.
    pub(super) refused: Vec<bool>,
}

impl PendingCommit {
    pub(super) fn answer(&self, code: ErrorCode) -> CommitAnswer {
        let of = |refused: &bool| if *refused { ErrorCode::OffsetMetadataTooLarge } else { code };
        self.refused.iter().map(of).collect()
    }
}

/// What OffsetFetch answers for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedOffset {
    /// -1: none.
    pub offset: Offset,
    pub leader_epoch: LeaderEpoch,
    pub metadata: Str,
    pub error: ErrorCode,
}

impl FetchedOffset {
    pub const fn none(error: ErrorCode) -> Self {
        Self { offset: -1, leader_epoch: LeaderEpoch::NONE, metadata: Str::new(), error }
    }
}

impl Group {
    pub(super) fn on_commit(&mut self, ticket: CommitTicket, commit: Commit, step: &mut Step<'_>) {
        if let Err(code) = self.check_commit(&commit, step) {
            step.out.push(Effect::AnswerCommit(ticket, vec![code; commit.offsets.len()]));
            return;
        }
        if commit.producer.is_none() && matches!(self.state, GroupState::Stable | GroupState::PreparingRebalance) {
            // In a rebalance too: a member learns of it by its heartbeat.
            self.extend_session(&commit.member.id, step);
        }
        let max = step.env.config.offset_metadata_max;
        // Java counts UTF-16 units; no text has more of them than bytes.
        let is_too_large = |text: &Str| text.len() > max && text.encode_utf16().count() > max;
        let refused: Vec<bool> = commit.offsets.iter().map(|(_, o)| is_too_large(&o.metadata)).collect();
        let kept = commit.offsets.into_iter().zip(&refused).filter(|(_, refused)| !**refused).map(|(offset, _)| offset);
        let pending =
            PendingCommit { ticket, producer: commit.producer.map(|p| p.id), offsets: kept.collect(), refused };
        if pending.offsets.is_empty() {
            step.out.push(Effect::AnswerCommit(ticket, pending.answer(ErrorCode::OffsetMetadataTooLarge)));
            return;
        }
        let offsets = pending.offsets.clone();
        let records = offsets.iter().map(|(tp, committed)| records::offset_record(&self.id, tp, committed)).collect();
        let append = step.append(&self.id, records, commit.producer, Pending::Offsets(pending));
        match commit.producer {
            None => self.offsets.begin(append, offsets.into_iter().map(|(tp, _)| tp)),
            Some(producer) => {
                step.env.open_groups.entry(producer.id).or_default().insert(self.id.clone());
                self.offsets.begin_transactional(producer.id, append, offsets.into_iter());
            }
        }
    }

    /// Kafka: `validateOffsetCommit`, and the states of `doCommitOffsets`.
    fn check_commit(&self, commit: &Commit, step: &mut Step<'_>) -> Result<(), ErrorCode> {
        let member = &commit.member;
        if self.is(GroupState::Dead) {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if member.generation < 0 && self.is(GroupState::Empty) {
            return Ok(());
        }
        if member.generation >= 0 || !member.id.is_empty() || member.instance_id.is_some() {
            self.check_member(&member.id, member.instance_id.as_deref(), step)?;
            if member.generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if commit.producer.is_none() && !self.is(GroupState::Empty) {
            // Transactions before KIP-447 do not say who they are.
            return Err(ErrorCode::UnknownMemberId);
        }
        if commit.producer.is_none() && self.is(GroupState::CompletingRebalance) {
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// The group may be another one under the same id by now: it has no such commit pending, and changes nothing.
    pub(super) fn on_offsets_stored(
        &mut self,
        append: AppendId,
        pending: &PendingCommit,
        stored: Result<Offset, StoreError>,
        step: &mut Step<'_>,
    ) {
        for (tp, committed) in &pending.offsets {
            match (pending.producer, stored) {
                (None, Ok(at)) => self.offsets.stored(append, tp.clone(), committed.clone(), at),
                (None, Err(_)) => self.offsets.failed(append, tp),
                (Some(producer), Ok(at)) => self.offsets.stored_transactional(producer, append, tp, at),
                (Some(producer), Err(_)) => {
                    if self.offsets.failed_transactional(producer, append, tp)
                        && let Some(groups) = step.env.open_groups.get_mut(&producer)
                    {
                        groups.remove(&self.id);
                        if groups.is_empty() {
                            step.env.open_groups.remove(&producer);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn fetch_offset(&self, tp: &TopicPartition, require_stable: bool) -> FetchedOffset {
        if require_stable && self.offsets.is_unstable(tp) {
            return FetchedOffset::none(ErrorCode::UnstableOffsetCommit);
        }
        match self.offsets.get(tp) {
            None => FetchedOffset::none(ErrorCode::None),
            Some(committed) => FetchedOffset {
                offset: committed.offset,
                leader_epoch: committed.leader_epoch,
                metadata: committed.metadata.clone(),
                error: ErrorCode::None,
            },
        }
    }

    /// Which of the group's offsets may expire now.
    pub(super) fn remove_expired_offsets(&mut self, step: &Step<'_>) -> Vec<TopicPartition> {
        let expiry = match (&self.protocol_type, self.state) {
            (Some(_), GroupState::Empty) => Expiry::SinceEmpty(self.state_since),
            (Some(_), GroupState::Stable) if self.is_consumer_group() => {
                self.subscribed.as_ref().map_or(Expiry::Never, Expiry::Unsubscribed)
            }
            (None, _) => Expiry::SinceCommit,
            _ => Expiry::Never,
        };
        self.offsets.remove_expired(step.now.wall, step.env.config.offsets_retention_ms, &expiry)
    }
}
