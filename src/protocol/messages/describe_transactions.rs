//! DescribeTransactions, key 65: state and partitions of transactions.
//! Kafka: DescribeTransactionsRequest.json, DescribeTransactionsResponse.json.

use crate::protocol::schema::message;

message! {
    describe_transactions_request::DescribeTransactionsRequest, 0..=0, flexible 0..;

    DescribeTransactionsRequest {
        transactional_ids: Vec<Str>, 0..;
    }
}

message! {
    describe_transactions_response::DescribeTransactionsResponse, 0..=0, flexible 0..;

    DescribeTransactionsResponse {
        throttle_time_ms: i32, 0..;
        transaction_states: Vec<TransactionState>, 0..;
    }

    TransactionState {
        error_code: i16, 0..;
        transactional_id: Str, 0..;
        transaction_state: Str, 0..;
        transaction_timeout_ms: i32, 0..;
        transaction_start_time_ms: i64, 0..;
        producer_id: i64, 0..;
        producer_epoch: i16, 0..;
        topics: Vec<TopicData>, 0..;
    }

    TopicData {
        topic: Str, 0..;
        partitions: Vec<i32>, 0..;
    }
}
