"""Compaction: the same history through Apache's cleaner and through that of the broker under test.

Apache writes it, with its cleaner off; then each side cleans a copy of the directory. Apache's tool reads both.
"""

import random
import re
import shutil

import pytest
from confluent_kafka import Producer

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
    writer = cluster.broker(1, "apache", log_cleaner_enable="false", log_segment_bytes=40_000, **_TXN).start()
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
            "log.initial.task.delay.ms": "1",
        }
        broker = Broker(kind, 1, writer.directory, properties, writer.port)
        partitions[kind] = cleaned(broker, copy)
    theirs, ours = dumped(apache_tools, partitions["apache"]), dumped(apache_tools, partitions[PEER])
    assert sum(line.startswith("| offset") for line in ours) > 50
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
    assert len({r.key for r in stored}) <= 61
    write_history(back, 3, 5)
    assert len(read(back, _TOPIC, partitions=1)[0]) > len(stored)
    assert back.stop() == 143
