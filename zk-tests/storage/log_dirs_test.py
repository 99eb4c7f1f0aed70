"""Several log directories on one broker: replicas move between them under load, and over a restart."""

import contextlib
import subprocess

import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from harness import admin, wire
from harness.load import Load, check_stored
from harness.processes import wait_until
from harness.reader import read
from harness.replicas import moved_to, place_of


def move(broker, topic, to):
    """{partition: number of the directory}"""
    wire.alter_replica_log_dirs(broker.port, topic, {p: broker.log_dirs[n] for p, n in to.items()})


def test_replicas_move_between_directories_under_load(cluster, directory):
    broker = cluster.broker(1, log_dirs=3, log_segment_bytes=1 << 18).start()
    admin.create_topic(broker, "moving", partitions=3)
    load = Load(broker, "moving", directory)
    load.wait_acknowledged(2000)
    start = {p: next(n for n, names in place_of(broker, "moving", p).items() if names) for p in range(3)}
    assert sorted(start.values()) == [0, 1, 2], "one in each"
    to = {p: (n + 1) % 3 for p, n in start.items()}
    move(broker, "moving", to)
    for p, n in to.items():
        wait_until(moved_to(broker, "moving", p, n), f"moving-{p} is in directory {n}")
    load.wait_acknowledged(1000)

    # A move that a restart interrupts goes on by itself, as Apache's does. Apache may store records twice at this stop: it
    # loses answers that it has given (`stops_test` has the figures).
    assert broker.stop() == 143
    broker.start()
    load.wait_acknowledged(500)
    move(broker, "moving", start)
    broker.kill()
    cluster.forget(broker)
    broker.start()
    for p, n in start.items():
        wait_until(moved_to(broker, "moving", p, n), f"moving-{p} is back in directory {n}")
    load.wait_acknowledged(500)
    check_stored(load.finish(), read(broker, "moving"))
    assert broker.stop() == 143

    # What was moved opens on the other side.
    apache = broker.as_kind("apache").start()
    admin.wait_led(apache, "moving", 3)
    assert sum(len(records) for records in read(apache, "moving").values()) > 4000
    assert apache.stop() == 143


@pytest.fixture
def small_disk(tmp_path):
    """A file system of few files, which its user can fill."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=100", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("file systems can't be mounted here")
    yield tmp_path
    # Whoever still runs has files there: it goes when they do.
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)


def test_a_topic_that_found_a_full_disk_comes_alive_when_there_is_room(cluster, directory, small_disk):
    """Apache takes the directory offline, and needs a restart."""
    if cluster.kind == "apache":
        pytest.skip("Apache stops at its last full directory")
    broker = cluster.broker(1)
    broker.properties["log.dirs"] = str(small_disk / "data")
    broker.start()
    ballast = []
    with contextlib.suppress(OSError):
        while True:
            (small_disk / f"ballast-{len(ballast)}").touch()
            ballast.append(small_disk / f"ballast-{len(ballast)}")
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    topic = NewTopic("patient", num_partitions=3, replication_factor=1)
    client.create_topics([topic], operation_timeout=0)["patient"].result(30)
    broker.process.wait_for_line("log not available", 60)
    for file in ballast:
        file.unlink()
    admin.wait_led(broker, "patient", 3)
    load = Load(broker, "patient", directory)
    load.wait_acknowledged(100)
    check_stored(load.finish(), read(broker, "patient"))
    assert broker.stop() == 143
