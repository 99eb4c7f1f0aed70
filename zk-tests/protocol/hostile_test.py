"""Strangers at the front door: what each bad input gets, and that nobody else notices.

The outcomes are Apache Kafka's, measured: this file passes with Apache in the place of the broker under test.
"""

import contextlib
import gzip
import json
import struct
import subprocess

import pytest

from harness import PEER, admin, wire
from harness.broker import Cluster
from harness.java import java
from harness.load import Load, check_stored
from harness.processes import wait_until
from harness.reader import Follower, read

PRODUCE, FETCH, LIST_OFFSETS, METADATA, API_VERSIONS = 0, 1, 2, 3, 18
OFFSET_COMMIT, OFFSET_FETCH, DESCRIBE_GROUPS, CREATE_TOPICS, DELETE_TOPICS, DELETE_RECORDS = 8, 9, 15, 19, 20, 21
DESCRIBE_CONFIGS, CREATE_PARTITIONS = 32, 37
CLOSED, SILENT = "closed", "silent"
MIB = 1 << 20


def frame(payload, length=None):
    return struct.pack(">i", len(payload) if length is None else length) + payload


def call(key, version, body=b"", client=b"\x00\x01x", tags=b""):
    """A request of any header version: `client` is the nullable client id as bytes, `tags` the flexible tail."""
    return frame(struct.pack(">hhi", key, version, 1) + client + tags + body)


def produce(batch, acks=-1, topic="t"):
    """Produce v7 of one batch to partition 0."""
    body = struct.pack(">hhii", -1, acks, 5000, 1) + wire.string(topic) + struct.pack(">iii", 1, 0, len(batch)) + batch
    return call(PRODUCE, 7, body)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def batch(records, count=1, attributes=0, magic=2, length=None, crc=None, last_delta=None):
    """A record batch of magic 2 around these bytes."""
    delta = count - 1 if last_delta is None else last_delta
    tail = struct.pack(">hiqqqhii", attributes, delta, 1000, 1000, -1, -1, -1, count) + records
    checksum = crc32c(tail) if crc is None else crc
    length = 9 + len(tail) if length is None else length
    return struct.pack(">qiibI", 0, length, -1, magic, checksum) + tail


# One record: length 7, attributes, two deltas, key of 0 bytes, value of 1 byte, no headers.
RECORD = bytes([14, 0, 0, 0, 0, 2, ord("v"), 0])
ENDLESS = b"\xff" * 12

