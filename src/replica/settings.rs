//! Owns what replicas and fetchers do by, as the properties file says it.

use crate::common::{BrokerId, Millis};
use crate::config::BrokerConfig;
use std::time::Duration;

/// What replicas do by, as the properties file says it.
#[derive(Clone, Debug)]
pub struct ReplicaSettings {
    pub local: BrokerId,
    /// Where other brokers listen for this one.
    pub inter_broker_listener: String,
    /// `replica.lag.time.max.ms`
    pub lag_time_max_ms: Millis,
    /// `replica.selector.class` is Kafka's rack-aware one.
    pub is_rack_aware: bool,
    /// `replication.quota.window.num`
    pub quota_samples: usize,
    /// `replication.quota.window.size.seconds`, in milliseconds.
    pub quota_window_ms: Millis,
    /// `num.replica.fetchers`
    pub fetchers_per_leader: usize,
    pub fetchers: FetcherSettings,
}

/// Kafka's default of `replica.socket.receive.buffer.bytes`. Setting one switches Linux's own tuning off, which starts above
/// it and grows with the flow: only another value than this one is set, as for `socket.receive.buffer.bytes`.
const DEFAULT_RECEIVE_BUFFER_BYTES: i32 = 64 << 10;

impl ReplicaSettings {
    pub fn new(config: &BrokerConfig, local: BrokerId) -> Self {
        let duration = |ms: i32| Duration::from_millis(ms.max(0) as u64);
        Self {
            local,
            inter_broker_listener: config.inter_broker_listener_name.to_string(),
            lag_time_max_ms: config.replica_lag_time_max_ms,
            is_rack_aware: config.replica_selector_class.as_ref().is_some_and(|class| !class.is_empty()),
            quota_samples: config.replication_quota_window_num.max(1) as usize,
            quota_window_ms: Millis::from(config.replication_quota_window_size_seconds) * 1_000,
            fetchers_per_leader: config.num_replica_fetchers.max(1) as usize,
            fetchers: FetcherSettings {
                local,
                wait_max_ms: config.replica_fetch_wait_max_ms,
                min_bytes: config.replica_fetch_min_bytes,
                response_max_bytes: config.replica_fetch_response_max_bytes,
                partition_max_bytes: config.replica_fetch_max_bytes,
                backoff_ms: config.replica_fetch_backoff_ms.into(),
                connect_timeout: duration(config.replica_socket_timeout_ms),
                receive_buffer_bytes: match config.replica_socket_receive_buffer_bytes {
                    DEFAULT_RECEIVE_BUFFER_BYTES => None,
                    // -1 is the system's own.
                    chosen => u32::try_from(chosen).ok(),
                },
                request_timeout: duration(config.request_timeout_ms),
            },
        }
    }
}

/// How fetchers ask.
#[derive(Clone, Debug)]
pub struct FetcherSettings {
    pub local: BrokerId,
    /// `replica.fetch.wait.max.ms`
    pub wait_max_ms: i32,
    /// `replica.fetch.min.bytes`
    pub min_bytes: i32,
    /// `replica.fetch.response.max.bytes`
    pub response_max_bytes: i32,
    /// `replica.fetch.max.bytes`, of one partition.
    pub partition_max_bytes: i32,
    /// `replica.fetch.backoff.ms`
    pub backoff_ms: i64,
    /// `replica.socket.timeout.ms`
    pub connect_timeout: Duration,
    /// `replica.socket.receive.buffer.bytes`; None leaves the system's.
    pub receive_buffer_bytes: Option<u32>,
    /// `request.timeout.ms`
    pub request_timeout: Duration,
}
