//! ElectLeaders, key 43: elects leaders, preferred or unclean.
//! Kafka: ElectLeadersRequest.json, ElectLeadersResponse.json.

use crate::protocol::schema::message;

message! {
    elect_leaders_request::ElectLeadersRequest, 0..=2, flexible 2..;

    ElectLeadersRequest {
        election_type: i8, 1..;
        topic_partitions: Option<Vec<TopicPartitions>> = Some(Vec::new()), 0..;
        timeout_ms: i32 = 60_000, 0..;
    }

    TopicPartitions {
        topic: Str, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    elect_leaders_response::ElectLeadersResponse, 0..=2, flexible 2..;

    ElectLeadersResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 1..;
        replica_election_results: Vec<ReplicaElectionResult>, 0..;
    }

    ReplicaElectionResult {
        topic: Str, 0..;
        partition_result: Vec<PartitionResult>, 0..;
    }

    PartitionResult {
        partition_id: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str> = Some(Str::new()), 0..;
    }
}
