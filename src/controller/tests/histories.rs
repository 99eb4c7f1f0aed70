//! Random histories: brokers start, fail, shut down and swap; topics are created and deleted; leaders append records
//! and change their ISRs, followers copy. The controllers are real, on a real ZooKeeper; brokers are small models that
//! obey, answer and replicate as Kafka's do, in any order of delivery that a network allows.
//!
//! Checked at every step: one leader per epoch, one state per version, epochs that only grow, no member of an ISR
//! without a replica, and no committed record that a leader lacks or that has two values. In the end every broker is
//! back: every partition has a leader, all replicas are in sync, and deleted topics are gone.
//!
//! `ZURAU_HISTORIES` is their number, from the seed `ZURAU_FUZZ_SEED` on; `ZURAU_HISTORY` is the seed of a single one.

use super::*;
use crate::common::{TopicPartition, Uuid};
use crate::protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use crate::protocol::messages::leader_and_isr_response::{LeaderAndIsrPartitionError, LeaderAndIsrTopicError};
use crate::protocol::messages::{LeaderAndIsrRequest, LeaderAndIsrResponse};
use crate::util::fuzzing;
use crate::zk::topics as nodes;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};

const STEPS: usize = 400;
/// The brokers that may be the controller, and those that may not.
const HOSTS: [i32; 2] = [1, 2];
const OTHERS: [i32; 3] = [3, 4, 5];

/// A partition of one incarnation of a topic.
type Key = (Uuid, i32);

/// A broker's replica of a partition. The log outlives the process.
#[derive(Default)]
struct Replica {
    log: Vec<u64>,
    /// The leadership that it adopted in this run; -1 before.
    leader: i32,
    leader_epoch: i32,
    partition_epoch: i32,
    is_fetching: bool,
    isr: BTreeSet<i32>,
    replicas: Vec<i32>,
    pending: Option<Pending>,
    high_watermark: usize,
    epoch_start: usize,
    /// The fetch offsets of followers in this epoch.
    followers: BTreeMap<i32, usize>,
}

/// An ISR that the leader requested.
struct Pending {
    isr: BTreeSet<i32>,
    /// It was refused permanently: the next LeaderAndIsr ends this.
    is_stuck: bool,
}

impl Replica {
    /// The process loses its memory, but not its log.
    fn restarted(&mut self) {
        *self = Self { log: std::mem::take(&mut self.log), leader: -1, leader_epoch: -1, ..Self::default() };
    }

    /// The replicas that must have a record before it is committed: the ISR, with those being added and still with
    /// those being removed.
    fn maximal_isr(&self) -> BTreeSet<i32> {
        self.isr.iter().chain(self.pending.iter().flat_map(|p| &p.isr)).copied().collect()
    }

    fn raise_high_watermark(&mut self, us: i32) {
        let has = |id: &i32| if *id == us { self.log.len() } else { self.followers.get(id).copied().unwrap_or(0) };
        let reached = self.maximal_isr().iter().map(has).min().unwrap_or(0);
        self.high_watermark = self.high_watermark.max(reached);
    }
}

#[derive(Default)]
struct Node {
    /// The session of this run, and its controller.
    zk: Option<Client>,
    epoch: i64,
    controller_epoch: i32,
    replicas: BTreeMap<Key, Replica>,
}

/// The requests of one run of a controller, and the channel for answers.
struct Wire {
    sent: Arc<Sent>,
    handle: ControllerHandle,
}

struct History {
    rng: StdRng,
    world: World,
    nodes: BTreeMap<i32, Node>,
    wires: Vec<Wire>,
    names: BTreeMap<Uuid, String>,
    committed: BTreeMap<Key, Vec<u64>>,
    /// Leader by leader epoch.
    leaders: BTreeMap<(Key, i32), i32>,
    /// Leader, leader epoch and ISR by version of the state.
    states: BTreeMap<(Key, i32), (i32, i32, Vec<i32>)>,
    topics_made: usize,
    records_made: u64,
}

