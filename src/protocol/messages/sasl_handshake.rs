//! SaslHandshake, key 17: a client names the SASL mechanism that it will use.
//! Kafka: SaslHandshakeRequest.json, SaslHandshakeResponse.json.

use crate::protocol::schema::message;

message! {
    sasl_handshake_request::SaslHandshakeRequest, 0..=1;

    SaslHandshakeRequest {
        mechanism: Str, 0..;
    }
}

message! {
    sasl_handshake_response::SaslHandshakeResponse, 0..=1;

    SaslHandshakeResponse {
        error_code: i16, 0..;
        mechanisms: Vec<Str>, 0..;
    }
}
