//! Owns `/brokers/ids/N`: the listeners of a broker. Kafka: `BrokerIdZNode`.

use super::Malformed;
use super::json::{int, object, parse};
use crate::common::BrokerId;
use crate::config::endpoint::{self, Endpoint, ListenerName, ProtocolMap, SecurityProtocol};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The version that a broker of inter.broker.protocol.version 2.7 and later writes.
const VERSION: i32 = 5;

/// A broker's registration, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRegistration {
    pub id: BrokerId,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
    /// -1 when JMX is off.
    pub jmx_port: i32,
    /// Supported feature name → (min, max). A ZooKeeper broker of 3.9 writes none.
    pub features: BTreeMap<String, (i16, i16)>,
}

impl BrokerRegistration {
    /// `now` is milliseconds since the epoch.
    pub fn encode(&self, now: i64) -> Vec<u8> {
        // Clients of the year 2014 read the top-level host and port, and support only plaintext.
        let plaintext = self.endpoints.iter().find(|e| e.protocol == SecurityProtocol::Plaintext);
        let protocols: serde_json::Map<String, Value> =
            self.endpoints.iter().map(|e| (e.listener.to_string(), json!(e.protocol.name()))).collect();
        let features: serde_json::Map<String, Value> = self
            .features
            .iter()
            .map(|(name, (min, max))| (name.clone(), json!({"min_version": min, "max_version": max})))
            .collect();
        let mut out = serde_json::Map::new();
        out.insert("features".to_owned(), features.into());
        out.insert("listener_security_protocol_map".to_owned(), protocols.into());
        out.insert(
            "endpoints".to_owned(),
            self.endpoints.iter().map(|e| json!(e.to_string())).collect::<Vec<_>>().into(),
        );
        if let Some(rack) = &self.rack {
            out.insert("rack".to_owned(), json!(rack));
        }
        out.insert("jmx_port".to_owned(), json!(self.jmx_port));
        out.insert("port".to_owned(), json!(plaintext.map_or(-1, |e| i32::from(e.port))));
        out.insert("host".to_owned(), json!(plaintext.and_then(|e| e.host.as_deref())));
        out.insert("version".to_owned(), json!(VERSION));
        out.insert("timestamp".to_owned(), json!(now.to_string()));
        Value::from(out).to_string().into_bytes()
    }

    /// Reads versions 1 to 5.
    pub fn decode(id: BrokerId, data: Option<&[u8]>) -> Result<Self, Malformed> {
        let value = parse(data)?;
        let fields = object(&value)?;
        let version = fields.int("version")?;
        let jmx_port = fields.int("jmx_port")?;
        let endpoints = match version {
            ..1 => return Err(Malformed(format!("unsupported version of broker registration: {version}"))),
            1 => read_endpoints(
                &format!("PLAINTEXT://{}:{}", fields.string("host")?, fields.int("port")?),
                &default_protocols()?,
            )?,
            _ => {
                let protocols = match fields.optional_object("listener_security_protocol_map")? {
                    None => default_protocols()?,
                    Some(map) => {
                        let entry = |(name, protocol): (&String, &Value)| {
                            let text = protocol.as_str().unwrap_or_default();
                            let protocol =
                                text.parse().map_err(|()| Malformed(format!("security protocol {text:?}")))?;
                            Ok((listener(name)?, protocol))
                        };
                        map.0.iter().map(entry).collect::<Result<ProtocolMap, Malformed>>()?
                    }
                };
                let texts = fields.array("endpoints")?;
                let texts: Option<Vec<&str>> = texts.iter().map(Value::as_str).collect();
                let texts = texts.ok_or_else(|| Malformed::new("an endpoint is not a string"))?;
                read_endpoints(&texts.join(","), &protocols)?
            }
        };
        let rack = fields.get("rack").map(|_| fields.string("rack").map(str::to_owned)).transpose()?;
        let mut features = BTreeMap::new();
        if let Some(map) = fields.optional_object("features")? {
            for (name, range) in map.0 {
                let range = object(range)?;
                let bound = |key: &str| {
                    let value = range.get(key).ok_or_else(|| Malformed(format!("feature {name} has no {key}")))?;
                    i16::try_from(int(value, key)?).map_err(|_| Malformed(format!("{key} of feature {name}")))
                };
                features.insert(name.clone(), (bound("min_version")?, bound("max_version")?));
            }
        }
        Ok(Self { id, endpoints, rack, jmx_port, features })
    }