impl History {
    async fn new(seed: u64) -> Self {
        let world = World::new().await;
        let mut history = Self {
            rng: StdRng::seed_from_u64(seed),
            world,
            nodes: BTreeMap::new(),
            wires: Vec::new(),
            names: BTreeMap::new(),
            committed: BTreeMap::new(),
            leaders: BTreeMap::new(),
            states: BTreeMap::new(),
            topics_made: 0,
            records_made: 0,
        };
        for id in HOSTS.into_iter().chain(OTHERS) {
            history.start(id).await;
        }
        history
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.choose(&mut self.rng).cloned()
    }

    fn alive(&self) -> Vec<i32> {
        self.nodes.iter().filter(|(_, node)| node.zk.is_some()).map(|(id, _)| *id).collect()
    }

    fn active(&self) -> Option<ControllerHandle> {
        self.wires.iter().rev().map(|wire| &wire.handle).find(|handle| handle.is_active()).cloned()
    }

    // Processes

    async fn start(&mut self, id: i32) {
        let (zk, epoch) = if HOSTS.contains(&id) {
            let broker = self.world.broker(id).await;
            let epoch = broker.handle.broker_epoch();
            self.wires.push(Wire { sent: broker.sent, handle: broker.handle });
            (broker.zk, epoch)
        } else {
            let zk = self.world.client().await;
            let mut registrar = Registrar::new(zk.clone(), registration(id, 9_000 + id as u16));
            let epoch = registrar.register(1).await.expect("register");
            (zk, epoch)
        };
        let node = self.nodes.entry(id).or_default();
        node.zk = Some(zk);
        node.epoch = epoch.0;
        node.controller_epoch = 0;
        node.replicas.values_mut().for_each(Replica::restarted);
    }

    async fn end(&mut self, id: i32) {
        if let Some(zk) = self.nodes.get_mut(&id).and_then(|node| node.zk.take()) {
            zk.close().await;
        }
    }

    /// A controlled shutdown as in Kafka: requests it, obeys the orders, then stops.
    async fn shut_down(&mut self, id: i32) {
        let (Some(controller), epoch) = (self.active(), self.nodes[&id].epoch) else { return };
        drop(controller.controlled_shutdown(BrokerId(id), BrokerEpoch(epoch)).await);
        for _ in 0..self.rng.random_range(0..4) {
            self.deliver(id).await;
        }
        self.end(id).await;
    }

    // Topics

    async fn create_topic(&mut self) {
        let Some(zk) = self.any_client() else { return };
        self.topics_made += 1;
        // Sometimes a name that existed before.
        let name = format!("t{}", self.topics_made % 4);
        let all: Vec<i32> = HOSTS.into_iter().chain(OTHERS).collect();
        let (partitions, count) = (self.rng.random_range(1..4), self.rng.random_range(1..4));
        let rng = &mut self.rng;
        let assignment: Assignment =
            (0..partitions).map(|p| (p, all.sample(rng, count).copied().map(BrokerId).collect())).collect();
        if topics::check_creation(&zk, &name, &assignment).await.is_ok()
            && topics::check_creation(&zk, &name, &assignment).await.is_ok()
            && let Ok(id) = topics::create(&zk, &name, &Config::new(), &assignment).await
        {
            self.names.insert(id, name);
        }
    }

    async fn delete_topic(&mut self) {
        let (Some(zk), names) = (self.any_client(), self.names.values().cloned().collect::<Vec<_>>()) else { return };
        if let Some(name) = self.pick(&names) {
            drop(topics::request_deletion(&zk, &name).await);
        }
    }

    fn any_client(&self) -> Option<Client> {
        self.nodes.values().find_map(|node| node.zk.clone())
    }

    // The network

    /// Delivers the next request of some controller, old ones included, to a broker.
    async fn deliver(&mut self, id: i32) -> bool {
        let waiting: Vec<usize> = (0..self.wires.len())
            .filter(|at| self.wires[*at].sent.requests.lock().iter().any(|(to, _)| *to == id))
            .collect();
        let Some(at) = self.pick(&waiting) else { return false };
        let request = {
            let mut requests = self.wires[at].sent.requests.lock();
            let place = requests.iter().position(|(to, _)| *to == id).expect("it waits");
            requests.remove(place).1
        };
        self.check_decisions(&request);
        if self.nodes[&id].zk.is_none() {
            return true;
        }
        let (epoch, broker_epoch) = request.epochs();
        let answer = self.obey(id, request);
        let event = Event::Answered { broker: BrokerId(id), broker_epoch, epoch, answer };
        drop(self.wires[at].handle.mailbox.send(event).await);
        true
    }

