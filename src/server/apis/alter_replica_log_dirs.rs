//! AlterReplicaLogDirs: moves replicas to other log directories of this broker. Kafka:
//! `ReplicaManager.alterReplicaLogDirs`.

use crate::common::TopicPartition;
use crate::network::Reply;
use crate::protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use crate::protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse};
use crate::server::codes::code_of;
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::util::clock::wall_ms;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: AlterReplicaLogDirsRequest) -> Reply {
    // A partition that is named twice goes to the directory that is named last.
    let mut wanted: BTreeMap<TopicPartition, PathBuf> = BTreeMap::new();
    for dir in &request.dirs {
        for topic in &dir.topics {
            for partition in &topic.partitions {
                wanted.insert(TopicPartition::new(&*topic.name, *partition), PathBuf::from(&*dir.path));
            }
        }
    }
    let replicas = Arc::clone(&broker.replicas);
    let answers = broker.blocking(move || {
        let answer = |(tp, dir): (TopicPartition, PathBuf)| {
            let outcome = replicas.alter_log_dir(&tp, &dir, wall_ms());
            (tp, outcome)
        };
        wanted.into_iter().map(answer).collect::<Vec<_>>()
    });
    let mut results: BTreeMap<Arc<str>, Vec<AlterReplicaLogDirPartitionResult>> = BTreeMap::new();
    for (tp, outcome) in answers.await {
        results.entry(tp.topic).or_default().push(AlterReplicaLogDirPartitionResult {
            partition_index: tp.partition,
            error_code: code_of(outcome).wire(),
            ..Default::default()
        });
    }
    let results = results.into_iter().map(|(name, partitions)| AlterReplicaLogDirTopicResult {
        topic_name: (&*name).into(),
        partitions,
        ..Default::default()
    });
    call.reply(&AlterReplicaLogDirsResponse { results: results.collect(), ..Default::default() })
}
