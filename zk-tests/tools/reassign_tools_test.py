"""The tools for replicas and leaders beside Apache's, on three Apache brokers: the same calls print the same and end with
the same code. Each side moves a topic of its own."""

import itertools
import json
import os
import re
import subprocess

import pytest
from confluent_kafka import Producer

from harness import REPOSITORY, ZURAU, admin, processes
from harness.broker import STEADY, Cluster
from harness.java import java
from harness.pair import BS, THEM, US, Pair
from harness.settled import wait_settled


@pytest.fixture(scope="module")
def cluster(module_directory, ensemble):
    """Three Apache brokers with two log directories each."""
    cluster = Cluster(module_directory, ensemble, kind="apache")
    for number in (1, 2, 3):
        # What a throttle has let through counts for minutes: a move ends when a test wants it to.
        slow = {"replication_quota_window_size_seconds": 20}
        cluster.broker(number, log_dirs=2, auto_leader_rebalance_enable="false", **slow, **STEADY).launch()
    for broker in cluster.brokers:
        broker.wait_ready()
    yield cluster
    for broker in cluster.brokers:
        broker.kill()


@pytest.fixture(scope="module")
def pair(cluster, apache_tools):
    return Pair(cluster.brokers, apache_tools)


@pytest.fixture
def clean(cluster):
    """For a test that changes the cluster: what it leaves, also when it fails, is gone before the next."""
    yield
    admin.clear(cluster.brokers)


@pytest.fixture
def file(directory):
    """Writes a file for a tool: JSON, or text as it is. `ME` in its name and content is each side."""

    def write(name, content):
        text = content if isinstance(content, str) else json.dumps(content)
        for me in (US, THEM):
            (directory / name.replace("ME", me)).write_text(text.replace("ME", me))
        return f"{directory}/{name}".replace("ME", "{me}")

    return write


def moves(*entries):
    """("topic", partition, [replicas], [log_dirs]) …"""
    keys = ("topic", "partition", "replicas", "log_dirs")
    return {"version": 1, "partitions": [dict(zip(keys, entry)) for entry in entries]}


def both(pair, line):
    for me in (US, THEM):
        pair.run(line.replace("{me}", me), side=THEM)[THEM].check()


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--list",
        f"{BS}",
        f"{BS} --list --verify",
        f"{BS} --execute",
        f"{BS} --generate --broker-list 1",
        f"{BS} --execute --reassignment-json-file nofile",
        f"{BS} --list --throttle 5",
        f"{BS} --verify --reassignment-json-file x --additional",
        f"{BS} --generate --topics-to-move-json-file nofile --broker-list 1",
        f"{BS} --list --list",
        f"{BS} --foo",
        f"{BS} --list --command-config",
        f"{BS} --list",
        "--version",
    ],
)
def test_reassign_partitions_refuses_as_apache(pair, line):
    pair.same(f"reassign-partitions {line}")


def test_files_that_say_nothing_useful(pair, file):
    contents = [
        "[]",
        "{}",
        {"version": 2, "partitions": []},
        {"version": "1", "partitions": []},
        {"version": 1, "partitions": {}},
        {"version": 1, "partitions": [7]},
        {"version": 1, "partitions": [{"partition": 0, "replicas": [1]}]},
        moves(("t", "0", [1])),
        moves(("t", 0, [])),
        moves(("t", 0, ["1"])),
        moves(("t", 0, [1, 1, 2])),
        moves(("t", 0, [1]), ("t", 0, [2])),
        moves(("t", 0, [1, 2], ["any"])),
        moves(("t", 0, [1, 9])),
        moves(("nope", 0, [1])),
    ]
    for n, content in enumerate(contents):
        name = file(f"{n}.json", content)
        pair.same(f"reassign-partitions {BS} --execute --reassignment-json-file {name}")
    for name in (file("empty.json", "{}"), file("unknown.json", moves(("nope", 0, [1])))):
        pair.same(f"reassign-partitions {BS} --verify --preserve-throttles --reassignment-json-file {name}")
        pair.same(f"reassign-partitions {BS} --cancel --preserve-throttles --reassignment-json-file {name}")
    name = file("throttle.json", moves(("t", 0, [1])))
    pair.same(f"reassign-partitions {BS} --execute --reassignment-json-file {name} --throttle x")
    pair.same(f"reassign-partitions {BS} --execute --reassignment-json-file {name} --throttle 5 --throttle 6")


