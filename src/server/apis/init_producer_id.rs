//! InitProducerId: an id for an idempotent producer. Kafka: `TransactionCoordinator.handleInitProducerId` without a
//! transactional id. Absent on purpose: transactional ids, which need the transaction coordinator.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{InitProducerIdRequest, InitProducerIdResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use tracing::warn;

/// A producer that has an id and loses its epoch (or the reverse) is confused.
const NONE: (i64, i16) = (-1, -1);

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: InitProducerIdRequest) -> Reply {
    let refuse = |code: ErrorCode| {
        call.reply(&InitProducerIdResponse { error_code: code.wire(), producer_epoch: -1, ..Default::default() })
    };
    let (id, epoch) = (request.producer_id, request.producer_epoch);
    if (id == NONE.0) != (epoch == NONE.1) {
        return refuse(ErrorCode::InvalidRequest);
    }
    match request.transactional_id.as_deref() {
        None => {}
        Some("") => return refuse(ErrorCode::InvalidRequest),
        Some(_) => return refuse(ErrorCode::CoordinatorNotAvailable),
    }
    match broker.producer_ids.next().await {
        Ok(producer_id) => call.reply(&InitProducerIdResponse { producer_id, ..Default::default() }),
        Err(error) => {
            warn!(%error, "no producer id");
            refuse(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}
