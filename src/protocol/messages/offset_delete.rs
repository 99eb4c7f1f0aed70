//! OffsetDelete, key 47: deletes offsets of a group.
//! Kafka: OffsetDeleteRequest.json, OffsetDeleteResponse.json.

use crate::protocol::schema::message;

message! {
    offset_delete_request::OffsetDeleteRequest, 0..=0;

    OffsetDeleteRequest {
        group_id: Str, 0..;
        topics: Vec<OffsetDeleteRequestTopic>, 0..;
    }

    OffsetDeleteRequestTopic {
        name: Str, 0..;
        partitions: Vec<OffsetDeleteRequestPartition>, 0..;
    }

    OffsetDeleteRequestPartition {
        partition_index: i32, 0..;
    }
}

message! {
    offset_delete_response::OffsetDeleteResponse, 0..=0;

    OffsetDeleteResponse {
        error_code: i16, 0..;
        throttle_time_ms: i32, 0..;
        topics: Vec<OffsetDeleteResponseTopic>, 0..;
    }

    OffsetDeleteResponseTopic {
        name: Str, 0..;
        partitions: Vec<OffsetDeleteResponsePartition>, 0..;
    }

    OffsetDeleteResponsePartition {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
