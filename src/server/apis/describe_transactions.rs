//! DescribeTransactions: state, producer and partitions of transactions (KIP-664). Kafka:
//! `KafkaApis.handleDescribeTransactionsRequest`.

use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use crate::protocol::messages::{DescribeTransactionsRequest, DescribeTransactionsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DescribeTransactionsRequest) -> Reply {
    let mut transaction_states = Vec::new();
    // A transaction is described once, however often it is named.
    for transactional_id in BTreeSet::from_iter(request.transactional_ids) {
        transaction_states.push(describe(broker, transactional_id).await);
    }
    call.reply(&DescribeTransactionsResponse { transaction_states, ..Default::default() })
}

async fn describe(broker: &Broker, transactional_id: Str) -> TransactionState {
    let described = match broker.transactions.describe(&transactional_id).await {
        Ok(described) => described,
        Err(code) => return TransactionState { transactional_id, error_code: code.wire(), ..Default::default() },
    };
    let mut topics: Vec<TopicData> = Vec::new();
    for tp in &described.partitions {
        match topics.last_mut() {
            Some(last) if *last.topic == *tp.topic => last.partitions.push(tp.partition),
            _ => topics.push(TopicData {
                topic: Str::from(&*tp.topic),
                partitions: vec![tp.partition],
                ..Default::default()
            }),
        }
    }
    TransactionState {
        transactional_id,
        transaction_state: described.state.name().into(),
        transaction_timeout_ms: described.timeout_ms,
        transaction_start_time_ms: described.started,
        producer_id: described.producer.producer_id,
        producer_epoch: described.producer.epoch,
        topics,
        ..Default::default()
    }
}
