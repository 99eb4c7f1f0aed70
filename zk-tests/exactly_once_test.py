"""Exactly once over three brokers: members of a group read, write what they read and commit both in one transaction, in
Java, librdkafka and franz-go, while brokers and members are killed and coordinators move. Whoever reads what is committed
finds the input, each record once and in its order.

ZURAU_EXACTLY_ONCE_SECONDS makes the storm longer than the short form of CI, ZURAU_EXACTLY_ONCE_SEED another one,
ZURAU_EXACTLY_ONCE_CLIENTS="librdkafka,java" leaves clients out, ZURAU_EXACTLY_ONCE_KINDS="apache,zurau,zurau" mixes the
cluster.
"""

import itertools
import os
import random
import time

import pytest

from harness import PEER
from harness.copies import COPIES
from harness.storm import Storm
from harness.transactions import group_coordinator, transaction_coordinator

SECONDS = int(os.environ.get("ZURAU_EXACTLY_ONCE_SECONDS", 0))
SEED = int(os.environ.get("ZURAU_EXACTLY_ONCE_SEED", 3))
CLIENTS = os.environ.get("ZURAU_EXACTLY_ONCE_CLIENTS", ",".join(COPIES)).split(",")
KINDS = os.environ.get("ZURAU_EXACTLY_ONCE_KINDS", ",".join([PEER] * 3)).split(",")

pytestmark = pytest.mark.timeout(SECONDS + 900)


class Faults:
    def __init__(self, storm):
        self.storm = storm
        self.chance = random.Random(SEED)

    def members_die(self):
        self.storm.members_die(self.chance)

    def group_coordinator_dies(self):
        self.storm.broker_dies(group_coordinator(self.storm.cluster, self.chance.choice(CLIENTS)))

    def transaction_coordinator_dies(self):
        self.storm.broker_dies(transaction_coordinator(self.storm.cluster, self.chance.choice(CLIENTS) + "-1"))

    def a_broker_stops(self):
        self.storm.broker_stops(self.chance.choice(self.storm.cluster.brokers))

    def a_broker_freezes(self):
        """For less than its session, or for more: then others lead meanwhile."""
        broker = self.chance.choice(self.storm.cluster.brokers)
        broker.pause()
        time.sleep(self.chance.choice([1, 4, 9]))
        broker.resume()
        self.storm.all_go_on()
        self.storm.settle()


def test_copies_are_exactly_once_in_a_storm(directory, ensemble):
    storm = Storm(directory, ensemble, KINDS, CLIENTS)
    faults = Faults(storm)
    # Every broker leads partitions and is a coordinator of either kind.
    first = [faults.group_coordinator_dies, faults.members_die]
    more = [*first, faults.transaction_coordinator_dies, faults.a_broker_freezes, faults.a_broker_stops]
    end = time.monotonic() + SECONDS
    for n, fault in enumerate(itertools.chain(first, iter(lambda: faults.chance.choice(more), None))):
        if n >= len(first) and time.monotonic() > end:
            break
        started = time.monotonic()
        fault()
        print(f"{n}: {fault.__name__}, {time.monotonic() - started:.1f} s", flush=True)
    storm.check()
