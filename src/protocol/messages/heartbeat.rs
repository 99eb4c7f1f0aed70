//! Heartbeat, key 12: a member says that it is alive.
//! Kafka: HeartbeatRequest.json, HeartbeatResponse.json.

use crate::protocol::schema::message;

message! {
    heartbeat_request::HeartbeatRequest, 0..=4, flexible 4..;

    HeartbeatRequest {
        group_id: Str, 0..;
        generation_id: i32, 0..;
        member_id: Str, 0..;
        group_instance_id: Option<Str>, 3..;
    }
}

message! {
    heartbeat_response::HeartbeatResponse, 0..=4, flexible 4..;

    HeartbeatResponse {
        throttle_time_ms: i32, 1.., [ignorable];
        error_code: i16, 0..;
    }
}
