//! Owns the definition of a configuration key: its type, default, validator, importance and update mode; and turns the
//! text of a properties file into checked values. Kafka: `ConfigDef`, `ConfigException`; the error texts are Kafka's,
//! because operators search for them. Absent on purpose: groups, display names and recommenders, which only Connect
//! uses.

use super::keys::{METADATA_VERSIONS, PRODUCTION_METADATA_VERSION};
use crate::common::java;
use std::collections::BTreeMap;
use std::fmt;

/// Keys and their values as text, from a properties file or a znode.
pub type Props = BTreeMap<String, String>;

/// Type of a key. Kafka: `ConfigDef.Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Type {
    /// Kafka's upper-case name, as error texts and tools print it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// The code in DescribeConfigs answers (v3 and newer). Kafka: `DescribeConfigsResponse.ConfigType`; 0 is unknown.
    pub fn wire_code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }
}

/// How much an operator should care about a key. Kafka: `ConfigDef.Importance`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

impl Importance {
    pub fn name(self) -> &'static str {
        match self {
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        }
    }
}

/// Where a key may change while the broker runs. Kafka: the update modes of `DynamicBrokerConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateMode {
    /// Only in the properties file, read at start.
    ReadOnly,
    /// Only in `/config/brokers/<id>`.
    PerBroker,
    /// In `/config/brokers/<default>` or `/config/brokers/<id>`.
    ClusterWide,
    /// In `/config/topics/<topic>`.
    Topic,
}

impl UpdateMode {
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
            Self::Topic => "topic",
        }
    }
}

/// A validator. Its `Display` is what Kafka's documentation prints as "valid values".
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Check {
    Any,
    AtLeast(f64),
    Between(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    /// Every element of a list is one of these.
    ListOf(&'static [&'static str]),
    NonNull,
    NonEmpty,
    /// 1 to 9, or -1 for the codec's default.
    GzipLevel,
    /// -1, or at least 1.
    PoolSize,
    /// A version that `inter.broker.protocol.version` knows, in its long or short form.
    MetadataVersion,
    /// `partition:broker` pairs, or `*`.
    ThrottledReplicas,
    /// `id@host:port` entries.
    QuorumVoters,
    /// `host:port` entries.
    HostPorts,
    /// Java class names with a built-in equivalent; any other class cannot be loaded here.
    Classes(&'static [&'static str]),
}

/// The effect of a key's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A part of the broker reads it.
    Read,
    /// It is accepted and has no effect, for this reason.
    Without(&'static str),
    /// Only the default is accepted, for this reason.
    Refused(&'static str),
}

/// Whether a key may also be set with the prefix `listener.name.<listener>.` while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfListener {
    /// Only for one broker, as in Kafka.
    Plain,
    /// For the whole cluster too. Kafka: `ClusterLevelListenerConfigs`.
    ClusterWide,
    /// It changes only with the prefix. Kafka: `SslConfigs.RECONFIGURABLE_CONFIGS`.
    Only,
    /// After the prefix and the name of a SASL mechanism. Kafka: `ListenerMechanismConfigs`.
    WithMechanism,
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ConfigKey {
    pub name: &'static str,
    pub kind: Type,
    /// The default as text; `None` is Java's null.
    pub default: Option<&'static str>,
    pub check: Check,
    pub importance: Importance,
    pub update: UpdateMode,
    pub effect: Effect,
    pub listener: OfListener,
    /// Accepted, but omitted from documentation and DescribeConfigs. Kafka: `defineInternal`.
    pub internal: bool,
    /// One change while the broker runs may at most halve or double it. Kafka: `DynamicThreadPool`,
    /// `DataPlaneAcceptor`.
    pub is_thread_count: bool,
    /// For a topic key: the broker keys that set its default, highest precedence first. A name that ends in `.hours` or
    /// `.minutes` has that unit, the topic key is always in ms.
    pub broker_synonyms: &'static [&'static str],
    /// The field that holds its value.
    pub field: Option<&'static str>,
    pub doc: &'static str,
}

