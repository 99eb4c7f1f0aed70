//! Tests of the client against a ZooKeeper server: the one in `ZURAU_ZK` (host:port), else our own.

use super::client::{Client, ConnectOptions, CreateMode, Error, MultiError, Write, Written};
use super::configs::{self, ConfigChanges};
use super::data::broker::BrokerRegistration;
use super::data::cluster::encode_cluster_id;
use super::data::config::Config as Overrides;
use super::session::{Phase, Session};
use super::startup::{self, Registrar, StartupError};
use super::watch::{Change, WatchEvent};
use super::{paths, topics};
use crate::common::BrokerId;
use crate::config::endpoint::{Endpoint, ListenerName, SecurityProtocol};
use crate::util::task::Group;
use crate::zookeeper::server::{Config, Server};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) mod faults;

const PATIENCE: Duration = Duration::from_secs(20);

/// Starts our server in memory. Its ticks are short, so that sessions of seconds can be requested.
pub(crate) fn own_server(group: &Group) -> String {
    let address = "127.0.0.1:0".parse().expect("address");
    let config = Config { tick_ms: 200, max_client_cnxns: 0, ..Config::new(address) };
    Server::start(config, group).expect("start a server").local_addr().to_string()
}

struct World {
    group: Group,
    server: String,
    chroot: String,
}

impl World {
    async fn new() -> Self {
        static COUNTER: AtomicU64 = AtomicU64::new(0);
        let group = Group::new(Handle::current());
        let server = std::env::var("ZURAU_ZK").unwrap_or_else(|_| own_server(&group));
        let n = COUNTER.fetch_add(1, Ordering::Relaxed);
        let chroot = format!("/test-{}-{n}", rand::random::<u32>());
        let world = Self { group, server, chroot };
        startup::create_chroot(&world.options(), &world.group).await.expect("create the chroot");
        world
    }

    fn options(&self) -> ConnectOptions {
        self.options_through(&self.server)
    }

    fn options_through(&self, server: &str) -> ConnectOptions {
        let mut options = ConnectOptions::new(format!("{server}{}", self.chroot));
        options.session_timeout = Duration::from_secs(2);
        options
    }

    async fn client(&self) -> Client {
        Client::connect(&self.options(), &self.group).await.expect("connect")
    }
}

/// Forwards connections to a server until the test cuts them; while closed it accepts none.
struct Proxy {
    address: String,
    server: Arc<Mutex<String>>,
    /// The number of connections so far.
    taken: watch::Sender<usize>,
    connections: Arc<Mutex<Option<Vec<CancellationToken>>>>,
}

impl Proxy {
    async fn to(server: &str, group: &Group) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address").to_string();
        let connections: Arc<Mutex<Option<Vec<CancellationToken>>>> = Arc::new(Mutex::new(Some(Vec::new())));
        let server = Arc::new(Mutex::new(server.to_owned()));
        let taken = watch::Sender::new(0);
        let (shared, inner, target, count) =
            (Arc::clone(&connections), group.clone(), Arc::clone(&server), taken.clone());
        group.spawn("proxy", async move {
            while let Ok((mut near, _)) = listener.accept().await {
                count.send_modify(|count| *count += 1);
                let cut = CancellationToken::new();
                match shared.lock().as_mut() {
                    Some(open) => open.push(cut.clone()),
                    None => continue,
                }
                let server = target.lock().clone();
                let mut far = TcpStream::connect(&server).await.expect("reach the server");
                inner.spawn("proxied", async move {
                    tokio::select! {
                        () = cut.cancelled() => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                });
            }
        });
        Self { address, server, taken, connections }
    }

    /// Forwards to another server from now on.
    fn turn_to(&self, server: &str) {
        self.close();
        *self.server.lock() = server.to_owned();
        self.open();
    }

    fn cut(&self) {
        self.close();
        self.open();
    }

    fn close(&self) {
        self.connections.lock().take().into_iter().flatten().for_each(|cut| cut.cancel());
    }

    fn open(&self) {
        *self.connections.lock() = Some(Vec::new());
    }
}

