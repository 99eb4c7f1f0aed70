//! StopReplica, key 5: the controller tells a broker to stop, and perhaps delete, its replicas.
//! Kafka: StopReplicaRequest.json, StopReplicaResponse.json.

use crate::protocol::schema::message;

message! {
    stop_replica_request::StopReplicaRequest, 0..=4, flexible 2..;

    StopReplicaRequest {
        controller_id: i32, 0..;
        is_kraft_controller: bool, 4..;
        controller_epoch: i32, 0..;
        broker_epoch: i64 = -1, 1.., [ignorable];
        delete_partitions: bool, 0..=2;
        ungrouped_partitions: Vec<StopReplicaPartitionV0>, 0..=0;
        topics: Vec<StopReplicaTopicV1>, 1..=2;
        topic_states: Vec<StopReplicaTopicState>, 3..;
    }

    StopReplicaPartitionV0 {
        topic_name: Str, 0..=0;
        partition_index: i32, 0..=0;
    }

    StopReplicaTopicV1 {
        name: Str, 1..=2;
        partition_indexes: Vec<i32>, 1..=2;
    }

    StopReplicaTopicState {
        topic_name: Str, 3..;
        partition_states: Vec<StopReplicaPartitionState>, 3..;
    }

    StopReplicaPartitionState {
        partition_index: i32, 3..;
        // -2: whatever the epoch, the topic is being deleted; -1: the sender does not know it.
        leader_epoch: i32 = -1, 3..;
        delete_partition: bool, 3..;
    }
}

message! {
    stop_replica_response::StopReplicaResponse, 0..=4, flexible 2..;

    StopReplicaResponse {
        error_code: i16, 0..;
        partition_errors: Vec<StopReplicaPartitionError>, 0..;
    }

    StopReplicaPartitionError {
        topic_name: Str, 0..;
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
