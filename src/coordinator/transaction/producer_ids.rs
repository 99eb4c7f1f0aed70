//! Owns the ids for producers: blocks of a thousand, which the controller gives out. Kafka: `RPCProducerIdManager`.
//!
//! No producer waits for a block. One that finds none is answered COORDINATOR_LOAD_IN_PROGRESS at once, with which every
//! client tries again, and one task asks for blocks: the next is asked for when nine tenths of the current one are used.

use crate::client::controller_channel::{ChannelError, ControllerChannel};
use crate::common::{BrokerEpoch, BrokerId, ErrorCode};
use crate::protocol::ApiKey;
use crate::protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse};
use crate::util::rate_limit::RateLimit;
use crate::util::task::Group;
use parking_lot::Mutex;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tracing::{debug, warn};

/// How long one question may take. After that the controller may be another broker.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// Before the controller is asked again after an answer without a block. Kafka: `RetryBackoffMs`.
const RETRY_PAUSE: Duration = Duration::from_millis(50);
/// Of a block, what is used when the next one is asked for. Kafka: `PidPrefetchThreshold`.
const PREFETCH_PERCENT: i64 = 90;

static NO_BLOCK: RateLimit = RateLimit::every(Duration::from_secs(5));

/// See the module's page.
#[derive(Default)]
pub struct ProducerIds {
    blocks: Mutex<Blocks>,
    wanted: Notify,
}

#[derive(Debug, thiserror::Error)]
enum ProducerIdError {
    #[error(transparent)]
    Channel(#[from] ChannelError),
    #[error("the controller refuses: {0}")]
    Refused(ErrorCode),
    #[error("the controller gave out {count} ids from {first}")]
    Strange { first: i64, count: i32 },
}

impl ProducerIds {
    /// Starts the task that asks for blocks. `broker_epoch` gives the epoch of our current registration.
    pub fn start(
        to_controller: ControllerChannel,
        broker: BrokerId,
        broker_epoch: impl Fn() -> BrokerEpoch + Send + Sync + 'static,
        group: &Group,
    ) -> Arc<Self> {
        let ids = Arc::<Self>::default();
        let (asking, stop) = (Arc::clone(&ids), group.stop_token().clone());
        group.spawn("producer-ids", async move {
            loop {
                let work = async {
                    asking.wanted.notified().await;
                    let given = take_block(&to_controller, broker, broker_epoch()).await;
                    asking.on_answer(given);
                };
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = work => {}
                }
            }
        });
        ids
    }

    /// An id that no one else gets; None while there is no block.
    pub fn next(&self) -> Option<i64> {
        let (id, is_block_wanted) = self.blocks.lock().claim(Instant::now());
        if is_block_wanted {
            self.wanted.notify_one();
        }
        id
    }

    fn on_answer(&self, given: Result<Range<i64>, ProducerIdError>) {
        if let Err(error) = &given
            && let Some(left_out) = NO_BLOCK.permit()
        {
            warn!(%error, left_out, "no producer ids");
        }
        let taken = self.blocks.lock().on_answer(Instant::now(), given.ok());
        if let Err(block) = taken {
            warn!(first = block.start, "the controller gave out producer ids that were given out before");
        }
    }
}

async fn take_block(
    to_controller: &ControllerChannel,
    broker: BrokerId,
    epoch: BrokerEpoch,
) -> Result<Range<i64>, ProducerIdError> {
    let request = AllocateProducerIdsRequest { broker_id: broker.0, broker_epoch: epoch.0, ..Default::default() };
    let answer: AllocateProducerIdsResponse =
        to_controller.call(ApiKey::AllocateProducerIds, &request, ANSWER_WITHIN).await?;
    match ErrorCode::from_wire(answer.error_code) {
        ErrorCode::None => {}
        code => return Err(ProducerIdError::Refused(code)),
    }
    let (first, count) = (answer.producer_id_start, answer.producer_id_len);
    let end = first.checked_add(i64::from(count)).filter(|_| count > 0 && first >= 0);
    let end = end.ok_or(ProducerIdError::Strange { first, count })?;
    debug!(first, count, "producer ids");
    Ok(first..end)
}

/// The ids that are left. Pure.
#[derive(Debug, Default)]
struct Blocks {
    current: Range<i64>,
    /// From this id on the next block is wanted.
    prefetch_from: i64,
    next: Option<Range<i64>>,
    asking: Asking,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Asking {
    #[default]
    Idle,
    UnderWay,
    /// The last answer brought no block.
    NotBefore(Instant),
}

impl Blocks {
    /// An id, if there is one, and whether the controller is to be asked now: then [`Self::on_answer`] follows.
    fn claim(&mut self, now: Instant) -> (Option<i64>, bool) {
        if self.current.is_empty()
            && let Some(next) = self.next.take()
        {
            self.prefetch_from = next.start + (next.end - next.start) * PREFETCH_PERCENT / 100;
            self.current = next;
        }
        let id = self.current.next();
        let is_low = id.is_none_or(|id| id >= self.prefetch_from) && self.next.is_none();
        let may_ask = match self.asking {
            Asking::Idle => true,
            Asking::UnderWay => false,
            Asking::NotBefore(at) => now >= at,
        };
        if is_low && may_ask {
            self.asking = Asking::UnderWay;
        }
        (id, is_low && may_ask)
    }

    /// The error is a block that lies before what was given out.
    fn on_answer(&mut self, now: Instant, block: Option<Range<i64>>) -> Result<(), Range<i64>> {
        self.asking = Asking::NotBefore(now + RETRY_PAUSE);
        match block {
            Some(block) if block.start < self.current.end => return Err(block),
            Some(block) => {
                self.next = Some(block);
                self.asking = Asking::Idle;
            }
            None => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_block_is_asked_for_once_before_the_current_one_is_used_up() {
        let (mut blocks, now) = (Blocks::default(), Instant::now());
        assert_eq!(blocks.claim(now), (None, true));
        assert_eq!(blocks.claim(now), (None, false), "it is under way");
        assert_eq!(blocks.on_answer(now, Some(0..10)), Ok(()));
        for id in 0..9 {
            assert_eq!(blocks.claim(now), (Some(id), false));
        }
        assert_eq!(blocks.claim(now), (Some(9), true));
        assert_eq!(blocks.claim(now), (None, false), "its answer has not come");
        assert_eq!(blocks.on_answer(now, Some(30..40)), Ok(()));
        assert_eq!(blocks.claim(now), (Some(30), false));
    }

    #[test]
    fn an_answer_without_a_block_is_followed_by_a_pause() {
        let (mut blocks, now) = (Blocks::default(), Instant::now());
        assert_eq!(blocks.claim(now), (None, true));
        assert_eq!(blocks.on_answer(now, None), Ok(()));
        assert_eq!(blocks.claim(now), (None, false));
        assert_eq!(blocks.claim(now + RETRY_PAUSE), (None, true));
    }

    #[test]
    fn ids_are_never_given_out_twice() {
        let (mut blocks, now) = (Blocks::default(), Instant::now());
        assert_eq!(blocks.claim(now), (None, true));
        assert_eq!(blocks.on_answer(now, Some(100..101)), Ok(()));
        assert_eq!(blocks.claim(now), (Some(100), true));
        assert_eq!(blocks.on_answer(now, Some(0..1_000)), Err(0..1_000));
        assert_eq!(blocks.claim(now), (None, false));
        assert_eq!(blocks.claim(now + RETRY_PAUSE), (None, true));
    }
}
