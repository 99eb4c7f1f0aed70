//! Owns the choice of Kafka's code for the errors of the layers below: one exhaustive table per error type, so that a
//! variant that is new there does not compile here. Kafka: `Errors.forException`, and the catches of `KafkaApis`.

use crate::cluster::partition::{CommitError, NotLeader, PartitionAppendError, PartitionError};
use crate::common::{ErrorCode, Offset};
use crate::controller::{ControlledShutdownError, ProducerIdsError};
use crate::coordinator::transaction::VerifyError;
use crate::log::AppendError as LogAppendError;
use crate::log::log_dir::DirError;
use crate::log::producer_state::ProducerError;
use crate::log::{LogStartError, ReadError};
use crate::record::validate::{RecordRefusal, ValidateError};
use crate::replica::{
    AlterLogDirError, AppendError, AppendFailure, FetchError, LeaderAndIsrError, NotHosted, StaleController,
    StopReplicaError, WaitDeletedError, WaitError,
};

impl From<NotHosted> for ErrorCode {
    fn from(error: NotHosted) -> Self {
        match error {
            NotHosted::Offline => Self::KafkaStorageError,
            NotHosted::Elsewhere => Self::NotLeaderOrFollower,
            NotHosted::Unknown => Self::UnknownTopicOrPartition,
        }
    }
}

impl From<NotLeader> for ErrorCode {
    fn from(NotLeader: NotLeader) -> Self {
        Self::NotLeaderOrFollower
    }
}

impl From<PartitionError> for ErrorCode {
    fn from(error: PartitionError) -> Self {
        match error {
            PartitionError::NotLeader => Self::NotLeaderOrFollower,
            PartitionError::Fenced { .. } => Self::FencedLeaderEpoch,
            PartitionError::UnknownEpoch { .. } | PartitionError::UnknownReplica(_) => Self::UnknownLeaderEpoch,
        }
    }
}

// ---- Produce

impl From<&AppendError> for ErrorCode {
    fn from(error: &AppendError) -> Self {
        match error {
            AppendError::NotHosted(error) => (*error).into(),
            AppendError::Invalid(error) => error.code(),
            AppendError::Partition(error) => error.into(),
            AppendError::NotFlushed => Self::KafkaStorageError,
        }
    }
}

impl From<&PartitionAppendError> for ErrorCode {
    fn from(error: &PartitionAppendError) -> Self {
        match error {
            PartitionAppendError::NotLeader(error) => (*error).into(),
            PartitionAppendError::NotEnoughReplicas { .. } => Self::NotEnoughReplicas,
            PartitionAppendError::Log(error) => match error {
                LogAppendError::NotLeader => Self::NotLeaderOrFollower,
                LogAppendError::TooLarge { .. } => Self::RecordListTooLarge,
                LogAppendError::Producer(error) => error.into(),
                LogAppendError::Record(error) => error.code(),
                LogAppendError::UnexpectedOffset { .. } | LogAppendError::OffsetsOutOfOrder => Self::UnknownServerError,
                // The directory has logged why, once.
                LogAppendError::Dir(DirError::Damaged(_)) => Self::CorruptMessage,
                LogAppendError::Dir(
                    DirError::Failed { .. }
                    | DirError::Offline(_)
                    | DirError::Full { .. }
                    | DirError::Gone(_)
                    | DirError::Reserved(_),
                ) => Self::KafkaStorageError,
            },
        }
    }
}

impl From<&ProducerError> for ErrorCode {
    fn from(error: &ProducerError) -> Self {
        match error {
            ProducerError::InvalidEpoch { .. } => Self::InvalidProducerEpoch,
            ProducerError::OutOfOrderSequence { .. } => Self::OutOfOrderSequenceNumber,
            ProducerError::NotInTransaction { .. } | ProducerError::TransactionOpen { .. } => Self::InvalidTxnState,
            ProducerError::CoordinatorFenced { .. } => Self::TransactionCoordinatorFenced,
        }
    }
}

impl From<WaitError> for ErrorCode {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Lost(CommitError::NotLeader(error)) => error.into(),
            WaitError::Lost(CommitError::NotEnoughReplicas) => Self::NotEnoughReplicasAfterAppend,
            WaitError::TimedOut => Self::RequestTimedOut,
        }
    }
}

/// Why records were refused, as a Produce response says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ProduceRefusal {
    pub code: ErrorCode,
    pub message: Option<String>,
    pub record_errors: Vec<RecordRefusal>,
    /// Of the log that refused; -1 for errors with which Kafka does not report it.
    pub log_start_offset: Offset,
}

impl From<ErrorCode> for ProduceRefusal {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: None, record_errors: Vec::new(), log_start_offset: -1 }
    }
}

impl From<AppendFailure> for ProduceRefusal {
    fn from(AppendFailure { error, log_start_offset }: AppendFailure) -> Self {
        let code = ErrorCode::from(&error);
        let without_start = matches!(
            code,
            ErrorCode::UnknownTopicOrPartition
                | ErrorCode::NotLeaderOrFollower
                | ErrorCode::MessageTooLarge
                | ErrorCode::RecordListTooLarge
                | ErrorCode::CorruptMessage
                | ErrorCode::KafkaStorageError
        );
        let mut refusal =
            Self { log_start_offset: log_start_offset.filter(|_| !without_start).unwrap_or(-1), ..code.into() };
        if let AppendError::Invalid(ValidateError::Records { message, errors, .. }) = error {
            refusal.message = Some(message);
            refusal.record_errors = errors;
        }
        refusal
    }
}

