//! Holds the room to Kafka's own bytes, to round trips of every codec and magic, and to hostile bytes.

use super::control::EndTransactionMarker;
use super::convert::down_convert;
use super::golden::{self, hex};
use super::validate::{AppendOrigin, ValidateError, ValidatedBatches, ValidationContext, check_request, validate};
use super::*;
use crate::common::ErrorCode;
use crate::common::ids::{LeaderEpoch, Millis, Offset, TopicPartition};
use crate::util::fuzzing;
use bytes::Bytes;
use proptest::prelude::*;
use std::io::Write;
use std::time::Instant;

const T: Millis = 1_700_000_000_000;

/// A record with nothing borrowed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Owned {
    offset: Offset,
    timestamp: Millis,
    sequence: i32,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn owned(offset: Offset, timestamp: Millis, key: Option<&str>, value: Option<&str>) -> Owned {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Owned {
        offset,
        timestamp,
        sequence: NO_SEQUENCE,
        key: key.map(bytes),
        value: value.map(bytes),
        headers: Vec::new(),
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Owned>, RecordError> {
    let mut out = Vec::new();
    for batch in batches(bytes) {
        let mut reader = records(&batch?)?;
        while let Some(record) = reader.next_record()? {
            out.push(Owned {
                offset: record.offset,
                timestamp: record.timestamp,
                sequence: record.sequence,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.iter().map(|(k, v)| (k.to_vec(), v.map(<[u8]>::to_vec))).collect(),
            });
        }
    }
    Ok(out)
}

fn check(records: &[u8], compression: Option<Compression>) -> Result<ValidatedBatches, ValidateError> {
    let tp = TopicPartition::new("t", 0);
    let ctx = ValidationContext {
        topic_partition: &tp,
        now: T,
        origin: AppendOrigin::Client,
        compression,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: i64::MAX,
        compacted: false,
        max_message_bytes: 1_048_588,
    };
    validate(&Bytes::copy_from_slice(records), &ctx)
}

/// `bytes` of a magic 2 batch under a good checksum.
fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut header = BatchHeader::parse(bytes).unwrap();
    header.crc = header.compute_crc(&bytes[HEADER_LEN..]);
    [&header.encode()[..], &bytes[HEADER_LEN..]].concat()
}

/// A client's batch around a compressed stream that was made by hand.
fn around(codec: Codec, stream: &[u8], records_count: i32) -> Vec<u8> {
    let header = BatchHeader {
        base_offset: 0,
        length: (HEADER_LEN - 12 + stream.len()) as i32,
        partition_leader_epoch: LeaderEpoch::NONE,
        crc: 0,
        attributes: Attributes::default().with_codec(codec),
        last_offset_delta: records_count - 1,
        base_timestamp: T,
        max_timestamp: T,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        base_sequence: NO_SEQUENCE,
        records_count,
    };
    sealed(&[&header.encode()[..], stream].concat())
}

const COMPRESSIONS: [Compression; 5] =
    [Compression::None, Compression::Gzip(-1), Compression::Snappy, Compression::Lz4(9), Compression::Zstd(3)];

mod kafka {
    use super::*;

    /// Written by Kafka 3.9.1: key-0 to key-4, with a null key, a null value, headers, and 70,000 bytes that fill more
    /// than one block of every codec.
    const WRITTEN: [(&str, &[u8]); 16] = [
        ("v0-none", include_bytes!("testdata/v0-none.bin")),
        ("v0-gzip", include_bytes!("testdata/v0-gzip.bin")),
        ("v0-snappy", include_bytes!("testdata/v0-snappy.bin")),
        ("v0-lz4", include_bytes!("testdata/v0-lz4.bin")),
        ("v1-none", include_bytes!("testdata/v1-none.bin")),
        ("v1-gzip", include_bytes!("testdata/v1-gzip.bin")),
        ("v1-snappy", include_bytes!("testdata/v1-snappy.bin")),
        ("v1-lz4", include_bytes!("testdata/v1-lz4.bin")),
        ("v2-none", include_bytes!("testdata/v2-none.bin")),
        ("v2-gzip", include_bytes!("testdata/v2-gzip.bin")),
        ("v2-snappy", include_bytes!("testdata/v2-snappy.bin")),
        ("v2-lz4", include_bytes!("testdata/v2-lz4.bin")),
        ("v2-zstd", include_bytes!("testdata/v2-zstd.bin")),
        ("v2-gzip-9", include_bytes!("testdata/v2-gzip-9.bin")),
        ("v2-lz4-17", include_bytes!("testdata/v2-lz4-17.bin")),
        ("v2-zstd-22", include_bytes!("testdata/v2-zstd-22.bin")),
    ];

    pub(super) fn all() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
        let golden = golden::ALL.into_iter().map(|(name, text)| (name, hex(text)));
        golden.chain(WRITTEN.into_iter().map(|(name, bytes)| (name, bytes.to_vec())))
    }

    fn written(magic: i8, compressed: bool) -> Vec<Owned> {
        let mut records = vec![
            owned(100, T, Some("key-0"), Some("value-0")),
            owned(101, T + 5, None, Some("value-1")),
            owned(102, T + 3, Some("key-2"), None),
            owned(103, T + 4, Some("key-3"), Some("value-3")),
        ];
        if compressed {
            let big = (0..70_000i32).map(|i| b'a'.wrapping_add((i.wrapping_mul(i) / 7 % 26) as u8)).collect();
            let value = Some(big);
            records.push(Owned { value, ..owned(104, T + 1, Some("key-4"), None) });
        }
        for (n, record) in records.iter_mut().enumerate() {
            match magic {
                0 => record.timestamp = NO_TIMESTAMP,
                1 => (),
                _ => record.sequence = 9 + n as i32,
            }
        }
        if magic == 2 {
            records[3].headers = vec![(b"h".to_vec(), Some(b"x".to_vec())), (b"n".to_vec(), None)];
        }
        records
    }

    #[test]
    fn batches_of_every_codec_and_magic_are_read() {
        for (name, bytes) in WRITTEN {
            let magic = batches(bytes).next().unwrap().unwrap().magic();
            for batch in batches(bytes) {
                batch.unwrap().check_crc().unwrap();
            }
            let compressed = !name.ends_with("none");
            assert_eq!(read(bytes).unwrap(), written(magic, compressed), "{name}");
        }
    }

    #[test]
    fn the_golden_records_are_read() {
        let two = [owned(100, T, Some("k1"), Some("v1")), owned(101, T + 5, Some("k2"), Some("v2"))];
        for text in [golden::V2_LZ4, golden::V1_LZ4, golden::V2_GZIP, golden::V2_SNAPPY, golden::V1_PLAIN] {
            assert_eq!(read(&hex(text)).unwrap(), two);
        }
        let timeless = two.clone().map(|record| Owned { timestamp: NO_TIMESTAMP, ..record });
        assert_eq!(read(&hex(golden::V0_PLAIN)).unwrap(), timeless);
        let sequenced = [Owned { sequence: 9, ..two[0].clone() }, Owned { sequence: 10, ..two[1].clone() }];
        assert_eq!(read(&hex(golden::V2_TXN)).unwrap(), sequenced);
        let headers = vec![(b"h".to_vec(), Some(b"x".to_vec()))];
        let plain = [Owned { headers, ..two[0].clone() }, Owned { value: None, ..two[1].clone() }];
        assert_eq!(read(&hex(golden::V2_PLAIN)).unwrap(), plain);
        assert_eq!(read(&hex(golden::V2_LOG_APPEND_TIME)).unwrap(), [owned(100, T + 999, Some("k1"), Some("v1"))]);
    }

    /// Compressed payloads depend on the library, so only what is around them must be Kafka's.
    #[test]
    fn the_builder_writes_what_kafka_writes() {
        let base = BatchOptions { base_offset: 100, partition_leader_epoch: LeaderEpoch(7), ..BatchOptions::default() };
        let build = |options, records: &[(Millis, &str, Option<&str>)], headers: &[builder::Header<'_>]| {
            let mut builder = BatchBuilder::new(options).unwrap();
            let mut headers = headers;
            for (timestamp, key, value) in records {
                builder.append(*timestamp, Some(key.as_bytes()), value.map(str::as_bytes), headers).unwrap();
                headers = &[];
            }
            builder.finish().unwrap()
        };
        let two = [(T, "k1", Some("v1")), (T + 5, "k2", Some("v2"))];
        let plain = [(T, "k1", Some("v1")), (T + 5, "k2", None)];
        assert_eq!(build(base, &plain, &[(b"h", Some(b"x"))]), hex(golden::V2_PLAIN));
        let producer =
            BatchOptions { producer_id: 4000, producer_epoch: 3, base_sequence: 9, transactional: true, ..base };
        assert_eq!(build(producer, &two, &[]), hex(golden::V2_TXN));
        let log_append_time = BatchOptions { log_append_time: Some(T + 999), ..base };
        assert_eq!(build(log_append_time, &two[..1], &[]), hex(golden::V2_LOG_APPEND_TIME));
        for (compression, text) in [
            (Compression::Gzip(-1), golden::V2_GZIP),
            (Compression::Snappy, golden::V2_SNAPPY),
            (Compression::Lz4(9), golden::V2_LZ4),
        ] {
            assert_eq!(build(BatchOptions { compression, ..base }, &two, &[]), hex(text), "{compression:?}");
        }
    }

    #[test]
    fn a_marker_is_kafkas_to_the_byte() {
        let marker = EndTransactionMarker { committed: true, coordinator_epoch: 12 };
        let bytes = marker.batch(100, LeaderEpoch(7), T, 4000, 3).unwrap();
        assert_eq!(bytes, hex(golden::CONTROL_COMMIT));
        let record = &read(&bytes).unwrap()[0];
        let (key, value) = (record.key.as_ref().unwrap(), record.value.as_ref().unwrap());
        assert_eq!(EndTransactionMarker::parse(key, value), Ok(Some(marker)));
        // A later version, and a type of a KRaft log.
        assert_eq!(EndTransactionMarker::parse(&[0, 9, 0, 1, 5], value), Ok(Some(marker)));
        assert_eq!(EndTransactionMarker::parse(&[0, 0, 0, 2], &[]), Ok(None));
        assert!(EndTransactionMarker::parse(&[0xff, 0xff, 0, 1], value).is_err());
        assert!(EndTransactionMarker::parse(&[0, 0, 0], value).is_err());
        assert!(EndTransactionMarker::parse(key, &value[1..]).is_err());
    }

    #[test]
    fn down_conversion_gives_the_old_forms_of_the_same_records() {
        let lz4 = down_convert(&hex(golden::V2_LZ4), 1, 0).unwrap();
        assert_eq!(lz4.bytes, hex(golden::V1_LZ4));
        assert_eq!(lz4.stats.records_converted, 2);
        assert_eq!(down_convert(&hex(golden::V2_TXN), 1, 0).unwrap().bytes, hex(golden::V1_PLAIN));
        for text in [golden::V2_TXN, golden::V1_PLAIN] {
            assert_eq!(down_convert(&hex(text), 0, 0).unwrap().bytes, hex(golden::V0_PLAIN));
        }
        let old = down_convert(&hex(golden::V1_PLAIN), 1, 101).unwrap();
        assert_eq!((old.bytes, old.stats.records_converted), (hex(golden::V1_PLAIN).into(), 0));
    }

    #[test]
    fn every_batch_of_kafka_is_down_converted() {
        for (name, bytes) in WRITTEN.into_iter().filter(|(name, _)| !name.contains("zstd")) {
            for to_magic in [0, 1] {
                let converted = down_convert(bytes, to_magic, 0).unwrap().bytes;
                let expected = read(bytes).unwrap().into_iter().map(|record| Owned {
                    timestamp: if to_magic == 0 { NO_TIMESTAMP } else { record.timestamp },
                    sequence: NO_SEQUENCE,
                    headers: Vec::new(),
                    ..record
                });
                for batch in batches(&converted) {
                    let batch = batch.unwrap();
                    batch.check_crc().unwrap();
                    assert!(batch.magic() <= to_magic);
                }
                assert_eq!(read(&converted).unwrap(), expected.collect::<Vec<_>>(), "{name} to {to_magic}");
            }
        }
    }
}

