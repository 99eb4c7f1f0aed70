//! Owns the way of this broker's own requests to the current controller: AlterPartition, AllocateProducerIds.
//! Kafka: `NodeToControllerChannelManager`, `MetadataCacheControllerNodeProvider`.
//!
//! A request is sent again, perhaps to another broker, after a lost connection and after NOT_CONTROLLER, until its time is
//! over; so the controller may see it twice. Connections are kept for the next request. The controller is reached over its
//! inter-broker listener also where it is this broker.

use super::broker_client::{ApiVersions, BrokerConnection, CallError};
use crate::common::{BrokerId, ErrorCode};
use crate::config::endpoint::{Endpoint, SecurityProtocol};
use crate::protocol::{ApiKey, DecodeError, EncodeError, Message, Reader};
use crate::util::rate_limit::RateLimit;
use parking_lot::Mutex;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{debug, info};

static LOST: RateLimit = RateLimit::every(Duration::from_secs(5));

/// Before a request is sent again. Kafka: `NodeToControllerRequestThread`'s back-off.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// Idle connections that are kept. Those in use are as many as there are callers.
const IDLE_MAX: usize = 4;

/// Who the controller is, and where it listens for brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControllerNode {
    pub id: BrokerId,
    pub endpoint: Endpoint,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// No broker answered as the controller in time.
    #[error("no answer of a controller within {0:?}")]
    TimedOut(Duration),
    /// The one attempt that was asked for came to nothing.
    #[error("the controller is not known")]
    Unknown,
    #[error("broker {0} is not the controller any more")]
    NotController(BrokerId),
    #[error("controller {controller}: {error}")]
    Lost { controller: BrokerId, error: CallError },
    #[error("controller {controller} has no version of {key} in common with this broker")]
    Unsupported { controller: BrokerId, key: ApiKey },
    /// Our own mistake: a field that the version cannot carry.
    #[error("request: {0}")]
    Encode(#[from] EncodeError),
}

/// What a channel is made with.
pub struct ControllerChannelSettings {
    /// The client id of the connections.
    pub us: BrokerId,
    /// `controller.socket.timeout.ms`
    pub connect_timeout: Duration,
    /// `request.timeout.ms`, of one attempt.
    pub request_timeout: Duration,
}

/// See the module's page. Cloning gives another handle.
#[derive(Clone)]
pub struct ControllerChannel {
    shared: Arc<Shared>,
}

struct Shared {
    /// None while the controller is not known.
    find: Box<dyn Fn() -> Option<ControllerNode> + Send + Sync>,
    settings: ControllerChannelSettings,
    idle: Mutex<Vec<Link>>,
}

/// A connection and what the broker at its end speaks.
struct Link {
    node: ControllerNode,
    connection: BrokerConnection,
    versions: ApiVersions,
}

impl ControllerChannel {
    /// `find` gives the current controller.
    pub fn new(
        settings: ControllerChannelSettings,
        find: impl Fn() -> Option<ControllerNode> + Send + Sync + 'static,
    ) -> Self {
        Self { shared: Arc::new(Shared { find: Box::new(find), settings, idle: Mutex::default() }) }
    }

    /// Asks the controller in the newest version that both know.
    pub async fn call<Q: Message, A: Message>(
        &self,
        key: ApiKey,
        request: &Q,
        within: Duration,
    ) -> Result<A, ChannelError> {
        self.call_with(key, key.versions(), within, |_| request.clone()).await
    }

    /// As [`Self::call`], in one of `versions` at most, with a request that may be another one in each. It is built anew
    /// for each attempt.
    pub async fn call_with<Q: Message, A: Message>(
        &self,
        key: ApiKey,
        versions: RangeInclusive<i16>,
        within: Duration,
        build: impl Fn(i16) -> Q,
    ) -> Result<A, ChannelError> {
        let deadline = Instant::now() + within;
        loop {
            // A call that is dropped half-way takes its connection along.
            match timeout_at(deadline, self.attempt(key, &versions, &build)).await {
                Err(_) => return Err(ChannelError::TimedOut(within)),
                Ok(Err(error @ (ChannelError::NotController(_) | ChannelError::Lost { .. }))) => {
                    if let Some(left_out) = LOST.permit() {
                        info!(%key, %error, left_out, "asking the controller again");
                    }
                }
                Ok(Err(ChannelError::Unknown)) => debug!(%key, "the controller is not known yet"),
                Ok(outcome) => return outcome,
            }
            if timeout_at(deadline, sleep(RETRY_PAUSE)).await.is_err() {
                return Err(ChannelError::TimedOut(within));
            }
        }
    }