// ---- transactions

impl From<VerifyError> for ErrorCode {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Unreachable => Self::NetworkException,
            VerifyError::NoCoordinator => Self::CoordinatorNotAvailable,
            VerifyError::NotCoordinator => Self::NotCoordinator,
            VerifyError::Loading => Self::CoordinatorLoadInProgress,
            VerifyError::Concurrent => Self::ConcurrentTransactions,
            VerifyError::NotInTransaction => Self::InvalidTxnState,
            VerifyError::Abortable => Self::TransactionAbortable,
            // Producers also get this one from the partition itself.
            VerifyError::Fenced => Self::InvalidProducerEpoch,
            VerifyError::UnknownPartition => Self::UnknownTopicOrPartition,
            VerifyError::Refused(code) => code,
        }
    }
}

/// Why the first records of a transaction must not be appended to a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unverified {
    NotHosted(NotHosted),
    NotLeader(NotLeader),
    Refused(VerifyError),
}

impl From<NotHosted> for Unverified {
    fn from(error: NotHosted) -> Self {
        Self::NotHosted(error)
    }
}

impl From<NotLeader> for Unverified {
    fn from(error: NotLeader) -> Self {
        Self::NotLeader(error)
    }
}

impl From<VerifyError> for Unverified {
    fn from(error: VerifyError) -> Self {
        Self::Refused(error)
    }
}

/// Transient errors are answered with a code on which every client retries, without even looking for another leader.
impl From<Unverified> for ProduceRefusal {
    fn from(error: Unverified) -> Self {
        let error = match error {
            Unverified::NotHosted(error) => return ErrorCode::from(error).into(),
            Unverified::NotLeader(error) => return ErrorCode::from(error).into(),
            Unverified::Refused(error) => error,
        };
        let code = ErrorCode::from(error);
        let (code, message) = match error {
            VerifyError::NotInTransaction => (code, Some("Partition was not added to the transaction".to_owned())),
            VerifyError::Unreachable
            | VerifyError::NoCoordinator
            | VerifyError::NotCoordinator
            | VerifyError::Loading
            | VerifyError::Concurrent => {
                let text = "Unable to verify the partition has been added to the transaction. Underlying error:";
                (ErrorCode::NotEnoughReplicas, Some(format!("{text} {code}")))
            }
            VerifyError::Abortable | VerifyError::Fenced | VerifyError::UnknownPartition | VerifyError::Refused(_) => {
                (code, None)
            }
        };
        Self { message, ..code.into() }
    }
}

/// The code for an offset commit whose transaction was not verified. Kafka: `maybeConvertOffsetCommitError`.
pub(super) fn unverified_commit(error: Unverified) -> ErrorCode {
    match error {
        Unverified::NotHosted(NotHosted::Offline | NotHosted::Elsewhere) | Unverified::NotLeader(_) => {
            ErrorCode::NotCoordinator
        }
        Unverified::NotHosted(NotHosted::Unknown) | Unverified::Refused(VerifyError::UnknownPartition) => {
            ErrorCode::CoordinatorNotAvailable
        }
        // Old clients retry this code, and not NETWORK_EXCEPTION.
        Unverified::Refused(VerifyError::Unreachable) => ErrorCode::CoordinatorLoadInProgress,
        Unverified::Refused(
            error @ (VerifyError::NoCoordinator
            | VerifyError::NotCoordinator
            | VerifyError::Loading
            | VerifyError::Concurrent
            | VerifyError::NotInTransaction
            | VerifyError::Abortable
            | VerifyError::Fenced
            | VerifyError::Refused(_)),
        ) => error.into(),
    }
}

// ---- reads

impl From<&FetchError> for ErrorCode {
    fn from(error: &FetchError) -> Self {
        match error {
            FetchError::UnknownTopicId => Self::UnknownTopicId,
            FetchError::OtherTopicId => Self::InconsistentTopicId,
            FetchError::NotHosted(error) => (*error).into(),
            FetchError::Role(error) => error.clone().into(),
            FetchError::OffsetOutOfRange => Self::OffsetOutOfRange,
            FetchError::Corrupt => Self::CorruptMessage,
            FetchError::Dir => Self::KafkaStorageError,
        }
    }
}

impl From<ReadError> for ErrorCode {
    fn from(error: ReadError) -> Self {
        (&FetchError::from(error)).into()
    }
}

// ---- moves of logs and deletion of records

impl From<LogStartError> for ErrorCode {
    fn from(error: LogStartError) -> Self {
        match error {
            LogStartError::AboveHighWatermark { .. } => Self::OffsetOutOfRange,
            LogStartError::Dir(_) => Self::KafkaStorageError,
        }
    }
}

