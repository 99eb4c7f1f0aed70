//! Owns the active controller's handling of changes in ZooKeeper and answers of brokers. Kafka: the `process…` methods
//! of `KafkaController`.

use super::channels::BrokerChannels;
use super::context::Replica;
use super::events::Answer;
use super::partition_state::PartitionState;
use super::replica_state::ReplicaState;
use super::term::{Term, TermError};
use crate::common::{BrokerEpoch, BrokerId, ErrorCode, TopicPartition, Uuid};
use crate::protocol::messages::{LeaderAndIsrResponse, StopReplicaRequest, StopReplicaResponse};
use crate::zk::client::{Error, Write, Written};
use crate::zk::data::broker::BrokerRegistration;
use crate::zk::data::controller as lists;
use crate::zk::data::topic::TopicAssignment;
use crate::zk::watch::{Change, WatchEvent};
use crate::zk::{paths, startup, topics};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use tracing::{debug, error, info, warn};

impl<C: BrokerChannels> Term<C> {
    /// Processes one change in ZooKeeper. The reads of each handler re-arm its watch.
    pub(super) async fn on_change(&mut self, event: WatchEvent) -> Result<(), TermError> {
        let WatchEvent { change, path } = event;
        match (change, path.as_str()) {
            (Change::Children, paths::BROKER_IDS) => self.broker_change().await,
            (Change::Children, paths::TOPICS) => self.topic_change().await,
            (Change::Children, paths::DELETE_TOPICS) => self.topic_deletion().await,
            (Change::Children, paths::ISR_CHANGE_NOTIFICATION) => self.isr_change_notification().await,
            (Change::Children, paths::LOG_DIR_EVENT_NOTIFICATION) => self.log_dir_event_notification().await,
            (_, paths::PREFERRED_REPLICA_ELECTION) => self.preferred_replica_election().await,
            (_, paths::REASSIGN_PARTITIONS) => self.admin_reassignment().await.map(drop),
            (Change::Data, _) => match (path.strip_prefix("/brokers/ids/"), path.strip_prefix("/brokers/topics/")) {
                (Some(id), _) => match id.parse() {
                    Ok(id) => self.broker_modification(BrokerId(id)).await,
                    Err(_) => Ok(()),
                },
                (_, Some(topic)) => self.partition_modifications(topic).await,
                _ => Ok(()),
            },
            // The watch on the parent's children reports created and deleted nodes.
            _ => Ok(()),
        }
    }

    pub(super) async fn on_answer(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
        answer: Answer,
    ) -> Result<(), TermError> {
        // Requests to an earlier registration were repeated to the current one: only the answer to those counts. In
        // Kafka a late error makes a deletion wait for one more restart of the broker.
        if self.context.broker(broker).is_none_or(|known| known.epoch != epoch) {
            debug!(broker = broker.0, epoch = epoch.0, "answer of an earlier life");
            return Ok(());
        }
        if answer.error_code() == ErrorCode::StaleControllerEpoch {
            self.confirm_term(broker).await?;
        }
        match answer {
            Answer::LeaderAndIsr(response) => self.leader_and_isr_answered(broker, response).await,
            Answer::UpdateMetadata(response) => {
                if response.error_code != 0 {
                    let code = ErrorCode::from_wire(response.error_code);
                    error!(broker = broker.0, %code, "UpdateMetadata refused");
                }
                Ok(())
            }
            Answer::StopReplica { asked, answer } => self.stop_replica_answered(broker, &asked, &answer).await,
        }
    }

    /// A broker knows a later controller: either that is the controller now, or ZooKeeper has lost it and another
    /// broker has raised the epoch since. All our writes are refused then; here we notice without a write.
    async fn confirm_term(&self, broker: BrokerId) -> Result<(), TermError> {
        let stands = self.zk.exists(paths::CONTROLLER_EPOCH).await?;
        if stands.as_ref().map(|stat| stat.version) == Some(self.fence.version) {
            return Ok(());
        }
        info!(broker = broker.0, epoch = self.context.epoch.0, "refused as an old controller, and ZooKeeper agrees");
        Err(TermError::Moved)
    }

    // Brokers

