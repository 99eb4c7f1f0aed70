//! OffsetCommit, key 8: stores a group's offsets.
//! Kafka: OffsetCommitRequest.json, OffsetCommitResponse.json.

use crate::protocol::schema::message;

message! {
    offset_commit_request::OffsetCommitRequest, 0..=9, flexible 8..;

    OffsetCommitRequest {
        group_id: Str, 0..;
        generation_id_or_member_epoch: i32 = -1, 1.., [ignorable];
        member_id: Str, 1.., [ignorable];
        group_instance_id: Option<Str>, 7..;
        retention_time_ms: i64 = -1, 2..=4, [ignorable];
        topics: Vec<OffsetCommitRequestTopic>, 0..;
    }

    OffsetCommitRequestTopic {
        name: Str, 0..;
        partitions: Vec<OffsetCommitRequestPartition>, 0..;
    }

    OffsetCommitRequestPartition {
        partition_index: i32, 0..;
        committed_offset: i64, 0..;
        committed_leader_epoch: i32 = -1, 6.., [ignorable];
        commit_timestamp: i64 = -1, 1..=1;
        committed_metadata: Option<Str> = Some(Str::new()), 0..;
    }
}

message! {
    offset_commit_response::OffsetCommitResponse, 0..=9, flexible 8..;

    OffsetCommitResponse {
        throttle_time_ms: i32, 3.., [ignorable];
        topics: Vec<OffsetCommitResponseTopic>, 0..;
    }

    OffsetCommitResponseTopic {
        name: Str, 0..;
        partitions: Vec<OffsetCommitResponsePartition>, 0..;
    }

    OffsetCommitResponsePartition {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
