"""What three brokers need together: Zurau and Apache Kafka in one run. Session timeouts are taken out: what a dead broker
held in ZooKeeper is deleted, and the clock starts there."""

import os
import pathlib
import shutil
import struct
import sys
import tempfile
import time

from bench import GB, SCALE, Table, cpu_seconds, load, produce_args
from confluent_kafka.admin import AdminClient, NewTopic
from harness import admin, wire
from harness.broker import Cluster
from harness.load import Load
from harness.processes import end_all
from harness.replicas import controller_of, wait_in_sync
from harness.zookeeper import Ensemble

PEERS = [peer for peer in os.environ.get("BENCH_PEERS", "zurau,apache").split(",") if peer != "floor"]
PARTITIONS = [int(n) for n in os.environ.get("BENCH_PARTITIONS", "1000,5000").split(",")]
KILLS = int(os.environ.get("BENCH_KILLS", "5"))
BROKERS = 3


def assignment(partitions, first=0):
    return [[1 + (p + first + n) % BROKERS for n in range(BROKERS)] for p in range(partitions)]


def create(cluster, name, placed):
    client = AdminClient({"bootstrap.servers": cluster.bootstrap})
    topic = NewTopic(name, num_partitions=len(placed), replica_assignment=placed)
    client.create_topics([topic], request_timeout=300, operation_timeout=0)[name].result(300)


def seen_by(brokers, name, partitions, is_good):
    """Whether the Metadata of all these brokers shows so many partitions of a topic with leaders that are good."""

    def on(broker):
        found = wire.metadata(broker.port, [name])[2].get(name, {})
        leaders = [leader for error, leader in found.values() if error == 0]
        return len(leaders) == partitions and all(map(is_good, leaders))

    return all(map(on, brokers))


def poll(condition, what, seconds=300):
    """Seconds until it holds, without wait_until's pause between two looks."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise TimeoutError(what)
    return time.monotonic() - begin


def drop(cluster, name):
    client = AdminClient({"bootstrap.servers": cluster.bootstrap})
    client.delete_topics([name], request_timeout=300, operation_timeout=0)[name].result(300)
    with cluster.ensemble.client(cluster.chroot) as zk:
        return poll(lambda: not zk.exists(f"/brokers/topics/{name}"), f"{name} is gone")


def revive(cluster, broker, name):
    broker.start(seconds=300)
    wait_in_sync(cluster, name, BROKERS, 300)


def replicas(table, cluster):
    """One broker leads two partitions that the others follow."""
    placed = [[1, 2, 3]] * 2
    peer = cluster.brokers[0]
    work = produce_args(peer, "rf3", 62, 1024, 16_000 * SCALE, acks=-1)
    # A broker answers the requests of a connection one by one: at this pace each has ten times the time that it needs.
    pace = {"connections": 10, "rate": 1_000}
    latency = produce_args(peer, "rf3-paced", 10, 100, 10_000 * SCALE, acks=-1, **pace)
    admin.create_topic(peer, "rf3", assignment=placed)
    admin.create_topic(peer, "rf3-paced", assignment=placed * 5)
    if cluster.kind == "apache":
        load(*work)
        load(*latency)
    before = sum(cpu_seconds(b.process) for b in cluster.brokers)
    result = load(*work)
    cpu = sum(cpu_seconds(b.process) for b in cluster.brokers) - before
    gigabytes = result["bytes"] / GB
    table.put("three replicas, acks=all: CPU s/GB of the cluster", cluster.kind, f"{cpu / gigabytes:.2f}")
    table.put("three replicas, acks=all: MB/s", cluster.kind, f"{result['bytes'] / 1e6 / result['seconds']:.0f}")
    drop(cluster, "rf3")
    wait_in_sync(cluster, "rf3-paced", BROKERS)
    result = load(*latency)
    shown = f"{result['p50_ms']:.2f}, {result['p99_ms']:.2f}"
    table.put("three replicas, 1,000 requests/s of ten records, p50 and p99 ms", cluster.kind, shown)
    drop(cluster, "rf3-paced")


def topics(table, cluster):
    begin = time.monotonic()
    create(cluster, "many", assignment(1_000))
    poll(lambda: seen_by(cluster.brokers, "many", 1_000, lambda leader: leader >= 0), "1,000 partitions are led")
    table.put("creating a topic of 1,000 partitions, s", cluster.kind, f"{time.monotonic() - begin:.2f}")
    table.put("deleting it, s", cluster.kind, f"{drop(cluster, 'many'):.2f}")


def shutdown(table, cluster):
    """A broker that leads 2,000 partitions."""
    create(cluster, "led", [[1, 2, 3]] * 2_000)
    poll(lambda: seen_by(cluster.brokers, "led", 2_000, lambda leader: leader == 1), "2,000 partitions are led")
    wait_in_sync(cluster, "led", BROKERS, 300)
    begin = time.monotonic()
    cluster.brokers[0].stop(300)
    table.put("controlled shutdown of the leader of 2,000 partitions, s", cluster.kind, f"{time.monotonic() - begin:.2f}")
    revive(cluster, cluster.brokers[0], "led")
    drop(cluster, "led")


def leader(table, cluster):
    """From the end of the leader's znodes to the first acknowledgement. The controller is another broker."""
    gaps = []
    for n in range(KILLS):
        dead = next(b for b in cluster.brokers if b is not controller_of(cluster))
        others = [b.number for b in cluster.brokers if b is not dead]
        name = f"kill-{n}"
        admin.create_topic(cluster.brokers[0], name, assignment=[[dead.number, *others]])
        flow = Load(cluster, name, cluster.directory, 1, per_second=2_000)
        flow.wait_acknowledged(2_000)
        dead.kill()
        cluster.forget(dead)
        gone = time.time() * 1000
        flow.wait_acknowledged(2_000)
        gaps.append(min(ack.at for ack in flow.finish() if ack.at >= gone) - gone)
        revive(cluster, dead, name)
        drop(cluster, name)
    shown = ", ".join(f"{gap:.0f}" for gap in sorted(gaps))
    table.put("kill -9 of a leader, its znode gone, to the first acknowledgement, ms", cluster.kind, shown)


