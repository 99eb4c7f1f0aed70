//! Owns work that a log leaves for later: flushing a segment that was closed, removing files after their delay. Kafka:
//! `KafkaScheduler` as the log uses it. Absent on purpose: threads and clocks. Whoever owns them calls
//! [`Scheduler::run_due`], off the data workers: jobs wait for the disk.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::common::ids::Millis;

type Job = Box<dyn FnOnce() + Send>;

/// Jobs by the time they are due. There are at most a few for each segment and file on the disk.
#[derive(Default)]
pub struct Scheduler {
    jobs: Mutex<Jobs>,
    changed: Notify,
}

#[derive(Default)]
struct Jobs {
    by_time: BTreeMap<(Millis, u64), Job>,
    next: u64,
}

impl Scheduler {
    pub(super) fn schedule(&self, due: Millis, job: impl FnOnce() + Send + 'static) {
        {
            let mut jobs = self.jobs.lock();
            jobs.next += 1;
            let number = jobs.next;
            jobs.by_time.insert((due, number), Box::new(job));
        }
        self.changed.notify_one();
    }

    /// Runs what is due, oldest first, and returns when the next job is.
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

    #[test]
    fn jobs_run_when_they_are_due_in_the_order_of_their_times() {
        let scheduler = Scheduler::default();
        let ran = Arc::new(Mutex::new(Vec::new()));
        for due in [30, 10, 20] {
            let ran = Arc::clone(&ran);
            scheduler.schedule(due, move || ran.lock().push(due));
        }
        assert_eq!(scheduler.run_due(25), Some(30));
        assert_eq!(*ran.lock(), [10, 20]);
        assert_eq!(scheduler.run_due(30), None);
        assert_eq!(*ran.lock(), [10, 20, 30]);
    }
}
