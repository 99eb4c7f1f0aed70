//! AllocateProducerIds: a broker asks the controller for a block of producer ids. Kafka:
//! `KafkaApis.handleAllocateProducerIdsRequest`.

use crate::common::{BrokerEpoch, BrokerId, ErrorCode};
use crate::network::Reply;
use crate::protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: AllocateProducerIdsRequest) -> Reply {
    let (id, epoch) = (BrokerId(request.broker_id), BrokerEpoch(request.broker_epoch));
    let answer = match broker.controller.allocate_producer_ids(id, epoch).await {
        Ok(block) => AllocateProducerIdsResponse {
            producer_id_start: block.first,
            producer_id_len: (block.last - block.first + 1) as i32,
            ..Default::default()
        },
        Err(error) => AllocateProducerIdsResponse { error_code: ErrorCode::from(error).wire(), ..Default::default() },
    };
    call.reply(&answer)
}
