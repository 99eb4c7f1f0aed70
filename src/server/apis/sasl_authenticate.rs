//! SaslAuthenticate: refused, as on every listener that does not use SASL. Kafka:
//! `KafkaApis.handleSaslAuthenticateRequest`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{SaslAuthenticateRequest, SaslAuthenticateResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, _: SaslAuthenticateRequest) -> Reply {
    call.reply(&SaslAuthenticateResponse {
        error_code: ErrorCode::IllegalSaslState.wire(),
        error_message: Some("SaslAuthenticate request received after successful authentication".into()),
        ..Default::default()
    })
}
