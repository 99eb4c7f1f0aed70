//! Owns ZooKeeper: paths, JSON, client, model. Kafka: `kafka.zk`, `kafka.zookeeper`.

pub mod data;
pub mod paths;
