//! CreateTopics, key 19: creates topics.
//! Kafka: CreateTopicsRequest.json, CreateTopicsResponse.json.

use crate::protocol::schema::message;

message! {
    create_topics_request::CreateTopicsRequest, 0..=7, flexible 5..;

    CreateTopicsRequest {
        topics: Vec<CreatableTopic>, 0..;
        timeout_ms: i32 = 60_000, 0..;
        validate_only: bool, 1..;
    }

    CreatableTopic {
        name: Str, 0..;
        num_partitions: i32, 0..;
        replication_factor: i16, 0..;
        assignments: Vec<CreatableReplicaAssignment>, 0..;
        configs: Vec<CreatableTopicConfig>, 0..;
    }

    CreatableReplicaAssignment {
        partition_index: i32, 0..;
        broker_ids: Vec<i32>, 0..;
    }

    CreatableTopicConfig {
        name: Str, 0..;
        value: Option<Str> = Some(Str::new()), 0..;
    }
}

message! {
    create_topics_response::CreateTopicsResponse, 0..=7, flexible 5..;

    CreateTopicsResponse {
        throttle_time_ms: i32, 2.., [ignorable];
        topics: Vec<CreatableTopicResult>, 0..;
    }

    CreatableTopicResult {
        name: Str, 0..;
        topic_id: Uuid, 7.., [ignorable];
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 1.., [ignorable];
        num_partitions: i32 = -1, 5.., [ignorable];
        replication_factor: i16 = -1, 5.., [ignorable];
        configs: Option<Vec<CreatableTopicConfigs>> = Some(Vec::new()), 5.., [ignorable];
        0 => topic_config_error_code: i16, 5.., [ignorable];
    }

    CreatableTopicConfigs {
        name: Str, 5..;
        value: Option<Str> = Some(Str::new()), 5..;
        read_only: bool, 5..;
        config_source: i8 = -1, 5..;
        is_sensitive: bool, 5..;
    }
}
