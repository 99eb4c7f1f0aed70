"""ZooKeeper goes away for longer than the session lasts: records flow on, and when it is back so is the broker.

ZURAU_AWAY_SECONDS sets for how long.
"""

import os
import time

from harness import admin
from harness.broker import Cluster
from harness.load import Load, check_stored
from harness.processes import wait_until
from harness.reader import Follower, read
from harness.zookeeper import Ensemble

SESSION_SECONDS = 4
AWAY_SECONDS = int(os.environ.get("ZURAU_AWAY_SECONDS", 8))


def test_zookeeper_away(directory):
    ensemble = Ensemble(directory / "zookeeper").start()
    cluster = Cluster(directory, ensemble)
    broker = cluster.broker(1, zookeeper_session_timeout_ms=SESSION_SECONDS * 1000).start()
    admin.create_topic(broker, "t")
    load = Load(broker, "t", directory)
    follower = Follower(broker, "t")
    load.wait_acknowledged(1000)

    ensemble.servers[0].kill()
    back_at = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < back_at:
        load.wait_acknowledged(1000)
        wait_until(follower.follow, "the consumer reads on")
    ensemble.servers[0].start()

    def joined():
        with ensemble.client(cluster.chroot) as zk:
            return zk.exists("/brokers/ids/1") and zk.exists("/controller")

    # A node of the lost session could still be there: it has to be there once that has surely run out.
    outlasted = time.monotonic() + 2 * SESSION_SECONDS
    wait_until(lambda: time.monotonic() > outlasted and joined(), "the broker is registered")
    admin.create_topic(broker, "after")
    load.wait_acknowledged(1000)
    acks = load.finish()
    stored = read(broker, "t")
    check_stored(acks, stored)
    follower.check_against(stored)
    follower.close()
