//! A whole broker in this process, on a ZooKeeper in this process, over loopback. What stock clients see is tested in
//! zk-tests; here are the requests that no client sends.

mod answers;
mod transactions;

use super::broker::BrokerServer;
use super::context::Broker;
use super::runtimes::Runtimes;
use crate::common::{ErrorCode, LeaderEpoch, Uuid};
use crate::config::{BrokerConfig, Props};
use crate::protocol::messages::create_topics_request::CreatableTopic;
use crate::protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::protocol::messages::leader_and_isr_request::{LeaderAndIsrPartitionState, LeaderAndIsrTopicState};
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::protocol::messages::stop_replica_request::{StopReplicaPartitionState, StopReplicaTopicState};
use crate::protocol::messages::*;
use crate::protocol::{ApiKey, Frame, Message, Reader, Records, RequestHeader, ResponseHeader};
use crate::record::{BatchBuilder, BatchOptions};
use crate::util::task::Group;
use crate::zookeeper;
use bytes::Bytes;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

struct Fixture {
    runtimes: Runtimes,
    server: Option<BrokerServer>,
    port: u16,
    _zookeeper: zookeeper::server::Server,
    _dir: tempfile::TempDir,
}

impl Fixture {
    fn start() -> Self {
        Self::start_with(&[])
    }

    /// With settings besides those that every test needs.
    fn start_with(more: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().expect("temporary directory");
        let mut props: Props = [
            ("broker.id", "7"),
            ("listeners", "PLAINTEXT://127.0.0.1:0"),
            ("num.io.threads", "1"),
            ("zookeeper.connect", "localhost"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
        props.extend(more.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())));
        props.insert("log.dirs".into(), dir.path().join("logs").display().to_string());
        let runtimes = Runtimes::for_config(&BrokerConfig::new(&props).expect("config")).expect("threads");
        let tasks = Group::new(runtimes.session.handle().clone());
        let zookeeper = zookeeper::server::Config::new((Ipv4Addr::LOCALHOST, 0).into());
        let zookeeper = zookeeper::server::Server::start(zookeeper, &tasks).expect("ZooKeeper");
        props.insert("zookeeper.connect".into(), format!("{}/a/chroot", zookeeper.local_addr()));
        let config = BrokerConfig::new(&props).expect("config");
        let server = runtimes
            .control
            .block_on(BrokerServer::start(config, &runtimes, CancellationToken::new()))
            .expect("broker");
        let port = server.port("PLAINTEXT").expect("bound");
        Self { runtimes, server: Some(server), port, _zookeeper: zookeeper, _dir: dir }
    }

    fn connect(&self) -> Client {
        let socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("connect");
        socket.set_read_timeout(Some(Duration::from_secs(60))).expect("timeout");
        Client { socket }
    }

    /// Creates a topic of one partition and waits until it can be written.
    fn create_topic(&self, name: &str) {
        let topic =
            CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 60_000, ..Default::default() };
        loop {
            let answer: CreateTopicsResponse = self.connect().ask(ApiKey::CreateTopics, 7, &request);
            match ErrorCode::from_wire(answer.topics[0].error_code) {
                ErrorCode::None => return,
                // The election may still be in progress.
                ErrorCode::NotController => std::thread::yield_now(),
                other => panic!("{other}"),
            }
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            self.runtimes.control.block_on(server.shut_down(CancellationToken::new()));
        }
    }
}

struct Client {
    socket: TcpStream,
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).expect("write");
    }

    fn send_request<M: Message>(&mut self, api: ApiKey, version: i16, message: &M) {
        let header = RequestHeader::new(api, version, 5, "test".into());
        self.send(&Frame::request(api, &header, message).expect("encode").bytes);
    }

    fn receive<M: Message>(&mut self, api: ApiKey, version: i16) -> M {
        let mut size = [0; 4];
        self.socket.read_exact(&mut size).expect("size");
        let mut body = vec![0; i32::from_be_bytes(size) as usize];
        self.socket.read_exact(&mut body).expect("body");
        let mut reader = Reader::new(Bytes::from(body));
        let header = ResponseHeader::decode(&mut reader, api.response_header_version(version)).expect("header");
        assert_eq!(header.correlation_id, 5);
        M::decode(&mut reader, version).expect("decode")
    }

    fn ask<Q: Message, A: Message>(&mut self, api: ApiKey, version: i16, request: &Q) -> A {
        self.send_request(api, version, request);
        self.receive(api, version)
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.socket.read(&mut [0]), Ok(0)) || self.socket.read(&mut [0]).is_err()
    }
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default()).expect("builder");
    for value in values {
        builder.append(1_000, None, Some(value.as_bytes()), &[]).expect("append");
    }
    builder.finish().expect("finish")
}

