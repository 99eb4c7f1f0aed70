//! Metadata, key 3: brokers, controller and the leaders of topics, as clients see them.
//! Kafka: MetadataRequest.json, MetadataResponse.json.

use crate::protocol::schema::message;

message! {
    metadata_request::MetadataRequest, 0..=12, flexible 9..;

    MetadataRequest {
        // Null asks for all topics, empty for none; version 0 has no null and takes empty as all.
        topics: Option<Vec<MetadataRequestTopic>> = Some(Vec::new()), 0.., null 1..;
        allow_auto_topic_creation: bool = true, 4..;
        include_cluster_authorized_operations: bool, 8..=10;
        include_topic_authorized_operations: bool, 8..;
    }

    MetadataRequestTopic {
        topic_id: Uuid, 10.., [ignorable];
        name: Option<Str> = Some(Str::new()), 0.., null 10..;
    }
}

message! {
    metadata_response::MetadataResponse, 0..=12, flexible 9..;

    MetadataResponse {
        throttle_time_ms: i32, 3.., [ignorable];
        brokers: Vec<MetadataResponseBroker>, 0..;
        cluster_id: Option<Str>, 2.., [ignorable];
        controller_id: i32 = -1, 1.., [ignorable];
        topics: Vec<MetadataResponseTopic>, 0..;
        cluster_authorized_operations: i32 = i32::MIN, 8..=10;
    }

    MetadataResponseBroker {
        node_id: i32, 0..;
        host: Str, 0..;
        port: i32, 0..;
        rack: Option<Str>, 1.., [ignorable];
    }

    MetadataResponseTopic {
        error_code: i16, 0..;
        name: Option<Str> = Some(Str::new()), 0.., null 12..;
        topic_id: Uuid, 10.., [ignorable];
        is_internal: bool, 1.., [ignorable];
        partitions: Vec<MetadataResponsePartition>, 0..;
        // A bit for each `AclOperation`; i32::MIN when the request did not ask.
        topic_authorized_operations: i32 = i32::MIN, 8..;
    }

    MetadataResponsePartition {
        error_code: i16, 0..;
        partition_index: i32, 0..;
        leader_id: i32, 0..;
        leader_epoch: i32 = -1, 7.., [ignorable];
        replica_nodes: Vec<i32>, 0..;
        isr_nodes: Vec<i32>, 0..;
        offline_replicas: Vec<i32>, 5.., [ignorable];
    }
}