    fn obey(&mut self, id: i32, request: ControlRequest) -> Answer {
        let node = self.nodes.get_mut(&id).expect("a node");
        let (ControllerEpoch(controller_epoch), BrokerEpoch(broker_epoch)) = request.epochs();
        let refusal = if broker_epoch < node.epoch {
            77
        } else if controller_epoch < node.controller_epoch {
            11
        } else {
            node.controller_epoch = controller_epoch;
            0
        };
        match request {
            ControlRequest::LeaderAndIsr(_) if refusal != 0 => {
                Answer::LeaderAndIsr(LeaderAndIsrResponse { error_code: refusal, ..Default::default() })
            }
            ControlRequest::LeaderAndIsr(request) => Answer::LeaderAndIsr(lead(id, node, &request, &self.committed)),
            ControlRequest::UpdateMetadata(_) => {
                Answer::UpdateMetadata(UpdateMetadataResponse { error_code: refusal, ..Default::default() })
            }
            ControlRequest::StopReplica(asked) => {
                let mut answer = StopReplicaResponse { error_code: refusal, ..Default::default() };
                for topic in &asked.topic_states {
                    for partition in &topic.partition_states {
                        let error_code = if refusal != 0 { refusal } else { stop(node, &self.names, topic, partition) };
                        answer.partition_errors.push(StopReplicaPartitionError {
                            topic_name: topic.topic_name.clone(),
                            partition_index: partition.partition_index,
                            error_code,
                            ..Default::default()
                        });
                    }
                }
                Answer::StopReplica { asked, answer }
            }
        }
    }

    /// Every leadership that a controller sends, late or not, is one that was decided.
    fn check_decisions(&mut self, request: &ControlRequest) {
        let ControlRequest::LeaderAndIsr(request) = request else { return };
        for topic in &request.topic_states {
            for state in &topic.partition_states {
                let key = (topic.topic_id, state.partition_index);
                let isr: BTreeSet<i32> = state.isr.iter().copied().collect();
                assert!(!isr.is_empty() && state.isr.iter().all(|id| state.replicas.contains(id)), "{state:?}");
                assert!(state.leader == -1 || isr.contains(&state.leader), "{state:?}");
                let leader = *self.leaders.entry((key, state.leader_epoch)).or_insert(state.leader);
                assert_eq!(leader, state.leader, "two leaders in epoch {} of {key:?}", state.leader_epoch);
                let said = (state.leader, state.leader_epoch, state.isr.clone());
                let known = self.states.entry((key, state.partition_epoch)).or_insert_with(|| said.clone());
                assert_eq!(*known, said, "two states in version {} of {key:?}", state.partition_epoch);
            }
        }
    }

    // Replication

    fn produce(&mut self, id: i32, key: Key) {
        self.records_made += 1;
        let record = self.records_made;
        let Some(replica) = self.nodes.get_mut(&id).and_then(|node| node.replicas.get_mut(&key)) else { return };
        if replica.leader == id {
            replica.log.push(record);
            replica.raise_high_watermark(id);
            self.commit(id, key);
        }
    }

    /// A record that a leader acknowledges must be the same for every leader before and after.
    fn commit(&mut self, id: i32, key: Key) {
        let replica = &self.nodes[&id].replicas[&key];
        let ours = &replica.log[..replica.high_watermark];
        let known = self.committed.entry(key).or_default();
        let both = known.len().min(ours.len());
        assert_eq!(known[..both], ours[..both], "two values in {key:?}");
        known.extend_from_slice(&ours[both..]);
    }

