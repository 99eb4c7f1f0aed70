//! Tests of the requests of brokers and administrators to the controller, with recorded channels.

use super::super::tests::{Broker, World};
use super::*;
use crate::common::{ControllerEpoch, LeaderEpoch, Uuid};
use crate::controller::testing::{ids, tp};
use crate::controller::{ControlRequest, topics};
use crate::protocol::messages::alter_partition_request::{BrokerState, PartitionData, TopicData};
use crate::protocol::messages::alter_partition_response;
use crate::zk::client::{Client, CreateMode};
use crate::zk::data::config::Config;
use crate::zk::data::topic::{LeaderAndIsr, LeaderRecoveryState, PartitionState, TopicAssignment};
use crate::zk::{configs, startup};

/// Broker 1 is the controller; 2 and 3 are registered. `t-0` is on all, led by 1.
struct Three {
    _world: World,
    one: Broker,
    two: Client,
    three: Client,
    topic_id: Uuid,
}

impl Three {
    async fn new() -> Self {
        let world = World::new().await;
        let one = world.broker(1).await;
        one.until_active().await;
        let (two, three) = (world.bystander(2).await, world.bystander(3).await);
        one.sent.metadata(3, |received| received.live_brokers.len() == 3).await;
        one.create("t", &[&[1, 2, 3]]).await;
        one.until_state("t", 0, 1, 0).await;
        let node = one.until_node("/brokers/topics/t", |_| true).await;
        let topic_id = TopicAssignment::decode(node.data.as_deref()).unwrap().topic_id.unwrap();
        Self { _world: world, one, two, three, topic_id }
    }

    async fn epoch_of(&self, broker: i32) -> BrokerEpoch {
        let registered = startup::registered_brokers(&self.one.zk).await.unwrap();
        registered.into_iter().find(|(b, _)| b.id == BrokerId(broker)).unwrap().1
    }

    /// A leader's request for `t-0`.
    async fn request(&self, leader: i32, leader_epoch: i32, version: i32, isr: &[i32]) -> AlterPartitionRequest {
        let members = isr.iter().map(|id| BrokerState { broker_id: *id, ..Default::default() });
        let partition = PartitionData {
            partition_index: 0,
            leader_epoch,
            partition_epoch: version,
            new_isr_with_epochs: members.collect(),
            ..Default::default()
        };
        let topic = TopicData { topic_id: self.topic_id, partitions: vec![partition], ..Default::default() };
        AlterPartitionRequest {
            broker_id: leader,
            broker_epoch: self.epoch_of(leader).await.0,
            topics: vec![topic],
            ..Default::default()
        }
    }

    async fn alter(
        &self,
        leader: i32,
        leader_epoch: i32,
        version: i32,
        isr: &[i32],
    ) -> alter_partition_response::PartitionData {
        let request = self.request(leader, leader_epoch, version, isr).await;
        let answer = self.one.handle.alter_partition(request, 3).await;
        assert_eq!(answer.error_code, 0);
        answer.topics[0].partitions[0].clone()
    }

    async fn state(&self) -> (PartitionState, i32) {
        let node = self.one.zk.get("/brokers/topics/t/partitions/0/state").await.unwrap();
        (PartitionState::decode(node.data.as_deref()).unwrap(), node.stat.version)
    }
}

#[tokio::test]
async fn an_isr_change_is_written_in_the_leaders_epoch_and_everybody_hears_of_it() {
    let three = Three::new().await;
    let answer = three.alter(1, 0, 0, &[1, 2]).await;
    assert_eq!((answer.error_code, &answer.isr, answer.partition_epoch), (0, &vec![1, 2], 1));
    assert_eq!((answer.leader_id, answer.leader_epoch), (1, 0));
    let (state, version) = three.state().await;
    assert_eq!(
        (state.leader_and_isr.isr, state.leader_and_isr.leader_epoch, version),
        (ids(&[1, 2]), LeaderEpoch(0), 1)
    );
    let has_isr = |isr: Vec<i32>| {
        move |received: &crate::protocol::messages::UpdateMetadataRequest| {
            received.topic_states.iter().any(|t| t.partition_states.iter().any(|p| p.isr == isr && p.zk_version > 0))
        }
    };
    three.one.sent.metadata(3, has_isr(vec![1, 2])).await;
    // The leader missed the answer and retries, with its old version.
    let again = three.alter(1, 0, 0, &[2, 1]).await;
    assert_eq!((again.error_code, again.partition_epoch), (0, 1));
    assert_eq!(three.alter(1, 0, 1, &[1, 2, 3]).await.partition_epoch, 2);
    three.one.sent.metadata(2, has_isr(vec![1, 2, 3])).await;
    assert_eq!(three.alter(1, 0, 1, &[1]).await.error_code, ErrorCode::InvalidUpdateVersion.wire());
    assert_eq!(three.alter(2, 0, 2, &[2]).await.error_code, ErrorCode::InvalidRequest.wire(), "not the leader");
    assert_eq!(three.state().await.1, 2);
}

