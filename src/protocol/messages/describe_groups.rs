//! DescribeGroups, key 15: state and members of groups.
//! Kafka: DescribeGroupsRequest.json, DescribeGroupsResponse.json.

use crate::protocol::schema::message;

message! {
    describe_groups_request::DescribeGroupsRequest, 0..=5, flexible 5..;

    DescribeGroupsRequest {
        groups: Vec<Str>, 0..;
        include_authorized_operations: bool, 3..;
    }
}

message! {
    describe_groups_response::DescribeGroupsResponse, 0..=5, flexible 5..;

    DescribeGroupsResponse {
        throttle_time_ms: i32, 1.., [ignorable];
        groups: Vec<DescribedGroup>, 0..;
    }

    DescribedGroup {
        error_code: i16, 0..;
        group_id: Str, 0..;
        group_state: Str, 0..;
        protocol_type: Str, 0..;
        protocol_data: Str, 0..;
        members: Vec<DescribedGroupMember>, 0..;
        authorized_operations: i32 = i32::MIN, 3..;
    }

    DescribedGroupMember {
        member_id: Str, 0..;
        group_instance_id: Option<Str>, 4.., [ignorable];
        client_id: Str, 0..;
        client_host: Str, 0..;
        member_metadata: Bytes, 0..;
        member_assignment: Bytes, 0..;
    }
}
