"""Compaction: the same history through Apache's cleaner and through that of the broker under test.

Apache writes it, with its cleaner off; then each side cleans a copy of the directory. Apache's tool reads both.
"""

import gzip
import random
import re
import shutil
import struct
import zlib

import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from harness import CODECS, PEER, admin
from harness.broker import Broker
from harness.processes import wait_until
from harness.reader import read

_TOPIC = "history"
_TXN = {
    "transaction_state_log_replication_factor": 1,
    "transaction_state_log_min_isr": 1,
    "transaction_state_log_num_partitions": 1,
}


def message(offset, magic, attributes, timestamp, key, value):
    """An entry of the formats before 0.11."""
    sized = b"".join(struct.pack(">i", -1) if f is None else struct.pack(">i", len(f)) + f for f in (key, value))
    body = struct.pack(">bb", magic, attributes) + (struct.pack(">q", timestamp) if magic else b"") + sized
    return struct.pack(">qiI", offset, len(body) + 4, zlib.crc32(body)) + body


def write_old_segments(partition, seed):
    """Two segments as brokers before 0.11 left them: plain messages and compressed sets of magic 0 and 1."""
    rng = random.Random(seed)
    partition.mkdir(parents=True)
    offset = 0
    for _ in range(2):
        base, data = offset, b""
        for n in range(60):
            magic = rng.randrange(2)
            count = rng.choice([1, 1, 3, 8])
            timestamp = 1_700_000_000_000 + n
            entries = []
            for i in range(count):
                value = None if rng.random() < 0.2 else rng.randbytes(rng.randint(0, 60))
                entries.append((b"key-%d" % rng.randint(0, 120), value))
            if count == 1:
                data += message(offset, magic, 0, timestamp, *entries[0])
            else:
                inner = [message(i if magic else offset + i, magic, 0, timestamp, *e) for i, e in enumerate(entries)]
                data += message(offset + count - 1, magic, 1, timestamp, None, gzip.compress(b"".join(inner)))
            offset += count
        (partition / f"{base:020}.log").write_bytes(data)


def write_history(broker, seed, rounds):
    """Random keyed records over all codecs: values, tombstones and headers, in and out of transactions."""
    rng = random.Random(seed)
    plain = {
        codec: Producer({"bootstrap.servers": broker.bootstrap, "compression.type": codec, "enable.idempotence": n % 2 == 0,
                         "linger.ms": 5, "batch.num.messages": rng.randint(2, 40)})
        for n, codec in enumerate(CODECS)
    }  # fmt: skip
    transactional = []
    for n in range(3):
        config = {"bootstrap.servers": broker.bootstrap, "transactional.id": f"txn-{seed}-{n}", "compression.type": CODECS[n]}
        transactional.append(Producer(config))
        transactional[-1].init_transactions(30)

    def send(producer, records):
        for _ in range(records):
            key = f"key-{rng.randint(0, 60)}"
            value = None if rng.random() < 0.15 else rng.randbytes(rng.randint(0, 150))
            if rng.random() < 0.002:
                # More than the cleaner's buffers hold.
                value = rng.randbytes(30_000)
            headers = [("h", rng.randbytes(3)), ("none", None)] if rng.random() < 0.3 else []
            producer.produce(_TOPIC, value=value, key=key, headers=headers, partition=0)

    for _ in range(rounds):
        if rng.random() < 0.6:
            producer = plain[rng.choice(CODECS)]
            send(producer, rng.randint(1, 60))
            assert producer.flush(30) == 0
        else:
            producer = rng.choice(transactional)
            producer.begin_transaction()
            send(producer, rng.randint(1, 30))
            if rng.random() < 0.5:
                producer.commit_transaction(30)
            else:
                producer.flush(30)
                producer.abort_transaction(30)
    # A reader waits for the last record, and sees no markers.
    send(plain["none"], 1)
    assert plain["none"].flush(30) == 0


def cleaned(broker, log_dir, seconds=60):
    """Starts a broker on a directory, waits until everything but the last segment is clean, and stops it."""
    broker.start()
    partition = log_dir / f"{_TOPIC}-0"

    def is_clean():
        active = max(int(log.name.split(".")[0]) for log in partition.glob("*.log"))
        checkpoint = log_dir / "cleaner-offset-checkpoint"
        lines = checkpoint.read_text().splitlines()[2:] if checkpoint.exists() else []
        return f"{_TOPIC} 0 {active}" in lines

    wait_until(is_clean, "the log is clean", seconds)
    assert broker.stop() == 143
    return partition


def dumped(tools, partition):
    """Segment by segment what Apache's tool says of a log, without what depends on clocks and compressors."""
    logs = sorted(partition.glob("*.log"))
    out = tools.run("dump-log", "--deep-iteration", "--print-data-log", "--files", ",".join(map(str, logs))).check().stdout
    assert "isvalid: false" not in out
    out = re.sub(r"OptionalLong\[\d+\]", "OptionalLong[then]", out)
    out = re.sub(r"(position|size|crc): \d+", r"\1: any", out)
    return [line.replace(str(partition), "") for line in out.splitlines()]


def check_indexes(tools, partition):
    last = max(p.stem for p in partition.glob("*.log"))
    indexes = [i for i in [*partition.glob("*.index"), *partition.glob("*.timeindex")] if i.stem != last]
    for mode in ("--verify-index-only", "--index-sanity-check"):
        checked = tools.run("dump-log", mode, "--files", ",".join(map(str, indexes))).check()
        # An entry may lead to a batch that lost all of its records: Apache's cleaner counts the time of a kept header too.
        emptied = r"Found timestamp mismatch in :.*\n(?:\s*Index timestamp: \d+, log timestamp: -1(?:\n|$))+"
        said = re.sub(emptied, "", checked.stdout + checked.stderr)
        for complaint in ("ismatch", "Non-consecutive", "out of order", "not found", "failed"):
            assert complaint not in said, said[-2000:]


