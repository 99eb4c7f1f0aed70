//! Owns how the console consumer prints a record. Kafka: `DefaultMessageFormatter`, `LoggingMessageFormatter` (whose log line
//! the tools' log level hides), `NoOpMessageFormatter`, and the deserializers of `common.serialization` that yield text. Records
//! of the internal topics are [`Coordinator`]'s.

use super::coordinator_formatter::Coordinator;
use crate::protocol::codec::DecodeError;
use crate::tools::support::client_properties::Properties;
use crate::tools::support::terminal;
use rdkafka::Timestamp;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use std::io::{self, Write};

/// Why a record cannot be printed.
#[derive(Debug, thiserror::Error)]
pub(super) enum FormatError {
    #[error("{0}")]
    Output(#[from] io::Error),
    #[error("org.apache.kafka.common.errors.SerializationException: {0}")]
    Deserialize(String),
    #[error("a record of an internal topic cannot be read: {0}")]
    Internal(#[from] DecodeError),
    #[error("java.lang.IllegalStateException: {0}")]
    UnknownValue(String),
}

/// How to print records.
#[derive(Debug)]
pub(super) enum Formatter {
    Fields(Box<Fields>),
    Coordinator(Coordinator),
    Nothing,
}

impl Formatter {
    /// None when no formatter has that class name.
    pub(super) fn of_class(class: &str, properties: &Properties) -> Option<Self> {
        let (name, is_old) = match class.strip_prefix("org.apache.kafka.tools.consumer.") {
            Some(name) => (name, false),
            None => (deprecated(class)?, true),
        };
        if is_old {
            terminal::say(format_args!(
                "WARNING: {class} is deprecated and will be removed in the next major release. Please use \
                 org.apache.kafka.tools.consumer.{name} instead"
            ));
        }
        match name {
            "DefaultMessageFormatter" | "LoggingMessageFormatter" => {
                Some(Self::Fields(Box::new(Fields::new(properties))))
            }
            "NoOpMessageFormatter" => Some(Self::Nothing),
            _ => Coordinator::of_class(name, is_old).map(Self::Coordinator),
        }
    }

    pub(super) fn write(&self, message: &BorrowedMessage<'_>, out: &mut impl Write) -> Result<(), FormatError> {
        match self {
            Self::Fields(fields) => fields.write(message, out),
            Self::Coordinator(coordinator) => coordinator.write(message.key(), message.payload(), out),
            Self::Nothing => Ok(()),
        }
    }
}

/// The current name of a class that was in another package before.
fn deprecated(class: &str) -> Option<&str> {
    Some(match class {
        "kafka.tools.DefaultMessageFormatter" => "DefaultMessageFormatter",
        "kafka.tools.LoggingMessageFormatter" => "LoggingMessageFormatter",
        "kafka.tools.NoOpMessageFormatter" => "NoOpMessageFormatter",
        "kafka.coordinator.group.GroupMetadataManager$OffsetsMessageFormatter" => "OffsetsMessageFormatter",
        "kafka.coordinator.group.GroupMetadataManager$GroupMetadataMessageFormatter" => "GroupMetadataMessageFormatter",
        "kafka.coordinator.transaction.TransactionLog$TransactionLogMessageFormatter" => {
            "TransactionLogMessageFormatter"
        }
        _ => return None,
    })
}

/// The fields of a record, in order.
#[derive(Debug)]
pub(super) struct Fields {
    timestamp: bool,
    key: bool,
    value: bool,
    partition: bool,
    offset: bool,
    headers: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
    key_deserializer: Option<Deserializer>,
    value_deserializer: Option<Deserializer>,
    headers_deserializer: Option<Deserializer>,
}

impl Fields {
    fn new(properties: &Properties) -> Self {
        let flag =
            |key: &str, default: bool| properties.get(key).map_or(default, |v| v.trim().eq_ignore_ascii_case("true"));
        let text = |key: &str, default: &str| properties.get(key).map_or(default, String::as_str).to_owned();
        let deserializer = |key: &str| {
            let class = properties.get(key)?;
            let known = Deserializer::of_class(class);
            if known.is_none() {
                let this = "org.apache.kafka.tools.consumer.DefaultMessageFormatter";
                terminal::error(this, format_args!("Unable to instantiate a deserializer from {class}"));
            }
            known
        };
        Self {
            timestamp: flag("print.timestamp", false),
            key: flag("print.key", false),
            value: flag("print.value", true),
            partition: flag("print.partition", false),
            offset: flag("print.offset", false),
            headers: flag("print.headers", false),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
            key_deserializer: deserializer("key.deserializer"),
            value_deserializer: deserializer("value.deserializer"),
            headers_deserializer: deserializer("headers.deserializer"),
        }
    }

    fn write(&self, message: &BorrowedMessage<'_>, out: &mut impl Write) -> Result<(), FormatError> {
        // What follows a field: the key separator before another one, the line separator after the last.
        let after = |more: bool| if more { self.key_separator.as_bytes() } else { self.line_separator.as_bytes() };
        if self.timestamp {
            match message.timestamp() {
                Timestamp::NotAvailable => write!(out, "NO_TIMESTAMP")?,
                Timestamp::CreateTime(at) => write!(out, "CreateTime:{at}")?,
                Timestamp::LogAppendTime(at) => write!(out, "LogAppendTime:{at}")?,
            }
            out.write_all(after(self.partition || self.offset || self.headers || self.key || self.value))?;
        }
        if self.partition {
            write!(out, "Partition:{}", message.partition())?;
            out.write_all(after(self.offset || self.headers || self.key || self.value))?;
        }
        if self.offset {
            write!(out, "Offset:{}", message.offset())?;
            out.write_all(after(self.headers || self.key || self.value))?;
        }
        if self.headers {
            match message.headers().filter(|headers| headers.count() > 0) {
                None => write!(out, "NO_HEADERS")?,
                Some(headers) => {
                    for (n, header) in headers.iter().enumerate() {
                        if n > 0 {
                            out.write_all(self.headers_separator.as_bytes())?;
                        }
                        write!(out, "{}:", header.key)?;
                        self.field(header.value, self.headers_deserializer, out)?;
                    }
                }
            }
            out.write_all(after(self.key || self.value))?;
        }
        if self.key {
            self.field(message.key(), self.key_deserializer, out)?;
            out.write_all(after(self.value))?;
        }
        if self.value {
            self.field(message.payload(), self.value_deserializer, out)?;
            out.write_all(self.line_separator.as_bytes())?;
        }
        Ok(())
    }

    /// Kafka passes the literal for null to the deserializer too, so a null number fails there.
    fn field(
        &self,
        bytes: Option<&[u8]>,
        deserializer: Option<Deserializer>,
        out: &mut impl Write,
    ) -> Result<(), FormatError> {
        let bytes = bytes.unwrap_or(self.null_literal.as_bytes());
        match deserializer {
            None => out.write_all(bytes)?,
            Some(deserializer) => out.write_all(deserializer.text(bytes)?.as_bytes())?,
        }
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deserializer {
    String,
    Bytes,
    Boolean,
    Short,
    Integer,
    Long,
    Float,
    Double,
    Uuid,
}

impl Deserializer {
    fn of_class(class: &str) -> Option<Self> {
        Some(match class.strip_prefix("org.apache.kafka.common.serialization.")? {
            "StringDeserializer" => Self::String,
            "BytesDeserializer" => Self::Bytes,
            "BooleanDeserializer" => Self::Boolean,
            "ShortDeserializer" => Self::Short,
            "IntegerDeserializer" => Self::Integer,
            "LongDeserializer" => Self::Long,
            "FloatDeserializer" => Self::Float,
            "DoubleDeserializer" => Self::Double,
            "UUIDDeserializer" => Self::Uuid,
            _ => return None,
        })
    }

    /// The text of the deserialized object, as its `toString` gives it.
    fn text(self, bytes: &[u8]) -> Result<String, FormatError> {
        fn sized<const N: usize>(bytes: &[u8], wrong_size: &str) -> Result<[u8; N], FormatError> {
            bytes.try_into().map_err(|_| FormatError::Deserialize(wrong_size.to_owned()))
        }
        Ok(match self {
            Self::String => String::from_utf8_lossy(bytes).into_owned(),
            Self::Bytes => escaped(bytes),
            Self::Boolean => match sized(bytes, "Size of data received by BooleanDeserializer is not 1")? {
                [0] => "false".to_owned(),
                [1] => "true".to_owned(),
                [other] => {
                    return Err(FormatError::Deserialize(format!(
                        "Unexpected byte received by BooleanDeserializer: {}",
                        other.cast_signed()
                    )));
                }
            },
            Self::Short => {
                i16::from_be_bytes(sized(bytes, "Size of data received by ShortDeserializer is not 2")?).to_string()
            }
            Self::Integer => {
                i32::from_be_bytes(sized(bytes, "Size of data received by IntegerDeserializer is not 4")?).to_string()
            }
            Self::Long => {
                i64::from_be_bytes(sized(bytes, "Size of data received by LongDeserializer is not 8")?).to_string()
            }
            Self::Float => {
                let number = f32::from_be_bytes(sized(bytes, "Size of data received by Deserializer is not 4")?);
                java_number(f64::from(number), format!("{number:?}"), format!("{number:e}"))
            }
            Self::Double => {
                let number = f64::from_be_bytes(sized(bytes, "Size of data received by Deserializer is not 8")?);
                java_number(number, format!("{number:?}"), format!("{number:e}"))
            }
            Self::Uuid => {
                let text = String::from_utf8_lossy(bytes);
                let parsed = uuid::Uuid::parse_str(&text);
                parsed.map_err(|_| FormatError::Deserialize("Error parsing data into UUID".to_owned()))?.to_string()
            }
        })
    }
}

/// As Java's `Bytes.toString`: printable ASCII as it is, the rest in hexadecimal.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    for &byte in bytes {
        match byte {
            b' '..=b'~' if byte != b'\\' => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\x{byte:02X}")),
        }
    }
    text
}

/// Java writes a number outside 10^-3 to 10^7 with an exponent, and always with a fraction.
fn java_number(number: f64, plain: String, exponent: String) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if number == 0.0 || (1e-3..1e7).contains(&number.abs()) {
        return plain;
    }
    match exponent.split_once('e') {
        Some((digits, power)) if digits.contains('.') => format!("{digits}E{power}"),
        Some((digits, power)) => format!("{digits}.0E{power}"),
        None => exponent,
    }
}

#[cfg(test)]
mod tests {
    use super::Deserializer;

    #[test]
    fn numbers_print_as_java_prints_them() {
        let double = |n: f64| Deserializer::Double.text(&n.to_be_bytes()).unwrap();
        let printed: Vec<_> = [0.0, 1.0, 0.001, 1.5e-4, 1e7, 1.25e10, -3.0].map(double).into();
        assert_eq!(printed, ["0.0", "1.0", "0.001", "1.5E-4", "1.0E7", "1.25E10", "-3.0"]);
        assert_eq!(Deserializer::Long.text(&(-5_i64).to_be_bytes()).unwrap(), "-5");
    }

    #[test]
    fn wrong_size_is_the_exception_that_java_throws() {
        let said = Deserializer::Long.text(b"null").unwrap_err().to_string();
        let expected =
            "org.apache.kafka.common.errors.SerializationException: Size of data received by LongDeserializer is not 8";
        assert_eq!(said, expected);
    }

    #[test]
    fn bytes_keep_printable_ascii_and_escape_the_rest() {
        assert_eq!(Deserializer::Bytes.text(b"a\\\n\xff ").unwrap(), "a\\x5C\\x0A\\xFF ");
    }
}
