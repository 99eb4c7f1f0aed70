"""How a broker stops: by which signals, with which exit codes, and that nothing which has nothing to lose keeps its logs from
being closed."""

import signal
import socket
import struct

import pytest
from confluent_kafka import Producer

from harness import PEER, admin, wire
from harness.load import Load, check_stored
from harness.processes import free_port, wait_until
from harness.reader import read

FETCH = 1


def was_clean(broker):
    return (broker.log_dirs[0] / ".kafka_cleanshutdown").exists()


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_stops_cleanly_with_the_exit_code_of_a_jvm(name, running):
    number = signal.Signals[name]
    running.process.signal(number)
    assert running.process.wait(60) == 128 + number
    assert was_clean(running)


def test_a_hangup_that_is_ignored_from_the_start_stays_so(cluster):
    """As `nohup` starts it, and kafka-server-start.sh -daemon."""
    one = cluster.broker(1)
    one.wrap = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]
    one.start()
    one.process.signal(signal.SIGHUP)
    assert one.answers()
    assert one.stop() == 128 + signal.SIGTERM
    assert was_clean(one)


def test_a_broker_that_is_starting_stops_at_once(cluster):
    """Its ZooKeeper does not answer, for which it would wait for longer than this test. Apache's shutdown hook refuses to
    stop a broker that is starting, and halts the process with 1."""
    one = cluster.broker(1, zookeeper_connect=f"127.0.0.1:{free_port()}", zookeeper_connection_timeout_ms=300_000)
    one.launch()
    wait_until(lambda: "Connecting to zookeeper" in one.process.output() or "Initiating client" in one.process.output(), "it starts")
    assert one.stop(60) == (1 if PEER == "apache" else 128 + signal.SIGTERM)


def test_readers_that_stall_do_not_hold_up_a_stop(cluster):
    """Twelve consumers ask for more than fits into their buffers, and read nothing of it."""
    one = cluster.broker(1).start()
    admin.create_topic(one, "t", 1)
    producer = Producer({"bootstrap.servers": one.bootstrap})
    for _ in range(1000):
        producer.produce("t", bytes(20_000))
    assert producer.flush(60) == 0
    readers = [stalled(one, "t") for _ in range(12)]
    assert one.stop(45) == 128 + signal.SIGTERM
    assert was_clean(one)
    for reader in readers:
        reader.close()


def test_stops_under_load_cut_no_answer_off_that_was_given(cluster, directory):
    """A producer whose answers are lost sends its batches again, and a log that is opened anew after a clean stop knows the
    last batch of a producer only: the others would be stored twice. Apache resets its connections, and stores some twice: in
    ten stops with three such producers on a busy machine of two cores 492 records of 149,000, after two of the stops."""
    one = cluster.broker(1).start()
    topics = ["a", "b"]
    for topic in topics:
        admin.create_topic(one, topic, partitions=3)
    loads = {topic: Load(one, topic, directory, per_second=4000) for topic in topics}
    for _ in range(5):
        for load in loads.values():
            load.wait_acknowledged(500)
        assert one.stop() == 128 + signal.SIGTERM
        one.start()
    for topic, load in loads.items():
        acks, stored = load.finish(), read(one, topic)
        if PEER == "apache":
            missing = {ack.key for ack in acks} - {int(record.key) for records in stored.values() for record in records}
            assert not missing
        else:
            check_stored(acks, stored)


def stalled(broker, topic):
    """A connection whose answer has begun."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(30)
    reader.connect(("127.0.0.1", broker.port))
    size = 1 << 30
    # Version 4: replica, wait, least and most bytes, isolation, one topic, one partition from its first record on.
    body = struct.pack(">iiiibi", -1, 0, 1, size, 0, 1) + wire.string(topic) + struct.pack(">iiqi", 1, 0, 0, size)
    reader.sendall(wire.request(FETCH, 4, 1, body))
    assert struct.unpack(">i", wire.read_exactly(reader, 4))[0] > 10_000_000
    return reader
