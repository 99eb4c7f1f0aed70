//! Owns the rules between the broker's keys: their fields ([`BrokerConfig`] is declared by the table) checked against
//! each other, with the forms and synonyms that Kafka accepts. Kafka: `KafkaConfig`. Absent on purpose: reading files,
//! applying changes, the typed view of TLS and SASL keys.

use super::coordinator::{GroupConfig, InternalTopic, TransactionConfig};
use super::def::{ConfigError, Effect, Props, Value, Values, is_production_metadata_version, require, valid_host};
use super::endpoint::{Endpoint, ListenerName, ProtocolMap, SecurityProtocol};
use super::endpoint::{csv_list, csv_map, endpoints, protocol_map, security_protocol};
pub use super::keys::BrokerConfig;
use super::keys::{
    BROKER, Composed, CoordinatorForms, Forms, GroupProtocolKeys, ListenerConfig, LogKeys, OWN, OwnKeys, QUOTA,
    ReplicationRates,
};
use super::topic::{self, LogConfig};
use crate::common::{BrokerId, java};
use std::collections::BTreeMap;

/// Keys that no table has but an authorizer reads, so that there is no warning about them.
const OF_THE_AUTHORIZER: &[&str] = &["super.users", "allow.everyone.if.no.acl.found"];

/// Not in Kafka's tables either: it is read before them.
const CONFIG_PROVIDERS: &str = "config.providers";

const REPLICA_SELECTORS: &[&str] = &["", "org.apache.kafka.common.replica.RackAwareReplicaSelector"];

impl BrokerConfig {
    /// Reads and checks the properties of a broker. The error is the first problem, with the key and the reason.
    pub fn new(props: &Props) -> Result<Self, ConfigError> {
        let mut props = props.clone();
        // node.id and broker.id are one number under two names.
        if let Some(id) = props.get("node.id").cloned().filter(|_| !props.contains_key("broker.id")) {
            props.insert("broker.id".to_owned(), id);
        } else if let Some(id) = props.get("broker.id").cloned().filter(|_| !props.contains_key("node.id")) {
            props.insert("node.id".to_owned(), id);
        }
        if let Some(providers) = props.get(CONFIG_PROVIDERS).map(|v| java::trim(v)).filter(|v| !v.is_empty()) {
            // Without them, a `${file:…}` would be used as the value itself.
            return Err(ConfigError::value(
                CONFIG_PROVIDERS,
                providers,
                "values from config providers are not supported",
            ));
        }
        let values = BROKER.parse(&props)?;
        let forms = Forms::read(|key| values.of(key))?;
        let logs = LogKeys::read(|key| values.of(key))?;
        let config = Self::from_values(props, values, &forms, &logs)?;
        config.validate(&forms)?;
        Ok(config)
    }

    /// Names that Kafka would warn about: nothing here reads them.
    pub fn unknown_keys(&self) -> Vec<&str> {
        BROKER
            .unknown(&self.props)
            .into_iter()
            .filter(|name| !OF_THE_AUTHORIZER.contains(name) && !name.starts_with("listener.name."))
            .filter(|name| OWN.get(name).is_none())
            .collect()
    }

    /// Settings that are accepted and change nothing, each with the reason, for the log at start. A default value needs
    /// no warning.
    pub fn warnings(&self) -> Vec<String> {
        let without_effect = BROKER.iter().filter_map(|key| match key.effect {
            Effect::Without(why) if self.values.get(key.name).is_some_and(|value| *value != key.default_value()) => {
                Some(format!("{} has no effect: {why}", key.name))
            }
            _ => None,
        });
        without_effect.collect()
    }

    /// The listener that other brokers of the cluster use. It is one of the advertised ones: that is checked at start.
    pub fn inter_broker_endpoint(&self) -> Option<&Endpoint> {
        self.advertised_listeners.iter().find(|e| e.listener == self.inter_broker_listener_name)
    }

