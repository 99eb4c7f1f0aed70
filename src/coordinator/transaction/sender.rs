//! Owns sending markers to partition leaders: one task a broker, one request under way to each. Kafka:
//! `TransactionMarkerChannelManager`.
//!
//! Every marker is reported once to the term that it comes from: written, gone, or failed. Trying again is decided there.

use super::effects::{MarkerResult, Markers};
use super::markers::{self, Entry, Leader, MarkerQueues, Report};
use super::shard::Transactions;
use super::write_markers::MarkerWriter;
use crate::client::broker_client::BrokerConnection;
use crate::cluster::image::MetadataImage;
use crate::common::ErrorCode;
use crate::common::ids::{BrokerId, TopicPartition};
use crate::coordinator::TRANSACTIONS_TOPIC;
use crate::coordinator::runtime::{Shards, Term, group_of};
use crate::protocol::ApiKey;
use crate::protocol::messages::WriteTxnMarkersResponse;
use crate::util::task::Group;
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

/// Of inter.broker.protocol.version 3.9.
const WRITE_TXN_MARKERS_VERSION: i16 = 1;

/// Pause before a broker that could not be reached is tried again, so that markers for it are not refused in a loop.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

pub(super) struct MarkerSender {
    pub us: BrokerId,
    /// `inter.broker.listener.name`.
    pub listener: String,
    pub request_timeout: Duration,
    pub image: Arc<ArcSwap<MetadataImage>>,
    pub shards: Arc<Shards<Transactions>>,
    pub writer: Arc<MarkerWriter>,
    pub groups: Arc<[Group]>,
    queues: Mutex<MarkerQueues>,
    /// The tasks, each with what wakes it.
    brokers: Mutex<HashMap<BrokerId, Arc<Notify>>>,
}

impl MarkerSender {
    pub(super) fn new(
        us: BrokerId,
        listener: String,
        request_timeout: Duration,
        image: Arc<ArcSwap<MetadataImage>>,
        shards: Arc<Shards<Transactions>>,
        writer: Arc<MarkerWriter>,
        groups: Arc<[Group]>,
    ) -> Self {
        Self {
            us,
            listener,
            request_timeout,
            image,
            shards,
            writer,
            groups,
            queues: Mutex::default(),
            brokers: Mutex::default(),
        }
    }

    /// Queues markers for the leaders of their partitions. What needs no leader is reported at once.
    pub(super) fn send(self: &Arc<Self>, term: Term, markers: Markers) -> Option<Report> {
        let image = self.image.load();
        let (brokers, report) = self.queues.lock().add(term, markers, |tp| leader_of(&image, &self.listener, tp));
        for broker in brokers {
            let wake = Arc::clone(self.brokers.lock().entry(broker).or_insert_with(|| self.start(broker)));
            wake.notify_one();
        }
        report
    }

    /// The partition of the coordinator is not led here any more.
    pub(super) fn forget(&self, partition: i32) {
        self.queues.lock().forget(partition);
    }

    fn start(self: &Arc<Self>, broker: BrokerId) -> Arc<Notify> {
        let wake = Arc::new(Notify::new());
        let group = group_of(&self.groups, broker.0);
        let stop = group.stop_token().clone();
        group.spawn("transaction-markers", Arc::clone(self).run(broker, Arc::clone(&wake), stop));
        wake
    }

    async fn run(self: Arc<Self>, broker: BrokerId, wake: Arc<Notify>, stop: CancellationToken) {
        let mut connection = None;
        loop {
            let entries = self.queues.lock().take(broker);
            let work = async {
                if entries.is_empty() {
                    wake.notified().await;
                    return;
                }
                let reports = if broker == self.us {
                    let written = self.writer.write(&markers::request(&entries), self.request_timeout).await;
                    markers::reports(entries, &written)
                } else {
                    self.write_at(broker, &mut connection, entries).await
                };
                for report in reports {
                    let term = report.term;
                    self.shards.report(term, |to, now, out| to.on_report(now, report, out)).await;
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    /// Has another broker write markers. Without an answer no one knows; to write a marker twice does no harm.
    async fn write_at(
        &self,
        broker: BrokerId,
        connection: &mut Option<BrokerConnection>,
        entries: Vec<Entry>,
    ) -> Vec<Report> {
        let request = markers::request(&entries);
        debug!(%broker, markers = entries.len(), "sending markers");
        let within = self.request_timeout;
        let calling = async {
            let open = match connection.take().filter(BrokerConnection::is_alive) {
                Some(open) => open,
                None => self.connect(broker).await?,
            };
            let open = connection.insert(open);
            let key = ApiKey::WriteTxnMarkers;
            let answer = open.call(key, WRITE_TXN_MARKERS_VERSION, &request, within).await;
            answer.map_err(|error| error.to_string())
        };
        let answer: Result<WriteTxnMarkersResponse, String> = calling.await;
        match answer {
            Ok(response) => markers::reports(entries, &response),
            Err(error) => {
                *connection = None;
                info!(%broker, error, markers = entries.len(), "markers not sent, trying again");
                tokio::time::sleep(RECONNECT_PAUSE).await;
                let failed = MarkerResult::Failed(ErrorCode::NetworkException);
                entries.into_iter().map(|entry| entry.report(failed)).collect()
            }
        }
    }

    async fn connect(&self, broker: BrokerId) -> Result<BrokerConnection, String> {
        let image = self.image.load_full();
        let endpoint = image.brokers.get(&broker).and_then(|known| known.endpoint(&self.listener));
        let endpoint = endpoint.ok_or("the broker is gone")?;
        let host = endpoint.host.as_deref().unwrap_or_default();
        let client_id = format!("broker-{}-txn-marker-sender", self.us).into();
        let connecting = BrokerConnection::connect(host, endpoint.port, client_id, self.request_timeout);
        connecting.await.map_err(|error| error.to_string())
    }
}

/// Kafka: `getPartitionLeaderEndpoint`: a partition that the metadata does not have is deleted. Unless the metadata has
/// not come yet: then it does not even have the topic that this coordinator lives in.
fn leader_of(image: &MetadataImage, listener: &str, tp: &TopicPartition) -> Leader {
    let Some(known) = image.partition(&tp.topic, tp.partition) else {
        return if image.topic(TRANSACTIONS_TOPIC).is_some() { Leader::Gone } else { Leader::Unavailable };
    };
    match image.brokers.get(&known.leader) {
        Some(leader) if leader.endpoint(listener).is_some() => Leader::Broker(known.leader),
        _ => Leader::Unavailable,
    }
}
