//! DescribeProducers: idempotent producers that a partition remembers (KIP-664). Kafka:
//! `KafkaApis.handleDescribeProducersRequest`.

use crate::common::ErrorCode;
use crate::controller::topics;
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::describe_producers_response::{PartitionResponse, ProducerState, TopicResponse};
use crate::protocol::messages::{DescribeProducersRequest, DescribeProducersResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::{BTreeMap, BTreeSet};

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DescribeProducersRequest) -> Reply {
    // A partition is described once, however often it is named.
    let mut asked: BTreeMap<&Str, BTreeSet<i32>> = BTreeMap::new();
    for topic in &request.topics {
        asked.entry(&topic.name).or_default().extend(&topic.partition_indexes);
    }
    let topics = asked.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|number| describe(broker, name, number));
        TopicResponse { name: name.clone(), partitions: partitions.collect(), ..Default::default() }
    });
    call.reply(&DescribeProducersResponse { topics: topics.collect(), ..Default::default() })
}

fn describe(broker: &Broker, topic: &str, number: i32) -> PartitionResponse {
    let refuse = |code: ErrorCode, message: Option<String>| PartitionResponse {
        partition_index: number,
        error_code: code.wire(),
        error_message: message.map(Into::into),
        ..Default::default()
    };
    if let Err(refusal) = topics::check_name(topic) {
        return refuse(refusal.code, Some(refusal.message));
    }
    // A missing topic gets an error message, a missing partition gets none.
    if broker.image.load().topic(topic).is_none() {
        let code = ErrorCode::UnknownTopicOrPartition;
        return refuse(code, Some(code.message().to_owned()));
    }
    let partition = match broker.replicas.partition(topic, number) {
        Ok(partition) => partition,
        Err(error) => return refuse(error.into(), None),
    };
    let Some(log) = partition.log() else { return refuse(ErrorCode::NotLeaderOrFollower, None) };
    let active_producers = log.active_producers().into_iter().map(|(producer_id, producer)| ProducerState {
        producer_id,
        producer_epoch: i32::from(producer.producer_epoch),
        last_sequence: producer.last_sequence(),
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.current_txn_first_offset.unwrap_or(-1),
        ..Default::default()
    });
    PartitionResponse { partition_index: number, active_producers: active_producers.collect(), ..Default::default() }
}
