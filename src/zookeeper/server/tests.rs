//! The server at its edges: bounds, four-letter words, restarts, and the client crate that the broker uses.

use super::*;
use crate::zookeeper::conformance::driver::{OverTheWire, Zoo};
use crate::zookeeper::jute::Writer;
use crate::zookeeper::model::Timing;
use crate::zookeeper::wire::{Acl, Create, CreateAnswer, EventKind, Read, Request, Response, WatchEvent, Write};
use bytes::Bytes;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;
use tokio::runtime::Runtime;
use zookeeper_client as zk;

/// A server with its runtime; stopped when dropped.
struct Running {
    runtime: Runtime,
    tasks: Group,
    address: SocketAddr,
}

fn config() -> Config {
    let mut config = Config::new("127.0.0.1:0".parse().expect("address"));
    config.tick_ms = 100;
    config
}

fn start(config: Config) -> Running {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("runtime");
    let tasks = Group::new(runtime.handle().clone());
    let address = Server::start(config, &tasks).expect("start").local_addr();
    Running { runtime, tasks, address }
}

fn start_on(dir: &Path) -> Running {
    start(Config { data_dir: Some(dir.to_owned()), ..config() })
}

impl Running {
    fn connect(&self) -> TcpStream {
        let socket = TcpStream::connect(self.address).expect("connect");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("timeout");
        socket
    }

    fn ask(&self, word: &str) -> String {
        let mut socket = self.connect();
        socket.write_all(word.as_bytes()).expect("write");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("read");
        answer
    }

    fn stop(self) {
        self.runtime.block_on(self.tasks.shut_down(Duration::from_secs(10))).expect("all tasks stop");
    }
}

fn create(path: &str, data: usize, flags: i32) -> Request {
    let data = Some(Bytes::from(vec![b'x'; data]));
    let create = Create { path: path.to_owned(), data, acl: vec![Acl::open()], flags, answer: CreateAnswer::Path };
    Request::Write(Write::Create(create))
}

