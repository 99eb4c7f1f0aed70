"""The broker under test as controller, over Apache brokers and over its own kind: what it writes into ZooKeeper, and what
Apache says about it.

One script of administration and faults runs on three brokers. Broker 1 is the controller, and 2 and 3 suffer; later 2 is
the controller for a while, until it stops, and 1 again.
Every write of every node, read from ZooKeeper's own log, is compared with what three Apache brokers wrote on the same
script, and so is every kind of warning and error in the logs of Apache's brokers. Masked are ids and times. What Apache
did is kept in corpus/; ZURAU_CAPTURE=1 with ZURAU_TEST_PEER=apache writes it anew.
"""

import json
import os
import re

import pytest
from kazoo.exceptions import NoNodeError

from harness import PEER, ROOT, history, wire
from harness.admin import create_topic, delete_topic
from harness.broker import Cluster
from harness.processes import wait_until

MIXES = {"over Apache": (PEER, "apache", "apache"), "alone": (PEER, PEER, PEER)}
CAPTURE = "ZURAU_CAPTURE" in os.environ
_CORPUS = ROOT / "controller" / "corpus"
_REPLICATION = {
    # Long enough for loaded machines: nobody leaves an ISR unless he is stopped.
    "replica_lag_time_max_ms": 6000,
    "zookeeper_session_timeout_ms": 10000,
    "auto_leader_rebalance_enable": "false",
    "unclean_leader_election_enable": "false",
}


