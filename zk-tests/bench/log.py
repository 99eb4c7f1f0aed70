"""The log's life in figures: compaction, starts with many partitions, deletion of many topics; Zurau and Apache Kafka on the
same directories, in one run."""

import os
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time

from bench import GB, SCALE, Table, cpu_seconds, load, produce_args, resident_mb, start_seconds
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
from harness import admin, wire
from harness.broker import Cluster
from harness.processes import end_all, wait_until
from harness.zookeeper import Ensemble

PEERS = [peer for peer in os.environ.get("BENCH_PEERS", "zurau,apache").split(",") if peer != "floor"]
PARTITIONS = [int(n) for n in os.environ.get("BENCH_PARTITIONS", "1000,20000").split(",")]
# Apache needs minutes for each start with more.
APACHE_PARTITIONS_MAX = int(os.environ.get("BENCH_APACHE_PARTITIONS", "4000"))
PER_TOPIC = 1_000
_SEGMENT = 8 << 20


def peak_mb(process):
    for line in pathlib.Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1e3
    raise RuntimeError(f"{process.name} has no memory any more")


def open_files(process):
    return len(os.listdir(f"/proc/{process.pid}/fd"))


def maps(process):
    return pathlib.Path(f"/proc/{process.pid}/maps").read_text().count("\n")


def clean_ends(broker, name):
    checkpoint = broker.log_dirs[0] / "cleaner-offset-checkpoint"
    lines = checkpoint.read_text().splitlines()[2:] if checkpoint.exists() else []
    return {int(p): int(end) for topic, p, end in map(str.split, lines) if topic == name}


def compaction(table, ensemble, directory):
    """1 KiB records of up to 200,000 keys, each about five times, uncompressed and in lz4; then the topic becomes a compacted one."""
    writer = Cluster(directory / "written", ensemble).broker(1, "zurau", log_segment_bytes=_SEGMENT).start()
    sizes = {}
    for codec in ("none", "lz4"):
        admin.create_topic(writer, codec, partitions=1)
        producer = Producer({"bootstrap.servers": writer.bootstrap, "compression.type": codec, "linger.ms": 20,
                             "batch.size": 65_536, "queue.buffering.max.messages": 1_000_000})  # fmt: skip
        rng = random.Random(1)
        # Half of a value is noise, so that lz4 finds something and not everything.
        noise = rng.randbytes(1 << 20)
        for _ in range(int(1_000_000 * SCALE)):
            at = rng.randrange(len(noise) - 512)
            producer.produce(codec, noise[at : at + 512] + bytes(512), b"key-%06d" % rng.randrange(int(200_000 * SCALE)), 0)
            producer.poll(0)
        producer.flush()
    writer.stop()
    for kind in PEERS:
        broker = writer.as_kind(kind)
        broker.directory = directory / f"compaction-{kind}"
        shutil.copytree(writer.log_dirs[0], broker.directory / "data")
        broker.properties = {**writer.properties, "log.dirs": str(broker.directory / "data"), "log.cleaner.backoff.ms": "100"}
        broker.start()
        client = AdminClient({"bootstrap.servers": broker.bootstrap})
        for codec in ("none", "lz4"):
            wait_until(lambda: led(broker, codec), f"{codec} is led", 60)
            partition = broker.partition(codec, 0)
            active = max(int(log.stem) for log in partition.glob("*.log"))
            sizes[codec] = sum(log.stat().st_size for log in partition.glob("*.log") if int(log.stem) < active)
            entry = ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.SET)
            resource = ConfigResource(ResourceType.TOPIC, codec, incremental_configs=[entry])
            cpu, begin, resident = cpu_seconds(broker.process), time.monotonic(), resident_mb(broker.process)
            client.incremental_alter_configs([resource])[resource].result(30)
            wait_until(lambda: clean_ends(broker, codec).get(0) == active, f"{codec} is clean", 600)
            seconds, cpu = time.monotonic() - begin, cpu_seconds(broker.process) - cpu
            table.put(f"compaction of {sizes[codec] / 1e6:.0f} MB, {codec}, MB/s", kind, f"{sizes[codec] / 1e6 / seconds:.0f}")
            table.put(f"compaction of {sizes[codec] / 1e6:.0f} MB, {codec}, CPU s/GB", kind, f"{cpu / (sizes[codec] / GB):.2f}")
            if codec == "none":
                table.put("RSS before and at most in compaction, MB", kind, f"{resident:.0f}, {peak_mb(broker.process):.0f}")
        broker.stop()
        # Both worked under one id in one ZooKeeper, one after the other.
        make_plain(writer, ensemble)
        shutil.rmtree(broker.directory)


def make_plain(writer, ensemble):
    """Makes the topics plain ones again, for the next peer."""
    with ensemble.client(writer.properties["zookeeper.connect"].removeprefix(ensemble.hosts)) as zk:
        for codec in ("none", "lz4"):
            zk.set(f"/config/topics/{codec}", b'{"version":1,"config":{}}')


