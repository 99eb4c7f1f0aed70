//! ConsumerGroupHeartbeat: refused, as 3.9 refuses the protocol of KIP-848 on ZooKeeper. Kafka:
//! `KafkaApis.handleConsumerGroupHeartbeat`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, _: ConsumerGroupHeartbeatRequest) -> Reply {
    let error_code = ErrorCode::UnsupportedVersion.wire();
    call.reply(&ConsumerGroupHeartbeatResponse { error_code, ..Default::default() })
}
