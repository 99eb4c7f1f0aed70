//! Tests of the controller against a ZooKeeper server (the one in `ZURAU_ZK`, else our own), with recorded channels in
//! place of brokers.

use super::events::{Answer, Event};
use super::testing::{ids, registration};
use super::topics::Assignment;
use super::*;
use crate::cluster::image::{MetadataUpdate, PartitionImage, TopicImage};
use crate::common::LeaderEpoch;
use crate::common::Uuid;
use crate::protocol::messages::leader_and_isr_request::LeaderAndIsrPartitionState;
use crate::protocol::messages::leader_and_isr_response::{LeaderAndIsrPartitionError, LeaderAndIsrTopicError};
use crate::protocol::messages::stop_replica_response::StopReplicaPartitionError;
use crate::protocol::messages::{
    LeaderAndIsrResponse, StopReplicaRequest, StopReplicaResponse, UpdateMetadataRequest, UpdateMetadataResponse,
};
use crate::zk::client::{ConnectOptions, Node};
use crate::zk::data::config::Config;
use crate::zk::data::topic::{PartitionState, TopicAssignment};
use crate::zk::startup;
use crate::zk::tests::faults::{Faults, SESSION_EXPIRED};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::timeout;

mod faults;
mod garbage;
mod histories;

const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct World {
    pub(super) group: Group,
    pub(super) options: ConnectOptions,
}

impl World {
    pub(super) async fn new() -> Self {
        let group = Group::new(Handle::current());
        let server = std::env::var("ZURAU_ZK").unwrap_or_else(|_| crate::zk::tests::own_server(&group));
        let mut options = ConnectOptions::new(format!("{server}/controller-test-{}", rand::random::<u64>()));
        options.session_timeout = Duration::from_secs(2);
        startup::create_chroot(&options, &group).await.unwrap();
        let world = Self { group, options };
        startup::create_paths(&world.client().await).await.unwrap();
        world
    }

    pub(super) async fn client(&self) -> Client {
        Client::connect(&self.options, &self.group).await.unwrap()
    }

    /// A broker that is registered and stands for election.
    pub(super) async fn broker(&self, id: i32) -> Broker {
        self.broker_on(self.client().await, id).await
    }

    /// The same, in an existing session.
    async fn broker_on(&self, zk: Client, id: i32) -> Broker {
        self.broker_with(zk, id, |_| {}).await
    }

    async fn broker_with(&self, zk: Client, id: i32, change: impl FnOnce(&mut ControllerSettings)) -> Broker {
        let mut registrar = Registrar::new(zk.clone(), registration(id, 9_000 + id as u16));
        let epoch = registrar.register(1).await.unwrap();
        let sent = Arc::new(Sent::default());
        let channels = Arc::clone(&sent);
        let mut settings = ControllerSettings {
            us: BrokerId(id),
            listener: "PLAINTEXT".into(),
            delete_topic_enable: true,
            unclean_leader_election_enable: false,
            auto_leader_rebalance_enable: false,
            leader_imbalance_check_interval: Duration::from_secs(300),
            leader_imbalance_per_broker_percentage: 10,
        };
        change(&mut settings);
        let group = self.group.child_on(Handle::current());
        let image = Arc::new(ArcSwap::from_pointee(MetadataImage::default()));
        let (controller, handle) = Controller::new(
            zk.clone(),
            registrar,
            0,
            epoch,
            settings,
            move |_| Recorder(Arc::clone(&channels)),
            Arc::clone(&image),
            group.stop_token().clone(),
        );
        group.spawn("controller", controller.run());
        Broker { zk, handle, sent, image }
    }

    /// A broker that is only registered.
    pub(super) async fn bystander(&self, id: i32) -> Client {
        let zk = self.client().await;
        Registrar::new(zk.clone(), registration(id, 9_000 + id as u16)).register(1).await.unwrap();
        zk
    }
}

pub(super) struct Broker {
    pub(super) zk: Client,
    pub(super) handle: ControllerHandle,
    pub(super) sent: Arc<Sent>,
    /// The requests sent to it, in a queue that nothing else reads.
    pub(super) image: Arc<ArcSwap<MetadataImage>>,
}

