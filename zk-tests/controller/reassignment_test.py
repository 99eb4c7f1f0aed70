"""Reassignments under the controller of the broker under test, over Apache brokers: what it writes into ZooKeeper is what
three Apache brokers wrote on the same script, and Apache's logs complain of nothing new.

A move lasts as long as it is throttled: a target that was stopped would hold up every client that happens to ask it. What
Apache did is kept in corpus/; ZURAU_CAPTURE=1 with ZURAU_TEST_PEER=apache writes it anew.

Apache takes the partitions of a request one after the other, in the order of a hash map, and writes the whole znode of
the topic for each; ours writes it once for all of them, and brokers are told once. What stood for one partition, in which
order, is the same, and that is what is compared: nobody reads more out of it, the next controller neither.
"""

import json
import re

import pytest
from controller_test import Script, kept, moves

from harness import PEER, tools
from harness.admin import delete_topic
from harness.load import Load, check_stored
from harness.processes import wait_until
from harness.reader import read
from replication_test import LONG, produce

pytestmark = pytest.mark.skipif(not LONG, reason="ZURAU_REPLICATION_ROUNDS asks for the long form; controller_test moves too")

_PATH = "/admin/reassign_partitions"


class Moves(Script):
    """Broker 1 is the controller, and 2 and 3 hold what moves."""

    def __init__(self, *args):
        super().__init__(*args)
        self.ours = tools.OurTools()

    def reassign(self, action, *wanted, by=None, code=0, more=()):
        file = self.cluster.directory / "moves.json"
        file.write_text(moves(*wanted))
        args = ("--bootstrap-server", self.brokers[1].bootstrap, action, "--reassignment-json-file", file)
        done = (by or self.tools).run("reassign-partitions", *args, *more)
        assert done.exit == code, done.stdout + done.stderr
        return done.stdout

    def wait_deleted(self, topic, number, partition=0):
        directory = self.brokers[number].partition(topic, partition)
        wait_until(lambda: not directory.exists(), f"broker {number} deletes {topic}-{partition}")

    def run(self):
        with self.cluster.ensemble.client(self.cluster.chroot) as zk:
            self.zk = zk
            for broker in self.brokers.values():
                broker.start()
            for step in (self.under_way, self.under_load, self.by_znode, self.dead_brokers, self.refused):
                step()
            for broker in reversed(self.brokers.values()):
                broker.stop()
        return self

    def under_way(self):
        """Before it ends: cancelled, replaced, and in the way of a deletion."""
        for topic in ("cancelled", "replaced", "deleted"):
            self.create(topic, (2,))
            # More than one fetch, so that the throttle counts.
            for _ in range(3):
                assert produce(self.brokers[2], topic, "1", size=900_000) is None
        asked = [(topic, 0, [3]) for topic in ("cancelled", "replaced", "deleted")]
        self.reassign("--execute", *asked, more=["--throttle", "1000"])
        listed = self.tool("reassign-partitions", "--list").check().stdout
        assert "cancelled-0: replicas: 3,2. adding: 3. removing: 2." in listed
        assert "in progress" in self.reassign("--verify", ("cancelled", 0, [3]), by=self.ours)
        assert "--additional" in self.reassign("--execute", ("cancelled", 0, [3]), code=1)
        self.reassign("--cancel", ("cancelled", 0, [3]), by=self.ours, more=["--preserve-throttles"])
        self.wait_moved("cancelled", [2])
        refused = self.tool("topics", "--alter", "--topic", "replaced", "--partitions", "2")
        assert refused.exit == 1
        assert "A partition reassignment is in progress for the topic 'replaced'." in refused.stdout + refused.stderr
        delete_topic(self.brokers[1], "deleted")
        self.wait_gone("/admin/delete_topics/deleted")
        self.reassign("--execute", ("replaced", 0, [3, 2]), more=["--additional", "--throttle", "100000000"])
        self.wait_moved("replaced", [3, 2])
        self.tool("topics", "--alter", "--topic", "replaced", "--partitions", "2", "--replica-assignment", "3:2,2:3").check()

    def lives(self):
        """Without the topic of groups, which the readers of this test have made, producer ids, and throttles."""
        made = ("__consumer_offsets", "/latest_producer_id_block", "/config/brokers")
        lives = {path: life for path, life in super().lives().items() if not any(name in path for name in made)}
        for path in [path for path in lives if re.fullmatch("/brokers/topics/[^/]+", path)]:
            lives |= _by_partition(path, lives.pop(path))
        for path in [path for path in lives if path.startswith("/config/topics/")]:
            # Apache's keys come in the order of a hash map.
            lives[path] = [_in_order(line) for line in lives[path]]
        return lives

    def under_load(self):
        """To another broker, to more, to fewer, and in another order; with records."""
        self.create("moved", (2,), (3,), (3,), (2,))
        load = Load(self.brokers[1], "moved", self.cluster.directory, partitions=4)
        load.wait_acknowledged(500)
        self.reassign("--execute", ("moved", 0, [3]), by=self.ours)
        self.wait_moved("moved", [3])
        self.wait_deleted("moved", 2)
        self.reassign("--execute", ("moved", 1, [3, 2]), ("moved", 2, [2, 3]), ("moved", 3, [3, 2]))
        self.wait_moved("moved", [3, 2], 1)
        self.wait_moved("moved", [2, 3], 2)
        self.wait_moved("moved", [3, 2], 3)
        self.reassign("--execute", ("moved", 1, [3]), ("moved", 2, [3, 2]))
        self.wait_moved("moved", [3], 1)
        self.wait_moved("moved", [3, 2], 2)
        load.wait_acknowledged(500)
        check_stored(load.finish(), read(self.brokers[2], "moved", 4))
        self.reassign("--verify", ("moved", 0, [3]), ("moved", 1, [3]))

    def by_znode(self):
        """As tools older than 2.5 ask."""
        self.create("old", (2,), (2,))
        self.put(("old", 0, [3]), ("old", 9, [3]), ("nothing", 0, [3]))
        self.wait_gone(_PATH)
        self.wait_moved("old", [3])
        # The next one is seen too.
        self.put(("old", 1, [3, 2]))
        self.wait_gone(_PATH)
        self.wait_moved("old", [3, 2], 1)
        # What says more than it may is left alone until something else comes.
        self.zk.create(_PATH, b'{"version":1,"partitions":[{"topic":"old","partition":0,"replicas":[2],"log_dirs":["any"]}]}')
        self.reassign("--execute", ("old", 0, [2]))
        self.wait_moved("old", [2])
        self.wait_gone(_PATH)

    def put(self, *wanted):
        self.zk.create(_PATH, moves(*wanted).encode())

    def dead_brokers(self):
        """A target that is away is refused by the API and waited for by the znode; it comes, and dies again."""
        self.create("later", (2,), (2,))
        self.kill(3)
        refused = self.reassign("--execute", ("later", 0, [3]), code=1)
        assert "Unknown broker id 3" in refused
        self.put(("later", 0, [3, 2]))
        wait_until(lambda: self.moving("later"), "it begins")
        self.start(3)
        self.wait_moved("later", [3, 2])
        self.wait_gone(_PATH)

    def refused(self):
        asked = {
            "empty": ("later", 0, []),
            "unknown": ("nothing", 0, [2]),
            "partition": ("later", 7, [2]),
        }
        for move in asked.values():
            self.reassign("--execute", move, code=1)
        for topic in sorted(self.topics()):
            delete_topic(self.brokers[1], topic)
            self.wait_gone(f"/admin/delete_topics/{topic}")


