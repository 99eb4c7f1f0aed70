"""kafka-dump-log.sh over the internal topics: both tools read what the broker under test wrote, and records that nobody writes."""

import random
import struct

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from harness import admin, pair, processes

_TXN = {
    "transaction_state_log_replication_factor": 1,
    "transaction_state_log_min_isr": 1,
    "transaction_state_log_num_partitions": 1,
}


def text(s):
    return struct.pack(">h", -1) if s is None else struct.pack(">h", len(s.encode())) + s.encode()


def data(b):
    return struct.pack(">i", -1) if b is None else struct.pack(">i", len(b)) + b


def array(items):
    return struct.pack(">i", len(items)) + b"".join(items)


def subscription(version):
    fields = array([text("a"), text("b")]) + data(b"user" if version % 2 else None)
    if version >= 1:
        fields += array([text("a") + array([struct.pack(">i", p) for p in (0, 2)])])
    fields += struct.pack(">i", 7) if version >= 2 else b""
    fields += text("rack" if version == 3 else None) if version >= 3 else b""
    return struct.pack(">h", version) + fields


def group(version, protocol_type, member_data):
    assignment = struct.pack(">h", 0) + array([text("a") + array([struct.pack(">i", 1)])]) + data(None)
    member = text("member") + (text("instance") if version >= 3 else b"") + text("client") + text("/127.0.0.1")
    member += struct.pack(">i", 300_000) if version >= 1 else b""
    member += struct.pack(">i", 45_000) + data(member_data) + data(assignment)
    value = struct.pack(">h", version) + text(protocol_type) + struct.pack(">i", 3) + text("range") + text("member")
    value += struct.pack(">q", 1_700_000_000_000) if version >= 2 else b""
    return value + array([member])


def offset_records():
    """Keys and values of every version, and such that nobody can read."""
    key = struct.pack(">h", 1) + text("g\"ö") + text("topic") + struct.pack(">i", 5)
    for version in range(4):
        value = struct.pack(">hq", version, 42) + (struct.pack(">i", 6) if version >= 3 else b"") + text("said")
        value += struct.pack(">q", 1_700_000_000_000) + (struct.pack(">q", 1_800_000_000_000) if version == 1 else b"")
        yield (struct.pack(">h", version % 2) + key[2:], value)
    yield (key, None)
    group_key = struct.pack(">h", 2) + text("g")
    for version in range(4):
        yield (group_key, group(version, "consumer", subscription(version)))
    yield (group_key, group(3, "connect", b"\x00\x01whatever"))
    yield (group_key, group(3, "consumer", b"\x00"))
    yield (group_key, None)
    yield (struct.pack(">h", 99) + b"x", b"y")
    yield (b"\0", b"y")
    yield (group_key, b"\0")


def compact(items):
    """A varint of the length and one, which is below 128 here."""
    return bytes([len(items) + 1]) + b"".join(items)


def compact_text(s):
    return b"\0" if s is None else bytes([len(s.encode()) + 1]) + s.encode()


def consumer_group_records():
    """Records of KIP-848, which no broker in ZooKeeper mode writes: each kind full, bare and deleted, and damaged ones."""
    def key(kind, *names):
        return struct.pack(">h", kind) + b"".join(text(name) for name in names)

    def ints(*numbers):
        return compact([struct.pack(">i", n) for n in numbers])

    def value(fields, tags=b"\0"):
        return struct.pack(">h", 0) + fields + tags

    topic_id, other_id = bytes(range(0xF0, 0x100)), bytes(range(16))
    assigned = compact([topic_id + ints(0, 7) + b"\0", other_id + ints() + b"\0"])
    racks = compact([struct.pack(">i", 0) + compact([compact_text("r1"), compact_text("ü")]) + b"\0"])
    topic = topic_id + compact_text("topic") + struct.pack(">i", 9) + racks + b"\0"
    bare_topic = other_id + compact_text("t") + struct.pack(">i", 1) + compact([]) + b"\0"
    names = compact([compact_text("a"), compact_text("b\"")])
    member = compact_text("instance") + compact_text("rack") + compact_text("client") + compact_text("/127.0.0.1") + names
    member += compact_text("re.*") + struct.pack(">i", 45_000) + compact_text("uniform")
    bare_member = b"\0\0" + compact_text("") + compact_text("") + compact([]) + b"\0" + struct.pack(">i", -1) + b"\0"
    protocol = compact_text("range") + b"\x05\0\1\2\xff" + b"\0"
    classic = b"\1" + struct.pack(">i", 30_000) + compact([protocol]) + b"\0"
    classic = b"\1\0" + bytes([len(classic)]) + classic
    current = struct.pack(">iib", 8, 7, 2) + assigned + compact([other_id + ints(3) + b"\0"])

    yield (key(3, "g\"ö"), value(struct.pack(">i", 5)))
    yield (key(4, "g"), value(compact([topic, bare_topic])))
    yield (key(4, "g"), value(compact([])))
    yield (key(5, "g", "m"), value(member))
    yield (key(5, "g", "m"), value(member, tags=classic))
    yield (key(5, "g", "m"), value(bare_member, tags=b"\1\5\2xy"))
    yield (key(6, "g"), value(struct.pack(">i", -3)))
    yield (key(7, "g", "m"), value(assigned))
    yield (key(8, "g", "m"), value(current))
    for kind in range(3, 9):
        names = ("g", "m") if kind in (5, 7, 8) else ("g",)
        yield (key(kind, *names), None)
        yield (key(kind, *names), b"\0")
    yield (key(9, "g"), b"y")


