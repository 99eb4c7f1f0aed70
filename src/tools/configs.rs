//! `zurau configs`: shows and changes settings of topics, brokers and their loggers. Kafka: `kafka.admin.ConfigCommand`,
//! kafka-configs.sh. Absent so far: users, clients and addresses (quotas, SCRAM), client metrics, and `--zookeeper`.

use super::support::admin::{Admin, AdminError, Target};
use super::support::client_properties::{self, Properties};
use super::support::options::{Opt, OptionError, Options, Tool};
use super::support::terminal::{self, Failure, Output};
use crate::common::java;
use crate::protocol::ApiKey;
use crate::protocol::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use crate::protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, DescribeConfigsRequest, DescribeConfigsResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, alter_configs_request,
    incremental_alter_configs_request,
};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

const ZOOKEEPER: Opt = Opt::with("zookeeper", "String: urls", "DEPRECATED: not possible here.");
const BOOTSTRAP_SERVER: Opt = Opt::with("bootstrap-server", "String: server to connect to", "Brokers to ask first.");
const BOOTSTRAP_CONTROLLER: Opt =
    Opt::with("bootstrap-controller", "String: controller to connect to", "KRaft controllers: not possible here.");
const COMMAND_CONFIG: Opt =
    Opt::with("command-config", "String: command config property file", "A file of client properties.");
const ALTER: Opt = Opt::flag("alter", "Change settings.");
const DESCRIBE: Opt = Opt::flag("describe", "Show settings.");
const ALL: Opt = Opt::flag("all", "Show all settings, also those of the broker's file and the defaults.");
const ENTITY_TYPE: Opt = Opt::with(
    "entity-type",
    "String",
    "What the settings belong to (topics/clients/users/brokers/broker-loggers/ips/client-metrics)",
);
const ENTITY_NAME: Opt = Opt::with("entity-name", "String", "Its name: a topic, or the id of a broker.");
const ENTITY_DEFAULT: Opt = Opt::flag("entity-default", "The default of all brokers.");
const ADD_CONFIG: Opt = Opt::with(
    "add-config",
    "String",
    "Settings to add, as k1=v1,k2=[v1,v2],k3=v3; brackets hold a value with commas together.",
);
const ADD_CONFIG_FILE: Opt = Opt::with("add-config-file", "String", "A properties file of settings to add.");
const DELETE_CONFIG: Opt = Opt::with("delete-config", "String", "Settings to remove, as k1,k2.");
const FORCE: Opt = Opt::flag("force", "Ask nothing.");
const TOPIC: Opt = Opt::with("topic", "String", "The topic.");
const CLIENT: Opt = Opt::with("client", "String", "The client's id.");
const CLIENT_DEFAULTS: Opt = Opt::flag("client-defaults", "The default of all clients.");
const USER: Opt = Opt::with("user", "String", "The user's principal name.");
const USER_DEFAULTS: Opt = Opt::flag("user-defaults", "The default of all users.");
const BROKER: Opt = Opt::with("broker", "String", "The broker's id.");
const BROKER_DEFAULTS: Opt = Opt::flag("broker-defaults", "The default of all brokers.");
const BROKER_LOGGER: Opt = Opt::with("broker-logger", "String", "The id of the broker whose loggers are meant.");
const IP_DEFAULTS: Opt = Opt::flag("ip-defaults", "The default of all addresses.");
const IP: Opt = Opt::with("ip", "String", "The address.");
const ZK_TLS_CONFIG_FILE: Opt =
    Opt::with("zk-tls-config-file", "String: ZooKeeper TLS configuration", "How to speak TLS with --zookeeper.");

const TOOL: Tool = Tool {
    about: "This tool helps to manipulate and describe entity config for a topic, client, user, broker, ip or client-metrics",
    options: &[
        &ZOOKEEPER,
        &BOOTSTRAP_SERVER,
        &BOOTSTRAP_CONTROLLER,
        &COMMAND_CONFIG,
        &ALTER,
        &DESCRIBE,
        &ALL,
        &ENTITY_TYPE,
        &ENTITY_NAME,
        &ENTITY_DEFAULT,
        &ADD_CONFIG,
        &ADD_CONFIG_FILE,
        &DELETE_CONFIG,
        &FORCE,
        &TOPIC,
        &CLIENT,
        &CLIENT_DEFAULTS,
        &USER,
        &USER_DEFAULTS,
        &BROKER,
        &BROKER_DEFAULTS,
        &BROKER_LOGGER,
        &IP_DEFAULTS,
        &IP,
        &ZK_TLS_CONFIG_FILE,
    ],
};

