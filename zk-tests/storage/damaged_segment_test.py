"""A bit that flips in a closed segment while the broker is down: readers are told, and never get other bytes than were written."""

import os
import re
import shutil
import struct

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from harness import PEER, admin, wire
from harness.processes import wait_until
from harness.replicas import wait_in_sync, wait_isr

FETCH = 1
CORRUPT_MESSAGE = 2
RECORDS = 4_000


def written(broker, topic):
    """What a topic of several segments holds: texts of 1,000 characters."""
    values = [f"{n:05d}-{os.urandom(497).hex()}" for n in range(RECORDS)]
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5, "batch.num.messages": 20})
    for value in values:
        producer.produce(topic, value, partition=0)
        producer.poll(0)
    assert producer.flush(60) == 0
    return values


def flip(broker, topic):
    """Flips a bit in the value of a record in the middle of the first segment, and gives that record's number."""
    log = broker.partition(topic, 0) / "00000000000000000000.log"
    data = bytearray(log.read_bytes())
    at = data.index(b"-", len(data) // 2)
    while not (found := re.fullmatch(rb"(\d{5})-[0-9a-f]{40}", data[at - 5 : at + 41])):
        at = data.index(b"-", at + 1)
    data[at + 20] ^= 1
    log.write_bytes(data)
    return int(found[1])


def fetch(broker, topic, offset):
    """Fetch version 4 of one partition: (error, bytes)."""
    body = struct.pack(">iiiibi", -1, 100, 1, 1 << 20, 0, 1) + wire.string(topic) + struct.pack(">iiqi", 1, 0, offset, 1 << 20)
    with wire.connect(broker.port) as s:
        s.sendall(wire.request(FETCH, 4, 7, body))
        answer = wire.read_frame(s)
    # Correlation id, throttle time, one topic with its name, one partition with its number; then error, two offsets, aborted.
    at = 4 + 4 + 4 + 2 + len(topic) + 4 + 4
    (error,) = struct.unpack_from(">h", answer, at)
    (length,) = struct.unpack_from(">i", answer, at + 2 + 8 + 8 + 4)
    return error, answer[len(answer) - max(length, 0) :]


def consumed(broker, topic):
    """What librdkafka gives, which by default looks at no checksum, and the error that it ends with."""
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused", "enable.partition.eof": True})
    values = []
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        while True:
            message = consumer.poll(30)
            assert message is not None, "neither records nor an error"
            if message.error():
                return values, message.error().code()
            values.append(message.value().decode())
    finally:
        consumer.close()


@pytest.mark.skipif(PEER == "apache", reason="Apache sends what the disk gives")
def test_damage_is_told_to_every_reader_and_a_copy_is_fetched_again(cluster, apache_tools):
    brokers = [cluster.broker(n).start() for n in (1, 2)]
    whole, damaged = brokers
    admin.create_topic(whole, "t", assignment=[[1, 2]], segment_bytes=1 << 20)
    values = written(whole, "t")
    wait_in_sync(cluster, "t", 2)
    damaged.stop()
    bad = flip(damaged, "t")
    damaged.start()
    wait_in_sync(cluster, "t", 2)
    whole.stop()

    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_isr(zk, "t", [0], [2])
        admin.wait_led(damaged, "t", 1)
        got, error = consumed(damaged, "t")
        # Everything before the batch that is damaged, and nothing of it.
        assert error == KafkaError.INVALID_MSG
        assert got == values[: len(got)] and bad - 20 <= len(got) <= bad
        assert fetch(damaged, "t", bad) == (CORRUPT_MESSAGE, b"")
        error, behind = fetch(damaged, "t", bad + 20)
        assert error == 0 and values[bad + 25].encode() in behind

        run = apache_tools.run(
            "console-consumer", "--bootstrap-server", damaged.bootstrap, "--topic", "t", "--partition", 0, "--offset", "earliest",
            "--consumer-property", "check.crcs=false", "--timeout-ms", 20_000,
        )  # fmt: skip
        assert [line for line in run.stdout.splitlines() if line[5:6] == "-"] == got
        assert "corrupt message" in run.stdout + run.stderr

    # What an operator does: the replica begins anew from one that is whole.
    whole.start()
    wait_in_sync(cluster, "t", 2)
    damaged.stop()
    shutil.rmtree(damaged.partition("t", 0))
    damaged.start()
    wait_in_sync(cluster, "t", 2)
    wait_until(lambda: logs_of(damaged) == logs_of(whole), "the copy is whole")


def logs_of(broker):
    return {log.name: log.read_bytes() for log in broker.partition("t", 0).glob("*.log")}


BATCHES = 20
_TOPICS = ["magic", "sign", "whole"]


def started(broker):
    broker.start()
    for topic in _TOPICS:
        admin.wait_led(broker, topic, 1)


def stopped_after(broker, topics):
    """Topics of one closed batch a record, each larger than the interval of index entries; the broker is stopped."""
    for topic in topics:
        admin.create_topic(broker, topic, partitions=1)
        for _ in range(BATCHES):
            assert produced(broker, topic) is None
    broker.stop()


def produced(broker, topic):
    """Produces a batch of one record, and gives the code of the error that it met."""
    # Without retries of its own librdkafka says at once what the broker answered.
    producer = Producer({"bootstrap.servers": broker.bootstrap, "retries": 0})
    met = []
    producer.produce(topic, "x" * 5_000, partition=0, on_delivery=lambda error, _: met.append(error and error.code()))
    assert producer.flush(60) == 0
    return met[0]


def end_of(broker, topic):
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "unused"})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30, cached=False)[1]
    finally:
        consumer.close()


def batch_starts(log):
    data, starts, at = log.read_bytes(), [], 0
    while at < len(data):
        starts.append(at)
        at += 12 + struct.unpack_from(">i", data, at + 8)[0]
    return starts


def flip_bit(log, at, mask):
    data = bytearray(log.read_bytes())
    data[at] ^= mask
    log.write_bytes(data)
    return bytes(data)


def test_a_bit_that_flips_after_a_clean_stop_is_its_partitions_matter(cluster):
    """In the active segment: a magic near the end, and the sign of the first length. Nothing is cut, and neither the
    directory nor the other partitions pay for it."""
    broker = cluster.broker(1).start()
    stopped_after(broker, _TOPICS)
    magic, sign = (broker.partition(topic, 0) / "00000000000000000000.log" for topic in ("magic", "sign"))
    left = {
        magic: flip_bit(magic, batch_starts(magic)[4] + 16, 0x40),
        sign: flip_bit(sign, 8, 0x80),
    }
    started(broker)
    assert [end_of(broker, topic) for topic in _TOPICS] == [BATCHES] * 3
    assert produced(broker, "whole") is None
    # Apache refuses every append to it; here they go to a new segment.
    assert produced(broker, "sign") == (KafkaError.INVALID_MSG if PEER == "apache" else None)
    assert produced(broker, "magic") is None
    assert broker.alive() and broker.stop() == 143
    started(broker)
    assert end_of(broker, "sign") == BATCHES + (PEER != "apache")
    assert end_of(broker, "magic") == BATCHES + 1
    for log, bytes_left in left.items():
        assert log.read_bytes()[: len(bytes_left)] == bytes_left, log
    assert broker.stop() == 143
