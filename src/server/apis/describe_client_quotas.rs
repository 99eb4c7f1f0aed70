//! DescribeClientQuotas: there are none. Kafka: `ZkAdminManager.describeClientQuotas`. Absent so far: quotas.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::describe_client_quotas_request::ComponentData;
use crate::protocol::messages::{DescribeClientQuotasRequest, DescribeClientQuotasResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, request: DescribeClientQuotasRequest) -> Reply {
    call.reply(&match check(&request.components) {
        Ok(()) => DescribeClientQuotasResponse { error_message: None, entries: Some(Vec::new()), ..Default::default() },
        Err((code, message)) => DescribeClientQuotasResponse {
            error_code: code.wire(),
            error_message: Some(message.into()),
            entries: None,
            ..Default::default()
        },
    })
}

/// What Kafka asks of a filter.
fn check(components: &[ComponentData]) -> Result<(), (ErrorCode, String)> {
    let mut types = BTreeSet::new();
    for component in components {
        let name = match &*component.entity_type {
            "user" => "user",
            "client-id" => "client",
            "ip" => "ip",
            "" => {
                let text = "Unexpected empty filter component entity type".to_owned();
                return Err((ErrorCode::InvalidRequest, text));
            }
            other => {
                return Err((ErrorCode::UnsupportedVersion, format!("Custom entity type '{other}' not supported")));
            }
        };
        if !types.insert(name) {
            return Err((ErrorCode::InvalidRequest, format!("Duplicate {name} filter component entity type")));
        }
    }
    if types.contains("ip") && types.len() > 1 {
        let text = "Invalid entity filter component combination, IP filter component should not be used with user or clientId filter component.";
        return Err((ErrorCode::InvalidRequest, text.to_owned()));
    }
    Ok(())
}
