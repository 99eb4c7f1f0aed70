//! ControlledShutdown: a broker that is about to stop asks the controller to move its leaderships away. Kafka:
//! `KafkaApis.handleControlledShutdownRequest`.

use crate::common::{BrokerEpoch, BrokerId, ErrorCode};
use crate::network::Reply;
use crate::protocol::messages::controlled_shutdown_response::RemainingPartition;
use crate::protocol::messages::{ControlledShutdownRequest, ControlledShutdownResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: ControlledShutdownRequest) -> Reply {
    let (id, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
    let answer = match broker.controller.controlled_shutdown(id, epoch).await {
        Ok(remaining) => ControlledShutdownResponse {
            remaining_partitions: remaining
                .iter()
                .map(|tp| RemainingPartition {
                    topic_name: (&*tp.topic).into(),
                    partition_index: tp.partition,
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        },
        Err(error) => ControlledShutdownResponse { error_code: ErrorCode::from(error).wire(), ..Default::default() },
    };
    call.reply(&answer)
}
