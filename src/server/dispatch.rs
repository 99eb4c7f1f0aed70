//! Owns the path from a frame to the handler of its API, and back. Kafka: `KafkaApis.handle`, `ApiVersionManager`.
//!
//! A request that cannot be answered ends the connection, as in Kafka: an unknown API, a version outside the advertised
//! range, a body that does not parse.

use super::apis;
use super::context::Broker;
use crate::disk::FileSlice;
use crate::network::{ApiHandler, Connection, Reply, Request, Response};
use crate::protocol::{ApiKey, Frame, Message, Reader, RequestHeader};
use crate::util::rate_limit::RateLimit;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tracing::{error, info};

/// Declares which module of [`apis`] handles which API.
macro_rules! serve {
    ($($api:ident => $module:ident,)*) => {
        /// The APIs that are served, ascending by key. ApiVersions lists exactly these.
        pub const SERVED: &[ApiKey] = &[$(ApiKey::$api,)*];

        impl Broker {
            async fn route(&self, call: &mut Call) -> Result<Reply, Closed> {
                match call.header.api_key {
                    $(ApiKey::$api => {
                        let request = call.decode()?;
                        // Boxed, so that an idle connection does not hold room for the largest handler.
                        Ok(Box::pin(apis::$module::handle(self, call, request)).await)
                    })*
                }
            }
        }
    };
}

serve! {
    Produce => produce,
    Fetch => fetch,
    ListOffsets => list_offsets,
    Metadata => metadata,
    LeaderAndIsr => leader_and_isr,
    StopReplica => stop_replica,
    UpdateMetadata => update_metadata,
    ControlledShutdown => controlled_shutdown,
    OffsetCommit => offset_commit,
    OffsetFetch => offset_fetch,
    FindCoordinator => find_coordinator,
    JoinGroup => join_group,
    Heartbeat => heartbeat,
    LeaveGroup => leave_group,
    SyncGroup => sync_group,
    DescribeGroups => describe_groups,
    ListGroups => list_groups,
    SaslHandshake => sasl_handshake,
    ApiVersions => api_versions,
    CreateTopics => create_topics,
    DeleteTopics => delete_topics,
    DeleteRecords => delete_records,
    InitProducerId => init_producer_id,
    OffsetForLeaderEpoch => offset_for_leader_epoch,
    AddPartitionsToTxn => add_partitions_to_txn,
    AddOffsetsToTxn => add_offsets_to_txn,
    EndTxn => end_txn,
    WriteTxnMarkers => write_txn_markers,
    TxnOffsetCommit => txn_offset_commit,
    DescribeAcls => describe_acls,
    CreateAcls => create_acls,
    DeleteAcls => delete_acls,
    DescribeConfigs => describe_configs,
    AlterConfigs => alter_configs,
    AlterReplicaLogDirs => alter_replica_log_dirs,
    DescribeLogDirs => describe_log_dirs,
    SaslAuthenticate => sasl_authenticate,
    CreatePartitions => create_partitions,
    CreateDelegationToken => create_delegation_token,
    RenewDelegationToken => renew_delegation_token,
    ExpireDelegationToken => expire_delegation_token,
    DescribeDelegationToken => describe_delegation_token,
    DeleteGroups => delete_groups,
    ElectLeaders => elect_leaders,
    IncrementalAlterConfigs => incremental_alter_configs,
    AlterPartitionReassignments => alter_partition_reassignments,
    ListPartitionReassignments => list_partition_reassignments,
    OffsetDelete => offset_delete,
    DescribeClientQuotas => describe_client_quotas,
    AlterClientQuotas => alter_client_quotas,
    DescribeUserScramCredentials => describe_user_scram_credentials,
    AlterUserScramCredentials => alter_user_scram_credentials,
    AlterPartition => alter_partition,
    UpdateFeatures => update_features,
    Envelope => envelope,
    DescribeCluster => describe_cluster,
    DescribeProducers => describe_producers,
    DescribeTransactions => describe_transactions,
    ListTransactions => list_transactions,
    AllocateProducerIds => allocate_producer_ids,
    ConsumerGroupHeartbeat => consumer_group_heartbeat,
    ConsumerGroupDescribe => consumer_group_describe,
}

/// One request on its way through a handler.
pub struct Call {
    pub header: RequestHeader,
    pub connection: Arc<Connection>,
    pub received: Instant,
    body: Reader,
}

impl Call {
    pub fn version(&self) -> i16 {
        self.header.api_version
    }

    /// The name of the listener that the request came in on.
    pub fn listener(&self) -> &str {
        &self.connection.listener.name
    }

    fn decode<M: Message>(&mut self) -> Result<M, Closed> {
        M::decode(&mut self.body, self.header.api_version).map_err(|error| {
            refused(&self.connection, &format!("{}: {error}", self.header.api_key));
            Closed
        })
    }

    /// The encoded answer.
    pub fn reply<M: Message>(&self, message: &M) -> Reply {
        self.reply_with_slices(message, &[])
    }

    /// As [`Self::reply`], with records that `slices` hold: the token of external records is an index into them.
    pub fn reply_with_slices<M: Message>(&self, message: &M, slices: &[FileSlice]) -> Reply {
        self.reply_in_version(message, self.header.api_version, slices)
    }

    /// As [`Self::reply`] in another version than the one asked: only ApiVersions does that.
    pub fn reply_in_version<M: Message>(&self, message: &M, version: i16, slices: &[FileSlice]) -> Reply {
        match Frame::response(self.header.api_key, version, self.header.correlation_id, message) {
            Ok(frame) => Reply::Send(Response::with_slices(frame, slices)),
            Err(error) => {
                error!(api = %self.header.api_key, version, %error, "answer can't be encoded");
                Reply::Close
            }
        }
    }
}

/// The request ends its connection. The reason has been logged.
struct Closed;

static REFUSED: RateLimit = RateLimit::every(Duration::from_secs(1));

fn refused(connection: &Connection, reason: &str) {
    if let Some(left_out) = REFUSED.permit() {
        info!(?connection, reason, left_out, "closing the connection");
    }
}

impl ApiHandler for Broker {
    async fn handle(&self, request: Request) -> Reply {
        let Request { frame, connection, received } = request;
        let mut body = Reader::new(frame);
        let header = match RequestHeader::decode(&mut body) {
            Ok(header) => header,
            Err(error) => {
                refused(&connection, &error.to_string());
                return Reply::Close;
            }
        };
        let api = header.api_key;
        let known_version = api.versions().contains(&header.api_version);
        let mut call = Call { header, connection, received, body };
        if api == ApiKey::ApiVersions && !known_version {
            return apis::api_versions::unsupported(&call);
        }
        if !known_version {
            refused(&call.connection, &format!("{api} has no version {}", call.version()));
            return Reply::Close;
        }
        self.route(&mut call).await.unwrap_or(Reply::Close)
    }
}
