//! Owns the reassignment of partitions to other brokers. Kafka: `KafkaController.onPartitionReassignment` and what
//! leads to it.
//!
//! ```text
//! API, /admin/reassign_partitions → U  /brokers/topics/T: target and the old replicas, adding, removing
//!   target not in sync            → A  leader epoch + 1, LeaderAndIsr to old and (new) adding replicas; then it waits
//!   AlterPartition, broker start  → B  leader among the target, removing replicas leave the ISR and are deleted,
//!                                      /brokers/topics/T: only the target, last, so that the next controller resumes
//! ```
//! Where Kafka processes one partition after the other, each step here covers all partitions of a request.

#[cfg(test)]
mod tests;

use super::batch::BatchBuilder;
use super::channels::BrokerChannels;
use super::context::Replica;
use super::election::{self, Strategy};
use super::events::{ReassignmentResults, ReassignmentTargets};
use super::moves;
use super::replica_state::ReplicaState;
use super::term::{Round, Term, TermError, Unsettled};
use super::topics::Refusal;
use crate::common::{BrokerId, ErrorCode, TopicPartition};
use crate::zk::client::{Error, Write};
use crate::zk::data::controller::{decode_moves, encode_moves};
use crate::zk::data::topic::ReplicaAssignment;
use crate::zk::{paths, topics};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tracing::{error, info, warn};

type Assignments = BTreeMap<TopicPartition, ReplicaAssignment>;

impl<C: BrokerChannels> Term<C> {
    /// AlterPartitionReassignments: moves partitions, or cancels ongoing moves.
    pub(super) async fn alter_reassignments(
        &mut self,
        targets: ReassignmentTargets,
    ) -> Result<ReassignmentResults, TermError> {
        let mut results = ReassignmentResults::new();
        let mut planned = Assignments::new();
        for (tp, target) in targets {
            match moves::asked(&self.context, &tp, target.as_deref()) {
                Ok(assignment) => {
                    planned.insert(tp, assignment);
                }
                Err(refusal) => {
                    results.insert(tp, Err(refusal));
                }
            }
        }
        // The latest request counts, whether by API or znode.
        self.take_from_admin_node(|tp, _| planned.contains_key(tp)).await?;
        results.extend(self.reassign(planned).await?);
        Ok(results)
    }

    /// The ongoing reassignments, among `asked` or all.
    pub(super) fn list_reassignments(&self, asked: Option<Vec<TopicPartition>>) -> Assignments {
        let asked = asked.unwrap_or_else(|| self.context.reassigning.iter().cloned().collect());
        let assigned = asked.into_iter().filter_map(|tp| Some((self.context.assignment(&tp)?.clone(), tp)));
        assigned.filter(|(assignment, _)| assignment.is_being_reassigned()).map(|(a, tp)| (tp, a)).collect()
    }

    /// Resumes the reassignments that were ongoing at the start of this term, and those in the znode.
    pub(super) async fn resume_all_reassignments(&mut self) -> Result<(), TermError> {
        let begun = self.admin_reassignment().await?;
        let rest = self.context.reassigning.iter().filter(|tp| !begun.contains(*tp)).cloned().collect();
        self.proceed(rest).await
    }

    /// Brokers are back: moves to them continue.
    pub(super) async fn resume_reassignments_to(&mut self, brokers: &[BrokerId]) -> Result<(), TermError> {
        let is_awaited = |tp: &&TopicPartition| {
            let assignment = self.context.assignment(tp);
            assignment.is_some_and(|a| a.target().iter().any(|id| brokers.contains(id)))
        };
        let awaited = self.context.reassigning.iter().filter(is_awaited).cloned().collect();
        self.proceed(awaited).await
    }

    /// The ISRs of these partitions changed: completes the moves whose target is in sync now.
    pub(super) async fn complete_reassignments(&mut self, changed: &[TopicPartition]) -> Result<(), TermError> {
        let moving: Vec<TopicPartition> = changed
            .iter()
            .filter(|tp| self.context.reassigning.contains(*tp) && self.is_to_move(tp))
            .cloned()
            .collect();
        if moving.is_empty() {
            return Ok(());
        }
        let (complete, _) = self.by_progress(moving).await?;
        self.complete_moves(complete).await
    }

