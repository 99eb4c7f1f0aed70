//! Owns the deadlines of all groups of a shard. Kafka: the heartbeat and rebalance purgatories. Pure.
//!
//! The owner of a deadline keeps it in a slot of its own; this set finds the next. The two change together.

use crate::common::Millis;
use crate::protocol::Str;
use std::collections::BTreeSet;

/// What happens at a deadline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TimerKind {
    /// The join phase ends, or its initial delay.
    Join,
    /// Members that have not synced are out.
    Sync,
    /// A member was not heard of.
    Session(Str),
    /// A member id was given out and no one came back with it (KIP-394).
    Pending(Str),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Millis, Str, TimerKind)>,
}

impl Timers {
    /// Arms, moves or (with `at` None) removes a deadline.
    pub(super) fn set(&mut self, slot: &mut Option<Millis>, at: Option<Millis>, group: &Str, what: TimerKind) {
        if *slot == at {
            return;
        }
        let mut entry = (0, group.clone(), what);
        if let Some(old) = *slot {
            entry.0 = old;
            self.set.remove(&entry);
        }
        if let Some(new) = at {
            entry.0 = new;
            self.set.insert(entry);
        }
        *slot = at;
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.set.first().map(|(at, ..)| *at)
    }

    /// Takes the first deadline that is due. Its slot is still set.
    pub(super) fn pop_due(&mut self, now: Millis) -> Option<(Str, TimerKind)> {
        if self.next()? > now {
            return None;
        }
        self.set.pop_first().map(|(_, group, what)| (group, what))
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn len(&self) -> usize {
        self.set.len()
    }

    #[cfg(any(test, debug_assertions))]
    pub(super) fn has(&self, at: Millis, group: &Str, what: TimerKind) -> bool {
        self.set.contains(&(at, group.clone(), what))
    }
}
