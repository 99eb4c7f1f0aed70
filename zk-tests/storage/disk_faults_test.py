"""Real file systems that become full, and real devices that fail, under load.

ZURAU_FULL_DISKS=1 also fills the disks of three brokers. How long the mixed storm lasts and what it draws is said in
harness/faults.py.
"""

import os
import random

import pytest

from harness import PEER, admin, history, mounts, processes, wire
from harness.faults import PROPERTIES, SECONDS, SEED, Clocks, Faults, Mix
from harness.load import Load, check_stored
from harness.processes import wait_until
from harness.reader import read
from harness.replicas import check_equal, elect_first_replicas, states, wait_in_sync
from harness.transactions import THREE_BROKERS

KIB = 1 << 10
MIB = 1 << 20
_IS_FULL = "log directory is full"
_IS_RESERVED = "has no room beyond its reserve"

pytestmark = pytest.mark.timeout(SECONDS + 900)


@pytest.fixture
def mounted(directory):
    """What this test mounts. Unmounted once its processes have ended."""
    ours = mounts.Mounts()
    yield ours
    processes.end_under(directory)
    ours.close()


def on_tmpfs(cluster, mounted, size, **properties):
    broker = cluster.broker(1, log_segment_bytes=256 * KIB, log_index_interval_bytes=512, **properties)
    disk = mounted.tmpfs(broker.log_dirs[0].parent / "disk", size)
    broker.properties["log.dirs"] = str(disk / "data")
    return broker.start(), mounts.Ballast(disk)


def times_told(broker, text):
    return broker.process.output().count(text)


@pytest.mark.skipif(PEER == "apache", reason="Apache 3.9.1 halts when its only directory is full")
def test_a_full_disk_is_a_state_that_passes(cluster, mounted, directory):
    """No room in appends, rolls, indexes and checkpoints: the producer waits, reads and deletions go on, and nothing that
    was acknowledged is lost."""
    broker, ballast = on_tmpfs(
        cluster,
        mounted,
        "48m",
        log_segment_delete_delay_ms=1,
        log_flush_offset_checkpoint_interval_ms=50,
        replica_high_watermark_checkpoint_interval_ms=50,
    )
    admin.create_topic(broker, "other", partitions=2)
    admin.create_topic(broker, "t", flush_messages=100)
    load = Load(broker, "t", directory, per_second=6000)
    load.wait_acknowledged(2000)
    for room in (0, 4 * KIB, 40 * KIB, 300 * KIB, 700 * KIB):
        told = times_told(broker, _IS_FULL)
        ballast.leave(room)
        # Lines about it are ten seconds apart, so only the first is waited for.
        if told == 0:
            wait_until(lambda: times_told(broker, _IS_FULL) > 0, "the directory is full")
        wait_until(lambda: mounts.free(broker.log_dirs[0]) < 4 * KIB, "nothing is left")
        before = load.acks()
        assert read(broker, "t")[0], "reads go on"
        if room == 40 * KIB:
            admin.delete_topic(broker, "other")
            wait_until(lambda: not list(broker.log_dirs[0].glob("other-*")), "the deleted topic's files are gone")
        ballast.drop()
        load.wait_acknowledged(1000)
        assert len(load.acks()) > len(before)
    # Full when it stops, full when it is killed: what was acknowledged is there.
    for end in (broker.stop, broker.kill):
        ballast.leave(0)
        assert end() in (143, -9)
        cluster.forget(broker)
        ballast.drop()
        broker.start()
        load.wait_acknowledged(1000)
    check_stored(load.finish(), read(broker, "t"))
    assert broker.stop() == 143


@pytest.mark.skipif(PEER == "apache", reason="the reserve is ours")
def test_a_reserve_is_kept_from_producers(cluster, mounted, directory):
    reserve = 8 * MIB
    broker, ballast = on_tmpfs(cluster, mounted, "40m", zurau_disk_reserve_bytes=reserve)
    admin.create_topic(broker, "t")
    load = Load(broker, "t", directory, per_second=6000)
    load.wait_acknowledged(2000)
    ballast.leave(reserve + 2 * MIB)
    wait_until(lambda: times_told(broker, _IS_RESERVED) > 0, "producers are refused")
    # Some batches may be on their way; indexes and checkpoints are small.
    assert mounts.free(broker.log_dirs[0]) > reserve - MIB
    admin.create_topic(broker, "made-from-the-reserve", partitions=1)
    ballast.drop()
    load.wait_acknowledged(2000)
    check_stored(load.finish(), read(broker, "t"))
    assert _IS_FULL not in broker.process.output()
    assert broker.stop() == 143


