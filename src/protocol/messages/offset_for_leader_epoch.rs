//! OffsetForLeaderEpoch, key 23: finds where a leader epoch ends in a partition's log.
//! Kafka: OffsetForLeaderEpochRequest.json, OffsetForLeaderEpochResponse.json.

use crate::protocol::schema::message;

message! {
    offset_for_leader_epoch_request::OffsetForLeaderEpochRequest, 0..=4, flexible 4..;

    OffsetForLeaderEpochRequest {
        replica_id: i32 = -2, 3.., [ignorable];
        topics: Vec<OffsetForLeaderTopic>, 0..;
    }

    OffsetForLeaderTopic {
        topic: Str, 0..;
        partitions: Vec<OffsetForLeaderPartition>, 0..;
    }

    OffsetForLeaderPartition {
        partition: i32, 0..;
        current_leader_epoch: i32 = -1, 2.., [ignorable];
        leader_epoch: i32, 0..;
    }
}

message! {
    offset_for_leader_epoch_response::OffsetForLeaderEpochResponse, 0..=4, flexible 4..;

    OffsetForLeaderEpochResponse {
        throttle_time_ms: i32, 2.., [ignorable];
        topics: Vec<OffsetForLeaderTopicResult>, 0..;
    }

    OffsetForLeaderTopicResult {
        topic: Str, 0..;
        partitions: Vec<EpochEndOffset>, 0..;
    }

    EpochEndOffset {
        error_code: i16, 0..;
        partition: i32, 0..;
        leader_epoch: i32 = -1, 1.., [ignorable];
        end_offset: i64 = -1, 0..;
    }
}
