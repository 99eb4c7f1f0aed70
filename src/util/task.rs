//! Owns the start and the end of tasks: each has a name, a group that waits for it, and a rule for its panic.
//! Kafka: `KafkaThread`, `ShutdownableThread`, `Exit`. The only place that calls tokio's `spawn`.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Duration;
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
    /// Cancelled by the first panic of a task that the broker cannot live without. Shared with children.
    fatal: CancellationToken,
    /// How many tasks of a name are running.
    running: Running,
}

/// How many tasks of a name are running.
type Running = Arc<Mutex<BTreeMap<&'static str, usize>>>;

/// Blocking work that is under way in this process.
static BLOCKING: LazyLock<Running> = LazyLock::new(Running::default);

/// Runs work that waits for the disk, or takes long, on the threads that the current runtime has for it. A panic is logged with
/// the name and is the caller's to judge.
pub fn spawn_blocking<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    spawn_blocking_on(&Handle::current(), name, work)
}

#[allow(clippy::disallowed_methods, reason = "the one place")]
fn spawn_blocking_on<T: Send + 'static>(
    handle: &Handle,
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<T> {
    let counted = Counted::new(name, &BLOCKING);
    handle.spawn_blocking(move || {
        let _counted = counted;
        work()
    })
}

/// Names of blocking work that has not ended: what a stop waits for where a disk hangs.
pub fn blocking_under_way() -> BTreeSet<&'static str> {
    BLOCKING.lock().iter().filter(|(_, n)| **n > 0).map(|(name, _)| *name).collect()
}

impl Group {
    pub fn new(handle: Handle) -> Self {
        Self {
            handle,
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            fatal: CancellationToken::new(),
            running: Arc::default(),
        }
    }

    /// A group whose stop follows this one's, with tasks of its own to wait for, on `handle`'s runtime.
    pub fn child_on(&self, handle: Handle) -> Self {
        Self { stop: self.stop.child_token(), ..self.beside_on(handle) }
    }

    /// A group that does not stop with this one, on `handle`'s runtime. A panic in either is fatal to both.
    pub fn beside_on(&self, handle: Handle) -> Self {
        Self { fatal: self.fatal.clone(), ..Self::new(handle) }
    }

    /// Ends when the group is asked to stop. Every task of the group selects on it, first and biased.
    pub fn stop_token(&self) -> &CancellationToken {
        &self.stop
    }

    /// Ends when a task panicked that the broker cannot live without.
    pub fn fatal_token(&self) -> &CancellationToken {
        &self.fatal
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
        let counted = Counted::new(name, &self.running);
        let on_panic = fatal.then(|| self.fatal.clone());
        let watched = async move {
            let _counted = counted;
            let result = CatchPanic { future: Box::pin(future) }.await;
            if result.is_none() {
                error!(task = name, "task panicked");
                if let Some(fatal) = on_panic {
                    fatal.cancel();
                }
            }
            result
        };
        self.tracker.spawn_on(watched, &self.handle)
    }

    /// As [`spawn_blocking`], on the threads of the group's runtime.
    pub fn spawn_blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        spawn_blocking_on(&self.handle, name, work)
    }

    /// Asks all tasks to stop and waits for them up to `within`. The error names those that are still running.
    pub async fn shut_down(&self, within: Duration) -> Result<(), StillRunning> {
        shut_down_all([self], within).await
    }

    /// Names of tasks that have not ended.
    fn running(&self) -> BTreeSet<&'static str> {
        self.running.lock().iter().filter(|(_, n)| **n > 0).map(|(name, _)| *name).collect()
    }
}

/// Asks the tasks of all these groups to stop and waits for them together, up to `within`. The error names those that are
/// still running.
pub async fn shut_down_all<'a>(
    groups: impl IntoIterator<Item = &'a Group> + Clone,
    within: Duration,
) -> Result<(), StillRunning> {
    for group in groups.clone() {
        group.stop.cancel();
        group.tracker.close();
    }
    let ended = async {
        for group in groups.clone() {
            group.tracker.wait().await;
        }
    };
    tokio::time::timeout(within, ended).await.map_err(|_| {
        let names: BTreeSet<_> = groups.into_iter().flat_map(Group::running).collect();
        StillRunning { names: names.into_iter().collect() }
    })
}

