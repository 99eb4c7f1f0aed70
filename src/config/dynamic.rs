//! Owns the layers of the broker's configuration: `/config/brokers/<id>` overrides `/config/brokers/<default>`,
//! which overrides the properties file, which overrides the defaults. Kafka: `DynamicBrokerConfig`.
//! Absent on purpose: reading and writing znodes, and applying a change to the running parts
//! (`server::dynamic_config`); encrypted passwords, which are ignored with a reason.

use super::broker::BrokerConfig;
use super::def::{ConfigError, ConfigKey, OfListener, Props, Type, UpdateMode, Value};
use super::keys::{BROKER, LogKeys, QUOTA};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The znode of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// `/config/brokers/<default>`: every broker of the cluster.
    ClusterDefault,
    /// `/config/brokers/<id>`: this broker.
    Broker,
}

/// The result of a change of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Names whose text has changed, prefixed and unknown ones included.
    pub changed: BTreeSet<String>,
    /// Why entries of the znode were ignored, for the log.
    pub ignored: Vec<String>,
}

/// The layers, and their combined configuration.
#[derive(Clone, Debug)]
pub struct DynamicConfig {
    fixed: Props,
    cluster_default: Props,
    broker: Props,
    current: Arc<BrokerConfig>,
}

impl DynamicConfig {
    /// Starts with only the properties file.
    pub fn new(config: Arc<BrokerConfig>) -> Self {
        Self { fixed: config.props.clone(), cluster_default: Props::new(), broker: Props::new(), current: config }
    }

    /// Loads both znodes at start, where any change from the file's values is allowed. Returns why entries were
    /// ignored.
    pub fn load(&mut self, cluster_default: &Props, broker: &Props) -> Vec<String> {
        let mut ignored = Vec::new();
        self.cluster_default = valid_entries(Layer::ClusterDefault, cluster_default, &mut ignored);
        self.broker = valid_entries(Layer::Broker, broker, &mut ignored);
        // If a layer is invalid, the ones below it still apply.
        for props in [
            layered(&self.fixed, &self.cluster_default, &Props::new()),
            layered(&self.fixed, &self.cluster_default, &self.broker),
        ] {
            match BrokerConfig::new(&props) {
                Ok(config) => self.current = Arc::new(config),
                Err(e) => ignored.push(e.to_string()),
            }
        }
        ignored
    }

    pub fn current(&self) -> &Arc<BrokerConfig> {
        &self.current
    }

    /// The valid entries of a layer.
    pub fn layer(&self, layer: Layer) -> &Props {
        match layer {
            Layer::ClusterDefault => &self.cluster_default,
            Layer::Broker => &self.broker,
        }
    }

    /// The entries of the properties file.
    pub fn fixed(&self) -> &Props {
        &self.fixed
    }

    /// Applies the current znode of a layer. Invalid or misplaced entries are ignored, as in Kafka: they were written
    /// without a check by this broker. An error means that the layers contradict each other; then nothing changes,
    /// except that DescribeConfigs shows the layer's own entries.
    pub fn apply(&mut self, layer: Layer, stored: &Props) -> (Applied, Result<(), ConfigError>) {
        let mut ignored = Vec::new();
        let valid = valid_entries(layer, stored, &mut ignored);
        match layer {
            Layer::ClusterDefault => self.cluster_default = valid,
            Layer::Broker => self.broker = valid,
        }
        let props = layered(&self.fixed, &self.cluster_default, &self.broker);
        let mut changed = changed_names(&self.current.props, &props);
        let result = match self.reconfigured(&props, &changed) {
            Ok(config) => {
                self.current = Arc::new(config);
                Ok(())
            }
            Err(e) => {
                changed.clear();
                Err(e)
            }
        };
        (Applied { changed, ignored }, result)
    }

    /// Whether a layer may be set to `wanted`. Kafka: `DynamicBrokerConfig.validate`.
    pub fn validate(&self, layer: Layer, wanted: &Props) -> Result<(), ConfigError> {
        refuse_names("Cannot update these configs dynamically", "Set", wanted, |name| {
            BROKER.get(name).is_some_and(|key| key.update == UpdateMode::ReadOnly)
        })?;
        refuse_names(
            "These security configs can be dynamically updated only per-listener using the listener prefix",
            "HashSet",
            wanted,
            changes_only_at_a_listener,
        )?;
        for (name, text) in wanted {
            check_value(name, text)?;
        }
        let props = match layer {
            Layer::ClusterDefault => {
                refuse_names(
                    "Cannot update these configs at default cluster level, broker id must be specified",
                    "Set",
                    wanted,
                    belongs_to_one_broker,
                )?;
                layered(&self.fixed, wanted, &self.broker)
            }
            Layer::Broker => layered(&self.fixed, &self.cluster_default, wanted),
        };
        let changed = changed_names(&self.current.props, &props);
        self.reconfigured(&props, &changed).map(drop)
    }