def aborted(tools, partition):
    """What the transaction indexes say, by file."""
    found = {}
    for index in sorted(partition.glob("*.txnindex")):
        lines = tools.run("dump-log", "--files", index).check().stdout.splitlines()[1:]
        if lines:
            found[index.name] = lines
    return found


@pytest.mark.parametrize("retention", [86_400_000, 1])
def test_both_cleaners_leave_the_same(retention, cluster, apache_tools):
    writer = cluster.broker(1, "apache", log_cleaner_enable="false", log_segment_bytes=40_000, **_TXN)
    write_old_segments(writer.partition(_TOPIC, 0), 4)
    writer.start()
    config = {"cleanup_policy": "compact", "min_cleanable_dirty_ratio": 0.001, "delete_retention_ms": retention}
    admin.create_topic(writer, _TOPIC, partitions=1, segment_bytes=40_000, index_interval_bytes=500, **config)
    write_history(writer, 1, 60)
    writer.stop()
    # Other producers, and another segment to begin with.
    writer.start()
    admin.wait_led(writer, _TOPIC, 1)
    write_history(writer, 2, 40)
    assert writer.stop() == 143
    original = writer.log_dirs[0]

    partitions = {}
    for kind in ("apache", PEER):
        copy = writer.directory / f"{kind}-cleaned"
        shutil.copytree(original, copy)
        properties = {
            **writer.properties,
            "log.dirs": str(copy),
            "log.cleaner.enable": "true",
            "log.cleaner.backoff.ms": "50",
            "log.cleaner.io.buffer.size": "8192",
            "log.initial.task.delay.ms": "1",
        }
        broker = Broker(kind, 1, writer.directory, properties, writer.port)
        partitions[kind] = cleaned(broker, copy)
    theirs, ours = dumped(apache_tools, partitions["apache"]), dumped(apache_tools, partitions[PEER])
    assert sum(line.startswith("| offset") for line in ours) > 50
    assert all(any(f"magic: {magic} " in line for line in ours) for magic in (0, 1, 2))
    for n, (their, our) in enumerate(zip(theirs, ours)):
        assert their == our, f"line {n} differs; before it:\n" + "\n".join(ours[max(0, n - 5) : n])
    assert len(theirs) == len(ours)
    assert aborted(apache_tools, partitions["apache"]) == aborted(apache_tools, partitions[PEER])
    check_indexes(apache_tools, partitions[PEER])
    names = {kind: sorted(f.name for f in p.iterdir() if not f.name.endswith((".deleted", ".snapshot"))) for kind, p in partitions.items()}
    assert names["apache"] == names[PEER]

    # Apache goes on where the broker under test has cleaned.
    back = Broker("apache", 1, writer.directory, {**writer.properties, "log.dirs": str(partitions[PEER].parent)}, writer.port)
    back.start()
    admin.wait_led(back, _TOPIC, 1)
    stored = read(back, _TOPIC, partitions=1)[0]
    assert len({r.key for r in stored}) <= 121
    write_history(back, 3, 5)
    assert len(read(back, _TOPIC, partitions=1)[0]) > len(stored)
    assert back.stop() == 143


def test_the_cleaners_settings_change_while_it_runs(cluster):
    """A cleaner that would look again in an hour is told otherwise, and works on under every other key."""
    broker = cluster.broker(1, log_cleaner_backoff_ms=3_600_000, log_cleaner_min_cleanable_ratio=0.01).start()
    config = {"cleanup_policy": "compact", "segment_bytes": 20_000}
    admin.create_topic(broker, _TOPIC, partitions=1, **config)
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    producer = Producer({"bootstrap.servers": broker.bootstrap})
    log_dir = broker.log_dirs[0]

    def alter(key, value):
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.BROKER, "1", incremental_configs=[entry])
        client.incremental_alter_configs([resource])[resource].result(30)

    def write():
        for n in range(2000):
            producer.produce(_TOPIC, b"x" * 50, f"key-{n % 10}", partition=0)
            if n % 100 == 99:
                producer.flush()

    def clean_end():
        checkpoint = log_dir / "cleaner-offset-checkpoint"
        lines = checkpoint.read_text().splitlines()[2:] if checkpoint.exists() else []
        return max([int(line.split()[2]) for line in lines if line.startswith(f"{_TOPIC} 0 ")], default=0)

    # The first look, which an hour follows, is over before there is anything to clean.
    write()
    alter("log.cleaner.backoff.ms", "20")
    wait_until(lambda: clean_end() > 0, "it is cleaned")
    for key, value in (
        ("log.cleaner.threads", "2"),
        ("log.cleaner.io.max.bytes.per.second", "10000000"),
        ("log.cleaner.dedupe.buffer.size", "16777216"),
        ("log.cleaner.io.buffer.size", "16384"),
        ("log.cleaner.io.buffer.load.factor", "0.5"),
        ("log.cleaner.delete.retention.ms", "5"),
        ("log.cleaner.min.cleanable.ratio", "0.02"),
        ("log.cleaner.min.compaction.lag.ms", "1"),
    ):
        before = clean_end()
        alter(key, value)
        write()
        wait_until(lambda: clean_end() > before, f"it is cleaned again with another {key}")
    # Not more than twice as many at once: there are two.
    with pytest.raises(KafkaException, match="threads"):
        alter("log.cleaner.threads", "8")
    assert broker.stop() == 143