    /// A follower fetches from the leader that it knows, which answers only in its own epoch.
    fn fetch(&mut self, id: i32, key: Key) {
        let Some(follower) = self.nodes[&id].replicas.get(&key) else { return };
        let (leader, epoch) = (follower.leader, follower.leader_epoch);
        if leader == id || !follower.is_fetching || self.nodes[&id].zk.is_none() {
            return;
        }
        let Some(node) = self.nodes.get(&leader).filter(|node| node.zk.is_some()) else { return };
        let Some(led) = node.replicas.get(&key).filter(|r| r.leader == leader && r.leader_epoch == epoch) else {
            return;
        };
        let log = led.log.clone();
        let up_to = log.len();
        let follower = self.nodes.get_mut(&id).and_then(|node| node.replicas.get_mut(&key)).expect("there");
        follower.log = log;
        let led = self.nodes.get_mut(&leader).and_then(|node| node.replicas.get_mut(&key)).expect("there");
        led.followers.insert(id, up_to);
        led.raise_high_watermark(leader);
        self.commit(leader, key);
    }

    /// A leader checks which followers keep up. With `may_shrink` it removes those that do not.
    async fn review_isr(&mut self, id: i32, key: Key, may_shrink: bool) {
        let (Some(name), Some(controller)) = (self.names.get(&key.0).cloned(), self.active()) else { return };
        let node = self.nodes.get_mut(&id).expect("a node");
        let epoch = node.epoch;
        let Some(replica) = node.replicas.get_mut(&key).filter(|r| r.leader == id) else { return };
        if replica.pending.is_none() {
            let end = replica.log.len();
            let follows = |f: &i32, from: usize| replica.followers.get(f).is_some_and(|at| *at >= from);
            let joins = |f: &&i32| {
                !replica.isr.contains(*f) && **f != id && follows(f, replica.high_watermark.max(replica.epoch_start))
            };
            let isr = match replica.replicas.iter().find(joins) {
                Some(joining) => replica.isr.iter().chain([joining]).copied().collect(),
                None => replica.isr.iter().copied().filter(|f| *f == id || !may_shrink || follows(f, end)).collect(),
            };
            if isr == replica.isr {
                return;
            }
            replica.pending = Some(Pending { isr, is_stuck: false });
        }
        let Some(pending) = replica.pending.as_ref().filter(|pending| !pending.is_stuck) else { return };
        let partition = PartitionData {
            partition_index: key.1,
            leader_epoch: replica.leader_epoch,
            partition_epoch: replica.partition_epoch,
            new_isr_with_epochs: pending
                .isr
                .iter()
                .map(|id| BrokerState { broker_id: *id, ..Default::default() })
                .collect(),
            ..Default::default()
        };
        let topic = TopicData { topic_id: key.0, partitions: vec![partition], ..Default::default() };
        let request =
            AlterPartitionRequest { broker_id: id, broker_epoch: epoch, topics: vec![topic], ..Default::default() };
        let answer = controller.alter_partition(request, 3).await;
        let Some(received) = answer.topics.first().and_then(|topic| topic.partitions.first()) else { return };
        match ErrorCode::from_wire(received.error_code) {
            ErrorCode::None if received.leader_epoch == replica.leader_epoch => {
                assert!(received.partition_epoch >= replica.partition_epoch, "{name} {received:?}");
                replica.isr = received.isr.iter().copied().collect();
                replica.partition_epoch = received.partition_epoch;
                replica.pending = None;
                replica.raise_high_watermark(id);
                self.commit(id, key);
            }
            ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted => replica.pending = None,
            ErrorCode::NotController => {}
            _ => {
                if let Some(pending) = &mut replica.pending {
                    pending.is_stuck = true;
                }
            }
        }
    }

    // The random course

    fn any_replica(&mut self) -> Option<(i32, Key)> {
        let all: Vec<(i32, Key)> =
            self.nodes.iter().flat_map(|(id, node)| node.replicas.keys().map(|key| (*id, *key))).collect();
        self.pick(&all)
    }

