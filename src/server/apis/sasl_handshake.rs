//! SaslHandshake: refused, as on every listener that does not use SASL. Kafka: `KafkaApis.handleSaslHandshakeRequest`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{SaslHandshakeRequest, SaslHandshakeResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, _: SaslHandshakeRequest) -> Reply {
    let error_code = ErrorCode::IllegalSaslState.wire();
    call.reply(&SaslHandshakeResponse { error_code, ..Default::default() })
}
