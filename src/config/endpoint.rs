//! Owns the parsing of `listeners` and related keys: listener names, security protocols, endpoints, and the rules
//! between them. Kafka: `EndPoint`, `ListenerName`, `SecurityProtocol`, `CoreUtils.listenerListToEndPoints`, `Csv`.
//! Absent on purpose: name resolution and sockets.

use super::def::{ConfigError, require};
use crate::common::java;
use core::net::{Ipv4Addr, Ipv6Addr};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Name of a listener, in upper case. Kafka: `ListenerName.normalised`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ListenerName(String);

impl ListenerName {
    pub fn new(name: &str) -> Result<Self, ConfigError> {
        if java::trim(name).is_empty() {
            return Err(ConfigError::rule("The provided listener name is null or empty string"));
        }
        Ok(Self(name.to_uppercase()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix of this listener's keys: `listener.name.<lower case name>.`
    pub fn config_prefix(&self) -> String {
        format!("listener.name.{}.", self.0.to_lowercase())
    }
}

impl fmt::Display for ListenerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a listener's bytes are protected and its peers authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecurityProtocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

impl SecurityProtocol {
    pub const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The code in UpdateMetadata requests.
    pub fn id(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    pub fn uses_sasl(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    pub fn uses_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }
}

impl FromStr for SecurityProtocol {
    type Err = ();

    /// Upper or lower case. Kafka: `SecurityProtocol.forName`.
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|p| p.name().eq_ignore_ascii_case(name)).ok_or(())
    }
}

impl fmt::Display for SecurityProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One entry of `listeners` or `advertised.listeners`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub listener: ListenerName,
    pub protocol: SecurityProtocol,
    /// Without the brackets of an IPv6 address. `None` where the entry had no host: bind to every interface, and
    /// advertise this machine's own name.
    pub host: Option<String>,
    /// 0 asks the system for a free port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    /// `NAME://host:port`, as znodes and logs show it. Kafka: `EndPoint.connectionString`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.host.as_deref().unwrap_or("");
        let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
        write!(f, "{}://{open}{host}{close}:{}", self.listener, self.port)
    }
}

/// `listener.security.protocol.map`, parsed.
pub type ProtocolMap = BTreeMap<ListenerName, SecurityProtocol>;

/// Comma separated entries; white space around a comma and empty entries are dropped. Kafka: `Csv.parseCsvList`.
pub fn csv_list(text: &str) -> Vec<String> {
    text.split(',').map(java::trim_regex_space).filter(|e| !e.is_empty()).map(str::to_owned).collect()
}

/// Comma separated `key:value` entries; the last colon separates, so that keys may be IPv6 addresses.
/// Kafka: `Csv.parseCsvMap`.
pub fn csv_map(key: &str, text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    csv_list(text)
        .iter()
        .map(|entry| match entry.rsplit_once(':') {
            Some((k, v)) => Ok((java::trim(k).to_owned(), java::trim(v).to_owned())),
            None => Err(ConfigError::rule(format!(
                "Error parsing configuration property '{key}': entry '{entry}' has no ':'"
            ))),
        })
        .collect()
}

/// Reads `listener.security.protocol.map`.
pub fn protocol_map(key: &str, text: &str) -> Result<ProtocolMap, ConfigError> {
    csv_map(key, text)?
        .iter()
        .map(|(name, protocol)| Ok((ListenerName::new(name)?, security_protocol(key, protocol)?)))
        .collect()
}

/// Reads the name of a security protocol from the value of `key`.
pub fn security_protocol(key: &str, name: &str) -> Result<SecurityProtocol, ConfigError> {
    name.parse().map_err(|()| ConfigError::rule(format!("Invalid security protocol `{name}` defined in {key}")))
}

/// Reads `listeners` (`distinct_ports`) or `advertised.listeners`.
pub fn endpoints(text: &str, protocols: &ProtocolMap, distinct_ports: bool) -> Result<Vec<Endpoint>, ConfigError> {
    let found = csv_list(java::trim(text))
        .iter()
        .map(|entry| endpoint(entry, protocols))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|reason| ConfigError::rule(format!("Error creating broker listeners from '{text}': {reason}")))?;
    let repeats_a_name = found.iter().enumerate().any(|(n, e)| found[..n].iter().any(|o| o.listener == e.listener));
    require(!repeats_a_name, || format!("Each listener must have a different name, listeners: {text}"))?;
    if distinct_ports {
        check_ports(&found, text)?;
    }
    Ok(found)
}

