//! Owns what a log knows of its cleaning, and who may change its closed segments: the cleaner, retention, or a truncation
//! that stops both. Kafka: the states of `LogCleanerManager` (in progress, aborted, paused).

use crate::common::ids::Offset;
use parking_lot::{Condvar, Mutex};
use std::sync::atomic::{AtomicBool, Ordering};

/// What a log knows of its cleaning.
#[derive(Debug, Default)]
pub(in crate::log) struct LogCleaning {
    pub gate: CleaningGate,
    /// The first offset that is not clean.
    checkpoint: Mutex<Option<Offset>>,
    is_uncleanable: AtomicBool,
}

impl LogCleaning {
    pub(in crate::log) fn checkpoint(&self) -> Option<Offset> {
        *self.checkpoint.lock()
    }

    /// True when it changed.
    pub(in crate::log) fn set_checkpoint(&self, offset: Option<Offset>) -> bool {
        std::mem::replace(&mut *self.checkpoint.lock(), offset) != offset
    }

    pub(in crate::log) fn is_uncleanable(&self) -> bool {
        self.is_uncleanable.load(Ordering::Relaxed)
    }

    pub(super) fn mark_uncleanable(&self) {
        self.is_uncleanable.store(true, Ordering::Relaxed);
    }

    /// All that there was is gone, and with it what could not be cleaned.
    pub(in crate::log) fn begin_anew(&self) {
        self.is_uncleanable.store(false, Ordering::Relaxed);
    }
}

/// The cleaning was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cleaning was aborted")]
pub(in crate::log) struct Aborted;

/// One of these in each log.
#[derive(Debug, Default)]
pub(in crate::log) struct CleaningGate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_running: bool,
    /// Who waits for, or works under, the stop.
    pauses: u32,
}

impl CleaningGate {
    /// The right to clean, or to remove segments; `None` while another has it or cleaning is paused.
    pub(in crate::log) fn try_begin(&self) -> Option<Turn<'_>> {
        let mut state = self.state.lock();
        if state.is_running || state.pauses > 0 {
            return None;
        }
        state.is_running = true;
        Some(Turn { gate: self })
    }

    /// Stops a cleaning that is under way and waits until it has stopped; none begins until the pause is dropped. Never
    /// while the log's lock is held: the cleaning may wait for it. Kafka: `abortAndPauseCleaning`.
    pub(in crate::log) fn pause(&self) -> Pause<'_> {
        let mut state = self.state.lock();
        state.pauses += 1;
        while state.is_running {
            self.changed.wait(&mut state);
        }
        Pause { gate: self }
    }

    /// No cleaning until as many [`Self::release`]: while a replica moves to another directory. Waits as
    /// [`Self::pause`].
    pub(in crate::log) fn hold(&self) {
        std::mem::forget(self.pause());
    }

    pub(in crate::log) fn release(&self) {
        self.state.lock().pauses -= 1;
    }

    pub(in crate::log) fn is_busy(&self) -> bool {
        let state = self.state.lock();
        state.is_running || state.pauses > 0
    }
}

/// The right to clean; dropping it gives it back.
#[derive(Debug)]
pub(in crate::log) struct Turn<'g> {
    gate: &'g CleaningGate,
}

impl Turn<'_> {
    /// To be asked often.
    pub(in crate::log) fn check(&self) -> Result<(), Aborted> {
        if self.gate.state.lock().pauses > 0 { Err(Aborted) } else { Ok(()) }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.gate.state.lock().is_running = false;
        self.gate.changed.notify_all();
    }
}

/// No cleaning while it is there.
#[derive(Debug)]
pub(in crate::log) struct Pause<'g> {
    gate: &'g CleaningGate,
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.gate.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn one_at_a_time_and_nobody_while_it_is_paused() {
        let gate = CleaningGate::default();
        let turn = gate.try_begin().unwrap();
        assert!(gate.try_begin().is_none());
        drop(turn);
        let (first, second) = (gate.pause(), gate.pause());
        assert!(gate.try_begin().is_none());
        drop(first);
        assert!(gate.try_begin().is_none());
        drop(second);
        assert!(gate.try_begin().is_some());
    }

    #[test]
    fn a_pause_stops_the_cleaning_and_waits_for_its_end() {
        let gate = CleaningGate::default();
        let ended = AtomicBool::new(false);
        let turn = gate.try_begin().unwrap();
        assert_eq!(turn.check(), Ok(()));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let _pause = gate.pause();
                assert!(ended.load(Ordering::Acquire));
            });
            while turn.check().is_ok() {
                std::thread::yield_now();
            }
            ended.store(true, Ordering::Release);
            drop(turn);
        });
        assert!(!gate.is_busy());
    }
}
