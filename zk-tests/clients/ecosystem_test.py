"""Connect, MirrorMaker 2 and Streams run unchanged: Apache's own classes, started by our scripts, on the broker under test."""

import collections
import json
import os
import threading

import confluent_kafka
import confluent_kafka.admin
import pytest

from harness import PEER, admin, ecosystem, reader, wire
from harness.broker import Cluster
from harness.ecosystem import Worker, WordCount, script, write_properties
from harness.groups import Watch
from harness.processes import run, wait_until
from harness.replicas import controller_of, states, wait_in_sync
from harness.transactions import ONE_BROKER, THREE_BROKERS, elect_preferred, read_committed

_QUICK = {"group_initial_rebalance_delay_ms": 100, "group_min_session_timeout_ms": 1000, "transaction_state_log_num_partitions": 4}
WORDS = int(os.environ.get("ZURAU_STREAMS_WORDS", "4000"))
MOVES = int(os.environ.get("ZURAU_STREAMS_MOVES", "0"))


class Lines:
    """A file that grows until the end of the block."""

    def __init__(self, file):
        self.file = file
        self.count = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self):
        with open(self.file, "w", encoding="utf-8") as f:
            while not self._done.wait(0.01):
                f.writelines(f"line {n}\n" for n in range(self.count, self.count + 10))
                f.flush()
                self.count += 10

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()


def test_connect_copies_a_file_through_a_topic_exactly_once(cluster, directory):
    """Two workers; the one with the source task is killed in the middle, the other goes on."""
    broker = cluster.broker(1, **{**ONE_BROKER, **_QUICK}).start()
    admin.create_topic(broker, "lines", 1)
    sink = directory / "sink.txt"
    workers = [Worker(directory, number, broker.bootstrap).start() for number in (1, 2)]

    def shown():
        return read_committed(broker, "lines", 1)[0]

    def copied():
        return set(sink.read_text().splitlines()) if sink.exists() else set()

    for worker in workers:
        worker.wait_ready()
    with Lines(directory / "source.txt") as source:
        workers[0].create(
            "source",
            connector_class="FileStreamSource",
            file=source.file,
            topic="lines",
            exactly_once_support="required",
            transaction_boundary="poll",
        )
        workers[1].create("sink", connector_class="FileStreamSink", file=sink, topics="lines")
        place = wait_until(lambda: workers[1].task_place("source"), "the source task runs")
        wait_until(lambda: len(shown()) > 100, "lines come")
        dead = next(worker for worker in workers if place.endswith(f":{worker.port}"))
        dead.process.kill()
        (live,) = [worker for worker in workers if worker is not dead]
        before = len(shown())
        wait_until(lambda: len(shown()) > before + 100, "the other worker goes on")
    lines = [f"line {n}" for n in range(source.count)]
    wait_until(lambda: len(shown()) >= len(lines), "every line is in the topic")
    assert shown() == lines, "each line once, in order"
    wait_until(lambda: copied() == set(lines), "every line is in the file of the sink")
    assert live.task_place("source").endswith(f":{live.port}")
    # Records and positions were written in transactions: the markers have offsets of their own.
    with_markers = reader.read(broker, "lines", 1)[0][-1].offset + 1
    assert with_markers > len(lines)
    watch = Watch(broker.bootstrap, "connect-sink")
    wait_until(lambda: watch.committed().get(("lines", 0), 0) >= with_markers, "the sink has committed")
    assert live.process.terminate() in (0, 143, -15)


# ---- MirrorMaker 2


def fill(broker, topic, values, partitions=3):
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True})
    for n, value in enumerate(values):
        headers = [("number", str(n).encode())]
        producer.produce(topic, value.encode(), key=f"key {n}", headers=headers, partition=n % partitions, timestamp=1_700_000_000_000 + n)
    assert producer.flush(30) == 0


def contents(broker, topic, partitions=3):
    """What a copy has to have; offsets are its own."""
    stored = reader.read(broker, topic, partitions)
    return {p: [(r.timestamp, r.key, r.value) for r in records] for p, records in stored.items()}


def commit_end(broker, group, topic, partitions=3):
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    ends = [confluent_kafka.TopicPartition(topic, p) for p in range(partitions)]
    for tp in ends:
        tp.offset = consumer.get_watermark_offsets(tp, timeout=30)[1]
    consumer.commit(offsets=ends, asynchronous=False)
    consumer.close()
    return {tp.partition: tp.offset for tp in ends}


def next_values(broker, group, topic, count):
    """What the members of a group are handed next."""
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    values = []

    def enough():
        values.extend(m.value().decode() for m in consumer.consume(100, 0.2) if not m.error())
        return len(values) >= count

    wait_until(enough, f"{count} records for {group}")
    consumer.close()
    return sorted(values)


