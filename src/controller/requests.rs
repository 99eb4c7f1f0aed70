//! Owns the active controller's handling of requests: ISR changes, elections, controlled shutdown, producer
//! ids. Kafka: `processAlterPartition`, `processReplicaLeaderElection`, `processControlledShutdown`,
//! `processAllocateProducerIds` of `KafkaController`.
//!
//! An error that ends the term drops the reply: the caller learns that this is not the controller, and retries with the
//! next one.

use super::LatestBlock;
use super::batch::BatchBuilder;
use super::channels::BrokerChannels;
use super::context::{Leadership, Replica};
use super::election::Strategy;
use super::events::{ControlledShutdownError, ElectionKind, ElectionResults, ProducerIdsError, Question};
use super::isr_updates::{self, Outcomes, Proposals, Verdict};
use super::rebalance;
use super::replica_state::ReplicaState;
use super::term::{ElectError, Outcome, Term, TermError};
use crate::common::{BrokerEpoch, BrokerId, ErrorCode, TopicPartition};
use crate::protocol::messages::{AlterPartitionRequest, AlterPartitionResponse};
use crate::util::unless_gone;
use crate::zk::client::{Error, MultiError};
use crate::zk::data::controller::{self as data, ProducerIdBlock};
use crate::zk::paths;
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

/// Replies to a caller that may have gone.
fn answer<A>(reply: oneshot::Sender<A>, answer: A) {
    unless_gone(reply.send(answer));
}

impl<C: BrokerChannels> Term<C> {
    pub(super) async fn on_question(&mut self, question: Question) -> Result<(), TermError> {
        match question {
            Question::AlterPartition { request, version, reply } => {
                let response = self.alter_partition(&request, version).await?;
                answer(reply, response);
                if !self.context.reassigning.is_empty() {
                    let named = Proposals::read(&self.context, &request, version).known.into_keys();
                    self.complete_reassignments(&named.collect::<Vec<_>>()).await?;
                }
            }
            Question::AllocateProducerIds { broker, epoch, reply } => {
                answer(reply, self.allocate_producer_ids(broker, epoch).await?);
            }
            Question::ControlledShutdown { broker, epoch, reply } => {
                answer(reply, self.controlled_shutdown(broker, epoch).await?);
            }
            Question::AlterReassignments { targets, reply } => {
                answer(reply, self.alter_reassignments(targets).await?);
            }
            Question::ListReassignments { asked, reply } => answer(reply, self.list_reassignments(asked)),
            Question::ElectLeaders { partitions, kind, reply } => {
                answer(reply, self.elect_leaders(partitions, kind, true).await?);
            }
        }
        Ok(())
    }

    // ISR changes

