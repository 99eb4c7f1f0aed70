"""How a broker comes into its cluster and leaves it: chroot, registration, ids, refusals, sessions."""

import contextlib
import json

import pytest
from kazoo.exceptions import NodeExistsError, NoNodeError

from harness import PEER, admin, broker, wire, znodes
from harness.load import Load, check_stored
from harness.processes import free_port, wait_until
from harness.reader import read

NOT_CONTROLLER = 41


def registration(cluster, number=1):
    with cluster.ensemble.client(cluster.chroot) as zk:
        return zk.get(f"/brokers/ids/{number}")


def meta(one):
    lines = (one.log_dirs[0] / "meta.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if not line.startswith("#"))


def test_chroot_is_created(directory, ensemble):
    cluster = broker.Cluster(directory, ensemble, "/deep/down/below")
    cluster.broker(1).start()
    assert registration(cluster)


LISTENERS = {
    "one": {"listeners": "PLAINTEXT://127.0.0.1:{0}"},
    "no host": {"listeners": "PLAINTEXT://:{0}", "advertised_listeners": "PLAINTEXT://localhost:{0}"},
    "two, named": {
        "listeners": "INTERNAL://127.0.0.1:{0},external://127.0.0.1:{1}",
        "advertised_listeners": "INTERNAL://127.0.0.1:{0},EXTERNAL://broker.example:19092",
        "listener_security_protocol_map": "INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT",
        "inter_broker_listener_name": "INTERNAL",
    },
    "rack": {"listeners": "PLAINTEXT://127.0.0.1:{0}", "broker_rack": "rack-a"},
}


@pytest.mark.parametrize("name", LISTENERS)
def test_registration_is_apaches(name, cluster):
    """The same properties give the same bytes, but for the time."""
    second = free_port()
    one = cluster.broker(1, "apache", **broker.STEADY)
    one.properties |= {
        key.replace("_", "."): value.format(one.port, second) for key, value in LISTENERS[name].items()
    }
    one.start()
    theirs, their_stat = registration(cluster)
    one.stop()
    one = one.as_kind(PEER).start()
    ours, our_stat = registration(cluster)

    def timeless(data):
        return data.decode().replace(json.loads(data)["timestamp"], "TIME")

    assert timeless(ours) == timeless(theirs)
    assert our_stat.ephemeralOwner != 0
    # Apache writes the node in two steps and leaves it at version 1.
    assert our_stat.version in (0, their_stat.version)


def test_second_broker_of_the_same_id_is_refused(cluster, directory):
    first = cluster.broker(1).start()
    admin.create_topic(first, "t")
    load = Load(first, "t", directory)
    load.wait_acknowledged(100)
    _, before = registration(cluster)
    code, output = cluster.broker(1).refuses_to_start()
    assert code == 1
    # Apache names the node and calls that an internal error; Zurau says who has the id.
    assert ("/brokers/ids/1" if PEER == "apache" else "broker id 1") in output
    assert registration(cluster)[1].czxid == before.czxid
    load.wait_acknowledged(1000)
    check_stored(load.finish(), read(first, "t"))


def test_generated_ids(cluster):
    """Without a configured id ZooKeeper gives the next one above reserved.broker.max.id, and the directory keeps it."""
    brokers = [cluster.broker(-1).start(), cluster.broker(-1).start()]
    assert [meta(b)["broker.id"] for b in brokers] == ["1001", "1002"]
    wait_until(lambda: set(wire.metadata(brokers[0].port)[0]) == {1001, 1002}, "both are known")
    with cluster.ensemble.client(cluster.chroot) as zk:
        assert zk.get("/brokers/seqid")[1].version == 2
    brokers[0].stop()
    brokers[0].start()
    wait_until(lambda: set(wire.metadata(brokers[0].port)[0]) == {1001, 1002}, "both are known again")
    with cluster.ensemble.client(cluster.chroot) as zk:
        assert zk.get("/brokers/seqid")[1].version == 2


def test_meta_properties(cluster):
    one = cluster.broker(1, log_dirs=2).start()
    with cluster.ensemble.client(cluster.chroot) as zk:
        cluster_id = json.loads(zk.get("/cluster/id")[0])["id"]
    for directory in one.log_dirs:
        lines = (directory / "meta.properties").read_text().splitlines()
        found = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        assert len(found.pop("directory.id", "x" * 22)) == 22
        assert found == {"version": "0", "broker.id": "1", "cluster.id": cluster_id}


@pytest.mark.parametrize(("key", "value"), [("cluster.id", "a" * 22), ("broker.id", "7")])
def test_directory_of_another_broker_is_refused(key, value, cluster):
    """The directory and what it says are named."""
    one = cluster.broker(1).start()
    one.stop()
    file = one.log_dirs[0] / "meta.properties"
    file.write_text("".join(f"{k}={value if k == key else v}\n" for k, v in meta(one).items()))
    code, output = one.refuses_to_start()
    assert code == 1
    assert value in output
    assert str(file.parent) in output


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("log.segment.bytes", "much", "Invalid value much for configuration log.segment.bytes: Not a number of type INT"),
        ("log.segment.bytes", "1", "Invalid value 1 for configuration log.segment.bytes: Value must be at least 14"),
        ("compression.type", "brotli", "Invalid value brotli for configuration compression.type"),
        ("zookeeper.connect", None, "zookeeper.connect"),
    ],
)
def test_wrong_configuration_is_refused_with_the_key(key, value, complaint, cluster):
    one = cluster.broker(1, **{key.replace(".", "_"): value})
    code, output = one.refuses_to_start()
    assert code == 1
    assert complaint in output


