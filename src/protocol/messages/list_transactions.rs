//! ListTransactions, key 66: the transactions that a broker coordinates.
//! Kafka: ListTransactionsRequest.json, ListTransactionsResponse.json.

use crate::protocol::schema::message;

message! {
    list_transactions_request::ListTransactionsRequest, 0..=1, flexible 0..;

    ListTransactionsRequest {
        state_filters: Vec<Str>, 0..;
        producer_id_filters: Vec<i64>, 0..;
        duration_filter: i64 = -1, 1..;
    }
}

message! {
    list_transactions_response::ListTransactionsResponse, 0..=1, flexible 0..;

    ListTransactionsResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        unknown_state_filters: Vec<Str>, 0..;
        transaction_states: Vec<TransactionState>, 0..;
    }

    TransactionState {
        transactional_id: Str, 0..;
        producer_id: i64, 0..;
        transaction_state: Str, 0..;
    }
}
