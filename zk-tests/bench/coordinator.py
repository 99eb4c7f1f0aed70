"""The coordinators: Zurau and Apache Kafka in one run. One broker; both internal topics have one partition.

The load is `zurau perf load`: raw frames over sockets, commits five at a time and transactions a step at a time on each of the
connections. CPU is user and system time of the broker's process. Apache runs in the JVM that its own scripts start, and gets a
warm-up of the same work first."""

import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from bench import SCALE, Table, cpu_seconds, load, resident_mb
from harness import admin, wire
from harness.broker import Cluster
from harness.processes import end_all
from harness.transactions import ONE_BROKER
from harness.zookeeper import Ensemble

PEERS = [peer for peer in os.environ.get("BENCH_PEERS", "zurau,apache").split(",") if peer != "floor"]
CONNECTIONS = 16
OFFSET_FETCH, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NOT_COORDINATOR = 9, 14, 15, 16
INITIAL_DELAY_MS = 500


def measured(broker, *args):
    before = cpu_seconds(broker.process)
    result = load(*args)
    return result, cpu_seconds(broker.process) - before


def commits(table, broker):
    requests = int(400_000 * SCALE)
    args = ["commits", "--bootstrap", broker.bootstrap, "--topic", "committed", "--connections", CONNECTIONS]
    args += ["--groups", CONNECTIONS, "--requests", requests]
    if broker.kind == "apache":
        load(*args)
    result, cpu = measured(broker, *args)
    table.put("commits a second", broker.kind, f"{result['done'] / result['seconds']:,.0f}")
    table.put("CPU s per million commits", broker.kind, f"{cpu / result['done'] * 1e6:.1f}")


def transactions(table, broker):
    for records in (1, 100):
        args = ["transactions", "--bootstrap", broker.bootstrap, "--topic", "committed", "--connections", CONNECTIONS]
        args += ["--records", records, "--transactions", int(20_000 * SCALE)]
        if broker.kind == "apache":
            load(*args)
        result, cpu = measured(broker, *args)
        table.put(f"transactions of {records} records a second", broker.kind, f"{result['done'] / result['seconds']:,.0f}")
        table.put(f"CPU s per 100,000 transactions of {records} records", broker.kind, f"{cpu / result['done'] * 1e5:.1f}")


def join(table, broker):
    seconds = []
    for lap in range(5):
        args = ["join", "--bootstrap", broker.bootstrap, "--group", f"crowd-{lap}", "--members", 500]
        result, cpu = measured(broker, *args)
        # The initial delay is waited for twice: somebody new came during the first.
        seconds.append(result["seconds"] - 2 * INITIAL_DELAY_MS / 1000)
    table.put("500 members join at once, ms beyond two initial delays, five times", broker.kind, ", ".join(f"{s * 1e3:.0f}" for s in seconds))
    table.put("the fifth time, CPU s", broker.kind, f"{cpu:.2f}")


def commit_groups(broker, groups, partitions):
    args = ["commits", "--bootstrap", broker.bootstrap, "--topic", "committed", "--connections", CONNECTIONS]
    load(*args, "--groups", groups, "--requests", groups, "--partitions", partitions)


def held_mb(broker):
    """What the broker holds: RSS, and of a JVM the live objects in its heap."""
    if broker.kind != "apache":
        return resident_mb(broker.process)
    histogram = subprocess.run(["jcmd", str(broker.process.pid), "GC.class_histogram"], stdout=subprocess.PIPE, check=True, text=True)
    return int(histogram.stdout.split()[-1]) / 1e6


def memory(table, broker):
    before = held_mb(broker)
    commit_groups(broker, 10_000, 1)
    table.put("10,000 groups of one offset, MB of RSS, of Apache's heap", broker.kind, f"{held_mb(broker) - before:.1f}")


def fetch_offset(port, group):
    """The error of OffsetFetch v2 for all offsets of a group, and how many offsets there are."""
    with wire.connect(port) as s:
        s.sendall(wire.request(OFFSET_FETCH, 2, 7, wire.string(group) + struct.pack(">i", -1)))
        answer = wire.read_frame(s)
    (topics,) = struct.unpack_from(">i", answer, 4)
    return struct.unpack_from(">h", answer, len(answer) - 2)[0], topics


def loading(table, broker):
    """From the first answer that is no answer yet until there is one: what the loading takes beyond the start."""
    groups = 10_000
    before = held_mb(broker)
    commit_groups(broker, groups, 100)
    table.put("10,000 groups of 100 offsets, MB of RSS, of Apache's heap", broker.kind, f"{held_mb(broker) - before:.0f}")
    seconds = []
    for _ in range(3):
        broker.stop(120)
        broker.launch()
        refused, cpu = None, 0
        while True:
            try:
                error, topics = fetch_offset(broker.port, f"load-{groups - 1}")
            except OSError:
                continue
            now = time.monotonic()
            if error == COORDINATOR_LOAD_IN_PROGRESS and refused is None:
                refused, cpu = now, cpu_seconds(broker.process)
            if error == 0:
                assert topics == 1
                seconds.append((now - (refused or now), cpu_seconds(broker.process) - cpu if refused else 0))
                break
            time.sleep(0.001)
        broker.wait_ready()
    table.put("loading 1,000,000 offsets, s, three starts", broker.kind, ", ".join(f"{s:.2f}" for s, _ in seconds))
    table.put("the same, CPU s", broker.kind, ", ".join(f"{cpu:.2f}" for _, cpu in seconds))


WORKS = {"commits": commits, "transactions": transactions, "join": join, "memory": memory, "loading": loading}


def main(chosen):
    table = Table(PEERS)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="zurau-bench-"))
    try:
        ensemble = Ensemble(directory / "zookeeper").start()
        for kind in PEERS:
            for name, work in WORKS.items():
                if chosen and name not in chosen:
                    continue
                # A broker of its own, so that the history of one work is no part of the next.
                properties = {**ONE_BROKER, "transaction_state_log_num_partitions": 1}
                properties["group_initial_rebalance_delay_ms"] = INITIAL_DELAY_MS
                broker = Cluster(directory / f"{kind}-{name}", ensemble, kind=kind).broker(1, **properties).start()
                admin.create_topic(broker, "committed", 100)
                # The internal topic is there before the clock starts.
                while fetch_offset(broker.port, "warm")[0] != 0:
                    find_coordinator(broker.port)
                    time.sleep(0.01)
                work(table, broker)
                broker.kill()
        table.print()
    finally:
        end_all()
        shutil.rmtree(directory, ignore_errors=True)


def find_coordinator(port):
    """FindCoordinator v1, of a group and of a transactional id: creates the internal topics."""
    for kind in (b"\0", b"\1"):
        with wire.connect(port) as s:
            s.sendall(wire.request(wire.FIND_COORDINATOR, 1, 7, wire.string("warm") + kind))
            wire.read_frame(s)


if __name__ == "__main__":
    main(sys.argv[1:])