    /// The value of `key` for one listener: `listener.name.<name>.<key>` where it is set, else the key's own.
    pub fn for_listener(&self, listener: &ListenerName, key: &str) -> Result<Value, ConfigError> {
        let row = BROKER.get(key).ok_or_else(|| ConfigError::rule(format!("Unknown configuration '{key}'")))?;
        match self.props.get(&format!("{}{key}", listener.config_prefix())) {
            Some(text) => row.parse(text),
            None => Ok(self.values.get(key).cloned().unwrap_or(Value::Null)),
        }
    }

    /// The keys that may be set for one listener.
    pub fn at_listener(&self, listener: &ListenerName) -> Result<ListenerConfig, ConfigError> {
        ListenerConfig::read(|key| self.for_listener(listener, key))
    }

    fn from_values(props: Props, values: Values, forms: &Forms, logs: &LogKeys) -> Result<Self, ConfigError> {
        let protocols = protocol_map("listener.security.protocol.map", &forms.listener_security_protocol_map)?;
        let listeners = endpoints(&forms.listeners, &protocols, true)?;
        let advertised_listeners = match &forms.advertised_listeners {
            Some(text) => endpoints(text, &protocols, false)?,
            None => listeners.clone(),
        };
        let (inter_broker_listener_name, inter_broker_security_protocol) =
            inter_broker_listener(&props, forms, &protocols)?;
        let control_plane_listener_name = match &forms.control_plane_listener_name {
            None => None,
            Some(name) => {
                let name = ListenerName::new(name)?;
                if !protocols.contains_key(&name) {
                    return Err(ConfigError::rule(format!(
                        "Listener with {name} defined in control.plane.listener.name not found in \
                         listener.security.protocol.map."
                    )));
                }
                Some(name)
            }
        };
        let log_dirs = csv_list(forms.log_dirs.as_ref().unwrap_or(&forms.log_dir));
        let log_dirs: Vec<String> = log_dirs.iter().map(|dir| absolute_path(dir)).collect();
        let own = OWN.parse(&props)?;
        let own = OwnKeys::read(|key| own.of(key))?;
        check_log_times(logs)?;
        let log_defaults = topic::broker_defaults(&values, logs);
        let coordinators = CoordinatorForms::read(|key| values.of(key))?;
        let of_broker = ListenerConfig::read(|key| values.of(key))?;
        Self::read(
            |key| values.of(key),
            Composed {
                broker_id: Some(forms.broker_id).filter(|id| *id != -1).map(BrokerId),
                listeners,
                advertised_listeners,
                listener_security_protocol_map: protocols,
                inter_broker_listener_name,
                inter_broker_security_protocol,
                control_plane_listener_name,
                num_replica_alter_log_dirs_threads: forms
                    .num_replica_alter_log_dirs_threads
                    .unwrap_or_else(|| i32::try_from(log_dirs.len()).unwrap_or(i32::MAX)),
                log_dirs,
                disk_reserve_bytes: own.disk_reserve_bytes,
                zookeeper_connect: forms.zookeeper_connect.clone().ok_or_else(|| {
                    ConfigError::rule("Missing required configuration `zookeeper.connect` which has no default value.")
                })?,
                zookeeper_connection_timeout_ms: forms
                    .zookeeper_connection_timeout_ms
                    .unwrap_or(forms.zookeeper_session_timeout_ms),
                zookeeper_session_timeout_ms: forms.zookeeper_session_timeout_ms,
                max_connections_per_ip_overrides: per_ip_overrides(&forms.max_connections_per_ip_overrides)?,
                max_connections: of_broker.max_connections,
                num_network_threads: of_broker.num_network_threads,
                group: GroupConfig::new(&values, &coordinators)?,
                transaction: TransactionConfig::read(|key| values.of(key))?,
                offsets_topic: InternalTopic::offsets(&coordinators),
                transactions_topic: InternalTopic::transactions(&coordinators),
                replication_rates: replication_rates(&props)?,
                log: LogConfig::resolve(&log_defaults, &Props::new())?,
                log_defaults,
                values: values.clone(),
                props,
            },
        )
    }

