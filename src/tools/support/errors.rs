//! Owns the names under which Kafka's tools print errors: those of the Java client's exceptions. Kafka:
//! `org.apache.kafka.common.errors`, `Errors`.

use crate::common::ErrorCode;
use rdkafka::error::RDKafkaErrorCode;

/// Exceptions whose name is not derived from the error's.
const IRREGULAR: &[(ErrorCode, &str)] = &[
    (ErrorCode::UnknownServerError, "UnknownServerException"),
    (ErrorCode::CorruptMessage, "CorruptRecordException"),
    (ErrorCode::RequestTimedOut, "TimeoutException"),
    (ErrorCode::MessageTooLarge, "RecordTooLargeException"),
    (ErrorCode::StaleControllerEpoch, "ControllerMovedException"),
    (ErrorCode::OffsetMetadataTooLarge, "OffsetMetadataTooLarge"),
    (ErrorCode::NetworkException, "NetworkException"),
    (ErrorCode::InvalidTopicException, "InvalidTopicException"),
    (ErrorCode::RecordListTooLarge, "RecordBatchTooLargeException"),
    (ErrorCode::TopicAlreadyExists, "TopicExistsException"),
    (ErrorCode::InvalidConfig, "InvalidConfigurationException"),
    (ErrorCode::OutOfOrderSequenceNumber, "OutOfOrderSequenceException"),
    (ErrorCode::DuplicateSequenceNumber, "DuplicateSequenceException"),
    (ErrorCode::InvalidProducerIdMapping, "InvalidPidMappingException"),
    (ErrorCode::InvalidTransactionTimeout, "InvalidTxnTimeoutException"),
    (ErrorCode::KafkaStorageError, "KafkaStorageException"),
    (ErrorCode::SaslAuthenticationFailed, "SaslAuthenticationException"),
    (ErrorCode::DelegationTokenAuthDisabled, "DelegationTokenDisabledException"),
    (ErrorCode::DelegationTokenRequestNotAllowed, "UnsupportedByAuthenticationException"),
    (ErrorCode::NonEmptyGroup, "GroupNotEmptyException"),
    (ErrorCode::PrincipalDeserializationFailure, "PrincipalDeserializationException"),
    (ErrorCode::FetchSessionTopicIdError, "FetchSessionTopicIdException"),
];

/// The exception's simple name, such as `UnknownTopicOrPartitionException`.
pub(crate) fn exception_name(code: ErrorCode) -> String {
    if let Some((_, name)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == code) {
        return (*name).to_owned();
    }
    let stem =
        code.name().strip_suffix("_FAILED").filter(|s| s.ends_with("AUTHORIZATION")).unwrap_or_else(|| code.name());
    let mut name = String::new();
    for word in stem.split('_') {
        let (first, rest) = word.split_at(word.len().min(1));
        name.push_str(first);
        name.push_str(&rest.to_ascii_lowercase());
    }
    name + "Exception"
}

/// The exception with its package and message, as a stack trace starts.
pub(crate) fn exception(code: ErrorCode, message: Option<&str>) -> String {
    format!("org.apache.kafka.common.errors.{}: {}", exception_name(code), message.unwrap_or_else(|| code.message()))
}

/// Kafka's error code for librdkafka's: the broker's own codes are the same, its local ones mean that there was no
/// answer.
pub(crate) fn error_code(code: RDKafkaErrorCode) -> ErrorCode {
    match i16::try_from(code as i32) {
        Ok(wire) if wire > 0 => ErrorCode::from_wire(wire),
        _ => match code {
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::MessageTimedOut | RDKafkaErrorCode::OperationTimedOut => ErrorCode::RequestTimedOut,
            RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown => ErrorCode::NetworkException,
            _ => ErrorCode::UnknownServerError,
        },
    }
}

/// The Java exception for an error that librdkafka reports.
pub(crate) fn client_exception(code: RDKafkaErrorCode) -> String {
    match error_code(code) {
        ErrorCode::UnknownServerError => format!("org.apache.kafka.common.KafkaException: {code}"),
        known => exception(known, (code as i32 <= 0).then(|| code.to_string()).as_deref()),
    }
}

#[cfg(test)]
mod tests {
    use super::exception_name;
    use crate::common::ErrorCode;

    #[test]
    fn names_follow_from_the_error_codes_or_the_list() {
        let named = |code| exception_name(code);
        assert_eq!(named(ErrorCode::UnknownTopicOrPartition), "UnknownTopicOrPartitionException");
        assert_eq!(named(ErrorCode::TopicAuthorizationFailed), "TopicAuthorizationException");
        assert_eq!(named(ErrorCode::TopicAlreadyExists), "TopicExistsException");
    }
}