def test_failing_devices_take_their_partitions_along_and_the_last_one_the_broker(cluster, mounted, directory, apache_tools):
    """EIO from the kernel, one directory of three after another."""
    broker, other = (cluster.broker(n, log_dirs=dirs, log_segment_bytes=MIB) for n, dirs in ((1, 3), (2, 1)))
    for log_dir in broker.log_dirs:
        mounted.ext4(log_dir)
        # Kafka wants nothing but partitions in there.
        (log_dir / "lost+found").rmdir()
    broker.start()
    other.start()
    admin.create_topic(broker, "t", assignment=[[1, 2]] * 3)
    load = Load(broker, "t", directory, bootstrap_servers=cluster.bootstrap)
    load.wait_acknowledged(2000)
    wait_in_sync(cluster, "t", 2)
    place = {n: next(d for d in broker.log_dirs if (d / f"t-{n}").exists()) for n in range(3)}
    assert len(set(place.values())) == 3, "one in each"
    with cluster.ensemble.client(cluster.chroot) as zk:
        state = states(zk, "t")
        led = [p for p in range(3) if state[p]["leader"] == 1]
        assert led == [0, 1, 2]
        mounted.fail(place[1])

        def moved(partitions):
            now = states(zk, "t")
            return all(now[p]["leader"] == 2 and now[p]["isr"] == [2] for p in partitions)

        wait_until(lambda: moved([1]), "the partition in the failed directory is led elsewhere")
        # The controller removes it when it has read it.
        told = history.writes(cluster.ensemble.servers[0], cluster.chroot)
        assert any(what == "create" and path.startswith("/log_dir_event_notification/log_dir_event_") for what, path, _ in told)
        assert [states(zk, "t")[p]["leader"] for p in (0, 2)] == [1, 1] and broker.alive()
        load.wait_acknowledged(1000)
        shown = apache_tools.run("log-dirs", "--bootstrap-server", broker.bootstrap, "--describe", "--broker-list", "1")
        assert shown.stdout.count("KafkaStorageException") == 1

        # Offline from the start.
        assert broker.stop() == 143
        broker.start()
        wait_until(lambda: all(states(zk, "t")[p]["isr"] == [2, 1] for p in (0, 2)), "the others are in sync again")
        assert states(zk, "t")[1]["isr"] == [2]
        load.wait_acknowledged(1000)

        mounted.fail(place[0])
        mounted.fail(place[2])
        assert broker.process.wait(30) == 1, "without a directory there is no broker"
        cluster.forget(broker)
        wait_until(lambda: moved([0, 1, 2]), "all are led elsewhere")
    load.wait_acknowledged(1000)
    # Repaired: what they had is taken up again.
    for log_dir in broker.log_dirs:
        mounted.unmount(log_dir)
        mounted.ext4(log_dir)
    broker.start()
    wait_in_sync(cluster, "t", 2)
    acks = load.finish()
    check_stored(acks, read(other, "t"))
    assert other.stop() == 143
    wait_until(lambda: {leader for _, leader in wire.metadata(broker.port, ["t"])[2]["t"].values()} == {1}, "it leads alone")
    check_stored(acks, read(broker, "t"))
    assert broker.stop() == 143


