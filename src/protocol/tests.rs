//! Holds every message in every version against the crate `kafka-protocol`, which was generated from the same release, and
//! some against bytes that Apache Kafka 3.9.1's own classes wrote.

use super::messages::*;
use super::random::Random;
use super::*;
use crate::common::Uuid;
use crate::every_api;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{RequestKind, ResponseKind};
use rand::SeedableRng;
use rand::rngs::StdRng;

/// Values for each message and version.
const ROUNDS: u64 = 40;

fn encoded<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::default();
    message.encode(&mut w, version).unwrap();
    let (bytes, cuts) = w.into_parts();
    assert_eq!(cuts, []);
    bytes
}

type PeerKey = kafka_protocol::messages::ApiKey;

/// Bytes through the peer's decoder and encoder.
type Peer = fn(PeerKey, Bytes, i16) -> Result<BytesMut, Box<dyn std::error::Error>>;

fn peer_request(key: PeerKey, mut bytes: Bytes, version: i16) -> Result<BytesMut, Box<dyn std::error::Error>> {
    let message = RequestKind::decode(key, &mut bytes, version)?;
    if !bytes.is_empty() {
        return Err(format!("the peer left {} bytes", bytes.len()).into());
    }
    let mut out = BytesMut::new();
    message.encode(&mut out, version)?;
    Ok(out)
}

fn peer_response(key: PeerKey, mut bytes: Bytes, version: i16) -> Result<BytesMut, Box<dyn std::error::Error>> {
    let message = ResponseKind::decode(key, &mut bytes, version)?;
    if !bytes.is_empty() {
        return Err(format!("the peer left {} bytes", bytes.len()).into());
    }
    let mut out = BytesMut::new();
    message.encode(&mut out, version)?;
    Ok(out)
}

fn agree_on<M: Message + Random>(key: ApiKey, peer: Peer, problems: &mut Vec<String>) {
    assert_eq!(M::VERSIONS, key.versions(), "{}", M::NAME);
    assert_eq!(M::FLEXIBLE_FROM, key.flexible_from(), "{}", M::NAME);
    let peer_key = PeerKey::try_from(key.wire()).unwrap();
    for version in M::VERSIONS {
        for seed in 0..ROUNDS {
            let value = M::random(&mut StdRng::seed_from_u64(seed), M::version(version));
            let ours = encoded(&value, version);
            let mut r = Reader::new(ours.clone());
            assert_eq!(M::decode(&mut r, version).as_ref(), Ok(&value), "{} v{version} seed {seed}", M::NAME);
            assert_eq!(r.remaining(), 0, "{} v{version} seed {seed}", M::NAME);
            let problem = match peer(peer_key, ours.clone(), version) {
                Err(e) => e.to_string(),
                Ok(theirs) if theirs != ours => format!("ours {ours:?} theirs {theirs:?}"),
                Ok(_) => continue,
            };
            problems.push(format!("{} v{version} seed {seed}: {problem}", M::NAME));
            break;
        }
    }
}

#[test]
fn every_message_in_every_version_is_the_peers() {
    let mut problems = Vec::new();
    macro_rules! agree {
        ($($key:ident: $request:ident => $response:ident;)*) => {
            $(
                agree_on::<$request>(ApiKey::$key, peer_request, &mut problems);
                agree_on::<$response>(ApiKey::$key, peer_response, &mut problems);
            )*
        };
    }
    every_api!(agree);
    assert!(problems.is_empty(), "{} problems\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn every_default_is_the_peers() {
    let mut problems = Vec::new();
    macro_rules! defaults {
        ($($key:ident: $request:ident => $response:ident;)*) => {
            $(for version in ApiKey::$key.versions() {
                let mut theirs = BytesMut::new();
                let result = RequestKind::$key(kafka_protocol::messages::$request::default()).encode(&mut theirs, version);
                if result.is_err() || theirs != encoded(&$request::default(), version) {
                    problems.push(format!("{} v{version}: {result:?}", stringify!($request)));
                }
                let mut theirs = BytesMut::new();
                let result = ResponseKind::$key(kafka_protocol::messages::$response::default()).encode(&mut theirs, version);
                if result.is_err() || theirs != encoded(&$response::default(), version) {
                    problems.push(format!("{} v{version}: {result:?}", stringify!($response)));
                }
            })*
        };
    }
    every_api!(defaults);
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

fn unhex(text: &str) -> Bytes {
    corpus::unhex(text).unwrap().into()
}

/// `hex`: what Kafka's generated class wrote for this value.
fn golden<M: Message>(value: &M, version: i16, hex: &str) {
    assert_eq!(encoded(value, version), unhex(hex), "{} v{version}", M::NAME);
    assert_eq!(M::decode(&mut Reader::new(unhex(hex)), version).as_ref(), Ok(value), "{} v{version}", M::NAME);
}

const TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]);