@pytest.mark.usefixtures("clean")
def test_generate(pair, file):
    both(pair, f"topics {BS} --create --topic gen-{{me}} --replica-assignment 1,1,1")
    both(pair, f"topics {BS} --create --topic gen2-{{me}} --replica-assignment 1:2")
    generate = f"reassign-partitions {BS} --generate --broker-list"
    topic = file("gen-ME.json", {"version": 1, "topics": [{"topic": "gen-ME"}]})
    # On one broker there is nothing to choose.
    code, out, _ = pair.same(f"{generate} 2 --topics-to-move-json-file {topic}")
    assert code == 0 and out.count('"replicas":[2]') == 3
    pair.same(f"{generate} 2 --topics-to-move-json-file {topic} --disable-rack-aware")
    pair.same(f"{generate} 2,x --topics-to-move-json-file {topic}")
    pair.same(f"{generate} 2,2 --topics-to-move-json-file {topic}")
    pair.same(f"{generate} 9 --topics-to-move-json-file {topic}")
    two = file("gen2-ME.json", {"topics": [{"topic": "gen2-ME"}]})
    pair.same(f"{generate} 2 --topics-to-move-json-file {two}")
    for n, content in enumerate(["x", "{}", {"topics": [{}]}, {"topics": [{"topic": "a"}, {"topic": "a"}]}, {"topics": [{"topic": "nope"}]}]):
        name = file(f"{n}.json", content)
        pair.same(f"{generate} 1 --topics-to-move-json-file {name}")
    # Where there is a choice, ours is checked by itself: every replica on a broker of the list, none twice.
    done = pair.run(f"{generate} 1,2,3 --topics-to-move-json-file {two.replace('{me}', US)}", side=US)[US].check()
    proposed = json.loads(done.stdout.split("Proposed partition reassignment configuration\n")[1])
    replicas = proposed["partitions"][0]["replicas"]
    assert len(replicas) == 2 and len(set(replicas) & {1, 2, 3}) == 2


def shown(pair, line, text, missing=False):
    processes.wait_until(lambda: (text in pair.run(line, side=THEM)[THEM].stdout) != missing, f"{text} in {line}")


