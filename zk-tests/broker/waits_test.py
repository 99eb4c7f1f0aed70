"""Requests that wait (for the controller, a coordinator, replicas, another broker) keep nothing that other requests need,
however many wait and however low `queued.max.requests` is.

Apache answers all of this within a few seconds; here a broken broker answers nothing at all, so each deadline is long.
"""

import contextlib
import resource
import socket
import struct
import time

import pytest

from harness import admin, wire
from harness.broker import Cluster
from harness.processes import wait_until
from harness.replicas import leader_of, wait_in_sync
from harness.transactions import ONE_BROKER

from coordinator_refusals_test import PRODUCE, add_partitions, call, init, sequenced
from hostile_test import RECORD, batch

NONE, LOAD_IN_PROGRESS = 0, 14
ANSWERED_LATER = (14, 15, 16, 51)
SECONDS = 60
# No one leaves an ISR or loses its session because a test pauses it.
PATIENT = {"replica_lag_time_max_ms": 60_000, "zookeeper_session_timeout_ms": 40_000}


def init_frame(transactional_id=None, timeout_ms=60_000):
    """InitProducerId v1."""
    name = struct.pack(">h", -1) if transactional_id is None else wire.string(transactional_id)
    return wire.request(wire.INIT_PRODUCER_ID, 1, 7, name + struct.pack(">i", timeout_ms))


def produce_frame(topic, partition, records, transactional_id=None, acks=-1):
    """Produce v3 with a timeout of 30 s."""
    name = struct.pack(">h", -1) if transactional_id is None else wire.string(transactional_id)
    body = name + struct.pack(">hii", acks, 30_000, 1) + wire.string(topic)
    return wire.request(PRODUCE, 3, 7, body + struct.pack(">iii", 1, partition, len(records)) + records)


def producer_of(answer):
    """(error, producer id)"""
    fields = wire.Fields(answer)
    fields.take("i"), fields.take("i")
    return fields.take("h"), fields.take("q")


def produced(answer):
    """The error of the one partition."""
    fields = wire.Fields(answer)
    fields.take("i"), fields.take("i"), fields.string(), fields.take("i"), fields.take("i")
    return fields.take("h")


@contextlib.contextmanager
def connections(port, count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 2 * count + 500)), hard))
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(wire.connect(port, SECONDS)) for _ in range(count)]


def send(sockets, frames):
    for s, frame in zip(sockets, frames, strict=True):
        s.sendall(frame)


def answers(sockets, deadline):
    for s in sockets:
        s.settimeout(max(deadline - time.monotonic(), 0.001))
        yield wire.read_frame(s)


def all_initialized(sockets, frames):
    """Sends InitProducerId on each connection, as often as a client does; the producer ids."""
    deadline = time.monotonic() + SECONDS
    ids, asking = [], list(zip(sockets, frames, strict=True))
    while asking:
        assert time.monotonic() < deadline, f"{len(asking)} of {len(sockets)} have no producer id"
        send(*zip(*asking, strict=True))
        later = []
        for (s, frame), answer in zip(asking, answers([s for s, _ in asking], deadline), strict=True):
            error, producer_id = producer_of(answer)
            if error in ANSWERED_LATER:
                later.append((s, frame))
            else:
                assert error == NONE
                ids.append(producer_id)
        asking = later
        # As clients: retry.backoff.ms.
        time.sleep(0.1 if asking else 0)
    return ids


def is_answered(broker, topic, partition=0):
    """Strangers are served: metadata, and a record that needs no one else."""
    wire.metadata(broker.port)
    with wire.connect(broker.port, 30) as s:
        s.sendall(produce_frame(topic, partition, batch(RECORD), acks=1))
        return produced(wire.read_frame(s)) == NONE


@pytest.mark.parametrize("queued", [500, 1])
def test_two_thousand_producers_at_once_get_their_ids(cluster, queued):
    broker = cluster.broker(1, queued_max_requests=queued).start()
    admin.create_topic(broker, "t", 1)
    with connections(broker.port, 2_000) as sockets:
        ids = all_initialized(sockets, [init_frame()] * len(sockets))
        assert is_answered(broker, "t")
    assert len(set(ids)) == 2_000
    assert is_answered(broker, "t")


