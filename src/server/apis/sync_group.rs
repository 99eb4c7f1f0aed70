//! SyncGroup: the leader sends the assignments, every member waits for its own. Kafka:
//! `KafkaApis.handleSyncGroupRequest`.

use super::{group_member, owned};
use crate::common::ErrorCode;
use crate::coordinator::group::Sync;
use crate::network::Reply;
use crate::protocol::messages::{SyncGroupRequest, SyncGroupResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use bytes::Bytes;

/// The first version in which members have to name the protocol that they expect.
const MANDATORY_PROTOCOL: i16 = 5;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: SyncGroupRequest) -> Reply {
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if call.version() >= MANDATORY_PROTOCOL && !says_protocol {
        let error_code = ErrorCode::InconsistentGroupProtocol.wire();
        return call.reply(&SyncGroupResponse { error_code, ..Default::default() });
    }
    let assigned = request.assignments.iter().map(|a| (owned(&a.member_id), Bytes::copy_from_slice(&a.assignment)));
    let instance_id = request.group_instance_id.as_ref();
    let sync = Sync {
        member: group_member(&request.group_id, &request.member_id, instance_id, request.generation_id),
        protocol_type: request.protocol_type.as_ref().map(owned),
        protocol: request.protocol_name.as_ref().map(owned),
        assignments: assigned.collect(),
    };
    drop(request);
    let answer = broker.groups.sync(sync).await;
    call.reply(&SyncGroupResponse {
        error_code: answer.error.wire(),
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol,
        assignment: answer.assignment,
        ..Default::default()
    })
}
