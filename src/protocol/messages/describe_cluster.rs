//! DescribeCluster, key 60: brokers, controller and id of the cluster.
//! Kafka: DescribeClusterRequest.json, DescribeClusterResponse.json.

use crate::protocol::schema::message;

message! {
    describe_cluster_request::DescribeClusterRequest, 0..=1, flexible 0..;

    DescribeClusterRequest {
        include_cluster_authorized_operations: bool, 0..;
        endpoint_type: i8 = 1, 1..;
    }
}

message! {
    describe_cluster_response::DescribeClusterResponse, 0..=1, flexible 0..;

    DescribeClusterResponse {
        throttle_time_ms: i32, 0..;
        error_code: i16, 0..;
        error_message: Option<Str>, 0..;
        endpoint_type: i8 = 1, 1..;
        cluster_id: Str, 0..;
        controller_id: i32 = -1, 0..;
        brokers: Vec<DescribeClusterBroker>, 0..;
        cluster_authorized_operations: i32 = i32::MIN, 0..;
    }

    DescribeClusterBroker {
        broker_id: i32, 0..;
        host: Str, 0..;
        port: i32, 0..;
        rack: Option<Str>, 0..;
    }
}
