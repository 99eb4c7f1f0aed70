//! Tests of reassignments with recorded channels: brokers 2 to 4 only have sessions, and the test requests ISR changes
//! as their leaders would.

use super::super::tests::{Broker, World, answer_deletion};
use super::*;
use crate::common::LeaderEpoch;
use crate::controller::testing::{ids, tp};
use crate::controller::{ControlRequest, topics as admin};
use crate::protocol::messages::AlterPartitionRequest;
use crate::protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use crate::zk::client::{Client, CreateMode, Node};
use crate::zk::data::topic::{LeaderAndIsr, PartitionState as StoredState, TopicAssignment};
use crate::zk::startup;

/// Broker 1 is the controller, and the others are registered.
struct Four {
    world: World,
    one: Broker,
    others: BTreeMap<i32, Client>,
}

impl Four {
    async fn new() -> Self {
        let world = World::new().await;
        let one = world.broker(1).await;
        one.until_active().await;
        let mut others = BTreeMap::new();
        for id in [2, 3, 4] {
            others.insert(id, world.bystander(id).await);
        }
        one.sent.metadata(4, |received| received.live_brokers.len() == 4).await;
        Self { world, one, others }
    }

    async fn create(&self, topic: &str, replicas: &[i32]) {
        self.one.create(topic, &[replicas]).await;
        self.one.until_state(topic, 0, replicas[0], 0).await;
    }

    async fn reassign(&self, topic: &str, target: Option<&[i32]>) -> Result<(), Refusal> {
        reassign(&self.one, topic, target).await
    }

    async fn listed(&self) -> Vec<(String, ReplicaAssignment)> {
        let moving = self.one.handle.list_reassignments(None).await.expect("active");
        moving.into_iter().map(|(tp, assignment)| (tp.to_string(), assignment)).collect()
    }

    async fn die(&mut self, broker: i32) {
        self.others.remove(&broker).expect("it lives").close().await;
        self.one.sent.metadata(1, |received| received.live_brokers.iter().all(|b| b.id != broker)).await;
    }

    async fn return_of(&mut self, broker: i32) {
        let session = self.world.bystander(broker).await;
        self.others.insert(broker, session);
    }
}

async fn reassign(controller: &Broker, topic: &str, target: Option<&[i32]>) -> Result<(), Refusal> {
    let targets = [(tp(topic, 0), target.map(ids))].into();
    let mut results = controller.handle.alter_reassignments(targets).await.expect("active");
    results.remove(&tp(topic, 0)).expect("an answer")
}

/// Partition 0 in the topic's znode.
async fn assignment(zk: &Client, topic: &str) -> ReplicaAssignment {
    let node = zk.get(&paths::topic(topic)).await.unwrap();
    TopicAssignment::decode(node.data.as_deref()).unwrap().partitions.remove(&0).unwrap()
}

fn moving(replicas: &[i32], adding: &[i32], removing: &[i32]) -> ReplicaAssignment {
    ReplicaAssignment { replicas: ids(replicas), adding: ids(adding), removing: ids(removing) }
}

async fn until_assigned(broker: &Broker, topic: &str, expected: &ReplicaAssignment) {
    let is_so = |node: &Node| {
        TopicAssignment::decode(node.data.as_deref()).is_ok_and(|topic| topic.partitions[&0] == *expected)
    };
    broker.until_node(&paths::topic(topic), is_so).await;
}

async fn state(zk: &Client, topic: &str) -> (LeaderAndIsr, i32) {
    let node = zk.get(&paths::partition_state(&tp(topic, 0))).await.unwrap();
    (StoredState::decode(node.data.as_deref()).unwrap().leader_and_isr, node.stat.version)
}

