//! Owns what the three config APIs share: kinds of resources, and how an alteration is written to ZooKeeper. Kafka:
//! `ConfigResource`, `ConfigAdminManager.preprocess`, `ZkAdminManager.alterTopicConfigs` and `alterBrokerConfigs`.

use super::repeated;
use crate::common::ErrorCode;
use crate::config::Props;
use crate::config::alter::{self, Alteration, Refusal};
use crate::protocol::Str;
use crate::server::context::Broker;
use crate::server::dynamic_config::entity_path;
use crate::zk::client::Error;
use crate::zk::configs::{self, WriteError};
use tracing::{error, info};

/// Kafka: `ConfigResource.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResourceType {
    Topic,
    Broker,
    BrokerLogger,
    ClientMetrics,
}

impl ResourceType {
    pub(super) fn of(code: i8) -> Option<Self> {
        match code {
            2 => Some(Self::Topic),
            4 => Some(Self::Broker),
            8 => Some(Self::BrokerLogger),
            16 => Some(Self::ClientMetrics),
            _ => None,
        }
    }
}

pub(super) fn refuse<T>(code: ErrorCode, message: &str) -> Result<T, Refusal> {
    Err(Refusal { code, message: message.to_owned() })
}

/// How a request alters a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// AlterConfigs: the entries replace all settings.
    Replace,
    /// IncrementalAlterConfigs.
    Increment,
}

/// One resource of a request: its type and name, and its entries.
pub(super) struct ConfigChange<'a> {
    pub(super) resource: (i8, &'a str),
    pub(super) entries: Vec<Alteration<'a>>,
}

/// Alters each resource independently and answers for each, in order, with Kafka's error and its message.
pub(super) async fn alter_each(
    broker: &Broker,
    changes: Vec<ConfigChange<'_>>,
    mode: Mode,
    validate_only: bool,
) -> Vec<(ErrorCode, Option<Str>)> {
    let mut outcomes = Vec::with_capacity(changes.len());
    let repeated = repeated(changes.iter().map(|change| change.resource));
    for change in &changes {
        let outcome = if repeated.contains(&change.resource) {
            refuse(ErrorCode::InvalidRequest, "Each resource must appear at most once.")
        } else {
            alter(broker, change.resource, mode, &change.entries, validate_only).await
        };
        outcomes.push(match outcome {
            Ok(()) => (ErrorCode::None, None),
            // Kafka gives no message for an unexpected error: the text may contain a secret.
            Err(refusal) if refusal.code == ErrorCode::UnknownServerError => (refusal.code, None),
            Err(refusal) => (refusal.code, Some(refusal.message.into())),
        });
    }
    outcomes
}

/// Alters one resource, or returns why not. Every broker, this one included, learns of it by a notification.
async fn alter(
    broker: &Broker,
    (code, name): (i8, &str),
    mode: Mode,
    entries: &[Alteration<'_>],
    validate_only: bool,
) -> Result<(), Refusal> {
    alter::check_entries(entries)?;
    let (path, wanted) = match ResourceType::of(code) {
        Some(ResourceType::Topic) => {
            if !name.is_empty() && broker.image.load().topic(name).is_none() {
                return refuse(ErrorCode::UnknownTopicOrPartition, &format!("The topic '{name}' does not exist."));
            }
            let path = format!("topics/{name}");
            let existing = existing(broker, &path, mode).await?;
            (path, alter::topic(name, &existing, entries, &broker.config.load().log_defaults)?)
        }
        Some(ResourceType::Broker) => {
            let layer = alter::broker_layer(name, broker.id.0)?;
            let path = entity_path(layer, broker.id);
            let existing = existing(broker, &path, mode).await?;
            let layers = broker.config.layers();
            (path, alter::broker(&layers, layer, broker.id.0, &existing, entries)?)
        }
        Some(ResourceType::ClientMetrics) => {
            return refuse(
                ErrorCode::InvalidRequest,
                "AlterConfigs is only supported for topics and brokers, but resource type is CLIENT_METRICS",
            );
        }
        Some(ResourceType::BrokerLogger) if mode == Mode::Increment => {
            return refuse(ErrorCode::InvalidRequest, "Levels of loggers are not served by this version");
        }
        _ => return refuse(ErrorCode::InvalidRequest, &format!("Unknown resource type {code}")),
    };
    if validate_only {
        return Ok(());
    }
    let written = async {
        configs::write(&broker.zk, &path, &wanted).await?;
        Ok::<_, WriteError>(configs::notify(&broker.zk, &path).await?)
    };
    written.await.map_err(|error| unexpected(&path, &error))?;
    // Values may be secrets, names are not.
    info!(path, keys = ?wanted.keys().collect::<Vec<_>>(), "configs altered");
    Ok(())
}

async fn existing(broker: &Broker, path: &str, mode: Mode) -> Result<Props, Refusal> {
    match mode {
        Mode::Replace => Ok(Props::new()),
        Mode::Increment => configs::read(&broker.zk, path).await.map_err(|error: Error| unexpected(path, &error)),
    }
}

fn unexpected(path: &str, error: &dyn std::error::Error) -> Refusal {
    error!(path, %error, "alter configs");
    let code = ErrorCode::UnknownServerError;
    Refusal { code, message: code.message().to_owned() }
}
