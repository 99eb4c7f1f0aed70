//! AlterReplicaLogDirs, key 34: moves replicas to another log directory of the same broker.
//! Kafka: AlterReplicaLogDirsRequest.json, AlterReplicaLogDirsResponse.json.

use crate::protocol::schema::message;

message! {
    alter_replica_log_dirs_request::AlterReplicaLogDirsRequest, 0..=2, flexible 2..;

    AlterReplicaLogDirsRequest {
        dirs: Vec<AlterReplicaLogDir>, 0..;
    }

    AlterReplicaLogDir {
        path: Str, 0..;
        topics: Vec<AlterReplicaLogDirTopic>, 0..;
    }

    AlterReplicaLogDirTopic {
        name: Str, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    alter_replica_log_dirs_response::AlterReplicaLogDirsResponse, 0..=2, flexible 2..;

    AlterReplicaLogDirsResponse {
        throttle_time_ms: i32, 0..;
        results: Vec<AlterReplicaLogDirTopicResult>, 0..;
    }

    AlterReplicaLogDirTopicResult {
        topic_name: Str, 0..;
        partitions: Vec<AlterReplicaLogDirPartitionResult>, 0..;
    }

    AlterReplicaLogDirPartitionResult {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
