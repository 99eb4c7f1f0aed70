"""Partitions move between brokers of both kinds while an idempotent acks=all producer writes: onto and off the broker that
is not of the controller's kind, throttled, cancelled half-way, over a controlled stop of the controller, and over its kill
-9 in the middle, after which one of the other kind ends what it began. Nothing that was acknowledged is lost, and in the
end all replicas are the same bytes.

Broker 1 is the first controller and broker 2 the second. With ZURAU_REPLICATION_ROUNDS also in clusters of other mixes.
"""

import itertools
import json

import pytest

from harness import PEER, admin
from harness.load import Load, check_stored
from harness.processes import wait_until
from harness.reader import read
from harness.replicas import check_equal, wait_isr
from replica_faults_test import cluster_of
from replication_test import LONG, produce, start

_SHORT = [(PEER, "apache", "apache")]
_MIXES = [
    *_SHORT,
    ("apache", PEER, "apache"),
    ("apache", "apache", PEER),
    ("apache", PEER, PEER),
    (PEER, PEER, "apache"),
    (PEER, PEER, PEER),
]
PARTITIONS = range(3)


class Moves:
    """The reassignments of one topic, asked for with Apache's tool."""

    def __init__(self, cluster, tools, zk, topic):
        self.cluster, self.tools, self.zk, self.topic = cluster, tools, zk, topic

    def reassign(self, action, assignment, *more):
        partitions = [{"topic": self.topic, "partition": p, "replicas": r} for p, r in assignment.items()]
        file = self.cluster.directory / "moves.json"
        file.write_text(json.dumps({"version": 1, "partitions": partitions}))
        args = ("--bootstrap-server", self.cluster.bootstrap, action, "--reassignment-json-file", file, *more)
        return self.tools.run("reassign-partitions", *args).check().stdout

    def node(self):
        return json.loads(self.zk.get(f"/brokers/topics/{self.topic}")[0])

    def throttled(self):
        config = json.loads(self.zk.get(f"/config/topics/{self.topic}")[0])["config"]
        return "leader.replication.throttled.replicas" in config

    def wait_done(self, assignment):
        def done():
            node = self.node()
            here = all(node["partitions"][str(p)] == replicas for p, replicas in assignment.items())
            return here and not node["adding_replicas"] and not node["removing_replicas"]

        wait_until(done, f"{self.topic} is on {assignment}")
        for partition, replicas in assignment.items():
            wait_isr(self.zk, self.topic, [partition], replicas)

    def move(self, assignment, *more):
        self.reassign("--execute", assignment, *more)
        self.wait_done(assignment)

    def wait_controller(self, number):
        def is_it():
            return self.zk.exists("/controller") and json.loads(self.zk.get("/controller")[0])["brokerid"] == number

        wait_until(is_it, f"broker {number} is the controller")


@pytest.mark.parametrize("kinds", _MIXES if LONG else _SHORT, ids="-".join)
def test_partitions_move_under_load(cluster, directory, apache_tools, kinds):
    # What a throttle has let through counts for minutes: a move that is to be seen under way does not end by itself.
    one, two, three = start(cluster, kinds, replication_quota_window_size_seconds=20)
    without = {0: [1, 2], 1: [2, 1], 2: [1, 2]}
    with_three = {0: [3, 1], 1: [2, 3], 2: [3, 2]}
    admin.create_topic(one, "load", assignment=list(without.values()), min_insync_replicas=2, segment_bytes=1 << 20)
    onto_three = {0: [3, 1], 1: [2, 3]}
    admin.create_topic(one, "bulk", assignment=[[1, 2], [2, 1]])
    for partition, _ in itertools.product((0, 1), range(5)):
        assert produce(one, "bulk", "all", partition, size=900_000) is None
    load = Load(cluster, "load", directory, per_second=2000)
    load.wait_acknowledged(1000)
    with cluster.ensemble.client(cluster.chroot) as zk:
        moves = Moves(cluster, apache_tools, zk, "load")
        moves.wait_controller(1)
        moves.move(with_three)
        load.wait_acknowledged(500)

        # The controller stops in order. While 3 is stopped, it is 2 that follows.
        three.pause()
        assert one.stop() in (0, 143)
        moves.wait_controller(2)
        three.resume()
        one.start()
        moves.move(without)
        nowhere = lambda: not any(three.partition("load", p).exists() for p in PARTITIONS)  # noqa: E731
        wait_until(nowhere, "broker 3 has no replica")
        load.wait_acknowledged(500)

        # Throttled: so much that it does not end, cancelled, and to the end.
        bulky = Moves(cluster, apache_tools, zk, "bulk")
        bulky.reassign("--execute", onto_three, "--throttle", "1000")
        assert bulky.throttled()
        load.wait_acknowledged(2000)
        assert bulky.node()["adding_replicas"] == {"0": [3], "1": [3]}
        bulky.reassign("--cancel", onto_three)
        assert not bulky.throttled() and not bulky.node()["adding_replicas"]
        wait_until(lambda: not any(three.partition("bulk", p).exists() for p in (0, 1)), "broker 3 has no replica")
        bulky.move(onto_three, "--throttle", "3000000")
        bulky.reassign("--verify", onto_three)
        assert not bulky.throttled()

        # The controller is killed half-way. Another one ends it.
        everywhere = {0: [3, 1, 2], 1: [1, 2, 3], 2: [2, 3, 1]}
        off_three = {0: [1, 2], 1: [2, 1]}
        bulky.reassign("--execute", off_three, "--throttle", "1000")
        moves.reassign("--execute", everywhere, "--additional")
        three.pause()
        two.kill()
        cluster.forget(two)
        moves.wait_controller(1)
        three.resume()
        two.start()
        moves.wait_done(everywhere)
        bulky.move(off_three, "--additional", "--throttle", "3000000")
        load.wait_acknowledged(500)
    check_stored(load.finish(), read(two, "load"))
    check_equal(cluster, "load", len(PARTITIONS))
    check_equal(cluster_of(cluster, one, two), "bulk", 2)
