//! DescribeUserScramCredentials, key 50: SCRAM mechanisms and iterations of users.
//! Kafka: DescribeUserScramCredentialsRequest.json, DescribeUserScramCredentialsResponse.json.

use crate::protocol::schema::message;

message! {
    describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest, 0..=0, flexible 0..;

    DescribeUserScramCredentialsRequest {
        users: Option<Vec<UserName>> = Some(Vec::new()), 0..;
    }

    UserName {
        name: Str, 0..;
    }
}

message! {
    describe_user_scram_credentials_response::DescribeUserScramCredentialsResponse, 0..=0, flexible 0..;

    DescribeUserScramCredentialsResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        results: Vec<DescribeUserScramCredentialsResult>, 0..;
    }

    DescribeUserScramCredentialsResult {
        user: Str, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        credential_infos: Vec<CredentialInfo>, 0..;
    }

    CredentialInfo {
        mechanism: i8, 0..;
        iterations: i32, 0..;
    }
}
