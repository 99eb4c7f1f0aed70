//! Owns the way from a request to the shard of its group. Kafka: `GroupCoordinator.validateGroupStatus`,
//! `GroupCoordinatorAdapter`.

use super::commit::{Commit, CommitAnswer, FetchedOffset};
use super::join::{Join, JoinAnswer};
use super::metadata::{GroupDescription, GroupOverview};
use super::shard::{self, MAILBOX_CAPACITY, Request, ShardParts};
use super::sync::{GroupMember, Leave, Sync, SyncAnswer};
use crate::common::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use crate::config::GroupConfig;
use crate::coordinator::{OFFSETS_TOPIC, RELOAD_PAUSE, partition_for};
use crate::protocol::Str;
use crate::replica::ReplicaManager;
use crate::util::task::{Group, StillRunning};
use parking_lot::RwLock;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::info;

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
    parts: GroupCoordinatorParts,
    shards: RwLock<Shards>,
}

#[derive(Default)]
struct Shards {
    running: BTreeMap<i32, Handle>,
    /// The latest leader epoch that was heard of: what comes late changes nothing.
    epochs: BTreeMap<i32, LeaderEpoch>,
    /// Ends when the last shard of a partition has ended.
    ended: BTreeMap<i32, CancellationToken>,
}

struct Handle {
    mailbox: mpsc::Sender<Request>,
    loading: Arc<AtomicBool>,
    stop: CancellationToken,
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
        Self { parts, shards: RwLock::default() }
    }

    /// The partition of the offsets topic that a group belongs to.
    pub fn partition_for(&self, group: &str) -> i32 {
        partition_for(group, self.parts.partitions)
    }

    // ---- leadership

    /// This broker leads a partition of the offsets topic: its groups are loaded. Does not wait for that.
    pub fn on_election(self: &Arc<Self>, partition: i32, epoch: LeaderEpoch) {
        let mut shards = self.shards.write();
        if shards.epochs.get(&partition).is_some_and(|known| *known > epoch) {
            info!(partition, %epoch, "an old election of the group coordinator is passed over");
            return;
        }
        shards.epochs.insert(partition, epoch);
        // Led before and led again: what is loaded is what the log says.
        if shards.running.get(&partition).is_some_and(|handle| !handle.mailbox.is_closed()) {
            return;
        }
        self.start(&mut shards, partition);
    }

    fn start(self: &Arc<Self>, shards: &mut Shards, partition: i32) {
        let Some(tasks) = self.parts.tasks.get(partition.unsigned_abs() as usize % self.parts.tasks.len().max(1))
        else {
            return;
        };
        let (mailbox, requests) = mpsc::channel(MAILBOX_CAPACITY);
        let (loading, stop) = (Arc::new(AtomicBool::new(true)), tasks.stop_token().child_token());
        let ended = CancellationToken::new();
        let parts = ShardParts {
            topic_partition: TopicPartition::new(OFFSETS_TOPIC, partition),
            replicas: Arc::clone(&self.parts.replicas),
            config: self.parts.config,
            mailbox: requests,
            loading: Arc::clone(&loading),
            tasks: Arc::clone(&self.parts.tasks),
            stop: stop.clone(),
            previous: shards.ended.insert(partition, ended.clone()),
        };
        shards.running.insert(partition, Handle { mailbox, loading, stop: stop.clone() });
        let shard = tasks.spawn_isolated("group-coordinator", async move {
            let _ended = ended.drop_guard();
            shard::run(parts).await;
        });
        let me = Arc::clone(self);
        tasks.spawn("group-coordinator-watch", async move {
            // Its panic costs its own groups, until they are loaded again.
            let Ok(None) = shard.await else { return };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = tokio::time::sleep(RELOAD_PAUSE) => me.on_death(partition),
            }
        });
    }

    /// The epoch may have moved on while the shard ran: what counts is that no one has resigned or started another.
    fn on_death(self: &Arc<Self>, partition: i32) {
        let mut shards = self.shards.write();
        if shards.running.get(&partition).is_some_and(|handle| handle.mailbox.is_closed()) {
            self.start(&mut shards, partition);
        }
    }

    /// This broker no longer leads a partition; without an epoch, the partition is deleted.
    pub fn on_resignation(&self, partition: i32, epoch: Option<LeaderEpoch>) {
        let mut shards = self.shards.write();
        match epoch {
            Some(epoch) if shards.epochs.get(&partition).is_some_and(|known| *known > epoch) => {
                info!(partition, %epoch, "an old resignation of the group coordinator is passed over");
                return;
            }
            Some(epoch) => drop(shards.epochs.insert(partition, epoch)),
            // A topic that is made again begins with the first epoch. Kafka's coordinator passes that over until a restart.
            None => drop(shards.epochs.remove(&partition)),
        }
        if let Some(handle) = shards.running.remove(&partition) {
            handle.stop.cancel();
        }
    }

    /// Waits for the shards, which end with their tasks' groups: everybody who waited has an answer then.
    pub async fn shut_down(&self, within: Duration) -> Result<(), StillRunning> {
        for tasks in &*self.parts.tasks {
            tasks.shut_down(within).await?;
        }
        Ok(())
    }

    // ---- routing

    fn mailbox(&self, group: &str, id: GroupId) -> Result<mpsc::Sender<Request>, ErrorCode> {
        if group.is_empty() && id == GroupId::NotEmpty {
            return Err(ErrorCode::InvalidGroupId);
        }
        let shards = self.shards.read();
        let handle = shards.running.get(&self.partition_for(group)).ok_or(ErrorCode::NotCoordinator)?;
        if handle.loading.load(Ordering::Acquire) {
            return Err(ErrorCode::CoordinatorLoadInProgress);
        }
        Ok(handle.mailbox.clone())
    }

    async fn ask<T>(
        &self,
        group: &str,
        id: GroupId,
        request: impl FnOnce(oneshot::Sender<T>) -> Request,
    ) -> Result<T, ErrorCode> {
        let mailbox = self.mailbox(group, id)?;
        let (reply, answer) = oneshot::channel();
        // Either way the shard has ended: the partition is led elsewhere.
        mailbox.send(request(reply)).await.map_err(|_| ErrorCode::NotCoordinator)?;
        answer.await.map_err(|_| ErrorCode::NotCoordinator)
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
        self.mailbox(group, GroupId::NotEmpty).map(drop)
    }

    /// Makes the group if there is none: Kafka does so before it verifies the transaction of a commit.
    pub async fn make_group(&self, group: Str) {
        if let Ok(mailbox) = self.mailbox(&group, GroupId::NotEmpty) {
            drop(mailbox.send(Request::MakeGroup(group)).await);
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
        // A shard that loads has its mailbox already, and looks into it once it has read the log.
        let mailbox = self.shards.read().running.get(&partition).map(|handle| handle.mailbox.clone());
        let Some(mailbox) = mailbox else { return };
        if mailbox.send(Request::TransactionMarker { producer, committed, at }).await.is_err() {
            info!(partition, producer, "a marker came after its groups went elsewhere");
        }
    }

    /// Topics are deleted: their offsets go.
    pub async fn on_partitions_deleted(&self, partitions: Vec<TopicPartition>) {
        if partitions.is_empty() {
            return;
        }
        let partitions: Arc<[TopicPartition]> = partitions.into();
        let mailboxes: Vec<_> = self.shards.read().running.values().map(|handle| handle.mailbox.clone()).collect();
        for mailbox in mailboxes {
            // A shard that ended has no offsets.
            drop(mailbox.send(Request::PartitionsDeleted(Arc::clone(&partitions))).await);
        }
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
        let mut code = ErrorCode::None;
        let mut mailboxes = Vec::new();
        for handle in self.shards.read().running.values() {
            if handle.loading.load(Ordering::Acquire) {
                code = ErrorCode::CoordinatorLoadInProgress;
            } else {
                mailboxes.push(handle.mailbox.clone());
            }
        }
        let mut groups = Vec::new();
        for mailbox in mailboxes {
            let (reply, answer) = oneshot::channel();
            if mailbox.send(Request::List(reply)).await.is_ok() {
                groups.extend(answer.await.unwrap_or_default());
            }
        }
        (code, groups)
    }
}
