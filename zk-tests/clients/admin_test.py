"""The same commands on Apache and on the broker under test get the same answers: Apache's own tools ask both.

The commands run in order on each, once; each is then a test of its own. Masked is what differs from run to run.
"""

import contextlib
import json
import re
import struct

import pytest
from kazoo.exceptions import NoNodeError

from harness import PEER, admin, wire
from harness.broker import STEADY, Cluster
from harness.processes import wait_until

_RECORDS = "".join(f"k{i}\tvalue {i}\n" for i in range(50))
_TOPIC = ("configs", "--entity-type", "topics", "--entity-name")
_BROKER = ("configs", "--entity-type", "brokers", "--entity-name")
_BROKERS = ("configs", "--entity-type", "brokers", "--entity-default")

# name: (tool, argument...). {file} is a JSON file of the offsets to delete up to.
STEPS = {
    "list without topics": ("topics", "--list"),
    "create": ("topics", "--create", "--topic", "a", "--partitions", "2", "--config", "retention.ms=86400000"),
    "create with assignment": ("topics", "--create", "--topic", "placed", "--replica-assignment", "1,1,1"),
    "create with defaults": ("topics", "--create", "--topic", "defaults"),
    "create what exists": ("topics", "--create", "--topic", "a", "--partitions", "2"),
    "create if not exists": ("topics", "--create", "--topic", "a", "--if-not-exists"),
    "create a colliding name": ("topics", "--create", "--topic", "with.dot_"),
    "create the other colliding name": ("topics", "--create", "--topic", "with_dot."),
    "create with a bad name": ("topics", "--create", "--topic", "bad name"),
    "create dot dot": ("topics", "--create", "--topic", ".."),
    "create a long name": ("topics", "--create", "--topic", "x" * 250),
    "create without partitions": ("topics", "--create", "--topic", "b", "--partitions", "0"),
    "create with too many replicas": ("topics", "--create", "--topic", "b", "--replication-factor", "2"),
    "create without replicas": ("topics", "--create", "--topic", "b", "--replication-factor", "0"),
    "create with a replica twice": ("topics", "--create", "--topic", "b", "--replica-assignment", "1:1"),
    "create with a wrong value": ("topics", "--create", "--topic", "b", "--config", "retention.ms=soon"),
    "create with a value out of range": ("topics", "--create", "--topic", "b", "--config", "min.insync.replicas=0"),
    "create with a wrong policy": ("topics", "--create", "--topic", "b", "--config", "cleanup.policy=burn"),
    "create with an unknown key": ("topics", "--create", "--topic", "b", "--config", "no.such.key=1"),
    "list": ("topics", "--list"),
    "describe": ("topics", "--describe"),
    "describe one": ("topics", "--describe", "--topic", "placed"),
    "describe none": ("topics", "--describe", "--topic", "missing"),
    "describe overrides": ("topics", "--describe", "--topics-with-overrides"),
    "describe under-replicated": ("topics", "--describe", "--under-replicated-partitions"),
    "fewer partitions": ("topics", "--alter", "--topic", "a", "--partitions", "1"),
    "as many partitions": ("topics", "--alter", "--topic", "a", "--partitions", "2"),
    "more partitions": ("topics", "--alter", "--topic", "a", "--partitions", "4"),
    "more partitions of none": ("topics", "--alter", "--topic", "missing", "--partitions", "4"),
    "describe with more partitions": ("topics", "--describe", "--topic", "a"),
    "topic configs": (*_TOPIC, "a", "--describe"),
    "all topic configs": (*_TOPIC, "a", "--describe", "--all"),
    "all topic configs of another": (*_TOPIC, "defaults", "--describe", "--all"),
    "topic configs of none": (*_TOPIC, "missing", "--describe"),
    "set topic configs": (*_TOPIC, "a", "--alter", "--add-config", "flush.ms=5,cleanup.policy=[compact,delete],segment.bytes=1048576"),
    "unset topic config": (*_TOPIC, "a", "--alter", "--delete-config", "retention.ms"),
    "unset what is not set": (*_TOPIC, "a", "--alter", "--delete-config", "max.message.bytes"),
    "set a wrong value": (*_TOPIC, "a", "--alter", "--add-config", "flush.ms=never"),
    "set an unknown key": (*_TOPIC, "a", "--alter", "--add-config", "no.such.key=1"),
    "set on none": (*_TOPIC, "missing", "--alter", "--add-config", "flush.ms=5"),
    "topic configs afterwards": (*_TOPIC, "a", "--describe", "--all"),
    "all broker configs": (*_BROKER, "1", "--describe", "--all"),
    "broker configs": (*_BROKER, "1", "--describe"),
    "set broker configs": (*_BROKER, "1", "--alter", "--add-config", "log.retention.ms=777777,log.cleaner.threads=2"),
    "set for all brokers": (*_BROKERS, "--alter", "--add-config", "log.retention.ms=888888,message.max.bytes=2000000,custom=1"),
    "set a throttle": (*_BROKER, "1", "--alter", "--add-config", "leader.replication.throttled.rate=1000"),
    "set a read-only broker config": (*_BROKER, "1", "--alter", "--add-config", "num.partitions=5"),
    "set a broker config to a wrong value": (*_BROKER, "1", "--alter", "--add-config", "log.retention.ms=0"),
    "set three times the threads": (*_BROKER, "1", "--alter", "--add-config", "num.io.threads=24"),
    "set the threads to a third": (*_BROKER, "1", "--alter", "--add-config", "num.io.threads=2"),
    "set listeners of all brokers": (*_BROKERS, "--alter", "--add-config", "advertised.listeners=PLAINTEXT://h:1"),
    "set a store without a listener": (*_BROKER, "1", "--alter", "--add-config", "ssl.keystore.location=/k"),
    "set a password": (*_BROKER, "1", "--alter", "--add-config", "listener.name.plaintext.ssl.key.password=k"),
    "all broker configs afterwards": (*_BROKER, "1", "--describe", "--all"),
    "configs of all brokers": (*_BROKERS, "--describe"),
    "topic configs over the broker's": (*_TOPIC, "defaults", "--describe", "--all"),
    "unset a broker config": (*_BROKER, "1", "--alter", "--delete-config", "log.retention.ms"),
    "unset for all brokers": (*_BROKERS, "--alter", "--delete-config", "log.retention.ms,custom"),
    "broker configs in the end": (*_BROKER, "1", "--describe"),
    "produce": ("console-producer", "--topic", "placed", "--property", "parse.key=true"),
    "latest offsets": ("get-offsets", "--topic", "placed", "--time", "-1"),
    "earliest offsets": ("get-offsets", "--topic", "placed", "--time", "-2"),
    "earliest local offsets": ("get-offsets", "--topic", "placed", "--time", "-4"),
    "offsets at time zero": ("get-offsets", "--topic", "placed", "--time", "0"),
    "offsets in the far future": ("get-offsets", "--topic", "placed", "--time", "9999999999999"),
    "offsets of all": ("get-offsets",),
    "offsets of some": ("get-offsets", "--topic-partitions", "a:0,placed:1-3"),
    "offsets of none": ("get-offsets", "--topic", "missing"),
    "consume": (
        "console-consumer", "--topic", "placed", "--partition", "0", "--offset", "earliest", "--timeout-ms", "3000",
        "--property", "print.key=true", "--property", "print.offset=true", "--property", "print.partition=true",
    ),
    "log dirs": ("log-dirs", "--describe", "--broker-list", "1"),
    "log dirs of some topics": ("log-dirs", "--describe", "--broker-list", "1", "--topic-list", "placed,missing"),
    "delete records": ("delete-records", "--offset-json-file", "{file}"),
    "offsets after deletion": ("get-offsets", "--topic", "placed", "--time", "-2"),
    "delete topic": ("topics", "--delete", "--topic", "a"),
    "delete no topic": ("topics", "--delete", "--topic", "missing"),
    "delete no topic if exists": ("topics", "--delete", "--topic", "missing", "--if-exists"),
    "list afterwards": ("topics", "--list"),
    "producers": ("org.apache.kafka.tools.TransactionsCommand", "describe-producers", "--topic", "placed", "--partition", "0"),
    "cluster id": ("org.apache.kafka.tools.ClusterTool", "cluster-id"),
}  # fmt: skip

