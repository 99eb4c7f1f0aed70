//! Owns the application of an operator's changes to the settings of a resource, or their refusal. Kafka:
//! `ConfigAdminManager`, `ZkAdminManager.alterConfigs`. Absent on purpose: znodes, authorization, duplicate resources.

use super::def::{ConfigDef, ConfigError, Props, Type};
use super::dynamic::{DynamicConfig, Layer, is_stored_encrypted};
use super::keys::{BROKER, TOPIC};
use super::topic;
use crate::common::ErrorCode;
use crate::common::java;
use std::collections::BTreeSet;

/// The operation on one key. Kafka: `AlterConfigOp.OpType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AlterOp {
    Set,
    Delete,
    /// Adds elements to a list.
    Append,
    /// Removes elements from a list.
    Subtract,
    /// Refused, but errors in the other entries are reported first.
    Unknown(i8),
}

impl AlterOp {
    pub const fn from_wire(id: i8) -> Self {
        match id {
            0 => Self::Set,
            1 => Self::Delete,
            2 => Self::Append,
            3 => Self::Subtract,
            other => Self::Unknown(other),
        }
    }

    const fn unknown(self) -> Option<i8> {
        match self {
            Self::Unknown(id) => Some(id),
            _ => None,
        }
    }
}

/// One entry of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alteration<'a> {
    pub name: &'a str,
    pub op: AlterOp,
    pub value: Option<&'a str>,
}

/// Why a resource is not changed: the code and the text of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
}

impl Refusal {
    fn request(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidRequest, message: message.into() }
    }

    fn config(message: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidConfig, message: message.into() }
    }
}

/// Checks that hold for every resource of AlterConfigs (each entry is a `Set`) and IncrementalAlterConfigs.
pub fn check_entries(entries: &[Alteration<'_>]) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    if !entries.iter().all(|entry| seen.insert(entry.name)) {
        return Err(Refusal::request("Error due to duplicate config keys"));
    }
    let without_value = |entry: &&Alteration<'_>| entry.op != AlterOp::Delete && entry.value.is_none();
    let nulls: Vec<&str> = entries.iter().filter(without_value).map(|entry| entry.name).collect();
    if nulls.is_empty() {
        Ok(())
    } else {
        Err(Refusal::request(format!("Null value not supported for : {}", nulls.join(", "))))
    }
}

