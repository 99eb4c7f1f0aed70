//! DeleteAcls: refused, as by a broker without an authorizer. Kafka: `AclApis.handleDeleteAcls`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::delete_acls_response::DeleteAclsFilterResult;
use crate::protocol::messages::{DeleteAclsRequest, DeleteAclsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, request: DeleteAclsRequest) -> Reply {
    let filter_results = request.filters.iter().map(|_| DeleteAclsFilterResult {
        error_code: ErrorCode::SecurityDisabled.wire(),
        error_message: Some("No Authorizer is configured.".into()),
        ..Default::default()
    });
    call.reply(&DeleteAclsResponse { filter_results: filter_results.collect(), ..Default::default() })
}
