//! Owns the creation of topics, the addition of partitions and the request for deletion: the writes to ZooKeeper by the
//! broker that serves such a request. The controller sees the znodes and does the rest. Kafka: `AdminZkClient`,
//! `AdminUtils`.
//!
//! Texts are Kafka's: clients print them.

use crate::common::{BrokerId, ErrorCode, Uuid};
use crate::zk::client::{Client, CreateMode, Error, MAX_REQUEST_BYTES};
use crate::zk::data::broker::BrokerRegistration;
use crate::zk::data::config::Config;
use crate::zk::data::topic::{ReplicaAssignment, TopicAssignment};
use crate::zk::{configs, paths, startup, topics};
use std::collections::{BTreeMap, BTreeSet};
use tracing::{debug, info};

const MAX_NAME_LENGTH: usize = 249;

/// A refused request: the code and text of the answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("ZooKeeper: {0}")]
    Zk(#[from] Error),
}

impl From<configs::WriteError> for TopicError {
    fn from(error: configs::WriteError) -> Self {
        match error {
            configs::WriteError::Zk(error) => Self::Zk(error),
            configs::WriteError::NoController => {
                Refusal::new(ErrorCode::NotController, ErrorCode::NotController.message()).into()
            }
        }
    }
}

/// The partitions of a topic, with the brokers of each.
pub type Assignment = BTreeMap<i32, Vec<BrokerId>>;

/// A broker that can have replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub id: BrokerId,
    pub rack: Option<String>,
}

impl From<&BrokerRegistration> for Candidate {
    fn from(broker: &BrokerRegistration) -> Self {
        Self { id: broker.id, rack: broker.rack.clone() }
    }
}

/// The start of an assignment in the list of brokers. Kafka: `fixedStartIndex`, `startPartitionId`.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// Index of the broker that leads partition 0.
    pub first_replica: usize,
    /// How far the second replica of partition 0 is from the first.
    pub replica_shift: usize,
    /// Id of the first partition.
    pub partition: i32,
}

impl Start {
    /// A random start, for a new topic on `brokers` brokers.
    pub fn random(brokers: usize) -> Self {
        let brokers = brokers.max(1);
        Self {
            first_replica: rand::random_range(0..brokers),
            replica_shift: rand::random_range(0..brokers),
            partition: 0,
        }
    }
}

/// The refusal of an invalid topic name. Kafka: `Topic.validate`.
pub fn check_name(name: &str) -> Result<(), Refusal> {
    let reason = if name.is_empty() {
        "the empty string is not allowed".to_owned()
    } else if name == "." || name == ".." {
        format!("'{name}' is not allowed")
    } else if name.encode_utf16().count() > MAX_NAME_LENGTH {
        format!("the length of '{name}' is longer than the max allowed length {MAX_NAME_LENGTH}")
    } else if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
    } else {
        return Ok(());
    };
    Err(Refusal::new(ErrorCode::InvalidTopicException, format!("Topic name is invalid: {reason}")))
}

/// Whether the metric names of the two would collide: a dot there is an underscore. Kafka: `Topic.hasCollision`.
fn collide(one: &str, other: &str) -> bool {
    one.len() == other.len() && one.replace('.', "_") == other.replace('.', "_")
}

/// Spreads replicas over brokers: leaders round robin, followers with growing shifts, racks alternating where every broker
/// has one. `brokers` in the order of ids. Kafka: `AdminUtils.assignReplicasToBrokers`.
pub fn assign_replicas(
    brokers: &[Candidate],
    partitions: i32,
    replication_factor: i32,
    start: Start,
) -> Result<Assignment, Refusal> {
    if partitions <= 0 {
        return Err(Refusal::new(ErrorCode::InvalidPartitions, "Number of partitions must be larger than 0."));
    }
    let factor = match usize::try_from(replication_factor) {
        Ok(factor) if factor > 0 => factor,
        _ => {
            let text = "Replication factor must be larger than 0.";
            return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text));
        }
    };
    // `"0":[1],` is the shortest entry in the topic's znode. An assignment too large for any znode is not built first.
    let least_bytes = (partitions as usize).saturating_mul(6 + 2 * factor.min(brokers.len()));
    if least_bytes > MAX_REQUEST_BYTES {
        let text = format!("{partitions} partitions do not fit in the znode of a topic.");
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    let available = brokers.len();
    if factor > available {
        let text = format!("Replication factor: {factor} larger than available brokers: {available}.");
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, text));
    }
    let racks: Vec<&str> = brokers.iter().filter_map(|b| b.rack.as_deref()).collect();
    if !racks.is_empty() && racks.len() < available {
        let text = "Not all brokers have rack information for replica rack aware assignment.";
        return Err(Refusal::new(ErrorCode::UnknownServerError, text));
    }
    let rack_count = racks.iter().collect::<BTreeSet<_>>().len();
    let order = if rack_count == 0 { brokers.iter().collect() } else { alternate_racks(brokers) };

    let first_partition = start.partition.max(0);
    let mut shift = start.replica_shift;
    let mut assignment = Assignment::new();
    for partition in first_partition..first_partition.saturating_add(partitions) {
        let at = partition as usize;
        if at > 0 && at.is_multiple_of(available) {
            shift += 1;
        }
        let first = (at + start.first_replica) % available;
        let mut replicas: Vec<&Candidate> = vec![order[first]];
        if rack_count == 0 {
            replicas.extend((0..factor - 1).map(|n| order[follower_index(first, shift, n, available)]));
        } else {
            add_followers_by_rack(&order, &mut replicas, first, shift * rack_count, factor, rack_count);
        }
        assignment.insert(partition, replicas.into_iter().map(|b| b.id).collect());
    }
    Ok(assignment)
}

