//! InitProducerId: an id and an epoch for an idempotent or transactional producer. Kafka:
//! `KafkaApis.handleInitProducerIdRequest`.

use crate::common::ErrorCode;
use crate::coordinator::transaction::ProducerIdAndEpoch;
use crate::network::Reply;
use crate::protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

/// No producer id and no epoch. A request with only one of the two is invalid.
const NONE: (i64, i16) = (-1, -1);
/// The first version that knows PRODUCER_FENCED.
const FENCED_VERSION: i16 = 4;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: InitProducerIdRequest) -> Reply {
    let told = match expected(&request) {
        Err(code) => Err(code),
        Ok(expected) => match request.transactional_id.as_deref() {
            None => {
                let id = broker.producer_ids.next().ok_or(ErrorCode::CoordinatorLoadInProgress);
                id.map(|producer_id| ProducerIdAndEpoch { producer_id, epoch: 0 })
            }
            Some(id) => broker.transactions.init_producer_id(id, request.transaction_timeout_ms, expected).await,
        },
    };
    call.reply(&match told {
        Ok(producer) => InitProducerIdResponse {
            producer_id: producer.producer_id,
            producer_epoch: producer.epoch,
            ..Default::default()
        },
        Err(code) => InitProducerIdResponse {
            error_code: super::without_fenced(code, call.version() >= FENCED_VERSION).wire(),
            producer_epoch: NONE.1,
            ..Default::default()
        },
    })
}

fn expected(request: &InitProducerIdRequest) -> Result<Option<ProducerIdAndEpoch>, ErrorCode> {
    let (producer_id, epoch) = (request.producer_id, request.producer_epoch);
    match (producer_id == NONE.0, epoch == NONE.1) {
        (true, true) => Ok(None),
        (false, false) => Ok(Some(ProducerIdAndEpoch { producer_id, epoch })),
        _ => Err(ErrorCode::InvalidRequest),
    }
}