/// Options that name an entity of a type, in Kafka's order.
const NAMED: &[(&Opt, &str)] = &[
    (&TOPIC, "topics"),
    (&CLIENT, "clients"),
    (&USER, "users"),
    (&BROKER, "brokers"),
    (&BROKER_LOGGER, "broker-loggers"),
    (&IP, "ips"),
];
const DEFAULTS: &[(&Opt, &str)] =
    &[(&CLIENT_DEFAULTS, "clients"), (&USER_DEFAULTS, "users"), (&BROKER_DEFAULTS, "brokers"), (&IP_DEFAULTS, "ips")];
const TYPES_OF_BROKERS: &[&str] = &["topics", "clients", "users", "brokers", "ips", "broker-loggers", "client-metrics"];
const TYPES_OF_ZOOKEEPER: &[&str] = &["users", "brokers"];

/// How long Kafka's tool waits for a description.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(30);
const ALTER_TIMEOUT: Duration = Duration::from_secs(30);
/// Operations of IncrementalAlterConfigs. Kafka: `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const UNKNOWN_VALUE: &str = "null";

/// Why the command ends.
enum CommandError {
    /// An invalid command line: only the message is printed.
    Said(String),
    /// The command failed: the command line and Java's exception.
    Failed(String),
    Output(io::Error),
}

impl From<OptionError> for CommandError {
    fn from(e: OptionError) -> Self {
        Self::Said(e.to_string())
    }
}

impl From<io::Error> for CommandError {
    fn from(e: io::Error) -> Self {
        Self::Output(e)
    }
}

/// In Java the error of an awaited answer is wrapped.
impl From<AdminError> for CommandError {
    fn from(e: AdminError) -> Self {
        Self::Failed(format!("java.util.concurrent.ExecutionException: {}", e.exception()))
    }
}

fn said<T>(message: impl Into<String>) -> Result<T, CommandError> {
    Err(CommandError::Said(message.into()))
}

pub(super) fn run(args: &[String]) -> ExitCode {
    terminal::finish(|out| {
        let options = TOOL.parse(args).map_err(Failure::message)?;
        TOOL.help_or_version(args, &options)?;
        check_actions(&options)?;
        match execute(&options, out) {
            Ok(()) => Ok(()),
            Err(CommandError::Said(message)) => Err(Failure::Message(message)),
            Err(CommandError::Output(e)) => Err(e.into()),
            Err(CommandError::Failed(exception)) => Err(Failure::Message(format!(
                "Error while executing config command with args '{}'\n{exception}",
                args.join(" ")
            ))),
        }
    })
}

fn check_actions(options: &Options) -> Result<(), Failure> {
    if options.has(&ALTER) == options.has(&DESCRIBE) {
        return Err(TOOL.usage("Command must include exactly one action: --describe, --alter"));
    }
    TOOL.refuse_beside(options, &DESCRIBE, &[&ALTER, &ADD_CONFIG, &DELETE_CONFIG])
}

fn execute(options: &Options, out: &mut Output) -> Result<(), CommandError> {
    let entity = Entity::parse(options)?;
    let properties = match options.value(&COMMAND_CONFIG)? {
        Some(path) => client_properties::load(path).map_err(fail)?,
        None => Properties::new(),
    };
    let mut admin = Admin::new(options.required(&BOOTSTRAP_SERVER)?, &properties).map_err(fail)?;
    if options.has(&ALTER) {
        alter(&mut admin, options, &entity, out)
    } else {
        describe(&mut admin, &entity, options.has(&ALL), out)
    }
}

fn fail(failure: Failure) -> CommandError {
    match failure {
        Failure::Message(text) => CommandError::Failed(text),
        other => CommandError::Failed(format!("{other:?}")),
    }
}

/// The entity that the settings belong to.
struct Entity {
    kind: String,
    /// Empty: the default of all. None: every one of them.
    name: Option<String>,
}

