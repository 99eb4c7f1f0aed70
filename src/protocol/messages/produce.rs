//! Produce, key 0: appends record batches to partitions.
//! Kafka: ProduceRequest.json, ProduceResponse.json.

use crate::protocol::schema::message;

message! {
    produce_request::ProduceRequest, 0..=11, flexible 9..;

    ProduceRequest {
        transactional_id: Option<Str>, 3..;
        // 0: no answer is sent; 1: the leader has it; -1: all in-sync replicas have it.
        acks: i16, 0..;
        timeout_ms: i32, 0..;
        topic_data: Vec<TopicProduceData>, 0..;
    }

    TopicProduceData {
        name: Str, 0..;
        partition_data: Vec<PartitionProduceData>, 0..;
    }

    PartitionProduceData {
        index: i32, 0..;
        records: Option<Records>, 0..;
    }
}

message! {
    produce_response::ProduceResponse, 0..=11, flexible 9..;

    ProduceResponse {
        responses: Vec<TopicProduceResponse>, 0..;
        throttle_time_ms: i32, 1.., [ignorable];
        0 => node_endpoints: Vec<NodeEndpoint>, 10..;
    }

    TopicProduceResponse {
        name: Str, 0..;
        partition_responses: Vec<PartitionProduceResponse>, 0..;
    }

    PartitionProduceResponse {
        index: i32, 0..;
        error_code: i16, 0..;
        base_offset: i64, 0..;
        log_append_time_ms: i64 = -1, 2.., [ignorable];
        log_start_offset: i64 = -1, 5.., [ignorable];
        record_errors: Vec<BatchIndexAndErrorMessage>, 8.., [ignorable];
        error_message: Option<Str>, 8.., [ignorable];
        0 => current_leader: LeaderIdAndEpoch, 10..;
    }

    BatchIndexAndErrorMessage {
        batch_index: i32, 8..;
        batch_index_error_message: Option<Str>, 8..;
    }

    LeaderIdAndEpoch {
        leader_id: i32 = -1, 10..;
        leader_epoch: i32 = -1, 10..;
    }

    NodeEndpoint {
        node_id: i32, 10..;
        host: Str, 10..;
        port: i32, 10..;
        rack: Option<Str>, 10..;
    }
}
