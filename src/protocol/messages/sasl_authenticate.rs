//! SaslAuthenticate, key 36: carries one step of a SASL exchange.
//! Kafka: SaslAuthenticateRequest.json, SaslAuthenticateResponse.json.

use crate::protocol::schema::message;

message! {
    sasl_authenticate_request::SaslAuthenticateRequest, 0..=2, flexible 2..;

    SaslAuthenticateRequest {
        auth_bytes: Bytes, 0..;
    }
}

message! {
    sasl_authenticate_response::SaslAuthenticateResponse, 0..=2, flexible 2..;

    SaslAuthenticateResponse {
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        auth_bytes: Bytes, 0..;
        session_lifetime_ms: i64, 1.., [ignorable];
    }
}
