//! Owns the table that says at which offset a key was last seen, within a bound of memory. Kafka: `SkimpyOffsetMap`. Pure.
//!
//! Keys are known by a hash of 128 bits. Kafka takes MD5; here the hash has a secret, so that nobody can make two keys that
//! are taken for one. A table holds as many keys as Kafka's does in the same memory, and takes no more than it needs: the
//! table is made of parts that grow one by one, because a growing part is there twice.

use std::hash::{BuildHasher, RandomState};

use crate::common::ids::Offset;

/// Of a hash and an offset, as in Kafka: what decides how many keys a buffer holds.
pub(super) const BYTES_PER_ENTRY: usize = 24;
/// Tables below this many slots are in one part.
const SLOTS_IN_PARTS: usize = 1 << 14;
const PARTS: usize = 64;
const FIRST_SLOTS: usize = 16;

const EMPTY: Offset = -1;

#[derive(Clone, Copy)]
struct Slot {
    hash: [u64; 2],
    offset: Offset,
}

const _: () = assert!(size_of::<Slot>() == BYTES_PER_ENTRY);

const FREE: Slot = Slot { hash: [0; 2], offset: EMPTY };

#[derive(Default)]
struct Part {
    slots: Vec<Slot>,
    used: usize,
}

impl Part {
    /// Where the hash is, or where it would go. There is always a free slot.
    fn find(&self, hash: [u64; 2]) -> usize {
        // Multiplication instead of a remainder: the table need not be a power of two.
        let mut at = ((u128::from(hash[1]) * self.slots.len() as u128) >> 64) as usize;
        loop {
            let slot = &self.slots[at];
            if slot.offset == EMPTY || slot.hash == hash {
                return at;
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    /// Makes room for one more in at most `max` slots; false when there is none.
    fn make_room(&mut self, max: usize) -> bool {
        if (self.used + 1) * 4 <= self.slots.len() * 3 {
            return true;
        }
        if self.slots.len() < max {
            let len = (self.slots.len() * 2).max(FIRST_SLOTS).min(max);
            let old = std::mem::replace(&mut self.slots, vec![FREE; len]);
            for slot in old.into_iter().filter(|slot| slot.offset != EMPTY) {
                let at = self.find(slot.hash);
                self.slots[at] = slot;
            }
        }
        // One slot stays free: it ends every search.
        self.used + 1 < self.slots.len()
    }
}

/// See the module's page.
pub(super) struct OffsetMap {
    parts: Vec<Part>,
    slots_max: usize,
    part_slots_max: usize,
    entries: usize,
    latest: Offset,
    hashers: [RandomState; 2],
}

impl OffsetMap {
    /// Takes at most about `memory` bytes. `hashers` bring the secret.
    pub(super) fn new(memory: usize, hashers: [RandomState; 2]) -> Self {
        let slots_max = memory / BYTES_PER_ENTRY;
        let parts = if slots_max < SLOTS_IN_PARTS { 1 } else { PARTS };
        // Hashes spread unevenly over parts, a little.
        let part_slots_max = slots_max / parts + slots_max / parts / 32 + 2;
        Self {
            parts: std::iter::repeat_with(Part::default).take(parts).collect(),
            slots_max,
            part_slots_max,
            entries: 0,
            latest: EMPTY,
            hashers,
        }
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

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        [self.hashers[0].hash_one(key), self.hashers[1].hash_one(key)]
    }

    fn part_of(&self, hash: [u64; 2]) -> usize {
        hash[0] as usize % self.parts.len()
    }

    /// Notes the offset of a key, later ones over earlier ones. False when there is no room.
    #[must_use]
    pub(super) fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let max = self.part_slots_max;
        let number = self.part_of(hash);
        let part = &mut self.parts[number];
        if !part.make_room(max) {
            return false;
        }
        let at = part.find(hash);
        if part.slots[at].offset == EMPTY {
            part.used += 1;
            self.entries += 1;
        }
        part.slots[at] = Slot { hash, offset };
        self.latest = offset;
        true
    }

    /// The last offset of a key.
    pub(super) fn get(&self, key: &[u8]) -> Option<Offset> {
        let hash = self.hash(key);
        let part = &self.parts[self.part_of(hash)];
        if part.slots.is_empty() {
            return None;
        }
        Some(part.slots[part.find(hash)].offset).filter(|offset| *offset != EMPTY)
    }

    /// How full it is, 1 for as many keys as there are slots.
    pub(super) fn utilization(&self) -> f64 {
        self.entries as f64 / self.slots_max.max(1) as f64
    }

    /// Bytes that it takes now.
    #[cfg(test)]
    fn memory(&self) -> usize {
        self.parts.iter().map(|part| part.slots.len() * BYTES_PER_ENTRY).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn map(slots: usize) -> OffsetMap {
        OffsetMap::new(slots * BYTES_PER_ENTRY, [RandomState::new(), RandomState::new()])
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
    fn nine_tenths_of_all_slots_can_be_used_within_the_memory() {
        for slots in [10, 100, 50_000, 400_000] {
            let mut map = map(slots);
            let keys = slots * 9 / 10;
            for n in 0..keys {
                assert!(map.put(&n.to_be_bytes(), n as i64), "{n} of {slots}");
            }
            assert_eq!((map.len(), map.get(&7usize.to_be_bytes())), (keys, (7 < keys).then_some(7)));
            assert_eq!(map.get(b"other"), None);
            assert!(map.memory() <= (slots + slots / 30 + 256) * BYTES_PER_ENTRY, "{} for {slots}", map.memory());
        }
    }

    #[test]
    fn a_full_table_says_so_and_keeps_what_it_has() {
        let mut map = map(4);
        let taken = (0..100i64).take_while(|n| map.put(&n.to_be_bytes(), *n)).count();
        assert!((4..=7).contains(&taken), "{taken}");
        assert!((0..taken as i64).all(|n| map.get(&n.to_be_bytes()) == Some(n)));
    }

    #[test]
    fn few_keys_take_little_memory() {
        let mut map = map(5_000_000);
        for n in 0..1_000u32 {
            assert!(map.put(&n.to_be_bytes(), 0));
        }
        assert!(map.memory() < 200_000, "{}", map.memory());
    }
}