impl Broker {
    pub(super) async fn until(&self, reached: impl Fn(&ControllerStatus) -> bool) -> ControllerStatus {
        let mut status = self.handle.watch();
        *timeout(PATIENCE, status.wait_for(reached)).await.expect("in time").unwrap()
    }

    pub(super) async fn until_active(&self) -> ControllerEpoch {
        self.until(|status| status.is_active).await.epoch
    }

    /// Waits until a node exists and satisfies `reached`.
    pub(super) async fn until_node(&self, path: &str, reached: impl Fn(&Node) -> bool) -> Node {
        let watcher = self.zk.watcher();
        let waiting = async {
            loop {
                self.zk.exists_watched(path, Some(&watcher)).await.unwrap();
                match self.zk.get(path).await {
                    Ok(node) if reached(&node) => return node,
                    Ok(_) | Err(Error::NoNode) => drop(watcher.next().await),
                    Err(error) => panic!("{error}"),
                }
            }
        };
        timeout(PATIENCE, waiting).await.expect(path)
    }

    pub(super) async fn until_gone(&self, path: &str) {
        let watcher = self.zk.watcher();
        let waiting = async {
            while self.zk.exists_watched(path, Some(&watcher)).await.unwrap().is_some() {
                watcher.next().await;
            }
        };
        timeout(PATIENCE, waiting).await.expect(path);
    }

    pub(super) async fn until_state(&self, topic: &str, partition: i32, leader: i32, epoch: i32) -> PartitionState {
        let path = format!("/brokers/topics/{topic}/partitions/{partition}/state");
        let read = |node: &Node| PartitionState::decode(node.data.as_deref()).unwrap();
        let node = self
            .until_node(&path, |node| {
                let state = read(node).leader_and_isr;
                (state.leader, state.leader_epoch) == (BrokerId(leader), LeaderEpoch(epoch))
            })
            .await;
        read(&node)
    }

    pub(super) async fn create(&self, topic: &str, replicas: &[&[i32]]) {
        let assignment: Assignment = (0..).zip(replicas.iter().map(|r| ids(r))).collect();
        topics::check_creation(&self.zk, topic, &assignment).await.unwrap();
        topics::create(&self.zk, topic, &Config::new(), &assignment).await.unwrap();
    }
}

#[derive(Default)]
pub(super) struct Sent {
    requests: Mutex<Vec<(i32, ControlRequest)>>,
    added: Notify,
}