/// How the table writes a row. Each method except `new` is a trait that may follow the update mode of a row.
impl ConfigKey {
    pub(super) const fn new(
        name: &'static str,
        (kind, default, check): (Type, Option<&'static str>, Check),
        importance: Importance,
        update: UpdateMode,
        doc: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            default,
            check,
            importance,
            update,
            effect: Effect::Read,
            listener: OfListener::Plain,
            internal: false,
            is_thread_count: false,
            broker_synonyms: &[],
            field: None,
            doc,
        }
    }

    pub(super) const fn internal(self) -> Self {
        Self { internal: true, ..self }
    }

    pub(super) const fn no_effect(self, why: &'static str) -> Self {
        Self { effect: Effect::Without(why), ..self }
    }

    pub(super) const fn refused(self, why: &'static str) -> Self {
        Self { effect: Effect::Refused(why), ..self }
    }

    pub(super) const fn of_listener(self) -> Self {
        Self { listener: OfListener::ClusterWide, ..self }
    }

    pub(super) const fn only_of_listener(self) -> Self {
        Self { listener: OfListener::Only, ..self }
    }

    pub(super) const fn of_mechanism(self) -> Self {
        Self { listener: OfListener::WithMechanism, ..self }
    }

    pub(super) const fn thread_count(self) -> Self {
        Self { is_thread_count: true, ..self }
    }

    pub(super) const fn from(self, broker_synonyms: &'static [&'static str]) -> Self {
        Self { broker_synonyms, ..self }
    }

    pub(super) const fn field(self, field: &'static str) -> Self {
        Self { field: Some(field), ..self }
    }
}

/// A refused value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The value of one key is invalid.
    #[error("Invalid value {value} for configuration {key}{}{reason}", if reason.is_empty() { "" } else { ": " })]
    Value { key: String, value: String, reason: String },
    /// Values that contradict each other, or a feature that this broker does not have. The text names the keys.
    #[error("{0}")]
    Rule(String),
    /// Well-formed settings of a topic that it cannot have. Clients get this text without the resource's name.
    #[error("{0}")]
    Unfit(String),
}

impl ConfigError {
    pub(super) fn value(key: &str, value: impl fmt::Display, reason: impl Into<String>) -> Self {
        Self::Value { key: key.to_owned(), value: value.to_string(), reason: reason.into() }
    }

    pub(super) fn rule(text: impl Into<String>) -> Self {
        Self::Rule(text.into())
    }
}

/// Kafka's `require`: the cross checks of `KafkaConfig.validateValues` carry this prefix in its log.
pub(super) fn require(holds: bool, text: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Rule(format!("requirement failed: {}", text()))) }
}

/// A parsed value. `Display` prints what Java's `ConfigDef.convertToString` prints.
#[derive(Clone, PartialEq)]
pub enum Value {
    Null,
    Boolean(bool),
    String(String),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    List(Vec<String>),
    Class(String),
    Password(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Boolean(v) => v.fmt(f),
            Self::Int(v) => v.fmt(f),
            Self::Short(v) => v.fmt(f),
            Self::Long(v) => v.fmt(f),
            Self::Double(v) => f.write_str(&java::double_text(*v)),
            Self::List(v) => f.write_str(&v.join(",")),
            Self::String(v) | Self::Class(v) | Self::Password(v) => f.write_str(v),
        }
    }
}

impl fmt::Debug for Value {
    /// A value may reach a log line through `{:?}`, so a password is hidden. Kafka: `Password.toString`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(_) => f.write_str("[hidden]"),
            Self::List(v) => f.debug_list().entries(v).finish(),
            other => write!(f, "{other}"),
        }
    }
}

impl Value {
    /// The text of the value; `None` for Java's null.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null => None,
            other => Some(other.to_string()),
        }
    }
}

impl ConfigKey {
    /// Parses `text` and checks it. Errors are Kafka's `ConfigException`.
    pub fn parse(&self, text: &str) -> Result<Value, ConfigError> {
        let value = parse_type(self.name, text, self.kind)?;
        self.validate(&value)?;
        match self.effect {
            Effect::Refused(why) if value != self.default_value() => Err(ConfigError::value(self.name, value, why)),
            _ => Ok(value),
        }
    }

    /// The default. The table's own tests parse every one of them.
    pub fn default_value(&self) -> Value {
        let Some(text) = self.default else { return Value::Null };
        parse_type(self.name, text, self.kind).unwrap_or(Value::Null)
    }