    async fn broker_change(&mut self) -> Result<(), TermError> {
        let names = self.zk.children_watched(paths::BROKER_IDS, Some(&self.watcher)).await?;
        let registered = startup::brokers_of(&self.zk, names.clone(), Some(&self.watcher)).await?;
        let (mut new, mut bounced) = (Vec::new(), Vec::new());
        for (broker, epoch) in registered {
            match self.context.broker(broker.id).map(|known| known.epoch) {
                None => new.push((broker, epoch)),
                Some(known) if epoch > known => bounced.push((broker, epoch)),
                Some(_) => {}
            }
        }
        // By the names, not by the readable nodes: a registration that becomes unreadable does not mean a dead broker.
        let listed: BTreeSet<BrokerId> = names.iter().filter_map(|name| name.parse().ok().map(BrokerId)).collect();
        let dead: Vec<BrokerId> = self.context.broker_ids().into_iter().filter(|id| !listed.contains(id)).collect();
        let shown =
            |brokers: &[(BrokerRegistration, BrokerEpoch)]| brokers.iter().map(|(b, _)| b.id.0).collect::<Vec<_>>();
        info!(new = ?shown(&new), bounced = ?shown(&bounced), dead = ?dead, "brokers changed");

        for id in dead.iter().copied().chain(bounced.iter().map(|(broker, _)| broker.id)) {
            self.channels.remove(id);
        }
        if !new.is_empty() {
            self.start_brokers(new).await?;
        }
        if !bounced.is_empty() {
            let ids: Vec<BrokerId> = bounced.iter().map(|(broker, _)| broker.id).collect();
            self.fail_brokers(&ids).await?;
            self.start_brokers(bounced).await?;
        }
        if !dead.is_empty() {
            self.fail_brokers(&dead).await?;
        }
        Ok(())
    }

    async fn start_brokers(&mut self, brokers: Vec<(BrokerRegistration, BrokerEpoch)>) -> Result<(), TermError> {
        let existing = self.context.broker_ids();
        let ids: Vec<BrokerId> = brokers.iter().map(|(broker, _)| broker.id).collect();
        for (broker, epoch) in brokers {
            let id = broker.id;
            self.context.forget_offline_dirs(id);
            self.context.add_broker(broker, epoch);
            if let Some(broker) = self.context.broker(id) {
                self.channels.add(broker);
            }
        }
        self.send_metadata(&existing, &[]);
        // New brokers get the whole metadata before they get leaderships.
        let partitions = self.context.with_leadership();
        self.send_metadata(&ids, &partitions);
        let replicas: Vec<Replica> = ids.iter().flat_map(|id| self.context.replicas_on(*id)).collect();
        let (leaving, staying): (Vec<_>, Vec<_>) =
            replicas.into_iter().partition(|replica| self.is_deletion_under_way(replica));
        self.move_replicas(&staying, ReplicaState::Online).await?;
        self.elect_waiting().await?;
        self.resume_reassignments_to(&ids).await?;
        let waiting = leaving.iter().chain(&staying).map(|(tp, _)| Arc::clone(&tp.topic));
        let waiting = waiting.filter(|topic| self.context.to_delete.contains(topic)).collect();
        self.retry_deletions(waiting).await
    }

    /// Such a replica cannot become online again.
    fn is_deletion_under_way(&self, replica: &Replica) -> bool {
        !ReplicaState::Online.may_follow(self.context.replica_state(replica))
    }

    async fn fail_brokers(&mut self, ids: &[BrokerId]) -> Result<(), TermError> {
        for id in ids {
            self.context.remove_broker(*id);
            self.context.forget_offline_dirs(*id);
        }
        let replicas = ids.iter().flat_map(|id| self.context.replicas_on(*id)).collect();
        self.replicas_lost(replicas).await
    }