#[tokio::test]
async fn isr_changes_of_strangers_and_of_earlier_lives_are_refused_as_a_whole() {
    let three = Three::new().await;
    let request = three.request(1, 0, 0, &[1]).await;
    for (broker_id, broker_epoch) in [(1, request.broker_epoch - 1), (1, -1), (9, request.broker_epoch)] {
        let refused = AlterPartitionRequest { broker_id, broker_epoch, ..request.clone() };
        let answer = three.one.handle.alter_partition(refused, 3).await;
        assert_eq!((answer.error_code, answer.topics.len()), (ErrorCode::StaleBrokerEpoch.wire(), 0));
    }
    let two = three._world.broker(4).await;
    two.until(|status| status.controller == Some(BrokerId(1))).await;
    let answer = two.handle.alter_partition(request, 3).await;
    assert_eq!(answer.error_code, ErrorCode::NotController.wire(), "not the controller");
}

#[tokio::test]
async fn what_was_written_behind_our_back_is_read_before_a_leader_is_sent_away() {
    let three = Three::new().await;
    let (state, version) = three.state().await;
    let write = async |epoch: i32, isr: &[i32]| {
        let leader_and_isr = LeaderAndIsr { isr: ids(isr), ..state.leader_and_isr.clone() };
        let data = PartitionState { leader_and_isr, controller_epoch: ControllerEpoch(epoch) }.encode();
        three.one.zk.set("/brokers/topics/t/partitions/0/state", &data, -1).await.unwrap();
    };
    // As a leader with an older protocol version does in ZooKeeper itself.
    write(1, &[1, 3]).await;
    let answer = three.alter(1, 0, version + 1, &[1]).await;
    assert_eq!((answer.error_code, answer.partition_epoch), (0, version + 2));
    // A conflicting change is refused, and the next one starts from the current state.
    write(1, &[1, 2]).await;
    assert_eq!(three.alter(1, 0, version + 2, &[1, 3]).await.error_code, ErrorCode::InvalidUpdateVersion.wire());
    assert_eq!(three.alter(1, 0, version + 3, &[1, 2, 3]).await.error_code, 0);
    // A later controller wrote: we are no longer the controller.
    write(9, &[1]).await;
    assert_eq!(three.alter(1, 0, version + 5, &[1, 2]).await.error_code, ErrorCode::NotController.wire());
}

#[tokio::test]
async fn a_superseded_controller_changes_no_isr_and_sends_leaders_on() {
    let three = Three::new().await;
    let request = three.request(1, 0, 0, &[1]).await;
    three.two.set(paths::CONTROLLER_EPOCH, b"2", -1).await.unwrap();
    let answer = three.one.handle.alter_partition(request, 3).await;
    assert_eq!(answer.error_code, ErrorCode::NotController.wire());
    assert_eq!(three.state().await.1, 0);
    three.one.until(|status| status.is_active && status.epoch == ControllerEpoch(3)).await;
}

