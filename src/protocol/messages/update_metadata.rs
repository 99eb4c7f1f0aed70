//! UpdateMetadata, key 6: the controller tells every broker the state of the cluster that clients ask for.
//! Kafka: UpdateMetadataRequest.json, UpdateMetadataResponse.json.

use crate::protocol::schema::message;

message! {
    update_metadata_request::UpdateMetadataRequest, 0..=8, flexible 6..;

    UpdateMetadataRequest {
        controller_id: i32, 0..;
        is_kraft_controller: bool, 8..;
        controller_epoch: i32, 0..;
        broker_epoch: i64 = -1, 5.., [ignorable];
        ungrouped_partition_states: Vec<UpdateMetadataPartitionState>, 0..=4;
        topic_states: Vec<UpdateMetadataTopicState>, 5..;
        live_brokers: Vec<UpdateMetadataBroker>, 0..;
        // 0 from a ZooKeeper controller; a KRaft one in migration says 1 for what changed, 2 for everything.
        0 => r#type: i8, 8..;
    }

    UpdateMetadataPartitionState {
        topic_name: Str, 0..=4, [ignorable];
        partition_index: i32, 0..;
        controller_epoch: i32, 0..;
        // -1: none; -2: the topic is being deleted.
        leader: i32, 0..;
        leader_epoch: i32, 0..;
        isr: Vec<i32>, 0..;
        zk_version: i32, 0..;
        replicas: Vec<i32>, 0..;
        offline_replicas: Vec<i32>, 4.., [ignorable];
    }

    UpdateMetadataTopicState {
        topic_name: Str, 5..;
        topic_id: Uuid, 7.., [ignorable];
        partition_states: Vec<UpdateMetadataPartitionState>, 5..;
    }

    UpdateMetadataBroker {
        id: i32, 0..;
        v0_host: Str, 0..=0, [ignorable];
        v0_port: i32, 0..=0, [ignorable];
        endpoints: Vec<UpdateMetadataEndpoint>, 1.., [ignorable];
        rack: Option<Str> = Some(Str::new()), 2.., [ignorable];
    }

    UpdateMetadataEndpoint {
        port: i32, 1..;
        host: Str, 1..;
        listener: Str, 3.., [ignorable];
        security_protocol: i16, 1..;
    }
}

message! {
    update_metadata_response::UpdateMetadataResponse, 0..=8, flexible 6..;

    UpdateMetadataResponse {
        error_code: i16, 0..;
    }
}