/// The settings of `topic` after `entries`. `existing` is the content of its znode, empty for AlterConfigs, which
/// replaces everything. `log_defaults` are the broker's.
pub fn topic(
    topic: &str,
    existing: &Props,
    entries: &[Alteration<'_>],
    log_defaults: &Props,
) -> Result<Props, Refusal> {
    if topic.is_empty() {
        return Err(Refusal::request("Default topic resources are not allowed."));
    }
    let wanted = altered(&TOPIC, existing, entries)?;
    topic::validate(&wanted, log_defaults).map_err(|e| match e {
        ConfigError::Unfit(text) => Refusal::config(text),
        e => with_resource("TOPIC", topic, &e),
    })?;
    Ok(wanted)
}

/// The layer that a broker resource names: its own id, or every broker where the name is empty.
pub fn broker_layer(resource_name: &str, broker_id: i32) -> Result<Layer, Refusal> {
    if resource_name.is_empty() {
        return Ok(Layer::ClusterDefault);
    }
    let id: i32 = resource_name
        .parse()
        .map_err(|_| Refusal::request(format!("Node id must be an integer, but it is: {resource_name}")))?;
    if id == broker_id {
        Ok(Layer::Broker)
    } else {
        Err(Refusal::request(format!("Unexpected broker id, expected {broker_id}, but received {resource_name}")))
    }
}

/// The settings of a layer of the broker after `entries`. `existing` is the content of its znode, empty for
/// AlterConfigs. Entries of the znode that a broker ignores are removed, as in Kafka.
pub fn broker(
    config: &DynamicConfig,
    layer: Layer,
    broker_id: i32,
    existing: &Props,
    entries: &[Alteration<'_>],
) -> Result<Props, Refusal> {
    if let Some(unknown) = entries.iter().find_map(|entry| entry.op.unknown()) {
        return Err(Refusal::request(format!("Unknown operations type {unknown}")));
    }
    let wanted = altered(&BROKER, &super::dynamic::valid_entries(layer, existing, &mut Vec::new()), entries)?;
    config.validate(layer, &wanted).map_err(|e| Refusal::request(e.to_string()))?;
    if wanted.keys().any(|name| is_stored_encrypted(name)) {
        let id = if layer == Layer::Broker { broker_id.to_string() } else { String::new() };
        return Err(with_resource("BROKER", &id, &ConfigError::rule("Password encoder secret not configured")));
    }
    Ok(wanted)
}

fn with_resource(kind: &str, name: &str, reason: &ConfigError) -> Refusal {
    Refusal::config(format!("Invalid config value for resource ConfigResource(type={kind}, name='{name}'): {reason}"))
}

/// Kafka: `ConfigAdminManager.prepareIncrementalConfigs`.
fn altered(def: &ConfigDef, existing: &Props, entries: &[Alteration<'_>]) -> Result<Props, Refusal> {
    let mut props = existing.clone();
    for entry in entries {
        let value = entry.value.unwrap_or_default();
        match entry.op {
            AlterOp::Set => {
                props.insert(entry.name.to_owned(), value.to_owned());
            }
            AlterOp::Delete => {
                props.remove(entry.name);
            }
            AlterOp::Append => {
                let mut list = list_of(def, &props, entry.name, "append")?;
                if list == [""] {
                    list.clear();
                }
                let new: Vec<String> = java::split(value).into_iter().filter(|v| !list.contains(v)).collect();
                list.extend(new);
                props.insert(entry.name.to_owned(), list.join(","));
            }
            AlterOp::Subtract => {
                let mut list = list_of(def, &props, entry.name, "subtract")?;
                for gone in java::split(value) {
                    if let Some(at) = list.iter().position(|v| *v == gone) {
                        list.remove(at);
                    }
                }
                props.insert(entry.name.to_owned(), list.join(","));
            }
            AlterOp::Unknown(_) => return Err(unexpected()),
        }
    }
    Ok(props)
}

/// For an exception that Kafka has no code for.
fn unexpected() -> Refusal {
    Refusal { code: ErrorCode::UnknownServerError, message: ErrorCode::UnknownServerError.message().to_owned() }
}

/// The current elements of a list key: those that are set, else the key's own default.
fn list_of(def: &ConfigDef, props: &Props, name: &str, verb: &str) -> Result<Vec<String>, Refusal> {
    let key = def.get(name).ok_or_else(unexpected)?;
    if key.kind != Type::List {
        return Err(Refusal::config(format!("Config value {verb} is not allowed for config key: {name}")));
    }
    Ok(java::split(props.get(name).map(String::as_str).or(key.default).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::describe::{self, Asked, ConfigEntry, ConfigSource};
    use crate::config::tests::state;

    /// The results of Apache 3.9.1 for a sequence of changes, starting from the state of the describe tests: the
    /// settings that it described afterwards, or the code and text of its refusal.
    const GOLDEN: &str = include_str!("testdata/alter-apache-3.9.1.jsonl");

    fn parsed<'a>(parts: &[&'a str]) -> Vec<Alteration<'a>> {
        parts
            .iter()
            .map(|part| {
                let (op, entry) = part.split_once(' ').unwrap();
                let (name, value) = entry.split_once('=').map_or((entry, None), |(k, v)| (k, Some(v)));
                let op = match op {
                    "SET" => AlterOp::Set,
                    "DELETE" => AlterOp::Delete,
                    "APPEND" => AlterOp::Append,
                    "SUBTRACT" => AlterOp::Subtract,
                    other => panic!("{other}"),
                };
                Alteration { name, op, value }
            })
            .collect()
    }

    fn told(entries: Vec<ConfigEntry>, source: ConfigSource) -> serde_json::Value {
        let set = entries.into_iter().filter(|e| e.source == source);
        set.map(|e| (e.name, e.value.map_or(serde_json::Value::Null, serde_json::Value::String))).collect()
    }

    #[test]
    fn changes_come_to_what_they_come_to_with_apache() {
        let (mut config, mut own) = state();
        let all = Asked(&[]);
        let mut cases = 0;
        for line in GOLDEN.lines() {
            let (text, apache): (String, serde_json::Value) = serde_json::from_str(line).unwrap();
            let mut parts: Vec<&str> = text.split(" ; ").collect();
            let resource = parts.remove(0);
            let legacy = parts.first() == Some(&"LEGACY");
            if legacy {
                parts.remove(0);
            }
            let entries = parsed(&parts);
            let (kind, name) = resource.split_once('=').unwrap();
            let outcome = check_entries(&entries).and_then(|()| {
                let layer = if name.is_empty() { Layer::ClusterDefault } else { Layer::Broker };
                let existing = match kind {
                    _ if legacy => Props::new(),
                    "TOPIC" => own.clone(),
                    _ => config.layer(layer).clone(),
                };
                if kind == "TOPIC" {
                    own = topic(name, &existing, &entries, &config.current().log_defaults)?;
                    return Ok(told(describe::topic(&config, &own, all).unwrap(), ConfigSource::Topic));
                }
                assert_eq!(broker_layer(name, 0), Ok(layer));
                let wanted = broker(&config, layer, 0, &existing, &entries)?;
                let (applied, result) = config.apply(layer, &wanted);
                assert_eq!((applied.ignored, result), (Vec::new(), Ok(())), "{text}");
                Ok(match layer {
                    Layer::ClusterDefault => {
                        told(describe::cluster_default(&config, all), ConfigSource::DynamicDefaultBroker)
                    }
                    Layer::Broker => told(describe::broker(&config, all), ConfigSource::DynamicBroker),
                })
            });
            let ours = outcome.unwrap_or_else(|e| serde_json::json!([e.code.name(), e.message]));
            assert_eq!(ours, apache, "{text}");
            cases += 1;
        }
        assert!(cases > 80);
    }

    #[test]
    fn a_key_appears_once_and_has_a_value() {
        let entry = |name, op, value| Alteration { name, op, value };
        assert_eq!(
            check_entries(&[entry("a", AlterOp::Set, Some("1")), entry("a", AlterOp::Delete, None)]),
            Err(Refusal::request("Error due to duplicate config keys"))
        );
        assert_eq!(
            check_entries(&[entry("a", AlterOp::Set, None), entry("b", AlterOp::Append, None)]),
            Err(Refusal::request("Null value not supported for : a, b"))
        );
        assert_eq!(check_entries(&[entry("a", AlterOp::Delete, None)]), Ok(()));
    }

    #[test]
    fn a_broker_resource_is_this_broker_or_all() {
        assert_eq!(broker_layer("", 3), Ok(Layer::ClusterDefault));
        assert_eq!(broker_layer("3", 3), Ok(Layer::Broker));
        assert_eq!(broker_layer("4", 3).unwrap_err().message, "Unexpected broker id, expected 3, but received 4");
        assert_eq!(broker_layer("x", 3).unwrap_err().message, "Node id must be an integer, but it is: x");
    }
}
