//! Owns the start and the end of tasks: each has a name, a group that waits for it, and a rule for its panic.
//! Kafka: `KafkaThread`, `ShutdownableThread`, `Exit`. The only place that calls tokio's `spawn`.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// Tasks that end together. Cloning gives another handle on the same group.
#[derive(Clone)]
pub struct Group {
    handle: Handle,
    tracker: TaskTracker,
    stop: CancellationToken,
    shared: Arc<Shared>,
}

/// What a group shares with its children.
struct Shared {
    /// Cancelled by the first panic of a task that the broker cannot live without.
    fatal: CancellationToken,
    /// How many tasks of a name are running.
    running: Mutex<BTreeMap<&'static str, usize>>,
}

impl Group {
    pub fn new(handle: Handle) -> Self {
        let shared = Shared { fatal: CancellationToken::new(), running: Mutex::default() };
        Self { handle, tracker: TaskTracker::new(), stop: CancellationToken::new(), shared: Arc::new(shared) }
    }

    /// A group whose stop follows this one's, with tasks of its own to wait for, on `handle`'s runtime.
    pub fn child_on(&self, handle: Handle) -> Self {
        Self { handle, tracker: TaskTracker::new(), stop: self.stop.child_token(), shared: Arc::clone(&self.shared) }
    }

    /// Ends when the group is asked to stop. Every task of the group selects on it, first and biased.
    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Ends when a task panicked that the broker cannot live without.
    pub fn fatal_token(&self) -> &CancellationToken {
        &self.shared.fatal
    }

    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Starts a task that the broker cannot live without: its panic is logged and is fatal.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.start(name, true, future)
    }

    /// Starts a task whose panic costs itself only: a connection, a request that outlives its connection.
    pub fn spawn_isolated<F>(&self, name: &'static str, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.start(name, false, future)
    }

    fn start<F>(&self, name: &'static str, fatal: bool, future: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        *shared.running.lock().entry(name).or_default() += 1;
        let watched = async move {
            let counted = Counted { name, shared };
            let result = CatchPanic { future: Box::pin(future) }.await;
            if result.is_none() {
                error!(task = name, "task panicked");
                if fatal {
                    counted.shared.fatal.cancel();
                }
            }
            result
        };
        self.tracker.spawn_on(watched, &self.handle)
    }

    /// Asks all tasks to stop and waits for them up to `within`. The error names those that are still running.
    pub async fn shut_down(&self, within: Duration) -> Result<(), StillRunning> {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(within, self.tracker.wait()).await.map_err(|_| StillRunning {
            names: self.shared.running.lock().iter().filter(|(_, n)| **n > 0).map(|(name, _)| *name).collect(),
        })
    }
}

/// Tasks that did not stop in time.
#[derive(Debug, thiserror::Error)]
#[error("still running: {names:?}")]
pub struct StillRunning {
    pub names: Vec<&'static str>,
}

struct Counted {
    name: &'static str,
    shared: Arc<Shared>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(n) = self.shared.running.lock().get_mut(self.name) {
            *n -= 1;
        }
    }
}

/// Gives None where the inner future panicked. The panic hook has printed the message by then.
struct CatchPanic<F> {
    future: Pin<Box<F>>,
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = self.future.as_mut();
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_fatal_unless_the_task_is_isolated() {
        let group = Group::new(Handle::current());
        let isolated = group.spawn_isolated("connection", async { panic!("on purpose") });
        assert_eq!(isolated.await.expect("joined"), None::<()>);
        assert!(!group.fatal_token().is_cancelled());
        let vital = group.spawn("isr-submitter", async { panic!("on purpose") });
        assert_eq!(vital.await.expect("joined"), None::<()>);
        assert!(group.fatal_token().is_cancelled());
    }

    #[tokio::test]
    async fn shut_down_waits_for_tasks_and_names_the_stubborn() {
        let group = Group::new(Handle::current());
        let stop = group.stop_token().clone();
        group.spawn("polite", async move { stop.cancelled().await });
        group.shut_down(Duration::from_secs(60)).await.expect("all stopped");

        let group = Group::new(Handle::current());
        group.spawn("stubborn", std::future::pending::<()>());
        let left = group.shut_down(Duration::from_millis(1)).await.expect_err("one never stops");
        assert_eq!(left.names, ["stubborn"]);
    }
}
