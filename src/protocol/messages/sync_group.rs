//! SyncGroup, key 14: the leader submits the assignments, every member receives its own.
//! Kafka: SyncGroupRequest.json, SyncGroupResponse.json.

use crate::protocol::schema::message;

message! {
    sync_group_request::SyncGroupRequest, 0..=5, flexible 4..;

    SyncGroupRequest {
        group_id: Str, 0..;
        generation_id: i32, 0..;
        member_id: Str, 0..;
        group_instance_id: Option<Str>, 3..;
        protocol_type: Option<Str>, 5.., [ignorable];
        protocol_name: Option<Str>, 5.., [ignorable];
        assignments: Vec<SyncGroupRequestAssignment>, 0..;
    }

    SyncGroupRequestAssignment {
        member_id: Str, 0..;
        assignment: Bytes, 0..;
    }
}

message! {
    sync_group_response::SyncGroupResponse, 0..=5, flexible 4..;

    SyncGroupResponse {
        throttle_time_ms: i32, 1.., [ignorable];
        error_code: i16, 0..;
        protocol_type: Option<Str>, 5.., [ignorable];
        protocol_name: Option<Str>, 5.., [ignorable];
        assignment: Bytes, 0..;
    }
}