class Script:
    """Three brokers, the script, and what it needs to know of the state in between."""

    def __init__(self, directory, ensemble, tools, chroot, kinds):
        self.cluster = Cluster(directory, ensemble, chroot)
        self.tools = tools
        # The broker that is asked, which is the controller.
        self.at = 1
        self.brokers = {n: self.cluster.broker(n, kind, **_REPLICATION) for n, kind in enumerate(kinds, 1)}

    def tool(self, name, *args):
        return self.tools.run(name, "--bootstrap-server", self.brokers[self.at].bootstrap, *args)

    def state(self, topic, partition):
        try:
            return json.loads(self.zk.get(f"/brokers/topics/{topic}/partitions/{partition}/state")[0])
        except NoNodeError:
            raise LookupError(f"{topic}-{partition} has no state") from None

    def assignment(self, topic):
        partitions = json.loads(self.zk.get(f"/brokers/topics/{topic}")[0])["partitions"]
        return {int(p): replicas for p, replicas in partitions.items()}

    def topics(self):
        return self.zk.get_children("/brokers/topics")

    def wait_led(self, **leaders):
        """Waits for leaders: topic="1,2,1", one for each partition."""
        for topic, expected in leaders.items():
            numbers = [int(n) for n in expected.split(",")]

            def led(topic=topic, numbers=numbers):
                return all(self.state(topic, p)["leader"] == n for p, n in enumerate(numbers))

            wait_until(led, f"{topic} is led by {numbers}")

    def wait_in_sync(self, *brokers):
        """Waits until these brokers are in the ISR of everything that they hold and that is led."""

        def in_sync():
            for topic in self.topics():
                for p, replicas in self.assignment(topic).items():
                    state = self.state(topic, p)
                    if state["leader"] >= 0 and any(b in replicas and b not in state["isr"] for b in brokers):
                        return False
            return True

        wait_until(in_sync, f"{brokers} are in sync")

    def wait_out(self, broker):
        """Waits until a broker leads nothing and is in no ISR in which it is not alone."""

        def out():
            states = [self.state(t, p) for t in self.topics() for p in self.assignment(t)]
            return all(s["leader"] != broker and (broker not in s["isr"] or s["isr"] == [broker]) for s in states)

        wait_until(out, f"{broker} is out")

    def wait_gone(self, path):
        wait_until(lambda: not self.zk.exists(path), f"{path} is gone")

    def kill(self, number):
        self.brokers[number].kill()
        # As ZooKeeper would, once the session times out.
        self.zk.delete(f"/brokers/ids/{number}")
        self.wait_out(number)

    def stop(self, number):
        self.brokers[number].stop()
        self.wait_out(number)

    def start(self, number):
        self.brokers[number].start()
        self.wait_in_sync(number)

    def run(self):
        for broker in self.brokers.values():
            broker.start()
        with self.cluster.ensemble.client(self.cluster.chroot) as zk:
            self.zk = zk
            for step in (
                self.topics_come_and_go,
                self.brokers_come_and_go,
                self.elections,
                self.partitions_move,
                self.controllers_come_and_go,
                self.nonsense,
            ):
                step()
            for broker in reversed(self.brokers.values()):
                broker.stop()
        return self

    def create(self, topic, *replicas, **config):
        create_topic(self.brokers[self.at], topic, assignment=[list(r) for r in replicas], **config)

    def topics_come_and_go(self):
        self.create("a", (1, 2, 3), (2, 3, 1), (3, 1, 2), (2, 1, 3))
        self.create("b", (2, 3), (3, 2), cleanup_policy="compact", retention_ms=1000)
        self.create("c.d_e-F", (3, 2, 1))
        self.create("short-lived", (1, 2), (2, 3))
        delete_topic(self.brokers[1], "short-lived")
        self.wait_gone("/admin/delete_topics/short-lived")
        self.create("short-lived", (3, 1), (1, 3))
        where = ("--replica-assignment", "1:2:3,2:3:1,3:1:2,2:1:3,3:2:1,1:3:2")
        self.tool("topics", "--alter", "--topic", "c.d_e-F", "--partitions", "3", "--replica-assignment", "3:2:1,1:2:3,2:1:3").check()
        self.wait_led(**{"c.d_e-F": "3,1,2"})
        self.tool("topics", "--alter", "--topic", "a", "--partitions", "6", *where).check()
        self.wait_led(a="1,2,3,2,3,1")
        configs = ("--entity-type", "topics", "--entity-name", "a", "--add-config", "max.message.bytes=2000000")
        self.tool("configs", "--alter", *configs).check()
        wait_until(lambda: wire.init_producer_id(self.brokers[2].port)[0] == 0, "broker 2 has producer ids")
        wait_until(lambda: wire.init_producer_id(self.brokers[3].port)[0] == 0, "broker 3 has producer ids")

    def brokers_come_and_go(self):
        self.stop(2)
        # With a replica away: creation works, deletion waits.
        self.create("while-2-is-away", (3, 2), (1, 2))
        delete_topic(self.brokers[1], "short-lived")
        self.wait_gone("/admin/delete_topics/short-lived")
        delete_topic(self.brokers[1], "b")
        self.brokers[2].start()
        self.wait_gone("/admin/delete_topics/b")
        self.wait_in_sync(2)
        self.kill(3)
        # A partition on a dead broker, as tools that write to ZooKeeper leave it.
        node = json.loads(self.zk.get("/brokers/topics/while-2-is-away")[0])
        node["partitions"]["2"] = [3, 1]
        self.zk.set("/brokers/topics/while-2-is-away", json.dumps(node, separators=(",", ":")).encode())
        self.wait_led(**{"while-2-is-away": "2,1,1"})
        self.start(3)
        # It leads nothing now, and is stopped past its session: with nothing to fetch its leaders would not miss it.
        self.brokers[3].pause()
        wait_until(lambda: self.state("a", 0)["isr"] == [1, 2], "3 leaves the ISR of 1")
        wait_until(lambda: self.state("while-2-is-away", 0)["isr"] == [2], "3 leaves the ISR of 2")
        self.brokers[3].resume()
        self.wait_in_sync(2, 3)
        self.stop(3)
        self.stop(2)
        self.wait_led(a="1,1,1,1,1,1", **{"while-2-is-away": "-1,1,1"})
        self.start(3)
        self.start(2)
        self.wait_in_sync(2, 3)

    def elections(self):
        election = ("org.apache.kafka.tools.LeaderElectionCommand", "--election-type")
        self.tool(*election, "preferred", "--all-topic-partitions").check()
        self.wait_led(a="1,2,3,2,3,1", **{"c.d_e-F": "3,1,2", "while-2-is-away": "3,1,3"})
        # Nothing to do is fine too.
        self.tool(*election, "preferred", "--topic", "a", "--partition", "0").check()
        self.stop(2)
        refused = self.tool(*election, "preferred", "--topic", "a", "--partition", "1")
        assert "PreferredLeaderNotAvailableException" in refused.stdout + refused.stderr
        self.start(2)
        # By the znode of old tools.
        asked = [{"topic": "a", "partition": 1}, {"topic": "a", "partition": 3}, {"topic": "ghost", "partition": 0}]
        self.zk.create("/admin/preferred_replica_election", json.dumps({"version": 1, "partitions": asked}).encode())
        self.wait_gone("/admin/preferred_replica_election")
        self.wait_led(a="1,2,3,2,3,1")
        # Unclean elections: by an administrator, and by a topic's config.
        self.create("unclean", (3, 2))
        self.create("unclean-too", (3, 2))
        self.stop(2)
        self.kill(3)
        self.wait_led(unclean="-1", **{"unclean-too": "-1"})
        self.start(2)
        assert self.state("unclean", 0)["leader"] == -1
        self.tool(*election, "unclean", "--topic", "unclean", "--partition", "0").check()
        self.wait_led(unclean="2")
        configs = ("--entity-type", "topics", "--entity-name", "unclean-too")
        self.tool("configs", "--alter", *configs, "--add-config", "unclean.leader.election.enable=true").check()
        self.wait_led(**{"unclean-too": "2"})
        self.start(3)
        self.wait_in_sync(2, 3)
        self.tool(*election, "preferred", "--all-topic-partitions").check()
        self.wait_led(a="1,2,3,2,3,1", unclean="3", **{"unclean-too": "3"})

    def partitions_move(self):
        self.create("moving", (2,), (3,))
        self.move(0, [3])
        self.move(0, [3, 2])
        self.move(1, [3, 2])
        self.move(1, [2, 3])
        self.move(1, [2])
        # By the znode of old tools.
        self.zk.create("/admin/reassign_partitions", moves(("moving", 1, [1, 2])).encode())
        self.wait_moved("moving", [1, 2], 1)
        self.wait_gone("/admin/reassign_partitions")
        for entity, change in [
            (("topics", "a"), ("--delete-config", "max.message.bytes")),
            (("brokers", "2"), ("--add-config", "leader.replication.throttled.rate=1000000")),
        ]:
            self.tool("configs", "--alter", "--entity-type", entity[0], "--entity-name", entity[1], *change).check()

    def move(self, partition, replicas):
        """Moves a partition of the topic for that."""
        self.ask_to_move(partition, replicas, "--execute")
        self.wait_moved("moving", replicas, partition)

    def ask_to_move(self, partition, replicas, *action):
        file = self.cluster.directory / "moves.json"
        file.write_text(moves(("moving", partition, replicas)))
        self.tool("reassign-partitions", *action, "--reassignment-json-file", file).check()

    def begin_move(self, partition, replicas):
        """Moves by the znode of old tools. The move has begun once its leader is in a new epoch: the assignment is
        written before that, and a controller that is killed in between leaves one epoch less."""
        epoch = self.state("moving", partition)["leader_epoch"]
        self.zk.create("/admin/reassign_partitions", moves(("moving", partition, replicas)).encode())
        wait_until(lambda: self.moving("moving", partition), "the move is written")
        wait_until(lambda: self.state("moving", partition)["leader_epoch"] > epoch, "the move has begun")

    def moving(self, topic, partition=0):
        node = json.loads(self.zk.get(f"/brokers/topics/{topic}")[0])
        return any(str(partition) in node[side] for side in ("adding_replicas", "removing_replicas"))

    def wait_moved(self, topic, replicas, partition=0):
        """Waits until a partition has ended its move to these brokers, and they are in sync."""

        def moved():
            return self.assignment(topic)[partition] == replicas and not self.moving(topic, partition)

        wait_until(moved, f"{topic}-{partition} is on {replicas}")
        wait_until(lambda: set(self.state(topic, partition)["isr"]) <= set(replicas), "the ISR is of them")

    def controllers_come_and_go(self):
        self.stop(3)
        # A move to who is away waits, and is taken back.
        self.begin_move(1, [1, 3])
        self.ask_to_move(1, [1, 3], "--cancel", "--preserve-throttles")
        self.wait_gone("/admin/reassign_partitions")
        self.wait_moved("moving", [1, 2], 1)
        # A deletion that waits for a replica, a move that waits for its target, and another controller.
        delete_topic(self.brokers[1], "unclean")
        self.begin_move(1, [2, 3])
        self.brokers[1].kill()
        self.zk.delete("/brokers/ids/1")
        self.zk.delete("/controller")
        self.wait_controller(2)
        self.wait_out(1)
        self.create("of-the-second", (2,))
        self.start(1)
        assert self.zk.exists("/admin/delete_topics/unclean")
        self.brokers[3].start()
        self.wait_gone("/admin/delete_topics/unclean")
        self.wait_moved("moving", [2, 3], 1)
        self.wait_in_sync(1, 3)
        # A partition that a tool has written.
        node = json.loads(self.zk.get("/brokers/topics/of-the-second")[0])
        node["partitions"]["1"] = [1, 3]
        self.zk.set("/brokers/topics/of-the-second", json.dumps(node, separators=(",", ":")).encode())
        wait_until(lambda: 1 in self.assignment("of-the-second"), "it is there")
        self.wait_led(**{"of-the-second": "2,1"})
        self.wait_in_sync(1, 3)
        election = ("org.apache.kafka.tools.LeaderElectionCommand", "--election-type", "preferred", "--all-topic-partitions")
        self.tool(*election).check()
        self.wait_led(a="1,2,3,2,3,1")
        # While 3 is away, 1 is next.
        self.stop(3)
        self.stop(2)
        self.wait_controller(1)
        self.start(2)
        self.start(3)
        self.tool(*election).check()
        self.wait_led(a="1,2,3,2,3,1")

    def wait_controller(self, number):
        """Waits until a broker is the controller, and asks it from now on."""

        def is_it():
            return self.zk.exists("/controller") and json.loads(self.zk.get("/controller")[0])["brokerid"] == number

        wait_until(is_it, f"broker {number} is the controller")
        self.at = number

    def nonsense(self):
        self.zk.create("/admin/delete_topics/ghost")
        self.wait_gone("/admin/delete_topics/ghost")
        self.zk.create("/admin/preferred_replica_election", b"no json")
        self.wait_gone("/admin/preferred_replica_election")
        self.zk.create("/isr_change_notification/isr_change_", b'{"version":1,"partitions":[{"topic":"a","partition":0}]}', sequence=True)
        wait_until(lambda: not self.zk.get_children("/isr_change_notification"), "the notification was read")
        self.zk.create("/log_dir_event_notification/log_dir_event_", b'{"version":1,"broker":2,"event":1}', sequence=True)
        wait_until(lambda: not self.zk.get_children("/log_dir_event_notification"), "the event was read")
        self.zk.create("/brokers/topics/by-hand", b'{"version":1,"partitions":{"0":[2,3]}}')
        self.wait_led(**{"by-hand": "2"})
        for topic in sorted(self.topics()):
            delete_topic(self.brokers[1], topic)
            self.wait_gone(f"/admin/delete_topics/{topic}")

    def lives(self):
        """What was written to each node, without what no controller decides."""
        leaving, kept = set(), []
        for operation, path, data in history.writes(self.cluster.ensemble.servers[0], self.cluster.chroot):
            topic = path.split("/")[3] if path.startswith(("/brokers/topics/", "/admin/delete_topics/")) else None
            if path.startswith("/admin/delete_topics/"):
                (leaving.add if operation == "create" else leaving.discard)(topic)
            if path.startswith(("/config/changes/", "/consumers", "/cluster")):
                continue
            # Which replica of a topic that goes leaves the ISR first is the order of a hash map.
            if operation == "set" and path.endswith("/state") and topic in leaving:
                continue
            kept.append((operation, path, data))
        return history.by_path(kept)

    def complaints(self):
        """The kinds of warnings and errors of brokers 2 and 3, where they are Apache's."""
        found = set()
        for number, broker in self.brokers.items():
            if number == 1 or broker.kind != "apache":
                continue
            lines = broker.process.log.read_text().splitlines()
            for line, behind in zip(lines, lines[1:] + [""]):
                # A channel to a dead broker that is closed while it waits for its next try, which is chance, says so.
                if behind == "java.lang.InterruptedException":
                    continue
                if match := re.match(r"\[[^]]+\] (WARN|ERROR|FATAL) (.*) \(([\w.$]+)\)$", line):
                    found.add(f"{match[1]} {match[3]} {_kind(match[2])}")
        return found