impl Sent {
    /// Waits for a request that `find` accepts, and consumes everything up to it.
    pub(super) async fn wait<T>(&self, find: impl Fn(i32, &ControlRequest) -> Option<T>) -> T {
        let waiting = async {
            loop {
                {
                    let mut requests = self.requests.lock();
                    let found = requests.iter().enumerate().find_map(|(at, (id, r))| Some((at, find(*id, r)?)));
                    if let Some((at, found)) = found {
                        requests.drain(..=at);
                        return found;
                    }
                }
                self.added.notified().await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("sent in time")
    }

    /// The leadership of a partition as sent to a broker.
    pub(super) async fn leadership(&self, broker: i32, topic: &str, partition: i32) -> LeaderAndIsrPartitionState {
        self.wait(|to, request| match request {
            ControlRequest::LeaderAndIsr(request) if to == broker => {
                let topic = request.topic_states.iter().find(|t| &*t.topic_name == topic)?;
                topic.partition_states.iter().find(|p| p.partition_index == partition).cloned()
            }
            _ => None,
        })
        .await
    }

    pub(super) async fn metadata(
        &self,
        broker: i32,
        find: impl Fn(&UpdateMetadataRequest) -> bool,
    ) -> UpdateMetadataRequest {
        self.wait(|to, request| match request {
            ControlRequest::UpdateMetadata(request) if to == broker && find(request) => Some(request.clone()),
            _ => None,
        })
        .await
    }

    pub(super) async fn deletion(&self, broker: i32) -> StopReplicaRequest {
        self.wait(|to, request| match request {
            ControlRequest::StopReplica(request)
                if to == broker && request.topic_states[0].partition_states[0].delete_partition =>
            {
                Some(request.clone())
            }
            _ => None,
        })
        .await
    }
}

struct Recorder(Arc<Sent>);

impl BrokerChannels for Recorder {
    fn add(&mut self, _: &LiveBroker) {}

    fn open(&mut self) {}

    fn remove(&mut self, _: BrokerId) {}

    fn send(&mut self, broker: BrokerId, request: ControlRequest) {
        self.0.requests.lock().push((broker.0, request));
        self.0.added.notify_one();
    }
}

pub(super) fn answer_deletion(broker: i32, asked: &StopReplicaRequest, error_code: i16) -> Event {
    let errors = asked.topic_states.iter().flat_map(|topic| {
        topic.partition_states.iter().map(move |p| StopReplicaPartitionError {
            topic_name: topic.topic_name.clone(),
            partition_index: p.partition_index,
            error_code,
            ..Default::default()
        })
    });
    let answer = StopReplicaResponse { partition_errors: errors.collect(), ..Default::default() };
    Event::Answered {
        broker: BrokerId(broker),
        broker_epoch: BrokerEpoch(asked.broker_epoch),
        epoch: ControllerEpoch(asked.controller_epoch),
        answer: Answer::StopReplica { asked: asked.clone(), answer },
    }
}

#[tokio::test]
async fn a_single_broker_elects_itself_and_leaves_apaches_nodes() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    assert_eq!(broker.until_active().await, ControllerEpoch(1));
    let node = async |path: &str| {
        let node = broker.until_node(path, |_| true).await;
        (node.stat.version, String::from_utf8(node.data.unwrap()).unwrap())
    };
    assert_eq!(node("/controller_epoch").await, (1, "1".to_owned()));
    assert_eq!(node("/feature").await, (0, r#"{"features":{},"version":2,"status":1}"#.to_owned()));
    let (version, controller) = node("/controller").await;
    assert!(controller.starts_with(r#"{"version":2,"brokerid":1,"timestamp":""#), "{controller}");
    assert_eq!(version, 0);
    let received = broker.sent.metadata(1, |_| true).await;
    assert_eq!((received.controller_id, received.controller_epoch, received.live_brokers.len()), (1, 1, 1));
    assert_eq!(received.broker_epoch, broker.handle.broker_epoch().0);
}

#[tokio::test]
async fn of_two_brokers_one_is_controller_and_the_other_takes_over() {
    let world = World::new().await;
    let one = world.broker(1).await;
    one.until_active().await;
    let two = world.broker(2).await;
    two.until(|status| status.controller == Some(BrokerId(1))).await;
    assert!(!two.handle.is_active());
    one.zk.close().await;
    assert_eq!(two.until_active().await, ControllerEpoch(2));
    let received = two.sent.metadata(2, |_| true).await;
    assert_eq!(received.live_brokers.iter().map(|b| b.id).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn a_new_topic_gets_leaders_and_everybody_hears_of_it() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    broker.until_active().await;
    let _two = world.bystander(2).await;
    broker.sent.metadata(2, |_| true).await;
    broker.create("t", &[&[1], &[2], &[2]]).await;
    for (partition, leader) in [(0, 1), (1, 2), (2, 2)] {
        let state = broker.until_state("t", partition, leader, 0).await;
        assert_eq!(state.controller_epoch, ControllerEpoch(1));
    }
    let led = broker.sent.leadership(1, "t", 0).await;
    assert_eq!((led.leader, led.leader_epoch, led.partition_epoch, led.is_new), (1, 0, 0, true));
    assert_eq!(broker.sent.leadership(2, "t", 2).await.isr, [2]);
    let received = broker.sent.metadata(2, |request| !request.topic_states.is_empty()).await;
    assert_eq!(received.topic_states[0].partition_states.len(), 3);
    // A second creation is refused, before and while the topic exists.
    let again = topics::check_creation(&broker.zk, "t", &[(0, ids(&[1]))].into()).await.unwrap_err();
    assert_eq!(again.to_string(), "Topic 't' already exists.");
}

#[tokio::test]
async fn a_replica_that_has_the_log_of_another_topic_does_not_lead() {
    for code in [ErrorCode::InconsistentTopicId, ErrorCode::KafkaStorageError] {
        let world = World::new().await;
        let broker = world.broker(1).await;
        broker.until_active().await;
        let _two = world.bystander(2).await;
        broker.sent.metadata(2, |_| true).await;
        broker.create("t", &[&[2, 1]]).await;
        broker.until_state("t", 0, 2, 0).await;
        let (asked, topic_id) = broker
            .sent
            .wait(|to, request| match request {
                ControlRequest::LeaderAndIsr(request) if to == 2 => {
                    Some((request.clone(), request.topic_states.first()?.topic_id))
                }
                _ => None,
            })
            .await;
        let error = LeaderAndIsrPartitionError { error_code: code.wire(), ..Default::default() };
        let topic = LeaderAndIsrTopicError { topic_id, partition_errors: vec![error], ..Default::default() };
        let answered = Event::Answered {
            broker: BrokerId(2),
            broker_epoch: BrokerEpoch(asked.broker_epoch),
            epoch: ControllerEpoch(asked.controller_epoch),
            answer: Answer::LeaderAndIsr(LeaderAndIsrResponse { topics: vec![topic], ..Default::default() }),
        };
        broker.handle.mailbox.send(answered).await.unwrap();
        let state = broker.until_state("t", 0, 1, 1).await;
        assert_eq!(state.leader_and_isr.isr, ids(&[1]), "{code}");
    }
}

#[tokio::test]
async fn added_partitions_get_leaders_and_old_ones_keep_theirs() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    broker.until_active().await;
    broker.create("t", &[&[1]]).await;
    broker.until_state("t", 0, 1, 0).await;
    let before = broker.until_node("/brokers/topics/t", |_| true).await;
    let added = topics::add_partitions(&broker.zk, "t", 3, None, false).await.unwrap();
    assert_eq!(added.len(), 2);
    broker.until_state("t", 1, 1, 0).await;
    broker.until_state("t", 2, 1, 0).await;
    let id = |node: &Node| TopicAssignment::decode(node.data.as_deref()).unwrap().topic_id;
    let after = broker.until_node("/brokers/topics/t", |_| true).await;
    assert_eq!(id(&after), id(&before));
    let state = broker.until_node("/brokers/topics/t/partitions/0/state", |_| true).await;
    assert_eq!(state.stat.version, 0);
}

#[tokio::test]
async fn an_id_that_an_old_tool_removed_is_written_back() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    broker.until_active().await;
    broker.create("t", &[&[1]]).await;
    broker.until_state("t", 0, 1, 0).await;
    let read = |node: &Node| TopicAssignment::decode(node.data.as_deref()).unwrap();
    let id = read(&broker.until_node("/brokers/topics/t", |node| read(node).topic_id.is_some()).await).topic_id;
    // As CMAK adds a partition.
    let without = br#"{"version":1,"partitions":{"0":[1],"1":[1]}}"#;
    broker.zk.set("/brokers/topics/t", without, -1).await.unwrap();
    broker.until_state("t", 1, 1, 0).await;
    let after = read(&broker.until_node("/brokers/topics/t", |node| read(node).topic_id.is_some()).await);
    assert_eq!((after.topic_id, after.partitions.len()), (id, 2));
}

#[tokio::test]
async fn leaders_move_off_a_dead_broker_and_a_lone_replica_leads_again_when_it_returns() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    broker.until_active().await;
    let two = world.bystander(2).await;
    broker.sent.metadata(2, |_| true).await;
    broker.create("t", &[&[2]]).await;
    broker.create("u", &[&[2, 1], &[1, 2]]).await;
    broker.until_state("t", 0, 2, 0).await;
    broker.until_state("u", 1, 1, 0).await;
    two.close().await;
    // As captured from Apache: one epoch on, and the last member stays in the ISR.
    assert_eq!(broker.until_state("t", 0, -1, 1).await.leader_and_isr.isr, ids(&[2]));
    assert_eq!(broker.until_state("u", 0, 1, 1).await.leader_and_isr.isr, ids(&[1]));
    assert_eq!(broker.until_state("u", 1, 1, 1).await.leader_and_isr.isr, ids(&[1]));
    assert_eq!(broker.sent.leadership(1, "u", 0).await.leader_epoch, 0);
    let _two = world.bystander(2).await;
    assert_eq!(broker.until_state("t", 0, 2, 2).await.leader_and_isr.isr, ids(&[2]));
    assert_eq!(broker.sent.leadership(1, "u", 0).await.leader_epoch, 1);
    let received = broker.sent.metadata(2, |request| request.live_brokers.len() == 2).await;
    assert_eq!(received.topic_states.len(), 2, "a broker that comes hears of everything before its first leadership");
    assert_eq!(broker.sent.leadership(2, "t", 0).await.leader, -1);
    assert_eq!(broker.sent.leadership(2, "t", 0).await.leader, 2);
}

#[tokio::test]
async fn a_topic_is_deleted_on_its_brokers_and_then_in_zookeeper() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    broker.until_active().await;
    broker.create("t", &[&[1], &[1]]).await;
    broker.until_state("t", 1, 1, 0).await;
    topics::request_deletion(&broker.zk, "t").await.unwrap();
    let received = broker
        .sent
        .metadata(1, |r| r.topic_states.iter().any(|t| t.partition_states.iter().any(|p| p.leader == -2)))
        .await;
    assert_eq!(received.topic_states[0].partition_states.len(), 2);
    let asked = broker.sent.deletion(1).await;
    assert_eq!(asked.topic_states[0].partition_states[0].leader_epoch, -2);
    // The name is taken until the brokers are done.
    let again = topics::check_creation(&broker.zk, "t", &[(0, ids(&[1]))].into()).await.unwrap_err();
    assert_eq!(again.to_string(), "Topic 't' is marked for deletion.");
    topics::request_deletion(&broker.zk, "t").await.unwrap();
    broker.handle.mailbox.send(answer_deletion(1, &asked, 0)).await.unwrap();
    broker.until_gone("/admin/delete_topics/t").await;
    assert_eq!(broker.zk.exists("/brokers/topics/t").await, Ok(None));
    assert_eq!(broker.zk.exists("/config/topics/t").await, Ok(None));
    assert!(topics::request_deletion(&broker.zk, "t").await.is_err());
    broker.create("t", &[&[1]]).await;
    broker.until_state("t", 0, 1, 0).await;
}

#[tokio::test]
async fn deletion_waits_for_a_replica_that_is_away() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    broker.until_active().await;
    let two = world.bystander(2).await;
    broker.sent.metadata(2, |_| true).await;
    broker.create("t", &[&[2], &[1]]).await;
    broker.until_state("t", 0, 2, 0).await;
    two.close().await;
    broker.until_state("t", 0, -1, 1).await;
    topics::request_deletion(&broker.zk, "t").await.unwrap();
    let asked = broker.sent.deletion(1).await;
    broker.handle.mailbox.send(answer_deletion(1, &asked, 0)).await.unwrap();
    let two = world.bystander(2).await;
    let asked = broker.sent.deletion(2).await;
    assert!(broker.zk.exists("/brokers/topics/t").await.unwrap().is_some());
    // After a refusal it waits again, for the next return of the broker.
    broker.handle.mailbox.send(answer_deletion(2, &asked, 56)).await.unwrap();
    two.close().await;
    let _two = world.bystander(2).await;
    let asked = broker.sent.deletion(2).await;
    broker.handle.mailbox.send(answer_deletion(2, &asked, 0)).await.unwrap();
    broker.until_gone("/admin/delete_topics/t").await;
}

#[tokio::test]
async fn deletions_of_unknown_topics_are_taken_away() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    broker.until_active().await;
    broker.zk.create("/admin/delete_topics/ghost", None, CreateMode::Persistent).await.unwrap();
    broker.until_gone("/admin/delete_topics/ghost").await;
}

