//! CreateDelegationToken: refused, as over every connection without authentication. Kafka:
//! `KafkaApis.handleCreateTokenRequest`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::{CreateDelegationTokenRequest, CreateDelegationTokenResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

/// The principal of an unauthenticated client. Kafka: `KafkaPrincipal.ANONYMOUS`.
const ANONYMOUS: (&str, &str) = ("User", "ANONYMOUS");
/// The first version that names the requester.
const WITH_REQUESTER: i16 = 3;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, request: CreateDelegationTokenRequest) -> Reply {
    let anonymous = || (Str::from(ANONYMOUS.0), Str::from(ANONYMOUS.1));
    let named = request.owner_principal_name.filter(|name| !name.is_empty());
    let owner = named.map_or_else(anonymous, |name| (request.owner_principal_type.unwrap_or_default(), name));
    let requester = if call.version() >= WITH_REQUESTER { anonymous() } else { Default::default() };
    call.reply(&CreateDelegationTokenResponse {
        error_code: ErrorCode::DelegationTokenRequestNotAllowed.wire(),
        principal_type: owner.0,
        principal_name: owner.1,
        token_requester_principal_type: requester.0,
        token_requester_principal_name: requester.1,
        issue_timestamp_ms: -1,
        expiry_timestamp_ms: -1,
        max_timestamp_ms: -1,
        ..Default::default()
    })
}
