//! ListOffsets, key 2: finds offsets by timestamp; the earliest, latest and other marks are negative timestamps.
//! Kafka: ListOffsetsRequest.json, ListOffsetsResponse.json.

use crate::protocol::schema::message;

message! {
    list_offsets_request::ListOffsetsRequest, 0..=9, flexible 6..;

    ListOffsetsRequest {
        replica_id: i32, 0..;
        isolation_level: i8, 2..;
        topics: Vec<ListOffsetsTopic>, 0..;
    }

    ListOffsetsTopic {
        name: Str, 0..;
        partitions: Vec<ListOffsetsPartition>, 0..;
    }

    ListOffsetsPartition {
        partition_index: i32, 0..;
        current_leader_epoch: i32 = -1, 4.., [ignorable];
        // -1 latest, -2 earliest, -3 the one of the highest timestamp, -4 earliest local, -5 latest tiered.
        timestamp: i64, 0..;
        max_num_offsets: i32 = 1, 0..=0;
    }
}

message! {
    list_offsets_response::ListOffsetsResponse, 0..=9, flexible 6..;

    ListOffsetsResponse {
        throttle_time_ms: i32, 2.., [ignorable];
        topics: Vec<ListOffsetsTopicResponse>, 0..;
    }

    ListOffsetsTopicResponse {
        name: Str, 0..;
        partitions: Vec<ListOffsetsPartitionResponse>, 0..;
    }

    ListOffsetsPartitionResponse {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        old_style_offsets: Vec<i64>, 0..=0;
        timestamp: i64 = -1, 1..;
        offset: i64 = -1, 1..;
        leader_epoch: i32 = -1, 4..;
    }
}