#[tokio::test]
async fn topics_of_old_tools_get_ids_and_poison_harms_nobody() {
    let world = World::new().await;
    let zk = world.client().await;
    zk.create("/brokers/topics/null", None, CreateMode::Persistent).await.unwrap();
    zk.create("/brokers/topics/odd", Some(b"{\"partitions\":{\"0\":[\"1\"]}}"), CreateMode::Persistent).await.unwrap();
    zk.create("/brokers/ids/9", Some(b"{}"), CreateMode::Persistent).await.unwrap();
    zk.create("/isr_change_notification/isr_change_", Some(b"poison"), CreateMode::PersistentSequential).await.unwrap();
    let v1 = br#"{"version":1,"partitions":{"0":[1]}}"#;
    zk.create("/brokers/topics/before", Some(v1), CreateMode::Persistent).await.unwrap();
    let broker = world.broker(1).await;
    broker.until_active().await;
    zk.create("/brokers/topics/after", Some(v1), CreateMode::Persistent).await.unwrap();
    zk.create("/log_dir_event_notification/log_dir_event_", Some(b"poison"), CreateMode::PersistentSequential)
        .await
        .unwrap();
    for topic in ["before", "after"] {
        broker.until_state(topic, 0, 1, 0).await;
        let node = zk.get(&format!("/brokers/topics/{topic}")).await.unwrap();
        assert!(TopicAssignment::decode(node.data.as_deref()).unwrap().topic_id.is_some());
    }
    broker.until_gone("/log_dir_event_notification/log_dir_event_0000000000").await;
    assert!(zk.children("/isr_change_notification").await.unwrap().is_empty());
    // Repaired, it comes online.
    zk.set("/brokers/topics/odd", v1, -1).await.unwrap();
    broker.until_state("odd", 0, 1, 0).await;
}

