//! ConsumerGroupDescribe: refused, as 3.9 refuses the protocol of KIP-848 on ZooKeeper. Kafka:
//! `KafkaApis.handleConsumerGroupDescribe`.

use crate::common::ErrorCode;
use crate::network::Reply;
use crate::protocol::messages::consumer_group_describe_response::DescribedGroup;
use crate::protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(_: &Broker, call: &mut Call, request: ConsumerGroupDescribeRequest) -> Reply {
    let groups = request.group_ids.into_iter().map(|group_id| DescribedGroup {
        group_id,
        error_code: ErrorCode::UnsupportedVersion.wire(),
        ..Default::default()
    });
    call.reply(&ConsumerGroupDescribeResponse { groups: groups.collect(), ..Default::default() })
}
