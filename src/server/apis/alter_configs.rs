//! AlterConfigs: all settings of a topic or of this broker at once. Kafka: `KafkaApis.handleAlterConfigsRequest`.

use super::config_resource::{ConfigChange, Mode, alter_each};
use crate::config::alter::{AlterOp, Alteration};
use crate::network::Reply;
use crate::protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use crate::protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: AlterConfigsRequest) -> Reply {
    let changes = request.resources.iter().map(|resource| {
        let entries = resource.configs.iter();
        let set = entries.map(|c| Alteration { name: &c.name, op: AlterOp::Set, value: c.value.as_deref() });
        ConfigChange { resource: (resource.resource_type, &resource.resource_name), entries: set.collect() }
    });
    let responses = alter_each(broker, changes.collect(), Mode::Replace, request.validate_only).await;
    let responses = responses.into_iter().zip(&request.resources).map(|((code, error_message), resource)| {
        AlterConfigsResourceResponse {
            error_code: code.wire(),
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            ..Default::default()
        }
    });
    call.reply(&AlterConfigsResponse { responses: responses.collect(), ..Default::default() })
}