    /// Asks the controller of now, once, for as long as one attempt may take.
    pub async fn call_once<Q: Message, A: Message>(&self, key: ApiKey, request: &Q) -> Result<A, ChannelError> {
        self.attempt(key, &key.versions(), &|_| request.clone()).await
    }

    async fn attempt<Q: Message, A: Message>(
        &self,
        key: ApiKey,
        versions: &RangeInclusive<i16>,
        build: &impl Fn(i16) -> Q,
    ) -> Result<A, ChannelError> {
        let node = (self.shared.find)().ok_or(ChannelError::Unknown)?;
        let lost = |error| match error {
            CallError::Encode(error) => ChannelError::Encode(error),
            error => ChannelError::Lost { controller: node.id, error },
        };
        let mut link = self.link(&node).await.map_err(lost)?;
        let version = link.common_version(key, versions)?;
        let within = self.shared.settings.request_timeout;
        let mut body = link.connection.call_raw(key, version, &build(version), within).await.map_err(lost)?;
        if is_not_controller(key, version, &body) {
            return Err(ChannelError::NotController(node.id));
        }
        let answer = A::decode(&mut body, version).map_err(|error| lost(error.into()))?;
        self.keep(link);
        Ok(answer)
    }

    /// A connection to `node`: one that was kept, or a new one.
    async fn link(&self, node: &ControllerNode) -> Result<Link, CallError> {
        let kept = {
            let mut idle = self.shared.idle.lock();
            // What leads to former controllers is of no use, nor what the controller has closed meanwhile.
            idle.retain(|link| link.node == *node && link.connection.is_alive());
            idle.pop()
        };
        if let Some(link) = kept {
            return Ok(link);
        }
        let settings = &self.shared.settings;
        if node.endpoint.protocol != SecurityProtocol::Plaintext {
            return Err(std::io::Error::other(format!("{} is not PLAINTEXT", node.endpoint)).into());
        }
        let host = node.endpoint.host.as_deref().unwrap_or("localhost");
        let client_id = settings.us.to_string().into();
        let mut connection =
            BrokerConnection::connect(host, node.endpoint.port, client_id, settings.connect_timeout).await?;
        let versions = connection.api_versions(settings.request_timeout).await?;
        debug!(controller = %node.id, endpoint = %node.endpoint, "connected to the controller");
        Ok(Link { node: node.clone(), connection, versions })
    }

    /// For the end of the broker: the controller, which may be this process, does not wait for connections that are not
    /// needed any more.
    pub fn close_idle(&self) {
        self.shared.idle.lock().clear();
    }

    fn keep(&self, link: Link) {
        let mut idle = self.shared.idle.lock();
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }
}

impl Link {
    fn common_version(&self, key: ApiKey, ours: &RangeInclusive<i16>) -> Result<i16, ChannelError> {
        let unsupported = ChannelError::Unsupported { controller: self.node.id, key };
        let Some(theirs) = self.versions.get(&key.wire()) else { return Err(unsupported) };
        let newest = *ours.end().min(theirs.end());
        if newest < *ours.start().max(theirs.start()) { Err(unsupported) } else { Ok(newest) }
    }
}