/// Kafka: `AdminUtils.replicaIndex`. More than one broker.
fn follower_index(first: usize, shift: usize, nth: usize, brokers: usize) -> usize {
    (first + 1 + (shift + nth) % (brokers - 1)) % brokers
}

/// Takes brokers in turn, skipping racks that have a replica while others have none.
fn add_followers_by_rack<'a>(
    order: &[&'a Candidate],
    replicas: &mut Vec<&'a Candidate>,
    first: usize,
    shift: usize,
    factor: usize,
    rack_count: usize,
) {
    let mut nth = 0;
    while replicas.len() < factor {
        let broker = order[follower_index(first, shift, nth, order.len())];
        nth += 1;
        let racks: BTreeSet<Option<&str>> = replicas.iter().map(|b| b.rack.as_deref()).collect();
        let rack_is_free = !racks.contains(&broker.rack.as_deref()) || racks.len() == rack_count;
        if rack_is_free && replicas.iter().all(|b| b.id != broker.id) {
            replicas.push(broker);
        }
    }
}

/// The brokers so that neighbours are on different racks. Kafka: `AdminUtils.getRackAlternatedBrokerList`.
fn alternate_racks(brokers: &[Candidate]) -> Vec<&Candidate> {
    let mut by_rack: BTreeMap<Option<&str>, Vec<&Candidate>> = BTreeMap::new();
    for broker in brokers {
        by_rack.entry(broker.rack.as_deref()).or_default().push(broker);
    }
    let longest = by_rack.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|n| by_rack.values().filter_map(move |rack| rack.get(n).copied())).collect()
}

/// Validates a given or generated assignment of a new topic. Kafka: `AdminZkClient.validateTopicCreate`.
pub fn check_assignment(assignment: &Assignment) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    let sizes: BTreeSet<usize> = assignment.values().map(Vec::len).collect();
    if sizes.len() != 1 {
        return refuse("All partitions should have the same number of replicas".to_owned());
    }
    if assignment.values().any(|replicas| replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len()) {
        return refuse(format!("Duplicate replica assignment found: {}", shown(assignment)));
    }
    let is_consecutive = assignment.keys().copied().eq(0..assignment.len() as i32);
    if !is_consecutive {
        return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
    }
    Ok(())
}

/// As Scala prints a map of lists.
fn shown(assignment: &Assignment) -> String {
    let entries: Vec<String> = assignment
        .iter()
        .map(|(id, replicas)| {
            let replicas: Vec<String> = replicas.iter().map(ToString::to_string).collect();
            format!("{id} -> ArrayBuffer({})", replicas.join(", "))
        })
        .collect();
    format!("Map({})", entries.join(", "))
}

/// Whether a topic of that name and assignment can be created now.
pub async fn check_creation(zk: &Client, name: &str, assignment: &Assignment) -> Result<(), TopicError> {
    check_name(name)?;
    let exists = || Refusal::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists."));
    if zk.exists(&paths::delete_topic(name)).await?.is_some() {
        let text = format!("Topic '{name}' is marked for deletion.");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, text).into());
    }
    if zk.exists(&paths::topic(name)).await?.is_some() {
        return Err(exists().into());
    }
    if name.contains(['.', '_']) {
        let all = topics::names(zk, None).await?;
        if all.iter().any(|other| other == name) {
            return Err(exists().into());
        }
        let colliding: Vec<&str> = all.iter().map(String::as_str).filter(|other| collide(name, other)).collect();
        if !colliding.is_empty() {
            let text = format!("Topic '{name}' collides with existing topics: {}", colliding.join(", "));
            return Err(Refusal::new(ErrorCode::InvalidTopicException, text).into());
        }
    }
    Ok(check_assignment(assignment)?)
}