#[tokio::test]
async fn who_shuts_down_leads_nothing_and_leaves_the_isrs() {
    let three = Three::new().await;
    three.one.create("u", &[&[2, 1], &[1, 2]]).await;
    three.one.create("alone", &[&[2]]).await;
    three.one.until_state("alone", 0, 2, 0).await;
    let epoch = three.epoch_of(2).await;
    let ask = async |broker, epoch| three.one.handle.controlled_shutdown(BrokerId(broker), BrokerEpoch(epoch)).await;
    assert_eq!(ask(2, epoch.0 - 1).await, Err(ControlledShutdownError::StaleEpoch));
    let unknown = |names_epoch| Err(ControlledShutdownError::NotRegistered { names_epoch });
    assert_eq!(ask(9, 5).await, unknown(true));
    assert_eq!(ask(9, -1).await, unknown(false));
    assert_eq!(ask(2, epoch.0).await, Ok(vec![]));
    // A single replica keeps its leadership.
    assert_eq!(three.one.until_state("u", 0, 1, 1).await.leader_and_isr.isr, ids(&[1]));
    assert_eq!(three.one.until_state("u", 1, 1, 1).await.leader_and_isr.isr, ids(&[1]));
    assert_eq!(three.one.until_state("alone", 0, 2, 0).await.leader_and_isr.isr, ids(&[2]));
    assert_eq!(three.one.until_state("t", 0, 1, 1).await.leader_and_isr.isr, ids(&[1, 3]));
    // It becomes a follower of the partitions that it led, and stops those that it followed.
    let received = three.one.sent.wait(|to, request| match request {
        ControlRequest::LeaderAndIsr(r) if to == 2 => r
            .topic_states
            .iter()
            .flat_map(|t| &t.partition_states)
            .find(|p| p.leader_epoch == 1)
            .map(|p| (p.leader, p.partition_index)),
        _ => None,
    });
    assert_eq!(received.await, (1, 0));
    let stopped = three.one.sent.wait(|to, request| match request {
        ControlRequest::StopReplica(r) if to == 2 => {
            Some(r.topic_states.iter().map(|t| t.topic_name.to_string()).collect())
        }
        _ => None,
    });
    let stopped: Vec<String> = stopped.await;
    assert_eq!(stopped, ["t", "u"]);
    // It cannot rejoin the ISR until it has registered again.
    let version = three.state().await.1;
    assert_eq!(three.alter(1, 1, version, &[1, 2, 3]).await.error_code, ErrorCode::IneligibleReplica.wire());
    three.two.close().await;
    three.one.sent.metadata(3, |received| received.live_brokers.len() == 2).await;
    let _two = three._world.bystander(2).await;
    three.one.sent.metadata(3, |received| received.live_brokers.len() == 3).await;
    let (state, version) = three.state().await;
    let epoch = state.leader_and_isr.leader_epoch.0;
    assert_eq!(three.alter(1, epoch, version, &[1, 2, 3]).await.error_code, 0);
}

#[tokio::test]
async fn preferred_replicas_are_elected_where_that_is_needed_and_possible() {
    let three = Three::new().await;
    three.one.create("u", &[&[2, 1], &[2, 3], &[1, 3]]).await;
    three.one.until_state("u", 1, 2, 0).await;
    three.two.close().await;
    three.one.until_state("u", 0, 1, 1).await;
    let elect = async || {
        let asked = vec![tp("u", 0), tp("u", 1), tp("u", 2), tp("u", 9)];
        let results = three.one.handle.elect_leaders(asked, ElectionKind::Preferred).await;
        results.into_iter().map(|(tp, r)| (tp.partition, r.map_err(|(code, _)| code))).collect::<Vec<_>>()
    };
    use ErrorCode::{ElectionNotNeeded, PreferredLeaderNotAvailable, UnknownTopicOrPartition};
    let unavailable = Err(PreferredLeaderNotAvailable);
    let rest = [(2, Err(ElectionNotNeeded)), (9, Err(UnknownTopicOrPartition))];
    assert_eq!(elect().await, [&[(0, unavailable), (1, unavailable)][..], &rest].concat());
    let _two = three._world.bystander(2).await;
    three.one.sent.metadata(3, |received| received.live_brokers.len() == 3).await;
    // It is alive, but not in sync, until the leader says so.
    assert_eq!(elect().await[0], (0, unavailable));
    let node = three.one.zk.get("/brokers/topics/u/partitions/0/state").await.unwrap();
    let state = PartitionState::decode(node.data.as_deref()).unwrap();
    let in_sync = LeaderAndIsr { isr: ids(&[1, 2]), ..state.leader_and_isr };
    let data = PartitionState { leader_and_isr: in_sync, ..state }.encode();
    three.one.zk.set("/brokers/topics/u/partitions/0/state", &data, -1).await.unwrap();
    // By the znode of old tools, which is deleted whatever the outcome.
    let asked = br#"{"version":1,"partitions":[{"topic":"u","partition":0},{"topic":"ghost","partition":1}]}"#;
    three.one.zk.create(paths::PREFERRED_REPLICA_ELECTION, Some(asked), CreateMode::Persistent).await.unwrap();
    let epoch = state.leader_and_isr.leader_epoch.0 + 1;
    assert_eq!(three.one.until_state("u", 0, 2, epoch).await.leader_and_isr.isr, ids(&[1, 2]));
    three.one.until_gone(paths::PREFERRED_REPLICA_ELECTION).await;
    three.one.zk.create(paths::PREFERRED_REPLICA_ELECTION, Some(b"poison"), CreateMode::Persistent).await.unwrap();
    three.one.until_gone(paths::PREFERRED_REPLICA_ELECTION).await;
}

