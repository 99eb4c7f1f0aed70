"""Three Apache brokers become Zurau brokers and Apache brokers again, one at a time, under load, on their own directories.

ZURAU_SWAP_ROUNDS sets how often they go there and back.
"""

import os

import pytest

from harness import admin
from harness.broker import Cluster
from harness.load import Load, check_stored, longest_gap_ms
from harness.reader import Follower, read
from harness.replicas import check_equal, elect_first_replicas, wait_in_sync

ROUNDS = int(os.environ.get("ZURAU_SWAP_ROUNDS", 1))
PARTITIONS = 6
BROKERS = 3


def cluster_of(directory, ensemble, kind):
    cluster = Cluster(directory, ensemble, kind=kind)
    for number in range(1, BROKERS + 1):
        cluster.broker(
            number,
            min_insync_replicas=2,
            default_replication_factor=3,
            replica_lag_time_max_ms=5000,
            controlled_shutdown_max_retries=3,
            controlled_shutdown_retry_backoff_ms=500,
        )
    for broker in cluster.brokers:
        broker.launch()
    for broker in cluster.brokers:
        broker.wait_ready()
    return cluster


def take_turns(cluster, kinds, how, load, follower):
    """Brings every broker, one after the other, to each of these kinds."""
    for kind in kinds:
        for broker in list(cluster.brokers):
            load.wait_acknowledged(1000)
            if how == "stop":
                assert broker.stop() in (0, 143)
            else:
                broker.kill()
                cluster.forget(broker)
            cluster.replace(broker, kind).start()
            wait_in_sync(cluster, load.topic, BROKERS)
            follower.follow()
            load.wait_acknowledged(1000)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_rolling_swap(directory, ensemble, how):
    cluster = cluster_of(directory, ensemble, "apache")
    assignment = [[1 + (p + n) % BROKERS for n in range(BROKERS)] for p in range(PARTITIONS)]
    admin.create_topic(cluster.brokers[0], "t", assignment=assignment)
    load = Load(cluster, "t", directory, PARTITIONS, per_second=1000)
    follower = Follower(cluster, "t", PARTITIONS)
    load.wait_acknowledged(1000)
    # What an all-Apache cluster does in a rolling restart, for comparison.
    take_turns(cluster, ["apache"], how, load, follower)
    before = load.acks()
    for _ in range(ROUNDS):
        take_turns(cluster, ["zurau", "apache"], how, load, follower)
    # Or the controller's balancing of leaders could come in between.
    elect_first_replicas(cluster, "t")
    acks = load.finish()
    stored = read(cluster, "t", PARTITIONS)
    follower.follow()
    follower.close()
    check_stored(acks, stored)
    follower.check_against(stored)
    wait_in_sync(cluster, "t", BROKERS)
    check_equal(cluster, "t", PARTITIONS)
    swaps = acks[len(before) :]
    print(f"longest gap without an acknowledgement, {how}: {longest_gap_ms(before)} ms in a rolling restart of Apache, "
          f"{longest_gap_ms(swaps)} ms in the swaps; {len(acks)} records")