def test_mirror_maker_copies_both_ways_between_apache_and_this_broker(directory, ensemble):
    """Records, configuration and committed offsets of groups: a group goes on in the other cluster where it stood."""
    names = {"apache": "apache", "here": PEER}
    sides = {}
    for name, kind in names.items():
        properties = {**ONE_BROKER, **_QUICK, "offsets_topic_num_partitions": 2}
        sides[name] = Cluster(directory / name, ensemble, kind=kind).broker(1, **properties).start()
    ways = [("apache", "here"), ("here", "apache")]
    first = {}
    for source, _ in ways:
        admin.create_topic(sides[source], f"from-{source}", 3, retention_ms=-1, max_message_bytes=123_456)
        fill(sides[source], f"from-{source}", [f"{source} {n}" for n in range(300)])
        first[source] = commit_end(sides[source], f"group-{source}", f"from-{source}")
    maker = {"clusters": "apache, here"}
    for source, target in ways:
        maker[f"{source}.bootstrap.servers"] = sides[source].bootstrap
        maker |= {f"{source}->{target}.enabled": "true", f"{source}->{target}.topics": f"from-{source}"}
    maker |= {f"{topic}.replication.factor": 1 for topic in ("checkpoints.topic", "heartbeats.topic", "offset-syncs.topic")}
    maker |= {f"{topic}.storage.replication.factor": 1 for topic in ("offset", "status", "config")}
    maker |= {f"{topic}.storage.partitions": 1 for topic in ("offset", "status")}
    maker |= {
        "replication.factor": 1,
        "sync.group.offsets.enabled": "true",
        "sync.group.offsets.interval.seconds": 1,
        "emit.checkpoints.interval.seconds": 1,
        "emit.heartbeats.interval.seconds": 1,
        "refresh.topics.interval.seconds": 2,
        "refresh.groups.interval.seconds": 2,
        "sync.topic.configs.interval.seconds": 2,
        "offset.lag.max": 0,
        "offset.flush.interval.ms": 500,
        "plugin.discovery": "service_load",
    }
    file = write_properties(directory / "mirror" / "connect-mirror-maker.properties", maker)
    process = script("connect-mirror-maker.sh", directory / "mirror", "mirror maker", file)

    for source, target in ways:
        copy = f"{source}.from-{source}"
        wait_until(lambda: copy in sides_topics(sides[target]), f"{copy} is created")
        expected = contents(sides[source], f"from-{source}")
        wait_until(lambda: contents(sides[target], copy) == expected, f"{copy} has every record")
        watch = Watch(sides[target].bootstrap, f"group-{source}")
        ends = {(copy, p): offset for p, offset in first[source].items()}
        wait_until(lambda: watch.committed() == ends, f"the offsets of group-{source} followed: {ends}")
        wait_until(lambda: config_of(sides[target], copy)["max.message.bytes"] == "123456", "the configuration followed")

    # Later records follow, and the group, moved to the other cluster, is handed these alone.
    for source, target in ways:
        fill(sides[source], f"from-{source}", [f"later {source} {n}" for n in range(30)])
    for source, target in ways:
        values = next_values(sides[target], f"group-{source}", f"{source}.from-{source}", 30)
        assert values == sorted(f"later {source} {n}" for n in range(30))
        # What was copied is not copied back.
        assert not [name for name in sides_topics(sides[source]) if name.startswith(f"{target}.{source}.")]
    assert process.alive(), process.output()
    process.terminate()


def sides_topics(broker):
    return confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap}).list_topics(timeout=30).topics


def config_of(broker, topic):
    resource = confluent_kafka.admin.ConfigResource("topic", topic)
    client = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    (future,) = client.describe_configs([resource]).values()
    return {name: entry.value for name, entry in future.result(30).items()}


# ---- Streams