fn ended(socket: &mut TcpStream) -> bool {
    match socket.read(&mut [0; 64]) {
        Ok(read) => read == 0,
        // A reset is an end, too: what we sent may not have been read. A timeout is none.
        Err(e) => e.kind() == io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn properties_are_those_of_a_zoo_cfg() {
    let text = "# a comment\ndataDir=/data\nclientPort = 2181\ntickTime=500\nmaxSessionTimeout=90000\n\
                admin.enableServer=false\n4lw.commands.whitelist=ruok, stat\n";
    let config = Config::parse(text).expect("parse");
    assert_eq!(config.client_address, "0.0.0.0:2181".parse().expect("address"));
    assert_eq!(config.timing(), Timing { tick: 500, min_timeout: 1000, max_timeout: 90_000 });
    assert!(config.allows("stat") && !config.allows("mntr"));
    assert_eq!(Config::parse("clientPort=1").err(), Some(ConfigError::Missing("dataDir")));
    assert_eq!(Config::parse("dataDir=/d").err(), Some(ConfigError::Missing("clientPort")));
    let refused = ConfigError::Value { key: "tickTime".to_owned(), value: "soon".to_owned() };
    assert_eq!(Config::parse("tickTime=soon").err(), Some(refused));
    assert_eq!(Config::parse("server.1=a:1:2").err(), Some(ConfigError::Ensemble("server.1".to_owned())));
}

#[test]
fn four_letter_words_are_answered_if_they_are_allowed() {
    let server = start(Config { four_letter_words: vec!["ruok".to_owned(), "mntr".to_owned()], ..config() });
    assert_eq!(server.ask("ruok"), "imok");
    assert!(server.ask("mntr").contains("zk_znode_count\t5\n"));
    assert_eq!(server.ask("stat"), "stat is not executed because it is not in the whitelist.\n");
    server.stop();
}

#[test]
fn an_address_gets_no_more_connections_than_allowed() {
    let server = start(Config { max_client_cnxns: 2, ..config() });
    let mut zoo = OverTheWire::new(server.address.to_string());
    zoo.open(1000);
    let second = zoo.open(1000);
    assert!(ended(&mut server.connect()));
    zoo.disconnect(second);
    // The place is free once the server has seen the end of the connection.
    let mut tries = 0;
    while server.ask_quietly("ruok").is_empty() {
        tries += 1;
        assert!(tries < 10_000, "the place never became free");
    }
    server.stop();
}

impl Running {
    /// Empty if the connection was not served.
    fn ask_quietly(&self, word: &str) -> String {
        let mut socket = self.connect();
        let mut answer = String::new();
        let asked = socket.write_all(word.as_bytes()).and_then(|()| socket.read_to_string(&mut answer));
        if asked.is_ok() { answer } else { String::new() }
    }
}

#[test]
fn frames_beyond_the_bound_end_the_connection() {
    let server = start(config());
    for claimed in [0x10_0000, i32::MAX, -1] {
        let mut socket = server.connect();
        socket.write_all(&claimed.to_be_bytes()).expect("write");
        assert!(ended(&mut socket), "{claimed}");
    }
    let mut zoo = OverTheWire::new(server.address.to_string());
    let client = zoo.open(1000);
    assert!(zoo.call(client, create("/large", 0xf_ff00, 0)).result.is_ok());
    server.stop();
}

#[test]
fn a_client_that_has_seen_more_is_not_served() {
    let server = start(config());
    let mut socket = server.connect();
    let mut w = Writer::default();
    w.frame(|w| {
        w.int(0);
        w.long(i64::MAX);
        w.int(1000);
        w.long(0);
        w.buffer(Some(&[0; 16]));
    });
    socket.write_all(&w.bytes).expect("write");
    assert!(ended(&mut socket));
    server.stop();
}

#[test]
fn a_client_that_does_not_read_harms_itself_only() {
    let server = start(config());
    let mut zoo = OverTheWire::new(server.address.to_string());
    let (watcher, lazy) = (zoo.open(2000), zoo.open(500));
    assert!(zoo.call(lazy, create("/large", 900_000, 0)).result.is_ok());
    assert!(zoo.call(lazy, create("/eph", 1, 1)).result.is_ok());
    let watch = Request::Exists { path: "/eph".to_owned(), watch: true };
    assert!(zoo.call(watcher, watch).result.is_ok());
    // Far more answers than socket buffers hold: its requests, pings among them, are not read any more.
    let large = Request::Read(Read::Data { path: "/large".to_owned(), watch: false });
    zoo.send_only(lazy, &large, 200);
    let told = zoo.wait_for_event(watcher);
    assert_eq!(told, WatchEvent { kind: EventKind::NodeDeleted, path: "/eph".to_owned() });
    server.stop();
}

#[test]
fn a_restart_keeps_sessions_and_their_ephemerals() {
    let dir = tempfile::tempdir().expect("tempdir");
    let server = start_on(dir.path());
    let mut zoo = OverTheWire::new(server.address.to_string());
    let client = zoo.open(2000);
    assert!(zoo.call(client, create("/eph", 1, 1)).result.is_ok());
    assert!(zoo.call(client, create("/stays", 1, 0)).result.is_ok());
    server.stop();

    let server = start_on(dir.path());
    zoo.moved_to(server.address.to_string());
    assert!(zoo.reconnect(client, true));
    let owned = zoo.call(client, Request::GetEphemerals { prefix: None }).result;
    assert_eq!(owned, Ok(Response::Ephemerals(vec!["/eph".to_owned()])));
    assert!(zoo.call(client, Request::Exists { path: "/stays".to_owned(), watch: false }).result.is_ok());
    server.stop();
}

#[test]
fn the_crate_that_the_broker_uses_works_on_it() {
    let server = start(config());
    let open = zk::CreateMode::Persistent.with_acls(zk::Acls::anyone_all());
    server.runtime.block_on(async {
        let connector = zk::Client::connector().with_session_timeout(Duration::from_secs(2));
        let client = connector.connect(&server.address.to_string()).await.expect("connect");
        let (born, _) = client.create("/a", b"1", &open).await.expect("create");
        let (data, stat, watcher) = client.get_and_watch_data("/a").await.expect("get");
        assert_eq!((&data[..], stat), (&b"1"[..], born));
        client.set_data("/a", b"2", Some(0)).await.expect("set");
        let event = watcher.changed().await;
        assert_eq!((event.event_type, &*event.path), (zk::EventType::NodeDataChanged, "/a"));
        assert_eq!(client.set_data("/a", b"3", Some(0)).await, Err(zk::Error::BadVersion));

        let mut writer = client.new_multi_writer();
        writer.add_check_version("/a", 1).expect("check");
        writer.add_create("/a/b", b"", &open).expect("create");
        assert_eq!(writer.commit().await.expect("commit").len(), 2);
        let mut reader = client.new_multi_reader();
        reader.add_get_data("/a").expect("get");
        reader.add_get_children("/a").expect("list");
        let read = reader.commit().await.expect("commit");
        assert!(matches!(&read[1], zk::MultiReadResult::Children { children } if *children == ["b"]));
    });
    server.stop();
}
