"""The command-line tools beside Apache's: the same calls on the same Apache cluster print the same and end with the same
code. Where a call changes something, each side gets a topic of its own, and what it printed is compared with the names
evened out."""

import json
import re

import pytest

from harness import processes, tools, wire
from harness.broker import Cluster

US, THEM = "ours", "them"


@pytest.fixture(scope="module")
def apache(module_directory, ensemble):
    """Two Apache brokers, where tools of both kinds have to find the right one."""
    cluster = Cluster(module_directory, ensemble)
    brokers = [cluster.broker(number, "apache") for number in (1, 2)]
    for broker in brokers:
        broker.launch()
    for broker in brokers:
        broker.wait_ready()
    yield brokers
    for broker in brokers:
        broker.stop()


@pytest.fixture(scope="module")
def pair(apache, apache_tools):
    return Pair(apache, apache_tools)


class Pair:
    """Both kinds of tools on one cluster. In arguments `{bs}` is the bootstrap server, `{me}` the side's name."""

    def __init__(self, brokers, apache_tools):
        self.bootstrap = brokers[0].bootstrap
        self.ports = [broker.port for broker in brokers]
        self.sides = {US: tools.OurTools(), THEM: apache_tools}

    def run(self, line, stdin="", side=None):
        results = {}
        for me, kind in self.sides.items():
            if side in (None, me):
                name, *args = (word.format(bs=self.bootstrap, me=me) for word in split(line))
                results[me] = kind.run(name, *args, stdin=stdin.format(me=me))
        return results

    def same(self, line, stdin="", sort=False):
        """Runs both and expects the same exit code, standard output and messages; gives what was printed."""
        results = self.run(line, stdin)
        own = "{me}" in line + stdin
        told = {me: told_by(result, me if own else None, sort) for me, result in results.items()}
        assert told[US] == told[THEM]
        return told[US]


def settled(pair, *topics):
    """Waits until both brokers know the topics: one asks the other's tool first."""

    def known():
        return all(len(wire.metadata(port, [topic])[2][topic]) > 0 for port in pair.ports for topic in topics)

    processes.wait_until(known, f"{topics} are known")


def split(line):
    return [word for word in line.split(" ") if word]


_LOG_LINE = re.compile(r"\[\d{4}-\d\d-\d\d [\d:,]+\] ")
_STACK = re.compile(r"\s+at |\s*\.\.\. \d+ more|Caused by|Exception in thread|(java|javax|org|com|kafka|joptsimple)\.[\w.$]+(Exception|Error)\b|\s*$")


def told_by(result, me, sort):
    """What an operator reads: no times, no stacks, no help text behind a message, no ids that differ by nature."""
    out, err = result.stdout, result.stderr
    if me:
        out, err = out.replace(me, "ME"), err.replace(me, "ME")
        out = re.sub(r"TopicId: \S+", "TopicId: ID", out)
    errors = []
    for line in err.splitlines():
        if re.match(r"Option +Description", line):
            break
        if not _LOG_LINE.match(line) and not _STACK.match(line):
            errors.append(line)
    return result.exit, sorted(out.splitlines()) if sort else out, errors


BS = "--bootstrap-server {bs}"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--list",
        f"{BS}",
        f"{BS} --list --create",
        f"{BS} --create",
        f"{BS} --create --topic a-{{me}} --topic b",
        f"{BS} --create --topic a-{{me}} --partitions x",
        f"{BS} --create --topic a-{{me}} --partitions 0",
        f"{BS} --create --topic a-{{me}} --replication-factor 0",
        f"{BS} --create --topic a-{{me}} --replication-factor 3",
        f"{BS} --create --topic bad/name",
        f"{BS} --create --topic a-{{me}} --config foo=bar",
        f"{BS} --create --topic a-{{me}} --config retention.ms=x",
        f"{BS} --create --topic a-{{me}} --config retention.ms",
        f"{BS} --create --topic a-{{me}} --delete-config retention.ms",
        f"{BS} --create --topic a-{{me}} --if-exists",
        f"{BS} --create --topic a-{{me}} --replica-assignment 1:2,1",
        f"{BS} --create --topic a-{{me}} --replica-assignment 1:1",
        f"{BS} --create --topic a-{{me}} --replica-assignment 1 --partitions 2",
        f"{BS} --create --topic a-{{me}} --replica-assignment 1:7",
        f"{BS} --alter --topic nope",
        f"{BS} --alter --topic nope --partitions 3",
        f"{BS} --alter --topic nope --partitions 3 --if-exists",
        f"{BS} --alter --topic nope --partitions 3 --config a=b",
        f"{BS} --describe --topic nope",
        f"{BS} --describe --topic nope --if-exists",
        f"{BS} --describe --if-exists",
        f"{BS} --describe --topic-id AAAAAAAAAAAAAAAAAAAAKg",
        f"{BS} --describe --topic-id short",
        f"{BS} --describe --topics-with-overrides --unavailable-partitions",
        f"{BS} --delete --topic nope",
        f"{BS} --delete --topic nope --if-exists",
        f"{BS} --delete --topic (",
        f"{BS} --foo",
        f"{BS} --topic",
        "--version",
    ],
)
def test_topics_refuses_as_apache(pair, line):
    pair.same(f"topics {line}")


