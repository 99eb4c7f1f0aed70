//! The committed offset of a group, in `__consumer_offsets`. Kafka: OffsetCommitKey.json, OffsetCommitValue.json.

use crate::protocol::schema::message;

message! {
    offset_commit_key::OffsetCommitKey, 0..=1;

    OffsetCommitKey {
        group: Str, 0..;
        topic: Str, 0..;
        partition: i32, 0..;
    }
}

message! {
    offset_commit_value::OffsetCommitValue, 0..=4, flexible 4..;

    OffsetCommitValue {
        offset: i64, 0..;
        leader_epoch: i32 = -1, 3.., [ignorable];
        metadata: Str, 0..;
        commit_timestamp: i64, 0..;
        expire_timestamp: i64 = -1, 1..=1, [ignorable];
    }
}
