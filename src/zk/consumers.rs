//! Owns the offsets that old consumers keep in ZooKeeper, below `/consumers`. Kafka: `ConsumerOffset`,
//! `KafkaZkClient.setOrCreateConsumerOffset`.

use super::client::{Client, Error};
use super::paths;
use crate::common::{Offset, TopicPartition};

/// A node that holds no number is [`Error::Unreadable`].
pub async fn offset(client: &Client, group: &str, tp: &TopicPartition) -> Result<Option<Offset>, Error> {
    let node = match client.get(&paths::consumer_offset(group, tp)).await {
        Ok(node) => node,
        Err(Error::NoNode) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(data) = node.data else { return Ok(None) };
    let text = std::str::from_utf8(&data).ok().and_then(|text| text.parse().ok());
    text.map(Some).ok_or(Error::Unreadable)
}

pub async fn set_offset(client: &Client, group: &str, tp: &TopicPartition, offset: Offset) -> Result<(), Error> {
    let (path, data) = (paths::consumer_offset(group, tp), offset.to_string());
    match client.set(&path, data.as_bytes(), -1).await {
        Err(Error::NoNode) => {}
        other => return other.map(drop),
    }
    match client.create_recursive(&path, Some(data.as_bytes())).await {
        // Another client created it in between: the last writer wins, as with two sets.
        Err(Error::NodeExists) => client.set(&path, data.as_bytes(), -1).await.map(drop),
        other => other,
    }
}