/// Writes a new topic: its config first, then the assignment, with which it exists. Returns the id of the topic.
/// The caller has checked ([`check_creation`]) and validated `config`.
pub async fn create(zk: &Client, name: &str, config: &Config, assignment: &Assignment) -> Result<Uuid, TopicError> {
    configs::write(zk, &format!("topics/{name}"), config).await?;
    let id = Uuid::random();
    let partitions = assignment.iter().map(|(id, replicas)| (*id, ReplicaAssignment::of(replicas.clone()))).collect();
    let data = TopicAssignment { topic_id: Some(id), partitions }.encode();
    let path = paths::topic(name);
    info!(topic = name, %id, ?config, partitions = assignment.len(), "creating topic");
    match zk.create(&path, Some(&data), CreateMode::Persistent).await {
        Ok(_) => Ok(id),
        Err(Error::NodeExists) => {
            // Ours, if only the answer to the creation was lost; otherwise another's.
            let found = zk.get(&path).await.map(|node| TopicAssignment::decode(node.data.as_deref()));
            match found {
                Ok(Ok(topic)) if topic.topic_id == Some(id) => Ok(id),
                _ => {
                    let text = format!("Topic '{name}' already exists.");
                    Err(Refusal::new(ErrorCode::TopicAlreadyExists, text).into())
                }
            }
        }
        Err(error) => Err(error.into()),
    }
}