    async fn alter_partition(
        &mut self,
        request: &AlterPartitionRequest,
        version: i16,
    ) -> Result<AlterPartitionResponse, TermError> {
        let (broker, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
        let known = self.context.broker(broker).map(|broker| broker.epoch);
        if known != Some(epoch) {
            info!(broker = broker.0, epoch = epoch.0, ?known, "ISR changes of an unknown or restarted broker");
            let error_code = ErrorCode::StaleBrokerEpoch.wire();
            return Ok(AlterPartitionResponse { error_code, ..Default::default() });
        }
        let proposals = Proposals::read(&self.context, request, version);
        let outcomes = self.change_isrs(&proposals, version).await?;
        // Leaders get the answer; their followers and all other brokers learn of it this way.
        let all_brokers = self.context.broker_ids();
        let named: Vec<TopicPartition> = proposals.known.keys().cloned().collect();
        self.send_metadata(&all_brokers, &named);
        Ok(proposals.answer(&self.context, &outcomes, version))
    }

    async fn change_isrs(&mut self, proposals: &Proposals, version: i16) -> Result<Outcomes, TermError> {
        let judged = |term: &Self, tp: &TopicPartition| {
            let proposal = proposals.known.get(tp)?;
            Some(isr_updates::judge(&term.context, tp, proposal, version))
        };
        let newer: Vec<TopicPartition> =
            proposals.known.keys().filter(|tp| judged(self, tp) == Some(Verdict::Newer)).cloned().collect();
        self.refresh(&newer).await?;
        let mut outcomes = Outcomes::new();
        let mut decided = Vec::new();
        for tp in proposals.known.keys() {
            let outcome = match judged(self, tp) {
                Some(Verdict::Write(next, version)) => {
                    decided.push((tp.clone(), next, version));
                    continue;
                }
                Some(Verdict::Stands) => self.context.leadership(tp).cloned().ok_or(ErrorCode::UnknownTopicOrPartition),
                // ZooKeeper, as far as we can trust it, does not have it either: another broker is the controller.
                Some(Verdict::Newer) | None => Err(ErrorCode::NotController),
                Some(Verdict::Refused(code)) => {
                    info!(%tp, %code, "ISR change refused");
                    Err(code)
                }
            };
            outcomes.insert(tp.clone(), outcome);
        }
        let wanted = decided.clone();
        let mut changed = Vec::new();
        for ((tp, next, over), (_, outcome)) in wanted.into_iter().zip(self.write_states(decided).await?) {
            let outcome = match outcome {
                Outcome::Written(next, version) => {
                    debug!(%tp, isr = ?next.isr, version, "ISR changed");
                    self.absorb(&tp, next, version);
                    self.context.leadership(&tp).cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
                }
                Outcome::Changed => {
                    changed.push((tp, next, over));
                    continue;
                }
                Outcome::Failed(error) => {
                    warn!(%tp, %error, "cannot write the ISR");
                    Err(ErrorCode::UnknownServerError)
                }
            };
            outcomes.insert(tp, outcome);
        }
        let conflicting: Vec<TopicPartition> = changed.iter().map(|(tp, ..)| tp.clone()).collect();
        self.refresh(&conflicting).await?;
        for (tp, next, over) in changed {
            // Our own write took effect, and its answer was lost. The leader must not be left waiting for it.
            let outcome = match self.context.leadership(&tp) {
                Some(known) if known.leader_and_isr == next && known.partition_epoch == over + 1 => Ok(known.clone()),
                known => {
                    info!(%tp, isr = ?next.isr, ?known, "ISR change lost against another");
                    Err(ErrorCode::InvalidUpdateVersion)
                }
            };
            outcomes.insert(tp, outcome);
        }
        Ok(outcomes)
    }

    /// Adopts the state in ZooKeeper.
    pub(super) async fn refresh(&mut self, partitions: &[TopicPartition]) -> Result<(), TermError> {
        for (tp, (state, partition_epoch)) in self.read_states(partitions).await? {
            let (leader_and_isr, controller_epoch) = (state.leader_and_isr, state.controller_epoch);
            self.context.set_leadership(&tp, Leadership { leader_and_isr, partition_epoch, controller_epoch });
        }
        Ok(())
    }

    // Producer ids

    /// Allocates the next block for a broker. Not fenced, as in Kafka: the node's version decides.
    async fn allocate_producer_ids(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<Result<ProducerIdBlock, ProducerIdsError>, TermError> {
        match self.context.broker(broker).map(|broker| broker.epoch) {
            None => return Ok(Err(ProducerIdsError::NotRegistered)),
            Some(known) if known != epoch => return Ok(Err(ProducerIdsError::StaleEpoch)),
            Some(_) => {}
        }
        loop {
            let latest = LatestBlock::read(&self.zk).await?;
            let block = match &latest.block {
                Ok(block) => ProducerIdBlock::next(*block, broker),
                Err(error) => {
                    warn!(path = paths::LATEST_PRODUCER_ID_BLOCK, %error, "no producer ids");
                    None
                }
            };
            let Some(block) = block else { return Ok(Err(ProducerIdsError::NoBlock)) };
            match self.zk.multi(&[latest.followed_by(&block)]).await {
                Ok(_) => {
                    info!(broker = broker.0, first = block.first, last = block.last, "producer ids given out");
                    return Ok(Ok(block));
                }
                // An older broker allocated one itself, or our own answer was lost: that block is lost.
                Err(MultiError::Operation { error: Error::BadVersion | Error::NodeExists, .. }) => {}
                Err(error) => return Err(Error::from(error).into()),
            }
        }
    }

    // Controlled shutdown

    /// Moves a broker's leaderships to others and removes it from the ISRs. Returns the partitions that it still leads
    /// and others could.
    async fn controlled_shutdown(
        &mut self,
        broker: BrokerId,
        epoch: BrokerEpoch,
    ) -> Result<Result<Vec<TopicPartition>, ControlledShutdownError>, TermError> {
        match self.context.broker(broker).map(|broker| broker.epoch) {
            None => return Ok(Err(ControlledShutdownError::NotRegistered { names_epoch: epoch.0 >= 0 })),
            Some(known) if epoch.0 >= 0 && epoch < known => return Ok(Err(ControlledShutdownError::StaleEpoch)),
            Some(_) => {}
        }
        info!(broker = broker.0, "controlled shutdown");
        self.context.begin_shutdown(broker);
        let movable = |(tp, _): &Replica| {
            self.context.replicas(tp).len() > 1
                && self.context.leadership(tp).is_some()
                && !self.context.to_delete.contains(&tp.topic)
        };
        let replicas: Vec<Replica> = self.context.replicas_on(broker).into_iter().filter(movable).collect();
        let leads =
            |(tp, _): &Replica| self.context.leadership(tp).is_some_and(|known| known.leader_and_isr.leader == broker);
        let (led, followed): (Vec<_>, Vec<_>) = replicas.into_iter().partition(leads);
        let led: Vec<TopicPartition> = led.into_iter().map(|(tp, _)| tp).collect();
        self.bring_online(&led, Strategy::ControlledShutdown).await?;
        // Followers stop fetching before their leaders learn that they are gone.
        let mut batch = BatchBuilder::default();
        for (tp, _) in &followed {
            batch.stop_replica(&self.context, broker, tp, false);
        }
        self.send(batch);
        self.move_replicas(&followed, ReplicaState::Offline).await?;
        Ok(Ok(self.context.led_by(broker)))
    }

    // Elections

    /// Elects leaders for those of `partitions` that need one by `kind`. Only an administrator may request an unclean
    /// election.
    pub(super) async fn elect_leaders(
        &mut self,
        partitions: Vec<TopicPartition>,
        kind: ElectionKind,
        by_admin: bool,
    ) -> Result<ElectionResults, TermError> {
        let mut results = ElectionResults::new();
        let mut electable = Vec::new();
        for tp in partitions {
            let refusal = if !self.context.has_partition(&tp) {
                (ErrorCode::UnknownTopicOrPartition, Some("The partition does not exist.".to_owned()))
            } else if self.context.to_delete.contains(&tp.topic) {
                (ErrorCode::InvalidTopicException, Some("The topic is being deleted".to_owned()))
            } else if !self.needs_election(&tp, kind) {
                (ErrorCode::ElectionNotNeeded, Some(ErrorCode::ElectionNotNeeded.message().to_owned()))
            } else {
                electable.push(tp);
                continue;
            };
            results.insert(tp, Err(refusal));
        }
        info!(?kind, partitions = ?electable, by_admin, "electing leaders");
        let strategy = match kind {
            ElectionKind::Preferred => Strategy::Preferred,
            ElectionKind::Unclean => Strategy::Offline { allow_unclean: by_admin },
        };
        for (tp, outcome) in self.bring_online(&electable, strategy).await? {
            let result = match outcome {
                Ok(next) => Ok(next.leader),
                Err(ElectError::StateChange(text)) => {
                    let code = match kind {
                        ElectionKind::Preferred => ErrorCode::PreferredLeaderNotAvailable,
                        ElectionKind::Unclean => ErrorCode::EligibleLeadersNotAvailable,
                    };
                    Err((code, Some(text)))
                }
                Err(ElectError::Zk(error)) => Err((ErrorCode::UnknownServerError, Some(error.to_string()))),
            };
            results.insert(tp, result);
        }
        Ok(results)
    }

    fn needs_election(&self, tp: &TopicPartition, kind: ElectionKind) -> bool {
        let Some(leader) = self.context.leadership(tp).map(|known| known.leader_and_isr.leader) else { return true };
        match kind {
            ElectionKind::Preferred => self.context.replicas(tp).first() != Some(&leader),
            ElectionKind::Unclean => !self.context.is_live(leader),
        }
    }

    /// Processes `/admin/preferred_replica_election`, and arms for the next one. The node is deleted whatever the
    /// outcome.
    pub(super) async fn preferred_replica_election(&mut self) -> Result<(), TermError> {
        let path = paths::PREFERRED_REPLICA_ELECTION;
        while self.zk.exists_watched(path, Some(&self.watcher)).await?.is_some() {
            let partitions = match self.zk.get(path).await {
                Ok(node) => data::decode_partitions(node.data.as_deref()).unwrap_or_else(|error| {
                    warn!(path, %error, "preferred election skipped");
                    Vec::new()
                }),
                Err(Error::NoNode) => continue,
                Err(error) => return Err(error.into()),
            };
            let results = self.elect_leaders(partitions, ElectionKind::Preferred, false).await?;
            for (tp, result) in results {
                match result {
                    Err((code, _)) if code != ErrorCode::ElectionNotNeeded => {
                        warn!(%tp, %code, "preferred replica not elected");
                    }
                    _ => {}
                }
            }
            if !self.fence.sweep(&self.zk, vec![path.to_owned()]).await? {
                break;
            }
        }
        Ok(())
    }

    /// Moves leaderships back to brokers that lead too few of their preferred partitions.
    pub(super) async fn rebalance_leaders(&mut self) -> Result<(), TermError> {
        let candidates = rebalance::candidates(&self.context, self.settings.leader_imbalance_per_broker_percentage);
        if !candidates.is_empty() {
            self.elect_leaders(candidates, ElectionKind::Preferred, false).await?;
        }
        Ok(())
    }

    // Unclean elections

    /// The brokers' default for unclean elections changed.
    pub(super) async fn unclean_default_changed(&mut self, allowed: bool) -> Result<(), TermError> {
        let is_news = allowed && !self.unclean_default;
        self.unclean_default = allowed;
        if is_news {
            info!("unclean leader elections are allowed by default");
            self.elect_waiting().await?;
        }
        Ok(())
    }

    /// A topic allows unclean elections.
    pub(super) async fn unclean_allowed_for(&mut self, topic: &str) -> Result<(), TermError> {
        let mut waiting = self.context.waiting_for_leader();
        waiting.retain(|tp| &*tp.topic == topic);
        if !waiting.is_empty() {
            info!(topic, "unclean leader elections are allowed");
            self.elect_offline(&waiting).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
