//! Metadata: brokers, topics, leaders. Kafka: `KafkaApis.handleTopicMetadataRequest`, `ZkMetadataCache.getTopicMetadata`.

use super::{CLUSTER_OPERATIONS, TOPIC_OPERATIONS, is_internal};
use crate::cluster::image::{MetadataImage, PartitionImage, TopicImage};
use crate::common::{BrokerId, ErrorCode, Uuid};
use crate::controller::topics;
use crate::network::Reply;
use crate::protocol::messages::metadata_request::MetadataRequestTopic;
use crate::protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::protocol::messages::{MetadataRequest, MetadataResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::server::topic_admin;
use std::collections::BTreeSet;

/// The first version that names topics by id.
const BY_ID: i16 = 12;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: MetadataRequest) -> Reply {
    let version = call.version();
    let image = broker.image.load_full();
    let view = View { image: &image, listener: call.listener(), version };
    let mut topics = match &request.topics {
        // Version 0 has no null: its empty list means all topics.
        Some(asked) if asked.is_empty() && version == 0 => view.all_topics(),
        None => view.all_topics(),
        Some(asked)
            if version < BY_ID && asked.iter().any(|topic| topic.name.is_none() || !topic.topic_id.is_zero()) =>
        {
            return call.reply(&refused(asked, ErrorCode::InvalidRequest));
        }
        // Without any id the names count, and Kafka fails on a null name.
        Some(asked) if asked.iter().all(|topic| topic.topic_id.is_zero()) && asked.iter().any(|t| t.name.is_none()) => {
            return call.reply(&refused(asked, ErrorCode::UnknownServerError));
        }
        Some(asked) => match Asked::of(asked) {
            Asked::Ids(ids) => view.by_id(&ids),
            Asked::Names(names) => {
                let mut topics = Vec::with_capacity(names.len());
                for name in names {
                    topics.push(match image.topic(name) {
                        Some(found) => view.topic(found),
                        None => missing(broker, &request, name).await,
                    });
                }
                topics
            }
        },
    };
    if request.include_topic_authorized_operations {
        for topic in topics.iter_mut().filter(|t| t.error_code != ErrorCode::UnknownTopicId.wire()) {
            topic.topic_authorized_operations = TOPIC_OPERATIONS;
        }
    }
    call.reply(&MetadataResponse {
        brokers: view.brokers(),
        cluster_id: Some(broker.cluster_id.as_str().into()),
        controller_id: image.controller.map_or(-1, |id| id.0),
        topics,
        cluster_authorized_operations: if request.include_cluster_authorized_operations {
            CLUSTER_OPERATIONS
        } else {
            i32::MIN
        },
        ..Default::default()
    })
}

/// The topics of a request, each once, however often it is repeated. One id makes Kafka pass over every name.
enum Asked<'a> {
    Ids(BTreeSet<Uuid>),
    Names(BTreeSet<&'a str>),
}

impl<'a> Asked<'a> {
    fn of(topics: &'a [MetadataRequestTopic]) -> Self {
        let ids: BTreeSet<Uuid> = topics.iter().map(|topic| topic.topic_id).filter(|id| !id.is_zero()).collect();
        if ids.is_empty() {
            Self::Names(topics.iter().filter_map(|topic| topic.name.as_deref()).collect())
        } else {
            Self::Ids(ids)
        }
    }
}

