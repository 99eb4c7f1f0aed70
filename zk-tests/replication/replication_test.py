"""Replicas on several brokers, of both kinds in one cluster: what one leads the others copy, byte by byte, and stay or
leave the in-sync replicas by what they do.

The first broker of a mixed cluster is Apache's and stays: it is the controller. ZURAU_REPLICATION_ROUNDS sets how often
each broker is killed; without it once, and only in the cluster of one Apache broker and two of ours.
"""

import itertools
import json
import os

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from harness import admin
from harness.broker import STEADY
from harness.load import Load, check_stored
from harness.processes import wait_until
from harness.reader import read
from harness.replicas import check_equal, states, wait_isr

LONG = "ZURAU_REPLICATION_ROUNDS" in os.environ
ROUNDS = int(os.environ.get("ZURAU_REPLICATION_ROUNDS", 1))
PARTITIONS = range(3)

# Long enough for a loaded machine: no replica leaves the in-sync ones by itself.
_LAG = {"replica_lag_time_max_ms": 10_000, "replica_fetch_wait_max_ms": 200}


def start(cluster, kinds, **config):
    """Brokers 1, 2, 3 of these kinds; the first is the controller."""
    brokers = [cluster.broker(n, kind, **{**_LAG, **STEADY, **config}) for n, kind in enumerate(kinds, 1)]
    brokers[0].start()
    for broker in brokers[1:]:
        broker.launch()
    for broker in brokers[1:]:
        broker.wait_ready()
    return brokers


def create(brokers, topic, **config):
    """Each broker leads one partition and follows the others."""
    assignment = [[1, 2, 3], [2, 3, 1], [3, 1, 2]]
    admin.create_topic(brokers[0], topic, assignment=assignment, **config)


def kinds_of(name):
    return {"2 Apache + 1": ["apache", "apache", "zurau"], "1 Apache + 2": ["apache", "zurau", "zurau"]}[name]


def kill(zk, broker):
    """kill -9, and its session ends at once. The controller stays."""
    broker.kill()
    zk.delete(f"/brokers/ids/{broker.number}")


@pytest.fixture(params=["1 Apache + 2", "2 Apache + 1"] if LONG else ["1 Apache + 2"])
def mixed(request, cluster):
    # A paused broker leaves soon, and keeps its session.
    return start(cluster, kinds_of(request.param), replica_lag_time_max_ms=3000)


def test_replicas_leave_return_and_stay_equal(mixed, cluster, directory):
    """Under an idempotent acks=all producer: a follower that hangs leaves the in-sync replicas and returns; brokers that
    are killed come back; nothing that was acknowledged is lost, and in the end all replicas are the same bytes."""
    create(mixed, "load", min_insync_replicas=2, segment_bytes=1 << 20)
    load = Load(mixed[0], "load", directory, per_second=3000)
    load.wait_acknowledged(2000)
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_isr(zk, "load", PARTITIONS, [1, 2, 3])

        hanging = mixed[2]
        hanging.pause()
        wait_isr(zk, "load", [0, 1], [1, 2])
        load.wait_acknowledged(100)
        hanging.resume()
        wait_isr(zk, "load", [0, 1], [1, 2, 3])

        for _, killed in itertools.product(range(ROUNDS), mixed[1:]):
            kill(zk, killed)
            wait_isr(zk, "load", PARTITIONS, {1, 2, 3} - {killed.number})
            load.wait_acknowledged(1000)
            killed.start()
            wait_isr(zk, "load", PARTITIONS, [1, 2, 3])
            load.wait_acknowledged(500)

        stopped = mixed[1]
        assert stopped.stop() == 143
        load.wait_acknowledged(500)
        stopped.start()
        wait_isr(zk, "load", PARTITIONS, [1, 2, 3])
    acks = load.finish()
    check_stored(acks, read(mixed[0], "load"))
    check_equal(cluster, "load", len(PARTITIONS))


