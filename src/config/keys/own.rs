//! Owns the keys that Kafka does not have. Their names begin with `zurau.`.

use super::keys;

keys! {
    pub(in crate::config) struct OwnKeys {}

    "zurau.disk.reserve.bytes" Long = "0", AtLeast(0.0), Medium, ReadOnly => disk_reserve_bytes as u64:
        "Bytes of each log directory's file system that are kept from what clients produce; 0 is off.";
}