@pytest.mark.usefixtures("clean")
def test_a_move_from_start_to_end(pair, cluster, file):
    both(pair, f"topics {BS} --create --topic mv-{{me}} --replica-assignment 1:2,2:1,1:2,2:1")
    wait_settled(pair.brokers)
    # More than one fetch takes, so that a throttle counts.
    producer = Producer({"bootstrap.servers": pair.bootstrap, "acks": "all"})
    for topic, partition in itertools.product(("mv-ours", "mv-them"), range(4)):
        for _ in range(4):
            producer.produce(topic, b"v" * 900_000, partition=partition)
    assert producer.flush(60) == 0
    reassign = f"reassign-partitions {BS}"
    there = file("there-ME.json", moves(("mv-ME", 0, [3, 2]), ("mv-ME", 1, [3, 1]), ("mv-ME", 3, [2, 1, 3])))
    # So slow that it lasts until it is cancelled.
    start = f"{reassign} --execute --additional --reassignment-json-file {there}"
    code, out, _ = pair.same(f"{start} --throttle 1024")
    assert code == 0 and "The inter-broker throttle limit was set to 1024 B/s" in out
    assert "Successfully started partition reassignments for mv-ME-0,mv-ME-1,mv-ME-3" in out
    code, out, _ = pair.same(f"{reassign} --list")
    assert "mv-ours-0: replicas: 3,2,1. adding: 3. removing: 1." in out
    pair.same(f"{reassign} --execute --reassignment-json-file {there}")
    for topic in ("mv-ours", "mv-them"):
        shown(pair, f"configs {BS} --describe --topic {topic}", "throttled")
    code, out, _ = pair.same(f"configs {BS} --describe --topic mv-{{me}}")
    assert "leader.replication.throttled.replicas=0:1,0:2,1:1,1:2,3:1,3:2 " in out
    shown(pair, f"configs {BS} --describe --broker 3", "follower.replication.throttled.rate=1024")
    code, out, _ = pair.same(f"{reassign} --verify --reassignment-json-file {there}")
    assert "mv-ME-0 is still in progress" in out
    pair.same(f"topics {BS} --describe --topic mv-{{me}}")
    pair.same(f"topics {BS} --describe --under-replicated-partitions")
    more = file("more-ME.json", moves(("mv-ME", 2, [1, 3])))
    pair.same(f"{reassign} --execute --additional --reassignment-json-file {more} --throttle 2048")
    # Apache's tool forgets moves that only add replicas, so the one of partition 3 is left out.
    some = file("some-ME.json", moves(("mv-ME", 0, [3, 2]), ("mv-ME", 1, [3, 1])))
    code, out, _ = pair.same(f"{reassign} --cancel --preserve-throttles --reassignment-json-file {some}")
    assert "Successfully cancelled partition reassignments for: mv-ME-0,mv-ME-1" in out
    pair.same(f"{reassign} --cancel --preserve-throttles --reassignment-json-file {some}")
    pair.same(f"{reassign} --verify --preserve-throttles --reassignment-json-file {some}")
    # Again, as fast as it can.
    code, out, _ = pair.same(f"{start} --throttle 1000000000")
    shown(pair, f"{reassign} --list", "No partition reassignments found.")
    code, out, _ = pair.same(f"{reassign} --verify --reassignment-json-file {there}")
    assert "mv-ME-0 is completed" in out and "Clearing broker-level throttles on brokers 1,2,3" in out
    for topic in ("mv-ours", "mv-them"):
        shown(pair, f"configs {BS} --describe --topic {topic}", "throttled", missing=True)
    shown(pair, f"configs {BS} --describe --broker 3", "throttled", missing=True)
    pair.same(f"topics {BS} --describe --topic mv-{{me}}")
    wrong = file("wrong-ME.json", moves(("mv-ME", 0, [1, 2]), ("mv-ME", 9, [1]), ("nope-ME", 0, [1])))
    pair.same(f"{reassign} --verify --preserve-throttles --reassignment-json-file {wrong}")


@pytest.mark.usefixtures("clean")
def test_moves_between_log_directories(pair, cluster, file):
    both(pair, f"topics {BS} --create --topic dir-{{me}} --replica-assignment 1")
    wait_settled(pair.brokers)
    first, second = (str(d) for d in cluster.brokers[0].log_dirs)
    other = {me: second if cluster.brokers[0].partition(f"dir-{me}", 0).exists() else first for me in (US, THEM)}
    # Both replicas start in the same place, so that both sides say the same.
    line = f"reassign-partitions {BS} --execute --reassignment-json-file"
    for me in (US, THEM):
        name = file(f"even-{me}.json", moves((f"dir-{me}", 0, [1], [first])))
        if other[me] == first:
            pair.run(f"{line} {name}", side=THEM)[THEM].check()
            verify = f"reassign-partitions {BS} --verify --preserve-throttles --reassignment-json-file {name}"
            shown(pair, verify, "completed successfully")
    there = file("dir-ME.json", moves(("dir-ME", 0, [1], [second])))
    pair.same(f"reassign-partitions {BS} --verify --preserve-throttles --reassignment-json-file {there}")
    code, out, _ = pair.same(f"{line} {there} --replica-alter-log-dirs-throttle 100000000")
    assert code == 0 and "The replica-alter-dir throttle limit was set to 100000000 B/s" in out
    assert f"Successfully started moving log directory to {second} for replica dir-ME-0 with broker 1" in out
    for me in (US, THEM):
        verify = f"reassign-partitions {BS} --verify --preserve-throttles --reassignment-json-file {there.replace('{me}', me)}"
        shown(pair, verify, "completed successfully")
    pair.same(f"reassign-partitions {BS} --verify --reassignment-json-file {there}")
    nowhere = file("nowhere-ME.json", moves(("dir-ME", 0, [1], ["/nowhere"])))
    pair.same(f"{line} {nowhere}")
    late = file("late-ME.json", moves(("dir-ME", 0, [1], [first])))
    pair.same(f"reassign-partitions {BS} --cancel --reassignment-json-file {late}")


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"{BS}",
        "--election-type preferred",
        f"{BS} --election-type preferred",
        f"{BS} --election-type oddly --all-topic-partitions",
        f"{BS} --election-type preferred --topic t",
        f"{BS} --election-type preferred --topic t --all-topic-partitions",
        f"{BS} --election-type preferred --all-topic-partitions --partition 1",
        f"{BS} --election-type preferred --topic t --partition x",
        f"{BS} --election-type preferred --topic nope --partition 0",
        f"{BS} --election-type UNCLEAN --topic nope --partition 0",
        f"{BS} --election-type unclean --all-topic-partitions",
        f"{BS} --election-type preferred --path-to-json-file nofile",
        f"{BS} --foo",
        "--version",
    ],
)
def test_leader_election_refuses_as_apache(pair, line):
    pair.same(f"leader-election {line}")


