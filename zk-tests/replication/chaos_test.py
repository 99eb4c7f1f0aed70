"""Three brokers, three replicas, two of them needed: brokers die, freeze and lose ZooKeeper under load, and nothing that was
acknowledged is lost, stored twice or moved. After each the replicas are equal byte for byte.

ZURAU_CHAOS_ROUNDS sets how often each fault comes, ZURAU_CHAOS_AWAY_SECONDS for how long ZooKeeper goes away.
ZURAU_CHAOS_KINDS="apache,zurau,zurau" mixes the cluster, ZURAU_CHAOS_SEED chooses other victims. How long the mixed storm
lasts and what it draws is said in harness/faults.py.
"""

import copy
import itertools
import json
import os
import random
import time

import pytest
from confluent_kafka.admin import AdminClient

from harness import PEER, admin, wire
from harness.broker import Cluster
from harness.faults import PROPERTIES, SECONDS, SEED as STORM_SEED, Clocks, Faults, Mix
from harness.load import Load, check_stored
from harness.processes import free_port, wait_until
from harness.proxy import Proxy
from harness.reader import Follower, read
from harness.replicas import check_equal, controller_of, elect_first_replicas, leader_of, states, wait_in_sync
from harness.transactions import THREE_BROKERS
from harness.zookeeper import Ensemble

ROUNDS = int(os.environ.get("ZURAU_CHAOS_ROUNDS", 1))
AWAY_SECONDS = int(os.environ.get("ZURAU_CHAOS_AWAY_SECONDS", 10))
KINDS = os.environ.get("ZURAU_CHAOS_KINDS", ",".join([PEER] * 3)).split(",")
SEED = int(os.environ.get("ZURAU_CHAOS_SEED", 7))
PARTITIONS = 6
BROKERS = 3
SESSION_SECONDS = 6

pytestmark = pytest.mark.timeout(SECONDS + 1800)


class Storm:
    """A cluster under load. `with` ends it by holding everything against what the clients were told."""

    def __init__(self, directory, ensemble, kinds=KINDS, seed=SEED, **properties):
        self.directory = directory
        self.chance = random.Random(seed)
        self.cluster = Cluster(directory, ensemble)
        same = {
            "min_insync_replicas": 2,
            "default_replication_factor": 3,
            "unclean_leader_election_enable": "false",
            "zookeeper_session_timeout_ms": SESSION_SECONDS * 1000,
            "log_segment_bytes": 1 << 20,
            "replica_lag_time_max_ms": 3000,
            **properties,
        }
        for number, kind in enumerate(kinds, 1):
            self.cluster.broker(number, kind, **same)

    def __enter__(self):
        for broker in self.cluster.brokers:
            broker.launch()
        for broker in self.cluster.brokers:
            broker.wait_ready()
        assignment = [[1 + (p + n) % BROKERS for n in range(BROKERS)] for p in range(PARTITIONS)]
        admin.create_topic(self.cluster.brokers[0], "t", assignment=assignment)
        self.load = Load(self.cluster, "t", self.directory, PARTITIONS, per_second=1000)
        self.follower = Follower(self.cluster, "t", PARTITIONS)
        self.load.wait_acknowledged(1000)
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            return
        self.settle()
        # Or the controller's balancing of leaders could come in between.
        elect_first_replicas(self.cluster, "t")
        acks = self.load.finish()
        stored = read(self.cluster, "t", PARTITIONS)
        self.follower.follow()
        self.follower.close()
        check_stored(acks, stored)
        self.follower.check_against(stored)
        wait_in_sync(self.cluster, "t", BROKERS)
        check_equal(self.cluster, "t", PARTITIONS, self.holders())

    def holders(self):
        """The brokers that `t` is on."""
        with self.cluster.ensemble.client(self.cluster.chroot) as zk:
            numbers = json.loads(zk.get("/brokers/topics/t")[0])["partitions"]["0"]
        return [broker for broker in self.cluster.brokers if broker.number in numbers]

    def settle(self):
        """Waits until all replicas are in sync again and records flow."""
        wait_in_sync(self.cluster, "t", BROKERS)
        self.follower.follow()
        self.load.wait_acknowledged(1000)

    def leader(self):
        return leader_of(self.cluster, "t", self.chance.randrange(PARTITIONS))

    def bring_back(self, broker):
        broker.start()
        self.settle()

    def leader_dies(self):
        dead = self.leader()
        dead.kill()
        self.cluster.forget(dead)
        self.load.wait_acknowledged(1000)
        self.bring_back(dead)

    def controller_and_another_die(self, apart=0.0):
        """In the middle of the elections that the other's death begins."""
        controller = controller_of(self.cluster)
        other = next(b for b in self.cluster.brokers if b is not controller)
        other.kill()
        self.cluster.forget(other)
        # Two of three are gone soon after: nothing is acknowledged until one is back.
        time.sleep(apart)
        controller.kill()
        self.cluster.forget(controller)
        controller.launch()
        other.launch()
        controller.wait_ready()
        other.wait_ready()
        self.settle()

    def freezes(self, frozen):
        """For longer than its session, then on."""
        frozen.pause()
        self.cluster.wait_gone(frozen)
        self.load.wait_acknowledged(1000)
        frozen.resume()
        self.settle()

    def is_cut_off(self, leader, way):
        """From ZooKeeper, by the proxy that is its way there."""
        way.cut()
        self.cluster.wait_gone(leader)
        self.load.wait_acknowledged(1000)
        way.heal()
        self.settle()


