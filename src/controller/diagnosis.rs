//! Owns the diagnosis of unhealthy partitions: without a leader, under-replicated, being reassigned. Pure. Kafka counts
//! such partitions in metrics; to find the reason an operator has to read the logs of all brokers.

use super::context::Context;
use crate::common::{BrokerId, TopicPartition};
use crate::zk::data::topic::{LeaderAndIsr, ReplicaAssignment};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The state of a replica's broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Registered, and as far as is known it serves the replica.
    Alive,
    /// It has requested a controlled shutdown.
    ShuttingDown,
    /// It has no `/brokers/ids/N`.
    Absent,
    /// The replica is in a failed log directory.
    FailedDirectory,
}

/// What is wrong with a partition. Later ones are more severe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Complaint {
    /// A reassignment waits for a replica.
    Moving,
    UnderReplicated,
    NoLeader,
}

/// The reason. One cause for many partitions is one thing to repair.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    Absent(BrokerId),
    ShuttingDown(BrokerId),
    FailedDirectory(BrokerId),
    /// Both brokers are registered; the replica does not keep up, or cannot reach its leader.
    Behind {
        replica: BrokerId,
        leader: BrokerId,
    },
    /// No replica may lead without loss except these, which are offline.
    Leaderless {
        in_sync: Vec<BrokerId>,
    },
    /// There is no state yet: no replica has been alive since the partition was created.
    NeverLed,
    /// The target is in sync, but the controller has not completed the move.
    NotEnded,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    pub complaint: Complaint,
    pub cause: Cause,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.complaint {
            Complaint::Moving => "reassignment under way: ",
            Complaint::UnderReplicated => "under-replicated: ",
            Complaint::NoLeader => "no leader: ",
        })?;
        match &self.cause {
            Cause::Absent(id) => {
                write!(f, "broker {id} is not registered (no /brokers/ids/{id}): it is down, or cannot reach ZooKeeper")
            }
            Cause::ShuttingDown(id) => write!(f, "broker {id} is shutting down"),
            Cause::FailedDirectory(id) => write!(f, "the replica on broker {id} is in a log directory that failed"),
            Cause::Behind { replica, leader } => write!(
                f,
                "replica {replica} is behind its leader {leader}, and both brokers are registered: it is catching up, too \
                 slow, throttled, or cannot reach the leader (the log of broker {replica} says more)"
            ),
            Cause::Leaderless { in_sync } => {
                let ids: Vec<String> = in_sync.iter().map(ToString::to_string).collect();
                let ids = ids.join(", ");
                write!(
                    f,
                    "only {ids} may lead without losing records, and cannot: it has to come back, or an unclean election \
                     accepts the loss"
                )
            }
            Cause::NeverLed => f.write_str("no replica was alive since the partition was created"),
            Cause::NotEnded => f.write_str("the target is in sync, and the controller has not ended it"),
        }
    }
}

/// What is wrong with one partition, each cause once.
pub fn examine(
    assignment: &ReplicaAssignment,
    state: Option<&LeaderAndIsr>,
    place: impl Fn(BrokerId) -> Place,
) -> Vec<Finding> {
    let finding = |complaint, cause| Finding { complaint, cause };
    let Some(state) = state else { return vec![finding(Complaint::NoLeader, Cause::NeverLed)] };
    let mut findings = Vec::new();
    let leads = state.leader != BrokerId::NONE && matches!(place(state.leader), Place::Alive | Place::ShuttingDown);
    if !leads {
        findings.push(finding(Complaint::NoLeader, Cause::Leaderless { in_sync: state.isr.clone() }));
    }
    let target = assignment.target();
    let missing = assignment.replicas.iter().filter(|id| !state.isr.contains(id));
    for id in missing {
        let complaint = if assignment.adding.contains(id) { Complaint::Moving } else { Complaint::UnderReplicated };
        let cause = match place(*id) {
            Place::Absent => Cause::Absent(*id),
            Place::ShuttingDown => Cause::ShuttingDown(*id),
            Place::FailedDirectory => Cause::FailedDirectory(*id),
            // The missing leader has been reported.
            Place::Alive if !leads => continue,
            Place::Alive => Cause::Behind { replica: *id, leader: state.leader },
        };
        findings.push(finding(complaint, cause));
    }
    if assignment.is_being_reassigned() && target.iter().all(|id| state.isr.contains(id)) {
        findings.push(finding(Complaint::Moving, Cause::NotEnded));
    }
    findings
}

/// Partitions by what is wrong with them.
pub type Report = BTreeMap<Finding, Vec<TopicPartition>>;

/// Examines every partition that is not about to be deleted.
pub(super) fn report(context: &Context) -> Report {
    let mut report = Report::new();
    for tp in context.partitions() {
        let Some(partition) = context.partition(&tp).filter(|_| !context.to_delete.contains(&tp.topic)) else {
            continue;
        };
        let place = |id| {
            if context.broker(id).is_none() {
                Place::Absent
            } else if context.is_shutting_down(id) {
                Place::ShuttingDown
            } else if context.is_online(id, &tp) {
                Place::Alive
            } else {
                Place::FailedDirectory
            }
        };
        let state = partition.leadership.as_ref().map(|leadership| &leadership.leader_and_isr);
        for finding in examine(&partition.assignment, state, place) {
            report.entry(finding).or_default().push(tp.clone());
        }
    }
    report
}

