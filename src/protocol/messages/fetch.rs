//! Fetch, key 1: reads record batches, for consumers and for followers, in sessions from version 7 on.
//! Kafka: FetchRequest.json, FetchResponse.json.

use crate::protocol::schema::message;

message! {
    fetch_request::FetchRequest, 0..=17, flexible 12..;

    FetchRequest {
        // A follower's broker id, -1 for a consumer; from version 15 on in `replica_state`.
        replica_id: i32 = -1, 0..=14;
        max_wait_ms: i32, 0..;
        min_bytes: i32, 0..;
        max_bytes: i32 = i32::MAX, 3.., [ignorable];
        isolation_level: i8, 4.., [ignorable];
        session_id: i32, 7.., [ignorable];
        // 0 starts a session, -1 fetches without one, else the next number of it (KIP-227).
        session_epoch: i32 = -1, 7.., [ignorable];
        topics: Vec<FetchTopic>, 0..;
        forgotten_topics_data: Vec<ForgottenTopic>, 7..;
        rack_id: Str, 11.., [ignorable];
        0 => cluster_id: Option<Str>, 12.., [ignorable];
        1 => replica_state: ReplicaState, 15..;
    }

    ReplicaState {
        replica_id: i32 = -1, 15..;
        replica_epoch: i64 = -1, 15..;
    }

    FetchTopic {
        topic: Str, 0..=12, [ignorable];
        topic_id: Uuid, 13.., [ignorable];
        partitions: Vec<FetchPartition>, 0..;
    }

    FetchPartition {
        partition: i32, 0..;
        current_leader_epoch: i32 = -1, 9.., [ignorable];
        fetch_offset: i64, 0..;
        last_fetched_epoch: i32 = -1, 12..;
        log_start_offset: i64 = -1, 5.., [ignorable];
        partition_max_bytes: i32, 0..;
        0 => replica_directory_id: Uuid, 17.., [ignorable];
    }

    ForgottenTopic {
        topic: Str, 7..=12, [ignorable];
        topic_id: Uuid, 13.., [ignorable];
        partitions: Vec<i32>, 7..;
    }
}

message! {
    fetch_response::FetchResponse, 0..=17, flexible 12..;

    FetchResponse {
        throttle_time_ms: i32, 1.., [ignorable];
        error_code: i16, 7.., [ignorable];
        session_id: i32, 7..;
        responses: Vec<FetchableTopicResponse>, 0..;
        // Where the leaders are that `current_leader` names, to save a Metadata request (KIP-951).
        0 => node_endpoints: Vec<NodeEndpoint>, 16..;
    }

    FetchableTopicResponse {
        topic: Str, 0..=12, [ignorable];
        topic_id: Uuid, 13.., [ignorable];
        partitions: Vec<PartitionData>, 0..;
    }

    PartitionData {
        partition_index: i32, 0..;
        error_code: i16, 0..;
        high_watermark: i64, 0..;
        last_stable_offset: i64 = -1, 4.., [ignorable];
        log_start_offset: i64 = -1, 5.., [ignorable];
        // Null when the request reads uncommitted.
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()), 4.., [ignorable];
        preferred_read_replica: i32 = -1, 11..;
        records: Option<Records>, 0..;
        // Set when the follower's `last_fetched_epoch` is not in the leader's log: where it must truncate (KIP-595).
        0 => diverging_epoch: EpochEndOffset, 12..;
        1 => current_leader: LeaderIdAndEpoch, 12..;
        2 => snapshot_id: SnapshotId, 12..;
    }

    EpochEndOffset {
        epoch: i32 = -1, 12..;
        end_offset: i64 = -1, 12..;
    }

    LeaderIdAndEpoch {
        leader_id: i32 = -1, 12..;
        leader_epoch: i32 = -1, 12..;
    }

    SnapshotId {
        end_offset: i64 = -1, 0..;
        epoch: i32 = -1, 0..;
    }

    AbortedTransaction {
        producer_id: i64, 4..;
        first_offset: i64, 4..;
    }

    NodeEndpoint {
        node_id: i32, 16..;
        host: Str, 16..;
        port: i32, 16..;
        rack: Option<Str>, 16..;
    }
}