fn produce(topic: &str, acks: i16, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { records: Some(Records::Bytes(records)), ..Default::default() };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 1_000, topic_data: vec![topic], ..Default::default() }
}

fn fetch(topic: &str, offset: i64, max_wait_ms: i32) -> FetchRequest {
    let partition = FetchPartition { fetch_offset: offset, partition_max_bytes: 1 << 20, ..Default::default() };
    let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
    FetchRequest { max_wait_ms, min_bytes: 1, topics: vec![topic], ..Default::default() }
}

fn produced(answer: &ProduceResponse) -> (ErrorCode, i64) {
    let partition = &answer.responses[0].partition_responses[0];
    (ErrorCode::from_wire(partition.error_code), partition.base_offset)
}

#[test]
fn what_is_produced_is_fetched_and_found_by_offset_and_time() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    for (acks, first) in [(-1, 0), (1, 3)] {
        let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &produce("t", acks, batch(&["a", "b", "c"])));
        assert_eq!(produced(&answer), (ErrorCode::None, first));
    }
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 12, &fetch("t", 4, 0));
    let partition = &answer.responses[0].partitions[0];
    assert_eq!((partition.error_code, partition.high_watermark, partition.log_start_offset), (0, 6, 0));
    let Some(Records::Bytes(records)) = &partition.records else { panic!("no records") };
    let found: Vec<_> = crate::record::batches(records).map(|b| b.expect("batch").base_offset()).collect();
    assert_eq!(found, [3], "the batch that holds the offset");

    for (timestamp, offset) in [(-1, 6), (-2, 0), (-3, 0), (1_000, 0), (1_001, -1)] {
        let partition = ListOffsetsPartition { timestamp, ..Default::default() };
        let topic = ListOffsetsTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
        let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
        let answer: ListOffsetsResponse = client.ask(ApiKey::ListOffsets, 7, &request);
        assert_eq!(answer.topics[0].partitions[0].offset, offset, "timestamp {timestamp}");
    }
}

#[test]
fn a_parked_fetch_is_answered_by_the_next_append() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut reader = fixture.connect();
    reader.send_request(ApiKey::Fetch, 12, &fetch("t", 0, 50_000));
    let mut writer = fixture.connect();
    let answer: ProduceResponse = writer.ask(ApiKey::Produce, 9, &produce("t", 1, batch(&["late"])));
    assert_eq!(produced(&answer), (ErrorCode::None, 0));
    let answer: FetchResponse = reader.receive(ApiKey::Fetch, 12);
    assert!(answer.responses[0].partitions[0].records.as_ref().is_some_and(|records| !records.is_empty()));
}

#[test]
fn refusals_have_kafkas_codes_or_kafkas_closed_connection() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    fixture.create_topic("__consumer_offsets");
    let mut client = fixture.connect();
    let mut flipped = batch(&["x"]).to_vec();
    flipped[66] ^= 1;
    for (request, code) in [
        (produce("t", 1, flipped.clone().into()), ErrorCode::CorruptMessage),
        (produce("t", 2, batch(&["x"])), ErrorCode::InvalidRequiredAcks),
        (produce("nobody", 1, batch(&["x"])), ErrorCode::UnknownTopicOrPartition),
        (produce("__consumer_offsets", 1, batch(&["x"])), ErrorCode::InvalidTopicException),
        (produce("t", 1, Bytes::new()), ErrorCode::InvalidRecord),
    ] {
        let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &request);
        assert_eq!(produced(&answer), (code, -1));
    }
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 12, &fetch("t", 99, 50_000));
    assert_eq!(answer.responses[0].partitions[0].error_code, ErrorCode::OffsetOutOfRange.wire());

    // With acks=0 a closed connection is how the producer learns of an error.
    let mut quiet = fixture.connect();
    quiet.send_request(ApiKey::Produce, 9, &produce("t", 0, batch(&["fine"])));
    quiet.send_request(ApiKey::Produce, 9, &produce("t", 0, flipped.into()));
    assert!(quiet.is_closed());

    let unknown_api = [0, 0, 0, 8, 0, 99, 0, 0, 0, 0, 0, 1];
    let unserved_api = [0, 0, 0, 10, 0, 10, 0, 0, 0, 0, 0, 1, 0, 0];
    let bad_version = [0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0, 0];
    for bytes in [&unknown_api[..], &unserved_api, &bad_version, &[0, 0, 0, 1, 7], &[255; 4]] {
        let mut stranger = fixture.connect();
        stranger.send(bytes);
        assert!(stranger.is_closed(), "{bytes:?}");
    }
}

