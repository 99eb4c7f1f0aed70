"""Exactly once over three brokers: members of a group read, write what they read and commit both in one transaction, in
Java, librdkafka and franz-go, while brokers and members are killed and coordinators move. Whoever reads what is committed
finds the input, each record once and in its order.

How long the storm lasts and what it draws is said in harness/faults.py. ZURAU_EXACTLY_ONCE_CLIENTS="librdkafka,java" leaves
clients out, ZURAU_EXACTLY_ONCE_KINDS="apache,zurau,zurau" mixes the cluster.
"""

import os
import random
import time

import pytest

from harness import PEER
from harness.copies import COPIES
from harness.faults import PROPERTIES, SECONDS, SEED, Clocks, Faults, Mix
from harness.storm import Storm
from harness.transactions import group_coordinator, transaction_coordinator

CLIENTS = os.environ.get("ZURAU_EXACTLY_ONCE_CLIENTS", ",".join(COPIES)).split(",")
KINDS = os.environ.get("ZURAU_EXACTLY_ONCE_KINDS", ",".join([PEER] * 3)).split(",")

pytestmark = pytest.mark.timeout(SECONDS + 900)


class Deaths:
    def __init__(self, storm, chance):
        self.storm = storm
        self.chance = chance

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


def test_copies_are_exactly_once_in_a_mixed_storm(directory, ensemble):
    clocks = Clocks(directory)
    storm = Storm(directory, ensemble, KINDS, CLIENTS, prepare=clocks.give, **PROPERTIES)
    chance = random.Random(SEED)
    deaths = Deaths(storm, chance)
    faults = Faults(storm.cluster, clocks, "input", chance, storm.all_go_on, storm.settle)
    # Every broker leads partitions and is a coordinator of either kind.
    first = [deaths.group_coordinator_dies, deaths.members_die, faults.a_clock_jumps]
    old = [deaths.transaction_coordinator_dies, deaths.a_broker_freezes, deaths.a_broker_stops]
    mix = Mix(chance, first, [*(act for act in faults.all() if act not in first), *old])
    while mix.goes_on():
        mix.act()
    storm.check()
    faults.check()
