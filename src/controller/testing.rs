//! Owns the fixtures of the controller's tests.

use super::context::Context;
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, TopicPartition, Uuid};
use crate::config::endpoint::{Endpoint, ListenerName, SecurityProtocol};
use crate::zk::data::broker::BrokerRegistration;
use crate::zk::data::topic::ReplicaAssignment;
use std::sync::Arc;

pub(super) fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub(super) fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

pub(super) fn registration(id: i32, port: u16) -> BrokerRegistration {
    let endpoint = Endpoint {
        listener: ListenerName::new("PLAINTEXT").expect("a name"),
        protocol: SecurityProtocol::Plaintext,
        host: Some("127.0.0.1".into()),
        port,
    };
    BrokerRegistration {
        id: BrokerId(id),
        endpoints: vec![endpoint],
        rack: None,
        jmx_port: -1,
        features: Default::default(),
    }
}

pub(super) fn topic_id(topic: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..topic.len()].copy_from_slice(topic.as_bytes());
    Uuid(bytes)
}

/// Term 7, with live brokers (of epoch 100 + id) and partitions without leaders.
pub(super) fn context(brokers: &[i32], partitions: &[(&str, i32, &[i32])]) -> Context {
    let mut context = Context::new(ControllerEpoch(7));
    for id in brokers {
        context.add_broker(registration(*id, 9092), BrokerEpoch(100 + i64::from(*id)));
    }
    for (topic, partition, replicas) in partitions {
        let name: Arc<str> = (*topic).into();
        context.add_topic(&name, Some(topic_id(topic)));
        context.add_partition(&TopicPartition::new(name, *partition), ReplicaAssignment::of(ids(replicas)));
    }
    context
}