    /// Processes `/admin/reassign_partitions` when it is new, and arms for the next one. Returns the started moves.
    pub(super) async fn admin_reassignment(&mut self) -> Result<BTreeSet<TopicPartition>, TermError> {
        let path = paths::REASSIGN_PARTITIONS;
        let found = self.zk.exists_watched(path, Some(&self.watcher)).await?.map(|stat| stat.czxid);
        // Only a creation counts, as in Kafka; our own rewrites fire the watch too.
        if found.is_none() || found == self.context.admin_moves_seen {
            return Ok(BTreeSet::new());
        }
        self.context.admin_moves_seen = found;
        let data = match self.zk.get(path).await {
            Ok(node) => node.data,
            Err(Error::NoNode) => return Ok(BTreeSet::new()),
            Err(error) => return Err(error.into()),
        };
        let written = match decode_moves(data.as_deref()) {
            Ok(written) => written,
            Err(error) => {
                warn!(path, %error, "reassignment left alone");
                return Ok(BTreeSet::new());
            }
        };
        info!(path, partitions = written.len(), "reassignment found");
        let mut results = ReassignmentResults::new();
        let mut planned = Assignments::new();
        for (tp, target) in written {
            match moves::written(&self.context, &tp, &target) {
                Ok(assignment) => {
                    planned.insert(tp, assignment);
                }
                Err(refusal) => {
                    results.insert(tp, Err(refusal));
                }
            }
        }
        results.extend(self.reassign(planned).await?);
        let mut begun = BTreeSet::new();
        let mut failed = BTreeSet::new();
        for (tp, result) in results {
            match result {
                Ok(()) => {
                    begun.insert(tp);
                }
                Err(refusal) => {
                    warn!(path, %tp, %refusal, "reassignment refused");
                    failed.insert(tp);
                }
            }
        }
        if !failed.is_empty() || begun.is_empty() {
            self.take_from_admin_node(|tp, _| failed.contains(tp)).await?;
        }
        Ok(begun)
    }