    /// These replicas were lost with their brokers or directories.
    async fn replicas_lost(&mut self, replicas: Vec<Replica>) -> Result<(), TermError> {
        let (leaving, staying): (Vec<_>, Vec<_>) =
            replicas.into_iter().partition(|(tp, _)| self.context.to_delete.contains(&tp.topic));
        let leaderless = self.context.with_offline_leader();
        self.move_partitions(&leaderless, PartitionState::Offline);
        let elected = self.elect_waiting().await?;
        self.move_replicas(&staying, ReplicaState::Offline).await?;
        self.fail_replicas(leaving).await?;
        if staying.is_empty() && elected == 0 {
            // No other request has informed the brokers that one is gone.
            let all_brokers = self.context.broker_ids();
            self.send_metadata(&all_brokers, &[]);
        }
        Ok(())
    }

    async fn broker_modification(&mut self, id: BrokerId) -> Result<(), TermError> {
        let node = match self.zk.get_watched(&paths::broker(id), Some(&self.watcher)).await {
            Ok(node) => node,
            Err(Error::NoNode) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let read = match BrokerRegistration::decode(id, node.data.as_deref()) {
            Ok(read) => read,
            Err(error) => {
                warn!(broker = id.0, %error, "registration skipped");
                return Ok(());
            }
        };
        let Some(known) = self.context.broker(id) else { return Ok(()) };
        // A different epoch is a new registration: the watch on the parent's children reports it.
        let epoch = known.epoch;
        if epoch.0 != node.stat.czxid
            || (known.registration.endpoints == read.endpoints && known.registration.features == read.features)
        {
            return Ok(());
        }
        info!(broker = id.0, endpoints = ?read.endpoints, "broker changed its endpoints");
        self.context.add_broker(read, epoch);
        let all_brokers = self.context.broker_ids();
        self.send_metadata(&all_brokers, &[]);
        Ok(())
    }

    // Topics

    async fn topic_change(&mut self) -> Result<(), TermError> {
        let names = topics::names(&self.zk, Some(&self.watcher)).await?;
        let listed: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let gone: Vec<Arc<str>> =
            self.context.topic_names().into_iter().filter(|name| !listed.contains(&**name)).collect();
        gone.iter().for_each(|name| self.context.remove_topic(name));
        let new: Vec<&String> = names.iter().filter(|name| !self.context.has_topic(name)).collect();
        let partitions = self.load_topics(&new).await?;
        if !new.is_empty() || !gone.is_empty() {
            info!(?new, ?gone, "topics changed");
        }
        self.create_partitions(&partitions).await
    }

    /// Brings newly assigned partitions online.
    async fn create_partitions(&mut self, partitions: &[TopicPartition]) -> Result<(), TermError> {
        let replicas = self.context.replicas_of(partitions);
        self.move_partitions(partitions, PartitionState::New);
        self.move_replicas(&replicas, ReplicaState::New).await?;
        self.elect_offline(partitions).await?;
        self.move_replicas(&replicas, ReplicaState::Online).await
    }

    /// A topic's znode changed. Only unknown partitions and a missing id matter here.
    async fn partition_modifications(&mut self, name: &str) -> Result<(), TermError> {
        if !self.context.has_topic(name) {
            // It was unreadable when it was created, and may be readable now.
            return self.topic_change().await;
        }
        let mut read = topics::assignments(&self.zk, &[name], Some(&self.watcher)).await?;
        let Some((name, (topic, version))) = read.pop_first() else { return Ok(()) };
        let known_id = self.context.topic_id(&name);
        if topic.topic_id.is_none() && known_id.is_some() && !self.context.to_delete.contains(&name) {
            // Tools from before Kafka 2.8 rewrite the node without it. In Kafka the next controller generates another,
            // and every broker then refuses the topic.
            warn!(topic = %name, id = ?known_id, "the topic's id was removed and is written back");
            let whole = TopicAssignment { topic_id: known_id, ..topic.clone() };
            let set = Write::Set { path: paths::topic(&name), data: whole.encode(), version };
            match self.fence.write(&self.zk, set).await? {
                Ok(_) => {}
                // The change in between fires the watch again.
                Err(Error::BadVersion | Error::NoNode) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        let (known, new): (Vec<_>, Vec<_>) = topic
            .partitions
            .into_iter()
            .map(|(id, assignment)| (TopicPartition::new(Arc::clone(&name), id), assignment))
            .partition(|(tp, _)| self.context.has_partition(tp));
        if new.is_empty() {
            return Ok(());
        }
        if self.context.to_delete.contains(&name) {
            warn!(topic = %name, "partitions added to a topic that is being deleted are taken back");
            let partitions = known.into_iter().map(|(tp, assignment)| (tp.partition, assignment)).collect();
            let restored = TopicAssignment { topic_id: topic.topic_id, partitions };
            let set = Write::Set { path: paths::topic(&name), data: restored.encode(), version };
            // A conflict fires the watch again.
            return match self.fence.write(&self.zk, set).await? {
                Ok(_) | Err(Error::BadVersion | Error::NoNode) => Ok(()),
                Err(error) => Err(error.into()),
            };
        }
        let partitions: Vec<TopicPartition> = new.iter().map(|(tp, _)| tp.clone()).collect();
        info!(?partitions, "partitions added");
        for (tp, assignment) in new {
            self.context.add_partition(&tp, assignment);
        }
        self.create_partitions(&partitions).await
    }

    /// Adds ids to topics that were created without. Conditional on the version that was read, so that nothing is lost.
    pub(super) async fn give_ids(
        &self,
        mut names: Vec<Arc<str>>,
    ) -> Result<Vec<(Arc<str>, (TopicAssignment, i32))>, TermError> {
        let mut out = Vec::new();
        while !names.is_empty() {
            let mut read = Vec::new();
            for (name, (mut topic, version)) in topics::assignments(&self.zk, &names, Some(&self.watcher)).await? {
                if topic.topic_id.is_some() {
                    out.push((name, (topic, version)));
                } else {
                    topic.topic_id = Some(Uuid::random());
                    read.push((name, topic, version));
                }
            }
            let writes = read
                .iter()
                .map(|(name, topic, version)| Write::Set {
                    path: paths::topic(name),
                    data: topic.encode(),
                    version: *version,
                })
                .collect();
            names.clear();
            for ((name, topic, _), result) in read.into_iter().zip(self.fence.write_all(&self.zk, writes).await?) {
                match result {
                    Ok(Written::Set(stat)) => out.push((name, (topic, stat.version))),
                    Err(Error::BadVersion) => names.push(name),
                    Err(Error::NoNode) => {}
                    Ok(_) => return Err(Error::Unreadable.into()),
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(out)
    }

    // Notifications

    /// Brokers with an older inter-broker protocol changed ISRs directly in ZooKeeper.
    async fn isr_change_notification(&mut self) -> Result<(), TermError> {
        let nodes = self.notifications(paths::ISR_CHANGE_NOTIFICATION).await?;
        let mut partitions = BTreeSet::new();
        for (node, read) in nodes.iter().zip(self.zk.get_all(&nodes, None).await?) {
            match read.map(|found| lists::decode_partitions(found.data.as_deref())) {
                Ok(Ok(named)) => partitions.extend(named),
                Ok(Err(error)) => warn!(node, %error, "ISR notification skipped"),
                Err(Error::NoAuth) => warn!(node, "ISR notification not readable"),
                Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let partitions: Vec<TopicPartition> =
            partitions.into_iter().filter(|tp| self.context.has_partition(tp)).collect();
        for (tp, (state, version)) in topics::states(&self.zk, &partitions).await? {
            let leadership = super::context::Leadership {
                leader_and_isr: state.leader_and_isr,
                partition_epoch: version,
                controller_epoch: state.controller_epoch,
            };
            self.context.set_leadership(&tp, leadership);
        }
        let all_brokers = self.context.broker_ids();
        self.send_metadata(&all_brokers, &partitions);
        self.complete_reassignments(&partitions).await?;
        self.fence.sweep(&self.zk, nodes).await?;
        Ok(())
    }

    /// Brokers lost log directories: a LeaderAndIsr of all their replicas shows which replicas are offline.
    async fn log_dir_event_notification(&mut self) -> Result<(), TermError> {
        let nodes = self.notifications(paths::LOG_DIR_EVENT_NOTIFICATION).await?;
        let mut brokers = BTreeSet::new();
        for (node, read) in nodes.iter().zip(self.zk.get_all(&nodes, None).await?) {
            match read.map(|found| lists::decode_log_dir_event(found.data.as_deref())) {
                Ok(Ok(broker)) => {
                    brokers.insert(broker);
                }
                Ok(Err(error)) => warn!(node, %error, "log directory event skipped"),
                Err(Error::NoAuth) => warn!(node, "log directory event not readable"),
                Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let replicas: Vec<Replica> = brokers.iter().flat_map(|id| self.context.replicas_on(*id)).collect();
        self.move_replicas(&replicas, ReplicaState::Online).await?;
        self.fence.sweep(&self.zk, nodes).await?;
        Ok(())
    }

    async fn notifications(&self, directory: &str) -> Result<Vec<String>, TermError> {
        let mut names = self.zk.children_watched(directory, Some(&self.watcher)).await?;
        names.sort_unstable();
        Ok(names.into_iter().map(|name| format!("{directory}/{name}")).collect())
    }

    // Answers

    async fn leader_and_isr_answered(
        &mut self,
        broker: BrokerId,
        response: LeaderAndIsrResponse,
    ) -> Result<(), TermError> {
        if response.error_code != 0 {
            let code = ErrorCode::from_wire(response.error_code);
            error!(broker = broker.0, %code, "LeaderAndIsr refused");
            return Ok(());
        }
        let (mut online, mut offline) = (Vec::new(), Vec::new());
        for topic in &response.topics {
            let Some(name) = self.context.topic_name(topic.topic_id) else { continue };
            for partition in &topic.partition_errors {
                let tp = TopicPartition::new(Arc::clone(name), partition.partition_index);
                match ErrorCode::from_wire(partition.error_code) {
                    ErrorCode::None => online.push(tp),
                    // In Kafka a replica whose log belongs to an earlier topic of that name counts as served.
                    ErrorCode::KafkaStorageError | ErrorCode::InconsistentTopicId => offline.push(tp),
                    // The broker already has this epoch, or a newer one from a later request.
                    ErrorCode::StaleControllerEpoch => {}
                    code => warn!(%tp, broker = broker.0, %code, "LeaderAndIsr refused for a partition"),
                }
            }
        }
        let (found, lost) = self.context.absorb_dir_states(broker, &online, offline);
        if !found.is_empty() {
            // In Kafka a directory never comes back; here one that was full can.
            info!(broker = broker.0, partitions = ?found, "replicas have a log again");
        }
        if lost.is_empty() {
            return if found.is_empty() { Ok(()) } else { self.elect_waiting().await.map(drop) };
        }
        info!(broker = broker.0, partitions = ?lost, "replicas in failed log directories");
        self.replicas_lost(lost.into_iter().map(|tp| (tp, broker)).collect()).await
    }

    /// Only replicas of topics to be deleted matter.
    async fn stop_replica_answered(
        &mut self,
        broker: BrokerId,
        asked: &StopReplicaRequest,
        answer: &StopReplicaResponse,
    ) -> Result<(), TermError> {
        let to_delete: HashSet<(&str, i32)> = asked
            .topic_states
            .iter()
            .flat_map(|topic| topic.partition_states.iter().map(|p| (&*topic.topic_name, p)))
            .filter_map(|(topic, p)| p.delete_partition.then_some((topic, p.partition_index)))
            .collect();
        let (mut done, mut failed) = (Vec::new(), Vec::new());
        for partition in &answer.partition_errors {
            let topic: &str = &partition.topic_name;
            if !self.context.deletion_started.contains(topic)
                || !to_delete.contains(&(topic, partition.partition_index))
            {
                continue;
            }
            let replica = (TopicPartition::new(topic, partition.partition_index), broker);
            if self.context.replica_state(&replica) != ReplicaState::DeletionStarted {
                continue;
            }
            if answer.error_code == 0 && partition.error_code == 0 {
                done.push(replica);
            } else {
                let code =
                    ErrorCode::from_wire(if answer.error_code == 0 { partition.error_code } else { answer.error_code });
                warn!(tp = %replica.0, broker = broker.0, %code, "replica not deleted");
                failed.push(replica);
            }
        }
        self.fail_replicas(failed).await?;
        if done.is_empty() { Ok(()) } else { self.complete_replicas(done).await }
    }
}