@pytest.mark.skipif(PEER == "apache", reason="Apache 3.9.1 halts when its only directory is full")
@pytest.mark.skipif("ZURAU_FULL_DISKS" not in os.environ, reason="half a minute: with ZURAU_FULL_DISKS=1")
def test_full_disks_of_three_brokers_pass_and_nothing_is_lost(cluster, mounted, directory):
    """A follower's disk, then two, then all three, under acks=all load that needs two replicas."""
    brokers, ballasts = [], []
    for number in (1, 2, 3):
        broker = cluster.broker(number, log_segment_bytes=256 * KIB, replica_lag_time_max_ms=2000)
        disk = mounted.tmpfs(broker.log_dirs[0].parent / "disk", "64m")
        broker.properties["log.dirs"] = str(disk / "data")
        brokers.append(broker.start())
        ballasts.append(mounts.Ballast(disk))
    admin.create_topic(brokers[0], "t", assignment=[[1, 2, 3], [2, 3, 1], [3, 1, 2]], min_insync_replicas=2)
    wait_in_sync(cluster, "t", 3)
    load = Load(brokers[0], "t", directory, per_second=1500, bootstrap_servers=cluster.bootstrap)
    load.wait_acknowledged(1000)
    for full in ([2], [1, 2], [0, 1, 2]):
        told = {n: times_told(brokers[n], _IS_FULL) for n in full}
        for n in full:
            ballasts[n].leave(0)
        # Lines about it are ten seconds apart.
        first = [n for n in full if told[n] == 0]
        wait_until(lambda: all(times_told(brokers[n], _IS_FULL) > 0 for n in first), "they are full")
        for n in full:
            ballasts[n].drop()
        load.wait_acknowledged(1000)
        wait_in_sync(cluster, "t", 3)
    # Killed while all are full.
    for n in range(3):
        ballasts[n].leave(0)
    brokers[0].kill()
    cluster.forget(brokers[0])
    for n in range(3):
        ballasts[n].drop()
    brokers[0].start()
    load.wait_acknowledged(1000)
    wait_in_sync(cluster, "t", 3)
    check_stored(load.finish(), read(brokers[1], "t"))
    check_equal(cluster, "t", 3)
    assert all(broker.alive() for broker in brokers)


def test_disks_fail_and_fill_in_a_mixed_storm(cluster, mounted, directory):
    """Two disks of each of three brokers: one fails and is repaired, or becomes full, and faults come that have nothing to do
    with disks."""
    clocks, chance = Clocks(directory), random.Random(SEED)
    for number in (1, 2, 3):
        broker = cluster.broker(number, **{**THREE_BROKERS, **PROPERTIES})
        for log_dir in broker.log_dirs:
            mounted.ext4(log_dir, "96M")
            (log_dir / "lost+found").rmdir()
        clocks.give(broker)
    # Or the device may fail before its journal knows that.
    os.sync()
    for broker in cluster.brokers:
        broker.launch()
    for broker in cluster.brokers:
        broker.wait_ready()
    admin.create_topic(cluster.brokers[0], "t", assignment=[[1, 2, 3], [2, 3, 1], [3, 1, 2]])
    load = Load(cluster, "t", directory, per_second=200)
    go_on = lambda: load.wait_acknowledged(300)
    settle = lambda: wait_in_sync(cluster, "t", 3, 120)
    faults = Faults(cluster, clocks, "t", chance, go_on, settle)

    def a_device_fails():
        broker = chance.choice(cluster.brokers)
        log_dir = chance.choice(broker.log_dirs)
        lost = [p for p in range(3) if (log_dir / f"t-{p}").exists()]
        mounted.fail(log_dir)
        with cluster.ensemble.client(cluster.chroot) as zk:
            out = lambda: not any(broker.number in states(zk, "t")[p]["isr"] for p in lost)
            wait_until(out, f"{lost} of broker {broker.number} are out of sync", 60)
        go_on()
        assert broker.stop() == 143
        # Repaired, with what it had.
        mounted.unmount(log_dir)
        mounted.ext4(log_dir)
        faults.counts["devices failed"] += 1
        broker.start()
        go_on()
        settle()

    def a_disk_fills():
        broker = chance.choice(cluster.brokers)
        log_dir = chance.choice(broker.log_dirs)
        ballast = mounts.Ballast(log_dir)
        ballast.leave(0)
        wait_until(lambda: mounts.free(log_dir) < 4 * KIB, "nothing is left")
        faults.counts["disks filled"] += 1
        # Those that it leads may have to wait until there is room.
        ballast.drop()
        go_on()
        settle()

    # A leader that knows nothing of a producer takes any first sequence, as Kafka's: each partition has records before the
    # first leader fails, or a later batch would overtake the first for good.
    go_on()
    # Apache gives a full directory up.
    disks = [a_device_fails] if PEER == "apache" else [a_device_fails, a_disk_fills]
    first = [a_device_fails, faults.a_bit_flips]
    mix = Mix(chance, first, [act for act in [*disks, *faults.all()] if act not in first])
    while mix.goes_on():
        mix.act()
    elect_first_replicas(cluster, "t")
    acks = load.finish()
    check_stored(acks, read(cluster, "t"))
    faults.check()
    check_equal(cluster, "t", 3)
