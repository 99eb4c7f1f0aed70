//! AddOffsetsToTxn: adds the offsets partition of a group to a transaction. Kafka: `KafkaApis.handleAddOffsetsToTxnRequest`.

use crate::common::TopicPartition;
use crate::coordinator::OFFSETS_TOPIC;
use crate::coordinator::transaction::ProducerIdAndEpoch;
use crate::network::Reply;
use crate::protocol::messages::{AddOffsetsToTxnRequest, AddOffsetsToTxnResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;

/// The first version that knows PRODUCER_FENCED.
const FENCED_VERSION: i16 = 2;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: AddOffsetsToTxnRequest) -> Reply {
    let producer = ProducerIdAndEpoch { producer_id: request.producer_id, epoch: request.producer_epoch };
    let offsets = TopicPartition::new(OFFSETS_TOPIC, broker.groups.partition_for(&request.group_id));
    let asked = broker.transactions.add_partitions(&request.transactional_id, producer, [offsets].into()).await;
    let code = asked.code().await;
    let code = super::without_fenced(code, call.version() >= FENCED_VERSION);
    call.reply(&AddOffsetsToTxnResponse { error_code: code.wire(), ..Default::default() })
}