    fn validate(&self, value: &Value) -> Result<(), ConfigError> {
        let refuse = |reason: String| Err(ConfigError::value(self.name, value, reason));
        match self.check {
            Check::Any => Ok(()),
            Check::AtLeast(min) => in_range(self.name, value, Some(min), None),
            Check::Between(min, max) => in_range(self.name, value, Some(min), Some(max)),
            Check::OneOf(allowed) => one_of(self.name, &value.to_string(), allowed),
            Check::ListOf(allowed) => match value {
                Value::List(entries) => entries.iter().try_for_each(|entry| one_of(self.name, entry, allowed)),
                _ => Ok(()),
            },
            Check::OneOfAnyCase(allowed) => match value {
                Value::String(v) if allowed.iter().any(|a| a.eq_ignore_ascii_case(v)) => Ok(()),
                _ => refuse(format!("String must be one of (case insensitive): {}", allowed.join(", "))),
            },
            Check::NonNull if *value == Value::Null => refuse("entry must be non null".to_owned()),
            Check::NonEmpty if *value == Value::String(String::new()) => refuse("String must be non-empty".to_owned()),
            Check::NonNull | Check::NonEmpty => Ok(()),
            Check::GzipLevel => match value {
                Value::Int(-1 | 1..=9) => Ok(()),
                _ => refuse("Value must be between 1 and 9 or equal to -1".to_owned()),
            },
            Check::PoolSize => match value {
                Value::Int(-1 | 1..) => Ok(()),
                _ => refuse("Value can be -1 or greater than 0".to_owned()),
            },
            Check::MetadataVersion => match value {
                Value::String(v) if !metadata_version_known(v) => refuse(format!("Version {v} is not a valid version")),
                _ => Ok(()),
            },
            Check::ThrottledReplicas => match value {
                Value::List(entries) if !throttled_replicas_well_formed(entries) => Err(ConfigError::value(
                    self.name,
                    format!("[{}]", entries.join(", ")),
                    format!(
                        "{} must be the literal '*' or a list of replicas in the following format: \
                         [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                        self.name
                    ),
                )),
                _ => Ok(()),
            },
            Check::QuorumVoters => check_quorum_voters(self.name, value),
            Check::HostPorts => match value {
                Value::List(entries) => {
                    entries.iter().try_for_each(|e| check_host_port(self.name, e, e, "{host}:{port}", '"'))
                }
                _ => Ok(()),
            },
            Check::Classes(built_in) => match value {
                Value::Class(name) if !built_in.contains(&name.as_str()) => {
                    refuse(format!("Class {name} could not be found."))
                }
                _ => Ok(()),
            },
        }
    }
}

fn one_of(key: &str, value: &str, allowed: &[&str]) -> Result<(), ConfigError> {
    if allowed.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::value(key, value, format!("String must be one of: {}", allowed.join(", "))))
}

fn in_range(key: &str, value: &Value, min: Option<f64>, max: Option<f64>) -> Result<(), ConfigError> {
    let number = match value {
        Value::Int(v) => f64::from(*v),
        Value::Short(v) => f64::from(*v),
        // As in Java, doubles are compared.
        Value::Long(v) => *v as f64,
        Value::Double(v) => *v,
        _ => return Err(ConfigError::value(key, "null", "Value must be non-null")),
    };
    if let Some(min) = min.filter(|min| number < *min) {
        return Err(ConfigError::value(key, value, format!("Value must be at least {min}")));
    }
    if let Some(max) = max.filter(|max| number > *max) {
        return Err(ConfigError::value(key, value, format!("Value must be no more than {max}")));
    }
    Ok(())
}

/// Whether Kafka 3.9 knows this version. `3.9`, `3.9-IV0` and `3.9.1` name the same one: only the first two parts count
/// (three when the first is 0). Kafka: `MetadataVersion.fromVersionString`.
fn metadata_version_known(text: &str) -> bool {
    let parts = if text.starts_with("0.") { 3 } else { 2 };
    let key = text.split('.').take(parts).collect::<Vec<_>>().join(".");
    METADATA_VERSIONS.iter().any(|v| *v == key || v.split_once("-IV").is_some_and(|(short, _)| short == key))
}