    /// The configuration that `props` give, if the running broker may switch to it.
    fn reconfigured(&self, props: &Props, changed: &BTreeSet<String>) -> Result<BrokerConfig, ConfigError> {
        let config = BrokerConfig::new(props)?;
        self.check_step(&config, changed).map_err(|reason| {
            // Kafka passes the cause to a constructor that expects a value; clients know the text in this order.
            ConfigError::rule(format!(
                "Invalid value org.apache.kafka.common.config.ConfigException: {reason} for configuration Invalid dynamic \
                 configuration"
            ))
        })?;
        Ok(config)
    }

    /// Rules for a change at run time that do not apply at start. Kafka: the `validateReconfiguration` methods.
    fn check_step(&self, new: &BrokerConfig, changed: &BTreeSet<String>) -> Result<(), String> {
        for key in BROKER.iter().filter(|key| key.is_thread_count && changed.contains(key.name)) {
            let (Some(Value::Int(from)), Some(&Value::Int(to))) =
                (self.current.values.get(key.name), new.values.get(key.name))
            else {
                continue;
            };
            let key = key.name;
            let error = format!("Dynamic thread count update validation failed for {key}={to}");
            if to < from / 2 {
                return Err(format!("{error}, value should be at least half the current value {from}"));
            }
            if to > from.saturating_mul(2) {
                return Err(format!("{error}, value should not be greater than double the current value {from}"));
            }
        }
        let (from, to) = (self.current.log_cleaner_threads, new.log_cleaner_threads);
        if to < 1 {
            return Err("Log cleaner threads should be at least 1".to_owned());
        }
        if to < from / 2 {
            return Err(format!("Log cleaner threads cannot be reduced to less than half the current value {from}"));
        }
        if to > from.saturating_mul(2) {
            return Err(format!(
                "Log cleaner threads cannot be increased to more than double the current value {from}"
            ));
        }
        let logs = LogKeys::read(|key| new.values.of(key)).map_err(|e| e.to_string())?;
        for (local_key, local, key, whole) in [
            ("log.local.retention.ms", logs.log_local_retention_ms, "log.retention.ms", logs.retention_ms()),
            (
                "log.local.retention.bytes",
                logs.log_local_retention_bytes,
                "log.retention.bytes",
                logs.log_retention_bytes,
            ),
        ] {
            if whole <= -1 || local == -2 || !(changed.contains(local_key) || changed.contains(key)) {
                continue;
            }
            let refuse = |reason: String| Err(ConfigError::value(local_key, local, reason).to_string());
            if local == -1 {
                return refuse(format!("Value must not be -1 as {key} value is set as {whole}."));
            }
            if local > whole {
                return refuse(format!("Value must not be more than {key} property value: {whole}"));
            }
        }
        // Kafka: `ConnectionQuotas.ListenerConnectionQuota`. At start 0 is valid.
        for listener in new.listeners.iter().map(|endpoint| &endpoint.listener) {
            let at_listener = new.at_listener(listener).map_err(|e| e.to_string())?;
            for (key, value) in [
                ("max.connections", at_listener.max_connections),
                ("max.connection.creation.rate", at_listener.max_connection_creation_rate),
            ] {
                let own = format!("{}{key}", listener.config_prefix());
                if value <= 0 && (changed.contains(key) || changed.contains(&own)) {
                    return Err(format!("Invalid {key} {value}"));
                }
            }
        }
        if changed.contains("metric.reporters") && !new.metric_reporters.is_empty() {
            return Err("Validation of dynamic config update of Set(metric.reporters) failed with class class \
                        kafka.server.DynamicMetricsReporters"
                .to_owned());
        }
        for endpoint in &new.listeners {
            let before = self.current.listeners.iter().find(|e| e.listener == endpoint.listener);
            if before.is_some_and(|e| e.protocol != endpoint.protocol) {
                return Err(format!(
                    "Security protocol cannot be updated for existing listener ListenerName({})",
                    endpoint.listener
                ));
            }
        }
        Ok(())
    }
}

