//! Owns `/controller`, `/controller_epoch`, and the lists under `/admin` and in notifications.
//! Kafka: `ControllerZNode`, `ControllerEpochZNode`, `IsrChangeNotificationSequenceZNode`,
//! `ReassignPartitionsZNode`, `PreferredReplicaElectionZNode`, `LogDirEventNotificationSequenceZNode`.

use super::Malformed;
use super::json::{object, parse};
use crate::common::{BrokerId, ControllerEpoch, TopicPartition};
use serde_json::json;
use std::collections::BTreeMap;

/// The content of `/controller`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerNode {
    pub broker: BrokerId,
    /// Above 0 when a KRaft controller owns the cluster.
    pub kraft_epoch: i32,
}

impl ControllerNode {
    /// `now` is milliseconds since the epoch.
    pub fn encode(broker: BrokerId, now: i64) -> Vec<u8> {
        json!({"version": 2, "brokerid": broker.0, "timestamp": now.to_string(), "kraftControllerEpoch": -1})
            .to_string()
            .into_bytes()
    }

    pub fn decode(data: Option<&[u8]>) -> Result<Self, Malformed> {
        let value = parse(data)?;
        let fields = object(&value)?;
        let kraft_epoch = match fields.get("kraftControllerEpoch") {
            None => -1,
            Some(_) => fields.int("kraftControllerEpoch")?,
        };
        Ok(Self { broker: BrokerId(fields.int("brokerid")?), kraft_epoch })
    }
}

/// The term is plain decimal text.
pub fn encode_epoch(epoch: ControllerEpoch) -> Vec<u8> {
    epoch.to_string().into_bytes()
}

pub fn decode_epoch(data: Option<&[u8]>) -> Result<ControllerEpoch, Malformed> {
    let text = std::str::from_utf8(data.unwrap_or_default()).map_err(|_| Malformed::new("epoch is not text"))?;
    text.parse().map(ControllerEpoch).map_err(|_| Malformed(format!("epoch {text:?} is no number")))
}

/// The partitions that an ISR notification or a preferred election names.
pub fn decode_partitions(data: Option<&[u8]>) -> Result<Vec<TopicPartition>, Malformed> {
    let value = parse(data)?;
    let mut out = Vec::new();
    for entry in object(&value)?.array("partitions")? {
        let entry = object(entry)?;
        out.push(TopicPartition::new(entry.string("topic")?, entry.int("partition")?));
    }
    Ok(out)
}

/// `/admin/reassign_partitions`: requested moves of partitions. Written by tools older than 2.5, and rewritten by
/// controllers. Kafka: `ReassignPartitionsZNode`.
pub type Moves = BTreeMap<TopicPartition, Vec<BrokerId>>;

/// Keys in the order of Kafka's bean.
pub fn encode_moves(moves: &Moves) -> Vec<u8> {
    let entry = |(tp, replicas): (&TopicPartition, &Vec<BrokerId>)| {
        let replicas: Vec<i32> = replicas.iter().map(|id| id.0).collect();
        json!({"topic": &*tp.topic, "partition": tp.partition, "replicas": replicas})
    };
    json!({"version": 1, "partitions": moves.iter().map(entry).collect::<Vec<_>>()}).to_string().into_bytes()
}

/// An unknown key makes the node unreadable, as in Kafka: `log_dirs` would otherwise be lost silently. Of two entries
/// for one partition the later counts.
pub fn decode_moves(data: Option<&[u8]>) -> Result<Moves, Malformed> {
    let value = parse(data)?;
    let fields = object(&value)?;
    fields.only(&["version", "partitions"])?;
    let mut moves = Moves::new();
    for entry in fields.array("partitions")? {
        let entry = object(entry)?;
        entry.only(&["topic", "partition", "replicas"])?;
        let tp = TopicPartition::new(entry.string("topic")?, entry.int("partition")?);
        moves.insert(tp, entry.ints("replicas")?.into_iter().map(BrokerId).collect());
    }
    Ok(moves)
}

/// `/log_dir_event_notification/log_dir_event_N`: a log directory of `broker` failed.
pub fn encode_log_dir_event(broker: BrokerId) -> Vec<u8> {
    json!({"version": 1, "broker": broker.0, "event": 1}).to_string().into_bytes()
}

pub fn decode_log_dir_event(data: Option<&[u8]>) -> Result<BrokerId, Malformed> {
    let value = parse(data)?;
    Ok(BrokerId(object(&value)?.int("broker")?))
}

/// `/latest_producer_id_block`: the block that was allocated last; both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerIdBlock {
    pub broker: BrokerId,
    pub first: i64,
    pub last: i64,
}

impl ProducerIdBlock {
    pub const LENGTH: i64 = 1_000;

    pub fn encode(&self) -> Vec<u8> {
        // 64-bit numbers are text: many JSON parsers read numbers as doubles.
        json!({
            "version": 1,
            "broker": self.broker.0,
            "block_start": self.first.to_string(),
            "block_end": self.last.to_string(),
        })
        .to_string()
        .into_bytes()
    }