/// Whether the version is the one that this broker uses with other brokers.
pub(super) fn is_production_metadata_version(text: &str) -> bool {
    let short = PRODUCTION_METADATA_VERSION.split_once("-IV").map_or(PRODUCTION_METADATA_VERSION, |(short, _)| short);
    let key = text.split('.').take(2).collect::<Vec<_>>().join(".");
    key == short || key == PRODUCTION_METADATA_VERSION
}

fn throttled_replicas_well_formed(entries: &[String]) -> bool {
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    let pair = |s: &str| s.is_empty() || s.split_once(':').is_some_and(|(p, b)| digits(p) && digits(b));
    let trimmed: Vec<&str> = entries.iter().map(|e| java::trim(e)).collect();
    trimmed.iter().all(|e| pair(e)) || trimmed.concat() == "*"
}

fn check_quorum_voters(key: &str, value: &Value) -> Result<(), ConfigError> {
    let Value::List(entries) = value else { return Ok(()) };
    const FORM: &str = "{id}@{host}:{port}";
    for entry in entries {
        let Some((id, address)) = entry.split_once('@').filter(|(_, rest)| !rest.is_empty() && !rest.contains('@'))
        else {
            return Err(ConfigError::Rule(format!(
                "Invalid configuration value for {key}. Each entry should be in the form `{FORM}`."
            )));
        };
        if id.parse::<i32>().is_err() {
            return Err(ConfigError::Rule(format!("Failed to parse voter ID as an integer from {id}")));
        }
        check_host_port(key, entry, address, FORM, '`')?;
    }
    Ok(())
}

fn check_host_port(key: &str, entry: &str, address: &str, form: &str, quote: char) -> Result<(), ConfigError> {
    let of_entry = if form.starts_with("{id}") { "entry " } else { "" };
    let refuse = |what: &str| {
        Err(ConfigError::Rule(format!(
            "Failed to parse host {what} from {of_entry}{entry} for the configuration {key}. Each entry should be in the form \
             {quote}{form}{quote}{}",
            if form.starts_with("{id}") { "." } else { "" }
        )))
    };
    // Kafka's pattern allows anything before the final colon and number.
    let Some((_, port)) = address.rsplit_once(':') else { return refuse("name") };
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return refuse("name");
    }
    if port.parse::<i32>().is_err() {
        return refuse("port");
    }
    Ok(())
}

/// Kafka: `Utils.validHostPattern`; the empty host is valid.
pub(super) fn valid_host(host: &str) -> bool {
    host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-%._:".contains(&b))
}

fn parse_type(key: &str, text: &str, kind: Type) -> Result<Value, ConfigError> {
    let trimmed = java::trim(text);
    let number = |parsed: Option<Value>| {
        parsed.ok_or_else(|| ConfigError::value(key, text, format!("Not a number of type {}", kind.name())))
    };
    match kind {
        Type::Boolean if trimmed.eq_ignore_ascii_case("true") => Ok(Value::Boolean(true)),
        Type::Boolean if trimmed.eq_ignore_ascii_case("false") => Ok(Value::Boolean(false)),
        Type::Boolean => Err(ConfigError::value(key, text, "Expected value to be either true or false")),
        Type::String => Ok(Value::String(trimmed.to_owned())),
        Type::Password => Ok(Value::Password(trimmed.to_owned())),
        Type::Class => Ok(Value::Class(trimmed.to_owned())),
        Type::Int => number(trimmed.parse().ok().map(Value::Int)),
        Type::Short => number(trimmed.parse().ok().map(Value::Short)),
        Type::Long => number(trimmed.parse().ok().map(Value::Long)),
        Type::Double => number(java::double(trimmed).map(Value::Double)),
        Type::List => Ok(Value::List(split_list(trimmed))),
    }
}