#[tokio::test]
async fn a_superseded_controller_writes_nothing_more_and_resigns() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    broker.until_active().await;
    let other = world.client().await;
    // Another broker takes over unnoticed: first the epoch, so that its next write is refused.
    other.set(paths::CONTROLLER_EPOCH, b"2", -1).await.unwrap();
    broker.create("t", &[&[1]]).await;
    assert_eq!(broker.until(|status| status.epoch != ControllerEpoch(1)).await.epoch, ControllerEpoch(0));
    assert_eq!(other.exists("/brokers/topics/t/partitions").await, Ok(None));
    // No other broker stood: it is elected again, in a later term, and does the work.
    assert_eq!(broker.until_active().await, ControllerEpoch(3));
    broker.until_state("t", 0, 1, 0).await;
}

#[tokio::test]
async fn a_controller_node_of_an_earlier_session_is_not_ours() {
    let world = World::new().await;
    let earlier = world.client().await;
    let stale = data::ControllerNode::encode(BrokerId(1), 1);
    earlier.create(paths::CONTROLLER, Some(&stale), CreateMode::Ephemeral).await.unwrap();
    let broker = world.broker(1).await;
    let status = broker.until(|status| status.controller == Some(BrokerId(1))).await;
    assert!(!status.is_active);
    earlier.close().await;
    broker.until_active().await;
}