    /// Rules between keys. Kafka: `KafkaConfig.validateValues`.
    fn validate(&self, forms: &Forms) -> Result<(), ConfigError> {
        if let Some(names) = forms.controller_listener_names.as_ref().filter(|names| !names.is_empty()) {
            return Err(ConfigError::rule(format!(
                "requirement failed: controller.listener.names must be empty when not running in KRaft mode: [{names}]"
            )));
        }
        if !is_production_metadata_version(&forms.inter_broker_protocol_version) {
            return Err(ConfigError::value(
                "inter.broker.protocol.version",
                &forms.inter_broker_protocol_version,
                "only 3.9 is supported between brokers",
            ));
        }
        if let Some(class) = self.replica_selector_class.as_deref().filter(|class| !REPLICA_SELECTORS.contains(class)) {
            return Err(ConfigError::value(
                "replica.selector.class",
                class,
                format!("Class {class} could not be found."),
            ));
        }
        self.validate_id(forms)?;
        require(!self.log_dirs.is_empty(), || {
            "At least one log directory must be defined via log.dirs or log.dir.".to_owned()
        })?;
        if self.log_cleaner_threads == 0 {
            return Err(ConfigError::value("log.cleaner.threads", 0, "Value must be at least 1"));
        }
        require(self.log_cleaner_dedupe_buffer_size / i64::from(self.log_cleaner_threads) > 1024 * 1024, || {
            "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.".to_owned()
        })?;
        require(self.replica_fetch_wait_max_ms <= self.replica_socket_timeout_ms, || {
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket \
             timeouts"
                .to_owned()
        })?;
        require(i64::from(self.replica_fetch_wait_max_ms) <= self.replica_lag_time_max_ms, || {
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent \
             changes in ISR"
                .to_owned()
        })?;
        self.validate_listeners(forms)?;
        self.validate_groups()?;
        require(
            self.queued_max_request_bytes <= 0
                || self.queued_max_request_bytes >= i64::from(self.socket_request_max_bytes),
            || "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".to_owned(),
        )?;
        if self.max_connections_per_ip == 0 {
            require(!self.max_connections_per_ip_overrides.is_empty(), || {
                "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."
                    .to_owned()
            })?;
        }
        if self.connections_max_idle_ms >= 0 {
            let delay = self.connection_failed_authentication_delay_ms;
            require(i64::from(delay) < self.connections_max_idle_ms, || {
                format!(
                    "connection.failed.authentication.delay.ms={delay} should always be less than \
                     connections.max.idle.ms={} to prevent failed authentication responses from timing out",
                    self.connections_max_idle_ms
                )
            })?;
        }
        Ok(())
    }

    fn validate_id(&self, forms: &Forms) -> Result<(), ConfigError> {
        let id = forms.broker_id;
        if forms.node_id != id {
            return Err(ConfigError::rule("You must set `node.id` to the same value as `broker.id`."));
        }
        if self.broker_id_generation_enable {
            require((-1..=self.reserved_broker_max_id).contains(&id), || {
                "broker.id must be greater than or equal to -1 and not greater than reserved.broker.max.id".to_owned()
            })
        } else {
            require(id >= 0, || "broker.id must be greater than or equal to 0".to_owned())
        }
    }

