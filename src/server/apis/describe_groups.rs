//! DescribeGroups: state and members of groups. Kafka: `KafkaApis.handleDescribeGroupsRequest`.

use super::{GROUP_OPERATIONS, owned};
use crate::common::ErrorCode;
use crate::coordinator::group::{GroupDescription, GroupState};
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DescribeGroupsRequest) -> Reply {
    let mut groups = Vec::new();
    // A group is described once, however often it is named.
    for id in BTreeSet::from_iter(request.groups) {
        let mut group = described(id.clone(), broker.groups.describe(owned(&id)).await);
        if request.include_authorized_operations && group.error_code == ErrorCode::None.wire() {
            group.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(group);
    }
    call.reply(&DescribeGroupsResponse { groups, ..Default::default() })
}

fn described(group_id: Str, answer: Result<Option<GroupDescription>, ErrorCode>) -> DescribedGroup {
    let group = match answer {
        Ok(Some(group)) => group,
        Ok(None) => {
            return DescribedGroup { group_id, group_state: GroupState::Dead.name().into(), ..Default::default() };
        }
        Err(code) => return DescribedGroup { group_id, error_code: code.wire(), ..Default::default() },
    };
    let members = group.members.into_iter().map(|member| DescribedGroupMember {
        member_id: member.id,
        group_instance_id: member.instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
        ..Default::default()
    });
    DescribedGroup {
        group_id,
        group_state: group.state.into(),
        protocol_type: group.protocol_type,
        protocol_data: group.protocol,
        members: members.collect(),
        ..Default::default()
    }
}
