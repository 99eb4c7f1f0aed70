//! Owns the ids for producers: blocks of a thousand, which the controller gives out. Kafka: `RPCProducerIdManager`.

use crate::client::controller_channel::{ChannelError, ControllerChannel};
use crate::common::{BrokerId, ErrorCode};
use crate::controller::ControllerHandle;
use crate::coordinator::transaction::ProducerIdSource;
use crate::protocol::ApiKey;
use crate::protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::Mutex;
use tracing::{debug, warn};

/// How long a producer is kept waiting for a new block; then it is told to ask again. Kafka tells it so at once.
const PATIENCE: Duration = Duration::from_secs(5);

pub struct ProducerIds {
    to_controller: ControllerChannel,
    broker: BrokerId,
    /// Knows the epoch of our registration.
    controller: ControllerHandle,
    /// What is left of the current block. Held while a new one is taken, so that producers who wait share it.
    left: Mutex<Range<i64>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ProducerIdError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the controller refuses: {0}")]
    Refused(ErrorCode),
    /// A block that was given out before, or none at all.
    #[error("the controller gave out {count} ids from {first} after {after}")]
    Strange { first: i64, count: i32, after: i64 },
}

impl ProducerIds {
    pub fn new(to_controller: ControllerChannel, broker: BrokerId, controller: ControllerHandle) -> Self {
        Self { to_controller, broker, controller, left: Mutex::new(0..0) }
    }

    pub async fn next(&self) -> Result<i64, ProducerIdError> {
        let mut left = self.left.lock().await;
        if left.is_empty() {
            *left = self.take_block(left.end).await?;
        }
        left.next().ok_or(ProducerIdError::Strange { first: 0, count: 0, after: left.end })
    }

    async fn take_block(&self, after: i64) -> Result<Range<i64>, ProducerIdError> {
        let request = AllocateProducerIdsRequest {
            broker_id: self.broker.0,
            broker_epoch: self.controller.broker_epoch().0,
            ..Default::default()
        };
        let answer: AllocateProducerIdsResponse =
            self.to_controller.call(ApiKey::AllocateProducerIds, &request, PATIENCE).await?;
        match ErrorCode::from_wire(answer.error_code) {
            ErrorCode::None => {}
            code => return Err(ProducerIdError::Refused(code)),
        }
        let (first, count) = (answer.producer_id_start, answer.producer_id_len);
        let end = first.checked_add(i64::from(count)).filter(|_| count > 0 && first >= after);
        let end = end.ok_or(ProducerIdError::Strange { first, count, after })?;
        debug!(first, count, "producer ids");
        Ok(first..end)
    }
}

impl ProducerIdSource for ProducerIds {
    fn next(&self) -> Pin<Box<dyn Future<Output = Result<i64, ErrorCode>> + Send + '_>> {
        Box::pin(async {
            Self::next(self).await.map_err(|error| {
                warn!(%error, "no producer id");
                ErrorCode::CoordinatorLoadInProgress
            })
        })
    }
}
