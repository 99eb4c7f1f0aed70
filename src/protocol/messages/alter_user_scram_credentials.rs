//! AlterUserScramCredentials, key 51: sets and removes SCRAM credentials.
//! Kafka: AlterUserScramCredentialsRequest.json, AlterUserScramCredentialsResponse.json.

use crate::protocol::schema::message;

message! {
    alter_user_scram_credentials_request::AlterUserScramCredentialsRequest, 0..=0, flexible 0..;

    AlterUserScramCredentialsRequest {
        deletions: Vec<ScramCredentialDeletion>, 0..;
        upsertions: Vec<ScramCredentialUpsertion>, 0..;
    }

    ScramCredentialDeletion {
        name: Str, 0..;
        mechanism: i8, 0..;
    }

    ScramCredentialUpsertion {
        name: Str, 0..;
        mechanism: i8, 0..;
        iterations: i32, 0..;
        salt: Bytes, 0..;
        salted_password: Bytes, 0..;
    }
}

message! {
    alter_user_scram_credentials_response::AlterUserScramCredentialsResponse, 0..=0, flexible 0..;

    AlterUserScramCredentialsResponse {
        throttle_time_ms: i32, 0..;
        results: Vec<AlterUserScramCredentialsResult>, 0..;
    }

    AlterUserScramCredentialsResult {
        user: Str, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
    }
}
