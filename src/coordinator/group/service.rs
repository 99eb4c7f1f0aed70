//! Owns the front of the group coordinator: requests on their way to the shard of their group. Kafka:
//! `GroupCoordinator.validateGroupStatus`, `GroupCoordinatorAdapter`.

use super::commit::{Commit, CommitAnswer, FetchedOffset};
use super::join::{Join, JoinAnswer};
use super::metadata::{GroupDescription, GroupOverview};
use super::shard::{Groups, Request};
use super::sync::{GroupMember, Leave, Sync, SyncAnswer};
use crate::common::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use crate::config::GroupConfig;
use crate::coordinator::runtime::{Runtime, RuntimeParts};
use crate::coordinator::{OFFSETS_TOPIC, partition_for};
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

    fn shard_of(&self, group: &str, id: GroupId) -> Result<i32, ErrorCode> {
        if group.is_empty() && id == GroupId::NotEmpty {
            return Err(ErrorCode::InvalidGroupId);
        }
        Ok(self.partition_for(group))
    }

    async fn ask<T>(
        &self,
        group: &str,
        id: GroupId,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, ErrorCode> {
        self.runtime.ask(self.shard_of(group, id)?, request).await
    }

    // ---- members

    pub async fn join(&self, join: Join) -> JoinAnswer {
        let (group, member_id) = (join.group_id.clone(), join.member_id.clone());
        let asked = self.ask(&group, GroupId::NotEmpty, |reply| Request::Join(Box::new(join), reply)).await;
        asked.unwrap_or_else(|code| JoinAnswer::failed(member_id, code))
    }

    pub async fn sync(&self, sync: Sync) -> SyncAnswer {
        let group = sync.member.group_id.clone();
        let asked = self.ask(&group, GroupId::NotEmpty, |reply| Request::Sync(Box::new(sync), reply)).await;
        asked.unwrap_or_else(|code| {
            // What is being loaded may know another generation: the member joins again.
            let loading = code == ErrorCode::CoordinatorLoadInProgress;
            SyncAnswer::failed(if loading { ErrorCode::RebalanceInProgress } else { code })
        })
    }

    pub async fn heartbeat(&self, member: GroupMember) -> ErrorCode {
        let group = member.group_id.clone();
        match self.ask(&group, GroupId::NotEmpty, |reply| Request::Heartbeat(member, reply)).await {
            // Blindly: its session begins anew once the group is loaded.
            Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
            Ok(code) | Err(code) => code,
        }
    }

    /// One code for each member, or one for the request.
    pub async fn leave(&self, group: Str, leaving: Vec<Leave>) -> Result<Vec<ErrorCode>, ErrorCode> {
        let to = group.clone();
        self.ask(&to, GroupId::NotEmpty, |reply| Request::Leave { group, leaving, reply }).await
    }

    // ---- offsets

    /// One code for each offset.
    pub async fn commit(&self, commit: Commit) -> CommitAnswer {
        let (group, offsets) = (commit.member.group_id.clone(), commit.offsets.len());
        // Transactions came with groups that have a name.
        let id = if commit.producer.is_some() { GroupId::NotEmpty } else { GroupId::Any };
        let asked = self.ask(&group, id, |reply| Request::Commit(Box::new(commit), reply)).await;
        asked.unwrap_or_else(|code| vec![code; offsets])
    }

    /// What a transactional commit to this group is refused with before its transaction is verified.
    pub fn check_transactional(&self, group: &str) -> Result<(), ErrorCode> {
        self.runtime.check(self.shard_of(group, GroupId::NotEmpty)?)
    }

    /// Makes the group if there is none: Kafka does so before it verifies the transaction of a commit.
    pub async fn make_group(&self, group: Str) {
        if let Ok(partition) = self.shard_of(&group, GroupId::NotEmpty) {
            self.runtime.tell(partition, Request::MakeGroup(group)).await;
        }
    }

    pub async fn fetch_offsets(
        &self,
        group: Str,
        partitions: Option<Vec<TopicPartition>>,
        require_stable: bool,
    ) -> Result<Vec<(TopicPartition, FetchedOffset)>, ErrorCode> {
        let to = group.clone();
        let request = |reply| Request::FetchOffsets { group, partitions, require_stable, reply };
        self.ask(&to, GroupId::Any, request).await
    }

    /// One code for each partition, or one for the request.
    pub async fn delete_offsets(
        &self,
        group: Str,
        partitions: Vec<TopicPartition>,
    ) -> Result<Vec<ErrorCode>, ErrorCode> {
        let to = group.clone();
        self.ask(&to, GroupId::NotEmpty, |reply| Request::DeleteOffsets { group, partitions, reply }).await?
    }

    /// A transaction of `producer` is decided: its marker lies at `at` in `partition` of the offsets topic, and on its
    /// replicas.
    pub async fn on_transaction_marker(&self, partition: i32, producer: i64, committed: bool, at: Offset) {
        self.runtime.tell_written(partition, Request::TransactionMarker { producer, committed, at }).await;
    }

    /// Topics are deleted: their offsets go.
    pub async fn on_partitions_deleted(&self, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        let partitions: Arc<[TopicPartition]> = partitions.into();
        self.runtime.tell_all(|| Request::PartitionsDeleted(Arc::clone(&partitions))).await;
    }

    // ---- for administrators

    pub async fn delete_group(&self, group: Str) -> ErrorCode {
        let to = group.clone();
        match self.ask(&to, GroupId::Any, |reply| Request::DeleteGroup(group, reply)).await {
            Ok(code) | Err(code) => code,
        }
    }

    /// `None`: there is no such group.
    pub async fn describe(&self, group: Str) -> Result<Option<GroupDescription>, ErrorCode> {
        let to = group.clone();
        self.ask(&to, GroupId::Any, |reply| Request::Describe(group, reply)).await
    }

    /// The groups of all partitions that are loaded, and whether some are still loading.
    pub async fn list(&self) -> (ErrorCode, Vec<GroupOverview>) {
        let (listed, is_loading) = self.runtime.ask_all(Request::List).await;
        let code = if is_loading { ErrorCode::CoordinatorLoadInProgress } else { ErrorCode::None };
        (code, listed.into_iter().flatten().collect())
    }
}