def transaction_records():
    rng = random.Random(5)
    for n in range(40):
        topics = []
        for name in rng.sample(["a", "topic", "Topic-with.dots", "ünder_score", "x" * 40], rng.randint(0, 5)):
            partitions = rng.sample(range(100), rng.choice([1, 2, 5, 11, 12, 13, 24, 30]))
            topics.append(text(name) + array([struct.pack(">i", p) for p in partitions]))
        state = n % 6
        value = struct.pack(">hqhib", 0, n << 20, n, 60_000, state)
        value += struct.pack(">i", -1) if state == 0 else array(topics)
        value += struct.pack(">qq", 1_700_000_000_000 + n, 1_700_000_000_000)
        yield (struct.pack(">h", 0) + text(f"id-{n}"), value)
    yield (struct.pack(">h", 0) + text("gone"), None)
    yield (struct.pack(">h", 3) + text("later"), b"")


@pytest.fixture
def both(running_with_transactions, apache_tools):
    return pair.Pair([running_with_transactions], apache_tools)


@pytest.fixture
def running_with_transactions(cluster):
    return cluster.broker(1, **_TXN).start()


def test_records_of_internal_topics_are_shown_as_kafka_shows_them(running_with_transactions, both):
    broker = running_with_transactions
    for topic in ("t", "offsets", "consumer-groups", "transactions"):
        admin.create_topic(broker, topic, partitions=3 if topic == "t" else 1)
    written = {"offsets": offset_records(), "consumer-groups": consumer_group_records(), "transactions": transaction_records()}
    for topic, records in written.items():
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for key, value in records:
            producer.produce(topic, value, key, 0)
        assert producer.flush(30) == 0

    for end in ("commit_transaction", "abort_transaction"):
        producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": end})
        producer.init_transactions(30)
        producer.begin_transaction()
        for partition in range(3):
            producer.produce("t", "v", partition=partition)
        assert producer.flush(30) == 0
        getattr(producer, end)(30)
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "g", "auto.offset.reset": "earliest"})
    consumer.subscribe(["t"])
    processes.wait_until(lambda: consumer.poll(0.5), "the group has joined and read")
    consumer.commit(offsets=[TopicPartition("t", 0, 1)], asynchronous=False)
    consumer.close()
    assert broker.stop() == 143

    def shown(topic, flags):
        (log,) = broker.partition(topic, 0).glob("*.log")
        code, lines, _ = both.same(f"dump-log --files {log} {flags}")
        assert code == 0
        return "\n".join(lines) if isinstance(lines, list) else lines

    out = shown("__consumer_offsets", "--offsets-decoder")
    assert '"group":"g","topic":"t","partition":0' in out and '"assignedPartitions":[{"topic":"t"' in out
    out = shown("__transaction_state", "--transaction-log-decoder")
    assert "state=CompleteAbort" in out and "partitions=[t-" in out
    for flags in ("--offsets-decoder", "--offsets-decoder --skip-record-metadata", "--offsets-decoder --transaction-log-decoder"):
        out = shown("offsets", flags)
        assert '"ownedPartitions":[{"topic":"a","partitions":[0,2]}]' in out
        assert "Unknown record type 99 at offset 12, skipping." in out and "Could not read version from key's buffer." in out
    out = shown("consumer-groups", "--offsets-decoder")
    assert '"assignedPartitions":[{"topicId":"8PHy8_T19vf4-fr7_P3-_w","partitions":[0,7]}' in out
    assert '"supportedProtocols":[{"name":"range","metadata":"AAEC/w=="}]' in out and "Unknown record type 9 " in out
    for flags in ("--transaction-log-decoder", "--transaction-log-decoder --skip-record-metadata"):
        out = shown("transactions", flags)
        assert "transaction_metadata::transactionalId=gone payload: <DELETE>" in out and "unknown::version=3" in out
