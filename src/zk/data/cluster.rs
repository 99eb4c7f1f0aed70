//! Owns `/cluster/id` and `/feature`. Kafka: `ClusterIdZNode`, `FeatureZNode`.

use super::Malformed;
use super::json::{object, parse};
use serde_json::json;

/// `id` is 22 characters of URL-safe base64.
pub fn encode_cluster_id(id: &str) -> Vec<u8> {
    json!({"version": "1", "id": id}).to_string().into_bytes()
}

pub fn decode_cluster_id(data: Option<&[u8]>) -> Result<String, Malformed> {
    let value = parse(data)?;
    Ok(object(&value)?.string("id")?.to_owned())
}

/// The content of `/feature`. A ZooKeeper cluster of 3.9 finalises no feature, so only the outer fields matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeatureNode {
    /// 2 from inter.broker.protocol.version 3.3 on.
    pub version: i32,
    pub enabled: bool,
    /// Names of finalised features; a broker that does not know one must not run.
    pub names: Vec<String>,
}

impl FeatureNode {
    pub fn empty() -> Self {
        Self { version: 2, enabled: true, names: Vec::new() }
    }

    /// Writes version 2 without features: none is ever finalised here.
    pub fn encode_empty() -> Vec<u8> {
        json!({"features": {}, "version": 2, "status": 1}).to_string().into_bytes()
    }

    pub fn decode(data: Option<&[u8]>) -> Result<Self, Malformed> {
        let value = parse(data)?;
        let fields = object(&value)?;
        let version = fields.int("version")?;
        if !(1..=2).contains(&version) {
            return Err(Malformed(format!("unsupported version of feature information: {version}")));
        }
        let enabled = match fields.int("status")? {
            0 => false,
            1 => true,
            other => return Err(Malformed(format!("feature status {other}"))),
        };
        let features = fields.optional_object("features")?.ok_or_else(|| Malformed::new("no features"))?;
        Ok(Self { version, enabled, names: features.0.keys().cloned().collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_what_apache_writes() {
        let id = r#"{"version":"1","id":"o_6Qm0gwRASgIbDPYTHuCA"}"#;
        assert_eq!(decode_cluster_id(Some(id.as_bytes())).unwrap(), "o_6Qm0gwRASgIbDPYTHuCA");
        assert_eq!(String::from_utf8(encode_cluster_id("o_6Qm0gwRASgIbDPYTHuCA")).unwrap(), id);
        let feature = r#"{"features":{},"version":2,"status":1}"#;
        assert_eq!(String::from_utf8(FeatureNode::encode_empty()).unwrap(), feature);
        assert_eq!(FeatureNode::decode(Some(feature.as_bytes())), Ok(FeatureNode::empty()));
    }

    #[test]
    fn strange_nodes_are_errors() {
        assert!(decode_cluster_id(Some(br#"{"version":"1","id":7}"#)).is_err());
        for text in ["", "{}", r#"{"features":{},"version":3,"status":1}"#, r#"{"version":2,"status":1}"#] {
            assert!(FeatureNode::decode(Some(text.as_bytes())).is_err(), "{text}");
        }
    }
}
