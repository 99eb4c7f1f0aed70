//! Zurau: a broker that speaks Kafka and is coordinated by ZooKeeper. This page is the map of the house.
//!
//! A module is a Kafka package, a file is a Kafka class or a part of one. Decisions are synchronous functions over owned
//! state; the shell around them reads sockets, runs effects and owns every task, timer, file and ZooKeeper session.
//! A module imports its own layer's listed peers and the layers below; the `tidy` test holds the source to this table.
//!
//! | layer | room | Kafka | open it for |
//! |---|---|---|---|
//! | 0 | [`common`] | clients `common` | ids, error codes: the words every layer shares |
//! | 0 | [`util`] | `kafka.utils` | tasks and their shutdown, purgatory, rate-limited logging |
//! | 1 | [`record`] | `common.record` | batches on the wire and on disk, compression, validation, conversion |
//! | 1 | [`protocol`] | `common.protocol`, `requests` | frames, headers, every message of 3.9, bounded codecs |
//! | 1 | [`config`] | `ConfigDef`, `KafkaConfig` | every key: type, default, validator, scope, doc |
//! | 2 | [`disk`] | `FileRecords`, `MappedByteBuffer` | files, directories, sendfile; all `unsafe` |
//! | 2 | [`zookeeper`] | ZooKeeper itself | the development ZooKeeper: model, store, server |
//! | 2 | [`zk`] | `kafka.zk`, `zookeeper` | znode paths and JSON, the client |
//! | 2 | [`network`] | `kafka.network` | listeners, connections, memory bounds |
//! | 2 | [`client`] | `NetworkClient` | connections to other brokers, the way to the controller |
//! | 3 | [`log`] | `kafka.log`, `storage.internals.log` | segments, indexes, producer state, recovery, retention |
//! | 4 | [`cluster`] | `kafka.cluster`, `MetadataCache` | `Partition`, its in-sync replicas, the metadata image |
//! | 5 | [`replica`] | `ReplicaManager` | append and read over many partitions, waiting for more data, copying what others lead |
//! | 5 | [`controller`] | `kafka.controller` | election, topics, leadership, orders to the brokers |
//! | 6 | [`coordinator`] | `kafka.coordinator` | consumer groups and their offsets, transactions |
//! | 7 | [`server`] | `KafkaServer`, `KafkaApis` | one file an API, dispatch, the broker's life from start to stop |
//! | 8 | [`tools`] | `kafka.tools`, `kafka.admin` | the sub-commands behind `bin/kafka-*.sh` |

pub mod client;
pub mod cluster;
pub mod common;
pub mod config;
pub mod controller;
pub mod coordinator;
pub mod disk;
pub mod log;
pub mod network;
pub mod protocol;
pub mod record;
pub mod replica;
pub mod server;
pub mod tools;
pub mod util;
pub mod zk;
pub mod zookeeper;