@pytest.fixture
def storm(directory, ensemble):
    return Storm(directory, ensemble)


def test_leaders_are_killed(storm):
    with storm:
        for _ in range(ROUNDS):
            storm.leader_dies()


def test_controllers_are_killed(storm):
    """In the middle of elections that they run: another broker dies just before."""
    with storm:
        for n in range(ROUNDS):
            storm.controller_and_another_die(0.05 * n)


def test_a_controller_is_killed_between_its_writes_and_its_orders(storm):
    """The state nodes name new leaders, and no broker was told: the next controller has to."""
    orders = {}
    for broker in storm.cluster.brokers:
        inner = free_port()
        orders[broker] = Proxy(inner)
        broker.properties |= {
            "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},CONTROL://127.0.0.1:{inner}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port},CONTROL://127.0.0.1:{orders[broker].port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROL:PLAINTEXT",
            "control.plane.listener.name": "CONTROL",
        }
    with storm:
        for _ in range(ROUNDS):
            controller = controller_of(storm.cluster)
            dead = storm.chance.choice([b for b in storm.cluster.brokers if b is not controller])
            with storm.cluster.ensemble.client(storm.cluster.chroot) as zk:
                led = lambda: [p for p, s in states(zk, "t").items() if s["leader"] == dead.number]
                # After the round before one broker may lead all.
                elect_first_replicas(storm.cluster, "t")
                assert led()
                for proxy in orders.values():
                    proxy.hold()
                dead.kill()
                storm.cluster.forget(dead)
                wait_until(lambda: not led(), "others lead in ZooKeeper")
            controller.kill()
            for proxy in orders.values():
                proxy.cut()
                proxy.heal()
            storm.cluster.forget(controller)
            controller.launch()
            dead.launch()
            controller.wait_ready()
            dead.wait_ready()
            storm.settle()


@pytest.mark.parametrize("victim", ["leader", "controller"])
def test_a_frozen_broker_is_fenced(storm, victim):
    """Frozen for longer than its session, then on: it must not acknowledge what the others do not have."""
    with storm:
        for _ in range(ROUNDS):
            storm.freezes(storm.leader() if victim == "leader" else controller_of(storm.cluster))


@pytest.mark.parametrize("how", ["frozen", "cut_off"])
def test_all_sessions_expire_at_once(storm, how):
    """Brokers that are cut off go on as they were: what they acknowledge meanwhile is there after."""
    cuttable = Cuttable(storm) if how == "cut_off" else None
    with storm:
        for _ in range(ROUNDS):
            for broker in storm.cluster.brokers:
                cuttable.zookeeper[broker].cut() if cuttable else broker.pause()
            for broker in storm.cluster.brokers:
                storm.cluster.wait_gone(broker)
            if cuttable:
                storm.load.wait_acknowledged(500)
            for broker in storm.cluster.brokers:
                cuttable.zookeeper[broker].heal() if cuttable else broker.resume()
            storm.settle()


def test_zookeeper_goes_away(directory):
    ensemble = Ensemble(directory / "zookeeper").start()
    with Storm(directory, ensemble) as storm:
        ensemble.servers[0].kill()
        back_at = time.monotonic() + AWAY_SECONDS
        while time.monotonic() < back_at:
            storm.load.wait_acknowledged(500)
            storm.follower.follow()
        ensemble.servers[0].start()
        storm.settle()
        # A change of the cluster works again.
        wait_until(lambda: created(storm, "after"), "a topic is created")


def created(storm, name):
    try:
        admin.create_topic(storm.cluster.brokers[0], name)
    except Exception as error:  # confluent_kafka raises its own, of several kinds
        raise RuntimeError(error) from error
    return True