mod conversion {
    use super::*;

    #[test]
    fn plain_records_below_the_fetch_offset_are_left_out_and_packed_ones_are_not() {
        let offsets = |text: &str| -> Vec<_> {
            let converted = down_convert(&hex(text), 1, 101).unwrap().bytes;
            read(&converted).unwrap().iter().map(|record| record.offset).collect()
        };
        assert_eq!(offsets(golden::V2_TXN), [101]);
        assert_eq!(offsets(golden::V2_LZ4), [100, 101]);
    }

    #[test]
    fn control_batches_are_dropped_and_zstd_is_refused() {
        let control = down_convert(&hex(golden::CONTROL_COMMIT), 1, 0).unwrap();
        assert!(control.bytes.is_empty());
        let mut builder =
            BatchBuilder::new(BatchOptions { compression: Compression::Zstd(3), ..BatchOptions::default() }).unwrap();
        builder.append(T, None, None, &[]).unwrap();
        let error = down_convert(&builder.finish().unwrap(), 1, 0).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedCompressionType);
    }

    #[test]
    fn log_append_time_stays_log_append_time() {
        let converted = down_convert(&hex(golden::V2_LOG_APPEND_TIME), 1, 0).unwrap().bytes;
        let batch = Batch::first(&converted).unwrap().unwrap();
        assert_eq!((batch.timestamp_type(), batch.max_timestamp()), (TimestampType::LogAppendTime, T + 999));
    }
}

