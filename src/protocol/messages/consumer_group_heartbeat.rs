//! ConsumerGroupHeartbeat, key 68: a member of a new-style group says that it is alive, and learns its
//! assignment (refused in ZooKeeper mode). Kafka: ConsumerGroupHeartbeatRequest.json, ConsumerGroupHeartbeatResponse.json.

use crate::protocol::schema::message;

message! {
    consumer_group_heartbeat_request::ConsumerGroupHeartbeatRequest, 0..=0, flexible 0..;

    ConsumerGroupHeartbeatRequest {
        group_id: Str, 0..;
        member_id: Str, 0..;
        member_epoch: i32, 0..;
        instance_id: Option<Str>, 0..;
        rack_id: Option<Str>, 0..;
        rebalance_timeout_ms: i32 = -1, 0..;
        subscribed_topic_names: Option<Vec<Str>>, 0..;
        server_assignor: Option<Str>, 0..;
        topic_partitions: Option<Vec<TopicPartitions>>, 0..;
    }

    TopicPartitions {
        topic_id: Uuid, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    consumer_group_heartbeat_response::ConsumerGroupHeartbeatResponse, 0..=0, flexible 0..;

    ConsumerGroupHeartbeatResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str>, 0..;
        member_id: Option<Str>, 0..;
        member_epoch: i32, 0..;
        heartbeat_interval_ms: i32, 0..;
        assignment: Option<Assignment>, 0..;
    }

    Assignment {
        topic_partitions: Vec<TopicPartitions>, 0..;
    }

    TopicPartitions {
        topic_id: Uuid, 0..;
        partitions: Vec<i32>, 0..;
    }
}
