//! ControlledShutdown, key 7: a broker asks the controller to move its leaderships away before it stops.
//! Kafka: ControlledShutdownRequest.json, ControlledShutdownResponse.json.

use crate::protocol::schema::message;

message! {
    controlled_shutdown_request::ControlledShutdownRequest, 0..=3, flexible 3..;

    ControlledShutdownRequest {
        broker_id: i32, 0..;
        broker_epoch: i64 = -1, 2.., [ignorable];
    }
}

message! {
    controlled_shutdown_response::ControlledShutdownResponse, 0..=3, flexible 3..;

    ControlledShutdownResponse {
        error_code: i16, 0..;
        remaining_partitions: Vec<RemainingPartition>, 0..;
    }

    RemainingPartition {
        topic_name: Str, 0..;
        partition_index: i32, 0..;
    }
}
