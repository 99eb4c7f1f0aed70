//! IncrementalAlterConfigs: single keys of topics and of this broker. Kafka:
//! `KafkaApis.handleIncrementalAlterConfigsRequest`.

use super::config_resource::{Mode, alter, refuse};
use crate::common::ErrorCode;
use crate::config::alter::{AlterOp, Alteration, Refusal};
use crate::network::Reply;
use crate::protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use crate::protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use crate::protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(
    broker: &Broker,
    call: &mut Call,
    request: IncrementalAlterConfigsRequest,
) -> Reply {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let same = |r: &&AlterConfigsResource| {
            r.resource_type == resource.resource_type && r.resource_name == resource.resource_name
        };
        let outcome = if request.resources.iter().filter(same).count() > 1 {
            refuse(ErrorCode::InvalidRequest, "Each resource must appear at most once.")
        } else {
            alter_one(broker, resource, request.validate_only).await
        };
        let (error_code, error_message) = match outcome {
            Ok(()) => (ErrorCode::None, None),
            Err(refusal) => (refusal.code, Some(refusal.message.into())),
        };
        responses.push(AlterConfigsResourceResponse {
            error_code: error_code.wire(),
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        });
    }
    call.reply(&IncrementalAlterConfigsResponse { responses, ..Default::default() })
}

async fn alter_one(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), Refusal> {
    let entries: Vec<Alteration<'_>> = resource
        .configs
        .iter()
        .map(|c| {
            Ok(Alteration { name: &c.name, op: AlterOp::from_wire(c.config_operation)?, value: c.value.as_deref() })
        })
        .collect::<Result<_, Refusal>>()?;
    let named = (resource.resource_type, &*resource.resource_name);
    alter(broker, named, Mode::Increment, &entries, validate_only).await
}
