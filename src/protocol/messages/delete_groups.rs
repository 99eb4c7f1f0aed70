//! DeleteGroups, key 42: deletes groups without members.
//! Kafka: DeleteGroupsRequest.json, DeleteGroupsResponse.json.

use crate::protocol::schema::message;

message! {
    delete_groups_request::DeleteGroupsRequest, 0..=2, flexible 2..;

    DeleteGroupsRequest {
        groups_names: Vec<Str>, 0..;
    }
}

message! {
    delete_groups_response::DeleteGroupsResponse, 0..=2, flexible 2..;

    DeleteGroupsResponse {
        throttle_time_ms: i32, 0..;
        results: Vec<DeletableGroupResult>, 0..;
    }

    DeletableGroupResult {
        group_id: Str, 0..;
        error_code: i16, 0..;
    }
}