/// Marks a topic for deletion by the controller. A topic that is already marked is not an error. Kafka:
/// `AdminZkClient.deleteTopic`.
pub async fn request_deletion(zk: &Client, name: &str) -> Result<(), TopicError> {
    if zk.exists(&paths::topic(name)).await?.is_none() {
        let text = format!("Topic `{name}` to delete does not exist");
        return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, text).into());
    }
    match zk.create(&paths::delete_topic(name), None, CreateMode::Persistent).await {
        Ok(_) | Err(Error::NodeExists) => {
            debug!(topic = name, "marked for deletion");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The brokers that can have replicas, as registered. Kafka: `AdminZkClient.getBrokerMetadatas`.
pub async fn candidates(zk: &Client) -> Result<Vec<Candidate>, Error> {
    Ok(startup::registered_brokers(zk).await?.iter().map(|(broker, _)| broker.into()).collect())
}

/// Adds partitions up to `total` to a topic, on `given` brokers or on those that the algorithm picks; with
/// `validate_only` nothing is written. Returns the ids of the added partitions with their brokers.
///
/// The write is conditional on the version that was read: after a change in between (a reassignment, another addition)
/// the addition is decided again. Kafka: `ZkAdminManager.createPartitions`, `AdminZkClient.addPartitions`.
pub async fn add_partitions(
    zk: &Client,
    name: &str,
    total: i32,
    given: Option<&[Vec<BrokerId>]>,
    validate_only: bool,
) -> Result<Assignment, TopicError> {
    let brokers = candidates(zk).await?;
    loop {
        let mut read = topics::assignments(zk, &[name], None).await?;
        let Some((_, (mut topic, version))) = read.pop_first() else {
            let text = format!("The topic '{name}' does not exist.");
            return Err(Refusal::new(ErrorCode::UnknownTopicOrPartition, text).into());
        };
        let added = plan_addition(name, &topic, &brokers, total, given)?;
        if validate_only {
            return Ok(added);
        }
        for (id, replicas) in &added {
            topic.partitions.insert(*id, ReplicaAssignment::of(replicas.clone()));
        }
        match zk.set(&paths::topic(name), &topic.encode(), version).await {
            Ok(_) => {
                info!(topic = name, partitions = ?added.keys(), "partitions added");
                return Ok(added);
            }
            Err(Error::BadVersion) => {
                // Perhaps our own write, whose answer was lost.
                let mut now = topics::assignments(zk, &[name], None).await?;
                let is_ours = now.pop_first().is_some_and(|(_, (now, _))| now == topic);
                if is_ours {
                    return Ok(added);
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The partitions that bring a topic to `total`.
fn plan_addition(
    name: &str,
    topic: &TopicAssignment,
    brokers: &[Candidate],
    total: i32,
    given: Option<&[Vec<BrokerId>]>,
) -> Result<Assignment, Refusal> {
    if topic.partitions.values().any(ReplicaAssignment::is_being_reassigned) {
        let text = format!("A partition reassignment is in progress for the topic '{name}'.");
        return Err(Refusal::new(ErrorCode::ReassignmentInProgress, text));
    }
    let Some(first) = topic.partitions.get(&0).and_then(|p| p.replicas.first().map(|leader| (p, *leader))) else {
        let text = format!("Unexpected existing replica assignment for topic '{name}', partition id 0 is missing.");
        return Err(Refusal::new(ErrorCode::UnknownServerError, text));
    };
    let (first, first_leader) = first;
    let existing = topic.partitions.len() as i32;
    if total < existing {
        let text = format!("Topic currently has {existing} partitions, which is higher than the requested {total}.");
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    if total == existing {
        let text = format!("Topic already has {existing} partitions.");
        return Err(Refusal::new(ErrorCode::InvalidPartitions, text));
    }
    let factor = first.replicas.len();
    match given {
        Some(given) => {
            check_given(given, brokers, existing, total, factor)?;
            Ok((existing..).zip(given.iter().cloned()).collect())
        }
        None => {
            let at = brokers.iter().position(|b| b.id >= first_leader).unwrap_or(0);
            let start = Start { first_replica: at, replica_shift: at, partition: existing };
            assign_replicas(brokers, total - existing, factor as i32, start)
        }
    }
}

/// Validates the brokers that a client named for added partitions.
fn check_given(
    given: &[Vec<BrokerId>],
    brokers: &[Candidate],
    existing: i32,
    total: i32,
    factor: usize,
) -> Result<(), Refusal> {
    let refuse = |text: String| Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, text));
    let list = |ids: &[BrokerId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let known: BTreeSet<BrokerId> = brokers.iter().map(|b| b.id).collect();
    let unknown: BTreeSet<BrokerId> = given.iter().flatten().copied().filter(|id| !known.contains(id)).collect();
    if !unknown.is_empty() {
        let unknown = list(&unknown.into_iter().collect::<Vec<_>>());
        return refuse(format!("Unknown broker(s) in replica assignment: {unknown}."));
    }
    let increase = total - existing;
    if given.len() as i32 != increase {
        return refuse(format!(
            "Increasing the number of partitions by {increase} but {} assignments provided.",
            given.len()
        ));
    }
    for (partition, replicas) in (existing..).zip(given) {
        if replicas.is_empty() {
            return refuse(format!("Cannot have replication factor of 0 for partition id {partition}."));
        }
        if replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len() {
            return refuse(format!(
                "Duplicate brokers not allowed in replica assignment: {} for partition id {partition}.",
                list(replicas)
            ));
        }
    }
    let odd: Vec<(i32, usize)> =
        (existing..).zip(given).map(|(id, r)| (id, r.len())).filter(|(_, n)| *n != factor).collect();
    if !odd.is_empty() {
        let ids: Vec<String> = odd.iter().map(|(id, _)| id.to_string()).collect();
        let factors: Vec<String> = odd.iter().map(|(_, n)| n.to_string()).collect();
        return refuse(format!(
            "Inconsistent replication factor between partitions, partition 0 has {factor} while partitions [{}] have \
             replication factors [{}], respectively.",
            ids.join(", "),
            factors.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::ids;
    use super::*;

    fn brokers(racks: &[(i32, Option<&str>)]) -> Vec<Candidate> {
        racks.iter().map(|(id, rack)| Candidate { id: BrokerId(*id), rack: rack.map(str::to_owned) }).collect()
    }

    fn start(first_replica: usize, replica_shift: usize) -> Start {
        Start { first_replica, replica_shift, partition: 0 }
    }

    fn assigned(brokers: &[Candidate], partitions: i32, factor: i32, start: Start) -> Vec<Vec<i32>> {
        let assignment = assign_replicas(brokers, partitions, factor, start).unwrap();
        assignment.values().map(|replicas| replicas.iter().map(|id| id.0).collect()).collect()
    }

    /// The table in Kafka's own documentation of the algorithm.
    #[test]
    fn leaders_go_round_and_followers_shift() {
        let five = brokers(&[(0, None), (1, None), (2, None), (3, None), (4, None)]);
        let expected = [
            [0, 1, 2],
            [1, 2, 3],
            [2, 3, 4],
            [3, 4, 0],
            [4, 0, 1],
            [0, 2, 3],
            [1, 3, 4],
            [2, 4, 0],
            [3, 0, 1],
            [4, 1, 2],
        ];
        assert_eq!(assigned(&five, 10, 3, start(0, 0)), expected);
        assert_eq!(assigned(&five[..1], 3, 1, start(0, 0)), [[0], [0], [0]]);
    }

    /// The example in Kafka's own documentation of the algorithm.
    #[test]
    fn replicas_are_spread_over_racks() {
        let six = brokers(&[
            (0, Some("rack1")),
            (1, Some("rack3")),
            (2, Some("rack3")),
            (3, Some("rack2")),
            (4, Some("rack2")),
            (5, Some("rack1")),
        ]);
        let expected = [[0, 3, 1], [3, 1, 5], [1, 5, 4], [5, 4, 2], [4, 2, 0], [2, 0, 3], [0, 4, 2]];
        assert_eq!(assigned(&six, 7, 3, start(0, 0)), expected);
        // More replicas than racks: every broker once.
        let replicas = &assigned(&six, 1, 6, start(2, 1))[0];
        assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 6);
    }

    #[test]
    fn impossible_assignments_are_refused_in_kafkas_words() {
        let refused = |brokers: &[Candidate], partitions, factor| {
            let refusal = assign_replicas(brokers, partitions, factor, start(0, 0)).unwrap_err();
            (refusal.code, refusal.message)
        };
        let two = brokers(&[(1, None), (2, None)]);
        assert_eq!(
            refused(&two, 1, 3),
            (ErrorCode::InvalidReplicationFactor, "Replication factor: 3 larger than available brokers: 2.".to_owned())
        );
        assert_eq!(refused(&two, 0, 1).0, ErrorCode::InvalidPartitions);
        assert_eq!(refused(&two, i32::MAX, 1).0, ErrorCode::InvalidPartitions, "no znode holds them");
        assert_eq!(refused(&two, 1, 0).0, ErrorCode::InvalidReplicationFactor);
        assert_eq!(refused(&brokers(&[(1, Some("a")), (2, None)]), 1, 1).0, ErrorCode::UnknownServerError);
    }

    #[test]
    fn names_are_checked_in_kafkas_words() {
        let message = |name: &str| check_name(name).unwrap_err().message;
        assert_eq!(message(""), "Topic name is invalid: the empty string is not allowed");
        assert_eq!(message(".."), "Topic name is invalid: '..' is not allowed");
        assert!(message("a b").starts_with("Topic name is invalid: 'a b' contains one or more characters other than"));
        assert!(message(&"a".repeat(250)).ends_with("is longer than the max allowed length 249"));
        assert_eq!(check_name(&"a".repeat(249)), Ok(()));
        assert_eq!(check_name("a.b_c-D9"), Ok(()));
        assert!(collide("a.b", "a_b") && !collide("a.b", "a-b"));
    }

    #[test]
    fn given_assignments_are_whole_and_without_repetition() {
        let of = |entries: &[(i32, &[i32])]| -> Assignment {
            entries.iter().map(|(id, replicas)| (*id, ids(replicas))).collect()
        };
        assert_eq!(check_assignment(&of(&[(0, &[1, 2]), (1, &[2, 1])])), Ok(()));
        for strange in [of(&[]), of(&[(0, &[1]), (1, &[1, 2])]), of(&[(0, &[1, 1])]), of(&[(1, &[1])])] {
            assert_eq!(check_assignment(&strange).unwrap_err().code, ErrorCode::InvalidReplicaAssignment);
        }
    }

    #[test]
    fn added_partitions_go_on_where_the_topic_ended() {
        let three = brokers(&[(1, None), (2, None), (3, None)]);
        let topic = |lists: &[&[i32]]| TopicAssignment {
            topic_id: None,
            partitions: (0..).zip(lists.iter().map(|r| ReplicaAssignment::of(ids(r)))).collect(),
        };
        let existing = topic(&[&[2], &[3]]);
        let added = plan_addition("t", &existing, &three, 4, None).unwrap();
        assert_eq!(added, [(2, ids(&[1])), (3, ids(&[2]))].into());
        let given = [ids(&[3])];
        assert_eq!(plan_addition("t", &existing, &three, 3, Some(&given)).unwrap(), [(2, ids(&[3]))].into());
        let code = |total, given: Option<&[Vec<BrokerId>]>| {
            plan_addition("t", &existing, &three, total, given).unwrap_err().code
        };
        assert_eq!(code(2, None), ErrorCode::InvalidPartitions);
        assert_eq!(code(4, Some(&given)), ErrorCode::InvalidReplicaAssignment);
        assert_eq!(code(3, Some(&[ids(&[9])])), ErrorCode::InvalidReplicaAssignment);
        assert_eq!(code(3, Some(&[ids(&[1, 2])])), ErrorCode::InvalidReplicaAssignment);
        let mut moving = existing.clone();
        moving.partitions.get_mut(&0).unwrap().adding = ids(&[1]);
        let refusal = plan_addition("t", &moving, &three, 4, None).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::ReassignmentInProgress);
    }
}
