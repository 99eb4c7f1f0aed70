//! AlterClientQuotas: refused, entity by entity, for this version has no quotas. Kafka: `ZkAdminManager.alterClientQuotas`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::alter_client_quotas_response::{EntityData, EntryData};
use crate::protocol::messages::{AlterClientQuotasRequest, AlterClientQuotasResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, request: AlterClientQuotasRequest) -> Reply {
    let entries = request.entries.into_iter().map(|entry| EntryData {
        error_code: ErrorCode::UnsupportedVersion.wire(),
        error_message: Some("Quotas are not served by this version".into()),
        entity: entry
            .entity
            .into_iter()
            .map(|part| EntityData {
                entity_type: part.entity_type,
                entity_name: part.entity_name,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    });
    call.reply(&AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() })
}