/// A runtime that has not had its turn by then does not hold up the others' deadlines any longer.
const TURN_WITHIN: Duration = Duration::from_secs(5);

/// Looks at the sockets take 1,024 news each. So many looks serve as many connections as a broker has.
const LOOKS: usize = 16;

/// Returns once the runtime of each of these groups has looked at its sockets and has run what they woke.
///
/// After a pause of this process, or of one thread in a stalled write, deadlines are over while what would have met them
/// lies unread in sockets: code that ends something because nothing was heard gives the sockets a turn first.
pub async fn turn(groups: &[Group]) {
    let looks = groups.iter().map(|group| {
        // A task that yields runs again behind everything that the next look at the sockets wakes.
        let looks = async {
            for _ in 0..LOOKS {
                tokio::task::yield_now().await;
            }
        };
        group.spawn_isolated("sockets-turn", looks)
    });
    let looks: Vec<_> = looks.collect();
    let all = async {
        for look in looks {
            // A runtime that has ended reads nothing more.
            drop(look.await);
        }
    };
    // A thread that is stuck for longer than this has its members time out, as with Kafka.
    drop(tokio::time::timeout(TURN_WITHIN, all).await);
}

/// Waits for a turn that is under way; forever where none is.
pub async fn end_of(turn: &mut Option<Pin<Box<impl Future<Output = ()>>>>) {
    match turn {
        Some(turn) => turn.as_mut().await,
        None => std::future::pending().await,
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
    running: Running,
}

impl Counted {
    fn new(name: &'static str, running: &Running) -> Self {
        *running.lock().entry(name).or_default() += 1;
        Self { name, running: Arc::clone(running) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        // A task's panic is caught further inside.
        if std::thread::panicking() {
            error!(task = self.name, "blocking work panicked");
        }
        if let Some(n) = self.running.lock().get_mut(self.name) {
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
    async fn blocking_work_is_named_while_it_runs() {
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let work = spawn_blocking("stubborn-disk", move || ended.recv().is_ok());
        assert!(blocking_under_way().contains("stubborn-disk"));
        end.send(()).expect("it waits");
        assert!(work.await.expect("joined"));
        assert!(!blocking_under_way().contains("stubborn-disk"));
        assert!(spawn_blocking("stubborn-disk", || panic!("on purpose")).await.is_err_and(|error| error.is_panic()));
        assert!(!blocking_under_way().contains("stubborn-disk"));
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

    #[tokio::test]
    async fn groups_that_stop_together_share_the_wait() {
        let groups = [(); 3].map(|()| Group::new(Handle::current()));
        for group in &groups {
            group.spawn("stubborn", std::future::pending::<()>());
        }
        let (started, within) = (tokio::time::Instant::now(), Duration::from_secs(1));
        let left = shut_down_all(&groups, within).await.expect_err("none stops");
        assert_eq!(left.names, ["stubborn"]);
        assert!(started.elapsed() < 3 * within, "one wait for all of them");
    }

    #[tokio::test]
    async fn a_turn_ends_after_what_the_sockets_woke_has_run() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let mut far = tokio::net::TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connect");
        let (mut near, _) = listener.accept().await.expect("accept");
        let group = Group::new(Handle::current());
        let read = Arc::new(Mutex::new(0));
        let seen = Arc::clone(&read);
        group.spawn("reader", async move { *seen.lock() = near.read_u8().await.expect("a byte") });
        tokio::task::yield_now().await;
        far.write_u8(7).await.expect("write");
        // As after a pause: the byte lies in the socket, and the runtime has not looked yet.
        turn(std::slice::from_ref(&group)).await;
        assert_eq!(*read.lock(), 7);
    }
}
