//! EndTxn: commits or aborts a transaction. Kafka: `KafkaApis.handleEndTxnRequest`.

use crate::coordinator::transaction::{Outcome, ProducerIdAndEpoch};
use crate::network::Reply;
use crate::protocol::messages::{EndTxnRequest, EndTxnResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

/// The first version that knows PRODUCER_FENCED.
const FENCED_VERSION: i16 = 2;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: EndTxnRequest) -> Reply {
    let producer = ProducerIdAndEpoch { producer_id: request.producer_id, epoch: request.producer_epoch };
    let outcome = Outcome::of(request.committed);
    let code = broker.transactions.end(&request.transactional_id, producer, outcome).await;
    let code = super::without_fenced(code, call.version() >= FENCED_VERSION);
    call.reply(&EndTxnResponse { error_code: code.wire(), ..Default::default() })
}