#[test]
fn api_versions_lists_what_is_served_and_answers_a_newer_client_in_version_0() {
    let fixture = Fixture::start();
    let mut client = fixture.connect();
    let request = ApiVersionsRequest {
        client_software_name: "test".into(),
        client_software_version: "1".into(),
        ..Default::default()
    };
    let answer: ApiVersionsResponse = client.ask(ApiKey::ApiVersions, 4, &request);
    let keys: Vec<i16> = answer.api_keys.iter().map(|api| api.api_key).collect();
    assert_eq!(keys, super::dispatch::SERVED.iter().map(|api| api.wire()).collect::<Vec<_>>());

    client.send(&[0, 0, 0, 11, 0, 18, 0, 99, 0, 0, 0, 5, 255, 255, 0]);
    let answer: ApiVersionsResponse = client.receive(ApiKey::ApiVersions, 0);
    assert_eq!(answer.error_code, ErrorCode::UnsupportedVersion.wire());
    assert_eq!(answer.api_keys.len(), 1);
}

/// The request of a controller of this epoch about partition 0 of a topic.
fn leader_and_isr(
    controller_epoch: i32,
    broker_epoch: i64,
    leader_epoch: i32,
    id: Uuid,
    replicas: &[i32],
) -> LeaderAndIsrRequest {
    let state = LeaderAndIsrPartitionState {
        controller_epoch,
        leader: replicas[0],
        leader_epoch,
        isr: replicas.to_vec(),
        partition_epoch: leader_epoch,
        replicas: replicas.to_vec(),
        ..Default::default()
    };
    let topic = LeaderAndIsrTopicState {
        topic_name: "t".into(),
        topic_id: id,
        partition_states: vec![state],
        ..Default::default()
    };
    LeaderAndIsrRequest {
        controller_id: 7,
        controller_epoch,
        broker_epoch,
        topic_states: vec![topic],
        ..Default::default()
    }
}

#[test]
fn orders_of_old_controllers_for_other_registrations_or_topics_change_nothing() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let metadata = MetadataRequest { topics: None, ..Default::default() };
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &metadata);
    let id = answer.topics[0].topic_id;
    let strange = Uuid([9; 16]);
    // The broker's own controller is in its first term, and its partition in leader epoch 0.
    for (request, whole, partition) in [
        (leader_and_isr(0, -1, 1, id, &[7]), ErrorCode::StaleControllerEpoch, None),
        (leader_and_isr(1, 0, 1, id, &[7]), ErrorCode::StaleBrokerEpoch, None),
        (leader_and_isr(1, -1, 0, id, &[7]), ErrorCode::None, Some(ErrorCode::StaleControllerEpoch)),
        (leader_and_isr(1, -1, -1, id, &[7]), ErrorCode::None, Some(ErrorCode::StaleControllerEpoch)),
        (leader_and_isr(1, -1, 1, strange, &[7]), ErrorCode::None, Some(ErrorCode::InconsistentTopicId)),
        (leader_and_isr(1, -1, 1, id, &[8, 9]), ErrorCode::None, Some(ErrorCode::UnknownTopicOrPartition)),
    ] {
        let answer: LeaderAndIsrResponse = client.ask(ApiKey::LeaderAndIsr, 7, &request);
        assert_eq!(ErrorCode::from_wire(answer.error_code), whole, "{request:?}");
        if let Some(code) = partition {
            assert_eq!(ErrorCode::from_wire(answer.topics[0].partition_errors[0].error_code), code, "{request:?}");
        }
    }
    for (controller_epoch, broker_epoch, leader_epoch, whole, partition) in [
        (0, -1, 1, ErrorCode::StaleControllerEpoch, None),
        (1, 0, 1, ErrorCode::StaleBrokerEpoch, None),
        // The partition is in epoch 1 by then.
        (1, -1, 0, ErrorCode::None, Some(ErrorCode::FencedLeaderEpoch)),
    ] {
        if partition.is_some() {
            let answer: LeaderAndIsrResponse = client.ask(ApiKey::LeaderAndIsr, 7, &leader_and_isr(1, -1, 1, id, &[7]));
            assert_eq!((answer.error_code, answer.topics[0].partition_errors[0].error_code), (0, 0));
        }
        let state = StopReplicaPartitionState {
            partition_index: 0,
            leader_epoch,
            delete_partition: true,
            ..Default::default()
        };
        let topic =
            StopReplicaTopicState { topic_name: "t".into(), partition_states: vec![state], ..Default::default() };
        let request = StopReplicaRequest {
            controller_id: 7,
            controller_epoch,
            broker_epoch,
            topic_states: vec![topic],
            ..Default::default()
        };
        let answer: StopReplicaResponse = client.ask(ApiKey::StopReplica, 4, &request);
        assert_eq!(ErrorCode::from_wire(answer.error_code), whole);
        if let Some(code) = partition {
            assert_eq!(ErrorCode::from_wire(answer.partition_errors[0].error_code), code);
        }
    }
    let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &produce("t", -1, batch(&["still here"])));
    assert_eq!(produced(&answer), (ErrorCode::None, 0));
}

