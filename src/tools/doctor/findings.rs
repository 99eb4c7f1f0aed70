//! Owns the findings of `zurau doctor`. Pure: the same picture always gives the same findings.

use crate::common::{BrokerId, ControllerEpoch, Millis, TopicPartition};
use crate::config::endpoint::Endpoint;
use crate::controller::diagnosis::{self, Complaint, Place};
use crate::zk::data::broker::BrokerRegistration;
use crate::zk::data::controller::{ControllerNode, Moves};
use crate::zk::data::topic::{PartitionState, ReplicaAssignment};
use crate::zk::paths;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The most that a ZooKeeper server accepts in one request, and so in one znode: the default of its `jute.maxbuffer`.
const ZNODE_BYTES_MAX: usize = 1_048_575;
/// The most that a Java client accepts as a list of children: the default of its own `jute.maxbuffer`.
const CHILDREN_BYTES_MAX: usize = 4 << 20;
/// The percentage of the limit from which a znode is near it.
const NEAR_PERCENT: usize = 80;
/// A controller processes nodes under `/admin` and notifications within moments.
const STALE_AFTER_MS: Millis = 60_000;

/// A node under `/admin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct AdminNode<T> {
    /// When it was created.
    pub(super) created: Millis,
    /// Its content; an error is why it cannot be read.
    pub(super) content: Result<T, String>,
}

/// The result of connecting to an advertised address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    Yes,
    /// Connected; nothing more can be checked on a listener with this security protocol.
    Connected,
    No(String),
    OtherCluster(String),
    /// The broker there has another id.
    OtherBroker(String),
}

/// Everything that is examined.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) now: Millis,
    pub(super) cluster_id: Option<Result<String, String>>,
    pub(super) controller: Option<Result<ControllerNode, String>>,
    pub(super) controller_epoch: Option<ControllerEpoch>,
    pub(super) brokers: BTreeMap<BrokerId, Result<BrokerRegistration, String>>,
    /// By broker and listener.
    pub(super) reached: BTreeMap<(BrokerId, String), Reached>,
    /// Topics whose znode cannot be read.
    pub(super) unreadable_topics: BTreeMap<String, String>,
    pub(super) partitions: BTreeMap<TopicPartition, (ReplicaAssignment, Option<Result<PartitionState, String>>)>,
    /// Replicas in failed log directories, according to the metadata of a broker.
    pub(super) offline: BTreeSet<(TopicPartition, BrokerId)>,
    pub(super) reassignment: Option<AdminNode<Moves>>,
    pub(super) election: Option<AdminNode<()>>,
    /// Topics marked for deletion, and since when.
    pub(super) deletions: BTreeMap<String, Millis>,
    /// Directories of notifications: how many are pending, and since when the oldest is.
    pub(super) notifications: BTreeMap<&'static str, (usize, Millis)>,
    /// Data sizes of znodes, in bytes.
    pub(super) data_sizes: BTreeMap<String, usize>,
    /// Sizes of the lists of children, in bytes.
    pub(super) children_sizes: BTreeMap<String, usize>,
    /// Log directories of this machine, and the cluster ids in their meta.properties.
    pub(super) local_dirs: Vec<(PathBuf, Result<Option<String>, String>)>,
    /// Directories of partitions there that were set aside.
    pub(super) strays: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Severity {
    /// Something fails.
    Error,
    /// It works, but should be fixed.
    Warn,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) text: String,
}

/// Findings, errors first.
pub(super) fn examine(picture: &Picture) -> Vec<Finding> {
    let mut findings = Findings::default();
    identity(picture, &mut findings);
    controller(picture, &mut findings);
    brokers(picture, &mut findings);
    partitions(picture, &mut findings);
    admin_nodes(picture, &mut findings);
    sizes(picture, &mut findings);
    let mut found = findings.0;
    found.sort_by_key(|finding| finding.severity);
    found
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(&mut self, text: String) {
        self.0.push(Finding { severity: Severity::Error, text });
    }

    fn warn(&mut self, text: String) {
        self.0.push(Finding { severity: Severity::Warn, text });
    }
}