impl Entity {
    /// Refuses conflicting options, in Kafka's order.
    fn parse(options: &Options) -> Result<Self, CommandError> {
        let shortcuts = || NAMED.iter().chain(DEFAULTS).filter(|(opt, _)| options.has(opt));
        let mut kinds: Vec<&str> = options.values(&ENTITY_TYPE).iter().map(String::as_str).collect();
        kinds.extend(shortcuts().map(|(_, kind)| *kind));
        let mut names: Vec<&str> = options.values(&ENTITY_NAME).iter().map(String::as_str).collect();
        if options.has(&ENTITY_DEFAULT) {
            names.push("");
        }
        for (opt, _) in NAMED {
            names.extend(options.value(opt)?);
        }
        names.extend(DEFAULTS.iter().filter(|(opt, _)| options.has(opt)).map(|_| ""));

        let twice: Vec<&str> =
            (1..kinds.len()).filter(|n| kinds[..*n].contains(&kinds[*n])).map(|n| kinds[n]).collect();
        if !twice.is_empty() {
            return said(format!("Duplicate entity type(s) specified: {}", twice.join(",")));
        }
        let broker = options.has(&BOOTSTRAP_SERVER) || options.has(&BOOTSTRAP_CONTROLLER);
        let (allowed, how) = if broker {
            (TYPES_OF_BROKERS, "--bootstrap-server or --bootstrap-controller")
        } else {
            (TYPES_OF_ZOOKEEPER, "--zookeeper")
        };
        if let Some(kind) = kinds.iter().find(|kind| !allowed.contains(kind)) {
            let allowed = allowed.join(", ");
            return said(format!(
                "Invalid entity type {kind}, the entity type must be one of {allowed} with a {how} argument"
            ));
        }
        let Some(&kind) = kinds.first() else { return said("At least one entity type must be specified") };
        if kinds.len() > 1 && !(kinds.len() == 2 && kinds.contains(&"users") && kinds.contains(&"clients")) {
            return said("Only 'users' and 'clients' entity types may be specified together");
        }
        let by_entity = [&ENTITY_NAME, &ENTITY_TYPE, &ENTITY_DEFAULT].iter().any(|opt| options.has(opt));
        if by_entity && shortcuts().next().is_some() {
            return said("--entity-{type,name,default} should not be used in conjunction with specific entity flags");
        }
        let has_name = names.iter().any(|name| !name.is_empty());
        let has_default = names.iter().any(|name| name.is_empty());
        let servers =
            [&BOOTSTRAP_SERVER, &BOOTSTRAP_CONTROLLER, &ZOOKEEPER].iter().filter(|opt| options.has(opt)).count();
        match servers {
            0 => {
                return said(
                    "One of the required --bootstrap-server, --boostrap-controller, or --zookeeper arguments must be specified",
                );
            }
            1 => {}
            _ => {
                return said("Only one of --bootstrap-server, --boostrap-controller, and --zookeeper can be specified");
            }
        }
        if options.has(&ALL) && options.has(&ZOOKEEPER) {
            return said("--bootstrap-server must be specified for --all");
        }
        if options.has(&ZK_TLS_CONFIG_FILE) && !options.has(&ZOOKEEPER) {
            return said("Only the --zookeeper option can be used with the --zk-tls-config-file option.");
        }
        if has_name && matches!(kind, "brokers" | "broker-loggers") {
            for opt in [&ENTITY_NAME, &BROKER, &BROKER_LOGGER] {
                if let Some(id) = options.value(opt)?.filter(|id| id.parse::<i32>().is_err()) {
                    return said(format!(
                        "The entity name for {kind} must be a valid integer broker id, but it is: {id}"
                    ));
                }
            }
        }
        if options.has(&DESCRIBE) && kind == "broker-loggers" && !has_name {
            return said(format!("an entity name must be specified with --describe of {}", kinds.join(",")));
        }
        if options.has(&ALTER) {
            check_alter(options, &kinds, has_name, has_default)?;
        }
        if !options.has(&BOOTSTRAP_SERVER) {
            return said("Only --bootstrap-server is supported yet");
        }
        if options.has(&ALTER) && kinds.len() != names.len() {
            return said("An entity name must be specified for every entity type");
        }
        if !matches!(kind, "topics" | "brokers" | "broker-loggers") {
            return said(format!("Unsupported entity type: {kind}"));
        }
        Ok(Self { kind: kind.to_owned(), name: names.first().map(|name| (*name).to_owned()) })
    }

    /// `topic` of `topics`.
    fn singular(&self) -> &str {
        self.kind.strip_suffix('s').unwrap_or(&self.kind)
    }
}