CASES = {
    # Frames
    "frame of negative length": (frame(b"", -1), CLOSED),
    "frame of length zero": (frame(b""), CLOSED),
    "frame above socket.request.max.bytes": (frame(b"x" * 10, 101 * MIB), CLOSED),
    "half a frame": (frame(b"\x00\x03\x00", 100), SILENT),
    "half a length": (b"\x00\x00", SILENT),
    "http": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", CLOSED),
    "tls": (bytes.fromhex("160301020001000 1fc0303".replace(" ", "")) + b"\x00" * 500, CLOSED),
    # Headers
    "unknown api key": (call(999, 0), CLOSED),
    "negative api key": (call(-1, 0), CLOSED),
    "unknown version": (call(METADATA, 99), CLOSED),
    "negative version": (call(METADATA, -1), CLOSED),
    "header cut short": (frame(b"\x00\x03\x00\x01\x00"), CLOSED),
    "client id longer than the frame": (call(METADATA, 1, client=b"\x7f\xff"), CLOSED),
    "client id of length -2": (call(METADATA, 1, client=b"\xff\xfe"), CLOSED),
    "tags of a flexible header that never end": (call(METADATA, 9, tags=ENDLESS), CLOSED),
    "2^31 tags in a flexible header": (call(METADATA, 9, tags=b"\xff\xff\xff\xff\x07"), CLOSED),
    "api versions of an unknown version": (call(API_VERSIONS, 99, tags=b"\x00"), "error 35"),
    # Bodies
    "array of 2^31-1 elements": (call(METADATA, 1, struct.pack(">i", 0x7FFFFFFF)), CLOSED),
    # A nullable array is null at any negative length, and null asks for all topics.
    "array of -2 elements": (call(METADATA, 1, struct.pack(">i", -2)), "answered"),
    "compact array of 2^31-1 elements": (call(METADATA, 9, b"\xff\xff\xff\xff\x07", tags=b"\x00"), CLOSED),
    "compact array with an endless length": (call(METADATA, 9, ENDLESS, tags=b"\x00"), CLOSED),
    "nested arrays of 2^31-1 elements": (
        call(FETCH, 4, struct.pack(">iiiibi", -1, 0, 0, 0, 0, 1) + wire.string("t") + b"\x7f\xff\xff\xff"),
        CLOSED,
    ),
    "string longer than the frame": (call(METADATA, 1, struct.pack(">ih", 1, 1000) + b"abc"), CLOSED),
    "string of length -1 where none may be": (call(METADATA, 1, struct.pack(">ih", 1, -1)), CLOSED),
    "string of length -2": (call(METADATA, 1, struct.pack(">ih", 1, -2)), CLOSED),
    "body cut short": (call(LIST_OFFSETS, 1, struct.pack(">i", -1)), CLOSED),
    "records longer than the frame": (
        call(PRODUCE, 7, struct.pack(">hhii", -1, 1, 100, 1) + wire.string("t") + struct.pack(">iii", 1, 0, 1 << 30)),
        CLOSED,
    ),
    # Records
    "a sound batch": (produce(batch(RECORD)), "error 0"),
    "batch with a wrong crc": (produce(batch(RECORD, crc=1)), "error 2"),
    "batch longer than the records": (produce(batch(RECORD, length=10_000)), "error 87"),
    "batch of negative length": (produce(batch(RECORD, length=-5)), "error 2"),
    "batch of magic 3": (produce(batch(RECORD, magic=3)), "error 2"),
    "records that are no batch": (produce(b"\x00" * 61), "error 2"),
    "empty records": (produce(b""), "error 87"),
    "fewer records than counted": (produce(batch(RECORD, count=5)), "error 87"),
    "2^31-1 records counted": (produce(batch(RECORD, count=0x7FFFFFFF)), "error 87"),
    "negative count": (produce(batch(RECORD, count=-5)), "error 87"),
    "record with an endless length": (produce(batch(ENDLESS)), "error -1"),
    "record that claims 1 GiB": (produce(batch(b"\x80\x80\x80\x80\x08" + RECORD[1:])), "error 87"),
    "gzip of garbage": (produce(batch(b"garbage", attributes=1)), "error -1"),
    "snappy that claims 2 GiB": (produce(batch(b"\xff\xff\xff\xff\x07garbage", attributes=2)), "error -1"),
    "lz4 of garbage": (produce(batch(b"garbage", attributes=3)), "error -1"),
    "zstd of garbage": (produce(batch(b"garbage", attributes=4)), "error -1"),
    "unknown codec": (produce(batch(RECORD, attributes=7)), "error -1"),
    "gzip bomb of 512 MiB": (produce(batch(gzip.compress(b"\x00" * (512 * MIB)), attributes=1)), "error 87"),
    "transactional batch": (produce(batch(RECORD, attributes=0x10)), "error 53"),
    "control batch": (produce(batch(RECORD, attributes=0x20)), "error 87"),
}


def outcome(port, data, seconds=30):
    """What the broker does with these bytes on a fresh connection; it is silent when nothing came in this time."""
    with wire.connect(port, seconds) as s:
        s.sendall(data)
        try:
            answer = wire.read_frame(s)
        except TimeoutError:
            return SILENT
        except ConnectionError:
            return CLOSED
    if data[4:6] == struct.pack(">h", API_VERSIONS):
        return f"error {struct.unpack_from('>h', answer, 4)[0]}"
    if data[4:6] == struct.pack(">h", PRODUCE):
        # correlation, one topic of three characters' length field and name, one partition, its index, its error
        return f"error {struct.unpack_from('>h', answer, 4 + 4 + 3 + 4 + 4)[0]}"
    return "answered"


@pytest.fixture(scope="module")
def door(module_directory, ensemble):
    one = Cluster(module_directory, ensemble).broker(1).start()
    admin.create_topic(one, "t")
    admin.create_topic(one, "named-many-times", partitions=50)
    return one


@pytest.mark.parametrize("name", CASES)
def test_bad_input(name, door):
    data, expected = CASES[name]
    assert outcome(door.port, data, 1 if expected == SILENT else 30) == expected
    # The next one in the queue is served.
    assert wire.metadata(door.port, ["t"])[2]["t"]


class Bystander:
    """A producer and a consumer that nothing may happen to."""

    def __init__(self, broker, directory):
        self._broker = broker
        admin.create_topic(broker, "bystander")
        self._load = Load(broker, "bystander", directory, per_second=1000, request_timeout_ms=15_000, delivery_timeout_ms=30_000)
        self._follower = Follower(broker, "bystander")
        self.works_on()

    def works_on(self):
        self._load.wait_acknowledged(1000)
        wait_until(self._follower.follow, "the consumer reads on")

    def check(self):
        acks = self._load.finish()
        stored = read(self._broker, "bystander")
        check_stored(acks, stored)
        self._follower.check_against(stored)
        self._follower.close()


