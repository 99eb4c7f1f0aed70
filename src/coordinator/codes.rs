//! Owns what clients and other brokers are answered when a coordinator's records are not stored, or its shard does not
//! serve: one exhaustive table for each way to ask. Pure.

use super::runtime::{NotServing, StoreError};
use crate::common::ErrorCode;
use crate::log::producer_state::ProducerError;

/// The log's own error: what a leader answers to WriteTxnMarkers, and what our log lines name.
pub(super) fn log_code(error: StoreError) -> ErrorCode {
    match error {
        StoreError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
        StoreError::NotLeader => ErrorCode::NotLeaderOrFollower,
        StoreError::Offline => ErrorCode::KafkaStorageError,
        StoreError::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
        StoreError::NotEnoughReplicasAfterAppend => ErrorCode::NotEnoughReplicasAfterAppend,
        StoreError::TimedOut => ErrorCode::RequestTimedOut,
        StoreError::BatchTooLarge => ErrorCode::MessageTooLarge,
        StoreError::LargerThanSegment => ErrorCode::RecordListTooLarge,
        StoreError::Producer(ProducerError::InvalidEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
        StoreError::Producer(ProducerError::OutOfOrderSequence { .. }) => ErrorCode::OutOfOrderSequenceNumber,
        StoreError::Producer(ProducerError::NotInTransaction { .. } | ProducerError::TransactionOpen { .. }) => {
            ErrorCode::InvalidTxnState
        }
        StoreError::Producer(ProducerError::CoordinatorFenced { .. }) => ErrorCode::TransactionCoordinatorFenced,
        StoreError::Damaged => ErrorCode::CorruptMessage,
        StoreError::Invalid(code) => code,
        StoreError::InvalidAcks => ErrorCode::InvalidRequiredAcks,
        StoreError::Internal => ErrorCode::UnknownServerError,
    }
}

/// What members hear whose group is not stored. Kafka: `GroupMetadataManager.storeGroup`.
pub(super) fn group_code(error: StoreError) -> ErrorCode {
    match error {
        StoreError::UnknownPartition | StoreError::NotEnoughReplicas | StoreError::NotEnoughReplicasAfterAppend => {
            ErrorCode::CoordinatorNotAvailable
        }
        StoreError::NotLeader | StoreError::Offline => ErrorCode::NotCoordinator,
        StoreError::TimedOut => ErrorCode::RebalanceInProgress,
        StoreError::BatchTooLarge | StoreError::LargerThanSegment => ErrorCode::UnknownServerError,
        StoreError::Producer(_)
        | StoreError::Damaged
        | StoreError::Invalid(_)
        | StoreError::InvalidAcks
        | StoreError::Internal => log_code(error),
    }
}

/// What a client hears whose offsets are not stored. Kafka: `maybeConvertOffsetCommitError`.
pub(super) fn commit_code(error: StoreError) -> ErrorCode {
    match error {
        StoreError::UnknownPartition | StoreError::NotEnoughReplicas | StoreError::NotEnoughReplicasAfterAppend => {
            ErrorCode::CoordinatorNotAvailable
        }
        StoreError::NotLeader | StoreError::Offline => ErrorCode::NotCoordinator,
        StoreError::BatchTooLarge | StoreError::LargerThanSegment => ErrorCode::InvalidCommitOffsetSize,
        StoreError::TimedOut
        | StoreError::Producer(_)
        | StoreError::Damaged
        | StoreError::Invalid(_)
        | StoreError::InvalidAcks
        | StoreError::Internal => log_code(error),
    }
}

/// What a producer hears whose transaction is not stored. Kafka: `TransactionStateManager.appendTransactionToLog`.
pub(super) fn transaction_code(error: StoreError) -> ErrorCode {
    match error {
        StoreError::UnknownPartition
        | StoreError::NotEnoughReplicas
        | StoreError::NotEnoughReplicasAfterAppend
        | StoreError::TimedOut => ErrorCode::CoordinatorNotAvailable,
        StoreError::NotLeader | StoreError::Offline => ErrorCode::NotCoordinator,
        StoreError::BatchTooLarge | StoreError::LargerThanSegment => ErrorCode::UnknownServerError,
        StoreError::Producer(_)
        | StoreError::Damaged
        | StoreError::Invalid(_)
        | StoreError::InvalidAcks
        | StoreError::Internal => log_code(error),
    }
}

/// `invalid` is the code for a key that is none.
pub(super) fn not_serving_code(error: NotServing, invalid: ErrorCode) -> ErrorCode {
    match error {
        NotServing::InvalidKey => invalid,
        NotServing::Elsewhere => ErrorCode::NotCoordinator,
        NotServing::Loading => ErrorCode::CoordinatorLoadInProgress,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_ask_hears_a_failed_write_as_in_kafka() {
        use ErrorCode::{
            CoordinatorNotAvailable, InvalidCommitOffsetSize, MessageTooLarge, NotCoordinator, NotEnoughReplicas,
            NotLeaderOrFollower, RebalanceInProgress, RequestTimedOut, UnknownServerError,
        };
        let told = |error| [log_code(error), group_code(error), commit_code(error), transaction_code(error)];
        let [few, led, late] = [StoreError::NotEnoughReplicas, StoreError::NotLeader, StoreError::TimedOut].map(told);
        assert_eq!(few[0], NotEnoughReplicas);
        assert_eq!(few[1..], [CoordinatorNotAvailable; 3]);
        assert_eq!(led[0], NotLeaderOrFollower);
        assert_eq!(led[1..], [NotCoordinator; 3]);
        assert_eq!(late, [RequestTimedOut, RebalanceInProgress, RequestTimedOut, CoordinatorNotAvailable]);
        let large = [MessageTooLarge, UnknownServerError, InvalidCommitOffsetSize, UnknownServerError];
        assert_eq!(told(StoreError::BatchTooLarge), large);
        let fenced = ProducerError::InvalidEpoch { producer_id: 1, offset: 0, epoch: 0, current: 1 };
        assert_eq!(told(fenced.into()), [ErrorCode::InvalidProducerEpoch; 4]);
    }
}
