//! The frame under a machine that only writes what it is asked to, on a real log.

use super::service::MAILBOX_CAPACITY;
use super::*;
use crate::cluster::image::MetadataImage;
use crate::cluster::partition::LeadershipState;
use crate::common::{BrokerEpoch, BrokerId, ControllerEpoch, Uuid};
use crate::config::{BrokerConfig, LogConfig, Props};
use crate::log::producer_state::ProducerStateConfig;
use crate::log::{LogManager, LogManagerOptions};
use crate::record::{NO_SEQUENCE, batches, records};
use crate::replica::{LeaderAndIsr, ReplicaManager, ReplicaSettings};
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::timeout;

const TOPIC: &str = "toys";
const P: i32 = 0;
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any test.
const NEVER_MS: Millis = 1_000_000;

/// What the test sees of the machines of all terms.
#[derive(Default)]
struct Seen {
    alive: AtomicUsize,
    alive_max: AtomicUsize,
    ended: Mutex<Vec<(u64, AppendId)>>,
}

struct Toy {
    term: Term,
    seen: Arc<Seen>,
    /// The keys of the log, and those of this term as they are confirmed.
    keys: Vec<String>,
    heard: usize,
    appends: u64,
    waiting: HashMap<AppendId, (String, oneshot::Sender<Result<Offset, StoreError>>)>,
}

impl Machine for Toy {
    const NAME: &'static str = "toy-coordinator";
    const BATCH_BYTES_MAX: usize = 64;

    type Parts = Seen;
    type Effect = Append;
    type Loader = Vec<String>;

    fn loader(_: &TopicPartition, _: Offset) -> Vec<String> {
        Vec::new()
    }

    fn read(keys: &mut Vec<String>, _: &TopicPartition, bytes: &[u8]) -> Option<Offset> {
        let mut next = None;
        for batch in batches(bytes) {
            let batch = batch.unwrap();
            let mut reader = records(&batch).unwrap();
            while let Some(record) = reader.next_record().unwrap() {
                keys.push(String::from_utf8(record.key.unwrap().to_vec()).unwrap());
            }
            next = Some(batch.next_offset());
        }
        next
    }

    fn load(seen: &Arc<Seen>, term: Term, keys: Vec<String>, _: Now, _: &mut Vec<Append>) -> Self {
        let alive = seen.alive.fetch_add(1, Ordering::SeqCst) + 1;
        seen.alive_max.fetch_max(alive, Ordering::SeqCst);
        Self { term, seen: Arc::clone(seen), keys, heard: 0, appends: 0, waiting: HashMap::new() }
    }

    fn perform(&mut self, _: Now, append: Append, _: &mut Vec<Append>) -> Option<Append> {
        Some(append)
    }

    fn on_appended(&mut self, _: Now, id: AppendId, stored: Result<Offset, StoreError>, _: &mut Vec<Append>) {
        self.seen.ended.lock().push((self.term.start, id));
        let (key, reply) = self.waiting.remove(&id).expect("an append ends once");
        if stored.is_ok() {
            self.keys.push(key);
        }
        answer(reply, stored);
    }

    fn next_deadline(&self) -> Millis {
        Millis::MAX
    }

    fn on_tick(&mut self, _: Now, _: &mut Vec<Append>) {}

