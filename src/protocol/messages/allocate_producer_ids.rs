//! AllocateProducerIds, key 67: a broker asks the controller for a block of producer ids.
//! Kafka: AllocateProducerIdsRequest.json, AllocateProducerIdsResponse.json.

use crate::protocol::schema::message;

message! {
    allocate_producer_ids_request::AllocateProducerIdsRequest, 0..=0, flexible 0..;

    AllocateProducerIdsRequest {
        broker_id: i32, 0..;
        broker_epoch: i64 = -1, 0..;
    }
}

message! {
    allocate_producer_ids_response::AllocateProducerIdsResponse, 0..=0, flexible 0..;

    AllocateProducerIdsResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        producer_id_start: i64, 0..;
        producer_id_len: i32, 0..;
    }
}
