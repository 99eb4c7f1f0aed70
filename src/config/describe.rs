//! Owns the contents of DescribeConfigs: every key with its value, the value's source, and the values that it
//! overrides. Kafka: `ConfigHelper`. Absent on purpose: which resources exist and who may see them, which the server
//! decides.

use super::def::{ConfigError, ConfigKey, Props, Type, UpdateMode};
use super::dynamic::{DynamicConfig, Layer, key_of, synonyms};
use super::keys::{BROKER, TOPIC};

/// Where a value was set. The discriminant is the wire value. Kafka: `DescribeConfigsResponse.ConfigSource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigSource {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
}

impl ConfigSource {
    pub const fn wire(self) -> i8 {
        self as i8
    }
}

/// One place where a value of a key, or of one of its synonyms, was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    pub name: String,
    /// `None` where the value is sensitive.
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// One key of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    pub name: String,
    /// `None` for Java's null and for a sensitive value.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub is_sensitive: bool,
    pub read_only: bool,
    /// Highest precedence first.
    pub synonyms: Vec<ConfigSynonym>,
    /// `None` for a name that no table has.
    pub kind: Option<Type>,
    pub doc: Option<&'static str>,
}

/// The keys to describe: the named ones, all where there is no name.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a>(pub &'a [&'a str]);

impl Asked<'_> {
    fn has(self, name: &str) -> bool {
        self.0.is_empty() || self.0.contains(&name)
    }
}

/// The broker's own configuration: the resource named by its id.
pub fn broker(config: &DynamicConfig, asked: Asked<'_>) -> Vec<ConfigEntry> {
    let current = config.current();
    let known = BROKER.iter().filter(|key| !key.internal || current.props.contains_key(key.name)).map(|key| key.name);
    let unknown = BROKER.unknown(&current.props);
    sorted(known.chain(unknown), asked)
        .map(|name| {
            let value = match current.values.get(name) {
                Some(value) => value.text(),
                None => current.props.get(name).cloned(),
            };
            broker_entry(config, name, value, true)
        })
        .collect()
}

/// The settings for every broker of the cluster: the resource with the empty name.
pub fn cluster_default(config: &DynamicConfig, asked: Asked<'_>) -> Vec<ConfigEntry> {
    let set = config.layer(Layer::ClusterDefault);
    set.iter()
        .filter(|(name, _)| asked.has(name))
        .map(|(name, value)| broker_entry(config, name, Some(value.clone()), false))
        .collect()
}

/// A topic's configuration over the broker's. `overrides` is the content of its znode; an error means that Kafka could
/// not have written it.
pub fn topic(config: &DynamicConfig, overrides: &Props, asked: Asked<'_>) -> Result<Vec<ConfigEntry>, ConfigError> {
    let mut props = config.current().log_defaults.clone();
    props.extend(overrides.clone());
    let values = TOPIC.parse(&props)?;
    let entries = sorted(TOPIC.iter().map(|key| key.name).chain(TOPIC.unknown(overrides)), asked);
    Ok(entries
        .map(|name| {
            let key = TOPIC.get(name);
            let is_sensitive = sensitive(key);
            let value = values.get(name).and_then(super::def::Value::text).filter(|_| !is_sensitive);
            let mut places = match key.and_then(|key| key.broker_synonyms.first()) {
                Some(synonym) => broker_places(config, synonym, is_sensitive),
                None => Vec::new(),
            };
            if overrides.contains_key(name) {
                let own = ConfigSynonym { name: name.to_owned(), value: value.clone(), source: ConfigSource::Topic };
                places.insert(0, own);
            }
            entry(name, value, is_sensitive, false, places, key)
        })
        .collect())
}

fn sorted<'a>(names: impl Iterator<Item = &'a str>, asked: Asked<'_>) -> impl Iterator<Item = &'a str> {
    let mut names: Vec<&str> = names.filter(|name| asked.has(name)).collect();
    names.sort_unstable();
    names.into_iter()
}

/// A key that no table has might be a plugin's secret.
fn sensitive(key: Option<&ConfigKey>) -> bool {
    key.is_none_or(|key| key.kind == Type::Password)
}

fn broker_entry(config: &DynamicConfig, name: &str, value: Option<String>, whole: bool) -> ConfigEntry {
    let key = key_of(name);
    let is_sensitive = sensitive(key);
    let mut places = broker_places(config, name, is_sensitive);
    if !whole {
        places.retain(|place| place.source == ConfigSource::DynamicDefaultBroker);
    }
    // As in Kafka, a name with a listener prefix counts as read-only here, though it can be altered.
    let read_only = BROKER.get(name).is_none_or(|key| key.update == UpdateMode::ReadOnly);
    let mut entry = entry(name, value.filter(|_| !is_sensitive), is_sensitive, read_only, places, key);
    entry.doc = BROKER.get(name).map(|key| key.doc);
    entry
}