    fn unload(&mut self, _: &mut Vec<Append>) {
        self.waiting.clear();
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.seen.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Host {
    _dir: tempfile::TempDir,
    replicas: Arc<ReplicaManager>,
    seen: Arc<Seen>,
    shards: Arc<Shards<Toy>>,
    runtime: Arc<Runtime<Toy>>,
}

impl Host {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = Arc::new(LogConfig::default());
        let (logs, _failures) = LogManager::open(LogManagerOptions {
            log_dirs: vec![dir.path().to_owned()],
            recovery_threads_per_dir: 1,
            producer_config: ProducerStateConfig { expiration_ms: 86_400_000, verify_transactions: false },
            default_config: Arc::clone(&config),
            max_open_files: 16,
            disk_reserve_bytes: 0,
        })
        .unwrap();
        logs.load_logs(&HashMap::new(), 0).unwrap();
        let mut props = Props::new();
        props.insert("zookeeper.connect".into(), "localhost".into());
        let settings = ReplicaSettings::new(&BrokerConfig::new(&props).unwrap(), BrokerId(1));
        let image = Arc::new(arc_swap::ArcSwap::from_pointee(MetadataImage::default()));
        let replicas =
            ReplicaManager::new(settings, Arc::new(logs), image, config, HashMap::new(), || BrokerEpoch(1), Vec::new());
        let (seen, shards) = (Arc::new(Seen::default()), Arc::<Shards<Toy>>::default());
        let runtime = Runtime::new(RuntimeParts {
            topic: TOPIC,
            machines: Arc::clone(&seen),
            load_buffer_bytes: 1,
            replicas: Arc::clone(&replicas),
            tasks: [Group::new(Handle::current())].into(),
            shards: Arc::clone(&shards),
        });
        Self { _dir: dir, replicas, seen, shards, runtime }
    }

    /// Leads the log with these replicas in sync; broker 2 never fetches.
    fn lead(&self, epoch: i32, isr: &[i32]) {
        let isr: Vec<_> = isr.iter().copied().map(BrokerId).collect();
        let state = LeadershipState {
            leader: BrokerId(1),
            leader_epoch: LeaderEpoch(epoch),
            replicas: isr.clone(),
            isr,
            partition_epoch: epoch,
            controller_epoch: ControllerEpoch(1),
        };
        let topic_partition = TopicPartition::new(TOPIC, P);
        let wanted = LeaderAndIsr { topic_partition, topic_id: Uuid::ZERO, state, is_new: true };
        let change =
            self.replicas.states().become_leader_or_follower(BrokerId(9), ControllerEpoch(1), &[wanted], 0).unwrap();
        assert_eq!(change.outcomes, [Ok(())]);
    }

    fn elect(&self, epoch: i32) {
        self.runtime.on_election(P, LeaderEpoch(epoch));
    }

    fn resign(&self, epoch: i32) {
        self.runtime.on_resignation(P, Some(LeaderEpoch(epoch)));
    }

    /// Leads, is elected, and has loaded.
    async fn loaded(&self, epoch: i32, isr: &[i32]) {
        self.lead(epoch, isr);
        self.elect(epoch);
        self.loads().await;
    }

    async fn loads(&self) {
        let loading = async {
            while self.runtime.check(P).is_err() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, loading).await.expect("loaded");
    }

    async fn write(&self, key: &str, timeout_ms: Millis) -> Asked<Result<Offset, StoreError>> {
        let key = key.to_owned();
        let question = move |toy: &mut Toy, _, reply, out: &mut Vec<Append>| {
            toy.appends += 1;
            let id = AppendId(toy.appends);
            out.push(Append {
                id: Some(id),
                records: vec![Record { key: key.clone().into(), value: None }],
                producer: None,
                base_sequence: NO_SEQUENCE,
                acks_all: true,
                timeout_ms,
            });
            toy.waiting.insert(id, (key, reply));
        };
        self.runtime.put(P, question).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Toy) -> T + Send + 'static,
    ) -> Result<T, NotServing> {
        self.runtime.ask(P, move |toy, _, _| question(toy)).await.answer().await
    }

