"""The command-line tools beside Apache's: the same calls on the same Apache cluster print the same and end with the same
code. Where a call changes something, each side gets a topic of its own, and what it printed is compared with the names
evened out."""

import json
import os
import re
import resource
import shutil
import subprocess
import time

import pytest

from harness import CODECS, REPOSITORY, ZURAU, processes, tools, wire
from harness.broker import STEADY, Cluster
from harness.pair import BS, THEM, US, Pair, without_log
from harness.settled import wait_settled


@pytest.fixture(scope="module")
def apache(module_directory, ensemble):
    """Two Apache brokers, where tools of both kinds have to find the right one."""
    cluster = Cluster(module_directory, ensemble)
    one = {"transaction_state_log_replication_factor": 1, "transaction_state_log_min_isr": 1}
    one |= {"group_initial_rebalance_delay_ms": 0, **STEADY}
    brokers = [cluster.broker(number, "apache", **one) for number in (1, 2)]
    for broker in brokers:
        broker.launch()
    for broker in brokers:
        broker.wait_ready()
    yield brokers
    # Nothing is asked of them any more, and an Apache broker whose num.io.threads was changed takes a minute to stop.
    for broker in brokers:
        broker.kill()


@pytest.fixture(scope="module")
def pair(apache, apache_tools):
    return Pair(apache, apache_tools)


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
        # Attempts and times differ, and how far Apache's tool came in its time.
        told = r"partition: nope-0\terror: .*TimeoutException: (Call\(callName=|Timed out waiting for a node assignment. Call: )deleteRecords"
        assert result.exit == 0 and re.search(told, result.stdout)


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
    pair.same(f"topics {BS} --create --topic conf-{{me}} --replica-assignment 1")
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
                assert result.exit == 0 and "Completed updating" in result.stdout
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


# Files of a partition, and the ensemble behind the brokers.


@pytest.fixture(scope="module")
def segments(apache, written, module_directory):
    """Segments of every kind that Apache wrote: codecs, headers, transactions, several to a partition."""
    from confluent_kafka import Producer

    broker = apache[0]
    line = f"topics {BS} --create --topic seg --replica-assignment 1 --config segment.bytes=8000 --config index.interval.bytes=100"
    written.run(line, side=THEM)[THEM].check()
    line = f"topics {BS} --create --topic old --replica-assignment 1 --config message.timestamp.type=LogAppendTime"
    written.run(line, side=THEM)[THEM].check()
    wait_settled(written.brokers)
    for codec in CODECS:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "compression.type": codec, "linger.ms": 5})
        for n in range(300):
            producer.produce("seg", f"value {n} of {codec}", f"key {n}", 0, headers=[("h", b"1"), ("i", None)])
            producer.produce("old", None if n % 7 else b"v", None if n % 5 else b"k", 0)
            if n % 50 == 49:
                producer.flush()
        producer.flush()
    for end in ("commit_transaction", "abort_transaction"):
        producer = Producer({"bootstrap.servers": broker.bootstrap, "transactional.id": end})
        producer.init_transactions(30)
        producer.begin_transaction()
        producer.produce("seg", f"to {end}", partition=0)
        producer.flush()
        getattr(producer, end)(30)
    # The coordinator writes the markers after it has answered.
    of_seg = broker.partition("seg", 0)
    processes.wait_until(lambda: any(f.stat().st_size for f in of_seg.glob("*.txnindex")), "the abort is indexed")
    # A copy does not change under the tools.
    copies = []
    for topic in ("seg", "old"):
        copy = module_directory / f"{topic}-0"
        shutil.copytree(broker.partition(topic, 0), copy)
        copies.append(copy)
    return copies