/// Versions 10 and 11 have a field for ids, but give it no meaning. Kafka: `MetadataRequest.getErrorResponse`.
fn refused(asked: &[MetadataRequestTopic], code: ErrorCode) -> MetadataResponse {
    let topics = asked.iter().map(|topic| MetadataResponseTopic {
        error_code: code.wire(),
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse { topics: topics.collect(), ..Default::default() }
}

/// Answers for a topic that does not exist by its name, and creates it where that is allowed.
async fn missing(broker: &Broker, request: &MetadataRequest, name: &str) -> MetadataResponseTopic {
    let error = if topics::check_name(name).is_err() {
        ErrorCode::InvalidTopicException
    } else if broker.config.load().auto_create_topics_enable && request.allow_auto_topic_creation {
        topic_admin::auto_create(broker, name).await
    } else {
        ErrorCode::UnknownTopicOrPartition
    };
    MetadataResponseTopic {
        error_code: error.wire(),
        is_internal: is_internal(name),
        name: Some(name.into()),
        ..Default::default()
    }
}

/// The image as one listener and one version see it.
struct View<'a> {
    image: &'a MetadataImage,
    listener: &'a str,
    version: i16,
}

impl View<'_> {
    fn brokers(&self) -> Vec<MetadataResponseBroker> {
        let brokers = self.image.brokers.values().filter_map(|broker| {
            let endpoint = broker.endpoint(self.listener)?;
            Some(MetadataResponseBroker {
                node_id: broker.id.0,
                host: endpoint.host.as_deref().unwrap_or_default().into(),
                port: endpoint.port.into(),
                rack: broker.rack.as_deref().map(Into::into),
                ..Default::default()
            })
        });
        brokers.collect()
    }

    fn by_id(&self, ids: &BTreeSet<Uuid>) -> Vec<MetadataResponseTopic> {
        let topic = |id: &Uuid| {
            let found = self.image.topic_name(*id).and_then(|name| self.image.topic(&name));
            found.map_or_else(
                || MetadataResponseTopic {
                    error_code: ErrorCode::UnknownTopicId.wire(),
                    name: None,
                    topic_id: *id,
                    ..Default::default()
                },
                |found| self.topic(found),
            )
        };
        ids.iter().map(topic).collect()
    }

    fn all_topics(&self) -> Vec<MetadataResponseTopic> {
        self.image.topics.values().map(|topic| self.topic(topic)).collect()
    }

    fn topic(&self, topic: &TopicImage) -> MetadataResponseTopic {
        MetadataResponseTopic {
            name: Some((&*topic.name).into()),
            topic_id: topic.id,
            is_internal: is_internal(&topic.name),
            partitions: topic.partitions.iter().map(|(number, partition)| self.partition(*number, partition)).collect(),
            ..Default::default()
        }
    }

    fn partition(&self, number: i32, partition: &PartitionImage) -> MetadataResponsePartition {
        let alive = |id: &BrokerId| self.image.brokers.contains_key(id);
        // Version 0 cannot say that a replica is offline: it is left out, with an error.
        let shown = |ids: &[BrokerId]| -> Vec<i32> {
            ids.iter().filter(|id| self.version > 0 || alive(id)).map(|id| id.0).collect()
        };
        let (replicas, isr) = (shown(&partition.replicas), shown(&partition.isr));
        let leader = self.image.brokers.get(&partition.leader);
        let reachable = leader.is_some_and(|leader| leader.endpoint(self.listener).is_some());
        let error = match leader {
            None => ErrorCode::LeaderNotAvailable,
            Some(_) if !reachable && self.version >= 6 => ErrorCode::ListenerNotFound,
            Some(_) if !reachable => ErrorCode::LeaderNotAvailable,
            Some(_) if replicas.len() < partition.replicas.len() || isr.len() < partition.isr.len() => {
                ErrorCode::ReplicaNotAvailable
            }
            Some(_) => ErrorCode::None,
        };
        let offline = |id: &&BrokerId| !alive(id) || partition.offline_replicas.contains(id);
        MetadataResponsePartition {
            error_code: error.wire(),
            partition_index: number,
            leader_id: if reachable { partition.leader.0 } else { BrokerId::NONE.0 },
            leader_epoch: partition.leader_epoch.0,
            replica_nodes: replicas,
            isr_nodes: isr,
            offline_replicas: partition.replicas.iter().filter(offline).map(|id| id.0).collect(),
            ..Default::default()
        }
    }
}
