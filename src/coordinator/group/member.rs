//! Owns one member of a group. Kafka: `MemberMetadata`. Pure.

use super::effects::{JoinTicket, SyncTicket};
use crate::common::Millis;
use crate::protocol::Str;
use bytes::Bytes;

/// A way to assign that a member knows, with what it sends to the leader about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    pub name: Str,
    pub metadata: Bytes,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: Str,
    /// `group.instance.id`: a static member.
    pub(super) instance_id: Option<Str>,
    pub(super) client_id: Str,
    /// As Java prints an address: `/127.0.0.1`.
    pub(super) client_host: Str,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) session_timeout_ms: i32,
    /// In the order of the member's preference.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    pub(super) waits_for_join: Option<JoinTicket>,
    pub(super) waits_for_sync: Option<SyncTicket>,
    /// Has not had an answer to its first JoinGroup: its client may be gone, and no one would know.
    pub(super) is_new: bool,
    /// When it is out unless it is heard of.
    pub(super) deadline: Option<Millis>,
}

impl Member {
    /// A member that waits for the group counts as alive, unless it never had an answer.
    pub(super) fn outlives_its_deadline(&self) -> bool {
        !self.is_new && (self.waits_for_join.is_some() || self.waits_for_sync.is_some())
    }

    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|p| p.name == *protocol).map(|p| p.metadata.clone()).unwrap_or_default()
    }
}