fn check_alter(options: &Options, kinds: &[&str], has_name: bool, has_default: bool) -> Result<(), CommandError> {
    if kinds.iter().any(|kind| matches!(*kind, "users" | "clients" | "brokers" | "ips")) {
        if !has_name && !has_default {
            return said(
                "an entity-name or default entity must be specified with --alter of users, clients, brokers or ips",
            );
        }
    } else if !has_name {
        return said(format!("an entity name must be specified with --alter of {}", kinds.join(",")));
    }
    if options.has(&ADD_CONFIG) && options.has(&ADD_CONFIG_FILE) {
        return said("Only one of --add-config or --add-config-file must be specified");
    }
    if ![&ADD_CONFIG, &ADD_CONFIG_FILE, &DELETE_CONFIG].iter().any(|opt| options.has(opt)) {
        return said(
            "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter",
        );
    }
    Ok(())
}

/// A resource on the wire, the broker that answers for it, and the source of its own settings.
struct Resource<'a> {
    kind: i8,
    name: &'a str,
    target: Target,
    /// None: all sources.
    own_source: Option<i8>,
}

/// Resource types. Kafka: `ConfigResource.Type`.
const TOPIC_RESOURCE: i8 = 2;
const BROKER_RESOURCE: i8 = 4;
const BROKER_LOGGER_RESOURCE: i8 = 8;

/// The sources of settings, by their number on the wire. Kafka: `ConfigEntry.ConfigSource`.
const SOURCES: &[&str] = &[
    "UNKNOWN",
    "DYNAMIC_TOPIC_CONFIG",
    "DYNAMIC_BROKER_CONFIG",
    "DYNAMIC_DEFAULT_BROKER_CONFIG",
    "STATIC_BROKER_CONFIG",
    "DEFAULT_CONFIG",
    "DYNAMIC_BROKER_LOGGER_CONFIG",
    "DYNAMIC_CLIENT_METRICS_CONFIG",
];

fn source_name(source: i8) -> &'static str {
    usize::try_from(source).ok().and_then(|n| SOURCES.get(n)).unwrap_or(&SOURCES[0])
}

impl<'a> Resource<'a> {
    fn of(kind: &str, name: &'a str) -> Result<Self, CommandError> {
        Ok(match kind {
            "topics" => {
                check_topic_name(name)?;
                Self { kind: TOPIC_RESOURCE, name, target: Target::Any, own_source: Some(1) }
            }
            "brokers" if name.is_empty() => {
                Self { kind: BROKER_RESOURCE, name, target: Target::Any, own_source: Some(3) }
            }
            _ => {
                let Ok(id) = name.parse() else {
                    return said(format!(
                        "The entity name for {kind} must be a valid integer broker id, found: {name}"
                    ));
                };
                let target = Target::Broker(id);
                match kind {
                    "brokers" => Self { kind: BROKER_RESOURCE, name, target, own_source: Some(2) },
                    _ => Self { kind: BROKER_LOGGER_RESOURCE, name, target, own_source: None },
                }
            }
        })
    }

    /// The settings, sorted by name; with `all` also those that are not the resource's own.
    fn settings(
        &self,
        admin: &mut Admin,
        include_synonyms: bool,
        all: bool,
    ) -> Result<Vec<DescribeConfigsResourceResult>, CommandError> {
        let resource = DescribeConfigsResource {
            resource_type: self.kind,
            resource_name: self.name.into(),
            configuration_keys: None,
            ..Default::default()
        };
        let request = DescribeConfigsRequest { resources: vec![resource], include_synonyms, ..Default::default() };
        let asked =
            admin.within(DESCRIBE_TIMEOUT).call("describeConfigs", self.target, ApiKey::DescribeConfigs, &request);
        let answer: DescribeConfigsResponse = match asked {
            // Kafka's tool stops waiting before its client times out.
            Err(AdminError::Timeout(_)) if admin.api_timeout() > DESCRIBE_TIMEOUT => {
                return Err(CommandError::Failed("java.util.concurrent.TimeoutException".to_owned()));
            }
            asked => asked?,
        };
        let mut settings = Vec::new();
        for result in answer.results {
            if let Some(e) = AdminError::of(result.error_code, result.error_message.as_deref()) {
                return Err(e.into());
            }
            settings.extend(result.configs);
        }
        if let Some(source) = self.own_source.filter(|_| !all) {
            settings.retain(|setting| setting.config_source == source);
        }
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(settings)
    }
}

