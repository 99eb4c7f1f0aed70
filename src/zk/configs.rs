//! Owns config overrides in ZooKeeper and the word that they changed. Kafka: `KafkaZkClient.setOrCreateEntityConfigs`,
//! `ZkConfigRepository`, `ZkNodeChangeNotificationListener`.

use tracing::warn;

use super::client::{Client, CreateMode, Error, MultiError, Write};
use super::data::config::{self, Config};
use super::data::controller::ControllerNode;
use super::paths;
use super::watch::Watcher;

/// Notifications older than this are deleted by every broker that sees them.
const CHANGE_EXPIRATION_MS: i64 = 15 * 60 * 1_000;

/// The overrides of one entity (`topics/T`, `brokers/1`, …). None of them where the node is missing; a malformed node is
/// logged and counts as none.
pub async fn read(client: &Client, entity_path: &str) -> Result<Config, Error> {
    let node = match client.get(&paths::config(entity_path)).await {
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

/// Why overrides were not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("ZooKeeper: {0}")]
    Zk(#[from] Error),
    /// Configs are written only under a ZooKeeper controller that stays the same for the moment of the write.
    #[error("no ZooKeeper controller is in charge")]
    NoController,
}

/// Writes the overrides of one entity. Under a check that the controller of this moment is a ZooKeeper broker: a KRaft
/// controller that took over must not find its configs changed behind its back.
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
        // Somebody else created it in between: the last writer wins, as with two sets.
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

/// Tells every broker to read the entity's overrides again.
pub async fn notify(client: &Client, entity_path: &str) -> Result<(), Error> {
    let path = format!("{}/{}", paths::CONFIG_CHANGES, paths::CONFIG_CHANGE_PREFIX);
    client.create(&path, Some(&config::encode_change(entity_path)), CreateMode::PersistentSequential).await.map(drop)
}

/// Follows `/config/changes`.
pub struct ConfigChanges {
    client: Client,
    watcher: Watcher,
    last_seen: i64,
}

impl ConfigChanges {
    /// The first [`Self::scan`] replays everything that is still there, as in Kafka.
    pub fn new(client: Client) -> Self {
        let watcher = client.watcher();
        Self { client, watcher, last_seen: -1 }
    }

    /// Returns when the directory changed since the last scan. Cancel safe.
    pub async fn changed(&self) {
        self.watcher.next().await;
    }

    /// The entity paths of the notifications since the last scan, oldest first, and arms for the next. Deletes old ones;
    /// `now` is milliseconds since the epoch. To be called once after every new session too.
    pub async fn scan(&mut self, now: i64) -> Result<Vec<String>, Error> {
        let names = self.client.children_watched(paths::CONFIG_CHANGES, Some(&self.watcher)).await?;
        let mut changes: Vec<(i64, String)> = names
            .into_iter()
            .filter_map(|name| Some((name.strip_prefix(paths::CONFIG_CHANGE_PREFIX)?.parse().ok()?, name)))
            .collect();
        changes.sort_unstable();
        let nodes: Vec<String> = changes.iter().map(|(_, name)| format!("{}/{name}", paths::CONFIG_CHANGES)).collect();
        let mut entity_paths = Vec::new();
        for (((number, _), path), node) in changes.iter().zip(&nodes).zip(self.client.get_all(&nodes, None).await?) {
            let node = match node {
                Ok(node) => node,
                // Purged by another broker since it was listed.
                Err(Error::NoNode) => continue,
                Err(error) => return Err(error),
            };
            if *number > self.last_seen {
                self.last_seen = *number;
                match config::decode_change(node.data.as_deref()) {
                    Ok(entity_path) => entity_paths.push(entity_path),
                    Err(error) => warn!(path, %error, "config change skipped"),
                }
            }
            if now - node.stat.ctime > CHANGE_EXPIRATION_MS {
                match self.client.delete(path, -1).await {
                    Ok(()) | Err(Error::NoNode) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(entity_paths)
    }
}
