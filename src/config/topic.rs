//! Owns the settings of a topic's logs: [`LogConfig`], every topic key resolved over what the broker says, and the rules
//! for what an operator may set on a topic. Kafka: `LogConfig`, `ServerTopicConfigSynonyms`.
//! Absent on purpose: tiered storage, which is refused.

use std::collections::BTreeSet;

use crate::common::ids::Millis;

use super::def::{ConfigError, Props, Value, Values};
use super::keys::TOPIC;

/// What a topic's batches are compressed with on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerCompression {
    /// Whatever the producer sent.
    Producer,
    Uncompressed,
    /// Level 1 to 9, or -1 for the codec's default.
    Gzip(i32),
    Snappy,
    /// Level 1 to 17.
    Lz4(i32),
    /// Level -131072 to 22.
    Zstd(i32),
}

/// Whose clock stamps a topic's batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// Which replicas of a topic a replication quota slows down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ThrottledReplicas {
    All,
    /// Pairs of partition and broker id; empty where no replica is throttled.
    Listed(BTreeSet<(i32, i32)>),
}

impl ThrottledReplicas {
    fn parse(entries: &[String]) -> Self {
        if entries.iter().any(|e| e.trim() == "*") {
            return Self::All;
        }
        let pair = |e: &String| {
            let (partition, broker) = e.trim().split_once(':')?;
            Some((partition.parse().ok()?, broker.parse().ok()?))
        };
        Self::Listed(entries.iter().filter_map(pair).collect())
    }

    pub fn contains(&self, partition: i32, broker: i32) -> bool {
        match self {
            Self::All => true,
            Self::Listed(pairs) => pairs.contains(&(partition, broker)),
        }
    }
}

/// Settings of one topic's logs. Fields are the topic keys; times are ms, sizes bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct LogConfig {
    /// Largest size of a segment's `.log`, and of one append.
    pub segment_bytes: i32,
    pub segment_ms: Millis,
    pub segment_jitter_ms: Millis,
    /// Size of an index file at its creation.
    pub segment_index_bytes: i32,
    /// `i64::MAX`: never by count.
    pub flush_messages: i64,
    /// `i64::MAX`: never by age.
    pub flush_ms: Millis,
    /// -1: unlimited.
    pub retention_bytes: i64,
    /// -1: unlimited.
    pub retention_ms: Millis,
    /// Largest record batch, checked before and after recompression.
    pub max_message_bytes: i32,
    /// Log bytes between two entries of the offset and time index.
    pub index_interval_bytes: i32,
    pub file_delete_delay_ms: Millis,
    pub delete_retention_ms: Millis,
    pub min_compaction_lag_ms: Millis,
    pub max_compaction_lag_ms: Millis,
    /// 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// `cleanup.policy` has `compact`.
    pub compact: bool,
    /// `cleanup.policy` has `delete`.
    pub delete: bool,
    pub unclean_leader_election_enable: bool,
    pub min_insync_replicas: i32,
    pub compression: BrokerCompression,
    pub preallocate: bool,
    pub message_timestamp_type: TimestampType,
    /// How far a record's CreateTime may lie behind the broker's clock.
    pub message_timestamp_before_max_ms: Millis,
    /// How far it may lie ahead.
    pub message_timestamp_after_max_ms: Millis,
    pub message_downconversion_enable: bool,
    pub leader_replication_throttled_replicas: ThrottledReplicas,
    pub follower_replication_throttled_replicas: ThrottledReplicas,
    /// What the topic itself sets, as text: enough to resolve it again over other defaults.
    pub overridden: Props,
}

impl Default for LogConfig {
    /// The topic keys' own defaults, with no broker behind them.
    fn default() -> Self {
        let values = TOPIC.iter().map(|key| (key.name, key.default_value())).collect();
        Self::from_values(&Values::new(values), Props::new())
    }
}

impl LogConfig {
    /// Resolves a topic's own `overrides` over the broker's `defaults` (see [`broker_defaults`]). Unknown names among
    /// the overrides are passed over, as Kafka does with znodes that a newer version wrote.
    pub fn resolve(defaults: &Props, overrides: &Props) -> Result<Self, ConfigError> {
        let mut props = defaults.clone();
        props.extend(overrides.clone());
        Ok(Self::from_values(&TOPIC.parse(&props)?, overrides.clone()))
    }