/// Kafka: `Topic.validate`.
fn check_topic_name(name: &str) -> Result<(), CommandError> {
    const MAX_LEN: usize = 249;
    let reason = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => "'.' or '..' is not allowed".to_owned(),
        _ if name.len() > MAX_LEN => format!("the length of '{name}' is longer than the max allowed length {MAX_LEN}"),
        _ if name.bytes().any(|b| !b.is_ascii_alphanumeric() && !matches!(b, b'.' | b'_' | b'-')) => {
            format!("'{name}' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")
        }
        _ => return Ok(()),
    };
    let exception = "org.apache.kafka.common.errors.InvalidTopicException";
    Err(CommandError::Failed(format!("{exception}: Topic name is invalid: {reason}")))
}

fn describe(admin: &mut Admin, entity: &Entity, all: bool, out: &mut Output) -> Result<(), CommandError> {
    let names = match &entity.name {
        Some(name) => vec![name.clone()],
        None if entity.kind == "topics" => {
            let topics = admin.metadata("listTopics", None)?.topics;
            let mut names: Vec<String> = topics.into_iter().filter_map(|t| Some(t.name?.to_string())).collect();
            java::hash_order(&mut names, 0, |name| name);
            names
        }
        None => {
            let ids = admin.nodes("listNodes")?.into_iter().map(|node| node.id.to_string());
            ids.chain([String::new()]).collect()
        }
    };
    for name in names {
        if name.is_empty() {
            writeln!(out, "Default configs for {} in the cluster are:", entity.kind)?;
        } else {
            let which = if all { "All" } else { "Dynamic" };
            writeln!(out, "{which} configs for {} {name} are:", entity.singular())?;
        }
        for setting in Resource::of(&entity.kind, &name)?.settings(admin, true, all)? {
            let value = |text: Option<&str>| text.unwrap_or(UNKNOWN_VALUE).to_owned();
            let synonyms: Vec<String> = setting
                .synonyms
                .iter()
                .map(|s| format!("{}:{}={}", source_name(s.source), s.name, value(s.value.as_deref())))
                .collect();
            writeln!(
                out,
                "  {}={} sensitive={} synonyms={{{}}}",
                setting.name,
                value(setting.value.as_deref()),
                setting.is_sensitive,
                synonyms.join(", ")
            )?;
        }
    }
    Ok(())
}

fn alter(admin: &mut Admin, options: &Options, entity: &Entity, out: &mut Output) -> Result<(), CommandError> {
    let add = settings_to_add(options, out)?;
    let delete: Vec<&str> =
        options.values(&DELETE_CONFIG).iter().flat_map(|list| list.split(',')).map(str::trim).collect();
    let name = entity.name.as_deref().unwrap_or_default();
    let resource = Resource::of(&entity.kind, name)?;
    let logger = resource.kind == BROKER_LOGGER_RESOURCE;
    let old = resource.settings(admin, logger, false)?;
    let is_old = |key: &str| old.iter().any(|setting| *setting.name == *key);
    let mut invalid: Vec<&str> = delete.iter().copied().filter(|key| !is_old(key)).collect();
    if logger {
        invalid.extend(add.keys().map(String::as_str).filter(|key| !is_old(key)));
    }
    if !invalid.is_empty() {
        let what = if logger { "broker logger" } else { "config" };
        return said(format!("Invalid {what}(s): {}", invalid.join(",")));
    }
    if resource.kind == BROKER_RESOURCE {
        replace(admin, &resource, &old, &add, &delete)?;
    } else {
        change(admin, &resource, &add, &delete)?;
    }
    if name.is_empty() {
        writeln!(out, "Completed updating default config for {} in the cluster.", entity.kind)?;
    } else {
        writeln!(out, "Completed updating config for {} {name}.", entity.singular())?;
    }
    Ok(())
}

