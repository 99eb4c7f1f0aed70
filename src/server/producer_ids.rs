//! Owns the ids for idempotent producers: blocks of a thousand, taken from `/latest_producer_id_block` by compare and set.
//! Kafka: `ProducerIdManager`. Absent on purpose: AllocateProducerIds, by which an Apache broker asks its controller for
//! the same blocks; the znode is the same either way.

use crate::common::BrokerId;
use crate::zk::client::{Client, Error};
use crate::zk::data::Malformed;
use crate::zk::data::controller::ProducerIdBlock;
use crate::zk::paths;
use std::ops::RangeInclusive;
use tokio::sync::Mutex;

pub struct ProducerIds {
    zk: Client,
    broker: BrokerId,
    /// What is left of the current block. Held while a new one is taken, so that producers who wait share it.
    left: Mutex<RangeInclusive<i64>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProducerIdError {
    #[error("/latest_producer_id_block: {0}")]
    Malformed(#[from] Malformed),
    #[error("all producer ids are used up")]
    Exhausted,
    #[error(transparent)]
    ZooKeeper(#[from] Error),
}

impl ProducerIds {
    pub fn new(zk: Client, broker: BrokerId) -> Self {
        Self { zk, broker, left: Mutex::new(RangeInclusive::new(1, 0)) }
    }

    pub async fn next(&self) -> Result<i64, ProducerIdError> {
        let mut left = self.left.lock().await;
        loop {
            if let Some(id) = left.next() {
                return Ok(id);
            }
            *left = self.take_block().await?;
        }
    }

    async fn take_block(&self) -> Result<RangeInclusive<i64>, ProducerIdError> {
        loop {
            let node = self.zk.get(paths::LATEST_PRODUCER_ID_BLOCK).await?;
            let last = ProducerIdBlock::decode(node.data.as_deref())?;
            let block = ProducerIdBlock::next(last, self.broker).ok_or(ProducerIdError::Exhausted)?;
            match self.zk.set(paths::LATEST_PRODUCER_ID_BLOCK, &block.encode(), node.stat.version).await {
                Ok(_) => return Ok(block.first..=block.last),
                // Another broker was faster.
                Err(Error::BadVersion) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