    pub fn endpoint(&self, listener: &str) -> Option<&Endpoint> {
        self.endpoints.iter().find(|e| e.listener.as_str() == listener)
    }
}

fn listener(name: &str) -> Result<ListenerName, Malformed> {
    ListenerName::new(name).map_err(|e| Malformed(e.to_string()))
}

/// Listeners that need no map are named after their protocols.
fn default_protocols() -> Result<ProtocolMap, Malformed> {
    SecurityProtocol::ALL.into_iter().map(|protocol| Ok((listener(protocol.name())?, protocol))).collect()
}

fn read_endpoints(text: &str, protocols: &ProtocolMap) -> Result<Vec<Endpoint>, Malformed> {
    endpoint::endpoints(text, protocols, false).map_err(|e| Malformed(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Captured from Apache Kafka 3.9.1.
    const APACHE: &str = r#"{"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},"endpoints":["PLAINTEXT://127.0.0.1:47935"],"rack":"rack-a","jmx_port":-1,"port":47935,"host":"127.0.0.1","version":5,"timestamp":"1795251986556"}"#;

    fn read(text: &str) -> Result<BrokerRegistration, Malformed> {
        BrokerRegistration::decode(BrokerId(1), Some(text.as_bytes()))
    }

    #[test]
    fn writes_what_apache_writes() {
        let broker = read(APACHE).unwrap();
        assert_eq!(broker.rack.as_deref(), Some("rack-a"));
        assert_eq!(broker.endpoint("PLAINTEXT").unwrap().port, 47935);
        assert_eq!(String::from_utf8(broker.encode(1795251986556)).unwrap(), APACHE);
    }

    #[test]
    fn without_a_plaintext_listener_host_is_null_and_rack_is_left_out() {
        let text = r#"{"features":{},"listener_security_protocol_map":{"REPLICATION":"SASL_SSL"},"endpoints":["REPLICATION://[::1]:9093"],"jmx_port":-1,"port":-1,"host":null,"version":5,"timestamp":"7"}"#;
        let broker = read(text).unwrap();
        assert_eq!(broker.endpoints[0].host.as_deref(), Some("::1"));
        assert_eq!(String::from_utf8(broker.encode(7)).unwrap(), text);
    }

    #[test]
    fn older_versions_are_read() {
        let v1 = read(r#"{"version":1,"host":"h","port":9092,"jmx_port":9999,"timestamp":"2233345666"}"#).unwrap();
        assert_eq!(v1.endpoints[0].to_string(), "PLAINTEXT://h:9092");
        let v2 = read(r#"{"version":2,"host":"h","port":1,"jmx_port":9,"endpoints":["plaintext://h:1","SSL://h:2"]}"#);
        assert_eq!(v2.unwrap().endpoints[1].protocol, SecurityProtocol::Ssl);
    }

    #[test]
    fn strange_registrations_are_errors() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"version":"5","jmx_port":-1,"endpoints":[]}"#,
            r#"{"version":5,"endpoints":["PLAINTEXT://h:1"]}"#,
            r#"{"version":5,"jmx_port":-1,"endpoints":["OTHER://h:1"]}"#,
            r#"{"version":5,"jmx_port":-1,"endpoints":["SSL://h:1","SSL://h:2"]}"#,
            r#"{"version":5,"jmx_port":-1,"endpoints":[1]}"#,
            r#"{"version":0,"jmx_port":-1,"host":"h","port":1}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        assert!(BrokerRegistration::decode(BrokerId(1), None).is_err());
    }
}
