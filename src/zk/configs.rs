//! Owns config overrides in ZooKeeper and the notifications of their changes. Kafka:
//! `KafkaZkClient.setOrCreateEntityConfigs`, `ZkConfigRepository`, `ZkNodeChangeNotificationListener`.

use super::client::{Client, CreateMode, Error, MultiError, Node, Write};
use super::data::config::{self, Config};
use super::data::controller::ControllerNode;
use super::paths;
use super::watch::Watcher;
use std::collections::BTreeMap;
use tracing::warn;

/// Notifications older than this are deleted by every broker that sees them.
const CHANGE_EXPIRATION_MS: i64 = 15 * 60 * 1_000;

/// The overrides of one entity (`topics/T`, `brokers/1`, …). Empty where the node is missing; a malformed node is
/// logged and counts as empty.
pub async fn read(client: &Client, entity_path: &str) -> Result<Config, Error> {
    overrides(entity_path, client.get(&paths::config(entity_path)).await)
}

/// The overrides of every entity of a type, by its stored name.
pub async fn read_all(client: &Client, entity_type: &str) -> Result<BTreeMap<String, Config>, Error> {
    let names = names(client, entity_type).await?;
    let nodes: Vec<String> = names.iter().map(|name| paths::config(&format!("{entity_type}/{name}"))).collect();
    let mut all = BTreeMap::new();
    for (name, node) in names.into_iter().zip(client.get_all(&nodes, None).await?) {
        let overrides = overrides(&format!("{entity_type}/{name}"), node)?;
        all.insert(name, overrides);
    }
    Ok(all)
}

fn overrides(entity_path: &str, node: Result<Node, Error>) -> Result<Config, Error> {
    let node = match node {
        Ok(node) => node,
        Err(Error::NoNode) => return Ok(Config::new()),
        Err(error) => return Err(error),
    };
    Ok(config::decode(node.data.as_deref()).unwrap_or_else(|error| {
        warn!(entity_path, %error, "config skipped");
        Config::new()
    }))
}

