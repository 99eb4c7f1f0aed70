//! EndTxn, key 26: commits or aborts a transaction.
//! Kafka: EndTxnRequest.json, EndTxnResponse.json.

use crate::protocol::schema::message;

message! {
    end_txn_request::EndTxnRequest, 0..=4, flexible 3..;

    EndTxnRequest {
        transactional_id: Str, 0..;
        producer_id: i64, 0..;
        producer_epoch: i16, 0..;
        committed: bool, 0..;
    }
}

message! {
    end_txn_response::EndTxnResponse, 0..=4, flexible 3..;

    EndTxnResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
    }
}
