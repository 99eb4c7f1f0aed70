"""What a cluster leaves in ZooKeeper: the trees of Apache and of the broker under test are equal byte for byte, but for
ids, times, hosts and ports; versions and ACLs included. Both live under chroots of one ensemble of three servers."""

from harness import admin, znodes
from harness.broker import STEADY, Cluster
from harness.load import Load, check_stored
from harness.processes import wait_until
from harness.reader import read


def tree(cluster):
    with cluster.ensemble.client(cluster.chroot) as zk:
        return znodes.dump(zk)


def settled(cluster, condition, what):
    """The tree, once the controller has done what it does after it has answered."""
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_until(lambda: condition(zk), what)
        return znodes.dump(zk)


def led_by(zk, leader, *partitions):
    """Whether these partitions of alpha have this leader."""
    states = (zk.get(f"/brokers/topics/alpha/partitions/{p}/state")[0] for p in partitions)
    return all(b'"leader":%d,' % leader in state for state in states)


def act(cluster, tools):
    """Two brokers and everything that is done to topics. Yields the tree after each step, with the step's name."""
    one = cluster.broker(1, broker_rack="rack-a", **STEADY).start()
    two = cluster.broker(2, broker_rack="rack-b", **STEADY).start()
    yield "start of two brokers", tree(cluster)

    at = ("--bootstrap-server", one.bootstrap)
    tools.run("topics", *at, "--create", "--topic", "alpha", "--replica-assignment", "1,2,1,2").check()
    configs = ["--config", "retention.ms=1000", "--config", "cleanup.policy=compact,delete", "--config", "segment.bytes=1048576"]
    tools.run("topics", *at, "--create", "--topic", "beta", "--replica-assignment", "2,1", *configs).check()
    tools.run("topics", *at, "--create", "--topic", "Gamma.x_y-z", "--replica-assignment", "1").check()
    yield "creation of topics", tree(cluster)

    alter = ("configs", *at, "--alter", "--entity-type", "topics", "--entity-name")
    tools.run(*alter, "beta", "--add-config", "max.message.bytes=2000000,flush.ms=5").check()
    tools.run(*alter, "beta", "--delete-config", "retention.ms").check()
    tools.run(*alter, "alpha", "--add-config", "min.insync.replicas=1").check()
    yield "changes of configs", tree(cluster)

    tools.run("topics", *at, "--alter", "--topic", "alpha", "--partitions", "6", "--replica-assignment", "1,2,1,2,2,1").check()
    yield "new partitions", settled(
        cluster, lambda zk: zk.exists("/brokers/topics/alpha/partitions/5/state"), "the new partitions have states"
    )

    tools.run("topics", *at, "--delete", "--topic", "beta").check()
    yield "deletion of a topic", settled(
        cluster,
        lambda zk: not zk.exists("/brokers/topics/beta") and not zk.exists("/admin/delete_topics/beta"),
        "the topic is gone",
    )

    two.stop()
    stopped = settled(cluster, lambda zk: led_by(zk, -1, 1, 3, 4), "the partitions of broker 2 have no leader")
    yield "controlled stop of the second broker", stopped
    two.start()
    yield "its return", settled(cluster, lambda zk: led_by(zk, 2, 1, 3, 4), "the partitions of broker 2 are led")

    one.stop()
    stopped = settled(cluster, lambda zk: led_by(zk, -1, 0, 2, 5), "the partitions of broker 1 have no leader")
    yield "controlled stop of the controller", stopped
    two.stop()
    yield "stop of all", tree(cluster)


def test_trees_are_equal(directory, ensemble3, apache_tools):
    expected = list(act(Cluster(directory / "apache", ensemble3, "/apache", "apache"), apache_tools))
    ours = act(Cluster(directory / "peer", ensemble3, "/peer"), apache_tools)
    for (step, theirs), (_, found) in zip(expected, ours, strict=True):
        assert found.splitlines() == theirs.splitlines(), f"after {step}"


def test_death_of_one_zookeeper_server_breaks_nothing(directory, ensemble3):
    """The server that leads the ensemble dies under load, comes back, and the next one dies."""
    cluster = Cluster(directory, ensemble3)
    broker = cluster.broker(1).start()
    admin.create_topic(broker, "t")
    load = Load(broker, "t", directory)
    load.wait_acknowledged(1000)
    for n in range(2):
        dead = ensemble3.leader()
        dead.kill()
        load.wait_acknowledged(2000)
        # The two that are left elect a leader, and the broker goes on with its session there.
        admin.create_topic(broker, f"while-a-server-is-dead-{n}")
        dead.start()
        load.wait_acknowledged(1000)
    assert broker.alive()
    with ensemble3.client(cluster.chroot) as zk:
        assert zk.get("/brokers/ids/1")
    check_stored(load.finish(), read(broker, "t"))