def counts(broker, topic, partitions=2):
    """{word: its counts in the order of the topic}, as readers of committed records see them."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": broker.bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "log_level": 0,
        }
    )
    found = collections.defaultdict(list)
    left = set(range(partitions))
    consumer.assign([confluent_kafka.TopicPartition(topic, p, confluent_kafka.OFFSET_BEGINNING) for p in left])
    while left:
        for message in consumer.consume(1000, 0.2):
            if reader.is_end(message):
                left.discard(message.partition())
            elif not message.error():
                found[message.key().decode()].append(int(message.value()))
    consumer.close()
    return found


def three_start(cluster, properties):
    for number in (1, 2, 3):
        cluster.broker(number, **properties).launch()
    for broker in cluster.brokers:
        broker.wait_ready()
    for topic in ("words", "counted"):
        admin.create_topic(cluster.brokers[0], topic, assignment=[[1, 2, 3], [2, 3, 1]])


def test_streams_counts_words_exactly_once_over_kills(cluster, directory, apache_tools):
    """A repartition topic, a state store and its changelog, transactions: a broker is killed in the middle, then the
    application. Then the application is reset, and counts everything again."""
    properties = {
        **_QUICK,
        "offsets_topic_replication_factor": 3,
        "offsets_topic_num_partitions": 4,
        "transaction_state_log_replication_factor": 3,
        "transaction_state_log_min_isr": 2,
        "min_insync_replicas": 2,
        "zookeeper_session_timeout_ms": 3000,
    }
    three_start(cluster, properties)
    expected = collections.Counter()
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True})

    def write(words):
        for n in range(sum(expected.values()), sum(expected.values()) + words, 4):
            line = [f"word{(n + k) * 7 % 40}" for k in range(4)]
            expected.update(line)
            producer.produce("words", " ".join(line), partition=n // 4 % 2)
        assert producer.flush(60) == 0

    def counted(alive=0, times=1):
        found = counts(cluster.brokers[alive], "counted")
        return sum(map(len, found.values())) >= times * sum(expected.values()) and found

    application = WordCount(directory, cluster.bootstrap, "word-count", "words", "counted", replication_factor=3).start()
    write(WORDS)
    application.wait_running()
    wait_until(lambda: counts(cluster.brokers[0], "counted"), "words are counted")
    cluster.brokers[1].kill()
    write(WORDS)
    wait_until(lambda: len(counts(cluster.brokers[0], "counted")) == 40, "the counting goes on")
    cluster.brokers[1].start()
    application.kill()
    write(WORDS)
    application.start().wait_running()
    found = wait_until(counted, "every word is counted")
    assert found == {word: list(range(1, n + 1)) for word, n in expected.items()}, "each word once"
    application.stop()
    topics = sides_topics(cluster.brokers[0])
    internal = {"word-count-counts-changelog", "word-count-counts-repartition"}
    assert internal <= set(topics)

    # Members that left are gone at once, one that was killed when its session is over: then a reset is allowed.
    watch = Watch(cluster.bootstrap, "word-count")
    wait_until(lambda: watch.describe()[0] == "Empty", "the application has left")
    arguments = ["--bootstrap-server", cluster.bootstrap, "--application-id", "word-count", "--input-topics", "words"]
    log = directory / "reset.log"
    env = ecosystem.environment(directory)
    tool = ecosystem.REPOSITORY / "bin" / "kafka-streams-application-reset.sh"
    assert run([tool, *arguments], log, "reset", env=env) == 0, log.read_text()
    assert "Reset-offsets for input topics [words]" in log.read_text()
    wait_until(lambda: not internal & set(sides_topics(cluster.brokers[0])), "the internal topics are gone")
    assert watch.committed() == {("words", 0): 0, ("words", 1): 0}
    again = WordCount(directory / "again", cluster.bootstrap, "word-count", "words", "counted", replication_factor=3)
    again.start().wait_running()
    found = wait_until(lambda: counted(times=2), "every word is counted again")
    assert found == {word: 2 * list(range(1, n + 1)) for word, n in expected.items()}
    again.stop()
    wait_in_sync(cluster, "counted", 3)


@pytest.mark.skipif(MOVES == 0, reason="half a minute or more: ZURAU_STREAMS_MOVES=3")
def test_streams_counts_words_exactly_once_while_coordinators_move(cluster, directory):
    """Every partition of both internal topics gets another leader, again and again, in the middle of the counting."""
    three_start(cluster, {**THREE_BROKERS, **_QUICK})
    expected = collections.Counter()
    producer = confluent_kafka.Producer({"bootstrap.servers": cluster.bootstrap, "enable.idempotence": True})

    def write():
        for n in range(200):
            word = f"word{n % 40}"
            expected[word] += 1
            producer.produce("words", word, partition=n % 2)
        assert producer.flush(60) == 0

    def counted():
        return sum(map(len, counts(cluster.brokers[0], "counted").values()))

    application = WordCount(directory, cluster.bootstrap, "moved", "words", "counted", replication_factor=3).start()
    write()
    application.wait_running()
    wait_until(counted, "words are counted")
    for n in range(MOVES):
        for topic in ("__consumer_offsets", "__transaction_state"):
            wait_in_sync(cluster, topic, 3)
            with cluster.ensemble.client(cluster.chroot) as zk:
                partitions = json.loads(zk.get(f"/brokers/topics/{topic}")[0])["partitions"]
                leaders = {p: state["leader"] for p, state in states(zk, topic).items()}
            # The same replicas, and another is the preferred one.
            turned = {int(p): replicas[1:] + replicas[:1] for p, replicas in partitions.items()}
            wire.reassign(controller_of(cluster).port, topic, turned)
            # While transactions are under way.
            write()
            elect_preferred(cluster)
            with cluster.ensemble.client(cluster.chroot) as zk:
                assert all(state["leader"] != leaders[p] for p, state in states(zk, topic).items())
        before = counted()
        write()
        wait_until(lambda: counted() > before, f"the counting goes on after move {n}")
    wait_until(lambda: counted() >= sum(expected.values()), "every word is counted")
    found = counts(cluster.brokers[0], "counted")
    assert found == {word: list(range(1, n + 1)) for word, n in expected.items()}, "each word once"
    application.stop()