fn bytes_of(most: usize) -> impl Strategy<Value = Vec<u8>> {
    // Half of them compress.
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..most),
        (any::<u8>(), 0..most).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

type Drawn = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(Vec<u8>, Option<Vec<u8>>)>);

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    let header = (bytes_of(10), prop::option::of(bytes_of(30)));
    let record = (
        0..1_000_000i64,
        prop::option::of(bytes_of(40)),
        prop::option::of(bytes_of(50_000)),
        prop::collection::vec(header, 0..4),
    );
    prop::collection::vec(record, 1..8)
}

fn batch_of(records: &[Drawn], options: BatchOptions) -> Bytes {
    let mut builder = BatchBuilder::new(options).unwrap();
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
        builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers).unwrap();
    }
    builder.finish().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn what_is_built_is_read_and_accepted_in_every_codec(drawn in drawn(), base_offset in 0..i64::MAX / 2) {
        let expected: Vec<_> = drawn.iter().zip(0..).map(|((timestamp, key, value, headers), n)| Owned {
            offset: base_offset + n,
            timestamp: *timestamp,
            sequence: NO_SEQUENCE,
            key: key.clone(),
            value: value.clone(),
            headers: headers.clone(),
        }).collect();
        for compression in COMPRESSIONS {
            let built = batch_of(&drawn, BatchOptions { base_offset, compression, ..BatchOptions::default() });
            prop_assert_eq!(&read(&built).unwrap(), &expected);
            let sent = batch_of(&drawn, BatchOptions { compression, ..BatchOptions::default() });
            let validated = check(&sent, None).unwrap();
            prop_assert_eq!(validated.conversion.records_converted, 0);
            prop_assert_eq!(validated.max_timestamp, drawn.iter().map(|record| record.0).max().unwrap());
        }
    }

    #[test]
    fn old_forms_are_read_back_and_accepted(drawn in drawn(), to_magic in 0..2i8) {
        for compression in &COMPRESSIONS[..4] {
            let sent = batch_of(&drawn, BatchOptions { compression: *compression, ..BatchOptions::default() });
            let old = down_convert(&sent, to_magic, 0).unwrap().bytes;
            let again = read(&old).unwrap();
            prop_assert_eq!(again.len(), drawn.len());
            for (record, (timestamp, key, value, _)) in again.iter().zip(&drawn) {
                prop_assert_eq!((&record.key, &record.value), (key, value));
                prop_assert_eq!(record.timestamp, if to_magic == 0 { NO_TIMESTAMP } else { *timestamp });
            }
            let validated = check(&old, None).unwrap();
            prop_assert_eq!(validated.batches[0].header.records_count as usize, drawn.len());
        }
    }

    #[test]
    fn random_bytes_harm_nobody(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        exercise(&bytes);
        for codec in Codec::ALL {
            exercise(&around(codec, &bytes, 3));
        }
    }

    #[test]
    fn a_torn_stream_is_an_error_and_never_fewer_records(drawn in drawn(), at in any::<prop::sample::Index>()) {
        for compression in COMPRESSIONS {
            let whole = batch_of(&drawn, BatchOptions { compression, ..BatchOptions::default() });
            let stream = &whole[HEADER_LEN..];
            let torn = around(compression.codec(), &stream[..at.index(stream.len())], drawn.len() as i32);
            prop_assert!(check(&torn, None).is_err(), "{:?}", compression);
            prop_assert!(read(&torn).is_err(), "{:?}", compression);
        }
    }
}

