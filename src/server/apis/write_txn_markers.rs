//! WriteTxnMarkers: appends markers for a transaction coordinator, or an administrator who aborts a hanging
//! transaction. Kafka: `KafkaApis.handleWriteTxnMarkersRequest`.

use crate::network::Reply;
use crate::protocol::messages::WriteTxnMarkersRequest;
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::time::Duration;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: WriteTxnMarkersRequest) -> Reply {
    let timeout = Duration::from_millis(broker.config.load().request_timeout_ms.max(0).unsigned_abs().into());
    call.reply(&broker.transactions.writer().write(&request, timeout).await)
}
