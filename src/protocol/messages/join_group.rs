//! JoinGroup, key 11: a member joins a group, and the leader learns of the others.
//! Kafka: JoinGroupRequest.json, JoinGroupResponse.json.

use crate::protocol::schema::message;

message! {
    join_group_request::JoinGroupRequest, 0..=9, flexible 6..;

    JoinGroupRequest {
        group_id: Str, 0..;
        session_timeout_ms: i32, 0..;
        rebalance_timeout_ms: i32 = -1, 1.., [ignorable];
        member_id: Str, 0..;
        group_instance_id: Option<Str>, 5..;
        protocol_type: Str, 0..;
        protocols: Vec<JoinGroupRequestProtocol>, 0..;
        reason: Option<Str>, 8.., [ignorable];
    }

    JoinGroupRequestProtocol {
        name: Str, 0..;
        metadata: Bytes, 0..;
    }
}

message! {
    join_group_response::JoinGroupResponse, 0..=9, flexible 6..;

    JoinGroupResponse {
        throttle_time_ms: i32, 2.., [ignorable];
        error_code: i16, 0..;
        generation_id: i32 = -1, 0..;
        protocol_type: Option<Str>, 7.., [ignorable];
        protocol_name: Option<Str> = Some(Str::new()), 0.., null 7..;
        leader: Str, 0..;
        skip_assignment: bool, 9..;
        member_id: Str, 0..;
        members: Vec<JoinGroupResponseMember>, 0..;
    }

    JoinGroupResponseMember {
        member_id: Str, 0..;
        group_instance_id: Option<Str>, 5.., [ignorable];
        metadata: Bytes, 0..;
    }
}
