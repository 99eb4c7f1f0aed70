//! Owns what kafka-reassign-partitions.sh reads, computes and prints, without a cluster: its JSON files, the throttles
//! that a move needs, the states of moves. Kafka: the static helpers of `ReassignPartitionsCommand`. Pure.

use crate::tools::support::leaders::Partition;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A log directory that the broker picks.
const ANY_LOG_DIR: &str = "any";
const FILE_VERSION: i64 = 1;

const OPERATION_EXCEPTION: &str = "org.apache.kafka.server.common.AdminOperationException";
const COMMAND_FAILED_EXCEPTION: &str = "org.apache.kafka.server.common.AdminCommandFailedException";
const JSON_EXCEPTION: &str = "com.fasterxml.jackson.databind.JsonMappingException";

/// A Java exception: its class and message.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::tools) struct Thrown {
    pub(in crate::tools) exception: &'static str,
    pub(in crate::tools) message: String,
}

fn operation(message: impl Into<String>) -> Thrown {
    Thrown { exception: OPERATION_EXCEPTION, message: message.into() }
}

pub(super) fn command_failed(message: impl Into<String>) -> Thrown {
    Thrown { exception: COMMAND_FAILED_EXCEPTION, message: message.into() }
}

fn mapping(message: String) -> Thrown {
    Thrown { exception: JSON_EXCEPTION, message }
}

/// A replica: broker, topic, partition. Kafka's tool sorts them in this order.
pub(super) type Replica = (i32, String, i32);

pub(super) fn replica_name((broker, topic, partition): &Replica) -> String {
    format!("{topic}-{partition}-{broker}")
}

pub(super) fn partition_name((topic, partition): &Partition) -> String {
    format!("{topic}-{partition}")
}

pub(super) type Assignments = BTreeMap<Partition, Vec<i32>>;

/// A file of `--reassignment-json-file`.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wanted {
    /// In the order of the file, perhaps with a partition twice.
    pub(super) partitions: Vec<(Partition, Vec<i32>)>,
    /// Replicas for which the file names a log directory.
    pub(super) log_dirs: BTreeMap<Replica, String>,
}

impl Wanted {
    pub(super) fn parse(text: &str) -> Result<Self, Thrown> {
        let json = if text.is_empty() {
            return Err(operation(""));
        } else {
            serde_json::from_str(text).map_err(|e| operation(format!("not JSON: {e}")))?
        };
        check_version(&json)?;
        let mut wanted = Self::default();
        let Some(partitions) = json.get("partitions") else { return Ok(wanted) };
        for entry in array(partitions)? {
            let topic = string(field(entry, "topic")?)?.to_owned();
            let partition = integer(field(entry, "partition")?)?;
            let replicas = integers(field(entry, "replicas")?)?;
            let dirs: Vec<String> = match entry.get("log_dirs") {
                Some(dirs) => {
                    array(dirs)?.iter().map(|dir| string(dir).map(str::to_owned)).collect::<Result<_, _>>()?
                }
                None => vec![ANY_LOG_DIR.to_owned(); replicas.len()],
            };
            if dirs.len() != replicas.len() {
                return Err(command_failed(format!(
                    "Size of replicas list {} is different from size of log dirs list [{}] for partition {topic}-{partition}",
                    java_list(&replicas),
                    dirs.join(", ")
                )));
            }
            for (broker, dir) in replicas.iter().zip(dirs).filter(|(_, dir)| dir != ANY_LOG_DIR) {
                wanted.log_dirs.insert((*broker, topic.clone(), partition), dir);
            }
            wanted.partitions.push(((topic, partition), replicas));
        }
        Ok(wanted)
    }

    /// The partitions to move, each once. For `--execute`, which refuses duplicates that the others allow.
    pub(super) fn for_execution(&self) -> Result<Assignments, Thrown> {
        if self.partitions.is_empty() {
            return Err(command_failed("Partition reassignment list cannot be empty"));
        }
        if self.partitions.iter().any(|(_, replicas)| replicas.is_empty()) {
            return Err(command_failed("Partition replica list cannot be empty"));
        }
        let names: Vec<&Partition> = self.partitions.iter().map(|(partition, _)| partition).collect();
        let twice: Vec<String> = duplicates(&names).into_iter().map(|partition| partition_name(partition)).collect();
        if !twice.is_empty() {
            let twice = twice.join(",");
            return Err(command_failed(format!("Partition reassignment contains duplicate topic partitions: {twice}")));
        }
        let mut doubled = Vec::new();
        for (partition, replicas) in &self.partitions {
            let twice = joined(duplicates(replicas));
            if !twice.is_empty() {
                doubled.push(format!("{} contains multiple entries for {twice}", partition_name(partition)));
            }
        }
        if !doubled.is_empty() {
            let doubled = doubled.join(". ");
            return Err(command_failed(format!(
                "Partition replica lists may not contain duplicate entries: {doubled}"
            )));
        }
        Ok(self.partitions.iter().cloned().collect())
    }
}

