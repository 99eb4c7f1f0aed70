//! A change that ZooKeeper reports takes effect even when a read of its handling fails, or the session ends there.

use super::*;
use crate::zk::data::topic::LeaderAndIsr;
use crate::zk::tests::faults::{Faults, SESSION_EXPIRED, THROTTLED};

/// Runs `case` once for each of the first reads below `path` that it causes, and fails that read.
async fn fail_each_read(path: &str, case: impl AsyncFn(&Broker, &Client, &dyn Fn())) {
    for error in [THROTTLED, SESSION_EXPIRED] {
        for reads in 0.. {
            let world = World::new().await;
            let (server, chroot) = world.options.connect.split_once('/').expect("a chroot");
            let faults = Faults::before(server, &world.group).await;
            let options = ConnectOptions { connect: format!("{}/{chroot}", faults.address), ..world.options.clone() };
            let zk = Client::connect(&options, &world.group).await.unwrap();
            let broker = world.broker_on(zk, 1).await;
            broker.until_active().await;
            let outside = world.bystander(2).await;
            broker.sent.metadata(2, |_| true).await;
            let direct = Broker {
                zk: outside.clone(),
                handle: broker.handle.clone(),
                sent: Arc::clone(&broker.sent),
                image: Arc::clone(&broker.image),
            };
            case(&direct, &outside, &|| faults.fail(path, reads, error)).await;
            let is_over = !faults.is_spent();
            world.group.stop_token().cancel();
            if is_over {
                assert!(reads > 0, "nothing below {path} was read");
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_new_topic() {
    fail_each_read("/brokers/topics", async |broker, _, arm| {
        arm();
        broker.create("t", &[&[2]]).await;
        broker.until_state("t", 0, 2, 0).await;
        broker.sent.leadership(2, "t", 0).await;
    })
    .await;
}

#[tokio::test]
async fn added_partitions() {
    fail_each_read("/brokers/topics/t", async |broker, zk, arm| {
        broker.create("t", &[&[2]]).await;
        broker.until_state("t", 0, 2, 0).await;
        let mut read = crate::zk::topics::assignments(zk, &["t"], None).await.unwrap();
        let (_, (mut topic, version)) = read.pop_first().unwrap();
        topic.partitions.insert(1, ReplicaAssignment::of(ids(&[2])));
        arm();
        zk.set("/brokers/topics/t", &topic.encode(), version).await.unwrap();
        broker.until_state("t", 1, 2, 0).await;
    })
    .await;
}

#[tokio::test]
async fn a_deletion() {
    fail_each_read("/admin/delete_topics", async |broker, zk, arm| {
        broker.create("t", &[&[2]]).await;
        broker.until_state("t", 0, 2, 0).await;
        arm();
        topics::request_deletion(zk, "t").await.unwrap();
        broker.sent.deletion(2).await;
    })
    .await;
}

#[tokio::test]
async fn a_changed_isr() {
    fail_each_read("/isr_change_notification", async |broker, zk, arm| {
        broker.create("t", &[&[2]]).await;
        let mut state = broker.until_state("t", 0, 2, 0).await;
        let leader_and_isr = LeaderAndIsr { leader_epoch: LeaderEpoch(7), ..state.leader_and_isr.clone() };
        state.leader_and_isr = leader_and_isr;
        zk.set("/brokers/topics/t/partitions/0/state", &state.encode(), -1).await.unwrap();
        arm();
        let named = br#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#;
        let path = "/isr_change_notification/isr_change_";
        let made = zk.create(path, Some(named), CreateMode::PersistentSequential).await.unwrap();
        broker
            .sent
            .metadata(2, |received| {
                received.topic_states.iter().any(|t| t.partition_states.iter().any(|p| p.leader_epoch == 7))
            })
            .await;
        broker.until_gone(&made).await;
    })
    .await;
}

#[tokio::test]
async fn a_failed_log_directory() {
    fail_each_read("/log_dir_event_notification", async |broker, zk, arm| {
        broker.create("t", &[&[2]]).await;
        broker.until_state("t", 0, 2, 0).await;
        broker.sent.leadership(2, "t", 0).await;
        arm();
        let event = data::encode_log_dir_event(BrokerId(2));
        let path = "/log_dir_event_notification/log_dir_event_";
        let made = zk.create(path, Some(&event), CreateMode::PersistentSequential).await.unwrap();
        broker.sent.leadership(2, "t", 0).await;
        broker.until_gone(&made).await;
    })
    .await;
}

#[tokio::test]
async fn a_preferred_election() {
    fail_each_read("/admin/preferred_replica_election", async |broker, zk, arm| {
        broker.create("t", &[&[2, 1]]).await;
        let mut state = broker.until_state("t", 0, 2, 0).await;
        broker.sent.leadership(2, "t", 0).await;
        state.leader_and_isr.leader = BrokerId(1);
        state.leader_and_isr.leader_epoch = LeaderEpoch(1);
        zk.set("/brokers/topics/t/partitions/0/state", &state.encode(), -1).await.unwrap();
        let named = br#"{"version":1,"partitions":[{"topic":"t","partition":0}]}"#;
        let path = "/isr_change_notification/isr_change_";
        let made = zk.create(path, Some(named), CreateMode::PersistentSequential).await.unwrap();
        broker.until_gone(&made).await;
        arm();
        zk.create("/admin/preferred_replica_election", Some(named), CreateMode::Persistent).await.unwrap();
        broker.until_gone("/admin/preferred_replica_election").await;
        broker.until_state("t", 0, 2, 2).await;
    })
    .await;
}

#[tokio::test]
async fn a_move() {
    fail_each_read("/admin/reassign_partitions", async |broker, zk, arm| {
        broker.create("t", &[&[2]]).await;
        broker.until_state("t", 0, 2, 0).await;
        arm();
        let wanted = br#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1]}]}"#;
        zk.create("/admin/reassign_partitions", Some(wanted), CreateMode::Persistent).await.unwrap();
        broker
            .until_node("/brokers/topics/t", |node| {
                let topic = TopicAssignment::decode(node.data.as_deref()).unwrap();
                topic.partitions[&0].adding == ids(&[1])
            })
            .await;
    })
    .await;
}

#[tokio::test]
async fn a_broker_that_comes() {
    fail_each_read("/brokers/ids", async |broker, _, arm| {
        arm();
        let path = "/brokers/ids/3";
        let data = registration(3, 9_003).encode(1);
        broker.zk.create(path, Some(&data), CreateMode::Ephemeral).await.unwrap();
        broker.sent.metadata(3, |received| received.live_brokers.iter().any(|b| b.id == 3)).await;
    })
    .await;
}

#[tokio::test]
async fn nodes_that_no_controller_can_delete_cost_no_term() {
    let world = World::new().await;
    let broker = world.broker(1).await;
    let epoch = broker.until_active().await;
    let outside = world.bystander(2).await;
    broker.create("t", &[&[2]]).await;
    broker.until_state("t", 0, 2, 0).await;
    broker.sent.leadership(2, "t", 0).await;
    let directories =
        ["/isr_change_notification/isr_change_0000000099", "/log_dir_event_notification/log_dir_event_0000000099"];
    for path in directories {
        outside.create_recursive(&format!("{path}/child"), None).await.unwrap();
    }
    outside.create_recursive("/admin/preferred_replica_election/child", None).await.unwrap();
    // A topic is deleted with everything below it.
    outside.create_recursive("/brokers/topics/t/mine/deep", None).await.unwrap();
    outside.create_recursive("/config/topics/t/mine", None).await.unwrap();
    topics::request_deletion(&outside, "t").await.unwrap();
    let asked = broker.sent.deletion(2).await;
    broker.handle.mailbox.send(answer_deletion(2, &asked, 0)).await.unwrap();
    broker.until_gone("/brokers/topics/t").await;
    assert_eq!(broker.until_active().await, epoch);
    // The next term begins in spite of them.
    outside.delete("/controller", -1).await.unwrap();
    let next = broker.until(|status| status.is_active && status.epoch > epoch).await;
    assert_eq!(next.epoch.0, epoch.0 + 1);
    broker.create("u", &[&[2]]).await;
    broker.until_state("u", 0, 2, 0).await;
}