#[test]
fn golden_headers() {
    for (key, version, header_version, hex) in [
        (ApiKey::ControlledShutdown, 0, 0, "0007000000000005"),
        (ApiKey::Produce, 8, 1, "000000080000000500056b61666b61"),
        (ApiKey::Fetch, 17, 2, "000100110000000500056b61666b6100"),
    ] {
        assert_eq!(key.request_header_version(version), header_version);
        let client_id = if header_version == 0 { Str::new() } else { "kafka".into() };
        let header = RequestHeader::new(key, version, 5, client_id);
        assert_eq!(RequestHeader::decode(&mut Reader::new(unhex(hex))).as_ref(), Ok(&header));
        let mut w = Writer::default();
        header.encode(&mut w, header_version).unwrap();
        assert_eq!(w.into_parts().0, unhex(hex));
    }
    for (header_version, hex) in [(0, "00000005"), (1, "0000000500")] {
        let header = ResponseHeader::new(5);
        assert_eq!(ResponseHeader::decode(&mut Reader::new(unhex(hex)), header_version).as_ref(), Ok(&header));
        let mut w = Writer::default();
        header.encode(&mut w, header_version).unwrap();
        assert_eq!(w.into_parts().0, unhex(hex));
    }
}

#[test]
fn golden_metadata() {
    use metadata_response::*;
    let mut response = MetadataResponse {
        throttle_time_ms: 3,
        cluster_id: Some("c1".into()),
        controller_id: 2,
        brokers: vec![MetadataResponseBroker { node_id: 2, host: "h".into(), port: 9092, ..Default::default() }],
        topics: vec![MetadataResponseTopic {
            name: None,
            topic_id: TOPIC_ID,
            is_internal: true,
            partitions: vec![MetadataResponsePartition {
                error_code: 5,
                leader_id: -1,
                leader_epoch: 4,
                replica_nodes: vec![2, 3],
                isr_nodes: vec![2],
                offline_replicas: vec![3],
                ..Default::default()
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    golden(
        &response,
        12,
        "00000003020000000202680000238400000363310000000202000000000000000000000100000000000000020102000500000000ffffffff\
         000000040300000002000000030200000002020000000300800000000000",
    );
    response.topics[0].name = Some("t".into());
    response.topics[0].topic_id = Uuid::ZERO;
    golden(
        &response,
        8,
        "00000003000000010000000200016800002384ffff00026331000000020000000100000001740100000001000500000000ffffffff000000\
         04000000020000000200000003000000010000000200000001000000038000000080000000",
    );
}

#[test]
fn golden_fetch_and_produce() {
    use fetch_response::*;
    use produce_request::*;
    let records = || Some(Records::Bytes(Bytes::from_static(&[1, 2, 3])));
    let partition = PartitionData {
        partition_index: 1,
        error_code: 6,
        high_watermark: 100,
        last_stable_offset: 99,
        log_start_offset: 7,
        aborted_transactions: None,
        records: records(),
        diverging_epoch: EpochEndOffset { epoch: 3, end_offset: 50, ..Default::default() },
        current_leader: LeaderIdAndEpoch { leader_id: 2, leader_epoch: 8, ..Default::default() },
        ..Default::default()
    };
    let fetched = FetchResponse {
        session_id: 9,
        responses: vec![FetchableTopicResponse {
            topic_id: TOPIC_ID,
            partitions: vec![partition],
            ..Default::default()
        }],
        node_endpoints: vec![NodeEndpoint { node_id: 2, host: "h".into(), port: 9092, ..Default::default() }],
        ..Default::default()
    };
    golden(
        &fetched,
        16,
        "0000000000000000000902000000000000000100000000000000020200000001000600000000000000640000000000000063000000000000\
         000700ffffffff0401020302000d0000000300000000000000320001090000000200000008000001000d02000000020268000023840000",
    );

    let partition = PartitionProduceData { index: 1, records: records(), ..Default::default() };
    let produced = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData { name: "t".into(), partition_data: vec![partition], ..Default::default() }],
        ..Default::default()
    };
    golden(&produced, 9, "00ffff00007530020274020000000104010203000000");
    golden(&produced, 3, "ffffffff0000753000000001000174000000010000000100000003010203");
}

#[test]
fn golden_controller_requests() {
    use leader_and_isr_request::*;
    use update_metadata_request::*;
    let partition = LeaderAndIsrPartitionState {
        controller_epoch: 2,
        leader: 1,
        leader_epoch: 4,
        isr: vec![1, 2],
        partition_epoch: 6,
        replicas: vec![1, 2],
        removing_replicas: vec![2],
        is_new: true,
        leader_recovery_state: 1,
        ..Default::default()
    };
    let request = LeaderAndIsrRequest {
        controller_id: 1,
        controller_epoch: 2,
        broker_epoch: 33,
        r#type: 1,
        topic_states: vec![LeaderAndIsrTopicState {
            topic_name: "t".into(),
            topic_id: TOPIC_ID,
            partition_states: vec![partition],
            ..Default::default()
        }],
        live_leaders: vec![LeaderAndIsrLiveLeader {
            broker_id: 1,
            host_name: "h".into(),
            port: 9092,
            ..Default::default()
        }],
        ..Default::default()
    };
    golden(
        &request,
        7,
        "000000010000000002000000000000002101020274000000000000000100000000000000020200000000000000020000000100000004030000\
         000100000002000000060300000001000000020102000000020101000002000000010268000023840000",
    );

    let endpoint =
        UpdateMetadataEndpoint { port: 9092, host: "h".into(), listener: "PLAINTEXT".into(), ..Default::default() };
    let request = UpdateMetadataRequest {
        controller_id: 1,
        controller_epoch: 2,
        broker_epoch: 33,
        r#type: 2,
        live_brokers: vec![UpdateMetadataBroker {
            id: 1,
            rack: Some("r".into()),
            endpoints: vec![endpoint],
            ..Default::default()
        }],
        ..Default::default()
    };
    golden(
        &request,
        8,
        "0000000100000000020000000000000021010200000001020000238402680a504c41494e5445585400000002720001000102",
    );
}

#[test]
fn golden_tagged_features_nullable_structure_and_float() {
    use api_versions_response::*;
    let versions = ApiVersionsResponse {
        api_keys: vec![ApiVersion { api_key: 18, min_version: 0, max_version: 4, ..Default::default() }],
        supported_features: vec![SupportedFeatureKey {
            name: "metadata.version".into(),
            min_version: 1,
            max_version: 20,
            ..Default::default()
        }],
        finalized_features_epoch: 7,
        ..Default::default()
    };
    golden(
        &versions,
        3,
        "000002001200000004000000000002001702116d657461646174612e76657273696f6e000100140001080000000000000007",
    );

    use consumer_group_heartbeat_response::*;
    let mut heartbeat = ConsumerGroupHeartbeatResponse {
        member_id: Some("m".into()),
        member_epoch: 1,
        heartbeat_interval_ms: 5_000,
        assignment: Some(Assignment {
            topic_partitions: vec![TopicPartitions { topic_id: TOPIC_ID, partitions: vec![1], ..Default::default() }],
            ..Default::default()
        }),
        ..Default::default()
    };
    golden(&heartbeat, 0, "00000000000000026d00000001000013880102000000000000000100000000000000020200000001000000");
    heartbeat.assignment = None;
    golden(&heartbeat, 0, "00000000000000026d0000000100001388ff00");

    use describe_client_quotas_response::*;
    // Kafka's default message is the empty text, not null.
    let quotas = DescribeClientQuotasResponse {
        error_message: Some(Str::new()),
        entries: Some(vec![EntryData {
            entity: vec![EntityData { entity_type: "user".into(), entity_name: None, ..Default::default() }],
            values: vec![ValueData { key: "k".into(), value: 1.5, ..Default::default() }],
            ..Default::default()
        }]),
        ..Default::default()
    };
    golden(&quotas, 1, "0000000000000102020575736572000002026b3ff8000000000000000000");
}

/// The shortest of some random values that are not tiny: a corpus is read by people too.
fn corpus_line<M: Message + Random>(version: i16) -> String {
    let values = (0..20).map(|seed| M::random(&mut StdRng::seed_from_u64(seed), M::version(version)));
    let mut encodings: Vec<Bytes> = values.map(|value| encoded(&value, version)).collect();
    encodings.sort_by_key(Bytes::len);
    corpus::line(M::NAME, version, &encodings[encodings.len() / 3])
}

#[test]
#[ignore = "writes the corpus anew, after the schema has changed"]
fn write_the_corpus() {
    let mut text = String::from("# One valid encoding of every message in every version: message, version, bytes.\n");
    macro_rules! write {
        ($($key:ident: $request:ident => $response:ident;)*) => {
            $(for version in ApiKey::$key.versions() {
                text += &corpus_line::<$request>(version);
                text += "\n";
                text += &corpus_line::<$response>(version);
                text += "\n";
            })*
        };
    }
    every_api!(write);
    std::fs::write("zk-tests/protocol/corpus/valid.txt", text).unwrap();
}

#[test]
fn the_corpus_holds_every_message_in_every_version() {
    let entries = corpus::entries(corpus::VALID);
    macro_rules! held {
        ($($key:ident: $request:ident => $response:ident;)*) => {
            $(for version in ApiKey::$key.versions() {
                held::<$request>(&entries, version);
                held::<$response>(&entries, version);
            })*
        };
    }
    fn held<M: Message>(entries: &[corpus::Entry], version: i16) {
        let entry = entries.iter().find(|entry| entry.message == M::NAME && entry.version == version);
        let bytes = &entry.unwrap_or_else(|| panic!("{} v{version}: run write_the_corpus", M::NAME)).bytes;
        let message = M::decode(&mut Reader::new(bytes.clone().into()), version).unwrap();
        assert_eq!(encoded(&message, version), bytes, "{} v{version}", M::NAME);
    }
    every_api!(held);
}
