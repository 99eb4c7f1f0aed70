//! LeaderAndIsr, key 4: the controller tells a broker which partitions it leads and follows.
//! Kafka: LeaderAndIsrRequest.json, LeaderAndIsrResponse.json.

use crate::protocol::schema::message;

message! {
    leader_and_isr_request::LeaderAndIsrRequest, 0..=7, flexible 4..;

    LeaderAndIsrRequest {
        controller_id: i32, 0..;
        is_kraft_controller: bool, 7..;
        controller_epoch: i32, 0..;
        broker_epoch: i64 = -1, 2.., [ignorable];
        // 0 from a ZooKeeper controller; a KRaft one in migration says 1 for some partitions, 2 for all.
        r#type: i8, 5..;
        ungrouped_partition_states: Vec<LeaderAndIsrPartitionState>, 0..=1;
        topic_states: Vec<LeaderAndIsrTopicState>, 2..;
        live_leaders: Vec<LeaderAndIsrLiveLeader>, 0..;
    }

    LeaderAndIsrPartitionState {
        topic_name: Str, 0..=1, [ignorable];
        partition_index: i32, 0..;
        controller_epoch: i32, 0..;
        leader: i32, 0..;
        leader_epoch: i32, 0..;
        isr: Vec<i32>, 0..;
        partition_epoch: i32, 0..;
        replicas: Vec<i32>, 0..;
        adding_replicas: Vec<i32>, 3.., [ignorable];
        removing_replicas: Vec<i32>, 3.., [ignorable];
        is_new: bool, 1.., [ignorable];
        leader_recovery_state: i8, 6..;
    }

    LeaderAndIsrTopicState {
        topic_name: Str, 2..;
        topic_id: Uuid, 5.., [ignorable];
        partition_states: Vec<LeaderAndIsrPartitionState>, 2..;
    }

    LeaderAndIsrLiveLeader {
        broker_id: i32, 0..;
        host_name: Str, 0..;
        port: i32, 0..;
    }
}

message! {
    leader_and_isr_response::LeaderAndIsrResponse, 0..=7, flexible 4..;

    LeaderAndIsrResponse {
        error_code: i16, 0..;
        partition_errors: Vec<LeaderAndIsrPartitionError>, 0..=4;
        topics: Vec<LeaderAndIsrTopicError>, 5..;
    }

    LeaderAndIsrPartitionError {
        topic_name: Str, 0..=4, [ignorable];
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }

    LeaderAndIsrTopicError {
        topic_id: Uuid, 5..;
        partition_errors: Vec<LeaderAndIsrPartitionError>, 5..;
    }
}
