//! Owns work that a log leaves for later: flushing a segment that was closed, removing files after their delay. Kafka:
//! `KafkaScheduler` as the log uses it. Its clock is its own and never jumps: when someone sets the time of the machine,
//! no file goes early and no flush waits for an hour. Absent on purpose: threads. The owner calls
//! [`Scheduler::run_due`], off the data workers: jobs wait for the disk.

use crate::common::ids::Millis;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;
use tokio::sync::Notify;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs by the time they are due. There are at most a few for each segment and file on the disk.
pub struct Scheduler {
    jobs: Mutex<Jobs>,
    changed: Notify,
    started: Instant,
}

impl Default for Scheduler {
    fn default() -> Self {
        Self { jobs: Mutex::default(), changed: Notify::new(), started: Instant::now() }
    }
}

#[derive(Default)]
struct Jobs {
    by_time: BTreeMap<(Millis, u64), Job>,
    next: u64,
}

impl Scheduler {
    /// Milliseconds since it began.
    pub fn now(&self) -> Millis {
        Millis::try_from(self.started.elapsed().as_millis()).unwrap_or(Millis::MAX)
    }

    pub(super) fn schedule_in(&self, delay: Millis, job: impl FnOnce() + Send + 'static) {
        let due = self.now().saturating_add(delay.max(0));
        {
            let mut jobs = self.jobs.lock();
            jobs.next += 1;
            let number = jobs.next;
            jobs.by_time.insert((due, number), Box::new(job));
        }
        self.changed.notify_one();
    }

    /// Runs what is due at `now` by [`Self::now`], oldest first, and returns when the next job is.
    pub fn run_due(&self, now: Millis) -> Option<Millis> {
        loop {
            let job = {
                let mut jobs = self.jobs.lock();
                match jobs.by_time.first_entry() {
                    Some(first) if first.key().0 <= now => first.remove(),
                    Some(first) => return Some(first.key().0),
                    None => return None,
                }
            };
            job();
        }
    }

    /// Completes when a job was added since the last call. Cancel safe.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    pub fn len(&self) -> usize {
        self.jobs.lock().by_time.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("jobs", &self.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    const HOUR: Millis = 3_600_000;

    #[test]
    fn jobs_run_when_they_are_due_in_the_order_of_their_times() {
        let scheduler = Scheduler::default();
        let ran = Arc::new(Mutex::new(Vec::new()));
        for hours in [30, 10, 20] {
            let ran = Arc::clone(&ran);
            scheduler.schedule_in(hours * HOUR, move || ran.lock().push(hours));
        }
        assert!(scheduler.run_due(25 * HOUR).is_some_and(|next| (30 * HOUR..31 * HOUR).contains(&next)));
        assert_eq!(*ran.lock(), [10, 20]);
        assert_eq!(scheduler.run_due(31 * HOUR), None);
        assert_eq!(*ran.lock(), [10, 20, 30]);
    }
}