/// Kafka: `DelayedProduce` changes the error of an answer and nothing else.
#[test]
fn records_that_no_replica_has_in_time_are_answered_with_where_they_lie() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let metadata = MetadataRequest { topics: None, ..Default::default() };
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &metadata);
    let answer: LeaderAndIsrResponse =
        client.ask(ApiKey::LeaderAndIsr, 7, &leader_and_isr(1, -1, 1, answer.topics[0].topic_id, &[7, 8]));
    assert_eq!(answer.topics[0].partition_errors[0].error_code, 0);
    let written: ProduceResponse = client.ask(ApiKey::Produce, 9, &produce("t", 1, batch(&["a", "b"])));
    assert_eq!(produced(&written), (ErrorCode::None, 0));
    let mut request = produce("t", -1, batch(&["c"]));
    request.timeout_ms = 10;
    let late: ProduceResponse = client.ask(ApiKey::Produce, 9, &request);
    assert_eq!(produced(&late), (ErrorCode::RequestTimedOut, 2));
    assert_eq!(late.responses[0].partition_responses[0].log_start_offset, 0);
}

/// Commits an offset of `t` as a client that is in no group, once the coordinator is there.
fn commit_an_offset(fixture: &Fixture) -> ErrorCode {
    let partition = OffsetCommitRequestPartition { committed_offset: 42, ..Default::default() };
    let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
    let request = OffsetCommitRequest {
        group_id: "g".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![topic],
        ..Default::default()
    };
    loop {
        let find = FindCoordinatorRequest { coordinator_keys: vec!["g".into()], ..Default::default() };
        let _: FindCoordinatorResponse = fixture.connect().ask(ApiKey::FindCoordinator, 4, &find);
        let answer: OffsetCommitResponse = fixture.connect().ask(ApiKey::OffsetCommit, 8, &request);
        match ErrorCode::from_wire(answer.topics[0].partitions[0].error_code) {
            ErrorCode::NotCoordinator | ErrorCode::CoordinatorLoadInProgress => std::thread::yield_now(),
            told => return told,
        }
    }
}

#[test]
fn commits_whose_log_is_flushed_at_once_are_answered_after_that() {
    for acks in ["-1", "1"] {
        let fixture = Fixture::start_with(&[
            ("offsets.topic.replication.factor", "1"),
            ("offsets.topic.num.partitions", "1"),
            ("log.flush.interval.messages", "1"),
            ("offsets.commit.required.acks", acks),
        ]);
        fixture.create_topic("t");
        for _ in 0..3 {
            assert_eq!(commit_an_offset(&fixture), ErrorCode::None, "{acks}");
        }
    }
}

/// On a partition whose second replica never catches up.
#[test]
fn offsets_commit_required_acks_says_what_a_commit_waits_for() {
    for (acks, code) in [("-1", ErrorCode::RequestTimedOut), ("1", ErrorCode::None), ("0", ErrorCode::None)] {
        let fixture = Fixture::start_with(&[
            ("offsets.topic.replication.factor", "1"),
            ("offsets.topic.num.partitions", "1"),
            ("offsets.commit.timeout.ms", "10"),
            ("offsets.commit.required.acks", acks),
        ]);
        fixture.create_topic("t");
        let mut client = fixture.connect();
        let commit = || commit_an_offset(&fixture);
        assert_eq!(commit(), ErrorCode::None, "it is alone");
        // A broker leads before its metadata says so.
        let offsets = loop {
            let all = MetadataRequest { topics: None, ..Default::default() };
            let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &all);
            let known = answer.topics.iter().find(|topic| topic.name.as_deref() == Some("__consumer_offsets"));
            match known {
                Some(topic) => break topic.topic_id,
                None => std::thread::yield_now(),
            }
        };
        let mut order = leader_and_isr(1, -1, 1, offsets, &[7, 8]);
        order.topic_states[0].topic_name = "__consumer_offsets".into();
        let answer: LeaderAndIsrResponse = client.ask(ApiKey::LeaderAndIsr, 7, &order);
        assert_eq!(answer.topics[0].partition_errors[0].error_code, 0);
        assert_eq!(commit(), code, "{acks}");
    }
}