    /// None for a node without data: no block was allocated yet.
    pub fn decode(data: Option<&[u8]>) -> Result<Option<Self>, Malformed> {
        if data.is_none() {
            return Ok(None);
        }
        let value = parse(data)?;
        let fields = object(&value)?;
        let bound = |key: &str| {
            fields.string(key)?.parse::<i64>().map_err(|_| Malformed(format!("{key} is no number in text")))
        };
        let broker = BrokerId(fields.int("broker")?);
        Ok(Some(Self { broker, first: bound("block_start")?, last: bound("block_end")? }))
    }

    /// How many ids are skipped where it is unknown which were allocated: more than any cluster has used between two
    /// backups of its ensemble, and negligible beside 2^63.
    pub const LEFT_OUT: i64 = 1_000_000_000;

    /// A block that is never allocated, so far after `latest` that every block allocated but lost from ZooKeeper is
    /// before it.
    pub fn beyond_forgotten(latest: Option<Self>, broker: BrokerId) -> Option<Self> {
        let next = Self::next(latest, broker)?;
        Some(Self {
            first: next.first.checked_add(Self::LEFT_OUT)?,
            last: next.last.checked_add(Self::LEFT_OUT)?,
            ..next
        })
    }

    /// The block after `latest`. None when the ids are used up.
    pub fn next(latest: Option<Self>, broker: BrokerId) -> Option<Self> {
        let first = match latest {
            None => 0,
            Some(block) => block.last.checked_add(1)?,
        };
        Some(Self { broker, first, last: first.checked_add(Self::LENGTH - 1)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_apache_writes() {
        let controller = r#"{"version":2,"brokerid":1,"timestamp":"1795251986753","kraftControllerEpoch":-1}"#;
        let node = ControllerNode { broker: BrokerId(1), kraft_epoch: -1 };
        assert_eq!(ControllerNode::decode(Some(controller.as_bytes())), Ok(node));
        assert_eq!(String::from_utf8(ControllerNode::encode(BrokerId(1), 1795251986753)).unwrap(), controller);
        assert_eq!(encode_epoch(ControllerEpoch(7)), b"7");
        assert_eq!(decode_epoch(Some(b"7")), Ok(ControllerEpoch(7)));
    }

    #[test]
    fn strange_nodes_are_errors() {
        assert!(ControllerNode::decode(Some(br#"{"brokerid":"1"}"#)).is_err());
        assert!(decode_epoch(None).is_err());
        assert!(decode_epoch(Some(b"seven")).is_err());
        assert!(decode_partitions(Some(br#"{"partitions":[{"topic":"t"}]}"#)).is_err());
        assert!(ProducerIdBlock::decode(Some(br#"{"broker":1,"block_start":0,"block_end":999}"#)).is_err());
    }

    #[test]
    fn moves_read_back_byte_for_byte_and_strange_ones_are_errors() {
        let text = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[4,5]},{"topic":"t","partition":1,"replicas":[]}]}"#;
        let moves = decode_moves(Some(text.as_bytes())).unwrap();
        assert_eq!(moves[&TopicPartition::new("t", 0)], [BrokerId(4), BrokerId(5)]);
        assert_eq!(String::from_utf8(encode_moves(&moves)).unwrap(), text);
        for strange in [
            "",
            "{}",
            r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":["any"]}]}"#,
            r#"{"version":1,"partitions":[],"more":1}"#,
            r#"{"version":1,"partitions":[{"topic":"t","partition":"0","replicas":[1]}]}"#,
            r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":["1"]}]}"#,
        ] {
            assert!(decode_moves(Some(strange.as_bytes())).is_err(), "{strange}");
        }
    }

    #[test]
    fn producer_id_blocks_follow_each_other() {
        let first = ProducerIdBlock::next(None, BrokerId(1)).unwrap();
        assert_eq!((first.first, first.last), (0, 999));
        let second = ProducerIdBlock::next(Some(first), BrokerId(2)).unwrap();
        assert_eq!(
            String::from_utf8(second.encode()).unwrap(),
            r#"{"version":1,"broker":2,"block_start":"1000","block_end":"1999"}"#
        );
        assert_eq!(ProducerIdBlock::decode(Some(&second.encode())), Ok(Some(second)));
        let end = ProducerIdBlock { broker: BrokerId(1), first: 0, last: i64::MAX - 5 };
        assert_eq!(ProducerIdBlock::next(Some(end), BrokerId(1)), None);
    }

    #[test]
    fn log_dir_events_name_the_broker() {
        assert_eq!(encode_log_dir_event(BrokerId(2)), br#"{"version":1,"broker":2,"event":1}"#);
        assert_eq!(decode_log_dir_event(Some(&encode_log_dir_event(BrokerId(2)))), Ok(BrokerId(2)));
    }
}