/// Kafka's list: commas with white space around them. A trailing comma gives an empty last element, as in Java.
pub fn split_list(text: &str) -> Vec<String> {
    if text.is_empty() { Vec::new() } else { text.split(',').map(|e| java::trim_regex_space(e).to_owned()).collect() }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any | Self::Classes(_) => Ok(()),
            Self::AtLeast(min) => write!(f, "[{min},...]"),
            Self::Between(min, max) => write!(f, "[{min},...,{max}]"),
            Self::OneOf(allowed) | Self::ListOf(allowed) => write!(f, "[{}]", allowed.join(", ")),
            Self::OneOfAnyCase(allowed) => write!(f, "(case insensitive) [{}]", allowed.join(", ")),
            Self::NonNull => f.write_str("non-null string"),
            Self::NonEmpty => f.write_str("non-empty string"),
            Self::GzipLevel => f.write_str("[1,...,9] or -1"),
            Self::PoolSize => f.write_str("[1,...] or -1"),
            Self::MetadataVersion => write!(f, "[{}]", METADATA_VERSIONS.join(", ")),
            Self::ThrottledReplicas => f.write_str("[partitionId]:[brokerId],[partitionId]:[brokerId],..."),
            Self::QuorumVoters | Self::HostPorts => f.write_str("non-empty list"),
        }
    }
}

/// A table of keys. Kafka: `ConfigDef`.
#[derive(Debug)]
pub struct ConfigDef {
    keys: BTreeMap<&'static str, &'static ConfigKey>,
}

impl ConfigDef {
    pub(super) fn new(rooms: &[&'static [ConfigKey]]) -> Self {
        Self { keys: rooms.iter().flat_map(|rows| rows.iter()).map(|key| (key.name, key)).collect() }
    }

    pub fn get(&self, name: &str) -> Option<&'static ConfigKey> {
        self.keys.get(name).copied()
    }

    /// Keys in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &'static ConfigKey> {
        self.keys.values().copied()
    }

    /// Values of every key: from `props` where it has the key, else the default. Names that the table does not have are
    /// ignored: see [`Self::unknown`].
    pub fn parse(&self, props: &Props) -> Result<Values, ConfigError> {
        let mut values = BTreeMap::new();
        for key in self.iter() {
            let value = match props.get(key.name) {
                Some(text) => key.parse(text)?,
                None => key.default_value(),
            };
            values.insert(key.name, value);
        }
        Ok(Values(values))
    }

    /// Names in `props` that the table does not have. Kafka only warns about them, since plugins read them.
    pub fn unknown<'a>(&self, props: &'a Props) -> Vec<&'a str> {
        props.keys().map(String::as_str).filter(|name| !self.keys.contains_key(name)).collect()
    }
}

/// A parsed value for every key of one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Values(BTreeMap<&'static str, Value>);

impl Values {
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        self.0.iter().map(|(name, value)| (*name, value))
    }

    /// The value of a row of the table, for the structs that the rows fill.
    pub(super) fn of(&self, name: &'static str) -> Result<Value, ConfigError> {
        Ok(self.0.get(name).cloned().unwrap_or(Value::Null))
    }
}

/// The type of a field, converted from the value that its row parsed.
pub(super) trait FromValue: Sized {
    /// `None` where the value is of another type.
    fn from_value(value: Value) -> Option<Self>;
}

/// The value of the row `name`, in the type of its field.
pub(super) fn typed<T: FromValue>(name: &'static str, value: Value) -> Result<T, ConfigError> {
    let refusal = ConfigError::value(name, &value, "Not a value of the key's type");
    T::from_value(value).ok_or(refusal)
}

macro_rules! from_value {
    ($($type:ty: $($value:pat => $made:expr),+;)+) => {$(
        impl FromValue for $type {
            fn from_value(value: Value) -> Option<Self> {
                match value {
                    $($value => $made,)+
                    _ => None,
                }
            }
        }
    )+};
}

from_value! {
    bool: Value::Boolean(v) => Some(v);
    i16: Value::Short(v) => Some(v);
    i32: Value::Int(v) => Some(v), Value::Short(v) => Some(v.into());
    i64: Value::Long(v) => Some(v), Value::Int(v) => Some(v.into());
    f64: Value::Double(v) => Some(v);
    u32: Value::Int(v) => v.try_into().ok();
    u64: Value::Long(v) => v.try_into().ok();
    // A negative bound allows nothing.
    usize: Value::Int(v) => Some(v.try_into().unwrap_or(0));
    String: Value::String(v) => Some(v), Value::Class(v) => Some(v);
    Vec<String>: Value::List(v) => Some(v);
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}