fn registration(id: i32, port: u16) -> BrokerRegistration {
    let endpoint = Endpoint {
        listener: ListenerName::new("PLAINTEXT").unwrap(),
        protocol: SecurityProtocol::Plaintext,
        host: Some("127.0.0.1".into()),
        port,
    };
    BrokerRegistration {
        id: BrokerId(id),
        endpoints: vec![endpoint],
        rack: None,
        jmx_port: -1,
        features: Default::default(),
    }
}

#[tokio::test]
async fn many_nodes_are_read_as_one_by_one() {
    let world = World::new().await;
    let client = world.client().await;
    let paths: Vec<String> = (0..250).map(|n| format!("/n{n}")).collect();
    for (n, path) in paths.iter().enumerate().filter(|(n, _)| n % 3 != 0) {
        client.create(path, (n % 2 == 0).then_some(b"data"), CreateMode::Persistent).await.expect("create");
    }
    let together = client.get_many(&paths).await.expect("read");
    assert_eq!(together, client.get_all(&paths, None).await.expect("read"));
    assert_eq!(together[0], Err(Error::NoNode));
    assert_eq!(together[2].as_ref().expect("there").data.as_deref(), Some(&b"data"[..]));
    assert!(client.get_many(&[]).await.expect("read").is_empty());
}

#[tokio::test]
async fn paths_are_created_without_data_and_again_without_harm() {
    let world = World::new().await;
    let zk = world.client().await;
    for _ in 0..2 {
        startup::create_paths(&zk).await.unwrap();
    }
    for path in paths::PERSISTENT {
        assert_eq!(zk.get(path).await.unwrap().data, None, "{path}");
    }
    assert_eq!(zk.get("/").await.unwrap().data, None);
    let mut top = zk.children("/").await.unwrap();
    top.sort_unstable();
    let expected = ["admin", "brokers", "config", "consumers", "isr_change_notification", "log_dir_event_notification"];
    assert_eq!(top, expected);
}

#[tokio::test]
async fn the_first_broker_makes_up_the_cluster_id_and_all_agree() {
    let world = World::new().await;
    let (one, other) = (world.client().await, world.client().await);
    let id = startup::get_or_create_cluster_id(&one).await.unwrap();
    assert_eq!(id.len(), 22);
    assert_eq!(startup::get_or_create_cluster_id(&other).await.unwrap(), id);
    one.set(paths::CLUSTER_ID, b"{}", -1).await.unwrap();
    assert!(matches!(startup::get_or_create_cluster_id(&one).await, Err(StartupError::Malformed { .. })));
}

#[tokio::test]
async fn generated_broker_ids_start_above_the_reserved_ones() {
    let world = World::new().await;
    let zk = world.client().await;
    assert_eq!(startup::generate_broker_id(&zk, 1_000).await.unwrap(), BrokerId(1_001));
    assert_eq!(startup::generate_broker_id(&zk, 1_000).await.unwrap(), BrokerId(1_002));
}

#[tokio::test]
async fn versions_children_and_missing_nodes_answer_as_errors() {
    let world = World::new().await;
    let zk = world.client().await;
    zk.create_recursive("/a/b", Some(b"")).await.unwrap();
    assert_eq!(zk.get("/a/b").await.unwrap().data, None);
    assert_eq!(zk.create_recursive("/a/b", None).await, Err(Error::NodeExists));
    assert_eq!(zk.delete("/a", -1).await, Err(Error::NotEmpty));
    assert_eq!(zk.set("/a", b"x", 7).await, Err(Error::BadVersion));
    assert_eq!(zk.get("/c").await, Err(Error::NoNode));
    assert_eq!(zk.exists("/c").await, Ok(None));
    for no_path in ["/a/", "/a//b", "/a/../b"] {
        assert_eq!(zk.get(no_path).await, Err(Error::NoNode), "{no_path}");
        assert_eq!(zk.exists(no_path).await, Ok(None), "{no_path}");
        assert_eq!(zk.children(no_path).await, Err(Error::NoNode), "{no_path}");
        assert_eq!(zk.set(no_path, b"", -1).await, Err(Error::NoNode), "{no_path}");
    }
    assert_eq!(zk.set("/a", b"x", 0).await.unwrap().version, 1);
    assert_eq!(zk.create("/a/n-", None, CreateMode::PersistentSequential).await.unwrap(), "/a/n-0000000001");
    let big = vec![0; 2 << 20];
    assert!(matches!(zk.set("/a", &big, -1).await, Err(Error::TooLarge { .. })));
}

