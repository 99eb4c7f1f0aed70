//! DeleteAcls, key 31: deletes the ACLs that match filters.
//! Kafka: DeleteAclsRequest.json, DeleteAclsResponse.json.

use crate::protocol::schema::message;

message! {
    delete_acls_request::DeleteAclsRequest, 0..=3, flexible 2..;

    DeleteAclsRequest {
        filters: Vec<DeleteAclsFilter>, 0..;
    }

    DeleteAclsFilter {
        resource_type_filter: i8, 0..;
        resource_name_filter: Option<Str> = Some(Str::new()), 0..;
        pattern_type_filter: i8 = 3, 1..;
        principal_filter: Option<Str> = Some(Str::new()), 0..;
        host_filter: Option<Str> = Some(Str::new()), 0..;
        operation: i8, 0..;
        permission_type: i8, 0..;
    }
}

message! {
    delete_acls_response::DeleteAclsResponse, 0..=3, flexible 2..;

    DeleteAclsResponse {
        throttle_time_ms: i32, 0..;
        filter_results: Vec<DeleteAclsFilterResult>, 0..;
    }

    DeleteAclsFilterResult {
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        matching_acls: Vec<DeleteAclsMatchingAcl>, 0..;
    }

    DeleteAclsMatchingAcl {
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        resource_type: i8, 0..;
        resource_name: Str, 0..;
        pattern_type: i8 = 3, 1..;
        principal: Str, 0..;
        host: Str, 0..;
        operation: i8, 0..;
        permission_type: i8, 0..;
    }
}