impl From<WaitDeletedError> for ErrorCode {
    fn from(error: WaitDeletedError) -> Self {
        match error {
            WaitDeletedError::NotLeader(error) => error.into(),
            WaitDeletedError::TimedOut => Self::RequestTimedOut,
        }
    }
}

impl From<AlterLogDirError> for ErrorCode {
    fn from(error: AlterLogDirError) -> Self {
        match error {
            AlterLogDirError::NameTooLong => Self::InvalidTopicException,
            AlterLogDirError::NoSuchDir => Self::LogDirNotFound,
            AlterLogDirError::NotHosted(NotHosted::Offline) | AlterLogDirError::Dir => Self::KafkaStorageError,
            // Kafka keeps the code that old clients of this API know.
            AlterLogDirError::NotHosted(NotHosted::Elsewhere) | AlterLogDirError::NotReady => Self::ReplicaNotAvailable,
            AlterLogDirError::NotHosted(NotHosted::Unknown) => Self::UnknownTopicOrPartition,
        }
    }
}

// ---- requests to the controller

impl From<ProducerIdsError> for ErrorCode {
    fn from(error: ProducerIdsError) -> Self {
        match error {
            ProducerIdsError::NotController => Self::NotController,
            ProducerIdsError::NotRegistered => Self::BrokerIdNotRegistered,
            ProducerIdsError::StaleEpoch => Self::StaleBrokerEpoch,
            ProducerIdsError::NoBlock => Self::UnknownServerError,
        }
    }
}

impl From<ControlledShutdownError> for ErrorCode {
    fn from(error: ControlledShutdownError) -> Self {
        match error {
            // Kafka's code for it here.
            ControlledShutdownError::NotController => Self::StaleControllerEpoch,
            // Kafka intends BROKER_NOT_AVAILABLE, but fails earlier where the request names an epoch.
            ControlledShutdownError::NotRegistered { names_epoch: true } => Self::UnknownServerError,
            ControlledShutdownError::NotRegistered { names_epoch: false } => Self::BrokerNotAvailable,
            ControlledShutdownError::StaleEpoch => Self::StaleBrokerEpoch,
        }
    }
}

// ---- the controller's requests

impl From<StaleController> for ErrorCode {
    fn from(_: StaleController) -> Self {
        Self::StaleControllerEpoch
    }
}

impl From<LeaderAndIsrError> for ErrorCode {
    fn from(error: LeaderAndIsrError) -> Self {
        match error {
            LeaderAndIsrError::Offline | LeaderAndIsrError::NoRoom => Self::KafkaStorageError,
            LeaderAndIsrError::OtherTopic => Self::InconsistentTopicId,
            LeaderAndIsrError::StaleEpoch => Self::StaleControllerEpoch,
            LeaderAndIsrError::NotAssigned => Self::UnknownTopicOrPartition,
        }
    }
}

impl From<StopReplicaError> for ErrorCode {
    fn from(error: StopReplicaError) -> Self {
        match error {
            StopReplicaError::Offline | StopReplicaError::NotDeleted => Self::KafkaStorageError,
            StopReplicaError::Fenced => Self::FencedLeaderEpoch,
        }
    }
}

/// The code of an outcome: none when there is no error.
pub(super) fn code_of<E: Into<ErrorCode>>(outcome: Result<(), E>) -> ErrorCode {
    outcome.err().map_or(ErrorCode::None, Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_that_time_heals_are_those_that_every_client_retries() {
        let refusal = |error: VerifyError| ProduceRefusal::from(Unverified::from(error));
        let concurrent = refusal(VerifyError::Concurrent);
        assert_eq!(concurrent.code, ErrorCode::NotEnoughReplicas);
        assert!(concurrent.message.unwrap().ends_with("Underlying error: CONCURRENT_TRANSACTIONS"));
        assert_eq!(refusal(VerifyError::Fenced), ErrorCode::InvalidProducerEpoch.into());
        let outside = refusal(VerifyError::NotInTransaction);
        assert_eq!(outside.code, ErrorCode::InvalidTxnState);
        assert_eq!(outside.message.as_deref(), Some("Partition was not added to the transaction"));
    }

    #[test]
    fn a_produce_answer_names_the_log_start_unless_kafka_answers_without_it() {
        let refusal = |error: AppendError| {
            let refusal = ProduceRefusal::from(AppendFailure { error, log_start_offset: Some(7) });
            (refusal.code, refusal.log_start_offset)
        };
        let fenced = ProducerError::InvalidEpoch { producer_id: 1, offset: 9, epoch: 0, current: 1 };
        let of_log = |error| AppendError::Partition(PartitionAppendError::Log(error));
        assert_eq!(refusal(of_log(fenced.into())), (ErrorCode::InvalidProducerEpoch, 7));
        assert_eq!(refusal(of_log(LogAppendError::NotLeader)), (ErrorCode::NotLeaderOrFollower, -1));
        let damaged = DirError::Damaged("a length".to_owned());
        assert_eq!(refusal(of_log(damaged.into())), (ErrorCode::CorruptMessage, -1));
        assert_eq!(refusal(NotHosted::Unknown.into()), (ErrorCode::UnknownTopicOrPartition, -1));
    }
}
