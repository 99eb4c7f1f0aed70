//! Owns `/brokers/topics/T` and `.../partitions/P/state`: the replicas and the leader of a partition.
//! Kafka: `TopicZNode`, `TopicPartitionStateZNode`.

use super::Malformed;
use super::json::{Object, ints, object, parse};
use crate::common::{BrokerId, ControllerEpoch, LeaderEpoch, Uuid};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The brokers of one partition. During a reassignment `replicas` is the full set: the target, then those to be
/// removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaAssignment {
    /// In order: the first is the preferred leader.
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
}

impl ReplicaAssignment {
    pub fn of(replicas: Vec<BrokerId>) -> Self {
        Self { replicas, ..Self::default() }
    }

    pub fn is_being_reassigned(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// The brokers before the reassignment, as far as their order is still known.
    pub fn origin(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.adding)
    }

    /// The brokers after the reassignment.
    pub fn target(&self) -> Vec<BrokerId> {
        without(&self.replicas, &self.removing)
    }

    /// The assignment while the partition moves to `target`. An ongoing reassignment is replaced: replicas that it adds
    /// and the new one does not are not part of the result. Kafka: `ReplicaAssignment.reassignTo`.
    pub fn reassigned_to(&self, target: &[BrokerId]) -> Self {
        let origin = self.origin();
        let mut replicas: Vec<BrokerId> = Vec::new();
        for id in target.iter().chain(&origin) {
            if !replicas.contains(id) {
                replicas.push(*id);
            }
        }
        Self { adding: without(&replicas, &origin), removing: without(&replicas, target), replicas }
    }
}

fn without(list: &[BrokerId], leave_out: &[BrokerId]) -> Vec<BrokerId> {
    list.iter().copied().filter(|id| !leave_out.contains(id)).collect()
}

/// The content of a topic's znode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicAssignment {
    /// None in nodes written by tools older than 2.8; the controller then generates one.
    pub topic_id: Option<Uuid>,
    pub partitions: BTreeMap<i32, ReplicaAssignment>,
}

impl TopicAssignment {
    pub fn encode(&self) -> Vec<u8> {
        let lists = |of: fn(&ReplicaAssignment) -> &[BrokerId], always: bool| -> Value {
            self.partitions
                .iter()
                .filter(|(_, p)| always || !of(p).is_empty())
                .map(|(id, p)| (id.to_string(), of(p).iter().map(|b| b.0).collect::<Vec<_>>().into()))
                .collect::<Map<String, Value>>()
                .into()
        };
        let mut out = Map::new();
        out.insert("partitions".to_owned(), lists(|p| &p.replicas, true));
        if let Some(id) = self.topic_id {
            out.insert("topic_id".to_owned(), json!(id.to_string()));
        }
        out.insert("adding_replicas".to_owned(), lists(|p| &p.adding, false));
        out.insert("removing_replicas".to_owned(), lists(|p| &p.removing, false));
        out.insert("version".to_owned(), json!(3));
        Value::from(out).to_string().into_bytes()
    }

    /// Reads every version: the `version` key is ignored, as in Kafka.
    pub fn decode(data: Option<&[u8]>) -> Result<Self, Malformed> {
        let value = parse(data)?;
        let fields = object(&value)?;
        let topic_id = match fields.get("topic_id") {
            None => None,
            Some(_) => {
                let text = fields.string("topic_id")?;
                Some(Uuid::parse(text).ok_or_else(|| Malformed(format!("topic_id {text} is no id")))?)
            }
        };
        let adding = fields.optional_object("adding_replicas")?;
        let removing = fields.optional_object("removing_replicas")?;
        let mut partitions = BTreeMap::new();
        if let Some(listed) = fields.optional_object("partitions")? {
            for (key, replicas) in listed.0 {
                let id: i32 = key.parse().map_err(|_| Malformed(format!("partition {key} is no number")))?;
                let part_of = |map: &Option<Object<'_>>| match map.as_ref().and_then(|m| m.get(key)) {
                    Some(list) => brokers(list, key),
                    None => Ok(Vec::new()),
                };
                partitions.insert(
                    id,
                    ReplicaAssignment {
                        replicas: brokers(replicas, key)?,
                        adding: part_of(&adding)?,
                        removing: part_of(&removing)?,
                    },
                );
            }
        }
        Ok(Self { topic_id, partitions })
    }
}

