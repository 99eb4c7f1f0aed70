//! InitProducerId, key 22: gives a producer its id and epoch.
//! Kafka: InitProducerIdRequest.json, InitProducerIdResponse.json.

use crate::protocol::schema::message;

message! {
    init_producer_id_request::InitProducerIdRequest, 0..=5, flexible 2..;

    InitProducerIdRequest {
        transactional_id: Option<Str> = Some(Str::new()), 0..;
        transaction_timeout_ms: i32, 0..;
        producer_id: i64 = -1, 3..;
        producer_epoch: i16 = -1, 3..;
    }
}

message! {
    init_producer_id_response::InitProducerIdResponse, 0..=5, flexible 2..;

    InitProducerIdResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        producer_id: i64 = -1, 0..;
        producer_epoch: i16, 0..;
    }
}