def _in_order(line):
    operation, _, data = line.partition(" ")
    return f"{operation} {json.dumps(json.loads(data), sort_keys=True)}" if data else line


def _by_partition(path, life):
    """The life of a topic's node as lives of its partitions: how each stood when its own entry changed."""
    lives = {path: [line.split(" ")[0] for line in life if not line.startswith("set ")]}
    for line in life:
        operation, _, data = line.partition(" ")
        if not data:
            continue
        node = json.loads(data)
        for partition, replicas in node["partitions"].items():
            adding, removing = (node[side].get(partition, []) for side in ("adding_replicas", "removing_replicas"))
            now = f"{operation} {replicas} adding {adding} removing {removing}"
            stood = lives.setdefault(f"{path} {partition}", [])
            if not stood or stood[-1].partition(" ")[2] != now.partition(" ")[2]:
                stood.append(now)
    return lives


@pytest.fixture(scope="module")
def script(module_directory, ensemble, apache_tools):
    return Moves(module_directory, ensemble, apache_tools, "/reassigned", (PEER, "apache", "apache")).run()


def test_every_write_is_apaches(script):
    found = "".join(f"{path}\n" + "".join(f"    {line}\n" for line in life) for path, life in sorted(script.lives().items()))
    assert found.splitlines() == kept("reassignment-writes", found).splitlines()


def test_apache_brokers_complain_of_nothing_new(script):
    found = script.complaints()
    # What Apache brokers under an Apache controller complain of in the longer script.
    known = set(kept("complaints").splitlines())
    assert not found - known, "\n".join(sorted(found - known))