fn brokers(list: &Value, what: &str) -> Result<Vec<BrokerId>, Malformed> {
    Ok(ints(list, what)?.into_iter().map(BrokerId).collect())
}

/// Whether the ISR is known to have all committed records. Kafka: `LeaderRecoveryState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(i8)]
pub enum LeaderRecoveryState {
    #[default]
    Recovered = 0,
    /// After an unclean election, until the leader reports its recovery.
    Recovering = 1,
}

/// The leader and the in-sync replicas of a partition. Kafka: `LeaderAndIsr`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaderAndIsr {
    /// [`BrokerId::NONE`] when there is none.
    pub leader: BrokerId,
    pub leader_epoch: LeaderEpoch,
    /// Never empty: the last member is kept even when it is offline.
    pub isr: Vec<BrokerId>,
    pub recovery: LeaderRecoveryState,
}

/// The content of a partition's state znode. The node's version, "partition epoch" on the wire, is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    pub leader_and_isr: LeaderAndIsr,
    /// The term that decided this.
    pub controller_epoch: ControllerEpoch,
}

impl PartitionState {
    pub fn encode(&self) -> Vec<u8> {
        let LeaderAndIsr { leader, leader_epoch, isr, recovery } = &self.leader_and_isr;
        let mut out = Map::new();
        out.insert("controller_epoch".to_owned(), json!(self.controller_epoch.0));
        out.insert("leader".to_owned(), json!(leader.0));
        out.insert("version".to_owned(), json!(1));
        if *recovery != LeaderRecoveryState::Recovered {
            out.insert("leader_recovery_state".to_owned(), json!(*recovery as i8));
        }
        out.insert("leader_epoch".to_owned(), json!(leader_epoch.0));
        out.insert("isr".to_owned(), isr.iter().map(|b| b.0).collect::<Vec<_>>().into());
        Value::from(out).to_string().into_bytes()
    }