/// The leader requests an ISR, as it does when followers have caught up.
async fn in_sync(controller: &Broker, topic: &str, isr: &[i32]) {
    let node = controller.zk.get(&paths::topic(topic)).await.unwrap();
    let topic_id = TopicAssignment::decode(node.data.as_deref()).unwrap().topic_id.unwrap();
    let (current, partition_epoch) = state(&controller.zk, topic).await;
    let registered = startup::registered_brokers(&controller.zk).await.unwrap();
    let epoch = registered.into_iter().find(|(b, _)| b.id == current.leader).unwrap().1;
    let members = isr.iter().map(|id| BrokerState { broker_id: *id, ..Default::default() });
    let partition = PartitionData {
        partition_index: 0,
        leader_epoch: current.leader_epoch.0,
        partition_epoch,
        new_isr_with_epochs: members.collect(),
        ..Default::default()
    };
    let request = AlterPartitionRequest {
        broker_id: current.leader.0,
        broker_epoch: epoch.0,
        topics: vec![TopicData { topic_id, partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    };
    let answer = controller.handle.alter_partition(request, 3).await;
    assert_eq!((answer.error_code, answer.topics[0].partitions[0].error_code), (0, 0));
}

fn leads(leader: i32, epoch: i32, isr: &[i32]) -> LeaderAndIsr {
    let (leader, leader_epoch) = (BrokerId(leader), LeaderEpoch(epoch));
    LeaderAndIsr { leader, leader_epoch, isr: ids(isr), recovery: Default::default() }
}

#[tokio::test]
async fn a_partition_moves_when_the_target_is_in_sync() {
    let four = Four::new().await;
    four.create("t", &[2, 3]).await;
    assert_eq!(four.reassign("t", Some(&[3, 4])).await, Ok(()));
    let under_way = moving(&[3, 4, 2], &[4], &[2]);
    assert_eq!(assignment(&four.one.zk, "t").await, under_way);
    assert_eq!(state(&four.one.zk, "t").await.0, leads(2, 1, &[2, 3]));
    assert_eq!(four.listed().await, [("t-0".to_owned(), under_way)]);
    // As KAFKA-10314 requires: new only for added replicas.
    let received = four.one.sent.leadership(2, "t", 0).await;
    assert_eq!((received.leader_epoch, received.is_new), (0, true), "the creation");
    let received = four.one.sent.leadership(2, "t", 0).await;
    assert_eq!((received.leader_epoch, received.is_new, &received.replicas[..]), (1, false, &[3, 4, 2][..]));
    assert_eq!((&received.adding_replicas[..], &received.removing_replicas[..]), (&[4][..], &[2][..]));
    let received = four.one.sent.leadership(4, "t", 0).await;
    assert_eq!((received.leader_epoch, received.is_new), (1, true));

    in_sync(&four.one, "t", &[2, 3, 4]).await;
    until_assigned(&four.one, "t", &ReplicaAssignment::of(ids(&[3, 4]))).await;
    // An election among the target, then the removed replica leaves the ISR: an epoch each.
    assert_eq!(state(&four.one.zk, "t").await.0, leads(3, 3, &[3, 4]));
    let stopped = four.one.sent.deletion(2).await;
    assert_eq!(stopped.topic_states[0].partition_states[0].leader_epoch, 3);
    assert_eq!(four.listed().await, []);
}

#[tokio::test]
async fn another_order_of_the_same_replicas_is_done_at_once() {
    let four = Four::new().await;
    four.create("t", &[2, 3]).await;
    assert_eq!(four.reassign("t", Some(&[3, 2])).await, Ok(()));
    assert_eq!(assignment(&four.one.zk, "t").await, ReplicaAssignment::of(ids(&[3, 2])));
    // Its leader does not change.
    assert_eq!(state(&four.one.zk, "t").await.0, leads(2, 1, &[2, 3]));
    assert_eq!(four.listed().await, []);
}

#[tokio::test]
async fn a_cancelled_move_leaves_no_replica_behind() {
    let four = Four::new().await;
    four.create("t", &[2]).await;
    let nothing = four.reassign("t", None).await.unwrap_err();
    assert_eq!(nothing.code, ErrorCode::NoReassignmentInProgress);
    assert_eq!(four.reassign("t", Some(&[3])).await, Ok(()));
    assert_eq!(four.reassign("t", None).await, Ok(()));
    assert_eq!(assignment(&four.one.zk, "t").await, ReplicaAssignment::of(ids(&[2])));
    assert_eq!(state(&four.one.zk, "t").await.0.isr, ids(&[2]));
    four.one.sent.deletion(3).await;
    assert_eq!(four.listed().await, []);
}

#[tokio::test]
async fn a_later_move_replaces_the_one_under_way() {
    let four = Four::new().await;
    four.create("t", &[2]).await;
    assert_eq!(four.reassign("t", Some(&[3])).await, Ok(()));
    assert_eq!(four.reassign("t", Some(&[4])).await, Ok(()));
    assert_eq!(assignment(&four.one.zk, "t").await, moving(&[4, 2], &[4], &[2]));
    four.one.sent.deletion(3).await;
    in_sync(&four.one, "t", &[2, 4]).await;
    until_assigned(&four.one, "t", &ReplicaAssignment::of(ids(&[4]))).await;
}

#[tokio::test]
async fn the_next_controller_goes_on_where_one_died() {
    let mut four = Four::new().await;
    four.create("t", &[2]).await;
    four.create("u", &[2]).await;
    assert_eq!(four.reassign("t", Some(&[3])).await, Ok(()));
    assert_eq!(four.reassign("u", Some(&[4])).await, Ok(()));
    let five = four.world.broker(5).await;
    five.until(|status| status.controller == Some(BrokerId(1))).await;
    // While there is no controller, one move becomes complete, in the state that the old leader had requested.
    let written =
        StoredState { leader_and_isr: leads(2, 1, &[2, 4]), controller_epoch: crate::common::ControllerEpoch(1) };
    four.others[&2].set(&paths::partition_state(&tp("u", 0)), &written.encode(), -1).await.unwrap();
    four.one.zk.close().await;
    five.until_active().await;
    until_assigned(&five, "u", &ReplicaAssignment::of(ids(&[4]))).await;
    assert_eq!(state(&five.zk, "u").await.0.leader, BrokerId(4));
    // The other one starts again, in another epoch.
    five.until_state("t", 0, 2, 2).await;
    assert_eq!(assignment(&five.zk, "t").await, moving(&[3, 2], &[3], &[2]));
    in_sync(&five, "t", &[2, 3]).await;
    until_assigned(&five, "t", &ReplicaAssignment::of(ids(&[3]))).await;
    four.others.clear();
}

#[tokio::test]
async fn the_znode_of_old_tools_is_worked_off_again_and_again() {
    let four = Four::new().await;
    four.create("t", &[2]).await;
    let put = async |text: &str| {
        four.one.zk.create(paths::REASSIGN_PARTITIONS, Some(text.as_bytes()), CreateMode::Persistent).await.unwrap();
    };
    put(r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3]},{"topic":"x","partition":0,"replicas":[3]},{"topic":"t","partition":0,"replicas":[3]}]}"#).await;
    until_assigned(&four.one, "t", &moving(&[3, 2], &[3], &[2])).await;
    // Invalid moves are removed, ongoing ones stay.
    let left = r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3]}]}"#;
    four.one.until_node(paths::REASSIGN_PARTITIONS, |node| node.data.as_deref() == Some(left.as_bytes())).await;
    in_sync(&four.one, "t", &[2, 3]).await;
    four.one.until_gone(paths::REASSIGN_PARTITIONS).await;
    until_assigned(&four.one, "t", &ReplicaAssignment::of(ids(&[3]))).await;
    // A list without brokers would delete the partition.
    put(r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[]}]}"#).await;
    four.one.until_gone(paths::REASSIGN_PARTITIONS).await;
    assert_eq!(assignment(&four.one.zk, "t").await, ReplicaAssignment::of(ids(&[3])));
    // An unreadable node stays until something else is to be moved.
    put(r#"{"version":1,"partitions":[],"log_dirs":[]}"#).await;
    assert_eq!(four.listed().await, []);
    assert!(four.one.zk.exists(paths::REASSIGN_PARTITIONS).await.unwrap().is_some());
    assert_eq!(four.reassign("t", Some(&[3])).await, Ok(()));
    four.one.until_gone(paths::REASSIGN_PARTITIONS).await;
}

