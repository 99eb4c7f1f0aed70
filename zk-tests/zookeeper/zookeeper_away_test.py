"""ZooKeeper goes away for longer than the session lasts: records flow on, and when it is back so is the broker.

ZURAU_AWAY_SECONDS sets for how long.
"""

import os
import time

from confluent_kafka import KafkaError, KafkaException
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


def test_a_broker_that_stood_still_while_zookeeper_was_away_keeps_its_session(directory):
    """A virtual machine that is moved while ZooKeeper is down. Servers that come back give every session its whole time again,
    so only they know whether one has ended."""
    ensemble = Ensemble(directory / "zookeeper").start()
    cluster = Cluster(directory, ensemble)
    seconds = 10
    broker = cluster.broker(1, zookeeper_session_timeout_ms=seconds * 1000).start()

    def sessions():
        with ensemble.client(cluster.chroot) as zk:
            return [stat and stat.ephemeralOwner for stat in map(zk.exists, ("/brokers/ids/1", "/controller"))]

    before = sessions()
    broker.pause()
    ensemble.servers[0].kill()
    # No condition to wait for: the clock of the broker's own process runs out, at 7/5 of the session.
    time.sleep(1.5 * seconds)
    ensemble.servers[0].start()
    broker.resume()
    wait_until(lambda: _creates(broker), "the broker is back")
    assert sessions() == before


def _creates(broker):
    try:
        admin.create_topic(broker, "t")
    except KafkaException as error:
        return error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
    return True
