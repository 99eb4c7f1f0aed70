//! CreateAcls: refused, as by a broker without an authorizer. Kafka: `AclApis.handleCreateAcls`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::create_acls_response::AclCreationResult;
use crate::protocol::messages::{CreateAclsRequest, CreateAclsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, request: CreateAclsRequest) -> Reply {
    let results = request.creations.iter().map(|_| AclCreationResult {
        error_code: ErrorCode::SecurityDisabled.wire(),
        error_message: Some("No Authorizer is configured.".into()),
        ..Default::default()
    });
    call.reply(&CreateAclsResponse { results: results.collect(), ..Default::default() })
}