def test_topics_through_a_life(pair):
    pair.same(f"topics {BS} --create --topic life-{{me}} --partitions 2 --config retention.ms=1000 --config max.message.bytes=9000")
    pair.same(f"topics {BS} --create --topic life-{{me}}")
    pair.same(f"topics {BS} --create --topic life-{{me}} --if-not-exists")
    pair.same(f"topics {BS} --create --topic dotted.{{me}} --replica-assignment 1:2,2:1,2:1")
    settled(pair, *(f"{name}{me}" for name in ("life-", "dotted.") for me in (US, THEM)))
    pair.same(f"topics {BS} --list")
    pair.same(f"topics {BS} --list --topic .*life.* --exclude-internal")
    code, out, _ = pair.same(f"topics {BS} --describe --topic dotted.{{me}}")
    assert code == 0 and "ReplicationFactor: 2" in out and "Replicas: 2,1" in out
    pair.same(f"topics {BS} --describe")
    for report in ("under-replicated", "unavailable", "under-min-isr", "at-min-isr"):
        pair.same(f"topics {BS} --describe --{report}-partitions")
    pair.same(f"topics {BS} --describe --topics-with-overrides")
    pair.same(f"topics {BS} --alter --topic dotted.{{me}} --partitions 2")
    pair.same(f"topics {BS} --alter --topic dotted.{{me}} --partitions 4 --replica-assignment 1:2,2:1,2:1,1:2")
    pair.same(f"topics {BS} --alter --topic dotted.{{me}} --partitions 5 --replica-assignment 1:2,2:1,2:1,1:2")
    code, out, _ = pair.same(f"topics {BS} --describe --topic dotted.{{me}}")
    assert "PartitionCount: 4" in out
    pair.same(f"topics {BS} --delete --topic life-{{me}},dotted.{{me}}")


def test_tools_give_up_on_a_cluster_that_is_away(pair, directory):
    config = directory / "command.properties"
    config.write_text("default.api.timeout.ms=1500\nrequest.timeout.ms=1000\n")
    for line in (
        "topics --list",
        "configs --describe --entity-type topics",
    ):
        code, _, _ = pair.same(f"{line} --bootstrap-server 127.0.0.1:1 --command-config {config}")
        assert code == 1


@pytest.fixture(scope="module")
def written(pair):
    """Topics with some records, and a compacted and an empty one."""
    for topic, partitions in (("w1", 3), ("w2", 12), ("empty", 1)):
        line = f"topics {BS} --create --topic {topic} --partitions {partitions} --replication-factor 2"
        pair.run(line, side=THEM)[THEM].check()
    lines = "".join(f"k{n}\tv{n}\n" for n in range(60))
    for topic in ("w1", "w2"):
        args = f"console-producer {BS} --topic {topic} --property parse.key=true"
        pair.run(args, stdin=lines, side=THEM)[THEM].check()
    return pair


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--topic w1",
        f"{BS}",
        f"{BS} --exclude-internal-topics",
        f"{BS} --topic w1",
        f"{BS} --topic w.* --partitions 0,2",
        f"{BS} --topic-partitions w1:1,w2:3-,empty",
        f"{BS} --topic-partitions :0-1",
        f"{BS} --topic-partitions w1:x",
        f"{BS} --topic-partitions w1 --topic w2",
        f"{BS} --topic w1 --time earliest",
        f"{BS} --topic w1 --time -3",
        f"{BS} --topic w1 --time earliest-local",
        f"{BS} --topic w1 --time latest-tiered",
        f"{BS} --topic w1 --time 5",
        f"{BS} --topic w1 --time 99999999999999",
        f"{BS} --topic w1 --time yesterday",
        f"{BS} --topic w1 --partitions 0,x",
        f"{BS} --topic nope",
        f"{BS} --foo",
        f"{BS} --topic",
        "--bootstrap-server nothing",
        "--version",
    ],
)
def test_get_offsets(written, line):
    written.same(f"get-offsets {line}")