/// The topics of `--topics-to-move-json-file`, each once.
pub(super) fn topics_to_move(text: &str) -> Result<Vec<String>, Thrown> {
    let json: Value = serde_json::from_str(text).map_err(|_| operation("The input string is not a valid JSON"))?;
    check_version(&json)?;
    let mut topics = Vec::new();
    if let Some(listed) = json.get("topics") {
        for entry in array(listed)? {
            topics.push(string(field(entry, "topic")?)?.to_owned());
        }
    }
    let twice: Vec<&str> = duplicates(&topics).into_iter().map(String::as_str).collect();
    if !twice.is_empty() {
        let twice = twice.join(", ");
        return Err(command_failed(format!("List of topics to reassign contains duplicate entries: [{twice}]")));
    }
    Ok(topics)
}

/// The brokers of `--broker-list`, each once.
pub(super) fn broker_list(text: &str) -> Result<Vec<i32>, Thrown> {
    let mut brokers = Vec::new();
    // As in Java, a trailing comma adds no element.
    for id in text.trim_end_matches(',').split(',') {
        let message = || format!("For input string: \"{id}\"");
        let id = id.parse().map_err(|_| Thrown { exception: "java.lang.NumberFormatException", message: message() })?;
        brokers.push(id);
    }
    let twice = duplicates(&brokers);
    if !twice.is_empty() {
        let twice: Vec<i32> = twice.into_iter().copied().collect();
        return Err(command_failed(format!("Broker list contains duplicate entries: {}", java_list(&twice))));
    }
    Ok(brokers)
}

fn check_version(json: &Value) -> Result<(), Thrown> {
    let object = json.as_object().ok_or_else(|| mapping(format!("Expected JSON object, received {json}")))?;
    match object.get("version").map(integer).transpose()? {
        None => Ok(()),
        Some(version) if i64::from(version) == FILE_VERSION => Ok(()),
        Some(version) => Err(operation(format!("Not supported version field value {version}"))),
    }
}

pub(in crate::tools) fn array(value: &Value) -> Result<&Vec<Value>, Thrown> {
    value.as_array().ok_or_else(|| mapping(format!("Expected JSON array, received {value}")))
}

pub(in crate::tools) fn field<'a>(entry: &'a Value, name: &str) -> Result<&'a Value, Thrown> {
    let object = entry.as_object().ok_or_else(|| mapping(format!("Expected JSON object, received {entry}")))?;
    object.get(name).ok_or_else(|| mapping(format!("No such field exists: `{name}`")))
}

pub(in crate::tools) fn string(value: &Value) -> Result<&str, Thrown> {
    value.as_str().ok_or_else(|| mapping(format!("Expected `String` value, received {value}")))
}

pub(in crate::tools) fn integer(value: &Value) -> Result<i32, Thrown> {
    let number = value.as_i64().and_then(|n| i32::try_from(n).ok());
    number.ok_or_else(|| mapping(format!("Expected `Integer` value, received {value}")))
}

fn integers(value: &Value) -> Result<Vec<i32>, Thrown> {
    array(value)?.iter().map(integer).collect()
}

/// The duplicates, each once.
fn duplicates<T: Ord>(items: &[T]) -> BTreeSet<&T> {
    let mut seen = BTreeSet::new();
    items.iter().filter(|item| !seen.insert(*item)).collect()
}

pub(super) fn joined<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(",")
}

fn java_list(ids: &[i32]) -> String {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    format!("[{}]", ids.join(", "))
}

/// The file that produces `assignments`.
pub(super) fn file(assignments: &Assignments) -> String {
    let entry = |((topic, partition), replicas): (&Partition, &Vec<i32>)| {
        let dirs = vec![ANY_LOG_DIR; replicas.len()];
        json!({"topic": topic, "partition": partition, "replicas": replicas, "log_dirs": dirs})
    };
    json!({"version": 1, "partitions": assignments.iter().map(entry).collect::<Vec<_>>()}).to_string()
}

