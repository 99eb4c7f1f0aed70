//! ListPartitionReassignments, key 46: the moves of replicas that are under way.
//! Kafka: ListPartitionReassignmentsRequest.json, ListPartitionReassignmentsResponse.json.

use crate::protocol::schema::message;

message! {
    list_partition_reassignments_request::ListPartitionReassignmentsRequest, 0..=0, flexible 0..;

    ListPartitionReassignmentsRequest {
        timeout_ms: i32 = 60_000, 0..;
        topics: Option<Vec<ListPartitionReassignmentsTopics>>, 0..;
    }

    ListPartitionReassignmentsTopics {
        name: Str, 0..;
        partition_indexes: Vec<i32>, 0..;
    }
}

message! {
    list_partition_reassignments_response::ListPartitionReassignmentsResponse, 0..=0, flexible 0..;

    ListPartitionReassignmentsResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        topics: Vec<OngoingTopicReassignment>, 0..;
    }

    OngoingTopicReassignment {
        name: Str, 0..;
        partitions: Vec<OngoingPartitionReassignment>, 0..;
    }

    OngoingPartitionReassignment {
        partition_index: i32, 0..;
        replicas: Vec<i32>, 0..;
        adding_replicas: Vec<i32>, 0..;
        removing_replicas: Vec<i32>, 0..;
    }
}
