//! AlterPartitionReassignments, key 45: starts, changes and cancels moves of replicas.
//! Kafka: AlterPartitionReassignmentsRequest.json, AlterPartitionReassignmentsResponse.json.

use crate::protocol::schema::message;

message! {
    alter_partition_reassignments_request::AlterPartitionReassignmentsRequest, 0..=0, flexible 0..;

    AlterPartitionReassignmentsRequest {
        timeout_ms: i32 = 60_000, 0..;
        topics: Vec<ReassignableTopic>, 0..;
    }

    ReassignableTopic {
        name: Str, 0..;
        partitions: Vec<ReassignablePartition>, 0..;
    }

    ReassignablePartition {
        partition_index: i32, 0..;
        replicas: Option<Vec<i32>>, 0..;
    }
}

message! {
    alter_partition_reassignments_response::AlterPartitionReassignmentsResponse, 0..=0, flexible 0..;

    AlterPartitionReassignmentsResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        responses: Vec<ReassignableTopicResponse>, 0..;
    }

    ReassignableTopicResponse {
        name: Str, 0..;
        partitions: Vec<ReassignablePartitionResponse>, 0..;
    }

    ReassignablePartitionResponse {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
    }
}
