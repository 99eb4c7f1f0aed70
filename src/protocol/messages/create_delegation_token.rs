//! CreateDelegationToken, key 38: issues a delegation token.
//! Kafka: CreateDelegationTokenRequest.json, CreateDelegationTokenResponse.json.

use crate::protocol::schema::message;

message! {
    create_delegation_token_request::CreateDelegationTokenRequest, 0..=3, flexible 2..;

    CreateDelegationTokenRequest {
        owner_principal_type: Option<Str> = Some(Str::new()), 3..;
        owner_principal_name: Option<Str> = Some(Str::new()), 3..;
        renewers: Vec<CreatableRenewers>, 0..;
        max_lifetime_ms: i64, 0..;
    }

    CreatableRenewers {
        principal_type: Str, 0..;
        principal_name: Str, 0..;
    }
}

message! {
    create_delegation_token_response::CreateDelegationTokenResponse, 0..=3, flexible 2..;

    CreateDelegationTokenResponse {
        error_code: i16, 0..;
        principal_type: Str, 0..;
        principal_name: Str, 0..;
        token_requester_principal_type: Str, 3..;
        token_requester_principal_name: Str, 3..;
        issue_timestamp_ms: i64, 0..;
        expiry_timestamp_ms: i64, 0..;
        max_timestamp_ms: i64, 0..;
        token_id: Str, 0..;
        hmac: Bytes, 0..;
        throttle_time_ms: i32, 0..;
    }
}