class Cuttable:
    """Puts a proxy before each broker's way to ZooKeeper, and before the listener by which the others reach it."""

    def __init__(self, storm):
        self.zookeeper, self.others = {}, {}
        server = storm.cluster.ensemble.servers[0].port
        for broker in storm.cluster.brokers:
            inner = free_port()
            self.zookeeper[broker] = Proxy(server)
            self.others[broker] = Proxy(inner)
            broker.properties |= {
                "zookeeper.connect": f"127.0.0.1:{self.zookeeper[broker].port}{storm.cluster.chroot}",
                "listeners": f"PLAINTEXT://127.0.0.1:{broker.port},INTERNAL://127.0.0.1:{inner}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker.port},INTERNAL://127.0.0.1:{self.others[broker].port}",
                "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT",
                "inter.broker.listener.name": "INTERNAL",
            }


def test_a_leader_is_cut_off_from_zookeeper(storm):
    """It goes on to see its followers; they follow another leader, and nobody is acknowledged twice."""
    cuttable = Cuttable(storm)
    with storm:
        for _ in range(ROUNDS):
            leader = storm.leader()
            storm.is_cut_off(leader, cuttable.zookeeper[leader])


def test_a_leader_is_cut_off_from_its_followers(storm):
    """It keeps its session, and may acknowledge nothing alone: two replicas are needed. It is not the controller, which
    could not reach itself either."""
    cuttable = Cuttable(storm)
    with storm:
        for _ in range(ROUNDS):
            controller = controller_of(storm.cluster)
            leader = next(b for b in storm.cluster.brokers if b is not controller)
            cuttable.others[leader].cut()
            alone = lambda zk: [s["isr"] for s in states(zk, "t").values() if s["leader"] == leader.number]
            with storm.cluster.ensemble.client(storm.cluster.chroot) as zk:
                wait_until(lambda: any(isr == [leader.number] for isr in alone(zk)), "the leader is alone in sync")
            cuttable.others[leader].heal()
            storm.settle()


