"""What replicas do when logs differ, topics move or go: truncation, deletion, reassignment and elections in clusters of
both kinds, under an Apache controller. With ZURAU_REPLICATION_ROUNDS set also throttles."""

import itertools
import json
import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from harness import admin
from harness.processes import wait_until
from harness.reader import read
from harness.replicas import check_equal, states, wait_isr
from replication_test import LONG, kill, produce, start


def write(broker, topic, partition, count, acks="all"):
    for _ in range(count):
        assert produce(broker, topic, acks, partition) is None


def test_a_log_that_has_diverged_is_cut_to_the_leaders(cluster):
    """Unclean elections, so that each side has records that the other never saw: a Zurau follower cuts to what an Apache
    leader has, and the other way round."""
    controller, zurau, apache = start(cluster, ["apache", "zurau", "apache"])
    admin.create_topic(controller, "t", assignment=[[2, 3]], unclean_leader_election_enable="true")
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_isr(zk, "t", [0], [2, 3])
        for leads, follows in ((zurau, apache), (apache, zurau)):
            write(leads, "t", 0, 3)
            kill(zk, follows)
            wait_isr(zk, "t", [0], [leads.number])
            # Only the leader has these.
            write(leads, "t", 0, 5, acks="1")
            kill(zk, leads)
            wait_until(lambda: states(zk, "t")[0]["leader"] == -1, "nobody leads")
            follows.start()
            wait_until(lambda: states(zk, "t")[0]["leader"] == follows.number, "the one that lacks records leads")
            admin.wait_led(follows, "t")
            write(follows, "t", 0, 2)
            leads.start()
            wait_isr(zk, "t", [0], [2, 3])
            wait_until(lambda: same_end(leads, follows), "both logs end alike")
    # 3 + 2 by each round: the records of one alone are gone.
    assert len(read(controller, "t", partitions=1)[0]) == 10
    check_equal(cluster_of(cluster, zurau, apache), "t", 1)


def same_end(a, b):
    sizes = [sum(log.stat().st_size for log in x.partition("t", 0).glob("*.log")) for x in (a, b)]
    return sizes[0] == sizes[1] and sizes[0] > 0


class cluster_of:
    """A part of a cluster's brokers, for those that a topic is on."""

    def __init__(self, cluster, *brokers):
        self.brokers = list(brokers)
        self.bootstrap = cluster.bootstrap


def test_a_follower_whose_records_were_deleted_begins_anew(cluster):
    """While a follower is away, DeleteRecords moves the leader's log start beyond its end: it starts at the leader's. And
    DeleteRecords answers once the followers that are alive have followed."""
    controller, zurau, apache = start(cluster, ["apache", "zurau", "apache"])
    with cluster.ensemble.client(cluster.chroot) as zk:
        for topic, leads, follows in (("from-zurau", zurau, apache), ("from-apache", apache, zurau)):
            admin.create_topic(controller, topic, assignment=[[leads.number, follows.number]])
            wait_isr(zk, topic, [0], [2, 3])
            write(controller, topic, 0, 4)
            assert delete_before(controller, topic, 2) == 2
            kill(zk, follows)
            wait_isr(zk, topic, [0], [leads.number])
            write(controller, topic, 0, 6)
            assert delete_before(controller, topic, 9) == 9
            write(controller, topic, 0, 1)
            follows.start()
            wait_isr(zk, topic, [0], [2, 3])
            # The new log begins where the leader's begins.
            wait_until(lambda: (follows.partition(topic, 0) / f"{9:020}.log").exists(), "a log from offset 9 on")
            check_equal(cluster_of(cluster, zurau, apache), topic, 1)


def delete_before(broker, topic, offset):
    """The low watermark of partition 0 once everything before the offset is deleted."""
    client = AdminClient({"bootstrap.servers": broker.bootstrap})
    deleted = client.delete_records([TopicPartition(topic, 0, offset)])
    return next(iter(deleted.values())).result(20).low_watermark


