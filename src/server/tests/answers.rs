//! The size of answers: requests that repeat entries, or claim large numbers, get no more than what exists.

use super::*;
use crate::protocol::Str;
use crate::protocol::messages::create_partitions_request::CreatePartitionsTopic;
use crate::protocol::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::messages::describe_producers_request::TopicRequest;
use crate::protocol::messages::fetch_response::FetchableTopicResponse;
use crate::protocol::messages::metadata_request::MetadataRequestTopic;
use crate::protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use crate::protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;

const TIMES: usize = 2_000;

impl Client {
    /// The bytes of the answer to a request.
    fn cost<M: Message>(&mut self, api: ApiKey, version: i16, request: &M) -> usize {
        self.send_request(api, version, request);
        let mut size = [0; 4];
        self.socket.read_exact(&mut size).expect("size");
        let mut body = vec![0; i32::from_be_bytes(size) as usize];
        self.socket.read_exact(&mut body).expect("body");
        body.len()
    }
}

fn named(name: &str) -> MetadataRequestTopic {
    MetadataRequestTopic { name: Some(name.into()), ..Default::default() }
}

#[test]
fn what_is_named_again_and_again_is_answered_once() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let metadata = |topics| MetadataRequest { topics: Some(topics), ..Default::default() };
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &metadata(vec![named("t")]));
    let id = answer.topics[0].topic_id;
    let by_id = MetadataRequestTopic { topic_id: id, name: None, ..Default::default() };
    let groups = DescribeGroupsRequest { groups: vec!["g".into(); TIMES], ..Default::default() };
    let whole = OffsetFetchRequestGroup { group_id: "g".into(), topics: None, ..Default::default() };
    let transactions = DescribeTransactionsRequest { transactional_ids: vec!["x".into(); TIMES], ..Default::default() };
    let partition = TopicRequest { name: "t".into(), partition_indexes: vec![0; TIMES], ..Default::default() };
    let broker = DescribeConfigsResource {
        resource_type: 4,
        resource_name: "7".into(),
        configuration_keys: None,
        ..Default::default()
    };
    let segments = ListOffsetsPartition { timestamp: -1, max_num_offsets: 10, ..Default::default() };
    let segments = ListOffsetsTopic { name: "t".into(), partitions: vec![segments; TIMES], ..Default::default() };
    let read = FetchPartition { partition_max_bytes: 1 << 20, ..Default::default() };
    let read = FetchTopic { topic: "t".into(), partitions: vec![read; TIMES], ..Default::default() };
    let costs = [
        client.cost(ApiKey::Metadata, 1, &metadata(vec![named("t"); TIMES])),
        client.cost(ApiKey::Metadata, 12, &metadata(vec![by_id; TIMES])),
        client.cost(ApiKey::DescribeGroups, 5, &groups),
        client.cost(ApiKey::OffsetFetch, 9, &OffsetFetchRequest { groups: vec![whole; TIMES], ..Default::default() }),
        client.cost(ApiKey::DescribeTransactions, 0, &transactions),
        client.cost(
            ApiKey::DescribeProducers,
            0,
            &DescribeProducersRequest { topics: vec![partition; 3], ..Default::default() },
        ),
        client.cost(
            ApiKey::ListOffsets,
            0,
            &ListOffsetsRequest { replica_id: -1, topics: vec![segments], ..Default::default() },
        ),
        client.cost(ApiKey::Fetch, 12, &FetchRequest { topics: vec![read], ..Default::default() }),
    ];
    assert!(costs.iter().all(|cost| *cost < 1_000), "{costs:?}");
    let once = client.cost(
        ApiKey::DescribeConfigs,
        4,
        &DescribeConfigsRequest { resources: vec![broker.clone()], ..Default::default() },
    );
    let repeated = DescribeConfigsRequest { resources: vec![broker; 50], ..Default::default() };
    assert_eq!(client.cost(ApiKey::DescribeConfigs, 4, &repeated), once);
}