#[tokio::test]
async fn out_of_sync_replicas_lead_when_an_administrator_says_so() {
    let three = Three::new().await;
    three.alter(1, 0, 0, &[1]).await;
    three.one.create("u", &[&[3, 2], &[3, 1]]).await;
    three.one.until_state("u", 1, 3, 0).await;
    three.two.close().await;
    three.one.until_state("u", 0, 3, 1).await;
    three.three.close().await;
    // u-0 was in sync only on 3; 1 becomes the leader of u-1.
    three.one.until_state("u", 0, -1, 2).await;
    three.one.until_state("u", 1, 1, 1).await;
    let _two = three._world.bystander(2).await;
    three.one.sent.leadership(2, "u", 0).await;
    let results = three.one.handle.elect_leaders(vec![tp("u", 0), tp("u", 1)], ElectionKind::Unclean).await;
    assert_eq!(results[&tp("u", 0)], Ok(BrokerId(2)));
    assert_eq!(results[&tp("u", 1)].as_ref().map_err(|(code, _)| *code), Err(ErrorCode::ElectionNotNeeded));
    let state = three.one.until_state("u", 0, 2, 3).await.leader_and_isr;
    assert_eq!((state.isr, state.recovery), (ids(&[2]), LeaderRecoveryState::Recovering));
}

#[tokio::test]
async fn allowing_unclean_elections_elects_at_once() {
    let three = Three::new().await;
    let config: Config = [("unclean.leader.election.enable".to_owned(), "true".to_owned())].into();
    let assignment: topics::Assignment = [(0, ids(&[3, 2]))].into();
    for topic in ["by-topic", "by-default"] {
        topics::create(&three.one.zk, topic, &Config::new(), &assignment).await.unwrap();
        three.one.until_state(topic, 0, 3, 0).await;
    }
    three.two.close().await;
    three.one.until_state("by-default", 0, 3, 1).await;
    three.one.until_state("by-topic", 0, 3, 1).await;
    three.three.close().await;
    three.one.until_state("by-default", 0, -1, 2).await;
    let _two = three._world.bystander(2).await;
    three.one.sent.leadership(2, "by-default", 0).await;
    // The config alone has no effect before it is applied, as in Kafka.
    configs::write(&three.one.zk, "topics/by-topic", &config).await.unwrap();
    three.one.handle.unclean_election_allowed("by-topic").await;
    three.one.until_state("by-topic", 0, 2, 3).await;
    assert_eq!(three.one.until_state("by-default", 0, -1, 2).await.leader_and_isr.isr, ids(&[3]));
    three.one.handle.set_unclean_election_default(true).await;
    three.one.until_state("by-default", 0, 2, 3).await;
}

#[tokio::test]
async fn producer_ids_are_given_to_registered_brokers_in_blocks() {
    let three = Three::new().await;
    let epoch = three.epoch_of(3).await;
    let first = three.one.handle.allocate_producer_ids(BrokerId(3), epoch).await.unwrap();
    let second = three.one.handle.allocate_producer_ids(BrokerId(3), epoch).await.unwrap();
    assert_eq!((first.first, first.last, second.first, second.broker), (0, 999, 1000, BrokerId(3)));
    let refused =
        async |broker, epoch| three.one.handle.allocate_producer_ids(BrokerId(broker), epoch).await.unwrap_err();
    assert_eq!(refused(9, epoch).await, ProducerIdsError::NotRegistered);
    assert_eq!(refused(2, epoch).await, ProducerIdsError::StaleEpoch);
    three.one.zk.set(paths::LATEST_PRODUCER_ID_BLOCK, b"poison", -1).await.unwrap();
    assert_eq!(refused(3, epoch).await, ProducerIdsError::NoBlock);
}
