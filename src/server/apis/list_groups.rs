//! ListGroups: the groups that this broker coordinates. Kafka: `KafkaApis.handleListGroupsRequest`,
//! `GroupCoordinator.handleListGroups`.

use crate::network::Reply;
use crate::protocol::messages::list_groups_response::ListedGroup;
use crate::protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

/// `Group.GroupType`: the only one that this coordinator has.
const CLASSIC: &str = "classic";

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: ListGroupsRequest) -> Reply {
    let (code, groups) = broker.groups.list().await;
    let is_asked = |state: &str| {
        request.states_filter.is_empty() || request.states_filter.iter().any(|asked| asked.eq_ignore_ascii_case(state))
    };
    let types = &request.types_filter;
    let are_classic_asked = types.is_empty() || types.iter().any(|asked| asked.eq_ignore_ascii_case(CLASSIC));
    let groups =
        groups.into_iter().filter(|group| are_classic_asked && is_asked(group.state)).map(|group| ListedGroup {
            group_id: group.id,
            protocol_type: group.protocol_type,
            group_state: group.state.into(),
            group_type: CLASSIC.into(),
            ..Default::default()
        });
    call.reply(&ListGroupsResponse { error_code: code.wire(), groups: groups.collect(), ..Default::default() })
}
