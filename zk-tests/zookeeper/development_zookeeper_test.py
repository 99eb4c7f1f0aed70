"""The development ZooKeeper serves what real clients of ZooKeeper ask of it: zkCli, kazoo, and an Apache Kafka broker.

The conformance suite of `zookeeper::conformance` runs here against the real ZooKeeper, which is right where the two differ.
"""

import os
import signal
import subprocess
import sys
import time

import pytest
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoAuthError, NotEmptyError
from kazoo.security import make_digest_acl

from harness import PEER, REPOSITORY, admin, zookeeper
from harness.broker import Cluster
from harness.load import Load, check_stored
from harness.processes import Process, wait_until
from harness.reader import read


@pytest.fixture
def development(directory):
    one = zookeeper.Ensemble(directory / "zookeeper", kind=PEER).start()
    yield one
    one.stop()


def test_real_zookeeper_conforms(directory):
    ensemble = zookeeper.Ensemble(directory / "zookeeper", session_max_ms=None).start()
    command = ["cargo", "test", "--quiet", "--lib", "zookeeper::conformance::a_server_elsewhere_conforms"]
    environment = {**os.environ, "ZURAU_ZK_CONFORMANCE": ensemble.hosts}
    run = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 passed" in run.stdout


def test_zkcli(development, apache_tools):
    def shell(*command):
        run = apache_tools.run("zookeeper-shell", "-server", development.hosts, *command).check()
        return [line for line in run.stdout.splitlines() if line and "WATCHER" not in line and "WatchedEvent" not in line]

    shell("create", "/app", "some data")
    shell("create", "-s", "/app/n-", "x")
    assert shell("get", "/app")[-1] == "some data"
    assert shell("ls", "/app")[-1] == "[n-0000000000]"
    assert shell("ls", "/")[-1] == "[app, zookeeper]"
    shell("set", "/app", "other data")
    stat = dict(line.split(" = ") for line in shell("stat", "/app") if " = " in line)
    assert (stat["dataVersion"], stat["cversion"], stat["dataLength"], stat["numChildren"]) == ("1", "1", "10", "1")
    shell("deleteall", "/app")
    assert shell("ls", "/")[-1] == "[zookeeper]"


def test_four_letter_words(development):
    (server,) = development.servers
    assert server.ask("ruok") == "imok"
    srvr = server.ask("srvr")
    assert "Mode: standalone" in srvr
    assert "Node count: " in srvr
    assert "zk_znode_count\t" in server.ask("mntr")
    assert "Clients:" in server.ask("stat")


def test_kazoo(development):
    with development.client() as zk, development.client() as other:
        zk.create("/app/deep/node", b"1", makepath=True)
        with pytest.raises(NotEmptyError):
            zk.delete("/app")
        with pytest.raises(BadVersionError):
            zk.set("/app/deep/node", b"2", version=7)

        seen = []
        other.DataWatch("/app/deep/node", lambda data, _stat: seen.append(data))
        children = []
        other.ChildrenWatch("/app", lambda now: children.append(sorted(now)))
        zk.set("/app/deep/node", b"2")
        zk.create("/app/ephemeral", ephemeral=True)
        wait_until(lambda: seen[-1] == b"2", "the data watch fires")
        wait_until(lambda: children[-1] == ["deep", "ephemeral"], "the children watch fires")

        bundle = zk.transaction()
        bundle.check("/app/deep/node", 99)
        bundle.create("/app/never")
        assert isinstance(bundle.commit()[0], BadVersionError)
        assert not zk.exists("/app/never")

        lock, same = zk.Lock("/lock", "a"), other.Lock("/lock", "b")
        assert lock.acquire(timeout=30)
        assert not same.acquire(blocking=False)
        lock.release()
        assert same.acquire(timeout=30)

        zk.add_auth("digest", "user:secret")
        zk.create("/private", b"x", acl=[make_digest_acl("user", "secret", all=True)])
        with pytest.raises(NoAuthError):
            other.get("/private")
        other.add_auth("digest", "user:secret")
        assert other.get("/private")[0] == b"x"
    with development.client() as late:
        assert not late.exists("/app/ephemeral")


_HOLDER = """
import sys, time, kazoo.client
client = kazoo.client.KazooClient(hosts=sys.argv[1], timeout=4)
client.start()
client.create("/mine", ephemeral=True)
print("holds it", flush=True)
time.sleep(600)
"""


def test_session_of_a_dead_client_expires_with_its_ephemerals(development, directory):
    holder = Process([sys.executable, "-c", _HOLDER, development.hosts], directory / "holder.log", "holder")
    holder.wait_for_line("holds it", 60)
    with development.client() as zk:
        assert zk.exists("/mine")
        holder.kill()
        assert zk.exists("/mine"), "the session has four seconds to come back"
        wait_until(lambda: not zk.exists("/mine"), "the node goes with its session")


def test_a_pause_of_the_server_ends_no_session_of_who_went_on(development):
    """What clients sent while it was stopped lies in its sockets, and is heard before their silence counts."""
    if PEER == "apache":
        pytest.skip("Apache's server ends them, or does not, by chance")
    (server,) = development.servers
    with development.client() as zk:
        holders = [KazooClient(hosts=development.hosts, timeout=4) for _ in range(20)]
        for n, holder in enumerate(holders):
            holder.start(30)
            holder.create(f"/mine-{n}", ephemeral=True)
        ids = [holder.client_id[0] for holder in holders]
        server.process.signal(signal.SIGSTOP)
        paused_until = time.monotonic() + 10
        wait_until(lambda: time.monotonic() > paused_until, "the pause is over", 30)
        server.process.signal(signal.SIGCONT)
        wait_until(lambda: all(holder.connected for holder in holders), "all are connected", 60)
        assert [holder.client_id[0] for holder in holders] == ids
        assert sorted(zk.get_children("/")) == sorted([f"mine-{n}" for n in range(20)] + ["zookeeper"])
        for holder in holders:
            holder.stop()
            holder.close()


def test_apache_broker_lives_on_it(development, directory):
    """Through a kill -9 of the server too: what was acknowledged to Kafka stays."""
    cluster = Cluster(directory, development)
    broker = cluster.broker(1, "apache").start()
    admin.create_topic(broker, "t", retention_ms=86_400_000)
    load = Load(broker, "t", directory)
    load.wait_acknowledged(500)
    (server,) = development.servers
    server.kill()
    load.wait_acknowledged(1000)
    server.start()
    wait_until(lambda: admin.create_topic(broker, "after") or True, "the controller works on")
    with development.client(cluster.chroot) as zk:
        assert sorted(zk.get_children("/brokers/topics")) == ["after", "t"]
        assert b"retention.ms" in zk.get("/config/topics/t")[0]
    assert broker.stop() == 143
    with development.client(cluster.chroot) as zk:
        assert zk.get_children("/brokers/ids") == []
    broker.start()
    check_stored(load.finish(), read(broker, "t"))