#[tokio::test]
async fn a_controllership_that_nobody_took_up_is_given_up() {
    let world = World::new().await;
    let zk = world.client().await;
    // As if the answer to a won election had been lost, and the broker never became active (KAFKA-13407).
    let won = data::ControllerNode::encode(BrokerId(1), 1);
    zk.create(paths::CONTROLLER, Some(&won), CreateMode::Ephemeral).await.unwrap();
    let broker = world.broker_on(zk, 1).await;
    assert_eq!(broker.until_active().await, ControllerEpoch(1));
    broker.create("t", &[&[1]]).await;
    broker.until_state("t", 0, 1, 0).await;
}

#[tokio::test]
async fn leaderships_come_back_by_themselves() {
    let world = World::new().await;
    let broker = world.broker_with(world.client().await, 1, |settings| {
        settings.auto_leader_rebalance_enable = true;
        settings.leader_imbalance_check_interval = Duration::from_millis(100);
    });
    let broker = broker.await;
    broker.until_active().await;
    let two = world.bystander(2).await;
    broker.sent.metadata(2, |_| true).await;
    broker.create("t", &[&[2, 1]]).await;
    broker.until_state("t", 0, 2, 0).await;
    two.close().await;
    let mut state = broker.until_state("t", 0, 1, 1).await;
    let _two = world.bystander(2).await;
    // As a leader of an older protocol version does, once 2 has caught up.
    state.leader_and_isr.isr = ids(&[1, 2]);
    broker.zk.set("/brokers/topics/t/partitions/0/state", &state.encode(), -1).await.unwrap();
    let received = br#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#;
    let path = "/isr_change_notification/isr_change_";
    broker.zk.create(path, Some(received), CreateMode::PersistentSequential).await.unwrap();
    broker.until_state("t", 0, 2, 2).await;
}

