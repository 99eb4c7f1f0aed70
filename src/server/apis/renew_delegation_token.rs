//! RenewDelegationToken: refused, as over every connection without authentication. Kafka:
//! `KafkaApis.handleRenewTokenRequest`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{RenewDelegationTokenRequest, RenewDelegationTokenResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, _: RenewDelegationTokenRequest) -> Reply {
    call.reply(&RenewDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.wire(),
        expiry_timestamp_ms: -1,
        ..Default::default()
    })
}