#[tokio::test]
async fn a_multi_does_all_or_nothing_and_names_what_failed() {
    let world = World::new().await;
    let zk = world.client().await;
    let create = |path: &str| Write::Create { path: path.into(), data: None, mode: CreateMode::Persistent };
    let set = |version| Write::Set { path: "/a".into(), data: b"1".to_vec(), version };
    let check = |version| Write::Check { path: "/a".into(), version };
    let written = zk.multi(&[create("/a"), set(0), check(1), create("/b")]).await.unwrap();
    assert!(
        matches!(&written[..], [Written::Created(a), Written::Set(s), Written::Checked, Written::Created(_)] if a == "/a" && s.version == 1)
    );
    let failed = zk.multi(&[create("/c"), check(0), set(-1)]).await;
    assert_eq!(failed, Err(MultiError::Operation { index: 1, error: Error::BadVersion }));
    let failed = zk.multi(&[check(1), create("/b")]).await;
    assert_eq!(failed, Err(MultiError::Operation { index: 1, error: Error::NodeExists }));
    assert_eq!(zk.exists("/c").await, Ok(None));
    let all = zk.multi_all(&[vec![check(1), set(-1)], vec![check(1), set(-1)]]).await.unwrap();
    assert!(all[0].is_ok());
    assert_eq!(all[1], Err(MultiError::Operation { index: 0, error: Error::BadVersion }));
}

#[tokio::test]
async fn many_reads_go_in_one_window_and_come_back_in_order() {
    let world = World::new().await;
    let zk = world.client().await;
    let nodes: Vec<String> = (0..500).map(|n| format!("/n{n}")).collect();
    for node in nodes.iter().step_by(2) {
        zk.create(node, Some(node.as_bytes()), CreateMode::Persistent).await.unwrap();
    }
    let read = zk.get_all(&nodes, None).await.unwrap();
    for (n, (node, result)) in nodes.iter().zip(read).enumerate() {
        match result {
            Ok(found) => assert_eq!(found.data.as_deref(), Some(node.as_bytes())),
            Err(error) => assert_eq!((n % 2, error), (1, Error::NoNode)),
        }
    }
}

#[tokio::test]
async fn watches_survive_a_lost_connection_and_tell_what_happened_meanwhile() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.server, &world.group).await;
    let zk = Client::connect(&world.options_through(&proxy.address), &world.group).await.unwrap();
    let other = world.client().await;
    let watcher = zk.watcher();
    zk.create("/t", None, CreateMode::Persistent).await.unwrap();
    zk.get_watched("/t", Some(&watcher)).await.unwrap();
    zk.exists_watched("/later", Some(&watcher)).await.unwrap();
    zk.children_watched("/t", Some(&watcher)).await.unwrap();
    let session = zk.session().borrow().id;
    proxy.close();
    other.create("/later", None, CreateMode::Persistent).await.unwrap();
    proxy.open();
    let event = timeout(PATIENCE, watcher.next()).await.unwrap();
    assert_eq!(event, WatchEvent { change: Change::Created, path: "/later".into() });
    other.create("/t/x", None, CreateMode::Persistent).await.unwrap();
    let event = timeout(PATIENCE, watcher.next()).await.unwrap();
    assert_eq!(event, WatchEvent { change: Change::Children, path: "/t".into() });
    other.set("/t", b"1", -1).await.unwrap();
    let event = timeout(PATIENCE, watcher.next()).await.unwrap();
    assert_eq!(event, WatchEvent { change: Change::Data, path: "/t".into() });
    assert_eq!(zk.session().borrow().id, session);
    assert_eq!(zk.session().borrow().generation, 0);
}

