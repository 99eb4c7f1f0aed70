//! FindCoordinator: the broker that leads the partition of a group or a transactional id. Kafka:
//! `KafkaApis.handleFindCoordinatorRequest`.

use crate::cluster::image::MetadataImage;
use crate::common::ErrorCode;
use crate::coordinator::{OFFSETS_TOPIC, TRANSACTIONS_TOPIC, partition_for};
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::find_coordinator_response::Coordinator;
use crate::protocol::messages::{FindCoordinatorRequest, FindCoordinatorResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::topic_admin;
use std::collections::BTreeSet;

/// `FindCoordinatorRequest.CoordinatorType`.
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// The first version with many keys.
const BATCHED: i16 = 4;
/// The first version with share groups.
const WITH_SHARE: i16 = 6;

struct Node {
    id: i32,
    host: Str,
    port: i32,
}

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: FindCoordinatorRequest) -> Reply {
    let is_known = matches!(request.key_type, GROUP | TRANSACTION | SHARE);
    if call.version() < BATCHED {
        let found = find(broker, call, request.key_type, &request.key).await;
        return call.reply(&single(found));
    }
    let mut coordinators = Vec::new();
    // A key is answered once, however often it is named: the message for an unknown type is much longer than a key.
    for key in BTreeSet::from_iter(request.coordinator_keys) {
        let mut coordinator = batched(key.clone(), find(broker, call, request.key_type, &key).await);
        if !is_known {
            coordinator.error_message = Some(ErrorCode::InvalidRequest.message().into());
        }
        coordinators.push(coordinator);
    }
    call.reply(&FindCoordinatorResponse { coordinators, ..Default::default() })
}

fn single(found: Result<Node, ErrorCode>) -> FindCoordinatorResponse {
    // Kafka's message for no error.
    let (code, message) = match &found {
        Ok(_) => (ErrorCode::None, ErrorCode::None.name()),
        Err(code) => (*code, code.message()),
    };
    let node = found.unwrap_or_else(|_| no_node());
    FindCoordinatorResponse {
        error_code: code.wire(),
        error_message: Some(message.into()),
        node_id: node.id,
        host: node.host,
        port: node.port,
        ..Default::default()
    }
}

fn batched(key: Str, found: Result<Node, ErrorCode>) -> Coordinator {
    let code = found.as_ref().err().copied().unwrap_or(ErrorCode::None);
    let node = found.unwrap_or_else(|_| no_node());
    Coordinator {
        key,
        node_id: node.id,
        host: node.host,
        port: node.port,
        error_code: code.wire(),
        ..Default::default()
    }
}

fn no_node() -> Node {
    Node { id: -1, host: Str::new(), port: -1 }
}

async fn find(broker: &Broker, call: &Call, key_type: i8, key: &str) -> Result<Node, ErrorCode> {
    let (topic, partitions) = match key_type {
        GROUP => (OFFSETS_TOPIC, broker.coordinator_partitions.offsets),
        TRANSACTION => (TRANSACTIONS_TOPIC, broker.coordinator_partitions.transactions),
        SHARE if call.version() >= WITH_SHARE => return Err(ErrorCode::CoordinatorNotAvailable),
        _ => return Err(ErrorCode::InvalidRequest),
    };
    let image = broker.image.load_full();
    if image.topic(topic).is_none() {
        // The client retries, and finds the topic then; or this broker's log says why it cannot be created.
        topic_admin::auto_create(broker, topic).await;
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    leader(&image, topic, partition_for(key, partitions), call.listener()).ok_or(ErrorCode::CoordinatorNotAvailable)
}

fn leader(image: &MetadataImage, topic: &str, partition: i32, listener: &str) -> Option<Node> {
    let leader = image.brokers.get(&image.partition(topic, partition)?.leader)?;
    let endpoint = leader.endpoint(listener)?;
    let host = endpoint.host.as_deref().unwrap_or_default().into();
    Some(Node { id: leader.id.0, host, port: endpoint.port.into() })
}
