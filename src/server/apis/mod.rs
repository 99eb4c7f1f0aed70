//! Owns the handlers: one file per API, each with a `handle` that returns the reply. Kafka: the `handle…Request`
//! methods of `KafkaApis`.

use super::dispatch::Call;
use crate::common::ErrorCode;
use crate::coordinator::group::GroupMember;
use crate::protocol::Str;
use std::collections::BTreeSet;
use std::net::IpAddr;

pub(super) mod add_offsets_to_txn;
pub(super) mod add_partitions_to_txn;
pub(super) mod allocate_producer_ids;
pub(super) mod alter_client_quotas;
pub(super) mod alter_configs;
pub(super) mod alter_partition;
pub(super) mod alter_partition_reassignments;
pub(super) mod alter_replica_log_dirs;
pub(super) mod alter_user_scram_credentials;
pub(super) mod api_versions;
mod config_resource;
pub(super) mod consumer_group_describe;
pub(super) mod consumer_group_heartbeat;
pub(super) mod controlled_shutdown;
pub(super) mod create_acls;
pub(super) mod create_delegation_token;
pub(super) mod create_partitions;
pub(super) mod create_topics;
pub(super) mod delete_acls;
pub(super) mod delete_groups;
pub(super) mod delete_records;
pub(super) mod delete_topics;
pub(super) mod describe_acls;
pub(super) mod describe_client_quotas;
pub(super) mod describe_cluster;
pub(super) mod describe_configs;
pub(super) mod describe_delegation_token;
pub(super) mod describe_groups;
pub(super) mod describe_log_dirs;
pub(super) mod describe_producers;
pub(super) mod describe_transactions;
pub(super) mod describe_user_scram_credentials;
pub(super) mod elect_leaders;
pub(super) mod end_txn;
pub(super) mod envelope;
pub(super) mod expire_delegation_token;
pub(super) mod fetch;
pub(super) mod find_coordinator;
pub(super) mod heartbeat;
pub(super) mod incremental_alter_configs;
pub(super) mod init_producer_id;
pub(super) mod join_group;
pub(super) mod leader_and_isr;
pub(super) mod leave_group;
pub(super) mod list_groups;
pub(super) mod list_offsets;
pub(super) mod list_partition_reassignments;
pub(super) mod list_transactions;
pub(super) mod metadata;
pub(super) mod offset_commit;
pub(super) mod offset_delete;
pub(super) mod offset_fetch;
pub(super) mod offset_for_leader_epoch;
mod offsets;
pub(super) mod produce;
pub(super) mod renew_delegation_token;
pub(super) mod sasl_authenticate;
pub(super) mod sasl_handshake;
pub(super) mod stop_replica;
pub(super) mod sync_group;
pub(super) mod txn_offset_commit;
pub(super) mod update_features;
pub(super) mod update_metadata;
pub(super) mod write_txn_markers;

/// The bit field of operations that everyone may do where no authorizer is configured, for a topic
/// (`AclEntry.supportedOperations`): read, write, create, delete, alter, describe, describe and alter configs.
const TOPIC_OPERATIONS: i32 = operations(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// The same for the cluster: create, alter, describe, cluster action, describe and alter configs, idempotent write.
const CLUSTER_OPERATIONS: i32 = operations(&[5, 7, 8, 9, 10, 11, 12]);

/// The same for a group: read, delete, describe.
const GROUP_OPERATIONS: i32 = operations(&[3, 6, 8]);

const fn operations(codes: &[u8]) -> i32 {
    let mut bits = 0;
    let mut i = 0;
    while i < codes.len() {
        bits |= 1 << codes[i];
        i += 1;
    }
    bits
}

/// The values that appear more than once.
fn repeated<T: Ord + Copy>(all: impl Iterator<Item = T>) -> BTreeSet<T> {
    let mut seen = BTreeSet::new();
    all.filter(|one| !seen.insert(*one)).collect()
}

/// `Topic.isInternal`.
fn is_internal(topic: &str) -> bool {
    matches!(topic, "__consumer_offsets" | "__transaction_state")
}

/// Older clients know PRODUCER_FENCED by another name.
fn without_fenced(code: ErrorCode, knows_fenced: bool) -> ErrorCode {
    if code == ErrorCode::ProducerFenced && !knows_fenced { ErrorCode::InvalidProducerEpoch } else { code }
}

/// A copy of a text inside a frame: a caller that keeps it for long must not keep the frame alive.
fn owned(text: &Str) -> Str {
    Str::from(String::from(&**text))
}

fn group_member(group: &Str, member: &Str, instance: Option<&Str>, generation: i32) -> GroupMember {
    GroupMember { group_id: owned(group), id: owned(member), instance_id: instance.map(owned), generation }
}

/// The client's address as Java prints it.
fn client_host(call: &Call) -> Str {
    match call.connection.peer.ip().to_canonical() {
        IpAddr::V4(ip) => format!("/{ip}").into(),
        // Java shortens nothing.
        IpAddr::V6(ip) => format!("/{}", ip.segments().map(|part| format!("{part:x}")).join(":")).into(),
    }
}