def test_a_stop_moves_leaders_first(cluster):
    """Controlled shutdown: before the broker goes, another one leads, in a new epoch, and it has left the in-sync
    replicas."""
    brokers = start(cluster, ["apache", "zurau", "apache"])
    create(brokers, "t")
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_isr(zk, "t", PARTITIONS, [1, 2, 3])
        before = states(zk, "t")[1]
        assert brokers[1].stop() == 143
        now = states(zk, "t")
        after = now[1]
        assert before["leader"] == 2 and after["leader"] in (1, 3)
        assert after["leader_epoch"] > before["leader_epoch"]
        assert all(2 not in now[p]["isr"] for p in PARTITIONS)
    assert "Controlled shutdown request returned successfully" in brokers[1].process.output()


def test_too_few_in_sync_refuse_acks_all(cluster):
    """min.insync.replicas on a leader of ours: acks=all is refused, and what acks=1 leaves is shown to nobody until
    enough replicas have it."""
    controller, leader, follower = start(cluster, ["apache", "zurau", "apache"])
    admin.create_topic(controller, "t", assignment=[[2, 3]], min_insync_replicas=2)
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_isr(zk, "t", [0], [2, 3])
        assert produce(leader, "t", "all") is None
        kill(zk, follower)
        wait_isr(zk, "t", [0], [2])
        # The leader has heard of it: before, it would take the record and wait for the follower.
        wait_until(lambda: told_isr(leader, "t") == [2], "the leader knows who is in sync")
        assert produce(leader, "t", "all") == "NOT_ENOUGH_REPLICAS"
        assert produce(leader, "t", "1") is None
        assert len(read(leader, "t", partitions=1)[0]) == 1
        follower.start()
        wait_isr(zk, "t", [0], [2, 3])
    wait_until(lambda: len(read(leader, "t", partitions=1)[0]) == 2, "the record is committed")


def told_isr(broker, topic):
    """The in-sync replicas of partition 0, as this broker's metadata has them."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    return client.list_topics(topic, timeout=10).topics[topic].partitions[0].isrs


def test_consumers_read_from_the_replica_in_their_rack(cluster):
    """KIP-392, on leaders of both kinds: the consumer is sent to a follower of the other kind, and reads all of it there."""
    selector = {"replica_selector_class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
    racks = {1: "a", 2: "b"}
    brokers = [cluster.broker(n, kind, broker_rack=racks[n], **selector, **_LAG) for n, kind in enumerate(["apache", "zurau"], 1)]
    for broker in brokers:
        broker.start()
    admin.create_topic(brokers[0], "t", assignment=[[1, 2], [2, 1]])
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_isr(zk, "t", [0, 1], [1, 2])
        for partition in (0, 1):
            for _ in range(20):
                assert produce(brokers[0], "t", "all", partition) is None
        for near, rack in racks.items():
            read_near(brokers[0], "t", rack, near)


def read_near(broker, topic, rack, near):
    """Reads all of both partitions as a consumer in `rack`, until it fetches from the broker `near`."""
    # librdkafka tells where it fetches from in its statistics.
    stats = {}

    def on_stats(text):
        for number, partition in json.loads(text)["topics"].get(topic, {}).get("partitions", {}).items():
            stats[int(number)] = partition["broker"]

    consumer = Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "client.rack": rack,
            "statistics.interval.ms": 50,
            "stats_cb": on_stats,
            "fetch.wait.max.ms": 100,
            "log_level": 0,
        }
    )
    counts = {0: 0, 1: 0}
    try:
        consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in counts])

        def done():
            for message in consumer.consume(100, 0.1):
                assert not message.error(), message.error()
                counts[message.partition()] += 1
            return all(count == 20 for count in counts.values()) and all(stats.get(p) == near for p in counts)

        wait_until(done, f"records were read near {rack}: {counts}, {stats}")
    finally:
        consumer.close()


def produce(broker, topic, acks, partition=0, timeout_ms=10_000, size=5):
    """The name of the error of one record, None when it was acknowledged."""
    config = {
        "bootstrap.servers": broker.bootstrap,
        "acks": acks,
        "message.timeout.ms": timeout_ms,
        "retries": 0,
        "log_level": 0,
    }
    outcome = []
    producer = Producer(config)
    told = lambda error, _: outcome.append(error.name() if error else None)  # noqa: E731
    producer.produce(topic, b"v" * size, partition=partition, on_delivery=told)
    producer.flush(timeout_ms / 1000 + 10)
    return outcome[0]
