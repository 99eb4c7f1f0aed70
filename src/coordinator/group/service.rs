//! Owns the front of the group coordinator: requests on their way to the shard of their group. Kafka:
//! `GroupCoordinator.validateGroupStatus`, `GroupCoordinatorAdapter`.

use super::commit::{Commit, CommitAnswer, FetchedOffset};
use super::effects::{CommitTicket, Effects, JoinTicket, SyncTicket};
use super::join::{Join, JoinAnswer};
use super::machine::GroupMachine;
use super::metadata::{GroupDescription, GroupOverview};
use super::shard::Groups;
use super::sync::{GroupMember, Leave, Sync, SyncAnswer};
use crate::common::{ErrorCode, LeaderEpoch, Now, Offset, TopicPartition};
use crate::config::GroupConfig;
use crate::coordinator::runtime::{NotServing, Runtime, RuntimeParts};
use crate::coordinator::{OFFSETS_TOPIC, codes, partition_for};
use crate::protocol::Str;
use crate::replica::ReplicaManager;
use crate::util::task::{Group, StillRunning};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the coordinator works with.
pub struct GroupCoordinatorParts {
    pub config: GroupConfig,
    /// Of the offsets topic. Fixed while the broker runs.
    pub partitions: i32,
    pub replicas: Arc<ReplicaManager>,
    /// Where shards run: each partition always on the same.
    pub tasks: Arc<[Group]>,
}

/// Answers for the groups whose partitions this broker leads.
pub struct GroupCoordinator {
    partitions: i32,
    runtime: Arc<Runtime<Groups>>,
}

/// Which group ids an API takes. Kafka: `isValidGroupId`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GroupId {
    /// Old consumers commit under the empty id.
    Any,
    NotEmpty,
}

impl GroupCoordinator {
    pub fn new(parts: GroupCoordinatorParts) -> Self {
        let runtime = Runtime::new(RuntimeParts {
            topic: OFFSETS_TOPIC,
            machines: Arc::new(parts.config),
            load_buffer_bytes: parts.config.load_buffer_bytes,
            replicas: parts.replicas,
            tasks: parts.tasks,
            shards: Arc::default(),
        });
        Self { partitions: parts.partitions, runtime }
    }

    /// The partition of the offsets topic that a group belongs to.
    pub fn partition_for(&self, group: &str) -> i32 {
        partition_for(group, self.partitions)
    }

    // ---- leadership

    /// Kafka: `onElection`.
    pub fn on_election(&self, partition: i32, epoch: LeaderEpoch) {
        self.runtime.on_election(partition, epoch);
    }

    /// Without an epoch the partition is deleted. Kafka: `onResignation`.
    pub fn on_resignation(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        self.runtime.on_resignation(partition, epoch);
    }

    /// Waits for the shards, up to `within`.
    pub async fn shut_down(&self, within: Duration) -> Result<(), StillRunning> {
        self.runtime.shut_down(within).await
    }

    // ---- routing

    fn shard_of(&self, group: &str, id: GroupId) -> Result<i32, NotServing> {
        if group.is_empty() && id == GroupId::NotEmpty {
            return Err(NotServing::InvalidKey);
        }
        Ok(self.partition_for(group))
    }