    fn from_values(v: &Values, overridden: Props) -> Self {
        let policies: Vec<String> = v.list("cleanup.policy").iter().map(|p| p.to_lowercase()).collect();
        // A bound that was left unlimited follows the older key, which knew one bound for both directions.
        let timestamp_bound = |name: &str| match v.long(name) {
            i64::MAX => v.long("message.timestamp.difference.max.ms"),
            set => set,
        };
        Self {
            segment_bytes: v.int("segment.bytes"),
            segment_ms: v.long("segment.ms"),
            segment_jitter_ms: v.long("segment.jitter.ms"),
            segment_index_bytes: v.int("segment.index.bytes"),
            flush_messages: v.long("flush.messages"),
            flush_ms: v.long("flush.ms"),
            retention_bytes: v.long("retention.bytes"),
            retention_ms: v.long("retention.ms"),
            max_message_bytes: v.int("max.message.bytes"),
            index_interval_bytes: v.int("index.interval.bytes"),
            file_delete_delay_ms: v.long("file.delete.delay.ms"),
            delete_retention_ms: v.long("delete.retention.ms"),
            min_compaction_lag_ms: v.long("min.compaction.lag.ms"),
            max_compaction_lag_ms: v.long("max.compaction.lag.ms"),
            min_cleanable_dirty_ratio: v.double("min.cleanable.dirty.ratio"),
            compact: policies.iter().any(|p| p == "compact"),
            delete: policies.iter().any(|p| p == "delete"),
            unclean_leader_election_enable: v.boolean("unclean.leader.election.enable"),
            min_insync_replicas: v.int("min.insync.replicas"),
            compression: match v.string("compression.type").as_str() {
                "uncompressed" => BrokerCompression::Uncompressed,
                "gzip" => BrokerCompression::Gzip(v.int("compression.gzip.level")),
                "snappy" => BrokerCompression::Snappy,
                "lz4" => BrokerCompression::Lz4(v.int("compression.lz4.level")),
                "zstd" => BrokerCompression::Zstd(v.int("compression.zstd.level")),
                _ => BrokerCompression::Producer,
            },
            preallocate: v.boolean("preallocate"),
            message_timestamp_type: match v.string("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            message_timestamp_before_max_ms: timestamp_bound("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: timestamp_bound("message.timestamp.after.max.ms"),
            message_downconversion_enable: v.boolean("message.downconversion.enable"),
            leader_replication_throttled_replicas: ThrottledReplicas::parse(
                &v.list("leader.replication.throttled.replicas"),
            ),
            follower_replication_throttled_replicas: ThrottledReplicas::parse(
                &v.list("follower.replication.throttled.replicas"),
            ),
            overridden,
        }
    }

    /// Age at which a segment is closed: a compacted topic must reach its oldest dirty record in time.
    pub fn max_segment_ms(&self) -> Millis {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }

    /// Size that a new segment's `.log` is given at once, 0 for none.
    pub fn initial_file_size(&self) -> i32 {
        if self.preallocate { self.segment_bytes } else { 0 }
    }
}

/// The topic keys as this broker's own keys give them: for each the first of its synonyms that is set, in ms where the
/// synonym counts hours or minutes. Kafka: `KafkaConfig.extractLogConfigMap`.
pub fn broker_defaults(broker: &Values) -> Props {
    let mut defaults = Props::new();
    for key in TOPIC.iter() {
        let set = key.broker_synonyms.iter().find_map(|synonym| {
            let value = broker.get(synonym).filter(|v| **v != Value::Null)?;
            Some(in_millis(synonym, value).map_or_else(|| value.to_string(), |ms| ms.to_string()))
        });
        defaults.extend(set.map(|text| (key.name.to_owned(), text)));
    }
    // Any negative retention is unlimited, and this broker's inter.broker.protocol.version fixes the message format.
    if defaults.get("retention.ms").and_then(|v| v.parse().ok()).is_some_and(|v: i64| v < 0) {
        defaults.insert("retention.ms".to_owned(), "-1".to_owned());
    }
    defaults.remove("message.format.version");
    // The broker's own two timestamp bounds already follow its older key.
    if let Some(older) = defaults.get("message.timestamp.difference.max.ms").cloned() {
        for bound in ["message.timestamp.before.max.ms", "message.timestamp.after.max.ms"] {
            defaults.entry(bound.to_owned()).and_modify(|v| {
                if *v == i64::MAX.to_string() {
                    v.clone_from(&older);
                }
            });
        }
    }
    defaults
}

/// `value` in ms if `synonym` counts hours or minutes. The unit is the last word of the name.
pub(super) fn in_millis(synonym: &str, value: &Value) -> Option<i64> {
    let unit = match synonym.rsplit('.').next() {
        Some("hours") => 60 * 60 * 1000,
        Some("minutes") => 60 * 1000,
        _ => return None,
    };
    match value {
        Value::Int(v) => Some(i64::from(*v) * unit),
        _ => None,
    }
}

/// Checks the configs that a topic is created with or that an operator wants it to have, over the broker's `defaults`.
/// Kafka: `LogConfig.validate`; the texts go to the client with INVALID_CONFIG.
pub fn validate(overrides: &Props, defaults: &Props) -> Result<(), ConfigError> {
    if let Some(unknown) = TOPIC.unknown(overrides).first() {
        return Err(ConfigError::Unfit(format!("Unknown topic config name: {unknown}")));
    }
    let mut props = defaults.clone();
    props.extend(overrides.clone());
    let values = TOPIC.parse(&props)?;
    validate_together(&values)?;
    if values.boolean("remote.log.delete.on.disable") || values.boolean("remote.log.copy.disable") {
        return Err(ConfigError::Unfit(
            "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's mode."
                .to_owned(),
        ));
    }
    if values.boolean("remote.storage.enable") {
        return Err(ConfigError::rule(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ));
    }
    Ok(())
}

/// Topic values that must fit each other. Kafka: `LogConfig.validateValues`.
pub(super) fn validate_together(values: &Values) -> Result<(), ConfigError> {
    let min = values.long("min.compaction.lag.ms");
    let max = values.long("max.compaction.lag.ms");
    if min > max {
        return Err(ConfigError::Unfit(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    Ok(())
}
