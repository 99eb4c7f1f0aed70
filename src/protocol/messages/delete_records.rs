//! DeleteRecords, key 21: moves the start of partitions forward.
//! Kafka: DeleteRecordsRequest.json, DeleteRecordsResponse.json.

use crate::protocol::schema::message;

message! {
    delete_records_request::DeleteRecordsRequest, 0..=2, flexible 2..;

    DeleteRecordsRequest {
        topics: Vec<DeleteRecordsTopic>, 0..;
        timeout_ms: i32, 0..;
    }

    DeleteRecordsTopic {
        name: Str, 0..;
        partitions: Vec<DeleteRecordsPartition>, 0..;
    }

    DeleteRecordsPartition {
        partition_index: i32, 0..;
        offset: i64, 0..;
    }
}

message! {
    delete_records_response::DeleteRecordsResponse, 0..=2, flexible 2..;

    DeleteRecordsResponse {
        throttle_time_ms: i32, 0..;
        topics: Vec<DeleteRecordsTopicResult>, 0..;
    }

    DeleteRecordsTopicResult {
        name: Str, 0..;
        partitions: Vec<DeleteRecordsPartitionResult>, 0..;
    }

    DeleteRecordsPartitionResult {
        partition_index: i32, 0..;
        low_watermark: i64, 0..;
        error_code: i16, 0..;
    }
}
