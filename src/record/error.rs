//! Owns what can be wrong with record bytes, by what the caller answers. The texts are the ones that clients see.

use crate::common::ErrorCode;

/// A damaged, malformed or unreadable batch. The variants are the exceptions that Kafka throws, because each has its
/// own wire code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes are not what was written: checksum, size or magic. Kafka: `CorruptRecordException`.
    #[error("{0}")]
    Corrupt(String),
    /// The batch is whole but says something that it may not. Kafka: `InvalidRecordException`.
    #[error("{0}")]
    Invalid(String),
    /// The codec is not allowed here. Kafka: `UnsupportedCompressionTypeException`.
    #[error("{0}")]
    UnsupportedCodec(String),
    /// The compressed stream is damaged under a good checksum. Kafka has no code for it (`KafkaException`).
    #[error("{0}")]
    Unreadable(String),
}

impl RecordError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::Invalid(_) => ErrorCode::InvalidRecord,
            Self::UnsupportedCodec(_) => ErrorCode::UnsupportedCompressionType,
            Self::Unreadable(_) => ErrorCode::UnknownServerError,
        }
    }
}
