//! AddOffsetsToTxn, key 25: adds a group's offsets partition to a transaction.
//! Kafka: AddOffsetsToTxnRequest.json, AddOffsetsToTxnResponse.json.

use crate::protocol::schema::message;

message! {
    add_offsets_to_txn_request::AddOffsetsToTxnRequest, 0..=4, flexible 3..;

    AddOffsetsToTxnRequest {
        transactional_id: Str, 0..;
        producer_id: i64, 0..;
        producer_epoch: i16, 0..;
        group_id: Str, 0..;
    }
}

message! {
    add_offsets_to_txn_response::AddOffsetsToTxnResponse, 0..=4, flexible 3..;

    AddOffsetsToTxnResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
    }
}
