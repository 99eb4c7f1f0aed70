//! DeleteGroups: removes groups without members. Kafka: `KafkaApis.handleDeleteGroupsRequest`.

use super::owned;
use crate::network::Reply;
use crate::protocol::messages::delete_groups_response::DeletableGroupResult;
use crate::protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DeleteGroupsRequest) -> Reply {
    let mut results = Vec::new();
    let mut seen = BTreeSet::new();
    for group in request.groups_names {
        if !seen.insert(group.clone()) {
            continue;
        }
        let code = broker.groups.delete_group(owned(&group)).await;
        results.push(DeletableGroupResult { group_id: group, error_code: code.wire(), ..Default::default() });
    }
    call.reply(&DeleteGroupsResponse { results, ..Default::default() })
}