/// A proxy to a server that delays the server's bytes by this long, once `slow` is cancelled, which also breaks the
/// connection once.
async fn slow_way(server: String, slow: CancellationToken, takes: Duration, group: &Group) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let inner = group.clone();
    group.spawn("way", async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&server).await.expect("reach the server");
            let slow = slow.clone();
            inner.spawn("relay", async move {
                if !slow.is_cancelled() {
                    tokio::select! {
                        () = slow.cancelled() => {}
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    }
                    return;
                }
                let ((mut said, mut asks), (mut heard, mut answers)) = (far.split(), near.split());
                let answering = async {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(n @ 1..) = said.read(&mut bytes).await {
                        tokio::time::sleep(takes).await;
                        if answers.write_all(&bytes[..n]).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::select! {
                    () = answering => {}
                    _ = tokio::io::copy(&mut heard, &mut asks) => {}
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn watches_are_armed_again_however_long_all_of_them_take() {
    const WATCHES: usize = 3_000;
    let world = World::new().await;
    let slow = CancellationToken::new();
    let way = slow_way(world.server.clone(), slow.clone(), Duration::from_millis(100), &world.group).await;
    let zk = Client::connect(&world.options_through(&way), &world.group).await.unwrap();
    let watcher = zk.watcher();
    let nodes: Vec<String> = (0..WATCHES).map(|n| format!("/n-{n}")).collect();
    for node in &nodes {
        assert_eq!(zk.exists_watched(node, Some(&watcher)).await, Ok(None));
    }
    let before = *zk.session().borrow();
    slow.cancel();
    timeout(PATIENCE, zk.session().wait_for(|s| s.phase == Phase::Disconnected)).await.unwrap().unwrap();
    // Each answer arrives in time; together they take longer than the session.
    timeout(PATIENCE, zk.session().wait_for(|s| s.phase == Phase::Connected)).await.unwrap().unwrap();
    assert_eq!(*zk.session().borrow(), before);
    world.client().await.create(&nodes[WATCHES - 1], None, CreateMode::Persistent).await.unwrap();
    let event = timeout(PATIENCE, watcher.next()).await.unwrap();
    assert_eq!(event, WatchEvent { change: Change::Created, path: nodes[WATCHES - 1].clone() });
}

#[tokio::test]
async fn requests_wait_for_the_server_to_come_back() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.server, &world.group).await;
    let zk = Client::connect(&world.options_through(&proxy.address), &world.group).await.unwrap();
    for round in 0..5 {
        proxy.cut();
        zk.create(&format!("/n{round}"), None, CreateMode::Persistent)
            .await
            .or_else(|e| if e == Error::NodeExists { Ok(String::new()) } else { Err(e) })
            .unwrap();
    }
    assert_eq!(zk.children("/").await.unwrap().len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_connection_is_reset_is_sent_again() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (server, group) = (world.server.clone(), world.group.clone());
    world.group.spawn("resetting", async move {
        let mut is_first = true;
        while let Ok((mut near, _)) = listener.accept().await {
            let mut far = TcpStream::connect(&server).await.expect("reach the server");
            let resets = std::mem::replace(&mut is_first, false);
            group.spawn("reset", async move {
                if resets {
                    until_sent(b"/held", &mut near, &mut far).await;
                    socket2::SockRef::from(&near).set_linger(Some(Duration::ZERO)).expect("linger");
                } else {
                    drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                }
            });
        }
    });
    let options = ConnectOptions { max_in_flight: 100, ..world.options_through(&address) };
    let zk = Client::connect(&options, &world.group).await.unwrap();
    let session = zk.session().borrow().id;
    zk.create("/e", None, CreateMode::Ephemeral).await.unwrap();
    // On several threads, so that some notice the loss before the session's task does.
    let held: Vec<_> = (0..100)
        .map(|_| {
            let zk = zk.clone();
            world.group.spawn("asking", async move { zk.get("/held").await })
        })
        .collect();
    for asked in held {
        assert_eq!(timeout(PATIENCE, asked).await.unwrap().unwrap().unwrap(), Err(Error::NoNode));
    }
    let there = zk.get("/e").await;
    // The same session still has it: the cut of the connection did not end the session.
    assert_eq!(there.unwrap().stat.ephemeral_owner, session);
    assert_eq!(zk.session().borrow().generation, 0);
}

/// Relays in both directions until the client has sent `word`, which is not delivered.
async fn until_sent(word: &[u8], near: &mut TcpStream, far: &mut TcpStream) {
    let (mut sent, mut answered) = ([0; 4096], [0; 4096]);
    loop {
        tokio::select! {
            read = near.read(&mut sent) => {
                let read = &sent[..read.expect("the client")];
                if read.windows(word.len()).any(|at| at == word) {
                    return;
                }
                far.write_all(read).await.expect("the server");
            }
            read = far.read(&mut answered) => {
                near.write_all(&answered[..read.expect("the server")]).await.expect("the client");
            }
        }
    }
}

#[tokio::test]
async fn only_the_server_ends_a_session_and_a_new_one_follows() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.server, &world.group).await;
    let zk = Client::connect(&world.options_through(&proxy.address), &world.group).await.unwrap();
    let other = world.client().await;
    zk.create("/e", None, CreateMode::Ephemeral).await.unwrap();
    let bound = zk.bound();
    let mut session = zk.session();
    let first = session.borrow_and_update().id;
    let gone = other.watcher();
    other.exists_watched("/e", Some(&gone)).await.unwrap();
    proxy.close();
    timeout(PATIENCE, session.wait_for(|s| s.phase == Phase::Disconnected)).await.unwrap().unwrap();
    // The ensemble has expired it; the client cannot know yet.
    timeout(PATIENCE, gone.next()).await.unwrap();
    assert_eq!(session.borrow().generation, 0);
    let waiting = bound.get("/");
    proxy.open();
    assert_eq!(timeout(PATIENCE, waiting).await.unwrap(), Err(Error::SessionExpired));
    let second = *timeout(PATIENCE, session.wait_for(|s| s.phase == Phase::Connected)).await.unwrap().unwrap();
    assert_eq!(second.generation, 1);
    assert_ne!(second.id, first);
    assert_eq!(bound.get("/").await, Err(Error::SessionExpired));
    assert!(zk.get("/").await.is_ok());
}

#[tokio::test]
async fn closing_ends_the_session_at_once() {
    let world = World::new().await;
    let (zk, other) = (world.client().await, world.client().await);
    zk.create("/e", None, CreateMode::Ephemeral).await.unwrap();
    zk.close().await;
    assert_eq!(other.exists("/e").await, Ok(None));
    assert_eq!(zk.get("/").await, Err(Error::Closed));
}

#[tokio::test]
async fn connecting_to_nobody_ends_in_time() {
    let world = World::new().await;
    let mut options = ConnectOptions::new("127.0.0.1:1");
    options.connection_timeout = Duration::from_millis(300);
    assert!(matches!(Client::connect(&options, &world.group).await, Err(Error::ConnectTimeout { .. })));
}

#[tokio::test]
async fn registration_gives_the_creating_transaction_and_version_1() {
    let world = World::new().await;
    let zk = world.client().await;
    startup::create_paths(&zk).await.unwrap();
    let mut registrar = Registrar::new(zk.clone(), registration(1, 9092));
    let epoch = registrar.register(7).await.unwrap();
    let node = zk.get("/brokers/ids/1").await.unwrap();
    assert_eq!((node.stat.czxid, node.stat.version), (epoch.0, 1));
    assert_eq!(node.data, Some(registration(1, 9092).encode(7)));
    // Our own node, as after a lost answer.
    assert_eq!(registrar.register(8).await.unwrap(), epoch);
    let other = world.client().await;
    let clash = startup::check_endpoints(&other, &registration(2, 9092)).await.unwrap_err();
    let text = "Configured end points 127.0.0.1:9092 in advertised listeners are already registered by broker 1";
    assert_eq!(clash.to_string(), text);
    startup::check_endpoints(&other, &registration(1, 9092)).await.unwrap();
    // A malformed node beside it does no harm.
    zk.create("/brokers/ids/5", Some(b"{}"), CreateMode::Persistent).await.unwrap();
    zk.create("/brokers/ids/x", None, CreateMode::Persistent).await.unwrap();
    assert_eq!(startup::registered_brokers(&zk).await.unwrap(), [(registration(1, 9092), epoch)]);
}

#[tokio::test]
async fn the_registration_of_a_killed_process_is_waited_out() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.server, &world.group).await;
    let dead = Client::connect(&world.options_through(&proxy.address), &world.group).await.unwrap();
    startup::create_paths(&dead).await.unwrap();
    let old = Registrar::new(dead, registration(1, 9)).register(1).await.unwrap();
    proxy.close();
    let new = Registrar::new(world.client().await, registration(1, 9)).register(2).await.unwrap();
    assert!(new > old);
}