def test_sigterm_stops_cleanly(cluster, directory):
    one = cluster.broker(1).start()
    admin.create_topic(one, "t")
    load = Load(one, "t", directory)
    load.wait_acknowledged(1000)
    # A JVM that is told to end answers with 128 + SIGTERM, and service managers are configured for that.
    assert one.stop() == 143
    assert (one.log_dirs[0] / ".kafka_cleanshutdown").exists()
    with cluster.ensemble.client(cluster.chroot) as zk:
        assert not zk.exists("/brokers/ids/1")
        assert not zk.exists("/controller")
    one.start()
    assert not (one.log_dirs[0] / ".kafka_cleanshutdown").exists()
    load.wait_acknowledged(1000)
    check_stored(load.finish(), read(one, "t"))


def test_restart_within_the_session_of_the_killed(cluster):
    """The node of a killed broker stays until its session ends. Zurau waits for that; Apache gives up."""
    one = cluster.broker(1).start()
    _, before = registration(cluster)
    one.kill()
    if PEER == "apache":
        assert one.refuses_to_start()[0] == 1
    else:
        one.start()
        assert registration(cluster)[1].czxid > before.czxid


def test_frozen_broker_registers_again(cluster, directory):
    """A process that stood still for longer than its session comes back with a new registration."""
    one = cluster.broker(1, zookeeper_session_timeout_ms=2000).start()
    admin.create_topic(one, "t")
    load = Load(one, "t", directory)
    load.wait_acknowledged(1000)
    _, before = registration(cluster)
    one.pause()
    cluster.wait_gone(one)
    one.resume()

    def back():
        with cluster.ensemble.client(cluster.chroot) as zk:
            stat = zk.exists("/brokers/ids/1")
            return stat and stat.czxid > before.czxid and zk.exists("/controller")

    wait_until(back, "the broker is registered again")
    load.wait_acknowledged(1000)
    admin.create_topic(one, "after")
    check_stored(load.finish(), read(one, "t"))


def test_second_broker_takes_over_as_controller(cluster):
    first, second = cluster.broker(1).start(), cluster.broker(2).start()
    assert wire.metadata(second.port)[:2] == ({1: first.port, 2: second.port}, 1)
    first.kill()
    cluster.wait_gone(first)
    wait_until(lambda: wire.metadata(second.port)[1] == 2, "broker 2 is the controller")
    wait_until(lambda: set(wire.metadata(second.port)[0]) == {2}, "broker 1 is gone from the metadata")
    with cluster.ensemble.client(cluster.chroot) as zk:
        assert zk.get("/controller_epoch")[0] == b"2"
    admin.create_topic(second, "t")
    first.start()
    wait_until(lambda: set(wire.metadata(second.port)[0]) == {1, 2}, "broker 1 is back")
    assert wire.metadata(second.port)[1] == 2


def test_tree_of_a_first_start(cluster):
    """Every node that a single broker makes, before any topic."""
    cluster.broker(1).start()
    with cluster.ensemble.client(cluster.chroot) as zk:
        found = {line.split(" ")[0] for line in znodes.dump(zk).splitlines()}
    assert found == {
        "/", "/admin", "/admin/delete_topics", "/brokers", "/brokers/ids", "/brokers/ids/1", "/brokers/seqid",
        "/brokers/topics", "/cluster", "/cluster/id", "/config", "/config/brokers", "/config/changes",
        "/config/clients", "/config/ips", "/config/topics", "/config/users", "/consumers", "/controller",
        "/controller_epoch", "/feature", "/isr_change_notification", "/log_dir_event_notification",
    }  # fmt: skip


def test_garbage_in_the_controllers_nodes_leaves_the_cluster_without_one_until_it_is_gone(cluster):
    """Nobody overwrites what it cannot read, and nobody controls meanwhile; everything else goes on."""
    brokers = [cluster.broker(1).start(), cluster.broker(2).start()]

    def controllers():
        codes = [wire.may_create_topic(one.port, "t") for one in brokers]
        assert set(codes) <= {0, NOT_CONTROLLER}
        return codes.count(0)

    def elected():
        with contextlib.suppress(ValueError, NoNodeError):
            return json.loads(zk.get("/controller")[0])["brokerid"] in (1, 2)

    with cluster.ensemble.client(cluster.chroot) as zk:
        zk.set("/controller", b"}{")
        wait_until(lambda: controllers() == 0, "nobody controls")
        assert zk.get("/controller")[0] == b"}{"
        zk.delete("/controller")
        wait_until(lambda: controllers() == 1, "somebody controls again")

        epoch = int(zk.get("/controller_epoch")[0])
        zk.set("/controller_epoch", b"seven")
        # That write has fenced the controller: one that notices by itself has gone already.
        with contextlib.suppress(NoNodeError):
            zk.delete("/controller")
        wait_until(lambda: controllers() == 0, "nobody controls")
        assert zk.get("/controller_epoch")[0] == b"seven" and not zk.exists("/controller")
        zk.set("/controller_epoch", str(epoch).encode())
        # Nobody waits for that node: the next change of the other one starts an election, unless that was still to come.
        with contextlib.suppress(NodeExistsError):
            zk.create("/controller", b"}{")
            zk.delete("/controller")
        wait_until(elected, "a broker is elected")
        assert int(zk.get("/controller_epoch")[0]) == epoch + 1
        wait_until(lambda: controllers() == 1, "somebody controls again")