@pytest.mark.parametrize(
    "line",
    [
        f"{BS} --describe",
        f"{BS} --describe --topic-list w1,w2",
        f"{BS} --describe --topic-list nope",
        f"{BS} --describe --broker-list 1",
        f"{BS} --describe --broker-list 1,7,9",
        f"{BS} --describe --broker-list x",
        f"{BS}",
        "--describe",
    ],
)
def test_log_dirs(written, line):
    written.same(f"log-dirs {line}")


@pytest.mark.parametrize("line", [f"{BS}", "", "--foo", "--version"])
def test_broker_api_versions(pair, line):
    # Apache's tool shuffles the brokers.
    pair.same(f"broker-api-versions {line}", sort=True)


def test_delete_records(pair, directory):
    for me in (US, THEM):
        pair.run(f"topics {BS} --create --topic del-{me} --partitions 4", side=THEM)[THEM].check()
        lines = "".join(f"k{n}\tv\n" for n in range(40))
        pair.run(f"console-producer {BS} --topic del-{me} --property parse.key=true", stdin=lines, side=THEM)[THEM].check()

    def file(name, content):
        path = directory / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def offsets(topic, *pairs):
        return {"version": 1, "partitions": [{"topic": topic, "partition": p, "offset": o} for p, o in pairs]}

    for me in (US, THEM):
        file(f"{me}.json", offsets(f"del-{me}", (0, 2), (1, -1), (2, 10_000), (3, 0)))
    # The partitions come in the order of a hash, which the names are part of.
    code, out, _ = pair.same(f"delete-records {BS} --offset-json-file {directory}/{{me}}.json", sort=True)
    out = "\n".join(out)
    assert code == 0 and "low_watermark: 2" in out and "OffsetOutOfRangeException" in out
    pair.same(f"get-offsets {BS} --topic del-{{me}} --time earliest")
    for n, content in enumerate(
        [
            "not json",
            "[]",
            "{}",
            {"version": 2, "partitions": []},
            {"version": 1, "partitions": []},
            {"version": 1, "partitions": [{"topic": "x", "offset": 1}]},
            {"version": 1, "partitions": [{"topic": 5, "partition": 0, "offset": 1}]},
            offsets("x", (0, 1), (0, 2)),
        ]
    ):
        pair.same(f"delete-records {BS} --offset-json-file {file(f'{n}.json', content)}")
    pair.same(f"delete-records {BS} --offset-json-file {directory}/none.json")
    pair.same(f"delete-records {BS}")
    config = file("command.properties", "default.api.timeout.ms=1500\nrequest.timeout.ms=1000\n")
    path = file("nope.json", offsets("nope", (0, 1)))
    results = pair.run(f"delete-records {BS} --offset-json-file {path} --command-config {config}")
    for result in results.values():
        # Attempts and times differ.
        assert result.exit == 0 and re.search(r"partition: nope-0\terror: .*TimeoutException: Call\(callName=deleteRecords", result.stdout)


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"{BS}",
        f"{BS} --foo",
        f"{BS} --describe",
        f"{BS} --describe --alter",
        f"{BS} --describe --topic w1 --add-config a=b",
        "--describe --topic w1",
        "--describe --broker 1",
        f"{BS} --describe --entity-type nothing",
        f"{BS} --describe --entity-type topics --entity-type topics",
        f"{BS} --describe --entity-type topics --entity-type brokers",
        f"{BS} --describe --entity-type topics --topic w1",
        f"{BS} --describe --zookeeper x --topic w1",
        f"{BS} --describe --entity-type brokers --entity-name x",
        f"{BS} --describe --entity-type broker-loggers",
        f"{BS} --describe --topic w1",
        f"{BS} --describe --topic w1 --all",
        f"{BS} --describe --topic bad/name",
        f"{BS} --describe --topic nope",
        f"{BS} --describe --entity-type topics",
        f"{BS} --describe --broker 1",
        f"{BS} --describe --entity-type brokers",
        f"{BS} --describe --entity-type brokers --entity-default",
        f"{BS} --describe --broker-logger 1",
        f"{BS} --alter --topic w1",
        f"{BS} --alter --entity-type topics --add-config a=b",
        f"{BS} --alter --entity-type brokers --add-config a=b",
        f"{BS} --alter --topic w1 --add-config a",
        f"{BS} --alter --topic w1 --add-config a=b=c",
        f"{BS} --alter --topic w1 --add-config a/b=c",
        f"{BS} --alter --topic w1 --add-config a=b --add-config-file x",
        f"{BS} --alter --topic w1 --add-config-file nofile",
        f"{BS} --alter --topic w1 --add-config foo=bar",
        f"{BS} --alter --topic w1 --add-config retention.ms=x",
        f"{BS} --alter --topic w1 --delete-config foo,retention.ms",
        f"{BS} --alter --topic nope --add-config retention.ms=1",
        f"{BS} --alter --broker 1 --add-config broker.rack=x",
        f"{BS} --alter --broker 1 --add-config log.cleaner.threads=0",
        f"{BS} --alter --broker-logger 1 --add-config nothing=DEBUG",
        "--version",
    ],
)
def test_configs_refuses_and_describes(written, line):
    written.same(f"configs {line}")


