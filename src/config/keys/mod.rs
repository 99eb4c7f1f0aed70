//! Owns the table of keys: one row per key, one file per concern. Kafka: `AbstractKafkaConfig.CONFIG_DEF`, `LogConfig`,
//! `ServerTopicConfigSynonyms`. Defaults are written as Kafka prints them and parsed like a file.
//!
//! A row declares everything about its key, down to the field that holds its value. A key without a field sets the
//! default of a topic key, is refused, or says why it has no effect: a test finds a row that does none of these.

mod broker;
mod coordinator;
mod elsewhere;
mod forms;
mod listener;
mod log;
mod own;
mod quota;
mod security;
mod topic;

use super::def::ConfigDef;
use std::sync::LazyLock;

pub use broker::BrokerConfig;
pub(super) use broker::Composed;
pub(super) use coordinator::{CoordinatorForms, GroupProtocolKeys, GroupTimes};
pub use coordinator::{GroupConfig, TransactionConfig};
pub(super) use forms::Forms;
pub use listener::ListenerConfig;
pub(super) use log::LogKeys;
pub(super) use own::OwnKeys;
pub use quota::ReplicationRates;
pub use topic::LogConfig;
pub(super) use topic::{LogForms, TopicForms};

/// Declares rows, and the struct that has a field for each row which names one:
///
/// `"name" Type = default, Check, Importance, UpdateMode[, trait(…) …] [=> field [as Type]]: "doc";`
///
/// A trait is a method of [`ConfigKey`](super::def::ConfigKey). A field has the Rust type of its row, an `Option` where
/// the default is null, unless the row names another. `struct A with B { … }` gives `A` the fields of `B` too: those
/// that no single row declares.
macro_rules! keys {
    ($(#[$meta:meta])* $vis:vis struct $Keys:ident {} $($rows:tt)*) => {
        keys! { @struct [$(#[$meta])*] [$vis] $Keys read_with(_more: ()) [] $($rows)* }

        impl $Keys {
            pub(in crate::config) fn read(
                of: impl Fn(&'static str) -> Result<crate::config::def::Value, crate::config::def::ConfigError>,
            ) -> Result<Self, crate::config::def::ConfigError> {
                Self::read_with(of, ())
            }
        }
    };
    ($(#[$meta:meta])* $vis:vis struct $Keys:ident with $More:ident { $($(#[$doc:meta])* $more:ident: $type:ty,)* }
        $($rows:tt)*) => {
        pub(in crate::config) struct $More {
            $(pub(in crate::config) $more: $type,)*
        }

        keys! { @struct [$(#[$meta])*] [$vis] $Keys read(more: $More) [$($(#[$doc])* $more: $type,)*] $($rows)* }
    };
    (@struct [$($meta:tt)*] [$vis:vis] $Keys:ident $read:ident($arg:ident: $More:ty)
        [$($(#[$more_doc:meta])* $more:ident: $more_type:ty,)*]
        $($name:literal $kind:ident = $default:tt, $check:expr, $importance:ident, $update:ident
            $(, $trait:ident($($trait_arg:expr)?))* $(=> $field:ident $(as $type:ty)?)?: $doc:literal;)*) => {
        $($meta)*
        $vis struct $Keys {
            $($(#[$more_doc])* $vis $more: $more_type,)*
            $($(#[doc = $doc] $vis $field: keys!(@type $kind $default $($type)?),)?)*
        }

        impl $Keys {
            pub(in crate::config) const ROWS: &'static [crate::config::def::ConfigKey] = keys!(@rows
                $([$name $kind $default $importance $update ($check)] [$($trait($($trait_arg)?))* $(field(stringify!($field)))?] $doc)*);

            /// Fills each field from the value of its row: `of` finds it by the row's name.
            pub(in crate::config) fn $read(
                of: impl Fn(&'static str) -> Result<crate::config::def::Value, crate::config::def::ConfigError>,
                $arg: $More,
            ) -> Result<Self, crate::config::def::ConfigError> {
                Ok(Self {
                    $($more: $arg.$more,)*
                    $($($field: crate::config::def::typed($name, of($name)?)?,)?)*
                })
            }
        }
    };
    (@rows $([$name:literal $kind:ident $default:tt $importance:ident $update:ident ($check:expr)]
        [$($trait:ident($($trait_arg:expr)?))*] $doc:literal)*) => {{
        #[allow(unused_imports, reason = "not every part of the table has a check")]
        use crate::config::def::{Check::*, ConfigKey, Importance, Type, UpdateMode};
        &[$(ConfigKey::new(
            $name,
            (Type::$kind, keys!(@default $default), $check),
            Importance::$importance,
            UpdateMode::$update,
            $doc,
        )$(.$trait($($trait_arg)?))*,)*]
    }};
    (@default null) => { None };
    (@default $text:literal) => { Some($text) };
    (@type $kind:ident $default:tt $type:ty) => { $type };
    (@type $kind:ident null) => { Option<keys!(@type $kind)> };
    (@type $kind:ident $default:literal) => { keys!(@type $kind) };
    (@type Boolean) => { bool };
    (@type Short) => { i16 };
    (@type Int) => { i32 };
    (@type Long) => { i64 };
    (@type Double) => { f64 };
    (@type String) => { String };
    (@type List) => { Vec<String> };
    ($($name:literal $kind:ident = $default:tt, $check:expr, $importance:ident, $update:ident
        $(, $trait:ident($($trait_arg:expr)?))*: $doc:literal;)*) => {
        pub(super) const ROWS: &[crate::config::def::ConfigKey] = keys!(@rows
            $([$name $kind $default $importance $update ($check)] [$($trait($($trait_arg)?))*] $doc)*);
    };
}
use keys;

/// Why keys have no effect, where it is the same for several.
const KRAFT: &str = "it acts only without ZooKeeper";
const MIGRATION: &str = "it acts only in a migration away from ZooKeeper, which is not supported";
const NO_JVM: &str = "Java classes are not loaded";
const NO_METRICS: &str = "metrics are not sampled yet";
const NO_QUOTAS: &str = "quotas of clients are not enforced yet";
const NO_SECURITY: &str = "TLS, SASL and delegation tokens are not supported yet";
const TIERED: &str = "tiered storage is not supported";

const COMPRESSION_TYPES: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];

const PRINCIPAL_BUILDERS: &[&str] = &["org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder"];

const SSL_ENGINES: &[&str] = &["org.apache.kafka.common.security.ssl.DefaultSslEngineFactory"];

/// The protocol version between brokers: the default of `inter.broker.protocol.version`.
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
    ConfigDef::new(&[
        BrokerConfig::ROWS,
        Forms::ROWS,
        ListenerConfig::ROWS,
        LogKeys::ROWS,
        GroupConfig::ROWS,
        TransactionConfig::ROWS,
        CoordinatorForms::ROWS,
        GroupProtocolKeys::ROWS,
        security::ROWS,
        elsewhere::ROWS,
    ])
});

/// Keys of the broker that exist only in `/config/brokers`.
pub(super) static QUOTA: LazyLock<ConfigDef> = LazyLock::new(|| ConfigDef::new(&[ReplicationRates::ROWS]));

/// Keys of the broker that Kafka does not have.
pub(super) static OWN: LazyLock<ConfigDef> = LazyLock::new(|| ConfigDef::new(&[OwnKeys::ROWS]));

/// Keys of a topic.
pub static TOPIC: LazyLock<ConfigDef> = LazyLock::new(|| ConfigDef::new(&[LogConfig::ROWS, TopicForms::ROWS]));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::def::{Check, ConfigKey, Effect, UpdateMode};

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
    fn every_key_has_an_effect_or_says_why_not() {
        let mut unexplained: Vec<&str> = Vec::new();
        for key in BROKER.iter().chain(TOPIC.iter()) {
            let gives_a_default = TOPIC.iter().any(|topic| topic.broker_synonyms.contains(&key.name));
            // A plug-in for which only the built-in class is valid.
            let only_built_in = matches!(key.check, Check::Classes(_));
            if key.field.is_none() && key.effect == Effect::Read && !gives_a_default && !only_built_in {
                unexplained.push(key.name);
            }
        }
        assert_eq!(unexplained, [""; 0]);
    }

    #[test]
    fn keys_without_effect_are_counted() {
        let without = |def: &ConfigDef| def.iter().filter(|key| matches!(key.effect, Effect::Without(_))).count();
        // A key that gains an effect leaves this list; none may be added unnoticed.
        assert_eq!((without(&BROKER), without(&TOPIC)), (188, 3));
    }

    #[test]
    fn a_field_has_the_name_of_its_key() {
        let of_one_struct = [BrokerConfig::ROWS, Forms::ROWS, ListenerConfig::ROWS, LogKeys::ROWS];
        for key in
            of_one_struct.into_iter().chain([ReplicationRates::ROWS, LogConfig::ROWS, TopicForms::ROWS]).flatten()
        {
            if let Some(field) = key.field {
                assert_eq!(field, key.name.replace('.', "_"));
            }
        }
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
