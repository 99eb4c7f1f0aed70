//! DescribeLogDirs, key 35: the log directories of a broker and what they hold.
//! Kafka: DescribeLogDirsRequest.json, DescribeLogDirsResponse.json.

use crate::protocol::schema::message;

message! {
    describe_log_dirs_request::DescribeLogDirsRequest, 0..=4, flexible 2..;

    DescribeLogDirsRequest {
        topics: Option<Vec<DescribableLogDirTopic>> = Some(Vec::new()), 0..;
    }

    DescribableLogDirTopic {
        topic: Str, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    describe_log_dirs_response::DescribeLogDirsResponse, 0..=4, flexible 2..;

    DescribeLogDirsResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 3.., [ignorable];
        results: Vec<DescribeLogDirsResult>, 0..;
    }

    DescribeLogDirsResult {
        error_code: i16, 0..;
        log_dir: Str, 0..;
        topics: Vec<DescribeLogDirsTopic>, 0..;
        total_bytes: i64 = -1, 4.., [ignorable];
        usable_bytes: i64 = -1, 4.., [ignorable];
    }

    DescribeLogDirsTopic {
        name: Str, 0..;
        partitions: Vec<DescribeLogDirsPartition>, 0..;
    }

    DescribeLogDirsPartition {
        partition_index: i32, 0..;
        partition_size: i64, 0..;
        offset_lag: i64, 0..;
        is_future_key: bool, 0..;
    }
}