def test_configs_of_a_broker_in_full(pair):
    """All settings of a broker, where secrets and defaults have to look alike."""
    code, out, _ = pair.same(f"configs {BS} --describe --broker 1 --all")
    assert code == 0 and "STATIC_BROKER_CONFIG:broker.id=1" in out


def test_configs_through_a_life(pair, directory):
    pair.same(f"topics {BS} --create --topic conf-{{me}} --partitions 1")
    settled(pair, "conf-ours", "conf-them")
    alter = f"configs {BS} --alter"
    pair.same(f"{alter} --topic conf-{{me}} --add-config retention.ms=7000,cleanup.policy=[compact,delete]")
    (directory / "more.properties").write_text("segment.bytes = 2000\nmax.message.bytes=999\n")
    pair.same(f"{alter} --entity-type topics --entity-name conf-{{me}} --add-config-file {directory}/more.properties")

    def shown(line, text, side=THEM):
        processes.wait_until(lambda: text in pair.run(line, side=side)[side].stdout, f"{text} is shown")

    for me in (US, THEM):
        shown(f"configs {BS} --describe --topic conf-{me}", "segment.bytes=2000")
    code, out, _ = pair.same(f"configs {BS} --describe --topic conf-{{me}}")
    assert "cleanup.policy=compact,delete" in out and "retention.ms=7000" in out
    pair.same(f"topics {BS} --describe --topic conf-{{me}}")
    pair.same(f"{alter} --topic conf-{{me}} --delete-config retention.ms,segment.bytes")
    # Both sides change the same brokers, one after the other.
    for line, text in (
        ("--broker 1 --add-config log.cleaner.threads=2", "log.cleaner.threads=2"),
        ("--broker 1 --add-config num.io.threads=4", "num.io.threads=4"),
        ("--broker-defaults --add-config log.retention.ms=7000000", "log.retention.ms=7000000"),
        ("--broker-logger 1 --add-config kafka.server.KafkaApis=WARN", "kafka.server.KafkaApis=WARN"),
    ):
        which = line.split(" --add")[0].replace("--broker-defaults", "--entity-type brokers --entity-default")
        for me in (US, THEM):
            for result in pair.run(f"{alter} {line}", side=me).values():
                assert (result.exit, result.stderr) == (0, "") and "Completed updating" in result.stdout
            shown(f"configs {BS} --describe {which}", text)
        pair.same(f"configs {BS} --describe {which}")
    both = "log.cleaner.threads,num.io.threads"
    for me in (US, THEM):
        pair.run(f"{alter} --broker 1 --delete-config {both}", side=me)[me].check()
        processes.wait_until(
            lambda: "threads" not in pair.run(f"configs {BS} --describe --broker 1", side=THEM)[THEM].stdout, "they are gone"
        )
        pair.run(f"{alter} --broker 1 --add-config {both.replace(',', '=2,')}=4", side=THEM)[THEM].check()
        shown(f"configs {BS} --describe --broker 1", "num.io.threads=4")