/// The names below `/config/TYPE`, as stored (sanitised where the type is).
pub async fn names(client: &Client, entity_type: &str) -> Result<Vec<String>, Error> {
    match client.children(&paths::config(entity_type)).await {
        Ok(mut names) => {
            names.sort_unstable();
            Ok(names)
        }
        Err(Error::NoNode) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// Errors of writing overrides.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("ZooKeeper: {0}")]
    Zk(#[from] Error),
    /// Configs are written only under a ZooKeeper controller that stays the same for the moment of the write.
    #[error("no ZooKeeper controller is in charge")]
    NoController,
}

/// Writes the overrides of one entity, under a check that the current controller is a ZooKeeper broker: once a KRaft
/// controller has taken over, no one else may change the configs.
pub async fn write(client: &Client, entity_path: &str, config: &Config) -> Result<(), WriteError> {
    let path = paths::config(entity_path);
    let data = config::encode(config);
    let controller = match client.get(paths::CONTROLLER).await {
        Ok(node) => node,
        Err(Error::NoNode) => return Err(WriteError::NoController),
        Err(error) => return Err(error.into()),
    };
    if ControllerNode::decode(controller.data.as_deref()).is_ok_and(|node| node.kraft_epoch > 0) {
        return Err(WriteError::NoController);
    }
    let writes = [
        Write::Check { path: paths::CONTROLLER.to_owned(), version: controller.stat.version },
        Write::Set { path: path.clone(), data: data.clone(), version: -1 },
    ];
    match client.multi(&writes).await {
        Ok(_) => Ok(()),
        Err(MultiError::Operation { index: 0, .. }) => Err(WriteError::NoController),
        Err(MultiError::Operation { error: Error::NoNode, .. }) => Ok(create(client, &path, &data).await?),
        Err(error) => Err(Error::from(error).into()),
    }
}

async fn create(client: &Client, path: &str, data: &[u8]) -> Result<(), Error> {
    match client.create_recursive(path, Some(data)).await {
        // Another client created it in between: the last writer wins, as with two sets.
        Err(Error::NodeExists) => client.set(path, data, -1).await.map(drop),
        other => other,
    }
}

/// Deletes the overrides of one entity, if there are any.
pub async fn delete(client: &Client, entity_path: &str) -> Result<(), Error> {
    match client.delete(&paths::config(entity_path), -1).await {
        Err(Error::NoNode) => Ok(()),
        other => other,
    }
}

/// Notifies every broker to read the entity's overrides again.
pub async fn notify(client: &Client, entity_path: &str) -> Result<(), Error> {
    let path = format!("{}/{}", paths::CONFIG_CHANGES, paths::CONFIG_CHANGE_PREFIX);
    client.create(&path, Some(&config::encode_change(entity_path)), CreateMode::PersistentSequential).await.map(drop)
}

/// A notification in `/config/changes` that has not been applied yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    number: i64,
    /// The entity whose overrides are to be read again. None: the notification is malformed, and is ignored.
    pub entity_path: Option<String>,
}

/// Follows `/config/changes`. A change counts as seen once it is passed to [`Self::note`]: a change whose application
/// failed is returned again.
pub struct ConfigChanges {
    client: Client,
    watcher: Watcher,
    last_seen: i64,
    /// Number and path of every notification of the last scan, oldest first.
    listed: Vec<(i64, String)>,
}

impl ConfigChanges {
    /// The first [`Self::scan`] replays every existing notification, as in Kafka.
    pub fn new(client: Client) -> Self {
        let watcher = client.watcher();
        Self { client, watcher, last_seen: -1, listed: Vec::new() }
    }

    /// Forgets what was seen: the ensemble of a new session may be an older copy, with lower numbers.
    pub fn forget(&mut self) {
        self.last_seen = -1;
    }

    /// Returns when the directory changed since the last scan. Cancel safe.
    pub async fn changed(&self) {
        self.watcher.next().await;
    }

    /// The notifications that were not noted, oldest first, and arms for the next. Also to be called once after every
    /// new session. Only new ones are read: those of the last quarter of an hour stay in the directory, and may be
    /// thousands.
    pub async fn scan(&mut self) -> Result<Vec<ConfigChange>, Error> {
        let names = self.client.children_watched(paths::CONFIG_CHANGES, Some(&self.watcher)).await?;
        self.listed = names
            .into_iter()
            .filter_map(|name| {
                let number = name.strip_prefix(paths::CONFIG_CHANGE_PREFIX)?.parse().ok()?;
                Some((number, format!("{}/{name}", paths::CONFIG_CHANGES)))
            })
            .collect();
        self.listed.sort_unstable();
        let new = &self.listed[self.listed.partition_point(|(number, _)| *number <= self.last_seen)..];
        let nodes: Vec<String> = new.iter().map(|(_, path)| path.clone()).collect();
        let mut changes = Vec::with_capacity(new.len());
        for ((number, path), node) in new.iter().zip(self.client.get_all(&nodes, None).await?) {
            let node = match node {
                Ok(node) => node,
                // Purged by another broker since it was listed.
                Err(Error::NoNode) => continue,
                Err(error) => return Err(error),
            };
            let entity_path = config::decode_change(node.data.as_deref())
                .inspect_err(|error| warn!(path, %error, "config change skipped"))
                .ok();
            changes.push(ConfigChange { number: *number, entity_path });
        }
        Ok(changes)
    }

    /// `change`, and all before it, have been applied.
    pub fn note(&mut self, change: &ConfigChange) {
        self.last_seen = self.last_seen.max(change.number);
    }

    /// Deletes old notifications from the last scan; `now` is milliseconds since the epoch. They are checked from the
    /// oldest on until one is young enough to keep: numbers and creation times rise together.
    pub async fn purge(&self, now: i64) -> Result<(), Error> {
        for (_, path) in &self.listed {
            match self.client.exists(path).await? {
                Some(stat) if now - stat.ctime <= CHANGE_EXPIRATION_MS => break,
                Some(_) => match self.client.delete(path, -1).await {
                    Ok(()) | Err(Error::NoNode) => {}
                    Err(error) => return Err(error),
                },
                None => {}
            }
        }
        Ok(())
    }
}
