//! Heartbeat: a member shows that it is alive, and learns of a rebalance. Kafka: `KafkaApis.handleHeartbeatRequest`.

use super::group_member;
use crate::network::Reply;
use crate::protocol::messages::{HeartbeatRequest, HeartbeatResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: HeartbeatRequest) -> Reply {
    let instance_id = request.group_instance_id.as_ref();
    let member = group_member(&request.group_id, &request.member_id, instance_id, request.generation_id);
    let error_code = broker.groups.heartbeat(member).await.wire();
    call.reply(&HeartbeatResponse { error_code, ..Default::default() })
}