#[test]
fn numbers_are_refused_before_anything_is_built_from_them() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let topic =
        CreatableTopic { name: "huge".into(), num_partitions: i32::MAX, replication_factor: 1, ..Default::default() };
    for validate_only in [true, false] {
        let request = CreateTopicsRequest {
            topics: vec![topic.clone()],
            timeout_ms: 60_000,
            validate_only,
            ..Default::default()
        };
        let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request);
        assert_eq!(answer.topics[0].error_code, ErrorCode::InvalidPartitions.wire());
    }
    let more = CreatePartitionsTopic { name: "t".into(), count: i32::MAX, assignments: None, ..Default::default() };
    let request = CreatePartitionsRequest { topics: vec![more], timeout_ms: 60_000, ..Default::default() };
    let answer: CreatePartitionsResponse = client.ask(ApiKey::CreatePartitions, 3, &request);
    assert_eq!(answer.results[0].error_code, ErrorCode::InvalidPartitions.wire());
}

#[test]
fn of_records_for_one_partition_the_last_are_appended() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let mut request = produce("t", 1, batch(&["first"]));
    request.topic_data.extend(produce("t", 1, batch(&["second", "third"])).topic_data);
    let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &request);
    assert_eq!((answer.responses.len(), produced(&answer)), (1, (ErrorCode::None, 0)));
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 12, &fetch("t", 0, 0));
    assert_eq!(answer.responses[0].partitions[0].high_watermark, 2);
}

#[test]
fn topics_are_asked_for_by_id_or_by_name() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let stranger = MetadataRequestTopic { topic_id: Uuid([7; 16]), name: None, ..Default::default() };
    let mut request = MetadataRequest {
        topics: Some(vec![named("t"), stranger]),
        include_topic_authorized_operations: true,
        ..Default::default()
    };
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &request);
    let told: Vec<_> = answer.topics.iter().map(|t| (t.error_code, t.topic_authorized_operations)).collect();
    assert_eq!(told, [(ErrorCode::UnknownTopicId.wire(), i32::MIN)], "one id makes names count for nothing");

    request.topics = Some(vec![named("nobody")]);
    request.allow_auto_topic_creation = false;
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 12, &request);
    assert_eq!(answer.topics[0].error_code, ErrorCode::UnknownTopicOrPartition.wire());
    assert_ne!(answer.topics[0].topic_authorized_operations, i32::MIN, "what does not exist may be created");

    request.topics = Some(vec![named("t"), MetadataRequestTopic { name: None, ..Default::default() }]);
    let answer: MetadataResponse = client.ask(ApiKey::Metadata, 11, &request);
    let told: Vec<_> = answer.topics.iter().map(|t| (t.error_code, t.name.as_deref())).collect();
    let refused = ErrorCode::InvalidRequest.wire();
    assert_eq!(told, [(refused, Some("t")), (refused, Some(""))]);
    assert!(answer.brokers.is_empty());
}

#[test]
fn created_topics_have_no_text_and_repeated_ones_one() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let topic = |name: &str| CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let topics = vec![topic("new"), topic("twice"), topic("twice")];
    let request = CreateTopicsRequest { topics, timeout_ms: 60_000, ..Default::default() };
    let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request);
    let told: Vec<_> = answer.topics.iter().map(|t| (t.error_code, t.error_message.as_deref())).collect();
    let twice = (ErrorCode::InvalidRequest.wire(), Some("Found multiple entries for this topic."));
    assert_eq!(told, [(0, None), twice, twice]);
    assert!(!answer.topics[0].topic_id.is_zero());

    let at_once = CreateTopicsRequest { topics: vec![topic("late")], timeout_ms: 0, ..Default::default() };
    let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &at_once);
    let late = &answer.topics[0];
    assert_eq!((late.error_code, &late.error_message), (ErrorCode::RequestTimedOut.wire(), &None));
    assert!(!late.topic_id.is_zero(), "it is created all the same");

    let more = CreatePartitionsTopic { name: "t".into(), count: 2, assignments: None, ..Default::default() };
    let request =
        CreatePartitionsRequest { topics: vec![more.clone(), more], timeout_ms: 60_000, ..Default::default() };
    let answer: CreatePartitionsResponse = client.ask(ApiKey::CreatePartitions, 3, &request);
    assert_eq!(answer.results.len(), 1);
    assert_eq!(answer.results[0].error_code, ErrorCode::InvalidRequest.wire());
}

