//! Owns the deletion of topics: waits for offline replicas, makes brokers delete theirs, then removes the znodes.
//! Kafka: `TopicDeletionManager`.
//!
//! ```text
//! /admin/delete_topics/T → partitions NonExistent, metadata "leader -2" → replicas Offline → DeletionStarted
//!   → every broker answers → DeletionSuccessful → /brokers/topics/T, /config/topics/T, /admin/delete_topics/T gone
//! ```
//! A replica whose broker is offline or whose deletion failed makes its topic ineligible until that broker returns. An
//! ongoing move ends with its topic. Kafka intends to wait for it, but does so only where the controller changes in
//! between: then forever, if the deletion has already taken the partition's leader offline.

use super::channels::BrokerChannels;
use super::context::Replica;
use super::partition_state::PartitionState;
use super::replica_state::ReplicaState;
use super::term::{Term, TermError};
use crate::zk::batch::FencedError;
use crate::zk::client::Error;
use crate::zk::paths;
use std::collections::BTreeSet;
use std::sync::Arc;
use tracing::{info, warn};

impl<C: BrokerChannels> Term<C> {
    /// At the start of a term: marked topics are still to be deleted.
    pub(super) async fn queue_deletions_found(&mut self) -> Result<(), TermError> {
        let found = self.zk.children_watched(paths::DELETE_TOPICS, Some(&self.watcher)).await?;
        if !self.settings.delete_topic_enable {
            return self.refuse_deletions(&found).await;
        }
        for name in found {
            let replicas = self.context.replicas_of_topic(&name);
            let waits = replicas.iter().any(|(tp, broker)| !self.context.is_online(*broker, tp));
            let name: Arc<str> = name.into();
            if waits {
                self.context.deletion_ineligible.insert(Arc::clone(&name));
            }
            self.context.to_delete.insert(name);
        }
        Ok(())
    }

    /// `/admin/delete_topics` has new children.
    pub(super) async fn topic_deletion(&mut self) -> Result<(), TermError> {
        let found = self.zk.children_watched(paths::DELETE_TOPICS, Some(&self.watcher)).await?;
        if !self.settings.delete_topic_enable {
            return self.refuse_deletions(&found).await;
        }
        let (known, unknown): (Vec<_>, Vec<_>) = found.into_iter().partition(|name| self.context.has_topic(name));
        if !unknown.is_empty() {
            warn!(topics = ?unknown, "deletion of topics that do not exist is ignored");
            self.refuse_deletions(&unknown).await?;
        }
        self.context.to_delete.extend(known.into_iter().map(Arc::from));
        self.resume_deletions().await
    }

    async fn refuse_deletions(&self, names: &[String]) -> Result<(), TermError> {
        let nodes = names.iter().map(|name| paths::delete_topic(name)).collect();
        self.fence.sweep(&self.zk, nodes).await?;
        Ok(())
    }

    /// Does the possible steps for every topic to delete.
    pub(super) async fn resume_deletions(&mut self) -> Result<(), TermError> {
        let mut begin = Vec::new();
        for topic in self.context.to_delete.clone() {
            match self.next_step(&topic) {
                Step::Wait => {}
                Step::Complete => self.complete(&topic).await?,
                Step::Begin { retry } => {
                    self.move_replicas(&retry, ReplicaState::Offline).await?;
                    begin.push(topic);
                }
            }
        }
        if begin.is_empty() { Ok(()) } else { self.begin_deletions(begin).await }
    }

    fn next_step(&self, topic: &Arc<str>) -> Step {
        let replicas = self.context.replicas_of_topic(topic);
        let is_in = |state| move |replica: &Replica| self.context.replica_state(replica) == state;
        if replicas.iter().all(is_in(ReplicaState::DeletionSuccessful)) {
            return Step::Complete;
        }
        let is_under_way = replicas.iter().any(is_in(ReplicaState::DeletionStarted));
        if is_under_way || self.context.deletion_ineligible.contains(topic) {
            return Step::Wait;
        }
        Step::Begin { retry: self.context.replicas_in_state(topic, ReplicaState::DeletionIneligible) }
    }

