//! JoinGroup: a member joins its group, and waits until all have joined. Kafka: `KafkaApis.handleJoinGroupRequest`.

use super::{client_host, owned};
use crate::coordinator::group::{Join, JoinAnswer, Protocol};
use crate::network::Reply;
use crate::protocol::messages::join_group_response::JoinGroupResponseMember;
use crate::protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use bytes::Bytes;
use uuid::Builder;

/// The first version whose response can say "no protocol" by null.
const NULL_PROTOCOL: i16 = 7;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: JoinGroupRequest) -> Reply {
    let version = call.version();
    // The first version has one timeout for both.
    let rebalance_timeout_ms = if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    let protocols = request
        .protocols
        .iter()
        .map(|protocol| Protocol { name: owned(&protocol.name), metadata: Bytes::copy_from_slice(&protocol.metadata) });
    let instance_id = request.group_instance_id.as_ref().map(owned);
    let join = Join {
        group_id: owned(&request.group_id),
        member_id: owned(&request.member_id),
        client_id: owned(&call.header.client_id),
        client_host: client_host(call),
        rebalance_timeout_ms,
        session_timeout_ms: request.session_timeout_ms,
        protocol_type: owned(&request.protocol_type),
        protocols: protocols.collect(),
        reason: request.reason.as_ref().map(owned),
        requires_known_member_id: version >= 4 && instance_id.is_none(),
        supports_skipping_assignment: version >= 9,
        instance_id,
        unique: Builder::from_random_bytes(rand::random()).into_uuid(),
    };
    drop(request);
    let answer = broker.groups.join(join).await;
    call.reply(&response(version, answer))
}

fn response(version: i16, answer: JoinAnswer) -> JoinGroupResponse {
    let protocol = answer.protocol.filter(|name| !name.is_empty());
    JoinGroupResponse {
        error_code: answer.error.wire(),
        generation_id: answer.generation,
        protocol_type: answer.protocol_type,
        protocol_name: if version < NULL_PROTOCOL { Some(protocol.unwrap_or_default()) } else { protocol },
        leader: answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id,
        members: answer
            .members
            .into_iter()
            .map(|member| JoinGroupResponseMember {
                member_id: member.id,
                group_instance_id: member.instance_id,
                metadata: member.metadata,
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}
