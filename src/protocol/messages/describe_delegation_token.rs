//! DescribeDelegationToken, key 41: the delegation tokens of owners.
//! Kafka: DescribeDelegationTokenRequest.json, DescribeDelegationTokenResponse.json.

use crate::protocol::schema::message;

message! {
    describe_delegation_token_request::DescribeDelegationTokenRequest, 0..=3, flexible 2..;

    DescribeDelegationTokenRequest {
        owners: Option<Vec<DescribeDelegationTokenOwner>> = Some(Vec::new()), 0..;
    }

    DescribeDelegationTokenOwner {
        principal_type: Str, 0..;
        principal_name: Str, 0..;
    }
}

message! {
    describe_delegation_token_response::DescribeDelegationTokenResponse, 0..=3, flexible 2..;

    DescribeDelegationTokenResponse {
        error_code: i16, 0..;
        tokens: Vec<DescribedDelegationToken>, 0..;
        throttle_time_ms: i32, 0..;
    }

    DescribedDelegationToken {
        principal_type: Str, 0..;
        principal_name: Str, 0..;
        token_requester_principal_type: Str, 3..;
        token_requester_principal_name: Str, 3..;
        issue_timestamp: i64, 0..;
        expiry_timestamp: i64, 0..;
        max_timestamp: i64, 0..;
        token_id: Str, 0..;
        hmac: Bytes, 0..;
        renewers: Vec<DescribedDelegationTokenRenewer>, 0..;
    }

    DescribedDelegationTokenRenewer {
        principal_type: Str, 0..;
        principal_name: Str, 0..;
    }
}