    /// Removes moves from `/admin/reassign_partitions`; the node is deleted with the last. An unreadable one names no
    /// pending move, and is deleted too, as in Kafka.
    pub(super) async fn take_from_admin_node(
        &self,
        taken: impl Fn(&TopicPartition, &[BrokerId]) -> bool,
    ) -> Result<(), TermError> {
        let path = paths::REASSIGN_PARTITIONS;
        loop {
            let node = match self.zk.get(path).await {
                Ok(node) => node,
                Err(Error::NoNode) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let before = decode_moves(node.data.as_deref()).unwrap_or_default();
            let mut left = before.clone();
            left.retain(|tp, replicas| !taken(tp, replicas));
            let version = node.stat.version;
            let write = if left.is_empty() {
                info!(path, "nothing is left to be reassigned");
                Write::Delete { path: path.to_owned(), version }
            } else if left.len() < before.len() {
                Write::Set { path: path.to_owned(), data: encode_moves(&left), version }
            } else {
                return Ok(());
            };
            match self.fence.write(&self.zk, write).await? {
                Ok(_) | Err(Error::NoNode) => return Ok(()),
                Err(Error::BadVersion) => {}
                Err(error @ (Error::NotEmpty | Error::NoAuth)) => {
                    warn!(path, %error, "left where it is");
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Phase U, then the possible next steps.
    async fn reassign(&mut self, planned: Assignments) -> Result<ReassignmentResults, TermError> {
        let changed: Assignments =
            planned.iter().filter(|(tp, next)| self.context.assignment(tp) != Some(next)).map(cloned).collect();
        let failed = self.write_assignments(changed).await?;
        let mut results = ReassignmentResults::new();
        let mut begun = Vec::new();
        let mut unneeded = Vec::new();
        for (tp, next) in planned {
            if let Some(error) = failed.get(&tp) {
                error!(%tp, %error, "cannot write the reassignment");
                let code = ErrorCode::UnknownServerError;
                results.insert(tp, Err(Refusal { code, message: code.message().to_owned() }));
                continue;
            }
            info!(%tp, replicas = ?next.replicas, adding = ?next.adding, removing = ?next.removing, "reassignment");
            // Replicas that an earlier reassignment was adding and this one does not include.
            let dropped = self.context.replicas(&tp).iter().filter(|id| !next.replicas.contains(id));
            unneeded.extend(dropped.map(|id| (tp.clone(), *id)));
            self.context.set_assignment(&tp, next);
            self.context.reassigning.insert(tp.clone());
            results.insert(tp.clone(), Ok(()));
            begun.push(tp);
        }
        self.remove_replicas(&unneeded).await?;
        self.proceed(begun).await?;
        Ok(results)
    }

    /// Does the next step of moves that have been written.
    async fn proceed(&mut self, mut moving: Vec<TopicPartition>) -> Result<(), TermError> {
        moving.retain(|tp| self.is_to_move(tp));
        if moving.is_empty() {
            return Ok(());
        }
        let (complete, open) = self.by_progress(moving).await?;
        self.begin_moves(open).await?;
        self.complete_moves(complete).await
    }

    /// Moves of a topic to delete end: its replicas are deleted where they are.
    fn is_to_move(&self, tp: &TopicPartition) -> bool {
        !self.context.to_delete.contains(&tp.topic)
    }

    /// The moves whose target is in sync, and the others.
    async fn by_progress(
        &self,
        moving: Vec<TopicPartition>,
    ) -> Result<(Vec<TopicPartition>, Vec<TopicPartition>), TermError> {
        let states = self.read_states(&moving).await?;
        let is_complete = |tp: &TopicPartition| {
            let isr = states.get(tp).map(|(state, _)| state.leader_and_isr.isr.as_slice());
            self.context.assignment(tp).is_some_and(|a| moves::is_complete(a, isr.unwrap_or_default()))
        };
        Ok(moving.into_iter().partition(is_complete))
    }

    /// Phase A: leaders are sent the replicas that are to catch up, and those start.
    async fn begin_moves(&mut self, moving: Vec<TopicPartition>) -> Result<(), TermError> {
        let renewed = self.renew_epochs(moving).await?;
        let mut batch = BatchBuilder::default();
        let mut starting: Vec<Replica> = Vec::new();
        for tp in &renewed {
            let Some(assignment) = self.context.assignment(tp).cloned() else { continue };
            batch.leader_and_isr(&self.context, &assignment.origin(), tp, false);
            // New, so that they may be placed in any working log directory (KAFKA-10314).
            batch.leader_and_isr(&self.context, &assignment.adding, tp, true);
            starting.extend(assignment.adding.iter().map(|id| (tp.clone(), *id)));
        }
        self.send(batch);
        // At the start of a term they are already known.
        starting.retain(|replica| self.context.replica_state(replica) == ReplicaState::NonExistent);
        self.move_replicas(&starting, ReplicaState::New).await
    }

    /// Phase B: the target is in sync, all other replicas are removed.
    async fn complete_moves(&mut self, moving: Vec<TopicPartition>) -> Result<(), TermError> {
        if moving.is_empty() {
            return Ok(());
        }
        let (mut added, mut removed, mut done) = (Vec::new(), Vec::new(), Assignments::new());
        for tp in moving {
            let (Some(assignment), Some(_)) = (self.context.assignment(&tp), self.context.leadership(&tp)) else {
                error!(%tp, "cannot end the reassignment of a partition without a state");
                continue;
            };
            added.extend(assignment.adding.iter().map(|id| (tp.clone(), *id)));
            removed.extend(assignment.removing.iter().map(|id| (tp.clone(), *id)));
            let target = ReplicaAssignment::of(assignment.target());
            done.insert(tp, target);
        }
        self.move_replicas(&added, ReplicaState::Online).await?;
        for (tp, target) in &done {
            self.context.set_assignment(tp, target.clone());
        }
        let can_stay = |tp: &TopicPartition, target: &ReplicaAssignment| {
            let leader = self.context.leadership(tp).map(|l| l.leader_and_isr.leader);
            leader.is_some_and(|id| target.replicas.contains(&id) && self.context.is_online(id, tp))
        };
        let (stays, moves): (Vec<_>, Vec<_>) = done.iter().partition(|(tp, target)| can_stay(tp, target));
        let moves: Vec<TopicPartition> = moves.into_iter().map(|(tp, _)| tp.clone()).collect();
        let stays: Vec<TopicPartition> = stays.into_iter().map(|(tp, _)| tp.clone()).collect();
        self.bring_online(&moves, Strategy::Reassign).await?;
        let mut batch = BatchBuilder::default();
        for tp in self.renew_epochs(stays).await? {
            let target = self.context.replicas(&tp).to_vec();
            batch.leader_and_isr(&self.context, &target, &tp, false);
        }
        self.send(batch);
        self.remove_replicas(&removed).await?;

        let failed = self.write_assignments(done.clone()).await?;
        for (tp, error) in &failed {
            error!(%tp, %error, "cannot write that the reassignment ended; it ends again with the next controller");
        }
        done.retain(|tp, _| !failed.contains_key(tp));
        for (tp, target) in &done {
            info!(%tp, replicas = ?target.replicas, "reassignment ended");
            self.context.reassigning.remove(tp);
        }
        self.take_from_admin_node(|tp, to| done.get(tp).is_some_and(|target| target.replicas == to)).await?;
        let all_brokers = self.context.broker_ids();
        let partitions: Vec<TopicPartition> = done.into_keys().collect();
        self.send_metadata(&all_brokers, &partitions);
        Ok(())
    }

    /// Removes replicas from their ISRs and makes their brokers delete them. The answers are not awaited, as in Kafka:
    /// an offline broker keeps its copy.
    async fn remove_replicas(&mut self, replicas: &[Replica]) -> Result<(), TermError> {
        for state in [
            ReplicaState::Offline,
            ReplicaState::DeletionStarted,
            ReplicaState::DeletionSuccessful,
            ReplicaState::NonExistent,
        ] {
            self.move_replicas(replicas, state).await?;
        }
        Ok(())
    }

    /// Gives partitions a new leader epoch, so that brokers apply the other changes. Those without a state are logged
    /// and skipped.
    async fn renew_epochs(&mut self, partitions: Vec<TopicPartition>) -> Result<Vec<TopicPartition>, TermError> {
        let mut open = Unsettled::by_zookeeper(partitions);
        let mut renewed = Vec::new();
        while let Some(Round { source, states, missing }) = self.next_round(&mut open).await? {
            for tp in missing {
                error!(%tp, "cannot renew the leader epoch of a partition without a state");
            }
            let decided = states.into_iter().map(|(tp, (state, version))| {
                let next = election::renewed(&state.leader_and_isr);
                (tp, next, version)
            });
            for (tp, outcome) in self.settle(&mut open, source, decided.collect()).await? {
                match outcome {
                    Ok((next, version)) => {
                        self.absorb(&tp, next, version);
                        renewed.push(tp);
                    }
                    Err(error) => error!(%tp, %error, "cannot renew the leader epoch"),
                }
            }
        }
        Ok(renewed)
    }

    /// Writes assignments to the topics' znodes, conditional on the version that was read: partitions that are added in
    /// between are kept. Returns those that could not be written.
    async fn write_assignments(&self, assignments: Assignments) -> Result<BTreeMap<TopicPartition, Error>, TermError> {
        let mut failed = BTreeMap::new();
        let mut left: BTreeMap<Arc<str>, BTreeMap<i32, ReplicaAssignment>> = BTreeMap::new();
        for (tp, assignment) in assignments {
            left.entry(tp.topic).or_default().insert(tp.partition, assignment);
        }
        while !left.is_empty() {
            let names: Vec<&Arc<str>> = left.keys().collect();
            let mut read = topics::assignments(&self.zk, &names, None).await?;
            let (mut writes, mut meant) = (Vec::new(), Vec::new());
            let fail = |failed: &mut BTreeMap<_, _>, topic: &Arc<str>, partitions: BTreeMap<i32, _>, error: Error| {
                let of_topic = partitions.into_keys().map(|id| TopicPartition::new(Arc::clone(topic), id));
                failed.extend(of_topic.map(|tp| (tp, error.clone())));
            };
            for (topic, partitions) in std::mem::take(&mut left) {
                let Some((mut node, version)) = read.remove(&topic) else {
                    fail(&mut failed, &topic, partitions, Error::NoNode);
                    continue;
                };
                node.topic_id = node.topic_id.or_else(|| self.context.topic_id(&topic));
                node.partitions.extend(partitions.clone());
                writes.push(Write::Set { path: paths::topic(&topic), data: node.encode(), version });
                meant.push((topic, partitions));
            }
            let results = self.fence.write_all(&self.zk, writes).await?;
            for ((topic, partitions), result) in meant.into_iter().zip(results) {
                match result {
                    Ok(_) => {}
                    Err(Error::BadVersion) => {
                        left.insert(topic, partitions);
                    }
                    Err(error) => fail(&mut failed, &topic, partitions, error),
                }
            }
        }
        Ok(failed)
    }
}

fn cloned((tp, assignment): (&TopicPartition, &ReplicaAssignment)) -> (TopicPartition, ReplicaAssignment) {
    (tp.clone(), assignment.clone())
}
