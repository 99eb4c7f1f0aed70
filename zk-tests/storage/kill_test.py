"""kill -9 under load, again and again: what was acknowledged stays, once, at its offset.

ZURAU_KILL_ROUNDS sets the number of rounds.
"""

import os
import random

import pytest

from harness import PEER, admin
from harness.load import Load, check_stored
from harness.reader import Follower, read

# An Apache broker needs seconds for each start.
ROUNDS = int(os.environ.get("ZURAU_KILL_ROUNDS", 200 if PEER == "zurau" else 5))


@pytest.mark.timeout(1800)
def test_kill_rounds(cluster, directory):
    broker = cluster.broker(1, log_segment_bytes=1 << 20, log_flush_offset_checkpoint_interval_ms=500).start()
    admin.create_topic(broker, "load")
    load = Load(broker, "load", directory, per_second=4000)
    load.wait_acknowledged(1000)
    follower = Follower(broker, "load")
    chance = random.Random(1)
    for _ in range(ROUNDS):
        load.wait_acknowledged(chance.randrange(1, 1500))
        broker.kill()
        cluster.forget(broker)
        broker.start()
        follower.follow()
    acks = load.finish()
    stored = read(broker, "load")
    follower.follow()
    follower.close()

    check_stored(acks, stored)
    follower.check_against(stored)
    assert follower.seen, "the consumer that stayed has seen nothing"