def reassign(zk, tools, broker, directory, topic, assignment):
    """Moves partitions, and waits until nothing moves any more."""
    plan = {"version": 1, "partitions": [{"topic": topic, "partition": p, "replicas": r} for p, r in assignment.items()]}
    file = directory / "plan.json"
    file.write_text(json.dumps(plan))
    command = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand"
    args = ("--bootstrap-server", broker.bootstrap, "--reassignment-json-file", file)
    tools.run(command, *args, "--execute").check()

    def done():
        now = states(zk, topic)
        return all(sorted(now[p]["isr"]) == sorted(replicas) for p, replicas in assignment.items())

    wait_until(done, f"{topic} is on {assignment}")
    wait_until(lambda: "in progress" not in tools.run(command, *args, "--verify").check().stdout, "nothing moves")


def test_partitions_move_onto_and_off_and_go(cluster, directory, apache_tools):
    """Reassignment onto and off a Zurau broker, preferred election, deletion: by Apache's tools and controller."""
    controller, zurau, apache = start(cluster, ["apache", "zurau", "apache"])
    admin.create_topic(controller, "t", assignment=[[1, 3], [3, 1]])
    with cluster.ensemble.client(cluster.chroot) as zk:
        write(controller, "t", 0, 5)
        write(controller, "t", 1, 5)
        reassign(zk, apache_tools, controller, directory, "t", {0: [2, 3], 1: [3, 2]})
        wait_until(lambda: states(zk, "t")[0]["leader"] == 2, "the new first replica leads")
        write(controller, "t", 0, 5)
        write(controller, "t", 1, 5)
        check_equal(cluster_of(cluster, zurau, apache), "t", 2)

        # The preferred leader comes back to lead.
        kill(zk, zurau)
        wait_until(lambda: states(zk, "t")[0]["leader"] == 3, "the other one leads")
        zurau.start()
        wait_isr(zk, "t", [0], [2, 3])
        election = ("--bootstrap-server", controller.bootstrap, "--election-type", "preferred", "--all-topic-partitions")
        apache_tools.run("org.apache.kafka.tools.LeaderElectionCommand", *election).check()
        wait_until(lambda: states(zk, "t")[0]["leader"] == 2, "the preferred replica leads")
        write(controller, "t", 0, 1)

        reassign(zk, apache_tools, controller, directory, "t", {0: [1, 3], 1: [3, 1]})
        wait_until(lambda: not zurau.partition("t", 0).exists() and not zurau.partition("t", 1).exists(), "its logs are gone")
        assert [len(records) for records in read(controller, "t", partitions=2).values()] == [11, 10]
        reassign(zk, apache_tools, controller, directory, "t", {0: [1, 2], 1: [2, 1]})
        admin.delete_topic(controller, "t")
        wait_until(lambda: not zurau.partition("t", 0).exists(), "its logs are gone")


@pytest.mark.skipif(not LONG, reason="ZURAU_REPLICATION_ROUNDS asks for the long form")
def test_throttled_replicas_wait_and_come_in_sync(cluster, directory, apache_tools):
    """Replication throttles of both sides: a replica that has to catch up is slowed to the rate, whichever kind leads."""
    controller, zurau, apache = start(cluster, ["apache", "zurau", "apache"])
    admin.create_topic(controller, "t", assignment=[[2], [3]])
    configs = ("--bootstrap-server", controller.bootstrap, "--alter")

    def alter(kind, name, *settings):
        where = ("--entity-type", kind, "--entity-name", name)
        apache_tools.run("configs", *configs, *where, "--add-config", ",".join(settings)).check()

    with cluster.ensemble.client(cluster.chroot) as zk:
        for partition, _ in itertools.product((0, 1), range(5)):
            assert produce(controller, "t", "all", partition, size=900_000) is None
        for number in (2, 3):
            alter("brokers", number, *(f"{side}.replication.throttled.rate=800000" for side in ("leader", "follower")))
        alter("topics", "t", *(f"{side}.replication.throttled.replicas=*" for side in ("leader", "follower")))
        started = time.monotonic()
        reassign(zk, apache_tools, controller, directory, "t", {0: [2, 3], 1: [3, 2]})
        # 4.5 MB each way: the first fetch is a burst, what follows keeps to the rate.
        assert time.monotonic() - started > 3
    check_equal(cluster_of(cluster, zurau, apache), "t", 2)