# Apache takes the memory that a frame announces. It would need 20 GB here.
CLAIMS, CLAIMED = (200, 100 * MIB) if PEER == "zurau" else (20, 4 * MIB)


def test_announced_frames_cost_nothing(running, directory):
    bystander = Bystander(running, directory)
    before = running.process.resident_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(CLAIMS):
            s = stack.enter_context(wire.connect(running.port))
            s.sendall(frame(b"\x00\x00\x00\x07\x00\x00\x00\x01\x00\x01", CLAIMED))
        bystander.works_on()
        bystander.works_on()
        assert running.process.resident_bytes() - before < 64 * MIB + (0 if PEER == "zurau" else CLAIMS * CLAIMED)
    bystander.works_on()
    bystander.check()


def test_half_a_frame_then_silence_ends_with_the_idle_limit(cluster):
    broker = cluster.broker(1, connections_max_idle_ms=1500).start()
    whole = call(METADATA, 1, struct.pack(">i", 0))
    for part in (whole[:2], whole[:4], whole[:-1]):
        with wire.connect(broker.port, 30) as s:
            s.sendall(part)
            with pytest.raises(ConnectionError):
                wire.read_frame(s)
    assert wire.metadata(broker.port)[0]


def long_poll(topic, max_wait_ms):
    """Fetch v4 of one byte at the end of partition 0."""
    partition = struct.pack(">iiqi", 1, 0, 1, MIB)
    return call(FETCH, 4, struct.pack(">iiiibi", -1, max_wait_ms, 1, MIB, 0, 1) + wire.string(topic) + partition)


def test_idle_long_polls_disturb_nobody(running, directory):
    admin.create_topic(running, "idle")
    assert outcome(running.port, produce(batch(RECORD), topic="idle")) == "error 0"
    bystander = Bystander(running, directory)
    before = running.process.resident_bytes()
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(wire.connect(running.port, 30)) for _ in range(500)]
        for s in waiting:
            s.sendall(long_poll("idle", 60_000))
        bystander.works_on()
        assert running.process.resident_bytes() - before < 64 * MIB
        # One record wakes them all.
        assert outcome(running.port, produce(batch(RECORD), topic="idle")) == "error 0"
        for s in waiting:
            assert RECORD in wire.read_frame(s)
    bystander.works_on()
    bystander.check()


def test_answers_that_nobody_reads_disturb_nobody(running, directory):
    """Connections that ask for much, again and again, and never read."""
    admin.create_topic(running, "big")
    load = Load(running, "big", directory, per_second=20_000, batch_size=65536, linger_ms=20)
    load.wait_acknowledged(60_000)
    load.finish()
    bystander = Bystander(running, directory)
    before = running.process.resident_bytes()
    ask = call(FETCH, 4, struct.pack(">iiiibi", -1, 100, 1, 50 * MIB, 0, 1) + wire.string("big") + struct.pack(">iiqi", 1, 0, 0, 50 * MIB))
    with contextlib.ExitStack() as stack:
        deaf = [stack.enter_context(wire.connect(running.port)) for _ in range(50)]
        for s in deaf:
            s.setblocking(False)
        for _ in range(20):
            for s in deaf:
                with contextlib.suppress(BlockingIOError):
                    s.sendall(ask)
        bystander.works_on()
        bystander.works_on()
        assert running.process.resident_bytes() - before < 128 * MIB
    bystander.works_on()
    bystander.check()


def many(item, times=70_000):
    return struct.pack(">i", times) + item * times


