//! ExpireDelegationToken: refused, as over every connection without authentication. Kafka:
//! `KafkaApis.handleExpireTokenRequest`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{ExpireDelegationTokenRequest, ExpireDelegationTokenResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, _: ExpireDelegationTokenRequest) -> Reply {
    call.reply(&ExpireDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.wire(),
        expiry_timestamp_ms: -1,
        ..Default::default()
    })
}
