//! FindCoordinator, key 10: finds the broker that coordinates a group or a transactional id; many keys
//! at once from version 4 on. Kafka: FindCoordinatorRequest.json, FindCoordinatorResponse.json.

use crate::protocol::schema::message;

message! {
    find_coordinator_request::FindCoordinatorRequest, 0..=6, flexible 3..;

    FindCoordinatorRequest {
        key: Str, 0..=3;
        key_type: i8, 1..;
        coordinator_keys: Vec<Str>, 4..;
    }
}

message! {
    find_coordinator_response::FindCoordinatorResponse, 0..=6, flexible 3..;

    FindCoordinatorResponse {
        throttle_time_ms: i32, 1.., [ignorable];
        error_code: i16, 0..=3;
        error_message: Option<Str> = Some(Str::new()), 1..=3, [ignorable];
        node_id: i32, 0..=3;
        host: Str, 0..=3;
        port: i32, 0..=3;
        coordinators: Vec<Coordinator>, 4..;
    }

    Coordinator {
        key: Str, 4..;
        node_id: i32, 4..;
        host: Str, 4..;
        port: i32, 4..;
        error_code: i16, 4..;
        error_message: Option<Str> = Some(Str::new()), 4..;
    }
}