#[tokio::test]
async fn a_living_broker_with_our_id_is_left_alone() {
    let world = World::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let zk = world.client().await;
    startup::create_paths(&zk).await.unwrap();
    Registrar::new(zk.clone(), registration(1, port)).register(1).await.unwrap();
    let refused = Registrar::new(world.client().await, registration(1, 9)).register(2).await.unwrap_err();
    let text = refused.to_string();
    assert!(
        text.contains(&format!("PLAINTEXT://127.0.0.1:{port}")) && text.contains("PLAINTEXT://127.0.0.1:9"),
        "{text}"
    );
    assert!(zk.get("/brokers/ids/1").await.is_ok());
}

#[tokio::test]
async fn a_new_session_registers_again_with_a_new_epoch() {
    let world = World::new().await;
    let proxy = Proxy::to(&world.server, &world.group).await;
    let zk = Client::connect(&world.options_through(&proxy.address), &world.group).await.unwrap();
    startup::create_paths(&zk).await.unwrap();
    let other = world.client().await;
    let mut registrar = Registrar::new(zk.clone(), registration(1, 9));
    let old = registrar.register(1).await.unwrap();
    let gone = other.watcher();
    other.exists_watched("/brokers/ids/1", Some(&gone)).await.unwrap();
    proxy.close();
    timeout(PATIENCE, gone.next()).await.unwrap();
    proxy.open();
    timeout(PATIENCE, zk.session().wait_for(|s| s.generation == 1 && s.phase == Phase::Connected))
        .await
        .unwrap()
        .unwrap();
    assert!(registrar.register(2).await.unwrap() > old);
}

