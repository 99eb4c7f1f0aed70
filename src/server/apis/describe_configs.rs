//! DescribeConfigs, of topics and of this broker. Kafka: `ConfigHelper.handleDescribeConfigsRequest`.
//! Absent so far: levels of loggers.

use super::config_resource::{ResourceType, refuse};
use crate::common::ErrorCode;
use crate::config::alter::Refusal;
use crate::config::describe::{self, Asked, ConfigEntry};
use crate::controller::topics;
use crate::network::Reply;
use crate::protocol::Str;
use crate::protocol::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use crate::server::context::Broker;
use crate::server::dispatch::Call;
use crate::zk::configs;
use crate::zk::data::config::Config;
use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use tracing::error;

pub(in crate::server) async fn handle(broker: &Broker, call: &mut Call, request: DescribeConfigsRequest) -> Reply {
    // One resource of an unknown type spoils the request, as in Kafka.
    let spoilt = request.resources.iter().any(|r| ResourceType::of(r.resource_type).is_none());
    let mut results = Vec::with_capacity(request.resources.len());
    let (mut told, mut overrides) = (BTreeSet::new(), BTreeMap::new());
    for resource in &request.resources {
        // The same keys of a resource are answered once, however often a request repeats it.
        let keys = resource.configuration_keys.as_deref().filter(|keys| !keys.is_empty());
        if !told.insert((resource.resource_type, &resource.resource_name, keys)) {
            continue;
        }
        let described = if spoilt {
            refuse(ErrorCode::InvalidRequest, ErrorCode::InvalidRequest.message())
        } else {
            describe(broker, resource, &mut overrides).await
        };
        let (error_code, error_message, entries) = match described {
            // Kafka leaves the text empty here where its other APIs have none.
            Ok(entries) => (ErrorCode::None, String::new(), entries),
            Err(refusal) => (refusal.code, refusal.message, Vec::new()),
        };
        results.push(DescribeConfigsResult {
            error_code: error_code.wire(),
            error_message: Some(error_message.into()),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
            configs: entries.into_iter().map(|entry| to_result(entry, &request)).collect(),
            ..Default::default()
        });
    }
    call.reply(&DescribeConfigsResponse { results, ..Default::default() })
}

/// `overrides` are those of topics that this request has read: each is read once.
async fn describe(
    broker: &Broker,
    resource: &DescribeConfigsResource,
    overrides: &mut BTreeMap<Str, Config>,
) -> Result<Vec<ConfigEntry>, Refusal> {
    let names: Vec<&str> = resource.configuration_keys.iter().flatten().map(|key| &**key).collect();
    let asked = Asked(&names);
    let name = &*resource.resource_name;
    let layers = broker.config.layers();
    match ResourceType::of(resource.resource_type) {
        Some(ResourceType::Topic) => {
            topics::check_name(name).map_err(|refusal| Refusal { code: refusal.code, message: refusal.message })?;
            if broker.image.load().topic(name).is_none() {
                return refuse(ErrorCode::UnknownTopicOrPartition, "");
            }
            let read = match overrides.entry(resource.resource_name.clone()) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(vacant) => match configs::read(&broker.zk, &format!("topics/{name}")).await {
                    Ok(read) => vacant.insert(read),
                    Err(error) => {
                        error!(topic = name, %error, "describe configs");
                        return refuse(ErrorCode::UnknownServerError, ErrorCode::UnknownServerError.message());
                    }
                },
            };
            describe::topic(&layers, read, asked).or_else(|error| refuse(ErrorCode::InvalidConfig, &error.to_string()))
        }
        Some(ResourceType::Broker) if name.is_empty() => Ok(describe::cluster_default(&layers, asked)),
        Some(ResourceType::Broker) => match name.parse::<i32>() {
            Ok(id) if id == broker.id.0 => Ok(describe::broker(&layers, asked)),
            Ok(_) => refuse(
                ErrorCode::InvalidRequest,
                &format!("Unexpected broker id, expected {} or empty string, but received {name}", broker.id),
            ),
            Err(_) => refuse(ErrorCode::InvalidRequest, &format!("Broker id must be an integer, but it is: {name}")),
        },
        Some(ResourceType::ClientMetrics) if name.is_empty() => {
            refuse(ErrorCode::InvalidRequest, "Client metrics subscription name must not be empty")
        }
        Some(ResourceType::ClientMetrics) => {
            refuse(ErrorCode::InvalidRequest, "Config type client-metrics is only supported on KRaft clusters")
        }
        Some(ResourceType::BrokerLogger) | None => {
            refuse(ErrorCode::InvalidRequest, "Levels of loggers are not served by this version")
        }
    }
}

fn to_result(entry: ConfigEntry, request: &DescribeConfigsRequest) -> DescribeConfigsResourceResult {
    let synonyms =
        entry.synonyms.into_iter().filter(|_| request.include_synonyms).map(|synonym| DescribeConfigsSynonym {
            name: synonym.name.into(),
            value: synonym.value.map(Into::into),
            source: synonym.source.wire(),
            ..Default::default()
        });
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source.wire(),
        is_sensitive: entry.is_sensitive,
        synonyms: synonyms.collect(),
        config_type: entry.kind.map_or(0, |kind| kind.wire_code()),
        documentation: entry.doc.filter(|_| request.include_documentation).map(Into::into),
        ..Default::default()
    }
}
