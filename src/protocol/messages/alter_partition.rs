//! AlterPartition, key 56: a leader asks the controller to change the in-sync replicas of its partitions.
//! Kafka: AlterPartitionRequest.json, AlterPartitionResponse.json.

use crate::protocol::schema::message;

message! {
    alter_partition_request::AlterPartitionRequest, 0..=3, flexible 0..;

    AlterPartitionRequest {
        broker_id: i32, 0..;
        broker_epoch: i64 = -1, 0..;
        topics: Vec<TopicData>, 0..;
    }

    TopicData {
        topic_name: Str, 0..=1, [ignorable];
        topic_id: Uuid, 2.., [ignorable];
        partitions: Vec<PartitionData>, 0..;
    }

    PartitionData {
        partition_index: i32, 0..;
        leader_epoch: i32, 0..;
        new_isr: Vec<i32>, 0..=2;
        new_isr_with_epochs: Vec<BrokerState>, 3..;
        leader_recovery_state: i8, 1..;
        partition_epoch: i32, 0..;
    }

    BrokerState {
        broker_id: i32, 3..;
        broker_epoch: i64 = -1, 3..;
    }
}

message! {
    alter_partition_response::AlterPartitionResponse, 0..=3, flexible 0..;

    AlterPartitionResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        topics: Vec<TopicData>, 0..;
    }

    TopicData {
        topic_name: Str, 0..=1, [ignorable];
        topic_id: Uuid, 2.., [ignorable];
        partitions: Vec<PartitionData>, 0..;
    }

    PartitionData {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        leader_id: i32, 0..;
        leader_epoch: i32, 0..;
        isr: Vec<i32>, 0..;
        leader_recovery_state: i8, 1.., [ignorable];
        partition_epoch: i32, 0..;
    }
}
