"""One implementation takes the other's place on its disk: same properties file, same log directories, same ZooKeeper.

Apache writes, the broker under test goes on, and Apache comes back to what both have written; every time after a clean
stop or a kill -9. An idempotent producer stays connected through it all. Apache's own reader of log files checks what
the broker under test left behind.
"""

import pytest

from harness import CODECS, PEER, admin, clients
from harness.load import Load, check_stored
from harness.reader import read

_CONFIGS = {
    "plain": {"retention_ms": 86_400_000, "flush_messages": 10_000},
    "stamped": {"message_timestamp_type": "LogAppendTime", "segment_bytes": 300_000, "index_interval_bytes": 500},
}


@pytest.fixture(scope="module")
def few(base):
    return clients.Records(base / "few-records", count=20_000, seed=2)


def end(cluster, broker, how):
    if how == "clean":
        assert broker.stop() == 143
    else:
        broker.kill()
        cluster.forget(broker)


def checkpointed_epochs(broker, topic, partitions=3):
    """What leader-epoch-checkpoint says: [(epoch, start offset)] by partition."""
    epochs = {}
    for p in range(partitions):
        lines = (broker.partition(topic, p) / "leader-epoch-checkpoint").read_text().splitlines()
        assert lines[0] == "0"
        epochs[p] = [tuple(map(int, line.split())) for line in lines[2:]]
        assert len(epochs[p]) == int(lines[1])
    return epochs


def topic_configs(tools, broker, topic):
    out = tools.run("configs", "--bootstrap-server", broker.bootstrap, "--describe", "--topic", topic).check().stdout
    return sorted(line.strip() for line in out.splitlines()[1:])


def producers(tools, broker, topic, partition):
    """ProducerId, epoch, last sequence, last timestamp of every producer, as the broker tells it."""
    command = "org.apache.kafka.tools.TransactionsCommand"
    where = ("--topic", topic, "--partition", partition)
    out = tools.run(command, "--bootstrap-server", broker.bootstrap, "describe-producers", *where).check().stdout
    rows = [line.split() for line in out.splitlines() if line.strip()]
    columns = [rows[0].index(name) for name in ("ProducerId", "ProducerEpoch", "LastSequence", "LastTimestamp")]
    return sorted(tuple(row[c] for c in columns) for row in rows[1:])


def offset_at(tools, broker, topic, timestamp):
    run = tools.run("get-offsets", "--bootstrap-server", broker.bootstrap, "--topic", topic, "--time", timestamp)
    return sorted(run.check().stdout.split())


class Facts:
    """All that a client can learn of topics that nobody writes to."""

    def __init__(self, tools, broker, topics):
        self.records = {topic: read(broker, topic) for topic in topics}
        self.ids = {(t, p): (broker.partition(t, p) / "partition.metadata").read_text() for t in topics for p in range(3)}
        self.configs = {topic: topic_configs(tools, broker, topic) for topic in topics}
        self.producers = {(t, 1): producers(tools, broker, t, 1) for t in topics}
        times = sorted({r.timestamp for records in self.records[topics[0]].values() for r in records})
        asked = [-2, -1, -3, times[len(times) // 3], times[-1], times[-1] + 1]
        self.offsets = {(t, time): offset_at(tools, broker, t, time) for t in topics[:2] for time in asked}

    def check_same(self, before):
        for name, value in vars(before).items():
            now = getattr(self, name)
            for key, was in value.items():
                assert now[key] == was, f"{name} of {key}"


def check_files(tools, broker, topics, clean):
    """Apache's DumpLogSegments finds nothing wrong with the files of these topics."""
    for topic in topics:
        logs = [log for p in range(3) for log in sorted(broker.partition(topic, p).glob("*.log"))]
        listed = tools.run("dump-log", "--deep-iteration", "--files", ",".join(map(str, logs))).check().stdout
        assert "isvalid: true" in listed
        assert "isvalid: false" not in listed

    directories = [broker.partition(topic, p) for topic in topics for p in range(3)]
    indexes = [i for d in directories for i in sealed([*d.glob("*.index"), *d.glob("*.timeindex")], clean)]
    for mode in ("--verify-index-only", "--index-sanity-check"):
        checked = tools.run("dump-log", mode, "--files", ",".join(map(str, indexes))).check()
        for complaint in ("ismatch", "Non-consecutive", "out of order", "not found", "failed"):
            assert complaint not in checked.stdout + checked.stderr, checked.stdout[-2000:]
    assert checked.stdout.count("passed sanity check") == len(indexes)

    snapshots = [snapshot for d in directories for snapshot in d.glob("*.snapshot")]
    tools.run("dump-log", "--files", ",".join(map(str, snapshots))).check()


def sealed(indexes, clean):
    """After a kill the index files of the last segment still have their room ahead, full of zeros."""
    last = max(index.stem for index in indexes)
    return [index for index in indexes if clean or index.stem != last]


@pytest.mark.parametrize("how", ["clean", "kill -9"])
def test_swap(how, cluster, directory, apache_tools, few):
    kept = {"log_segment_bytes": 1 << 20, "log_flush_offset_checkpoint_interval_ms": 500}
    apache = cluster.broker(1, "apache", **kept).start()
    zurau = apache.as_kind(PEER)
    quiet = [f"from-apache-{codec}" for codec in CODECS] + list(_CONFIGS)
    for topic in quiet:
        admin.create_topic(apache, topic, **_CONFIGS.get(topic, {}))
    writes = [f"produce:{codec}:from-apache-{codec}" for codec in CODECS] + [f"produce:lz4:{t}" for t in _CONFIGS]
    clients.run_client("java-3.9.1", apache.bootstrap, few, writes, directory)
    admin.create_topic(apache, "load")
    load = Load(apache, "load", directory)
    load.wait_acknowledged(1000)
    facts = Facts(apache_tools, apache, quiet)
    end(cluster, apache, how)
    epochs = {t: checkpointed_epochs(apache, t) for t in quiet}

    zurau.start()
    load.wait_acknowledged(1000)
    Facts(apache_tools, zurau, quiet).check_same(facts)
    new = [f"from-zurau-{codec}" for codec in CODECS]
    for topic in new:
        admin.create_topic(zurau, topic)
    writes = [f"produce:{codec}:from-zurau-{codec}" for codec in CODECS] + [f"produce:zstd:{t}" for t in _CONFIGS]
    clients.run_client("java-3.9.1", zurau.bootstrap, few, writes, directory)
    facts = Facts(apache_tools, zurau, quiet + new)
    end(cluster, zurau, how)
    for topic in quiet:
        for p, now in checkpointed_epochs(zurau, topic).items():
            assert now[: len(epochs[topic][p])] == epochs[topic][p], f"epochs of {topic}-{p}"
    check_files(apache_tools, zurau, [*quiet, *new, "load"], how == "clean")

    apache.start()
    load.wait_acknowledged(1000)
    Facts(apache_tools, apache, quiet + new).check_same(facts)
    check_stored(load.finish(), read(apache, "load"))
