//! Owns the table of APIs: keys, names, the versions that a 3.9 broker in ZooKeeper mode advertises, header versions.
//! Kafka: `ApiKeys`, `ApiMessageType`. Absent on purpose: the APIs of KRaft.

use std::ops::RangeInclusive;

macro_rules! api_keys {
    ($($name:ident = $key:literal, $versions:expr $(, flexible $flexible:literal ..)?;)*) => {
        /// An API that a 3.9 broker in ZooKeeper mode knows. The discriminant is the wire key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(i16)]
        pub enum ApiKey {
            $($name = $key,)*
        }

        impl ApiKey {
            /// Ascending by key.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// None for a key that this broker does not know.
            pub const fn from_wire(key: i16) -> Option<Self> {
                match key {
                    $($key => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// Kafka's name, as in its JSON files and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The versions that a 3.9 broker in ZooKeeper mode advertises.
            pub const fn versions(self) -> RangeInclusive<i16> {
                match self { $(Self::$name => $versions,)* }
            }

            /// The first version with compact forms and tagged fields, the same for request and response.
            pub const fn flexible_from(self) -> Option<i16> {
                match self { $(Self::$name => crate::protocol::schema::optional!($($flexible)?),)* }
            }
        }
    };
}

api_keys! {
    Produce = 0, 0..=11, flexible 9..;
    Fetch = 1, 0..=17, flexible 12..;
    ListOffsets = 2, 0..=9, flexible 6..;
    Metadata = 3, 0..=12, flexible 9..;
    LeaderAndIsr = 4, 0..=7, flexible 4..;
    StopReplica = 5, 0..=4, flexible 2..;
    UpdateMetadata = 6, 0..=8, flexible 6..;
    ControlledShutdown = 7, 0..=3, flexible 3..;
    OffsetCommit = 8, 0..=9, flexible 8..;
    OffsetFetch = 9, 0..=9, flexible 6..;
    FindCoordinator = 10, 0..=6, flexible 3..;
    JoinGroup = 11, 0..=9, flexible 6..;
    Heartbeat = 12, 0..=4, flexible 4..;
    LeaveGroup = 13, 0..=5, flexible 4..;
    SyncGroup = 14, 0..=5, flexible 4..;
    DescribeGroups = 15, 0..=5, flexible 5..;
    ListGroups = 16, 0..=5, flexible 3..;
    SaslHandshake = 17, 0..=1;
    ApiVersions = 18, 0..=4, flexible 3..;
    CreateTopics = 19, 0..=7, flexible 5..;
    DeleteTopics = 20, 0..=6, flexible 4..;
    DeleteRecords = 21, 0..=2, flexible 2..;
    InitProducerId = 22, 0..=5, flexible 2..;
    OffsetForLeaderEpoch = 23, 0..=4, flexible 4..;
    AddPartitionsToTxn = 24, 0..=5, flexible 3..;
    AddOffsetsToTxn = 25, 0..=4, flexible 3..;
    EndTxn = 26, 0..=4, flexible 3..;
    WriteTxnMarkers = 27, 0..=1, flexible 1..;
    TxnOffsetCommit = 28, 0..=4, flexible 3..;
    DescribeAcls = 29, 0..=3, flexible 2..;
    CreateAcls = 30, 0..=3, flexible 2..;
    DeleteAcls = 31, 0..=3, flexible 2..;
    DescribeConfigs = 32, 0..=4, flexible 4..;
    AlterConfigs = 33, 0..=2, flexible 2..;
    AlterReplicaLogDirs = 34, 0..=2, flexible 2..;
    DescribeLogDirs = 35, 0..=4, flexible 2..;
    SaslAuthenticate = 36, 0..=2, flexible 2..;
    CreatePartitions = 37, 0..=3, flexible 2..;
    CreateDelegationToken = 38, 0..=3, flexible 2..;
    RenewDelegationToken = 39, 0..=2, flexible 2..;
    ExpireDelegationToken = 40, 0..=2, flexible 2..;
    DescribeDelegationToken = 41, 0..=3, flexible 2..;
    DeleteGroups = 42, 0..=2, flexible 2..;
    ElectLeaders = 43, 0..=2, flexible 2..;
    IncrementalAlterConfigs = 44, 0..=1, flexible 1..;
    AlterPartitionReassignments = 45, 0..=0, flexible 0..;
    ListPartitionReassignments = 46, 0..=0, flexible 0..;
    OffsetDelete = 47, 0..=0;
    DescribeClientQuotas = 48, 0..=1, flexible 1..;
    AlterClientQuotas = 49, 0..=1, flexible 1..;
    DescribeUserScramCredentials = 50, 0..=0, flexible 0..;
    AlterUserScramCredentials = 51, 0..=0, flexible 0..;
    AlterPartition = 56, 0..=3, flexible 0..;
    UpdateFeatures = 57, 0..=1, flexible 0..;
    Envelope = 58, 0..=0, flexible 0..;
    DescribeCluster = 60, 0..=1, flexible 0..;
    DescribeProducers = 61, 0..=0, flexible 0..;
    DescribeTransactions = 65, 0..=0, flexible 0..;
    ListTransactions = 66, 0..=1, flexible 0..;
    AllocateProducerIds = 67, 0..=0, flexible 0..;
    ConsumerGroupHeartbeat = 68, 0..=0, flexible 0..;
    ConsumerGroupDescribe = 69, 0..=0, flexible 0..;
}

impl ApiKey {
    pub const fn wire(self) -> i16 {
        self as i16
    }

    const fn is_flexible(self, version: i16) -> bool {
        match self.flexible_from() {
            Some(from) => version >= from,
            None => false,
        }
    }

    /// 0 without client id, 1 with it, 2 with tagged fields. Defined for versions that we do not know too: a newer
    /// client's ApiVersions request has to be understood as far as its correlation id.
    pub const fn request_header_version(self, version: i16) -> i16 {
        match self {
            Self::ControlledShutdown if version == 0 => 0,
            _ if self.is_flexible(version) => 2,
            _ => 1,
        }
    }

    /// 0 plain, 1 with tagged fields. Always 0 for ApiVersions: its client does not yet know what we can read (KIP-511).
    pub const fn response_header_version(self, version: i16) -> i16 {
        match self {
            Self::ApiVersions => 0,
            _ if self.is_flexible(version) => 1,
            _ => 0,
        }
    }

    /// Sent by brokers to brokers. Kafka: `ApiKeys.clusterAction`.
    pub const fn is_cluster_action(self) -> bool {
        matches!(
            self,
            Self::LeaderAndIsr
                | Self::StopReplica
                | Self::UpdateMetadata
                | Self::ControlledShutdown
                | Self::WriteTxnMarkers
                | Self::AlterPartition
                | Self::UpdateFeatures
                | Self::Envelope
                | Self::AllocateProducerIds
        )
    }
}

impl std::fmt::Display for ApiKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::ApiKey;

    #[test]
    fn keys_read_back_and_unknown_ones_are_none() {
        for key in ApiKey::ALL {
            assert_eq!(ApiKey::from_wire(key.wire()), Some(*key));
        }
        assert_eq!(ApiKey::ALL.len(), 62);
        assert!(ApiKey::ALL.is_sorted());
        assert_eq!(ApiKey::from_wire(52), None, "Vote is for KRaft");
        assert_eq!(ApiKey::from_wire(-1), None);
    }

    #[test]
    fn header_versions_have_two_exceptions() {
        assert_eq!(ApiKey::ControlledShutdown.request_header_version(0), 0);
        assert_eq!(ApiKey::ControlledShutdown.request_header_version(1), 1);
        assert_eq!(ApiKey::ApiVersions.request_header_version(99), 2);
        assert_eq!(ApiKey::ApiVersions.response_header_version(4), 0);
        assert_eq!(ApiKey::Fetch.response_header_version(12), 1);
        assert_eq!(ApiKey::SaslHandshake.request_header_version(1), 1);
        assert_eq!(ApiKey::SaslHandshake.response_header_version(1), 0);
    }
}
