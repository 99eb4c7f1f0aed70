//! LeaveGroup: members leave, or an administrator removes them. Kafka: `KafkaApis.handleLeaveGroupRequest`.

use super::owned;
use crate::common::ErrorCode;
use crate::coordinator::group::Leave;
use crate::network::Reply;
use crate::protocol::messages::leave_group_response::MemberResponse;
use crate::protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

/// The first version that names several members.
const BATCHED: i16 = 3;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: LeaveGroupRequest) -> Reply {
    let leaving: Vec<Leave> = if call.version() < BATCHED {
        vec![Leave { id: owned(&request.member_id), instance_id: None, reason: None }]
    } else {
        let members = request.members.iter().map(|member| Leave {
            id: owned(&member.member_id),
            instance_id: member.group_instance_id.as_ref().map(owned),
            reason: member.reason.as_ref().map(owned),
        });
        members.collect()
    };
    let left = broker.groups.leave(owned(&request.group_id), leaving.clone()).await;
    call.reply(&response(call.version(), leaving, left))
}

fn response(version: i16, leaving: Vec<Leave>, left: Result<Vec<ErrorCode>, ErrorCode>) -> LeaveGroupResponse {
    let codes = match left {
        Err(code) => return LeaveGroupResponse { error_code: code.wire(), ..Default::default() },
        Ok(codes) => codes,
    };
    if version < BATCHED {
        let code = codes.first().copied().unwrap_or(ErrorCode::None);
        return LeaveGroupResponse { error_code: code.wire(), ..Default::default() };
    }
    let members = leaving.into_iter().zip(codes).map(|(member, code)| MemberResponse {
        member_id: member.id,
        group_instance_id: member.instance_id,
        error_code: code.wire(),
        ..Default::default()
    });
    LeaveGroupResponse { members: members.collect(), ..Default::default() }
}
