//! DescribeCluster: brokers, controller, cluster id. Kafka: `AuthHelper.computeDescribeClusterResponse`.

use super::CLUSTER_OPERATIONS;
use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{
    DescribeClusterRequest, DescribeClusterResponse, describe_cluster_response::DescribeClusterBroker,
};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

/// `EndpointType`: what a broker is, and what a KRaft controller would be.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DescribeClusterRequest) -> Reply {
    let refuse = |code: ErrorCode, message: String| {
        let code = if call.version() == 0 { ErrorCode::InvalidRequest } else { code };
        call.reply(&DescribeClusterResponse {
            error_code: code.wire(),
            error_message: Some(message.into()),
            ..Default::default()
        })
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => {
            return refuse(
                ErrorCode::MismatchedEndpointType,
                "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER"
                    .to_owned(),
            );
        }
        other => return refuse(ErrorCode::UnsupportedEndpointType, format!("Unsupported endpoint type {other}")),
    }
    let image = broker.image.load();
    let brokers: Vec<_> = image
        .brokers
        .values()
        .filter_map(|b| {
            let endpoint = b.endpoint(call.listener())?;
            Some(DescribeClusterBroker {
                broker_id: b.id.0,
                host: endpoint.host.as_deref().unwrap_or_default().into(),
                port: endpoint.port.into(),
                rack: b.rack.as_deref().map(Into::into),
                ..Default::default()
            })
        })
        .collect();
    let controller = image.controller.filter(|id| brokers.iter().any(|b| b.broker_id == id.0));
    call.reply(&DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: broker.cluster_id.as_str().into(),
        controller_id: controller.map_or(-1, |id| id.0),
        brokers,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
        ..Default::default()
    })
}
