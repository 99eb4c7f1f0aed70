//! Owns `/config/TYPE/NAME` and the notifications in `/config/changes`. Kafka: `ConfigEntityZNode`,
//! `ConfigEntityChangeNotificationSequenceZNode`, `Sanitizer`.

use super::Malformed;
use super::json::{object, parse};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Config keys and values as text.
pub type Config = BTreeMap<String, String>;

pub fn encode(config: &Config) -> Vec<u8> {
    json!({"version": 1, "config": config}).to_string().into_bytes()
}

/// A node without data, or without an object with a `config`, has no overrides, as in Kafka.
pub fn decode(data: Option<&[u8]>) -> Result<Config, Malformed> {
    let Some(Ok(value)) = data.map(serde_json::from_slice::<Value>) else { return Ok(Config::new()) };
    let Some(config) = value.get("config").and_then(Value::as_object) else { return Ok(Config::new()) };
    config
        .iter()
        .map(|(key, value)| match value.as_str() {
            Some(text) => Ok((key.clone(), text.to_owned())),
            None => Err(Malformed(format!("the value of {key} is not a string"))),
        })
        .collect()
}

/// `entity_path` is `topics/T`, `brokers/1`, `users/U/clients/C`, `ips/10.0.0.1`, with sanitised names.
pub fn encode_change(entity_path: &str) -> Vec<u8> {
    json!({"version": 2, "entity_path": entity_path}).to_string().into_bytes()
}

/// The entity path that a change names. Version 1 notifications named only topics and clients.
pub fn decode_change(data: Option<&[u8]>) -> Result<String, Malformed> {
    let value = parse(data)?;
    let fields = object(&value)?;
    match fields.int("version")? {
        1 => {
            let kind = fields.string("entity_type")?;
            if kind != "topics" && kind != "clients" {
                return Err(Malformed(format!("version 1 config change of {kind}")));
            }
            Ok(format!("{kind}/{}", fields.string("entity_name")?))
        }
        2 => {
            let path = fields.string("entity_path")?;
            if !path.contains('/') {
                return Err(Malformed(format!("entity_path {path} has no slash")));
            }
            Ok(path.to_owned())
        }
        other => Err(Malformed(format!("config change of version {other}"))),
    }
}

/// A user, client id or address as a node name: Java's URL encoding, then `+` and `*` made safe. Kafka: `Sanitizer`.
pub fn sanitize(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The original name of a text from [`sanitize`]; None when the text is not such an encoding.
pub fn desanitize(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
                out.push(digit(bytes.next()?)? << 4 | digit(bytes.next()?)?);
            }
            b'+' => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_apache_writes() {
        for text in [
            r#"{"version":1,"config":{}}"#,
            r#"{"version":1,"config":{"cleanup.policy":"compact,delete","flush.ms":"5","max.message.bytes":"2000000","min.insync.replicas":"1","retention.ms":"1000","segment.bytes":"1048576"}}"#,
        ] {
            assert_eq!(String::from_utf8(encode(&decode(Some(text.as_bytes())).unwrap())).unwrap(), text);
        }
        for text in [
            r#"{"version":2,"entity_path":"users/u%201"}"#,
            r#"{"version":2,"entity_path":"users/u2/clients/<default>"}"#,
            r#"{"version":2,"entity_path":"ips/127.0.0.9"}"#,
        ] {
            assert_eq!(String::from_utf8(encode_change(&decode_change(Some(text.as_bytes())).unwrap())).unwrap(), text);
        }
    }

    #[test]
    fn configs_of_strange_nodes_are_empty_and_of_wrong_types_errors() {
        for data in [None, Some(&b""[..]), Some(b"x"), Some(b"[]"), Some(br#"{"config":7}"#)] {
            assert_eq!(decode(data), Ok(Config::new()));
        }
        assert!(decode(Some(br#"{"config":{"flush.ms":5}}"#)).is_err());
    }

    #[test]
    fn changes_of_version_1_are_read_and_strange_ones_are_errors() {
        let v1 = br#"{"version":1,"entity_type":"topics","entity_name":"foo"}"#;
        assert_eq!(decode_change(Some(v1)).unwrap(), "topics/foo");
        for text in ["", "{}", r#"{"version":2,"entity_path":"topics"}"#, r#"{"version":3,"entity_path":"topics/t"}"#] {
            assert!(decode_change(Some(text.as_bytes())).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_sanitised_as_java_does() {
        for (name, node) in [("u 1", "u%201"), ("a*b+c/d", "a%2Ab%2Bc%2Fd"), ("é", "%C3%A9"), ("a-b.c_d", "a-b.c_d")] {
            assert_eq!(sanitize(name), node);
            assert_eq!(desanitize(node).as_deref(), Some(name));
        }
        assert_eq!(desanitize("%2"), None);
        assert_eq!(desanitize("%zz"), None);
    }
}
