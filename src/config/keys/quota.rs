//! Owns the broker keys that have no form in a properties file: they live in `/config/brokers` only.

use super::rows;

rows! {
    "follower.replication.throttled.rate" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide:
        "Bytes a second that this broker fetches of replicas that are throttled as followers.";
    "leader.replication.throttled.rate" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide:
        "Bytes a second that this broker sends of replicas that are throttled as leaders.";
    "replica.alter.log.dirs.io.max.bytes.per.second" Long = "9223372036854775807", AtLeast(0.0), Medium, ClusterWide:
        "Bytes a second for moving replicas between the log directories of this broker.";
}