_MASKS = [
    (re.compile(r"adminclient-\d+"), "adminclient-N"),
    (re.compile(r"\b1\d{12}\b"), "MILLIS"),
    (re.compile(r"TopicId: [A-Za-z0-9_-]{22}"), "TopicId: ID"),
    (re.compile(r"Cluster ID: [A-Za-z0-9_-]{22}"), "Cluster ID: ID"),
    (re.compile(r"127\.0\.0\.1:\d+"), "HOST:PORT"),
    # How far apart in time records were sent is in the length of each.
    (re.compile(r'"size":[1-9]\d*'), '"size":SIZE'),
    (re.compile(r"/cluster-\d+"), "/CHROOT"),
    (re.compile(r'(?<=[=:"/])/?[^ ,"=:]*/(broker-\d+/data-\d+)'), r"\1"),
    (re.compile(r"^\[\d{4}-[^]]*\]", re.M), "[TIME]"),
    (re.compile(r"^\s+at .*\n|^\s+\.\.\. \d+ more\n", re.M), ""),
]


def mask(text):
    for pattern, to in _MASKS:
        text = pattern.sub(to, text)
    return text


def answers(kind, directory, ensemble, tools):
    """What every command gets on a fresh broker of this kind."""
    cluster = Cluster(directory, ensemble)
    one = cluster.broker(1, kind, default_replication_factor=1, num_partitions=2, **STEADY).start()
    file = directory / "offsets.json"
    file.write_text(
        '{"version":1,"partitions":[{"topic":"placed","partition":0,"offset":3},{"topic":"placed","partition":1,"offset":-1},'
        '{"topic":"placed","partition":2,"offset":999}]}'
    )
    found = {}
    for name, (tool, *args) in STEPS.items():
        if tool == "configs":
            wait_read(one, cluster)
        args = [a.format(file=file) for a in args]
        at = "--bootstrap-server"
        if tool.startswith("org.apache.kafka.tools.") and "ClusterTool" not in tool:
            run = tools.run(tool, at, one.bootstrap, *args)
        else:
            run = tools.run(tool, *args, at, one.bootstrap, stdin=_RECORDS)
        found[name] = f"exit {run.exit}\n{mask(run.stdout)}{mask(run.stderr)}"
        if name.startswith("create") and run.exit == 0:
            admin.wait_led(one, args[args.index("--topic") + 1])
    return found


