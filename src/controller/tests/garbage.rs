//! Nodes with content that no broker wrote: they are ignored, and everything else continues.

use super::*;

/// Empty, not JSON, other JSON, other types, a version without the other fields, and not text.
const GARBAGE: [&[u8]; 7] = [
    b"",
    b"}{",
    b"[1]",
    b"null",
    br#"{"version":"x","partitions":7,"topics":[]}"#,
    br#"{"version":1}"#,
    b"\xff\xfe\x00",
];

/// Brokers 1, the controller, and 2, and topics that 2 leads: `assignment`, `state`, `config`, `whole`.
struct Two {
    world: World,
    one: Broker,
    two: Client,
}

impl Two {
    async fn new() -> Self {
        let world = World::new().await;
        let one = world.broker(1).await;
        one.until_active().await;
        let two = world.bystander(2).await;
        one.sent.metadata(1, |received| received.live_brokers.len() == 2).await;
        for topic in ["assignment", "state", "config", "whole"] {
            one.create(topic, &[&[2, 1]]).await;
            one.until_state(topic, 0, 2, 0).await;
        }
        Self { world, one, two }
    }

    async fn put(&self, node: &str, data: &[u8]) -> Vec<u8> {
        match self.one.zk.get(node).await {
            Ok(before) => {
                self.one.zk.set(node, data, -1).await.unwrap();
                before.data.unwrap_or_default()
            }
            // The node of producer ids is created with the first ids.
            Err(error) => {
                assert_eq!(error, Error::NoNode);
                self.create(node, data).await;
                Vec::new()
            }
        }
    }

    async fn create(&self, node: &str, data: &[u8]) {
        self.one.zk.create(node, Some(data), CreateMode::Persistent).await.unwrap();
    }
}

#[tokio::test]
async fn garbage_in_a_topic_stops_that_one_until_it_is_mended() {
    let here = Two::new().await;
    let (topic, state) = ("/brokers/topics/assignment", "/brokers/topics/state/partitions/0/state");
    let (mut assignment, mut leadership) = (Vec::new(), Vec::new());
    for (at, garbage) in GARBAGE.into_iter().enumerate() {
        let before = (here.put(topic, garbage).await, here.put(state, garbage).await);
        if at == 0 {
            (assignment, leadership) = before;
        }
        here.put("/config/topics/config", garbage).await;
        // The controller has seen it.
        let name = format!("after-{at}");
        here.one.create(&name, &[&[2, 1]]).await;
        here.one.until_state(&name, 0, 2, 0).await;
    }
    let Two { world, one, two } = here;
    two.close().await;
    // The assignment is known; the config does not allow unclean elections; only an unreadable leadership is kept.
    for whole in ["whole", "assignment", "config"] {
        assert_eq!(one.until_state(whole, 0, 1, 1).await.leader_and_isr.isr, ids(&[1]));
    }
    assert_eq!(one.zk.get(state).await.unwrap().data.as_deref(), GARBAGE.last().copied());
    one.zk.set(state, &leadership, -1).await.unwrap();
    let added = std::str::from_utf8(&assignment).unwrap().replace(r#""0":[2,1]"#, r#""0":[2,1],"1":[1]"#);
    one.zk.set(topic, added.as_bytes(), -1).await.unwrap();
    one.until_state("assignment", 1, 1, 0).await;
    let _two = world.bystander(2).await;
    one.until_state("state", 0, 2, 1).await;
}

#[tokio::test]
async fn garbage_under_admin_moves_elects_and_deletes_nothing() {
    let here = Two::new().await;
    for garbage in GARBAGE {
        here.create(paths::PREFERRED_REPLICA_ELECTION, garbage).await;
        here.one.until_gone(paths::PREFERRED_REPLICA_ELECTION).await;
        // That node stays, as in Kafka, until something else is to be moved.
        here.create(paths::REASSIGN_PARTITIONS, garbage).await;
        assert_eq!(here.one.handle.list_reassignments(None).await, Some(BTreeMap::new()));
        here.one.zk.delete(paths::REASSIGN_PARTITIONS, -1).await.unwrap();
    }
    let nowhere = br#"{"version":1,"partitions":[{"topic":"whole","partition":0,"replicas":[]},
        {"topic":"whole","partition":-1,"replicas":[1]},{"topic":"","partition":0,"replicas":[1]},
        {"topic":"state","partition":0,"replicas":[-7]}]}"#;
    here.create(paths::REASSIGN_PARTITIONS, nowhere).await;
    here.one.until_gone(paths::REASSIGN_PARTITIONS).await;
    for ghost in ["no such topic", "a..b", "\u{e9}"] {
        let node = format!("/admin/delete_topics/{ghost}");
        here.create(&node, b"}{").await;
        here.one.until_gone(&node).await;
    }
    for topic in ["assignment", "state", "config", "whole"] {
        here.one.until_state(topic, 0, 2, 0).await;
    }
}

#[tokio::test]
async fn garbage_in_registrations_and_of_the_controller_stops_nobody() {
    let here = Two::new().await;
    for (at, garbage) in GARBAGE.into_iter().enumerate() {
        here.put("/brokers/ids/2", garbage).await;
        here.put("/latest_producer_id_block", garbage).await;
        here.create(&format!("/brokers/ids/{}", 90 + at), garbage).await;
        here.create(&format!("/brokers/ids/x{at}"), garbage).await;
        for notes in ["/isr_change_notification/isr_change_", "/log_dir_event_notification/log_dir_event_"] {
            here.one.zk.create(notes, Some(garbage), CreateMode::PersistentSequential).await.unwrap();
        }
    }
    // A registration that becomes unreadable does not mean a dead broker.
    here.one.create("on-two", &[&[2]]).await;
    here.one.until_state("on-two", 0, 2, 0).await;
    let registered = startup::registered_brokers(&here.one.zk).await.unwrap();
    assert_eq!(registered.iter().map(|(broker, _)| broker.id).collect::<Vec<_>>(), ids(&[1]));
    let epoch = registered[0].1;
    let ids_given = here.one.handle.allocate_producer_ids(BrokerId(1), epoch).await;
    assert_eq!(ids_given.map(|_| ()), Err(ProducerIdsError::NoBlock));
    for notes in ["/isr_change_notification", "/log_dir_event_notification"] {
        let watcher = here.one.zk.watcher();
        let read = async {
            while !here.one.zk.children_watched(notes, Some(&watcher)).await.unwrap().is_empty() {
                watcher.next().await;
            }
        };
        timeout(PATIENCE, read).await.expect(notes);
    }
    // Unreadable features do not stop the next term either.
    here.put("/feature", b"}{").await;
    here.one.zk.delete("/controller", -1).await.unwrap();
    here.one.until(|status| status.is_active && status.epoch == ControllerEpoch(2)).await;
}
