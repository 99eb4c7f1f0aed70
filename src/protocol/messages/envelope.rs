//! Envelope, key 58: carries another principal's request from a broker to the controller.
//! Kafka: EnvelopeRequest.json, EnvelopeResponse.json.

use crate::protocol::schema::message;

message! {
    envelope_request::EnvelopeRequest, 0..=0, flexible 0..;

    EnvelopeRequest {
        request_data: Bytes, 0..;
        request_principal: Option<Bytes> = Some(Bytes::new()), 0..;
        client_host_address: Bytes, 0..;
    }
}

message! {
    envelope_response::EnvelopeResponse, 0..=0, flexible 0..;

    EnvelopeResponse {
        response_data: Option<Bytes>, 0..;
        error_code: i16, 0..;
    }
}