    /// Kafka: `GroupCoordinatorConfig`, `ShareGroupConfig`. Most of these keys have an effect only without ZooKeeper,
    /// but a file that Kafka refuses is refused here too.
    fn validate_groups(&self) -> Result<(), ConfigError> {
        let keys = GroupProtocolKeys::read(|key| self.values.of(key))?;
        let protocols: Vec<String> =
            keys.group_coordinator_rebalance_protocols.iter().map(|p| p.to_lowercase()).collect();
        if !protocols.iter().any(|p| p == "classic") {
            return Err(ConfigError::rule("Disabling the 'classic' protocol is not supported."));
        }
        if protocols.iter().any(|p| p == "consumer") {
            return Err(ConfigError::rule("The new 'consumer' rebalance protocol is only supported in KRaft cluster."));
        }
        let acks = self.group.commit_required_acks;
        if acks < -1 || acks > self.offsets_topic.replication_factor {
            return Err(ConfigError::rule(
                "offsets.commit.required.acks must be greater or equal to -1 and less or equal to \
                 offsets.topic.replication.factor",
            ));
        }
        for (group, what, min, middle, max) in [
            (
                "group.consumer",
                "heartbeat.interval.ms",
                keys.group_consumer_min_heartbeat_interval_ms,
                keys.group_consumer_heartbeat_interval_ms,
                keys.group_consumer_max_heartbeat_interval_ms,
            ),
            (
                "group.consumer",
                "session.timeout.ms",
                keys.group_consumer_min_session_timeout_ms,
                keys.group_consumer_session_timeout_ms,
                keys.group_consumer_max_session_timeout_ms,
            ),
            (
                "group.share",
                "heartbeat.interval.ms",
                keys.group_share_min_heartbeat_interval_ms,
                keys.group_share_heartbeat_interval_ms,
                keys.group_share_max_heartbeat_interval_ms,
            ),
            (
                "group.share",
                "session.timeout.ms",
                keys.group_share_min_session_timeout_ms,
                keys.group_share_session_timeout_ms,
                keys.group_share_max_session_timeout_ms,
            ),
            (
                "group.share",
                "record.lock.duration.ms",
                keys.group_share_min_record_lock_duration_ms,
                keys.group_share_record_lock_duration_ms,
                keys.group_share_max_record_lock_duration_ms,
            ),
        ] {
            if max < min {
                return Err(ConfigError::rule(format!(
                    "{group}.max.{what} must be greater than or equals to {group}.min.{what}"
                )));
            }
            if middle < min {
                return Err(ConfigError::rule(format!(
                    "{group}.{what} must be greater than or equals to {group}.min.{what}"
                )));
            }
            if middle > max {
                return Err(ConfigError::rule(format!(
                    "{group}.{what} must be less than or equals to {group}.max.{what}"
                )));
            }
        }
        Ok(())
    }

    fn validate_listeners(&self, forms: &Forms) -> Result<(), ConfigError> {
        let advertises = |name: &ListenerName| self.advertised_listeners.iter().any(|e| e.listener == *name);
        let advertised_names = names(&self.advertised_listeners);
        require(!self.advertised_listeners.is_empty(), || {
            "There must be at least one broker advertised listener.".to_owned()
        })?;
        require(advertises(&self.inter_broker_listener_name), || {
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options \
                 based on currently configured listeners are {advertised_names}"
            )
        })?;
        let all_bound =
            self.advertised_listeners.iter().all(|a| self.listeners.iter().any(|b| a.listener == b.listener));
        require(all_bound, || {
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found \
                 {advertised_names}. The valid options based on the current configuration are {}",
                names(&self.listeners)
            )
        })?;
        require(!self.advertised_listeners.iter().any(|e| e.host.as_deref() == Some("0.0.0.0")), || {
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
                .to_owned()
        })?;
        if let Some(control) = &self.control_plane_listener_name {
            require(advertises(control), || {
                format!(
                    "control.plane.listener.name must be a listener name defined in advertised.listeners. The valid \
                     options based on currently configured listeners are {advertised_names}"
                )
            })?;
            require(*control != self.inter_broker_listener_name, || {
                format!(
                    "control.plane.listener.name, when defined, should have a different value from the inter broker \
                     listener name. Currently they both have the value ListenerName({control})"
                )
            })?;
        }
        for name in csv_list(forms.early_start_listeners.as_deref().unwrap_or_default()) {
            if !self.listeners.iter().any(|e| e.listener.as_str() == name) {
                return Err(ConfigError::rule(format!(
                    "early.start.listeners contains listener {name}, but this is not contained in listeners or \
                     controller.listener.names"
                )));
            }
        }
        if self.inter_broker_security_protocol.uses_sasl() {
            let mechanisms = self.at_listener(&self.inter_broker_listener_name)?.sasl_enabled_mechanisms;
            require(mechanisms.contains(&forms.sasl_mechanism_inter_broker_protocol), || {
                "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for \
                 inter-broker communication"
                    .to_owned()
            })?;
        }
        Ok(())
    }
}

