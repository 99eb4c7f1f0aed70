//! What a partition of the offsets topic becomes when it is loaded, and what is skipped.

use super::super::records::{self, Key};
use super::super::*;
use super::rig::*;
use crate::common::{LeaderEpoch, Now, TopicPartition};
use crate::protocol::Str;
use crate::record::{BatchBuilder, BatchOptions};
use bytes::Bytes;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Printed by Kafka 3.9.0's own classes.
const OFFSET_KEY: &str = "0001000267310002743100000005";
const OFFSET_VALUE: &str = "0003000000000000002a0000000700016d0000018bcfe56800";
const GROUP_KEY: &str = "000200026731";
const EMPTY_GROUP: &str = "00030008636f6e73756d657200000004ffffffff0000018bcfe5680000000000";
const GROUP: &str = "00030008636f6e73756d657200000004000572616e676500026d310000018bcfe568000000000100026d31ffff00026331000a\
                     2f3132372e302e302e31000493e00000afc80000000201020000000103";

#[test]
fn records_are_kafkas_to_the_byte() {
    let committed = CommittedOffset {
        offset: 42,
        leader_epoch: LeaderEpoch(7),
        metadata: "m".into(),
        commit_timestamp: 1_700_000_000_000,
        expire_timestamp: None,
    };
    let record = records::offset_record(&"g1".into(), &TopicPartition::new("t1", 5), &committed);
    assert_eq!((&record.key[..], &record.value.unwrap()[..]), (&hex(OFFSET_KEY)[..], &hex(OFFSET_VALUE)[..]));
    assert_eq!(records::read_offset(&hex(OFFSET_VALUE)), Ok(committed));
    let key = Key::Offset { group: "g1".into(), topic: "t1".into(), partition: 5 };
    assert_eq!(records::read_key(&hex(OFFSET_KEY)), Ok(key));
    assert_eq!(records::read_key(&hex(GROUP_KEY)), Ok(Key::Group("g1".into())));
}

#[test]
fn a_group_that_is_loaded_is_written_as_it_was_read() {
    let no_space: String = GROUP.split_whitespace().collect();
    for value in [EMPTY_GROUP, no_space.as_str()] {
        let mut loader = Loader::new(0);
        loader.take(&batch(&[(Some(&hex(GROUP_KEY)), Some(&hex(value)))]));
        let loaded = loader.finish(Now::default());
        let group = &loaded.groups[0];
        let assignments = group.members.values().map(|m| (m.id.clone(), m.assignment.clone())).collect();
        let record = records::group_record(group, &assignments);
        assert_eq!((&record.key[..], &record.value.unwrap()[..]), (&hex(GROUP_KEY)[..], &hex(value)[..]));
    }
}

/// Key and value.
type Pair<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

fn batch(records: &[Pair<'_>]) -> Bytes {
    let mut builder = BatchBuilder::new(BatchOptions::default()).unwrap();
    for (key, value) in records {
        builder.append(0, *key, *value, &[]).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn values_of_every_version_are_read() {
    // offset 1, metadata "", commit 2, and what each version adds.
    let v0 = "000000000000000000010000 0000000000000002";
    let v1 = "000100000000000000010000 0000000000000002 0000000000000003";
    let v4 = "000400000000000000010000000501 000000000000000200";
    let expected = |epoch, expire_timestamp| CommittedOffset {
        offset: 1,
        leader_epoch: LeaderEpoch(epoch),
        metadata: Str::new(),
        commit_timestamp: 2,
        expire_timestamp,
    };
    let read = |text: &str| records::read_offset(&hex(&text.replace(' ', ""))).unwrap();
    assert_eq!(read(v0), expected(-1, None));
    assert_eq!(read(v1), expected(-1, Some(3)));
    assert_eq!(read(v4), expected(5, None));
    // A member of version 0 has one timeout for both.
    let v0 = "00000001 63 00000001 0001 72 0001 6d 00000001 0001 6d 0001 63 0001 68 00001388 00000000 00000000";
    let group = records::read_group(&hex(&v0.replace(' ', ""))).unwrap();
    assert_eq!((group.members[0].rebalance_timeout, group.members[0].session_timeout), (5_000, 5_000));
}

#[test]
fn what_cannot_be_read_is_skipped_and_the_rest_is_loaded() {
    let offset = (Some(&hex(OFFSET_KEY)[..]), Some(&hex(OFFSET_VALUE)[..]));
    let (offset_key, group_key) = (hex(OFFSET_KEY), hex(GROUP_KEY));
    let damaged: [Pair<'_>; 8] = [
        (None, Some(b"no key")),
        (Some(b""), Some(b"empty key")),
        (Some(&[0, 3, 1, 2]), Some(b"a key of another coordinator")),
        (Some(&[0, 1, 0, 9, b'g']), Some(b"a key that claims more than it has")),
        (Some(&offset_key), Some(&[0, 9])),
        (Some(&offset_key), Some(&[])),
        (Some(&group_key), Some(&[0, 3, 0x7f, 0xff])),
        (
            Some(&group_key),
            Some(&[0, 3, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]),
        ),
    ];
    let log = batch(&[&[offset], &damaged[..], &[(Some(&group_key), Some(&hex(EMPTY_GROUP)))]].concat());
    let mut loader = Loader::new(0);
    assert!(loader.take(&log));
    assert_eq!(loader.next_offset(), 10);
    let found = loader.offset("g1", &TopicPartition::new("t1", 5)).map(|o| o.offset);
    assert_eq!(found, Some(42));
    assert_eq!((loader.finish(Now::default())).groups(), 1);
}

#[test]
fn a_log_that_ends_inside_of_a_batch_is_read_on_from_there() {
    let key = hex(OFFSET_KEY);
    let whole = batch(&[(Some(&key), Some(&hex(OFFSET_VALUE)))]);
    let mut loader = Loader::new(0);
    assert!(!loader.take(&whole[..whole.len() - 1]), "nothing to go on with");
    assert!(loader.take(&whole));
    assert_eq!(loader.next_offset(), 1);
}

#[test]
fn members_have_a_whole_session_after_a_move_and_too_many_rebalance() {
    let mut rig = Rig::new();
    let (a, b) = rig.stable_pair();
    rig.pass(8_000);
    rig.reload();
    rig.pass(8_000);
    assert_eq!(rig.state(), "Stable");
    assert_eq!(rig.machine.describe("g").unwrap().members.len(), 2);
    rig.pass(2_001);
    assert_eq!(rig.state(), "Empty", "{a} and {b} were not heard of");
}