/// Everything that reads strangers' bytes, over `bytes`. Whatever it answers, it must answer.
fn exercise(bytes: &[u8]) {
    let _refused = check_request(9, bytes);
    for compression in [None, Some(Compression::None), Some(Compression::Lz4(9))] {
        if let Ok(validated) = check(bytes, compression) {
            for batch in &validated.batches {
                assert!(batch.header.size() == batch.bytes.len());
                assert!(!batch.header.attributes.is_control());
            }
        }
    }
    let _unreadable = read(bytes);
    for to_magic in [0, 1] {
        let _refused = down_convert(bytes, to_magic, 0);
    }
    for batch in batches(bytes).map_while(Result::ok) {
        let _shown = format!("{batch:?} {:?} {:?}", batch.header(), legacy::first_offset(&batch));
    }
}

/// Mutates Kafka's own bytes for `ZURAU_FUZZ_SECONDS`, two by default, each mutation also under a good checksum.
#[test]
fn fuzz_record_batches() {
    let until = fuzzing::deadline();
    let corpus: Vec<_> = kafka::all().map(|(_, bytes)| bytes).collect();
    let mut seed = fuzzing::seed() | 1;
    let mut below = |n: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % n.max(1) as u64) as usize
    };
    while Instant::now() < until {
        let mut bytes = corpus[below(corpus.len())].clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(5) {
                0 => bytes[at] ^= 1 << below(8),
                1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                2 => bytes.truncate(at.max(1)),
                3 => drop(bytes.splice(at..at, std::iter::repeat_n(0xff, below(9)))),
                _ => {
                    let other = &corpus[below(corpus.len())];
                    let from = below(other.len());
                    bytes.truncate(at);
                    bytes.extend_from_slice(&other[from..]);
                }
            }
            if bytes.is_empty() {
                bytes.push(0);
            }
        }
        exercise(&bytes);
        // Past the checksum and the length, which a stranger gets right.
        if bytes.len() > HEADER_LEN && bytes[16] == 2 {
            bytes[..8].fill(0);
            let length = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            exercise(&sealed(&bytes));
        } else if bytes.len() > 40 && bytes[16] < 2 {
            let length = (bytes.len() - 12) as i32;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            let crc = crate::util::checksum::crc32(&bytes[16..]);
            bytes[12..16].copy_from_slice(&crc.to_be_bytes());
            exercise(&bytes);
        }
    }
}

