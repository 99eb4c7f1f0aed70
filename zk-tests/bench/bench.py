"""Broker CPU for a unit of work, latencies, start times and memory: Zurau, Apache Kafka and the floor in one run.

The load is `zurau perf load`: prepared requests over raw sockets, so that what is measured is the broker. CPU is user and
system time of the broker's process from /proc. Apache runs in the JVM that its own scripts start, and gets a warm-up of the
same work first."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

from harness import ZURAU, admin, wire
from harness.broker import JVM, Cluster
from harness.java import SHIPPED
from harness.processes import Process, end_all, free_port, wait_until
from harness.zookeeper import Ensemble

PEERS = os.environ.get("BENCH_PEERS", "zurau,apache,floor").split(",")
SCALE = float(os.environ.get("BENCH_SCALE", "1"))
CONNECTIONS = 2
TICKS = os.sysconf("SC_CLK_TCK")
GB = 1e9
JVM.update(heap="1g", tuning=SHIPPED)


class Floor:
    """Stands in for a broker in the works that it can do."""

    kind = "floor"

    def __init__(self, directory):
        self.port = free_port()
        command = [ZURAU, "perf", "floor", "--port", str(self.port), "--dir", str(directory / "floor")]
        self.process = Process(command, directory / "floor.log", "floor")
        self.process.wait_for_line("listening", 10)

    bootstrap = property(lambda self: f"127.0.0.1:{self.port}")


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(process):
    return process.resident_bytes() / 1e6


def load(*args):
    done = subprocess.run([ZURAU, "perf", "load", *map(str, args)], stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def topic(peer, name, **config):
    if peer.kind != "floor":
        admin.create_topic(peer, name, CONNECTIONS, **config)
    return name


def drop(peer, name):
    """Frees the disk for the next work."""
    if peer.kind != "floor":
        admin.delete_topic(peer, name)


class Table:
    def __init__(self, peers=None):
        self.peers = peers or PEERS
        self.rows = {}

    def put(self, work, peer, value):
        self.rows.setdefault(work, {})[peer] = value
        print(f"{work}: {peer} {value}", file=sys.stderr, flush=True)

    def print(self):
        print("| work | " + " | ".join(self.peers) + " |")
        print("|---" * (len(self.peers) + 1) + "|")
        for work, values in self.rows.items():
            print(f"| {work} | " + " | ".join(values.get(peer, "") for peer in self.peers) + " |")


def measured(peer, work):
    before = cpu_seconds(peer.process)
    result = work()
    return result, cpu_seconds(peer.process) - before


def produce_args(
    peer, name, records, record_bytes, requests, acks=1, in_flight=5, rate=None, connections=CONNECTIONS
):
    args = ["produce", "--bootstrap", peer.bootstrap, "--topic", name, "--connections", connections, "--acks", acks]
    args += ["--records-per-batch", records, "--record-bytes", record_bytes, "--requests", int(requests)]
    args += ["--in-flight", in_flight]
    return args + (["--rate", rate] if rate else [])


def produce(table, peer):
    sizes = {"64 KiB": (62, 30_000), "1 MiB": (1_000, 2_000)}
    for size, (records, requests) in sizes.items():
        for acks in (1, -1):
            name = topic(peer, f"produce-{records}-{acks}", **{"max.message.bytes": 2_000_000})
            if peer.kind == "apache":
                load(*produce_args(peer, name, records, 1024, requests * SCALE, acks))
            result, cpu = measured(peer, lambda: load(*produce_args(peer, name, records, 1024, requests * SCALE, acks)))
            gigabytes = result["bytes"] / GB
            table.put(
                f"produce 1 KiB records in {size} batches, acks={acks}, CPU s/GB",
                peer.kind,
                f"{cpu / gigabytes:.2f} ({gigabytes / result['seconds']:.2f} GB/s)",
            )
            drop(peer, name)


def small(table, peer):
    name = topic(peer, "small")
    requests = 200_000 * SCALE
    if peer.kind == "apache":
        load(*produce_args(peer, name, 1, 100, requests, in_flight=1))
    result, cpu = measured(peer, lambda: load(*produce_args(peer, name, 1, 100, requests, in_flight=1)))
    millions = result["requests"] / 1e6
    table.put("one 100-byte record a request, CPU s per million", peer.kind, f"{cpu / millions:.1f}")
    drop(peer, name)


def fetch(table, peer):
    name = topic(peer, "fetch", **{"max.message.bytes": 2_000_000})
    load(*produce_args(peer, name, 62, 1024, 16_000 * min(SCALE, 1)))
    bytes_ = int(8 * GB * SCALE)
    args = ["fetch", "--bootstrap", peer.bootstrap, "--topic", name, "--connections", CONNECTIONS, "--bytes", bytes_]
    if peer.kind == "apache":
        load(*args)
    result, cpu = measured(peer, lambda: load(*args))
    table.put("fetch from the page cache, CPU s/GB", peer.kind, f"{cpu / (result['bytes'] / GB):.2f}")
    drop(peer, name)


def follow(table, peer):
    name = topic(peer, "follow")
    requests = 15_000 * SCALE
    batch_bytes = 62 * 1033

    def both():
        args = ["follow", "--bootstrap", peer.bootstrap, "--topic", name, "--connections", CONNECTIONS]
        args += ["--bytes", int(requests * batch_bytes * 0.99)]
        with subprocess.Popen([ZURAU, "perf", "load", *map(str, args)], stdout=subprocess.DEVNULL) as reader:
            result = load(*produce_args(peer, name, 62, 1024, requests, rate=1_560))
            if peer.kind == "floor":
                reader.kill()
        return result

    if peer.kind == "floor":
        return  # it has no end to follow
    if peer.kind == "apache":
        both()
        drop(peer, name)
        name = topic(peer, "follow-again")
    result, cpu = measured(peer, both)
    table.put("100 MB/s written and followed at once, CPU s/GB", peer.kind, f"{cpu / (result['bytes'] / GB):.2f}")
    drop(peer, name)


def latency(table, peer):
    for rate in (1_000, 10_000):
        name = topic(peer, f"latency-{rate}")
        args = produce_args(peer, name, 1, 100, rate * 10 * SCALE, rate=rate)
        if peer.kind == "apache":
            load(*args)
        result = load(*args)
        table.put(
            f"acknowledgement at {rate} records/s, p50 and p99 ms",
            peer.kind,
            f"{result['p50_ms']:.2f}, {result['p99_ms']:.2f}",
        )
        drop(peer, name)


def start_seconds(broker):
    """From the start of the process to the first Metadata answer that knows its partitions' leaders."""
    begin = time.monotonic()
    broker.launch()
    while True:
        try:
            brokers, controller, topics = wire.metadata(broker.port, ())
            if brokers and controller >= 0:
                return time.monotonic() - begin
        except OSError:
            if not broker.process.alive():
                raise
        time.sleep(0.002)


