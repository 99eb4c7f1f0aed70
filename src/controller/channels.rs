//! Owns the channel to each broker: one queue, one connection, one request in flight. Kafka:
//! `ControllerChannelManager`, `RequestSendThread`.
//!
//! A failed request is resent on a new connection until the broker answers or its znode is deleted, so brokers may see
//! it twice. The controller reaches its own broker in the same way.

use super::backlog::Backlog;
use super::batch::ControlRequest;
use super::context::LiveBroker;
use super::events::{Answer, Event};
use crate::client::broker_client::{BrokerConnection, CallError};
use crate::common::BrokerId;
use crate::config::endpoint::{Endpoint, SecurityProtocol};
use crate::protocol::ApiKey;
use crate::util::task::Group;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// The versions of the requests under inter.broker.protocol.version 3.9.
const LEADER_AND_ISR_VERSION: i16 = 7;
const UPDATE_METADATA_VERSION: i16 = 8;
const STOP_REPLICA_VERSION: i16 = 4;

const RESEND_PAUSE: Duration = Duration::from_millis(100);

/// Sends the controller's requests to brokers. Sending never waits; answers arrive as events.
pub trait BrokerChannels: Send {
    fn add(&mut self, broker: &LiveBroker);
    /// Until this is called, requests are queued and merged.
    fn open(&mut self);
    /// Drops what is queued for the broker.
    fn remove(&mut self, broker: BrokerId);
    /// Requests to a broker that was not added are dropped.
    fn send(&mut self, broker: BrokerId, request: ControlRequest);
}

/// The settings of the channels.
#[derive(Clone)]
pub struct ChannelSettings {
    /// Our id, which is also the client id of the connections.
    pub us: BrokerId,
    /// Where brokers listen for the controller: `control.plane.listener.name`, else the inter-broker listener.
    pub listener: String,
    /// `controller.socket.timeout.ms`
    pub connect_timeout: Duration,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
}

/// Channels over TCP, each a task of `group`.
pub struct TcpChannels {
    settings: ChannelSettings,
    group: Group,
    events: mpsc::Sender<Event>,
    channels: BTreeMap<BrokerId, (Arc<Queue>, CancellationToken)>,
    /// Channels that are not open yet; None once new ones open at once.
    closed: Option<Vec<(Channel, CancellationToken)>>,
}

/// The queue of one broker's task.
#[derive(Default)]
struct Queue {
    backlog: Mutex<Backlog>,
    arrived: Notify,
}

impl TcpChannels {
    pub fn new(settings: ChannelSettings, group: Group, events: mpsc::Sender<Event>) -> Self {
        Self { settings, group, events, channels: BTreeMap::new(), closed: Some(Vec::new()) }
    }

    fn spawn(&self, channel: Channel, stopped: CancellationToken) {
        self.group.spawn("controller-channel", async move {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = channel.run() => {}
            }
        });
    }
}

impl BrokerChannels for TcpChannels {
    fn add(&mut self, broker: &LiveBroker) {
        let id = broker.registration.id;
        let listener = &self.settings.listener;
        // Kafka's controller fails over on this; here the other brokers are still served.
        let Some(endpoint) = broker.registration.endpoint(listener) else {
            error!(
                broker = id.0,
                listener, "broker does not advertise the listener that the controller uses: it gets no orders"
            );
            return;
        };
        if endpoint.protocol != SecurityProtocol::Plaintext {
            error!(broker = id.0, %endpoint, "only PLAINTEXT is supported between brokers: it gets no orders");
            return;
        }
        let queue = Arc::new(Queue::default());
        let stop = self.group.stop_token().child_token();
        let channel = Channel {
            broker: id,
            endpoint: endpoint.clone(),
            settings: self.settings.clone(),
            queue: Arc::clone(&queue),
            events: self.events.clone(),
        };
        match &mut self.closed {
            Some(closed) => closed.push((channel, stop.clone())),
            None => self.spawn(channel, stop.clone()),
        }
        if let Some((_, previous)) = self.channels.insert(id, (queue, stop)) {
            previous.cancel();
        }
    }