def starts(table, ensemble, directory):
    """One broker on many partitions, a few records in each; Apache starts on directories that Zurau made."""
    for partitions in PARTITIONS:
        counts = {kind: min(partitions, APACHE_PARTITIONS_MAX) if kind == "apache" else partitions for kind in PEERS}
        shown = f"{partitions} partitions"
        if counts.get("apache", partitions) < partitions:
            shown += f" (Apache: {counts['apache']})"
        makers = {}
        for kind in PEERS:
            count = counts[kind]
            if count not in makers:
                home = Cluster(directory / f"start-{partitions}-{count}", ensemble)
                makers[count] = home.broker(1, "zurau", offsets_retention_minutes=100_000).start()
                begin = time.monotonic()
                names = make_topics(makers[count], count)
                table.put(f"creation of {count} partitions, with records, s", "zurau", f"{time.monotonic() - begin:.1f}")
                makers[count].stop()
            start_twice(table, ensemble, makers[count].as_kind(kind), names, shown)


def make_topics(broker, partitions):
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    names = [f"many-{n}" for n in range(max(1, partitions // PER_TOPIC))]
    for name in names:
        topic = NewTopic(name, num_partitions=PER_TOPIC, replication_factor=1)
        client.create_topics([topic], request_timeout=300)[name].result(300)
    for name in names:
        wait_until(lambda: len(led(broker, name)) == PER_TOPIC, f"{name} is led", 300)
        load(*["produce", "--bootstrap", broker.bootstrap, "--topic", name, "--connections", 10],
             *["--records-per-batch", 10, "--record-bytes", 100, "--requests", PER_TOPIC * 2])  # fmt: skip
    return names


def start_twice(table, ensemble, broker, names, shown):
    kind = broker.kind
    for state in ("clean", "after kill -9"):
        seconds = start_seconds(broker)
        begin = time.monotonic()
        wait_until(lambda: all(len(led(broker, name)) == PER_TOPIC for name in names), "all are led", 600)
        waited = time.monotonic() - begin
        table.put(f"start to first Metadata answer, and from there until all are led, {shown}, {state}, s", kind,
                  f"{seconds:.2f}, {waited:.2f}")  # fmt: skip
        if state == "clean":
            values = resident_mb(broker.process), open_files(broker.process), maps(broker.process)
            table.put(f"RSS in MB, open files, maps with {shown}", kind, f"{values[0]:.0f}, {values[1]}, {values[2]}")
            broker.kill()
            ensemble_forget(ensemble, broker)
    broker.stop(300)


def ensemble_forget(ensemble, broker):
    chroot = broker.properties["zookeeper.connect"].removeprefix(ensemble.hosts)
    cluster = Cluster(broker.directory, ensemble, chroot)
    cluster.forget(broker)


def led(broker, name):
    return [leader for error, leader in wire.metadata(broker.port, [name])[2].get(name, {}).values() if error == 0 and leader >= 0]


def deletion(table, ensemble, directory):
    """1,000 topics of one partition go while another is written at 1,000 records a second."""
    count = int(1_000 * SCALE)
    for kind in PEERS:
        broker = Cluster(directory / f"deletion-{kind}", ensemble).broker(1, kind, log_segment_delete_delay_ms=1_000).start()
        client = AdminClient({"bootstrap.servers": broker.bootstrap})
        names = [f"gone-{n}" for n in range(count)]
        for at in range(0, count, 100):
            topics = [NewTopic(name, num_partitions=1, replication_factor=1) for name in names[at : at + 100]]
            for done in client.create_topics(topics, request_timeout=120).values():
                done.result(120)
        wait_until(lambda: all(led(broker, name) for name in names[-5:]), "all are led", 120)
        producer = Producer({"bootstrap.servers": broker.bootstrap})
        for name in names:
            producer.produce(name, b"x" * 1000)
        producer.flush()
        admin.create_topic(broker, "stays", 2)
        args = produce_args(broker, "stays", 1, 100, 1_000 * 10, rate=1_000)
        load(*args)
        idle = load(*args)
        begin = time.monotonic()
        gone = []

        def delete():
            for done in client.delete_topics(names, request_timeout=120, operation_timeout=0).values():
                done.result(120)
            wait_until(lambda: not list(broker.log_dirs[0].glob("gone-*")), "all files are gone", 300)
            gone.append(time.monotonic() - begin)

        worker = threading.Thread(target=delete)
        worker.start()
        busy = load(*args)
        worker.join()
        table.put("produce at 1,000 records/s, p50 and p99 ms", kind, f"{idle['p50_ms']:.2f}, {idle['p99_ms']:.2f}")
        table.put(f"the same while {count} topics are deleted", kind, f"{busy['p50_ms']:.2f}, {busy['p99_ms']:.2f}")
        table.put(f"until the files of {count} topics are gone, s", kind, f"{gone[0]:.1f}" if gone else "never")
        broker.stop()


WORKS = {"compaction": compaction, "starts": starts, "deletion": deletion}


def main(chosen):
    table = Table(PEERS)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="zurau-bench-"))
    try:
        ensemble = Ensemble(directory / "zookeeper")
        ensemble.start()
        for name in chosen or WORKS:
            WORKS[name](table, ensemble, directory)
        table.print()
    finally:
        end_all()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
