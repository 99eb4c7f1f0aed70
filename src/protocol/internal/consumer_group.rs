//! The groups of KIP-848, in `__consumer_offsets`: a broker in ZooKeeper mode only shows them in its tools, for logs of other
//! clusters. Kafka: the ConsumerGroup*.json files of `group-coordinator`.

use crate::protocol::schema::message;

pub use consumer_group_current_member_assignment_value::TopicPartitions;
pub use consumer_group_member_metadata_value::{ClassicMemberMetadata, ClassicProtocol};
pub use consumer_group_partition_metadata_value::{PartitionMetadata, TopicMetadata};
pub use consumer_group_target_assignment_member_value::TopicPartition;

message! {
    consumer_group_metadata_key::ConsumerGroupMetadataKey, 3..=3;

    ConsumerGroupMetadataKey {
        group_id: Str, 3..;
    }
}

message! {
    consumer_group_metadata_value::ConsumerGroupMetadataValue, 0..=0, flexible 0..;

    ConsumerGroupMetadataValue {
        epoch: i32, 0..;
    }
}

message! {
    consumer_group_partition_metadata_key::ConsumerGroupPartitionMetadataKey, 4..=4;

    ConsumerGroupPartitionMetadataKey {
        group_id: Str, 4..;
    }
}

message! {
    consumer_group_partition_metadata_value::ConsumerGroupPartitionMetadataValue, 0..=0, flexible 0..;

    ConsumerGroupPartitionMetadataValue {
        topics: Vec<TopicMetadata>, 0..;
    }

    TopicMetadata {
        topic_id: Uuid, 0..;
        topic_name: Str, 0..;
        num_partitions: i32, 0..;
        partition_metadata: Vec<PartitionMetadata>, 0..;
    }

    PartitionMetadata {
        partition: i32, 0..;
        racks: Vec<Str>, 0..;
    }
}

message! {
    consumer_group_member_metadata_key::ConsumerGroupMemberMetadataKey, 5..=5;

    ConsumerGroupMemberMetadataKey {
        group_id: Str, 5..;
        member_id: Str, 5..;
    }
}

message! {
    consumer_group_member_metadata_value::ConsumerGroupMemberMetadataValue, 0..=0, flexible 0..;

    ConsumerGroupMemberMetadataValue {
        instance_id: Option<Str>, 0..;
        rack_id: Option<Str>, 0..;
        client_id: Str, 0..;
        client_host: Str, 0..;
        subscribed_topic_names: Vec<Str>, 0..;
        subscribed_topic_regex: Option<Str>, 0..;
        rebalance_timeout_ms: i32 = -1, 0..;
        server_assignor: Option<Str>, 0..;
        0 => classic_member_metadata: Option<ClassicMemberMetadata>, 0..;
    }

    ClassicMemberMetadata {
        session_timeout_ms: i32, 0..;
        supported_protocols: Vec<ClassicProtocol>, 0..;
    }

    ClassicProtocol {
        name: Str, 0..;
        metadata: Bytes, 0..;
    }
}

message! {
    consumer_group_target_assignment_metadata_key::ConsumerGroupTargetAssignmentMetadataKey, 6..=6;

    ConsumerGroupTargetAssignmentMetadataKey {
        group_id: Str, 6..;
    }
}

message! {
    consumer_group_target_assignment_metadata_value::ConsumerGroupTargetAssignmentMetadataValue, 0..=0, flexible 0..;

    ConsumerGroupTargetAssignmentMetadataValue {
        assignment_epoch: i32, 0..;
    }
}

message! {
    consumer_group_target_assignment_member_key::ConsumerGroupTargetAssignmentMemberKey, 7..=7;

    ConsumerGroupTargetAssignmentMemberKey {
        group_id: Str, 7..;
        member_id: Str, 7..;
    }
}

message! {
    consumer_group_target_assignment_member_value::ConsumerGroupTargetAssignmentMemberValue, 0..=0, flexible 0..;

    ConsumerGroupTargetAssignmentMemberValue {
        topic_partitions: Vec<TopicPartition>, 0..;
    }

    TopicPartition {
        topic_id: Uuid, 0..;
        partitions: Vec<i32>, 0..;
    }
}

message! {
    consumer_group_current_member_assignment_key::ConsumerGroupCurrentMemberAssignmentKey, 8..=8;

    ConsumerGroupCurrentMemberAssignmentKey {
        group_id: Str, 8..;
        member_id: Str, 8..;
    }
}

message! {
    consumer_group_current_member_assignment_value::ConsumerGroupCurrentMemberAssignmentValue, 0..=0, flexible 0..;

    ConsumerGroupCurrentMemberAssignmentValue {
        member_epoch: i32, 0..;
        previous_member_epoch: i32, 0..;
        state: i8, 0..;
        assigned_partitions: Vec<TopicPartitions>, 0..;
        partitions_pending_revocation: Vec<TopicPartitions>, 0..;
    }

    TopicPartitions {
        topic_id: Uuid, 0..;
        partitions: Vec<i32>, 0..;
    }
}