/// Elected before there is a log to read.
const EARLY: LeaderEpoch = LeaderEpoch(5);

#[test]
fn coordinators_whose_logs_were_not_read_are_loaded_again() {
    // The election of this broker is not announced again.
    coordinators_serve_after(ErrorCode::CoordinatorLoadInProgress, |broker| {
        broker.groups.on_election(0, EARLY);
        broker.transactions.on_election(0, EARLY);
    });
}

#[test]
fn coordinators_of_topics_that_are_made_again_begin_with_the_first_epoch() {
    coordinators_serve_after(ErrorCode::NotCoordinator, |broker| {
        broker.groups.on_election(0, EARLY);
        broker.transactions.on_election(0, EARLY);
        broker.groups.on_resignation(0, None);
        broker.transactions.on_resignation(0, None);
    });
}

/// `told` is what both say before their topics are created.
fn coordinators_serve_after(told: ErrorCode, happened: impl FnOnce(&Broker)) {
    let fixture = Fixture::start_with(&[
        ("offsets.topic.replication.factor", "1"),
        ("offsets.topic.num.partitions", "1"),
        ("transaction.state.log.replication.factor", "1"),
        ("transaction.state.log.min.isr", "1"),
        ("transaction.state.log.num.partitions", "1"),
    ]);
    let broker = fixture.server.as_ref().expect("running").broker();
    happened(broker);
    let mut client = fixture.connect();
    let mut ask = |kind: i8| {
        if kind == 0 {
            let request = DescribeGroupsRequest { groups: vec!["x".into()], ..Default::default() };
            let answer: DescribeGroupsResponse = client.ask(ApiKey::DescribeGroups, 5, &request);
            return ErrorCode::from_wire(answer.groups[0].error_code);
        }
        let request = DescribeTransactionsRequest { transactional_ids: vec!["x".into()], ..Default::default() };
        let answer: DescribeTransactionsResponse = client.ask(ApiKey::DescribeTransactions, 0, &request);
        ErrorCode::from_wire(answer.transaction_states[0].error_code)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    for (kind, loaded) in [(0, ErrorCode::None), (1, ErrorCode::TransactionalIdNotFound)] {
        assert_eq!(ask(kind), told);
        // Creates the topic.
        let find = FindCoordinatorRequest { key_type: kind, coordinator_keys: vec!["x".into()], ..Default::default() };
        let mut code = told;
        while code != loaded && Instant::now() < deadline {
            let _: FindCoordinatorResponse = fixture.connect().ask(ApiKey::FindCoordinator, 4, &find);
            code = ask(kind);
        }
        assert_eq!(code, loaded);
    }
}

#[test]
fn markers_of_a_partition_that_loads_for_long_hold_up_no_one() {
    let fixture = Fixture::start();
    let broker = fixture.server.as_ref().expect("running").broker();
    // There is no log yet: it loads until there is one.
    broker.groups.on_election(0, EARLY);
    let markers = async {
        // More than its mailbox holds.
        for at in 0..3_000 {
            broker.groups.on_transaction_marker(0, at, true, at).await;
        }
    };
    let within = Duration::from_secs(30);
    let told = fixture.runtimes.control.block_on(async { tokio::time::timeout(within, markers).await });
    assert!(told.is_ok(), "a request with markers waits for a shard that loads");
}

#[test]
fn coordinators_that_load_are_waited_for_at_a_stop() {
    let fixture = Fixture::start();
    let broker = fixture.server.as_ref().expect("running").broker();
    broker.groups.on_election(0, EARLY);
    broker.transactions.on_election(0, EARLY);
    let within = Duration::from_secs(30);
    let (groups, transactions) = fixture
        .runtimes
        .control
        .block_on(async { tokio::join!(broker.groups.shut_down(within), broker.transactions.shut_down(within)) });
    groups.expect("all shards have ended");
    transactions.expect("all shards and senders of markers have ended");
}

#[test]
fn a_fetch_of_a_broker_that_is_no_replica_is_refused_and_counts_for_nothing() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    for (epoch, code) in [(-1, ErrorCode::NotLeaderOrFollower), (0, ErrorCode::UnknownLeaderEpoch)] {
        let mut request = fetch("t", 0, 0);
        request.replica_id = 9;
        request.topics[0].partitions[0].current_leader_epoch = epoch;
        let answer: FetchResponse = client.ask(ApiKey::Fetch, 12, &request);
        assert_eq!(ErrorCode::from_wire(answer.responses[0].partitions[0].error_code), code);
    }
}
