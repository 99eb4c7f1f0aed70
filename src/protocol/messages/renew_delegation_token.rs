//! RenewDelegationToken, key 39: prolongs a delegation token.
//! Kafka: RenewDelegationTokenRequest.json, RenewDelegationTokenResponse.json.

use crate::protocol::schema::message;

message! {
    renew_delegation_token_request::RenewDelegationTokenRequest, 0..=2, flexible 2..;

    RenewDelegationTokenRequest {
        hmac: Bytes, 0..;
        renew_period_ms: i64, 0..;
    }
}

message! {
    renew_delegation_token_response::RenewDelegationTokenResponse, 0..=2, flexible 2..;

    RenewDelegationTokenResponse {
        error_code: i16, 0..;
        expiry_timestamp_ms: i64, 0..;
        throttle_time_ms: i32, 0..;
    }
}
