//! Owns the table of messages: which request and response belong to an API. Each API has a file with its schema; each
//! message a module of Kafka's name. Kafka: the JSON files of `clients/src/main/resources/common/message` at 3.9.

use crate::protocol::api::ApiKey;
use crate::protocol::codec::Message;

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod allocate_producer_ids;
mod alter_client_quotas;
mod alter_configs;
mod alter_partition;
mod alter_partition_reassignments;
mod alter_replica_log_dirs;
mod alter_user_scram_credentials;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod controlled_shutdown;
mod create_acls;
mod create_delegation_token;
mod create_partitions;
mod create_topics;
mod delete_acls;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_client_quotas;
mod describe_cluster;
mod describe_configs;
mod describe_delegation_token;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_transactions;
mod describe_user_scram_credentials;
mod elect_leaders;
mod end_txn;
mod envelope;
mod expire_delegation_token;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leader_and_isr;
mod leave_group;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod renew_delegation_token;
mod sasl_authenticate;
mod sasl_handshake;
mod stop_replica;
mod sync_group;
mod txn_offset_commit;
mod update_features;
mod update_metadata;
mod write_txn_markers;

pub use add_offsets_to_txn::*;
pub use add_partitions_to_txn::*;
pub use allocate_producer_ids::*;
pub use alter_client_quotas::*;
pub use alter_configs::*;
pub use alter_partition::*;
pub use alter_partition_reassignments::*;
pub use alter_replica_log_dirs::*;
pub use alter_user_scram_credentials::*;
pub use api_versions::*;
pub use consumer_group_describe::*;
pub use consumer_group_heartbeat::*;
pub use controlled_shutdown::*;
pub use create_acls::*;
pub use create_delegation_token::*;
pub use create_partitions::*;
pub use create_topics::*;
pub use delete_acls::*;
pub use delete_groups::*;
pub use delete_records::*;
pub use delete_topics::*;
pub use describe_acls::*;
pub use describe_client_quotas::*;
pub use describe_cluster::*;
pub use describe_configs::*;
pub use describe_delegation_token::*;
pub use describe_groups::*;
pub use describe_log_dirs::*;
pub use describe_producers::*;
pub use describe_transactions::*;
pub use describe_user_scram_credentials::*;
pub use elect_leaders::*;
pub use end_txn::*;
pub use envelope::*;
pub use expire_delegation_token::*;
pub use fetch::*;
pub use find_coordinator::*;
pub use heartbeat::*;
pub use incremental_alter_configs::*;
pub use init_producer_id::*;
pub use join_group::*;
pub use leader_and_isr::*;
pub use leave_group::*;
pub use list_groups::*;
pub use list_offsets::*;
pub use list_partition_reassignments::*;
pub use list_transactions::*;
pub use metadata::*;
pub use offset_commit::*;
pub use offset_delete::*;
pub use offset_fetch::*;
pub use offset_for_leader_epoch::*;
pub use produce::*;
pub use renew_delegation_token::*;
pub use sasl_authenticate::*;
pub use sasl_handshake::*;
pub use stop_replica::*;
pub use sync_group::*;
pub use txn_offset_commit::*;
pub use update_features::*;
pub use update_metadata::*;
pub use write_txn_markers::*;

/// A request, and the response that answers it in the same version.
pub trait Request: Message {
    const KEY: ApiKey;
    type Response: Message;
}