/// The requests to a broker about `t-0`.
fn told_of(topic: &str, id: Uuid, leader: i32, epoch: i32, isr: &[i32], controller_epoch: i32) -> MetadataUpdate {
    let partition = PartitionImage {
        leader: BrokerId(leader),
        leader_epoch: LeaderEpoch(epoch),
        isr: ids(isr),
        replicas: ids(isr),
        offline_replicas: vec![],
        partition_epoch: epoch,
    };
    let topic = TopicImage { name: topic.into(), id, partitions: [(0, Arc::new(partition))].into() };
    let controller_epoch = ControllerEpoch(controller_epoch);
    MetadataUpdate { controller: BrokerId(1), controller_epoch, brokers: vec![], topics: vec![topic] }
}

#[tokio::test]
async fn in_an_older_ensemble_the_term_and_the_states_exceed_what_was_told() {
    let world = World::new().await;
    let (server, chroot) = world.options.connect.split_once('/').expect("a chroot");
    let faults = Faults::before(server, &world.group).await;
    let options = ConnectOptions { connect: format!("{}/{chroot}", faults.address), ..world.options.clone() };
    let zk = Client::connect(&options, &world.group).await.unwrap();
    let broker = world.broker_on(zk, 1).await;
    assert_eq!(broker.until_active().await, ControllerEpoch(1));
    let two = world.bystander(2).await;
    broker.sent.metadata(2, |_| true).await;
    for topic in ["t", "u"] {
        broker.create(topic, &[&[2, 1]]).await;
        broker.until_state(topic, 0, 2, 0).await;
    }
    let id = broker.sent.metadata(2, |received| !received.topic_states.is_empty()).await.topic_states[0].topic_id;
    // As if ZooKeeper had lost two terms and a new leader.
    let received = broker.image.load().updated(&told_of("t", id, 1, 4, &[1], 3));
    broker.image.store(Arc::new(received));
    faults.fail("/controller", 0, SESSION_EXPIRED);
    two.set("/controller", &data::ControllerNode::encode(BrokerId(1), 2), -1).await.unwrap();
    broker.until(|status| status.epoch == ControllerEpoch(4)).await;
    let ids_given = broker.handle.allocate_producer_ids(BrokerId(1), broker.handle.broker_epoch()).await.unwrap();
    assert!(ids_given.first > ProducerIdBlock::LEFT_OUT, "those before may be in use");
    let state = broker.until_state("t", 0, 1, 5).await;
    assert_eq!((state.leader_and_isr.isr, state.controller_epoch), (ids(&[1]), ControllerEpoch(4)));
    let led = broker.sent.leadership(1, "t", 0).await;
    assert_eq!((led.leader, led.leader_epoch, led.isr), (1, 5, vec![1]));
    // Nothing is written about partitions of which it had received nothing, or nothing newer.
    let untouched = broker.until_state("u", 0, 2, 0).await;
    assert_eq!(untouched.controller_epoch, ControllerEpoch(1));
}

#[tokio::test]
async fn a_term_that_meets_a_state_before_its_own_ends_and_the_next_exceeds_it() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    assert_eq!(broker.until_active().await, ControllerEpoch(1));
    let (two, three) = (world.bystander(2).await, world.bystander(3).await);
    for other in [2, 3] {
        broker.sent.metadata(other, |_| true).await;
    }
    broker.create("t", &[&[1, 2, 3]]).await;
    let first = broker.until_state("t", 0, 1, 0).await;
    let id = broker.sent.metadata(3, |received| !received.topic_states.is_empty()).await.topic_states[0].topic_id;
    two.close().await;
    assert_eq!(broker.until_state("t", 0, 1, 1).await.leader_and_isr.isr, ids(&[1, 3]));
    let received = broker.image.load().updated(&told_of("t", id, 1, 1, &[1, 3], 1));
    broker.image.store(Arc::new(received));
    // As an older copy that knows our session, and has the same controller.
    let path = "/brokers/topics/t/partitions/0/state";
    broker.zk.delete(path, -1).await.unwrap();
    broker.zk.create(path, Some(&first.encode()), CreateMode::Persistent).await.unwrap();
    three.close().await;
    broker.until(|status| status.epoch == ControllerEpoch(2)).await;
    // The reported state again, and then without the broker that left; broker 2 was out of sync before.
    let state = broker.until_state("t", 0, 1, 3).await;
    assert_eq!((state.leader_and_isr.isr, state.controller_epoch), (ids(&[1]), ControllerEpoch(2)));
}