def wait_read(broker, cluster):
    """A change of settings is answered once it is written; then the broker reads it."""

    def is_read():
        for name in ("1", ""):
            known, written = wire.dynamic_configs(broker.port, name), {}
            with contextlib.suppress(NoNodeError):
                written = json.loads(zk.get(f"/config/brokers/{name or '<default>'}")[0])["config"]
            # What it does not know may be a secret, and is not shown.
            if known != {key: known.get(key) and value for key, value in written.items()}:
                raise LookupError(f"it knows {known}, and {written} is written")
        return True

    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_until(is_read, "the broker has read its settings")


@pytest.fixture(scope="module")
def both(module_directory, ensemble, apache_tools):
    theirs = answers("apache", module_directory / "apache", ensemble, apache_tools)
    return theirs, answers(PEER, module_directory / "peer", ensemble, apache_tools)


@pytest.mark.parametrize("step", STEPS)
def test_same_answer(step, both):
    theirs, ours = both
    assert ours[step].splitlines() == theirs[step].splitlines()


def test_served_versions_are_apaches(module_directory, ensemble, apache_tools):
    """Whatever is served is served in Apache's range of versions."""
    found = []
    for kind in ("apache", PEER):
        cluster = Cluster(module_directory / f"versions-{len(found)}", ensemble)
        one = cluster.broker(1, kind).start()
        listed = apache_tools.run("broker-api-versions", "--bootstrap-server", one.bootstrap).check().stdout
        found.append({line.strip().rstrip(",") for line in listed.splitlines() if "usable" in line})
        one.stop()
    theirs, ours = found
    assert ours, "no version is usable"
    assert ours - theirs == set()


def test_many_ask_for_a_missing_topic_at_once(cluster):
    """Each is answered, and the topic is made once."""
    broker = cluster.broker(1, auto_create_topics_enable="true").start()
    ask = wire.request(wire.METADATA, 1, 7, struct.pack(">i", 1) + wire.string("wanted"))
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(wire.connect(broker.port)) for _ in range(40)]
        for s in waiting:
            s.sendall(ask)
        for s in waiting:
            assert wire.read_frame(s)
    admin.wait_led(broker, "wanted")
