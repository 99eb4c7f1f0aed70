//! Owns the orderly stop of a broker: it asks the controller to move its leaderships away before it stops. Kafka:
//! `KafkaServer.controlledShutdown`.

use super::context::Broker;
use crate::client::controller_channel::ChannelError;
use crate::common::{BrokerId, ErrorCode};
use crate::protocol::ApiKey;
use crate::protocol::messages::{ControlledShutdownRequest, ControlledShutdownResponse};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

/// Asks up to `controlled.shutdown.max.retries` times. A broker without a controller, or with one that can't move all of
/// them, stops all the same: the others learn of it by the end of its session.
pub(super) async fn run(broker: &Broker) {
    let config = broker.config.load_full();
    if !config.controlled_shutdown_enable {
        return;
    }
    info!("Starting controlled shutdown");
    let pause = Duration::from_millis(config.controlled_shutdown_retry_backoff_ms.max(0) as u64);
    for left in (0..config.controlled_shutdown_max_retries.max(0)).rev() {
        let asked = broker.image.load().controller;
        match ask(broker).await {
            Outcome::Done => return,
            Outcome::Hopeless => break,
            Outcome::Again if left > 0 => {
                wait_for_another(broker, asked, pause).await;
                info!("Retrying controlled shutdown ({left} retries remaining)");
            }
            Outcome::Again => {}
        }
    }
    warn!("Proceeding to do an unclean shutdown as all the controlled shutdown attempts failed");
}

enum Outcome {
    /// No leadership is left here.
    Done,
    Again,
    /// The controller does not know the request.
    Hopeless,
}

async fn ask(broker: &Broker) -> Outcome {
    let request = ControlledShutdownRequest {
        broker_id: broker.id.0,
        broker_epoch: broker.controller.broker_epoch().0,
        ..Default::default()
    };
    let started = Instant::now();
    // Not until a controller answers: when a whole cluster stops, no new controller is elected.
    let answer = broker.to_controller.call_once(ApiKey::ControlledShutdown, &request).await;
    let took = started.elapsed().as_millis();
    let answer: ControlledShutdownResponse = match answer {
        Ok(answer) => answer,
        Err(error) => {
            warn!("Error during controlled shutdown: {error}");
            return if matches!(error, ChannelError::Unsupported { .. }) { Outcome::Hopeless } else { Outcome::Again };
        }
    };
    let remaining = answer.remaining_partitions.len();
    match ErrorCode::from_wire(answer.error_code) {
        ErrorCode::None if remaining == 0 => {
            info!("Controlled shutdown request returned successfully after {took}ms");
            return Outcome::Done;
        }
        ErrorCode::None => {
            info!("Controlled shutdown request returned after {took}ms with {remaining} partitions remaining to move");
        }
        code => info!("Controlled shutdown request returned after {took}ms with error {code}"),
    }
    Outcome::Again
}

/// Waits for the pause, or until the metadata names another controller than the one that was asked.
async fn wait_for_another(broker: &Broker, asked: Option<BrokerId>, pause: Duration) {
    let deadline = Instant::now() + pause;
    loop {
        let changed = broker.image_changed.notified();
        tokio::pin!(changed);
        changed.as_mut().enable();
        if broker.image.load().controller != asked || timeout_at(deadline, changed).await.is_err() {
            return;
        }
    }
}
