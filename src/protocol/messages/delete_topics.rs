//! DeleteTopics, key 20: deletes topics, by name or, from version 6 on, by id.
//! Kafka: DeleteTopicsRequest.json, DeleteTopicsResponse.json.

use crate::protocol::schema::message;

message! {
    delete_topics_request::DeleteTopicsRequest, 0..=6, flexible 4..;

    DeleteTopicsRequest {
        topics: Vec<DeleteTopicState>, 6..;
        topic_names: Vec<Str>, 0..=5, [ignorable];
        timeout_ms: i32, 0..;
    }

    DeleteTopicState {
        name: Option<Str>, 6..;
        topic_id: Uuid, 6..;
    }
}

message! {
    delete_topics_response::DeleteTopicsResponse, 0..=6, flexible 4..;

    DeleteTopicsResponse {
        throttle_time_ms: i32, 1.., [ignorable];
        responses: Vec<DeletableTopicResult>, 0..;
    }

    DeletableTopicResult {
        name: Option<Str> = Some(Str::new()), 0.., null 6..;
        topic_id: Uuid, 6.., [ignorable];
        error_code: i16, 0..;
        error_message: Option<Str>, 5.., [ignorable];
    }
}