def moves(*wanted):
    """The JSON of a reassignment: (topic, partition, replicas)…"""
    keys = ("topic", "partition", "replicas")
    return json.dumps({"version": 1, "partitions": [dict(zip(keys, move)) for move in wanted]})


def _kind(message):
    """The message without what differs from one to the next of its kind."""
    message = re.sub(r"\[[^]]*\]|\{[^}]*\}|\([^)]*\)", "", re.split(" for fetch request| fails to send request", message)[0])
    message = re.sub(r"\b(a|c\.d_e-F|unclean|unclean-too|while-2-is-away|by-hand|b|short-lived|moving|of-the-second|moved|cancelled|replaced|deleted|old|later)-\d+\b", "PARTITION", message)
    return " ".join(re.sub(r"[-\w.]*\d[-\w.:/]*", "N", message).split()[:22])


def kept(name, found=None):
    """What Apache did, from the corpus; with ZURAU_CAPTURE what was found is written there first."""
    file = _CORPUS / f"{name}-apache-3.9.1.txt"
    if CAPTURE and found is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(found)
    return file.read_text()


@pytest.fixture(scope="module", params=MIXES if PEER != "apache" else ["over Apache"])
def script(module_directory, ensemble, apache_tools, request):
    name = request.param.replace(" ", "-")
    return Script(module_directory / name, ensemble, apache_tools, f"/controlled-{name}", MIXES[request.param]).run()


def test_every_write_is_apaches(script):
    found = "".join(f"{path}\n" + "".join(f"    {line}\n" for line in life) for path, life in sorted(script.lives().items()))
    assert _comparable(found) == _comparable(kept("writes", found))


def _comparable(lives):
    """Null data counts as empty. The node of producer ids, which Apache makes at its start, we make with the first ids."""
    lines = [line.rstrip() for line in lives.splitlines()]
    at = lines.index("/latest_producer_id_block")
    if lines[at + 1] == "    create":
        del lines[at + 1]
        lines[at + 1] = lines[at + 1].replace("set", "create", 1)
    return lines


def test_apache_brokers_complain_of_nothing_new(script):
    found = script.complaints()
    known = set(kept("complaints", "".join(f"{line}\n" for line in sorted(found))).splitlines())
    assert not found - known, "\n".join(sorted(found - known))
