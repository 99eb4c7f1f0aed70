//! ListTransactions: the transactions that this broker coordinates (KIP-664, KIP-994). Kafka:
//! `KafkaApis.handleListTransactionsRequest`.

use crate::coordinator::transaction::effects::ListFilter;
use crate::coordinator::transaction::state::TransactionState;
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::list_transactions_response::TransactionState as Listed;
use crate::protocol::messages::{ListTransactionsRequest, ListTransactionsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeSet;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: ListTransactionsRequest) -> Reply {
    let known = request.state_filters.iter().filter_map(|name| TransactionState::from_name(name)).collect();
    let filter = ListFilter {
        producer_ids: request.producer_id_filters.into_iter().collect(),
        states: (!request.state_filters.is_empty()).then_some(known),
        duration_ms: request.duration_filter,
    };
    let is_unknown = |name: &&Str| TransactionState::from_name(name).is_none();
    let unknown_state_filters: BTreeSet<Str> = request.state_filters.iter().filter(is_unknown).cloned().collect();
    call.reply(&match broker.transactions.list(filter).await {
        Ok(listed) => ListTransactionsResponse {
            unknown_state_filters: unknown_state_filters.into_iter().collect(),
            transaction_states: listed
                .into_iter()
                .map(|listing| Listed {
                    transactional_id: (&*listing.transactional_id).into(),
                    producer_id: listing.producer_id,
                    transaction_state: listing.state.name().into(),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        },
        Err(code) => ListTransactionsResponse { error_code: code.wire(), ..Default::default() },
    })
}
