//! AlterPartition: a leader asks the controller to change its ISR. Kafka: `KafkaApis.handleAlterPartitionRequest`.

use crate::network::Reply;
use crate::protocol::messages::AlterPartitionRequest;
use crate::server::context::Broker;
use crate::server::dispatch::Call;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: AlterPartitionRequest) -> Reply {
    let answer = broker.controller.alter_partition(request, call.version()).await;
    call.reply(&answer)
}