fn identity(picture: &Picture, findings: &mut Findings) {
    let path = paths::CLUSTER_ID;
    let id = match &picture.cluster_id {
        None => {
            return findings.warn(format!("there is no {path}: no broker ever started on this ensemble and chroot"));
        }
        Some(Err(why)) => return findings.error(format!("{path} cannot be read ({why}): no broker can start")),
        Some(Ok(id)) => id,
    };
    for (dir, stored) in &picture.local_dirs {
        let file = dir.join("meta.properties");
        let file = file.display();
        match stored {
            Ok(Some(stored)) if stored != id => findings.error(format!(
                "the log directory belongs to another cluster: {file} says {stored}, the znode {path} says {id}; a broker \
                 will not start. Either zookeeper.connect is wrong (also its chroot), or the directory is"
            )),
            Ok(_) => {}
            Err(why) => findings.error(format!("{file}: {why}")),
        }
    }
    for stray in &picture.strays {
        findings.warn(format!(
            "{} is the log of an earlier topic of that name, which was in the way of a new one. No one reads it, and no one \
             deletes it: delete it, or keep it elsewhere",
            stray.display()
        ));
    }
}

fn controller(picture: &Picture, findings: &mut Findings) {
    let path = paths::CONTROLLER;
    match &picture.controller {
        None if picture.brokers.is_empty() => {}
        None => findings.error(format!("there is no controller: brokers are registered, and nobody has created {path}")),
        Some(Err(why)) => findings.error(format!("{path} cannot be read ({why}): nobody is the controller")),
        Some(Ok(node)) if node.kraft_epoch > 0 => {
            findings.warn(format!("a KRaft controller ({}) owns this cluster: it is being migrated", node.broker));
        }
        Some(Ok(node)) if !picture.brokers.contains_key(&node.broker) => findings.error(format!(
            "{path} names broker {id}, which is not registered: nobody runs this controller, and no other broker becomes it \
             while the node is there. It ends with its session; if it does not, delete it",
            id = node.broker
        )),
        Some(Ok(_)) => {}
    }
}