def test_dump_log(pair, segments):
    seg, old = segments
    logs = sorted(seg.glob("*.log"))
    assert len(logs) > 2 and list(seg.glob("*.snapshot")) and list(seg.glob("*.txnindex"))
    every = ",".join(str(f) for f in [*logs, *old.glob("*.log")])
    for flags in ("", "--deep-iteration", "--print-data-log", "--print-data-log --skip-record-metadata"):
        code, out, _ = pair.same(f"dump-log --files {every} {flags}")
        assert code == 0 and "isvalid: true" in out
    assert "endTxnMarker: ABORT" in pair.same(f"dump-log --files {logs[-1]} --deep-iteration")[1]
    for kind in ("index", "timeindex", "snapshot", "txnindex"):
        files = ",".join(str(f) for f in sorted(seg.glob(f"*.{kind}")))
        for flags in ("", "--verify-index-only", "--index-sanity-check"):
            code, _, errors = pair.same(f"dump-log --files {files} {flags}")
            # The index that is written to is preallocated, which no sanity check passes.
            assert "sanity" in flags or (code, errors) == (0, [])
    pair.same(f"dump-log --files {logs[0]} --max-bytes 3000")
    pair.same(f"dump-log --files {logs[0]} --print-data-log --key-decoder-class kafka.serializer.StringDecoder")
    pair.same(f"dump-log --files {logs[0]} --value-decoder-class org.apache.kafka.tools.api.LongDecoder")
    pair.same(f"dump-log --files {seg}/partition.metadata,{logs[0]}")
    pair.same("dump-log")
    pair.same("dump-log --deep-iteration")
    pair.same(f"dump-log --files {seg}/00000000000000099999.log")


def test_dump_log_tells_damage(pair, segments, directory):
    seg, _ = segments
    first = sorted(seg.glob("*.log"))[0]

    def damaged(name, change):
        copy = directory / name
        shutil.copytree(seg, copy)
        for suffix in ("log", "index", "timeindex"):
            path = copy / f"{first.stem}.{suffix}"
            path.write_bytes(change(suffix, path.read_bytes()))
        return copy / first.stem

    def flipped(suffix, content):
        at = 200
        return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :] if suffix == "log" else content

    cut = damaged("cut", lambda suffix, content: content[:-7] if suffix == "log" else content)
    assert "invalid bytes at the end" in pair.same(f"dump-log --files {cut}.log")[1]
    bad = damaged("bad", flipped)
    assert "isvalid: false" in pair.same(f"dump-log --files {bad}.log")[1]
    moved = damaged("moved", lambda suffix, c: c[8:16] + c[:8] + c[16:] if suffix == "index" else c)
    pair.same(f"dump-log --files {moved}.index --verify-index-only")
    late = damaged("late", lambda suffix, c: c[:7] + bytes([c[7] ^ 1]) + c[8:] if suffix == "timeindex" else c)
    assert pair.same(f"dump-log --files {late}.timeindex")[2]
    odd = damaged("odd", lambda suffix, c: c + b"\0" if suffix != "log" else c)
    for suffix in ("index", "timeindex"):
        pair.same(f"dump-log --files {odd}.{suffix} --index-sanity-check")


def test_zookeeper_shell(pair, ensemble):
    at = f"zookeeper-shell {ensemble.hosts}{ensemble.fresh_chroot()}"
    with ensemble.client(at.partition(ensemble.hosts)[2]) as zk:
        for path in ("/a/x", "/a/y/z", "/b"):
            zk.create(path, b"some data", makepath=True)

    def same(command):
        # Apache's script puts the option in.
        results = pair.run(f"{at} {command}", side=US)
        results |= pair.run(f"{at} {command}".replace("shell ", "shell -server "), side=THEM)
        # A thread of its own prints these two in Java, and may lose the race with the end of the process.
        watcher, event = "\nWATCHER::\n", "\nWatchedEvent state:SyncConnected type:None path:null\n"
        assert watcher + event in results[US].stdout
        told = {
            me: (r.exit, r.stdout.replace(watcher, "").replace(event, ""), without_log(r.stderr).splitlines())
            for me, r in results.items()
        }
        assert told[US] == told[THEM]
        return told[US]

    for command in ("ls /", "ls -s /a", "ls -R /a", "get /b", "get -s /b", "stat /a/y", "getAcl /b", "get -s /a/x"):
        assert same(command)[0] == 0
    for command in ("ls /none", "get /none", "stat /none", "set /none x", "delete /a", "create /b x", "create /n/o x", "set -v 9 /b x"):
        assert same(command)[0] == 1
    us = {"side": US}
    pair.run(f"{at} create /c one", **us)[US].check()
    pair.run(f"{at} set /c two", **us)[US].check()
    assert "two" in same("get /c")[1]
    assert pair.run(f"{at} create -e -s /c/e- x", **us)[US].check().stderr == "Created /c/e-0000000000\n"
    assert "[]" in same("ls /c")[1]
    pair.run(f"{at} create -s /c/s- x", **us)[US].check()
    pair.run(f"{at} deleteall /c", **us)[US].check()
    pair.run(f"{at} delete /b", **us)[US].check()
    assert "[a]" in same("ls /")[1]
    typed = pair.run(at, stdin='ls /\ncreate /d "a b"\nget /d\nget /none\nquit\nls /', **us)[US]
    assert typed.exit == 1 and "a b" in typed.stdout and typed.stderr == "Created /d\nNode does not exist: /none\n"
    assert pair.run(f"{at} nonsense", **us)[US].exit == 127