/// The findings that have been logged.
#[derive(Debug, Default)]
pub(super) struct Reported {
    /// The findings of the last check.
    seen: BTreeSet<Finding>,
    /// With the number of partitions that was reported.
    reported: BTreeMap<Finding, usize>,
}

#[derive(Debug, PartialEq)]
pub(super) enum News {
    /// It was found by two checks in a row, or for another number of partitions.
    Lasts(Finding, Vec<TopicPartition>),
    /// It was reported, and is over.
    Over(Finding),
}

impl Reported {
    /// The changes to log after another check.
    pub(super) fn news(&mut self, report: Report) -> Vec<News> {
        let is_over = |finding: &&Finding| !report.contains_key(*finding);
        let over: Vec<Finding> = self.reported.keys().filter(is_over).cloned().collect();
        self.reported.retain(|finding, _| report.contains_key(finding));
        let seen = std::mem::replace(&mut self.seen, report.keys().cloned().collect());
        let mut news: Vec<News> = over.into_iter().map(News::Over).collect();
        for (finding, partitions) in report.into_iter().filter(|(finding, _)| seen.contains(finding)) {
            if self.reported.insert(finding.clone(), partitions.len()) != Some(partitions.len()) {
                news.push(News::Lasts(finding, partitions));
            }
        }
        news
    }
}

/// A few names, for a log line.
pub fn named(partitions: &[TopicPartition]) -> String {
    const SHOWN: usize = 5;
    let mut names: Vec<String> = partitions.iter().take(SHOWN).map(ToString::to_string).collect();
    if partitions.len() > SHOWN {
        names.push("…".to_owned());
    }
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, ids, tp};
    use super::*;
    use crate::common::LeaderEpoch;

    fn state(leader: i32, isr: &[i32]) -> LeaderAndIsr {
        let isr = ids(isr);
        LeaderAndIsr { leader: BrokerId(leader), leader_epoch: LeaderEpoch(3), isr, recovery: Default::default() }
    }

    fn found(assignment: &ReplicaAssignment, state: &LeaderAndIsr) -> Vec<(Complaint, Cause)> {
        // Broker 3 is offline, broker 4 lost a directory, the others are alive.
        let place = |id: BrokerId| match id.0 {
            3 => Place::Absent,
            4 => Place::FailedDirectory,
            _ => Place::Alive,
        };
        examine(assignment, Some(state), place).into_iter().map(|f| (f.complaint, f.cause)).collect()
    }

    #[test]
    fn each_missing_replica_has_a_reason() {
        let whole = ReplicaAssignment::of(ids(&[1, 2, 3, 4]));
        assert_eq!(
            found(&whole, &state(1, &[1])),
            [
                (Complaint::UnderReplicated, Cause::Behind { replica: BrokerId(2), leader: BrokerId(1) }),
                (Complaint::UnderReplicated, Cause::Absent(BrokerId(3))),
                (Complaint::UnderReplicated, Cause::FailedDirectory(BrokerId(4))),
            ]
        );
        assert_eq!(found(&ReplicaAssignment::of(ids(&[1, 2])), &state(2, &[2, 1])), []);
    }

    #[test]
    fn a_partition_without_a_leader_names_who_may_lead() {
        let found = found(&ReplicaAssignment::of(ids(&[3, 1])), &state(-1, &[3]));
        assert_eq!(found, [(Complaint::NoLeader, Cause::Leaderless { in_sync: ids(&[3]) })]);
        let never = examine(&ReplicaAssignment::of(ids(&[1])), None, |_| Place::Alive);
        assert_eq!(never, [Finding { complaint: Complaint::NoLeader, cause: Cause::NeverLed }]);
    }

    #[test]
    fn a_move_tells_for_whom_it_waits() {
        let moving = ReplicaAssignment::of(ids(&[1, 2])).reassigned_to(&ids(&[3, 2]));
        assert_eq!(found(&moving, &state(1, &[1, 2])), [(Complaint::Moving, Cause::Absent(BrokerId(3)))]);
        assert_eq!(found(&moving, &state(1, &[1, 2, 3])), [(Complaint::Moving, Cause::NotEnded)]);
    }

    #[test]
    fn what_lasts_is_told_once_and_when_it_is_over() {
        let one = context(&[1], &[("t", 0, &[2, 1]), ("u", 0, &[1])]);
        let never = Finding { complaint: Complaint::NoLeader, cause: Cause::NeverLed };
        let both = vec![tp("t", 0), tp("u", 0)];
        assert_eq!(report(&one), [(never.clone(), both.clone())].into());
        let mut reported = Reported::default();
        assert_eq!(reported.news(report(&one)), []);
        assert_eq!(reported.news(report(&one)), [News::Lasts(never.clone(), both)]);
        assert_eq!(reported.news(report(&one)), []);
        let fewer = context(&[1], &[("t", 0, &[2, 1])]);
        assert_eq!(reported.news(report(&fewer)), [News::Lasts(never.clone(), vec![tp("t", 0)])]);
        assert_eq!(reported.news(Report::new()), [News::Over(never)]);
        assert_eq!(reported.news(report(&one)), []);
    }
}