#[tokio::test]
async fn an_api_call_takes_its_partition_out_of_the_znode() {
    let four = Four::new().await;
    four.create("t", &[2]).await;
    let text = br#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3]}]}"#;
    four.one.zk.create(paths::REASSIGN_PARTITIONS, Some(text), CreateMode::Persistent).await.unwrap();
    until_assigned(&four.one, "t", &moving(&[3, 2], &[3], &[2])).await;
    assert_eq!(four.reassign("t", Some(&[4])).await, Ok(()));
    four.one.until_gone(paths::REASSIGN_PARTITIONS).await;
    assert_eq!(assignment(&four.one.zk, "t").await, moving(&[4, 2], &[4], &[2]));
}

#[tokio::test]
async fn a_target_that_is_away_is_refused_or_waited_for() {
    let mut four = Four::new().await;
    four.create("t", &[2]).await;
    four.die(4).await;
    let refusal = four.reassign("t", Some(&[4])).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::InvalidReplicaAssignment);
    let text = br#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[4]}]}"#;
    four.one.zk.create(paths::REASSIGN_PARTITIONS, Some(text), CreateMode::Persistent).await.unwrap();
    until_assigned(&four.one, "t", &moving(&[4, 2], &[4], &[2])).await;
    four.one.until_state("t", 0, 2, 1).await;
    four.return_of(4).await;
    // It gets the LeaderAndIsr again, as a new replica.
    four.one.until_state("t", 0, 2, 2).await;
    let received = four.one.sent.leadership(4, "t", 0).await;
    assert_eq!((received.leader_epoch, received.is_new), (2, true));
    in_sync(&four.one, "t", &[2, 4]).await;
    until_assigned(&four.one, "t", &ReplicaAssignment::of(ids(&[4]))).await;
}