#[tokio::test]
async fn configs_are_written_under_a_controller_and_announced() {
    let world = World::new().await;
    let zk = world.client().await;
    startup::create_paths(&zk).await.unwrap();
    let config: Overrides = [("retention.ms".to_owned(), "1000".to_owned())].into();
    let refused = configs::write(&zk, "topics/t", &config).await;
    assert!(matches!(refused, Err(configs::WriteError::NoController)));
    let controller = super::data::controller::ControllerNode::encode(BrokerId(1), 1);
    zk.create(paths::CONTROLLER, Some(&controller), CreateMode::Ephemeral).await.unwrap();
    let mut changes = ConfigChanges::new(world.client().await);
    assert!(changes.scan().await.unwrap().is_empty());
    for round in 0..2 {
        configs::write(&zk, "topics/t", &config).await.unwrap();
        configs::notify(&zk, "topics/t").await.unwrap();
        timeout(PATIENCE, changes.changed()).await.unwrap();
        // A change that was not noted is returned again.
        for _ in 0..2 {
            let found = changes.scan().await.unwrap();
            assert_eq!(found.len(), 1, "round {round}");
            assert_eq!(found[0].entity_path.as_deref(), Some("topics/t"));
        }
        let found = changes.scan().await.unwrap();
        changes.note(&found[0]);
        assert!(changes.scan().await.unwrap().is_empty());
    }
    // The numbers of a restored ensemble begin below those that were seen.
    changes.forget();
    assert_eq!(changes.scan().await.unwrap().len(), 2);
    let found = changes.scan().await.unwrap();
    found.iter().for_each(|change| changes.note(change));
    assert_eq!(configs::read(&zk, "topics/t").await.unwrap(), config);
    assert_eq!(configs::names(&zk, "topics").await.unwrap(), ["t"]);
    zk.create("/config/changes/config_change_", Some(b"poison"), CreateMode::PersistentSequential).await.unwrap();
    let found = changes.scan().await.unwrap();
    assert_eq!(found.iter().map(|change| change.entity_path.as_deref()).collect::<Vec<_>>(), [None]);
    changes.purge(0).await.unwrap();
    assert_eq!(zk.children(paths::CONFIG_CHANGES).await.unwrap().len(), 3);
    changes.purge(i64::MAX).await.unwrap();
    assert!(zk.children(paths::CONFIG_CHANGES).await.unwrap().is_empty());
    configs::delete(&zk, "topics/t").await.unwrap();
    assert!(configs::read(&zk, "topics/t").await.unwrap().is_empty());
}