/// Whether an answer refuses as a whole because it is not of the controller. Answers without a code of their own are
/// left to the caller.
fn is_not_controller(key: ApiKey, version: i16, body: &Reader) -> bool {
    let throttle_time_first = match key {
        ApiKey::ControlledShutdown => false,
        ApiKey::AlterPartition
        | ApiKey::AllocateProducerIds
        | ApiKey::AlterPartitionReassignments
        | ApiKey::ListPartitionReassignments
        | ApiKey::UpdateFeatures => true,
        ApiKey::ElectLeaders if version >= 1 => true,
        _ => return false,
    };
    let read = |mut body: Reader| -> Result<i16, DecodeError> {
        if throttle_time_first {
            body.i32()?;
        }
        body.i16()
    };
    read(body.clone()).is_ok_and(|code| ErrorCode::from_wire(code) == ErrorCode::NotController)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::endpoint::ListenerName;
    use crate::protocol::messages::api_versions_response::ApiVersion;
    use crate::protocol::messages::{AllocateProducerIdsRequest, AllocateProducerIdsResponse, ApiVersionsResponse};
    use crate::protocol::{Frame, RequestHeader};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const LONG: Duration = Duration::from_secs(60);

    /// A broker that answers ApiVersions, and then AllocateProducerIds with these codes, one a request; at the end of the
    /// list it closes the connection. Serves for as many connections as there are lists.
    async fn broker(listener: TcpListener, connections: Vec<Vec<ErrorCode>>) {
        for mut codes in connections {
            let (mut stream, _) = listener.accept().await.unwrap();
            codes.reverse();
            while let Ok(size) = stream.read_i32().await {
                let mut request = vec![0; size as usize];
                stream.read_exact(&mut request).await.unwrap();
                let mut reader = Reader::new(request.into());
                let header = RequestHeader::decode(&mut reader).unwrap();
                let (key, version, id) = (header.api_key, header.api_version, header.correlation_id);
                let frame = if key == ApiKey::ApiVersions {
                    let api = |key: ApiKey| ApiVersion { api_key: key.wire(), max_version: 0, ..Default::default() };
                    let answer =
                        ApiVersionsResponse { api_keys: vec![api(ApiKey::AllocateProducerIds)], ..Default::default() };
                    Frame::response(key, version, id, &answer)
                } else {
                    let Some(code) = codes.pop() else { break };
                    let answer = AllocateProducerIdsResponse { error_code: code.wire(), ..Default::default() };
                    Frame::response(key, version, id, &answer)
                };
                stream.write_all(&frame.unwrap().bytes).await.unwrap();
            }
        }
    }

    async fn channel_to(brokers: Vec<Vec<Vec<ErrorCode>>>) -> ControllerChannel {
        let mut nodes = Vec::new();
        for (id, connections) in brokers.into_iter().enumerate() {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let endpoint = Endpoint {
                listener: ListenerName::new("PLAINTEXT").unwrap(),
                protocol: SecurityProtocol::Plaintext,
                host: Some("127.0.0.1".into()),
                port: listener.local_addr().unwrap().port(),
            };
            nodes.push(ControllerNode { id: BrokerId(id as i32), endpoint });
            crate::util::task::Group::new(tokio::runtime::Handle::current())
                .spawn("broker", broker(listener, connections));
        }
        let asked = std::sync::atomic::AtomicUsize::new(0);
        let settings = ControllerChannelSettings { us: BrokerId(9), connect_timeout: LONG, request_timeout: LONG };
        // Each question is answered with the next broker, the last one forever.
        ControllerChannel::new(settings, move || {
            let n = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            nodes.get(n.min(nodes.len().wrapping_sub(1))).cloned()
        })
    }

    async fn allocate(channel: &ControllerChannel, within: Duration) -> Result<i16, ChannelError> {
        let request = AllocateProducerIdsRequest::default();
        let answer: AllocateProducerIdsResponse = channel.call(ApiKey::AllocateProducerIds, &request, within).await?;
        Ok(answer.error_code)
    }

    #[tokio::test]
    async fn a_request_follows_the_controller() {
        let former = vec![vec![ErrorCode::NotController]];
        let now = vec![vec![ErrorCode::None, ErrorCode::StaleBrokerEpoch]];
        let channel = channel_to(vec![former, now]).await;
        assert_eq!(allocate(&channel, LONG).await.unwrap(), 0);
        // On the same connection; other errors are the caller's.
        assert_eq!(allocate(&channel, LONG).await.unwrap(), ErrorCode::StaleBrokerEpoch.wire());
    }

    #[tokio::test]
    async fn a_lost_connection_is_made_again() {
        let channel = channel_to(vec![vec![vec![], vec![ErrorCode::None]]]).await;
        assert_eq!(allocate(&channel, LONG).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn one_attempt_tells_why_it_failed() {
        let once = async |channel: &ControllerChannel| {
            let request = AllocateProducerIdsRequest::default();
            channel.call_once::<_, AllocateProducerIdsResponse>(ApiKey::AllocateProducerIds, &request).await
        };
        let nobody = channel_to(vec![]).await;
        assert!(matches!(once(&nobody).await, Err(ChannelError::Unknown)));
        let former = channel_to(vec![vec![vec![ErrorCode::NotController]]]).await;
        assert!(matches!(once(&former).await, Err(ChannelError::NotController(BrokerId(0)))));
        let dead = channel_to(vec![vec![vec![]]]).await;
        assert!(matches!(once(&dead).await, Err(ChannelError::Lost { controller: BrokerId(0), .. })));
        let alive = channel_to(vec![vec![vec![ErrorCode::None]]]).await;
        assert!(once(&alive).await.is_ok());
    }

    #[tokio::test]
    async fn nobody_or_nothing_in_common_is_an_error() {
        let channel = channel_to(vec![]).await;
        let within = Duration::from_millis(60);
        assert!(matches!(allocate(&channel, within).await, Err(ChannelError::TimedOut(_))));
        let channel = channel_to(vec![vec![vec![]]]).await;
        let unserved: Result<AllocateProducerIdsResponse, _> =
            channel.call(ApiKey::AlterPartition, &AllocateProducerIdsRequest::default(), LONG).await;
        assert!(matches!(unserved, Err(ChannelError::Unsupported { key: ApiKey::AlterPartition, .. })));
    }
}
