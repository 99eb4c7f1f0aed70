//! Keys and values of `__transaction_state`. Kafka: TransactionLogKey.json, TransactionLogValue.json. Version 1 of the
//! value is read; a 3.9 broker in ZooKeeper mode writes version 0.

use crate::protocol::schema::message;

pub use transaction_log_value::PartitionsSchema;

message! {
    transaction_log_key::TransactionLogKey, 0..=0;

    TransactionLogKey {
        transactional_id: Str, 0..;
    }
}

message! {
    transaction_log_value::TransactionLogValue, 0..=1, flexible 1..;

    TransactionLogValue {
        producer_id: i64, 0..;
        producer_epoch: i16, 0..;
        transaction_timeout_ms: i32, 0..;
        transaction_status: i8, 0..;
        transaction_partitions: Option<Vec<PartitionsSchema>>, 0..;
        transaction_last_update_timestamp_ms: i64, 0..;
        transaction_start_timestamp_ms: i64, 0..;
    }

    PartitionsSchema {
        topic: Str, 0..;
        partition_ids: Vec<i32>, 0..;
    }
}