def is_led(connection, topic, partitions, is_good):
    """Whether a broker's Metadata shows this many partitions of a topic, in one picture, with leaders that are good.
    Quick, so that the time of looking is not measured: it takes partitions with as many in-sync replicas each, and
    counts a topic between two states as not led yet."""
    connection.sendall(wire.request(wire.METADATA, 1, 7, struct.pack(">i", 1) + wire.string(topic)))
    count, states = wire.partition_states(wire.read_frame(connection))
    if count != partitions:
        return False
    form = struct.Struct(f">h{len(states) // count // 4}i")
    if form.size * count != len(states):
        return False
    # Error code, partition, leader, replicas, in-sync replicas.
    return all(state[0] == 0 and is_good(state[2]) for state in form.iter_unpack(states))


def wait_led(brokers, topics, is_good, what):
    """Seconds until the Metadata of all these brokers has shown every topic, led well, each at least once."""
    left = [(wire.connect(broker.port, 60), name, count) for broker in brokers for name, count in topics.items()]

    def looked():
        while left and is_led(*left[-1], is_good):
            left.pop()[0].close()
        return not left

    return poll(looked, what)


def controller(table, cluster):
    """From the end of the dead controller's znodes until every live broker's Metadata shows no partition of its."""
    for partitions in PARTITIONS:
        # The assignment of a topic has to fit a znode.
        counts = [min(1_000, partitions - begun) for begun in range(0, partitions, 1_000)]
        topics = {f"failover-{partitions}-{n}": count for n, count in enumerate(counts)}
        for name, count in topics.items():
            create(cluster, name, assignment(count))
        wait_led(cluster.brokers, topics, lambda leader: leader >= 0, "all partitions are led")
        dead = controller_of(cluster)
        live = [b for b in cluster.brokers if b is not dead]
        dead.kill()
        cluster.forget(dead)
        seconds = wait_led(live, topics, lambda leader: leader >= 0 and leader != dead.number, "new leaders")
        table.put(f"controller kill -9, its znode gone, to new leaders of {partitions} partitions everywhere, s",
                  cluster.kind, f"{seconds:.2f}")
        dead.start(seconds=300)
        for name in topics:
            drop(cluster, name)


WORKS = {"replicas": replicas, "topics": topics, "shutdown": shutdown, "leader": leader, "controller": controller}


def main(chosen):
    table = Table(PEERS)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="zurau-bench-"))
    try:
        ensemble = Ensemble(directory / "zookeeper").start()
        for kind in PEERS:
            cluster = Cluster(directory / kind, ensemble, kind=kind)
            for number in range(1, BROKERS + 1):
                cluster.broker(number, zookeeper_session_timeout_ms=30_000, controlled_shutdown_max_retries=3,
                               auto_leader_rebalance_enable="false")
            for broker in cluster.brokers:
                broker.launch()
            for broker in cluster.brokers:
                broker.wait_ready()
            for name, work in WORKS.items():
                if not chosen or name in chosen:
                    work(table, cluster)
            for broker in cluster.brokers:
                broker.kill()
        table.print()
    finally:
        end_all()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1:])
