//! ExpireDelegationToken, key 40: ends a delegation token.
//! Kafka: ExpireDelegationTokenRequest.json, ExpireDelegationTokenResponse.json.

use crate::protocol::schema::message;

message! {
    expire_delegation_token_request::ExpireDelegationTokenRequest, 0..=2, flexible 2..;

    ExpireDelegationTokenRequest {
        hmac: Bytes, 0..;
        expiry_time_period_ms: i64, 0..;
    }
}

message! {
    expire_delegation_token_response::ExpireDelegationTokenResponse, 0..=2, flexible 2..;

    ExpireDelegationTokenResponse {
        error_code: i16, 0..;
        expiry_timestamp_ms: i64, 0..;
        throttle_time_ms: i32, 0..;
    }
}