@pytest.mark.usefixtures("clean")
def test_leader_election(pair, file):
    both(pair, f"topics {BS} --create --topic el-{{me}} --replica-assignment 1:2,1:2,1:2")
    # Another order of the same replicas leaves the leader where it is.
    order = file("order-ME.json", moves(*(("el-ME", p, [2, 1]) for p in range(3))))
    code, _, _ = pair.same(f"reassign-partitions {BS} --execute --reassignment-json-file {order}")
    assert code == 0
    elect = f"leader-election {BS} --election-type"
    # Apache's broker looks for elections that wait in its timer (`hasDelayedElectionOperations`), which they enter last: where
    # the metadata comes just before, it answers at the timeout, and the tool asks again. Then another partition is tried.
    already = "Valid replica already elected for partitions el-{me}-{partition}\n"
    for partition in (0, 2):
        results = pair.run(f"{elect} preferred --topic el-{{me}} --partition {partition}")
        printed = {me: result.check().stdout for me, result in results.items()}
        if all(out != already.format(me=me, partition=partition) for me, out in printed.items()):
            break
    for me, out in printed.items():
        assert out == f"Successfully completed leader election (PREFERRED) for partitions el-{me}-{partition}\n"
    code, out, _ = pair.same(f"{elect} preferred --topic el-{{me}} --partition 0")
    assert out == already.format(me="ME", partition=0)
    pair.same(f"{elect} unclean --topic el-{{me}} --partition 0")
    listed = [{"topic": "el-ME", "partition": p} for p in (0, 1, 7)]
    name = file("some-ME.json", {"partitions": listed})
    code, out, _ = pair.same(f"{elect} preferred --path-to-json-file {name}")
    assert code == 1 and "UnknownTopicOrPartitionException" in out
    for n, content in enumerate(["x", "[]", "{}", {"partitions": [{"topic": "t"}]}, {"partitions": listed + listed}]):
        name = file(f"{n}-ME.json", content)
        pair.same(f"{elect} preferred --path-to-json-file {name}")
    # What one side elects, the other finds elected.
    done = pair.run(f"{elect} preferred --all-topic-partitions", side=US)[US].check()
    assert "el-ours-2" in done.stdout and "el-them-2" in done.stdout
    pair.same(f"{elect} preferred --all-topic-partitions")


@pytest.mark.parametrize("line", [f"cluster-id {BS}", "cluster-id -b {bs}", "unregister -b {bs} --id 7"])
def test_cluster(pair, line):
    pair.same(f"cluster {line}")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "cluster-id",
        "cluster-id -b",
        "cluster-id -b x:1 -C x:1",
        "cluster-id -b x:1 --foo",
        "unregister -b x:1",
        "unregister -b x:1 --id x",
        "other",
        "--foo",
    ],
)
def test_cluster_refuses_as_apache(line):
    """Apache's parser ends its JVM, so each call gets one."""

    def run(*command):
        env = {**os.environ, "ZURAU_BIN": str(ZURAU)}
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)

    ours = run(REPOSITORY / "bin" / "kafka-cluster.sh", *line.split())
    theirs = run(*java("kafka", "org.apache.kafka.tools.ClusterTool", *line.split(), log4j="tools"))
    # Apache's parser breaks and stretches its lines to one width.
    told = [(done.returncode, *("".join(text.split()) for text in (done.stdout, done.stderr))) for done in (ours, theirs)]
    assert told[0] == told[1]