def start(table, cluster, kind):
    for partitions in (100, 1_000):
        broker = cluster.broker(partitions // 100, kind)
        broker.start()
        name = f"many-{partitions}"
        admin.create_topic(broker, name, partitions)
        load(*["produce", "--bootstrap", broker.bootstrap, "--topic", name, "--connections", partitions // 10],
             *["--records-per-batch", 10, "--record-bytes", 100, "--requests", partitions * 2])
        if partitions == 1_000:
            table.put("RSS with 1,000 partitions, MB", kind, f"{resident_mb(broker.process):.0f}")
        broker.stop()
        table.put(f"start to first Metadata answer, {partitions} partitions, clean, s", kind, f"{start_seconds(broker):.3f}")
        broker.wait_ready()
        broker.kill()
        cluster.forget(broker)
        table.put(f"start to first Metadata answer, {partitions} partitions, after kill -9, s", kind, f"{start_seconds(broker):.3f}")
        broker.wait_ready()
        broker.stop()


def memory_idle(table, peer):
    table.put("RSS idle, MB", peer.kind, f"{resident_mb(peer.process):.0f}")


def memory_after(table, peer):
    table.put("RSS after load, MB", peer.kind, f"{resident_mb(peer.process):.0f}")
    before = resident_mb(peer.process)
    command = [ZURAU, "perf", "load", "idle", "--bootstrap", peer.bootstrap, "--connections", "1000"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
        idle.stdout.readline()
        time.sleep(1)
        table.put("RSS per 1,000 idle connections, MB", peer.kind, f"{resident_mb(peer.process) - before:.1f}")
        idle.stdin.close()


def hour(table, peer):
    """What an hour may bring, in ten minutes: every kind of load in turn, topics that come and go, connections that come
    and go. Memory has to be where it was after the first tenth."""
    end = time.monotonic() + 600 * SCALE
    begin = time.monotonic()
    samples = []
    lap = 0
    while (now := time.monotonic()) < end:
        name = topic(peer, f"hour-{lap}", **{"max.message.bytes": 2_000_000})
        load(*produce_args(peer, name, 62, 1024, 6_000))
        load(*produce_args(peer, name, 1_000, 1024, 200, acks=-1))
        load(*produce_args(peer, name, 1, 100, 20_000))
        load("fetch", "--bootstrap", peer.bootstrap, "--topic", name, "--connections", CONNECTIONS, "--bytes", int(GB / 2))
        command = [ZURAU, "perf", "load", "idle", "--bootstrap", peer.bootstrap, "--connections", "500"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
            idle.stdout.readline()
            idle.stdin.close()
        drop(peer, name)
        samples.append((now - begin, resident_mb(peer.process)))
        lap += 1
    minutes = [max((rss for at, rss in samples if int(at / (60 * SCALE)) == minute), default=0) for minute in range(10)]
    shown = ", ".join(f"{rss:.0f}" for rss in minutes)
    table.put("RSS in each of ten minutes of mixed load, MB", peer.kind, f"{shown} ({lap} laps)")


WORKS = {"produce": produce, "small": small, "fetch": fetch, "follow": follow, "latency": latency, "hour": hour}


def main(chosen):
    # Ten minutes a peer: only when it is asked for.
    chosen = chosen or [*(name for name in WORKS if name != "hour"), "start", "memory"]
    table = Table()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="zurau-bench-"))
    try:
        ensemble = Ensemble(directory / "zookeeper")
        ensemble.start()
        for kind in PEERS:
            if kind == "floor":
                peer = Floor(directory)
            else:
                cluster = Cluster(directory / kind, ensemble)
                peer = cluster.broker(1, kind, log_retention_check_interval_ms=3_600_000).start()
                if "memory" in chosen:
                    memory_idle(table, peer)
            for name, work in WORKS.items():
                if name in chosen and not (name == "hour" and kind == "floor"):
                    work(table, peer)
            if kind != "floor":
                if "memory" in chosen:
                    memory_after(table, peer)
                peer.stop()
                if "start" in chosen:
                    start(table, Cluster(directory / f"{kind}-start", ensemble), kind)
            else:
                peer.process.kill()
        table.print()
    finally:
        end_all()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
