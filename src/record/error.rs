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
    /// What Kafka throws without a code of its own: a compressed stream that is damaged under a good checksum, a codec
    /// that no version has used.
    #[error("{0}")]
    Unclassified(String),
}

impl RecordError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::Invalid(_) => ErrorCode::InvalidRecord,
            Self::UnsupportedCodec(_) => ErrorCode::UnsupportedCompressionType,
            Self::Unclassified(_) => ErrorCode::UnknownServerError,
        }
    }
}