/// An ongoing reassignment, as the controller lists it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ongoing {
    pub(super) replicas: Vec<i32>,
    pub(super) adding: Vec<i32>,
    pub(super) removing: Vec<i32>,
}

/// From which brokers a partition is copied, and to which. Kafka: `PartitionMove`.
#[derive(Debug, PartialEq)]
pub(super) struct Move {
    sources: BTreeSet<i32>,
    destinations: BTreeSet<i32>,
}

/// All moves, by topic and partition: the ongoing ones, overridden by `proposed`.
pub(super) fn moves(
    ongoing: &BTreeMap<Partition, Ongoing>,
    proposed: &Assignments,
    current: &Assignments,
) -> BTreeMap<String, BTreeMap<i32, Move>> {
    let mut moves: BTreeMap<String, BTreeMap<i32, Move>> = BTreeMap::new();
    for ((topic, partition), ongoing) in ongoing {
        let destinations: BTreeSet<i32> = ongoing.adding.iter().copied().collect();
        let sources = ongoing.replicas.iter().copied().filter(|id| !destinations.contains(id)).collect();
        moves.entry(topic.clone()).or_default().insert(*partition, Move { sources, destinations });
    }
    for (key, replicas) in proposed {
        let of_topic = moves.entry(key.0.clone()).or_default();
        let sources: BTreeSet<i32> = match of_topic.get(&key.1) {
            Some(under_way) => under_way.sources.clone(),
            None => current.get(key).into_iter().flatten().copied().collect(),
        };
        let destinations = replicas.iter().copied().filter(|id| !sources.contains(id)).collect();
        of_topic.insert(key.1, Move { sources, destinations });
    }
    moves
}

/// The throttled replicas in a topic's settings: those that are read, and those that are written.
pub(super) fn throttled_replicas(moves: &BTreeMap<i32, Move>) -> (String, String) {
    let named = |of: fn(&Move) -> &BTreeSet<i32>| {
        let pairs: BTreeSet<String> =
            moves.iter().flat_map(|(id, m)| of(m).iter().map(move |broker| format!("{id}:{broker}"))).collect();
        joined(pairs)
    };
    (named(|m| &m.sources), named(|m| &m.destinations))
}

pub(super) fn moving_brokers(moves: &BTreeMap<String, BTreeMap<i32, Move>>) -> BTreeSet<i32> {
    let all = moves.values().flat_map(BTreeMap::values);
    all.flat_map(|m| m.sources.iter().chain(&m.destinations)).copied().collect()
}

/// The state of a replica's move to another log directory. Kafka: `LogDirMoveState`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum DirMove {
    /// The broker has the replica in no working directory.
    MissingLogDir,
    Completed,
    Cancelled {
        current: String,
    },
    Active {
        current: String,
        future: String,
    },
}

impl DirMove {
    pub(super) fn of(current: Option<String>, future: Option<String>, target: &str) -> Self {
        match (current, future) {
            (None, _) => Self::MissingLogDir,
            (Some(current), None) if current == target => Self::Completed,
            (Some(current), None) => Self::Cancelled { current },
            (Some(current), Some(future)) => Self::Active { current, future },
        }
    }

    pub(super) fn is_done(&self) -> bool {
        !matches!(self, Self::Active { .. })
    }

    pub(super) fn shown(&self, replica: &Replica, target: &str) -> String {
        let (broker, topic, partition) = replica;
        let name = replica_name(replica);
        match self {
            Self::MissingLogDir => format!(
                "Partition {topic}-{partition} is not found in any live log dir on broker {broker}. There is likely an \
                 offline log directory on the broker."
            ),
            Self::Active { future, .. } if future == target => {
                format!("Reassignment of replica {name} is still in progress.")
            }
            Self::Active { future, .. } => format!(
                "Partition {topic}-{partition} on broker {broker} is being moved to log dir {future} instead of {target}."
            ),
            Self::Cancelled { current } => format!(
                "Partition {topic}-{partition} on broker {broker} is not being moved from log dir {current} to {target}."
            ),
            Self::Completed => format!("Reassignment of replica {name} completed successfully."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(id: i32) -> Partition {
        ("t".to_owned(), id)
    }

    #[test]
    fn a_file_names_replicas_and_perhaps_directories() {
        let text = r#"{"version":1,"partitions":[
            {"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","/d"]},
            {"topic":"t","partition":1,"replicas":[3]}]}"#;
        let wanted = Wanted::parse(text).unwrap();
        assert_eq!(wanted.partitions, [(partition(0), vec![1, 2]), (partition(1), vec![3])]);
        assert_eq!(wanted.log_dirs, [((2, "t".to_owned(), 0), "/d".to_owned())].into());
        let assignments = wanted.for_execution().unwrap();
        let again = Wanted::parse(&file(&assignments)).unwrap();
        assert_eq!(again.partitions, wanted.partitions);
    }