    async fn begin_deletions(&mut self, topics: Vec<Arc<str>>) -> Result<(), TermError> {
        info!(?topics, "deleting topics");
        for topic in &topics {
            if !self.context.deletion_started.contains(topic) {
                let partitions = self.context.partitions_of(topic);
                self.move_partitions(&partitions, PartitionState::Offline);
                self.move_partitions(&partitions, PartitionState::NonExistent);
                self.context.deletion_started.insert(Arc::clone(topic));
            }
        }
        // Brokers drop the topics from their metadata before the replicas are deleted.
        let all_brokers = self.context.broker_ids();
        let partitions: Vec<_> = topics.iter().flat_map(|topic| self.context.partitions_of(topic)).collect();
        self.send_metadata(&all_brokers, &partitions);

        let (mut dead, mut alive) = (Vec::new(), Vec::new());
        for topic in &topics {
            for replica in self.context.replicas_of_topic(topic) {
                if !self.context.is_online(replica.1, &replica.0) {
                    self.context.deletion_ineligible.insert(Arc::clone(topic));
                    dead.push(replica);
                } else if self.context.replica_state(&replica) != ReplicaState::DeletionSuccessful {
                    alive.push(replica);
                }
            }
        }
        dead.retain(|replica| self.context.replica_state(replica) != ReplicaState::DeletionIneligible);
        self.move_replicas(&dead, ReplicaState::DeletionIneligible).await?;
        self.move_replicas(&alive, ReplicaState::Offline).await?;
        self.move_replicas(&alive, ReplicaState::DeletionStarted).await
    }

    /// Brokers deleted these.
    pub(super) async fn complete_replicas(&mut self, replicas: Vec<Replica>) -> Result<(), TermError> {
        let leaving: Vec<Replica> =
            replicas.into_iter().filter(|(tp, _)| self.context.to_delete.contains(&tp.topic)).collect();
        self.move_replicas(&leaving, ReplicaState::DeletionSuccessful).await?;
        self.resume_deletions().await
    }

    /// These could not be deleted: their topics wait.
    pub(super) async fn fail_replicas(&mut self, replicas: Vec<Replica>) -> Result<(), TermError> {
        let failed: Vec<Replica> =
            replicas.into_iter().filter(|(tp, _)| self.context.to_delete.contains(&tp.topic)).collect();
        if failed.is_empty() {
            return Ok(());
        }
        let topics: BTreeSet<Arc<str>> = failed.iter().map(|(tp, _)| Arc::clone(&tp.topic)).collect();
        info!(?topics, "deletion waits for replicas that are away or could not be deleted");
        self.move_replicas(&failed, ReplicaState::DeletionIneligible).await?;
        self.context.deletion_ineligible.extend(topics);
        self.resume_deletions().await
    }

    /// A broker is back: topics that waited for replicas on it may be deleted.
    pub(super) async fn retry_deletions(&mut self, topics: BTreeSet<Arc<str>>) -> Result<(), TermError> {
        if topics.is_empty() {
            return Ok(());
        }
        self.context.deletion_ineligible.retain(|topic| !topics.contains(topic));
        self.resume_deletions().await
    }

    /// All replicas are deleted: now the znodes, the deletion mark last, so that the next controller resumes after a
    /// failure here.
    async fn complete(&mut self, topic: &Arc<str>) -> Result<(), TermError> {
        let replicas = self.context.replicas_of_topic(topic);
        self.move_replicas(&replicas, ReplicaState::NonExistent).await?;
        let partitions = paths::partitions(topic);
        let below: Vec<String> =
            self.children_or_none(&partitions).await?.into_iter().map(|name| format!("{partitions}/{name}")).collect();
        let mut expected: Vec<String> = below.into_iter().flat_map(|node| [format!("{node}/state"), node]).collect();
        expected.extend([partitions, paths::topic(topic)]);
        match self.fence.delete_all(&self.zk, expected).await {
            // Children are listed one by one only where there are other nodes too.
            Err(FencedError::Zk(Error::NotEmpty)) => {
                let mut nodes = vec![paths::topic(topic)];
                let mut asked = 0;
                while let Some(node) = nodes.get(asked).cloned() {
                    let children = self.children_or_none(&node).await?;
                    nodes.extend(children.into_iter().map(|child| format!("{node}/{child}")));
                    asked += 1;
                }
                nodes.reverse();
                self.fence.delete_all(&self.zk, nodes).await?;
            }
            other => other?,
        }
        self.fence.sweep(&self.zk, vec![paths::topic_config(topic), paths::delete_topic(topic)]).await?;
        if self.context.reassigning.iter().any(|tp| tp.topic == *topic) {
            // Kafka leaves the entry, and with it the node, which blocks the next move until the controller changes.
            self.take_from_admin_node(|tp, _| tp.topic == *topic).await?;
        }
        self.context.remove_topic(topic);
        info!(%topic, "topic deleted");
        Ok(())
    }

    async fn children_or_none(&self, path: &str) -> Result<Vec<String>, TermError> {
        match self.zk.children(path).await {
            Err(Error::NoNode) => Ok(Vec::new()),
            other => Ok(other?),
        }
    }
}

/// The next step for a topic to delete.
enum Step {
    /// Brokers are deleting, or a replica is offline.
    Wait,
    /// All its replicas are deleted.
    Complete,
    /// Nothing is in progress; `retry` are the replicas that failed before.
    Begin { retry: Vec<Replica> },
}
