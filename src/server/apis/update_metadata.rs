//! UpdateMetadata: the controller sends the state of the cluster. Kafka: `KafkaApis.handleUpdateMetadataRequest`,
//! `ReplicaManager.maybeUpdateMetadataCache`.

use crate::cluster::image::{BrokerImage, LEADER_DURING_DELETE, MetadataUpdate, PartitionImage, TopicImage};
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, ErrorCode, LeaderEpoch, TopicPartition, Uuid};
use crate::config::endpoint::{Endpoint, ListenerName, SecurityProtocol};
use crate::network::Reply;
use crate::protocol::messages::update_metadata_request::{
    UpdateMetadataBroker, UpdateMetadataPartitionState, UpdateMetadataTopicState,
};
use crate::protocol::messages::{UpdateMetadataRequest, UpdateMetadataResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use std::collections::BTreeMap;
use std::sync::Arc;
use tracing::info;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: UpdateMetadataRequest) -> Reply {
    let deleted = deleted_partitions(&request);
    let error = apply(broker, request);
    if !error.is_error() {
        broker.groups.on_partitions_deleted(deleted).await;
    }
    call.reply(&UpdateMetadataResponse { error_code: error.wire(), ..Default::default() })
}

/// The deleted partitions, whose offsets are no longer needed.
fn deleted_partitions(request: &UpdateMetadataRequest) -> Vec<TopicPartition> {
    let grouped = request.topic_states.iter().flat_map(|topic| {
        let states = topic.partition_states.iter();
        states.map(|state| (&topic.topic_name, state))
    });
    let ungrouped = request.ungrouped_partition_states.iter().map(|state| (&state.topic_name, state));
    let deleted = grouped.chain(ungrouped).filter(|(_, state)| state.leader == LEADER_DURING_DELETE.0);
    deleted.map(|(topic, state)| TopicPartition::new(&**topic, state.partition_index)).collect()
}

fn apply(broker: &Broker, request: UpdateMetadataRequest) -> ErrorCode {
    if broker.is_epoch_stale(BrokerEpoch(request.broker_epoch)) {
        info!(
            broker_epoch = request.broker_epoch,
            controller = request.controller_id,
            "UpdateMetadata is for an earlier registration of this broker"
        );
        return ErrorCode::StaleBrokerEpoch;
    }
    let (controller, epoch) = (BrokerId(request.controller_id), ControllerEpoch(request.controller_epoch));
    if let Err(stale) = broker.replicas.states().hear_controller(controller, epoch, "UpdateMetadata") {
        return stale.into();
    }
    let update = to_update(request);
    let mut stale = false;
    broker.image.rcu(|image| {
        stale = image.controller_epoch.is_some_and(|known| update.controller_epoch < known);
        if stale { Arc::clone(image) } else { Arc::new(image.updated(&update)) }
    });
    if stale {
        return ErrorCode::StaleControllerEpoch;
    }
    broker.image_changed.notify_waiters();
    ErrorCode::None
}

fn to_update(request: UpdateMetadataRequest) -> MetadataUpdate {
    let mut topics: Vec<TopicImage> = request.topic_states.into_iter().map(to_topic).collect();
    // Versions before 5 list partitions without grouping them.
    let mut ungrouped: BTreeMap<Arc<str>, BTreeMap<i32, Arc<PartitionImage>>> = BTreeMap::new();
    for state in request.ungrouped_partition_states {
        let partitions = ungrouped.entry(Arc::from(&*state.topic_name)).or_default();
        partitions.insert(state.partition_index, to_partition(state));
    }
    topics.extend(ungrouped.into_iter().map(|(name, partitions)| TopicImage { name, id: Uuid::ZERO, partitions }));
    MetadataUpdate {
        controller: BrokerId(request.controller_id),
        controller_epoch: ControllerEpoch(request.controller_epoch),
        brokers: request.live_brokers.into_iter().map(to_broker).collect(),
        topics,
    }
}

fn to_topic(topic: UpdateMetadataTopicState) -> TopicImage {
    TopicImage {
        name: Arc::from(&*topic.topic_name),
        id: topic.topic_id,
        partitions: topic
            .partition_states
            .into_iter()
            .map(|state| (state.partition_index, to_partition(state)))
            .collect(),
    }
}

fn to_partition(state: UpdateMetadataPartitionState) -> Arc<PartitionImage> {
    let ids = |ids: Vec<i32>| ids.into_iter().map(BrokerId).collect();
    Arc::new(PartitionImage {
        leader: BrokerId(state.leader),
        leader_epoch: LeaderEpoch(state.leader_epoch),
        isr: ids(state.isr),
        replicas: ids(state.replicas),
        offline_replicas: ids(state.offline_replicas),
        partition_epoch: state.zk_version,
    })
}

fn to_broker(broker: UpdateMetadataBroker) -> BrokerImage {
    let endpoint = |listener: &str, host: &str, port: i32, protocol: i16| {
        let protocol = SecurityProtocol::ALL.into_iter().find(|known| known.id() == protocol)?;
        // Versions before 3 name no listener: it is named after its protocol.
        let listener = ListenerName::new(if listener.is_empty() { protocol.name() } else { listener }).ok()?;
        Some(Endpoint { listener, protocol, host: Some(host.to_owned()), port: u16::try_from(port).ok()? })
    };
    let mut endpoints: Vec<Endpoint> =
        broker.endpoints.iter().filter_map(|e| endpoint(&e.listener, &e.host, e.port, e.security_protocol)).collect();
    if endpoints.is_empty() && !broker.v0_host.is_empty() {
        endpoints.extend(endpoint("", &broker.v0_host, broker.v0_port, SecurityProtocol::Plaintext.id()));
    }
    BrokerImage {
        id: BrokerId(broker.id),
        rack: broker.rack.filter(|rack| !rack.is_empty()).map(|rack| Arc::from(&*rack)),
        endpoints,
    }
}
