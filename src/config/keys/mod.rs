//! Owns the table of keys: one row a key, in a file a concern. Kafka: `AbstractKafkaConfig.CONFIG_DEF`, `LogConfig`,
//! `ServerTopicConfigSynonyms`. Defaults are written as Kafka prints them and go through the same parser as a file.

mod broker;
mod coordinator;
mod elsewhere;
mod log;
mod quota;
mod security;
mod topic;
mod zookeeper;

use std::sync::LazyLock;

use super::def::ConfigDef;

/// `"name" Type = default, Check, Importance, UpdateMode[, internal] [from "broker.key" …]: "doc";`
macro_rules! rows {
    ($($name:literal $kind:ident = $default:tt, $check:expr, $importance:ident, $update:ident
        $(, $internal:ident)? $(from $($synonym:literal)+)?: $doc:literal;)*) => {
        pub(super) const ROWS: &[crate::config::def::ConfigKey] = {
            #[allow(unused_imports, reason = "not every file uses a check, or a list of another file")]
            use {super::*, crate::config::def::Check::*};
            &[$(crate::config::def::ConfigKey {
                name: $name,
                kind: crate::config::def::Type::$kind,
                default: rows!(@default $default),
                check: $check,
                importance: crate::config::def::Importance::$importance,
                update: crate::config::def::UpdateMode::$update,
                internal: rows!(@internal $($internal)?),
                broker_synonyms: &[$($($synonym),+)?],
                doc: $doc,
            },)*]
        };
    };
    (@default null) => { None };
    (@default $text:literal) => { Some($text) };
    (@internal internal) => { true };
    (@internal) => { false };
}
use rows;

const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

const PRINCIPAL_BUILDERS: &[&str] = &["org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"];

const SSL_ENGINES: &[&str] = &["org.apache.kafka.common.security.ssl.DefaultSslEngineFactory"];

/// What this broker speaks between brokers: the default of `inter.broker.protocol.version`.
pub(super) const PRODUCTION_METADATA_VERSION: &str = "3.9-IV0";

/// Every version that Kafka 3.9 knows, oldest first. Kafka: `MetadataVersion`.
pub(super) const METADATA_VERSIONS: &[&str] = &[
    "0.8.0",
    "0.8.1",
    "0.8.2",
    "0.9.0",
    "0.10.0-IV0",
    "0.10.0-IV1",
    "0.10.1-IV0",
    "0.10.1-IV1",
    "0.10.1-IV2",
    "0.10.2-IV0",
    "0.11.0-IV0",
    "0.11.0-IV1",
    "0.11.0-IV2",
    "1.0-IV0",
    "1.1-IV0",
    "2.0-IV0",
    "2.0-IV1",
    "2.1-IV0",
    "2.1-IV1",
    "2.1-IV2",
    "2.2-IV0",
    "2.2-IV1",
    "2.3-IV0",
    "2.3-IV1",
    "2.4-IV0",
    "2.4-IV1",
    "2.5-IV0",
    "2.6-IV0",
    "2.7-IV0",
    "2.7-IV1",
    "2.7-IV2",
    "2.8-IV0",
    "2.8-IV1",
    "3.0-IV0",
    "3.0-IV1",
    "3.1-IV0",
    "3.2-IV0",
    "3.3-IV0",
    "3.3-IV1",
    "3.3-IV2",
    "3.3-IV3",
    "3.4-IV0",
    "3.5-IV0",
    "3.5-IV1",
    "3.5-IV2",
    "3.6-IV0",
    "3.6-IV1",
    "3.6-IV2",
    "3.7-IV0",
    "3.7-IV1",
    "3.7-IV2",
    "3.7-IV3",
    "3.7-IV4",
    "3.8-IV0",
    "3.9-IV0",
    "4.0-IV0",
    "4.0-IV1",
];

/// Keys of the broker.
pub static BROKER: LazyLock<ConfigDef> = LazyLock::new(|| {
    ConfigDef::new(&[broker::ROWS, log::ROWS, coordinator::ROWS, security::ROWS, zookeeper::ROWS, elsewhere::ROWS])
});

/// Keys of the broker that only `/config/brokers` knows.
pub(super) static QUOTA: LazyLock<ConfigDef> = LazyLock::new(|| ConfigDef::new(&[quota::ROWS]));

/// Keys of a topic.
pub static TOPIC: LazyLock<ConfigDef> = LazyLock::new(|| ConfigDef::new(&[topic::ROWS]));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::def::{Check, ConfigKey, UpdateMode};

    /// Printed by Apache Kafka 3.9.1 from its own tables. Columns: broker or topic, name, type, default (`=` before the
    /// text, or null), valid values, importance, update mode, `internal`.
    const GOLDEN: &str = include_str!("../testdata/keys-apache-3.9.1.tsv");

    fn as_apache_prints(table: &str, key: &ConfigKey) -> String {
        let default = key.default.map_or_else(|| "null".to_owned(), |text| format!("={text}"));
        let valid = match key.check {
            Check::PoolSize => "The default value of -1 means that this will be set to the configured value of \
                remote.log.manager.thread.pool.size, if available; otherwise, it defaults to 10."
                .to_owned(),
            check => check.to_string(),
        };
        let mode = if key.update == UpdateMode::Topic { "-" } else { key.update.name() };
        let internal = if key.internal { "internal" } else { "" };
        [table, key.name, key.kind.name(), &default, &valid, key.importance.name(), mode, internal].join("\t")
    }

    #[test]
    fn the_table_is_apaches() {
        let broker = BROKER.iter().map(|key| as_apache_prints("broker", key));
        let ours: Vec<String> = broker.chain(TOPIC.iter().map(|key| as_apache_prints("topic", key))).collect();
        let apache: Vec<&str> = GOLDEN.lines().collect();
        assert_eq!(ours, apache);
    }

    #[test]
    fn every_default_parses_and_prints_as_itself() {
        for key in BROKER.iter().chain(TOPIC.iter()) {
            let Some(text) = key.default else { continue };
            assert_eq!(key.parse(text).unwrap().to_string(), text, "{}", key.name);
        }
    }

    #[test]
    fn every_key_has_a_doc_and_every_synonym_is_a_broker_key() {
        for key in BROKER.iter().chain(TOPIC.iter()) {
            assert!(key.doc.len() > 10 && key.doc.ends_with('.'), "{}", key.name);
            for synonym in key.broker_synonyms {
                assert!(BROKER.get(synonym).is_some(), "{synonym}");
            }
        }
    }
}
