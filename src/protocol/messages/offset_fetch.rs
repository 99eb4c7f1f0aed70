//! OffsetFetch, key 9: reads a group's offsets; many groups at once from version 8 on.
//! Kafka: OffsetFetchRequest.json, OffsetFetchResponse.json.

use crate::protocol::schema::message;

message! {
    offset_fetch_request::OffsetFetchRequest, 0..=9, flexible 6..;

    OffsetFetchRequest {
        group_id: Str, 0..=7;
        topics: Option<Vec<OffsetFetchRequestTopic>> = Some(Vec::new()), 0..=7, null 2..=7;
        groups: Vec<OffsetFetchRequestGroup>, 8..;
        require_stable: bool, 7..;
    }

    OffsetFetchRequestTopic {
        name: Str, 0..=7;
        partition_indexes: Vec<i32>, 0..=7;
    }

    OffsetFetchRequestGroup {
        group_id: Str, 8..;
        member_id: Option<Str>, 9.., [ignorable];
        member_epoch: i32 = -1, 9.., [ignorable];
        topics: Option<Vec<OffsetFetchRequestTopics>> = Some(Vec::new()), 8..;
    }

    OffsetFetchRequestTopics {
        name: Str, 8..;
        partition_indexes: Vec<i32>, 8..;
    }
}

message! {
    offset_fetch_response::OffsetFetchResponse, 0..=9, flexible 6..;

    OffsetFetchResponse {
        throttle_time_ms: i32, 3.., [ignorable];
        topics: Vec<OffsetFetchResponseTopic>, 0..=7;
        error_code: i16, 2..=7, [ignorable];
        groups: Vec<OffsetFetchResponseGroup>, 8..;
    }

    OffsetFetchResponseTopic {
        name: Str, 0..=7;
        partitions: Vec<OffsetFetchResponsePartition>, 0..=7;
    }

    OffsetFetchResponsePartition {
        partition_index: i32, 0..=7;
        committed_offset: i64, 0..=7;
        committed_leader_epoch: i32 = -1, 5..=7, [ignorable];
        metadata: Option<Str> = Some(Str::new()), 0..=7;
        error_code: i16, 0..=7;
    }

    OffsetFetchResponseGroup {
        group_id: Str, 8..;
        topics: Vec<OffsetFetchResponseTopics>, 8..;
        error_code: i16, 8..;
    }

    OffsetFetchResponseTopics {
        name: Str, 8..;
        partitions: Vec<OffsetFetchResponsePartitions>, 8..;
    }

    OffsetFetchResponsePartitions {
        partition_index: i32, 8..;
        committed_offset: i64, 8..;
        committed_leader_epoch: i32 = -1, 8..;
        metadata: Option<Str> = Some(Str::new()), 8..;
        error_code: i16, 8..;
    }
}
