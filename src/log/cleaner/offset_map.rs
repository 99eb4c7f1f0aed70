//! Owns the table that says at which offset a key was last seen, within a bound of memory. Kafka: `SkimpyOffsetMap`. Pure.
//!
//! Keys are known by a hash of 128 bits. Kafka takes MD5; here the hash has a secret, so that no one can make two keys that
//! are taken for one. A table holds as many keys as Kafka's does in the same memory. It is an anonymous map: its pages are
//! zero, are there once they are written, and go back to the system with the table.
//!
//! slot: | hash u64 | hash u64 | offset + 1 u64 |, in the order of this machine; all zero is a free slot

use crate::common::ids::Offset;
use memmap2::MmapMut;
use std::hash::{BuildHasher, RandomState};
use std::io;

/// Of a hash and an offset, as in Kafka: what decides how many keys a buffer holds.
pub(super) const BYTES_PER_ENTRY: usize = 24;

/// See the module's page.
pub(super) struct OffsetMap {
    table: MmapMut,
    slots_max: usize,
    entries: usize,
    latest: Offset,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// A table of at most about `memory` bytes, and no larger than `keys_max` keys need. `hashers` bring the secret. The
    /// error is that there is no such memory.
    pub(super) fn new(memory: usize, keys_max: u64, hashers: [RandomState; 2]) -> io::Result<Self> {
        let slots_max = memory / BYTES_PER_ENTRY;
        let needed = usize::try_from(keys_max.saturating_add(keys_max / 2)).unwrap_or(usize::MAX);
        // One slot stays free: it ends every search.
        let slots = slots_max.min(needed) + 1;
        let table = MmapMut::map_anon(slots * BYTES_PER_ENTRY)?;
        Ok(Self { table, slots_max, entries: 0, latest: -1, hashers })
    }

    fn slots_in_table(&self) -> usize {
        self.table.len() / BYTES_PER_ENTRY
    }

    /// Slots of Kafka's table in the same memory.
    pub(super) fn slots(&self) -> usize {
        self.slots_max
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    /// The last offset that the map speaks of, -1 for none: records above it are not looked up.
    pub(super) fn latest_offset(&self) -> Offset {
        self.latest
    }

    pub(super) fn update_latest_offset(&mut self, offset: Offset) {
        self.latest = offset;
    }

    /// The slot that has the key, or would get it, with its number. There is always a free slot.
    fn find(&self, key: &[u8]) -> (usize, Slot) {
        let hash = [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)];
        let slots = self.table.as_chunks().0;
        // Multiplication instead of a remainder: the table need not be a power of two.
        let mut at = ((u128::from(hash[0]) * slots.len() as u128) >> 64) as usize;
        loop {
            let slot = Slot::read(&slots[at]);
            if slot.next_offset == 0 {
                return (at, Slot { hash, next_offset: 0 });
            }
            if slot.hash == hash {
                return (at, slot);
            }
            at += 1;
            if at == slots.len() {
                at = 0;
            }
        }
    }

    /// Notes the offset of a key, later ones over earlier ones. False when there is no room.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        if self.entries + 1 >= self.slots_in_table() {
            return false;
        }
        let (at, slot) = self.find(key);
        if slot.next_offset == 0 {
            self.entries += 1;
        }
        self.table.as_chunks_mut().0[at] = Slot { next_offset: offset as u64 + 1, ..slot }.bytes();
        self.latest = offset;
        true
    }

    /// The last offset of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        self.find(key).1.next_offset.checked_sub(1).map(|offset| offset as Offset)
    }

    /// How full it is, 1 for as many keys as there are slots.
    pub(super) fn utilization(&self) -> f64 {
        self.entries as f64 / self.slots_max.max(1) as f64
    }
}

#[derive(Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    /// 0: the slot is free.
    next_offset: u64,
}

impl Slot {
    fn read(bytes: &[u8; BYTES_PER_ENTRY]) -> Self {
        let words = bytes.as_chunks().0;
        let word = |n: usize| words.get(n).map_or(0, |word| u64::from_ne_bytes(*word));
        Self { hash: [word(0), word(1)], next_offset: word(2) }
    }

    fn bytes(self) -> [u8; BYTES_PER_ENTRY] {
        let mut bytes = [0; BYTES_PER_ENTRY];
        for (place, value) in bytes.as_chunks_mut().0.iter_mut().zip([self.hash[0], self.hash[1], self.next_offset]) {
            *place = value.to_ne_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn map_for(slots: usize, keys_max: u64) -> OffsetMap {
        OffsetMap::new(slots * BYTES_PER_ENTRY, keys_max, [RandomState::new(), RandomState::new()]).unwrap()
    }

    fn map(slots: usize) -> OffsetMap {
        map_for(slots, u64::MAX)
    }

    proptest! {
        #[test]
        fn it_says_what_a_plain_map_says(keys in proptest::collection::vec(0u16..300, 0..2_000)) {
            let mut map = map(1_000);
            let mut plain = HashMap::new();
            for (offset, key) in keys.iter().enumerate() {
                prop_assert!(map.put(&key.to_be_bytes(), offset as i64));
                plain.insert(*key, offset as i64);
            }
            prop_assert_eq!(map.len(), plain.len());
            for key in 0u16..400 {
                prop_assert_eq!(map.get(&key.to_be_bytes()), plain.get(&key).copied());
            }
        }
    }

    #[test]
    fn every_slot_of_kafkas_table_can_be_used_within_the_memory() {
        for slots in [0, 1, 10, 100, 50_000] {
            let mut map = map(slots);
            for n in 0..slots {
                assert!(map.put(&n.to_be_bytes(), n as i64), "{n} of {slots}");
            }
            assert!(!map.put(b"one more", 0));
            assert!((0..slots).all(|n| map.get(&n.to_be_bytes()) == Some(n as i64)));
            assert_eq!((map.len(), map.get(b"one more")), (slots, None));
            assert_eq!(map.table.len(), (slots + 1) * BYTES_PER_ENTRY);
        }
    }

    #[test]
    fn a_table_for_few_keys_is_small_and_holds_them() {
        for keys in [0, 1, 2, 3, 1_000] {
            let mut map = map_for(5_000_000, keys);
            assert!((0..keys).all(|n| map.put(&n.to_be_bytes(), n as i64)), "{keys}");
            assert!(map.table.len() as u64 <= (keys * 3 / 2 + 1) * BYTES_PER_ENTRY as u64);
            assert_eq!(map.slots(), 5_000_000);
        }
    }
}