/// Hands every API to the macro named: its key's variant, its request, its response.
#[macro_export]
macro_rules! every_api {
    ($callback:ident) => {
        $callback! {
            Produce: ProduceRequest => ProduceResponse;
            Fetch: FetchRequest => FetchResponse;
            ListOffsets: ListOffsetsRequest => ListOffsetsResponse;
            Metadata: MetadataRequest => MetadataResponse;
            LeaderAndIsr: LeaderAndIsrRequest => LeaderAndIsrResponse;
            StopReplica: StopReplicaRequest => StopReplicaResponse;
            UpdateMetadata: UpdateMetadataRequest => UpdateMetadataResponse;
            ControlledShutdown: ControlledShutdownRequest => ControlledShutdownResponse;
            OffsetCommit: OffsetCommitRequest => OffsetCommitResponse;
            OffsetFetch: OffsetFetchRequest => OffsetFetchResponse;
            FindCoordinator: FindCoordinatorRequest => FindCoordinatorResponse;
            JoinGroup: JoinGroupRequest => JoinGroupResponse;
            Heartbeat: HeartbeatRequest => HeartbeatResponse;
            LeaveGroup: LeaveGroupRequest => LeaveGroupResponse;
            SyncGroup: SyncGroupRequest => SyncGroupResponse;
            DescribeGroups: DescribeGroupsRequest => DescribeGroupsResponse;
            ListGroups: ListGroupsRequest => ListGroupsResponse;
            SaslHandshake: SaslHandshakeRequest => SaslHandshakeResponse;
            ApiVersions: ApiVersionsRequest => ApiVersionsResponse;
            CreateTopics: CreateTopicsRequest => CreateTopicsResponse;
            DeleteTopics: DeleteTopicsRequest => DeleteTopicsResponse;
            DeleteRecords: DeleteRecordsRequest => DeleteRecordsResponse;
            InitProducerId: InitProducerIdRequest => InitProducerIdResponse;
            OffsetForLeaderEpoch: OffsetForLeaderEpochRequest => OffsetForLeaderEpochResponse;
            AddPartitionsToTxn: AddPartitionsToTxnRequest => AddPartitionsToTxnResponse;
            AddOffsetsToTxn: AddOffsetsToTxnRequest => AddOffsetsToTxnResponse;
            EndTxn: EndTxnRequest => EndTxnResponse;
            WriteTxnMarkers: WriteTxnMarkersRequest => WriteTxnMarkersResponse;
            TxnOffsetCommit: TxnOffsetCommitRequest => TxnOffsetCommitResponse;
            DescribeAcls: DescribeAclsRequest => DescribeAclsResponse;
            CreateAcls: CreateAclsRequest => CreateAclsResponse;
            DeleteAcls: DeleteAclsRequest => DeleteAclsResponse;
            DescribeConfigs: DescribeConfigsRequest => DescribeConfigsResponse;
            AlterConfigs: AlterConfigsRequest => AlterConfigsResponse;
            AlterReplicaLogDirs: AlterReplicaLogDirsRequest => AlterReplicaLogDirsResponse;
            DescribeLogDirs: DescribeLogDirsRequest => DescribeLogDirsResponse;
            SaslAuthenticate: SaslAuthenticateRequest => SaslAuthenticateResponse;
            CreatePartitions: CreatePartitionsRequest => CreatePartitionsResponse;
            CreateDelegationToken: CreateDelegationTokenRequest => CreateDelegationTokenResponse;
            RenewDelegationToken: RenewDelegationTokenRequest => RenewDelegationTokenResponse;
            ExpireDelegationToken: ExpireDelegationTokenRequest => ExpireDelegationTokenResponse;
            DescribeDelegationToken: DescribeDelegationTokenRequest => DescribeDelegationTokenResponse;
            DeleteGroups: DeleteGroupsRequest => DeleteGroupsResponse;
            ElectLeaders: ElectLeadersRequest => ElectLeadersResponse;
            IncrementalAlterConfigs: IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse;
            AlterPartitionReassignments: AlterPartitionReassignmentsRequest => AlterPartitionReassignmentsResponse;
            ListPartitionReassignments: ListPartitionReassignmentsRequest => ListPartitionReassignmentsResponse;
            OffsetDelete: OffsetDeleteRequest => OffsetDeleteResponse;
            DescribeClientQuotas: DescribeClientQuotasRequest => DescribeClientQuotasResponse;
            AlterClientQuotas: AlterClientQuotasRequest => AlterClientQuotasResponse;
            DescribeUserScramCredentials: DescribeUserScramCredentialsRequest => DescribeUserScramCredentialsResponse;
            AlterUserScramCredentials: AlterUserScramCredentialsRequest => AlterUserScramCredentialsResponse;
            AlterPartition: AlterPartitionRequest => AlterPartitionResponse;
            UpdateFeatures: UpdateFeaturesRequest => UpdateFeaturesResponse;
            Envelope: EnvelopeRequest => EnvelopeResponse;
            DescribeCluster: DescribeClusterRequest => DescribeClusterResponse;
            DescribeProducers: DescribeProducersRequest => DescribeProducersResponse;
            DescribeTransactions: DescribeTransactionsRequest => DescribeTransactionsResponse;
            ListTransactions: ListTransactionsRequest => ListTransactionsResponse;
            AllocateProducerIds: AllocateProducerIdsRequest => AllocateProducerIdsResponse;
            ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse;
            ConsumerGroupDescribe: ConsumerGroupDescribeRequest => ConsumerGroupDescribeResponse;
        }
    };
}

macro_rules! requests {
    ($($key:ident: $request:ident => $response:ident;)*) => {
        $(impl Request for $request {
            const KEY: ApiKey = ApiKey::$key;
            type Response = $response;
        })*
    };
}

every_api!(requests);
