//! Owns the start of a term: reads everything, then brings every partition and replica into its proper state.
//! Kafka: `KafkaController.onControllerFailover`.
//!
//! The reads themselves arm the watches, so no change after a read is missed.

use super::channels::BrokerChannels;
use super::context::Leadership;
use super::diagnosis;
use super::replica_state::ReplicaState;
use super::restored;
use super::term::{Outcome, Term, TermError};
use crate::cluster::image::MetadataImage;
use crate::common::{BrokerId, TopicPartition};
use crate::zk::client::{CreateMode, Error};
use crate::zk::data::cluster::FeatureNode;
use crate::zk::{paths, startup, topics};
use std::time::Duration;
use tracing::{info, warn};

/// From the start of a term to the first check of the balance of leaderships.
const FIRST_REBALANCE: Duration = Duration::from_secs(5);

impl<C: BrokerChannels> Term<C> {
    /// `received` is the metadata that controllers have sent to this broker so far.
    pub(super) async fn fail_over(&mut self, received: &MetadataImage) -> Result<(), TermError> {
        self.enable_features().await?;
        self.drop_notifications(paths::LOG_DIR_EVENT_NOTIFICATION).await?;
        self.drop_notifications(paths::ISR_CHANGE_NOTIFICATION).await?;
        self.load().await?;
        self.write_overtaken(received).await?;
        self.queue_deletions_found().await?;
        // Brokers must know the live brokers before LeaderAndIsr names a leader.
        let all_brokers = self.context.broker_ids();
        self.send_metadata(&all_brokers, &[]);

        self.context.start_replica_states();
        let replicas = self.context.replicas_of(&self.context.partitions());
        let (online, offline): (Vec<_>, Vec<_>) =
            replicas.into_iter().partition(|(tp, broker)| self.context.is_online(*broker, tp));
        self.move_replicas(&online, ReplicaState::Online).await?;
        self.move_replicas(&offline, ReplicaState::Offline).await?;
        self.context.start_partition_states();
        self.elect_waiting().await?;
        // So far every replica was named up to three times: now this is merged into one request per broker.
        self.channels.open();
        info!(
            epoch = self.context.epoch.0,
            brokers = ?self.context.broker_ids(),
            topics = self.context.topic_names().len(),
            "ready to serve as the controller"
        );
        self.resume_all_reassignments().await?;
        self.resume_deletions().await?;
        self.preferred_replica_election().await?;
        self.schedule_rebalance(FIRST_REBALANCE);
        Ok(())
    }

    /// Writes to `/feature` that finalised features are enabled, and that there are none. Not fenced, as in Kafka.
    async fn enable_features(&self) -> Result<(), TermError> {
        let empty = FeatureNode::encode_empty();
        match self.zk.get(paths::FEATURE).await {
            Ok(node) => match FeatureNode::decode(node.data.as_deref()) {
                Ok(feature) if feature.enabled && (feature.version == 2 || !feature.names.is_empty()) => {}
                Ok(_) => drop(self.zk.set(paths::FEATURE, &empty, node.stat.version).await?),
                // Brokers that read it decide themselves; overwriting could lose features.
                Err(error) => warn!(%error, "feature node skipped"),
            },
            Err(Error::NoNode) => match self.zk.create(paths::FEATURE, Some(&empty), CreateMode::Persistent).await {
                Ok(_) | Err(Error::NodeExists) => {}
                Err(error) => return Err(error.into()),
            },
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Deletes notifications unread: everything that they could announce is about to be read. Arms for the next ones.
    async fn drop_notifications(&self, path: &str) -> Result<(), TermError> {
        let names = self.zk.children_watched(path, Some(&self.watcher)).await?;
        let nodes = names.into_iter().map(|name| format!("{path}/{name}")).collect();
        self.fence.sweep(&self.zk, nodes).await?;
        Ok(())
    }

    async fn load(&mut self) -> Result<(), TermError> {
        let names = self.zk.children_watched(paths::BROKER_IDS, Some(&self.watcher)).await?;
        for (broker, epoch) in startup::brokers_of(&self.zk, names, Some(&self.watcher)).await? {
            self.context.add_broker(broker, epoch);
        }
        let names = topics::names(&self.zk, Some(&self.watcher)).await?;
        self.load_topics(&names).await?;
        self.load_states(&self.context.partitions()).await?;
        for broker in self.context.brokers() {
            self.channels.add(broker);
        }
        Ok(())
    }

    /// Reads topics that are new to the context, arms for their changes, and returns their partitions. Topics without
    /// an id get one.
    pub(super) async fn load_topics(&mut self, names: &[impl AsRef<str>]) -> Result<Vec<TopicPartition>, TermError> {
        let read = topics::assignments(&self.zk, names, Some(&self.watcher)).await?;
        let (mut complete, mut without_id) = (read, Vec::new());
        complete.retain(|name, (topic, _)| {
            if topic.topic_id.is_none() {
                without_id.push(name.clone());
            }
            topic.topic_id.is_some()
        });
        complete.extend(self.give_ids(without_id).await?);
        let mut partitions = Vec::new();
        for (name, (topic, _)) in complete {
            self.context.add_topic(&name, topic.topic_id);
            for (id, assignment) in topic.partitions {
                let tp = TopicPartition::new(name.clone(), id);
                self.context.add_partition(&tp, assignment);
                partitions.push(tp);
            }
        }
        Ok(partitions)
    }

    /// Where ZooKeeper has lost states that the cluster had reached, writes the latest that was reported to this
    /// broker, before any decision is based on what was read: see [`restored`].
    async fn write_overtaken(&mut self, received: &MetadataImage) -> Result<(), TermError> {
        let overtaken = restored::overtaken(&self.context, received);
        if overtaken.is_empty() {
            return Ok(());
        }
        let names: Vec<TopicPartition> = overtaken.iter().map(|(tp, ..)| tp.clone()).collect();
        warn!(
            partitions = names.len(),
            examples = diagnosis::named(&names),
            "ZooKeeper's partition states are older than what this broker was told: it was restored from an older copy. \
             Writing the leaders and ISRs that were told, in new epochs"
        );
        for (tp, outcome) in self.write_states(overtaken).await? {
            match outcome {
                Outcome::Written(next, version) => {
                    if next.leader == BrokerId::NONE {
                        warn!(%tp, isr = ?next.isr, assigned = ?self.context.replicas(&tp), "its leader was no assigned replica");
                    }
                    self.absorb(&tp, next, version);
                }
                // Another client writes at the same time: the next term reads everything again.
                Outcome::Changed => return Err(Error::BadVersion.into()),
                Outcome::Failed(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn load_states(&mut self, partitions: &[TopicPartition]) -> Result<(), TermError> {
        for (tp, (state, version)) in topics::states(&self.zk, partitions).await? {
            let leadership = Leadership {
                leader_and_isr: state.leader_and_isr,
                partition_epoch: version,
                controller_epoch: state.controller_epoch,
            };
            self.context.set_leadership(&tp, leadership);
        }
        Ok(())
    }
}
