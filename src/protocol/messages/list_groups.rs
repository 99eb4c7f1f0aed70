//! ListGroups, key 16: the groups that a broker coordinates.
//! Kafka: ListGroupsRequest.json, ListGroupsResponse.json.

use crate::protocol::schema::message;

message! {
    list_groups_request::ListGroupsRequest, 0..=5, flexible 3..;

    ListGroupsRequest {
        states_filter: Vec<Str>, 4..;
        types_filter: Vec<Str>, 5..;
    }
}

message! {
    list_groups_response::ListGroupsResponse, 0..=5, flexible 3..;

    ListGroupsResponse {
        throttle_time_ms: i32, 1.., [ignorable];
        error_code: i16, 0..;
        groups: Vec<ListedGroup>, 0..;
    }

    ListedGroup {
        group_id: Str, 0..;
        protocol_type: Str, 0..;
        group_state: Str, 4.., [ignorable];
        group_type: Str, 5.., [ignorable];
    }
}
