//! Runs the purgatory's protocol through thousands of thread schedules: no order of events leaves a request waiting. The
//! purgatory is compiled in here with shuttle's locks in place of the real ones.

#![allow(clippy::print_stdout, reason = "the count of a test runner")]
#![allow(
    dead_code,
    unreachable_pub,
    reason = "the purgatory is a part of this program here, and not all of it is called"
)]

extern crate shuttle_parking_lot as parking_lot;
extern crate shuttle_tokio as tokio;

#[path = "purgatory.rs"]
#[allow(unused_imports, reason = "of its unit tests, which are not run here")]
mod purgatory;

use purgatory::Purgatory;
use shuttle::future::block_on;
use shuttle::sync::atomic::{AtomicUsize, Ordering};
use shuttle::thread;
use std::panic::catch_unwind;
use std::sync::Arc;

const SCHEDULES: usize = 10_000;
/// Changes of threads that the second scheduler makes in one schedule.
const CHANGES: usize = 3;

/// A partition whose records are counted, and who waits for them.
#[derive(Default)]
struct Partition {
    records: AtomicUsize,
    waits: Arc<Purgatory<u32>>,
}

impl Partition {
    fn append(&self, key: u32) {
        self.records.fetch_add(1, Ordering::SeqCst);
        self.waits.wake(&key);
    }

    fn has(&self, records: usize) -> bool {
        self.records.load(Ordering::SeqCst) >= records
    }

    /// A fetch that waits for so many records. Without `second_try` it is the bug that the protocol exists against.
    fn fetch(&self, keys: Vec<u32>, records: usize, second_try: bool) {
        if self.has(records) {
            return;
        }
        let waiter = self.waits.watch(keys);
        if second_try && self.has(records) {
            return;
        }
        loop {
            block_on(waiter.woken());
            if self.has(records) {
                return;
            }
        }
    }
}

fn one_wakes_one(second_try: bool) {
    let partition = Arc::new(Partition::default());
    let producer = thread::spawn({
        let partition = Arc::clone(&partition);
        move || partition.append(1)
    });
    partition.fetch(vec![1], 1, second_try);
    producer.join().expect("the producer ends");
    assert_eq!(partition.waits.registrations(), 0);
}

fn two_producers_wake_two_fetches_over_two_keys() {
    let partition = Arc::new(Partition::default());
    let run = |work: fn(&Partition)| {
        let partition = Arc::clone(&partition);
        thread::spawn(move || work(&partition))
    };
    let threads = [
        run(|p| p.append(1)),
        run(|p| p.append(2)),
        run(|p| p.fetch(vec![1, 2], 2, true)),
        run(|p| p.fetch(vec![2, 1], 1, true)),
    ];
    for thread in threads {
        thread.join().expect("no request waits forever");
    }
    assert_eq!(partition.waits.registrations(), 0);
}

fn main() {
    // The second scheduler changes threads a few times only, at any place: it finds what the first one hits too rarely.
    shuttle::check_random(|| one_wakes_one(true), SCHEDULES);
    shuttle::check_pct(|| one_wakes_one(true), SCHEDULES, CHANGES);
    shuttle::check_random(two_producers_wake_two_fetches_over_two_keys, SCHEDULES);
    shuttle::check_pct(two_producers_wake_two_fetches_over_two_keys, SCHEDULES, CHANGES);
    // What these schedules are worth: they find the bug.
    std::panic::set_hook(Box::new(|_| {}));
    let found = catch_unwind(|| shuttle::check_random(|| one_wakes_one(false), SCHEDULES)).is_err();
    assert!(
        found,
        "without the second try a wake-up between try and registration is lost, and the test did not notice"
    );
    println!("test result: ok. 5 passed; 0 failed; {SCHEDULES} schedules each");
}