    pub fn decode(data: Option<&[u8]>) -> Result<Self, Malformed> {
        let value = parse(data)?;
        let fields = object(&value)?;
        let recovery = match fields.get("leader_recovery_state").map(|_| fields.int("leader_recovery_state")) {
            None | Some(Ok(0)) => LeaderRecoveryState::Recovered,
            Some(Ok(1)) => LeaderRecoveryState::Recovering,
            Some(Ok(other)) => return Err(Malformed(format!("leader_recovery_state {other}"))),
            Some(Err(e)) => return Err(e),
        };
        Ok(Self {
            leader_and_isr: LeaderAndIsr {
                leader: BrokerId(fields.int("leader")?),
                leader_epoch: LeaderEpoch(fields.int("leader_epoch")?),
                isr: fields.ints("isr")?.into_iter().map(BrokerId).collect(),
                recovery,
            },
            controller_epoch: ControllerEpoch(fields.int("controller_epoch")?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_read_back_byte_for_byte() {
        // The first is Apache's own; the key order of the others follows from the same hash map.
        for text in [
            r#"{"partitions":{"0":[1,2],"1":[2,1],"2":[1,2],"3":[2,1],"4":[1,2],"5":[2,1]},"topic_id":"DImSysNmQv-MfYpig-iTmw","adding_replicas":{},"removing_replicas":{},"version":3}"#,
            r#"{"partitions":{"0":[2,3,1]},"topic_id":"DImSysNmQv-MfYpig-iTmw","adding_replicas":{"0":[3]},"removing_replicas":{"0":[1]},"version":3}"#,
            r#"{"partitions":{"9":[1],"10":[2]},"adding_replicas":{},"removing_replicas":{},"version":3}"#,
        ] {
            let topic = TopicAssignment::decode(Some(text.as_bytes())).unwrap();
            assert_eq!(String::from_utf8(topic.encode()).unwrap(), text);
        }
    }

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    #[test]
    fn a_reassignment_lists_the_target_first_and_then_what_goes() {
        let moving = ReplicaAssignment::of(ids(&[1, 2])).reassigned_to(&ids(&[2, 3]));
        let expected = ReplicaAssignment { replicas: ids(&[2, 3, 1]), adding: ids(&[3]), removing: ids(&[1]) };
        assert_eq!(moving, expected);
        assert_eq!((moving.origin(), moving.target()), (ids(&[2, 1]), ids(&[2, 3])));
        // Replaced by another one: broker 3 is removed again.
        let other = moving.reassigned_to(&ids(&[4, 1]));
        let expected = ReplicaAssignment { replicas: ids(&[4, 1, 2]), adding: ids(&[4]), removing: ids(&[2]) };
        assert_eq!(other, expected);
        // Cancelled: nothing to add or remove. The first order is lost where target and origin overlapped.
        assert_eq!(moving.reassigned_to(&moving.origin()), ReplicaAssignment::of(ids(&[2, 1])));
        // A different order of the same brokers moves nothing.
        assert!(!ReplicaAssignment::of(ids(&[1, 2])).reassigned_to(&ids(&[2, 1])).is_being_reassigned());
    }

    #[test]
    fn old_topic_nodes_have_no_id() {
        let topic = TopicAssignment::decode(Some(br#"{"version":1,"partitions":{"0":[1]}}"#)).unwrap();
        assert_eq!(topic.topic_id, None);
        assert_eq!(topic.partitions[&0], ReplicaAssignment::of(vec![BrokerId(1)]));
    }

    #[test]
    fn strange_topics_are_errors() {
        for text in [
            "",
            "x",
            "7",
            r#"{"partitions":[]}"#,
            r#"{"partitions":{"a":[1]}}"#,
            r#"{"partitions":{"0":["1"]}}"#,
            r#"{"partitions":{"0":7}}"#,
            r#"{"partitions":{"0":[99999999999]}}"#,
            r#"{"topic_id":7,"partitions":{}}"#,
            r#"{"topic_id":"short","partitions":{}}"#,
        ] {
            assert!(TopicAssignment::decode(Some(text.as_bytes())).is_err(), "{text}");
        }
        assert!(TopicAssignment::decode(None).is_err());
    }

    #[test]
    fn states_read_back_byte_for_byte() {
        for text in [
            r#"{"controller_epoch":1,"leader":1,"version":1,"leader_epoch":0,"isr":[1,2]}"#,
            r#"{"controller_epoch":1,"leader":-1,"version":1,"leader_epoch":1,"isr":[2]}"#,
            r#"{"controller_epoch":4,"leader":3,"version":1,"leader_recovery_state":1,"leader_epoch":9,"isr":[3]}"#,
        ] {
            let state = PartitionState::decode(Some(text.as_bytes())).unwrap();
            assert_eq!(String::from_utf8(state.encode()).unwrap(), text);
        }
    }

    #[test]
    fn strange_states_are_errors() {
        for text in [
            "",
            "{}",
            r#"{"leader":1,"leader_epoch":0,"isr":[1]}"#,
            r#"{"controller_epoch":1,"leader":"1","leader_epoch":0,"isr":[1]}"#,
            r#"{"controller_epoch":1,"leader":1,"leader_epoch":0,"isr":[1],"leader_recovery_state":2}"#,
        ] {
            assert!(PartitionState::decode(Some(text.as_bytes())).is_err(), "{text}");
        }
    }
}