/// The names under which a value of `name` may be set, highest precedence first. With `listener_too`, the key without
/// its listener prefix follows. Kafka: `DynamicBrokerConfig.brokerConfigSynonyms`.
pub(super) fn synonyms(name: &str, listener_too: bool) -> Vec<&str> {
    match name {
        "log.roll.ms" | "log.roll.hours" => vec!["log.roll.ms", "log.roll.hours"],
        "log.roll.jitter.ms" | "log.roll.jitter.hours" => vec!["log.roll.jitter.ms", "log.roll.jitter.hours"],
        "log.flush.interval.ms" => vec!["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
        "log.retention.ms" | "log.retention.minutes" | "log.retention.hours" => {
            vec!["log.retention.ms", "log.retention.minutes", "log.retention.hours"]
        }
        _ => match without_listener(name).filter(|_| listener_too) {
            Some(base) => {
                let of_mechanism =
                    BROKER.iter().find(|key| key.listener == OfListener::WithMechanism && base.ends_with(key.name));
                vec![name, of_mechanism.map_or(base, |key| key.name)]
            }
            None => vec![name],
        },
    }
}

/// `key` of `listener.name.<listener>.<key>`.
fn without_listener(name: &str) -> Option<&str> {
    name.strip_prefix("listener.name.")?.split_once('.').map(|(_, key)| key)
}

/// The row that gives `name` its type: its own, or the one of the key without its listener prefix.
pub(super) fn key_of(name: &str) -> Option<&'static ConfigKey> {
    BROKER
        .get(name)
        .or_else(|| QUOTA.get(name))
        .or_else(|| synonyms(name, true).into_iter().find_map(|synonym| BROKER.get(synonym)))
}

/// Whether the value must be encrypted in ZooKeeper. Kafka: `DynamicBrokerConfig.isPasswordConfig`.
pub(super) fn is_stored_encrypted(name: &str) -> bool {
    BROKER
        .iter()
        .filter(|key| key.kind == Type::Password && key.update != UpdateMode::ReadOnly)
        .any(|key| name.ends_with(key.name))
}

fn changes_only_at_a_listener(name: &str) -> bool {
    BROKER.get(name).is_some_and(|key| key.listener == OfListener::Only)
}

fn belongs_to_one_broker(name: &str) -> bool {
    match without_listener(name) {
        Some(base) => BROKER.get(base).is_none_or(|key| key.listener != OfListener::ClusterWide),
        None => BROKER.get(name).is_some_and(|key| key.update == UpdateMode::PerBroker),
    }
}

/// Checks one entry's own value. Names that no table has are not checked.
fn check_value(name: &str, text: &str) -> Result<(), ConfigError> {
    let name = without_listener(name).unwrap_or(name);
    let key = BROKER.get(name).filter(|key| key.update != UpdateMode::ReadOnly).or_else(|| QUOTA.get(name));
    key.map_or(Ok(()), |key| key.parse(text).map(drop))
}

fn refuse_names(problem: &str, set: &str, props: &Props, refused: impl Fn(&str) -> bool) -> Result<(), ConfigError> {
    let names: Vec<&str> = props.keys().map(String::as_str).filter(|name| refused(name)).collect();
    if names.is_empty() { Ok(()) } else { Err(ConfigError::rule(format!("{problem}: {set}({})", names.join(", ")))) }
}

/// Kafka: `DynamicBrokerConfig.fromPersistentProps`.
pub(super) fn valid_entries(layer: Layer, stored: &Props, ignored: &mut Vec<String>) -> Props {
    let mut valid = Props::new();
    for (name, text) in stored {
        let refusal = if let Err(e) = check_value(name, text) {
            Some(e.to_string())
        } else if BROKER.get(name).is_some_and(|key| key.update == UpdateMode::ReadOnly) {
            Some(format!("{name} cannot change while the broker runs"))
        } else if changes_only_at_a_listener(name) {
            Some(format!("{name} can change only with a listener prefix"))
        } else if layer == Layer::ClusterDefault && belongs_to_one_broker(name) {
            Some(format!("{name} can be set only for one broker"))
        } else if is_stored_encrypted(name) {
            Some(format!("{name} is encrypted, and this version cannot decrypt it"))
        } else {
            None
        };
        match refusal {
            Some(reason) => ignored.push(reason),
            None => {
                valid.insert(name.clone(), text.clone());
            }
        }
    }
    valid
}