    async fn step(&mut self) {
        let alive = self.alive();
        let dead: Vec<i32> = self.nodes.keys().copied().filter(|id| !alive.contains(id)).collect();
        match self.rng.random_range(0..100) {
            0..40 => {
                if let Some(id) = self.pick(&alive) {
                    self.deliver(id).await;
                }
            }
            40..52 => {
                if let Some((id, key)) = self.any_replica().filter(|(id, _)| alive.contains(id)) {
                    self.produce(id, key);
                }
            }
            52..70 => {
                if let Some((id, key)) = self.any_replica() {
                    self.fetch(id, key);
                }
            }
            70..80 => {
                let may_shrink = self.rng.random_bool(0.5);
                if let Some((id, key)) = self.any_replica().filter(|(id, _)| alive.contains(id)) {
                    self.review_isr(id, key, may_shrink).await;
                }
            }
            80..84 => self.create_topic().await,
            84..86 => self.delete_topic().await,
            86..89 => {
                if let Some(id) = self.pick(&alive) {
                    self.end(id).await;
                }
            }
            89..91 => {
                if let Some(id) = self.pick(&alive) {
                    self.end(id).await;
                    self.start(id).await;
                }
            }
            91..92 => {
                if let Some(id) = self.pick(&alive) {
                    self.shut_down(id).await;
                }
            }
            92..97 => {
                if let Some(id) = self.pick(&dead) {
                    self.start(id).await;
                }
            }
            97..98 => {
                let all = self.nodes[&HOSTS[0]].replicas.keys().copied().collect::<Vec<_>>();
                let named =
                    all.iter().filter_map(|(id, p)| Some(TopicPartition::new(self.names.get(id)?.as_str(), *p)));
                let named: Vec<TopicPartition> = named.collect();
                if let Some(controller) = self.active() {
                    controller.elect_leaders(named, ElectionKind::Preferred).await;
                }
            }
            // The controllers run while nothing else happens.
            _ => tokio::time::sleep(Duration::from_millis(self.rng.random_range(0..5))).await,
        }
    }

