//! DescribeAcls: refused, as by a broker without an authorizer. Kafka: `AclApis.handleDescribeAcls`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{DescribeAclsRequest, DescribeAclsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, _: DescribeAclsRequest) -> Reply {
    call.reply(&DescribeAclsResponse {
        error_code: ErrorCode::SecurityDisabled.wire(),
        error_message: Some("No Authorizer is configured on the broker".into()),
        ..Default::default()
    })
}