/// Whether only programs on the same machine can connect.
fn is_local(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<core::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn brokers(picture: &Picture, findings: &mut Findings) {
    if picture.brokers.is_empty() {
        findings.error("no broker is registered".to_owned());
    }
    let mut at: BTreeMap<(String, u16), Vec<BrokerId>> = BTreeMap::new();
    let mut listeners: BTreeMap<BTreeSet<&str>, Vec<BrokerId>> = BTreeMap::new();
    for (id, registration) in &picture.brokers {
        let broker = match registration {
            Ok(broker) => broker,
            Err(why) => {
                let path = paths::broker(*id);
                findings.error(format!("{path} cannot be read ({why}): Apache controllers fail on it"));
                continue;
            }
        };
        for endpoint in &broker.endpoints {
            address(picture, *id, endpoint, findings);
            let host = endpoint.host.clone().unwrap_or_default();
            let there = at.entry((host, endpoint.port)).or_default();
            if !there.contains(id) {
                there.push(*id);
            }
        }
        listeners.entry(broker.endpoints.iter().map(|e| e.listener.as_str()).collect()).or_default().push(*id);
    }
    for ((host, port), ids) in at.iter().filter(|(_, ids)| ids.len() > 1) {
        findings.error(format!("brokers {} advertise the same address {host}:{port}", shown(ids)));
    }
    if listeners.len() > 1 {
        let sets: Vec<String> = listeners
            .iter()
            .map(|(names, ids)| format!("{} on {}", names.iter().copied().collect::<Vec<_>>().join(","), shown(ids)))
            .collect();
        let sets = sets.join("; ");
        findings.warn(format!("brokers have different listeners, so clients of one do not find all leaders: {sets}"));
    }
}

fn address(picture: &Picture, id: BrokerId, endpoint: &Endpoint, findings: &mut Findings) {
    let name = endpoint.listener.as_str();
    match picture.reached.get(&(id, name.to_owned())) {
        None | Some(Reached::Yes | Reached::Connected) => {}
        Some(Reached::No(why)) => findings.error(format!(
            "clients cannot reach broker {id} at its advertised address {endpoint}: {why} (advertised.listeners)"
        )),
        Some(Reached::OtherCluster(other)) => findings.error(format!(
            "the advertised address {endpoint} of broker {id} leads to a broker of another cluster ({other})"
        )),
        Some(Reached::OtherBroker(why)) => {
            findings.error(format!("the advertised address {endpoint} of broker {id} leads to another broker ({why})"))
        }
    }
    let host = endpoint.host.as_deref().unwrap_or_default();
    let hosts_elsewhere = picture.brokers.values().flatten().flat_map(|b| &b.endpoints);
    let has_elsewhere = hosts_elsewhere.filter_map(|e| e.host.as_deref()).any(|host| !is_local(host));
    if host.is_empty() || host == "0.0.0.0" || host == "::" {
        findings.error(format!("broker {id} advertises {endpoint}, which is no address that a client can connect to"));
    } else if is_local(host) && has_elsewhere {
        findings.error(format!(
            "broker {id} advertises {endpoint}, which only clients on its own machine can reach, while other addresses of \
             this cluster are on a network (advertised.listeners)"
        ));
    }
}

fn partitions(picture: &Picture, findings: &mut Findings) {
    for (topic, why) in &picture.unreadable_topics {
        let path = paths::topic(topic);
        findings.error(format!("{path} cannot be read ({why}): Apache controllers fail on it, Zurau's leave it alone"));
    }
    let mut report = diagnosis::Report::new();
    for (tp, (assignment, state)) in &picture.partitions {
        if picture.deletions.contains_key(&*tp.topic) {
            continue;
        }
        let state = match state {
            Some(Ok(state)) => Some(&state.leader_and_isr),
            Some(Err(why)) => {
                findings.error(format!("{} cannot be read ({why})", paths::partition_state(tp)));
                continue;
            }
            None => None,
        };
        let place = |id| {
            if !picture.brokers.contains_key(&id) {
                Place::Absent
            } else if picture.offline.contains(&(tp.clone(), id)) {
                Place::FailedDirectory
            } else {
                Place::Alive
            }
        };
        for finding in diagnosis::examine(assignment, state, place) {
            report.entry(finding).or_default().push(tp.clone());
        }
    }
    // The most severe come first.
    for (finding, partitions) in report.into_iter().rev() {
        let names = diagnosis::named(&partitions);
        let text = format!("{} partition(s) ({names}) {finding}", partitions.len());
        match finding.complaint {
            Complaint::NoLeader => findings.error(text),
            Complaint::UnderReplicated | Complaint::Moving => findings.warn(text),
        }
    }
}

fn admin_nodes(picture: &Picture, findings: &mut Findings) {
    let is_old = |created: Millis| picture.now.saturating_sub(created) > STALE_AFTER_MS;
    if let Some(node) = &picture.reassignment {
        let path = paths::REASSIGN_PARTITIONS;
        match &node.content {
            Err(why) => findings.warn(format!(
                "{path} cannot be read ({why}): it is never executed, and tools that write it refuse to; delete it"
            )),
            Ok(moves) => {
                let is_stale = |(tp, target): &(&TopicPartition, &Vec<BrokerId>)| {
                    let known = picture.partitions.get(*tp).map(|(assignment, _)| assignment);
                    known.is_none_or(|a| !a.is_being_reassigned() || a.target() != **target)
                };
                let stale: Vec<TopicPartition> = moves.iter().filter(is_stale).map(|(tp, _)| tp.clone()).collect();
                if is_old(node.created) && (!stale.is_empty() || moves.is_empty()) {
                    let names = diagnosis::named(&stale);
                    findings.warn(format!(
                        "{path} is stale: it names {} partition(s) ({names}) that no controller moves; delete it, and move \
                         them with kafka-reassign-partitions.sh",
                        stale.len()
                    ));
                }
            }
        }
    }
    if let Some(node) = picture.election.as_ref().filter(|node| is_old(node.created) || node.content.is_err()) {
        let path = paths::PREFERRED_REPLICA_ELECTION;
        let why = node.content.as_ref().err().map(|why| format!(" ({why})")).unwrap_or_default();
        findings.warn(format!("{path} is stale{why}: a controller deletes it once it has elected; delete it"));
    }
    for (topic, since) in &picture.deletions {
        deletion(picture, topic, is_old(*since), findings);
    }
    for (directory, (count, oldest)) in &picture.notifications {
        if *count > 0 && is_old(*oldest) {
            findings.warn(format!("{count} node(s) in {directory} wait for a controller that does not work them off"));
        }
    }
}

fn deletion(picture: &Picture, topic: &str, is_old: bool, findings: &mut Findings) {
    let path = paths::delete_topic(topic);
    let of_topic: Vec<_> = picture.partitions.iter().filter(|(tp, _)| *tp.topic == *topic).collect();
    if of_topic.is_empty() && !picture.unreadable_topics.contains_key(topic) {
        if is_old {
            findings.warn(format!("{path} is stale: there is no such topic; delete it"));
        }
        return;
    }
    let away: BTreeSet<BrokerId> = of_topic
        .iter()
        .flat_map(|(_, (assignment, _))| &assignment.replicas)
        .filter(|id| !picture.brokers.contains_key(id))
        .copied()
        .collect();
    if !away.is_empty() {
        let away: Vec<BrokerId> = away.into_iter().collect();
        findings.warn(format!(
            "the deletion of topic {topic} waits for replicas on broker(s) {} that are away",
            shown(&away)
        ));
    } else if of_topic.iter().any(|(_, (assignment, _))| assignment.is_being_reassigned()) {
        findings.warn(format!("the deletion of topic {topic} waits for the end of its reassignment"));
    } else if is_old {
        findings
            .warn(format!("the deletion of topic {topic} does not go on: a broker cannot delete its replica ({path})"));
    }
}

fn sizes(picture: &Picture, findings: &mut Findings) {
    let near = |bytes: usize, max: usize| bytes >= max / 100 * NEAR_PERCENT;
    for (path, bytes) in picture.data_sizes.iter().filter(|(_, bytes)| near(**bytes, ZNODE_BYTES_MAX)) {
        findings.warn(format!(
            "{path} has {bytes} bytes, near the limit of {ZNODE_BYTES_MAX} (jute.maxbuffer of ZooKeeper): beyond it writers \
             lose their connection and try for ever"
        ));
    }
    for (path, bytes) in picture.children_sizes.iter().filter(|(_, bytes)| near(**bytes, CHILDREN_BYTES_MAX)) {
        findings.warn(format!(
            "the names in {path} have {bytes} bytes, near the limit of {CHILDREN_BYTES_MAX} (jute.maxbuffer of Java clients)"
        ));
    }
}

fn shown(ids: &[BrokerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::LeaderEpoch;
    use crate::config::endpoint::{ListenerName, SecurityProtocol};
    use crate::zk::data::topic::LeaderAndIsr;

    const NOW: Millis = 1_000_000_000;

    fn broker(id: i32, host: &str, port: u16) -> (BrokerId, Result<BrokerRegistration, String>) {
        let endpoint = Endpoint {
            listener: ListenerName::new("PLAINTEXT").unwrap(),
            protocol: SecurityProtocol::Plaintext,
            host: Some(host.to_owned()),
            port,
        };
        let registration = BrokerRegistration {
            id: BrokerId(id),
            endpoints: vec![endpoint],
            rack: None,
            jmx_port: -1,
            features: BTreeMap::new(),
        };
        (BrokerId(id), Ok(registration))
    }

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    fn partition(picture: &mut Picture, topic: &str, assignment: ReplicaAssignment, leader: i32, isr: &[i32]) {
        let leader_and_isr = LeaderAndIsr {
            leader: BrokerId(leader),
            leader_epoch: LeaderEpoch(0),
            isr: ids(isr),
            recovery: Default::default(),
        };
        let state = PartitionState { leader_and_isr, controller_epoch: ControllerEpoch(1) };
        picture.partitions.insert(TopicPartition::new(topic, 0), (assignment, Some(Ok(state))));
    }

    /// Two brokers on two machines, one controller, one topic.
    fn healthy() -> Picture {
        let mut picture = Picture {
            now: NOW,
            cluster_id: Some(Ok("abc".to_owned())),
            controller: Some(Ok(ControllerNode { broker: BrokerId(1), kraft_epoch: -1 })),
            controller_epoch: Some(ControllerEpoch(1)),
            brokers: [broker(1, "b1", 9092), broker(2, "b2", 9092)].into(),
            ..Picture::default()
        };
        partition(&mut picture, "t", ReplicaAssignment::of(ids(&[1, 2])), 1, &[1, 2]);
        picture
    }

    fn texts(picture: &Picture) -> Vec<String> {
        examine(picture).into_iter().map(|finding| finding.text).collect()
    }

    fn only(picture: &Picture) -> String {
        let texts = texts(picture);
        assert_eq!(texts.len(), 1, "{texts:?}");
        texts.into_iter().next().unwrap()
    }

    #[test]
    fn a_healthy_cluster_has_no_findings() {
        assert_eq!(texts(&healthy()), [] as [&str; 0]);
    }

    #[test]
    fn a_directory_of_another_cluster_is_named_with_both_ids_and_the_znode() {
        let mut picture = healthy();
        picture.local_dirs = vec![("/d".into(), Ok(Some("xyz".to_owned()))), ("/e".into(), Ok(None))];
        let text = only(&picture);
        for part in ["/d/meta.properties", "xyz", "abc", "/cluster/id"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn logs_that_were_set_aside_are_found() {
        let mut picture = healthy();
        picture.strays.push("/d/t-0.0123-stray".into());
        assert!(only(&picture).contains("/d/t-0.0123-stray is the log of an earlier topic"));
    }

    #[test]
    fn a_controller_that_nobody_runs_is_found() {
        let mut picture = healthy();
        picture.controller = Some(Ok(ControllerNode { broker: BrokerId(7), kraft_epoch: -1 }));
        assert!(only(&picture).contains("names broker 7, which is not registered"));
        picture.controller = None;
        assert!(only(&picture).contains("there is no controller"));
    }

    #[test]
    fn addresses_that_clients_cannot_use_are_found() {
        let mut picture = healthy();
        picture.reached.insert((BrokerId(2), "PLAINTEXT".into()), Reached::No("connection refused".into()));
        assert!(only(&picture).contains("cannot reach broker 2 at its advertised address PLAINTEXT://b2:9092"));
        let mut picture = healthy();
        picture.brokers.extend([broker(2, "localhost", 9093)]);
        assert!(only(&picture).contains("only clients on its own machine"));
        // A whole cluster on one machine is a test.
        picture.brokers.extend([broker(1, "127.0.0.1", 9092)]);
        assert_eq!(texts(&picture), [] as [&str; 0]);
        picture.brokers.extend([broker(2, "127.0.0.1", 9092)]);
        assert!(only(&picture).contains("brokers 1, 2 advertise the same address"));
    }

    #[test]
    fn partitions_are_told_by_their_cause_and_the_worst_first() {
        let mut picture = healthy();
        partition(&mut picture, "u", ReplicaAssignment::of(ids(&[1, 3])), 1, &[1]);
        partition(&mut picture, "v", ReplicaAssignment::of(ids(&[3])), -1, &[3]);
        let texts = texts(&picture);
        assert!(texts[0].starts_with("1 partition(s) (v-0) no leader: only 3 may lead"), "{texts:?}");
        assert!(texts[1].starts_with("1 partition(s) (u-0) under-replicated: broker 3 is not registered"), "{texts:?}");
    }

    #[test]
    fn what_nobody_works_off_is_stale() {
        let mut picture = healthy();
        let moves: Moves = [(TopicPartition::new("t", 0), ids(&[2, 1]))].into();
        picture.reassignment = Some(AdminNode { created: NOW - STALE_AFTER_MS - 1, content: Ok(moves.clone()) });
        assert!(only(&picture).starts_with("/admin/reassign_partitions is stale: it names 1 partition(s) (t-0)"));
        picture.reassignment = Some(AdminNode { created: NOW, content: Ok(moves) });
        assert_eq!(texts(&picture), [] as [&str; 0], "it may be on its way");
        picture.reassignment = Some(AdminNode { created: NOW, content: Err("not JSON".into()) });
        assert!(only(&picture).contains("cannot be read (not JSON)"));
        picture.reassignment = None;
        picture.election = Some(AdminNode { created: 0, content: Ok(()) });
        assert!(only(&picture).starts_with("/admin/preferred_replica_election is stale"));
        picture.election = None;
        picture.deletions.insert("gone".into(), 0);
        assert!(only(&picture).contains("/admin/delete_topics/gone is stale"));
        picture.deletions = [("t".into(), NOW)].into();
        picture.brokers.remove(&BrokerId(2));
        assert!(only(&picture).contains("waits for replicas on broker(s) 2"));
    }

    #[test]
    fn a_move_under_way_is_not_stale() {
        let mut picture = healthy();
        let moving = ReplicaAssignment::of(ids(&[1])).reassigned_to(&ids(&[2]));
        partition(&mut picture, "t", moving, 1, &[1]);
        let moves: Moves = [(TopicPartition::new("t", 0), ids(&[2]))].into();
        picture.reassignment = Some(AdminNode { created: 0, content: Ok(moves) });
        assert!(only(&picture).contains("reassignment under way: replica 2 is behind its leader 1"));
    }

    #[test]
    fn large_znodes_are_found_before_they_are_too_large() {
        let mut picture = healthy();
        picture.data_sizes = [("/a".into(), 838_000), ("/b".into(), 840_000)].into();
        picture.children_sizes = [("/c".into(), 3 << 20), ("/d".into(), 4 << 20)].into();
        let texts = texts(&picture);
        assert_eq!(texts.len(), 2, "{texts:?}");
        assert!(texts[0].starts_with("/b has 840000 bytes") && texts[1].starts_with("the names in /d"));
    }
}