    fn open(&mut self) {
        for (channel, stop) in self.closed.take().into_iter().flatten() {
            self.spawn(channel, stop);
        }
    }

    fn remove(&mut self, broker: BrokerId) {
        if let Some((_, stop)) = self.channels.remove(&broker) {
            stop.cancel();
        }
    }

    fn send(&mut self, broker: BrokerId, request: ControlRequest) {
        if let Some((queue, _)) = self.channels.get(&broker) {
            queue.backlog.lock().push(request);
            queue.arrived.notify_one();
        }
    }
}

impl Drop for TcpChannels {
    fn drop(&mut self) {
        self.channels.values().for_each(|(_, stop)| stop.cancel());
    }
}

struct Channel {
    broker: BrokerId,
    endpoint: Endpoint,
    settings: ChannelSettings,
    queue: Arc<Queue>,
    events: mpsc::Sender<Event>,
}

impl Channel {
    async fn run(self) {
        let mut connection = None;
        loop {
            let next = self.queue.backlog.lock().pop();
            let Some(request) = next else {
                self.queue.arrived.notified().await;
                continue;
            };
            let answer = self.deliver(&mut connection, &request).await;
            let (epoch, broker_epoch) = request.epochs();
            let event = Event::Answered { broker: self.broker, broker_epoch, epoch, answer };
            if self.events.send(event).await.is_err() {
                return;
            }
        }
    }

    /// Retries until there is an answer.
    async fn deliver(&self, connection: &mut Option<BrokerConnection>, request: &ControlRequest) -> Answer {
        let mut failures = 0_u32;
        loop {
            match self.attempt(connection, request).await {
                Ok(answer) => return answer,
                Err(error) => {
                    *connection = None;
                    failures += 1;
                    // About one line per minute: a broker may be offline for long before its session ends.
                    if failures == 1 || failures.is_multiple_of(600) {
                        warn!(broker = self.broker.0, endpoint = %self.endpoint, %error, failures, "broker does not answer the controller");
                    } else {
                        debug!(broker = self.broker.0, %error, "resending");
                    }
                    tokio::time::sleep(RESEND_PAUSE).await;
                }
            }
        }
    }

    async fn attempt(
        &self,
        connection: &mut Option<BrokerConnection>,
        request: &ControlRequest,
    ) -> Result<Answer, CallError> {
        let kept = connection.take();
        // The broker closes idle connections: that is not a failure, and not reported.
        let is_again = kept.is_some();
        let open = match kept.filter(BrokerConnection::is_alive) {
            Some(open) => connection.insert(open),
            None => {
                let host = self.endpoint.host.as_deref().unwrap_or("localhost");
                let client_id = self.settings.us.to_string().into();
                let within = self.settings.connect_timeout;
                let open = BrokerConnection::connect(host, self.endpoint.port, client_id, within).await?;
                if !is_again {
                    info!(broker = self.broker.0, endpoint = %self.endpoint, "controller connected to broker");
                }
                connection.insert(open)
            }
        };
        let within = self.settings.request_timeout;
        Ok(match request {
            ControlRequest::LeaderAndIsr(body) => {
                let answer = open.call(ApiKey::LeaderAndIsr, LEADER_AND_ISR_VERSION, body, within).await?;
                Answer::LeaderAndIsr(answer)
            }
            ControlRequest::UpdateMetadata(body) => {
                let answer = open.call(ApiKey::UpdateMetadata, UPDATE_METADATA_VERSION, body, within).await?;
                Answer::UpdateMetadata(answer)
            }
            ControlRequest::StopReplica(body) => {
                let answer = open.call(ApiKey::StopReplica, STOP_REPLICA_VERSION, body, within).await?;
                Answer::StopReplica { asked: body.clone(), answer }
            }
        })
    }
}
