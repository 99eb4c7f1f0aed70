//! Owns the settings of a topic's logs: [`LogConfig`], every topic key resolved over the broker's defaults, and the
//! rules for what an operator may set on a topic. Kafka: `LogConfig`, `ServerTopicConfigSynonyms`.
//! Absent on purpose: tiered storage, which is refused.

use super::def::{ConfigError, FromValue, Props, Value, Values};
pub use super::keys::LogConfig;
use super::keys::{LogForms, LogKeys, TOPIC, TopicForms};
use crate::common::ids::Millis;
use std::collections::BTreeSet;

/// The compression of a topic's batches on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokerCompression {
    /// As the producer sent them.
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

/// The replicas of a topic to which a replication quota applies.
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

impl FromValue for ThrottledReplicas {
    fn from_value(value: Value) -> Option<Self> {
        Vec::from_value(value).map(|entries| Self::parse(&entries))
    }
}

impl FromValue for TimestampType {
    fn from_value(value: Value) -> Option<Self> {
        Some(if String::from_value(value)? == "LogAppendTime" { Self::LogAppendTime } else { Self::CreateTime })
    }
}

impl Default for LogConfig {
    /// The topic keys' own defaults, without a broker's.
    fn default() -> Self {
        Self::resolve(&Props::new(), &Props::new()).expect("a test parses every default of the table")
    }
}

impl LogConfig {
    /// Resolves a topic's own `overrides` over the broker's `defaults` (see `broker_defaults`). Unknown names among
    /// the overrides are ignored, as Kafka does with znodes that a newer version wrote.
    pub fn resolve(defaults: &Props, overrides: &Props) -> Result<Self, ConfigError> {
        let mut props = defaults.clone();
        props.extend(overrides.clone());
        let values = TOPIC.parse(&props)?;
        Self::of(&values, &TopicForms::read(|key| values.of(key))?, overrides.clone())
    }

    fn of(values: &Values, forms: &TopicForms, overridden: Props) -> Result<Self, ConfigError> {
        let has_policy = |policy: &str| forms.cleanup_policy.iter().any(|p| p.to_lowercase() == policy);
        // A bound that was left unlimited follows the older key, which has one bound for both directions.
        let bound = |own| if own == i64::MAX { forms.message_timestamp_difference_max_ms } else { own };
        let more = LogForms {
            compact: has_policy("compact"),
            delete: has_policy("delete"),
            compression: match forms.compression_type.as_str() {
                "uncompressed" => BrokerCompression::Uncompressed,
                "gzip" => BrokerCompression::Gzip(forms.compression_gzip_level),
                "snappy" => BrokerCompression::Snappy,
                "lz4" => BrokerCompression::Lz4(forms.compression_lz4_level),
                "zstd" => BrokerCompression::Zstd(forms.compression_zstd_level),
                _ => BrokerCompression::Producer,
            },
            message_timestamp_before_max_ms: bound(forms.message_timestamp_before_max_ms),
            message_timestamp_after_max_ms: bound(forms.message_timestamp_after_max_ms),
            overridden,
        };
        Self::read(|key| values.of(key), more)
    }

    /// Age at which a segment is closed: a compacted topic must reach its oldest dirty record in time.
    pub fn max_segment_ms(&self) -> Millis {
        if self.compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }

    /// The preallocated size of a new segment's `.log`, 0 for none.
    pub fn initial_file_size(&self) -> i32 {
        if self.preallocate { self.segment_bytes } else { 0 }
    }
}

const HOUR_MS: Millis = 60 * 60 * 1000;

impl LogKeys {
    /// Any negative retention is unlimited: -1.
    pub(super) fn retention_ms(&self) -> Millis {
        let minutes = self.log_retention_minutes.map(|minutes| Millis::from(minutes) * 60 * 1000);
        let hours = Millis::from(self.log_retention_hours) * HOUR_MS;
        self.log_retention_ms.or(minutes).unwrap_or(hours).max(-1)
    }

    pub(super) fn roll_ms(&self) -> Millis {
        self.log_roll_ms.unwrap_or_else(|| Millis::from(self.log_roll_hours) * HOUR_MS)
    }

    pub(super) fn roll_jitter_ms(&self) -> Millis {
        self.log_roll_jitter_ms.unwrap_or_else(|| Millis::from(self.log_roll_jitter_hours) * HOUR_MS)
    }
}

/// The topic keys as this broker's own keys set them: for each the first of its synonyms that is set, in ms where the
/// synonym is in hours or minutes. Kafka: `KafkaConfig.extractLogConfigMap`.
pub(super) fn broker_defaults(broker: &Values, logs: &LogKeys) -> Props {
    let mut defaults = Props::new();
    for key in TOPIC.iter() {
        let set = key.broker_synonyms.iter().find_map(|synonym| {
            let value = broker.get(synonym).filter(|v| **v != Value::Null)?;
            Some(in_millis(synonym, value).map_or_else(|| value.to_string(), |ms| ms.to_string()))
        });
        defaults.extend(set.map(|text| (key.name.to_owned(), text)));
    }
    defaults.insert("retention.ms".to_owned(), logs.retention_ms().to_string());
    // This broker's inter.broker.protocol.version fixes the message format.
    defaults.remove("message.format.version");
    // The broker's own two timestamp bounds already follow its older key.
    for (bound, own) in [
        ("message.timestamp.before.max.ms", logs.log_message_timestamp_before_max_ms),
        ("message.timestamp.after.max.ms", logs.log_message_timestamp_after_max_ms),
    ] {
        if own == i64::MAX {
            defaults.insert(bound.to_owned(), logs.log_message_timestamp_difference_max_ms.to_string());
        }
    }
    defaults
}

/// Whether a topic's own setting allows unclean elections, `None` where it has none.
pub fn allows_unclean_election(overrides: &Props) -> Option<bool> {
    overrides.get("unclean.leader.election.enable").map(|value| value.eq_ignore_ascii_case("true"))
}

/// `value` in ms if `synonym` is in hours or minutes. The unit is the last word of the name.
fn in_millis(synonym: &str, value: &Value) -> Option<i64> {
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

/// Checks the configs of a topic to create or to alter, over the broker's `defaults`. Kafka: `LogConfig.validate`; the
/// texts go to the client with INVALID_CONFIG.
pub fn validate(overrides: &Props, defaults: &Props) -> Result<(), ConfigError> {
    if let Some(unknown) = TOPIC.unknown(overrides).first() {
        return Err(ConfigError::Unfit(format!("Unknown topic config name: {unknown}")));
    }
    let mut props = defaults.clone();
    props.extend(overrides.clone());
    let values = TOPIC.parse(&props)?;
    let forms = TopicForms::read(|key| values.of(key))?;
    validate_together(&LogConfig::of(&values, &forms, Props::new())?)?;
    if forms.remote_log_delete_on_disable || forms.remote_log_copy_disable {
        return Err(ConfigError::Unfit(
            "It is invalid to set `remote.log.delete.on.disable` or `remote.log.copy.disable` under Zookeeper's mode."
                .to_owned(),
        ));
    }
    if forms.remote_storage_enable {
        return Err(ConfigError::rule(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ));
    }
    Ok(())
}

/// Rules between topic values. Kafka: `LogConfig.validateValues`.
fn validate_together(config: &LogConfig) -> Result<(), ConfigError> {
    let (min, max) = (config.min_compaction_lag_ms, config.max_compaction_lag_ms);
    if min > max {
        return Err(ConfigError::Unfit(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )));
    }
    Ok(())
}