# What goes in by one side's console comes out of the other's.


@pytest.mark.parametrize("codec", CODECS)
def test_console_pair(pair, codec):
    topic = f"console-{codec}"
    pair.run(f"topics {BS} --create --topic {topic} --partitions 1", side=THEM)[THEM].check()
    lines = "h1:v1,h2:N\tk1\tv1\nN\tN\tN\nh:ä\t\tünï\r\nlast\tk\tv"
    reader = "--property parse.key=true --property parse.headers=true --property null.marker=N --property ignore.error=true"
    for side in (US, THEM):
        args = f"console-producer {BS} --topic {topic} --compression-codec {codec} {reader}"
        result = pair.run(args, stdin=lines, side=side)[side].check()
        assert result.stdout == ""
    shown = " ".join(f"--property print.{field}=true" for field in ("key", "headers", "partition", "offset"))
    code, out, errors = pair.same(f"console-consumer {BS} --topic {topic} --partition 0 --offset 0 --max-messages 8 {shown}")
    assert (code, errors) == (0, ["Processed a total of 8 messages"])
    told = [line.partition("\tOffset:")[2].partition("\t")[2] for line in out.splitlines()]
    assert told[:4] == told[4:]


@pytest.mark.parametrize(
    "line",
    [
        "--partition 0 --offset earliest --max-messages 5",
        "--partition 0 --offset 3 --max-messages 2 --property print.timestamp=true",
        "--partition 0 --from-beginning --max-messages 3 --property key.separator=| --property print.key=true",
        "--partition 0 --from-beginning --max-messages 3 --property line.separator=; --property print.value=false",
        "--partition 0 --from-beginning --max-messages 3 --formatter kafka.tools.NoOpMessageFormatter",
        "--partition 0 --from-beginning --max-messages 3 --formatter org.apache.kafka.tools.consumer.LoggingMessageFormatter",
        "--partition 0 --from-beginning --max-messages 1 --value-deserializer org.apache.kafka.common.serialization.LongDeserializer",
        "--partition 0 --from-beginning --max-messages 1 --value-deserializer no.such.Class",
        "--partition 0 --timeout-ms 1500",
        "--partition 99 --timeout-ms 1500",
        "--partition 0 --offset x",
        "--partition 0 --offset -4",
        "--partition 0 --from-beginning --offset 1",
        "--partition 0 --group g",
        "--offset 1",
        "--include w.*",
        "--from-beginning --consumer-property auto.offset.reset=latest",
        "--formatter no.such.Class",
        "--isolation-level none",
        "--foo",
    ],
)
def test_console_consumer(written, line):
    written.same(f"console-consumer {BS} --topic w1 {line}")


@pytest.mark.parametrize(
    "line",
    [
        "",
        "--topic t",
        f"{BS}",
        "--bootstrap-server nothing --topic t",
        f"{BS} --topic t --foo",
        f"{BS} --topic w1 --property parse.key=true",
        f"{BS} --topic w1 --property headers.separator=:",
        f"{BS} --topic w1 --property null.marker=, --property parse.headers=true",
        f"{BS} --topic nope --max-block-ms 700",
    ],
)
def test_console_producer_refuses(written, line):
    written.same(f"console-producer {line}", stdin="no key here\n")


def test_consumer_reads_every_partition_without_a_group(written):
    for side in (US, THEM):
        args = f"console-consumer {BS} --topic w2 --from-beginning --max-messages 60 --timeout-ms 20000"
        result = written.run(args, side=side)[side].check()
        assert sorted(result.stdout.split()) == sorted(f"v{n}" for n in range(60))


