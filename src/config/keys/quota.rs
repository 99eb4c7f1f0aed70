//! Owns the broker keys that cannot be set in a properties file, but only in `/config/brokers`.

use super::keys;

keys! {
    /// Rates of replication and of moves between directories, in bytes per second.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReplicationRates {}

    "follower.replication.throttled.rate" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide
        => follower_replication_throttled_rate:
        "Bytes a second that this broker fetches of replicas that are throttled as followers.";
    "leader.replication.throttled.rate" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide
        => leader_replication_throttled_rate:
        "Bytes a second that this broker sends of replicas that are throttled as leaders.";
    "replica.alter.log.dirs.io.max.bytes.per.second" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide
        => replica_alter_log_dirs_io_max_bytes_per_second:
        "Bytes a second for moving replicas between the log directories of this broker.";
}
