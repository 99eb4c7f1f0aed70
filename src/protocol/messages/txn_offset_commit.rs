//! TxnOffsetCommit, key 28: stores a group's offsets as part of a transaction.
//! Kafka: TxnOffsetCommitRequest.json, TxnOffsetCommitResponse.json.

use crate::protocol::schema::message;

message! {
    txn_offset_commit_request::TxnOffsetCommitRequest, 0..=4, flexible 3..;

    TxnOffsetCommitRequest {
        transactional_id: Str, 0..;
        group_id: Str, 0..;
        producer_id: i64, 0..;
        producer_epoch: i16, 0..;
        generation_id: i32 = -1, 3..;
        member_id: Str, 3..;
        group_instance_id: Option<Str>, 3..;
        topics: Vec<TxnOffsetCommitRequestTopic>, 0..;
    }

    TxnOffsetCommitRequestTopic {
        name: Str, 0..;
        partitions: Vec<TxnOffsetCommitRequestPartition>, 0..;
    }

    TxnOffsetCommitRequestPartition {
        partition_index: i32, 0..;
        committed_offset: i64, 0..;
        committed_leader_epoch: i32 = -1, 2.., [ignorable];
        committed_metadata: Option<Str> = Some(Str::new()), 0..;
    }
}

message! {
    txn_offset_commit_response::TxnOffsetCommitResponse, 0..=4, flexible 3..;

    TxnOffsetCommitResponse {
        throttle_time_ms: i32, 0..;
        topics: Vec<TxnOffsetCommitResponseTopic>, 0..;
    }

    TxnOffsetCommitResponseTopic {
        name: Str, 0..;
        partitions: Vec<TxnOffsetCommitResponsePartition>, 0..;
    }

    TxnOffsetCommitResponsePartition {
        partition_index: i32, 0..;
        error_code: i16, 0..;
    }
}