#[tokio::test]
async fn a_deletion_ends_the_moves_of_its_topic() {
    let four = Four::new().await;
    four.create("t", &[2]).await;
    let text = br#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3]}]}"#;
    four.one.zk.create(paths::REASSIGN_PARTITIONS, Some(text), CreateMode::Persistent).await.unwrap();
    until_assigned(&four.one, "t", &moving(&[3, 2], &[3], &[2])).await;
    admin::request_deletion(&four.one.zk, "t").await.unwrap();
    let is_end = |request: &ControlRequest| match request {
        ControlRequest::StopReplica(request) => {
            let state = &request.topic_states[0].partition_states[0];
            (state.delete_partition && state.leader_epoch == -2).then(|| request.clone())
        }
        _ => None,
    };
    let mut asked = Vec::new();
    for broker in [2, 3] {
        asked.push((broker, four.one.sent.wait(|to, r| if to == broker { is_end(r) } else { None }).await));
    }
    let refusal = four.reassign("t", Some(&[4])).await.unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnknownTopicOrPartition);
    for (broker, request) in asked {
        four.one.handle.mailbox.send(answer_deletion(broker, &request, 0)).await.unwrap();
    }
    four.one.until_gone("/admin/delete_topics/t").await;
    // The znode is free for the next move.
    four.one.until_gone(paths::REASSIGN_PARTITIONS).await;
    assert_eq!(four.listed().await, []);
}

#[tokio::test]
async fn partitions_that_are_added_meanwhile_stay() {
    let four = Four::new().await;
    four.create("t", &[2]).await;
    assert_eq!(four.reassign("t", Some(&[3])).await, Ok(()));
    // As an old tool does, without regard to the reassignment.
    let node = four.one.zk.get(&paths::topic("t")).await.unwrap();
    let mut topic = TopicAssignment::decode(node.data.as_deref()).unwrap();
    topic.partitions.insert(1, ReplicaAssignment::of(ids(&[4])));
    four.one.zk.set(&paths::topic("t"), &topic.encode(), node.stat.version).await.unwrap();
    four.one.until_state("t", 1, 4, 0).await;
    in_sync(&four.one, "t", &[2, 3]).await;
    until_assigned(&four.one, "t", &ReplicaAssignment::of(ids(&[3]))).await;
    let node = four.one.zk.get(&paths::topic("t")).await.unwrap();
    let after = TopicAssignment::decode(node.data.as_deref()).unwrap();
    assert_eq!(after.partitions[&1], ReplicaAssignment::of(ids(&[4])));
    assert_eq!(after.topic_id, topic.topic_id);
}