class Verification:
    """A replica verification, which only ends when it is stopped."""

    def __init__(self, me, pair, directory, *args):
        if me == US:
            command = [REPOSITORY / "bin" / "kafka-replica-verification.sh"]
        else:
            command = java("kafka", "org.apache.kafka.tools.ReplicaVerificationTool", log4j="tools")
        command = [*command, "--broker-list", pair.bootstrap, *args]
        env = {"ZURAU_BIN": str(ZURAU)}
        self.process = processes.Process(command, directory / f"verification-{me}.log", f"verification of {me}", env=env)

    def line(self, pattern):
        def found():
            return re.search(pattern, self.process.output(), re.MULTILINE)

        match = processes.wait_until(found, f"{pattern} in {self.process.name}")
        return match.group(0)

    def stop(self):
        return self.process.terminate()


_TIME = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: "


@pytest.mark.usefixtures("clean")
def test_replica_verification(pair, cluster, directory):
    for line in ("", "--foo", "--broker-list nothing", "--broker-list {bs} --topics-include a --topic-white-list b"):
        pair.same(f"replica-verification {line}")
    pair.same("replica-verification --broker-list {bs} --topics-include nothing.*")
    both(pair, f"topics {BS} --create --topic rv --replica-assignment 1:2:3 --if-not-exists")
    lines = "".join(f"line {n}\n" for n in range(100))
    pair.run(f"console-producer {BS} --topic rv --request-required-acks all", stdin=lines, side=THEM)[THEM].check()
    # A follower's copy goes bad on disk: one bit of a checksum.
    broken = cluster.brokers[2]
    assert broken.stop() == 143
    segment = next(f for d in (0, 1) if (p := broken.partition("rv", 0, d)).exists() for f in p.glob("*.log"))
    data = bytearray(segment.read_bytes())
    data[17] ^= 1
    segment.write_bytes(bytes(data))
    broken.start()
    shown(pair, f"topics {BS} --describe --under-replicated-partitions", "rv", missing=True)
    told = {}
    for me in (US, THEM):
        args = ("--topics-include", "rv", "--time", "-2", "--report-interval-ms", "200", "--max-wait-ms", "100")
        verification = Verification(me, pair, directory, *args)
        verification.line(_TIME + "verification process is started$")
        told[me] = [
            re.sub(_TIME, "", verification.line(_TIME + "partition rv-0 has unmatched checksum at offset .*$")),
            re.sub(_TIME, "", verification.line(_TIME + "max lag is 0 for partition rv-0 at offset .*$")),
        ]
        verification.stop()
    assert told[US] == told[THEM]


@pytest.mark.usefixtures("clean")
def test_filters_of_partitions_that_are_not_well(pair, cluster):
    for name, assignment, config in (
        ("whole", "1:2", ""),
        ("under", "1:3", ""),
        ("at-min", "1:3:2", " --config min.insync.replicas=2"),
        ("under-min", "3:1", " --config min.insync.replicas=2"),
        ("away", "3,1", ""),
    ):
        pair.run(f"topics {BS} --create --topic well-{name} --replica-assignment {assignment}{config}", side=THEM)[THEM].check()
    wait_settled(pair.brokers)
    cluster.brokers[2].kill()
    cluster.forget(cluster.brokers[2])
    shown(pair, f"topics {BS} --describe --unavailable-partitions", "well-away")
    expected = {
        "under-replicated": ["under", "at-min", "under-min"],
        "under-min-isr": ["under-min", "away"],
        "at-min-isr": ["at-min", "under"],
        "unavailable": ["away"],
    }
    for name, topics in expected.items():
        for only in ("", " --topic well-.*"):
            code, out, _ = pair.same(f"topics {BS} --describe --{name}-partitions{only}")
        assert {t for t in topics if f"well-{t}\t" in out} == set(topics), (name, out)
        assert "well-whole" not in out or name == "at-min-isr"
    pair.same(f"topics {BS} --describe --under-min-isr-partitions --at-min-isr-partitions")
    # The preferred leader is away, and so is any other.
    pair.same(f"leader-election {BS} --election-type preferred --topic well-under-min --partition 0")
    pair.same(f"leader-election {BS} --election-type unclean --topic well-away --partition 0")
