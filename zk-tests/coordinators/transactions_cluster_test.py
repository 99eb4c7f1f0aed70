"""Transactions over three brokers: the coordinator dies in each of their states, also between markers; what is late changes
nothing; what hangs is aborted."""

import shutil

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition

from harness import admin, tools, wire
from harness.broker import Cluster
from harness.processes import free_port, wait_until
from harness.proxy import Proxy
from harness.replicas import controller_of, leader_of, replicas_of, wait_in_sync
from harness.transactions import (
    THREE_BROKERS,
    all_values,
    coordinating,
    elect_preferred,
    producer,
    read_committed,
    send,
    transaction_coordinator,
)

LOG = "__transaction_state"
INVALID_PRODUCER_EPOCH, INVALID_TXN_STATE, TRANSACTION_COORDINATOR_FENCED = 47, 48, 52


class Three:
    """Three brokers; the way by which the others reach one of them can be cut."""

    def __init__(self, directory, ensemble):
        self.cluster = Cluster(directory, ensemble)
        self.ways = {}
        for number in (1, 2, 3):
            broker, inner = self.cluster.broker(number, **THREE_BROKERS), free_port()
            way = self.ways[number] = Proxy(inner)
            broker.properties |= {
                "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},INTERNAL://127.0.0.1:{inner}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port},INTERNAL://127.0.0.1:{way.port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
                "inter.broker.listener.name": "INTERNAL",
            }
            broker.launch()
        for broker in self.cluster.brokers:
            broker.wait_ready()
        producer(self.cluster, "warm")
        self.settle()

    def settle(self):
        wait_in_sync(self.cluster, LOG, 3)
        elect_preferred(self.cluster)

    def cast(self, name):
        """A transactional id, and the brokers that play: its coordinator, the one that coordinates when that is dead, and
        one that neither coordinates nor controls."""
        controller = controller_of(self.cluster)
        for n in range(100):
            transactional_id = f"{name}-{n}"
            replicas = replicas_of(self.cluster, LOG, coordinating(self.cluster, LOG, transactional_id))
            first, second, other = (self.cluster.brokers[number - 1] for number in replicas)
            if other is not controller:
                return transactional_id, first, second, other
        raise AssertionError("no such transactional id")

    def die(self, broker):
        broker.kill()
        self.cluster.forget(broker)

    def mend(self):
        """What a test has broken is whole for the next one, also when it failed."""
        for way in self.ways.values():
            way.heal()
        for broker in self.cluster.brokers:
            if not broker.alive():
                broker.start()
        self.settle()

    def seen(self, transactional_id):
        """What the coordinator of now says of it."""
        return wire.describe_transaction(transaction_coordinator(self.cluster, transactional_id).port, transactional_id)

    def wait_state(self, transactional_id, state, seconds=30):
        def reached():
            seen = self.seen(transactional_id)
            if seen.error != 0 or seen.state != state:
                raise LookupError(seen)
            return seen

        return wait_until(reached, f"{transactional_id} is {state}", seconds)


@pytest.fixture(scope="module")
def shared(module_directory, ensemble):
    return Three(module_directory, ensemble)


@pytest.fixture
def three(shared):
    yield shared
    shared.mend()


def begun(three, transactional_id, topic, values):
    made = producer(three.cluster, transactional_id)
    made.begin_transaction()
    send(made, topic, values, partitions=2)
    return made


def goes_on(three, made, topic, committed):
    """The next transaction is one of its own."""
    made.begin_transaction()
    send(made, topic, ["n1", "n2"], partitions=2)
    made.commit_transaction(60)
    expected = sorted([*committed, "n1", "n2"])
    wait_until(lambda: all_values(read_committed(three.cluster, topic, 2)) == expected, "all of that is committed")


@pytest.mark.parametrize("state", ["Empty", "Ongoing"])
def test_the_coordinator_dies_before_the_end(state, three):
    name, first, second, other = three.cast(state)
    topic = f"t-{state}"
    admin.create_topic(second, topic, assignment=[[second.number], [other.number]], min_insync_replicas=1)
    values = [] if state == "Empty" else ["v1", "v2"]
    made = begun(three, name, topic, values) if values else producer(three.cluster, name)
    before = three.wait_state(name, state)
    three.die(first)
    assert three.wait_state(name, state) == before
    if values:
        made.commit_transaction(60)
    else:
        assert wire.end_txn(second.port, name, before.producer_id, before.epoch, True) == INVALID_TXN_STATE
    goes_on(three, made, topic, values)


@pytest.mark.parametrize("committed", [True, False], ids=["PrepareCommit", "PrepareAbort"])
def test_the_coordinator_dies_between_markers(committed, three):
    """One partition has its marker, the other's leader is out of reach until another broker coordinates."""
    name, first, second, other = three.cast(f"prepared-{committed}")
    topic = f"t-prepared-{committed}"
    admin.create_topic(second, topic, assignment=[[second.number], [other.number]], min_insync_replicas=1)
    made = begun(three, name, topic, ["v1", "v2"])
    three.ways[other.number].cut()
    # Decided is ended, for the producer: the markers are the coordinators' affair.
    made.commit_transaction(60) if committed else made.abort_transaction(60)
    before = three.wait_state(name, "PrepareCommit" if committed else "PrepareAbort")
    half = ["v1"] if committed else []
    by_partition = lambda: read_committed(three.cluster, topic, 2)
    # The one marker is there: nothing is open behind it.
    wait_until(lambda: by_partition()[0] == half and stable_end(three, topic, 0) > 1, "one marker is written")
    assert stable_end(three, topic, 1) == 0
    three.die(first)
    assert three.wait_state(name, before.state) == before
    assert stable_end(three, topic, 1) == 0
    three.ways[other.number].heal()
    three.wait_state(name, before.state.replace("Prepare", "Complete"))
    goes_on(three, made, topic, ["v1", "v2"] if committed else [])