ONE_PARTITION = struct.pack(">i", 0)
# Requests of 200 KB and more that repeat one thing; what Apache answers once, and what it repeats.
REPEATED = {
    "metadata of one topic": call(METADATA, 1, many(wire.string("named-many-times"), 12_000)),
    "fetch of one partition": call(
        FETCH, 4, struct.pack(">iiiibi", -1, 0, 0, MIB, 0, 1) + wire.string("t") + many(struct.pack(">iqi", 0, 0, MIB), 20_000)
    ),
    "commits for one partition": call(
        OFFSET_COMMIT, 2, wire.string("g") + struct.pack(">i", -1) + wire.string("") + struct.pack(">qi", -1, 1) + wire.string("t") + many(struct.pack(">iqh", 0, 1, -1), 20_000)
    ),
    "offsets of one partition": call(OFFSET_FETCH, 1, wire.string("g") + struct.pack(">i", 1) + wire.string("t") + many(ONE_PARTITION)),
    "records of one partition to delete": call(
        DELETE_RECORDS, 0, struct.pack(">i", 1) + wire.string("t") + many(struct.pack(">iq", 0, -1), 20_000) + struct.pack(">i", 1000)
    ),
    "partitions for one topic": call(
        CREATE_PARTITIONS, 0, many(wire.string("t") + struct.pack(">ii", 5, -1), 20_000) + struct.pack(">i?", 1000, False)
    ),
}
OURS_ONLY = {
    "one group described": call(DESCRIBE_GROUPS, 0, many(wire.string("g"))),
    "configs of one broker": call(DESCRIBE_CONFIGS, 0, many(struct.pack(">b", 4) + wire.string("1") + struct.pack(">i", -1), 20_000)),
    "segments of one partition": call(
        LIST_OFFSETS, 0, struct.pack(">ii", -1, 1) + wire.string("t") + many(struct.pack(">iqi", 0, -1, 100), 20_000)
    ),
    # Apache builds the assignment, and dies of it.
    "a topic of 2^31-1 partitions": call(
        CREATE_TOPICS, 0, struct.pack(">i", 1) + wire.string("huge") + struct.pack(">ihiii", 0x7FFFFFFF, 1, 0, 0, 1000)
    ),
    "2^31-1 partitions for a topic": call(
        CREATE_PARTITIONS, 0, struct.pack(">i", 1) + wire.string("t") + struct.pack(">iii?", 0x7FFFFFFF, -1, 1000, False)
    ),
}


@pytest.mark.parametrize("name", REPEATED | (OURS_ONLY if PEER == "zurau" else {}))
def test_an_answer_costs_what_exists(name, door):
    before = door.process.resident_bytes()
    with wire.connect(door.port, 60) as s:
        s.sendall((REPEATED | OURS_ONLY)[name])
        answer = wire.read_frame(s)
    assert len(answer) < 64 * 1024
    if PEER == "zurau":
        assert door.process.resident_bytes() - before < 64 * MIB
    assert wire.metadata(door.port, ["t"])[2]["t"]


def test_a_topic_that_is_named_again_and_again_is_deleted_once(door):
    admin.create_topic(door, "gone")
    with wire.connect(door.port, 60) as s:
        s.sendall(call(DELETE_TOPICS, 0, many(wire.string("gone"), 5_000) + struct.pack(">i", 30_000)))
        answer = wire.read_frame(s)
    assert struct.unpack_from(">i", answer, 4) == (5_000,)


def read_request(stream):
    """The next of what LargestNonsense writes: its name, whether it may wait, and its frame; None at the end."""
    length = stream.read(2)
    if not length:
        return None
    name = stream.read(int.from_bytes(length, "big")).decode()
    may_wait = stream.read(1) != b"\x00"
    return name, may_wait, stream.read(int.from_bytes(stream.read(4), "big"))


def size_of_answer(port, data, seconds):
    """How many bytes come back, 0 when the connection is closed instead; None when neither comes in this time."""
    with wire.connect(port, seconds) as s:
        try:
            s.sendall(data)
            (size,) = struct.unpack(">i", wire.read_exactly(s, 4))
            left = size
            while left:
                left -= len(wire.read_exactly(s, min(left, MIB)))
        except TimeoutError:
            return None
        except ConnectionError:
            return 0
    return size


@pytest.mark.skipif(PEER == "apache", reason="the bounds are Zurau's")
def test_the_largest_nonsense_that_is_legal_is_answered_within_bounds(cluster):
    """Every API, in its oldest and latest version: each array with one small element as often as 200 KB allow, all numbers
    nothing, two, the largest and the least."""
    broker = cluster.broker(1).start()
    admin.create_topic(broker, "t", partitions=50)
    with cluster.ensemble.client(cluster.chroot) as zk:
        topic_id = json.loads(zk.get("/brokers/topics/t")[0])["topic_id"]
    command = java("kafka", "LargestNonsense", "t", topic_id, "200000")
    count, faults = 0, []
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as generator:
        while one := read_request(generator.stdout):
            name, may_wait, data = one
            before = broker.process.resident_bytes()
            # Some ask to be answered late, and Produce with acks=0 not at all.
            may_wait = may_wait or name.startswith("Produce ")
            size = size_of_answer(broker.port, frame(data), 1 if may_wait else 30)
            if size is None and not may_wait:
                faults.append(f"{name}: no answer")
            if size is not None and size > 64 * len(data) + MIB:
                faults.append(f"{name}: {size} bytes")
            if (grown := broker.process.resident_bytes() - before) > 100 * MIB:
                faults.append(f"{name}: grew by {grown}")
            assert broker.process.alive(), f"{name} ends the broker"
            assert wire.served(broker.port), f"{name} ends its service"
            count += 1
    assert generator.returncode == 0 and count > 500
    assert not faults, "\n".join(faults)
    assert "panicked" not in broker.process.output()
