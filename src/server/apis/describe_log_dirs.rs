//! DescribeLogDirs: which replicas are in which directory, and the space left there. Kafka:
//! `ReplicaManager.describeLogDirs`.

use crate::common::{ErrorCode, TopicPartition};
use crate::log::{LogDirDescription, LogManager};
use crate::network::Reply;
use crate::protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DescribeLogDirsRequest) -> Reply {
    let asked: Option<HashSet<TopicPartition>> = request.topics.map(|topics| {
        let partitions = topics.iter().flat_map(|t| t.partitions.iter().map(|p| TopicPartition::new(&*t.topic, *p)));
        partitions.collect()
    });
    let logs: Arc<LogManager> = Arc::clone(broker.replicas.logs());
    let dirs = broker.blocking(move || logs.describe()).await;
    let results = dirs.into_iter().map(|dir| to_result(dir, asked.as_ref())).collect();
    call.reply(&DescribeLogDirsResponse { results, ..Default::default() })
}

fn to_result(dir: LogDirDescription, asked: Option<&HashSet<TopicPartition>>) -> DescribeLogDirsResult {
    let log_dir = dir.path.display().to_string().into();
    if dir.is_offline {
        let error_code = ErrorCode::KafkaStorageError.wire();
        return DescribeLogDirsResult { error_code, log_dir, ..Default::default() };
    }
    let mut topics: BTreeMap<Arc<str>, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for log in dir.logs.into_iter().filter(|log| asked.is_none_or(|asked| asked.contains(&log.topic_partition))) {
        let partition = DescribeLogDirsPartition {
            partition_index: log.topic_partition.partition,
            partition_size: log.size as i64,
            offset_lag: log.offset_lag,
            is_future_key: log.is_future,
            ..Default::default()
        };
        topics.entry(log.topic_partition.topic).or_default().push(partition);
    }
    let topics = topics.into_iter().map(|(name, partitions)| DescribeLogDirsTopic {
        name: (&*name).into(),
        partitions,
        ..Default::default()
    });
    DescribeLogDirsResult {
        log_dir,
        topics: topics.collect(),
        total_bytes: dir.total_bytes.map_or(-1, |bytes| bytes as i64),
        usable_bytes: dir.usable_bytes.map_or(-1, |bytes| bytes as i64),
        ..Default::default()
    }
}
