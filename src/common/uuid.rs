//! Owns Kafka's 16-byte ids (topic ids, cluster ids) and their text form. Kafka: `org.apache.kafka.common.Uuid`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

/// Sixteen bytes, written as 22 characters of URL-safe base64 without padding. All zero means "none" on the wire.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    pub const ZERO: Self = Self([0; 16]);
    const ONE: Self = Self([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

    /// A random version 4 id that is none of the reserved ones and whose text does not start with a dash, as in Kafka's
    /// `Uuid.randomUuid` (a leading dash reads as an option on a command line).
    pub fn random() -> Self {
        loop {
            let mut bytes: [u8; 16] = rand::random();
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            let id = Self(bytes);
            if id != Self::ZERO && id != Self::ONE && !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// None when the text is not 16 bytes of URL-safe base64.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Uuid;

    #[test]
    fn text_form_is_the_one_in_the_golden_partition_metadata() {
        let id = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 42]);
        assert_eq!(id.to_string(), "AAAAAAAAAAAAAAAAAAAAKg");
        assert_eq!(Uuid::parse("AAAAAAAAAAAAAAAAAAAAKg"), Some(id));
        assert_eq!(Uuid::parse("AAAA"), None);
    }

    #[test]
    fn random_ids_are_version_4_and_never_start_with_a_dash() {
        for _ in 0..1_000 {
            let id = Uuid::random();
            assert_eq!(id.0[6] >> 4, 4);
            assert!(!id.to_string().starts_with('-'));
        }
    }
}