mod bombs {
    use super::*;

    /// What the record of a bomb holds: more than is ever held at once.
    const VALUE_BYTES: usize = 256 << 20;

    fn pack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
        let mut packer = compression::Compressor::new(compression, 2, Vec::new()).unwrap();
        packer.write(bytes).unwrap();
        packer.finish().unwrap()
    }

    /// A record of magic 2 up to its value, and what follows the value.
    fn record_around(value_bytes: usize) -> (Vec<u8>, Vec<u8>) {
        let mut body = vec![0, 0, 0, 1];
        varint::write_i32(&mut body, value_bytes as i32);
        let mut head = Vec::new();
        varint::write_i32(&mut head, (body.len() + value_bytes + 1) as i32);
        head.extend_from_slice(&body);
        (head, vec![0])
    }

    /// A batch of one record full of zeros. Streams can be put together in every codec but lz4, where frames are opened
    /// for their blocks.
    fn bomb(compression: Compression) -> Vec<u8> {
        const PIECE: usize = 1 << 20;
        let (head, tail) = record_around(VALUE_BYTES);
        let [head, zeros, tail] = [&head, &vec![0; PIECE], &tail].map(|bytes| pack(compression, bytes));
        // In lz4, what lies between the frame's header and its end mark.
        let blocks = |packed: &[u8]| match compression.codec() {
            Codec::Lz4 => packed[7..packed.len() - 4].to_vec(),
            _ => packed.to_vec(),
        };
        let mut stream = if compression.codec() == Codec::Lz4 { head[..7].to_vec() } else { Vec::new() };
        stream.extend(blocks(&head));
        stream.extend(blocks(&zeros).repeat(VALUE_BYTES / PIECE));
        stream.extend(blocks(&tail));
        if compression.codec() == Codec::Lz4 {
            stream.extend([0; 4]);
        }
        around(compression.codec(), &stream, 1)
    }

    /// Peak resident bytes of this process.
    fn peak() -> usize {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    fn expect_bounded(name: &str, bomb: &[u8]) {
        let before = peak();
        // In place it is skimmed, and is a good batch.
        let validated = check_unlimited(bomb, None).unwrap();
        assert_eq!(validated.batches[0].bytes.len(), bomb.len());
        // A rewrite would hold the record, and says no.
        assert!(check_unlimited(bomb, Some(Compression::None)).is_err());
        assert!(read(bomb).is_err());
        let grown = peak().saturating_sub(before);
        assert!(grown < VALUE_BYTES / 2, "{name}: {grown} bytes more");
    }

    fn check_unlimited(records: &[u8], compression: Option<Compression>) -> Result<ValidatedBatches, ValidateError> {
        let tp = TopicPartition::new("t", 0);
        let ctx = ValidationContext {
            topic_partition: &tp,
            now: T,
            origin: AppendOrigin::Client,
            compression,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            compacted: false,
            max_message_bytes: i32::MAX as usize,
        };
        validate(&Bytes::copy_from_slice(records), &ctx)
    }

    #[test]
    fn a_bomb_of_any_codec_is_streamed() {
        for compression in &COMPRESSIONS[1..] {
            let bomb = bomb(*compression);
            // snappy packs no better than 1 to 21.
            assert!(bomb.len() < VALUE_BYTES / 20);
            expect_bounded(compression.codec().name(), &bomb);
        }
    }

    #[test]
    fn a_record_length_is_not_an_allocation() {
        let (head, _) = record_around(i32::MAX as usize / 2);
        for compression in COMPRESSIONS {
            let bomb = around(compression.codec(), &pack(compression, &head), 1);
            let before = peak();
            assert_eq!(check(&bomb, None).unwrap_err().code(), ErrorCode::InvalidRecord, "{compression:?}");
            assert!(read(&bomb).is_err());
            assert!(peak() - before < VALUE_BYTES / 2);
        }
    }

    #[test]
    fn a_snappy_block_that_claims_more_than_it_can_hold_is_refused_unread() {
        // 4 GiB less one, in four bytes of text.
        let raw = [&[0xff, 0xff, 0xff, 0xff, 0x0f, 0x0c][..], b"abcd"].concat();
        let framed = [&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0\x0a"[..], &raw].concat();
        for stream in [raw, framed] {
            let error = check(&around(Codec::Snappy, &stream, 1), None).unwrap_err();
            assert_eq!(error.code(), ErrorCode::UnknownServerError);
        }
    }

    #[test]
    fn a_zstd_window_beyond_kafkas_limit_is_refused() {
        let pack = |window_log| {
            let mut writer = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            writer.set_parameter(zstd::zstd_safe::CParameter::WindowLog(window_log)).unwrap();
            let (head, tail) = record_around(100_000);
            writer.write_all(&[&head[..], &vec![b'x'; 100_000], &tail].concat()).unwrap();
            around(Codec::Zstd, &writer.finish().unwrap(), 1)
        };
        assert!(check(&pack(27), None).is_ok());
        assert_eq!(check(&pack(28), None).unwrap_err().code(), ErrorCode::UnknownServerError);
    }
}

mod framing {
    use super::*;

    /// Two records, and their bytes before compression.
    fn two_records() -> (Vec<u8>, Vec<u8>) {
        let drawn: [Drawn; 2] =
            [(T, None, Some(vec![1; 300]), Vec::new()), (T, Some(vec![2; 30]), Some(vec![3; 9000]), Vec::new())];
        let whole = batch_of(&drawn, BatchOptions::default());
        (whole.to_vec(), whole[HEADER_LEN..].to_vec())
    }

    fn expect_read(codec: Codec, stream: &[u8]) {
        let (whole, _) = two_records();
        let batch = around(codec, stream, 2);
        assert_eq!(read(&batch).unwrap(), read(&whole).unwrap());
        assert!(check(&batch, None).is_ok());
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn gzip_members_are_one_stream_and_what_follows_them_is_ignored() {
        let (_, plain) = two_records();
        let (a, b) = plain.split_at(123);
        let members = [gzip(a), gzip(&[]), gzip(b)].concat();
        expect_read(Codec::Gzip, &members);
        expect_read(Codec::Gzip, &[&members[..], &[0; 40]].concat());
    }

    #[test]
    fn a_gzip_member_with_a_wrong_checksum_is_an_error() {
        let (_, plain) = two_records();
        let mut stream = gzip(&plain);
        let at = stream.len() - 8;
        stream[at] ^= 1;
        let batch = around(Codec::Gzip, &stream, 2);
        assert_eq!(check(&batch, None).unwrap_err().code(), ErrorCode::UnknownServerError);
    }

    #[test]
    fn snappy_without_a_frame_and_frames_put_together_are_read() {
        let (_, plain) = two_records();
        let raw = |bytes: &[u8]| snap::raw::Encoder::new().compress_vec(bytes).unwrap();
        expect_read(Codec::Snappy, &raw(&plain));
        let header = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
        let framed = |bytes: &[u8]| {
            let block = raw(bytes);
            [&header[..], &(block.len() as u32).to_be_bytes(), &block].concat()
        };
        let (a, b) = plain.split_at(7);
        expect_read(Codec::Snappy, &[framed(a), framed(b)].concat());
    }

    #[test]
    fn lz4_frames_of_other_writers_are_read() {
        use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
        let (_, plain) = two_records();
        let pack = |info: FrameInfo| {
            let mut writer = FrameEncoder::with_frame_info(info, Vec::new());
            writer.write_all(&plain).unwrap();
            writer.finish().unwrap()
        };
        let independent = FrameInfo::new().block_mode(BlockMode::Independent);
        expect_read(Codec::Lz4, &pack(independent.clone().block_size(BlockSize::Max4MB)));
        let checked = independent.block_checksums(true).content_checksum(true).content_size(Some(plain.len() as u64));
        let stream = pack(checked);
        expect_read(Codec::Lz4, &stream);
        let mut damaged = stream.clone();
        let at = damaged.len() - 12;
        damaged[at] ^= 1;
        assert!(check(&around(Codec::Lz4, &damaged, 2), None).is_err());
        let mut bad_header = stream;
        bad_header[14] ^= 1;
        assert!(check(&around(Codec::Lz4, &bad_header, 2), None).is_err());
        let linked = pack(FrameInfo::new().block_mode(BlockMode::Linked));
        assert!(check(&around(Codec::Lz4, &linked, 2), None).is_err());
    }

    #[test]
    fn zstd_frames_are_one_stream() {
        let (_, plain) = two_records();
        let (a, b) = plain.split_at(200);
        let frames = [zstd::encode_all(a, 1).unwrap(), zstd::encode_all(b, 19).unwrap()].concat();
        expect_read(Codec::Zstd, &frames);
    }
}