def test_others_are_served_while_the_controller_is_silent(cluster):
    one = cluster.broker(1, **PATIENT).start()
    two = cluster.broker(2, queued_max_requests=5, **PATIENT).start()
    admin.create_topic(two, "t", assignment=[[2]])
    one.pause()
    try:
        with connections(two.port, 50) as sockets:
            send(sockets, [init_frame()] * len(sockets))
            assert is_answered(two, "t")
            # No one is kept waiting for a block of ids either.
            told = {producer_of(answer)[0] for answer in answers(sockets, time.monotonic() + 30)}
            assert told == {LOAD_IN_PROGRESS}
    finally:
        one.resume()
    wait_until(lambda: wire.init_producer_id(two.port)[0] == NONE, "the controller gives ids again", SECONDS)


def coordinated_by(broker, ids):
    return [name for name in ids if wire.find_coordinator(broker.port, name, of_transactions=True) == broker.port]


@pytest.fixture
def pair(cluster):
    """Two brokers with few places; both have all replicas of the transactions. Broker 1 is the controller."""
    places = {"queued_max_requests": 4, **PATIENT, **ONE_BROKER}
    both = {"transaction_state_log_replication_factor": 2, "transaction_state_log_min_isr": 2}
    brokers = [cluster.broker(n, **(places | both)).start() for n in (1, 2)]
    admin.create_topic(brokers[0], "t", assignment=[[1], [2]])
    wait_until(lambda: wire.find_coordinator(brokers[0].port, "x", of_transactions=True), "a coordinator", SECONDS)
    wait_in_sync(cluster, "__transaction_state", 2)
    return brokers


def test_others_are_served_while_transactions_wait_for_a_follower(pair):
    leader, follower = pair
    names = coordinated_by(leader, [f"waits-{n}" for n in range(100)])[:30]
    assert len(names) >= 20
    wait_until(lambda: init(leader, names[0])[0] == NONE, "transactions are coordinated", SECONDS)
    with connections(leader.port, len(names)) as sockets:
        follower.pause()
        try:
            send(sockets, [init_frame(name) for name in names])
            assert is_answered(leader, "t")
        finally:
            follower.resume()
        told = [producer_of(answer)[0] for answer in answers(sockets, time.monotonic() + SECONDS)]
    assert set(told) == {NONE}


def test_brokers_that_verify_at_each_other_do_not_wait_for_each_other_for_ever(pair):
    work = []
    for number, (coordinator, leader) in enumerate([pair, pair[::-1]]):
        # The partition is led by one broker, the transaction is coordinated by the other.
        names = coordinated_by(coordinator, [f"verified-{n}" for n in range(200)])[:40]
        partition = leader.number - 1
        for name in names:
            producer_id, epoch = wait_until(lambda: _ready(coordinator, name), f"{name} is initialized", SECONDS)
            assert add_partitions(coordinator, name, producer_id, epoch, [("t", [partition])]) == {("t", partition): NONE}
            records = sequenced(producer_id, epoch, 0, transactional=True)
            work.append((leader.port, produce_frame("t", partition, records, name, acks=1)))
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(wire.connect(port, SECONDS)) for port, _ in work]
        send(sockets, [frame for _, frame in work])
        told = [produced(answer) for answer in answers(sockets, time.monotonic() + 30)]
    assert set(told) == {NONE}


def test_a_log_append_time_is_that_of_the_append_and_not_of_the_request(pair):
    leader, coordinator = pair
    admin.create_topic(leader, "stamped", assignment=[[leader.number]], message_timestamp_type="LogAppendTime")
    name = coordinated_by(coordinator, [f"stamped-{n}" for n in range(100)])[0]
    producer_id, epoch = wait_until(lambda: _ready(coordinator, name), f"{name} is initialized", SECONDS)
    assert add_partitions(coordinator, name, producer_id, epoch, [("stamped", [0])]) == {("stamped", 0): NONE}
    with wire.connect(leader.port, SECONDS) as s:
        coordinator.pause()
        try:
            s.sendall(produce_frame("stamped", 0, sequenced(producer_id, epoch, 0, transactional=True), name, acks=1))
            # It waits for its verification meanwhile: this is the fault, not a wait for something.
            time.sleep(2)
            resumed = time.time_ns() // 1_000_000
        finally:
            coordinator.resume()
        fields = wire.Fields(wire.read_frame(s))
    fields.take("i"), fields.take("i"), fields.string(), fields.take("i"), fields.take("i")
    error, _, appended = fields.take("h"), fields.take("q"), fields.take("q")
    assert error == NONE
    assert appended >= resumed


def _ready(broker, name):
    error, producer_id, epoch = init(broker, name)
    assert error in (NONE, *ANSWERED_LATER)
    return (producer_id, epoch) if error == NONE else None