/// `NAME://host:port`; the host may be empty or in brackets.
fn endpoint(entry: &str, protocols: &ProtocolMap) -> Result<Endpoint, String> {
    let unparsable = || format!("Unable to parse {entry} to a broker endpoint");
    let (name, address) = entry.rsplit_once("://").ok_or_else(unparsable)?;
    let (host, port) = address.rsplit_once(':').ok_or_else(unparsable)?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let digits = port.strip_prefix('-').unwrap_or(port);
    if !super::def::valid_host(host) || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(unparsable());
    }
    let listener = ListenerName::new(name).map_err(|e| e.to_string())?;
    let protocol =
        *protocols.get(&listener).ok_or_else(|| format!("No security protocol defined for listener {listener}"))?;
    // Kafka fails only when it binds; here it is refused at start like the others.
    let port = port.parse().map_err(|_| format!("port out of range:{port}"))?;
    Ok(Endpoint { listener, protocol, host: (!host.is_empty()).then(|| host.to_owned()), port })
}

/// Two listeners may share a port only as one IPv4 and one IPv6 address.
fn check_ports(found: &[Endpoint], text: &str) -> Result<(), ConfigError> {
    let mut by_port: BTreeMap<u16, Vec<&Endpoint>> = BTreeMap::new();
    for endpoint in found.iter().filter(|e| e.port != 0) {
        by_port.entry(endpoint.port).or_default().push(endpoint);
    }
    for (port, sharing) in by_port.iter().filter(|(_, sharing)| sharing.len() > 1) {
        let is_v4 = |e: &Endpoint| e.host.as_deref().is_some_and(|h| h.parse::<Ipv4Addr>().is_ok());
        let is_v6 = |e: &Endpoint| e.host.as_deref().is_some_and(|h| h.parse::<Ipv6Addr>().is_ok());
        let (with_address, without): (Vec<_>, Vec<_>) = sharing.iter().partition(|e| is_v4(e) || is_v6(e));
        require(without.len() < 2, || format!("Each listener must have a different port, listeners: {text}"))?;
        let one_of_each = || {
            format!(
                "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, \
                 listeners: {text}, port: {port}"
            )
        };
        match with_address[..] {
            [] => {}
            [a, b] => {
                require((is_v4(a) && is_v6(b)) || (is_v6(a) && is_v4(b)), one_of_each)?;
                if !without.is_empty() {
                    return Err(ConfigError::rule(one_of_each()));
                }
            }
            _ => {
                return Err(ConfigError::rule(format!(
                    "Each listener must have a different port unless exactly one listener has an IPv4 address and the \
                     other IPv6 address, listeners: {text}, port: {port}"
                )));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn map() -> ProtocolMap {
        protocol_map("m", "PLAINTEXT:PLAINTEXT,SSL:SSL,A:PLAINTEXT,B:PLAINTEXT").unwrap()
    }

    fn refusal(text: &str) -> String {
        endpoints(text, &map(), true).unwrap_err().to_string()
    }

    #[test]
    fn an_entry_without_scheme_port_or_known_name_is_refused() {
        for text in
            ["localhost:9092", "PLAINTEXT://localhost", "PLAINTEXT://a b:1", "PLAINTEXT://h:", "C://h:1", "://h:1"]
        {
            assert!(refusal(text).starts_with("Error creating broker listeners from '"), "{}", refusal(text));
        }
        assert!(refusal("A://h:70000").ends_with("port out of range:70000"));
    }

    #[test]
    fn names_and_ports_are_not_shared() {
        assert_eq!(
            refusal("A://h:1,a://h:2"),
            "requirement failed: Each listener must have a different name, listeners: A://h:1,a://h:2"
        );
        assert!(refusal("A://h:1,B://i:1").contains("must have a different port"));
        assert!(refusal("A://1.2.3.4:1,B://:1").contains("one listener has an IPv4 address"));
        assert!(refusal("A://1.2.3.4:1,B://2.3.4.5:1").contains("one needs to be IPv4 and the other IPv6"));
        assert_eq!(endpoints("A://1.2.3.4:1,B://[::1]:1", &map(), true).unwrap().len(), 2);
        assert_eq!(endpoints("A://h:0,B://h:0", &map(), true).unwrap().len(), 2);
        assert_eq!(endpoints("A://h:1,B://h:1", &map(), false).unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "(A|B|://|:|\\[|\\]|,| |[0-9]{1,6}|\\PC){0,20}") {
            drop(endpoints(&text, &map(), true));
            drop(csv_map("key", &text));
            drop(protocol_map("key", &text));
        }
    }
}
