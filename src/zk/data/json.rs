//! Owns strict, minimal access to the JSON of a znode: a missing or wrongly typed value is an error with its key.
//! Kafka: `kafka.utils.json`.

use serde_json::{Map, Value};

/// A znode whose content is invalid for its path. The text is for a log line; the caller skips the node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed znode: {0}")]
pub struct Malformed(pub String);

impl Malformed {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

pub(super) struct Object<'a>(pub(super) &'a Map<String, Value>);

/// Parses one document. None (a node without data) and an empty node are malformed here.
pub(super) fn parse(data: Option<&[u8]>) -> Result<Value, Malformed> {
    let data = data.ok_or_else(|| Malformed::new("no data"))?;
    serde_json::from_slice(data).map_err(|e| Malformed(format!("not JSON: {e}")))
}

pub(super) fn object(value: &Value) -> Result<Object<'_>, Malformed> {
    value.as_object().map(Object).ok_or_else(|| Malformed::new("not a JSON object"))
}

pub(super) fn int(value: &Value, what: &str) -> Result<i32, Malformed> {
    value.as_i64().and_then(|n| i32::try_from(n).ok()).ok_or_else(|| Malformed(format!("{what} is not an integer")))
}

pub(super) fn ints(value: &Value, what: &str) -> Result<Vec<i32>, Malformed> {
    let items = value.as_array().ok_or_else(|| Malformed(format!("{what} is not a list")))?;
    items.iter().map(|item| int(item, what)).collect()
}

impl<'a> Object<'a> {
    /// None when the key is absent or null.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|v| !v.is_null())
    }

    /// Refuses a key that is not in `known`.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Malformed> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(Malformed(format!("unknown key {key}"))),
            None => Ok(()),
        }
    }

    fn required(&self, key: &str) -> Result<&'a Value, Malformed> {
        self.get(key).ok_or_else(|| Malformed(format!("no {key}")))
    }

    pub(super) fn int(&self, key: &str) -> Result<i32, Malformed> {
        int(self.required(key)?, key)
    }

    pub(super) fn ints(&self, key: &str) -> Result<Vec<i32>, Malformed> {
        ints(self.required(key)?, key)
    }

    pub(super) fn string(&self, key: &str) -> Result<&'a str, Malformed> {
        self.required(key)?.as_str().ok_or_else(|| Malformed(format!("{key} is not a string")))
    }

    pub(super) fn array(&self, key: &str) -> Result<&'a Vec<Value>, Malformed> {
        self.required(key)?.as_array().ok_or_else(|| Malformed(format!("{key} is not a list")))
    }

    pub(super) fn optional_object(&self, key: &str) -> Result<Option<Self>, Malformed> {
        self.get(key).map(object).transpose().map_err(|_| Malformed(format!("{key} is not an object")))
    }
}
