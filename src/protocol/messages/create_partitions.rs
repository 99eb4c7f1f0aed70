//! CreatePartitions, key 37: adds partitions to topics.
//! Kafka: CreatePartitionsRequest.json, CreatePartitionsResponse.json.

use crate::protocol::schema::message;

message! {
    create_partitions_request::CreatePartitionsRequest, 0..=3, flexible 2..;

    CreatePartitionsRequest {
        topics: Vec<CreatePartitionsTopic>, 0..;
        timeout_ms: i32, 0..;
        validate_only: bool, 0..;
    }

    CreatePartitionsTopic {
        name: Str, 0..;
        count: i32, 0..;
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()), 0..;
    }

    CreatePartitionsAssignment {
        broker_ids: Vec<i32>, 0..;
    }
}

message! {
    create_partitions_response::CreatePartitionsResponse, 0..=3, flexible 2..;

    CreatePartitionsResponse {
        throttle_time_ms: i32, 0..;
        results: Vec<CreatePartitionsTopicResult>, 0..;
    }

    CreatePartitionsTopicResult {
        name: Str, 0..;
        error_code: i16, 0..;
        error_message: Option<Str>, 0..;
    }
}
