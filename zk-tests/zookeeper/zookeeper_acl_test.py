"""zookeeper.set.acl with credentials from a JAAS file: who may read and write the znodes is as with Apache."""

import pytest

from harness import PEER, ZURAU, admin, znodes
from harness.broker import Cluster
from harness.processes import run, wait_until
from harness.zookeeper import Ensemble, jaas

USERS = {"kafka": 'se"cret, = word'.replace('"', ""), "other": "another"}


@pytest.fixture(scope="module")
def guarded(module_directory):
    """A real ZooKeeper server that knows users."""
    one = Ensemble(module_directory / "zookeeper", users=USERS).start()
    yield one
    one.stop()


def guarded_broker(cluster, directory, user="kafka", password=None, **properties):
    broker = cluster.broker(1, zookeeper_set_acl="true", **properties)
    secret = USERS[user] if password is None else password
    broker.jaas = jaas(directory, "Client", {"username": user, "password": secret})
    return broker


def act(cluster, directory, tools):
    """The tree, as somebody without credentials sees it."""
    broker = guarded_broker(cluster, directory).start()
    admin.create_topic(broker, "t", partitions=2)
    at = ("configs", "--bootstrap-server", broker.bootstrap, "--alter", "--entity-type")
    tools.run(*at, "topics", "--entity-name", "t", "--add-config", "flush.ms=7").check()
    tools.run(*at, "brokers", "--entity-name", "1", "--add-config", "log.cleaner.threads=2").check()
    with cluster.ensemble.client(cluster.chroot) as zk:
        wait_until(lambda: zk.exists("/brokers/topics/t/partitions/1/state"), "the partitions have states")
        tree = znodes.dump(zk)
    broker.stop()
    return tree


def test_acls_are_apaches(directory, guarded, apache_tools):
    theirs = act(Cluster(directory / "apache", guarded, "/apache", "apache"), directory, apache_tools)
    ours = act(Cluster(directory / "peer", guarded, "/peer"), directory, apache_tools)
    assert ours.splitlines() == theirs.splitlines()
    assert "sasl:kafka:31,world:anyone:1" in ours
    assert "/config/brokers hidden" in ours


@pytest.mark.skipif(PEER == "apache", reason="zookeeper-shell.sh is Zurau's here")
def test_the_shell_reads_what_is_hidden_with_the_same_file(directory, guarded):
    cluster = Cluster(directory, guarded)
    broker = guarded_broker(cluster, directory).start()

    def get_acl(login):
        log = directory / f"shell-{bool(login)}.log"
        shell = [ZURAU, "zookeeper-shell", broker.properties["zookeeper.connect"], "getAcl", "/config/brokers"]
        code = run(shell, log, "zookeeper-shell", env={"KAFKA_OPTS": login})
        return code, log.read_text()

    assert "'sasl,'kafka" in get_acl(f"-Djava.security.auth.login.config={broker.jaas}")[1]
    assert "NoAuth" in get_acl("")[1] or "sasl" not in get_acl("")[1]


def test_wrong_credentials_or_none_end_the_start(directory, guarded):
    wrong = guarded_broker(Cluster(directory / "wrong", guarded), directory, password="wrong", zookeeper_connection_timeout_ms="6000")
    code, output = wrong.refuses_to_start()
    assert code == 1, output
    none = Cluster(directory / "none", guarded).broker(1, zookeeper_set_acl="true")
    code, output = none.refuses_to_start()
    assert code == 1
    assert "zookeeper.set.acl is true" in output
