//! The generation of a group and its members, in `__consumer_offsets`. Kafka: GroupMetadataKey.json,
//! GroupMetadataValue.json.

use crate::protocol::schema::message;

pub use group_metadata_value::MemberMetadata;

message! {
    group_metadata_key::GroupMetadataKey, 2..=2;

    GroupMetadataKey {
        group: Str, 2..;
    }
}

message! {
    group_metadata_value::GroupMetadataValue, 0..=4, flexible 4..;

    GroupMetadataValue {
        protocol_type: Str, 0..;
        generation: i32, 0..;
        protocol: Option<Str>, 0..;
        leader: Option<Str>, 0..;
        current_state_timestamp: i64 = -1, 2.., [ignorable];
        members: Vec<MemberMetadata>, 0..;
    }

    MemberMetadata {
        member_id: Str, 0..;
        group_instance_id: Option<Str>, 3.., [ignorable];
        client_id: Str, 0..;
        client_host: Str, 0..;
        rebalance_timeout: i32 = -1, 1.., [ignorable];
        session_timeout: i32, 0..;
        subscription: Bytes, 0..;
        assignment: Bytes, 0..;
    }
}