#[test]
fn offsets_are_committed_once_for_each_partition_and_empty_topics_pass() {
    let fixture = Fixture::start();
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let partition = |partition_index| OffsetCommitRequestPartition { partition_index, ..Default::default() };
    let topic = |name: &str, partitions: &[i32]| OffsetCommitRequestTopic {
        name: name.into(),
        partitions: partitions.iter().copied().map(partition).collect(),
        ..Default::default()
    };
    let topics = vec![topic("t", &[0, 0, 5]), topic("t", &[0]), topic("t", &[]), topic("nobody", &[])];
    let request = OffsetCommitRequest { group_id: "g".into(), topics, ..Default::default() };
    let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 8, &request);
    let told: Vec<(&Str, Vec<i32>)> =
        answer.topics.iter().map(|t| (&t.name, t.partitions.iter().map(|p| p.partition_index).collect())).collect();
    assert_eq!(told, [(&"nobody".into(), vec![]), (&"t".into(), vec![5, 0])]);
}

#[test]
fn old_fetches_cannot_read_zstd_nor_what_may_not_be_converted() {
    let fixture = Fixture::start_with(&[("log.message.downconversion.enable", "false")]);
    fixture.create_topic("t");
    let mut client = fixture.connect();
    let config = |name: &str, value: &str| create_topics_request::CreatableTopicConfig {
        name: name.into(),
        value: Some(value.into()),
        ..Default::default()
    };
    let zstd = CreatableTopic {
        name: "zstd".into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: vec![config("compression.type", "zstd")],
        ..Default::default()
    };
    let request = CreateTopicsRequest { topics: vec![zstd], timeout_ms: 60_000, ..Default::default() };
    let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request);
    assert_eq!(answer.topics[0].error_code, 0);
    for (topic, version, code) in [
        ("zstd", 9, ErrorCode::UnsupportedCompressionType),
        ("zstd", 10, ErrorCode::None),
        ("t", 3, ErrorCode::UnsupportedVersion),
        ("t", 4, ErrorCode::None),
    ] {
        let answer: FetchResponse = client.ask(ApiKey::Fetch, version, &fetch(topic, 0, 0));
        let told: &FetchableTopicResponse = &answer.responses[0];
        assert_eq!(told.partitions[0].error_code, code.wire(), "{topic}, version {version}");
    }
}

#[test]
fn security_and_quotas_answer_as_those_of_a_broker_without_them() {
    let fixture = Fixture::start();
    let mut client = fixture.connect();
    let acls: DescribeAclsResponse = client.ask(ApiKey::DescribeAcls, 3, &DescribeAclsRequest::default());
    let sasl: SaslHandshakeResponse = client.ask(ApiKey::SaslHandshake, 1, &SaslHandshakeRequest::default());
    let request = DescribeDelegationTokenRequest::default();
    let tokens: DescribeDelegationTokenResponse = client.ask(ApiKey::DescribeDelegationToken, 3, &request);
    let quotas: DescribeClientQuotasResponse =
        client.ask(ApiKey::DescribeClientQuotas, 1, &DescribeClientQuotasRequest::default());
    let codes = [acls.error_code, sasl.error_code, tokens.error_code, quotas.error_code];
    let expected = [
        ErrorCode::SecurityDisabled,
        ErrorCode::IllegalSaslState,
        ErrorCode::DelegationTokenRequestNotAllowed,
        ErrorCode::None,
    ];
    assert_eq!(codes, expected.map(ErrorCode::wire));
    assert_eq!(quotas.entries, Some(Vec::new()));
}
