"""Clusters with several replicas a partition: waiting until all are in sync, and that their files are then equal."""

import json
import re
import struct

from confluent_kafka import Consumer, TopicPartition

from . import wire
from .processes import wait_until


def states(zk, topic):
    """{partition: what its state znode says}"""
    root = f"/brokers/topics/{topic}/partitions"
    return {int(p): json.loads(zk.get(f"{root}/{p}/state")[0]) for p in zk.get_children(root)}


def wait_in_sync(cluster, topic, count, seconds=120):
    """Waits until every partition of a topic has a leader and this many replicas in sync."""

    def whole():
        return all(len(s["isr"]) == count and s["leader"] >= 0 for s in states(zk, topic).values())

    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_until(whole, f"{topic} has {count} replicas in sync", seconds)


def wait_isr(zk, topic, partitions, wanted, seconds=120):
    """Waits until exactly these brokers are in sync, for each of the partitions. `zk` is kazoo's."""
    wanted = sorted(wanted)
    now = {}

    def reached():
        now.update(states(zk, topic))
        return all(sorted(now[p]["isr"]) == wanted for p in partitions)

    try:
        wait_until(reached, f"{topic} has the in-sync replicas {wanted}", seconds)
    except TimeoutError as e:
        raise TimeoutError(f"{e}; its partitions are {now}") from None


def leader_of(cluster, topic, partition):
    """The broker that leads a partition; LookupError while none does."""
    with cluster.ensemble.client(cluster.chroot) as zk:
        leader = states(zk, topic)[partition]["leader"]
    return {broker.number: broker for broker in cluster.brokers}[leader]


def replicas_of(cluster, topic, partition):
    """The brokers that hold a partition, the preferred leader first."""
    with cluster.ensemble.client(cluster.chroot) as zk:
        return json.loads(zk.get(f"/brokers/topics/{topic}")[0])["partitions"][str(partition)]


def controller_of(cluster):
    """The broker that is the controller."""

    def found():
        number = json.loads(zk.get("/controller")[0])["brokerid"]
        return next((broker for broker in cluster.brokers if broker.number == number), None)

    with cluster.ensemble.client(cluster.chroot) as zk:
        return wait_until(found, "there is a controller")


def elect_first_replicas(cluster, topic):
    """Has the first replica of each partition elected, all of which are in sync, and waits until all brokers know."""
    with cluster.ensemble.client(cluster.chroot) as zk:
        replicas = json.loads(zk.get(f"/brokers/topics/{topic}")[0])["partitions"]
        partitions = [{"topic": topic, "partition": int(p)} for p in replicas]
        zk.create("/admin/preferred_replica_election", json.dumps({"version": 1, "partitions": partitions}).encode())
    first = {int(p): (0, ids[0]) for p, ids in replicas.items()}
    for broker in cluster.brokers:
        known = lambda: wire.metadata(broker.port, [topic])[2][topic] == first
        wait_until(known, f"broker {broker.number} knows that the first replicas lead")


def place_of(broker, topic, partition):
    """Directories that hold a partition now, by number, without those that wait for their removal."""
    name = re.compile(rf"{topic}-{partition}(\.[0-9a-f]+-future)?$")
    return {n: [d.name for d in path.iterdir() if name.match(d.name)] for n, path in enumerate(broker.log_dirs)}


def moved_to(broker, topic, partition, number):
    """Whether a partition is in this directory, and nowhere else."""

    def is_there():
        places = place_of(broker, topic, partition)
        return all(names == ([f"{topic}-{partition}"] if n == number else []) for n, names in places.items())

    return is_there


def directory_of(broker, topic, partition):
    """Where a partition is, of several log directories."""
    return next(d for n in range(len(broker.log_dirs)) if (d := broker.partition(topic, partition, n)).exists())


def _batches(directory):
    """(first offset, last offset, bytes) of every batch of a replica, over all its segments."""
    found = []
    for segment in sorted(directory.glob("*.log")):
        data = segment.read_bytes()
        at = 0
        while at + 61 <= len(data):
            base, length = struct.unpack_from(">qi", data, at)
            if length <= 0 or at + 12 + length > len(data):
                break
            (delta,) = struct.unpack_from(">i", data, at + 23)
            found.append((base, base + delta, data[at : at + 12 + length]))
            at += 12 + length
    return found


def check_equal(cluster, topic, partitions, brokers=None):
    """Every replica of a topic has the same bytes up to the high watermark. All are in sync and nobody writes. `brokers`
    have the replicas; all, if not said."""
    brokers = brokers or cluster.brokers
    consumer = Consumer({"bootstrap.servers": cluster.bootstrap, "group.id": "unused"})
    try:
        for partition in range(partitions):
            _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=30)
            copies = {b.number: _batches(directory_of(b, topic, partition)) for b in brokers}
            start = max(batches[0][0] for batches in copies.values() if batches) if any(copies.values()) else 0
            shown = {
                number: [batch for batch in batches if start <= batch[0] and batch[1] < end]
                for number, batches in copies.items()
            }
            reference, *others = shown
            for other in others:
                pairs = zip(shown[reference], shown[other])
                first = next((a[:2] for a, b in pairs if a != b), None)
                same = first is None and len(shown[reference]) == len(shown[other])
                assert same, (
                    f"{topic}-{partition}: replicas {reference} and {other} differ below {end}: at {first}, "
                    f"{len(shown[reference])} and {len(shown[other])} batches"
                )
            assert end == 0 or shown[reference][-1][1] == end - 1, f"{topic}-{partition} ends before {end}"
    finally:
        consumer.close()