    /// Asks what is answered at once.
    async fn ask<T: Send + 'static>(
        &self,
        group: &str,
        id: GroupId,
        question: impl FnOnce(&mut GroupMachine, Now, &mut Effects) -> T + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let question = |to: &mut Groups, now, out: &mut Effects| question(&mut to.machine, now, out);
        let partition = self.shard_of(group, id).map_err(code)?;
        self.runtime.ask(partition, question).await.answer().await.map_err(code)
    }

    /// Asks what is answered in time, by the ticket that the question takes for its reply.
    async fn put<T: Send + 'static>(
        &self,
        group: &str,
        id: GroupId,
        question: impl FnOnce(&mut Groups, Now, oneshot::Sender<T>, &mut Effects) + Send + 'static,
    ) -> Result<T, ErrorCode> {
        let partition = self.shard_of(group, id).map_err(code)?;
        self.runtime.put(partition, question).await.answer().await.map_err(code)
    }

    // ---- members

    pub async fn join(&self, join: Join) -> JoinAnswer {
        let (group, member_id) = (join.group_id.clone(), join.member_id.clone());
        let question = |to: &mut Groups, now, reply, out: &mut Effects| {
            to.machine.on_join(now, JoinTicket(to.joins.issue(reply)), join, out);
        };
        let asked = self.put(&group, GroupId::NotEmpty, question).await;
        asked.unwrap_or_else(|code| JoinAnswer::failed(member_id, code))
    }

    pub async fn sync(&self, sync: Sync) -> SyncAnswer {
        let group = sync.member.group_id.clone();
        let question = |to: &mut Groups, now, reply, out: &mut Effects| {
            to.machine.on_sync(now, SyncTicket(to.syncs.issue(reply)), sync, out);
        };
        let asked = self.put(&group, GroupId::NotEmpty, question).await;
        asked.unwrap_or_else(|code| {
            // What is being loaded may know another generation: the member joins again.
            let loading = code == ErrorCode::CoordinatorLoadInProgress;
            SyncAnswer::failed(if loading { ErrorCode::RebalanceInProgress } else { code })
        })
    }

    pub async fn heartbeat(&self, member: GroupMember) -> ErrorCode {
        let group = member.group_id.clone();
        match self.ask(&group, GroupId::NotEmpty, move |m, now, out| m.on_heartbeat(now, &member, out)).await {
            // Blindly: its session begins anew once the group is loaded.
            Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            Ok(code) | Err(code) => code,
        }
    }

    /// One code for each member, or one for the request.
    pub async fn leave(&self, group: Str, leaving: Vec<Leave>) -> Result<Vec<ErrorCode>, ErrorCode> {
        let to = group.clone();
        self.ask(&to, GroupId::NotEmpty, move |m, now, out| m.on_leave(now, &group, &leaving, out)).await
    }

    // ---- offsets

    /// One code for each offset.
    pub async fn commit(&self, commit: Commit) -> CommitAnswer {
        let (group, offsets) = (commit.member.group_id.clone(), commit.offsets.len());
        // Transactions came with groups that have a name.
        let id = if commit.producer.is_some() { GroupId::NotEmpty } else { GroupId::Any };
        let question = |to: &mut Groups, now, reply, out: &mut Effects| {
            to.machine.on_commit(now, CommitTicket(to.commits.issue(reply)), commit, out);
        };
        let asked = self.put(&group, id, question).await;
        asked.unwrap_or_else(|code| vec![code; offsets])
    }

    /// What a transactional commit to this group is refused with before its transaction is verified.
    pub fn check_transactional(&self, group: &str) -> Result<(), ErrorCode> {
        self.shard_of(group, GroupId::NotEmpty).and_then(|partition| self.runtime.check(partition)).map_err(code)
    }

    /// Makes the group if there is none: Kafka does so before it verifies the transaction of a commit.
    pub async fn make_group(&self, group: Str) {
        if let Ok(partition) = self.shard_of(&group, GroupId::NotEmpty) {
            // It is not waited for: the commit comes behind it.
            drop(self.runtime.ask(partition, move |to, now, _| to.machine.make_group(&group, now)).await);
        }
    }

    pub async fn fetch_offsets(
        &self,
        group: Str,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
    ) -> Result<Vec<(TopicPartition, FetchedOffset)>, ErrorCode> {
        let to = group.clone();
        self.ask(&to, GroupId::Any, move |m, _, _| m.fetch_offsets(&group, partitions.as_deref(), require_stable)).await
    }

    /// One code for each partition, or one for the request.
    pub async fn delete_offsets(
        &self,
        group: Str,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let to = group.clone();
        self.ask(&to, GroupId::NotEmpty, move |m, now, out| m.delete_offsets(now, &group, &partitions, out)).await?
    }

    /// A transaction of `producer` is decided: its marker lies at `at` in `partition` of the offsets topic, and on its
    /// replicas.
    pub async fn on_transaction_marker(&self, partition: i32, producer: i64, committed: bool, at: Offset) {
        let marker = move |to: &mut Groups, _, _: &mut Effects| {
            to.machine.on_transaction_marker(producer, committed, at);
        };
        self.runtime.tell_written(partition, marker).await;
    }

    /// Topics are deleted: their offsets go.
    pub async fn on_partitions_deleted(&self, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        let partitions: Arc<[TopicPartition]> = partitions.into();
        let gone = move |to: &mut Groups, now, out: &mut Effects| {
            to.machine.on_partitions_deleted(now, &partitions, out);
        };
        self.runtime.tell_all(gone).await;
    }

    // ---- for administrators

    pub async fn delete_group(&self, group: Str) -> ErrorCode {
        let to = group.clone();
        match self.ask(&to, GroupId::Any, move |m, now, out| m.delete_group(now, &group, out)).await {
            Ok(code) | Err(code) => code,
        }
    }

    /// `None`: there is no such group.
    pub async fn describe(&self, group: Str) -> Result<Option<GroupDescription>, ErrorCode> {
        let to = group.clone();
        self.ask(&to, GroupId::Any, move |m, _, _| m.describe(&group)).await
    }

    /// The groups of all partitions that are loaded, and whether some are still loading.
    pub async fn list(&self) -> (ErrorCode, Vec<GroupOverview>) {
        let (listed, is_loading) = self.runtime.ask_all(|to, _, _| to.machine.list()).await;
        let code = if is_loading { ErrorCode::CoordinatorLoadInProgress } else { ErrorCode::None };
        (code, listed.into_iter().flatten().collect())
    }
}

fn code(error: NotServing) -> ErrorCode {
    codes::not_serving_code(error, ErrorCode::InvalidGroupId)
}