#[tokio::test]
async fn malformed_topics_are_left_out() {
    let world = World::new().await;
    let zk = world.client().await;
    startup::create_paths(&zk).await.unwrap();
    zk.create("/brokers/topics/good", Some(br#"{"partitions":{"0":[1]}}"#), CreateMode::Persistent).await.unwrap();
    zk.create("/brokers/topics/bad", None, CreateMode::Persistent).await.unwrap();
    let names = topics::names(&zk, None).await.unwrap();
    assert_eq!(names, ["bad", "good"]);
    let assignments = topics::assignments(&zk, &names, None).await.unwrap();
    assert_eq!(assignments.keys().map(|name| &**name).collect::<Vec<_>>(), ["good"]);
}

#[tokio::test]
async fn secure_nodes_belong_to_the_identity_and_secrets_are_not_readable() {
    let world = World::new().await;
    let mut options = world.options();
    options.set_acl = true;
    options.auth = vec![("digest".to_owned(), b"kafka:secret".to_vec())];
    let zk = Client::connect(&options, &world.group).await.unwrap();
    startup::create_paths(&zk).await.unwrap();
    let shown = async |path: &str| {
        let acls = zk.get_acl(path).await.unwrap();
        acls.into_iter().map(|a| format!("{}:{}", a.auth_id().scheme(), a.permission())).collect::<Vec<_>>()
    };
    assert_eq!(shown("/brokers/topics").await, ["digest:ALL", "world:READ"]);
    assert_eq!(shown("/config/users").await, ["digest:ALL"]);
    assert_eq!(shown("/consumers").await, ["world:ALL"]);
    let stranger = world.client().await;
    assert_eq!(stranger.get("/config/users").await, Err(Error::NoAuth));
    assert_eq!(stranger.create("/brokers/topics/t", None, CreateMode::Persistent).await, Err(Error::NoAuth));
}

/// A server with `changes` more transactions than the opening of a session, and its cluster's id.
async fn server_of(cluster: Option<&str>, changes: usize, world: &World) -> String {
    let server = own_server(&world.group);
    let chroot = ConnectOptions::new(format!("{server}{}", world.chroot));
    if let Some(id) = cluster {
        startup::create_chroot(&chroot, &world.group).await.unwrap();
        let zk = Client::connect(&chroot, &world.group).await.unwrap();
        zk.create_recursive(paths::CLUSTER_ID, Some(&encode_cluster_id(id))).await.unwrap();
        for _ in 0..changes {
            zk.set(paths::CLUSTER_ID, &encode_cluster_id(id), -1).await.unwrap();
        }
        zk.close().await;
    }
    server
}

#[tokio::test]
async fn a_session_that_a_restored_ensemble_refuses_is_given_up() {
    let world = World::new().await;
    let newer = server_of(Some("ours"), 100, &world).await;
    let older = server_of(Some("ours"), 0, &world).await;
    let proxy = Proxy::to(&newer, &world.group).await;
    let zk = Client::connect(&world.options_through(&proxy.address), &world.group).await.unwrap();
    zk.expect_cluster("ours");
    zk.get(paths::CLUSTER_ID).await.unwrap();
    let bound = zk.bound();
    proxy.turn_to(&older);
    let taken = |s: &Session| s.generation == 1 && s.phase == Phase::Connected;
    timeout(PATIENCE, zk.session().wait_for(taken)).await.unwrap().unwrap();
    assert_eq!(bound.get(paths::CLUSTER_ID).await, Err(Error::SessionExpired));
    zk.create("/after", None, CreateMode::Persistent).await.unwrap();
}

/// Servers in front of `server` that lose their majority at `away` and close every greeting with a last zxid, until one
/// arrives without: then they are back. In between the clocks of sessions stand still.
async fn servers_without_a_majority(server: String, away: CancellationToken, group: &Group) -> String {
    const GREETING: usize = 49;
    /// | length | xid -2 | ping |
    const PING: [u8; 12] = [0, 0, 0, 8, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 11];
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (back, inner) = (CancellationToken::new(), group.clone());
    group.spawn("servers", async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut greeting = [0; GREETING];
            if near.read_exact(&mut greeting).await.is_err() {
                continue;
            }
            if away.is_cancelled() && !back.is_cancelled() {
                if greeting[8..16] != [0; 8] {
                    continue;
                }
                back.cancel();
            }
            let mut far = TcpStream::connect(&server).await.expect("reach the server");
            far.write_all(&greeting).await.expect("forward the greeting");
            let (away, back) =
                (if back.is_cancelled() { CancellationToken::new() } else { away.clone() }, back.clone());
            inner.spawn("relay", async move {
                tokio::select! {
                    () = away.cancelled() => drop(near),
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => return,
                }
                while timeout(Duration::from_millis(200), back.cancelled()).await.is_err() {
                    far.write_all(&PING).await.expect("the server keeps the session");
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn a_majority_that_is_back_as_we_give_our_session_up_keeps_it() {
    let world = World::new().await;
    let server = server_of(Some("ours"), 100, &world).await;
    let away = CancellationToken::new();
    let servers = servers_without_a_majority(server, away.clone(), &world.group).await;
    let zk = Client::connect(&world.options_through(&servers), &world.group).await.unwrap();
    zk.get(paths::CLUSTER_ID).await.unwrap();
    let before = *zk.session().borrow();
    zk.create("/mine", None, CreateMode::Ephemeral).await.unwrap();
    away.cancel();
    timeout(PATIENCE, zk.session().wait_for(|s| s.phase == Phase::Disconnected)).await.unwrap().unwrap();
    timeout(PATIENCE, zk.session().wait_for(|s| s.phase == Phase::Connected)).await.unwrap().unwrap();
    assert_eq!(*zk.session().borrow(), before);
    assert_eq!(zk.exists("/mine").await.unwrap().unwrap().ephemeral_owner, before.id);
}

#[tokio::test]
async fn an_ensemble_of_another_cluster_is_not_joined() {
    let world = World::new().await;
    let ours = server_of(Some("ours"), 100, &world).await;
    let proxy = Proxy::to(&ours, &world.group).await;
    let zk = Client::connect(&world.options_through(&proxy.address), &world.group).await.unwrap();
    zk.expect_cluster("ours");
    zk.get(paths::CLUSTER_ID).await.unwrap();
    // One is empty and older than what we have seen; the other is newer.
    for foreign in [server_of(None, 0, &world).await, server_of(Some("theirs"), 1_000, &world).await] {
        proxy.turn_to(&foreign);
        let asking = zk.clone();
        world.group.spawn("astray", async move { asking.create("/astray", None, CreateMode::Persistent).await });
        let enough = *proxy.taken.borrow() + 8;
        timeout(PATIENCE, proxy.taken.subscribe().wait_for(|taken| *taken >= enough)).await.unwrap().unwrap();
        assert_ne!(zk.session().borrow().phase, Phase::Connected);
        let looking = ConnectOptions::new(format!("{foreign}{}", world.chroot));
        let other = Client::connect(&looking, &world.group).await.unwrap();
        assert_eq!(other.exists("/astray").await, Ok(None));
        other.close().await;
    }
    proxy.turn_to(&ours);
    timeout(PATIENCE, zk.session().wait_for(|s| s.phase == Phase::Connected)).await.unwrap().unwrap();
    assert!(zk.get(paths::CLUSTER_ID).await.is_ok());
}

#[tokio::test]
async fn a_greeting_that_is_never_answered_does_not_use_up_the_start() {
    let world = World::new().await;
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = mute.local_addr().unwrap();
    let mut options = world.options_through(&address.to_string());
    options.session_timeout = Duration::from_secs(20);
    options.connection_timeout = Duration::from_secs(20);
    let server = world.server.clone();
    let group = world.group.clone();
    world.group.spawn("starting", async move {
        // As a ZooKeeper that is just starting: the first connection is accepted, and lost.
        let (_first, _) = mute.accept().await.expect("accept");
        while let Ok((mut near, _)) = mute.accept().await {
            let mut far = TcpStream::connect(&server).await.expect("reach the server");
            group.spawn("relay", async move {
                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
            });
        }
    });
    Client::connect(&options, &world.group).await.unwrap();
}