def test_perf_tools(pair):
    for side in (US, THEM):
        pair.run(f"topics {BS} --create --topic perf-{side} --partitions 1", side=THEM)[THEM].check()
    results = pair.run(
        "producer-perf-test --topic perf-{me} --num-records 500 --throughput -1 --record-size 40 "
        "--producer-props bootstrap.servers={bs} acks=all"
    )
    figures = re.compile(r"\d+(\.\d+)?")
    shapes = {figures.sub("N", result.check().stdout) for result in results.values()}
    assert len(shapes) == 1
    # The same random letters, record by record.
    sent = []
    for side in (US, THEM):
        args = f"console-consumer {BS} --topic perf-{side} --partition 0 --from-beginning --max-messages 500"
        sent.append(pair.run(args, side=THEM)[THEM].check().stdout)
    assert sent[0] == sent[1]
    results = pair.run("consumer-perf-test --topic perf-{me} --messages 500 --bootstrap-server {bs}")
    tables = [result.check().stdout.splitlines() for result in results.values()]
    assert tables[0][0] == tables[1][0]
    for header, row in tables:
        columns = row.split(", ")
        assert len(columns) == len(header.split(", ")) and columns[4] == "500"


@pytest.mark.parametrize(
    "tool, line",
    [
        ("producer-perf-test", "--topic a"),
        ("producer-perf-test", "--foo"),
        ("producer-perf-test", "--topic"),
        ("producer-perf-test", "--topic a --num-records x --throughput 1 --record-size 1"),
        ("producer-perf-test", "--topic a --num-records 1 --throughput 1 --record-size 1"),
        ("producer-perf-test", "--topic a --num-records 1 --throughput 1 --record-size 1 --payload-monotonic"),
        ("producer-perf-test", "--topic a --num-records 1 --throughput 1 --producer-props a=b"),
        ("producer-perf-test", "--topic a --num-records 1 --throughput 1 --record-size 1 --producer-props a"),
        ("consumer-perf-test", ""),
        ("consumer-perf-test", f"{BS} --topic w1"),
        ("consumer-perf-test", f"{BS} --topic w1 --messages x"),
        ("consumer-perf-test", f"{BS} --topic w1 --messages 1 --reporting-interval 0"),
        ("consumer-perf-test", f"{BS} --foo"),
    ],
)
def test_perf_tools_refuse(written, tool, line):
    results = written.run(f"{tool} {line}")
    ours, theirs = results[US], results[THEM]
    assert (ours.exit, ours.stdout) == (theirs.exit, theirs.stdout)

    # Apache justifies its lines.
    def words(result):
        text = re.split(r"\nOption +Description|\n\s+at |\nDid you mean", without_log(result.stderr))[0]
        return text.split("Caused by")[0].replace("payload-\nfile", "payload-file").split()

    if "Invalid property" in theirs.stderr or "joptsimple" in theirs.stderr or "Reporting" in theirs.stderr:
        return
    assert words(ours) == words(theirs)


def test_a_reader_that_goes_away_ends_a_tool_quietly(written):
    script = REPOSITORY / "bin" / "kafka-topics.sh"
    command = f"{script} --bootstrap-server {written.bootstrap} --describe | head -1"
    env = {**os.environ, "ZURAU_BIN": str(ZURAU)}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("Topic: ")


@pytest.mark.parametrize(
    "line", ["topics --list", "get-offsets --topic w1", "broker-api-versions", "configs --describe --topic w1", "log-dirs --describe"]
)
def test_tools_answer_at_once(written, line):
    """In less than 50 ms of its own, and without a pause: the best of many runs, as the machine does other work too."""
    name, *args = f"{line} {BS}".format(bs=written.bootstrap).split()
    script = [REPOSITORY / "bin" / f"kafka-{name}.sh", *args]
    env = {**os.environ, "ZURAU_BIN": str(ZURAU)}

    def at_once():
        start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(script, env=env, check=True, capture_output=True)
        took, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if own >= 0.05 or took >= 0.5:
            raise RuntimeError(f"{own:.3f} s of CPU in {took:.3f} s")
        return True

    processes.wait_until(at_once, "an answer comes at once")