    async fn keys(&self) -> Vec<String> {
        self.ask(|toy| toy.keys.clone()).await.unwrap()
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("within the test's patience")
}

#[tokio::test]
async fn a_shard_begins_with_what_its_log_says() {
    let host = Host::new();
    host.lead(1, &[1]);
    assert_eq!(host.runtime.check(P), Err(NotServing::Elsewhere));
    host.elect(1);
    assert_eq!(host.runtime.check(P), Err(NotServing::Loading));
    host.loads().await;
    // More than one batch, and in the order of the questions.
    let mut asked = Vec::new();
    for n in 0..20 {
        asked.push(host.write(&format!("key-{n}"), NEVER_MS).await);
    }
    for (n, asked) in asked.into_iter().enumerate() {
        assert_eq!(soon(asked.answer()).await, Ok(Ok(n as Offset)));
    }
    let keys = host.keys().await;
    assert_eq!(keys, (0..20).map(|n| format!("key-{n}")).collect::<Vec<_>>());
    host.resign(1);
    assert_eq!(host.ask(|_| ()).await, Err(NotServing::Elsewhere));
    host.loaded(2, &[1]).await;
    assert_eq!(host.keys().await, keys);
}

#[tokio::test]
async fn a_write_dies_with_the_shard_that_made_it_and_its_record_is_loaded() {
    let host = Host::new();
    host.loaded(1, &[1, 2]).await;
    let asked = host.write("key", NEVER_MS).await;
    // Behind it: it has had its turn.
    assert_eq!(host.keys().await, Vec::<String>::new(), "the replicas do not have it");
    host.resign(1);
    assert_eq!(soon(asked.answer()).await, Err(NotServing::Elsewhere));
    host.loaded(2, &[1]).await;
    assert_eq!(host.keys().await, ["key"]);
    assert_eq!(*host.seen.ended.lock(), [], "no shard hears of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn elections_in_quick_succession_end_in_one_shard_of_the_last() {
    let host = Host::new();
    host.loaded(1, &[1]).await;
    assert_eq!(soon(host.write("key", NEVER_MS).await.answer()).await, Ok(Ok(0)));
    host.lead(200, &[1]);
    for epoch in 2..=200 {
        if epoch % 3 > 0 {
            host.resign(epoch - 1);
        }
        host.elect(epoch);
        if epoch % 7 == 0 {
            tokio::task::yield_now().await;
        }
    }
    // Late, and about earlier ones.
    host.resign(150);
    host.elect(199);
    host.loads().await;
    assert_eq!(host.ask(|toy| (toy.term.coordinator_epoch, toy.keys.len())).await, Ok((200, 1)));
    assert_eq!(host.seen.alive_max.load(Ordering::SeqCst), 1, "two must not write to one log");
}

#[tokio::test]
async fn a_write_that_the_replicas_do_not_get_in_time_ends_as_timed_out() {
    let host = Host::new();
    host.loaded(1, &[1, 2]).await;
    let later = host.write("later", NEVER_MS).await;
    let late = host.write("late", 1).await;
    assert_eq!(soon(late.answer()).await, Ok(Err(StoreError::TimedOut)));
    // The other goes on waiting: it has a batch and a time of its own.
    assert_eq!(host.ask(|toy| toy.waiting.len()).await, Ok(1));
    host.resign(1);
    assert_eq!(soon(later.answer()).await, Err(NotServing::Elsewhere));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn callers_wait_for_room_in_the_mailbox_and_are_answered_in_order() {
    let host = Host::new();
    host.loaded(1, &[1]).await;
    let busy = Arc::new(Barrier::new(2));
    let inside = Arc::clone(&busy);
    let stuck = move |_: &mut Toy, _, reply: oneshot::Sender<()>, _: &mut Vec<Append>| {
        inside.wait();
        inside.wait();
        drop(reply);
    };
    drop(host.runtime.put(P, stuck).await);
    busy.wait();
    let count = |toy: &mut Toy, _: Now, _: &mut Vec<Append>| {
        toy.heard += 1;
        toy.heard
    };
    let mut asked = Vec::new();
    for _ in 0..MAILBOX_CAPACITY {
        asked.push(soon(host.runtime.ask(P, count)).await);
    }
    let mut waits = Box::pin(host.runtime.ask(P, count));
    tokio::select! {
        biased;
        _ = &mut waits => panic!("there is no room"),
        () = std::future::ready(()) => {}
    }
    busy.wait();
    asked.push(soon(waits).await);
    for (n, asked) in asked.into_iter().enumerate() {
        assert_eq!(soon(asked.answer()).await, Ok(n + 1));
    }
}

#[tokio::test]
async fn what_is_reported_to_all_does_not_wait_for_a_shard_that_cannot_load() {
    let host = Host::new();
    // This broker does not have the log.
    host.elect(1);
    for _ in 0..=MAILBOX_CAPACITY {
        soon(host.runtime.tell_all(|toy, _, _| toy.heard += 1)).await;
    }
    host.lead(1, &[1]);
    host.loads().await;
    assert_eq!(host.ask(|toy| toy.heard).await, Ok(MAILBOX_CAPACITY));
    host.runtime.tell_all(|toy, _, _| toy.heard += 1).await;
    assert_eq!(host.ask(|toy| toy.heard).await, Ok(MAILBOX_CAPACITY + 1));
}

#[tokio::test]
async fn a_stop_with_a_thousand_writes_unconfirmed_answers_all() {
    let host = Host::new();
    host.loaded(1, &[1, 2]).await;
    let mut asked = Vec::new();
    for n in 0..1_000 {
        asked.push(host.write(&format!("key-{n}"), NEVER_MS).await);
    }
    host.runtime.shut_down(PATIENCE).await.unwrap();
    for asked in asked {
        assert_eq!(soon(asked.answer()).await, Err(NotServing::Elsewhere));
    }
    assert_eq!(host.seen.alive.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_shard_that_panics_is_loaded_again_under_another_term() {
    let host = Host::new();
    host.loaded(1, &[1]).await;
    assert_eq!(soon(host.write("key", NEVER_MS).await.answer()).await, Ok(Ok(0)));
    let before = host.ask(|toy| toy.term).await.unwrap();
    let panicked: Result<(), NotServing> = host.ask(|_| panic!("on purpose")).await;
    assert_eq!(panicked, Err(NotServing::Elsewhere));
    host.loads().await;
    let after = host.ask(|toy| toy.term).await.unwrap();
    assert!(after.start > before.start && after.coordinator_epoch == before.coordinator_epoch);
    host.shards.report(before, |toy, _, _| toy.heard += 1).await;
    assert_eq!(host.ask(|toy| toy.heard).await, Ok(0), "of an earlier term");
    host.shards.report(after, |toy, _, _| toy.heard += 1).await;
    assert_eq!(host.ask(|toy| toy.heard).await, Ok(1));
    assert_eq!(host.keys().await, ["key"]);
}