/// Separate from the topic keys' own checks, so that the error names the key in the broker's file.
fn check_log_times(logs: &LogKeys) -> Result<(), ConfigError> {
    require(logs.roll_ms() >= 1, || "log.roll.ms must be greater than or equal to 1".to_owned())?;
    require(logs.roll_jitter_ms() >= 0, || "log.roll.jitter.ms must be greater than or equal to 0".to_owned())?;
    require(logs.retention_ms() != 0, || {
        "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned()
    })
}

/// The file's values are not checked, since Kafka reads these keys only from ZooKeeper, where they are checked.
fn replication_rates(props: &Props) -> Result<ReplicationRates, ConfigError> {
    ReplicationRates::read(|name| {
        let Some(key) = QUOTA.get(name) else { return Ok(Value::Null) };
        let set = props.get(name).and_then(|text| key.parse(text).ok());
        Ok(set.unwrap_or_else(|| key.default_value()))
    })
}

fn names(endpoints: &[Endpoint]) -> String {
    endpoints.iter().map(|e| e.listener.as_str()).collect::<Vec<_>>().join(",")
}

fn inter_broker_listener(
    props: &Props,
    forms: &Forms,
    protocols: &ProtocolMap,
) -> Result<(ListenerName, SecurityProtocol), ConfigError> {
    let Some(name) = &forms.inter_broker_listener_name else {
        let protocol = security_protocol("security.inter.broker.protocol", &forms.security_inter_broker_protocol)?;
        return Ok((ListenerName::new(protocol.name())?, protocol));
    };
    if props.contains_key("security.inter.broker.protocol") {
        return Err(ConfigError::rule(
            "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.",
        ));
    }
    let name = ListenerName::new(name)?;
    let protocol = *protocols.get(&name).ok_or_else(|| {
        ConfigError::rule(format!(
            "Listener with name {name} defined in inter.broker.listener.name not found in listener.security.protocol.map."
        ))
    })?;
    Ok((name, protocol))
}

fn per_ip_overrides(text: &str) -> Result<BTreeMap<String, i32>, ConfigError> {
    const KEY: &str = "max.connections.per.ip.overrides";
    let mut overrides = BTreeMap::new();
    for (host, count) in csv_map(KEY, text)? {
        let count =
            count.parse().map_err(|_| ConfigError::value(KEY, text, format!("Not a number of type INT: {count}")))?;
        overrides.insert(host, count);
    }
    let invalid: Vec<&str> = overrides.keys().map(String::as_str).filter(|h| !valid_host(h)).collect();
    if !invalid.is_empty() {
        return Err(ConfigError::rule(format!("{KEY} contains invalid addresses : {}", invalid.join(","))));
    }
    Ok(overrides)
}

