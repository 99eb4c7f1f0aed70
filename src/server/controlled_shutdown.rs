//! Owns how a broker leaves in order: it asks the controller to move its leaderships away before it stops. Kafka:
//! `KafkaServer.controlledShutdown`.

use super::context::Broker;
use crate::client::controller_channel::ChannelError;
use crate::common::ErrorCode;
use crate::protocol::ApiKey;
use crate::protocol::messages::{ControlledShutdownRequest, ControlledShutdownResponse};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// Asks up to `controlled.shutdown.max.retries` times. A broker without a controller, or with one that can't move all of
/// them, stops all the same: the others find out by its session.
pub(super) async fn run(broker: &Broker) {
    let config = broker.config.load_full();
    if !config.controlled_shutdown_enable {
        return;
    }
    info!("Starting controlled shutdown");
    let attempts = config.controlled_shutdown_max_retries.max(0);
    let within = Duration::from_millis(config.request_timeout_ms.max(0) as u64);
    let pause = Duration::from_millis(config.controlled_shutdown_retry_backoff_ms.max(0) as u64);
    for left in (0..attempts).rev() {
        let outcome = ask(broker, within).await;
        if outcome == Outcome::Done {
            return;
        }
        if outcome == Outcome::Hopeless {
            break;
        }
        if left > 0 {
            tokio::time::sleep(pause).await;
            info!("Retrying controlled shutdown ({left} retries remaining)");
        }
    }
    warn!("Proceeding to do an unclean shutdown as all the controlled shutdown attempts failed");
}

#[derive(PartialEq, Eq)]
enum Outcome {
    /// No leadership is left here.
    Done,
    Again,
    /// The controller does not know the request.
    Hopeless,
}

async fn ask(broker: &Broker, within: Duration) -> Outcome {
    // Nobody will come up to take over from us.
    if broker.image.load().controller.is_none() {
        info!("No zk controller present in the metadata cache");
        return Outcome::Again;
    }
    let request = ControlledShutdownRequest {
        broker_id: broker.id.0,
        broker_epoch: broker.controller.broker_epoch().0,
        ..Default::default()
    };
    let started = Instant::now();
    let answer = broker.to_controller.call(ApiKey::ControlledShutdown, &request, within).await;
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