def test_all_die_and_come_back_in_every_order(storm):
    orders = list(itertools.permutations(range(BROKERS)))
    with storm:
        for order in orders[:: max(1, len(orders) // (ROUNDS * 2))]:
            for broker in storm.cluster.brokers:
                broker.kill()
            for broker in storm.cluster.brokers:
                storm.cluster.forget(broker)
            for n in order:
                storm.cluster.brokers[n].launch()
                wait_until(storm.cluster.brokers[n].answers, "it answers")
            storm.settle()


def test_a_topic_is_deleted_while_a_follower_is_down_and_made_again(storm):
    """The deletion waits for the follower, and nothing of the old topic is in the new one."""
    with storm:
        one, _, three = storm.cluster.brokers
        admin.create_topic(one, "again", assignment=[[1, 2, 3]])
        first = Load(storm.cluster, "again", storm.directory, 1, per_second=500)
        first.wait_acknowledged(500)
        first.finish()
        three.stop()
        with storm.cluster.ensemble.client(storm.cluster.chroot) as zk:
            client = AdminClient({"bootstrap.servers": one.bootstrap})
            client.delete_topics(["again"])["again"].result(30)
            wait_until(lambda: not one.partition("again", 0).exists(), "a live replica is deleted")
            assert zk.exists("/admin/delete_topics/again") and zk.exists("/brokers/topics/again")
            storm.bring_back(three)
            wait_until(lambda: not zk.exists("/brokers/topics/again"), "the deletion has ended")
        admin.create_topic(one, "again", assignment=[[1, 2, 3]])
        (storm.directory / "second").mkdir()
        second = Load(storm.cluster, "again", storm.directory / "second", 1, per_second=500)
        second.wait_acknowledged(200)
        acks = second.finish()
        wait_in_sync(storm.cluster, "again", BROKERS)
        check_stored(acks, read(storm.cluster, "again", 1))
        check_equal(storm.cluster, "again", 1)


def test_two_processes_have_one_id(storm):
    """While the first lives, whatever it does, the second stays out of its directories; on its own it comes in once the
    first's session is gone, and the first, which finds that out late, takes part in nothing."""
    with storm:
        first = storm.leader()
        same_directories = as_second(storm, first, "same", first.properties["log.dirs"])
        own = as_second(storm, first, "own", str(storm.directory / "own" / "data"))
        code, output = own.refuses_to_start()
        assert code == 1
        # Apache names the node and calls that an internal error; Zurau says who has the id.
        taken = "/brokers/ids/" if own.kind == "apache" else "broker id "
        assert f"{taken}{first.number}" in output
        first.pause()
        storm.cluster.wait_gone(first)
        code, output = same_directories.refuses_to_start()
        assert code == 1
        assert "Failed to acquire lock on file .lock in" in output
        own.start()
        storm.cluster.brokers[storm.cluster.brokers.index(first)] = own
        wait_in_sync(storm.cluster, "t", BROKERS)
        first.resume()
        storm.settle()
        with storm.cluster.ensemble.client(storm.cluster.chroot) as zk:
            assert str(own.port) in zk.get(f"/brokers/ids/{own.number}")[0].decode()
        first.kill()
        storm.settle()


def as_second(storm, first, name, log_dirs):
    """Another process for a broker's id, with a port of its own."""
    second = copy.copy(first)
    second.port = free_port()
    second.process = None
    second.directory = storm.directory / name
    second.directory.mkdir()
    second.properties = first.properties | {"listeners": f"PLAINTEXT://127.0.0.1:{second.port}", "log.dirs": log_dirs}
    return second


def test_replicas_move_while_their_brokers_die(directory, ensemble):
    """From one broker to another, while either or the controller is killed; and given up half-way."""
    with Storm(directory, ensemble, [*KINDS, KINDS[-1]]) as storm:
        mover = Mover(storm)
        for _ in range(ROUNDS):
            source, target = mover.start()
            victim = storm.chance.choice([source, target, controller_of(storm.cluster)])
            victim.kill()
            if victim is not target:
                target.resume()
            storm.cluster.forget(victim)
            storm.load.wait_acknowledged(500)
            storm.bring_back(victim)
            mover.wait_on(source, target)

            source, target = mover.start()
            mover.give_up()
            target.resume()
            mover.wait_on(target, source)


class Mover:
    """Moves all partitions of `t` from one of its brokers to one that has none."""

    def __init__(self, storm):
        self.storm = storm

    def _topic(self):
        with self.storm.cluster.ensemble.client(self.storm.cluster.chroot) as zk:
            return json.loads(zk.get("/brokers/topics/t")[0])

    def start(self):
        """Starts a move; the target is frozen, and nothing ends before it is not. Returns source and target."""
        cluster, holders = self.storm.cluster, self.storm.holders()
        target = next(broker for broker in cluster.brokers if broker not in holders)
        with cluster.ensemble.client(cluster.chroot) as zk:
            while controller_of(cluster) is target:
                zk.delete("/controller")
                wait_until(lambda: zk.exists("/controller"), "somebody is the controller")
        source = self.storm.chance.choice(holders)
        target.pause()
        swap = lambda replicas: [target.number if r == source.number else r for r in replicas]
        partitions = self._topic()["partitions"]
        wire.reassign(controller_of(cluster).port, "t", {int(p): swap(replicas) for p, replicas in partitions.items()})
        assert self._topic()["adding_replicas"]
        return source, target

    def give_up(self):
        wire.reassign(controller_of(self.storm.cluster).port, "t", {p: None for p in range(PARTITIONS)})

    def wait_on(self, source, target):
        """Waits until all is on `target`, nothing on `source`, and nothing moves."""

        def moved():
            topic = self._topic()
            moving = topic.get("adding_replicas") or topic.get("removing_replicas")
            return not moving and all(target.number in r and source.number not in r for r in topic["partitions"].values())

        wait_until(moved, f"replicas are on {target.number} and not on {source.number}")


def test_acknowledged_records_in_a_mixed_storm(directory, ensemble):
    """The faults above, drawn, and those of every storm between them."""
    storm = Storm(directory, ensemble, seed=STORM_SEED, **{**THREE_BROKERS, **PROPERTIES})
    chance, clocks, cuttable = storm.chance, Clocks(directory), Cuttable(storm)
    for broker in storm.cluster.brokers:
        clocks.give(broker)

    def a_leader_is_cut_off_from_zookeeper():
        leader = storm.leader()
        storm.is_cut_off(leader, cuttable.zookeeper[leader])

    def two_of_three_die():
        storm.controller_and_another_die(chance.uniform(0, 0.5))

    def a_broker_freezes():
        storm.freezes(chance.choice(storm.cluster.brokers))

    with storm:
        go_on = lambda: storm.load.wait_acknowledged(1000)
        faults = Faults(storm.cluster, clocks, "t", chance, go_on, storm.settle)
        first = [faults.producers_arrive, faults.replicas_move_between_directories, faults.sessions_expire]
        old = [storm.leader_dies, two_of_three_die, a_broker_freezes, a_leader_is_cut_off_from_zookeeper]
        mix = Mix(chance, first, [*(act for act in faults.all() if act not in first), *old])
        while mix.goes_on():
            mix.act()
        faults.check()
