//! Owns the identifiers that pass between layers, as types so that arguments cannot swap.

use std::fmt;
use std::sync::Arc;

/// Position of a record in a partition. -1 where Kafka says "none".
pub type Offset = i64;

/// Milliseconds since the Unix epoch: record timestamps, and the `now` that is handed to pure code.
pub type Millis = i64;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// `broker.id`. -1 is "no broker" (a partition without a leader).
    BrokerId(i32)
);
id!(
    /// Generation of a partition's leadership; -1 when unknown.
    LeaderEpoch(i32)
);
id!(
    /// Term of the controller: the number in `/controller_epoch`.
    ControllerEpoch(i32)
);
id!(
    /// Generation of a broker's registration: the czxid of `/brokers/ids/N`; -1 when unknown.
    BrokerEpoch(i64)
);

impl BrokerId {
    pub const NONE: Self = Self(-1);
}

impl LeaderEpoch {
    pub const NONE: Self = Self(-1);
}

/// A partition of a topic. Cloning is one reference count; displays as Kafka writes it, `topic-0`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