/// Changes single settings.
fn change(admin: &mut Admin, resource: &Resource<'_>, add: &Properties, delete: &[&str]) -> Result<(), CommandError> {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let operation = |name: &str, value: &str, operation| AlterableConfig {
        name: name.into(),
        config_operation: operation,
        value: Some(value.into()),
        ..Default::default()
    };
    let sets = add.iter().map(|(key, value)| operation(key, value, SET));
    let configs = sets.chain(delete.iter().map(|key| operation(key, "", DELETE))).collect();
    let resources = vec![AlterConfigsResource {
        resource_type: resource.kind,
        resource_name: resource.name.into(),
        configs,
        ..Default::default()
    }];
    let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
    let answer: IncrementalAlterConfigsResponse = admin.within(ALTER_TIMEOUT).call(
        "incrementalAlterConfigs",
        resource.target,
        ApiKey::IncrementalAlterConfigs,
        &request,
    )?;
    match answer.responses.iter().find_map(|r| AdminError::of(r.error_code, r.error_message.as_deref())) {
        Some(e) => Err(e.into()),
        None => Ok(()),
    }
}

/// Replaces all dynamic settings of a broker: Kafka 3.9's tool still uses the older API for brokers.
fn replace(
    admin: &mut Admin,
    resource: &Resource<'_>,
    old: &[DescribeConfigsResourceResult],
    add: &Properties,
    delete: &[&str],
) -> Result<(), CommandError> {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let mut wanted: BTreeMap<&str, Option<&str>> = old.iter().map(|s| (&*s.name, s.value.as_deref())).collect();
    wanted.extend(add.iter().map(|(key, value)| (key.as_str(), Some(value.as_str()))));
    wanted.retain(|key, _| !delete.contains(key));
    let hidden: Vec<&str> = wanted.iter().filter(|(_, value)| value.is_none()).map(|(key, _)| *key).collect();
    if !hidden.is_empty() {
        return said(format!(
            "All sensitive broker config entries must be specified for --alter, missing entries: Set({})",
            hidden.join(", ")
        ));
    }
    let setting = |(key, value): (&str, Option<&str>)| AlterableConfig {
        name: key.into(),
        value: value.map(Into::into),
        ..Default::default()
    };
    let resources = vec![AlterConfigsResource {
        resource_type: resource.kind,
        resource_name: resource.name.into(),
        configs: wanted.into_iter().map(setting).collect(),
        ..Default::default()
    }];
    let request = AlterConfigsRequest { resources, ..Default::default() };
    let answer: AlterConfigsResponse =
        admin.within(ALTER_TIMEOUT).call("alterConfigs", resource.target, ApiKey::AlterConfigs, &request)?;
    match answer.responses.iter().find_map(|r| AdminError::of(r.error_code, r.error_message.as_deref())) {
        Some(e) => Err(e.into()),
        None => Ok(()),
    }
}

fn settings_to_add(options: &Options, out: &mut Output) -> Result<Properties, CommandError> {
    let mut settings = match options.value(&ADD_CONFIG_FILE)? {
        Some(path) => client_properties::load(path).map_err(fail)?,
        None => Properties::new(),
    };
    if let Some(text) = options.value(&ADD_CONFIG)? {
        for pair in split_outside_brackets(text, ',') {
            match split_outside_brackets(pair, '=')[..] {
                [key, value] => {
                    settings.insert(key.trim().to_owned(), value.replace(['[', ']'], "").trim().to_owned());
                }
                _ => {
                    return said(
                        "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\".",
                    );
                }
            }
        }
    }
    if let Some(version) = settings.get("message.format.version") {
        writeln!(
            out,
            "WARNING: The configuration message.format.version={version} is specified. This configuration will be ignored if \
             the version is newer than the inter.broker.protocol.version specified in the broker or if the \
             inter.broker.protocol.version is 3.0 or newer. This configuration is deprecated and it will be removed in Apache \
             Kafka 4.0."
        )?;
    }
    let odd = |key: &&String| !key.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
    match settings.keys().find(odd) {
        Some(key) => said(format!("Invalid character found for config key: {key}")),
        None => Ok(settings),
    }
}

/// Splits at separators after which no bracket is closed before one is opened.
fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        if c == separator && !matches!(rest.find(['[', ']']).map(|n| rest.as_bytes()[n]), Some(b']')) {
            pieces.push(&text[start..at]);
            start = at + c.len_utf8();
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::split_outside_brackets;

    #[test]
    fn brackets_hold_a_value_with_commas_together() {
        assert_eq!(split_outside_brackets("a=[b,c],d=e", ','), ["a=[b,c]", "d=e"]);
        assert_eq!(split_outside_brackets("a=[b=1,c]", '='), ["a", "[b=1,c]"]);
        assert_eq!(split_outside_brackets("a=", '='), ["a", ""]);
    }
}