    #[test]
    fn what_a_file_may_not_say_is_refused_in_kafkas_words() {
        let said = |text: &str| Wanted::parse(text).and_then(|w| w.for_execution().map(drop)).unwrap_err().message;
        let one = |entry: &str| said(&format!(r#"{{"partitions":[{entry}]}}"#));
        assert_eq!(said("{}"), "Partition reassignment list cannot be empty");
        assert_eq!(said("[]"), "Expected JSON object, received []");
        assert_eq!(said(r#"{"version":2}"#), "Not supported version field value 2");
        assert_eq!(one(r#"{"partition":0,"replicas":[1]}"#), "No such field exists: `topic`");
        assert_eq!(one(r#"{"topic":"t","partition":"0","replicas":[1]}"#), r#"Expected `Integer` value, received "0""#);
        assert_eq!(one(r#"{"topic":"t","partition":0,"replicas":[]}"#), "Partition replica list cannot be empty");
        assert_eq!(
            one(r#"{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any"]}"#),
            "Size of replicas list [1, 2] is different from size of log dirs list [any] for partition t-0"
        );
        assert_eq!(
            one(r#"{"topic":"t","partition":0,"replicas":[1,1,2]}"#),
            "Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 1"
        );
        let twice = r#"{"topic":"t","partition":0,"replicas":[1]},{"topic":"t","partition":0,"replicas":[2]}"#;
        assert_eq!(one(twice), "Partition reassignment contains duplicate topic partitions: t-0");
        assert_eq!(broker_list("1,x").unwrap_err().message, "For input string: \"x\"");
        assert_eq!(broker_list("1,2,1").unwrap_err().message, "Broker list contains duplicate entries: [1]");
        let topics = r#"{"topics":[{"topic":"a"},{"topic":"a"}]}"#;
        assert_eq!(
            topics_to_move(topics).unwrap_err().message,
            "List of topics to reassign contains duplicate entries: [a]"
        );
    }

    #[test]
    fn throttles_name_sources_and_destinations_of_old_and_new_moves() {
        let under_way = Ongoing { replicas: vec![4, 1, 2], adding: vec![4], removing: vec![1] };
        let ongoing = [(partition(0), under_way)].into();
        let proposed: Assignments = [(partition(0), vec![5, 2]), (partition(10), vec![2, 3])].into();
        let current: Assignments = [(partition(0), vec![4, 1, 2]), (partition(10), vec![1, 2])].into();
        let moves = moves(&ongoing, &proposed, &current);
        let (leaders, followers) = throttled_replicas(&moves["t"]);
        assert_eq!(leaders, "0:1,0:2,10:1,10:2");
        assert_eq!(followers, "0:5,10:3");
        assert_eq!(moving_brokers(&moves), [1, 2, 3, 5].into());
    }

    #[test]
    fn directories_are_told_by_where_the_replica_is_and_goes() {
        let state = |current: Option<&str>, future: Option<&str>| {
            DirMove::of(current.map(str::to_owned), future.map(str::to_owned), "/b")
        };
        let replica = (1, "t".to_owned(), 0);
        let shown = |state: DirMove| state.shown(&replica, "/b");
        assert_eq!(shown(state(Some("/b"), None)), "Reassignment of replica t-0-1 completed successfully.");
        assert_eq!(
            shown(state(Some("/a"), None)),
            "Partition t-0 on broker 1 is not being moved from log dir /a to /b."
        );
        assert_eq!(shown(state(Some("/a"), Some("/b"))), "Reassignment of replica t-0-1 is still in progress.");
        assert!(!state(Some("/a"), Some("/b")).is_done() && state(None, None).is_done());
    }
}