/// One layer over the other. A name removes its synonyms of lower layers, so that `log.retention.ms` in a znode
/// overrides `log.retention.hours` in the file and the reverse. Kafka: `DynamicBrokerConfig.overrideProps`.
fn layered(fixed: &Props, cluster_default: &Props, broker: &Props) -> Props {
    let mut props = fixed.clone();
    for (name, text) in cluster_default.iter().chain(broker) {
        for synonym in synonyms(name, false) {
            props.remove(synonym);
        }
        props.insert(name.clone(), text.clone());
    }
    props
}

fn changed_names(old: &Props, new: &Props) -> BTreeSet<String> {
    old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::props;

    fn started(file: &[(&str, &str)]) -> DynamicConfig {
        let mut file = props(file);
        file.insert("zookeeper.connect".to_owned(), "zk:2181".to_owned());
        DynamicConfig::new(Arc::new(BrokerConfig::new(&file).unwrap()))
    }

    #[test]
    fn no_connections_at_all_are_allowed_by_a_start_only() {
        let config = started(&[("max.connections", "0")]);
        for key in ["max.connections", "max.connection.creation.rate", "listener.name.plaintext.max.connections"] {
            let refused = config.validate(Layer::Broker, &props(&[(key, "0")]));
            // A limit of 0 that was 0 before is no change.
            assert_eq!(refused.is_err(), key != "max.connections", "{key}");
            assert!(started(&[]).validate(Layer::Broker, &props(&[(key, "0")])).is_err(), "{key}");
            assert!(config.validate(Layer::Broker, &props(&[(key, "1")])).is_ok(), "{key}");
        }
    }

    #[test]
    fn a_broker_wins_over_the_cluster_and_both_over_the_file() {
        let mut config = started(&[("log.retention.hours", "1")]);
        assert_eq!(config.current().log.retention_ms, 3_600_000);
        let (applied, _) = config.apply(Layer::ClusterDefault, &props(&[("log.retention.ms", "20")]));
        assert_eq!(applied.changed, ["log.retention.hours", "log.retention.ms"].map(str::to_owned).into());
        assert_eq!(config.current().log.retention_ms, 20);
        config.apply(Layer::Broker, &props(&[("log.retention.ms", "10")])).1.unwrap();
        assert_eq!(config.current().log.retention_ms, 10);
        config.apply(Layer::Broker, &Props::new()).1.unwrap();
        config.apply(Layer::ClusterDefault, &Props::new()).1.unwrap();
        assert_eq!(config.current().log.retention_ms, 3_600_000);
    }

    #[test]
    fn wrong_entries_of_a_znode_are_passed_over_with_a_reason() {
        let mut config = started(&[]);
        let (applied, result) = config.apply(
            Layer::ClusterDefault,
            &props(&[
                ("log.retention.ms", "x"),
                ("num.partitions", "5"),
                ("ssl.keystore.location", "/k"),
                ("listener.name.a.ssl.keystore.location", "/k"),
                ("message.max.bytes", "77"),
            ]),
        );
        assert_eq!(result, Ok(()));
        assert_eq!(applied.ignored.len(), 4, "{:?}", applied.ignored);
        assert_eq!(applied.changed, ["message.max.bytes".to_owned()].into());
        assert_eq!(config.current().message_max_bytes, 77);
    }

    #[test]
    fn layers_that_do_not_fit_leave_the_running_configuration() {
        let mut config = started(&[]);
        let (applied, result) =
            config.apply(Layer::Broker, &props(&[("log.retention.ms", "0"), ("message.max.bytes", "77")]));
        assert!(result.is_err());
        assert!(applied.changed.is_empty());
        assert_eq!(config.current().message_max_bytes, 1_048_588);
    }

    #[test]
    fn at_start_any_step_is_allowed_and_later_at_most_a_doubling() {
        let mut config = started(&[("num.io.threads", "2")]);
        assert!(config.load(&Props::new(), &props(&[("num.io.threads", "64")])).is_empty());
        assert_eq!(config.current().num_io_threads, 64);
        assert!(config.apply(Layer::Broker, &props(&[("num.io.threads", "129")])).1.is_err());
        assert!(config.apply(Layer::Broker, &props(&[("num.io.threads", "128")])).1.is_ok());
    }

    #[test]
    fn a_passwords_znode_form_is_passed_over() {
        let mut config = started(&[]);
        let ignored = config.load(&Props::new(), &props(&[("listener.name.a.ssl.keystore.password", "encrypted")]));
        assert_eq!(ignored.len(), 1);
        assert!(!ignored[0].contains("=encrypted"));
    }
}
