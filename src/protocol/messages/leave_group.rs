//! LeaveGroup, key 13: members leave a group.
//! Kafka: LeaveGroupRequest.json, LeaveGroupResponse.json.

use crate::protocol::schema::message;

message! {
    leave_group_request::LeaveGroupRequest, 0..=5, flexible 4..;

    LeaveGroupRequest {
        group_id: Str, 0..;
        member_id: Str, 0..=2;
        members: Vec<MemberIdentity>, 3..;
    }

    MemberIdentity {
        member_id: Str, 3..;
        group_instance_id: Option<Str>, 3..;
        reason: Option<Str>, 5.., [ignorable];
    }
}

message! {
    leave_group_response::LeaveGroupResponse, 0..=5, flexible 4..;

    LeaveGroupResponse {
        throttle_time_ms: i32, 1.., [ignorable];
        error_code: i16, 0..;
        members: Vec<MemberResponse>, 3..;
    }

    MemberResponse {
        member_id: Str, 3..;
        group_instance_id: Option<Str> = Some(Str::new()), 3..;
        error_code: i16, 3..;
    }
}
