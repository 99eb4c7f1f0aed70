//! IncrementalAlterConfigs: single keys of topics and of this broker. Kafka:
//! `KafkaApis.handleIncrementalAlterConfigsRequest`.

use super::config_resource::{ConfigChange, Mode, alter_each};
use crate::config::alter::{AlterOp, Alteration};
use crate::network::Reply;
use crate::protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use crate::protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(
    broker: &Broker,
    call: &mut Call,
    request: IncrementalAlterConfigsRequest,
) -> Reply {
    let changes = request.resources.iter().map(|resource| {
        let entries = resource.configs.iter();
        let altered = entries.map(|c| Alteration {
            name: &c.name,
            op: AlterOp::from_wire(c.config_operation),
            value: c.value.as_deref(),
        });
        ConfigChange { resource: (resource.resource_type, &resource.resource_name), entries: altered.collect() }
    });
    let responses = alter_each(broker, changes.collect(), Mode::Increment, request.validate_only).await;
    let responses = responses.into_iter().zip(&request.resources).map(|((code, error_message), resource)| {
        AlterConfigsResourceResponse {
            error_code: code.wire(),
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        }
    });
    call.reply(&IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() })
}