fn entry(
    name: &str,
    value: Option<String>,
    is_sensitive: bool,
    read_only: bool,
    synonyms: Vec<ConfigSynonym>,
    key: Option<&ConfigKey>,
) -> ConfigEntry {
    ConfigEntry {
        name: name.to_owned(),
        value,
        source: synonyms.first().map_or(ConfigSource::Default, |place| place.source),
        is_sensitive,
        read_only,
        synonyms,
        kind: key.map(|key| key.kind),
        doc: key.map(|key| key.doc),
    }
}

/// Every place where `name` or a synonym of it is set, beginning with the first place of `name` itself: Kafka drops
/// those before it, so that `log.retention.ms` has no place where only `log.retention.hours` is set.
fn broker_places(config: &DynamicConfig, name: &str, is_sensitive: bool) -> Vec<ConfigSynonym> {
    let names = synonyms(name, true);
    let mut places = Vec::new();
    for (layer, source) in [
        (config.layer(Layer::Broker), ConfigSource::DynamicBroker),
        (config.layer(Layer::ClusterDefault), ConfigSource::DynamicDefaultBroker),
        (config.fixed(), ConfigSource::StaticBroker),
    ] {
        places.extend(names.iter().filter_map(|synonym| Some((*synonym, layer.get(*synonym)?.clone(), source))));
    }
    let defaults = names.iter().filter_map(|synonym| Some((*synonym, BROKER.get(synonym)?.default?.to_owned())));
    places.extend(defaults.map(|(synonym, text)| (synonym, text, ConfigSource::Default)));
    places
        .into_iter()
        .skip_while(|(synonym, _, _)| *synonym != name)
        .map(|(synonym, text, source)| ConfigSynonym {
            name: synonym.to_owned(),
            value: (!is_sensitive).then_some(text),
            source,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::state;

    /// The answers of Apache 3.9.1 for its broker 0, for the cluster's default and for two topics, when it was started
    /// on `describe.properties` and had the settings of [`state`]. Columns: resource, name, value, source, `sensitive`,
    /// `read-only`, type, synonyms.
    const GOLDEN: &str = include_str!("testdata/describe-apache-3.9.1.tsv");

    fn source_name(source: ConfigSource) -> &'static str {
        match source {
            ConfigSource::Topic => "DYNAMIC_TOPIC_CONFIG",
            ConfigSource::DynamicBroker => "DYNAMIC_BROKER_CONFIG",
            ConfigSource::DynamicDefaultBroker => "DYNAMIC_DEFAULT_BROKER_CONFIG",
            ConfigSource::StaticBroker => "STATIC_BROKER_CONFIG",
            ConfigSource::Default => "DEFAULT_CONFIG",
        }
    }

    fn as_the_golden_file_shows(resource: &str, entry: &ConfigEntry) -> String {
        let or_null = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
        let synonyms: Vec<String> = entry
            .synonyms
            .iter()
            .map(|s| format!("{}:{}={}", source_name(s.source), s.name, or_null(&s.value)))
            .collect();
        [
            resource,
            &entry.name,
            &or_null(&entry.value),
            source_name(entry.source),
            if entry.is_sensitive { "sensitive" } else { "" },
            if entry.read_only { "read-only" } else { "" },
            entry.kind.map_or("UNKNOWN", Type::name),
            &synonyms.join(" | "),
        ]
        .join("\t")
    }

    #[test]
    fn tells_of_every_key_what_apache_tells() {
        let (config, own) = state();
        let all = Asked(&[]);
        let mut ours = Vec::new();
        for (resource, entries) in [
            ("BROKER=0", broker(&config, all)),
            ("BROKER=", cluster_default(&config, all)),
            ("TOPIC=plain", topic(&config, &Props::new(), all).unwrap()),
            ("TOPIC=own", topic(&config, &own, all).unwrap()),
        ] {
            ours.extend(entries.iter().map(|entry| as_the_golden_file_shows(resource, entry)));
        }
        ours.sort();
        let mut apache: Vec<&str> = GOLDEN.lines().collect();
        apache.sort_unstable();
        for (ours, apache) in ours.iter().zip(&apache) {
            assert_eq!(ours, apache);
        }
        assert_eq!(ours.len(), apache.len());
    }

    #[test]
    fn tells_only_what_is_asked() {
        let (config, own) = state();
        let names = |entries: Vec<ConfigEntry>| entries.into_iter().map(|e| e.name).collect::<Vec<_>>();
        let asked = Asked(&["retention.ms", "num.io.threads", "log.retention.ms", "nothing"]);
        assert_eq!(names(broker(&config, asked)), ["log.retention.ms", "num.io.threads"]);
        assert_eq!(names(cluster_default(&config, asked)), ["log.retention.ms"]);
        assert_eq!(names(topic(&config, &own, asked).unwrap()), ["retention.ms"]);
    }

    #[test]
    fn every_known_key_has_a_doc() {
        let (config, own) = state();
        let known = |e: &ConfigEntry| BROKER.get(&e.name).is_some() || TOPIC.get(&e.name).is_some();
        let mut entries = broker(&config, Asked(&[]));
        entries.extend(topic(&config, &own, Asked(&[])).unwrap());
        assert!(entries.iter().filter(|e| known(e)).all(|e| e.doc.is_some()));
    }
}
