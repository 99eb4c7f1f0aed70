//! DescribeAcls, key 29: the ACLs that match a filter.
//! Kafka: DescribeAclsRequest.json, DescribeAclsResponse.json.

use crate::protocol::schema::message;

message! {
    describe_acls_request::DescribeAclsRequest, 0..=3, flexible 2..;

    DescribeAclsRequest {
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
    describe_acls_response::DescribeAclsResponse, 0..=3, flexible 2..;

    DescribeAclsResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
        resources: Vec<DescribeAclsResource>, 0..;
    }

    DescribeAclsResource {
        resource_type: i8, 0..;
        resource_name: Str, 0..;
        pattern_type: i8 = 3, 1..;
        acls: Vec<AclDescription>, 0..;
    }

    AclDescription {
        principal: Str, 0..;
        host: Str, 0..;
        operation: i8, 0..;
        permission_type: i8, 0..;
    }
}