#[tokio::test]
async fn a_controller_that_is_refused_as_old_and_whose_epoch_was_raised_runs_again() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    assert_eq!(broker.until_active().await, ControllerEpoch(1));
    let two = world.bystander(2).await;
    let asked = broker.sent.metadata(2, |_| true).await;
    let refuse = || {
        let error_code = ErrorCode::StaleControllerEpoch.wire();
        Event::Answered {
            broker: BrokerId(2),
            broker_epoch: BrokerEpoch(asked.broker_epoch),
            epoch: ControllerEpoch(asked.controller_epoch),
            answer: Answer::UpdateMetadata(UpdateMetadataResponse { error_code, ..Default::default() }),
        }
    };
    // A refusal alone does not end a term.
    broker.handle.mailbox.send(refuse()).await.unwrap();
    broker.create("t", &[&[1]]).await;
    assert_eq!(broker.until_state("t", 0, 1, 0).await.controller_epoch, ControllerEpoch(1));
    two.set("/controller_epoch", &data::encode_epoch(ControllerEpoch(9)), -1).await.unwrap();
    broker.handle.mailbox.send(refuse()).await.unwrap();
    broker.until(|status| status.epoch == ControllerEpoch(10)).await;
}

/// Not a test but a measurement: `ZURAU_MEASURE=1000,5000` prints how long a failover takes with so many partitions,
/// from the end of the old controller's session until the new one has sent its decisions.
#[allow(clippy::print_stdout, reason = "the measure")]
#[tokio::test]
async fn failover_is_measured() {
    let Ok(sizes) = std::env::var("ZURAU_MEASURE") else { return };
    for size in sizes.split(',').map(|size| size.parse::<usize>().expect("a number")) {
        let world = World::new().await;
        let one = world.broker(1).await;
        one.until_active().await;
        let two = world.broker(2).await;
        two.until(|status| status.controller == Some(BrokerId(1))).await;
        let _three = world.bystander(3).await;
        one.sent.metadata(3, |received| received.live_brokers.len() == 3).await;
        for (topic, from) in (0..size).step_by(500).enumerate() {
            let replicas: Vec<Vec<i32>> =
                (from..size.min(from + 500)).map(|p| (0..3).map(|n| ((p + n) % 3) as i32 + 1).collect()).collect();
            let replicas: Vec<&[i32]> = replicas.iter().map(Vec::as_slice).collect();
            let begun = std::time::Instant::now();
            one.create(&format!("t{topic}"), &replicas).await;
            let received = |request: &UpdateMetadataRequest| {
                request
                    .topic_states
                    .iter()
                    .any(|t| *t.topic_name == format!("t{topic}") && t.partition_states.len() == replicas.len())
            };
            one.sent.metadata(3, received).await;
            println!("{} partitions created in {:?}", replicas.len(), begun.elapsed());
        }
        two.sent.requests.lock().clear();
        one.zk.close().await;
        let begun = std::time::Instant::now();
        two.until_active().await;
        let elected = begun.elapsed();
        // The last request to broker 3 has new leaders for everything that the dead broker led.
        let received = two.sent.metadata(3, |request| {
            let states = || request.topic_states.iter().flat_map(|t| &t.partition_states);
            states().count() >= size / 3 && states().all(|p| p.leader > 1)
        });
        let received = received.await;
        println!(
            "{size} partitions: controller after {elected:?}, {} partitions led anew after {:?}",
            received.topic_states.iter().map(|t| t.partition_states.len()).sum::<usize>(),
            begun.elapsed()
        );
    }
}