    /// Every broker comes back and works; returns when the cluster is healthy.
    async fn heal(&mut self) {
        for id in HOSTS.into_iter().chain(OTHERS) {
            if self.nodes[&id].zk.is_none() {
                self.start(id).await;
            }
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            for id in self.alive() {
                while self.deliver(id).await {}
            }
            let all: Vec<(i32, Key)> =
                self.nodes.iter().flat_map(|(id, node)| node.replicas.keys().map(|key| (*id, *key))).collect();
            for (id, key) in &all {
                self.fetch(*id, *key);
            }
            for (id, key) in &all {
                self.review_isr(*id, *key, false).await;
            }
            match self.is_well().await {
                Ok(()) => return,
                Err(why) => assert!(Instant::now() < deadline, "not well in the end: {why}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn is_well(&self) -> Result<(), String> {
        let zk = self.any_client().ok_or("no broker is alive")?;
        let leaving = zk.children(paths::DELETE_TOPICS).await.map_err(|e| e.to_string())?;
        if !leaving.is_empty() {
            return Err(format!("{leaving:?} still to be deleted"));
        }
        let names = nodes::names(&zk, None).await.map_err(|e| e.to_string())?;
        for (name, (topic, _)) in nodes::assignments(&zk, &names, None).await.map_err(|e| e.to_string())? {
            let id = topic.topic_id.ok_or("a topic without id")?;
            for (partition, assignment) in topic.partitions {
                let tp = TopicPartition::new(Arc::clone(&name), partition);
                let states = nodes::states(&zk, std::slice::from_ref(&tp)).await.map_err(|e| e.to_string())?;
                let state = &states.get(&tp).ok_or_else(|| format!("{tp} has no state"))?.0.leader_and_isr;
                let in_sync: BTreeSet<BrokerId> = state.isr.iter().copied().collect();
                if in_sync != assignment.replicas.iter().copied().collect() {
                    return Err(format!("{tp} of {:?} is {state:?}", assignment.replicas));
                }
                let leads = self.nodes.get(&state.leader.0).and_then(|node| node.replicas.get(&(id, partition)));
                if leads.is_none_or(|r| r.leader != state.leader.0 || r.leader_epoch != state.leader_epoch.0) {
                    return Err(format!("{tp} is not led as it stands: {state:?}"));
                }
                let committed = self.committed.get(&(id, partition)).map_or(&[][..], Vec::as_slice);
                assert!(leads.is_some_and(|r| r.log.starts_with(committed)), "{tp} lost records");
            }
        }
        Ok(())
    }
}

/// LeaderAndIsr on a model broker.
fn lead(
    id: i32,
    node: &mut Node,
    request: &LeaderAndIsrRequest,
    committed: &BTreeMap<Key, Vec<u64>>,
) -> LeaderAndIsrResponse {
    let mut answer = LeaderAndIsrResponse::default();
    for topic in &request.topic_states {
        let mut errors = Vec::new();
        for state in &topic.partition_states {
            let key = (topic.topic_id, state.partition_index);
            let replica = node.replicas.entry(key).or_insert_with(|| Replica {
                leader: -1,
                leader_epoch: -1,
                ..Replica::default()
            });
            let is_news = state.leader_epoch > replica.leader_epoch && state.partition_epoch >= replica.partition_epoch;
            // A follower without a leader continues as before, as in Kafka.
            if is_news && state.leader >= 0 {
                replica.leader = state.leader;
                replica.leader_epoch = state.leader_epoch;
                replica.partition_epoch = state.partition_epoch;
                replica.isr = state.isr.iter().copied().collect();
                replica.replicas = state.replicas.clone();
                replica.pending = None;
                replica.followers.clear();
                replica.epoch_start = replica.log.len();
                replica.is_fetching = state.leader != id;
                if state.leader == id {
                    let known = committed.get(&key).map_or(&[][..], Vec::as_slice);
                    assert!(replica.log.starts_with(known), "broker {id} leads {key:?} without all that was committed");
                    replica.high_watermark = replica.high_watermark.min(replica.log.len());
                    replica.raise_high_watermark(id);
                }
            }
            errors.push(LeaderAndIsrPartitionError {
                partition_index: state.partition_index,
                error_code: if is_news { 0 } else { 11 },
                ..Default::default()
            });
        }
        answer.topics.push(LeaderAndIsrTopicError {
            topic_id: topic.topic_id,
            partition_errors: errors,
            ..Default::default()
        });
    }
    answer
}

/// StopReplica on a model broker, of one partition; the code.
fn stop(
    node: &mut Node,
    names: &BTreeMap<Uuid, String>,
    topic: &crate::protocol::messages::stop_replica_request::StopReplicaTopicState,
    asked: &crate::protocol::messages::stop_replica_request::StopReplicaPartitionState,
) -> i16 {
    let is_of =
        |key: &Key| key.1 == asked.partition_index && names.get(&key.0).is_some_and(|n| **n == *topic.topic_name);
    let keys: Vec<Key> = node.replicas.keys().filter(|key| is_of(key)).copied().collect();
    for key in keys {
        let Some(replica) = node.replicas.get_mut(&key) else { continue };
        if asked.leader_epoch >= 0 && asked.leader_epoch < replica.leader_epoch {
            return 74;
        }
        replica.is_fetching = false;
        if asked.delete_partition {
            node.replicas.remove(&key);
        }
    }
    0
}

#[allow(clippy::print_stdout, reason = "the seed, for the person who looks for the reason")]
#[tokio::test]
async fn whatever_happens_no_committed_record_is_lost_and_all_is_well_in_the_end() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let seeds: Vec<u64> = match number("ZURAU_HISTORY") {
        Some(seed) => vec![seed],
        None => {
            let first = fuzzing::seed();
            (0..number("ZURAU_HISTORIES").unwrap_or(3)).map(|n| first.wrapping_add(n)).collect()
        }
    };
    for seed in seeds {
        println!("ZURAU_HISTORY={seed}");
        let mut history = History::new(seed).await;
        for _ in 0..STEPS {
            history.step().await;
        }
        history.heal().await;
        for node in history.nodes.values_mut() {
            if let Some(zk) = node.zk.take() {
                zk.close().await;
            }
        }
    }
}