def stable_end(three, topic, partition):
    """The last stable offset: the end that ListOffsets tells to readers of what is committed."""
    where = {"bootstrap.servers": three.cluster.bootstrap, "group.id": "unused", "log_level": 0}
    consumer = Consumer({**where, "isolation.level": "read_committed"})
    try:
        return consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)[1]
    except KafkaException as e:
        raise RuntimeError(e) from e
    finally:
        consumer.close()


@pytest.mark.parametrize("committed", [True, False], ids=["CompleteCommit", "CompleteAbort"])
def test_the_coordinator_dies_after_the_end(committed, three):
    name, first, second, other = three.cast(f"complete-{committed}")
    topic = f"t-complete-{committed}"
    admin.create_topic(second, topic, assignment=[[second.number], [other.number]], min_insync_replicas=1)
    made = begun(three, name, topic, ["v1", "v2"])
    made.commit_transaction(60) if committed else made.abort_transaction(60)
    before = three.wait_state(name, "CompleteCommit" if committed else "CompleteAbort")
    three.die(first)
    assert three.wait_state(name, before.state) == before
    # The end once more has an answer, another end has none.
    assert wire.end_txn(second.port, name, before.producer_id, before.epoch, committed) == 0
    assert wire.end_txn(second.port, name, before.producer_id, before.epoch, not committed) == INVALID_TXN_STATE
    goes_on(three, made, topic, ["v1", "v2"] if committed else [])


def test_what_a_zombie_sends_late_never_touches_the_next_transaction(three):
    name, first, second, other = three.cast("zombie")
    admin.create_topic(second, "t-zombie", assignment=[[second.number], [other.number]], min_insync_replicas=1)
    begun(three, name, "t-zombie", ["old1", "old2"])
    old = three.wait_state(name, "Ongoing")
    three.die(first)
    # It fences the zombie and aborts what that has begun, at a coordinator of a later epoch.
    successor = begun(three, name, "t-zombie", ["new1", "new2"])
    new = three.wait_state(name, "Ongoing")
    assert new.producer_id == old.producer_id and new.epoch > old.epoch
    for committed in (True, False):
        assert wire.end_txn(second.port, name, old.producer_id, old.epoch, committed) == INVALID_PRODUCER_EPOCH
        for partition, leader in enumerate((second, other)):
            late = (old.producer_id, new.epoch, committed, 0)
            error = wire.write_txn_marker(leader.port, "t-zombie", partition, *late)
            assert error == TRANSACTION_COORDINATOR_FENCED, "a marker of the coordinator before"
            late = (old.producer_id, old.epoch, committed, 100)
            error = wire.write_txn_marker(leader.port, "t-zombie", partition, *late)
            assert error == INVALID_PRODUCER_EPOCH, "a marker for the producer before"
    assert three.seen(name) == new
    assert [stable_end(three, "t-zombie", p) for p in range(2)] == [2, 2], "the successor's transaction is open"
    successor.commit_transaction(60)
    goes_on(three, successor, "t-zombie", ["new1", "new2"])


def test_a_hanging_transaction_is_aborted_on_every_replica(three):
    cluster = three.cluster
    admin.create_topic(cluster.brokers[0], "t-hanging", assignment=[[1, 2, 3], [2, 3, 1]])
    lost = begun(three, "lost", "t-hanging", ["v1", "v2"])
    wait_in_sync(cluster, "t-hanging", 3)
    # The coordinators forget what was begun: nobody is going to end it.
    for broker in cluster.brokers:
        broker.kill()
    for broker in cluster.brokers:
        cluster.forget(broker)
        for log in broker.log_dirs[0].glob(f"{LOG}-*"):
            shutil.rmtree(log)
    for broker in cluster.brokers:
        broker.launch()
    for broker in cluster.brokers:
        broker.wait_ready()
    wait_in_sync(cluster, "t-hanging", 3)
    del lost
    transactions = lambda *line: tools.OurTools().run("transactions", "--bootstrap-server", cluster.bootstrap, *line).check()
    hanging = lambda: transactions("find-hanging", "--topic", "t-hanging", "--max-transaction-timeout", 0).stdout
    wait_until(lambda: len(hanging().splitlines()) == 3, "both partitions hang")
    for partition in range(2):
        transactions("abort", "--topic", "t-hanging", "--partition", partition, "--start-offset", 0)
    assert len(hanging().splitlines()) == 1
    # A leader that did not write the marker knows of it.
    dead = leader_of(cluster, "t-hanging", 0)
    three.die(dead)
    wait_until(lambda: leader_of(cluster, "t-hanging", 0) is not dead, "another leads")
    wait_until(lambda: [stable_end(three, "t-hanging", p) for p in range(2)] == [2, 2], "nothing is open")
    assert all_values(read_committed(cluster, "t-hanging", 2)) == []