/// The result of `java.io.File.getAbsolutePath`: one slash where there are several, none at the end, and below the
/// working directory where it is relative. Neither dots nor links are followed. DescribeLogDirs shows this path, and
/// tools compare it.
fn absolute_path(path: &str) -> String {
    let mut absolute = String::new();
    if !path.starts_with('/') {
        absolute = std::env::current_dir().map(|dir| dir.display().to_string()).unwrap_or_default();
    }
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if !absolute.ends_with('/') {
            absolute.push('/');
        }
        absolute.push_str(part);
    }
    if absolute.is_empty() { "/".to_owned() } else { absolute }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::common::Millis;

    const HOUR_MS: Millis = 60 * 60 * 1000;

    fn props(lines: &str) -> Props {
        let mut props = crate::config::parse::properties(lines.as_bytes()).unwrap();
        props.entry("zookeeper.connect".to_owned()).or_insert_with(|| "localhost:2181".to_owned());
        props
    }

    fn config(lines: &str) -> BrokerConfig {
        BrokerConfig::new(&props(lines)).unwrap()
    }

    fn refusal(lines: &str) -> String {
        BrokerConfig::new(&props(lines)).unwrap_err().to_string()
    }

    /// Written by Apache 3.9.1's `KafkaConfig`: `[properties, view]` or `[properties, "error"]`; `;` ends a line.
    const GOLDEN: &str = include_str!("testdata/broker-config-apache-3.9.1.jsonl");

    /// Where Kafka shows an internal Java exception, our text names the mistake.
    const OWN_WORDS: &[(&str, &str)] = &[
        ("log.cleaner.threads=0", "Invalid value 0 for configuration log.cleaner.threads: Value must be at least 1"),
        (
            "max.connections.per.ip.overrides=h:x",
            "Invalid value h:x for configuration max.connections.per.ip.overrides: Not a number of type INT: x",
        ),
        (
            "controller.quorum.bootstrap.servers=h:99999999999",
            "Failed to parse host port from h:99999999999 for the configuration controller.quorum.bootstrap.servers. Each \
             entry should be in the form \"{host}:{port}\"",
        ),
    ];

    fn endpoints_as_the_golden_file_shows(endpoints: &[Endpoint]) -> String {
        let show = |e: &Endpoint| format!("{e}={}{}", e.protocol, if e.host.is_none() { "*" } else { "" });
        endpoints.iter().map(show).collect::<Vec<_>>().join(" ")
    }

    fn view_as_the_golden_file_shows(given: &Props, c: &BrokerConfig) -> serde_json::Value {
        let overrides: Vec<String> =
            c.max_connections_per_ip_overrides.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let zk_timeouts = (c.zookeeper_session_timeout_ms, c.zookeeper_connection_timeout_ms);
        let log = &c.log;
        let values = given.keys().filter(|k| *k != "zookeeper.connect").filter_map(|k| Some((k, c.values.get(k)?)));
        serde_json::json!({
            "broker.id": c.broker_id.map_or(-1, |id| id.0),
            "listeners": endpoints_as_the_golden_file_shows(&c.listeners),
            "advertised": endpoints_as_the_golden_file_shows(&c.advertised_listeners),
            "inter.broker": format!("{}={}", c.inter_broker_listener_name, c.inter_broker_security_protocol),
            "control": c.control_plane_listener_name.as_ref().map(ListenerName::as_str),
            "log.dirs": c.log_dirs.join("|"),
            "zk": format!("{}|{}|{}", c.zookeeper_connect, zk_timeouts.0, zk_timeouts.1),
            "overrides": format!("{{{}}}", overrides.join(", ")),
            "log": format!(
                "{}|{}|{}|{}|{}|{}|{}|{}|{:?}|{}",
                log.segment_ms, log.segment_jitter_ms, log.retention_ms, log.flush_ms, log.compact, log.delete,
                log.message_timestamp_before_max_ms, log.message_timestamp_after_max_ms, log.message_timestamp_type,
                c.values.get("compression.type").unwrap(),
            ),
            "values": values.map(|(k, v)| format!("{k}={v};")).collect::<String>(),
        })
    }

    #[test]
    fn files_mean_and_fail_as_with_apache() {
        let mut cases = 0;
        for line in GOLDEN.lines() {
            let (text, apache): (String, serde_json::Value) = serde_json::from_str(line).unwrap();
            let mut given: Props = text
                .split(';')
                .filter_map(|kv| kv.split_once('='))
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .collect();
            given.entry("zookeeper.connect".to_owned()).or_insert_with(|| "zk:2181".to_owned());
            let ours = match BrokerConfig::new(&given) {
                Ok(config) => view_as_the_golden_file_shows(&given, &config),
                Err(e) => serde_json::Value::String(e.to_string()),
            };
            match OWN_WORDS.iter().find(|(case, _)| *case == text) {
                Some((_, words)) => assert_eq!(ours, *words, "{text}"),
                None => assert_eq!(ours, apache, "{text}"),
            }
            cases += 1;
        }
        assert!(cases > 180);
    }

    #[test]
    fn defaults_are_kafkas() {
        let c = config("");
        assert_eq!(c.broker_id, None);
        assert_eq!(c.listeners, c.advertised_listeners);
        assert_eq!(c.listeners[0].to_string(), "PLAINTEXT://:9092");
        assert_eq!(c.log_dirs, ["/tmp/kafka-logs"]);
        assert_eq!(c.zookeeper_connection_timeout_ms, 18_000);
        assert_eq!(c.num_network_threads, 3);
        assert_eq!(c.log.retention_ms, 7 * 24 * HOUR_MS);
        assert_eq!(c.log, LogConfig::default());
        assert_eq!(c.num_replica_alter_log_dirs_threads, 1);
        assert!(c.unknown_keys().is_empty());
    }

    #[test]
    fn the_file_that_comes_with_the_broker_starts_one() {
        let file = crate::config::parse::properties(include_bytes!("../../config/server.properties")).unwrap();
        let c = BrokerConfig::new(&file).unwrap();
        assert_eq!(c.unknown_keys(), Vec::<&str>::new());
        assert_eq!(c.warnings(), Vec::<String>::new());
        assert_eq!(c.broker_id, Some(BrokerId(0)));
    }

    #[test]
    fn zookeeper_connect_has_no_default() {
        let e = BrokerConfig::new(&Props::new()).unwrap_err();
        assert_eq!(e.to_string(), "Missing required configuration `zookeeper.connect` which has no default value.");
    }

    #[test]
    fn listeners_take_an_empty_host_an_ipv6_address_and_lower_case_names() {
        let c = config(
            "listeners=PLAINTEXT://:9092 , internal://[::1]:9093,\n\\
                        listener.security.protocol.map = PLAINTEXT:PLAINTEXT, Internal:plaintext\n\\
                        inter.broker.listener.name=INTERNAL\nadvertised.listeners=INTERNAL://[::1]:9093",
        );
        let shown: Vec<String> = c.listeners.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["PLAINTEXT://:9092", "INTERNAL://[::1]:9093"]);
        assert_eq!(c.listeners[0].host, None);
        assert_eq!(c.listeners[1].host.as_deref(), Some("::1"));
        assert_eq!(c.inter_broker_endpoint().unwrap().port, 9093);
    }

    #[test]
    fn booleans_come_in_any_case_and_values_with_spaces() {
        let c = config("auto.create.topics.enable =  FALSE \nnum.partitions=\\u0020 4\\t");
        assert!(!c.auto_create_topics_enable);
        assert_eq!(c.num_partitions, 4);
    }

    #[test]
    fn the_finer_unit_wins() {
        assert_eq!(config("log.retention.hours=1\nlog.retention.minutes=2").log.retention_ms, 120_000);
        assert_eq!(config("log.retention.minutes=2\nlog.retention.ms=7").log.retention_ms, 7);
        assert_eq!(config("log.retention.hours=-3").log.retention_ms, -1);
        assert_eq!(config("log.roll.hours=2").log.segment_ms, 2 * HOUR_MS);
        assert_eq!(config("log.flush.scheduler.interval.ms=5").log.flush_ms, 5);
        assert_eq!(config("log.flush.scheduler.interval.ms=5\nlog.flush.interval.ms=6").log.flush_ms, 6);
    }

    #[test]
    fn log_dirs_are_absolute_as_java_makes_them() {
        let here = std::env::current_dir().unwrap().display().to_string();
        let found = config("log.dirs=/a//b/,c/./d,///,/x/../y//").log_dirs;
        assert_eq!(found, ["/a/b".to_owned(), format!("{here}/c/./d"), "/".to_owned(), "/x/../y".to_owned()]);
    }

    #[test]
    fn log_dirs_beats_log_dir() {
        assert_eq!(config("log.dir=/a\nlog.dirs=/b , /c,").log_dirs, ["/b", "/c"]);
    }

    #[test]
    fn node_id_and_broker_id_are_one() {
        assert_eq!(config("node.id=7").broker_id, Some(BrokerId(7)));
        assert_eq!(refusal("node.id=7\nbroker.id=8"), "You must set `node.id` to the same value as `broker.id`.");
    }

    #[test]
    fn wrong_values_are_refused_in_kafkas_words() {
        for (lines, words) in [
            ("num.partitions=x", "Invalid value x for configuration num.partitions: Not a number of type INT"),
            ("num.partitions=0", "Invalid value 0 for configuration num.partitions: Value must be at least 1"),
            (
                "auto.create.topics.enable=yes",
                "Invalid value yes for configuration auto.create.topics.enable: Expected value to be either true or false",
            ),
            (
                "compression.type=brotli",
                "Invalid value brotli for configuration compression.type: String must be one of: uncompressed, zstd, lz4, \
                 snappy, gzip, producer",
            ),
            (
                "inter.broker.protocol.version=9.9",
                "Invalid value 9.9 for configuration inter.broker.protocol.version: Version 9.9 is not a valid version",
            ),
        ] {
            assert_eq!(refusal(lines), words);
        }
    }

    #[test]
    fn what_this_broker_cannot_do_is_refused() {
        for lines in [
            "remote.log.storage.system.enable= True",
            "zookeeper.metadata.migration.enable=true",
            "inter.broker.protocol.version=3.8",
            "process.roles=broker",
            "config.providers=file",
            "authorizer.class.name=kafka.security.authorizer.AclAuthorizer",
            "create.topic.policy.class.name=com.example.Policy",
        ] {
            let key = lines.split('=').next().unwrap();
            assert!(refusal(lines).contains(key), "{}", refusal(lines));
        }
        for same in ["3.9", "3.9-IV0", "3.9.1"] {
            config(&format!("inter.broker.protocol.version={same}"));
        }
    }

    #[test]
    fn a_key_without_effect_is_reported_when_it_is_set() {
        let c =
            config("queued.max.requests=7\nmetric.reporters=com.example.R\nnum.network.threads=3\nnum.io.threads=9");
        assert_eq!(
            c.warnings(),
            [
                "metric.reporters has no effect: Java classes are not loaded",
                "queued.max.requests has no effect: a request is worked on as soon as it is read",
            ]
        );
    }

    #[test]
    fn unknown_keys_are_told_but_accepted() {
        let c = config("num.partition=3\nsuper.users=User:a\nlistener.name.plaintext.ssl.client.auth=none");
        assert_eq!(c.unknown_keys(), ["num.partition"]);
    }

    #[test]
    fn a_listeners_own_key_beats_the_common_one() {
        let c = config("ssl.client.auth=required\nlistener.name.edge.ssl.client.auth=requested");
        let edge = ListenerName::new("Edge").unwrap();
        let other = ListenerName::new("OTHER").unwrap();
        assert_eq!(c.for_listener(&edge, "ssl.client.auth").unwrap(), Value::String("requested".to_owned()));
        assert_eq!(c.for_listener(&other, "ssl.client.auth").unwrap(), Value::String("required".to_owned()));
    }

    /// Texts near the bounds of some key.
    fn odd_text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            prop::sample::select(vec![
                "",
                "0",
                "-1",
                "-2",
                "1",
                "true",
                "FALSE",
                "2147483647",
                "9223372036854775807",
                "NaN"
            ])
            .prop_map(str::to_owned),
            prop::sample::select(vec!["PLAINTEXT://:1", "a:1,b:2", ",", ":", "://", "[::1]:1", "1@h:2", "3.9", "gzip"])
                .prop_map(str::to_owned),
            "\\PC{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn any_value_of_any_key_is_taken_or_refused(
            picks in prop::collection::vec((any::<prop::sample::Index>(), odd_text()), 1..4),
        ) {
            let keys: Vec<&str> = BROKER.iter().map(|key| key.name).collect();
            let mut given = props("");
            given.extend(picks.into_iter().map(|(at, text)| (at.get(&keys).to_string(), text)));
            if let Ok(config) = BrokerConfig::new(&given) {
                drop((config.unknown_keys().len(), config.warnings()));
            }
        }
    }
}
