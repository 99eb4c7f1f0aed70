"""Consumer groups: members of every kind of client, what they saw, and what the coordinator says of them."""

import json
import signal

from . import CACHE, ROOT, ZURAU, wire
from .java import java
from .processes import Process, wait_until

_PYTHON = [CACHE / "python" / "bin" / "python"]
_JAVA = "org.apache.kafka.tools.VerifiableConsumer"
_ASSIGNOR = "org.apache.kafka.clients.consumer."


def _verifiable(command, bootstrap, group, topic, instance, *more):
    static = ["--group-instance-id", instance] if instance else []
    where = ["--bootstrap-server", bootstrap, "--topic", topic, "--group-id", group]
    return [*command, *where, *static, *more]


def _java(assignor, session_ms=6000):
    def command(bootstrap, group, topic, instance):
        more = ["--assignment-strategy", _ASSIGNOR + assignor, "--session-timeout", session_ms]
        return _verifiable(java("kafka", _JAVA, log4j="tools"), bootstrap, group, topic, instance, *more)

    return command


def _zurau(assignor):
    def command(bootstrap, group, topic, instance):
        more = ["--assignment-strategy", _ASSIGNOR + assignor, "--session-timeout", "6000"]
        return _verifiable([ZURAU, "verifiable-consumer"], bootstrap, group, topic, instance, *more)

    return command


def _plain(*program):
    def command(bootstrap, group, topic, instance):
        return [*program, bootstrap, group, topic, *([instance] if instance else [])]

    return command


def _confluent(assignor):
    return _plain("env", f"ASSIGNOR={assignor}", *_PYTHON, ROOT / "clients/python/confluent_member.py")


def _go(library, assignor):
    return _plain(CACHE / "go" / f"{library}member", assignor)


# It stays a member however loaded the machine is.
STEADY = _java("RangeAssignor", session_ms=60_000)
# Those that share partitions by range, and so may share a group; those that deal them out in turn; and those that share
# them cooperatively.
EAGER = {
    "java": _java("RangeAssignor"),
    "zurau": _zurau("RangeAssignor"),
    "confluent-kafka": _confluent("range"),
    "franz-go": _go("franz", "range"),
    "sarama": _go("sarama", "range"),
    "kafka-python": _plain(*_PYTHON, ROOT / "clients/python/kafka_python_member.py"),
    "aiokafka": _plain(*_PYTHON, ROOT / "clients/python/aiokafka_member.py"),
}
ROUND_ROBIN = {
    "java": _java("RoundRobinAssignor"),
    "confluent-kafka": _confluent("roundrobin"),
    "sarama": _go("sarama", "roundrobin"),
    "franz-go": _go("franz", "roundrobin"),
}
COOPERATIVE = {
    "java": _java("CooperativeStickyAssignor"),
    "zurau": _zurau("CooperativeStickyAssignor"),
    "franz-go": _go("franz", "cooperative-sticky"),
    "confluent-kafka": _confluent("cooperative-sticky"),
}
# It knows one way to share, which is its own.
KAFKAJS = {"kafkajs": _plain("node", ROOT / "clients/kafkajs/member.js")}
STATIC = ("java", "zurau", "confluent-kafka", "franz-go", "sarama")


class Member:
    """A process that consumes in a group and prints what happens."""

    def __init__(self, command, directory, name, bootstrap, group, topic, instance=None):
        self._command = command(bootstrap, group, topic, instance)
        self._log = directory / f"{name}.log"
        self._events = directory / f"{name}.events"
        self.name = name
        self.process = None

    def start(self):
        env = {"NODE_PATH": str(CACHE / "kafkajs" / "node_modules")}
        with open(self._events, "ab") as out:
            self.process = Process(self._command, self._log, self.name, env=env, stdout=out)
        return self

    def events(self, name=None):
        """Whole lines only: a member may be killed in the middle of one."""
        lines = self._events.read_text(errors="replace").split("\n")[:-1] if self._events.exists() else []
        found = []
        for line in lines:
            try:
                event = json.loads(line)
            except ValueError:
                # The end of a line that a kill cut off, and the next start.
                continue
            if name in (None, event["name"]):
                found.append(event)
        return found

    def offsets(self):
        """Every (partition, offset) that it was handed."""
        for event in self.events("records_consumed"):
            for p in event["partitions"]:
                for offset in range(p["minOffset"], p["maxOffset"] + 1):
                    yield p["partition"], offset

    def owned(self):
        """Every (generation, partition) that it was assigned, of members that know the generation."""
        for event in self.events("partitions_assigned"):
            if "generation" in event:
                for p in event["partitions"]:
                    yield event["generation"], p["partition"]

    def alive(self):
        return self.process is not None and self.process.alive()

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    def leave(self, seconds=30):
        self.process.signal(signal.SIGCONT)
        return self.process.terminate(seconds)

    def kill(self):
        return self.process.kill()


class Watch:
    """What the coordinator says of one group. Frames of our own: librdkafka's AdminClient takes the whole process down
    when a coordinator that moves or loads answers it (confluent-kafka-javascript issue 374, librdkafka pull 5397)."""

    def __init__(self, bootstrap, group):
        self.group = group
        self._ports = [int(broker.rpartition(":")[2]) for broker in bootstrap.split(",")]

    def _ask(self, ask):
        """Asks the coordinator once there is one that answers."""

        def answered():
            last = None
            for port in self._ports:
                try:
                    return [ask(wire.find_coordinator(port, self.group), self.group)]
                except (OSError, RuntimeError) as e:
                    last = e
            raise last

        return wait_until(answered, f"the coordinator of group {self.group} answers")[0]

    def describe(self):
        """State, and the partitions of each member."""
        return self._ask(wire.describe_group)

    def committed(self):
        """{(topic, partition): offset}"""
        return self._ask(wire.committed_offsets)

    def wait_stable(self, members, partitions=0, seconds=120):
        """Returns the assignments once so many members share so many partitions in a stable generation. Between the two
        generations of a cooperative rebalance some have no owner."""

        def stable():
            state, assigned = self.describe()
            owned = sum(len(of_member) for of_member in assigned.values())
            return state == "Stable" and len(assigned) == members and owned >= partitions and assigned

        return wait_until(stable, f"group {self.group} is stable with {members} members", seconds)


def check_disjoint(assigned, partitions=None):
    """No partition has two owners; with `partitions`, each has one."""
    owned = sorted(p for of_member in assigned.values() for p in of_member)
    assert len(owned) == len(set(owned)), assigned
    if partitions is not None:
        assert owned == list(range(partitions)), assigned


def check_one_owner_a_generation(members):
    owners = {}
    for member in members:
        for at in set(member.owned()):
            other = owners.setdefault(at, member)
            assert other is member, f"{other.name} and {member.name} both own partition {at[1]} in generation {at[0]}"
