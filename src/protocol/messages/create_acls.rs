//! CreateAcls, key 30: creates ACLs.
//! Kafka: CreateAclsRequest.json, CreateAclsResponse.json.

use crate::protocol::schema::message;

message! {
    create_acls_request::CreateAclsRequest, 0..=3, flexible 2..;

    CreateAclsRequest {
        creations: Vec<AclCreation>, 0..;
    }

    AclCreation {
        resource_type: i8, 0..;
        resource_name: Str, 0..;
        resource_pattern_type: i8 = 3, 1..;
        principal: Str, 0..;
        host: Str, 0..;
        operation: i8, 0..;
        permission_type: i8, 0..;
    }
}

message! {
    create_acls_response::CreateAclsResponse, 0..=3, flexible 2..;

    CreateAclsResponse {
        throttle_time_ms: i32, 0..;
        results: Vec<AclCreationResult>, 0..;
    }

    AclCreationResult {
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
    }
}
